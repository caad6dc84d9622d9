//! Sending a batch: operations as objects of the service, and its results as outcomes.

use super::anchor::{self, Key};
use super::service::{CallError, Service, told};
use super::unexpected;
use crate::connector::{
    AttributeChange, ConnectorError, ExportBatch, ExportKind, ExportOperation, ExportOutcome, ExportRejection, ExportReply, ReferenceChange,
};
use crate::context::Context;
use crate::model::{Anchor, CsId, ObjectErrorCode, Value};
use crate::protocol::provisioning::{
    self, AttributeType, Fault, PropertyValue, ReferenceChange as SentReference, Request, Response, ResultError, SyncObject, SyncResult,
    Syntax,
};
use std::collections::VecDeque;

/// Sends a batch, in halves when the service takes it not as a whole: for its size, or for something in it. What is
/// refused alone is refused for good, so that one object never stands in the way of the others.
pub(super) async fn send(service: &Service, cx: &Context, batch: &ExportBatch) -> Result<ExportReply, ConnectorError> {
    let mut outcomes: Vec<(CsId, ExportOutcome)> = Vec::with_capacity(batch.operations.len());
    let mut parts: VecDeque<&[ExportOperation]> = VecDeque::from([batch.operations.as_slice()]);
    while let Some(part) = parts.pop_front() {
        let mut objects = Vec::with_capacity(part.len());
        let mut sent: Vec<CsId> = Vec::with_capacity(part.len());
        for operation in part {
            match object_of(operation) {
                Ok(object) => {
                    sent.push(operation.id);
                    objects.push(object);
                }
                Err(rejection) => outcomes.push((operation.id, ExportOutcome::Rejected(*rejection))),
            }
        }
        if sent.is_empty() {
            continue;
        }
        let request = Request::ProvisionObjects { second: true, objects };
        let error = match service.call(cx, &request, None).await {
            Ok(Response::Results(results)) => {
                outcomes.extend(outcomes_of(&sent, &results));
                continue;
            }
            Ok(_) => unexpected(&request),
            Err(error) => match (rejection_alone(&error), sent.as_slice()) {
                (Some(rejection), [id]) => {
                    outcomes.push((*id, ExportOutcome::Rejected(rejection)));
                    continue;
                }
                (Some(_), _) => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.push_front(second);
                    parts.push_front(first);
                    continue;
                }
                (None, _) => error.into(),
            },
        };
        if outcomes.is_empty() && parts.is_empty() {
            return Err(error);
        }
        let fate = if error.nothing_sent { ExportOutcome::Unsent } else { ExportOutcome::Unknown };
        outcomes.extend(sent.into_iter().map(|id| (id, fate.clone())));
        outcomes.extend(parts.into_iter().flatten().map(|operation| (operation.id, ExportOutcome::Unsent)));
        return Ok(ExportReply::new(batch, outcomes).ended_by(error));
    }
    Ok(ExportReply::new(batch, outcomes))
}

/// What a refusal of the call means for its only object; `None` when it says nothing about objects.
fn rejection_alone(error: &CallError) -> Option<ExportRejection> {
    let (code, detail) = match error {
        CallError::TooLarge(reason) => (
            ObjectErrorCode::LARGE_OBJECT,
            format!("the service takes no call of this size ({reason}), although this object alone is in it: flow fewer or shorter values"),
        ),
        CallError::Refused(fault) if fault.description.contains(Fault::NOT_ACTIVATED) => return None,
        CallError::Refused(fault) => {
            (ObjectErrorCode::CD_ERROR, format!("the service refused the call with this object alone{}", told(fault)))
        }
        CallError::Connector(_) | CallError::Exhausted { .. } => return None,
    };
    Some(ExportRejection { code, detail, conflicting_object: None, attribute: None })
}

/// One operation on the wire.
fn object_of(operation: &ExportOperation) -> Result<SyncObject, Box<ExportRejection>> {
    let key = anchor::key_of(&operation.dn).ok_or_else(|| Box::new(no_anchor(&operation.dn)))?;
    match operation.kind {
        ExportKind::Delete => Ok(delete(operation, key)),
        ExportKind::Add => object(operation, key, "Add"),
        ExportKind::Update => object(operation, key, "Set"),
    }
}

