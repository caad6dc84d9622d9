//! The flat list of values: one table of entries sorted by attribute and value, one heap of octets.
//!
//! It is both what objects look like in memory and what records look like on disk, so that reading a record
//! costs two copies instead of one allocation per value.

use super::names::AttrId;
use super::value::{Blob, ValueKind, ValueRef};

/// Text and octets above this length are kept beside the record, so that a photo never moves a hot record.
pub const INLINE_VALUE_MAX: usize = 1024;

/// One value's place. `flags` is a [`super::ValueState`] in connector spaces and, in the metaverse, the index of
/// the contributor within the attribute's lineage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlatEntry {
    /// The attribute.
    pub attr: AttrId,
    /// The type of the value.
    pub kind: ValueKind,
    /// See the type's documentation.
    pub flags: u8,
    /// Where the value ends in the heap; it begins where the one before it ends.
    pub end: u32,
}

/// Values in canonical order: by attribute, then kind, then content. No value stands twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlatValues {
    entries: Vec<FlatEntry>,
    heap: Vec<u8>,
}

/// One value as read from a flat list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlatItem<'a> {
    /// The attribute.
    pub attr: AttrId,
    /// The value.
    pub value: ValueRef<'a>,
    /// See [`FlatEntry`].
    pub flags: u8,
}

/// One value as it lies in a list: checked when the list was made, so that comparing and copying need not decode it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawItem<'a> {
    attr: AttrId,
    kind: ValueKind,
    content: &'a [u8],
    flags: u8,
}

impl<'a> RawItem<'a> {
    /// The attribute.
    pub fn attr(self) -> AttrId {
        self.attr
    }

    /// See [`FlatEntry`].
    pub fn flags(self) -> u8 {
        self.flags
    }

    /// The value.
    ///
    /// # Panics
    /// Never: only checked values are given out.
    pub fn value(self) -> ValueRef<'a> {
        decode(self.kind, self.content).expect("entries were checked when the list was made")
    }

    /// True when attribute and value are the same, whatever the flags.
    pub fn same_value(self, other: RawItem<'_>) -> bool {
        self.attr == other.attr && self.kind == other.kind && self.content == other.content
    }

    /// The canonical order: by attribute, then as [`ValueRef`] orders values.
    fn order(self, other: RawItem<'_>) -> std::cmp::Ordering {
        self.attr.cmp(&other.attr).then_with(|| match (self.kind, other.kind) {
            // Text orders as its octets do.
            (ValueKind::Text, ValueKind::Text) | (ValueKind::Binary, ValueKind::Binary) => self.content.cmp(other.content),
            (kind, other_kind) if kind != other_kind => kind.cmp(&other_kind),
            _ => self.value().cmp(&other.value()),
        })
    }
}

impl FlatValues {
    /// A list from parts that were read from disk. `None` when the parts do not fit together: an end outside the
    /// heap or before its predecessor, text that is not UTF-8, a number that is not eight octets, disorder.
    pub fn from_parts(entries: Vec<FlatEntry>, heap: Vec<u8>) -> Option<Self> {
        let (mut start, mut text) = (0usize, 0usize);
        for entry in &entries {
            let end = entry.end as usize;
            let content = heap.get(start..end)?;
            if entry.kind != ValueKind::Text {
                std::str::from_utf8(&heap[text..start]).ok()?;
                decode(entry.kind, content)?;
                text = end;
            } else if content.first().is_some_and(|octet| octet & 0xc0 == 0x80) {
                // Texts that lie together are checked together; so none may begin within a character.
                return None;
            }
            start = end;
        }
        std::str::from_utf8(&heap[text..start]).ok()?;
        if start != heap.len() || !entries.windows(2).all(|pair| pair[0].attr <= pair[1].attr) {
            return None;
        }
        Some(Self { entries, heap })
    }

    /// The entries, in order.
    pub fn entries(&self) -> &[FlatEntry] {
        &self.entries
    }

    /// The heap that the entries point into.
    pub fn heap(&self) -> &[u8] {
        &self.heap
    }

