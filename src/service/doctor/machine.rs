//! The machine and the store: room on the disk, hashing, the store itself, the rules, and whether cycles run.

use super::Finding;
use crate::alert::Condition;
use crate::config::Config;
use crate::context::Context;
use crate::model::{counted, octets};
use crate::password::hash;
use crate::rules::Severity;
use crate::service::Service;
use std::path::Path;

/// Less room than this on the store's disk ends in a store that cannot be written, soon.
const ROOM: u64 = 1 << 30;
/// And less than this at once.
const ROOM_LEAST: u64 = 100 << 20;
/// Says whether the kernel allows approved algorithms only.
const FIPS: &str = "/proc/sys/crypto/fips_enabled";

pub(super) fn machine(config: &Config, service: Option<&Service>) -> Vec<Finding> {
    let mut found = Vec::new();
    let path = service.map_or(config.store.as_path(), Service::store_path);
    found.extend(room(path));
    found.push(Finding::ok("machine", "hashing of passwords", format!("keys are derived by {}", hash::backend())));
    if std::fs::read_to_string(FIPS).is_ok_and(|text| text.trim() == "1") {
        let evidence =
            "this machine is in FIPS mode; MD4 and MD5, which the directory's protocols want, are computed by the program itself";
        let remedy = "nothing is blocked by it; whoever audits this machine should know";
        found.push(Finding::warn("machine", "approved algorithms", evidence, remedy));
    }
    if config.guard.staging {
        let remedy = "`syncline promote` ends it, when `syncline export --what-if` shows what you want";
        found.push(Finding::warn("configuration", "staging mode", "it is on: nothing is exported", remedy));
    }
    found
}

/// Room for the store, and for the copy of it that a migration makes.
fn room(path: &Path) -> Option<Finding> {
    let folder = path.parent().filter(|folder| folder.exists())?;
    let disk = rustix::fs::statvfs(folder).ok()?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let store = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let evidence = format!("{} are free at {}; the store has {}", octets(free), folder.display(), octets(store));
    let remedy = "make room: a store that cannot be written stops every cycle";
    Some(if free < ROOM_LEAST {
        Finding::fail("machine", "disk", evidence, remedy)
    } else if free < ROOM.max(store.saturating_mul(2)) {
        Finding::warn("machine", "disk", evidence, remedy)
    } else {
        Finding::ok("machine", "disk", evidence)
    })
}

/// The store as it stands: it could be opened, which looks at the sums of its pages where it was not closed well.
pub(super) fn store(cx: &Context, service: &Service) -> Vec<Finding> {
    let mut found = vec![rules(service)];
    let facts = match service.health_facts(cx) {
        Ok(facts) => facts,
        Err(error) => {
            found.push(Finding::fail("store", "all of it", error.to_string(), "`syncline store check` tells more"));
            return found;
        }
    };
    let objects: u64 = facts.connectors.iter().map(|connector| connector.objects).sum();
    let path = service.store_path().display();
    found.push(Finding::ok(
        "store",
        "all of it",
        format!(
            "{path} can be read: {} of {}",
            counted(objects, "object", "objects"),
            counted(facts.connectors.len() as u64, "connector", "connectors")
        ),
    ));
    found.extend(standing(cx, service));
    let last = facts
        .success_age
        .map_or_else(|| "no cycle has succeeded yet".to_owned(), |age| format!("the last cycle that succeeded began {} ago", ago(age)));
    found.push(match facts.unready() {
        None => Finding::ok("scheduler", "cycles", last),
        Some(_) if facts.suspended => {
            Finding::warn("scheduler", "cycles", format!("suspended; {last}"), "`syncline scheduler resume` lets them run again")
        }
        Some(_) => Finding::warn(
            "scheduler",
            "cycles",
            last,
            "keep `syncline serve` running, or run `syncline cycle start` yourself; `syncline run list` has the results",
        ),
    });
    found
}

/// The commands of what is looked at elsewhere here (the last one is that of staging mode, which names no target), and told there alone.
const ELSEWHERE: [&str; 6] = ["errors", "rule lint", "scheduler", "phs doctor", "rules.source_anchor", "export --what-if"];

/// What needs somebody: people who get in and should not, runs that ended badly, deletes that wait, another installation.
fn standing(cx: &Context, service: &Service) -> Vec<Finding> {
    let status = match service.status(cx, false) {
        Ok(status) => status,
        Err(error) => return vec![Finding::fail("status", "all of it", error.to_string(), "`syncline store check` tells more")],
    };
    let (people, others): (Vec<_>, Vec<_>) = status.attention.into_iter().partition(|told| told.is(Condition::StillEnabled));
    let by_hand = |command| format!("disable them there by hand, and see `{command}`");
    let mut found: Vec<Finding> =
        people.into_iter().map(|told| Finding::fail("people", "still enabled", told.what, by_hand(told.command))).collect();
    for connector in status.connectors.iter().filter(|connector| connector.errors > 0) {
        let evidence = counted(connector.errors, "object or entry has a problem", "objects and entries have problems");
        found.push(Finding::warn(&connector.name, "objects", evidence, "`syncline errors` lists them, each with its remedy"));
    }
    let told = others.into_iter().filter(|told| !ELSEWHERE.iter().any(|part| told.command.contains(part)));
    found.extend(told.map(|told| Finding::warn("status", "what needs somebody", told.what, format!("`{}`", told.command))));
    found
}

fn rules(service: &Service) -> Finding {
    let problems = service.rule_problems();
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    let remedy = "`syncline rule lint` shows all findings";
    match (errors, problems.len()) {
        (0, 0) => Finding::ok("rules", "all of them", "they compile, and nothing is odd about them"),
        (0, count) => Finding::warn("rules", "all of them", format!("they compile, with {count} remarks"), remedy),
        (errors, _) => Finding::fail("rules", "all of them", format!("{errors} errors: nothing can be synchronized"), remedy),
    }
}

/// The age of what was noted by a clock that was ahead.
const AGES: u64 = std::time::Duration::MAX.as_secs();

/// So long ago, in words.
pub(in crate::service) fn ago(seconds: u64) -> String {
    match seconds {
        // See `Timestamp::since`.
        AGES => "an unknown time (the clock was set back)".to_owned(),
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} minutes", seconds / 60),
        7_200..172_800 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::{AGES, ago};

    #[test]
    fn ages_are_told_in_fitting_units() {
        assert!(ago(AGES).contains("set back"), "no number of days");
        assert_eq!([5, 300, 10_000, 200_000].map(ago), ["5 s", "5 minutes", "2 hours", "2 days"]);
    }
}
