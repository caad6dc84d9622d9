//! Writing: one change set, one durable transaction. Rows are collected per table and sorted before a table is
//! touched; indexes, link rows, queues and blob counts follow from the records, so no caller can forget them.

use super::database::{Database, Indexed, database};
use super::record;
use super::snapshot::{join_hash, next_cs_name, side_code, stage_code};
use super::tables as t;
use super::{ChangeSet, DirtyReason, StoreError};
use crate::model::{AttrId, Blob, ConnectorId, CsId, CsObject, Dn, FlatValues, Link, MvId, Stage, StageMask, ValueState, Values};
use redb::{ReadableTable, WriteTransaction};
use std::collections::{BTreeMap, BTreeSet, HashMap};

macro_rules! open {
    ($write:expr, $table:ident) => {
        $write.open_table(t::$table).map_err(|error| database("open a table", &error))?
    };
}

macro_rules! doing {
    ($result:expr) => {
        $result.map_err(|error| database("write", &error))?
    };
}

/// Index rows to remove and to add, sorted by their sets.
#[derive(Default)]
struct Rows {
    anchors: (BTreeSet<(u16, Vec<u8>, u64)>, BTreeMap<(u16, Vec<u8>), u64>),
    names: (BTreeSet<(u16, Vec<u8>, u64)>, BTreeMap<(u16, Vec<u8>), u64>),
    cs_joins: (BTreeSet<(u16, u16, u64, u64)>, BTreeSet<(u16, u16, u64, u64)>),
    queue: (BTreeSet<(u8, u64)>, BTreeSet<(u8, u64)>),
    links: BTreeMap<u64, Option<Link>>,
    blobs: HashMap<u128, i64>,
}

pub(super) fn apply(db: &Database, mut changes: ChangeSet) -> Result<(), StoreError> {
    let write = db.begin_write()?;
    let rows = write_all(db, &write, &mut changes)?;
    db.commit(write, rows)
}

fn write_all(db: &Database, write: &WriteTransaction, changes: &mut ChangeSet) -> Result<u64, StoreError> {
    let indexed = db.indexed();
    let mut rows = Rows::default();
    let mut written = write_names(db, write)?;
    written += write_references(write, changes)?;
    let kept = keep_as_placeholders(write, changes)?;
    changes.cs_put.extend(kept);
    written += write_objects(write, changes, &indexed, &mut rows)?;
    written += write_links(write, &rows)?;
    written += write_indexes(write, &rows)?;
    written += write_metaverse(write, changes, &indexed, &mut rows)?;
    written += write_blobs(write, changes, &rows)?;
    written += write_side_tables(write, changes)?;
    Ok(written)
}

fn write_names(db: &Database, write: &WriteTransaction) -> Result<u64, StoreError> {
    use redb::ReadableTableMetadata;
    let mut table = open!(write, NAME);
    let known = doing!(table.len());
    let count = db.names().len() as u64;
    for number in known..count {
        let number = u16::try_from(number).unwrap_or(u16::MAX);
        doing!(table.insert(number, &*db.names().name(AttrId(number))));
    }
    Ok(count - known)
}

