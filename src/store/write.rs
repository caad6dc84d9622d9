//! Turning a set of changes into sorted rows of every table, inside one transaction.
//!
//! Old records are read in the order of their keys, rows of indexes follow from the difference between old and new,
//! and every table gets its rows sorted, appended by a cursor where they lie behind the last key. A row whose octets
//! are already there is not written, so that repeating a set of changes writes nothing.

use super::changes::ChangeSet;
use super::event;
use super::fault::Fault;
use super::index::{Indexes, join_hash};
use super::moved::{self, Moved};
use super::password;
use super::record::{self, CsView, Encoder, Flaw, MvView, RawEntry};
use super::tables::{self, LinkRow, OwnedKey};
use super::{Inner, StoreError};
use crate::model::{
    Anchor, AttrId, Blob, ConnectorId, CsId, CsObject, CsReference, Dn, DnKey, Link, MvId, MvObject, MvReference, StageMask, ValueState,
};
use redb::{Key, ReadableTable, ReadableTableMetadata, Table, Value, WriteTransaction};
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

/// What one transaction read and wrote.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Tally {
    /// Rows looked at.
    pub(super) read: u64,
    /// Records of objects among them.
    pub(super) bodies: u64,
    /// Rows inserted, changed or removed.
    pub(super) written: u64,
}

/// Writes sorted rows with distinct keys; `None` removes. Rows that are there already are left alone.
pub(super) fn write_rows<'r, K: Key + 'static, V: Value + 'static>(
    table: &mut Table<'_, K, V>,
    rows: &[(K::SelfType<'r>, Option<V::SelfType<'r>>)],
    tally: &mut Tally,
) -> Result<(), Fault> {
    put_rows(table, rows, false, tally)
}

/// The same for rows of which somebody who looked knows that each differs from what is there: one way down the tree less.
fn write_changed_rows<'r, K: Key + 'static, V: Value + 'static>(
    table: &mut Table<'_, K, V>,
    rows: &[(K::SelfType<'r>, Option<V::SelfType<'r>>)],
    tally: &mut Tally,
) -> Result<(), Fault> {
    put_rows(table, rows, true, tally)
}

fn put_rows<'r, K: Key + 'static, V: Value + 'static>(
    table: &mut Table<'_, K, V>,
    rows: &[(K::SelfType<'r>, Option<V::SelfType<'r>>)],
    changed: bool,
    tally: &mut Tally,
) -> Result<(), Fault> {
    let last = table.last()?.map(|(key, _)| K::as_bytes(&key.value()).as_ref().to_vec());
    let known = last.map_or(0, |last| rows.partition_point(|(key, _)| K::compare(K::as_bytes(key).as_ref(), &last).is_le()));
    let (known, new) = rows.split_at(known);
    for (key, value) in known {
        tally.read += u64::from(!changed);
        if let Some(value) = value.as_ref().filter(|_| changed || V::fixed_width() == Some(0)) {
            // Known to be another, or a row without a value, which says all by being there: no need to look before.
            let before = table.insert(key, value)?;
            tally.written += u64::from(changed || before.is_none());
        } else if let Some(value) = value {
            let same = table.get(key)?.is_some_and(|old| V::as_bytes(&old.value()).as_ref() == V::as_bytes(value).as_ref());
            if !same {
                table.insert(key, value)?;
                tally.written += 1;
            }
        } else if table.remove(key)?.is_some() {
            tally.written += 1;
        }
    }
    if new.iter().any(|(_, value)| value.is_some()) {
        let mut cursor = table.upper_bound_mut(Bound::<K::SelfType<'_>>::Unbounded)?;
        for (key, value) in new {
            if let Some(value) = value {
                cursor.insert_before(key, value)?;
                tally.written += 1;
            }
        }
        cursor.close()?;
    }
    Ok(())
}

/// Sorts rows by key; of several for one key the last one pushed stays.
pub(super) fn last_of_each<K: Ord, V>(rows: &mut Vec<(K, V)>) {
    if rows.windows(2).all(|pair| pair[0].0 < pair[1].0) {
        return;
    }
    rows.sort_by(|left, right| left.0.cmp(&right.0));
    rows.dedup_by(|later, earlier| {
        let same = later.0 == earlier.0;
        if same {
            std::mem::swap(later, earlier);
        }
        same
    });
}

/// A change to a row that belongs to one object at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    /// The object gives the row up, if it holds it.
    Release(u64),
    /// The object takes the row.
    Take(u64),
}

/// What to do when an object takes a row that another one holds and does not give up in the same set.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Contested {
    /// The newcomer has it, and the other one is displaced: no name leads to it.
    Displace,
    /// The whole set is refused.
    Refuse(&'static str),
}

