//! What stops an export before its first call. Each says what was stopped, how many objects, some of them by name, and the
//! commands that review it and allow it.

use super::queue::{ExportSummary, each};
use super::{DeletesWait, ExportOptions, HeldDeletes, StandIns};
use crate::connector::{Connector, ExportTerms, ExportTotals, LastWriter};
use crate::context::Context;
use crate::engine::active::{self, Look};
use crate::engine::bridge::Bridge;
use crate::engine::describe::called;
use crate::engine::{EngineError, StepRecorder};
use crate::events::Event;
use crate::model::{ConnectorId, CsId, CsObject, DeltaKind, Names, Stage, counted};
use crate::store::{Snapshot, Store, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// So many objects are named.
pub(super) const NAMED: usize = 3;

/// Whose objects a message names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampled {
    /// Everything that waits.
    All,
    /// What would be removed.
    Deletes,
}

/// Some of what waits for a target, for a sentence: `Ann (ann@corp.example); Bob; …`. Empty when nothing waits.
///
/// # Errors
/// When the store cannot be read.
pub fn sample(snapshot: &Snapshot, names: &Names, connector: ConnectorId, what: Sampled) -> Result<String, StoreError> {
    sample_where(snapshot, names, connector, &|object| match what {
        Sampled::All => object.stage(Stage::PendingExport).kind != DeltaKind::None,
        Sampled::Deletes => object.stage(Stage::PendingExport).kind == DeltaKind::Delete,
    })
}

fn sample_where(
    snapshot: &Snapshot,
    names: &Names,
    connector: ConnectorId,
    meant: &dyn Fn(&CsObject) -> bool,
) -> Result<String, StoreError> {
    let (mut found, mut more) = (Vec::new(), false);
    each(snapshot, connector, &mut |object| {
        if meant(object) && found.len() < NAMED {
            found.push(called(names, object));
        } else {
            more |= meant(object);
        }
        Ok(())
    })?;
    if more {
        found.push("…".to_owned());
    }
    Ok(found.join("; "))
}

/// Stops when more deletes are pending than may be sent (specification: sync engine, section 5.5).
pub(super) fn deletes(
    store: &Store,
    summary: &ExportSummary,
    options: &ExportOptions,
    terms: &ExportTerms,
    recorder: &mut StepRecorder<'_>,
) -> Result<(), EngineError> {
    if summary.deletes == 0 {
        return Ok(());
    }
    let limit = summary.delete_limit(&store.snapshot()?, options.connector, &options.limits.now(), terms)?;
    let Some(limit) = limit else { return Ok(()) };
    if summary.deletes <= limit || options.allow_deletes == Some(summary.delete_set()) {
        return Ok(());
    }
    recorder.event(Event::DeletionThreshold { connector: options.name.clone(), pending: summary.deletes, limit });
    let other = options.allow_deletes.map_or_else(String::new, |allowed| format!("the set {allowed} is allowed, another one waits: "));
    let half = if options.limits.now().half_of(store.snapshot()?.cs_anchored(options.connector)?) == Some(limit) {
        ", which is half of what is there (`max_delete_percent` of [guard] sets another share)"
    } else {
        ""
    };
    let held = HeldDeletes::of(&store.snapshot()?, store.names(), options.connector)?;
    let counted_here = |object: &CsObject| {
        let deleted = object.stage(Stage::PendingExport).kind == DeltaKind::Delete;
        deleted && !held.objects.contains(&object.id)
    };
    let message = format!(
        "{other}{} pending for {} and {} allowed{half}; nothing was sent, neither these nor anything else. Among them: {}. \
         They go on waiting, and each export stops again. Review them with `syncline export '{}' --what-if`, then allow exactly these once \
         with `syncline export '{}' --allow-deletes {}`",
        counted(summary.deletes, "delete is", "deletes are"),
        options.name,
        counted(limit, "is", "are"),
        sample_where(&store.snapshot()?, store.names(), options.connector, &counted_here)?,
        options.name,
        options.name,
        summary.delete_set()
    );
    Err(EngineError::Guard { result: "stopped-deletion-threshold-exceeded", message })
}

