//! Which connector has which number, and what becomes of those that are configured no longer.
//!
//! A number belongs to a name for good. A connector whose file is missing is *abandoned*: its objects stay, and nothing is
//! synchronized until somebody says whether it comes back, has another name now, or is removed.

use super::browse::known_as;
use super::{Service, ServiceError, nobody_writes};
use crate::config::{Config, ConnectorConfig, ConnectorKind, ConnectorSettings};
use crate::engine::belief::{Belief, Doubt, NAME, REMOVED};
use crate::engine::export::{ExportSummary, Sampled, Unknown, belongs_to_nobody, sample, was_exported};
use crate::engine::import::retire;
use crate::engine::run::Standing;
use crate::model::{ConnectorId, CsObject, Names, Stage, StageMask, ValueState, counted};
use crate::store::{ChangeSet, Snapshot, Store, StoreError};
use serde::Serialize;
use std::collections::BTreeMap;
use xxhash_rust::xxh3::xxh3_64;

/// The pseudo-connector that keeps states of the installation itself.
pub(super) const INSTALLATION: ConnectorId = ConnectorId(0);
/// Under this name the installation keeps the next number.
const NEXT: &str = "connector-next";
/// Under this name the installation keeps the attribute that ties its people to their cloud objects.
const SOURCE_ANCHOR: &str = "source-anchor";
/// What is kept with a removed connector while not all of its objects are staged as gone.
const LEAVING: &[u8] = b"leaving";
/// Objects of a target looked at together.
const STRAYS_TOGETHER: usize = 1_000;
/// So many of those that belong to nobody are named.
const STRAYS_NAMED: usize = 3;

/// By this attribute a tenant knows which object of a directory an object of its own is.
const ANCHOR_OF_A_SOURCE: &str = "sourceAnchor";

/// Objects of a target that belong to nobody.
#[derive(Default)]
struct Strays {
    count: u64,
    /// The first few.
    sample: Vec<String>,
}

impl Strays {
    fn add(&mut self, named: impl FnOnce() -> String) {
        self.count += 1;
        if self.sample.len() < STRAYS_NAMED {
            self.sample.push(named());
        }
    }
}

/// A connector as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConnectorLine {
    /// Its number.
    pub id: u16,
    /// Its name.
    pub name: String,
    /// Its kind; nothing when it is not configured.
    pub kind: Option<&'static str>,
    /// `configured`, `abandoned` or `removed`.
    pub state: &'static str,
    /// Rules write to it.
    pub target: bool,
    /// Objects in its space.
    pub objects: u64,
}

/// What a connector has left behind that is configured no longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftBehind {
    /// Its objects.
    pub objects: u64,
    /// Something was exported to it, or waits to be.
    pub target: bool,
    /// Objects that wait to be removed there, which nobody will remember.
    pub deletes: u64,
    /// Some of these by name; empty when there are none.
    pub deletes_sample: String,
}

/// Objects that would be given from one connector to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renaming {
    /// Who has them now.
    pub old: ConnectorId,
    /// Who would have them.
    pub heir: ConnectorId,
    /// How many there are.
    pub objects: u64,
}

/// The number of every configured connector: the one its name had before, or the next that no name ever had; and what is to be
/// written of that, which [`keep`] does when the configuration counts.
pub(super) fn number(config: &Config, snapshot: &Snapshot) -> Result<(BTreeMap<ConnectorId, String>, ChangeSet), ServiceError> {
    let first = next_number(snapshot)?;
    let (mut next, mut changes, mut connectors) = (first, ChangeSet::new(), BTreeMap::new());
    for connector in &config.connectors {
        let id = match known_number(snapshot, &connector.name)? {
            Some(id) => id,
            None if next == u16::MAX => return Err(ServiceError::Usage("this store has no more numbers for connectors".to_owned())),
            None => {
                changes.states.push((INSTALLATION, key(&connector.name), Some(next.to_le_bytes().to_vec())));
                next += 1;
                next - 1
            }
        };
        let id = ConnectorId(id);
        if snapshot.state(id, NAME)?.as_deref() != Some(connector.name.as_bytes()) {
            changes.states.push((id, NAME.to_owned(), Some(connector.name.clone().into_bytes())));
        }
        if snapshot.state(id, REMOVED)?.is_some() {
            changes.states.push((id, REMOVED.to_owned(), None));
            // Removed by a release that went on believing.
            if Belief::of(snapshot, id)?.doubt != Some(Doubt::Removed) {
                Belief::distrust(snapshot, id, Doubt::Removed, &mut changes)?;
            }
        }
        connectors.insert(id, connector.name.clone());
    }
    if next != first {
        changes.states.push((INSTALLATION, NEXT.to_owned(), Some(next.to_le_bytes().to_vec())));
    }
    Ok((connectors, changes))
}

