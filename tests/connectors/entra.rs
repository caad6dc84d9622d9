//! The Entra connector against a local tenant on the network: what it sends, what it reads back, and what it makes of
//! refusals, lost answers and a busy service.

use crate::quick::Quick;
use crate::seen::{Seen, import, run};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use secrecy::SecretString;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use syncline::connector::entra::{EntraConnector, EntraSettings, SignIn, SignInDesk};
use syncline::connector::{
    AttributeChange, Connector, ConnectorError, ConnectorErrorKind, ExportBatch, ExportKind, ExportOperation, ExportOutcome, ExportTotals,
    ImportKind, Installation, PasswordTarget as _, ReferenceChange,
};
use syncline::context::Context;
use syncline::model::{Anchor, ConnectorId, CsId, Names, Value};
use syncline::tenant::directory::Features;
use syncline::tenant::faults::{Bucket, Throttle};
use syncline::tenant::{Location, ServerHandle, Tenant, TenantCredentials, TenantSettings, Tls, serve};
use tokio::net::TcpListener;

/// Attributes that the imports of these tests read.
const READ: [&str; 8] =
    ["sourceAnchor", "displayName", "userPrincipalName", "proxyAddresses", "accountEnabled", "countryCode", "member", "manager"];

struct World {
    tenant: Arc<Tenant>,
    handle: ServerHandle,
    names: Arc<Names>,
    connector: EntraConnector,
}

pub(crate) fn tenant_settings() -> TenantSettings {
    let mut settings = TenantSettings::new("Contoso", "contoso.onmicrosoft.com", TenantCredentials::generate());
    settings.verified_domains = vec!["contoso.com".to_owned()];
    settings
}

