//! Taking in what synchronization sends: one transaction per call, one answer per object.

use super::change::{
    CredentialChange, CredentialResult, Effect, FaultCode, Incoming, ObjectFault, Operation, Outcome, ReferenceChange, SyncChange,
};
use super::effective::{self, GENERATED_ADDRESSES, Occasion, unique_keys};
use super::matching::{self, Target};
use super::policy::{Features, Policy};
use super::properties::{MEMBER, PropertyValue, ReferenceAttribute};
use super::record::{CredentialRecord, Mastery, ObjectKind, ObjectRecord};
use super::tables::{Writer, parse_cloud_anchor};
use super::{Directory, DirectoryError, ObjectNumber, Refusal};
use crate::model::bare_address;
use crate::password::hash::CredentialData;
use secrecy::ExposeSecret;
use std::borrow::Borrow;
use std::collections::BTreeSet;
use uuid::Uuid;

/// The most members of a group (specification: sync engine 6.11).
const MAX_MEMBERS: u32 = 250_000;

/// What to do with the references of one attribute.
pub(super) enum ReferenceEdit {
    /// Exactly these targets.
    Replace(Vec<String>),
    /// Some more, some less.
    Change(Vec<ReferenceChange>),
}

pub(super) type ReferenceEdits = Vec<(ReferenceAttribute, ReferenceEdit)>;

impl Directory {
    /// Applies a batch in one transaction. Objects that are refused leave no trace; a failure of the directory itself
    /// undoes the whole batch.
    pub fn apply<C: Borrow<SyncChange>>(&self, changes: &[C], policy: &Policy) -> Result<Vec<Outcome>, DirectoryError> {
        self.write(|writer| changes.iter().map(|change| apply_one(writer, change.borrow(), policy)).collect())
    }

    /// Takes in password hashes, one answer per item in the same order.
    pub fn apply_credentials(&self, items: &[CredentialChange], policy: &Policy) -> Result<Vec<CredentialResult>, DirectoryError> {
        self.write(|writer| items.iter().map(|item| apply_credential(writer, item, policy)).collect())
    }
}

fn apply_one(writer: &mut Writer<'_>, change: &SyncChange, policy: &Policy) -> Result<Outcome, DirectoryError> {
    let done = if change.operation == Operation::Delete {
        super::lifecycle::delete(writer, change, policy)
    } else {
        upsert(writer, change, policy).map(|(effect, record)| (effect, Some(record)))
    };
    let (result, record) = match done {
        Ok((effect, record)) => (Ok(effect), record),
        Err(Refusal::Object(fault)) => (Err(fault), None),
        Err(Refusal::Directory(error)) => return Err(error),
    };
    let source_anchor = change.source_anchor.clone().or_else(|| record.as_ref().and_then(|record| record.source_anchor.clone()));
    let cloud_anchor = match &result {
        Ok(_) => record.map(|record| record.cloud_anchor()).or_else(|| change.cloud_anchor.clone()),
        Err(_) => None,
    };
    Ok(Outcome { kind: change.kind, operation: change.operation, source_anchor, cloud_anchor, result })
}

