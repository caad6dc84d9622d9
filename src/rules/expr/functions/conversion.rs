//! Conversion (specification: expression functions, 4.1).

use super::super::value::{parse_boolean, parse_number};
use super::Accepts::{Any, Binary, Choice, Content, Number, Text};
use super::{
    Call, Fault, Function, Kind, Scalar, Val, binary_result, boolean_result, date, date_result, each, function, number_result, text_result,
};
use crate::model::Dn;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::Digest;

const ENCODINGS: &[&str] = &["Unicode", "ASCII", "UTF8"];

pub(super) const FUNCTIONS: &[Function] = &[
    function("CBin", &[each("value", Number), each("length", Number)], Kind::Binary, c_bin),
    function("CBool", &[each("value", Any)], Kind::Boolean, c_bool),
    function("CDate", &[each("text", Text)], Kind::Date, c_date),
    function("CGuid", &[each("text", Text)], Kind::Binary, c_guid),
    function("CNum", &[each("text", Any)], Kind::Number, c_num),
    function("CRef", &[each("text", super::Accepts::Name)], Kind::Reference, c_ref),
    function("CStr", &[each("value", Any)], Kind::Text, c_str),
    function("ConvertFromBase64", &[each("text", Text), each("encoding", Choice(ENCODINGS))], Kind::Text, convert_from_base64).optional(1),
    function("ConvertFromUTF8Hex", &[each("text", Text)], Kind::Text, convert_from_utf8_hex),
    function("ConvertToBase64", &[each("value", Content)], Kind::Text, convert_to_base64),
    function("ConvertToUTF8Hex", &[each("text", Text)], Kind::Text, convert_to_utf8_hex),
    function("StringFromGuid", &[each("guid", Binary)], Kind::Text, string_from_guid),
    function("StringFromSid", &[each("sid", Binary)], Kind::Text, string_from_sid),
    function("Thumbprint", &[each("value", Binary)], Kind::Binary, thumbprint),
];

fn c_bin<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let (Some(value), length) = (call.number(0)?, call.required_number(1)?) else { return Ok(Val::Null) };
    let length = usize::try_from(length).ok().filter(|length| (1..=8).contains(length));
    let Some(length) = length else { return Err(call.bad("the length is 1 to 8 octets")) };
    let bytes = value.to_le_bytes();
    let fill = if value < 0 { 0xff } else { 0 };
    if bytes[length..].iter().any(|byte| *byte != fill) {
        return Err(call.bad(format_args!("{value} does not fit {length} octets")));
    }
    binary_result(&bytes[..length])
}

fn c_bool<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    boolean_result(match call.scalar(0)? {
        None => false,
        Some(Scalar::Boolean(boolean)) => boolean,
        Some(Scalar::Number(number)) => number != 0,
        Some(Scalar::Text(text)) if text.is_empty() => false,
        Some(Scalar::Text(text)) => match (parse_boolean(&text), parse_number(&text)) {
            (Some(boolean), _) => boolean,
            (None, Some(number)) => number != 0,
            (None, None) => return Err(call.bad(format_args!("{text:?} is no Boolean and no number"))),
        },
        Some(other) => return Err(call.mismatch(0, "a Boolean, a number or text", other.type_name())),
    })
}

fn c_date<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let Some(text) = call.text(0)? else { return Ok(Val::Null) };
    match date::parse(&text) {
        Some(ticks) => date_result(ticks),
        None => Err(call.bad(format_args!("{text:?} is no date"))),
    }
}

fn c_guid<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let Some(text) = call.text(0)? else { return Ok(Val::Null) };
    match parse_guid(&text) {
        Some(bytes) => binary_result(bytes),
        None => Err(call.bad(format_args!("{text:?} is no GUID"))),
    }
}

fn c_num<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    match call.scalar(0)? {
        None => Ok(Val::Null),
        Some(Scalar::Number(number)) => number_result(number),
        Some(Scalar::Text(text)) => match parse_number(&text) {
            Some(number) => number_result(number),
            None => Err(call.bad(format_args!("{text:?} is no number"))),
        },
        // Octets as CBin makes them: the least significant one first.
        Some(other) => match call.context.octets(other)? {
            Ok(octets) => {
                let value = octets.iter().rev().try_fold(0_i64, |value, octet| value.checked_mul(256)?.checked_add(i64::from(*octet)));
                value.map_or_else(|| Err(call.bad(format_args!("these {} octets are no number of 63 bits", octets.len()))), number_result)
            }
            Err(other) => Err(call.mismatch(0, "text", other.type_name())),
        },
    }
}

