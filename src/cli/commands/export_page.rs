//! The page of `export --what-if --html`: everything that waits, old and new values side by side, in one file that needs
//! nothing else, for whoever has to approve it.

use super::config_page::STYLE;
use crate::cli::output::thousands;
use crate::service::{WhatIfObject, WhatIfView};
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// The whole page.
pub(super) fn page(targets: &[WhatIfView], made: &str) -> String {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { "What an export would send" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { "What an export would send" }
                    p.quiet { "Worked out at " (made) ". Nothing was sent. + comes, − goes." }
                }
                main { @for target in targets { (section(target)) } }
            }
        }
    };
    markup.into_string()
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
                        @for change in &object.changes {
                            @for value in &change.removed {
                                tr { td { code { (change.attribute) } } td.removed { span.sign { "−" } code { (value) } } }
                            }
                            @for value in &change.added {
                                tr { td { code { (change.attribute) } } td.added { span.sign { "+" } code { (value) } } }
                            }
                        }
                    }
                }
            }
        }
    }
}
