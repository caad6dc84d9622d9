//! Reads the two JSON forms: rules as `Get-ADSyncRule | ConvertTo-Json` writes them, and the settings that newer servers
//! export (`Applied-SynchronizationPolicy-….json`), of which only a part is documented.

use super::model::{
    EntraConnector, EntraConnectorKind, EntraExport, EntraParameter, EntraPartition, EntraRule, FILE_MAX, ForeignFile, Place, plain_guid,
};
use super::report::{Outcome, Report};
use super::words::{self, short};
use crate::rules::{Direction, PlainClause, PlainFlow, PlainJoin, PlainRule};
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;
use std::sync::Arc;

/// A value and the line on which it begins.
#[derive(Clone, Debug)]
struct Node {
    line: usize,
    value: Json,
}

#[derive(Clone, Debug)]
enum Json {
    Null,
    Boolean(bool),
    Number(String),
    Text(String),
    List(Vec<Node>),
    /// In the order in which they stand.
    Object(Vec<(String, Node)>),
}

/// Values in values beyond this depth are refused: every level is read once more.
const DEPTH_MAX: usize = 24;

/// Reads one file into `export`.
pub(super) fn read(file: &ForeignFile, export: &mut EntraExport, report: &mut Report) {
    let mut place = Place::of_file(&file.name);
    if file.text.len() > FILE_MAX {
        report.add(Outcome::Failed, &place, "file", format!("longer than {} MiB", FILE_MAX >> 20));
        return;
    }
    let lines: Vec<usize> = std::iter::once(0).chain(file.text.match_indices('\n').map(|(at, _)| at + 1)).collect();
    let root = match serde_json::from_str::<&RawValue>(&file.text) {
        Ok(raw) => (Tree { whole: &file.text, lines: &lines, depth: 0 }).node(raw.get()),
        Err(error) => {
            (place.line, place.column) = (error.line(), error.column());
            report.add(Outcome::Failed, &place, "file", format!("no JSON: {}; export it once more", short(&error.to_string())));
            return;
        }
    };
    let root = match root {
        Ok(root) => root,
        Err(message) => {
            report.add(Outcome::Failed, &place, "file", message);
            return;
        }
    };
    let mut reader = JsonReader { file: Arc::from(file.name.as_str()), report };
    match &root.value {
        Json::Object(keys) if has(keys, "onpremisesDirectoryPolicy") || has(keys, "azureDirectoryPolicy") => reader.policy(&root, export),
        Json::Object(keys) if has(keys, "AttributeFlowMappings") || has(keys, "Direction") => export.rules.extend(reader.rule(&root)),
        Json::List(items) => {
            for item in items {
                export.rules.extend(reader.rule(item));
            }
        }
        _ => {
            let note = "neither rules (Get-ADSyncRule | ConvertTo-Json -Depth 8) nor the exported settings of a server";
            reader.report.add(Outcome::Failed, &place, "file", note);
        }
    }
}

/// Builds a tree that knows its lines.
struct Tree<'t> {
    whole: &'t str,
    lines: &'t [usize],
    depth: usize,
}

impl<'t> Tree<'t> {
    fn node(&self, raw: &'t str) -> Result<Node, String> {
        if self.depth > DEPTH_MAX {
            return Err(format!("values lie more than {DEPTH_MAX} levels deep"));
        }
        // Every raw value is a piece of the whole text.
        let at = (raw.as_ptr() as usize).saturating_sub(self.whole.as_ptr() as usize);
        let line = self.lines.partition_point(|begin| *begin <= at);
        let inner = Tree { whole: self.whole, lines: self.lines, depth: self.depth + 1 };
        let failed = |error: serde_json::Error| format!("no JSON: {}", short(&error.to_string()));
        let value = match raw.as_bytes().first() {
            Some(b'{') => {
                let keys = Keys.deserialize(&mut serde_json::Deserializer::from_str(raw)).map_err(failed)?;
                Json::Object(keys.into_iter().map(|(key, raw)| Ok((key, inner.node(raw.get())?))).collect::<Result<_, String>>()?)
            }
            Some(b'[') => {
                let items = Items.deserialize(&mut serde_json::Deserializer::from_str(raw)).map_err(failed)?;
                Json::List(items.into_iter().map(|raw| inner.node(raw.get())).collect::<Result<_, String>>()?)
            }
            Some(b'"') => Json::Text(serde_json::from_str(raw).map_err(failed)?),
            Some(b't') => Json::Boolean(true),
            Some(b'f') => Json::Boolean(false),
            Some(b'n') => Json::Null,
            _ => Json::Number(raw.to_owned()),
        };
        Ok(Node { line, value })
    }
}

