//! Turns what a domain controller tells of changes into pages: what changed of whom at once, references behind all
//! names, and notes of what has to be read besides.

use crate::connector::directory::{Gathered, ImportPlan, add_extended_value, add_value, strip_extended};
use crate::connector::ldap::{RawEntry, decode_entry, primitive};
use crate::connector::{ConnectorError, ConnectorErrorKind, Departure, DiscoveryError, ImportPage, Legible, Operation, PageBuilder};
use crate::model::{Anchor, AttrId, Dn, ObjectErrorCode, ValueKind};
use crate::protocol::ldap::{guid_of, range_of};
use ldap3::asn1::StructureTag;
use std::collections::BTreeSet;
use tokio::sync::mpsc;

/// Octets of references that may wait for the names; a delta with more than that is none.
const WAITING_MAX: usize = 256 << 20;

/// Classes of objects that are no containers of others.
const LEAVES: [&str; 4] = ["person", "group", "contact", "foreignSecurityPrincipal"];

/// Where pages go.
pub(super) type Pages = mpsc::Sender<Result<ImportPage, ConnectorError>>;

/// An object that has to be read whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wanted {
    /// By its GUID.
    Guid(Vec<u8>),
    /// By its name.
    Name(String),
}

/// Gathers a delta.
pub(super) struct Collector<'a> {
    plan: &'a ImportPlan,
    /// The server, for messages.
    place: &'a str,
    pages: &'a Pages,
    open: PageBuilder,
    /// References wait until everybody has the right name.
    references: PageBuilder,
    waiting: Vec<ImportPage>,
    waiting_octets: usize,
    /// Objects whose name changed, by GUID: what lies below them has another name, too.
    pub(super) renamed: BTreeSet<Vec<u8>>,
    /// Objects of which a delta alone does not tell enough.
    pub(super) whole: BTreeSet<Wanted>,
}

/// What an entry says about the object as such.
#[derive(Default)]
struct Told<'e> {
    guid: &'e [u8],
    deleted: Option<bool>,
    named: bool,
    created: bool,
    classes: Vec<&'e [u8]>,
    last_parent: Option<&'e str>,
}

impl<'e> Told<'e> {
    fn of(attributes: impl Iterator<Item = (&'e str, &'e [StructureTag])>) -> Self {
        let mut told = Self::default();
        for (description, values) in attributes {
            let first = values.first().and_then(primitive);
            match description.to_ascii_lowercase().as_str() {
                "objectguid" => told.guid = first.unwrap_or_default(),
                "isdeleted" => told.deleted = Some(first.is_some_and(|value| value.eq_ignore_ascii_case(b"TRUE"))),
                // Both come with every change of a name, and with nothing else.
                "name" | "parentguid" => told.named |= first.is_some(),
                "whencreated" => told.created = first.is_some(),
                "objectclass" => told.classes = values.iter().filter_map(primitive).collect(),
                "lastknownparent" => told.last_parent = first.and_then(|value| std::str::from_utf8(value).ok()).map(strip_extended),
                _ => {}
            }
        }
        told
    }
}

impl<'a> Collector<'a> {
    pub(super) fn new(plan: &'a ImportPlan, place: &'a str, pages: &'a Pages) -> Self {
        Self {
            plan,
            place,
            pages,
            open: PageBuilder::new(),
            references: PageBuilder::new(),
            waiting: Vec::new(),
            waiting_octets: 0,
            renamed: BTreeSet::new(),
            whole: BTreeSet::new(),
        }
    }

