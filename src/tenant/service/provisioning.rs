//! The provisioning service: binary SOAP in, binary SOAP out (specification: provisioning service 1 to 6).

use super::login::{GRAPH_WINDOWS, SYNC_RESOURCE, caller};
use super::{App, Shared, close_connection};
use crate::model::Timestamp;
use crate::protocol::nbfx::DecodeError;
use crate::protocol::provisioning::{
    CompanyConfiguration, CredentialChange as SentCredential, CredentialResult as CredentialAnswer, Fault, PropertyValue as Sent, ReadBack,
    Request as Call, RequestHeader, Response as Answer, SyncObject, SyncResult, decode_request, encode_fault, encode_response,
};
use crate::tenant::directory::{
    CookieError, CredentialChange, CredentialResult, Effect, FaultCode, Features, Incoming, ObjectFault, ObjectKind, Operation, Outcome,
    PropertyValue, ReadBackItem, ReadBackRequest, ReferenceChange, SyncChange,
};
use crate::tenant::faults::{Fate, FaultKind, FaultRule, Service};
use crate::tenant::settings::random_text;
use crate::tenant::state::Writer;
use crate::tenant::{Tenant, TenantError};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use uuid::Uuid;

const PATH: &str = "/provisioningservice.svc";
const CONTENT_TYPE: &str = "application/soap+msbin1";
/// A client that pages says so with this header (specification: provisioning service 3.5).
const PAGE_SIZE: &str = "x-syncline-page-size";
const MAX_PAGE: usize = 10_000;
/// Clients say by these which installation they are (specification: provisioning service 1.2; the name is our own).
const MACHINE_ID: &str = "x-ms-aadmsods-machineid";
const MACHINE_NAME: &str = "x-syncline-machine-name";
/// What a client sends that has no id (specification: provisioning service 1.2).
const NO_MACHINE: &str = "not-available";
/// Longer ids and names are nobody's.
const MACHINE_MAX: usize = 100;
/// Who writes is noted at most so often, in microseconds.
const NOTED_EVERY: i64 = 60_000_000;
/// References in one batch of the second version.
const MAX_LINKS: usize = 15_000;
/// Password hashes in one batch.
const MAX_CREDENTIALS: usize = 50;
/// The result of a password hash that a rule for objects rejects.
const MALFORMED_ON_DEMAND: i32 = 3;
const BUSY: &str = "Azure Active Directory is currently busy. This operation will be retried automatically.";
const DENIED: &str =
    "Access to Azure Active Directory has been denied. The access token is missing, expired, or for another tenant or resource.";
const PASSWORD_SYNC_OFF: &str = "Password Synchronization has not been activated for this company.";
const CAPABILITIES: &str = "<ServiceCapability><MicrosoftOnline><Protocol><Application><LatestProductVersion>3.2</LatestProductVersion>\
    <MinimumProductVersion>1.0</MinimumProductVersion><BlackList Enabled=\"false\"></BlackList></Application></Protocol></MicrosoftOnline>\
    </ServiceCapability>";

/// Everything that no other route takes.
pub(super) async fn handle(State(app): State<Shared>, method: Method, uri: Uri, headers: HeaderMap, body: Body) -> Response {
    if !uri.path().trim_end_matches('/').eq_ignore_ascii_case(PATH) {
        return StatusCode::NOT_FOUND.into_response();
    }
    match method {
        Method::GET | Method::HEAD => Html("<html><body><h1>ProvisioningWebService Service</h1></body></html>").into_response(),
        Method::POST => call(&app, &headers, body).await,
        _ => (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, POST")]).into_response(),
    }
}

/// Why a call as a whole was refused.
struct Refused {
    status: StatusCode,
    fault: Fault,
    retry_after: Option<f64>,
}

impl Refused {
    fn sender(description: impl Into<String>) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, fault: Fault::sender(description), retry_after: None }
    }

    fn coded(code: u32, sender: bool, description: &str) -> Self {
        let mut refused = Self::sender(description);
        refused.fault.code = Some(code);
        refused.fault.sender = sender;
        refused
    }

    fn busy() -> Self {
        Self::coded(Fault::BUSY, false, BUSY)
    }

    fn denied() -> Self {
        Self { status: StatusCode::UNAUTHORIZED, ..Self::sender(DENIED) }
    }

    fn failed() -> Self {
        let mut refused = Self::sender("The tenant failed; its log says why.");
        refused.fault.sender = false;
        refused
    }
}

