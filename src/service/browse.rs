//! Looks into connector spaces, the metaverse and the problems of objects. Reads only.

use super::ServiceError;
use super::anchors::anchor_candidates;
use super::views::{
    AnchorView, AttributeView, ChangeView, CsLine, CsObjectView, KnownAs, LineageView, MvLine, MvObjectView, ProblemView, StageView,
    TargetCounts, ValueView, shown_name, sort_attributes,
};
use crate::engine::sync::SIGN_IN_NAME;
use crate::model::{
    AttrId, ConnectorId, CsId, CsObject, CsReference, DeltaKind, Dn, ErrorSide, FlatValues, Link, MvId, MvObject, Names, ObjectErrorCode,
    ObjectType, RuleId, Stage, StageMask, ValueRef, ValueState, fold,
};
use crate::rules::{Direction, RuleSet};
use crate::store::{CounterName, RunRecord, Snapshot, StepKind, StepRecord};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Objects read at a time while scanning.
const PAGE: usize = 1_000;
/// How many problems an import notes.
const NOTES: u64 = 100;
/// Runs read at a time while looking for the last import.
const RUNS: usize = 50;

/// A view of everything that the store holds at one moment.
pub struct Browser<'a> {
    pub(super) snapshot: Snapshot,
    pub(super) names: Arc<Names>,
    /// Connectors by number; names of connectors that are configured no longer are missing.
    pub(super) connectors: &'a BTreeMap<ConnectorId, String>,
    /// `None` when the rules do not compile; then rules are shown by number.
    pub(super) rules: Option<&'a RuleSet>,
}

/// What to look for in a connector space. Everything given must hold.
#[derive(Clone, Debug, Default)]
pub struct CsQuery {
    /// The beginning of the first component's value, without regard to case.
    pub rdn: Option<String>,
    /// At or below this name.
    pub under: Option<String>,
    /// The object's type.
    pub object_type: Option<String>,
    /// The link state, as shown.
    pub state: Option<String>,
    /// Something of these kinds is pending from an import.
    pub pending_import: Vec<DeltaKind>,
    /// Something of these kinds waits for an export.
    pub pending_export: Vec<DeltaKind>,
    /// A problem on one of these sides.
    pub error_sides: Vec<ErrorSide>,
    /// Attributes that must have a value.
    pub filters: Vec<AttributeFilter>,
    /// At most so many.
    pub limit: usize,
}

/// What to look for in the metaverse.
#[derive(Clone, Debug, Default)]
pub struct MvQuery {
    /// The object's type.
    pub object_type: Option<String>,
    /// Part of one of the attributes by which people know an object.
    pub text: Option<String>,
    /// Attributes that must have a value.
    pub filters: Vec<AttributeFilter>,
    /// At most so many.
    pub limit: usize,
}

/// `attribute=pattern`: some value of the attribute fits, without regard to case; `*` stands for anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeFilter {
    /// The attribute's name.
    pub attribute: String,
    /// The pattern, folded.
    pattern: String,
}

impl std::str::FromStr for AttributeFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((attribute, pattern)) if !attribute.trim().is_empty() => {
                Ok(Self { attribute: attribute.trim().to_owned(), pattern: fold(pattern.trim()).into_owned() })
            }
            _ => Err(format!("'{text}' is no condition: write attribute=value, with * for anything")),
        }
    }
}

impl AttributeFilter {
    fn fits(&self, value: &str) -> bool {
        let value = fold(value);
        let mut pieces = self.pattern.split('*');
        let Some(first) = pieces.next() else { return false };
        let Some(mut rest) = value.strip_prefix(first) else { return false };
        let mut pieces = pieces.peekable();
        if pieces.peek().is_none() {
            return rest.is_empty();
        }
        while let Some(piece) = pieces.next() {
            if pieces.peek().is_none() {
                return rest.ends_with(piece);
            }
            match rest.find(piece) {
                Some(at) => rest = &rest[at + piece.len()..],
                None => return false,
            }
        }
        true
    }
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