    /// True without any value.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All values in order.
    pub fn iter(&self) -> impl Iterator<Item = FlatItem<'_>> + Clone {
        self.slice(0..self.entries.len())
    }

    /// The values of one attribute, in order.
    pub fn attribute(&self, attr: AttrId) -> impl Iterator<Item = FlatItem<'_>> + Clone {
        self.slice(self.attribute_range(attr))
    }

    /// Where an attribute's entries stand.
    pub fn attribute_range(&self, attr: AttrId) -> std::ops::Range<usize> {
        let start = self.entries.partition_point(|entry| entry.attr < attr);
        // Most attributes have no value or one: the second search is for the others.
        let has = |index: usize| self.entries.get(index).is_some_and(|entry| entry.attr == attr);
        let length = match (has(start), has(start + 1)) {
            (false, _) => 0,
            (true, false) => 1,
            (true, true) => self.entries[start..].partition_point(|entry| entry.attr == attr),
        };
        start..start + length
    }

    /// The value of the entry at `index`.
    ///
    /// # Panics
    /// When `index` is not below the number of entries.
    pub fn item(&self, index: usize) -> FlatItem<'_> {
        let raw = self.raw(index);
        // Both constructors have checked every entry; a mismatch would be a defect of this module.
        FlatItem { attr: raw.attr, value: raw.value(), flags: raw.flags }
    }

    /// The entry at `index` as it lies there.
    ///
    /// # Panics
    /// When `index` is not below the number of entries.
    pub fn raw(&self, index: usize) -> RawItem<'_> {
        let entry = self.entries[index];
        let start = if index == 0 { 0 } else { self.entries[index - 1].end as usize };
        RawItem { attr: entry.attr, kind: entry.kind, content: &self.heap[start..entry.end as usize], flags: entry.flags }
    }

    /// All values in order, as they lie there.
    pub fn raw_iter(&self) -> impl Iterator<Item = RawItem<'_>> + Clone {
        (0..self.entries.len()).map(|index| self.raw(index))
    }

    /// The values of one attribute in order, as they lie there.
    pub fn raw_attribute(&self, attr: AttrId) -> impl Iterator<Item = RawItem<'_>> + Clone {
        self.attribute_range(attr).map(|index| self.raw(index))
    }

    /// True when two lists have the same values of an attribute, whatever the flags.
    pub fn same_attribute(&self, other: &FlatValues, attr: AttrId) -> bool {
        let (ours, theirs) = (self.attribute_range(attr), other.attribute_range(attr));
        ours.len() == theirs.len() && ours.zip(theirs).all(|(ours, theirs)| self.raw(ours).same_value(other.raw(theirs)))
    }

    /// True when the list has this attribute with this value.
    pub fn has(&self, item: RawItem<'_>) -> bool {
        let range = self.attribute_range(item.attr);
        if range.len() <= 8 {
            return range.into_iter().any(|index| self.raw(index).same_value(item));
        }
        let (mut low, mut high) = (range.start, range.end);
        while low < high {
            let middle = usize::midpoint(low, high);
            match self.raw(middle).order(item) {
                std::cmp::Ordering::Equal => return true,
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        false
    }

    /// Changes the flags of the entry at `index`; order and values stay.
    pub fn set_flags(&mut self, index: usize, flags: u8) {
        self.entries[index].flags = flags;
    }

    /// The attributes that have an entry, each once, ascending.
    pub fn attributes(&self) -> impl Iterator<Item = AttrId> + '_ {
        let mut last = None;
        self.entries.iter().filter_map(move |entry| (last.replace(entry.attr) != Some(entry.attr)).then_some(entry.attr))
    }

    fn slice(&self, range: std::ops::Range<usize>) -> impl Iterator<Item = FlatItem<'_>> + Clone {
        range.map(|index| self.item(index))
    }
}

/// Collects values in any order and gives them back in canonical order.
#[derive(Clone, Debug, Default)]
pub struct FlatBuilder {
    entries: Vec<FlatEntry>,
    heap: Vec<u8>,
}

impl FlatBuilder {
    /// An empty builder.
    pub fn new() -> Self {
        Self::default()
    }

    /// A builder with room for a usual object.
    pub fn with_capacity(values: usize, octets: usize) -> Self {
        Self { entries: Vec::with_capacity(values), heap: Vec::with_capacity(octets) }
    }

    /// Adds a value. Of two equal values of one attribute the first one's flags win.
    ///
    /// # Panics
    /// On a reference (references are rows, not record values) and above 4 GiB of values.
    pub fn push(&mut self, attr: AttrId, value: ValueRef<'_>, flags: u8) {
        match value {
            ValueRef::Text(text) => self.heap.extend_from_slice(text.as_bytes()),
            ValueRef::Number(number) => self.heap.extend_from_slice(&number.to_le_bytes()),
            ValueRef::Boolean(boolean) => self.heap.push(u8::from(boolean)),
            ValueRef::Binary(bytes) => self.heap.extend_from_slice(bytes),
            ValueRef::LargeText(blob) | ValueRef::LargeBinary(blob) => {
                self.heap.extend_from_slice(&blob.hash.to_le_bytes());
                self.heap.extend_from_slice(&blob.length.to_le_bytes());
            }
            ValueRef::Reference(_) => panic!("a reference is a row, not a record value"),
        }
        let end = u32::try_from(self.heap.len()).expect("an object's values stay below 4 GiB");
        self.entries.push(FlatEntry { attr, kind: value.kind(), flags, end });
    }

    /// Adds a value of another list, with other flags. Of two equal values of one attribute the first one's flags win.
    ///
    /// # Panics
    /// Above 4 GiB of values.
    pub fn push_raw(&mut self, item: RawItem<'_>, flags: u8) {
        self.heap.extend_from_slice(item.content);
        let end = u32::try_from(self.heap.len()).expect("an object's values stay below 4 GiB");
        self.entries.push(FlatEntry { attr: item.attr, kind: item.kind, flags, end });
    }

