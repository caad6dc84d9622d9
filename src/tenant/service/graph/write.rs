//! What administrators change through Graph: users, the recycle bin, the organization, domains, synchronization settings.

use super::{Answer, Failure, GraphError, Outcome, Request, collection_of, find, on_premises, show_any, shown_organization, single, view};
use crate::tenant::directory::{Authentication, Edit, Features, Incoming, ObjectKind, ObjectNumber, ObjectRecord, PropertyValue};
use crate::tenant::state::State;
use crate::tenant::{Tenant, directory::Refusal};
use axum::http::{Method, StatusCode};
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// What may be changed in the cloud although the object is synchronized (specification: sync engine 6.1).
const CLOUD_OWNED: [&str; 6] = ["usageLocation", "passwordProfile", "passwordPolicies", "otherMails", "preferredLanguage", "userType"];

fn body(request: &Request<'_>) -> Result<Map<String, Value>, GraphError> {
    match serde_json::from_slice(request.body) {
        Ok(Value::Object(map)) => Ok(map),
        _ => Err(GraphError::bad_request(
            "Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of valid JSON format.",
        )),
    }
}

fn optional_body(request: &Request<'_>) -> Result<Map<String, Value>, GraphError> {
    if request.body.is_empty() { Ok(Map::new()) } else { body(request) }
}

/// A value of the body as one of ours.
pub(in crate::tenant::service) fn incoming(name: &str, value: &Value, several: bool) -> Result<Incoming, String> {
    Ok(match value {
        Value::Null => Incoming::Clear,
        Value::Bool(boolean) => Incoming::Value(PropertyValue::Boolean(*boolean)),
        Value::String(text) if several => Incoming::Value(PropertyValue::Texts(vec![text.clone()])),
        Value::String(text) => Incoming::Value(PropertyValue::Text(text.clone())),
        Value::Number(number) => {
            Incoming::Value(PropertyValue::Integer(number.as_i64().ok_or_else(|| format!("Property '{name}' takes a whole number."))?))
        }
        Value::Array(items) => {
            let texts = items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
            Incoming::Value(PropertyValue::Texts(texts.ok_or_else(|| format!("Property '{name}' takes a list of texts."))?))
        }
        Value::Object(_) => return Err(format!("Property '{name}' takes no object.")),
    })
}

/// Password and its flag, out of `passwordProfile`.
fn password(fields: &mut Map<String, Value>) -> Result<Option<(SecretString, bool)>, GraphError> {
    let Some(Value::Object(mut profile)) = fields.remove("passwordProfile") else { return Ok(None) };
    let force = profile.get("forceChangePasswordNextSignIn").and_then(Value::as_bool).unwrap_or(true);
    match profile.remove("password") {
        Some(Value::String(text)) if text.chars().count() >= 8 => Ok(Some((SecretString::from(text), force))),
        Some(_) => Err(GraphError::bad_request(
            "The specified password does not comply with password complexity requirements. Please provide a different password.",
        )),
        None => Ok(None),
    }
}

fn edit_of(fields: &Map<String, Value>, kind: ObjectKind) -> Result<Edit, GraphError> {
    let mut edit = Edit::default();
    for (name, value) in fields.iter().filter(|(name, _)| !name.starts_with('@')) {
        if name.eq_ignore_ascii_case("onPremisesImmutableId") {
            edit.source_anchor = Some(match value {
                Value::Null => None,
                Value::String(text) if !text.is_empty() => Some(text.clone()),
                _ => return Err(GraphError::bad_request("Property 'onPremisesImmutableId' takes a text or null.")),
            });
            continue;
        }
        let (attribute, several) = if name.eq_ignore_ascii_case("accountEnabled") {
            ("accountEnabled", false)
        } else if name.starts_with("extension_") {
            (name.as_str(), false)
        } else {
            view::attribute(kind, name)
                .ok_or_else(|| GraphError::bad_request(format!("Property '{name}' does not exist or cannot be written.")))?
        };
        edit.values.push((attribute.to_owned(), incoming(name, value, several).map_err(GraphError::bad_request)?));
    }
    Ok(edit)
}

