//! Directory: components of distinguished names (specification: expression functions, 4.3).

use super::Accepts::{Choice, Name, Number, Text};
use super::{Call, Fault, Function, Kind, Val, each, function, text_result};
use crate::model::{Dn, ObjectErrorCode, escape_component};

pub(super) const FUNCTIONS: &[Function] = &[
    function("DNComponent", &[each("dn", Name), each("n", Number)], Kind::Text, dn_component),
    function("DNComponentRev", &[each("dn", Name), each("n", Number), each("option", Choice(&["DC"]))], Kind::Text, dn_component_rev)
        .optional(2),
    function("EscapeDNComponent", &[each("component", Text)], Kind::Text, escape_dn_component),
];

fn name(call: &mut Call<'_, '_>) -> Result<Option<Dn>, Fault> {
    let Some(scalar) = call.scalar(0)? else { return Ok(None) };
    let text = call.context.text_form(scalar)?;
    Dn::parse(&text).map(Some).map_err(|error| call.bad(format_args!("{text:?} is {error}")))
}

/// The value of one component, still escaped: a conflict object is known by `\0ACNF:` in it.
fn component<'a>(call: &Call<'_, 'a>, dn: &Dn, index: Option<usize>, asked: i64) -> Result<Val<'a>, Fault> {
    let Some((_, value)) = index.and_then(|index| dn.component(index)) else {
        return Err(Fault {
            code: ObjectErrorCode::DN_INDEX_OUT_OF_BOUNDS,
            message: format!("{}: {:?} has {} components, {asked} was asked for", call.function.name, dn.as_str(), dn.depth()),
            span: None,
        });
    };
    text_result(first_part(value).to_owned())
}

/// Of a component of several parts (`CN=a+SN=b`) the first one.
fn first_part(value: &str) -> &str {
    let mut escaped = false;
    let mut quoted = false;
    for (index, byte) in value.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b'+' if !quoted => return value[..index].trim_end_matches(' '),
            _ => {}
        }
    }
    value
}

fn dn_component<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let number = call.required_number(1)?;
    let Some(dn) = name(call)? else { return Ok(Val::Null) };
    component(call, &dn, usize::try_from(number).ok().and_then(|number| number.checked_sub(1)), number)
}

fn dn_component_rev<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let number = call.required_number(1)?;
    let skip = call.given(2) && call.choice(2, "")? == "DC";
    let Some(dn) = name(call)? else { return Ok(Val::Null) };
    let is_dc = |index: &usize| dn.component(*index).is_some_and(|(kind, _)| kind.eq_ignore_ascii_case("dc"));
    let rest: Vec<usize> = (0..dn.depth()).filter(|index| !(skip && is_dc(index))).collect();
    let index = usize::try_from(number).ok().filter(|number| *number > 0).and_then(|number| rest.len().checked_sub(number));
    component(call, &dn, index.map(|index| rest[index]), number)
}

fn escape_dn_component<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let Some(text) = call.text(0)? else { return Ok(Val::Null) };
    text_result(escape_component(&text))
}
