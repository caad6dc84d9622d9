//! Import: stages what a directory says, confirms what was exported, and never deletes on a doubt.
//!
//! A page at a time: hashes of all entries are computed in parallel straight from the page; what says the same as
//! last time only sets a bit. The rest is compared with the stored object and written as pending import, one
//! transaction per page. (Specification: sync engine, section 2.)

mod compare;
mod disbelief;
mod finish;
mod gone;
mod identity;
mod image;
#[cfg(test)]
mod key_tests;
mod lacking;
#[cfg(test)]
mod lacking_tests;
mod lookup;
#[cfg(test)]
mod name_tests;
mod page;
mod references;
mod refused;
#[cfg(test)]
mod refused_tests;
mod required;
mod retire;
mod segment;
mod surprise;
#[cfg(test)]
mod tests;
mod unknown;
mod vanished;

use super::belief::Belief;
use super::full_steps::{READ_ATTRIBUTES, READ_WITH, attributes_read, newly_read, reads_something_else};
use super::{EngineError, StepRecorder, TRACED, hash};
use crate::connector::{Completion, ConnectorError, ConnectorErrorKind, ImportPage};
use crate::context::Context;
use crate::model::{Anchor, AttrId, ConnectorId, CsId, ObjectError, ObjectType, RunId};
use crate::store::{ChangeSet, Store, StoreError};
pub use disbelief::{DISBELIEVED, Verdict, verdict};
pub(super) use disbelief::{disbelieve, finish_taking_back};
pub(super) use image::refresh_kind;
use lacking::Lacking;
use lookup::Lookup;
use refused::Refused;
pub(in crate::engine) use refused::refused_entries;
pub use refused::{KeptEntry, kept_entries};
pub use required::AlwaysThere;
use required::{Expected, Required};
pub use retire::{retire, take_back};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use surprise::Surprises;
use unknown::Unknown;
use vanished::Losses;

/// The name under which a connector's watermark is kept.
pub const WATERMARK: &str = "watermark";
/// Under this name a connector keeps a watermark from which no import goes on any more, until one leaves another: what was read
/// up to there must still be there when everything is read anew.
pub const LEFT_PLACE: &str = "watermark-left";
/// The name under which a connector keeps that a delta import could not use all that it was told, so that only a full
/// import can.
pub const FULL_NEEDED: &str = "full-import-needed";
/// The largest share of the known objects that a full import may miss and still be believed, in percent, where nobody
/// said another.
pub const SHRINK_PERCENT_MAX: u32 = 50;
/// The name under which the epoch of a connector's hashes is kept.
pub(super) const EPOCH: &str = "import-epoch";

/// What to import and how careful to be.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// The connector whose space is filled.
    pub connector: ConnectorId,
    /// Its name.
    pub name: String,
    /// Everything is reported; what is not reported is gone.
    pub full: bool,
    /// The attributes read; part of the epoch of hashes.
    pub attributes: Vec<AttrId>,
    /// Stands for all that is read. A full import of something else than the last complete one read counts as a whole or not at
    /// all. `None` neither looks nor keeps it.
    pub reads: Option<u64>,
    /// Attributes that our rules write: changed by others, they are drift.
    pub managed: BTreeSet<AttrId>,
    /// Attributes that our rules write and do not look at: that an export of ours arrived in them is no news, and needs no
    /// synchronization.
    pub written_only: BTreeSet<AttrId>,
    /// References keep names that nobody has any more ([`Connector::references_stay`](crate::connector::Connector)).
    pub references_stay: bool,
    /// A delta tells every rename as one ([`Connector::renames_are_told`](crate::connector::Connector)).
    pub renames_are_told: bool,
    /// References tell whom they mean by the anchor
    /// ([`Connector::references_have_anchors`](crate::connector::Connector)).
    pub references_have_anchors: bool,
    /// What every object of a class has, also one that nobody knows yet.
    pub always_there: AlwaysThere,
    /// Compare every body, whatever the hashes say.
    pub verify: bool,
    /// A full import that misses more than this share of the known objects is not believed, in percent; one that
    /// misses all of them never is.
    pub shrink_percent_max: u32,
    /// Believe it this once.
    pub allow_shrink: bool,
    /// Take entries as they are that lack what each of their kind has, or are of another kind than before, this once.
    pub allow_incomplete: bool,
    /// The connector takes exports, and rules write to it: what is linked may confirm one.
    pub takes_exports: bool,
    /// More problems of objects than this end the step.
    pub errors_max: u64,
    /// The run and the step, for the history.
    pub step: (RunId, u32),
}

