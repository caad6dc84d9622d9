//! Reading: a consistent view of one commit, as plain types of the model.

use super::event::{self, EventRecord};
use super::fault::Fault;
use super::history::{CounterName, RunRecord, StepObject};
use super::index::join_hash;
use super::password::{self, PasswordRecord, Watch};
use super::record::{self, CsView, Flaw, MvView};
use super::tables::{Tables, counter, meta};
use super::write::Tally;
use super::{DirtyReason, Inner, StoreError};
use crate::model::{
    AttrId, Blob, ConnectorId, CsId, CsObject, CsReference, DnKey, ErrorSide, Link, MvId, MvObject, MvReference, ObjectError, Retention,
    RunId, Stage, Timestamp, ValueRef, ValueState,
};
use redb::{AccessGuard, Key, ReadOnlyTable, ReadableTableMetadata, Value};
use std::fmt::Display;
use std::ops::Bound;
use std::sync::Arc;

/// A consistent view that never changes and never blocks a writer. Keep it short-lived: it pins old pages.
#[derive(Debug)]
pub struct Snapshot {
    pub(super) tables: Tables,
    inner: Arc<Inner>,
    /// Which opening of the file this view belongs to.
    opening: u64,
}

/// A range of anchors or names.
type KeyRange<'a> = (Bound<(u16, &'a [u8])>, Bound<(u16, &'a [u8])>);

type Row<K, V> = (AccessGuard<'static, K>, AccessGuard<'static, V>);

/// Reading. All lists are in ascending order of their keys; `after` and `limit` page through them.
impl Snapshot {
    pub(super) fn new(tables: Tables, inner: Arc<Inner>, opening: u64) -> Self {
        Self { tables, inner, opening }
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// One connector-space object with its link.
    pub fn cs_object(&self, id: CsId) -> Result<Option<CsObject>, StoreError> {
        self.guarded("read an object", || {
            let Some(bytes) = self.tables.cs_object.get(id.0)? else {
                self.read(1);
                return Ok(None);
            };
            self.read_bodies(1);
            let link = self.tables.cs_link.get(id.0)?.ok_or_else(|| flawed("cs_link", id, "the row is missing"))?;
            decode_cs(id, bytes.value(), link.value()).map(Some)
        })
    }

    /// Objects of a connector in the order of their ids, at most `limit`, beginning behind `after`.
    pub fn cs_scan(&self, connector: ConnectorId, after: Option<CsId>, limit: usize) -> Result<Vec<CsObject>, StoreError> {
        self.guarded("read objects", || {
            let range = ids(connector, after);
            let mut links = self.tables.cs_link.range(range)?;
            let mut objects = Vec::new();
            for row in self.tables.cs_object.range(range)?.take(limit) {
                let (id, bytes) = row?;
                let id = CsId(id.value());
                // Both tables have the same keys, so one step of each is one object.
                let link = links.next().transpose()?.filter(|(key, _)| key.value() == id.0);
                let (_, link) = link.ok_or_else(|| flawed("cs_link", id, "its rows and those of cs_object do not fit together"))?;
                objects.push(decode_cs(id, bytes.value(), link.value())?);
            }
            self.read_bodies(objects.len());
            Ok(objects)
        })
    }

    /// How many objects of a connector have a key of their own, in one read; placeholders have none.
    pub fn cs_anchored(&self, connector: ConnectorId) -> Result<u64, StoreError> {
        self.guarded("count anchors", || {
            Ok(self.get(&self.tables.counter, (counter::ANCHORED, connector.0))?.map_or(0, |row| row.value().1))
        })
    }

    /// How many objects a connector space holds, placeholders included.
    pub fn cs_count(&self, connector: ConnectorId) -> Result<u64, StoreError> {
        self.guarded("count objects", || Ok(self.get(&self.tables.counter, (counter::CS, connector.0))?.map_or(0, |row| row.value().1)))
    }

    /// How many of them are placeholders: names that others refer to, and nothing else. Reads a short row for each object.
    pub fn cs_placeholders(&self, connector: ConnectorId) -> Result<u64, StoreError> {
        let mut found = 0;
        self.cs_links(connector, &mut |_, link| found += u64::from(link == Link::Placeholder))?;
        Ok(found)
    }

    /// Calls `each` for every object of a connector space with how it stands to the metaverse, without reading the objects.
    pub fn cs_links(&self, connector: ConnectorId, each: &mut dyn FnMut(CsId, Link)) -> Result<(), StoreError> {
        self.guarded("read links", || {
            let mut read = 0;
            for row in self.tables.cs_link.range(ids(connector, None))? {
                let (id, link) = row?;
                let id = CsId(id.value());
                each(id, record::decode_link(link.value()).map_err(|flaw| flawed("cs_link", id, flaw))?);
                read += 1;
            }
            self.read(read);
            Ok(())
        })
    }

    /// The sequence number that the next new object of the connector gets. Numbers of removed objects do not return.
    pub fn cs_next_sequence(&self, connector: ConnectorId) -> Result<u64, StoreError> {
        self.guarded("read a number", || Ok(self.get(&self.tables.counter, (counter::CS, connector.0))?.map_or(1, |row| row.value().0)))
    }

    /// How an object stands to the metaverse, without reading the object.
    pub fn cs_link(&self, id: CsId) -> Result<Option<Link>, StoreError> {
        self.guarded("read a link", || {
            let row = self.get(&self.tables.cs_link, id.0)?;
            row.map(|row| record::decode_link(row.value()).map_err(|flaw| flawed("cs_link", id, flaw))).transpose()
        })
    }

    /// The canonical hash of the last imported image, if it may be trusted.
    pub fn cs_hash(&self, id: CsId) -> Result<Option<u128>, StoreError> {
        self.guarded("read a hash", || Ok(self.get(&self.tables.cs_hash, id.0)?.map(|row| row.value())))
    }

    /// Calls `each` for every stored hash of a connector.
    pub fn cs_hashes(&self, connector: ConnectorId, each: &mut dyn FnMut(CsId, u128)) -> Result<(), StoreError> {
        self.guarded("read hashes", || {
            let mut count = 0;
            for row in self.tables.cs_hash.range(ids(connector, None))? {
                let (id, hash) = row?;
                each(CsId(id.value()), hash.value());
                count += 1;
            }
            self.read(count);
            Ok(())
        })
    }

    /// Calls `each` for every anchor of a connector, also for the marked ones of placeholders.
    pub fn cs_anchors(&self, connector: ConnectorId, each: &mut dyn FnMut(&[u8], CsId)) -> Result<(), StoreError> {
        self.guarded("read anchors", || self.each_key(&self.tables.cs_by_anchor, connector, each))
    }

    /// Calls `each` for every name of a connector.
    pub fn cs_names(&self, connector: ConnectorId, each: &mut dyn FnMut(&[u8], CsId)) -> Result<(), StoreError> {
        self.guarded("read names", || self.each_key(&self.tables.cs_by_dn, connector, each))
    }

    fn each_key(
        &self,
        table: &ReadOnlyTable<(u16, &'static [u8]), u64>,
        connector: ConnectorId,
        each: &mut dyn FnMut(&[u8], CsId),
    ) -> Result<(), Fault> {
        let mut count = 0;
        for row in table.range::<(u16, &[u8])>(keys(connector, &[]))? {
            let (key, id) = row?;
            each(key.value().1, CsId(id.value()));
            count += 1;
        }
        self.read(count);
        Ok(())
    }

    /// The object with an anchor.
    pub fn cs_by_anchor(&self, connector: ConnectorId, anchor: &[u8]) -> Result<Option<CsId>, StoreError> {
        self.guarded("look up an anchor", || {
            self.read(1);
            Ok(self.tables.cs_by_anchor.get((connector.0, anchor))?.map(|row| CsId(row.value())))
        })
    }

    /// The object with a name. An object whose name another one took is not found by it.
    pub fn cs_by_dn(&self, connector: ConnectorId, dn: &DnKey) -> Result<Option<CsId>, StoreError> {
        self.guarded("look up a name", || {
            self.read(1);
            Ok(self.tables.cs_by_dn.get((connector.0, dn.as_bytes()))?.map(|row| CsId(row.value())))
        })
    }

    /// An object and everything below it, parents before children.
    pub fn cs_subtree(&self, connector: ConnectorId, dn: &DnKey) -> Result<Vec<CsId>, StoreError> {
        self.guarded("read a subtree", || {
            let mut found = Vec::new();
            for row in self.tables.cs_by_dn.range::<(u16, &[u8])>(keys(connector, dn.as_bytes()))? {
                let (key, id) = row?;
                if !key.value().1.starts_with(dn.as_bytes()) {
                    break;
                }
                found.push(CsId(id.value()));
            }
            self.read(found.len() + 1);
            Ok(found)
        })
    }

    /// Objects whose indexed attribute may have the value, compared folded; verify against the object.
    pub fn cs_join_candidates(&self, connector: ConnectorId, attr: AttrId, value: ValueRef<'_>) -> Result<Vec<CsId>, StoreError> {
        self.guarded("look up a join value", || {
            let hash = join_hash(self.inner.seed, value);
            let range = CsId::range(connector);
            let rows = self.tables.cs_join.range((attr.0, hash, range.start().0)..=(attr.0, hash, range.end().0))?;
            self.third(rows, CsId)
        })
    }

    /// All references of an object, in all states.
    pub fn cs_references(&self, owner: CsId) -> Result<Vec<CsReference>, StoreError> {
        self.reference_range(owner, 0, u16::MAX)
    }

    /// The references of one attribute of an object, in all states.
    pub fn cs_references_of(&self, owner: CsId, attr: AttrId) -> Result<Vec<CsReference>, StoreError> {
        self.reference_range(owner, attr.0, attr.0)
    }

    fn reference_range(&self, owner: CsId, first: u16, last: u16) -> Result<Vec<CsReference>, StoreError> {
        self.guarded("read references", || {
            let mut found = Vec::new();
            for row in self.tables.cs_reference.range((owner.0, first, 0)..=(owner.0, last, u64::MAX))? {
                let (key, state) = row?;
                let (_, attr, target) = key.value();
                let state = reference_state(owner, state.value())?;
                found.push(CsReference { owner, attr: AttrId(attr), target: CsId(target), state });
            }
            self.read(found.len());
            Ok(found)
        })
    }

    /// The references of an object that any stage touches: something of them is news, under way or wanted. Costs these, not
    /// the others.
    pub fn cs_touched_references(&self, owner: CsId) -> Result<Vec<CsReference>, StoreError> {
        self.guarded("read references", || {
            let mut found = Vec::new();
            for row in self.tables.cs_reference_touched.range((owner.0, 0, 0)..=(owner.0, u16::MAX, u64::MAX))? {
                let (_, attr, target) = row?.0.value();
                let state = self.tables.cs_reference.get((owner.0, attr, target))?;
                let state = state.ok_or_else(|| flawed("cs_reference_touched", owner, "a row of a reference that does not exist"))?;
                let state = reference_state(owner, state.value())?;
                found.push(CsReference { owner, attr: AttrId(attr), target: CsId(target), state });
            }
            self.read(2 * found.len());
            Ok(found)
        })
    }

    /// The state of one reference; absent when there is no row.
    pub fn cs_reference(&self, owner: CsId, attr: AttrId, target: CsId) -> Result<ValueState, StoreError> {
        self.guarded("read a reference", || {
            let row = self.get(&self.tables.cs_reference, (owner.0, attr.0, target.0))?;
            row.map_or(Ok(ValueState::ABSENT), |row| reference_state(owner, row.value()))
        })
    }

    /// How many references of one attribute are in the wanted image, in one read.
    pub fn cs_reference_count(&self, owner: CsId, attr: AttrId) -> Result<u64, StoreError> {
        self.guarded("count references", || Ok(self.get(&self.tables.cs_reference_count, (owner.0, attr.0))?.map_or(0, |row| row.value())))
    }

    /// The same for every reference attribute of an object that has any.
    pub fn cs_reference_counts(&self, owner: CsId) -> Result<Vec<(AttrId, u64)>, StoreError> {
        self.guarded("count references", || {
            let mut found = Vec::new();
            for row in self.tables.cs_reference_count.range((owner.0, 0)..=(owner.0, u16::MAX))? {
                let (key, count) = row?;
                found.push((AttrId(key.value().1), count.value()));
            }
            self.read(found.len().max(1));
            Ok(found)
        })
    }

    /// Who refers to an object, and by which attribute.
    pub fn cs_referrers(&self, target: CsId) -> Result<Vec<(AttrId, CsId)>, StoreError> {
        self.guarded("read referrers", || {
            let mut found = Vec::new();
            for row in self.tables.cs_referrer.range((target.0, 0, 0)..=(target.0, u16::MAX, u64::MAX))? {
                let (_, attr, owner) = row?.0.value();
                found.push((AttrId(attr), CsId(owner)));
            }
            self.read(found.len());
            Ok(found)
        })
    }

    /// Who refers to an object by one attribute.
    pub fn cs_referrers_by(&self, target: CsId, attr: AttrId) -> Result<Vec<CsId>, StoreError> {
        self.guarded("read referrers", || {
            let mut found = Vec::new();
            for row in self.tables.cs_referrer.range((target.0, attr.0, 0)..=(target.0, attr.0, u64::MAX))? {
                found.push(CsId(row?.0.value().2));
            }
            self.read(found.len());
            Ok(found)
        })
    }

    /// The octets behind a large value.
    pub fn blob(&self, blob: Blob) -> Result<Option<Vec<u8>>, StoreError> {
        self.guarded("read a large value", || {
            let Some(content) = self.get(&self.tables.blob, (blob.hash, blob.length))?.map(|row| row.value().to_vec()) else {
                return Ok(None);
            };
            if Blob::of(&content) != blob {
                return Err(Fault::damaged(format!("blob {:032x}", blob.hash), "the content is not what its key says"));
            }
            Ok(Some(content))
        })
    }

    /// Objects of a connector with something in a stage.
    pub fn queue(&self, stage: Stage, connector: ConnectorId, after: Option<CsId>, limit: usize) -> Result<Vec<CsId>, StoreError> {
        self.guarded("read a queue", || {
            let stage = record::stage_code(stage);
            let (start, end) = ids(connector, after);
            let mut found = Vec::new();
            for row in self.tables.queue.range((start.map(|id| (stage, id)), end.map(|id| (stage, id))))?.take(limit) {
                found.push(CsId(row?.0.value().1));
            }
            self.read(found.len());
            Ok(found)
        })
    }

    /// Connector-space objects marked for a new evaluation for another reason than a pending import.
    pub fn dirty(&self, connector: ConnectorId, after: Option<CsId>, limit: usize) -> Result<Vec<(CsId, DirtyReason)>, StoreError> {
        self.guarded("read marks", || {
            let mut found = Vec::new();
            for row in self.tables.dirty.range(ids(connector, after))?.take(limit) {
                let (id, reason) = row?;
                let id = CsId(id.value());
                found.push((id, record::reason(reason.value()).map_err(|flaw| flawed("dirty", id, flaw))?));
            }
            self.read(found.len());
            Ok(found)
        })
    }

    /// One metaverse object.
    pub fn mv_object(&self, id: MvId) -> Result<Option<MvObject>, StoreError> {
        self.guarded("read a metaverse object", || {
            let Some(bytes) = self.tables.mv_object.get(id.0)? else {
                self.read(1);
                return Ok(None);
            };
            self.read_bodies(1);
            let lineage = self.tables.lineage.get(id.0)?.ok_or_else(|| flawed("lineage", id, "the row is missing"))?;
            decode_mv(id, bytes.value(), lineage.value()).map(Some)
        })
    }

    /// Metaverse objects in the order of their ids.
    pub fn mv_scan(&self, after: Option<MvId>, limit: usize) -> Result<Vec<MvObject>, StoreError> {
        self.guarded("read metaverse objects", || {
            let range = (after.map_or(Bound::Unbounded, |id| Bound::Excluded(id.0)), Bound::Unbounded);
            let mut lineages = self.tables.lineage.range(range)?;
            let mut objects = Vec::new();
            for row in self.tables.mv_object.range(range)?.take(limit) {
                let (id, bytes) = row?;
                let id = MvId(id.value());
                let lineage = lineages.next().transpose()?.filter(|(key, _)| key.value() == id.0);
                let (_, lineage) = lineage.ok_or_else(|| flawed("lineage", id, "its rows and those of mv_object do not fit together"))?;
                objects.push(decode_mv(id, bytes.value(), lineage.value())?);
            }
            self.read_bodies(objects.len());
            Ok(objects)
        })
    }

    /// How many metaverse objects there are.
    pub fn mv_count(&self) -> Result<u64, StoreError> {
        self.guarded("count metaverse objects", || Ok(self.tables.mv_object.len()?))
    }

    /// The number that the next new metaverse object gets. Numbers of removed objects do not return.
    pub fn mv_next(&self) -> Result<MvId, StoreError> {
        self.guarded("read a number", || Ok(MvId(self.next(counter::MV)?)))
    }

    /// The object of a connector that is linked to a metaverse object.
    pub fn mv_link(&self, mv: MvId, connector: ConnectorId) -> Result<Option<CsId>, StoreError> {
        self.guarded("read a link", || Ok(self.get(&self.tables.mv_link, (mv.0, connector.0))?.map(|row| CsId(row.value()))))
    }

    /// All objects linked to a metaverse object, by connector.
    pub fn mv_links(&self, mv: MvId) -> Result<Vec<CsId>, StoreError> {
        self.guarded("read links", || {
            let mut found = Vec::new();
            for row in self.tables.mv_link.range((mv.0, 0)..=(mv.0, u16::MAX))? {
                found.push(CsId(row?.1.value()));
            }
            self.read(found.len());
            Ok(found)
        })
    }

    /// All references of a metaverse object.
    pub fn mv_references(&self, owner: MvId) -> Result<Vec<MvReference>, StoreError> {
        self.guarded("read references", || {
            let mut found = Vec::new();
            for row in self.tables.mv_reference.range((owner.0, 0, 0)..=(owner.0, u16::MAX, u64::MAX))? {
                let (key, contributor) = row?;
                let (_, attr, target) = key.value();
                found.push(MvReference { owner, attr: AttrId(attr), target: MvId(target), contributor: contributor.value() });
            }
            self.read(found.len());
            Ok(found)
        })
    }

    /// The contributor of one reference of a metaverse object; `None` when there is no such reference.
    pub fn mv_reference(&self, owner: MvId, attr: AttrId, target: MvId) -> Result<Option<u8>, StoreError> {
        self.guarded("read a reference", || Ok(self.get(&self.tables.mv_reference, (owner.0, attr.0, target.0))?.map(|row| row.value())))
    }

    /// How many references one attribute of a metaverse object has, in one read.
    pub fn mv_reference_count(&self, owner: MvId, attr: AttrId) -> Result<u64, StoreError> {
        self.guarded("count references", || Ok(self.get(&self.tables.mv_reference_count, (owner.0, attr.0))?.map_or(0, |row| row.value())))
    }

    /// Who refers to a metaverse object, and by which attribute.
    pub fn mv_referrers(&self, target: MvId) -> Result<Vec<(AttrId, MvId)>, StoreError> {
        self.guarded("read referrers", || {
            let mut found = Vec::new();
            for row in self.tables.mv_referrer.range((target.0, 0, 0)..=(target.0, u16::MAX, u64::MAX))? {
                let (_, attr, owner) = row?.0.value();
                found.push((AttrId(attr), MvId(owner)));
            }
            self.read(found.len());
            Ok(found)
        })
    }

    /// Metaverse objects whose indexed attribute may have the value, compared folded; verify against the object.
    pub fn mv_join_candidates(&self, attr: AttrId, value: ValueRef<'_>) -> Result<Vec<MvId>, StoreError> {
        self.guarded("look up a join value", || {
            let hash = join_hash(self.inner.seed, value);
            let rows = self.tables.mv_join.range((attr.0, hash, 0)..=(attr.0, hash, u64::MAX))?;
            self.third(rows, MvId)
        })
    }

    /// The problem of an object on one side.
    pub fn error(&self, id: CsId, side: ErrorSide) -> Result<Option<ObjectError>, StoreError> {
        self.guarded("read a problem", || {
            let row = self.get(&self.tables.object_error, (id.0, record::side_code(side)))?;
            row.map(|row| record::decode_error(row.value()).map_err(|flaw| flawed("object_error", id, flaw))).transpose()
        })
    }

    /// Problems of a connector's objects.
    pub fn errors(
        &self,
        connector: ConnectorId,
        after: Option<(CsId, ErrorSide)>,
        limit: usize,
    ) -> Result<Vec<(CsId, ErrorSide, ObjectError)>, StoreError> {
        self.guarded("read problems", || {
            let range = CsId::range(connector);
            let start = after.map_or(Bound::Included((range.start().0, 0)), |(id, side)| Bound::Excluded((id.0, record::side_code(side))));
            if start_is_behind(&start, &(range.end().0, u8::MAX)) {
                return Ok(Vec::new());
            }
            let mut found = Vec::new();
            for row in self.tables.object_error.range((start, Bound::Included((range.end().0, u8::MAX))))?.take(limit) {
                let (key, bytes) = row?;
                let (id, side) = key.value();
                let flawed = |flaw| flawed("object_error", CsId(id), flaw);
                found.push((CsId(id), record::side(side).map_err(flawed)?, record::decode_error(bytes.value()).map_err(flawed)?));
            }
            self.read(found.len());
            Ok(found)
        })
    }

    /// A watermark or other small state of a connector, by name.
    pub fn state(&self, connector: ConnectorId, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.guarded("read a state", || {
            self.read(1);
            Ok(self.tables.state.get((connector.0, name))?.map(|row| row.value().to_vec()))
        })
    }

    /// All connectors that keep a state under a name, with it. Reads the states of all connectors, which are few.
    pub fn states_named(&self, name: &str) -> Result<Vec<(ConnectorId, Vec<u8>)>, StoreError> {
        self.guarded("read states", || {
            let (mut found, mut count) = (Vec::new(), 0);
            for row in self.tables.state.range::<(u16, &str)>(..)? {
                let (key, value) = row?;
                let (connector, known) = key.value();
                count += 1;
                if known == name {
                    found.push((ConnectorId(connector), value.value().to_vec()));
                }
            }
            self.read(count);
            Ok(found)
        })
    }

    /// The names of all states of a connector, in order.
    pub fn state_names(&self, connector: ConnectorId) -> Result<Vec<String>, StoreError> {
        self.guarded("read the names of states", || {
            let end = connector.0.checked_add(1).map_or(Bound::Unbounded, |next| Bound::Excluded((next, "")));
            let mut names = Vec::new();
            for row in self.tables.state.range((Bound::Included((connector.0, "")), end))? {
                names.push(row?.0.value().1.to_owned());
            }
            self.read(names.len());
            Ok(names)
        })
    }

    /// What is remembered of the password of an account.
    pub fn password(&self, id: CsId) -> Result<Option<PasswordRecord>, StoreError> {
        self.guarded("read what is known of a password", || {
            let row = self.get(&self.tables.password, id.0)?;
            row.map(|row| password::decode(row.value()).map_err(|flaw| flawed("password", id, flaw))).transpose()
        })
    }

    /// What is remembered of the passwords of a connector's accounts, in the order of their ids.
    pub fn passwords(&self, connector: ConnectorId, after: Option<CsId>, limit: usize) -> Result<Vec<(CsId, PasswordRecord)>, StoreError> {
        self.guarded("read what is known of passwords", || {
            let mut found = Vec::new();
            for row in self.tables.password.range(ids(connector, after))?.take(limit) {
                let (id, bytes) = row?;
                let id = CsId(id.value());
                found.push((id, password::decode(bytes.value()).map_err(|flaw| flawed("password", id, flaw))?));
            }
            self.read(found.len());
            Ok(found)
        })
    }

    /// Accounts of a connector with something to do at `now`, those first that wait longest: behind `after`, at most `limit`.
    pub fn passwords_due(
        &self,
        connector: ConnectorId,
        now: Timestamp,
        after: Option<(Timestamp, CsId)>,
        limit: usize,
    ) -> Result<Vec<(Timestamp, CsId)>, StoreError> {
        self.passwords_until(connector, now, after, limit)
    }

    /// The same for those whose time is later than `behind`.
    pub fn passwords_later(
        &self,
        connector: ConnectorId,
        behind: Timestamp,
        after: Option<(Timestamp, CsId)>,
        limit: usize,
    ) -> Result<Vec<(Timestamp, CsId)>, StoreError> {
        let start = after.max(Some((behind, CsId(u64::MAX))));
        self.passwords_until(connector, Timestamp(i64::MAX), start, limit)
    }

    fn passwords_until(
        &self,
        connector: ConnectorId,
        end: Timestamp,
        after: Option<(Timestamp, CsId)>,
        limit: usize,
    ) -> Result<Vec<(Timestamp, CsId)>, StoreError> {
        self.guarded("read which passwords are due", || {
            let end = (connector.0, end.0, u64::MAX);
            let start =
                after.map_or(Bound::Included((connector.0, i64::MIN, 0)), |(time, id)| Bound::Excluded((connector.0, time.0, id.0)));
            if start_is_behind(&start, &end) {
                return Ok(Vec::new());
            }
            let mut found = Vec::new();
            for row in self.tables.password_due.range((start, Bound::Included(end)))?.take(limit) {
                let (_, time, id) = row?.0.value();
                found.push((Timestamp(time), CsId(id)));
            }
            self.read(found.len());
            Ok(found)
        })
    }

    /// Objects of a watched connector that moved since they were looked at, each with how often. They stay until a
    /// change set has them in [`moved_seen`](super::ChangeSet::moved_seen).
    pub fn moved(&self, connector: ConnectorId, after: Option<CsId>, limit: usize) -> Result<Vec<(CsId, u64)>, StoreError> {
        self.guarded("read which objects moved", || {
            let mut found = Vec::new();
            for row in self.tables.moved.range(ids(connector, after))?.take(limit) {
                let (id, times) = row?;
                found.push((CsId(id.value()), times.value()));
            }
            self.read(found.len());
            Ok(found)
        })
    }

    /// The connectors whose objects are noted when they move.
    pub fn watched(&self) -> Result<Vec<(ConnectorId, Watch)>, StoreError> {
        self.guarded("read what is watched", || {
            self.read(1);
            Ok(self.tables.meta.get(meta::WATCHED)?.map(|row| password::decode_watched(row.value())).unwrap_or_default())
        })
    }

    /// The newest runs first: those before `before`, or the very newest.
    pub fn runs(&self, before: Option<RunId>, limit: usize) -> Result<Vec<RunRecord>, StoreError> {
        self.guarded("read runs", || {
            let range = (Bound::Unbounded, before.map_or(Bound::Unbounded, |run| Bound::Excluded(run.0)));
            let mut found = Vec::new();
            for row in self.tables.run.range::<u64>(range)?.rev().take(limit) {
                let (id, bytes) = row?;
                let id = RunId(id.value());
                found.push(record::decode_run(id, bytes.value()).map_err(|flaw| flawed("run", id, flaw))?);
            }
            self.read(found.len());
            Ok(found)
        })
    }

    /// The runs that are older than they are kept, the oldest first. Reads these, and of the others no more than tells them apart.
    pub fn old_runs(&self, retention: Retention) -> Result<Vec<RunId>, StoreError> {
        self.guarded("read runs", || {
            let mut runs = Vec::new();
            let began = self.tables.run.range::<u64>(..)?.map(|row| -> Result<Timestamp, Fault> {
                let (id, bytes) = row?;
                let id = RunId(id.value());
                runs.push(id);
                Ok(record::decode_run(id, bytes.value()).map_err(|flaw| flawed("run", id, flaw))?.started)
            });
            let old = retention.old(began)?;
            self.read(runs.len());
            runs.truncate(old);
            Ok(runs)
        })
    }

    /// Events of the journal behind a place in it, the oldest first.
    pub fn events(&self, after: Option<u64>, limit: usize) -> Result<Vec<EventRecord>, StoreError> {
        let range = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        self.guarded("read events", || {
            let rows = self.tables.event.range::<u64>(range)?.take(limit);
            self.read_events(rows)
        })
    }

    /// Events of the journal before a place in it, the newest first.
    pub fn events_back(&self, before: Option<u64>, limit: usize) -> Result<Vec<EventRecord>, StoreError> {
        let range = (Bound::Unbounded, before.map_or(Bound::Unbounded, Bound::Excluded));
        self.guarded("read events", || {
            let rows = self.tables.event.range::<u64>(range)?.rev().take(limit);
            self.read_events(rows)
        })
    }

    fn read_events<'r>(
        &self,
        rows: impl Iterator<Item = Result<(AccessGuard<'r, u64>, AccessGuard<'r, &'static [u8]>), redb::StorageError>>,
    ) -> Result<Vec<EventRecord>, Fault> {
        let mut found = Vec::new();
        for row in rows {
            let (sequence, bytes) = row?;
            let sequence = sequence.value();
            found.push(event::decode(sequence, bytes.value()).map_err(|flaw| flawed("event", sequence, flaw))?);
        }
        self.read(found.len());
        Ok(found)
    }

    /// One run with its steps.
    pub fn run(&self, id: RunId) -> Result<Option<RunRecord>, StoreError> {
        self.guarded("read a run", || {
            let row = self.get(&self.tables.run, id.0)?;
            row.map(|row| record::decode_run(id, row.value()).map_err(|flaw| flawed("run", id, flaw))).transpose()
        })
    }

    /// The objects behind a counter of a step.
    #[expect(clippy::needless_pass_by_value, reason = "names of counters are cheap, and most callers have one to give")]
    pub fn step_objects(
        &self,
        run: RunId,
        step: u32,
        counter: CounterName,
        after: Option<CsId>,
        limit: usize,
    ) -> Result<Vec<StepObject>, StoreError> {
        self.guarded("read the objects of a step", || {
            let key = |id: u64| (run.0, step, counter.0.as_ref(), id);
            let start = after.map_or(Bound::Included(key(0)), |id| Bound::Excluded(key(id.0)));
            if start_is_behind(&start, &key(u64::MAX)) {
                return Ok(Vec::new());
            }
            let mut found = Vec::new();
            for row in self.tables.step_object.range((start, Bound::Included(key(u64::MAX))))?.take(limit) {
                let (key, bytes) = row?;
                let id = CsId(key.value().3);
                found.push(record::decode_step_object(counter.clone(), id, bytes.value()).map_err(|flaw| flawed("step_object", id, flaw))?);
            }
            self.read(found.len());
            Ok(found)
        })
    }

    /// The number that the next run gets.
    pub fn next_run(&self) -> Result<RunId, StoreError> {
        self.guarded("read a number", || Ok(RunId(self.next(counter::RUN)?)))
    }

    fn next(&self, kind: u8) -> Result<u64, Fault> {
        Ok(self.get(&self.tables.counter, (kind, 0))?.map_or(1, |row| row.value().0))
    }

    pub(super) fn guarded<T>(&self, action: &'static str, work: impl FnOnce() -> Result<T, Fault>) -> Result<T, StoreError> {
        self.inner.run_in(self.opening, action, work)
    }

    fn get<K: Key + 'static, V: Value + 'static>(
        &self,
        table: &ReadOnlyTable<K, V>,
        key: K::SelfType<'static>,
    ) -> Result<Option<AccessGuard<'static, V>>, Fault> {
        self.read(1);
        Ok(table.get(key)?)
    }

    /// The ids of index rows, ascending.
    fn third<T>(
        &self,
        rows: impl Iterator<Item = Result<Row<(u16, u64, u64), ()>, redb::StorageError>>,
        id: impl Fn(u64) -> T,
    ) -> Result<Vec<T>, Fault> {
        let mut found = Vec::new();
        for row in rows {
            found.push(id(row?.0.value().2));
        }
        self.read(found.len().max(1));
        Ok(found)
    }

    /// Counts records of objects, each with its row of link or lineage.
    fn read_bodies(&self, objects: usize) {
        self.inner.counts.add(Tally { read: 2 * objects as u64, bodies: objects as u64, written: 0 });
    }

    fn read(&self, rows: usize) {
        self.inner.counts.add(Tally { read: rows as u64, ..Tally::default() });
    }
}

fn decode_cs(id: CsId, bytes: &[u8], link: (u8, u64, u32)) -> Result<CsObject, Fault> {
    let link = record::decode_link(link).map_err(|flaw| flawed("cs_link", id, flaw))?;
    CsView::new(bytes).and_then(|view| view.decode(id, link)).map_err(|flaw| flawed("cs_object", id, flaw))
}

fn decode_mv(id: MvId, bytes: &[u8], lineage: &[u8]) -> Result<MvObject, Fault> {
    let lineage = record::decode_lineage(lineage).map_err(|flaw| flawed("lineage", id, flaw))?;
    MvView::new(bytes).and_then(|view| view.decode(id, lineage)).map_err(|flaw| flawed("mv_object", id, flaw))
}

fn reference_state(owner: CsId, state: u8) -> Result<ValueState, Fault> {
    let state = ValueState(state);
    if state.is_valid() { Ok(state) } else { Err(flawed("cs_reference", owner, "a reference in an undefined state")) }
}

fn flawed(table: &str, id: impl Display, flaw: Flaw) -> Fault {
    Fault::damaged(format!("{table} {id}"), flaw)
}

/// The ids of a connector behind `after`. An `after` of another connector before it means all, behind it none.
fn ids(connector: ConnectorId, after: Option<CsId>) -> (Bound<u64>, Bound<u64>) {
    let range = CsId::range(connector);
    let (start, end) = (range.start().0, range.end().0);
    match after {
        Some(after) if after.0 >= end => (Bound::Excluded(end), Bound::Included(end)),
        Some(after) if after.0 >= start => (Bound::Excluded(after.0), Bound::Included(end)),
        _ => (Bound::Included(start), Bound::Included(end)),
    }
}

/// The keys of a connector from `start` on.
fn keys(connector: ConnectorId, start: &[u8]) -> KeyRange<'_> {
    let end = connector.0.checked_add(1).map_or(Bound::Unbounded, |next| Bound::Excluded((next, &[][..])));
    (Bound::Included((connector.0, start)), end)
}

/// True when nothing can lie between a start and an inclusive end; such ranges are not asked for.
fn start_is_behind<K: PartialOrd>(start: &Bound<K>, end: &K) -> bool {
    match start {
        Bound::Included(start) => start > end,
        Bound::Excluded(start) => start >= end,
        Bound::Unbounded => false,
    }
}
