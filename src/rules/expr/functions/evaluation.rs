//! Evaluation: tests of values (specification: expression functions, 4.4).

use super::super::value::parse_number;
use super::Accepts::{Any, Number};
use super::{Call, Fault, Function, Kind, Scalar, Val, boolean_result, conversion, date, each, function, whole};

pub(super) const FUNCTIONS: &[Function] = &[
    function("IsBitSet", &[each("value", Number), each("mask", Number)], Kind::Boolean, is_bit_set),
    function("IsDate", &[each("value", Any)], Kind::Boolean, is_date),
    function("IsEmpty", &[whole("value", Any)], Kind::Boolean, is_empty),
    function("IsGuid", &[each("value", Any)], Kind::Boolean, is_guid),
    function("IsNull", &[whole("value", Any)], Kind::Boolean, is_null),
    function("IsNullOrEmpty", &[whole("value", Any)], Kind::Boolean, is_null_or_empty),
    function("IsNumeric", &[each("value", Any)], Kind::Boolean, is_numeric),
    function("IsPresent", &[whole("value", Any)], Kind::Boolean, is_present),
    function("IsString", &[each("value", Any)], Kind::Boolean, is_string),
];

fn is_bit_set<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let (Some(value), Some(mask)) = (call.number(0)?, call.number(1)?) else { return boolean_result(false) };
    boolean_result(value & mask != 0)
}

fn is_date<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    boolean_result(match call.scalar(0)? {
        Some(Scalar::Text(text)) => date::parse(&text).is_some(),
        Some(Scalar::Date(_)) => true,
        _ => false,
    })
}

fn is_empty<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let list = call.list(0);
    boolean_result(!list.is_empty() && list.iter().all(Scalar::is_empty_text))
}

fn is_guid<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    boolean_result(matches!(call.scalar(0)?, Some(Scalar::Text(text)) if conversion::parse_guid(&text).is_some()))
}

fn is_null<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    boolean_result(call.list(0).is_empty())
}

fn is_null_or_empty<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    boolean_result(call.list(0).iter().all(Scalar::is_empty_text))
}

fn is_numeric<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    boolean_result(match call.scalar(0)? {
        Some(Scalar::Number(_)) => true,
        Some(Scalar::Text(text)) => parse_number(&text).is_some(),
        _ => false,
    })
}

fn is_present<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    boolean_result(!call.list(0).iter().all(Scalar::is_empty_text))
}

fn is_string<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    // What converts to text counts as text; octets do not: that decides between CStr and ConvertToBase64.
    boolean_result(matches!(
        call.scalar(0)?,
        Some(Scalar::Text(_) | Scalar::LargeText(_) | Scalar::Number(_) | Scalar::Boolean(_) | Scalar::Reference(_) | Scalar::Name(_))
    ))
}