/// Keeps the numbers that connectors were given, for good.
///
/// # Errors
/// When the store refuses, or others were given meanwhile.
pub(super) fn keep(config: &Config, store: &Store, given: &BTreeMap<ConnectorId, String>) -> Result<(), ServiceError> {
    store.update(|snapshot| {
        Ok(match number(config, snapshot) {
            Ok((connectors, changes)) if connectors == *given => (changes, Ok(())),
            Ok(_) => {
                let message = "connectors got other numbers meanwhile".to_owned();
                let hint = "`syncline connector list` names them; it is tried again with the next change".to_owned();
                (ChangeSet::new(), Err(ServiceError::NotReady { message, hint }))
            }
            Err(error) => (ChangeSet::new(), Err(error)),
        })
    })?
}

/// Stands for what a connector's configuration selects: with another value everything has to be read again.
pub(super) fn selection(connector: &ConnectorConfig) -> u64 {
    let types = connector.object_types();
    // Pilot groups are a matter of rules.
    let containers = connector.selection().map(|selection| (&selection.include, &selection.exclude));
    let text = match &connector.settings {
        ConnectorSettings::Ldif(file) => format!("{:?} {:?} {types:?} {containers:?}", file.shape, file.anchor),
        ConnectorSettings::Ad(file) => format!("{:?} {types:?} {containers:?}", file.partitions),
        ConnectorSettings::Ldap(file) => format!("{:?} {:?} {types:?} {containers:?}", file.base, file.anchor),
        ConnectorSettings::Entra(_) => format!("{types:?}"),
    };
    xxh3_64(text.as_bytes())
}

fn key(name: &str) -> String {
    format!("connector-number/{}", name.to_lowercase())
}

fn as_number(content: Option<Vec<u8>>) -> Option<u16> {
    content.and_then(|octets| <[u8; 2]>::try_from(octets).ok()).map(u16::from_le_bytes)
}

fn next_number(snapshot: &Snapshot) -> Result<u16, StoreError> {
    Ok(as_number(snapshot.state(INSTALLATION, NEXT)?).unwrap_or(1))
}

fn known_number(snapshot: &Snapshot, name: &str) -> Result<Option<u16>, StoreError> {
    Ok(as_number(snapshot.state(INSTALLATION, &key(name))?))
}

/// The source anchor that cloud objects were made with, when another one must not follow it.
pub(super) fn refused_anchor(snapshot: &Snapshot, now: &str) -> Result<Option<String>, StoreError> {
    Ok(kept_source_anchor(snapshot)?.filter(|kept| !kept.eq_ignore_ascii_case(now) && !is_successor(kept, now)))
}

fn kept_source_anchor(snapshot: &Snapshot) -> Result<Option<String>, StoreError> {
    Ok(snapshot.state(INSTALLATION, SOURCE_ANCHOR)?.and_then(|octets| String::from_utf8(octets).ok()))
}

/// True for the one change that leaves everybody who they are: who has none of the new attribute keeps the same value, and whoever
/// has another one there is refused alone (specification: sync engine 5.8; the rules' "SourceAnchor attribute has changed.").
fn is_successor(kept: &str, now: &str) -> bool {
    kept.eq_ignore_ascii_case("objectGUID") && now.eq_ignore_ascii_case("mS-DS-ConsistencyGuid")
}

/// Keeps the attribute that ties people to their cloud objects, where none is kept yet.
pub(super) fn note_source_anchor(store: &Store, anchor: &str) -> Result<(), StoreError> {
    if store.snapshot()?.state(INSTALLATION, SOURCE_ANCHOR)?.is_some() {
        return Ok(());
    }
    let mut changes = ChangeSet::new();
    changes.states.push((INSTALLATION, SOURCE_ANCHOR.to_owned(), Some(anchor.as_bytes().to_vec())));
    store.apply(changes)
}

