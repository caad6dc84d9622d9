//! Whether the store agrees with itself, and making again what follows from the rest.

use super::derived::{self, Repair, Repairs};
use super::fault::Fault;
use super::write::{Tally, write_rows};
use super::{Inner, Store, StoreError, begin, commit, open, tables};
use redb::{Key, TableDefinition, Value};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::PoisonError;

/// Problems of one kind and table that are told one by one; the others are only counted.
const TOLD_PER_TABLE: u64 = 100;

/// Rows of one transaction while repairing.
const BATCH: usize = 10_000;

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Rows from which others follow that were looked at.
    pub rows: u64,
    /// The first hundred problems of each table and kind.
    pub problems: Vec<CheckProblem>,
    /// How many problems there are, by table.
    pub counts: BTreeMap<&'static str, u64>,
    /// Rows that [`Store::rebuild`] wrote or removed; 0 after a mere check.
    pub repaired: u64,
}

impl CheckReport {
    /// True when nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.counts.is_empty()
    }
}

/// One thing that does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckProblem {
    /// The table.
    pub table: &'static str,
    /// The key, readable.
    pub key: String,
    /// What does not fit and, where a rebuild does not help, what to do.
    pub message: String,
    /// True when [`Store::rebuild`] puts it right.
    pub repairable: bool,
}

/// Takes problems as they are found.
#[derive(Debug, Default)]
pub(super) struct Collector {
    report: CheckReport,
    told: BTreeMap<(&'static str, bool), u64>,
}

impl Collector {
    /// Something that nothing else in the store can give back.
    pub(super) fn lost(&mut self, table: &'static str, key: impl Display, message: impl Display) {
        self.note(table, key, message, false);
    }

    /// Something that follows from other rows.
    pub(super) fn derivable(&mut self, table: &'static str, key: impl Display, message: impl Display) {
        self.note(table, key, message, true);
    }

    fn note(&mut self, table: &'static str, key: impl Display, message: impl Display, repairable: bool) {
        *self.report.counts.entry(table).or_default() += 1;
        let told = self.told.entry((table, repairable)).or_default();
        *told += 1;
        if *told <= TOLD_PER_TABLE {
            self.report.problems.push(CheckProblem { table, key: key.to_string(), message: message.to_string(), repairable });
        }
    }

    /// Counts rows that were looked at.
    pub(super) fn rows(&mut self, rows: usize) {
        self.report.rows += rows as u64;
    }

    pub(super) fn finish(self) -> CheckReport {
        self.report
    }
}

impl Store {
    /// Checks, from the tables alone, that everything agrees: records and rows can be read, forward and reverse rows
    /// match, no connector has two links to one metaverse object, every value of the metaverse has an origin, indexes,
    /// queues, counts and large contents are what they should be (architecture, section 8).
    ///
    /// # Errors
    /// Only when reading fails; what is wrong with the contents is in the report.
    pub fn check(&self) -> Result<CheckReport, StoreError> {
        let view = self.snapshot()?;
        let indexes = self.inner.indexes();
        let names = self.inner.names.len();
        view.guarded("check its tables", || surviving(|| derived::check(&view, &indexes, names)))
    }

    /// Holds every page of a file against its sum, as after a disk that lied. The store must not be open anywhere; the
    /// file is only read. Takes about as long as reading the file.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when a page is not what was written; otherwise as [`Store::open`].
    pub fn verify(path: &Path) -> Result<(), StoreError> {
        open::verify(path)
    }

