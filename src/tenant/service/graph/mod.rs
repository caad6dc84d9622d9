//! The part of Graph v1.0 that administrators and synchronization use (specification: graph 3 to 5 and 8).

mod batch;
mod filter;
mod roles;
mod view;
mod write;

use super::login::{GRAPH, GRAPH_WINDOWS, caller};
use super::{Shared, TenantFailure, bearer, close_connection};
use crate::tenant::directory::{
    DirectoryError, MANAGER, MEMBER, Mastery, ObjectFault, ObjectKind, ObjectNumber, ObjectRecord, Reader, Refusal, UniqueKey, UniqueKind,
};
use crate::tenant::faults::{FaultKind, FaultRule, Service};
use crate::tenant::state::graph_time;
use crate::tenant::{Tenant, TenantError};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use filter::Filter;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use uuid::Uuid;

pub(in crate::tenant::service) use view::plain;
pub(in crate::tenant::service) use write::incoming;

const DEFAULT_PAGE: usize = 100;
const MAX_PAGE: usize = 999;
const CONTENT_TYPE: &str = "application/json; odata.metadata=minimal; odata.streaming=true; IEEE754Compatible=false; charset=utf-8";
const MAX_BODY: usize = 4 << 20;

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/v1.0/{*path}", any(handle)).route("/beta/{*path}", any(handle))
}

/// A refused request.
#[derive(Debug)]
struct GraphError {
    status: StatusCode,
    code: &'static str,
    message: String,
    details: Vec<Value>,
}

impl GraphError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), details: Vec::new() }
    }

    fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Request_BadRequest", message)
    }

    fn unsupported(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Request_UnsupportedQuery", message)
    }

    fn not_found(what: &str) -> Self {
        let message = format!("Resource '{what}' does not exist or one of its queried reference-property objects are not present.");
        Self::new(StatusCode::NOT_FOUND, "Request_ResourceNotFound", message)
    }
}

/// An answer before it becomes HTTP.
enum Failure {
    Refused(GraphError),
    Broken(TenantFailure),
}

impl From<GraphError> for Failure {
    fn from(error: GraphError) -> Self {
        Self::Refused(error)
    }
}

impl From<TenantError> for Failure {
    fn from(error: TenantError) -> Self {
        match error {
            TenantError::Refused(refusal) => refusal.into(),
            other => Self::Broken(other.into()),
        }
    }
}

impl From<DirectoryError> for Failure {
    fn from(error: DirectoryError) -> Self {
        Self::Broken(error.into())
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Object(fault) => Self::Refused(refused_object(fault)),
            Refusal::Directory(error) => error.into(),
        }
    }
}

/// A conflict on a unique value is a 400 in Graph, with the property in its details (specification: graph 4).
fn refused_object(fault: ObjectFault) -> GraphError {
    let Some(conflict) = fault.conflict else { return GraphError::bad_request(fault.description) };
    let property = match conflict.attribute.as_str() {
        "UserPrincipalName" => "userPrincipalName",
        "ProxyAddresses" => "proxyAddresses",
        "Mail" => "mail",
        other => other,
    }
    .to_owned();
    let message = format!("Another object with the same value for property {property} already exists.");
    let mut error = GraphError::bad_request(message.clone());
    error.details = vec![
        json!({"code": "ObjectConflict", "message": message, "target": property}),
        json!({"code": "ConflictingObjects", "message": "The following objects conflict.", "target": conflict.object_id}),
    ];
    error
}

type Outcome = Result<Answer, Failure>;

/// A good answer.
struct Answer {
    status: StatusCode,
    body: Option<Value>,
    /// Plain text instead of JSON, for `$count`.
    text: Option<String>,
    units: u32,
}

impl Answer {
    fn ok(body: Value) -> Self {
        Self { status: StatusCode::OK, body: Some(body), text: None, units: 1 }
    }

    fn created(body: Value) -> Self {
        Self { status: StatusCode::CREATED, ..Self::ok(body) }
    }

    fn no_content() -> Self {
        Self { status: StatusCode::NO_CONTENT, body: None, text: None, units: 1 }
    }

    fn count(number: u64) -> Self {
        Self { status: StatusCode::OK, body: None, text: Some(number.to_string()), units: 1 }
    }

    fn costing(mut self, units: u32) -> Self {
        self.units = units;
        self
    }
}

