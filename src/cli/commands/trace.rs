//! Traces as text: clauses, join keys, and flows with their verdicts.

use crate::cli::output::{Output, clean, wrapped};
use crate::rules::{FlowOutcome, FlowTrace, GroupTrace, JoinGroupTrace, Verdict};

/// Lines are broken behind this many characters, on narrower terminals earlier.
const WIDTH: usize = 120;
/// Of the expression of a flow that was not asked, so many characters are shown.
const UNASKED: usize = 60;
/// Where the text of a flow begins.
const INDENT: usize = 20;

/// A scope, clause by clause.
pub(super) fn print_scope(output: &Output, groups: &[GroupTrace]) {
    if groups.is_empty() {
        output.line("  ✓ every object of its type");
    }
    for (index, group) in groups.iter().enumerate() {
        if index > 0 {
            output.line("  or");
        }
        for clause in &group.clauses {
            print_wrapped(output, if clause.holds { "  ✓ " } else { "  ✗ " }, &clause.to_string());
        }
    }
}

/// What a join looks up, group by group.
pub(super) fn print_join(output: &Output, groups: &[JoinGroupTrace]) {
    for (index, group) in groups.iter().enumerate() {
        if index > 0 {
            output.line("  or");
        }
        for pair in &group.pairs {
            let case = if pair.case_sensitive { ", case counts" } else { "" };
            let told = match (&pair.key, &pair.lacks) {
                (Some(key), _) => format!("{} = {key}{case} (from {})", pair.partner, pair.own),
                (None, lacks) => format!("{} not looked up: {} is {}", pair.partner, pair.own, lacks.as_deref().unwrap_or("absent")),
            };
            print_wrapped(output, if pair.key.is_some() { "  ✓ " } else { "  ✗ " }, &told);
        }
    }
}

/// One flow among others: verdict, rule, what it gives, what it reads.
pub(super) fn print_flow(output: &Output, flow: &FlowTrace, object: Option<&str>) {
    let verdict = verdict_name(flow.verdict);
    let object = object.map(|object| format!(" ({object})")).unwrap_or_default();
    print_wrapped(output, &format!("  {verdict:<12} {:>4} ", flow.precedence), &format!("{}{object}", flow.rule));
    print_outcome(output, flow, &" ".repeat(INDENT));
}

/// What a flow gives, and what it reads.
pub(super) fn print_outcome(output: &Output, flow: &FlowTrace, indent: &str) {
    let (asked, source) = (was_asked(flow), source_of(flow));
    print_wrapped(output, indent, &outcome(flow));
    if let FlowOutcome::Failed { detail, .. } = &flow.outcome {
        for line in detail.lines() {
            output.line(format!("{indent}{}", clean(line)));
        }
        return;
    }
    // Of who was not asked the result is enough.
    for input in flow.inputs.iter().filter(|_| asked) {
        // A direct flow has said so already.
        if source != format!("[{}]", input.attribute) {
            print_wrapped(output, indent, &format!("reads {} = {}", input.attribute, input.found));
        }
    }
}

fn was_asked(flow: &FlowTrace) -> bool {
    !matches!(flow.verdict, Verdict::NotAsked | Verdict::NotNow)
}

/// Where a flow takes its values from; of one that was not asked, the beginning.
fn source_of(flow: &FlowTrace) -> String {
    let mut source = flow.source.split_whitespace().collect::<Vec<_>>().join(" ");
    if !was_asked(flow)
        && let Some((end, _)) = source.char_indices().nth(UNASKED)
    {
        source.truncate(end);
        source.push('…');
    }
    source
}

/// What a flow gives, in a sentence.
pub(super) fn outcome(flow: &FlowTrace) -> String {
    let (asked, source) = (was_asked(flow), source_of(flow));
    let once = if flow.once { " once" } else { "" };
    let told = match &flow.outcome {
        FlowOutcome::Values(found) => format!("{source}{once} {} {found}", if asked { "gives" } else { "would give" }),
        FlowOutcome::Nothing => format!("{source}{once} gives nothing"),
        FlowOutcome::Removed => format!("{source}{once} removes the value (AuthoritativeNull)"),
        FlowOutcome::Ignored => format!("{source}{once} is left out (IgnoreThisFlow)"),
        FlowOutcome::SourceAbsent => format!("{source}{once}: the source is absent, what is there is kept"),
        FlowOutcome::Failed { code, .. } => format!("{source}{once} fails: {code}"),
    };
    let by = flow.decided_by.as_ref().map(|by| format!("; \"{by}\" decided")).unwrap_or_default();
    format!("{told}{by}")
}

/// Text behind a beginning, broken at blanks, its further lines below its first.
pub(super) fn print_wrapped(output: &Output, beginning: &str, text: &str) {
    let width = output.width().map_or(WIDTH, |width| WIDTH.min(width.into()));
    for line in wrapped(beginning, &clean(text), width) {
        output.line(line);
    }
}

/// The clauses that keep a rule from applying, as one sentence.
pub(super) fn because(failing: &[Vec<String>]) -> String {
    failing.iter().map(|group| group.join(" and ")).collect::<Vec<_>>().join("; or ")
}

/// How a flow stands, in a word.
pub(super) fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Won => "won",
        Verdict::Contributes => "contributes",
        Verdict::Repeats => "adds nothing",
        Verdict::KeptFromLink => "kept",
        Verdict::GaveNothing => "nothing",
        Verdict::Clears => "clears",
        Verdict::Removes => "removes",
        Verdict::Ignored => "left out",
        Verdict::NotNow => "once only",
        Verdict::NotAsked => "not asked",
        Verdict::Failed => "fails",
        Verdict::Alone => "",
    }
}
