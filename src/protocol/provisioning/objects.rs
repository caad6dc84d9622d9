//! Objects of the service: properties, references, results (specification: provisioning service 3.4 and 4).

use super::{ARRAYS, INSTANCE, SCHEMA};
use crate::protocol::nbfx::{Attribute, DecodeError, Reader, Writer};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// One object in a request or in a read-back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncObject {
    /// Names and values in order. Names compare without regard to case.
    pub properties: Vec<(String, PropertyValue)>,
    /// `User`, `Group`, `Contact`, `Device`.
    pub object_type: String,
    /// `Add`, `Set`, `Delete`.
    pub operation: String,
}

/// A property's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PropertyValue {
    /// To be cleared.
    Null,
    /// Text.
    Text(String),
    /// True or false.
    Boolean(bool),
    /// A whole number.
    Long(i64),
    /// Octets.
    Binary(Vec<u8>),
    /// Several texts; an empty list clears.
    TextList(Vec<String>),
    /// Several octet strings; an empty list clears.
    BinaryList(Vec<Vec<u8>>),
    /// Single references added and removed.
    ReferenceChanges(Vec<ReferenceChange>),
}

/// One reference added or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferenceChange {
    /// The other object's anchor.
    pub anchor: String,
    /// The anchor is a cloud anchor, not a source anchor.
    pub by_cloud_anchor: bool,
    /// Add, or remove.
    pub add: bool,
}

/// What became of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncResult {
    /// The object's cloud anchor.
    pub cloud_anchor: Option<String>,
    /// Names and values: `ErrorCategory`, `ObjectIdInConflict`, `AttributeConflictName`, `AttributeConflictValues`.
    pub error_details: Vec<(String, String)>,
    /// `User`, `Group`, …
    pub object_type: String,
    /// `Success`, not `Failure`.
    pub success: bool,
    /// 0 on success.
    pub error_code: u32,
    /// A sentence on failure.
    pub error_description: Option<String>,
    /// The object's source anchor.
    pub source_anchor: Option<String>,
    /// What was done.
    pub operation: String,
}

impl SyncObject {
    /// A property, whatever the case of its name.
    pub fn property(&self, name: &str) -> Option<&PropertyValue> {
        self.properties.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// A text property.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.property(name)? {
            PropertyValue::Text(text) => Some(text),
            _ => None,
        }
    }
}

pub(super) fn write_object(writer: &mut Writer, object: &SyncObject) {
    writer.start(Some(b'b'), "AzureADSyncObject");
    writer.start(Some(b'b'), "PropertyValues").namespace(b'c', ARRAYS);
    for (name, value) in &object.properties {
        writer.start(Some(b'c'), "KeyValueOfstringanyType").element(Some(b'c'), "Key", name);
        writer.start(Some(b'c'), "Value");
        write_value(writer, value);
        writer.end();
    }
    writer.end();
    writer.element(Some(b'b'), "SyncObjectType", &object.object_type);
    writer.element(Some(b'b'), "SyncOperation", &object.operation).end();
}

/// Writes type, content and end of a value element that was begun.
fn write_value(writer: &mut Writer, value: &PropertyValue) {
    match value {
        PropertyValue::Null => {
            writer.nil().end();
        }
        PropertyValue::Text(text) => {
            writer.schema_type("string").namespace(b'd', SCHEMA).text_end(text);
        }
        PropertyValue::Boolean(boolean) => {
            writer.schema_type("boolean").namespace(b'd', SCHEMA).boolean_end(*boolean);
        }
        PropertyValue::Long(number) => {
            writer.schema_type("long").namespace(b'd', SCHEMA).number_end(*number);
        }
        PropertyValue::Binary(octets) => {
            writer.schema_type("base64Binary").namespace(b'd', SCHEMA).octets_end(octets);
        }
        PropertyValue::TextList(texts) => {
            writer.named_type("c:ArrayOfstring");
            for text in texts {
                writer.element(Some(b'c'), "string", text);
            }
            writer.end();
        }
        PropertyValue::BinaryList(values) => {
            writer.named_type("c:ArrayOfbase64Binary");
            for octets in values {
                writer.start(Some(b'c'), "base64Binary").octets_end(octets);
            }
            writer.end();
        }
        PropertyValue::ReferenceChanges(changes) => {
            writer.named_type("SyncReferenceChangeCollection").start(None, "referenceChanges");
            for change in changes {
                writer.start(None, "SyncReferenceChange").start(None, "Reference");
                writer.element(None, "Anchor", &change.anchor);
                writer.start(None, "referenceTypeInt").number_end(if change.by_cloud_anchor { 1 } else { 2 }).end();
                writer.start(None, "operationInt").number_end(if change.add { 1 } else { 2 }).end();
            }
            writer.end().end();
        }
    }
}

