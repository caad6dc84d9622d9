//! Writing binary XML into one reusable buffer.

use super::dictionary;

/// Writes a document. Elements are ended by [`Writer::end`] or together with their text.
#[derive(Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
}

impl Writer {
    /// An empty document.
    pub fn new() -> Self {
        Self::default()
    }

    /// A document in a buffer that is used again; its content goes, its room stays.
    pub fn reuse(mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Self { out: buffer }
    }

    /// The document.
    pub fn finish(self) -> Vec<u8> {
        self.out
    }

    /// How many octets have been written.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// True while nothing has been written.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Begins an element; `prefix` is one letter from a to z, or nothing.
    pub fn start(&mut self, prefix: Option<u8>, name: &str) -> &mut Self {
        match (prefix, dictionary::id(name)) {
            (None, Some(id)) => self.push(0x42).number(id),
            (None, None) => self.push(0x40).string(name),
            (Some(letter), Some(id)) => self.push(0x44 + offset(letter)).number(id),
            (Some(letter), None) => self.push(0x5E + offset(letter)).string(name),
        }
    }

    /// Declares the default namespace of the element just begun.
    pub fn default_namespace(&mut self, uri: &str) -> &mut Self {
        match dictionary::id(uri) {
            Some(id) => self.push(0x0A).number(id),
            None => self.push(0x08).string(uri),
        }
    }

    /// Declares a prefix on the element just begun.
    pub fn namespace(&mut self, prefix: u8, uri: &str) -> &mut Self {
        let letter = [prefix];
        let prefix = std::str::from_utf8(&letter).unwrap_or("a");
        match dictionary::id(uri) {
            Some(id) => self.push(0x0B).string(prefix).number(id),
            None => self.push(0x09).string(prefix).string(uri),
        }
    }

    /// Adds an attribute with a prefix to the element just begun.
    pub fn attribute(&mut self, prefix: u8, name: &str, value: &str) -> &mut Self {
        match dictionary::id(name) {
            Some(id) => self.push(0x0C + offset(prefix)).number(id),
            None => self.push(0x26 + offset(prefix)).string(name),
        };
        self.chars(value, 0)
    }

    /// Adds `xml:lang`.
    pub fn language(&mut self, language: &str) -> &mut Self {
        self.push(0x05).string("xml").string("lang").chars(language, 0)
    }

    /// Adds `mustUnderstand="1"` with the prefix `s`.
    pub fn must_understand(&mut self) -> &mut Self {
        self.push(0x0C + offset(b's')).number(0).push(0x82)
    }

    /// Adds `i:nil="true"`.
    pub fn nil(&mut self) -> &mut Self {
        self.push(0x0C + offset(b'i')).number(886).push(0x86)
    }

    /// Adds `i:type` naming a type of the XSD namespace under the prefix `d`; both must be in the dictionary.
    pub fn schema_type(&mut self, name: &str) -> &mut Self {
        self.push(0x0C + offset(b'i')).number(888);
        match dictionary::id(name) {
            Some(id) => self.push(0xBC).push(offset(b'd')).number(id),
            None => self.chars(&format!("d:{name}"), 0),
        }
    }

    /// Adds `i:type` as it stands.
    pub fn named_type(&mut self, name: &str) -> &mut Self {
        self.push(0x0C + offset(b'i')).number(888).chars(name, 0)
    }

    /// Writes text and ends the element.
    pub fn text_end(&mut self, text: &str) -> &mut Self {
        if text.is_empty() { self.end() } else { self.chars(text, 1) }
    }

    /// Writes octets, which read as base64, and ends the element.
    pub fn octets_end(&mut self, octets: &[u8]) -> &mut Self {
        if octets.is_empty() {
            return self.end();
        }
        self.sized(0x9E, octets, 1)
    }

    /// Writes a Boolean and ends the element.
    pub fn boolean_end(&mut self, value: bool) -> &mut Self {
        self.push(if value { 0x87 } else { 0x85 })
    }

    /// Writes a number and ends the element.
    pub fn number_end(&mut self, value: i64) -> &mut Self {
        if let Ok(small) = i32::try_from(value) {
            self.push(0x8D);
            self.out.extend_from_slice(&small.to_le_bytes());
        } else {
            self.push(0x8F);
            self.out.extend_from_slice(&value.to_le_bytes());
        }
        self
    }

    /// Ends the innermost element.
    pub fn end(&mut self) -> &mut Self {
        self.push(0x01)
    }

    /// An element with text.
    pub fn element(&mut self, prefix: Option<u8>, name: &str, text: &str) -> &mut Self {
        self.start(prefix, name).text_end(text)
    }

    fn chars(&mut self, text: &str, end: u8) -> &mut Self {
        self.sized(0x98, text.as_bytes(), end)
    }

    /// Records of one, two or four octets of length, two numbers apart.
    fn sized(&mut self, record: u8, content: &[u8], end: u8) -> &mut Self {
        if let Ok(length) = u8::try_from(content.len()) {
            self.push(record + end).push(length);
        } else if let Ok(length) = u16::try_from(content.len()) {
            self.push(record + 2 + end);
            self.out.extend_from_slice(&length.to_le_bytes());
        } else {
            let length = i32::try_from(content.len()).unwrap_or(i32::MAX);
            self.push(record + 4 + end);
            self.out.extend_from_slice(&length.to_le_bytes());
        }
        self.out.extend_from_slice(content);
        self
    }

    fn string(&mut self, text: &str) -> &mut Self {
        self.number(u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.out.extend_from_slice(text.as_bytes());
        self
    }

    fn number(&mut self, mut value: u32) -> &mut Self {
        while value >= 0x80 {
            self.out.push(u8::try_from(value & 0x7F).unwrap_or(0) | 0x80);
            value >>= 7;
        }
        self.out.push(u8::try_from(value).unwrap_or(0));
        self
    }

    fn push(&mut self, byte: u8) -> &mut Self {
        self.out.push(byte);
        self
    }
}

fn offset(letter: u8) -> u8 {
    letter.saturating_sub(b'a').min(25)
}
