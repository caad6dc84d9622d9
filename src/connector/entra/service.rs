//! One call of the provisioning service, until it is answered: token, envelope, redirects, and patience with a busy
//! service (specification: provisioning service 1.5, 2.2, 6.3).

use super::http::{self, Failed};
use super::standing::{SyncRights, rights_in};
use super::token::Tokens;
use crate::connector::{ConnectorError, ConnectorErrorKind, Installation};
use crate::context::Context;
use crate::model::Timestamp;
use crate::protocol::provisioning::{Fault, Request, RequestHeader, Response, decode_response, encode_request};
use bytes::Bytes;
use reqwest::{Client, StatusCode, header};
use secrecy::{ExposeSecret as _, SecretString};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};
use uuid::Uuid;
use zeroize::Zeroizing;

const CONTENT_TYPE: &str = "application/soap+msbin1";
/// The `ApplicationId` of synchronization clients (specification 1.4).
const APPLICATION: &str = "1651564e-7ce4-4d99-88be-0a65050d8dc3";
/// The build of a current client, which the service expects to see.
const BUILD: &str = "2.4.21.0";
/// Asks a tenant that knows the header for pages of this many objects; others ignore it.
const PAGE_SIZE: &str = "x-syncline-page-size";
/// The id of the installation that calls (specification 1.2). The public service is not known to heed it.
const MACHINE_ID: &str = "x-ms-aadmsods-machineid";
/// Tells a tenant that knows the header the machine that calls; others ignore it.
const MACHINE_NAME: &str = "x-syncline-machine-name";
/// How often a call is tried while the service is busy or answers get lost.
const ATTEMPTS: u32 = 10;
/// How often a call is tried while no connection comes about.
const CONNECT_ATTEMPTS: u32 = 3;
/// How often a call follows to another instance.
const HOPS: u32 = 3;
/// How long one attempt may take at least where patience is short.
const SHORT_CALL: Duration = Duration::from_mins(1);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// The provisioning service of one tenant.
pub(super) struct Service {
    client: Client,
    tokens: Tokens,
    /// As configured: says which hosts a redirect may name.
    home: String,
    /// Where calls go now.
    url: RwLock<String>,
    pace: Pace,
    /// Who we are.
    installation: Option<Installation>,
    /// What the service's clock showed in its last answer.
    told: RwLock<Option<Timestamp>>,
}

/// While the service refuses for being busy, calls go one after the other: whoever has the turn waits exactly as long
/// as told, so that no allowance is lost and nobody starves.
#[derive(Default)]
struct Pace {
    busy: AtomicBool,
    turn: Mutex<()>,
}

/// How long a caller waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// Ten attempts, in turn with the other callers while the service is busy.
    Attempts,
    /// As many attempts as begin within this time, whatever the others do: for callers that come again by themselves.
    Within(Duration),
}

/// Why a call has no answer yet.
enum Trouble {
    /// Not now; nothing was done.
    Busy { after: Option<Duration>, fault: Option<Fault> },
    /// The token is not accepted.
    Denied(String),
    /// Ask another instance.
    Elsewhere(String),
    /// Too much in one call.
    TooLarge(String),
    /// No connection; nothing was done.
    Unreachable(String),
    /// Perhaps it was done.
    Lost { reason: String, fault: Option<Fault> },
    /// Trying again changes nothing. Nothing was done.
    Refused(Fault),
    /// Trying again changes nothing.
    Final(ConnectorError),
}

/// Why a call failed for good.
#[derive(Debug)]
pub(super) enum CallError {
    /// The service refused the call as a whole.
    Refused(Fault),
    /// The call is too large: send less at a time.
    TooLarge(String),
    /// Patience is over.
    Exhausted {
        /// What it comes to.
        error: ConnectorError,
        /// The last fault, when the service said something.
        fault: Option<Fault>,
        /// How long the service asked to wait at last.
        after: Option<Duration>,
    },
    /// Everything else.
    Connector(ConnectorError),
}

