//! Streams the records of one or more files as pages, on a thread of its own.

use super::drop::{self, Changes, FilesRead, Place};
use super::replay::{Replay, naming_changes, new_name};
use super::{LdifConnector, LdifSettings};
use crate::connector::directory::{Gathered, ImportPlan, KindTable, Known, PAGES_AHEAD, Problem};
use crate::connector::{
    Completion, ConnectorError, ConnectorErrorKind, DiscoveryError, ImportKind, ImportPage, ImportRequest, ImportStream, Legible, OddClass,
    Operation, PageBuilder,
};
use crate::context::Context;
use crate::model::{Dn, ObjectErrorCode, ObjectType};
use crate::protocol::ldif::{LdifError, ModifyOperation, Reader, Record, RecordError, RecordKind};
use futures_util::StreamExt as _;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;
use xxhash_rust::xxh3::xxh3_64;

const BUFFER: usize = 256 << 10;
/// The anchor where nobody chose one, of files whose entries have it.
const OBJECT_GUID: &str = "objectGUID";

type Sender = mpsc::Sender<Result<ImportPage, ConnectorError>>;

/// The receiver of pages is gone, or the run was told to stop: no more work.
pub(super) struct Ended;

/// What an import reads, found out before its first page.
struct Opened {
    /// Files that are streamed.
    files: Vec<PathBuf>,
    first: Option<File>,
    /// Change records that are applied to them, or stand for themselves.
    changes: Changes,
    watermark: Option<Vec<u8>>,
}

pub(super) async fn start(connector: &LdifConnector, cx: Context, request: ImportRequest) -> Result<ImportStream, ConnectorError> {
    let anchors = anchor_names(&connector.settings);
    let kinds = KindTable::built_in();
    let types = &connector.settings.selection.object_types;
    let plan = ImportPlan::new(&connector.names, &request.attributes, &kinds, &anchors, types, connector.scope.clone()).without_schema();
    let several = anchors.len() > 1;
    let delta = request.kind != ImportKind::Full;
    let settings = connector.settings.clone();
    // What cannot be opened is the step's failure at once, before any page.
    let opened = tokio::task::spawn_blocking(move || prepare(&settings, &request.kind))
        .await
        .map_err(|_| ConnectorError::new(ConnectorErrorKind::File, "opening the import file ended unexpectedly"))??;
    let (sender, mut receiver) = mpsc::channel(PAGES_AHEAD);
    tokio::task::spawn_blocking(move || {
        let mut import = Import {
            plan: &plan,
            cx: &cx,
            sender: &sender,
            builder: PageBuilder::new(),
            delta,
            unfinished: None,
            several_anchors: several,
            one_anchor: false,
            places: HashMap::new(),
            files: Vec::new(),
        };
        let _: Result<(), Ended> = import.run(opened);
    });
    Ok(futures_util::stream::poll_fn(move |task| receiver.poll_recv(task)).boxed())
}

fn prepare(settings: &LdifSettings, kind: &ImportKind) -> Result<Opened, ConnectorError> {
    let base_files = list(&settings.path)?;
    // Taken down before anything is read: what is written meanwhile makes the next import a full one.
    let (base, read) = (drop::state_of(&base_files)?, files_read(settings, &base_files));
    let Some(path) = &settings.changes else {
        // Every import is a full one, and nobody goes on from here: what is kept is only which files there were.
        let place = read.is_some().then(|| Place { base, read, ..Place::default() }.write());
        return opened(base_files, Changes::default(), place);
    };
    let folder = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?.is_dir();
    let known = match kind {
        ImportKind::Full => Place { base, read, ..Place::default() },
        ImportKind::Delta { since } => match Place::read(since) {
            Some(place) if place.base == base => place,
            Some(place) if folder => {
                let left = drop::left_behind(Some(path), &place.taken).map(|left| format!("; {left}")).unwrap_or_default();
                return Err(written_anew(&settings.path, &left));
            }
            // A file of changes is read again every time, and what an older version kept says nothing.
            None if !folder => Place { base, read, ..Place::default() },
            _ => return Err(written_anew(&settings.path, "")),
        },
    };
    if !folder && *kind != ImportKind::Full {
        let added = drop::added(path, &known.added);
        return opened(vec![path.clone()], Changes::default(), Some(Place { added, ..known }.write()));
    }
    let all = if folder { files_of(path)? } else { vec![path.clone()] };
    let new = drop::untaken(path, all, &known.taken)?;
    let (changes, taken) = drop::load(new)?;
    let (taken, added) = if folder { ([known.taken, taken].concat(), Vec::new()) } else { (Vec::new(), drop::added(path, &known.added)) };
    let files = if *kind == ImportKind::Full { base_files } else { Vec::new() };
    opened(files, changes, Some(Place { base, read: known.read, taken, added }.write()))
}

