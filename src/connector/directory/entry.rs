//! Turns the octets of an entry into an entry of a page: by kind, filtered, with every problem named.

use super::syntax::is_known_class;
use super::{KindTable, Scope, most_derived};
use crate::connector::{DiscoveryError, Legible, OddClass, Operation, PageBuilder, SINGLE, TELLING, Telling};
use crate::model::{Anchor, AttrId, Dn, Names, ObjectErrorCode, ObjectType, ValueKind, ValueRef, closest};
use crate::protocol::ldap::guid_of;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;
use std::collections::HashMap;
use uuid::Uuid;

/// Active Directory's key of an object: 16 octets.
const OBJECT_GUID: &str = "objectGUID";

/// Pages that may wait for the engine.
pub const PAGES_AHEAD: usize = 4;

/// Classes that objects have besides a more special one of their own; alone they are the beginning of a list.
const BASE_CLASSES: [&str; 3] = ["top", "person", "organizationalPerson"];
/// Classes of people that are derived from these.
const PERSON_CLASSES: [&str; 2] = ["user", "inetOrgPerson"];

/// What the connector does with an attribute it met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Position among the selected attributes.
    slot: Option<u16>,
    /// Position among the anchor candidates; the first one present is the anchor.
    anchor: Option<u8>,
    class: bool,
    /// Position in [`TELLING`].
    tells: Option<u8>,
}

impl Known {
    /// The attribute may be the anchor.
    pub(crate) fn is_anchor(self) -> bool {
        self.anchor.is_some()
    }

    /// The attribute is the anchor wherever it is present.
    pub(crate) fn is_first_anchor(self) -> bool {
        self.anchor == Some(0)
    }

    /// The attribute has the object's classes.
    pub(crate) fn is_class(self) -> bool {
        self.class
    }
}

#[derive(Clone, Debug)]
struct Slot {
    attr: AttrId,
    kind: ValueKind,
    name: Box<str>,
}

/// Everything an import needs to judge entries: selected attributes, anchor, types, containers.
#[derive(Clone, Debug)]
pub struct ImportPlan {
    slots: Vec<Slot>,
    by_name: HashMap<Box<str>, Known>,
    types: HashMap<Box<str>, ObjectType>,
    scope: Scope,
    anchors: Vec<Box<str>>,
    /// The anchor is a text without regard to case.
    folds: bool,
    /// Names come in Active Directory's extended form, with the GUIDs of their objects.
    extended: bool,
    /// Nobody has checked what the entries say: there is no schema behind them.
    unchecked: bool,
}

