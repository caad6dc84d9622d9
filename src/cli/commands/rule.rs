//! `rule …`: lists and shows rules, tries them, copies them, takes them over and out, switches them off and on.

use crate::cli::App;
use crate::cli::args::{RuleCommand, Way};
use crate::cli::calls::call;
use crate::cli::commands::trace::{print_join, print_outcome, print_scope, print_wrapped};
use crate::cli::commands::{facts, only_object};
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::{clean, table, told};
use crate::rules::{Direction, RuleTrace, Severity};
use crate::service::{Access, PrecedenceView, RuleChange, RuleDetail, RuleFilter, RuleView, Service};
use serde::Serialize;
use std::path::Path;

#[derive(Serialize)]
struct Rules {
    rules: Vec<RuleView>,
}

#[derive(Serialize)]
struct Findings {
    findings: Vec<Finding>,
}

#[derive(Serialize)]
struct Finding {
    severity: &'static str,
    file: String,
    line: usize,
    column: usize,
    rule: Option<String>,
    message: String,
    hint: Option<String>,
}

#[derive(Serialize)]
struct Sides {
    sides: Vec<PrecedenceView>,
}

#[derive(Serialize)]
struct Exported<'t> {
    toml: &'t str,
}

/// The direction that an option means.
pub(in crate::cli) fn direction(way: Way) -> Direction {
    match way {
        Way::In => Direction::Inbound,
        Way::Out => Direction::Outbound,
    }
}

pub(in crate::cli) fn run(app: &App, command: &RuleCommand) -> Result<Exit, CommandError> {
    let service = app.service(Access::Create)?;
    match command {
        RuleCommand::List { connector, direction: way, attribute, object_type, disabled, all } => {
            let filter = RuleFilter {
                connector: connector.clone(),
                direction: way.map(direction),
                attribute: attribute.clone(),
                object_type: object_type.clone(),
                enabled: if *all { None } else { Some(!disabled) },
            };
            list(app, &service, &filter)?;
        }
        RuleCommand::Show { rule } => {
            let detail = service.rule_detail(service.find_rule(rule)?)?;
            app.output.result(&detail, |detail| print_detail(app, detail));
        }
        RuleCommand::Lint => return Ok(lint(app, &service)),
        RuleCommand::Test { rule, object, entry } => return test(app, &service, rule, object.as_deref(), entry.as_deref()),
        RuleCommand::Precedence { attribute } => {
            let sides = service.precedence(attribute)?;
            app.output.result(&Sides { sides }, |found| print_precedence(app, &found.sides));
        }
        RuleCommand::Export { rule } => {
            let toml = service.plain_rule(service.find_rule(rule)?)?.to_toml();
            app.output.result(&Exported { toml: &toml }, |found| app.output.line(found.toml.trim_end()));
        }
        RuleCommand::Clone { rule, name, order, what_if } => {
            let change = service.clone_rule(service.find_rule(rule)?, name, *order, *what_if)?;
            return Ok(changed(app, &change, &format!("replaced by \"{}\"", name.trim())));
        }
        RuleCommand::Apply { file, what_if } => {
            return Ok(changed(app, &service.apply_rules(&app.path(file), *what_if)?, "taken over"));
        }
        RuleCommand::Delete { rule, what_if } => {
            return Ok(changed(app, &service.delete_rule(service.find_rule(rule)?, *what_if)?, "taken out"));
        }
        RuleCommand::Enable { rule, what_if } => {
            return Ok(changed(app, &service.enable_rule(service.find_rule(rule)?, *what_if)?, "switched on"));
        }
        RuleCommand::Disable { rule, what_if } => {
            return Ok(changed(app, &service.disable_rule(service.find_rule(rule)?, *what_if)?, "switched off"));
        }
    }
    Ok(Exit::Ok)
}

