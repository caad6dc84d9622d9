//! Attributes that many objects lose altogether in one import: a right to read that was taken away, or a column that an export
//! of a directory left out, looks exactly like that.

use super::disbelief::noting;
use super::{EngineError, Import, StepRecorder, Verdict};
use crate::model::{AttrId, CsId, CsObject, CsReference, FlatValues, StageMask, ValueState, counted};
use crate::store::{ChangeSet, StoreError};
use std::collections::{BTreeMap, BTreeSet};

/// Fewer objects may lose an attribute, whatever their share.
const OF_AN_ATTRIBUTE: u64 = 5;
/// So many may not, when nobody has it any more.
const OF_ALL: u64 = 3;
/// So many objects, and so many attributes, are named.
const SAMPLED: usize = 3;
/// Objects read at once.
const PAGE: usize = 1_000;

/// Attributes that objects tied to the metaverse had and lost in this import, with all of their values.
#[derive(Debug, Default)]
pub(super) struct Losses(BTreeMap<AttrId, Loss>);

#[derive(Debug, Default)]
struct Loss {
    count: u64,
    /// Some of the objects, by name.
    sample: Vec<Box<str>>,
}

/// The attributes of an object as it was synchronized last, those of references among them: what an import before this one staged may be
/// what a guard stopped.
pub(super) fn attributes_of_base(values: &FlatValues, references: &[CsReference]) -> Vec<AttrId> {
    let in_base = |flags: u8| ValueState(flags).in_base();
    let values = values.iter().filter(|item| in_base(item.flags)).map(|item| item.attr);
    let mut attributes: Vec<AttrId> = values.chain(references.iter().filter(|row| in_base(row.state.0)).map(|row| row.attr)).collect();
    attributes.sort_unstable();
    attributes.dedup();
    attributes
}

