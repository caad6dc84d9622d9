//! `alerts show|test`: who is told of what needs a person, and whether it arrives.

use crate::cli::args::AlertsCommand;
use crate::cli::commands::facts;
use crate::cli::error::{CommandError, Exit};
use crate::cli::{App, Place};
use crate::service::{Access, AlertWay, AlertsView};
use serde::Serialize;

#[derive(Serialize)]
struct Tested {
    /// Each way, with what became of the test.
    channels: Vec<AlertWay>,
    /// It was sent; false: only looked at.
    sent: bool,
}

pub(in crate::cli) fn run(app: &App, command: &AlertsCommand) -> Result<Exit, CommandError> {
    let service = app.service(Access::Create)?;
    match command {
        AlertsCommand::Show => {
            let refused = match &app.place {
                Place::Service(station) => station.refused(),
                Place::Here => None,
            };
            let view = service.alerts(&app.cx, refused.as_deref())?;
            app.output.result(&view, |view| print(app, view));
            Ok(Exit::Ok)
        }
        AlertsCommand::Test { what_if } => {
            let channels = if *what_if { service.alert_channels() } else { service.test_alerts(&app.cx)? };
            let failed = channels.iter().any(|way| way.failure.is_some());
            let tested = Tested { channels, sent: !what_if };
            app.output.result(&tested, |tested| {
                for way in &tested.channels {
                    let became = match &way.failure {
                        Some(reason) => format!("did not arrive: {reason}"),
                        None if tested.sent => "was taken".to_owned(),
                        None => "would be told".to_owned(),
                    };
                    app.output.line(crate::cli::output::clean(format!("{} to {}: {became}", way.channel.as_str(), way.to)));
                }
                if tested.channels.is_empty() {
                    app.output.line("Nobody is told: neither [alerts.mail] nor [alerts.webhook] is configured.");
                }
            });
            Ok(if failed { Exit::Errors } else { Exit::Ok })
        }
    }
}

fn print(app: &App, view: &AlertsView) {
    let ways: Vec<String> = view.channels.iter().map(|way| format!("{} to {}", way.channel.as_str(), way.to)).collect();
    let conditions: Vec<&str> = view.conditions.iter().map(|condition| condition.as_str()).collect();
    facts(
        &app.output,
        "Alerts",
        &[
            ("who is told", if ways.is_empty() { "nobody: [alerts] is not configured".to_owned() } else { ways.join("; ") }),
            ("of", conditions.join(", ")),
            ("again while it lasts", format!("after {}", crate::cli::output::counted(view.remind_hours, "hour", "hours"))),
        ],
    );
    for found in &view.found {
        app.output.line("");
        let about = if found.subject.is_empty() { String::new() } else { format!(" ({})", found.subject) };
        let command = crate::cli::calls::shown(&found.command);
        facts(&app.output, &format!("{}{about}", found.condition), &[("now", found.text.clone()), ("look at", command)]);
    }
}
