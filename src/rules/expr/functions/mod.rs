//! The functions of the expression language, one file per group of the reference. A function is a row in its
//! group's table: name, parameters, result, body. To add one: a row, a body, a table of cases.

mod about;
mod certificate;
mod conversion;
mod date;
mod directory;
mod evaluation;
mod flow;
mod math;
mod multi;
pub(super) mod text;

use super::value::{Context, Scalar, Val, parse_number};
use super::{Fault, Kind};
use crate::rules::FunctionView;
use std::borrow::Cow;
use std::fmt;

/// The most arguments of any function that is no form.
pub(super) const ARGUMENTS_MAX: usize = 4;

/// One function of the language.
pub(super) struct Function {
    pub(super) name: &'static str,
    pub(super) parameters: &'static [Parameter],
    /// How many of the parameters must be given.
    pub(super) required: usize,
    /// Takes any number of further arguments.
    pub(super) variadic: bool,
    pub(super) result: Kind,
    /// May give another result at the next call.
    pub(super) volatile: bool,
    pub(super) body: Body,
}

/// The body of an ordinary function.
pub(super) type PlainBody = for<'c, 'a> fn(&mut Call<'c, 'a>) -> Result<Val<'a>, Fault>;

/// How a function works.
#[derive(Clone, Copy)]
pub(super) enum Body {
    /// Arguments in, result out.
    Plain(PlainBody),
    /// Evaluated by the tree walk itself: laziness, variables, names instead of values.
    Form(Form),
}

/// The functions that are part of the language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    If,
    Switch,
    With,
    Select,
    Where,
    Error,
    ImportedValue,
    ValueCount,
}

/// One parameter.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) accepts: Accepts,
    /// Takes a list as a whole; otherwise the function runs once per value.
    pub(super) whole: bool,
}

/// What a parameter takes.
#[derive(Clone, Copy)]
pub(super) enum Accepts {
    Any,
    Text,
    Number,
    Binary,
    /// Text or octets.
    Content,
    Date,
    /// A reference or the text of a name.
    Name,
    /// One of these words, quoted or not.
    Choice(&'static [&'static str]),
}

impl Accepts {
    /// For messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Any => "any value",
            Self::Text => "text",
            Self::Number => "a number",
            Self::Binary => "octets",
            Self::Content => "text or octets",
            Self::Date => "a date",
            Self::Name => "a reference or a name",
            Self::Choice(_) => "one of its words",
        }
    }

    /// As lists of functions tell it.
    fn told(self) -> String {
        match self {
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            other => other.name().to_owned(),
        }
    }

    /// Whether a value of this static type may be right.
    pub(super) fn admits(self, kind: Kind, constant: Option<&Val<'static>>) -> bool {
        if matches!(kind, Kind::Any | Kind::Nothing) {
            return true;
        }
        match self {
            Self::Any => true,
            Self::Text | Self::Choice(_) => kind == Kind::Text,
            Self::Number => match constant {
                Some(Val::One(Scalar::Text(text))) => parse_number(text).is_some(),
                _ => matches!(kind, Kind::Number | Kind::Text),
            },
            Self::Binary => kind == Kind::Binary,
            Self::Content => matches!(kind, Kind::Text | Kind::Binary),
            Self::Date => kind == Kind::Date,
            Self::Name => matches!(kind, Kind::Text | Kind::Reference),
        }
    }
}

