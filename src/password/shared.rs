//! What all parts of the agent work with: the store, the rules, and whoever hears events.

use crate::connector::{PasswordSource, PasswordTarget};
use crate::engine::belief::Belief;
use crate::engine::password::{Route, Routes, is_synchronized};
use crate::events::{EventSink, PasswordEvent};
use crate::model::{ConnectorId, CsId, Dn, Timestamp};
use crate::rules::{RuleSet, RunParameters};
use crate::store::{ChangeSet, Snapshot, Store, StoreError};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use xxhash_rust::xxh3::xxh3_64;

/// A directory whose passwords go to a target.
#[derive(Clone)]
pub struct Pair {
    /// The directory.
    pub source: ConnectorId,
    /// Its name.
    pub source_name: String,
    /// The way to its passwords.
    pub reader: Arc<dyn PasswordSource>,
    /// The target.
    pub target: ConnectorId,
    /// Its name.
    pub target_name: String,
    /// The way to it.
    pub sender: Arc<dyn PasswordTarget>,
}

/// How often both sides of a pair had been distrusted when work on it began. Distrusted since, the spaces may be about something
/// else, another tenant even: nothing more is judged by them, sent or noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Believed {
    source: ConnectorId,
    target: ConnectorId,
    numbers: [u64; 2],
}

impl Believed {
    /// How far a pair is believed now, and which of its sides have to be read and synchronized in full before any password is sent: in a
    /// round, for everybody, or for one account alone.
    pub(super) fn look(snapshot: &Snapshot, pair: &Pair) -> Result<(Self, Vec<Unread>), StoreError> {
        let mut numbers = [0; 2];
        let mut unread = Vec::new();
        for (number, (connector, name)) in numbers.iter_mut().zip([(pair.source, &pair.source_name), (pair.target, &pair.target_name)]) {
            let belief = Belief::of(snapshot, connector)?;
            *number = belief.number;
            if belief.doubt.is_some() || !is_synchronized(snapshot, connector)? {
                unread.push(Unread { name: name.clone(), reason: belief.reason() });
            }
        }
        Ok((Self::since(pair, numbers), unread))
    }

    /// What somebody has to remember of it.
    pub(super) fn numbers(self) -> [u64; 2] {
        self.numbers
    }

    /// As somebody remembers it.
    pub(super) fn since(pair: &Pair, numbers: [u64; 2]) -> Self {
        Self { source: pair.source, target: pair.target, numbers }
    }

    /// True when neither was distrusted since.
    pub(super) fn holds(self, snapshot: &Snapshot) -> Result<bool, StoreError> {
        Ok(self.numbers == [Belief::of(snapshot, self.source)?.number, Belief::of(snapshot, self.target)?.number])
    }
}

/// A side of a pair that was not read and synchronized in full, or not since it was distrusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// Its name.
    pub name: String,
    /// Why what was read before counts no more; nothing: nothing was read yet.
    pub reason: Option<String>,
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = self.reason.as_deref().unwrap_or("no full import and full synchronization of it came to an end yet");
        write!(f, "{} has to be read as a whole before any password is sent, because {reason}", self.name)
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").field("source", &self.source_name).field("target", &self.target_name).finish_non_exhaustive()
    }
}

/// What does not change while an agent lives.
pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) rules: Arc<RuleSet>,
    pub(super) parameters: RunParameters,
    pub(super) pairs: BTreeMap<ConnectorId, ConnectorId>,
    pub(super) events: Arc<dyn EventSink>,
}

impl Shared {
    /// Does something with routes as of one moment.
    pub(super) fn routes<T>(&self, now: Timestamp, work: impl FnOnce(&Routes<'_>) -> T) -> T {
        let run = RunParameters { now, ..self.parameters.clone() };
        work(&Routes::new(self.store.names(), &self.rules, &run, &self.pairs))
    }

    /// Stands for the rules and for what they read as `%Domain.FQDN%` and the like: with others, other accounts may take
    /// part.
    pub(super) fn mark(&self) -> u64 {
        xxh3_64(format!("{} {:?}", self.rules.fingerprint(), self.parameters.parameters).as_bytes())
    }

    /// Tells of something, after it is committed.
    pub(super) fn tell(&self, now: Timestamp, event: PasswordEvent) {
        self.events.event(now, &event.into());
    }

    /// Commits off the threads of the executor.
    pub(super) async fn apply(self: &Arc<Self>, changes: ChangeSet) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        let store = self.store.clone();
        off_thread(move || store.apply(changes)).await
    }

