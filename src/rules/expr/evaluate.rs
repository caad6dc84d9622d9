//! Walks a compiled expression over one object. Branches and short circuits are taken lazily; functions of single
//! values map over lists (specification: expression functions, sections 2 and 3).

use super::Fault;
use super::compile::{AttributeRef, Node, NodeKind, Presence};
use super::functions::{ARGUMENTS_MAX, Body, Call, Function};
use super::lexer::Operator;
use super::value::{Context, Scalar, Val, compare, equal, parse_boolean, parse_number};
use crate::model::{AttrId, ObjectErrorCode, Values};
use std::borrow::Cow;
use std::cmp::Ordering;

type Outcome<'a> = Result<Val<'a>, Fault>;

/// Evaluates a whole expression.
pub(super) fn evaluate<'a>(node: &'a Node, context: &Context<'a>, exact: bool) -> Outcome<'a> {
    Evaluator { context, exact, variables: Vec::new() }.node(node)
}

struct Evaluator<'c, 'a> {
    context: &'c Context<'a>,
    exact: bool,
    variables: Vec<Val<'a>>,
}

impl<'a> Evaluator<'_, 'a> {
    fn node(&mut self, node: &'a Node) -> Outcome<'a> {
        self.step(node).map_err(|fault| fault.at(node.span))
    }

    fn step(&mut self, node: &'a Node) -> Outcome<'a> {
        match &node.kind {
            NodeKind::Constant(value) => Ok(value.reborrow()),
            NodeKind::Attribute(attribute) => Ok(self.attribute(*attribute)),
            NodeKind::Imported(attribute) => Ok(if attribute.is_reference() {
                self.references(attribute.id)
            } else {
                collect(self.context.source.imported_values(attribute.id))
            }),
            NodeKind::Presence(attribute, test) => Ok(boolean(self.presence(*attribute, *test))),
            NodeKind::CountOf(attribute) => {
                Ok(Val::One(Scalar::Number(i64::try_from(self.context.source.count(attribute.id)).unwrap_or(i64::MAX))))
            }
            NodeKind::Parameter(name) => Ok(self.context.parameter(name).map_or(Val::Null, |text| Val::One(Scalar::Text(text)))),
            NodeKind::Variable(slot) => Ok(self.variables.get(*slot).cloned().unwrap_or_default()),
            NodeKind::Negate(inner) => {
                let value = self.node(inner)?;
                map(value, |scalar| match scalar {
                    None => Ok(None),
                    Some(scalar) => number(scalar)?.checked_neg().map(|number| Some(Scalar::Number(number))).ok_or_else(overflow),
                })
            }
            NodeKind::Binary(operator, left, right) => self.binary(*operator, left, right),
            NodeKind::Call(function, arguments) => self.call(function, arguments),
            NodeKind::Error(message) => {
                let value = self.node(message)?;
                let mut text = String::new();
                for scalar in value.into_list() {
                    if !text.is_empty() {
                        text.push_str(", ");
                    }
                    text.push_str(&self.context.text_form(scalar)?);
                }
                Err(Fault { code: ObjectErrorCode::SYNC_RULE_ERROR_FUNCTION_TRIGGERED, message: text, span: None })
            }
            NodeKind::If(parts) => self.choose(parts),
            NodeKind::Switch(pairs) => {
                // All conditions are evaluated, as documented: an error in a later one fails the flow.
                let mut chosen = None;
                for (condition, value) in pairs {
                    let holds = single_truth(&self.node(condition)?)?;
                    if holds && chosen.is_none() {
                        chosen = Some(value);
                    }
                }
                chosen.map_or(Ok(Val::Null), |value| self.node(value))
            }
            NodeKind::With(parts) => {
                let bound = self.node(&parts[0])?;
                self.variables.push(bound);
                let result = self.node(&parts[1]);
                self.variables.pop();
                result
            }
            NodeKind::Select(parts) => {
                let list = self.node(&parts[0])?.into_list();
                let mut results = Vec::with_capacity(list.len());
                for item in list {
                    self.variables.push(Val::One(item));
                    let result = self.node(&parts[1]);
                    self.variables.pop();
                    results.extend(result?.into_list());
                }
                Ok(Val::from_list(results))
            }
            NodeKind::Where(parts) => {
                let list = self.node(&parts[0])?.into_list();
                let mut results = Vec::with_capacity(list.len());
                for item in list {
                    self.variables.push(Val::One(item.clone()));
                    let result = self.node(&parts[1]);
                    self.variables.pop();
                    if single_truth(&result?)? {
                        results.push(item);
                    }
                }
                Ok(Val::from_list(results))
            }
        }
    }

    fn attribute(&self, attribute: AttributeRef) -> Val<'a> {
        if attribute.id == AttrId::DN {
            let dn = self.context.source.dn();
            return if dn.is_empty() { Val::Null } else { Val::One(Scalar::Text(Cow::Borrowed(dn))) };
        }
        if attribute.is_reference() { self.references(attribute.id) } else { collect(self.context.source.values(attribute.id)) }
    }

    fn references(&self, attribute: AttrId) -> Val<'a> {
        Val::from_list(self.context.source.references(attribute).into_iter().map(Scalar::Reference).collect())
    }

    fn presence(&self, attribute: AttributeRef, test: Presence) -> bool {
        if attribute.is_reference() {
            let any = self.context.source.count(attribute.id) > 0;
            return any == (test == Presence::Present);
        }
        let mut values = self.context.source.values(attribute.id);
        match test {
            Presence::Null => values.next().is_none(),
            Presence::NullOrEmpty => values.all(|value| Scalar::from(value).is_empty_text()),
            Presence::Present => values.any(|value| !Scalar::from(value).is_empty_text()),
        }
    }

    fn binary(&mut self, operator: Operator, left: &'a Node, right: &'a Node) -> Outcome<'a> {
        let (context, exact) = (self.context, self.exact);
        let left = self.node(left)?;
        match operator {
            Operator::And | Operator::Or => {
                let stop = operator == Operator::Or;
                if !matches!(left, Val::Many(_)) && single_truth(&left)? == stop {
                    return Ok(boolean(stop));
                }
                let right = self.node(right)?;
                pair(left, right, |l, r| {
                    let (l, r) = (truth(l.as_ref())?, truth(r.as_ref())?);
                    Ok(Some(Scalar::Boolean(if stop { l || r } else { l && r })))
                })
            }
            Operator::Concatenate => {
                let right = self.node(right)?;
                pair(left, right, |l, r| concatenate(context, l, r))
            }
            Operator::Add | Operator::Subtract | Operator::Multiply | Operator::Divide => {
                let right = self.node(right)?;
                pair(left, right, |l, r| arithmetic(operator, l, r))
            }
            _ => {
                let right = self.node(right)?;
                pair(left, right, |l, r| {
                    let holds = match (l, r) {
                        (None, None) => operator == Operator::Equal,
                        (None, Some(_)) | (Some(_), None) => operator == Operator::NotEqual,
                        (Some(l), Some(r)) if matches!(operator, Operator::Equal | Operator::NotEqual) => {
                            equal(context, l, r, exact)? == (operator == Operator::Equal)
                        }
                        (Some(l), Some(r)) => ordered(operator, compare(context, l, r, exact)?),
                    };
                    Ok(Some(Scalar::Boolean(holds)))
                })
            }
        }
    }

    fn choose(&mut self, parts: &'a [Node; 3]) -> Outcome<'a> {
        let condition = self.node(&parts[0])?;
        let Val::Many(conditions) = condition else {
            return self.node(&parts[if single_truth(&condition)? { 1 } else { 2 }]);
        };
        let holds = conditions.iter().map(|scalar| truth(Some(scalar))).collect::<Result<Vec<bool>, Fault>>()?;
        let branch = |wanted: bool, node: &'a Node, evaluator: &mut Self| {
            if holds.contains(&wanted) { evaluator.node(node).map(Some) } else { Ok(None) }
        };
        let then = branch(true, &parts[1], self)?;
        let otherwise = branch(false, &parts[2], self)?;
        let mut results = Vec::with_capacity(holds.len());
        for (index, holds_here) in holds.iter().enumerate() {
            match if *holds_here { &then } else { &otherwise } {
                Some(Val::One(scalar)) => results.push(scalar.clone()),
                Some(Val::Many(list)) if list.len() == holds.len() => results.push(list[index].clone()),
                Some(Val::Many(list)) => return Err(lengths(holds.len(), list.len())),
                Some(Val::Null) | None => {}
                Some(Val::AuthoritativeNull | Val::Ignore) => {
                    return Err(Fault::argument("AuthoritativeNull and IgnoreThisFlow cannot stand for one value of a list"));
                }
            }
        }
        Ok(Val::from_list(results))
    }

    fn call(&mut self, function: &'static Function, nodes: &'a [Node]) -> Outcome<'a> {
        let Body::Plain(body) = function.body else {
            return Err(Fault::argument(format!("{} is a form, not a function", function.name)));
        };
        let mut values: [Val<'a>; ARGUMENTS_MAX] = Default::default();
        // A function that takes a list as a whole never runs once per value, also not per value of its other arguments
        // (specification: expression functions, section 3).
        let maps = !function.parameters.iter().any(|parameter| parameter.whole);
        let mut length: Option<usize> = None;
        for (index, node) in nodes.iter().enumerate() {
            values[index] = self.node(node)?;
            if let (true, Val::Many(list)) = (maps, &values[index]) {
                match length {
                    Some(known) if known != list.len() => return Err(lengths(known, list.len())),
                    _ => length = Some(list.len()),
                }
            }
        }
        let Some(length) = length else {
            return body(&mut Call { context: self.context, function, arguments: &mut values[..nodes.len()] });
        };
        let mut results = Vec::with_capacity(length);
        for element in 0..length {
            let mut one: [Val<'a>; ARGUMENTS_MAX] = Default::default();
            for index in 0..nodes.len() {
                one[index] = match &mut values[index] {
                    // Each element is used once, so it is taken, not copied.
                    Val::Many(list) => Val::One(std::mem::replace(&mut list[element], Scalar::Boolean(false))),
                    other => other.clone(),
                };
            }
            results.extend(body(&mut Call { context: self.context, function, arguments: &mut one[..nodes.len()] })?.into_list());
        }
        Ok(Val::from_list(results))
    }
}

