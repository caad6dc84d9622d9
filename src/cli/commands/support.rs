//! `support bundle`: one document for whoever helps.

use crate::cli::args::SupportCommand;
use crate::cli::error::{CommandError, Exit};
use crate::cli::{App, Place};
use crate::service::{Access, ServiceError};

pub(in crate::cli) fn run(app: &App, command: &SupportCommand) -> Result<Exit, CommandError> {
    let SupportCommand::Bundle { with_names } = command;
    let served = matches!(app.place, Place::Service(_));
    let bundle = app.service(Access::Existing)?.support_bundle(&app.cx, served, *with_names)?;
    let text = serde_json::to_string_pretty(&bundle).map_err(|error| ServiceError::Usage(error.to_string()))?;
    app.output.line(text);
    if !app.output.json {
        let names = if *with_names { "Names of people are in it" } else { "Names of people were left out" };
        app.output.note(format!("{names}; secrets are in none. Read it before you give it away."));
    }
    Ok(Exit::Ok)
}