    /// Objects of a connector space.
    ///
    /// # Errors
    /// When the store cannot be read, or the name below which to look is none.
    pub fn search_cs(&self, connector: ConnectorId, query: &CsQuery) -> Result<(Vec<CsLine>, bool), ServiceError> {
        if let Some(state) = &query.state
            && !STATES.iter().any(|known| known.eq_ignore_ascii_case(state))
        {
            return Err(ServiceError::Usage(format!("'{state}' is no state; there are: {}", STATES.join(", "))));
        }
        if let Some(name) = &query.object_type {
            self.refuse_unknown_type(name, |direction| {
                let rules = self.rules.map_or(&[][..], RuleSet::rules).iter();
                rules.filter(|rule| rule.connector == connector && rule.direction == direction).map(|rule| rule.cs_type).collect()
            })?;
        }
        let wanted_type = query.object_type.as_deref().map(fold);
        let filters = self.filters(&query.filters)?;
        let mut lines = Vec::new();
        let mut visit = |object: &CsObject| -> Result<bool, ServiceError> {
            if self.fits_cs(object, query, wanted_type.as_deref(), &filters)? {
                if lines.len() >= query.limit {
                    return Ok(false);
                }
                lines.push(self.cs_line(object));
            }
            Ok(true)
        };
        let more = !self.each_candidate(connector, query, &mut visit)?;
        Ok((lines, more))
    }