/// Keys in their order, doubled ones included.
struct Keys;

impl<'de> DeserializeSeed<'de> for Keys {
    type Value = Vec<(String, &'de RawValue)>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Keys {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut keys = Vec::new();
        while let Some(entry) = map.next_entry()? {
            keys.push(entry);
        }
        Ok(keys)
    }
}

/// The values of a list.
struct Items;

impl<'de> DeserializeSeed<'de> for Items {
    type Value = Vec<&'de RawValue>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Items {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element()? {
            items.push(item);
        }
        Ok(items)
    }
}

fn has(keys: &[(String, Node)], name: &str) -> bool {
    keys.iter().any(|(key, _)| key.eq_ignore_ascii_case(name))
}

/// The value of a key; names of properties have no case in PowerShell.
fn get<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    let Json::Object(keys) = &node.value else { return None };
    keys.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// The values of a list; a single value stands for a list of one, and nothing for an empty one.
fn items(node: Option<&Node>) -> &[Node] {
    match node {
        Some(Node { value: Json::List(items), .. }) => items,
        Some(Node { value: Json::Null, .. }) | None => &[],
        Some(one) => std::slice::from_ref(one),
    }
}

/// A GUID stands as text, or as an object with the text inside.
fn guid(node: &Node) -> Option<String> {
    match &node.value {
        Json::Text(text) => Some(plain_guid(text)),
        Json::Object(_) => get(node, "Guid").and_then(guid),
        _ => None,
    }
}

struct JsonReader<'r> {
    file: Arc<str>,
    report: &'r mut Report,
}

/// What is wrong with a part of a rule, and on which line.
type Wrong = (usize, String);

const RULE: &[&str] = &[
    "Name",
    "Identifier",
    "InternalIdentifier",
    "Description",
    "Direction",
    "Precedence",
    "PrecedenceAfter",
    "PrecedenceBefore",
    "SourceObjectType",
    "TargetObjectType",
    "Connector",
    "LinkType",
    "SoftDeleteExpiryInterval",
    "ImmutableTag",
    "EnablePasswordSync",
    "Disabled",
    "AttributeFlowMappings",
    "ScopeFilter",
    "JoinFilter",
    "Version",
    "IsStandardRule",
    "IsLegacyCustomRule",
    "SourceNamespaceId",
    "TargetNamespaceId",
    "VersionAgnosticTag",
    "TagVersion",
];
const MAPPING: &[&str] = &["Source", "Destination", "FlowType", "ExecuteOnce", "Expression", "ValueMergeType", "MappingSourceAsString"];