/// Writes who has which row; gives those who lost one that they did not give up.
fn write_claims<'r, K: Key + 'static>(
    table: &mut Table<'_, K, u64>,
    mut claims: Vec<(K::SelfType<'r>, Claim)>,
    contested: Contested,
    tally: &mut Tally,
) -> Result<Vec<CsId>, Fault>
where
    K::SelfType<'r>: Ord,
{
    let mut losers = Vec::new();
    claims.sort_by(|left, right| left.0.cmp(&right.0));
    let mut rows = Vec::with_capacity(claims.len());
    let mut rest = claims.as_slice();
    while let Some((key, _)) = rest.first() {
        let length = rest.partition_point(|(other, _)| other == key);
        let (group, behind) = rest.split_at(length);
        rest = behind;
        tally.read += 1;
        if let [(_, Claim::Take(taker))] = group {
            // The usual case, a new object: one way down the tree instead of two.
            let holder = table.insert(key, taker)?.map(|holder| holder.value());
            let other = holder.filter(|holder| holder != taker);
            if let (Contested::Refuse(what), Some(holder)) = (contested, other) {
                return Err(StoreError::Conflict { what, holder: CsId(holder).to_string(), claimant: CsId(*taker).to_string() }.into());
            }
            losers.extend(other.map(CsId));
            tally.written += u64::from(holder != Some(*taker));
            continue;
        }
        let holder = table.get(key)?.map(|holder| holder.value());
        let released = holder.is_some_and(|holder| group.iter().any(|(_, claim)| *claim == Claim::Release(holder)));
        let mut takers = group.iter().filter_map(|(_, claim)| if let Claim::Take(id) = claim { Some(*id) } else { None });
        let taker = takers.next_back();
        let mut others = takers.chain(holder.filter(|_| taker.is_some() && !released)).filter(|other| Some(*other) != taker);
        match contested {
            Contested::Displace => losers.extend(others.map(CsId)),
            Contested::Refuse(what) => {
                if let Some((claimant, holder)) = taker.zip(others.next_back()) {
                    return Err(
                        StoreError::Conflict { what, holder: CsId(holder).to_string(), claimant: CsId(claimant).to_string() }.into()
                    );
                }
            }
        }
        match taker {
            Some(taker) if holder != Some(taker) => rows.push((key, Some(taker))),
            None if released => rows.push((key, None)),
            _ => {}
        }
    }
    for (key, value) in rows {
        match value {
            Some(value) => drop(table.insert(key, value)?),
            None => drop(table.remove(key)?),
        }
        tally.written += 1;
    }
    Ok(losers)
}

/// A row of an index of join values: what is to be there, and what is not.
type JoinRow = ((u16, u64, u64), Option<()>);

/// Rows of indexes that follow from objects, collected before any index is touched.
#[derive(Default)]
struct Follow {
    anchors: Vec<(OwnedKey, Claim)>,
    names: Vec<(OwnedKey, Claim)>,
    mv_links: Vec<((u64, u16), Claim)>,
    links: Vec<(u64, Option<LinkRow>)>,
    queue: Vec<((u8, u64), Option<()>)>,
    cs_join: Vec<JoinRow>,
    mv_join: Vec<JoinRow>,
    blobs: HashMap<Blob, i64>,
    spaces: BTreeMap<u16, Space>,
}

#[derive(Default, Clone, Copy)]
struct Space {
    change: i64,
    anchored: i64,
    next: u64,
}

/// The key of a name; a text that is no name is kept as it is, behind an octet that no key of a name begins with,
/// so that an object is found by what the directory called it.
pub(super) fn name_key(dn: &str) -> DnKey {
    Dn::parse(dn).map_or_else(
        |_| {
            let mut raw = vec![0];
            raw.extend_from_slice(dn.as_bytes());
            DnKey::from_bytes(raw)
        },
        |dn| dn.key(),
    )
}

/// The name under which an object is found: none while another one has it.
fn lasting_name<'v>(view: Option<&CsView<'v>>) -> Result<Option<&'v str>, Flaw> {
    view.filter(|view| !view.transient()).map(CsView::dn).transpose()
}

/// True for the key of an object; that of a placeholder is another's.
pub(super) fn counts_as_anchored(anchor: Option<&[u8]>) -> bool {
    anchor.is_some_and(|anchor| !Anchor::is_of_placeholder(anchor))
}

fn flawed(table: &str, id: u64) -> impl Fn(Flaw) -> Fault {
    move |flaw| Fault::damaged(format!("{table} {id}"), flaw)
}

/// Writes everything of `changes`; the caller commits.
pub(super) fn write_all(inner: &Inner, transaction: &WriteTransaction, changes: ChangeSet, tally: &mut Tally) -> Result<(), Fault> {
    let indexes = inner.indexes();
    let moved = Moved::new(transaction)?;
    let (encoder, follow) = (Encoder::default(), Follow::default());
    let mut writer = Writer { transaction, indexes: &indexes, seed: inner.seed, encoder, follow, displaced: Vec::new(), moved, tally };
    writer.all(changes)
}

struct Writer<'a> {
    transaction: &'a WriteTransaction,
    indexes: &'a Indexes,
    seed: u64,
    encoder: Encoder,
    follow: Follow,
    /// Objects that lost their names to others in this set.
    displaced: Vec<CsId>,
    moved: Moved,
    tally: &'a mut Tally,
}

