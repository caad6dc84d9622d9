//! Traces of the rules over what is stored, or over what a planned batch would make of it: the images that rules read
//! are those of synchronization.

use super::book::Rulebook;
use super::image::{CsImage, MvImage};
use super::outbound::of_type;
use super::stages::expected_exists;
use super::view::{Failure, Overlay, View};
use crate::model::{AttrId, AttributeSource, ConnectorId, CsId, CsObject, DeltaKind, MvId, MvObject, RuleId, Stage};
use crate::rules::{AttributeTrace, Contributor, Direction, RuleSet, RuleTrace, RunParameters, ScopeSet};
use crate::store::{Snapshot, Store, StoreError};
use std::sync::Arc;

/// Follows the rules over stored objects. Reads a few objects by number, whatever the size of the store.
pub struct Tracer<'a> {
    snapshot: &'a Snapshot,
    book: Rulebook<'a>,
    overlay: Overlay,
}

impl<'a> Tracer<'a> {
    /// A tracer over one view of the store.
    pub fn new(store: &'a Store, snapshot: &'a Snapshot, rules: &'a RuleSet, run: &'a RunParameters) -> Self {
        // Which connector a step is about makes no difference to what rules read.
        Self { snapshot, book: Rulebook::new(rules, run, store.names(), ConnectorId(0), false), overlay: Overlay::default() }
    }

    /// One rule over one connector-space object; for an outbound rule over the metaverse object that it is linked to.
    /// `None` when object, link or rule is missing.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn rule(&self, rule: RuleId, id: CsId) -> Result<Option<RuleTrace>, StoreError> {
        let outbound = self.book.rules.rule(rule).is_some_and(|rule| rule.direction == Direction::Outbound);
        self.looking(|view| {
            let Some(object) = view.cs(id)? else { return Ok(None) };
            if !outbound {
                return Ok(self.book.rules.trace_rule(rule, &CsImage::new(view, &object, None), self.book.run));
            }
            let Some(mv) = object.link.mv() else { return Ok(None) };
            let Some(object) = view.mv(mv)? else { return Ok(None) };
            Ok(self.book.rules.trace_rule(rule, &MvImage::new(view, &object), self.book.run))
        })
    }

    /// Who decides one attribute of a metaverse object.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn contribution(&self, object: &MvObject, only: AttrId) -> Result<Option<AttributeTrace>, StoreError> {
        self.looking(|view| {
            let found = contribution(&self.book, view, object.id, Some(object), None, Some(only))?;
            Ok(found.into_iter().next())
        })
    }

    /// Who decides the attributes of a target object that is linked to a metaverse object.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn want(&self, object: &MvObject, target: &CsObject, only: Option<AttrId>) -> Result<Vec<AttributeTrace>, StoreError> {
        self.looking(|view| Ok(want(&self.book, view, object, target, only)))
    }

    /// Does something with a connector-space object as inbound rules read it; `None` when it is gone.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn with_space_object<T>(&self, id: CsId, work: impl FnOnce(&dyn AttributeSource) -> T) -> Result<Option<T>, StoreError> {
        self.looking(|view| Ok(view.cs(id)?.map(|object| work(&CsImage::new(view, &object, None)))))
    }

    /// Does something with a metaverse object as outbound rules read it; `None` when it is gone.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn with_metaverse_object<T>(&self, id: MvId, work: impl FnOnce(&dyn AttributeSource) -> T) -> Result<Option<T>, StoreError> {
        self.looking(|view| Ok(view.mv(id)?.map(|object| work(&MvImage::new(view, &object)))))
    }

    fn looking<T>(&self, look: impl FnOnce(&View<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let failure = Failure::default();
        let view = View::new(self.snapshot, &self.overlay, &failure, self.book.memberships());
        let found = look(&view)?;
        failure.take()?;
        Ok(found)
    }
}

impl std::fmt::Debug for Tracer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tracer").finish_non_exhaustive()
    }
}

/// Who decides the attributes of a metaverse object. `current` is what it held before; `linked_now` is an object that is
/// joined or projected in this very moment.
pub(super) fn contribution(
    book: &Rulebook<'_>,
    view: &View<'_>,
    mv: MvId,
    current: Option<&MvObject>,
    linked_now: Option<CsId>,
    only: Option<AttrId>,
) -> Result<Vec<AttributeTrace>, StoreError> {
    let Some(object) = view.mv(mv)? else { return Ok(Vec::new()) };
    let mut parts: Vec<(CsId, Arc<CsObject>)> = Vec::new();
    for id in view.links(mv)? {
        let Some(part) = view.cs(id)? else { continue };
        // Who is about to leave does not give any more.
        let leaves = matches!(part.stage(Stage::PendingImport).kind, DeltaKind::Delete | DeltaKind::DeleteAdd);
        if book.has_inbound(id.connector()) && !leaves {
            parts.push((id, part));
        }
    }
    let images: Vec<CsImage<'_>> = parts.iter().map(|(_, part)| CsImage::new(view, part, None)).collect();
    let scope = |(id, _): &(CsId, _), image| book.rules.inbound_scope(id.connector(), image, book.run).unwrap_or_default();
    let scopes: Vec<ScopeSet> = parts.iter().zip(&images).map(|(part, image)| scope(part, image)).collect();
    let contributors: Vec<Contributor<'_>> = parts
        .iter()
        .zip(&images)
        .zip(&scopes)
        .map(|(((id, _), image), scope)| Contributor { id: *id, source: image, scope, new_link: linked_now == Some(*id) })
        .collect();
    Ok(book.rules.trace_contribution(object.object_type, &contributors, current, only, book.run))
}

/// Who decides the attributes of a target object.
pub(super) fn want(
    book: &Rulebook<'_>,
    view: &View<'_>,
    object: &MvObject,
    target: &CsObject,
    only: Option<AttrId>,
) -> Vec<AttributeTrace> {
    let image = MvImage::new(view, object);
    let scope = book.rules.outbound_scope(target.id.connector(), &image, book.run).unwrap_or_default();
    let scope = of_type(&scope, target.object_type);
    book.rules.trace_want(&scope, &image, !expected_exists(target), only, book.run)
}

/// The enabled inbound rules for objects of this connector and type, in scope or not.
pub(super) fn inbound_rules(book: &Rulebook<'_>, view: &View<'_>, object: &CsObject) -> Vec<RuleTrace> {
    let image = CsImage::new(view, object, None);
    let rules = book.rules.rules().iter().filter(|rule| rule.direction == Direction::Inbound);
    let rules = rules.filter(|rule| rule.connector == object.id.connector() && rule.cs_type == object.object_type);
    rules.filter_map(|rule| book.rules.trace_rule(rule.id, &image, book.run)).collect()
}

/// The enabled outbound rules of all targets for metaverse objects of this type, in scope or not.
pub(super) fn outbound_rules(book: &Rulebook<'_>, view: &View<'_>, object: &MvObject) -> Vec<RuleTrace> {
    let image = MvImage::new(view, object);
    let rules = book.rules.rules().iter().filter(|rule| rule.direction == Direction::Outbound);
    let rules = rules.filter(|rule| rule.mv_type == Some(object.object_type));
    rules.filter_map(|rule| book.rules.trace_rule(rule.id, &image, book.run)).collect()
}
