//! Deletes of people who may only have moved: a directory let somebody go, and another one shows an entry that could be them and
//! cannot be used. As long as that is so, exactly these deletes wait. It is looked at for what waits to be sent and for what has a
//! problem, so it costs nothing where nothing waits.

use super::queue::each;
use crate::engine::belief::{NAME, REMOVED};
use crate::engine::describe::called;
use crate::engine::import::refused_entries;
use crate::model::{
    ConnectorId, CsId, CsObject, DeltaKind, Dn, ErrorSide, Link, Names, Stage, StageMask, Timestamp, ValueRef, ValueState, fold,
    trimmed_address,
};
use crate::store::{Snapshot, StoreError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// By these attributes a target knows who somebody is.
const IDENTITY: [&str; 4] = ["sourceAnchor", "userPrincipalName", "mail", "proxyAddresses"];
/// The name of their account in a directory.
const ACCOUNT: &str = "onPremisesSamAccountName";
/// Problems read at a time.
const PAGE: usize = 1_000;
/// Longer values identify nobody.
const KEY_MAX: usize = 64;

/// Who is to be deleted, and may only have moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PossibleMove {
    /// Who is to be deleted.
    pub person: String,
    /// The connector with the entry that cannot be used.
    pub connector: String,
    /// The entry's name.
    pub entry: String,
    /// Why it cannot be used.
    pub code: String,
    /// What both have in common; empty where the entry does not tell whom it is about.
    pub alike: String,
    /// Since when it cannot be used.
    pub since: Timestamp,
}

impl std::fmt::Display for PossibleMove {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { person, connector, entry, code, alike, .. } = self;
        if alike.is_empty() {
            return write!(
                f,
                "{person} may only have moved to '{entry}' of {connector}, which cannot be used ({code}) and of which too little can be read \
                 to tell who it is"
            );
        }
        write!(f, "{person} may only have moved to '{entry}' of {connector}, which cannot be used ({code}) and shows {alike}, too")
    }
}

/// An entry or object that cannot be used.
struct Unusable {
    connector: String,
    entry: String,
    code: String,
    since: Timestamp,
}

/// True for an object of a target that belongs to nobody here, and of which nothing is to become.
pub fn belongs_to_nobody(object: &CsObject) -> bool {
    object.link == Link::Disconnected && object.imported() && object.stage(Stage::PendingExport).kind == DeltaKind::None
}

/// Who of a target that belongs to nobody here may be an entry which cannot be used.
pub struct Unknown(InTheWay);

impl Unknown {
    /// Looks for what cannot be used in the directories of a target. Costs nothing where nothing has a problem.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn of(snapshot: &Snapshot, target: ConnectorId) -> Result<Self, StoreError> {
        Ok(Self(InTheWay::of(snapshot, target)?))
    }

    /// The entry that an object may be: its name, why it cannot be used, and the connector that has it.
    pub fn may_be(&self, names: &Names, object: &CsObject) -> Option<String> {
        let (found, _) = self.0.alike(names, object)?;
        let Unusable { connector, entry, code, .. } = found;
        Some(format!("{} may be '{entry}' of {connector}, which cannot be used ({code})", called(names, object)))
    }
}

/// Those who would lose references though they may be entries that cannot be used, or that a directory names and does not show: a store
/// that is new knows nobody by them yet. With each, why.
pub(in crate::engine) fn possibly_known(
    snapshot: &Snapshot,
    names: &Names,
    target: ConnectorId,
) -> Result<BTreeMap<CsId, String>, StoreError> {
    // Problems of all directories are read only for somebody.
    if snapshot.queue(Stage::PendingExport, target, None, 1)?.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut losing = Losing::new(snapshot, names, target)?;
    each(snapshot, target, &mut |object| losing.look(object))?;
    Ok(losing.found)
}

/// The same of those to whom one object refers.
pub(super) fn possibly_known_to(snapshot: &Snapshot, names: &Names, owner: CsId) -> Result<BTreeMap<CsId, String>, StoreError> {
    let mut losing = Losing::new(snapshot, names, owner.connector())?;
    if let Some(object) = snapshot.cs_object(owner)? {
        losing.look(&object)?;
    }
    Ok(losing.found)
}

/// Looks for those who would lose references.
struct Losing<'a> {
    snapshot: &'a Snapshot,
    names: &'a Names,
    unknown: Unknown,
    /// Who belongs to somebody here, or is held.
    settled: BTreeSet<CsId>,
    found: BTreeMap<CsId, String>,
}