impl Writer<'_> {
    fn all(&mut self, changes: ChangeSet) -> Result<(), Fault> {
        let ChangeSet {
            cs_put,
            mut cs_delete,
            mut cs_hash,
            cs_reference,
            mv_put,
            mut mv_delete,
            mv_reference,
            mv_reference_delete,
            blobs,
            mut dirty,
            mut errors,
            mut states,
            runs,
            step_objects,
            mut runs_delete,
            events,
            events_kept,
            mut passwords,
            moved_seen,
            watched,
        } = changes;
        cs_delete.sort_unstable();
        cs_delete.dedup();
        mv_delete.sort_unstable();
        mv_delete.dedup();
        runs_delete.sort_unstable();
        runs_delete.dedup();

        let kept = self.cs_references(cs_reference, &cs_delete)?;
        self.cs_objects(cs_put, &cs_delete, &kept)?;
        self.mv_objects(mv_put, &mv_delete)?;
        self.mv_references(mv_reference, mv_reference_delete, &mv_delete)?;
        self.follow(blobs)?;

        moved::forget(self.transaction, moved_seen, self.tally)?;
        std::mem::take(&mut self.moved).write(self.transaction, self.tally)?;
        if let Some(watched) = watched {
            let row = password::encode_watched(&watched);
            self.rows(tables::META, &[(tables::meta::WATCHED, Some(row.as_slice()))])?;
        }
        passwords.extend(cs_delete.iter().map(|id| (*id, None)));
        password::write(self.transaction, passwords, self.tally)?;

        let gone = |id: &CsId| cs_delete.binary_search(id).is_ok();
        cs_hash.retain(|(id, _)| !gone(id));
        cs_hash.extend(cs_delete.iter().chain(&self.displaced).map(|id| (*id, None)));
        let mut hashes: Vec<_> = cs_hash.into_iter().map(|(id, hash)| (id.0, hash)).collect();
        last_of_each(&mut hashes);
        self.rows(tables::CS_HASH, &hashes)?;

        dirty.retain(|(id, _)| !gone(id));
        dirty.extend(cs_delete.iter().map(|id| (*id, None)));
        let mut marks: Vec<_> = dirty.into_iter().map(|(id, reason)| (id.0, reason.map(record::reason_code))).collect();
        last_of_each(&mut marks);
        self.rows(tables::DIRTY, &marks)?;

        errors.retain(|(id, _, _)| !gone(id));
        let mut problems = Vec::with_capacity(errors.len() + 3 * cs_delete.len());
        for (id, side, error) in errors {
            let bytes = error.map(|error| record::encode_error(&error)).transpose().map_err(flawed("object_error", id.0))?;
            problems.push(((id.0, record::side_code(side)), bytes));
        }
        problems.extend(cs_delete.iter().flat_map(|id| (0..3).map(|side| ((id.0, side), None))));
        last_of_each(&mut problems);
        let problems: Vec<_> = problems.iter().map(|(key, bytes)| (*key, bytes.as_deref())).collect();
        self.rows(tables::OBJECT_ERROR, &problems)?;

        // Borrowed keys from here on: the owners stay alive in `states` and `step_objects`.
        let mut small: Vec<_> = states.drain(..).map(|(connector, name, value)| ((connector.0, name), value)).collect();
        last_of_each(&mut small);
        let small: Vec<_> = small.iter().map(|((connector, name), value)| ((*connector, name.as_str()), value.as_deref())).collect();
        self.rows(tables::STATE, &small)?;

        let forgotten = |run: u64| runs_delete.iter().any(|deleted| deleted.0 == run);
        let mut records = Vec::with_capacity(runs.len() + runs_delete.len());
        let next_run = runs.iter().map(|run| run.id.0.saturating_add(1)).max().unwrap_or(0);
        for run in runs.into_iter().filter(|run| !forgotten(run.id.0)) {
            records.push((run.id.0, Some(record::encode_run(&run).map_err(flawed("run", run.id.0))?)));
        }
        records.extend(runs_delete.iter().map(|run| (run.0, None)));
        last_of_each(&mut records);
        let records: Vec<_> = records.iter().map(|(run, bytes)| (*run, bytes.as_deref())).collect();
        self.rows(tables::RUN, &records)?;
        self.at_least(tables::counter::RUN, next_run)?;

        let mut listed = Vec::with_capacity(step_objects.len());
        for (run, step, object) in &step_objects {
            if !forgotten(run.0) {
                let bytes = record::encode_step_object(object).map_err(flawed("step_object", object.id.0))?;
                listed.push(((run.0, *step, object.counter.0.as_ref(), object.id.0), Some(bytes)));
            }
        }
        last_of_each(&mut listed);
        let listed: Vec<_> = listed.iter().map(|(key, bytes)| (*key, bytes.as_deref())).collect();
        self.rows(tables::STEP_OBJECT, &listed)?;
        if !runs_delete.is_empty() {
            let mut table = self.transaction.open_table(tables::STEP_OBJECT)?;
            let before = table.len()?;
            for run in &runs_delete {
                let range = (Bound::Included((run.0, 0, "", 0)), Bound::Excluded((run.0.saturating_add(1), 0, "", 0)));
                table.retain_in(range, |_, _| false)?;
            }
            self.tally.written += before - table.len()?;
        }
        event::write(self.transaction, events, events_kept, self.tally)
    }

    fn rows<'r, K: Key + 'static, V: Value + 'static>(
        &mut self,
        definition: redb::TableDefinition<'static, K, V>,
        rows: &[(K::SelfType<'r>, Option<V::SelfType<'r>>)],
    ) -> Result<(), Fault> {
        if rows.is_empty() {
            return Ok(());
        }
        write_rows(&mut self.transaction.open_table(definition)?, rows, self.tally)
    }

    /// Raises a counter's next number.
    fn at_least(&mut self, kind: u8, next: u64) -> Result<(), Fault> {
        if next == 0 {
            return Ok(());
        }
        let mut table = self.transaction.open_table(tables::COUNTER)?;
        let (known, count) = table.get((kind, 0))?.map_or((0, 0), |row| row.value());
        if next > known {
            table.insert((kind, 0), (next, count))?;
            self.tally.written += 1;
        }
        Ok(())
    }

    /// Writes and removes objects. Of the removed ones, those in `kept` stay as placeholders.
    fn cs_objects(&mut self, put: Vec<CsObject>, delete: &[CsId], kept: &[CsId]) -> Result<(), Fault> {
        let mut changes: Vec<(CsId, Option<CsObject>)> = put.into_iter().map(|object| (object.id, Some(object))).collect();
        changes.extend(delete.iter().map(|id| (*id, None)));
        last_of_each(&mut changes);
        if changes.is_empty() {
            return Ok(());
        }
        let mut table = self.transaction.open_table(tables::CS_OBJECT)?;
        let links = self.transaction.open_table(tables::CS_LINK)?;
        let last = table.last()?.map(|(key, _)| key.value());
        for id in kept {
            let Some(old) = table.get(id.0)? else { continue };
            let old = CsView::new(old.value()).map_err(flawed("cs_object", id.0))?;
            let mut known = CsObject::new(*id, old.object_type(), old.dn().map_err(flawed("cs_object", id.0))?);
            known.anchor = old.anchor().map_err(flawed("cs_object", id.0))?.map(Anchor::new);
            known.transient = old.transient();
            let mut placeholder = known.into_placeholder();
            if placeholder.anchor.as_ref().map(|key| self.is_anothers(*id, key)).transpose()? == Some(true) {
                placeholder.anchor = None;
            }
            placeholder.transient |= self.name_is_wanted(&placeholder, &changes)?;
            if let Ok(index) = changes.binary_search_by_key(id, |(id, _)| *id) {
                changes[index].1 = Some(placeholder);
            }
        }
        let mut rows = Vec::with_capacity(changes.len());
        // Objects go as their records come, so that both do not stand in memory whole.
        for (id, object) in changes {
            let known = last.is_some_and(|last| id.0 <= last);
            let old = if known { table.get(id.0)? } else { None };
            self.tally.read += u64::from(known);
            self.tally.bodies += u64::from(old.is_some());
            if old.is_none() && object.is_none() {
                continue;
            }
            let old_link = if old.is_some() { links.get(id.0)?.map(|row| row.value()) } else { None };
            let new_link = object.as_ref().map(|object| record::encode_link(object.link));
            self.follow.link(id, old_link, new_link).map_err(flawed("cs_link", id.0))?;
            if old_link != new_link {
                self.moved.link(id);
            }
            let new = object.as_ref().map(|object| self.encoder.cs_object(object)).transpose().map_err(flawed("cs_object", id.0))?;
            if old.as_ref().zip(new.as_ref()).is_some_and(|(old, new)| old.value() == new.as_slice()) {
                continue;
            }
            let space = self.follow.spaces.entry(id.connector().0).or_default();
            if new.is_some() {
                space.next = space.next.max(id.sequence().saturating_add(1));
            }
            space.change += i64::from(new.is_some()) - i64::from(old.is_some());
            let old = old.as_ref().map(|old| CsView::new(old.value())).transpose().map_err(flawed("cs_object", id.0))?;
            let current = new.as_ref().map(|new| CsView::new(new)).transpose().map_err(flawed("cs_object", id.0))?;
            self.follow_cs(id, old.as_ref(), current.as_ref()).map_err(flawed("cs_object", id.0))?;
            self.moved.record(id, old.as_ref(), current.as_ref()).map_err(flawed("cs_object", id.0))?;
            rows.push((id.0, new));
        }
        drop(links);
        let rows: Vec<_> = rows.iter().map(|(id, bytes)| (*id, bytes.as_deref())).collect();
        write_changed_rows(&mut table, &rows, self.tally)
    }

    /// True when another object has a key.
    fn is_anothers(&self, id: CsId, key: &Anchor) -> Result<bool, Fault> {
        let holder = self.transaction.open_table(tables::CS_BY_ANCHOR)?.get((id.connector().0, key.as_bytes()))?.map(|row| row.value());
        Ok(holder.is_some_and(|holder| holder != id.0))
    }

    /// True when another object has the name of a placeholder, or gets it in this set.
    fn name_is_wanted(&self, placeholder: &CsObject, changes: &[(CsId, Option<CsObject>)]) -> Result<bool, Fault> {
        let key = name_key(&placeholder.dn);
        let names = self.transaction.open_table(tables::CS_BY_DN)?;
        let holder = names.get((placeholder.id.connector().0, key.as_bytes()))?.map(|row| row.value());
        let wants = |object: &CsObject| {
            object.id.connector() == placeholder.id.connector() && !object.transient && name_key(&object.dn).as_bytes() == key.as_bytes()
        };
        Ok(holder.is_some_and(|holder| holder != placeholder.id.0) || changes.iter().filter_map(|(_, object)| object.as_ref()).any(wants))
    }

    /// Notes what indexes must learn of an object's change.
    fn follow_cs(&mut self, id: CsId, old: Option<&CsView<'_>>, new: Option<&CsView<'_>>) -> Result<(), Flaw> {
        let connector = id.connector().0;
        let anchors = [old, new].map(|view| view.map(CsView::anchor).transpose().map(Option::flatten));
        let [old_anchor, new_anchor] = anchors;
        let (old_anchor, new_anchor) = (old_anchor?, new_anchor?);
        if old_anchor != new_anchor {
            let space = self.follow.spaces.entry(connector).or_default();
            space.anchored += i64::from(counts_as_anchored(new_anchor)) - i64::from(counts_as_anchored(old_anchor));
            self.follow.anchors.extend(old_anchor.map(|anchor| ((connector, anchor.into()), Claim::Release(id.0))));
            self.follow.anchors.extend(new_anchor.map(|anchor| ((connector, anchor.into()), Claim::Take(id.0))));
        }
        let (old_name, new_name) = (lasting_name(old)?, lasting_name(new)?);
        // Most changes leave the name alone, and what is spelt alike needs no key.
        let [old_name, new_name] = if old_name == new_name { [None, None] } else { [old_name, new_name].map(|name| name.map(name_key)) };
        if old_name != new_name {
            self.follow.names.extend(old_name.map(|name| ((connector, name.as_bytes().into()), Claim::Release(id.0))));
            self.follow.names.extend(new_name.map(|name| ((connector, name.as_bytes().into()), Claim::Take(id.0))));
        }
        let (old_stages, new_stages) = (old.map_or(0, CsView::stages), new.map_or(0, CsView::stages));
        for stage in 0..4u8 {
            let (was, is) = (old_stages >> stage & 1, new_stages >> stage & 1);
            if was != is {
                self.follow.queue.push(((stage, id.0), (is == 1).then_some(())));
            }
        }
        if let Some(attributes) = self.indexes.spaces.get(&ConnectorId(connector)) {
            let [old, new] = [old, new].map(|view| view.into_iter().flat_map(CsView::values));
            changed_join_keys(old, new, attributes, self.seed, id.0, &mut self.follow.cs_join)?;
        }
        for (view, change) in [(old, -1), (new, 1)] {
            if let Some(view) = view {
                self.follow.count_blobs(view.values(), change)?;
            }
        }
        Ok(())
    }

    fn mv_objects(&mut self, put: Vec<MvObject>, delete: &[MvId]) -> Result<(), Fault> {
        let mut changes: Vec<(MvId, Option<MvObject>)> = put.into_iter().map(|object| (object.id, Some(object))).collect();
        changes.extend(delete.iter().map(|id| (*id, None)));
        last_of_each(&mut changes);
        if changes.is_empty() {
            return Ok(());
        }
        let highest = changes.iter().rev().find(|(_, object)| object.is_some());
        self.at_least(tables::counter::MV, highest.map_or(0, |(id, _)| id.0.saturating_add(1)))?;
        let mut table = self.transaction.open_table(tables::MV_OBJECT)?;
        let last = table.last()?.map(|(key, _)| key.value());
        let mut rows = Vec::with_capacity(changes.len());
        let mut lineages = Vec::with_capacity(changes.len());
        for (id, object) in changes {
            let old = if last.is_some_and(|last| id.0 <= last) { table.get(id.0)? } else { None };
            self.tally.read += u64::from(last.is_some_and(|last| id.0 <= last));
            self.tally.bodies += u64::from(old.is_some());
            let new = object.as_ref().map(|object| self.encoder.mv_object(object)).transpose().map_err(flawed("mv_object", id.0))?;
            let lineage =
                object.as_ref().map(|object| record::encode_lineage(&object.lineage)).transpose().map_err(flawed("lineage", id.0))?;
            lineages.push((id.0, lineage));
            if old.as_ref().zip(new.as_ref()).is_some_and(|(old, new)| old.value() == new.as_slice()) {
                continue;
            }
            if old.is_some() {
                self.moved.metaverse(id.0);
            }
            let old = old.as_ref().map(|old| MvView::new(old.value())).transpose().map_err(flawed("mv_object", id.0))?;
            let current = new.as_ref().map(|new| MvView::new(new)).transpose().map_err(flawed("mv_object", id.0))?;
            let [was, is] = [&old, &current].map(|view| view.iter().flat_map(MvView::values));
            changed_join_keys(was, is, &self.indexes.metaverse, self.seed, id.0, &mut self.follow.mv_join)
                .map_err(flawed("mv_object", id.0))?;
            for (view, change) in [(&old, -1), (&current, 1)] {
                if let Some(view) = view {
                    self.follow.count_blobs(view.values(), change).map_err(flawed("mv_object", id.0))?;
                }
            }
            rows.push((id.0, new));
        }
        let rows: Vec<_> = rows.iter().map(|(id, bytes)| (*id, bytes.as_deref())).collect();
        write_changed_rows(&mut table, &rows, self.tally)?;
        let lineages: Vec<_> = lineages.iter().map(|(id, bytes)| (*id, bytes.as_deref())).collect();
        self.rows(tables::LINEAGE, &lineages)
    }

    /// Writes references; returns the removed objects that others still refer to.
    fn cs_references(&mut self, references: Vec<CsReference>, deleted: &[CsId]) -> Result<Vec<CsId>, Fault> {
        let gone = |id: CsId| deleted.binary_search(&id).is_ok();
        let mut changes: Vec<((u64, u16, u64), u8)> = references
            .into_iter()
            .filter(|row| !gone(row.owner))
            .map(|row| ((row.owner.0, row.attr.0, row.target.0), row.state.0))
            .collect();
        if changes.is_empty() && deleted.is_empty() {
            return Ok(Vec::new());
        }
        let mut forward = self.transaction.open_table(tables::CS_REFERENCE)?;
        if !forward.is_empty()? {
            for id in deleted {
                for row in forward.range((id.0, 0, 0)..=(id.0, u16::MAX, u64::MAX))? {
                    changes.push((row?.0.value(), 0));
                }
            }
        }
        last_of_each(&mut changes);
        let last = forward.last()?.map(|(key, _)| key.value());
        let mut rows = Vec::with_capacity(changes.len());
        let (mut reverse, mut touched) = (Vec::new(), Vec::new());
        let mut counts: BTreeMap<(u64, u16), i64> = BTreeMap::new();
        for (key, state) in changes {
            let (owner, attr, target) = key;
            let old = if last.is_some_and(|last| key <= last) {
                self.tally.read += 1;
                forward.get(key)?.map_or(0, |row| row.value())
            } else {
                0
            };
            if old == state {
                continue;
            }
            self.moved.referred(CsId(target), old, state);
            if old == 0 || state == 0 {
                reverse.push(((target, attr, owner), (state != 0).then_some(())));
            }
            let change = i64::from(counts_as_wanted(state)) - i64::from(counts_as_wanted(old));
            if change != 0 {
                *counts.entry((owner, attr)).or_default() += change;
            }
            if is_touched(old) != is_touched(state) {
                touched.push((key, is_touched(state).then_some(())));
            }
            rows.push((key, (state != 0).then_some(state)));
        }
        write_changed_rows(&mut forward, &rows, self.tally)?;
        drop(forward);
        reverse.sort_unstable();
        self.rows(tables::CS_REFERRER, &reverse)?;
        self.rows(tables::CS_REFERENCE_TOUCHED, &touched)?;
        self.count(tables::CS_REFERENCE_COUNT, counts)?;
        let mut kept = Vec::new();
        if !deleted.is_empty() {
            let table = self.transaction.open_table(tables::CS_REFERRER)?;
            for id in deleted {
                if table.range((id.0, 0, 0)..=(id.0, u16::MAX, u64::MAX))?.next().transpose()?.is_some() {
                    kept.push(*id);
                }
            }
        }
        Ok(kept)
    }

    fn mv_references(&mut self, references: Vec<MvReference>, removed: Vec<(MvId, AttrId, MvId)>, deleted: &[MvId]) -> Result<(), Fault> {
        let gone = |id: MvId| deleted.binary_search(&id).is_ok();
        let mut changes: Vec<((u64, u16, u64), Option<u8>)> =
            removed.into_iter().map(|(owner, attr, target)| ((owner.0, attr.0, target.0), None)).collect();
        changes.extend(
            references
                .into_iter()
                .filter(|row| !gone(row.owner) && !gone(row.target))
                .map(|row| ((row.owner.0, row.attr.0, row.target.0), Some(row.contributor))),
        );
        if changes.is_empty() && deleted.is_empty() {
            return Ok(());
        }
        let mut forward = self.transaction.open_table(tables::MV_REFERENCE)?;
        if !deleted.is_empty() && !forward.is_empty()? {
            let reverse = self.transaction.open_table(tables::MV_REFERRER)?;
            for id in deleted {
                for row in forward.range((id.0, 0, 0)..=(id.0, u16::MAX, u64::MAX))? {
                    changes.push((row?.0.value(), None));
                }
                for row in reverse.range((id.0, 0, 0)..=(id.0, u16::MAX, u64::MAX))? {
                    let (target, attr, owner) = row?.0.value();
                    changes.push(((owner, attr, target), None));
                }
            }
        }
        last_of_each(&mut changes);
        let last = forward.last()?.map(|(key, _)| key.value());
        let mut reverse = Vec::new();
        let mut counts: BTreeMap<(u64, u16), i64> = BTreeMap::new();
        let mut rows = Vec::with_capacity(changes.len());
        for (key, row) in changes {
            let (owner, attr, target) = key;
            let known = last.is_some_and(|last| key <= last);
            self.tally.read += u64::from(known);
            let present = if known { forward.get(key)?.map(|row| row.value()) } else { None };
            if present == row {
                continue;
            }
            if present.is_some() != row.is_some() {
                reverse.push(((target, attr, owner), row.map(|_| ())));
                *counts.entry((owner, attr)).or_default() += if present.is_some() { -1 } else { 1 };
            }
            rows.push((key, row));
        }
        reverse.sort_unstable();
        write_changed_rows(&mut forward, &rows, self.tally)?;
        drop(forward);
        self.rows(tables::MV_REFERRER, &reverse)?;
        self.count(tables::MV_REFERENCE_COUNT, counts)
    }

    /// Adds to how many references there are by owner and attribute.
    fn count(
        &mut self,
        definition: redb::TableDefinition<'static, (u64, u16), u64>,
        changes: BTreeMap<(u64, u16), i64>,
    ) -> Result<(), Fault> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut table = self.transaction.open_table(definition)?;
        let mut rows = Vec::with_capacity(changes.len());
        for (key, change) in changes.into_iter().filter(|(_, change)| *change != 0) {
            let count = table.get(key)?.map_or(0, |row| row.value()).saturating_add_signed(change);
            rows.push((key, (count > 0).then_some(count)));
        }
        write_changed_rows(&mut table, &rows, self.tally)
    }

    /// Writes the rows that follow from objects.
    fn follow(&mut self, contents: Vec<Vec<u8>>) -> Result<(), Fault> {
        let follow = std::mem::take(&mut self.follow);
        if !follow.anchors.is_empty() {
            let claims = follow.anchors.iter().map(|((connector, key), claim)| ((*connector, &**key), *claim)).collect();
            let mut table = self.transaction.open_table(tables::CS_BY_ANCHOR)?;
            write_claims(&mut table, claims, Contested::Refuse("an anchor"), self.tally)?;
        }
        if !follow.names.is_empty() {
            let claims = follow.names.iter().map(|((connector, key), claim)| ((*connector, &**key), *claim)).collect();
            let mut table = self.transaction.open_table(tables::CS_BY_DN)?;
            let displaced = write_claims(&mut table, claims, Contested::Displace, self.tally)?;
            drop(table);
            self.displace(displaced)?;
        }
        if !follow.mv_links.is_empty() {
            let mut table = self.transaction.open_table(tables::MV_LINK)?;
            let refuse = Contested::Refuse("the link of a connector to a metaverse object");
            write_claims(&mut table, follow.mv_links, refuse, self.tally)?;
        }
        self.rows(tables::CS_LINK, &follow.links)?;
        for (definition, mut rows) in
            [(tables::CS_JOIN, follow.cs_join), (tables::MV_JOIN, follow.mv_join)].into_iter().filter(|(_, rows)| !rows.is_empty())
        {
            rows.sort_unstable_by_key(|(key, _)| *key);
            self.rows(definition, &rows)?;
        }
        let mut queue = follow.queue;
        queue.sort_unstable_by_key(|(key, _)| *key);
        self.rows(tables::QUEUE, &queue)?;
        self.blobs(follow.blobs, contents)?;
        if !follow.spaces.is_empty() {
            let mut table = self.transaction.open_table(tables::COUNTER)?;
            let mut rows = Vec::with_capacity(follow.spaces.len());
            for (connector, space) in follow.spaces {
                let key = (tables::counter::CS, connector);
                let (next, count) = table.get(key)?.map_or((1, 0), |row| row.value());
                rows.push((key, Some((next.max(space.next), count.saturating_add_signed(space.change)))));
                if space.anchored != 0 {
                    let key = (tables::counter::ANCHORED, connector);
                    let count = table.get(key)?.map_or(0, |row| row.value().1).saturating_add_signed(space.anchored);
                    rows.push((key, (count > 0).then_some((0, count))));
                }
            }
            rows.sort_unstable();
            write_rows(&mut table, &rows, self.tally)?;
        }
        Ok(())
    }

    /// Marks objects as displaced whose names others took: the next entry of each is compared, and gives it a name again.
    fn displace(&mut self, mut objects: Vec<CsId>) -> Result<(), Fault> {
        if objects.is_empty() {
            return Ok(());
        }
        objects.sort_unstable();
        objects.dedup();
        let mut table = self.transaction.open_table(tables::CS_OBJECT)?;
        let mut rows = Vec::with_capacity(objects.len());
        for id in &objects {
            let Some(record) = table.get(id.0)? else { continue };
            let view = CsView::new(record.value()).map_err(flawed("cs_object", id.0))?;
            // The link lies elsewhere.
            let mut object = view.decode(*id, Link::default()).map_err(flawed("cs_object", id.0))?;
            object.transient = true;
            rows.push((id.0, self.encoder.cs_object(&object).map_err(flawed("cs_object", id.0))?));
        }
        let rows: Vec<_> = rows.iter().map(|(id, record)| (*id, Some(record.as_slice()))).collect();
        write_rows(&mut table, &rows, self.tally)?;
        self.displaced = objects;
        Ok(())
    }

    fn blobs(&mut self, changes: HashMap<Blob, i64>, contents: Vec<Vec<u8>>) -> Result<(), Fault> {
        let mut contents: Vec<_> = contents.into_iter().map(|content| (Blob::of(&content), content)).collect();
        contents.sort_unstable_by_key(|(blob, _)| *blob);
        contents.dedup_by_key(|(blob, _)| *blob);
        let content = |key: (u128, u32)| {
            let blob = Blob { hash: key.0, length: key.1 };
            contents.binary_search_by_key(&blob, |(blob, _)| *blob).ok().map(|index| contents[index].1.as_slice())
        };
        let mut changes: Vec<_> = changes.into_iter().map(|(blob, change)| ((blob.hash, blob.length), change)).collect();
        // Contents for values that were there already: they repair a content that is missing.
        changes.extend(contents.iter().map(|(blob, _)| ((blob.hash, blob.length), 0)));
        changes.sort_unstable();
        changes.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                earlier.1 += later.1;
            }
            same
        });
        if changes.is_empty() {
            return Ok(());
        }
        let mut counts = self.transaction.open_table(tables::BLOB_COUNT)?;
        let mut count_rows = Vec::with_capacity(changes.len());
        let mut content_rows = Vec::new();
        for (key, change) in changes {
            self.tally.read += 1;
            let old = counts.get(key)?.map_or(0, |row| row.value());
            let new = old.saturating_add_signed(change);
            if new == 0 {
                if old > 0 {
                    count_rows.push((key, None));
                    content_rows.push((key, None));
                }
            } else {
                if old == 0 && content(key).is_none() {
                    return Err(Fault::damaged(format!("blob {:032x}", key.0), "a value points to a content that nobody gave"));
                }
                count_rows.push((key, Some(new)));
                content_rows.extend(content(key).map(|content| (key, Some(content))));
            }
        }
        write_rows(&mut counts, &count_rows, self.tally)?;
        drop(counts);
        self.rows(tables::BLOB, &content_rows)
    }
}

