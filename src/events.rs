//! The closed catalogue of events: what people and monitoring are told, each with a number, a level and its fields.
//!
//! Numbers below 7000 are Microsoft's own and mean the same as there; the others are ours. An event is told once,
//! after the state that it speaks of is committed.

mod catalogue;
mod password;
mod password_text;

pub use catalogue::{Explanation, Source, catalogue, explanation};

pub use password::PasswordEvent;

use crate::model::{Timestamp, counted};
use std::fmt;

/// Lines of what a run noted that its event repeats.
const NOTES_TOLD: usize = 3;

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// For the record.
    Information,
    /// Somebody should look at it in the next days.
    Warning,
    /// Somebody must do something.
    Error,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// 116: more deletes are pending than may be sent; nothing was (specification: sync engine, section 5.5).
    DeletionThreshold {
        /// The target's name.
        connector: String,
        /// Deletes pending.
        pending: u64,
        /// Deletes allowed.
        limit: u64,
    },
    /// 7001: a cycle begins.
    CycleStarted {
        /// With full steps only.
        initial: bool,
    },
    /// 7002: a cycle is over.
    CycleFinished {
        /// The worst result of its runs.
        result: String,
    },
    /// 7010: a run is over.
    RunFinished {
        /// The connector's name.
        connector: String,
        /// The profile's name.
        profile: String,
        /// How it ended.
        result: String,
        /// A sentence when it did not end well.
        message: Option<String>,
    },
    /// 7011: a run of an earlier process never came to its end.
    RunInterrupted {
        /// The connector's name.
        connector: String,
        /// The profile's name.
        profile: String,
    },
    /// 7020: a full import misses so much that it is not believed; nothing was staged as deleted.
    ImportShrank {
        /// The connector's name.
        connector: String,
        /// How much is missing, and what to do.
        message: String,
    },
    /// 7021: values that we manage were changed in the target by somebody else.
    Drift {
        /// The target's name.
        connector: String,
        /// How many objects.
        objects: u64,
    },
    /// 7022: changes that the target had accepted are not there.
    NotReimported {
        /// The target's name.
        connector: String,
        /// How many objects.
        objects: u64,
    },
    /// 7030: a step reads or evaluates everything although a delta was asked for.
    FullStepRequired {
        /// The connector's name.
        connector: String,
        /// `import` or `synchronization`.
        step: &'static str,
        /// Why.
        reason: String,
    },
    /// 7040: an export was left out because this installation is in staging mode.
    ExportLeftOut {
        /// The target's name.
        connector: String,
    },
    /// 7041: another installation writes to the same target, so this one sends nothing.
    AnotherInstallation {
        /// The target's name.
        connector: String,
        /// Its machine, its id and its last contact.
        other: String,
    },
    /// 7042: a cycle goes on without the delete threshold, which somebody switched off.
    DeletionThresholdOff {
        /// The target's name.
        connector: String,
    },
    /// 7043: an export broke off while names changed hands, and people go by stand-ins.
    StandInNames {
        /// The target's name.
        connector: String,
        /// How many.
        objects: u64,
        /// Some of them by name, with their stand-ins.
        people: String,
    },
    /// 7060: a service begins its work.
    ServiceStarted {
        /// The program's version.
        version: String,
    },
    /// 7061: a service ends its work.
    ServiceStopping,
    /// 7062: a configuration that was changed counts from now on.
    ConfigurationTaken,
    /// 7063: a configuration that was changed cannot be used; the one before goes on, with the stricter guards of both.
    ConfigurationRefused {
        /// What is wrong with it.
        message: String,
    },
    /// 7064: a cycle that was due could not begin.
    CycleNotStarted {
        /// Why.
        message: String,
    },
    /// 7065: the store's disk failed; nothing is read or written before it is opened again.
    StoreLost {
        /// What the disk said.
        message: String,
    },
    /// 7066: the store was opened again.
    StoreBack {
        /// Since when it could not be used.
        since: Timestamp,
    },
    /// 7070: people were told of conditions that need them.
    AlertSent {
        /// By which way.
        channel: &'static str,
        /// Of how many conditions.
        conditions: u64,
    },
    /// 7071: people could not be told; it is tried again.
    AlertNotSent {
        /// By which way.
        channel: &'static str,
        /// Why.
        message: String,
    },
    /// 0, 115, 601 to 668, 6900, 7050 and behind: what happened to passwords.
    Password(PasswordEvent),
}