/// A request in pieces.
struct Request<'a> {
    method: Method,
    segments: Vec<String>,
    query: Query,
    /// `https://host/v1.0`.
    root: String,
    /// The path as it came, with the version.
    path: &'a str,
    raw_query: &'a str,
    body: &'a [u8],
}

#[derive(Debug, Default)]
struct Query {
    select: Option<Vec<String>>,
    top: Option<usize>,
    filter: Option<Filter>,
    count: bool,
    skip_token: Option<String>,
}

impl Query {
    fn parse(raw: &str) -> Result<Self, GraphError> {
        let mut query = Self::default();
        for part in raw.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
            let (name, value) = (decoded(name).to_ascii_lowercase(), decoded(value));
            match name.strip_prefix('$').unwrap_or(&name) {
                "select" => {
                    query.select = Some(value.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect());
                }
                "top" => {
                    let top = value.parse().ok().filter(|top| (1..=MAX_PAGE).contains(top));
                    query.top = Some(top.ok_or_else(|| {
                        GraphError::bad_request(format!(
                            "Invalid page size specified: '{value}'. Must be between 1 and {MAX_PAGE} inclusive."
                        ))
                    })?);
                }
                "filter" => query.filter = Some(Filter::parse(&value).map_err(|error| GraphError::bad_request(error.to_string()))?),
                "count" => query.count = value.eq_ignore_ascii_case("true"),
                "skiptoken" => query.skip_token = Some(value),
                "orderby" | "search" | "expand" | "skip" | "apply" => {
                    return Err(GraphError::unsupported(format!(
                        "The query option '${name}' is not supported here.",
                        name = name.trim_start_matches('$')
                    )));
                }
                _ => {}
            }
        }
        Ok(query)
    }

    fn page(&self) -> usize {
        self.top.unwrap_or(DEFAULT_PAGE)
    }

    /// The selection in the spelling of the schema; `id` is always in it.
    fn selection(&self, kind: ObjectKind) -> Result<Option<Vec<String>>, GraphError> {
        let Some(select) = &self.select else { return Ok(None) };
        let mut names = vec!["id".to_owned()];
        for name in select {
            if name.starts_with("extension_") {
                names.push(name.clone());
                continue;
            }
            match view::property(kind, name) {
                Some(known) => names.push(known.to_owned()),
                // Properties that the schema has and the tenant never fills are simply left out.
                None if known_elsewhere(name) => {}
                None => {
                    return Err(GraphError::bad_request(format!(
                        "Parsing OData Select and Expand failed: Could not find a property named '{name}' on type 'microsoft.graph.{}'.",
                        view::type_name(kind)
                    )));
                }
            }
        }
        Ok(Some(names))
    }
}

/// Properties of the schema's types that no object of this tenant has a value for.
fn known_elsewhere(name: &str) -> bool {
    const NAMES: [&str; 16] = [
        "ageGroup",
        "assignedPlans",
        "consentProvidedForMinor",
        "customSecurityAttributes",
        "employeeHireDate",
        "employeeLeaveDateTime",
        "employeeOrgData",
        "externalUserState",
        "imAddresses",
        "legalAgeGroupClassification",
        "licenseAssignmentStates",
        "provisionedPlans",
        "serviceProvisioningErrors",
        "signInActivity",
        "signInSessionsValidFromDateTime",
        "uniqueName",
    ];
    NAMES.iter().any(|known| known.eq_ignore_ascii_case(name))
}

