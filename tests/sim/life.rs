//! One life from its seed: changes, cycles, broken connections, lost power, and at last a quiet time and the verdict.

use crate::directory::{Directory, Entry};
use crate::disk::Disk;
use crate::expected::{Values, expect};
use crate::rules::{A, B, T, rules_of};
use crate::runs::{LAWS, engine, participant};
use crate::source::{Source, Watermarks, selected};
use crate::target::{State, Target};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use syncline::connector::Connector;
use syncline::engine::Silent;
use syncline::engine::export::{ExportLimits, Limits};
use syncline::engine::run::{Caution, Engine, Participant};
use syncline::model::Stage;
use syncline::store::{RunRecord, Store, StoreError};

/// Chance, the same for the same seed.
#[derive(Debug)]
pub(crate) struct Dice {
    state: u64,
    /// Nothing goes wrong any more.
    quiet: bool,
}

impl Dice {
    /// With these nothing goes wrong.
    pub(crate) fn quiet() -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self { state: 0, quiet: true }))
    }

    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// True with a probability.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        f64::from(u32::try_from(self.next() >> 32).unwrap()) / f64::from(u32::MAX) < probability
    }

    /// True with a probability, and never in the quiet time.
    pub(crate) fn fault(&mut self, probability: f64) -> bool {
        let drawn = self.chance(probability);
        drawn && !self.quiet
    }

    pub(crate) fn shuffle<V>(&mut self, list: &mut [V]) {
        for index in (1..list.len()).rev() {
            let other = usize::try_from(self.below(index as u64 + 1)).unwrap();
            list.swap(index, other);
        }
    }
}

/// What a life met.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) power_losses: u64,
    pub(crate) faults: u64,
    pub(crate) exports: u64,
    /// Selections that were undone before they were read to their end.
    pub(crate) undone: u64,
}

pub(crate) struct Life {
    dice: Dice,
    /// The world's own dice, used by its connectors.
    fate: Arc<Mutex<Dice>>,
    directories: [Arc<Mutex<Directory>>; 2],
    told: [Watermarks; 2],
    /// The first directory is read without some of its people.
    narrow: bool,
    /// It was so when the directory was last read to its end.
    complete: Option<bool>,
    /// It was not when that was tried, and the last import came to no end.
    half_read: bool,
    undone: u64,
    target: Arc<Mutex<State>>,
    lies: bool,
    disk: Disk,
    store: Option<Store>,
    runtime: tokio::runtime::Runtime,
    hired: u64,
    power_losses: u64,
    /// What happened, cycle by cycle; told when a life goes wrong.
    diary: Vec<String>,
}

impl Life {
    pub(crate) fn new(seed: u64, lies: bool) -> Self {
        let disk = Disk::default();
        let store = disk.open().unwrap();
        Self {
            dice: Dice { state: seed, quiet: false },
            fate: Arc::new(Mutex::new(Dice { state: seed ^ 0xFA7E, quiet: false })),
            directories: [Arc::default(), Arc::default()],
            told: [Arc::default(), Arc::default()],
            narrow: false,
            complete: None,
            half_read: false,
            undone: 0,
            target: Arc::default(),
            lies,
            disk,
            store: Some(store),
            runtime: tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap(),
            hired: 0,
            power_losses: 0,
            diary: Vec::new(),
        }
    }

    /// Lives it through. An error says what was wrong in the end.
    pub(crate) fn run(mut self) -> Result<Verdict, String> {
        for _ in 0..self.dice.below(8) + 4 {
            for _ in 0..=self.dice.below(7) {
                self.change();
            }
            if self.dice.chance(if self.half_read { 0.5 } else { 0.25 }) {
                self.undone += u64::from(self.half_read);
                self.narrow = !self.narrow;
                self.half_read = false;
                self.diary.push(format!("  the selection is {}", if self.narrow { "narrow" } else { "wide" }));
            }
            if self.dice.chance(0.3) {
                let operations = self.dice.below(250) + 1;
                self.disk.fail_after(operations);
            }
            if self.cycle(false).is_err() {
                self.lose_power();
            }
        }
        self.fate.lock().unwrap().quiet = true;
        self.disk.fail_after(u64::MAX);
        let mut last = Vec::new();
        for _ in 0..6 {
            last = match self.cycle(false) {
                Ok(runs) => runs,
                Err(error) => return Err(format!("the quiet time is not quiet: {error}")),
            };
            if exports(&last) == 0 {
                break;
            }
        }
        self.judge(&last).map_err(|why| format!("{why}\n{}", self.diary.join("\n")))?;
        // Reading and synchronizing everything comes to the same.
        let last = self.cycle(true).map_err(|error| format!("the quiet time is not quiet: {error}"))?;
        let diary = self.diary.clone();
        self.judge(&last).and_then(|()| self.end(&last)).map_err(|why| format!("read as a whole: {why}\n{}", diary.join("\n")))
    }