    /// Makes again what follows from the rest: indexes, reverse rows, link rows of the metaverse, queues, counts; and
    /// removes rows of objects that do not exist. Only what differs is written, in batches, so an interruption leaves
    /// the store better than it was. Returns a new check.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when a record of an object cannot be read: what follows from it is not known, and
    /// removing it would be a guess.
    pub fn rebuild(&self) -> Result<CheckReport, StoreError> {
        let inner = &*self.inner;
        let writer = inner.durable_names.lock().unwrap_or_else(PoisonError::into_inner);
        let view = self.snapshot()?;
        let indexes = inner.indexes();
        let mut collector = Collector::default();
        let repairs =
            view.guarded("examine its tables", || surviving(|| derived::examine(&view, &indexes, inner.names.len(), &mut collector)))?;
        drop(view);
        if repairs.unreadable {
            let first = collector.finish().problems.into_iter().find(|problem| !problem.repairable);
            let place = first.map_or_else(|| "cs_object".to_owned(), |problem| format!("{} {}", problem.table, problem.key));
            let reason = "the record cannot be read, so nothing was rebuilt; restore a backup".to_owned();
            return Err(StoreError::Damaged { place, reason });
        }
        let repaired = inner.run("rebuild its indexes", || write(inner, repairs))?;
        drop(writer);
        Ok(CheckReport { repaired, ..self.check()? })
    }
}

/// Does what reads all pages, and takes a panic of the database over broken ones for the damage it is: a check that
/// dies of what it looks for would be of little use.
fn surviving<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    std::panic::catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Fault::damaged("the pages of the file", "they do not fit together; restore a backup")))
}

fn write(inner: &Inner, repairs: Repairs) -> Result<u64, Fault> {
    let mut written = 0;
    macro_rules! simple {
        ($definition:expr, $rows:expr) => {
            written += batches(inner, $definition, $rows.into_iter().map(|row: Repair<_, _>| (row.key, row.value)).collect())?;
        };
    }
    macro_rules! orphans {
        ($definition:expr, $keys:expr) => {
            written += batches(inner, $definition, $keys.into_iter().map(|key| (key, None)).collect())?;
        };
    }
    for (definition, rows) in [(tables::CS_BY_ANCHOR, repairs.anchors), (tables::CS_BY_DN, repairs.names)] {
        let rows = rows.iter().map(|row| ((row.key.0, &*row.key.1), row.value)).collect();
        written += batches(inner, definition, rows)?;
    }
    // References first: rows of nobody go, then what follows from the rest is as it was worked out.
    orphans!(tables::CS_REFERENCE, repairs.cs_reference);
    orphans!(tables::MV_REFERENCE, repairs.mv_reference);
    simple!(tables::CS_JOIN, repairs.cs_join);
    simple!(tables::MV_JOIN, repairs.mv_join);
    simple!(tables::QUEUE, repairs.queue);
    simple!(tables::MV_LINK, repairs.mv_link);
    simple!(tables::CS_REFERRER, repairs.cs_referrer);
    simple!(tables::CS_REFERENCE_COUNT, repairs.cs_reference_count);
    simple!(tables::CS_REFERENCE_TOUCHED, repairs.cs_reference_touched);
    simple!(tables::MV_REFERRER, repairs.mv_referrer);
    simple!(tables::MV_REFERENCE_COUNT, repairs.mv_reference_count);
    simple!(tables::BLOB_COUNT, repairs.blob_count);
    simple!(tables::COUNTER, repairs.counter);
    orphans!(tables::CS_HASH, repairs.cs_hash);
    orphans!(tables::DIRTY, repairs.dirty);
    orphans!(tables::OBJECT_ERROR, repairs.object_error);
    orphans!(tables::BLOB, repairs.blob);
    orphans!(tables::PASSWORD, repairs.password);
    simple!(tables::PASSWORD_DUE, repairs.password_due);
    Ok(written)
}

/// Writes sorted rows, so many in one transaction that it is quick, so few that the file does not double.
fn batches<'r, K: Key + 'static, V: Value + 'static>(
    inner: &Inner,
    definition: TableDefinition<'static, K, V>,
    rows: Vec<(K::SelfType<'r>, Option<V::SelfType<'r>>)>,
) -> Result<u64, Fault>
where
    K::SelfType<'r>: Ord,
{
    let mut rows = rows;
    rows.sort_by(|left, right| left.0.cmp(&right.0));
    let mut written = 0;
    for batch in rows.chunks(BATCH) {
        let transaction = begin(&*inner.database()?)?;
        let mut tally = Tally::default();
        write_rows(&mut transaction.open_table(definition)?, batch, &mut tally)?;
        commit(inner, transaction, tally)?;
        written += tally.written;
    }
    Ok(written)
}
