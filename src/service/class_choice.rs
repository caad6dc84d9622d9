//! Which classes of objects are read of a directory, and what another choice would mean (specification: sync engine, section 5.7).

use super::{Service, ServiceError};
use crate::config::{ConnectorConfig, Edit, ListEdit};
use crate::connector::PageItem;
use crate::context::Context;
use crate::model::ConnectorId;
use serde::Serialize;
use std::collections::BTreeMap;

/// Another choice of classes, and what it means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClassChange {
    /// The classes that are read afterwards.
    pub object_types: Vec<String>,
    /// Class by class, how many objects of the connector space are of it.
    pub objects: BTreeMap<String, u64>,
    /// Objects of the connector space that the next import takes off.
    pub leaves: u64,
    /// Of these the ones for whom nothing else stands: their objects in targets would be deleted.
    pub deletes: u64,
    /// Objects that the directory has and that come with the next import; nothing where it was not asked.
    pub comes: Option<u64>,
}

/// The classes that a connector reads, before and after a choice.
pub(super) struct Classes {
    defaults: Vec<String>,
    before: Vec<String>,
    after: Vec<String>,
    /// The classes that the choice is about.
    chosen: Vec<String>,
}

impl Classes {
    /// The classes of a connector, before anything is chosen.
    pub(super) fn of(config: &ConnectorConfig) -> Self {
        let before = config.object_types();
        Self { defaults: config.default_object_types(), after: before.clone(), before, chosen: Vec::new() }
    }

    /// Takes a class in, or leaves it out.
    ///
    /// # Errors
    /// When no class would be left: that would mean those that the built-in rules know.
    pub(super) fn choose(&mut self, config: &ConnectorConfig, class: &str, exclude: bool) -> Result<(), ServiceError> {
        self.after.retain(|known| !known.eq_ignore_ascii_case(class) || !exclude);
        if self.after.is_empty() {
            let name = &config.name;
            return Err(ServiceError::Usage(format!(
                "{class} is the only class that {name} reads: without it, there is nothing to read. Include another one first"
            )));
        }
        if !exclude && !listed(&self.after, class) {
            self.after.push(class.to_owned());
        }
        if !listed(&self.chosen, class) {
            self.chosen.push(class.to_owned());
        }
        Ok(())
    }

    /// The change of the connector's file, if any.
    pub(super) fn edit(&self) -> Option<Edit> {
        let edit = ListEdit::of_defaults(&self.defaults, &self.before, &self.after);
        (!edit.is_nothing()).then_some(Edit::List(edit))
    }

    /// What the file would say.
    pub(super) fn after(&self) -> &[String] {
        &self.after
    }
}

impl Service {
    /// The class that somebody means by a name: one that is read, that the built-in rules know, or that other rules want.
    pub(super) fn class_named(&self, id: ConnectorId, config: &ConnectorConfig, name: &str) -> Result<Option<String>, ServiceError> {
        Ok(self.classes_known(id, config)?.into_iter().find(|known| known.eq_ignore_ascii_case(name)))
    }

    /// The classes that may be chosen.
    pub(super) fn classes_known(&self, id: ConnectorId, config: &ConnectorConfig) -> Result<Vec<String>, ServiceError> {
        let names = self.store.names();
        let wanted = self.rules()?.inbound_types(id).into_iter().map(|wanted| names.object_type_name(wanted).to_string());
        Ok(config.object_types().into_iter().chain(config.default_object_types()).chain(wanted).collect())
    }

    /// What a choice of classes means; nothing where none is about classes. The directory is asked for who would come only with
    /// `ask`.
    ///
    /// # Errors
    /// When the store cannot be read, or the directory does not answer.
    pub(super) fn class_change(
        &self,
        cx: &Context,
        id: ConnectorId,
        config: &ConnectorConfig,
        classes: Classes,
        ask: bool,
    ) -> Result<Option<ClassChange>, ServiceError> {
        if classes.chosen.is_empty() {
            return Ok(None);
        }
        let names = self.store.names();
        let type_name = |kind| names.object_type_name(kind).to_string();
        let mut objects = BTreeMap::new();
        for class in &classes.chosen {
            let (of_class, _) = self.leaving(id, &|object| !type_name(object.object_type).eq_ignore_ascii_case(class))?;
            objects.insert(class.clone(), of_class);
        }
        let gone: Vec<String> = classes.before.iter().filter(|class| !listed(&classes.after, class)).cloned().collect();
        let (leaves, deletes) = self.leaving(id, &|object| !listed(&gone, &type_name(object.object_type)))?;
        let comes = if ask { Some(self.coming(cx, config, &classes)?) } else { None };
        Ok(Some(ClassChange { object_types: classes.after, objects, leaves, deletes, comes }))
    }

    /// Asks a directory how many objects it has of the classes that come in.
    fn coming(&self, cx: &Context, config: &ConnectorConfig, classes: &Classes) -> Result<u64, ServiceError> {
        let new: Vec<String> = classes.after.iter().filter(|class| !listed(&classes.before, class)).cloned().collect();
        if new.is_empty() {
            return Ok(0);
        }
        let mut wider = config.clone();
        if let Some(table) = wider.selection_mut() {
            table.object_types = new;
        }
        let mut comes = 0;
        self.each_item(cx, &wider, &mut |item| comes += u64::from(matches!(item, PageItem::Entry(_))))?;
        Ok(comes)
    }
}

/// True when a list of names has one, whatever its case.
pub(super) fn listed(list: &[String], name: &str) -> bool {
    list.iter().any(|known| known.eq_ignore_ascii_case(name))
}