fn upsert(writer: &mut Writer<'_>, change: &SyncChange, policy: &Policy) -> Result<(Effect, ObjectRecord), Refusal> {
    let fresh = || ObjectRecord::new(Uuid::new_v4(), change.kind, policy.now);
    let (object, before, effect, made) = match matching::hard(writer, change, policy, fresh)? {
        Target::Known(object, record) => (Some(object), Some(record), Effect::Updated, None),
        Target::Matched(object, record) => (Some(object), Some(record), Effect::Matched, None),
        Target::Deleted(object, record) => (Some(object), Some(record), Effect::Restored, None),
        Target::New(mut probe) => {
            probe.source_anchor.clone_from(&change.source_anchor);
            let references = take_values(&mut probe, change)?;
            match matching::soft(writer, &probe, policy)? {
                Some((object, record)) => (Some(object), Some(record), Effect::Matched, None),
                // Nobody is like it: the record that was looked for is the new one.
                None => (None, None, Effect::Created, Some((probe, references))),
            }
        }
    };
    if effect == Effect::Created && writer.live_now() >= policy.quota {
        return Err(ObjectFault::new(
            FaultCode::DirectoryQuotaExceeded,
            format!("The tenant holds {} objects, which is all its quota allows. Delete objects or raise the quota.", policy.quota),
        )
        .into());
    }
    let (mut record, references) = if let Some(made) = made {
        made
    } else {
        let mut record = before.clone().unwrap_or_else(fresh);
        let references = take_values(&mut record, change)?;
        (record, references)
    };
    if let Some(source) = &change.source_anchor {
        record.source_anchor = Some(source.clone());
    }
    record.mastery = Mastery::OnPremises;
    record.synchronized = Some(policy.now.0);
    record.deleted = None;
    let (object, changed, record) = store(writer, object, before.as_ref(), record, references, policy, Occasion::Synchronization)?;
    if let Some(deletion) = before.as_ref().and_then(|before| before.deleted.as_ref()) {
        super::lifecycle::revive(writer, object, deletion)?;
    }
    writer.touch(object)?;
    let effect = if effect == Effect::Updated && !changed { Effect::Unchanged } else { effect };
    Ok((effect, record))
}

/// Puts the sent values into the record; references are handed back.
fn take_values(record: &mut ObjectRecord, change: &SyncChange) -> Result<ReferenceEdits, Refusal> {
    let mut references = Vec::new();
    for (name, incoming) in &change.properties {
        if let Some(attribute) = ReferenceAttribute::by_name(name) {
            references.push((attribute, reference_edit(name, attribute, incoming)?));
            continue;
        }
        match incoming {
            Incoming::Clear => {
                record.written.remove(name);
                record.cloud.remove(name);
            }
            Incoming::Value(value) => {
                if value.count() == 0 {
                    record.cloud.remove(name);
                }
                record.written.set(name, value.clone());
            }
            Incoming::References(_) => {
                return Err(ObjectFault::new(
                    FaultCode::DataValidationFailed,
                    format!("{name} is no reference attribute and takes no reference changes."),
                )
                .into());
            }
        }
    }
    Ok(references)
}

fn reference_edit(name: &str, attribute: ReferenceAttribute, incoming: &Incoming) -> Result<ReferenceEdit, ObjectFault> {
    let edit = match incoming {
        Incoming::Clear => ReferenceEdit::Replace(Vec::new()),
        Incoming::Value(PropertyValue::Text(text)) if text.is_empty() => ReferenceEdit::Replace(Vec::new()),
        Incoming::Value(value @ (PropertyValue::Text(_) | PropertyValue::Texts(_))) => ReferenceEdit::Replace(value.texts().to_vec()),
        Incoming::Value(_) => {
            return Err(ObjectFault::new(
                FaultCode::DataValidationFailed,
                format!("{name} refers to other objects and takes anchors as text only."),
            ));
        }
        Incoming::References(changes) => ReferenceEdit::Change(changes.clone()),
    };
    let (targets, single) = match &edit {
        ReferenceEdit::Replace(targets) => (targets.iter().map(String::as_str).collect::<Vec<_>>(), targets.len() <= 1),
        ReferenceEdit::Change(changes) => {
            (changes.iter().map(|change| change.anchor.as_str()).collect(), changes.iter().filter(|change| change.add).count() <= 1)
        }
    };
    if !single && !attribute.is_multi_valued() {
        return Err(ObjectFault::new(FaultCode::DataValidationFailed, format!("{name} takes one value.")));
    }
    if targets.iter().any(|anchor| anchor.is_empty() || anchor.len() > 256 || anchor.chars().any(char::is_control)) {
        return Err(ObjectFault::new(
            FaultCode::DataValidationFailed,
            format!("{name} holds an anchor that is empty, longer than 256 octets or has control characters."),
        ));
    }
    Ok(edit)
}