fn c_ref<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    match call.scalar(0)? {
        None => Ok(Val::Null),
        Some(reference @ (Scalar::Reference(_) | Scalar::Name(_))) => Ok(Val::One(reference)),
        Some(Scalar::Text(text)) => match Dn::parse(&text) {
            Ok(_) => Ok(Val::One(Scalar::Name(text))),
            Err(error) => Err(call.bad(format_args!("{text:?} is {error}"))),
        },
        Some(other) => Err(call.mismatch(0, "text", other.type_name())),
    }
}

fn c_str<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    match call.scalar(0)? {
        None => Ok(Val::Null),
        Some(Scalar::LargeText(blob)) => Ok(Val::One(Scalar::LargeText(blob))),
        Some(scalar) => text_result(call.context.text_form(scalar)?),
    }
}

fn convert_from_base64<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let encoding = call.choice(1, "Unicode")?;
    let Some(text) = call.text(0)? else { return Ok(Val::Null) };
    let Ok(bytes) = STANDARD.decode(text.as_bytes()) else { return Err(call.bad(format_args!("{text:?} is no base64"))) };
    let decoded = match encoding.as_ref() {
        "Unicode" => decode_utf16(&bytes),
        "ASCII" => bytes.is_ascii().then(|| String::from_utf8_lossy(&bytes).into_owned()),
        _ => String::from_utf8(bytes).ok(),
    };
    decoded.map_or_else(|| Err(call.bad(format_args!("the octets of {text:?} are no {encoding} text"))), text_result)
}

fn decode_utf16(bytes: &[u8]) -> Option<String> {
    if !bytes.len().is_multiple_of(2) {
        return None;
    }
    String::from_utf16(&bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect::<Vec<u16>>()).ok()
}

fn convert_to_base64<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let Some(scalar) = call.scalar(0)? else { return Ok(Val::Null) };
    let scalar = match call.context.octets(scalar)? {
        Ok(bytes) => return text_result(STANDARD.encode(bytes)),
        Err(other) => other,
    };
    match call.context.plain_text(scalar)? {
        Ok(text) => text_result(STANDARD.encode(text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>())),
        Err(other) => Err(call.mismatch(0, "text or octets", other.type_name())),
    }
}

fn convert_from_utf8_hex<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let Some(text) = call.text(0)? else { return Ok(Val::Null) };
    let bytes = hex::decode(text.as_ref()).ok();
    match bytes.and_then(|bytes| String::from_utf8(bytes).ok()) {
        Some(decoded) => text_result(decoded),
        None => Err(call.bad(format_args!("{text:?} is not the hexadecimal form of UTF-8 text"))),
    }
}

fn convert_to_utf8_hex<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let Some(text) = call.text(0)? else { return Ok(Val::Null) };
    text_result(hex::encode_upper(text.as_bytes()))
}

fn string_from_guid<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let Some(bytes) = call.octets(0)? else { return Ok(Val::Null) };
    match <[u8; 16]>::try_from(bytes.as_ref()) {
        Ok(bytes) => text_result(uuid::Uuid::from_bytes_le(bytes).hyphenated().to_string()),
        Err(_) => Err(call.bad(format_args!("a GUID has 16 octets, these are {}", bytes.len()))),
    }
}

fn string_from_sid<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let Some(bytes) = call.octets(0)? else { return Ok(Val::Null) };
    match sid_text(&bytes) {
        Some(text) => text_result(text),
        None => Err(call.bad("the octets are no security identifier")),
    }
}

/// The text of a binary security identifier (MS-DTYP 2.4.2).
fn sid_text(bytes: &[u8]) -> Option<String> {
    let [revision, count, authority @ ..] = bytes else { return None };
    let (authority, rest) = authority.split_at_checked(6)?;
    if rest.len() != usize::from(*count) * 4 {
        return None;
    }
    let authority = authority.iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
    let mut text = format!("S-{revision}-{authority}");
    for part in rest.chunks_exact(4) {
        text.push('-');
        text.push_str(&u32::from_le_bytes([part[0], part[1], part[2], part[3]]).to_string());
    }
    Some(text)
}

fn thumbprint<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let Some(bytes) = call.octets(0)? else { return Ok(Val::Null) };
    binary_result(sha2::Sha256::digest(&bytes).to_vec())
}

/// A hyphenated GUID with or without braces, in Windows order.
pub(super) fn parse_guid(text: &str) -> Option<[u8; 16]> {
    let text = text.trim();
    let inner = match text.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}')?,
        None => text,
    };
    if inner.len() != 36 {
        return None;
    }
    uuid::Uuid::try_parse(inner).ok().map(|guid| guid.to_bytes_le())
}