async fn handle(
    State(app): State<Shared>,
    method: Method,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: axum::body::Body,
) -> Response {
    let client_request = headers.get("client-request-id").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let finish = |outcome: Outcome| render(&app.tenant, outcome, client_request.as_deref());
    let fate = app.tenant.faults().decide(Service::Graph, method.as_str());
    if let Some(delay) = fate.delay {
        app.tenant.context().clock.sleep(delay).await;
    }
    if let Some(rule) = &fate.fault {
        app.tenant.traffic().fault(rule.kind.as_str());
        match rule.kind {
            FaultKind::DropBefore => return close_connection(),
            FaultKind::DropAnswer | FaultKind::Duplicate => {}
            _ => return throttled(&app.tenant, rule, client_request.as_deref()),
        }
    }
    let caller = bearer(&headers).and_then(|token| caller(&app.tenant, token, &[GRAPH, GRAPH_WINDOWS]));
    match caller {
        None => {
            let message = if headers.contains_key(header::AUTHORIZATION) {
                "Access token validation failure or the token has expired."
            } else {
                "Access token is empty."
            };
            return finish(Err(GraphError::new(StatusCode::UNAUTHORIZED, "InvalidAuthenticationToken", message).into()));
        }
        Some(caller) if !caller.privileged => {
            let message =
                "Insufficient privileges to complete the operation. An application permission or an administrator role is needed.";
            return finish(Err(GraphError::new(StatusCode::FORBIDDEN, "Authorization_RequestDenied", message).into()));
        }
        Some(_) => {}
    }
    let Ok(body): Result<Bytes, _> = axum::body::to_bytes(body, MAX_BODY).await else {
        return finish(Err(GraphError::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", "The body is too large.").into()));
    };
    let base = app.base_url(&headers);
    let twice = fate.fault.as_ref().is_some_and(|rule| rule.kind == FaultKind::Duplicate);
    let outcome = app
        .blocking(move |tenant| {
            let once = || dispatch(tenant, &base, method.clone(), uri.path(), uri.query().unwrap_or_default(), &body);
            if twice {
                drop(once());
            }
            once()
        })
        .await;
    if fate.fault.is_some_and(|rule| rule.kind == FaultKind::DropAnswer) {
        return close_connection();
    }
    match outcome {
        Ok(outcome) => finish(outcome),
        Err(failure) => finish(Err(Failure::Broken(failure))),
    }
}

fn dispatch(tenant: &Tenant, base: &str, method: Method, path: &str, raw_query: &str, body: &[u8]) -> Outcome {
    tenant.tick()?;
    let mut segments: Vec<String> =
        path.split('/').filter(|part| !part.is_empty()).map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned()).collect();
    let version = if segments.is_empty() { String::new() } else { segments.remove(0) };
    if method == Method::POST && segments == ["$batch"] {
        return batch::run(tenant, base, &version, body);
    }
    let query = Query::parse(raw_query)?;
    let request = Request { method, segments, query, root: format!("{base}/{version}"), path, raw_query, body };
    route(tenant, &request)
}

fn route(tenant: &Tenant, request: &Request<'_>) -> Outcome {
    let segments: Vec<&str> = request.segments.iter().map(String::as_str).collect();
    let collection = |name: &str| match name.to_ascii_lowercase().as_str() {
        "users" => Some(ObjectKind::User),
        "groups" => Some(ObjectKind::Group),
        "contacts" => Some(ObjectKind::Contact),
        "devices" => Some(ObjectKind::Device),
        _ => None,
    };
    let kind = segments.first().and_then(|name| collection(name));
    let get = request.method == Method::GET;
    match (kind, &segments[..]) {
        (Some(kind), [_]) if get => list(tenant, request, kind),
        (Some(ObjectKind::User), [_]) if request.method == Method::POST => write::create_user(tenant, request),
        (Some(kind), [_, "$count"]) if get => count(tenant, request, kind),
        (Some(kind), [_, id]) if get => single(tenant, request, kind, id),
        (Some(kind @ ObjectKind::User), [_, id]) if request.method == Method::PATCH => write::change(tenant, request, kind, id),
        (Some(kind @ (ObjectKind::User | ObjectKind::Group | ObjectKind::Device)), [_, id]) if request.method == Method::DELETE => {
            write::delete(tenant, kind, id)
        }
        (Some(ObjectKind::Group), [_, id, "members", rest @ ..]) if get => members(tenant, request, id, rest),
        (Some(ObjectKind::User | ObjectKind::Contact), [_, id, "manager"]) if get => manager(tenant, request, id),
        (Some(kind), [_, id, "memberOf"]) if get => referrers(tenant, request, kind, id, MEMBER),
        (Some(kind), [_, id, "directReports"]) if get => referrers(tenant, request, kind, id, MANAGER),
        (None, ["organization"]) if get => {
            Ok(Answer::ok(collection_of(&request.root, "organization", vec![shown_organization(tenant, request)?])))
        }
        (None, ["organization", id]) => write::organization(tenant, request, id),
        (None, ["directoryRoles"]) if get => roles::list(tenant, request),
        (None, ["directoryRoles", id, "members"]) if get => roles::members(tenant, request, id),
        (None, ["domains"]) if get => {
            let domains = tenant.state().domains.iter().map(domain).collect();
            Ok(Answer::ok(collection_of(&request.root, "domains", domains)))
        }
        (None, ["domains", name]) => write::domain(tenant, request, name),
        (None, ["directory", "onPremisesSynchronization", rest @ ..]) => write::synchronization(tenant, request, rest),
        (None, ["directory", "deletedItems", rest @ ..]) => deleted_items(tenant, request, rest),
        (_, [name, ..]) => Err(GraphError::new(
            StatusCode::BAD_REQUEST,
            "Request_BadRequest",
            format!("Resource not found for the segment '{name}', or the method {} is not supported there.", request.method),
        )
        .into()),
        (_, []) => Err(GraphError::bad_request("The path names no resource.").into()),
    }
}

fn collection_of(root: &str, name: &str, value: Vec<Value>) -> Value {
    let mut body = Map::new();
    body.insert("@odata.context".to_owned(), json!(format!("{root}/$metadata#{name}")));
    body.insert("value".to_owned(), Value::Array(value));
    Value::Object(body)
}

fn plural(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::User => "users",
        ObjectKind::Group => "groups",
        ObjectKind::Contact => "contacts",
        ObjectKind::Device => "devices",
    }
}

