//! The pages of `object explain`, `preview` and `mv why` with `--html`: what their texts say, each in one file that needs nothing else.

use super::html_page::{html_page, name, told, value, visible};
use super::object_page::{metaverse, target};
use super::preview::decision;
use super::trace::{because, outcome, verdict_name};
use super::why::told_age;
use crate::cli::output::{counted, moment};
use crate::service::{Explanation, PreviewView, RuleLine, SourcedFlow, StepOutcome, WhyRun, WhyTarget, WhyView};
use maud::{Markup, html};

/// Where one object stands, and what stops it.
pub(super) fn explanation(view: &Explanation, made: &str) -> String {
    let shown = |outcome: StepOutcome| match outcome {
        StepOutcome::Passed => ("kind added", "passed"),
        StepOutcome::Waiting => ("kind changed", "waits"),
        StepOutcome::Stopped => ("kind removed", "stopped"),
    };
    let body = html! {
        header {
            h1 { "Where one object stands" }
            p { (value(&view.dn)) " of " (name(&view.connector)) }
            p { strong { (told(&view.verdict)) } }
            p.quiet { "Made at " (moment(made)) "." }
        }
        main {
            table.wide {
                caption { "Its way, step by step" }
                thead { tr { th scope="col" { "Step" } th scope="col" { "Outcome" } th scope="col" { "What was found" } } }
                tbody {
                    @for step in &view.steps {
                        @let (class, word) = shown(step.outcome);
                        tr {
                            th scope="row" { (step.step) } td { span class=(class) { (word) } }
                            td.long { @for finding in &step.findings { p { (told(finding)) } } }
                        }
                    }
                }
            }
        }
    };
    html_page(&format!("Where one object stands: {}", view.dn), &body)
}

/// What synchronization would do with one object, or did.
pub(super) fn preview(view: &PreviewView, committed: bool, made: &str) -> String {
    let body = html! {
        header {
            h1 { "What synchronization would do" }
            p { (value(&view.dn)) " of " (name(&view.connector)) " (" (view.object_type) " " (view.id) ", " (view.state) ")" }
            p { strong { (visible(&decision(view))) } @if let Some(rule) = &view.linked_by { ", by " (value(rule)) } }
            p.quiet { "Made at " (moment(made)) ". " @if committed { "It was done. " } @else { "Nothing was written. " } "+ comes, − goes." }
        }
        main {
            @if let Some(problem) = &view.problem { p.removed { strong { (problem.code) ": " } (told(&problem.detail)) } }
            (metaverse(view))
            @for found in &view.targets { (target(found)) }
            h2 { "Rules" }
            @if view.in_scope.is_empty() { p { "No rule is in scope." } } @else { (in_scope(&view.in_scope)) }
            @if !view.out_of_scope.is_empty() {
                details {
                    summary { (counted(view.out_of_scope.len() as u64, "rule", "rules")) " for its type not in scope" }
                    (failing(view.out_of_scope.iter().map(|rule| (rule.rule.as_str(), because(&rule.failing)))))
                }
            }
            @if !view.consequences.is_empty() {
                h2 { "Evaluated after it" }
                p { (visible(&view.consequences.join(", "))) }
            }
        }
    };
    html_page(&format!("What synchronization would do: {}", view.dn), &body)
}

fn in_scope(rules: &[RuleLine]) -> Markup {
    html! {
        table.wide {
            caption { "In scope" }
            thead { tr { th scope="col" { "Rule" } th scope="col" { "Precedence" } th scope="col" { "Direction" } th scope="col" { "Link" } } }
            tbody {
                @for rule in rules {
                    tr { th scope="row" { (visible(&rule.rule)) } td { (rule.precedence) } td { (rule.direction) } td { (rule.link) } }
                }
            }
        }
    }
}

/// Rules with the clauses that keep them from applying.
fn failing<'r>(rules: impl Iterator<Item = (&'r str, String)>) -> Markup {
    html! {
        table.wide {
            caption { "Not in scope" }
            thead { tr { th scope="col" { "Rule" } th scope="col" { "What does not hold" } } }
            tbody { @for (rule, clauses) in rules { tr { th scope="row" { (visible(rule)) } td { (value(&clauses)) } } } }
        }
    }
}