fn delete(operation: &ExportOperation, key: Key) -> SyncObject {
    // The type that the tenant has it under; ours may be the new one.
    let known = operation.anchor.as_ref().and_then(|anchor| std::str::from_utf8(anchor.as_bytes()).ok()).and_then(anchor::type_of);
    SyncObject {
        properties: vec![key_property(key)],
        object_type: known.map_or_else(|| type_of(operation), str::to_owned),
        operation: "Delete".to_owned(),
    }
}

fn object(operation: &ExportOperation, key: Key, verb: &str) -> Result<SyncObject, Box<ExportRejection>> {
    let mut properties = Vec::with_capacity(1 + operation.attributes.len() + operation.references.len());
    let mut key = key;
    if let Some(rename) = &operation.rename {
        // A new name is a new source anchor: the cloud's own key says whose it is.
        let new = anchor::key_of(rename).ok_or_else(|| Box::new(no_anchor(rename)))?;
        if let Some(cloud) = &operation.anchor {
            properties.push(key_property(Key::Cloud(cloud.to_string())));
        }
        key = new;
    }
    properties.push(key_property(key));
    for change in &operation.attributes {
        if !is_anchor(&change.name) {
            properties.push(attribute_property(change));
        }
    }
    for change in &operation.references {
        properties.push(reference_property(change)?);
    }
    Ok(SyncObject { properties, object_type: type_of(operation), operation: verb.to_owned() })
}

fn is_anchor(name: &str) -> bool {
    name.eq_ignore_ascii_case("sourceAnchor") || name.eq_ignore_ascii_case("cloudAnchor")
}

fn no_anchor(dn: &str) -> ExportRejection {
    ExportRejection {
        code: ObjectErrorCode::INVALID_DN,
        detail: format!(
            "'{dn}' is no name of a cloud object: it must be CN={{…}} around the hex of the source anchor; mend the rule that flows the target's dn"
        ),
        conflicting_object: None,
        attribute: Some("dn".to_owned()),
    }
}

fn key_property(key: Key) -> (String, PropertyValue) {
    match key {
        Key::Source(anchor) => ("SourceAnchor".to_owned(), PropertyValue::Text(anchor)),
        Key::Cloud(anchor) => ("CloudAnchor".to_owned(), PropertyValue::Text(anchor)),
    }
}

fn type_of(operation: &ExportOperation) -> String {
    let mut name = operation.object_type.clone();
    if let Some(first) = name.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    name
}

fn attribute_property(change: &AttributeChange) -> (String, PropertyValue) {
    let known = provisioning::attribute(&change.name);
    let name = known.map_or(change.name.as_str(), |attribute| attribute.name).to_owned();
    (name, value_of(known, &change.wanted))
}

fn value_of(known: Option<&AttributeType>, wanted: &[Value]) -> PropertyValue {
    let (syntax, many) = match known {
        Some(attribute) => (attribute.syntax, attribute.multi_valued),
        None => (syntax_of(wanted.first()), wanted.len() > 1),
    };
    match (many, wanted) {
        (true, _) if syntax == Syntax::Binary => PropertyValue::BinaryList(wanted.iter().map(octets).collect()),
        (true, _) => PropertyValue::TextList(wanted.iter().map(text).collect()),
        (false, []) => PropertyValue::Null,
        (false, [value, ..]) => match (syntax, value) {
            (_, Value::Boolean(boolean)) => PropertyValue::Boolean(*boolean),
            (Syntax::Integer, Value::Number(number)) => PropertyValue::Long(*number),
            (Syntax::Binary, value) => PropertyValue::Binary(octets(value)),
            (_, value) => PropertyValue::Text(text(value)),
        },
    }
}

fn syntax_of(value: Option<&Value>) -> Syntax {
    match value {
        Some(Value::Boolean(_)) => Syntax::Boolean,
        Some(Value::Number(_)) => Syntax::Integer,
        Some(Value::Binary(_)) => Syntax::Binary,
        _ => Syntax::Text,
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Text(text) => text.to_string(),
        other => String::from_utf8_lossy(&octets(other)).into_owned(),
    }
}

