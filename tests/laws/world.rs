//! A store with directories around it. Staging and exporting are done here in the plainest way that keeps to the
//! rules of the images, so that these tests judge synchronization alone.

use crate::directory::{Directory, Entry};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use syncline::context::Context;
use syncline::engine::sync::{BATCH, SyncOutcome, SyncRequest, synchronize};
use syncline::model::{
    Anchor, AttrId, ConnectorId, CsId, CsObject, CsReference, DeltaKind, Dn, ErrorSide, FlatBuilder, Link, MvId, MvObject, Names,
    ObjectError, RunId, Stage, StageDelta, StageMask, Timestamp, ValueRef, ValueState,
};
use syncline::rules::{RuleSet, RunParameters};
use syncline::store::{ChangeSet, DirtyReason, Snapshot, StepObject, Store};

/// How many objects one read asks for.
const PAGE: usize = 100_000;

/// A store, rules, and a directory per connector.
pub(crate) struct World {
    /// The store.
    pub(crate) store: Store,
    /// The rules.
    pub(crate) rules: RuleSet,
    /// What the directories hold.
    pub(crate) directories: BTreeMap<ConnectorId, Directory>,
    /// The time of the next step; every step is later than the one before.
    pub(crate) now: i64,
    /// The objects behind the counters of the last step.
    pub(crate) objects: Vec<StepObject>,
    /// Records the last step wrote.
    pub(crate) written: usize,
    exported: u64,
}

/// The counters of one step.
pub(crate) type Counters = BTreeMap<String, u64>;

impl World {
    /// Empty directories.
    pub(crate) fn new(rules: impl FnOnce(&Arc<Names>) -> RuleSet) -> Self {
        let store = Store::in_memory().unwrap();
        let rules = rules(store.names());
        Self { store, rules, directories: BTreeMap::new(), now: 1_000, objects: Vec::new(), written: 0, exported: 0 }
    }

    /// The directory of a connector.
    pub(crate) fn directory(&mut self, connector: ConnectorId) -> &mut Directory {
        self.directories.entry(connector).or_default()
    }

    /// Adds or replaces an entry.
    pub(crate) fn put(&mut self, connector: ConnectorId, anchor: &str, entry: Entry) {
        self.directory(connector).insert(anchor.to_owned(), entry);
    }