/// Writes an object with everything that hangs on it, or refuses it without a trace. Answers its number, whether
/// values or references changed, and the object as it was written.
pub(super) fn store(
    writer: &mut Writer<'_>,
    object: Option<ObjectNumber>,
    before: Option<&ObjectRecord>,
    mut record: ObjectRecord,
    references: ReferenceEdits,
    policy: &Policy,
    occasion: Occasion,
) -> Result<(ObjectNumber, bool, ObjectRecord), Refusal> {
    let made = effective::make(writer, object, &record, before, policy, occasion)?;
    let renamed = record.effective.user_principal_name.as_deref().is_some_and(|name| made.user_principal_name.as_deref() != Some(name));
    record.effective = made;
    if renamed && record.mailbox && record.kind == ObjectKind::User {
        keep_as_address(&mut record);
    }
    let plan = plan_references(writer, object, &record, references)?;

    // From here on nothing may be refused.
    let number = object.unwrap_or_else(|| writer.allocate());
    let anchor_before = before.and_then(|before| before.source_anchor.as_deref());
    writer.move_anchor(number, anchor_before, record.source_anchor.as_deref())?;
    let keys_before = before.map(unique_keys).unwrap_or_default();
    writer.move_unique(number, &keys_before, &unique_keys(&record))?;
    if before.is_none() {
        writer.put_identity(number, &record)?;
    }
    let mut changed = before.is_none_or(|before| differs(before, &record));
    for (attribute, anchor, add) in plan {
        let done =
            if add { writer.add_reference(number, attribute, &anchor)? } else { writer.remove_reference(number, attribute, &anchor)? };
        if done && attribute == MEMBER {
            record.members = if add { record.members.saturating_add(1) } else { record.members.saturating_sub(1) };
        }
        changed |= done;
    }
    if before.is_some() && anchor_before != record.source_anchor.as_deref() {
        rename_references(writer, anchor_before.map_or_else(|| record.cloud_anchor(), str::to_owned).as_str(), &record.reference_name())?;
    }
    let was_quarantined = before.is_some_and(|before| !before.effective.quarantined.is_empty());
    let quarantined = !record.effective.quarantined.is_empty();
    if was_quarantined != quarantined {
        writer.mark_quarantined(number, quarantined)?;
    }
    writer.put_object(number, &record)?;
    Ok((number, changed, record))
}

fn differs(before: &ObjectRecord, after: &ObjectRecord) -> bool {
    before.written != after.written
        || before.cloud != after.cloud
        || before.effective != after.effective
        || before.source_anchor != after.source_anchor
        || before.mastery != after.mastery
        || before.deleted.is_some() != after.deleted.is_some()
}

/// A mailbox user's recomputed sign-in name becomes a secondary address (specification: sync engine 6.4).
fn keep_as_address(record: &mut ObjectRecord) {
    let Some(name) = record.effective.user_principal_name.clone() else { return };
    let known = record.effective.proxy_addresses.iter().any(|address| bare_address(address).eq_ignore_ascii_case(&name));
    if !known {
        let mut generated = record.cloud.texts(GENERATED_ADDRESSES).to_vec();
        generated.push(format!("smtp:{name}"));
        record.cloud.set(GENERATED_ADDRESSES, PropertyValue::Texts(generated));
        record.effective.proxy_addresses.push(format!("smtp:{name}"));
    }
}

/// Turns edits into rows to add and to remove.
fn plan_references(
    writer: &Writer<'_>,
    object: Option<ObjectNumber>,
    record: &ObjectRecord,
    edits: ReferenceEdits,
) -> Result<Vec<(ReferenceAttribute, String, bool)>, Refusal> {
    let mut plan = Vec::new();
    for (attribute, edit) in edits {
        let present = |limit| match object {
            Some(object) => writer.references(object, attribute, None, limit),
            None => Ok(Vec::new()),
        };
        match edit {
            ReferenceEdit::Replace(targets) => {
                let wanted = targets.into_iter().map(|anchor| canonical(writer, anchor)).collect::<Result<BTreeSet<_>, _>>()?;
                let present: BTreeSet<String> = present(usize::MAX)?.into_iter().collect();
                plan.extend(present.difference(&wanted).map(|anchor| (attribute, anchor.clone(), false)));
                plan.extend(wanted.difference(&present).map(|anchor| (attribute, anchor.clone(), true)));
            }
            ReferenceEdit::Change(changes) => {
                let adds = changes.iter().any(|change| change.add);
                if !attribute.is_multi_valued() && adds {
                    plan.extend(present(1)?.into_iter().map(|anchor| (attribute, anchor, false)));
                }
                for change in changes {
                    plan.push((attribute, canonical(writer, change.anchor)?, change.add));
                }
            }
        }
    }
    let added = plan.iter().filter(|(attribute, _, add)| *attribute == MEMBER && *add).count();
    let removed = plan.iter().filter(|(attribute, _, add)| *attribute == MEMBER && !*add).count();
    let members = (record.members as usize).saturating_add(added).saturating_sub(removed);
    if added > 0 && members > MAX_MEMBERS as usize {
        return Err(ObjectFault::new(
            FaultCode::LargeObject,
            format!("The group would have {members} members; {MAX_MEMBERS} are allowed (ExceededAllowedLength)."),
        )
        .into());
    }
    Ok(plan)
}

