//! `mv why`: where a metaverse value comes from, who else would give one, and what targets got of it.

use crate::cli::App;
use crate::cli::commands::trace::{because, print_flow, print_wrapped};
use crate::cli::commands::{explain_page, known, only_one, page_to};
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::{clean, moment, table, told};
use crate::service::{Access, WhyAge, WhyRun, WhyTarget, WhyView};
use std::path::Path;

pub(super) fn run(app: &App, object: &str, attribute: &str, html: Option<&Path>) -> Result<Exit, CommandError> {
    let service = app.service(Access::Existing)?;
    let id = {
        let browser = service.browse()?;
        only_one(&browser, browser.find_mv(object)?, object, "metaverse object")?
    };
    let view = service.why(id, attribute, app.cx.now())?;
    if let Some(file) = html {
        page_to(app, file, &explain_page::why(&view, &app.cx.now().to_string()))?;
    }
    app.output.result(&view, |view| print(app, view));
    Ok(Exit::Ok)
}

fn print(app: &App, view: &WhyView) {
    let name = if view.name.is_empty() { String::new() } else { format!(", {}", view.name) };
    app.output.line(clean(format!("{} of metaverse object {} ({}{name})", view.attribute, view.metaverse, view.object_type)));
    if view.count == 0 {
        app.output.line("  no value");
    }
    for value in &view.values {
        app.output.line(format!("  {}", clean(value.to_string())));
    }
    let shown = u64::try_from(view.values.len()).unwrap_or(u64::MAX);
    if view.count > shown {
        app.output.line(format!("  … and {} more", view.count - shown));
    }
    for origin in &view.origins {
        app.output.line("");
        print_wrapped(&app.output, "from ", &format!("\"{}\", object {} of {}", origin.rule, origin.source_id, origin.connector));
        print_wrapped(&app.output, "     ", &origin.dn);
        let run = match &origin.run {
            Some(run) => format!("run {}, {} of {}", run.number, run.profile, run.connector),
            None => "by a run that the history no longer has".to_owned(),
        };
        app.output.paragraph("     ", &format!("the rule gives it since {}, {run}", moment(&origin.since)));
    }
    if let Some(age) = &view.age {
        app.output.line("");
        app.output.paragraph("", &told_age(age));
    }
    if view.flows.is_empty() {
        app.output.line("\nNo rule in scope flows into it.");
    } else {
        app.output.line("\nasked in this order, with the values of now:");
        for flow in &view.flows {
            let object = flow.source_id.as_ref().map(|id| format!("{id} of {}", flow.connector.as_deref().unwrap_or("?")));
            print_flow(&app.output, &flow.flow, object.as_deref());
        }
    }
    if view.outdated {
        app.output.line("\nThe rules would give another result now: the next synchronization of its source brings it.");
    }
    if !view.out_of_scope.is_empty() {
        app.output.line("\nrules that flow into it, too, and do not apply:");
        for rule in &view.out_of_scope {
            print_wrapped(&app.output, "  ", &format!("{} ({})", rule.rule, rule.source_id));
            print_wrapped(&app.output, "      ", &because(&rule.failing));
        }
    }
    for target in &view.targets {
        print_target(app, target);
    }
}

/// How old a value is, in a sentence.
pub(super) fn told_age(age: &WhyAge) -> String {
    let run = age.run.as_ref().map(|run| format!(", by run {}, {} of {}", run.number, run.profile, run.connector));
    let since = moment(&age.since);
    if age.at_least {
        format!("The value is older than the history, which begins at {since}.")
    } else {
        format!("The value has been so since {since}{}.", run.unwrap_or_default())
    }
}

fn print_target(app: &App, target: &WhyTarget) {
    app.output.line("");
    let name = known(&target.known_as, &target.dn);
    app.output.line(clean(format!("{}: object {} {name}", target.connector, target.id)));
    if target.attributes.is_empty() {
        app.output.line("  no rule in scope sends it there");
    } else {
        let told =
            |run: &Option<WhyRun>| run.as_ref().map(|run| format!("run {} {}", run.number, moment(&run.started))).unwrap_or_default();
        let rows = target.attributes.iter().map(|attribute| {
            let values: Vec<String> = attribute.values.iter().take(3).map(ToString::to_string).collect();
            let value = short(&values.join(", "));
            let by =
                if attribute.from_this { String::new() } else { format!("from \"{}\"", attribute.rule.as_deref().unwrap_or("nobody")) };
            [attribute.attribute.clone(), value, attribute.state.to_owned(), told(&attribute.sent), told(&attribute.confirmed), by]
        });
        app.output.table(table(["attribute", "value", "state", "sent", "confirmed", ""], &[], rows).named_below());
    }
    if let Some(problem) = &target.problem {
        app.output.line(format!("  refused: {}, since {}", clean(&problem.code), moment(&problem.first_seen)));
        problem.detail.lines().for_each(|line| app.output.line(told(format!("    {line}"))));
    }
}

fn short(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
