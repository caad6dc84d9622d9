//! Hashes under which planning looks things up: join values, and the footprint by which two units of one batch
//! find out that one of them read what the other wrote.

use crate::model::{AttrId, ConnectorId, CsId, DnKey, MvId, ValueRef, fold};
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

const TAG_OBJECT: u64 = 1;
const TAG_METAVERSE: u64 = 2;
const TAG_NAME: u64 = 3;

/// What an attribute and a value hash to when values compare folded. Two values that a join may take for equal have
/// one key; different values share one only by an accident of 128 bits, and candidates are verified anyway.
pub(crate) fn join_key(attr: AttrId, value: ValueRef<'_>) -> u128 {
    let seed = |kind: u64| u64::from(attr.0) << 8 | kind;
    match value {
        ValueRef::Text(text) => xxh3_128_with_seed(fold(text).as_bytes(), seed(0)),
        ValueRef::Number(number) => xxh3_128_with_seed(&number.to_le_bytes(), seed(1)),
        ValueRef::Boolean(boolean) => xxh3_128_with_seed(&[u8::from(boolean)], seed(2)),
        ValueRef::Binary(bytes) => xxh3_128_with_seed(bytes, seed(3)),
        ValueRef::LargeText(blob) | ValueRef::LargeBinary(blob) => xxh3_128_with_seed(&blob.hash.to_le_bytes(), seed(4)),
        ValueRef::Reference(id) => xxh3_128_with_seed(&id.to_le_bytes(), seed(5)),
    }
}

/// True when two values are one for a join: same type, text without regard to case unless asked otherwise.
pub(crate) fn same_value(left: ValueRef<'_>, right: ValueRef<'_>, case_sensitive: bool) -> bool {
    match (left, right) {
        (ValueRef::Text(left), ValueRef::Text(right)) if !case_sensitive => left == right || fold(left) == fold(right),
        _ => left == right,
    }
}

/// The footprint of a join lookup: the lower half of its key.
#[expect(clippy::cast_possible_truncation, reason = "cutting off is the purpose")]
pub(crate) fn footprint_join(key: u128) -> u64 {
    // A footprint that collides costs one repeated evaluation, never a wrong one.
    key as u64
}

/// The footprint of a connector-space object with its link.
pub(crate) fn footprint_object(id: CsId) -> u64 {
    mix(id.0, TAG_OBJECT)
}

/// The footprint of a metaverse object with its links.
pub(crate) fn footprint_metaverse(id: MvId) -> u64 {
    mix(id.0, TAG_METAVERSE)
}

/// The footprint of a distinguished name.
pub(crate) fn footprint_name(connector: ConnectorId, name: &DnKey) -> u64 {
    xxh3_64_with_seed(name.as_bytes(), u64::from(connector.0) << 8 | TAG_NAME)
}

fn mix(number: u64, tag: u64) -> u64 {
    let mut mixed = number ^ tag.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}

/// Hashes that are hashes already are used as they are by tables keyed with them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KeyHasher(u64);

impl std::hash::Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    fn write_u16(&mut self, number: u16) {
        self.0 = mix(u64::from(number), self.0);
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = mix(number, self.0);
    }

    fn write_u128(&mut self, number: u128) {
        self.0 = footprint_join(number);
    }
}

/// Builds tables with [`KeyHasher`].
pub(crate) type KeyHash = std::hash::BuildHasherDefault<KeyHasher>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_fold_case_and_keep_attributes_and_types_apart() {
        let key = |attr, value| join_key(AttrId(attr), value);
        assert_eq!(key(4, ValueRef::Text("Ada@Example.ORG")), key(4, ValueRef::Text("ada@example.org")));
        assert_ne!(key(4, ValueRef::Text("ada")), key(5, ValueRef::Text("ada")));
        assert_ne!(key(4, ValueRef::Text("1")), key(4, ValueRef::Binary(b"1")));
        assert!(same_value(ValueRef::Text("ÄB"), ValueRef::Text("äb"), false));
        assert!(!same_value(ValueRef::Text("AB"), ValueRef::Text("ab"), true));
        assert!(!same_value(ValueRef::Text("1"), ValueRef::Number(1), false));
    }
}
