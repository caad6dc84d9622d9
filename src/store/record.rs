//! Records as they lie on disk: versioned, flat, little-endian, without alignment; and their way to and from the
//! plain types. Structure is checked by rkyv, meaning once by us; a record that contradicts itself is
//! [`StoreError::Damaged`], never an index out of bounds.

use super::StoreError;
use super::history::{AttributeDelta, CounterName, RunRecord, RunResult, StepKind, StepObject, StepRecord};
use crate::model::{
    Anchor, AttrId, Blob, ConnectorId, CsId, CsObject, DeltaKind, FlatEntry, FlatValues, Lineage, Link, MvId, MvObject, ObjectError,
    ObjectErrorCode, ObjectType, RuleId, RunId, StageDelta, Timestamp, ValueKind, ValueRef,
};
use rkyv::rancor::Error as RkyvError;
use rkyv::{Archive, Deserialize, Serialize};

#[derive(Archive, Serialize, Deserialize, Debug)]
struct EntryV1 {
    attr: u16,
    kind: u8,
    flags: u8,
    end: u32,
}

#[derive(Archive, Serialize, Deserialize, Debug)]
struct CsRecordV1 {
    object_type: u16,
    /// Type in the base image; `u16::MAX` without.
    previous_type: u16,
    /// 1 transient, 2 in base, 4 has an anchor.
    flags: u8,
    /// One kind per stage.
    stages: [u8; 4],
    /// Lengths of name, anchor and the four other names, which open the heap in this order.
    lengths: [u16; 6],
    entries: Vec<EntryV1>,
    heap: Vec<u8>,
}

#[derive(Archive, Serialize, Deserialize, Debug)]
struct MvRecordV1 {
    object_type: u16,
    entries: Vec<EntryV1>,
    heap: Vec<u8>,
}

#[derive(Archive, Serialize, Deserialize, Debug)]
struct LineageV1 {
    /// Attribute, rule, source, since.
    rows: Vec<(u16, u32, u64, i64)>,
}

#[derive(Archive, Serialize, Deserialize, Debug)]
struct ErrorV1 {
    code: String,
    detail: String,
    first_seen: i64,
    last_seen: i64,
    retry_count: u32,
}

#[derive(Archive, Serialize, Deserialize, Debug)]
struct RunV1 {
    cycle: Option<u64>,
    connector: u16,
    connector_name: String,
    profile: String,
    started: i64,
    ended: Option<i64>,
    result: String,
    steps: Vec<StepV1>,
}

#[derive(Archive, Serialize, Deserialize, Debug)]
struct StepV1 {
    number: u32,
    kind: u8,
    started: i64,
    ended: Option<i64>,
    result: String,
    counters: Vec<(String, u64)>,
    message: Option<String>,
}

#[derive(Archive, Serialize, Deserialize, Debug)]
struct StepObjectV1 {
    dn: String,
    changes: Vec<(String, Vec<String>, Vec<String>)>,
}

const TRANSIENT: u8 = 1;
const IN_BASE: u8 = 2;
const ANCHORED: u8 = 4;
const NO_TYPE: u16 = u16::MAX;

/// A record's octets from a connector-space object.
pub(super) fn cs_encode(object: &CsObject) -> Result<Vec<u8>, StoreError> {
    let anchor = object.anchor.as_ref().map_or(&[][..], Anchor::as_bytes);
    let mut parts: [&[u8]; 6] = [object.dn.as_bytes(), anchor, &[], &[], &[], &[]];
    for (part, stage) in parts[2..].iter_mut().zip(&object.stages) {
        *part = stage.rename.as_deref().unwrap_or_default().as_bytes();
    }
    let mut lengths = [0u16; 6];
    for (length, part) in lengths.iter_mut().zip(parts) {
        *length = u16::try_from(part.len()).map_err(|_| StoreError::Database {
            action: "write an object",
            reason: format!("a name or anchor of {} is above 65,535 octets", object.id),
        })?;
    }
    let prefix: usize = parts.iter().map(|part| part.len()).sum();
    let mut heap = Vec::with_capacity(prefix + object.values.heap().len());
    parts.iter().for_each(|part| heap.extend_from_slice(part));
    heap.extend_from_slice(object.values.heap());
    let flags = (if object.transient { TRANSIENT } else { 0 })
        | (if object.in_base { IN_BASE } else { 0 })
        | (if object.anchor.is_some() { ANCHORED } else { 0 });
    encode(&CsRecordV1 {
        object_type: object.object_type.0,
        previous_type: object.previous_type.map_or(NO_TYPE, |kind| kind.0),
        flags,
        stages: std::array::from_fn(|index| delta_code(object.stages[index].kind)),
        lengths,
        entries: entries(&object.values),
        heap,
    })
}

