//! The journal of events: what was told, in the order of telling, until it is too old.

use super::fault::Fault;
use super::record::{self, Flaw};
use super::tables;
use super::write::{Tally, write_rows};
use crate::events::Level;
use crate::model::{Retention, Timestamp};
use redb::{ReadableTable, WriteTransaction};
use rkyv::{Archive, Serialize};

/// An event as it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRecord {
    /// Its place in the journal; the store gives it when it is written.
    pub sequence: u64,
    /// When it was told.
    pub at: Timestamp,
    /// The stable number of its kind.
    pub number: u32,
    /// How much it matters.
    pub level: Level,
    /// The connector it is about; may be empty.
    pub connector: String,
    /// The sentence for people.
    pub text: String,
    /// What it says, by name: a JSON object.
    pub fields: String,
}

#[derive(Archive, Serialize)]
struct EventRecordV1 {
    at: i64,
    number: u32,
    level: u8,
    connector: String,
    text: String,
    fields: String,
}

// Part of the format, like the codes in `record.rs`.
fn level_code(level: Level) -> u8 {
    match level {
        Level::Information => 0,
        Level::Warning => 1,
        Level::Error => 2,
    }
}

fn level_of(code: u8) -> Result<Level, Flaw> {
    match code {
        0 => Ok(Level::Information),
        1 => Ok(Level::Warning),
        2 => Ok(Level::Error),
        _ => Err("an unknown level"),
    }
}

fn encode(event: EventRecord) -> Result<Vec<u8>, Flaw> {
    let EventRecord { sequence: _, at, number, level, connector, text, fields } = event;
    record::encode(&EventRecordV1 { at: at.0, number, level: level_code(level), connector, text, fields }, 256)
}

/// The event in a record.
pub(super) fn decode(sequence: u64, bytes: &[u8]) -> Result<EventRecord, Flaw> {
    let record = record::access::<ArchivedEventRecordV1>(bytes)?;
    Ok(EventRecord {
        sequence,
        at: Timestamp(record.at.to_native()),
        number: record.number.to_native(),
        level: level_of(record.level)?,
        connector: record.connector.as_str().to_owned(),
        text: record.text.as_str().to_owned(),
        fields: record.fields.as_str().to_owned(),
    })
}

/// Appends events, and drops those that are older than they are kept.
pub(super) fn write(
    transaction: &WriteTransaction,
    events: Vec<EventRecord>,
    kept: Option<Retention>,
    tally: &mut Tally,
) -> Result<(), Fault> {
    if events.is_empty() && kept.is_none() {
        return Ok(());
    }
    let mut table = transaction.open_table(tables::EVENT)?;
    let first = table.last()?.map_or(0, |(key, _)| key.value().saturating_add(1));
    let mut rows = Vec::with_capacity(events.len());
    for (sequence, event) in (first..).zip(events) {
        rows.push((sequence, Some(encode(event).map_err(|flaw| Fault::damaged(format!("event {sequence}"), flaw))?)));
    }
    let rows: Vec<_> = rows.iter().map(|(sequence, bytes)| (*sequence, bytes.as_deref())).collect();
    write_rows(&mut table, &rows, tally)?;
    if let Some(retention) = kept {
        // They are in the order of telling, and the last one stays: its number says where to go on.
        let last = table.last()?.map(|(key, _)| key.value());
        let mut sequences = Vec::new();
        let told = table.iter()?.map(|row| -> Result<Timestamp, Fault> {
            let (sequence, bytes) = row?;
            sequences.push(sequence.value());
            let at = record::access::<ArchivedEventRecordV1>(bytes.value()).map_or(i64::MIN, |event| event.at.to_native());
            Ok(Timestamp(at))
        });
        let old = retention.old(told)?;
        for sequence in sequences.into_iter().take(old).filter(|sequence| Some(*sequence) != last) {
            table.remove(sequence)?;
            tally.written += 1;
        }
    }
    Ok(())
}
