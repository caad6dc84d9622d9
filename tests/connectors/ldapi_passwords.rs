//! Password hashes from a real Samba domain controller's privileged socket: everybody's, then what changed, and nothing that
//! was not asked for.

use crate::labs::{self, Lab};
use crate::ldif_passwords::{everybody, hash, is_of, joined};
use futures_util::StreamExt as _;
use ldap3::{LdapConnAsync, LdapConnSettings, Mod, Scope, SearchEntry};
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use syncline::connector::ad::ldapi::{LdapiPasswordSource, LdapiSettings};
use syncline::connector::{ConnectorErrorKind, PasswordChange, PasswordPage, PasswordRequest, PasswordSource as _, Wanted};
use syncline::context::Context;
use syncline::model::Anchor;

/// A domain of this test's own, for passwords are changed in it.
fn lab() -> &'static Lab {
    static LAB: OnceLock<Lab> = OnceLock::new();
    LAB.get_or_init(|| labs::up("samba-ad", &labs::recipe(30, 2, 1), &[]))
}

fn folder() -> PathBuf {
    Path::new(lab().text("ca")).parent().and_then(Path::parent).unwrap().to_owned()
}

fn source() -> LdapiPasswordSource {
    LdapiPasswordSource::new(LdapiSettings::new(folder().join("private/ldap_priv/ldapi")))
}

async fn read(source: &LdapiPasswordSource, since: Option<Vec<u8>>, wanted: Wanted) -> PasswordPage {
    let cx = Context::system();
    let domain = source.domains(&cx).await.unwrap().remove(0);
    assert_eq!(domain, lab().text("base"));
    let stream = source.changes(&cx, PasswordRequest { domain, since, wanted }).await.unwrap();
    joined(stream.map(Result::unwrap).collect().await)
}

fn cookie(page: &PasswordPage) -> Option<Vec<u8>> {
    page.completion.clone().map(|completion| completion.cookie)
}

fn by_dn(page: &PasswordPage) -> BTreeMap<&str, &PasswordChange> {
    page.changes.iter().map(|change| (change.dn.as_str(), change)).collect()
}

/// The administrator's connection.
async fn administrator() -> ldap3::Ldap {
    // The lab's own authority is not the point here.
    let settings = LdapConnSettings::new().set_config(trusting(&std::fs::read(lab().text("ca")).unwrap()));
    let (connection, mut ldap) = LdapConnAsync::with_settings(settings, lab().text("ldaps")).await.unwrap();
    tokio::spawn(connection.drive());
    ldap.simple_bind(lab().text("admin_name"), lab().text("admin_password")).await.unwrap().success().unwrap();
    ldap
}

