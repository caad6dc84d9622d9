//! Reading binary XML as a stream of events.

use super::{DEPTH_MAX, DecodeError, OCTETS_MAX, dictionary, lexical};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// An element begins.
    Start {
        /// The namespace, empty without one.
        namespace: Cow<'a, str>,
        /// The local name.
        name: Cow<'a, str>,
        /// Its attributes without namespace declarations.
        attributes: Vec<Attribute<'a>>,
    },
    /// Text in its lexical form.
    Text(Cow<'a, str>),
    /// The innermost element ends.
    End,
    /// The document is over.
    Eof,
}

/// An attribute of an element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// The namespace, empty without one.
    pub namespace: Cow<'a, str>,
    /// The local name.
    pub name: Cow<'a, str>,
    /// The value in its lexical form. A qualified name (`i:type`) keeps its prefix; see [`Reader::resolve`].
    pub value: Cow<'a, str>,
}

/// A part of text: octets are kept as such until all neighbours are known.
enum Part<'a> {
    Text(Cow<'a, str>),
    Octets(&'a [u8]),
}

/// Reads one document.
#[derive(Debug)]
pub struct Reader<'a> {
    data: &'a [u8],
    at: usize,
    /// Per open element: how many declarations were in scope before it.
    open: Vec<usize>,
    declared: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// The text just given ended its element, too.
    ended: bool,
    /// The array whose values are being given.
    array: Option<Array<'a>>,
    /// Values of arrays that this document may still have.
    array_values: u32,
}

/// An array stands for so many elements of one name with a value each.
#[derive(Debug)]
struct Array<'a> {
    namespace: Cow<'a, str>,
    name: Cow<'a, str>,
    /// The record of each value.
    kind: u8,
    left: u32,
    /// The element of the next value has begun.
    begun: bool,
}

/// Documents with more values in arrays are refused: one octet of an array becomes a whole element, and no message of
/// this service has any.
const ARRAY_VALUES_MAX: u32 = 100_000;
/// More namespaces in scope at once are refused: every prefix is looked up among them.
const DECLARATIONS_MAX: usize = 64;
/// More attributes of one element are refused.
const ATTRIBUTES_MAX: usize = 64;

type Read<T> = Result<T, DecodeError>;

impl<'a> Reader<'a> {
    /// A reader of a document.
    pub fn new(data: &'a [u8]) -> Read<Self> {
        let reader =
            Self { data, at: 0, open: Vec::new(), declared: Vec::new(), ended: false, array: None, array_values: ARRAY_VALUES_MAX };
        if data.len() > OCTETS_MAX {
            return Err(reader.wrong("the message is above 64 MiB"));
        }
        Ok(reader)
    }

