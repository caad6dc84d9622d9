//! What targets would be given for one object, looked at by itself: for whoever wants to know of a whole directory, before
//! anything is synchronized, what the cloud will make of it. Costs a few reads per object and writes nothing.

use super::book::Rulebook;
use super::draft::PROVISIONAL_MV;
use super::image::{CsImage, MvImage};
use super::link::ties;
use super::outbound::of_type;
use super::view::{Failure, Overlay, View};
use crate::model::{AttrId, ConnectorId, CsId, CsObject, DeltaKind, FlatValues, Lineage, Link, MvId, MvObject, ObjectType, RuleId, Stage};
use crate::rules::{Contributor, LinkType, RuleSet, RunParameters, ScopeSet};
use crate::store::{Snapshot, Store, StoreError};
use std::sync::Arc;

/// Works out what targets would be given, object by object. May be used by many threads at once.
pub struct Forecaster<'a> {
    snapshot: &'a Snapshot,
    book: Rulebook<'a>,
    overlay: Overlay,
}

/// What the targets would be given for one object.
#[derive(Clone, Debug, PartialEq)]
pub enum Forecast {
    /// It is gone, a placeholder, or on its way out.
    Absent,
    /// No inbound rule wants it, or an administrator took it off.
    Unwanted,
    /// Another object of the same metaverse object tells of both.
    Told(CsId),
    /// A rule fails: it would stay as it is, with this problem.
    Fails(String),
    /// What each target would be given; none where no outbound rule wants it.
    Wanted(Vec<TargetForecast>),
}

/// What one target would be given.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetForecast {
    /// The target.
    pub connector: ConnectorId,
    /// The type in the target.
    pub object_type: ObjectType,
    /// All values but references.
    pub values: FlatValues,
    /// The rule that decides each attribute.
    decided_by: Vec<(AttrId, RuleId)>,
    /// Where the values of the metaverse object come from.
    lineage: Arc<Vec<Lineage>>,
}

impl<'a> Forecaster<'a> {
    /// Over one view of the store.
    pub fn new(store: &'a Store, snapshot: &'a Snapshot, rules: &'a RuleSet, run: &'a RunParameters) -> Self {
        // Which connector a step is about makes no difference to what rules read.
        Self { snapshot, book: Rulebook::new(rules, run, store.names(), ConnectorId(0), false), overlay: Overlay::default() }
    }

