//! What must agree with what: every row that follows from other rows is worked out again and held against what is
//! there. `check` tells the differences, `rebuild` writes them; both see the same ones, because both ask here.

use super::check::{CheckReport, Collector};
use super::event;
use super::fault::Fault;
use super::index::Indexes;
use super::password::{self, DueKey};
use super::record::{self, CsView, Flaw, MvView, RawEntry};
use super::snapshot::Snapshot;
use super::tables::{OwnedKey, counter};
use super::write::{counts_as_anchored, counts_as_wanted, is_touched, join_keys, name_key};
use crate::model::{AttrId, Blob, CsId, Lineage, Link, MvId, RunId, ValueState};
use redb::{Key, ReadOnlyTable, Value};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

/// A row that should be there, or should not.
#[derive(Debug)]
pub(super) struct Repair<K, V> {
    /// Its key.
    pub(super) key: K,
    /// What it should be; `None`: it should not be there.
    pub(super) value: Option<V>,
    /// There is a row, but another one.
    pub(super) present: bool,
}

/// All repairs, by table.
#[derive(Debug, Default)]
pub(super) struct Repairs {
    pub(super) anchors: Vec<Repair<OwnedKey, u64>>,
    pub(super) names: Vec<Repair<OwnedKey, u64>>,
    pub(super) cs_join: Vec<Repair<(u16, u64, u64), ()>>,
    pub(super) mv_join: Vec<Repair<(u16, u64, u64), ()>>,
    pub(super) queue: Vec<Repair<(u8, u64), ()>>,
    pub(super) mv_link: Vec<Repair<(u64, u16), u64>>,
    pub(super) cs_referrer: Vec<Repair<(u64, u16, u64), ()>>,
    pub(super) cs_reference_count: Vec<Repair<(u64, u16), u64>>,
    pub(super) cs_reference_touched: Vec<Repair<(u64, u16, u64), ()>>,
    pub(super) mv_referrer: Vec<Repair<(u64, u16, u64), ()>>,
    pub(super) mv_reference_count: Vec<Repair<(u64, u16), u64>>,
    pub(super) blob_count: Vec<Repair<(u128, u32), u64>>,
    pub(super) counter: Vec<Repair<(u8, u16), (u64, u64)>>,
    /// Hashes, marks and problems of objects that do not exist.
    pub(super) cs_hash: Vec<u64>,
    pub(super) dirty: Vec<u64>,
    pub(super) object_error: Vec<(u64, u8)>,
    /// References whose owner does not exist.
    pub(super) cs_reference: Vec<(u64, u16, u64)>,
    pub(super) mv_reference: Vec<(u64, u16, u64)>,
    /// Contents that nothing points to.
    pub(super) blob: Vec<(u128, u32)>,
    /// What is remembered of passwords of objects that do not exist, or cannot be read: such an account is sent again.
    pub(super) password: Vec<u64>,
    pub(super) password_due: Vec<Repair<DueKey, ()>>,
    /// Some record could not be read, so that what follows from it is not known.
    pub(super) unreadable: bool,
}

/// What a pass over the connector spaces finds out.
#[derive(Default)]
struct Spaces {
    /// Ids of objects, ascending.
    ids: Vec<u64>,
    /// The stages that hold something, for each of `ids`.
    stages: Vec<u8>,
    unreadable: BTreeSet<u64>,
    anchors: Vec<(OwnedKey, u64)>,
    names: Vec<(OwnedKey, u64)>,
    join: Vec<(u16, u64, u64)>,
    queue: Vec<(u8, u64)>,
    counts: BTreeMap<u16, (u64, u64)>,
    anchored: BTreeMap<u16, u64>,
    blobs: BTreeMap<(u128, u32), u64>,
}

impl Spaces {
    fn has(&self, id: u64) -> bool {
        self.ids.binary_search(&id).is_ok()
    }
}

