//! What an import of a target finds that nobody expected: values and objects that others changed behind our back, and
//! changes that the target had accepted and does not show.

use super::Import;
use super::image::Comparison;
use crate::engine::StepRecorder;
use crate::engine::belief::Doubt;
use crate::engine::describe::called;
use crate::events::Event;
use crate::model::{AttrId, CsObject, DeltaKind, Stage};
use crate::store::{Snapshot, StoreError};
use std::collections::BTreeSet;

/// How many objects are named; of the others their number is told.
const NAMED: u64 = 5;

/// How many objects surprised.
#[derive(Debug, Default)]
pub(super) struct Surprises {
    /// What is remembered is doubted: what differs from it says nothing of others.
    doubted: bool,
    /// Attributes that nobody read before: what they show may be our own, of a time when other rules wrote them.
    newly_read: BTreeSet<AttrId>,
    /// Objects that others changed or deleted.
    drifted: u64,
    /// Objects that differ from what is remembered, while that is doubted.
    unremembered: u64,
    /// Objects that came with more than we sent, or got a reference to one that came.
    returned: u64,
    not_reimported: u64,
}

impl Surprises {
    /// None yet, where what is remembered of the target is doubted like this, and nothing is remembered of some attributes.
    pub(super) fn of(doubt: Option<Doubt>, newly_read: BTreeSet<AttrId>) -> Self {
        Self { doubted: doubt.is_some(), newly_read, ..Self::default() }
    }
}

/// True when an object is on its way out: nobody wonders that references to it go.
fn leaving(object: Option<&CsObject>) -> bool {
    object.is_none_or(|object| Stage::ALL.into_iter().any(|stage| object.stage(stage).kind == DeltaKind::Delete))
}

/// True when the target shows an object of ours since a moment ago: nobody wonders that references to it come, since a target
/// that had it in its recycle bin gives it back with them.
fn arriving(object: Option<&CsObject>) -> bool {
    object.is_some_and(|object| !object.in_base && object.link.mv().is_some())
}

impl Import<'_> {
    /// Notes what comparing a known object found. `made`: we had it made, and it shows for the first time.
    pub(super) fn notice(
        &mut self,
        object: &CsObject,
        found: &Comparison,
        made: bool,
        snapshot: &Snapshot,
        recorder: &mut StepRecorder<'_>,
    ) -> Result<(), StoreError> {
        self.surprises.not_reimported += u64::from(!found.not_reimported.is_empty());
        if self.options.managed.is_empty() || object.link.mv().is_none() {
            return Ok(());
        }
        let ours = |attr: &AttrId| self.options.managed.contains(attr) && !self.surprises.newly_read.contains(attr);
        let mut drifted: BTreeSet<AttrId> = found.unasked.iter().copied().filter(ours).collect();
        let mut returned: BTreeSet<AttrId> = BTreeSet::new();
        for (attr, target) in &found.lost {
            if ours(attr) && !drifted.contains(attr) && !leaving(snapshot.cs_object(*target)?.as_ref()) {
                drifted.insert(*attr);
            }
        }
        for (attr, target) in &found.gained {
            if ours(attr) && !drifted.contains(attr) {
                let arrives = made || arriving(snapshot.cs_object(*target)?.as_ref());
                if arrives { &mut returned } else { &mut drifted }.insert(*attr);
            }
        }
        if made {
            // What it has beyond what we sent it had before we sent it.
            returned.append(&mut drifted);
        }
        if !drifted.is_empty() {
            let names = self.names_of(drifted);
            self.drift(object, &format!("{names} was changed by others"), &format!("{names} is otherwise"), recorder);
        } else if !returned.is_empty() {
            self.surprises.returned += 1;
            if self.surprises.returned <= NAMED {
                let (name, names) = (called(self.store.names(), object), self.names_of(returned));
                recorder.note(format!(
                    "restored by the target, which had it before (in its recycle bin, say), and brought up to date: {name}: {names}"
                ));
            }
        }
        Ok(())
    }

    fn names_of(&self, attributes: BTreeSet<AttrId>) -> String {
        attributes.into_iter().map(|attr| self.store.names().name(attr).to_string()).collect::<Vec<_>>().join(", ")
    }

    /// Notes that an object is gone, unless we had asked for it.
    pub(super) fn notice_gone(&mut self, object: &CsObject, recorder: &mut StepRecorder<'_>) {
        let stages = [Stage::Unconfirmed, Stage::InProgress, Stage::PendingExport];
        let asked = stages.into_iter().any(|stage| matches!(object.stage(stage).kind, DeltaKind::Delete | DeltaKind::DeleteAdd));
        if !self.options.managed.is_empty() && object.link.mv().is_some() && object.imported() && !asked {
            self.drift(object, "deleted by others", "it is not there", recorder);
        }
    }

    /// `doubted` is what is said where nobody knows whether that was others.
    fn drift(&mut self, object: &CsObject, what: &str, doubted: &str, recorder: &mut StepRecorder<'_>) {
        let (count, prefix, what) = if self.surprises.doubted {
            (&mut self.surprises.unremembered, "not as remembered", doubted)
        } else {
            (&mut self.surprises.drifted, "drift", what)
        };
        *count += 1;
        if *count <= NAMED {
            let name = called(self.store.names(), object);
            recorder.note(format!("{prefix}: {name}: {what}"));
        }
    }

    /// Tells the numbers at the end. True when there was any.
    pub(super) fn tell_surprises(&self, recorder: &mut StepRecorder<'_>) -> bool {
        let &Surprises { drifted, unremembered, returned, not_reimported, .. } = &self.surprises;
        let connector = self.options.name.clone();
        for (count, what) in [(drifted, "drift"), (unremembered, "not as remembered"), (returned, "restored by the target")] {
            if count > NAMED {
                recorder.note(format!("{what}: {} more objects", count - NAMED));
            }
        }
        if drifted > 0 {
            recorder.event(Event::Drift { connector: connector.clone(), objects: drifted });
        }
        if not_reimported > 0 {
            recorder.note(format!("{not_reimported} objects do not show changes that were accepted; `syncline errors` names them"));
            recorder.event(Event::NotReimported { connector, objects: not_reimported });
        }
        drifted + not_reimported > 0
    }
}
