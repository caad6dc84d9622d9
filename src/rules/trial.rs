//! Expressions on trial: compiled against the real schema and evaluated over one object, outside of any rule.

use super::expr::{
    self, AttributeLookup, AttributeRef, Context, Expression, Options, PARAMETERS, Resolve, Val, function_table, parse_boolean,
    parse_number,
};
use super::schema::{self, Space};
use super::shown::shown_scalars;
use super::{Direction, FlowOutcome, InputTrace, RuleSet, RunParameters};
use crate::model::closest;
use crate::model::{AttrId, AttributeSource, ConnectorId, Value, ValueKind};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

/// A compiled expression that belongs to no rule.
#[derive(Debug)]
pub struct Trial {
    expression: Expression,
    connector: ConnectorId,
}

/// Why a text is no expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} (line {line}, column {column})\n{excerpt}")]
pub struct TrialError {
    /// What is wrong.
    pub message: String,
    /// 1-based line.
    pub line: usize,
    /// 1-based column in characters.
    pub column: usize,
    /// The line with a caret under the place.
    pub excerpt: String,
    /// What to write instead.
    pub hint: Option<String>,
}

/// A function of the language as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FunctionView {
    /// Its name.
    pub name: &'static str,
    /// How it is called: `Left(s, n)`; what may be left out stands in square brackets.
    pub signature: String,
    /// The group of the reference.
    pub group: &'static str,
    /// What it gives: `text`, `a number`, …
    pub gives: &'static str,
    /// Its parameters with what they take.
    pub parameters: Vec<(String, String)>,
    /// What it does, in one line.
    pub about: &'static str,
}

/// All functions, by group and name.
pub fn functions() -> Vec<FunctionView> {
    function_table()
}

impl RuleSet {
    /// Compiles an expression as a rule of this connector and direction would have it. `parameters` are names beyond those
    /// that every connector knows.
    ///
    /// # Errors
    /// What is wrong and where, with a suggestion.
    pub fn trial(&self, text: &str, direction: Direction, connector: ConnectorId, parameters: &[&str]) -> Result<Trial, TrialError> {
        let resolver = Names { set: self, direction, space: self.schema.spaces.get(&connector), parameters };
        match expr::compile(text, &resolver, Options::default()) {
            Ok(expression) => Ok(Trial { expression, connector }),
            Err(error) => {
                Err(TrialError { message: error.message, line: error.line, column: error.column, excerpt: error.excerpt, hint: error.hint })
            }
        }
    }

    /// The type of an attribute as an expression of this connector and direction reads it; `None` when nobody can tell.
    pub fn attribute_kind(&self, name: &str, direction: Direction, connector: ConnectorId) -> Option<ValueKind> {
        let found = match direction {
            Direction::Inbound => self.schema.spaces.get(&connector)?.attribute(&self.names, name, true).ok(),
            Direction::Outbound => self.schema.metaverse.get(name),
        };
        found.and_then(|(_, kind)| kind.kind)
    }
}

impl Trial {
    /// The type of the result as far as it is known before evaluation.
    pub fn kind(&self) -> &'static str {
        self.expression.kind().name()
    }

    /// The attributes that it reads.
    pub fn reads(&self) -> Vec<AttrId> {
        self.expression.reads().iter().map(|attribute| attribute.id).collect()
    }

    /// Operators stand mixed without brackets here; the line with a caret.
    pub fn mixed_operators(&self) -> Option<String> {
        self.expression.mixed_operators()
    }

    /// Evaluates it over an object: what it reads, and what it gives.
    pub fn evaluate(&self, rules: &RuleSet, source: &dyn AttributeSource, run: &RunParameters) -> (Vec<InputTrace>, FlowOutcome) {
        let reads = self.expression.reads();
        let inputs = reads.iter().map(|attribute| InputTrace {
            attribute: rules.names.name(attribute.id).to_string(),
            found: rules.shown_attribute(source, *attribute),
        });
        let context = Context { source, run, connector: self.connector };
        let secret = rules.secret_among(reads);
        let outcome = match self.expression.evaluate(&context) {
            Ok(Val::Null) => FlowOutcome::Nothing,
            Ok(Val::AuthoritativeNull) => FlowOutcome::Removed,
            Ok(Val::Ignore) => FlowOutcome::Ignored,
            Ok(values) if secret => FlowOutcome::Values(rules.shown_result(source, reads, values.as_slice())),
            Ok(values) => FlowOutcome::Values(shown_scalars(source, values.as_slice())),
            Err(fault) if secret => FlowOutcome::Failed {
                code: fault.code.as_str().to_owned(),
                detail: "it reads a secret, so its message is not shown".to_owned(),
            },
            Err(fault) => FlowOutcome::Failed {
                code: fault.code.as_str().to_owned(),
                detail: format!("{}\n{}", fault.message, self.expression.point_at(&fault)),
            },
        };
        (inputs.collect(), outcome)
    }
}

