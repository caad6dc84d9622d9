//! What must be so before anything is synchronized or exported, and what is said when it is not.

use super::EngineError;
use super::belief::{Belief, Doubt};
use super::export::{DeletesWait, ExportSummary, Sampled, sample};
use super::full_steps::READ_WITH;
use super::import::{self, Verdict};
use super::run::{Engine, Participant, Standing};
use crate::model::{ConnectorId, ErrorSide, Stage, counted};
use crate::store::{Snapshot, StoreError};

/// Objects looked at in one go.
const PAGE: usize = 1_000;

impl Engine<'_> {
    /// Why what is staged of a connector waits for an import that is believed, if it does.
    pub(super) fn verdict(&self, id: ConnectorId) -> Result<Option<Verdict>, StoreError> {
        let configured = self.participants.get(&id).is_some_and(|participant| participant.standing == Standing::Configured);
        Ok(if configured { import::verdict(&self.store.snapshot()?, id)? } else { None })
    }

    /// What is not believed goes nowhere, also when the imports behind it fail.
    pub(super) fn refuse_the_disbelieved(&self, id: ConnectorId) -> Result<(), EngineError> {
        let Some(verdict) = self.verdict(id)? else { return Ok(()) };
        let name = self.participants.get(&id).map_or("", |participant| participant.name.as_str());
        let message = format!(
            "nothing of '{name}' is synchronized: {verdict}, and none that reads everything was believed since. What \
             stopped it: `syncline run list`; when that is put right, read it by `syncline run start '{name}' full-import`"
        );
        Err(EngineError::Guard { result: "no-start-import-not-believed", message })
    }

    /// A connector whose file is missing says nothing about its people: without its rules they would look as if nobody
    /// wanted them any more.
    pub(super) fn refuse_the_abandoned(&self) -> Result<(), EngineError> {
        let abandoned = self.participants.iter().find(|(_, participant)| participant.standing == Standing::Abandoned);
        let Some((id, participant)) = abandoned else { return Ok(()) };
        let snapshot = self.store.snapshot()?;
        let (name, count) = (&participant.name, snapshot.cs_count(*id)?);
        let message = format!(
            "the store holds {count} objects of the connector '{name}', which is not configured any more, among them {}; nothing is \
             synchronized. `syncline connector list` shows it. Put its file back into connectors/; \
             or, if it has another name now, `syncline connector rename '{name}' NEW`; or let its objects go by `syncline connector remove '{name}'`",
            some_of(&snapshot, *id)?
        );
        Err(EngineError::Guard { result: "no-start-configuration", message })
    }

    /// What a space holds of a connector that was removed is staged as gone, though its directory never said so: when it is
    /// configured again, that goes nowhere before the directory was read.
    pub(super) fn refuse_the_returned(&self, id: ConnectorId) -> Result<(), EngineError> {
        let Some(participant) = self.participants.get(&id).filter(|participant| participant.standing == Standing::Configured) else {
            return Ok(());
        };
        let snapshot = self.store.snapshot()?;
        let belief = Belief::of(&snapshot, id)?;
        if !matches!(belief.doubt, Some(Doubt::Removed | Doubt::Unreadable)) {
            return Ok(());
        }
        let (name, count, reason) = (&participant.name, snapshot.cs_count(id)?, belief.reason().unwrap_or_default());
        let some = some_of(&snapshot, id)?;
        let among = if some.is_empty() { String::new() } else { format!(", among them {some}") };
        let message = format!(
            "nothing of '{name}' is synchronized before it was read as a whole, because {reason}: the store holds {}{among}, and what of \
             it is staged as gone its directory did not say. Its last import says why it was not read: `syncline run list`; read it by \
             `syncline run start '{name}' full-import`",
            counted(count, "object", "objects"),
        );
        Err(EngineError::Guard { result: "no-start-source-not-read", message })
    }

    /// Before every directory from which others get something was read, and the target itself where it is doubted, nobody knows
    /// who of those that wait is there already.
    pub(super) fn refuse_the_unread(&self, id: ConnectorId, name: &str) -> Result<(), EngineError> {
        let snapshot = self.store.snapshot()?;
        for (source_id, participant) in self.sources().filter(|(source_id, _)| *source_id != id) {
            let doubt = Belief::of(&snapshot, source_id)?.reason();
            // A person of two directories must not be sent with what only one of them says.
            if participant.standing == Standing::Configured && (doubt.is_some() || snapshot.state(source_id, READ_WITH)?.is_none()) {
                let (waiting, source) = (ExportSummary::of(&snapshot, id)?.all(), &participant.name);
                let some = sample(&snapshot, self.store.names(), id, Sampled::All)?;
                let among = if some.is_empty() { String::new() } else { format!(", among them {some}") };
                let unread = doubt.map_or_else(|| "was never read completely".to_owned(), |doubt| format!("was not read since: {doubt}"));
                let message = format!(
                    "{source} {unread}, so nothing is exported to {name}: {}{among}. Who of them is in \
                     {source}, too, nobody knows yet. Its last import says why: `syncline run list`; read it by `syncline run start '{source}' \
                     full-import`",
                    counted(waiting, "object waits", "objects wait"),
                );
                return Err(EngineError::Guard { result: "no-start-source-never-read", message });
            }
        }
        if let Some(reason) = Belief::of(&snapshot, id)?.reason() {
            let message = format!(
                "nothing is exported to {name} before it was read as a whole, because {reason}: {}, and what of it the target has already \
                 nobody knows yet. Look at them by `syncline export '{name}' --what-if`; read it by `syncline run start '{name}' full-import`",
                counted(ExportSummary::of(&snapshot, id)?.all(), "object waits", "objects wait"),
            );
            return Err(EngineError::Guard { result: "no-start-target-not-read", message });
        }
        Ok(())
    }

    /// Why nobody is deleted before more was synchronized: who is missing may be among those whose news wait. Whom a problem keeps from
    /// being synchronized is looked at one by one ([`super::export::HeldDeletes`]).
    pub(super) fn unsynchronized(&self, id: ConnectorId) -> Result<Option<DeletesWait>, StoreError> {
        let snapshot = self.store.snapshot()?;
        let configured = self.sources().filter(|(source, known)| *source != id && known.standing == Standing::Configured);
        for (source, participant) in configured {
            let mut after = None;
            loop {
                let waiting = snapshot.queue(Stage::PendingImport, source, after, PAGE)?;
                let Some(last) = waiting.last() else { break };
                after = Some(*last);
                for id in waiting {
                    if snapshot.error(id, ErrorSide::Sync)?.is_none() {
                        let reason = format!("news of {} wait for their synchronization", participant.name);
                        return Ok(Some(DeletesWait { reason, by_hand: false }));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Why nobody is deleted by who looks at one object: no other directory was asked whether they are there now.
    pub(super) fn asked_one(&self) -> Option<DeletesWait> {
        let directory = |(_, known): &(ConnectorId, &Participant)| !known.target && known.standing == Standing::Configured;
        let several = self.sources().filter(directory).count() > 1;
        several.then(|| DeletesWait { reason: "no other directory was asked whether they are there now".to_owned(), by_hand: false })
    }

    /// Connectors from which others get something, be it that rules write to them, too.
    fn sources(&self) -> impl Iterator<Item = (ConnectorId, &Participant)> {
        let gives = move |(id, participant): &(&ConnectorId, &Participant)| !participant.target || self.rules.is_source(**id);
        self.participants.iter().filter(gives).map(|(id, participant)| (*id, participant))
    }
}

/// Some objects of a connector by name, for a sentence.
pub(super) fn some_of(snapshot: &Snapshot, connector: ConnectorId) -> Result<String, StoreError> {
    const NAMED: usize = 3;
    let found = snapshot.cs_scan(connector, None, NAMED + 1)?;
    let more = found.len() > NAMED;
    let names: Vec<String> = found.into_iter().take(NAMED).map(|object| object.dn.to_string()).collect();
    Ok(names.join("; ") + if more { "; …" } else { "" })
}
