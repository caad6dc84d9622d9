//! What to do about an account: from its record, its route and what the directory told. Pure, so that every row of the
//! tables of the specification can be held against it.

use super::retry::{self, WAITING};
use crate::connector::PasswordChange;
use crate::engine::password::{Destination, Missing, NoRoute, Route};
use crate::model::Timestamp;
use crate::store::{PasswordRecord, PasswordStamp, PasswordStatus};

/// What the decisions of one pass have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// The time of the pass.
    pub(super) now: Timestamp,
    /// The target takes temporary passwords.
    pub(super) force_change: bool,
    /// Everybody is sent who was not sent since; set in a full synchronization that somebody asked for.
    pub(super) full_since: Option<Timestamp>,
    /// Only what is known already is asked for: whoever has no hash in the answer has none.
    pub(super) asked: bool,
}

/// What follows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Nothing to send.
    Nothing,
    /// Only `pwdLastSet` changed, and that matters: the account has to be read.
    Read,
    /// The hash goes out, to be changed at the next sign-in or not.
    Send {
        /// It must be changed at the next sign-in.
        force_change: bool,
    },
}

/// What becomes of an account whose route was looked at; `None` when nothing changes.
pub(super) fn look(route: &Route, record: Option<&PasswordRecord>, now: Timestamp) -> Option<PasswordRecord> {
    match route {
        Route::Open(destination) => {
            let settled = record.filter(|record| record.routed).is_some_and(|record| match &record.sent {
                Some(sent) => same_account(sent, destination),
                // It is on its way already, or was found to have nothing to send. Whom the target did not know may be known now.
                None => record.status != PasswordStatus::TargetNotExportedToDirectory,
            });
            if settled {
                return None;
            }
            let known = record.cloned().unwrap_or_else(|| PasswordRecord::new(PasswordStatus::Unknown));
            let detail = "waits to be read from the directory".to_owned();
            Some(PasswordRecord { routed: true, attempts: 0, next: Some(now), code: None, detail, ..known })
        }
        Route::Closed(reason) => close(reason, record, now),
    }
}

/// True when the next attempt is to be waited for. A time further ahead than anything is put off was noted by a clock that was set back
/// since, and is due, unless the target asked for so long, and did so at a time that is over.
pub(super) fn is_put_off(record: &PasswordRecord, now: Timestamp) -> bool {
    let asked = || record.status == PasswordStatus::RetryRequestedByTarget && record.attempted.is_some_and(|at| at <= now);
    record.next.is_some_and(|next| next > now && (next <= retry::after(now, retry::LONGEST) || asked()))
}

fn close(reason: &NoRoute, record: Option<&PasswordRecord>, now: Timestamp) -> Option<PasswordRecord> {
    let waits = reason.waits();
    let known = match record {
        Some(record) => record.clone(),
        None if waits => PasswordRecord::new(reason.status()),
        // Whoever never took part needs no record.
        None => return None,
    };
    // Looked at again now and then for as long as it is wanted (specification: sync engine 7.5, first row).
    let next = waits.then(|| known.next.filter(|_| is_put_off(&known, now)).unwrap_or_else(|| retry::after(now, WAITING)));
    // Meanwhile another account's password may get there, or an administrator's: what was sent does not count when it
    // comes back.
    let gone = !waits || matches!(reason, NoRoute::NoTarget | NoRoute::NotExported { missing: Missing::Leaving, .. });
    let sent = known.sent.clone().filter(|_| !gone);
    let closed =
        PasswordRecord { status: reason.status(), routed: false, attempts: 0, next, code: None, detail: reason.to_string(), sent, ..known };
    (Some(&closed) != record).then_some(closed)
}

/// True when the last success went to this object, under this key and this domain.
fn same_account(sent: &crate::store::PasswordSent, destination: &Destination) -> bool {
    sent.cloud_anchor == destination.cloud_anchor && sent.suffix == destination.suffix()
}

/// The change that a directory told of; `None` when it does not count them.
fn stamp_of(change: &PasswordChange) -> Option<PasswordStamp> {
    let stamp = PasswordStamp { changed: change.changed, version: change.version };
    (stamp != PasswordStamp::default()).then_some(stamp)
}

/// True when one change is certainly older than another of the same account. A lower number with a later time is none: the
/// account came from another domain, or its domain from a backup, and counting began anew. Times count in whole seconds,
/// since some ways to read a directory know no others.
pub(super) fn older(one: PasswordStamp, other: PasswordStamp) -> bool {
    let times = one.changed.map(Timestamp::seconds).zip(other.changed.map(Timestamp::seconds));
    match (one.version, other.version) {
        (Some(one), Some(other)) if one != other => one < other && times.is_none_or(|(one, other)| one <= other),
        _ => times.is_some_and(|(one, other)| one < other),
    }
}

