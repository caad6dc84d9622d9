//! The page of `object sync --html`: the ten steps, and what changed, in one file that needs nothing else.

use super::html_page::{changes, html_page, name, told, value, values, visible};
use crate::cli::output::moment;
use crate::service::{ObjectSyncView, PreviewTargetView, PreviewView};
use maud::{Markup, html};

/// The whole page.
pub(super) fn page(view: &ObjectSyncView, made: &str) -> String {
    let kind = |outcome: &str| match outcome {
        "done" => "kind added",
        "failed" => "kind removed",
        _ => "kind quiet",
    };
    let body = html! {
        header {
            h1 { "One object, step by step" }
            p { (value(&view.dn)) " of " (name(&view.connector)) }
            p.quiet { "Made at " (moment(made)) ". " @if view.what_if { "Nothing was written. " } "+ comes, − goes." }
        }
        main {
            table {
                caption { "Steps" }
                thead {
                    tr {
                        th.number scope="col" { "No." } th scope="col" { "Step" } th scope="col" { "Outcome" }
                        th scope="col" { "What was found or done" }
                    }
                }
                tbody {
                    @for step in &view.steps {
                        tr {
                            td.number { (step.number) } th scope="row" { (step.name) }
                            td { span class=(kind(step.outcome)) { (step.outcome) } } td.long { (told(&step.detail)) }
                        }
                    }
                }
            }
            @if let Some(read) = view.read.as_ref().filter(|read| !read.changes.is_empty()) {
                @let read: Vec<_> = read.changes.iter().map(|change| (&change.attribute, texts(&change.removed), texts(&change.added))).collect();
                h2 { "What its directory says now" }
                (changes(&html! { "Against what was imported last" }, read.iter().map(|(name, gone, come)| (name.as_str(), gone.as_slice(), come.as_slice()))))
            }
            @if let Some(preview) = &view.preview { (metaverse(preview)) @for found in &preview.targets { (target(found)) } }
        }
    };
    html_page(&format!("One object, step by step: {}", view.dn), &body)
}

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

/// What changes of the metaverse object.
pub(super) fn metaverse(preview: &PreviewView) -> Markup {
    html! {
        h2 { "Metaverse" }
        @if !preview.attributes.iter().any(|attribute| attribute.changed) {
            p { "No attribute changes." }
        } @else {
            table.wide {
                caption { "Attributes that change" }
                thead { tr { th scope="col" { "Attribute" } th scope="col" { "Before" } th scope="col" { "Afterwards" } } }
                tbody {
                    @for attribute in preview.attributes.iter().filter(|attribute| attribute.changed) {
                        tr {
                            th scope="row" { (value(&attribute.attribute)) }
                            td { (values("removed", '−', &attribute.before)) }
                            td { (values("added", '+', &attribute.after)) }
                        }
                    }
                }
            }
        }
    }
}

/// What a target would get.
pub(super) fn target(target: &PreviewTargetView) -> Markup {
    let what = match target.operation {
        _ if target.released => "let go, without being deleted",
        "none" => "nothing to send",
        other => other,
    };
    let sent = target.changes.iter().map(|change| (change.attribute.as_str(), change.removed.as_slice(), change.added.as_slice()));
    html! {
        h2 { (name(&target.connector)) ": " (what) }
        p.quiet { (target.id) " " (value(&target.dn)) }
        @if !target.would_be_emptied.is_empty() {
            p.removed { strong { "Would be emptied: " } (visible(&target.would_be_emptied.join(", "))) }
        }
        @if !target.changes.is_empty() { (changes(&html! { "Values" }, sent)) }
    }
}
