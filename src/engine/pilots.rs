//! Pilot groups by their keys: the configuration names them, and a name may get another bearer.
//!
//! Whoever was a member of the former group hears nothing of it, so a delta would leave everybody where they are, and a later
//! full synchronization would take them out of the cloud out of the blue. So a person says which group is meant.

use super::EngineError;
use super::full_steps::SYNCHRONIZED;
use super::refusals::some_of;
use super::run::Engine;
use crate::model::{ConnectorId, CsObject, Dn};
use crate::store::{ChangeSet, Kept, KeptState, Snapshot, StoreError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Under this name a connector keeps the keys of its pilot groups.
pub(super) const PILOTS: &str = "pilot-groups";
const KEPT: KeptState<Vec<Pilot>> = KeptState::new(PILOTS);
/// The result of a synchronization that was stopped because another group has the name of a pilot.
const REPLACED: &str = "no-start-pilot-group-replaced";

/// A pilot group as it was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Pilot {
    /// Its name in the configuration.
    name: String,
    /// The key of the object behind it.
    key: Vec<u8>,
}

impl Engine<'_> {
    /// A pilot whose group is not there has no members: everybody would be taken out of the cloud, whatever is synchronized.
    pub(super) fn refuse_missing_pilots(&self) -> Result<(), EngineError> {
        let snapshot = self.store.snapshot()?;
        for (id, group) in self.rules.pilot_groups() {
            let id = *id;
            let found = match Dn::parse(group) {
                Ok(name) => snapshot.cs_by_dn(id, &name.key())?,
                Err(_) => None,
            };
            let there = match found {
                Some(found) => snapshot.cs_object(found)?.is_some_and(|object| {
                    let kind = self.store.names().object_type_name(object.object_type);
                    object.imported() && kind.to_ascii_lowercase().contains("group")
                }),
                None => false,
            };
            if !there {
                let name = self.participants.get(&id).map_or("", |participant| participant.name.as_str());
                let message = format!(
                    "the pilot group '{group}' is not among the imported groups of {name}: nobody would be its member, and everybody of its {} \
                     objects would be taken out of the cloud, among them {}. Was it renamed, moved or excluded? Look for it with `syncline \
                     object explain '{group}'`; set [selection] groups right, or import the group first: `syncline run start '{name}' full-import`",
                    snapshot.cs_count(id)?,
                    some_of(&snapshot, id)?
                );
                return Err(EngineError::Guard { result: "no-start-pilot-group-missing", message });
            }
        }
        self.refuse_replaced_pilots(&snapshot)
    }

    /// Refuses to apply rules while another group than before has the name of a pilot; keeps the keys of those that are seen for
    /// the first time. All of them are there.
    fn refuse_replaced_pilots(&self, snapshot: &Snapshot) -> Result<(), EngineError> {
        let mut configured: BTreeMap<ConnectorId, Vec<&str>> = BTreeMap::new();
        for (id, group) in self.rules.pilot_groups() {
            configured.entry(*id).or_default().push(group);
        }
        for (id, groups) in configured {
            let before = match KEPT.read(snapshot, id)? {
                Kept::Here(before) => before,
                Kept::Nothing => Vec::new(),
                Kept::Unreadable(reason) => {
                    return Err(self.replaced(id, &format!("the keys of the pilot groups cannot be read ({reason})")));
                }
            };
            let mut now = Vec::new();
            for group in groups {
                let Some(key) = key_of(snapshot, id, group)? else { continue };
                let former = before.iter().find(|known| same(&known.name, group) && known.key != key);
                if let Some(former) = former {
                    let there = snapshot.cs_by_anchor(id, &former.key)?.map(|id| snapshot.cs_object(id)).transpose()?.flatten();
                    let former = match there.filter(CsObject::imported) {
                        Some(object) => format!("the former one is '{}' now; if that is meant, name it in [selection] groups", object.dn),
                        None => "the former one is not there any more".to_owned(),
                    };
                    return Err(self.replaced(id, &format!("the pilot group '{group}' is another group than before: {former}")));
                }
                now.push(Pilot { name: group.to_owned(), key });
            }
            if now != before {
                KEPT.update(self.store, id, |_| (Kept::Here(now), ()))?;
            }
        }
        Ok(())
    }

    fn replaced(&self, id: ConnectorId, what: &str) -> EngineError {
        let name = self.participants.get(&id).map_or("", |participant| participant.name.as_str());
        let message = format!(
            "{what}. Everybody of {name} who is no member of the new one would be taken out of the cloud, so nothing is synchronized. If the new \
             one is meant, say so once by `syncline run start '{name}' full-import --allow-shrink`; then `syncline run start '{name}' full-sync` \
             and `syncline export --what-if` show who goes, before the next cycle sends it"
        );
        EngineError::Guard { result: REPLACED, message }
    }

    /// A person said that what the directory shows now is meant: its groups count as they are, for everybody at once.
    pub(super) fn believe_pilots(&self, id: ConnectorId) -> Result<(), StoreError> {
        let mut changes = ChangeSet::new();
        if self.store.snapshot()?.state(id, PILOTS)?.is_some() {
            changes.states.push((id, PILOTS.to_owned(), None));
            changes.states.push((id, SYNCHRONIZED.to_owned(), None));
        }
        if changes.is_empty() { Ok(()) } else { self.store.apply(changes) }
    }
}

fn key_of(snapshot: &Snapshot, id: ConnectorId, group: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let Ok(name) = Dn::parse(group) else { return Ok(None) };
    let found = snapshot.cs_by_dn(id, &name.key())?.map(|found| snapshot.cs_object(found)).transpose()?.flatten();
    Ok(found.and_then(|object| object.anchor).map(|anchor| anchor.as_bytes().to_vec()))
}

fn same(left: &str, right: &str) -> bool {
    matches!((Dn::parse(left), Dn::parse(right)), (Ok(left), Ok(right)) if left.same(&right))
}
