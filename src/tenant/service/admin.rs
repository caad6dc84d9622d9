//! The endpoint under `/syncline-admin/`: faults, clock, features, domains, accounts, counters and dumps, for tests and
//! rehearsals. Loopback and the administrator's token only.

use super::graph::{incoming, plain};
use super::login::by_name;
use super::{Peer, Shared, bearer};
use crate::tenant::directory::{
    Authentication, DirectoryError, Edit, Features, Mastery, ObjectKind, ObjectNumber, ObjectRecord, Properties, Reader, Refusal,
};
use crate::tenant::faults::{Bucket, FaultRule, Throttle};
use crate::tenant::{Tenant, TenantError};
use axum::body::{Body, Bytes};
use axum::extract::{Extension, Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use subtle::ConstantTimeEq;
use uuid::Uuid;

pub(super) fn routes() -> Router<Shared> {
    let routes = Router::new()
        .route("/traffic", get(traffic).delete(reset_traffic))
        .route("/journal", get(journal))
        .route("/faults", get(faults).post(add_fault).delete(clear_faults))
        .route("/throttle", get(throttle).put(set_throttle).delete(clear_throttle))
        .route("/clock", get(clock).post(advance))
        .route("/features", get(features).put(set_features))
        .route("/activation", get(activation).put(set_activation))
        .route("/domains", post(add_domain))
        .route("/domains/{name}", axum::routing::delete(remove_domain))
        .route("/objects", post(create))
        .route("/objects/{name}", get(show).patch(edit).delete(delete))
        .route("/objects/{name}/password", put(password))
        .route("/sign-in", post(sign_in))
        .route("/sign-ins", get(sign_ins))
        .route("/device-codes", get(device_codes))
        .route("/device-codes/{code}", post(approve))
        .route("/dump", get(dump))
        .layer(axum::middleware::from_fn(guard));
    Router::new().nest("/syncline-admin", routes)
}

/// Refuses whoever is not on this machine or does not have the token.
async fn guard(request: Request, next: Next) -> Response {
    let local = request.extensions().get::<Peer>().is_some_and(|peer| peer.0.ip().to_canonical().is_loopback());
    if !local {
        return problem(StatusCode::FORBIDDEN, "the administrator's endpoint answers on loopback only");
    }
    next.run(request).await
}

/// Proof that the administrator's token was shown.
struct Administrator;

impl axum::extract::FromRequestParts<Shared> for Administrator {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, app: &Shared) -> Result<Self, Response> {
        let known = app.tenant.settings().credentials.admin_token.expose_secret().as_bytes();
        let shown = bearer(&parts.headers).unwrap_or_default().as_bytes();
        if bool::from(known.ct_eq(shown)) {
            return Ok(Self);
        }
        Err(problem(StatusCode::UNAUTHORIZED, "the administrator's token is missing or wrong; it stands in the tenant's credentials file"))
    }
}

fn problem(status: StatusCode, message: impl std::fmt::Display) -> Response {
    (status, Json(json!({"error": message.to_string()}))).into_response()
}

fn failed(error: &TenantError) -> Response {
    match error {
        TenantError::Refused(Refusal::Object(fault)) => {
            let conflict = fault
                .conflict
                .as_ref()
                .map(|conflict| json!({"objectId": conflict.object_id, "attribute": conflict.attribute, "values": conflict.values}));
            let body = json!({"error": fault.description, "code": fault.code.as_str(), "conflict": conflict});
            (StatusCode::CONFLICT, Json(body)).into_response()
        }
        error => {
            tracing::error!(%error, "an administrator's request failed");
            problem(StatusCode::INTERNAL_SERVER_ERROR, error)
        }
    }
}

