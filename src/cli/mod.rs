//! The command line: reads arguments, calls the service, renders what comes back. Decides nothing about identities.

mod args;
mod commands;
mod error;
mod output;
mod progress;

use args::{Arguments, Command};
use clap::Parser;
use clap::error::ErrorKind;
use error::{CommandError, Exit};
use output::Output;
use std::io::IsTerminal as _;
use std::process::ExitCode;

/// What every command gets.
pub(crate) struct App {
    /// The configuration folder.
    config: std::path::PathBuf,
    /// The store's file, when it was named.
    store: Option<std::path::PathBuf>,
    /// Where results go.
    output: Output,
}

/// Runs the program with the arguments of this process. Gives what the process ends with.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&error),
    };
    let output = Output { json: arguments.json };
    if let Err(error) = start_logging(&arguments.log) {
        output.error(&error);
        return error.exit.into();
    }
    match run(arguments, output) {
        Ok(exit) => exit.into(),
        Err(error) => {
            output.error(&error);
            error.exit.into()
        }
    }
}

/// Help and usage errors, in clap's own words.
fn refuse(error: &clap::Error) -> ExitCode {
    let text = error.render();
    let help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let output = Output { json: false };
    if help {
        output.line(text.ansi().to_string().trim_end());
        Exit::Ok.into()
    } else {
        output.note(text.ansi().to_string().trim_end());
        Exit::Usage.into()
    }
}

fn start_logging(filter: &str) -> Result<(), CommandError> {
    let filter = tracing_subscriber::EnvFilter::try_new(filter).map_err(|error| {
        CommandError::usage(format!("--log {filter}: {error}")).hint("write a level, or target=level: warn, info, syncline=debug")
    })?;
    // A second subscriber cannot be set within one process; tests that call commands twice keep the first.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .try_init();
    Ok(())
}

fn run(arguments: Arguments, output: Output) -> Result<Exit, CommandError> {
    if arguments.version {
        return Ok(commands::version::run(output));
    }
    let app = App { config: arguments.config, store: arguments.store, output };
    let Some(command) = arguments.command else {
        return Err(CommandError::usage("no command given").hint("syncline demo shows everything once; syncline --help lists the commands"));
    };
    match command {
        Command::Demo(arguments) => commands::demo::run(&app, &arguments),
        Command::Init(arguments) => commands::init::run(&app, &arguments),
        Command::Run(command) => commands::run::run(&app, &command),
        Command::Cycle(command) => commands::cycle::run(&app, &command),
        Command::Export(arguments) => commands::export::run(&app, &arguments),
        Command::Errors(arguments) => commands::errors::run(&app, &arguments),
        Command::Cs(command) => commands::cs::run(&app, &command),
        Command::Mv(command) => commands::mv::run(&app, &command),
        Command::Object(command) => commands::object::run(&app, &command),
        Command::Connector(command) => commands::connector::run(&app, &command),
        Command::Rules(command) => commands::rules::run(&app, &command),
        Command::Store(command) => commands::store::run(&app, &command),
        Command::Anchor(command) => commands::anchor::run(&app, &command),
        Command::Tenant(command) => commands::tenant::run(&app, &command),
    }
}
