//! `preview`: what synchronization would do with one object, and on request does.

use crate::cli::App;
use crate::cli::args::PreviewArguments;
use crate::cli::calls::call;
use crate::cli::commands::trace::{because, print_flow, print_join, print_wrapped};
use crate::cli::commands::{explain_page, only_object, page_to};
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::{clean, counted, table, told};
use crate::engine::Silent;
use crate::service::{Access, DriveOptions, PreviewAttribute, PreviewTargetView, PreviewView, RuleLine, RunView, SourcedFlow, Work};
use serde::Serialize;

#[derive(Serialize)]
struct Document {
    #[serde(flatten)]
    preview: PreviewView,
    /// The run that did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    committed: Option<RunView>,
}

pub(in crate::cli) fn run(app: &App, arguments: &PreviewArguments) -> Result<Exit, CommandError> {
    // Before anything is done: nothing may stand where the page goes.
    arguments.html.as_deref().map(|file| app.result_file(file)).transpose()?;
    let service = app.service(Access::Existing)?;
    let id = {
        let browser = service.browse()?;
        only_object(&browser, browser.find_origin(&arguments.object)?, &arguments.object)?
    };
    let preview = service.preview(id, arguments.full, app.cx.now())?;
    let mut exit = if preview.problem.is_some() { Exit::Errors } else { Exit::Ok };
    let mut committed = None;
    if arguments.commit {
        let work = [Work::Object { object: id, full: arguments.full }];
        committed = service.drive(&app.cx, &work, DriveOptions { patience: app.wait, ..DriveOptions::default() }, &mut Silent)?.pop();
        exit = committed.as_ref().map_or(Exit::NotStarted, |run| Exit::of_result(&run.result));
    }
    if let Some(file) = &arguments.html {
        page_to(app, file, &explain_page::preview(&preview, arguments.commit, &app.cx.now().to_string()))?;
    }
    app.output.result(&Document { preview, committed }, |document| print(app, document, arguments));
    Ok(exit)
}

fn print(app: &App, document: &Document, arguments: &PreviewArguments) {
    let view = &document.preview;
    app.output.line(clean(&view.dn));
    app.output.line(clean(format!("  {} {} of {}, {}", view.object_type, view.id, view.connector, view.state)));
    let by = view.linked_by.as_ref().map(|rule| format!(", by \"{rule}\"")).unwrap_or_default();
    print_wrapped(&app.output, "  ", &format!("{}{by}", decision(view)));
    if let Some(problem) = &view.problem {
        app.output.line(format!("\nproblem: {}", problem.code));
        problem.detail.lines().for_each(|line| app.output.line(told(format!("  {line}"))));
    }
    print_rules(app, view, arguments.all);
    if matches!(view.decision, "joins" | "projects" | "remains" | "retyped") {
        for join in &view.joins {
            app.output.line("");
            app.output.line(clean(format!("\"{}\" looks for a partner by", join.rule)));
            print_join(&app.output, &join.groups);
        }
    }
    print_attributes(app, &view.attributes, arguments.all);
    for target in &view.targets {
        print_target(app, target);
    }
    for target in view.targets.iter().filter(|target| !target.would_be_emptied.is_empty()) {
        app.output.line("");
        print_wrapped(&app.output, &format!("would be emptied in {}: ", clean(&target.connector)), &target.would_be_emptied.join(", "));
    }
    if !view.consequences.is_empty() {
        let shown: Vec<&str> = view.consequences.iter().take(10).map(String::as_str).collect();
        let more = if view.consequences.len() > 10 { format!(" and {} more", view.consequences.len() - 10) } else { String::new() };
        app.output.line(format!("\nevaluated after it: {}{more}", shown.join(", ")));
    }
    if let Some(run) = &document.committed {
        app.output.line(format!("\nDone: run {}, {}, {}.", run.number, run.profile, run.result));
    } else {
        let full = if arguments.full { &["--full"][..] } else { &[] };
        let again = call(&[&["preview", &arguments.object], full, &["--commit"]].concat());
        app.output.note(format!("\nNothing was written. To do it for this object only: {again}"));
    }
}

