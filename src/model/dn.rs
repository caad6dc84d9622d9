//! Distinguished names: parsing, comparing and the key under which they are stored (RFC 4514).

use super::value::fold;
use std::fmt;

/// A parsed distinguished name: RDNs from the left (the object) to the right (the root). Keeps its spelling.
#[derive(Clone, PartialEq, Eq)]
pub struct Dn {
    text: Box<str>,
    /// Per RDN: start and end in `text`, and the position of the first `=`.
    rdns: Vec<(u32, u32, u32)>,
}

/// A name in the form in which names compare, and in which a subtree is one key range: RDNs from the root,
/// folded, unescaped, each closed by octet 1. Octets 0, 1 and 2 inside a component are escaped by octet 2.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnKey(Box<[u8]>);

/// Why a text is no distinguished name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a distinguished name: {reason} at character {position}")]
pub struct DnError {
    /// Octet offset in the text.
    pub position: usize,
    /// What is wrong there.
    pub reason: &'static str,
}

const CLOSE: u8 = 1;
const ESCAPE: u8 = 2;

impl Dn {
    /// Parses a name of RFC 4514. A leading extended form (`<GUID=…>;`, `<SID=…>;`) as Active Directory gives it is
    /// cut off. The empty text is the root.
    pub fn parse(text: &str) -> Result<Self, DnError> {
        let text = strip_extended(text);
        let bytes = text.as_bytes();
        let mut rdns = Vec::with_capacity(6);
        if text.is_empty() {
            return Ok(Self { text: text.into(), rdns });
        }
        let (mut start, mut equals, mut quoted, mut index) = (0usize, None, false, 0usize);
        while index <= bytes.len() {
            match bytes.get(index) {
                Some(b'\\') => {
                    if index + 1 >= bytes.len() {
                        return Err(DnError { position: index, reason: "a backslash with nothing behind it" });
                    }
                    index += 1;
                }
                Some(b'"') => quoted = !quoted,
                Some(b'=') if equals.is_none() && !quoted => equals = Some(index),
                None | Some(b',' | b';') if !quoted || index == bytes.len() => {
                    if quoted {
                        return Err(DnError { position: index, reason: "a quotation mark that is never closed" });
                    }
                    let Some(at) = equals else {
                        return Err(DnError { position: start, reason: "a component without '='" });
                    };
                    if text[start..at].trim().is_empty() {
                        return Err(DnError { position: start, reason: "a component without a type before '='" });
                    }
                    rdns.push((small(start), small(index), small(at)));
                    start = index + 1;
                    equals = None;
                }
                _ => {}
            }
            index += 1;
        }
        Ok(Self { text: text.into(), rdns })
    }

    /// The name as it was spelt.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// How many RDNs the name has.
    pub fn depth(&self) -> usize {
        self.rdns.len()
    }

    /// The RDN at `index` from the left, as spelt: `CN=Smith\, J`.
    pub fn rdn(&self, index: usize) -> Option<&str> {
        let (start, end, _) = *self.rdns.get(index)?;
        Some(trim_value(&self.text[start as usize..end as usize]))
    }

    /// Type and value of the RDN at `index` from the left, the value still escaped.
    pub fn component(&self, index: usize) -> Option<(&str, &str)> {
        let (start, end, equals) = *self.rdns.get(index)?;
        Some((self.text[start as usize..equals as usize].trim(), trim_value(&self.text[equals as usize + 1..end as usize])))
    }

    /// Attribute and value that name the object among its siblings, the value as a directory keeps it. `None` for the root,
    /// and when several attributes do (RFC 4514 section 2.2).
    pub fn naming_value(&self) -> Option<(&str, Vec<u8>)> {
        let mut values = self.naming_values();
        let only = values.next()?;
        values.next().is_none().then_some(only)
    }

    /// Every attribute and value that name the object among its siblings, the values as a directory keeps them.
    pub fn naming_values(&self) -> impl Iterator<Item = (&str, Vec<u8>)> {
        let parts = self.rdn(0).into_iter().flat_map(|rdn| {
            let (mut escaped, mut quoted) = (false, false);
            rdn.split(move |character| {
                let plus = character == '+' && !escaped && !quoted;
                quoted ^= character == '"' && !escaped;
                escaped = character == '\\' && !escaped;
                plus
            })
        });
        parts.map(|part| {
            let (kind, value) = part.split_once('=').unwrap_or((part, ""));
            (kind.trim(), unescape(trim_value(value)))
        })
    }

