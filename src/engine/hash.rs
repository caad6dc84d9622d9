//! The canonical hash of an entry: equal exactly when the entry says the same, whatever the order in which it does.
//!
//! A wrapping sum over all values of XXH3-128 of the raw octets, seeded by attribute and kind and by the secret of
//! the installation, so that nobody can compose values that cancel out. Name and type count as values of their own.

use crate::connector::EntryRef;
use crate::model::{AttrId, ValueKind};
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

/// Seeds of the pseudo-attributes, outside the range of real ones.
const NAME: u64 = 1 << 40;
const TYPE: u64 = 2 << 40;

/// The hash of a whole entry: name, type and all values (design: storage and performance, section 5). `secret` is the
/// store's.
pub fn entry(entry: &EntryRef<'_>, secret: u64) -> u128 {
    let mut sum = xxh3_128_with_seed(entry.dn().as_bytes(), secret ^ NAME);
    if let Some(object_type) = entry.object_type() {
        sum = sum.wrapping_add(xxh3_128_with_seed(&object_type.0.to_le_bytes(), secret ^ TYPE));
    }
    for (attr, _, values) in entry.attributes() {
        for (target, (kind, _, octets)) in values.with_targets() {
            let seed = secret ^ seed(attr, kind);
            // Another object may have the name by now.
            let seed = target.map_or(seed, |anchor| xxh3_64_with_seed(anchor, seed));
            sum = sum.wrapping_add(xxh3_128_with_seed(octets, seed));
        }
    }
    sum
}

/// What hashes of an import depend on besides the values: another epoch means that bodies are compared once.
pub(super) fn epoch(attributes: &[AttrId], secret: u64) -> u64 {
    /// Raised whenever the way of hashing or of normalising changes.
    const FORMAT: u64 = 2;
    let mut sorted: Vec<u16> = attributes.iter().map(|attr| attr.0).collect();
    sorted.sort_unstable();
    sorted.dedup();
    let octets: Vec<u8> = sorted.iter().flat_map(|attr| attr.to_le_bytes()).collect();
    xxh3_64_with_seed(&octets, secret ^ FORMAT)
}

fn seed(attr: AttrId, kind: ValueKind) -> u64 {
    let kind = match kind {
        ValueKind::Text | ValueKind::LargeText => 1u64,
        ValueKind::Number => 2,
        ValueKind::Boolean => 3,
        ValueKind::Binary | ValueKind::LargeBinary => 4,
        ValueKind::Reference => 5,
    };
    (u64::from(attr.0) << 8 | kind).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::{ImportPage, Operation, PageBuilder, PageItem};
    use crate::model::ValueRef;

    fn page(values: &[(u16, &str)]) -> ImportPage {
        let mut builder = PageBuilder::new();
        builder.begin_entry("CN=a");
        for (attr, value) in values {
            builder.attribute(AttrId(*attr), Operation::Replace);
            builder.value(ValueRef::Text(value));
        }
        builder.finish();
        builder.build(None)
    }

    fn hash_of(page: &ImportPage) -> u128 {
        match page.item(0) {
            PageItem::Entry(item) => entry(&item, 77),
            other => panic!("an entry was put in, {other:?} came out"),
        }
    }

    #[test]
    fn order_does_not_count_and_attributes_do() {
        let one = hash_of(&page(&[(1, "x"), (2, "y")]));
        assert_eq!(one, hash_of(&page(&[(2, "y"), (1, "x")])));
        assert_ne!(one, hash_of(&page(&[(1, "y"), (2, "x")])), "values that change places are a change");
        assert_ne!(one, hash_of(&page(&[(1, "x")])));
    }
}
