//! What the agent keeps of itself between two looks: small records by connector, beside the accounts' own.

use crate::engine::belief::PASSWORDS;
use crate::model::{ConnectorId, Timestamp};
use crate::store::{ChangeSet, Kept, KeptState, Snapshot, Store, StoreError};
use serde::{Deserialize, Serialize};

/// Under this name a directory keeps how its passwords stand.
const PAIR: KeptState<PairState> = KeptState::new("password-agent");
/// Under this name a directory keeps that everything was asked for. Apart from the rest, since others write it than the
/// agent.
const FULL: KeptState<FullRequest> = KeptState::new("password-full");
/// Before the name of a domain: the cookie of the last complete read.
const COOKIE: &str = "password-cookie/";

/// Under the name of a domain a directory keeps how its reads went.
fn kept_of(domain: &str) -> KeptState<DomainState> {
    KeptState::named(format!("password-domain/{domain}"))
}

/// Why nothing is sent to a target for the time being.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Held {
    /// This installation only watches.
    Staging,
    /// The first full synchronization did not complete yet.
    NotSynchronized,
    /// Password hash synchronization is off in the tenant.
    SwitchedOff,
    /// Directory synchronization is off in the tenant.
    Disabled,
    /// Our own account is not accepted, or lacks a right.
    Denied,
    /// The target does not answer.
    Unreachable,
    /// Another installation writes to the target.
    AnotherInstallation,
    /// Another tenant answers than the one that runs have read.
    AnotherTenant,
}

/// A full synchronization that somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FullRequest {
    /// When, in microseconds.
    pub(super) requested: i64,
    /// The domains that are done.
    pub(super) done: Vec<String>,
}

/// How the passwords of one directory stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct PairState {
    /// The target that all this is about.
    pub(super) target: u16,
    /// The first full synchronization of both sides completed.
    pub(super) ready: bool,
    /// How often both sides had been distrusted then: distrusted since, they have to be read and synchronized again.
    pub(super) believed: [u64; 2],
    /// The rules and their parameters by which all accounts were looked at.
    pub(super) rules: Option<u64>,
    /// The target takes temporary passwords.
    pub(super) force_change: bool,
    /// Why nothing is sent, as it was told.
    pub(super) held: Option<Held>,
    /// The same in a sentence.
    pub(super) held_detail: Option<String>,
    /// The directory as a whole could not be asked, as it was told.
    pub(super) failure: Option<Failure>,
    /// The domains that the directory had when it was last asked.
    pub(super) domains: Vec<String>,
    /// When the last cycle ended.
    pub(super) last_cycle: Option<i64>,
    /// When the target last took a password.
    pub(super) last_sent: Option<i64>,
    /// When it last answered a sign of life.
    pub(super) last_heartbeat: Option<i64>,
    /// Why it did not, when that is later.
    pub(super) heartbeat_failure: Option<String>,
}

/// A problem that was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failure {
    /// Its kind.
    pub(super) kind: String,
    /// What happened.
    pub(super) message: String,
    /// Since when, in microseconds.
    pub(super) since: i64,
}

/// How the reads of one domain went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct DomainState {
    /// The problem of the last read.
    pub(super) failure: Option<Failure>,
    /// When it was last read completely, changes or everything.
    pub(super) last_read: Option<i64>,
    /// When everything was last read.
    pub(super) last_full: Option<i64>,
    /// The server that answered last.
    pub(super) server: String,
    /// The preferred server and why it did not answer, as it was told.
    pub(super) passed_over: Option<String>,
}

// What cannot be read begins anew in all of these: that costs a look at all accounts and no more.

impl PairState {
    /// How a directory stands towards a target; anew when it was another one.
    pub(super) fn read(snapshot: &Snapshot, source: ConnectorId, target: ConnectorId) -> Result<Self, StoreError> {
        let state = PAIR.read(snapshot, source)?.or_forgotten().unwrap_or_default();
        Ok(if state.target == target.0 { state } else { Self { target: target.0, ..Self::default() } })
    }

