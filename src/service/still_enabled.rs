//! People who are disabled or gone in a directory and still enabled in a target, because nothing decides it there: their synchronization or
//! their export fails, or a guard keeps the directory from being read. Nothing is more urgent, so it is told first and by name.

use super::guard_stops::GuardStop;
use super::{Service, ServiceError};
use crate::engine::password::is_disabled;
use crate::model::{ConnectorId, CsId, CsObject, DeltaKind, ErrorSide, Link, Names, Stage, StageMask, ValueRef, ValueState};
use crate::store::Snapshot;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

/// Problems looked through, of each connector.
const PROBLEMS: usize = 5_000;
/// What is said of whoever cannot be named, while a guard keeps a directory from being read.
pub(super) const STAYS_ENABLED: &str = "stays enabled in the cloud";
/// People who are named.
const NAMED: usize = 5;

/// The accounts that a directory was seen to have disabled by the look that comes every minute, whatever became of imports.
#[derive(Debug, Default)]
pub(super) struct SeenDisabled(Mutex<BTreeSet<CsId>>);

impl SeenDisabled {
    pub(super) fn note(&self, account: CsId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(account);
    }

    /// Those that no import has read as disabled yet. The others are forgotten: they may be enabled again one day.
    pub(super) fn unread(&self, names: &Names, snapshot: &Snapshot) -> Result<Vec<CsId>, ServiceError> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut unread = BTreeSet::new();
        for account in seen.iter() {
            let shown = snapshot.cs_object(*account)?.and_then(|object| is_disabled(names, &object, StageMask::IMPORTED));
            if shown == Some(false) {
                unread.insert(*account);
            }
        }
        seen.clone_from(&unread);
        Ok(unread.into_iter().collect())
    }
}

/// People of one directory who are still enabled in a target, for the same reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StillEnabled {
    /// The sentence, with the first names.
    pub(super) what: String,
    /// The command that shows more.
    pub(super) command: String,
}

/// How an account stands in its directory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Shut {
    Disabled,
    Gone,
}

