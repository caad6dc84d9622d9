//! The token endpoints: discovery, keys, realm, and all grants (specification: provisioning service 1.3 and 1.4,
//! graph 3).

use super::{App, Shared, TenantFailure, close_connection};
use crate::tenant::directory::{ObjectRecord, UniqueKey, UniqueKind};
use crate::tenant::faults::{FaultKind, Service};
use crate::tenant::identity::codes::{SignInCode, SignInError};
use crate::tenant::identity::sign_in::{Realm, SignedIn};
use crate::tenant::identity::token::verify_assertion;
use crate::tenant::settings::{PUBLIC_CLIENTS, random_text};
use crate::tenant::state::Application;
use crate::tenant::{DeviceCode, SYNC_ROLE, Tenant, TenantError, secret_hash};
use axum::extract::rejection::FormRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use subtle::ConstantTimeEq;
use uuid::Uuid;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
const DEVICE_LIFE_SECONDS: i64 = 900;
const REFRESH_LIFE_SECONDS: i64 = 90 * 86_400;
const REFRESH_AUDIENCE: &str = "urn:syncline:refresh";
/// Device codes waiting at the same time.
const MAX_DEVICE_CODES: usize = 1000;

/// The provisioning service as a resource, by its application id.
pub(super) const SYNC_RESOURCE: &str = "6bf85cfa-ac8a-4be5-b5de-425a0d0dc016";
/// The older audience of the provisioning service.
pub(super) const GRAPH_WINDOWS: &str = "https://graph.windows.net";
/// Graph.
pub(super) const GRAPH: &str = "https://graph.microsoft.com";
const GRAPH_ID: &str = "00000003-0000-0000-c000-000000000000";
const WINDOWS_ID: &str = "00000002-0000-0000-c000-000000000000";
const SERVICE_URL: &str = "https://adminwebservice.microsoftonline.com";

/// Role templates that may synchronize (specification: provisioning service 1.4 a), by role name.
const ROLE_TEMPLATES: [(&str, &str); 3] = [
    (SYNC_ROLE, "d29b2b05-8046-44ba-8758-1e26182fcf32"),
    ("Global Administrator", "62e90394-69f5-4237-9190-012177145e10"),
    ("Hybrid Identity Administrator", "8ac3fc64-6eca-42ea-9e69-59f4c7b60eb2"),
];
const SYNC_PERMISSION: &str = "ADSynchronization.ReadWrite.All";
const GRAPH_PERMISSIONS: [&str; 8] = [
    "User.ReadWrite.All",
    "Group.ReadWrite.All",
    "Device.Read.All",
    "OrgContact.Read.All",
    "Domain.ReadWrite.All",
    "Organization.ReadWrite.All",
    "Directory.ReadWrite.All",
    "OnPremDirectorySynchronization.ReadWrite.All",
];

type Fields = HashMap<String, String>;
type GivenForm = Result<Form<Fields>, FormRejection>;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/common/discovery/instance", get(discovery_instance))
        .route("/{tenant}/.well-known/openid-configuration", get(configuration_v1))
        .route("/{tenant}/v2.0/.well-known/openid-configuration", get(configuration_v2))
        .route("/{tenant}/discovery/keys", get(keys))
        .route("/{tenant}/discovery/v2.0/keys", get(keys))
        .route("/{tenant}/oauth2/token", post(token))
        .route("/{tenant}/oauth2/v2.0/token", post(token))
        .route("/{tenant}/oauth2/devicecode", post(device_code))
        .route("/{tenant}/oauth2/v2.0/devicecode", post(device_code))
        .route("/{tenant}/userrealm/{user}", get(realm))
        .route("/{tenant}/UserRealm/{user}", get(realm))
        .route("/GetUserRealm.srf", get(realm_oldest))
}

/// The tenant behind a path segment: its id, one of its domains, or a word that stands for any.
fn known_tenant(tenant: &Tenant, segment: &str) -> Result<(), SignInError> {
    let state = tenant.state();
    let any = ["common", "organizations"].contains(&segment);
    if any
        || segment.eq_ignore_ascii_case(&state.tenant_id.hyphenated().to_string())
        || state.domain(segment).is_some_and(|domain| domain.verified)
    {
        return Ok(());
    }
    Err(SignInError::new(SignInCode::UnknownTenant, format!("'{segment}'.")))
}