fn list(app: &App, service: &Service, filter: &RuleFilter) -> Result<(), CommandError> {
    let rules = service.rule_list(filter)?;
    app.output.result(&Rules { rules }, |found| {
        if found.rules.is_empty() {
            app.output.note("No rule fits.");
            return;
        }
        let rows = found.rules.iter().map(|rule| {
            let arrow = if rule.direction == "inbound" { "→" } else { "←" };
            [
                rule.precedence.to_string(),
                rule.name.clone(),
                rule.connector.clone(),
                format!("{} {arrow} {}", rule.cs_type, rule.mv_type),
                rule.link.to_owned(),
                rule.flows.to_string(),
                if rule.enabled { String::new() } else { "disabled".to_owned() },
            ]
        });
        let header = ["precedence", "rule", "connector", "types", "link", "flows", ""];
        app.output.table(table(header, &["precedence", "flows"], rows).named_below());
    });
    Ok(())
}

fn lint(app: &App, service: &Service) -> Exit {
    let problems = service.rule_problems();
    let worst = problems.iter().map(|problem| problem.severity).max();
    let findings = problems
        .iter()
        .map(|problem| Finding {
            severity: if problem.severity == Severity::Error { "error" } else { "warning" },
            file: problem.file.clone(),
            line: problem.line,
            column: problem.column,
            rule: problem.rule.clone(),
            message: problem.message.clone(),
            hint: problem.hint.clone(),
        })
        .collect();
    app.output.result(&Findings { findings }, |_| {
        for problem in &problems {
            problem.to_string().lines().for_each(|line| app.output.line(clean(line)));
        }
        if problems.is_empty() {
            app.output.line("Nothing is wrong with the rules.");
        }
    });
    match worst {
        None => Exit::Ok,
        Some(Severity::Error) => Exit::Errors,
        Some(_) => Exit::Warnings,
    }
}

fn print_detail(app: &App, detail: &RuleDetail) {
    let rule = &detail.summary;
    let arrow = if rule.direction == "inbound" { "→" } else { "←" };
    facts(
        &app.output,
        &rule.name,
        &[
            ("description", detail.description.clone()),
            ("precedence", rule.precedence.to_string()),
            ("number", rule.number.clone()),
            ("tag", rule.tag.clone().unwrap_or_default()),
            ("direction", rule.direction.to_owned()),
            ("connector", rule.connector.clone()),
            ("types", format!("{} {arrow} {}", rule.cs_type, rule.mv_type)),
            ("link", rule.link.to_owned()),
            ("passwords", if detail.password_sync { "synchronized for objects in scope".to_owned() } else { String::new() }),
            ("state", if rule.enabled { "enabled".to_owned() } else { "disabled".to_owned() }),
            ("from", rule.origin.clone()),
        ],
    );
    app.output.line("\nscope:");
    print_groups(app, &detail.scope, "every object of its type");
    if !detail.join.is_empty() {
        app.output
            .line(format!("\njoin, {}:", if rule.direction == "inbound" { "connector space = metaverse" } else { "target = metaverse" }));
        print_groups(app, &detail.join, "");
    }
    if !detail.flows.is_empty() {
        app.output.line("\nflows:");
        let width = detail.flows.iter().map(|flow| flow.target.chars().count()).max().unwrap_or(0);
        for flow in &detail.flows {
            let options = if flow.options.is_empty() { String::new() } else { format!("  ({})", flow.options.join(", ")) };
            let source = flow.source.split_whitespace().collect::<Vec<_>>().join(" ");
            print_wrapped(&app.output, &format!("  {:<width$} ← ", flow.target), &format!("{source}{options}"));
        }
    }
}

fn print_groups(app: &App, groups: &[Vec<String>], none: &str) {
    if groups.is_empty() {
        app.output.line(format!("  {none}"));
    }
    for (index, group) in groups.iter().enumerate() {
        if index > 0 {
            app.output.line("  or");
        }
        for line in group {
            print_wrapped(&app.output, "  ", line);
        }
    }
}

