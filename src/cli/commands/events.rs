//! `events`: what was told, what is being told, and what it means.

use crate::cli::App;
use crate::cli::args::{EventFilter, EventLevel, EventsCommand};
use crate::cli::commands::more_before;
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::{moment, shown_width, table};
use crate::context::{Clock as _, SystemClock};
use crate::events::{Explanation, Level, Source, catalogue, explanation};
use crate::model::Timestamp;
use crate::service::{Access, EventQuery, EventView, level_name};
use serde::Serialize;
use std::time::Duration;

/// How often `events follow` looks for news.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Columns that a table adds to what stands in a line.
const PADDED: usize = 4;

pub(in crate::cli) fn run(app: &App, command: &EventsCommand) -> Result<Exit, CommandError> {
    match command {
        EventsCommand::List { filter, limit } => list(app, filter, *limit),
        EventsCommand::Follow { filter } => follow(app, filter),
        EventsCommand::Explain { id } => explain(app, *id),
    }
}

#[derive(Serialize)]
struct Events {
    events: Vec<EventView>,
    more: bool,
}

fn list(app: &App, filter: &EventFilter, limit: usize) -> Result<Exit, CommandError> {
    let (events, cut) = app.service(Access::Existing)?.events(&query(filter), limit)?;
    app.output.result(&Events { events, more: cut }, |found| {
        if found.events.is_empty() {
            app.output.line("No such event was told.");
        } else {
            print(app, &found.events);
        }
        more_before(&app.output, found.more, found.events.len());
    });
    Ok(Exit::Ok)
}

/// Events, one in each line. On a terminal that is too narrow for one of them, texts go on below.
pub(super) fn print(app: &App, events: &[EventView]) {
    if app.output.width().is_some_and(|width| events.iter().any(|event| shown_width(&line(event)) + PADDED > width.into())) {
        for event in events {
            app.output.entry(&line(event));
        }
        return;
    }
    let rows = events.iter().map(|event| [moment(&event.at), event.id.to_string(), event.level.to_owned(), event.text.clone()]);
    app.output.table(table(["time", "id", "level", "event"], &["id"], rows));
}

/// An event in a line.
fn line(event: &EventView) -> String {
    format!("{}  {}  {:<11}  {}", moment(&event.at), event.id, event.level, event.text)
}

/// The store belongs to one process at a time, so it is opened for each look and left alone in between.
fn follow(app: &App, filter: &EventFilter) -> Result<Exit, CommandError> {
    let wanted = query(filter);
    let (_, mut place) =
        app.service(Access::Existing)?.events_after(&EventQuery { numbers: vec![u32::MAX], ..EventQuery::default() }, None)?;
    loop {
        std::thread::sleep(LOOK_EVERY);
        if app.cx.cancelled() {
            return Ok(Exit::Ok);
        }
        let (events, behind) = app.service(Access::Existing)?.events_after(&wanted, place)?;
        place = behind;
        for event in events {
            if app.output.json {
                // A document in each line: whoever reads on does not know where the last one is.
                app.output.line(serde_json::to_string(&event).unwrap_or_default());
            } else {
                app.output.entry(&line(&event));
            }
        }
    }
}

#[derive(Serialize)]
struct Explained {
    id: u32,
    source: Option<&'static str>,
    level: &'static str,
    title: &'static str,
    text: &'static str,
    told: bool,
}

impl Explained {
    fn of(known: &Explanation) -> Self {
        Self {
            id: known.number,
            source: Source::of(known.number).map(Source::as_str),
            level: level_name(known.level),
            title: known.title,
            text: known.text,
            told: known.told,
        }
    }
}

fn explain(app: &App, id: Option<u32>) -> Result<Exit, CommandError> {
    let Some(id) = id else {
        let all: Vec<Explained> = catalogue().iter().map(Explained::of).collect();
        app.output.result(&all, |all| {
            let told = all.iter().filter(|known| known.told);
            let source = |known: &Explained| known.source.unwrap_or_default().to_owned();
            let rows = told.map(|known| [known.id.to_string(), source(known), known.level.to_owned(), known.title.to_owned()]);
            app.output.table(table(["id", "source", "level", "event"], &["id"], rows));
        });
        return Ok(Exit::Ok);
    };
    let known = explanation(id).ok_or_else(|| {
        CommandError::new("not-found", Exit::Errors, format!("no event has the number {id}"))
            .hint("`syncline events explain` lists all kinds")
    })?;
    app.output.result(&Explained::of(known), |known| {
        app.output.line(format!("{} ({}): {}", known.id, known.level, known.title));
        app.output.line(known.text);
    });
    Ok(Exit::Ok)
}

fn query(filter: &EventFilter) -> EventQuery {
    let since = filter.since.map(|age| Timestamp(SystemClock::new().now().0.saturating_sub(age)));
    let level = filter.level.map(|level| match level {
        EventLevel::Information => Level::Information,
        EventLevel::Warning => Level::Warning,
        EventLevel::Error => Level::Error,
    });
    EventQuery {
        numbers: filter.id.clone(),
        sources: filter.source.clone(),
        level,
        connector: filter.connector.clone(),
        text: filter.text.clone(),
        since,
    }
}
