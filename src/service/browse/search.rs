//! Searches of connector spaces and the metaverse: what to look for, and the cheapest way to those who fit.

use super::{Browser, PAGE, state_name};
use crate::model::{
    AttrId, ConnectorId, CsId, CsObject, DeltaKind, Dn, ErrorSide, FlatValues, Link, MvObject, ObjectType, Stage, StageMask, ValueState,
    fold,
};
use crate::rules::{Direction, RuleSet};
use crate::service::ServiceError;
use crate::service::anchors::anchor_candidates;
use crate::service::views::{CsLine, MvLine, TargetCounts, ValueView};

/// Values shown in a column.
const COLUMN: usize = 20;
/// Attributes by which people know a metaverse object.
const KNOWN_NAMES: [&str; 6] = ["displayName", "cn", "accountName", "userPrincipalName", "mail", "mailNickname"];
/// The names of all link states.
const STATES: [&str; 6] =
    ["connector", "explicit-connector", "disconnector", "explicit-disconnector", "filtered-disconnector", "placeholder"];

/// What to look for in a connector space. Everything given must hold.
#[derive(Clone, Debug, Default)]
pub struct CsQuery {
    /// The beginning of the first component's value, without regard to case.
    pub rdn: Option<String>,
    /// Exactly this name.
    pub dn: Option<String>,
    /// This anchor, in any form in which anchors are written.
    pub anchor: Option<String>,
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
    /// Attributes to show.
    pub columns: Vec<String>,
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

impl Browser<'_> {
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
        let mut columns = Vec::new();
        for name in &query.columns {
            let known = || ServiceError::Usage(format!("no attribute '{name}' is known here"));
            columns.push((name.clone(), self.names.find(name).ok_or_else(known)?));
        }
        let mut lines = Vec::new();
        let mut visit = |object: &CsObject| -> Result<bool, ServiceError> {
            if self.fits_cs(object, query, wanted_type.as_deref(), &filters)? {
                if lines.len() >= query.limit {
                    return Ok(false);
                }
                let mut line = self.cs_line(object);
                for (name, attr) in &columns {
                    line.columns.insert(name.clone(), self.shown_column(object, *attr)?);
                }
                lines.push(line);
            }
            Ok(true)
        };
        let more = !self.each_candidate(connector, query, &mut visit)?;
        Ok((lines, more))
    }

    /// The values of an attribute, names for references; a few of many.
    fn shown_column(&self, object: &CsObject, attr: AttrId) -> Result<Vec<String>, ServiceError> {
        let name = self.names.name(attr);
        let present = object.values.attribute(attr).filter(|item| ValueState(item.flags).present(StageMask::WANTED));
        let mut shown: Vec<String> = present.take(COLUMN).map(|item| ValueView::of(&name, item.value).to_string()).collect();
        if shown.is_empty() {
            let rows = self.snapshot.cs_references(object.id)?;
            for row in rows.iter().filter(|row| row.attr == attr && row.state.present(StageMask::WANTED)).take(COLUMN) {
                shown.push(self.dn_of(row.target)?);
            }
        }
        Ok(shown)
    }

    /// Visits objects that may fit, by the cheapest way there is. False when the visitor had enough.
    fn each_candidate(
        &self,
        connector: ConnectorId,
        query: &CsQuery,
        visit: &mut dyn FnMut(&CsObject) -> Result<bool, ServiceError>,
    ) -> Result<bool, ServiceError> {
        if let Some(ids) = self.named(connector, query)? {
            for id in ids {
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

    /// The objects that a query names, where it names some; an index has them.
    fn named(&self, connector: ConnectorId, query: &CsQuery) -> Result<Option<Vec<CsId>>, ServiceError> {
        let parsed = |name: &str| Dn::parse(name).map_err(|error| ServiceError::Usage(format!("'{name}': {error}")));
        Ok(match query {
            CsQuery { dn: Some(name), .. } => Some(self.snapshot.cs_by_dn(connector, &parsed(name)?.key())?.into_iter().collect()),
            CsQuery { anchor: Some(text), .. } => {
                let mut ids = Vec::new();
                for candidate in anchor_candidates(text) {
                    ids.extend(self.snapshot.cs_by_anchor(connector, &candidate)?);
                }
                ids.sort_unstable();
                ids.dedup();
                Some(ids)
            }
            CsQuery { under: Some(name), .. } => Some(self.snapshot.cs_subtree(connector, &parsed(name)?.key())?),
            _ => None,
        })
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

    /// Counts the objects of a target that an import has shown, that rules would join, and that are joined to nothing.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn count_not_joined(&self, target: ConnectorId) -> Result<u64, ServiceError> {
        let (mut count, mut after) = (0, None);
        loop {
            let page = self.snapshot.cs_scan(target, after, PAGE)?;
            let Some(last) = page.last() else { return Ok(count) };
            after = Some(last.id);
            count += page.iter().filter(|object| object.imported() && object.link == Link::Disconnected).count() as u64;
        }
    }
}

fn has_value(values: &FlatValues, attr: AttrId, filter: &AttributeFilter, mask: Option<StageMask>) -> bool {
    values
        .attribute(attr)
        .filter(|item| mask.is_none_or(|mask| ValueState(item.flags).present(mask)))
        .any(|item| filter.fits(&ValueView::of("", item.value).to_string()))
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
}
