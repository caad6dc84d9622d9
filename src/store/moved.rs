//! Notes which objects of watched connectors changed in a way that may decide whether a password is to be sent, and
//! where to. Costs one look at a small row for each transaction where nothing is watched.

use super::fault::Fault;
use super::password::{Watch, decode_watched};
use super::record::{CsView, Flaw};
use super::tables::{self, meta};
use super::write::Tally;
use crate::model::{CsId, Stage, ValueState};
use redb::{ReadableTable, WriteTransaction};
use std::collections::BTreeMap;

/// The watched connectors, and what of them moved in one transaction.
#[derive(Debug, Default)]
pub(super) struct Moved {
    watched: BTreeMap<u16, Watch>,
    ids: Vec<u64>,
    /// Metaverse objects that changed; one of the objects linked to each stands for it.
    metaverse: Vec<u64>,
}

impl Moved {
    /// Reads what is watched.
    pub(super) fn new(transaction: &WriteTransaction) -> Result<Self, Fault> {
        let table = transaction.open_table(tables::META)?;
        let watched = table.get(meta::WATCHED)?.map(|row| decode_watched(row.value())).unwrap_or_default();
        let watched = watched.into_iter().map(|(connector, watch)| (connector.0, watch)).collect();
        Ok(Self { watched, ..Self::default() })
    }

    fn watches(&self, id: CsId) -> bool {
        !self.watched.is_empty() && self.watched.contains_key(&id.connector().0)
    }

    /// The object's link changed.
    pub(super) fn link(&mut self, id: CsId) {
        if self.watches(id) {
            self.ids.push(id.0);
        }
    }

    /// The object's record changed.
    pub(super) fn record(&mut self, id: CsId, old: Option<&CsView<'_>>, new: Option<&CsView<'_>>) -> Result<(), Flaw> {
        if self.watches(id) && concerns(old, new)? {
            self.ids.push(id.0);
        }
        Ok(())
    }

    /// A reference to the object changed its state.
    pub(super) fn referred(&mut self, target: CsId, before: u8, after: u8) {
        if self.watched.get(&target.connector().0).is_some_and(|watch| watch.referred)
            && ValueState(before).in_base() != ValueState(after).in_base()
        {
            self.ids.push(target.0);
        }
    }

    /// A metaverse object that was there before changed.
    pub(super) fn metaverse(&mut self, id: u64) {
        if !self.watched.is_empty() {
            self.metaverse.push(id);
        }
    }

    /// Writes the marks: how often each object moved since somebody looked.
    pub(super) fn write(mut self, transaction: &WriteTransaction, tally: &mut Tally) -> Result<(), Fault> {
        if !self.metaverse.is_empty() {
            let links = transaction.open_table(tables::MV_LINK)?;
            for id in &self.metaverse {
                for row in links.range((*id, 0)..=(*id, u16::MAX))? {
                    let (key, object) = row?;
                    tally.read += 1;
                    if self.watched.contains_key(&key.value().1) {
                        self.ids.push(object.value());
                        break;
                    }
                }
            }
        }
        if self.ids.is_empty() {
            return Ok(());
        }
        self.ids.sort_unstable();
        self.ids.dedup();
        let mut table = transaction.open_table(tables::MOVED)?;
        for id in self.ids {
            let before = table.get(id)?.map_or(0, |row| row.value());
            table.insert(id, before.saturating_add(1))?;
            tally.read += 1;
            tally.written += 1;
        }
        Ok(())
    }
}

/// Takes marks away, but not those of objects that moved again since they were read.
pub(super) fn forget(transaction: &WriteTransaction, mut seen: Vec<(CsId, u64)>, tally: &mut Tally) -> Result<(), Fault> {
    if seen.is_empty() {
        return Ok(());
    }
    seen.sort_unstable();
    let mut table = transaction.open_table(tables::MOVED)?;
    for (id, times) in seen {
        tally.read += 1;
        if table.get(id.0)?.is_some_and(|row| row.value() == times) {
            table.remove(id.0)?;
            tally.written += 1;
        }
    }
    Ok(())
}

/// True when a change is more than news that synchronization has not looked at: presence, name, type, anchor, the base
/// image, or anything under way to a target.
fn concerns(old: Option<&CsView<'_>>, new: Option<&CsView<'_>>) -> Result<bool, Flaw> {
    let (Some(old), Some(new)) = (old, new) else { return Ok(true) };
    // Of stages the pending import alone is of no interest, but for whether it takes the object away.
    let exports = [Stage::Unconfirmed, Stage::InProgress, Stage::PendingExport].iter().fold(0, |set, stage| set | 1 << stage.index());
    if (old.stages() | new.stages()) & exports != 0 || old.standing() != new.standing() || old.object_type() != new.object_type() {
        return Ok(true);
    }
    if old.anchor()? != new.anchor()? || old.dn()? != new.dn()? {
        return Ok(true);
    }
    let (mut before, mut after) = (old.base_values(), new.base_values());
    loop {
        match (before.next().transpose()?, after.next().transpose()?) {
            (None, None) => return Ok(false),
            (Some(before), Some(after)) if before.same(after) => {}
            _ => return Ok(true),
        }
    }
}
