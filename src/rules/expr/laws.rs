//! Laws of the expression language: what is printed parses to the same tree, nothing panics, and compiled expressions give
//! what a naive walk over the tree gives, which knows neither folding nor fast forms (specification: expression functions,
//! sections 2, 3 and 7).

use super::parser::parse;
use super::print::{print, quoted, same};
use super::*;
use crate::model::{AttrId, ConnectorId, Names, Value};
use crate::rules::RunParameters;
use crate::rules::tests::{Object, text};
use proptest::prelude::*;
use std::sync::Arc;

/// Every name is an attribute of no certain type.
struct Permissive(Arc<Names>);

impl Resolve for Permissive {
    fn attribute(&self, name: &str) -> AttributeLookup {
        AttributeLookup::Found(AttributeRef { id: if name == "dn" { AttrId::DN } else { self.0.intern(name) }, kind: None })
    }
    fn parameter(&self, _: &str) -> Result<(), Option<String>> {
        Ok(())
    }
    fn inbound(&self) -> bool {
        true
    }
}

/// An expression as the naive walk knows it.
#[derive(Clone, Debug)]
enum Tree {
    Text(String),
    Number(i64),
    Boolean(bool),
    Null,
    Attribute(&'static str),
    Variable,
    Negate(Box<Tree>),
    Binary(&'static str, Box<Tree>, Box<Tree>),
    Call(&'static str, Vec<Tree>),
}

/// One value; a list of them is what an expression gives, and an empty list is nothing.
#[derive(Clone, Debug, PartialEq)]
enum Item {
    Text(String),
    Number(i64),
    Boolean(bool),
}

type Outcome = Result<Vec<Item>, &'static str>;

/// Functions that take lists as a whole and never run once per value.
const WHOLE: &[&str] = &["IsNull", "IsNullOrEmpty", "IsPresent", "Count", "Item", "ItemOrNull", "RemoveDuplicates", "Join"];

const ARGUMENT: &str = "expression-argument";
const MISMATCH: &str = "expression-type-mismatch";

fn level(operator: &str) -> u8 {
    match operator {
        "+" | "-" | "*" | "/" | "&" => 1,
        "&&" | "||" => 3,
        _ => 2,
    }
}

impl Tree {
    /// As people write it: brackets only where the rule "left to right inside a level" needs them.
    fn write(&self) -> String {
        match self {
            Self::Text(text) => quoted(text),
            Self::Number(number) => number.to_string(),
            Self::Boolean(true) => "True".to_owned(),
            Self::Boolean(false) => "False".to_owned(),
            Self::Null => "NULL".to_owned(),
            Self::Attribute(name) => format!("[{name}]"),
            Self::Variable => "$v".to_owned(),
            Self::Negate(inner) => format!("-({})", inner.write()),
            Self::Binary(operator, left, right) => {
                let side = |tree: &Tree, most: u8| match tree {
                    Self::Binary(other, ..) if level(other) > most => format!("({})", tree.write()),
                    _ => tree.write(),
                };
                format!("{}{operator} {}", side(left, level(operator)), side(right, level(operator) - 1))
            }
            Self::Call(name, arguments) => format!("{name}({})", arguments.iter().map(Tree::write).collect::<Vec<_>>().join(",")),
        }
    }

    fn walk(&self, object: &[(&'static str, Vec<Item>)], variable: Option<&Vec<Item>>) -> Outcome {
        let go = |tree: &Tree| tree.walk(object, variable);
        match self {
            Self::Text(text) => Ok(vec![Item::Text(text.clone())]),
            Self::Number(number) => Ok(vec![Item::Number(*number)]),
            Self::Boolean(boolean) => Ok(vec![Item::Boolean(*boolean)]),
            Self::Null => Ok(Vec::new()),
            Self::Attribute(name) => {
                Ok(object.iter().find(|(known, _)| known == name).map(|(_, values)| values.clone()).unwrap_or_default())
            }
            Self::Variable => Ok(variable.cloned().unwrap_or_default()),
            Self::Negate(inner) => every(&[go(inner)?], |items| match &items[0] {
                None => Ok(None),
                Some(item) => number(item)?.checked_neg().map(|number| Some(Item::Number(number))).ok_or(ARGUMENT),
            }),
            Self::Binary(operator @ ("&&" | "||"), left, right) => {
                let left = go(left)?;
                let stop = *operator == "||";
                if left.len() < 2 && truth(left.first())? == stop {
                    return Ok(vec![Item::Boolean(stop)]);
                }
                every(&[left, go(right)?], |items| {
                    let (left, right) = (truth(items[0].as_ref())?, truth(items[1].as_ref())?);
                    Ok(Some(Item::Boolean(if stop { left || right } else { left && right })))
                })
            }
            Self::Binary(operator, left, right) => every(&[go(left)?, go(right)?], |items| apply(operator, items)),
            Self::Call("IIF", parts) => {
                let conditions = go(&parts[0])?;
                if conditions.len() < 2 {
                    return go(&parts[if truth(conditions.first())? { 1 } else { 2 }]);
                }
                let holds = conditions.iter().map(|item| truth(Some(item))).collect::<Result<Vec<_>, _>>()?;
                let mut branches = [None, None];
                for (place, wanted) in [(0, true), (1, false)] {
                    if holds.contains(&wanted) {
                        branches[place] = Some(go(&parts[place + 1])?);
                    }
                }
                let mut chosen = Vec::new();
                for (index, holds_here) in holds.iter().enumerate() {
                    let branch = branches[usize::from(!*holds_here)].as_ref().unwrap();
                    match branch.len() {
                        0 => {}
                        1 => chosen.push(branch[0].clone()),
                        length if length == holds.len() => chosen.push(branch[index].clone()),
                        _ => return Err(ARGUMENT),
                    }
                }
                Ok(chosen)
            }
            Self::Call("Switch", parts) => {
                let mut chosen = None;
                for pair in parts.chunks_exact(2) {
                    let condition = go(&pair[0])?;
                    if condition.len() > 1 {
                        return Err(MISMATCH);
                    }
                    if truth(condition.first())? && chosen.is_none() {
                        chosen = Some(&pair[1]);
                    }
                }
                chosen.map_or(Ok(Vec::new()), go)
            }
            Self::Call("With", parts) => {
                let bound = go(&parts[1])?;
                parts[2].walk(object, Some(&bound))
            }
            Self::Call("Select", parts) => {
                let mut results = Vec::new();
                for item in go(&parts[1])? {
                    results.extend(parts[2].walk(object, Some(&vec![item]))?);
                }
                Ok(results)
            }
            Self::Call("Where", parts) => {
                let mut results = Vec::new();
                for item in go(&parts[1])? {
                    let condition = parts[2].walk(object, Some(&vec![item.clone()]))?;
                    if condition.len() > 1 {
                        return Err(MISMATCH);
                    }
                    if truth(condition.first())? {
                        results.push(item);
                    }
                }
                Ok(results)
            }
            Self::Call(name, arguments) => {
                // Arguments are taken one after the other: lists that do not fit are found before a later argument fails.
                let mut values: Vec<Vec<Item>> = Vec::new();
                for argument in arguments {
                    values.push(go(argument)?);
                    if !WHOLE.contains(name) {
                        every(&values, |_| Ok(None))?;
                    }
                }
                call(name, &values)
            }
        }
    }
}

/// Runs a step once per value of the lists among the arguments, which must have one length.
fn every(values: &[Vec<Item>], mut step: impl FnMut(&[Option<Item>]) -> Result<Option<Item>, &'static str>) -> Outcome {
    let mut length = 1;
    for list in values.iter().filter(|list| list.len() > 1) {
        if length > 1 && length != list.len() {
            return Err(ARGUMENT);
        }
        length = list.len();
    }
    let mut results = Vec::new();
    for index in 0..length {
        let items: Vec<Option<Item>> = values.iter().map(|list| list.get(if list.len() > 1 { index } else { 0 }).cloned()).collect();
        results.extend(step(&items)?);
    }
    Ok(results)
}

fn number(item: &Item) -> Result<i64, &'static str> {
    match item {
        Item::Number(number) => Ok(*number),
        Item::Text(text) => text.trim().parse().map_err(|_| MISMATCH),
        Item::Boolean(_) => Err(MISMATCH),
    }
}

fn truth(item: Option<&Item>) -> Result<bool, &'static str> {
    match item {
        None => Ok(false),
        Some(Item::Boolean(boolean)) => Ok(*boolean),
        Some(Item::Text(text)) => match text.to_lowercase().as_str() {
            "" | "false" => Ok(false),
            "true" => Ok(true),
            _ => Err(MISMATCH),
        },
        Some(Item::Number(_)) => Err(MISMATCH),
    }
}

fn as_text(item: &Item) -> String {
    match item {
        Item::Text(text) => text.clone(),
        Item::Number(number) => number.to_string(),
        Item::Boolean(true) => "True".to_owned(),
        Item::Boolean(false) => "False".to_owned(),
    }
}

fn apply(operator: &str, items: &[Option<Item>]) -> Result<Option<Item>, &'static str> {
    let (left, right) = (items[0].as_ref(), items[1].as_ref());
    if operator == "&" {
        let both = left.is_none() && right.is_none();
        let text = left.map(as_text).unwrap_or_default() + &right.map(as_text).unwrap_or_default();
        return Ok((!both).then_some(Item::Text(text)));
    }
    if level(operator) == 1 {
        let (Some(left), Some(right)) = (left, right) else { return Ok(None) };
        let (left, right) = (number(left)?, number(right)?);
        let result = match operator {
            "+" => left.checked_add(right),
            "-" => left.checked_sub(right),
            "*" => left.checked_mul(right),
            _ => left.checked_div(right),
        };
        return result.map(|number| Some(Item::Number(number))).ok_or(ARGUMENT);
    }
    let (Some(left), Some(right)) = (left, right) else {
        let equal = left.is_none() && right.is_none();
        return Ok(Some(Item::Boolean(if operator == "<>" { !equal } else { equal && operator == "=" })));
    };
    let folded = |item: &Item| as_text(item).to_lowercase();
    let ordering = match (left, right) {
        (Item::Boolean(left), Item::Boolean(right)) => Some(left.cmp(right)),
        (Item::Boolean(_), Item::Number(_)) | (Item::Number(_), Item::Boolean(_)) => return Err(MISMATCH),
        (Item::Boolean(_), Item::Text(_)) | (Item::Text(_), Item::Boolean(_)) => {
            (folded(left) == folded(right)).then_some(std::cmp::Ordering::Equal)
        }
        (Item::Text(_), Item::Text(_)) => Some(folded(left).cmp(&folded(right))),
        _ => match (number(left), number(right)) {
            (Ok(left), Ok(right)) => Some(left.cmp(&right)),
            _ => Some(folded(left).cmp(&folded(right))),
        },
    };
    let holds = match operator {
        "=" => ordering.is_some_and(std::cmp::Ordering::is_eq),
        "<>" => !ordering.is_some_and(std::cmp::Ordering::is_eq),
        "<" => ordering.is_some_and(std::cmp::Ordering::is_lt),
        "<=" => ordering.is_some_and(std::cmp::Ordering::is_le),
        ">" => ordering.is_some_and(std::cmp::Ordering::is_gt),
        _ => ordering.is_some_and(std::cmp::Ordering::is_ge),
    };
    Ok(Some(Item::Boolean(holds)))
}

/// The functions that the naive walk knows, as section 4 of the reference describes them.
fn call(name: &str, values: &[Vec<Item>]) -> Outcome {
    let is_empty = |item: &Item| *item == Item::Text(String::new());
    let boolean = |value: bool| Ok(vec![Item::Boolean(value)]);
    let count = |value: usize| Ok(vec![Item::Number(i64::try_from(value).unwrap())]);
    match name {
        "IsNull" => return boolean(values[0].is_empty()),
        "IsNullOrEmpty" => return boolean(values[0].iter().all(is_empty)),
        "IsPresent" => return boolean(!values[0].iter().all(is_empty)),
        "Count" => return count(values[0].len()),
        "Item" | "ItemOrNull" => {
            let [place] = values[1].as_slice() else { return Err(MISMATCH) };
            let place = number(place)?;
            let found = usize::try_from(place - 1).ok().and_then(|index| values[0].get(index));
            return match found {
                Some(item) => Ok(vec![item.clone()]),
                None if name == "Item" => Err(ARGUMENT),
                None => Ok(Vec::new()),
            };
        }
        "RemoveDuplicates" => {
            let mut kept: Vec<Item> = Vec::new();
            for item in &values[0] {
                if !kept.contains(item) {
                    kept.push(item.clone());
                }
            }
            return Ok(kept);
        }
        "Join" => {
            let texts: Vec<String> = values[0].iter().map(as_text).collect();
            return Ok(if texts.is_empty() { Vec::new() } else { vec![Item::Text(texts.join(","))] });
        }
        _ => {}
    }
    if name == "Split" {
        let mut parts = Vec::new();
        for item in &values[0] {
            let Item::Text(text) = item else { return Err(MISMATCH) };
            parts.extend(text.split(',').map(|part| Item::Text(part.to_owned())));
        }
        return Ok(parts);
    }
    every(values, |items| {
        let text = |index: usize| match &items[index] {
            None => Ok(None),
            Some(Item::Text(text)) => Ok(Some(text.clone())),
            Some(_) => Err(MISMATCH),
        };
        let result = |text: String| Ok(Some(Item::Text(text)));
        match name {
            "CStr" => Ok(items[0].as_ref().map(|item| Item::Text(as_text(item)))),
            "Trim" => Ok(text(0)?.map(|text| Item::Text(text.trim().to_owned()))),
            "UCase" => result(text(0)?.unwrap_or_default().to_uppercase()),
            "LCase" => result(text(0)?.unwrap_or_default().to_lowercase()),
            "Len" => Ok(Some(Item::Number(i64::try_from(text(0)?.unwrap_or_default().chars().count()).unwrap()))),
            "Left" => {
                let text = text(0)?.unwrap_or_default();
                let length = items[1].as_ref().map(number).transpose()?.ok_or(MISMATCH)?;
                result(match usize::try_from(length) {
                    Ok(length) => text.chars().take(length).collect(),
                    Err(_) => text,
                })
            }
            "Replace" => {
                let (text, from, to) = (text(0)?.unwrap_or_default(), text(1)?.unwrap_or_default(), text(2)?.unwrap_or_default());
                result(if from.is_empty() { text } else { text.replace(&from, &to) })
            }
            _ => panic!("the naive walk does not know {name}"),
        }
    })
}

fn leaf_text() -> BoxedStrategy<Tree> {
    prop_oneof![
        3 => prop::sample::select(vec!["", "a", "A", "b,a", " c ", "12", "true", "Łódź", "say \"hi\" \\"]).prop_map(|text| Tree::Text(text.to_owned())),
        4 => prop::sample::select(vec!["one", "list", "other", "empty", "absent"]).prop_map(Tree::Attribute),
        1 => Just(Tree::Null),
    ]
    .boxed()
}

fn leaf_number() -> BoxedStrategy<Tree> {
    prop_oneof![
        (-9i64..40).prop_map(Tree::Number),
        prop::sample::select(vec![i64::MAX, 1 << 40]).prop_map(Tree::Number),
        prop::sample::select(vec!["number", "numbers", "absent"]).prop_map(Tree::Attribute),
    ]
    .boxed()
}

fn one(name: &'static str, inner: BoxedStrategy<Tree>) -> BoxedStrategy<Tree> {
    inner.prop_map(move |tree| Tree::Call(name, vec![tree])).boxed()
}

fn binary(signs: &'static [&'static str], left: BoxedStrategy<Tree>, right: BoxedStrategy<Tree>) -> BoxedStrategy<Tree> {
    (prop::sample::select(signs), left, right).prop_map(|(sign, left, right)| Tree::Binary(sign, Box::new(left), Box::new(right))).boxed()
}

/// Binds a variable, and uses it where the body asks for text.
fn bound(name: &'static str, list: BoxedStrategy<Tree>, body: BoxedStrategy<Tree>) -> BoxedStrategy<Tree> {
    (list, body).prop_map(move |(list, body)| Tree::Call(name, vec![Tree::Variable, list, body])).boxed()
}

const COMPARE: &[&str] = &["=", "<>", "<", "<=", ">", ">="];

/// Expressions that give text, numbers and Booleans, so that (nearly) all of them compile.
fn texts(depth: u32) -> BoxedStrategy<Tree> {
    if depth == 0 {
        return leaf_text();
    }
    let (text, number, condition) = (texts(depth - 1), numbers(depth - 1), conditions(depth - 1));
    let with_variable = prop_oneof![
        Just(Tree::Variable),
        binary(&["&"], Just(Tree::Variable).boxed(), text.clone()),
        (condition.clone(), text.clone()).prop_map(|(condition, other)| Tree::Call("IIF", vec![condition, Tree::Variable, other])),
    ]
    .boxed();
    let variable_condition = binary(&["=", "<>", "<"], Just(Tree::Variable).boxed(), text.clone());
    prop_oneof![
        2 => leaf_text(),
        2 => binary(&["&"], text.clone(), text.clone()),
        1 => binary(&["&"], text.clone(), number.clone()),
        2 => (condition.clone(), text.clone(), text.clone()).prop_map(|(c, a, b)| Tree::Call("IIF", vec![c, a, b])),
        1 => (condition.clone(), text.clone(), condition.clone(), text.clone()).prop_map(|(c, a, d, b)| Tree::Call("Switch", vec![c, a, d, b])),
        2 => prop::sample::select(vec!["Trim", "UCase", "LCase", "RemoveDuplicates", "Join", "Split"])
            .prop_flat_map({
                let text = text.clone();
                move |name| match name {
                    "Join" | "Split" => text.clone().prop_map(move |tree| Tree::Call(name, vec![tree, Tree::Text(",".to_owned())])).boxed(),
                    name => one(name, text.clone()),
                }
            }),
        1 => one("CStr", number.clone()),
        1 => (text.clone(), number.clone()).prop_map(|(text, number)| Tree::Call("Left", vec![text, number])),
        1 => (text.clone(), number).prop_map(|(text, number)| Tree::Call("ItemOrNull", vec![text, number])),
        1 => (text.clone(), -1i64..4).prop_map(|(text, place)| Tree::Call("Item", vec![text, Tree::Number(place)])),
        1 => (text.clone(), text.clone(), text.clone()).prop_map(|(a, b, c)| Tree::Call("Replace", vec![a, b, c])),
        1 => bound("With", text.clone(), with_variable.clone()),
        1 => bound("Select", text.clone(), with_variable),
        1 => bound("Where", text, variable_condition),
    ]
    .boxed()
}

fn numbers(depth: u32) -> BoxedStrategy<Tree> {
    if depth == 0 {
        return leaf_number();
    }
    let (text, number) = (texts(depth - 1), numbers(depth - 1));
    prop_oneof![
        2 => leaf_number(),
        3 => binary(&["+", "-", "*", "/"], number.clone(), number.clone()),
        1 => number.prop_filter("the parser joins sign and digits", |tree| !matches!(tree, Tree::Number(_))).prop_map(|tree| Tree::Negate(Box::new(tree))),
        1 => one("Len", text.clone()),
        1 => one("Count", text),
    ]
    .boxed()
}

fn conditions(depth: u32) -> BoxedStrategy<Tree> {
    if depth == 0 {
        return any::<bool>().prop_map(Tree::Boolean).boxed();
    }
    let (text, number, condition) = (texts(depth - 1), numbers(depth - 1), conditions(depth - 1));
    prop_oneof![
        1 => any::<bool>().prop_map(Tree::Boolean),
        2 => binary(COMPARE, text.clone(), text.clone()),
        2 => binary(COMPARE, number.clone(), number.clone()),
        1 => binary(COMPARE, text.clone(), number),
        3 => binary(&["&&", "||"], condition.clone(), condition),
        1 => one("IsNull", text.clone()),
        1 => one("IsPresent", text.clone()),
        1 => one("IsNullOrEmpty", text),
    ]
    .boxed()
}

fn expressions() -> BoxedStrategy<Tree> {
    prop_oneof![texts(4), numbers(4), conditions(4)].boxed()
}

/// The values of the object, in canonical order.
fn values() -> Vec<(&'static str, Vec<Item>)> {
    let texts = |texts: &[&str]| texts.iter().map(|text| Item::Text((*text).to_owned())).collect();
    vec![
        ("one", texts(&["Joe"])),
        ("list", texts(&["A", "a", "b,c"])),
        ("other", texts(&["12", "x"])),
        ("empty", texts(&[""])),
        ("number", vec![Item::Number(7)]),
        ("numbers", vec![Item::Number(-3), Item::Number(5)]),
    ]
}

fn object(names: &Arc<Names>) -> Object {
    let pairs: Vec<(&str, Value)> = values()
        .into_iter()
        .flat_map(|(name, items)| items.into_iter().map(move |item| (name, item)))
        .map(|(name, item)| match item {
            Item::Text(content) => (name, text(&content)),
            Item::Number(number) => (name, Value::Number(number)),
            Item::Boolean(boolean) => (name, Value::Boolean(boolean)),
        })
        .collect();
    Object::new(names, "user", "cn=Joe,dc=contoso,dc=com", &pairs)
}

fn item(scalar: &Scalar<'_>) -> Item {
    match scalar {
        Scalar::Text(text) => Item::Text(text.to_string()),
        Scalar::Number(number) => Item::Number(*number),
        Scalar::Boolean(boolean) => Item::Boolean(*boolean),
        other => panic!("the naive walk gives no {other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn compiled_expressions_give_what_a_naive_walk_gives(tree in expressions()) {
        let names = Arc::new(Names::new());
        let written = tree.write();
        let compiled = compile(&written, &Permissive(Arc::clone(&names)), Options::default());
        let compiled = compiled.map_err(|error| TestCaseError::fail(format!("{written}: {error}")))?;
        let object = object(&names);
        let run = RunParameters::default();
        let context = Context { source: &object, run: &run, connector: ConnectorId(1) };
        let found = compiled.evaluate(&context).map(|value| value.as_slice().iter().map(item).collect::<Vec<_>>());
        let found = found.map_err(|fault| fault.code.as_str().to_owned());
        prop_assert_eq!(found, tree.walk(&values(), None).map_err(str::to_owned), "{}", written);
    }

    #[test]
    fn what_is_printed_parses_to_the_same_tree(tree in expressions(), blanks in any::<bool>()) {
        let written = tree.write();
        let written = if blanks { written.replace(',', " ,\n ") } else { written };
        let parsed = parse(&written).map_err(|error| TestCaseError::fail(format!("{written}: {error}")))?;
        let printed = print(&parsed);
        let again = parse(&printed).map_err(|error| TestCaseError::fail(format!("{printed}: {error}")))?;
        prop_assert!(same(&parsed, &again), "{} became {}", written, printed);
        prop_assert_eq!(print(&again), printed);
    }

    /// One slip of the finger in a right expression: it parses, and then prints and parses again, or the error points
    /// into the text, between two characters of it.
    #[test]
    fn a_slip_is_an_error_inside_the_text(tree in expressions(), place in any::<prop::sample::Index>(), slip in prop::option::of("[\\[\\]()%$&|\"'<>=,;\\\\A-Za-z0-9äß“ \n-]")) {
        let written = tree.write();
        let mut characters: Vec<char> = written.chars().collect();
        let at = place.index(characters.len());
        match slip {
            None => drop(characters.remove(at)),
            Some(slip) => characters.splice(at..at, slip.chars()).for_each(drop),
        }
        let slipped: String = characters.into_iter().collect();
        match parse(&slipped) {
            Ok(tree) => prop_assert!(same(&tree, &parse(&print(&tree)).unwrap()), "{}", slipped),
            Err(error) => {
                prop_assert!(slipped.is_char_boundary(error.offset), "{} at {}", slipped, error.offset);
                let lines: Vec<&str> = slipped.split('\n').collect();
                prop_assert!((1..=lines.len()).contains(&error.line), "{}: line {}", slipped, error.line);
                prop_assert!((1..=lines[error.line - 1].chars().count() + 1).contains(&error.column), "{}: column {}", slipped, error.column);
                prop_assert!(!error.message.is_empty() && error.excerpt.contains('^'));
            }
        }
    }

    #[test]
    fn any_text_goes_there_and_back(content in "\\PC{0,40}") {
        let names = Arc::new(Names::new());
        let object = object(&names);
        let run = RunParameters::default();
        let context = Context { source: &object, run: &run, connector: ConnectorId(1) };
        let literal = quoted(&content);
        for form in [
            format!("ConvertFromUTF8Hex(ConvertToUTF8Hex({literal}))"),
            format!("ConvertFromBase64(ConvertToBase64({literal}))"),
            format!("ConvertFromBase64(ConvertToBase64({literal}), Unicode)"),
            format!("Join(Split({literal}, \",\"), \",\")"),
            format!("Replace(Replace({literal}, \"a\", \"\u{e000}\"), \"\u{e000}\", \"a\")"),
            format!("Left({literal}, 7) & Right({literal}, IIF(Len({literal}) > 7, Len({literal}) - 7, 0))"),
        ] {
            let compiled = compile(&form, &Permissive(Arc::clone(&names)), Options::default()).unwrap();
            let value = compiled.evaluate(&context).map(Val::into_owned);
            prop_assert_eq!(value, Ok(Val::One(Scalar::text(content.as_str()))), "{}", form);
        }
    }
}
