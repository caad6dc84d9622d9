//! A real OpenLDAP: everything comes in as `ldapsearch` shows it, and what cannot work says so.

use crate::contract;
use crate::labs::{self, Lab};
use crate::seen::{self, names};
use secrecy::SecretString;
use std::path::PathBuf;
use std::sync::Arc;
use syncline::connector::directory::Selection;
use syncline::connector::ldap::{LdapConnector, LdapConnectorSettings, LdapSettings};
use syncline::connector::{Connector as _, ConnectorErrorKind};
use syncline::context::Context;
use syncline::model::{Names, ValueKind};

const ATTRIBUTES: &[&str] = &[
    "cn",
    "sn",
    "displayName",
    "userPrincipalName",
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
    "memberOf",
    "noSuchAttribute",
];

pub(crate) fn settings(lab: &Lab) -> LdapConnectorSettings {
    let mut connection = LdapSettings::new(lab.text("ldaps"), lab.text("bind_name"), SecretString::from(lab.text("password")));
    connection.ca_file = Some(PathBuf::from(lab.text("ca")));
    LdapConnectorSettings { connection, base: lab.text("base").into(), anchor: "entryUUID".into(), selection: Selection::default() }
}

fn connector(settings: LdapConnectorSettings, names: &Arc<Names>) -> LdapConnector {
    LdapConnector::new(settings, names.clone()).unwrap()
}

async fn refusal(settings: LdapConnectorSettings) -> syncline::connector::ConnectorError {
    let names = names();
    seen::import(&connector(settings, &names), &names, &["cn"]).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_comes_in_as_ldapsearch_shows_it() {
    let lab = labs::openldap();
    let names = names();
    let seen = contract::holds(&connector(settings(lab), &names), &names, ATTRIBUTES).await;
    assert_eq!((seen.of_type("user"), seen.of_type("group"), seen.of_type("contact")), (1_500, 60, 20));
    assert_eq!(seen.rejected, []);
    let filter = "(|(objectClass=user)(objectClass=group)(objectClass=contact))";
    let mut asked = ATTRIBUTES.to_vec();
    asked.push("entryUUID");
    let judged = lab.search(lab.text("base"), filter, &asked);
    assert_eq!(judged.len(), seen.entries.len());
    let mut values = 0;
    for (dn, mut expected) in judged {
        let entry = &seen.entries[&dn];
        assert_eq!(expected.remove("entryUUID").unwrap().first().unwrap(), &entry.anchor);
        // The server answers with the first name of the attribute, whatever it was asked for.
        if let Some(street) = expected.remove("street") {
            expected.insert("streetAddress".into(), street);
        }
        values += expected.values().map(std::collections::BTreeSet::len).sum::<usize>();
        assert_eq!(entry.values, expected, "{dn}");
    }
    assert!(values > 15_000, "{values}");
    let group = &seen.entries["cn=All Employees,ou=Groups,dc=corp,dc=example"];
    assert_eq!((group.count("member"), group.kinds["member"], group.kinds["groupType"]), (1_500, ValueKind::Reference, ValueKind::Number));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_of_the_server_decides_kinds() {
    let lab = labs::openldap();
    let schema = connector(settings(lab), &names()).schema(&Context::system()).await.unwrap();
    let kind = |name: &str| {
        schema.attributes.iter().find(|attribute| attribute.name == name).map(|attribute| (attribute.kind, attribute.multi_valued))
    };
    assert_eq!(kind("member"), Some((ValueKind::Reference, true)));
    assert_eq!(kind("objectGUID"), Some((ValueKind::Binary, false)));
    assert_eq!(kind("jpegPhoto"), Some((ValueKind::Binary, true)));
    assert_eq!(kind("userAccountControl"), Some((ValueKind::Number, false)));
    assert_eq!(kind("isCriticalSystemObject"), Some((ValueKind::Boolean, false)));
    assert_eq!(kind("sn"), Some((ValueKind::Text, true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn start_tls_and_wanted_plain_connections_work() {
    let lab = labs::openldap();
    let names = names();
    let mut encrypted = settings(lab);
    encrypted.connection.url = lab.text("ldap").into();
    let mut plain = encrypted.clone();
    encrypted.connection.start_tls = true;
    plain.connection.allow_plain = true;
    for settings in [encrypted, plain] {
        assert_eq!(seen::import(&connector(settings, &names), &names, &["cn"]).await.unwrap().entries.len(), 1_580);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_select_where_is_searched() {
    let lab = labs::openldap();
    let names = names();
    let mut some = settings(lab);
    some.selection.include = vec!["OU=Contacts,DC=corp,DC=example".into(), "OU=Lyon,OU=People,DC=corp,DC=example".into()];
    let seen = seen::import(&connector(some, &names), &names, &["cn"]).await.unwrap();
    assert_eq!((seen.of_type("contact"), seen.of_type("group"), seen.filtered), (20, 0, 0));
    assert!(seen.of_type("user") > 100);
    let mut outside = settings(lab);
    outside.selection.include = vec!["OU=People,DC=other".into()];
    let error = refusal(outside).await;
    assert_eq!(error.kind, ConnectorErrorKind::Configuration);
    let mut renamed = settings(lab);
    renamed.selection.include = vec!["OU=Renamed,DC=corp,DC=example".into()];
    let error = refusal(renamed).await;
    assert_eq!(error.kind, ConnectorErrorKind::Search);
    assert!(error.message.contains("OU=Renamed"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_rights_sees_an_error_and_no_empty_directory() {
    let lab = labs::openldap();
    let mut blind = settings(lab);
    blind.connection.bind_name = lab.text("blind_name").into();
    let error = refusal(blind).await;
    assert!(matches!(error.kind, ConnectorErrorKind::Permission | ConnectorErrorKind::Search), "{error}");
    assert!(error.message.contains("DC=corp,DC=example"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_a_missing_base_are_named() {
    let lab = labs::openldap();
    let mut wrong = settings(lab);
    wrong.connection.bind_password = SecretString::from("not the password");
    let error = refusal(wrong).await;
    assert_eq!((error.kind, error.nothing_sent), (ConnectorErrorKind::Authentication, true));
    assert!(!error.message.contains("not the password"));
    let mut base = settings(lab);
    base.base = "OU=Nowhere,DC=corp,DC=example".into();
    let error = refusal(base).await;
    assert_eq!(error.kind, ConnectorErrorKind::Search);
    assert!(error.message.contains("does not exist"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_size_limit_of_the_server_is_an_error_and_no_smaller_directory() {
    let lab = labs::openldap();
    let mut limited = settings(lab);
    limited.connection.bind_name = lab.text("limited_name").into();
    let error = refusal(limited).await;
    assert_eq!(error.kind, ConnectorErrorKind::Search);
    assert!(error.message.contains("sizeLimitExceeded") && error.message.contains("limits"), "{error}");
}
