//! Records as they lie on disk. Versioned, flat, read in place; never the types of the model.
//!
//! An object's record is a header, one table of entries `{attribute, kind, flags, end}` and one heap of octets: a
//! third smaller and several times cheaper than a tree of vectors. Every record begins with one octet that says its
//! version; the rest is an rkyv archive without alignment, because the database promises none. rkyv checks the
//! structure, this module everything that structure alone does not say.

use super::history::{AttributeDelta, CounterName, RunRecord, RunResult, StepKind, StepObject, StepRecord};
use crate::model::{
    Anchor, AttrId, Blob, ConnectorId, CsId, CsObject, DeltaKind, ErrorSide, FlatEntry, FlatValues, Lineage, Link, MvId, MvObject,
    ObjectError, ObjectErrorCode, ObjectType, RuleId, RunId, Stage, StageDelta, Timestamp, ValueKind, ValueRef, ValueState,
};
use rkyv::rancor::Failure;
use rkyv::with::InlineAsBox;
use rkyv::{Archive, Portable, Serialize};
use std::borrow::Cow;

/// What is wrong with a record; the caller adds table and key.
pub(super) type Flaw = &'static str;

const VERSION_1: u8 = 1;

#[derive(Archive, Serialize, Clone, Copy)]
pub(super) struct EntryV1 {
    attr: u16,
    kind: u8,
    flags: u8,
    end: u32,
}

/// A connector-space object. `texts` holds name, anchor and renames one behind the other, `ends` where each ends.
#[derive(Archive, Serialize)]
struct CsRecordV1<'a> {
    object_type: u16,
    previous_type: u16,
    /// See the constants of [`cs_flag`].
    flags: u8,
    kinds: [u8; 4],
    #[rkyv(with = InlineAsBox)]
    ends: &'a [u32],
    #[rkyv(with = InlineAsBox)]
    texts: &'a [u8],
    #[rkyv(with = InlineAsBox)]
    entries: &'a [EntryV1],
    #[rkyv(with = InlineAsBox)]
    heap: &'a [u8],
}

mod cs_flag {
    pub(super) const TRANSIENT: u8 = 1;
    pub(super) const IN_BASE: u8 = 2;
    pub(super) const PREVIOUS_TYPE: u8 = 4;
    pub(super) const ANCHOR: u8 = 8;
    /// Shifted by the stage: that stage has a rename.
    pub(super) const RENAME: u8 = 16;
}

#[derive(Archive, Serialize)]
struct MvRecordV1<'a> {
    object_type: u16,
    #[rkyv(with = InlineAsBox)]
    entries: &'a [EntryV1],
    #[rkyv(with = InlineAsBox)]
    heap: &'a [u8],
}

/// Most attributes of an object come from one rule and one source, so origins stand once and rows point to them.
#[derive(Archive, Serialize)]
struct LineageRecordV1 {
    origins: Vec<OriginV1>,
    rows: Vec<LineageRowV1>,
}

#[derive(Archive, Serialize, Clone, Copy, PartialEq, Eq)]
struct OriginV1 {
    rule: u32,
    source: u64,
    since: i64,
}

#[derive(Archive, Serialize)]
struct LineageRowV1 {
    attr: u16,
    origin: u16,
}

#[derive(Archive, Serialize)]
struct ErrorRecordV1<'a> {
    #[rkyv(with = InlineAsBox)]
    code: &'a str,
    #[rkyv(with = InlineAsBox)]
    detail: &'a str,
    first_seen: i64,
    last_seen: i64,
    retry_count: u32,
}

#[derive(Archive, Serialize)]
struct RunRecordV1 {
    cycle: Option<u64>,
    connector: u16,
    connector_name: String,
    profile: String,
    started: i64,
    ended: Option<i64>,
    result: String,
    steps: Vec<StepRecordV1>,
}

#[derive(Archive, Serialize)]
struct StepRecordV1 {
    number: u32,
    kind: u8,
    started: i64,
    ended: Option<i64>,
    result: String,
    counters: Vec<(String, u64)>,
    message: Option<String>,
}

#[derive(Archive, Serialize)]
struct StepObjectRecordV1 {
    dn: String,
    changes: Vec<AttributeDeltaV1>,
}

