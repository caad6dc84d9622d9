//! Writes an export as XML, laid out as Entra Connect does it.

use super::model::{EntraConnector, EntraConnectorKind, EntraExport, EntraMetaverse, EntraParameter, EntraPartition, EntraRule};
use super::read_schema::syntax;
use super::words::attributes_of;
use crate::model::Value;
use crate::rules::{Direction, LinkType, MergeType, PlainFlow, PlainRule, PlainSource};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quick_xml::Writer;
use quick_xml::events::{BytesEnd, BytesStart, BytesText, Event};

const DSML: &str = "http://www.dsml.org/DSML";
const MS_DSML: &str = "http://www.microsoft.com/MMS/DSML";
const NOBODY: &str = "{00000000-0000-0000-0000-000000000000}";

/// What only Syncline's flows know, as attributes of a mapping: names, and the value that is not the default.
pub(super) const EXACT: (&str, &str) = ("syncline-compare", "binary");
pub(super) const KEEP: (&str, &str) = ("syncline-when-source-absent", "keep");

/// The files of an export: name within the folder, and text; the same for the same export, whatever the order in it.
///
/// # Errors
/// A sentence about a part that XML cannot hold.
pub fn write(export: &EntraExport) -> Result<Vec<(String, String)>, String> {
    let mut files = Vec::new();
    for connector in &export.connectors {
        let text = Tree::of(connector_element(connector)).text(&format!("connector \"{}\"", connector.name))?;
        files.push((format!("Connectors/Connector_{{{}}}.xml", connector.id), text));
    }
    files.push(("GlobalSettings/MV.xml".to_owned(), Tree::of(metaverse_element(&export.metaverse)).text("the metaverse")?));
    for rule in &export.rules {
        let text = Tree::of(rule_element(rule)).text(&format!("rule \"{}\"", rule.rule.name))?;
        files.push((format!("SynchronizationRules/SynchronizationRule_{{{}}}.xml", rule.id), text));
    }
    files.sort();
    Ok(files)
}

/// An element that is being put together.
#[derive(Clone, Debug)]
struct Element {
    name: &'static str,
    attributes: Vec<(&'static str, String)>,
    text: String,
    children: Vec<Element>,
}

fn element(name: &'static str, children: impl IntoIterator<Item = Element>) -> Element {
    Element { name, attributes: Vec::new(), text: String::new(), children: children.into_iter().collect() }
}

fn leaf(name: &'static str, text: impl Into<String>) -> Element {
    Element { name, attributes: Vec::new(), text: text.into(), children: Vec::new() }
}

impl Element {
    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.attributes.push((name, value.into()));
        self
    }
}

/// A whole document.
struct Tree {
    root: Element,
}

impl Tree {
    fn of(root: Element) -> Self {
        Self { root }
    }

    fn text(&self, what: &str) -> Result<String, String> {
        let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
        put(&mut writer, &self.root).map_err(|error| format!("{what} cannot be written as XML: {error}"))?;
        let mut text = String::from_utf8(writer.into_inner()).map_err(|error| format!("{what} cannot be written as XML: {error}"))?;
        text.push('\n');
        Ok(text)
    }
}

fn put(writer: &mut Writer<Vec<u8>>, element: &Element) -> std::io::Result<()> {
    let mut start = BytesStart::new(element.name);
    for (name, value) in &element.attributes {
        start.push_attribute((*name, checked(value)?));
    }
    if element.children.is_empty() && element.text.is_empty() {
        return writer.write_event(Event::Empty(start));
    }
    writer.write_event(Event::Start(start))?;
    if element.children.is_empty() {
        // A carriage return as it is would become a line feed when it is read.
        let escaped = quick_xml::escape::partial_escape(checked(&element.text)?).replace('\r', "&#13;");
        writer.write_event(Event::Text(BytesText::from_escaped(escaped)))?;
    }
    for child in &element.children {
        put(writer, child)?;
    }
    writer.write_event(Event::End(BytesEnd::new(element.name)))
}

/// Refuses characters that XML 1.0 has no place for.
fn checked(text: &str) -> std::io::Result<&str> {
    let bad = text.chars().find(|character| {
        (character.is_control() && !matches!(character, '\t' | '\n' | '\r') && u32::from(*character) < 0x80)
            || matches!(character, '\u{fffe}' | '\u{ffff}')
    });
    match bad.filter(|character| *character != '\u{7f}') {
        None => Ok(text),
        Some(character) => Err(std::io::Error::other(format!("it holds the control character {}", character.escape_unicode()))),
    }
}

