//! Synchronized passwords over the wire, from the hash that arrives to the sign-in: what opens the door, what survives a
//! change, what the policies do, and what goes wrong on demand.

use crate::support::{Drive as _, Served, VERIFIED, answer, served, set, settings, text, user};
use redb::ReadableTable as _;
use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};
use std::path::Path;
use syncline::context::Context;
use syncline::password::hash::{CredentialData, NtHash};
use syncline::protocol::provisioning::{
    CredentialChange, CredentialResult, Fault, Request, RequestHeader, Response, decode_response, encode_request,
};
use syncline::tenant::directory::{Features, Incoming, ObjectKind, PropertyValue};
use syncline::tenant::{Location, Tenant, TenantSettings};

const RESOURCE: &str = "6bf85cfa-ac8a-4be5-b5de-425a0d0dc016";
const PUBLIC: &str = "1b730954-1685-4b74-9bfd-dac224a7b894";
const DAY: i64 = 86_400_000_000;

/// A tenant that takes password hashes, with the synchronized users ann and bob.
async fn with_two(settings: TenantSettings) -> Served {
    let served = served(settings).await;
    served.tenant.feature(Features::PASSWORD_HASH_SYNC, true);
    for name in ["ann", "bob"] {
        served.tenant.accept(user(name, &[("userPrincipalName", text(&upn(name)))]));
    }
    served
}

fn upn(name: &str) -> String {
    format!("{name}@{VERIFIED}")
}

fn item(anchor: &str, password: &str) -> CredentialChange {
    let data = CredentialData::derive(&NtHash::of_password(password), &[9; 10], 3).unwrap();
    CredentialChange {
        change_date: "2024-01-02T03:04:05.678901Z".to_owned(),
        cloud_anchor: None,
        credential_data: secrecy::ExposeSecret::expose_secret(&data.to_text()).to_owned().into(),
        force_change: false,
        source_anchor: Some(anchor.to_owned()),
    }
}

/// One call over HTTP.
async fn call(served: &Served, items: Vec<CredentialChange>) -> Result<Vec<CredentialResult>, Fault> {
    let header = RequestHeader {
        application_id: "1651564e-7ce4-4d99-88be-0a65050d8dc3".to_owned(),
        bearer_token: served.token(RESOURCE).await.into(),
        build: "2.4.21.0".to_owned(),
        message_id: "aaaaaaaa-bbbb-4ccc-8ddd-0000000000ff".to_owned(),
        to: served.url("/provisioningservice.svc"),
        operation: String::new(),
    };
    let body = encode_request(&header, &Request::ProvisionCredentials(items), Vec::new());
    let post = served.client.post(served.url("/provisioningservice.svc")).header("Content-Type", "application/soap+msbin1").body(body);
    let octets = post.send().await.unwrap().bytes().await.unwrap();
    decode_response("ProvisionCredentials", &octets).unwrap().map(|answer| match answer {
        Response::Credentials(results) => results,
        other => panic!("no results: {other:?}"),
    })
}

async fn numbers(served: &Served, items: Vec<CredentialChange>) -> Vec<i64> {
    call(served, items).await.unwrap().iter().map(|result| result.result).collect()
}

/// The number of the refusal; 0 for success.
async fn sign_in(served: &Served, name: &str, password: &str) -> u64 {
    signed_in(served, name, password).await["error_codes"][0].as_u64().unwrap_or(0)
}

async fn signed_in(served: &Served, name: &str, password: &str) -> Value {
    let user = upn(name);
    let scope = "https://graph.microsoft.com/.default offline_access";
    let fields = [("grant_type", "password"), ("client_id", PUBLIC), ("username", &user), ("password", password), ("scope", scope)];
    served.grant(&fields).await.1
}

async fn refresh(served: &Served, token: &str) -> u64 {
    let (status, body) = served.grant(&[("grant_type", "refresh_token"), ("client_id", PUBLIC), ("refresh_token", token)]).await;
    if status == 200 { 0 } else { body["error_codes"][0].as_u64().unwrap() }
}

async fn reset(served: &Served, name: &str, password: &str) {
    let reset = served.admin(Method::PUT, &format!("/objects/{name}/password")).json(&json!({"password": password}));
    assert_eq!(reset.send().await.unwrap().status(), 200);
}

