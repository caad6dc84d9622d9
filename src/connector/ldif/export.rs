//! Writes an export batch as change records behind those that the file already has.

use crate::connector::{
    ConnectorError, ConnectorErrorKind, ExportBatch, ExportKind, ExportOperation, ExportOutcome, ExportRejection, ExportReply,
};
use crate::model::{CsId, Dn, ObjectErrorCode, Value};
use crate::protocol::ldif::Writer;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

/// Appends a batch. The records are put together in memory first and written in one piece, so that a problem of one
/// object leaves no half record behind.
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
        |error: &std::io::Error| ConnectorError::new(ConnectorErrorKind::File, format!("{} cannot be written: {error}", path.display()));
    let mut file = OpenOptions::new().create(true).append(true).open(path).map_err(|error| failed(&error).unsent())?;
    file.write_all(&octets).and_then(|()| file.sync_all()).map_err(|error| failed(&error))?;
    Ok(ExportReply::new(batch, outcomes))
}

fn write_operation(octets: &mut Vec<u8>, operation: &ExportOperation) -> Result<(), String> {
    let mut writer = Writer::appending(octets);
    let io = |error: std::io::Error| error.to_string();
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
    let io = |error: std::io::Error| error.to_string();
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
    let io = |error: std::io::Error| error.to_string();
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
    let io = |error: std::io::Error| error.to_string();
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
