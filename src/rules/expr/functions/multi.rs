//! Multi-valued attributes (specification: expression functions, 4.6).

use super::super::value::same_text;
use super::Accepts::{Any, Choice, Number, Text};
use super::{Call, Cow, Fault, Function, Kind, Scalar, Val, count_result, each, function, list_result, text_result, whole};
use crate::model::fold;
use std::collections::HashSet;

const CASE: &[&str] = &["CaseInsensitive", "CaseSensitive"];

pub(super) const FUNCTIONS: &[Function] = &[
    function("Contains", &[whole("list", Any), each("search", Text), each("case", Choice(CASE))], Kind::Number, contains).optional(2),
    function("Count", &[whole("list", Any)], Kind::Number, count),
    function("Item", &[whole("list", Any), each("index", Number)], Kind::Any, item),
    function("ItemOrNull", &[whole("list", Any), each("index", Number)], Kind::Any, item_or_null),
    function("Join", &[whole("list", Any), each("delimiter", Text)], Kind::Text, join).optional(1),
    function("RemoveDuplicates", &[whole("list", Any)], Kind::Any, remove_duplicates),
    function("Split", &[each("text", Text), each("delimiter", Text), each("limit", Number)], Kind::Text, split).optional(2),
];

fn contains<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let exact = call.choice(2, "CaseSensitive")? == "CaseSensitive";
    let search = call.text_or_empty(1)?;
    let folded = if exact { Cow::Borrowed(search.as_ref()) } else { fold(&search) };
    for (index, scalar) in call.list(0).into_iter().enumerate() {
        let found = match scalar {
            Scalar::Reference(_) | Scalar::Name(_) => {
                let name = call.context.text_form(scalar)?;
                if exact { name == search } else { same_text(&name, &search) }
            }
            other => {
                let text = match call.context.plain_text(other)? {
                    Ok(text) => text,
                    Err(other) => return Err(call.mismatch(0, "text", other.type_name())),
                };
                if exact { text.contains(search.as_ref()) } else { fold(&text).contains(folded.as_ref()) }
            }
        };
        if found {
            return count_result(index + 1);
        }
    }
    count_result(0)
}

fn count<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let list = call.take(0);
    count_result(list.as_slice().len())
}

fn at<'a>(call: &mut Call<'_, 'a>) -> Result<Result<Val<'a>, (i64, usize)>, Fault> {
    let number = call.required_number(1)?;
    let mut list = call.list(0);
    Ok(match usize::try_from(number).ok().and_then(|number| number.checked_sub(1)) {
        Some(index) if index < list.len() => Ok(Val::One(list.swap_remove(index))),
        _ => Err((number, list.len())),
    })
}

fn item<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    at(call)?.map_err(|(number, length)| call.bad(format_args!("index {number} is outside the list of {length}")))
}

fn item_or_null<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    Ok(at(call)?.unwrap_or_default())
}

fn join<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let delimiter = if call.given(1) { call.text_or_empty(1)? } else { Cow::Borrowed(" ") };
    let list = call.list(0);
    if list.is_empty() {
        return Ok(Val::Null);
    }
    let mut joined = String::new();
    for (index, scalar) in list.into_iter().enumerate() {
        if index > 0 {
            joined.push_str(&delimiter);
        }
        joined.push_str(&call.context.text_form(scalar)?);
    }
    text_result(joined)
}

fn remove_duplicates<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let mut list = call.list(0);
    if list.len() > 8 {
        let mut seen: HashSet<Scalar<'a>> = HashSet::with_capacity(list.len());
        list.retain(|scalar| seen.insert(scalar.clone()));
        return list_result(list);
    }
    // Comparing a handful of values is cheaper than hashing them.
    let mut kept: Vec<Scalar<'a>> = Vec::with_capacity(list.len());
    for scalar in list {
        if !kept.contains(&scalar) {
            kept.push(scalar);
        }
    }
    list_result(kept)
}

fn split<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let delimiter = call.text_or_empty(1)?;
    let limit = if call.given(2) { call.number(2)? } else { None };
    let mut characters = delimiter.chars();
    let (Some(delimiter), None) = (characters.next(), characters.next()) else {
        return Err(call.bad(format_args!("the delimiter is one character, not {delimiter:?}")));
    };
    let Some(text) = call.text(0)? else { return Ok(Val::Null) };
    let limit = match limit {
        None => usize::MAX,
        Some(limit) => match usize::try_from(limit).ok().filter(|limit| *limit > 0) {
            Some(limit) => limit,
            None => return Err(call.bad(format_args!("the limit {limit} is not positive"))),
        },
    };
    list_result(match text {
        Cow::Borrowed(text) => text.splitn(limit, delimiter).map(|part| Scalar::Text(Cow::Borrowed(part))).collect(),
        Cow::Owned(text) => text.splitn(limit, delimiter).map(Scalar::text).collect(),
    })
}
