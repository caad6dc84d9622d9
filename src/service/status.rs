//! How everything stands, for one screen: what runs, what waits, what needs somebody.

use super::guard::export_limits;
use super::guard_stops::{holds_deletes, is_healed};
use super::passwords::PasswordStanding;
use super::scheduler::SchedulerView;
use super::still_enabled::StillEnabled;
use super::views::RunView;
use super::{Service, ServiceError};
use crate::alert::{Condition, Found};
use crate::config::ConnectorSettings;
use crate::context::Context;
use crate::engine::active::displaced_by;
use crate::engine::belief::Belief;
use crate::engine::export::{ExportSummary, HeldDeletes, StandIns, known_terms, sample_of};
use crate::engine::import::{self, Verdict};
use crate::engine::run::{Profile, severity};
use crate::model::{ConnectorId, CsId, ErrorSide, ObjectError, quoted};
use crate::store::{RunResult, Snapshot};
use serde::Serialize;
use std::collections::BTreeMap;

/// How everything stands.
#[derive(Clone, Debug, Serialize)]
pub struct StatusView {
    /// `well`, `attention` or `trouble`: the worst of what needs somebody.
    pub health: Health,
    /// What needs somebody, the worst first.
    pub attention: Vec<Attention>,
    /// The scheduler.
    pub scheduler: SchedulerView,
    /// A service answers; otherwise this is what the store tells.
    pub served: bool,
    /// The connectors.
    pub connectors: Vec<ConnectorStatus>,
    /// Objects of the metaverse.
    pub metaverse: u64,
    /// Password synchronization, by directory.
    pub passwords: Vec<PasswordStatusLine>,
}

/// How well things are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// Nothing needs anybody.
    Well,
    /// Somebody should look in the next days.
    Attention,
    /// Something does not work.
    Trouble,
}

/// Something that needs somebody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attention {
    /// How bad it is.
    pub level: Health,
    /// What it is.
    pub what: String,
    /// The command that shows more, or helps.
    pub command: String,
    /// People are told of it as this condition, of this connector.
    #[serde(skip)]
    pub(super) alert: Option<(Condition, String)>,
}

/// How a connector stands.
#[derive(Clone, Debug, Serialize)]
pub struct ConnectorStatus {
    /// Its name.
    pub name: String,
    /// Rules write to it.
    pub target: bool,
    /// Objects of its space, without names that others only refer to.
    pub objects: u64,
    /// Problems: of objects, and of entries that could not become objects.
    pub errors: u64,
    /// What waits for export.
    pub pending: PendingView,
    /// Its last import.
    pub last_import: Option<LastRun>,
    /// Its last export.
    pub last_export: Option<LastRun>,
}

/// What waits for export, in objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PendingView {
    /// To be created.
    pub adds: u64,
    /// To be changed.
    pub updates: u64,
    /// To be renamed.
    pub renames: u64,
    /// To be removed.
    pub deletes: u64,
}

/// A run in short.
#[derive(Clone, Debug, Serialize)]
pub struct LastRun {
    /// Its number.
    pub run: u64,
    /// When it began.
    pub started: String,
    /// How it ended.
    pub result: String,
    /// It did not end well, and nothing of it is left to do.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub healed: bool,
}

/// How the passwords of a directory stand.
#[derive(Clone, Debug, Serialize)]
pub struct PasswordStatusLine {
    /// The directory.
    pub directory: String,
    /// Why nothing is sent, if so.
    pub held: Option<String>,
    /// When a password was last sent.
    pub last_sent: Option<String>,
    /// When the tenant last answered a sign of life that carried no password.
    pub last_heartbeat: Option<String>,
    /// When the tenant last heard from us, of a password or of a sign of life.
    pub last_sign_of_life: Option<String>,
    /// Accounts that are refused again and again.
    pub flagged: u64,
}

/// How an export ends that the deletion threshold stopped.
const THRESHOLD: &str = "stopped-deletion-threshold-exceeded";
/// The newest runs that are looked at.
pub(super) const RUNS: usize = 200;
/// Problems are counted so far.
const PROBLEMS: usize = 5_000;