    /// Takes an entry of a DirSync answer: the attributes that changed, and nothing else.
    pub(super) async fn change(&mut self, entry: &RawEntry) -> Result<(), ConnectorError> {
        let Some((dn, told)) = self.identity(entry) else { return self.turn().await };
        if told.deleted == Some(true) {
            self.deleted(&dn, &told);
            return self.turn().await;
        }
        let object_type = if told.classes.is_empty() { None } else { self.plan.wanted_type(&told.classes) };
        let unwanted = !told.classes.is_empty() && object_type.is_none();
        let new = told.created && !told.classes.is_empty() && told.deleted.is_none();
        if told.deleted == Some(false) || (!new && (told.named || !told.classes.is_empty())) {
            // Who came back from among the deleted is told of in part, and who has another class may go out of scope.
            self.renamed.insert(told.guid.to_vec());
        }
        if unwanted || !self.plan.wants(&dn) {
            self.open.begin_change(dn.as_str());
            self.open.filter();
            return self.turn().await;
        }
        let mut partly = false;
        let mut values: Vec<(AttrId, ValueKind, &str, &[StructureTag])> = Vec::new();
        let mut references: Vec<(AttrId, Operation, &[StructureTag])> = Vec::new();
        for (description, told) in entry.attributes().into_iter().flatten() {
            let Some((attr, kind)) = self.plan.known(description).and_then(|known| self.plan.attribute(known)) else { continue };
            let range = range_of(description).map(|(_, first, last)| (first, last));
            match (kind, range) {
                (ValueKind::Reference, None) => references.push((attr, Operation::Replace, told)),
                // MS-ADTS 3.1.1.3.4.1.3: of linked attributes, values that are there, and values that are gone.
                (ValueKind::Reference, Some((1, Some(1)))) => references.push((attr, Operation::Add, told)),
                (ValueKind::Reference, Some((0, Some(0)))) => references.push((attr, Operation::Remove, told)),
                (_, None) if !told.iter().filter_map(primitive).any(is_extended) => values.push((attr, kind, description, told)),
                // A part of the values, or names inside of values, in a form that other searches do not give.
                _ => partly = true,
            }
        }
        if partly {
            self.whole.insert(Wanted::Guid(told.guid.to_vec()));
        }
        if !values.is_empty() || object_type.is_some() || told.named {
            self.open.begin_change(dn.as_str());
            self.open.anchor(told.guid);
            if let Some(object_type) = object_type {
                self.open.object_type(object_type);
            }
            let flaw = values.iter().find_map(|(attr, kind, name, values)| {
                self.open.attribute(*attr, Operation::Replace);
                values.iter().filter_map(primitive).find_map(|octets| add_value(&mut self.open, *kind, name, octets).err())
            });
            match flaw {
                None => self.open.finish(),
                Some((code, detail)) => self.open.reject(self.problem(code, &detail, dn.as_str(), told.guid)),
            }
        }
        if !references.is_empty() {
            self.refer(&dn, told.guid, &references);
        }
        self.turn().await
    }

    /// Takes an object that goes by a name, of whatever was changed, and gives false when it is not wanted there.
    pub(super) async fn named(&mut self, entry: &RawEntry, links: &[String]) -> Result<bool, ConnectorError> {
        let Some((dn, told)) = self.identity(entry) else {
            self.turn().await?;
            return Ok(true);
        };
        if told.deleted == Some(true) {
            self.deleted(&dn, &told);
            self.turn().await?;
            return Ok(false);
        }
        if told.classes.is_empty() && self.plan.wants(&dn) {
            // It is there, and whoever may not read what it is does not know that it is not wanted.
            let detail = "the server does not tell its objectClass; the account may lack the right to read it";
            let problem = self.problem(ObjectErrorCode::MISSING_OBJECT_CLASS, detail, dn.as_str(), told.guid);
            self.open.begin_change(dn.as_str());
            self.open.reject(problem);
            self.turn().await?;
            return Ok(true);
        }
        let object_type = self.plan.wanted_type(&told.classes);
        let wanted = object_type.is_some() && self.plan.wants(&dn);
        if wanted {
            self.open.begin_change(dn.as_str());
            self.open.anchor(told.guid);
            if let Some(object_type) = object_type {
                self.open.object_type(object_type);
            }
            for (description, values) in entry.attributes().into_iter().flatten() {
                // Parts of the name are attributes, too, and these are told of by nobody.
                if let Some((attr, kind)) = self.plan.known(description).and_then(|known| self.plan.attribute(known))
                    && kind == ValueKind::Text
                {
                    self.open.attribute(attr, Operation::Replace);
                    for octets in values.iter().filter_map(primitive) {
                        // Text that is none is found where it is an attribute like others.
                        let _ = add_extended_value(&mut self.open, kind, description, octets);
                    }
                }
            }
            self.open.finish();
        } else {
            self.open.begin_departure(dn.as_str(), Departure::Left);
            self.open.anchor(told.guid);
            self.open.finish();
            // Whoever refers to it does so by a name that it has no more.
            self.referrers(entry, links);
        }
        self.turn().await?;
        Ok(wanted)
    }

