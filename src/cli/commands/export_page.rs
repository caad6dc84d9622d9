//! The page of `export --what-if --html`: everything that waits, old and new values side by side, in one file that needs
//! nothing else, for whoever has to approve it.

use super::html_page::{changes, html_page, name, told, value, visible};
use crate::cli::calls::call;
use crate::cli::output::{counted, moment, thousands};
use crate::service::{TakeOver, TakeOversView, WhatIfObject, WhatIfView};
use maud::{Markup, html};

/// What takes something away stands first: operation, heading, anchor.
const GROUPS: [(&str, &str, &str); 3] = [("delete", "Removed", "removed"), ("update", "Changed", "changed"), ("add", "Created", "created")];

/// Up to so many objects of a group are shown with all their values from the beginning.
const OPEN: usize = 20;

/// Attributes that are named beside an object whose values are folded away.
const NAMED: usize = 6;

/// The whole page.
pub(super) fn page(targets: &[WhatIfView], made: &str) -> String {
    let names: Vec<&str> = targets.iter().map(|target| target.connector.as_str()).collect();
    let body = html! {
        header {
            h1 { "What an export would send" }
            p.quiet { "Worked out at " (moment(made)) ". Nothing was sent. + comes, − goes." }
            @if targets.len() > 1 {
                nav aria-label="Targets" { ul { @for (index, target) in targets.iter().enumerate() { li { a href=(format!("#target-{index}")) { (name(&target.connector)) } } } } }
            }
        }
        main { @for (index, target) in targets.iter().enumerate() { (section(index, target)) } }
    };
    html_page(&format!("What an export would send to {}", names.join(", ")), &body)
}

fn section(index: usize, target: &WhatIfView) -> Markup {
    let waits = target.adds + target.updates + target.deletes;
    html! {
        section id=(format!("target-{index}")) {
            h2 { (name(&target.connector)) }
            (warnings(target))
            @if waits == 0 {
                p { "Nothing waits for export." }
            } @else {
                (counts(index, target))
                p { "The name of exactly this plan: " code { (target.plan) } ". To send this and nothing else:" br; code { (call(&["export", &target.connector, "--plan", &target.plan])) } }
            }
            @if target.more { p.changed { "Only the first " (thousands(target.objects.len() as u64)) " objects are shown." } }
            @if !target.would_be_emptied.is_empty() {
                table {
                    caption { "Attributes that would have no value any more" }
                    thead { tr { th scope="col" { "Attribute" } th.number scope="col" { "Objects" } } }
                    tbody {
                        @for (attribute, count) in &target.would_be_emptied {
                            tr { th scope="row" { (value(attribute)) } td.number { (thousands(*count)) } }
                        }
                    }
                }
            }
            @if let Some(found) = &target.take_overs { (take_overs(found)) }
            @for (operation, title, anchor) in GROUPS {
                @let objects: Vec<&WhatIfObject> = target.objects.iter().filter(|object| object.operation == operation).collect();
                @if !objects.is_empty() {
                    h3 id=(format!("{anchor}-{index}")) { (title) " (" (thousands(objects.len() as u64)) ")" }
                    @for found in &objects { (object(found, objects.len() <= OPEN)) }
                }
            }
        }
    }
}

/// What stands in the way of the export, and what the plan does not have; each with the command.
fn warnings(target: &WhatIfView) -> Markup {
    html! {
        @if let Some(held) = &target.held {
            p.removed {
                strong { (counted(held.deletes, "delete would be", "deletes would be")) " not sent" }
                ", because " (held.reason) ": " (held.sample) ". After a review, to send exactly these:" br;
                code { (call(&["export", &target.connector, "--allow-deletes", &held.delete_set])) }
            }
        }
        @if target.stopped_by_threshold {
            p.removed {
                strong { "The export would stop before its first object: " }
                (counted(target.deletes, "delete waits", "deletes wait")) ", "
                (counted(target.delete_limit.unwrap_or_default(), "is", "are")) " allowed. After a review, to send exactly these:" br;
                code { (call(&["export", &target.connector, "--allow-deletes", &target.delete_set])) }
            }
        }
        @if let Some(other) = &target.another_installation {
            p.removed {
                @if !target.staging { strong { "The export would stop before its first object. " } }
                "Another installation writes there: " (other) ". Look at both with:" br;
                code { (call(&["mode", "show"])) }
            }
        }
        @if target.staging { p.changed { strong { "Staging mode: " } "nothing would be sent." } }
        @if target.awaits_approval {
            p.changed {
                strong { "The first export waits for an approval: " } "nothing was exported there yet. To let exports go from now on:" br;
                code { (call(&["export", &target.connector, "--approve", &target.plan])) }
            }
        }
        @for sentence in &target.outstanding { p.changed { strong { "Not all of the next cycle is shown: " } (told(sentence)) } }
    }
}

