//! The provisioning service over HTTP: recorded requests of independent clients, limits, refusals, faults on demand.

use crate::support::{Drive, Served, VERIFIED, delete, served, settings, text, user};
use reqwest::{Method, Response as HttpResponse};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;
use syncline::protocol::nbfx::{Event, Reader};
use syncline::protocol::provisioning::{
    CredentialChange, Fault, PropertyValue, ReferenceChange, Request, RequestHeader, Response, SyncObject, SyncResult, decode_request,
    decode_response, encode_request,
};
use syncline::tenant::directory::{Features, ObjectKind};
use syncline::tenant::faults::{Bucket, Throttle};

const RESOURCE: &str = "6bf85cfa-ac8a-4be5-b5de-425a0d0dc016";
/// 41017 and a bit without a name.
const FEATURES: i64 = 0x1_A039;
const RECORDED_TOKEN: &str = "test-token.not-a-real-jwt.0000";

fn recorded(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/wire").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

async fn post_raw(served: &Served, body: Vec<u8>) -> reqwest::Result<HttpResponse> {
    let url = served.url("/ProvisioningService.SVC");
    served.client.post(url).header("Content-type", "application/soap+msbin1").header("User-Agent", "").body(body).send().await
}

fn header(token: &str) -> RequestHeader {
    RequestHeader {
        application_id: "6eb59a73-39b2-4c23-a70f-e2e3ce8965b1".to_owned(),
        bearer_token: token.to_owned().into(),
        build: "2.5.79.0".to_owned(),
        message_id: "aaaaaaaa-bbbb-4ccc-8ddd-0000000000ff".to_owned(),
        to: "https://localhost/provisioningservice.svc".to_owned(),
        operation: String::new(),
    }
}

/// One call: HTTP status, `Retry-After`, and the decoded answer.
struct Called {
    status: u16,
    retry_after: Option<f64>,
    answer: Result<Response, Fault>,
}

impl Called {
    fn fault(self) -> Fault {
        self.answer.expect_err("the call was accepted")
    }

    fn results(self) -> Vec<SyncResult> {
        assert_eq!(self.status, 200);
        match self.answer {
            Ok(Response::Results(results)) => results,
            other => panic!("no results: {other:?}"),
        }
    }
}

async fn called(operation: &str, response: HttpResponse) -> Called {
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/soap+msbin1");
    let retry_after = response.headers().get("retry-after").map(|value| value.to_str().unwrap().parse().unwrap());
    let body = response.bytes().await.unwrap();
    let answer = decode_response(operation, &body).unwrap();
    assert_eq!(answer.is_ok(), status == 200);
    Called { status, retry_after, answer }
}

async fn call(served: &Served, token: &str, request: &Request) -> Called {
    let response = post_raw(served, encode_request(&header(token), request, Vec::new())).await.unwrap();
    called(request.operation(), response).await
}

fn object(kind: &str, operation: &str, properties: &[(&str, PropertyValue)]) -> SyncObject {
    SyncObject {
        properties: properties.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        object_type: kind.to_owned(),
        operation: operation.to_owned(),
    }
}

fn sent(value: &str) -> PropertyValue {
    PropertyValue::Text(value.to_owned())
}

fn provision(objects: Vec<SyncObject>) -> Request {
    Request::ProvisionObjects { second: true, objects }
}

fn one_user(anchor: &str) -> Request {
    provision(vec![object("User", "Add", &[("SourceAnchor", sent(anchor)), ("displayName", sent(anchor))])])
}

/// All elements of a document as paths of local names with namespaces.
fn paths(document: &[u8]) -> BTreeSet<String> {
    let mut reader = Reader::new(document).unwrap();
    let (mut open, mut found) = (Vec::<String>::new(), BTreeSet::new());
    loop {
        match reader.next().unwrap() {
            Event::Start { namespace, name, .. } => {
                open.push(format!("{{{namespace}}}{name}"));
                found.insert(open.join("/"));
            }
            Event::End => drop(open.pop()),
            Event::Text(_) => {}
            Event::Eof => return found,
        }
    }
}

async fn for_recordings() -> Served {
    let mut settings = settings();
    settings.test_tokens = vec![RECORDED_TOKEN.into()];
    settings.verified_domains.push("contoso.example".into());
    let served = served(settings).await;
    served.tenant.feature(Features::PASSWORD_HASH_SYNC, true);
    served
}

/// Every recorded request gets an answer with all the elements that the independent client accepted, in the same
/// namespaces, whichever of its two encodings is sent.
#[tokio::test]
async fn recorded_requests_get_answers_of_the_documented_shape() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/wire");
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| {
        name.rsplit_once('.').is_some_and(|(_, kind)| kind == "bin") && name.contains(".request.") && !name.starts_with("fault-")
    });
    // Objects first, then what is said about them.
    names.sort_by_key(|name| (!name.starts_with("provision-user-set"), name.contains("delete"), name.clone()));
    assert!(names.len() >= 30, "{}", names.len());
    let served = for_recordings().await;
    for name in names {
        let body = recorded(&name);
        let (head, request) = decode_request(&body).unwrap();
        let request = request.unwrap_or_else(|| panic!("{name}: unknown operation {}", head.operation));
        let response = post_raw(&served, body).await.unwrap();
        assert_eq!(response.status(), 200, "{name}");
        let answer = response.bytes().await.unwrap();
        let decoded = decode_response(request.operation(), &answer).unwrap_or_else(|error| panic!("{name}: {error}"));
        let answered = decoded.unwrap_or_else(|fault| panic!("{name}: {fault}"));
        let expected = paths(&recorded(&name.replace(".alt.bin", ".bin").replace(".request.", ".response.")));
        let ours = paths(&answer);
        // What depends on the values and not on the shape: counters of a last export, properties of other objects,
        // details of a failure, results of a side feature that the tenant does not have.
        let optional = [
            "SuccessfulExportCount",
            "TotalExported",
            "KeyValueOfstringstring",
            "KeyValueOfstringanyType",
            "base64Binary",
            "Encryption",
            "Secured",
        ];
        let missing: Vec<_> = expected.difference(&ours).filter(|path| !optional.iter().any(|name| path.contains(name))).collect();
        assert!(missing.is_empty(), "{name} lacks {missing:#?}");
        if let (Request::ProvisionObjects { objects, .. }, Response::Results(results)) = (&request, &answered) {
            assert_eq!(objects.len(), results.len(), "{name}");
            for (object, result) in objects.iter().zip(results) {
                assert_eq!(Some(object.object_type.as_str()), Some(result.object_type.as_str()));
                assert_eq!(object.text("SourceAnchor").is_some(), result.source_anchor.is_some());
                assert_eq!(result.success, result.error_description.is_none(), "{name}: {result:?}");
            }
        }
    }
}

