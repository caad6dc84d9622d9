//! Looks into connector spaces, the metaverse and the problems of objects. Reads only.

mod problems;
mod search;
mod show;

pub use search::{AttributeFilter, CsQuery, MvQuery};

use super::ServiceError;
use super::anchors::anchor_candidates;
use super::history::{Departed, ObjectLogLine, last_delete};
use super::views::{CsLine, KnownAs};
use crate::engine::sync::SIGN_IN_NAME;
use crate::engine::text_of;
use crate::model::{
    AttrId, ConnectorId, CsId, CsObject, DeltaKind, Dn, FlatValues, Link, MvId, MvObject, Names, RuleId, Stage, ValueRef, fold,
};
use crate::rules::{Direction, RuleSet};
use crate::store::Snapshot;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Objects read at a time while scanning.
const PAGE: usize = 1_000;

/// A view of everything that the store holds at one moment.
pub struct Browser<'a> {
    pub(super) snapshot: Snapshot,
    pub(super) names: Arc<Names>,
    /// Connectors by number; names of connectors that are configured no longer are missing.
    pub(super) connectors: &'a BTreeMap<ConnectorId, String>,
    /// `None` when the rules do not compile; then rules are shown by number.
    pub(super) rules: Option<&'a RuleSet>,
}

/// Which objects a text may mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<T> {
    /// Exactly one.
    One(T),
    /// Several; a few of them.
    Several(Vec<T>),
    /// None.
    None,
}

impl<T> Found<T> {
    fn of(mut found: Vec<T>) -> Self {
        match found.len() {
            0 => Self::None,
            1 => found.pop().map_or(Self::None, Self::One),
            _ => Self::Several(found),
        }
    }
}