impl Follow {
    fn link(&mut self, id: CsId, old: Option<LinkRow>, new: Option<LinkRow>) -> Result<(), Flaw> {
        if old == new {
            return Ok(());
        }
        let mv = |row: Option<LinkRow>| row.map(record::decode_link).transpose().map(|link| link.and_then(Link::mv));
        let (old_mv, new_mv) = (mv(old)?, mv(new)?);
        if old_mv != new_mv {
            let connector = id.connector().0;
            self.mv_links.extend(old_mv.map(|mv| ((mv.0, connector), Claim::Release(id.0))));
            self.mv_links.extend(new_mv.map(|mv| ((mv.0, connector), Claim::Take(id.0))));
        }
        self.links.push((id.0, new));
        Ok(())
    }

    fn count_blobs<'v>(&mut self, values: impl Iterator<Item = Result<RawEntry<'v>, Flaw>>, change: i64) -> Result<(), Flaw> {
        for entry in values {
            if let Some(blob) = entry?.blob()? {
                *self.blobs.entry(blob).or_default() += change;
            }
        }
        Ok(())
    }
}

/// True when a reference in this state is in the wanted image, which is what is counted.
pub(super) fn counts_as_wanted(state: u8) -> bool {
    ValueState(state).present(StageMask::WANTED)
}