fn context_of(request: &Request<'_>, kind: ObjectKind, single: bool) -> String {
    let selection = request.query.select.as_ref().map_or(String::new(), |select| format!("({})", select.join(",")));
    format!("{}/$metadata#{}{selection}{}", request.root, plural(kind), if single { "/$entity" } else { "" })
}

/// The link to the page behind `token`: the request as it came, with the token put in.
fn next_link(request: &Request<'_>, token: &str) -> String {
    let base = request.root.rsplit_once('/').map_or("", |(base, _)| base);
    let kept = request.raw_query.split('&').filter(|part| {
        let name = part.split('=').next().unwrap_or_default();
        let name = percent_decode_str(name).decode_utf8_lossy();
        !part.is_empty() && !name.trim_start_matches('$').eq_ignore_ascii_case("skiptoken")
    });
    let token = format!("$skiptoken={token}");
    let query: Vec<&str> = kept.chain(std::iter::once(token.as_str())).collect();
    format!("{base}{}?{}", request.path, query.join("&"))
}

/// What a filter has to look at, in the spelling of the schema.
fn looked_at(filter: &Filter, kind: ObjectKind) -> Result<Vec<String>, GraphError> {
    let mut names = Vec::new();
    filter.properties(&mut names);
    names
        .into_iter()
        .map(|name| {
            if name.starts_with("extension_") {
                return Ok(name);
            }
            view::property(kind, &name).map(str::to_owned).ok_or_else(|| {
                GraphError::bad_request(format!(
                    "Invalid filter clause: Could not find a property named '{name}' on type 'microsoft.graph.{}'.",
                    view::type_name(kind)
                ))
            })
        })
        .collect()
}

/// A condition ready to be asked of objects.
struct Condition<'a> {
    filter: Option<(&'a Filter, Vec<String>)>,
    kind: ObjectKind,
    live: bool,
}

impl<'a> Condition<'a> {
    fn new(query: &'a Query, kind: ObjectKind, live: bool) -> Result<Self, GraphError> {
        let filter = query.filter.as_ref().map(|filter| looked_at(filter, kind).map(|names| (filter, names))).transpose()?;
        Ok(Self { filter, kind, live })
    }

    fn meets(&self, reader: &Reader, object: ObjectNumber, record: &ObjectRecord) -> Result<bool, DirectoryError> {
        if record.kind != self.kind || record.is_live() != self.live {
            return Ok(false);
        }
        let Some((filter, names)) = &self.filter else { return Ok(true) };
        Ok(filter.matches(&Value::Object(view::show(reader, object, record, Some(names), false)?)))
    }

    /// Shows the objects behind a number that meet the condition, by an index where one knows them, until `show` has enough.
    fn each(
        &self,
        reader: &Reader,
        after: ObjectNumber,
        mut show: impl FnMut(ObjectNumber, &ObjectRecord) -> Result<bool, DirectoryError>,
    ) -> Result<(), DirectoryError> {
        let mut look = |object, record: &ObjectRecord| Ok(!self.meets(reader, object, record)? || show(object, record)?);
        let Some(found) = self.by_index(reader)? else { return reader.scan(after, |object, record| look(object, &record)) };
        for object in found.into_iter().filter(|object| *object > after) {
            if let Some(record) = reader.object(object)?
                && !look(object, &record)?
            {
                break;
            }
        }
        Ok(())
    }

