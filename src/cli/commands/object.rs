//! `object explain`, `find`, `export` and `sync`: one object from end to end.

use super::object_page::page;
use crate::cli::App;
use crate::cli::args::ObjectCommand;
use crate::cli::commands::cs::line_table;
use crate::cli::commands::{explain_page, only_object, page_to};
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::{clean, counted, table, told};
use crate::cli::private;
use crate::cli::progress::progress;
use crate::service::{Access, CsLine, DriveOptions, Found, ServiceError, StepOutcome};
use serde::Serialize;
use std::path::{Path, PathBuf};

#[derive(Serialize)]
struct Lines {
    objects: Vec<CsLine>,
}

pub(in crate::cli) fn run(app: &App, command: &ObjectCommand) -> Result<Exit, CommandError> {
    match command {
        ObjectCommand::Explain { object, html } => explain(app, object, html.as_deref()),
        ObjectCommand::Find { text } => find(app, text),
        ObjectCommand::Export { object, bundle } => export(app, object, bundle),
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
    let deleted = if objects.is_empty() { super::deleted(&browser, text)? } else { None };
    app.output.result(&Lines { objects }, |found| {
        if found.objects.is_empty() {
            app.output.note(clean(format!("Nobody is known as '{text}'.")));
            if let Some(deleted) = &deleted {
                app.output.note(deleted);
            }
        } else {
            app.output.table(line_table(&found.objects));
        }
    });
    Ok(exit)
}

#[derive(Serialize)]
struct Exported {
    file: PathBuf,
    objects: usize,
    runs: usize,
}

fn export(app: &App, text: &str, file: &Path) -> Result<Exit, CommandError> {
    let path = app.result_file(file)?;
    let service = app.service(Access::Existing)?;
    let browser = service.browse()?;
    let id = only_object(&browser, browser.find_origin(text)?, text)?;
    let bundle = service.object_bundle(&app.cx, id)?;
    let unwritten = |reason: String| ServiceError::Unwritten { path: path.clone(), reason };
    let mut content = serde_json::to_vec_pretty(&bundle).map_err(|error| unwritten(error.to_string()))?;
    content.push(b'\n');
    private::write(&path, &content).map_err(|error| unwritten(error.to_string()))?;
    let exported = Exported { file: path.clone(), objects: bundle.spaces.len(), runs: bundle.runs.len() };
    app.output.result(&exported, |exported| {
        let objects = counted(exported.objects as u64, "object of a space", "objects of spaces");
        app.output.line(clean(format!(
            "{}: {objects}, {}",
            path.display(),
            counted(exported.runs as u64, "step of runs", "steps of runs")
        )));
        app.output.note("It holds values of a person; only its owner may read it.");
    });
    Ok(Exit::Ok)
}

fn sync(app: &App, text: &str, what_if: bool, html: Option<&Path>) -> Result<Exit, CommandError> {
    let html = html.map(|file| app.result_file(file)).transpose()?;
    let service = app.service(if what_if { Access::Existing } else { Access::Create })?;
    let mut bars = progress(&app.output);
    let options = DriveOptions { patience: app.wait, ..DriveOptions::default() };
    let view = service.sync_object(&app.cx, text, what_if, options, bars.as_mut())?;
    drop(bars);
    if let Some(path) = html {
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

fn explain(app: &App, object: &str, html: Option<&Path>) -> Result<Exit, CommandError> {
    let service = app.service(Access::Existing)?;
    let browser = service.browse()?;
    let id = only_object(&browser, browser.find_origin(object)?, object)?;
    let explanation = service.explain(id, app.cx.now())?;
    if let Some(file) = html {
        page_to(app, file, &explain_page::explanation(&explanation, &app.cx.now().to_string()))?;
    }
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