/// Compares everything; problems go to `collector`, repairs are returned.
pub(super) fn examine(view: &Snapshot, indexes: &Indexes, names: usize, collector: &mut Collector) -> Result<Repairs, Fault> {
    let mut repairs = Repairs::default();
    let mut spaces = objects(view, indexes, names, collector)?;
    let people = metaverse(view, indexes, names, &mut spaces.blobs, &mut repairs, collector)?;
    links(view, &spaces, &people, &mut repairs, collector)?;
    cs_references(view, &spaces, &mut repairs, collector)?;
    mv_references(view, &people, &mut repairs, collector)?;
    blobs(view, std::mem::take(&mut spaces.blobs), &mut repairs, collector)?;
    beside(view, &spaces, &mut repairs, collector)?;
    history(view, &mut repairs, collector)?;

    let damaged = std::mem::take(&mut spaces.unreadable);
    repairs.unreadable |= !damaged.is_empty();
    let tables = &view.tables;
    spaces.anchors.sort_unstable();
    single(&mut spaces.anchors, "cs_by_anchor", "two objects have one anchor", collector);
    repairs.anchors =
        compare(&tables.cs_by_anchor, spaces.anchors, |(connector, key)| (connector, key.into()), |id| id, |_, id| !damaged.contains(id))?;
    spaces.names.sort_unstable();
    single(&mut spaces.names, "cs_by_dn", "two objects have one name and neither is marked as displaced", collector);
    repairs.names =
        compare(&tables.cs_by_dn, spaces.names, |(connector, key)| (connector, key.into()), |id| id, |_, id| !damaged.contains(id))?;
    spaces.join.sort_unstable();
    let join = spaces.join.into_iter().map(|key| (key, ())).collect();
    repairs.cs_join = compare(&tables.cs_join, join, |key| key, |()| (), |key, ()| !damaged.contains(&key.2))?;
    spaces.queue.sort_unstable();
    let queue = spaces.queue.into_iter().map(|key| (key, ())).collect();
    repairs.queue = compare(&tables.queue, queue, |key| key, |()| (), |key, ()| !damaged.contains(&key.1))?;
    counters(view, &spaces.counts, &mut repairs)?;
    anchored(view, &spaces.anchored, &mut repairs)?;
    report(&repairs, collector);
    Ok(repairs)
}

fn objects(view: &Snapshot, indexes: &Indexes, names: usize, collector: &mut Collector) -> Result<Spaces, Fault> {
    let seed = view.inner().seed;
    let mut found = Spaces::default();
    let none = Vec::new();
    for row in view.tables.cs_object.range::<u64>(..)? {
        let (id, bytes) = row?;
        let id = CsId(id.value());
        found.ids.push(id.0);
        let count = found.counts.entry(id.connector().0).or_insert((1, 0));
        *count = (id.sequence().saturating_add(1), count.1 + 1);
        let indexed = indexes.spaces.get(&id.connector()).unwrap_or(&none);
        match object(id, bytes.value(), indexed, seed, names, &mut found) {
            Ok((stages, touched)) => {
                if touched & !stages != 0 {
                    collector.lost("cs_object", id, "a value belongs to a change that the object does not have; import it in full");
                }
                found.stages.push(stages);
            }
            Err(flaw) => {
                found.stages.push(0b1111);
                found.unreadable.insert(id.0);
                collector.lost("cs_object", id, format!("{flaw}; restore a backup, or begin a new store and import in full"));
            }
        }
    }
    collector.rows(found.ids.len());
    Ok(found)
}

