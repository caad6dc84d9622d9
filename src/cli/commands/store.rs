//! `store check|stats|compact|backup|restore`: care for the store.

use crate::cli::args::StoreCommand;
use crate::cli::calls::call;
use crate::cli::commands::facts;
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::{clean, counted, octets, table, thousands};
use crate::cli::{App, Place};
use crate::config::Config;
use crate::model::quoted;
use crate::service::{Access, Service};
use crate::store::{CheckReport, RecordSizes, RestoreFolder, Store, StoreOptions, StoreStats};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(Serialize)]
struct Check {
    clean: bool,
    rows: u64,
    repaired: u64,
    counts: BTreeMap<&'static str, u64>,
    problems: Vec<Problem>,
}

#[derive(Serialize)]
struct Problem {
    table: &'static str,
    key: String,
    message: String,
    repairable: bool,
}

#[derive(Serialize)]
struct Stats {
    file: String,
    file_octets: Option<u64>,
    cs_records: Sizes,
    mv_records: Sizes,
    tables: Vec<TableStats>,
}

#[derive(Serialize)]
struct Sizes {
    records: u64,
    octets: u64,
    largest: u64,
    four_per_page: u64,
    three_per_page: u64,
    two_per_page: u64,
    one_per_page: u64,
    several_pages: u64,
}

#[derive(Serialize)]
struct TableStats {
    name: &'static str,
    rows: u64,
    stored_octets: u64,
    overhead_octets: u64,
    unused_octets: u64,
    height: u32,
}

#[derive(Serialize)]
struct Compacted {
    file: String,
    octets_before: u64,
    octets_after: u64,
}

#[derive(Serialize)]
struct Restored {
    /// The store's file.
    store: String,
    /// The backup.
    from: String,
    /// Where the store lies that was there before.
    kept: Option<String>,
    /// Objects of connector spaces in the backup.
    objects: u64,
    /// Objects of its metaverse.
    metaverse: u64,
    /// When the newest run in it began.
    newest_run: Option<String>,
    /// It was done; false: only looked at.
    done: bool,
}

#[derive(Serialize)]
struct Copied {
    copy: String,
}

pub(in crate::cli) fn run(app: &App, command: &StoreCommand) -> Result<Exit, CommandError> {
    match command {
        StoreCommand::Check { rebuild } => check(app, *rebuild),
        StoreCommand::Stats => {
            let service = app.service(Access::Existing)?;
            let stats = stats(service.store_path(), &service.store().stats()?);
            app.output.result(&stats, |stats| print_stats(app, stats));
            Ok(Exit::Ok)
        }
        StoreCommand::Compact => {
            let (path, options) = place(app)?;
            let report = app.patiently(|| Ok(Store::compact(&path, options)?))?;
            let compacted = Compacted { file: path.display().to_string(), octets_before: report.before, octets_after: report.after };
            app.output.result(&compacted, |done| {
                app.output.line(format!("{}: {} before, {} after", done.file, octets(done.octets_before), octets(done.octets_after)));
            });
            Ok(Exit::Ok)
        }
        StoreCommand::Backup { to } => {
            let service = app.service(Access::Existing)?;
            let to = app.path(to);
            service.store().backup(&to)?;
            let copied = Copied { copy: to.display().to_string() };
            app.output
                .result(&copied, |done| app.output.line(format!("copied to {}; it holds the same data, so guard it likewise", done.copy)));
            Ok(Exit::Ok)
        }
        StoreCommand::Restore { from, what_if } => restore(app, &app.path(from), *what_if),
    }
}

fn restore(app: &App, from: &Path, what_if: bool) -> Result<Exit, CommandError> {
    let config = Config::load(&app.config)?;
    let to = app.store.clone().unwrap_or_else(|| config.store.clone());
    if !from.exists() {
        return Err(CommandError::new("not-found", Exit::NotStarted, format!("there is no file {}", from.display())).hint(format!(
            "backups of migrations lie beside the store: `ls -l {}`",
            quoted(&to.with_file_name("").display().to_string())
        )));
    }
    if to.exists() && std::fs::canonicalize(from).ok() == std::fs::canonicalize(&to).ok() {
        return Err(
            CommandError::usage(format!("{} is the store itself", from.display())).hint("name the backup that is to take its place")
        );
    }
    // A copy of the backup is looked at: an older format would be migrated, and the backup stays as it is.
    let folder = RestoreFolder::beside(&to).map_err(|error| CommandError::unwritten(&to, &error))?;
    let looked_at = folder.path().join("backup.redb");
    Service::distrusting_copy(&config, from, &looked_at, &app.cx)?;
    let (objects, metaverse, newest_run) = {
        let store = Store::open(&looked_at, StoreOptions::default())?;
        let report = store.check()?;
        if !report.is_clean() {
            let problem = report.problems.first().map(|problem| format!("{} {}: {}", problem.table, problem.key, problem.message));
            let message = format!("the backup {} is damaged: {}", from.display(), problem.unwrap_or_default());
            return Err(CommandError::new("store", Exit::NotStarted, message).hint("use another backup"));
        }
        let snapshot = store.snapshot()?;
        let rows = store.stats()?.cs_records.records();
        (rows, snapshot.mv_count()?, snapshot.runs(None, 1)?.first().map(|run| run.started.to_string()))
    };
    let mut view = Restored {
        store: to.display().to_string(),
        from: from.display().to_string(),
        kept: None,
        objects,
        metaverse,
        newest_run,
        done: !what_if,
    };
    if !what_if {
        let done = app.patiently(|| Ok(Store::restore(&looked_at, &to, app.cx.now())?))?;
        view.kept = done.kept.map(|path| path.display().to_string());
    }
    app.output.result(&view, |view| print_restored(app, view));
    Ok(Exit::Ok)
}

