//! Identifiers: small on purpose, because they are the primary keys of the store. GUIDs and anchors
//! of directories are attributes with an index.

use std::fmt;

/// A configured connector. Given out once in configuration order and never reused within a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectorId(pub u16);

/// A connector-space object: the connector in the upper 16 bits, a sequence number from 1 below it.
///
/// All objects of one connector are therefore one contiguous key range. Numbers are never used again, so that it has holes where objects
/// left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CsId(pub u64);

/// A metaverse object; dense, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MvId(pub u64);

/// A synchronization rule: the interned number of its configured identifier, stable across restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub u32);

/// A run of one profile on one connector; dense, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub u64);

const SEQUENCE_BITS: u32 = 48;
const SEQUENCE_MASK: u64 = (1 << SEQUENCE_BITS) - 1;

impl CsId {
    /// Composes an id. `sequence` must fit 48 bits; higher bits are cut off.
    pub fn new(connector: ConnectorId, sequence: u64) -> Self {
        Self(u64::from(connector.0) << SEQUENCE_BITS | (sequence & SEQUENCE_MASK))
    }

    /// The connector whose space holds the object.
    pub fn connector(self) -> ConnectorId {
        // The shift leaves 16 bits, so the conversion cannot fail.
        ConnectorId(u16::try_from(self.0 >> SEQUENCE_BITS).unwrap_or(u16::MAX))
    }

    /// The position in the connector's own sequence, from 1.
    pub fn sequence(self) -> u64 {
        self.0 & SEQUENCE_MASK
    }

    /// First and last possible id of a connector, for range scans.
    pub fn range(connector: ConnectorId) -> std::ops::RangeInclusive<CsId> {
        Self::new(connector, 0)..=Self::new(connector, SEQUENCE_MASK)
    }
}

impl fmt::Display for ConnectorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for CsId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.connector().0, self.sequence())
    }
}

impl fmt::Display for MvId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
