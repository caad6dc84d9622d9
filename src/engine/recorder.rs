//! What a step tells while it runs: counters, the objects behind them, progress.

use crate::events::Event;
use crate::model::CsId;
use crate::store::{AttributeDelta, CounterName, StepObject};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Hears how far a step is; a bar on a terminal, lines elsewhere, nothing in tests.
pub trait Progress: Send {
    /// A step begins: what it does and on which connector.
    fn step_started(&mut self, _step: &str, _connector: &str) {}
    /// So many objects are done; of so many, when that is known.
    fn advanced(&mut self, _done: u64, _of: Option<u64>) {}
    /// The step ended with a result.
    fn step_finished(&mut self, _result: &str) {}
}

/// Hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {}

/// Collects what one step counts. Objects are taken out with every commit, so that memory does not grow.
pub struct StepRecorder<'a> {
    counters: BTreeMap<CounterName, u64>,
    objects: Vec<StepObject>,
    /// Sentences for people about problems that belong to no object of ours.
    pub notes: Vec<String>,
    /// What is to be told when the step is over.
    events: Vec<Event>,
    progress: &'a mut dyn Progress,
    done: u64,
    expected: Option<u64>,
    handed_over: u64,
}

/// How many notes a step keeps.
const NOTES_MAX: usize = 100;

impl<'a> StepRecorder<'a> {
    /// A recorder that tells `progress`.
    pub fn new(progress: &'a mut dyn Progress) -> Self {
        Self {
            counters: BTreeMap::new(),
            objects: Vec::new(),
            notes: Vec::new(),
            events: Vec::new(),
            progress,
            done: 0,
            expected: None,
            handed_over: 0,
        }
    }

    /// Counts.
    pub fn count(&mut self, counter: &'static str, number: u64) {
        if number > 0 {
            *self.counters.entry(CounterName(Cow::Borrowed(counter))).or_default() += number;
        }
    }

    /// Counts under a name made at run time.
    pub fn count_named(&mut self, counter: &CounterName, number: u64) {
        if number > 0 {
            *self.counters.entry(counter.clone()).or_default() += number;
        }
    }

    /// Counts one object and remembers it with what changed.
    pub fn object(&mut self, counter: &'static str, id: CsId, dn: &str, changes: Vec<AttributeDelta>) {
        self.count(counter, 1);
        self.objects.push(StepObject { counter: CounterName(Cow::Borrowed(counter)), id, dn: dn.to_owned(), changes });
    }

    /// Remembers objects that were counted elsewhere.
    pub fn objects(&mut self, objects: Vec<StepObject>) {
        self.objects.extend(objects);
    }

    /// Notes a sentence; after a hundred only their number would grow.
    pub fn note(&mut self, sentence: String) {
        if self.notes.len() < NOTES_MAX {
            self.notes.push(sentence);
        }
    }

    /// Remembers an event until the step is over.
    pub fn event(&mut self, event: Event) {
        self.events.push(event);
    }

    /// The events remembered since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// How many objects are done.
    pub fn done(&self) -> u64 {
        self.done
    }

    /// The number of a counter so far.
    pub fn counter(&self, name: &str) -> u64 {
        self.counters.get(&CounterName(Cow::Owned(name.to_owned()))).copied().unwrap_or(0)
    }

    /// All counters so far.
    pub fn counters(&self) -> &BTreeMap<CounterName, u64> {
        &self.counters
    }

    /// The objects remembered since the last call.
    pub fn take_objects(&mut self) -> Vec<StepObject> {
        std::mem::take(&mut self.objects)
    }

    /// So many more objects were handed over to a target, whatever it answers.
    pub fn handed_over(&mut self, objects: u64) {
        self.handed_over += objects;
    }

    /// How many objects were handed over to a target.
    pub fn all_handed_over(&self) -> u64 {
        self.handed_over
    }

    /// How many objects the step will probably handle.
    pub fn expect(&mut self, objects: Option<u64>) {
        self.expected = objects;
    }

    /// So many more objects are done.
    pub fn advance(&mut self, objects: u64) {
        self.done += objects;
        self.progress.advanced(self.done, self.expected);
    }
}

impl std::fmt::Debug for StepRecorder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StepRecorder").field("counters", &self.counters).finish_non_exhaustive()
    }
}
