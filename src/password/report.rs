//! What people ask about passwords: how one account stands, how many are covered, how the agent does, and whose cloud
//! password the first synchronization would overwrite. Reads the store and the rules; asks nobody.

use super::retry::FLAGGED;
use super::state::{self, DomainState, FullRequest, Held, PairState};
use crate::engine::belief::Belief;
use crate::engine::password::{NoRoute, Route, Routes};
use crate::model::{ConnectorId, CsId, Timestamp};
use crate::rules::{RuleSet, RunParameters};
use crate::store::{PasswordRecord, PasswordStatus, Snapshot, Store, StoreError};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Objects looked at in one go.
const PAGE: usize = 1_000;

/// Is shown one object after the other: name, number, route, record.
type Show<'s> = dyn FnMut(&str, CsId, Route, Option<PasswordRecord>) + 's;
/// The same, with the reason why it is not covered.
type ShowWanted<'s> = dyn FnMut(&str, CsId, Route, Option<PasswordRecord>, Option<&'static str>) + 's;

/// What the questions are answered from.
pub struct Views<'a> {
    /// The store.
    pub store: &'a Store,
    /// The rules.
    pub rules: &'a RuleSet,
    /// Parameters of rules, with the present time.
    pub run: &'a RunParameters,
    /// The target of each directory whose passwords are, or would be, synchronized.
    pub pairs: &'a BTreeMap<ConnectorId, ConnectorId>,
}

/// How one account stands. Times are in RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccountStatus {
    /// The account's number.
    pub id: String,
    /// Its name.
    pub dn: String,
    /// It takes part now.
    pub in_scope: bool,
    /// Why it does not, for machines.
    pub reason: Option<&'static str>,
    /// The same for people.
    pub reason_detail: Option<String>,
    /// The object that takes its password.
    pub target: Option<String>,
    /// The key that synchronization gave that object.
    pub source_anchor: Option<String>,
    /// The target's own key.
    pub cloud_anchor: Option<String>,
    /// The name under which the person signs in.
    pub sign_in_name: Option<String>,
    /// The rules with `password_sync` that it takes part by: inbound, outbound.
    pub rules: Vec<String>,
    /// What became of the last attempt; `None` when there was nothing to do yet.
    pub status: Option<&'static str>,
    /// The target's number for it.
    pub code: Option<i64>,
    /// The same in words.
    pub detail: Option<String>,
    /// When the password that was last seen was changed.
    pub changed: Option<String>,
    /// When the target last took a password.
    pub confirmed: Option<String>,
    /// What was seen last is what the target has.
    pub current: bool,
    /// When it was last tried.
    pub attempted: Option<String>,
    /// Attempts in vain.
    pub attempts: u32,
    /// When it is tried again.
    pub next_attempt: Option<String>,
    /// It was refused so often that somebody should look.
    pub flagged: bool,
}

/// How many accounts are covered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// Accounts whose password is wanted.
    pub in_scope: u64,
    /// Those of them whose present password the target has.
    pub confirmed: u64,
    /// The oldest of these confirmations.
    pub oldest_confirmation: Option<String>,
    /// The others, by reason.
    pub missing: BTreeMap<String, u64>,
}

/// An account that takes part and whose present password the target does not have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Uncovered {
    /// The account's number.
    pub id: String,
    /// Its name.
    pub dn: String,
    /// The name under which the person signs in, where the target confirmed one.
    pub sign_in_name: Option<String>,
    /// Why, as in [`Coverage::missing`].
    pub reason: &'static str,
    /// The same in words.
    pub detail: Option<String>,
    /// The target's number for it.
    pub code: Option<i64>,
    /// When it was last tried.
    pub attempted: Option<String>,
    /// When it is tried again; `None` when that takes a change of the account or of the tenant.
    pub next_attempt: Option<String>,
}

/// An account whose password in the target would be overwritten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Overwritten {
    /// The account's number.
    pub id: String,
    /// Its name.
    pub dn: String,
    /// The name under which the person signs in.
    pub sign_in_name: String,
    /// The target's own key.
    pub cloud_anchor: String,
    /// It was sent before: what is overwritten is an older one, or an administrator's.
    pub sent_before: bool,
}

