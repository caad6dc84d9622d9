//! The commands, one file each.

pub(super) mod account;
pub(super) mod alerts;
pub(super) mod anchor;
pub(super) mod audit;
pub(super) mod complete;
pub(super) mod config;
mod config_diff;
mod config_keys;
mod config_page;
pub(super) mod connector;
mod coverage;
pub(super) mod cs;
pub(super) mod cycle;
pub(super) mod demo;
pub(super) mod doctor;
pub(super) mod errors;
pub(super) mod events;
mod explain_page;
pub(super) mod export;
mod export_page;
pub(super) mod expr;
pub(super) mod guard;
mod html_page;
pub(super) mod init;
pub(super) mod lint;
pub(super) mod mode;
pub(super) mod mv;
pub(super) mod object;
mod object_page;
pub(super) mod partition;
pub(super) mod phs;
pub(super) mod preview;
pub(super) mod profile;
mod result_file;
pub(super) mod rule;
pub(super) mod run;
pub(super) mod scheduler;
pub(super) mod schema;
pub(super) mod secret;
pub(super) mod serve;
pub(super) mod status;
pub(super) mod store;
pub(super) mod support;
pub(super) mod tenant;
mod trace;
pub(super) mod version;
mod why;

use super::error::{CommandError, Exit};
use super::output::{Output, Table, clean, moment, table};
use super::{App, Place, private};
use crate::config::{Config, MAIN_FILE};
use crate::context::{Clock as _, SystemClock};
use crate::model::CsId;
use crate::service::{Access, AttributeView, Browser, Found, KnownAs, ObjectLogLine, SchedulerView, Service};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

impl App {
    /// Opens what the configuration names.
    pub(super) fn service(&self, access: Access) -> Result<Arc<Service>, CommandError> {
        if let Place::Service(station) = &self.place {
            return Ok(station.service());
        }
        let config = Config::load(&self.config)?;
        self.patiently(|| Ok(Arc::new(Service::open(config.clone(), self.store.as_deref(), access)?)))
    }

    /// Numbers of connectors changed: a running service has to learn them.
    pub(super) fn renew(&self) {
        if let Place::Service(station) = &self.place {
            station.renew();
        }
    }

    /// What was written, when the configuration as a whole cannot be used, so that nobody can say how things stand now.
    pub(super) fn written_only(&self, written: &str, error: impl Into<CommandError>) -> CommandError {
        let error = error.into();
        let until = match &self.place {
            Place::Service(_) => "the running service goes on with the configuration from before and the stricter guards of both",
            Place::Here => "nothing can run before that is mended",
        };
        let message =
            format!("{written} in {MAIN_FILE} is written. The configuration as a whole cannot be used, and {until}:\n{}", error.message);
        let hints = error.hints.into_iter().chain([WHOLE.to_owned()]).collect();
        CommandError { hints, ..CommandError::new("written-only", Exit::Warnings, message) }
    }

    /// A path as the caller meant it.
    pub(super) fn path(&self, path: &Path) -> PathBuf {
        self.folder.join(path)
    }

    /// Does something with the store as soon as no other command uses it, or gives up after the time that was allowed.
    pub(super) fn patiently<T>(&self, mut work: impl FnMut() -> Result<T, CommandError>) -> Result<T, CommandError> {
        let clock = SystemClock::new();
        let mut told = false;
        loop {
            match work() {
                Err(error) if error.kind == IN_USE && clock.elapsed() < self.wait => {
                    if !told && clock.elapsed() >= TOLD_AFTER {
                        told = true;
                        self.output.note(format!("Waiting at most {} s: {}", self.wait.as_secs(), error.message));
                    }
                    std::thread::sleep(TRIED_EVERY.min(self.wait.saturating_sub(clock.elapsed())));
                }
                done => return done,
            }
        }
    }
}

/// Writes a page for the caller alone: it holds values of people.
fn page_to(app: &App, file: &Path, page: &str) -> Result<(), CommandError> {
    let path = app.result_file(file)?;
    private::write(&path, page.as_bytes()).map_err(|error| CommandError::unwritten(&path, &error))?;
    app.output.note(format!("As a page: {}", path.display()));
    Ok(())
}

/// What to do about a configuration that is broken elsewhere.
pub(super) const WHOLE: &str = "`syncline config check` lists what is to be mended; what was written need not be written again";
/// The kind of error that goes away by waiting.
const IN_USE: &str = "store-in-use";
/// Shorter waits are not worth a word.
const TOLD_AFTER: Duration = Duration::from_secs(1);
/// How often to look whether the store is free.
const TRIED_EVERY: Duration = Duration::from_millis(100);

