//! The page of `config diff --html`.

use super::config_diff::{clause_change, field_change, in_short, in_words, sign};
use super::html_page::{html_page, name, value, values, visible};
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
            p { "Old: " (value(old)) br; "New: " (value(new)) }
            p { strong { (in_words(&summary)) "." } }
            p.quiet { "+ is only in the new one, − is only in the old one, ~ differs." }
        }
        main {
            @if !summary.equal {
                section {
                    h2 { "Summary" }
                    table {
                        caption { "What differs" }
                        thead { tr { th scope="col" { "What" } th.number scope="col" { "Count" } } }
                        tbody {
                            @for (what, count, target) in rows.iter().filter(|(_, count, _)| *count > 0) {
                                tr { th scope="row" { a href=(target) { (what) } } td.number { (count) } }
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

fn heading(change: Change, title: &str, behind: &str) -> Markup {
    html! { summary { (mark(change)) " " strong { (name(title)) } @if !behind.is_empty() { " " span.quiet { (visible(behind)) } } " – " (class(change)) } }
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
                    Some(change) => li { (mark(change)) " " span.(class(change)) { (value(&clause.text)) } },
                    None => li { span.sign { } " " (value(&clause.text)) },
                }
            }
        }
    }
}

fn flows(flows: &[ItemChange]) -> Markup {
    html! {
        table.wide.five {
            caption { "Flows" }
            thead { tr { th scope="col" { "To" } th scope="col" { "Change" } th scope="col" { "Key" } th scope="col" { "Old" } th scope="col" { "New" } } }
            tbody {
                @for flow in flows {
                    @for (index, field) in flow.fields.iter().enumerate() {
                        tr {
                            @if index == 0 { th scope="row" rowspan=(flow.fields.len()) { (value(&flow.name)) } }
                            td { (mark(if index == 0 { flow.change } else { field_change(field) })) }
                            td { (field.key) } (old_and_new(field))
                        }
                    }
                }
            }
        }
    }
}

fn fields(caption: &str, fields: &[FieldChange]) -> Markup {
    html! {
        table.wide.four {
            caption { (caption) }
            thead { tr { th scope="col" { "Key" } th scope="col" { "Change" } th scope="col" { "Old" } th scope="col" { "New" } } }
            tbody { @for field in fields { tr { th scope="row" { (field.key) } td { (mark(field_change(field))) } (old_and_new(field)) } } }
        }
    }
}

/// Old and new value as cells.
fn old_and_new(field: &FieldChange) -> Markup {
    let cell = |found: &Option<Value>, class: &str, sign: char| {
        html! { td { @if let Some(found) = found { (values(class, sign, &[whole(&field.key, found)])) } } }
    };
    html! { (cell(&field.old, "removed", '−')) (cell(&field.new, "added", '+')) }
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
                    caption { "Precedence" }
                    thead { tr { th scope="col" { "Rule" } th scope="col" { "Connector" } th.number scope="col" { "Old" } th.number scope="col" { "New" } } }
                    tbody {
                        @for rule in rules {
                            @if let Some(precedence) = rule.precedence {
                                tr { th scope="row" { (name(&rule.name)) } td { (name(&rule.connector)) } td.number { (precedence.old) } td.number { (precedence.new) } }
                            }
                        }
                    }
                }
            }
        }
    }
}