/// A property of a user as Graph shows it.
async fn shown(served: &Served, name: &str, property: &str) -> Value {
    let token = served.token("https://graph.microsoft.com").await;
    let url = served.url(&format!("/v1.0/users/{}?$select={property}", upn(name)));
    let (status, body) = answer(served.client.get(url).bearer_auth(token).send().await.unwrap()).await;
    assert_eq!(status, 200, "{body}");
    body[property].clone()
}

#[tokio::test]
async fn the_directorys_password_opens_the_door_and_no_other() {
    let served = with_two(settings()).await;
    assert_eq!(sign_in(&served, "ann", "Alpha-1").await, 50126, "no password yet");
    let results = call(&served, vec![item("ann", "Alpha-1"), item("nobody", "x"), item("bob", "Beta-1")]).await.unwrap();
    assert_eq!(results.iter().map(|result| result.result).collect::<Vec<_>>(), [0, 1, 0]);
    assert_eq!(results[1].extended_error, None, "a text would keep a client from trying again");
    assert_eq!((sign_in(&served, "ann", "Alpha-1").await, sign_in(&served, "ann", "Beta-1").await), (0, 50126));
    assert_eq!(numbers(&served, vec![item("ann", "Alpha-2")]).await, [0]);
    assert_eq!((sign_in(&served, "ann", "Alpha-2").await, sign_in(&served, "ann", "Alpha-1").await), (0, 50126));
    // An administrator's reset counts until the directory sends the next one.
    reset(&served, "ann", "Cloud-only 1").await;
    assert_eq!((sign_in(&served, "ann", "Cloud-only 1").await, sign_in(&served, "ann", "Alpha-2").await), (0, 50126));
    assert_eq!(numbers(&served, vec![item("ann", "Alpha-3")]).await, [0]);
    assert_eq!((sign_in(&served, "ann", "Alpha-3").await, sign_in(&served, "ann", "Cloud-only 1").await), (0, 50126));
    // Who is disabled stays out, whatever was sent.
    served.tenant.accept(set(ObjectKind::User, "bob", &[("accountEnabled", Incoming::Value(PropertyValue::Boolean(false)))]));
    assert_eq!(numbers(&served, vec![item("bob", "Beta-2")]).await, [0]);
    assert_eq!(sign_in(&served, "bob", "Beta-2").await, 50057);
}

#[tokio::test]
async fn a_synchronized_change_ends_no_session() {
    let served = with_two(settings()).await;
    assert_eq!(numbers(&served, vec![item("ann", "Alpha-1")]).await, [0]);
    let session = |body: Value| body["refresh_token"].as_str().unwrap().to_owned();
    let before = session(signed_in(&served, "ann", "Alpha-1").await);
    served.tenant.advance_clock(2_000_000).unwrap();
    // The change is younger than the session.
    let mut later = item("ann", "Alpha-2");
    later.change_date = served.tenant.now().to_string();
    assert_eq!(numbers(&served, vec![later.clone()]).await, [0]);
    assert_eq!(refresh(&served, &before).await, 0, "by the directory");
    reset(&served, "ann", "Cloud-only 1").await;
    assert_eq!(refresh(&served, &before).await, 50173, "by an administrator");
    // What was ended stays ended.
    assert_eq!(numbers(&served, vec![later]).await, [0]);
    assert_eq!(refresh(&served, &before).await, 50173);
    served.tenant.advance_clock(2_000_000).unwrap();
    let after = session(signed_in(&served, "ann", "Alpha-2").await);
    assert_eq!(refresh(&served, &after).await, 0);
}

#[tokio::test]
async fn temporary_passwords_count_with_their_feature_only() {
    let served = with_two(settings()).await;
    let temporary = CredentialChange { force_change: true, ..item("ann", "Temp-1") };
    assert_eq!(numbers(&served, vec![temporary.clone()]).await, [0]);
    assert_eq!(sign_in(&served, "ann", "Temp-1").await, 0, "the flag is ignored");
    served.tenant.feature(Features::FORCE_PASSWORD_CHANGE, true);
    assert_eq!(numbers(&served, vec![temporary]).await, [0]);
    assert_eq!(sign_in(&served, "ann", "Temp-1").await, 50055, "must be changed");
    assert_eq!(sign_in(&served, "ann", "Temp-2").await, 50126, "a wrong one does not learn that");
    assert_eq!(numbers(&served, vec![item("ann", "Final-1")]).await, [0]);
    assert_eq!(sign_in(&served, "ann", "Final-1").await, 0);
}