impl Service {
    /// How everything stands.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn status(&self, cx: &Context, served: bool) -> Result<StatusView, ServiceError> {
        self.standing(cx, served, true)
    }

    /// Who cannot sign in since an export ended while names changed hands.
    fn look_at_stand_ins(
        &self,
        snapshot: &Snapshot,
        id: ConnectorId,
        name: &str,
        attention: &mut Vec<Attention>,
    ) -> Result<(), ServiceError> {
        let left = StandIns::of(snapshot, id)?;
        if left.is_empty() {
            return Ok(());
        }
        let (then, command) = if self.config.guard.staging {
            ("in staging mode nothing is sent, so they go on waiting until an installation is active", "syncline promote".to_owned())
        } else {
            ("the next export sends them before everything else", format!("syncline export '{name}'"))
        };
        let what = format!(
            "{} by stand-in names in {name} and cannot sign in, since an export ended while names changed hands; {then}: {}",
            crate::model::counted(left.count(), "object goes", "objects go"),
            left.sample(snapshot, self.store.names())?
        );
        attention.push(Attention::trouble(what, command).told(Condition::StandIns, name));
        Ok(())
    }

    /// The same; uncounted, for those who ask again and again, accounts with passwords and what only people look at are not counted, and who
    /// is still enabled is looked for only where alerts are to tell of it.
    pub(super) fn standing(&self, cx: &Context, served: bool, counted: bool) -> Result<StatusView, ServiceError> {
        let snapshot = self.store.snapshot()?;
        let runs = self.history()?.runs(RUNS)?;
        let stops = self.guard_stops_of(&snapshot, &runs)?;
        // First of all what is worst: the worst stay in this order.
        let wanted = counted || self.config.alerts.wants(Condition::StillEnabled);
        let still_enabled = if wanted { self.still_enabled(&snapshot, &stops)? } else { Vec::new() };
        let told = |people: StillEnabled| Attention::trouble(people.what, people.command).told(Condition::StillEnabled, &people.source);
        let mut attention: Vec<Attention> = still_enabled.into_iter().map(told).collect();
        let mut connectors = Vec::new();
        for (id, name) in &self.connectors {
            let problems = snapshot.errors(*id, None, PROBLEMS)?;
            // Where rules do not compile, a tenant is a target all the same.
            let target = self.rules.as_ref().map_or_else(|_| self.is_tenant(name), |rules| rules.targets().contains(id));
            let mut pending = PendingView::default();
            let mut told_by_deletes = false;
            if target {
                let summary = ExportSummary::of(&snapshot, *id)?;
                pending = PendingView { adds: summary.adds, updates: summary.updates, renames: summary.renames, deletes: summary.deletes };
                let guard = &self.config.guard;
                let limit = summary.delete_limit(&snapshot, *id, &export_limits(guard), &known_terms(&snapshot, *id)?)?;
                let held = HeldDeletes::of(&snapshot, self.store.names(), *id)?;
                let sent = summary.without(&held.objects);
                if let Some(limit) = limit.filter(|limit| sent.deletes > *limit) {
                    let (waits, allowed) =
                        (crate::model::counted(sent.deletes, "delete waits", "deletes wait"), crate::model::counted(limit, "is", "are"));
                    let stopped = stops.iter().find(|stop| stop.connector == *name && stop.result == THRESHOLD);
                    let stopped = stopped.map_or_else(String::new, |stop| format!("; {stop}"));
                    let what = format!("{waits} for {name}, and {allowed} allowed: nothing is exported{stopped}");
                    told_by_deletes = true;
                    attention.push(
                        Attention::trouble(what, format!("syncline export {} --what-if", quoted(name))).told(Condition::DeletesHeld, name),
                    );
                }
                if !held.is_empty() {
                    let since = stops.iter().find(|stop| stop.connector == *name && holds_deletes(stop.guard));
                    let since = since.map_or_else(String::new, |stop| format!("{stop}: "));
                    let what = format!(
                        "{since}{} for {name}, because {}: {}",
                        crate::model::counted(held.count(), "delete is held", "deletes are held"),
                        held.reason(),
                        sample_of(&snapshot, self.store.names(), &held)?
                    );
                    let found = Attention::new(Health::Attention, what, format!("syncline export {} --what-if", quoted(name)));
                    // One alert is enough for deletes that wait.
                    attention.push(if told_by_deletes { found } else { found.told(Condition::DeletesHeld, name) });
                }
            }
            if target {
                self.look_at_stand_ins(&snapshot, *id, name, &mut attention)?;
            }
            if target && let Some(rival) = displaced_by(&snapshot, *id)? {
                let what = format!("another installation writes to {name}, so this one sends nothing: {rival}");
                attention.push(Attention::trouble(what, "syncline mode show".to_owned()).told(Condition::SecondInstallation, name));
            }
            self.look_at_belief(&snapshot, *id, name, &mut attention)?;
            if target
                && counted
                && let Some(what) = self.strays(*id)?
            {
                let command = format!("syncline cs search {} --state disconnector", quoted(name));
                attention.push(Attention::new(Health::Attention, what, command));
            }
            count_problems(name, &problems, &mut attention);
            // Looking through the history costs more than those who ask again and again should pay.
            let placeholders = if counted { snapshot.cs_placeholders(*id)? } else { 0 };
            let refused = if counted { self.browse()?.entries_refused(*id)?.len() as u64 } else { 0 };
            if refused > 0 {
                let what = format!(
                    "{} of {name} could not be used by its last import, and {} no object of it",
                    crate::model::counted(refused, "entry", "entries"),
                    if refused == 1 { "is" } else { "are" }
                );
                attention.push(Attention::new(Health::Attention, what, format!("syncline errors {}", quoted(name))));
            }
            let last = |export: bool| last_run(&runs, name, export);
            let (last_import, mut last_export) = (last(false), last(true));
            if let Some(export) = &mut last_export {
                export.healed = is_healed(&snapshot, *id, &runs, name)?;
            }
            let failed = |run: &&LastRun| severity(&run.result) >= 3 && !run.healed;
            if let Some(import) = last_import.as_ref().filter(|run| severity(&run.result) == 1) {
                let what = format!("the last {} of {name} has warnings", profile_of(&runs, import.run));
                attention.push(Attention::new(Health::Attention, what, format!("syncline run show {}", import.run)));
            }
            for run in [&last_import, &last_export].into_iter().flatten().filter(failed) {
                let stop = stops.iter().find(|stop| stop.run == run.run && !holds_deletes(stop.guard));
                let (profile, result) = (profile_of(&runs, run.run), &run.result);
                let (what, command) = stop.map_or_else(
                    || (format!("the last {profile} of {name} ended: {result}"), format!("syncline run show {}", run.run)),
                    |stop| {
                        let meant = if result == "stopped-shrink-guard" {
                            format!("; if it is meant, allow it once: `syncline run start '{name}' full-import --allow-shrink`")
                        } else {
                            String::new()
                        };
                        (format!("{stop}: its last {profile} ended {result}{meant}"), stop.command.clone())
                    },
                );
                let found = Attention::trouble(what, command);
                attention.push(match run.result.as_str() {
                    THRESHOLD if told_by_deletes => continue,
                    THRESHOLD => found,
                    "stopped-shrink-guard" => found.told(Condition::ImportShrank, name),
                    "stopped-by-review" => found.told(Condition::FirstExport, name),
                    _ => found.told(Condition::RunsStop, name),
                });
            }
            connectors.push(ConnectorStatus {
                name: name.clone(),
                target,
                objects: snapshot.cs_count(*id)? - placeholders,
                errors: problems.len() as u64 + refused,
                pending,
                last_import,
                last_export,
            });
        }
        let scheduler = self.scheduler_with(cx, served, stops)?;
        if !attention.iter().any(|found| found.level == Health::Trouble) {
            attention.extend(unfinished(&scheduler, &runs));
        }
        self.look_at_schedule(cx, &scheduler, served, &mut attention)?;
        let passwords = self.look_at_passwords(cx, counted, &mut attention)?;
        if let Err(problem) = self.rules() {
            let what = format!("the rules do not compile, so nothing runs: {problem}");
            attention.push(Attention::trouble(what, "syncline rule lint".to_owned()).told(Condition::NothingRuns, ""));
        }
        if let Some(kept) = self.changed_source_anchor(&snapshot)? {
            let now = &self.config.rules.source_anchor;
            let what = format!(
                "nothing runs: [rules] source_anchor is '{now}', but the objects in the cloud were made with '{kept}', and everybody would \
                 be deleted and made anew"
            );
            let command = format!("syncline config set rules.source_anchor {kept}");
            attention.push(Attention::trouble(what, command).told(Condition::NothingRuns, ""));
        }
        if let Some(what) = self.nothing_to_do()? {
            let rules = self.rules().is_ok_and(|rules| super::nobody_writes(&self.config, rules, &self.connectors).is_some());
            let command = if rules { "syncline rule lint" } else { "syncline connector list" };
            attention.push(Attention::new(Health::Attention, what, command.to_owned()));
        }
        for (name, standing) in self.former_connectors()?.into_values() {
            if standing == super::Standing::Abandoned {
                let what = format!("the store holds objects of '{name}', which is not configured any more: nothing is synchronized");
                attention.push(Attention::trouble(what, "syncline connector list".to_owned()).told(Condition::NothingRuns, &name));
            }
        }
        attention.sort_by_key(|found| std::cmp::Reverse(found.level));
        let health = attention.iter().map(|found| found.level).max().unwrap_or(Health::Well);
        Ok(StatusView { health, attention, scheduler, served, connectors, metaverse: snapshot.mv_count()?, passwords })
    }

    /// What is not believed of a connector, and why.
    fn look_at_belief(&self, snapshot: &Snapshot, id: ConnectorId, name: &str, found: &mut Vec<Attention>) -> Result<(), ServiceError> {
        let (clear, cycle) = (format!("syncline cs clear '{name}' --what-if"), "syncline cycle start".to_owned());
        let (what, command) = if let Some(moved) = self.moved_tenant(snapshot, id)? {
            (format!("{name} {moved}"), if moved.met { clear } else { cycle })
        } else if let Some(reason) = Belief::of(snapshot, id)?.reason() {
            let unknown = self.is_tenant(name) && self.tenant_to_forget(snapshot, id)?.is_some();
            let what = format!("{name} has to be read as a whole before anything is exported, because {reason}");
            if unknown { (format!("{what}; which tenant the store is about nobody knows any more"), clear) } else { (what, cycle) }
        } else if let Some(verdict) = import::verdict(snapshot, id)?.filter(|verdict| *verdict != Verdict::Stopped) {
            // What a guard stopped is told by its run.
            let what = format!("nothing of {name} is synchronized before everything of it was read: {verdict}");
            (what, format!("syncline run start '{name}' full-import"))
        } else {
            return Ok(());
        };
        found.push(Attention::new(Health::Attention, what, command));
        Ok(())
    }

    /// True for a connector of a tenant, by its name.
    pub(super) fn is_tenant(&self, name: &str) -> bool {
        self.config.connector(name).is_some_and(|connector| matches!(connector.settings, ConnectorSettings::Entra(_)))
    }

    fn look_at_schedule(&self, cx: &Context, view: &SchedulerView, served: bool, found: &mut Vec<Attention>) -> Result<(), ServiceError> {
        if let Some(why) = &view.unreadable {
            let what = format!("nothing runs by itself: what the scheduler remembers cannot be read ({why}), and it may be suspended");
            found.push(Attention::trouble(what, "syncline scheduler resume".to_owned()).told(Condition::NothingRuns, ""));
        } else if let Some(suspension) = &view.suspended {
            let what = format!("nothing runs by itself: suspended by {}", suspension.by);
            found.push(Attention::new(Health::Attention, what, "syncline scheduler resume".to_owned()));
        } else if served && !view.cycle_enabled {
            let what = "nothing runs by itself: [scheduler] enabled is false".to_owned();
            found.push(Attention::new(Health::Attention, what, "syncline scheduler set --enabled true".to_owned()));
        } else if served && let Some(reason) = self.health_facts(cx)?.unready() {
            found.push(Attention::trouble(reason, "syncline run list".to_owned()));
        }
        if !self.config.guard.delete_threshold {
            let what = "the delete threshold is off: however many deletes wait, an export sends them".to_owned();
            let command = format!("syncline guard set --max-deletes {}", self.config.guard.max_deletes);
            found.push(Attention::new(Health::Attention, what, command));
        }
        if view.staging {
            let what = "staging mode: nothing is exported".to_owned();
            found.push(Attention::new(Health::Attention, what, "syncline export --what-if".to_owned()));
        }
        Ok(())
    }

    fn look_at_passwords(&self, cx: &Context, counted: bool, found: &mut Vec<Attention>) -> Result<Vec<PasswordStatusLine>, ServiceError> {
        if self.rules.is_err() || self.password_sources().is_empty() {
            return Ok(Vec::new());
        }
        let standings = if counted { self.password_status(cx)? } else { self.password_status_uncounted(cx)? };
        let mut lines = Vec::new();
        for PasswordStanding { name: directory, status, .. } in standings.into_iter().filter(|standing| standing.enabled) {
            let held = status.held_detail.clone().or_else(|| status.failure.clone());
            if let Some(reason) = &held {
                let what = format!("passwords of {directory} are not sent: {reason}");
                found.push(Attention::trouble(what, "syncline phs doctor".to_owned()).told(Condition::PasswordsHeld, &directory));
            }
            for domain in status.domains.iter().filter_map(|domain| domain.failure.as_ref().map(|failure| (&domain.domain, failure))) {
                let what = format!("passwords of {} cannot be read: {}", domain.0, domain.1);
                found.push(Attention::trouble(what, "syncline phs doctor".to_owned()).told(Condition::PasswordsHeld, domain.0));
            }
            if status.flagged > 0 {
                let what = format!(
                    "the tenant refuses the passwords of {} again and again",
                    crate::model::counted(status.flagged, "account", "accounts")
                );
                found.push(Attention::new(Health::Attention, what, "syncline phs coverage --reason Error".to_owned()));
            }
            lines.push(PasswordStatusLine {
                directory,
                held,
                last_sent: status.last_sent.clone(),
                last_heartbeat: status.last_heartbeat.clone(),
                last_sign_of_life: status.last_sign_of_life(cx.now()).map(str::to_owned),
                flagged: status.flagged,
            });
        }
        Ok(lines)
    }
}

