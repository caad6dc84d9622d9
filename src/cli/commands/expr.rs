//! `expr eval` and `expr functions`: expressions on trial, and the functions of the language.

use crate::cli::App;
use crate::cli::args::{ExprArguments, ExprCommand};
use crate::cli::commands::rule::direction;
use crate::cli::commands::trace::print_wrapped;
use crate::cli::commands::{facts, only_object};
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::{clean, table};
use crate::rules::{FlowOutcome, FunctionView, functions};
use crate::service::{Access, ExpressionTrial, ExpressionView};
use serde::Serialize;

#[derive(Serialize)]
struct Functions {
    functions: Vec<FunctionView>,
}

pub(in crate::cli) fn run(app: &App, command: &ExprCommand) -> Result<Exit, CommandError> {
    match command {
        ExprCommand::Eval(arguments) => evaluate(app, arguments),
        ExprCommand::Functions { name: None } => {
            app.output.result(&Functions { functions: functions() }, |found| {
                let rows = found.functions.iter().map(|function| [function.name.to_owned(), function.about.to_owned()]);
                app.output.table(table(["function", "what it does"], &[], rows));
            });
            Ok(Exit::Ok)
        }
        ExprCommand::Functions { name: Some(name) } => show(app, name),
    }
}

fn show(app: &App, name: &str) -> Result<Exit, CommandError> {
    let all = functions();
    let Some(function) = all.iter().find(|function| function.name.eq_ignore_ascii_case(name)) else {
        let folded = name.to_lowercase();
        let like: Vec<&str> = all.iter().map(|function| function.name).filter(|known| known.to_lowercase().contains(&folded)).collect();
        let error = CommandError::new("not-found", Exit::Errors, format!("there is no function '{name}'"));
        return Err(if like.is_empty() {
            error.hint("`syncline expr functions` lists all of them")
        } else {
            error.hint(format!("there are: {}", like.join(", ")))
        });
    };
    app.output.result(function, |function| {
        let mut told =
            vec![("does", function.about.to_owned()), ("gives", function.gives.to_owned()), ("group", function.group.to_owned())];
        let parameters = function.parameters.iter().map(|(name, takes)| format!("{name}: {takes}")).collect::<Vec<_>>().join("; ");
        told.push(("takes", parameters));
        facts(&app.output, &function.signature, &told);
    });
    Ok(Exit::Ok)
}

fn evaluate(app: &App, arguments: &ExprArguments) -> Result<Exit, CommandError> {
    let service = app.service(if arguments.object.is_some() { Access::Existing } else { Access::Create })?;
    let object = match &arguments.object {
        Some(text) => {
            let browser = service.browse()?;
            Some(only_object(&browser, browser.find_origin(text)?, text)?)
        }
        None => None,
    };
    let trial = ExpressionTrial {
        text: arguments.expression.clone(),
        direction: direction(arguments.direction),
        connector: arguments.connector.clone(),
        object_type: arguments.object_type.clone(),
        object,
        attributes: arguments.attributes.clone(),
    };
    let view = service.evaluate(&trial, app.cx.now())?;
    let exit = if matches!(view.outcome, FlowOutcome::Failed { .. }) { Exit::Errors } else { Exit::Ok };
    app.output.result(&view, |view| print(app, view));
    Ok(exit)
}

fn print(app: &App, view: &ExpressionView) {
    for input in &view.inputs {
        print_wrapped(&app.output, "reads ", &format!("{} = {}", input.attribute, input.found));
    }
    match &view.outcome {
        FlowOutcome::Values(found) => {
            let width = found.values.iter().map(|value| value.kind.len()).max().unwrap_or(0);
            for value in &found.values {
                app.output.line(clean(format!("{:<width$}  {value}", value.kind)));
            }
            let shown = u64::try_from(found.values.len()).unwrap_or(u64::MAX);
            if found.count > shown {
                app.output.line(format!("… and {} more values", found.count - shown));
            }
        }
        FlowOutcome::Nothing => app.output.line("nothing"),
        FlowOutcome::Removed => app.output.line("AuthoritativeNull: removes the value, and no rule behind it is asked"),
        FlowOutcome::Ignored | FlowOutcome::SourceAbsent => app.output.line("IgnoreThisFlow: as if there were no flow"),
        FlowOutcome::Failed { code, detail } => {
            app.output.line(format!("fails: {code}"));
            detail.lines().for_each(|line| app.output.line(clean(format!("  {line}"))));
        }
    }
    if let Some(warning) = &view.warning {
        app.output.note(format!("warning: {}", warning.lines().map(clean).collect::<Vec<_>>().join("\n  ")));
    }
}
