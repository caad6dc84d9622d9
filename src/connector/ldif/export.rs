//! Writes an export batch as change records behind those that the file already has.

use super::LdifSettings;
use super::import::is_named_as_ldif;
use crate::connector::{
    ConnectorError, ConnectorErrorKind, ExportBatch, ExportKind, ExportOperation, ExportOutcome, ExportRejection, ExportReply,
};
use crate::model::{CsId, Dn, ObjectErrorCode, Value};
use crate::protocol::ldif::{END_MARK, Writer};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// The end of a file is read in such blocks.
const BLOCK: u64 = 1 << 16;

/// Refuses a file that imports read, too. What is in it may be somebody's own work, and of that nothing may be cut off; and what was
/// exported is no news of the directory, and no entry of it.
///
/// # Errors
/// When the file is `path` or `changes` of the settings, or one of those that are read of such a folder.
pub(super) fn refuse_what_is_read(export: &Path, settings: &LdifSettings) -> Result<(), ConnectorError> {
    let places = places_of(export);
    for (key, read) in [("path", Some(&settings.path)), ("changes", settings.changes.as_ref())] {
        let Some(read) = read else { continue };
        let found = places_of(read);
        let is_one_of = |place: &PathBuf| place.parent().is_some_and(|folder| found.iter().any(|found| found == folder));
        let names = if places.iter().any(|place| found.contains(place)) {
            "it, too".to_owned()
        } else if places.iter().any(|place| is_named_as_ldif(place) && is_one_of(place)) {
            format!("its folder {}", read.display())
        } else {
            continue;
        };
        let message = format!("{} is read by imports, since `{key}` names {names}: name another file in `export`", export.display());
        return Err(ConnectorError::new(ConnectorErrorKind::Configuration, message).unsent());
    }
    Ok(())
}

/// Where a file is, or will be: by its name as it stands, by that of its folder, and where links lead from there.
fn places_of(path: &Path) -> Vec<PathBuf> {
    let in_folder = || Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?));
    [Some(path.to_owned()), in_folder(), path.canonicalize().ok()].into_iter().flatten().collect()
}

/// Appends a batch. The records are put together in memory first and written in one piece, so that a problem of one
/// object leaves no half record behind. A write that fails on its way is taken back, and what an earlier one left behind that was cut off
/// for good, by a kill or with the power, is taken away first: else the next record would go on where the half one ends.
pub(super) fn append(path: &Path, batch: &ExportBatch) -> Result<ExportReply, ConnectorError> {
    let mut octets = Vec::new();
    let mut outcomes: Vec<(CsId, ExportOutcome)> = Vec::with_capacity(batch.operations.len());
    for operation in &batch.operations {
        let start = octets.len();
        let outcome = match write_operation(&mut octets, operation) {
            Ok(()) => ExportOutcome::Accepted { anchor: None },
            Err(detail) => {
                octets.truncate(start);
                ExportOutcome::Rejected(ExportRejection {
                    code: ObjectErrorCode::CD_ERROR,
                    detail: format!("'{}': {detail}", operation.dn),
                    conflicting_object: None,
                    attribute: None,
                })
            }
        };
        outcomes.push((operation.id, outcome));
    }
    let failed =
        |error: &io::Error| ConnectorError::new(ConnectorErrorKind::File, format!("{} cannot be written: {error}", path.display()));
    let open = || -> io::Result<(File, u64)> {
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
        let border = heal(&mut file, path)?;
        Ok((file, border))
    };
    let (mut file, before) = open().map_err(|error| failed(&error).unsent())?;
    let mut written = 0;
    if let Err(error) = write_counted(&mut file, &octets, &mut written).and_then(|()| file.sync_all()) {
        return Err(match cut_back(&file, before, written) {
            Ok(()) => failed(&error).unsent(),
            Err(left) => {
                let message = format!("{}; what was written of a batch may still be there: {left}", failed(&error).message);
                ConnectorError::new(ConnectorErrorKind::File, message)
            }
        });
    }
    Ok(ExportReply::new(batch, outcomes))
}