pub(super) fn read_object(reader: &mut Reader<'_>) -> Result<SyncObject, DecodeError> {
    let mut object = SyncObject::default();
    while let Some((name, _)) = reader.child()? {
        match &*name {
            "PropertyValues" => {
                while let Some((pair, _)) = reader.child()? {
                    if pair == "KeyValueOfstringanyType" {
                        object.properties.push(read_pair(reader)?);
                    } else {
                        reader.skip()?;
                    }
                }
            }
            "SyncObjectType" => object.object_type = reader.text()?.into_owned(),
            "SyncOperation" => object.operation = reader.text()?.into_owned(),
            _ => reader.skip()?,
        }
    }
    Ok(object)
}

fn read_pair(reader: &mut Reader<'_>) -> Result<(String, PropertyValue), DecodeError> {
    let mut key = None;
    let mut value = PropertyValue::Null;
    while let Some((name, attributes)) = reader.child()? {
        match &*name {
            "Key" => key = Some(reader.text()?.into_owned()),
            "Value" => value = read_value(reader, &attributes)?,
            _ => reader.skip()?,
        }
    }
    key.map(|key| (key, value)).ok_or_else(|| reader.wrong("a property without a key"))
}

fn read_value(reader: &mut Reader<'_>, attributes: &[Attribute<'_>]) -> Result<PropertyValue, DecodeError> {
    if is_nil(attributes) {
        reader.skip()?;
        return Ok(PropertyValue::Null);
    }
    let kind = attributes.iter().find(|attribute| attribute.name == "type" && attribute.namespace == INSTANCE);
    let kind = kind.map(|attribute| reader.resolve(&attribute.value).1.to_owned());
    Ok(match kind.as_deref() {
        Some("boolean") => {
            let text = reader.text()?;
            PropertyValue::Boolean(boolean(&text).ok_or_else(|| reader.wrong(&format!("{text:?} is no Boolean")))?)
        }
        Some("int" | "long" | "short" | "byte") => {
            let text = reader.text()?;
            PropertyValue::Long(text.trim().parse().map_err(|_| reader.wrong(&format!("{text:?} is no number")))?)
        }
        Some("base64Binary") => PropertyValue::Binary(octets(reader)?),
        Some("ArrayOfstring") => PropertyValue::TextList(list(reader, |reader| Ok(reader.text()?.into_owned()))?),
        Some("ArrayOfbase64Binary") => PropertyValue::BinaryList(list(reader, octets)?),
        Some("SyncReferenceChangeCollection") => PropertyValue::ReferenceChanges(read_changes(reader)?),
        _ => PropertyValue::Text(reader.text()?.into_owned()),
    })
}

fn list<T>(reader: &mut Reader<'_>, item: fn(&mut Reader<'_>) -> Result<T, DecodeError>) -> Result<Vec<T>, DecodeError> {
    let mut items = Vec::new();
    while reader.child()?.is_some() {
        items.push(item(reader)?);
    }
    Ok(items)
}

fn octets(reader: &mut Reader<'_>) -> Result<Vec<u8>, DecodeError> {
    let text = reader.text()?;
    STANDARD.decode(text.trim()).map_err(|_| reader.wrong("a value that is not base64"))
}