impl StatusView {
    /// True when nothing ever ran here, as far as the history goes back.
    pub fn nothing_yet(&self) -> bool {
        let ran = |connector: &ConnectorStatus| connector.last_import.is_some() || connector.last_export.is_some();
        self.scheduler.last_cycle.is_none() && self.scheduler.last_read.is_none() && !self.connectors.iter().any(ran)
    }

    /// Tells that the configuration that lies in the files is not the one that counts, and why.
    #[must_use]
    pub fn refusing(mut self, why: &str) -> Self {
        let folder = "the configuration in the files is refused, and the service goes on with the one before it";
        self.attention.insert(0, Attention::trouble(format!("{folder}: {why}"), "syncline config check".to_owned()));
        self.health = Health::Trouble;
        self
    }
}

impl Attention {
    fn new(level: Health, what: String, command: String) -> Self {
        Self { level, what, command, alert: None }
    }

    /// People are told of it as a condition.
    fn told(self, condition: Condition, subject: &str) -> Self {
        Self { alert: Some((condition, subject.to_owned())), ..self }
    }

    /// True when people are told of it as this condition.
    pub(super) fn is(&self, condition: Condition) -> bool {
        self.alert.as_ref().is_some_and(|(told, _)| *told == condition)
    }

    /// The condition that people are told of, if any.
    pub(super) fn into_found(self) -> Option<Found> {
        let (condition, subject) = self.alert?;
        Some(Found { condition, subject, text: self.what, command: self.command })
    }

