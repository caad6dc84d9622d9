//! `profile`: run profiles are built in; what each does, and which connectors have it.

use crate::cli::App;
use crate::cli::args::ProfileCommand;
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::{clean, table};
use crate::service::{Access, ProfileView};
use serde::Serialize;

#[derive(Serialize)]
struct Profiles {
    /// Always true: profiles are not configured.
    built_in: bool,
    profiles: Vec<ProfileView>,
}

pub(in crate::cli) fn run(app: &App, command: &ProfileCommand) -> Result<Exit, CommandError> {
    let service = app.service(Access::Create)?;
    let mut profiles = service.profiles()?;
    if let ProfileCommand::Show { profile } = command {
        profiles.retain(|known| known.name == *profile);
        if profiles.is_empty() {
            return Err(CommandError::usage(format!("there is no profile '{profile}'")).hint("`syncline profile list` lists them"));
        }
    }
    app.output.result(&Profiles { built_in: true, profiles }, |found| {
        let rows = found
            .profiles
            .iter()
            .map(|profile| [profile.name.to_owned(), profile.title.to_owned(), profile.connectors.join(", "), profile.does.to_owned()]);
        app.output.table(table(["profile", "in the history", "connectors", "what it does"], &[], rows));
        app.output
            .note(clean("Profiles are built in: a run does one of them on one connector, and a cycle all that are needed, in order."));
    });
    Ok(Exit::Ok)
}
