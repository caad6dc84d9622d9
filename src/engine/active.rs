//! Which installation writes to a target. Two that do would undo each other's work, so each looks at who wrote last before it
//! writes, and whoever finds somebody else there goes quiet until a person decides (specification: sync engine, section 5.6).

use super::EngineError;
use super::bridge::Bridge;
use crate::connector::{Connector, ExportTotals, Installation, LastWriter};
use crate::context::Context;
use crate::model::{ConnectorId, Timestamp};
use crate::store::{Kept, KeptState, Snapshot, Store, StoreError};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Where this installation stands, kept with the target. Exports, the password agent and commands change it at the same time.
const STANDING: KeptState<Standing> = KeptState::new(super::belief::STANDING);
/// Whoever wrote within this time is taken for active.
const ALIVE: Duration = Duration::from_hours(24);
/// An active installation with nothing to send shows itself after this time, well before it would be taken for dead.
const SIGN_OF_LIFE: Duration = Duration::from_hours(6);
/// A target that tells no ids tells times: one so much later than our own last write is somebody else's.
const SLACK: Duration = Duration::from_mins(10);
/// What we write is noted so often.
const NOTED_EVERY: Duration = Duration::from_mins(1);
/// Whom we took over from may go on for so long, until it looks: it waits for answers, or a long export is under way.
const LINGERS: Duration = Duration::from_hours(6);

/// Another installation that writes to the same target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rival {
    /// Its id, when the target tells.
    pub id: Option<String>,
    /// Its machine, when the target tells.
    pub name: Option<String>,
    /// When it last wrote, in microseconds since 1970, when the target tells.
    pub at: Option<i64>,
}

/// What a look at the last writer comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// Nobody else writes.
    Alone,
    /// Whom we took over from still writes and has not found out yet. Nothing is sent this time.
    Lingers {
        /// Who it is.
        rival: Rival,
        /// The target never named us since: it may not find out unless we show ourselves again.
        unseen: bool,
    },
    /// Somebody else writes: nothing is sent until a person decides.
    Displaced {
        /// Who it is.
        rival: Rival,
        /// This was not noted before.
        news: bool,
    },
}

/// Where this installation stands towards a target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Standing {
    /// When we last wrote, in microseconds since 1970 by our own clock: for how long we have been quiet.
    contact: Option<i64>,
    /// The same by the target's clock, where it told that: whether what it shows as its last contact may be ours. Earlier versions
    /// noted [`contact`](Self::contact) alone, and it counts until we write again, which is within hours.
    written: Option<i64>,
    /// Who took over from us: nothing is sent until a person decides otherwise.
    displaced_by: Option<Rival>,
    /// Whom we took over from, as it was last seen.
    predecessor: Option<Rival>,
    /// When we took over, in microseconds since 1970.
    taken_over: Option<i64>,
    /// The target named us as its last writer since.
    seen: bool,
}

impl Standing {
    fn read(snapshot: &Snapshot, target: ConnectorId) -> Result<Self, StoreError> {
        Ok(Self::of(STANDING.read(snapshot, target)?))
    }

    /// What cannot be read may have said that we were displaced. It counts as that: somebody has to look.
    fn of(kept: Kept<Self>) -> Self {
        match kept {
            Kept::Here(standing) => standing,
            Kept::Nothing => Self::default(),
            Kept::Unreadable(why) => {
                let name = Some(format!("an installation that nobody can name (what was noted of it cannot be read: {why})"));
                Self { displaced_by: Some(Rival { name, ..Rival::default() }), ..Self::default() }
            }
        }
    }

    /// Changes it while nobody else does.
    fn update<R>(store: &Store, target: ConnectorId, change: impl FnOnce(&mut Self) -> R) -> Result<R, StoreError> {
        STANDING.update(store, target, |kept| {
            let before = Self::of(kept.clone());
            let mut standing = before.clone();
            let answer = change(&mut standing);
            (if standing == before { kept } else { Kept::Here(standing) }, answer)
        })
    }

    /// The takeover is so new that the other one may not have found out.
    fn has_just_taken_over(&self, now: Timestamp) -> bool {
        self.taken_over.is_some_and(|at| now.since(Timestamp(at)) < LINGERS)
    }

    fn is_ours(&self, last: &LastWriter, ours: &Installation) -> bool {
        let named = last.name.as_ref().map(|name| name.eq_ignore_ascii_case(&ours.name));
        match &last.id {
            // A copy of a whole machine has the id of the first one. Its name tells it, unless it is the one that we had then.
            Some(id) => *id == ours.id && (named != Some(false) || last.at.is_none_or(|at| self.may_have_written(at))),
            None => named == Some(true),
        }
    }