impl ImportOptions {
    /// A full import with the default guard.
    pub fn full(connector: ConnectorId, name: impl Into<String>, attributes: Vec<AttrId>, step: (RunId, u32)) -> Self {
        Self {
            connector,
            name: name.into(),
            full: true,
            attributes,
            reads: None,
            managed: BTreeSet::new(),
            written_only: BTreeSet::new(),
            references_stay: false,
            renames_are_told: false,
            references_have_anchors: false,
            always_there: AlwaysThere::default(),
            takes_exports: false,
            verify: false,
            shrink_percent_max: SHRINK_PERCENT_MAX,
            allow_shrink: false,
            allow_incomplete: false,
            errors_max: 5_000,
            step,
        }
    }
}

/// Imports from a stream of pages. Gives the step's result string.
///
/// A stream that fails or ends without completion leaves what was staged so far (it is true), deletes nothing and
/// saves no watermark. Under another selection it is true of that one alone, and a verdict keeps it from going anywhere.
pub fn import(
    store: &Store,
    pages: impl Iterator<Item = Result<ImportPage, ConnectorError>>,
    options: &ImportOptions,
    cx: &Context,
    recorder: &mut StepRecorder<'_>,
) -> Result<&'static str, EngineError> {
    import_asking(store, pages, &mut |_| Ok(None), options, cx, recorder)
}

/// Asks the directory once more for objects by their anchors: pages with those that it has and that are in scope, or
/// `None` when it cannot be asked.
pub type AskAgain<'a> = dyn FnMut(&[Anchor]) -> Result<Option<Vec<ImportPage>>, ConnectorError> + 'a;

/// Looks, when everything was read and before any of it counts for complete, whether it was read by the right names.
pub type LastLook<'a> = dyn FnMut(&mut StepRecorder<'_>) -> Result<(), EngineError> + 'a;

/// As [`import`]; before an object that a full import did not report is taken for gone, `ask_again` is asked for it, and
/// so it is for an object of which a delta import tells only changes, and that is not known.
///
/// # Errors
/// As [`import`]; also when asking fails. Nothing is deleted then.
pub fn import_asking(
    store: &Store,
    pages: impl Iterator<Item = Result<ImportPage, ConnectorError>>,
    ask_again: &mut AskAgain<'_>,
    options: &ImportOptions,
    cx: &Context,
    recorder: &mut StepRecorder<'_>,
) -> Result<&'static str, EngineError> {
    import_looking(store, pages, ask_again, &mut |_| Ok(()), options, cx, recorder)
}

/// As [`import_asking`], with a last look.
///
/// # Errors
/// As [`import_asking`], and those of the last look.
pub fn import_looking(
    store: &Store,
    pages: impl Iterator<Item = Result<ImportPage, ConnectorError>>,
    ask_again: &mut AskAgain<'_>,
    last_look: &mut LastLook<'_>,
    options: &ImportOptions,
    cx: &Context,
    recorder: &mut StepRecorder<'_>,
) -> Result<&'static str, EngineError> {
    let mut import = Import::begin(store, options, cx)?;
    let expected = if options.full { store.snapshot()?.cs_anchored(options.connector)? } else { 0 };
    recorder.expect((expected > 0).then_some(expected));
    let mut completion = None;
    for page in pages {
        let page = page?;
        if cx.cancelled() {
            return Err(EngineError::Cancelled);
        }
        import.note_verdict()?;
        import.warned |= !page.warnings.is_empty();
        import.untold |= page.untold;
        page.warnings.iter().for_each(|warning| recorder.note(warning.clone()));
        let span = tracing::info_span!(target: TRACED, "batch", objects = page.len()).entered();
        import.odd_classes(&page, recorder)?;
        import.page(&page, ask_again, recorder)?;
        drop(span);
        recorder.advance(page.len() as u64);
        page.notes.iter().for_each(|note| recorder.note(note.clone()));
        if import.problems > options.errors_max {
            let (name, limit) = (&options.name, options.errors_max);
            let message = format!(
                "{} entries of '{name}' could not be used so far, among them {}, and more than {limit} end an import: whoever was not reported is not taken for gone. Look at \
                 them by `syncline errors`; correct them and read again by `syncline run start '{name}' full-import`, or let more of them pass \
                 by `syncline config set limits.object_errors NUMBER`",
                import.problems,
                import.problem_names.join("; ")
            );
            return Err(EngineError::Guard { result: "stopped-error-limit", message });
        }
        if page.completion.is_some() {
            completion = page.completion;
            break;
        }
    }
    let Some(completion) = completion else {
        return Err(cut_off().into());
    };
    import.finish(&completion, ask_again, last_look, recorder)
}