    /// The objects that can meet the condition, ascending, when an index knows.
    fn by_index(&self, reader: &Reader) -> Result<Option<Vec<ObjectNumber>>, DirectoryError> {
        let Some((filter, _)) = &self.filter else { return Ok(None) };
        if filter.needs_element_of(PROVISIONING_ERRORS) {
            return reader.quarantined().map(Some);
        }
        for (path, texts) in filter.demands() {
            let Some(find) = index_of(path) else { continue };
            let mut found = BTreeSet::new();
            for text in texts {
                found.extend(find(reader, text)?);
            }
            return Ok(Some(found.into_iter().collect()));
        }
        Ok(None)
    }
}

/// The property that only objects have of which something is kept aside; the directory lists these.
const PROVISIONING_ERRORS: &str = "onPremisesProvisioningErrors";

/// Finds the object with a value of a property.
type Find = fn(&Reader, &str) -> Result<Option<ObjectNumber>, DirectoryError>;

/// The properties that an index knows.
fn index_of(property: &str) -> Option<Find> {
    Some(match property.to_ascii_lowercase().as_str() {
        "id" => |reader, text| Uuid::try_parse(text).map_or(Ok(None), |id| reader.by_id(id)),
        "userprincipalname" => |reader, text| reader.by_unique(&UniqueKey::text(UniqueKind::UserPrincipalName, text)),
        "mail" | "proxyaddresses" => |reader, text| reader.by_unique(&UniqueKey::address(text)),
        "onpremisesimmutableid" => Reader::by_anchor,
        _ => return None,
    })
}

fn list(tenant: &Tenant, request: &Request<'_>, kind: ObjectKind) -> Outcome {
    let reader = tenant.directory().read()?;
    let query = &request.query;
    let selection = query.selection(kind)?;
    let condition = Condition::new(query, kind, true)?;
    let after = match &query.skip_token {
        Some(token) => token.parse().map_err(|_| GraphError::bad_request("The skip token is not valid."))?,
        None => 0,
    };
    let mut value = Vec::new();
    let mut next = None;
    let mut last = after;
    condition.each(&reader, after, |object, record| {
        if value.len() == query.page() {
            next = Some(last);
            return Ok(false);
        }
        value.push(Value::Object(view::show(&reader, object, record, selection.as_deref(), false)?));
        last = object;
        Ok(true)
    })?;
    let mut body = Map::new();
    body.insert("@odata.context".to_owned(), json!(context_of(request, kind, false)));
    if query.count {
        body.insert("@odata.count".to_owned(), json!(count_objects(&reader, &condition)?));
    }
    if let Some(next) = next {
        body.insert("@odata.nextLink".to_owned(), json!(next_link(request, &next.to_string())));
    }
    body.insert("value".to_owned(), Value::Array(value));
    Ok(Answer::ok(Value::Object(body)).costing(if query.select.is_some() { 1 } else { 2 }))
}

fn count_objects(reader: &Reader, condition: &Condition<'_>) -> Result<u64, DirectoryError> {
    let mut count = 0;
    condition.each(reader, 0, |_, _| {
        count += 1;
        Ok(true)
    })?;
    Ok(count)
}

fn count(tenant: &Tenant, request: &Request<'_>, kind: ObjectKind) -> Outcome {
    let reader = tenant.directory().read()?;
    Ok(Answer::count(count_objects(&reader, &Condition::new(&request.query, kind, true)?)?))
}

/// A live object of a type by object id, or a user by sign-in name.
fn find(reader: &Reader, kind: ObjectKind, id: &str) -> Result<(ObjectNumber, ObjectRecord), Failure> {
    let object = match Uuid::try_parse(id) {
        Ok(id) => reader.by_id(id)?,
        Err(_) if kind == ObjectKind::User => reader.by_unique(&UniqueKey::text(UniqueKind::UserPrincipalName, id))?,
        Err(_) => return Err(GraphError::bad_request(format!("Invalid object identifier '{id}'.")).into()),
    };
    if let Some(object) = object
        && let Some(record) = reader.object(object)?.filter(|record| record.kind == kind && record.is_live())
    {
        return Ok((object, record));
    }
    Err(GraphError::not_found(id).into())
}

