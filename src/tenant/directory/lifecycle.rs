//! Deleting, the recycle bin, the hourly sweep, and what administrators do to objects
//! (specification: sync engine 6.2, 6.6, 6.7).

use super::change::{Effect, FaultCode, Incoming, ObjectFault, SyncChange};
use super::effective::{Occasion, describe, unique_keys};
use super::policy::Policy;
use super::properties::{MEMBER, PropertyValue, ReferenceAttribute};
use super::record::{CredentialRecord, Deletion, LostReference, Mastery, ObjectKind, ObjectRecord, Tombstone};
use super::tables::Writer;
use super::write::{ReferenceEdit, store};
use super::{Directory, DirectoryError, ObjectNumber, Refusal};
use crate::password::hash::{CredentialData, ITERATIONS, NtHash, SALT_LENGTH};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

/// How long a tombstone is kept for clients that read deltas rarely: 60 days.
const TOMBSTONE_MICROSECONDS: i64 = 60 * 86_400 * 1_000_000;
const ROUND: usize = 1000;

/// A change that an administrator makes to one object, past or through the rules for synchronized objects.
#[derive(Clone, Debug, Default)]
pub struct Edit {
    /// New values by name.
    pub values: Vec<(String, Incoming)>,
    /// A new immutable id, or none any more.
    pub source_anchor: Option<Option<String>>,
    /// New administrator roles.
    pub roles: Option<Vec<String>>,
    /// Gets or loses a mailbox.
    pub mailbox: Option<bool>,
    /// Change what synchronization wrote, as if somebody had done it behind its back.
    pub behind_synchronization: bool,
    /// Do not put the object into the next delta.
    pub silent: bool,
}

pub(super) fn delete(writer: &mut Writer<'_>, change: &SyncChange, policy: &Policy) -> Result<(Effect, Option<ObjectRecord>), Refusal> {
    let mut object = match &change.source_anchor {
        Some(source) => writer.by_anchor(source)?,
        None => None,
    };
    if object.is_none()
        && let Some(cloud) = &change.cloud_anchor
    {
        object = writer.by_cloud_anchor(cloud)?;
        if object.is_none() && change.source_anchor.is_none() {
            return Err(ObjectFault::new(FaultCode::ObjectNotFound, format!("There is no object with the CloudAnchor {cloud}.")).into());
        }
    }
    if change.source_anchor.is_none() && change.cloud_anchor.is_none() {
        return Err(ObjectFault::new(FaultCode::DataValidationFailed, "The object has neither SourceAnchor nor CloudAnchor.").into());
    }
    let Some(object) = object else { return Ok((Effect::AlreadyDeleted, None)) };
    let Some(record) = writer.object(object)?.filter(ObjectRecord::is_live) else { return Ok((Effect::AlreadyDeleted, None)) };
    if record.kind != change.kind {
        return Err(ObjectFault::new(
            FaultCode::ObjectTypeMismatch,
            format!("A {} is to be deleted, but the anchor belongs to {}.", change.kind, describe(&record)),
        )
        .into());
    }
    if record.mastery != Mastery::OnPremises {
        return Err(ObjectFault::new(
            FaultCode::DeleteNotAllowed,
            format!(
                "This synchronization operation, Delete, is not valid. Deleting a cloud-only object isn't supported: {}.",
                describe(&record)
            ),
        )
        .into());
    }
    let record = remove(writer, object, record, policy, true)?;
    Ok((Effect::Deleted, Some(record)))
}

/// Deletes a live object: a user goes to the recycle bin, anything else for good.
fn remove(
    writer: &mut Writer<'_>,
    object: ObjectNumber,
    mut record: ObjectRecord,
    policy: &Policy,
    by_synchronization: bool,
) -> Result<ObjectRecord, DirectoryError> {
    let references = detach(writer, &record.reference_name())?;
    writer.touch(object)?;
    if record.kind == ObjectKind::User {
        let purge_at = policy.now.0.saturating_add(policy.recycle_microseconds);
        record.deleted = Some(Deletion { at: policy.now.0, purge_at, by_synchronization, references });
        if record.mastery == Mastery::OnPremises {
            record.mastery = Mastery::Released;
        }
        writer.put_object(object, &record)?;
        writer.put_deleted(object, purge_at)?;
    } else {
        bury(writer, object, &record, policy)?;
    }
    Ok(record)
}

