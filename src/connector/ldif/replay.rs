//! What becomes of an entry under the change records that follow it.
//!
//! Each entry is followed on its own, from name to name: the next record that counts is the first one, behind those that
//! counted already, which names it, or which renames a name above it. So a directory of any size passes by while only
//! its changes are held in memory.

use super::drop::Changes;
use crate::connector::directory::{ImportPlan, Known};
use crate::model::{Dn, DnKey, ValueKind};
use crate::protocol::ldif::{ModifyOperation, Record, RecordKind};
use std::borrow::Cow;
use std::collections::HashMap;

/// Change records by the names they are about.
pub(super) struct Replay<'c> {
    changes: &'c Changes,
    names: Vec<Option<Dn>>,
    /// Numbers of records by name, ascending.
    of: HashMap<DnKey, Vec<usize>>,
    /// Those that give another name, by the old one.
    renames: HashMap<DnKey, Vec<usize>>,
    used: Vec<bool>,
}

/// Where an entry is in the end, and which records counted on the way.
pub(super) struct Fate {
    pub(super) dn: Dn,
    pub(super) counted: Vec<usize>,
}

/// One value of an entry.
pub(super) struct Placed<'v> {
    /// What the import does with it.
    pub(super) known: Known,
    pub(super) octets: Cow<'v, [u8]>,
    /// The first record behind it.
    since: usize,
}

impl<'v> Placed<'v> {
    pub(super) fn new(known: Known, octets: &'v [u8], since: usize) -> Self {
        Self { known, octets: Cow::Borrowed(octets), since }
    }
}

/// The values of an entry.
pub(super) type Values<'v> = Vec<Placed<'v>>;

impl<'c> Replay<'c> {
    pub(super) fn new(changes: &'c Changes) -> Self {
        let mut replay = Self {
            changes,
            names: Vec::with_capacity(changes.records.len()),
            of: HashMap::new(),
            renames: HashMap::new(),
            used: vec![false; changes.records.len()],
        };
        for (number, (_, record)) in changes.records.iter().enumerate() {
            let dn = Dn::parse(&record.dn).ok().filter(|dn| dn.depth() > 0);
            if let Some(dn) = &dn {
                let key = dn.key();
                if matches!(record.kind, RecordKind::Rename { .. }) {
                    replay.renames.entry(key.clone()).or_default().push(number);
                }
                replay.of.entry(key).or_default().push(number);
            }
            replay.names.push(dn);
        }
        replay
    }

    /// True when somebody is renamed, so that references may have to follow.
    pub(super) fn renames(&self) -> bool {
        !self.renames.is_empty()
    }

    /// True when nothing changes anything.
    pub(super) fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// The name of a record, if it is legible.
    pub(super) fn name(&self, number: usize) -> Option<&Dn> {
        self.names[number].as_ref()
    }

    /// Records that changed nothing that is known.
    pub(super) fn unused(&self) -> impl Iterator<Item = usize> {
        (0..self.used.len()).filter(|number| !self.used[*number])
    }

    /// Follows an entry that has this name in front of record `from`. `None` when it is gone in the end, or replaced.
    pub(super) fn follow(&mut self, dn: &Dn, from: usize) -> Option<Fate> {
        let (mut dn, mut from, mut counted) = (Cow::Borrowed(dn), from, Vec::new());
        while let Some((number, above)) = self.next(&dn, from) {
            self.used[number] = true;
            from = number + 1;
            match &self.changes.records[number].1.kind {
                RecordKind::Rename { .. } => {
                    dn = Cow::Owned(self.renamed(&dn, number, above)?);
                    if above == 0 {
                        counted.push(number);
                    }
                }
                RecordKind::Modify => counted.push(number),
                // What is added under its name takes its place.
                RecordKind::Delete | RecordKind::Add | RecordKind::Content => return None,
            }
        }
        Some(Fate { dn: dn.into_owned(), counted })
    }

    /// The next record for a name, and how many components the name has below that of the record.
    fn next(&self, dn: &Dn, from: usize) -> Option<(usize, usize)> {
        let first = |numbers: &Vec<usize>| numbers.get(numbers.partition_point(|number| *number < from)).copied();
        let mut key = dn.key();
        let mut next = self.of.get(&key).and_then(first).map(|number| (number, 0));
        if self.renames.is_empty() {
            return next;
        }
        for above in 1..dn.depth() {
            key = key.parent();
            let other = self.renames.get(&key).and_then(first).map(|number| (number, above));
            next = [next, other].into_iter().flatten().min();
        }
        next
    }

    /// The name that a rename leaves; `None` when it makes no name.
    fn renamed(&self, dn: &Dn, number: usize, above: usize) -> Option<Dn> {
        let new = new_name(self.names[number].as_ref()?, &self.changes.records[number].1)?;
        let own: Vec<&str> = (0..above).filter_map(|index| dn.rdn(index)).collect();
        Dn::parse(&own.into_iter().chain([new.as_str()]).collect::<Vec<_>>().join(",")).ok()
    }

