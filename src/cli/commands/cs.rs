//! `cs search`, `cs show` and `cs log`: what connector spaces hold, and what was done to it. `cs clear`: one of them anew. `cs join`, `project` and `disconnect`: links by hand.

use crate::cli::App;
use crate::cli::args::{CsCommand, CsSearchArguments, PendingKind};
use crate::cli::calls::call;
use crate::cli::commands::run::print_changes;
use crate::cli::commands::{attribute_table, facts, known, more, only_object, only_one};
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::{Table, clean, counted, moment, table, thousands, told};
use crate::cli::private;
use crate::engine::Silent;
use crate::model::{CsId, DeltaKind, ErrorSide};
use crate::service::{
    Access, AttributeFilter, CsLine, CsObjectView, CsQuery, Decree, DriveOptions, Found, KnownAs, ObjectLogLine, PreviewTargetView,
    RunView, Service, ServiceError, Work, cell,
};
use serde::Serialize;
use std::path::Path;

/// Objects shown where nobody said how many.
const SHOWN: usize = 50;

#[derive(Serialize)]
struct Lines {
    objects: Vec<CsLine>,
    more: bool,
}

pub(in crate::cli) fn run(app: &App, command: &CsCommand) -> Result<Exit, CommandError> {
    match command {
        CsCommand::Search(arguments) => search(app, arguments),
        CsCommand::Show { object, limit } => show(app, object, *limit),
        CsCommand::Clear { connector, force, what_if } => clear(app, connector, *force, *what_if),
        CsCommand::Log { object, last } => log(app, object, *last),
        CsCommand::Join { object, metaverse, what_if } => by_hand(app, object, *what_if, |service, id| {
            let browser = service.browse()?;
            let mv = only_one(&browser, browser.find_mv(metaverse)?, metaverse, "metaverse object")?;
            Ok(service.join_decree(id, mv)?)
        }),
        CsCommand::Project { object, object_type, what_if } => {
            by_hand(app, object, *what_if, |service, id| Ok(service.project_decree(id, object_type.as_deref())?))
        }
        CsCommand::Disconnect { object, explicit, what_if } => {
            by_hand(app, object, *what_if, |service, id| Ok(service.disconnect_decree(id, *explicit)?))
        }
    }
}

/// Forgets a target's space, or shows what would be forgotten.
fn clear(app: &App, connector: &str, force: bool, what_if: bool) -> Result<Exit, CommandError> {
    let service = app.service(Access::Existing)?;
    let cleared = service.clear_space(&app.cx, connector, force, what_if, app.wait)?;
    let exit = if cleared.space.deletes > 0 { Exit::Warnings } else { Exit::Ok };
    app.output.result(&cleared, |cleared| {
        let (name, space) = (&cleared.connector, &cleared.space);
        let would = match space.objects {
            _ if what_if => "would be forgotten",
            1 => "is forgotten",
            _ => "are forgotten",
        };
        app.output.line(clean(format!(
            "{} of {name} {would}; {} of them are linked, and found again by the next cycle",
            counted(space.objects, "object", "objects"),
            thousands(space.linked)
        )));
        for (count, one, several) in [
            (
                space.adds + space.updates,
                "object waits to be created or changed: the next synchronization wants the same again",
                "objects wait to be created or changed: the next synchronization wants the same again",
            ),
            (
                space.deletes,
                "object waits to be removed: it stays in the target, and nobody removes it any more",
                "objects wait to be removed: they stay in the target, and nobody removes them any more",
            ),
            (space.unconfirmed, "object was sent something that was not seen yet", "objects were sent something that was not seen yet"),
            (
                space.by_hand,
                "object was tied or parted by hand, which is forgotten",
                "objects were tied or parted by hand, which is forgotten",
            ),
        ] {
            if count > 0 {
                app.output.line(format!("  {}", counted(count, one, several)));
            }
        }
        if let Some(tenant) = &cleared.former_tenant {
            app.output
                .line(clean(format!("  they are of {tenant}: what was approved for it and what is known of passwords there goes, too")));
        }
        if !cleared.deletes_sample.is_empty() {
            app.output.line(clean(format!("  that stay: {}", cleared.deletes_sample)));
        }
        app.output.note(if what_if {
            "\nNothing was written.".to_owned()
        } else {
            format!("\nThe next cycle reads {} whole and evaluates everything: {}", clean(name), call(&["cycle", "start"]))
        });
    });
    Ok(exit)
}

