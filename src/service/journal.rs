//! The journal of events: the sink that keeps what is told, and looking into it.

use super::partitions::same_name;
use super::{Service, ServiceError};
use crate::context::Context;
use crate::events::{Event, EventSink, Field, Level, Log, Source};
use crate::model::{CsId, Retention, Timestamp};
use crate::password::report::AccountStatus;
use crate::store::{ChangeSet, EventRecord, Store};
use serde::Serialize;
use serde_json::{Map, Value as Json};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// So many events are written together: a transaction for each would cost more than what they tell of.
const TOGETHER: usize = 200;
/// So long an event waits for others. A process that is killed loses what was told in that time, and never what it tells of.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// Passes events to the log and keeps them in the store, the oldest of them as long as run history.
pub(super) struct Journal {
    store: Store,
    days: u32,
    pending: Arc<Pending>,
}

/// The events of a process that are to be written: whoever tells them, they are written in the order of telling.
#[derive(Default)]
pub(super) struct Pending {
    waiting: Mutex<Waiting>,
    /// Held by whoever writes, so that nobody writes what was told later before it.
    writing: Mutex<()>,
}

#[derive(Default)]
struct Waiting {
    records: Vec<EventRecord>,
    /// Where they belong, while there are any. Nobody keeps a store open for longer.
    store: Option<(Store, u32)>,
    /// Somebody has begun to wait for more, and writes then.
    awaited: bool,
}

impl Waiting {
    /// Takes an event in. True when it has to be written at once: by its level, since many wait, or since nobody does it later.
    /// `write_soon` sees to it that somebody does, and gives false when the system gives no thread for it.
    fn take_in(&mut self, record: EventRecord, write_soon: impl FnOnce() -> bool) -> bool {
        let urgent = record.level > Level::Information;
        self.records.push(record);
        let now = urgent || self.records.len() >= TOGETHER;
        if !now && !self.awaited {
            // Whoever tells may be silent from now on, so somebody else waits.
            self.awaited = write_soon();
        }
        now || !self.awaited
    }
}

impl Pending {
    /// Writes what waits. A journal that cannot be written must not stop what it tells of; the log says so.
    pub(super) fn flush(&self) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut records, store) = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            (std::mem::take(&mut waiting.records), waiting.store.take())
        };
        // Who told first may have been the second to come here.
        records.sort_by_key(|event| event.at);
        let (Some(newest), Some((store, days))) = (records.last().map(|event| event.at), store) else { return };
        let changes = ChangeSet { events: records, events_kept: Some(Retention::of_days(days, newest)), ..ChangeSet::new() };
        if let Err(error) = store.apply(changes) {
            tracing::warn!("events could not be kept: {error}");
        }
    }

    /// Takes an event in, and sees to it that it is written soon.
    fn put(self: &Arc<Self>, store: &Store, days: u32, record: EventRecord) {
        let now = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.store = Some((store.clone(), days));
            waiting.take_in(record, || self.write_soon())
        };
        if now {
            self.flush();
        }
    }

    /// False when the system gives no thread for it.
    fn write_soon(self: &Arc<Self>) -> bool {
        let pending = Arc::clone(self);
        let write = move || {
            std::thread::sleep(LONGEST_WAIT);
            pending.waiting.lock().unwrap_or_else(PoisonError::into_inner).awaited = false;
            pending.flush();
        };
        std::thread::Builder::new().name("journal".to_owned()).spawn(write).is_ok()
    }
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending").finish_non_exhaustive()
    }
}

impl Journal {
    /// A journal in a store that keeps events for so many days. All journals of a process share what is pending.
    fn new(store: &Store, days: u32, pending: &Arc<Pending>) -> Self {
        Self { store: store.clone(), days, pending: Arc::clone(pending) }
    }

    /// Writes what waits.
    pub(super) fn flush(&self) {
        self.pending.flush();
    }
}

impl EventSink for Journal {
    fn event(&self, at: Timestamp, event: &Event) {
        Log.event(at, event);
        let fields: Map<String, Json> = event.fields().into_iter().map(|(name, field)| (name.to_owned(), json(field))).collect();
        let record = EventRecord {
            sequence: 0,
            at,
            number: event.number(),
            level: event.level(),
            connector: event.connector().unwrap_or_default().to_owned(),
            text: event.to_string(),
            fields: Json::Object(fields).to_string(),
        };
        self.pending.put(&self.store, self.days, record);
    }
}

impl Service {
    /// Tells of something that is no part of a run: to the log, and to the journal in the store.
    pub fn tell(&self, at: Timestamp, event: &Event) {
        self.journal().event(at, event);
    }

    /// Where everything in this process is told.
    pub(super) fn journal(&self) -> Journal {
        Journal::new(&self.store, self.config.limits.history_days, &self.facilities.events)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.flush();
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("days", &self.days).finish_non_exhaustive()
    }
}