/// A stream that ended without saying that it was complete.
pub(super) fn cut_off() -> ConnectorError {
    ConnectorError::new(ConnectorErrorKind::Dropped, "the directory's answer ended before it was complete; nothing was deleted")
}

/// A running import.
struct Import<'a> {
    store: &'a Store,
    options: &'a ImportOptions,
    cx: &'a Context,
    /// What no object of some classes is without, of what is read.
    required: Vec<(AttrId, &'static Required)>,
    /// What new objects have, as far as it was asked.
    expected: Expected,
    lookup: Lookup,
    epoch: u64,
    secret: u64,
    problems: u64,
    /// Some of what could not be used, by name.
    problem_names: Vec<String>,
    /// Entries of which no object came.
    refused: Refused,
    /// How many of them may be of a wanted class whose name is misspelt.
    slips: usize,
    /// Of those, whoever no earlier import met.
    new_slips: usize,
    /// Entries that could be neither read nor identified: nothing may be taken for gone.
    unidentified: u64,
    /// Entries that lack what none is without.
    lacking: Lacking,
    /// Objects of the space that were reported.
    kept: u64,
    /// The same by type, where entries said it.
    kept_of: BTreeMap<ObjectType, u64>,
    /// Objects that count as reported only because an entry that could not be read has their name.
    held: HashSet<CsId>,
    /// Objects whose name another one took and that were not reported under a new one since.
    displaced: BTreeSet<CsId>,
    /// What was known of objects that had lost their name to a second entry, and got it back in this import so far.
    renamed_back: HashMap<CsId, ObjectError>,
    /// Objects that refer to one which was renamed or went, and that a delta import has not met since.
    outdated: BTreeSet<CsId>,
    /// Who refers to whom by what a delta import told with a name alone.
    told_by_name: HashSet<(CsId, CsId)>,
    /// Names that objects lost behind entries that told them.
    freed: Vec<references::Freed>,
    /// Objects that two entries told of.
    told_twice: HashSet<CsId>,
    /// Those of which the second entry counts, until it is staged.
    second_counts: HashSet<CsId>,
    /// Objects that were reported and could not be read: their references are those of before.
    unread: HashSet<CsId>,
    /// Objects of which a delta import was told changes, and that nobody knows.
    unknown: Unknown,
    /// What is said of all that is staged until the import has come to its end.
    verdict: Option<Verdict>,
    /// The same as long as the store does not say it.
    unwritten: Option<Verdict>,
    /// The connector had something to say to people.
    warned: bool,
    /// Something changed that the connector could not read.
    untold: bool,
    surprises: Surprises,
    losses: Losses,
}

impl<'a> Import<'a> {
    fn begin(store: &'a Store, options: &'a ImportOptions, cx: &'a Context) -> Result<Self, EngineError> {
        let snapshot = store.snapshot()?;
        let secret = store.hash_seed();
        let epoch = hash::epoch(&options.attributes, secret);
        let known = snapshot.state(options.connector, EPOCH)?;
        // A delta goes on only from what is believed, and reads what the last complete import read.
        let noted = if options.full { verdict(&snapshot, options.connector)? } else { None };
        let other = match options.reads.filter(|_| options.full && noted.is_none()) {
            Some(reads) => reads_something_else(&snapshot, options.connector, reads)?,
            None => false,
        };
        let unwritten = other.then_some(Verdict::OtherSelection);
        let trust = !options.verify && known.as_deref() == Some(&epoch.to_le_bytes()[..]);
        let lookup = if options.full {
            Lookup::load(&snapshot, options.connector, trust)?
        } else {
            Lookup::of_changes(&snapshot, options.connector)?
        };
        Ok(Self {
            store,
            options,
            cx,
            required: required::of(store.names(), &options.attributes, &options.managed),
            expected: Expected::new(),
            lookup,
            epoch,
            secret,
            problems: 0,
            problem_names: Vec::new(),
            refused: Refused::begin(&snapshot, options.connector)?,
            slips: 0,
            new_slips: 0,
            unidentified: 0,
            lacking: Lacking::begin(&snapshot, options.connector)?,
            kept: 0,
            kept_of: BTreeMap::new(),
            held: HashSet::new(),
            displaced: BTreeSet::new(),
            renamed_back: HashMap::new(),
            outdated: BTreeSet::new(),
            told_by_name: HashSet::new(),
            freed: Vec::new(),
            told_twice: HashSet::new(),
            second_counts: HashSet::new(),
            unread: HashSet::new(),
            unknown: Unknown::default(),
            verdict: noted.or(unwritten),
            unwritten,
            warned: false,
            untold: false,
            surprises: Surprises::of(
                Belief::of(&snapshot, options.connector)?.doubt,
                newly_read(&snapshot, options.connector, options.reads, &options.attributes)?,
            ),
            losses: Losses::default(),
        })
    }