impl From<TenantError> for Refused {
    fn from(error: TenantError) -> Self {
        tracing::error!(%error, "a call of the provisioning service failed");
        Self::failed()
    }
}

impl From<crate::tenant::directory::DirectoryError> for Refused {
    fn from(error: crate::tenant::directory::DirectoryError) -> Self {
        TenantError::from(error).into()
    }
}

async fn call(app: &App, headers: &HeaderMap, body: Body) -> Response {
    let kind = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default().to_ascii_lowercase());
    // Session encoding and text have no place here; a client that names no type is heard.
    if kind.is_some_and(|kind| kind.split(';').next().unwrap_or_default().trim() != CONTENT_TYPE) {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    }
    let limit = app.tenant.settings().max_request;
    let Ok(body): Result<Bytes, _> = axum::body::to_bytes(body, limit).await else {
        let refused = Refused::sender(format!("The request is larger than {limit} octets or ended early."));
        return answer_refused(&RequestHeader::default(), "", refused);
    };
    let decoded = app.blocking(move |_| decode_request(&body)).await;
    let (head, request) = match decoded {
        Ok(Ok((head, Some(request)))) => (head, request),
        Ok(Ok((head, None))) => {
            let operation = head.operation.clone();
            let description = format!("The operation {operation} is not supported by this service (ActionNotSupported).");
            return answer_refused(&head, &operation, Refused::sender(description));
        }
        Ok(Err(error)) => return answer_refused(&RequestHeader::default(), "", malformed(&error)),
        Err(_) => return answer_refused(&RequestHeader::default(), "", Refused::failed()),
    };
    let operation = request.operation();
    app.tenant.traffic().call(operation);
    let fate = app.tenant.faults().decide_over(Service::Provisioning, operation, |anchor| names(&request, anchor));
    if let Some(delay) = fate.delay {
        app.tenant.traffic().fault("slow");
        app.tenant.context().clock.sleep(delay).await;
    }
    if let Some(rule) = &fate.fault {
        app.tenant.traffic().fault(rule.kind.as_str());
        tracing::debug!(operation, kind = rule.kind.as_str(), "a fault on demand");
    }
    match fate.fault.as_ref().map(|rule| &rule.kind) {
        Some(FaultKind::DropBefore) => return close_connection(),
        Some(FaultKind::Busy | FaultKind::Throttle | FaultKind::Unauthorized | FaultKind::Redirect) => {
            let refused = on_demand(fate.fault.as_ref());
            return answer_refused(&head, operation, refused);
        }
        _ => {}
    }
    let page_size = headers.get(PAGE_SIZE).and_then(|value| value.to_str().ok()).and_then(|value| value.parse().ok());
    let machine = machine_of(headers);
    let drop_answer = fate.fault.as_ref().is_some_and(|rule| rule.kind == FaultKind::DropAnswer);
    let relates_to = head.message_id.clone();
    let outcome = app
        .blocking(move |tenant| {
            let page_size = page_size.map(|size: usize| size.clamp(1, MAX_PAGE));
            let work = Work { tenant, head: &head, page_size, fate: &fate, machine };
            let outcome = work.run(request);
            outcome.map(|answer| encode_response(operation, &head.message_id, &answer)).map_err(|refused| Box::new((head, refused)))
        })
        .await;
    if drop_answer {
        return close_connection();
    }
    match outcome {
        Ok(Ok(bytes)) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], bytes).into_response(),
        Ok(Err(refused)) => {
            let (head, refused) = *refused;
            answer_refused(&head, operation, refused)
        }
        Err(_) => answer_refused(&RequestHeader { message_id: relates_to, ..RequestHeader::default() }, operation, Refused::failed()),
    }
}

/// Which installation a client says that it is.
fn machine_of(headers: &HeaderMap) -> Option<(String, Option<String>)> {
    let text = |name: &str| {
        let text = headers.get(name)?.to_str().ok()?.trim();
        (!text.is_empty() && text.len() <= MACHINE_MAX).then(|| text.to_owned())
    };
    text(MACHINE_ID).filter(|id| !id.eq_ignore_ascii_case(NO_MACHINE)).map(|id| (id, text(MACHINE_NAME)))
}

