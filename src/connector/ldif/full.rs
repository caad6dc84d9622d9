//! A full import of files with change records beside them: every entry as the records leave it.

use super::drop::Changes;
use super::import::{Ended, Import};
use super::replay::{Fate, Placed, Replay, Values};
use crate::model::{Dn, ObjectErrorCode};
use crate::protocol::ldif::{Record, RecordKind};
use std::path::Path;

impl Import<'_> {
    /// An entry of the file of all entries.
    pub(super) fn replayed(&mut self, path: &Path, record: &Record, replay: &mut Replay<'_>) {
        let name = Dn::parse(&record.dn).ok().filter(|dn| dn.depth() > 0);
        let (Some(name), RecordKind::Content | RecordKind::Add) = (name, &record.kind) else { return self.record(path, record) };
        match replay.follow(&name, 0) {
            // As it stands, also with its name.
            Some(Fate { dn, counted }) if counted.is_empty() && !replay.renames() && dn.same(&name) => self.record(path, record),
            Some(fate) => {
                self.unfinished = None;
                self.followed((path, record), 0, fate, replay);
            }
            None => self.unfinished = None,
        }
    }

    /// Entries that records added, and records that changed nobody.
    pub(super) fn added(&mut self, changes: &Changes, replay: &mut Replay<'_>) -> Result<(), Ended> {
        for (number, (file, record)) in changes.records.iter().enumerate() {
            let path = &changes.files[*file];
            match (&record.kind, replay.name(number).cloned()) {
                (RecordKind::Add | RecordKind::Content, Some(name)) => {
                    if let Some(fate) = replay.follow(&name, number + 1) {
                        self.followed((path, record), number + 1, fate, replay);
                    }
                }
                (_, None) => self.reject(path, record, ObjectErrorCode::INVALID_DN, "the name of the record cannot be read"),
                _ => {}
            }
            self.flush_full()?;
        }
        for number in replay.unused() {
            let (file, record) = &changes.records[number];
            if matches!(record.kind, RecordKind::Modify | RecordKind::Rename { .. }) && replay.name(number).is_some() {
                let detail = "the record changes an entry that neither the file of all entries nor an earlier record has; correct the record, \
                              or write all files anew";
                self.reject(&changes.files[*file], record, ObjectErrorCode::NEED_FULL_OBJECT, detail);
                self.flush_full()?;
            }
        }
        Ok(())
    }

    /// An entry that was there in front of record `since`, as it is in the end.
    fn followed(&mut self, (path, record): (&Path, &Record), since: usize, fate: Fate, replay: &Replay<'_>) {
        let mut values: Values<'_> = Vec::with_capacity(record.len());
        for value in record.values() {
            if let Some(known) = self.plan.known(value.name) {
                values.push(Placed::new(known, value.octets, since));
            }
        }
        for number in fate.counted {
            if replay.apply(number, self.plan, &mut values).is_none() {
                let detail = "a rename of it has several attributes in the first component of a name; write the file of all entries anew";
                return self.reject(path, record, ObjectErrorCode::NEED_FULL_OBJECT, detail);
            }
        }
        replay.settle(self.plan, &mut values, usize::MAX);
        let mut gathered = self.gathered();
        for value in &values {
            gathered.push(value.known, &value.octets);
        }
        self.entry(path, record, fate.dn.as_str().as_bytes(), &mut gathered);
    }
}