    /// The name of the parent; `None` for the root and for names of one RDN.
    pub fn parent(&self) -> Option<Dn> {
        let (_, end, _) = *self.rdns.first()?;
        if self.rdns.len() < 2 {
            return None;
        }
        let cut = end as usize + 1;
        let shift = small(cut);
        let rdns = self.rdns[1..].iter().map(|(start, end, equals)| (start - shift, end - shift, equals - shift)).collect();
        Some(Dn { text: self.text[cut..].into(), rdns })
    }

    /// The key under which the name is stored and compared.
    pub fn key(&self) -> DnKey {
        let mut key = Vec::with_capacity(self.text.len() + self.rdns.len());
        for index in (0..self.rdns.len()).rev() {
            if let Some((kind, value)) = self.component(index) {
                push_component(&mut key, kind, value);
            }
        }
        DnKey(key.into_boxed_slice())
    }

    /// True when the two spell the same name: folded, with escapes and blanks around separators resolved.
    pub fn same(&self, other: &Dn) -> bool {
        self.key() == other.key()
    }
}

impl DnKey {
    /// The octets of the key.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// A key from octets that a store kept.
    pub fn from_bytes(bytes: impl Into<Box<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// True when this name is `ancestor` or lies below it.
    pub fn is_within(&self, ancestor: &DnKey) -> bool {
        self.0.starts_with(&ancestor.0)
    }

    /// The key of the parent, empty at the root.
    #[must_use]
    pub fn parent(&self) -> DnKey {
        let body = self.0.strip_suffix(&[CLOSE]).unwrap_or(&self.0);
        let mut cut = 0;
        let mut index = 0;
        while index < body.len() {
            match body[index] {
                ESCAPE => index += 1,
                CLOSE => cut = index + 1,
                _ => {}
            }
            index += 1;
        }
        DnKey(self.0[..cut].into())
    }
}

impl fmt::Debug for Dn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dn({})", self.text)
    }
}

impl fmt::Display for Dn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Escapes one component `type=value` for use in a DN (RFC 4514 section 2.4). The first `=` stays the separator.
pub fn escape_component(component: &str) -> String {
    let (kind, value) = component.split_once('=').map_or((None, component), |(kind, value)| (Some(kind), value));
    let mut escaped = String::with_capacity(component.len() + 8);
    if let Some(kind) = kind {
        escaped.push_str(kind);
        escaped.push('=');
    }
    let last = value.chars().count().saturating_sub(1);
    for (index, character) in value.chars().enumerate() {
        let edge_blank = character == ' ' && (index == 0 || index == last);
        if edge_blank || matches!(character, ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=') || (character == '#' && index == 0) {
            escaped.push('\\');
        }
        if character == '\0' { escaped.push_str("\\00") } else { escaped.push(character) }
    }
    escaped
}