#[derive(Archive, Serialize)]
struct AttributeDeltaV1 {
    attribute: String,
    removed: Vec<String>,
    added: Vec<String>,
}

/// Makes records, reusing its buffers.
#[derive(Default)]
pub(super) struct Encoder {
    entries: Vec<EntryV1>,
    texts: Vec<u8>,
    ends: Vec<u32>,
}

impl Encoder {
    /// The record of a connector-space object, without its id and link, which are rows.
    pub(super) fn cs_object(&mut self, object: &CsObject) -> Result<Vec<u8>, Flaw> {
        self.texts.clear();
        self.ends.clear();
        let mut flags = 0;
        let push = |part: &[u8], texts: &mut Vec<u8>, ends: &mut Vec<u32>| {
            texts.extend_from_slice(part);
            u32::try_from(texts.len()).map(|end| ends.push(end)).map_err(|_| "names of more than 4 GiB")
        };
        push(object.dn.as_bytes(), &mut self.texts, &mut self.ends)?;
        if let Some(anchor) = &object.anchor {
            flags |= cs_flag::ANCHOR;
            push(anchor.as_bytes(), &mut self.texts, &mut self.ends)?;
        }
        for (index, stage) in object.stages.iter().enumerate() {
            if let Some(rename) = &stage.rename {
                flags |= cs_flag::RENAME << index;
                push(rename.as_bytes(), &mut self.texts, &mut self.ends)?;
            }
        }
        if object.transient {
            flags |= cs_flag::TRANSIENT;
        }
        if object.in_base {
            flags |= cs_flag::IN_BASE;
        }
        if object.previous_type.is_some() {
            flags |= cs_flag::PREVIOUS_TYPE;
        }
        self.entries(&object.values);
        let record = CsRecordV1 {
            object_type: object.object_type.0,
            previous_type: object.previous_type.map_or(0, |previous| previous.0),
            flags,
            kinds: [0, 1, 2, 3].map(|index: usize| delta_kind_code(object.stages[index].kind)),
            ends: &self.ends,
            texts: &self.texts,
            entries: &self.entries,
            heap: object.values.heap(),
        };
        let size = 64 + self.texts.len() + 8 * self.entries.len() + object.values.heap().len();
        encode(&record, size)
    }

    /// The record of a metaverse object, without its id and lineage, which are rows.
    pub(super) fn mv_object(&mut self, object: &MvObject) -> Result<Vec<u8>, Flaw> {
        self.entries(&object.values);
        let record = MvRecordV1 { object_type: object.object_type.0, entries: &self.entries, heap: object.values.heap() };
        let size = 32 + 8 * self.entries.len() + object.values.heap().len();
        encode(&record, size)
    }

    fn entries(&mut self, values: &FlatValues) {
        self.entries.clear();
        self.entries.extend(values.entries().iter().map(|entry| EntryV1 {
            attr: entry.attr.0,
            kind: value_kind_code(entry.kind),
            flags: entry.flags,
            end: entry.end,
        }));
    }
}

/// A record: its version, then the archive; `size` is a guess.
pub(super) fn encode<T>(record: &T, size: usize) -> Result<Vec<u8>, Flaw>
where
    T: for<'a> Serialize<rkyv::api::high::HighSerializer<Vec<u8>, rkyv::ser::allocator::ArenaHandle<'a>, Failure>>,
{
    let mut buffer = Vec::with_capacity(size);
    buffer.push(VERSION_1);
    rkyv::api::high::to_bytes_in::<_, Failure>(record, buffer).map_err(|_| "a record that cannot be serialized")
}

/// A record in place, its structure checked.
pub(super) fn access<T>(bytes: &[u8]) -> Result<&T, Flaw>
where
    T: Portable + for<'a> rkyv::bytecheck::CheckBytes<rkyv::api::high::HighValidator<'a, Failure>>,
{
    match bytes.split_first() {
        Some((&VERSION_1, archive)) => rkyv::access::<T, Failure>(archive).map_err(|_| "its structure is broken"),
        Some(_) => Err("its version is unknown"),
        None => Err("it is empty"),
    }
}

