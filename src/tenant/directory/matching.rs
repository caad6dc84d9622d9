//! Finding the object that an incoming one is meant to be (specification: sync engine 6.3).

use super::change::{Conflict, FaultCode, ObjectFault, SyncChange};
use super::effective::describe;
use super::policy::{Features, Policy};
use super::record::{Mastery, ObjectKind, ObjectRecord, primary_of};
use super::tables::{UniqueKey, UniqueKind, Writer};
use super::{ObjectNumber, Refusal};
use crate::model::fold;

/// The longest immutable id.
const MAX_ANCHOR: usize = 256;

/// What an incoming object is.
pub(super) enum Target {
    /// Known already and synchronized.
    Known(ObjectNumber, ObjectRecord),
    /// A cloud object that is taken over.
    Matched(ObjectNumber, ObjectRecord),
    /// In the recycle bin; it comes back.
    Deleted(ObjectNumber, ObjectRecord),
    /// Unknown; the record is empty.
    New(ObjectRecord),
}

/// Finds the object by anchors (hard match); `fresh` makes the record of an object that nobody knows.
pub(super) fn hard(
    writer: &Writer<'_>,
    change: &SyncChange,
    policy: &Policy,
    fresh: impl FnOnce() -> ObjectRecord,
) -> Result<Target, Refusal> {
    let source = change.source_anchor.as_deref();
    if let Some(source) = source {
        check_anchor(source)?;
        if let Some(object) = writer.by_anchor(source)? {
            return by_source(writer, change, policy, object, source);
        }
    }
    if let Some(cloud) = &change.cloud_anchor {
        return by_cloud(writer, change, policy, cloud);
    }
    if source.is_none() {
        return Err(ObjectFault::new(FaultCode::DataValidationFailed, "The object has neither SourceAnchor nor CloudAnchor.").into());
    }
    Ok(Target::New(fresh()))
}

fn check_anchor(anchor: &str) -> Result<(), ObjectFault> {
    if anchor.is_empty() || anchor.len() > MAX_ANCHOR || anchor.chars().any(char::is_control) {
        return Err(ObjectFault::new(
            FaultCode::DataValidationFailed,
            format!("The SourceAnchor is empty, longer than {MAX_ANCHOR} octets or holds control characters."),
        ));
    }
    Ok(())
}

fn by_source(writer: &Writer<'_>, change: &SyncChange, policy: &Policy, object: ObjectNumber, source: &str) -> Result<Target, Refusal> {
    let Some(record) = writer.object(object)? else {
        return Err(super::DirectoryError::Damaged("an anchor leads to no object").into());
    };
    same_kind(&record, change.kind)?;
    if let Some(cloud) = &change.cloud_anchor
        && !cloud.eq_ignore_ascii_case(&record.cloud_anchor())
    {
        return Err(ObjectFault {
            code: FaultCode::AttributeValueMustBeUnique,
            description: format!("The SourceAnchor {source} belongs to {}, not to {cloud}.", describe(&record)),
            conflict: Some(conflict(&record, "SourceAnchor", source)),
        }
        .into());
    }
    let blocked = policy.features.has(Features::BLOCK_HARD_MATCH_TAKEOVER);
    if let Some(deletion) = &record.deleted {
        return if blocked && !deletion.by_synchronization {
            Err(hard_match_blocked(&record, source).into())
        } else {
            Ok(Target::Deleted(object, record))
        };
    }
    match record.mastery {
        Mastery::OnPremises => Ok(Target::Known(object, record)),
        Mastery::Cloud | Mastery::Released if blocked => Err(hard_match_blocked(&record, source).into()),
        Mastery::Cloud | Mastery::Released => Ok(Target::Matched(object, record)),
    }
}

fn by_cloud(writer: &Writer<'_>, change: &SyncChange, policy: &Policy, cloud: &str) -> Result<Target, Refusal> {
    let found = match writer.by_cloud_anchor(cloud)? {
        Some(object) => writer.object(object)?.map(|record| (object, record)),
        None => None,
    };
    let Some((object, record)) = found.filter(|(_, record)| record.is_live()) else {
        return Err(ObjectFault::new(FaultCode::ObjectNotFound, format!("There is no object with the CloudAnchor {cloud}.")).into());
    };
    same_kind(&record, change.kind)?;
    match (&change.source_anchor, &record.source_anchor) {
        (Some(source), Some(known)) => Err(ObjectFault {
            code: FaultCode::DataValidationFailed,
            description: format!(
                "The SourceAnchor of {} is {known} and cannot become {source}: it is set once. Clear it in the tenant first.",
                describe(&record)
            ),
            conflict: Some(conflict(&record, "SourceAnchor", known)),
        }
        .into()),
        (Some(source), None) => {
            if record.kind != ObjectKind::User || policy.features.has(Features::BLOCK_HARD_MATCH_TAKEOVER) {
                return Err(hard_match_blocked(&record, source).into());
            }
            Ok(Target::Matched(object, record))
        }
        (None, _) if record.mastery == Mastery::OnPremises => Ok(Target::Known(object, record)),
        (None, _) => Err(ObjectFault::new(
            FaultCode::DataValidationFailed,
            format!("{} is mastered in the cloud; synchronization may not change it.", describe(&record)),
        )
        .into()),
    }
}