/// Notes what follows from one object; returns the stages it has and those its values belong to.
fn object(id: CsId, bytes: &[u8], indexed: &[AttrId], seed: u64, names: usize, found: &mut Spaces) -> Result<(u8, u8), Flaw> {
    let view = CsView::new(bytes)?;
    let object = view.decode(id, Link::default())?;
    let unknown = |number: u16| usize::from(number) >= names;
    if unknown(object.object_type.0) || object.values.attributes().any(|attr| unknown(attr.0)) {
        return Err("it uses a number that no name has");
    }
    let touched = object.values.iter().fold(0, |set, item| set | touched_stages(ValueState(item.flags)));
    let (stages, connector) = (view.stages(), id.connector().0);
    if let Some(anchor) = view.anchor()? {
        found.anchors.push(((connector, anchor.into()), id.0));
        if counts_as_anchored(Some(anchor)) {
            *found.anchored.entry(connector).or_default() += 1;
        }
    }
    if !view.transient() {
        found.names.push(((connector, name_key(view.dn()?).as_bytes().into()), id.0));
    }
    found.queue.extend((0..4u8).filter(|stage| stages >> stage & 1 == 1).map(|stage| (stage, id.0)));
    join_keys(view.values(), indexed, seed, id.0, &mut found.join)?;
    count_blobs(view.values(), &mut found.blobs)?;
    Ok((stages, touched))
}

/// The stages that a state belongs to, as bits in the order of [`record::stage_code`].
fn touched_stages(state: ValueState) -> u8 {
    crate::model::Stage::ALL.into_iter().filter(|stage| state.touched(*stage)).fold(0, |set, stage| set | 1 << record::stage_code(stage))
}

fn count_blobs<'v>(values: impl Iterator<Item = Result<RawEntry<'v>, Flaw>>, counts: &mut BTreeMap<(u128, u32), u64>) -> Result<(), Flaw> {
    for entry in values {
        if let Some(blob) = entry?.blob()? {
            *counts.entry((blob.hash, blob.length)).or_default() += 1;
        }
    }
    Ok(())
}

/// Checks metaverse objects and their origins; returns their ids, ascending.
fn metaverse(
    view: &Snapshot,
    indexes: &Indexes,
    names: usize,
    blobs: &mut BTreeMap<(u128, u32), u64>,
    repairs: &mut Repairs,
    collector: &mut Collector,
) -> Result<Vec<u64>, Fault> {
    let (mut ids, mut join, mut damaged) = (Vec::new(), Vec::new(), BTreeSet::new());
    for row in view.tables.mv_object.range::<u64>(..)? {
        let (id, bytes) = row?;
        let id = id.value();
        ids.push(id);
        let lineage = view.tables.lineage.get(id)?;
        let mut follow = || -> Result<(), Flaw> {
            let lineage = record::decode_lineage(lineage.as_ref().ok_or("its origins are missing")?.value())?;
            let record = MvView::new(bytes.value())?;
            let object = record.decode(MvId(id), Vec::new())?;
            if usize::from(object.object_type.0) >= names || object.values.attributes().any(|attr| usize::from(attr.0) >= names) {
                return Err("it uses a number that no name has");
            }
            if object.values.iter().any(|item| !has_origin(&lineage, item.attr, item.flags)) {
                return Err("a value names no rule and object that gave it");
            }
            join_keys(record.values(), &indexes.metaverse, view.inner().seed, id, &mut join)?;
            count_blobs(record.values(), blobs)
        };
        if let Err(flaw) = follow() {
            damaged.insert(id);
            collector.lost("mv_object", id, format!("{flaw}; restore a backup, or run a full synchronization"));
        }
    }
    collector.rows(ids.len());
    for row in view.tables.lineage.range::<u64>(..)? {
        let id = row?.0.value();
        if ids.binary_search(&id).is_err() {
            collector.lost("lineage", id, "origins of an object that does not exist");
        }
    }
    repairs.unreadable |= !damaged.is_empty();
    join.sort_unstable();
    let join = join.into_iter().map(|key| (key, ())).collect();
    repairs.mv_join = compare(&view.tables.mv_join, join, |key| key, |()| (), |key, ()| !damaged.contains(&key.2))?;
    Ok(ids)
}

/// True when an attribute has an origin with the number that a value carries (architecture, section 8.4).
fn has_origin(lineage: &[Lineage], attr: AttrId, contributor: u8) -> bool {
    lineage.iter().filter(|row| row.attr == attr).count() > usize::from(contributor)
}

