//! `config diff`: what differs between two configuration folders, as text and as a document.

use crate::cli::App;
use crate::cli::calls::call_in;
use crate::cli::commands::config_page;
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::{clean, thousands};
use crate::config::diff::{Change, ConfigDiff, DiffSummary, FieldChange, GroupChange, ItemChange, LineMark, RuleChange};
use crate::service::{CompareError, ServiceError, compare};
use serde::Serialize;
use serde_json::Value;
use std::io::Write as _;
use std::path::Path;

/// The document of `config diff`.
#[derive(Serialize)]
struct Comparison<'c> {
    old: String,
    new: String,
    summary: DiffSummary,
    #[serde(flatten)]
    differences: &'c ConfigDiff,
}

pub(super) fn run(app: &App, old: &Path, new: &Path, html: Option<&Path>) -> Result<Exit, CommandError> {
    let differences = compare(old, new).map_err(refuse)?;
    let summary = differences.summary();
    let (old, new) = (old.display().to_string(), new.display().to_string());
    if let Some(file) = html {
        let page = config_page::page(&old, &new, &differences);
        let written = std::fs::File::create_new(file).and_then(|mut opened| opened.write_all(page.as_bytes()));
        written.map_err(|error| {
            let message = format!("the page cannot be written to {}: {error}", file.display());
            CommandError::new("output", Exit::NotStarted, message).hint("name a new file in a folder that is there and can be written")
        })?;
    }
    app.output.result(&Comparison { old: old.clone(), new: new.clone(), summary, differences: &differences }, |_| {
        app.output.line(clean(format!("{old} → {new}: {}", in_words(&summary))));
        match html {
            Some(file) => app.output.line(clean(format!("The comparison is in {}.", file.display()))),
            None => lines(&differences).iter().for_each(|line| app.output.line(line)),
        }
    });
    Ok(if summary.equal { Exit::Ok } else { Exit::Warnings })
}

/// The error of one folder, with advice about that folder.
fn refuse(error: CompareError) -> CommandError {
    let folder = error.folder;
    let rules = matches!(error.source, ServiceError::Rules(_));
    let mut refused = CommandError::from(error.source);
    refused.message = format!("the configuration {} cannot be used:\n{}", folder.display(), refused.message);
    if rules {
        refused.hints = vec![format!("`{}` shows all findings", call_in(&folder, &["rule", "lint"]))];
    }
    refused
}

/// The counts as a sentence without its full stop: `2 settings; rules: 1 added, 3 changed`.
pub(super) fn in_words(summary: &DiffSummary) -> String {
    if summary.equal {
        return "equal in everything that they mean".to_owned();
    }
    let mut parts = Vec::new();
    for (count, one, several) in [
        (summary.settings, "setting", "settings"),
        (summary.connectors, "connector", "connectors"),
        (summary.metaverse_attributes, "metaverse attribute", "metaverse attributes"),
    ] {
        if count > 0 {
            parts.push(format!("{} {}", number(count), if count == 1 { one } else { several }));
        }
    }
    let counted = |list: &[(usize, &str)]| -> Vec<String> {
        list.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{} {word}", number(*count))).collect()
    };
    let rules = counted(&[
        (summary.rules_added, "added"),
        (summary.rules_removed, "removed"),
        (summary.rules_changed, "changed"),
        (summary.rules_renumbered, "renumbered"),
    ]);
    if !rules.is_empty() {
        parts.push(format!("rules: {}", rules.join(", ")));
    }
    let flows = counted(&[(summary.flows_added, "added"), (summary.flows_removed, "removed"), (summary.flows_changed, "changed")]);
    if !flows.is_empty() {
        parts.push(format!("flows of changed rules: {}", flows.join(", ")));
    }
    parts.join("; ")
}

fn number(count: usize) -> String {
    thousands(u64::try_from(count).unwrap_or(u64::MAX))
}

