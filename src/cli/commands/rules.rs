//! `rules list` and `rules lint`.

use crate::cli::App;
use crate::cli::args::RulesCommand;
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::{clean, table};
use crate::rules::Severity;
use crate::service::{Access, RuleView};
use serde::Serialize;

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

pub(in crate::cli) fn run(app: &App, command: &RulesCommand) -> Result<Exit, CommandError> {
    let service = app.service(Access::Create)?;
    match command {
        RulesCommand::List { connector, all } => {
            let mut rules = service.rule_list()?;
            if let Some(name) = connector {
                let id = service.connector_id(name)?;
                let name = service.connectors().get(&id).cloned().unwrap_or_default();
                rules.retain(|rule| rule.connector == name);
            }
            rules.retain(|rule| *all || rule.enabled);
            app.output.result(&Rules { rules }, |found| {
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
                app.output.line(table(["precedence", "rule", "connector", "types", "link", "flows", ""], &["precedence", "flows"], rows));
            });
            Ok(Exit::Ok)
        }
        RulesCommand::Lint => {
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
            Ok(match worst {
                None => Exit::Ok,
                Some(Severity::Error) => Exit::Errors,
                Some(_) => Exit::Warnings,
            })
        }
    }
}