async fn discovery_instance(State(app): State<Shared>, headers: HeaderMap) -> Response {
    let base = app.base_url(&headers);
    let host = base.split_once("://").map_or(base.as_str(), |(_, host)| host);
    let tenant = app.tenant.state().tenant_id;
    Json(json!({
        "tenant_discovery_endpoint": format!("{base}/{tenant}/v2.0/.well-known/openid-configuration"),
        "api-version": "1.1",
        "metadata": [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}],
    }))
    .into_response()
}

async fn configuration_v1(State(app): State<Shared>, Path(tenant): Path<String>, headers: HeaderMap) -> Response {
    configuration(&app, &tenant, &headers, false)
}

async fn configuration_v2(State(app): State<Shared>, Path(tenant): Path<String>, headers: HeaderMap) -> Response {
    configuration(&app, &tenant, &headers, true)
}

fn configuration(app: &App, segment: &str, headers: &HeaderMap, v2: bool) -> Response {
    if let Err(error) = known_tenant(&app.tenant, segment) {
        return refused(app, &error);
    }
    let base = app.base_url(headers);
    let tenant = app.tenant.state().tenant_id;
    let (oauth, keys) = if v2 { ("oauth2/v2.0", "discovery/v2.0/keys") } else { ("oauth2", "discovery/keys") };
    Json(json!({
        "token_endpoint": format!("{base}/{tenant}/{oauth}/token"),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
        "jwks_uri": format!("{base}/{tenant}/{keys}"),
        "response_modes_supported": ["query", "fragment", "form_post"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "response_types_supported": ["token", "id_token"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "issuer": issuer(app, headers, v2),
        "authorization_endpoint": format!("{base}/{tenant}/{oauth}/authorize"),
        "device_authorization_endpoint": format!("{base}/{tenant}/{oauth}/devicecode"),
        "tenant_region_scope": "NA",
        "cloud_instance_name": base.split_once("://").map_or(base.as_str(), |(_, host)| host),
        "msgraph_host": base.split_once("://").map_or(base.as_str(), |(_, host)| host),
    }))
    .into_response()
}

fn issuer(app: &App, headers: &HeaderMap, v2: bool) -> String {
    let tenant = app.tenant.state().tenant_id;
    if v2 { format!("{}/{tenant}/v2.0", app.base_url(headers)) } else { format!("https://sts.windows.net/{tenant}/") }
}

async fn keys(State(app): State<Shared>, Path(tenant): Path<String>, headers: HeaderMap) -> Response {
    match known_tenant(&app.tenant, &tenant) {
        Ok(()) => Json(app.tenant.key().key_set(&issuer(&app, &headers, false))).into_response(),
        Err(error) => refused(&app, &error),
    }
}

async fn realm(State(app): State<Shared>, Path((tenant, user)): Path<(String, String)>, Query(query): Query<Fields>) -> Response {
    if let Err(error) = known_tenant(&app.tenant, &tenant) {
        return refused(&app, &error);
    }
    realm_answer(&app.tenant, &user, query.get("api-version").map_or("1.0", String::as_str))
}

async fn realm_oldest(State(app): State<Shared>, Query(query): Query<Fields>) -> Response {
    realm_answer(&app.tenant, query.get("login").map_or("", String::as_str), "2.0")
}

fn realm_answer(tenant: &Tenant, user: &str, version: &str) -> Response {
    let cloud = "microsoftonline.com";
    let brand = tenant.state().name.clone();
    let setting = |settings: &Value, name: &str| settings.get(name).cloned().unwrap_or(Value::Null);
    let body = match (tenant.realm(user), version.starts_with('2')) {
        (Realm::Managed { domain }, false) => json!({
            "ver": "1.0", "account_type": "Managed", "domain_name": domain,
            "cloud_instance_name": cloud, "cloud_audience_urn": "urn:federation:MicrosoftOnline",
        }),
        (Realm::Managed { domain }, true) => json!({
            "NameSpaceType": "Managed", "Login": user, "DomainName": domain, "FederationBrandName": brand, "cloud_instance_name": cloud,
        }),
        (Realm::Federated { domain, settings }, false) => json!({
            "ver": "1.0", "account_type": "Federated", "domain_name": domain, "federation_protocol": "WSTrust",
            "federation_metadata_url": setting(&settings, "metadataExchangeUri"),
            "federation_active_auth_url": setting(&settings, "activeSignInUri"),
            "cloud_instance_name": cloud, "cloud_audience_urn": "urn:federation:MicrosoftOnline",
        }),
        (Realm::Federated { domain, settings }, true) => json!({
            "NameSpaceType": "Federated", "federation_protocol": "WSTrust", "Login": user, "DomainName": domain,
            "AuthURL": setting(&settings, "passiveSignInUri"), "FederationBrandName": brand, "cloud_instance_name": cloud,
        }),
        (Realm::Unknown, false) => json!({"ver": "1.0", "account_type": "Unknown", "cloud_instance_name": cloud}),
        (Realm::Unknown, true) => json!({"NameSpaceType": "Unknown", "Login": user, "cloud_instance_name": cloud}),
    };
    Json(body).into_response()
}

/// Who gets a token.
enum Subject {
    Application(Application),
    Account { client: String, record: Box<ObjectRecord> },
}

impl Subject {
    fn client(&self) -> String {
        match self {
            Self::Application(application) => application.client_id.hyphenated().to_string(),
            Self::Account { client, .. } => client.clone(),
        }
    }
}

enum TokenFailure {
    Refused(SignInError),
    Failed(TenantFailure),
}

impl From<SignInError> for TokenFailure {
    fn from(error: SignInError) -> Self {
        Self::Refused(error)
    }
}

impl From<SignInCode> for TokenFailure {
    fn from(code: SignInCode) -> Self {
        Self::Refused(code.into())
    }
}

impl<E: Into<TenantError>> From<E> for TokenFailure {
    fn from(error: E) -> Self {
        Self::Failed(error.into().into())
    }
}

async fn token(State(app): State<Shared>, Path(segment): Path<String>, headers: HeaderMap, form: GivenForm) -> Response {
    let Ok(Form(fields)) = form else {
        return refused(&app, &SignInError::new(SignInCode::MissingParameter, "'grant_type'. The body is no form."));
    };
    let grant = fields.get("grant_type").cloned().unwrap_or_default();
    let fate = app.tenant.faults().decide(Service::Login, &grant);
    if let Some(delay) = fate.delay {
        app.tenant.context().clock.sleep(delay).await;
    }
    if let Some(rule) = &fate.fault {
        app.tenant.traffic().fault(rule.kind.as_str());
        match rule.kind {
            FaultKind::DropBefore => return close_connection(),
            FaultKind::DropAnswer | FaultKind::Duplicate => {}
            _ => return refused(&app, &SignInCode::Busy.into()),
        }
    }
    if let Err(error) = known_tenant(&app.tenant, &segment) {
        return refused(&app, &error);
    }
    let base = app.base_url(&headers);
    let v1_issuer = issuer(&app, &headers, false);
    let grant_name = grant.clone();
    let outcome = app.blocking(move |tenant| grant_token(tenant, &base, &v1_issuer, &segment, &grant, &fields)).await;
    if fate.fault.is_some_and(|rule| rule.kind == FaultKind::DropAnswer) {
        return close_connection();
    }
    match outcome {
        Ok(Ok(body)) => {
            app.tenant.traffic().token(&grant_name);
            if grant_name == "password" {
                app.tenant.traffic().sign_in(0);
            }
            ([(header::CACHE_CONTROL, "no-store"), (header::PRAGMA, "no-cache")], Json(body)).into_response()
        }
        Ok(Err(TokenFailure::Refused(error))) => {
            app.tenant.traffic().sign_in(error.code.number());
            refused(&app, &error)
        }
        Ok(Err(TokenFailure::Failed(_))) | Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn required<'a>(fields: &'a Fields, name: &str) -> Result<&'a str, SignInError> {
    fields
        .get(name)
        .map(String::as_str)
        .filter(|value| !value.is_empty())
        .ok_or_else(|| SignInError::new(SignInCode::MissingParameter, format!("'{name}'.")))
}

fn grant_token(tenant: &Tenant, base: &str, issuer: &str, segment: &str, grant: &str, fields: &Fields) -> Result<Value, TokenFailure> {
    tenant.tick()?;
    required(fields, "grant_type")?;
    match grant {
        "client_credentials" => {
            let client = required(fields, "client_id")?;
            if ["common", "organizations"].contains(&segment) {
                return Err(SignInCode::NoTenantInName.into());
            }
            let application = authenticate_application(tenant, base, client, fields)?;
            let resource = resource(fields, None)?;
            issue(tenant, issuer, base, &Subject::Application(application), &resource, fields)
        }
        "password" => {
            let client = known_client(tenant, base, fields)?;
            let user = required(fields, "username")?;
            let password = SecretString::from(required(fields, "password")?.to_owned());
            let resource = resource(fields, None)?;
            let SignedIn { record, .. } = tenant.verify_password(user, &password)??;
            issue(tenant, issuer, base, &Subject::Account { client, record: Box::new(record) }, &resource, fields)
        }
        "refresh_token" => refresh(tenant, issuer, base, fields),
        DEVICE_GRANT | "device_code" => device_token(tenant, issuer, base, fields),
        other => Err(SignInError::new(SignInCode::UnsupportedGrant, format!("'{other}'.")).into()),
    }
}

/// The client of a grant for people: public, or registered and then authenticated if it brings a credential.
fn known_client(tenant: &Tenant, base: &str, fields: &Fields) -> Result<String, TokenFailure> {
    let client = required(fields, "client_id")?;
    if fields.contains_key("client_secret") || fields.contains_key("client_assertion") {
        authenticate_application(tenant, base, client, fields)?;
        return Ok(client.to_owned());
    }
    let public = PUBLIC_CLIENTS.iter().any(|known| known.eq_ignore_ascii_case(client));
    if public || tenant.state().application(client).is_some() {
        return Ok(client.to_owned());
    }
    Err(SignInError::new(SignInCode::UnknownApplication, format!("'{client}'.")).into())
}

fn authenticate_application(tenant: &Tenant, base: &str, client: &str, fields: &Fields) -> Result<Application, TokenFailure> {
    let application = tenant
        .state()
        .application(client)
        .cloned()
        .ok_or_else(|| SignInError::new(SignInCode::UnknownApplication, format!("'{client}'.")))?;
    let now = tenant.now();
    if let Some(assertion) = fields.get("client_assertion") {
        if fields.get("client_assertion_type").map(String::as_str) != Some(ASSERTION_TYPE) {
            return Err(SignInError::new(SignInCode::MissingParameter, "'client_assertion_type'.").into());
        }
        let state = tenant.state();
        let id = state.tenant_id.hyphenated().to_string();
        let mut audiences = Vec::new();
        for name in std::iter::once(id.as_str()).chain(state.domains.iter().map(|domain| domain.name.as_str())) {
            for host in [base, "https://login.microsoftonline.com"] {
                audiences.push(format!("{host}/{name}/oauth2/v2.0/token"));
                audiences.push(format!("{host}/{name}/oauth2/token"));
                audiences.push(format!("{host}/{name}/v2.0"));
            }
        }
        drop(state);
        verify_assertion(assertion, &application, &audiences, now.seconds())?;
        return Ok(application);
    }
    let secret = required(fields, "client_secret")?;
    let given = secret_hash(secret);
    let right = application.secret_hash.as_deref().is_some_and(|known| bool::from(known.as_bytes().ct_eq(given.as_bytes())));
    if !right {
        return Err(SignInError::new(SignInCode::WrongSecret, format!("'{client}'.")).into());
    }
    if application.secret_expires.is_some_and(|expires| expires <= now.0) {
        return Err(SignInError::new(SignInCode::ExpiredSecret, format!("'{client}'.")).into());
    }
    Ok(application)
}

/// The audience that a token is for, from `resource` or the first scope that names one.
fn resource(fields: &Fields, fallback: Option<&str>) -> Result<String, SignInError> {
    let asked = fields.get("resource").cloned().or_else(|| {
        let scopes = fields.get("scope")?;
        scopes.split_whitespace().filter(|scope| !["openid", "profile", "email", "offline_access"].contains(scope)).find_map(|scope| {
            let scope = scope.strip_suffix("/.default").unwrap_or(scope);
            match scope.split_once("://") {
                Some((_, rest)) if rest.trim_end_matches('/').contains('/') => {
                    scope.trim_end_matches('/').rsplit_once('/').map(|(resource, _)| resource.to_owned())
                }
                Some(_) => Some(scope.to_owned()),
                None if Uuid::try_parse(scope).is_ok() => Some(scope.to_owned()),
                // A bare permission name belongs to Graph.
                None => Some(GRAPH.to_owned()),
            }
        })
    });
    let asked = asked.or_else(|| fallback.map(str::to_owned)).unwrap_or_else(|| GRAPH.to_owned());
    let folded = asked.trim_end_matches('/').to_ascii_lowercase();
    match folded.as_str() {
        GRAPH | GRAPH_ID => Ok(GRAPH.to_owned()),
        GRAPH_WINDOWS | WINDOWS_ID => Ok(GRAPH_WINDOWS.to_owned()),
        SYNC_RESOURCE | SERVICE_URL => Ok(SYNC_RESOURCE.to_owned()),
        other if other.strip_prefix("api://") == Some(SYNC_RESOURCE) => Ok(SYNC_RESOURCE.to_owned()),
        _ => Err(SignInError::new(SignInCode::UnknownResource, format!("'{asked}'."))),
    }
}

fn issue(tenant: &Tenant, issuer: &str, base: &str, subject: &Subject, resource: &str, fields: &Fields) -> Result<Value, TokenFailure> {
    let now = tenant.now().seconds();
    let life = i64::try_from(tenant.settings().token_lifetime.as_secs()).unwrap_or(3599);
    let tenant_id = tenant.state().tenant_id.hyphenated().to_string();
    let client = subject.client();
    let mut claims = json!({
        "aud": resource, "iss": issuer, "iat": now, "nbf": now, "exp": now + life, "tid": tenant_id, "appid": client, "ver": "1.0",
        "uti": Uuid::new_v4().simple().to_string(),
    });
    let mut answer = json!({"token_type": "Bearer", "expires_in": life, "ext_expires_in": life});
    match subject {
        Subject::Application(application) => {
            let roles: Vec<&str> = match (resource, application.synchronization) {
                (GRAPH, _) => GRAPH_PERMISSIONS.to_vec(),
                (_, true) => vec![SYNC_PERMISSION],
                (_, false) => Vec::new(),
            };
            merge(&mut claims, json!({"appidacr": "1", "idtyp": "app", "roles": roles, "oid": client, "sub": client}));
        }
        Subject::Account { record, .. } => {
            let name = record.effective.user_principal_name.clone().unwrap_or_default();
            let object = record.uuid().hyphenated().to_string();
            merge(
                &mut claims,
                json!({
                    "appidacr": "0", "idtyp": "user", "oid": object, "sub": object, "upn": name, "unique_name": name,
                    "wids": role_templates(record), "scp": "user_impersonation",
                }),
            );
            let identity = json!({
                "aud": client, "iss": format!("{base}/{tenant_id}/v2.0"), "iat": now, "nbf": now, "exp": now + life, "tid": tenant_id,
                "oid": object, "sub": object, "preferred_username": name, "name": record.wanted_text("displayName"), "ver": "2.0",
            });
            let refresh = json!({
                "aud": REFRESH_AUDIENCE, "iat": now, "nbf": now, "exp": now + REFRESH_LIFE_SECONDS, "tid": tenant_id, "oid": object,
                "appid": client, "resource": resource,
            });
            let information = json!({"uid": object, "utid": tenant_id}).to_string();
            merge(
                &mut answer,
                json!({
                    "scope": fields.get("scope").cloned().unwrap_or_else(|| format!("{resource}/.default")),
                    "refresh_token": tenant.key().sign(&refresh)?,
                    "id_token": tenant.key().sign(&identity)?,
                    "client_info": URL_SAFE_NO_PAD.encode(information),
                }),
            );
        }
    }
    if fields.contains_key("resource") {
        // The first version of the endpoint answers numbers as text and names the resource.
        merge(&mut answer, json!({"resource": resource, "expires_on": (now + life).to_string(), "not_before": now.to_string()}));
    }
    merge(&mut answer, json!({"access_token": tenant.key().sign(&claims)?}));
    Ok(answer)
}

fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}

fn role_templates(record: &ObjectRecord) -> Vec<&'static str> {
    record
        .roles
        .iter()
        .filter_map(|role| ROLE_TEMPLATES.iter().find(|(name, _)| name.eq_ignore_ascii_case(role)).map(|(_, id)| *id))
        .collect()
}