#[derive(Serialize)]
struct Log {
    object: String,
    entries: Vec<ObjectLogLine>,
    more: bool,
}

/// What runs did to an object.
fn log(app: &App, text: &str, last: usize) -> Result<Exit, CommandError> {
    let service = app.service(Access::Existing)?;
    let browser = service.browse()?;
    let id = match browser.find_origin(text)? {
        // Whoever is gone is in the history all the same.
        Found::None if let Some((gone, _)) = browser.last_delete(text)? => gone,
        found => only_object(&browser, found, text)?,
    };
    let (entries, cut) = service.history()?.of_object(id, last)?;
    app.output.result(&Log { object: id.to_string(), entries, more: cut }, |log| {
        if log.entries.is_empty() {
            app.output.note("No run that is remembered had to do with this object.");
            return;
        }
        for entry in &log.entries {
            let (at, name) = (moment(&entry.started), &entry.object.dn);
            app.output.line(clean(format!("{at}  run {}, {} of {}: {}  {name}", entry.run, entry.kind, entry.connector, entry.counter)));
            print_changes(&app.output, &entry.object);
        }
        if log.more {
            app.output.note(format!("(the last {}; --last shows more)", log.entries.len()));
        }
    });
    Ok(Exit::Ok)
}

#[derive(Serialize)]
struct Decided {
    object: String,
    dn: String,
    state: &'static str,
    state_after: Option<String>,
    metaverse: Option<u64>,
    /// Target objects, with what would be sent.
    targets: Vec<PreviewTargetView>,
    /// The run that did it; nothing when it was only looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<RunView>,
}

/// Does what an administrator decided about an object, or shows what would follow.
fn by_hand(
    app: &App,
    text: &str,
    what_if: bool,
    decide: impl FnOnce(&Service, CsId) -> Result<Decree, CommandError>,
) -> Result<Exit, CommandError> {
    let service = app.service(Access::Existing)?;
    let id = {
        let browser = service.browse()?;
        only_object(&browser, browser.find_origin(text)?, text)?
    };
    let decree = decide(&service, id)?;
    let ahead = service.preview_decree(id, decree, app.cx.now())?;
    if let Some(problem) = &ahead.problem {
        return Err(CommandError::new("refused", Exit::Errors, format!("{}: {}", problem.code, problem.detail)).hint(format!(
            "`syncline preview {id}` shows what synchronization does with it; docs/reference/error-codes.md explains the code"
        )));
    }
    let mut decided = Decided {
        object: ahead.id.clone(),
        dn: ahead.dn.clone(),
        state: ahead.state,
        state_after: ahead.state_after.map(str::to_owned),
        metaverse: ahead.metaverse,
        targets: ahead.targets,
        run: None,
    };
    let mut exit = Exit::Ok;
    if !what_if {
        let work = [Work::Decree { object: id, decree }];
        decided.run = service.drive(&app.cx, &work, DriveOptions { patience: app.wait, ..DriveOptions::default() }, &mut Silent)?.pop();
        exit = decided.run.as_ref().map_or(Exit::NotStarted, |run| Exit::of_result(&run.result));
        let browser = service.browse()?;
        let now = browser.show_cs(id, 1)?;
        decided.state_after = now.as_ref().map(|now| now.state.to_owned());
        decided.metaverse = now.and_then(|now| now.metaverse);
    }
    app.output.result(&decided, |decided| {
        let after = decided.state_after.as_deref().unwrap_or("gone");
        let mv = decided.metaverse.map(|mv| format!(", metaverse object {mv}")).unwrap_or_default();
        app.output.line(clean(format!("{} {}: {} → {after}{mv}", decided.object, decided.dn, decided.state)));
        for target in decided.targets.iter().filter(|target| target.operation != "none" || target.released) {
            let what = if target.released { "let go" } else { target.operation };
            app.output.line(clean(format!("  {}: {what}  {}", target.connector, target.dn)));
        }
        match &decided.run {
            Some(run) => app.output.line(format!("Done: run {}, {}.", run.number, run.result)),
            None => app.output.note("\nNothing was written."),
        }
    });
    Ok(exit)
}

