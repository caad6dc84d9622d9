//! The page of `config diff --html`.

use super::config_diff::{clause_change, field_change, in_short, in_words, sign};
use super::html_page::html_page;
use crate::config::diff::{Change, ConfigDiff, FieldChange, GroupChange, ItemChange, RuleChange};
use maud::{Markup, html};
use serde_json::Value;

/// The whole page.
pub(super) fn page(old: &str, new: &str, differences: &ConfigDiff) -> String {
    let summary = differences.summary();
    let rows = [
        ("Settings", summary.settings, "#settings"),
        ("Connectors", summary.connectors, "#connectors"),
        ("Metaverse attributes", summary.metaverse_attributes, "#metaverse-attributes"),
        ("Rules added", summary.rules_added, "#rules"),
        ("Rules removed", summary.rules_removed, "#rules"),
        ("Rules changed", summary.rules_changed, "#rules"),
        ("of these moved in the precedence", summary.rules_moved, "#rules"),
        ("Rules with another number at the same place", summary.rules_renumbered, "#renumbered"),
        ("Flows added to rules", summary.flows_added, "#rules"),
        ("Flows removed from rules", summary.flows_removed, "#rules"),
        ("Flows changed", summary.flows_changed, "#rules"),
    ];
    let (renumbered, rules): (Vec<&RuleChange>, Vec<&RuleChange>) = differences.rules.iter().partition(|rule| rule.only_renumbered());
    let body = html! {
        header {
            h1 { "Configurations compared" }
            p { "Old: " code { (old) } br; "New: " code { (new) } }
            p { strong { (in_words(&summary)) "." } }
            p.quiet { "+ is only in the new one, − is only in the old one, ~ differs." }
        }
        main {
            @if !summary.equal {
                section {
                    h2 { "Summary" }
                    table {
                        thead { tr { th scope="col" { "What" } th scope="col" { "Count" } } }
                        tbody {
                            @for (what, count, target) in rows.iter().filter(|(_, count, _)| *count > 0) {
                                tr { td { a href=(target) { (what) } } td { (count) } }
                            }
                        }
                    }
                }
            }
            @if !differences.settings.is_empty() {
                section id="settings" { h2 { "Settings" } (fields("Settings that differ", &differences.settings)) }
            }
            @if !differences.connectors.is_empty() {
                section id="connectors" { h2 { "Connectors" } @for item in &differences.connectors { (item_block(item)) } }
            }
            @if !differences.metaverse_attributes.is_empty() {
                section id="metaverse-attributes" {
                    h2 { "Metaverse attributes" }
                    @for item in &differences.metaverse_attributes { (item_block(item)) }
                }
            }
            @if !rules.is_empty() {
                section id="rules" { h2 { "Rules" } @for rule in rules { (rule_block(rule)) } }
            }
            @if !renumbered.is_empty() { (renumbered_block(&renumbered)) }
        }
    };
    html_page(&format!("Configurations compared: {old} and {new}"), &body)
}

fn class(change: Change) -> &'static str {
    match change {
        Change::Added => "added",
        Change::Removed => "removed",
        Change::Changed => "changed",
    }
}

/// A sign for eyes and a word for those who listen.
fn mark(change: Change) -> Markup {
    let shown = if change == Change::Removed { '−' } else { sign(change) };
    html! { span.sign.(class(change)) role="img" aria-label=(class(change)) { (shown) } }
}

fn heading(change: Change, name: &str, behind: &str) -> Markup {
    html! { summary { (mark(change)) " " strong { (name) } @if !behind.is_empty() { " " span.quiet { (behind) } } " – " (class(change)) } }
}

fn item_block(item: &ItemChange) -> Markup {
    html! { details open { (heading(item.change, &item.name, "")) (fields("Keys", &item.fields)) } }
}

fn rule_block(rule: &RuleChange) -> Markup {
    html! {
        details open {
            (heading(rule.change, &rule.name, &format!("({})", rule.connector)))
            @if rule.change == Change::Changed {
                @if let Some(precedence) = rule.precedence {
                    p {
                        (mark(Change::Changed)) " precedence " (precedence.old) " → " (precedence.new)
                        @if precedence.moved { ": the rule moved past others" } @else { ": at the same place" }
                    }
                }
                @if !rule.fields.is_empty() { (fields("Keys", &rule.fields)) }
            } @else {
                p { (in_short(rule)) }
            }
            @for group in &rule.scope { (group_block("Scope group", group)) }
            @for group in &rule.join { (group_block("Join group", group)) }
            @if rule.join_reordered { p { (mark(Change::Changed)) " The join groups stand in another order." } }
            @if !rule.flows.is_empty() { (flows(&rule.flows)) }
        }
    }
}

fn group_block(word: &str, group: &GroupChange) -> Markup {
    html! {
        p { (mark(group.change)) " " (word) " – " (class(group.change)) }
        ul.clauses {
            @for clause in &group.clauses {
                @match clause_change(clause.mark) {
                    Some(change) => li { (mark(change)) " " code.(class(change)) { (clause.text) } },
                    None => li { span.sign { } " " code { (clause.text) } },
                }
            }
        }
    }
}

fn flows(flows: &[ItemChange]) -> Markup {
    html! {
        table {
            caption { "Flows" }
            thead { tr { th scope="col" { } th scope="col" { "To" } th scope="col" { "Key" } th scope="col" { "Old" } th scope="col" { "New" } } }
            tbody {
                @for flow in flows {
                    @for (index, field) in flow.fields.iter().enumerate() {
                        tr {
                            td { (mark(if index == 0 { flow.change } else { field_change(field) })) }
                            @if index == 0 { th scope="row" { (flow.name) } } @else { td { } }
                            (values(field))
                        }
                    }
                }
            }
        }
    }
}

fn fields(caption: &str, fields: &[FieldChange]) -> Markup {
    html! {
        table {
            caption { (caption) }
            thead { tr { th scope="col" { } th scope="col" { "Key" } th scope="col" { "Old" } th scope="col" { "New" } } }
            tbody { @for field in fields { tr { td { (mark(field_change(field))) } (values(field)) } } }
        }
    }
}

/// Key, old and new value as cells.
fn values(field: &FieldChange) -> Markup {
    let cell = |value: &Option<Value>, class: &str| {
        html! { td { @if let Some(value) = value { code.(class) { (whole(&field.key, value)) } } } }
    };
    html! { td { (field.key) } (cell(&field.old, "removed")) (cell(&field.new, "added")) }
}

/// A value with its lines kept.
fn whole(key: &str, value: &Value) -> String {
    match value {
        Value::String(text) if key == "expr" => text.clone(),
        Value::Array(values) => values.iter().map(|value| whole(key, value)).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn renumbered_block(rules: &[&RuleChange]) -> Markup {
    html! {
        section id="renumbered" {
            h2 { "Other numbers, same places" }
            details {
                summary { (rules.len()) @if rules.len() == 1 { " rule" } @else { " rules" } }
                table {
                    thead { tr { th scope="col" { "Rule" } th scope="col" { "Connector" } th scope="col" { "Old" } th scope="col" { "New" } } }
                    tbody {
                        @for rule in rules {
                            @if let Some(precedence) = rule.precedence {
                                tr { td { (rule.name) } td { (rule.connector) } td { (precedence.old) } td { (precedence.new) } }
                            }
                        }
                    }
                }
            }
        }
    }
}
