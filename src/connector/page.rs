//! A page of imported entries: one heap of octets and three tables, filled straight from the wire.

use super::{Completion, Legible};
use crate::model::{Anchor, AttrId, ObjectErrorCode, ObjectType, ValueKind, ValueRef};
use std::ops::Range;

/// Entries in a page.
pub(crate) const PAGE_ENTRIES: usize = 1_000;
/// Octets after which a page ends early.
const PAGE_OCTETS: usize = 16 << 20;

/// What an entry says about one attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// These are all values; none means that the attribute is absent.
    Replace,
    /// These values are new.
    Add,
    /// These values are gone.
    Remove,
}

/// An entry that could not be understood: counted, shown, never guessed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveryError {
    /// The stable name.
    pub code: ObjectErrorCode,
    /// For people: which attribute or line, and what to do.
    pub detail: String,
    /// The entry's name, when it was legible.
    pub dn: Option<String>,
    /// The entry's anchor, when it was legible. An object that is known by it, or by the name, counts as seen; without
    /// an anchor and with a name that is new it may be any object, and none is taken for gone.
    pub anchor: Option<Anchor>,
    /// What else was legible: whom the entry may be about.
    pub legible: Legible,
}

/// An entry that is not wanted, since it is of a class that nobody knows: maybe only its spelling is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OddClass {
    /// The entry's name.
    pub dn: String,
    /// Its anchor, when it was legible.
    pub anchor: Option<Anchor>,
    /// The class.
    pub class: String,
    /// Where it was read, for people.
    pub place: String,
    /// The class looks like a wanted one, or the list of classes looks like the beginning of one.
    pub slip: bool,
    /// Whom the entry may be about.
    pub legible: Legible,
}

impl OddClass {
    /// Octets of content.
    fn octets(&self) -> usize {
        let anchor = self.anchor.as_ref().map_or(0, |anchor| anchor.as_bytes().len());
        self.dn.len() + anchor + self.class.len() + self.place.len() + self.legible.octets()
    }
}

