//! The sheet on which one unit is planned: everything it reads, with what it decides laid over it. A unit that fails
//! throws its draft away, so that nothing of it is kept but the error (specification: sync engine 3.2).

use super::book::Rulebook;
use super::keys::{footprint_metaverse, footprint_name, footprint_object};
use super::stages::{self, expected_exists, under_way};
use super::view::{View, laid_over};
use crate::model::{
    AttrId, ConnectorId, CsId, CsObject, CsReference, DeltaKind, Dn, DnKey, FlatValues, Link, MvId, MvObject, ObjectErrorCode, ObjectType,
    Stage, ValueState,
};
use crate::rules::{Earlier, FlowError, ReferenceFlow, ScopeSet};
use crate::store::{DirtyReason, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Numbers of objects that a unit makes, until the batch gives them real ones.
pub(crate) const PROVISIONAL_MV: u64 = 1 << 63;
const PROVISIONAL_CS: u64 = 1 << 47;

/// True for a number that only a draft knows.
pub(crate) fn is_provisional_mv(id: MvId) -> bool {
    id.0 & PROVISIONAL_MV != 0
}

/// True for a number that only a draft knows.
pub(crate) fn is_provisional_cs(id: CsId) -> bool {
    id.sequence() & PROVISIONAL_CS != 0
}

/// Why a unit could not be planned.
#[derive(Debug)]
pub(crate) enum UnitError {
    /// The object's own problem: noted on it, the rest of the batch goes on.
    Object(ObjectErrorCode, String),
    /// The store's problem: the step ends.
    Store(StoreError),
}

impl From<FlowError> for UnitError {
    fn from(error: FlowError) -> Self {
        Self::Object(error.code, error.detail)
    }
}

impl From<StoreError> for UnitError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// One connector-space object on the sheet.
#[derive(Debug)]
pub(crate) struct CsSlot {
    pub(crate) id: CsId,
    pub(crate) object: Option<Arc<CsObject>>,
    pub(crate) link_before: Option<MvId>,
    pub(crate) changed: bool,
}

/// One metaverse object on the sheet.
#[derive(Debug)]
pub(crate) struct MvSlot {
    pub(crate) id: MvId,
    pub(crate) object: Option<Arc<MvObject>>,
    pub(crate) before: Option<Arc<MvObject>>,
    pub(crate) links: Vec<CsId>,
    pub(crate) links_changed: bool,
    /// Links changed since the contributors were last looked at.
    pub(crate) relinked: bool,
    pub(crate) changed: bool,
}

/// References of a metaverse object that must follow the unit.
#[derive(Clone, Debug)]
pub(crate) struct InboundReferences {
    pub(crate) mv: MvId,
    pub(crate) flows: Vec<ReferenceFlow>,
    /// Compare all rows; otherwise only the ones that the subject's import touched.
    pub(crate) whole: bool,
}

/// References of a target object that must follow the unit.
#[derive(Clone, Debug)]
pub(crate) struct OutboundReferences {
    pub(crate) mv: MvId,
    pub(crate) target: CsId,
    pub(crate) flows: Vec<ReferenceFlow>,
    /// Reference attributes that only gain.
    pub(crate) merged: Vec<AttrId>,
    /// Compare all rows; otherwise only what changes in the metaverse, and `rows`.
    pub(crate) whole: bool,
    /// References, by attribute and target, that are compared whatever the metaverse does: those of which an import brought
    /// news, and those that something is under way for.
    pub(crate) rows: Vec<(AttrId, CsId)>,
}

/// What happened to one target object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TargetEvent {
    /// A new export object.
    Added { flow: bool },
    /// Its name will change.
    Renamed { flow: bool },
    /// It is to be deleted, or was let go.
    Disconnected,
    /// An object of another type takes its place.
    Replaced { flow: bool },
    /// An existing one was compared.
    Compared { flow: bool },
}

/// The last evaluation of a metaverse object, as long as no contributor of that time changes: when a unit gives the
/// object one more contributor, only what that one touches is worked out again.
#[derive(Debug)]
pub(crate) struct Evaluated {
    mv: MvId,
    contributors: Vec<CsId>,
    references: Vec<ReferenceFlow>,
}