    /// Takes an object that the account does not see, as one tells of it who sees more. False when it is not certain what
    /// a full import would make of it.
    pub(super) async fn unseen(&mut self, entry: &RawEntry) -> Result<bool, ConnectorError> {
        let Some((dn, told)) = self.identity(entry) else { return Ok(false) };
        if told.deleted == Some(true) {
            self.deleted(&dn, &told);
            self.turn().await?;
            return Ok(true);
        }
        // By the schema nobody else lies below one of these; who went along with a container is told by nobody.
        let is_leaf = told.classes.iter().any(|class| LEAVES.iter().any(|leaf| class.eq_ignore_ascii_case(leaf.as_bytes())));
        if !is_leaf || self.plan.wants(&dn) {
            return Ok(false);
        }
        self.open.begin_departure(dn.as_str(), Departure::Left);
        self.open.anchor(told.guid);
        self.open.finish();
        self.turn().await?;
        Ok(true)
    }

    /// Notes those who refer to an object, by its back links.
    pub(super) fn referrers(&mut self, entry: &RawEntry, links: &[String]) {
        let mut note = |octets: &[u8]| {
            if let Ok(name) = std::str::from_utf8(octets) {
                let wanted = guid_of(name).map_or_else(|| Wanted::Name(name.to_owned()), |guid| Wanted::Guid(guid.to_vec()));
                self.whole.insert(wanted);
            }
        };
        let is_link = |description: &str| {
            let name = description.split(';').next().unwrap_or_default();
            links.iter().any(|link| link.eq_ignore_ascii_case(name))
        };
        for (description, values) in entry.attributes().into_iter().flatten() {
            if is_link(description) {
                values.iter().filter_map(primitive).for_each(&mut note);
            }
        }
        entry.more.iter().filter(|(name, _)| is_link(name)).flat_map(|(_, values)| values).for_each(|value| note(value));
    }

    /// Takes a whole object.
    pub(super) async fn entry(&mut self, entry: &RawEntry) -> Result<(), ConnectorError> {
        decode_entry(self.plan, self.place, entry, false, &mut Gathered::default(), &mut self.open);
        self.turn().await
    }

    /// Hands over what is there, so that what follows finds it done.
    pub(super) async fn flush(&mut self) -> Result<(), ConnectorError> {
        let page = std::mem::take(&mut self.open).build(None);
        if page.is_empty() && page.filtered == 0 { Ok(()) } else { self.send(page).await }
    }

    /// Hands over the references that waited.
    pub(super) async fn flush_references(&mut self) -> Result<(), ConnectorError> {
        self.flush().await?;
        let last = std::mem::take(&mut self.references).build(None);
        for page in std::mem::take(&mut self.waiting).into_iter().chain([last]) {
            if !page.is_empty() {
                self.send(page).await?;
            }
        }
        Ok(())
    }

    async fn send(&self, page: ImportPage) -> Result<(), ConnectorError> {
        // Nobody listening any more: the engine has ended the import.
        self.pages.send(Ok(page)).await.map_err(|_| ConnectorError::new(ConnectorErrorKind::Cancelled, "the import was ended"))
    }