fn write_references(write: &WriteTransaction, changes: &mut ChangeSet) -> Result<u64, StoreError> {
    let mut forward = open!(write, CS_REFERENCE);
    let mut reverse = open!(write, CS_REFERRER);
    let mut counts = open!(write, CS_REFERENCE_COUNT);
    let mut wanted: BTreeMap<(u64, u16, u64), ValueState> = BTreeMap::new();
    for row in &changes.cs_reference {
        wanted.insert((row.owner.0, row.attr.0, row.target.0), row.state);
    }
    for id in &changes.cs_delete {
        for row in doing!(forward.range((id.0, 0, 0)..=(id.0, u16::MAX, u64::MAX))) {
            let (key, _) = doing!(row);
            wanted.insert(key.value(), ValueState::ABSENT);
        }
    }
    let mut differences: BTreeMap<(u64, u16), i64> = BTreeMap::new();
    let mut written = 0;
    for ((owner, attr, target), state) in wanted {
        let before = if state.is_absent() {
            doing!(forward.remove((owner, attr, target))).map(|row| ValueState(row.value()))
        } else {
            doing!(forward.insert((owner, attr, target), state.0)).map(|row| ValueState(row.value()))
        };
        written += 1;
        match (before, state.is_absent()) {
            (None, false) => {
                doing!(reverse.insert((target, attr, owner), ()));
            }
            (Some(_), true) => {
                doing!(reverse.remove((target, attr, owner)));
            }
            _ => {}
        }
        let was = before.is_some_and(|state| state.present(StageMask::WANTED));
        let is = state.present(StageMask::WANTED);
        if was != is {
            *differences.entry((owner, attr)).or_default() += if is { 1 } else { -1 };
        }
    }
    for (key, difference) in differences {
        let before = doing!(counts.get(key)).map_or(0, |row| row.value());
        let after = before.saturating_add_signed(difference);
        if after == 0 {
            doing!(counts.remove(key));
        } else {
            doing!(counts.insert(key, after));
        }
    }
    Ok(written)
}

/// A removed object that others still refer to stays as a placeholder, so that no reference loses its target.
fn keep_as_placeholders(write: &WriteTransaction, changes: &mut ChangeSet) -> Result<Vec<CsObject>, StoreError> {
    let reverse = open!(write, CS_REFERRER);
    let objects = open!(write, CS_OBJECT);
    let gone: BTreeSet<CsId> = changes.cs_delete.iter().copied().collect();
    let mut kept = Vec::new();
    for id in &gone {
        let referred = doing!(reverse.range((id.0, 0, 0)..=(id.0, u16::MAX, u64::MAX))).next().is_some();
        if !referred {
            continue;
        }
        let Some(row) = doing!(objects.get(id.0)) else { continue };
        let object = record::cs_decode(*id, row.value(), Link::Placeholder)?;
        let mut placeholder = CsObject::new(*id, object.object_type, object.dn);
        placeholder.link = Link::Placeholder;
        kept.push(placeholder);
    }
    changes.cs_delete.retain(|id| !kept.iter().any(|object| object.id == *id));
    for object in &kept {
        changes.cs_hash.push((object.id, None));
    }
    Ok(kept)
}

fn write_objects(write: &WriteTransaction, changes: &ChangeSet, indexed: &Indexed, rows: &mut Rows) -> Result<u64, StoreError> {
    let mut table = open!(write, CS_OBJECT);
    let mut meta = open!(write, META);
    let mut puts: BTreeMap<u64, &CsObject> = BTreeMap::new();
    for object in &changes.cs_put {
        puts.insert(object.id.0, object);
    }
    let mut next: BTreeMap<ConnectorId, u64> = BTreeMap::new();
    let mut written = 0;
    let last = doing!(table.last()).map(|(key, _)| key.value());
    let mut appended: Vec<(u64, Vec<u8>)> = Vec::new();
    for (id, object) in &puts {
        let octets = record::cs_encode(object)?;
        let slot = next.entry(object.id.connector()).or_default();
        *slot = (*slot).max(object.id.sequence() + 1);
        rows.links.insert(*id, Some(object.link));
        add_rows(object, indexed, rows, true);
        if last.is_none_or(|last| *id > last) {
            appended.push((*id, octets));
            written += 1;
            continue;
        }
        let before = doing!(table.get(*id)).map(|row| row.value().to_vec());
        if let Some(before) = &before {
            add_rows(&record::cs_decode(object.id, before, Link::Disconnected)?, indexed, rows, false);
        }
        if before.as_deref() != Some(octets.as_slice()) {
            doing!(table.insert(*id, octets.as_slice()));
            written += 1;
        }
    }
    if !appended.is_empty() {
        let mut cursor = doing!(table.upper_bound_mut(std::ops::Bound::<u64>::Unbounded));
        for (id, octets) in &appended {
            doing!(cursor.insert_before(*id, octets.as_slice()));
        }
        doing!(cursor.close());
    }
    for id in changes.cs_delete.iter().collect::<BTreeSet<_>>() {
        let before = doing!(table.remove(id.0)).map(|row| row.value().to_vec());
        if let Some(before) = before {
            add_rows(&record::cs_decode(*id, &before, Link::Disconnected)?, indexed, rows, false);
            rows.links.insert(id.0, None);
            written += 1;
        }
    }
    for (connector, sequence) in next {
        let name = next_cs_name(connector);
        let before = doing!(meta.get(name.as_str())).map_or(1, |row| row.value());
        if sequence > before {
            doing!(meta.insert(name.as_str(), sequence));
        }
    }
    Ok(written)
}