    /// Whoever has the agents' turn is the only one that writes it.
    pub(super) fn write(&self, changes: &mut ChangeSet, source: ConnectorId) -> Result<(), StoreError> {
        PAIR.put(changes, source, Some(self))
    }
}

impl FullRequest {
    pub(super) fn read(snapshot: &Snapshot, source: ConnectorId) -> Result<Option<Self>, StoreError> {
        Ok(FULL.read(snapshot, source)?.or_forgotten())
    }

    /// Asks for everything; whatever was asked for before is part of it.
    pub(super) fn ask(store: &Store, source: ConnectorId, now: Timestamp) -> Result<(), StoreError> {
        let asked = Self { requested: now.0, done: Vec::new() };
        FULL.update(store, source, |_| (Kept::Here(asked), ()))
    }

    /// Notes that a domain is done, unless somebody asked anew meanwhile; what is done in all of `domains` is over. True then.
    /// The other changes are written together with it.
    pub(super) fn done(
        store: &Store,
        source: ConnectorId,
        (requested, domain, domains): (Option<i64>, &str, &[String]),
        mut changes: ChangeSet,
    ) -> Result<bool, StoreError> {
        store.update(|snapshot| {
            let mut over = false;
            if let Some(mut request) = Self::read(snapshot, source)?.filter(|request| Some(request.requested) == requested) {
                request.done.push(domain.to_owned());
                over = domains.iter().all(|domain| request.done.contains(domain));
                FULL.put(&mut changes, source, Some(&request).filter(|_| !over))?;
            }
            Ok((changes, over))
        })
    }
}

impl DomainState {
    pub(super) fn read(snapshot: &Snapshot, source: ConnectorId, domain: &str) -> Result<Self, StoreError> {
        Ok(kept_of(domain).read(snapshot, source)?.or_forgotten().unwrap_or_default())
    }

    /// Whoever has the agents' turn is the only one that writes it.
    pub(super) fn write(&self, changes: &mut ChangeSet, source: ConnectorId, domain: &str) -> Result<(), StoreError> {
        kept_of(domain).put(changes, source, Some(self))
    }
}

/// The cookie of a domain's last complete read.
pub(super) fn cookie(snapshot: &Snapshot, source: ConnectorId, domain: &str) -> Result<Option<Vec<u8>>, StoreError> {
    snapshot.state(source, &format!("{COOKIE}{domain}"))
}

/// Keeps a cookie, together with whatever else the set holds.
pub(super) fn keep_cookie(changes: &mut ChangeSet, source: ConnectorId, domain: &str, cookie: Vec<u8>) {
    changes.states.push((source, format!("{COOKIE}{domain}"), Some(cookie)));
}

/// Forgets what the agent knows of passwords at a target, when that became another tenant: of every directory that sent there,
/// the places to read on from and what came of each account. Can be repeated after an interruption.
///
/// # Errors
/// When the store refuses.
pub fn forget_target(store: &Store, sources: &[ConnectorId], target: ConnectorId) -> Result<(), StoreError> {
    for source in sources {
        let snapshot = store.snapshot()?;
        let about = PAIR.read(&snapshot, *source)?.or_forgotten().map(|state| state.target);
        if about != Some(target.0) {
            continue;
        }
        let mut after = None;
        loop {
            let page = snapshot.passwords(*source, after, super::plan::PAGE)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            let passwords = page.into_iter().map(|(account, _)| (account, None)).collect();
            store.apply(ChangeSet { passwords, ..ChangeSet::new() })?;
        }
        // Last of all, since it says whose passwords these are.
        let mut changes = ChangeSet::new();
        let names = snapshot.state_names(*source)?.into_iter().filter(|name| name.starts_with(PASSWORDS));
        changes.states.extend(names.map(|name| (*source, name, None)));
        store.apply(changes)?;
    }
    Ok(())
}

/// A time from its microseconds.
pub(super) fn time(microseconds: Option<i64>) -> Option<Timestamp> {
    microseconds.map(Timestamp)
}