fn counts(index: usize, target: &WhatIfView) -> Markup {
    let rows = [
        ("to be removed", target.deletes, Some("delete")),
        ("to be changed", target.updates, Some("update")),
        ("to be renamed", target.renames, None),
        ("to be created", target.adds, Some("add")),
    ];
    html! {
        table {
            caption { "Objects" }
            tbody {
                @for (what, count, operation) in rows {
                    @let group = GROUPS.iter().find(|(known, ..)| Some(*known) == operation && count > 0);
                    tr {
                        th scope="row" {
                            @match group {
                                Some((_, _, anchor)) => a href=(format!("#{anchor}-{index}")) { (what) },
                                None => (what),
                            }
                        }
                        td.number { (thousands(count)) }
                    }
                }
            }
        }
    }
}

fn take_overs(found: &TakeOversView) -> Markup {
    html! {
        @if let Some(problem) = &found.problem {
            p.removed { strong { "Take-overs could not be looked up: " } (told(problem)) }
        } @else {
            h3 { "Objects that the cloud has already (" (thousands(found.taken_over)) " taken over, " (thousands(found.refused)) " refused)" }
            @for gap in &found.gaps { p.changed { "Known in part: " (told(gap)) } }
            @if found.objects.is_empty() { p { "No object of the cloud would be taken over." } }
            @if found.kept_aside + found.synchronized > 0 {
                p { "With a value kept aside: " (thousands(found.kept_aside)) ". Synchronized already: " (thousands(found.synchronized)) "." }
            }
            @for taken in &found.objects { (take_over(taken, found.objects.len() <= OPEN)) }
            @if found.more { p.changed { "Only the first " (thousands(found.objects.len() as u64)) " are shown." } }
        }
    }
}

fn take_over(found: &TakeOver, open: bool) -> Markup {
    let overwritten = found.overwritten.iter().map(|change| (change.attribute.as_str(), change.cloud.as_slice(), change.wanted.as_slice()));
    let class = if found.fate == "refused" { "kind removed" } else { "kind changed" };
    html! {
        details open[open] {
            summary {
                span class=(class) { (found.fate) } " " strong { (name(&found.known_as.to_string())) } " "
                span.quiet {
                    "is " (name(found.cloud_display_name.as_deref().unwrap_or_default())) " " (name(found.cloud_name.as_deref().unwrap_or_default()))
                    " by " (found.key) " " (value(&found.value)) ", number " (found.id) " here and " (value(&found.cloud_id)) " there"
                }
            }
            @if let Some(reason) = &found.reason { p.removed { (told(reason)) } }
            @if !found.overwritten.is_empty() { (changes(&html! { "Values of the cloud that would be overwritten" }, overwritten)) }
            @for change in found.overwritten.iter().filter(|change| !change.lost.is_empty()) {
                p.removed {
                    strong { "Would be lost of " (value(&change.attribute)) ": " }
                    @for (index, lost) in change.lost.iter().enumerate() { @if index > 0 { ", " } (value(lost)) }
                }
            }
        }
    }
}

fn object(object: &WhatIfObject, open: bool) -> Markup {
    let class = match object.operation {
        "delete" => "kind removed",
        "add" => "kind added",
        _ => "kind changed",
    };
    let known_as = object.known_as.to_string();
    let (called, behind) = if known_as.is_empty() { (&object.dn, None) } else { (&known_as, Some(&object.dn)) };
    let named: Vec<&str> = object.changes.iter().map(|change| change.attribute.as_str()).take(NAMED).collect();
    let values = object.changes.iter().map(|change| (change.attribute.as_str(), change.removed.as_slice(), change.added.as_slice()));
    let inside = html! {
        @if let Some(rename) = &object.rename { p.changed { strong { "New name: " } (value(rename)) } }
        @if !object.would_be_emptied.is_empty() {
            p.removed { strong { "Would be emptied: " } (visible(&object.would_be_emptied.join(", "))) }
        }
        @for held in &object.held { p { strong { "Stays for now: " } (held.attribute) ": " (value(&held.name)) } }
        @if !object.changes.is_empty() { (changes(&html! { span.spoken { "Values" } }, values)) }
    };
    let heading = html! {
        span class=(class) { (object.operation) } " " strong { (name(called)) } " " span.quiet { (object.object_type) " " (object.id) }
        @if let Some(dn) = behind { " " span.quiet { (value(dn)) } }
        @if object.operation == "update" && !named.is_empty() {
            " " span.quiet {
                "– " (visible(&named.join(", ")))
                @if object.changes.len() > named.len() { " and " (object.changes.len() - named.len()) " more" }
            }
        }
    };
    html! {
        @if object.changes.is_empty() && object.rename.is_none() {
            p.object { (heading) }
        } @else {
            details open[open] { summary { (heading) } (inside) }
        }
    }
}