    /// Commits what came of work on a pair, unless a side of it was distrusted since that began: nothing is written then, and the
    /// answer is false.
    pub(super) async fn apply_believed(self: &Arc<Self>, believed: Believed, changes: ChangeSet) -> Result<bool, StoreError> {
        if changes.is_empty() {
            return Ok(true);
        }
        let store = self.store.clone();
        off_thread(move || {
            store.update(|snapshot| {
                let holds = believed.holds(snapshot)?;
                Ok((if holds { changes } else { ChangeSet::new() }, holds))
            })
        })
        .await
    }
}

/// Does what takes a while without holding up whoever else uses the executor.
pub(super) async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that is shutting down cancels such work, and then nobody waits for us either.
            Err(_) => std::future::pending().await,
        },
    }
}

/// How many accounts are judged by one view of the store: old pages are pinned no longer than that.
const USES: u32 = 512;

/// Says which accounts of a directory take part, as of now. Remembers those that do not and did when last looked at:
/// what happens to their passwords is not seen, so they are read when they come back.
pub(super) struct Judge {
    shared: Arc<Shared>,
    source: ConnectorId,
    now: Timestamp,
    view: Mutex<Option<(Snapshot, u32)>>,
    refused: Mutex<Vec<CsId>>,
    failure: Mutex<Option<StoreError>>,
}

impl Judge {
    pub(super) fn new(shared: Arc<Shared>, source: ConnectorId, now: Timestamp) -> Self {
        Self { shared, source, now, view: Mutex::default(), refused: Mutex::default(), failure: Mutex::default() }
    }

    /// True when the account with this key takes part.
    pub(super) fn wants(&self, anchor: &[u8]) -> bool {
        self.judge(anchor).unwrap_or_else(|error| {
            self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            false
        })
    }

    fn judge(&self, anchor: &[u8]) -> Result<bool, StoreError> {
        let mut slot = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        let (view, uses) = match slot.take().filter(|(_, uses)| *uses < USES) {
            Some(known) => known,
            None => (self.shared.store.snapshot()?, 0),
        };
        let (view, _) = slot.insert((view, uses + 1));
        let Some(account) = view.cs_by_anchor(self.source, anchor)? else { return Ok(false) };
        let wanted = matches!(self.shared.routes(self.now, |routes| routes.of(view, account))?, Route::Open(_));
        if !wanted && view.password(account)?.is_some_and(|record| record.routed) {
            self.refused.lock().unwrap_or_else(PoisonError::into_inner).push(account);
        }
        Ok(wanted)
    }

    /// The accounts that were refused and took part before; what went wrong with the store.
    pub(super) fn finish(&self) -> Result<Vec<CsId>, StoreError> {
        *self.view.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if let Some(error) = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(error);
        }
        Ok(std::mem::take(&mut *self.refused.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// The domain that holds an object, by its position: the longest whose name the object's name ends with. Domains are
/// known by distinguished names or by those of the DNS.
pub(super) fn domain_of(dn: &str, domains: &[String]) -> Option<usize> {
    if domains.len() == 1 {
        return Some(0);
    }
    let key = Dn::parse(dn).ok()?.key();
    let holds = |domain: &str| {
        let name = if domain.contains('=') { domain.to_owned() } else { format!("DC={}", domain.replace('.', ",DC=")) };
        Dn::parse(&name).ok().map(|name| (name.depth(), name.key())).filter(|(_, name)| key.is_within(name)).map(|(depth, _)| depth)
    };
    let found = domains.iter().enumerate().filter_map(|(index, domain)| holds(domain).map(|depth| (depth, index)));
    found.max().map(|(_, index)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_belong_to_the_nearest_domain() {
        let domains = ["corp.example", "DC=east,DC=corp,DC=example", "other.example"].map(str::to_owned);
        assert_eq!(domain_of("CN=a,OU=b,DC=Corp,DC=example", &domains), Some(0));
        assert_eq!(domain_of("CN=a,DC=east,DC=corp,DC=example", &domains), Some(1));
        assert_eq!(domain_of("CN=a,DC=west,DC=example", &domains), None);
        assert_eq!(domain_of("anything", &domains[..1]), Some(0));
    }
}