fn search(app: &App, arguments: &CsSearchArguments) -> Result<Exit, CommandError> {
    let query = query(arguments)?;
    let service = app.service(Access::Existing)?;
    let connector = service.connector_id(&arguments.connector)?;
    let (objects, cut) = service.browse()?.search_cs(connector, &query)?;
    if let Some(path) = &arguments.csv {
        return write_csv(app, path, &arguments.columns, &objects);
    }
    app.output.result(&Lines { objects, more: cut }, |found| {
        if !arguments.columns.is_empty() && !found.objects.is_empty() {
            app.output.table(column_table(&found.objects, &arguments.columns));
            more(&app.output, found.more, found.objects.len());
            return;
        }
        if found.objects.is_empty() {
            app.output.note("Nothing fits.");
            return;
        }
        app.output.table(line_table(&found.objects));
        more(&app.output, found.more, found.objects.len());
    });
    Ok(Exit::Ok)
}

/// Objects with the attributes that were asked for.
fn column_table(lines: &[CsLine], columns: &[String]) -> Table {
    let cells = |line: &CsLine| {
        let all =
            columns.iter().map(|name| format!("{name}={}", line.columns.get(name).map(|values| values.join("; ")).unwrap_or_default()));
        [line.id.clone(), all.collect::<Vec<_>>().join("  "), line.dn.clone()]
    };
    table(["id", "attributes", "name"], &["id"], lines.iter().map(cells))
}

/// Writes what fits as comma-separated values.
fn write_csv(app: &App, path: &Path, columns: &[String], lines: &[CsLine]) -> Result<Exit, CommandError> {
    let fixed = ["id", "connector", "name", "type", "state", "metaverse", "pending"];
    let head: Vec<String> = fixed.into_iter().chain(columns.iter().map(String::as_str)).map(cell).collect();
    let mut text = format!("{}\r\n", head.join(","));
    for line in lines {
        let mv = line.metaverse.map(|mv| mv.to_string()).unwrap_or_default();
        let fixed = [&line.id, &line.connector, &line.dn, &line.object_type, line.state, &mv, &line.pending.join("; ")]
            .map(|value: &str| cell(value));
        let more = columns.iter().map(|name| cell(&line.columns.get(name).map(|values| values.join("; ")).unwrap_or_default()));
        text.push_str(&fixed.into_iter().chain(more).collect::<Vec<_>>().join(","));
        text.push_str("\r\n");
    }
    if path == Path::new("-") {
        app.output.raw_result(&text);
        return Ok(Exit::Ok);
    }
    let path = app.result_file(path)?;
    private::write(&path, text.as_bytes()).map_err(|error| ServiceError::Unwritten { path: path.clone(), reason: error.to_string() })?;
    app.output.result(&serde_json::json!({ "file": path, "objects": lines.len() }), |_| {
        app.output.line(clean(format!("{}: {}", path.display(), counted(lines.len() as u64, "object", "objects"))));
    });
    Ok(Exit::Ok)
}

/// Objects of connector spaces, one in each line.
pub(in crate::cli) fn line_table(lines: &[CsLine]) -> Table {
    let mv = |line: &CsLine| line.metaverse.map(|mv| mv.to_string()).unwrap_or_default();
    if lines.iter().all(|line| line.known_as == KnownAs::default()) {
        let row = |line: &CsLine| {
            [line.id.clone(), line.object_type.clone(), line.state.to_owned(), mv(line), line.pending.join(", "), line.dn.clone()]
        };
        return table(["id", "type", "state", "mv", "pending", "name"], &["id", "mv"], lines.iter().map(row));
    }
    let row = |line: &CsLine| {
        let (state, pending, known_as) = (line.state.to_owned(), line.pending.join(", "), line.known_as.to_string());
        [line.id.clone(), line.object_type.clone(), state, mv(line), pending, known_as, line.dn.clone()]
    };
    table(["id", "type", "state", "mv", "pending", "known as", "name"], &["id", "mv"], lines.iter().map(row))
}

