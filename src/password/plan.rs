//! From what a directory told, or from what moved in the store, to accounts that go out and records that change.
//! Reads the store and writes nothing.

use super::decision::{self, Action, Terms};
use super::hand::Hand;
use super::outcome::{Planned, unread};
use super::retry;
use super::shared::{Believed, Shared, domain_of};
use crate::connector::{PasswordChange, PasswordPage};
use crate::engine::password::{Route, is_disabled};
use crate::model::{Anchor, ConnectorId, CsId, StageMask, Timestamp};
use crate::store::{ChangeSet, PasswordRecord, PasswordStamp, PasswordStatus, Snapshot, StoreError};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Objects looked at in one go.
pub(super) const PAGE: usize = 1_000;

/// What a page of a directory comes to.
#[derive(Default)]
pub(super) struct PagePlan {
    /// Accounts that go out.
    pub(super) ready: Vec<Planned>,
    /// Accounts to be read, since only the time of their last change came.
    pub(super) reads: Vec<Anchor>,
    /// Records that change without anything being sent.
    pub(super) records: Vec<(CsId, PasswordRecord)>,
    /// Accounts of which only the time of the last change moved.
    pub(super) only_time: u64,
    /// Accounts that could not be read: name and reason.
    pub(super) failed: Vec<(String, String)>,
}

/// Judges a page. What is on its way counts like what is noted. Nothing when the spaces are not the ones any more that the pass
/// began with.
pub(super) fn page(
    shared: &Shared,
    source: ConnectorId,
    page: PasswordPage,
    hand: &Hand,
    terms: Terms,
    seed: u64,
    believed: Believed,
) -> Result<Option<PagePlan>, StoreError> {
    let PasswordPage { changes, rejects, .. } = page;
    let snapshot = shared.store.snapshot()?;
    if !believed.holds(&snapshot)? {
        return Ok(None);
    }
    let known_of = |account| match hand.record(account) {
        Some(record) => Ok(Some(record.clone())),
        None => snapshot.password(account),
    };
    let mut plan = PagePlan::default();
    let known: Vec<(CsId, PasswordChange)> = {
        let mut known = Vec::with_capacity(changes.len());
        for change in merged(changes) {
            if let Some(account) = snapshot.cs_by_anchor(source, change.anchor.as_bytes())? {
                known.push((account, change));
            }
        }
        known
    };
    let judged: Vec<Result<_, StoreError>> = shared.routes(terms.now, |routes| {
        known
            .into_par_iter()
            .map(|(account, change)| {
                let route = routes.of(&snapshot, account)?;
                let before = known_of(account)?;
                let change = known_disabled(shared, &snapshot, account, change, before.as_ref())?;
                let (after, action) = decision::decide(&change, &route, before.as_ref(), terms);
                Ok((account, change, route, before, after, action))
            })
            .collect()
    });
    for judged in judged {
        let (account, change, route, before, after, action) = judged?;
        let PasswordChange { anchor, dn, hash, changed, version, .. } = change;
        plan.only_time += u64::from(hash.is_none() && matches!(route, Route::Open(_)) && !terms.asked);
        match (action, route, hash.flatten(), after) {
            (Action::Send { force_change }, Route::Open(destination), Some(hash), Some(record)) => {
                let stamp = PasswordStamp { changed, version };
                if hand.has(account, stamp, force_change, &destination) {
                    continue;
                }
                plan.ready.push(Planned { account, dn, destination, stamp, hash, force_change, record });
            }
            (action, _, _, after) => {
                if action == Action::Read {
                    plan.reads.push(anchor);
                }
                plan.records.extend(after.filter(|after| before.as_ref() != Some(after)).map(|after| (account, after)));
            }
        }
    }
    for (anchor, reason) in rejects {
        let Some(account) = snapshot.cs_by_anchor(source, anchor.as_bytes())? else { continue };
        let dn = snapshot.cs_object(account)?.map(|object| object.dn.to_string()).unwrap_or_default();
        let before = known_of(account)?;
        let attempts = before.as_ref().map_or(0, |record| record.attempts) + 1;
        let jitter = retry::jitter(seed, account, attempts);
        plan.records.push((account, unread(before, PasswordStatus::Error, &reason, terms.now, jitter)));
        plan.failed.push((dn, reason));
    }
    Ok(Some(plan))
}

/// What a synchronization has read already is no news: whether a disabled account gets passwords is the rules' affair from then on.
fn known_disabled(
    shared: &Shared,
    snapshot: &Snapshot,
    account: CsId,
    change: PasswordChange,
    before: Option<&PasswordRecord>,
) -> Result<PasswordChange, StoreError> {
    if !change.disabled.unwrap_or_else(|| before.is_some_and(|before| before.disabled)) {
        return Ok(change);
    }
    let object = snapshot.cs_object(account)?;
    // Where the attribute is not imported, no cycle will ever read it.
    let known = object.is_none_or(|object| is_disabled(shared.store.names(), &object, StageMask::BASE) != Some(false));
    Ok(PasswordChange { disabled: Some(!known), ..change })
}