fn small(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

fn strip_extended(text: &str) -> &str {
    let mut rest = text;
    while rest.starts_with('<') {
        match rest.split_once(">;") {
            Some((_, behind)) => rest = behind,
            None => break,
        }
    }
    rest
}

/// Blanks around a value do not count unless the last one is escaped.
fn trim_value(value: &str) -> &str {
    let value = value.trim_start_matches(' ');
    let mut end = value.len();
    while value[..end].ends_with(' ') && !ends_escaped(&value[..end - 1]) {
        end -= 1;
    }
    &value[..end]
}

fn ends_escaped(text: &str) -> bool {
    text.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

fn push_component(key: &mut Vec<u8>, kind: &str, value: &str) {
    key.extend(kind.bytes().map(|byte| byte.to_ascii_lowercase()));
    key.push(b'=');
    let unescaped = unescape(value);
    for byte in fold(&String::from_utf8_lossy(&unescaped)).bytes() {
        if byte <= ESCAPE {
            key.push(ESCAPE);
        }
        key.push(byte);
    }
    key.push(CLOSE);
}

fn unescape(value: &str) -> Vec<u8> {
    let inner = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    let bytes = inner.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        if bytes[index] == b'\\' && index + 1 < bytes.len() {
            let pair = bytes.get(index + 1..index + 3).and_then(|pair| std::str::from_utf8(pair).ok());
            if let Some(byte) =
                pair.and_then(|pair| u8::from_str_radix(pair, 16).ok().filter(|_| pair.bytes().all(|b| b.is_ascii_hexdigit())))
            {
                plain.push(byte);
                index += 3;
            } else {
                plain.push(bytes[index + 1]);
                index += 2;
            }
        } else {
            plain.push(bytes[index]);
            index += 1;
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_naming_value_is_what_a_directory_keeps() {
        let value = |text: &str| Dn::parse(text).unwrap().naming_value().map(|(kind, value)| (kind.to_owned(), value));
        assert_eq!(value("CN=Smith\\, J\\2b,DC=x"), Some(("CN".into(), b"Smith, J+".to_vec())));
        assert_eq!(value("CN=a\\+b,DC=x"), Some(("CN".into(), b"a+b".to_vec())));
        assert_eq!(value("CN=a+UID=b,DC=x"), None);
        assert_eq!(value("CN=\"a+b\",DC=x"), Some(("CN".into(), b"a+b".to_vec())));
        assert_eq!(value(""), None);
        let dn = Dn::parse("CN=a\\+b + uid=c,DC=x").unwrap();
        assert_eq!(dn.naming_values().collect::<Vec<_>>(), [("CN", b"a+b".to_vec()), ("uid", b"c".to_vec())]);
    }

    #[test]
    fn a_part_keeps_its_escaped_blank() {
        let dn = Dn::parse("CN=a\\  , OU=b ,DC=x").unwrap();
        assert_eq!((dn.rdn(0), dn.rdn(1), dn.rdn(2)), (Some("CN=a\\ "), Some("OU=b"), Some("DC=x")));
    }

    #[test]
    fn names_compare_whatever_their_spelling() {
        for (left, right) in [
            ("CN=Smith\\, J,OU=People,DC=x", "cn=smith\\2C j, ou=PEOPLE,dc=X"),
            ("CN=Łódź,DC=x", "cn=łÓDŹ,dc=x"),
            ("CN=a\\ ,DC=x", "CN=a\\20,DC=x"),
            ("<GUID=0011>;CN=a,DC=x", "CN=a,DC=x"),
            ("CN=\"a,b\",DC=x", "CN=a\\,b,DC=x"),
        ] {
            assert!(Dn::parse(left).unwrap().same(&Dn::parse(right).unwrap()), "{left} | {right}");
        }
    }

    #[test]
    fn a_subtree_is_a_prefix_and_siblings_are_not() {
        let key = |text: &str| Dn::parse(text).unwrap().key();
        let people = key("OU=People,DC=x");
        assert!(key("CN=a,OU=Team,OU=People,DC=x").is_within(&people));
        assert!(!key("CN=a,OU=Peoples,DC=x").is_within(&people));
        assert_eq!(key("CN=a,OU=Team,OU=People,DC=x").parent(), key("OU=Team,OU=People,DC=x"));
        assert_eq!(Dn::parse("CN=a\\,b,OU=Team,DC=x").unwrap().parent().unwrap().as_str(), "OU=Team,DC=x");
    }

    #[test]
    fn what_is_no_name_says_where() {
        assert_eq!(Dn::parse("CN=a,b").unwrap_err().position, 5);
        assert!(Dn::parse("CN=\"a").is_err());
        assert!(Dn::parse("=a").is_err());
        assert!(Dn::parse("CN=a\\").is_err());
        assert_eq!(Dn::parse("").unwrap().depth(), 0);
    }

    #[test]
    fn components_keep_their_escapes() {
        let dn = Dn::parse("CN=Joe\\0ACNF:1,OU=a,DC=x").unwrap();
        assert_eq!(dn.component(0), Some(("CN", "Joe\\0ACNF:1")));
        assert_eq!(escape_component("cn=Smith, J"), "cn=Smith\\, J");
    }
}