pub(crate) async fn serve_tenant(settings: TenantSettings, tls: Tls) -> (Arc<Tenant>, ServerHandle) {
    let tenant = Tenant::open(&Location::Memory, settings, Context::system()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let handle = serve(Arc::clone(&tenant), listener, tls, Context::system()).await.unwrap();
    (tenant, handle)
}

fn reach(tenant: &Tenant, handle: &ServerHandle, sign_in: SignIn) -> EntraSettings {
    EntraSettings {
        login_url: handle.base_url.clone(),
        provisioning_url: format!("{}/provisioningservice.svc", handle.base_url),
        batch_objects: 100,
        ..EntraSettings::new(tenant.settings().credentials.tenant_id.to_string(), sign_in)
    }
}

fn by_secret(tenant: &Tenant) -> SignIn {
    let credentials = &tenant.settings().credentials;
    SignIn::Secret { client_id: credentials.client_id.to_string(), secret: credentials.client_secret.clone() }
}

async fn world() -> World {
    let (tenant, handle) = serve_tenant(tenant_settings(), Tls::Plain).await;
    let names = Arc::new(Names::new());
    let connector = EntraConnector::new(reach(&tenant, &handle, by_secret(&tenant)), Arc::clone(&names)).unwrap();
    World { tenant, handle, names, connector }
}

impl World {
    fn fault(&self, rule: &str) {
        self.tenant.faults().add(rule.parse().unwrap());
    }

    async fn send(&self, operations: Vec<ExportOperation>) -> Vec<ExportOutcome> {
        let batch = ExportBatch { operations };
        let reply = self.connector.export(&Context::system(), &batch).await.unwrap();
        reply.outcomes().iter().map(|(_, outcome)| outcome.clone()).collect()
    }

    async fn read(&self) -> Seen {
        import(&self.connector, &self.names, &READ).await.unwrap()
    }
}

fn dn(anchor: &str) -> String {
    format!("CN={{{}}}", hex::encode_upper(anchor))
}

fn operation(number: u64, kind: ExportKind, object_type: &str, anchor: &str) -> ExportOperation {
    ExportOperation {
        id: CsId::new(ConnectorId(2), number),
        kind,
        object_type: object_type.to_owned(),
        dn: dn(anchor),
        rename: None,
        anchor: None,
        attributes: vec![set("sourceAnchor", &[text(anchor)])],
        references: Vec::new(),
    }
}

fn text(value: &str) -> Value {
    Value::Text(value.into())
}

fn set(name: &str, wanted: &[Value]) -> AttributeChange {
    AttributeChange { name: name.to_owned(), wanted: wanted.to_vec(), added: wanted.to_vec(), removed: Vec::new() }
}

fn user(number: u64, kind: ExportKind, anchor: &str, attributes: Vec<AttributeChange>) -> ExportOperation {
    let mut made = operation(number, kind, "user", anchor);
    made.attributes.extend(attributes);
    made
}

fn refer(name: &str, replace: bool, added: &[&str], removed: &[&str]) -> ReferenceChange {
    let names = |anchors: &[&str]| anchors.iter().map(|anchor| dn(anchor)).collect();
    ReferenceChange { name: name.to_owned(), replace, added: names(added), removed: names(removed) }
}

fn anchor_of(outcome: &ExportOutcome) -> Anchor {
    match outcome {
        ExportOutcome::Accepted { anchor: Some(anchor) } => anchor.clone(),
        other => panic!("not accepted with an anchor: {other:?}"),
    }
}

#[tokio::test]
async fn what_is_sent_is_what_is_read_back() {
    let world = world().await;
    let mut group = operation(3, ExportKind::Add, "group", "g1");
    group.attributes.push(set("displayName", &[text("Group")]));
    group.references.push(refer("member", true, &["u1", "u2"], &[]));
    let mut second = user(2, ExportKind::Add, "u2", vec![set("displayName", &[text("Zoë")])]);
    second.references.push(refer("manager", true, &["u1"], &[]));
    let first = user(
        1,
        ExportKind::Add,
        "u1",
        vec![
            set("displayName", &[text("Ann")]),
            set("userPrincipalName", &[text("ann@contoso.com")]),
            set("accountEnabled", &[Value::Boolean(true)]),
            set("countryCode", &[Value::Number(276)]),
            set("proxyAddresses", &[text("SMTP:ann@contoso.com"), text("smtp:a@contoso.com")]),
        ],
    );
    let outcomes = world.send(vec![first, second, group]).await;
    assert!(anchor_of(&outcomes[0]).to_string().starts_with("User_"));
    assert!(anchor_of(&outcomes[2]).to_string().starts_with("Group_"));

    let seen = world.read().await;
    assert!(seen.completed && seen.rejected.is_empty());
    let ann = &seen.entries[&dn("u1")];
    assert_eq!((ann.object_type.as_str(), ann.anchor.as_slice()), ("user", anchor_of(&outcomes[0]).as_bytes()));
    assert_eq!(ann.text("displayName").as_deref(), Some("Ann"));
    assert_eq!(ann.count("proxyAddresses"), 2);
    assert_eq!(ann.values["countryCode"].first().map(Vec::as_slice), Some(b"276".as_slice()));
    assert_eq!(seen.entries[&dn("u2")].text("manager"), Some(dn("u1")), "references come back as names");
    assert_eq!(seen.entries[&dn("g1")].count("member"), 2);

    // Clearing, single references, and no other attribute touched.
    let change = user(1, ExportKind::Update, "u1", vec![set("proxyAddresses", &[]), set("countryCode", &[])]);
    let mut members = operation(3, ExportKind::Update, "group", "g1");
    members.references.push(refer("member", false, &["g1"], &["u2"]));
    let mut manager = user(2, ExportKind::Update, "u2", Vec::new());
    manager.references.push(refer("manager", false, &[], &["u1"]));
    for outcome in world.send(vec![change, members, manager]).await {
        assert!(matches!(outcome, ExportOutcome::Accepted { .. }), "{outcome:?}");
    }
    let seen = world.read().await;
    let ann = &seen.entries[&dn("u1")];
    assert_eq!((ann.count("proxyAddresses"), ann.count("countryCode"), ann.count("displayName")), (0, 0, 1));
    assert_eq!(seen.entries[&dn("u2")].count("manager"), 0);
    let members = &seen.entries[&dn("g1")].values["member"];
    assert_eq!(members.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect::<Vec<_>>(), [dn("g1"), dn("u1")]);
}

#[tokio::test]
async fn a_cookie_brings_what_changed_and_what_is_gone() {
    let world = world().await;
    world.send((1..=3).map(|number| user(number, ExportKind::Add, &format!("u{number}"), Vec::new())).collect()).await;
    let cookie = cookie(&world, ImportKind::Full).await;
    let changed = user(1, ExportKind::Update, "u1", vec![set("displayName", &[text("New")])]);
    world.send(vec![changed, operation(2, ExportKind::Delete, "user", "u2")]).await;
    let seen = run(&world.connector, &world.names, &READ, ImportKind::Delta { since: cookie.clone() }).await.unwrap();
    assert_eq!(seen.entries.keys().collect::<Vec<_>>(), [&dn("u1")]);
    assert_eq!(seen.gone, [dn("u2")]);

    for unknown in [b"nonsense".to_vec(), vec![0xff]] {
        let error = run(&world.connector, &world.names, &READ, ImportKind::Delta { since: unknown }).await.unwrap_err();
        assert_eq!(error.kind, ConnectorErrorKind::WatermarkLost, "{error}");
    }
}

async fn cookie(world: &World, kind: ImportKind) -> Vec<u8> {
    use futures_util::StreamExt as _;
    let request = syncline::connector::ImportRequest { kind, attributes: READ.iter().map(|name| world.names.intern(name)).collect() };
    let mut stream = world.connector.import(&Context::system(), request).await.unwrap();
    let mut watermark = None;
    while let Some(page) = stream.next().await {
        watermark = page.unwrap().completion.and_then(|completion| completion.watermark);
    }
    watermark.unwrap()
}

#[tokio::test]
async fn pages_are_read_to_the_end() {
    let world = world().await;
    for start in (0..1_200).step_by(400) {
        let outcomes =
            world.send((start..start + 400).map(|number| user(number, ExportKind::Add, &format!("u{number}"), Vec::new())).collect());
        assert!(outcomes.await.iter().all(|outcome| matches!(outcome, ExportOutcome::Accepted { .. })));
    }
    let seen = world.read().await;
    assert_eq!((seen.of_type("user") >= 1_200, seen.pages >= 3, seen.largest_page), (true, true, 500));
}

#[tokio::test]
async fn refusals_name_the_attribute_and_the_other_object() {
    let world = world().await;
    // With resilience against duplicates the tenant would put the second value aside instead of refusing it.
    world.tenant.update_state(|state| state.features = Features(state.features.0).with(Features::DUPLICATE_UPN_RESILIENCY, false)).unwrap();
    let named = |number, anchor: &str, name: &str| user(number, ExportKind::Add, anchor, vec![set("userPrincipalName", &[text(name)])]);
    world.send(vec![named(1, "u1", "ann@contoso.com"), named(2, "u2", "bob@contoso.com")]).await;
    let other = world.read().await.entries[&dn("u1")].anchor.clone();
    let change = user(2, ExportKind::Update, "u2", vec![set("userPrincipalName", &[text("ann@contoso.com")])]);
    let fine = user(1, ExportKind::Update, "u1", vec![set("displayName", &[text("Ann")])]);
    let outcomes = world.send(vec![change, fine]).await;
    let ExportOutcome::Rejected(rejection) = &outcomes[0] else { panic!("{outcomes:?}") };
    assert_eq!(rejection.code.as_str(), "AttributeValueMustBeUnique");
    assert!(rejection.attribute.as_deref().is_some_and(|name| name.eq_ignore_ascii_case("userPrincipalName")), "{rejection:?}");
    let id = String::from_utf8(other).unwrap().split_once('_').unwrap().1.to_owned();
    assert!(rejection.conflicting_object.as_deref().is_some_and(|object| object.contains(&id)), "{rejection:?}");
    assert!(rejection.detail.contains("ann@contoso.com"), "{rejection:?}");
    assert!(matches!(outcomes[1], ExportOutcome::Accepted { .. }), "one bad object stops nothing: {outcomes:?}");

    let nameless = ExportOperation { dn: "CN=Ann,DC=contoso".to_owned(), ..user(3, ExportKind::Add, "u3", Vec::new()) };
    let outcomes = world.send(vec![nameless, user(4, ExportKind::Add, "u4", Vec::new())]).await;
    let ExportOutcome::Rejected(rejection) = &outcomes[0] else { panic!("{outcomes:?}") };
    assert!(rejection.detail.contains("CN=Ann,DC=contoso"), "{rejection:?}");
    assert!(matches!(outcomes[1], ExportOutcome::Accepted { .. }));
}

#[tokio::test]
async fn trouble_on_the_way_is_waited_out() {
    let world = world().await;
    let provision = "operation=ProvisionAzureADSyncObjects2";
    for fault in ["busy=1x", "throttle=1x,retry-after=0.05", "drop-before=1x", "drop-answer=1x", "duplicate=1x", "unauthorized=1x"] {
        world.fault(&format!("{fault},{provision}"));
    }
    let outcomes = world.send(vec![user(1, ExportKind::Add, "u1", Vec::new())]).await;
    assert!(matches!(outcomes[0], ExportOutcome::Accepted { .. }), "{outcomes:?}");
    assert_eq!(world.read().await.entries.keys().filter(|name| **name == dn("u1")).count(), 1, "made once");
    let redirect = format!("redirect=1x,url={}/provisioningservice.svc,{provision}", world.handle.base_url);
    world.fault(&redirect);
    let outcomes = world.send(vec![user(2, ExportKind::Add, "u2", Vec::new())]).await;
    assert!(matches!(outcomes[0], ExportOutcome::Accepted { .. }), "{outcomes:?}");
}

#[tokio::test]
async fn a_redirect_to_a_stranger_is_refused_before_the_token_goes_there() {
    let world = world().await;
    for stranger in ["http://tenant.example/x", "https://tenant.example/x", "http://192.0.2.1/x", "nowhere"] {
        world.fault(&format!("redirect=1x,url={stranger},operation=GetCompanyConfiguration"));
        let error = world.connector.begin_export(&Context::system()).await.unwrap_err();
        assert_eq!((error.kind, error.nothing_sent), (ConnectorErrorKind::Protocol, true), "{error}");
        assert!(error.message.contains(stranger), "{error}");
    }
    world.connector.begin_export(&Context::system()).await.unwrap();
}

#[tokio::test]
async fn a_tenant_that_does_not_synchronize_is_an_error_of_its_own() {
    let mut settings = tenant_settings();
    settings.activated = false;
    let (tenant, handle) = serve_tenant(settings, Tls::Plain).await;
    let names = Arc::new(Names::new());
    let connector = EntraConnector::new(reach(&tenant, &handle, by_secret(&tenant)), Arc::clone(&names)).unwrap();
    let error = connector.begin_export(&Context::system()).await.unwrap_err();
    assert_eq!(error.kind, ConnectorErrorKind::Disabled);
    let error = import(&connector, &names, &READ).await.unwrap_err();
    assert_eq!((error.kind, error.nothing_sent), (ConnectorErrorKind::Disabled, true), "{error}");
}

#[tokio::test]
async fn terms_come_from_the_tenant_and_totals_go_there() {
    let world = world().await;
    let terms = world.connector.begin_export(&Context::system()).await.unwrap();
    assert_eq!((terms.deletes_max, terms.delete_percent_max), (Some(500), None));
    world.connector.finish_export(&Context::system(), ExportTotals { sent: 12, accepted: 11 }).await.unwrap();
    assert_eq!(world.tenant.state().last_export, (12, 11));
}

/// How long ago somebody wrote is told by the tenant's clock alone: ours may be set to another day.
#[tokio::test]
async fn who_wrote_last_comes_with_the_time_of_the_tenant() {
    let (tenant, handle) = serve_tenant(tenant_settings(), Tls::Plain).await;
    let installation = Some(Installation { id: "a".to_owned(), name: "ONE".to_owned() });
    let settings = EntraSettings { installation, ..reach(&tenant, &handle, by_secret(&tenant)) };
    let connector = EntraConnector::new(settings, Arc::new(Names::new())).unwrap();
    connector.finish_export(&Context::system(), ExportTotals::default()).await.unwrap();
    let hours = 3_600_000_000;
    for ahead in [0, 25 * hours] {
        tenant.advance_clock(ahead).unwrap();
        let last = connector.begin_export(&Context::system()).await.unwrap().last_writer.unwrap();
        let ago = last.told.unwrap().0 - last.at.unwrap().0;
        assert!((ahead - 2_000_000..ahead + hours).contains(&ago), "{ahead}: {last:?}");
        assert_eq!(connector.features(&Context::system()).await.unwrap().last_writer.unwrap().told.map(|_| ()), Some(()));
    }
}

#[tokio::test]
async fn sign_in_by_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["sync".to_owned()]).unwrap().self_signed(&key).unwrap();
    assert!(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key.serialize_der(), &SystemRandom::new()).is_ok());
    let elliptic = folder.path().join("ec.pem");
    std::fs::write(&elliptic, certificate.pem()).unwrap();
    let rsa = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tenant/assertion-certificate.pem");
    let rsa_key = std::fs::read_to_string(rsa.with_file_name("assertion-key.pem")).unwrap();

    let mut settings = tenant_settings();
    let der = x509_parser::pem::parse_x509_pem(&std::fs::read(&rsa).unwrap()).unwrap().1.contents;
    settings.certificates = vec![certificate.der().to_vec(), der];
    let (tenant, handle) = serve_tenant(settings, Tls::Plain).await;
    let client_id = tenant.settings().credentials.client_id.to_string();
    let connect = |certificate: &Path, private_key: &str| {
        let sign_in = SignIn::Certificate {
            client_id: client_id.clone(),
            certificate: certificate.to_owned(),
            private_key: SecretString::from(private_key),
        };
        EntraConnector::new(reach(&tenant, &handle, sign_in), Arc::new(Names::new())).unwrap()
    };
    connect(&elliptic, &key.serialize_pem()).begin_export(&Context::system()).await.unwrap();
    connect(&rsa, &rsa_key).begin_export(&Context::system()).await.unwrap();
    let error = connect(&rsa, &key.serialize_pem()).begin_export(&Context::system()).await.unwrap_err();
    assert_eq!(error.kind, ConnectorErrorKind::Authentication, "a key that does not belong to the certificate: {error}");
    let error = connect(&elliptic, "no key at all").begin_export(&Context::system()).await.unwrap_err();
    assert_eq!(error.kind, ConnectorErrorKind::Configuration);
    assert!(!error.message.contains("no key at all"), "{error}");
}

