//! Text (specification: expression functions, 4.8). Positions count characters from 1.

use super::Accepts::{Choice, Content, Number, Text};
use super::{Call, Cow, Fault, Function, Kind, Scalar, Val, binary_result, count_result, each, function, text_result};

const COMPARE: &[&str] = &["vbTextCompare", "vbBinaryCompare"];
const TEXT: &str = "vbTextCompare";
const BINARY: &str = "vbBinaryCompare";
/// The longest text that padding makes.
const PAD_MAX: i64 = 65_536;

pub(super) const FUNCTIONS: &[Function] = &[
    function("Guid", &[], Kind::Text, guid).volatile(),
    function(
        "InStr",
        &[each("text", Text), each("search", Text), each("start", Number), each("compare", Choice(COMPARE))],
        Kind::Number,
        in_str,
    )
    .optional(2),
    function(
        "InStrRev",
        &[each("text", Text), each("search", Text), each("start", Number), each("compare", Choice(COMPARE))],
        Kind::Number,
        in_str_rev,
    )
    .optional(2),
    function("LCase", &[each("text", Text)], Kind::Text, l_case),
    function("LTrim", &[each("text", Text)], Kind::Text, l_trim),
    function("Left", &[each("text", Text), each("n", Number)], Kind::Text, left),
    function("Len", &[each("text", Content)], Kind::Number, len),
    function("Mid", &[each("text", Content), each("start", Number), each("n", Number)], Kind::Text, mid).optional(2),
    function("PCase", &[each("text", Text)], Kind::Text, p_case),
    function("PadLeft", &[each("text", Text), each("length", Number), each("character", Text)], Kind::Text, pad_left),
    function("PadRight", &[each("text", Text), each("length", Number), each("character", Text)], Kind::Text, pad_right),
    function("RTrim", &[each("text", Text)], Kind::Text, r_trim),
    function("Replace", &[each("text", Text), each("old", Text), each("new", Text)], Kind::Text, replace),
    function("ReplaceChars", &[each("text", Text), each("pattern", Text)], Kind::Text, replace_chars),
    function("Right", &[each("text", Text), each("n", Number)], Kind::Text, right),
    function("Trim", &[each("text", Text)], Kind::Text, trim),
    function("UCase", &[each("text", Text)], Kind::Text, u_case),
    function("Word", &[each("text", Text), each("n", Number), each("delimiters", Text)], Kind::Text, word),
];

/// The octet offset of the character at `position` from 0; the end when there are fewer.
pub(crate) fn offset(text: &str, position: usize) -> usize {
    if position >= text.len() {
        return text.len();
    }
    if text.as_bytes()[..position].is_ascii() && text.is_char_boundary(position) {
        return position;
    }
    text.char_indices().nth(position).map_or(text.len(), |(offset, _)| offset)
}

/// A part of a text, borrowed where the text is.
pub(crate) fn cut(text: Cow<'_, str>, start: usize, end: usize) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[start..end]),
        Cow::Owned(mut text) => {
            text.truncate(end);
            text.drain(..start);
            Cow::Owned(text)
        }
    }
}

/// Text without white space around it, borrowed where the text is.
pub(crate) fn trimmed(text: Cow<'_, str>) -> Cow<'_, str> {
    let end = text.trim_end().len();
    let start = end - text[..end].trim_start().len();
    if start == 0 && end == text.len() { text } else { cut(text, start, end) }
}

fn guid<'a>(_: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    text_result(uuid::Uuid::new_v4().hyphenated().to_string())
}

/// One lower-case character per character, so that positions stay what they are.
fn folded_characters(text: &str) -> Vec<char> {
    text.chars().map(|character| character.to_lowercase().next().unwrap_or(character)).collect()
}

fn in_str<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let compare = call.choice(3, BINARY)?;
    let (text, search) = (call.text_or_empty(0)?, call.text_or_empty(1)?);
    let start = if call.given(2) { call.number(2)?.unwrap_or(1) } else { 1 };
    let Some(start) = usize::try_from(start).ok().and_then(|start| start.checked_sub(1)) else {
        return Err(call.bad(format_args!("the start {start} is below 1")));
    };
    if compare == TEXT {
        let (text, search) = (folded_characters(&text), folded_characters(&search));
        if start > text.len() || (text.is_empty() && !search.is_empty()) {
            return count_result(0);
        }
        if search.is_empty() {
            return count_result(if start < text.len() { start + 1 } else { 0 });
        }
        let found = text[start..].windows(search.len()).position(|window| window == search);
        return count_result(found.map_or(0, |position| start + position + 1));
    }
    let from = offset(&text, start);
    if from == text.len() && (start > 0 || text.is_empty()) {
        return count_result(0);
    }
    if search.is_empty() {
        return count_result(start + 1);
    }
    let found = text[from..].find(search.as_ref());
    count_result(found.map_or(0, |position| start + text[from..from + position].chars().count() + 1))
}

