//! `status`: how everything stands, on one screen.

use crate::cli::calls::shown;
use crate::cli::commands::{facts, last_cycle, next_cycle};
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::{counted, moment, table, thousands, told};
use crate::cli::{App, Place};
use crate::service::{Access, Health, StatusView};

pub(in crate::cli) fn run(app: &App) -> Result<Exit, CommandError> {
    let served = matches!(app.place, Place::Service(_));
    let mut view = app.service(Access::Existing)?.status(&app.cx, served)?;
    if let Place::Service(station) = &app.place
        && let Some(why) = station.refused()
    {
        view = view.refusing(&why);
    }
    app.output.result(&view, |view| print(app, view));
    Ok(match view.health {
        Health::Well => Exit::Ok,
        Health::Attention => Exit::Warnings,
        Health::Trouble => Exit::Errors,
    })
}

fn print(app: &App, view: &StatusView) {
    let health = match view.health {
        Health::Well if view.nothing_yet() => "Nothing was synchronized yet.",
        Health::Well => "All is well.",
        Health::Attention => "Something is worth a look.",
        Health::Trouble => "Something does not work.",
    };
    let scheduler = &view.scheduler;
    let time = |time: &Option<String>| time.as_deref().map_or_else(|| "never".to_owned(), moment);
    facts(
        &app.output,
        health,
        &[
            ("running now", scheduler.running.clone().unwrap_or_default()),
            ("last cycle", last_cycle(scheduler)),
            ("last that read everything", time(&scheduler.last_full)),
            ("next cycle", next_cycle(scheduler)),
            ("people, groups and others", thousands(view.metaverse)),
        ],
    );
    let rows = view.connectors.iter().map(|connector| {
        let export = connector.last_export.as_ref().filter(|run| connector.target && !run.healed);
        let last = [&connector.last_import, &export.cloned()].into_iter().flatten().max_by_key(|run| run.run).cloned();
        let waits = [
            (connector.pending.adds, "add", "adds"),
            (connector.pending.updates, "update", "updates"),
            (connector.pending.renames, "rename", "renames"),
            (connector.pending.deletes, "delete", "deletes"),
        ];
        let waits: Vec<String> =
            waits.iter().filter(|(count, ..)| *count > 0).map(|(count, one, several)| counted(*count, one, several)).collect();
        [
            connector.name.clone(),
            if connector.target { "target" } else { "source" }.to_owned(),
            thousands(connector.objects),
            if connector.errors > 0 { thousands(connector.errors) } else { String::new() },
            waits.join(", "),
            last.as_ref().map_or_else(|| "never".to_owned(), |run| moment(&run.started)),
            last.as_ref().map(|run| run.result.clone()).unwrap_or_default(),
        ]
    });
    app.output.line("");
    let header = ["connector", "role", "objects", "problems", "waits for export", "last run", "result"];
    app.output.table(table(header, &["objects", "problems"], rows).without_empty());
    if !view.passwords.is_empty() {
        app.output.line("");
        let rows = view.passwords.iter().map(|line| {
            let state = line.held.as_deref().map_or_else(|| "on".to_owned(), told);
            [line.directory.clone(), state, time(&line.last_sent), time(&line.last_sign_of_life)]
        });
        app.output.table(table(["passwords of", "state", "last sent", "last sign of life"], &[], rows));
    }
    for attention in &view.attention {
        let mark = if attention.level == Health::Trouble { "!!" } else { " !" };
        let mut lines = attention.what.lines();
        app.output.line("");
        app.output.paragraph(&format!("{mark} "), lines.next().unwrap_or_default());
        lines.for_each(|line| app.output.paragraph("   ", line));
        app.output.line(format!("   {}", shown(&attention.command)));
    }
}
