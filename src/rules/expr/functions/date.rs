//! Date and time (specification: expression functions, 4.2).

use super::super::date::{self, Civil};
use super::Accepts::{Date, Number, Text};
use super::{Call, Fault, Function, Kind, Val, date_result, each, function, number_result, text_result};

pub(super) use super::super::date::parse;

pub(super) const FUNCTIONS: &[Function] = &[
    function("DateAdd", &[each("interval", Text), each("n", Number), each("date", Date)], Kind::Date, date_add),
    function("DateFromNum", &[each("n", Number)], Kind::Date, date_from_num),
    function("FormatDateTime", &[each("date", Date), each("format", Text)], Kind::Text, format_date_time),
    function("Now", &[], Kind::Date, now).volatile(),
    function("NumFromDate", &[each("date", Date)], Kind::Number, num_from_date),
];

fn date_add<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let interval = call.text_or_empty(0)?;
    let count = call.required_number(1)?;
    let Some(ticks) = call.date(2)? else { return Ok(Val::Null) };
    let plain = |unit: i64| count.checked_mul(unit).and_then(|delta| ticks.checked_add(delta));
    let months = |unit: i64| count.checked_mul(unit).and_then(|months| Civil::of(ticks).add_months(months));
    let result = match interval.as_ref() {
        "yyyy" => months(12),
        "q" => months(3),
        "m" => months(1),
        "y" | "d" | "w" => plain(date::DAY),
        "ww" => plain(7 * date::DAY),
        "h" => plain(3600 * date::SECOND),
        "n" => plain(60 * date::SECOND),
        "s" => plain(date::SECOND),
        other => return Err(call.bad(format_args!("{other:?} is no interval: yyyy, q, m, y, d, w, ww, h, n or s"))),
    };
    match result.filter(|ticks| date::in_range(*ticks)) {
        Some(ticks) => date_result(ticks),
        None => Err(call.bad("the result is outside the years 1 to 9999")),
    }
}

fn date_from_num<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    match call.number(0)? {
        // Active Directory writes the largest number for "never".
        None | Some(i64::MAX) => Ok(Val::Null),
        Some(number) if number >= 0 && date::in_range(number) => date_result(number),
        Some(number) => Err(call.bad(format_args!("{number} is no point in time between 1601 and 9999"))),
    }
}

fn format_date_time<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let format = call.text_or_empty(1)?;
    let Some(ticks) = call.date(0)? else { return Ok(Val::Null) };
    text_result(date::format(ticks, &format))
}

fn now<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    date_result(date::from_unix_microseconds(call.context.run.now.0))
}

fn num_from_date<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    call.date(0)?.map_or(Ok(Val::Null), number_result)
}