/// One thing a page tells.
#[derive(Clone, Debug)]
pub enum PageItem<'a> {
    /// A whole object: attributes that it does not name are absent.
    Entry(EntryRef<'a>),
    /// Only what changed.
    Change(EntryRef<'a>),
    /// The object is gone; [`EntryRef::departure`] says in which way.
    Gone(EntryRef<'a>),
    /// The object is there and unchanged. It is known by its anchor alone, and matters only where whatever is not named
    /// is gone ([`Completion::answered_in_full`]).
    Present(EntryRef<'a>),
    /// Not understood.
    Rejected(&'a DiscoveryError),
}

/// In which way an object is gone, and what that means for those who refer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// It is gone; whether others still refer to it is told with them.
    Plain,
    /// It was deleted, and the directory takes references to a deleted object away without telling so of those who
    /// refer to it. The name, if given, is the one it had; whoever refers to that name refers to it no more.
    Deleted,
    /// It is still there, under the name given, and no longer in scope. References to it stay.
    Left,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ItemKind {
    Entry,
    Change,
    Gone(Departure),
    Present,
}

#[derive(Clone, Debug)]
enum Item {
    Known {
        kind: ItemKind,
        anchor: Option<(u32, u32)>,
        dn: (u32, u32),
        /// The name before, where a rename is told by it.
        former: Option<(u32, u32)>,
        object_type: Option<ObjectType>,
        attributes: (u32, u32),
    },
    Rejected(DiscoveryError),
}

#[derive(Clone, Copy, Debug)]
struct Attribute {
    attr: AttrId,
    operation: Operation,
    values: (u32, u32),
}

#[derive(Clone, Copy, Debug)]
struct PlacedValue {
    kind: ValueKind,
    content: (u32, u32),
}

/// A page of an import stream.
#[derive(Clone, Debug, Default)]
pub struct ImportPage {
    heap: Vec<u8>,
    values: Vec<PlacedValue>,
    attributes: Vec<Attribute>,
    items: Vec<Item>,
    /// Anchors of objects that values refer to, by the position of the value, where the directory tells them.
    targets: Vec<(u32, (u32, u32))>,
    /// Where an entry and an earlier one with the same anchor were read, by the position of the item and in its order.
    told_twice: Vec<(usize, String)>,
    /// Entries that the connector saw and dropped because they are out of scope.
    pub filtered: u64,
    /// Entries that are not wanted and of a class which nobody knows.
    pub odd: Vec<OddClass>,
    /// Sentences for people about the import as a whole: what it could not do, and how it could.
    pub notes: Vec<String>,
    /// The same where somebody should do something: the step ends with warnings.
    pub warnings: Vec<String>,
    /// Something changed and could not be read, and a note says so: the next import has to read everything.
    pub untold: bool,
    /// Set on the last page of a complete stream.
    pub completion: Option<Completion>,
}

impl ImportPage {
    /// A page without items that ends a stream.
    pub fn last(completion: Completion) -> Self {
        Self { completion: Some(completion), ..Self::default() }
    }

    /// A page without items that says of what only an import of everything can tell.
    pub fn untold(note: String) -> Self {
        Self { notes: vec![note], untold: true, ..Self::default() }
    }

    /// A page without items that tells people something.
    pub fn warning(warnings: Vec<String>) -> Self {
        Self { warnings, ..Self::default() }
    }

    /// How many items the page has.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// True without items.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Octets of content, for bounds on memory.
    pub fn octets(&self) -> usize {
        self.heap.len()
    }

    /// The item at `index`, which must be below [`Self::len`].
    pub fn item(&self, index: usize) -> PageItem<'_> {
        match &self.items[index] {
            Item::Rejected(error) => PageItem::Rejected(error),
            Item::Known { kind, .. } => {
                let entry = EntryRef { page: self, index };
                match kind {
                    ItemKind::Entry => PageItem::Entry(entry),
                    ItemKind::Change => PageItem::Change(entry),
                    ItemKind::Gone(_) => PageItem::Gone(entry),
                    ItemKind::Present => PageItem::Present(entry),
                }
            }
        }
    }

    /// All items in order.
    pub fn items(&self) -> impl Iterator<Item = PageItem<'_>> {
        (0..self.items.len()).map(|index| self.item(index))
    }

    fn slice(&self, (start, end): (u32, u32)) -> &[u8] {
        &self.heap[start as usize..end as usize]
    }

    fn text(&self, span: (u32, u32)) -> &str {
        // Only `&str` contents are written into spans that are read as text.
        std::str::from_utf8(self.slice(span)).unwrap_or_default()
    }
}

/// An entry of a page, read in place.
#[derive(Clone, Copy, Debug)]
pub struct EntryRef<'a> {
    page: &'a ImportPage,
    index: usize,
}

impl<'a> EntryRef<'a> {
    /// The anchor, if the directory gave one.
    pub fn anchor(&self) -> Option<&'a [u8]> {
        match &self.page.items[self.index] {
            Item::Known { anchor, .. } => anchor.map(|span| self.page.slice(span)),
            Item::Rejected(_) => None,
        }
    }

    /// Where an earlier entry of the import with the same anchor was read and where this one, in words, when the connector knows it.
    pub fn told_twice(&self) -> Option<&'a str> {
        let told = &self.page.told_twice;
        let found = told.binary_search_by_key(&self.index, |(index, _)| *index).ok()?;
        Some(&told[found].1)
    }

    /// The name as the directory spelt it; empty when a change or tombstone carries an anchor only.
    pub fn dn(&self) -> &'a str {
        match &self.page.items[self.index] {
            Item::Known { dn, .. } => self.page.text(*dn),
            Item::Rejected(_) => "",
        }
    }

    /// The name before, when the directory tells a rename by names alone: which object it is. Empty otherwise.
    pub fn former_dn(&self) -> &'a str {
        match &self.page.items[self.index] {
            Item::Known { former: Some(former), .. } => self.page.text(*former),
            _ => "",
        }
    }

    /// The most derived type, when the entry says it.
    pub fn object_type(&self) -> Option<ObjectType> {
        match &self.page.items[self.index] {
            Item::Known { object_type, .. } => *object_type,
            Item::Rejected(_) => None,
        }
    }

    /// In which way the object is gone; `None` for one that is not.
    pub fn departure(&self) -> Option<Departure> {
        match &self.page.items[self.index] {
            Item::Known { kind: ItemKind::Gone(departure), .. } => Some(*departure),
            _ => None,
        }
    }

    /// True when the entry says something about references.
    pub fn has_references(&self) -> bool {
        self.attributes().any(|(_, _, mut values)| values.any(|(kind, ..)| kind == ValueKind::Reference))
    }

    /// Attributes in the order in which they came: what happens, to which, with which values. A value of kind
    /// `Reference` is given as [`ValueRef::Text`] with `ValueKind::Reference`: the name of the other object.
    pub fn attributes(&self) -> impl Iterator<Item = (AttrId, Operation, EntryValues<'a>)> + use<'a> {
        let page = self.page;
        let (start, end) = match &page.items[self.index] {
            Item::Known { attributes, .. } => *attributes,
            Item::Rejected(_) => (0, 0),
        };
        page.attributes[start as usize..end as usize].iter().map(move |attribute| {
            (attribute.attr, attribute.operation, EntryValues { page, range: attribute.values.0 as usize..attribute.values.1 as usize })
        })
    }
}