impl From<CallError> for ConnectorError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Connector(error) | CallError::Exhausted { error, .. } => error,
            CallError::TooLarge(reason) => {
                ConnectorError::new(ConnectorErrorKind::Protocol, format!("the service takes no call of this size: {reason}")).unsent()
            }
            CallError::Refused(fault) if fault.description.contains(Fault::NOT_ACTIVATED) => ConnectorError::new(
                ConnectorErrorKind::Disabled,
                "directory synchronization is switched off in the tenant; switch it on there first",
            )
            .unsent(),
            CallError::Refused(fault) => {
                ConnectorError::new(ConnectorErrorKind::Protocol, format!("the service refused the call{}", told(&fault))).unsent()
            }
        }
    }
}

/// A fault as the end of a sentence.
pub(super) fn told(fault: &Fault) -> String {
    let code = fault.code.map(|code| format!(" (code {code})")).unwrap_or_default();
    let tracking = fault.tracking_id.as_ref().map(|id| format!("; tracking id {id}")).unwrap_or_default();
    format!("{code}: {}{tracking}", fault.description)
}

impl Service {
    pub(super) fn new(client: Client, tokens: Tokens, url: &str, installation: Option<Installation>) -> Self {
        Self {
            client,
            tokens,
            home: url.to_owned(),
            url: RwLock::new(url.to_owned()),
            pace: Pace::default(),
            installation,
            told: RwLock::default(),
        }
    }

    /// By what the tenant lets us in, as far as the token says.
    pub(super) async fn rights(&self, cx: &Context) -> Result<Option<SyncRights>, ConnectorError> {
        Ok(rights_in(&self.tokens.get(cx).await?))
    }