fn trusting(pem: &[u8]) -> Arc<rustls::ClientConfig> {
    use rustls_pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls_pki_types::CertificateDer::from_pem_slice(pem).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

async fn replace(ldap: &mut ldap3::Ldap, dn: &str, name: &str, value: &[u8]) {
    let change = Mod::Replace(name.as_bytes().to_vec(), HashSet::from([value.to_vec()]));
    ldap.modify(dn, vec![change]).await.unwrap().success().unwrap();
}

/// The form in which Active Directory takes a new password (MS-ADTS 3.1.1.3.1.5.1).
fn quoted(password: &str) -> Vec<u8> {
    format!("\"{password}\"").encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn hashes_come_from_the_socket_and_then_what_changed() {
    let recipe = labs::recipe(30, 2, 1);
    let source = source();
    let first = read(&source, None, everybody()).await;
    assert_eq!(first.rejects, []);
    let accounts = by_dn(&first);
    for index in 0..30 {
        let change = accounts[recipe.user_dn(index).as_str()];
        assert!(is_of(hash(change), &recipe.user_password(index)), "{change:?}");
        assert!(change.changed.is_some() && change.version.is_some_and(|version| version > 0), "{change:?}");
        assert_eq!((change.must_change, change.deleted), (Some(false), false));
    }
    assert!(!first.changes.iter().any(|change| change.dn.contains("Domain Controllers")), "computers are no people");
    // Nothing has changed.
    let quiet = read(&source, cookie(&first), everybody()).await;
    assert_eq!((quiet.changes.len(), quiet.completion.as_ref().map(|completion| completion.answered_in_full)), (0, Some(false)));

    let mut ldap = administrator().await;
    let (one, two, three) = (recipe.user_dn(1), recipe.user_dn(2), recipe.user_dn(3));
    replace(&mut ldap, &one, "unicodePwd", &quoted("New-Password-1")).await;
    replace(&mut ldap, &two, "description", b"not a password").await;
    replace(&mut ldap, &three, "pwdLastSet", b"0").await;
    let delta = read(&source, cookie(&first), everybody()).await;
    let changes = by_dn(&delta);
    // The administrator's own sign-in is a change of the administrator's account.
    let people: HashSet<&str> = changes.keys().copied().filter(|dn| dn.contains(",OU=People,")).collect();
    assert_eq!(people, HashSet::from([one.as_str(), two.as_str(), three.as_str()]));
    let version = |change: &PasswordChange| change.version.unwrap();
    // A new password: both marks move.
    assert!(is_of(hash(changes[one.as_str()]), "New-Password-1"));
    assert!(changes[one.as_str()].changed > accounts[one.as_str()].changed);
    assert_eq!(version(changes[one.as_str()]), version(accounts[one.as_str()]) + 1);
    // Another change of the account: neither does.
    let same = |change: &PasswordChange| (change.changed, change.version);
    assert_eq!(same(changes[two.as_str()]), same(accounts[two.as_str()]));
    // A temporary one: the password is that of before, its date from the metadata.
    assert_eq!(changes[three.as_str()].must_change, Some(true));
    assert!(is_of(hash(changes[three.as_str()]), &recipe.user_password(3)));
    assert_eq!(version(changes[three.as_str()]), version(accounts[three.as_str()]));
    assert!(changes[three.as_str()].changed.is_some());

    // One by one, and only who is asked for.
    let anchor = accounts[one.as_str()].anchor.clone();
    let gone = Anchor::new(vec![7; 16]);
    let single = source.read(&Context::system(), lab().text("base"), &[gone, anchor.clone()]).await.unwrap().changes;
    assert_eq!(single.len(), 1);
    assert!(single[0].anchor == anchor && is_of(hash(&single[0]), "New-Password-1"));
    let (entries, _) = ldap.search(&one, Scope::Base, "(objectClass=*)", vec!["objectGUID"]).await.unwrap().success().unwrap();
    let entry = SearchEntry::construct(entries.into_iter().next().unwrap());
    assert_eq!(entry.bin_attrs["objectGUID"][0], anchor.as_bytes(), "anchors are those of the directory connector");
    let only = anchor.clone();
    let chosen = read(&source, None, Arc::new(move |anchor| *anchor == only)).await;
    assert_eq!((chosen.changes.len(), chosen.seen), (1, first.seen));
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_of_others_and_other_sockets_are_refused() {
    let source = source();
    let cx = Context::system();
    let domain = source.domains(&cx).await.unwrap().remove(0);
    for strange in ["ldapi1 00 7", "ldif1 00", ""] {
        let request = PasswordRequest { domain: domain.clone(), since: Some(strange.into()), wanted: everybody() };
        let Err(error) = source.changes(&cx, request).await else { panic!("{strange}") };
        assert_eq!(error.kind, ConnectorErrorKind::WatermarkLost, "{error}");
    }
    let checks = source.diagnose(&cx).await;
    assert_eq!(checks.len(), 3, "{checks:?}");
    assert!(checks.iter().all(|check| check.good && check.remedy.is_none()), "{checks:?}");
    // The socket for everybody lets nobody search.
    let ordinary = LdapiPasswordSource::new(LdapiSettings::new(folder().join("private/ldapi")));
    let checks = ordinary.diagnose(&cx).await;
    assert!(checks.iter().any(|check| !check.good && check.remedy.is_some()), "{checks:?}");
    let nowhere = LdapiPasswordSource::new(LdapiSettings::new(folder().join("private/nothing")));
    let error = nowhere.domains(&cx).await.unwrap_err();
    assert_eq!(error.kind, ConnectorErrorKind::Connection);
    assert!(error.message.contains("private/nothing"), "{error}");
    assert!(nowhere.diagnose(&cx).await.iter().all(|check| !check.good));
}