#[derive(Default)]
struct Desk {
    shown: Mutex<Vec<String>>,
    kept: Mutex<Option<SecretString>>,
}

impl SignInDesk for Desk {
    fn show(&self, message: &str) {
        self.shown.lock().unwrap().push(message.to_owned());
    }

    fn keep(&self, refresh_token: &SecretString) {
        *self.kept.lock().unwrap() = Some(refresh_token.clone());
    }
}

#[tokio::test]
async fn a_person_signs_in_once() {
    let (tenant, handle) = serve_tenant(tenant_settings(), Tls::Plain).await;
    let account = tenant.make_sync_account("operator", Some(&SecretString::from("irrelevant here"))).unwrap();
    let desk = Arc::new(Desk::default());
    let sign_in = |refresh_token| SignIn::Person {
        client_id: "1b730954-1685-4b74-9bfd-dac224a7b894".to_owned(),
        refresh_token,
        desk: Arc::clone(&desk) as Arc<dyn SignInDesk>,
    };
    let connector = EntraConnector::new(reach(&tenant, &handle, sign_in(None)), Arc::new(Names::new())).unwrap();
    let admin = {
        let (desk, base, token) = (Arc::clone(&desk), handle.base_url.clone(), tenant.settings().credentials.admin_token.clone());
        tokio::spawn(async move { approve(&desk, &base, &token, &account).await })
    };
    let cx = Context::system();
    let signing_in = tokio::time::timeout(Duration::from_mins(1), connector.begin_export(&cx));
    let (signed_in, approved) = tokio::join!(signing_in, admin);
    approved.unwrap();
    signed_in.unwrap().unwrap();
    assert_eq!(desk.shown.lock().unwrap().len(), 1);
    let kept = desk.kept.lock().unwrap().clone();
    assert!(kept.is_some());
    let again = EntraConnector::new(reach(&tenant, &handle, sign_in(kept)), Arc::new(Names::new())).unwrap();
    again.begin_export(&Context::system()).await.unwrap();
    assert_eq!(desk.shown.lock().unwrap().len(), 1, "the second sign-in asks nobody");
}