impl Evaluated {
    pub(crate) fn new(mv: MvId, contributors: impl Iterator<Item = CsId>, references: &[ReferenceFlow]) -> Self {
        let mut contributors: Vec<CsId> = contributors.collect();
        contributors.sort_unstable();
        Self { mv, contributors, references: references.to_vec() }
    }

    /// True when it is of this metaverse object, and all contributors of that time are among these.
    pub(crate) fn is_of(&self, mv: MvId, contributors: impl Iterator<Item = CsId>) -> bool {
        self.mv == mv && contributors.filter(|id| self.contributors.binary_search(id).is_ok()).count() == self.contributors.len()
    }

    pub(crate) fn earlier(&self) -> Earlier<'_> {
        Earlier { contributors: &self.contributors, references: &self.references }
    }
}

/// The sheet.
pub(crate) struct Draft<'v> {
    pub(crate) book: &'v Rulebook<'v>,
    pub(crate) view: &'v View<'v>,
    pub(crate) subject: CsId,
    pub(crate) cs: Vec<CsSlot>,
    pub(crate) mv: Vec<MvSlot>,
    /// References loaded whole, as they will be.
    pub(crate) rows: BTreeMap<CsId, Arc<Vec<CsReference>>>,
    /// Objects of which wishes for references were withdrawn without loading them all.
    unwished: BTreeSet<CsId>,
    pub(crate) row_changes: BTreeMap<(CsId, AttrId, CsId), CsReference>,
    pub(crate) reads: Vec<u64>,
    pub(crate) blobs: Vec<Vec<u8>>,
    pub(crate) dirty: Vec<(CsId, DirtyReason)>,
    pub(crate) hashes: Vec<CsId>,
    pub(crate) names: Vec<(ConnectorId, DnKey, Option<CsId>)>,
    pub(crate) new_links: Vec<CsId>,
    pub(crate) touched_rows: Vec<CsReference>,
    pub(crate) inbound: Vec<InboundReferences>,
    pub(crate) outbound: Vec<OutboundReferences>,
    pub(crate) events: Vec<(CsId, TargetEvent)>,
    /// The unit must be taken again once this batch's references are resolved.
    pub(crate) read_references: bool,
    /// The unit is repeated for a reason of its own, so all of its targets are compared whole.
    pub(crate) retrying: bool,
    /// The unit is to be tried again in the next step whatever happens.
    pub(crate) retry: Option<DirtyReason>,
    pub(crate) evaluated: Option<Evaluated>,
    scopes: Vec<(CsId, Arc<CsObject>, Arc<ScopeSet>)>,
    created: u64,
}

impl<'v> Draft<'v> {
    /// An empty sheet for a subject.
    pub(crate) fn new(book: &'v Rulebook<'v>, view: &'v View<'v>, subject: Arc<CsObject>) -> Self {
        let id = subject.id;
        let link_before = subject.link.mv();
        Self {
            book,
            view,
            subject: id,
            cs: vec![CsSlot { id, object: Some(subject), link_before, changed: false }],
            mv: Vec::new(),
            rows: BTreeMap::new(),
            unwished: BTreeSet::new(),
            row_changes: BTreeMap::new(),
            reads: vec![footprint_object(id)],
            blobs: Vec::new(),
            dirty: Vec::new(),
            hashes: Vec::new(),
            names: Vec::new(),
            new_links: Vec::new(),
            touched_rows: Vec::new(),
            inbound: Vec::new(),
            outbound: Vec::new(),
            events: Vec::new(),
            read_references: false,
            retrying: false,
            retry: None,
            evaluated: None,
            scopes: Vec::new(),
            created: 0,
        }
    }

    /// An object changes: what was worked out from it is not true any more.
    fn forget(&mut self, id: CsId) {
        self.scopes.retain(|(cached, ..)| *cached != id);
        self.evaluated.take_if(|evaluated| evaluated.contributors.contains(&id));
    }

    fn cs_slot(&mut self, id: CsId) -> Result<&mut CsSlot, StoreError> {
        let found = self.cs.iter().position(|slot| slot.id == id);
        let index = if let Some(index) = found {
            index
        } else {
            self.reads.push(footprint_object(id));
            let object = self.view.cs(id)?;
            let link_before = object.as_ref().and_then(|object| object.link.mv());
            self.cs.push(CsSlot { id, object, link_before, changed: false });
            self.cs.len() - 1
        };
        Ok(&mut self.cs[index])
    }