    /// True while nothing was added.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The list, sorted and without doubles, in no more memory than it needs: a batch keeps thousands of them.
    pub fn finish(self) -> FlatValues {
        let mut unsorted = FlatValues { entries: self.entries, heap: self.heap };
        let count = unsorted.entries.len();
        let in_order = |index: usize| {
            let (before, after) = (unsorted.entries[index - 1].attr, unsorted.entries[index].attr);
            before < after || before == after && unsorted.raw(index - 1).order(unsorted.raw(index)).is_lt()
        };
        if (1..count).all(in_order) {
            unsorted.entries.shrink_to_fit();
            unsorted.heap.shrink_to_fit();
            return unsorted;
        }
        let mut order: Vec<usize> = (0..count).collect();
        // Stable, so that the first of equal values stays first and keeps its flags.
        order.sort_by(|left, right| unsorted.raw(*left).order(unsorted.raw(*right)));
        order.dedup_by(|later, earlier| unsorted.raw(*later).same_value(unsorted.raw(*earlier)));
        let octets = order.iter().map(|index| unsorted.raw(*index).content.len()).sum();
        let mut sorted = FlatBuilder::with_capacity(order.len(), octets);
        for index in order {
            let item = unsorted.raw(index);
            sorted.push_raw(item, item.flags);
        }
        FlatValues { entries: sorted.entries, heap: sorted.heap }
    }
}

fn decode(kind: ValueKind, content: &[u8]) -> Option<ValueRef<'_>> {
    Some(match kind {
        ValueKind::Text => ValueRef::Text(std::str::from_utf8(content).ok()?),
        ValueKind::Number => ValueRef::Number(i64::from_le_bytes(content.try_into().ok()?)),
        ValueKind::Boolean => match content {
            [0] => ValueRef::Boolean(false),
            [1] => ValueRef::Boolean(true),
            _ => return None,
        },
        ValueKind::Binary => ValueRef::Binary(content),
        ValueKind::LargeText => ValueRef::LargeText(decode_blob(content)?),
        ValueKind::LargeBinary => ValueRef::LargeBinary(decode_blob(content)?),
        ValueKind::Reference => return None,
    })
}

fn decode_blob(content: &[u8]) -> Option<Blob> {
    let (hash, length) = content.split_at_checked(16)?;
    Some(Blob { hash: u128::from_le_bytes(hash.try_into().ok()?), length: u32::from_le_bytes(length.try_into().ok()?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_sorted_and_once() {
        let mut builder = FlatBuilder::new();
        builder.push(AttrId(7), ValueRef::Text("b"), 1);
        builder.push(AttrId(3), ValueRef::Number(-5), 2);
        builder.push(AttrId(7), ValueRef::Text("a"), 3);
        builder.push(AttrId(7), ValueRef::Text("b"), 4);
        let values = builder.finish();
        let seen: Vec<_> = values.iter().map(|item| (item.attr.0, format!("{:?}", item.value), item.flags)).collect();
        assert_eq!(seen, [(3, "-5".to_owned(), 2), (7, "\"a\"".to_owned(), 3), (7, "\"b\"".to_owned(), 1)]);
        assert_eq!(values.attribute(AttrId(7)).count(), 2);
        assert_eq!(values.attributes().collect::<Vec<_>>(), [AttrId(3), AttrId(7)]);
    }

    #[test]
    fn damaged_parts_are_refused() {
        let entry = FlatEntry { attr: AttrId(1), kind: ValueKind::Text, flags: 0, end: 2 };
        assert!(FlatValues::from_parts(vec![entry], vec![0xff, 0xfe]).is_none(), "not UTF-8");
        let text = |ends: &[u32]| ends.iter().map(|end| FlatEntry { end: *end, ..entry }).collect::<Vec<_>>();
        let number = FlatEntry { kind: ValueKind::Number, end: 10, ..entry };
        assert!(FlatValues::from_parts(text(&[1, 2]), "é".into()).is_none(), "an end within a character");
        assert!(FlatValues::from_parts(text(&[2, 4]), vec![b'a', b'b', 0xc3, b'c']).is_none(), "the second text is none");
        assert!(FlatValues::from_parts(vec![text(&[2])[0], number], [&[0xc3, b'a'][..], &[0; 8]].concat()).is_none(), "nor the first");
        assert!(FlatValues::from_parts(vec![text(&[2])[0], number], ["é".as_bytes(), &[0xff; 8]].concat()).is_some());
        assert!(FlatValues::from_parts(vec![entry], vec![b'a']).is_none(), "end outside the heap");
        assert!(FlatValues::from_parts(vec![entry], b"abc".to_vec()).is_none(), "heap longer than its entries");
        assert!(FlatValues::from_parts(vec![entry], b"ab".to_vec()).is_some());
    }
}