impl Browser<'_> {
    /// The name of a connector; its number when it is configured no longer.
    pub fn connector_name(&self, connector: ConnectorId) -> String {
        self.connectors.get(&connector).cloned().unwrap_or_else(|| format!("connector {connector}"))
    }

    pub(super) fn rule_name(&self, rule: RuleId) -> String {
        match self.rules.map(|rules| rules.rule(rule)) {
            Some(Some(rule)) => rule.name.clone(),
            Some(None) => format!("a rule that is configured no longer ({:08x})", rule.0),
            None => format!("rule {:08x} (its name is not known: the rules do not compile)", rule.0),
        }
    }

    pub(super) fn dn_of(&self, id: CsId) -> Result<String, ServiceError> {
        Ok(self.snapshot.cs_object(id)?.map_or_else(|| format!("object {id}, which is gone"), |object| object.dn.into()))
    }

    /// Which connector-space objects a text may mean: a number (`1.17`), a name, an anchor in any form, a sign-in name
    /// or account name, each also behind `connector:`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn find_cs(&self, text: &str) -> Result<Found<CsId>, ServiceError> {
        let (connectors, rest) = self.split_connector(text);
        if let Some(id) = parse_cs_id(rest)
            && connectors.contains(&id.connector())
            && self.snapshot.cs_object(id)?.is_some()
        {
            return Ok(Found::One(id));
        }
        let mut found = Vec::new();
        if let Ok(dn) = Dn::parse(rest)
            && dn.depth() > 0
        {
            for connector in &connectors {
                found.extend(self.snapshot.cs_by_dn(*connector, &dn.key())?);
            }
        }
        if found.is_empty() {
            for candidate in anchor_candidates(rest) {
                for connector in &connectors {
                    found.extend(self.snapshot.cs_by_anchor(*connector, &candidate)?);
                }
            }
        }
        if found.is_empty() {
            for connector in &connectors {
                self.scan_accounts(*connector, rest, &mut found)?;
            }
        }
        found.sort_unstable();
        found.dedup();
        Ok(Found::of(found))
    }

    /// Who was deleted last of those who were known by this text, when, and by which run; as far back as history is kept.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn last_delete(&self, text: &str) -> Result<Option<(CsId, ObjectLogLine)>, ServiceError> {
        let (connectors, rest) = self.split_connector(text);
        match parse_cs_id(rest) {
            Some(id) => last_delete(&self.snapshot, &Departed::Object(id), &[id.connector()]),
            None => last_delete(&self.snapshot, &Departed::Known(rest), &connectors),
        }
    }

    /// When this object was deleted last, if it was.
    pub(super) fn last_delete_of(&self, id: CsId) -> Result<Option<ObjectLogLine>, ServiceError> {
        Ok(last_delete(&self.snapshot, &Departed::Object(id), &[id.connector()])?.map(|(_, line)| line))
    }

    /// `connector:rest` when such a connector exists; else all connectors and the whole text.
    fn split_connector<'t>(&self, text: &'t str) -> (Vec<ConnectorId>, &'t str) {
        if let Some((name, rest)) = text.split_once(':')
            && let Some((id, _)) = self.connectors.iter().find(|(_, known)| known.eq_ignore_ascii_case(name.trim()))
        {
            return (vec![*id], rest.trim());
        }
        (self.connectors.keys().copied().collect(), text.trim())
    }

    fn scan_accounts(&self, connector: ConnectorId, text: &str, found: &mut Vec<CsId>) -> Result<(), ServiceError> {
        let attributes: Vec<AttrId> = ACCOUNT_NAMES.iter().filter_map(|name| self.names.find(name)).collect();
        let wanted = fold(text);
        let mut after = None;
        loop {
            let page = self.snapshot.cs_scan(connector, after, PAGE)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id);
            for object in &page {
                let fits = attributes.iter().any(|attr| {
                    object.values.attribute(*attr).any(|item| matches!(item.value, ValueRef::Text(value) if fold(value) == wanted))
                });
                if fits && found.len() < 20 {
                    found.push(object.id);
                }
            }
        }
    }

    /// Which metaverse objects a text may mean: a number, or a connector-space object that is linked to one.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn find_mv(&self, text: &str) -> Result<Found<MvId>, ServiceError> {
        if let Ok(number) = text.trim().parse::<u64>() {
            let id = MvId(number);
            return Ok(self.snapshot.mv_object(id)?.map_or(Found::None, |object| Found::One(object.id)));
        }
        let mut found = self.people_of(text)?;
        let ids = match if found.is_empty() { self.find_cs(text)? } else { Found::None } {
            Found::One(id) => vec![id],
            Found::Several(ids) => ids,
            Found::None => Vec::new(),
        };
        for id in ids {
            found.extend(self.snapshot.cs_link(id)?.and_then(Link::mv));
        }
        found.sort_unstable();
        found.dedup();
        Ok(Found::of(found))
    }

    /// Metaverse objects by the name people sign in with, from its index; nothing before the first synchronization.
    fn people_of(&self, text: &str) -> Result<Vec<MvId>, ServiceError> {
        let Some(attr) = self.names.find(SIGN_IN_NAME).filter(|_| text.contains('@')) else { return Ok(Vec::new()) };
        let wanted = fold(text.trim());
        let mut found = Vec::new();
        for id in self.snapshot.mv_join_candidates(attr, ValueRef::Text(text.trim()))? {
            let named = |object: &MvObject| {
                object.values.attribute(attr).any(|item| matches!(item.value, ValueRef::Text(value) if fold(value) == wanted))
            };
            if self.snapshot.mv_object(id)?.as_ref().is_some_and(named) {
                found.push(id);
            }
        }
        Ok(found)
    }

    /// The one object that a text means when the question is about somebody, not about a copy of them: of objects that
    /// stand for the same metaverse object, the one in a source.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn find_origin(&self, text: &str) -> Result<Found<CsId>, ServiceError> {
        let several = match self.find_cs(text)? {
            Found::Several(several) => several,
            other => return Ok(other),
        };
        let mut persons = Vec::new();
        for id in &several {
            persons.push(self.snapshot.cs_link(*id)?.and_then(Link::mv));
        }
        persons.dedup();
        let mut origins = several.iter().filter(|id| !self.is_target(**id));
        Ok(match (persons.as_slice(), origins.next(), origins.next()) {
            ([Some(_)], Some(origin), None) => Found::One(*origin),
            _ => Found::Several(several),
        })
    }

    /// The one object that a text means when a rule is to be held against it: of objects that stand for the same person,
    /// the one in the space that an inbound rule reads; for outbound rules as [`Self::find_origin`].
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn find_for_rule(&self, text: &str, connector: ConnectorId, direction: Direction) -> Result<Found<CsId>, ServiceError> {
        if direction == Direction::Inbound
            && let Found::Several(several) = self.find_cs(text)?
            && let [one] = several.iter().filter(|id| id.connector() == connector).collect::<Vec<_>>().as_slice()
        {
            return Ok(Found::One(**one));
        }
        self.find_origin(text)
    }

    fn cs_line(&self, object: &CsObject) -> CsLine {
        let pending = Stage::ALL
            .into_iter()
            .filter(|stage| object.stage(*stage).is_some())
            .map(|stage| format!("{} {}", stage_name(stage), kind_name(object.stage(stage).kind)))
            .collect();
        CsLine {
            id: object.id.to_string(),
            connector: self.connector_name(object.id.connector()),
            object_type: self.names.object_type_name(object.object_type).to_string(),
            state: state_name(object.link),
            metaverse: object.link.mv().map(|mv| mv.0),
            pending,
            dn: object.dn.to_string(),
            known_as: self.known_as(object),
            columns: BTreeMap::new(),
        }
    }

    /// By what people know an object of a target; those of directories have names that say it.
    pub(super) fn known_as(&self, object: &CsObject) -> KnownAs {
        if self.is_target(object.id) { known_as(&self.names, &object.values) } else { KnownAs::default() }
    }

    pub(super) fn is_target(&self, id: CsId) -> bool {
        self.rules.is_some_and(|rules| rules.targets().contains(&id.connector()))
    }

    /// Lines for objects that a text may mean, so that people can choose.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn cs_lines(&self, ids: &[CsId]) -> Result<Vec<CsLine>, ServiceError> {
        let mut lines = Vec::new();
        for id in ids {
            lines.extend(self.snapshot.cs_object(*id)?.map(|object| self.cs_line(&object)));
        }
        Ok(lines)
    }

    pub(super) fn first_text(&self, values: &FlatValues, names: &[&str]) -> String {
        for attr in names.iter().filter_map(|name| self.names.find(name)) {
            for item in values.attribute(attr) {
                if let ValueRef::Text(text) = item.value {
                    return text.to_owned();
                }
            }
        }
        String::new()
    }
}

