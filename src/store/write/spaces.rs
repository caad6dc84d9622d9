//! Connector spaces: objects with their references, and the indexes that follow from them.

use super::blobs::{self, Uses};
use super::joins::{JoinRow, changed_join_keys};
use super::rows::{Claim, Contested, Lane, last_of_each, write_changed_rows, write_claims, write_rows};
use super::{WORTH, flawed, side_by_side};
use crate::model::{Anchor, ConnectorId, CsId, CsObject, CsReference, Dn, DnKey, Link, StageMask, ValueState};
use crate::store::fault::Fault;
use crate::store::index::Indexes;
use crate::store::moved::Moved;
use crate::store::record::{self, CsView, Encoder, Flaw};
use crate::store::tables::{self, LinkRow, OwnedKey};
use redb::{ReadableTable, ReadableTableMetadata};
use std::collections::BTreeMap;

/// Rows of indexes that follow from objects, collected before any index is touched.
#[derive(Default)]
struct Follow {
    anchors: Vec<(OwnedKey, Claim)>,
    names: Vec<(OwnedKey, Claim)>,
    mv_links: Vec<((u64, u16), Claim)>,
    links: Vec<(u64, Option<LinkRow>)>,
    queue: Vec<((u8, u64), Option<()>)>,
    cs_join: Vec<JoinRow>,
}

/// How the counters of a space change.
#[derive(Default, Clone, Copy)]
struct Space {
    change: i64,
    anchored: i64,
    next: u64,
}

/// The key of a name; a text that is no name is kept as it is, behind an octet that no key of a name begins with,
/// so that an object is found by what the directory called it.
pub(in crate::store) fn name_key(dn: &str) -> DnKey {
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
pub(in crate::store) fn counts_as_anchored(anchor: Option<&[u8]>) -> bool {
    anchor.is_some_and(|anchor| !Anchor::is_of_placeholder(anchor))
}

pub(super) struct Spaces<'a> {
    pub(super) lane: Lane<'a>,
    indexes: &'a Indexes,
    seed: u64,
    encoder: Encoder,
    follow: Follow,
    counts: BTreeMap<u16, Space>,
    pub(super) blobs: Uses,
    pub(super) moved: Moved,
    /// Objects that lost their names to others in this set.
    pub(super) displaced: Vec<CsId>,
}

impl<'a> Spaces<'a> {
    pub(super) fn new(lane: Lane<'a>, indexes: &'a Indexes, seed: u64) -> Result<Self, Fault> {
        let moved = Moved::new(lane.transaction)?;
        let (encoder, follow, counts) = (Encoder::default(), Follow::default(), BTreeMap::new());
        Ok(Self { lane, indexes, seed, encoder, follow, counts, blobs: Uses::new(), moved, displaced: Vec::new() })
    }

    /// Writes all but counters. `deleted`: the removed objects, sorted.
    pub(super) fn write(&mut self, put: Vec<CsObject>, references: Vec<CsReference>, deleted: &[CsId]) -> Result<(), Fault> {
        let kept = self.cs_references(references, deleted)?;
        self.cs_objects(put, deleted, &kept)?;
        self.follow()
    }

    /// Writes and removes objects. Of the removed ones, those in `kept` stay as placeholders.
    fn cs_objects(&mut self, put: Vec<CsObject>, delete: &[CsId], kept: &[CsId]) -> Result<(), Fault> {
        let mut changes: Vec<(CsId, Option<CsObject>)> = put.into_iter().map(|object| (object.id, Some(object))).collect();
        changes.extend(delete.iter().map(|id| (*id, None)));
        last_of_each(&mut changes);
        if changes.is_empty() {
            return Ok(());
        }
        let mut table = self.lane.transaction.open_table(tables::CS_OBJECT)?;
        let links = self.lane.transaction.open_table(tables::CS_LINK)?;
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
            self.lane.tally.read += u64::from(known);
            self.lane.tally.bodies += u64::from(old.is_some());
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
            let space = self.counts.entry(id.connector().0).or_default();
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
        write_changed_rows(&mut table, &rows, &mut self.lane.tally)
    }

    /// True when another object has a key.
    fn is_anothers(&self, id: CsId, key: &Anchor) -> Result<bool, Fault> {
        let holder =
            self.lane.transaction.open_table(tables::CS_BY_ANCHOR)?.get((id.connector().0, key.as_bytes()))?.map(|row| row.value());
        Ok(holder.is_some_and(|holder| holder != id.0))
    }

