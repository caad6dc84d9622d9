//! The part of `$filter` that administrators and synchronization need (OData 4.01, 5.1.1).

use crate::model::fold;
use serde_json::Value;

const MAX_LENGTH: usize = 4096;
const MAX_DEPTH: u32 = 16;

/// A condition on one object.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Filter {
    And(Vec<Filter>),
    Or(Vec<Filter>),
    Not(Box<Filter>),
    /// `path eq literal`, or `ne` when negated.
    Equal {
        path: String,
        value: Value,
        negated: bool,
    },
    /// `path in (…)`.
    In {
        path: String,
        values: Vec<Value>,
    },
    /// `startswith` or `endswith`.
    Affix {
        path: String,
        text: String,
        end: bool,
    },
    /// `path/any(x:condition)`; inside, the empty path is the element itself.
    Any {
        path: String,
        condition: Option<Box<Filter>>,
    },
}

/// Why a filter cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid filter clause: {0}")]
pub(super) struct FilterError(String);

impl Filter {
    /// Reads a condition.
    pub(super) fn parse(text: &str) -> Result<Self, FilterError> {
        if text.len() > MAX_LENGTH {
            return Err(FilterError("it is too long".to_owned()));
        }
        let mut parser = Parser { tokens: tokens(text)?, position: 0, variable: None, depth: 0 };
        let filter = parser.or()?;
        match parser.tokens.get(parser.position) {
            None => Ok(filter),
            Some(token) => Err(FilterError(format!("{token:?} is not expected there"))),
        }
    }

    /// All properties it looks at.
    pub(super) fn properties(&self, into: &mut Vec<String>) {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().for_each(|part| part.properties(into)),
            Self::Not(part) => part.properties(into),
            Self::Equal { path, .. } | Self::In { path, .. } | Self::Affix { path, .. } | Self::Any { path, .. } => {
                into.push(path.split('/').next().unwrap_or_default().to_owned());
            }
        }
    }

    /// Values of which the object must have one for sure, when the whole condition is a conjunction: path and texts.
    pub(super) fn demands(&self) -> Vec<(&str, Vec<&str>)> {
        match self {
            Self::And(parts) => parts.iter().flat_map(Self::demands).collect(),
            Self::Equal { path, value: Value::String(text), negated: false } => vec![(path, vec![text])],
            Self::In { path, values } => {
                // A value of another kind is in no index.
                let texts: Option<Vec<&str>> = values.iter().map(Value::as_str).collect();
                texts.map(|texts| (path.as_str(), texts)).into_iter().collect()
            }
            Self::Any { path, condition: Some(condition) } => match condition.as_ref() {
                Self::Equal { path: inner, value: Value::String(text), negated: false } if inner.is_empty() => vec![(path, vec![text])],
                _ => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    /// True when an object meets the condition only with an element in this list.
    pub(super) fn needs_element_of(&self, list: &str) -> bool {
        match self {
            Self::And(parts) => parts.iter().any(|part| part.needs_element_of(list)),
            Self::Any { path, .. } => path.eq_ignore_ascii_case(list),
            _ => false,
        }
    }

    /// True when the object meets the condition. Names and texts compare without case, immutable ids with it.
    pub(super) fn matches(&self, object: &Value) -> bool {
        match self {
            Self::And(parts) => parts.iter().all(|part| part.matches(object)),
            Self::Or(parts) => parts.iter().any(|part| part.matches(object)),
            Self::Not(part) => !part.matches(object),
            Self::Equal { path, value, negated } => same(path, at(object, path), value) != *negated,
            Self::In { path, values } => values.iter().any(|value| same(path, at(object, path), value)),
            Self::Affix { path, text, end } => at(object, path).as_str().is_some_and(|value| {
                let (value, text) = (fold(value), fold(text));
                if *end { value.ends_with(text.as_ref()) } else { value.starts_with(text.as_ref()) }
            }),
            Self::Any { path, condition } => at(object, path).as_array().is_some_and(|elements| match condition {
                None => !elements.is_empty(),
                Some(condition) => elements.iter().any(|element| condition.matches(element)),
            }),
        }
    }
}

fn same(path: &str, left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::String(left), Value::String(right)) if path.eq_ignore_ascii_case("onPremisesImmutableId") => left == right,
        (Value::String(left), Value::String(right)) => fold(left) == fold(right),
        _ => left == right,
    }
}

fn at<'a>(object: &'a Value, path: &str) -> &'a Value {
    if path.is_empty() {
        return object;
    }
    path.split('/').fold(object, |value, name| {
        let found =
            value.as_object().and_then(|map| map.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value));
        found.unwrap_or(&Value::Null)
    })
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Open,
    Close,
    Comma,
    Colon,
}