/// What was found in one entry, borrowed from where it was read. Reused between entries by its owner.
#[derive(Debug, Default)]
pub struct Gathered<'a> {
    values: Vec<(u16, &'a [u8])>,
    anchors: Vec<(u8, &'a [u8])>,
    classes: Vec<&'a [u8]>,
    telling: Vec<(u8, &'a [u8])>,
    /// Only the anchor at this position counts; the first one present where there is none.
    only_anchor: Option<u8>,
}

impl<'a> Gathered<'a> {
    /// Adds a value of an attribute.
    pub fn push(&mut self, known: Known, octets: &'a [u8]) {
        if let Some(slot) = known.slot {
            self.values.push((slot, octets));
        }
        if let Some(anchor) = known.anchor {
            self.anchors.push((anchor, octets));
        }
        if known.class {
            self.classes.push(octets);
        }
        if let Some(tells) = known.tells {
            self.telling.push((tells, octets));
        }
    }

    /// Lets no other attribute than the first candidate be the anchor.
    pub fn demand_first_anchor(&mut self) {
        self.only_anchor = Some(0);
    }

    fn clear(&mut self) {
        self.values.clear();
        self.anchors.clear();
        self.classes.clear();
        self.telling.clear();
        self.only_anchor = None;
    }
}

impl ImportPlan {
    /// A plan for the attributes of a request.
    pub fn new(names: &Names, attributes: &[AttrId], kinds: &KindTable, anchors: &[&str], object_types: &[String], scope: Scope) -> Self {
        let mut plan = Self {
            slots: Vec::with_capacity(attributes.len()),
            by_name: HashMap::new(),
            types: HashMap::new(),
            scope,
            anchors: anchors.iter().map(|anchor| (*anchor).into()).collect(),
            folds: false,
            extended: false,
            unchecked: false,
        };
        for attr in attributes {
            if *attr == AttrId::DN {
                continue;
            }
            let name = names.name(*attr);
            let known = plan.by_name.entry(kinds.first_name(&name).into()).or_default();
            if known.slot.is_none() {
                known.slot = u16::try_from(plan.slots.len()).ok();
                plan.slots.push(Slot { attr: *attr, kind: kinds.kind(&name), name: (*name).into() });
            }
        }
        for (position, anchor) in (0..).zip(anchors) {
            plan.by_name.entry(kinds.first_name(anchor).into()).or_default().anchor = Some(position);
        }
        plan.by_name.entry("objectclass".into()).or_default().class = true;
        for (position, (name, _)) in (0..).zip(TELLING) {
            plan.by_name.entry(kinds.first_name(name).into()).or_default().tells = Some(position);
        }
        // Every other spelling of the names, too, so that a lookup is one step.
        for (alias, first) in kinds.aliases() {
            if let Some(known) = plan.by_name.get(first).copied() {
                plan.by_name.entry(alias.into()).or_insert(known);
            }
        }
        for name in object_types {
            plan.types.insert(name.to_ascii_lowercase().into(), names.object_type(name));
        }
        plan
    }

    /// Takes anchors that differ in case for the same one: servers keep an `entryUUID` as it was loaded, and name it in
    /// small letters, or as octets, elsewhere (RFC 4530 section 2.1).
    #[must_use]
    pub fn folding_anchors(mut self) -> Self {
        self.folds = true;
        self
    }

    /// For answers in which every name comes with the GUID of its object: references have anchors.
    #[must_use]
    pub fn with_extended_names(mut self) -> Self {
        self.extended = true;
        self
    }

    /// For entries that no server has checked: an unknown class may be a slip there, and a record may be a part of one.
    #[must_use]
    pub fn without_schema(mut self) -> Self {
        self.unchecked = true;
        self
    }

    /// Descriptions to ask a server for, each attribute once; with a `portion` references in ranges of that many.
    pub fn requested(&self, portion: Option<u32>) -> Vec<String> {
        let own = self.slots.iter().map(|slot| slot.name.as_ref());
        let extras = std::iter::once("objectClass").chain(self.anchors.iter().map(AsRef::as_ref));
        let extras = extras.filter(|extra| !self.slots.iter().any(|slot| slot.name.eq_ignore_ascii_case(extra)));
        let ranged = |name: &str| match portion {
            Some(portion) if self.slots.iter().any(|slot| slot.kind == ValueKind::Reference && *slot.name == *name) => {
                format!("{name};range=0-{}", portion.max(1) - 1)
            }
            _ => name.to_owned(),
        };
        own.map(ranged).chain(extras.map(str::to_owned)).collect()
    }

    /// What to do with an attribute by its description: options such as `;binary` and `;range=0-1499` do not count,
    /// values in other languages (`;lang-de`) are other attributes.
    pub fn known(&self, description: &str) -> Option<Known> {
        let (name, mut options) = match description.split_once(';') {
            Some((name, options)) => (name, options.split(';')),
            None => (description, "".split(';')),
        };
        if !options.all(|option| option.is_empty() || option.eq_ignore_ascii_case("binary") || is_range(option)) {
            return None;
        }
        if let Some(known) = self.by_name.get(name) {
            return Some(*known);
        }
        if name.bytes().any(|octet| octet.is_ascii_uppercase()) {
            return self.by_name.get(name.to_ascii_lowercase().as_str()).copied();
        }
        None
    }

    /// The selected attribute of a known name, with its kind.
    pub fn attribute(&self, known: Known) -> Option<(AttrId, ValueKind)> {
        let slot = &self.slots[usize::from(known.slot?)];
        Some((slot.attr, slot.kind))
    }

    /// The wanted type that an object with these classes is of.
    pub(crate) fn wanted_type(&self, classes: &[&[u8]]) -> Option<ObjectType> {
        most_derived(classes).and_then(|class| self.type_of(class))
    }

    /// True when an object of this name lies in a wanted container.
    pub(crate) fn wants(&self, dn: &Dn) -> bool {
        self.scope.is_everything() || self.scope.wants(&dn.key())
    }

    /// The anchor's name, or all that it may have: `objectGUID nor entryUUID`.
    pub fn anchor_names(&self) -> String {
        self.anchors.join(" nor ")
    }

    /// The container filter.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// True when an entry lacks what every entry of a wanted type has from its directory: its anchor, or even a class of
    /// its own. As the last entry of a file it is the mark of a file that was cut off.
    pub fn is_unfinished(&self, gathered: &Gathered<'_>) -> bool {
        gathered.anchors.is_empty()
            && most_derived(&gathered.classes)
                .is_none_or(|class| BASE_CLASSES.iter().any(|base| class.eq_ignore_ascii_case(base)) || self.type_of(class).is_some())
    }

    /// Adds a whole entry to a page: as an entry, as filtered, or as a problem. `place` says where the entry was read
    /// ("file, line 7"), for problems; `gathered` is empty afterwards.
    pub fn entry(&self, builder: &mut PageBuilder, dn_octets: &[u8], gathered: &mut Gathered<'_>, place: &dyn Fn() -> String) {
        self.place_entry(builder, dn_octets, gathered, place);
        gathered.clear();
    }

    /// As [`Self::entry`], for an entry of which nothing is known but that it changed: one that is not wanted may have been
    /// wanted before, under another name or as another type, and is gone now.
    pub fn changed_entry(&self, builder: &mut PageBuilder, dn_octets: &[u8], gathered: &mut Gathered<'_>, place: &dyn Fn() -> String) {
        if !self.place_entry(builder, dn_octets, gathered, place)
            && let Ok(anchor) = self.anchor(gathered)
        {
            // Without its name: another object may have that by now.
            builder.begin_gone("");
            builder.anchor(&anchor);
            builder.finish();
        }
        gathered.clear();
    }

    /// Whom an entry may be about, by what could be read of it.
    pub fn legible(&self, gathered: &Gathered<'_>) -> Legible {
        let mut legible = Legible::default();
        let anchors = gathered.anchors.iter().map(|(_, octets)| (Telling::Key, *octets));
        let others = gathered.telling.iter().filter_map(|(tells, octets)| Some((TELLING.get(usize::from(*tells))?.1, *octets)));
        for (telling, octets) in anchors.chain(others) {
            if !legible.takes(octets) {
                continue;
            }
            if let (Telling::Key, Some(key)) = (telling, key_in_base64(octets)) {
                legible.add(Telling::Key, &key);
            }
            if telling == Telling::Key && self.folds {
                legible.add(telling, &octets.to_ascii_lowercase());
            } else {
                legible.add(telling, octets);
            }
        }
        legible.nobody_knows = self.unchecked && !legible.tells_who();
        legible.merged = self.run_into(gathered).is_some();
        legible
    }

    /// The attribute that shows that another entry has run into this one: it has several values, where one is all there can be.
    fn run_into(&self, gathered: &Gathered<'_>) -> Option<&'static str> {
        let mut first = [None; TELLING.len()];
        gathered.telling.iter().filter(|_| self.unchecked).find_map(|(tells, octets)| {
            let first: &mut Option<&[u8]> = first.get_mut(usize::from(*tells))?;
            let other = !first.get_or_insert(octets).eq_ignore_ascii_case(octets);
            let name = TELLING.get(usize::from(*tells)).filter(|_| other)?.0;
            SINGLE.into_iter().find(|single| single.eq_ignore_ascii_case(name))
        })
    }

    /// False when the entry is not wanted.
    fn place_entry(&self, builder: &mut PageBuilder, dn_octets: &[u8], gathered: &mut Gathered<'_>, place: &dyn Fn() -> String) -> bool {
        // Opened with its name before the name is judged, so that every way out closes the same entry.
        let name = std::str::from_utf8(dn_octets).ok().map(strip_extended);
        builder.begin_entry(name.unwrap_or_default());
        match self.fill(builder, name, gathered) {
            Ok(true) => builder.finish(),
            Ok(false) => {
                builder.filter();
                if let (Some(class), Some(dn)) = (self.odd_class(&gathered.classes), name)
                    && Dn::parse(dn).is_ok_and(|dn| dn.depth() > 0 && self.wants(&dn))
                {
                    let (dn, anchor) = (dn.to_owned(), self.anchor(gathered).ok().map(Anchor::new));
                    let (slip, legible) = (self.is_slip(&class), self.legible(gathered));
                    builder.odd_class(OddClass { dn, anchor, class, place: place(), slip, legible });
                }
                return false;
            }
            Err((code, detail)) => {
                let dn = name.filter(|dn| Dn::parse(dn).is_ok_and(|dn| dn.depth() > 0));
                let anchor = self.anchor(gathered).ok().map(Anchor::new);
                let named = name.map_or_else(|| String::from_utf8_lossy(dn_octets), Cow::Borrowed);
                let detail = format!("{}: '{named}': {detail}", place());
                builder.reject(DiscoveryError { code, detail, dn: dn.map(str::to_owned), anchor, legible: self.legible(gathered) });
            }
        }
        true
    }

    /// The one of an object's classes that nobody knows, where no schema has checked them, or the last one of a list that stops
    /// before the class of people which is wanted.
    pub(crate) fn odd_class(&self, classes: &[&[u8]]) -> Option<String> {
        let mut named = classes.iter().map(|class| String::from_utf8_lossy(class)).filter(|_| self.unchecked);
        let odd = named.find(|class| !is_known_class(class.trim()) && self.type_of(class.trim()).is_none());
        let last = || most_derived(classes).filter(|class| self.unchecked && self.is_beginning(class));
        odd.map(|odd| shortened(odd.trim())).or_else(|| last().map(str::to_owned))
    }

    /// True for a class besides which people have the one that is wanted.
    fn is_beginning(&self, class: &str) -> bool {
        BASE_CLASSES.iter().any(|base| class.eq_ignore_ascii_case(base)) && PERSON_CLASSES.iter().any(|class| self.type_of(class).is_some())
    }

    /// True when a class that is not wanted may be meant as one that is.
    pub(crate) fn is_slip(&self, class: &str) -> bool {
        self.is_beginning(class) || closest(class, self.types.keys().map(AsRef::as_ref)).is_some()
    }

    fn fill(&self, builder: &mut PageBuilder, name: Option<&str>, gathered: &mut Gathered<'_>) -> Result<bool, Problem> {
        let dn = parse_name(name)?;
        // Before anything is said of an entry by what may be another one's.
        if let Some(name) = self.run_into(gathered) {
            let anchor = self.anchors.iter().any(|anchor| anchor.eq_ignore_ascii_case(name));
            let code = if anchor { ObjectErrorCode::MULTI_VALUED_ANCHOR_COMPONENT } else { ObjectErrorCode::PARSE_ERROR };
            let detail = format!(
                "{name} has several values, and an entry has one: another entry seems to have run into this one, and nobody knows whose lines \
                 are whose; separate records by a blank line, each with its own 'dn:'"
            );
            return Err((code, detail));
        }
        if !self.scope.is_everything() && !self.scope.wants(&dn.key()) {
            return Ok(false);
        }
        if gathered.classes.is_empty() {
            return Err((
                ObjectErrorCode::MISSING_OBJECT_CLASS,
                "the entry has no objectClass; the account may lack the right to read it".into(),
            ));
        }
        let Some(object_type) = most_derived(&gathered.classes).and_then(|class| self.type_of(class)) else {
            return Ok(false);
        };
        let anchor = self.anchor(gathered)?;
        builder.object_type(object_type);
        builder.anchor(&anchor);
        if !gathered.values.is_sorted_by_key(|(slot, _)| *slot) {
            gathered.values.sort_by_key(|(slot, _)| *slot);
        }
        let mut open = None;
        for (slot, octets) in &gathered.values {
            let attribute = &self.slots[usize::from(*slot)];
            if open != Some(*slot) {
                builder.attribute(attribute.attr, Operation::Replace);
                open = Some(*slot);
            }
            if self.extended {
                add_extended_value(builder, attribute.kind, &attribute.name, octets)?;
            } else {
                add_value(builder, attribute.kind, &attribute.name, octets)?;
            }
        }
        Ok(true)
    }

    fn type_of(&self, class: &str) -> Option<ObjectType> {
        self.types.get(class).or_else(|| self.types.get(class.to_ascii_lowercase().as_str())).copied()
    }

    fn anchor<'a>(&self, gathered: &Gathered<'a>) -> Result<Cow<'a, [u8]>, Problem> {
        let Some(position) = gathered.anchors.iter().map(|(position, _)| *position).min() else {
            return Err((ObjectErrorCode::MISSING_ANCHOR_COMPONENT, format!("the entry has no {}", self.anchor_names())));
        };
        if gathered.only_anchor.is_some_and(|only| only != position) {
            let (only, other) = (&self.anchors[0], &self.anchors[usize::from(position)]);
            return Err((
                ObjectErrorCode::MISSING_ANCHOR_COMPONENT,
                format!(
                    "the entry has no {only}, by which others of its file are known, and with {other} it would be somebody else: give it back \
                     its {only}, or choose one anchor for all (`anchor` of the connector)"
                ),
            ));
        }
        let mut values = gathered.anchors.iter().filter(|(other, _)| *other == position).map(|(_, octets)| *octets);
        let name = self.anchors.get(usize::from(position)).map_or("", AsRef::as_ref);
        match (values.next(), values.next()) {
            (Some([]), None) => Err((ObjectErrorCode::MISSING_ANCHOR_COMPONENT, format!("{name} is empty"))),
            (Some(value), None) if value.len() > Anchor::OCTETS_MAX => {
                Err((ObjectErrorCode::ANCHOR_TOO_LONG, format!("{name} has {} octets, {} are allowed", value.len(), Anchor::OCTETS_MAX)))
            }
            // Any other source would give the same object another key, and so a second life.
            (Some(value), None)
                if name.eq_ignore_ascii_case(OBJECT_GUID)
                    && Uuid::try_parse_ascii(value).is_ok_and(|_| value.len() > Anchor::GUID_OCTETS) =>
            {
                Err((
                    ObjectErrorCode::INVALID_ATTRIBUTE_VALUE,
                    format!(
                        "{name} is written as text; Active Directory keeps 16 octets, which LDIF shows as '{name}:: ' and their base64"
                    ),
                ))
            }
            // A part of it, or its base64 behind one colon, would be the key of somebody else.
            (Some(value), None) if name.eq_ignore_ascii_case(OBJECT_GUID) && value.len() != Anchor::GUID_OCTETS => Err((
                ObjectErrorCode::INVALID_ATTRIBUTE_VALUE,
                format!(
                    "{name} has {} octets; Active Directory keeps {} octets, which LDIF shows as '{name}:: ' and their base64",
                    value.len(),
                    Anchor::GUID_OCTETS
                ),
            )),
            (Some(value), None) if self.folds && value.iter().any(u8::is_ascii_uppercase) => Ok(value.to_ascii_lowercase().into()),
            (Some(value), None) => Ok(value.into()),
            _ => {
                Err((ObjectErrorCode::MULTI_VALUED_ANCHOR_COMPONENT, format!("{name} has several values; choose another anchor attribute")))
            }
        }
    }
}

/// A problem of one entry: its code and a sentence.
pub(crate) type Problem = (ObjectErrorCode, String);

/// The name of an entry, if it is text.
fn parse_name(text: Option<&str>) -> Result<Dn, Problem> {
    let text = text.ok_or_else(|| (ObjectErrorCode::INVALID_DN, "the name is not valid UTF-8".to_owned()))?;
    let dn = Dn::parse(text).map_err(|error| (ObjectErrorCode::INVALID_DN, error.to_string()))?;
    if dn.depth() == 0 {
        return Err((ObjectErrorCode::MISSING_DN, "the entry has no name".to_owned()));
    }
    Ok(dn)
}

/// The 16 octets whose base64 an octet string is: one of the colons was lost.
fn key_in_base64(octets: &[u8]) -> Option<Vec<u8>> {
    STANDARD.decode(octets).ok().filter(|key| key.len() == Anchor::GUID_OCTETS)
}

/// Decodes one value by kind and adds it to the attribute begun last.
pub(crate) fn add_value(builder: &mut PageBuilder, kind: ValueKind, name: &str, octets: &[u8]) -> Result<(), Problem> {
    if kind == ValueKind::Binary {
        builder.value(ValueRef::Binary(octets));
        return Ok(());
    }
    let text = std::str::from_utf8(octets).map_err(|_| {
        (ObjectErrorCode::INVALID_ATTRIBUTE_VALUE, format!("a value of {name} is not valid UTF-8; correct it in the directory"))
    })?;
    match kind {
        ValueKind::Number => {
            let number = text.trim().parse().map_err(|_| {
                (ObjectErrorCode::INVALID_NUMERIC_VALUE, format!("the value '{}' of {name} is no 64-bit number", shortened(text)))
            })?;
            builder.value(ValueRef::Number(number));
        }
        ValueKind::Boolean => {
            let boolean = match text.trim() {
                text if text.eq_ignore_ascii_case("TRUE") => true,
                text if text.eq_ignore_ascii_case("FALSE") => false,
                _ => {
                    return Err((
                        ObjectErrorCode::INVALID_BOOLEAN_VALUE,
                        format!("the value '{}' of {name} is neither TRUE nor FALSE", shortened(text)),
                    ));
                }
            };
            builder.value(ValueRef::Boolean(boolean));
        }
        ValueKind::Reference => builder.reference(strip_extended(text)),
        _ => builder.value(ValueRef::Text(text)),
    }
    Ok(())
}

/// As [`add_value`], from an answer in which names are extended: references come with anchors, and what names are inside of is
/// as it would be otherwise.
pub(crate) fn add_extended_value(builder: &mut PageBuilder, kind: ValueKind, name: &str, octets: &[u8]) -> Result<(), Problem> {
    // Nearly all values are none of these, and are not looked at twice.
    if !matches!(kind, ValueKind::Text | ValueKind::Reference) || !matches!(octets.first(), Some(b'<' | b'B' | b'S')) {
        return add_value(builder, kind, name, octets);
    }
    let extended = std::str::from_utf8(octets).ok().and_then(|text| {
        // A name alone, or behind octets or a text of its own (MS-ADTS 3.1.1.2.2.2.3: Object(DN-Binary), Object(DN-String)).
        let behind = if text.starts_with("B:") || text.starts_with("S:") { text.find(":<GUID=")? + 1 } else { 0 };
        let (before, dn) = text.split_at(behind);
        guid_of(dn).map(|guid| (before, strip_extended(dn), guid))
    });
    match (extended, kind) {
        (Some(("", dn, guid)), ValueKind::Reference) => {
            builder.reference_to(dn, &guid);
            Ok(())
        }
        (Some((before, dn, _)), _) => add_value(builder, kind, name, [before, dn].concat().as_bytes()),
        (None, _) => add_value(builder, kind, name, octets),
    }
}

/// Cuts `<GUID=…>;<SID=…>;` off, which Active Directory puts before names of some attributes unasked.
pub(crate) fn strip_extended(text: &str) -> &str {
    let mut rest = text;
    while rest.starts_with('<') {
        match rest.split_once(">;") {
            Some((_, behind)) => rest = behind,
            None => break,
        }
    }
    rest
}

fn is_range(option: &str) -> bool {
    option.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("range="))
}

fn shortened(text: &str) -> String {
    text.chars().take(60).collect()
}
