//! Math (specification: expression functions, 4.5).

use super::Accepts::Number;
use super::{Call, Fault, Function, Kind, Val, each, function, number_result};

pub(super) const FUNCTIONS: &[Function] = &[
    function("BitAnd", &[each("a", Number), each("b", Number)], Kind::Number, bit_and),
    function("BitOr", &[each("a", Number), each("b", Number)], Kind::Number, bit_or),
    function("RandomNum", &[each("from", Number), each("to", Number)], Kind::Number, random_num).volatile(),
];

fn bit_and<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let (Some(left), Some(right)) = (call.number(0)?, call.number(1)?) else { return Ok(Val::Null) };
    number_result(left & right)
}

fn bit_or<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let (Some(left), Some(right)) = (call.number(0)?, call.number(1)?) else { return Ok(Val::Null) };
    number_result(left | right)
}

fn random_num<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let (from, to) = (call.required_number(0)?, call.required_number(1)?);
    if from > to {
        return Err(call.bad(format_args!("from {from} is greater than to {to}")));
    }
    number_result(rand::random_range(from..=to))
}