impl JsonReader<'_> {
    fn place(&self, line: usize) -> Place {
        Place { file: Arc::clone(&self.file), line, column: 0 }
    }

    fn unknown(&mut self, node: &Node, known: &[&str], what: &str) {
        let Json::Object(keys) = &node.value else { return };
        for (key, value) in keys.iter().filter(|(key, _)| !known.iter().any(|known| known.eq_ignore_ascii_case(key))) {
            let place = self.place(value.line);
            self.report.unknown_part(&place, format!("property {} of {what}", short(key)));
        }
    }

    /// Part of a scope or a join, all of whose properties must be known, each once: with one missing it is another one.
    fn whole(node: &Node, known: &[&str], what: &str) -> Result<(), Wrong> {
        let Json::Object(keys) = &node.value else { return Ok(()) };
        for (position, (key, value)) in keys.iter().enumerate() {
            if !known.iter().any(|known| known.eq_ignore_ascii_case(key)) {
                return Err((value.line, format!("property {} of {what} is not known", short(key))));
            }
            if keys.iter().take(position).any(|(earlier, _)| earlier.eq_ignore_ascii_case(key)) {
                return Err((value.line, format!("property {} of {what} stands twice", short(key))));
            }
        }
        Ok(())
    }

    /// A rule as `Get-ADSyncRule` gives it.
    fn rule(&mut self, node: &Node) -> Option<EntraRule> {
        let place = self.place(node.line);
        let name = get(node, "Name").map(|name| self.text(name, "Name"));
        let subject = format!("rule \"{}\"", short(name.as_ref().and_then(|name| name.as_deref().ok()).unwrap_or("?")));
        self.unknown(node, RULE, "a rule");
        match self.whole_rule(node, &subject) {
            Ok(rule) => Some(rule),
            Err((line, message)) => {
                let place = if line > 0 { self.place(line) } else { place };
                self.report.add(Outcome::Failed, &place, subject, format!("{message}; the rule is left out"));
                None
            }
        }
    }

    #[expect(clippy::unused_self, reason = "one of a family that names the file in its errors")]
    fn text(&self, node: &Node, name: &str) -> Result<String, Wrong> {
        match &node.value {
            Json::Text(text) => Ok(text.clone()),
            Json::Null => Ok(String::new()),
            Json::Boolean(flag) => Ok(if *flag { "True" } else { "False" }.to_owned()),
            Json::Number(number) => Ok(number.clone()),
            _ => Err((node.line, format!("{name} is no text; write the JSON with -Depth 8"))),
        }
    }

    fn optional(&self, node: &Node, name: &str) -> Result<String, Wrong> {
        get(node, name).map_or(Ok(String::new()), |value| self.text(value, name))
    }

    fn required(&self, node: &Node, name: &str) -> Result<(String, usize), Wrong> {
        let value = get(node, name).ok_or_else(|| (node.line, format!("{name} is missing")))?;
        let text = self.text(value, name)?;
        if text.trim().is_empty() { Err((value.line, format!("{name} is empty"))) } else { Ok((text, value.line)) }
    }

    /// A word; numbers stand for words when PowerShell was not told to write them out, and nobody documents which.
    fn word<T>(&self, node: &Node, name: &str, known: fn(&str) -> Result<T, String>) -> Result<T, Wrong> {
        let (text, line) = self.required(node, name)?;
        if matches!(get(node, name), Some(Node { value: Json::Number(_), .. })) {
            let message = format!("{name} is a number; write words: docs/guide/from-entra-connect.md has the command");
            return Err((line, message));
        }
        known(&text).map_err(|message| (line, message))
    }

    fn flag(&self, node: &Node, name: &str) -> Result<bool, Wrong> {
        let line = get(node, name).map_or(node.line, |value| value.line);
        words::boolean(&self.optional(node, name)?).map_err(|message| (line, format!("{name}: {message}")))
    }

    fn whole_rule(&mut self, node: &Node, subject: &str) -> Result<EntraRule, Wrong> {
        let (name, _) = self.required(node, "Name")?;
        let direction = self.word(node, "Direction", words::direction)?;
        let (source, target) = (self.required(node, "SourceObjectType")?.0, self.required(node, "TargetObjectType")?.0);
        let (cs_type, mv_type) = if direction == Direction::Inbound { (source, target) } else { (target, source) };
        let connector = get(node, "Connector").ok_or_else(|| (node.line, "Connector is missing".to_owned()))?;
        let connector = guid(connector).ok_or_else(|| (connector.line, "Connector is no GUID".to_owned()))?;
        let (precedence, line) = self.required(node, "Precedence")?;
        let order = words::precedence(&precedence).map_err(|message| (line, message))?;
        let mut scope = Vec::new();
        for group in items(get(node, "ScopeFilter")) {
            Self::whole(group, &["ScopeConditionList"], "a group of the scope")?;
            let clauses =
                items(get(group, "ScopeConditionList")).iter().map(|clause| self.clause(clause)).collect::<Result<Vec<_>, _>>()?;
            if clauses.is_empty() {
                return Err((group.line, "a group of the scope without conditions; write the JSON with -Depth 8".to_owned()));
            }
            scope.push(clauses);
        }
        let mut join = Vec::new();
        for group in items(get(node, "JoinFilter")) {
            Self::whole(group, &["JoinConditionList"], "a group of the join")?;
            let pairs = items(get(group, "JoinConditionList")).iter().map(|pair| self.pair(pair)).collect::<Result<Vec<_>, _>>()?;
            if pairs.is_empty() {
                return Err((group.line, "a group of the join without conditions; write the JSON with -Depth 8".to_owned()));
            }
            join.push(pairs);
        }
        let (mut flows, mut flow_places) = (Vec::new(), Vec::new());
        for mapping in items(get(node, "AttributeFlowMappings")) {
            self.unknown(mapping, MAPPING, "a flow");
            match self.flow(mapping) {
                Ok(flow) => {
                    flows.push(flow);
                    flow_places.push(self.place(mapping.line));
                }
                Err((line, message)) => {
                    let place = self.place(line);
                    self.report.add(Outcome::Failed, &place, format!("{subject}, flow"), format!("{message}; the flow is left out"));
                }
            }
        }
        let rule = PlainRule {
            link: self.word(node, "LinkType", words::link)?,
            description: self.optional(node, "Description")?,
            tag: Some(self.optional(node, "ImmutableTag")?.trim().to_owned()).filter(|tag| !tag.is_empty()),
            password_sync: self.flag(node, "EnablePasswordSync")?,
            enabled: !self.flag(node, "Disabled")?,
            name,
            direction,
            connector,
            cs_type,
            mv_type,
            order,
            scope,
            join,
            flows,
        };
        let id = get(node, "Identifier").and_then(guid).unwrap_or_else(|| format!("{}/{}", rule.connector, rule.name));
        Ok(EntraRule { place: self.place(node.line), id, rule, flow_places })
    }

    fn clause(&self, node: &Node) -> Result<PlainClause, Wrong> {
        Self::whole(node, &["Attribute", "ComparisonValue", "ComparisonOperator"], "a condition")?;
        let operator = self.word(node, "ComparisonOperator", words::operator)?;
        let attribute = self.required(node, "Attribute")?.0.trim().to_owned();
        let value = if operator.takes_value() { self.optional(node, "ComparisonValue")? } else { String::new() };
        Ok(PlainClause { attribute, operator, value })
    }

    fn pair(&self, node: &Node) -> Result<PlainJoin, Wrong> {
        Self::whole(node, &["CSAttribute", "MVAttribute", "CaseSensitive"], "a condition")?;
        let cs = self.required(node, "CSAttribute")?.0.trim().to_owned();
        let mv = self.required(node, "MVAttribute")?.0.trim().to_owned();
        Ok(PlainJoin { cs, mv, case_sensitive: self.flag(node, "CaseSensitive")? })
    }

    fn flow(&self, node: &Node) -> Result<PlainFlow, Wrong> {
        let target = self.required(node, "Destination")?.0.trim().to_owned();
        let sources = items(get(node, "Source")).iter().map(|source| self.text(source, "Source")).collect::<Result<Vec<_>, _>>()?;
        let expression = self.optional(node, "Expression")?;
        let expression = Some(expression.as_str()).filter(|text| !text.is_empty());
        let kind = self.word(node, "FlowType", words::flow_type)?;
        let merge = match get(node, "ValueMergeType") {
            None => words::merge("").map_err(|message| (node.line, message))?,
            Some(_) => self.word(node, "ValueMergeType", words::merge)?,
        };
        let source =
            words::source(kind, &sources, expression).map_err(|message| (node.line, format!("flow to {}: {message}", short(&target))))?;
        Ok(PlainFlow { target, source, once: self.flag(node, "ExecuteOnce")?, merge, keep_when_absent: false, exact: false })
    }

    /// The settings that newer servers export. Their rules are told and not taken: how they nest conditions is documented
    /// nowhere, and a rule with a guessed scope is worse than none.
    fn policy(&mut self, root: &Node, export: &mut EntraExport) {
        for policy in items(get(root, "onpremisesDirectoryPolicy")) {
            let place = self.place(policy.line);
            let name = self.optional(policy, "fullyQualifiedDomainName").unwrap_or_default();
            let id = get(policy, "uniqueIdentifier").and_then(guid).unwrap_or_default();
            self.rules_of_policy(policy, &name);
            self.unknown(
                policy,
                &[
                    "fullyQualifiedDomainName",
                    "friendlyName",
                    "uniqueIdentifier",
                    "partitionFilters",
                    "customSynchronizationRules",
                    "standardSynchronizationRules",
                ],
                "a directory",
            );
            if name.trim().is_empty() {
                self.report.add(Outcome::Failed, &place, "directory", "fullyQualifiedDomainName is missing; the directory is left out");
                continue;
            }
            let mut connector = EntraConnector::new(place.clone(), id.as_str(), name.as_str());
            connector.kind = EntraConnectorKind::ActiveDirectory;
            connector.forest = Some(EntraParameter { place: place.clone(), name: "forest-name".to_owned(), value: name.clone() });
            for filter in items(get(policy, "partitionFilters")) {
                self.unknown(filter, &["distinguishedName", "containerInclusions", "containerExclusions"], "a partition");
                let name = self.optional(filter, "distinguishedName").unwrap_or_default();
                let include = self.texts(filter, "containerInclusions");
                let exclude = self.texts(filter, "containerExclusions");
                connector.partitions.push(EntraPartition {
                    place: self.place(filter.line),
                    name,
                    selected: true,
                    object_types: Vec::new(),
                    include,
                    exclude,
                    parameters: Vec::new(),
                });
            }
            export.connectors.push(connector);
        }
        if let Some(policy) = get(root, "azureDirectoryPolicy") {
            let place = self.place(policy.line);
            self.rules_of_policy(policy, "Entra");
            self.unknown(policy, &["uniqueIdentifier", "customSynchronizationRules", "standardSynchronizationRules"], "the tenant");
            let id = get(policy, "uniqueIdentifier").and_then(guid).unwrap_or_else(|| super::CLOUD_CONNECTOR.to_owned());
            let mut connector = EntraConnector::new(place, id.as_str(), "Entra");
            connector.kind = EntraConnectorKind::Cloud;
            export.connectors.push(connector);
        }
        self.unknown(root, &["onpremisesDirectoryPolicy", "azureDirectoryPolicy"], "the settings");
    }

    fn texts(&mut self, node: &Node, name: &str) -> Vec<String> {
        let mut texts = Vec::new();
        for item in items(get(node, name)) {
            if let Json::Text(text) = &item.value {
                texts.push(text.clone());
            } else {
                let place = self.place(item.line);
                self.report.add(Outcome::Failed, &place, name, "is no text");
            }
        }
        texts
    }

    fn rules_of_policy(&mut self, policy: &Node, connector: &str) {
        for rule in items(get(policy, "standardSynchronizationRules")) {
            let name = self.optional(rule, "name").unwrap_or_default();
            let place = self.place(rule.line);
            let note = "a standard rule; the settings only name it, and Syncline's built-in rules stand in for it";
            self.report.add(Outcome::NotTaken, &place, format!("rule \"{}\"", short(&name)), note);
        }
        for rule in items(get(policy, "customSynchronizationRules")) {
            let name = self.optional(rule, "name").unwrap_or_default();
            let place = self.place(rule.line);
            let note = format!(
                "a rule of your own for {}: this form of it is not documented; export it from the rules editor as a script and import that, too",
                short(connector)
            );
            self.report.add(Outcome::Failed, &place, format!("rule \"{}\"", short(&name)), note);
        }
    }
}