    fn lose_power(&mut self) {
        self.power_losses += 1;
        self.diary.push("  the power is lost".to_owned());
        let survivors = self.dice.next();
        self.store = None;
        self.disk = self.disk.after_power_loss(survivors);
        self.store = Some(self.disk.open().expect("a store survives lost power"));
    }

    /// Something happens in one of the directories.
    fn change(&mut self) {
        let side = usize::from(self.dice.chance(0.35));
        let dice = &mut self.dice;
        let mut directory = self.directories[side].lock().unwrap();
        let users: Vec<String> =
            directory.iter().filter(|(_, entry)| entry.object_type == "user").map(|(anchor, _)| anchor.clone()).collect();
        let somebody =
            |dice: &mut Dice| (!users.is_empty()).then(|| users[usize::try_from(dice.below(users.len() as u64)).unwrap()].clone());
        match dice.below(12) {
            0..=3 => {
                let badge = dice.below(14).to_string();
                if directory.values().any(|entry| entry.value("badge") == Some(&badge)) {
                    return;
                }
                self.hired += 1;
                let name = format!("CN=u{},DC=x", self.hired);
                let mut entry = Entry::new("user", &name).with("badge", &badge).with("displayName", &format!("user {badge}"));
                if dice.chance(0.85) {
                    entry.set("mail", Some(&format!("{badge}@x")));
                }
                directory.insert(format!("{:04}", self.hired), entry);
            }
            4 => {
                if let Some(anchor) = somebody(dice) {
                    directory.remove(&anchor);
                    for entry in directory.values_mut() {
                        for targets in entry.references.values_mut() {
                            targets.remove(&anchor);
                        }
                    }
                }
            }
            5..=7 => {
                if let Some(anchor) = somebody(dice) {
                    let name = ["displayName", "title", "mail", "blocked", "hidden", "department", "tags"]
                        [usize::try_from(dice.below(7)).unwrap()];
                    let value = match name {
                        "blocked" | "hidden" => ["no", "yes"][usize::try_from(dice.below(2)).unwrap()].to_owned(),
                        "department" => ["Sales", "IT"][usize::try_from(dice.below(2)).unwrap()].to_owned(),
                        _ => format!("{name} {}", dice.below(3)),
                    };
                    let value = dice.chance(0.75).then_some(value);
                    directory.get_mut(&anchor).unwrap().set(name, value.as_deref());
                }
            }
            8 => {
                if let (Some(anchor), manager) = (somebody(dice), somebody(dice)) {
                    let manager = manager.filter(|_| dice.chance(0.8));
                    directory.get_mut(&anchor).unwrap().references.insert("manager".to_owned(), manager.into_iter().collect());
                }
            }
            9 => {
                // Renamed or moved, and the same all the same.
                if let Some(anchor) = somebody(dice) {
                    self.hired += 1;
                    directory.get_mut(&anchor).unwrap().dn = format!("CN=r{},OU=moved,DC=x", self.hired);
                }
            }
            _ if side == 0 => {
                let name = dice.below(3).to_string();
                let group = format!("g{name}");
                let entry = directory.entry(group).or_insert_with(|| Entry::new("group", &format!("CN=g{name},DC=x")).with("cn", &name));
                let members = entry.references.entry("member".to_owned()).or_default();
                for _ in 0..3 {
                    if let Some(member) = somebody(dice)
                        && !members.remove(&member)
                    {
                        members.insert(member);
                    }
                }
            }
            _ => {}
        }
    }

