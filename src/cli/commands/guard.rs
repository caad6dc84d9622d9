//! `guard show|set|disable`: protection against deleting by accident.

use crate::cli::App;
use crate::cli::args::GuardCommand;
use crate::cli::calls::shown;
use crate::cli::commands::facts;
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::{clean, table, thousands, told};
use crate::config::Config;
use crate::service::{Access, GuardChange, GuardSetting, GuardValue, GuardView, Service, ServiceError};
use serde_json::json;

pub(in crate::cli) fn run(app: &App, command: &GuardCommand) -> Result<Exit, CommandError> {
    let service = app.service(Access::Create)?;
    let view = match command {
        GuardCommand::Show { tenant } => {
            if *tenant {
                for (connector, reason) in service.ask_targets(&app.cx)? {
                    app.output.note(format!("{connector} could not be asked, so this is what it said at the last export: {reason}"));
                }
            }
            service.guard()?
        }
        GuardCommand::Set(settings) => {
            let change = GuardChange {
                max_deletes: settings.max_deletes,
                max_delete_percent: settings.max_delete_percent,
                shrink_percent: settings.shrink_percent,
                off: settings.off,
            };
            if change == GuardChange::default() {
                return Err(CommandError::usage("nothing to set").hint("give --max-deletes, --max-delete-percent or --shrink-percent"));
            }
            if settings.what_if {
                let changes = service.preview_guard(change, settings.tenant)?;
                app.output.result(&json!({ "changes": changes }), |_| preview(app, &changes));
                return Ok(Exit::Ok);
            }
            if settings.tenant {
                service.set_tenant_guard(&app.cx, change)?;
                service.guard()?
            } else {
                service.set_guard(change)?;
                counting(app, &service, &written(change))?
            }
        }
        GuardCommand::Disable { what_if } => {
            let changes = service.disable_guard(*what_if)?;
            if *what_if {
                app.output.result(&json!({ "changes": changes }), |_| preview(app, &changes));
                return Ok(Exit::Ok);
            }
            counting(app, &service, "guard.delete_threshold = false")?
        }
    };
    app.output.result(&view, |view| print(app, view));
    Ok(Exit::Ok)
}

/// The guards as they stand now, by what was just written.
fn counting(app: &App, service: &Service, written: &str) -> Result<GuardView, CommandError> {
    let view = Config::load(&app.config).map_err(ServiceError::from).and_then(|config| service.reconfigured(config)?.guard());
    view.map_err(|error| app.written_only(written, error))
}

/// A change as the file has it.
fn written(change: GuardChange) -> String {
    let settings = [
        ("max_deletes", change.max_deletes),
        ("max_delete_percent", change.max_delete_percent.map(u64::from)),
        ("shrink_percent", change.shrink_percent.map(u64::from)),
    ];
    let settings = settings.into_iter().filter_map(|(key, value)| Some(format!("guard.{key} = {}", value?)));
    settings.collect::<Vec<_>>().join(" and ")
}

/// What people should know while the threshold is off; nothing while it is on.
pub(in crate::cli) fn threshold_off(service: &Service) -> Option<String> {
    let guard = &service.config().guard;
    let number = guard.max_deletes;
    (!guard.delete_threshold).then(|| {
        format!("The delete threshold is off: however many deletes wait, an export sends them. To switch it on: `syncline guard set --max-deletes {number}`")
    })
}

/// What counts where nobody configured a share.
const HALF: &str = "half of what the target holds, from 10 deletes on";

fn preview(app: &App, changes: &[GuardSetting]) {
    let shown = |value: Option<GuardValue>| match value {
        Some(GuardValue::Number(number)) => thousands(number),
        Some(GuardValue::Switch(on)) => if on { "on" } else { "off" }.to_owned(),
        None => "no limit".to_owned(),
    };
    let rows = changes.iter().map(|change| [change.place.clone(), change.key.to_owned(), shown(change.now), shown(change.then)]);
    app.output.table(table(["where", "setting", "now", "then"], &["now", "then"], rows));
    app.output.line("Nothing was changed.");
}

fn print(app: &App, view: &GuardView) {
    let percent = |percent: Option<u32>| percent.map(|percent| format!("{percent} % of what the target holds")).unwrap_or_default();
    facts(
        &app.output,
        "Guards",
        &[
            ("delete threshold", if view.delete_threshold { "on" } else { "off: the two below do not count" }.to_owned()),
            ("deletes of one export", thousands(view.max_deletes)),
            ("as a share", view.max_delete_percent.map_or_else(|| HALF.to_owned(), |share| percent(Some(share)))),
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
                (
                    "state",
                    match (target.stopped, target.blocked_by.is_empty()) {
                        (true, _) => "stopped",
                        (false, true) => "open",
                        (false, false) => "open, except for what is named here",
                    }
                    .to_owned(),
                ),
            ],
        );
        for reason in &target.blocked_by {
            app.output.line(told(format!("  !! {reason}")));
        }
    }
    for stop in view.stops.iter().filter(|stop| view.targets.iter().all(|target| target.connector != stop.connector)) {
        app.output.line("");
        app.output.line(clean(format!("!! {stop}: {}", shown(&stop.command))));
    }
}
