//! Microsoft Graph, for what the provisioning service does not tell: questions one by one, many in one batch, lists page by page, and
//! single settings (specification: graph 3 to 6). Made for one piece of work and dropped behind it.

use super::EntraSettings;
use super::http::{self, Failed};
use super::service::{growing, is_busy, retry_after};
use super::standing::DirectoryQuota;
use super::token::Tokens;
use crate::connector::{ConnectorError, ConnectorErrorKind};
use crate::context::Context;
use bytes::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Client, Method, StatusCode, header};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often a request is tried while Graph is busy or answers get lost.
const ATTEMPTS: u32 = 5;
/// Our own pauses grow up to this,
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// and Graph is waited for as long as it says, up to this: whoever looks can also stop.
const LONGEST_TOLD: Duration = Duration::from_hours(1);
/// Pages of one list. A tenant with millions of people has some thousand.
const PAGES_MAX: usize = 20_000;
/// The most requests of one batch.
pub(super) const BATCH: usize = 20;
/// Objects of one page; the most that Graph gives.
pub(super) const PAGE: usize = 999;

/// Graph of one tenant.
pub(super) struct Graph {
    client: Client,
    tokens: Tokens,
    /// With the version.
    root: String,
    /// Requests so far; a batch is one.
    requests: AtomicU64,
}

/// A text inside a filter, ready for an address.
pub(super) fn quoted(text: &str) -> String {
    utf8_percent_encode(&format!("'{}'", text.replace('\'', "''")), NON_ALPHANUMERIC).to_string()
}

impl Graph {
    /// Nothing is sent yet.
    pub(super) fn new(settings: &EntraSettings) -> Result<Self, ConnectorError> {
        let root = settings.graph_url.trim_end_matches('/');
        let client = http::client(settings.ca_file.as_deref(), &[&settings.login_url, root])?;
        let tokens = Tokens::for_graph(client.clone(), &settings.login_url, root, &settings.tenant, settings.sign_in.clone());
        Ok(Self { client, tokens, root: format!("{root}/v1.0"), requests: AtomicU64::new(0) })
    }

    /// Where it is, with the version.
    pub(super) fn root(&self) -> &str {
        &self.root
    }

    /// Requests that were sent.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// How many objects a collection has.
    pub(super) async fn count(&self, cx: &Context, collection: &str) -> Result<usize, ConnectorError> {
        let octets = self.send(cx, &Method::GET, &format!("{}/{collection}/$count", self.root), None).await?;
        // With a mark of the byte order in front, now and then.
        let text = String::from_utf8_lossy(&octets);
        let number = text.trim_matches(|character: char| !character.is_ascii_digit()).parse();
        number.map_err(|_| wrong(format!("{collection}/$count was answered with no number")))
    }

    /// How much room the tenant has. Of both versions only `beta` tells it.
    pub(super) async fn directory_quota(&self, cx: &Context) -> Result<DirectoryQuota, ConnectorError> {
        let root = self.root.strip_suffix("/v1.0").unwrap_or(&self.root);
        let url = format!("{root}/beta/organization?$select=directorySizeQuota");
        let answer = self.read("/organization", &self.send(cx, &Method::GET, &url, None).await?)?;
        let quota = &answer["value"][0]["directorySizeQuota"];
        match (quota["used"].as_u64(), quota["total"].as_u64()) {
            (Some(used), Some(allowed)) => Ok(DirectoryQuota { used, allowed }),
            _ => Err(wrong("the organization says nothing of its size".to_owned())),
        }
    }

    /// Changes what `body` names.
    pub(super) async fn patch(&self, cx: &Context, path: &str, body: &Value) -> Result<(), ConnectorError> {
        self.send(cx, &Method::PATCH, &format!("{}{path}", self.root), Some(body)).await.map(drop)
    }

    /// Hands on the objects of a list, page by page.
    pub(super) async fn pages(&self, cx: &Context, path: &str, each: impl FnMut(&Value)) -> Result<(), ConnectorError> {
        self.follow(cx, path, format!("{}{path}", self.root), each).await
    }