/// The one object that a text means, or an error that lists the candidates.
pub(super) fn only_one<T: Display>(browser: &Browser<'_>, found: Found<T>, text: &str, what: &str) -> Result<T, CommandError> {
    match found {
        Found::One(one) => Ok(one),
        Found::None => {
            let unknown = CommandError::new("not-found", Exit::Errors, format!("no {what} is known as '{text}'"));
            let how = "give a name, an anchor (base64, hex or GUID), a sign-in name or a number; `connector:` may stand before it";
            Err(unknown.hint(deleted(browser, text)?.unwrap_or_else(|| how.to_owned())))
        }
        Found::Several(several) => {
            let shown: Vec<String> = several.iter().take(10).map(ToString::to_string).collect();
            Err(CommandError::new("ambiguous", Exit::Errors, format!("'{text}' may mean several objects: {}", shown.join(", ")))
                .hint("give one of these numbers, or put the connector's name and a colon before the text"))
        }
    }
}

/// The one connector-space object that a text means, or an error that lists the candidates with their names.
pub(super) fn only_object(browser: &Browser<'_>, found: Found<CsId>, text: &str) -> Result<CsId, CommandError> {
    let Found::Several(several) = found else { return only_one(browser, found, text, "object") };
    let lines = browser.cs_lines(several.get(..10).unwrap_or(&several))?;
    let shown = lines.iter().map(|line| clean(format!("{} in {}: {}  {}", line.id, line.connector, line.dn, line.known_as)));
    let shown: Vec<String> = shown.map(|line| format!("\n  {}", line.trim_end())).collect();
    Err(CommandError::new("ambiguous", Exit::Errors, format!("'{text}' may mean several objects:{}", shown.concat()))
        .hint("give one of these numbers, or put the connector's name and a colon before the text"))
}

/// Where somebody went who is known here no more, and how to see more of it.
pub(super) fn deleted(browser: &Browser<'_>, text: &str) -> Result<Option<String>, CommandError> {
    Ok(browser.last_delete(text)?.map(|(_, line)| {
        let became = line.departure();
        let ObjectLogLine { run, kind, connector, counter, object, started, .. } = line;
        let (at, number) = (moment(&started), &object.id);
        clean(format!(
            "'{text}' {became}: run {run}, {kind} of {connector}, {at}, has it behind '{counter}'; `syncline cs log {number}` shows what \
             runs did to it"
        ))
    }))
}

/// Says that there is more than was shown.
pub(super) fn more(output: &Output, more: bool, shown: usize) {
    if more {
        output.note(format!("(the first {shown}; --limit shows more)"));
    }
}

/// The same of a list of what happened, which shows the newest.
pub(super) fn more_before(output: &Output, more: bool, shown: usize) {
    if more {
        output.note(format!("(the newest {shown}; --limit shows more)"));
    }
}

/// Attributes as lines: name, and a value in each line.
pub(super) fn attribute_table(attributes: &[AttributeView]) -> Table {
    let mut rows = Vec::new();
    for attribute in attributes {
        let mut name = attribute.name.clone();
        for value in &attribute.values {
            rows.push([std::mem::take(&mut name), value.to_string()]);
        }
        let shown = u64::try_from(attribute.values.len()).unwrap_or(u64::MAX);
        if attribute.count > shown {
            rows.push([std::mem::take(&mut name), format!("… and {} more", super::output::thousands(attribute.count - shown))]);
        }
    }
    table(["attribute", "value"], &[], rows)
}

/// What people call an object: the names of some targets say nothing.
pub(super) fn known(known_as: &KnownAs, dn: &str) -> String {
    let known_as = known_as.to_string();
    if known_as.is_empty() { dn.to_owned() } else { known_as }
}

/// When the next cycle begins.
pub(super) fn next_cycle(view: &SchedulerView) -> String {
    match &view.next_cycle {
        Some(at) => moment(at),
        None if view.served => "not by itself".to_owned(),
        None => "when somebody starts it: no service runs".to_owned(),
    }
}

/// When the last cycle began, and what stopped it.
pub(super) fn last_cycle(view: &SchedulerView) -> String {
    let Some(began) = view.last_cycle.as_deref().map(moment) else {
        // A restored store forgets when its last cycle began, so that one is due, and remembers that it read.
        let before = |read: &str| format!("{}, before the store was restored", moment(read));
        return view.last_read.as_deref().map_or_else(|| "never".to_owned(), before);
    };
    let guards: BTreeSet<&str> = view.guard_stops.iter().map(|stop| stop.guard).collect();
    if !guards.is_empty() {
        let guards: Vec<&str> = guards.into_iter().collect();
        return format!("{began}, stopped by the guard '{}'", guards.join("' and '"));
    }
    match &view.running {
        None if view.last_cycle != view.last_read => format!("{began}, which did not do everything"),
        _ => began,
    }
}

/// A heading and the facts below it, one in each line.
pub(super) fn facts(output: &Output, heading: &str, facts: &[(&str, String)]) {
    output.line(clean(heading));
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        output.paragraph(&format!("  {name:<width$}  "), value);
    }
}