/// A connector-space object from a record's octets; the link comes from its own table.
pub(super) fn cs_decode(id: CsId, octets: &[u8], link: Link) -> Result<CsObject, StoreError> {
    let damaged = |reason: &str| damaged_at(&format!("cs_object {id}"), reason);
    let record = rkyv::access::<ArchivedCsRecordV1, RkyvError>(octets).map_err(|error| damaged(&error.to_string()))?;
    let heap = record.heap.as_slice();
    let mut at = 0usize;
    let mut parts: [&[u8]; 6] = [&[]; 6];
    for (part, length) in parts.iter_mut().zip(&record.lengths) {
        let end = at + usize::from(length.to_native());
        *part = heap.get(at..end).ok_or_else(|| damaged("a name ends outside the record"))?;
        at = end;
    }
    let text = |part: &[u8]| std::str::from_utf8(part).map(Box::<str>::from).map_err(|_| damaged("a name is not UTF-8"));
    let mut stages: [StageDelta; 4] = Default::default();
    for (index, stage) in stages.iter_mut().enumerate() {
        stage.kind = delta_kind(record.stages[index]).ok_or_else(|| damaged("an unknown delta"))?;
        stage.rename = if parts[index + 2].is_empty() { None } else { Some(text(parts[index + 2])?) };
    }
    let previous_type = record.previous_type.to_native();
    Ok(CsObject {
        id,
        object_type: ObjectType(record.object_type.to_native()),
        previous_type: (previous_type != NO_TYPE).then_some(ObjectType(previous_type)),
        dn: text(parts[0])?,
        anchor: (record.flags & ANCHORED != 0).then(|| Anchor::new(parts[1])),
        transient: record.flags & TRANSIENT != 0,
        in_base: record.flags & IN_BASE != 0,
        stages,
        values: values(&record.entries, &heap[at..]).ok_or_else(|| damaged("the values do not fit together"))?,
        link,
    })
}

/// A record's octets from a metaverse object, without lineage.
pub(super) fn mv_encode(object: &MvObject) -> Result<Vec<u8>, StoreError> {
    encode(&MvRecordV1 { object_type: object.object_type.0, entries: entries(&object.values), heap: object.values.heap().to_vec() })
}

/// A metaverse object from its record and its lineage.
pub(super) fn mv_decode(id: MvId, octets: &[u8], lineage: &[u8]) -> Result<MvObject, StoreError> {
    let damaged = |reason: &str| damaged_at(&format!("mv_object {id}"), reason);
    let record = rkyv::access::<ArchivedMvRecordV1, RkyvError>(octets).map_err(|error| damaged(&error.to_string()))?;
    Ok(MvObject {
        id,
        object_type: ObjectType(record.object_type.to_native()),
        values: values(&record.entries, &record.heap).ok_or_else(|| damaged("the values do not fit together"))?,
        lineage: lineage_decode(id, lineage)?,
    })
}

/// The lineage record of a metaverse object.
pub(super) fn lineage_encode(lineage: &[Lineage]) -> Result<Vec<u8>, StoreError> {
    encode(&LineageV1 { rows: lineage.iter().map(|row| (row.attr.0, row.rule.0, row.source.0, row.since.0)).collect() })
}

fn lineage_decode(id: MvId, octets: &[u8]) -> Result<Vec<Lineage>, StoreError> {
    let record =
        rkyv::access::<ArchivedLineageV1, RkyvError>(octets).map_err(|error| damaged_at(&format!("lineage {id}"), &error.to_string()))?;
    Ok(record
        .rows
        .iter()
        .map(|row| Lineage {
            attr: AttrId(row.0.to_native()),
            rule: RuleId(row.1.to_native()),
            source: CsId(row.2.to_native()),
            since: Timestamp(row.3.to_native()),
        })
        .collect())
}

