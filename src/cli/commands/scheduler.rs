//! `scheduler …`: when cycles run by themselves, and what the next one does.

use crate::cli::args::SchedulerCommand;
use crate::cli::calls::shown;
use crate::cli::commands::{facts, last_cycle, next_cycle};
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::{clean, counted, duration, moment};
use crate::cli::{App, Place};
use crate::config::Config;
use crate::schedule::{Policy, Suspension};
use crate::service::{Access, SchedulerView, ServiceError};
use std::time::Duration;

pub(in crate::cli) fn run(app: &App, command: &SchedulerCommand) -> Result<Exit, CommandError> {
    let service = app.service(Access::Create)?;
    let served = matches!(app.place, Place::Service(_));
    match command {
        SchedulerCommand::Show => {}
        SchedulerCommand::Set(settings) => {
            let changed =
                service.set_schedule(settings.enabled, settings.interval.as_deref(), settings.maintenance, settings.near_real_time)?;
            if changed.is_empty() {
                return Err(CommandError::usage("nothing to set").hint("give --interval, --enabled, --maintenance or --near-real-time"));
            }
            // What was written counts in this answer, too.
            let view = Config::load(&app.config).map_err(ServiceError::from).and_then(|config| {
                let counting = service.reconfigured(config)?;
                // Without rules there are no cycles, whatever the schedule says.
                counting.rules()?;
                counting.scheduler(&app.cx, served)
            });
            let written = || changed.iter().map(|key| format!("scheduler.{key}")).collect::<Vec<_>>().join(" and ");
            let view = view.map_err(|error| app.written_only(&written(), error))?;
            app.output.result(&view, |view| print(app, view));
            return Ok(Exit::Ok);
        }
        SchedulerCommand::Suspend { reason } => {
            let suspension = Suspension { since: app.cx.now().0, by: app.by.clone(), reason: reason.clone().unwrap_or_default() };
            service.remember_schedule(|memory| memory.suspend(Some(suspension)))?;
        }
        SchedulerCommand::Resume => service.remember_schedule(|memory| memory.suspend(None))?,
        SchedulerCommand::Override { connector, full_import, full_sync, clear } => {
            if !(*full_import || *full_sync || *clear) {
                return Err(CommandError::usage("nothing to override").hint("give --full-import, --full-sync or --clear"));
            }
            service.override_steps(service.connector_id(connector)?, *full_import, *full_sync, app.cx.now())?;
        }
    }
    let view = service.scheduler(&app.cx, served)?;
    app.output.result(&view, |view| print(app, view));
    Ok(Exit::Ok)
}

fn print(app: &App, view: &SchedulerView) {
    let seconds = |seconds: u64| duration(Duration::from_secs(seconds).as_secs_f64());
    let time = |time: &Option<String>| time.as_deref().map(moment).unwrap_or_default();
    let suspended = view.suspended.as_ref().map(|suspension| {
        let reason = if suspension.reason.is_empty() { String::new() } else { format!(": {}", suspension.reason) };
        format!("since {} by {}{reason}", moment(&suspension.since), suspension.by)
    });
    let suspended = view.unreadable.as_ref().map(|why| format!("nobody knows whether it is, so it is: {why}")).or(suspended);
    let word = |on: bool| if on { "on" } else { "off" }.to_owned();
    let policy = match view.next_policy {
        Policy::Unspecified => "changes, unless more is necessary",
        Policy::Delta => "changes",
        Policy::Initial => "everything",
    };
    let overrides: Vec<String> = view
        .overrides
        .iter()
        .map(|one| {
            let steps = [(one.full_import, "full import"), (one.full_synchronization, "full synchronization")];
            let steps: Vec<&str> = steps.iter().filter(|(wanted, _)| *wanted).map(|(_, name)| *name).collect();
            format!("{}: {}", one.connector, steps.join(" and "))
        })
        .collect();
    let floor = if view.allowed_interval_seconds > 0 { seconds(view.allowed_interval_seconds) } else { "not known yet".to_owned() };
    facts(
        &app.output,
        "Scheduler",
        &[
            ("cycles by themselves", word(view.cycle_enabled)),
            ("interval", seconds(view.effective_interval_seconds)),
            ("configured", seconds(view.customized_interval_seconds)),
            ("the tenant allows", floor),
            ("suspended", suspended.unwrap_or_default()),
            ("running now", view.running.clone().unwrap_or_default()),
            ("next cycle", next_cycle(view)),
            ("it reads", policy.to_owned()),
            ("full steps asked for", overrides.join(", ")),
            ("last cycle", last_cycle(view)),
            ("last that did everything", time(&view.last_success)),
            ("last that read everything", time(&view.last_full)),
            ("maintenance", word(view.maintenance_enabled)),
            ("last maintenance", time(&view.last_maintenance)),
            ("history is kept", counted(view.history_days.into(), "day", "days")),
            ("staging mode", word(view.staging)),
        ],
    );
    for stop in &view.guard_stops {
        app.output.line("");
        app.output.line(clean(format!("!! {stop}")));
        app.output.line(format!("   {}", shown(&stop.command)));
    }
}