/// Which files of all entries there are, where they are those of a folder.
fn files_read(settings: &LdifSettings, files: &[PathBuf]) -> Option<FilesRead> {
    settings.path.is_dir().then(|| FilesRead::of(&settings.path, files))
}

/// The files of all entries are others, so that a place says nothing.
fn written_anew(path: &Path, left: &str) -> ConnectorError {
    let path = path.display();
    let message = format!("{path} was written anew since the last import, or that is not known; everything is read anew{left}");
    let kind = if left.is_empty() { ConnectorErrorKind::ReadAnew } else { ConnectorErrorKind::WatermarkLost };
    ConnectorError::new(kind, message).unsent()
}

/// Holds the files that an earlier import read against what is there: those of all entries of a folder, unless their absence is
/// `meant`, and the change files that it took. A new file of all entries begins anew: whoever writes it says that it has everything.
pub(super) fn look_back(settings: &LdifSettings, since: &[u8], meant: bool) -> Result<Option<String>, ConnectorError> {
    let Some(place) = Place::read(since) else { return Ok(None) };
    if !meant
        && settings.path.is_dir()
        && let Some(read) = &place.read
        && let Some(now) = files_read(settings, &files_of(&settings.path)?)
        && let Some(lost) = read.lost(&now)
    {
        return Err(ConnectorError::new(ConnectorErrorKind::FileLost, lost).unsent());
    }
    if place.taken.is_empty() && place.added.is_empty() {
        return Ok(None);
    }
    let folder = match &settings.changes {
        Some(path) => std::fs::metadata(path).map_err(|error| unreadable(path, &error))?.is_dir(),
        None => false,
    };
    if place.base != drop::state_of(&list(&settings.path)?)? {
        return Ok(drop::left_behind(settings.changes.as_deref().filter(|_| folder), &place.taken));
    }
    match &settings.changes {
        // What is new counts now as well, and must come behind.
        Some(path) if folder && place.added.is_empty() => drop::untaken(path, files_of(path)?, &place.taken).map(|_| None),
        Some(path) if !folder && place.taken.is_empty() => drop::still_names(path, &place.added).map(|()| None),
        _ => Err(ConnectorError::new(
            ConnectorErrorKind::File,
            format!(
                "{}: {} taken, and `changes` names something else now: whom {} added would count as gone. Name what it was; to begin anew \
                 without it, write a new file of all entries",
                settings.path.display(),
                place
                    .taken
                    .last()
                    .map_or_else(|| "a file of changes was".to_owned(), |last| format!("change files up to '{}' were", last.name)),
                if place.taken.is_empty() { "it" } else { "they" }
            ),
        )),
    }
}

fn opened(files: Vec<PathBuf>, changes: Changes, watermark: Option<Vec<u8>>) -> Result<Opened, ConnectorError> {
    let first = files.first().map(|file| open(file)).transpose()?;
    Ok(Opened { files, first, changes, watermark })
}

/// The attributes that identify an entry; the first one present does.
pub(super) fn anchor_names(settings: &LdifSettings) -> Vec<&str> {
    match &settings.anchor {
        Some(anchor) => vec![anchor],
        None => vec![OBJECT_GUID, "entryUUID"],
    }
}