/// Whether a call is about the object with this source or cloud anchor.
fn names(request: &Call, anchor: &str) -> bool {
    match request {
        Call::ProvisionObjects { objects, .. } => {
            objects.iter().any(|object| object.text("SourceAnchor") == Some(anchor) || object.text("CloudAnchor") == Some(anchor))
        }
        Call::ProvisionCredentials(items) => {
            items.iter().any(|item| item.source_anchor.as_deref() == Some(anchor) || item.cloud_anchor.as_deref() == Some(anchor))
        }
        _ => false,
    }
}

fn malformed(error: &DecodeError) -> Refused {
    Refused::sender(format!("The formatter threw an exception while trying to deserialize the message: {error}."))
}

fn on_demand(rule: Option<&FaultRule>) -> Refused {
    let Some(rule) = rule else { return Refused::failed() };
    let mut refused = match rule.kind {
        FaultKind::Unauthorized => Refused::denied(),
        FaultKind::Redirect => {
            let mut refused = Refused::sender("Binding redirection.");
            refused.fault.redirect = Some(rule.url.clone().unwrap_or_default());
            refused
        }
        FaultKind::Throttle => Refused { status: StatusCode::TOO_MANY_REQUESTS, ..Refused::busy() },
        _ => Refused::busy(),
    };
    refused.retry_after = (rule.retry_after > 0.0).then_some(rule.retry_after);
    refused
}

