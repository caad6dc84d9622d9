//! Which parts of a directory are read: partitions and containers, how many objects they hold now, and what another choice
//! would mean (specification: sync engine, section 5.7).

use super::{Service, ServiceError};
use crate::config::{ConnectorConfig, ConnectorSettings, Edit, ListEdit, SelectionTable, change_file};
use crate::connector::directory::{Scope, Selection};
use crate::connector::{ImportKind, ImportRequest, PageItem};
use crate::context::Context;
use crate::model::{ConnectorId, CsObject, Dn, DnKey, Link, MvId};
use crate::store::Snapshot;
use futures_util::StreamExt as _;
use serde::Serialize;
use std::collections::BTreeMap;

/// Objects read at a time.
const PAGE: usize = 1_000;

/// A partition of a directory: a naming context, or the place where searches begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartitionLine {
    /// The connector.
    pub connector: String,
    /// The partition's name.
    pub partition: String,
    /// It is read.
    pub enabled: bool,
    /// Objects of the connector space that lie in it.
    pub objects: u64,
}

/// A container with what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ContainerLine {
    /// Its name.
    pub dn: String,
    /// Containers above it that are shown.
    pub depth: usize,
    /// Objects right in it.
    pub objects: u64,
    /// Objects in it and below it.
    pub below: u64,
    /// Objects right in it are imported.
    pub selected: bool,
    /// `included` or `excluded` where the configuration names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub named: Option<&'static str>,
}

/// The containers of a directory, counted now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ContainerTree {
    /// The connector.
    pub connector: String,
    /// The types of objects that are counted: those that are imported.
    pub object_types: Vec<String>,
    /// Objects of these types, wherever they lie.
    pub objects: u64,
    /// Of these the ones that are imported.
    pub selected: u64,
    /// The containers, parents before what is in them.
    pub containers: Vec<ContainerLine>,
}

/// Another choice of containers or partitions, and what it means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SelectionChange {
    /// The connector.
    pub connector: String,
    /// Its file.
    pub file: String,
    /// Included containers afterwards; none means all.
    pub include: Vec<String>,
    /// Excluded containers afterwards.
    pub exclude: Vec<String>,
    /// Partitions afterwards; none means the server's own domain.
    pub partitions: Vec<String>,
    /// Objects of the connector space that the next import takes off.
    pub leaves: u64,
    /// Of these the ones for whom nothing else stands: their objects in targets would be deleted.
    pub deletes: u64,
    /// Objects that the directory has and that come with the next import; nothing where it was not asked.
    pub comes: Option<u64>,
    /// `written`, `unchanged` or `would be written`.
    pub done: &'static str,
    /// Why nobody could tell whether the container exists; nothing where it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unchecked: Option<String>,
}

/// What is to be read, or no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// This container and what is below it.
    Include,
    /// Not this container, nor what is below it.
    Exclude,
    /// This naming context.
    Enable,
    /// Not this naming context.
    Disable,
}

/// A choice of names: what is read of a directory.
struct Reach {
    scope: Scope,
    partitions: Vec<DnKey>,
}

impl Reach {
    fn of(config: &ConnectorConfig, table: &SelectionTable, partitions: &[Dn]) -> Result<Self, ServiceError> {
        let selection = Selection { object_types: config.object_types(), include: table.include.clone(), exclude: table.exclude.clone() };
        let scope = Scope::new(&selection).map_err(|source| ServiceError::Connector { connector: config.name.clone(), source })?;
        Ok(Self { scope, partitions: partitions.iter().map(Dn::key).collect() })
    }

    fn wants(&self, key: &DnKey) -> bool {
        let inside = self.partitions.is_empty() || self.partitions.iter().any(|partition| key.is_within(partition));
        inside && self.scope.wants(key)
    }
}

