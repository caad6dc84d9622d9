//! Reading back: pages of what synchronization wrote, from the first object or from a cookie on (specification:
//! provisioning service 3.5).

use super::service::{CallError, Service};
use super::{anchor, http, unexpected};
use crate::connector::{
    Completion, ConnectorError, ConnectorErrorKind, DiscoveryError, ImportKind, ImportPage, ImportRequest, ImportStream, Legible,
    Operation, PageBuilder,
};
use crate::context::Context;
use crate::model::{Anchor, AttrId, Names, ObjectErrorCode, ObjectType, ValueRef};
use crate::protocol::provisioning::{self, Fault, PropertyValue, ReadBack, Request, Response, SyncObject, Syntax};
use futures_util::StreamExt as _;
use futures_util::stream;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Objects to ask for in one page.
const PAGE_OBJECTS: usize = 500;

/// The types of objects that synchronization writes.
const TYPES: [&str; 4] = ["user", "group", "contact", "device"];

/// Of problems that the engine never raises itself.
const UNMAPPABLE_TYPE: &str = "unmappable-object-type";

/// Begins to read. The first page is asked for at once, so that a refusal is the import's own error.
pub(super) async fn start(
    service: Arc<Service>,
    names: Arc<Names>,
    cx: Context,
    request: ImportRequest,
) -> Result<ImportStream, ConnectorError> {
    let (full, cookie) = match request.kind {
        ImportKind::Full => (true, None),
        ImportKind::Delta { since } => {
            let lost = || ConnectorError::new(ConnectorErrorKind::WatermarkLost, "the kept cookie is no text").unsent();
            (false, Some(String::from_utf8(since).map_err(|_| lost())?))
        }
    };
    let mut reader = Reader {
        service,
        decoder: Some(Box::new(Decoder { names, wanted: request.attributes.into_iter().collect(), known: HashMap::new() })),
        cx,
        full,
        cookie,
        done: false,
    };
    let first = reader.page().await;
    let first = match first {
        Err(CallError::Refused(fault)) if !full && !fault.description.contains(Fault::NOT_ACTIVATED) => {
            let message = format!("the tenant does not know our cookie any more: {}", fault.description);
            return Err(ConnectorError::new(ConnectorErrorKind::WatermarkLost, message).unsent());
        }
        other => other?,
    };
    let rest = stream::unfold(reader, |mut reader| async move {
        if reader.done {
            return None;
        }
        let page = reader.page().await.map_err(ConnectorError::from);
        reader.done |= page.is_err();
        Some((page, reader))
    });
    Ok(stream::once(async { Ok(first) }).chain(rest).boxed())
}

struct Reader {
    service: Arc<Service>,
    /// Always there between pages.
    decoder: Option<Box<Decoder>>,
    cx: Context,
    full: bool,
    cookie: Option<String>,
    done: bool,
}

impl Reader {
    async fn page(&mut self) -> Result<ImportPage, CallError> {
        let request = Request::ReadBack { second: true, full: self.full, cookie: self.cookie.clone(), include_licenses: false };
        let Response::ReadBack(ReadBack { cookie, more, objects }) = self.service.call(&self.cx, &request, Some(PAGE_OBJECTS)).await?
        else {
            return Err(CallError::Connector(unexpected(&request)));
        };
        if more && (cookie.is_none() || cookie == self.cookie) {
            let message = "the service says that there is more to read and not where; nothing was deleted";
            return Err(CallError::Connector(ConnectorError::new(ConnectorErrorKind::Protocol, message)));
        }
        self.cookie = cookie;
        self.done = !more;
        let completion =
            (!more).then(|| Completion { watermark: self.cookie.clone().map(String::into_bytes), answered_in_full: self.full });
        let Some(mut decoder) = self.decoder.take() else {
            let message = "the connector broke off on an earlier page";
            return Err(CallError::Connector(ConnectorError::new(ConnectorErrorKind::Protocol, message)));
        };
        let (decoder, page) = http::off_thread(move || {
            let mut page = PageBuilder::new();
            for object in &objects {
                decoder.object(&mut page, object);
            }
            (decoder, page.build(completion))
        })
        .await
        .map_err(CallError::Connector)?;
        self.decoder = Some(decoder);
        Ok(page)
    }
}

/// Objects of the wire as entries.
struct Decoder {
    names: Arc<Names>,
    wanted: HashSet<AttrId>,
    /// Property names seen so far: what they are to us, and whether their values are anchors of other objects.
    known: HashMap<String, Option<(AttrId, bool)>>,
}