fn answer_refused(head: &RequestHeader, operation: &str, mut refused: Refused) -> Response {
    refused.fault.tracking_id = Some(Uuid::new_v4().hyphenated().to_string());
    let body = encode_fault(operation, &head.message_id, &refused.fault);
    let mut response = (refused.status, [(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response();
    if let Some(seconds) = refused.retry_after
        && let Ok(value) = HeaderValue::from_str(&format!("{seconds:.3}"))
    {
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
    response
}

/// One call being carried out.
struct Work<'a> {
    tenant: &'a Tenant,
    head: &'a RequestHeader,
    page_size: Option<usize>,
    fate: &'a Fate,
    /// The id and the name of the installation that calls.
    machine: Option<(String, Option<String>)>,
}

impl Work<'_> {
    fn run(&self, request: Call) -> Result<Answer, Refused> {
        let operation = request.operation();
        if self.head.operation != operation {
            let action = &self.head.operation;
            return Err(Refused::sender(format!("The action {action:?} does not go with the body {operation} (ActionMismatch).")));
        }
        self.authorize()?;
        self.tenant.tick()?;
        self.remember_client()?;
        if matches!(
            request,
            Call::ProvisionObjects { .. } | Call::ReadBack { .. } | Call::ProvisionCredentials(_) | Call::FinalizeExport { .. }
        ) && !self.tenant.state().accepts_synchronization()
        {
            return Err(Refused::sender(Fault::NOT_ACTIVATED));
        }
        // Who only looks is none that writes: an installation in staging mode reads all the time.
        if matches!(request, Call::ProvisionObjects { .. } | Call::ProvisionCredentials(_) | Call::FinalizeExport { .. }) {
            self.remember_writer()?;
        }
        match request {
            Call::GetCompanyConfiguration { .. } => self.company(),
            Call::SetCompanyDirsyncFeatures { features } => {
                let bits = i32::try_from(features).map_err(|_| Refused::sender("dirsyncFeatures is no 32-bit number."))?;
                self.tenant.update_state(|state| state.features = Features(bits | (state.features.0 & Features::STICKY)))?;
                Ok(Answer::Empty)
            }
            Call::Capabilities => Ok(Answer::Text(CAPABILITIES.to_owned())),
            Call::ProvisionObjects { second, objects } => self.provision(operation, second, objects),
            Call::ReadBack { full, cookie, .. } => self.read_back(full, cookie),
            Call::ProvisionCredentials(items) => self.credentials(items),
            Call::FinalizeExport { total, successful } => {
                let now = self.tenant.now().0;
                self.tenant.update_state(|state| {
                    state.last_export = (total, successful);
                    state.last_synchronization = Some(now);
                })?;
                Ok(Answer::Empty)
            }
            Call::GetServiceAccount { identifier } => self.service_account(&identifier),
            Call::GetDeviceConfiguration => Ok(Answer::DeviceConfiguration { cloud: Vec::new(), public: Vec::new() }),
            Call::GetWindowsCredentialsSyncConfig => Ok(Answer::Members(vec![
                ("EnableWindowsLegacyCredentials".to_owned(), Some("false".to_owned())),
                ("EnableWindowsSupplementaCredentials".to_owned(), Some("false".to_owned())),
                ("SecretEncryptionCertificate".to_owned(), None),
            ])),
            Call::GetKerberosDomainSyncConfig | Call::GetKerberosDomain | Call::GetMonitoringTenantCertificate => {
                Ok(Answer::Members(Vec::new()))
            }
        }
    }

    fn authorize(&self) -> Result<(), Refused> {
        let token = self.head.bearer_token.as_bytes();
        let known = |text: &SecretString| bool::from(text.expose_secret().as_bytes().ct_eq(token));
        if self.tenant.settings().test_tokens.iter().any(known) {
            return Ok(());
        }
        match caller(self.tenant, &self.head.bearer_token, &[GRAPH_WINDOWS, SYNC_RESOURCE]) {
            Some(caller) if caller.privileged => Ok(()),
            _ => Err(Refused::denied()),
        }
    }

    fn remember_client(&self) -> Result<(), TenantError> {
        let (application, build) = (Some(&self.head.application_id), Some(&self.head.build));
        let known = {
            let state = self.tenant.state();
            state.client_application.as_ref() == application && state.client_version.as_ref() == build
        };
        if !known {
            self.tenant.update_state(|state| {
                state.client_application = application.cloned();
                state.client_version = build.cloned();
            })?;
        }
        Ok(())
    }

    fn remember_writer(&self) -> Result<(), TenantError> {
        let Some((id, name)) = &self.machine else { return Ok(()) };
        let now = self.tenant.now().0;
        let noted = |known: &Writer| known.id == *id && known.name == *name && (0..NOTED_EVERY).contains(&(now - known.at));
        if self.tenant.state().last_writer.as_ref().is_some_and(noted) {
            return Ok(());
        }
        let writer = Writer { id: id.clone(), name: name.clone(), at: now };
        self.tenant.update_state(|state| state.last_writer = Some(writer))
    }

    fn company(&self) -> Result<Answer, Refused> {
        let objects = self.tenant.directory().read()?.live()?;
        let state = self.tenant.state();
        let some = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let percentage = state.deletion_prevention == "enabledForPercentage";
        let threshold = i64::from(state.deletion_threshold);
        let mut prevention = state.deletion_prevention.clone();
        if let Some(first) = prevention.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        Ok(Answer::CompanyConfiguration(Box::new(CompanyConfiguration {
            anchor_attribute: Some("mS-DS-ConsistencyGuid".to_owned()),
            application_version: some(&state.client_application),
            client_version: some(&state.client_version),
            machine_name: state.last_writer.as_ref().and_then(|writer| writer.name.clone()),
            machine_id: state.last_writer.as_ref().map(|writer| writer.id.clone()),
            last_contact: state.last_writer.as_ref().map(|writer| Timestamp(writer.at).to_string()),
            total_connector_space_objects: i64::try_from(objects).unwrap_or(i64::MAX),
            deletion_prevention: prevention,
            threshold_count: if percentage { 0 } else { threshold },
            threshold_percentage: if percentage { threshold } else { 0 },
            features: i64::from(state.features.0),
            display_name: state.name.clone(),
            is_dir_syncing: state.accepts_synchronization(),
            is_password_syncing: state.features.has(Features::PASSWORD_HASH_SYNC),
            links_max: i64::try_from(MAX_LINKS).unwrap_or(i64::MAX),
            interval: "PT30M".to_owned(),
            tenant_id: state.tenant_id.hyphenated().to_string(),
        })))
    }

    /// Lets a write through the token bucket, or says when to come again.
    fn pay(&self, writes: usize) -> Result<(), Refused> {
        let now = self.tenant.context().clock.elapsed();
        #[expect(clippy::cast_precision_loss, reason = "a batch is small")]
        let cost = writes as f64;
        let refused = self.tenant.bucket().as_mut().and_then(|bucket| bucket.take(cost, now).err());
        match refused {
            None => Ok(()),
            Some(seconds) => {
                self.tenant.traffic().fault("throttled");
                Err(Refused { status: StatusCode::TOO_MANY_REQUESTS, retry_after: Some(seconds.max(0.001)), ..Refused::busy() })
            }
        }
    }

    fn provision(&self, operation: &str, second: bool, objects: Vec<SyncObject>) -> Result<Answer, Refused> {
        let limit = self.tenant.settings().max_batch;
        if objects.len() > limit {
            return Err(Refused::sender(format!("The batch has {} objects; {limit} are allowed.", objects.len())));
        }
        let links: usize = objects.iter().flat_map(|object| &object.properties).map(|(name, value)| links(name, value)).sum();
        if second && links > MAX_LINKS {
            return Err(Refused::sender(format!("The batch has {links} references; {MAX_LINKS} are allowed.")));
        }
        self.pay(objects.len())?;
        let mut changes: Vec<Result<SyncChange, Box<SyncResult>>> = objects.into_iter().map(change_of).collect();
        let kind = self.fate.fault.as_ref().map(|rule| &rule.kind);
        if kind == Some(&FaultKind::Partial) {
            changes.truncate(changes.len() / 2);
        }
        if kind == Some(&FaultKind::Reject)
            && let Some(first) = changes.iter_mut().find(|change| {
                change.as_ref().is_ok_and(|change| self.rejects(change.source_anchor.as_ref(), change.cloud_anchor.as_ref()))
            })
        {
            let code = self.fate.fault.as_ref().and_then(|rule| rule.code.as_deref()).and_then(FaultCode::parse);
            let fault = ObjectFault::new(code.unwrap_or(FaultCode::DataValidationFailed), "A fault on demand.");
            if let Ok(change) = first {
                *first =
                    Err(Box::new(refused_object(change.kind.as_str(), change.operation.as_str(), change.source_anchor.clone(), &fault)));
            }
        }
        let mut results = self.apply(operation, &changes)?;
        if kind == Some(&FaultKind::Duplicate) {
            results = self.apply(operation, &changes)?;
        }
        if kind == Some(&FaultKind::Partial) {
            return Err(Refused::busy());
        }
        Ok(Answer::Results(results))
    }

    fn apply(&self, operation: &str, changes: &[Result<SyncChange, Box<SyncResult>>]) -> Result<Vec<SyncResult>, Refused> {
        let good: Vec<&SyncChange> = changes.iter().filter_map(|change| change.as_ref().ok()).collect();
        let outcomes = self.tenant.directory().apply(&good, &self.tenant.policy())?;
        self.tenant.traffic().batch(operation, &good, &outcomes);
        let mut outcomes = outcomes.into_iter();
        let merged = changes.iter().filter_map(|change| match change {
            Ok(_) => outcomes.next().map(result_of),
            Err(result) => Some(result.as_ref().clone()),
        });
        Ok(merged.collect())
    }

    /// Whether a fault on demand is for the object with these anchors. A rule without an anchor takes the first it meets.
    fn rejects(&self, source_anchor: Option<&String>, cloud_anchor: Option<&String>) -> bool {
        let wanted = self.fate.fault.as_ref().and_then(|rule| rule.anchor.as_ref());
        wanted.is_none_or(|wanted| source_anchor == Some(wanted) || cloud_anchor == Some(wanted))
    }

    fn read_back(&self, full: bool, cookie: Option<String>) -> Result<Answer, Refused> {
        let page_size = self.page_size.or_else(|| cookie.is_some().then_some(self.tenant.settings().read_back_page));
        let request = ReadBackRequest { cookie, full, page_size };
        let page = self.tenant.directory().read()?.read_back(&request).map_err(|error| match error {
            CookieError::Directory(error) => Refused::from(error),
            other => Refused::sender(other.to_string()),
        })?;
        self.tenant.traffic().read_back += page.items.len() as u64;
        let objects = page.items.into_iter().map(object_of).collect();
        Ok(Answer::ReadBack(ReadBack { cookie: Some(page.cookie), more: page.more, objects }))
    }

    fn credentials(&self, items: Vec<SentCredential>) -> Result<Answer, Refused> {
        if !self.tenant.state().features.has(Features::PASSWORD_HASH_SYNC) {
            return Err(Refused::coded(Fault::PASSWORD_SYNC_OFF, true, PASSWORD_SYNC_OFF));
        }
        if items.len() > MAX_CREDENTIALS {
            return Err(Refused::sender(format!("The batch has {} password hashes; {MAX_CREDENTIALS} are allowed.", items.len())));
        }
        self.pay(items.len())?;
        let mut changes: Vec<CredentialChange> = items.into_iter().map(credential_of).collect();
        let fault = self.fate.fault.as_ref();
        let partial = fault.is_some_and(|rule| rule.kind == FaultKind::Partial);
        if partial {
            changes.truncate(changes.len() / 2);
        }
        let on_demand = fault.filter(|rule| rule.kind == FaultKind::Reject);
        let rejected = on_demand.and_then(|rule| {
            let at = changes.iter().position(|change| self.rejects(change.source_anchor.as_ref(), change.cloud_anchor.as_ref()))?;
            Some((changes.remove(at), at, rule.credential_code().unwrap_or(MALFORMED_ON_DEMAND)))
        });
        let apply = || {
            if changes.is_empty() { Ok(Vec::new()) } else { self.tenant.directory().apply_credentials(&changes, &self.tenant.policy()) }
        };
        let mut results = apply()?;
        if fault.is_some_and(|rule| rule.kind == FaultKind::Duplicate) {
            results = apply()?;
        }
        self.tenant.traffic().credentials(results.iter().map(|result| result.number()).chain(rejected.iter().map(|(_, _, code)| *code)));
        // An empty call is the sign of life of a client that has nothing to send.
        let now = self.tenant.now().0;
        self.tenant.update_state(|state| state.last_password_synchronization = Some(now))?;
        if partial {
            return Err(Refused::busy());
        }
        let mut answers: Vec<CredentialAnswer> =
            changes.into_iter().zip(results).map(|(change, result)| credential_answer(change, result)).collect();
        if let Some((change, at, code)) = rejected {
            let answer = CredentialAnswer {
                cloud_anchor: change.cloud_anchor,
                extended_error: Some("A fault on demand.".to_owned()),
                result: i64::from(code),
                source_anchor: change.source_anchor,
            };
            answers.insert(at, answer);
        }
        Ok(Answer::Credentials(answers))
    }

    fn service_account(&self, identifier: &str) -> Result<Answer, Refused> {
        let good = !identifier.is_empty()
            && identifier.len() <= 64
            && identifier.chars().all(|character| character.is_ascii_alphanumeric() || "_-.".contains(character));
        if !good {
            return Err(Refused::sender(
                "The identifier is empty, longer than 64 characters, or holds characters that sign-in names cannot have.",
            ));
        }
        let password = random_text();
        let user_name = self.tenant.make_sync_account(identifier, Some(&SecretString::from(password.clone())))?;
        Ok(Answer::ServiceAccount { user_name, password })
    }
}

/// How many references a value holds.
fn links(name: &str, value: &Sent) -> usize {
    match value {
        Sent::ReferenceChanges(changes) => changes.len(),
        Sent::TextList(texts) if crate::tenant::directory::ReferenceAttribute::by_name(name).is_some() => texts.len(),
        _ => 0,
    }
}

/// A sent object as a change, or the answer that refuses it.
fn change_of(object: SyncObject) -> Result<SyncChange, Box<SyncResult>> {
    let (mut source_anchor, mut cloud_anchor) = (None, None);
    let mut properties = Vec::with_capacity(object.properties.len());
    for (name, value) in object.properties {
        let anchor = if name.eq_ignore_ascii_case("SourceAnchor") {
            &mut source_anchor
        } else if name.eq_ignore_ascii_case("CloudAnchor") {
            &mut cloud_anchor
        } else {
            properties.push((name, incoming_of(value)));
            continue;
        };
        *anchor = match value {
            Sent::Text(text) if !text.is_empty() => Some(text),
            Sent::Long(number) => Some(number.to_string()),
            _ => None,
        };
    }
    if let (Some(kind), Some(operation)) = (ObjectKind::parse(&object.object_type), Operation::parse(&object.operation)) {
        return Ok(SyncChange { kind, operation, source_anchor, cloud_anchor, properties });
    }
    let fault = ObjectFault::new(
        FaultCode::DataValidationFailed,
        format!("SyncObjectType {:?} or SyncOperation {:?} is not known.", object.object_type, object.operation),
    );
    Err(Box::new(refused_object(&object.object_type, &object.operation, source_anchor, &fault)))
}

fn incoming_of(value: Sent) -> Incoming {
    Incoming::Value(match value {
        Sent::Null => return Incoming::Clear,
        Sent::ReferenceChanges(changes) => {
            let changes = changes.into_iter().map(|change| ReferenceChange {
                anchor: change.anchor,
                by_cloud_anchor: change.by_cloud_anchor,
                add: change.add,
            });
            return Incoming::References(changes.collect());
        }
        Sent::Text(text) => PropertyValue::Text(text),
        Sent::Boolean(boolean) => PropertyValue::Boolean(boolean),
        Sent::Long(number) => PropertyValue::Integer(number),
        Sent::Binary(octets) => PropertyValue::Binary(octets),
        Sent::TextList(texts) => PropertyValue::Texts(texts),
        Sent::BinaryList(values) => PropertyValue::Binaries(values),
    })
}

fn result_of(outcome: Outcome) -> SyncResult {
    let kind = outcome.kind.as_str();
    match outcome.result {
        Ok(effect) => SyncResult {
            cloud_anchor: outcome.cloud_anchor,
            error_details: Vec::new(),
            object_type: kind.to_owned(),
            success: true,
            error_code: 0,
            error_description: None,
            source_anchor: outcome.source_anchor,
            // What was done, not what was asked for: a `Set` of an unknown object is an `Add`.
            operation: if effect == Effect::Created {
                "Add".to_owned()
            } else if outcome.operation == Operation::Delete {
                "Delete".to_owned()
            } else {
                "Set".to_owned()
            },
        },
        Err(fault) => refused_object(kind, outcome.operation.as_str(), outcome.source_anchor, &fault),
    }
}

fn refused_object(kind: &str, operation: &str, source_anchor: Option<String>, fault: &ObjectFault) -> SyncResult {
    let mut error_details = vec![("ErrorCategory".to_owned(), fault.code.as_str().to_owned())];
    if let Some(conflict) = &fault.conflict {
        error_details.push(("ObjectIdInConflict".to_owned(), conflict.object_id.clone()));
        error_details.push(("AttributeConflictName".to_owned(), conflict.attribute.clone()));
        error_details.push(("AttributeConflictValues".to_owned(), conflict.values.clone()));
    }
    SyncResult {
        cloud_anchor: None,
        error_details,
        object_type: kind.to_owned(),
        success: false,
        error_code: u32::try_from(fault.code.number()).unwrap_or(0),
        error_description: Some(fault.description.clone()),
        source_anchor,
        operation: operation.to_owned(),
    }
}

fn object_of(item: ReadBackItem) -> SyncObject {
    let properties = item.properties.into_iter().map(|property| {
        let value = match property.value {
            PropertyValue::Text(text) => Sent::Text(text),
            PropertyValue::Boolean(boolean) => Sent::Boolean(boolean),
            PropertyValue::Integer(number) => Sent::Long(number),
            PropertyValue::Binary(octets) => Sent::Binary(octets),
            PropertyValue::Texts(texts) => Sent::TextList(texts),
            PropertyValue::Binaries(values) => Sent::BinaryList(values),
        };
        (property.name, value)
    });
    SyncObject {
        properties: properties.collect(),
        object_type: item.kind.as_str().to_owned(),
        operation: if item.deleted { "Delete".to_owned() } else { "Set".to_owned() },
    }
}

fn credential_of(item: SentCredential) -> CredentialChange {
    CredentialChange {
        source_anchor: item.source_anchor.filter(|anchor| !anchor.is_empty()),
        cloud_anchor: item.cloud_anchor.filter(|anchor| !anchor.is_empty()),
        data: SecretString::from(item.credential_data.as_str()),
        changed: change_date(&item.change_date),
        force_change: item.force_change,
    }
}

/// Microseconds of a date whose time zone one client leaves out; it means UTC.
fn change_date(text: &str) -> Option<i64> {
    let text = text.trim();
    let zoned = if text.ends_with('Z') || text.get(10..).is_some_and(|time| time.contains(['+', '-'])) {
        text.to_owned()
    } else {
        format!("{text}Z")
    };
    zoned.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_microsecond)
}

fn credential_answer(change: CredentialChange, result: CredentialResult) -> CredentialAnswer {
    CredentialAnswer {
        cloud_anchor: change.cloud_anchor,
        extended_error: result.description().map(str::to_owned),
        result: i64::from(result.number()),
        source_anchor: change.source_anchor,
    }
}

#[cfg(test)]
mod tests {
    use super::change_date;

    #[test]
    fn dates_with_and_without_zone() {
        let expected = Some(1_704_164_645_678_901);
        for text in ["2024-01-02T03:04:05.678901Z", "2024-01-02T03:04:05.6789010", "2024-01-02T04:04:05.678901+01:00"] {
            assert_eq!(change_date(text), expected, "{text}");
        }
        assert_eq!(change_date("yesterday"), None);
    }
}