fn print_precedence(app: &App, sides: &[PrecedenceView]) {
    for (index, side) in sides.iter().enumerate() {
        if index > 0 {
            app.output.line("");
        }
        app.output.line(format!("{} of {}:", clean(&side.attribute), clean(&side.side)));
        let width = side.flows.iter().map(|line| line.rule.chars().count()).max().unwrap_or(0);
        for line in &side.flows {
            let options = if line.flow.options.is_empty() { String::new() } else { format!("  ({})", line.flow.options.join(", ")) };
            let source = line.flow.source.split_whitespace().collect::<Vec<_>>().join(" ");
            print_wrapped(&app.output, &format!("  {:>4}  {:<width$}  ", line.precedence, line.rule), &format!("{source}{options}"));
        }
    }
}

fn test(app: &App, service: &Service, rule: &str, object: Option<&str>, entry: Option<&Path>) -> Result<Exit, CommandError> {
    let rule = service.find_rule(rule)?;
    let now = app.cx.now();
    let trace = match (object, entry) {
        (Some(object), _) => {
            let browser = service.browse()?;
            let id = only_object(&browser, browser.find_for_rule(object, rule.connector, rule.direction)?, object)?;
            service.test_rule(rule, id, now)?
        }
        (None, Some(file)) => service.test_rule_with_entry(rule, &app.path(file), now)?,
        (None, None) => {
            return Err(CommandError::usage("name an object, or a file by --entry")
                .hint("`syncline rule test 'In from AD - User Join' jana@corp.example`, or --entry jana.ldif"));
        }
    };
    let fails = trace.in_scope && trace.flows.iter().any(|flow| matches!(flow.outcome, crate::rules::FlowOutcome::Failed { .. }));
    app.output.result(&trace, |trace| print_trace(app, trace));
    Ok(if fails { Exit::Errors } else { Exit::Ok })
}

fn print_trace(app: &App, trace: &RuleTrace) {
    app.output.line(clean(format!("{} {}", trace.precedence, trace.rule)));
    if !trace.enabled {
        app.output.line("  The rule is switched off: this is what it would do.");
    }
    let fits = trace.wanted_type == "*" || trace.wanted_type.eq_ignore_ascii_case(&trace.found_type);
    app.output.line(format!("\nscope: {}", if trace.in_scope { "in scope" } else { "NOT in scope" }));
    app.output.line(format!("  {} type {} (it is {})", if fits { "✓" } else { "✗" }, clean(&trace.wanted_type), clean(&trace.found_type)));
    print_scope(&app.output, &trace.scope);
    if !trace.join.is_empty() {
        app.output.line("\njoin: the first group that finds exactly one partner decides");
        print_join(&app.output, &trace.join);
    }
    let heading = if trace.in_scope { "flows, each by itself:" } else { "flows, if it were in scope:" };
    if !trace.flows.is_empty() {
        app.output.line(format!("\n{heading}"));
    }
    let mut flows: Vec<_> = trace.flows.iter().collect();
    flows.sort_by_key(|flow| flow.target.to_lowercase());
    for flow in flows {
        app.output.line(clean(format!("  {}", flow.target)));
        print_outcome(&app.output, flow, "    ");
    }
}

fn changed(app: &App, change: &RuleChange, what: &str) -> Exit {
    app.output.result(change, |change| {
        if change.done == "unchanged" {
            app.output.line(clean(format!("Nothing to do: already {what}, by {}.", change.file)));
            return;
        }
        for rule in &change.rules {
            app.output.line(clean(format!("{rule}: {what}")));
        }
        app.output.line(format!("{} {}", clean(&change.file), change.done));
        if let Some(text) = change.text.as_ref().filter(|_| change.done.starts_with("would")) {
            app.output.line("");
            text.lines().for_each(|line| app.output.line(clean(line)));
        }
        for warning in &change.warnings {
            warning.lines().for_each(|line| app.output.note(told(line)));
        }
        if !change.done.starts_with("would") {
            app.output.note(format!(
                "The next synchronization of every connector is a full one. Before that, look at single objects: {}",
                call(&["preview", "OBJECT"])
            ));
        }
    });
    if change.warnings.is_empty() { Exit::Ok } else { Exit::Warnings }
}