/// As `write_all`, and counts what was written before an error.
fn write_counted(file: &mut File, mut octets: &[u8], written: &mut u64) -> io::Result<()> {
    while !octets.is_empty() {
        match file.write(octets) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                octets = &octets[count..];
                *written += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Takes away what was written of a batch; `Ok` when it is certainly gone. What somebody else wrote meanwhile is not ours to take.
fn cut_back(file: &File, before: u64, written: u64) -> io::Result<()> {
    if file.metadata()?.len() != before + written {
        return Err(io::Error::other("somebody else wrote to the file at the same time"));
    }
    file.set_len(before)?;
    file.sync_all()
}

/// Cuts off a half record at the end of a file, and gives the file's length then. A blank line would not do: it would make a whole record
/// of half a one, such as a group that loses the members which are not there yet. What no export of ours can have begun is not ours to take.
fn heal(file: &mut File, path: &Path) -> io::Result<u64> {
    let metadata = file.metadata()?;
    let length = metadata.len();
    // A pipe or a device has no end to look at.
    let border = if metadata.is_file() { last_border(file, length)? } else { length };
    if border < length {
        if is_closed(file, length)? {
            return Err(io::Error::other("it is a closed file, to which nothing is appended; name another file for exports"));
        }
        if !begins_a_change(&read(file, border, length.min(border + BLOCK))?) {
            let message = "it ends with something that is no change record; end it with a blank line, or name another file for exports";
            return Err(io::Error::other(message));
        }
        file.set_len(border)?;
        file.sync_all()?;
        let octets = length - border;
        tracing::warn!("{}: the last record was not whole, as after a full disk; its {octets} octets were cut off", path.display());
    }
    Ok(border)
}

/// True when octets are, as far as they go, what a change record begins with: a name, in as many lines as it takes, and the change.
fn begins_a_change(octets: &[u8]) -> bool {
    let agrees = |line: &[u8], start: &[u8]| line.iter().zip(start).all(|(octet, wanted)| octet == wanted);
    let mut lines = octets.split(|octet| *octet == b'\n').filter(|line| !line.starts_with(b" "));
    [&b"dn:"[..], b"changetype:"].into_iter().all(|start| lines.next().is_none_or(|line| agrees(line, start)))
}

/// The place behind the last blank line, which ends a record; the beginning of the file when there is none.
fn last_border(file: &mut File, length: u64) -> io::Result<u64> {
    let mut end = length;
    loop {
        let start = end.saturating_sub(BLOCK);
        let block = read(file, start, end)?;
        let is_border = |place: &usize| matches!(block[..*place], [.., b'\n', b'\n'] | [.., b'\n', b'\r', b'\n']);
        if let Some(place) = (0..=block.len()).rev().find(is_border) {
            return Ok(start + place as u64);
        }
        if start == 0 {
            return Ok(0);
        }
        // It may lie across both blocks.
        end = start + 2;
    }
}

/// True for a file that its writer ended: [`Writer::finish`] counts its records in the last line.
fn is_closed(file: &mut File, length: u64) -> io::Result<bool> {
    let end = read(file, length.saturating_sub(BLOCK), length)?;
    let last = end.strip_suffix(b"\n").unwrap_or(&end).rsplit(|octet| *octet == b'\n').next();
    Ok(last.is_some_and(|line| line.starts_with(END_MARK.as_bytes())))
}

fn read(file: &mut File, start: u64, end: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(start))?;
    let mut octets = Vec::new();
    Read::take(file, end - start).read_to_end(&mut octets)?;
    Ok(octets)
}

fn write_operation(octets: &mut Vec<u8>, operation: &ExportOperation) -> Result<(), String> {
    let mut writer = Writer::appending(octets);
    let io = |error: io::Error| error.to_string();
    match operation.kind {
        ExportKind::Add => add(&mut writer, operation)?,
        ExportKind::Delete => writer.change(&operation.dn, "delete").map_err(io)?,
        ExportKind::Update => {
            if let Some(wanted) = &operation.rename {
                rename(&mut writer, &operation.dn, wanted)?;
            }
            modify(&mut writer, operation)?;
        }
    }
    writer.finish().map(drop).map_err(io)
}

fn add(writer: &mut Writer<&mut Vec<u8>>, operation: &ExportOperation) -> Result<(), String> {
    let io = |error: io::Error| error.to_string();
    writer.change(&operation.dn, "add").map_err(io)?;
    if !operation.attributes.iter().any(|attribute| attribute.name.eq_ignore_ascii_case("objectClass")) {
        writer.value("objectClass", operation.object_type.as_bytes()).map_err(io)?;
    }
    for attribute in &operation.attributes {
        for value in &attribute.wanted {
            writer.value(&attribute.name, &encode(&attribute.name, value)?).map_err(io)?;
        }
    }
    for reference in &operation.references {
        for dn in &reference.added {
            writer.value(&reference.name, dn.as_bytes()).map_err(io)?;
        }
    }
    Ok(())
}

fn rename(writer: &mut Writer<&mut Vec<u8>>, dn: &str, wanted: &str) -> Result<(), String> {
    let io = |error: io::Error| error.to_string();
    let old = Dn::parse(dn).map_err(|error| error.to_string())?;
    let new = Dn::parse(wanted).map_err(|error| format!("the new name '{wanted}': {error}"))?;
    let Some(rdn) = new.rdn(0) else { return Err("the new name is empty".to_owned()) };
    writer.change(dn, "modrdn").map_err(io)?;
    writer.value("newrdn", rdn.as_bytes()).map_err(io)?;
    writer.value("deleteoldrdn", b"1").map_err(io)?;
    if let Some(parent) = new.parent().filter(|parent| old.parent().is_none_or(|before| !before.same(parent))) {
        writer.value("newsuperior", parent.as_str().as_bytes()).map_err(io)?;
    }
    Ok(())
}

fn modify(writer: &mut Writer<&mut Vec<u8>>, operation: &ExportOperation) -> Result<(), String> {
    let io = |error: io::Error| error.to_string();
    if operation.attributes.is_empty() && operation.references.is_empty() {
        return Ok(());
    }
    writer.change(operation.rename.as_deref().unwrap_or(&operation.dn), "modify").map_err(io)?;
    for attribute in &operation.attributes {
        writer.value("replace", attribute.name.as_bytes()).map_err(io)?;
        for value in &attribute.wanted {
            writer.value(&attribute.name, &encode(&attribute.name, value)?).map_err(io)?;
        }
        writer.end_part().map_err(io)?;
    }
    for reference in &operation.references {
        let parts: [(&str, &[String]); 2] = if reference.replace {
            [("replace", &reference.added), ("delete", &[])]
        } else {
            [("delete", &reference.removed), ("add", &reference.added)]
        };
        for (part, names) in parts {
            if names.is_empty() && part != "replace" {
                continue;
            }
            writer.value(part, reference.name.as_bytes()).map_err(io)?;
            for dn in names {
                writer.value(&reference.name, dn.as_bytes()).map_err(io)?;
            }
            writer.end_part().map_err(io)?;
        }
    }
    Ok(())
}

fn encode(name: &str, value: &Value) -> Result<Vec<u8>, String> {
    Ok(match value {
        Value::Text(text) => text.as_bytes().to_vec(),
        Value::Number(number) => number.to_string().into_bytes(),
        Value::Boolean(boolean) => {
            if *boolean {
                b"TRUE".to_vec()
            } else {
                b"FALSE".to_vec()
            }
        }
        Value::Binary(octets) => octets.to_vec(),
        Value::LargeText(_) | Value::LargeBinary(_) => return Err(format!("the content of the large value of {name} was not given")),
        Value::Reference(_) => return Err(format!("{name} has a reference among its plain values")),
    })
}