/// A value as files write it; expressions as they are, on one line.
pub(super) fn shown(key: &str, value: &Value) -> String {
    match value {
        Value::String(text) if key == "expr" => text.split('\n').map(str::trim).collect::<Vec<_>>().join(" "),
        Value::Array(values) => values.iter().map(|value| shown(key, value)).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// What became of a field: `+` came, `-` went, `~` is another one.
pub(super) fn sign(change: Change) -> char {
    match change {
        Change::Added => '+',
        Change::Removed => '-',
        Change::Changed => '~',
    }
}

/// What became of a key.
pub(super) fn field_change(field: &FieldChange) -> Change {
    match (&field.old, &field.new) {
        (None, _) => Change::Added,
        (_, None) => Change::Removed,
        _ => Change::Changed,
    }
}

/// A line with its sign, coloured by it; the sign tells the same without colour.
fn line(indent: usize, change: Option<Change>, text: &str) -> String {
    let (mark, color) = match change {
        Some(change) => (
            sign(change),
            Some(match change {
                Change::Added => 32,
                Change::Removed => 31,
                Change::Changed => 33,
            }),
        ),
        None => (' ', None),
    };
    let text = clean(text);
    match color {
        Some(color) => format!("{:indent$}\u{1b}[{color}m{mark} {text}\u{1b}[0m", ""),
        None => format!("{:indent$}{mark} {text}", "").trim_end().to_owned(),
    }
}

fn lines(differences: &ConfigDiff) -> Vec<String> {
    let mut lines = Vec::new();
    let heading = |lines: &mut Vec<String>, title: &str| lines.extend([String::new(), title.to_owned()]);
    if !differences.settings.is_empty() {
        heading(&mut lines, "Settings");
        fields(2, &differences.settings, &mut lines);
    }
    for (title, items) in [("Connectors", &differences.connectors), ("Metaverse attributes", &differences.metaverse_attributes)] {
        if !items.is_empty() {
            heading(&mut lines, title);
            for item in items {
                lines.push(line(2, Some(item.change), &item.name));
                fields(6, &item.fields, &mut lines);
            }
        }
    }
    if differences.rules.is_empty() {
        return lines;
    }
    heading(&mut lines, "Rules");
    let (renumbered, others): (Vec<&RuleChange>, Vec<&RuleChange>) = differences.rules.iter().partition(|rule| rule.only_renumbered());
    for rule in others {
        rule_lines(rule, &mut lines);
    }
    if !renumbered.is_empty() {
        let text = match renumbered.len() {
            1 => "1 rule has another number at the same place".to_owned(),
            count => format!("{} rules have other numbers at the same places", number(count)),
        };
        lines.push(line(2, Some(Change::Changed), &text));
    }
    lines
}

fn rule_lines(rule: &RuleChange, lines: &mut Vec<String>) {
    lines.push(line(2, Some(rule.change), &format!("{}  ({})", rule.name, rule.connector)));
    let whole = rule.change != Change::Changed;
    if whole {
        lines.push(line(6, None, &in_short(rule)));
    } else {
        if let Some(precedence) = rule.precedence {
            let how = if precedence.moved { ", moved past other rules" } else { ", at the same place" };
            lines.push(line(6, Some(Change::Changed), &format!("precedence {} → {}{how}", precedence.old, precedence.new)));
        }
        fields(6, &rule.fields, lines);
    }
    for (word, groups) in [("scope", &rule.scope), ("join", &rule.join)] {
        for group in groups {
            group_lines(word, group, lines);
        }
    }
    if rule.join_reordered {
        lines.push(line(6, Some(Change::Changed), "join groups stand in another order"));
    }
    let width = rule.flows.iter().map(|flow| flow.name.chars().count()).max().unwrap_or(0);
    for flow in &rule.flows {
        if flow.change == Change::Changed {
            lines.push(line(6, Some(flow.change), &format!("flow {}", flow.name)));
            fields(10, &flow.fields, lines);
        } else {
            lines.push(line(6, Some(flow.change), &format!("flow {:<width$}  {}", flow.name, flow_in_short(flow))));
        }
    }
}

/// The keys of a rule that came or went, in one line.
pub(super) fn in_short(rule: &RuleChange) -> String {
    let value = |key: &str| {
        let field = rule.fields.iter().find(|field| field.key == key)?;
        let value = field.new.as_ref().or(field.old.as_ref())?;
        Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    };
    let text = |key: &str| value(key).unwrap_or_default();
    let arrow = if text("direction") == "inbound" { "→" } else { "←" };
    let mut short = format!(
        "{}, {} {arrow} {}, {}, precedence {}",
        text("direction"),
        text("cs_type"),
        text("mv_type"),
        text("link"),
        text("precedence")
    );
    if text("enabled") == "false" {
        short.push_str(", disabled");
    }
    if text("password_sync") == "true" {
        short.push_str(", password hash synchronization");
    }
    short
}

/// A flow that came or went: `from "mail", once true`.
pub(super) fn flow_in_short(flow: &ItemChange) -> String {
    let texts = flow.fields.iter().filter_map(|field| {
        let value = field.new.as_ref().or(field.old.as_ref())?;
        Some(format!("{} {}", field.key, shown(&field.key, value)))
    });
    texts.collect::<Vec<_>>().join(", ")
}

fn group_lines(word: &str, group: &GroupChange, lines: &mut Vec<String>) {
    if group.change != Change::Changed {
        let clauses: Vec<&str> = group.clauses.iter().map(|clause| clause.text.as_str()).collect();
        lines.push(line(6, Some(group.change), &format!("{word} group  {}", clauses.join(" and "))));
        return;
    }
    lines.push(line(6, Some(group.change), &format!("{word} group")));
    for clause in &group.clauses {
        lines.push(line(10, clause_change(clause.mark), &clause.text));
    }
}

/// What became of a clause.
pub(super) fn clause_change(mark: LineMark) -> Option<Change> {
    match mark {
        LineMark::Same => None,
        LineMark::Added => Some(Change::Added),
        LineMark::Removed => Some(Change::Removed),
    }
}

/// Longer pairs of values stand one below the other.
const ONE_LINE: usize = 80;

fn fields(indent: usize, fields: &[FieldChange], lines: &mut Vec<String>) {
    let width = fields.iter().map(|field| field.key.chars().count()).max().unwrap_or(0);
    for field in fields {
        let one = |change, value: &Value| line(indent, Some(change), &format!("{:<width$}  {}", field.key, shown(&field.key, value)));
        match (&field.old, &field.new) {
            (Some(old), Some(new)) => {
                let (before, after) = (shown(&field.key, old), shown(&field.key, new));
                if before.chars().count() + after.chars().count() > ONE_LINE {
                    lines.extend([one(Change::Removed, old), one(Change::Added, new)]);
                } else {
                    lines.push(line(indent, Some(Change::Changed), &format!("{:<width$}  {before} → {after}", field.key)));
                }
            }
            (Some(old), None) => lines.push(one(Change::Removed, old)),
            (None, Some(new)) => lines.push(one(Change::Added, new)),
            (None, None) => {}
        }
    }
}
