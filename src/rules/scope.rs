//! Which rules apply to an object: the tests of a scope (specification: sync engine, section 3.3).

use super::ScopeOperator;
use super::expr::{AttributeRef, Context, Scalar, parse_boolean, parse_number, same_text};
use crate::model::{AttrId, Dn, ValueRef, fold};
use std::borrow::Cow;
use std::cmp::Ordering;

/// Groups of clauses: any group, all clauses of it. No group: every object.
#[derive(Debug, Default)]
pub(super) struct CompiledScope(pub(super) Vec<Vec<CompiledClause>>);

/// One test.
#[derive(Debug)]
pub(super) struct CompiledClause {
    pub(super) attribute: AttributeRef,
    pub(super) test: Test,
    /// The test must fail. An absent attribute fails every test, so that negative operators hold for it.
    pub(super) negative: bool,
    pub(super) operand: Operand,
}

/// The positive operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Test {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Contains,
    StartsWith,
    EndsWith,
    Present,
    BitSet,
    MemberOf,
}

/// The operand of a test.
#[derive(Debug)]
pub(super) enum Operand {
    /// Fixed.
    Fixed(Operands),
    /// Holds parameters, replaced per evaluation: text and names of parameters in turn, beginning with text.
    Template(Vec<String>),
}

/// The forms of an operand that tests need.
#[derive(Debug)]
pub(super) struct Operands {
    text: String,
    folded: String,
    number: Option<i64>,
}

impl Operands {
    fn new(text: String) -> Self {
        Self { folded: fold(&text).into_owned(), number: parse_number(&text), text }
    }
}

impl Operand {
    /// Takes an operand apart. Text between percent signs that is no known parameter stays text.
    pub(super) fn new(text: &str, known: impl Fn(&str) -> bool) -> Self {
        let pieces: Vec<&str> = text.split('%').collect();
        // An even number of percent signs gives an odd number of pieces; every second one is a name.
        let is_template = pieces.len() >= 3 && pieces.len() % 2 == 1 && pieces.iter().skip(1).step_by(2).all(|name| known(name));
        if is_template {
            Self::Template(pieces.into_iter().map(str::to_owned).collect())
        } else {
            Self::Fixed(Operands::new(text.to_owned()))
        }
    }

    /// The operand with its parameters replaced.
    pub(super) fn text(&self, context: &Context<'_>) -> String {
        match self {
            Self::Fixed(operands) => operands.text.clone(),
            Self::Template(pieces) => {
                let replaced = pieces.iter().enumerate().map(|(index, piece)| {
                    if index % 2 == 1 { context.parameter(piece).unwrap_or_default() } else { Cow::Borrowed(piece.as_str()) }
                });
                replaced.collect()
            }
        }
    }
}

/// Splits an operator into its test and whether it must fail.
pub(super) fn test_of(operator: ScopeOperator) -> (Test, bool) {
    match operator {
        ScopeOperator::Equal | ScopeOperator::IsIn => (Test::Equal, false),
        ScopeOperator::NotEqual | ScopeOperator::IsNotIn => (Test::Equal, true),
        ScopeOperator::LessThan => (Test::Less, false),
        ScopeOperator::LessThanOrEqual => (Test::LessOrEqual, false),
        ScopeOperator::GreaterThan => (Test::Greater, false),
        ScopeOperator::GreaterThanOrEqual => (Test::GreaterOrEqual, false),
        ScopeOperator::Contains => (Test::Contains, false),
        ScopeOperator::NotContains => (Test::Contains, true),
        ScopeOperator::StartsWith => (Test::StartsWith, false),
        ScopeOperator::NotStartsWith => (Test::StartsWith, true),
        ScopeOperator::EndsWith => (Test::EndsWith, false),
        ScopeOperator::NotEndsWith => (Test::EndsWith, true),
        ScopeOperator::IsNotNull => (Test::Present, false),
        ScopeOperator::IsNull => (Test::Present, true),
        ScopeOperator::IsBitSet => (Test::BitSet, false),
        ScopeOperator::IsNotBitSet => (Test::BitSet, true),
        ScopeOperator::IsMemberOf => (Test::MemberOf, false),
        ScopeOperator::IsNotMemberOf => (Test::MemberOf, true),
    }
}

impl CompiledScope {
    /// True when the object is in scope.
    pub(super) fn holds(&self, context: &Context<'_>) -> bool {
        self.0.is_empty() || self.0.iter().any(|group| group.iter().all(|clause| clause.holds(context)))
    }