/// Takes away every reference to an object and says what there was.
fn detach(writer: &mut Writer<'_>, anchor: &str) -> Result<Vec<LostReference>, DirectoryError> {
    let mut lost = Vec::new();
    for (owner, attribute) in writer.referrers(anchor)? {
        if writer.remove_reference(owner, attribute, anchor)? {
            count_member(writer, owner, attribute, false)?;
            writer.touch(owner)?;
            lost.push(LostReference { owner, attribute: attribute.0 });
        }
    }
    Ok(lost)
}

fn count_member(writer: &mut Writer<'_>, owner: ObjectNumber, attribute: ReferenceAttribute, more: bool) -> Result<(), DirectoryError> {
    if attribute == MEMBER
        && let Some(mut record) = writer.object(owner)?
    {
        record.members = if more { record.members.saturating_add(1) } else { record.members.saturating_sub(1) };
        writer.put_object(owner, &record)?;
    }
    Ok(())
}

fn bury(writer: &mut Writer<'_>, object: ObjectNumber, record: &ObjectRecord, policy: &Policy) -> Result<(), DirectoryError> {
    writer.move_unique(object, &unique_keys(record), &[])?;
    writer.move_anchor(object, record.source_anchor.as_deref(), None)?;
    for (attribute, anchor) in writer.all_references(object)? {
        writer.remove_reference(object, attribute, &anchor)?;
    }
    let tombstone = Tombstone { id: record.id, kind: record.kind, source_anchor: record.source_anchor.clone(), at: policy.now.0 };
    writer.bury(object, &tombstone)
}

/// Brings the references to a restored object back, where their owners still live.
pub(super) fn revive(writer: &mut Writer<'_>, object: ObjectNumber, deletion: &Deletion) -> Result<(), DirectoryError> {
    writer.revive(object)?;
    let Some(record) = writer.object(object)? else { return Ok(()) };
    let anchor = record.reference_name();
    for lost in &deletion.references {
        let attribute = ReferenceAttribute(lost.attribute);
        let Some(owner) = writer.object(lost.owner)?.filter(ObjectRecord::is_live) else { continue };
        let taken = !attribute.is_multi_valued() && !writer.references(lost.owner, attribute, None, 1)?.is_empty();
        if !taken && owner.is_live() && writer.add_reference(lost.owner, attribute, &anchor)? {
            count_member(writer, lost.owner, attribute, true)?;
            writer.touch(lost.owner)?;
        }
    }
    Ok(())
}

impl Directory {
    /// Creates an object that is mastered in the cloud.
    pub fn create_cloud_object(&self, kind: ObjectKind, edit: &Edit, policy: &Policy) -> Result<ObjectRecord, Refusal> {
        self.write(|writer| {
            let mut record = ObjectRecord::new(Uuid::new_v4(), kind, policy.now);
            let references = apply_edit(&mut record, edit)?;
            if let Some(anchor) = &record.source_anchor
                && writer.by_anchor(anchor)?.is_some()
            {
                return Err(taken_anchor(anchor).into());
            }
            let (object, ..) = store(writer, None, None, record, references, policy, Occasion::Administrator)?;
            writer.touch(object)?;
            stored(writer, object)
        })
    }

    /// Changes an object as an administrator does.
    pub fn edit(&self, object: ObjectNumber, edit: &Edit, policy: &Policy) -> Result<ObjectRecord, Refusal> {
        self.write(|writer| {
            let Some(before) = writer.object(object)? else {
                return Err(ObjectFault::new(FaultCode::ObjectNotFound, "The object is gone.").into());
            };
            let mut record = before.clone();
            let references = apply_edit(&mut record, edit)?;
            if let Some(anchor) = record.source_anchor.as_deref().filter(|_| record.source_anchor != before.source_anchor)
                && writer.by_anchor(anchor)?.is_some()
            {
                return Err(taken_anchor(anchor).into());
            }
            let occasion = if edit.behind_synchronization { Occasion::Synchronization } else { Occasion::Administrator };
            store(writer, Some(object), Some(&before), record, references, policy, occasion)?;
            if !edit.silent {
                writer.touch(object)?;
            }
            stored(writer, object)
        })
    }

    /// Deletes an object as an administrator does: users to the recycle bin.
    pub fn delete(&self, object: ObjectNumber, policy: &Policy) -> Result<(), Refusal> {
        self.write(|writer| {
            if let Some(record) = writer.object(object)?.filter(ObjectRecord::is_live) {
                remove(writer, object, record, policy, false)?;
            }
            Ok(())
        })
    }

