//! Streams the records of one or more files as pages, on a thread of its own.

use super::{LdifConnector, LdifSettings};
use crate::connector::directory::{Gathered, ImportPlan, KindTable, PAGE_ENTRIES, PAGE_OCTETS, PAGES_AHEAD};
use crate::connector::{
    Completion, ConnectorError, ConnectorErrorKind, DiscoveryError, ImportKind, ImportPage, ImportRequest, ImportStream, Operation,
    PageBuilder,
};
use crate::context::Context;
use crate::model::{Dn, ObjectErrorCode};
use crate::protocol::ldif::{LdifError, ModifyOperation, Reader, Record, RecordKind};
use futures_util::StreamExt as _;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

const BUFFER: usize = 256 << 10;

/// What a delta import of files carries on: files have no position of their own.
const WATERMARK: &[u8] = b"ldif";

type Sender = mpsc::Sender<Result<ImportPage, ConnectorError>>;

/// The receiver of pages is gone, or the run was told to stop: no more work.
struct Ended;

pub(super) async fn start(
    connector: &LdifConnector,
    cx: Context,
    path: PathBuf,
    request: ImportRequest,
) -> Result<ImportStream, ConnectorError> {
    let anchors = anchor_names(&connector.settings);
    let kinds = KindTable::built_in();
    let types = &connector.settings.selection.object_types;
    let plan = ImportPlan::new(&connector.names, &request.attributes, &kinds, &anchors, types, connector.scope.clone());
    let delta = request.kind != ImportKind::Full;
    let watermark = connector.settings.changes.is_some().then(|| WATERMARK.to_vec());
    // What cannot be opened is the step's failure at once, before any page.
    let (files, first) = tokio::task::spawn_blocking(move || {
        let files = list(&path)?;
        let first = files.first().map(|file| open(file)).transpose()?;
        Ok::<_, ConnectorError>((files, first))
    })
    .await
    .map_err(|_| ConnectorError::new(ConnectorErrorKind::File, "opening the import file ended unexpectedly"))??;
    let (sender, mut receiver) = mpsc::channel(PAGES_AHEAD);
    tokio::task::spawn_blocking(move || {
        let mut import = Import { plan: &plan, cx: &cx, sender: &sender, builder: PageBuilder::new(), delta, unfinished: None };
        let _: Result<(), Ended> = import.run(&files, first, watermark);
    });
    Ok(futures_util::stream::poll_fn(move |task| receiver.poll_recv(task)).boxed())
}

/// The attributes that identify an entry; the first one present does.
pub(super) fn anchor_names(settings: &LdifSettings) -> Vec<&str> {
    match &settings.anchor {
        Some(anchor) => vec![anchor],
        None => vec!["objectGUID", "entryUUID"],
    }
}

/// The files behind a path: itself, or the `*.ldif` files of a folder by name.
pub(super) fn list(path: &Path) -> Result<Vec<PathBuf>, ConnectorError> {
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if !metadata.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|error| unreadable(path, &error))? {
        let file = entry.map_err(|error| unreadable(path, &error))?.path();
        if file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("ldif")) && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(ConnectorError::new(ConnectorErrorKind::File, format!("folder {} has no *.ldif file", path.display())));
    }
    Ok(files)
}

pub(super) fn open(path: &Path) -> Result<File, ConnectorError> {
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    let metadata = file.metadata().map_err(|error| unreadable(path, &error))?;
    if metadata.is_dir() {
        return Err(ConnectorError::new(ConnectorErrorKind::File, format!("{} is a folder", path.display())));
    }
    Ok(file)
}

pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> ConnectorError {
    ConnectorError::new(ConnectorErrorKind::File, format!("{} cannot be read: {error}", path.display()))
}

struct Import<'a> {
    plan: &'a ImportPlan,
    cx: &'a Context,
    sender: &'a Sender,
    builder: PageBuilder,
    delta: bool,
    /// The line of the last record, when that lacks what a whole one has.
    unfinished: Option<u64>,
}

impl Import<'_> {
    fn run(&mut self, files: &[PathBuf], mut first: Option<File>, watermark: Option<Vec<u8>>) -> Result<(), Ended> {
        for path in files {
            let file = match first.take().map_or_else(|| open(path), Ok) {
                Ok(file) => file,
                Err(error) => return self.fail(error),
            };
            for record in Reader::new(BufReader::with_capacity(BUFFER, file)) {
                match record {
                    Ok(record) => self.record(path, &record),
                    Err(LdifError::Record(error)) => {
                        self.unfinished = None;
                        let dn = error.dn.filter(|dn| Dn::parse(dn).is_ok_and(|dn| dn.depth() > 0));
                        let named = dn.as_deref().map(|dn| format!(" '{dn}':")).unwrap_or_default();
                        let detail = format!("{}, line {}:{named} {}", path.display(), error.line, error.detail);
                        self.builder.reject(DiscoveryError { code: error.code, detail, dn, anchor: None });
                    }
                    Err(fatal) => {
                        return self.fail(ConnectorError::new(ConnectorErrorKind::File, format!("{}, {fatal}", path.display())));
                    }
                }
                if self.builder.len() >= PAGE_ENTRIES || self.builder.octets() >= PAGE_OCTETS {
                    self.flush()?;
                }
            }
            self.doubt_end(path);
        }
        let completion = Completion { watermark, answered_in_full: false };
        let page = std::mem::take(&mut self.builder).build(Some(completion));
        self.sender.blocking_send(Ok(page)).map_err(|_| Ended)
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
            self.builder.reject(DiscoveryError { code: ObjectErrorCode::PARSE_ERROR, detail, dn: None, anchor: None });
        }
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

    fn record(&mut self, path: &Path, record: &Record) {
        self.unfinished = None;
        match (&record.kind, self.delta) {
            (RecordKind::Content | RecordKind::Add, _) => {
                let mut gathered = Gathered::default();
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
                let place = || format!("{}, line {}", path.display(), record.line);
                self.plan.entry(&mut self.builder, record.dn.as_bytes(), &mut gathered, &place);
            }
            (_, false) => {
                let detail = "a full import takes content records and 'changetype: add' only; put changes into the file of changes and run a delta import";
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
            (RecordKind::Rename { .. }, true) => {
                let detail = "a rename in LDIF does not say which object it means for good (it has no anchor); run a full import";
                self.reject(path, record, ObjectErrorCode::NEED_FULL_OBJECT, detail);
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
        self.builder.begin_change(&record.dn);
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
                    self.builder.reject(DiscoveryError { code, detail, dn: Some(record.dn.clone()), anchor: None });
                    return;
                }
            }
        }
        self.builder.finish();
    }

    fn reject(&mut self, path: &Path, record: &Record, code: ObjectErrorCode, detail: &str) {
        let dn = Dn::parse(&record.dn).is_ok_and(|dn| dn.depth() > 0).then(|| record.dn.clone());
        let detail = format!("{}, line {}: '{}': {detail}", path.display(), record.line, record.dn);
        self.builder.reject(DiscoveryError { code, detail, dn, anchor: None });
    }
}