fn refresh(tenant: &Tenant, issuer: &str, base: &str, fields: &Fields) -> Result<Value, TokenFailure> {
    let client = known_client(tenant, base, fields)?;
    let token = required(fields, "refresh_token")?;
    let now = tenant.now();
    let Some(claims) = tenant.key().verify(token, now.seconds()) else {
        // A token of ours whose time is over still has a good signature at its beginning.
        let code = if token.split('.').count() == 3 && tenant.key().verify(token, issued_at(token)).is_some() {
            SignInCode::RefreshExpired
        } else {
            SignInCode::RefreshMalformed
        };
        return Err(code.into());
    };
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    if text("aud") != REFRESH_AUDIENCE || !text("appid").eq_ignore_ascii_case(&client) {
        return Err(SignInCode::RefreshMalformed.into());
    }
    let record = account(tenant, text("oid"))?;
    let (object, record) = record.ok_or(SignInCode::GrantRevoked)?;
    if !record.account_enabled() {
        return Err(SignInCode::Disabled.into());
    }
    let issued = claims.get("iat").and_then(Value::as_i64).unwrap_or(0);
    let since = tenant.directory().read()?.credential(object)?.map_or(0, |credential| credential.sessions_since);
    if crate::model::Timestamp(since).seconds() > issued {
        return Err(SignInCode::GrantRevoked.into());
    }
    let resource = resource(fields, Some(text("resource")))?;
    issue(tenant, issuer, base, &Subject::Account { client, record: Box::new(record) }, &resource, fields)
}