    /// True when a time that the target shows is not later than our own last write. Both are of the target's clock: by ours, with a clock
    /// that is ahead, every write of another installation would pass for our own.
    fn may_have_written(&self, at: Timestamp) -> bool {
        self.written.or(self.contact).is_some_and(|written| at.0 <= written.saturating_add(micros(SLACK)))
    }
}

impl From<&LastWriter> for Rival {
    fn from(writer: &LastWriter) -> Self {
        Self { id: writer.id.clone(), name: writer.name.clone(), at: writer.at.map(|at| at.0) }
    }
}

/// `SYNC02 (installation 3f2a91c4), last contact 2026-11-21T08:30:00.123Z`.
impl fmt::Display for Rival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name.as_deref().unwrap_or("another machine"))?;
        if let Some(id) = &self.id {
            write!(f, " (installation {})", id.split('-').next().unwrap_or(id))?;
        }
        match self.at {
            Some(at) => write!(f, ", last contact {}", Timestamp(at)),
            None => f.write_str(", last contact not told"),
        }
    }
}

/// Who else writes to a target. Whoever took over from us stays the one, however long it is silent; of others, those that wrote
/// within a day and that did not stop when we took over from them. Notes nothing.
///
/// # Errors
/// When the store cannot be read.
pub fn rival(
    snapshot: &Snapshot,
    target: ConnectorId,
    ours: &Installation,
    last: Option<&LastWriter>,
    now: Timestamp,
) -> Result<Option<Rival>, StoreError> {
    Ok(match judge(&Standing::read(snapshot, target)?, ours, last, now) {
        Verdict::Alone => None,
        Verdict::Lingers(rival) | Verdict::Displaced(rival) => Some(rival),
    })
}

/// As [`rival`], before something is sent: whoever finds somebody else gives way and notes it.
///
/// # Errors
/// When the store refuses.
pub fn look(
    store: &Store,
    target: ConnectorId,
    ours: &Installation,
    last: Option<&LastWriter>,
    now: Timestamp,
) -> Result<Look, StoreError> {
    Standing::update(store, target, |standing| match judge(standing, ours, last, now) {
        Verdict::Alone => {
            standing.seen |= last.is_some_and(|last| standing.is_ours(last, ours));
            Look::Alone
        }
        Verdict::Lingers(rival) => {
            // When it has not moved at the next look, it found out.
            standing.predecessor = Some(rival.clone());
            Look::Lingers { rival, unseen: !standing.seen }
        }
        Verdict::Displaced(rival) => {
            let news = standing.displaced_by.as_ref().is_none_or(|known| known.id != rival.id || known.name != rival.name);
            standing.displaced_by = Some(rival.clone());
            Look::Displaced { rival, news }
        }
    })
}

enum Verdict {
    Alone,
    Lingers(Rival),
    Displaced(Rival),
}