impl Service {
    /// The partitions of directories: those that are read, and others that the connector space still holds objects of. With
    /// `ask`, also those that servers offer.
    ///
    /// # Errors
    /// When there is no such connector, or a server that is asked does not answer.
    pub fn partitions(&self, cx: &Context, only: Option<&str>, ask: bool) -> Result<Vec<PartitionLine>, ServiceError> {
        let only = only.map(|name| self.connector_id(name)).transpose()?;
        let snapshot = self.store.snapshot()?;
        let mut lines = Vec::new();
        for (id, name) in self.connectors.iter().filter(|(id, _)| only.is_none_or(|only| only == **id)) {
            let Some(config) = self.config.connector(name).filter(|config| config.selection().is_some()) else { continue };
            let enabled = self.enabled_partitions(*id, config)?;
            let mut all = enabled.clone();
            if ask {
                for context in self.offered_partitions(cx, config)? {
                    if !all.iter().any(|known| known.same(&context)) {
                        all.push(context);
                    }
                }
            }
            for partition in all {
                lines.push(PartitionLine {
                    connector: name.clone(),
                    enabled: enabled.iter().any(|known| known.same(&partition)),
                    objects: snapshot.cs_subtree(*id, &partition.key())?.len() as u64,
                    partition: partition.as_str().to_owned(),
                });
            }
        }
        Ok(lines)
    }

    /// The naming contexts that a server of Active Directory offers; none of other directories.
    fn offered_partitions(&self, cx: &Context, config: &ConnectorConfig) -> Result<Vec<Dn>, ServiceError> {
        let ConnectorSettings::Ad(file) = &config.settings else { return Ok(Vec::new()) };
        let connector = self.ad(config, file)?;
        let failed = |source| ServiceError::Connector { connector: config.name.clone(), source };
        let offered = self.with_runtime(cx, async || connector.naming_contexts(cx).await.map_err(failed))?;
        Ok(offered.iter().filter_map(|context| Dn::parse(context).ok()).collect())
    }

    /// Refuses a naming context that the server does not have: with it, no import would come to its end any more.
    fn refuse_unoffered(&self, cx: &Context, config: &ConnectorConfig, dn: &Dn) -> Result<(), ServiceError> {
        let offered = self.offered_partitions(cx, config)?;
        if offered.iter().any(|known| known.same(dn)) {
            return Ok(());
        }
        let names: Vec<&str> = offered.iter().map(Dn::as_str).collect();
        Err(ServiceError::Usage(format!("the server of {} has no naming context {dn}; it offers: {}", config.name, names.join("; "))))
    }

    /// Where a connector begins to read.
    fn enabled_partitions(&self, id: ConnectorId, config: &ConnectorConfig) -> Result<Vec<Dn>, ServiceError> {
        let names: Vec<String> = match &config.settings {
            ConnectorSettings::Ad(file) if !file.partitions.is_empty() => file.partitions.clone(),
            // The domain of the server, as it told the last time.
            ConnectorSettings::Ad(_) => {
                let known = self.kept_parameters(crate::model::Timestamp(0))?;
                let domain = known.parameters.get(&id).and_then(|known| known.get("Domain.FQDN")).cloned();
                domain.map(|domain| domain.split('.').map(|part| format!("DC={part}")).collect::<Vec<_>>().join(",")).into_iter().collect()
            }
            ConnectorSettings::Ldap(file) => vec![file.base.clone()],
            ConnectorSettings::Ldif(_) | ConnectorSettings::Entra(_) => Vec::new(),
        };
        Ok(names.iter().filter_map(|name| Dn::parse(name).ok()).collect())
    }