    /// What the service's clock showed when it answered last, if it says so.
    pub(super) fn told(&self) -> Option<Timestamp> {
        *self.told.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks until there is an answer, or ten times. `page`: how many objects a read-back should hold.
    pub(super) async fn call(&self, cx: &Context, request: &Request, page: Option<usize>) -> Result<Response, CallError> {
        self.ask(cx, request, page, Patience::Attempts).await
    }

    /// Asks until there is an answer, or until patience is over.
    pub(super) async fn ask(
        &self,
        cx: &Context,
        request: &Request,
        page: Option<usize>,
        patience: Patience,
    ) -> Result<Response, CallError> {
        let begun = cx.clock.elapsed();
        let in_turn = patience == Patience::Attempts;
        let (mut attempts, mut unreachable, mut hops, mut renewed) = (0, 0, 0, false);
        let mut sent = false;
        let mut turn: Option<MutexGuard<'_, ()>> = None;
        loop {
            if cx.cancelled() {
                return Err(stopped(sent));
            }
            if in_turn && turn.is_none() && self.pace.busy.load(Ordering::Acquire) {
                turn = Some(self.turn(cx, sent).await?);
                continue;
            }
            let token = self.tokens.get(cx).await.map_err(|error| CallError::Connector(known(error, sent)))?;
            let trouble = match self.once(request, &token, page, patience).await {
                Ok(response) => {
                    // Nobody had to wait for this one: the service has recovered.
                    if turn.is_some() && attempts == 0 {
                        self.pace.busy.store(false, Ordering::Release);
                    }
                    return Ok(response);
                }
                Err(trouble) => trouble,
            };
            let (reason, after, fault) = match trouble {
                Trouble::Busy { after, fault } => {
                    if in_turn {
                        self.pace.busy.store(true, Ordering::Release);
                        if turn.is_none() {
                            // What others waited for meanwhile may have passed: ask again first.
                            turn = Some(self.turn(cx, sent).await?);
                            continue;
                        }
                    }
                    ("the service is busy".to_owned(), after, fault)
                }
                Trouble::Lost { reason, fault } => {
                    sent = true;
                    (reason, None, fault)
                }
                Trouble::Unreachable(reason) => {
                    unreachable += 1;
                    if unreachable >= CONNECT_ATTEMPTS {
                        return Err(CallError::Connector(known(Failed::Connect(reason).into(), sent)));
                    }
                    (reason, None, None)
                }
                Trouble::Denied(reason) => {
                    if renewed {
                        let message = format!("the service does not accept our token: {reason}");
                        let error = ConnectorError::new(ConnectorErrorKind::Authentication, message).unsent();
                        return Err(CallError::Connector(known(error, sent)));
                    }
                    renewed = true;
                    self.tokens.forget(&token).await;
                    continue;
                }
                Trouble::Elsewhere(url) => {
                    hops += 1;
                    if hops > HOPS {
                        let message = format!("the service sent us on {HOPS} times and then to {url}");
                        let error = ConnectorError::new(ConnectorErrorKind::Protocol, message).unsent();
                        return Err(CallError::Connector(known(error, sent)));
                    }
                    self.follow(&url).map_err(|error| CallError::Connector(known(error, sent)))?;
                    continue;
                }
                Trouble::TooLarge(reason) => return Err(CallError::TooLarge(reason)),
                Trouble::Refused(fault) => return Err(CallError::Refused(fault)),
                Trouble::Final(error) => return Err(CallError::Connector(known(error, sent))),
            };
            attempts += 1;
            let mut pause = after.unwrap_or_else(|| growing(attempts, cx.seed));
            let over = match patience {
                Patience::Attempts => {
                    pause = pause.min(LONGEST_PAUSE);
                    attempts >= ATTEMPTS
                }
                Patience::Within(limit) => cx.clock.elapsed().saturating_sub(begun).saturating_add(pause) > limit,
            };
            if over {
                let times = if attempts == 1 { "once".to_owned() } else { format!("{attempts} times") };
                let said = fault.as_ref().map(|fault| format!("; it said{}", told(fault))).unwrap_or_default();
                let message = format!("{} was tried {times}; last: {reason}{said}", request.operation());
                let error = known(ConnectorError::new(ConnectorErrorKind::Busy, message).unsent(), sent);
                return Err(CallError::Exhausted { error, fault, after });
            }
            tracing::debug!(operation = request.operation(), attempt = attempts, pause_ms = pause.as_millis(), %reason, "the call is repeated");
            tokio::select! {
                () = cx.cancel.cancelled() => return Err(stopped(sent)),
                () = cx.clock.sleep(pause) => {}
            }
        }
    }

    /// Waits for the turn, unless the run is told to stop first.
    async fn turn(&self, cx: &Context, sent: bool) -> Result<MutexGuard<'_, ()>, CallError> {
        tokio::select! {
            biased;
            () = cx.cancel.cancelled() => Err(stopped(sent)),
            turn = self.pace.turn.lock() => Ok(turn),
        }
    }

