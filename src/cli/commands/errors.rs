//! `errors`: the problems of objects, and of entries that could not become objects.

use crate::cli::App;
use crate::cli::args::ErrorsArguments;
use crate::cli::commands::{known, more};
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::{clean, counted, moment};
use crate::service::{Access, ProblemView};
use serde::Serialize;

#[derive(Serialize)]
struct Document {
    /// Before everything else: who should not get in any more and does.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    still_enabled: Vec<String>,
    problems: Vec<ProblemView>,
    more: bool,
}

pub(in crate::cli) fn run(app: &App, arguments: &ErrorsArguments) -> Result<Exit, CommandError> {
    let service = app.service(Access::Existing)?;
    let connector = arguments.connector.as_deref().map(|name| service.connector_id(name)).transpose()?;
    let (problems, cut) = service.browse()?.problems(connector, arguments.limit)?;
    let still_enabled = service.people_still_enabled()?;
    app.output.result(&Document { still_enabled, problems, more: cut }, |found| {
        for sentence in &found.still_enabled {
            app.output.paragraph("!! ", &clean(sentence));
        }
        if found.problems.is_empty() {
            app.output.line("No object and no entry has a problem.");
        }
        for problem in &found.problems {
            let name = known(&problem.known_as, &problem.dn);
            let (what, retries) = match &problem.id {
                Some(id) => (format!("{name}, object {id}"), format!(", {}", counted(problem.retries.into(), "retry", "retries"))),
                None => (format!("{name}, no object yet"), String::new()),
            };
            let since = moment(&problem.first_seen);
            app.output.line(clean(format!("{}  {what}", problem.code)));
            app.output.line(clean(format!("  {} of {}, since {since}{retries}", problem.side, problem.connector)));
            for line in problem.detail.lines() {
                app.output.paragraph("  ", line);
            }
        }
        more(&app.output, found.more, found.problems.len());
    });
    Ok(Exit::Ok)
}
