//! Walks the octets of a search entry in place. Nothing here trusts the server: what does not have the form of an
//! entry (RFC 4511 section 4.5.2) is no entry.

use ldap3::asn1::{PL, StructureTag};

/// A search entry as it came, with values that had to be fetched separately.
#[derive(Debug)]
pub(crate) struct RawEntry {
    tag: StructureTag,
    /// Values beyond the first range of an attribute, by its name.
    pub(crate) more: Vec<(String, Vec<Vec<u8>>)>,
}

impl RawEntry {
    pub(super) fn new(tag: StructureTag) -> Self {
        Self { tag, more: Vec::new() }
    }

    /// The name.
    pub(crate) fn dn(&self) -> Option<&[u8]> {
        primitive(constructed(&self.tag)?.first()?)
    }

    /// Attribute descriptions with their values, as they came. `None` when the entry is malformed.
    pub(crate) fn attributes(&self) -> Option<impl Iterator<Item = (&str, &[StructureTag])>> {
        let list = constructed(constructed(&self.tag)?.get(1)?)?;
        // Checked as a whole before the first one is used.
        let well_formed = list.iter().all(|attribute| attribute_parts(attribute).is_some());
        well_formed.then(|| list.iter().filter_map(attribute_parts))
    }

    /// All values of one attribute whatever the case of its name, without ranges; for small entries.
    pub(crate) fn values(&self, name: &str) -> Vec<&[u8]> {
        let attributes = self.attributes().into_iter().flatten();
        attributes
            .filter(|(other, _)| other.eq_ignore_ascii_case(name))
            .flat_map(|(_, values)| values.iter().filter_map(primitive))
            .collect()
    }

    /// Takes the values of an attribute out of the entry; what they held is nowhere in it any more. For secrets.
    pub(crate) fn take(&mut self, name: &str) -> Vec<Vec<u8>> {
        let PL::C(parts) = &mut self.tag.payload else { return Vec::new() };
        let Some(PL::C(attributes)) = parts.get_mut(1).map(|list| &mut list.payload) else { return Vec::new() };
        let mut taken = Vec::new();
        for attribute in attributes {
            let named = attribute_parts(attribute).is_some_and(|(other, _)| other.eq_ignore_ascii_case(name));
            let PL::C(pair) = &mut attribute.payload else { continue };
            let Some(PL::C(values)) = pair.get_mut(1).filter(|_| named).map(|values| &mut values.payload) else { continue };
            for value in values {
                if let PL::P(octets) = &mut value.payload {
                    taken.push(std::mem::take(octets));
                }
            }
        }
        taken
    }

    /// The first value of an attribute as text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.values(name).first().and_then(|octets| std::str::from_utf8(octets).ok())
    }

    /// All values of an attribute that are text.
    pub(crate) fn texts(&self, name: &str) -> Vec<&str> {
        self.values(name).into_iter().filter_map(|octets| std::str::from_utf8(octets).ok()).collect()
    }
}

/// The octets of a value.
pub(crate) fn primitive(tag: &StructureTag) -> Option<&[u8]> {
    match &tag.payload {
        PL::P(octets) => Some(octets),
        PL::C(_) => None,
    }
}

fn constructed(tag: &StructureTag) -> Option<&[StructureTag]> {
    match &tag.payload {
        PL::C(parts) => Some(parts),
        PL::P(_) => None,
    }
}

fn attribute_parts(attribute: &StructureTag) -> Option<(&str, &[StructureTag])> {
    let [name, values] = constructed(attribute)? else { return None };
    let name = std::str::from_utf8(primitive(name)?).ok()?;
    let values = match &values.payload {
        PL::C(values) => values.as_slice(),
        // An empty set may come as a primitive without content.
        PL::P(octets) if octets.is_empty() => &[],
        PL::P(_) => return None,
    };
    values.iter().all(|value| primitive(value).is_some()).then_some((name, values))
}