    fn trouble(what: String, command: String) -> Self {
        Self::new(Health::Trouble, what, command)
    }
}

fn count_problems(connector: &str, problems: &[(CsId, ErrorSide, ObjectError)], found: &mut Vec<Attention>) {
    let mut by_side: BTreeMap<&'static str, u64> = BTreeMap::new();
    for (_, side, _) in problems {
        let name = match side {
            ErrorSide::Import => "import",
            ErrorSide::Sync => "synchronization",
            ErrorSide::Export => "export",
        };
        *by_side.entry(name).or_default() += 1;
    }
    for (side, count) in by_side {
        let have = crate::model::counted(count, "object has a problem", "objects have problems");
        let what = format!("{have} with {side} of {connector}");
        found.push(Attention::new(Health::Attention, what, format!("syncline errors {}", quoted(connector))));
    }
}

/// That the last cycle left something undone which nothing else tells of.
fn unfinished(scheduler: &SchedulerView, runs: &[RunView]) -> Option<Attention> {
    let began = scheduler.last_cycle.as_ref().filter(|_| scheduler.running.is_none())?;
    if scheduler.last_read.as_ref() == Some(began) {
        return None;
    }
    // Runs of that cycle, with the worst of them as the reason.
    let cycle = runs.iter().find_map(|run| run.cycle);
    let worst = runs.iter().filter(|run| cycle.is_some() && run.cycle == cycle).max_by_key(|run| severity(&run.result))?;
    let (why, command) = if worst.result != RunResult::IN_PROGRESS.0 && severity(&worst.result) >= 3 {
        (format!("{} of {} ended: {}", worst.profile, worst.connector, worst.result), format!("syncline run show {}", worst.number))
    } else {
        ("it was stopped or broke off on the way".to_owned(), "syncline cycle start".to_owned())
    };
    Some(Attention::trouble(format!("the last cycle, begun {began}, did not do everything: {why}"), command))
}

fn profile_of(runs: &[RunView], number: u64) -> String {
    runs.iter().find(|run| run.number == number).map_or_else(|| "run".to_owned(), |run| run.profile.clone())
}

/// The newest run of a connector that read it, or wrote it, and is over: how the one under way ends nobody knows.
pub(super) fn last_run(runs: &[RunView], connector: &str, export: bool) -> Option<LastRun> {
    let reads = [Profile::FullImport.as_str(), Profile::DeltaImport.as_str()];
    let fits = |run: &&RunView| {
        run.connector == connector
            && run.ended.is_some()
            && if export { run.profile == Profile::Export.as_str() } else { reads.contains(&run.profile.as_str()) }
    };
    let run = runs.iter().find(fits)?;
    Some(LastRun { run: run.number, started: run.started.clone(), result: run.result.clone(), healed: false })
}