    /// Counts the objects of a directory now, container by container; nothing is imported.
    ///
    /// # Errors
    /// When there is no such directory, or it does not answer.
    pub fn container_tree(&self, cx: &Context, name: &str) -> Result<ContainerTree, ServiceError> {
        let config = self.directory(name)?;
        let table = config.selection().cloned().unwrap_or_default();
        let reach = Reach::of(config, &table, &[])?;
        let mut direct: BTreeMap<Vec<u8>, (Dn, u64)> = BTreeMap::new();
        let (mut objects, mut selected) = (0, 0);
        self.each_name(cx, config, &mut |dn| {
            objects += 1;
            selected += u64::from(reach.wants(&dn.key()));
            let Some(parent) = dn.parent() else { return };
            let mut above = parent.clone();
            direct.entry(parent.key().as_bytes().to_vec()).or_insert_with(|| (parent, 0)).1 += 1;
            // Containers between are shown, too, up to the domain.
            while !above.component(0).is_some_and(|(kind, _)| kind.eq_ignore_ascii_case("dc"))
                && let Some(next) = above.parent().filter(|next| next.depth() > 0)
            {
                direct.entry(next.key().as_bytes().to_vec()).or_insert_with(|| (next.clone(), 0));
                above = next;
            }
        })?;
        let named = |dn: &Dn| {
            let in_list = |list: &[String]| list.iter().any(|text| Dn::parse(text).is_ok_and(|known| known.same(dn)));
            if in_list(&table.include) { Some("included") } else { in_list(&table.exclude).then_some("excluded") }
        };
        let keys: Vec<DnKey> = direct.values().map(|(dn, _)| dn.key()).collect();
        let mut containers = Vec::with_capacity(direct.len());
        let counts: Vec<u64> = direct.values().map(|(_, count)| *count).collect();
        let mut above: Vec<&DnKey> = Vec::new();
        for (place, (dn, count)) in direct.values().enumerate() {
            let Some(key) = keys.get(place) else { continue };
            while above.last().is_some_and(|above| !key.is_within(above)) {
                above.pop();
            }
            let depth = above.len();
            above.push(key);
            // Names below a container stand right behind it.
            let inside = keys.iter().skip(place).take_while(|below| below.is_within(key)).count();
            containers.push(ContainerLine {
                dn: dn.as_str().to_owned(),
                depth,
                objects: *count,
                below: counts.iter().skip(place).take(inside).sum(),
                selected: reach.wants(key),
                named: named(dn),
            });
        }
        Ok(ContainerTree { connector: config.name.clone(), object_types: config.object_types(), objects, selected, containers })
    }

    /// Chooses other containers or partitions, in the connector's file; the next import reads everything again and takes off
    /// what left, and the guards look at what follows. With `what_if` nothing is written, and the directory is asked for who
    /// would come.
    ///
    /// # Errors
    /// When the name is none, the choice would mean something else than it says, or the file cannot be written.
    pub fn choose(&self, cx: &Context, name: &str, choice: Choice, dn: &str, what_if: bool) -> Result<SelectionChange, ServiceError> {
        let config = self.directory(name)?;
        let id = self.connector_id(name)?;
        let dn = Dn::parse(dn).map_err(|error| ServiceError::Usage(format!("'{dn}' is no distinguished name: {error}")))?;
        let table = config.selection().cloned().unwrap_or_default();
        let partitions = self.enabled_partitions(id, config)?;
        let (mut after, mut contexts) = (table.clone(), partitions.clone());
        match choice {
            Choice::Include => self.include(id, config, &mut after, &partitions, &dn)?,
            Choice::Exclude => exclude(config, &mut after, &dn)?,
            Choice::Enable | Choice::Disable => partition(config, &mut contexts, &partitions, choice, &dn)?,
        }
        if choice == Choice::Enable {
            self.refuse_unoffered(cx, config, &dn)?;
        }
        let unchecked = match choice {
            Choice::Include | Choice::Exclude => self.refuse_missing_container(cx, id, config, &dn)?,
            Choice::Enable | Choice::Disable => None,
        };
        let before = Reach::of(config, &table, &partitions)?;
        let then = Reach::of(config, &after, &contexts)?;
        let (leaves, deletes) = self.leaving(id, &|object| Dn::parse(&object.dn).is_ok_and(|dn| then.wants(&dn.key())))?;
        let comes = if what_if {
            let mut comes = 0;
            let wider = widened(config, &contexts);
            self.each_name(cx, &wider, &mut |dn| {
                let key = dn.key();
                comes += u64::from(then.wants(&key) && !before.wants(&key));
            })?;
            Some(comes)
        } else {
            None
        };
        let done = self.write_choice(config, (&table, &after), (&partitions, &contexts), what_if)?;
        let texts = |names: &[Dn]| names.iter().map(|name| name.as_str().to_owned()).collect();
        Ok(SelectionChange {
            connector: config.name.clone(),
            file: config.file.strip_prefix(&self.config.folder).unwrap_or(&config.file).display().to_string(),
            include: after.include,
            exclude: after.exclude,
            partitions: texts(&contexts),
            leaves,
            deletes,
            comes,
            done,
            unchecked,
        })
    }