impl std::fmt::Debug for Browser<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Browser").field("connectors", &self.connectors).finish_non_exhaustive()
    }
}

/// Attributes by which people name an account.
const ACCOUNT_NAMES: [&str; 5] = ["userPrincipalName", "sAMAccountName", "uid", "mail", "cn"];

/// By what people know an object of a target: as it shall be, or as it is where nothing is wanted any more.
pub(super) fn known_as(names: &Names, values: &FlatValues) -> KnownAs {
    let text = |name: &str| text_of(names, values, name);
    KnownAs { display_name: text("displayName"), user_principal_name: text("userPrincipalName") }
}

/// A number as shown: connector and sequence with a point between.
pub(super) fn parse_cs_id(text: &str) -> Option<CsId> {
    let (connector, sequence) = text.split_once('.')?;
    Some(CsId::new(ConnectorId(connector.parse().ok()?), sequence.parse().ok()?))
}

/// The name of a link state.
pub(super) fn state_name(link: Link) -> &'static str {
    match link {
        Link::Placeholder => "placeholder",
        Link::Disconnected => "disconnector",
        Link::DisconnectedByFilter => "filtered-disconnector",
        Link::ExplicitlyDisconnected => "explicit-disconnector",
        Link::Connected { .. } => "connector",
        Link::ExplicitlyConnected { .. } => "explicit-connector",
    }
}

/// The name of a stage.
pub(super) fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::PendingImport => "pending-import",
        Stage::Unconfirmed => "unconfirmed",
        Stage::InProgress => "in-progress",
        Stage::PendingExport => "pending-export",
    }
}

/// The name of what a stage does.
pub(super) fn kind_name(kind: DeltaKind) -> &'static str {
    match kind {
        DeltaKind::None => "none",
        DeltaKind::Add => "add",
        DeltaKind::Update => "update",
        DeltaKind::Delete => "delete",
        DeltaKind::DeleteAdd => "delete-add",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_objects_are_read_as_shown() {
        let id = CsId::new(ConnectorId(3), 17);
        assert_eq!(parse_cs_id(&id.to_string()), Some(id));
        assert_eq!(parse_cs_id("17"), None);
    }
}
