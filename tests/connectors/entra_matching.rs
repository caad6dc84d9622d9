//! Which objects of a tenant new ones are, asked in batches where the tenant is large and the new ones are few.

use crate::entra::{serve_tenant, tenant_settings};
use secrecy::ExposeSecret as _;
use std::sync::Arc;
use syncline::connector::entra::{EntraConnector, EntraSettings, SignIn};
use syncline::connector::{Connector as _, DeleteLimit, MatchFate, MatchKey, MatchReport, NewObject};
use syncline::context::Context;
use syncline::model::{ConnectorId, CsId, Names};
use syncline::tenant::directory::{Edit, Features, Incoming, ObjectKind, PropertyValue};
use syncline::tenant::{ServerHandle, Tenant, Tls};

struct World {
    tenant: Arc<Tenant>,
    connector: EntraConnector,
    _handle: ServerHandle,
}

async fn world() -> World {
    let (tenant, handle) = serve_tenant(tenant_settings(), Tls::Plain).await;
    let credentials = &tenant.settings().credentials;
    let secret = credentials.client_secret.expose_secret().to_owned().into();
    let settings = EntraSettings {
        login_url: handle.base_url.clone(),
        provisioning_url: format!("{}/provisioningservice.svc", handle.base_url),
        graph_url: handle.base_url.clone(),
        ..EntraSettings::new(credentials.tenant_id.to_string(), SignIn::Secret { client_id: credentials.client_id.to_string(), secret })
    };
    let connector = EntraConnector::new(settings, Arc::new(Names::new())).unwrap();
    World { tenant, connector, _handle: handle }
}

impl World {
    fn person(&self, name: &str, addresses: &[&str], anchor: Option<&str>, roles: &[&str]) -> String {
        let text = |text: &str| Incoming::Value(PropertyValue::Text(text.to_owned()));
        let addresses = addresses.iter().map(|address| (*address).to_owned()).collect();
        let edit = Edit {
            values: vec![
                ("userPrincipalName".to_owned(), text(&format!("{name}@contoso.com"))),
                ("proxyAddresses".to_owned(), Incoming::Value(PropertyValue::Texts(addresses))),
            ],
            source_anchor: anchor.map(|anchor| Some(anchor.to_owned())),
            roles: Some(roles.iter().map(|role| (*role).to_owned()).collect()),
            behind_synchronization: true,
            ..Edit::default()
        };
        let made = self.tenant.directory().create_cloud_object(ObjectKind::User, &edit, &self.tenant.policy()).unwrap();
        made.uuid().hyphenated().to_string()
    }

    fn feature(&self, bit: i32, on: bool) {
        self.tenant.update_state(|state| state.features = state.features.with(bit, on)).unwrap();
    }

    async fn ask(&self, adds: &[NewObject]) -> MatchReport {
        self.connector.matches(&Context::system(), adds).await.unwrap().unwrap()
    }
}

fn new(number: u64, anchor: &str, name: &str, address: &str) -> NewObject {
    let told = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    NewObject {
        id: CsId::new(ConnectorId(1), number),
        object_type: "user".to_owned(),
        dn: format!("CN={{{}}}", hex::encode_upper(anchor)),
        user_principal_name: told(name),
        primary_address: told(address),
    }
}