/// A link as a row.
pub(super) fn link_encode(link: Link) -> (u8, u64, u32) {
    match link {
        Link::Placeholder => (0, 0, 0),
        Link::Disconnected => (1, 0, 0),
        Link::DisconnectedByFilter => (2, 0, 0),
        Link::ExplicitlyDisconnected => (3, 0, 0),
        Link::Connected { mv, by } => (4, mv.0, by.0),
        Link::ExplicitlyConnected { mv } => (5, mv.0, 0),
    }
}

/// A link from its row.
pub(super) fn link_decode(id: CsId, row: (u8, u64, u32)) -> Result<Link, StoreError> {
    Ok(match row {
        (0, ..) => Link::Placeholder,
        (1, ..) => Link::Disconnected,
        (2, ..) => Link::DisconnectedByFilter,
        (3, ..) => Link::ExplicitlyDisconnected,
        (4, mv, by) => Link::Connected { mv: MvId(mv), by: RuleId(by) },
        (5, mv, _) => Link::ExplicitlyConnected { mv: MvId(mv) },
        (kind, ..) => return Err(damaged_at(&format!("cs_link {id}"), &format!("unknown kind {kind}"))),
    })
}

/// A problem as a record.
pub(super) fn error_encode(error: &ObjectError) -> Result<Vec<u8>, StoreError> {
    encode(&ErrorV1 {
        code: error.code.as_str().to_owned(),
        detail: error.detail.clone(),
        first_seen: error.first_seen.0,
        last_seen: error.last_seen.0,
        retry_count: error.retry_count,
    })
}

/// A problem from its record.
pub(super) fn error_decode(id: CsId, octets: &[u8]) -> Result<ObjectError, StoreError> {
    let record: ErrorV1 = decode(octets, || format!("object_error {id}"))?;
    Ok(ObjectError {
        code: ObjectErrorCode::named(record.code),
        detail: record.detail,
        first_seen: Timestamp(record.first_seen),
        last_seen: Timestamp(record.last_seen),
        retry_count: record.retry_count,
    })
}

/// A run as a record.
pub(super) fn run_encode(run: &RunRecord) -> Result<Vec<u8>, StoreError> {
    encode(&RunV1 {
        cycle: run.cycle.map(|id| id.0),
        connector: run.connector.0,
        connector_name: run.connector_name.clone(),
        profile: run.profile.clone(),
        started: run.started.0,
        ended: run.ended.map(|at| at.0),
        result: run.result.0.clone().into_owned(),
        steps: run
            .steps
            .iter()
            .map(|step| StepV1 {
                number: step.number,
                kind: step_code(step.kind),
                started: step.started.0,
                ended: step.ended.map(|at| at.0),
                result: step.result.0.clone().into_owned(),
                counters: step.counters.iter().map(|(name, count)| (name.0.clone().into_owned(), *count)).collect(),
                message: step.message.clone(),
            })
            .collect(),
    })
}

/// A run from its record.
pub(super) fn run_decode(id: RunId, octets: &[u8]) -> Result<RunRecord, StoreError> {
    let record: RunV1 = decode(octets, || format!("run {id}"))?;
    let steps = record.steps.into_iter().map(|step| {
        Ok(StepRecord {
            number: step.number,
            kind: step_kind(step.kind).ok_or_else(|| damaged_at(&format!("run {id}"), "an unknown kind of step"))?,
            started: Timestamp(step.started),
            ended: step.ended.map(Timestamp),
            result: RunResult(step.result.into()),
            counters: step.counters.into_iter().map(|(name, count)| (CounterName(name.into()), count)).collect(),
            message: step.message,
        })
    });
    Ok(RunRecord {
        id,
        cycle: record.cycle.map(RunId),
        connector: ConnectorId(record.connector),
        connector_name: record.connector_name,
        profile: record.profile,
        started: Timestamp(record.started),
        ended: record.ended.map(Timestamp),
        result: RunResult(record.result.into()),
        steps: steps.collect::<Result<_, StoreError>>()?,
    })
}

/// An object behind a counter as a record; counter and id are in the key.
pub(super) fn step_object_encode(object: &StepObject) -> Result<Vec<u8>, StoreError> {
    encode(&StepObjectV1 {
        dn: object.dn.clone(),
        changes: object.changes.iter().map(|change| (change.attribute.clone(), change.removed.clone(), change.added.clone())).collect(),
    })
}

