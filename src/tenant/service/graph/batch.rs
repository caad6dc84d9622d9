//! `$batch`: up to 20 requests in one, answered in any order (specification: graph 6).

use super::{Answer, Failure, GraphError, Outcome, dispatch};
use crate::tenant::Tenant;
use crate::tenant::service::TenantFailure;
use axum::http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// The most requests of one batch.
const MOST: usize = 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    requests: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Item {
    id: String,
    method: String,
    url: String,
    #[serde(default)]
    headers: Map<String, Value>,
    #[serde(default)]
    body: Option<Value>,
    #[serde(default)]
    depends_on: Vec<String>,
}

/// Does the requests of a batch one after the other.
pub(super) fn run(tenant: &Tenant, base: &str, version: &str, body: &[u8]) -> Outcome {
    let batch: Batch =
        serde_json::from_slice(body).map_err(|error| GraphError::bad_request(format!("The batch cannot be read: {error}.")))?;
    if batch.requests.is_empty() || batch.requests.len() > MOST {
        let message = format!("The batch has {} requests; 1 to {MOST} are allowed.", batch.requests.len());
        return Err(GraphError::bad_request(message).into());
    }
    let mut statuses: HashMap<&str, StatusCode> = HashMap::new();
    let mut responses = Vec::with_capacity(batch.requests.len());
    for item in &batch.requests {
        if statuses.contains_key(item.id.as_str()) {
            return Err(GraphError::bad_request(format!("The id '{}' is there twice.", item.id)).into());
        }
        let waits_for = item.depends_on.iter().any(|id| statuses.get(id.as_str()).is_none_or(|status| !status.is_success()));
        let outcome = if waits_for {
            Err(GraphError::new(StatusCode::FAILED_DEPENDENCY, "FailedDependency", "A request that this one depends on failed.").into())
        } else {
            one(tenant, base, version, item)
        };
        let (status, body) = match outcome {
            Ok(Answer { status, body, text, .. }) => (status, body.or_else(|| text.map(Value::String))),
            Err(Failure::Refused(error)) => (error.status, Some(json!({"error": {"code": error.code, "message": error.message}}))),
            Err(Failure::Broken(TenantFailure)) => return Err(Failure::Broken(TenantFailure)),
        };
        statuses.insert(&item.id, status);
        let mut response = json!({"id": item.id, "status": status.as_u16(), "headers": {"Content-Type": "application/json"}});
        if let Some(body) = body {
            response["body"] = body;
        }
        responses.push(response);
    }
    // In any order: whoever goes by the order is wrong, and finds out here.
    responses.reverse();
    Ok(Answer::ok(json!({ "responses": responses })))
}

fn one(tenant: &Tenant, base: &str, version: &str, item: &Item) -> Outcome {
    let method = Method::from_bytes(item.method.as_bytes()).map_err(|_| GraphError::bad_request("That is no method."))?;
    if !item.url.starts_with('/') || item.url.starts_with("/$batch") {
        return Err(GraphError::bad_request("The url of a request begins with a slash and names a resource.").into());
    }
    if item.body.is_some() && !item.headers.keys().any(|name| name.eq_ignore_ascii_case("content-type")) {
        return Err(GraphError::bad_request("A request with a body needs the header Content-Type.").into());
    }
    let (path, query) = item.url.split_once('?').unwrap_or((&item.url, ""));
    let body = item.body.as_ref().map(Value::to_string).unwrap_or_default();
    dispatch(tenant, base, method, &format!("/{version}{path}"), query, body.as_bytes())
}
