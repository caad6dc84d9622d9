//! The page of `export --what-if --html`: everything that waits, old and new values side by side, in one file that needs
//! nothing else, for whoever has to approve it.

use super::html_page::html_page;
use crate::cli::output::thousands;
use crate::service::{TakeOver, TakeOversView, WhatIfObject, WhatIfView};
use maud::{Markup, html};

/// The whole page.
pub(super) fn page(targets: &[WhatIfView], made: &str) -> String {
    let body = html! {
        header {
            h1 { "What an export would send" }
            p.quiet { "Worked out at " (made) ". Nothing was sent. + comes, − goes." }
        }
        main { @for target in targets { (section(target)) } }
    };
    html_page("What an export would send", &body)
}

fn section(target: &WhatIfView) -> Markup {
    let counts = [
        ("to be created", target.adds),
        ("to be changed", target.updates),
        ("to be renamed", target.renames),
        ("to be removed", target.deletes),
    ];
    html! {
        section {
            h2 { (target.connector) }
            @if target.stopped_by_threshold {
                p.removed {
                    strong { "The export would stop before its first object: " }
                    (thousands(target.deletes)) " deletes wait, "
                    (thousands(target.delete_limit.unwrap_or_default())) " are allowed."
                }
            }
            @if target.staging { p.changed { strong { "Staging mode: " } "nothing would be sent." } }
            table {
                caption { "Objects" }
                tbody { @for (what, count) in counts { tr { th scope="row" { (what) } td { (thousands(count)) } } } }
            }
            p { "The name of exactly this plan: " code { (target.plan) } }
            @if target.more { p.changed { "The first " (thousands(target.objects.len() as u64)) " objects are shown." } }
            @if !target.would_be_emptied.is_empty() {
                table {
                    caption { "Attributes that would have no value any more" }
                    thead { tr { th scope="col" { "Attribute" } th scope="col" { "Objects" } } }
                    tbody {
                        @for (attribute, count) in &target.would_be_emptied { tr { td { code { (attribute) } } td { (thousands(*count)) } } }
                    }
                }
            }
            @if let Some(found) = &target.take_overs { (take_overs(found)) }
            // What takes something away stands first.
            @for (operation, title) in [("delete", "Removed"), ("update", "Changed"), ("add", "Created")] {
                @let objects: Vec<&WhatIfObject> = target.objects.iter().filter(|object| object.operation == operation).collect();
                @if !objects.is_empty() {
                    h3 { (title) " (" (thousands(objects.len() as u64)) ")" }
                    @for found in objects { (object(found)) }
                }
            }
        }
    }
}

fn take_overs(found: &TakeOversView) -> Markup {
    html! {
        @if let Some(problem) = &found.problem {
            p.removed { strong { "Take-overs could not be looked up: " } (problem) }
        } @else {
            h3 { "Objects that the cloud has already (" (thousands(found.taken_over)) " taken over, " (thousands(found.refused)) " refused)" }
            @for gap in &found.gaps { p.changed { "Known in part: " (gap) } }
            @if found.objects.is_empty() { p { "No object of the cloud would be taken over." } }
            @for found in &found.objects { (take_over(found)) }
            @if found.more { p.changed { "The first " (thousands(found.objects.len() as u64)) " are shown." } }
        }
    }
}

fn take_over(found: &TakeOver) -> Markup {
    html! {
        details {
            summary {
                span.changed { (found.fate) } " " (found.known_as) " "
                span.quiet {
                    (found.id) " is " code { (found.cloud_id) } " "
                    (found.cloud_display_name.as_deref().unwrap_or_default()) " " (found.cloud_name.as_deref().unwrap_or_default())
                    " by " (found.key) " " code { (found.value) }
                }
            }
            @if let Some(reason) = &found.reason { p.removed { (reason) } }
            @if !found.overwritten.is_empty() {
                table {
                    thead { tr { th scope="col" { "Attribute" } th scope="col" { "Value" } } }
                    tbody {
                        @for change in &found.overwritten { (rows(&change.attribute, &change.cloud, &change.wanted)) }
                    }
                }
            }
        }
    }
}

/// The values of one attribute, those that go before those that come.
fn rows(attribute: &str, gone: &[String], come: &[String]) -> Markup {
    html! {
        @for value in gone { tr { td { code { (attribute) } } td.removed { span.sign { "−" } code { (value) } } } }
        @for value in come { tr { td { code { (attribute) } } td.added { span.sign { "+" } code { (value) } } } }
    }
}

fn object(object: &WhatIfObject) -> Markup {
    let class = match object.operation {
        "delete" => "removed",
        "add" => "added",
        _ => "changed",
    };
    html! {
        details {
            summary {
                span class=(class) { (object.operation) } " " code { (object.dn) } " "
                span.quiet { (object.object_type) " " (object.id) " " (object.known_as) }
            }
            @if let Some(rename) = &object.rename { p.changed { "New name: " code { (rename) } } }
            @if !object.would_be_emptied.is_empty() {
                p.removed { strong { "Would be emptied: " } (object.would_be_emptied.join(", ")) }
            }
            @if !object.changes.is_empty() {
                table {
                    thead { tr { th scope="col" { "Attribute" } th scope="col" { "Value" } } }
                    tbody {
                        @for change in &object.changes { (rows(&change.attribute, &change.removed, &change.added)) }
                    }
                }
            }
        }
    }
}