    /// Visits objects that may fit, by the cheapest way there is. False when the visitor had enough.
    fn each_candidate(
        &self,
        connector: ConnectorId,
        query: &CsQuery,
        visit: &mut dyn FnMut(&CsObject) -> Result<bool, ServiceError>,
    ) -> Result<bool, ServiceError> {
        if let Some(under) = &query.under {
            let dn = Dn::parse(under).map_err(|error| ServiceError::Usage(format!("'{under}': {error}")))?;
            for id in self.snapshot.cs_subtree(connector, &dn.key())? {
                if let Some(object) = self.snapshot.cs_object(id)?
                    && !visit(&object)?
                {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        let queue = match (query.pending_import.is_empty(), query.pending_export.is_empty()) {
            (false, _) => Some(Stage::PendingImport),
            (true, false) => Some(Stage::PendingExport),
            (true, true) => None,
        };
        let mut after = None;
        loop {
            let page = match queue {
                None => self.snapshot.cs_scan(connector, after, PAGE)?,
                Some(stage) => {
                    let ids = self.snapshot.queue(stage, connector, after, PAGE)?;
                    let mut page = Vec::with_capacity(ids.len());
                    for id in ids {
                        page.extend(self.snapshot.cs_object(id)?);
                    }
                    page
                }
            };
            let Some(last) = page.last() else { return Ok(true) };
            after = Some(last.id);
            for object in &page {
                if !visit(object)? {
                    return Ok(false);
                }
            }
        }
    }

    fn fits_cs(
        &self,
        object: &CsObject,
        query: &CsQuery,
        wanted_type: Option<&str>,
        filters: &[(AttrId, &AttributeFilter)],
    ) -> Result<bool, ServiceError> {
        if wanted_type.is_some_and(|wanted| fold(&self.names.object_type_name(object.object_type)) != wanted) {
            return Ok(false);
        }
        if query.state.as_deref().is_some_and(|state| !state.eq_ignore_ascii_case(state_name(object.link))) {
            return Ok(false);
        }
        for (stage, kinds) in [(Stage::PendingImport, &query.pending_import), (Stage::PendingExport, &query.pending_export)] {
            if !kinds.is_empty() && !kinds.contains(&object.stage(stage).kind) {
                return Ok(false);
            }
        }
        if let Some(rdn) = &query.rdn {
            let starts = Dn::parse(&object.dn)
                .ok()
                .and_then(|dn| dn.component(0).map(|(_, value)| fold(value).starts_with(&*fold(rdn))))
                .unwrap_or(false);
            if !starts {
                return Ok(false);
            }
        }
        for (attr, filter) in filters {
            if !has_value(&object.values, *attr, filter, Some(StageMask::WANTED)) {
                return Ok(false);
            }
        }
        if !query.error_sides.is_empty() {
            for side in &query.error_sides {
                if self.snapshot.error(object.id, *side)?.is_some() {
                    return Ok(true);
                }
            }
            return Ok(false);
        }
        Ok(true)
    }

    fn filters<'f>(&self, filters: &'f [AttributeFilter]) -> Result<Vec<(AttrId, &'f AttributeFilter)>, ServiceError> {
        let known = |filter: &'f AttributeFilter| match self.names.find(&filter.attribute) {
            Some(attr) => Ok((attr, filter)),
            None => Err(ServiceError::Usage(format!(
                "no attribute '{}' is known here; rules and imports know: {}",
                filter.attribute,
                self.attribute_names().join(", ")
            ))),
        };
        filters.iter().map(known).collect()
    }

    /// The names of attributes that rules read or write, in order.
    fn attribute_names(&self) -> Vec<String> {
        let Some(rules) = self.rules else { return Vec::new() };
        let mut attributes: Vec<AttrId> = Vec::new();
        for connector in self.connectors.keys() {
            attributes.extend(rules.inbound_attributes(*connector));
            attributes.extend(rules.outbound_attributes(*connector));
        }
        attributes.extend(rules.rules().iter().flat_map(|rule| &rule.flows).map(|flow| flow.target));
        let mut names: Vec<String> = attributes.into_iter().map(|attr| self.names.name(attr).to_string()).collect();
        names.sort_by_key(|name| name.to_ascii_lowercase());
        names.dedup();
        names
    }

    /// An error when no rule is about objects of a type and nothing in the store has it.
    fn refuse_unknown_type(&self, name: &str, of_rules: impl Fn(Direction) -> Vec<ObjectType>) -> Result<(), ServiceError> {
        if self.names.find(name).is_some() {
            return Ok(());
        }
        let types = [Direction::Inbound, Direction::Outbound].into_iter().flat_map(of_rules);
        let mut known: Vec<String> = types.map(|kind| self.names.object_type_name(kind).to_string()).collect();
        known.sort_by_key(|name| name.to_ascii_lowercase());
        known.dedup();
        Err(ServiceError::Usage(format!("'{name}' is no object type here; rules are about: {}", known.join(", "))))
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
            known_as: if self.is_target(object.id) { known_as(&self.names, &object.values) } else { KnownAs::default() },
        }
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

    /// Everything about one connector-space object. Attributes show at most `limit` values each.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn show_cs(&self, id: CsId, limit: usize) -> Result<Option<CsObjectView>, ServiceError> {
        let Some(object) = self.snapshot.cs_object(id)? else { return Ok(None) };
        let references = self.snapshot.cs_references(id)?;
        let (image, mask) = if object.imported() { ("imported", StageMask::IMPORTED) } else { ("wanted", StageMask::WANTED) };
        let mut dns = Dns { browser: self, known: HashMap::new() };
        let mut attributes = self.image_attributes(&object, &references, mask, limit, &mut dns)?;
        sort_attributes(&mut attributes);
        let mut stages = Vec::new();
        for stage in Stage::ALL {
            let delta = object.stage(stage);
            if delta.is_some() {
                stages.push(StageView {
                    stage: stage_name(stage),
                    operation: kind_name(delta.kind),
                    rename: delta.rename.as_deref().map(str::to_owned),
                    changes: self.stage_changes(&object, &references, stage, limit, &mut dns)?,
                });
            }
        }
        let mut problems = Vec::new();
        for side in [ErrorSide::Import, ErrorSide::Sync, ErrorSide::Export] {
            if let Some(error) = self.snapshot.error(id, side)? {
                let connector = self.connector_name(id.connector());
                problems.push(ProblemView::new(id.to_string(), connector, object.dn.to_string(), side, &error));
            }
        }
        let linked_by = match object.link {
            Link::Connected { by, .. } => Some(self.rule_name(by)),
            Link::ExplicitlyConnected { .. } => Some("an administrator".to_owned()),
            _ => None,
        };
        Ok(Some(CsObjectView {
            id: id.to_string(),
            connector: self.connector_name(id.connector()),
            dn: object.dn.to_string(),
            object_type: self.names.object_type_name(object.object_type).to_string(),
            anchor: object.anchor.as_ref().map(AnchorView::of),
            state: state_name(object.link),
            metaverse: object.link.mv().map(|mv| mv.0),
            linked_by,
            transient: object.transient,
            image,
            attributes,
            stages,
            problems,
        }))
    }

