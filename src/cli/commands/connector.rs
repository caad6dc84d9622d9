//! `connector`: which connectors there are, their settings, and what becomes of those that are configured no longer.

use crate::cli::App;
use crate::cli::args::ConnectorCommand;
use crate::cli::calls::{call, completed};
use crate::cli::commands::config_keys::{print_change, settings_table};
use crate::cli::commands::facts;
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::{clean, counted, table, thousands};
use crate::config::Config;
use crate::service::{
    Access, ConnectorLine, ConnectorTrial, ConnectorType, LeftBehind, SchemaRefresh, Service, ServiceError, SettingView, add_connector,
    connector_types, import_connector,
};
use serde::Serialize;
use std::path::Path;

#[derive(Serialize)]
struct Connectors {
    connectors: Vec<ConnectorLine>,
}

#[derive(Serialize)]
struct Settings {
    settings: Vec<SettingView>,
}

#[derive(Serialize)]
struct Types {
    types: Vec<ConnectorType>,
}

#[derive(Serialize)]
struct Renamed<'a> {
    from: &'a str,
    to: &'a str,
    objects: u64,
    what_if: bool,
}

#[derive(Serialize)]
struct Removed<'a> {
    connector: &'a str,
    #[serde(flatten)]
    left: LeftBehind,
    what_if: bool,
}

pub(in crate::cli) fn run(app: &App, command: &ConnectorCommand) -> Result<Exit, CommandError> {
    match command {
        ConnectorCommand::Types => return Ok(types(app)),
        // A first connector is added before there is anything to open.
        ConnectorCommand::Add { name, kind, settings, what_if } => return add(app, name, kind, settings, *what_if),
        ConnectorCommand::Import { file, name, replace, what_if } => return import(app, file, name.as_deref(), *replace, *what_if),
        _ => {}
    }
    let service = app.service(Access::Create)?;
    match command {
        ConnectorCommand::Types | ConnectorCommand::Add { .. } | ConnectorCommand::Import { .. } => Ok(Exit::Ok),
        ConnectorCommand::Export { connector, to } => export(app, &service, connector, to.as_deref()),
        ConnectorCommand::Show { connector, written } => {
            let mut settings = service.connector_settings(connector)?;
            settings.retain(|setting| !written || setting.written);
            app.output.result(&Settings { settings }, |shown| app.output.table(settings_table(&shown.settings)));
            Ok(Exit::Ok)
        }
        ConnectorCommand::Test { connector } => {
            let trial = service.try_connector(&app.cx, connector)?;
            app.output.result(&trial, |trial| print_trial(app, trial));
            Ok(Exit::Ok)
        }
        ConnectorCommand::Set { connector, key, new } => {
            let change = service.set_connector_setting(connector, key, new.value.as_deref(), new.what_if)?;
            app.output.result(&change, |change| print_change(app, change));
            Ok(Exit::Ok)
        }
        ConnectorCommand::RefreshSchema { connector, apply } => {
            let found = service.refresh_schema(&app.cx, connector, *apply)?;
            app.output.result(&found, |found| print_refresh(app, found));
            Ok(if found.missed.is_empty() { Exit::Ok } else { Exit::Warnings })
        }
        ConnectorCommand::List => list(app, &service),
        ConnectorCommand::Rename { name, new, what_if } => rename(app, &service, name, new, *what_if),
        ConnectorCommand::Remove { name, what_if } => remove(app, &service, name, *what_if),
    }
}

fn types(app: &App) -> Exit {
    app.output.result(&Types { types: connector_types() }, |found| {
        let rows = found.types.iter().map(|kind| {
            [kind.kind.to_owned(), kind.title.to_owned(), kind.needs.join(", "), kind.deltas.to_owned(), kind.exports.to_owned()]
        });
        app.output.table(table(["kind", "what it is", "needs", "changes", "exports"], &[], rows));
    });
    Exit::Ok
}

fn add(app: &App, name: &str, kind: &str, settings: &[String], what_if: bool) -> Result<Exit, CommandError> {
    let config = Config::load(&app.config)?;
    let added = add_connector(&config, name, kind, settings, what_if)?;
    let exit = if added.missing_credentials.is_empty() { Exit::Ok } else { Exit::Warnings };
    app.output.result(&added, |added| {
        app.output.line(clean(format!("{}: {}", added.file, added.done)));
        added.text.lines().for_each(|line| app.output.line(clean(format!("  {line}"))));
        for name in &added.missing_credentials {
            app.output.note(clean(format!(
                "The credential '{name}' is not there yet: put it into secrets/{name} (mode 0600) of the configuration."
            )));
        }
        app.output.note(format!("\nWhether it works: {}", call(&["connector", "test", &added.name])));
    });
    Ok(exit)
}

fn export(app: &App, service: &Service, connector: &str, to: Option<&Path>) -> Result<Exit, CommandError> {
    let copy = service.copy_connector(connector)?;
    let path = to.map(|path| app.result_file(path)).transpose()?;
    if let Some(path) = &path {
        let unwritten = |error: std::io::Error| ServiceError::Unwritten { path: path.clone(), reason: error.to_string() };
        std::fs::write(path, &copy.text).map_err(unwritten)?;
    }
    app.output.result(&copy, |copy| {
        match &path {
            Some(path) => app.output.line(clean(format!("{}: the settings of {}, without secrets", path.display(), copy.connector))),
            None => copy.text.lines().for_each(|line| app.output.line(clean(line))),
        }
        for (what, names) in [("secrets", &copy.credentials), ("files and folders", &copy.places)] {
            if !names.is_empty() {
                app.output.note(clean(format!("The other installation needs the {what} that it names: {}", names.join(", "))));
            }
        }
    });
    Ok(Exit::Ok)
}

