//! What an import of a target finds that nobody expected: values and objects that others changed behind our back, and
//! changes that the target had accepted and does not show.

use super::Import;
use super::image::Comparison;
use crate::engine::StepRecorder;
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
    drifted: u64,
    not_reimported: u64,
}

/// True when an object is on its way out: nobody wonders that references to it go.
fn leaving(object: Option<&CsObject>) -> bool {
    object.is_none_or(|object| Stage::ALL.into_iter().any(|stage| object.stage(stage).kind == DeltaKind::Delete))
}

impl Import<'_> {
    /// Notes what comparing a known object found.
    pub(super) fn notice(
        &mut self,
        object: &CsObject,
        found: &Comparison,
        snapshot: &Snapshot,
        recorder: &mut StepRecorder<'_>,
    ) -> Result<(), StoreError> {
        self.surprises.not_reimported += u64::from(!found.not_reimported.is_empty());
        if self.options.managed.is_empty() || object.link.mv().is_none() {
            return Ok(());
        }
        let mut drifted: BTreeSet<AttrId> = found.unasked.intersection(&self.options.managed).copied().collect();
        for (attr, target) in &found.lost {
            if self.options.managed.contains(attr) && !drifted.contains(attr) && !leaving(snapshot.cs_object(*target)?.as_ref()) {
                drifted.insert(*attr);
            }
        }
        if !drifted.is_empty() {
            let names: Vec<_> = drifted.into_iter().map(|attr| self.store.names().name(attr).to_string()).collect();
            self.drift(object, &format!("{} was changed by others", names.join(", ")), recorder);
        }
        Ok(())
    }

    /// Notes that an object is gone, unless we had asked for it.
    pub(super) fn notice_gone(&mut self, object: &CsObject, recorder: &mut StepRecorder<'_>) {
        let stages = [Stage::Unconfirmed, Stage::InProgress, Stage::PendingExport];
        let asked = stages.into_iter().any(|stage| matches!(object.stage(stage).kind, DeltaKind::Delete | DeltaKind::DeleteAdd));
        if !self.options.managed.is_empty() && object.link.mv().is_some() && object.imported() && !asked {
            self.drift(object, "deleted by others", recorder);
        }
    }

    fn drift(&mut self, object: &CsObject, what: &str, recorder: &mut StepRecorder<'_>) {
        self.surprises.drifted += 1;
        if self.surprises.drifted <= NAMED {
            let name = called(self.store.names(), object);
            recorder.note(format!("drift: {name}: {what}"));
        }
    }

    /// Tells the numbers at the end. True when there was any.
    pub(super) fn tell_surprises(&self, recorder: &mut StepRecorder<'_>) -> bool {
        let Surprises { drifted, not_reimported } = self.surprises;
        let connector = self.options.name.clone();
        if drifted > NAMED {
            recorder.note(format!("drift: {} more objects", drifted - NAMED));
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