/// An object behind a counter from its record.
pub(super) fn step_object_decode(counter: CounterName, id: CsId, octets: &[u8]) -> Result<StepObject, StoreError> {
    let record: StepObjectV1 = decode(octets, || format!("step_object {id}"))?;
    let changes = record.changes.into_iter().map(|(attribute, removed, added)| AttributeDelta { attribute, removed, added }).collect();
    Ok(StepObject { counter, id, dn: record.dn, changes })
}

/// The large contents that a list of values points to.
pub(super) fn blobs(values: &FlatValues) -> impl Iterator<Item = Blob> + '_ {
    values.iter().filter_map(|item| match item.value {
        ValueRef::LargeText(blob) | ValueRef::LargeBinary(blob) => Some(blob),
        _ => None,
    })
}

pub(super) fn damaged_at(place: &str, reason: &str) -> StoreError {
    StoreError::Damaged { place: place.to_owned(), reason: reason.to_owned() }
}

fn encode(
    record: &impl for<'a> Serialize<rkyv::api::high::HighSerializer<rkyv::util::AlignedVec, rkyv::ser::allocator::ArenaHandle<'a>, RkyvError>>,
) -> Result<Vec<u8>, StoreError> {
    rkyv::to_bytes::<RkyvError>(record)
        .map(|octets| octets.into_vec())
        .map_err(|error| StoreError::Database { action: "write a record", reason: error.to_string() })
}

fn decode<T>(octets: &[u8], place: impl Fn() -> String) -> Result<T, StoreError>
where
    T: Archive,
    T::Archived: for<'a> rkyv::bytecheck::CheckBytes<rkyv::api::high::HighValidator<'a, RkyvError>>
        + Deserialize<T, rkyv::api::high::HighDeserializer<RkyvError>>,
{
    rkyv::from_bytes::<T, RkyvError>(octets).map_err(|error| damaged_at(&place(), &error.to_string()))
}

fn entries(values: &FlatValues) -> Vec<EntryV1> {
    values
        .entries()
        .iter()
        .map(|entry| EntryV1 { attr: entry.attr.0, kind: kind_code(entry.kind), flags: entry.flags, end: entry.end })
        .collect()
}

fn values(entries: &rkyv::vec::ArchivedVec<ArchivedEntryV1>, heap: &[u8]) -> Option<FlatValues> {
    let entries = entries
        .iter()
        .map(|entry| {
            Some(FlatEntry {
                attr: AttrId(entry.attr.to_native()),
                kind: value_kind(entry.kind)?,
                flags: entry.flags,
                end: entry.end.to_native(),
            })
        })
        .collect::<Option<Vec<_>>>()?;
    FlatValues::from_parts(entries, heap.to_vec())
}

fn kind_code(kind: ValueKind) -> u8 {
    match kind {
        ValueKind::Text => 0,
        ValueKind::Number => 1,
        ValueKind::Boolean => 2,
        ValueKind::Binary => 3,
        ValueKind::LargeText => 4,
        ValueKind::LargeBinary => 5,
        ValueKind::Reference => 6,
    }
}

fn value_kind(code: u8) -> Option<ValueKind> {
    Some(match code {
        0 => ValueKind::Text,
        1 => ValueKind::Number,
        2 => ValueKind::Boolean,
        3 => ValueKind::Binary,
        4 => ValueKind::LargeText,
        5 => ValueKind::LargeBinary,
        _ => return None,
    })
}

fn delta_code(kind: DeltaKind) -> u8 {
    match kind {
        DeltaKind::None => 0,
        DeltaKind::Add => 1,
        DeltaKind::Update => 2,
        DeltaKind::Delete => 3,
        DeltaKind::DeleteAdd => 4,
    }
}

fn delta_kind(code: u8) -> Option<DeltaKind> {
    Some(match code {
        0 => DeltaKind::None,
        1 => DeltaKind::Add,
        2 => DeltaKind::Update,
        3 => DeltaKind::Delete,
        4 => DeltaKind::DeleteAdd,
        _ => return None,
    })
}

fn step_code(kind: StepKind) -> u8 {
    match kind {
        StepKind::FullImport => 0,
        StepKind::DeltaImport => 1,
        StepKind::FullSync => 2,
        StepKind::DeltaSync => 3,
        StepKind::Export => 4,
    }
}

fn step_kind(code: u8) -> Option<StepKind> {
    Some(match code {
        0 => StepKind::FullImport,
        1 => StepKind::DeltaImport,
        2 => StepKind::FullSync,
        3 => StepKind::DeltaSync,
        4 => StepKind::Export,
        _ => return None,
    })
}