fn tokens(text: &str) -> Result<Vec<Token>, FilterError> {
    let mut tokens = Vec::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '(' => tokens.push(Token::Open),
            ')' => tokens.push(Token::Close),
            ',' => tokens.push(Token::Comma),
            ':' => tokens.push(Token::Colon),
            '\'' => {
                let mut literal = String::new();
                loop {
                    match characters.next() {
                        Some('\'') if characters.peek() == Some(&'\'') => {
                            characters.next();
                            literal.push('\'');
                        }
                        Some('\'') => break,
                        Some(character) => literal.push(character),
                        None => return Err(FilterError("a text has no end".to_owned())),
                    }
                }
                tokens.push(Token::Text(literal));
            }
            character if character.is_whitespace() => {}
            character if character.is_alphanumeric() || "_-./$".contains(character) => {
                let mut word = String::from(character);
                while let Some(next) = characters.peek().filter(|next| next.is_alphanumeric() || "_-./$".contains(**next)) {
                    word.push(*next);
                    characters.next();
                }
                tokens.push(Token::Word(word));
            }
            other => return Err(FilterError(format!("{other:?} is not expected there"))),
        }
    }
    Ok(tokens)
}

struct Parser {
    tokens: Vec<Token>,
    position: usize,
    /// The name of the element inside `any`.
    variable: Option<String>,
    depth: u32,
}

impl Parser {
    fn next(&mut self) -> Result<Token, FilterError> {
        let token = self.tokens.get(self.position).cloned().ok_or_else(|| FilterError("it ends too early".to_owned()))?;
        self.position += 1;
        Ok(token)
    }

    fn accept(&mut self, word: &str) -> bool {
        let found = matches!(self.tokens.get(self.position), Some(Token::Word(known)) if known.eq_ignore_ascii_case(word));
        self.position += usize::from(found);
        found
    }

    fn expect(&mut self, token: &Token) -> Result<(), FilterError> {
        let next = self.next()?;
        if next == *token { Ok(()) } else { Err(FilterError(format!("{next:?} stands where {token:?} should"))) }
    }