/// A connector-space record read in place: what the writer needs of an old record without decoding it.
pub(super) struct CsView<'a> {
    record: &'a ArchivedCsRecordV1<'static>,
}

impl<'a> CsView<'a> {
    /// Checks the structure.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, Flaw> {
        Ok(Self { record: access::<ArchivedCsRecordV1<'static>>(bytes)? })
    }

    /// The type as the directory last reported it.
    pub(super) fn object_type(&self) -> ObjectType {
        ObjectType(self.record.object_type.to_native())
    }

    /// The stored name.
    pub(super) fn dn(&self) -> Result<&'a str, Flaw> {
        std::str::from_utf8(self.part(0)?).map_err(|_| "its name is not UTF-8")
    }

    /// The stored anchor.
    pub(super) fn anchor(&self) -> Result<Option<&'a [u8]>, Flaw> {
        if self.flag(cs_flag::ANCHOR) { self.part(1).map(Some) } else { Ok(None) }
    }

    /// True when another object holds its name.
    pub(super) fn transient(&self) -> bool {
        self.flag(cs_flag::TRANSIENT)
    }

    /// The stages that hold something, as a set of bits.
    pub(super) fn stages(&self) -> u8 {
        self.record.kinds.iter().enumerate().fold(0, |set, (index, kind)| set | u8::from(*kind != 0) << index)
    }

    /// Whether it is in the base, and whether a pending import takes it away.
    pub(super) fn standing(&self) -> (bool, bool) {
        let import = delta_kind(self.record.kinds[Stage::PendingImport.index()]);
        (self.flag(cs_flag::IN_BASE), matches!(import, Some(DeltaKind::Delete | DeltaKind::DeleteAdd)))
    }

    /// The values of the base image.
    pub(super) fn base_values(&self) -> impl Iterator<Item = Result<RawEntry<'a>, Flaw>> {
        self.values().filter(|entry| entry.as_ref().map_or(true, |entry| ValueState(entry.flags).in_base()))
    }

    /// All values: attribute, kind, flags, content.
    pub(super) fn values(&self) -> EntryIter<'a> {
        EntryIter::new(&self.record.entries, &self.record.heap)
    }

    /// The whole object; `link` comes from its own row.
    pub(super) fn decode(&self, id: CsId, link: Link) -> Result<CsObject, Flaw> {
        let record = self.record;
        let mut part = 1 + usize::from(self.flag(cs_flag::ANCHOR));
        let mut stages: [StageDelta; 4] = Default::default();
        for (index, stage) in stages.iter_mut().enumerate() {
            stage.kind = delta_kind(record.kinds[index]).ok_or("a delta of an unknown kind")?;
            if self.flag(cs_flag::RENAME << index) {
                let rename = std::str::from_utf8(self.part(part)?).map_err(|_| "a new name is not UTF-8")?;
                stage.rename = Some(rename.into());
                part += 1;
            }
        }
        if part != record.ends.len() || record.ends.as_ref().last().is_some_and(|end| end.to_native() as usize != record.texts.len()) {
            return Err("names and their ends do not fit together");
        }
        if record.entries.iter().any(|entry| !ValueState(entry.flags).is_valid()) {
            return Err("a value in an undefined state");
        }
        Ok(CsObject {
            id,
            object_type: ObjectType(record.object_type.to_native()),
            previous_type: self.flag(cs_flag::PREVIOUS_TYPE).then(|| ObjectType(record.previous_type.to_native())),
            dn: self.dn()?.into(),
            anchor: self.anchor()?.map(Anchor::new),
            transient: self.transient(),
            in_base: self.flag(cs_flag::IN_BASE),
            stages,
            values: decode_values(&record.entries, &record.heap)?,
            link,
        })
    }

    fn flag(&self, flag: u8) -> bool {
        self.record.flags & flag != 0
    }

    fn part(&self, index: usize) -> Result<&'a [u8], Flaw> {
        let end = |index: usize| self.record.ends.as_ref().get(index).map(|end| end.to_native() as usize);
        let start = if index == 0 { Some(0) } else { end(index - 1) };
        start.zip(end(index)).and_then(|(start, end)| self.record.texts.as_ref().get(start..end)).ok_or("an end outside its names")
    }
}