    async fn once(&self, request: &Request, token: &SecretString, page: Option<usize>, patience: Patience) -> Result<Response, Trouble> {
        let url = self.url.read().unwrap_or_else(PoisonError::into_inner).clone();
        let id = Uuid::new_v4().hyphenated().to_string();
        let header = RequestHeader {
            application_id: APPLICATION.to_owned(),
            bearer_token: Zeroizing::new(token.expose_secret().to_owned()),
            build: BUILD.to_owned(),
            message_id: id.clone(),
            to: url.clone(),
            operation: String::new(),
        };
        let operation = request.operation();
        // Tokens and password hashes are in it: wiped when the last reader drops it.
        let body = Bytes::from_owner(Zeroizing::new(encode_request(&header, request, Vec::new())));
        let mut post = self
            .client
            .post(&url)
            .header(header::CONTENT_TYPE, CONTENT_TYPE)
            .header("x-ms-aadmsods-apiaction", operation)
            .header("x-ms-aadmsods-appid", APPLICATION)
            .header("x-ms-aadmsods-clientversion", "8.0")
            .header("x-ms-aadmsods-dirsyncbuildnumber", BUILD)
            .header("x-ms-aadmsods-fimbuildnumber", BUILD)
            .header("client-request-id", id)
            .body(body);
        if let Some(page) = page {
            post = post.header(PAGE_SIZE, page);
        }
        if let Some(installation) = &self.installation {
            // A name that is no text of a header is left out: the id says enough.
            for (name, text) in [(MACHINE_ID, &installation.id), (MACHINE_NAME, &installation.name)] {
                if let Ok(value) = header::HeaderValue::from_str(text) {
                    post = post.header(name, value);
                }
            }
        }
        if let Patience::Within(limit) = patience {
            post = post.timeout(limit.max(SHORT_CALL));
        }
        let response = post.send().await.map_err(|error| trouble_of(http::failed(&error)))?;
        let (status, after) = (response.status(), retry_after(response.headers()));
        *self.told.write().unwrap_or_else(PoisonError::into_inner) = http::date(response.headers());
        if status == StatusCode::PAYLOAD_TOO_LARGE {
            return Err(Trouble::TooLarge(status.to_string()));
        }
        let body = http::body(response).await.map_err(trouble_of)?;
        let decoded = http::off_thread(move || decode_response(operation, &body)).await.map_err(Trouble::Final)?;
        match decoded {
            Ok(Ok(response)) if status.is_success() => Ok(response),
            Ok(Err(fault)) => Err(trouble_of_fault(status, after, fault)),
            _ if is_busy(status) => Err(Trouble::Busy { after, fault: None }),
            Ok(Ok(_)) => Err(Trouble::Lost { reason: format!("the service answered {status}"), fault: None }),
            Err(_) if status == StatusCode::UNAUTHORIZED => Err(Trouble::Denied(status.to_string())),
            Err(_) if status == StatusCode::FORBIDDEN => Err(forbidden(&status.to_string())),
            Err(error) if status.is_success() => Err(Trouble::Final(ConnectorError::new(
                ConnectorErrorKind::Protocol,
                format!("the answer of {url} to {operation} cannot be read: {error}"),
            ))),
            Err(_) if status.is_server_error() => Err(Trouble::Lost { reason: format!("the service answered {status}"), fault: None }),
            Err(_) => Err(Trouble::Final(
                ConnectorError::new(
                    ConnectorErrorKind::Protocol,
                    format!("{url} answered {status} and nothing of the provisioning service; check provisioning_url"),
                )
                .unsent(),
            )),
        }
    }

    /// Goes to the host that a redirect names from now on. The path stays.
    fn follow(&self, target: &str) -> Result<(), ConnectorError> {
        let moved = http::redirected(&self.home, target).map_err(|reason| {
            ConnectorError::new(ConnectorErrorKind::Protocol, format!("the service sent us on to '{target}': {reason}")).unsent()
        })?;
        *self.url.write().unwrap_or_else(PoisonError::into_inner) = moved;
        Ok(())
    }
}

/// An error behind attempts of which one may have been carried out (`sent`).
fn known(error: ConnectorError, sent: bool) -> ConnectorError {
    ConnectorError { nothing_sent: error.nothing_sent && !sent, ..error }
}

/// The run was told to stop before this call had an answer.
fn stopped(sent: bool) -> CallError {
    CallError::Connector(known(
        ConnectorError::new(ConnectorErrorKind::Cancelled, "stopped before the service had answered").unsent(),
        sent,
    ))
}

fn trouble_of(failed: Failed) -> Trouble {
    match failed {
        Failed::Connect(reason) => Trouble::Unreachable(reason),
        Failed::Lost(reason) => Trouble::Lost { reason, fault: None },
        certificate @ Failed::Certificate(_) => Trouble::Final(certificate.into()),
    }
}