fn issued_at(token: &str) -> i64 {
    let claims = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let claims: Option<Map<String, Value>> = claims.and_then(|octets| serde_json::from_slice(&octets).ok());
    claims.and_then(|claims| claims.get("iat")?.as_i64()).unwrap_or(0)
}

fn account(tenant: &Tenant, id: &str) -> Result<Option<(u64, ObjectRecord)>, TenantError> {
    let Ok(id) = Uuid::try_parse(id) else { return Ok(None) };
    let reader = tenant.directory().read()?;
    let Some(object) = reader.by_id(id)? else { return Ok(None) };
    Ok(reader.object(object)?.filter(ObjectRecord::is_live).map(|record| (object, record)))
}

async fn device_code(State(app): State<Shared>, Path(segment): Path<String>, headers: HeaderMap, form: GivenForm) -> Response {
    let fields = form.map(|Form(fields)| fields).unwrap_or_default();
    if let Err(error) = known_tenant(&app.tenant, &segment) {
        return refused(&app, &error);
    }
    let base = app.base_url(&headers);
    let client = match known_client(&app.tenant, &base, &fields) {
        Ok(client) => client,
        Err(TokenFailure::Refused(error)) => return refused(&app, &error),
        Err(TokenFailure::Failed(_)) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    };
    let now = app.tenant.now().seconds();
    let device = random_text();
    let user_code = random_text().chars().filter(|character| !"01".contains(*character)).take(9).collect::<String>().to_uppercase();
    let scope = fields.get("scope").or_else(|| fields.get("resource")).cloned().unwrap_or_default();
    let mut waiting = app.tenant.devices();
    waiting.retain(|_, code| code.expires > now);
    if waiting.len() >= MAX_DEVICE_CODES {
        drop(waiting);
        return refused(&app, &SignInCode::Busy.into());
    }
    let code = DeviceCode { user_code: user_code.clone(), client, scope, expires: now + DEVICE_LIFE_SECONDS, approved: None, polls: 0 };
    waiting.insert(device.clone(), code);
    drop(waiting);
    let page = format!("{base}/syncline-admin/device-codes");
    Json(json!({
        "device_code": device, "user_code": user_code, "verification_uri": page, "verification_url": page,
        "expires_in": DEVICE_LIFE_SECONDS, "interval": 1,
        "message": format!("To sign in, let the tenant's administrator approve the code {user_code} at {page}."),
    }))
    .into_response()
}