pub(super) fn create_user(tenant: &Tenant, request: &Request<'_>) -> Outcome {
    let mut fields = body(request)?;
    for name in ["accountEnabled", "displayName", "mailNickname", "userPrincipalName", "passwordProfile"] {
        if fields.get(name).is_none_or(Value::is_null) {
            return Err(GraphError::bad_request(format!("A value is required for property '{name}' of resource 'User'.")).into());
        }
    }
    let name = fields.get("userPrincipalName").and_then(Value::as_str).unwrap_or_default().to_owned();
    let domain = name.rsplit_once('@').map_or("", |(_, domain)| domain);
    if !tenant.state().domain(domain).is_some_and(|domain| domain.verified) {
        return Err(GraphError::bad_request(format!("The domain portion of the userPrincipalName property is invalid. You must use one of the verified domain names in your organization, not '{domain}'.")).into());
    }
    let password = password(&mut fields)?
        .ok_or_else(|| GraphError::bad_request("A value is required for property 'passwordProfile' of resource 'User'."))?;
    let edit = edit_of(&fields, ObjectKind::User)?;
    let record = tenant.directory().create_cloud_object(ObjectKind::User, &edit, &tenant.policy())?;
    let object = tenant.directory().read()?.by_id(record.uuid())?.ok_or_else(|| GraphError::not_found(&name))?;
    tenant.directory().set_password(object, &password.0, password.1, &tenant.policy())?;
    let id = record.uuid().hyphenated().to_string();
    let Answer { body: Some(shown), .. } = single(tenant, request, ObjectKind::User, &id)? else {
        return Err(GraphError::not_found(&id).into());
    };
    Ok(Answer::created(shown))
}

pub(super) fn change(tenant: &Tenant, request: &Request<'_>, kind: ObjectKind, id: &str) -> Outcome {
    let (object, record) = find(&tenant.directory().read()?, kind, id)?;
    let mut fields = body(request)?;
    let blocked = |name: &String| !CLOUD_OWNED.iter().any(|known| known.eq_ignore_ascii_case(name));
    if on_premises(&record) && fields.keys().any(blocked) {
        return Err(GraphError::bad_request(
            "Unable to update the specified properties for on-premises mastered Directory Sync objects or objects currently undergoing migration.",
        )
        .into());
    }
    if let Some(policies) = fields.remove("passwordPolicies") {
        let named =
            |name: &str| policies.as_str().is_some_and(|text| text.split(',').any(|policy| policy.trim().eq_ignore_ascii_case(name)));
        tenant.directory().set_password_expiry(object, !named("DisablePasswordExpiration"))?;
    }
    if let Some((password, force)) = password(&mut fields)? {
        tenant.directory().set_password(object, &password, force, &tenant.policy())?;
    }
    if !fields.is_empty() {
        let edit = edit_of(&fields, kind)?;
        tenant.directory().edit(object, &edit, &tenant.policy())?;
    }
    Ok(Answer::no_content())
}

pub(super) fn delete(tenant: &Tenant, kind: ObjectKind, id: &str) -> Outcome {
    let (object, _) = find(&tenant.directory().read()?, kind, id)?;
    tenant.directory().delete(object, &tenant.policy())?;
    Ok(Answer::no_content())
}

fn find_deleted(tenant: &Tenant, id: &str) -> Result<(ObjectNumber, ObjectRecord), Failure> {
    let reader = tenant.directory().read()?;
    let found = match Uuid::try_parse(id) {
        Ok(id) => reader.by_id(id)?,
        Err(_) => return Err(GraphError::bad_request(format!("Invalid object identifier '{id}'.")).into()),
    };
    if let Some(object) = found
        && let Some(record) = reader.object(object)?.filter(|record| !record.is_live())
    {
        return Ok((object, record));
    }
    Err(GraphError::not_found(id).into())
}