impl Function {
    /// `Left(s, n)`: the form of a call, for messages.
    pub(super) fn signature(&self) -> String {
        let mut text = format!("{}(", self.name);
        for (index, parameter) in self.parameters.iter().enumerate() {
            let (separator, optional) = (if index == 0 { "" } else { ", " }, index >= self.required);
            if optional {
                text.push('[');
            }
            text.push_str(separator);
            text.push_str(parameter.name);
            if optional {
                text.push(']');
            }
        }
        text.push_str(if self.variadic { ", …)" } else { ")" });
        text
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A parameter that takes one value; lists are mapped.
const fn each(name: &'static str, accepts: Accepts) -> Parameter {
    Parameter { name, accepts, whole: false }
}

/// A parameter that takes a list as a whole.
const fn whole(name: &'static str, accepts: Accepts) -> Parameter {
    Parameter { name, accepts, whole: true }
}

/// A row of a table; every parameter required.
const fn function(name: &'static str, parameters: &'static [Parameter], result: Kind, body: PlainBody) -> Function {
    Function { name, parameters, required: parameters.len(), variadic: false, result, volatile: false, body: Body::Plain(body) }
}

impl Function {
    /// With the last parameters left to choice.
    const fn optional(mut self, required: usize) -> Self {
        self.required = required;
        self
    }

    /// Not the same at every call.
    const fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }
}

const GROUPS: &[&[Function]] = &[
    conversion::FUNCTIONS,
    date::FUNCTIONS,
    directory::FUNCTIONS,
    evaluation::FUNCTIONS,
    math::FUNCTIONS,
    multi::FUNCTIONS,
    flow::FUNCTIONS,
    text::FUNCTIONS,
    certificate::FUNCTIONS,
];

/// What the groups are called, in their order.
const GROUP_NAMES: [&str; 9] = ["conversion", "date and time", "directory", "evaluation", "math", "lists", "flow", "text", "certificates"];

/// The function of a name.
pub(super) fn find(name: &str) -> Option<&'static Function> {
    // The documentation heads one function GUID and calls it Guid: both are taken.
    let name = if name == "GUID" { "Guid" } else { name };
    GROUPS.iter().flat_map(|group| group.iter()).find(|function| function.name == name)
}

/// All names.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    GROUPS.iter().flat_map(|group| group.iter()).map(|function| function.name)
}

/// Every function with its group, for lists.
pub(crate) fn table() -> Vec<FunctionView> {
    let view = |group: &'static str, function: &Function| FunctionView {
        name: function.name,
        signature: function.signature(),
        group,
        gives: function.result.name(),
        parameters: function.parameters.iter().map(|parameter| (parameter.name.to_owned(), parameter.accepts.told())).collect(),
        about: about::of(function.name),
    };
    GROUP_NAMES.iter().zip(GROUPS).flat_map(|(group, functions)| functions.iter().map(move |function| view(group, function))).collect()
}

/// One call: its arguments, evaluated, and what is around it.
pub(super) struct Call<'c, 'a> {
    pub(super) context: &'c Context<'a>,
    pub(super) function: &'static Function,
    pub(super) arguments: &'c mut [Val<'a>],
}

