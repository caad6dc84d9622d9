//! `tenant serve`: a local tenant as its own process, the same as `syncline-tenant serve`.

use crate::cli::App;
use crate::cli::args::TenantCommand;
use crate::cli::error::{CommandError, Exit};
use crate::context::Context;
use crate::tenant::command::{self, run_serve};

pub(in crate::cli) fn run(app: &App, command: &TenantCommand) -> Result<Exit, CommandError> {
    let TenantCommand::Serve(arguments) = command;
    let mut arguments = arguments.as_ref().clone();
    arguments.json |= app.output.json;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| {
        CommandError::new("tenant", Exit::NotStarted, format!("no threads for the tenant: {error}"))
            .hint("`ulimit -u` shows how many this account may have")
    })?;
    let mut output = anstream::stdout();
    runtime.block_on(run_serve(&arguments, Context::system(), &mut output)).map_err(|error| refused(&error))?;
    Ok(Exit::Ok)
}

fn refused(error: &command::CommandError) -> CommandError {
    CommandError::new("tenant", Exit::NotStarted, error.to_string())
}
