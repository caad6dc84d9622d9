//! People who are disabled or gone in a directory and still enabled in a target, because nothing decides it there: their synchronization or
//! their export fails, or a guard keeps the directory from being read. Nothing is more urgent, so it is told first and by name.

use super::guard_stops::GuardStop;
use super::{Service, ServiceError};
use crate::engine::password::is_disabled;
use crate::model::{
    ConnectorId, CsId, CsObject, DeltaKind, ErrorSide, Link, Names, Stage, StageMask, Timestamp, ValueRef, ValueState, counted,
};
use crate::rules::RuleSet;
use crate::store::Snapshot;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Problems looked through, of each connector.
const PROBLEMS: usize = 5_000;
/// People who are named.
const NAMED: usize = 5;

/// The accounts that a directory was seen to have disabled by the look that comes every minute, whatever became of imports, and when.
#[derive(Debug, Default)]
pub(super) struct SeenDisabled(Mutex<BTreeMap<CsId, Timestamp>>);

impl SeenDisabled {
    pub(super) fn note(&self, account: CsId, now: Timestamp) {
        self.seen().insert(account, now);
    }

    /// Forgets the accounts of directories that were read by imports of which the first `began` behind the look: however they stand now,
    /// the store has it.
    pub(super) fn forget(&self, read: &[ConnectorId], began: Timestamp, now: Timestamp) {
        self.seen().retain(|account, at| !(read.contains(&account.connector()) && at.is_before(began, now)));
    }

    /// Those that no import has read as disabled yet. The others are forgotten: they may be enabled again one day.
    pub(super) fn unread(&self, names: &Names, snapshot: &Snapshot) -> Result<Vec<CsId>, ServiceError> {
        let mut seen = self.seen();
        let mut unread = BTreeMap::new();
        for (account, at) in seen.iter() {
            let shown = snapshot.cs_object(*account)?.and_then(|object| is_disabled(names, &object, StageMask::IMPORTED));
            if shown == Some(false) {
                unread.insert(*account, *at);
            }
        }
        seen.clone_from(&unread);
        Ok(unread.into_keys().collect())
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<CsId, Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// People of one directory who are still enabled in a target, for the same reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StillEnabled {
    /// The directory.
    pub(super) source: String,
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
        let targets = rules.targets();
        let directories: BTreeSet<ConnectorId> = self.connectors.keys().copied().filter(|id| self.is_directory(rules, *id)).collect();
        let seen = self.facilities.seen_disabled.unread(self.store.names(), snapshot)?;
        // With the connector at which the problem is kept: `errors` lists it there.
        let mut failing: BTreeMap<(CsId, ConnectorId), (Shut, String, ConnectorId)> = BTreeMap::new();
        for id in self.connectors.keys() {
            for (object, side, error) in snapshot.errors(*id, None, PROBLEMS)? {
                if side == ErrorSide::Import {
                    continue;
                }
                // A problem is noted with the object that was looked at, which may be another one of the same person.
                let mv = snapshot.cs_link(object)?.and_then(Link::mv);
                let links = mv.map(|mv| snapshot.mv_links(mv)).transpose()?.unwrap_or_default();
                let export = side == ErrorSide::Export;
                for account in links.iter().filter(|link| directories.contains(&link.connector())) {
                    let Some(shut) = self.shut(snapshot, *account)? else { continue };
                    // An export that fails is one that would disable: rules decided that already.
                    if !export && self.is_enabled_elsewhere(snapshot, &directories, *account, &links, &seen)? {
                        continue;
                    }
                    let others = links.iter().filter(|link| targets.contains(&link.connector()) && link.connector() != account.connector());
                    for target in others {
                        // An export that fails may be about anything: it has to be the one that would disable.
                        if self.stays_enabled(snapshot, *target, export)? {
                            let why = if export { "the export" } else { "the synchronization" };
                            failing.insert(
                                (*account, target.connector()),
                                (shut, format!("{why} of these people fails ({})", error.code.as_str()), *id),
                            );
                        }
                    }
                }
            }
        }
        let mut found: BTreeMap<(ConnectorId, ConnectorId, Shut, String, ConnectorId), Vec<CsId>> = BTreeMap::new();
        for ((account, target), (shut, why, place)) in failing {
            found.entry((account.connector(), target, shut, why, place)).or_default().push(account);
        }
        let mut told = Vec::new();
        for ((source, target, shut, why, place), accounts) in found {
            let names = names_of(snapshot, &accounts)?;
            let (source, target, place) = (self.name_of(source), self.name_of(target), self.name_of(place));
            let state = if shut == Shut::Gone { "gone from" } else { "disabled in" };
            let what = format!(
                "{} {state} {source} and still enabled in {target}, because {why}; disable them there by hand until it is put right: {names}",
                counted(accounts.len() as u64, "person is", "people are")
            );
            told.push(StillEnabled { source, what, command: format!("syncline errors '{place}'") });
        }
        for stop in stops {
            told.extend(self.behind_guard(snapshot, &directories, stop, &seen)?);
        }
        Ok(told)
    }