#[tokio::test]
async fn passwords_never_expire_unless_the_clouds_policy_counts() {
    let mut settings = settings();
    settings.password_lifetime = Some(std::time::Duration::from_hours(90 * 24));
    let served = with_two(settings).await;
    let now = |name: &str, password: &str| CredentialChange { change_date: served.tenant.now().to_string(), ..item(name, password) };
    let policies = async |name: &str| shown(&served, name, "passwordPolicies").await;
    let both = || vec![now("ann", "Alpha-1"), now("bob", "Beta-1")];
    assert_eq!(numbers(&served, both()).await, [0, 0]);
    assert_eq!(policies("ann").await, json!("DisablePasswordExpiration"));
    served.tenant.advance_clock(100 * DAY).unwrap();
    assert_eq!(sign_in(&served, "ann", "Alpha-1").await, 0);
    // With the feature the next hash takes the exemption away, and only then.
    served.tenant.feature(Features::ENFORCE_CLOUD_PASSWORD_POLICY, true);
    assert_eq!(policies("ann").await, json!("DisablePasswordExpiration"));
    assert_eq!(numbers(&served, vec![now("ann", "Alpha-2")]).await, [0]);
    assert_eq!((policies("ann").await, policies("bob").await), (Value::Null, json!("DisablePasswordExpiration")));
    assert_eq!(sign_in(&served, "ann", "Alpha-2").await, 0);
    served.tenant.advance_clock(91 * DAY).unwrap();
    assert_eq!(sign_in(&served, "ann", "Alpha-2").await, 50055, "expired");
    assert_eq!(sign_in(&served, "bob", "Beta-1").await, 0);
    // An administrator clears it for the others, and a reset leaves the policy as it is.
    let token = served.token("https://graph.microsoft.com").await;
    let patch = served.client.patch(served.url(&format!("/v1.0/users/{}", upn("bob")))).bearer_auth(token);
    assert_eq!(patch.json(&json!({"passwordPolicies": "None"})).send().await.unwrap().status(), 204);
    assert_eq!(policies("bob").await, Value::Null);
    assert_eq!(sign_in(&served, "bob", "Beta-1").await, 50055);
    served.tenant.feature(Features::ENFORCE_CLOUD_PASSWORD_POLICY, false);
    assert_eq!(numbers(&served, vec![now("bob", "Beta-2")]).await, [0]);
    reset(&served, "bob", "Cloud-only 1").await;
    assert_eq!(policies("bob").await, json!("DisablePasswordExpiration"));
}

