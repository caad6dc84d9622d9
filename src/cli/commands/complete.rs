//! `completions` and `man`: what shells and manual pagers know of the commands, made from the same description.

use crate::cli::App;
use crate::cli::args::{Arguments, CompletionsArguments, ManArguments};
use crate::cli::error::{CommandError, Exit};
use clap::CommandFactory as _;

pub(in crate::cli) fn completions(app: &App, arguments: &CompletionsArguments) -> Exit {
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), "syncline", &mut text);
    app.output.line(String::from_utf8_lossy(&text).trim_end());
    Exit::Ok
}

/// Writes a page for the program and each of its commands.
pub(in crate::cli) fn man(app: &App, arguments: &ManArguments) -> Result<Exit, CommandError> {
    let folder = app.path(&arguments.to);
    let failed = |error: std::io::Error| CommandError::unwritten(&folder, &error);
    std::fs::create_dir_all(&folder).map_err(failed)?;
    clap_mangen::generate_to(Arguments::command(), &folder).map_err(failed)?;
    app.output.note(format!("Pages written to {}; read one with man {}/syncline.1", folder.display(), folder.display()));
    Ok(Exit::Ok)
}