    /// True when another object has the name of a placeholder, or gets it in this set.
    fn name_is_wanted(&self, placeholder: &CsObject, changes: &[(CsId, Option<CsObject>)]) -> Result<bool, Fault> {
        let key = name_key(&placeholder.dn);
        let names = self.lane.transaction.open_table(tables::CS_BY_DN)?;
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
            let space = self.counts.entry(connector).or_default();
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
                blobs::count(&mut self.blobs, view.values(), change)?;
            }
        }
        Ok(())
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
        let mut forward = self.lane.transaction.open_table(tables::CS_REFERENCE)?;
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
                self.lane.tally.read += 1;
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
        write_changed_rows(&mut forward, &rows, &mut self.lane.tally)?;
        drop(forward);
        reverse.sort_unstable();
        self.lane.rows(tables::CS_REFERRER, &reverse)?;
        self.lane.rows(tables::CS_REFERENCE_TOUCHED, &touched)?;
        self.lane.count(tables::CS_REFERENCE_COUNT, counts)?;
        let mut kept = Vec::new();
        if !deleted.is_empty() {
            let table = self.lane.transaction.open_table(tables::CS_REFERRER)?;
            for id in deleted {
                if table.range((id.0, 0, 0)..=(id.0, u16::MAX, u64::MAX))?.next().transpose()?.is_some() {
                    kept.push(*id);
                }
            }
        }
        Ok(kept)
    }

    /// Writes the rows that follow from objects: who has which key and name, and all others beside them.
    fn follow(&mut self) -> Result<(), Fault> {
        let Follow { anchors, names, mv_links, links, mut queue, mut cs_join } = std::mem::take(&mut self.follow);
        let mut beside = Lane::new(self.lane.transaction);
        let worth = anchors.len() + names.len() >= WORTH && links.len() + queue.len() + cs_join.len() >= WORTH;
        let outcome = side_by_side(
            worth,
            || self.claims(&anchors, &names),
            || {
                if !mv_links.is_empty() {
                    let mut table = beside.transaction.open_table(tables::MV_LINK)?;
                    let refuse = Contested::Refuse("the link of a connector to a metaverse object");
                    write_claims(&mut table, mv_links, refuse, &mut beside.tally)?;
                }
                beside.rows(tables::CS_LINK, &links)?;
                cs_join.sort_unstable_by_key(|(key, _)| *key);
                beside.rows(tables::CS_JOIN, &cs_join)?;
                queue.sort_unstable_by_key(|(key, _)| *key);
                beside.rows(tables::QUEUE, &queue)
            },
        );
        self.lane.tally += beside.tally;
        outcome
    }

    fn claims(&mut self, anchors: &[(OwnedKey, Claim)], names: &[(OwnedKey, Claim)]) -> Result<(), Fault> {
        if !anchors.is_empty() {
            let claims = anchors.iter().map(|((connector, key), claim)| ((*connector, &**key), *claim)).collect();
            let mut table = self.lane.transaction.open_table(tables::CS_BY_ANCHOR)?;
            write_claims(&mut table, claims, Contested::Refuse("an anchor"), &mut self.lane.tally)?;
        }
        if !names.is_empty() {
            let claims = names.iter().map(|((connector, key), claim)| ((*connector, &**key), *claim)).collect();
            let mut table = self.lane.transaction.open_table(tables::CS_BY_DN)?;
            let displaced = write_claims(&mut table, claims, Contested::Displace, &mut self.lane.tally)?;
            drop(table);
            self.displace(displaced)?;
        }
        Ok(())
    }

    /// Writes how many objects the spaces have, and which number the next one gets.
    pub(super) fn counters(&mut self) -> Result<(), Fault> {
        if self.counts.is_empty() {
            return Ok(());
        }
        let mut table = self.lane.transaction.open_table(tables::COUNTER)?;
        let mut rows = Vec::with_capacity(self.counts.len());
        for (connector, space) in &self.counts {
            let key = (tables::counter::CS, *connector);
            let (next, count) = table.get(key)?.map_or((1, 0), |row| row.value());
            rows.push((key, Some((next.max(space.next), count.saturating_add_signed(space.change)))));
            if space.anchored != 0 {
                let key = (tables::counter::ANCHORED, *connector);
                let count = table.get(key)?.map_or(0, |row| row.value().1).saturating_add_signed(space.anchored);
                rows.push((key, (count > 0).then_some((0, count))));
            }
        }
        rows.sort_unstable();
        write_rows(&mut table, &rows, &mut self.lane.tally)
    }

    /// Marks objects as displaced whose names others took: the next entry of each is compared, and gives it a name again.
    fn displace(&mut self, mut objects: Vec<CsId>) -> Result<(), Fault> {
        if objects.is_empty() {
            return Ok(());
        }
        objects.sort_unstable();
        objects.dedup();
        let mut table = self.lane.transaction.open_table(tables::CS_OBJECT)?;
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
        write_rows(&mut table, &rows, &mut self.lane.tally)?;
        self.displaced = objects;
        Ok(())
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
}

/// True when a reference in this state is in the wanted image, which is what is counted.
pub(in crate::store) fn counts_as_wanted(state: u8) -> bool {
    ValueState(state).present(StageMask::WANTED)
}

/// True when any stage does something to a reference in this state.
pub(in crate::store) fn is_touched(state: u8) -> bool {
    ValueState(state).is_touched()
}