fn device_token(tenant: &Tenant, issuer: &str, base: &str, fields: &Fields) -> Result<Value, TokenFailure> {
    let client = known_client(tenant, base, fields)?;
    let device = fields.get("device_code").or_else(|| fields.get("code")).filter(|code| !code.is_empty());
    let device = device.ok_or_else(|| SignInError::new(SignInCode::MissingParameter, "'device_code'."))?.clone();
    let now = tenant.now().seconds();
    let automatic = if tenant.settings().approve_device_codes { automatic_approver(tenant)? } else { None };
    let code = {
        let mut waiting = tenant.devices();
        let code =
            waiting.get_mut(&device).filter(|code| code.client.eq_ignore_ascii_case(&client)).ok_or(SignInCode::UnknownDeviceCode)?;
        if code.expires <= now {
            waiting.remove(&device);
            return Err(SignInCode::ExpiredDeviceCode.into());
        }
        code.polls += 1;
        if code.approved.is_none() && code.polls > 1 {
            code.approved = automatic;
        }
        if code.approved.is_none() {
            return Err(SignInCode::AuthorizationPending.into());
        }
        waiting.remove(&device).ok_or(SignInCode::UnknownDeviceCode)?
    };
    let name = code.approved.unwrap_or_default();
    let (_, record) = tenant.find_user(&name)?.ok_or_else(|| SignInError::new(SignInCode::UnknownUser, name.as_str()))?;
    let mut fields = fields.clone();
    if !code.scope.is_empty() {
        fields.entry("scope".to_owned()).or_insert(code.scope);
    }
    let resource = resource(&fields, None)?;
    issue(tenant, issuer, base, &Subject::Account { client, record: Box::new(record) }, &resource, &fields)
}