fn outcome(report: &MatchReport, number: u64) -> Option<(MatchKey, &MatchFate)> {
    let found = report.matches.iter().find(|found| found.id == CsId::new(ConnectorId(1), number))?;
    Some((found.key, &found.fate))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tenant_is_asked_by_its_own_rules_and_in_batches() {
    let world = world().await;
    for number in 0..1_100 {
        world.person(&format!("crowd{number}"), &[], None, &[]);
    }
    world.person("o'neil", &["SMTP:O'Neil@contoso.com", "smtp:second@contoso.com"], None, &[]);
    world.person("by.name", &[], None, &[]);
    world.person("hard", &[], Some("Ab+/=="), &[]);
    world.person("taken", &["SMTP:taken@contoso.com"], Some("other"), &[]);
    let admin = world.person("admin", &["SMTP:admin@contoso.com"], None, &["Helpdesk Administrator", "User Administrator"]);
    let adds = [
        new(1, "n1", "new.neil@contoso.com", "o'neil@CONTOSO.com"),
        new(2, "n2", "BY.name@contoso.com", ""),
        new(3, "Ab+/==", "elsewhere@contoso.com", ""),
        new(4, "ab+/==", "nobody@contoso.com", "second@contoso.com"),
        new(5, "n5", "", "taken@contoso.com"),
        new(6, "n6", "", "admin@contoso.com"),
        new(7, "n7", "nobody.at.all@contoso.com", "nobody@contoso.com"),
    ];
    let report = world.ask(&adds).await;
    assert_eq!(outcome(&report, 1), Some((MatchKey::PrimaryAddress, &MatchFate::TakenOver)), "{report:#?}");
    assert_eq!(outcome(&report, 2), Some((MatchKey::UserPrincipalName, &MatchFate::TakenOver)));
    assert_eq!(outcome(&report, 3), Some((MatchKey::SourceAnchor, &MatchFate::TakenOver)));
    assert_eq!(outcome(&report, 4), None, "anchors have their case, and second addresses are none to match by");
    assert_eq!(outcome(&report, 5), Some((MatchKey::PrimaryAddress, &MatchFate::KeptAside)));
    let refused = report.matches.iter().find(|found| found.existing.id == admin).unwrap();
    assert!(matches!(&refused.fate, MatchFate::Refused(reason) if reason.contains("Helpdesk Administrator")), "{refused:?}");
    assert_eq!(outcome(&report, 7), None);
    assert_eq!(report.gaps, [] as [&str; 0]);
    // A count, a batch of questions, the roles and a batch of their holders.
    assert!(report.requests <= 5, "{}", report.requests);

    // A whole directory: two pages, whatever the number of new objects.
    let many: Vec<NewObject> = (0..5_000).map(|number| new(number, &format!("m{number}"), &format!("m{number}@contoso.com"), "")).collect();
    let report = world.ask(&many).await;
    assert!(report.matches.is_empty() && report.requests <= 3, "{}", report.requests);

    world.feature(Features::BLOCK_SOFT_MATCH, true);
    world.feature(Features::BLOCK_HARD_MATCH_TAKEOVER, true);
    let report = world.ask(&adds).await;
    for number in [1, 2, 3] {
        assert!(matches!(outcome(&report, number), Some((_, MatchFate::Refused(_)))), "{number}: {report:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_graph_is_asked_again_and_a_dead_one_is_told() {
    let world = world().await;
    world.person("by.name", &[], None, &[]);
    let adds = [new(1, "n1", "by.name@contoso.com", "")];
    world.tenant.faults().add("throttle=2x,service=graph,retry-after=0.01".parse().unwrap());
    assert_eq!(outcome(&world.ask(&adds).await, 1), Some((MatchKey::UserPrincipalName, &MatchFate::TakenOver)));
    world.tenant.faults().add("drop-before=100x,service=graph".parse().unwrap());
    let cx = Context { clock: Arc::new(Quick), ..Context::system() };
    let error = world.connector.matches(&cx, &adds).await.unwrap_err();
    assert!(error.message.contains("Microsoft Graph was asked"), "{error}");
}

/// A clock that waits for nobody.
struct Quick;

impl syncline::context::Clock for Quick {
    fn now(&self) -> syncline::model::Timestamp {
        syncline::model::Timestamp(0)
    }

    fn elapsed(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }

    fn sleep(&self, _: std::time::Duration) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::ready(()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tenants_own_limit_of_deletes_is_set_for_all() {
    let world = world().await;
    let cx = Context::system();
    world.connector.set_delete_limit(&cx, DeleteLimit::Count(40)).await.unwrap();
    let terms = world.connector.begin_export(&cx).await.unwrap();
    assert_eq!((terms.deletes_max, terms.delete_percent_max), (Some(40), None));
    world.connector.set_delete_limit(&cx, DeleteLimit::Percent(7)).await.unwrap();
    let terms = world.connector.begin_export(&cx).await.unwrap();
    assert_eq!((terms.deletes_max, terms.delete_percent_max), (None, Some(7)));
    world.connector.set_delete_limit(&cx, DeleteLimit::Off).await.unwrap();
    let terms = world.connector.begin_export(&cx).await.unwrap();
    assert_eq!((terms.deletes_max, terms.delete_percent_max), (None, None));
}