    /// The next event.
    #[expect(clippy::should_implement_trait, reason = "a reader lends from itself and ends with an event, not with None")]
    pub fn next(&mut self) -> Read<Event<'a>> {
        if std::mem::take(&mut self.ended) {
            self.close()?;
            return Ok(Event::End);
        }
        loop {
            if let Some(array) = self.array.take()
                && let Some(event) = self.array_event(array)?
            {
                return Ok(event);
            }
            if self.at == self.data.len() {
                return if self.open.is_empty() && self.at > 0 {
                    Ok(Event::Eof)
                } else {
                    Err(self.wrong("the message ends inside an element"))
                };
            }
            let record = self.byte()?;
            match record {
                0x01 => {
                    self.close()?;
                    return Ok(Event::End);
                }
                0x02 => {
                    self.string()?;
                }
                0x03 => self.array()?,
                0x40..=0x77 => return self.element(record),
                0x80.. => return self.text_event(record),
                _ => return Err(self.wrong(&format!("record {record:#04x} cannot stand here"))),
            }
        }
    }

    /// The namespace and the local name of a qualified name in the current scope.
    pub fn resolve<'t>(&self, qualified: &'t str) -> (Cow<'a, str>, &'t str) {
        let (prefix, local) = qualified.split_once(':').unwrap_or(("", qualified));
        (self.namespace(prefix).unwrap_or(Cow::Borrowed("")), local)
    }

    /// Reads the text of the element that has just begun, up to and with its end. Child elements are an error.
    pub fn text(&mut self) -> Read<Cow<'a, str>> {
        let mut text: Cow<'a, str> = Cow::Borrowed("");
        loop {
            match self.next()? {
                Event::Text(part) if text.is_empty() => text = part,
                Event::Text(part) => text.to_mut().push_str(&part),
                Event::End => return Ok(text),
                Event::Start { name, .. } => return Err(self.wrong(&format!("an element {name} where text was expected"))),
                Event::Eof => return Err(self.wrong("the message ends inside an element")),
            }
        }
    }

    /// Skips the element that has just begun, with everything in it.
    pub fn skip(&mut self) -> Read<()> {
        let mut depth = 1usize;
        while depth > 0 {
            match self.next()? {
                Event::Start { .. } => depth += 1,
                Event::End => depth -= 1,
                Event::Text(_) => {}
                Event::Eof => return Err(self.wrong("the message ends inside an element")),
            }
        }
        Ok(())
    }

    /// The next child of the element that is open; `None` when it ends. Text between children is ignored.
    pub fn child(&mut self) -> Read<Option<(Cow<'a, str>, Vec<Attribute<'a>>)>> {
        loop {
            match self.next()? {
                Event::Start { name, attributes, .. } => return Ok(Some((name, attributes))),
                Event::Text(_) => {}
                Event::End => return Ok(None),
                Event::Eof => return Err(self.wrong("the message ends inside an element")),
            }
        }
    }

    /// An error at the current place.
    pub fn wrong(&self, reason: &str) -> DecodeError {
        DecodeError { offset: self.at, reason: reason.to_owned() }
    }

    fn close(&mut self) -> Read<()> {
        let Some(declared) = self.open.pop() else { return Err(self.wrong("an end without a beginning")) };
        self.declared.truncate(declared);
        Ok(())
    }

    fn element(&mut self, record: u8) -> Read<Event<'a>> {
        let (prefix, name) = self.element_name(record)?;
        if self.open.len() >= DEPTH_MAX {
            return Err(self.wrong("elements nest too deep"));
        }
        self.open.push(self.declared.len());
        let raw = self.attributes()?;
        let attributes = raw
            .into_iter()
            .map(|(prefix, name, value)| {
                let namespace = if prefix.is_empty() { Some(Cow::Borrowed("")) } else { self.namespace(&prefix) };
                let namespace = namespace.ok_or_else(|| self.wrong(&format!("prefix {prefix} is not declared")))?;
                Ok(Attribute { namespace, name, value })
            })
            .collect::<Read<Vec<_>>>()?;
        let namespace = match self.namespace(&prefix) {
            Some(namespace) => namespace,
            None if prefix.is_empty() => Cow::Borrowed(""),
            None => return Err(self.wrong(&format!("prefix {prefix} is not declared"))),
        };
        Ok(Event::Start { namespace, name, attributes })
    }

    fn element_name(&mut self, record: u8) -> Read<(Cow<'a, str>, Cow<'a, str>)> {
        Ok(match record {
            0x40 => (Cow::Borrowed(""), self.string()?),
            0x41 => (self.string()?, self.string()?),
            0x42 => (Cow::Borrowed(""), self.dictionary_string()?),
            0x43 => (self.string()?, self.dictionary_string()?),
            0x44..=0x5D => (letter(record - 0x44), self.dictionary_string()?),
            0x5E..=0x77 => (letter(record - 0x5E), self.string()?),
            _ => return Err(self.wrong("an element was expected")),
        })
    }

    #[expect(clippy::type_complexity, reason = "prefix, name, value of each attribute, before prefixes can be resolved")]
    fn attributes(&mut self) -> Read<Vec<(Cow<'a, str>, Cow<'a, str>, Cow<'a, str>)>> {
        let mut attributes = Vec::new();
        while let Some(record @ 0x04..=0x3F) = self.data.get(self.at).copied() {
            self.at += 1;
            if matches!(record, 0x08..=0x0B) {
                if self.declared.len() >= DECLARATIONS_MAX {
                    return Err(self.wrong("too many namespaces in scope"));
                }
            } else if attributes.len() >= ATTRIBUTES_MAX {
                return Err(self.wrong("too many attributes of one element"));
            }
            let (prefix, name) = match record {
                0x04 => (Cow::Borrowed(""), self.string()?),
                0x05 => (self.string()?, self.string()?),
                0x06 => (Cow::Borrowed(""), self.dictionary_string()?),
                0x07 => (self.string()?, self.dictionary_string()?),
                0x08 => {
                    let uri = self.string()?;
                    self.declared.push((Cow::Borrowed(""), uri));
                    continue;
                }
                0x09 => {
                    let declaration = (self.string()?, self.string()?);
                    self.declared.push(declaration);
                    continue;
                }
                0x0A => {
                    let uri = self.dictionary_string()?;
                    self.declared.push((Cow::Borrowed(""), uri));
                    continue;
                }
                0x0B => {
                    let declaration = (self.string()?, self.dictionary_string()?);
                    self.declared.push(declaration);
                    continue;
                }
                0x0C..=0x25 => (letter(record - 0x0C), self.dictionary_string()?),
                _ => (letter(record - 0x26), self.string()?),
            };
            let record = self.byte()?;
            if record % 2 == 1 || record < 0x80 {
                return Err(self.wrong("an attribute without a value"));
            }
            let part = self.part(record)?;
            attributes.push((prefix, name, part.into_text()));
        }
        Ok(attributes)
    }

    /// Neighbouring text records are one text; octets in a row are one sequence, however they were cut.
    fn text_event(&mut self, mut record: u8) -> Read<Event<'a>> {
        if self.open.is_empty() {
            return Err(self.wrong("text outside of the document"));
        }
        let mut joined = Joined::default();
        loop {
            joined.push(self.part(record & !1)?);
            if record & 1 == 1 {
                self.ended = true;
                break;
            }
            match self.data.get(self.at) {
                Some(next @ 0x80..) => {
                    record = *next;
                    self.at += 1;
                }
                _ => break,
            }
        }
        Ok(Event::Text(joined.finish()))
    }

    fn part(&mut self, record: u8) -> Read<Part<'a>> {
        let text = |text: &'static str| Ok(Part::Text(Cow::Borrowed(text)));
        let owned = |text: String| Ok(Part::Text(Cow::Owned(text)));
        match record {
            0x80 => text("0"),
            0x82 => text("1"),
            0x84 => text("false"),
            0x86 => text("true"),
            0x88 => owned(i8::from_le_bytes(self.array_of()?).to_string()),
            0x8A => owned(i16::from_le_bytes(self.array_of()?).to_string()),
            0x8C => owned(i32::from_le_bytes(self.array_of()?).to_string()),
            0x8E => owned(i64::from_le_bytes(self.array_of()?).to_string()),
            0x90 => {
                let value = f32::from_le_bytes(self.array_of()?);
                owned(if value.is_finite() { value.to_string() } else { lexical::float(f64::from(value)) })
            }
            0x92 => owned(lexical::float(f64::from_le_bytes(self.array_of()?))),
            0x94 => {
                let raw = self.array_of()?;
                owned(lexical::decimal(raw).ok_or_else(|| self.wrong("a decimal that is none"))?)
            }
            0x96 => {
                let raw = u64::from_le_bytes(self.array_of()?);
                owned(lexical::date_time(raw).ok_or_else(|| self.wrong("a date that is none"))?)
            }
            0x98 | 0x9A | 0x9C => {
                let length = self.length(record - 0x98)?;
                Ok(Part::Text(Cow::Borrowed(self.utf8(length)?)))
            }
            0x9E | 0xA0 | 0xA2 => {
                let length = self.length(record - 0x9E)?;
                Ok(Part::Octets(self.take(length)?))
            }
            0xA4 => self.list(),
            0xA8 => text(""),
            0xAA => Ok(Part::Text(self.dictionary_string()?)),
            0xAC => owned(format!("urn:uuid:{}", lexical::guid(self.array_of()?))),
            0xAE => owned(lexical::time_span(i64::from_le_bytes(self.array_of()?))),
            0xB0 => owned(lexical::guid(self.array_of()?)),
            0xB2 => owned(u64::from_le_bytes(self.array_of()?).to_string()),
            0xB4 => match self.byte()? {
                0 => text("false"),
                1 => text("true"),
                _ => Err(self.wrong("a Boolean that is none")),
            },
            0xB6 | 0xB8 | 0xBA => {
                let length = self.length(record - 0xB6)?;
                self.utf16(length)
            }
            0xBC => {
                let prefix = self.byte()?;
                if prefix > 25 {
                    return Err(self.wrong("a prefix letter beyond z"));
                }
                let name = self.dictionary_string()?;
                owned(format!("{}:{name}", letter(prefix)))
            }
            other => Err(self.wrong(&format!("record {other:#04x} is no text"))),
        }
    }

    fn list(&mut self) -> Read<Part<'a>> {
        let mut text = String::new();
        let mut first = true;
        loop {
            let record = self.byte()?;
            if record & !1 == 0xA6 {
                return Ok(Part::Text(Cow::Owned(text)));
            }
            if record == 0xA4 || record % 2 == 1 {
                return Err(self.wrong("a list that does not hold plain values"));
            }
            if !std::mem::take(&mut first) {
                text.push(' ');
            }
            let part = self.part(record)?;
            text.push_str(&part.into_text());
        }
    }

    /// Reads what an array says of itself; its values follow one by one.
    fn array(&mut self) -> Read<()> {
        let record = self.byte()?;
        let Event::Start { namespace, name, attributes } = self.element(record)? else {
            return Err(self.wrong("an array without an element"));
        };
        // Each of the elements would have them: one long value would become a hundred thousand.
        if !attributes.is_empty() {
            return Err(self.wrong("an array whose element has attributes"));
        }
        if self.byte()? != 0x01 {
            return Err(self.wrong("an array whose element does not end"));
        }
        self.close()?;
        let kind = self.byte()?;
        if !matches!(kind, 0xB5 | 0x8B | 0x8D | 0x8F | 0x91 | 0x93 | 0x95 | 0x97 | 0xAF | 0xB1) {
            return Err(self.wrong("an array of values that cannot be in one"));
        }
        let left = self.number()?;
        self.array_values = self.array_values.checked_sub(left).ok_or_else(|| self.wrong("arrays of too many values"))?;
        self.array = Some(Array { namespace, name, kind: kind & !1, left, begun: false });
        Ok(())
    }

    /// The next event of an array; `None` behind its last value.
    fn array_event(&mut self, mut array: Array<'a>) -> Read<Option<Event<'a>>> {
        if array.begun {
            let text = self.part(array.kind)?.into_text();
            array.begun = false;
            self.array = Some(array);
            self.ended = true;
            return Ok(Some(Event::Text(text)));
        }
        let Some(left) = array.left.checked_sub(1) else { return Ok(None) };
        (array.left, array.begun) = (left, true);
        self.open.push(self.declared.len());
        let start = Event::Start { namespace: array.namespace.clone(), name: array.name.clone(), attributes: Vec::new() };
        self.array = Some(array);
        Ok(Some(start))
    }

    fn namespace(&self, prefix: &str) -> Option<Cow<'a, str>> {
        if prefix == "xml" {
            return Some(Cow::Borrowed("http://www.w3.org/XML/1998/namespace"));
        }
        self.declared.iter().rev().find(|(known, _)| known == prefix).map(|(_, uri)| uri.clone())
    }

    fn byte(&mut self) -> Read<u8> {
        let byte = self.data.get(self.at).copied().ok_or_else(|| self.wrong("the message is cut off"))?;
        self.at += 1;
        Ok(byte)
    }

    fn take(&mut self, length: usize) -> Read<&'a [u8]> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.data.len());
        let end = end.ok_or_else(|| self.wrong("a length beyond the end of the message"))?;
        let taken = &self.data[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array_of<const N: usize>(&mut self) -> Read<[u8; N]> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| self.wrong("the message is cut off"))
    }

    fn utf8(&mut self, length: usize) -> Read<&'a str> {
        let taken = self.take(length)?;
        std::str::from_utf8(taken).map_err(|_| self.wrong("text that is not UTF-8"))
    }

    fn utf16(&mut self, length: usize) -> Read<Part<'a>> {
        let taken = self.take(length)?;
        if length % 2 == 1 {
            return Err(self.wrong("UTF-16 text of an odd length"));
        }
        let units = taken.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
        let text: Result<String, _> = char::decode_utf16(units).collect();
        text.map(|text| Part::Text(Cow::Owned(text))).map_err(|_| self.wrong("text that is not UTF-16"))
    }

    /// A length of one, two or four octets.
    fn length(&mut self, width: u8) -> Read<usize> {
        Ok(match width {
            0 => usize::from(self.byte()?),
            2 => usize::from(u16::from_le_bytes(self.array_of()?)),
            _ => {
                let length = i32::from_le_bytes(self.array_of()?);
                usize::try_from(length).map_err(|_| self.wrong("a negative length"))?
            }
        })
    }

    /// MultiByteInt31: seven bits an octet, at most five octets.
    fn number(&mut self) -> Read<u32> {
        let mut value = 0u32;
        for index in 0..5 {
            let byte = self.byte()?;
            if index == 4 && byte > 0x07 {
                return Err(self.wrong("a number beyond 31 bits"));
            }
            value |= u32::from(byte & 0x7F) << (7 * index);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.wrong("a number that does not end"))
    }

    fn string(&mut self) -> Read<Cow<'a, str>> {
        let length = self.number()? as usize;
        self.utf8(length).map(Cow::Borrowed)
    }

    fn dictionary_string(&mut self) -> Read<Cow<'a, str>> {
        let id = self.number()?;
        let text = dictionary::string(id).ok_or_else(|| self.wrong(&format!("dictionary number {id} is not in the static dictionary")))?;
        Ok(Cow::Borrowed(text))
    }
}

