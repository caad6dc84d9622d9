//! Protection against deleting by accident, as an administrator sees and sets it (specification: sync engine, section 5.5).

use super::guard_stops::{GuardStop, SOURCE_ANCHOR_CHANGED, holds_deletes};
use super::{Service, ServiceError};
use crate::config::{Edit, GuardTable, MAIN_FILE, Written, change_file};
use crate::connector::{ConnectorError, ConnectorErrorKind, DeleteLimit};
use crate::context::Context;
use crate::engine::active::displaced_by;
use crate::engine::export::{ExportLimits, ExportSummary, HeldDeletes, known_terms, remember_terms};
use serde::Serialize;

/// The guards and how they stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GuardView {
    /// The limits of deletes count; switched off, only the target's own does.
    pub delete_threshold: bool,
    /// The most deletes of one export.
    pub max_deletes: u64,
    /// The same as a share of what the target holds, in percent.
    pub max_delete_percent: Option<u32>,
    /// The share of known objects that a full import may miss and still be believed, in percent.
    pub shrink_percent: u32,
    /// Nothing is exported.
    pub staging: bool,
    /// Target by target.
    pub targets: Vec<GuardedTarget>,
    /// What guards stopped, targets and sources, and nothing has healed since.
    pub stops: Vec<GuardStop>,
}

/// How the guard stands for one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GuardedTarget {
    /// Its name.
    pub connector: String,
    /// The tenant's own limit, as it said at the last export.
    pub tenant_max_deletes: Option<u64>,
    /// The same as a share, in percent.
    pub tenant_max_delete_percent: Option<u32>,
    /// Deletes that wait.
    pub waiting: u64,
    /// The strictest of all limits, in objects.
    pub limit: Option<u64>,
    /// An export would stop before its first object.
    pub stopped: bool,
    /// What would stop it, and what is stopped already: a sentence for each. Nothing when exports go through.
    pub blocked_by: Vec<String>,
}

/// Settings to write; `None` leaves one as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuardChange {
    /// The most deletes of one export.
    pub max_deletes: Option<u64>,
    /// The same as a share, in percent.
    pub max_delete_percent: Option<u32>,
    /// The share that a full import may miss, in percent.
    pub shrink_percent: Option<u32>,
    /// No limit; a tenant's own only.
    pub off: bool,
}

/// One setting before and after a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GuardSetting {
    /// `syncline.toml`, or the target's name for its own setting.
    pub place: String,
    /// The key, or what the target's own setting is called.
    pub key: &'static str,
    /// What counts now; nothing where there is no limit.
    pub now: Option<GuardValue>,
    /// What would count.
    pub then: Option<GuardValue>,
}

/// The value of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum GuardValue {
    /// A number of deletes, or a share in percent.
    Number(u64),
    /// On or off.
    Switch(bool),
}

/// The table of the main file.
const TABLE: &str = "guard";
/// The setting that switches the limits of deletes.
const THRESHOLD: &str = "delete_threshold";

/// What the configuration makes of the limits of exports.
pub(super) fn export_limits(guard: &GuardTable) -> ExportLimits {
    ExportLimits {
        delete_threshold: guard.delete_threshold,
        deletes_max: Some(guard.max_deletes),
        delete_percent_max: guard.max_delete_percent,
        staging: guard.staging,
    }
}

impl Service {
    /// The limits that exports of this process heed now.
    pub fn limits(&self) -> ExportLimits {
        self.facilities.limits.now()
    }

