//! The anchor: the unique, immutable key of an object in its own directory.

use std::fmt;

/// An opaque octet string, compared bytewise, unique within a connector. AD: `objectGUID`; OpenLDAP:
/// `entryUUID`; cloud: the text of `cloudAnchor`; LDIF: the configured attribute.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Anchor(Box<[u8]>);

impl Anchor {
    /// Wraps the octets of an anchor.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The octets.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
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
        match std::str::from_utf8(&self.0) {
            Ok(text) if !text.is_empty() && text.chars().all(|c| !c.is_control()) => f.write_str(text),
            _ => self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}
