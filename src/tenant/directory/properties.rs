//! Attribute values as synchronization writes them, in a small map that ignores the case of names.

use rkyv::{Archive, Deserialize, Serialize};
use std::cmp::Ordering;

/// One attribute value as the tenant keeps it. References are rows of their own, never values.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum PropertyValue {
    /// One text.
    Text(String),
    /// True or false.
    Boolean(bool),
    /// A 64-bit integer.
    Integer(i64),
    /// Octets.
    Binary(Vec<u8>),
    /// Several texts in the order in which they were written.
    Texts(Vec<String>),
    /// Several octet strings in the order in which they were written.
    Binaries(Vec<Vec<u8>>),
}

impl PropertyValue {
    /// The text of a single text value.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// All texts: of a text one, of several all, otherwise none.
    pub fn texts(&self) -> &[String] {
        match self {
            Self::Text(text) => std::slice::from_ref(text),
            Self::Texts(texts) => texts,
            _ => &[],
        }
    }

    /// How many values there are.
    pub fn count(&self) -> usize {
        match self {
            Self::Texts(texts) => texts.len(),
            Self::Binaries(values) => values.len(),
            _ => 1,
        }
    }
}

/// One attribute with its value.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// The name as it was written first.
    pub name: String,
    /// The value; never an empty list.
    pub value: PropertyValue,
}

/// Attributes by name without regard to case, as the service looks keys up (specification: provisioning service 3.4).
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    entries: Vec<Property>,
}

impl Properties {
    /// The value of an attribute.
    pub fn get(&self, name: &str) -> Option<&PropertyValue> {
        self.position(name).ok().and_then(|index| self.entries.get(index)).map(|entry| &entry.value)
    }

    /// The text of a single-valued text attribute.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(PropertyValue::as_text)
    }

    /// All texts of an attribute.
    pub fn texts(&self, name: &str) -> &[String] {
        self.get(name).map_or(&[], PropertyValue::texts)
    }

    /// A boolean attribute.
    pub fn boolean(&self, name: &str) -> Option<bool> {
        match self.get(name) {
            Some(PropertyValue::Boolean(value)) => Some(*value),
            Some(PropertyValue::Text(text)) if text.eq_ignore_ascii_case("true") => Some(true),
            Some(PropertyValue::Text(text)) if text.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        }
    }

    /// Sets an attribute and says whether that changed anything. An empty list takes the attribute away.
    pub fn set(&mut self, name: &str, value: PropertyValue) -> bool {
        if value.count() == 0 {
            return self.remove(name);
        }
        match self.position(name) {
            Ok(index) => {
                let changed = self.entries[index].value != value;
                self.entries[index].value = value;
                changed
            }
            Err(index) => {
                self.entries.insert(index, Property { name: name.to_owned(), value });
                true
            }
        }
    }

    /// Takes an attribute away and says whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        self.position(name).map(|index| self.entries.remove(index)).is_ok()
    }

    /// All attributes in the order of their folded names.
    pub fn iter(&self) -> impl Iterator<Item = &Property> {
        self.entries.iter()
    }

    /// How many attributes there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True without any attribute.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| compare(&entry.name, name))
    }
}

/// Compares names without regard to the case of ASCII letters.
fn compare(left: &str, right: &str) -> Ordering {
    left.bytes().map(|octet| octet.to_ascii_lowercase()).cmp(right.bytes().map(|octet| octet.to_ascii_lowercase()))
}

/// Attributes whose values are other objects. The position in this list is part of stored keys: append only.
/// `true` for attributes of several values. From the connector's attribute list (specification: provisioning service 4.5).
pub const REFERENCES: [(&str, bool); 22] = [
    ("member", true),
    ("manager", false),
    ("managedBy", false),
    ("altRecipient", false),
    ("assistant", false),
    ("authOrig", true),
    ("cloudMSExchDelegateListLink", true),
    ("cloudMSExchTeamMailboxOwners", true),
    ("cloudPublicDelegates", true),
    ("dLMemRejectPerms", true),
    ("dLMemSubmitPerms", true),
    ("msExchBypassModerationFromDLMembersLink", true),
    ("msExchBypassModerationLink", true),
    ("msExchCoManagedByLink", true),
    ("msExchDelegateListLink", true),
    ("msExchModeratedByLink", true),
    ("msExchTeamMailboxOwners", true),
    ("msExchTeamMailboxSharePointLinkedBy", false),
    ("publicDelegates", true),
    ("registeredOwnerReference", false),
    ("registeredUsersReference", true),
    ("unauthOrig", true),
];

/// A reference attribute by its position in [`REFERENCES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReferenceAttribute(pub u8);

/// The members of a group.
pub const MEMBER: ReferenceAttribute = ReferenceAttribute(0);
/// The manager of a user or contact.
pub const MANAGER: ReferenceAttribute = ReferenceAttribute(1);

impl ReferenceAttribute {
    /// The attribute of that name, when it is a reference.
    pub fn by_name(name: &str) -> Option<Self> {
        let index = REFERENCES.iter().position(|(known, _)| known.eq_ignore_ascii_case(name))?;
        u8::try_from(index).ok().map(Self)
    }

    /// The name; `None` for a number that no version of the list has had.
    pub fn name(self) -> Option<&'static str> {
        REFERENCES.get(usize::from(self.0)).map(|(name, _)| *name)
    }

    /// True when the attribute may have several values.
    pub fn is_multi_valued(self) -> bool {
        REFERENCES.get(usize::from(self.0)).is_none_or(|(_, multiple)| *multiple)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case_and_lists_of_nothing_clear() {
        let mut properties = Properties::default();
        assert!(properties.set("displayName", PropertyValue::Text("A".into())));
        assert!(!properties.set("DisplayName", PropertyValue::Text("A".into())));
        assert!(properties.set("proxyAddresses", PropertyValue::Texts(vec!["SMTP:a@b".into()])));
        assert!(properties.set("ThumbnailPhoto", PropertyValue::Binary(vec![1])));
        assert_eq!(properties.text("DISPLAYNAME"), Some("A"));
        assert!(properties.set("ProxyAddresses", PropertyValue::Texts(Vec::new())));
        assert!(!properties.remove("proxyaddresses"));
        assert_eq!(properties.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), ["displayName", "ThumbnailPhoto"]);
    }

    #[test]
    fn reference_numbers_and_names_belong_together() {
        for number in 0..22 {
            let attribute = ReferenceAttribute(number);
            let name = attribute.name().unwrap();
            assert_eq!(ReferenceAttribute::by_name(&name.to_uppercase()), Some(attribute), "{name}");
        }
        assert_eq!(ReferenceAttribute(99).name(), None);
        assert_eq!(ReferenceAttribute::by_name("displayName"), None);
        assert!(MEMBER.is_multi_valued() && !MANAGER.is_multi_valued());
    }
}
