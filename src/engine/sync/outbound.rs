//! What the targets of a metaverse object should look like, held against what we have reason to expect there: the
//! difference is the pending export (specification: sync engine 3.8).

use super::contribute::Compare;
use super::draft::{Draft, NameOwner, OutboundReferences, TargetEvent, UnitError};
use super::image::MvImage;
use super::link::{may_be_taken, ties};
use super::stages::{self, WantedValues, expected_exists};
use crate::model::{
    AttrId, ConnectorId, CsId, CsObject, DeltaKind, Dn, Link, MvId, MvObject, ObjectErrorCode, ObjectType, RuleId, Stage, StageDelta,
};
use crate::rules::{Direction, JoinRequest, LinkType, ReferenceFlow, ScopeSet, ScopedRule, Wanted};
use crate::store::DirtyReason;
use std::sync::Arc;

/// What rules say about one metaverse object in one target.
struct Wish {
    scope: ScopeSet,
    requests: Vec<JoinRequest>,
}

/// What becomes of an object that the target has.
enum Bond {
    /// It stays, bound by this rule.
    Keep(RuleId),
    /// It stays as an administrator tied it.
    Explicit,
    /// Another object type is wanted in its place.
    Replace,
    /// It was provisioned and is no longer wanted.
    Delete,
    /// It was joined and is no longer wanted.
    Release,
}

