//! `connector`: which connectors there are, and what becomes of those that are configured no longer.

use crate::cli::App;
use crate::cli::args::ConnectorCommand;
use crate::cli::calls::completed;
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::{clean, table, thousands};
use crate::service::{Access, ConnectorLine, Service};
use serde::Serialize;

#[derive(Serialize)]
struct Connectors {
    connectors: Vec<ConnectorLine>,
}

#[derive(Serialize)]
struct Renamed<'a> {
    from: &'a str,
    to: &'a str,
}

#[derive(Serialize)]
struct Removed<'a> {
    connector: &'a str,
    objects: u64,
    what_if: bool,
}

pub(in crate::cli) fn run(app: &App, command: &ConnectorCommand) -> Result<Exit, CommandError> {
    let service = app.service(Access::Existing)?;
    match command {
        ConnectorCommand::List => list(app, &service),
        ConnectorCommand::Rename { name, new } => {
            service.between_runs("the renaming of a connector", app.wait, || service.rename_connector(name, new))?;
            app.renew();
            app.output.result(&Renamed { from: name, to: new }, |_| {
                app.output.line(clean(format!("the objects of {name} belong to {new} now")));
            });
            Ok(Exit::Ok)
        }
        ConnectorCommand::Remove { name, what_if } => remove(app, &service, name, *what_if),
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

fn remove(app: &App, service: &Service, name: &str, what_if: bool) -> Result<Exit, CommandError> {
    let objects = if what_if {
        service.left_behind(name)?
    } else {
        service.between_runs("the removal of a connector", app.wait, || service.remove_connector(name))?
    };
    app.output.result(&Removed { connector: name, objects, what_if }, |_| {
        let count = thousands(objects);
        app.output.line(clean(if what_if {
            format!("{count} objects of {name} would be taken off by the next synchronization")
        } else {
            format!("{count} objects of {name} are taken off by the next synchronization")
        }));
        app.output.note(completed("What follows for targets is shown after it by `syncline export --what-if`, before anything is sent."));
    });
    Ok(Exit::Ok)
}
