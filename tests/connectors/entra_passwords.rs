//! The Entra connector as a target of password hashes, against a local tenant on the network: what counts, what is
//! refused, and how a busy, silent or unwilling service reads to the agent.

use crate::entra::{serve_tenant, tenant_settings};
use secrecy::SecretString;
use std::sync::Arc;
use std::time::Duration;
use syncline::connector::entra::{EntraConnector, EntraSettings, SignIn};
use syncline::connector::{
    Connector as _, Credential, CredentialAnswer, CredentialErrorKind, PASSWORD_BATCH, PasswordFeatures, PasswordTarget as _,
};
use syncline::context::Context;
use syncline::model::{Names, Timestamp};
use syncline::password::hash::{CredentialData, NtHash};
use syncline::tenant::directory::{Features, Incoming, ObjectKind, Operation, PropertyValue, SyncChange};
use syncline::tenant::{ServerHandle, Tenant, Tls};

const PATIENCE: Duration = Duration::from_secs(30);

struct World {
    tenant: Arc<Tenant>,
    handle: ServerHandle,
    connector: EntraConnector,
    cx: Context,
}

/// A tenant that takes password hashes and has the users a and b.
async fn world() -> World {
    let (tenant, handle) = serve_tenant(tenant_settings(), Tls::Plain).await;
    feature(&tenant, Features::PASSWORD_HASH_SYNC, true);
    for anchor in ["a", "b"] {
        let name = Incoming::Value(PropertyValue::Text(format!("{anchor}@contoso.com")));
        let change = SyncChange {
            kind: ObjectKind::User,
            operation: Operation::Add,
            source_anchor: Some(anchor.to_owned()),
            cloud_anchor: None,
            properties: vec![("userPrincipalName".to_owned(), name)],
        };
        assert!(tenant.directory().apply(&[change], &tenant.policy()).unwrap()[0].result.is_ok());
    }
    let secret = tenant.settings().credentials.client_secret.clone();
    let connector = connector(&tenant, &handle, secret);
    World { tenant, handle, connector, cx: Context::system() }
}

fn connector(tenant: &Tenant, handle: &ServerHandle, secret: SecretString) -> EntraConnector {
    let credentials = &tenant.settings().credentials;
    let sign_in = SignIn::Secret { client_id: credentials.client_id.to_string(), secret };
    let settings = EntraSettings {
        login_url: handle.base_url.clone(),
        provisioning_url: format!("{}/provisioningservice.svc", handle.base_url),
        ..EntraSettings::new(credentials.tenant_id.to_string(), sign_in)
    };
    EntraConnector::new(settings, Arc::new(Names::new())).unwrap()
}

fn feature(tenant: &Tenant, bit: i32, on: bool) {
    tenant.update_state(|state| state.features = state.features.with(bit, on)).unwrap();
}

fn credential(anchor: &str, password: &str) -> Credential {
    Credential {
        source_anchor: anchor.to_owned(),
        cloud_anchor: None,
        changed: Timestamp(1_704_164_645_678_901),
        data: CredentialData::derive(&NtHash::of_password(password), &[7; 10], 2).unwrap(),
        force_change: false,
    }
}

impl World {
    fn fault(&self, rule: &str) {
        self.tenant.faults().add(rule.parse().unwrap());
    }

    fn calls(&self) -> u64 {
        self.tenant.traffic().calls.get("ProvisionCredentials").copied().unwrap_or(0)
    }

    fn signs_in(&self, user: &str, password: &str) -> bool {
        self.tenant.verify_password(user, &SecretString::from(password)).unwrap().is_ok()
    }
}

#[tokio::test]
async fn every_account_of_a_batch_has_its_answer() {
    let world = world().await;
    let batch = [credential("a", "Alpha-1"), credential("nobody", "Nobody-1"), credential("b", "Beta-1")];
    let answers = world.connector.send(&world.cx, &batch, PATIENCE).await.unwrap();
    assert_eq!(answers, [CredentialAnswer::Accepted, CredentialAnswer::Unknown, CredentialAnswer::Accepted]);
    assert!(world.signs_in("a@contoso.com", "Alpha-1") && world.signs_in("b@contoso.com", "Beta-1"));
    assert!(!world.signs_in("a@contoso.com", "Beta-1"));
    // By the cloud's own key when there is no other.
    let anchor = world.tenant.find_user("a@contoso.com").unwrap().unwrap().1.cloud_anchor();
    let by_cloud = Credential { cloud_anchor: Some(anchor), ..credential("", "Alpha-2") };
    assert_eq!(world.connector.send(&world.cx, &[by_cloud], PATIENCE).await.unwrap(), [CredentialAnswer::Accepted]);
    assert!(world.signs_in("a@contoso.com", "Alpha-2") && !world.signs_in("a@contoso.com", "Alpha-1"));
    // More than a call may hold is not sent at all.
    let calls = world.calls();
    let many = vec![credential("a", "x"); PASSWORD_BATCH + 1];
    assert_eq!(world.connector.send(&world.cx, &many, PATIENCE).await.unwrap_err().kind, CredentialErrorKind::Later);
    assert_eq!(world.calls(), calls);
}

#[tokio::test]
async fn an_empty_batch_is_a_sign_of_life() {
    let world = world().await;
    assert_eq!(world.tenant.state().last_password_synchronization, None);
    assert_eq!(world.connector.send(&world.cx, &[], PATIENCE).await.unwrap(), []);
    assert!(world.tenant.state().last_password_synchronization.is_some());
}