impl Draft<'_> {
    /// Compares the targets of a metaverse object. True when one of them changed in a way that inbound rules may see.
    pub(crate) fn export_all(&mut self, mv: MvId, compare: &Compare) -> Result<bool, UnitError> {
        let mut again = false;
        for connector in self.book.rules.targets() {
            let wanted = match compare {
                Compare::All => true,
                Compare::One(one) => one == connector,
                Compare::Reading { changes, one } => {
                    *one == Some(*connector) || changes.iter().any(|attr| self.book.may_matter(*connector, *attr))
                }
                Compare::Changed => false,
            };
            if wanted {
                again |= self.export(mv, *connector)?;
            }
        }
        Ok(again)
    }

    fn export(&mut self, mv: MvId, connector: ConnectorId) -> Result<bool, UnitError> {
        let Some(source) = self.mv(mv)? else { return Ok(false) };
        let linked = self.link_in(mv, connector)?;
        let wish = self.wish(&source, connector, linked.is_none())?;
        match linked {
            Some(id) => {
                let Some(object) = self.cs(id)? else { return Ok(false) };
                let leaving = matches!(object.stage(Stage::PendingImport).kind, DeltaKind::Delete | DeltaKind::DeleteAdd);
                if leaving && id != self.subject {
                    // The target deleted it; the object's own unit decides what follows.
                    return Ok(false);
                }
                match self.bond(&object, &wish.scope)? {
                    Bond::Keep(by) => {
                        if object.link != (Link::Connected { mv, by }) {
                            self.edit(id, |object| object.link = Link::Connected { mv, by })?;
                        }
                        drop(object);
                        self.update(&source, id, &wish.scope, false)
                    }
                    Bond::Explicit => {
                        drop(object);
                        self.update(&source, id, &wish.scope, false)
                    }
                    Bond::Replace => {
                        drop(object);
                        self.disconnect(id, true)?;
                        let events = self.events.len();
                        let wish = self.wish(&source, connector, true)?;
                        let again = self.connect(&source, connector, &wish)?;
                        let flow = self.events[events..].iter().any(|(_, event)| matches!(event, TargetEvent::Added { flow: true }));
                        self.events.truncate(events);
                        let named = self.link_in(mv, connector)?.unwrap_or(id);
                        self.events.push((named, TargetEvent::Replaced { flow }));
                        Ok(again || self.book.has_inbound(connector))
                    }
                    Bond::Delete => {
                        drop(object);
                        self.disconnect(id, true)?;
                        self.events.push((id, TargetEvent::Disconnected));
                        Ok(self.book.has_inbound(connector))
                    }
                    Bond::Release => {
                        drop(object);
                        self.disconnect(id, false)?;
                        self.events.push((id, TargetEvent::Disconnected));
                        self.dirty.push((id, DirtyReason::Consequence));
                        Ok(self.book.has_inbound(connector))
                    }
                }
            }
            None if wish.scope.is_empty() => Ok(false),
            None => self.connect(&source, connector, &wish),
        }
    }

    fn wish(&mut self, source: &Arc<MvObject>, connector: ConnectorId, looking: bool) -> Result<Wish, UnitError> {
        let image = MvImage::new(self.view, source);
        let scope = self.book.rules.outbound_scope(connector, &image, self.book.run)?;
        let requests =
            if looking && scope.rules.iter().any(|rule| rule.joins) { self.book.rules.joins(&scope, &image)? } else { Vec::new() };
        self.read_references |= image.read_references();
        Ok(Wish { scope, requests })
    }

    fn disconnect(&mut self, id: CsId, delete: bool) -> Result<(), UnitError> {
        self.unlink(id, Link::Disconnected)?;
        self.let_go(id, delete)?;
        self.outbound.retain(|job| job.target != id);
        Ok(())
    }

    /// Which rule keeps a linked object, if any (specification: sync engine 3.8, point 4).
    fn bond(&mut self, object: &Arc<CsObject>, scope: &ScopeSet) -> Result<Bond, UnitError> {
        let Link::Connected { by, .. } = object.link else { return Ok(Bond::Explicit) };
        let fits = |rule: &&ScopedRule| rule.partner_type.is_none_or(|wanted| wanted == object.object_type);
        let provisions = |rule: &&ScopedRule| rule.link == LinkType::Provision;
        if let Some(rule) = scope.rules.iter().filter(provisions).find(fits) {
            // Whoever made the link, a rule in scope that would have created the object is the one that binds it, so
            // that the outcome does not hang on which side was looked at first.
            return Ok(Bond::Keep(rule.id));
        }
        let Some(bound) = self.book.rules.rule(by).filter(|rule| rule.hindrance.is_none()) else {
            // The rule was taken out of the configuration, or a setting took it out: never delete on that.
            let inbound = self.inbound_scope(object.id, object)?;
            let outbound = scope.rules.iter().filter(|rule| ties(rule)).find(fits).map(|rule| rule.id);
            let tie = outbound.or_else(|| inbound.rules.iter().find(|rule| ties(rule)).map(|rule| rule.id));
            return Ok(tie.map_or(Bond::Release, Bond::Keep));
        };
        if bound.direction == Direction::Inbound {
            return Ok(Bond::Keep(by));
        }
        let provisioned = bound.link == LinkType::Provision;
        if provisioned && scope.rules.iter().any(|rule| rule.link == LinkType::Provision) {
            return Ok(Bond::Replace);
        }
        if !provisioned && scope.get(by).is_some_and(|rule| fits(&rule)) {
            return Ok(Bond::Keep(by));
        }
        let inbound = self.inbound_scope(object.id, object)?;
        let holder = |rule: &&ScopedRule| if provisioned { rule.link != LinkType::Join } else { ties(rule) };
        let next = scope.rules.iter().filter(fits).find(holder).or_else(|| inbound.rules.iter().find(holder));
        Ok(match next {
            Some(rule) => Bond::Keep(rule.id),
            None if provisioned => Bond::Delete,
            None => Bond::Release,
        })
    }

    /// Finds or makes the object of a target for a metaverse object that has none there.
    fn connect(&mut self, source: &Arc<MvObject>, connector: ConnectorId, wish: &Wish) -> Result<bool, UnitError> {
        let provision = wish.scope.rules.iter().find(|rule| rule.link == LinkType::Provision).copied();
        if provision.is_some() || !wish.requests.is_empty() {
            self.refuse_the_key_of_another(source, connector)?;
        }
        for request in &wish.requests {
            let revive = request.link == LinkType::Provision;
            let Some(found) = self.find_target(connector, request, revive)? else { continue };
            let by = provision.filter(|rule| rule.partner_type == Some(found.object_type)).map_or(request.rule, |rule| rule.id);
            self.link(found.id, Link::Connected { mv: source.id, by })?;
            return self.update(source, found.id, &wish.scope, true);
        }
        let Some((rule, object_type)) = provision.and_then(|rule| rule.partner_type.map(|object_type| (rule, object_type))) else {
            return Ok(false);
        };
        let scope = of_type(&wish.scope, object_type);
        let wanted = self.want(source, &scope, true)?;
        let name = self.wanted_name(source, rule, connector, &wanted)?;
        match self.name_owner(connector, &name)? {
            NameOwner::Object(id) => {
                let Some(object) = self.cs(id)? else { return Ok(false) };
                if object.object_type == object_type && may_be_taken(&object, true, self.subject) {
                    drop(object);
                    self.link(id, Link::Connected { mv: source.id, by: rule.id })?;
                    return self.update(source, id, &wish.scope, true);
                }
                if object.link.mv().is_none() && !matches!(object.link, Link::ExplicitlyDisconnected) {
                    // An object of another type leaves the name soon; until then there is no room for the new one.
                    self.try_again(source.id)?;
                    return Ok(false);
                }
                let holder = match object.link.mv() {
                    Some(other) => format!("the target object of {}", self.called(other, connector)?),
                    None => "an object that an administrator disconnected".to_owned(),
                };
                let detail = format!(
                    "rule '{}' gives {} the name {}, which {holder} has already: make the name unique, or take one of the two out of scope",
                    self.book.rule_name(rule.id),
                    self.called(source.id, connector)?,
                    name.as_str(),
                );
                Self::problem(ObjectErrorCode::AMBIGUOUS_JOIN, detail)
            }
            NameOwner::Free(reuse) => {
                let link = Link::Connected { mv: source.id, by: rule.id };
                let id = self.create(connector, object_type, &name, reuse, link)?;
                let flow = !wanted.values.is_empty() || !wanted.references.is_empty();
                let merged = wanted.merged.clone();
                let flows = self.put_wanted(id, wanted)?;
                self.outbound.push(OutboundReferences { mv: source.id, target: id, flows, merged, whole: true, rows: Vec::new() });
                self.events.push((id, TargetEvent::Added { flow }));
                Ok(self.echoes(id)?)
            }
        }
    }

    /// Who has a name that a new object is to have. An unlinked object that the target does not have any more is
    /// nobody: the news of that may wait for a later step than this one, and nothing else would follow from it.
    fn name_owner(&mut self, connector: ConnectorId, name: &Dn) -> Result<NameOwner, UnitError> {
        let owner = self.by_name(connector, &name.key())?;
        let NameOwner::Object(id) = owner else { return Ok(owner) };
        let gone = |object: &CsObject| {
            let free = matches!(object.link, Link::Disconnected | Link::DisconnectedByFilter);
            free && object.stage(Stage::PendingImport).kind == DeltaKind::Delete
        };
        let gone = self.cs(id)?.is_some_and(|object| gone(&object));
        Ok(if gone && id != self.subject { NameOwner::Free(Some(id)) } else { owner })
    }

    /// Has the metaverse object looked at again by a later step. The subject may be leaving it: then another object that
    /// stays takes over.
    fn try_again(&mut self, mv: MvId) -> Result<(), UnitError> {
        let links = self.links(mv)?;
        if links.contains(&self.subject) {
            self.retry = Some(DirtyReason::RetryProvisioning);
        } else if let Some(other) = links.first() {
            self.dirty.push((*other, DirtyReason::RetryProvisioning));
        }
        Ok(())
    }

    /// A metaverse object as people know it: by what it is elsewhere than in the target. Its own number may be one that it has
    /// only while it is worked on.
    fn called(&mut self, mv: MvId, target: ConnectorId) -> Result<String, UnitError> {
        for id in self.links(mv)? {
            if id.connector() != target
                && let Some(object) = self.cs(id)?
            {
                return Ok(format!("'{}'", object.dn));
            }
        }
        Ok(format!("metaverse object {mv}"))
    }

    fn wanted_name(&mut self, source: &MvObject, rule: ScopedRule, connector: ConnectorId, wanted: &Wanted) -> Result<Dn, UnitError> {
        let Some(name) = wanted.dn.as_deref() else {
            let detail = format!(
                "rule '{}' provisions {} but no flow in scope gives 'dn' a value: add one, or a scope that leaves out objects without it",
                self.book.rule_name(rule.id),
                self.called(source.id, connector)?
            );
            return Self::problem(ObjectErrorCode::MISSING_PROVISIONING_ATTRIBUTE, detail);
        };
        Self::parse_name(name, source.id)
    }

    fn parse_name(name: &str, mv: MvId) -> Result<Dn, UnitError> {
        Dn::parse(name).or_else(|error| {
            let detail = format!("the outbound flow to 'dn' gives metaverse object {mv} the name {name:?}, which is none: {error}");
            Self::problem(ObjectErrorCode::INVALID_DN, detail)
        })
    }

    fn want(&mut self, source: &Arc<MvObject>, scope: &ScopeSet, creating: bool) -> Result<Wanted, UnitError> {
        let image = MvImage::new(self.view, source);
        let wanted = self.book.rules.want(scope, &image, creating, self.book.run)?;
        self.read_references |= image.read_references();
        Ok(wanted)
    }

    /// Compares an existing target object with what is wanted. `fresh`: it was linked just now.
    fn update(&mut self, source: &Arc<MvObject>, id: CsId, scope: &ScopeSet, fresh: bool) -> Result<bool, UnitError> {
        let Some(object) = self.cs(id)? else { return Ok(false) };
        let creating = !expected_exists(&object);
        let scope = of_type(scope, object.object_type);
        let wanted = self.want(source, &scope, creating)?;
        let rename = Self::rename(&object, source.id, &wanted, creating)?;
        let had_kind = object.stage(Stage::PendingExport).kind;
        let had_rename = object.stage(Stage::PendingExport).rename.clone();
        let taken_name = if creating { rename.clone() } else { None };
        drop(object);
        let before = self.cs(id)?;
        let merged = wanted.merged.clone();
        let flows = self.put_wanted(id, wanted)?;
        let after = self.cs(id)?;
        let flow = match (&before, &after) {
            (Some(before), Some(after)) => before.values != after.values,
            _ => false,
        };
        drop(before);
        let Some(after) = after else { return Ok(false) };
        let next_rename = if creating { None } else { rename.clone() };
        let next_kind = if creating {
            DeltaKind::Add
        } else if next_rename.is_some() || stages::wants_values(&after) || self.wants_rows(id, had_kind)? {
            DeltaKind::Update
        } else {
            DeltaKind::None
        };
        drop(after);
        if next_kind != had_kind || next_rename != had_rename {
            let rename = next_rename.clone();
            self.edit(id, |object| *object.stage_mut(Stage::PendingExport) = StageDelta { kind: next_kind, rename })?;
        }
        if let Some(name) = taken_name {
            if let Ok(name) = Dn::parse(&name) {
                self.names.push((id.connector(), name.key(), Some(id)));
            }
            self.edit(id, |object| object.dn = name)?;
        }
        let renamed = next_rename != had_rename && next_rename.is_some();
        let known = self.outbound.iter().find(|job| job.target == id);
        let whole =
            self.book.full || fresh || self.retrying || known.is_some_and(|job| job.whole) || self.flows_differ(source, id, &flows)?;
        let mut rows = Vec::new();
        if id == self.subject && !whole {
            // What the target shows, or does not, is held against what is wanted; of the other references it said nothing.
            rows = self.touched_rows.iter().map(|row| (row.attr, row.target)).collect();
            rows.extend(self.touched(id)?.iter().map(|row| (row.attr, row.target)));
        }
        self.outbound.retain(|job| job.target != id);
        self.outbound.push(OutboundReferences { mv: source.id, target: id, flows, merged, whole, rows });
        let restored = had_kind == DeltaKind::Delete;
        let event = match (renamed, fresh && creating) {
            (true, _) => TargetEvent::Renamed { flow },
            (false, true) if restored => TargetEvent::Added { flow },
            _ => TargetEvent::Compared { flow: flow || next_kind != had_kind },
        };
        self.note(id, event);
        Ok(if flow || fresh || renamed { self.echoes(id)? } else { false })
    }

    /// One event per target object and unit: the first says what happened, later rounds add that values flowed.
    fn note(&mut self, id: CsId, event: TargetEvent) {
        match self.events.iter_mut().find(|(noted, _)| *noted == id) {
            Some((_, noted)) => match (noted, event) {
                (TargetEvent::Compared { flow } | TargetEvent::Renamed { flow }, TargetEvent::Compared { flow: true }) => *flow = true,
                (noted @ TargetEvent::Compared { .. }, TargetEvent::Renamed { flow }) => *noted = TargetEvent::Renamed { flow },
                _ => {}
            },
            None => self.events.push((id, event)),
        }
    }

    /// Writes the wanted values of an object as its pending export. Gives back the reference flows.
    fn put_wanted(&mut self, id: CsId, wanted: Wanted) -> Result<Vec<ReferenceFlow>, UnitError> {
        let folded: Vec<AttrId> = wanted
            .merged
            .iter()
            .copied()
            .filter(|attr| {
                let rule = wanted.managed.binary_search(attr).ok().and_then(|index| wanted.decided_by.get(index));
                rule.is_some_and(|rule| self.book.merges_folded(*rule, *attr))
            })
            .collect();
        let Some(object) = self.cs(id)? else { return Ok(wanted.references) };
        let wish = WantedValues { values: &wanted.values, managed: &wanted.managed, merged: &wanted.merged, folded: &folded };
        if let Some(values) = stages::want_values(&object, wish) {
            drop(object);
            self.blobs.extend(wanted.blobs);
            self.edit(id, |object| object.values = values)?;
        }
        Ok(wanted.references)
    }

    /// The name the object should get, when it differs from the one we have reason to expect.
    fn rename(object: &CsObject, mv: MvId, wanted: &Wanted, creating: bool) -> Result<Option<Box<str>>, UnitError> {
        let Some(name) = wanted.dn.as_deref() else { return Ok(None) };
        let sent = [Stage::InProgress, Stage::Unconfirmed].into_iter().find_map(|stage| object.stage(stage).rename.as_deref());
        let expected = sent.filter(|_| !creating).unwrap_or(&object.dn);
        if expected == name {
            return Ok(None);
        }
        let wanted = Self::parse_name(name, mv)?;
        let same = Dn::parse(expected).is_ok_and(|expected| expected.same(&wanted));
        Ok((!same).then(|| wanted.as_str().into()))
    }

    /// True when a pending export touches a reference of the object; looked up only if the object has one at all.
    fn wants_rows(&mut self, id: CsId, kind: DeltaKind) -> Result<bool, UnitError> {
        if kind == DeltaKind::None {
            return Ok(false);
        }
        Ok(self.touched(id)?.iter().any(|row| row.state.touched(Stage::PendingExport)))
    }

    /// True when inbound rules may see what the target object will look like.
    fn echoes(&mut self, id: CsId) -> Result<bool, UnitError> {
        if !self.book.has_inbound(id.connector()) {
            return Ok(false);
        }
        let Some(object) = self.cs(id)? else { return Ok(true) };
        Ok(!self.inbound_scope(id, &object)?.is_empty())
    }

    /// True when other reference flows decide than before this unit, so that all rows must be compared.
    fn flows_differ(&mut self, source: &Arc<MvObject>, id: CsId, flows: &[ReferenceFlow]) -> Result<bool, UnitError> {
        let Some(slot) = self.mv.iter().find(|slot| slot.id == source.id) else { return Ok(true) };
        if !slot.changed {
            return Ok(false);
        }
        let Some(before) = slot.before.clone() else { return Ok(true) };
        let Some(object) = self.cs(id)? else { return Ok(true) };
        let image = MvImage::new(self.view, &before);
        let scope = self.book.rules.outbound_scope(id.connector(), &image, self.book.run);
        let former = scope.and_then(|scope| self.book.rules.want_references(&of_type(&scope, object.object_type), &image, self.book.run));
        Ok(former.map_or(true, |former| former.len() != flows.len() || former.iter().zip(flows).any(|(old, new)| !same_flow(old, new))))
    }
}

fn same_flow(left: &ReferenceFlow, right: &ReferenceFlow) -> bool {
    left.target == right.target && left.source == right.source
}

/// The rules of a scope that write objects of one type.
pub(crate) fn of_type(scope: &ScopeSet, object_type: ObjectType) -> ScopeSet {
    let rules = scope.rules.iter().filter(|rule| rule.partner_type.is_none_or(|partner| partner == object_type)).copied().collect();
    ScopeSet { rules }
}