/// The files behind a path: itself, or the `*.ldif` files of a folder by name.
pub(super) fn list(path: &Path) -> Result<Vec<PathBuf>, ConnectorError> {
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if !metadata.is_dir() {
        regular(path, &metadata)?;
        return Ok(vec![path.to_owned()]);
    }
    let files = files_of(path)?;
    if files.is_empty() {
        return Err(ConnectorError::new(ConnectorErrorKind::File, format!("folder {} has no *.ldif file", path.display())));
    }
    Ok(files)
}

/// The `*.ldif` files of a folder by name.
pub(super) fn files_of(path: &Path) -> Result<Vec<PathBuf>, ConnectorError> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|error| unreadable(path, &error))? {
        let file = entry.map_err(|error| unreadable(path, &error))?.path();
        if is_named_as_ldif(&file) && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// True for the names of which files of a folder are read.
pub(super) fn is_named_as_ldif(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("ldif"))
}

pub(super) fn open(path: &Path) -> Result<File, ConnectorError> {
    // Looked at before it is opened: a pipe that nobody writes to would not open.
    regular(path, &std::fs::metadata(path).map_err(|error| unreadable(path, &error))?)?;
    File::open(path).map_err(|error| unreadable(path, &error))
}

/// Only what can be read again from its beginning is a directory.
fn regular(path: &Path, metadata: &std::fs::Metadata) -> Result<(), ConnectorError> {
    match file_kind(metadata) {
        None => Ok(()),
        Some(kind) => {
            let message = format!("{} is {kind} and no regular file: name a file that can be read again, or a folder", path.display());
            Err(ConnectorError::new(ConnectorErrorKind::File, message))
        }
    }
}

/// What is no regular file, in words.
pub fn file_kind(metadata: &std::fs::Metadata) -> Option<&'static str> {
    let kind = metadata.file_type();
    if kind.is_file() {
        None
    } else if kind.is_dir() {
        Some("a folder")
    } else if kind.is_fifo() {
        Some("a named pipe")
    } else if kind.is_socket() {
        Some("a socket")
    } else {
        Some("a device")
    }
}

pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> ConnectorError {
    ConnectorError::new(ConnectorErrorKind::File, format!("{} cannot be read: {error}", path.display()))
}

pub(super) struct Import<'a> {
    pub(super) plan: &'a ImportPlan,
    cx: &'a Context,
    sender: &'a Sender,
    pub(super) builder: PageBuilder,
    delta: bool,
    /// The line of the last record, when that lacks what a whole one has.
    pub(super) unfinished: Option<u64>,
    /// Any of several attributes may be the anchor.
    several_anchors: bool,
    /// The first of them is it for every entry of the file that is read.
    one_anchor: bool,
    /// Where each entry of a full import was read, by the hash of its anchor: whoever is told twice is told with both places.
    places: HashMap<u64, (u32, u64)>,
    /// The files of these places.
    files: Vec<PathBuf>,
}

