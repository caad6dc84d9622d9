//! What rules read.

use super::delta::{StageMask, ValueState};
use super::flat::FlatValues;
use super::ids::ConnectorId;
use super::names::{AttrId, ObjectType};
use super::value::{Blob, ValueRef};

/// Something with attributes: an image of a connector-space object or a metaverse object, read in place.
pub trait AttributeSource: Sync {
    /// The object's type.
    fn object_type(&self) -> ObjectType;
    /// The object's distinguished name; empty in the metaverse.
    fn dn(&self) -> &str;
    /// The values of an attribute, in canonical order. References are given by [`Self::references`] only.
    fn values(&self, attr: AttrId) -> Values<'_>;
    /// The values confirmed by import alone: without anything exported and not yet seen (`ImportedValue`).
    fn imported_values(&self, attr: AttrId) -> Values<'_>;
    /// How many values or references an attribute has, without loading them (`ValueCount`).
    fn count(&self, attr: AttrId) -> u64;
    /// The objects an attribute refers to, as numbers of the space the object lives in.
    fn references(&self, attr: AttrId) -> Vec<u64>;
    /// The name of an object that a reference points to.
    fn reference_dn(&self, target: u64) -> Option<String>;
    /// The octets behind a large value.
    fn blob(&self, blob: Blob) -> Option<Vec<u8>>;
    /// True for a metaverse object to which an object of this connector gives something.
    fn has_part_of(&self, _connector: ConnectorId) -> bool {
        false
    }
    /// Which attributes may have a value, references aside; `None` when only asking tells.
    fn present(&self) -> Option<&Present> {
        None
    }
}

/// Which attributes a list of values has, as bits. Rules ask for several hundred attributes of an object that has
/// forty; most questions end here.
#[derive(Clone, Debug)]
pub struct Present([u64; Present::WORDS]);

impl Present {
    /// Names beyond 64 times this many are looked up the long way.
    const WORDS: usize = 16;

    /// Notes the attributes of a list.
    pub fn of(values: &FlatValues) -> Self {
        let mut words = [0; Self::WORDS];
        for entry in values.entries() {
            if let Some(word) = words.get_mut(usize::from(entry.attr.0 / 64)) {
                *word |= 1 << (entry.attr.0 % 64);
            }
        }
        Self(words)
    }

    /// False only for an attribute that certainly has no value.
    pub fn may_have(&self, attr: AttrId) -> bool {
        self.0.get(usize::from(attr.0 / 64)).is_none_or(|word| word >> (attr.0 % 64) & 1 == 1)
    }
}

/// The values of one attribute in one image, in canonical order.
#[derive(Clone, Debug)]
pub struct Values<'a> {
    list: Option<&'a FlatValues>,
    range: std::ops::Range<usize>,
    /// `None`: flags are no states, every entry counts.
    mask: Option<StageMask>,
}

impl<'a> Values<'a> {
    /// No values.
    pub fn none() -> Self {
        Self { list: None, range: 0..0, mask: None }
    }

    /// An attribute of a metaverse object.
    pub fn all(values: &'a FlatValues, attr: AttrId) -> Self {
        Self { list: Some(values), range: values.attribute_range(attr), mask: None }
    }

    /// An attribute of a connector-space object in the image that `mask` describes.
    pub fn staged(values: &'a FlatValues, attr: AttrId, mask: StageMask) -> Self {
        Self { list: Some(values), range: values.attribute_range(attr), mask: Some(mask) }
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = ValueRef<'a>;

    fn next(&mut self) -> Option<ValueRef<'a>> {
        let values = self.list?;
        for index in self.range.by_ref() {
            let item = values.item(index);
            if self.mask.is_none_or(|mask| ValueState(item.flags).present(mask)) {
                return Some(item.value);
            }
        }
        None
    }
}