    fn image_attributes(
        &self,
        object: &CsObject,
        references: &[CsReference],
        mask: StageMask,
        limit: usize,
        dns: &mut Dns<'_, '_>,
    ) -> Result<Vec<AttributeView>, ServiceError> {
        let mut attributes: BTreeMap<AttrId, AttributeView> = BTreeMap::new();
        for item in object.values.iter().filter(|item| ValueState(item.flags).present(mask)) {
            let view = self.attribute_view(&mut attributes, item.attr);
            view.count += 1;
            if view.values.len() < limit {
                view.values.push(ValueView::of(&view.name, item.value));
            }
        }
        for reference in references.iter().filter(|reference| reference.state.present(mask)) {
            let view = self.attribute_view(&mut attributes, reference.attr);
            view.count += 1;
            if view.values.len() < limit {
                view.values.push(dns.reference(reference.target)?);
            }
        }
        Ok(attributes.into_values().collect())
    }

    fn attribute_view<'v>(&self, attributes: &'v mut BTreeMap<AttrId, AttributeView>, attr: AttrId) -> &'v mut AttributeView {
        attributes.entry(attr).or_insert_with(|| AttributeView {
            name: shown_name(&self.names, attr),
            values: Vec::new(),
            count: 0,
            lineage: Vec::new(),
        })
    }

    fn stage_changes(
        &self,
        object: &CsObject,
        references: &[CsReference],
        stage: Stage,
        limit: usize,
        dns: &mut Dns<'_, '_>,
    ) -> Result<Vec<ChangeView>, ServiceError> {
        let mut changes: BTreeMap<AttrId, ChangeView> = BTreeMap::new();
        let mut note = |attr: AttrId, state: ValueState, value: ValueView| {
            let change = changes.entry(attr).or_insert_with(|| ChangeView {
                attribute: shown_name(&self.names, attr),
                removed: Vec::new(),
                added: Vec::new(),
            });
            let list = if state.added(stage) { &mut change.added } else { &mut change.removed };
            if list.len() < limit {
                list.push(value);
            }
        };
        for item in object.values.iter() {
            let state = ValueState(item.flags);
            if state.touched(stage) {
                note(item.attr, state, ValueView::of(&self.names.name(item.attr), item.value));
            }
        }
        for reference in references.iter().filter(|reference| reference.state.touched(stage)).take(limit) {
            note(reference.attr, reference.state, dns.reference(reference.target)?);
        }
        let mut changes: Vec<ChangeView> = changes.into_values().collect();
        changes.sort_by_cached_key(|change| change.attribute.to_ascii_lowercase());
        Ok(changes)
    }

    /// Objects of the metaverse.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn search_mv(&self, query: &MvQuery) -> Result<(Vec<MvLine>, bool), ServiceError> {
        if let Some(name) = &query.object_type {
            self.refuse_unknown_type(name, |direction| {
                let rules = self.rules.map_or(&[][..], RuleSet::rules).iter();
                rules.filter(|rule| rule.direction == direction).filter_map(|rule| rule.mv_type).collect()
            })?;
        }
        let wanted_type = query.object_type.as_deref().map(fold);
        let filters = self.filters(&query.filters)?;
        let text = query.text.as_ref().map(|text| AttributeFilter { attribute: String::new(), pattern: format!("*{}*", fold(text)) });
        let known: Vec<AttrId> = KNOWN_NAMES.iter().filter_map(|name| self.names.find(name)).collect();
        let (mut lines, mut after) = (Vec::new(), None);
        loop {
            let page = self.snapshot.mv_scan(after, PAGE)?;
            let Some(last) = page.last() else { return Ok((lines, false)) };
            after = Some(last.id);
            for object in &page {
                let fits = wanted_type.as_deref().is_none_or(|wanted| fold(&self.names.object_type_name(object.object_type)) == wanted)
                    && filters.iter().all(|(attr, filter)| has_value(&object.values, *attr, filter, None))
                    && text.as_ref().is_none_or(|text| known.iter().any(|attr| has_value(&object.values, *attr, text, None)));
                if fits {
                    if lines.len() >= query.limit {
                        return Ok((lines, true));
                    }
                    lines.push(self.mv_line(object)?);
                }
            }
        }
    }

    fn mv_line(&self, object: &MvObject) -> Result<MvLine, ServiceError> {
        let connectors = self.snapshot.mv_links(object.id)?.into_iter().map(|id| self.connector_name(id.connector())).collect();
        Ok(MvLine {
            id: object.id.0,
            object_type: self.names.object_type_name(object.object_type).to_string(),
            name: self.first_text(&object.values, &["displayName", "cn", "accountName", "mailNickname"]),
            account: self.first_text(&object.values, &["userPrincipalName", "mail", "accountName"]),
            connectors,
        })
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

    /// Everything about one metaverse object, with the origin of every value.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn show_mv(&self, id: MvId, limit: usize) -> Result<Option<MvObjectView>, ServiceError> {
        let Some(object) = self.snapshot.mv_object(id)? else { return Ok(None) };
        let mut attributes: BTreeMap<AttrId, AttributeView> = BTreeMap::new();
        for item in object.values.iter() {
            let view = self.attribute_view(&mut attributes, item.attr);
            view.count += 1;
            if view.values.len() < limit {
                view.values.push(ValueView::of(&view.name, item.value));
            }
        }
        for reference in self.snapshot.mv_references(id)? {
            let view = self.attribute_view(&mut attributes, reference.attr);
            view.count += 1;
            if view.values.len() < limit {
                let dn = match self.snapshot.mv_object(reference.target)? {
                    Some(target) => self.first_text(&target.values, &["displayName", "cn", "userPrincipalName", "mail"]),
                    None => String::new(),
                };
                view.values.push(ValueView::Reference { dn, id: reference.target.to_string() });
            }
        }
        for lineage in &object.lineage {
            let rule = self.rule_name(lineage.rule);
            let dn = self.dn_of(lineage.source)?;
            let connector = self.connector_name(lineage.source.connector());
            if let Some(view) = attributes.get_mut(&lineage.attr) {
                view.lineage.push(LineageView {
                    rule,
                    source_id: lineage.source.to_string(),
                    connector,
                    dn,
                    since: lineage.since.to_string(),
                });
            }
        }
        let mut links = Vec::new();
        for link in self.snapshot.mv_links(id)? {
            if let Some(linked) = self.snapshot.cs_object(link)? {
                links.push(self.cs_line(&linked));
            }
        }
        let mut attributes: Vec<AttributeView> = attributes.into_values().collect();
        sort_attributes(&mut attributes);
        Ok(Some(MvObjectView { id: id.0, object_type: self.names.object_type_name(object.object_type).to_string(), attributes, links }))
    }

    /// Counts linked objects of targets that imports have shown.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn count_targets(&self, targets: &[ConnectorId]) -> Result<TargetCounts, ServiceError> {
        let mut counts = TargetCounts::default();
        for target in targets {
            let mut after = None;
            loop {
                let page = self.snapshot.cs_scan(*target, after, PAGE)?;
                let Some(last) = page.last() else { break };
                after = Some(last.id);
                for object in page.iter().filter(|object| object.imported() && object.link.mv().is_some()) {
                    match &*self.names.object_type_name(object.object_type) {
                        "group" => counts.groups += 1,
                        "contact" => counts.contacts += 1,
                        _ => counts.users += 1,
                    }
                }
            }
        }
        Ok(counts)
    }

    /// Problems of objects, by connector.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn problems(&self, connector: Option<ConnectorId>, limit: usize) -> Result<(Vec<ProblemView>, bool), ServiceError> {
        let mut problems = Vec::new();
        for id in self.connectors.keys().copied().filter(|id| connector.is_none_or(|wanted| wanted == *id)) {
            let mut after = None;
            for problem in self.entries_refused(id)? {
                if problems.len() >= limit {
                    return Ok((problems, true));
                }
                problems.push(problem);
            }
            loop {
                let page = self.snapshot.errors(id, after, PAGE)?;
                let Some((last, side, _)) = page.last() else { break };
                after = Some((*last, *side));
                for (object, side, error) in &page {
                    if problems.len() >= limit {
                        return Ok((problems, true));
                    }
                    let name = self.connector_name(object.connector());
                    problems.push(ProblemView::new(object.to_string(), name, self.dn_of(*object)?, *side, error));
                }
            }
        }
        Ok((problems, false))
    }
}