/// A metaverse record read in place.
pub(super) struct MvView<'a> {
    record: &'a ArchivedMvRecordV1<'static>,
}

impl<'a> MvView<'a> {
    /// Checks the structure.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, Flaw> {
        Ok(Self { record: access::<ArchivedMvRecordV1<'static>>(bytes)? })
    }

    /// All values: attribute, kind, flags, content.
    pub(super) fn values(&self) -> EntryIter<'a> {
        EntryIter::new(&self.record.entries, &self.record.heap)
    }

    /// The whole object; `lineage` comes from its own row.
    pub(super) fn decode(&self, id: MvId, lineage: Vec<Lineage>) -> Result<MvObject, Flaw> {
        Ok(MvObject {
            id,
            object_type: ObjectType(self.record.object_type.to_native()),
            values: decode_values(&self.record.entries, &self.record.heap)?,
            lineage,
        })
    }
}

/// One value of a record as it lies there.
#[derive(Clone, Copy)]
pub(super) struct RawEntry<'a> {
    /// The attribute.
    pub(super) attr: AttrId,
    /// The kind's code.
    kind: u8,
    /// Base and deltas that it is in.
    flags: u8,
    /// The octets.
    content: &'a [u8],
}

impl<'a> RawEntry<'a> {
    /// True for the same value of the same attribute, whatever images it is in.
    pub(super) fn same(self, other: RawEntry<'_>) -> bool {
        self.attr == other.attr && self.kind == other.kind && self.content == other.content
    }

    /// The value.
    pub(super) fn value(self) -> Result<ValueRef<'a>, Flaw> {
        let kind = value_kind(self.kind).ok_or("a value of an unknown kind")?;
        Ok(match kind {
            ValueKind::Text => ValueRef::Text(std::str::from_utf8(self.content).map_err(|_| "a text that is not UTF-8")?),
            ValueKind::Number => ValueRef::Number(i64::from_le_bytes(self.content.try_into().map_err(|_| "a number of the wrong length")?)),
            ValueKind::Boolean => ValueRef::Boolean(self.content == [1]),
            ValueKind::Binary => ValueRef::Binary(self.content),
            ValueKind::LargeText => ValueRef::LargeText(decode_blob(self.content)?),
            ValueKind::LargeBinary => ValueRef::LargeBinary(decode_blob(self.content)?),
            ValueKind::Reference => return Err("a reference among the values"),
        })
    }

    /// The large value it stands for, if it does.
    pub(super) fn blob(self) -> Result<Option<Blob>, Flaw> {
        match value_kind(self.kind) {
            Some(ValueKind::LargeText | ValueKind::LargeBinary) => decode_blob(self.content).map(Some),
            _ => Ok(None),
        }
    }
}

/// Walks the values of a record; ends with a flaw when an end lies outside the heap.
#[derive(Clone)]
pub(super) struct EntryIter<'a> {
    entries: std::slice::Iter<'a, ArchivedEntryV1>,
    heap: &'a [u8],
    start: usize,
}

impl<'a> EntryIter<'a> {
    fn new(entries: &'a [ArchivedEntryV1], heap: &'a [u8]) -> Self {
        Self { entries: entries.iter(), heap, start: 0 }
    }
}

impl<'a> Iterator for EntryIter<'a> {
    type Item = Result<RawEntry<'a>, Flaw>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.entries.next()?;
        let end = entry.end.to_native() as usize;
        let content = self.heap.get(self.start..end);
        self.start = end;
        Some(
            content
                .map(|content| RawEntry { attr: AttrId(entry.attr.to_native()), kind: entry.kind, flags: entry.flags, content })
                .ok_or("an end outside its heap"),
        )
    }
}

fn decode_values(entries: &[ArchivedEntryV1], heap: &[u8]) -> Result<FlatValues, Flaw> {
    let mut list = Vec::with_capacity(entries.len());
    for entry in entries {
        let kind = value_kind(entry.kind).ok_or("a value of an unknown kind")?;
        list.push(FlatEntry { attr: AttrId(entry.attr.to_native()), kind, flags: entry.flags, end: entry.end.to_native() });
    }
    FlatValues::from_parts(list, heap.to_vec()).ok_or("its values do not fit together")
}

