//! The folder into which change files are dropped: which are new, which were taken, and that these are what they were.
//!
//! The directory is the file of all entries and every change file after it, in the order of their names, at any time.
//! Whatever would make that untrue behind an import's back is an error, or asks for a full import.

use super::import::unreadable;
use crate::connector::{ConnectorError, ConnectorErrorKind};
use crate::model::Dn;
use crate::protocol::ldif::{LdifError, Reader, Record, RecordKind};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::{Xxh3, xxh3_64, xxh3_128};

const MAGIC: [u8; 4] = *b"SLLF";
/// The version of the form. Another one cannot be read, and then everything is read again.
const VERSION: u8 = 3;
/// The version before, which told nothing of whom a file of changes by itself had added.
const WITHOUT_ADDED: u8 = 2;
/// The one before that, which told nothing of the files of all entries either.
const WITHOUT_FILES: u8 = 1;
/// Change files at once. Long before, a new file of all entries is due.
const FILES_MAX: usize = 100_000;
/// Octets of all change files that one import reads.
const OCTETS_MAX: u64 = 1 << 30;
const BUFFER: usize = 256 << 10;
/// Some programs begin a file in UTF-8 with it.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// One change file as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// Its name in the folder.
    pub(super) name: String,
    size: u64,
    /// When it was written, nanoseconds since 1970-01-01 UTC.
    written: i64,
    sum: u128,
}

/// Where a delta import goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Stands for the files of all entries: another one makes everything new.
    pub(super) base: u128,
    /// The files of all entries, where they are those of a folder.
    pub(super) read: Option<FilesRead>,
    /// The change files of a folder that were taken, in the order of their names.
    pub(super) taken: Vec<Taken>,
    /// Whom a file of changes by itself has added: sums of names, in order.
    pub(super) added: Vec<u64>,
}

/// The files of a folder that an import read, and that had entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FilesRead {
    /// The folder as it is configured, made absolute.
    folder: String,
    /// Names in the folder, in order.
    names: Vec<String>,
}

impl FilesRead {
    /// The files of a folder as they are now.
    pub(super) fn of(folder: &Path, files: &[PathBuf]) -> Self {
        // What cannot be read says so itself when the import opens it.
        let with_entries = files.iter().filter(|file| has_entry(file).unwrap_or(true));
        let names = with_entries.map(|file| file.file_name().unwrap_or_default().to_string_lossy().into_owned());
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        Self { folder: folder.to_string_lossy().into_owned(), names: names.collect() }
    }

    /// True when both are about one folder, however it is written. What a link leads to is looked up now: one that leads to a new
    /// delivery is the same folder still.
    fn same_folder(&self, other: &Self) -> bool {
        let (left, right) = (Path::new(&self.folder), Path::new(&other.folder));
        left == right || matches!((left.canonicalize(), right.canonicalize()), (Ok(left), Ok(right)) if left == right)
    }

    /// What to tell of files that are missing or empty by now, when the rest is as before: whoever is in them would count as
    /// gone. Files that are all called otherwise, and are no fewer, are a new delivery; another folder is a decision.
    pub(super) fn lost(&self, now: &Self) -> Option<String> {
        if !self.same_folder(now) {
            return None;
        }
        let lost: Vec<&String> = self.names.iter().filter(|name| now.names.binary_search(name).is_err()).collect();
        let first = lost.first()?;
        if lost.len() == self.names.len() && now.names.len() >= self.names.len() {
            return None;
        }
        let path = Path::new(&self.folder).join(first);
        let what = match std::fs::metadata(&path).map(|metadata| metadata.len()) {
            Err(_) => "is not there any more",
            Ok(0) => "is empty now",
            Ok(_) => "has no entry now",
        };
        let more = match lost.len() - 1 {
            0 => String::new(),
            others => format!(" (and so it is with {})", crate::model::counted(others as u64, "other file", "other files")),
        };
        Some(format!(
            "{}: the last import read this file, and it {what}{more}: whoever is in it would count as gone, so nothing was read. Put it back",
            path.display()
        ))
    }
}

