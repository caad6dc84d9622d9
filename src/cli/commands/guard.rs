//! `guard show|set`: protection against deleting by accident.

use crate::cli::App;
use crate::cli::args::GuardCommand;
use crate::cli::commands::facts;
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::thousands;
use crate::config::Config;
use crate::service::{Access, GuardChange, GuardView};

pub(in crate::cli) fn run(app: &App, command: &GuardCommand) -> Result<Exit, CommandError> {
    let service = app.service(Access::Create)?;
    let view = match command {
        GuardCommand::Show => service.guard()?,
        GuardCommand::Set(settings) => {
            let change = GuardChange {
                max_deletes: settings.max_deletes,
                max_delete_percent: settings.max_delete_percent,
                shrink_percent: settings.shrink_percent,
            };
            if change == GuardChange::default() {
                return Err(CommandError::usage("nothing to set").hint("give --max-deletes, --max-delete-percent or --shrink-percent"));
            }
            service.set_guard(change)?;
            // What was written counts in this answer, too.
            service.reconfigured(Config::load(&app.config)?)?.guard()?
        }
    };
    app.output.result(&view, |view| print(app, view));
    Ok(Exit::Ok)
}

fn print(app: &App, view: &GuardView) {
    let percent = |percent: Option<u32>| percent.map(|percent| format!("{percent} % of what the target holds")).unwrap_or_default();
    facts(
        &app.output,
        "Guards",
        &[
            ("deletes of one export", thousands(view.max_deletes)),
            ("as a share", percent(view.max_delete_percent)),
            ("an import may lose", format!("{} % of the known objects", view.shrink_percent)),
            ("staging mode", if view.staging { "on: nothing is exported".to_owned() } else { "off".to_owned() }),
        ],
    );
    for target in &view.targets {
        app.output.line("");
        facts(
            &app.output,
            &target.connector,
            &[
                ("the tenant allows", target.tenant_max_deletes.map(thousands).unwrap_or_default()),
                ("as a share", percent(target.tenant_max_delete_percent)),
                ("waiting deletes", thousands(target.waiting)),
                ("limit that counts", target.limit.map(thousands).unwrap_or_default()),
                ("state", if target.stopped { "an export would stop before its first object".to_owned() } else { "open".to_owned() }),
            ],
        );
    }
}