    /// The attributes tested.
    pub(super) fn reads(&self) -> impl Iterator<Item = AttributeRef> + '_ {
        self.0.iter().flatten().map(|clause| clause.attribute)
    }
}

impl CompiledClause {
    /// True when the object passes.
    pub(super) fn holds(&self, context: &Context<'_>) -> bool {
        let positive = match &self.operand {
            Operand::Fixed(operands) => self.passes(context, operands),
            Operand::Template(_) => self.passes(context, &Operands::new(self.operand.text(context))),
        };
        positive != self.negative
    }

    fn passes(&self, context: &Context<'_>, operand: &Operands) -> bool {
        let source = context.source;
        if self.test == Test::MemberOf {
            let wanted = Dn::parse(&operand.text).map(|dn| dn.key());
            return source.references(self.attribute.id).into_iter().filter_map(|target| source.reference_dn(target)).any(|name| {
                match (&wanted, Dn::parse(&name)) {
                    (Ok(wanted), Ok(name)) => name.key() == *wanted,
                    _ => same_text(&name, &operand.text),
                }
            });
        }
        if self.attribute.is_reference() {
            if self.test == Test::Present {
                return source.count(self.attribute.id) > 0;
            }
            return source
                .references(self.attribute.id)
                .into_iter()
                .filter_map(|target| source.reference_dn(target))
                .any(|name| self.text_passes(&name, operand));
        }
        if self.attribute.id == AttrId::DN {
            let dn = source.dn();
            return !dn.is_empty() && (self.test == Test::Present || self.text_passes(dn, operand));
        }
        source.values(self.attribute.id).any(|value| self.value_passes(context, value, operand))
    }

    fn value_passes(&self, context: &Context<'_>, value: ValueRef<'_>, operand: &Operands) -> bool {
        if self.test == Test::Present {
            return true;
        }
        match value {
            ValueRef::Text(text) => self.text_passes(text, operand),
            ValueRef::Number(number) => match operand.number {
                Some(other) => self.number_passes(number, other),
                None => self.test != Test::BitSet && self.text_passes(&number.to_string(), operand),
            },
            ValueRef::Boolean(boolean) => match parse_boolean(&operand.text) {
                Some(other) if self.test == Test::Equal => boolean == other,
                _ => self.text_passes(if boolean { "True" } else { "False" }, operand),
            },
            ValueRef::Binary(bytes) => self.test == Test::Equal && hex::encode(bytes) == operand.folded,
            ValueRef::LargeText(_) => match context.plain_text(Scalar::from(value)) {
                Ok(Ok(text)) => self.text_passes(&text, operand),
                _ => false,
            },
            ValueRef::LargeBinary(_) | ValueRef::Reference(_) => false,
        }
    }

    fn number_passes(&self, value: i64, operand: i64) -> bool {
        match self.test {
            Test::BitSet => value & operand == operand,
            Test::Contains => value.to_string().contains(&operand.to_string()),
            Test::StartsWith => value.to_string().starts_with(&operand.to_string()),
            Test::EndsWith => value.to_string().ends_with(&operand.to_string()),
            _ => self.ordered(value.cmp(&operand)),
        }
    }

    fn text_passes(&self, value: &str, operand: &Operands) -> bool {
        match self.test {
            Test::Equal => {
                if value.is_ascii() && operand.text.is_ascii() {
                    value.eq_ignore_ascii_case(&operand.text)
                } else {
                    fold(value) == operand.folded
                }
            }
            Test::Contains => fold(value).contains(&operand.folded),
            Test::StartsWith => fold(value).starts_with(&operand.folded),
            Test::EndsWith => fold(value).ends_with(&operand.folded),
            Test::BitSet => match (parse_number(value), operand.number) {
                (Some(value), Some(mask)) => value & mask == mask,
                _ => false,
            },
            Test::Present => true,
            Test::MemberOf => false,
            _ => match (parse_number(value), operand.number) {
                (Some(value), Some(operand)) => self.ordered(value.cmp(&operand)),
                _ => self.ordered(fold(value).as_ref().cmp(operand.folded.as_str())),
            },
        }
    }

    fn ordered(&self, ordering: Ordering) -> bool {
        match self.test {
            Test::Equal => ordering == Ordering::Equal,
            Test::Less => ordering == Ordering::Less,
            Test::LessOrEqual => ordering != Ordering::Greater,
            Test::Greater => ordering == Ordering::Greater,
            Test::GreaterOrEqual => ordering != Ordering::Less,
            _ => false,
        }
    }
}