/// A value that somebody typed, as an attribute of this type holds it: numbers, Booleans, octets in base64 or behind `0x`
/// in hexadecimal digits; else text.
///
/// # Errors
/// A sentence that says what to write.
pub fn made_value(text: &str, kind: Option<ValueKind>) -> Result<Value, String> {
    match kind {
        Some(ValueKind::Number) => parse_number(text).map(Value::Number).ok_or_else(|| format!("'{text}' is no number")),
        Some(ValueKind::Boolean) => parse_boolean(text).map(Value::Boolean).ok_or_else(|| format!("'{text}' is neither true nor false")),
        Some(ValueKind::Binary | ValueKind::LargeBinary) => {
            let octets = match text.strip_prefix("0x") {
                Some(digits) => hex::decode(digits).ok(),
                None => STANDARD.decode(text).ok(),
            };
            octets
                .map(|octets| Value::Binary(octets.into()))
                .ok_or_else(|| format!("'{text}' are no octets: write base64, or hexadecimal digits behind 0x"))
        }
        _ => Ok(Value::from(text)),
    }
}

/// Names as an expression on trial sees them.
struct Names<'t> {
    set: &'t RuleSet,
    direction: Direction,
    space: Option<&'t Space>,
    parameters: &'t [&'t str],
}

impl Resolve for Names<'_> {
    fn attribute(&self, name: &str) -> AttributeLookup {
        if name == "dn" {
            return AttributeLookup::Found(AttributeRef { id: AttrId::DN, kind: Some(ValueKind::Text) });
        }
        match (self.direction, self.space) {
            (Direction::Inbound, Some(space)) => schema::lookup(space.attribute(&self.set.names, name, false)),
            (Direction::Inbound, None) => AttributeLookup::Unknown { suggestion: None },
            (Direction::Outbound, _) => {
                let metaverse = &self.set.schema.metaverse;
                schema::lookup(metaverse.get(name).ok_or_else(|| metaverse.suggestion(name)))
            }
        }
    }

    fn parameter(&self, name: &str) -> Result<(), Option<String>> {
        let known = PARAMETERS.iter().chain(self.parameters).copied();
        if known.clone().any(|known| known == name) { Ok(()) } else { Err(closest(name, known)) }
    }

    fn inbound(&self) -> bool {
        self.direction == Direction::Inbound
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Object, compile_with, default_connectors, show, text};
    use super::super::{RuleSettings, is_secret};
    use super::*;
    use crate::model::Timestamp;

    fn set() -> RuleSet {
        compile_with(&default_connectors(), &RuleSettings::default(), "").unwrap_or_else(|problems| panic!("{}", show(&problems)))
    }

    fn run() -> RunParameters {
        RunParameters { now: Timestamp::from_seconds(1_700_000_000), ..RunParameters::default() }
    }

    #[test]
    fn an_expression_is_evaluated_as_in_a_rule() {
        let set = set();
        let object = Object::new(&set.names, "user", "CN=Ann,DC=x", &[("givenName", text("Ann")), ("userPassword", text("hunter2"))]);
        let evaluate = |expression: &str| {
            let trial = set.trial(expression, Direction::Inbound, ConnectorId(1), &[]).unwrap();
            trial.evaluate(&set, &object, &run())
        };
        let (inputs, outcome) = evaluate("UCase([givenName]) & [sn]");
        assert_eq!(inputs.iter().map(|input| input.found.to_string()).collect::<Vec<_>>(), ["\"Ann\"", "absent"]);
        assert!(matches!(outcome, FlowOutcome::Values(found) if found.to_string() == "\"ANN\""));
        assert_eq!(evaluate("IgnoreThisFlow").1, FlowOutcome::Ignored);
        assert!(matches!(evaluate("DNComponent([dn], 7)").1, FlowOutcome::Failed { detail, .. } if detail.contains('^')));
        assert!(is_secret("USERPASSWORD"));
        assert!(!format!("{:?}", evaluate("[userPassword] & \"!\"")).contains("hunter2"));
    }

    #[test]
    fn what_is_no_expression_is_told_with_caret_and_suggestion() {
        let set = set();
        let error = |text: &str, direction| set.trial(text, direction, ConnectorId(1), &["Own.Name"]).unwrap_err();
        let wrong = error("Lft([givenName], 3)", Direction::Inbound);
        assert!(wrong.hint.as_deref().is_some_and(|hint| hint.contains("Left")) && wrong.excerpt.contains("^^^"), "{wrong:?}");
        let wrong = error("[dispalyName]", Direction::Outbound);
        assert!(wrong.hint.as_deref().is_some_and(|hint| hint.contains("displayName")), "{wrong:?}");
        assert!(set.trial("%Own.Name% & %Domain.FQDN%", Direction::Inbound, ConnectorId(1), &["Own.Name"]).is_ok());
    }

    #[test]
    fn typed_values_have_the_attributes_type() {
        let set = set();
        let kind = |name| set.attribute_kind(name, Direction::Inbound, ConnectorId(1));
        assert_eq!(made_value("0xff", kind("objectSid")), Ok(Value::Binary([255].into())));
        assert_eq!(made_value("512", Some(ValueKind::Number)), Ok(Value::Number(512)));
        assert!(made_value("x", Some(ValueKind::Number)).is_err_and(|error| error.contains("no number")));
        assert_eq!(made_value("x", None), Ok(Value::from("x")));
    }

    #[test]
    fn every_function_says_what_it_does() {
        let all = functions();
        assert_eq!(all.len(), 89);
        for function in all {
            assert!(function.about.len() > 15 && function.about.ends_with('.') && !function.about.contains('\n'), "{function:?}");
            assert!(function.about.chars().count() <= 120, "{}", function.about);
        }
    }
}
