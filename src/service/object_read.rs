//! What a directory says of one object now, held against what is known of it. Writes nothing.

use super::object_sync::Wanted;
use super::views::{ChangeView, ValueView, shown_name};
use super::{Service, ServiceError};
use crate::connector::{ImportKind, ImportPage, ImportRequest, PageItem};
use crate::context::Context;
use crate::engine::entry::read_entry;
use crate::model::{AttrId, Blob, CsObject, Dn, INLINE_VALUE_MAX, StageMask, ValueKind, ValueRef, ValueState};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Values shown of an attribute that came or went.
const SHOWN: usize = 20;

/// What a directory says of one object now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ObjectRead {
    /// The directory has it, and it is selected.
    pub found: bool,
    /// Its name now; empty when it was not found.
    pub dn: String,
    /// What differs from the last import; of somebody new everything.
    pub changes: Vec<ChangeView>,
}

/// The values of an attribute by what tells them apart; what is shown of each.
type Values = BTreeMap<Vec<u8>, ValueView>;

impl Service {
    /// Asks a directory for one object and tells what an import would stage.
    ///
    /// # Errors
    /// When the directory does not answer, or the store cannot be read.
    pub(super) fn read_object(&self, cx: &Context, wanted: &Wanted) -> Result<ObjectRead, ServiceError> {
        let name = self.connectors.get(&wanted.connector).cloned().unwrap_or_default();
        let config = self.configured(&name)?;
        let narrowed = self.narrowed(wanted.connector, config, &wanted.dn)?;
        let rules = self.rules()?;
        let mut attributes: BTreeSet<AttrId> = rules.inbound_attributes(wanted.connector).into_iter().collect();
        attributes.extend(rules.outbound_attributes(wanted.connector));
        attributes.remove(&AttrId::DN);
        let request = ImportRequest { kind: ImportKind::Full, attributes: attributes.into_iter().collect() };
        let anchor = wanted.known.as_ref().filter(|object| object.imported()).and_then(|object| object.anchor.clone());
        let page = self.with_wired(cx, narrowed.as_ref().unwrap_or(config), async |wired| {
            Ok(read_entry(&*wired.connector, cx, &request, anchor.as_ref(), &wanted.dn).await?.page()?)
        })?;
        for item in page.items() {
            match item {
                PageItem::Gone(_) => return Ok(ObjectRead { found: false, dn: String::new(), changes: Vec::new() }),
                PageItem::Rejected(error) => {
                    return Err(ServiceError::NotFound(format!("{} cannot be used: {} ({})", wanted.dn, error.detail, error.code)));
                }
                _ => {}
            }
        }
        self.compared(&page, wanted.known.as_ref())
    }

    fn compared(&self, page: &ImportPage, known: Option<&CsObject>) -> Result<ObjectRead, ServiceError> {
        let names = self.store.names();
        let mut told: BTreeMap<AttrId, Values> = BTreeMap::new();
        let mut dn = String::new();
        for item in page.items() {
            let PageItem::Entry(entry) = item else { continue };
            entry.dn().clone_into(&mut dn);
            for (attr, _, values) in entry.attributes() {
                let name = names.name(attr);
                for (kind, value, _) in values {
                    let (key, view) = match (kind, value) {
                        (ValueKind::Reference, ValueRef::Text(target)) => reference(target, String::new()),
                        (_, value) => plain(&name, value),
                    };
                    told.entry(attr).or_default().insert(key, view);
                }
            }
        }
        let mut before: BTreeMap<AttrId, Values> = BTreeMap::new();
        let snapshot = self.store.snapshot()?;
        if let Some(object) = known {
            for item in object.values.iter().filter(|item| ValueState(item.flags).present(StageMask::IMPORTED)) {
                let (key, view) = plain(&names.name(item.attr), item.value);
                before.entry(item.attr).or_default().insert(key, view);
            }
            for row in snapshot.cs_references(object.id)?.iter().filter(|row| row.state.present(StageMask::IMPORTED)) {
                let target = snapshot.cs_object(row.target)?.map(|target| target.dn).unwrap_or_default();
                let (key, view) = reference(&target, row.target.to_string());
                before.entry(row.attr).or_default().insert(key, view);
            }
        }
        let mut changes = Vec::new();
        let all: BTreeSet<AttrId> = told.keys().chain(before.keys()).copied().collect();
        for attr in all {
            let (now, then) = (told.remove(&attr).unwrap_or_default(), before.remove(&attr).unwrap_or_default());
            let only = |values: &Values, others: &Values| -> Vec<ValueView> {
                values.iter().filter(|(key, _)| !others.contains_key(*key)).map(|(_, view)| view.clone()).take(SHOWN).collect()
            };
            let (added, removed) = (only(&now, &then), only(&then, &now));
            if !added.is_empty() || !removed.is_empty() {
                changes.push(ChangeView { attribute: shown_name(names, attr), removed, added });
            }
        }
        changes.sort_by_cached_key(|change| change.attribute.to_ascii_lowercase());
        Ok(ObjectRead { found: true, dn, changes })
    }
}

/// References are told apart by the names of their targets.
fn reference(target: &str, id: String) -> (Vec<u8>, ValueView) {
    let key = Dn::parse(target).map_or_else(|_| target.as_bytes().to_vec(), |dn| dn.key().as_bytes().to_vec());
    (key, ValueView::Reference { dn: target.to_owned(), id })
}

/// Other values by kind and content; of long ones the store has a digest.
fn plain(name: &str, value: ValueRef<'_>) -> (Vec<u8>, ValueView) {
    let value = match value {
        ValueRef::Text(text) if text.len() > INLINE_VALUE_MAX => ValueRef::LargeText(Blob::of(text.as_bytes())),
        ValueRef::Binary(octets) if octets.len() > INLINE_VALUE_MAX => ValueRef::LargeBinary(Blob::of(octets)),
        other => other,
    };
    let (kind, content) = match value {
        ValueRef::Text(text) => (0, text.as_bytes().to_vec()),
        ValueRef::Number(number) => (1, number.to_be_bytes().to_vec()),
        ValueRef::Boolean(boolean) => (2, vec![u8::from(boolean)]),
        ValueRef::Binary(octets) => (3, octets.to_vec()),
        ValueRef::LargeText(blob) => (4, blob.hash.to_be_bytes().to_vec()),
        ValueRef::LargeBinary(blob) => (5, blob.hash.to_be_bytes().to_vec()),
        ValueRef::Reference(id) => (6, id.to_be_bytes().to_vec()),
    };
    ([&[kind], content.as_slice()].concat(), ValueView::of(name, value))
}
