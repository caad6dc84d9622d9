//! A real domain controller (Samba): everything comes in as `ldapsearch` shows it, and every way to fail has its name.

use crate::contract;
use crate::labs::{self, Lab};
use crate::seen::{self, names};
use secrecy::SecretString;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use syncline::connector::ad::{AdConnector, AdSettings, DeltaMode, DirectoryFacts, ForestExtensions};
use syncline::connector::directory::Selection;
use syncline::connector::ldap::LdapSettings;
use syncline::connector::{Connector as _, ConnectorError, ConnectorErrorKind};
use syncline::context::Context;
use syncline::model::{Names, ValueKind};

const ATTRIBUTES: &[&str] = &[
    "cn",
    "sn",
    "displayName",
    "userPrincipalName",
    "sAMAccountName",
    "userAccountControl",
    "proxyAddresses",
    "thumbnailPhoto",
    "objectSid",
    "objectGUID",
    "manager",
    "member",
    "accountExpires",
    "groupType",
    "streetAddress",
    "mailNickname",
    "targetAddress",
    "extensionAttribute1",
    "isCriticalSystemObject",
    "msExchMailboxGuid",
    "distinguishedName",
];

fn settings(lab: &Lab) -> AdSettings {
    let mut connection = LdapSettings::new(lab.text("ldaps"), lab.text("bind_name"), SecretString::from(lab.text("password")));
    connection.ca_file = Some(PathBuf::from(lab.text("ca")));
    AdSettings { connection, partitions: Vec::new(), selection: Selection::default(), delta: DeltaMode::Auto }
}

fn connector(settings: AdSettings, names: &Arc<Names>) -> AdConnector {
    AdConnector::new(settings, names.clone()).unwrap()
}