    /// Writes a part of what is staged. Whoever is stopped in the middle begins at the old place again.
    fn commit_part(&self, changes: ChangeSet, recorder: &mut StepRecorder<'_>) -> Result<(), EngineError> {
        let changes = self.with_objects(changes, recorder);
        if !changes.is_empty() {
            self.store.apply_part(changes)?;
        }
        Ok(())
    }

    /// Writes the rest, and all before it is durable.
    fn commit(&self, changes: ChangeSet, recorder: &mut StepRecorder<'_>) -> Result<(), EngineError> {
        Ok(self.store.apply(self.with_objects(changes, recorder))?)
    }

    fn with_objects(&self, mut changes: ChangeSet, recorder: &mut StepRecorder<'_>) -> ChangeSet {
        let (run, step) = self.options.step;
        changes.step_objects.extend(recorder.take_objects().into_iter().map(|object| (run, step, object)));
        changes
    }

    /// States to be written with the last commit of a complete import. `incomplete` says that something was told which
    /// only a full import can use.
    fn final_states(&self, completion: &Completion, incomplete: bool, changes: &mut ChangeSet) -> Result<(), StoreError> {
        let connector = self.options.connector;
        if self.options.full {
            changes.states.push((connector, EPOCH.to_owned(), Some(self.epoch.to_le_bytes().to_vec())));
        }
        if incomplete {
            changes.states.push((connector, FULL_NEEDED.to_owned(), Some(vec![1])));
        } else if self.options.full || completion.answered_in_full {
            changes.states.push((connector, FULL_NEEDED.to_owned(), None));
        }
        let whole = self.options.full || completion.answered_in_full;
        // Who could not be identified may be anybody: no guard has judged who is missing, and nothing is known better than before.
        if whole && (self.unidentified == 0 || self.options.allow_shrink || self.judges_gaps()) {
            changes.states.push((connector, DISBELIEVED.to_owned(), None));
        }
        let snapshot = self.store.snapshot()?;
        if self.options.full && self.unidentified == 0 {
            Belief::restored_by_reading(&snapshot, connector, changes)?;
        }
        // One commit with the place to go on from: a delta must not go on behind what another selection read.
        if self.options.full
            && (self.unidentified == 0 || Belief::of(&snapshot, connector)?.doubt.is_none())
            && let Some(reads) = self.options.reads
        {
            changes.states.push((connector, READ_WITH.to_owned(), Some(reads.to_le_bytes().to_vec())));
            changes.states.push((connector, READ_ATTRIBUTES.to_owned(), Some(attributes_read(&self.options.attributes))));
        }
        // A place that an earlier import left is of no use behind a full one, which saw all and left none.
        if self.unidentified == 0 && (whole || completion.watermark.is_some()) {
            changes.states.push((connector, WATERMARK.to_owned(), completion.watermark.clone()));
            changes.states.push((connector, LEFT_PLACE.to_owned(), None));
        }
        Ok(())
    }

    /// True when it must be judged who is missing, also where nobody can be taken for gone: an unreadable entry must not keep
    /// what changed from being believed for ever, and a wrong base must not hide behind it. What a guard stopped stays so.
    fn judges_gaps(&self) -> bool {
        self.verdict.is_some_and(|verdict| verdict != Verdict::Stopped)
    }
}