fn collect(mut values: Values<'_>) -> Val<'_> {
    let Some(first) = values.next() else { return Val::Null };
    let Some(second) = values.next() else { return Val::One(first.into()) };
    let mut list = vec![first.into(), second.into()];
    list.extend(values.map(Scalar::from));
    Val::Many(list)
}

fn boolean<'a>(value: bool) -> Val<'a> {
    Val::One(Scalar::Boolean(value))
}

fn lengths(left: usize, right: usize) -> Fault {
    Fault::argument(format!("lists of {left} and {right} values cannot be combined value by value"))
}

fn overflow() -> Fault {
    Fault::argument("the result does not fit 64 bits")
}

/// Applies a step to every value, or once to nothing.
fn map<'a>(value: Val<'a>, mut step: impl FnMut(Option<Scalar<'a>>) -> Result<Option<Scalar<'a>>, Fault>) -> Outcome<'a> {
    match value {
        Val::One(scalar) => Ok(step(Some(scalar))?.map_or(Val::Null, Val::One)),
        Val::Many(list) => {
            let mut results = Vec::with_capacity(list.len());
            for scalar in list {
                results.extend(step(Some(scalar))?);
            }
            Ok(Val::from_list(results))
        }
        Val::Null | Val::AuthoritativeNull | Val::Ignore => Ok(step(None)?.map_or(Val::Null, Val::One)),
    }
}

