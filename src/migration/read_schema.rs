//! Reads schemas (DSML 2.0 with Microsoft's additions), and the metaverse's file (`GlobalSettings/MV.xml`) that has one.

use super::model::{EntraAttribute, EntraMetaverse};
use super::read_connector::parameters;
use super::report::Outcome;
use super::words::short;
use super::xml::{BOOKKEEPING, Fate, Walk, text_of};
use crate::model::ValueKind;
use roxmltree::Node;

const METAVERSE: &[(&str, Fate)] = &[
    ("format-version", BOOKKEEPING),
    ("version", BOOKKEEPING),
    ("schema", Fate::Read),
    ("password-change-history-size", Fate::Because("passwords are not set in directories")),
    ("password-sync", Fate::Because("passwords are not set in directories")),
    ("parameter-values", Fate::Read),
];

/// Syntaxes (RFC 4517) and what they hold.
const SYNTAXES: &[(&str, ValueKind)] = &[
    ("1.3.6.1.4.1.1466.115.121.1.15", ValueKind::Text),
    ("1.3.6.1.4.1.1466.115.121.1.12", ValueKind::Reference),
    ("1.3.6.1.4.1.1466.115.121.1.27", ValueKind::Number),
    ("1.3.6.1.4.1.1466.115.121.1.7", ValueKind::Boolean),
    ("1.3.6.1.4.1.1466.115.121.1.5", ValueKind::Binary),
];

/// The syntax of a type.
pub(super) fn syntax(kind: ValueKind) -> &'static str {
    let kind = match kind {
        ValueKind::LargeText => ValueKind::Text,
        ValueKind::LargeBinary => ValueKind::Binary,
        other => other,
    };
    SYNTAXES.iter().find(|(_, known)| *known == kind).map_or("", |(syntax, _)| syntax)
}

/// The names of attributes that a connector's schema declares. The rest of it is read from the directory itself.
pub(super) fn names(walk: &mut Walk<'_>, schema: Node<'_, '_>, subject: &str) -> Vec<String> {
    let place = walk.place(schema);
    let (mut names, mut classes) = (Vec::new(), 0_usize);
    for node in schema.descendants().filter(Node::is_element) {
        match node.tag_name().name() {
            "attribute-type" => names.extend(child_text(node, "name")),
            "class" => classes += 1,
            _ => {}
        }
    }
    if !names.is_empty() {
        let note = format!(
            "attribute types: {}, classes: {classes}; read for the spelling of names; Syncline asks the directory for its schema",
            names.len()
        );
        walk.report.add(Outcome::Changed, &place, format!("{subject}, schema"), note);
    }
    names
}

/// Reads the metaverse's schema and the settings (`<mv-data>`).
pub(super) fn metaverse(walk: &mut Walk<'_>, node: Node<'_, '_>) -> EntraMetaverse {
    let mut metaverse = EntraMetaverse::default();
    let parts = walk.children(node, METAVERSE);
    if let Some(schema) = walk.one(&parts, "schema") {
        for node in schema.descendants().filter(Node::is_element) {
            match node.tag_name().name() {
                "attribute-type" => metaverse.attributes.extend(attribute(walk, node)),
                "class" => {
                    let attributes = node.children().filter(|child| child.tag_name().name() == "attribute");
                    let attributes =
                        attributes.filter_map(|child| child.attribute("ref")).map(|name| name.trim_start_matches('#').to_owned()).collect();
                    metaverse.classes.push((child_text(node, "name").unwrap_or_default(), attributes));
                }
                "schema" | "dsml" | "directory-schema" | "name" | "syntax" | "attribute" => {}
                other => {
                    let place = walk.place(node);
                    walk.report.unknown_part(&place, format!("<{}> in the metaverse's schema", short(other)));
                }
            }
        }
    }
    if let Some(values) = walk.one(&parts, "parameter-values") {
        metaverse.parameters = parameters(walk, values, "settings");
    }
    metaverse
}

fn attribute(walk: &mut Walk<'_>, node: Node<'_, '_>) -> Option<EntraAttribute> {
    let place = walk.place(node);
    let name = child_text(node, "name").filter(|name| !name.is_empty())?;
    let syntax = child_text(node, "syntax").unwrap_or_default();
    let Some((_, kind)) = SYNTAXES.iter().find(|(known, _)| *known == syntax) else {
        let note = format!("the syntax \"{}\" is not known here; the attribute is left out", short(&syntax));
        walk.report.add(Outcome::Failed, &place, format!("metaverse attribute {}", short(&name)), note);
        return None;
    };
    let flag =
        |wanted: &str| node.attributes().any(|attribute| attribute.name() == wanted && attribute.value().eq_ignore_ascii_case("true"));
    Some(EntraAttribute { place, name, kind: *kind, multi: !flag("single-value"), indexed: flag("indexable") })
}

fn child_text(node: Node<'_, '_>, name: &str) -> Option<String> {
    node.children().find(|child| child.is_element() && child.tag_name().name() == name).map(|child| text_of(child).trim().to_owned())
}