fn trouble_of_fault(status: StatusCode, after: Option<Duration>, fault: Fault) -> Trouble {
    if let Some(url) = fault.redirect.as_ref().filter(|url| !url.is_empty()) {
        Trouble::Elsewhere(url.clone())
    } else if fault.code == Some(Fault::BUSY) || is_busy(status) {
        Trouble::Busy { after, fault: Some(Fault { redirect: None, ..fault }) }
    } else if status == StatusCode::FORBIDDEN {
        forbidden(&fault.description)
    } else if status == StatusCode::UNAUTHORIZED || fault.description.contains("AuthenticationFault") {
        Trouble::Denied(fault.description)
    } else if fault.sender {
        Trouble::Refused(Fault { redirect: None, ..fault })
    } else {
        // The service itself failed; what it had done by then is unknown, and doing it again is harmless.
        Trouble::Lost { reason: fault.description.clone(), fault: Some(Fault { redirect: None, ..fault }) }
    }
}

/// Our account is known, but may not do this.
fn forbidden(reason: &str) -> Trouble {
    Trouble::Final(
        ConnectorError::new(
            ConnectorErrorKind::Permission,
            format!("our account may not synchronize with this tenant ({reason}); give it the role Directory Synchronization Accounts"),
        )
        .unsent(),
    )
}

pub(super) fn is_busy(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
}

/// Seconds, also with a fraction. A date (RFC 9110 section 10.2.3) is left to our own growing pauses.
pub(super) fn retry_after(headers: &header::HeaderMap) -> Option<Duration> {
    let seconds: f64 = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds.max(0.0)).ok()
}

/// From one second to five minutes, doubling, with up to half of it added by chance so that clients do not march in step.
pub(super) fn growing(attempt: u32, seed: u64) -> Duration {
    let base = FIRST_PAUSE.saturating_mul(1 << attempt.saturating_sub(1).min(9)).min(LONGEST_PAUSE);
    let chance = xxhash_rust::xxh3::xxh3_64_with_seed(&attempt.to_le_bytes(), seed) % 1_000;
    base + base.mul_f64(f64::from(u32::try_from(chance).unwrap_or(0)) / 2_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let pauses: Vec<Duration> = (1..=12).map(|attempt| growing(attempt, 7)).collect();
        assert!(pauses[0] >= FIRST_PAUSE && pauses[0] < FIRST_PAUSE * 2, "{pauses:?}");
        assert!(pauses.windows(2).take(8).all(|pair| pair[0] < pair[1]), "{pauses:?}");
        assert!(pauses.iter().all(|pause| *pause <= LONGEST_PAUSE.mul_f64(1.5)), "{pauses:?}");
    }

    #[test]
    fn faults_sort_into_what_helps() {
        let fault = |code, description: &str, sender| Fault { sender, code, ..Fault::sender(description) };
        let of = |status, fault| trouble_of_fault(status, None, fault);
        let error = StatusCode::INTERNAL_SERVER_ERROR;
        assert!(matches!(of(error, fault(Some(81), "busy", true)), Trouble::Busy { .. }));
        assert!(matches!(of(StatusCode::TOO_MANY_REQUESTS, fault(None, "", true)), Trouble::Busy { .. }));
        assert!(matches!(of(StatusCode::UNAUTHORIZED, fault(None, "no", true)), Trouble::Denied(_)));
        assert!(matches!(of(error, fault(None, Fault::NOT_ACTIVATED, true)), Trouble::Refused(_)));
        assert!(matches!(of(error, fault(None, "broken", false)), Trouble::Lost { .. }));
        assert!(
            matches!(of(StatusCode::FORBIDDEN, fault(None, "no", true)), Trouble::Final(error) if error.kind == ConnectorErrorKind::Permission)
        );
        let moved = Fault { redirect: Some("https://other/".to_owned()), ..Fault::sender("") };
        assert!(matches!(of(error, moved), Trouble::Elsewhere(_)));
    }
}