fn single(tenant: &Tenant, request: &Request<'_>, kind: ObjectKind, id: &str) -> Outcome {
    let reader = tenant.directory().read()?;
    let (object, record) = find(&reader, kind, id)?;
    let mut body = Map::new();
    body.insert("@odata.context".to_owned(), json!(context_of(request, kind, true)));
    body.extend(view::show(&reader, object, &record, request.query.selection(kind)?.as_deref(), false)?);
    Ok(Answer::ok(Value::Object(body)))
}

/// Shows an object of any type inside a list, with its type. A selection keeps what the type has of it.
fn show_any(reader: &Reader, request: &Request<'_>, object: ObjectNumber, record: &ObjectRecord) -> Result<Value, Failure> {
    let selection = request.query.select.as_ref().map(|select| {
        std::iter::once("id".to_owned())
            .chain(select.iter().filter_map(|name| view::property(record.kind, name).map(str::to_owned)))
            .collect::<Vec<_>>()
    });
    Ok(Value::Object(view::show(reader, object, record, selection.as_deref(), true)?))
}

fn cast(segment: &str) -> Option<ObjectKind> {
    match segment.strip_prefix("microsoft.").unwrap_or(segment).strip_prefix("graph.")? {
        "user" => Some(ObjectKind::User),
        "group" => Some(ObjectKind::Group),
        "orgContact" => Some(ObjectKind::Contact),
        "device" => Some(ObjectKind::Device),
        _ => None,
    }
}

fn members(tenant: &Tenant, request: &Request<'_>, id: &str, rest: &[&str]) -> Outcome {
    let reader = tenant.directory().read()?;
    let (group, record) = find(&reader, ObjectKind::Group, id)?;
    let (only, references, count) = match rest {
        [] => (None, false, false),
        ["$ref"] => (None, true, false),
        ["$count"] => (None, false, true),
        [kind] if cast(kind).is_some() => (cast(kind), false, false),
        [kind, "$count"] if cast(kind).is_some() => (cast(kind), false, true),
        _ => return Err(GraphError::bad_request("Resource not found for the segment behind 'members'.").into()),
    };
    let size = if count { usize::MAX } else { request.query.page() };
    let mut after = match &request.query.skip_token {
        Some(token) => Some(decode_token(token)?),
        None => None,
    };
    let (mut value, mut total, mut next) = (Vec::new(), 0u64, None);
    'pages: loop {
        let anchors = reader.references(group, MEMBER, after.as_deref(), 1000)?;
        let Some(last) = anchors.last().cloned() else { break };
        for anchor in anchors {
            // A target that has not arrived yet, or is gone, is no member.
            let Some(object) = reader.by_reference(&anchor)? else { continue };
            let Some(target) = reader.object(object)?.filter(|target| target.is_live() && only.is_none_or(|kind| kind == target.kind))
            else {
                continue;
            };
            if value.len() == size {
                next.clone_from(&after);
                break 'pages;
            }
            total += 1;
            after = Some(anchor);
            if references {
                value.push(json!({"@odata.id": format!("{}/directoryObjects/{}", request.root, target.uuid().hyphenated())}));
            } else if !count {
                value.push(show_any(&reader, request, object, &target)?);
            }
        }
        after = Some(last);
    }
    if count {
        return Ok(Answer::count(total));
    }
    let mut body = collection_of(&request.root, "directoryObjects", value);
    if let Value::Object(map) = &mut body {
        if request.query.count {
            map.insert("@odata.count".to_owned(), json!(record.members));
        }
        if let Some(next) = next {
            map.insert("@odata.nextLink".to_owned(), json!(next_link(request, &URL_SAFE_NO_PAD.encode(next))));
        }
    }
    Ok(Answer::ok(body).costing(3))
}

fn decode_token(token: &str) -> Result<String, GraphError> {
    let octets = URL_SAFE_NO_PAD.decode(token).ok();
    octets.and_then(|octets| String::from_utf8(octets).ok()).ok_or_else(|| GraphError::bad_request("The skip token is not valid."))
}

