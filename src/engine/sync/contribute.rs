//! What a metaverse object holds, worked out from everything that is linked to it, and what follows for its targets
//! (specification: sync engine 3.6 to 3.8).

use super::draft::{Draft, Evaluated, InboundReferences, UnitError};
use super::image::CsImage;
use super::link::{holds, ties};
use crate::model::{AttrId, ConnectorId, CsId, CsObject, DeltaKind, Lineage, Link, MvId, MvObject, ObjectErrorCode, RuleId, Stage};
use crate::rules::{Contributor, Direction, LinkType, ScopeSet, SyncRule};
use crate::store::DirtyReason;
use std::sync::Arc;

/// How often one unit may change its targets and look at the consequences (specification: sync engine 3.8).
const PROVISIONING_ROUNDS: usize = 10;

/// Which targets of a metaverse object are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Compare {
    /// None, unless the metaverse object changes.
    Changed,
    /// The one whose object brought news.
    One(ConnectorId),
    /// Those whose rules may read what changed, and those that are compared anyway.
    Reading {
        /// The attributes that changed.
        changes: Vec<AttrId>,
        /// Compared anyway.
        one: Option<ConnectorId>,
    },
    /// All.
    All,
}

/// What became of a metaverse object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    /// Its values changed.
    pub(crate) changed: bool,
    /// It is gone.
    pub(crate) removed: bool,
}

struct Part {
    id: CsId,
    object: Arc<CsObject>,
    scope: Arc<ScopeSet>,
}