/// Each account once, with the newest of what was told of it.
fn merged(changes: Vec<PasswordChange>) -> Vec<PasswordChange> {
    let mut places: HashMap<Anchor, usize> = HashMap::with_capacity(changes.len());
    let mut merged: Vec<PasswordChange> = Vec::with_capacity(changes.len());
    for change in changes {
        let Some(place) = places.get(&change.anchor) else {
            places.insert(change.anchor.clone(), merged.len());
            merged.push(change);
            continue;
        };
        let known = &mut merged[*place];
        let stamp = |change: &PasswordChange| PasswordStamp { changed: change.changed, version: change.version };
        known.deleted |= change.deleted;
        known.disabled = change.disabled.or(known.disabled);
        if change.hash.is_none() {
            known.must_change = change.must_change.or(known.must_change);
        } else if known.hash.is_none() || !decision::older(stamp(&change), stamp(known)) {
            let must_change = change.must_change.or(known.must_change);
            let (deleted, disabled) = (known.deleted, known.disabled);
            *known = PasswordChange { must_change, disabled, deleted, ..change };
        }
    }
    merged
}

/// Looks at the routes of accounts anew and adds the records that change.
fn look(shared: &Shared, snapshot: &Snapshot, accounts: &[CsId], now: Timestamp, changes: &mut ChangeSet) -> Result<(), StoreError> {
    let looked: Vec<Result<_, StoreError>> = shared.routes(now, |routes| {
        let judge = |account: &CsId| {
            let route = routes.of(snapshot, *account)?;
            let record = snapshot.password(*account)?;
            Ok(decision::look(&route, record.as_ref(), now).map(|record| (*account, Some(record))))
        };
        accounts.par_iter().map(judge).collect()
    });
    for found in looked {
        // An object that is gone took its record along.
        let Some((account, record)) = found? else { continue };
        if snapshot.cs_link(account)?.is_some() {
            changes.passwords.push((account, record));
        }
    }
    Ok(())
}

/// Looks at what moved in the watched spaces. Work is proportional to what moved; committed page by page.
pub(super) fn follow_moves(shared: &Shared, spaces: &BTreeSet<ConnectorId>, now: Timestamp) -> Result<(), StoreError> {
    for space in spaces {
        let mut after = None;
        loop {
            let snapshot = shared.store.snapshot()?;
            let moved = snapshot.moved(*space, after, PAGE)?;
            let Some((last, _)) = moved.last() else { break };
            after = Some(*last);
            let accounts = shared.routes(now, |routes| {
                let mut accounts = BTreeSet::new();
                for (object, _) in &moved {
                    accounts.extend(routes.concerned(&snapshot, *object)?);
                }
                Ok::<_, StoreError>(accounts.into_iter().collect::<Vec<_>>())
            })?;
            let mut changes = ChangeSet::new();
            look(shared, &snapshot, &accounts, now, &mut changes)?;
            changes.moved_seen = moved;
            shared.store.apply(changes)?;
        }
    }
    Ok(())
}

/// Looks at every account of a directory: at the first start, and after rules changed.
pub(super) fn look_at_all(shared: &Shared, source: ConnectorId, now: Timestamp) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let snapshot = shared.store.snapshot()?;
        let accounts: Vec<CsId> = snapshot.cs_scan(source, after, PAGE)?.iter().map(|object| object.id).collect();
        let Some(last) = accounts.last() else { return Ok(()) };
        after = Some(*last);
        let mut changes = ChangeSet::new();
        look(shared, &snapshot, &accounts, now, &mut changes)?;
        shared.store.apply(changes)?;
    }
}