impl<'a> Losing<'a> {
    fn new(snapshot: &'a Snapshot, names: &'a Names, target: ConnectorId) -> Result<Self, StoreError> {
        Ok(Self { snapshot, names, unknown: Unknown::of(snapshot, target)?, settled: BTreeSet::new(), found: BTreeMap::new() })
    }

    fn look(&mut self, owner: &CsObject) -> Result<(), StoreError> {
        if owner.stage(Stage::PendingExport).kind != DeltaKind::Update {
            return Ok(());
        }
        // What the owner's entry says of somebody whom nobody knows; looked up for the first who would lose something.
        let mut named: Option<Option<String>> = None;
        for row in self.snapshot.cs_touched_references(owner.id)?.iter().filter(|row| row.state.removed(Stage::PendingExport)) {
            if self.settled.contains(&row.target) || self.snapshot.cs_link(row.target)? != Some(Link::Disconnected) {
                continue;
            }
            let Some(object) = self.snapshot.cs_object(row.target)?.filter(belongs_to_nobody) else {
                self.settled.insert(row.target);
                continue;
            };
            let mut may_be = self.unknown.may_be(self.names, &object);
            if may_be.is_none() {
                if named.is_none() {
                    named = Some(self.names_nobody(owner)?);
                }
                let entry = named.as_ref().and_then(Option::as_ref);
                may_be = entry.map(|entry| format!("{} may be somebody whom {entry} names and nobody is", called(self.names, &object)));
            }
            if let Some(may_be) = may_be {
                self.settled.insert(object.id);
                self.found.insert(object.id, may_be);
            }
        }
        Ok(())
    }

    /// The entry of which an object of the target comes, where it names somebody who is nobody: one whom the directory does not show.
    fn names_nobody(&self, owner: &CsObject) -> Result<Option<String>, StoreError> {
        let Some(mv) = owner.link.mv() else { return Ok(None) };
        for id in self.snapshot.mv_links(mv)?.into_iter().filter(|id| id.connector() != owner.id.connector()) {
            for row in self.snapshot.cs_references(id)?.iter().filter(|row| row.state.present(StageMask::IMPORTED)) {
                if self.snapshot.cs_link(row.target)? == Some(Link::Placeholder) {
                    return Ok(self.snapshot.cs_object(id)?.map(|object| format!("'{}'", object.dn)));
                }
            }
        }
        Ok(None)
    }
}

/// What cannot be used, by what it shows.
#[derive(Default)]
struct InTheWay {
    found: Vec<Unusable>,
    /// By values of people.
    values: HashMap<String, usize>,
    /// By sign-in names, account names and addresses of entries of which no object came.
    accounts: HashMap<String, usize>,
    /// By what people call these, and by the last part of their names.
    leaves: HashMap<String, usize>,
    /// The first one that may be anybody.
    anybody: Option<usize>,
}

impl InTheWay {
    fn of(snapshot: &Snapshot, target: ConnectorId) -> Result<Self, StoreError> {
        let mut all = Self::default();
        for (connector, name) in snapshot.states_named(NAME)? {
            if connector != target && snapshot.state(connector, REMOVED)?.is_none() {
                let name = String::from_utf8_lossy(&name).into_owned();
                all.objects(snapshot, connector, &name)?;
                all.entries(snapshot, connector, &name)?;
            }
        }
        Ok(all)
    }