fn decode_blob(content: &[u8]) -> Result<Blob, Flaw> {
    let (hash, length) = content.split_at_checked(16).ok_or("a handle of the wrong length")?;
    match (hash.try_into(), length.try_into()) {
        (Ok(hash), Ok(length)) => Ok(Blob { hash: u128::from_le_bytes(hash), length: u32::from_le_bytes(length) }),
        _ => Err("a handle of the wrong length"),
    }
}

/// The record of a metaverse object's origins.
pub(super) fn encode_lineage(lineage: &[Lineage]) -> Result<Vec<u8>, Flaw> {
    let mut record = LineageRecordV1 { origins: Vec::new(), rows: Vec::with_capacity(lineage.len()) };
    for row in lineage {
        let origin = OriginV1 { rule: row.rule.0, source: row.source.0, since: row.since.0 };
        // From the end, since neighbours mostly share their origin.
        let index = record.origins.iter().rposition(|known| *known == origin).unwrap_or_else(|| {
            record.origins.push(origin);
            record.origins.len() - 1
        });
        let origin = u16::try_from(index).map_err(|_| "more than 65,536 origins")?;
        record.rows.push(LineageRowV1 { attr: row.attr.0, origin });
    }
    let size = 32 + 20 * record.origins.len() + 4 * record.rows.len();
    encode(&record, size)
}

/// The origins in a record.
pub(super) fn decode_lineage(bytes: &[u8]) -> Result<Vec<Lineage>, Flaw> {
    let record = access::<ArchivedLineageRecordV1>(bytes)?;
    record
        .rows
        .iter()
        .map(|row| {
            let origin = record.origins.get(usize::from(row.origin.to_native())).ok_or("an attribute without its origin")?;
            Ok(Lineage {
                attr: AttrId(row.attr.to_native()),
                rule: RuleId(origin.rule.to_native()),
                source: CsId(origin.source.to_native()),
                since: Timestamp(origin.since.to_native()),
            })
        })
        .collect()
}

/// The record of an object's problem.
pub(super) fn encode_error(error: &ObjectError) -> Result<Vec<u8>, Flaw> {
    let record = ErrorRecordV1 {
        code: error.code.as_str(),
        detail: &error.detail,
        first_seen: error.first_seen.0,
        last_seen: error.last_seen.0,
        retry_count: error.retry_count,
    };
    encode(&record, 48 + error.detail.len() + error.code.as_str().len())
}

/// The problem in a record.
pub(super) fn decode_error(bytes: &[u8]) -> Result<ObjectError, Flaw> {
    let record = access::<ArchivedErrorRecordV1<'static>>(bytes)?;
    Ok(ObjectError {
        code: ObjectErrorCode::named(record.code.to_owned()),
        detail: record.detail.to_owned(),
        first_seen: Timestamp(record.first_seen.to_native()),
        last_seen: Timestamp(record.last_seen.to_native()),
        retry_count: record.retry_count.to_native(),
    })
}

/// The record of a run, without its number, which is the key.
pub(super) fn encode_run(run: &RunRecord) -> Result<Vec<u8>, Flaw> {
    let steps = run.steps.iter().map(|step| StepRecordV1 {
        number: step.number,
        kind: step_kind_code(step.kind),
        started: step.started.0,
        ended: step.ended.map(|ended| ended.0),
        result: step.result.0.to_string(),
        counters: step.counters.iter().map(|(name, count)| (name.0.to_string(), *count)).collect(),
        message: step.message.clone(),
    });
    let record = RunRecordV1 {
        cycle: run.cycle.map(|cycle| cycle.0),
        connector: run.connector.0,
        connector_name: run.connector_name.clone(),
        profile: run.profile.clone(),
        started: run.started.0,
        ended: run.ended.map(|ended| ended.0),
        result: run.result.0.to_string(),
        steps: steps.collect(),
    };
    encode(&record, 256)
}