/// Makes accounts with temporary passwords due, when the target takes those from now on.
pub(super) fn wake_filtered(shared: &Shared, source: ConnectorId, now: Timestamp) -> Result<(), StoreError> {
    let snapshot = shared.store.snapshot()?;
    let mut after = None;
    loop {
        let page = snapshot.passwords(source, after, PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(*last);
        let filtered = page.into_iter().filter(|(_, record)| record.status == PasswordStatus::FilteredByTarget && record.routed);
        let passwords = filtered.map(|(account, record)| (account, Some(PasswordRecord { next: Some(now), ..record }))).collect();
        shared.store.apply(ChangeSet { passwords, ..ChangeSet::new() })?;
    }
}

/// What a directory's accounts have to do now.
#[derive(Default)]
pub(super) struct Due {
    /// By position of the domain: the keys of the accounts, those first that wait longest.
    pub(super) anchors: BTreeMap<usize, Vec<Anchor>>,
    /// Accounts that take part.
    pub(super) in_scope: usize,
}

/// Accounts with something to do, those first that wait longest, behind `after`: what was due at `began`, and what waits for a time that
/// a clock noted which was ahead.
fn due_page(
    snapshot: &Snapshot,
    source: ConnectorId,
    (began, now): (Timestamp, Timestamp),
    after: Option<(Timestamp, CsId)>,
) -> Result<Vec<(Timestamp, CsId)>, StoreError> {
    let rows = snapshot.passwords_due(source, began, after, PAGE)?;
    if rows.is_empty() { snapshot.passwords_later(source, retry::after(now, retry::LONGEST), after, PAGE) } else { Ok(rows) }
}

/// Finds the accounts that are due, after looking again at those that wait for their way to open.
pub(super) fn due(shared: &Shared, source: ConnectorId, domains: &[String], now: Timestamp) -> Result<Due, StoreError> {
    let mut found = Due::default();
    let mut after = None;
    loop {
        let snapshot = shared.store.snapshot()?;
        let rows = due_page(&snapshot, source, (now, now), after)?;
        let Some(last) = rows.last() else { break };
        after = Some(*last);
        let mut waiting = Vec::new();
        for (_, account) in rows {
            match snapshot.password(account)? {
                Some(record) if decision::is_put_off(&record, now) => {}
                Some(record) if record.routed => add(&mut found, &snapshot, account, domains)?,
                Some(_) => waiting.push(account),
                None => {}
            }
        }
        if waiting.is_empty() {
            continue;
        }
        let mut changes = ChangeSet::new();
        look(shared, &snapshot, &waiting, now, &mut changes)?;
        for account in waiting {
            match changes.passwords.iter().find(|(id, _)| *id == account) {
                Some((_, Some(record))) if record.routed => add(&mut found, &snapshot, account, domains)?,
                Some(_) => {}
                None => {
                    // It waits on: `look` leaves a time alone that lies before it.
                    let Some(record) = snapshot.password(account)? else { continue };
                    let record = PasswordRecord { next: Some(retry::after(now, retry::WAITING)), ..record };
                    changes.passwords.push((account, Some(record)));
                }
            }
        }
        shared.store.apply(changes)?;
    }
    let mut after = None;
    let snapshot = shared.store.snapshot()?;
    if found.anchors.values().any(|anchors| anchors.len() >= super::agent::FULL_READ_FLOOR) {
        loop {
            let page = snapshot.passwords(source, after, PAGE)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            found.in_scope += page.iter().filter(|(_, record)| record.routed).count();
        }
    }
    Ok(found)
}

fn add(due: &mut Due, snapshot: &Snapshot, account: CsId, domains: &[String]) -> Result<(), StoreError> {
    let Some(object) = snapshot.cs_object(account)? else { return Ok(()) };
    let Some(anchor) = object.anchor else { return Ok(()) };
    match domain_of(&object.dn, domains) {
        Some(domain) => due.anchors.entry(domain).or_default().push(anchor),
        // Nobody can tell where it is, so every domain is asked: they leave out what they do not have.
        None => (0..domains.len()).for_each(|domain| due.anchors.entry(domain).or_default().push(anchor.clone())),
    }
    Ok(())
}

/// Puts off the accounts of a domain that were due at the beginning of a read and that the directory did not give.
pub(super) fn put_off_missed(
    shared: &Shared,
    source: ConnectorId,
    domain: (&str, &[String]),
    began: Timestamp,
    now: Timestamp,
    seed: u64,
) -> Result<u64, StoreError> {
    const DETAIL: &str = "the directory did not give it; it may be on its way there from another server";
    let (mut after, mut count) = (None, 0);
    loop {
        let snapshot = shared.store.snapshot()?;
        let rows = due_page(&snapshot, source, (began, now), after)?;
        let Some(last) = rows.last() else { return Ok(count) };
        after = Some(*last);
        let mut changes = ChangeSet::new();
        for (_, account) in rows {
            let (Some(record), Some(object)) = (snapshot.password(account)?, snapshot.cs_object(account)?) else { continue };
            let here = domain_of(&object.dn, domain.1).is_none_or(|index| domain.1[index] == domain.0);
            if !record.routed || !here || decision::is_put_off(&record, now) {
                continue;
            }
            let jitter = retry::jitter(seed, account, record.attempts + 1);
            let put_off = unread(Some(record), PasswordStatus::SourceConnectorNotPresent, DETAIL, now, jitter);
            changes.passwords.push((account, Some(put_off)));
            count += 1;
        }
        shared.store.apply(changes)?;
    }
}

/// Notes accounts that took part and whose changes were passed over just now: they are read when they come back.
pub(super) fn leave(shared: &Shared, accounts: &[CsId], now: Timestamp, changes: &mut ChangeSet) -> Result<(), StoreError> {
    let snapshot = shared.store.snapshot()?;
    for account in accounts {
        let Some(record) = snapshot.password(*account)? else { continue };
        let route = shared.routes(now, |routes| routes.of(&snapshot, *account))?;
        let left = match decision::look(&route, Some(&record), now) {
            // Back already: read at once.
            None if matches!(route, Route::Open(_)) => PasswordRecord { next: Some(now), ..record },
            None => PasswordRecord { routed: false, ..record },
            Some(left) => left,
        };
        changes.passwords.push((*account, Some(left)));
    }
    Ok(())
}