/// What a successful result must look like, to the octet: the client of the recordings looks elements up by prefix
/// and takes anything but a bare nil for a failure.
#[tokio::test]
async fn prefixes_and_nil_are_what_the_independent_client_needs() {
    let served = for_recordings().await;
    let answer = post_raw(&served, recorded("provision-user-set.request.bin")).await.unwrap().bytes().await.unwrap();
    // <b:ResultErrorDescription i:nil="true"/>: prefixed element b, prefixed dictionary attribute i with nil and true.
    let needle = [&[0x5F, 22][..], b"ResultErrorDescription", &[0x14, 0xF6, 0x06, 0x86, 0x01]].concat();
    assert!(answer.windows(needle.len()).any(|window| window == needle), "{}", hex::encode(&answer));
    let fault = post_raw(&served, recorded("fault-busy-81.request.bin")[..100].to_vec()).await.unwrap();
    assert_eq!(fault.status(), 500);
    let fault = fault.bytes().await.unwrap();
    let language = [&[0x05, 3][..], b"xml", &[4], b"lang", &[0x98, 5], b"en-US"].concat();
    assert!(fault.windows(language.len()).any(|window| window == language));
}

#[tokio::test]
async fn recorded_faults_are_given() {
    let served = for_recordings().await;
    served.fault("busy=1x,retry-after=1.5").await;
    let busy = called("ProvisionAzureADSyncObjects", post_raw(&served, recorded("fault-busy-81.request.bin")).await.unwrap()).await;
    assert_eq!((busy.status, busy.retry_after), (500, Some(1.5)));
    let fault = busy.fault();
    assert_eq!((fault.code, fault.sender), (Some(81), false));
    assert!(fault.description.ends_with("is currently busy. This operation will be retried automatically."));
    served.tenant.feature(Features::PASSWORD_HASH_SYNC, false);
    let off = called("ProvisionCredentials", post_raw(&served, recorded("fault-phs-disabled-90.request.bin")).await.unwrap()).await.fault();
    assert_eq!((off.code, off.description.as_str()), (Some(90), "Password Synchronization has not been activated for this company."));
    served.tenant.activate(false).unwrap();
    let off = called("ReadBackAzureADSyncObjects2", post_raw(&served, recorded("fault-dirsync-disabled.request.bin")).await.unwrap()).await;
    assert_eq!(off.fault().description, "Identity synchronization is not yet activated for this company.");
    served.fault("redirect=1x,url=https://other.example/provisioningservice.svc").await;
    let redirect =
        called("GetCompanyConfiguration", post_raw(&served, recorded("fault-redirect.request.bin")).await.unwrap()).await.fault();
    assert_eq!(redirect.redirect.as_deref(), Some("https://other.example/provisioningservice.svc"));
    let open = called("GetCompanyConfiguration", post_raw(&served, recorded("fault-redirect.request.bin")).await.unwrap()).await;
    assert!(
        matches!(open.answer, Ok(Response::CompanyConfiguration(company)) if !company.is_dir_syncing),
        "configuration is read while off"
    );
}