/// What becomes of the object, in a few words.
pub(super) fn decision(view: &PreviewView) -> String {
    let mv = view.metaverse.map(|mv| format!(" metaverse object {mv}")).unwrap_or_default();
    match view.decision {
        "stays-linked" => format!("stays linked to{mv}"),
        "joins" => format!("joins{mv}"),
        "projects" => "becomes a new metaverse object".to_owned(),
        "remains" => "finds no partner, and no rule makes one of it".to_owned(),
        "filtered" => "no rule wants it".to_owned(),
        "leaves-scope" => format!("leaves the scope of all rules and is taken off{mv}"),
        "deleted" => "is gone from its directory".to_owned(),
        "retyped" => "became another type and is treated as new".to_owned(),
        "placeholder" => "is known only because others refer to it or lie below it; synchronization never looks at it".to_owned(),
        _ => "a problem stops it; it stays as it is".to_owned(),
    }
}

fn print_rules(app: &App, view: &PreviewView, all: bool) {
    let row = |rule: &RuleLine| [rule.precedence.to_string(), rule.rule.clone(), rule.direction.to_owned(), rule.link.to_owned()];
    if view.in_scope.is_empty() {
        app.output.line("\nNo rule is in scope.");
    } else {
        let rows = view.in_scope.iter().map(row);
        app.output.line("\nin scope:");
        app.output.table(table(["precedence", "rule", "direction", "link"], &["precedence"], rows));
    }
    // Whom no inbound rule wants is told why without being asked.
    let unwanted = !view.in_scope.iter().any(|rule| rule.direction == "inbound");
    let shown: Vec<&RuleLine> = view.out_of_scope.iter().filter(|rule| all || (unwanted && rule.direction == "inbound")).collect();
    if !shown.is_empty() {
        app.output.line("\nnot in scope:");
        for rule in shown {
            print_wrapped(&app.output, &format!("  {:>4} ", rule.precedence), &rule.rule);
            print_wrapped(&app.output, "       ", &because(&rule.failing));
        }
    } else if !view.out_of_scope.is_empty() {
        let rules = counted(view.out_of_scope.len() as u64, "rule", "rules");
        app.output.note(format!("(not in scope: {rules} for its type; --all says why)"));
    }
}

fn print_attributes(app: &App, attributes: &[PreviewAttribute], all: bool) {
    let told = |values: &[String]| if values.is_empty() { "(none)".to_owned() } else { values.join(", ") };
    let (loud, quiet): (Vec<_>, Vec<_>) = attributes.iter().partition(|attribute| attribute.changed || all);
    if !loud.is_empty() {
        app.output.line(if all { "\nmetaverse attributes:" } else { "\nmetaverse attributes that change:" });
    }
    for attribute in loud {
        let values =
            if attribute.changed { format!("{} → {}", told(&attribute.before), told(&attribute.after)) } else { told(&attribute.after) };
        print_wrapped(&app.output, &format!("{}: ", clean(&attribute.attribute)), &values);
        attribute.flows.iter().for_each(|flow| print_flow(&app.output, &flow.flow, origin(flow).as_deref()));
    }
    if !quiet.is_empty() {
        let winner = |attribute: &PreviewAttribute| {
            let decided = |flow: &&SourcedFlow| {
                use crate::rules::Verdict;
                matches!(flow.flow.verdict, Verdict::Won | Verdict::Contributes | Verdict::KeptFromLink)
            };
            attribute.flows.iter().find(decided).map(|flow| flow.flow.rule.clone()).unwrap_or_default()
        };
        let rows = quiet.into_iter().map(|attribute| [attribute.attribute.clone(), short(&told(&attribute.after)), winner(attribute)]);
        app.output.line("\nmetaverse attributes that stay:");
        app.output.table(table(["attribute", "value", "rule"], &[], rows));
    }
}

fn short(text: &str) -> String {
    match text.char_indices().nth(48) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn origin(flow: &SourcedFlow) -> Option<String> {
    Some(format!("{} of {}", flow.source_id.as_ref()?, flow.connector.as_deref().unwrap_or("?")))
}

fn print_target(app: &App, target: &PreviewTargetView) {
    let what = match target.operation {
        _ if target.released => "let go, without being deleted",
        "none" => "nothing to send",
        other => other,
    };
    app.output.line("");
    app.output.line(clean(format!("{}: {what}  {} {}", target.connector, target.id, target.dn)));
    for change in &target.changes {
        for value in &change.removed {
            app.output.line(clean(format!("  - {}: {value}", change.attribute)));
        }
        for value in &change.added {
            app.output.line(clean(format!("  + {}: {value}", change.attribute)));
        }
    }
}