fn automatic_approver(tenant: &Tenant) -> Result<Option<String>, TenantError> {
    let Some(id) = tenant.state().sync_accounts.first().copied() else { return Ok(None) };
    Ok(account(tenant, &id.hyphenated().to_string())?.and_then(|(_, record)| record.effective.user_principal_name))
}

/// The error body of the token endpoint.
fn refused(app: &App, error: &SignInError) -> Response {
    let now = app.tenant.now();
    let (trace, correlation) = (Uuid::new_v4(), Uuid::new_v4());
    let time = now.to_jiff().strftime("%Y-%m-%d %H:%M:%SZ").to_string();
    let body = json!({
        "error": error.code.oauth_error(),
        "error_description": format!("{error} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {time}"),
        "error_codes": [error.code.number()],
        "timestamp": time,
        "trace_id": trace,
        "correlation_id": correlation,
    });
    let status = StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::BAD_REQUEST);
    (status, Json(body)).into_response()
}

/// Who calls with a token.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// May write through the provisioning service and administer the tenant.
    pub(super) privileged: bool,
}

/// Checks a token of ours for one of some audiences. `None`: not good.
pub(super) fn caller(tenant: &Tenant, token: &str, audiences: &[&str]) -> Option<Caller> {
    let claims = tenant.key().verify(token, tenant.now().seconds())?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    if text("tid") != tenant.state().tenant_id.hyphenated().to_string() || !audiences.contains(&text("aud")) {
        return None;
    }
    let list = |name: &str| claims.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let by_permission = !list("roles").is_empty();
    let by_role = list("wids").iter().filter_map(Value::as_str).any(|id| ROLE_TEMPLATES.iter().any(|(_, known)| *known == id));
    Some(Caller { privileged: by_permission || by_role })
}

/// The object with a sign-in name, for the administrator's endpoint.
pub(super) fn by_name(tenant: &Tenant, name: &str) -> Result<Option<u64>, TenantError> {
    Ok(tenant.directory().read()?.by_unique(&UniqueKey::text(UniqueKind::UserPrincipalName, name))?)
}