/// The run in a record.
pub(super) fn decode_run(id: RunId, bytes: &[u8]) -> Result<RunRecord, Flaw> {
    let record = access::<ArchivedRunRecordV1>(bytes)?;
    let steps = record.steps.iter().map(|step| {
        Ok(StepRecord {
            number: step.number.to_native(),
            kind: step_kind(step.kind).ok_or("a step of an unknown kind")?,
            started: Timestamp(step.started.to_native()),
            ended: step.ended.as_ref().map(|ended| Timestamp(ended.to_native())),
            result: RunResult(Cow::Owned(step.result.as_str().to_owned())),
            counters: step.counters.iter().map(|pair| (CounterName(Cow::Owned(pair.0.as_str().to_owned())), pair.1.to_native())).collect(),
            message: step.message.as_ref().map(|message| message.as_str().to_owned()),
        })
    });
    Ok(RunRecord {
        id,
        cycle: record.cycle.as_ref().map(|cycle| RunId(cycle.to_native())),
        connector: ConnectorId(record.connector.to_native()),
        connector_name: record.connector_name.as_str().to_owned(),
        profile: record.profile.as_str().to_owned(),
        started: Timestamp(record.started.to_native()),
        ended: record.ended.as_ref().map(|ended| Timestamp(ended.to_native())),
        result: RunResult(Cow::Owned(record.result.as_str().to_owned())),
        steps: steps.collect::<Result<_, Flaw>>()?,
    })
}

/// The record of an object behind a counter, without what is in its key.
pub(super) fn encode_step_object(object: &StepObject) -> Result<Vec<u8>, Flaw> {
    let changes = object.changes.iter().map(|change| AttributeDeltaV1 {
        attribute: change.attribute.clone(),
        removed: change.removed.clone(),
        added: change.added.clone(),
    });
    encode(&StepObjectRecordV1 { dn: object.dn.clone(), changes: changes.collect() }, 128)
}

/// The object behind a counter in a record.
pub(super) fn decode_step_object(counter: CounterName, id: CsId, bytes: &[u8]) -> Result<StepObject, Flaw> {
    let record = access::<ArchivedStepObjectRecordV1>(bytes)?;
    let texts = |list: &[rkyv::string::ArchivedString]| list.iter().map(|text| text.as_str().to_owned()).collect();
    let changes = record.changes.iter().map(|change| AttributeDelta {
        attribute: change.attribute.as_str().to_owned(),
        removed: texts(&change.removed),
        added: texts(&change.added),
    });
    Ok(StepObject { counter, id, dn: record.dn.as_str().to_owned(), changes: changes.collect() })
}

/// A link as its row.
pub(super) fn encode_link(link: Link) -> (u8, u64, u32) {
    match link {
        Link::Placeholder => (0, 0, 0),
        Link::Disconnected => (1, 0, 0),
        Link::DisconnectedByFilter => (2, 0, 0),
        Link::ExplicitlyDisconnected => (3, 0, 0),
        Link::Connected { mv, by } => (4, mv.0, by.0),
        Link::ExplicitlyConnected { mv } => (5, mv.0, 0),
    }
}

/// The link in a row.
pub(super) fn decode_link((kind, mv, rule): (u8, u64, u32)) -> Result<Link, Flaw> {
    Ok(match kind {
        0 => Link::Placeholder,
        1 => Link::Disconnected,
        2 => Link::DisconnectedByFilter,
        3 => Link::ExplicitlyDisconnected,
        4 => Link::Connected { mv: MvId(mv), by: RuleId(rule) },
        5 => Link::ExplicitlyConnected { mv: MvId(mv) },
        _ => return Err("a link of an unknown kind"),
    })
}

// The codes below are part of the format: they never change their meaning, whatever the model's order becomes.

