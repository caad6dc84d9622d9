//! The anchor: the unique, immutable key of an object in its own directory.

use std::fmt;

/// An opaque octet string, compared bytewise, unique within a connector. AD: `objectGUID`; OpenLDAP:
/// `entryUUID`; cloud: the text of `cloudAnchor`; LDIF: the configured attribute.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Anchor(Box<[u8]>);

/// No key of an object begins like this.
const PLACEHOLDER: &[u8] = b"\0placeholder\0";

impl Anchor {
    /// Octets of the longest anchor (specification: sync engine, section 2.4: `anchor-too-long`).
    pub const OCTETS_MAX: usize = 398;
    /// Octets of an anchor that is a GUID: the `objectGUID` of Active Directory.
    pub const GUID_OCTETS: usize = 16;

    /// Wraps the octets of an anchor.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The octets.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The key under which a placeholder is found: that of the object that references mean, with a mark, so that nobody takes
    /// the placeholder for the object.
    /// A key that has the mark stays as it is.
    pub fn of_placeholder(object: &[u8]) -> Self {
        Self(if Self::is_of_placeholder(object) { object.into() } else { [PLACEHOLDER, object].concat().into() })
    }

    /// The octets of the object's own key, without the mark of a placeholder that stands for it.
    pub fn unmarked(&self) -> &[u8] {
        self.0.strip_prefix(PLACEHOLDER).unwrap_or(&self.0)
    }

    /// True for the octets of a key that [`of_placeholder`](Self::of_placeholder) made.
    pub fn is_of_placeholder(octets: &[u8]) -> bool {
        octets.starts_with(PLACEHOLDER)
    }
}

impl fmt::Debug for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Anchor({self})")
    }
}

/// Printable text as it is, anything else in lower-case hex.
impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let octets = self.unmarked();
        match std::str::from_utf8(octets) {
            Ok(text) if !text.is_empty() && text.chars().all(|c| !c.is_control()) => f.write_str(text),
            _ => octets.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}