/// What is said of deletes that wait while everything else is sent: nobody knows who moved to where nobody could look. Nothing when
/// all of them are held `besides`, for a reason that is told of them.
pub(super) fn deletes_wait(
    snapshot: &Snapshot,
    names: &Names,
    options: &ExportOptions,
    (all, besides): (&ExportSummary, &BTreeSet<CsId>),
    wait: &DeletesWait,
) -> Result<Option<String>, StoreError> {
    let (name, summary) = (&options.name, all.without(besides));
    if summary.deletes == 0 {
        return Ok(None);
    }
    let waits = |object: &CsObject| object.stage(Stage::PendingExport).kind == DeltaKind::Delete && !besides.contains(&object.id);
    let by_hand = if wait.by_hand { format!(", and `syncline export '{name}'` does without waiting for it") } else { String::new() };
    Ok(Some(format!(
        "{}, because {}; {}, among them {}. Look at them by `syncline export '{name}' --what-if`; the next cycle that can read everything \
         sends them{by_hand}",
        counted(summary.deletes, "delete was not sent", "deletes were not sent"),
        wait.reason,
        if summary.deletes == 1 { "it waits for the next export" } else { "they wait for the next export" },
        sample_where(snapshot, names, options.connector, &waits)?
    )))
}

/// The same of deletes that follow from the removal of connectors.
pub(super) fn removed(snapshot: &Snapshot, names: &Names, options: &ExportOptions, held: &HeldDeletes) -> Result<String, StoreError> {
    let name = &options.name;
    let other = options.allow_deletes.map_or_else(String::new, |allowed| format!("the set {allowed} is allowed, another one waits: "));
    let ends = if held.moves.is_empty() {
        String::new()
    } else {
        let places: BTreeSet<&str> = held.moves.values().map(|found| found.connector.as_str()).collect();
        let commands: Vec<String> = places.into_iter().map(|place| format!("`syncline errors '{place}'`")).collect();
        format!(". What cannot be used is shown by {}; it ends by itself when that is put right", commands.join(", "))
    };
    Ok(format!(
        "{other}{}, because {}; {}, among them {}{ends}. Look at them by `syncline export '{name}' --what-if`; `syncline export '{name}' \
         --allow-deletes {}` sends exactly these",
        counted(held.count(), "delete was not sent", "deletes were not sent"),
        held.reason(),
        if held.count() == 1 { "it goes on waiting" } else { "they go on waiting" },
        sample_of(snapshot, names, held)?,
        held.set()
    ))
}

/// What is said of references that stay since whom they point to may be an entry that cannot be used, or does not show.
pub(super) fn references_stay(stay: &BTreeMap<CsId, String>) -> String {
    let some: Vec<&str> = stay.values().take(NAMED).map(String::as_str).collect();
    format!(
        "references to {} to nobody here were not taken away: {}{}. Whether they stay is decided when what cannot be used or seen is put \
         right",
        counted(stay.len() as u64, "object that belongs", "objects that belong"),
        some.join("; "),
        if stay.len() > NAMED { "; …" } else { "" }
    )
}

/// What is said of objects that wait because they take names from others of whom nobody knows whether they gave them up.
pub(super) fn too_early(
    snapshot: &Snapshot,
    names: &Names,
    options: &ExportOptions,
    waiting: &BTreeSet<CsId>,
) -> Result<String, StoreError> {
    let name = &options.name;
    Ok(format!(
        "{}, because an earlier export did not get all its answers, and {name} may still have the names that they take: {}. The next import \
         shows it: `syncline run start '{name}' full-import`, then `syncline export '{name}'`; a cycle does both",
        counted(waiting.len() as u64, "object was not sent", "objects were not sent"),
        some(snapshot, names, waiting)?
    ))
}

/// The same of objects that are sent although everything else is stopped.
pub(super) fn urgent(snapshot: &Snapshot, names: &Names, options: &ExportOptions, sent: &StandIns) -> Result<String, StoreError> {
    Ok(format!(
        "people who went by a stand-in in {} since an export broke off are sent all the same, before anything is stopped: {}",
        options.name,
        sent.sample(snapshot, names)?
    ))
}