impl Browser<'_> {
    /// Entries that no import could make objects of: what the last full import noted, and the imports after it. Earlier
    /// ones tell since when.
    fn entries_refused(&self, connector: ConnectorId) -> Result<Vec<ProblemView>, ServiceError> {
        let (mut found, mut complete, mut before) = (Vec::new(), false, None);
        loop {
            let runs = self.snapshot.runs(before, RUNS)?;
            let Some(last) = runs.last() else { return Ok(found) };
            before = Some(last.id);
            for run in runs.iter().filter(|run| run.connector == connector) {
                for step in run.steps.iter().rev().filter(|step| matches!(step.kind, StepKind::FullImport | StepKind::DeltaImport)) {
                    let refused = self.refused_by(run, step)?;
                    let whole = step.kind == StepKind::FullImport && !step.result.0.starts_with("no-start");
                    let mut known = false;
                    for problem in refused {
                        let same = |other: &&mut ProblemView| other.dn == problem.dn && other.code == problem.code;
                        match found.iter_mut().find(same) {
                            Some(earlier) => {
                                earlier.first_seen = problem.first_seen;
                                known = true;
                            }
                            None if !complete => found.push(problem),
                            None => {}
                        }
                    }
                    if complete && whole && !known {
                        return Ok(found);
                    }
                    complete |= whole;
                    if complete && found.is_empty() {
                        return Ok(found);
                    }
                }
            }
        }
    }

    fn refused_by(&self, run: &RunRecord, step: &StepRecord) -> Result<Vec<ProblemView>, ServiceError> {
        let noted = CounterName(Cow::Borrowed("stage-failure"));
        let failures = step.counters.get(&noted).copied().unwrap_or(0);
        let mut found = Vec::new();
        if failures == 0 {
            return Ok(found);
        }
        let since = step.started.to_string();
        let problem = |dn: String, code: &str, detail: String| ProblemView {
            id: None,
            connector: self.connector_name(run.connector),
            dn,
            side: "import",
            code: code.to_owned(),
            detail,
            first_seen: since.clone(),
            last_seen: since.clone(),
            retries: 0,
        };
        let mut lines = 0;
        for (entry, code, detail) in step.message.iter().flat_map(|message| message.lines()).filter_map(noted_entry) {
            lines += 1;
            // Objects have their problems beside them.
            if !self.is_object(run.connector, entry)? {
                found.push(problem(entry.to_owned(), code, detail.to_owned()));
            }
        }
        if lines >= NOTES && failures > lines {
            let detail = format!("{} more entries of this import had problems; a run notes the first {NOTES}", failures - lines);
            found.push(problem(format!("run {}", run.id.0), "discovery-errors", detail));
        }
        Ok(found)
    }

    fn is_object(&self, connector: ConnectorId, name: &str) -> Result<bool, ServiceError> {
        let Ok(dn) = Dn::parse(name) else { return Ok(false) };
        let Some(id) = self.snapshot.cs_by_dn(connector, &dn.key())? else { return Ok(false) };
        Ok(self.snapshot.cs_link(id)?.is_some_and(|link| link != Link::Placeholder))
    }
}

