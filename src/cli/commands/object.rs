//! `object explain`, `find` and `sync`: one object from end to end.

use super::object_page::page;
use crate::cli::App;
use crate::cli::args::ObjectCommand;
use crate::cli::commands::cs::line_table;
use crate::cli::commands::only_object;
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::{clean, table, told};
use crate::cli::private;
use crate::cli::progress::progress;
use crate::service::{Access, CsLine, DriveOptions, Found, ServiceError, StepOutcome};
use serde::Serialize;
use std::path::Path;

#[derive(Serialize)]
struct Lines {
    objects: Vec<CsLine>,
}

pub(in crate::cli) fn run(app: &App, command: &ObjectCommand) -> Result<Exit, CommandError> {
    match command {
        ObjectCommand::Explain { object } => explain(app, object),
        ObjectCommand::Find { text } => find(app, text),
        ObjectCommand::Sync { object, what_if, html } => sync(app, object, *what_if, html.as_deref()),
    }
}

fn find(app: &App, text: &str) -> Result<Exit, CommandError> {
    let service = app.service(Access::Existing)?;
    let browser = service.browse()?;
    let ids = match browser.find_cs(text)? {
        Found::One(id) => vec![id],
        Found::Several(ids) => ids,
        Found::None => Vec::new(),
    };
    let objects = browser.cs_lines(&ids)?;
    let exit = if objects.is_empty() { Exit::Errors } else { Exit::Ok };
    app.output.result(&Lines { objects }, |found| {
        if found.objects.is_empty() {
            app.output.note(clean(format!("Nobody is known as '{text}'.")));
        } else {
            app.output.table(line_table(&found.objects));
        }
    });
    Ok(exit)
}

fn sync(app: &App, text: &str, what_if: bool, html: Option<&Path>) -> Result<Exit, CommandError> {
    let service = app.service(if what_if { Access::Existing } else { Access::Create })?;
    let mut bars = progress(&app.output);
    let options = DriveOptions { patience: app.wait, ..DriveOptions::default() };
    let view = service.sync_object(&app.cx, text, what_if, options, bars.as_mut())?;
    drop(bars);
    if let Some(path) = html {
        let path = app.path(path);
        private::write(&path, page(&view, &app.cx.now().to_string()).as_bytes())
            .map_err(|error| ServiceError::Unwritten { path: path.clone(), reason: error.to_string() })?;
    }
    let worst = view.runs.iter().map(|run| Exit::of_result(&run.result)).max().unwrap_or_default();
    let exit = if view.succeeded() { worst } else { worst.max(Exit::Errors) };
    app.output.result(&view, |view| {
        app.output.line(clean(format!("{} of {}", view.dn, view.connector)));
        let rows =
            view.steps.iter().map(|step| [step.number.to_string(), step.name.to_owned(), step.outcome.to_owned(), told(&step.detail)]);
        app.output.table(table(["", "step", "outcome", "what was found or done"], &[""], rows));
        if let Some(read) = view.read.as_ref().filter(|read| !read.changes.is_empty()) {
            app.output.line("\nIts directory says now:");
            for change in &read.changes {
                for value in &change.removed {
                    app.output.line(format!("  - {}: {}", change.attribute, clean(value.to_string())));
                }
                for value in &change.added {
                    app.output.line(format!("  + {}: {}", change.attribute, clean(value.to_string())));
                }
            }
        }
        if view.what_if {
            app.output.note("\nNothing was written.");
        }
    });
    Ok(exit)
}

fn explain(app: &App, object: &str) -> Result<Exit, CommandError> {
    let service = app.service(Access::Existing)?;
    let browser = service.browse()?;
    let id = only_object(&browser, browser.find_origin(object)?, object)?;
    let explanation = service.explain(id, app.cx.now())?;
    app.output.result(&explanation, |explanation| {
        app.output.line(clean(&explanation.dn));
        for step in &explanation.steps {
            let mark = match step.outcome {
                StepOutcome::Passed => "✓",
                StepOutcome::Waiting => "…",
                StepOutcome::Stopped => "✗",
            };
            let mut heading = format!("  {mark} {:<13}", step.step);
            for line in step.findings.iter().flat_map(|finding| finding.lines()) {
                app.output.paragraph(&format!("{heading} "), line);
                heading = " ".repeat(17);
            }
        }
        app.output.paragraph("", &explanation.verdict);
    });
    Ok(Exit::Ok)
}