impl Import<'_> {
    /// Notes that an object lost all values of some attributes. Before many have, it becomes durable that nothing counts until the
    /// end of this import has judged it: whatever breaks off before must not be synchronized.
    pub(super) fn note_losses(&mut self, object: &CsObject, lost: &[AttrId], changes: &mut ChangeSet) {
        let options = self.options;
        if object.link.mv().is_none() {
            return;
        }
        for attr in lost.iter().filter(|attr| options.attributes.contains(attr) && !options.managed.contains(attr)) {
            let loss = self.losses.0.entry(*attr).or_default();
            loss.count += 1;
            if loss.sample.len() < SAMPLED {
                loss.sample.push(object.dn.clone());
            }
            if loss.count == OF_ALL && options.full && !options.allow_shrink && self.verdict.is_none() {
                self.verdict = Some(Verdict::Losses);
                changes.states.extend(noting(options.connector, Verdict::Losses).states);
            }
        }
    }

    /// Refuses to believe that an attribute vanished from most of those who had it.
    pub(super) fn guard_losses(&self, recorder: &mut StepRecorder<'_>) -> Result<(), EngineError> {
        let suspects: BTreeSet<AttrId> = self.losses.0.iter().filter(|(_, loss)| loss.count >= OF_ALL).map(|(attr, _)| *attr).collect();
        if suspects.is_empty() || self.options.allow_shrink {
            return Ok(());
        }
        let kept = self.holders(&suspects)?;
        let limit = u64::from(self.options.shrink_percent_max);
        let told: Vec<String> = suspects
            .iter()
            .filter_map(|attr| {
                let (lost, kept) = (self.losses.0.get(attr)?, kept.get(attr).copied().unwrap_or(0));
                let had = lost.count + kept;
                let most = lost.count >= OF_AN_ATTRIBUTE && lost.count.saturating_mul(100) > had.saturating_mul(limit);
                (kept == 0 || most).then(|| {
                    let name = self.store.names().name(*attr);
                    format!("{name} from {} of the {had} that had it, among them {}", lost.count, lost.sample.join("; "))
                })
            })
            .collect();
        let Some(first) = suspects.iter().find_map(|attr| self.losses.0.get(attr)?.sample.first()).filter(|_| !told.is_empty()) else {
            return Ok(());
        };
        self.disbelieve(Verdict::Stopped, recorder)?;
        let more = match told.len().saturating_sub(SAMPLED) {
            0 => String::new(),
            more => format!(", and {}", counted(more as u64, "more attribute", "more attributes")),
        };
        let name = &self.options.name;
        let message = format!(
            "values vanished from many objects of '{name}' at once: {}{more}. What was staged was taken back, and nothing of it is synchronized \
             before an import that reads everything is believed. Look at the rights of the account that reads (`syncline doctor`), at whoever \
             made the file, and at one of them: `syncline object explain '{first}'`. If the values are really gone, allow it once with \
             `syncline run start '{name}' full-import --allow-shrink`",
            told.iter().take(SAMPLED).map(String::as_str).collect::<Vec<_>>().join(", ")
        );
        Err(EngineError::Guard { result: "stopped-shrink-guard", message })
    }

    /// How many of those that are there, and are tied to the metaverse, have some attributes. Reads the whole space: nobody asks unless many lost one of them.
    fn holders(&self, attributes: &BTreeSet<AttrId>) -> Result<BTreeMap<AttrId, u64>, StoreError> {
        let snapshot = self.store.snapshot()?;
        let (mut holders, mut after) = (BTreeMap::new(), None::<CsId>);
        loop {
            let objects = snapshot.cs_scan(self.options.connector, after, PAGE)?;
            let Some(last) = objects.last() else { return Ok(holders) };
            after = Some(last.id);
            for object in objects.iter().filter(|object| object.link.mv().is_some() && self.lookup.is_seen(object.id)) {
                for attr in attributes {
                    let has = object.values.attribute(*attr).any(|item| ValueState(item.flags).present(StageMask::IMPORTED));
                    if has || snapshot.cs_reference_count(object.id, *attr)? > 0 {
                        *holders.entry(*attr).or_default() += 1;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::connector::{Completion, ImportPage, Operation, PageBuilder};
    use crate::context::Context;
    use crate::engine::import::tests::{SPACE, consume};
    use crate::engine::import::{ImportOptions, import, verdict};
    use crate::engine::{Silent, StepRecorder};
    use crate::model::{Link, MvId, MvObject, RunId, ValueRef};
    use crate::store::{ChangeSet, Store};

    /// Six people of a class, with an attribute or without.
    fn people(store: &Store, class: &str, attribute: Option<&str>) -> ImportPage {
        let mut page = PageBuilder::new();
        for number in 1..=6 {
            page.begin_entry(&format!("CN=p{number}"));
            page.anchor(&[number]);
            page.object_type(store.names().object_type(class));
            for attribute in attribute.into_iter().chain(["mail"]) {
                page.attribute(store.names().intern(attribute), Operation::Replace);
                page.value(ValueRef::Text("512"));
            }
            page.finish();
        }
        page.build(Some(Completion::default()))
    }

    fn told(store: &Store, page: ImportPage, takes_exports: bool) -> String {
        let attributes = ["mail", "department", "userAccountControl"].map(|name| store.names().intern(name)).to_vec();
        let options = ImportOptions { takes_exports, ..ImportOptions::full(SPACE, "A", attributes, (RunId(1), 1)) };
        let mut silent = Silent;
        let result = import(store, std::iter::once(Ok(page)), &options, &Context::system(), &mut StepRecorder::new(&mut silent));
        result.map_or_else(|error| error.result().to_owned(), str::to_owned)
    }

    /// All six with the attribute, synchronized and tied to the metaverse.
    fn known(class: &str, attribute: &str) -> Store {
        let store = Store::in_memory().unwrap();
        assert_eq!(told(&store, people(&store, class, Some(attribute)), false), "success");
        consume(&store);
        let mut changes = ChangeSet::new();
        for (mv, mut object) in (1..).map(MvId).zip(store.snapshot().unwrap().cs_scan(SPACE, None, 10).unwrap()) {
            object.link = Link::ExplicitlyConnected { mv };
            let values = crate::model::FlatValues::default();
            changes.mv_put.push(MvObject { id: mv, object_type: object.object_type, values, lineage: Vec::new() });
            changes.cs_put.push(object);
        }
        store.apply(changes).unwrap();
        store
    }

    /// What is tied stays staged where exports may be confirmed by it: the next import has to stop all the same.
    #[test]
    fn what_vanished_is_not_believed_by_the_next_import_either() {
        for takes_exports in [false, true] {
            let store = known("user", "department");
            for _ in 0..3 {
                assert_eq!(told(&store, people(&store, "user", None), takes_exports), "stopped-shrink-guard", "{takes_exports}");
                assert!(verdict(&store.snapshot().unwrap(), SPACE).unwrap().is_some());
            }
            assert_eq!(told(&store, people(&store, "user", Some("department")), takes_exports), "success");
            assert_eq!(verdict(&store.snapshot().unwrap(), SPACE).unwrap(), None);
        }
    }

    /// An account stays one by another class; whoever becomes something else has other attributes.
    #[test]
    fn another_class_of_accounts_hides_nothing() {
        let store = known("user", "department");
        assert_eq!(told(&store, people(&store, "inetOrgPerson", None), false), "stopped-shrink-guard");
        let store = known("user", "userAccountControl");
        assert_eq!(told(&store, people(&store, "inetOrgPerson", None), false), "completed-discovery-errors");
        let store = known("device", "department");
        assert_eq!(told(&store, people(&store, "printer", None), false), "success");
    }
}
