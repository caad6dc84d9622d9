//! Values that a target accepted and keeps aside, because another object has them: the import shows them as they were sent, and
//! the person goes by another name. So the target is asked for them, behind an export that sent names and as long as there are some.

use super::EngineError;
use super::StepRecorder;
use super::export::NAMES_SENT;
use super::run::Engine;
use crate::connector::{Connector, ConnectorErrorKind, KeptAside};
use crate::model::{ConnectorId, CsId, ErrorSide, ObjectError, ObjectErrorCode, counted};
use crate::store::ChangeSet;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

const CODE: ObjectErrorCode = ObjectErrorCode::QUARANTINED_ATTRIBUTE_VALUE_MUST_BE_UNIQUE;

impl Engine<'_> {
    /// Notes with the objects what the target keeps aside of them. True when somebody goes by another name who did not before.
    pub(super) fn look_at_names(
        &self,
        id: ConnectorId,
        connector: &Arc<dyn Connector>,
        recorder: &mut StepRecorder<'_>,
    ) -> Result<bool, EngineError> {
        if connector.unique_attributes().is_empty() {
            return Ok(false);
        }
        let snapshot = self.store.snapshot()?;
        let sent = snapshot.state(id, NAMES_SENT)?.is_some();
        let exports = snapshot.errors(id, None, usize::MAX)?.into_iter().filter(|(_, side, _)| *side == ErrorSide::Export);
        let known: HashMap<CsId, ObjectError> = exports.map(|(id, _, error)| (id, error)).collect();
        let before: Vec<CsId> = known.iter().filter(|(_, error)| error.code == CODE).map(|(id, _)| *id).collect();
        if !sent && before.is_empty() {
            return Ok(false);
        }
        let mut changes = ChangeSet::new();
        let found = match self.bridge.wait(connector.kept_aside(&self.cx)) {
            Ok(found) => found.unwrap_or_default(),
            Err(error) => {
                recorder.note(format!("whether the target keeps names of people aside could not be looked up: {error}"));
                // Whoever may not look today may not tomorrow; what passes is asked again.
                if sent && !passes(error.kind) {
                    changes.states.push((id, NAMES_SENT.to_owned(), None));
                    self.store.apply(changes)?;
                }
                return Ok(false);
            }
        };
        let mut conflicts: BTreeMap<CsId, Vec<KeptAside>> = BTreeMap::new();
        for value in found {
            if let Some(object) = snapshot.cs_by_anchor(id, value.anchor.as_bytes())? {
                conflicts.entry(object).or_default().push(value);
            }
        }
        let mut new = 0;
        for (object, values) in &conflicts {
            let earlier = known.get(object);
            let detail = told(values);
            // A refusal weighs more, and what is known already is not told again.
            if earlier.is_some_and(|error| error.code != CODE || error.detail == detail) {
                continue;
            }
            new += u64::from(earlier.is_none());
            let error = ObjectError::new(CODE, detail, self.cx.now()).after(earlier);
            changes.errors.push((*object, ErrorSide::Export, Some(error)));
        }
        changes.errors.extend(before.into_iter().filter(|object| !conflicts.contains_key(object)).map(|id| (id, ErrorSide::Export, None)));
        if sent {
            changes.states.push((id, NAMES_SENT.to_owned(), None));
        }
        drop(snapshot);
        if !changes.is_empty() {
            self.store.apply(changes)?;
        }
        if new > 0 {
            let name = self.participants.get(&id).map_or("", |participant| participant.name.as_str());
            recorder.note(format!(
                "{} in {name} by another name than sent, because somebody else has theirs; `syncline errors '{name}'` names them",
                counted(new, "object goes", "objects go")
            ));
        }
        Ok(new > 0)
    }
}

/// True for problems that are gone another time.
fn passes(kind: ConnectorErrorKind) -> bool {
    use ConnectorErrorKind::{Busy, Cancelled, Connection, Dropped};
    matches!(kind, Busy | Cancelled | Connection | Dropped)
}

fn told(values: &[KeptAside]) -> String {
    let mut parts: Vec<String> = values.iter().map(|value| format!("{} '{}'", value.attribute, value.value)).collect();
    parts.sort_unstable();
    format!(
        "the target has {} with another object, perhaps one of its recycle bin, and keeps it aside: this one goes by another name or \
         address there. Give one of the two another value, or remove the other one for good; the target then gives it within an hour",
        parts.join(", ")
    )
}