    fn or(&mut self) -> Result<Filter, FilterError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(FilterError("it is nested too deeply".to_owned()));
        }
        let mut parts = vec![self.and()?];
        while self.accept("or") {
            parts.push(self.and()?);
        }
        self.depth -= 1;
        Ok(if parts.len() == 1 { parts.swap_remove(0) } else { Filter::Or(parts) })
    }

    fn and(&mut self) -> Result<Filter, FilterError> {
        let mut parts = vec![self.unary()?];
        while self.accept("and") {
            parts.push(self.unary()?);
        }
        Ok(if parts.len() == 1 { parts.swap_remove(0) } else { Filter::And(parts) })
    }

    fn unary(&mut self) -> Result<Filter, FilterError> {
        let negated = self.accept("not");
        let filter = self.primary()?;
        Ok(if negated { Filter::Not(Box::new(filter)) } else { filter })
    }

    fn primary(&mut self) -> Result<Filter, FilterError> {
        let word = match self.next()? {
            Token::Open => {
                let filter = self.or()?;
                self.expect(&Token::Close)?;
                return Ok(filter);
            }
            Token::Word(word) => word,
            other => return Err(FilterError(format!("{other:?} is not expected there"))),
        };
        let affix = ["startswith", "endswith"].iter().position(|name| word.eq_ignore_ascii_case(name));
        if let Some(which) = affix {
            self.expect(&Token::Open)?;
            let path = self.path()?;
            self.expect(&Token::Comma)?;
            let Token::Text(text) = self.next()? else { return Err(FilterError(format!("{word} takes a text"))) };
            self.expect(&Token::Close)?;
            return Ok(Filter::Affix { path, text, end: which == 1 });
        }
        if let Some(path) = word.strip_suffix("/any") {
            return self.any(path.to_owned());
        }
        let path = self.relative(word);
        match self.next()? {
            Token::Word(operator) if operator.eq_ignore_ascii_case("eq") => {
                Ok(Filter::Equal { path, value: self.literal()?, negated: false })
            }
            Token::Word(operator) if operator.eq_ignore_ascii_case("ne") => {
                Ok(Filter::Equal { path, value: self.literal()?, negated: true })
            }
            Token::Word(operator) if operator.eq_ignore_ascii_case("in") => {
                self.expect(&Token::Open)?;
                let mut values = vec![self.literal()?];
                loop {
                    match self.next()? {
                        Token::Comma => values.push(self.literal()?),
                        Token::Close => return Ok(Filter::In { path, values }),
                        other => return Err(FilterError(format!("{other:?} stands in a list"))),
                    }
                }
            }
            other => Err(FilterError(format!("the operator {other:?} is not supported"))),
        }
    }

    fn any(&mut self, path: String) -> Result<Filter, FilterError> {
        self.expect(&Token::Open)?;
        if self.tokens.get(self.position) == Some(&Token::Close) {
            self.position += 1;
            return Ok(Filter::Any { path, condition: None });
        }
        let Token::Word(variable) = self.next()? else { return Err(FilterError("any takes a variable".to_owned())) };
        self.expect(&Token::Colon)?;
        let outer = self.variable.replace(variable);
        let condition = self.or()?;
        self.variable = outer;
        self.expect(&Token::Close)?;
        Ok(Filter::Any { path, condition: Some(Box::new(condition)) })
    }

    fn path(&mut self) -> Result<String, FilterError> {
        match self.next()? {
            Token::Word(word) => Ok(self.relative(word)),
            other => Err(FilterError(format!("{other:?} is no property"))),
        }
    }

    fn relative(&self, word: String) -> String {
        match &self.variable {
            Some(variable) if word == *variable => String::new(),
            Some(variable) => word.strip_prefix(variable).and_then(|rest| rest.strip_prefix('/')).map_or(word.clone(), str::to_owned),
            None => word,
        }
    }

    fn literal(&mut self) -> Result<Value, FilterError> {
        Ok(match self.next()? {
            Token::Text(text) => Value::String(text),
            Token::Word(word) if word.eq_ignore_ascii_case("true") => Value::Bool(true),
            Token::Word(word) if word.eq_ignore_ascii_case("false") => Value::Bool(false),
            Token::Word(word) if word.eq_ignore_ascii_case("null") => Value::Null,
            Token::Word(word) => match word.parse::<i64>() {
                Ok(number) => Value::from(number),
                Err(_) => return Err(FilterError(format!("{word} is no literal"))),
            },
            other => return Err(FilterError(format!("{other:?} is no literal"))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn conditions_are_read_and_met() {
        let user = json!({
            "displayName": "O'Neil", "onPremisesImmutableId": "Ab==", "onPremisesSyncEnabled": true, "mail": null,
            "proxyAddresses": ["SMTP:a@b.example", "smtp:c@b.example"],
            "onPremisesProvisioningErrors": [{"category": "PropertyConflict"}],
        });
        for (text, expected) in [
            ("displayName eq 'o''neil'", true),
            ("displayName ne 'o''neil'", false),
            ("onPremisesImmutableId eq 'Ab=='", true),
            ("onPremisesImmutableId eq 'ab=='", false),
            ("onPremisesSyncEnabled eq true and mail eq null", true),
            ("onPremisesSyncEnabled eq false or startswith(displayName,'o')", true),
            ("not (endswith(displayName,'x'))", true),
            ("proxyAddresses/any(p:p eq 'smtp:C@b.example')", true),
            ("proxyAddresses/any(p:startswith(p,'sip:'))", false),
            ("onPremisesProvisioningErrors/any(e:e/category eq 'PropertyConflict')", true),
            ("displayName in ('a','O''Neil')", true),
            ("surname eq 'x'", false),
        ] {
            assert_eq!(Filter::parse(text).unwrap().matches(&user), expected, "{text}");
        }
    }

    #[test]
    fn only_what_is_asked_of_every_object_needs_an_element() {
        let conflict = "onPremisesProvisioningErrors/any(e:e/category eq 'PropertyConflict')";
        for (text, expected) in [
            (conflict.to_owned(), true),
            (format!("accountEnabled eq true and {conflict}"), true),
            ("onpremisesprovisioningerrors/any()".to_owned(), true),
            (format!("accountEnabled eq true or {conflict}"), false),
            (format!("not ({conflict})"), false),
            ("proxyAddresses/any(p:p eq 'smtp:c@b.example')".to_owned(), false),
        ] {
            assert_eq!(Filter::parse(&text).unwrap().needs_element_of("onPremisesProvisioningErrors"), expected, "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let deep = format!("{}a eq 1{}", "(".repeat(40), ")".repeat(40));
        for text in [
            "",
            "displayName",
            "displayName gt 'a'",
            "displayName eq 'a",
            "displayName eq",
            "eq eq eq eq",
            "a eq b",
            "(a eq 1",
            "a eq 1 b",
            "a eq \u{1}",
            &deep,
        ] {
            assert!(Filter::parse(text).is_err(), "{text}");
        }
    }
}