fn in_str_rev<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let compare = call.choice(3, BINARY)?;
    let (text, search) = (call.text_or_empty(0)?, call.text_or_empty(1)?);
    let start = if call.given(2) { call.number(2)? } else { None };
    // -1 is the original's way to say "from the end".
    let start = start.filter(|start| *start != -1);
    let length = match start {
        None => usize::MAX,
        Some(start) => match usize::try_from(start).ok().filter(|start| *start > 0) {
            Some(start) => start,
            None => return Err(call.bad(format_args!("the start {start} is below 1"))),
        },
    };
    let (text, search) = if compare == TEXT {
        (folded_characters(&text), folded_characters(&search))
    } else {
        (text.chars().collect(), search.chars().collect())
    };
    let text = &text[..length.min(text.len())];
    if search.is_empty() {
        return count_result(text.len());
    }
    let found = text.windows(search.len()).rposition(|window| window == search);
    count_result(found.map_or(0, |position| position + 1))
}

fn l_case<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let text = call.text_or_empty(0)?;
    if text.chars().any(|character| !character.to_lowercase().eq(std::iter::once(character))) {
        return text_result(text.to_lowercase());
    }
    text_result(text)
}

fn u_case<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let text = call.text_or_empty(0)?;
    if text.chars().any(|character| !character.to_uppercase().eq(std::iter::once(character))) {
        return text_result(text.to_uppercase());
    }
    text_result(text)
}

fn trim<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let Some(text) = call.text(0)? else { return Ok(Val::Null) };
    text_result(trimmed(text))
}

fn l_trim<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let Some(text) = call.text(0)? else { return Ok(Val::Null) };
    let (start, end) = (text.len() - text.trim_start().len(), text.len());
    text_result(cut(text, start, end))
}

fn r_trim<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let Some(text) = call.text(0)? else { return Ok(Val::Null) };
    let end = text.trim_end().len();
    text_result(cut(text, 0, end))
}

fn left<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let count = call.required_number(1)?;
    let text = call.text_or_empty(0)?;
    match usize::try_from(count) {
        Ok(count) => {
            let end = offset(&text, count);
            text_result(cut(text, 0, end))
        }
        Err(_) => text_result(text),
    }
}

fn right<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let count = call.required_number(1)?;
    let text = call.text_or_empty(0)?;
    match usize::try_from(count) {
        Ok(count) => {
            let start = offset(&text, text.chars().count().saturating_sub(count));
            let end = text.len();
            text_result(cut(text, start, end))
        }
        Err(_) => text_result(text),
    }
}

fn len<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let Some(scalar) = call.scalar(0)? else { return count_result(0) };
    match scalar {
        Scalar::Binary(bytes) => count_result(bytes.len()),
        Scalar::LargeBinary(blob) => count_result(blob.length as usize),
        other => match call.context.plain_text(other)? {
            Ok(text) => count_result(text.chars().count()),
            Err(other) => Err(call.mismatch(0, "text or octets", other.type_name())),
        },
    }
}

fn mid<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let start = call.required_number(1)?;
    let count = if call.given(2) { call.required_number(2)? } else { i64::MAX };
    let first = usize::try_from(start).ok().and_then(|start| start.checked_sub(1));
    let text = match call.scalar(0)?.map(|scalar| call.context.octets(scalar)).transpose()? {
        None => Cow::Borrowed(""),
        Some(Ok(octets)) => return middle_octets(&octets, first, count),
        Some(Err(other)) => match call.context.plain_text(other)? {
            Ok(text) => text,
            Err(other) => return Err(call.mismatch(0, "text or octets", other.type_name())),
        },
    };
    if count == 0 {
        return text_result("");
    }
    let (Some(first), Ok(count)) = (first, usize::try_from(count)) else { return text_result(text) };
    let from = offset(&text, first);
    if from == text.len() {
        return text_result(text);
    }
    let end = from + offset(&text[from..], count);
    text_result(cut(text, from, end))
}

/// As for text: a rule of the original takes keys of devices apart so.
fn middle_octets<'a>(octets: &[u8], first: Option<usize>, count: i64) -> Result<Val<'a>, Fault> {
    if count == 0 {
        return binary_result([]);
    }
    match (first.filter(|first| *first < octets.len()), usize::try_from(count)) {
        (Some(first), Ok(count)) => binary_result(&octets[first..first.saturating_add(count).min(octets.len())]),
        _ => binary_result(octets),
    }
}