#[tokio::test]
async fn a_busy_service_is_asked_again_within_patience() {
    let world = world().await;
    world.fault("busy=2x,operation=ProvisionCredentials,retry-after=0.02");
    let answers = world.connector.send(&world.cx, &[credential("a", "Alpha-1")], PATIENCE).await.unwrap();
    assert_eq!((answers.as_slice(), world.calls()), (&[CredentialAnswer::Accepted][..], 3));
}

#[tokio::test]
async fn a_service_that_stays_busy_tells_when_to_come_again() {
    let world = world().await;
    // Longer than our patience: it is not waited for.
    world.fault("busy=1x,operation=ProvisionCredentials,retry-after=45");
    let begun = world.cx.clock.elapsed();
    let error = world.connector.send(&world.cx, &[credential("a", "Alpha-1")], PATIENCE).await.unwrap_err();
    let waited = world.cx.clock.elapsed().saturating_sub(begun);
    assert!(waited < Duration::from_secs(20), "{waited:?}");
    assert_eq!((error.kind, error.code, error.retry_after), (CredentialErrorKind::Later, Some(81), Some(Duration::from_secs(45))));
    assert!(error.tracking_id.as_ref().is_some_and(|id| id.len() == 36 && error.message.contains(id)), "{error:?}");
    assert_eq!(world.calls(), 1);
    // Without a word about when, pauses of our own use up the time.
    world.fault("busy,operation=ProvisionCredentials");
    let error = world.connector.send(&world.cx, &[credential("a", "Alpha-1")], Duration::from_secs(3)).await.unwrap_err();
    assert_eq!((error.kind, error.code, error.retry_after), (CredentialErrorKind::Later, Some(81), None));
    assert!((2..=3).contains(&(world.calls() - 1)), "{}", world.calls());
    // Objects are no part of it.
    assert!(world.connector.begin_export(&world.cx).await.is_ok());
    world.tenant.faults().clear();
    // What throttles by HTTP alone is the same.
    world.fault("throttle=1x,operation=ProvisionCredentials,retry-after=60");
    let error = world.connector.send(&world.cx, &[credential("a", "Alpha-1")], Duration::from_secs(1)).await.unwrap_err();
    assert_eq!((error.kind, error.retry_after), (CredentialErrorKind::Later, Some(Duration::from_mins(1))));
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_and_does_no_harm() {
    let world = world().await;
    world.fault("drop-answer=1x,operation=ProvisionCredentials");
    assert_eq!(world.connector.send(&world.cx, &[credential("a", "Alpha-1")], PATIENCE).await.unwrap(), [CredentialAnswer::Accepted]);
    assert_eq!(world.calls(), 2);
    world.fault("drop-answer,operation=ProvisionCredentials");
    let error = world.connector.send(&world.cx, &[credential("a", "Alpha-2")], Duration::from_millis(10)).await.unwrap_err();
    assert_eq!((error.kind, error.code), (CredentialErrorKind::Later, None));
    assert!(world.signs_in("a@contoso.com", "Alpha-2"), "the work was done");
}

#[tokio::test]
async fn who_does_not_want_passwords_says_why() {
    let world = world().await;
    feature(&world.tenant, Features::PASSWORD_HASH_SYNC, false);
    let send = || world.connector.send(&world.cx, &[], PATIENCE);
    let error = send().await.unwrap_err();
    assert_eq!((error.kind, error.code, error.tracking_id.is_some()), (CredentialErrorKind::SwitchedOff, Some(90), true));
    // A secret that is not ours.
    let stranger = connector(&world.tenant, &world.handle, SecretString::from("wrong"));
    assert_eq!(stranger.send(&world.cx, &[], PATIENCE).await.unwrap_err().kind, CredentialErrorKind::Denied);
    // A token that the service does not like.
    world.fault("unauthorized,operation=ProvisionCredentials");
    assert_eq!(send().await.unwrap_err().kind, CredentialErrorKind::Denied);
    let stopped = Context::system();
    stopped.cancel.cancel();
    assert_eq!(world.connector.send(&stopped, &[], PATIENCE).await.unwrap_err().kind, CredentialErrorKind::Cancelled);
    assert!(world.tenant.activate(false).unwrap());
    world.tenant.faults().clear();
    let error = send().await.unwrap_err();
    assert_eq!(error.kind, CredentialErrorKind::Disabled, "{error}");
    assert!(!world.connector.features(&world.cx).await.unwrap().synchronization);
    // Nobody there.
    let World { connector, handle, cx, .. } = world;
    handle.shutdown().await;
    assert_eq!(connector.send(&cx, &[], Duration::from_millis(10)).await.unwrap_err().kind, CredentialErrorKind::Later);
}

#[tokio::test]
async fn switching_keeps_what_else_is_switched() {
    let world = world().await;
    let bits = || world.tenant.state().features.0;
    let before = bits();
    let features = world.connector.features(&world.cx).await.unwrap();
    let expected = PasswordFeatures { synchronization: true, password_hashes: true, force_change: false, ..PasswordFeatures::default() };
    assert_eq!(features, expected);
    world.connector.set_enabled(&world.cx, false).await.unwrap();
    assert_eq!(bits(), before & !Features::PASSWORD_HASH_SYNC);
    assert!(!world.connector.features(&world.cx).await.unwrap().password_hashes);
    // Done already: nothing is written.
    let writes = || world.tenant.traffic().calls.get("SetCompanyDirsyncFeatures").copied();
    let written = writes();
    world.connector.set_enabled(&world.cx, false).await.unwrap();
    assert_eq!(writes(), written);
    world.connector.set_enabled(&world.cx, true).await.unwrap();
    assert_eq!(bits(), before);
    for bit in [512, 16384] {
        feature(&world.tenant, bit, true);
    }
    let features = world.connector.features(&world.cx).await.unwrap();
    assert!(features.force_change && features.cloud_policy);
}
