//! `[scheduler]` and `[service]`: what a running service does by itself, and where it can be reached.

use super::address::holds_account;
use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A duration as people write it: `45m`, `1h 30m`, `2d`, `1w`; a day has 24 hours.
///
/// # Errors
/// When it is none, or counts in months or years, which have no one length.
pub fn duration_of(text: &str) -> Result<SignedDuration, String> {
    let none = || format!("'{text}' is no duration: write 45m, 1h 30m or 2d (a day has 24 hours)");
    text.parse::<jiff::Span>().and_then(|span| span.to_duration(jiff::SpanRelativeTo::days_are_24_hours())).map_err(|_| none())
}

fn read_duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<SignedDuration, D::Error> {
    duration_of(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

/// `[scheduler]`: when cycles run (specification: sync engine, section 5.4).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SchedulerTable {
    /// Cycles run by themselves.
    pub enabled: bool,
    /// From the beginning of one cycle to that of the next: `30m`, `1h 30m`. The tenant's shortest interval counts where
    /// it is longer.
    #[schemars(with = "String")]
    #[serde(deserialize_with = "read_duration")]
    pub interval: SignedDuration,
    /// History is purged and the store is looked after once a day.
    pub maintenance: bool,
    /// A directory that tells of changes starts a cycle at once.
    pub near_real_time: bool,
}

impl Default for SchedulerTable {
    fn default() -> Self {
        Self { enabled: true, interval: SignedDuration::from_mins(30), maintenance: true, near_real_time: true }
    }
}

/// No cycle follows the one before sooner than this by schedule.
const SHORTEST: SignedDuration = SignedDuration::from_mins(1);
/// Deltas are believed for a week; a longer interval would read everything each time.
const LONGEST: SignedDuration = SignedDuration::from_hours(6 * 24);

impl SchedulerTable {
    /// The interval as it counts time.
    pub fn interval(&self) -> Duration {
        self.interval.unsigned_abs()
    }

    /// What is wrong with the interval, if anything.
    ///
    /// # Errors
    /// A sentence.
    pub fn check(&self) -> Result<(), String> {
        if (SHORTEST..=LONGEST).contains(&self.interval) {
            return Ok(());
        }
        Err(format!("interval is {:#}, and must be between 1 minute and 6 days", self.interval))
    }
}

/// `[service]`: where a running service can be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServiceTable {
    /// The socket for commands of this machine; beside the store where none is named. Relative to the folder.
    pub socket: Option<PathBuf>,
    /// Address and port for `/healthz`, `/readyz` and `/metrics`; not served without it. They tell counts and times, no
    /// names and no values.
    pub health: Option<SocketAddr>,
    /// The collector of OpenTelemetry that gets spans of cycles, steps and batches (OTLP over HTTP); none without it.
    pub traces: Option<String>,
}

impl ServiceTable {
    /// What is wrong with the collector's address, if anything.
    ///
    /// # Errors
    /// A sentence.
    pub fn check(&self) -> Result<(), String> {
        match &self.traces {
            Some(address) if !(address.starts_with("http://") || address.starts_with("https://")) => {
                Err("traces is no address: write http://host:4318".to_owned())
            }
            Some(address) if holds_account(address) => {
                Err("traces holds an account, and everybody may read this file: write http://host:4318, and let the collector trust this machine".to_owned())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_written_as_people_say_them() {
        let read = |text: &str| toml::from_str::<SchedulerTable>(text).map_err(|error| error.to_string());
        assert_eq!(read("interval = \"45m\"").unwrap().interval(), Duration::from_mins(45));
        assert_eq!(read("interval = \"1h 30m\"").unwrap().interval(), Duration::from_mins(90));
        assert_eq!(read("interval = \"2d\"").unwrap().interval(), Duration::from_hours(48));
        assert!(read("interval = \"1 month\"").unwrap_err().contains("'1 month' is no duration: write 45m"));
        assert_eq!(read("interval = \"PT3H\"").unwrap().interval(), Duration::from_hours(3));
        assert!(read("interval = 30").is_err());
        for wrong in ["5s", "7d", "-30m"] {
            let error = read(&format!("interval = \"{wrong}\"")).and_then(|table| table.check()).unwrap_err();
            assert!(error.contains("interval"), "{wrong}: {error}");
        }
    }
}