fn links(view: &Snapshot, spaces: &Spaces, people: &[u64], repairs: &mut Repairs, collector: &mut Collector) -> Result<(), Fault> {
    let mut linked = Vec::new();
    let mut ids = spaces.ids.iter().copied().peekable();
    let mut rows = 0;
    for row in view.tables.cs_link.range::<u64>(..)? {
        let (id, link) = row?;
        let id = CsId(id.value());
        rows += 1;
        while let Some(missing) = ids.next_if(|known| *known < id.0) {
            collector.lost("cs_link", CsId(missing), "the object has no row; restore a backup");
        }
        if ids.next_if_eq(&id.0).is_none() {
            collector.lost("cs_link", id, "a link of an object that does not exist");
        }
        match record::decode_link(link.value()) {
            Ok(link) => {
                if let Some(mv) = link.mv() {
                    linked.push(((mv.0, id.connector().0), id.0));
                    if people.binary_search(&mv.0).is_err() {
                        collector.lost("cs_link", id, format!("it is linked to metaverse object {mv}, which does not exist"));
                    }
                }
            }
            Err(flaw) => collector.lost("cs_link", id, flaw),
        }
    }
    for missing in ids {
        collector.lost("cs_link", CsId(missing), "the object has no row; restore a backup");
    }
    collector.rows(rows);
    linked.sort_unstable();
    single(&mut linked, "mv_link", "two objects of one connector are linked to one metaverse object", collector);
    repairs.mv_link = compare(&view.tables.mv_link, linked, |key| key, |id| id, |_, _| true)?;
    Ok(())
}

fn cs_references(view: &Snapshot, spaces: &Spaces, repairs: &mut Repairs, collector: &mut Collector) -> Result<(), Fault> {
    let (mut reverse, mut touched, mut counts) = (Vec::new(), Vec::new(), BTreeMap::new());
    let mut rows = 0;
    for row in view.tables.cs_reference.range::<(u64, u16, u64)>(..)? {
        let (key, state) = row?;
        let ((owner, attr, target), state) = (key.value(), ValueState(state.value()));
        rows += 1;
        let Ok(index) = spaces.ids.binary_search(&owner) else {
            repairs.cs_reference.push((owner, attr, target));
            continue;
        };
        if !state.is_valid() || state.is_absent() {
            collector.lost("cs_reference", CsId(owner), "a reference in an undefined state; import it in full");
            continue;
        }
        if touched_stages(state) & !spaces.stages[index] != 0 {
            collector.lost("cs_reference", CsId(owner), "a reference belongs to a change that the object does not have; import it in full");
        }
        if !spaces.has(target) {
            let message = format!("it refers to {}, which does not exist; import the connector in full", CsId(target));
            collector.lost("cs_reference", CsId(owner), message);
        }
        reverse.push(((target, attr, owner), ()));
        if is_touched(state.0) {
            touched.push(((owner, attr, target), ()));
        }
        if counts_as_wanted(state.0) {
            *counts.entry((owner, attr)).or_insert(0u64) += 1;
        }
    }
    collector.rows(rows);
    reverse.sort_unstable();
    repairs.cs_referrer = compare(&view.tables.cs_referrer, reverse, |key| key, |()| (), |_, ()| true)?;
    repairs.cs_reference_touched = compare(&view.tables.cs_reference_touched, touched, |key| key, |()| (), |_, ()| true)?;
    let counts = counts.into_iter().collect();
    repairs.cs_reference_count = compare(&view.tables.cs_reference_count, counts, |key| key, |count| count, |_, _| true)?;
    Ok(())
}

