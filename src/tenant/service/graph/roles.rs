//! Administrator roles that somebody holds, and who holds them (Graph resource `directoryRole`).

use super::{Answer, DirectoryError, GraphError, Outcome, Request, collection_of, show_any};
use crate::tenant::Tenant;
use serde_json::json;
use std::collections::BTreeSet;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

/// The id of a role: roles have no records of their own, so it follows from the name.
fn id_of(role: &str) -> Uuid {
    Uuid::from_u128(xxh3_128(role.as_bytes()))
}

/// Roles that somebody holds, by name.
fn held(tenant: &Tenant) -> Result<BTreeSet<String>, DirectoryError> {
    let mut names = BTreeSet::new();
    tenant.directory().read()?.scan(0, |_, record| {
        if record.is_live() {
            names.extend(record.roles.iter().cloned());
        }
        Ok(true)
    })?;
    Ok(names)
}

pub(super) fn list(tenant: &Tenant, request: &Request<'_>) -> Outcome {
    let roles = held(tenant)?;
    let shown = roles.iter().map(|role| {
        json!({
            "id": id_of(role), "deletedDateTime": null, "description": null, "displayName": role, "roleTemplateId": id_of(role),
        })
    });
    Ok(Answer::ok(collection_of(&request.root, "directoryRoles", shown.collect())))
}

pub(super) fn members(tenant: &Tenant, request: &Request<'_>, id: &str) -> Outcome {
    let role = held(tenant)?.into_iter().find(|role| id_of(role).hyphenated().to_string().eq_ignore_ascii_case(id));
    let role = role.ok_or_else(|| GraphError::not_found(id))?;
    let reader = tenant.directory().read()?;
    let mut holders = Vec::new();
    reader.scan(0, |object, record| {
        if record.is_live() && record.roles.contains(&role) {
            holders.push((object, record));
        }
        Ok(true)
    })?;
    let mut shown = Vec::with_capacity(holders.len());
    for (object, record) in holders {
        shown.push(show_any(&reader, request, object, &record)?);
    }
    Ok(Answer::ok(collection_of(&request.root, "directoryObjects", shown)))
}