    fn write_choice(
        &self,
        config: &ConnectorConfig,
        (table, after): (&SelectionTable, &SelectionTable),
        (partitions, contexts): (&[Dn], &[Dn]),
        what_if: bool,
    ) -> Result<&'static str, ServiceError> {
        let folder = &self.config.folder;
        let texts = |names: &[Dn]| names.iter().map(|name| name.as_str().to_owned()).collect::<Vec<String>>();
        // Where none are named, the server's own domain is read; beside another one it has to be named, too.
        let named: &[String] = match &config.settings {
            ConnectorSettings::Ad(file) => &file.partitions,
            _ => &[],
        };
        let mut edits: Vec<(&[&str], Edit)> = Vec::new();
        let mut change = |key: &'static [&'static str], edit: ListEdit| {
            if !edit.is_nothing() {
                edits.push((key, Edit::List(edit)));
            }
        };
        change(&["selection", "include"], ListEdit::of_what_is_read(&table.include, &after.include));
        change(&["selection", "exclude"], ListEdit::between(&table.exclude, &after.exclude));
        if texts(partitions) != texts(contexts) {
            change(&["partitions"], ListEdit::of_what_is_read(named, &texts(contexts)));
        }
        if edits.is_empty() {
            return Ok("unchanged");
        }
        Ok(change_file(folder, &config.file, &edits, what_if)?.as_str())
    }

    /// Takes a container in, so that exactly it and what is below it comes.
    fn include(
        &self,
        id: ConnectorId,
        config: &ConnectorConfig,
        after: &mut SelectionTable,
        partitions: &[Dn],
        dn: &Dn,
    ) -> Result<(), ServiceError> {
        after.exclude.retain(|known| !Dn::parse(known).is_ok_and(|known| known.same(dn)));
        if Reach::of(config, after, &[])?.wants(&dn.key()) {
            return Ok(());
        }
        if after.include.is_empty() {
            // An include beside nothing would leave everything else out: what was meant by nothing is written out first.
            let mut whole: Vec<String> = partitions.iter().map(|partition| partition.as_str().to_owned()).collect();
            if whole.is_empty() {
                whole.extend(self.top_of(id)?.map(|top| top.as_str().to_owned()));
            }
            if whole.is_empty() {
                let hint = "import the directory once, or write [selection] include into its file".to_owned();
                return Err(ServiceError::NotReady { message: "where the directory begins is not known yet".to_owned(), hint });
            }
            // What is left out by name was no part of it.
            whole.retain(|name| !after.exclude.iter().any(|known| same_name(known, name)));
            after.include = whole;
        }
        if !Reach::of(config, after, &[])?.wants(&dn.key()) {
            after.include.push(dn.as_str().to_owned());
        }
        Ok(())
    }

    /// The name above everything that a space holds.
    fn top_of(&self, id: ConnectorId) -> Result<Option<Dn>, ServiceError> {
        let snapshot = self.store.snapshot()?;
        let mut top = snapshot.cs_scan(id, None, 1)?.first().and_then(|object| Dn::parse(&object.dn).ok());
        while let Some(name) = &top {
            if name.component(0).is_some_and(|(kind, _)| kind.eq_ignore_ascii_case("dc")) || name.depth() <= 1 {
                break;
            }
            top = name.parent();
        }
        Ok(top)
    }

    /// Objects of a space that do not stay with another choice, and how many of them would be deleted in targets.
    pub(super) fn leaving(&self, id: ConnectorId, stays: &dyn Fn(&CsObject) -> bool) -> Result<(u64, u64), ServiceError> {
        let snapshot = self.store.snapshot()?;
        let (mut leaves, mut deletes, mut after) = (0, 0, None);
        loop {
            let page = snapshot.cs_scan(id, after, PAGE)?;
            let Some(last) = page.last() else { return Ok((leaves, deletes)) };
            after = Some(last.id);
            for object in page.iter().filter(|object| object.link != Link::Placeholder && object.imported()) {
                if stays(object) {
                    continue;
                }
                leaves += 1;
                if let Some(mv) = object.link.mv() {
                    deletes += u64::from(self.stands_alone(&snapshot, mv, id, stays)?);
                }
            }
        }
    }

    /// True when targets hold an object of somebody for whom no source would be left.
    fn stands_alone(
        &self,
        snapshot: &Snapshot,
        mv: MvId,
        id: ConnectorId,
        stays: &dyn Fn(&CsObject) -> bool,
    ) -> Result<bool, ServiceError> {
        let targets = self.rules()?.targets();
        let mut held = false;
        for link in snapshot.mv_links(mv)? {
            if targets.contains(&link.connector()) {
                held = true;
            } else if link.connector() != id || snapshot.cs_object(link)?.is_some_and(|object| stays(&object)) {
                return Ok(false);
            }
        }
        Ok(held)
    }

    /// A connector that reads a directory.
    pub(super) fn directory(&self, name: &str) -> Result<&ConnectorConfig, ServiceError> {
        let config = self.configured(name)?;
        if config.selection().is_none() {
            return Err(ServiceError::Usage(format!("{} is a tenant, which has no partitions or containers to choose from", config.name)));
        }
        Ok(config)
    }

    /// Asks a directory for the names of everything of the wanted types, wherever it lies.
    fn each_name(&self, cx: &Context, config: &ConnectorConfig, each: &mut dyn FnMut(&Dn)) -> Result<(), ServiceError> {
        self.each_item(cx, &without_containers(config), &mut |item| {
            if let PageItem::Entry(entry) = item
                && let Ok(dn) = Dn::parse(entry.dn())
            {
                each(&dn);
            }
        })
    }

    /// Reads a directory whole, without its attributes.
    pub(super) fn each_item(
        &self,
        cx: &Context,
        config: &ConnectorConfig,
        each: &mut dyn FnMut(&PageItem<'_>),
    ) -> Result<(), ServiceError> {
        let failed = |source| ServiceError::Connector { connector: config.name.clone(), source };
        self.with_wired(cx, config, async |wired| {
            let connector = &wired.connector;
            let request = ImportRequest { kind: ImportKind::Full, attributes: Vec::new() };
            let mut pages = connector.import(cx, request).await.map_err(failed)?;
            while let Some(page) = pages.next().await {
                page.map_err(failed)?.items().for_each(|item| each(&item));
            }
            Ok(())
        })
    }
}