    /// The sentences, for people who look at problems.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn people_still_enabled(&self) -> Result<Vec<String>, ServiceError> {
        let found = self.still_enabled(&self.store.snapshot()?, &self.guard_stops()?)?;
        Ok(found.into_iter().map(|found| found.what).collect())
    }

    /// True for a connector whose accounts say who may sign in: no tenant, and others get something from it, be it that rules write to it,
    /// too.
    pub(super) fn is_directory(&self, rules: &RuleSet, id: ConnectorId) -> bool {
        !self.is_tenant(&self.name_of(id)) && (!rules.targets().contains(&id) || rules.is_source(id))
    }

    /// True when a person has another account that is there and enabled, as whoever has a disabled one in a forest of resources: then the
    /// target is right. `seen`: who is known to be disabled and was not read since.
    fn is_enabled_elsewhere(
        &self,
        snapshot: &Snapshot,
        directories: &BTreeSet<ConnectorId>,
        account: CsId,
        links: &[CsId],
        seen: &[CsId],
    ) -> Result<bool, ServiceError> {
        let others = links.iter().filter(|link| **link != account && !seen.contains(link) && directories.contains(&link.connector()));
        for other in others {
            let Some(object) = snapshot.cs_object(*other)? else { continue };
            let leaves = matches!(object.stage(Stage::PendingImport).kind, DeltaKind::Delete | DeltaKind::DeleteAdd);
            if !leaves && is_disabled(self.store.names(), &object, StageMask::IMPORTED) == Some(false) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Who is not disabled anywhere while a guard keeps a directory from being read.
    fn behind_guard(
        &self,
        snapshot: &Snapshot,
        directories: &BTreeSet<ConnectorId>,
        stop: &GuardStop,
        seen: &[CsId],
    ) -> Result<Option<StillEnabled>, ServiceError> {
        let Some(source) = self.connectors.iter().find(|(_, name)| **name == stop.connector).map(|(id, _)| *id) else { return Ok(None) };
        if stop.export || !directories.contains(&source) {
            return Ok(None);
        }
        let mut shut = Vec::new();
        for account in seen.iter().filter(|account| account.connector() == source) {
            let mv = snapshot.cs_link(*account)?.and_then(Link::mv);
            let links = mv.map(|mv| snapshot.mv_links(mv)).transpose()?.unwrap_or_default();
            if !self.is_enabled_elsewhere(snapshot, directories, *account, &links, seen)? {
                shut.push(*account);
            }
        }
        let who = match shut.as_slice() {
            [] => String::new(),
            some => format!("; already {}", names_of(snapshot, some)?),
        };
        let what = format!("while {stop}, whoever is disabled or deleted there stays enabled in the cloud{who}");
        Ok(Some(StillEnabled { source: stop.connector.clone(), what, command: stop.command.clone() }))
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