fn read_changes(reader: &mut Reader<'_>) -> Result<Vec<ReferenceChange>, DecodeError> {
    let mut changes = Vec::new();
    while let Some((name, _)) = reader.child()? {
        if name != "referenceChanges" {
            reader.skip()?;
            continue;
        }
        while reader.child()?.is_some() {
            let mut change = ReferenceChange { anchor: String::new(), by_cloud_anchor: false, add: true };
            while let Some((part, _)) = reader.child()? {
                match &*part {
                    "Reference" => {
                        while let Some((field, _)) = reader.child()? {
                            match &*field {
                                "Anchor" => change.anchor = reader.text()?.into_owned(),
                                "referenceTypeInt" => change.by_cloud_anchor = reader.text()? == "1",
                                _ => reader.skip()?,
                            }
                        }
                    }
                    "operationInt" => change.add = reader.text()? != "2",
                    _ => reader.skip()?,
                }
            }
            changes.push(change);
        }
    }
    Ok(changes)
}

pub(super) fn write_result(writer: &mut Writer, result: &SyncResult) {
    writer.start(Some(b'b'), "AzureADSyncObjectResult");
    write_optional(writer, "CloudAnchor", result.cloud_anchor.as_deref());
    writer.start(Some(b'b'), "ErrorDetails");
    if !result.error_details.is_empty() {
        writer.namespace(b'c', ARRAYS);
        for (name, value) in &result.error_details {
            writer.start(Some(b'c'), "KeyValueOfstringstring");
            writer.element(Some(b'c'), "Key", name).element(Some(b'c'), "Value", value).end();
        }
    }
    writer.end();
    writer.element(Some(b'b'), "ObjectType", &result.object_type);
    writer.element(Some(b'b'), "ResultCode", if result.success { "Success" } else { "Failure" });
    writer.element(Some(b'b'), "ResultErrorCode", &result.error_code.to_string());
    write_optional(writer, "ResultErrorDescription", result.error_description.as_deref());
    write_optional(writer, "SourceAnchor", result.source_anchor.as_deref());
    writer.element(Some(b'b'), "SyncOperation", &result.operation).end();
}

pub(super) fn read_result(reader: &mut Reader<'_>) -> Result<SyncResult, DecodeError> {
    let mut result = SyncResult::default();
    while let Some((name, attributes)) = reader.child()? {
        let nil = is_nil(&attributes);
        match &*name {
            "ErrorDetails" => {
                while reader.child()?.is_some() {
                    let (mut key, mut value) = (String::new(), String::new());
                    while let Some((part, _)) = reader.child()? {
                        match &*part {
                            "Key" => key = reader.text()?.into_owned(),
                            "Value" => value = reader.text()?.into_owned(),
                            _ => reader.skip()?,
                        }
                    }
                    result.error_details.push((key, value));
                }
            }
            "CloudAnchor" => result.cloud_anchor = read_optional(reader, nil)?,
            "SourceAnchor" => result.source_anchor = read_optional(reader, nil)?,
            "ResultErrorDescription" => result.error_description = read_optional(reader, nil)?,
            "ObjectType" => result.object_type = reader.text()?.into_owned(),
            "ResultCode" => result.success = reader.text()? == "Success",
            "ResultErrorCode" => result.error_code = reader.text()?.trim().parse().unwrap_or(u32::MAX),
            "SyncOperation" => result.operation = reader.text()?.into_owned(),
            _ => reader.skip()?,
        }
    }
    Ok(result)
}

pub(super) fn write_optional(writer: &mut Writer, name: &str, value: Option<&str>) {
    writer.start(Some(b'b'), name);
    match value {
        Some(text) => writer.text_end(text),
        None => writer.nil().end(),
    };
}

pub(super) fn read_optional(reader: &mut Reader<'_>, nil: bool) -> Result<Option<String>, DecodeError> {
    let text = reader.text()?;
    Ok((!nil).then(|| text.into_owned()))
}

pub(super) fn is_nil(attributes: &[Attribute<'_>]) -> bool {
    attributes.iter().any(|attribute| attribute.name == "nil" && attribute.namespace == INSTANCE && boolean(&attribute.value) == Some(true))
}

/// A Boolean in any case, or as a digit.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.trim() {
        text if text.eq_ignore_ascii_case("true") || text == "1" => Some(true),
        text if text.eq_ignore_ascii_case("false") || text == "0" => Some(false),
        _ => None,
    }
}