fn octets(value: &Value) -> Vec<u8> {
    match value {
        Value::Text(text) => text.as_bytes().to_vec(),
        Value::Binary(octets) => octets.to_vec(),
        Value::Number(number) => number.to_string().into_bytes(),
        Value::Boolean(boolean) => boolean.to_string().into_bytes(),
        // A connector gets contents and names, never handles.
        Value::LargeText(_) | Value::LargeBinary(_) | Value::Reference(_) => Vec::new(),
    }
}

fn reference_property(change: &ReferenceChange) -> Result<(String, PropertyValue), Box<ExportRejection>> {
    let known = provisioning::attribute(&change.name);
    let name = known.map_or(change.name.as_str(), |attribute| attribute.name).to_owned();
    let key = |dn: &String| anchor::key_of(dn).ok_or_else(|| Box::new(no_anchor(dn)));
    let anchor_text = |dn: &String| key(dn).map(|(Key::Source(anchor) | Key::Cloud(anchor))| anchor);
    let value = if known.is_some_and(|attribute| !attribute.multi_valued) {
        change.added.first().map_or(Ok(PropertyValue::Null), |dn| anchor_text(dn).map(PropertyValue::Text))?
    } else if change.replace {
        PropertyValue::TextList(change.added.iter().map(anchor_text).collect::<Result<_, _>>()?)
    } else {
        let sent = |dn: &String, add| {
            let key = key(dn)?;
            let by_cloud_anchor = matches!(key, Key::Cloud(_));
            let (Key::Source(anchor) | Key::Cloud(anchor)) = key;
            Ok(SentReference { anchor, by_cloud_anchor, add })
        };
        let removed = change.removed.iter().map(|dn| sent(dn, false));
        let added = change.added.iter().map(|dn| sent(dn, true));
        PropertyValue::ReferenceChanges(removed.chain(added).collect::<Result<_, Box<ExportRejection>>>()?)
    };
    Ok((name, value))
}

/// Outcomes in the order of the request. Without exactly one result per object nothing can be told apart, and every
/// outcome stays unknown.
fn outcomes_of(sent: &[CsId], results: &[SyncResult]) -> Vec<(CsId, ExportOutcome)> {
    if results.len() != sent.len() {
        return sent.iter().map(|id| (*id, ExportOutcome::Unknown)).collect();
    }
    let outcome = |result: &SyncResult| {
        if result.success {
            ExportOutcome::Accepted { anchor: result.cloud_anchor.as_ref().map(|anchor| Anchor::new(anchor.as_bytes())) }
        } else {
            ExportOutcome::Rejected(rejection_of(result))
        }
    };
    sent.iter().zip(results).map(|(id, result)| (*id, outcome(result))).collect()
}

/// The reason, by name if there is one, else by number; never from the sentence (specification 6.1).
fn rejection_of(result: &SyncResult) -> ExportRejection {
    let detail = |name: &str| {
        let found = result.error_details.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
    };
    let category = detail("ErrorCategory");
    let code = match ResultError::find(category.as_deref(), Some(result.error_code)) {
        Some(error) => ObjectErrorCode::named(error.name()),
        None => category.map_or(ObjectErrorCode::CD_ERROR, ObjectErrorCode::named),
    };
    let (object, attribute, values) = (detail("ObjectIdInConflict"), detail("AttributeConflictName"), detail("AttributeConflictValues"));
    let mut sentence = result.error_description.clone().unwrap_or_else(|| format!("the tenant refused with code {}", result.error_code));
    let told = |sentence: &str, part: &Option<String>| part.as_ref().is_none_or(|part| sentence.contains(part.as_str()));
    if let Some(name) = &attribute
        && !(told(&sentence, &attribute) && told(&sentence, &values) && told(&sentence, &object))
    {
        let value = values.map(|value| format!(" with the value '{value}'")).unwrap_or_default();
        let other = object.as_ref().map(|object| format!(" is also that of the object {object}")).unwrap_or_default();
        sentence = format!("{} ({name}{value}{other})", sentence.trim_end_matches('.'));
    }
    ExportRejection { code, detail: sentence, conflicting_object: object, attribute }
}