fn letter(index: u8) -> Cow<'static, str> {
    const LETTERS: &str = "abcdefghijklmnopqrstuvwxyz";
    let at = usize::from(index);
    LETTERS.get(at..=at).map_or(Cow::Borrowed(""), Cow::Borrowed)
}

impl<'a> Part<'a> {
    fn into_text(self) -> Cow<'a, str> {
        match self {
            Part::Text(text) => text,
            Part::Octets(octets) => Cow::Owned(STANDARD.encode(octets)),
        }
    }
}

/// Neighbouring parts as one text. Octets wait for their neighbours, and those of a single part are not copied.
#[derive(Default)]
struct Joined<'a> {
    text: Cow<'a, str>,
    octets: Vec<u8>,
    single: Option<&'a [u8]>,
}

impl<'a> Joined<'a> {
    fn push(&mut self, part: Part<'a>) {
        match part {
            Part::Octets(more) if self.text.is_empty() && self.octets.is_empty() && self.single.is_none() => self.single = Some(more),
            Part::Octets(more) => {
                self.octets.extend_from_slice(self.single.take().unwrap_or_default());
                self.octets.extend_from_slice(more);
            }
            Part::Text(more) => {
                self.flush();
                if self.text.is_empty() {
                    self.text = more;
                } else {
                    self.text.to_mut().push_str(&more);
                }
            }
        }
    }

    fn flush(&mut self) {
        self.octets.extend_from_slice(self.single.take().unwrap_or_default());
        if !self.octets.is_empty() {
            STANDARD.encode_string(&self.octets, self.text.to_mut());
            self.octets.clear();
        }
    }

    fn finish(mut self) -> Cow<'a, str> {
        if let Some(octets) = self.single {
            return Cow::Owned(STANDARD.encode(octets));
        }
        self.flush();
        self.text
    }
}