    /// A cycle; an error is the store's, which has lost its power.
    fn cycle(&mut self, initial: bool) -> Result<Vec<RunRecord>, StoreError> {
        let store = self.store.clone().unwrap();
        let names = Arc::clone(store.names());
        let rules = rules_of(&names, LAWS);
        let source = |index: usize| {
            let (names, dice) = (Arc::clone(&names), Arc::clone(&self.fate));
            let (directory, told) = (Arc::clone(&self.directories[index]), Arc::clone(&self.told[index]));
            Some(Arc::new(Source { names, directory, told, narrow: index == 0 && self.narrow, dice }) as Arc<dyn Connector>)
        };
        let target =
            Arc::new(Target { names: Arc::clone(&names), state: Arc::clone(&self.target), dice: Arc::clone(&self.fate), lies: self.lies });
        let participants = BTreeMap::from([
            (A, Participant { selection: u64::from(self.narrow), ..participant("A", source(0), false) }),
            (B, participant("B", source(1), false)),
            (T, participant("T", Some(target), true)),
        ]);
        let engine = Engine {
            caution: Caution {
                limits: Limits::new(ExportLimits { deletes_max: None, delete_percent_max: Some(100), ..ExportLimits::default() }),
                allow_shrink: true,
                ..Caution::default()
            },
            ..engine(&store, &rules, &self.runtime, participants)
        };
        engine.recover()?;
        let runs = engine.cycle(initial, &mut Silent)?;
        let asked: Vec<String> = std::mem::take(&mut self.target.lock().unwrap().asked);
        self.diary.push(format!("  a cycle:{}\n    asked: {}", told(&runs), asked.join("\n      ")));
        let read = runs.iter().find(|run| run.connector == A).map(|run| (run.profile == "Full Import", run.result.0 == "success"));
        if let Some((_, true)) = read {
            self.complete = Some(self.narrow);
        }
        // A full import that broke off has read one half at most: of something else than the last complete one, where that is so.
        self.half_read = read == Some((true, false)) && self.complete.is_some_and(|complete| complete != self.narrow);
        // A step that met the end of the store ends with it; the next one would, too.
        if self.disk.is_dead() {
            Err(StoreError::Damaged { place: "disk".to_owned(), reason: "the power is gone".to_owned() })
        } else {
            Ok(runs)
        }
    }

    fn read(&self) -> [Directory; 2] {
        let [a, b] = [0, 1].map(|index| self.directories[index].lock().unwrap().clone());
        [selected(&a, self.narrow), b]
    }

    fn judge(&self, last: &[RunRecord]) -> Result<(), String> {
        let [a, b] = self.read();
        let expected = expect(&a, &b).target;
        let state = self.target.lock().unwrap();
        let held: BTreeMap<String, Values> =
            state.real.iter().map(|(name, held)| (name.clone(), held.values.clone().into_iter().collect())).collect();
        if held != expected {
            let names: BTreeSet<&String> = held.keys().chain(expected.keys()).collect();
            let wrong: Vec<String> = names
                .into_iter()
                .filter(|name| held.get(*name) != expected.get(*name))
                .map(|name| format!("{name}: holds {:?}, should hold {:?}", held.get(name), expected.get(name)))
                .collect();
            return Err(wrong.join("\n  "));
        }
        if exports(last) > 0 {
            return Err(format!("the target never comes to rest: {last:#?}"));
        }
        let store = self.store.as_ref().unwrap();
        let snapshot = store.snapshot().map_err(|error| error.to_string())?;
        for stage in [Stage::PendingExport, Stage::InProgress, Stage::Unconfirmed] {
            let left = snapshot.queue(stage, T, None, 10).map_err(|error| error.to_string())?;
            if !left.is_empty() {
                return Err(format!("{stage:?} is not empty at the end: {left:?}"));
            }
        }
        Ok(())
    }

    /// Behind a cycle that read everything.
    fn end(self, last: &[RunRecord]) -> Result<Verdict, String> {
        let [a, b] = self.read();
        conserved(last, (a.len() + b.len()) as u64)?;
        self.runtime.shutdown_timeout(Duration::from_secs(1));
        let state = self.target.lock().unwrap();
        Ok(Verdict { power_losses: self.power_losses, faults: state.faults, exports: state.calls, undone: self.undone })
    }
}

fn counted(runs: &[RunRecord], fits: impl Fn(&str) -> bool) -> u64 {
    let steps = runs.iter().flat_map(|run| &run.steps);
    steps.flat_map(|step| &step.counters).filter(|(name, _)| fits(&name.0)).map(|(_, count)| *count).sum()
}

/// The steps of a cycle in a line each.
fn told(runs: &[RunRecord]) -> String {
    let line = |run: &RunRecord| {
        let steps = run.steps.iter().map(|step| format!("{:?} {} {:?} {:?}", step.kind, step.result.0, step.counters, step.message));
        format!("\n    {} {}", run.connector_name, steps.collect::<Vec<_>>().join("; "))
    };
    runs.iter().map(line).collect()
}

fn exports(runs: &[RunRecord]) -> u64 {
    counted(runs, |name| name.starts_with("export-"))
}

/// The staging counters of the sources add up to the entries they gave (specification: sync engine 5.3).
fn conserved(runs: &[RunRecord], entries: u64) -> Result<(), String> {
    let sources: Vec<RunRecord> = runs.iter().filter(|run| run.connector != T).cloned().collect();
    let staged = counted(&sources, |name| name.starts_with("stage-") && name != "stage-delete");
    if staged == entries { Ok(()) } else { Err(format!("{entries} entries were read and {staged} were counted")) }
}