impl Service {
    /// Connectors that are not configured and have objects in the store, by number: names and what was said of them.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(super) fn former_connectors(&self) -> Result<BTreeMap<ConnectorId, (String, Standing)>, ServiceError> {
        let snapshot = self.store.snapshot()?;
        let mut found = BTreeMap::new();
        for id in (1..next_number(&snapshot)?).map(ConnectorId) {
            if self.connectors.contains_key(&id) || snapshot.cs_count(id)? == 0 {
                continue;
            }
            let name = snapshot.state(id, NAME)?.and_then(|octets| String::from_utf8(octets).ok());
            let removed = snapshot.state(id, REMOVED)?;
            let standing = if removed.is_some() { Standing::Removed } else { Standing::Abandoned };
            let leaving = removed.as_deref() == Some(LEAVING);
            if standing == Standing::Removed && !leaving && snapshot.queue(Stage::PendingImport, id, None, 1)?.is_empty() {
                continue;
            }
            found.insert(id, (name.unwrap_or_else(|| id.to_string()), standing));
        }
        Ok(found)
    }

    /// All connectors, with those that are configured no longer and still have objects.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn connector_list(&self) -> Result<Vec<ConnectorLine>, ServiceError> {
        let snapshot = self.store.snapshot()?;
        let targets = self.rules.as_ref().map_or(&[][..], |rules| rules.targets());
        let mut lines = Vec::new();
        // Names that others refer to are no objects.
        let count =
            |id: ConnectorId| -> Result<u64, StoreError> { Ok(snapshot.cs_count(id)?.saturating_sub(snapshot.cs_placeholders(id)?)) };
        for (id, name) in &self.connectors {
            let kind = self.config.connector(name).map(|connector| match connector.kind() {
                ConnectorKind::Ad => "ad",
                ConnectorKind::Ldap => "ldap",
                ConnectorKind::Entra => "entra",
                ConnectorKind::Ldif => "ldif",
            });
            let (name, objects) = (name.clone(), count(*id)?);
            lines.push(ConnectorLine { id: id.0, name, kind, state: "configured", target: targets.contains(id), objects });
        }
        for (id, (name, standing)) in self.former_connectors()? {
            let state = if standing == Standing::Removed { "removed" } else { "abandoned" };
            lines.push(ConnectorLine { id: id.0, name, kind: None, state, target: false, objects: count(id)? });
        }
        Ok(lines)
    }

    /// Refuses to work with another source anchor than the one that cloud objects were made with: to the rules everybody
    /// would be somebody else (specification: sync engine, section 5.8). From `objectGUID` the consistency GUID is the one way on.
    ///
    /// # Errors
    /// When it was changed, or the store cannot be read.
    pub(super) fn keep_source_anchor(&self) -> Result<(), ServiceError> {
        let now = &self.config.rules.source_anchor;
        let snapshot = self.store.snapshot()?;
        match kept_source_anchor(&snapshot)? {
            Some(kept) if kept.eq_ignore_ascii_case(now) => Ok(()),
            Some(kept) if is_successor(&kept, now) => {
                let mut changes = ChangeSet::new();
                changes.states.push((INSTALLATION, SOURCE_ANCHOR.to_owned(), Some(now.clone().into_bytes())));
                Ok(self.store.apply(changes)?)
            }
            Some(kept) => Err(self.another_anchor(&snapshot, kept, now)?),
            None => {
                let mut exported = false;
                for target in self.rules()?.targets() {
                    exported |= snapshot.cs_count(*target)? > 0;
                }
                if exported {
                    note_source_anchor(&self.store, now)?;
                }
                Ok(())
            }
        }
    }

    /// Refuses a source anchor with which nothing would run; `None` is the one that counts where none is written.
    ///
    /// # Errors
    /// When cloud objects were made with another one, or the store cannot be read.
    pub fn may_have_source_anchor(&self, wanted: Option<&str>) -> Result<(), ServiceError> {
        let default = crate::config::RulesTable::default().source_anchor;
        let (wanted, snapshot) = (wanted.unwrap_or(&default), self.store.snapshot()?);
        match refused_anchor(&snapshot, wanted)? {
            Some(kept) => Err(self.another_anchor(&snapshot, kept, wanted)?),
            None => Ok(()),
        }
    }

    /// What another source anchor would do to whom.
    fn another_anchor(&self, snapshot: &Snapshot, kept: String, now: &str) -> Result<ServiceError, ServiceError> {
        let (mut objects, mut sample) = (0, Vec::new());
        for target in self.rules()?.targets() {
            objects += snapshot.cs_count(*target)?;
            let objects = snapshot.cs_scan(*target, None, STRAYS_TOGETHER)?;
            for object in objects.iter().filter(|object| came_from_a_directory(self.store.names(), object)).take(3) {
                let known = known_as(self.store.names(), &object.values).to_string();
                sample.push(if known.is_empty() { object.dn.to_string() } else { known });
            }
        }
        sample.truncate(3);
        Ok(ServiceError::SourceAnchor { kept, now: now.to_owned(), objects, sample: sample.join("; ") })
    }

    /// The source anchor that cloud objects were made with, when [`Self::keep_source_anchor`] refuses the configured one.
    pub(super) fn changed_source_anchor(&self, snapshot: &Snapshot) -> Result<Option<String>, StoreError> {
        refused_anchor(snapshot, &self.config.rules.source_anchor)
    }

    /// What a connector has left behind that is configured no longer.
    ///
    /// # Errors
    /// As [`Self::remove_connector`].
    pub fn left_behind(&self, name: &str) -> Result<LeftBehind, ServiceError> {
        if let Some(known) = self.connectors.values().find(|known| known.eq_ignore_ascii_case(name)) {
            return Err(ServiceError::Usage(format!("the connector '{known}' is configured: take its file out of connectors/ first")));
        }
        let (id, snapshot) = (self.former(name)?, self.store.snapshot()?);
        let waiting = ExportSummary::of(&snapshot, id)?;
        Ok(LeftBehind {
            objects: snapshot.cs_count(id)?,
            target: was_exported(&snapshot, id)? || waiting.all() > 0,
            deletes: waiting.deletes,
            deletes_sample: sample(&snapshot, self.store.names(), id, Sampled::Deletes)?,
        })
    }

    /// Lets the objects of a connector go that is configured no longer: the next synchronization takes them off as if its
    /// directory no longer had them. Deletes wait then until somebody allows them. Gives what there is.
    ///
    /// # Errors
    /// When the connector is still configured, has no objects, or the store refuses.
    pub fn remove_connector(&self, name: &str) -> Result<LeftBehind, ServiceError> {
        let left = self.left_behind(name)?;
        let id = self.former(name)?;
        // First of all, and together: whatever is cut off behind it, nobody goes on from what was known of it.
        let mut changes = ChangeSet::new();
        Belief::distrust(&self.store.snapshot()?, id, Doubt::Removed, &mut changes)?;
        changes.states.push((id, REMOVED.to_owned(), Some(LEAVING.to_vec())));
        self.store.apply(changes)?;
        self.finish_removals()?;
        Ok(left)
    }

    /// Stages the rest of what removed connectors left behind, where that was cut off.
    ///
    /// # Errors
    /// When the store refuses.
    pub(super) fn finish_removals(&self) -> Result<(), ServiceError> {
        for (id, (_, standing)) in self.former_connectors()? {
            if standing == Standing::Removed && self.store.snapshot()?.state(id, REMOVED)?.as_deref() == Some(LEAVING) {
                retire(&self.store, id)?;
                let mut changes = ChangeSet::new();
                changes.states.push((id, REMOVED.to_owned(), Some(Vec::new())));
                self.store.apply(changes)?;
            }
        }
        Ok(())
    }

    /// Every connector that ever had a number, also those that are configured no longer.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(super) fn all_connectors(&self) -> Result<Vec<ConnectorId>, StoreError> {
        Ok((1..next_number(&self.store.snapshot()?)?).map(ConnectorId).collect())
    }

    /// Gives the objects of a connector that is configured no longer to one that is configured under a new name and has
    /// none yet. Gives how many there are.
    ///
    /// # Errors
    /// When there is no such connector, the new one has objects already, or the store refuses.
    pub fn rename_connector(&self, name: &str, new: &str) -> Result<u64, ServiceError> {
        let Renaming { old, heir, objects } = self.renaming(name, new)?;
        let new = self.connectors.get(&heir).map_or(new, String::as_str);
        let mut changes = ChangeSet::new();
        changes.states.push((INSTALLATION, key(name), None));
        changes.states.push((INSTALLATION, key(new), Some(old.0.to_le_bytes().to_vec())));
        changes.states.push((old, NAME.to_owned(), Some(new.as_bytes().to_vec())));
        changes.states.push((heir, NAME.to_owned(), None));
        self.store.apply(changes)?;
        Ok(objects)
    }

    /// What [`Self::rename_connector`] would do.
    ///
    /// # Errors
    /// When there is no such connector, or the new one has objects already.
    pub fn renaming(&self, name: &str, new: &str) -> Result<Renaming, ServiceError> {
        let (old, heir) = (self.former(name)?, self.connector_id(new)?);
        let snapshot = self.store.snapshot()?;
        if snapshot.cs_count(heir)? > 0 {
            return Err(ServiceError::Usage(format!("the connector '{new}' has objects of its own already")));
        }
        Ok(Renaming { old, heir, objects: snapshot.cs_count(old)? })
    }

    /// Why a cycle cannot be of use: somebody is missing on one of its ends.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn nothing_to_do(&self) -> Result<Option<String>, ServiceError> {
        let Ok(rules) = self.rules() else { return Ok(None) };
        // What a former connector left behind is something to do.
        if !self.former_connectors()?.is_empty() {
            return Ok(None);
        }
        let (targets, folder) = (rules.targets(), self.config.folder.join("connectors"));
        let folder = folder.display();
        Ok(if self.connectors.is_empty() {
            Some(format!("There is nothing to synchronize: no connector is configured in {folder}"))
        } else if self.connectors.keys().all(|id| targets.contains(id) && !self.is_directory(rules, *id)) {
            Some(format!("There is nothing to synchronize from: no source is configured in {folder}"))
        } else if let Some(problem) = nobody_writes(&self.config, rules, &self.connectors).filter(|_| targets.is_empty()) {
            let hint = problem.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
            Some(format!("There is nothing to synchronize to: {}{hint}", problem.message))
        } else if targets.is_empty() {
            Some(format!("There is nothing to synchronize to: no target is configured in {folder}"))
        } else {
            None
        })
    }

    /// That objects of a target belong to nobody here, and nothing is to become of them: leavers of whom an earlier store
    /// or an earlier space of it knew. Who never came from a directory, as the account by which a tenant is synchronized, is at home
    /// there, and nothing is said. Looks at all of its objects.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn strays(&self, target: ConnectorId) -> Result<Option<String>, ServiceError> {
        let snapshot = self.store.snapshot()?;
        let unknown = Unknown::of(&snapshot, target)?;
        let (mut certain, mut doubtful, mut after) = (Strays::default(), Strays::default(), None);
        loop {
            let page = snapshot.cs_scan(target, after, STRAYS_TOGETHER)?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            let left = |object: &&CsObject| belongs_to_nobody(object) && came_from_a_directory(self.store.names(), object);
            for stray in page.iter().filter(left) {
                match unknown.may_be(self.store.names(), stray) {
                    Some(why) => doubtful.add(|| why),
                    None => certain.add(|| {
                        let known = known_as(self.store.names(), &stray.values).to_string();
                        if known.is_empty() { stray.dn.to_string() } else { known }
                    }),
                }
            }
        }
        let name = self.name_of(target);
        let told = |some: &Strays, what: &str| {
            let there = counted(some.count, "object belongs", "objects belong");
            let stay = if some.count == 1 { "stays" } else { "stay" };
            let more = if some.count > some.sample.len() as u64 { "; …" } else { "" };
            (some.count > 0).then(|| format!("{there} to nobody here and {stay} in {name}: {}{more}. {what}", some.sample.join("; ")))
        };
        let doubtful = told(&doubtful, "Mend the entry first, and delete nobody there before");
        let certain = told(&certain, "Who left before this store knew of it has to be deleted there");
        let all: Vec<String> = doubtful.into_iter().chain(certain).collect();
        Ok(Some(all.join(". ")).filter(|all| !all.is_empty()))
    }

    fn former(&self, name: &str) -> Result<ConnectorId, ServiceError> {
        let former = self.former_connectors()?;
        let found = former.iter().find(|(_, (known, standing))| *standing == Standing::Abandoned && known.eq_ignore_ascii_case(name));
        found.map(|(id, _)| *id).ok_or_else(|| {
            let known: Vec<&str> = former.values().map(|(name, _)| name.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            ServiceError::NotFound(format!("no connector '{name}' was left behind in the store; there are: {known}"))
        })
    }
}

/// True for an object of a target that was once exported to it, by whomever.
fn came_from_a_directory(names: &Names, object: &CsObject) -> bool {
    let imported = |attr| object.values.attribute(attr).any(|item| ValueState(item.flags).present(StageMask::IMPORTED));
    names.find(ANCHOR_OF_A_SOURCE).is_none_or(imported)
}