fn json(field: Field<'_>) -> Json {
    match field {
        Field::Text(text) => text.into(),
        Field::Texts(texts) => texts.into(),
        Field::Count(count) => count.into(),
        Field::Code(code) => code.into(),
        Field::Flag(flag) => flag.into(),
        Field::Time(time) => time.to_string().into(),
    }
}

/// Which events somebody wants to see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// Kinds by number; none means all.
    pub numbers: Vec<u32>,
    /// What tells them; none means all.
    pub sources: Vec<Source>,
    /// At least this level.
    pub level: Option<Level>,
    /// About this connector, by name.
    pub connector: Option<String>,
    /// With this text in the sentence or a field, whatever its case.
    pub text: Option<String>,
    /// Not before this time.
    pub since: Option<Timestamp>,
}

/// An event, for people and programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EventView {
    /// Its place in the journal.
    pub sequence: u64,
    /// When it was told.
    pub at: String,
    /// The number of its kind.
    pub id: u32,
    /// What told it: `sync`, `scheduler`, `password`, `service` or `alerts`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<&'static str>,
    /// `information`, `warning` or `error`.
    pub level: &'static str,
    /// The connector it is about.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub connector: String,
    /// The sentence.
    pub text: String,
    /// What it says, by name.
    pub fields: Json,
}

impl EventView {
    fn of(record: EventRecord) -> Self {
        Self {
            sequence: record.sequence,
            at: record.at.to_string(),
            id: record.number,
            source: Source::of(record.number).map(Source::as_str),
            level: level_name(record.level),
            connector: record.connector,
            text: record.text,
            fields: serde_json::from_str(&record.fields).unwrap_or_default(),
        }
    }
}

/// The word for a level.
pub fn level_name(level: Level) -> &'static str {
    match level {
        Level::Information => "information",
        Level::Warning => "warning",
        Level::Error => "error",
    }
}

impl EventQuery {
    fn wants(&self, event: &EventRecord) -> bool {
        let told = |text: &String| {
            let text = text.to_lowercase();
            event.text.to_lowercase().contains(&text) || event.fields.to_lowercase().contains(&text)
        };
        (self.numbers.is_empty() || self.numbers.contains(&event.number))
            && (self.sources.is_empty() || Source::of(event.number).is_some_and(|source| self.sources.contains(&source)))
            && self.level.is_none_or(|level| event.level >= level)
            && self.connector.as_ref().is_none_or(|name| name.eq_ignore_ascii_case(&event.connector))
            && self.text.as_ref().is_none_or(told)
            && self.since.is_none_or(|since| event.at >= since)
    }
}

/// What was told of the password of one account.
#[derive(Clone, Debug, Serialize)]
pub struct PasswordLog {
    /// The account, and how its password stands.
    pub account: AccountStatus,
    /// The events, the newest last.
    pub events: Vec<EventView>,
    /// There are older ones.
    pub more: bool,
}

/// By what events name an account. An anchor is the account's alone; a name may have been another one's before.
struct Trail {
    connector: String,
    dn: String,
    anchors: Vec<String>,
}

impl Trail {
    fn of(connector: String, account: &AccountStatus) -> Self {
        let anchors = [&account.source_anchor, &account.cloud_anchor].into_iter().flatten().filter(|anchor| !anchor.is_empty());
        Self { connector, dn: account.dn.clone(), anchors: anchors.cloned().collect() }
    }

    /// True for events about the account, which come the newest first. Where its anchor is not known, since nothing is to be sent for it
    /// now, the newest event with its name tells it.
    fn leads_to(&mut self, event: &EventRecord) -> bool {
        if Source::of(event.number) != Some(Source::Password) || !event.connector.eq_ignore_ascii_case(&self.connector) {
            return false;
        }
        let fields: Json = serde_json::from_str(&event.fields).unwrap_or_default();
        let is_named = |name: &Json| name.as_str().is_some_and(|name| same_name(name, &self.dn));
        let named = match &fields["dn"] {
            Json::Array(names) => names.iter().any(is_named),
            name => is_named(name),
        };
        match fields["anchor"].as_str() {
            Some(anchor) if self.anchors.is_empty() => {
                if named {
                    self.anchors.push(anchor.to_owned());
                }
                named
            }
            Some(anchor) => self.anchors.iter().any(|known| known == anchor),
            None => named,
        }
    }
}

/// How many events are looked at in one read.
const PAGE: usize = 1_000;