impl<'a> Call<'_, 'a> {
    fn mismatch(&self, index: usize, wanted: &str, found: &str) -> Fault {
        let parameter = self.function.parameters.get(index).map_or("", |parameter| parameter.name);
        Fault::mismatch(format!("argument {} of {} ({parameter}) takes {wanted}, this is {found}", index + 1, self.function.name))
    }

    /// A bad value of an argument.
    fn bad(&self, message: impl fmt::Display) -> Fault {
        Fault::argument(format!("{}: {message}", self.function.name))
    }

    /// True when the argument was written.
    fn given(&self, index: usize) -> bool {
        index < self.arguments.len()
    }

    /// The argument as it is.
    fn take(&mut self, index: usize) -> Val<'a> {
        self.arguments.get_mut(index).map(std::mem::take).unwrap_or_default()
    }

    /// The argument as a list.
    fn list(&mut self, index: usize) -> Vec<Scalar<'a>> {
        self.take(index).into_list()
    }

    /// The argument as one value; nothing is `None`.
    fn scalar(&mut self, index: usize) -> Result<Option<Scalar<'a>>, Fault> {
        match self.take(index) {
            Val::One(scalar) => Ok(Some(scalar)),
            Val::Many(list) => Err(self.mismatch(index, "one value", &format!("a list of {}", list.len()))),
            Val::Null | Val::AuthoritativeNull | Val::Ignore => Ok(None),
        }
    }

    /// The argument as text; nothing is `None`.
    fn text(&mut self, index: usize) -> Result<Option<Cow<'a, str>>, Fault> {
        let Some(scalar) = self.scalar(index)? else { return Ok(None) };
        match self.context.plain_text(scalar)? {
            Ok(text) => Ok(Some(text)),
            Err(other) => Err(self.mismatch(index, "text", other.type_name())),
        }
    }

    /// The argument as text; nothing counts as the empty text.
    fn text_or_empty(&mut self, index: usize) -> Result<Cow<'a, str>, Fault> {
        Ok(self.text(index)?.unwrap_or_default())
    }

    /// The argument as a number; nothing is `None`.
    fn number(&mut self, index: usize) -> Result<Option<i64>, Fault> {
        match self.scalar(index)? {
            None => Ok(None),
            Some(Scalar::Number(number)) => Ok(Some(number)),
            Some(Scalar::Text(text)) => {
                parse_number(&text).map(Some).ok_or_else(|| self.mismatch(index, "a number", &format!("the text {text:?}")))
            }
            Some(other) => Err(self.mismatch(index, "a number", other.type_name())),
        }
    }

    /// The argument as a number that must be there.
    fn required_number(&mut self, index: usize) -> Result<i64, Fault> {
        self.number(index)?.ok_or_else(|| self.mismatch(index, "a number", "nothing"))
    }

    /// The argument as octets; nothing is `None`.
    fn octets(&mut self, index: usize) -> Result<Option<Cow<'a, [u8]>>, Fault> {
        let Some(scalar) = self.scalar(index)? else { return Ok(None) };
        match self.context.octets(scalar)? {
            Ok(bytes) => Ok(Some(bytes)),
            Err(other) => Err(self.mismatch(index, "octets", other.type_name())),
        }
    }

    /// The argument as a date in ticks; nothing is `None`.
    fn date(&mut self, index: usize) -> Result<Option<i64>, Fault> {
        match self.scalar(index)? {
            None => Ok(None),
            Some(Scalar::Date(ticks)) => Ok(Some(ticks)),
            Some(other) => Err(self.mismatch(index, "a date", other.type_name())),
        }
    }

    /// The word chosen, or `default` when the argument was not written.
    fn choice(&mut self, index: usize, default: &'static str) -> Result<Cow<'a, str>, Fault> {
        if !self.given(index) {
            return Ok(Cow::Borrowed(default));
        }
        let Some(word) = self.text(index)? else { return Ok(Cow::Borrowed(default)) };
        let Accepts::Choice(choices) = self.function.parameters[index].accepts else { return Ok(word) };
        match choices.iter().find(|choice| choice.eq_ignore_ascii_case(&word)) {
            Some(choice) => Ok(Cow::Borrowed(choice)),
            None => Err(self.bad(format_args!("{word:?} is none of {}", choices.join(", ")))),
        }
    }
}

/// The outcome of a call. Bodies share one signature, so results that cannot fail are wrapped here, in one place.
struct Given<'a>(Val<'a>);

impl<'a> From<Given<'a>> for Result<Val<'a>, Fault> {
    fn from(given: Given<'a>) -> Self {
        Ok(given.0)
    }
}

/// Text as a result.
fn text_result<'a>(text: impl Into<Cow<'a, str>>) -> Result<Val<'a>, Fault> {
    Given(Val::One(Scalar::Text(text.into()))).into()
}

/// Octets as a result.
fn binary_result<'a>(bytes: impl Into<Vec<u8>>) -> Result<Val<'a>, Fault> {
    Given(Val::One(Scalar::Binary(Cow::Owned(bytes.into())))).into()
}

/// A number as a result.
fn number_result<'a>(number: i64) -> Result<Val<'a>, Fault> {
    Given(Val::One(Scalar::Number(number))).into()
}

/// A length or position as a result.
fn count_result<'a>(count: usize) -> Result<Val<'a>, Fault> {
    number_result(i64::try_from(count).unwrap_or(i64::MAX))
}

/// A Boolean as a result.
fn boolean_result<'a>(boolean: bool) -> Result<Val<'a>, Fault> {
    Given(Val::One(Scalar::Boolean(boolean))).into()
}

/// A date as a result.
fn date_result<'a>(ticks: i64) -> Result<Val<'a>, Fault> {
    Given(Val::One(Scalar::Date(ticks))).into()
}

/// A list as a result.
fn list_result(list: Vec<Scalar<'_>>) -> Result<Val<'_>, Fault> {
    Given(Val::from_list(list)).into()
}