    /// Objects that belong to nobody because they cannot be read or synchronized.
    fn objects(&mut self, snapshot: &Snapshot, connector: ConnectorId, name: &str) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let page = snapshot.errors(connector, after, PAGE)?;
            let Some((last, side, _)) = page.last() else { return Ok(()) };
            after = Some((*last, *side));
            for (id, side, error) in &page {
                let free = matches!(snapshot.cs_link(*id)?, Some(Link::Disconnected | Link::DisconnectedByFilter));
                if *side == ErrorSide::Export || !free {
                    continue;
                }
                let Some(object) = snapshot.cs_object(*id)? else { continue };
                if object.stage(Stage::PendingImport).kind != DeltaKind::Delete {
                    let code = error.code.to_string();
                    self.found.push(Unusable { connector: name.to_owned(), entry: object.dn.to_string(), code, since: error.first_seen });
                    self.values_of(&object);
                }
            }
        }
    }

    fn values_of(&mut self, object: &CsObject) {
        let index = self.found.len() - 1;
        let anchor = object.anchor.as_ref().map(|anchor| ValueRef::Binary(anchor.as_bytes()));
        let shown = object.values.iter().filter(|item| ValueState(item.flags).present(StageMask::IMPORTED));
        for key in shown.map(|item| item.value).chain(anchor).filter_map(key_of) {
            self.values.entry(key).or_insert(index);
        }
    }

    /// Entries of which no object came.
    fn entries(&mut self, snapshot: &Snapshot, connector: ConnectorId, name: &str) -> Result<(), StoreError> {
        for entry in refused_entries(snapshot, connector)? {
            let index = self.found.len();
            self.found.push(Unusable {
                connector: name.to_owned(),
                entry: entry.name.clone(),
                code: entry.code.clone(),
                since: Timestamp(entry.since),
            });
            for anchor in entry.anchor.iter().chain(&entry.keys) {
                let text = std::str::from_utf8(anchor).ok().and_then(|text| key_of(ValueRef::Text(text)));
                for key in key_of(ValueRef::Binary(anchor)).into_iter().chain(text) {
                    self.values.entry(key).or_insert(index);
                }
            }
            for key in entry.identities.iter().filter_map(|text| key_of(ValueRef::Text(text))) {
                self.values.entry(key.clone()).or_insert(index);
                self.accounts.entry(key).or_insert(index);
            }
            for name in &entry.names {
                self.leaves.entry(fold(name.trim()).to_string()).or_insert(index);
            }
            if entry.anybody {
                self.anybody.get_or_insert(index);
            }
            let leaf = Dn::parse(&entry.name).ok().and_then(|dn| dn.naming_value().map(|(_, value)| value));
            if let Some(leaf) = leaf.and_then(|value| String::from_utf8(value).ok()) {
                self.leaves.entry(fold(leaf.trim()).to_string()).or_insert(index);
            }
        }
        Ok(())
    }

    /// What shows the same as somebody, and what that is.
    fn alike(&self, names: &Names, object: &CsObject) -> Option<(&Unusable, String)> {
        let texts = |name: &str| {
            let items = names.find(name).into_iter().flat_map(|attr| object.values.attribute(attr));
            let there = items.filter(|item| ValueState(item.flags).present(StageMask::EXPECTED));
            there.filter_map(|item| if let ValueRef::Text(text) = item.value { Some(text) } else { None })
        };
        for text in IDENTITY.into_iter().flat_map(texts) {
            let found = key_of(ValueRef::Text(text)).and_then(|key| self.values.get(&key));
            if let Some(index) = found {
                return self.found.get(*index).map(|found| (found, trimmed_address(text).to_owned()));
            }
        }
        for text in texts(ACCOUNT) {
            if let Some(index) = key_of(ValueRef::Text(text)).and_then(|key| self.accounts.get(&key)) {
                return self.found.get(*index).map(|found| (found, format!("the account name '{text}'")));
            }
        }
        let text = ["displayName", "cn"].into_iter().flat_map(texts).find(|text| self.leaves.contains_key(&*fold(text.trim())));
        if let Some((text, index)) = text.and_then(|text| Some((text, self.leaves.get(&*fold(text.trim()))?))) {
            return self.found.get(*index).map(|found| (found, format!("the name '{text}'")));
        }
        self.anybody.and_then(|index| self.found.get(index)).map(|found| (found, String::new()))
    }
}

/// What is compared of a value. Keys of directories are octets there, and base64 in targets.
fn key_of(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Text(text) => Some(trimmed_address(text)).filter(|text| !text.is_empty()).map(|text| fold(text).to_string()),
        ValueRef::Binary(octets) if octets.len() <= KEY_MAX => Some(fold(&STANDARD.encode(octets)).to_string()),
        _ => None,
    }
}

/// Deletes of a target that wait because who is to be deleted may only have moved.
pub(super) fn possible_moves(snapshot: &Snapshot, names: &Names, target: ConnectorId) -> Result<BTreeMap<CsId, PossibleMove>, StoreError> {
    let mut moves = BTreeMap::new();
    // Problems of all directories are read only for somebody.
    if snapshot.queue(Stage::PendingExport, target, None, 1)?.is_empty() {
        return Ok(moves);
    }
    let in_the_way = InTheWay::of(snapshot, target)?;
    if in_the_way.found.is_empty() {
        return Ok(moves);
    }
    each(snapshot, target, &mut |object| {
        if object.stage(Stage::PendingExport).kind == DeltaKind::Delete
            && let Some((found, alike)) = in_the_way.alike(names, object)
        {
            let Unusable { connector, entry, code, since } = found;
            let person = called(names, object);
            let (connector, entry, code) = (connector.clone(), entry.clone(), code.clone());
            moves.insert(object.id, PossibleMove { person, connector, entry, code, alike, since: *since });
        }
        Ok(())
    })?;
    Ok(moves)
}
