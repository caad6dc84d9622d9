//! Objects as rules read them: a connector-space object in the image that everything wanted will give (or in its base
//! alone), and a metaverse object. Values are read in place; reference rows are loaded only when a rule asks.

use super::draft::is_provisional_mv;
use super::view::View;
use crate::model::{
    AttrId, AttributeSource, Blob, ConnectorId, CsId, CsObject, CsReference, MvObject, MvReference, ObjectType, Present, StageMask, Values,
};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// A connector-space object with its own pending exports: the engine assumes that they will arrive.
pub(crate) struct CsImage<'a> {
    view: &'a View<'a>,
    object: &'a CsObject,
    mask: StageMask,
    present: Present,
    rows: OnceLock<Arc<Vec<CsReference>>>,
    counts: OnceLock<Vec<(AttrId, u64)>>,
}

impl<'a> CsImage<'a> {
    /// `rows` gives the object's references when the caller has them in a newer state than the view.
    pub(crate) fn new(view: &'a View<'a>, object: &'a CsObject, rows: Option<Arc<Vec<CsReference>>>) -> Self {
        let cell = OnceLock::new();
        if let Some(rows) = rows {
            // The cell is new, so it takes the value.
            let _ = cell.set(rows);
        }
        Self { view, object, mask: StageMask::WANTED, present: Present::of(&object.values), rows: cell, counts: OnceLock::new() }
    }

    /// The base image: what synchronization last consumed, whatever is under way in either direction.
    pub(crate) fn base(view: &'a View<'a>, object: &'a CsObject) -> Self {
        Self { mask: StageMask::BASE, ..Self::new(view, object, None) }
    }

    fn rows(&self) -> &[CsReference] {
        self.rows.get_or_init(|| Arc::new(self.view.or_note(self.view.cs_rows(self.object.id))))
    }

    fn of_attribute(&self, attr: AttrId) -> impl Iterator<Item = &CsReference> {
        let rows = self.rows();
        let start = rows.partition_point(|row| row.attr < attr);
        rows[start..].iter().take_while(move |row| row.attr == attr).filter(|row| row.state.present(self.mask))
    }

    /// True for a group that has the object as a member in this image.
    fn belongs_to(&self, group: u64) -> bool {
        let Some((_, link)) = self.view.memberships.filter(|_| self.mask == StageMask::BASE) else { return true };
        self.view.or_note(self.view.snapshot.cs_reference(CsId(group), link, self.object.id)).present(self.mask)
    }
}

impl AttributeSource for CsImage<'_> {
    fn object_type(&self) -> ObjectType {
        self.object.object_type
    }

    fn dn(&self) -> &str {
        &self.object.dn
    }

    fn values(&self, attr: AttrId) -> Values<'_> {
        if !self.present.may_have(attr) {
            return Values::none();
        }
        Values::staged(&self.object.values, attr, self.mask)
    }

    fn imported_values(&self, attr: AttrId) -> Values<'_> {
        if !self.present.may_have(attr) {
            return Values::none();
        }
        Values::staged(&self.object.values, attr, StageMask::IMPORTED)
    }

    fn count(&self, attr: AttrId) -> u64 {
        let values = self.values(attr).count() as u64;
        if values > 0 {
            return values;
        }
        if self.mask == StageMask::WANTED && self.rows.get().is_none() && self.view.rows_untouched(self.object.id) {
            // Consuming an import moves values between images and leaves the wanted one as it is.
            // Rules ask for a dozen of them, so all are read at once.
            let counts = self.counts.get_or_init(|| self.view.reference_counts(self.object.id));
            counts.iter().find(|(counted, _)| *counted == attr).map_or(0, |(_, count)| *count)
        } else {
            self.of_attribute(attr).count() as u64
        }
    }

    fn references(&self, attr: AttrId) -> Vec<u64> {
        if let Some(mut groups) = self.view.groups_of(self.object.id, attr) {
            groups.retain(|group| self.belongs_to(*group));
            return groups;
        }
        self.of_attribute(attr).map(|row| row.target.0).collect()
    }

    fn reference_dn(&self, target: u64) -> Option<String> {
        self.view.name_of(CsId(target))
    }

    fn blob(&self, blob: Blob) -> Option<Vec<u8>> {
        self.view.or_note(self.view.snapshot.blob(blob))
    }

    fn present(&self) -> Option<&Present> {
        Some(&self.present)
    }
}

/// A metaverse object. Its references are those of the batch before: the ones this batch changes are resolved after
/// all its units, and `read_references` tells that a decision hung on them and must be taken again.
pub(crate) struct MvImage<'a> {
    view: &'a View<'a>,
    object: &'a MvObject,
    present: Present,
    rows: OnceLock<Vec<MvReference>>,
    read_references: AtomicBool,
}

impl<'a> MvImage<'a> {
    pub(crate) fn new(view: &'a View<'a>, object: &'a MvObject) -> Self {
        Self { view, object, present: Present::of(&object.values), rows: OnceLock::new(), read_references: AtomicBool::new(false) }
    }

    /// True when a rule looked at the targets themselves.
    pub(crate) fn read_references(&self) -> bool {
        self.read_references.load(Ordering::Relaxed)
    }

    fn rows(&self) -> &[MvReference] {
        self.rows.get_or_init(|| {
            if is_provisional_mv(self.object.id) {
                return Vec::new();
            }
            self.view.or_note(self.view.mv_rows(self.object.id))
        })
    }

    fn of_attribute(&self, attr: AttrId) -> impl Iterator<Item = &MvReference> {
        let rows = self.rows();
        let start = rows.partition_point(|row| row.attr < attr);
        rows[start..].iter().take_while(move |row| row.attr == attr)
    }

    fn contributed(&self, attr: AttrId) -> bool {
        self.object.lineage.binary_search_by_key(&attr, |entry| entry.attr).is_ok()
    }
}

impl AttributeSource for MvImage<'_> {
    fn object_type(&self) -> ObjectType {
        self.object.object_type
    }

    fn dn(&self) -> &'static str {
        ""
    }

    fn has_part_of(&self, connector: ConnectorId) -> bool {
        self.object.lineage.iter().any(|entry| entry.source.connector() == connector)
    }

    fn values(&self, attr: AttrId) -> Values<'_> {
        if !self.present.may_have(attr) {
            return Values::none();
        }
        Values::all(&self.object.values, attr)
    }

    fn imported_values(&self, attr: AttrId) -> Values<'_> {
        self.values(attr)
    }

    fn count(&self, attr: AttrId) -> u64 {
        let values = self.values(attr).count() as u64;
        if values > 0 || !self.contributed(attr) {
            return values;
        }
        // A contributor without values gives references. One that none can be resolved of yet still decides the
        // attribute, or precedence would depend on which objects came first.
        let count = match self.rows.get() {
            None if is_provisional_mv(self.object.id) => 0,
            None => self.view.or_note(self.view.mv_reference_count(self.object.id, attr)),
            Some(_) => self.of_attribute(attr).count() as u64,
        };
        count.max(1)
    }

    fn references(&self, attr: AttrId) -> Vec<u64> {
        if !self.contributed(attr) {
            return Vec::new();
        }
        self.read_references.store(true, Ordering::Relaxed);
        self.of_attribute(attr).map(|row| row.target.0).collect()
    }

    fn reference_dn(&self, _target: u64) -> Option<String> {
        None
    }

    fn blob(&self, blob: Blob) -> Option<Vec<u8>> {
        self.view.or_note(self.view.snapshot.blob(blob))
    }

    fn present(&self) -> Option<&Present> {
        Some(&self.present)
    }
}
