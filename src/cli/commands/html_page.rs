//! What every HTML page of a command has around its content: one file that needs nothing else, for screens and for paper.

use maud::{DOCTYPE, Markup, PreEscaped, html};

/// Text and background of each kind have a contrast above 7:1, in light and in dark; signs and words tell the same
/// without colour.
const STYLE: &str = "
:root { color-scheme: light dark; --text: #1b1b1b; --page: #ffffff; --line: #767676; --quiet: #595959;
  --added: #0b4f1c; --added-page: #e6f4ea; --removed: #7a1712; --removed-page: #fdecea; --changed: #4d3800; --changed-page: #fff4d6; }
@media (prefers-color-scheme: dark) { :root { --text: #f2f2f2; --page: #161616; --line: #8c8c8c; --quiet: #bdbdbd;
  --added: #b7f0c3; --added-page: #0d2a14; --removed: #ffc9c4; --removed-page: #3a1210; --changed: #ffe08a; --changed-page: #2e2400; } }
body { font: 1rem/1.5 system-ui, sans-serif; color: var(--text); background: var(--page); margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
code { font-family: ui-monospace, monospace; font-size: .9em; white-space: pre-wrap; overflow-wrap: anywhere; }
table { border-collapse: collapse; margin: .5rem 0; }
th, td { text-align: left; vertical-align: top; padding: .2rem .75rem .2rem .25rem; border-bottom: 1px solid var(--line); }
caption { text-align: left; font-weight: 600; padding: .5rem 0 .2rem; }
summary { cursor: pointer; padding: .3rem .25rem; }
summary:focus-visible { outline: 3px solid currentColor; outline-offset: 2px; }
details { border: 1px solid var(--line); border-radius: .3rem; margin: .5rem 0; padding: 0 .75rem .25rem; }
ul.clauses { list-style: none; margin: .25rem 0; padding: 0; }
.sign { font-family: ui-monospace, monospace; font-weight: 700; display: inline-block; min-width: 1.2em; }
.added { color: var(--added); background: var(--added-page); }
.removed { color: var(--removed); background: var(--removed-page); }
.changed { color: var(--changed); background: var(--changed-page); }
.quiet { color: var(--quiet); }
@media print { body { margin: 0; max-width: none; } details, tr { break-inside: avoid; }
  details::details-content { content-visibility: visible; display: block; }
  .added, .removed, .changed { -webkit-print-color-adjust: exact; print-color-adjust: exact; } }
";

/// A whole page.
pub(super) fn html_page(title: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    };
    page.into_string()
}
