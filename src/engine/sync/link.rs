//! Who belongs together: joins of connector-space objects to metaverse objects and, the other way round, of
//! metaverse objects to unlinked objects of a target (specification: sync engine 3.4, 3.5, 3.8).

use super::draft::{Draft, UnitError};
use super::keys::{footprint_join, join_key, same_value};
use super::stages::wanted_exists;
use crate::model::{
    AttrId, ConnectorId, CsId, CsObject, DeltaKind, Link, MvId, ObjectErrorCode, ObjectType, RuleId, Stage, StageMask, ValueRef, Values,
};
use crate::rules::{JoinGroupKeys, JoinRequest, LinkType, ScopeSet, ScopedRule};
use std::sync::Arc;

/// What becomes of an object without a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It is the same as this metaverse object, by this rule.
    Join(MvId, RuleId),
    /// It becomes a new metaverse object.
    Project(ObjectType, RuleId),
    /// It stays alone until something changes.
    Remain,
    /// No rule wants it.
    Filtered,
}

/// True for rules that tie an object to the metaverse, as opposed to rules that only add flows.
pub(crate) fn ties(rule: &ScopedRule) -> bool {
    rule.joins || rule.link != LinkType::Join
}

/// True for rules that keep a metaverse object of this type alive (specification: sync engine 3.7).
pub(crate) fn holds(rule: &ScopedRule, metaverse: ObjectType) -> bool {
    rule.link != LinkType::Join && rule.partner_type.is_none_or(|partner| partner == metaverse)
}

impl Draft<'_> {
    /// Decides about an unlinked object. `requests` are its join requests by precedence.
    pub(crate) fn decide(&mut self, object: &CsObject, scope: &ScopeSet, requests: &[JoinRequest]) -> Result<Decision, UnitError> {
        if !scope.rules.iter().any(ties) {
            return Ok(Decision::Filtered);
        }
        let mut found: Option<(MvId, RuleId)> = None;
        for request in requests {
            let Some(mv) = self.find_metaverse(request)? else { continue };
            match found {
                Some((other, rule)) if other != mv => {
                    let detail = format!(
                        "the rules '{}' and '{}' would join {} to different metaverse objects ({other} and {mv}): make their scopes exclude each other",
                        self.book.rule_name(rule),
                        self.book.rule_name(request.rule),
                        object.dn
                    );
                    return Self::problem(ObjectErrorCode::MULTIPLE_JOIN_RULES_IN_SCOPE, detail);
                }
                Some(_) => {}
                None => found = Some((mv, request.rule)),
            }
        }
        if let Some((mv, rule)) = found {
            if let Some(winner) = self.link_in(mv, object.id.connector())?.filter(|winner| *winner != object.id) {
                let winner = self.cs(winner)?.map_or_else(|| winner.to_string(), |winner| winner.dn.to_string());
                let detail = format!(
                    "{} matches metaverse object {mv} by rule '{}', but {winner} of the same connector is joined to it: change the value that both have in common, or take one of them out of scope",
                    object.dn,
                    self.book.rule_name(rule)
                );
                return Self::problem(ObjectErrorCode::AMBIGUOUS_JOIN, detail);
            }
            return Ok(Decision::Join(mv, rule));
        }
        for rule in scope.rules.iter().filter(|rule| rule.link == LinkType::Provision) {
            let may = requests.iter().find(|request| request.rule == rule.id).map_or(!rule.joins, |request| request.has_value);
            if let (true, Some(object_type)) = (may, rule.partner_type) {
                return Ok(Decision::Project(object_type, rule.id));
            }
        }
        Ok(Decision::Remain)
    }

    /// The one metaverse object that a request means: the first group that exactly one object matches decides.
    fn find_metaverse(&mut self, request: &JoinRequest) -> Result<Option<MvId>, UnitError> {
        for group in &request.groups {
            let Some(clause) = group.clauses.first() else { continue };
            let key = join_key(clause.partner, clause.value.as_ref());
            self.reads.push(footprint_join(key));
            let mut matching = None;
            let mut several = false;
            for candidate in self.metaverse_candidates(clause.partner, clause.value.as_ref(), key)? {
                let Some(object) = self.mv(candidate)? else { continue };
                if request.partner_type.is_some_and(|wanted| wanted != object.object_type) {
                    continue;
                }
                if matches(group, |attr| Values::all(&object.values, attr)) {
                    several |= matching.replace(candidate).is_some();
                }
            }
            if let (Some(mv), false) = (matching, several) {
                return Ok(Some(mv));
            }
        }
        Ok(None)
    }

    /// Metaverse objects that may have a value, in the store or on this sheet.
    pub(crate) fn metaverse_candidates(&mut self, attr: AttrId, value: ValueRef<'_>, key: u128) -> Result<Vec<MvId>, UnitError> {
        let mut candidates = self.view.mv_candidates(attr, value, key)?;
        let own = self.mv.iter().filter(|slot| slot.changed && slot.object.is_some()).map(|slot| slot.id);
        candidates.extend(own);
        candidates.sort_unstable();
        candidates.dedup();
        Ok(candidates)
    }

    /// The one unlinked object of a connector that a request of a metaverse object means. Objects that are to be
    /// deleted count only when `revive` says that the request may take the wish back.
    pub(crate) fn find_target(
        &mut self,
        connector: ConnectorId,
        request: &JoinRequest,
        revive: bool,
    ) -> Result<Option<Arc<CsObject>>, UnitError> {
        for group in &request.groups {
            let Some(clause) = group.clauses.first() else { continue };
            let mut matching: Option<Arc<CsObject>> = None;
            let mut several = false;
            for candidate in self.target_candidates(connector, clause.partner, clause.value.as_ref())? {
                let Some(object) = self.cs(candidate)? else { continue };
                if !may_be_taken(&object, revive, self.subject) || request.partner_type.is_some_and(|wanted| wanted != object.object_type) {
                    continue;
                }
                if matches(group, |attr| Values::staged(&object.values, attr, StageMask::WANTED)) {
                    several |= matching.replace(object).is_some();
                }
            }
            if let (Some(object), false) = (matching, several) {
                return Ok(Some(object));
            }
        }
        Ok(None)
    }

    fn target_candidates(&mut self, connector: ConnectorId, attr: AttrId, value: ValueRef<'_>) -> Result<Vec<CsId>, UnitError> {
        let mut candidates = self.view.cs_candidates(connector, attr, value)?;
        // The subject's own values may be newer than the index.
        if self.subject.connector() == connector && !candidates.contains(&self.subject) {
            candidates.push(self.subject);
        }
        candidates.sort_unstable();
        candidates.dedup();
        Ok(candidates)
    }
}

/// An unlinked object that a metaverse object may take. News that its own unit has not consumed come first, unless
/// that unit is the one at work.
pub(crate) fn may_be_taken(object: &CsObject, revive: bool, subject: CsId) -> bool {
    let free = matches!(object.link, Link::Disconnected | Link::DisconnectedByFilter);
    let leaving = matches!(object.stage(Stage::PendingImport).kind, DeltaKind::Delete | DeltaKind::DeleteAdd) && object.id != subject;
    free && !leaving && (revive || wanted_exists(object))
}

fn matches<'o>(group: &JoinGroupKeys, values: impl Fn(AttrId) -> Values<'o>) -> bool {
    group.clauses.iter().all(|clause| {
        let wanted = clause.value.as_ref();
        values(clause.partner).any(|value| same_value(value, wanted, clause.case_sensitive))
    })
}