/// Approves the code that the tenant showed, as an administrator would.
async fn approve(desk: &Desk, base: &str, token: &SecretString, account: &str) {
    use secrecy::ExposeSecret as _;
    let client = plain_client();
    loop {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let Some(message) = desk.shown.lock().unwrap().first().cloned() else { continue };
        let url = format!("{base}/syncline-admin/device-codes");
        let codes: serde_json::Value = client.get(&url).bearer_auth(token.expose_secret()).send().await.unwrap().json().await.unwrap();
        let code = codes.to_string();
        let code = code.split('"').find(|part| part.len() >= 6 && message.contains(*part)).unwrap().to_owned();
        let body = serde_json::json!({"user": account});
        let answer = client.post(format!("{url}/{code}")).bearer_auth(token.expose_secret()).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
        return;
    }
}

fn plain_client() -> reqwest::Client {
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder().tls_certs_only(None::<reqwest::Certificate>).build().unwrap()
}

#[tokio::test]
async fn only_the_named_authority_is_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let (tenant, handle) = serve_tenant(tenant_settings(), Tls::Own { folder: folder.path().to_owned() }).await;
    let ca = folder.path().join("trusted.pem");
    std::fs::write(&ca, handle.ca_pem.as_deref().unwrap()).unwrap();
    let connect = |ca_file| {
        let settings = EntraSettings { ca_file, ..reach(&tenant, &handle, by_secret(&tenant)) };
        EntraConnector::new(settings, Arc::new(Names::new()))
    };
    connect(Some(ca.clone())).unwrap().begin_export(&Context::system()).await.unwrap();
    let stranger = folder.path().join("stranger.pem");
    let key = rcgen::KeyPair::generate().unwrap();
    std::fs::write(&stranger, rcgen::CertificateParams::new(vec!["ca".to_owned()]).unwrap().self_signed(&key).unwrap().pem()).unwrap();
    let error = connect(Some(stranger)).unwrap().begin_export(&Context::system()).await.unwrap_err();
    assert_eq!(error.kind, ConnectorErrorKind::Connection);
    assert!(error.message.contains("ca_file"), "says what to do: {error}");
    std::fs::write(&ca, "nothing").unwrap();
    assert_eq!(connect(Some(ca)).unwrap_err().kind, ConnectorErrorKind::Configuration);
}