impl Draft<'_> {
    /// Brings a metaverse object and its targets into agreement with its contributors.
    pub(crate) fn settle(&mut self, mv: MvId, compare: Compare) -> Result<Settled, UnitError> {
        let mut settled = Settled::default();
        let mut compare = compare;
        let mut first = true;
        for _ in 0..PROVISIONING_ROUNDS {
            let Some(current) = self.mv(mv)? else { return Ok(Settled { removed: true, ..settled }) };
            let (parts, held) = self.parts(mv, &current)?;
            if !held {
                self.dissolve(mv)?;
                return Ok(Settled { changed: true, removed: true });
            }
            let changed = self.contribute(&current, &parts)?;
            settled.changed |= changed;
            drop(parts);
            let Some(slot) = self.mv.iter_mut().find(|slot| slot.id == mv) else { return Ok(settled) };
            let relinked = std::mem::take(&mut slot.relinked) && first;
            first = false;
            let now = slot.object.clone();
            let compared = match now {
                _ if relinked => Compare::All,
                Some(now) if changed && compare != Compare::All => {
                    let one = if let Compare::One(one) = compare { Some(one) } else { None };
                    Compare::Reading { changes: changed_attributes(&current, &now), one }
                }
                _ => std::mem::replace(&mut compare, Compare::Changed),
            };
            drop(current);
            if !self.export_all(mv, &compared)? {
                return Ok(settled);
            }
            compare = Compare::Changed;
        }
        let subject = self.cs(self.subject)?.map_or_else(|| self.subject.to_string(), |subject| subject.dn.to_string());
        let detail = format!(
            "{subject} changed its target objects in {PROVISIONING_ROUNDS} rounds without coming to rest: two rules feed each other; look for an outbound flow whose result an inbound flow reads"
        );
        Self::problem(ObjectErrorCode::PROVISIONING_LOOP, detail)
    }

    /// The contributors with their scopes, and whether any of them holds the metaverse object.
    fn parts(&mut self, mv: MvId, current: &MvObject) -> Result<(Vec<Part>, bool), UnitError> {
        let mut parts = Vec::new();
        let mut held = false;
        for id in self.links(mv)? {
            let Some(object) = self.cs(id)? else { continue };
            let news = object.stage(Stage::PendingImport).kind;
            if id != self.subject && news != DeltaKind::None {
                // Its news count already, although its own unit is still to come. Should its directory take them
                // back before that, nothing but this mark would tell.
                self.dirty.push((id, DirtyReason::Consequence));
            }
            if id != self.subject && matches!(news, DeltaKind::Delete | DeltaKind::DeleteAdd) {
                // Its own unit takes it off; until then it neither gives nor lets go.
                held = true;
                continue;
            }
            let scope = self.inbound_scope(id, &object)?;
            held |= scope.rules.iter().any(|rule| holds(rule, current.object_type));
            // What an administrator tied stays, also where no rule wants it; a target's object keeps nobody alive.
            held |= matches!(object.link, Link::ExplicitlyConnected { .. }) && !self.book.is_target(id.connector());
            if id != self.subject && self.lost_its_tie(&object, &scope) {
                self.dirty.push((id, DirtyReason::Consequence));
            }
            parts.push(Part { id, object, scope });
        }
        Ok((parts, held))
    }

    /// A link made by an inbound rule that is no longer in scope: the object's own unit must look at it.
    fn lost_its_tie(&self, object: &CsObject, scope: &ScopeSet) -> bool {
        match object.link {
            Link::Connected { by, .. } if scope.get(by).is_none() => {
                self.book.rules.rule(by).is_none_or(|rule| rule.direction == Direction::Inbound) && !scope.rules.iter().any(ties)
            }
            _ => false,
        }
    }

    fn contribute(&mut self, current: &Arc<MvObject>, parts: &[Part]) -> Result<bool, UnitError> {
        let rows: Vec<_> = parts.iter().map(|part| self.image_rows(part.id)).collect::<Result<_, _>>()?;
        let images: Vec<CsImage<'_>> = parts.iter().zip(rows).map(|(part, rows)| CsImage::new(self.view, &part.object, rows)).collect();
        let contributors: Vec<Contributor<'_>> = parts
            .iter()
            .zip(&images)
            .map(|(part, image)| Contributor {
                id: part.id,
                source: image,
                scope: &part.scope,
                new_link: self.new_links.contains(&part.id),
            })
            .collect();
        let fresh = current.lineage.is_empty() && current.values.is_empty();
        let known = (!fresh).then_some(current.as_ref());
        let rules = self.book.rules;
        let contribution = match self.evaluated.as_ref().filter(|evaluated| evaluated.is_of(current.id, parts.iter().map(|part| part.id))) {
            Some(evaluated) => rules.contribute_again(current.object_type, &contributors, current, evaluated.earlier(), self.book.run)?,
            None => rules.contribute(current.object_type, &contributors, known, self.book.run)?,
        };
        self.evaluated = Some(Evaluated::new(current.id, parts.iter().map(|part| part.id), &contribution.references));
        drop(contributors);
        drop(images);
        let values = contribution.values;
        let changed = values != current.values || contribution.lineage != current.lineage;
        // A target's own references follow from the metaverse, too: news of them and what is wanted of them may cross.
        let both_ways =
            self.book.is_target(self.subject.connector()) && contribution.references.iter().any(|flow| flow.owner == self.subject.0);
        let relinked = self.mv.iter().any(|slot| slot.id == current.id && slot.relinked);
        let of_references = |entry: &&Lineage| rules.is_reference(entry.attr);
        let same_reference_origins = contribution.lineage.iter().filter(of_references).eq(current.lineage.iter().filter(of_references));
        let whole = self.book.full
            || self.retrying
            || relinked
            || both_ways
            || !same_reference_origins
            || contribution.references.iter().any(|flow| !matches!(flow.source, crate::rules::ReferenceSource::Attribute(_)));
        // What an earlier round found must not be lost when a later one looks at the object again.
        let earlier = self.inbound.iter().position(|job| job.mv == current.id).map(|index| self.inbound.remove(index));
        let whole = whole || earlier.as_ref().is_some_and(|job| job.whole);
        let had = earlier.is_some() || current.lineage.iter().any(|entry| self.book.rules.is_reference(entry.attr));
        if had || !contribution.references.is_empty() {
            self.inbound.push(InboundReferences { mv: current.id, flows: contribution.references, whole });
        }
        if changed {
            self.blobs.extend(contribution.blobs);
            self.put_mv(MvObject { id: current.id, object_type: current.object_type, values, lineage: contribution.lineage })?;
        }
        Ok(changed)
    }

    /// Deletes a metaverse object that nothing holds: what was provisioned for it is deleted, the rest set free
    /// (specification: sync engine 3.7).
    fn dissolve(&mut self, mv: MvId) -> Result<(), UnitError> {
        for id in self.links(mv)? {
            let Some(object) = self.cs(id)? else { continue };
            let provisioned = match object.link {
                Link::Connected { by, .. } => {
                    let provisions = |rule: &SyncRule| rule.direction == Direction::Outbound && rule.link == LinkType::Provision;
                    // A rule that a setting took out deletes nothing any more.
                    self.book.rules.rule(by).is_some_and(|rule| provisions(rule) && rule.hindrance.is_none())
                }
                _ => false,
            };
            drop(object);
            self.unlink(id, Link::Disconnected)?;
            self.let_go(id, provisioned)?;
            if provisioned {
                self.events.push((id, super::draft::TargetEvent::Disconnected));
            } else if self.cs(id)?.is_some() {
                self.dirty.push((id, DirtyReason::Consequence));
            }
        }
        self.drop_mv(mv)?;
        Ok(())
    }
}

/// The attributes whose values or origins differ.
fn changed_attributes(before: &MvObject, after: &MvObject) -> Vec<AttrId> {
    let mut attributes: Vec<AttrId> = before.values.attributes().chain(after.values.attributes()).collect();
    attributes.extend(before.lineage.iter().chain(&after.lineage).map(|entry| entry.attr));
    attributes.sort_unstable();
    attributes.dedup();
    attributes.retain(|attr| !before.values.same_attribute(&after.values, *attr) || !same_origins(before, after, *attr));
    attributes
}

fn origins(object: &MvObject, attr: AttrId) -> impl Iterator<Item = (RuleId, CsId)> + '_ {
    let start = object.lineage.partition_point(|entry| entry.attr < attr);
    object.lineage[start..].iter().take_while(move |entry| entry.attr == attr).map(|entry| (entry.rule, entry.source))
}

fn same_origins(before: &MvObject, after: &MvObject, attr: AttrId) -> bool {
    origins(before, attr).eq(origins(after, attr))
}