fn value_kind_code(kind: ValueKind) -> u8 {
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

fn delta_kind_code(kind: DeltaKind) -> u8 {
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

fn step_kind_code(kind: StepKind) -> u8 {
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

/// A stage's code in queue keys; records keep the four stages in this order, too.
pub(super) fn stage_code(stage: Stage) -> u8 {
    match stage {
        Stage::PendingImport => 0,
        Stage::Unconfirmed => 1,
        Stage::InProgress => 2,
        Stage::PendingExport => 3,
    }
}

/// A side's code in keys of problems.
pub(super) fn side_code(side: ErrorSide) -> u8 {
    match side {
        ErrorSide::Import => 0,
        ErrorSide::Sync => 1,
        ErrorSide::Export => 2,
    }
}

/// The side of a code.
pub(super) fn side(code: u8) -> Result<ErrorSide, Flaw> {
    Ok(match code {
        0 => ErrorSide::Import,
        1 => ErrorSide::Sync,
        2 => ErrorSide::Export,
        _ => return Err("a problem on an unknown side"),
    })
}

/// A reason's code in rows of marked objects.
pub(super) fn reason_code(reason: super::DirtyReason) -> u8 {
    use super::DirtyReason::{Consequence, ReferenceResolved, RetryProvisioning, SyncError};
    match reason {
        SyncError => 0,
        RetryProvisioning => 1,
        ReferenceResolved => 2,
        Consequence => 3,
    }
}

/// The reason of a code.
pub(super) fn reason(code: u8) -> Result<super::DirtyReason, Flaw> {
    use super::DirtyReason::{Consequence, ReferenceResolved, RetryProvisioning, SyncError};
    Ok(match code {
        0 => SyncError,
        1 => RetryProvisioning,
        2 => ReferenceResolved,
        3 => Consequence,
        _ => return Err("a mark with an unknown reason"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FlatBuilder;

    fn object() -> CsObject {
        let mut values = FlatBuilder::new();
        values.push(AttrId(3), ValueRef::Text("Łódź"), 1);
        values.push(AttrId(2), ValueRef::Number(-7), 3);
        values.push(AttrId(9), ValueRef::Boolean(true), 1);
        values.push(AttrId(9), ValueRef::LargeBinary(Blob::of(b"photo")), 161);
        let mut object = CsObject::new(CsId::new(ConnectorId(2), 5), ObjectType(4), "CN=a,DC=x");
        object.anchor = Some(Anchor::new(&b"0123456789abcdef"[..]));
        object.values = values.finish();
        object.in_base = true;
        object.previous_type = Some(ObjectType(8));
        object.stages[1] = StageDelta { kind: DeltaKind::Update, rename: Some("CN=b,DC=x".into()) };
        object.stages[3] = StageDelta { kind: DeltaKind::DeleteAdd, rename: Some("CN=c,DC=x".into()) };
        object
    }

    #[test]
    fn an_object_comes_back_as_it_went() {
        let object = object();
        let bytes = Encoder::default().cs_object(&object).unwrap();
        let view = CsView::new(&bytes).unwrap();
        assert_eq!(view.decode(object.id, object.link).unwrap(), object);
        assert_eq!(view.stages(), 0b1010);
        assert_eq!(view.values().filter_map(|entry| entry.unwrap().blob().unwrap()).collect::<Vec<_>>(), [Blob::of(b"photo")]);
    }

    #[test]
    fn no_damage_to_one_octet_panics() {
        let object = object();
        let good = Encoder::default().cs_object(&object).unwrap();
        let mut refused = 0;
        for index in 0..good.len() {
            for change in [1u8, 0x80, 0xff] {
                let mut bytes = good.clone();
                bytes[index] ^= change;
                let read = CsView::new(&bytes).and_then(|view| {
                    view.values().try_for_each(|entry| entry.and_then(|entry| entry.value().map(drop)))?;
                    view.decode(object.id, object.link)
                });
                refused += usize::from(read.is_err());
            }
        }
        assert!(refused > good.len(), "most damage to a header or a table is seen, not all to contents: {refused}");
        for length in 0..good.len() {
            assert!(CsView::new(&good[..length]).and_then(|view| view.decode(object.id, object.link)).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn origins_are_kept_once() {
        let row = |attr, source| Lineage { attr: AttrId(attr), rule: RuleId(7), source: CsId(source), since: Timestamp(5) };
        let lineage: Vec<_> = (0..36).map(|attr| row(attr, u64::from(attr % 2))).collect();
        let bytes = encode_lineage(&lineage).unwrap();
        assert!(bytes.len() < 220, "{}", bytes.len());
        assert_eq!(decode_lineage(&bytes).unwrap(), lineage);
        assert_eq!(decode_lineage(&encode_lineage(&[]).unwrap()).unwrap(), []);
    }
}