/// True when a file has the name of an entry: a header or comments alone are as good as nothing.
fn has_entry(file: &Path) -> std::io::Result<bool> {
    let mut reader = BufReader::with_capacity(BUFFER, File::open(file)?);
    let mut at_file_start = true;
    loop {
        // Of a line only the beginning counts, whatever its length is.
        let mut start = Vec::new();
        Read::by_ref(&mut reader).take(16).read_until(b'\n', &mut start)?;
        if start.is_empty() {
            return Ok(false);
        }
        let line = if at_file_start { start.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&start) } else { &start };
        if line.get(..3).is_some_and(|name| name.eq_ignore_ascii_case(b"dn:")) {
            return Ok(true);
        }
        at_file_start = false;
        if !start.ends_with(b"\n") {
            reader.skip_until(b'\n')?;
        }
    }
}

/// The records of change files, in order.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// The files they came from.
    pub(super) files: Vec<PathBuf>,
    /// Records with the number of their file.
    pub(super) records: Vec<(usize, Record)>,
}

impl Place {
    /// The octets to keep.
    pub(super) fn write(&self) -> Vec<u8> {
        let mut octets = MAGIC.to_vec();
        octets.push(VERSION);
        octets.extend_from_slice(&self.base.to_le_bytes());
        let files = self.read.iter().flat_map(|read| std::iter::once(&read.folder).chain(&read.names));
        octets.extend_from_slice(&u32::try_from(files.clone().count()).unwrap_or(u32::MAX).to_le_bytes());
        files.for_each(|name| put_text(&mut octets, name));
        octets.extend_from_slice(&u32::try_from(self.added.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.added.iter().for_each(|name| octets.extend_from_slice(&name.to_le_bytes()));
        for taken in &self.taken {
            put_text(&mut octets, &taken.name);
            octets.extend_from_slice(&taken.size.to_le_bytes());
            octets.extend_from_slice(&taken.written.to_le_bytes());
            octets.extend_from_slice(&taken.sum.to_le_bytes());
        }
        octets.extend_from_slice(&crc32fast::hash(&octets).to_le_bytes());
        octets
    }

    /// Reads what was kept; `None` when it is of another version, damaged, or nothing of ours.
    pub(super) fn read(octets: &[u8]) -> Option<Self> {
        let (body, sum) = octets.split_last_chunk::<4>()?;
        if crc32fast::hash(body) != u32::from_le_bytes(*sum) {
            return None;
        }
        let (version, rest) = body.strip_prefix(&MAGIC)?.split_first()?;
        let (base, mut rest) = rest.split_first_chunk::<16>()?;
        let mut place = Self { base: u128::from_le_bytes(*base), ..Self::default() };
        match *version {
            VERSION | WITHOUT_ADDED => {
                let (count, mut after) = rest.split_first_chunk::<4>()?;
                let mut files = Vec::new();
                for _ in 0..u32::from_le_bytes(*count) {
                    let (name, behind) = take_text(after)?;
                    files.push(name.to_owned());
                    after = behind;
                }
                rest = after;
                let mut files = files.into_iter();
                place.read = files.next().map(|folder| FilesRead { folder, names: files.collect() });
                if *version == VERSION {
                    let (count, mut after) = rest.split_first_chunk::<4>()?;
                    for _ in 0..u32::from_le_bytes(*count) {
                        let (name, behind) = after.split_first_chunk::<8>()?;
                        place.added.push(u64::from_le_bytes(*name));
                        after = behind;
                    }
                    rest = after;
                }
            }
            WITHOUT_FILES => {}
            _ => return None,
        }
        while !rest.is_empty() {
            let (name, after) = take_text(rest)?;
            let (size, after) = after.split_first_chunk::<8>()?;
            let (written, after) = after.split_first_chunk::<8>()?;
            let (sum, after) = after.split_first_chunk::<16>()?;
            rest = after;
            place.taken.push(Taken {
                name: name.to_owned(),
                size: u64::from_le_bytes(*size),
                written: i64::from_le_bytes(*written),
                sum: u128::from_le_bytes(*sum),
            });
        }
        Some(place)
    }
}

/// A name with its length; no file system has names or paths beyond it.
fn put_text(octets: &mut Vec<u8>, text: &str) {
    octets.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes());
    octets.extend_from_slice(text.as_bytes());
}

/// A name, and what is behind it.
fn take_text(octets: &[u8]) -> Option<(&str, &[u8])> {
    let (length, after) = octets.split_first_chunk::<2>()?;
    let (text, after) = after.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    Some((std::str::from_utf8(text).ok()?, after))
}

/// Stands for files as they are now, without reading them: names, lengths and times.
pub(super) fn state_of(files: &[PathBuf]) -> Result<u128, ConnectorError> {
    let mut state = Vec::new();
    for file in files {
        let metadata = std::fs::metadata(file).map_err(|error| unreadable(file, &error))?;
        let name = file.file_name().unwrap_or_default().as_encoded_bytes();
        state.extend_from_slice(&name.len().to_le_bytes());
        state.extend_from_slice(name);
        state.extend_from_slice(&metadata.len().to_le_bytes());
        state.extend_from_slice(&written(&metadata).to_le_bytes());
    }
    Ok(xxh3_128(&state))
}

/// What to tell of files that were taken before the files of all entries were written anew, and that are not there any more.
pub(super) fn left_behind(folder: Option<&Path>, taken: &[Taken]) -> Option<String> {
    let gone: Vec<&Taken> = taken.iter().filter(|known| folder.is_none_or(|folder| !folder.join(&known.name).exists())).collect();
    let first = gone.first()?;
    let files = crate::model::counted(gone.len() as u64, "change file", "change files");
    Some(format!(
        "{files} of before, such as '{}', are not there any more and count no longer, since all entries were written anew",
        first.name
    ))
}

/// Looks whether the files that were taken are there as they were.
///
/// # Errors
/// When one is another one now, or gone.
pub(super) fn as_taken(folder: &Path, taken: &[Taken]) -> Result<(), ConnectorError> {
    for known in taken {
        let file = folder.join(&known.name);
        let gone = || {
            refused(format!(
                "{}: this change file was taken and is not there any more: the directory would no longer be what '{}' and the files say, and \
                 whom it added would count as gone. Put it back; to begin anew without it, write a new file of all entries",
                file.display(),
                folder.display()
            ))
        };
        let metadata = std::fs::metadata(&file).map_err(|_| gone())?;
        if (metadata.len(), written(&metadata)) == (known.size, known.written) {
            continue;
        }
        if metadata.len() != known.size || sum_of(&file)? != known.sum {
            return Err(refused(format!(
                "{}: this change file was changed after it was taken; put it back as it was and write what is new into a file that comes \
                 behind it; to begin anew without it, write a new file of all entries",
                file.display()
            )));
        }
    }
    Ok(())
}

/// Whom a file of changes by itself has added so far, with those of before. What cannot be read says so itself when the import opens it.
pub(super) fn added(file: &Path, before: &[u64]) -> Vec<u64> {
    let mut added: BTreeSet<u64> = before.iter().copied().collect();
    for record in open_records(file).into_iter().flatten().map_while(Result::ok) {
        if matches!(record.kind, RecordKind::Add | RecordKind::Content) {
            added.insert(sum_of_name(&record.dn));
        }
    }
    added.into_iter().collect()
}

/// Looks whether a file of changes by itself still names everybody whom it has added.
///
/// # Errors
/// When it does not.
pub(super) fn still_names(file: &Path, added: &[u64]) -> Result<(), ConnectorError> {
    let mut left: BTreeSet<u64> = added.iter().copied().collect();
    for record in open_records(file)? {
        // What is broken is told by the import.
        let Ok(record) = record else { return Ok(()) };
        left.remove(&sum_of_name(&record.dn));
    }
    if left.is_empty() {
        return Ok(());
    }
    Err(refused(format!(
        "{}: {} whom this change file had added are not in it any more and would count as gone. Put them back and add what is new behind \
         them, or let `changes` name a folder; to begin anew without them, write a new file of all entries",
        file.display(),
        crate::model::counted(left.len() as u64, "entry", "entries")
    )))
}

fn open_records(file: &Path) -> Result<Reader<BufReader<File>>, ConnectorError> {
    Ok(Reader::new(BufReader::with_capacity(BUFFER, super::import::open(file)?)))
}

/// Stands for a name, however it is spelt.
fn sum_of_name(dn: &str) -> u64 {
    Dn::parse(dn).map_or_else(|_| xxh3_64(dn.as_bytes()), |dn| xxh3_64(dn.key().as_bytes()))
}

/// The files that were not taken yet.
///
/// # Errors
/// When a file that was taken is another one now, or gone, or when a new one belongs before it.
pub(super) fn untaken(folder: &Path, files: Vec<PathBuf>, taken: &[Taken]) -> Result<Vec<PathBuf>, ConnectorError> {
    let named = |file: &Path| file.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    as_taken(folder, taken)?;
    let last = taken.last().map(|known| known.name.as_str());
    let mut new = Vec::new();
    for file in files {
        let Some(name) = named(&file) else {
            return Err(refused(format!("{}: the name of a change file must be valid UTF-8", file.display())));
        };
        if taken.binary_search_by(|known| known.name.as_str().cmp(&name)).is_ok() {
            continue;
        }
        if let Some(last) = last.filter(|last| name.as_str() < *last) {
            return Err(refused(format!(
                "{}: change files count in the order of their names, and '{last}' behind it was taken already; give it a name that comes last",
                file.display()
            )));
        }
        new.push(file);
    }
    if taken.len() + new.len() > FILES_MAX {
        let folder = folder.display();
        return Err(refused(format!("{folder} has more than {FILES_MAX} change files; write a new file of all entries and begin anew")));
    }
    Ok(new)
}

/// Reads change files whole, before any of it counts.
///
/// # Errors
/// The first record of any file that cannot be read: what is behind it may depend on it.
pub(super) fn load(files: Vec<PathBuf>) -> Result<(Changes, Vec<Taken>), ConnectorError> {
    let (mut changes, mut taken, mut octets) = (Changes::default(), Vec::new(), 0u64);
    for (number, path) in files.iter().enumerate() {
        let file = super::import::open(path)?;
        let before = file.metadata().map_err(|error| unreadable(path, &error))?;
        octets = octets.saturating_add(before.len());
        if octets > OCTETS_MAX {
            return Err(refused(format!(
                "{}: with this one the change files have more than {OCTETS_MAX} octets; write a new file of all entries and begin anew",
                path.display()
            )));
        }
        let mut summed = Summed { file, sum: Xxh3::new(), read: 0 };
        for record in Reader::new(BufReader::with_capacity(BUFFER, &mut summed)) {
            changes.records.push((number, record.map_err(|error| broken(path, &error))?));
        }
        let after = summed.file.metadata().map_err(|error| unreadable(path, &error))?;
        if (summed.read, written(&before)) != (after.len(), written(&after)) {
            return Err(refused(format!(
                "{}: this change file is still being written; write it under another name and rename it to *.ldif when it is complete",
                path.display()
            )));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        taken.push(Taken { name, size: after.len(), written: written(&after), sum: summed.sum.digest128() });
    }
    changes.files = files;
    Ok((changes, taken))
}

fn broken(path: &Path, error: &LdifError) -> ConnectorError {
    let dn = match error {
        LdifError::Record(error) => error.dn.as_deref().map(|dn| format!(" ('{dn}')")).unwrap_or_default(),
        _ => String::new(),
    };
    refused(format!("{}, {error}{dn}; no change file is taken before this one is mended", path.display()))
}

fn sum_of(path: &Path) -> Result<u128, ConnectorError> {
    let mut summed = Summed { file: super::import::open(path)?, sum: Xxh3::new(), read: 0 };
    std::io::copy(&mut summed, &mut std::io::sink()).map_err(|error| unreadable(path, &error))?;
    Ok(summed.sum.digest128())
}

/// A file whose sum is taken while it is read.
struct Summed {
    file: File,
    sum: Xxh3,
    read: u64,
}

impl Read for Summed {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.file.read(buffer)?;
        self.sum.update(&buffer[..length]);
        self.read += length as u64;
        Ok(length)
    }
}

fn written(metadata: &std::fs::Metadata) -> i64 {
    metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec())
}