async fn refusal(change: impl FnOnce(&mut AdSettings)) -> ConnectorError {
    let mut settings = settings(labs::active_directory());
    change(&mut settings);
    let names = names();
    seen::import(&connector(settings, &names), &names, &["cn"]).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_comes_in_as_ldapsearch_shows_it() {
    let lab = labs::active_directory();
    let names = names();
    let seen = contract::holds(&connector(settings(lab), &names), &names, ATTRIBUTES).await;
    assert_eq!(seen.rejected, []);
    let filter = "(|(objectClass=user)(objectClass=group)(objectClass=contact)(objectClass=foreignSecurityPrincipal))";
    let mut judged = lab.search(lab.text("base"), filter, ATTRIBUTES);
    // Computers are derived from users.
    let computers = lab.search(lab.text("base"), "(objectClass=computer)", &["1.1"]);
    assert_eq!((computers.len() as u64, seen.filtered), (1, 1));
    judged.retain(|dn, _| !computers.contains_key(dn));
    assert_eq!(judged.keys().collect::<Vec<_>>(), seen.entries.keys().collect::<Vec<_>>());
    for (dn, expected) in &judged {
        let entry = &seen.entries[dn];
        assert_eq!(&entry.values, expected, "{dn}");
        assert_eq!(entry.anchor, *expected["objectGUID"].first().unwrap());
    }
    let recipe = labs::active_directory_recipe();
    let generated = (0..recipe.users).filter(|index| seen.entries.contains_key(&recipe.user_dn(*index))).count();
    assert_eq!((generated, seen.of_type("contact")), (60, 6));
    let all = &seen.entries["CN=All Employees,OU=Groups,DC=corp,DC=example"];
    assert!(all.count("member") >= 60);
    let person = &seen.entries[&recipe.user_dn(30)];
    assert_eq!(person.kinds["distinguishedName"], ValueKind::Text);
    assert_eq!(person.text("accountExpires").as_deref(), Some("9223372036854775807"));
    assert_eq!(person.text("manager"), Some(recipe.user_dn(29 / 8)));
}

#[tokio::test(flavor = "multi_thread")]
async fn start_tls_gives_the_same_as_ldaps() {
    let lab = labs::active_directory();
    let names = names();
    let mut start_tls = settings(lab);
    start_tls.connection.url = lab.text("ldap").into();
    start_tls.connection.start_tls = true;
    let one = seen::import(&connector(settings(lab), &names), &names, ATTRIBUTES).await.unwrap();
    let other = seen::import(&connector(start_tls, &names), &names, ATTRIBUTES).await.unwrap();
    assert_eq!(one.entries, other.entries);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_bind_is_refused_by_us_and_then_by_the_server() {
    let url = labs::active_directory().text("ldap").to_owned();
    let error = refusal(|settings| settings.connection.url = url.clone()).await;
    assert_eq!((error.kind, error.nothing_sent), (ConnectorErrorKind::Configuration, true));
    assert!(error.message.contains("clear text") && error.message.contains("start_tls"), "{error}");
    let error = refusal(|settings| {
        settings.connection.url = url;
        settings.connection.allow_plain = true;
    })
    .await;
    assert_eq!(error.kind, ConnectorErrorKind::Authentication);
    assert!(error.message.contains("encrypted"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_named_and_not_repeated() {
    let error = refusal(|settings| settings.connection.bind_password = SecretString::from("Secret-Guess-1")).await;
    assert_eq!(error.kind, ConnectorErrorKind::Authentication);
    assert!(error.message.contains("svc_sync@corp.example") && error.message.contains("the password or the name is wrong"), "{error}");
    assert!(!format!("{error:?}").contains("Secret-Guess-1") && !error.message.contains("bare"), "{error}");
    let error = refusal(|settings| settings.connection.bind_name = "svc_sync".into()).await;
    assert!(error.message.contains("'svc_sync'") && error.message.contains("write user@domain"), "{error}");
    let error = refusal(|settings| settings.connection.bind_password = SecretString::from("")).await;
    assert_eq!(error.kind, ConnectorErrorKind::Configuration);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_an_unknown_authority_is_refused() {
    let error = refusal(|settings| settings.connection.ca_file = None).await;
    assert_eq!(error.kind, ConnectorErrorKind::Connection);
    assert!(error.message.contains("not trusted") && error.message.contains("ca_file"), "{error}");
    let error = refusal(|settings| settings.connection.ca_file = Some("/nowhere/ca.pem".into())).await;
    assert_eq!(error.kind, ConnectorErrorKind::Configuration);
    assert!(error.message.contains("/nowhere/ca.pem"), "{error}");
    let empty = tempfile::NamedTempFile::new().unwrap();
    let error = refusal(|settings| settings.connection.ca_file = Some(empty.path().into())).await;
    assert!(error.message.contains("no certificate"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_another_name_is_refused() {
    // The whole of 127/8 leads to the machine itself, but only one address of it is in the certificate.
    let lab = labs::active_directory();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let target = format!("{}:636", lab.text("address"));
    std::thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        let server = std::net::TcpStream::connect(target).unwrap();
        let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut from, &mut to));
        let (mut from, mut to) = (server, client);
        let _ = std::io::copy(&mut from, &mut to);
    });
    let error = refusal(|settings| settings.connection.url = format!("ldaps://127.0.0.1:{port}")).await;
    assert_eq!(error.kind, ConnectorErrorKind::Connection);
    assert!(error.message.contains("another name"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_refuse_or_do_not_answer_are_unreachable() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = refusal(|settings| settings.connection.url = format!("ldaps://127.0.0.1:{port}")).await;
    assert_eq!((error.kind, error.nothing_sent), (ConnectorErrorKind::Connection, true));
    // Connections are accepted by the system, and nobody says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let error = refusal(|settings| {
        settings.connection.url = format!("ldaps://127.0.0.1:{port}");
        settings.connection.connect_timeout = Duration::from_millis(300);
    })
    .await;
    assert_eq!(error.kind, ConnectorErrorKind::Connection);
    assert!(error.message.contains("no connection within"), "{error}");
    let error = refusal(|settings| settings.connection.url = "ldaps://no-such-host.invalid".into()).await;
    assert_eq!(error.kind, ConnectorErrorKind::Connection);
    for url in ["http://x", "ldap://", "ldap:", "ldaps://:636", "ldaps://a/b"] {
        assert_eq!(refusal(|settings| settings.connection.url = url.into()).await.kind, ConnectorErrorKind::Configuration, "{url}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_that_do_not_exist_or_may_not_be_read_are_errors() {
    let error = refusal(|settings| settings.selection.include = vec!["OU=Renamed,DC=corp,DC=example".into()]).await;
    assert_eq!(error.kind, ConnectorErrorKind::Search);
    assert!(error.message.contains("OU=Renamed,DC=corp,DC=example"), "{error}");
    let error = refusal(|settings| settings.partitions = vec!["DC=other,DC=example".into()]).await;
    assert_eq!(error.kind, ConnectorErrorKind::Search);
    let blind = labs::active_directory().text("blind_name").to_owned();
    let error = refusal(|settings| {
        settings.connection.bind_name = blind;
        settings.selection.include = vec!["OU=Groups,DC=corp,DC=example".into()];
    })
    .await;
    assert!(matches!(error.kind, ConnectorErrorKind::Permission | ConnectorErrorKind::Search), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lesson_21_members_in_ranges_are_the_same_members() {
    let lab = labs::active_directory();
    let names = names();
    let whole = seen::import(&connector(settings(lab), &names), &names, &["member", "manager"]).await.unwrap();
    for portion in [1, 7, 60, 5_000] {
        let mut ranged = settings(lab);
        ranged.connection.value_range = Some(portion);
        let seen = seen::import(&connector(ranged, &names), &names, &["member", "manager"]).await.unwrap();
        assert_eq!(seen.entries, whole.entries, "{portion}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn small_pages_give_the_same_entries() {
    let lab = labs::active_directory();
    let names = names();
    let whole = seen::import(&connector(settings(lab), &names), &names, ATTRIBUTES).await.unwrap();
    let mut small = settings(lab);
    small.connection.page_size = 7;
    let seen = seen::import(&connector(small, &names), &names, ATTRIBUTES).await.unwrap();
    assert_eq!(seen.entries, whole.entries);
    assert!(seen.pages > 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_and_types_are_selected() {
    let lab = labs::active_directory();
    let names = names();
    let mut some = settings(lab);
    some.selection = Selection {
        object_types: vec!["user".into()],
        include: vec!["OU=People,DC=corp,DC=example".into(), "OU=Service Accounts,DC=corp,DC=example".into()],
        exclude: vec!["ou=lyon,ou=people,dc=corp,dc=example".into()],
    };
    let seen = seen::import(&connector(some, &names), &names, &["cn"]).await.unwrap();
    assert!(seen.entries.contains_key("CN=svc_sync,OU=Service Accounts,DC=corp,DC=example"));
    let lyon = lab.search("OU=Lyon,OU=People,DC=corp,DC=example", "(objectClass=user)", &["1.1"]).len();
    assert_eq!((seen.entries.len(), seen.filtered), (64 - lyon, lyon as u64));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_does_not_come_in() {
    let lab = labs::active_directory();
    let names = names();
    let mut containers = settings(lab);
    containers.selection.object_types = vec!["container".into()];
    let seen = seen::import(&connector(containers, &names), &names, &["cn"]).await.unwrap();
    assert!(seen.entries.contains_key("CN=Users,DC=corp,DC=example"));
    assert!(!seen.entries.keys().any(|dn| dn.contains("CN=Deleted Objects")));
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_name_domain_and_forest() {
    let lab = labs::active_directory();
    let connector = connector(settings(lab), &names());
    let DirectoryFacts { parameters, extensions } = connector.facts(&Context::system()).await.unwrap();
    // Samba's schema is that of Windows without Exchange and Lync.
    assert_eq!(extensions, ForestExtensions { exchange: false, lync: false, devices: true });
    let expected = [
        ("Domain.FQDN", "corp.example"),
        ("Domain.LDAP", "DC=corp,DC=example"),
        ("Domain.Netbios", "CORP"),
        ("Forest.FQDN", "corp.example"),
        ("Forest.LDAP", "DC=corp,DC=example"),
        ("Forest.Netbios", "CORP"),
    ];
    assert_eq!(parameters, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    let contexts: BTreeSet<String> = connector.naming_contexts(&Context::system()).await.unwrap().into_iter().collect();
    assert!(contexts.contains("DC=corp,DC=example") && contexts.contains("CN=Configuration,DC=corp,DC=example"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_of_the_forest_decides_kinds() {
    let lab = labs::active_directory();
    let schema = connector(settings(lab), &names()).schema(&Context::system()).await.unwrap();
    assert!(schema.attributes.len() > 1_000);
    let kind = |name: &str| {
        schema.attributes.iter().find(|attribute| attribute.name == name).map(|attribute| (attribute.kind, attribute.multi_valued))
    };
    assert_eq!(kind("member"), Some((ValueKind::Reference, true)));
    assert_eq!(kind("objectSid"), Some((ValueKind::Binary, false)));
    assert_eq!(kind("userCertificate"), Some((ValueKind::Binary, true)));
    assert_eq!(kind("pwdLastSet"), Some((ValueKind::Number, false)));
    assert_eq!(kind("isCriticalSystemObject"), Some((ValueKind::Boolean, false)));
    assert_eq!(kind("proxyAddresses"), Some((ValueKind::Text, true)));
    assert_eq!(kind("distinguishedName"), Some((ValueKind::Text, false)));
    // The built-in table, for files and for silent servers, says the same wherever the forest says anything.
    for known in syncline::connector::directory::known_attributes() {
        if let Some((found, _)) = kind(&known.name) {
            assert_eq!(found, known.kind, "{}", known.name);
        }
    }
}
