//! The expression language of attribute flows: text in, values out (specification: expression functions).
//!
//! `lexer` → `parser` → `compile` (names, types, constants) → `evaluate`. Evaluation borrows from the object it
//! reads and allocates only what it returns.

mod compile;
mod date;
mod evaluate;
mod functions;
#[cfg(test)]
mod laws;
mod lexer;
mod parser;
#[cfg(test)]
mod print;
#[cfg(test)]
mod tests;
mod value;

pub(crate) use compile::{AttributeLookup, AttributeRef, Options, Resolve, compile};
pub(crate) use functions::table as function_table;
pub(crate) use functions::text::{cut, offset, trimmed};
pub(crate) use value::{Context, PARAMETERS, Scalar, Val, load, parse_boolean, parse_number, same_text};

use crate::model::{AttrId, ObjectErrorCode};
use std::fmt;

/// A date as people read it, in UTC.
pub(crate) fn date_text(ticks: i64) -> String {
    date::format(ticks, "yyyy-MM-dd HH:mm:ss'Z'")
}

/// A place in an expression, in octets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    fn new(start: usize, end: usize) -> Self {
        let small = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
        Self { start: small(start), end: small(end) }
    }

    fn to(self, end: Span) -> Span {
        Span { start: self.start, end: end.end }
    }
}

/// Why a text is no expression, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExpressionError {
    /// Octet offset in the text.
    pub(crate) offset: usize,
    /// 1-based line within the expression.
    pub(crate) line: usize,
    /// 1-based column within that line, in characters.
    pub(crate) column: usize,
    /// What is wrong.
    pub(crate) message: String,
    /// What to write instead.
    pub(crate) hint: Option<String>,
    /// The line of the expression with a caret under the place.
    pub(crate) excerpt: String,
}

impl ExpressionError {
    fn new(text: &str, span: Span, message: impl Into<String>) -> Self {
        let offset = floor(text, span.start as usize);
        let (line, column) = line_and_column(text, offset);
        Self { offset, line, column, message: message.into(), hint: None, excerpt: excerpt(text, span) }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for ExpressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (line {}, column {})", self.message, self.line, self.column)
    }
}

/// The 1-based line and column, in characters, of an octet offset.
pub(crate) fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..floor(text, offset)];
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
}

/// The line that holds a place, with a caret under it.
pub(crate) fn excerpt(text: &str, span: Span) -> String {
    const WIDTH: usize = 160;
    let offset = floor(text, span.start as usize);
    let start = text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[offset..].find('\n').map_or(text.len(), |newline| offset + newline);
    let mut first = start;
    let column = text[start..offset].chars().count();
    if column > WIDTH / 2 {
        first = text[start..offset].char_indices().rev().nth(WIDTH / 2).map_or(start, |(index, _)| start + index);
    }
    let shown: String = text[first..end].chars().take(WIDTH).collect();
    let caret = text[first..offset].chars().count();
    let width =
        text[offset..floor(text, (span.end as usize).min(end)).max(offset)].chars().count().clamp(1, WIDTH.saturating_sub(caret).max(1));
    format!("{shown}\n{}{}", " ".repeat(caret), "^".repeat(width))
}

fn floor(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

/// Why an evaluation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: ObjectErrorCode,
    pub(crate) message: String,
    /// The innermost call or operator at fault.
    pub(crate) span: Option<Span>,
}

impl Fault {
    pub(crate) fn argument(message: impl Into<String>) -> Self {
        Self { code: ObjectErrorCode::EXPRESSION_ARGUMENT, message: message.into(), span: None }
    }

    pub(crate) fn mismatch(message: impl Into<String>) -> Self {
        Self { code: ObjectErrorCode::EXPRESSION_TYPE_MISMATCH, message: message.into(), span: None }
    }

    fn at(mut self, span: Span) -> Self {
        self.span.get_or_insert(span);
        self
    }
}

/// A checked expression, ready to be evaluated any number of times on any thread.
#[derive(Debug)]
pub(crate) struct Expression {
    text: Box<str>,
    node: compile::Node,
    reads: Vec<AttributeRef>,
    kind: Kind,
    volatile: bool,
    mixed: Option<Span>,
    exact: bool,
}

impl Expression {
    /// The attributes that it may read, each once.
    pub(crate) fn reads(&self) -> &[AttributeRef] {
        &self.reads
    }

    /// The type of the result, as far as it is known.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// The result may differ from call to call (`Now`, `Guid`, `RandomNum`).
    pub(crate) fn is_volatile(&self) -> bool {
        self.volatile
    }

    /// Operators of one level stand mixed without brackets here; the line with a caret.
    pub(crate) fn mixed_operators(&self) -> Option<String> {
        self.mixed.map(|span| excerpt(&self.text, span))
    }

    /// Evaluates.
    pub(crate) fn evaluate<'a>(&'a self, context: &Context<'a>) -> Result<Val<'a>, Fault> {
        evaluate::evaluate(&self.node, context, self.exact)
    }

    /// The expression with a caret under the place at fault.
    pub(crate) fn point_at(&self, fault: &Fault) -> String {
        excerpt(&self.text, fault.span.unwrap_or_default())
    }

    /// The attributes whose values it gives as they are, whichever branch is taken; `None` when it makes new ones.
    pub(crate) fn passes(&self) -> Option<Vec<AttrId>> {
        let mut passed = Vec::new();
        self.node.passes(&mut passed).then_some(passed)
    }

    /// The special forms that flows evaluate without walking the tree.
    pub(crate) fn shape(&self) -> Shape {
        self.node.shape()
    }
}

/// Frequent forms of a flow: 91 % of the default flows are one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `[x]`
    Direct(AttributeRef),
    /// `Trim([x])`
    Trim(AttributeRef),
    /// `Left(Trim([x]),448)`
    TrimCut(AttributeRef),
    /// `IIF(IsNullOrEmpty([x]),NULL,Left(Trim(Item([x],1)),448))`
    FirstCut(AttributeRef),
    /// Anything else.
    General,
}

/// The static type of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Not known before evaluation.
    Any,
    /// Never a value: `NULL`, `Error`, the special literals.
    Nothing,
    Text,
    Number,
    Boolean,
    Binary,
    Date,
    Reference,
}

impl Kind {
    /// For messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Any => "any value",
            Self::Nothing => "nothing",
            Self::Text => "text",
            Self::Number => "a number",
            Self::Boolean => "a Boolean",
            Self::Binary => "octets",
            Self::Date => "a date",
            Self::Reference => "a reference",
        }
    }

    /// The type of what may be either.
    fn or(self, other: Kind) -> Kind {
        match (self, other) {
            (Self::Nothing, kind) | (kind, Self::Nothing) => kind,
            (left, right) if left == right => left,
            _ => Self::Any,
        }
    }
}