fn import(app: &App, file: &Path, name: Option<&str>, replace: bool, what_if: bool) -> Result<Exit, CommandError> {
    let config = Config::load(&app.config)?;
    let made = import_connector(&config, &app.path(file), name, replace, what_if)?;
    let whole = made.missing_credentials.is_empty() && made.missing_places.is_empty();
    app.output.result(&made, |made| {
        app.output.line(clean(format!("{}: {}", made.file, made.done)));
        if what_if {
            made.text.lines().for_each(|line| app.output.line(clean(format!("  {line}"))));
        }
        for name in &made.missing_credentials {
            app.output.note(clean(format!("The credential '{name}' is not there yet: {}", call(&["secret", "set", name]))));
        }
        for place in &made.missing_places {
            app.output.note(clean(format!("What it names is not there: {place}")));
        }
        if !what_if {
            app.output.note(format!("\nWhether it works: {}", call(&["connector", "test", &made.name])));
        }
    });
    Ok(if whole { Exit::Ok } else { Exit::Warnings })
}

fn print_trial(app: &App, trial: &ConnectorTrial) {
    let yes = |flag: bool| if flag { "yes" } else { "no" }.to_owned();
    facts(
        &app.output,
        &format!("{} ({}) answers", trial.connector, trial.kind),
        &[
            ("object types", thousands(trial.object_types as u64)),
            ("attributes", thousands(trial.attributes as u64)),
            ("delta imports", yes(trial.delta_import)),
            ("exports", yes(trial.export)),
        ],
    );
    for (name, value) in &trial.facts {
        app.output.line(clean(format!("  %{name}%  {value}")));
    }
}

fn print_refresh(app: &App, found: &SchemaRefresh) {
    if found.first {
        app.output.line(clean(format!("{}: the schema was looked at for the first time", found.connector)));
    }
    for (what, names) in
        [("new", &found.added), ("gone", &found.removed), ("changed", &found.changed), ("gone although rules use it", &found.missed)]
    {
        for name in names {
            app.output.line(clean(format!("{what}: {name}")));
        }
    }
    if !found.first && found.added.is_empty() && found.removed.is_empty() && found.changed.is_empty() {
        app.output.line(clean(format!("{}: nothing changed", found.connector)));
    } else if !found.applied {
        app.output.note(format!(
            "\nTo compare with this one from now on: {}",
            call(&["connector", "refresh-schema", &found.connector, "--apply"])
        ));
    }
}

fn list(app: &App, service: &Service) -> Result<Exit, CommandError> {
    let connectors = service.connector_list()?;
    let abandoned = connectors.iter().any(|connector| connector.state == "abandoned");
    app.output.result(&Connectors { connectors }, |found| {
        let rows = found.connectors.iter().map(|connector| {
            [
                connector.id.to_string(),
                clean(&connector.name),
                connector.kind.unwrap_or("").to_owned(),
                if connector.target { "target" } else { "source" }.to_owned(),
                connector.state.to_owned(),
                thousands(connector.objects),
            ]
        });
        app.output.table(table(["number", "name", "kind", "role", "state", "objects"], &["number", "objects"], rows));
        if abandoned {
            app.output.note(completed(
                "\nAn abandoned connector stops synchronization: put its file back into connectors/, or see `syncline connector rename --help` and `syncline connector remove --help`.",
            ));
        }
    });
    Ok(Exit::Ok)
}

fn rename(app: &App, service: &Service, name: &str, new: &str, what_if: bool) -> Result<Exit, CommandError> {
    let objects = if what_if {
        service.renaming(name, new)?.objects
    } else {
        let objects = service.between_runs(&app.cx, "the renaming of a connector", app.wait, || service.rename_connector(name, new))?;
        app.renew();
        objects
    };
    app.output.result(&Renamed { from: name, to: new, objects, what_if }, |_| {
        let count = counted(objects, "object", "objects");
        let belong = if what_if { "would belong to" } else { "now belong to" };
        app.output.line(clean(format!("{count} of {name}: {belong} {new}")));
    });
    Ok(Exit::Ok)
}

fn remove(app: &App, service: &Service, name: &str, what_if: bool) -> Result<Exit, CommandError> {
    let left = if what_if {
        service.left_behind(name)?
    } else {
        service.between_runs(&app.cx, "the removal of a connector", app.wait, || service.remove_connector(name))?
    };
    let forgotten = left.target && left.deletes > 0;
    app.output.result(&Removed { connector: name, left, what_if }, |removed| {
        let left = &removed.left;
        let count = counted(left.objects, "object", "objects");
        let are = match left.objects {
            _ if what_if => "would be",
            1 => "is",
            _ => "are",
        };
        app.output.line(clean(format!("{count} of {name} {are} taken off by the next synchronization")));
        if left.target {
            app.output.note(clean(format!(
                "In {name} itself nothing is deleted: everybody stays there, also whoever leaves from now on, and nobody here remembers them. When \
                 it is configured again, `status` tells of those that belong to nobody."
            )));
        } else {
            app.output.note(completed(
                "Deletes that follow from it in targets are not sent before somebody allows them: after the next cycle, `syncline export \
                 --what-if` shows them and how to.",
            ));
        }
        if forgotten {
            app.output.note(clean(format!(
                "{} to be removed there, and {} for good: {}",
                counted(left.deletes, "object waits", "objects wait"),
                if left.deletes == 1 { "stays" } else { "stay" },
                left.deletes_sample
            )));
        }
    });
    Ok(if forgotten { Exit::Warnings } else { Exit::Ok })
}