pub(super) fn deleted(tenant: &Tenant, request: &Request<'_>, id: &str) -> Outcome {
    let (object, record) = find_deleted(tenant, id)?;
    match request.method {
        Method::GET => Ok(Answer::ok(show_any(&tenant.directory().read()?, request, object, &record)?)),
        Method::DELETE => {
            tenant.directory().purge(object, &tenant.policy())?;
            Ok(Answer::no_content())
        }
        _ => Err(GraphError::bad_request("Only GET and DELETE are supported there.").into()),
    }
}

pub(super) fn restore(tenant: &Tenant, request: &Request<'_>, id: &str) -> Outcome {
    let (object, _) = find_deleted(tenant, id)?;
    let fields = optional_body(request)?;
    if let Some(name) = fields.get("newUserPrincipalName").and_then(Value::as_str) {
        let edit = Edit { values: vec![("userPrincipalName".to_owned(), name.into())], ..Edit::default() };
        tenant.directory().edit(object, &edit, &tenant.policy())?;
    }
    let record = tenant.directory().restore(object, &tenant.policy()).map_err(|refusal| match refusal {
        Refusal::Object(fault) => Failure::from(super::refused_object(fault)),
        Refusal::Directory(error) => error.into(),
    })?;
    Ok(Answer::ok(show_any(&tenant.directory().read()?, request, object, &record)?))
}

pub(super) fn organization(tenant: &Tenant, request: &Request<'_>, id: &str) -> Outcome {
    if !id.eq_ignore_ascii_case(&tenant.state().tenant_id.hyphenated().to_string()) {
        return Err(GraphError::not_found(id).into());
    }
    match request.method {
        Method::GET => {
            let mut shown = shown_organization(tenant, request)?;
            shown["@odata.context"] = json!(format!("{}/$metadata#organization/$entity", request.root));
            Ok(Answer::ok(shown))
        }
        Method::PATCH => {
            // Clients write the property in Pascal case (specification: provisioning service 8.1).
            for (name, value) in body(request)? {
                if name.eq_ignore_ascii_case("onPremisesSyncEnabled") {
                    let Some(on) = value.as_bool() else {
                        return Err(GraphError::bad_request("Property 'onPremisesSyncEnabled' takes true or false.").into());
                    };
                    if !tenant.activate(on)? {
                        return Err(GraphError::bad_request(
                            "Directory synchronization is being turned off. That can take 72 hours and cannot be cancelled; turn it on again afterwards.",
                        )
                        .into());
                    }
                } else if !name.starts_with('@') {
                    return Err(GraphError::bad_request(format!("Property '{name}' is read-only here.")).into());
                }
            }
            Ok(Answer::no_content())
        }
        _ => Err(GraphError::bad_request("Only GET and PATCH are supported there.").into()),
    }
}

pub(super) fn domain(tenant: &Tenant, request: &Request<'_>, name: &str) -> Outcome {
    let shown = tenant.state().domain(name).map(super::domain).ok_or_else(|| GraphError::not_found(name))?;
    match request.method {
        Method::GET => {
            let mut shown = shown;
            shown["@odata.context"] = json!(format!("{}/$metadata#domains/$entity", request.root));
            Ok(Answer::ok(shown))
        }
        Method::PATCH => {
            let fields = body(request)?;
            let authentication = match fields.get("authenticationType").and_then(Value::as_str) {
                Some(text) if text.eq_ignore_ascii_case("Managed") => Some(Authentication::Managed),
                Some(_) => {
                    return Err(GraphError::bad_request(
                        "authenticationType can be set to Managed only; a federation configuration makes it Federated.",
                    )
                    .into());
                }
                None => None,
            };
            let default = fields.get("isDefault").and_then(Value::as_bool).unwrap_or(false);
            tenant.update_state(|state| {
                if default {
                    state.domains.iter_mut().for_each(|domain| domain.default = false);
                }
                if let Some(domain) = state.domain_mut(name) {
                    domain.default |= default;
                    if let Some(authentication) = authentication {
                        domain.authentication = authentication;
                        domain.federation = None;
                    }
                }
            })?;
            Ok(Answer::no_content())
        }
        _ => Err(GraphError::bad_request("Only GET and PATCH are supported there.").into()),
    }
}