impl Service {
    /// The newest events that a query wants, the oldest of them first, and whether there are more.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn events(&self, query: &EventQuery, limit: usize) -> Result<(Vec<EventView>, bool), ServiceError> {
        self.newest_events(query.since, limit, &mut |event| query.wants(event))
    }

    /// What was told of the password of one account: the newest events, the oldest of them first.
    ///
    /// # Errors
    /// When there is no such object or no tenant, or the store cannot be read.
    pub fn password_log(&self, cx: &Context, account: CsId, last: usize) -> Result<PasswordLog, ServiceError> {
        let status = self.password_of(cx, account)?;
        let mut trail = Trail::of(self.name_of(account.connector()), &status);
        let (events, more) = self.newest_events(None, last, &mut |event| trail.leads_to(event))?;
        Ok(PasswordLog { account: status, events, more })
    }

    fn newest_events(
        &self,
        since: Option<Timestamp>,
        limit: usize,
        wants: &mut dyn FnMut(&EventRecord) -> bool,
    ) -> Result<(Vec<EventView>, bool), ServiceError> {
        self.facilities.events.flush();
        let snapshot = self.store().snapshot()?;
        let (mut found, mut before) = (Vec::new(), None);
        'pages: loop {
            let page = snapshot.events_back(before, PAGE)?;
            let Some(oldest) = page.last() else { break };
            before = Some(oldest.sequence);
            let too_old = since.is_some_and(|since| oldest.at < since);
            for event in page.into_iter().filter(&mut *wants) {
                if found.len() == limit {
                    found.reverse();
                    return Ok((found, true));
                }
                found.push(EventView::of(event));
            }
            if too_old {
                break 'pages;
            }
        }
        found.reverse();
        Ok((found, false))
    }

    /// The events behind a place in the journal that a query wants, and the place behind the last one looked at.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn events_after(&self, query: &EventQuery, after: Option<u64>) -> Result<(Vec<EventView>, Option<u64>), ServiceError> {
        self.facilities.events.flush();
        let snapshot = self.store().snapshot()?;
        let (mut found, mut place) = (Vec::new(), after);
        loop {
            let page = snapshot.events(place, PAGE)?;
            let Some(last) = page.last() else { break };
            place = Some(last.sequence);
            found.extend(page.into_iter().filter(|event| query.wants(event)).map(EventView::of));
        }
        Ok((found, place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(store: &Store, pending: &Arc<Pending>) -> Journal {
        Journal::new(store, 7, pending)
    }

    fn kept(store: &Store) -> Vec<Timestamp> {
        store.snapshot().unwrap().events(None, 1_000).unwrap().into_iter().map(|event| event.at).collect()
    }

    fn kept_within(store: &Store, longest: Duration, count: usize) -> bool {
        let mut waited = Duration::ZERO;
        while kept(store).len() < count && waited < longest {
            std::thread::sleep(Duration::from_millis(20));
            waited += Duration::from_millis(20);
        }
        kept(store).len() == count
    }

    /// Whoever tells of something and is silent then, as an agent is between two rounds, is heard all the same.
    #[test]
    fn what_was_told_is_kept_a_moment_later_though_nothing_follows() {
        let (store, pending) = (Store::in_memory().unwrap(), Arc::new(Pending::default()));
        let agent = journal(&store, &pending);
        for round in 1..=3_usize {
            agent.event(Timestamp(i64::try_from(round).unwrap()), &Event::ServiceStopping);
            assert!(kept_within(&store, Duration::from_secs(5), round), "{round}: {:?}", kept(&store));
        }
        assert!(pending.waiting.lock().unwrap().store.is_none(), "nobody keeps the store open");
    }

    /// Otherwise nobody would write in time any more, since everybody took it that somebody does.
    #[test]
    fn a_thread_that_was_refused_is_asked_for_again() {
        let event = || EventRecord {
            sequence: 0,
            at: Timestamp(1),
            number: 1,
            level: Level::Information,
            connector: String::new(),
            text: String::new(),
            fields: String::new(),
        };
        let mut waiting = Waiting::default();
        assert!(waiting.take_in(event(), || false), "written at once, since nobody does it later");
        let mut asked = 0;
        let mut granted = || {
            asked += 1;
            true
        };
        assert!(!waiting.take_in(event(), &mut granted) && !waiting.take_in(event(), &mut granted));
        assert_eq!(asked, 1, "whoever waits already is not asked again");
        assert!(waiting.take_in(EventRecord { level: Level::Error, ..event() }, || panic!("written at once")));
    }

    #[test]
    fn several_who_tell_are_kept_in_the_order_of_telling() {
        let (store, pending) = (Store::in_memory().unwrap(), Arc::new(Pending::default()));
        let (agent, run) = (journal(&store, &pending), journal(&store, &pending));
        agent.event(Timestamp(1), &Event::ServiceStopping);
        run.event(Timestamp(3), &Event::CycleStarted { initial: false });
        agent.event(Timestamp(2), &Event::ServiceStopping);
        // What somebody has to look at is written at once, behind what was told before it.
        run.event(Timestamp(4), &Event::CycleNotStarted { message: "no".to_owned() });
        assert_eq!(kept(&store), [1, 2, 3, 4].map(Timestamp));
        agent.event(Timestamp(5), &Event::ServiceStopping);
        drop(run);
        assert_eq!(kept(&store).len(), 5);
    }
}