#[tokio::test]
async fn http_of_the_service() {
    let served = served(settings()).await;
    let path = served.url("/provisioningservice.svc");
    assert_eq!(served.client.get(&path).send().await.unwrap().status(), 200);
    assert_eq!(served.client.put(&path).send().await.unwrap().status(), 405);
    assert_eq!(served.client.get(served.url("/elsewhere.svc")).send().await.unwrap().status(), 404);
    for kind in ["application/soap+msbinsession1", "application/soap+xml", "text/xml; charset=utf-8"] {
        assert_eq!(served.client.post(&path).header("Content-Type", kind).body("x").send().await.unwrap().status(), 415, "{kind}");
    }
    let token = served.token(RESOURCE).await;
    let body = encode_request(&header(&token), &Request::Capabilities, Vec::new());
    let response = served.client.post(&path).body(body.clone()).send().await.unwrap();
    assert_eq!(response.status(), 200, "a client that names no type is heard");
    let expecting = served.client.post(&path).header("Expect", "100-continue").header("Content-Type", "application/soap+msbin1").body(body);
    assert_eq!(expecting.send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn calls_that_are_refused_as_a_whole() {
    let mut settings = settings();
    settings.max_request = 4 << 20;
    let served = served(settings).await;
    let token = served.token(RESOURCE).await;
    let good = encode_request(&header(&token), &one_user("A"), Vec::new());
    // Cut off everywhere, noise, too large: a fault that can be decoded, never anything else.
    for length in (0..good.len() - 4).step_by(97) {
        let refused = called("ProvisionAzureADSyncObjects2", post_raw(&served, good[..length].to_vec()).await.unwrap()).await;
        assert_eq!(refused.status, 500);
        assert!(refused.fault().description.starts_with("The formatter threw an exception while trying to deserialize the message"));
    }
    assert!(
        called("x", post_raw(&served, vec![0; 5 << 20]).await.unwrap()).await.fault().description.contains("larger than 4194304 octets")
    );
    let mut damaged = good.clone();
    let position = damaged.windows(9).rposition(|window| window == b"SyncObjec").unwrap();
    damaged[position - 1] = 0xFF;
    assert_eq!(post_raw(&served, damaged).await.unwrap().status(), 500);
    // Tokens: none, a foreign one, one for Graph, one that is over.
    for bad in ["", RECORDED_TOKEN, &served.token("https://graph.microsoft.com").await] {
        let refused = call(&served, bad, &one_user("A")).await;
        assert_eq!(refused.status, 401);
        assert!(refused.fault().description.starts_with("Access to Azure Active Directory has been denied."));
    }
    served.tenant.advance_clock(3_600_000_000).unwrap();
    assert_eq!(call(&served, &token, &one_user("A")).await.status, 401);
    let token = served.token(RESOURCE).await;
    // The action says one thing, the body another.
    let mut mismatch = encode_request(&header(&token), &Request::Capabilities, Vec::new());
    let action = mismatch.windows(12).position(|window| window == b"Capabilities").unwrap();
    mismatch[action..action + 12].copy_from_slice(b"Capabilitxes");
    assert!(called("Capabilities", post_raw(&served, mismatch).await.unwrap()).await.fault().description.contains("ActionMismatch"));
    let mut unknown = encode_request(&header(&token), &Request::Capabilities, Vec::new());
    while let Some(position) = unknown.windows(12).position(|window| window == b"Capabilities") {
        unknown[position..position + 12].copy_from_slice(b"Levitate1234");
    }
    assert!(called("Levitate1234", post_raw(&served, unknown).await.unwrap()).await.fault().description.contains("ActionNotSupported"));
    // Limits.
    let users = |count: usize| {
        provision((0..count).map(|number| object("User", "Set", &[("SourceAnchor", sent(&format!("U{number}")))])).collect())
    };
    assert!(call(&served, &token, &users(1001)).await.fault().description.contains("1000 are allowed"));
    let change = |number: usize| ReferenceChange { anchor: number.to_string(), by_cloud_anchor: false, add: true };
    let members = |count: usize| {
        let changes = PropertyValue::ReferenceChanges((0..count).map(change).collect());
        provision(vec![object("Group", "Set", &[("SourceAnchor", sent("G")), ("member", changes)])])
    };
    assert!(call(&served, &token, &members(15_001)).await.fault().description.contains("15000 are allowed"));
    assert!(call(&served, &token, &members(15_000)).await.results()[0].success);
    served.tenant.feature(Features::PASSWORD_HASH_SYNC, true);
    let item = CredentialChange {
        change_date: "2024-01-02T03:04:05Z".into(),
        cloud_anchor: None,
        credential_data: "x".to_owned().into(),
        force_change: false,
        source_anchor: Some("nobody".into()),
    };
    assert!(call(&served, &token, &Request::ProvisionCredentials(vec![item; 51])).await.fault().description.contains("50 are allowed"));
    let cookie = Request::ReadBack { second: true, full: false, cookie: Some("rubbish".into()), include_licenses: false };
    assert!(call(&served, &token, &cookie).await.fault().description.contains("cookie"));
    let account = Request::GetServiceAccount { identifier: "no spaces".into() };
    assert!(call(&served, &token, &account).await.fault().description.contains("identifier"));
}

#[tokio::test]
async fn objects_that_are_refused_one_by_one() {
    let served = served(settings()).await;
    let token = served.token(RESOURCE).await;
    let t = &served.tenant;
    t.feature(Features::DUPLICATE_UPN_RESILIENCY, false);
    t.accept(user("TAKEN", &[("userPrincipalName", text(&format!("taken@{VERIFIED}")))]));
    let taken = t.object("TAKEN").uuid().to_string();
    let batch = provision(vec![
        object("User", "Add", &[("sourceanchor", sent("NEW")), ("userPrincipalName", sent(&format!("new@{VERIFIED}")))]),
        object("User", "Set", &[("SourceAnchor", sent("NEW")), ("userPrincipalName", sent(&format!("taken@{VERIFIED}")))]),
        object("Castle", "Set", &[("SourceAnchor", sent("X"))]),
        object("User", "Explode", &[("SourceAnchor", sent("X"))]),
        object("User", "Set", &[("displayName", sent("nobody"))]),
        object("User", "Delete", &[("CloudAnchor", sent(&format!("User_{}", t.state().sync_accounts[0])))]),
        object("User", "Delete", &[("SourceAnchor", sent("never was"))]),
        object("User", "Set", &[("CloudAnchor", sent("User_00000000-0000-4000-8000-000000000000"))]),
    ]);
    let results = call(&served, &token, &batch).await.results();
    let shown: Vec<_> = results.iter().map(|result| (result.success, result.error_code, result.operation.as_str())).collect();
    assert_eq!(
        shown,
        [
            (true, 0, "Add"),
            (false, 15, "Set"),
            (false, 19, "Set"),
            (false, 19, "Explode"),
            (false, 19, "Set"),
            (false, 114, "Delete"),
            (true, 0, "Delete"),
            (false, 23, "Set")
        ]
    );
    let details: Vec<_> = results[1].error_details.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let name = format!("taken@{VERIFIED}");
    assert_eq!(
        details,
        [
            ("ErrorCategory", "AttributeValueMustBeUnique"),
            ("ObjectIdInConflict", &taken),
            ("AttributeConflictName", "UserPrincipalName"),
            ("AttributeConflictValues", &name)
        ]
    );
    assert!(results[1].error_description.as_ref().unwrap().contains(&taken));
    assert_eq!((results[0].source_anchor.as_deref(), results[1].cloud_anchor.as_deref()), (Some("NEW"), None));
    assert_eq!(results[0].cloud_anchor, Some(t.object("NEW").cloud_anchor()));
    let journal: Value = served.admin(Method::GET, "/journal").send().await.unwrap().json().await.unwrap();
    let results: Vec<_> = journal["writes"].as_array().unwrap().iter().map(|entry| entry["result"].as_str().unwrap()).collect();
    assert_eq!(
        results,
        ["created", "AttributeValueMustBeUnique", "DataValidationFailed", "DeleteNotAllowed", "alreadyDeleted", "ObjectNotFound"]
    );
}

#[tokio::test]
async fn every_operation_answers() {
    let served = served(settings()).await;
    let token = served.token("https://graph.windows.net").await;
    let company = |called: Called| match called.answer {
        Ok(Response::CompanyConfiguration(company)) => *company,
        other => panic!("{other:?}"),
    };
    let configuration = Request::GetCompanyConfiguration { include_licenses: false };
    let before = company(call(&served, &token, &configuration).await);
    assert_eq!(
        (before.features, before.links_max, before.deletion_prevention.as_str(), before.threshold_count),
        (41016, 15_000, "EnabledForCount", 500)
    );
    assert_eq!(
        (before.tenant_id, before.display_name.as_str(), before.client_version.as_deref()),
        (served.tenant_id(), "Contoso", Some("2.5.79.0"))
    );
    assert!(!before.is_password_syncing && before.is_dir_syncing);
    let set = call(&served, &token, &Request::SetCompanyDirsyncFeatures { features: FEATURES }).await;
    assert_eq!(set.answer, Ok(Response::Empty));
    let after = company(call(&served, &token, &configuration).await);
    assert_eq!((after.features, after.is_password_syncing), (FEATURES, true), "unknown bits are kept");
    assert!(
        matches!(call(&served, &token, &Request::Capabilities).await.answer, Ok(Response::Text(text)) if text.starts_with("<ServiceCapability><MicrosoftOnline>"))
    );
    assert_eq!(call(&served, &token, &Request::FinalizeExport { total: 3, successful: 2 }).await.answer, Ok(Response::Empty));
    assert_eq!(served.tenant.state().last_export, (3, 2));
    assert!(served.tenant.state().last_synchronization.is_some());
    // A sign of life is not a password.
    assert_eq!(call(&served, &token, &Request::ProvisionCredentials(Vec::new())).await.answer, Ok(Response::Credentials(Vec::new())));
    assert!(served.tenant.state().last_password_synchronization.is_some());
    match call(&served, &token, &Request::GetServiceAccount { identifier: "Sync_SERVER01_0123456789ab".into() }).await.answer {
        Ok(Response::ServiceAccount { user_name, password }) => {
            assert_eq!(user_name, "Sync_SERVER01_0123456789ab@contoso.onmicrosoft.com");
            let fields = [
                ("grant_type", "password"),
                ("client_id", "1b730954-1685-4b74-9bfd-dac224a7b894"),
                ("username", user_name.as_str()),
                ("password", password.as_str()),
                ("scope", "https://graph.windows.net/.default"),
            ];
            let (status, body) = served.grant(&fields).await;
            assert_eq!(status, 200, "{body}");
            // The account may synchronize.
            assert_eq!(call(&served, body["access_token"].as_str().unwrap(), &one_user("A")).await.status, 200);
        }
        other => panic!("{other:?}"),
    }
    for request in [
        Request::GetDeviceConfiguration,
        Request::GetKerberosDomainSyncConfig,
        Request::GetKerberosDomain,
        Request::GetMonitoringTenantCertificate,
        Request::GetWindowsCredentialsSyncConfig,
    ] {
        assert_eq!(call(&served, &token, &request).await.status, 200, "{request:?}");
    }
}

#[tokio::test]
async fn a_user_without_a_role_may_not_synchronize() {
    let served = served(settings()).await;
    let name = format!("plain@{VERIFIED}");
    served
        .admin(Method::POST, "/objects")
        .json(&json!({"properties": {"userPrincipalName": name}, "password": "Correct horse 1"}))
        .send()
        .await
        .unwrap();
    let fields = [
        ("grant_type", "password"),
        ("client_id", "1b730954-1685-4b74-9bfd-dac224a7b894"),
        ("username", name.as_str()),
        ("password", "Correct horse 1"),
        ("scope", "https://graph.windows.net/.default"),
    ];
    let (_, body) = served.grant(&fields).await;
    assert_eq!(call(&served, body["access_token"].as_str().unwrap(), &one_user("A")).await.status, 401);
}

#[tokio::test]
async fn read_back_pages_only_for_clients_that_can() {
    let served = served(settings()).await;
    let token = served.token(RESOURCE).await;
    for number in 0..25 {
        served.tenant.accept(user(&format!("U{number:02}"), &[]));
    }
    let read = |cookie: Option<String>, size: Option<usize>| {
        let request = Request::ReadBack { second: true, full: true, cookie, include_licenses: false };
        let body = encode_request(&header(&token), &request, Vec::new());
        let mut post =
            served.client.post(served.url("/provisioningservice.svc")).header("Content-Type", "application/soap+msbin1").body(body);
        if let Some(size) = size {
            post = post.header("x-syncline-page-size", size.to_string());
        }
        async move {
            match called("ReadBackAzureADSyncObjects2", post.send().await.unwrap()).await.answer {
                Ok(Response::ReadBack(page)) => page,
                other => panic!("{other:?}"),
            }
        }
    };
    let whole = read(None, None).await;
    assert_eq!((whole.objects.len(), whole.more), (26, false));
    let mut seen = 0;
    let mut page = read(None, Some(10)).await;
    loop {
        seen += page.objects.len();
        if !page.more {
            break;
        }
        page = read(page.cookie, Some(10)).await;
    }
    assert_eq!(seen, 26);
    served.tenant.accept(delete(ObjectKind::User, "U00"));
    let request = Request::ReadBack { second: true, full: false, cookie: page.cookie, include_licenses: false };
    match call(&served, &token, &request).await.answer {
        Ok(Response::ReadBack(delta)) => {
            let shown: Vec<_> =
                delta.objects.iter().map(|object| (object.text("SourceAnchor").unwrap(), object.operation.as_str())).collect();
            assert_eq!(shown, [("U00", "Delete")]);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn faults_on_demand() {
    let served = served(settings()).await;
    let token = served.token(RESOURCE).await;
    let exists = |anchor: &str| served.tenant.directory().read().unwrap().by_anchor(anchor).unwrap().is_some();
    let raw = |anchor: &str| encode_request(&header(&token), &one_user(anchor), Vec::new());

    served.fault("busy=1x,operation=ProvisionAzureADSyncObjects2").await;
    assert_eq!(call(&served, &token, &Request::Capabilities).await.status, 200, "another operation is not concerned");
    assert_eq!(call(&served, &token, &one_user("BUSY")).await.fault().code, Some(81));
    assert!(!exists("BUSY"));

    served.fault("throttle=1x,retry-after=2.128").await;
    let throttled = call(&served, &token, &one_user("THROTTLED")).await;
    assert_eq!((throttled.status, throttled.retry_after), (429, Some(2.128)));
    assert_eq!(throttled.fault().code, Some(81));

    served.fault("drop-before=1x").await;
    assert!(post_raw(&served, raw("BEFORE")).await.is_err());
    assert!(!exists("BEFORE"));

    served.fault("drop-answer=1x").await;
    assert!(post_raw(&served, raw("AFTER")).await.is_err());
    assert!(exists("AFTER"), "done, and not told");
    assert!(call(&served, &token, &one_user("AFTER")).await.results()[0].success, "sending it again does no harm");

    served.fault("duplicate=1x").await;
    assert!(call(&served, &token, &one_user("TWICE")).await.results()[0].success);

    served.fault("partial=1x").await;
    let pair =
        provision(vec![object("User", "Set", &[("SourceAnchor", sent("P1"))]), object("User", "Set", &[("SourceAnchor", sent("P2"))])]);
    assert_eq!(call(&served, &token, &pair).await.fault().code, Some(81));
    assert_eq!((exists("P1"), exists("P2")), (true, false));

    served.fault("reject=1x,code=LargeObject").await;
    assert_eq!(call(&served, &token, &one_user("REJECTED")).await.results()[0].error_code, 21);
    assert!(!exists("REJECTED"));

    served.fault("unauthorized=1x").await;
    assert_eq!(call(&served, &token, &one_user("X")).await.status, 401);

    let begun = served.tenant.context().clock.elapsed();
    served.fault("slow=1x,delay=150").await;
    assert_eq!(call(&served, &token, &Request::Capabilities).await.status, 200);
    assert!(served.tenant.context().clock.elapsed() >= begun + Duration::from_millis(150));

    let traffic: Value = served.admin(Method::GET, "/traffic").send().await.unwrap().json().await.unwrap();
    for kind in ["busy", "throttle", "drop-before", "drop-answer", "duplicate", "partial", "reject", "unauthorized", "slow"] {
        assert_eq!(traffic["faults"][kind], 1, "{kind}");
    }
    assert_eq!(traffic["writes"], json!({"created": 3, "unchanged": 2}));
    served.fault("busy").await;
    assert_eq!(served.admin(Method::DELETE, "/faults").send().await.unwrap().status(), 204);
    assert_eq!(call(&served, &token, &Request::Capabilities).await.status, 200);
}

/// A client that waits as long as it is told gets what the bucket allows, and nearly all of it.
#[tokio::test]
async fn the_bucket_lets_its_allowance_through() {
    let served = served(settings()).await;
    let token = served.token(RESOURCE).await;
    let clock = served.tenant.context().clock.clone();
    *served.tenant.bucket() = Some(Bucket::new(Throttle { writes: 40.0, window_seconds: 0.4 }, clock.elapsed()));
    let mut refused = 0;
    for batch in 0..14 {
        let objects = (0..20).map(|number| object("User", "Set", &[("SourceAnchor", sent(&format!("{batch}-{number}")))])).collect();
        let request = provision(objects);
        loop {
            let called = call(&served, &token, &request).await;
            if called.status == 200 {
                break;
            }
            assert_eq!((called.status, called.answer.unwrap_err().code), (429, Some(81)));
            refused += 1;
            tokio::time::sleep(Duration::from_secs_f64(called.retry_after.unwrap())).await;
        }
    }
    assert!(refused > 0);
    let answer: Value = served.admin(Method::GET, "/throttle").send().await.unwrap().json().await.unwrap();
    let (allowed, accepted) = (answer["allowed"].as_f64().unwrap(), answer["accepted"].as_f64().unwrap());
    assert!(accepted <= allowed && (accepted - 280.0).abs() < 0.1, "{accepted} of {allowed}");
}

/// What an administrator changes in the tenant behind synchronization's back is what a read-back then says.
#[tokio::test]
async fn changes_behind_the_back_are_read_back() {
    let served = served(settings()).await;
    let token = served.token(RESOURCE).await;
    call(&served, &token, &one_user("A")).await.results();
    let full = Request::ReadBack { second: true, full: true, cookie: None, include_licenses: false };
    let Ok(Response::ReadBack(page)) = call(&served, &token, &full).await.answer else { panic!("no page") };
    let edit = json!({"properties": {"displayName": "changed in the cloud"}, "silent": true});
    assert_eq!(served.admin(Method::PATCH, "/objects/A").json(&edit).send().await.unwrap().status(), 200);
    let delta = Request::ReadBack { second: true, full: false, cookie: page.cookie, include_licenses: false };
    let Ok(Response::ReadBack(delta)) = call(&served, &token, &delta).await.answer else { panic!("no page") };
    assert!(delta.objects.is_empty(), "a silent change is in no delta");
    let Ok(Response::ReadBack(page)) = call(&served, &token, &full).await.answer else { panic!("no page") };
    let names: Vec<_> = page.objects.iter().filter_map(|object| object.text("DisplayName")).collect();
    assert!(names.contains(&"changed in the cloud"), "{names:?}");
}

#[tokio::test]
async fn dumps_are_canonical() {
    let dump = |served: &Served| {
        let request = served.admin(Method::GET, "/dump");
        async move { request.send().await.unwrap().text().await.unwrap() }
    };
    let mut dumps = Vec::new();
    for order in [["A", "B"], ["B", "A"]] {
        let mut settings = settings();
        settings.credentials.tenant_id = "11111111-2222-4333-8444-555555555555".parse().unwrap();
        let served = served(settings).await;
        for anchor in order {
            served.tenant.accept(user(
                anchor,
                &[("displayName", text(anchor)), ("userPrincipalName", text(&format!("{anchor}@{VERIFIED}"))), ("manager", text("A"))],
            ));
        }
        dumps.push(dump(&served).await);
    }
    assert_eq!(dumps[0], dumps[1], "the order of writes does not show");
    let lines: Vec<Value> = dumps[0].lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!((lines[1]["sourceAnchor"].as_str(), &lines[1]["references"]), (Some("B"), &json!({"manager": ["A"]})));
}
