//! Reads rules from the script form that the rules editor exports. Nothing is executed: what is computed is refused.

use super::model::{EntraExport, EntraRule, FILE_MAX, ForeignFile, Place, is_guid, plain_guid};
use super::report::{Outcome, Report};
use super::script_tokens::{Part, Token, TokenKind, statements};
use super::words::{self, FlowType, short};
use crate::rules::{Direction, LinkType, PlainClause, PlainFlow, PlainJoin, PlainRule};
use std::collections::HashMap;
use std::sync::Arc;

/// Lists in lists beyond this depth are refused.
const DEPTH_MAX: usize = 16;

/// Reads one script into `export`.
pub(super) fn read(file: &ForeignFile, export: &mut EntraExport, report: &mut Report) {
    if file.text.len() > FILE_MAX {
        report.add(Outcome::Failed, &Place::of_file(&file.name), "file", format!("longer than {} MiB", FILE_MAX >> 20));
        return;
    }
    let (statements, error) = statements(&file.text);
    let mut script = Script { file: Arc::from(file.name.as_str()), variables: HashMap::new(), rules: Vec::new(), report };
    for statement in &statements {
        script.statement(statement);
    }
    if let Some(error) = error {
        let place = Place { file: Arc::clone(&script.file), line: error.line, column: error.column };
        script.report.add(Outcome::Failed, &place, "script", format!("{}; nothing behind it is read", error.message));
        // What is cut off may be a clause: a rule that was not finished is not taken.
    }
    for draft in script.rules {
        let subject = format!("rule \"{}\"", short(&draft.rule.rule.name));
        if draft.broken {
            // Told where it broke.
        } else if draft.added {
            export.rules.push(draft.rule);
        } else {
            report.add(Outcome::Failed, &draft.rule.place, subject, "the script does not add it (Add-ADSyncRule); it is left out");
        }
    }
}

/// What a variable or an argument is.
#[derive(Clone, Debug)]
enum Value {
    Text(String),
    Boolean(bool),
    Null,
    List(Vec<Value>),
    /// A rule that is being put together, by its place in the script.
    Rule(usize),
    Clause(PlainClause),
    Pair(PlainJoin),
    /// Something that only running the script would tell.
    Computed(&'static str),
}

impl Value {
    /// How many parts it has, those of its parts included.
    fn weight(&self) -> usize {
        if let Self::List(values) = self { 1 + values.iter().map(Self::weight).sum::<usize>() } else { 1 }
    }
}

/// The most parts of one value: scripts of rules list a few conditions.
const VALUES_MAX: usize = 10_000;

/// A rule that is being put together.
struct Draft {
    rule: EntraRule,
    added: bool,
    broken: bool,
}

struct Script<'r> {
    file: Arc<str>,
    variables: HashMap<String, Value>,
    rules: Vec<Draft>,
    report: &'r mut Report,
}

/// A command with its parameters; those without a value are switches.
struct Call<'t> {
    name: String,
    place: Place,
    parameters: Vec<(String, Option<Value>, &'t Token)>,
}

type Refused = (Place, String);