fn braced(id: &str) -> String {
    format!("{{{id}}}")
}

fn truth(flag: bool) -> &'static str {
    if flag { "True" } else { "False" }
}

fn rule_element(rule: &EntraRule) -> Element {
    let plain: &PlainRule = &rule.rule;
    let (source, target) = match plain.direction {
        Direction::Inbound => (&plain.cs_type, &plain.mv_type),
        Direction::Outbound => (&plain.mv_type, &plain.cs_type),
    };
    let scope = plain.scope.iter().map(|group| {
        element(
            "conditions",
            group.iter().map(|clause| {
                let parts = [
                    leaf("csAttribute", clause.attribute.as_str()),
                    leaf("csOperator", clause.operator.as_str()),
                    leaf("csValue", clause.value.as_str()),
                ];
                element("scope", parts)
            }),
        )
    });
    let join = plain.join.iter().map(|group| {
        element(
            "conditions",
            group.iter().map(|pair| {
                let case = pair.case_sensitive.then(|| leaf("caseSensitive", "True"));
                element(
                    "condition",
                    case.into_iter().chain([leaf("csAttribute", pair.cs.as_str()), leaf("ilmAttribute", pair.mv.as_str())]),
                )
            }),
        )
    });
    element(
        "synchronizationRule",
        [
            leaf("id", braced(&rule.id)),
            leaf("internal-id", braced(&rule.id)),
            leaf("version", "1"),
            leaf("name", plain.name.as_str()),
            leaf("description", plain.description.as_str()),
            leaf("immutable-tag", plain.tag.as_deref().unwrap_or_default()),
            leaf("direction", if plain.direction == Direction::Inbound { "Inbound" } else { "Outbound" }),
            leaf("disabled", truth(!plain.enabled)),
            leaf("connector", braced(&plain.connector)),
            leaf("sourceObjectType", source.as_str()),
            leaf("targetObjectType", target.as_str()),
            leaf(
                "linkType",
                match plain.link {
                    LinkType::Join => "Join",
                    LinkType::StickyJoin => "StickyJoin",
                    LinkType::Provision => "Provision",
                },
            ),
            leaf("precedence", plain.order.to_string()),
            leaf("precedence-after", NOBODY),
            leaf("precedence-before", NOBODY),
            leaf("softDeleteExpiryInterval", "00:00:00"),
            leaf("EnablePasswordSync", if plain.password_sync { "true" } else { "false" }),
            element("attribute-mappings", plain.flows.iter().map(mapping)),
            element("relationshipCriteria", join),
            element("synchronizationCriteria", scope),
        ],
    )
}

fn mapping(flow: &PlainFlow) -> Element {
    let mut parts = vec![leaf("dest", flow.target.as_str())];
    match &flow.source {
        PlainSource::Direct(attribute) => parts.push(element("src", [leaf("attr", attribute.as_str())])),
        PlainSource::Constant(value) => parts.push(leaf("src", constant(value))),
        PlainSource::Expression(text) => {
            let attributes = attributes_of(text);
            if !attributes.is_empty() {
                parts.push(element("src", attributes.into_iter().map(|name| leaf("attr", name))));
            }
            parts.push(leaf("expression", text.as_str()));
        }
    }
    parts.push(leaf(
        "valueMergeType",
        match flow.merge {
            MergeType::Update => "Update",
            MergeType::Merge => "Merge",
            MergeType::MergeCaseInsensitive => "MergeCaseInsensitive",
        },
    ));
    let mut mapping = element("mapping", parts);
    if flow.once {
        mapping = mapping.with("execute-once", "true");
    }
    if flow.exact {
        mapping = mapping.with(EXACT.0, EXACT.1);
    }
    if flow.keep_when_absent { mapping.with(KEEP.0, KEEP.1) } else { mapping }
}

/// A constant as the export has it: text.
fn constant(value: &Value) -> String {
    match value {
        Value::Text(text) => text.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Boolean(flag) => truth(*flag).to_owned(),
        Value::Binary(octets) => std::str::from_utf8(octets).map_or_else(|_| STANDARD.encode(octets), str::to_owned),
        // Rules have no constants of these kinds.
        Value::LargeText(_) | Value::LargeBinary(_) | Value::Reference(_) => String::new(),
    }
}

