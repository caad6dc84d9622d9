//! Resolves names, checks types and folds constants: what can be found wrong is found before any object is read.

use super::functions::{self, Accepts, Body, Form, Function};
use super::lexer::Operator;
use super::parser::{self, Ast, AstKind};
use super::value::{Context, Val};
use super::{Expression, ExpressionError, Fault, Kind, Shape, Span, evaluate};
use crate::model::closest;
use crate::model::{AttrId, AttributeSource, Blob, ConnectorId, ObjectType, ValueKind, Values};
use crate::rules::RunParameters;

/// An attribute as a rule reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AttributeRef {
    pub(crate) id: AttrId,
    /// Its type, when a schema tells.
    pub(crate) kind: Option<ValueKind>,
}

impl AttributeRef {
    /// True for references, which are read apart from values.
    pub(crate) fn is_reference(self) -> bool {
        self.kind == Some(ValueKind::Reference)
    }
}

/// What a schema says of a name.
pub(crate) enum AttributeLookup {
    /// Known, or nobody can tell.
    Found(AttributeRef),
    /// The schema does not have it.
    Unknown {
        /// The closest name it has.
        suggestion: Option<String>,
    },
}

/// Where names come from.
pub(crate) trait Resolve {
    /// An attribute of the object that the expression reads.
    fn attribute(&self, name: &str) -> AttributeLookup;
    /// True when the parameter can have a value.
    fn parameter(&self, name: &str) -> Result<(), Option<String>>;
    /// Inbound rules read connector-space objects; only those have imported values.
    fn inbound(&self) -> bool;
}

/// How an expression is meant.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    /// `=` and its kin compare text exactly.
    pub(crate) exact: bool,
}

/// One step of a compiled expression.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) kind: NodeKind,
    pub(super) span: Span,
}

#[derive(Debug)]
pub(super) enum NodeKind {
    Constant(Val<'static>),
    Attribute(AttributeRef),
    /// A test of an attribute that need not load its values.
    Presence(AttributeRef, Presence),
    /// `ValueCount`, and `Count` of an attribute.
    CountOf(AttributeRef),
    Imported(AttributeRef),
    Parameter(Box<str>),
    Variable(usize),
    Negate(Box<Node>),
    Binary(Operator, Box<Node>, Box<Node>),
    Call(&'static Function, Box<[Node]>),
    Error(Box<Node>),
    If(Box<[Node; 3]>),
    Switch(Box<[(Node, Node)]>),
    With(Box<[Node; 2]>),
    Select(Box<[Node; 2]>),
    Where(Box<[Node; 2]>),
}

/// Tests that look at presence only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Null,
    NullOrEmpty,
    Present,
}

/// Functions that change nothing when they are applied to their own result.
const SETTLING: &[&str] = &["CStr", "LCase", "LTrim", "Left", "RTrim", "RemoveDuplicates", "Right", "Trim", "UCase"];

impl Node {
    fn constant(&self) -> Option<&Val<'static>> {
        if let NodeKind::Constant(value) = &self.kind { Some(value) } else { None }
    }

    /// See [`Expression::passes`]. False when the value is made, not passed on.
    pub(super) fn passes(&self, into: &mut Vec<AttrId>) -> bool {
        match &self.kind {
            NodeKind::Attribute(attribute) | NodeKind::Imported(attribute) => {
                into.push(attribute.id);
                true
            }
            NodeKind::Constant(_) | NodeKind::Parameter(_) | NodeKind::Error(_) | NodeKind::Presence(..) => true,
            NodeKind::If(parts) => parts[1].passes(into) && parts[2].passes(into),
            NodeKind::Switch(pairs) => pairs.iter().all(|(_, value)| value.passes(into)),
            // What these leave of a value, they leave as it is the next time.
            NodeKind::Call(function, arguments) if SETTLING.contains(&function.name) => {
                arguments.first().is_some_and(|argument| argument.passes(into))
            }
            _ => false,
        }
    }