#[tokio::test]
async fn a_wrong_secret_and_a_wrong_address_say_so() {
    let world = world().await;
    let sign_in = |secret: &str| SignIn::Secret {
        client_id: world.tenant.settings().credentials.client_id.to_string(),
        secret: SecretString::from(secret),
    };
    let fails = |settings: EntraSettings| async move {
        let connector = EntraConnector::new(settings, Arc::new(Names::new())).unwrap();
        connector.begin_export(&Context::system()).await.unwrap_err()
    };
    let error: ConnectorError = fails(reach(&world.tenant, &world.handle, sign_in("Tr0ub4dor"))).await;
    assert_eq!(error.kind, ConnectorErrorKind::Authentication);
    assert!(error.message.contains("AADSTS7000215") && !error.message.contains("Tr0ub4dor"), "{error}");

    let here = reach(&world.tenant, &world.handle, by_secret(&world.tenant));
    let error = fails(EntraSettings { provisioning_url: format!("{}/elsewhere", world.handle.base_url), ..here.clone() }).await;
    assert!(error.message.contains("provisioning_url"), "{error}");
    let error = fails(EntraSettings { tenant: "nobody.example".to_owned(), ..here.clone() }).await;
    assert_eq!(error.kind, ConnectorErrorKind::Authentication);
    // A port that was free a moment ago.
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = fails(EntraSettings { login_url: format!("http://{closed}"), ..here.clone() }).await;
    assert_eq!((error.kind, error.nothing_sent), (ConnectorErrorKind::Connection, true), "{error}");
    let settings = EntraSettings { login_url: "http://login.example".to_owned(), ..here };
    assert_eq!(EntraConnector::new(settings, Arc::new(Names::new())).unwrap_err().kind, ConnectorErrorKind::Configuration);
}