/// A line that an import noted of an entry: what it is called, the code, what is wrong.
fn noted_entry(line: &str) -> Option<(&str, &'static str, &str)> {
    ObjectErrorCode::ALL.iter().map(ObjectErrorCode::as_str).find_map(|code| {
        let (entry, detail) = line.split_once(&format!(": {code}: "))?;
        Some((entry, code, detail))
    })
}

impl std::fmt::Debug for Browser<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Browser").field("connectors", &self.connectors).finish_non_exhaustive()
    }
}

/// Attributes by which people name an account.
const ACCOUNT_NAMES: [&str; 5] = ["userPrincipalName", "sAMAccountName", "uid", "mail", "cn"];
/// Attributes by which people know a metaverse object.
const KNOWN_NAMES: [&str; 6] = ["displayName", "cn", "accountName", "userPrincipalName", "mail", "mailNickname"];

/// Names of objects, read once each.
struct Dns<'b, 'a> {
    browser: &'b Browser<'a>,
    known: HashMap<CsId, String>,
}

impl Dns<'_, '_> {
    fn reference(&mut self, target: CsId) -> Result<ValueView, ServiceError> {
        if !self.known.contains_key(&target) {
            let dn = self.browser.dn_of(target)?;
            self.known.insert(target, dn);
        }
        Ok(ValueView::Reference { dn: self.known.get(&target).cloned().unwrap_or_default(), id: target.to_string() })
    }
}