/// How the agent does with one directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PairStatus {
    /// The directory's number.
    pub source: u16,
    /// The target's number.
    pub target: u16,
    /// Both sides were read and synchronized in full once.
    pub ready: bool,
    /// Why nothing is sent.
    pub held: Option<Held>,
    /// The same for people.
    pub held_detail: Option<String>,
    /// Why the directory as a whole cannot be asked.
    pub failure: Option<String>,
    /// When the last cycle ended.
    pub last_cycle: Option<String>,
    /// When the target last took a password.
    pub last_sent: Option<String>,
    /// When it last answered a sign of life.
    pub last_heartbeat: Option<String>,
    /// Why it did not, when that is later.
    pub heartbeat_failure: Option<String>,
    /// When a full synchronization was asked for that is not done.
    pub full_requested: Option<String>,
    /// Accounts with something to do, by the status of their last attempt.
    pub due: BTreeMap<&'static str, u64>,
    /// Accounts that are wanted and have nobody in the target yet who could take a password, by status.
    pub waiting: BTreeMap<&'static str, u64>,
    /// Accounts that were refused so often that somebody should look.
    pub flagged: u64,
    /// Its domains.
    pub domains: Vec<DomainStatus>,
}

impl PairStatus {
    /// When the tenant last heard from us: of a password, or of a sign of life, which is only sent where no password was. A time in the
    /// future, which a clock noted that was set back since, only where there is no other.
    pub fn last_sign_of_life(&self, now: Timestamp) -> Option<&str> {
        let signs = [&self.last_sent, &self.last_heartbeat].into_iter().flatten();
        signs.map(String::as_str).max_by_key(|sign| {
            let at = sign.parse::<jiff::Timestamp>().ok().map(|at| Timestamp(at.as_microsecond()));
            (at.is_some_and(|at| at <= now), at)
        })
    }

    /// How long ago that was, by the rule of [`Timestamp::since`].
    pub fn silence(&self, now: Timestamp) -> Option<Duration> {
        let last = self.last_sign_of_life(now)?.parse::<jiff::Timestamp>().ok()?;
        Some(now.since(Timestamp(last.as_microsecond())))
    }
}

/// How the reads of a domain go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DomainStatus {
    /// The domain.
    pub domain: String,
    /// There is a cookie: the next read is one of changes.
    pub has_cookie: bool,
    /// When it was last read to the end, which is the age of the cookie.
    pub last_read: Option<String>,
    /// When everything was last read.
    pub last_full: Option<String>,
    /// The server that answered.
    pub server: Option<String>,
    /// The server that is named first and why it did not answer, when another one had to.
    pub passed_over: Option<String>,
    /// What is wrong, and since when.
    pub failure: Option<String>,
    /// Since when.
    pub failing_since: Option<String>,
}

fn text(time: Option<Timestamp>) -> Option<String> {
    time.map(|time| time.to_jiff().to_string())
}

/// The account takes part, though its password cannot be sent yet. One that is not joined is not synchronized at all
/// (specification: sync engine 7.3).
fn is_in_scope(reason: &NoRoute) -> bool {
    reason.waits() && !matches!(reason, NoRoute::NotJoined)
}

/// What was seen last was taken, under the key that the target has now.
fn is_current(record: &PasswordRecord, cloud_anchor: &str) -> bool {
    record.status == PasswordStatus::Success
        && record.sent.as_ref().is_some_and(|sent| sent.cloud_anchor == cloud_anchor && record.seen.is_none_or(|seen| seen == sent.stamp))
}

fn is_flagged(record: &PasswordRecord) -> bool {
    record.status == PasswordStatus::Error && record.attempts >= FLAGGED
}

