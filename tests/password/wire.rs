//! The agent against the local tenant over HTTP: a busy one, one that refuses somebody, one with the feature off. Time
//! is ours, the wire is real.

use crate::fakes::Stage;
use futures_util::FutureExt as _;
use secrecy::SecretString;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use syncline::connector::entra::{EntraConnector, EntraSettings, SignIn};
use syncline::context::Context;
use syncline::events::{Event, Field, PasswordEvent};
use syncline::model::Names;
use syncline::store::{PasswordRecord, PasswordStatus};
use syncline::tenant::directory::{Features, Incoming, ObjectKind, Operation, PropertyValue, SyncChange};
use syncline::tenant::{Location, ServerHandle, Tenant, TenantCredentials, TenantSettings, Tls, serve};
use tokio::net::TcpListener;

const CALL: &str = "ProvisionCredentials";

struct Wire {
    stage: Stage,
    tenant: Arc<Tenant>,
    /// Serves for as long as it lives.
    _handle: ServerHandle,
}

/// So many people, in the directory and in the tenant, and the product's own connector between them.
async fn wire(people: usize) -> Wire {
    let mut settings = TenantSettings::new("Contoso", "contoso.onmicrosoft.com", TenantCredentials::generate());
    settings.verified_domains = vec!["a.example".to_owned()];
    let tenant = Tenant::open(&Location::Memory, settings, Context::system()).unwrap();
    tenant.update_state(|state| state.features = state.features.with(Features::PASSWORD_HASH_SYNC, true)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let handle = serve(Arc::clone(&tenant), listener, Tls::Plain, Context::system()).await.unwrap();
    let credentials = &tenant.settings().credentials;
    let sign_in = SignIn::Secret { client_id: credentials.client_id.to_string(), secret: credentials.client_secret.clone() };
    let reach = EntraSettings {
        login_url: handle.base_url.clone(),
        provisioning_url: format!("{}/provisioningservice.svc", handle.base_url),
        ..EntraSettings::new(credentials.tenant_id.to_string(), sign_in)
    };
    let mut stage = Stage::new();
    for number in 0..people {
        let name = name(number);
        stage.hire(&name, "DC=a");
        let user = SyncChange {
            kind: ObjectKind::User,
            operation: Operation::Add,
            source_anchor: Some(name.clone()),
            cloud_anchor: None,
            properties: vec![("userPrincipalName".to_owned(), Incoming::Value(PropertyValue::Text(format!("{name}@a.example"))))],
        };
        assert!(tenant.directory().apply(&[user], &tenant.policy()).unwrap()[0].result.is_ok());
    }
    stage.run();
    stage.send_to(Arc::new(EntraConnector::new(reach, Arc::new(Names::new())).unwrap()));
    // The connector waits for a busy tenant by itself for a while.
    stage.clock.move_by_waiting();
    Wire { stage, tenant, _handle: handle }
}

fn name(number: usize) -> String {
    format!("{number:03}")
}

impl Wire {
    fn fault(&self, rule: &str) {
        self.tenant.faults().add(rule.parse().unwrap());
    }

    /// Some minutes pass, then a cycle. Gives the changes that were asked for, by account, with how often.
    async fn after(&self, minutes: i64) -> BTreeMap<String, usize> {
        self.stage.ear.0.lock().unwrap().clear();
        self.stage.clock.forward(minutes);
        self.stage.cycle().await;
        let mut asked = BTreeMap::new();
        for event in self.stage.ear.0.lock().unwrap().iter() {
            if let Event::Password(PasswordEvent::ChangeRequest { anchor, .. }) = event {
                *asked.entry(anchor.clone()).or_default() += 1;
            }
        }
        asked
    }

    /// The batches that failed in the last cycle: how many accounts, code and tracking id.
    fn failed(&self) -> Vec<(u64, Option<i64>, String)> {
        let events = self.stage.ear.0.lock().unwrap();
        let failed = events.iter().filter_map(|event| match event {
            Event::Password(PasswordEvent::BatchFailed { count, error_code, tracking_id, .. }) => {
                // What people and programs see has them, too.
                let fields = event.fields();
                assert!(fields.iter().any(|(name, value)| *name == "error_code" && matches!(value, Field::Code(_))), "{fields:?}");
                assert!(event.to_string().contains("Tracking ID: "), "{event}");
                Some((*count, *error_code, tracking_id.clone().unwrap_or_default()))
            }
            _ => None,
        });
        failed.collect()
    }

    fn signs_in(&self, name: &str, password: &str) -> bool {
        self.tenant.verify_password(&format!("{name}@a.example"), &SecretString::from(password)).unwrap().is_ok()
    }

    fn record(&self, name: &str) -> PasswordRecord {
        self.stage.record(name)
    }

    /// Seconds between the last attempt and the next one.
    fn pause(&self, name: &str) -> i64 {
        let record = self.record(name);
        (record.next.unwrap().0 - record.attempted.unwrap().0) / 1_000_000
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_busy_batches_come_again_when_told_and_nobody_else_notices() {
    const PEOPLE: usize = 300;
    let wire = wire(PEOPLE).await;
    // Longer than the connector waits by itself.
    wire.fault(&format!("busy=3x,operation={CALL},retry-after=600"));
    let asked = wire.after(2).await;
    assert_eq!((asked.len(), asked.values().max()), (PEOPLE, Some(&1)));
    let failed = wire.failed();
    assert_eq!(failed.iter().map(|(count, code, _)| (*count, *code)).collect::<Vec<_>>(), [(50, Some(81)); 3]);
    let ids: BTreeSet<&str> = failed.iter().map(|(_, _, id)| id.as_str()).collect();
    assert!(ids.len() == 3 && ids.iter().all(|id| id.len() == 36), "{ids:?}");
    let late: Vec<String> = (0..PEOPLE).map(name).filter(|name| !wire.signs_in(name, &format!("first-{name}"))).collect();
    assert_eq!(late.len(), 150, "everybody else can sign in");
    for name in &late {
        let record = wire.record(name);
        assert_eq!((record.status, record.code, record.attempts), (PasswordStatus::RetryRequestedByTarget, Some(81), 1));
        assert_eq!(wire.pause(name), 600, "as long as the tenant said");
    }
    assert_eq!(wire.after(9).await, BTreeMap::new(), "not before");
    let again = wire.after(1).await;
    assert_eq!((again.keys().cloned().collect::<Vec<_>>(), again.values().max()), (late, Some(&1)));
    assert_eq!(wire.failed(), []);
    assert!((0..PEOPLE).map(name).all(|name| wire.signs_in(&name, &format!("first-{name}"))));
    assert_eq!(wire.after(2).await, BTreeMap::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_stays_busy_is_asked_as_the_table_says() {
    let wire = wire(20).await;
    assert_eq!(wire.after(2).await.len(), 20);
    wire.fault(&format!("busy,operation={CALL}"));
    wire.stage.source.change("007", Some("second"));
    wire.after(2).await;
    for (attempts, minutes) in (1..).zip([2, 4, 8, 16, 30, 30]) {
        let record = wire.record("007");
        assert_eq!((record.status, record.code, record.attempts), (PasswordStatus::RetryRequestedByTarget, Some(81), attempts));
        let pause = wire.pause("007");
        assert!((minutes * 60..=minutes * 72).contains(&pause), "{pause} s for {minutes} minutes");
        assert!(wire.signs_in("007", "first-007") && !wire.signs_in("007", "second"));
        // The target is held for a while, too, after a sign of life in vain; so it may take some cycles more.
        let mut cycles = 0;
        while wire.record("007").attempts == attempts {
            wire.after(2).await;
            cycles += 1;
            assert!(cycles < 60, "{:?}", wire.record("007"));
        }
    }
    wire.tenant.faults().clear();
    let mut cycles = 0;
    while wire.record("007").status != PasswordStatus::Success {
        wire.after(2).await;
        cycles += 1;
        assert!(cycles < 60, "{:?}", wire.record("007"));
    }
    assert!(wire.signs_in("007", "second"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_user_refused_is_the_only_one_tried_again() {
    let wire = wire(120).await;
    wire.fault(&format!("reject=5x,operation={CALL},code=4,anchor=017"));
    assert_eq!(wire.after(2).await.len(), 120);
    assert!((0..120).map(name).filter(|name| name != "017").all(|name| wire.signs_in(&name, &format!("first-{name}"))));
    for attempts in 1..5 {
        let record = wire.record("017");
        assert_eq!((record.status, record.code, record.attempts), (PasswordStatus::Error, Some(4), attempts));
        let asked = wire.after(36).await;
        assert_eq!(asked, BTreeMap::from([("017".to_owned(), 1)]));
        assert_eq!(wire.failed(), [], "the batch as a whole has its answer");
    }
    assert_eq!(wire.stage.count(7051), 1, "the fifth refusal is flagged");
    assert_eq!(wire.after(36).await, BTreeMap::from([("017".to_owned(), 1)]));
    assert!(wire.signs_in("017", "first-017"));
    assert_eq!(wire.after(36).await, BTreeMap::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn switched_off_in_the_tenant_it_stops_and_goes_on_by_itself() {
    let wire = wire(60).await;
    assert_eq!(wire.after(2).await.len(), 60);
    let switch = |on| wire.tenant.update_state(|state| state.features = state.features.with(Features::PASSWORD_HASH_SYNC, on)).unwrap();
    switch(false);
    wire.stage.source.change("007", Some("second"));
    // The settings say so already: nothing is sent at all.
    assert_eq!(wire.after(2).await, BTreeMap::new());
    assert_eq!((wire.stage.count(660), wire.failed().len()), (1, 0));
    for _ in 0..3 {
        assert_eq!(wire.after(2).await, BTreeMap::new());
        assert_eq!(wire.stage.count(660), 0, "told once");
    }
    assert!(wire.signs_in("007", "first-007"), "what was sent last goes on working");
    switch(true);
    assert_eq!(wire.after(2).await, BTreeMap::from([("007".to_owned(), 1)]));
    assert_eq!(wire.stage.count(661), 1);
    assert!(wire.signs_in("007", "second"));
}

/// The feature goes off between the look at the settings and the batch: the batch itself learns it, by fault 90.
#[tokio::test(flavor = "multi_thread")]
async fn switched_off_in_between_the_batch_learns_it_by_fault_90() {
    let wire = wire(60).await;
    let tenant = Arc::clone(&wire.tenant);
    let off = async move {
        tenant.update_state(|state| state.features = state.features.with(Features::PASSWORD_HASH_SYNC, false)).unwrap();
        Vec::new()
    };
    // Read behind the settings and before the last batch goes out.
    wire.stage.source.goes_on([off.boxed()]);
    wire.after(2).await;
    let failed = wire.failed();
    assert!(!failed.is_empty() && failed.iter().all(|(_, code, id)| *code == Some(90) && id.len() == 36), "{failed:?}");
    assert_eq!(wire.stage.count(660), 1);
    let inside = (0..60).map(name).filter(|name| wire.signs_in(name, &format!("first-{name}"))).count();
    assert!(inside < 60, "{inside}");
    wire.tenant.update_state(|state| state.features = state.features.with(Features::PASSWORD_HASH_SYNC, true)).unwrap();
    let rest = wire.after(2).await;
    assert_eq!((inside + rest.len(), rest.values().max()), (60, Some(&1)), "nobody twice, nobody left out");
    assert!((0..60).map(name).all(|name| wire.signs_in(&name, &format!("first-{name}"))));
}
