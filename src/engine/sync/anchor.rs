//! A source anchor that is the key of somebody else: whoever comes first would take the other one's object in the target. It is looked
//! at where an object is found or made there; what is tied stays tied.

use super::draft::{Draft, UnitError};
use crate::model::{ConnectorId, CsId, CsObject, DeltaKind, Link, MvObject, ObjectErrorCode, Stage, ValueRef};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::sync::Arc;

/// By this attribute a target knows for ever whose an object is.
const SOURCE_ANCHOR: &str = "sourceAnchor";

impl Draft<'_> {
    /// An entry whose source anchor comes from an attribute that anybody may write (`mS-DS-ConsistencyGuid`) may have that of a
    /// neighbour. The neighbour has it by the key that the directory gave: nobody else gets it, in whatever order they come.
    pub(super) fn refuse_the_key_of_another(&mut self, source: &Arc<MvObject>, target: ConnectorId) -> Result<(), UnitError> {
        let Some(keys) = self.anchor_of(source) else { return Ok(()) };
        let own = self.links(source.id)?;
        for id in &own {
            if id.connector() != target && self.cs(*id)?.is_some_and(|object| has_key(&object, &keys)) {
                return Ok(());
            }
        }
        for connector in self.book.sources() {
            for key in keys.iter().filter(|_| connector != target) {
                let Some(id) = self.view.snapshot.cs_by_anchor(connector, key)? else { continue };
                if !own.contains(&id)
                    && let Some(holder) = self.claimant(id, &keys)?
                {
                    let name = own.iter().find(|id| id.connector() != target).copied();
                    let name = name.map(|id| self.cs(id)).transpose()?.flatten().map(|object| object.dn.clone()).unwrap_or_default();
                    let detail = format!(
                        "its source anchor is the key of '{holder}', to whom the object in the target belongs: is another one's \
                         mS-DS-ConsistencyGuid written to '{name}'? Clear it (`syncline anchor clear '{name}'`), or give it the right one"
                    );
                    return Self::problem(ObjectErrorCode::AMBIGUOUS_JOIN, detail);
                }
            }
        }
        Ok(())
    }

    /// The octets that a source anchor stands for: as they are, and decoded.
    fn anchor_of(&self, source: &MvObject) -> Option<Vec<Vec<u8>>> {
        let attr = self.book.names.find(SOURCE_ANCHOR)?;
        let ValueRef::Text(text) = source.values.attribute(attr).next()?.value else { return None };
        Some(std::iter::once(text.as_bytes().to_vec()).chain(STANDARD.decode(text)).collect())
    }

    /// The name of whoever has a key and lays claim to it: not who is in no scope, or has another source anchor.
    fn claimant(&mut self, id: CsId, keys: &[Vec<u8>]) -> Result<Option<Box<str>>, UnitError> {
        let Some(object) = self.cs(id)?.filter(|object| object.imported()) else { return Ok(None) };
        if matches!(object.link, Link::Placeholder | Link::DisconnectedByFilter | Link::ExplicitlyDisconnected)
            || object.stage(Stage::PendingImport).kind == DeltaKind::Delete
        {
            return Ok(None);
        }
        if let Some(mv) = object.link.mv()
            && let Some(anchor) = self.mv(mv)?.and_then(|other| self.anchor_of(&other))
            && anchor != keys
        {
            return Ok(None);
        }
        Ok(Some(object.dn.clone()))
    }
}

fn has_key(object: &CsObject, keys: &[Vec<u8>]) -> bool {
    object.anchor.as_ref().is_some_and(|anchor| keys.iter().any(|key| key == anchor.as_bytes()))
}