/// Notes the index rows of an object, to be added or to be removed.
fn add_rows(object: &CsObject, indexed: &Indexed, rows: &mut Rows, add: bool) {
    let connector = object.id.connector();
    let id = object.id.0;
    if let Some(anchor) = &object.anchor {
        put(&mut rows.anchors, connector, anchor.as_bytes().to_vec(), id, add);
    }
    let name = Dn::parse(&object.dn).map_or_else(|_| object.dn.as_bytes().to_vec(), |dn| dn.key().as_bytes().to_vec());
    put(&mut rows.names, connector, name, id, add);
    for stage in Stage::ALL {
        if object.stage(stage).is_some() {
            let key = (stage_code(stage), id);
            if add {
                rows.queue.1.insert(key)
            } else {
                rows.queue.0.insert(key)
            };
        }
    }
    for (_, attr) in indexed.spaces.range((connector, AttrId(0))..=(connector, AttrId(u16::MAX))) {
        for value in Values::staged(&object.values, *attr, StageMask::WANTED) {
            let key = (connector.0, attr.0, join_hash(value), id);
            if add {
                rows.cs_joins.1.insert(key)
            } else {
                rows.cs_joins.0.insert(key)
            };
        }
    }
    for blob in record::blobs(&object.values) {
        *rows.blobs.entry(blob.hash).or_default() += if add { 1 } else { -1 };
    }
}

type Named = (BTreeSet<(u16, Vec<u8>, u64)>, BTreeMap<(u16, Vec<u8>), u64>);

fn put(rows: &mut Named, connector: ConnectorId, name: Vec<u8>, id: u64, add: bool) {
    if add {
        rows.1.insert((connector.0, name), id);
    } else {
        rows.0.insert((connector.0, name, id));
    }
}

fn write_links(write: &WriteTransaction, rows: &Rows) -> Result<u64, StoreError> {
    let mut links = open!(write, CS_LINK);
    let mut reverse = open!(write, MV_LINK);
    let mut written = 0;
    let mut added = Vec::new();
    for (id, link) in &rows.links {
        let wanted = link.map(record::link_encode);
        let before = doing!(links.get(*id)).map(|row| row.value());
        if before == wanted {
            continue;
        }
        written += 1;
        let connector = CsId(*id).connector().0;
        let old = before.and_then(|row| record::link_decode(CsId(*id), row).ok()).and_then(Link::mv);
        if let Some(mv) = old {
            let owner = doing!(reverse.get((mv.0, connector))).map(|row| row.value());
            if owner == Some(*id) {
                doing!(reverse.remove((mv.0, connector)));
            }
        }
        match wanted {
            Some(row) => doing!(links.insert(*id, row)).map(drop),
            None => doing!(links.remove(*id)).map(drop),
        };
        if let Some(mv) = link.and_then(Link::mv) {
            added.push(((mv.0, connector), *id));
        }
    }
    for (key, id) in added {
        let owner = doing!(reverse.insert(key, id)).map(|row| row.value());
        if let Some(owner) = owner.filter(|owner| *owner != id) {
            let reason = format!("{} and {} of one connector are linked to it at once", CsId(owner), CsId(id));
            return Err(record::damaged_at(&format!("mv_link {}", key.0), &reason));
        }
    }
    Ok(written)
}

