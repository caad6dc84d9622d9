//! When a step has to be a full one: what imports read and rules mean has a fingerprint, and a connector keeps that of its last full
//! steps beside all else that only a full step can settle.

use super::belief::Belief;
use super::import::{self, FULL_NEEDED, WATERMARK};
use super::run::{Engine, Profile};
use crate::model::{AttrId, ConnectorId, Stage};
use crate::rules::{RuleSet, RunParameters};
use crate::store::{ChangeSet, DirtyReason, Snapshot, StoreError};
use std::collections::BTreeSet;
use xxhash_rust::xxh3::xxh3_64;

/// Marks that are looked through for news.
const MARKS: usize = 1_000;

/// Under this name a connector keeps the fingerprint of the rules of its last full synchronization.
pub(super) const SYNCHRONIZED: &str = "synchronized-with";
/// Under this name a connector keeps what its last complete import read.
pub(super) const READ_WITH: &str = "read-completely";
/// Under this name a connector keeps the attributes that its last complete import read: two octets each.
pub(super) const READ_ATTRIBUTES: &str = "attributes-read";
/// Under this name a connector keeps that somebody asked for a full import, and when (microseconds since 1970).
pub const FULL_IMPORT_ASKED: &str = "full-import-asked";
/// The same for a full synchronization.
pub const FULL_SYNC_ASKED: &str = "full-synchronization-asked";

impl Engine<'_> {
    /// The profile that can be run instead of the one that was asked for, and why.
    pub(super) fn possible(&self, snapshot: &Snapshot, id: ConnectorId, profile: Profile) -> Result<(Profile, Option<String>), StoreError> {
        let because = |reason: &str| Some(reason.to_owned());
        Ok(match profile {
            Profile::FullImport => (profile, Belief::of(snapshot, id)?.reason()),
            Profile::DeltaImport => {
                let connector = self.participants.get(&id).and_then(|participant| participant.connector.as_ref());
                let told_only_whole = connector.is_some_and(|connector| !connector.capabilities().delta_import);
                match Belief::of(snapshot, id)?.reason() {
                    Some(reason) => (Profile::FullImport, Some(reason)),
                    None if told_only_whole => (Profile::FullImport, None),
                    None => {
                        let read = snapshot.state(id, READ_WITH)?;
                        match full_import_because(snapshot, id, read.as_deref(), self.reads(id))? {
                            Some(reason) => (Profile::FullImport, Some(reason)),
                            None if read.is_none() || snapshot.state(id, WATERMARK)?.is_none() => {
                                (Profile::FullImport, because("no earlier import left a place to go on from"))
                            }
                            None => (profile, None),
                        }
                    }
                }
            }
            Profile::DeltaSynchronization => {
                let known = snapshot.state(id, SYNCHRONIZED)?;
                match full_synchronization_because(snapshot, id, known.as_deref(), self.rules_and_parameters())? {
                    _ if known.is_none() => (Profile::FullSynchronization, None),
                    Some(reason) => (Profile::FullSynchronization, because(reason)),
                    None => (profile, None),
                }
            }
            other => (other, None),
        })
    }

    /// Stands for the rules and for what they read as `%Domain.FQDN%` and the like.
    pub(super) fn rules_and_parameters(&self) -> u64 {
        rules_and_parameters(self.rules, &self.parameters)
    }

    /// Stands for what an import of the connector reads.
    pub(super) fn reads(&self, id: ConnectorId) -> u64 {
        reads(self.rules, id, self.participants.get(&id).map_or(0, |participant| participant.selection))
    }

    /// The attributes that rules read or write, ascending.
    pub(super) fn attributes(&self, id: ConnectorId) -> Vec<AttrId> {
        attributes(self.rules, id)
    }

    /// One entry is read by itself: where what is read is something else than before, a full import has to say whether it stays.
    pub(super) fn note_other_selection(&self, id: ConnectorId) -> Result<(), StoreError> {
        if !reads_something_else(&self.store.snapshot()?, id, self.reads(id))? {
            return Ok(());
        }
        let mut changes = ChangeSet::new();
        changes.states.push((id, FULL_NEEDED.to_owned(), Some(vec![1])));
        self.store.apply(changes)
    }
}

/// True when an import would read something else than the last complete one. Before the first one nothing leaves for a target
/// ([`Engine::refuse_the_unread`]), so that what it tells in pieces may count.
pub(super) fn reads_something_else(snapshot: &Snapshot, id: ConnectorId, reads: u64) -> Result<bool, StoreError> {
    Ok(differs(snapshot.state(id, READ_WITH)?.as_deref(), reads))
}