impl Views<'_> {
    fn routes(&self) -> Routes<'_> {
        Routes::new(self.store.names(), self.rules, self.run, self.pairs)
    }

    /// How one account stands; `None` when there is no such object.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn account(&self, id: CsId) -> Result<Option<AccountStatus>, StoreError> {
        let snapshot = self.store.snapshot()?;
        let Some(object) = snapshot.cs_object(id)? else { return Ok(None) };
        let route = self.routes().of(&snapshot, id)?;
        let record = snapshot.password(id)?;
        let (destination, reason) = match route {
            Route::Open(destination) => (Some(destination), None),
            Route::Closed(reason) => (None, Some(reason)),
        };
        let known = record.as_ref();
        let sent = known.and_then(|record| record.sent.as_ref());
        Ok(Some(AccountStatus {
            id: id.to_string(),
            dn: object.dn.to_string(),
            in_scope: reason.as_ref().is_none_or(is_in_scope),
            reason: reason.as_ref().map(NoRoute::as_str),
            reason_detail: reason.as_ref().map(ToString::to_string),
            target: destination.as_ref().map(|destination| destination.target.to_string()),
            source_anchor: destination.as_ref().map(|destination| destination.source_anchor.clone()),
            sign_in_name: destination.as_ref().map(|destination| destination.sign_in_name.clone()),
            rules: destination
                .iter()
                .flat_map(|destination| destination.rules)
                .filter_map(|id| self.rules.rule(id))
                .map(|rule| rule.name.clone())
                .collect(),
            status: known.map(|record| record.status.as_str()),
            code: known.and_then(|record| record.code),
            detail: known.map(|record| record.detail.clone()).filter(|detail| !detail.is_empty()),
            changed: text(known.and_then(|record| record.seen).and_then(|seen| seen.changed)),
            confirmed: text(sent.map(|sent| sent.at)),
            current: known.zip(destination.as_ref()).is_some_and(|(record, destination)| is_current(record, &destination.cloud_anchor)),
            attempted: text(known.and_then(|record| record.attempted)),
            attempts: known.map_or(0, |record| record.attempts),
            next_attempt: text(known.and_then(|record| record.next)),
            flagged: known.is_some_and(is_flagged),
            cloud_anchor: destination.map(|destination| destination.cloud_anchor),
        }))
    }

    /// How many accounts of all directories are covered; with `suffix` only those that sign in under this domain.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn coverage(&self, suffix: Option<&str>) -> Result<Coverage, StoreError> {
        let (mut coverage, mut oldest) = (Coverage::default(), None::<Timestamp>);
        self.wanted(suffix, &mut |_, _, _, record, missing| {
            coverage.in_scope += 1;
            if let Some(missing) = missing {
                *coverage.missing.entry(missing.to_owned()).or_default() += 1;
            } else {
                coverage.confirmed += 1;
                let at = record.and_then(|record| record.sent).map(|sent| sent.at);
                oldest = oldest.into_iter().chain(at).min();
            }
        })?;
        coverage.oldest_confirmation = text(oldest);
        Ok(coverage)
    }

    /// The accounts behind the numbers of [`Self::coverage`] that are not covered, in the order of their numbers; with
    /// `reason` only those of this one.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn uncovered(&self, suffix: Option<&str>, reason: Option<&str>) -> Result<Vec<Uncovered>, StoreError> {
        let mut found = Vec::new();
        self.wanted(suffix, &mut |dn, id, route, record, missing| {
            let Some(missing) = missing.filter(|missing| reason.is_none_or(|reason| reason.eq_ignore_ascii_case(missing))) else { return };
            let (sign_in_name, closed) = match route {
                Route::Open(destination) => (Some(destination.sign_in_name).filter(|name| !name.is_empty()), None),
                Route::Closed(closed) => (None, Some(closed.to_string())),
            };
            let known = record.as_ref();
            found.push(Uncovered {
                id: id.to_string(),
                dn: dn.to_owned(),
                sign_in_name,
                reason: missing,
                detail: closed.or_else(|| known.map(|record| record.detail.clone()).filter(|detail| !detail.is_empty())),
                code: known.and_then(|record| record.code),
                attempted: text(known.and_then(|record| record.attempted)),
                next_attempt: text(known.and_then(|record| record.next)),
            });
        })?;
        Ok(found)
    }

    /// Shows every account whose password is wanted, with the reason why the target does not have its present one.
    fn wanted(&self, suffix: Option<&str>, show: &mut ShowWanted<'_>) -> Result<(), StoreError> {
        let suffix = suffix.map(str::to_lowercase);
        self.each(&mut |dn, id, route, record| {
            let missing = match &route {
                Route::Open(destination) if suffix.as_ref().is_some_and(|suffix| destination.suffix() != *suffix) => return,
                Route::Open(destination) => match &record {
                    Some(record) if is_current(record, &destination.cloud_anchor) => None,
                    Some(record) if record.attempted.is_some() || record.next.is_none() => Some(record.status.as_str()),
                    _ => Some("due"),
                },
                // Under which domain somebody will sign in is known when the target has confirmed it.
                Route::Closed(reason) if is_in_scope(reason) && suffix.is_none() => Some(reason.as_str()),
                Route::Closed(_) => return,
            };
            show(dn, id, route, record, missing);
        })
    }

    /// The accounts of a directory whose password in the target would be overwritten by a full synchronization that begins
    /// now: all that take part.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn overwritten(&self, source: ConnectorId) -> Result<Vec<Overwritten>, StoreError> {
        let mut found = Vec::new();
        self.each(&mut |dn, id, route, record| {
            if let Route::Open(destination) = route
                && id.connector() == source
            {
                found.push(Overwritten {
                    sent_before: record.is_some_and(|record| record.sent.is_some()),
                    id: id.to_string(),
                    dn: dn.to_owned(),
                    sign_in_name: destination.sign_in_name,
                    cloud_anchor: destination.cloud_anchor,
                });
            }
        })?;
        Ok(found)
    }

    /// How the agent does with each directory.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn agent(&self) -> Result<Vec<PairStatus>, StoreError> {
        let snapshot = self.store.snapshot()?;
        self.pairs.iter().map(|(source, target)| pair_status(&snapshot, *source, *target, true)).collect()
    }

    /// The same without counting accounts, which costs nothing however many there are.
    pub fn agent_uncounted(&self) -> Result<Vec<PairStatus>, StoreError> {
        let snapshot = self.store.snapshot()?;
        self.pairs.iter().map(|(source, target)| pair_status(&snapshot, *source, *target, false)).collect()
    }

    /// Shows every object of the directories with its route and record.
    fn each(&self, show: &mut Show<'_>) -> Result<(), StoreError> {
        let routes = self.routes();
        for source in self.pairs.keys() {
            let mut after = None;
            loop {
                let snapshot = self.store.snapshot()?;
                let objects = snapshot.cs_scan(*source, after, PAGE)?;
                let Some(last) = objects.last() else { break };
                after = Some(last.id);
                let look = |id: CsId| Ok::<_, StoreError>((routes.of(&snapshot, id)?, snapshot.password(id)?));
                let looked: Vec<_> = objects.par_iter().map(|object| look(object.id)).collect();
                for (object, looked) in objects.iter().zip(looked) {
                    let (route, record) = looked?;
                    show(&object.dn, object.id, route, record);
                }
            }
        }
        Ok(())
    }
}