fn manager(tenant: &Tenant, request: &Request<'_>, id: &str) -> Outcome {
    let reader = tenant.directory().read()?;
    let kind = if request.segments.first().is_some_and(|name| name.eq_ignore_ascii_case("contacts")) {
        ObjectKind::Contact
    } else {
        ObjectKind::User
    };
    let (object, _) = find(&reader, kind, id)?;
    if let Some(anchor) = reader.references(object, MANAGER, None, 1)?.pop()
        && let Some(manager) = reader.by_reference(&anchor)?
        && let Some(record) = reader.object(manager)?.filter(ObjectRecord::is_live)
    {
        let mut body = Map::new();
        body.insert("@odata.context".to_owned(), json!(format!("{}/$metadata#directoryObjects/$entity", request.root)));
        if let Value::Object(shown) = show_any(&reader, request, manager, &record)? {
            body.extend(shown);
        }
        return Ok(Answer::ok(Value::Object(body)));
    }
    Err(GraphError::not_found("manager").into())
}

fn referrers(
    tenant: &Tenant,
    request: &Request<'_>,
    kind: ObjectKind,
    id: &str,
    attribute: crate::tenant::directory::ReferenceAttribute,
) -> Outcome {
    let reader = tenant.directory().read()?;
    let (_, record) = find(&reader, kind, id)?;
    let mut value = Vec::new();
    for (owner, by) in reader.referrers(&record.reference_name())? {
        if by == attribute
            && let Some(owner_record) = reader.object(owner)?.filter(ObjectRecord::is_live)
        {
            value.push(show_any(&reader, request, owner, &owner_record)?);
        }
    }
    Ok(Answer::ok(collection_of(&request.root, "directoryObjects", value)).costing(2))
}

fn deleted_items(tenant: &Tenant, request: &Request<'_>, rest: &[&str]) -> Outcome {
    match rest {
        [name] if cast(name).is_some() || name.ends_with("graph.servicePrincipal") => {
            if request.method != Method::GET {
                return Err(GraphError::bad_request("Only GET is supported there.").into());
            }
            deleted_list(tenant, request, cast(name))
        }
        [id] => write::deleted(tenant, request, id),
        [id, "restore"] if request.method == Method::POST => write::restore(tenant, request, id),
        _ => Err(GraphError::bad_request("Resource not found for the segment behind 'deletedItems'.").into()),
    }
}

fn deleted_list(tenant: &Tenant, request: &Request<'_>, kind: Option<ObjectKind>) -> Outcome {
    let reader = tenant.directory().read()?;
    let query = &request.query;
    let mut value = Vec::new();
    let mut next = None;
    if let Some(kind) = kind {
        let selection = query.selection(kind)?;
        let condition = Condition::new(query, kind, false)?;
        let mut after = match &query.skip_token {
            Some(token) => token.parse().map_err(|_| GraphError::bad_request("The skip token is not valid."))?,
            None => 0,
        };
        // By an index where one knows; otherwise everything that lies there.
        let mut known = condition.by_index(&reader)?;
        'pages: loop {
            let round = match &mut known {
                Some(known) => std::mem::take(known).into_iter().filter(|object| *object > after).collect(),
                None => reader.deleted_after(after, 1000)?,
            };
            if round.is_empty() {
                break;
            }
            for object in round {
                if let Some(record) = reader.object(object)?
                    && condition.meets(&reader, object, &record)?
                {
                    if value.len() == query.page() {
                        next = Some(after);
                        break 'pages;
                    }
                    let mut shown = view::show(&reader, object, &record, selection.as_deref(), false)?;
                    if selection.is_none() {
                        shown.insert("deletedDateTime".to_owned(), json!(record.deleted.as_ref().map(|deletion| graph_time(deletion.at))));
                    }
                    value.push(Value::Object(shown));
                }
                after = object;
            }
        }
    }
    let name = kind.map_or("servicePrincipals", plural);
    let mut body = collection_of(&request.root, name, value);
    if let (Value::Object(map), Some(next)) = (&mut body, next) {
        map.insert("@odata.nextLink".to_owned(), json!(next_link(request, &next.to_string())));
    }
    Ok(Answer::ok(body))
}

/// The organization, in the words of the version that was asked.
fn shown_organization(tenant: &Tenant, request: &Request<'_>) -> Result<Value, Failure> {
    let mut shown = organization(tenant);
    // Only `beta` tells of the room that is left.
    if request.root.ends_with("/beta") {
        let used = tenant.directory().read()?.live()?;
        shown["directorySizeQuota"] = json!({"used": used, "total": tenant.policy().quota});
    }
    Ok(shown)
}