/// Which of these attributes the last complete import did not read: what they show now says nothing of when it came. A store that
/// does not know them yet has read them all, unless it is known to have read something else.
pub(super) fn newly_read(
    snapshot: &Snapshot,
    id: ConnectorId,
    reads: Option<u64>,
    attributes: &[AttrId],
) -> Result<BTreeSet<AttrId>, StoreError> {
    let attributes = attributes.iter().copied();
    if let Some(known) = snapshot.state(id, READ_ATTRIBUTES)? {
        let known: BTreeSet<AttrId> = known.chunks_exact(2).map(|octets| AttrId(u16::from_le_bytes([octets[0], octets[1]]))).collect();
        return Ok(attributes.filter(|attr| !known.contains(attr)).collect());
    }
    let other = reads.map_or(Ok(false), |reads| reads_something_else(snapshot, id, reads))?;
    Ok(attributes.filter(|_| other).collect())
}

/// What [`READ_ATTRIBUTES`] keeps.
pub(super) fn attributes_read(attributes: &[AttrId]) -> Vec<u8> {
    attributes.iter().flat_map(|attr| attr.0.to_le_bytes()).collect()
}

fn differs(known: Option<&[u8]>, now: u64) -> bool {
    known.is_some_and(|known| known != now.to_le_bytes())
}

/// Why the next import of a connector that is not doubted reads everything, although its directory could tell changes.
fn full_import_because(snapshot: &Snapshot, id: ConnectorId, read: Option<&[u8]>, reads: u64) -> Result<Option<String>, StoreError> {
    Ok(if snapshot.state(id, FULL_IMPORT_ASKED)?.is_some() {
        Some("somebody asked for it".to_owned())
    } else if differs(read, reads) {
        Some("what is read changed since the last full import".to_owned())
    } else if let Some(verdict) = import::verdict(snapshot, id)? {
        Some(format!("an earlier one was not believed: {verdict}"))
    } else if snapshot.state(id, FULL_NEEDED)?.is_some() {
        Some("an earlier import could not use all that it was told".to_owned())
    } else if !snapshot.queue(Stage::InProgress, id, None, 1)?.is_empty() {
        // What was changed is told by a delta; what never arrived is told by nobody but a full import.
        Some("an export did not get all its answers".to_owned())
    } else {
        None
    })
}

/// Why the next synchronization of a connector is a full one, beyond that there was none: `known` is the fingerprint of the rules and
/// parameters of the last one, `now` that of those that count.
fn full_synchronization_because(
    snapshot: &Snapshot,
    id: ConnectorId,
    known: Option<&[u8]>,
    now: u64,
) -> Result<Option<&'static str>, StoreError> {
    Ok(if differs(known, now) {
        Some("the rules or their parameters changed since the last one")
    } else if snapshot.state(id, FULL_SYNC_ASKED)?.is_some() {
        Some("somebody asked for it")
    } else {
        None
    })
}

fn attributes(rules: &RuleSet, id: ConnectorId) -> Vec<AttrId> {
    let mut attributes: BTreeSet<AttrId> = rules.inbound_attributes(id).into_iter().collect();
    attributes.extend(rules.outbound_attributes(id));
    attributes.remove(&AttrId::DN);
    attributes.into_iter().collect()
}

fn reads(rules: &RuleSet, id: ConnectorId, selection: u64) -> u64 {
    let attributes = attributes(rules, id).into_iter().flat_map(|attr| attr.0.to_le_bytes());
    xxh3_64(&selection.to_le_bytes().into_iter().chain(attributes).collect::<Vec<u8>>())
}

fn rules_and_parameters(rules: &RuleSet, parameters: &RunParameters) -> u64 {
    xxh3_64(format!("{} {:?}", rules.fingerprint(), parameters.parameters).as_bytes())
}

/// What the next cycle does with a connector before it exports anything, beyond looking for changes: what waits now is not all
/// that it will send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outstanding {
    /// Everything is read, and why.
    Reading(String),
    /// Everything is synchronized, and why.
    Synchronizing(&'static str),
    /// Some objects are synchronized.
    Changes,
}

/// What is outstanding for a connector that was read before: `selection` is what its configuration selects now.
///
/// # Errors
/// When the store cannot be read.
pub fn outstanding(
    snapshot: &Snapshot,
    rules: &RuleSet,
    parameters: &RunParameters,
    id: ConnectorId,
    selection: u64,
) -> Result<Option<Outstanding>, StoreError> {
    let read = snapshot.state(id, READ_WITH)?;
    if let Some(reason) = full_import_because(snapshot, id, read.as_deref(), reads(rules, id, selection))? {
        return Ok(Some(Outstanding::Reading(reason)));
    }
    let (known, now) = (snapshot.state(id, SYNCHRONIZED)?, rules_and_parameters(rules, parameters));
    if let Some(reason) = full_synchronization_because(snapshot, id, known.as_deref(), now)? {
        return Ok(Some(Outstanding::Synchronizing(reason)));
    }
    // What failed is tried again by every synchronization, and tells nothing new.
    let news = snapshot.dirty(id, None, MARKS)?.iter().any(|(_, reason)| *reason != DirtyReason::SyncError);
    Ok(news.then_some(Outstanding::Changes))
}