/// The one spelling under which references to an object are kept: its immutable id, otherwise its cloud anchor.
fn canonical(writer: &Writer<'_>, anchor: String) -> Result<String, DirectoryError> {
    if parse_cloud_anchor(&anchor).is_none() || writer.by_anchor(&anchor)?.is_some() {
        return Ok(anchor);
    }
    let record = match writer.by_cloud_anchor(&anchor)? {
        Some(object) => writer.object(object)?,
        None => None,
    };
    Ok(record.map_or(anchor, |record| record.reference_name()))
}

/// References to an object follow its immutable id.
fn rename_references(writer: &mut Writer<'_>, from: &str, to: &str) -> Result<(), DirectoryError> {
    if from == to {
        return Ok(());
    }
    for (owner, attribute) in writer.referrers(from)? {
        writer.remove_reference(owner, attribute, from)?;
        writer.add_reference(owner, attribute, to)?;
        writer.touch(owner)?;
    }
    Ok(())
}

fn apply_credential(writer: &mut Writer<'_>, item: &CredentialChange, policy: &Policy) -> Result<CredentialResult, DirectoryError> {
    let object = match (&item.source_anchor, &item.cloud_anchor) {
        (Some(source), _) => writer.by_anchor(source)?,
        (None, Some(cloud)) => writer.by_cloud_anchor(cloud)?,
        (None, None) => None,
    };
    let found = match object {
        Some(object) => writer.object(object)?.map(|record| (object, record)),
        None => None,
    };
    let Some((object, record)) = found.filter(|(_, record)| record.is_live()) else { return Ok(CredentialResult::NotFound) };
    if record.kind != ObjectKind::User {
        return Ok(CredentialResult::NotAUser);
    }
    if record.mastery != Mastery::OnPremises && !linked_for_its_password(&record, policy) {
        return Ok(CredentialResult::CloudOnly);
    }
    let Ok(data) = CredentialData::parse(item.data.expose_secret()) else { return Ok(CredentialResult::Malformed) };
    let earlier = writer.credential(object)?;
    let enforce = policy.features.has(Features::ENFORCE_CLOUD_PASSWORD_POLICY);
    writer.put_credential(
        object,
        &CredentialRecord {
            derivation: data.to_text().expose_secret().to_owned(),
            synchronized: true,
            changed: item.changed.unwrap_or(policy.now.0),
            must_change: item.force_change && policy.features.has(Features::FORCE_PASSWORD_CHANGE),
            never_expires: !enforce,
            failures: 0,
            locked_until: earlier.as_ref().map_or(0, |earlier| earlier.locked_until),
            sessions_since: earlier.map_or(0, |earlier| earlier.sessions_since),
        },
    )?;
    Ok(CredentialResult::Success)
}

/// Whether an account of the cloud takes a password from the directory and nothing else, named by its own key or by the
/// immutable id that somebody gave it: in a tenant that allows it, and not an administrator's. The real service never does
/// (specification: sync engine 5.7).
fn linked_for_its_password(record: &ObjectRecord, policy: &Policy) -> bool {
    policy.password_only_links && record.roles.is_empty()
}