/// Runs work off the asynchronous threads and turns what comes out into JSON.
async fn run(app: Shared, work: impl FnOnce(&Tenant) -> Result<Value, TenantError> + Send + 'static) -> Response {
    match app.blocking(work).await {
        Ok(Ok(value)) => Json(value).into_response(),
        Ok(Err(error)) => failed(&error),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn traffic(_: Administrator, State(app): State<Shared>) -> Response {
    let traffic = app.tenant.traffic().clone();
    let mut body = json!(traffic);
    body["last"] = json!(traffic.last());
    Json(body).into_response()
}

async fn reset_traffic(_: Administrator, State(app): State<Shared>) -> Response {
    app.tenant.traffic().reset();
    StatusCode::NO_CONTENT.into_response()
}

async fn journal(_: Administrator, State(app): State<Shared>, Query(query): Query<HashMap<String, String>>) -> Response {
    let after = query.get("after").and_then(|after| after.parse().ok()).unwrap_or(0);
    let traffic = app.tenant.traffic();
    let entries: Vec<_> = traffic.journal_after(after).collect();
    Json(json!({"last": traffic.last(), "writes": entries})).into_response()
}

/// Attempts to sign in with a password: who, when, how it ended, and what the password was held against.
async fn sign_ins(_: Administrator, State(app): State<Shared>, Query(query): Query<HashMap<String, String>>) -> Response {
    let after = query.get("after").and_then(|after| after.parse().ok()).unwrap_or(0);
    let traffic = app.tenant.traffic();
    let attempts: Vec<_> = traffic.attempts_after(after).collect();
    Json(json!({"last": attempts.last().map_or(after, |attempt| attempt.number), "signIns": attempts})).into_response()
}

async fn faults(_: Administrator, State(app): State<Shared>) -> Response {
    Json(json!(app.tenant.faults().rules())).into_response()
}

/// A rule as an object, or as the text that the command line takes.
#[derive(Deserialize)]
#[serde(untagged)]
enum GivenRule {
    Text(String),
    Rule(FaultRule),
}

async fn add_fault(_: Administrator, State(app): State<Shared>, Json(given): Json<GivenRule>) -> Response {
    let rule = match given {
        GivenRule::Text(text) => text.parse::<FaultRule>(),
        GivenRule::Rule(rule) => rule.check().map(|()| rule),
    };
    match rule {
        Ok(rule) => {
            app.tenant.faults().add(rule);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => problem(StatusCode::BAD_REQUEST, error),
    }
}

async fn clear_faults(_: Administrator, State(app): State<Shared>) -> Response {
    app.tenant.faults().clear();
    StatusCode::NO_CONTENT.into_response()
}

async fn throttle(_: Administrator, State(app): State<Shared>) -> Response {
    let now = app.tenant.context().clock.elapsed();
    let allowance = app.tenant.bucket().map(|bucket| bucket.allowance(now));
    Json(json!({"allowed": allowance.map(|(allowed, _)| allowed), "accepted": allowance.map(|(_, accepted)| accepted)})).into_response()
}

async fn set_throttle(_: Administrator, State(app): State<Shared>, Json(throttle): Json<Throttle>) -> Response {
    if !(throttle.writes > 0.0 && throttle.writes.is_finite() && throttle.window_seconds > 0.0 && throttle.window_seconds.is_finite()) {
        return problem(StatusCode::BAD_REQUEST, "writes and window_seconds are numbers above 0");
    }
    let now = app.tenant.context().clock.elapsed();
    *app.tenant.bucket() = Some(Bucket::new(throttle, now));
    StatusCode::NO_CONTENT.into_response()
}

async fn clear_throttle(_: Administrator, State(app): State<Shared>) -> Response {
    *app.tenant.bucket() = None;
    StatusCode::NO_CONTENT.into_response()
}

async fn clock(_: Administrator, State(app): State<Shared>) -> Response {
    Json(json!({"now": app.tenant.now().to_string()})).into_response()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Advance {
    seconds: u32,
}

async fn advance(_: Administrator, State(app): State<Shared>, Json(advance): Json<Advance>) -> Response {
    run(app, move |tenant| Ok(json!({"now": tenant.advance_clock(i64::from(advance.seconds) * 1_000_000)?.to_string()}))).await
}

async fn features(_: Administrator, State(app): State<Shared>) -> Response {
    Json(json!({"bits": app.tenant.state().features.0})).into_response()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GivenFeatures {
    bits: Option<i32>,
    #[serde(default)]
    set: HashMap<String, bool>,
}

/// Unlike clients, the administrator of the simulation may turn everything off, sticky features too.
async fn set_features(_: Administrator, State(app): State<Shared>, Json(given): Json<GivenFeatures>) -> Response {
    let mut features = Features(given.bits.unwrap_or(app.tenant.state().features.0));
    for (name, on) in &given.set {
        match Features::GRAPH_NAMES.iter().find(|(known, bit)| known.eq_ignore_ascii_case(name) && *bit != 0) {
            Some((_, bit)) => features = features.with(*bit, *on),
            None => return problem(StatusCode::BAD_REQUEST, format!("there is no feature {name} with a bit")),
        }
    }
    run(app, move |tenant| {
        tenant.update_state(|state| state.features = features)?;
        Ok(json!({"bits": features.0}))
    })
    .await
}

async fn activation(_: Administrator, State(app): State<Shared>) -> Response {
    Json(json!(app.tenant.state().activation)).into_response()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GivenActivation {
    enabled: bool,
}

async fn set_activation(_: Administrator, State(app): State<Shared>, Json(given): Json<GivenActivation>) -> Response {
    run(app, move |tenant| {
        let accepted = tenant.activate(given.enabled)?;
        Ok(json!({"accepted": accepted, "activation": tenant.state().activation}))
    })
    .await
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GivenDomain {
    name: String,
    #[serde(default)]
    federation: Option<Value>,
}

async fn add_domain(_: Administrator, State(app): State<Shared>, Json(given): Json<GivenDomain>) -> Response {
    let well_formed = !given.name.is_empty()
        && given.name.len() <= 253
        && given
            .name
            .split('.')
            .all(|label| !label.is_empty() && label.chars().all(|character| character.is_alphanumeric() || character == '-'));
    if !well_formed {
        return problem(StatusCode::BAD_REQUEST, format!("{:?} is no domain name", given.name));
    }
    run(app, move |tenant| {
        let authentication = if given.federation.is_some() { Authentication::Federated } else { Authentication::Managed };
        tenant.add_domain(&given.name, authentication)?;
        tenant.update_state(|state| {
            if let Some(domain) = state.domain_mut(&given.name) {
                domain.federation = given.federation;
            }
        })?;
        Ok(json!({}))
    })
    .await
}

async fn remove_domain(_: Administrator, State(app): State<Shared>, Path(name): Path<String>) -> Response {
    run(app, move |tenant| Ok(json!({"removed": tenant.remove_domain(&name)?}))).await
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GivenObject {
    #[serde(default)]
    r#type: Option<String>,
    #[serde(default)]
    properties: Map<String, Value>,
    /// Absent: stays as it is; null: goes.
    #[serde(default, deserialize_with = "present")]
    #[expect(clippy::option_option, reason = "absent, null and a text are three different wishes")]
    source_anchor: Option<Option<String>>,
    #[serde(default)]
    roles: Option<Vec<String>>,
    #[serde(default)]
    mailbox: Option<bool>,
    #[serde(default)]
    password: Option<SecretText>,
    #[serde(default)]
    must_change: bool,
    #[serde(default)]
    silent: bool,
}

/// Tells an absent field from null.
#[expect(clippy::option_option, reason = "absent, null and a text are three different wishes")]
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::<String>::deserialize(deserializer).map(Some)
}

/// A text that is a secret from the moment it is read.
#[derive(Deserialize)]
#[serde(from = "String")]
struct SecretText(SecretString);

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(SecretString::from(text))
    }
}

fn edit_of(given: &GivenObject) -> Result<Edit, String> {
    let several = |name: &str| {
        ["proxyAddresses", "otherMails", "member", "userCertificate", "groupTypes"].iter().any(|known| known.eq_ignore_ascii_case(name))
    };
    let values = given
        .properties
        .iter()
        .map(|(name, value)| Ok((name.clone(), incoming(name, value, several(name))?)))
        .collect::<Result<Vec<_>, String>>()?;
    Ok(Edit {
        values,
        source_anchor: given.source_anchor.clone(),
        roles: given.roles.clone(),
        mailbox: given.mailbox,
        behind_synchronization: true,
        silent: given.silent,
    })
}

async fn create(_: Administrator, State(app): State<Shared>, Json(given): Json<GivenObject>) -> Response {
    let Some(kind) = ObjectKind::parse(given.r#type.as_deref().unwrap_or("User")) else {
        return problem(StatusCode::BAD_REQUEST, "the type is User, Group, Contact or Device");
    };
    let edit = match edit_of(&given) {
        Ok(edit) => edit,
        Err(message) => return problem(StatusCode::BAD_REQUEST, message),
    };
    run(app, move |tenant| {
        let record = tenant.directory().create_cloud_object(kind, &edit, &tenant.policy())?;
        if let (Some(password), Some(object)) = (given.password, tenant.directory().read()?.by_id(record.uuid())?) {
            tenant.directory().set_password(object, &password.0, given.must_change, &tenant.policy())?;
        }
        Ok(json!({"id": record.uuid(), "cloudAnchor": record.cloud_anchor(), "userPrincipalName": record.effective.user_principal_name}))
    })
    .await
}

/// An object by object id, cloud anchor, immutable id or sign-in name; deleted ones included.
fn find(tenant: &Tenant, name: &str) -> Result<Option<(ObjectNumber, ObjectRecord)>, TenantError> {
    let reader = tenant.directory().read()?;
    let object = match Uuid::try_parse(name) {
        Ok(id) => reader.by_id(id)?,
        Err(_) => match reader.by_reference(name)? {
            Some(object) => Some(object),
            None => by_name(tenant, name)?,
        },
    };
    let Some(object) = object else { return Ok(None) };
    Ok(reader.object(object)?.map(|record| (object, record)))
}

async fn with_object(
    app: Shared,
    name: String,
    work: impl FnOnce(&Tenant, ObjectNumber, ObjectRecord) -> Result<Value, TenantError> + Send + 'static,
) -> Response {
    let missing = name.clone();
    let outcome = app
        .blocking(move |tenant| match find(tenant, &name)? {
            Some((object, record)) => work(tenant, object, record).map(Some),
            None => Ok(None),
        })
        .await;
    match outcome {
        Ok(Ok(Some(value))) => Json(value).into_response(),
        Ok(Ok(None)) => problem(StatusCode::NOT_FOUND, format!("there is no object {missing}")),
        Ok(Err(error)) => failed(&error),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn show(_: Administrator, State(app): State<Shared>, Path(name): Path<String>) -> Response {
    with_object(app, name, |tenant, object, record| Ok(line(&tenant.directory().read()?, object, &record, true)?)).await
}

async fn edit(_: Administrator, State(app): State<Shared>, Path(name): Path<String>, Json(given): Json<GivenObject>) -> Response {
    let edit = match edit_of(&given) {
        Ok(edit) => edit,
        Err(message) => return problem(StatusCode::BAD_REQUEST, message),
    };
    with_object(app, name, move |tenant, object, _| {
        let record = tenant.directory().edit(object, &edit, &tenant.policy())?;
        if let Some(password) = given.password {
            tenant.directory().set_password(object, &password.0, given.must_change, &tenant.policy())?;
        }
        Ok(line(&tenant.directory().read()?, object, &record, true)?)
    })
    .await
}

async fn delete(_: Administrator, State(app): State<Shared>, Path(name): Path<String>) -> Response {
    with_object(app, name, |tenant, object, _| {
        tenant.directory().delete(object, &tenant.policy())?;
        Ok(json!({}))
    })
    .await
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GivenPassword {
    password: SecretText,
    #[serde(default)]
    must_change: bool,
}

async fn password(_: Administrator, State(app): State<Shared>, Path(name): Path<String>, Json(given): Json<GivenPassword>) -> Response {
    with_object(app, name, move |tenant, object, _| {
        tenant.directory().set_password(object, &given.password.0, given.must_change, &tenant.policy())?;
        Ok(json!({}))
    })
    .await
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GivenSignIn {
    user: String,
    password: SecretText,
}

/// Tries a password and tells the way it was verified.
async fn sign_in(_: Administrator, State(app): State<Shared>, Json(given): Json<GivenSignIn>) -> Response {
    run(app, move |tenant| {
        Ok(match tenant.verify_password(&given.user, &given.password.0)? {
            Ok(done) => json!({
                "result": "success", "userPrincipalName": done.record.effective.user_principal_name,
                "path": done.path.as_str(),
            }),
            Err(error) => json!({"result": "refused", "code": error.code.number(), "description": error.to_string()}),
        })
    })
    .await
}

async fn device_codes(_: Administrator, State(app): State<Shared>) -> Response {
    let codes: Vec<Value> = app
        .tenant
        .devices()
        .values()
        .map(|code| json!({"userCode": code.user_code, "client": code.client, "approved": code.approved}))
        .collect();
    Json(json!(codes)).into_response()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Approval {
    user: String,
}

async fn approve(_: Administrator, State(app): State<Shared>, Path(code): Path<String>, Json(given): Json<Approval>) -> Response {
    match app.tenant.devices().values_mut().find(|known| known.user_code.eq_ignore_ascii_case(&code)) {
        Some(known) => {
            known.approved = Some(given.user);
            StatusCode::NO_CONTENT.into_response()
        }
        None => problem(StatusCode::NOT_FOUND, format!("nobody waits with the code {code}")),
    }
}

/// The whole directory, one JSON object per line: by immutable id, then cloud objects. Without `volatile=true` it holds
/// nothing that differs between two runs of the same synchronization.
async fn dump(
    _: Administrator,
    State(app): State<Shared>,
    Extension(Peer(_)): Extension<Peer>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let volatile = query.get("volatile").is_some_and(|value| value == "true");
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(8);
    let tenant = app.tenant.clone();
    tokio::task::spawn_blocking(move || {
        let mut writer = Lines { sender, buffer: Vec::with_capacity(64 << 10) };
        if let Err(error) = write_dump(&tenant, &mut writer, volatile) {
            tracing::error!(%error, "a dump ended early");
            // The reader must not take half a dump for a whole one.
            drop(writer.sender.blocking_send(Err(std::io::Error::other("the dump failed"))));
        }
    });
    let stream = futures_util::stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|part| (part, receiver)) });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(stream)).into_response()
}

struct Lines {
    sender: tokio::sync::mpsc::Sender<Result<Bytes, std::io::Error>>,
    buffer: Vec<u8>,
}

impl Lines {
    /// Adds a line; false when nobody listens any more.
    fn add(&mut self, line: &Value) -> bool {
        self.buffer.extend_from_slice(line.to_string().as_bytes());
        self.buffer.push(b'\n');
        self.buffer.len() < (48 << 10) || self.flush()
    }

    fn flush(&mut self) -> bool {
        self.buffer.is_empty() || self.sender.blocking_send(Ok(Bytes::from(std::mem::take(&mut self.buffer)))).is_ok()
    }
}

fn write_dump(tenant: &Tenant, lines: &mut Lines, volatile: bool) -> Result<(), DirectoryError> {
    let reader = tenant.directory().read()?;
    reader.scan_anchors("", |_, object| match reader.object(object)? {
        Some(record) => Ok(lines.add(&line(&reader, object, &record, volatile)?)),
        None => Ok(true),
    })?;
    reader.scan(0, |object, record| {
        if record.source_anchor.is_some() {
            return Ok(true);
        }
        Ok(lines.add(&line(&reader, object, &record, volatile)?))
    })?;
    lines.flush();
    Ok(())
}

fn line(reader: &Reader, object: ObjectNumber, record: &ObjectRecord, volatile: bool) -> Result<Value, DirectoryError> {
    let values = |properties: &Properties| -> Value {
        Value::Object(properties.iter().map(|property| (property.name.clone(), plain(&property.value))).collect())
    };
    let mut references = Map::new();
    for (attribute, anchor) in reader.all_references(object)? {
        if let Some(name) = attribute.name()
            && let Value::Array(list) = references.entry(name).or_insert_with(|| json!([]))
        {
            list.push(json!(anchor));
        }
    }
    let effective = &record.effective;
    let mut line = json!({
        "type": record.kind.as_str(),
        "sourceAnchor": record.source_anchor,
        "mastery": match record.mastery { Mastery::Cloud => "cloud", Mastery::OnPremises => "onPremises", Mastery::Released => "released" },
        "deleted": !record.is_live(),
        "written": values(&record.written),
        "cloud": values(&record.cloud),
        "effective": {
            "userPrincipalName": effective.user_principal_name, "mailNickname": effective.mail_nickname, "mail": effective.mail,
            "proxyAddresses": effective.proxy_addresses,
            "quarantined": effective.quarantined.iter().map(|entry| json!({"property": entry.property, "value": entry.value})).collect::<Vec<_>>(),
        },
        "references": references,
        "roles": record.roles,
        "mailbox": record.mailbox,
        "password": reader.credential(object)?.map(|credential| json!({"synchronized": credential.synchronized, "mustChange": credential.must_change, "neverExpires": credential.never_expires})),
    });
    if volatile {
        line["id"] = json!(record.uuid());
        line["cloudAnchor"] = json!(record.cloud_anchor());
        line["created"] = json!(record.created);
        line["synchronized"] = json!(record.synchronized);
    }
    Ok(line)
}