fn padding(call: &mut Call<'_, '_>) -> Result<(usize, char), Fault> {
    let length = call.required_number(1)?;
    let Some(length) = usize::try_from(length).ok().filter(|_| length <= PAD_MAX) else {
        return Err(call.bad(format_args!("the length {length} is not between 0 and {PAD_MAX}")));
    };
    let character = call.text_or_empty(2)?;
    let mut characters = character.chars();
    match (characters.next(), characters.next()) {
        (Some(character), None) => Ok((length, character)),
        _ => Err(call.bad(format_args!("pads with one character, not with {character:?}"))),
    }
}

fn pad_left<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let (length, character) = padding(call)?;
    let Some(text) = call.text(0)? else { return text_result("") };
    let missing = length.saturating_sub(text.chars().count());
    if missing == 0 {
        return text_result(text);
    }
    let mut padded = String::with_capacity(text.len() + missing * character.len_utf8());
    padded.extend(std::iter::repeat_n(character, missing));
    padded.push_str(&text);
    text_result(padded)
}

fn pad_right<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let (length, character) = padding(call)?;
    let Some(text) = call.text(0)? else { return text_result("") };
    let missing = length.saturating_sub(text.chars().count());
    if missing == 0 {
        return text_result(text);
    }
    let mut padded = text.into_owned();
    padded.extend(std::iter::repeat_n(character, missing));
    text_result(padded)
}

fn p_case<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let text = call.text_or_empty(0)?;
    let mut result = String::with_capacity(text.len());
    for (index, word) in text.split(' ').enumerate() {
        if index > 0 {
            result.push(' ');
        }
        if word.chars().any(char::is_lowercase) {
            let mut characters = word.chars();
            result.extend(characters.next().into_iter().flat_map(char::to_uppercase));
            result.extend(characters.flat_map(char::to_lowercase));
        } else {
            // A word without any lower-case letter stays: the documented limit of the original.
            result.push_str(word);
        }
    }
    text_result(result)
}

fn replace<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let (text, old, new) = (call.text_or_empty(0)?, call.text_or_empty(1)?, call.text_or_empty(2)?);
    let plain = |text: Cow<'a, str>| {
        if text.contains('\\') { Cow::Owned(text.replace("\\n", "\n").replace("\\r", "\r").replace("\\t", "\t")) } else { text }
    };
    let (old, new) = (plain(old), plain(new));
    if old.is_empty() || !text.contains(old.as_ref()) {
        return text_result(text);
    }
    text_result(text.replace(old.as_ref(), &new))
}

fn replace_chars<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let (text, pattern) = (call.text_or_empty(0)?, call.text_or_empty(1)?);
    let pattern: String = pattern.chars().filter(|character| !character.is_whitespace()).collect();
    let mut table: Vec<(char, &str)> = Vec::new();
    for pair in pattern.split(',').filter(|pair| !pair.is_empty()) {
        let mut parts = pair.split(':');
        let (Some(source), Some(target), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err(call.bad(format_args!("{pair:?} of the pattern is not 'character:replacement'")));
        };
        let mut characters = source.chars();
        let (Some(source), None) = (characters.next(), characters.next()) else {
            return Err(call.bad(format_args!("{pair:?} of the pattern does not replace exactly one character")));
        };
        table.push((source, target));
    }
    let replacement = |character: char| table.iter().find(|(source, _)| *source == character).map(|(_, target)| *target);
    if !text.chars().any(|character| replacement(character).is_some()) {
        return text_result(text);
    }
    let mut result = String::with_capacity(text.len());
    for character in text.chars() {
        match replacement(character) {
            Some(target) => result.push_str(target),
            None => result.push(character),
        }
    }
    text_result(result)
}

fn word<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let (text, number, delimiters) = (call.text_or_empty(0)?, call.number(1)?, call.text_or_empty(2)?);
    let Some(index) = number.and_then(|number| usize::try_from(number).ok()).and_then(|number| number.checked_sub(1)) else {
        return text_result("");
    };
    let found = {
        let mut words = text.split(|character| delimiters.contains(character));
        words.nth(index).map(|word| {
            let start = word.as_ptr().addr() - text.as_ptr().addr();
            (start, start + word.len())
        })
    };
    found.map_or_else(|| text_result(""), |(start, end)| text_result(cut(text, start, end)))
}