#[tokio::test]
async fn faults_hit_whom_they_are_meant_for() {
    let served = with_two(settings()).await;
    let both = || vec![item("ann", "Alpha-1"), item("bob", "Beta-1")];
    // Every second batch; calls of other operations do not count.
    served.fault("busy,every=2,operation=ProvisionCredentials").await;
    assert_eq!(numbers(&served, both()).await, [0, 0]);
    let fault = call(&served, both()).await.unwrap_err();
    assert_eq!((fault.code, fault.tracking_id.is_some()), (Some(81), true));
    assert_eq!(numbers(&served, both()).await, [0, 0]);
    served.tenant.faults().clear();
    // The next two that hold bob.
    served.fault("reject=2x,operation=ProvisionCredentials,code=4,anchor=bob").await;
    assert_eq!(numbers(&served, vec![item("ann", "Alpha-2")]).await, [0]);
    let results = call(&served, vec![item("ann", "Alpha-3"), item("bob", "Beta-3")]).await.unwrap();
    assert_eq!((results[0].result, results[1].result, results[1].extended_error.is_some()), (0, 4, true));
    assert_eq!((results[0].source_anchor.as_deref(), results[1].source_anchor.as_deref()), (Some("ann"), Some("bob")));
    assert_eq!((sign_in(&served, "ann", "Alpha-3").await, sign_in(&served, "bob", "Beta-1").await), (0, 0));
    assert_eq!(numbers(&served, vec![item("bob", "Beta-3"), item("ann", "Alpha-3")]).await, [4, 0]);
    assert_eq!(numbers(&served, vec![item("bob", "Beta-3")]).await, [0]);
    assert_eq!(served.tenant.traffic().credentials[&4], 2);
    // Half a batch, then busy: sending it again does no harm.
    served.fault("partial=1x,operation=ProvisionCredentials").await;
    assert_eq!(call(&served, vec![item("ann", "Alpha-4"), item("bob", "Beta-4")]).await.unwrap_err().code, Some(81));
    assert_eq!((sign_in(&served, "ann", "Alpha-4").await, sign_in(&served, "bob", "Beta-3").await), (0, 0));
    // Off is off, whatever else is wrong with the call.
    served.tenant.feature(Features::PASSWORD_HASH_SYNC, false);
    let fault = call(&served, vec![item("ann", "Alpha-5")]).await.unwrap_err();
    assert_eq!((fault.code, fault.sender), (Some(90), true));
    assert!(fault.description.starts_with("Password Synchronization has not been activated"), "{fault}");
    assert_eq!(sign_in(&served, "ann", "Alpha-4").await, 0, "what was sent last goes on working");
}