    fn mv_slot(&mut self, id: MvId) -> Result<&mut MvSlot, StoreError> {
        let found = self.mv.iter().position(|slot| slot.id == id);
        let index = if let Some(index) = found {
            index
        } else {
            self.reads.push(footprint_metaverse(id));
            let object = self.view.mv(id)?;
            let links = self.view.links(id)?;
            self.mv.push(MvSlot { id, before: object.clone(), object, links, links_changed: false, relinked: false, changed: false });
            self.mv.len() - 1
        };
        Ok(&mut self.mv[index])
    }

    /// One connector-space object as the unit leaves it.
    pub(crate) fn cs(&mut self, id: CsId) -> Result<Option<Arc<CsObject>>, StoreError> {
        Ok(self.cs_slot(id)?.object.clone())
    }

    /// One metaverse object as the unit leaves it.
    pub(crate) fn mv(&mut self, id: MvId) -> Result<Option<Arc<MvObject>>, StoreError> {
        Ok(self.mv_slot(id)?.object.clone())
    }

    /// The objects linked to a metaverse object, ascending.
    pub(crate) fn links(&mut self, id: MvId) -> Result<Vec<CsId>, StoreError> {
        Ok(self.mv_slot(id)?.links.clone())
    }

    /// The object of a connector that is linked to a metaverse object.
    pub(crate) fn link_in(&mut self, id: MvId, connector: ConnectorId) -> Result<Option<CsId>, StoreError> {
        Ok(self.mv_slot(id)?.links.iter().copied().find(|link| link.connector() == connector))
    }

    /// Changes an object. Nothing happens when it is gone.
    pub(crate) fn edit(&mut self, id: CsId, change: impl FnOnce(&mut CsObject)) -> Result<(), StoreError> {
        self.forget(id);
        let slot = self.cs_slot(id)?;
        if let Some(object) = &mut slot.object {
            change(Arc::make_mut(object));
            slot.changed = true;
        }
        Ok(())
    }

    /// Ties an object to a metaverse object.
    pub(crate) fn link(&mut self, id: CsId, link: Link) -> Result<(), StoreError> {
        self.unlink(id, Link::Disconnected)?;
        self.edit(id, |object| object.link = link)?;
        if let Some(mv) = link.mv() {
            let slot = self.mv_slot(mv)?;
            slot.links.push(id);
            slot.links.sort_unstable();
            slot.links_changed = true;
            slot.relinked = true;
            self.new_links.push(id);
        }
        Ok(())
    }

    /// Takes an object off its metaverse object, if it has one, and leaves it in the given state.
    pub(crate) fn unlink(&mut self, id: CsId, link: Link) -> Result<(), StoreError> {
        let Some(object) = self.cs(id)? else { return Ok(()) };
        if let Some(mv) = object.link.mv() {
            let slot = self.mv_slot(mv)?;
            slot.links.retain(|linked| *linked != id);
            slot.links_changed = true;
            slot.relinked = true;
        }
        if object.link != link {
            drop(object);
            self.edit(id, |object| object.link = link)?;
        }
        self.new_links.retain(|linked| *linked != id);
        Ok(())
    }

    /// Removes an object with its link and its references.
    pub(crate) fn remove(&mut self, id: CsId) -> Result<(), StoreError> {
        self.unlink(id, Link::Disconnected)?;
        for row in self.rows(id)?.iter() {
            self.row_changes.insert((id, row.attr, row.target), CsReference { state: ValueState::ABSENT, ..*row });
        }
        self.rows.insert(id, Arc::default());
        let slot = self.cs_slot(id)?;
        let name = slot.object.take().map(|object| object.dn.clone());
        slot.changed = true;
        self.forget(id);
        if let Some(key) = name.and_then(|name| Dn::parse(&name).ok()).map(|name| name.key()) {
            self.names.push((id.connector(), key, None));
        }
        Ok(())
    }

