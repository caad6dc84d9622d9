//! What every HTML page of a command has around its content: one file that needs nothing else, for screens of any width and for paper.

use crate::cli::calls::completed;
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// Text and background of each kind have a contrast of 7:1 or more, in light and in dark; signs and words tell the same
/// without colour. In narrow windows the cells of wide tables stand below each other.
const STYLE: &str = "
:root { color-scheme: light dark; --text: #1b1b1b; --page: #ffffff; --line: #767676; --faint: #d0d0d0; --quiet: #555555;
  --added: #0b4f1c; --added-page: #e6f4ea; --removed: #7a1712; --removed-page: #fdecea; --changed: #4d3800; --changed-page: #fff4d6; }
@media screen and (prefers-color-scheme: dark) { :root { --text: #f2f2f2; --page: #161616; --line: #8c8c8c; --faint: #444444; --quiet: #bdbdbd;
  --added: #b7f0c3; --added-page: #0d2a14; --removed: #ffc9c4; --removed-page: #3a1210; --changed: #ffe08a; --changed-page: #2e2400; } }
* { box-sizing: border-box; }
body { font: 1rem/1.5 system-ui, sans-serif; color: var(--text); background: var(--page); margin: 2rem auto; max-width: 76rem; padding: 0 1rem;
  overflow-wrap: break-word; }
h1, h2, h3 { line-height: 1.25; margin: 1.5rem 0 .5rem; }
h1 { font-size: 1.75rem; margin-top: 0; }
h2 { border-top: 2px solid var(--line); padding-top: 1rem; }
p { margin: .5rem 0; }
a { color: inherit; }
a:focus-visible, summary:focus-visible { outline: 3px solid currentColor; outline-offset: 2px; }
code { font-family: ui-monospace, monospace; font-size: .9em; white-space: pre-wrap; overflow-wrap: anywhere; }
table { border-collapse: collapse; margin: .5rem 0 1rem; min-width: min(100%, 24rem); max-width: 100%; }
caption { text-align: left; font-weight: 600; padding: .5rem 0 .25rem; }
th, td { text-align: left; vertical-align: top; padding: .25rem .5rem; border-bottom: 1px solid var(--faint); }
thead th { border-bottom: 1px solid var(--line); }
tbody th { font-weight: normal; }
th code { overflow-wrap: break-word; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
td.long { overflow-wrap: anywhere; white-space: pre-line; }
table.wide { table-layout: fixed; width: 100%; }
table.wide thead th:first-child { width: 24%; }
table.four thead th:nth-child(2), table.five thead th:nth-child(2) { width: 5.5rem; }
table.five thead th:nth-child(3) { width: 8rem; }
ul.values, ul.clauses { list-style: none; margin: 0; padding: 0; }
ul.values li { display: flex; gap: .25rem; padding: 0 .35rem; margin: .1rem 0; border-radius: .2rem; }
ul.values li code { min-width: 0; flex: 1; }
p.removed, p.changed, p.added { padding: .35rem .6rem; border-radius: .3rem; }
summary { cursor: pointer; padding: .4rem .25rem; }
summary code { font-size: .8em; }
details { border: 1px solid var(--line); border-radius: .3rem; margin: .5rem 0; padding: 0 .75rem; }
details[open] { padding-bottom: .5rem; }
details table, p.object { margin: .25rem 0; }
.kind { padding: .05rem .4rem; border-radius: .2rem; }
.sign { font-family: ui-monospace, monospace; font-weight: 700; display: inline-block; min-width: 1.2em; text-align: center; }
.spoken { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; white-space: nowrap; }
.unseen { border: 1px solid; border-radius: .2rem; font-size: .8em; padding: 0 .2em; white-space: nowrap; }
.added { color: var(--added); background: var(--added-page); }
.removed { color: var(--removed); background: var(--removed-page); }
.changed { color: var(--changed); background: var(--changed-page); }
.quiet { color: var(--quiet); }
@media (max-width: 44rem) { body { margin: 1rem auto; }
  table.wide, table.wide tbody, table.wide tr, table.wide th, table.wide td { display: block; width: auto; }
  table.wide thead { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; white-space: nowrap; }
  table.wide caption { display: block; }
  table.wide tr { border-bottom: 1px solid var(--faint); padding: .25rem 0; }
  table.wide th, table.wide td { border: 0; padding: .1rem .25rem; }
  table.wide td:empty { display: none; } }
@media print { body { margin: 0; max-width: none; padding: 0; font-size: 10pt; }
  tr, summary, caption { break-inside: avoid; } summary, caption, h2, h3 { break-after: avoid; }
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
                meta name="referrer" content="no-referrer";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { (plain(title)) }
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    };
    page.into_string()
}

/// A value as it is, in its own direction of writing. What eyes would not see, or what would turn the letters around it, is named.
pub(super) fn value(text: &str) -> Markup {
    html! { code dir="auto" { (visible(text)) } }
}

/// A name of somebody, in its own direction of writing.
pub(super) fn name(text: &str) -> Markup {
    html! { bdi { (visible(text)) } }
}

/// Values in a cell, each with the sign of what happens to it.
pub(super) fn values<T: AsRef<str>>(class: &str, sign: char, values: &[T]) -> Markup {
    html! {
        @if !values.is_empty() {
            ul.values { @for text in values { li.(class) { span.sign { (sign) } (value(text.as_ref())) } } }
        }
    }
}

/// A sentence that proposes commands in backticks.
pub(super) fn told(sentence: &str) -> Markup {
    html! {
        @for (index, piece) in completed(sentence).split('`').enumerate() { @if index % 2 == 1 { code { (visible(piece)) } } @else { (visible(piece)) } }
    }
}

/// Attributes with the values that go and those that come. Where nothing goes anywhere there is no column for it.
pub(super) fn changes<'c, T: AsRef<str> + 'c>(
    caption: &Markup,
    changes: impl Iterator<Item = (&'c str, &'c [T], &'c [T])> + Clone,
) -> Markup {
    let goes = changes.clone().any(|(_, gone, _)| !gone.is_empty());
    html! {
        table.wide {
            caption { (caption) }
            thead { tr { th scope="col" { "Attribute" } @if goes { th scope="col" { "Value that goes" } } th scope="col" { "Value that comes" } } }
            tbody {
                @for (attribute, gone, come) in changes {
                    tr {
                        th scope="row" { (value(attribute)) }
                        @if goes { td { (values("removed", '−', gone)) } }
                        td { (values("added", '+', come)) }
                    }
                }
            }
        }
    }
}

/// Text in which characters that show nothing, or that steer how others are shown, are named: `U+202E`. Line breaks stay.
pub(super) fn visible(text: &str) -> Markup {
    html! {
        @for piece in text.split_inclusive(unseen) {
            @match piece.chars().next_back().filter(|last| unseen(*last)) {
                Some(last) => { (piece[..piece.len() - last.len_utf8()]) span.unseen { (format!("U+{:04X}", u32::from(last))) } },
                None => (piece),
            }
        }
    }
}

/// Such a text where there is no room for elements.
fn plain(text: &str) -> String {
    text.chars().map(|character| if unseen(character) { '\u{fffd}' } else { character }).collect()
}

/// Control characters, and those that are invisible or change the direction of what follows (Unicode Standard, annex 9). Joiners
/// belong to words of some languages and stay.
fn unseen(character: char) -> bool {
    (character.is_control() && !matches!(character, '\n' | '\t'))
        || matches!(character, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0001}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_stand_out() {
        assert_eq!(told("do <this>: `syncline errors`, then").into_string(), "do &lt;this&gt;: <code>syncline errors</code>, then");
    }

    #[test]
    fn what_eyes_do_not_see_is_named() {
        let shown = |text: &str| visible(text).into_string();
        assert_eq!(shown("a\u{202e}b\u{7}"), "a<span class=\"unseen\">U+202E</span>b<span class=\"unseen\">U+0007</span>");
        assert_eq!(shown("<b> & \u{200d}\nmore"), "&lt;b&gt; &amp; \u{200d}\nmore");
        assert_eq!((shown(""), plain("x\u{0}\u{feff}y").as_str()), (String::new(), "x\u{fffd}\u{fffd}y"));
    }
}