/// Throttled, the connector uses nearly all of what the bucket allows over five refills. Time passes by waits of the connector alone, so
/// that whatever the bucket allowed and nobody took was waited too long for.
#[tokio::test]
async fn lesson_12_a_throttled_tenant_is_used_to_the_full() {
    let cx = Context { clock: Arc::new(Quick::today()), ..Context::system() };
    let tenant = Tenant::open(&Location::Memory, tenant_settings(), cx.clone()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let handle = serve(Arc::clone(&tenant), listener, Tls::Plain, cx.clone()).await.unwrap();
    let connector = Arc::new(EntraConnector::new(reach(&tenant, &handle, by_secret(&tenant)), Arc::new(Names::new())).unwrap());
    let begun = cx.clock.elapsed();
    *tenant.bucket() = Some(Bucket::new(Throttle { writes: 100.0, window_seconds: 10.0 }, begun));
    // One full bucket and five refills are 600 writes; batches of 20, three under way.
    let mut running = tokio::task::JoinSet::new();
    for lane in 0..3u64 {
        let (connector, cx) = (Arc::clone(&connector), cx.clone());
        running.spawn(async move {
            for batch in 0..10u64 {
                let first = lane * 1_000 + batch * 20;
                let people = (first..first + 20).map(|number| user(number, ExportKind::Add, &format!("u{number}"), Vec::new()));
                let reply = connector.export(&cx, &ExportBatch { operations: people.collect() }).await.unwrap();
                assert!(reply.outcomes().iter().all(|(_, outcome)| matches!(outcome, ExportOutcome::Accepted { .. })));
            }
        });
    }
    while let Some(lane) = running.join_next().await {
        lane.unwrap();
    }
    let (allowed, accepted) = tenant.bucket().as_ref().unwrap().allowance(cx.clock.elapsed());
    assert_eq!(tenant.traffic().accepted, 600);
    assert!(accepted >= 600.0 && accepted / allowed >= 0.95, "{accepted} of {allowed} writes");
    let waited = cx.clock.elapsed().saturating_sub(begun);
    assert!(waited >= Duration::from_secs(50), "five refills take their time: {waited:?}");
    handle.shutdown().await;
}