/// Where a value comes from.
pub(super) fn why(view: &WhyView, made: &str) -> String {
    let values: Vec<String> = view.values.iter().map(ToString::to_string).collect();
    let more = view.count.saturating_sub(values.len() as u64);
    let body = html! {
        header {
            h1 { "Where a value comes from" }
            p {
                (value(&view.attribute)) " of metaverse object " (view.metaverse) " (" (view.object_type)
                @if !view.name.is_empty() { ", " (name(&view.name)) } ")"
            }
            @if values.is_empty() { p { strong { "No value" } } }
            ul.values { @for text in &values { li { (value(text)) } } }
            @if more > 0 { p { "… and " (more) " more" } }
            @if let Some(age) = &view.age { p { (told_age(age)) } }
            @if view.outdated { p.changed { "The rules would give another result now: the next synchronization of its source brings it." } }
            p.quiet { "Made at " (moment(made)) "." }
        }
        main {
            @if !view.origins.is_empty() { (origins(view)) }
            @if view.flows.is_empty() { p { "No rule in scope flows into it." } } @else { (flows(view)) }
            @if !view.out_of_scope.is_empty() {
                (failing(view.out_of_scope.iter().map(|rule| (rule.rule.as_str(), format!("{}: {}", rule.source_id, because(&rule.failing))))))
            }
            @for found in &view.targets { (arrived(found)) }
        }
    };
    html_page(&format!("Where a value comes from: {} of {}", view.attribute, view.name), &body)
}

fn origins(view: &WhyView) -> Markup {
    html! {
        table.wide {
            caption { "Who gives it" }
            thead { tr { th scope="col" { "Rule" } th scope="col" { "Object" } th scope="col" { "Since" } } }
            tbody {
                @for origin in &view.origins {
                    tr {
                        th scope="row" { (visible(&origin.rule)) }
                        td { (origin.source_id) " of " (name(&origin.connector)) " " (value(&origin.dn)) }
                        td { (moment(&origin.since)) @if let Some(run) = &origin.run { ", run " (run.number) ", " (run.profile) " of " (name(&run.connector)) } }
                    }
                }
            }
        }
    }
}

fn flows(view: &WhyView) -> Markup {
    html! {
        table.wide {
            caption { "Asked in this order, with the values of now" }
            thead { tr { th scope="col" { "Rule" } th scope="col" { "Verdict" } th scope="col" { "What it gives" } } }
            tbody {
                @for SourcedFlow { flow, source_id, connector, .. } in &view.flows {
                    tr {
                        th scope="row" { (flow.precedence) " " (visible(&flow.rule)) @if let Some(id) = source_id { " (" (id) " of " (name(connector.as_deref().unwrap_or("?"))) ")" } }
                        td { (verdict_name(flow.verdict)) }
                        td { (value(&outcome(flow))) }
                    }
                }
            }
        }
    }
}

/// What a target got of it.
fn arrived(target: &WhyTarget) -> Markup {
    let run = |run: &Option<WhyRun>| run.as_ref().map(|run| format!("run {}, {}", run.number, moment(&run.started))).unwrap_or_default();
    html! {
        h2 { (name(&target.connector)) }
        p.quiet { (target.id) " " (name(&target.known_as.to_string())) " " (value(&target.dn)) }
        @if let Some(problem) = &target.problem { p.removed { strong { "Refused: " (problem.code) } ", since " (moment(&problem.first_seen)) ". " (told(&problem.detail)) } }
        @if target.attributes.is_empty() { p { "No rule in scope sends it there." } } @else {
            table.wide {
                caption { "What it got" }
                thead {
                    tr {
                        th scope="col" { "Attribute" } th scope="col" { "Values" } th scope="col" { "State" } th scope="col" { "Sent" }
                        th scope="col" { "Confirmed" }
                    }
                }
                tbody {
                    @for attribute in &target.attributes {
                        tr {
                            th scope="row" { (value(&attribute.attribute)) @if !attribute.from_this { " from " (visible(attribute.rule.as_deref().unwrap_or("nobody"))) } }
                            td { @for text in &attribute.values { p { (value(&text.to_string())) } } }
                            td { (attribute.state) } td { (run(&attribute.sent)) } td { (run(&attribute.confirmed)) }
                        }
                    }
                }
            }
        }
    }
}