fn pair_status(snapshot: &Snapshot, source: ConnectorId, target: ConnectorId, count: bool) -> Result<PairStatus, StoreError> {
    let kept = PairState::read(snapshot, source, target)?;
    let (mut due, mut waiting, mut flagged, mut after) = (BTreeMap::new(), BTreeMap::new(), 0, None);
    loop {
        let page = if count { snapshot.passwords(source, after, PAGE)? } else { Vec::new() };
        let Some((last, _)) = page.last() else { break };
        after = Some(*last);
        for (_, record) in page {
            flagged += u64::from(is_flagged(&record));
            if record.next.is_some() {
                let counted = if record.routed { &mut due } else { &mut waiting };
                *counted.entry(record.status.as_str()).or_default() += 1;
            }
        }
    }
    let domain = |domain: &String| {
        let kept = DomainState::read(snapshot, source, domain)?;
        Ok::<_, StoreError>(DomainStatus {
            domain: domain.clone(),
            has_cookie: state::cookie(snapshot, source, domain)?.is_some(),
            last_read: text(state::time(kept.last_read)),
            last_full: text(state::time(kept.last_full)),
            server: Some(kept.server).filter(|server| !server.is_empty()),
            passed_over: kept.passed_over,
            failing_since: text(kept.failure.as_ref().map(|failure| Timestamp(failure.since))),
            failure: kept.failure.map(|failure| failure.message),
        })
    };
    Ok(PairStatus {
        source: source.0,
        target: target.0,
        ready: kept.ready && kept.believed == [Belief::of(snapshot, source)?.number, Belief::of(snapshot, target)?.number],
        held: kept.held,
        held_detail: kept.held_detail,
        failure: kept.failure.map(|failure| failure.message),
        last_cycle: text(state::time(kept.last_cycle)),
        last_sent: text(state::time(kept.last_sent)),
        last_heartbeat: text(state::time(kept.last_heartbeat)),
        heartbeat_failure: kept.heartbeat_failure,
        full_requested: text(FullRequest::read(snapshot, source)?.map(|full| Timestamp(full.requested))),
        due,
        waiting,
        flagged,
        domains: kept.domains.iter().map(domain).collect::<Result<_, _>>()?,
    })
}

impl std::fmt::Debug for Views<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Views").field("pairs", self.pairs).finish_non_exhaustive()
    }
}