impl Import<'_> {
    fn run(&mut self, opened: Opened) -> Result<(), Ended> {
        let Opened { files, mut first, changes, watermark } = opened;
        let mut replay = Replay::new(&changes);
        let mut one_anchor = !files.is_empty();
        for path in &files {
            let mut file = match first.take().map_or_else(|| open(path), Ok) {
                Ok(file) => file,
                Err(error) => return self.fail(error),
            };
            self.one_anchor = match self.has_first_anchor(&mut file) {
                Ok(has) => has,
                Err(error) => return self.fail(unreadable(path, &error)),
            };
            one_anchor &= self.one_anchor;
            // Only what follows a record tells that it was whole.
            let mut last: Option<Record> = None;
            for record in Reader::new(BufReader::with_capacity(BUFFER, file)) {
                let before = match &record {
                    Err(LdifError::Record(error)) if error.headless => {
                        last.take().into_iter().for_each(|torn| self.torn(path, &torn, error.line));
                        None
                    }
                    _ => last.take(),
                };
                if let Some(before) = before {
                    self.whole(path, &before, &mut replay);
                    self.flush_full()?;
                }
                match record {
                    Ok(record) => last = Some(record),
                    Err(LdifError::Record(error)) => self.damaged(path, error),
                    Err(fatal) => {
                        return self.fail(ConnectorError::new(ConnectorErrorKind::File, format!("{}, {fatal}", path.display())));
                    }
                }
                self.flush_full()?;
            }
            if let Some(last) = last {
                self.whole(path, &last, &mut replay);
            }
            self.flush_full()?;
            self.doubt_end(path);
        }
        let adds = || changes.records.iter().filter(|(_, record)| matches!(record.kind, RecordKind::Add | RecordKind::Content));
        let names_first = |record: &Record| record.values().any(|value| self.plan.known(value.name).is_some_and(Known::is_first_anchor));
        // What is added is known by what the others are known by.
        self.one_anchor = if files.is_empty() { self.several_anchors && adds().any(|(_, record)| names_first(record)) } else { one_anchor };
        if self.delta {
            for (file, record) in &changes.records {
                self.record(&changes.files[*file], record);
                self.flush_full()?;
            }
        } else {
            self.added(&changes, &mut replay)?;
        }
        let completion = Completion { watermark, answered_in_full: false };
        let page = std::mem::take(&mut self.builder).build(Some(completion));
        self.sender.blocking_send(Ok(page)).map_err(|_| Ended)
    }

    /// True when entries of a file have the first of several attributes that may be the anchor: then all of them have to have it,
    /// since whoever loses it would be somebody else by the next one. The file is at its beginning afterwards.
    fn has_first_anchor(&self, file: &mut File) -> std::io::Result<bool> {
        if !self.several_anchors {
            return Ok(false);
        }
        let mut reader = BufReader::with_capacity(BUFFER, &*file);
        let (mut found, mut at_line_start) = (false, true);
        while !found {
            let buffer = reader.fill_buf()?;
            if buffer.is_empty() {
                break;
            }
            // A line at a time, of which only the beginning counts.
            let end = buffer.iter().position(|octet| *octet == b'\n').map_or(buffer.len(), |end| end + 1);
            let line = &buffer[..end];
            let name = line.iter().position(|octet| *octet == b':').and_then(|colon| std::str::from_utf8(&line[..colon]).ok());
            found = at_line_start && name.is_some_and(|name| name.split(';').next().unwrap_or_default().eq_ignore_ascii_case(OBJECT_GUID));
            at_line_start = line.ends_with(b"\n");
            reader.consume(end);
        }
        file.rewind()?;
        Ok(found)
    }

    /// What is gathered of an entry of the file that is read.
    pub(super) fn gathered<'v>(&self) -> Gathered<'v> {
        let mut gathered = Gathered::default();
        if self.one_anchor {
            gathered.demand_first_anchor();
        }
        gathered
    }

    /// A file that ends within a record was cut off there, or so it must be assumed: a problem of nobody, for which
    /// nothing is taken for gone.
    fn doubt_end(&mut self, path: &Path) {
        if let Some(line) = self.unfinished.take() {
            let detail = format!(
                "{}, line {line}: the file ends within this record, which has no {}: it may be cut off, so nothing is taken for gone; \
                 write the file anew, or complete the record",
                path.display(),
                self.plan.anchor_names(),
            );
            let legible = Legible { nobody_knows: true, ..Legible::default() };
            self.builder.reject(DiscoveryError { code: ObjectErrorCode::PARSE_ERROR, detail, dn: None, anchor: None, legible });
        }
    }

    /// A record of a file of all entries that was read up to its end.
    fn whole(&mut self, path: &Path, record: &Record, replay: &mut Replay<'_>) {
        // Names are looked up only where there is something to find.
        if replay.is_empty() { self.record(path, record) } else { self.replayed(path, record, replay) }
    }

    /// A record behind which lines without an entry follow: they may be the rest of it, which is not gone from the directory.
    fn torn(&mut self, path: &Path, record: &Record, rest: u64) {
        let detail = format!(
            "a blank line ends the entry, and the lines behind it, from line {rest} on, belong to no entry: they may be the rest of it; take \
             the blank line out, or put a 'dn:' in front of what follows"
        );
        self.reject(path, record, ObjectErrorCode::PARSE_ERROR, &detail);
    }

    /// A record that cannot be understood.
    fn damaged(&mut self, path: &Path, error: RecordError) {
        self.unfinished = None;
        let legible = self.legible_of(error.values.iter().map(|(name, octets)| (name.as_str(), octets.as_slice())));
        let legible = Legible { merged: error.merged || legible.merged, ..legible };
        let dn = error.dn.filter(|dn| Dn::parse(dn).is_ok_and(|dn| dn.depth() > 0));
        let named = dn.as_deref().map(|dn| format!(" '{dn}':")).unwrap_or_default();
        let detail = format!("{}, line {}:{named} {}", path.display(), error.line, error.detail);
        self.builder.reject(DiscoveryError { code: error.code, detail, dn, anchor: None, legible });
    }

    /// Hands the page over when it is full.
    pub(super) fn flush_full(&mut self) -> Result<(), Ended> {
        if self.builder.is_full() {
            return self.flush();
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Ended> {
        if self.cx.cancelled() {
            return self.fail(ConnectorError::new(ConnectorErrorKind::Cancelled, "the import was told to stop"));
        }
        let page = std::mem::take(&mut self.builder).build(None);
        self.sender.blocking_send(Ok(page)).map_err(|_| Ended)
    }

    fn fail(&self, error: ConnectorError) -> Result<(), Ended> {
        // Nobody listening any more is the same end.
        let _ = self.sender.blocking_send(Err(error));
        Err(Ended)
    }

    pub(super) fn record(&mut self, path: &Path, record: &Record) {
        self.unfinished = None;
        match (&record.kind, self.delta) {
            (RecordKind::Content | RecordKind::Add, _) => {
                let mut gathered = self.gathered();
                let mut last: (&str, _) = ("", None);
                for value in record.values() {
                    if value.name != last.0 {
                        last = (value.name, self.plan.known(value.name));
                    }
                    if let Some(known) = last.1 {
                        gathered.push(known, value.octets);
                    }
                }
                if !self.delta && self.plan.is_unfinished(&gathered) {
                    self.unfinished = Some(record.line);
                }
                self.entry(path, record, record.dn.as_bytes(), &mut gathered);
            }
            (_, false) => {
                let detail = "a full import takes content records and 'changetype: add' only; put changes where `changes` points to, which delta imports read";
                self.reject(path, record, ObjectErrorCode::INVALID_CHANGE_TYPE, detail);
            }
            (RecordKind::Delete, true) => {
                if self.in_scope(path, record) {
                    self.builder.begin_gone(&record.dn);
                    self.builder.finish();
                }
            }
            (RecordKind::Modify, true) => {
                if self.in_scope(path, record) {
                    self.modify(path, record);
                }
            }
            (RecordKind::Rename { .. }, true) => self.rename(path, record),
        }
    }

    /// An entry, with the place where it was read.
    pub(super) fn entry(&mut self, path: &Path, record: &Record, dn: &[u8], gathered: &mut Gathered<'_>) {
        let place = || format!("{}, line {}", path.display(), record.line);
        let before = self.builder.len();
        self.plan.entry(&mut self.builder, dn, gathered, &place);
        // In a delta import the later one is the newer state.
        if self.delta || self.builder.len() == before {
            return;
        }
        let Some(anchor) = self.builder.last_anchor() else { return };
        if self.files.last().is_none_or(|last| last != path) {
            self.files.push(path.to_owned());
        }
        let file = u32::try_from(self.files.len() - 1).unwrap_or(u32::MAX);
        match self.places.entry(xxh3_64(anchor)) {
            Entry::Vacant(free) => {
                free.insert((file, record.line));
            }
            Entry::Occupied(known) => {
                let (first, line) = *known.get();
                let first = self.files.get(first as usize).map(|file| file.display().to_string()).unwrap_or_default();
                self.builder.told_twice(format!("{first}, line {line}, and {}", place()));
            }
        }
    }

    /// A rename, told by names alone. Whoever leaves the wanted containers is gone; whoever comes from elsewhere, or has
    /// entries below, is known to a full import only.
    fn rename(&mut self, path: &Path, record: &Record) {
        let old = Dn::parse(&record.dn).ok().filter(|dn| dn.depth() > 0);
        let new = old.as_ref().and_then(|old| new_name(old, record));
        let (Some(old), Some(new)) = (old, new) else {
            let detail = "the old or the new name of the rename cannot be read";
            return self.reject(path, record, ObjectErrorCode::INVALID_DN, detail);
        };
        let wanted = |dn: &Dn| self.plan.scope().is_everything() || self.plan.scope().wants(&dn.key());
        let (before, after) = (wanted(&old), wanted(&new));
        match (before, after) {
            (false, false) => {
                self.builder.begin_change(&record.dn);
                self.builder.filter();
            }
            (false, true) => {
                let detail = "an entry moves into the selected containers, and the record does not say what it is; run a full import";
                self.reject(path, record, ObjectErrorCode::NEED_FULL_OBJECT, detail);
            }
            (true, false) => {
                self.builder.begin_move_out(&record.dn, new.as_str());
                self.builder.finish();
            }
            (true, true) => {
                let Some(changes) = naming_changes(&old, record) else {
                    let detail = "the old or the new name has several attributes in its first component; run a full import";
                    return self.reject(path, record, ObjectErrorCode::NEED_FULL_OBJECT, detail);
                };
                self.builder.begin_rename(&record.dn, new.as_str());
                for (name, operation, value) in changes {
                    let Some((attr, kind)) = self.plan.known(&name).and_then(|known| self.plan.attribute(known)) else { continue };
                    let operation = if operation == ModifyOperation::Delete { Operation::Remove } else { Operation::Add };
                    self.builder.attribute(attr, operation);
                    if let Err((code, detail)) = crate::connector::directory::add_value(&mut self.builder, kind, &name, &value) {
                        return self.reject(path, record, code, &detail);
                    }
                }
                self.builder.finish();
            }
        }
    }

    fn in_scope(&mut self, path: &Path, record: &Record) -> bool {
        match Dn::parse(&record.dn) {
            Ok(dn) if dn.depth() > 0 => {
                if self.plan.scope().wants(&dn.key()) {
                    return true;
                }
                self.builder.begin_change(&record.dn);
                self.builder.filter();
            }
            Ok(_) => self.reject(path, record, ObjectErrorCode::MISSING_DN, "the record has no name"),
            Err(error) => self.reject(path, record, ObjectErrorCode::INVALID_DN, &error.to_string()),
        }
        false
    }

    fn modify(&mut self, path: &Path, record: &Record) {
        if let Some((code, detail)) = self.other_key(record) {
            return self.reject(path, record, code, &detail);
        }
        let object_type = match self.classes_of(path, record) {
            Ok(Classes::Untold) => None,
            Ok(Classes::Wanted(object_type)) => Some(object_type),
            Ok(Classes::Unwanted) => {
                self.builder.begin_gone(&record.dn);
                return self.builder.finish();
            }
            Err((code, detail)) => return self.reject(path, record, code, &detail),
        };
        self.builder.begin_change(&record.dn);
        if let Some(object_type) = object_type {
            self.builder.object_type(object_type);
        }
        for change in record.changes() {
            let Some((attr, kind)) = self.plan.known(change.name).and_then(|known| self.plan.attribute(known)) else { continue };
            let mut values = change.values().peekable();
            let operation = match change.operation {
                ModifyOperation::Add => Operation::Add,
                ModifyOperation::Delete if values.peek().is_some() => Operation::Remove,
                // A delete without values takes all of them.
                ModifyOperation::Delete | ModifyOperation::Replace => Operation::Replace,
            };
            self.builder.attribute(attr, operation);
            for value in values {
                if let Err((code, detail)) = crate::connector::directory::add_value(&mut self.builder, kind, change.name, value.octets) {
                    let detail = format!("{}, line {}: '{}': {detail}", path.display(), value.line, record.dn);
                    let (dn, legible) = (Some(record.dn.clone()), self.legible(record));
                    self.builder.reject(DiscoveryError { code, detail, dn, anchor: None, legible });
                    return;
                }
            }
        }
        self.builder.finish();
    }

    /// Why a record cannot be used that changes what the entry is known by.
    fn other_key(&self, record: &Record) -> Option<Problem> {
        let mut problem = None;
        for change in record.changes() {
            let Some(known) = self.plan.known(change.name).filter(|known| known.is_anchor()) else { continue };
            let name = change.name;
            let gone = match change.operation {
                ModifyOperation::Delete => true,
                ModifyOperation::Replace => change.values().next().is_none(),
                ModifyOperation::Add => false,
            };
            problem = Some(if gone && known.is_first_anchor() {
                let detail = format!("the record takes away its {name}, by which the entry is known; give it back in a further record");
                (ObjectErrorCode::MISSING_ANCHOR_COMPONENT, detail)
            } else {
                let detail = format!("the record changes its {name}, by which an entry is known; run a full import");
                (ObjectErrorCode::NEED_FULL_OBJECT, detail)
            });
        }
        problem
    }

    /// What a record says of the classes of its entry.
    fn classes_of(&mut self, path: &Path, record: &Record) -> Result<Classes, Problem> {
        let mut told = Classes::Untold;
        for change in record.changes() {
            if !self.plan.known(change.name).is_some_and(Known::is_class) {
                continue;
            }
            let classes: Vec<&[u8]> = change.values().map(|value| value.octets).collect();
            told = match change.operation {
                ModifyOperation::Delete | ModifyOperation::Replace if classes.is_empty() => {
                    return Err((ObjectErrorCode::MISSING_OBJECT_CLASS, "the record takes all its classes away".to_owned()));
                }
                ModifyOperation::Replace => {
                    let object_type = self.plan.wanted_type(&classes);
                    if let (None, Some(class)) = (object_type, self.plan.odd_class(&classes)) {
                        let place = format!("{}, line {}", path.display(), record.line);
                        let (dn, legible) = (record.dn.clone(), self.legible(record));
                        let slip = self.plan.is_slip(&class);
                        self.builder.odd_class(OddClass { dn, anchor: None, class, place, slip, legible });
                    }
                    object_type.map_or(Classes::Unwanted, Classes::Wanted)
                }
                ModifyOperation::Delete if self.plan.wanted_type(&classes).is_some() => {
                    let detail = "the record takes a class away, and does not say what the entry is without it; run a full import";
                    return Err((ObjectErrorCode::NEED_FULL_OBJECT, detail.to_owned()));
                }
                // A class more, or an auxiliary one less, makes nobody another kind of object.
                ModifyOperation::Delete | ModifyOperation::Add => told,
            };
        }
        Ok(told)
    }

    /// Whom a record may be about, by what it says.
    fn legible(&self, record: &Record) -> Legible {
        let legible = self.legible_of(record.values().map(|value| (value.name, value.octets)));
        // A change needs an entry, and it is that one which tells who it is.
        let entry = matches!(record.kind, RecordKind::Content | RecordKind::Add);
        Legible { nobody_knows: legible.nobody_knows && entry, merged: legible.merged && entry, ..legible }
    }

    /// The same of values with the names of their attributes.
    fn legible_of<'v>(&self, values: impl Iterator<Item = (&'v str, &'v [u8])>) -> Legible {
        let mut gathered = Gathered::default();
        for (name, octets) in values {
            self.plan.known(name).into_iter().for_each(|known| gathered.push(known, octets));
        }
        self.plan.legible(&gathered)
    }

    pub(super) fn reject(&mut self, path: &Path, record: &Record, code: ObjectErrorCode, detail: &str) {
        let dn = Dn::parse(&record.dn).is_ok_and(|dn| dn.depth() > 0).then(|| record.dn.clone());
        let detail = format!("{}, line {}: '{}': {detail}", path.display(), record.line, record.dn);
        let legible = self.legible(record);
        self.builder.reject(DiscoveryError { code, detail, dn, anchor: None, legible });
    }
}

/// What a change record says of the classes of its entry.
enum Classes {
    /// Nothing, or nothing that matters.
    Untold,
    /// It is of a wanted type.
    Wanted(ObjectType),
    /// It is not.
    Unwanted,
}