impl Service {
    /// Whoever is disabled or gone in a directory and still enabled in a target.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(super) fn still_enabled(&self, snapshot: &Snapshot, stops: &[GuardStop]) -> Result<Vec<StillEnabled>, ServiceError> {
        let Ok(rules) = self.rules() else { return Ok(Vec::new()) };
        let targets: Vec<ConnectorId> = rules.targets().to_vec();
        let mut failing: BTreeMap<(CsId, ConnectorId), (Shut, String)> = BTreeMap::new();
        for id in self.connectors.keys() {
            for (object, side, error) in snapshot.errors(*id, None, PROBLEMS)? {
                if side == ErrorSide::Import {
                    continue;
                }
                // A problem is noted with the object that was looked at, which may be another one of the same person.
                let mv = snapshot.cs_link(object)?.and_then(Link::mv);
                let links = mv.map(|mv| snapshot.mv_links(mv)).transpose()?.unwrap_or_default();
                for account in links.iter().filter(|link| !targets.contains(&link.connector())) {
                    let Some(shut) = self.shut(snapshot, *account)? else { continue };
                    for target in links.iter().filter(|link| targets.contains(&link.connector())) {
                        // An export that fails may be about anything: it has to be the one that would disable.
                        let export = side == ErrorSide::Export;
                        if self.stays_enabled(snapshot, *target, export)? {
                            let why = if export { "the export" } else { "the synchronization" };
                            failing.insert(
                                (*account, target.connector()),
                                (shut, format!("{why} of these people fails ({})", error.code.as_str())),
                            );
                        }
                    }
                }
            }
        }
        let mut found: BTreeMap<(ConnectorId, ConnectorId, Shut, String), Vec<CsId>> = BTreeMap::new();
        for ((account, target), (shut, why)) in failing {
            found.entry((account.connector(), target, shut, why)).or_default().push(account);
        }
        let mut told = Vec::new();
        for ((source, target, shut, why), accounts) in found {
            let names = names_of(snapshot, &accounts)?;
            let (source, target) = (self.name_of(source), self.name_of(target));
            let state = if shut == Shut::Gone { "gone from" } else { "disabled in" };
            let what = format!(
                "{} {state} {source} and still enabled in {target}, because {why}; disable them there by hand until it is put right: {names}",
                crate::model::counted(accounts.len() as u64, "person is", "people are")
            );
            told.push(StillEnabled { what, command: format!("syncline errors {source}") });
        }
        let seen = self.facilities.seen_disabled.unread(self.store.names(), snapshot)?;
        for stop in stops {
            told.extend(self.behind_guard(snapshot, stop, &targets, &seen)?);
        }
        Ok(told)
    }

    /// The sentences, for people who look at problems.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn people_still_enabled(&self) -> Result<Vec<String>, ServiceError> {
        Ok(self.still_enabled_now()?.into_iter().map(|found| found.what).collect())
    }

    pub(super) fn still_enabled_now(&self) -> Result<Vec<StillEnabled>, ServiceError> {
        self.still_enabled(&self.store.snapshot()?, &self.guard_stops()?)
    }

    /// Who is not disabled anywhere while a guard keeps a directory from being read.
    fn behind_guard(
        &self,
        snapshot: &Snapshot,
        stop: &GuardStop,
        targets: &[ConnectorId],
        seen: &[CsId],
    ) -> Result<Option<StillEnabled>, ServiceError> {
        let Some(source) = self.connectors.iter().find(|(_, name)| **name == stop.connector).map(|(id, _)| *id) else { return Ok(None) };
        if targets.contains(&source) {
            return Ok(None);
        }
        let seen: Vec<CsId> = seen.iter().copied().filter(|account| account.connector() == source).collect();
        let who = match seen.as_slice() {
            [] => String::new(),
            some => format!("; already {}", names_of(snapshot, some)?),
        };
        let what = format!("while {stop}, whoever is disabled or deleted there {STAYS_ENABLED}{who}");
        Ok(Some(StillEnabled { what, command: stop.command.clone() }))
    }

    /// Whether an account is disabled or gone by the newest that its directory told.
    fn shut(&self, snapshot: &Snapshot, account: CsId) -> Result<Option<Shut>, ServiceError> {
        let Some(object) = snapshot.cs_object(account)? else { return Ok(None) };
        Ok(match object.stage(Stage::PendingImport).kind {
            DeltaKind::Delete | DeltaKind::DeleteAdd => Some(Shut::Gone),
            _ => (is_disabled(self.store.names(), &object, StageMask::IMPORTED) == Some(true)).then_some(Shut::Disabled),
        })
    }

    /// True when a target showed an object as enabled the last time; `wanted` asks also that it is to be disabled or deleted there.
    fn stays_enabled(&self, snapshot: &Snapshot, target: CsId, wanted: bool) -> Result<bool, ServiceError> {
        let Some(object) = snapshot.cs_object(target)? else { return Ok(false) };
        let leaves = matches!(object.stage(Stage::PendingExport).kind, DeltaKind::Delete | DeltaKind::DeleteAdd);
        Ok(self.shows(&object, StageMask::IMPORTED, true) && (!wanted || leaves || self.shows(&object, StageMask::WANTED, false)))
    }

    fn shows(&self, object: &CsObject, image: StageMask, enabled: bool) -> bool {
        let Some(attr) = self.store.names().find("accountEnabled") else { return false };
        let mut values = object.values.attribute(attr).filter(|item| ValueState(item.flags).present(image));
        values.any(|item| item.value == ValueRef::Boolean(enabled))
    }
}

/// The first of them by name.
fn names_of(snapshot: &Snapshot, accounts: &[CsId]) -> Result<String, ServiceError> {
    let mut names = Vec::new();
    for account in accounts.iter().take(NAMED) {
        names.push(snapshot.cs_object(*account)?.map_or_else(|| account.to_string(), |object| object.dn.to_string()));
    }
    let more = accounts.len().saturating_sub(NAMED);
    if more > 0 {
        names.push(format!("and {more} more"));
    }
    Ok(names.join("; "))
}