/// What to do with what the directory told of an account, and the record that comes of it.
pub(super) fn decide(
    change: &PasswordChange,
    route: &Route,
    record: Option<&PasswordRecord>,
    terms: Terms,
) -> (Option<PasswordRecord>, Action) {
    let now = terms.now;
    let destination = match route {
        _ if change.deleted => return (close(&NoRoute::NotPresent, record, now), Action::Nothing),
        Route::Closed(reason) => return (close(reason, record, now), Action::Nothing),
        Route::Open(destination) => destination,
    };
    let mut next = look(route, record, now).or_else(|| record.cloned()).unwrap_or_else(|| PasswordRecord::new(PasswordStatus::Unknown));
    let knew = next.must_change;
    let force_change = change.must_change.unwrap_or(knew);
    next.must_change = force_change;
    let was_disabled = next.disabled;
    next.disabled = change.disabled.unwrap_or(was_disabled);
    let settle = |record: PasswordRecord, status, detail: &str| PasswordRecord {
        status,
        attempts: 0,
        next: None,
        code: None,
        detail: detail.to_owned(),
        ..record
    };
    let Some(hash) = &change.hash else {
        if terms.asked {
            let detail = "the directory tells nothing of a password";
            return (Some(settle(next, PasswordStatus::MissingAttribute, detail)), Action::Nothing);
        }
        let matters = force_change != knew
            || next.status == PasswordStatus::FilteredByTarget && !force_change
            || was_disabled && !next.disabled && next.next.is_some();
        if matters {
            next.next = Some(now);
            next.attempts = 0;
        }
        return (Some(next), if matters { Action::Read } else { Action::Nothing });
    };
    let stamp = stamp_of(change);
    if let (Some(stamp), Some(seen)) = (stamp, next.seen)
        && older(stamp, seen)
    {
        // A replica that is behind. What is newer was sent, or comes.
        let shut = record.filter(|record| record.disabled != next.disabled);
        return (shut.map(|record| PasswordRecord { disabled: next.disabled, ..record.clone() }), Action::Nothing);
    }
    let news = stamp.is_none_or(|stamp| next.seen != Some(stamp));
    next.seen = stamp.or(next.seen);
    if hash.is_none() {
        return (Some(settle(next, PasswordStatus::MissingAttribute, "the account has no password")), Action::Nothing);
    }
    if force_change && !terms.force_change {
        let detail = "a temporary password, and the tenant does not take those";
        return (Some(settle(next, PasswordStatus::FilteredByTarget, detail)), Action::Nothing);
    }
    if let Some(since) = terms.full_since {
        // Also for those that fail now and are tried again when the full synchronization is over. Asked for by a clock that was ahead, it
        // is for everybody.
        next.sent.take_if(|sent| sent.at.is_before(since, now));
    }
    let sent =
        next.sent.as_ref().filter(|sent| same_account(sent, destination) && stamp == Some(sent.stamp) && sent.force_change == force_change);
    if sent.is_some() {
        return (Some(settle(next, PasswordStatus::Success, "")), Action::Nothing);
    }
    if next.disabled {
        // Whoever was shut out a moment ago must not get a password that works before the next cycle shuts the account there, too.
        let detail = "the account was disabled: nothing is sent until a cycle has read that";
        let put_off =
            PasswordRecord { next: Some(retry::after(now, WAITING)), ..settle(next, PasswordStatus::SourceConnectorNotPresent, detail) };
        return (Some(put_off), Action::Nothing);
    }
    if news {
        next.attempts = 0;
    } else if !terms.asked && is_put_off(&next, now) {
        // Known, and to be tried again later.
        return (Some(next), Action::Nothing);
    }
    (Some(next), Action::Send { force_change })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Anchor, ConnectorId, CsId, MvId, RuleId};
    use crate::password::hash::NtHash;
    use crate::store::PasswordSent;

    const NOW: Timestamp = Timestamp(1_000);
    const TERMS: Terms = Terms { now: NOW, force_change: false, full_since: None, asked: false };

    fn destination(anchor: &str, name: &str) -> Route {
        Route::Open(Destination {
            target: CsId::new(ConnectorId(3), 1),
            metaverse: MvId(1),
            source_anchor: "x".to_owned(),
            cloud_anchor: anchor.to_owned(),
            sign_in_name: name.to_owned(),
            rules: [RuleId(1), RuleId(2)],
        })
    }

    fn route() -> Route {
        destination("User_1", "a@x.example")
    }

    fn change(version: u32) -> PasswordChange {
        PasswordChange {
            anchor: Anchor::new(&b"1"[..]),
            dn: "CN=a".to_owned(),
            hash: Some(Some(NtHash::new([1; 16]))),
            changed: Some(Timestamp(i64::from(version))),
            version: Some(version),
            must_change: Some(false),
            disabled: None,
            deleted: false,
        }
    }

    fn sent(version: u32) -> PasswordRecord {
        let stamp = PasswordStamp { changed: Some(Timestamp(i64::from(version))), version: Some(version) };
        let sent = PasswordSent {
            stamp,
            force_change: false,
            at: Timestamp(500),
            target: CsId::new(ConnectorId(3), 1),
            cloud_anchor: "User_1".to_owned(),
            suffix: "x.example".to_owned(),
        };
        PasswordRecord { routed: true, seen: Some(stamp), sent: Some(sent), ..PasswordRecord::new(PasswordStatus::Success) }
    }

    const SEND: Action = Action::Send { force_change: false };

    #[test]
    fn what_the_target_has_is_not_sent_again_unless_somebody_asks() {
        let record = sent(5);
        assert_eq!(decide(&change(5), &route(), Some(&record), TERMS), (Some(record.clone()), Action::Nothing));
        assert_eq!(decide(&change(6), &route(), Some(&record), TERMS).1, SEND);
        assert_eq!(decide(&change(4), &route(), Some(&record), TERMS), (None, Action::Nothing), "a replica that is behind");
        for since in [400, 500] {
            let terms = Terms { full_since: Some(Timestamp(since)), ..TERMS };
            assert_eq!(decide(&change(5), &route(), Some(&record), terms).1, Action::Nothing, "sent since {since}");
        }
        let terms = Terms { full_since: Some(Timestamp(501)), ..TERMS };
        assert_eq!(decide(&change(5), &route(), Some(&record), terms).1, SEND);
        let uncounted = PasswordChange { changed: None, version: None, ..change(5) };
        assert_eq!(decide(&uncounted, &route(), Some(&record), TERMS).1, SEND, "nobody can tell");
    }

    #[test]
    fn another_key_or_domain_in_the_target_makes_an_account_due() {
        let record = sent(5);
        assert_eq!(look(&route(), Some(&record), NOW), None);
        for other in [destination("User_2", "a@x.example"), destination("User_1", "a@y.example")] {
            let due = look(&other, Some(&record), NOW).unwrap();
            assert_eq!(due.next, Some(NOW));
            assert_eq!(decide(&change(5), &other, Some(&due), TERMS).1, SEND);
        }
        assert_eq!(look(&route(), None, NOW).unwrap().next, Some(NOW), "a new one");
        let left = PasswordRecord { routed: false, ..record };
        assert_eq!(look(&route(), Some(&left), NOW).unwrap().next, Some(NOW), "one that came back");
    }

    #[test]
    fn whoever_waits_is_looked_at_again_and_whoever_is_out_is_not() {
        let waits = Route::Closed(NoRoute::NoTarget);
        let record = look(&waits, None, NOW).unwrap();
        assert_eq!((record.status, record.next), (PasswordStatus::NoTargetConnection, Some(retry::after(NOW, WAITING))));
        assert_eq!(look(&waits, Some(&record), NOW), None);
        let out = Route::Closed(NoRoute::NotPresent);
        assert_eq!(look(&out, None, NOW), None);
        let record = look(&out, Some(&record), NOW).unwrap();
        assert_eq!((record.next, record.routed), (None, false));
        let gone = PasswordChange { deleted: true, ..change(9) };
        assert!(!decide(&gone, &route(), Some(&sent(5)), TERMS).0.unwrap().routed);
    }

    #[test]
    fn temporary_passwords_wait_for_the_feature_or_for_the_person() {
        let temporary = PasswordChange { must_change: Some(true), ..change(6) };
        let (record, action) = decide(&temporary, &route(), Some(&sent(5)), TERMS);
        let record = record.unwrap();
        assert_eq!((record.status, record.next, action), (PasswordStatus::FilteredByTarget, None, Action::Nothing));
        let terms = Terms { force_change: true, ..TERMS };
        assert_eq!(decide(&temporary, &route(), Some(&record), terms).1, Action::Send { force_change: true });
        // Only pwdLastSet changed.
        let time = |must| PasswordChange { hash: None, must_change: Some(must), changed: None, version: None, ..change(0) };
        let (due, action) = decide(&time(false), &route(), Some(&record), TERMS);
        assert_eq!((due.unwrap().next, action), (Some(NOW), Action::Read));
        assert_eq!(decide(&time(false), &route(), Some(&sent(5)), TERMS).1, Action::Nothing);
        assert_eq!(decide(&time(true), &route(), Some(&sent(5)), TERMS).1, Action::Read);
    }

    #[test]
    fn the_password_of_an_account_that_was_just_disabled_waits() {
        let disabled = |change: PasswordChange, disabled| PasswordChange { disabled: Some(disabled), ..change };
        let flag = |on| disabled(PasswordChange { hash: None, must_change: None, changed: None, version: None, ..change(0) }, on);
        // Together, and one after the other.
        let (_, action) = decide(&disabled(change(6), true), &route(), Some(&sent(5)), TERMS);
        assert_eq!(action, Action::Nothing);
        let (record, action) = decide(&flag(true), &route(), Some(&sent(5)), TERMS);
        let record = record.unwrap();
        assert_eq!((record.disabled, record.status, action), (true, PasswordStatus::Success, Action::Nothing));
        let (held, action) = decide(&change(6), &route(), Some(&record), TERMS);
        let held = held.unwrap();
        assert_eq!((held.next, action), (Some(retry::after(NOW, WAITING)), Action::Nothing));
        // Read again, it is still so; enabled again, it goes.
        let asked = Terms { asked: true, ..TERMS };
        assert_eq!(decide(&disabled(change(6), true), &route(), Some(&held), asked).1, Action::Nothing);
        assert_eq!(decide(&flag(false), &route(), Some(&held), TERMS).1, Action::Read);
        assert_eq!(decide(&disabled(change(6), false), &route(), Some(&held), asked).1, SEND);
        // Whoever was enabled again before the password changed has nothing to read.
        assert_eq!(decide(&flag(false), &route(), Some(&record), TERMS).1, Action::Nothing);
    }

    #[test]
    fn an_account_without_a_password_has_nothing_to_send() {
        let removed = PasswordChange { hash: Some(None), ..change(6) };
        let (record, action) = decide(&removed, &route(), Some(&sent(5)), TERMS);
        assert_eq!((record.unwrap().status, action), (PasswordStatus::MissingAttribute, Action::Nothing));
        let silent = PasswordChange { hash: None, ..change(6) };
        let terms = Terms { asked: true, ..TERMS };
        assert_eq!(decide(&silent, &route(), None, terms).0.unwrap().next, None);
    }

    #[test]
    fn a_retry_waits_for_its_time_but_news_do_not() {
        let later = PasswordRecord { attempts: 4, next: Some(Timestamp(2_000)), status: PasswordStatus::Error, sent: None, ..sent(5) };
        assert_eq!(decide(&change(5), &route(), Some(&later), TERMS).1, Action::Nothing);
        let (record, action) = decide(&change(6), &route(), Some(&later), TERMS);
        assert_eq!((record.unwrap().attempts, action), (0, SEND));
        let terms = Terms { asked: true, ..TERMS };
        assert_eq!(decide(&change(5), &route(), Some(&later), terms).1, SEND, "when it is asked for, it is time");
    }

    /// What a clock noted that was ahead and was set back since.
    #[test]
    fn a_time_to_come_is_neither_sent_nor_waited_for() {
        let ahead = Timestamp(NOW.0 + 10 * 365 * 86_400_000_000);
        let mut record = sent(5);
        assert_eq!(decide(&change(5), &route(), Some(&record), TERMS).1, Action::Nothing, "it has it all the same");
        record.sent.as_mut().unwrap().at = ahead;
        let full = Terms { full_since: Some(Timestamp(900)), ..TERMS };
        assert_eq!(decide(&change(5), &route(), Some(&record), full).1, SEND, "everybody is sent once more");
        let waits = PasswordRecord { next: Some(ahead), status: PasswordStatus::Error, sent: None, ..sent(5) };
        assert_eq!(decide(&change(5), &route(), Some(&waits), TERMS).1, SEND);
        let closed = look(&Route::Closed(NoRoute::NoTarget), Some(&waits), NOW).unwrap();
        assert_eq!(closed.next, Some(retry::after(NOW, WAITING)));
        // A target may ask for so long itself.
        let asked =
            |attempted| PasswordRecord { status: PasswordStatus::RetryRequestedByTarget, attempted: Some(attempted), ..waits.clone() };
        assert_eq!(decide(&change(5), &route(), Some(&asked(Timestamp(999))), TERMS).1, Action::Nothing);
        assert_eq!(decide(&change(5), &route(), Some(&asked(ahead)), TERMS).1, SEND);
    }
}