    /// See [`Expression::shape`].
    pub(super) fn shape(&self) -> Shape {
        let as_trim = |node: &Node| {
            let NodeKind::Call(function, arguments) = &node.kind else { return None };
            if function.name != "Trim" {
                return None;
            }
            arguments.first().map(|argument| match &argument.kind {
                NodeKind::Attribute(attribute) => (*attribute, false),
                NodeKind::Call(item, list) if item.name == "Item" => match (&list[0].kind, list[1].constant()) {
                    (NodeKind::Attribute(attribute), Some(Val::One(super::Scalar::Number(1)))) => (*attribute, true),
                    _ => (AttributeRef { id: AttrId::DN, kind: None }, false),
                },
                _ => (AttributeRef { id: AttrId::DN, kind: None }, false),
            })
        };
        // `[dn]` and references are read in another way; they are not worth a form of their own.
        let usable = |attribute: AttributeRef| attribute.id != AttrId::DN && !attribute.is_reference();
        let as_cut = |node: &Node| {
            let NodeKind::Call(function, arguments) = &node.kind else { return None };
            let cut = function.name == "Left" && arguments[1].constant() == Some(&Val::One(super::Scalar::Number(448)));
            if cut { as_trim(&arguments[0]).filter(|(attribute, _)| usable(*attribute)) } else { None }
        };
        match &self.kind {
            NodeKind::Attribute(attribute) if attribute.id != AttrId::DN => return Shape::Direct(*attribute),
            NodeKind::If(parts) => {
                if let (NodeKind::Presence(tested, Presence::NullOrEmpty), Some(Val::Null), Some((attribute, true))) =
                    (&parts[0].kind, parts[1].constant(), as_cut(&parts[2]))
                    && tested.id == attribute.id
                {
                    return Shape::FirstCut(attribute);
                }
            }
            NodeKind::Call(..) => {
                if let Some((attribute, false)) = as_trim(self).filter(|(attribute, _)| usable(*attribute)) {
                    return Shape::Trim(attribute);
                }
                if let Some((attribute, false)) = as_cut(self) {
                    return Shape::TrimCut(attribute);
                }
            }
            _ => {}
        }
        Shape::General
    }
}

/// Compiles an expression.
pub(crate) fn compile(text: &str, resolve: &dyn Resolve, options: Options) -> Result<Expression, ExpressionError> {
    let tree = parser::parse(text)?;
    let mut compiler = Compiler { text, resolve, variables: Vec::new(), reads: Vec::new(), volatile: false, options };
    let (node, kind) = compiler.node(&tree, true)?;
    let mut reads = compiler.reads;
    reads.sort_unstable();
    reads.dedup();
    Ok(Expression {
        text: text.into(),
        node,
        reads,
        kind,
        volatile: compiler.volatile,
        mixed: parser::mixed_operators(&tree),
        exact: options.exact,
    })
}

struct Compiler<'t> {
    text: &'t str,
    resolve: &'t dyn Resolve,
    variables: Vec<(String, Kind)>,
    reads: Vec<AttributeRef>,
    volatile: bool,
    options: Options,
}

type Compiled = Result<(Node, Kind), ExpressionError>;