fn judge(standing: &Standing, ours: &Installation, last: Option<&LastWriter>, now: Timestamp) -> Verdict {
    let other = last.filter(|last| !standing.is_ours(last, ours));
    if let Some(displaced_by) = &standing.displaced_by {
        return Verdict::Displaced(other.map_or_else(|| displaced_by.clone(), Rival::from));
    }
    let Some(last) = other else { return Verdict::Alone };
    // The target's own clock says how long ago that was; ours may be set to another day.
    let silent = |at: Timestamp| last.told.unwrap_or(now).0.saturating_sub(at.0) > micros(ALIVE);
    if last.at.is_some_and(silent) {
        return Verdict::Alone;
    }
    let known = standing.predecessor.as_ref().filter(|known| known.id == last.id && known.name == last.name);
    // It has not written since we took over from it.
    if known.is_some_and(|known| last.at.map(|at| at.0) <= known.at) {
        return Verdict::Alone;
    }
    if last.id.is_none() && last.at.is_some_and(|at| standing.may_have_written(at)) {
        // The target tells a machine that it learned long ago, and a time that is our own.
        return Verdict::Alone;
    }
    let rival = Rival::from(last);
    if known.is_some() && standing.has_just_taken_over(now) { Verdict::Lingers(rival) } else { Verdict::Displaced(rival) }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Who took over from this installation at a target, if anybody did.
///
/// # Errors
/// When the store cannot be read.
pub fn displaced_by(snapshot: &Snapshot, target: ConnectorId) -> Result<Option<Rival>, StoreError> {
    Ok(Standing::read(snapshot, target)?.displaced_by)
}

/// Notes that this installation wrote to a target. `told`: what the target's clock showed in its answer, where it tells that.
///
/// # Errors
/// When the store refuses.
pub fn wrote(store: &Store, target: ConnectorId, told: Option<Timestamp>, now: Timestamp) -> Result<(), StoreError> {
    // Once a minute is often enough for what is measured in hours.
    let noted = |known: Option<i64>, at: Timestamp| known.is_some_and(|known| at.since(Timestamp(known)) < NOTED_EVERY);
    let known = Standing::read(&store.snapshot()?, target)?;
    if noted(known.contact, now) && told.map_or(known.written.is_none(), |told| noted(known.written, told)) {
        return Ok(());
    }
    Standing::update(store, target, |standing| (standing.contact, standing.written) = (Some(now.0), told.map(|told| told.0)))
}

/// Makes this installation the one that writes to a target: notes whom it takes over from, and shows itself there at once, so that
/// the other one finds it at its next look.
///
/// # Errors
/// When the target does not answer, or the store refuses; nothing has changed in the target then.
pub async fn take_over(
    store: &Store,
    target: ConnectorId,
    connector: &Arc<dyn Connector>,
    last: Option<&LastWriter>,
    cx: &Context,
) -> Result<(), EngineError> {
    connector.finish_export(cx, ExportTotals::default()).await?;
    let (now, written) = (Some(cx.now().0), connector.told().map(|told| told.0));
    Ok(Standing::update(store, target, |standing| {
        let predecessor = last.map(Rival::from).or(standing.predecessor.take());
        *standing = Standing { contact: now, written, displaced_by: None, predecessor, taken_over: now, seen: false };
    })?)
}

/// Shows a target that had nothing to be sent for hours that this installation is active, and one that has not named it since
/// it took over. Gives who else is active, if anybody.
///
/// # Errors
/// When the target does not answer, or the store refuses.
pub fn show_life(
    store: &Store,
    target: ConnectorId,
    connector: &Arc<dyn Connector>,
    ours: &Installation,
    bridge: &Bridge,
    cx: &Context,
) -> Result<Option<Rival>, EngineError> {
    let (standing, now) = (Standing::read(&store.snapshot()?, target)?, cx.now());
    let quiet = standing.contact.is_some_and(|contact| now.since(Timestamp(contact)) >= SIGN_OF_LIFE);
    let unseen = standing.has_just_taken_over(now) && !standing.seen;
    // Whoever never wrote has nothing to defend, and whoever was displaced says nothing.
    if standing.displaced_by.is_some() || !(quiet || unseen) {
        return Ok(None);
    }
    let last = bridge.wait(connector.begin_export(cx))?.last_writer;
    let show = match look(store, target, ours, last.as_ref(), now)? {
        Look::Alone => quiet || !last.is_some_and(|last| standing.is_ours(&last, ours)),
        Look::Lingers { unseen, .. } => unseen,
        Look::Displaced { rival, .. } => return Ok(Some(rival)),
    };
    if show {
        bridge.wait(connector.finish_export(cx, ExportTotals::default()))?;
        wrote(store, target, connector.told(), now)?;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;
    const NOW: Timestamp = Timestamp(1_000 * HOUR);

    fn ours() -> Installation {
        Installation { id: "a".to_owned(), name: "ONE".to_owned() }
    }

    fn last(id: Option<&str>, name: Option<&str>, hours_ago: Option<i64>) -> LastWriter {
        LastWriter {
            id: id.map(str::to_owned),
            name: name.map(str::to_owned),
            at: hours_ago.map(|hours| Timestamp(NOW.0 - hours * HOUR)),
            told: None,
        }
    }

    fn found(standing: &Standing, last: &LastWriter) -> bool {
        !matches!(judge(standing, &ours(), Some(last), NOW), Verdict::Alone)
    }

    #[test]
    fn whoever_wrote_within_a_day_is_active() {
        let new = Standing::default();
        assert!(matches!(judge(&new, &ours(), None, NOW), Verdict::Alone), "a target that tells nothing");
        assert!(!found(&new, &last(Some("a"), Some("one"), Some(0))));
        assert!(found(&new, &last(Some("b"), Some("ONE"), Some(0))), "two installations of one machine");
        assert!(found(&new, &last(Some("b"), None, Some(23))));
        assert!(!found(&new, &last(Some("b"), None, Some(25))));
        assert!(found(&new, &last(Some("b"), None, Some(-1))), "the clocks differ");
        let by_target = |hours: i64| LastWriter { told: Some(Timestamp(NOW.0 - hours * HOUR)), ..last(Some("b"), None, Some(26)) };
        assert!(found(&new, &by_target(25)), "our clock is a day ahead, and it wrote an hour ago");
        assert!(!found(&new, &by_target(1)));
    }

    /// A copied machine, or a copied volume of a container, has our id.
    #[test]
    fn a_copy_of_us_is_told_by_its_name_and_its_contact() {
        let wrote = Standing { contact: Some(NOW.0 - 2 * HOUR), ..Standing::default() };
        assert!(found(&wrote, &last(Some("a"), Some("COPY"), Some(0))));
        assert!(found(&Standing::default(), &last(Some("a"), Some("COPY"), Some(0))), "the copy that never wrote itself");
        assert!(!found(&wrote, &last(Some("a"), Some("OLD NAME"), Some(2))), "our own contact, before the machine was renamed");
        assert!(!found(&wrote, &last(Some("a"), None, Some(0))));
        assert!(!found(&Standing::default(), &last(Some("a"), Some("COPY"), Some(25))), "it is silent for a day");
    }

    #[test]
    fn whom_we_took_over_from_counts_again_when_it_writes_again() {
        let before = last(Some("b"), Some("TWO"), Some(2));
        let standing = Standing { predecessor: Some(Rival::from(&before)), ..Standing::default() };
        assert!(!found(&standing, &before));
        assert!(found(&standing, &last(Some("b"), Some("TWO"), Some(1))));
        assert!(found(&standing, &last(Some("c"), Some("TWO"), Some(2))));
    }

    #[test]
    fn whoever_was_displaced_stays_quiet_for_good() {
        let by = Rival::from(&last(Some("b"), Some("TWO"), Some(2)));
        let standing = Standing { displaced_by: Some(by), ..Standing::default() };
        assert!(found(&standing, &last(Some("b"), Some("TWO"), Some(400))));
        assert!(found(&standing, &last(Some("a"), Some("ONE"), Some(0))), "a password on its way when it happened");
        assert!(!matches!(judge(&standing, &ours(), None, NOW), Verdict::Alone));
    }

    const TARGET: ConnectorId = ConnectorId(2);

    fn at(minutes: i64) -> Timestamp {
        Timestamp(NOW.0 + minutes * HOUR / 60)
    }

    fn writer(id: &str, name: &str, minutes: i64) -> LastWriter {
        LastWriter { id: Some(id.to_owned()), name: Some(name.to_owned()), at: Some(at(minutes)), told: None }
    }

    /// A store whose installation took over from `TWO` at minute 0.
    fn promoted() -> Store {
        let store = Store::in_memory().unwrap();
        let predecessor = Some(Rival::from(&writer("b", "TWO", -1)));
        let standing = Standing { contact: Some(NOW.0), predecessor, taken_over: Some(NOW.0), ..Standing::default() };
        STANDING.update(&store, TARGET, |_| (Kept::Here(standing), ())).unwrap();
        store
    }

    #[test]
    fn whom_we_took_over_from_may_end_its_export() {
        let store = promoted();
        let look = |last: &LastWriter, minutes: i64| look(&store, TARGET, &ours(), Some(last), at(minutes)).unwrap();
        // An hour of export is under way there, and nobody has found anything out.
        for minutes in [2, 32, 62] {
            let found = look(&writer("b", "TWO", minutes - 1), minutes);
            assert!(matches!(found, Look::Lingers { unseen: true, .. }), "{minutes}: {found:?}");
            assert_eq!(displaced_by(&store.snapshot().unwrap(), TARGET).unwrap(), None);
        }
        // It has not moved since the last look.
        assert_eq!(look(&writer("b", "TWO", 61), 92), Look::Alone);
        assert_eq!(look(&writer("a", "ONE", 92), 122), Look::Alone);
        let late = look(&writer("b", "TWO", 123), 124);
        assert!(matches!(late, Look::Lingers { unseen: false, .. }), "an answer that came late: {late:?}");
        assert!(matches!(look(&writer("c", "THREE", 125), 126), Look::Displaced { news: true, .. }), "another one is no straggler");
    }

    #[test]
    fn who_goes_on_for_hours_behind_a_takeover_is_active() {
        let store = promoted();
        let found = look(&store, TARGET, &ours(), Some(&writer("b", "TWO", 359)), at(361)).unwrap();
        assert!(matches!(found, Look::Displaced { news: true, .. }), "{found:?}");
        let again = look(&store, TARGET, &ours(), Some(&writer("b", "TWO", 362)), at(363)).unwrap();
        assert!(matches!(again, Look::Displaced { news: false, .. }), "{again:?}");
    }

    #[test]
    fn what_cannot_be_read_counts_as_displaced_and_stays_so() {
        let store = Store::in_memory().unwrap();
        let damaged: KeptState<String> = KeptState::new("active-installation");
        damaged.update(&store, TARGET, |_| (Kept::Here("damaged".to_owned()), ())).unwrap();
        wrote(&store, TARGET, None, NOW).unwrap();
        let by = displaced_by(&store.snapshot().unwrap(), TARGET).unwrap().expect("it counts as displaced");
        assert!(by.to_string().contains("cannot be read"), "{by}");
        let found = look(&store, TARGET, &ours(), Some(&writer("a", "ONE", 0)), NOW).unwrap();
        assert!(matches!(found, Look::Displaced { .. }), "{found:?}");
    }

    /// The password agent notes what it sent while an export finds somebody else.
    #[test]
    fn being_displaced_is_not_forgotten_by_what_is_noted_at_the_same_time() {
        for round in 0..20 {
            let store = Store::in_memory().unwrap();
            let begin = std::sync::Barrier::new(2);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    begin.wait();
                    (0..10).for_each(|minutes| wrote(&store, TARGET, None, at(2 * minutes)).unwrap());
                });
                begin.wait();
                drop(look(&store, TARGET, &ours(), Some(&writer("b", "TWO", 0)), at(0)).unwrap());
            });
            assert!(displaced_by(&store.snapshot().unwrap(), TARGET).unwrap().is_some(), "round {round}");
        }
    }

    /// Our clock is a day ahead when we write, and the target tells its own.
    #[test]
    fn a_clock_that_is_ahead_makes_nobody_elses_write_ours() {
        let store = Store::in_memory().unwrap();
        let ahead = |minutes: i64| at(minutes + 24 * 60);
        let others = [writer("a", "CLONE", 30), LastWriter { id: None, ..writer("", "TWO", 30) }];
        let found = |last: &LastWriter, minutes| {
            let told = LastWriter { told: Some(at(minutes)), ..last.clone() };
            rival(&store.snapshot().unwrap(), TARGET, &ours(), Some(&told), ahead(minutes)).unwrap().is_some()
        };
        // What an earlier version noted locks nobody out, not us either.
        STANDING.update(&store, TARGET, |_| (Kept::Here(Standing { contact: Some(ahead(0).0), ..Standing::default() }), ())).unwrap();
        assert!(!found(&writer("a", "OLD NAME", 0), 1), "our own contact, before the machine was renamed");
        assert!(!found(&writer("a", "ONE", 0), 1));
        // The next write is within the minute that needs no note by our clock.
        wrote(&store, TARGET, Some(at(0)), ahead(0)).unwrap();
        assert!(!found(&writer("a", "OLD NAME", 0), 1));
        for other in &others {
            assert!(found(other, 31), "{other:?}");
        }
        wrote(&store, TARGET, Some(at(40)), ahead(40)).unwrap();
        assert!(!found(&writer("a", "OLD NAME", 40), 41), "our own write of just now");
        // The clock is put right, or the target tells its time no more.
        wrote(&store, TARGET, Some(at(50)), at(50)).unwrap();
        assert!(!found(&writer("a", "OLD NAME", 50), 51));
        wrote(&store, TARGET, None, at(55)).unwrap();
        assert!(!found(&writer("a", "OLD NAME", 55), 56));
    }

    /// The public cloud tells a machine and perhaps a time.
    #[test]
    fn a_target_without_ids_is_judged_by_machine_and_time() {
        let wrote = Standing { contact: Some(NOW.0 - HOUR), ..Standing::default() };
        assert!(!found(&wrote, &last(None, Some("one"), None)));
        assert!(!found(&wrote, &last(None, Some("OLD"), Some(1))), "our own write under the name of an earlier client");
        assert!(found(&wrote, &last(None, Some("OLD"), Some(0))));
        assert!(found(&wrote, &last(None, Some("OLD"), None)), "nobody can tell, so a person has to");
        let old = Rival { name: Some("OLD".to_owned()), ..Rival::default() };
        assert!(!found(&Standing { predecessor: Some(old), ..wrote }, &last(None, Some("OLD"), None)));
    }
}