fn print_restored(app: &App, view: &Restored) {
    let newest = view.newest_run.as_deref().map(crate::cli::output::moment).unwrap_or_default();
    facts(
        &app.output,
        &view.from,
        &[("objects", thousands(view.objects)), ("metaverse", thousands(view.metaverse)), ("newest run", newest)],
    );
    if view.done {
        let kept = view.kept.as_ref().map(|kept| format!(" What was there is {kept}.")).unwrap_or_default();
        app.output.line(format!("{} holds this now.{kept}", view.store));
        app.output.note(format!(
            "The next cycle reads every directory and the tenant whole: {}. A service starts it by itself",
            call(&["cycle", "start"])
        ));
    } else {
        app.output.line(format!("Nothing was changed. {} would hold this, and the next cycle would read everything.", view.store));
    }
}

/// The store's file, without opening it.
fn place(app: &App) -> Result<(PathBuf, StoreOptions), CommandError> {
    let config = Config::load(&app.config)?;
    let path = app.store.clone().unwrap_or_else(|| config.store.clone());
    if path.exists() {
        Ok((path, StoreOptions { cache_octets: config.limits.cache_mib.max(1) << 20 }))
    } else {
        Err(crate::service::ServiceError::NoStore(path).into())
    }
}

fn check(app: &App, rebuild: bool) -> Result<Exit, CommandError> {
    if let Place::Service(station) = &app.place {
        // The sums of its pages are looked at when a store is opened, and it is open.
        let service = station.service();
        let store = service.store();
        let report = service
            .between_runs(&app.cx, "a check of the store", app.wait, || Ok(if rebuild { store.rebuild()? } else { store.check()? }))?;
        return Ok(told(app, report, rebuild));
    }
    let (path, options) = place(app)?;
    // Sums of pages first: what the disk lost cannot be understood by reading records.
    app.patiently(|| Ok(Store::verify(&path)?))?;
    let store = app.patiently(|| Ok(Store::open(&path, options)?))?;
    let report = if rebuild { store.rebuild()? } else { store.check()? };
    Ok(told(app, report, rebuild))
}

fn told(app: &App, report: CheckReport, rebuild: bool) -> Exit {
    let exit = if report.is_clean() { Exit::Ok } else { Exit::Errors };
    app.output.result(&view(report), |report| print_check(app, report, rebuild));
    exit
}

fn view(report: CheckReport) -> Check {
    let problems = report
        .problems
        .iter()
        .map(|problem| Problem {
            table: problem.table,
            key: problem.key.clone(),
            message: problem.message.clone(),
            repairable: problem.repairable,
        })
        .collect();
    Check { clean: report.is_clean(), rows: report.rows, repaired: report.repaired, counts: report.counts, problems }
}

fn print_check(app: &App, report: &Check, rebuild: bool) {
    for problem in &report.problems {
        app.output.line(clean(format!("{} {}: {}", problem.table, problem.key, problem.message)));
    }
    if report.repaired > 0 {
        app.output.line(format!("{} made anew", counted(report.repaired, "row", "rows")));
    }
    if report.clean {
        app.output.line(format!("{} looked at, nothing is wrong", counted(report.rows, "row", "rows")));
    } else {
        let count: u64 = report.counts.values().sum();
        app.output.line(format!("{} looked at, {}", counted(report.rows, "row", "rows"), counted(count, "problem", "problems")));
        if !rebuild && report.problems.iter().any(|problem| problem.repairable) {
            app.output.note(format!("{} makes anew what follows from the rest", call(&["store", "check", "--rebuild"])));
        }
    }
}

fn stats(path: &Path, stats: &StoreStats) -> Stats {
    let sizes = |sizes: &RecordSizes| Sizes {
        records: sizes.records(),
        octets: sizes.octets,
        largest: sizes.largest,
        four_per_page: sizes.four_per_page,
        three_per_page: sizes.three_per_page,
        two_per_page: sizes.two_per_page,
        one_per_page: sizes.one_per_page,
        several_pages: sizes.several_pages,
    };
    Stats {
        file: path.display().to_string(),
        file_octets: stats.file_octets,
        cs_records: sizes(&stats.cs_records),
        mv_records: sizes(&stats.mv_records),
        tables: stats
            .tables
            .iter()
            .map(|used| TableStats {
                name: used.name,
                rows: used.rows,
                stored_octets: used.stored_octets,
                overhead_octets: used.overhead_octets,
                unused_octets: used.unused_octets,
                height: used.height,
            })
            .collect(),
    }
}

fn print_stats(app: &App, stats: &Stats) {
    let per_object = |sizes: &Sizes| {
        let mean = sizes.octets.checked_div(sizes.records).unwrap_or(0);
        format!("{} records, {} on average, the largest {}", thousands(sizes.records), octets(mean), octets(sizes.largest))
    };
    facts(
        &app.output,
        &stats.file,
        &[
            ("file", stats.file_octets.map(octets).unwrap_or_default()),
            ("connector spaces", per_object(&stats.cs_records)),
            ("metaverse", per_object(&stats.mv_records)),
        ],
    );
    let rows = stats.tables.iter().map(|used| {
        [
            used.name.to_owned(),
            thousands(used.rows),
            octets(used.stored_octets),
            octets(used.overhead_octets),
            octets(used.unused_octets),
            used.height.to_string(),
        ]
    });
    let header = ["table", "rows", "stored", "tree", "unused", "levels"];
    app.output.line("");
    app.output.table(table(header, &["rows", "stored", "tree", "unused", "levels"], rows));
}