impl Decoder {
    fn object(&mut self, page: &mut PageBuilder, object: &SyncObject) {
        let (cloud, source) = (object.text("CloudAnchor"), object.text("SourceAnchor").filter(|anchor| !anchor.is_empty()));
        let Some(cloud) = cloud else {
            page.reject(DiscoveryError {
                code: ObjectErrorCode::MISSING_ANCHOR_COMPONENT,
                detail: format!("the tenant sent an object of type {} without CloudAnchor", object.object_type),
                dn: source.map(anchor::name_of),
                anchor: None,
                legible: Legible::default(),
            });
            return;
        };
        let dn = anchor::name_of(source.unwrap_or(cloud));
        if cloud.len() > Anchor::OCTETS_MAX || object.object_type.is_empty() {
            page.reject(DiscoveryError {
                code: ObjectErrorCode::PARSE_ERROR,
                detail: format!(
                    "the tenant sent an object whose type is missing or whose CloudAnchor is longer than {} octets",
                    Anchor::OCTETS_MAX
                ),
                dn: Some(dn),
                anchor: Some(Anchor::new(&cloud.as_bytes()[..cloud.len().min(Anchor::OCTETS_MAX)])),
                legible: Legible::default(),
            });
            return;
        }
        let Some(object_type) = self.object_type(&object.object_type) else {
            page.reject(DiscoveryError {
                code: ObjectErrorCode::named(UNMAPPABLE_TYPE),
                detail: format!("the tenant sent an object of type '{}', which no rule and no specification knows", object.object_type),
                dn: Some(dn),
                anchor: Some(Anchor::new(cloud.as_bytes())),
                legible: Legible::default(),
            });
            return;
        };
        let gone = object.operation.eq_ignore_ascii_case("Delete");
        if gone {
            page.begin_gone(&dn);
        } else {
            page.begin_entry(&dn);
        }
        page.anchor(cloud.as_bytes());
        page.object_type(object_type);
        if !gone {
            for (name, value) in &object.properties {
                if let Some((attr, reference)) = self.attribute(name) {
                    place(page, attr, reference, value);
                }
            }
        }
        page.finish();
    }

    /// The type by its name. Names from the network get no number of their own: there are few numbers, they are kept for
    /// good, and a tenant could use them up.
    fn object_type(&self, name: &str) -> Option<ObjectType> {
        let folded = name.to_ascii_lowercase();
        if TYPES.contains(&folded.as_str()) {
            return Some(self.names.object_type(&folded));
        }
        self.names.find(&folded).map(|known| ObjectType(known.0))
    }

    fn attribute(&mut self, name: &str) -> Option<(AttrId, bool)> {
        if let Some(known) = self.known.get(name) {
            return *known;
        }
        let found = self.names.find(name).filter(|attr| self.wanted.contains(attr)).map(|attr| {
            let reference = provisioning::attribute(name).is_some_and(|attribute| attribute.syntax == Syntax::Reference);
            (attr, reference)
        });
        self.known.insert(name.to_owned(), found);
        found
    }
}

fn place(page: &mut PageBuilder, attr: AttrId, reference: bool, value: &PropertyValue) {
    match value {
        PropertyValue::Null | PropertyValue::ReferenceChanges(_) => return,
        PropertyValue::TextList(texts) if texts.is_empty() => return,
        PropertyValue::BinaryList(values) if values.is_empty() => return,
        _ => page.attribute(attr, Operation::Replace),
    }
    let mut text = |text: &str| {
        if reference {
            page.reference(&anchor::name_of(text));
        } else {
            page.value(ValueRef::Text(text));
        }
    };
    match value {
        PropertyValue::Text(value) => text(value),
        PropertyValue::TextList(values) => values.iter().for_each(|value| text(value)),
        PropertyValue::Boolean(boolean) => page.value(ValueRef::Boolean(*boolean)),
        PropertyValue::Long(number) => page.value(ValueRef::Number(*number)),
        PropertyValue::Binary(octets) => page.value(ValueRef::Binary(octets)),
        PropertyValue::BinaryList(values) => values.iter().for_each(|octets| page.value(ValueRef::Binary(octets))),
        PropertyValue::Null | PropertyValue::ReferenceChanges(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::PageItem;

    /// 65,535 names are all that a store can keep.
    #[test]
    fn types_from_the_network_use_up_no_names() {
        let names = Arc::new(Names::new());
        names.object_type("robot");
        let mut decoder = Decoder { names: names.clone(), wanted: HashSet::new(), known: HashMap::new() };
        let mut page = PageBuilder::new();
        let types: Vec<String> =
            ["User", "ROBOT"].map(str::to_owned).into_iter().chain((0..70_000).map(|number| format!("Type{number}"))).collect();
        for kind in &types {
            let properties = vec![("CloudAnchor".to_owned(), PropertyValue::Text(format!("{kind}_1")))];
            decoder.object(&mut page, &SyncObject { object_type: kind.clone(), properties, ..SyncObject::default() });
        }
        let page = page.build(None);
        let entries = page.items().filter(|item| matches!(item, PageItem::Entry(_))).count();
        assert_eq!((entries, page.len()), (2, types.len()));
        let PageItem::Rejected(first) = page.item(2) else { panic!("an unknown type") };
        assert_eq!((first.code.as_str(), first.anchor.is_some()), ("unmappable-object-type", true));
        assert!(names.len() < 10, "{} names", names.len());
    }
}