/// The value of an event's field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field<'a> {
    /// A text.
    Text(&'a str),
    /// Several texts.
    Texts(&'a [String]),
    /// How many.
    Count(u64),
    /// Somebody's number for something.
    Code(i64),
    /// Yes or no.
    Flag(bool),
    /// A point in time.
    Time(Timestamp),
}

impl From<PasswordEvent> for Event {
    fn from(event: PasswordEvent) -> Self {
        Self::Password(event)
    }
}

impl Event {
    /// The stable number.
    pub fn number(&self) -> u32 {
        match self {
            Self::DeletionThreshold { .. } => 116,
            Self::CycleStarted { .. } => 7001,
            Self::CycleFinished { .. } => 7002,
            Self::RunFinished { .. } => 7010,
            Self::RunInterrupted { .. } => 7011,
            Self::ImportShrank { .. } => 7020,
            Self::Drift { .. } => 7021,
            Self::NotReimported { .. } => 7022,
            Self::FullStepRequired { .. } => 7030,
            Self::ExportLeftOut { .. } => 7040,
            Self::AnotherInstallation { .. } => 7041,
            Self::DeletionThresholdOff { .. } => 7042,
            Self::StandInNames { .. } => 7043,
            Self::ServiceStarted { .. } => 7060,
            Self::ServiceStopping => 7061,
            Self::ConfigurationTaken => 7062,
            Self::ConfigurationRefused { .. } => 7063,
            Self::CycleNotStarted { .. } => 7064,
            Self::StoreLost { .. } => 7065,
            Self::StoreBack { .. } => 7066,
            Self::AlertSent { .. } => 7070,
            Self::AlertNotSent { .. } => 7071,
            Self::Password(event) => event.facts().0,
        }
    }

    /// How much it matters.
    pub fn level(&self) -> Level {
        match self {
            Self::CycleStarted { .. }
            | Self::FullStepRequired { .. }
            | Self::ExportLeftOut { .. }
            | Self::ServiceStarted { .. }
            | Self::ServiceStopping
            | Self::ConfigurationTaken
            | Self::StoreBack { .. }
            | Self::AlertSent { .. } => Level::Information,
            Self::DeletionThreshold { .. }
            | Self::DeletionThresholdOff { .. }
            | Self::RunInterrupted { .. }
            | Self::Drift { .. }
            | Self::NotReimported { .. }
            | Self::AlertNotSent { .. } => Level::Warning,
            Self::ImportShrank { .. }
            | Self::AnotherInstallation { .. }
            | Self::StandInNames { .. }
            | Self::ConfigurationRefused { .. }
            | Self::CycleNotStarted { .. }
            | Self::StoreLost { .. } => Level::Error,
            Self::CycleFinished { result } | Self::RunFinished { result, .. } => level_of(result),
            Self::Password(event) => event.facts().1,
        }
    }

    /// What it says in parts: names and values, for machines. Fields without a value are left out.
    pub fn fields(&self) -> Vec<(&'static str, Field<'_>)> {
        use Field::{Count, Flag, Text};
        match self {
            Self::DeletionThreshold { connector, pending, limit } => {
                vec![("connector", Text(connector)), ("pending", Count(*pending)), ("limit", Count(*limit))]
            }
            Self::CycleStarted { initial } => vec![("initial", Flag(*initial))],
            Self::CycleFinished { result } => vec![("result", Text(result))],
            Self::RunFinished { connector, profile, result, message: text } => {
                let mut fields = vec![("connector", Text(connector)), ("profile", Text(profile)), ("result", Text(result))];
                fields.extend(text.as_deref().map(|text| ("message", Text(text))));
                fields
            }
            Self::RunInterrupted { connector, profile } => vec![("connector", Text(connector)), ("profile", Text(profile))],
            Self::ImportShrank { connector, message } => vec![("connector", Text(connector)), ("message", Text(message))],
            Self::Drift { connector, objects } | Self::NotReimported { connector, objects } => {
                vec![("connector", Text(connector)), ("objects", Count(*objects))]
            }
            Self::FullStepRequired { connector, step, reason } => {
                vec![("connector", Text(connector)), ("step", Text(step)), ("reason", Text(reason))]
            }
            Self::ExportLeftOut { connector } | Self::DeletionThresholdOff { connector } => vec![("connector", Text(connector))],
            Self::AnotherInstallation { connector, other } => vec![("connector", Text(connector)), ("other", Text(other))],
            Self::StandInNames { connector, objects, people } => {
                vec![("connector", Text(connector)), ("objects", Count(*objects)), ("people", Text(people))]
            }
            Self::ServiceStarted { version } => vec![("version", Text(version))],
            Self::ServiceStopping | Self::ConfigurationTaken => Vec::new(),
            Self::ConfigurationRefused { message } | Self::CycleNotStarted { message } | Self::StoreLost { message } => {
                vec![("message", Text(message))]
            }
            Self::StoreBack { since } => vec![("since", Field::Time(*since))],
            Self::AlertSent { channel, conditions } => vec![("channel", Text(channel)), ("conditions", Count(*conditions))],
            Self::AlertNotSent { channel, message } => vec![("channel", Text(channel)), ("message", Text(message))],
            Self::Password(event) => event.fields(),
        }
    }

    /// The connector it is about, if any.
    pub fn connector(&self) -> Option<&str> {
        match self {
            Self::DeletionThreshold { connector, .. }
            | Self::RunFinished { connector, .. }
            | Self::RunInterrupted { connector, .. }
            | Self::ImportShrank { connector, .. }
            | Self::Drift { connector, .. }
            | Self::NotReimported { connector, .. }
            | Self::FullStepRequired { connector, .. }
            | Self::AnotherInstallation { connector, .. }
            | Self::StandInNames { connector, .. }
            | Self::DeletionThresholdOff { connector }
            | Self::ExportLeftOut { connector } => Some(connector),
            Self::CycleStarted { .. }
            | Self::CycleFinished { .. }
            | Self::ServiceStarted { .. }
            | Self::ServiceStopping
            | Self::ConfigurationTaken
            | Self::ConfigurationRefused { .. }
            | Self::CycleNotStarted { .. }
            | Self::StoreLost { .. }
            | Self::StoreBack { .. }
            | Self::AlertSent { .. }
            | Self::AlertNotSent { .. } => None,
            Self::Password(event) => event.fields().into_iter().find_map(|(name, field)| match field {
                Field::Text(connector) if name == "connector" => Some(connector),
                _ => None,
            }),
        }
    }
}

fn level_of(result: &str) -> Level {
    if result == "success" {
        Level::Information
    } else if result.starts_with("completed-") {
        Level::Warning
    } else {
        Level::Error
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeletionThreshold { connector, pending, limit } => write!(
                f,
                "{pending} {} pending for {connector}, {limit} are allowed; nothing was exported. Review them and allow these deletes once",
                if *pending == 1 { "delete is" } else { "deletes are" }
            ),
            Self::CycleStarted { initial: true } => f.write_str("an initial cycle begins"),
            Self::CycleStarted { initial: false } => f.write_str("a cycle begins"),
            Self::CycleFinished { result } => write!(f, "the cycle ended: {result}"),
            Self::RunFinished { connector, profile, result, message } => {
                write!(f, "{profile} on {connector} ended: {result}")?;
                let Some(message) = message else { return Ok(()) };
                // Many entries may have one problem; all of it stands with the run.
                let lines: Vec<&str> = message.lines().collect();
                let told = lines.get(..NOTES_TOLD).unwrap_or(&lines);
                write!(f, ": {}", told.join("\n"))?;
                match lines.len() - told.len() {
                    0 => Ok(()),
                    more => write!(f, "\nand {more} more, which `syncline run show` has"),
                }
            }
            Self::RunInterrupted { connector, profile } => {
                write!(f, "{profile} on {connector} was interrupted when its process ended; the next run goes on from the last commit")
            }
            Self::ImportShrank { connector, message } => write!(f, "{connector}: {message}"),
            Self::Drift { connector, objects } => {
                let are = if *objects == 1 { "object was" } else { "objects were" };
                write!(f, "{objects} {are} changed in {connector} by others; an export puts back what differs from what the rules give")
            }
            Self::NotReimported { connector, objects } => {
                write!(f, "{connector} accepted changes of {objects} objects and does not show them; they are sent again")
            }
            Self::FullStepRequired { connector, step, reason } => write!(f, "full {step} of {connector}: {reason}"),
            Self::ExportLeftOut { connector } => write!(f, "staging mode: nothing was exported to {connector}"),
            Self::DeletionThresholdOff { connector } => write!(
                f,
                "the delete threshold is off: however many deletes wait for {connector}, they are sent, unless the target itself limits them"
            ),
            Self::AnotherInstallation { connector, other } => write!(
                f,
                "another installation writes to {connector}: {other}; this one sends nothing until somebody decides which of them is active"
            ),
            Self::StandInNames { connector, objects, people } => write!(
                f,
                "{} by stand-in names in {connector}, since an export ended while names changed hands: {people}. The next export sends them \
                 first; in staging mode nothing is sent, so promote this installation by `syncline promote`",
                counted(*objects, "object goes", "objects go")
            ),
            Self::ServiceStarted { version } => write!(f, "the service of Syncline {version} begins its work"),
            Self::ServiceStopping => f.write_str("the service ends its work"),
            Self::ConfigurationTaken => f.write_str("the configuration was changed and counts from now on"),
            Self::ConfigurationRefused { message } => {
                write!(
                    f,
                    "the configuration was changed and cannot be used; the one before goes on, with the stricter guards of both: {}",
                    message.replace('\n', "; ")
                )
            }
            Self::CycleNotStarted { message } => write!(f, "a cycle was due and could not begin: {message}"),
            Self::StoreLost { message } => {
                write!(f, "the store cannot be used: {message}. Look after its disk; it is opened again by itself")
            }
            Self::AlertSent { channel, conditions } => write!(f, "people were told by {channel} of {conditions} conditions"),
            Self::AlertNotSent { channel, message } => write!(f, "people could not be told by {channel}: {message}"),
            Self::StoreBack { since } => write!(f, "the store was opened again; it could not be used since {since}"),
            Self::Password(event) => event.fmt(f),
        }
    }
}