    /// Hands on the objects of a page and of those behind it. `path` is for messages.
    async fn follow(&self, cx: &Context, path: &str, first: String, mut each: impl FnMut(&Value)) -> Result<(), ConnectorError> {
        let mut seen = HashSet::new();
        let mut next = Some(first);
        while let Some(url) = next.take() {
            // The token goes with it.
            if !self.is_ours(&url) {
                return Err(wrong(format!("{path}: the next page would be elsewhere")));
            }
            let page = self.read(path, &self.send(cx, &Method::GET, &url, None).await?)?;
            page["value"].as_array().into_iter().flatten().for_each(&mut each);
            next = page["@odata.nextLink"].as_str().map(str::to_owned);
            seen.insert(url);
            if seen.len() >= PAGES_MAX || next.as_ref().is_some_and(|next| seen.contains(next)) {
                return Err(wrong(format!("{path}: its pages have no end")));
            }
        }
        Ok(())
    }

    fn is_ours(&self, url: &str) -> bool {
        url.strip_prefix(&self.root).is_some_and(|rest| rest.starts_with('/'))
    }

    /// Asks for many resources, twenty in one request. The answers are in the order of the questions; a list is whole, however
    /// many pages it has.
    pub(super) async fn batch(&self, cx: &Context, paths: &[String]) -> Result<Vec<Value>, ConnectorError> {
        let mut answers = vec![Value::Null; paths.len()];
        let mut open: Vec<usize> = (0..paths.len()).collect();
        let mut attempts = 0;
        // Advanced queries need it, and a batch hands none of its own on (graph 4 and 6).
        let eventual = json!({"ConsistencyLevel": "eventual"});
        while !open.is_empty() {
            let (mut busy, mut pause) = (Vec::new(), Duration::ZERO);
            for part in open.chunks(BATCH) {
                let requests: Vec<Value> = part
                    .iter()
                    .map(|index| json!({"id": index.to_string(), "method": "GET", "url": paths[*index], "headers": eventual}))
                    .collect();
                let body = json!({ "requests": requests });
                let octets = self.send(cx, &Method::POST, &format!("{}/$batch", self.root), Some(&body)).await?;
                let mut answer = self.read("$batch", &octets)?;
                let mut left: Vec<usize> = part.to_vec();
                for response in answer["responses"].as_array_mut().into_iter().flatten() {
                    let index = response["id"].as_str().and_then(|id| id.parse::<usize>().ok());
                    let Some(place) = index.and_then(|index| left.iter().position(|known| *known == index)) else { continue };
                    let index = left.swap_remove(place);
                    let status = response["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or_default();
                    match StatusCode::from_u16(status) {
                        Ok(status) if status.is_success() => answers[index] = response["body"].take(),
                        Ok(status) if is_busy(status) => {
                            busy.push(index);
                            let asked = response["headers"]["Retry-After"].as_str().and_then(|text| text.parse::<f64>().ok());
                            let asked = asked.and_then(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).ok());
                            pause = pause.max(asked.unwrap_or_default());
                        }
                        Ok(status) => return Err(refused(status, &paths[index], &response["body"])),
                        Err(_) => return Err(wrong("$batch was answered with something else than statuses".to_owned())),
                    }
                }
                if !left.is_empty() {
                    return Err(wrong(format!("$batch left {} requests without an answer", left.len())));
                }
            }
            open = busy;
            attempts += 1;
            if !open.is_empty() {
                self.rest(cx, attempts, Some(pause).filter(|pause| !pause.is_zero()), "parts of a batch").await?;
            }
        }
        for (path, answer) in paths.iter().zip(&mut answers) {
            let Some(next) = answer["@odata.nextLink"].as_str().map(str::to_owned) else { continue };
            let mut rest = Vec::new();
            self.follow(cx, path, next, |object| rest.push(object.clone())).await?;
            if let Some(list) = answer["value"].as_array_mut() {
                list.append(&mut rest);
            }
        }
        Ok(answers)
    }