/// Applies a step to pairs of values; a single value goes with every value of a list.
fn pair<'a>(
    left: Val<'a>,
    right: Val<'a>,
    mut step: impl FnMut(Option<Scalar<'a>>, Option<Scalar<'a>>) -> Result<Option<Scalar<'a>>, Fault>,
) -> Outcome<'a> {
    let single = |value: Val<'a>| if let Val::One(scalar) = value { Some(scalar) } else { None };
    match (left, right) {
        (Val::Many(left), Val::Many(right)) => {
            if left.len() != right.len() {
                return Err(lengths(left.len(), right.len()));
            }
            let mut results = Vec::with_capacity(left.len());
            for (l, r) in left.into_iter().zip(right) {
                results.extend(step(Some(l), Some(r))?);
            }
            Ok(Val::from_list(results))
        }
        (Val::Many(left), right) => {
            let right = single(right);
            map(Val::Many(left), |l| step(l, right.clone()))
        }
        (left, Val::Many(right)) => {
            let left = single(left);
            map(Val::Many(right), |r| step(left.clone(), r))
        }
        (left, right) => Ok(step(single(left), single(right))?.map_or(Val::Null, Val::One)),
    }
}

fn ordered(operator: Operator, ordering: Option<Ordering>) -> bool {
    match operator {
        Operator::Less => ordering == Some(Ordering::Less),
        Operator::LessOrEqual => matches!(ordering, Some(Ordering::Less | Ordering::Equal)),
        Operator::Greater => ordering == Some(Ordering::Greater),
        Operator::GreaterOrEqual => matches!(ordering, Some(Ordering::Greater | Ordering::Equal)),
        _ => false,
    }
}