fn mv_references(view: &Snapshot, people: &[u64], repairs: &mut Repairs, collector: &mut Collector) -> Result<(), Fault> {
    let (mut reverse, mut counts) = (Vec::new(), BTreeMap::new());
    let mut rows = 0;
    let has = |id: u64| people.binary_search(&id).is_ok();
    let mut origins: (u64, Vec<Lineage>) = (0, Vec::new());
    for row in view.tables.mv_reference.range::<(u64, u16, u64)>(..)? {
        let (key, contributor) = row?;
        let (owner, attr, target) = key.value();
        rows += 1;
        if !has(owner) || !has(target) {
            repairs.mv_reference.push((owner, attr, target));
            continue;
        }
        if origins.0 != owner {
            let row = view.tables.lineage.get(owner)?;
            origins = (owner, row.and_then(|row| record::decode_lineage(row.value()).ok()).unwrap_or_default());
        }
        if !has_origin(&origins.1, AttrId(attr), contributor.value()) {
            let message = "a reference names no rule and object that gave it; run a full synchronization";
            collector.lost("mv_reference", MvId(owner), message);
        }
        reverse.push(((target, attr, owner), ()));
        *counts.entry((owner, attr)).or_insert(0u64) += 1;
    }
    collector.rows(rows);
    reverse.sort_unstable();
    repairs.mv_referrer = compare(&view.tables.mv_referrer, reverse, |key| key, |()| (), |_, ()| true)?;
    let counts = counts.into_iter().collect();
    repairs.mv_reference_count = compare(&view.tables.mv_reference_count, counts, |key| key, |count| count, |_, _| true)?;
    Ok(())
}

fn blobs(view: &Snapshot, counts: BTreeMap<(u128, u32), u64>, repairs: &mut Repairs, collector: &mut Collector) -> Result<(), Fault> {
    let mut contents = BTreeSet::new();
    for row in view.tables.blob.range::<(u128, u32)>(..)? {
        let (key, content) = row?;
        let key = key.value();
        let found = Blob::of(content.value());
        if (found.hash, found.length) != key {
            collector.lost("blob", hex(key.0), "the content is not what its key says; import in full");
        }
        if !counts.contains_key(&key) {
            repairs.blob.push(key);
        }
        contents.insert(key);
    }
    collector.rows(contents.len());
    for key in counts.keys().filter(|key| !contents.contains(*key)) {
        collector.lost("blob", hex(key.0), "a value points to a content that is not there; import in full");
    }
    let counts = counts.into_iter().collect();
    repairs.blob_count = compare(&view.tables.blob_count, counts, |key| key, |count| count, |_, _| true)?;
    Ok(())
}

fn hex(hash: u128) -> String {
    format!("{hash:032x}")
}

/// Small rows beside an object.
fn beside(view: &Snapshot, spaces: &Spaces, repairs: &mut Repairs, collector: &mut Collector) -> Result<(), Fault> {
    let tables = &view.tables;
    let mut rows = 0;
    for row in tables.cs_hash.range::<u64>(..)? {
        let id = row?.0.value();
        rows += 1;
        if !spaces.has(id) {
            repairs.cs_hash.push(id);
        }
    }
    for row in tables.dirty.range::<u64>(..)? {
        let (id, reason) = row?;
        let id = id.value();
        rows += 1;
        if !spaces.has(id) || record::reason(reason.value()).is_err() {
            repairs.dirty.push(id);
        }
    }
    for row in tables.object_error.range::<(u64, u8)>(..)? {
        let (key, bytes) = row?;
        let key = key.value();
        rows += 1;
        if !spaces.has(key.0) || record::side(key.1).is_err() || record::decode_error(bytes.value()).is_err() {
            repairs.object_error.push(key);
        }
    }
    let mut due = Vec::new();
    for row in tables.password.range::<u64>(..)? {
        let (id, bytes) = row?;
        let id = CsId(id.value());
        rows += 1;
        match password::decode(bytes.value()) {
            Ok(record) if spaces.has(id.0) => due.extend(password::due_key(id, &record).map(|key| (key, ()))),
            _ => repairs.password.push(id.0),
        }
    }
    due.sort_unstable();
    repairs.password_due = compare(&tables.password_due, due, |key| key, |()| (), |_, ()| true)?;
    collector.rows(rows);
    Ok(())
}