impl Compiler<'_> {
    fn error(&self, span: Span, message: impl Into<String>) -> ExpressionError {
        ExpressionError::new(self.text, span, message)
    }

    /// `result` is true where the value of the node may become the value of the whole expression.
    fn node(&mut self, tree: &Ast, result: bool) -> Compiled {
        let span = tree.span;
        let constant = |value: Val<'static>, kind: Kind| Ok((Node { kind: NodeKind::Constant(value), span }, kind));
        match &tree.kind {
            AstKind::Null => constant(Val::Null, Kind::Nothing),
            AstKind::AuthoritativeNull | AstKind::IgnoreThisFlow if !result => Err(self
                .error(span, "AuthoritativeNull and IgnoreThisFlow are results of a whole flow, not operands or arguments")
                .hint("use them in a branch of IIF or Switch that is the flow's result, or use NULL")),
            AstKind::AuthoritativeNull => constant(Val::AuthoritativeNull, Kind::Nothing),
            AstKind::IgnoreThisFlow => constant(Val::Ignore, Kind::Nothing),
            AstKind::Number(number) => constant(Val::One(super::Scalar::Number(*number)), Kind::Number),
            AstKind::Boolean(boolean) => constant(Val::One(super::Scalar::Boolean(*boolean)), Kind::Boolean),
            AstKind::Text(text) => constant(Val::One(super::Scalar::text(text.as_str())), Kind::Text),
            AstKind::Word(word) => Err(self.bare_word(span, word)),
            AstKind::Attribute(name) => {
                let attribute = self.attribute(span, name)?;
                Ok((Node { kind: NodeKind::Attribute(attribute), span }, kind_of(attribute)))
            }
            AstKind::Parameter(name) => match self.resolve.parameter(name) {
                Ok(()) => Ok((Node { kind: NodeKind::Parameter(name.as_str().into()), span }, Kind::Any)),
                Err(suggestion) => {
                    let error = self.error(span, format!("unknown parameter %{name}%"));
                    Err(match suggestion {
                        Some(close) => error.hint(format!("did you mean %{close}%?")),
                        None => error.hint("add it to the connector's parameters, or see the list in docs/rules.md"),
                    })
                }
            },
            AstKind::Variable(name) => {
                if let Some(slot) = self.variables.iter().rposition(|(known, _)| known == name) {
                    return Ok((Node { kind: NodeKind::Variable(slot), span }, self.variables[slot].1));
                }
                let error = self.error(span, format!("the variable ${name} is not bound here"));
                Err(error.hint("With, Select and Where bind variables, for their last argument only"))
            }
            AstKind::Negate(inner) => {
                let (inner, kind) = self.node(inner, false)?;
                self.expect_number(inner.span, kind, "-")?;
                Ok((self.fold(NodeKind::Negate(Box::new(inner)), span), Kind::Number))
            }
            AstKind::Binary(operator, left, right) => self.binary(*operator, left, right, span),
            AstKind::Call(name, arguments) => self.call(name, arguments, span, result),
        }
    }

    fn bare_word(&self, span: Span, word: &str) -> ExpressionError {
        let error = self.error(span, format!("the word {word} has no meaning here"));
        let literals = ["True", "False", "NULL", "AuthoritativeNull", "IgnoreThisFlow", "CRLF"];
        if let Some(close) = closest(word, literals) {
            return error.hint(format!("did you mean {close}?"));
        }
        match self.resolve.attribute(word) {
            AttributeLookup::Found(_) => {
                error.hint(format!("an attribute stands in square brackets: [{word}]; text in double quotation marks"))
            }
            AttributeLookup::Unknown { .. } => error.hint(format!("text stands in double quotation marks: \"{word}\"")),
        }
    }

    fn attribute(&mut self, span: Span, name: &str) -> Result<AttributeRef, ExpressionError> {
        match self.resolve.attribute(name) {
            AttributeLookup::Found(attribute) => {
                self.reads.push(attribute);
                Ok(attribute)
            }
            AttributeLookup::Unknown { suggestion } => {
                let error = self.error(span, format!("unknown attribute [{name}]"));
                Err(match suggestion {
                    Some(close) => error.hint(format!("did you mean [{close}]? Names are case-sensitive")),
                    None => error.hint("the schema on this side of the rule has no such attribute"),
                })
            }
        }
    }

    fn expect_number(&self, span: Span, kind: Kind, sign: &str) -> Result<(), ExpressionError> {
        match kind {
            Kind::Any | Kind::Nothing | Kind::Number | Kind::Text => Ok(()),
            other => Err(self.error(span, format!("'{sign}' works on numbers, this is {}", other.name()))),
        }
    }

    fn expect_condition(&self, span: Span, kind: Kind, what: &str) -> Result<(), ExpressionError> {
        match kind {
            Kind::Any | Kind::Nothing | Kind::Boolean => Ok(()),
            other => {
                Err(self.error(span, format!("{what} must be True or False, this is {}", other.name())).hint("compare it, or use CBool"))
            }
        }
    }

    fn binary(&mut self, operator: Operator, left: &Ast, right: &Ast, span: Span) -> Compiled {
        let (left, left_kind) = self.node(left, false)?;
        let (right, right_kind) = self.node(right, false)?;
        let kind = match operator {
            Operator::Add | Operator::Subtract | Operator::Multiply | Operator::Divide => {
                self.expect_number(left.span, left_kind, operator.sign())?;
                self.expect_number(right.span, right_kind, operator.sign())?;
                Kind::Number
            }
            Operator::Concatenate if matches!((left_kind, right_kind), (Kind::Binary, Kind::Binary)) => Kind::Binary,
            Operator::Concatenate => {
                for (node, kind) in [(&left, left_kind), (&right, right_kind)] {
                    if matches!(kind, Kind::Binary | Kind::Date) {
                        let error = self.error(node.span, format!("{} has no text form that '&' could append", kind.name()));
                        return Err(error.hint("use ConvertToBase64 for octets, FormatDateTime for dates"));
                    }
                }
                Kind::Text
            }
            Operator::And | Operator::Or => {
                let what = format!("an operand of '{}'", operator.sign());
                self.expect_condition(left.span, left_kind, &what)?;
                self.expect_condition(right.span, right_kind, &what)?;
                Kind::Boolean
            }
            _ => {
                if !comparable(left_kind, right_kind) {
                    return Err(self.error(span, format!("{} cannot be compared with {}", left_kind.name(), right_kind.name())));
                }
                Kind::Boolean
            }
        };
        Ok((self.fold(NodeKind::Binary(operator, Box::new(left), Box::new(right)), span), kind))
    }

    fn call(&mut self, name: &str, arguments: &[Ast], span: Span, result: bool) -> Compiled {
        let Some(function) = functions::find(name) else {
            let error = self.error(span, format!("unknown function {name}"));
            return Err(match closest(name, functions::names()) {
                Some(close) => error.hint(format!("did you mean {close}? Names are case-sensitive")),
                None => error.hint("docs/rules.md lists all functions"),
            });
        };
        let most = if function.variadic { usize::MAX } else { function.parameters.len() };
        if arguments.len() < function.required || arguments.len() > most {
            let wanted = match (function.required, most) {
                (required, usize::MAX) => format!("at least {required}"),
                (required, most) if required == most => format!("{most}"),
                (required, most) => format!("{required} to {most}"),
            };
            let error = self.error(span, format!("{name} takes {wanted} arguments, here are {}", arguments.len()));
            return Err(error.hint(function.signature()));
        }
        self.volatile |= function.volatile;
        match function.body {
            Body::Form(form) => self.form(function, form, arguments, span, result),
            Body::Plain(_) => self.plain(function, arguments, span),
        }
    }

    fn plain(&mut self, function: &'static Function, arguments: &[Ast], span: Span) -> Compiled {
        let mut nodes = Vec::with_capacity(arguments.len());
        let mut gives = function.result;
        for (index, argument) in arguments.iter().enumerate() {
            let parameter = &function.parameters[index];
            if let Accepts::Choice(choices) = parameter.accepts
                && let AstKind::Word(word) | AstKind::Text(word) = &argument.kind
            {
                let Some(choice) = choices.iter().find(|choice| choice.eq_ignore_ascii_case(word)) else {
                    let error = self.error(argument.span, format!("{} knows no {word} here", function.name));
                    return Err(error.hint(format!("one of {}", choices.join(", "))));
                };
                let value = Val::One(super::Scalar::text(*choice));
                nodes.push(Node { kind: NodeKind::Constant(value), span: argument.span });
                continue;
            }
            let (node, kind) = self.node(argument, false)?;
            if !parameter.accepts.admits(kind, node.constant()) {
                let message =
                    format!("argument {} of {} takes {}, this is {}", index + 1, function.name, parameter.accepts.name(), kind.name());
                return Err(self.error(argument.span, message).hint(function.signature()));
            }
            // The one function that gives what it takes: a piece of text is text, a piece of octets is octets.
            if index == 0 && kind == Kind::Binary && function.name == "Mid" {
                gives = Kind::Binary;
            }
            nodes.push(node);
        }
        if let ("IsNull" | "IsNullOrEmpty" | "IsPresent" | "Count", [Node { kind: NodeKind::Attribute(attribute), .. }]) =
            (function.name, nodes.as_slice())
            && attribute.id != AttrId::DN
        {
            let kind = match function.name {
                "IsNull" => NodeKind::Presence(*attribute, Presence::Null),
                "IsPresent" => NodeKind::Presence(*attribute, Presence::Present),
                "IsNullOrEmpty" => NodeKind::Presence(*attribute, Presence::NullOrEmpty),
                _ => NodeKind::CountOf(*attribute),
            };
            return Ok((Node { kind, span }, function.result));
        }
        let kind = NodeKind::Call(function, nodes.into_boxed_slice());
        let node = if function.volatile { Node { kind, span } } else { self.fold(kind, span) };
        Ok((node, gives))
    }

    fn form(&mut self, function: &'static Function, form: Form, arguments: &[Ast], span: Span, result: bool) -> Compiled {
        match form {
            Form::If => {
                let (condition, kind) = self.node(&arguments[0], false)?;
                self.expect_condition(condition.span, kind, "the condition of IIF")?;
                let (then, then_kind) = self.node(&arguments[1], result)?;
                let (otherwise, otherwise_kind) = self.node(&arguments[2], result)?;
                Ok((Node { kind: NodeKind::If(Box::new([condition, then, otherwise])), span }, then_kind.or(otherwise_kind)))
            }
            Form::Switch => {
                if !arguments.len().is_multiple_of(2) {
                    let error = self.error(span, format!("Switch takes pairs, here are {} arguments", arguments.len()));
                    return Err(error.hint(function.signature()));
                }
                let mut pairs = Vec::with_capacity(arguments.len() / 2);
                let mut all = Kind::Nothing;
                for pair in arguments.chunks_exact(2) {
                    let (condition, kind) = self.node(&pair[0], false)?;
                    self.expect_condition(condition.span, kind, "a condition of Switch")?;
                    let (value, kind) = self.node(&pair[1], result)?;
                    all = all.or(kind);
                    pairs.push((condition, value));
                }
                Ok((Node { kind: NodeKind::Switch(pairs.into_boxed_slice()), span }, all))
            }
            Form::Error => {
                let (message, _) = self.node(&arguments[0], false)?;
                Ok((Node { kind: NodeKind::Error(Box::new(message)), span }, Kind::Nothing))
            }
            Form::With | Form::Select | Form::Where => {
                let AstKind::Variable(variable) = &arguments[0].kind else {
                    let error = self.error(arguments[0].span, format!("the first argument of {} is a variable", function.name));
                    return Err(error.hint(function.signature()));
                };
                let (bound, bound_kind) = self.node(&arguments[1], false)?;
                self.variables.push((variable.clone(), bound_kind));
                let body = self.node(&arguments[2], result && form == Form::With);
                self.variables.pop();
                let (body, body_kind) = body?;
                let parts = Box::new([bound, body]);
                Ok(match form {
                    Form::With => (Node { kind: NodeKind::With(parts), span }, body_kind),
                    Form::Select => (Node { kind: NodeKind::Select(parts), span }, body_kind),
                    _ => {
                        self.expect_condition(parts[1].span, body_kind, "the condition of Where")?;
                        (Node { kind: NodeKind::Where(parts), span }, bound_kind)
                    }
                })
            }
            Form::ImportedValue | Form::ValueCount => {
                let AstKind::Text(attribute) = &arguments[0].kind else {
                    let error =
                        self.error(arguments[0].span, format!("{} takes the name of an attribute in quotation marks", function.name));
                    return Err(error.hint(function.signature()));
                };
                if form == Form::ImportedValue && !self.resolve.inbound() {
                    return Err(self.error(span, "ImportedValue reads connector spaces: it works in inbound rules only"));
                }
                let attribute = self.attribute(arguments[0].span, attribute)?;
                Ok(if form == Form::ValueCount {
                    (Node { kind: NodeKind::CountOf(attribute), span }, Kind::Number)
                } else {
                    (Node { kind: NodeKind::Imported(attribute), span }, kind_of(attribute))
                })
            }
        }
    }

    /// A step whose operands are all constant becomes its value, unless evaluating it fails: the failure then
    /// belongs to the objects that reach it.
    fn fold(&self, kind: NodeKind, span: Span) -> Node {
        let node = Node { kind, span };
        let constant = match &node.kind {
            NodeKind::Negate(inner) => inner.constant().is_some(),
            NodeKind::Binary(_, left, right) => left.constant().is_some() && right.constant().is_some(),
            NodeKind::Call(_, arguments) => arguments.iter().all(|argument| argument.constant().is_some()),
            _ => false,
        };
        if !constant {
            return node;
        }
        let run = RunParameters::default();
        let context = Context { source: &Nothing, run: &run, connector: ConnectorId(0) };
        let folded: Result<Val<'static>, Fault> = evaluate::evaluate(&node, &context, self.options.exact).map(Val::into_owned);
        match folded {
            Ok(value) => Node { kind: NodeKind::Constant(value), span },
            Err(_) => node,
        }
    }
}