fn write_indexes(write: &WriteTransaction, rows: &Rows) -> Result<u64, StoreError> {
    let mut written = 0;
    for (index, named) in [&rows.anchors, &rows.names].into_iter().enumerate() {
        let mut table = if index == 0 { open!(write, CS_ANCHOR) } else { open!(write, CS_DN) };
        for (connector, name, id) in &named.0 {
            let key = (*connector, name.as_slice());
            let stays = named.1.get(&(*connector, name.clone())) == Some(id);
            if stays {
                continue;
            }
            let owner = doing!(table.get(key)).map(|row| row.value());
            if owner == Some(*id) {
                doing!(table.remove(key));
                written += 1;
            }
        }
        for ((connector, name), id) in &named.1 {
            if named.0.contains(&(*connector, name.clone(), *id)) {
                continue;
            }
            doing!(table.insert((*connector, name.as_slice()), *id));
            written += 1;
        }
    }
    let mut joins = open!(write, CS_JOIN);
    for key in rows.cs_joins.0.difference(&rows.cs_joins.1) {
        doing!(joins.remove(key));
    }
    for key in rows.cs_joins.1.difference(&rows.cs_joins.0) {
        doing!(joins.insert(key, ()));
    }
    let mut queue = open!(write, QUEUE);
    for key in rows.queue.0.difference(&rows.queue.1) {
        doing!(queue.remove(key));
        written += 1;
    }
    for key in rows.queue.1.difference(&rows.queue.0) {
        doing!(queue.insert(key, ()));
        written += 1;
    }
    Ok(written)
}

fn write_metaverse(write: &WriteTransaction, changes: &ChangeSet, indexed: &Indexed, rows: &mut Rows) -> Result<u64, StoreError> {
    let mut objects = open!(write, MV_OBJECT);
    let mut lineages = open!(write, MV_LINEAGE);
    let mut joins = open!(write, MV_JOIN);
    let mut forward = open!(write, MV_REFERENCE);
    let mut reverse = open!(write, MV_REFERRER);
    let mut meta = open!(write, META);
    let mut written = 0;
    let mut stale: BTreeSet<(u16, u64, u64)> = BTreeSet::new();
    let mut fresh: BTreeSet<(u16, u64, u64)> = BTreeSet::new();
    let puts: BTreeMap<u64, _> = changes.mv_put.iter().map(|object| (object.id.0, object)).collect();
    let mut next = 0;
    for (id, object) in &puts {
        next = next.max(id + 1);
        join_rows(*id, &object.values, indexed, &mut fresh);
        count_blobs(&object.values, rows, 1);
        let octets = record::mv_encode(object)?;
        let before = doing!(objects.get(*id)).map(|row| row.value().to_vec());
        if let Some(before) = &before {
            let lineage = doing!(lineages.get(*id)).map(|row| row.value().to_vec()).unwrap_or_default();
            let old = record::mv_decode(MvId(*id), before, &lineage)?;
            join_rows(*id, &old.values, indexed, &mut stale);
            count_blobs(&old.values, rows, -1);
        }
        if before.as_deref() != Some(octets.as_slice()) {
            doing!(objects.insert(*id, octets.as_slice()));
            written += 1;
        }
        let lineage = record::lineage_encode(&object.lineage)?;
        let same = doing!(lineages.get(*id)).is_some_and(|row| row.value() == lineage.as_slice());
        if !same {
            doing!(lineages.insert(*id, lineage.as_slice()));
            written += 1;
        }
    }
    let mut gone: BTreeSet<(u64, u16, u64)> =
        changes.mv_reference_delete.iter().map(|(owner, attr, target)| (owner.0, attr.0, target.0)).collect();
    for id in changes.mv_delete.iter().collect::<BTreeSet<_>>() {
        let lineage = doing!(lineages.remove(id.0)).map(|row| row.value().to_vec()).unwrap_or_default();
        let before = doing!(objects.remove(id.0)).map(|row| row.value().to_vec());
        if let Some(before) = before {
            let old = record::mv_decode(*id, &before, &lineage)?;
            join_rows(id.0, &old.values, indexed, &mut stale);
            count_blobs(&old.values, rows, -1);
            written += 1;
        }
        for row in doing!(forward.range((id.0, 0, 0)..=(id.0, u16::MAX, u64::MAX))) {
            gone.insert(doing!(row).0.value());
        }
        for row in doing!(reverse.range((id.0, 0, 0)..=(id.0, u16::MAX, u64::MAX))) {
            let (target, attr, owner) = doing!(row).0.value();
            gone.insert((owner, attr, target));
        }
    }
    for (owner, attr, target) in gone {
        if doing!(forward.remove((owner, attr, target))).is_some() {
            doing!(reverse.remove((target, attr, owner)));
            written += 1;
        }
    }
    let references: BTreeMap<(u64, u16, u64), u8> =
        changes.mv_reference.iter().map(|row| ((row.owner.0, row.attr.0, row.target.0), row.contributor)).collect();
    for ((owner, attr, target), contributor) in references {
        if doing!(forward.insert((owner, attr, target), contributor)).is_none() {
            doing!(reverse.insert((target, attr, owner), ()));
        }
        written += 1;
    }
    for key in stale.difference(&fresh) {
        doing!(joins.remove(key));
    }
    for key in fresh.difference(&stale) {
        doing!(joins.insert(key, ()));
    }
    let before = doing!(meta.get("next-mv")).map_or(1, |row| row.value());
    if next > before {
        doing!(meta.insert("next-mv", next));
    }
    Ok(written)
}