    /// References follow whoever is renamed, as they do in a directory that looks after them, and in a delta import.
    pub(super) fn settle(&self, plan: &ImportPlan, values: &mut Values<'_>, until: usize) {
        if self.renames.is_empty() {
            return;
        }
        for value in values.iter_mut().filter(|value| is_reference(plan, value.known)) {
            let name = std::str::from_utf8(&value.octets).ok().and_then(|text| Dn::parse(text).ok());
            if let Some(dn) = name.and_then(|name| self.trace(name, value.since, until)) {
                value.octets = Cow::Owned(dn.as_str().as_bytes().to_vec());
            }
            value.since = until;
        }
    }

    /// The name of whoever had this one in front of record `from`, in front of record `until`; `None` when it is the same.
    fn trace(&self, mut dn: Dn, mut from: usize, until: usize) -> Option<Dn> {
        let mut changed = false;
        while let Some((number, above)) = self.next(&dn, from).filter(|(number, _)| *number < until) {
            from = number + 1;
            match self.changes.records[number].1.kind {
                RecordKind::Rename { .. } => {
                    dn = self.renamed(&dn, number, above)?;
                    changed = true;
                }
                RecordKind::Modify => {}
                RecordKind::Delete | RecordKind::Add | RecordKind::Content => break,
            }
        }
        changed.then_some(dn)
    }

    /// Applies a record that counted to the values of an entry; `None` when what it says of the name cannot be used.
    pub(super) fn apply<'v>(&self, number: usize, plan: &ImportPlan, values: &mut Values<'v>) -> Option<()>
    where
        'c: 'v,
    {
        self.settle(plan, values, number);
        let record = &self.changes.records[number].1;
        if let RecordKind::Rename { .. } = record.kind {
            for (name, operation, value) in naming_changes(self.names[number].as_ref()?, record)? {
                if let Some(known) = plan.known(&name) {
                    change(values, plan, operation, known, vec![Placed { known, octets: Cow::Owned(value), since: number + 1 }]);
                }
            }
            return Some(());
        }
        for part in record.changes() {
            if let Some(known) = plan.known(part.name) {
                let told = part.values().map(|value| Placed::new(known, value.octets, number + 1)).collect();
                change(values, plan, part.operation, known, told);
            }
        }
        Some(())
    }
}

fn is_reference(plan: &ImportPlan, known: Known) -> bool {
    plan.attribute(known).is_some_and(|(_, kind)| kind == ValueKind::Reference)
}

fn change<'v>(values: &mut Values<'v>, plan: &ImportPlan, operation: ModifyOperation, known: Known, told: Values<'v>) {
    let reference = is_reference(plan, known);
    let same = |left: &[u8], right: &[u8]| left == right || (reference && same_name(left, right));
    match operation {
        ModifyOperation::Delete if !told.is_empty() => {
            values.retain(|value| value.known != known || !told.iter().any(|told| same(&told.octets, &value.octets)));
            return;
        }
        ModifyOperation::Delete | ModifyOperation::Replace => values.retain(|value| value.known != known),
        ModifyOperation::Add => {}
    }
    for told in told {
        if !values.iter().any(|present| present.known == known && same(&present.octets, &told.octets)) {
            values.push(told);
        }
    }
}

fn same_name(left: &[u8], right: &[u8]) -> bool {
    let name = |octets: &[u8]| std::str::from_utf8(octets).ok().and_then(|text| Dn::parse(text).ok()).map(|dn| dn.key());
    name(left).is_some_and(|left| Some(left) == name(right))
}

/// The name behind a rename record; `None` when it is none.
pub(super) fn new_name(old: &Dn, record: &Record) -> Option<Dn> {
    let RecordKind::Rename { new_rdn, new_superior, .. } = &record.kind else { return None };
    let parent = match new_superior {
        Some(parent) => Some(Dn::parse(parent).ok()?).filter(|parent| parent.depth() > 0),
        None => old.parent(),
    };
    let text = parent.map_or_else(|| new_rdn.clone(), |parent| format!("{new_rdn},{parent}"));
    Dn::parse(&text).ok().filter(|dn| dn.depth() > 0)
}

/// What a rename does to the attribute that names the entry. `None` for names of several attributes.
pub(super) fn naming_changes(old: &Dn, record: &Record) -> Option<Vec<(String, ModifyOperation, Vec<u8>)>> {
    let RecordKind::Rename { delete_old_rdn, .. } = &record.kind else { return None };
    let (old_name, old_value) = old.naming_value()?;
    let new = new_name(old, record)?;
    let (name, value) = new.naming_value()?;
    let mut changes = Vec::with_capacity(2);
    if *delete_old_rdn {
        changes.push((old_name.to_owned(), ModifyOperation::Delete, old_value));
    }
    changes.push((name.to_owned(), ModifyOperation::Add, value));
    Some(changes)
}