fn organization(tenant: &Tenant) -> Value {
    let state = tenant.state();
    let domains: Vec<Value> = state
        .domains
        .iter()
        .filter(|domain| domain.verified)
        .map(|domain| {
            let kind = match domain.authentication {
                crate::tenant::directory::Authentication::Managed => "Managed",
                crate::tenant::directory::Authentication::Federated => "Federated",
            };
            json!({"capabilities": "Email, OfficeCommunicationsOnline", "isDefault": domain.default, "isInitial": domain.initial, "name": domain.name, "type": kind})
        })
        .collect();
    json!({
        "id": state.tenant_id.hyphenated().to_string(), "deletedDateTime": null, "displayName": state.name,
        "createdDateTime": graph_time(state.created), "assignedPlans": [], "businessPhones": [], "provisionedPlans": [],
        "onPremisesSyncEnabled": state.on_premises_sync_enabled(),
        "onPremisesLastSyncDateTime": state.last_synchronization.map(graph_time),
        "tenantType": "AAD", "technicalNotificationMails": [], "marketingNotificationEmails": [], "verifiedDomains": domains,
    })
}

fn domain(domain: &crate::tenant::state::Domain) -> Value {
    let kind = match domain.authentication {
        crate::tenant::directory::Authentication::Managed => "Managed",
        crate::tenant::directory::Authentication::Federated => "Federated",
    };
    json!({
        "id": domain.name, "authenticationType": kind, "availabilityStatus": null, "isAdminManaged": true, "isDefault": domain.default,
        "isInitial": domain.initial, "isRoot": true, "isVerified": domain.verified, "supportedServices": ["Email", "OfficeCommunicationsOnline"],
        "passwordValidityPeriodInDays": 2_147_483_647, "passwordNotificationWindowInDays": 14, "state": null,
    })
}

/// True when synchronization, not the cloud, decides over the object.
fn on_premises(record: &ObjectRecord) -> bool {
    record.mastery == Mastery::OnPremises
}

fn throttled(tenant: &Tenant, rule: &FaultRule, client_request: Option<&str>) -> Response {
    let (status, code) = if rule.kind == FaultKind::Unauthorized {
        (StatusCode::UNAUTHORIZED, "InvalidAuthenticationToken")
    } else if rule.kind == FaultKind::Throttle {
        (StatusCode::TOO_MANY_REQUESTS, "TooManyRequests")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable")
    };
    let mut response = render(tenant, Err(GraphError::new(status, code, "A fault on demand: try again later.").into()), client_request);
    if rule.retry_after > 0.0
        && let Ok(value) = HeaderValue::from_str(&format!("{:.3}", rule.retry_after))
    {
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
    response
}

fn render(tenant: &Tenant, outcome: Outcome, client_request: Option<&str>) -> Response {
    let request_id = Uuid::new_v4().hyphenated().to_string();
    let client_request = client_request.map_or_else(|| request_id.clone(), str::to_owned);
    let answer = outcome.unwrap_or_else(|failure| {
        let error = match failure {
            Failure::Refused(error) => error,
            Failure::Broken(TenantFailure) => {
                GraphError::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", "The tenant failed; its log says why.")
            }
        };
        let mut body = json!({"error": {
            "code": error.code, "message": error.message,
            "innerError": {
                "date": tenant.now().to_jiff().strftime("%Y-%m-%dT%H:%M:%S").to_string(),
                "request-id": request_id, "client-request-id": client_request,
            },
        }});
        if !error.details.is_empty() {
            body["error"]["details"] = Value::Array(error.details);
        }
        Answer { status: error.status, body: Some(body), text: None, units: 1 }
    });
    let mut response = match (answer.body, answer.text) {
        (Some(body), _) => (answer.status, [(header::CONTENT_TYPE, CONTENT_TYPE)], body.to_string()).into_response(),
        (None, Some(text)) => (answer.status, [(header::CONTENT_TYPE, "text/plain")], text).into_response(),
        (None, None) => answer.status.into_response(),
    };
    let diagnostic =
        json!({"ServerInfo": {"DataCenter": "Local", "Slice": "E", "Ring": "1", "ScaleUnit": "000", "RoleInstance": "LOCALTENANT01"}});
    for (name, value) in [
        ("request-id", request_id),
        ("client-request-id", client_request),
        ("x-ms-resource-unit", answer.units.to_string()),
        ("odata-version", "4.0".to_owned()),
        ("x-ms-ags-diagnostic", diagnostic.to_string()),
    ] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    response
}