    /// What the targets would be given for an object of a source.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn of(&self, object: &CsObject) -> Result<Forecast, StoreError> {
        let failure = Failure::default();
        let view = View::new(self.snapshot, &self.overlay, &failure, self.book.memberships());
        let found = self.look(&view, object)?;
        failure.take()?;
        Ok(found)
    }

    fn look(&self, view: &View<'_>, object: &CsObject) -> Result<Forecast, StoreError> {
        if object.link == Link::Placeholder || !object.imported() {
            return Ok(Forecast::Absent);
        }
        if object.link == Link::ExplicitlyDisconnected {
            return Ok(Forecast::Unwanted);
        }
        let mut parts: Vec<Arc<CsObject>> = Vec::new();
        if let Some(mv) = object.link.mv() {
            for id in view.links(mv)? {
                let Some(part) = view.cs(id)? else { continue };
                let leaves = matches!(part.stage(Stage::PendingImport).kind, DeltaKind::Delete | DeltaKind::DeleteAdd);
                if self.book.has_inbound(id.connector()) && (!leaves || id == object.id) {
                    parts.push(part);
                }
            }
        } else {
            parts.push(Arc::new(object.clone()));
        }
        // The first source that is linked speaks for the person.
        let speaker = parts.iter().map(|part| part.id).find(|id| !self.book.is_target(id.connector()));
        if let Some(speaker) = speaker.filter(|speaker| *speaker != object.id) {
            return Ok(Forecast::Told(speaker));
        }
        let images: Vec<CsImage<'_>> = parts.iter().map(|part| CsImage::new(view, part, None)).collect();
        let mut scopes: Vec<ScopeSet> = Vec::with_capacity(parts.len());
        for (part, image) in parts.iter().zip(&images) {
            match self.book.rules.inbound_scope(part.id.connector(), image, self.book.run) {
                Ok(scope) => scopes.push(scope),
                Err(error) => return Ok(Forecast::Fails(error.detail)),
            }
        }
        let own = parts.iter().position(|part| part.id == object.id).and_then(|index| scopes.get(index));
        let Some(own) = own.filter(|scope| scope.rules.iter().any(ties)) else { return Ok(Forecast::Unwanted) };
        let known = match object.link.mv() {
            Some(mv) => view.mv(mv)?,
            None => None,
        };
        let made = own.rules.iter().find(|rule| rule.link == LinkType::Provision).and_then(|rule| rule.partner_type);
        let Some(object_type) = known.as_ref().map(|known| known.object_type).or(made) else { return Ok(Forecast::Unwanted) };
        let contributors: Vec<Contributor<'_>> = parts
            .iter()
            .zip(&images)
            .zip(&scopes)
            .map(|((part, image), scope)| Contributor { id: part.id, source: image, scope, new_link: part.link.mv().is_none() })
            .collect();
        let contribution = match self.book.rules.contribute(object_type, &contributors, known.as_deref(), self.book.run) {
            Ok(contribution) => contribution,
            Err(error) => return Ok(Forecast::Fails(error.detail)),
        };
        let id = known.as_ref().map_or(MvId(PROVISIONAL_MV), |known| known.id);
        let metaverse = MvObject { id, object_type, values: contribution.values, lineage: contribution.lineage };
        self.targets(view, &metaverse)
    }

    fn targets(&self, view: &View<'_>, metaverse: &MvObject) -> Result<Forecast, StoreError> {
        let image = MvImage::new(view, metaverse);
        let lineage = Arc::new(metaverse.lineage.clone());
        let mut found = Vec::new();
        for target in self.book.rules.targets() {
            let linked = if metaverse.id == MvId(PROVISIONAL_MV) { None } else { view.link_in(metaverse.id, *target)? };
            let scope = match self.book.rules.outbound_scope(*target, &image, self.book.run) {
                Ok(scope) => scope,
                Err(error) => return Ok(Forecast::Fails(error.detail)),
            };
            let provision = scope.rules.iter().find(|rule| rule.link == LinkType::Provision);
            let Some(object_type) = provision.and_then(|rule| rule.partner_type) else { continue };
            match self.book.rules.want(&of_type(&scope, object_type), &image, linked.is_none(), self.book.run) {
                Ok(wanted) => found.push(TargetForecast {
                    connector: *target,
                    object_type,
                    values: wanted.values,
                    decided_by: wanted.managed.into_iter().zip(wanted.decided_by).collect(),
                    lineage: Arc::clone(&lineage),
                }),
                Err(error) => return Ok(Forecast::Fails(error.detail)),
            }
        }
        Ok(Forecast::Wanted(found))
    }
}

impl TargetForecast {
    /// The attributes of sources out of which the rules make an attribute of the target: whoever wants another value there
    /// has to change one of these.
    pub fn origins(&self, rules: &RuleSet, attr: AttrId) -> Vec<(CsId, AttrId)> {
        let Some((_, outbound)) = self.decided_by.iter().find(|(decided, _)| *decided == attr) else { return Vec::new() };
        let mut found = Vec::new();
        for between in rules.flow_reads(*outbound, attr) {
            for entry in self.lineage.iter().filter(|entry| entry.attr == between) {
                found.extend(rules.flow_reads(entry.rule, between).into_iter().map(|read| (entry.source, read)));
            }
        }
        found.dedup();
        found
    }
}

impl std::fmt::Debug for Forecaster<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Forecaster").finish_non_exhaustive()
    }
}