/// True when any stage does something to a reference in this state.
pub(super) fn is_touched(state: u8) -> bool {
    ValueState(state).is_touched()
}

/// Adds the index keys of an object's values, sorted and once each.
pub(super) fn join_keys<'v>(
    values: impl Iterator<Item = Result<RawEntry<'v>, Flaw>>,
    attributes: &[AttrId],
    seed: u64,
    id: u64,
    keys: &mut Vec<(u16, u64, u64)>,
) -> Result<(), Flaw> {
    if attributes.is_empty() {
        return Ok(());
    }
    let start = keys.len();
    for entry in values {
        let entry = entry?;
        if attributes.binary_search(&entry.attr).is_ok() {
            keys.push((entry.attr.0, join_hash(seed, entry.value()?), id));
        }
    }
    // Only the new tail: whoever collects the keys of many objects must not pay for all of them again and again.
    keys[start..].sort_unstable();
    let mut end = start;
    for at in start..keys.len() {
        if at == start || keys[at] != keys[end - 1] {
            keys[end] = keys[at];
            end += 1;
        }
    }
    keys.truncate(end);
    Ok(())
}

/// Rows of an index that lead from the values of an object before to those it has.
fn changed_join_keys<'v>(
    old: impl Iterator<Item = Result<RawEntry<'v>, Flaw>> + Clone,
    new: impl Iterator<Item = Result<RawEntry<'v>, Flaw>> + Clone,
    attributes: &[AttrId],
    seed: u64,
    id: u64,
    rows: &mut Vec<JoinRow>,
) -> Result<(), Flaw> {
    if attributes.is_empty() {
        return Ok(());
    }
    // Most changes leave all of these values alone, and what is spelt alike needs no key.
    let indexed = |entry: &Result<RawEntry<'_>, Flaw>| entry.as_ref().map_or(true, |entry| attributes.binary_search(&entry.attr).is_ok());
    let (mut was, mut is) = (old.clone().filter(indexed), new.clone().filter(indexed));
    loop {
        match (was.next().transpose()?, is.next().transpose()?) {
            (None, None) => return Ok(()),
            (Some(was), Some(is)) if was.same(is) => {}
            _ => break,
        }
    }
    let (mut before, mut after) = (Vec::new(), Vec::new());
    join_keys(old, attributes, seed, id, &mut before)?;
    join_keys(new, attributes, seed, id, &mut after)?;
    difference(before, after, rows);
    Ok(())
}

/// Rows that turn one sorted list of keys into another.
fn difference<K: Ord>(old: Vec<K>, new: Vec<K>, rows: &mut Vec<(K, Option<()>)>) {
    let (mut old, mut new) = (old.into_iter().peekable(), new.into_iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(old), Some(new)) => old.cmp(new),
        };
        match order {
            std::cmp::Ordering::Less => rows.extend(old.next().map(|key| (key, None))),
            std::cmp::Ordering::Greater => rows.extend(new.next().map(|key| (key, Some(())))),
            std::cmp::Ordering::Equal => {
                old.next();
                new.next();
            }
        }
    }
}