fn join_rows(id: u64, values: &FlatValues, indexed: &Indexed, rows: &mut BTreeSet<(u16, u64, u64)>) {
    for attr in &indexed.metaverse {
        rows.extend(Values::all(values, *attr).map(|value| (attr.0, join_hash(value), id)));
    }
}

fn count_blobs(values: &FlatValues, rows: &mut Rows, sign: i64) {
    for blob in record::blobs(values) {
        *rows.blobs.entry(blob.hash).or_default() += sign;
    }
}

fn write_blobs(write: &WriteTransaction, changes: &ChangeSet, rows: &Rows) -> Result<u64, StoreError> {
    let mut table = open!(write, BLOB);
    let mut contents: HashMap<u128, &[u8]> = HashMap::new();
    for content in &changes.blobs {
        contents.insert(Blob::of(content).hash, content);
    }
    let mut differences: Vec<_> = rows.blobs.iter().filter(|(_, difference)| **difference != 0).collect();
    differences.sort_unstable();
    let mut written = 0;
    for (hash, difference) in differences {
        let before = doing!(table.get(*hash)).map(|row| (row.value().0, row.value().1.to_vec()));
        let after = before.as_ref().map_or(0, |(count, _)| *count).saturating_add_signed(*difference);
        if after == 0 {
            doing!(table.remove(*hash));
        } else {
            let known = before.as_ref().map(|(_, content)| content.as_slice());
            let Some(content) = known.or_else(|| contents.get(hash).copied()) else {
                return Err(record::damaged_at(&format!("blob {hash:032x}"), "a value points to a content that nobody gave"));
            };
            doing!(table.insert(*hash, (after, content)));
        }
        written += 1;
    }
    Ok(written)
}

