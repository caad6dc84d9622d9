//! Everything about one object: its images, what is under way, and where every value comes from.

use super::{Browser, kind_name, stage_name, state_name};
use crate::model::{AttrId, CsId, CsObject, CsReference, ErrorSide, Link, MvId, Stage, StageMask, ValueState};
use crate::service::ServiceError;
use crate::service::views::{
    AnchorView, AttributeView, ChangeView, CsObjectView, LineageView, MvObjectView, ProblemView, StageView, ValueView, shown_name,
    sort_attributes,
};
use std::collections::{BTreeMap, HashMap};

impl Browser<'_> {
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
                problems.push(ProblemView::new(id.to_string(), connector, (object.dn.to_string(), self.known_as(&object)), side, &error));
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
            known_as: self.known_as(&object),
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
}

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