    /// The object with a name, as the unit leaves it: `Free` names may still belong to a number to be used again.
    pub(crate) fn by_name(&mut self, connector: ConnectorId, name: &DnKey) -> Result<NameOwner, StoreError> {
        self.reads.push(footprint_name(connector, name));
        if let Some((.., owner)) = self.names.iter().rev().find(|(space, key, _)| *space == connector && key == name)
            && let Some(id) = owner
        {
            return Ok(NameOwner::Object(*id));
        }
        let Some(id) = self.view.cs_by_dn(connector, name)? else { return Ok(NameOwner::Free(None)) };
        Ok(match self.cs(id)? {
            Some(object) if object.link == Link::Placeholder => NameOwner::Free(Some(id)),
            Some(_) => NameOwner::Object(id),
            None => NameOwner::Free(Some(id)),
        })
    }

    /// Makes an export object: no anchor, everything about it pending (specification: sync engine 3.8, point 2c).
    pub(crate) fn create(
        &mut self,
        connector: ConnectorId,
        object_type: ObjectType,
        name: &Dn,
        reuse: Option<CsId>,
        link: Link,
    ) -> Result<CsId, StoreError> {
        let id = reuse.unwrap_or_else(|| {
            self.created += 1;
            CsId::new(connector, PROVISIONAL_CS | self.created)
        });
        let mut object = CsObject::new(id, object_type, name.as_str());
        object.stage_mut(Stage::PendingExport).kind = DeltaKind::Add;
        if reuse.is_some() {
            // Whatever the number's former owner left: rows that it had are withdrawn, its image's hash forgotten.
            if self.cs(id)?.is_some() {
                self.remove(id)?;
            }
            self.hashes.push(id);
        }
        self.rows.insert(id, Arc::default());
        self.names.push((connector, name.key(), Some(id)));
        if let Some(slot) = self.cs.iter_mut().find(|slot| slot.id == id) {
            slot.object = Some(Arc::new(object));
            slot.changed = true;
        } else {
            self.cs.push(CsSlot { id, object: Some(Arc::new(object)), link_before: None, changed: true });
        }
        self.link(id, link)?;
        Ok(id)
    }

    /// Makes a metaverse object without values.
    pub(crate) fn project(&mut self, object_type: ObjectType) -> MvId {
        self.created += 1;
        let id = MvId(PROVISIONAL_MV | self.created);
        let object = MvObject { id, object_type, values: FlatValues::default(), lineage: Vec::new() };
        self.mv.push(MvSlot {
            id,
            object: Some(Arc::new(object)),
            before: None,
            links: Vec::new(),
            links_changed: false,
            relinked: false,
            changed: true,
        });
        id
    }

    /// Replaces a metaverse object's values.
    pub(crate) fn put_mv(&mut self, object: MvObject) -> Result<(), StoreError> {
        let slot = self.mv_slot(object.id)?;
        slot.object = Some(Arc::new(object));
        slot.changed = true;
        Ok(())
    }

    /// Drops a metaverse object; its links must be gone.
    pub(crate) fn drop_mv(&mut self, id: MvId) -> Result<(), StoreError> {
        let slot = self.mv_slot(id)?;
        slot.object = None;
        slot.changed = true;
        self.inbound.retain(|job| job.mv != id);
        self.outbound.retain(|job| job.mv != id);
        Ok(())
    }

    /// All references of an object as the unit leaves them.
    pub(crate) fn rows(&mut self, id: CsId) -> Result<Arc<Vec<CsReference>>, StoreError> {
        if let Some(rows) = self.rows.get(&id) {
            return Ok(Arc::clone(rows));
        }
        let rows = Arc::new(laid_over(id, self.view.cs_rows(id)?, self.changes_of(id)));
        self.rows.insert(id, Arc::clone(&rows));
        Ok(rows)
    }

    /// The references of an object that any stage touches, as the unit leaves them.
    pub(crate) fn touched(&self, id: CsId) -> Result<Vec<CsReference>, StoreError> {
        let mut rows = match self.rows.get(&id) {
            Some(rows) => rows.to_vec(),
            None => laid_over(id, self.view.cs_touched(id)?, self.changes_of(id)),
        };
        rows.retain(|row| row.state.is_touched());
        Ok(rows)
    }

