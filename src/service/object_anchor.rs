//! The source anchor of one object: what it is tied to the cloud by, as it was imported, and another one in its directory.

use super::ad_accounts::{AdAccounts, failed};
use super::anchors::octets_of;
use super::views::AnchorView;
use super::wiring::ad_connection_as;
use super::{Service, ServiceError};
use crate::connector::ad::{AnchorParts, set_consistency_guid};
use crate::context::Context;
use crate::model::{Anchor, AttrId, CsId, CsObject, StageMask, ValueRef, ValueState};
use secrecy::SecretString;
use serde::Serialize;
use std::sync::Arc;

/// The attribute that may hold another anchor than `objectGUID`.
const CONSISTENCY_GUID: &str = "mS-DS-ConsistencyGuid";

/// What an object is told apart by, as it was imported last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ObjectAnchor {
    /// Its number.
    pub id: String,
    /// Its connector.
    pub connector: String,
    /// Its name.
    pub dn: String,
    /// Its key in its directory.
    pub anchor: Option<AnchorView>,
    /// `mS-DS-ConsistencyGuid`; nothing where it has none.
    pub consistency_guid: Option<AnchorView>,
    /// What rules made of it, and targets know it by; nothing before the first synchronization, and of whom they do not send.
    pub source_anchor: Option<String>,
}

/// Another `mS-DS-ConsistencyGuid` for an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AnchorChange {
    /// The connector.
    pub connector: String,
    /// The object's name.
    pub dn: String,
    /// What it had.
    pub before: Option<AnchorView>,
    /// What it has then.
    pub after: Option<AnchorView>,
    /// The source anchor that follows from it before and afterwards, in base64, where it is another one: targets know the object by
    /// the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_anchor: Option<(String, String)>,
    /// `written`, `unchanged` or `would be written`.
    pub done: &'static str,
}

impl Service {
    /// What an object is told apart by.
    ///
    /// # Errors
    /// When the store cannot be read, or the object is gone.
    pub fn object_anchor(&self, id: CsId) -> Result<ObjectAnchor, ServiceError> {
        let browser = self.browse()?;
        let object = browser.snapshot.cs_object(id)?.ok_or_else(|| ServiceError::NotFound(format!("object {id} is gone")))?;
        let consistency_guid = self.store.names().find(CONSISTENCY_GUID).and_then(|attr| imported_octets(&object, attr));
        let person = object.link.mv().map(|mv| browser.snapshot.mv_object(mv)).transpose()?.flatten();
        let source_anchor = person.map(|person| browser.first_text(&person.values, &["sourceAnchor"])).filter(|anchor| !anchor.is_empty());
        Ok(ObjectAnchor {
            id: id.to_string(),
            connector: browser.connector_name(id.connector()),
            dn: object.dn.to_string(),
            anchor: object.anchor.as_ref().map(AnchorView::of),
            consistency_guid: consistency_guid.map(|octets| view(&octets)),
            source_anchor,
        })
    }
}

impl AdAccounts {
    /// Gives an object of Active Directory another `mS-DS-ConsistencyGuid`, or none, as an administrator. Without one nothing is
    /// written, and the connector's own account looks what is there.
    ///
    /// # Errors
    /// When the anchor is none of 16 octets, the object's directory is not clear, or it does not answer or refuses.
    pub fn set_anchor(
        &self,
        cx: &Context,
        object: &str,
        anchor: Option<&str>,
        admin: Option<(&str, SecretString)>,
    ) -> Result<AnchorChange, ServiceError> {
        let wanted = anchor.map(sixteen_octets).transpose()?;
        let (connector, file, object) = self.directory_of(object)?;
        let (settings, look_only) = match admin {
            Some((name, password)) => (Arc::new(ad_connection_as(file, name, password)), false),
            None => (self.own(file)?, true),
        };
        let before = self
            .block_on(set_consistency_guid(cx, settings, object, wanted.as_deref(), look_only))
            .map_err(|source| failed(connector, source))?;
        let done = match look_only {
            _ if before.consistency_guid == wanted => "unchanged",
            true => "would be written",
            false => "written",
        };
        let AnchorParts { dn, object_guid, consistency_guid } = before;
        let counts = self.source_anchor().eq_ignore_ascii_case(CONSISTENCY_GUID);
        let base64 = |octets: &Option<Vec<u8>>| view(octets.as_ref().unwrap_or(&object_guid)).base64;
        let (was, is) = (base64(&consistency_guid), base64(&wanted));
        Ok(AnchorChange {
            connector: connector.name.clone(),
            dn,
            before: consistency_guid.as_deref().map(view),
            after: wanted.as_deref().map(view),
            source_anchor: (counts && was != is).then_some((was, is)),
            done,
        })
    }
}

/// The octets of an anchor in any form, as long as `mS-DS-ConsistencyGuid` is.
fn sixteen_octets(text: &str) -> Result<Vec<u8>, ServiceError> {
    let octets = octets_of(text).map_err(|error| ServiceError::Usage(error.to_string()))?;
    if octets.len() == 16 {
        return Ok(octets);
    }
    Err(ServiceError::Usage(format!("'{text}' has {} octets, and {CONSISTENCY_GUID} has 16", octets.len())))
}

fn view(octets: &[u8]) -> AnchorView {
    AnchorView::of(&Anchor::new(octets))
}

/// The first value of an attribute of octets that the last import saw.
fn imported_octets(object: &CsObject, attr: AttrId) -> Option<Vec<u8>> {
    let mut values = object.values.attribute(attr).filter(|item| ValueState(item.flags).present(StageMask::IMPORTED));
    values.find_map(|item| match item.value {
        ValueRef::Binary(octets) => Some(octets.to_vec()),
        _ => None,
    })
}