/// The values an entry gives for one attribute: kind, decoded value, raw octets (for hashing).
#[derive(Clone, Debug)]
pub struct EntryValues<'a> {
    page: &'a ImportPage,
    range: Range<usize>,
}

impl<'a> EntryValues<'a> {
    /// Each value with the anchor of the object that it refers to, where the directory gave that beside the name.
    pub fn with_targets(mut self) -> impl Iterator<Item = (Option<&'a [u8]>, <Self as Iterator>::Item)> {
        std::iter::from_fn(move || {
            let target = self.next_target();
            Some((target, self.next()?))
        })
    }

    fn next_target(&self) -> Option<&'a [u8]> {
        let page = self.page;
        page.values.get(self.range.start).filter(|placed| placed.kind == ValueKind::Reference)?;
        let next = u32::try_from(self.range.start).ok()?;
        let found = page.targets.binary_search_by_key(&next, |(value, _)| *value).ok()?;
        Some(page.slice(page.targets[found].1))
    }
}

impl<'a> Iterator for EntryValues<'a> {
    type Item = (ValueKind, ValueRef<'a>, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let placed = self.page.values[self.range.next()?];
        let content = self.page.slice(placed.content);
        let value = match placed.kind {
            ValueKind::Text | ValueKind::Reference | ValueKind::LargeText => ValueRef::Text(self.page.text(placed.content)),
            ValueKind::Number => ValueRef::Number(i64::from_le_bytes(content.try_into().unwrap_or_default())),
            ValueKind::Boolean => ValueRef::Boolean(content == [1]),
            ValueKind::Binary | ValueKind::LargeBinary => ValueRef::Binary(content),
        };
        Some((placed.kind, value, content))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.range.size_hint()
    }
}

/// Fills a page. An entry is open from `begin_*` to `finish` or `abandon`.
#[derive(Debug, Default)]
pub struct PageBuilder {
    page: ImportPage,
    open: Option<(usize, usize, usize)>,
    /// Octets of the entries of classes that nobody knows.
    odd_octets: usize,
}

impl PageBuilder {
    /// An empty page.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens a whole object.
    pub fn begin_entry(&mut self, dn: &str) {
        self.begin(ItemKind::Entry, dn);
    }

    /// Opens an object of which only changes are told.
    pub fn begin_change(&mut self, dn: &str) {
        self.begin(ItemKind::Change, dn);
    }

    /// Opens a change of an object that is known by its former name and has another one now.
    pub fn begin_rename(&mut self, former: &str, dn: &str) {
        self.begin(ItemKind::Change, dn);
        self.former(former);
    }

    /// Opens a tombstone of an object that is known by its former name, and is out of scope under the one that it has now.
    pub fn begin_move_out(&mut self, former: &str, dn: &str) {
        self.begin(ItemKind::Gone(Departure::Left), dn);
        self.former(former);
    }

    fn former(&mut self, former: &str) {
        let span = self.place(former.as_bytes());
        if let Some(Item::Known { former, .. }) = self.page.items.last_mut() {
            *former = Some(span);
        }
    }

    /// Opens a tombstone.
    pub fn begin_gone(&mut self, dn: &str) {
        self.begin(ItemKind::Gone(Departure::Plain), dn);
    }

    /// Opens a tombstone of a directory that says in which way objects go.
    pub fn begin_departure(&mut self, dn: &str, departure: Departure) {
        self.begin(ItemKind::Gone(departure), dn);
    }

    /// Opens an object that is there and unchanged; only its anchor counts.
    pub fn begin_present(&mut self, dn: &str) {
        self.begin(ItemKind::Present, dn);
    }

    /// Sets the anchor of the open entry.
    pub fn anchor(&mut self, octets: &[u8]) {
        let span = self.place(octets);
        if let Some(Item::Known { anchor, .. }) = self.page.items.last_mut() {
            *anchor = Some(span);
        }
    }

    /// The anchor of the last entry.
    pub fn last_anchor(&self) -> Option<&[u8]> {
        match self.page.items.last()? {
            Item::Known { anchor, .. } => anchor.map(|span| self.page.slice(span)),
            Item::Rejected(_) => None,
        }
    }

    /// Says where an earlier entry with the anchor of the last one was read, and where that one.
    pub fn told_twice(&mut self, places: String) {
        if let Some(last) = self.page.items.len().checked_sub(1) {
            self.page.told_twice.push((last, places));
        }
    }