    /// The references with which an image of the object must be made; `None` when those of the view do: consuming an
    /// import leaves what is wanted as it is.
    pub(crate) fn image_rows(&mut self, id: CsId) -> Result<Option<Arc<Vec<CsReference>>>, StoreError> {
        if self.unwished.contains(&id) {
            self.rows(id)?;
        }
        Ok(self.rows.get(&id).cloned())
    }

    fn changes_of(&self, id: CsId) -> impl Iterator<Item = ((AttrId, CsId), ValueState)> {
        let range = (id, AttrId(0), CsId(0))..=(id, AttrId(u16::MAX), CsId(u64::MAX));
        self.row_changes.range(range).map(|((_, attr, target), row)| ((*attr, *target), row.state))
    }

    /// Changes references of an object that any stage touches: `change` says the new state of a row, or `None` to leave it.
    pub(crate) fn edit_rows(&mut self, id: CsId, change: impl Fn(&CsReference) -> Option<CsReference>) -> Result<bool, StoreError> {
        let changed: Vec<CsReference> = self.touched(id)?.iter().filter_map(change).collect();
        if changed.is_empty() {
            return Ok(false);
        }
        self.forget(id);
        if let Some(rows) = self.rows.get_mut(&id) {
            let states = changed.iter().map(|row| ((row.attr, row.target), row.state));
            *rows = Arc::new(laid_over(id, rows.to_vec(), states));
        }
        self.row_changes.extend(changed.into_iter().map(|row| ((id, row.attr, row.target), row)));
        Ok(true)
    }

    /// Withdraws all wishes for an object without a metaverse object. An object that nobody ever sent vanishes;
    /// with `delete` one that exists is to be deleted, otherwise it is left as it is. True when anything changed.
    pub(crate) fn let_go(&mut self, id: CsId, delete: bool) -> Result<bool, StoreError> {
        let Some(object) = self.cs(id)? else { return Ok(false) };
        let exists = expected_exists(&object);
        if !exists && !under_way(&object) && !object.in_base {
            drop(object);
            self.remove(id)?;
            return Ok(true);
        }
        let wish = if delete && exists { DeltaKind::Delete } else { DeltaKind::None };
        let pending = object.stage(Stage::PendingExport);
        if pending.kind == wish && pending.rename.is_none() && !stages::wants_values(&object) {
            return Ok(false);
        }
        let had_wishes = pending.is_some();
        drop(object);
        self.edit(id, |object| {
            stages::clear_pending_export(object);
            object.stage_mut(Stage::PendingExport).kind = wish;
        })?;
        if had_wishes {
            self.clear_row_wishes(id)?;
        }
        Ok(true)
    }

    fn clear_row_wishes(&mut self, id: CsId) -> Result<(), StoreError> {
        let changed = self.edit_rows(id, |row| {
            row.state.touched(Stage::PendingExport).then(|| CsReference { state: row.state.without(Stage::PendingExport), ..*row })
        })?;
        if changed && !self.rows.contains_key(&id) {
            self.unwished.insert(id);
        }
        Ok(())
    }

    /// The inbound rules in scope for an object; remembered while the object stays the same.
    pub(crate) fn inbound_scope(&mut self, id: CsId, object: &Arc<CsObject>) -> Result<Arc<ScopeSet>, UnitError> {
        if let Some((.., scope)) = self.scopes.iter().find(|(cached, of, _)| *cached == id && Arc::ptr_eq(of, object)) {
            return Ok(Arc::clone(scope));
        }
        let connector = id.connector();
        let scope = if self.book.has_inbound(connector) {
            let rows = self.image_rows(id)?;
            let image = super::image::CsImage::new(self.view, object, rows);
            self.book.rules.inbound_scope(connector, &image, self.book.run)?
        } else {
            ScopeSet::default()
        };
        let scope = Arc::new(scope);
        self.scopes.retain(|(cached, ..)| *cached != id);
        self.scopes.push((id, Arc::clone(object), Arc::clone(&scope)));
        Ok(scope)
    }

    /// An object problem.
    pub(crate) fn problem<T>(code: ObjectErrorCode, detail: String) -> Result<T, UnitError> {
        Err(UnitError::Object(code, detail))
    }
}

/// Who has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameOwner {
    /// Nobody. A number that had it, a placeholder's or a vanished object's, is to be used again.
    Free(Option<CsId>),
    /// An object.
    Object(CsId),
}