/// Some objects by name, for a sentence.
fn some(snapshot: &Snapshot, names: &Names, objects: &BTreeSet<CsId>) -> Result<String, StoreError> {
    let mut found = Vec::new();
    for id in objects.iter().take(NAMED) {
        found.extend(snapshot.cs_object(*id)?.map(|object| called(names, &object)));
    }
    if objects.len() > NAMED {
        found.push("…".to_owned());
    }
    Ok(found.join("; "))
}

/// Some of the deletes that wait because of removals, for a sentence.
///
/// # Errors
/// When the store cannot be read.
pub fn sample_of(snapshot: &Snapshot, names: &Names, held: &HeldDeletes) -> Result<String, StoreError> {
    some(snapshot, names, &held.objects)
}

/// Stops the export of an installation that only watches, also in the middle when it was told so meanwhile.
pub(super) fn staging(store: &Store, options: &ExportOptions, recorder: &mut StepRecorder<'_>) -> Result<(), EngineError> {
    if !options.limits.now().staging || options.force {
        return Ok(());
    }
    recorder.event(Event::ExportLeftOut { connector: options.name.clone() });
    let snapshot = store.snapshot()?;
    let name = &options.name;
    let waiting = counted(ExportSummary::of(&snapshot, options.connector)?.all(), "object waits", "objects wait");
    let sample = sample(&snapshot, store.names(), options.connector, Sampled::All)?;
    let among = if sample.is_empty() { String::new() } else { format!(", among them {sample}") };
    let message = format!(
        "this installation is in staging mode: nothing is exported to {name}. {waiting}{among}. Look at them with `syncline \
         export '{name}' --what-if`; `syncline promote` makes this installation the active one"
    );
    Err(EngineError::Guard { result: "no-start-staging-mode", message })
}

/// What is needed to look who else writes to a target.
pub(super) struct Sight<'a> {
    pub(super) store: &'a Store,
    pub(super) connector: &'a Arc<dyn Connector>,
    pub(super) bridge: &'a Bridge,
    pub(super) options: &'a ExportOptions,
    pub(super) cx: &'a Context,
}

impl Sight<'_> {
    /// Stops when another installation writes to the target, and stays stopped until a person decides; but whom this one took
    /// over from gets the time to find out. `under_way`: something was sent already.
    pub(super) fn another_installation(
        &self,
        last: Option<&LastWriter>,
        under_way: bool,
        recorder: &mut StepRecorder<'_>,
    ) -> Result<(), EngineError> {
        let options = self.options;
        let Some(ours) = &options.installation else { return Ok(()) };
        let (rival, what_next) = match active::look(self.store, options.connector, ours, last, self.cx.now())? {
            Look::Alone => return Ok(()),
            Look::Lingers { rival, unseen } => {
                if unseen {
                    // It overwrote our name; with the next look it finds it.
                    self.bridge.wait(self.connector.finish_export(self.cx, ExportTotals::default()))?;
                }
                let what_next = "This installation took over from it, and it stops by itself as soon as it finds that out; the next cycle \
                                 looks again. If it goes on, look at both with `syncline mode show`";
                (rival, what_next)
            }
            Look::Displaced { rival, .. } => {
                recorder.event(Event::AnotherInstallation { connector: options.name.clone(), other: rival.to_string() });
                let what_next = "Look at both with `syncline mode show`; if this one shall be the active one, `syncline promote \
                                 --takeover` makes it that, and the other one stops by itself; if not, `syncline mode staging`";
                (rival, what_next)
            }
        };
        let snapshot = self.store.snapshot()?;
        let waiting = ExportSummary::of(&snapshot, options.connector)?;
        let message = format!(
            "another installation writes to {}: {rival}. Two of them would undo each other's work, so nothing {}was sent: {}, \
             among them {}. {what_next}",
            options.name,
            if under_way { "more " } else { "" },
            counted(waiting.all(), "object waits", "objects wait"),
            sample(&snapshot, self.store.names(), options.connector, Sampled::All)?,
        );
        Err(EngineError::Guard { result: "stopped-another-installation", message })
    }
}