fn parameter(parameter: &EntraParameter, usage: &'static str) -> Element {
    leaf("parameter", parameter.value.as_str())
        .with("name", parameter.name.as_str())
        .with("type", "string")
        .with("use", usage)
        .with("dataType", "String")
}

fn connector_element(connector: &EntraConnector) -> Element {
    let (category, subtype) = match &connector.kind {
        EntraConnectorKind::ActiveDirectory => ("AD", ""),
        EntraConnectorKind::Cloud => ("Extensible2", "Windows Azure Active Directory (Microsoft)"),
        EntraConnectorKind::Syncline(kind) => ("Syncline", kind.as_str()),
    };
    let parameters = element("parameter-values", connector.parameters.iter().map(|found| parameter(found, "global")));
    let value = |parameter: &Option<EntraParameter>| parameter.as_ref().map(|found| found.value.clone()).unwrap_or_default();
    let private = if connector.kind == EntraConnectorKind::ActiveDirectory {
        element(
            "adma-configuration",
            [
                leaf("forest-name", value(&connector.forest)),
                leaf("forest-login-domain", value(&connector.login_domain)),
                leaf("forest-login-user", value(&connector.login_user)),
                parameters,
            ],
        )
    } else {
        element("MAConfig", [parameters])
    };
    let mut parts = vec![
        leaf("format-version", "1"),
        leaf("id", braced(&connector.id.to_ascii_uppercase())),
        leaf("name", connector.name.as_str()),
        leaf("category", category),
        leaf("subtype", subtype),
        element("private-configuration", [private]),
        element("attribute-inclusion", connector.included_attributes.iter().map(|name| leaf("attribute", name.as_str()))),
        element("ma-partition-data", connector.partitions.iter().map(partition)),
    ];
    if let Some(size) = &connector.page_size {
        parts.push(element("ma-run-data", [full_import(size)]));
    }
    element("ma-data", parts)
}

/// The run profile that says how many objects a page has.
fn full_import(size: &EntraParameter) -> Element {
    let step = element(
        "step",
        [
            element("step-type", [leaf("import-subtype", "to-cs")]).with("type", "full-import"),
            element("custom-data", [element("adma-step-data", [leaf("page-size", size.value.as_str())])]),
        ],
    );
    element("run-configuration", [leaf("name", "Full Import"), element("configuration", [step])])
}

fn partition(partition: &EntraPartition) -> Element {
    let list = |name, item, texts: &[String]| element(name, texts.iter().map(|text| leaf(item, text.as_str())));
    element(
        "partition",
        [
            leaf("name", partition.name.as_str()),
            leaf("selected", if partition.selected { "1" } else { "0" }),
            element(
                "filter",
                [
                    list("object-classes", "object-class", &partition.object_types),
                    element(
                        "containers",
                        [list("exclusions", "exclusion", &partition.exclude), list("inclusions", "inclusion", &partition.include)],
                    ),
                ],
            ),
            element("parameter-values", partition.parameters.iter().map(|found| parameter(found, "partition"))),
        ],
    )
}

fn metaverse_element(metaverse: &EntraMetaverse) -> Element {
    let classes = metaverse.classes.iter().map(|(name, attributes)| {
        let attributes =
            attributes.iter().map(|attribute| leaf("dsml:attribute", "").with("ref", format!("#{attribute}")).with("required", "false"));
        element("dsml:class", std::iter::once(leaf("dsml:name", name.as_str())).chain(attributes))
            .with("id", name.as_str())
            .with("type", "structural")
    });
    let attributes = metaverse.attributes.iter().map(|attribute| {
        let parts = [leaf("dsml:name", attribute.name.as_str()), leaf("dsml:syntax", syntax(attribute.kind))];
        let declared = element("dsml:attribute-type", parts)
            .with("id", attribute.name.as_str())
            .with("single-value", if attribute.multi { "false" } else { "true" });
        if attribute.indexed { declared.with("ms-dsml:indexable", "true") } else { declared }
    });
    let schema = element("dsml:directory-schema", classes.chain(attributes)).with("ms-dsml:no-objectclass-validation", "true");
    let dsml = element("dsml:dsml", [schema]).with("xmlns:ms-dsml", MS_DSML).with("xmlns:dsml", DSML);
    let parameters = metaverse.parameters.iter().map(|found| parameter(found, "SynchronizationGlobal"));
    let data = element("mv-data", [leaf("format-version", "1"), element("schema", [dsml]), element("parameter-values", parameters)]);
    element("saved-mv-configuration", [data]).with("server", "Syncline")
}