fn refused(message: String) -> ConnectorError {
    ConnectorError::new(ConnectorErrorKind::File, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_written_and_not_when_damaged() {
        let taken = |name: &str| Taken { name: name.to_owned(), size: 5, written: -1, sum: 9 << 100 };
        let files = FilesRead { folder: "in".to_owned(), names: vec!["a.ldif".to_owned()] };
        for read in [None, Some(files)] {
            let place = Place { base: 7 << 90, read, taken: vec![taken("1.ldif"), taken("Łódź.ldif")], added: vec![3, 9 << 50] };
            let octets = place.write();
            assert_eq!(Place::read(&octets), Some(place));
            for end in 0..octets.len() {
                assert_eq!(Place::read(&octets[..end]), None);
            }
        }
        assert_eq!(Place::read(b"ldif"), None);
    }

    #[test]
    fn a_folder_is_the_same_however_it_is_written_and_a_header_is_no_entry() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("in");
        std::fs::create_dir(&folder).unwrap();
        let files = [
            ("1.ldif", "\u{feff}dn: CN=a\n"),
            ("2.ldif", "version: 1\r\n\r\n# a comment that is longer than the beginning of a line\n DN: CN=b\n\nDN:: Q049Yg==\n"),
            ("3.ldif", "version: 1\n"),
            ("4.ldif", "# dn: CN=a\n dn: CN=a"),
            ("5.ldif", "# numResponses: 1\nsearch: 2\nresult: 32 No such object\n"),
            ("6.ldif", ""),
        ];
        let paths = files.map(|(name, text)| {
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap();
            path
        });
        let before = FilesRead::of(&folder, &paths);
        assert_eq!(before.names, ["1.ldif", "2.ldif"]);
        std::os::unix::fs::symlink(&folder, parent.path().join("link")).unwrap();
        std::fs::create_dir(parent.path().join("other")).unwrap();
        for (spelled, same) in [("in/", true), ("./in", true), ("in/../in", true), ("link", true), ("other", false), ("none", false)] {
            let now = FilesRead::of(&parent.path().join(spelled), &paths[..1]);
            assert_eq!(before.lost(&now).is_some(), same, "{spelled}");
        }
    }

    /// A store of the version before keeps what it knows of change files.
    #[test]
    fn a_place_of_the_version_before_is_read() {
        let mut octets = MAGIC.to_vec();
        octets.push(WITHOUT_FILES);
        octets.extend_from_slice(&3u128.to_le_bytes());
        put_text(&mut octets, "1.ldif");
        octets.extend_from_slice(&5u64.to_le_bytes());
        octets.extend_from_slice(&6i64.to_le_bytes());
        octets.extend_from_slice(&7u128.to_le_bytes());
        octets.extend_from_slice(&crc32fast::hash(&octets).to_le_bytes());
        let taken = Taken { name: "1.ldif".to_owned(), size: 5, written: 6, sum: 7 };
        assert_eq!(Place::read(&octets), Some(Place { base: 3, taken: vec![taken], ..Place::default() }));
    }

    #[test]
    fn a_file_that_is_missing_is_lost_and_a_new_delivery_is_none() {
        let read = |folder: &str, names: &[&str]| FilesRead {
            folder: folder.to_owned(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        };
        let before = read("no-such-folder", &["1.ldif", "2.ldif"]);
        for (now, lost) in [
            (read("no-such-folder", &["2.ldif"]), true),
            (read("no-such-folder", &["2.ldif", "3.ldif"]), true),
            (read("no-such-folder", &["3.ldif"]), true),
            (read("no-such-folder", &[]), true),
            (read("no-such-folder", &["3.ldif", "4.ldif"]), false),
            (read("no-such-folder", &["1.ldif", "2.ldif", "3.ldif"]), false),
            (read("another", &["2.ldif"]), false),
        ] {
            assert_eq!(before.lost(&now).is_some(), lost, "{now:?}");
        }
    }
}