    /// Removes an object of the recycle bin for good.
    pub fn purge(&self, object: ObjectNumber, policy: &Policy) -> Result<(), Refusal> {
        self.write(|writer| {
            if let Some(record) = writer.object(object)?.filter(|record| !record.is_live()) {
                bury(writer, object, &record, policy)?;
            }
            Ok(())
        })
    }

    /// Brings a user back from the recycle bin: cloud-managed, with its immutable id (specification: sync engine 6.7).
    pub fn restore(&self, object: ObjectNumber, policy: &Policy) -> Result<ObjectRecord, Refusal> {
        self.write(|writer| {
            let Some(before) = writer.object(object)? else {
                return Err(ObjectFault::new(FaultCode::ObjectNotFound, "The object is gone for good.").into());
            };
            let Some(deletion) = before.deleted.clone() else {
                return Err(ObjectFault::new(FaultCode::DataValidationFailed, "The object is not in the recycle bin.").into());
            };
            let mut record = before.clone();
            record.deleted = None;
            store(writer, Some(object), Some(&before), record, Vec::new(), policy, Occasion::Administrator)?;
            revive(writer, object, &deletion)?;
            writer.touch(object)?;
            stored(writer, object)
        })
    }

    /// Sets the password of an account in the cloud. Only a salted derivation is kept.
    pub fn set_password(
        &self,
        object: ObjectNumber,
        password: &SecretString,
        must_change: bool,
        policy: &Policy,
    ) -> Result<(), DirectoryError> {
        let mut salt = [0; SALT_LENGTH];
        rand::fill(&mut salt);
        let data = CredentialData::derive(&NtHash::of_password(password.expose_secret()), &salt, ITERATIONS)
            .map_err(|_| DirectoryError::Damaged("a password could not be derived"))?;
        self.write(|writer| {
            // The account's password policy is none of a reset's business.
            let never_expires = writer.credential(object)?.is_some_and(|earlier| earlier.never_expires);
            writer.put_credential(
                object,
                &CredentialRecord {
                    derivation: data.to_text().expose_secret().to_owned(),
                    synchronized: false,
                    changed: policy.now.0,
                    must_change,
                    never_expires,
                    failures: 0,
                    locked_until: 0,
                    sessions_since: policy.now.0,
                },
            )
        })
    }

    /// Whether the password of an account expires (`passwordPolicies`); nothing happens to an account without one.
    pub fn set_password_expiry(&self, object: ObjectNumber, expires: bool) -> Result<(), DirectoryError> {
        self.write(|writer| match writer.credential(object)? {
            Some(credential) => writer.put_credential(object, &CredentialRecord { never_expires: !expires, ..credential }),
            None => Ok(()),
        })
    }

    /// Purges what is due and releases values kept aside whose conflict is gone. Answers how many of each.
    pub fn sweep(&self, policy: &Policy) -> Result<(usize, usize), DirectoryError> {
        let mut purged = 0;
        loop {
            let due = self.read()?.due_for_purge(policy.now.0, ROUND)?;
            if due.is_empty() {
                break;
            }
            purged += due.len();
            self.write(|writer| {
                for object in &due {
                    match writer.object(*object)? {
                        Some(record) => bury(writer, *object, &record, policy)?,
                        None => writer.revive(*object)?,
                    }
                }
                Ok::<(), DirectoryError>(())
            })?;
        }
        let before = policy.now.0.saturating_sub(TOMBSTONE_MICROSECONDS);
        while self.write(|writer| writer.forget_tombstones(before, ROUND))? == ROUND {}
        let mut released = 0;
        for round in self.read()?.quarantined()?.chunks(ROUND) {
            released += self.review(round, policy, false)?;
        }
        Ok((purged, released))
    }

    /// Makes the sign-in names of all synchronized users again, after domains were verified or removed.
    pub fn recompute_names(&self, policy: &Policy) -> Result<usize, DirectoryError> {
        let mut after = 0;
        let mut changed = 0;
        loop {
            let round = self.round(after, |record| record.kind == ObjectKind::User && record.mastery == Mastery::OnPremises)?;
            let Some(last) = round.last else { return Ok(changed) };
            after = last;
            changed += self.review(&round.objects, policy, true)?;
        }
    }