fn history(view: &Snapshot, repairs: &mut Repairs, collector: &mut Collector) -> Result<(), Fault> {
    let mut rows = 0;
    let mut next = 1;
    for row in view.tables.run.range::<u64>(..)? {
        let (id, bytes) = row?;
        rows += 1;
        next = id.value().saturating_add(1);
        if let Err(flaw) = record::decode_run(RunId(id.value()), bytes.value()) {
            collector.lost("run", id.value(), flaw);
        }
    }
    for row in view.tables.step_object.range::<(u64, u32, &str, u64)>(..)? {
        let (key, bytes) = row?;
        let (run, _, name, id) = key.value();
        rows += 1;
        let name = super::CounterName(std::borrow::Cow::Owned(name.to_owned()));
        if let Err(flaw) = record::decode_step_object(name, CsId(id), bytes.value()) {
            collector.lost("step_object", format!("{run}, object {}", CsId(id)), flaw);
        }
    }
    for row in view.tables.event.range::<u64>(..)? {
        let (sequence, bytes) = row?;
        rows += 1;
        if let Err(flaw) = event::decode(sequence.value(), bytes.value()) {
            collector.lost("event", sequence.value(), flaw);
        }
    }
    collector.rows(rows);
    at_least(view, counter::RUN, next, repairs)
}

/// A next number may be higher than what is there, since numbers do not return, but not lower.
fn at_least(view: &Snapshot, kind: u8, next: u64, repairs: &mut Repairs) -> Result<(), Fault> {
    let row = view.tables.counter.get((kind, 0))?.map(|row| row.value());
    if row.map_or(1, |row| row.0) < next {
        repairs.counter.push(Repair { key: (kind, 0), value: Some((next, 0)), present: row.is_some() });
    }
    Ok(())
}

fn counters(view: &Snapshot, counts: &BTreeMap<u16, (u64, u64)>, repairs: &mut Repairs) -> Result<(), Fault> {
    let highest = view.tables.mv_object.last_id()?;
    at_least(view, counter::MV, highest.saturating_add(1), repairs)?;
    let mut known: BTreeMap<u16, (u64, u64)> = BTreeMap::new();
    for row in view.tables.counter.range((counter::CS, 0)..=(counter::CS, u16::MAX))? {
        let (key, row) = row?;
        known.insert(key.value().1, row.value());
    }
    let connectors: BTreeSet<u16> = known.keys().chain(counts.keys()).copied().collect();
    for connector in connectors {
        let row = known.get(&connector).copied();
        let (next, count) = counts.get(&connector).copied().unwrap_or((1, 0));
        let wanted = (next.max(row.map_or(1, |row| row.0)), count);
        if row != Some(wanted) {
            repairs.counter.push(Repair { key: (counter::CS, connector), value: Some(wanted), present: row.is_some() });
        }
    }
    Ok(())
}

fn anchored(view: &Snapshot, counts: &BTreeMap<u16, u64>, repairs: &mut Repairs) -> Result<(), Fault> {
    let mut known: BTreeMap<u16, (u64, u64)> = BTreeMap::new();
    for row in view.tables.counter.range((counter::ANCHORED, 0)..=(counter::ANCHORED, u16::MAX))? {
        let (key, row) = row?;
        known.insert(key.value().1, row.value());
    }
    let connectors: BTreeSet<u16> = known.keys().chain(counts.keys()).copied().collect();
    for connector in connectors {
        let (row, wanted) = (known.get(&connector).copied(), counts.get(&connector).map(|count| (0, *count)));
        if row != wanted {
            repairs.counter.push(Repair { key: (counter::ANCHORED, connector), value: wanted, present: row.is_some() });
        }
    }
    Ok(())
}

/// The last key of a table of ids.
trait LastId {
    fn last_id(&self) -> Result<u64, Fault>;
}

impl LastId for ReadOnlyTable<u64, &'static [u8]> {
    fn last_id(&self) -> Result<u64, Fault> {
        Ok(self.range::<u64>(..)?.next_back().transpose()?.map_or(0, |(key, _)| key.value()))
    }
}

/// Keeps one row of those with one key, and tells of the others.
fn single<K: Ord + Debug>(rows: &mut Vec<(K, u64)>, table: &'static str, message: &str, collector: &mut Collector) {
    rows.dedup_by(|later, earlier| {
        let same = later.0 == earlier.0;
        if same {
            collector.lost(table, format!("of {} and {}", CsId(earlier.1), CsId(later.1)), message);
        }
        same
    });
}

