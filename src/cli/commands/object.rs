//! `object explain`: why an object is in the cloud, or what stops it.

use crate::cli::App;
use crate::cli::args::ObjectCommand;
use crate::cli::commands::only_object;
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::clean;
use crate::service::{Access, StepOutcome};

pub(in crate::cli) fn run(app: &App, command: &ObjectCommand) -> Result<Exit, CommandError> {
    let ObjectCommand::Explain { object } = command;
    let service = app.service(Access::Existing)?;
    let browser = service.browse()?;
    let id = only_object(&browser, browser.find_origin(object)?, object)?;
    let explanation = service.explain(id, app.cx.now())?;
    app.output.result(&explanation, |explanation| {
        app.output.line(clean(&explanation.dn));
        for step in &explanation.steps {
            let mark = match step.outcome {
                StepOutcome::Passed => "✓",
                StepOutcome::Waiting => "…",
                StepOutcome::Stopped => "✗",
            };
            let mut heading = format!("  {mark} {:<13}", step.step);
            for line in step.findings.iter().flat_map(|finding| finding.lines()) {
                app.output.line(format!("{heading} {}", clean(line)).trim_end());
                heading = " ".repeat(17);
            }
        }
        app.output.line(clean(&explanation.verdict));
    });
    Ok(Exit::Ok)
}
