//! Reading back what synchronization wrote, in pages behind a cookie (specification: provisioning service 3.5).

use super::properties::{Property, PropertyValue, ReferenceAttribute};
use super::record::{Mastery, ObjectKind, ObjectRecord};
use super::tables::Reader;
use super::{DirectoryError, ObjectNumber};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A page ends early when its references reach this number.
const PAGE_REFERENCES: usize = 60_000;
const VERSION: &str = "1";

/// What a client asks for.
#[derive(Clone, Debug, Default)]
pub struct ReadBackRequest {
    /// The cookie of the previous answer.
    pub cookie: Option<String>,
    /// Everything, not only what changed since the cookie.
    pub full: bool,
    /// Objects per page; without it everything comes in one answer.
    pub page_size: Option<usize>,
}

/// One object of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadBackItem {
    /// The type.
    pub kind: ObjectKind,
    /// It is gone; only the anchors are given.
    pub deleted: bool,
    /// Anchors, values and references, names in Pascal case, anchors first.
    pub properties: Vec<Property>,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadBackPage {
    /// The objects.
    pub items: Vec<ReadBackItem>,
    /// For the next request, opaque.
    pub cookie: String,
    /// There is more right now.
    pub more: bool,
}

/// Why a read-back is not possible.
#[derive(Debug, thiserror::Error)]
pub enum CookieError {
    /// The cookie is none of ours.
    #[error("the cookie cannot be read; start again without a cookie and with a full read")]
    Unreadable,
    /// What happened since then is no longer known.
    #[error("the cookie is no longer valid; start again without a cookie and with a full read")]
    Expired,
    /// The directory failed.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cookie {
    /// In the middle of a full read that began at a log position; objects up to a number are done.
    Full { began: u64, done: ObjectNumber },
    /// Everything up to a log position is known.
    Delta { position: u64 },
}

impl Cookie {
    fn parse(text: &str) -> Option<Self> {
        let text = String::from_utf8(STANDARD.decode(text.trim()).ok()?).ok()?;
        let mut parts = text.split(':');
        if parts.next()? != VERSION {
            return None;
        }
        let cookie = match parts.next()? {
            "f" => Self::Full { began: parts.next()?.parse().ok()?, done: parts.next()?.parse().ok()? },
            "d" => Self::Delta { position: parts.next()?.parse().ok()? },
            _ => return None,
        };
        parts.next().is_none().then_some(cookie)
    }

    fn render(self) -> String {
        STANDARD.encode(match self {
            Self::Full { began, done } => format!("{VERSION}:f:{began}:{done}"),
            Self::Delta { position } => format!("{VERSION}:d:{position}"),
        })
    }
}

impl Reader {
    /// One page. The view is that of this reader; later pages see later writes, which the delta behind the full read
    /// reports again.
    pub fn read_back(&self, request: &ReadBackRequest) -> Result<ReadBackPage, CookieError> {
        let cookie = request.cookie.as_deref().map(|text| Cookie::parse(text).ok_or(CookieError::Unreadable)).transpose()?;
        let end = self.log_end()?;
        if let Some(Cookie::Full { began: position, .. } | Cookie::Delta { position }) = cookie
            && (position < self.log_floor()? || position > end)
        {
            return Err(CookieError::Expired);
        }
        match cookie {
            Some(Cookie::Full { began, done }) => self.full_page(began, done, request.page_size),
            Some(Cookie::Delta { position }) if !request.full => self.delta_page(position, request.page_size),
            _ => self.full_page(end, 0, request.page_size),
        }
    }

    fn full_page(&self, began: u64, done: ObjectNumber, size: Option<usize>) -> Result<ReadBackPage, CookieError> {
        let size = size.unwrap_or(usize::MAX).max(1);
        let mut page = ReadBackPage { items: Vec::new(), cookie: String::new(), more: false };
        let (mut last, mut references) = (done, 0);
        self.scan(done, |object, record| {
            if !record.is_live() {
                return Ok(true);
            }
            if page.items.len() == size || (references >= PAGE_REFERENCES && size != usize::MAX) {
                page.more = true;
                return Ok(false);
            }
            page.items.push(self.item(object, &record, &mut references)?);
            last = object;
            Ok(true)
        })?;
        page.cookie = if page.more { Cookie::Full { began, done: last } } else { Cookie::Delta { position: began } }.render();
        Ok(page)
    }