    /// Makes every synchronized object a cloud object, as turning synchronization off does in the end. Immutable ids
    /// stay; cookies given out become invalid.
    pub fn release_all(&self) -> Result<usize, DirectoryError> {
        let mut after = 0;
        let mut released = 0;
        loop {
            let round = self.round(after, |record| record.mastery != Mastery::Cloud)?;
            let Some(last) = round.last else { break };
            after = last;
            released += round.objects.len();
            self.write(|writer| {
                for object in &round.objects {
                    let Some(mut record) = writer.object(*object)? else { continue };
                    let written = std::mem::take(&mut record.written);
                    for property in written.iter() {
                        record.cloud.set(&property.name, property.value.clone());
                    }
                    record.mastery = Mastery::Cloud;
                    record.synchronized = None;
                    writer.put_object(*object, &record)?;
                }
                Ok::<(), DirectoryError>(())
            })?;
        }
        self.write(|writer: &mut Writer<'_>| writer.raise_floor())?;
        Ok(released)
    }

    fn round(&self, after: ObjectNumber, wanted: impl Fn(&ObjectRecord) -> bool) -> Result<Round, DirectoryError> {
        let mut round = Round { objects: Vec::new(), last: None };
        self.read()?.scan(after, |object, record| {
            round.last = Some(object);
            if wanted(&record) {
                round.objects.push(object);
            }
            Ok(round.objects.len() < ROUND)
        })?;
        Ok(round)
    }

    fn review(&self, objects: &[ObjectNumber], policy: &Policy, names: bool) -> Result<usize, DirectoryError> {
        self.write(|writer| {
            let mut changed = 0;
            for object in objects {
                let Some(before) = writer.object(*object)? else { continue };
                match store(writer, Some(*object), Some(&before), before.clone(), Vec::new(), policy, Occasion::Review { names }) {
                    Ok((_, true, _)) => changed += 1,
                    // A refusal leaves the object as it was; the next sweep looks again.
                    Ok((_, false, _)) | Err(Refusal::Object(_)) => {}
                    Err(Refusal::Directory(error)) => return Err(error),
                }
            }
            Ok(changed)
        })
    }
}

struct Round {
    objects: Vec<ObjectNumber>,
    last: Option<ObjectNumber>,
}

fn stored(writer: &Writer<'_>, object: ObjectNumber) -> Result<ObjectRecord, Refusal> {
    writer.object(object)?.ok_or_else(|| DirectoryError::Damaged("an object just written is not there").into())
}

fn taken_anchor(anchor: &str) -> ObjectFault {
    ObjectFault::new(FaultCode::AttributeValueMustBeUnique, format!("Another object already has the immutable id {anchor}."))
}

fn apply_edit(record: &mut ObjectRecord, edit: &Edit) -> Result<Vec<(ReferenceAttribute, ReferenceEdit)>, ObjectFault> {
    let mut references = Vec::new();
    let synchronized = record.mastery == Mastery::OnPremises && edit.behind_synchronization;
    for (name, incoming) in &edit.values {
        if let Some(attribute) = ReferenceAttribute::by_name(name) {
            references.push((
                attribute,
                match incoming {
                    Incoming::Clear => ReferenceEdit::Replace(Vec::new()),
                    Incoming::Value(value) => ReferenceEdit::Replace(value.texts().to_vec()),
                    Incoming::References(changes) => ReferenceEdit::Change(changes.clone()),
                },
            ));
            continue;
        }
        let values = if synchronized { &mut record.written } else { &mut record.cloud };
        match incoming {
            Incoming::Clear => {
                values.remove(name);
            }
            Incoming::Value(value) => {
                values.set(name, value.clone());
            }
            Incoming::References(_) => {
                return Err(ObjectFault::new(FaultCode::DataValidationFailed, format!("{name} is no reference attribute.")));
            }
        }
    }
    if let Some(anchor) = &edit.source_anchor {
        record.source_anchor.clone_from(anchor);
    }
    if let Some(roles) = &edit.roles {
        record.roles.clone_from(roles);
    }
    if let Some(mailbox) = edit.mailbox {
        record.mailbox = mailbox;
    }
    Ok(references)
}

impl From<&str> for Incoming {
    fn from(text: &str) -> Self {
        Self::Value(PropertyValue::Text(text.to_owned()))
    }
}