fn same_kind(record: &ObjectRecord, kind: ObjectKind) -> Result<(), ObjectFault> {
    if record.kind == kind {
        return Ok(());
    }
    Err(ObjectFault {
        code: FaultCode::ObjectTypeMismatch,
        description: format!("The incoming {kind} has the anchor of {}.", describe(record)),
        conflict: Some(conflict(record, "SourceAnchor", record.source_anchor.as_deref().unwrap_or(""))),
    })
}

fn hard_match_blocked(record: &ObjectRecord, source: &str) -> ObjectFault {
    ObjectFault {
        code: FaultCode::InvalidHardMatch,
        description: format!(
            "Another cloud created object with the same source anchor already exists in Azure Active Directory: {}. Taking it over \
             is blocked in this tenant or not possible for its type.",
            describe(record)
        ),
        conflict: Some(conflict(record, "SourceAnchor", source)),
    }
}

fn conflict(record: &ObjectRecord, attribute: &str, value: &str) -> Conflict {
    Conflict { object_id: record.uuid().hyphenated().to_string(), attribute: attribute.to_owned(), values: value.to_owned() }
}

/// Finds a cloud object that a new object (its values are in `incoming` already) should take over (soft match).
pub(super) fn soft(writer: &Writer<'_>, incoming: &ObjectRecord, policy: &Policy) -> Result<Option<(ObjectNumber, ObjectRecord)>, Refusal> {
    let features = policy.features;
    if incoming.kind != ObjectKind::Device
        && let Some(primary) = primary_of(incoming.wanted_texts("proxyAddresses")).or_else(|| incoming.wanted_text("mail"))
        && let Some((object, record)) = live(writer, &UniqueKey::address(primary))?
        && record.primary_address().is_some_and(|address| fold(address) == fold(primary))
        && candidate(incoming, &record, "ProxyAddresses", primary, features.has(Features::DUPLICATE_PROXY_ADDRESS_RESILIENCY), features)?
    {
        return Ok(Some((object, record)));
    }
    if incoming.kind == ObjectKind::User
        && features.has(Features::SOFT_MATCH_ON_UPN)
        && let Some(name) = incoming.wanted_text("userPrincipalName")
        && let Some((object, record)) = live(writer, &UniqueKey::text(UniqueKind::UserPrincipalName, name))?
        && candidate(incoming, &record, "UserPrincipalName", name, features.has(Features::DUPLICATE_UPN_RESILIENCY), features)?
    {
        return Ok(Some((object, record)));
    }
    Ok(None)
}

fn live(writer: &Writer<'_>, key: &UniqueKey) -> Result<Option<(ObjectNumber, ObjectRecord)>, Refusal> {
    let Some(object) = writer.by_unique(key)? else { return Ok(None) };
    Ok(writer.object(object)?.filter(ObjectRecord::is_live).map(|record| (object, record)))
}

/// True when the candidate may be taken over, false when it is none and the value is a duplicate to be kept aside.
fn candidate(
    incoming: &ObjectRecord,
    record: &ObjectRecord,
    attribute: &str,
    value: &str,
    keeps_aside: bool,
    features: Features,
) -> Result<bool, ObjectFault> {
    let refuse = |code, reason: &str| {
        Err(ObjectFault {
            code,
            description: format!("{attribute} {value} leads to {}: {reason}", describe(record)),
            conflict: Some(conflict(record, attribute, value)),
        })
    };
    if record.kind != incoming.kind {
        return refuse(FaultCode::ObjectTypeMismatch, "it has another object type. Change the value of one of the two.");
    }
    if record.source_anchor.is_some() {
        return if keeps_aside {
            Ok(false)
        } else {
            refuse(FaultCode::InvalidSoftMatch, "it already has another immutable id. Clear that, or change the value of one of the two.")
        };
    }
    if features.has(Features::BLOCK_SOFT_MATCH) {
        return refuse(FaultCode::InvalidSoftMatch, "soft match is blocked in this tenant.");
    }
    if !record.roles.is_empty() {
        return refuse(
            FaultCode::ExistingAdminRoleConflict,
            "it holds an administrator role and is never matched. Take the role away first.",
        );
    }
    Ok(true)
}