    /// Hands a page over when it is full.
    async fn turn(&mut self) -> Result<(), ConnectorError> {
        if self.references.is_full() {
            let page = std::mem::take(&mut self.references).build(None);
            self.waiting_octets += page.octets();
            self.waiting.push(page);
            if self.waiting_octets > WAITING_MAX {
                return Err(ConnectorError::new(
                    ConnectorErrorKind::WatermarkLost,
                    format!("{}: more references changed than a delta import can hold; all is read instead", self.place),
                ));
            }
        }
        if self.open.is_full() { self.flush().await } else { Ok(()) }
    }

    /// Name and key of an entry; an entry without is a problem, and noted.
    fn identity<'e>(&mut self, entry: &'e RawEntry) -> Option<(Dn, Told<'e>)> {
        let name = entry.dn().and_then(|dn| std::str::from_utf8(dn).ok()).map(strip_extended);
        let shown = name.unwrap_or("an entry without a legible name").to_owned();
        let Some(attributes) = entry.attributes() else {
            self.refuse(ObjectErrorCode::named("read-error"), "an entry that does not have the form of one", shown, None);
            return None;
        };
        let told = Told::of(attributes);
        let anchor = (!told.guid.is_empty()).then(|| Anchor::new(told.guid));
        if told.guid.len() != Anchor::GUID_OCTETS {
            self.refuse(ObjectErrorCode::MISSING_ANCHOR_COMPONENT, "the server does not tell its objectGUID", shown, None);
            return None;
        }
        match name.map(Dn::parse) {
            Some(Ok(dn)) if dn.depth() > 0 => Some((dn, told)),
            _ => {
                self.refuse(ObjectErrorCode::INVALID_DN, "its distinguished name cannot be read", shown, anchor);
                None
            }
        }
    }

    fn refuse(&mut self, code: ObjectErrorCode, detail: &str, shown: String, anchor: Option<Anchor>) {
        let detail = format!("{}: '{shown}': {detail}", self.place);
        self.open.begin_change("");
        self.open.reject(DiscoveryError { code, detail, dn: None, anchor, legible: Legible::default() });
    }

    fn problem(&self, code: ObjectErrorCode, detail: &str, dn: &str, guid: &[u8]) -> DiscoveryError {
        let detail = format!("{}: '{dn}': {detail}", self.place);
        DiscoveryError { code, detail, dn: Some(dn.to_owned()), anchor: Some(Anchor::new(guid)), legible: Legible::default() }
    }

    /// A tombstone: its name begins with the one that it had, and it knows the parent that it had (MS-ADTS 3.1.1.5.5).
    fn deleted(&mut self, dn: &Dn, told: &Told<'_>) {
        let before = dn.rdn(0).and_then(|rdn| rdn.split("\\0ADEL:").next());
        let name = match (before, told.last_parent) {
            (Some(rdn), Some(parent)) => format!("{rdn},{parent}"),
            _ => String::new(),
        };
        self.open.begin_departure(if Dn::parse(&name).is_ok() { &name } else { "" }, Departure::Deleted);
        self.open.anchor(told.guid);
        self.open.finish();
    }

    fn refer(&mut self, dn: &Dn, guid: &[u8], references: &[(AttrId, Operation, &[StructureTag])]) {
        self.references.begin_change("");
        self.references.anchor(guid);
        let mut flaw = None;
        for (attr, operation, values) in references {
            self.references.attribute(*attr, *operation);
            for octets in values.iter().filter_map(primitive) {
                let Ok(text) = std::str::from_utf8(octets) else {
                    flaw = Some("a reference is not valid UTF-8");
                    continue;
                };
                match guid_of(text) {
                    Some(guid) => self.references.reference_to(strip_extended(text), &guid),
                    None => self.references.reference(strip_extended(text)),
                }
            }
        }
        match flaw {
            None => self.references.finish(),
            Some(detail) => {
                let problem = self.problem(ObjectErrorCode::INVALID_REFERENCE_VALUE, detail, dn.as_str(), guid);
                self.references.reject(problem);
            }
        }
    }
}

/// True for a value with a name in the extended form inside.
fn is_extended(octets: &[u8]) -> bool {
    octets.windows(6).any(|part| part == b"<GUID=")
}