    fn delta_page(&self, position: u64, size: Option<usize>) -> Result<ReadBackPage, CookieError> {
        let size = size.unwrap_or(usize::MAX).max(1);
        let entries = self.log_after(position, size.saturating_add(1))?;
        let mut page = ReadBackPage { items: Vec::new(), cookie: String::new(), more: false };
        let (mut last, mut references) = (position, 0);
        for (at, object) in entries {
            if page.items.len() == size || (references >= PAGE_REFERENCES && size != usize::MAX) {
                page.more = true;
                break;
            }
            last = at;
            if let Some(record) = self.object(object)? {
                let item = if record.is_live() {
                    self.item(object, &record, &mut references)?
                } else {
                    gone(record.kind, record.cloud_anchor(), record.source_anchor)
                };
                page.items.push(item);
            } else if let Some(tombstone) = self.tombstone(object)? {
                let anchor = format!("{}_{}", tombstone.kind, uuid::Uuid::from_bytes(tombstone.id).hyphenated());
                page.items.push(gone(tombstone.kind, anchor, tombstone.source_anchor));
            }
        }
        page.cookie = Cookie::Delta { position: last }.render();
        Ok(page)
    }

    fn item(&self, object: ObjectNumber, record: &ObjectRecord, references: &mut usize) -> Result<ReadBackItem, DirectoryError> {
        let mut properties = anchors(record.cloud_anchor(), record.source_anchor.clone());
        if record.mastery == Mastery::OnPremises {
            properties
                .extend(record.written.iter().map(|property| Property { name: pascal(&property.name), value: property.value.clone() }));
        } else {
            properties.push(Property { name: "CloudMastered".to_owned(), value: PropertyValue::Boolean(true) });
            let shown = record.cloud.iter().filter(|property| !property.name.contains('.') && !named_by_effective(&property.name));
            properties.extend(shown.map(|property| Property { name: pascal(&property.name), value: property.value.clone() }));
            let effective = &record.effective;
            let texts =
                [("UserPrincipalName", &effective.user_principal_name), ("Mail", &effective.mail), ("Alias", &effective.mail_nickname)];
            for (name, value) in texts {
                properties.extend(value.iter().map(|text| Property { name: name.to_owned(), value: PropertyValue::Text(text.clone()) }));
            }
            if !effective.proxy_addresses.is_empty() {
                let value = PropertyValue::Texts(effective.proxy_addresses.clone());
                properties.push(Property { name: "ProxyAddresses".to_owned(), value });
            }
        }
        let mut current: Option<(ReferenceAttribute, Vec<String>)> = None;
        for (attribute, anchor) in self.all_references(object)? {
            *references += 1;
            match &mut current {
                Some((known, anchors)) if *known == attribute => anchors.push(anchor),
                _ => {
                    properties.extend(current.take().and_then(reference_property));
                    current = Some((attribute, vec![anchor]));
                }
            }
        }
        properties.extend(current.and_then(reference_property));
        Ok(ReadBackItem { kind: record.kind, deleted: false, properties })
    }
}

fn named_by_effective(name: &str) -> bool {
    ["userPrincipalName", "mail", "alias", "mailNickname", "proxyAddresses", "cloudMastered"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(name))
}

fn reference_property((attribute, mut anchors): (ReferenceAttribute, Vec<String>)) -> Option<Property> {
    let name = pascal(attribute.name()?);
    let value = if attribute.is_multi_valued() { PropertyValue::Texts(anchors) } else { PropertyValue::Text(anchors.swap_remove(0)) };
    Some(Property { name, value })
}

fn anchors(cloud: String, source: Option<String>) -> Vec<Property> {
    let mut properties = vec![Property { name: "CloudAnchor".to_owned(), value: PropertyValue::Text(cloud) }];
    properties.extend(source.map(|anchor| Property { name: "SourceAnchor".to_owned(), value: PropertyValue::Text(anchor) }));
    properties
}

fn gone(kind: ObjectKind, cloud: String, source: Option<String>) -> ReadBackItem {
    ReadBackItem { kind, deleted: true, properties: anchors(cloud, source) }
}

/// The casing of answers: the first letter is a capital.
fn pascal(name: &str) -> String {
    let mut characters = name.chars();
    match characters.next() {
        Some(first) if !name.starts_with("extension_") => first.to_uppercase().chain(characters).collect(),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_survive_and_foreign_ones_are_refused() {
        for cookie in [Cookie::Full { began: 7, done: 3 }, Cookie::Delta { position: 12 }] {
            assert_eq!(Cookie::parse(&cookie.render()), Some(cookie));
        }
        for text in [
            "",
            "x",
            "djE6MDA=",
            &STANDARD.encode("1:f:1"),
            &STANDARD.encode("1:d:1:2"),
            &STANDARD.encode("2:d:1"),
            &STANDARD.encode([255]),
        ] {
            assert_eq!(Cookie::parse(text), None, "{text}");
        }
        assert_eq!(pascal("onPremiseSecurityIdentifier"), "OnPremiseSecurityIdentifier");
        assert_eq!(pascal("extension_0123_x"), "extension_0123_x");
    }
}
