//! When people are told of a condition that needs them: once, again while it lasts, and when it is over. Without a clock
//! and without effects, so that weeks of it take no time to try.

use crate::model::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What people are told of. The list is closed: whoever filters mails can rely on the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// People who are disabled or gone in a directory are still enabled in a target, and nothing decides it there.
    StillEnabled,
    /// People go by stand-in names and cannot sign in, since an export ended while names changed hands.
    StandIns,
    /// More deletes wait than may be sent, and nothing is exported.
    DeletesHeld,
    /// The first export waits for somebody who has looked at it.
    FirstExport,
    /// Another installation writes to the same tenant, so this one sends nothing.
    SecondInstallation,
    /// A full import missed so much that it is not believed.
    ImportShrank,
    /// Runs of a connector do not come to their end.
    RunsStop,
    /// No cycle has succeeded for long.
    NoCycle,
    /// The target refuses many objects.
    ExportErrors,
    /// Passwords are not sent, or not read.
    PasswordsHeld,
    /// Nothing was heard from password synchronization for long.
    PasswordsStale,
    /// A certificate expires soon.
    Expiry,
    /// Nothing runs: the rules do not compile, or a connector was taken away.
    NothingRuns,
    /// The configuration was changed and cannot be used.
    ConfigurationRefused,
    /// The store's disk failed.
    StoreLost,
}

impl Condition {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 15] = [
        Self::StillEnabled,
        Self::StandIns,
        Self::DeletesHeld,
        Self::FirstExport,
        Self::SecondInstallation,
        Self::ImportShrank,
        Self::RunsStop,
        Self::NoCycle,
        Self::ExportErrors,
        Self::PasswordsHeld,
        Self::PasswordsStale,
        Self::Expiry,
        Self::NothingRuns,
        Self::ConfigurationRefused,
        Self::StoreLost,
    ];

    /// Its name in the configuration and in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StillEnabled => "still-enabled",
            Self::StandIns => "stand-ins",
            Self::DeletesHeld => "deletes-held",
            Self::FirstExport => "first-export",
            Self::SecondInstallation => "second-installation",
            Self::ImportShrank => "import-shrank",
            Self::RunsStop => "runs-stop",
            Self::NoCycle => "no-cycle",
            Self::ExportErrors => "export-errors",
            Self::PasswordsHeld => "passwords-held",
            Self::PasswordsStale => "passwords-stale",
            Self::Expiry => "expiry",
            Self::NothingRuns => "nothing-runs",
            Self::ConfigurationRefused => "configuration-refused",
            Self::StoreLost => "store-lost",
        }
    }

    /// How long it has to last before anybody is told: what the next cycles put right by themselves is nobody's concern.
    pub fn patience(self) -> Duration {
        match self {
            Self::RunsStop => Duration::from_hours(1),
            // A cycle under way may be about to put it right.
            Self::StillEnabled | Self::StandIns | Self::PasswordsHeld | Self::StoreLost => Duration::from_mins(15),
            _ => Duration::ZERO,
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A condition that is there now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    /// Which one.
    pub condition: Condition,
    /// The connector or thing that it is about; empty for the installation.
    pub subject: String,
    /// What it is, in a sentence.
    pub text: String,
    /// The command that shows more, or helps.
    pub command: String,
}

/// What is told of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum News {
    /// It is there.
    Began,
    /// It is still there.
    Lasts,
    /// It is gone.
    Over,
    /// Nothing is there: somebody tries out whether people are reached.
    Test,
}

/// One thing to tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// What is told of it.
    pub news: News,
    /// The condition, as it was found last.
    #[serde(flatten)]
    pub found: Found,
    /// Since when it was there, in microseconds since 1970.
    #[serde(skip)]
    pub since: i64,
}

/// How often people are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What lasts is told again after this time.
    pub remind: Duration,
}

/// What is told together at most once in this time.
const SPACING: Duration = Duration::from_mins(5);
/// What stays away for so long is over; what comes back sooner was never gone.
const SETTLED: Duration = Duration::from_mins(30);

/// What one channel told of which conditions. Kept across restarts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    entries: BTreeMap<String, Entry>,
    /// When something was told last, in microseconds since 1970.
    told: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    condition: Condition,
    subject: String,
    text: String,
    command: String,
    /// When it was found first.
    since: i64,
    /// When it was told last.
    told: Option<i64>,
    /// When it was found to be gone.
    gone: Option<i64>,
}

impl Entry {
    fn message(&self, news: News) -> Message {
        let Self { condition, subject, text, command, since, .. } = self.clone();
        Message { news, found: Found { condition, subject, text, command }, since }
    }

    fn due(&self, terms: Terms, now: Timestamp) -> Option<News> {
        match (self.gone, self.told) {
            (Some(gone), Some(_)) => (passed(gone, now) >= SETTLED).then_some(News::Over),
            (None, None) => (passed(self.since, now) >= self.condition.patience()).then_some(News::Began),
            (None, Some(told)) => (passed(told, now) >= terms.remind).then_some(News::Lasts),
            (Some(_), None) => None,
        }
    }
}

impl Ledger {
    /// Notes what is there now. True when that changed what is to be kept.
    pub fn look(&mut self, found: &[Found], now: Timestamp) -> bool {
        let before = self.clone();
        let mut there: BTreeMap<String, &Found> = found.iter().map(|found| (key(found), found)).collect();
        self.entries.retain(|key, entry| {
            // A time in the future is one of a clock that was set back since.
            for time in [Some(&mut entry.since), entry.told.as_mut(), entry.gone.as_mut()].into_iter().flatten() {
                *time = (*time).min(now.0);
            }
            if let Some(found) = there.remove(key) {
                entry.gone = None;
                entry.text.clone_from(&found.text);
                entry.command.clone_from(&found.command);
                return true;
            }
            entry.gone.get_or_insert(now.0);
            // What nobody was told of needs no all-clear.
            entry.told.is_some()
        });
        for (key, found) in there {
            let Found { condition, subject, text, command } = found.clone();
            self.entries.insert(key, Entry { condition, subject, text, command, since: now.0, told: None, gone: None });
        }
        self.told = self.told.map(|told| told.min(now.0));
        *self != before
    }

