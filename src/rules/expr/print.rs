//! A tree as text again, so that tests can hold the parser against its own output.

use super::lexer::Operator;
use super::parser::{Ast, AstKind};

/// The expression that parses to this tree.
pub(super) fn print(tree: &Ast) -> String {
    let text = match &tree.kind {
        AstKind::Null => "NULL".to_owned(),
        AstKind::AuthoritativeNull => "AuthoritativeNull".to_owned(),
        AstKind::IgnoreThisFlow => "IgnoreThisFlow".to_owned(),
        // The digits of the smallest number do not fit without its sign.
        AstKind::Number(i64::MIN) => "&H8000000000000000".to_owned(),
        AstKind::Number(number) => number.to_string(),
        AstKind::Boolean(true) => "True".to_owned(),
        AstKind::Boolean(false) => "False".to_owned(),
        AstKind::Text(text) => quoted(text),
        AstKind::Word(word) => word.clone(),
        AstKind::Attribute(name) => format!("[{name}]"),
        AstKind::Parameter(name) => format!("%{name}%"),
        AstKind::Variable(name) => format!("${name}"),
        AstKind::Negate(inner) => format!("-{}", enclosed(inner, matches!(inner.kind, AstKind::Binary(..)))),
        AstKind::Binary(operator, left, right) => {
            let left = enclosed(left, level(left) > operator.level());
            let right = enclosed(right, level(right) >= operator.level());
            format!("{left} {} {right}", operator.sign())
        }
        AstKind::Call(name, arguments) => format!("{name}({})", arguments.iter().map(print).collect::<Vec<_>>().join(", ")),
    };
    if tree.bracketed { format!("({text})") } else { text }
}

/// Text as a literal.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\"\""))
}

fn level(tree: &Ast) -> u8 {
    if let AstKind::Binary(operator, ..) = tree.kind { Operator::level(operator) } else { 0 }
}

/// An operand, in brackets where it would be read otherwise.
fn enclosed(tree: &Ast, needed: bool) -> String {
    if needed && !tree.bracketed { format!("({})", print(tree)) } else { print(tree) }
}

/// True when two trees say the same, wherever their parts stand in the text.
pub(super) fn same(left: &Ast, right: &Ast) -> bool {
    left.bracketed == right.bracketed
        && match (&left.kind, &right.kind) {
            (AstKind::Null, AstKind::Null)
            | (AstKind::AuthoritativeNull, AstKind::AuthoritativeNull)
            | (AstKind::IgnoreThisFlow, AstKind::IgnoreThisFlow) => true,
            (AstKind::Number(left), AstKind::Number(right)) => left == right,
            (AstKind::Boolean(left), AstKind::Boolean(right)) => left == right,
            (AstKind::Text(left), AstKind::Text(right))
            | (AstKind::Word(left), AstKind::Word(right))
            | (AstKind::Attribute(left), AstKind::Attribute(right))
            | (AstKind::Parameter(left), AstKind::Parameter(right))
            | (AstKind::Variable(left), AstKind::Variable(right)) => left == right,
            (AstKind::Negate(left), AstKind::Negate(right)) => same(left, right),
            (AstKind::Binary(one, left, right), AstKind::Binary(other, second_left, second_right)) => {
                one == other && same(left, second_left) && same(right, second_right)
            }
            (AstKind::Call(one, arguments), AstKind::Call(other, others)) => {
                one == other && arguments.len() == others.len() && arguments.iter().zip(others).all(|(left, right)| same(left, right))
            }
            _ => false,
        }
}