/// The longest value that an expression makes, in octets: no directory holds a longer one.
const RESULT_MAX: usize = 16 << 20;

fn concatenate<'a>(context: &Context<'a>, left: Option<Scalar<'a>>, right: Option<Scalar<'a>>) -> Result<Option<Scalar<'a>>, Fault> {
    let (left, right) = match (left, right) {
        (Some(left @ (Scalar::Binary(_) | Scalar::LargeBinary(_))), Some(right @ (Scalar::Binary(_) | Scalar::LargeBinary(_)))) => {
            match (context.octets(left)?, context.octets(right)?) {
                (Ok(left), Ok(right)) if left.len() + right.len() > RESULT_MAX => {
                    return Err(Fault::argument(format!("&: the octets would be more than {RESULT_MAX}")));
                }
                (Ok(left), Ok(right)) => return Ok(Some(Scalar::Binary([left, right].concat().into()))),
                (left, right) => (left.err(), right.err()),
            }
        }
        (Some(one @ (Scalar::Binary(_) | Scalar::LargeBinary(_))), None)
        | (None, Some(one @ (Scalar::Binary(_) | Scalar::LargeBinary(_)))) => {
            return Ok(Some(one));
        }
        other => other,
    };
    let left = left.map(|scalar| context.text_form(scalar)).transpose()?;
    let right = right.map(|scalar| context.text_form(scalar)).transpose()?;
    Ok(match (left, right) {
        (None, None) => None,
        (Some(one), None) | (None, Some(one)) => Some(Scalar::Text(one)),
        (Some(left), Some(right)) => {
            if left.len() + right.len() > RESULT_MAX {
                return Err(Fault::argument(format!("&: the text would be longer than {RESULT_MAX} octets")));
            }
            let mut text = left.into_owned();
            text.push_str(&right);
            Some(Scalar::text(text))
        }
    })
}

fn arithmetic<'a>(operator: Operator, left: Option<Scalar<'a>>, right: Option<Scalar<'a>>) -> Result<Option<Scalar<'a>>, Fault> {
    let (Some(left), Some(right)) = (left, right) else { return Ok(None) };
    let (left, right) = (number(left)?, number(right)?);
    let result = match operator {
        Operator::Add => left.checked_add(right),
        Operator::Subtract => left.checked_sub(right),
        Operator::Multiply => left.checked_mul(right),
        _ if right == 0 => return Err(Fault::argument("division by zero")),
        _ => left.checked_div(right),
    };
    result.map(|number| Some(Scalar::Number(number))).ok_or_else(overflow)
}

fn number(scalar: Scalar<'_>) -> Result<i64, Fault> {
    match scalar {
        Scalar::Number(number) => Ok(number),
        Scalar::Text(text) => parse_number(&text).ok_or_else(|| Fault::mismatch(format!("{text:?} is no number"))),
        other => Err(Fault::mismatch(format!("a number is needed, this is {}", other.type_name()))),
    }
}

fn truth(scalar: Option<&Scalar<'_>>) -> Result<bool, Fault> {
    match scalar {
        None => Ok(false),
        Some(Scalar::Boolean(boolean)) => Ok(*boolean),
        Some(Scalar::Text(text)) if text.is_empty() => Ok(false),
        Some(Scalar::Text(text)) => {
            parse_boolean(text).ok_or_else(|| Fault::mismatch(format!("True or False is needed, this is the text {text:?}")))
        }
        Some(other) => Err(Fault::mismatch(format!("True or False is needed, this is {}", other.type_name()))),
    }
}

fn single_truth(value: &Val<'_>) -> Result<bool, Fault> {
    match value {
        Val::One(scalar) => truth(Some(scalar)),
        Val::Many(list) => Err(Fault::mismatch(format!("one condition is needed, this is a list of {}", list.len()))),
        Val::Null | Val::AuthoritativeNull | Val::Ignore => Ok(false),
    }
}