    /// What is to be told now, all of it together; nothing shortly after something was told.
    pub fn due(&self, terms: Terms, now: Timestamp) -> Vec<Message> {
        if self.told.is_some_and(|told| passed(told, now) < SPACING) {
            return Vec::new();
        }
        let mut due: Vec<Message> = self.entries.values().filter_map(|entry| Some(entry.message(entry.due(terms, now)?))).collect();
        due.sort_by_key(|message| (message.news == News::Over, message.found.condition));
        due
    }

    /// Notes that these were told.
    pub fn told(&mut self, messages: &[Message], now: Timestamp) {
        for message in messages {
            let key = key(&message.found);
            if message.news == News::Over {
                self.entries.remove(&key);
            } else if let Some(entry) = self.entries.get_mut(&key) {
                entry.told = Some(now.0);
            }
        }
        self.told = Some(now.0);
    }
}

fn key(found: &Found) -> String {
    format!("{}/{}", found.condition, found.subject)
}

fn passed(since: i64, now: Timestamp) -> Duration {
    Duration::from_micros(u64::try_from(now.0.saturating_sub(since)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms { remind: Duration::from_hours(24) };

    fn at(minutes: i64) -> Timestamp {
        Timestamp(1_000_000_000 + minutes * 60_000_000)
    }

    fn held(text: &str) -> Found {
        let (subject, command) = ("Entra".to_owned(), "syncline export --what-if".to_owned());
        Found { condition: Condition::DeletesHeld, subject, text: text.to_owned(), command }
    }

    /// Lets a ledger live through minutes, and gives what it told when.
    fn live(minutes: std::ops::Range<i64>, found: impl Fn(i64) -> Vec<Found>) -> Vec<(i64, News, Condition)> {
        let (mut ledger, mut told) = (Ledger::default(), Vec::new());
        for minute in minutes {
            ledger.look(&found(minute), at(minute));
            let due = ledger.due(TERMS, at(minute));
            if !due.is_empty() {
                told.extend(due.iter().map(|message| (minute, message.news, message.found.condition)));
                ledger.told(&due, at(minute));
            }
        }
        told
    }

    #[test]
    fn a_condition_is_told_once_again_daily_and_when_it_is_over() {
        let told = live(0..6_000, |minute| if (10..4_000).contains(&minute) { vec![held("600 wait")] } else { Vec::new() });
        let held = Condition::DeletesHeld;
        assert_eq!(told, [(10, News::Began, held), (1_450, News::Lasts, held), (2_890, News::Lasts, held), (4_030, News::Over, held)]);
    }

    #[test]
    fn what_comes_and_goes_is_no_storm() {
        let told = live(0..1_000, |minute| if minute % 20 < 10 { vec![held("600 wait")] } else { Vec::new() });
        assert_eq!(told, [(0, News::Began, Condition::DeletesHeld)]);
    }

    #[test]
    fn what_mends_itself_is_never_told() {
        let stop = |minute: i64| {
            let (subject, text, command) = ("corp".to_owned(), "stopped".to_owned(), String::new());
            let found = Found { condition: Condition::RunsStop, subject, text, command };
            if minute % 60 < 30 { vec![found] } else { Vec::new() }
        };
        assert_eq!(live(0..600, stop), []);
    }

    #[test]
    fn what_comes_together_is_told_together() {
        let many = |minute: i64| -> Vec<Found> {
            (0..minute.min(50)).map(|number| Found { subject: format!("connector {number}"), ..held("600 wait") }).collect()
        };
        let told = live(0..60, many);
        let moments: std::collections::BTreeSet<i64> = told.iter().map(|(minute, ..)| *minute).collect();
        assert_eq!((told.len(), moments.len()), (50, 11), "{moments:?}");
        assert!(moments.iter().zip(moments.iter().skip(1)).all(|(one, next)| next - one >= 5));
    }

    #[test]
    fn a_clock_that_is_set_back_holds_nothing_up() {
        let mut ledger = Ledger::default();
        ledger.look(&[held("600 wait")], at(10_000));
        let due = ledger.due(TERMS, at(10_000));
        ledger.told(&due, at(10_000));
        ledger.look(&[held("600 wait")], at(0));
        assert_eq!(ledger.due(TERMS, at(24 * 60 - 1)), []);
        assert_eq!(ledger.due(TERMS, at(24 * 60)).len(), 1);
    }

    #[test]
    fn it_is_kept_and_tells_the_newest_text() {
        let mut ledger = Ledger::default();
        assert!(ledger.look(&[held("600 wait")], at(0)));
        assert!(!ledger.look(&[held("600 wait")], at(1)));
        assert!(ledger.look(&[held("601 wait")], at(2)));
        let text = serde_json::to_string(&ledger).unwrap();
        let mut read: Ledger = serde_json::from_str(&text).unwrap();
        assert_eq!(read, ledger);
        assert_eq!(read.due(TERMS, at(3))[0].found.text, "601 wait");
        read.told(&ledger.due(TERMS, at(3)), at(3));
        assert_eq!(read.due(TERMS, at(4)), []);
        assert!(Condition::ALL.iter().all(|condition| serde_json::to_string(condition).unwrap() == format!("\"{condition}\"")));
    }
}