    async fn send(&self, cx: &Context, method: &Method, url: &str, body: Option<&Value>) -> Result<Bytes, ConnectorError> {
        let (mut attempts, mut renewed) = (0, false);
        loop {
            let token = self.tokens.get(cx).await?;
            let mut request = self.client.request(method.clone(), url).header(header::AUTHORIZATION, http::bearer(&token)?);
            // Counts and filters by address are advanced queries (graph 4).
            request = request.header("ConsistencyLevel", "eventual");
            if let Some(body) = body {
                request = request.json(body);
            }
            self.requests.fetch_add(1, Ordering::Relaxed);
            // The body, too: it may come drop by drop.
            let whole = async {
                let response = request.send().await.map_err(|error| http::failed(&error))?;
                let (status, after) = (response.status(), retry_after(response.headers()));
                Ok::<_, Failed>((status, after, http::body(response).await?))
            };
            let answered = tokio::select! {
                () = cx.cancel.cancelled() => return Err(ConnectorError::new(ConnectorErrorKind::Cancelled, "stopped before Graph had answered")),
                answered = whole => answered,
            };
            let (reason, after) = match answered {
                Ok((status, after, octets)) => {
                    if status.is_success() {
                        return Ok(octets);
                    }
                    if status == StatusCode::UNAUTHORIZED && !renewed {
                        renewed = true;
                        self.tokens.forget(&token).await;
                        continue;
                    }
                    // Nothing that is sent here does harm when it is done twice.
                    if !is_busy(status) && !status.is_server_error() {
                        return Err(refused(status, url, &serde_json::from_slice(&octets).unwrap_or_default()));
                    }
                    (format!("it answered {status}"), after)
                }
                Err(Failed::Lost(reason) | Failed::Connect(reason)) => (reason, None),
                Err(certificate @ Failed::Certificate(_)) => return Err(certificate.into()),
            };
            attempts += 1;
            self.rest(cx, attempts, after, &reason).await?;
        }
    }

    /// Waits before the next attempt, or gives up.
    async fn rest(&self, cx: &Context, attempts: u32, after: Option<Duration>, reason: &str) -> Result<(), ConnectorError> {
        if attempts >= ATTEMPTS {
            let message = format!("Microsoft Graph was asked {attempts} times; last: {reason}");
            return Err(ConnectorError::new(ConnectorErrorKind::Busy, message));
        }
        let pause = after.map_or_else(|| growing(attempts, cx.seed).min(LONGEST_PAUSE), |told| told.min(LONGEST_TOLD));
        tokio::select! {
            () = cx.cancel.cancelled() => Err(ConnectorError::new(ConnectorErrorKind::Cancelled, "stopped before Graph had answered")),
            () = cx.clock.sleep(pause) => Ok(()),
        }
    }

    fn read(&self, path: &str, octets: &[u8]) -> Result<Value, ConnectorError> {
        serde_json::from_slice(octets).map_err(|_| wrong(format!("{path}: the answer is no JSON; check graph_url ({})", self.root)))
    }
}

fn wrong(message: String) -> ConnectorError {
    ConnectorError::new(ConnectorErrorKind::Protocol, format!("Microsoft Graph: {message}"))
}

/// A request that Graph does not carry out.
fn refused(status: StatusCode, path: &str, body: &Value) -> ConnectorError {
    let path = path.split('?').next().unwrap_or_default();
    let said = body["error"]["message"].as_str().unwrap_or("without a word");
    let kind = match status {
        StatusCode::UNAUTHORIZED => ConnectorErrorKind::Authentication,
        StatusCode::FORBIDDEN => ConnectorErrorKind::Permission,
        _ => ConnectorErrorKind::Protocol,
    };
    ConnectorError::new(kind, format!("Microsoft Graph refused {path} ({status}): {said}"))
}

#[cfg(test)]
mod tests;