fn write_side_tables(write: &WriteTransaction, changes: &ChangeSet) -> Result<u64, StoreError> {
    let mut written = 0;
    let mut hashes = open!(write, CS_HASH);
    let wanted: BTreeMap<u64, Option<u128>> =
        changes.cs_hash.iter().map(|(id, hash)| (id.0, *hash)).chain(changes.cs_delete.iter().map(|id| (id.0, None))).collect();
    for (id, hash) in wanted {
        match hash {
            Some(hash) => doing!(hashes.insert(id, hash)).map(drop),
            None => doing!(hashes.remove(id)).map(drop),
        };
        written += 1;
    }
    let mut dirty = open!(write, DIRTY);
    let marks: BTreeMap<u64, Option<u8>> = changes
        .dirty
        .iter()
        .map(|(id, reason)| (id.0, reason.map(dirty_code)))
        .chain(changes.cs_delete.iter().map(|id| (id.0, None)))
        .collect();
    for (id, reason) in marks {
        match reason {
            Some(reason) => doing!(dirty.insert(id, reason)).map(drop),
            None => doing!(dirty.remove(id)).map(drop),
        };
    }
    let mut errors = open!(write, ERROR);
    for id in &changes.cs_delete {
        for side in 0..=2u8 {
            doing!(errors.remove((id.0, side)));
        }
    }
    for (id, side, error) in &changes.errors {
        let key = (id.0, side_code(*side));
        match error {
            Some(error) => doing!(errors.insert(key, record::error_encode(error)?.as_slice())).map(drop),
            None => doing!(errors.remove(key)).map(drop),
        };
    }
    let mut states = open!(write, STATE);
    for (connector, name, state) in &changes.states {
        match state {
            Some(octets) => doing!(states.insert((connector.0, name.as_str()), octets.as_slice())).map(drop),
            None => doing!(states.remove((connector.0, name.as_str()))).map(drop),
        };
        written += 1;
    }
    let mut runs = open!(write, RUN);
    let mut meta = open!(write, META);
    for run in &changes.runs {
        doing!(runs.insert(run.id.0, record::run_encode(run)?.as_slice()));
        let next = doing!(meta.get("next-run")).map_or(1, |row| row.value());
        if run.id.0 >= next {
            doing!(meta.insert("next-run", run.id.0 + 1));
        }
        written += 1;
    }
    let mut objects = open!(write, STEP_OBJECT);
    for (run, step, object) in &changes.step_objects {
        let octets = record::step_object_encode(object)?;
        doing!(objects.insert((run.0, *step, &*object.counter.0, object.id.0), octets.as_slice()));
        written += 1;
    }
    for run in &changes.runs_delete {
        doing!(runs.remove(run.0));
        doing!(objects.retain_in((run.0, 0, "", 0)..(run.0 + 1, 0, "", 0), |_, _| false));
    }
    Ok(written)
}

fn dirty_code(reason: DirtyReason) -> u8 {
    match reason {
        DirtyReason::SyncError => 0,
        DirtyReason::RetryProvisioning => 1,
        DirtyReason::ReferenceResolved => 2,
        DirtyReason::Consequence => 3,
    }
}

