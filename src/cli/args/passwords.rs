//! Commands about passwords and about events.

use super::at_least_one;
use crate::events::Source;
use clap::{Args, Subcommand, ValueEnum};

/// Commands about password hash synchronization.
#[derive(Debug, Subcommand)]
pub(crate) enum PhsCommand {
    /// Read changed passwords and send them: every two minutes until interrupted, or once.
    Run {
        /// Once, and end.
        #[arg(long)]
        once: bool,
    },
    /// Say how password synchronization stands, of each directory or of one account.
    Status {
        /// One account: name, anchor, sign-in name or number; `connector:` may stand before it.
        #[arg(long, value_name = "ACCOUNT")]
        object: Option<String>,
        /// What the tenant does with the passwords of synchronized people.
        #[arg(long, conflicts_with = "object")]
        policy: bool,
    },
    /// Say which share of the accounts has a confirmed password, and what the others lack.
    Coverage {
        /// Only sign-in names of this domain.
        #[arg(long, value_name = "DOMAIN")]
        domain: Option<String>,
        /// Also name the accounts that lack one.
        #[arg(long)]
        list: bool,
        /// Name those that lack one for this reason.
        #[arg(long, value_name = "REASON")]
        reason: Option<String>,
        /// Print the names as comma-separated values and nothing else.
        #[arg(long)]
        csv: bool,
    },
    /// Send the password of every account in scope once more.
    FullSync {
        /// The directory; all of them without it.
        connector: Option<String>,
    },
    /// List what was told of the password of one account, the newest last: requests, results, failures.
    Log {
        /// Name, anchor, sign-in name or number; `connector:` may stand before it.
        object: String,
        /// At most so many.
        #[arg(long, default_value_t = 50, value_parser = at_least_one)]
        last: usize,
    },
    /// Send the password of one account now.
    Push {
        /// Name, anchor, sign-in name or number; `connector:` may stand before it.
        object: String,
    },
    /// Switch password synchronization on: in the tenant, and for a directory.
    Enable {
        /// The directory; may be left out when there is only one that it is possible for.
        connector: Option<String>,
        /// Only list the people whose cloud password would be overwritten.
        #[arg(long)]
        what_if: bool,
    },
    /// Switch password synchronization off for a directory. Passwords that were sent go on working.
    Disable {
        /// The directory; may be left out when there is only one that it is on for.
        connector: Option<String>,
        /// Only say what would change.
        #[arg(long)]
        what_if: bool,
    },
    /// Hold everything that password synchronization needs against what is there.
    Doctor {
        /// Also one account.
        #[arg(long, value_name = "ACCOUNT")]
        object: Option<String>,
    },
}

/// Commands about events.
#[derive(Debug, Subcommand)]
pub(crate) enum EventsCommand {
    /// List the newest events, the oldest of them first.
    List {
        /// Which.
        #[command(flatten)]
        filter: EventFilter,
        /// At most so many.
        #[arg(long, default_value_t = 50, value_parser = at_least_one)]
        limit: usize,
    },
    /// Print events as they are told, until interrupted; with --json one document in each line.
    Follow {
        /// Which.
        #[command(flatten)]
        filter: EventFilter,
    },
    /// Say what an event means and what to do about it; without a number list all kinds.
    Explain {
        /// Its number.
        id: Option<u32>,
    },
}

/// Which events.
#[derive(Clone, Debug, Args)]
pub(crate) struct EventFilter {
    /// Kinds by number: 656,657.
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',')]
    pub id: Vec<u32>,
    /// What tells them: sync,scheduler.
    #[arg(long, value_name = "SOURCES", value_delimiter = ',', value_parser = source)]
    pub source: Vec<Source>,
    /// At least this level.
    #[arg(long, value_enum)]
    pub level: Option<EventLevel>,
    /// About this connector.
    #[arg(long, value_name = "NAME")]
    pub connector: Option<String>,
    /// With this text: a name, an anchor, a code.
    #[arg(long, value_name = "TEXT")]
    pub text: Option<String>,
    /// Not older than this: 30m, 12h, 7d.
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub since: Option<i64>,
}

/// How much events matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EventLevel {
    /// For the record.
    Information,
    /// Somebody should look at it.
    Warning,
    /// Somebody must do something.
    Error,
}

/// What tells events, by its word.
fn source(text: &str) -> Result<Source, String> {
    let known = Source::ALL.into_iter().find(|source| source.as_str().eq_ignore_ascii_case(text.trim()));
    known.ok_or_else(|| format!("there are {}", Source::ALL.map(Source::as_str).join(", ")))
}

/// An age in microseconds.
fn age(text: &str) -> Result<i64, String> {
    let wrong = || "write a number and m, h or d: 30m, 12h, 7d".to_owned();
    let unit = match text.chars().last() {
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 86_400,
        _ => return Err(wrong()),
    };
    let number: i64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    number.checked_mul(unit * 1_000_000).filter(|age| *age > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::age;

    #[test]
    fn ages_are_numbers_with_a_unit() {
        assert_eq!((age("30m"), age("2d")), (Ok(1_800_000_000), Ok(172_800_000_000)));
        for wrong in ["", "m", "30", "-1h", "0d", "9999999999999d", "1w", "5é"] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
    }
}