impl Script<'_> {
    fn place(&self, token: &Token) -> Place {
        Place { file: Arc::clone(&self.file), line: token.line, column: token.column }
    }

    fn statement(&mut self, tokens: &[Token]) {
        let Some(first) = tokens.first() else { return };
        if let Err((place, message)) = self.run(tokens) {
            let what = match &first.kind {
                TokenKind::Word(word) => format!("statement {}", short(word)),
                _ => "statement".to_owned(),
            };
            self.report.add(Outcome::Failed, &place, what, message);
            // A flow less is the same rule; anything else that was not understood would leave another one.
            let flow = matches!(&first.kind, TokenKind::Word(word) if word.eq_ignore_ascii_case("add-adsyncattributeflowmapping"));
            if !flow {
                self.break_rule(tokens);
                self.forget(tokens);
            }
        }
    }

    /// What a statement was to set holds nothing from before it.
    fn forget(&mut self, tokens: &[Token]) {
        let mut set = Vec::new();
        if let [Token { kind: TokenKind::Variable(name), .. }, Token { kind: TokenKind::Equals, .. }, ..] = tokens {
            set.push(name.clone());
        }
        for pair in tokens.windows(2) {
            if let [
                Token { kind: TokenKind::Parameter(parameter, _), .. },
                Token { kind: TokenKind::Word(name) | TokenKind::Text(name), .. },
            ] = pair
                && (parameter == "outvariable" || parameter == "ov")
            {
                set.push(name.trim_start_matches('+').to_lowercase());
            }
        }
        for name in set {
            self.variables.insert(name, Value::Computed("the result of a statement that could not be read"));
        }
    }

    fn run(&mut self, tokens: &[Token]) -> Result<(), Refused> {
        let (mut tokens, mut assigned) = (tokens, None);
        if let [Token { kind: TokenKind::Variable(name), .. }, Token { kind: TokenKind::Equals, .. }, rest @ ..] = tokens {
            (tokens, assigned) = (rest, Some(name.clone()));
        }
        // What a command prints goes nowhere.
        if let [rest @ .., Token { kind: TokenKind::Pipe, .. }, Token { kind: TokenKind::Word(word), .. }] = tokens
            && word.eq_ignore_ascii_case("Out-Null")
        {
            tokens = rest;
        }
        let Some(first) = tokens.first() else { return Ok(()) };
        let Token { kind: TokenKind::Word(name), .. } = first else {
            if assigned.is_none() && self.names_a_rule(tokens) {
                return Err((self.place(first), "this may change a rule, and is not understood; the rule is left out".to_owned()));
            }
            let value = self.arguments(tokens)?;
            if let (Some(variable), Some(value)) = (assigned, value) {
                if value.weight() > VALUES_MAX {
                    return Err((self.place(first), format!("a value of more than {VALUES_MAX} parts")));
                }
                self.variables.insert(variable, value);
            }
            return Ok(());
        };
        let name = name.to_ascii_lowercase();
        if SHOWN.contains(&name.as_str()) {
            return Ok(());
        }
        if let Some((_, note)) = OTHER.iter().find(|(known, _)| *known == name) {
            let place = self.place(first);
            self.report.counted(Outcome::NotTaken, &place, format!("statement {}", short(&name)), *note);
            return Ok(());
        }
        let known = [
            "new-adsyncrule",
            "add-adsyncattributeflowmapping",
            "new-object",
            "add-adsyncscopeconditiongroup",
            "add-adsyncjoinconditiongroup",
            "add-adsyncrule",
        ];
        if !known.contains(&name.as_str()) {
            if let Some(variable) = assigned {
                self.variables.insert(variable, Value::Computed("the result of a command"));
            }
            return Err((self.place(first), "this is not part of a rule and is not executed".to_owned()));
        }
        let call = match self.call(&name, first, tokens.get(1..).unwrap_or_default()) {
            Ok(call) => call,
            Err((place, message)) if name == "add-adsyncattributeflowmapping" => {
                return Err((place, format!("{message}; the flow is left out")));
            }
            Err((place, message)) => {
                self.break_rule(tokens);
                return Err((place, format!("{message}; the rule is left out")));
            }
        };
        let (value, out) = match call.name.as_str() {
            "new-adsyncrule" => self.new_rule(&call),
            "new-object" => self.new_object(&call),
            "add-adsyncattributeflowmapping" => self.flow(&call),
            "add-adsyncscopeconditiongroup" => self.scope(&call),
            "add-adsyncjoinconditiongroup" => self.join(&call),
            _ => self.add(&call),
        }?;
        for variable in [assigned, out].into_iter().flatten() {
            self.variables.insert(variable, value.clone());
        }
        Ok(())
    }

    fn names_a_rule(&self, tokens: &[Token]) -> bool {
        tokens
            .iter()
            .any(|token| matches!(&token.kind, TokenKind::Variable(name) if matches!(self.variables.get(name), Some(Value::Rule(_)))))
    }

    /// A statement about a rule could not be read: the rule would be another one without it.
    fn break_rule(&mut self, tokens: &[Token]) {
        for token in tokens {
            if let TokenKind::Variable(name) = &token.kind
                && let Some(Value::Rule(index)) = self.variables.get(name)
                && let Some(draft) = self.rules.get_mut(*index)
            {
                draft.broken = true;
            }
        }
    }

    fn call<'t>(&mut self, name: &str, first: &Token, tokens: &'t [Token]) -> Result<Call<'t>, Refused> {
        let mut call = Call { name: name.to_owned(), place: self.place(first), parameters: Vec::new() };
        let mut rest = tokens;
        while let [token, behind @ ..] = rest {
            let TokenKind::Parameter(parameter, _) = &token.kind else {
                return Err((self.place(token), "a parameter (-Name) is expected here".to_owned()));
            };
            let end = behind.iter().position(|token| matches!(token.kind, TokenKind::Parameter(..))).unwrap_or(behind.len());
            let (value, more) = behind.split_at(end);
            let value = self.arguments(value)?;
            call.parameters.push((parameter.clone(), value, token));
            rest = more;
        }
        Ok(call)
    }

    /// The value that tokens stand for; several with commas between them are a list. `None` for no token at all.
    fn arguments(&mut self, tokens: &[Token]) -> Result<Option<Value>, Refused> {
        let Some(first) = tokens.first() else { return Ok(None) };
        let mut at = 0;
        let value = self.list(tokens, &mut at, 0)?;
        match tokens.get(at) {
            None => Ok(Some(value)),
            Some(token) => match value {
                Value::Computed(_) => Ok(Some(value)),
                _ if matches!(token.kind, TokenKind::Word(_) | TokenKind::Block | TokenKind::Pipe | TokenKind::OpenBracket) => {
                    Ok(Some(Value::Computed("worked out when the script runs")))
                }
                _ => Err((self.place(first), "this value is not understood; write it out".to_owned())),
            },
        }
    }

    fn list(&mut self, tokens: &[Token], at: &mut usize, depth: usize) -> Result<Value, Refused> {
        let first = self.one(tokens, at, depth)?;
        let mut values = vec![first];
        while matches!(tokens.get(*at), Some(Token { kind: TokenKind::Comma, .. })) {
            *at += 1;
            values.push(self.one(tokens, at, depth)?);
        }
        if values.len() == 1 { Ok(values.swap_remove(0)) } else { Ok(Value::List(values)) }
    }

    fn one(&mut self, tokens: &[Token], at: &mut usize, depth: usize) -> Result<Value, Refused> {
        let Some(token) = tokens.get(*at) else {
            let place = tokens.last().map_or_else(|| Place::of_file(&self.file), |token| self.place(token));
            return Err((place, "a value is missing".to_owned()));
        };
        *at += 1;
        let value = match &token.kind {
            TokenKind::Text(text) | TokenKind::Word(text) => Value::Text(text.clone()),
            TokenKind::Template(parts) => self.filled(parts),
            TokenKind::Variable(name) => match name.as_str() {
                "true" => Value::Boolean(true),
                "false" => Value::Boolean(false),
                "null" => Value::Null,
                name => self.variables.get(name).cloned().unwrap_or(Value::Computed("the value of a variable that nothing here sets")),
            },
            TokenKind::Open if depth < DEPTH_MAX => {
                let value = if matches!(tokens.get(*at), Some(Token { kind: TokenKind::Close, .. })) {
                    Value::List(Vec::new())
                } else {
                    match self.list(tokens, at, depth + 1)? {
                        Value::List(values) => Value::List(values),
                        one => Value::List(vec![one]),
                    }
                };
                if !matches!(tokens.get(*at), Some(Token { kind: TokenKind::Close, .. })) {
                    return Ok(Value::Computed("the result of an expression"));
                }
                *at += 1;
                value
            }
            TokenKind::Block => return Ok(Value::Computed("the result of a program")),
            _ => return Err((self.place(token), "a value is expected here".to_owned())),
        };
        self.indexed(value, tokens, at)
    }

    /// `$variable[0]`: rules and conditions stand in lists of one.
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "one of a family of readers with one signature")]
    fn indexed(&self, value: Value, tokens: &[Token], at: &mut usize) -> Result<Value, Refused> {
        let Some(Token { kind: TokenKind::OpenBracket, .. }) = tokens.get(*at) else { return Ok(value) };
        let (Some(Token { kind: TokenKind::Word(index), .. }), Some(Token { kind: TokenKind::CloseBracket, .. })) =
            (tokens.get(*at + 1), tokens.get(*at + 2))
        else {
            return Ok(Value::Computed("an element whose place is worked out"));
        };
        *at += 3;
        Ok(match (value, index.as_str()) {
            (Value::List(values), index) => {
                let element = index.parse::<usize>().ok().and_then(|index| values.into_iter().nth(index));
                element.unwrap_or(Value::Computed("an element that is not there"))
            }
            (value @ (Value::Rule(_) | Value::Clause(_) | Value::Pair(_)), "0") => value,
            (Value::Computed(why), _) => Value::Computed(why),
            _ => Value::Computed("an element of something that is no list"),
        })
    }

    fn filled(&self, parts: &[Part]) -> Value {
        let mut text = String::new();
        for part in parts {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Computed => return Value::Computed("a text that is worked out when the script runs"),
                Part::Variable(name) => match self.variables.get(name) {
                    Some(Value::Text(value)) if text.len() + value.len() <= FILE_MAX => text.push_str(value),
                    _ => return Value::Computed("a text with a variable that nothing here sets"),
                },
            }
        }
        Value::Text(text)
    }

    fn new_rule(&mut self, call: &Call<'_>) -> Result<(Value, Option<String>), Refused> {
        let out = self.out(call)?;
        self.known(
            call,
            &[
                "name",
                "identifier",
                "description",
                "direction",
                "precedence",
                "precedenceafter",
                "precedencebefore",
                "sourceobjecttype",
                "targetobjecttype",
                "connector",
                "linktype",
                "softdeleteexpiryinterval",
                "immutabletag",
                "enablepasswordsync",
                "disabled",
            ],
        );
        let index = self.rules.len();
        let drafted = self.draft(call);
        let (rule, refused) = match drafted {
            Ok(rule) => (rule, None),
            Err(refused) => (nothing(&call.place), Some(refused)),
        };
        self.rules.push(Draft { rule, added: false, broken: refused.is_some() });
        // Also a rule that cannot be taken has its place, so that what follows belongs to it.
        if let Some(variable) = &out {
            self.variables.insert(variable.clone(), Value::Rule(index));
        }
        match refused {
            Some((place, message)) => {
                let name = self.text(call, "name").ok().flatten().unwrap_or_default();
                self.report.add(Outcome::Failed, &place, format!("rule \"{}\"", short(&name)), format!("{message}; the rule is left out"));
                Ok((Value::Rule(index), out))
            }
            None => Ok((Value::Rule(index), out)),
        }
    }

    fn draft(&mut self, call: &Call<'_>) -> Result<EntraRule, Refused> {
        let word = |script: &Self, name: &str| {
            let text = script.text(call, name)?.filter(|text| !text.trim().is_empty());
            text.ok_or_else(|| (call.place.clone(), format!("-{name} is missing")))
        };
        let at = |message: String| (call.place.clone(), message);
        let name = word(self, "name")?;
        let direction = words::direction(&word(self, "direction")?).map_err(at)?;
        let (source, target) = (word(self, "sourceobjecttype")?, word(self, "targetobjecttype")?);
        let (cs_type, mv_type) = if direction == Direction::Inbound { (source, target) } else { (target, source) };
        let connector = plain_guid(&word(self, "connector")?);
        if !is_guid(&connector) {
            return Err(at(format!("-connector \"{}\" is no GUID", short(&connector))));
        }
        for beside in ["precedenceafter", "precedencebefore", "softdeleteexpiryinterval"] {
            if let Ok(Some(value)) = self.text(call, beside) {
                let subject = if beside.starts_with("soft") { "softDeleteExpiryInterval" } else { "precedence-after" };
                words::beside(self.report, &call.place, subject, &value);
            }
        }
        let rule = PlainRule {
            direction,
            connector,
            cs_type,
            mv_type,
            link: words::link(&word(self, "linktype")?).map_err(at)?,
            order: words::precedence(&word(self, "precedence")?).map_err(at)?,
            description: self.text(call, "description")?.unwrap_or_default(),
            tag: self.text(call, "immutabletag")?.map(|tag| tag.trim().to_owned()).filter(|tag| !tag.is_empty()),
            password_sync: self.switch(call, "enablepasswordsync")?,
            enabled: !self.switch(call, "disabled")?,
            scope: Vec::new(),
            join: Vec::new(),
            flows: Vec::new(),
            name,
        };
        let id = match self.text(call, "identifier") {
            Ok(Some(id)) if is_guid(&plain_guid(&id)) => plain_guid(&id),
            // Made when the script ran: what tells rules apart here is their name.
            _ => format!("{}/{}", rule.connector, rule.name),
        };
        Ok(EntraRule { place: call.place.clone(), id, rule, flow_places: Vec::new() })
    }

    fn new_object(&mut self, call: &Call<'_>) -> Result<(Value, Option<String>), Refused> {
        let out = self.out(call)?;
        let refused = |message: String| (call.place.clone(), message);
        let kind = self.text(call, "typename")?.unwrap_or_default();
        let value = match call.parameters.iter().find(|(name, ..)| name == "argumentlist") {
            Some((_, Some(Value::List(values)), _)) => object(&kind, values).map_err(refused),
            Some((_, Some(Value::Computed(why)), _)) => Err(refused(format!("the arguments are {why}; write them out"))),
            _ => Err(refused(format!("an object of type \"{}\" without a list of arguments", short(&kind)))),
        };
        match value {
            Ok(value) => Ok((value, out)),
            Err(error) => {
                // The old value of the variable must not stand in for the new one.
                if let Some(variable) = out {
                    self.variables.insert(variable, Value::Computed("a condition that could not be read"));
                }
                Err(error)
            }
        }
    }

    fn flow(&mut self, call: &Call<'_>) -> Result<(Value, Option<String>), Refused> {
        let out = self.out(call)?;
        self.known(
            call,
            &["synchronizationrule", "source", "destination", "flowtype", "valuemergetype", "expression", "executeonce", "constantvalue"],
        );
        let index = self.rule(call)?;
        let at = |message: String| (call.place.clone(), message);
        let target = self.text(call, "destination")?.unwrap_or_default().trim().to_owned();
        if target.is_empty() {
            return Err(at("-Destination is missing".to_owned()));
        }
        let kind = words::flow_type(&self.text(call, "flowtype")?.unwrap_or_else(|| "Direct".to_owned())).map_err(at)?;
        let mut sources = self.texts(call, "source")?;
        if let (FlowType::Constant, true, Some(constant)) = (kind, sources.is_empty(), self.text(call, "constantvalue")?) {
            sources.push(constant);
        }
        let expression = self.text(call, "expression")?;
        let flow = PlainFlow {
            source: words::source(kind, &sources, expression.as_deref()).map_err(at)?,
            merge: words::merge(&self.text(call, "valuemergetype")?.unwrap_or_default()).map_err(at)?,
            once: self.switch(call, "executeonce")?,
            keep_when_absent: false,
            exact: false,
            target,
        };
        if let Some(draft) = self.rules.get_mut(index) {
            draft.rule.rule.flows.push(flow);
            draft.rule.flow_places.push(call.place.clone());
        }
        Ok((Value::Rule(index), out))
    }

    fn scope(&mut self, call: &Call<'_>) -> Result<(Value, Option<String>), Refused> {
        self.group(
            call,
            "scopeconditions",
            |value| match value {
                Value::Clause(clause) => Some(clause.clone()),
                _ => None,
            },
            |rule, group| rule.scope.push(group),
        )
    }

    fn join(&mut self, call: &Call<'_>) -> Result<(Value, Option<String>), Refused> {
        self.group(
            call,
            "joinconditions",
            |value| match value {
                Value::Pair(pair) => Some(pair.clone()),
                _ => None,
            },
            |rule, group| rule.join.push(group),
        )
    }

    /// A group of conditions. When one of them is not known, the rule is not taken: it would be for other objects.
    fn group<T>(
        &mut self,
        call: &Call<'_>,
        parameter: &str,
        wanted: fn(&Value) -> Option<T>,
        put: fn(&mut PlainRule, Vec<T>),
    ) -> Result<(Value, Option<String>), Refused> {
        let out = self.out(call)?;
        self.known(call, &["synchronizationrule", parameter]);
        let index = self.rule(call)?;
        let values: &[Value] = match call.parameters.iter().find(|(name, ..)| name == parameter) {
            Some((_, Some(Value::List(values)), _)) => values,
            Some((_, Some(one), _)) => std::slice::from_ref(one),
            _ => &[],
        };
        let group: Option<Vec<T>> = values.iter().map(wanted).collect();
        let Some(draft) = self.rules.get_mut(index) else { return Ok((Value::Rule(index), out)) };
        match group {
            Some(group) if !group.is_empty() => {
                put(&mut draft.rule.rule, group);
                Ok((Value::Rule(index), out))
            }
            _ => {
                draft.broken = true;
                let name = short(&draft.rule.rule.name);
                Err((call.place.clone(), format!("-{parameter} holds what is no condition; the rule \"{name}\" is left out")))
            }
        }
    }

    fn add(&mut self, call: &Call<'_>) -> Result<(Value, Option<String>), Refused> {
        let out = self.out(call)?;
        self.known(call, &["synchronizationrule"]);
        let index = self.rule(call)?;
        if let Some(draft) = self.rules.get_mut(index) {
            draft.added = true;
        }
        Ok((Value::Rule(index), out))
    }

    /// Reports parameters that nobody here knows.
    fn known(&mut self, call: &Call<'_>, known: &[&str]) {
        let common = ["outvariable", "verbose", "debug", "erroraction", "confirm", "whatif"];
        for (name, _, token) in &call.parameters {
            if !known.contains(&name.as_str()) && !common.contains(&name.as_str()) {
                let place = self.place(token);
                self.report.unknown_part(&place, format!("parameter -{} of {}", short(name), call.name));
            }
        }
    }

    #[expect(clippy::unused_self, reason = "one of a family that reads a parameter of a call")]
    fn rule(&self, call: &Call<'_>) -> Result<usize, Refused> {
        match call.parameters.iter().find(|(name, ..)| name == "synchronizationrule") {
            Some((_, Some(Value::Rule(index)), _)) => Ok(*index),
            _ => Err((call.place.clone(), "-SynchronizationRule names no rule that this script makes".to_owned())),
        }
    }

    fn out(&self, call: &Call<'_>) -> Result<Option<String>, Refused> {
        Ok(self.text(call, "outvariable")?.map(|name| name.trim_start_matches('+').to_lowercase()))
    }

    fn text(&self, call: &Call<'_>, name: &str) -> Result<Option<String>, Refused> {
        let Some((_, value, token)) = call.parameters.iter().find(|(known, ..)| known == name) else { return Ok(None) };
        match value {
            Some(Value::Text(text)) => Ok(Some(text.clone())),
            Some(Value::Null) => Ok(None),
            Some(Value::Boolean(flag)) => Ok(Some(if *flag { "True" } else { "False" }.to_owned())),
            Some(Value::Computed(why)) => Err((self.place(token), format!("-{name} is {why}; write it out"))),
            _ => Err((self.place(token), format!("-{name} takes one text"))),
        }
    }

    fn texts(&self, call: &Call<'_>, name: &str) -> Result<Vec<String>, Refused> {
        let Some((_, value, token)) = call.parameters.iter().find(|(known, ..)| known == name) else { return Ok(Vec::new()) };
        let values: &[Value] = match value {
            Some(Value::List(values)) => values,
            Some(one) => std::slice::from_ref(one),
            None => &[],
        };
        let texts: Option<Vec<String>> = values
            .iter()
            .map(|value| match value {
                Value::Text(text) => Some(text.clone()),
                Value::Boolean(flag) => Some(if *flag { "True" } else { "False" }.to_owned()),
                _ => None,
            })
            .collect();
        texts.ok_or_else(|| (self.place(token), format!("-{name} takes texts; write them out")))
    }

    fn switch(&self, call: &Call<'_>, name: &str) -> Result<bool, Refused> {
        let Some((_, value, token)) = call.parameters.iter().find(|(known, ..)| known == name) else { return Ok(false) };
        match value {
            None | Some(Value::Boolean(true)) => Ok(true),
            Some(Value::Boolean(false) | Value::Null) => Ok(false),
            Some(Value::Text(text)) => words::boolean(text).map_err(|message| (self.place(token), format!("-{name}: {message}"))),
            Some(_) => Err((self.place(token), format!("-{name} is $true or $false"))),
        }
    }
}