pub(super) fn same_name(left: &str, right: &str) -> bool {
    matches!((Dn::parse(left), Dn::parse(right)), (Ok(left), Ok(right)) if left.same(&right))
}

/// The same connector, reading every container.
pub(super) fn without_containers(config: &ConnectorConfig) -> ConnectorConfig {
    let mut config = config.clone();
    if let Some(table) = config.selection_mut() {
        table.include.clear();
        table.exclude.clear();
    }
    config
}

/// The same connector with these naming contexts.
fn widened(config: &ConnectorConfig, contexts: &[Dn]) -> ConnectorConfig {
    let mut config = config.clone();
    if let ConnectorSettings::Ad(file) = &mut config.settings {
        file.partitions = contexts.iter().map(|context| context.as_str().to_owned()).collect();
    }
    config
}

/// Leaves a container out, so that exactly it and what is below it goes.
fn exclude(config: &ConnectorConfig, after: &mut SelectionTable, dn: &Dn) -> Result<(), ServiceError> {
    let had = after.include.len();
    after.include.retain(|known| !Dn::parse(known).is_ok_and(|known| known.same(dn)));
    if had > 0 && after.include.is_empty() {
        let message = format!("{dn} is the only container that {} reads: without it everything would be read", config.name);
        return Err(ServiceError::Usage(format!("{message}. Include another one first")));
    }
    if Reach::of(config, after, &[])?.wants(&dn.key()) {
        after.exclude.push(dn.as_str().to_owned());
    }
    Ok(())
}

/// Adds a naming context, or takes it away.
fn partition(config: &ConnectorConfig, contexts: &mut Vec<Dn>, enabled: &[Dn], choice: Choice, dn: &Dn) -> Result<(), ServiceError> {
    if !matches!(config.settings, ConnectorSettings::Ad(_)) {
        let kind = config.kind().as_str();
        return Err(ServiceError::Usage(format!(
            "{} is of kind {kind} and has one partition: choose containers by `syncline partition include` and `syncline partition exclude`",
            config.name
        )));
    }
    if enabled.is_empty() {
        let hint = format!("let it answer once: `syncline run start {} full-import`", config.name);
        return Err(ServiceError::NotReady { message: "the domain of the server is not known yet".to_owned(), hint });
    }
    if choice == Choice::Enable {
        if !contexts.iter().any(|known| known.same(dn)) {
            contexts.push(dn.clone());
        }
        return Ok(());
    }
    contexts.retain(|known| !known.same(dn));
    if contexts.is_empty() {
        return Err(ServiceError::Usage(format!("{dn} is the only partition that {} reads; remove the connector instead", config.name)));
    }
    Ok(())
}
