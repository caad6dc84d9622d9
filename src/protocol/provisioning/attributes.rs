//! The attributes that the service knows, with their types.

use std::collections::HashMap;
use std::sync::OnceLock;

/// The syntax of an attribute of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// Text.
    Text,
    /// True or false.
    Boolean,
    /// A whole number.
    Integer,
    /// Octets.
    Binary,
    /// Another object, by its source anchor.
    Reference,
}

/// One attribute of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeType {
    /// The name as the connector spells it.
    pub name: &'static str,
    /// The type of its values.
    pub syntax: Syntax,
    /// It may have several values.
    pub multi_valued: bool,
    /// The object types that have it: `user`, `group`, `contact`, `device`, `publicFolder`.
    pub classes: Vec<&'static str>,
}

const TABLE: &str = include_str!("attributes.tsv");

/// Attributes that current clients send and that the table of 2016 does not have (specification 4.5).
const LATER: [(&str, &str); 6] = [
    ("onPremisesDistinguishedName", "user,group,contact"),
    ("employeeId", "user"),
    ("employeeType", "user"),
    ("userType", "user"),
    ("preferredDataLocation", "user,group,contact"),
    ("onPremisesObjectIdentifier", "user,group,contact"),
];

/// The type of an attribute, whatever the case of its name.
pub fn attribute(name: &str) -> Option<&'static AttributeType> {
    table().get(name.to_ascii_lowercase().as_str())
}

/// All attributes, by name.
pub fn attributes() -> impl Iterator<Item = &'static AttributeType> {
    let mut all: Vec<&'static AttributeType> = table().values().collect();
    all.sort_by_key(|attribute| attribute.name);
    all.into_iter()
}

fn table() -> &'static HashMap<String, AttributeType> {
    static TYPES: OnceLock<HashMap<String, AttributeType>> = OnceLock::new();
    TYPES.get_or_init(|| {
        let mut types = HashMap::new();
        for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
            let mut fields = line.split('\t');
            let (Some(name), Some(syntax), Some(cardinality), Some(classes)) = (fields.next(), fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            let syntax = match syntax {
                "boolean" => Syntax::Boolean,
                "integer" => Syntax::Integer,
                "binary" | "octet" => Syntax::Binary,
                "reference" => Syntax::Reference,
                _ => Syntax::Text,
            };
            let classes = classes.split(',').collect();
            types.insert(name.to_ascii_lowercase(), AttributeType { name, syntax, multi_valued: cardinality == "m", classes });
        }
        for (name, classes) in LATER {
            types.entry(name.to_ascii_lowercase()).or_insert_with(|| AttributeType {
                name,
                syntax: Syntax::Text,
                multi_valued: false,
                classes: classes.split(',').collect(),
            });
        }
        types
    })
}