    /// The committed state.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.store.snapshot().unwrap()
    }

    /// The number of a name.
    pub(crate) fn attr(&self, name: &str) -> AttrId {
        self.store.names().intern(name)
    }

    /// The name behind a number.
    pub(crate) fn name(&self, attr: AttrId) -> String {
        self.store.names().name(attr).to_string()
    }

    /// One step.
    pub(crate) fn sync(&mut self, connector: ConnectorId, full: bool) -> Counters {
        self.try_sync(connector, full).0
    }

    /// One step with its outcome. The counters of the objects must add up.
    pub(crate) fn try_sync(&mut self, connector: ConnectorId, full: bool) -> (Counters, SyncOutcome) {
        self.now += 1;
        let parameters = RunParameters { now: Timestamp::from_seconds(self.now), ..RunParameters::default() };
        let connectors =
            BTreeMap::from([(ConnectorId(1), "A".to_owned()), (ConnectorId(2), "B".to_owned()), (ConnectorId(3), "T".to_owned())]);
        // Steps of one, a few and many objects in a batch: what they come to must not hang on it.
        let batch = usize::try_from(self.now).map_or(1, |now| [BATCH, 1, 3, 2, 7][now % 5]);
        let request = SyncRequest { connector, full, parameters, connectors, step: (RunId(1), 1), batch };
        let mut counters = Counters::new();
        let mut objects = Vec::new();
        let mut written = 0;
        let store = self.store.clone();
        let outcome = synchronize(&store, &self.rules, &request, &Context::system(), &mut |plan| {
            for (name, count) in &plan.counters {
                *counters.entry(name.0.to_string()).or_default() += count;
            }
            objects.extend(plan.objects);
            let changes = &plan.changes;
            written += changes.cs_put.len() + changes.cs_delete.len() + changes.cs_reference.len() + changes.mv_put.len();
            written += changes.mv_delete.len() + changes.mv_reference.len() + changes.mv_reference_delete.len();
            written += changes.dirty.len() + changes.errors.len() + changes.blobs.len() + changes.cs_hash.len();
            store.apply(plan.changes)
        })
        .unwrap();
        let inbound: u64 = counters.iter().filter(|(name, _)| !name.contains('/')).map(|(_, count)| count).sum();
        assert_eq!(inbound, outcome.processed, "inbound counters must add up to the objects processed: {counters:?}");
        self.objects = objects;
        self.written = written;
        crate::invariants::check(self);
        (counters, outcome)
    }

    /// Reads a whole directory into its connector space, entries in the given order.
    pub(crate) fn import_in(&mut self, connector: ConnectorId, order: &[String]) {
        let directory = self.directory(connector).clone();
        let snapshot = self.snapshot();
        let mut next = snapshot.cs_next_sequence(connector).unwrap();
        let mut changes = ChangeSet::new();
        let mut ids: BTreeMap<String, CsId> = BTreeMap::new();
        let mut objects: BTreeMap<CsId, CsObject> = BTreeMap::new();
        for object in snapshot.cs_scan(connector, None, PAGE).unwrap() {
            objects.insert(object.id, object);
        }
        let by_name = |objects: &BTreeMap<CsId, CsObject>, dn: &str| {
            let key = Dn::parse(dn).unwrap().key();
            objects.values().find(|object| Dn::parse(&object.dn).unwrap().key() == key).map(|object| object.id)
        };
        for anchor in order {
            let entry = &directory[anchor];
            let known = Anchor::new(anchor.as_bytes().to_vec());
            let found = objects.values().find(|object| object.anchor.as_ref() == Some(&known)).map(|object| object.id);
            let found = found.or_else(|| {
                by_name(&objects, &entry.dn).filter(|id| objects[id].anchor.is_none() || objects[id].link == Link::Placeholder)
            });
            let id = found.unwrap_or_else(|| {
                next += 1;
                CsId::new(connector, next - 1)
            });
            let object_type = self.store.names().object_type(&entry.object_type);
            let object = objects.entry(id).or_insert_with(|| CsObject::new(id, object_type, entry.dn.as_str()));
            if object.link == Link::Placeholder {
                object.link = Link::Disconnected;
            }
            object.anchor = Some(known);
            ids.insert(anchor.clone(), id);
        }
        let seen: BTreeSet<CsId> = ids.values().copied().collect();
        for (id, object) in &mut objects {
            let entry = directory.iter().find(|(anchor, _)| ids.get(*anchor) == Some(id)).map(|(_, entry)| entry);
            if entry.is_none() && !object.imported() {
                continue;
            }
            self.stage(&snapshot, object, entry, &ids, &mut changes);
        }
        for id in &seen {
            assert!(objects.contains_key(id));
        }
        self.store.apply(changes).unwrap();
    }

    /// Reads a whole directory into its connector space.
    pub(crate) fn import(&mut self, connector: ConnectorId) {
        let order: Vec<String> = self.directory(connector).keys().cloned().collect();
        self.import_in(connector, &order);
    }

    fn stage(
        &self,
        snapshot: &Snapshot,
        object: &mut CsObject,
        entry: Option<&Entry>,
        ids: &BTreeMap<String, CsId>,
        changes: &mut ChangeSet,
    ) {
        let before = object.clone();
        let object_type = entry.map(|entry| self.store.names().object_type(&entry.object_type));
        let wanted: BTreeSet<(AttrId, String)> = entry
            .iter()
            .flat_map(|entry| entry.values.iter())
            .flat_map(|(name, values)| values.iter().map(|value| (self.attr(name), value.clone())))
            .collect();
        let settle = |state: ValueState, present: bool| {
            let state = state.without(Stage::Unconfirmed).without(Stage::InProgress);
            state.with_target(StageMask::BASE, Stage::PendingImport, present)
        };
        let mut builder = FlatBuilder::new();
        let mut touched = false;
        for item in before.values.iter() {
            let ValueRef::Text(text) = item.value else { panic!("tests import text only") };
            let state = settle(ValueState(item.flags), wanted.contains(&(item.attr, text.to_owned())));
            touched |= state.touched(Stage::PendingImport);
            if !state.is_absent() {
                builder.push(item.attr, item.value, state.0);
            }
        }
        for (attr, text) in &wanted {
            let known = before.values.attribute(*attr).any(|item| item.value == ValueRef::Text(text));
            if !known {
                touched = true;
                builder.push(*attr, ValueRef::Text(text), ValueState::ABSENT.with_added(Stage::PendingImport).0);
            }
        }
        object.values = builder.finish();
        let wanted: BTreeSet<(AttrId, CsId)> = entry
            .iter()
            .flat_map(|entry| entry.references.iter())
            .flat_map(|(name, anchors)| anchors.iter().filter_map(|anchor| ids.get(anchor)).map(|id| (self.attr(name), *id)))
            .collect();
        let stored = snapshot.cs_references(object.id).unwrap();
        for row in &stored {
            let state = settle(row.state, wanted.contains(&(row.attr, row.target)));
            touched |= state.touched(Stage::PendingImport);
            if state != row.state {
                changes.cs_reference.push(CsReference { state, ..*row });
            }
        }
        for (attr, target) in wanted {
            if !stored.iter().any(|row| row.attr == attr && row.target == target) {
                touched = true;
                let state = ValueState::ABSENT.with_added(Stage::PendingImport);
                changes.cs_reference.push(CsReference { owner: object.id, attr, target, state });
            }
        }
        let renamed = entry.is_some_and(|entry| *entry.dn != *before.dn);
        let base_type = before.previous_type.unwrap_or(before.object_type);
        let retyped = object_type.is_some_and(|object_type| object_type != base_type) && before.in_base;
        let kind = match (entry, before.in_base) {
            (None, true) => DeltaKind::Delete,
            (None, false) => {
                changes.cs_delete.push(object.id);
                return;
            }
            (Some(_), false) => DeltaKind::Add,
            (Some(_), true) if retyped => DeltaKind::DeleteAdd,
            (Some(_), true) if touched || renamed => DeltaKind::Update,
            (Some(_), true) => DeltaKind::None,
        };
        *object.stage_mut(Stage::PendingImport) = StageDelta { kind, rename: renamed.then(|| before.dn.clone()) };
        if let (Some(entry), Some(object_type)) = (entry, object_type) {
            object.dn = entry.dn.as_str().into();
            object.previous_type = retyped.then_some(base_type);
            object.object_type = object_type;
            if object.stage(Stage::PendingExport).kind == DeltaKind::Add {
                object.stage_mut(Stage::PendingExport).kind = DeltaKind::Update;
            }
        }
        *object.stage_mut(Stage::Unconfirmed) = StageDelta::default();
        *object.stage_mut(Stage::InProgress) = StageDelta::default();
        if *object != before {
            changes.cs_put.push(object.clone());
        }
    }

    /// Sends everything pending to the directory of a target, which does as it is told. Returns how many objects.
    pub(crate) fn export(&mut self, connector: ConnectorId) -> usize {
        let snapshot = self.snapshot();
        let mut changes = ChangeSet::new();
        let queue = snapshot.queue(Stage::PendingExport, connector, None, PAGE).unwrap();
        let sent = queue.len();
        let mut anchors: BTreeMap<CsId, String> = BTreeMap::new();
        let mut objects = Vec::new();
        for id in queue {
            let object = snapshot.cs_object(id).unwrap().unwrap();
            if object.stage(Stage::PendingExport).kind == DeltaKind::Add {
                self.exported += 1;
                let anchor = format!("t{:04}", self.exported);
                let entry = Entry::new(&self.store.names().object_type_name(object.object_type), &object.dn);
                self.put(connector, &anchor, entry);
                anchors.insert(id, anchor);
            }
            objects.push(object);
        }
        let anchor_of = |id: CsId| {
            anchors.get(&id).cloned().or_else(|| {
                let anchor = snapshot.cs_object(id).unwrap().filter(|object| object.link != Link::Placeholder)?.anchor?;
                Some(String::from_utf8(anchor.as_bytes().to_vec()).unwrap())
            })
        };
        for mut object in objects {
            let anchor = anchor_of(object.id).expect("an exported object has an anchor");
            let pending = std::mem::take(object.stage_mut(Stage::PendingExport));
            if pending.kind == DeltaKind::Delete {
                self.directory(connector).remove(&anchor);
                for entry in self.directory(connector).values_mut() {
                    entry.references.values_mut().for_each(|targets| {
                        targets.remove(&anchor);
                    });
                }
            } else {
                if let Some(name) = &pending.rename {
                    self.directory(connector).get_mut(&anchor).unwrap().dn = name.to_string();
                }
                for item in object.values.iter() {
                    let ValueRef::Text(text) = item.value else { panic!("tests export text only") };
                    let (state, name) = (ValueState(item.flags), self.name(item.attr));
                    let values = self.directory(connector).get_mut(&anchor).unwrap().values.entry(name).or_default();
                    if state.added(Stage::PendingExport) {
                        values.insert(text.to_owned());
                    } else if state.removed(Stage::PendingExport) {
                        values.remove(text);
                    }
                }
            }
            let moved = |state: ValueState| {
                let next = state.without(Stage::PendingExport);
                if state.added(Stage::PendingExport) {
                    next.with_added(Stage::Unconfirmed)
                } else if state.removed(Stage::PendingExport) {
                    next.with_removed(Stage::Unconfirmed)
                } else {
                    next
                }
            };
            let mut builder = FlatBuilder::new();
            for item in object.values.iter() {
                builder.push(item.attr, item.value, moved(ValueState(item.flags)).0);
            }
            object.values = builder.finish();
            for row in snapshot.cs_references(object.id).unwrap() {
                if !row.state.touched(Stage::PendingExport) {
                    continue;
                }
                if pending.kind != DeltaKind::Delete {
                    let target = anchor_of(row.target).expect("a reference is exported to an object that exists");
                    let name = self.name(row.attr);
                    let targets = self.directory(connector).get_mut(&anchor).unwrap().references.entry(name).or_default();
                    if row.state.added(Stage::PendingExport) {
                        targets.insert(target);
                    } else {
                        targets.remove(&target);
                    }
                }
                changes.cs_reference.push(CsReference { state: moved(row.state), ..row });
            }
            *object.stage_mut(Stage::Unconfirmed) = pending;
            changes.cs_put.push(object);
        }
        self.store.apply(changes).unwrap();
        sent
    }

    /// Delta steps of all connectors until nothing is left to do.
    pub(crate) fn settle(&mut self, connectors: &[ConnectorId]) {
        for _ in 0..12 {
            for connector in connectors {
                self.sync(*connector, false);
            }
            let idle = connectors.iter().all(|connector| {
                let snapshot = self.snapshot();
                let marks = snapshot.dirty(*connector, None, PAGE).unwrap();
                let queue = snapshot.queue(Stage::PendingImport, *connector, None, PAGE).unwrap();
                marks.iter().all(|(_, reason)| *reason == DirtyReason::SyncError)
                    && queue.iter().all(|id| marks.iter().any(|(marked, _)| marked == id))
            });
            if idle {
                return;
            }
        }
        panic!("synchronization does not come to rest");
    }

    /// All objects of a connector space.
    pub(crate) fn space(&self, connector: ConnectorId) -> Vec<CsObject> {
        self.snapshot().cs_scan(connector, None, PAGE).unwrap()
    }

    /// All metaverse objects.
    pub(crate) fn metaverse(&self) -> Vec<MvObject> {
        self.snapshot().mv_scan(None, PAGE).unwrap()
    }

    /// The object with a name.
    pub(crate) fn object(&self, connector: ConnectorId, dn: &str) -> Option<CsObject> {
        let key = Dn::parse(dn).unwrap().key();
        let snapshot = self.snapshot();
        let id = snapshot.cs_by_dn(connector, &key).unwrap()?;
        snapshot.cs_object(id).unwrap()
    }

    /// The metaverse object behind a name.
    pub(crate) fn metaverse_of(&self, connector: ConnectorId, dn: &str) -> Option<MvObject> {
        let mv: MvId = self.object(connector, dn)?.link.mv()?;
        self.snapshot().mv_object(mv).unwrap()
    }

    /// The synchronization problem of an object.
    pub(crate) fn problem(&self, connector: ConnectorId, dn: &str) -> Option<ObjectError> {
        let id = self.object(connector, dn)?.id;
        self.snapshot().error(id, ErrorSide::Sync).unwrap()
    }

    /// The values of a metaverse attribute.
    pub(crate) fn mv_values(&self, object: &MvObject, attribute: &str) -> Vec<String> {
        object.values.attribute(self.attr(attribute)).map(|item| text(item.value)).collect()
    }

    /// The wanted values of a connector-space attribute.
    pub(crate) fn wanted(&self, object: &CsObject, attribute: &str) -> Vec<String> {
        let values = object.values.attribute(self.attr(attribute));
        values.filter(|item| ValueState(item.flags).present(StageMask::WANTED)).map(|item| text(item.value)).collect()
    }

    /// The names of the objects that a connector-space attribute should refer to.
    pub(crate) fn wanted_references(&self, object: &CsObject, attribute: &str) -> BTreeSet<String> {
        let snapshot = self.snapshot();
        let attr = self.attr(attribute);
        let rows = snapshot.cs_references(object.id).unwrap();
        rows.iter()
            .filter(|row| row.attr == attr && row.state.present(StageMask::WANTED))
            .map(|row| snapshot.cs_object(row.target).unwrap().map_or_else(|| "?".to_owned(), |target| target.dn.to_string()))
            .collect()
    }

    /// How many objects of a target have something pending.
    pub(crate) fn pending(&self, connector: ConnectorId) -> usize {
        self.snapshot().queue(Stage::PendingExport, connector, None, PAGE).unwrap().len()
    }

    /// Marks an object as an administrator would to have it evaluated again.
    pub(crate) fn touch(&self, id: CsId) {
        let mut changes = ChangeSet::new();
        changes.dirty.push((id, Some(DirtyReason::Consequence)));
        self.store.apply(changes).unwrap();
    }

    /// Shares the names.
    pub(crate) fn names(&self) -> Arc<Names> {
        Arc::clone(self.store.names())
    }

    /// The number of runs kept; synchronization itself writes none.
    pub(crate) fn runs(&self) -> RunId {
        self.snapshot().next_run().unwrap()
    }
}

/// A value as text.
pub(crate) fn text(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Text(text) => text.to_owned(),
        ValueRef::Number(number) => number.to_string(),
        ValueRef::Boolean(boolean) => boolean.to_string(),
        other => format!("{other:?}"),
    }
}