/// Statements that only show something.
const SHOWN: &[&str] = &["get-adsyncrule", "write-host", "write-output", "write-verbose"];

/// Statements that are no part of rules, and what is said of them.
const OTHER: &[(&str, &str)] = &[
    ("import-module", "modules are not needed here"),
    ("remove-variable", "variables are not needed here"),
    ("set-adsyncscheduler", "cycles are started from outside"),
    ("start-adsyncsynccycle", "a cycle is started by `syncline cycle start`"),
];

/// A condition from the arguments of its constructor.
fn object(kind: &str, values: &[Value]) -> Result<Value, String> {
    let kind = kind.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    match (kind.as_str(), values) {
        ("scopecondition", [Value::Text(attribute), value, Value::Text(operator)]) => {
            let operator = words::operator(operator)?;
            let value = match value {
                Value::Text(text) => text.clone(),
                Value::Null => String::new(),
                Value::Boolean(flag) => if *flag { "True" } else { "False" }.to_owned(),
                _ => return Err("the value of a condition is worked out when the script runs; write it out".to_owned()),
            };
            if attribute.trim().is_empty() {
                return Err("a condition without an attribute".to_owned());
            }
            let value = if operator.takes_value() { value } else { String::new() };
            Ok(Value::Clause(PlainClause { attribute: attribute.trim().to_owned(), operator, value }))
        }
        ("joincondition", [Value::Text(cs), Value::Text(mv), case]) => {
            let case_sensitive = match case {
                Value::Boolean(flag) => *flag,
                Value::Text(text) => words::boolean(text)?,
                _ => return Err("the last argument of a JoinCondition is $true or $false".to_owned()),
            };
            if cs.trim().is_empty() || mv.trim().is_empty() {
                return Err("a JoinCondition names two attributes".to_owned());
            }
            Ok(Value::Pair(PlainJoin { cs: cs.trim().to_owned(), mv: mv.trim().to_owned(), case_sensitive }))
        }
        ("scopecondition", _) => Err("a ScopeCondition takes an attribute, a value and an operator".to_owned()),
        ("joincondition", _) => Err("a JoinCondition takes two attributes, and $true or $false".to_owned()),
        _ => Err(format!("objects of type \"{}\" are not part of rules", short(&kind))),
    }
}

/// Stands in the place of a rule that could not be read.
fn nothing(place: &Place) -> EntraRule {
    let rule = PlainRule {
        name: String::new(),
        description: String::new(),
        tag: None,
        direction: Direction::Inbound,
        connector: String::new(),
        cs_type: String::new(),
        mv_type: String::new(),
        link: LinkType::Join,
        order: 0,
        password_sync: false,
        enabled: false,
        scope: Vec::new(),
        join: Vec::new(),
        flows: Vec::new(),
    };
    EntraRule { place: place.clone(), id: String::new(), rule, flow_places: Vec::new() }
}