fn kind_of(attribute: AttributeRef) -> Kind {
    if attribute.id == AttrId::DN {
        return Kind::Text;
    }
    // A connector may deliver text where a schema says number or Boolean (LDIF, OpenLDAP without schema), and it
    // then counts by its content. So only the other types are certain before evaluation.
    match attribute.kind {
        Some(ValueKind::Reference) => Kind::Reference,
        Some(ValueKind::Binary | ValueKind::LargeBinary) => Kind::Binary,
        _ => Kind::Any,
    }
}

fn comparable(left: Kind, right: Kind) -> bool {
    let scalar = |kind| matches!(kind, Kind::Text | Kind::Number);
    let named = |kind| matches!(kind, Kind::Text | Kind::Reference);
    left == right
        || matches!(left, Kind::Any | Kind::Nothing)
        || matches!(right, Kind::Any | Kind::Nothing)
        || (scalar(left) && scalar(right))
        || (named(left) && named(right))
        || matches!((left, right), (Kind::Boolean, Kind::Text) | (Kind::Text, Kind::Boolean))
}

/// The object that constants are folded against: it has nothing.
struct Nothing;

impl AttributeSource for Nothing {
    fn object_type(&self) -> ObjectType {
        ObjectType(0)
    }
    fn dn(&self) -> &'static str {
        ""
    }
    fn values(&self, _: AttrId) -> Values<'_> {
        Values::none()
    }
    fn imported_values(&self, _: AttrId) -> Values<'_> {
        Values::none()
    }
    fn count(&self, _: AttrId) -> u64 {
        0
    }
    fn references(&self, _: AttrId) -> Vec<u64> {
        Vec::new()
    }
    fn reference_dn(&self, _: u64) -> Option<String> {
        None
    }
    fn blob(&self, _: Blob) -> Option<Vec<u8>> {
        None
    }
}