/// Hears events.
pub trait EventSink: Send + Sync {
    /// Something happened.
    fn event(&self, at: Timestamp, event: &Event);
}

/// Passes events to the log, with the number in the field `event_id`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Log;

impl EventSink for Log {
    fn event(&self, _at: Timestamp, event: &Event) {
        let (event_id, connector) = (event.number(), event.connector().unwrap_or_default());
        match event.level() {
            Level::Information => tracing::info!(event_id, connector, "{event}"),
            Level::Warning => tracing::warn!(event_id, connector, "{event}"),
            Level::Error => tracing::error!(event_id, connector, "{event}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_give_levels() {
        let of = |result: &str| Event::CycleFinished { result: result.to_owned() }.level();
        assert_eq!(of("success"), Level::Information);
        assert_eq!(of("completed-export-errors"), Level::Warning);
        assert_eq!(of("stopped-connectivity"), Level::Error);
    }

    #[test]
    fn results_of_passwords_read_as_published() {
        let event = Event::from(PasswordEvent::ChangeResult {
            connector: "corp".to_owned(),
            domain: "corp.example".to_owned(),
            anchor: "eX5b==".to_owned(),
            dn: "CN=Ann,DC=corp,DC=example".to_owned(),
            change_date: Timestamp::from_seconds(1_700_000_000),
            success: false,
            force_change: false,
            error_code: Some(9),
            message: Some("no".to_owned()),
        });
        assert_eq!((event.number(), event.level(), event.connector()), (657, Level::Information, Some("corp")));
        let text = event.to_string();
        assert!(text.starts_with("Password Change Result - Anchor : eX5b==, Dn : CN=Ann,DC=corp,DC=example, "), "{text}");
        assert!(text.contains("Result : Failed.") && text.contains("Extended Error: no"), "{text}");
        let fields = event.fields();
        assert!(fields.contains(&("result", Field::Text("Failed"))) && fields.contains(&("error_code", Field::Code(9))), "{fields:?}");
        let request = PasswordEvent::ChangeRequest {
            connector: String::new(),
            domain: String::new(),
            anchor: "a".to_owned(),
            dn: "CN=b".to_owned(),
            change_date: Timestamp::from_seconds(1_700_000_000),
        };
        let text = "Password Change Request - Anchor : a, Dn : CN=b, Change Date : 11/14/2023 22:13:20";
        assert_eq!(Event::from(request).to_string(), text);
    }

    #[test]
    fn the_threshold_keeps_its_number_and_says_both_counts() {
        let event = Event::DeletionThreshold { connector: "Entra".to_owned(), pending: 612, limit: 500 };
        assert_eq!((event.number(), event.level()), (116, Level::Warning));
        let text = event.to_string();
        assert!(text.contains("612") && text.contains("500") && text.contains("Entra"), "{text}");
    }
}