    /// The guards and how they stand.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn guard(&self) -> Result<GuardView, ServiceError> {
        let guard = &self.config.guard;
        let snapshot = self.store.snapshot()?;
        let stops = self.guard_stops()?;
        let mut targets = Vec::new();
        for id in self.rules()?.targets() {
            let name = self.connectors.get(id).cloned().unwrap_or_default();
            let terms = known_terms(&snapshot, *id)?;
            let summary = ExportSummary::of(&snapshot, *id)?;
            let limit = summary.delete_limit(&snapshot, *id, &export_limits(guard), &terms)?;
            let mut blocked_by = Vec::new();
            let held = HeldDeletes::of(&snapshot, self.store.names(), *id)?;
            let sent = summary.without(&held.objects);
            if let Some(limit) = limit.filter(|limit| sent.deletes > *limit) {
                let wait = if sent.deletes == 1 { "delete waits" } else { "deletes wait" };
                blocked_by.push(format!(
                    "{} {wait} and {limit} are allowed: an export would stop before its first object; look at them by `syncline export '{name}' \
                     --what-if`",
                    sent.deletes
                ));
            }
            if guard.staging {
                blocked_by.push("staging mode: nothing is exported; `syncline mode show` says more".to_owned());
            }
            if let Some(rival) = displaced_by(&snapshot, *id)? {
                blocked_by.push(format!("another installation writes to it ({rival}): `syncline mode show`"));
            }
            if self.awaits_approval(*id)? {
                blocked_by.push(format!("its first export waits for an approval: `syncline export '{name}' --what-if` names the plan"));
            }
            let changed = stops.iter().filter(|stop| stop.connector == name && stop.guard == SOURCE_ANCHOR_CHANGED);
            blocked_by.extend(changed.map(|stop| format!("{stop}, and nothing runs: `{}`", stop.command)));
            let stopped = !blocked_by.is_empty();
            if !held.is_empty() {
                let rest = if stopped { "" } else { "; everything else is sent" };
                let since = stops.iter().find(|stop| stop.connector == name && holds_deletes(stop.guard));
                let since = since.map_or_else(String::new, |stop| format!("{stop}: "));
                blocked_by.push(format!(
                    "{since}{} not sent, because {}: `syncline export '{name}' --what-if`{rest}",
                    crate::model::counted(held.count(), "delete is", "deletes are"),
                    held.reason()
                ));
            }
            // Told by what waits now, where it still would stop.
            blocked_by.extend(
                stops
                    .iter()
                    .filter(|stop| stop.connector == name && !stopped && !holds_deletes(stop.guard))
                    .map(|stop| format!("{stop}: `{}`", stop.command)),
            );
            targets.push(GuardedTarget {
                connector: name,
                tenant_max_deletes: terms.deletes_max,
                tenant_max_delete_percent: terms.delete_percent_max,
                waiting: summary.deletes,
                limit,
                stopped,
                blocked_by,
            });
        }
        Ok(GuardView {
            delete_threshold: guard.delete_threshold,
            max_deletes: guard.max_deletes,
            max_delete_percent: guard.max_delete_percent,
            shrink_percent: guard.shrink_percent,
            staging: guard.staging,
            targets,
            stops,
        })
    }

    /// Asks every target what it allows by itself, and keeps it for [`Self::guard`]. Gives those that could not be asked, and why.
    ///
    /// # Errors
    /// When the store refuses or the rules do not compile.
    pub fn ask_targets(&self, cx: &Context) -> Result<Vec<(String, String)>, ServiceError> {
        self.with_targets(cx, async |asked| {
            let mut silent = Vec::new();
            for target in asked {
                match (&target.terms, &target.failure) {
                    (Some(terms), _) => remember_terms(&self.store, target.id, terms)?,
                    (None, failure) => silent.push((target.name.clone(), failure.clone().unwrap_or_default())),
                }
            }
            Ok(silent)
        })
    }

    /// What a change of the guards would change.
    ///
    /// # Errors
    /// When a share is above 100, or the store cannot be read.
    pub fn preview_guard(&self, change: GuardChange, tenant: bool) -> Result<Vec<GuardSetting>, ServiceError> {
        let view = self.guard()?;
        check_shares(change)?;
        let percent = |percent: Option<u32>| percent.map(u64::from);
        let number = |number: Option<u64>| number.map(GuardValue::Number);
        if tenant {
            let limit = tenant_limit(change)?;
            let setting = |target: &GuardedTarget| {
                let (key, then) = match limit {
                    DeleteLimit::Count(count) => ("deletes of one export", Some(u64::from(count))),
                    DeleteLimit::Percent(share) => ("deletes of one export, in percent", Some(u64::from(share))),
                    DeleteLimit::Off => ("deletes of one export", None),
                };
                let now = if matches!(limit, DeleteLimit::Percent(_)) {
                    percent(target.tenant_max_delete_percent)
                } else {
                    target.tenant_max_deletes
                };
                GuardSetting { place: target.connector.clone(), key, now: number(now), then: number(then) }
            };
            return Ok(view.targets.iter().map(setting).collect());
        }
        let settings = [
            ("guard.max_deletes", Some(view.max_deletes), change.max_deletes),
            ("guard.max_delete_percent", percent(view.max_delete_percent), percent(change.max_delete_percent)),
            ("guard.shrink_percent", Some(u64::from(view.shrink_percent)), percent(change.shrink_percent)),
        ];
        let changed = settings.into_iter().filter(|(_, _, then)| then.is_some());
        let setting = |(key, now, then)| GuardSetting { place: MAIN_FILE.to_owned(), key, now: number(now), then: number(then) };
        let mut settings: Vec<GuardSetting> = changed.map(setting).collect();
        if self.switches_on(change) {
            settings.push(switched(false, true));
        }
        Ok(settings)
    }

    /// True when a change of the limits switches the threshold on, which was off: whoever sets a limit wants it to count.
    fn switches_on(&self, change: GuardChange) -> bool {
        !self.config.guard.delete_threshold && (change.max_deletes.is_some() || change.max_delete_percent.is_some())
    }

    /// Switches the limits of deletes off, in the main file, until [`Self::set_guard`] sets one. The target's own limit goes on
    /// counting. With `what_if` nothing is written. Gives what changes: nothing when they were off.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn disable_guard(&self, what_if: bool) -> Result<Vec<GuardSetting>, ServiceError> {
        let folder = &self.config.folder;
        let off: [(&[&str], Edit); 1] = [(&[TABLE, THRESHOLD], Edit::Put(false.into()))];
        let changes = change_file(folder, &folder.join(MAIN_FILE), &off, what_if)? != Written::Unchanged;
        Ok(if changes { vec![switched(true, false)] } else { Vec::new() })
    }

    /// Sets what the targets themselves allow, for all who synchronize with them.
    ///
    /// # Errors
    /// When a share is above 100, a target cannot be asked, or refuses.
    pub fn set_tenant_guard(&self, cx: &Context, change: GuardChange) -> Result<(), ServiceError> {
        check_shares(change)?;
        let limit = tenant_limit(change)?;
        self.with_targets(cx, async |asked| {
            for target in asked {
                let failed = |source| ServiceError::Connector { connector: target.name.clone(), source };
                let Some(connector) = &target.connector else {
                    let message = target.failure.clone().unwrap_or_default();
                    return Err(failed(ConnectorError::new(ConnectorErrorKind::Connection, message)));
                };
                connector.set_delete_limit(cx, limit).await.map_err(failed)?;
                let terms = connector.begin_export(cx).await.map_err(failed)?;
                remember_terms(&self.store, target.id, &terms)?;
            }
            Ok(())
        })
    }

    /// Writes guards into the main file. A limit of deletes that is set counts, also where the threshold was off.
    ///
    /// # Errors
    /// When a share is above 100, or the file cannot be written.
    pub fn set_guard(&self, change: GuardChange) -> Result<(), ServiceError> {
        check_shares(change)?;
        let folder = &self.config.folder;
        let path = folder.join(MAIN_FILE);
        let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let wanted = [
            ("max_deletes", change.max_deletes.map(whole)),
            ("max_delete_percent", change.max_delete_percent.map(i64::from)),
            ("shrink_percent", change.shrink_percent.map(i64::from)),
        ];
        let put = |value: i64| Edit::Put(value.into());
        let mut keys: Vec<([&str; 2], Edit)> = wanted.into_iter().filter_map(|(key, value)| Some(([TABLE, key], put(value?)))).collect();
        if self.switches_on(change) {
            keys.push(([TABLE, THRESHOLD], Edit::Take));
        }
        let edits: Vec<(&[&str], Edit)> = keys.iter().map(|(key, edit)| (key.as_slice(), edit.clone())).collect();
        change_file(folder, &path, &edits, false)?;
        Ok(())
    }
}