    /// Sets the object type of the open entry.
    pub fn object_type(&mut self, object_type: ObjectType) {
        if let Some(Item::Known { object_type: slot, .. }) = self.page.items.last_mut() {
            *slot = Some(object_type);
        }
    }

    /// Begins an attribute of the open entry; values follow.
    pub fn attribute(&mut self, attr: AttrId, operation: Operation) {
        let at = offset(self.page.values.len());
        self.page.attributes.push(Attribute { attr, operation, values: (at, at) });
        let end = offset(self.page.attributes.len());
        if let Some(Item::Known { attributes, .. }) = self.page.items.last_mut() {
            attributes.1 = end;
        }
    }

    /// Adds a value to the attribute begun last.
    pub fn value(&mut self, value: ValueRef<'_>) {
        match value {
            ValueRef::Text(text) => self.push(ValueKind::Text, text.as_bytes()),
            ValueRef::Number(number) => self.push(ValueKind::Number, &number.to_le_bytes()),
            ValueRef::Boolean(boolean) => self.push(ValueKind::Boolean, &[u8::from(boolean)]),
            ValueRef::Binary(octets) => self.push(ValueKind::Binary, octets),
            // Handles and numbers of objects are the engine's; a connector has contents and names.
            ValueRef::LargeText(_) | ValueRef::LargeBinary(_) | ValueRef::Reference(_) => {}
        }
    }

    /// Adds a reference, by the name of the other object, to the attribute begun last.
    pub fn reference(&mut self, dn: &str) {
        self.push(ValueKind::Reference, dn.as_bytes());
    }

    /// Adds a reference, by name and anchor of the other object, to the attribute begun last. The anchor decides: the name may be
    /// one that the object had when it was referred to.
    pub fn reference_to(&mut self, dn: &str, anchor: &[u8]) {
        let target = self.place(anchor);
        self.page.targets.push((offset(self.page.values.len()), target));
        self.reference(dn);
    }

    /// Closes the open entry.
    pub fn finish(&mut self) {
        self.open = None;
    }

    /// Takes the open entry back, as if it had never been begun, and notes why.
    pub fn reject(&mut self, error: DiscoveryError) {
        self.abandon();
        self.page.items.push(Item::Rejected(error));
    }

    /// Takes the open entry back and counts it as filtered.
    pub fn filter(&mut self) {
        self.abandon();
        self.page.filtered += 1;
    }

    /// Notes that an entry which is not wanted is of a class that nobody knows.
    pub fn odd_class(&mut self, odd: OddClass) {
        self.odd_octets += odd.octets();
        self.page.odd.push(odd);
    }

    /// How many items the page has so far.
    pub fn len(&self) -> usize {
        self.page.len()
    }

    /// True without items.
    pub fn is_empty(&self) -> bool {
        self.page.is_empty()
    }

    /// Octets of content so far.
    pub fn octets(&self) -> usize {
        self.page.octets()
    }

    /// True when the page should be handed over before more comes in, whatever it holds.
    pub fn is_full(&self) -> bool {
        self.page.len() + self.page.odd.len() >= PAGE_ENTRIES || self.page.octets() + self.odd_octets >= PAGE_OCTETS
    }

    /// The page.
    pub fn build(self, completion: Option<Completion>) -> ImportPage {
        ImportPage { completion, ..self.page }
    }

    fn begin(&mut self, kind: ItemKind, dn: &str) {
        self.open = Some((self.page.heap.len(), self.page.values.len(), self.page.attributes.len()));
        let dn = self.place(dn.as_bytes());
        let at = offset(self.page.attributes.len());
        self.page.items.push(Item::Known { kind, anchor: None, dn, former: None, object_type: None, attributes: (at, at) });
    }

    fn abandon(&mut self) {
        if let Some((heap, values, attributes)) = self.open.take() {
            self.page.heap.truncate(heap);
            self.page.values.truncate(values);
            self.page.attributes.truncate(attributes);
            let kept = self.page.targets.partition_point(|(value, _)| (*value as usize) < values);
            self.page.targets.truncate(kept);
            self.page.items.pop();
        }
    }

    fn push(&mut self, kind: ValueKind, octets: &[u8]) {
        let content = self.place(octets);
        self.page.values.push(PlacedValue { kind, content });
        let end = offset(self.page.values.len());
        if let Some(attribute) = self.page.attributes.last_mut() {
            attribute.values.1 = end;
        }
    }

    fn place(&mut self, octets: &[u8]) -> (u32, u32) {
        let start = offset(self.page.heap.len());
        self.page.heap.extend_from_slice(octets);
        (start, offset(self.page.heap.len()))
    }
}

fn offset(length: usize) -> u32 {
    u32::try_from(length).expect("a page stays below 4 GiB")
}
