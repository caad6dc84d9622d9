//! Attribute values, owned and borrowed.

use std::borrow::Cow;
use std::fmt;

/// The type of a value. The order is part of the canonical order of values in records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ValueKind {
    /// Unicode text.
    Text,
    /// Signed 64-bit integer.
    Number,
    /// True or false.
    Boolean,
    /// Octets.
    Binary,
    /// Text above [`super::INLINE_VALUE_MAX`] octets, kept beside the record.
    LargeText,
    /// Octets above [`super::INLINE_VALUE_MAX`], kept beside the record.
    LargeBinary,
    /// Another object. Never in a record: references are rows of their own.
    Reference,
}

/// A large value's stand-in: what it is equal to, not what it holds. The store keeps the octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Blob {
    /// XXH3-128 of the octets under a fixed seed: equal contents, equal handle.
    pub hash: u128,
    /// Octets of the content.
    pub length: u32,
}

impl Blob {
    /// The handle of a content.
    pub fn of(content: &[u8]) -> Self {
        Self { hash: xxhash_rust::xxh3::xxh3_128(content), length: u32::try_from(content.len()).unwrap_or(u32::MAX) }
    }
}

/// A value that owns its content; used where evaluation makes new values.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// Unicode text.
    Text(Box<str>),
    /// Signed 64-bit integer.
    Number(i64),
    /// True or false.
    Boolean(bool),
    /// Octets.
    Binary(Box<[u8]>),
    /// A large text, by handle.
    LargeText(Blob),
    /// Large octets, by handle.
    LargeBinary(Blob),
    /// An object of the space the value lives in: a `CsId` or an `MvId`.
    Reference(u64),
}

/// A value that borrows its content; what records, rules and connectors hand around.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ValueRef<'a> {
    /// Unicode text.
    Text(&'a str),
    /// Signed 64-bit integer.
    Number(i64),
    /// True or false.
    Boolean(bool),
    /// Octets.
    Binary(&'a [u8]),
    /// A large text, by handle.
    LargeText(Blob),
    /// Large octets, by handle.
    LargeBinary(Blob),
    /// An object of the space the value lives in: a `CsId` or an `MvId`.
    Reference(u64),
}

impl Value {
    /// The same value, borrowed.
    pub fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Self::Text(text) => ValueRef::Text(text),
            Self::Number(number) => ValueRef::Number(*number),
            Self::Boolean(boolean) => ValueRef::Boolean(*boolean),
            Self::Binary(bytes) => ValueRef::Binary(bytes),
            Self::LargeText(blob) => ValueRef::LargeText(*blob),
            Self::LargeBinary(blob) => ValueRef::LargeBinary(*blob),
            Self::Reference(id) => ValueRef::Reference(*id),
        }
    }
}

impl ValueRef<'_> {
    /// The type of the value.
    pub fn kind(self) -> ValueKind {
        match self {
            Self::Text(_) => ValueKind::Text,
            Self::Number(_) => ValueKind::Number,
            Self::Boolean(_) => ValueKind::Boolean,
            Self::Binary(_) => ValueKind::Binary,
            Self::LargeText(_) => ValueKind::LargeText,
            Self::LargeBinary(_) => ValueKind::LargeBinary,
            Self::Reference(_) => ValueKind::Reference,
        }
    }

    /// The same value, owning its content.
    pub fn to_value(self) -> Value {
        match self {
            Self::Text(text) => Value::Text(text.into()),
            Self::Number(number) => Value::Number(number),
            Self::Boolean(boolean) => Value::Boolean(boolean),
            Self::Binary(bytes) => Value::Binary(bytes.into()),
            Self::LargeText(blob) => Value::LargeText(blob),
            Self::LargeBinary(blob) => Value::LargeBinary(blob),
            Self::Reference(id) => Value::Reference(id),
        }
    }
}

impl<'a> From<&'a str> for ValueRef<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into_boxed_str())
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

impl fmt::Debug for ValueRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Boolean(boolean) => write!(f, "{boolean}"),
            Self::Binary(bytes) => {
                f.write_str("0x")?;
                bytes.iter().take(32).try_for_each(|byte| write!(f, "{byte:02x}"))?;
                if bytes.len() > 32 { write!(f, "… ({} octets)", bytes.len()) } else { Ok(()) }
            }
            Self::LargeText(blob) => write!(f, "<text of {} octets>", blob.length),
            Self::LargeBinary(blob) => write!(f, "<{} octets>", blob.length),
            Self::Reference(id) => write!(f, "→{id}"),
        }
    }
}

/// The form in which text compares without regard to case: Unicode lower case, borrowed when nothing changes.
///
/// Joins, scopes and DNs use this one function, so that they cannot disagree.
pub fn fold(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) { Cow::Owned(text.to_ascii_lowercase()) } else { Cow::Borrowed(text) }
    } else {
        Cow::Owned(text.to_lowercase())
    }
}

/// The mail address behind `smtp:`, in any case; `None` for other schemes, and without one.
pub fn smtp_address(text: &str) -> Option<&str> {
    text.split_once(':').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("smtp")).map(|(_, address)| address)
}

/// An address without its `smtp:`; other schemes stay.
pub fn bare_address(text: &str) -> &str {
    smtp_address(text).unwrap_or(text)
}

/// The same without blanks in front of the scheme, behind it, and at the end.
pub fn trimmed_address(text: &str) -> &str {
    bare_address(text.trim()).trim()
}