fn query(arguments: &CsSearchArguments) -> Result<CsQuery, CommandError> {
    let kinds = |kinds: &[PendingKind]| {
        kinds
            .iter()
            .map(|kind| match kind {
                PendingKind::Add => DeltaKind::Add,
                PendingKind::Update => DeltaKind::Update,
                PendingKind::Delete => DeltaKind::Delete,
                PendingKind::DeleteAdd => DeltaKind::DeleteAdd,
            })
            .collect()
    };
    let sides =
        [(arguments.import_error, ErrorSide::Import), (arguments.sync_error, ErrorSide::Sync), (arguments.export_error, ErrorSide::Export)];
    Ok(CsQuery {
        rdn: arguments.rdn.clone(),
        dn: arguments.dn.clone(),
        anchor: arguments.anchor.clone(),
        under: arguments.under.clone(),
        object_type: arguments.object_type.clone(),
        state: arguments.state.clone(),
        pending_import: kinds(&arguments.pending_import),
        pending_export: kinds(&arguments.pending_export),
        error_sides: sides.into_iter().filter_map(|(wanted, side)| wanted.then_some(side)).collect(),
        filters: filters(&arguments.filters)?,
        columns: arguments.columns.clone(),
        limit: arguments.limit.unwrap_or(if arguments.csv.is_some() { usize::MAX } else { SHOWN }),
    })
}

/// Conditions on attributes.
pub(in crate::cli) fn filters(texts: &[String]) -> Result<Vec<AttributeFilter>, CommandError> {
    let wrong = |reason| CommandError::usage(reason).hint("for example --where 'department=Sales*'");
    texts.iter().map(|text| text.parse().map_err(wrong)).collect()
}

fn show(app: &App, text: &str, limit: usize) -> Result<Exit, CommandError> {
    let service = app.service(Access::Existing)?;
    let browser = service.browse()?;
    let id = only_object(&browser, browser.find_origin(text)?, text)?;
    let Some(view) = browser.show_cs(id, limit)? else {
        return Err(CommandError::gone(format!("object {id}")));
    };
    app.output.result(&view, |view| print(app, view));
    Ok(Exit::Ok)
}

fn print(app: &App, view: &CsObjectView) {
    let anchor = view.anchor.as_ref().map(|anchor| anchor.guid.clone().unwrap_or_else(|| anchor.text.clone())).unwrap_or_default();
    let heading = known(&view.known_as, &view.dn);
    facts(
        &app.output,
        &heading,
        &[
            ("name", if heading == view.dn { String::new() } else { view.dn.clone() }),
            ("id", view.id.clone()),
            ("connector", view.connector.clone()),
            ("type", view.object_type.clone()),
            ("anchor", anchor),
            ("state", view.state.to_owned()),
            ("metaverse", view.metaverse.map(|mv| mv.to_string()).unwrap_or_default()),
            ("linked by", view.linked_by.clone().unwrap_or_default()),
            ("transient", if view.transient { "another object took its name".to_owned() } else { String::new() }),
        ],
    );
    app.output.line(format!("\n{} attributes:", view.image));
    app.output.table(attribute_table(&view.attributes));
    for stage in &view.stages {
        app.output.line(format!("\n{}: {}", stage.stage, stage.operation));
        if let Some(rename) = &stage.rename {
            app.output.line(format!("  name: {}", clean(rename)));
        }
        for change in &stage.changes {
            for value in &change.removed {
                app.output.line(format!("  - {}: {}", change.attribute, clean(value.to_string())));
            }
            for value in &change.added {
                app.output.line(format!("  + {}: {}", change.attribute, clean(value.to_string())));
            }
        }
    }
    for problem in &view.problems {
        app.output.line(format!(
            "\nproblem ({}): {}, since {}, {}",
            problem.side,
            problem.code,
            moment(&problem.first_seen),
            counted(problem.retries.into(), "retry", "retries")
        ));
        for line in problem.detail.lines() {
            app.output.line(format!("  {}", told(line)));
        }
    }
}