/// Sets which attributes are indexed; fills what is new, drops what is not wanted any more.
pub(super) fn index_attributes(db: &Database, metaverse: &[AttrId], spaces: &[(ConnectorId, AttrId)]) -> Result<(), StoreError> {
    let wanted = Indexed { metaverse: metaverse.iter().copied().collect(), spaces: spaces.iter().copied().collect() };
    let now = db.indexed();
    if now.metaverse == wanted.metaverse && now.spaces == wanted.spaces {
        return Ok(());
    }
    let write = db.begin_write()?;
    write_names(db, &write)?;
    {
        let mut list = open!(write, INDEXED);
        doing!(list.retain(|_, ()| false));
        for attr in &wanted.metaverse {
            doing!(list.insert((0, attr.0), ()));
        }
        for (connector, attr) in &wanted.spaces {
            doing!(list.insert((u32::from(connector.0) + 1, attr.0), ()));
        }
        let mut mv_joins = open!(write, MV_JOIN);
        doing!(mv_joins.retain(|_, ()| false));
        let mut rows = BTreeSet::new();
        let objects = open!(write, MV_OBJECT);
        let lineages = open!(write, MV_LINEAGE);
        for row in doing!(objects.iter()) {
            let (key, value) = doing!(row);
            let lineage = doing!(lineages.get(key.value())).map(|row| row.value().to_vec()).unwrap_or_default();
            join_rows(key.value(), &record::mv_decode(MvId(key.value()), value.value(), &lineage)?.values, &wanted, &mut rows);
        }
        for key in rows {
            doing!(mv_joins.insert(key, ()));
        }
        let mut cs_joins = open!(write, CS_JOIN);
        doing!(cs_joins.retain(|_, ()| false));
        let mut rows = Rows::default();
        for row in doing!(open!(write, CS_OBJECT).iter()) {
            let (key, value) = doing!(row);
            add_rows(&record::cs_decode(CsId(key.value()), value.value(), Link::Disconnected)?, &wanted, &mut rows, true);
        }
        for key in &rows.cs_joins.1 {
            doing!(cs_joins.insert(key, ()));
        }
    }
    db.commit(write, 0)?;
    db.set_indexed(wanted);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::model::{
        Anchor, AttrId, ConnectorId, CsId, CsObject, CsReference, DeltaKind, Dn, FlatBuilder, Lineage, Link, MvId, MvObject, RuleId, Stage,
        Timestamp, ValueRef, ValueState,
    };
    use crate::store::{ChangeSet, Store};

    const SOURCE: ConnectorId = ConnectorId(1);

    fn object(store: &Store, sequence: u64, name: &str, mail: &str) -> CsObject {
        let names = store.names();
        let mut object = CsObject::new(CsId::new(SOURCE, sequence), names.object_type("user"), format!("CN={name},DC=x"));
        object.anchor = Some(Anchor::new(name.as_bytes()));
        object.stage_mut(Stage::PendingImport).kind = DeltaKind::Add;
        let mut values = FlatBuilder::new();
        values.push(names.intern("mail"), ValueRef::Text(mail), ValueState::ABSENT.with_added(Stage::PendingImport).0);
        object.values = values.finish();
        object
    }

    #[test]
    fn indexes_queues_and_links_follow_the_objects() {
        let store = Store::in_memory().unwrap();
        let mail = store.names().intern("mail");
        store.index_attributes(&[mail], &[(SOURCE, mail)]).unwrap();
        let (first, second) = (object(&store, 1, "a", "A@x"), object(&store, 2, "b", "b@x"));
        let (one, two) = (first.id, second.id);
        store.apply(ChangeSet { cs_put: vec![second, first.clone()], ..ChangeSet::new() }).unwrap();

        let snapshot = store.snapshot().unwrap();
        assert_eq!(snapshot.cs_object(one).unwrap().unwrap(), first);
        assert_eq!(snapshot.cs_by_anchor(SOURCE, b"b").unwrap(), Some(two));
        assert_eq!(snapshot.cs_by_dn(SOURCE, &Dn::parse("cn=A,dc=X").unwrap().key()).unwrap(), Some(one));
        assert_eq!(snapshot.cs_subtree(SOURCE, &Dn::parse("DC=x").unwrap().key()).unwrap(), [one, two]);
        assert_eq!(snapshot.queue(Stage::PendingImport, SOURCE, None, 9).unwrap(), [one, two]);
        assert_eq!(snapshot.cs_join_candidates(SOURCE, mail, ValueRef::Text("a@X")).unwrap(), [one]);
        assert_eq!(snapshot.cs_next_sequence(SOURCE).unwrap(), 3);

        let mut moved = first;
        moved.dn = "CN=moved,DC=x".into();
        moved.in_base = true;
        moved.stage_mut(Stage::PendingImport).kind = DeltaKind::None;
        moved.link = Link::Connected { mv: MvId(1), by: RuleId(7) };
        let mut values = FlatBuilder::new();
        values.push(mail, ValueRef::Text("new@x"), 0);
        let lineage = vec![Lineage { attr: mail, rule: RuleId(7), source: one, since: Timestamp(5) }];
        let person = MvObject { id: MvId(1), object_type: store.names().object_type("person"), values: values.finish(), lineage };
        store.apply(ChangeSet { cs_put: vec![moved], mv_put: vec![person.clone()], ..ChangeSet::new() }).unwrap();

        let snapshot = store.snapshot().unwrap();
        assert_eq!(snapshot.cs_by_dn(SOURCE, &Dn::parse("CN=a,DC=x").unwrap().key()).unwrap(), None);
        assert_eq!(snapshot.queue(Stage::PendingImport, SOURCE, None, 9).unwrap(), [two]);
        assert_eq!(snapshot.mv_links(MvId(1)).unwrap(), [one]);
        assert_eq!(snapshot.mv_object(MvId(1)).unwrap(), Some(person));
        assert_eq!(snapshot.mv_join_candidates(mail, ValueRef::Text("NEW@x")).unwrap(), [MvId(1)]);

        store.apply(ChangeSet { cs_delete: vec![one, two], mv_delete: vec![MvId(1)], ..ChangeSet::new() }).unwrap();
        let snapshot = store.snapshot().unwrap();
        assert_eq!(snapshot.cs_count(SOURCE).unwrap(), 0);
        assert_eq!(snapshot.mv_links(MvId(1)).unwrap(), []);
        assert_eq!(snapshot.mv_join_candidates(mail, ValueRef::Text("new@x")).unwrap(), []);
        assert_eq!(snapshot.queue(Stage::PendingImport, SOURCE, None, 9).unwrap(), []);
        assert_eq!(snapshot.cs_next_sequence(SOURCE).unwrap(), 3, "numbers are never given out twice");
    }

    #[test]
    fn a_removed_target_stays_as_a_placeholder_while_somebody_refers_to_it() {
        let store = Store::in_memory().unwrap();
        let manager = store.names().intern("manager");
        let (first, second) = (object(&store, 1, "a", "a@x"), object(&store, 2, "b", "b@x"));
        let (one, two) = (first.id, second.id);
        let row = CsReference { owner: one, attr: manager, target: two, state: ValueState::BASE };
        store.apply(ChangeSet { cs_put: vec![first, second], cs_reference: vec![row], ..ChangeSet::new() }).unwrap();
        store.apply(ChangeSet { cs_delete: vec![two], ..ChangeSet::new() }).unwrap();

        let snapshot = store.snapshot().unwrap();
        assert_eq!(snapshot.cs_link(two).unwrap(), Some(Link::Placeholder));
        assert_eq!(snapshot.cs_by_anchor(SOURCE, b"b").unwrap(), None);
        assert_eq!(snapshot.cs_references(one).unwrap(), [row]);
        assert_eq!(snapshot.cs_reference_count(one, manager).unwrap(), 1);
        store.apply(ChangeSet { cs_delete: vec![one], ..ChangeSet::new() }).unwrap();
        assert_eq!(store.snapshot().unwrap().cs_referrers(two).unwrap(), [] as [(AttrId, CsId); 0]);
    }

    #[test]
    fn large_contents_live_as_long_as_a_value_points_to_them() {
        use crate::model::Blob;
        let store = Store::in_memory().unwrap();
        let photo = store.names().intern("thumbnailPhoto");
        let content = vec![7u8; 5000];
        let mut object = object(&store, 1, "a", "a@x");
        let mut values = FlatBuilder::new();
        values.push(photo, ValueRef::LargeBinary(Blob::of(&content)), 1);
        object.values = values.finish();
        let missing = store.apply(ChangeSet { cs_put: vec![object.clone()], ..ChangeSet::new() });
        assert!(missing.is_err(), "a value without its content is refused");
        let id = object.id;
        store.apply(ChangeSet { cs_put: vec![object], blobs: vec![content.clone()], ..ChangeSet::new() }).unwrap();
        assert_eq!(store.snapshot().unwrap().blob(Blob::of(&content)).unwrap(), Some(content.clone()));
        store.apply(ChangeSet { cs_delete: vec![id], ..ChangeSet::new() }).unwrap();
        assert_eq!(store.snapshot().unwrap().blob(Blob::of(&content)).unwrap(), None);
    }
}