#[tokio::test]
async fn the_log_names_what_a_password_was_held_against() {
    let served = with_two(settings()).await;
    assert_eq!(numbers(&served, vec![item("ann", "Alpha-1")]).await, [0]);
    for password in ["Alpha-1", "wrong"] {
        sign_in(&served, "ann", password).await;
    }
    reset(&served, "ann", "Cloud-only 1").await;
    let tried = served.admin(Method::POST, "/sign-in").json(&json!({"user": upn("ann"), "password": "Cloud-only 1"}));
    let (_, tried) = answer(tried.send().await.unwrap()).await;
    assert_eq!(tried["path"], "cloud password");
    for name in ["bob", "nobody"] {
        sign_in(&served, name, "x").await;
    }
    let (_, log) = answer(served.admin(Method::GET, "/sign-ins").send().await.unwrap()).await;
    let entries: Vec<(&str, u64, &str)> = log["signIns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["user"].as_str().unwrap(), entry["code"].as_u64().unwrap(), entry["path"].as_str().unwrap()))
        .collect();
    let (ann, bob, nobody) = (upn("ann"), upn("bob"), upn("nobody"));
    assert_eq!(
        entries,
        [
            (ann.as_str(), 0, "synchronized hash"),
            (ann.as_str(), 50126, "synchronized hash"),
            (ann.as_str(), 0, "cloud password"),
            (bob.as_str(), 50126, "none"),
            (nobody.as_str(), 50034, "none"),
        ]
    );
    assert!(!log.to_string().contains("Alpha-1") && !log.to_string().contains("wrong"));
    let (_, rest) = answer(served.admin(Method::GET, "/sign-ins?after=4").send().await.unwrap()).await;
    assert_eq!((rest["signIns"].as_array().unwrap().len(), rest["last"].as_u64()), (1, Some(5)));
}

/// A password record as the first form wrote it, before sessions were told from passwords.
#[derive(rkyv::Archive, rkyv::Serialize)]
struct FirstForm {
    derivation: String,
    synchronized: bool,
    changed: i64,
    must_change: bool,
    never_expires: bool,
    failures: u32,
    locked_until: i64,
}

const CREDENTIALS: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new("credentials");

/// Writes the rows of a tenant's file anew in the first form. Gives how many there were.
fn back_to_the_first_form(file: &Path, changed: i64) -> usize {
    let database = redb::Database::open(file).unwrap();
    let transaction = database.begin_write().unwrap();
    let mut table = transaction.open_table(CREDENTIALS).unwrap();
    let keys: Vec<Vec<u8>> = table.iter().unwrap().map(|row| row.unwrap().0.value().to_vec()).collect();
    for (number, key) in keys.iter().enumerate() {
        let form = table.get(key.as_slice()).unwrap().unwrap().value()[0];
        assert_eq!(form, 2, "what is written today is of the second form");
        let data = CredentialData::derive(&NtHash::of_password("Alpha-1"), &[9; 10], 3).unwrap();
        let record = FirstForm {
            derivation: secrecy::ExposeSecret::expose_secret(&data.to_text()).to_owned(),
            // Every second one came from the directory, the others were set in the cloud.
            synchronized: number % 2 == 0,
            changed,
            must_change: number + 1 == keys.len(),
            never_expires: true,
            failures: 0,
            locked_until: 0,
        };
        let body = rkyv::to_bytes::<rkyv::rancor::Error>(&record).unwrap();
        let row: Vec<u8> = [1].into_iter().chain(body.iter().copied()).collect();
        table.insert(key.as_slice(), row.as_slice()).unwrap();
    }
    drop(table);
    transaction.commit().unwrap();
    keys.len()
}

#[tokio::test]
async fn passwords_of_the_first_form_are_read_and_written_anew_by_their_next_change() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tenant.redb");
    let own = settings();
    let open = || Tenant::open(&Location::File(file.clone()), own.clone(), Context::system()).unwrap();
    let changed = {
        let tenant = open();
        for name in ["ann", "bob", "eve"] {
            tenant.accept(user(name, &[("userPrincipalName", text(&upn(name)))]));
            let object = tenant.directory().read().unwrap().by_anchor(name).unwrap().unwrap();
            tenant.directory().set_password(object, &SecretString::from("Before-1"), false, &tenant.policy()).unwrap();
        }
        tenant.now().0
    };
    let rows = back_to_the_first_form(&file, changed);
    assert!(rows >= 3, "{rows}");
    let tenant = open();
    let record = |name: &str| {
        let reader = tenant.directory().read().unwrap();
        reader.credential(reader.by_anchor(name).unwrap().unwrap()).unwrap().unwrap()
    };
    let people = ["ann", "bob", "eve"].map(record);
    assert!(people.iter().any(|known| known.synchronized) && people.iter().any(|known| !known.synchronized));
    for known in &people {
        assert!(known.never_expires && known.changed == changed);
        assert_eq!(known.sessions_since, if known.synchronized { 0 } else { changed }, "only a reset in the cloud ends sessions");
    }
    let signs_in = |name: &str, password: &str| tenant.verify_password(&upn(name), &SecretString::from(password)).unwrap().is_ok();
    for (name, known) in ["ann", "bob", "eve"].into_iter().zip(&people) {
        assert_eq!((signs_in(name, "Alpha-1"), signs_in(name, "Before-1")), (!known.must_change, false), "{name}");
    }
    let object = tenant.directory().read().unwrap().by_anchor("bob").unwrap().unwrap();
    tenant.directory().set_password(object, &SecretString::from("After-1"), false, &tenant.policy()).unwrap();
    assert!(signs_in("bob", "After-1") && !signs_in("bob", "Alpha-1") && signs_in("ann", "Alpha-1"));
}

#[tokio::test]
async fn accounts_of_the_cloud_take_passwords_only_where_that_is_allowed() {
    for allowed in [false, true] {
        let mut settings = settings();
        settings.password_only_links = allowed;
        let served = with_two(settings).await;
        let cloud = served.tenant.cloud_user(&upn("cloud"), &[("displayName", text("Kept"))]);
        let administrator = format!("User_{}", served.tenant.state().sync_accounts[0]);
        let by_key = |anchor: &str, password: &str| CredentialChange {
            cloud_anchor: Some(anchor.to_owned()),
            source_anchor: None,
            ..item("", password)
        };
        let items = vec![by_key(&cloud.cloud_anchor(), "Cloud-1"), by_key(&administrator, "Owned-1")];
        assert_eq!(numbers(&served, items).await, if allowed { [0, 2] } else { [2, 2] });
        assert_eq!(sign_in(&served, "cloud", "Cloud-1").await, if allowed { 0 } else { 50126 });
        assert_eq!(shown(&served, "cloud", "onPremisesSyncEnabled").await, Value::Null, "it stays the cloud's own");
        assert_eq!(shown(&served, "cloud", "displayName").await, json!("Kept"));
    }
}
