//! The page of `object sync --html`: the ten steps, and what changed, in one file that needs nothing else.

use super::html_page::html_page;
use crate::service::ObjectSyncView;
use maud::html;

/// The whole page.
pub(super) fn page(view: &ObjectSyncView, made: &str) -> String {
    let kind = |outcome: &str| match outcome {
        "done" => "added",
        "failed" => "removed",
        _ => "quiet",
    };
    let body = html! {
        header {
            h1 { "One object, step by step" }
            p { code { (view.dn) } " of " (view.connector) }
            p.quiet { "Made at " (made) ". " @if view.what_if { "Nothing was written." } }
        }
        main {
            table {
                caption { "Steps" }
                thead { tr { th scope="col" { "" } th scope="col" { "Step" } th scope="col" { "Outcome" } th scope="col" { "What was found or done" } } }
                tbody {
                    @for step in &view.steps {
                        tr { td { (step.number) } td { (step.name) } td class=(kind(step.outcome)) { (step.outcome) } td { (step.detail) } }
                    }
                }
            }
            @if let Some(preview) = &view.preview {
                table {
                    caption { "Attributes that change" }
                    thead { tr { th scope="col" { "Attribute" } th scope="col" { "Before" } th scope="col" { "Afterwards" } } }
                    tbody {
                        @for attribute in preview.attributes.iter().filter(|attribute| attribute.changed) {
                            tr {
                                td { code { (attribute.attribute) } }
                                td { @for value in &attribute.before { p.removed { span.sign { "−" } (value) } } }
                                td { @for value in &attribute.after { p.added { span.sign { "+" } (value) } } }
                            }
                        }
                    }
                }
                @for target in preview.targets.iter().filter(|target| target.operation != "none") {
                    h2 { (target.connector) ": " (target.operation) }
                    table {
                        tbody {
                            @for change in &target.changes {
                                tr {
                                    td { code { (change.attribute) } }
                                    td {
                                        @for value in &change.removed { p.removed { span.sign { "−" } (value) } }
                                        @for value in &change.added { p.added { span.sign { "+" } (value) } }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    };
    html_page("One object, step by step", &body)
}