/// The switch of the limits.
fn switched(now: bool, then: bool) -> GuardSetting {
    let (now, then) = (Some(GuardValue::Switch(now)), Some(GuardValue::Switch(then)));
    GuardSetting { place: MAIN_FILE.to_owned(), key: "guard.delete_threshold", now, then }
}

fn check_shares(change: GuardChange) -> Result<(), ServiceError> {
    match [change.max_delete_percent, change.shrink_percent].into_iter().flatten().find(|percent| *percent > 100) {
        Some(percent) => Err(ServiceError::Usage(format!("{percent} is no share in percent: write 0 to 100"))),
        None => Ok(()),
    }
}

/// The one setting that a tenant has.
fn tenant_limit(change: GuardChange) -> Result<DeleteLimit, ServiceError> {
    match (change.max_deletes, change.max_delete_percent, change.shrink_percent, change.off) {
        (Some(count), None, None, false) => u32::try_from(count)
            .ok()
            .filter(|count| i32::try_from(*count).is_ok())
            .map(DeleteLimit::Count)
            .ok_or_else(|| ServiceError::Usage(format!("{count} is more than a tenant can count: write 0 to {}", i32::MAX))),
        (None, Some(percent), None, false) => Ok(DeleteLimit::Percent(percent)),
        (None, None, None, true) => Ok(DeleteLimit::Off),
        _ => Err(ServiceError::Usage("a tenant has one limit of its own: give --max-deletes, --max-delete-percent or --off".to_owned())),
    }
}