/// Compares a table with the sorted rows it should have. `ours` says of a row that is too much whether that is sure.
fn compare<K: Key + 'static, V: Value + 'static, O: Ord, W: PartialEq>(
    table: &ReadOnlyTable<K, V>,
    expected: Vec<(O, W)>,
    own_key: impl for<'a> Fn(K::SelfType<'a>) -> O,
    own_value: impl for<'a> Fn(V::SelfType<'a>) -> W,
    sure: impl Fn(&O, &W) -> bool,
) -> Result<Vec<Repair<O, W>>, Fault> {
    let mut repairs = Vec::new();
    let mut expected = expected.into_iter().peekable();
    for row in table.range::<K::SelfType<'_>>(..)? {
        let (key, value) = row?;
        let (key, value) = (own_key(key.value()), own_value(value.value()));
        while let Some((key, value)) = expected.next_if(|(wanted, _)| *wanted < key) {
            repairs.push(Repair { key, value: Some(value), present: false });
        }
        if expected.peek().is_some_and(|(wanted, _)| wanted.cmp(&key) == Ordering::Equal) {
            if let Some((key, wanted)) = expected.next().filter(|(_, wanted)| *wanted != value) {
                repairs.push(Repair { key, value: Some(wanted), present: true });
            }
        } else if sure(&key, &value) {
            repairs.push(Repair { key, value: None, present: true });
        }
    }
    repairs.extend(expected.map(|(key, value)| Repair { key, value: Some(value), present: false }));
    Ok(repairs)
}

/// Tells of every repair as a problem that `rebuild` solves.
fn report(repairs: &Repairs, collector: &mut Collector) {
    fn each<K: Debug, V>(table: &'static str, rows: &[Repair<K, V>], collector: &mut Collector) {
        for row in rows {
            let message = match (row.value.is_some(), row.present) {
                (true, false) => "a row is missing",
                (true, true) => "a row says something else than what it follows from",
                (false, _) => "a row follows from nothing",
            };
            collector.derivable(table, format!("{:?}", row.key), message);
        }
    }
    fn orphans<K: Debug>(table: &'static str, keys: &[K], collector: &mut Collector) {
        for key in keys {
            collector.derivable(table, format!("{key:?}"), "a row of an object that does not exist, or that cannot be read");
        }
    }
    each("cs_by_anchor", &repairs.anchors, collector);
    each("cs_by_dn", &repairs.names, collector);
    each("cs_join", &repairs.cs_join, collector);
    each("mv_join", &repairs.mv_join, collector);
    each("queue", &repairs.queue, collector);
    each("mv_link", &repairs.mv_link, collector);
    each("cs_referrer", &repairs.cs_referrer, collector);
    each("cs_reference_count", &repairs.cs_reference_count, collector);
    each("cs_reference_touched", &repairs.cs_reference_touched, collector);
    each("mv_referrer", &repairs.mv_referrer, collector);
    each("mv_reference_count", &repairs.mv_reference_count, collector);
    each("blob_count", &repairs.blob_count, collector);
    each("counter", &repairs.counter, collector);
    orphans("cs_hash", &repairs.cs_hash, collector);
    orphans("dirty", &repairs.dirty, collector);
    orphans("object_error", &repairs.object_error, collector);
    orphans("cs_reference", &repairs.cs_reference, collector);
    orphans("mv_reference", &repairs.mv_reference, collector);
    orphans("blob", &repairs.blob, collector);
    orphans("password", &repairs.password, collector);
    each("password_due", &repairs.password_due, collector);
}

/// The result of an examination, for `check`.
pub(super) fn check(view: &Snapshot, indexes: &Indexes, names: usize) -> Result<CheckReport, Fault> {
    let mut collector = Collector::default();
    examine(view, indexes, names, &mut collector)?;
    Ok(collector.finish())
}