fn shown_synchronization(state: &State) -> Value {
    let features: Map<String, Value> = Features::GRAPH_NAMES
        .iter()
        .map(|(name, bit)| {
            let on = if *bit == 0 { state.unnumbered_features.iter().any(|known| known == name) } else { state.features.has(*bit) };
            ((*name).to_owned(), json!(on))
        })
        .collect();
    json!({
        "id": state.tenant_id.hyphenated().to_string(),
        "configuration": {"accidentalDeletionPrevention": {
            "synchronizationPreventionType": state.deletion_prevention, "alertThreshold": state.deletion_threshold,
        }},
        "features": features,
    })
}

pub(super) fn synchronization(tenant: &Tenant, request: &Request<'_>, rest: &[&str]) -> Outcome {
    match (&request.method, rest) {
        (&Method::GET, []) => {
            let shown = shown_synchronization(&tenant.state());
            Ok(Answer::ok(collection_of(&request.root, "directory/onPremisesSynchronization", vec![shown])))
        }
        (method, [id]) => {
            if !id.eq_ignore_ascii_case(&tenant.state().tenant_id.hyphenated().to_string()) {
                return Err(GraphError::not_found(id).into());
            }
            match *method {
                Method::GET => Ok(Answer::ok(shown_synchronization(&tenant.state()))),
                Method::PATCH => {
                    let fields = body(request)?;
                    let changed = tenant.update_state(|state| {
                        let mut next = state.clone();
                        change_synchronization(&mut next, &fields)?;
                        *state = next;
                        Ok::<(), GraphError>(())
                    })?;
                    changed?;
                    Ok(Answer::no_content())
                }
                _ => Err(GraphError::bad_request("Only GET and PATCH are supported there.").into()),
            }
        }
        _ => Err(GraphError::new(StatusCode::BAD_REQUEST, "Request_BadRequest", "Resource not found for the segment.").into()),
    }
}

/// A PATCH changes only what it names.
fn change_synchronization(state: &mut State, fields: &Map<String, Value>) -> Result<(), GraphError> {
    if let Some(prevention) = fields.get("configuration").and_then(|value| value.get("accidentalDeletionPrevention")) {
        if let Some(kind) = prevention.get("synchronizationPreventionType").and_then(Value::as_str) {
            if !["disabled", "enabledForCount", "enabledForPercentage"].contains(&kind) {
                return Err(GraphError::bad_request(format!("'{kind}' is no synchronizationPreventionType.")));
            }
            kind.clone_into(&mut state.deletion_prevention);
        }
        if let Some(threshold) = prevention.get("alertThreshold") {
            let threshold = threshold.as_i64().and_then(|number| i32::try_from(number).ok()).filter(|number| *number >= 0);
            state.deletion_threshold = threshold.ok_or_else(|| GraphError::bad_request("alertThreshold is a whole number from 0."))?;
        }
    }
    for (name, value) in fields.get("features").and_then(Value::as_object).into_iter().flatten().filter(|(name, _)| !name.starts_with('@'))
    {
        let Some(on) = value.as_bool() else { return Err(GraphError::bad_request(format!("The feature '{name}' is true or false."))) };
        let Some((known, bit)) = Features::GRAPH_NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) else {
            return Err(GraphError::bad_request(format!("There is no feature '{name}'.")));
        };
        if *bit == 0 {
            state.unnumbered_features.retain(|feature| feature != known);
            if on {
                state.unnumbered_features.push((*known).to_owned());
            }
        } else if !on && Features::STICKY & bit != 0 && state.features.has(*bit) {
            return Err(GraphError::bad_request(format!("The feature '{known}' cannot be turned off once it is on.")));
        } else {
            state.features = state.features.with(*bit, on);
        }
    }
    Ok(())
}