fn has_value(values: &FlatValues, attr: AttrId, filter: &AttributeFilter, mask: Option<StageMask>) -> bool {
    values
        .attribute(attr)
        .filter(|item| mask.is_none_or(|mask| ValueState(item.flags).present(mask)))
        .any(|item| filter.fits(&ValueView::of("", item.value).to_string()))
}

/// By what people know an object of a target: as it shall be, or as it is where nothing is wanted any more.
pub(super) fn known_as(names: &Names, values: &FlatValues) -> KnownAs {
    let text = |name: &str| {
        let attr = names.find(name)?;
        [StageMask::WANTED, StageMask::IMPORTED].into_iter().find_map(|mask| {
            values.attribute(attr).find_map(|item| match item.value {
                ValueRef::Text(text) if ValueState(item.flags).present(mask) => Some(text.to_owned()),
                _ => None,
            })
        })
    };
    KnownAs { display_name: text("displayName"), user_principal_name: text("userPrincipalName") }
}

/// A number as shown: connector and sequence with a point between.
pub(super) fn parse_cs_id(text: &str) -> Option<CsId> {
    let (connector, sequence) = text.split_once('.')?;
    Some(CsId::new(ConnectorId(connector.parse().ok()?), sequence.parse().ok()?))
}

/// The names of all link states.
const STATES: [&str; 6] =
    ["connector", "explicit-connector", "disconnector", "explicit-disconnector", "filtered-disconnector", "placeholder"];

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
    fn patterns_fit_without_regard_to_case() {
        let fits = |pattern: &str, value: &str| format!("a={pattern}").parse::<AttributeFilter>().unwrap().fits(value);
        assert!(fits("Jana", "jana") && !fits("Jana", "janab"));
        assert!(fits("ja*", "Jana") && fits("*NA", "jana") && fits("j*n*", "jana") && fits("*", ""));
        assert!(!fits("j*x*", "jana") && !fits("*b", "jana"));
        assert!("noequals".parse::<AttributeFilter>().is_err());
    }

    #[test]
    fn numbers_of_objects_are_read_as_shown() {
        let id = CsId::new(ConnectorId(3), 17);
        assert_eq!(parse_cs_id(&id.to_string()), Some(id));
        assert_eq!(parse_cs_id("17"), None);
    }
}
