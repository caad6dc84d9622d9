//! The words in which Entra Connect says what a rule does, and what they are here.

use super::model::Place;
use super::report::{Outcome, Report};
use crate::model::Value;
use crate::rules::{Direction, LinkType, MergeType, PlainSource, ScopeOperator};

/// `Inbound` or `Outbound`.
pub(super) fn direction(text: &str) -> Result<Direction, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "inbound" => Ok(Direction::Inbound),
        "outbound" => Ok(Direction::Outbound),
        _ => Err(format!("the direction \"{}\" is neither Inbound nor Outbound", short(text))),
    }
}

/// `Join`, `StickyJoin` or `Provision`.
pub(super) fn link(text: &str) -> Result<LinkType, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "join" => Ok(LinkType::Join),
        "stickyjoin" => Ok(LinkType::StickyJoin),
        "provision" => Ok(LinkType::Provision),
        _ => Err(format!("the link type \"{}\" is not known here: Join, StickyJoin, Provision", short(text))),
    }
}

/// How flows go together. `Replace` is an older word for `Update`.
pub(super) fn merge(text: &str) -> Result<MergeType, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "" | "update" | "replace" => Ok(MergeType::Update),
        "merge" => Ok(MergeType::Merge),
        "mergecaseinsensitive" => Ok(MergeType::MergeCaseInsensitive),
        _ => Err(format!("the merge type \"{}\" is not known here: Update, Merge, MergeCaseInsensitive", short(text))),
    }
}

/// The test of a scope's clause.
pub(super) fn operator(text: &str) -> Result<ScopeOperator, String> {
    let found = ScopeOperator::SPELLINGS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text.trim()));
    found.map(|(_, operator)| *operator).ok_or_else(|| {
        let known: Vec<&str> = ScopeOperator::SPELLINGS.iter().map(|(name, _)| *name).collect();
        format!("the operator \"{}\" is not known here: {}", short(text), known.join(", "))
    })
}

/// `True` or `False`, `1` or `0`.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" => Ok(true),
        "false" | "0" | "" => Ok(false),
        _ => Err(format!("\"{}\" is neither True nor False", short(text))),
    }
}

/// The number of a precedence.
pub(super) fn precedence(text: &str) -> Result<u32, String> {
    let number = text.trim().parse::<u32>().ok().filter(|number| *number <= 1_000_000);
    number.ok_or_else(|| format!("the precedence \"{}\" is no number from 0 to 1,000,000", short(text)))
}

/// What kind of source a flow has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FlowType {
    Direct,
    Constant,
    Expression,
}

/// `Direct`, `Constant` or `Expression`.
pub(super) fn flow_type(text: &str) -> Result<FlowType, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "direct" => Ok(FlowType::Direct),
        "constant" => Ok(FlowType::Constant),
        "expression" => Ok(FlowType::Expression),
        _ => Err(format!("the flow type \"{}\" is not known here: Direct, Constant, Expression", short(text))),
    }
}

/// The source of a flow from its parts.
pub(super) fn source(kind: FlowType, sources: &[String], expression: Option<&str>) -> Result<PlainSource, String> {
    match (kind, sources, expression) {
        (FlowType::Expression, _, Some(text)) if !text.trim().is_empty() => Ok(PlainSource::Expression(text.to_owned())),
        (FlowType::Expression, ..) => Err("the flow's expression is empty".to_owned()),
        (FlowType::Direct, [attribute], _) if !attribute.trim().is_empty() => Ok(PlainSource::Direct(attribute.trim().to_owned())),
        (FlowType::Direct, _, _) => Err(format!("a direct flow has one source, here are {}", sources.len())),
        (FlowType::Constant, [text], _) => Ok(PlainSource::Constant(Value::from(text.as_str()))),
        (FlowType::Constant, _, _) => Err(format!("a constant flow has one value, here are {}", sources.len())),
    }
}

/// Says what a rule says besides, where it says anything at all.
pub(super) fn beside(report: &mut Report, place: &Place, subject: &str, value: &str) {
    let nothing = value.trim().bytes().all(|octet| matches!(octet, b'0' | b'-' | b'{' | b'}' | b':' | b'.'));
    if nothing {
        return;
    }
    let note = match subject {
        "precedence-after" | "precedence-before" => "the number of the precedence says the order",
        _ => "values go at once when nobody gives them any more; there is no delay",
    };
    report.counted(Outcome::NotTaken, place, subject, note);
}

/// At most 80 characters of a text, for messages.
pub(super) fn short(text: &str) -> String {
    let mut shown: String = text.chars().take(80).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// The names in `[…]` of an expression, each once, in the order in which they come.
pub(super) fn attributes_of(expression: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    rewrite(expression, |name| {
        if !found.iter().any(|known| known == name) {
            found.push(name.to_owned());
        }
        None
    });
    found
}

/// An expression with other names between its brackets; what stands in quotation marks stays as it is.
pub(super) fn rewrite(expression: &str, mut name_of: impl FnMut(&str) -> Option<String>) -> String {
    let mut result = String::with_capacity(expression.len());
    let mut rest = expression;
    while let Some(at) = rest.find(['"', '[']) {
        let (before, from) = rest.split_at(at);
        result.push_str(before);
        // Both are one octet long. A doubled quotation mark ends one text and begins the next, which comes to the same.
        let close = if from.starts_with('"') { '"' } else { ']' };
        let Some(end) = from.get(1..).and_then(|inside| inside.find(close)).map(|end| end + 1) else {
            result.push_str(from);
            return result;
        };
        let (Some(inside), Some(whole)) = (from.get(1..end), from.get(..=end)) else { break };
        match (close, inside.trim()) {
            (']', name) if !name.is_empty() => match name_of(name) {
                Some(other) => {
                    result.push('[');
                    result.push_str(&other);
                    result.push(']');
                }
                None => result.push_str(whole),
            },
            _ => result.push_str(whole),
        }
        rest = from.get(end + 1..).unwrap_or_default();
    }
    result.push_str(rest);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_brackets_are_found_and_texts_are_left_alone() {
        let expression = r#"IIF([a] = "say ""[b]""", [ c ], Left([a], 3)) & "x]"#;
        assert_eq!(attributes_of(expression), ["a", "c"]);
        let upper = rewrite(expression, |name| Some(name.to_uppercase()));
        assert_eq!(upper, r#"IIF([A] = "say ""[b]""", [C], Left([A], 3)) & "x]"#);
        for odd in ["", "[", "\"", "[]", "a[b", "[é]\"", "\"[é"] {
            assert_eq!(rewrite(odd, |_| None), odd);
        }
    }

    #[test]
    fn words_are_told_apart_and_named() {
        assert_eq!(operator("IsBitNotSet"), Ok(ScopeOperator::IsNotBitSet));
        assert!(operator("MAYBE").unwrap_err().contains("\"MAYBE\""));
        assert_eq!(merge("Replace"), Ok(MergeType::Update));
        assert!(link("JoinNoFlow").is_err() && direction("sideways").is_err() && precedence("-1").is_err());
        assert!(source(FlowType::Direct, &[], None).is_err());
    }
}
