//! Password hashes of a real domain controller (Samba): every known password is read, every change arrives once, and
//! every way to be refused has its name.

use crate::labs::{self, Lab};
use futures_util::StreamExt as _;
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use syncline::connector::ad::replication::{Authentication, ReplicationServer, ReplicationSettings, ReplicationSource};
use syncline::connector::{
    ConnectorError, ConnectorErrorKind, PasswordChange, PasswordCompletion, PasswordRequest, PasswordSource as _, Wanted,
};
use syncline::context::Context;
use syncline::model::Anchor;
use syncline::password::hash::{CredentialData, NtHash};

const DOMAIN: &str = "DC=corp,DC=example";

fn settings(lab: &Lab, authentication: Authentication) -> ReplicationSettings {
    let mut server = ReplicationServer::new(lab.text("host"));
    server.address = Some(lab.text("address").to_owned());
    let account = if authentication == Authentication::Ntlm { "CORP\\svc_sync" } else { lab.text("bind_name") };
    let mut settings = ReplicationSettings::new(vec![server], account, SecretString::from(lab.text("password")));
    settings.authentication = authentication;
    // Small pages, so that there are several.
    settings.page_objects = 10;
    settings
}

fn source(lab: &Lab, authentication: Authentication) -> ReplicationSource {
    ReplicationSource::new(settings(lab, authentication)).unwrap()
}

/// Everything that a cycle said, by the anchor.
struct Cycle {
    changes: BTreeMap<Vec<u8>, PasswordChange>,
    rejects: usize,
    pages: usize,
    seen: u64,
    completion: PasswordCompletion,
}

async fn cycle(source: &ReplicationSource, since: Option<Vec<u8>>, wanted: Wanted) -> Result<Cycle, ConnectorError> {
    let request = PasswordRequest { domain: DOMAIN.to_owned(), since, wanted };
    let mut stream = source.changes(&Context::system(), request).await?;
    let (mut changes, mut rejects, mut pages, mut seen, mut completion) = (BTreeMap::new(), 0, 0, 0, None);
    while let Some(page) = stream.next().await {
        let page = page?;
        pages += 1;
        seen += page.seen;
        rejects += page.rejects.len();
        for change in page.changes {
            changes.insert(change.anchor.as_bytes().to_vec(), change);
        }
        completion = page.completion.or(completion);
    }
    Ok(Cycle { changes, rejects, pages, seen, completion: completion.expect("a complete cycle") })
}

fn everybody() -> Wanted {
    Arc::new(|_| true)
}

fn is_of(hash: &NtHash, password: &str) -> bool {
    CredentialData::derive(hash, &[1], 1).unwrap().verify_password(password)
}

fn hash(change: &PasswordChange) -> &NtHash {
    change.hash.as_ref().and_then(Option::as_ref).unwrap_or_else(|| panic!("{change:?} has a hash"))
}

/// A user of the generated data.
struct Known {
    name: String,
    number: u32,
    password: String,
}

/// The users with known passwords by their anchors, as `ldapsearch` shows them.
fn known(lab: &Lab) -> BTreeMap<Vec<u8>, Known> {
    let found = lab.search(DOMAIN, "(&(objectClass=user)(employeeID=*))", &["objectGUID", "sAMAccountName", "employeeID"]);
    let one = |values: &BTreeMap<String, std::collections::BTreeSet<Vec<u8>>>, name: &str| values[name].first().unwrap().clone();
    let text = |octets: Vec<u8>| String::from_utf8(octets).unwrap();
    found
        .into_values()
        .map(|values| {
            let number: u32 = text(one(&values, "employeeID")).parse().unwrap();
            let name = text(one(&values, "sAMAccountName"));
            (one(&values, "objectGUID"), Known { name, number, password: format!("Pw-{number:06}-Sync!") })
        })
        .collect()
}

/// Administers the domain on the machine of its controller.
fn administer(lab: &Lab, arguments: &[&str]) {
    let output = Command::new("samba-tool")
        .args(arguments)
        .arg(format!("--configfile={}/smb.conf", lab.folder()))
        .output()
        .expect("samba-tool is missing; run tools/lab/install as root");
    assert!(output.status.success(), "samba-tool {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn anchor_of(lab: &Lab, name: &str) -> Vec<u8> {
    let found = lab.search(DOMAIN, &format!("(sAMAccountName={name})"), &["objectGUID"]);
    found.values().next().unwrap_or_else(|| panic!("{name} exists"))["objectGUID"].first().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn lesson_22_every_way_to_sign_in_reads_every_known_password() {
    let lab = labs::passwords();
    let known = known(lab);
    // The test of changes takes one away meanwhile.
    assert!(known.len() >= 59, "{}", known.len());
    for authentication in [Authentication::Kerberos, Authentication::Negotiate, Authentication::Ntlm] {
        let read =
            cycle(&source(lab, authentication), None, everybody()).await.unwrap_or_else(|error| panic!("{authentication:?}: {error}"));
        let mut right = 0;
        for (anchor, user) in known.iter().filter(|(_, user)| !CHANGED.contains(&user.number)) {
            let change = read.changes.get(anchor).unwrap_or_else(|| panic!("{} was read", user.name));
            assert!(is_of(hash(change), &user.password), "{authentication:?}: {}", user.name);
            assert!(change.changed.is_some() && change.version.is_some() && !change.deleted, "{change:?}");
            right += 1;
        }
        assert_eq!(right, 56);
        assert!(read.pages > 6 && read.seen > 60 && read.rejects == 0, "{} pages, {} objects", read.pages, read.seen);
        assert!(!read.completion.answered_in_full);
        assert_eq!(read.completion.server, "dc1.corp.example");
        // A fixed port, and an account as user@realm, lead to the same.
        let mut fixed = settings(lab, authentication);
        fixed.servers[0].port = Some(4950);
        fixed.account = lab.text("bind_name").to_owned();
        let fixed = cycle(&ReplicationSource::new(fixed).unwrap(), Some(read.completion.cookie), everybody()).await.unwrap();
        assert_eq!(fixed.rejects, 0);
    }
}

/// Numbers of the users whom the next test changes.
const CHANGED: [u32; 4] = [11, 12, 13, 14];

#[tokio::test(flavor = "multi_thread")]
async fn every_change_arrives_once() {
    let lab = labs::passwords();
    let known = known(lab);
    let user = |number: u32| known.iter().find(|(_, user)| user.number == number).unwrap();
    let [(changed, changed_user), (temporary, temporary_user), (disabled, disabled_user), (gone, gone_user)] = CHANGED.map(user);
    let source = source(lab, Authentication::Kerberos);
    let first = cycle(&source, None, everybody()).await.unwrap();
    let nothing = cycle(&source, Some(first.completion.cookie), everybody()).await.unwrap();
    assert_eq!((nothing.changes.len(), nothing.seen, nothing.pages), (0, 0, 1));

    administer(lab, &["user", "setpassword", &changed_user.name, "--newpassword=Changed-Pw-1!"]);
    administer(lab, &["user", "setpassword", &temporary_user.name, "--newpassword=Temporary-Pw-2!", "--must-change-at-next-login"]);
    administer(lab, &["user", "disable", &disabled_user.name]);
    administer(lab, &["user", "create", "newcomer", "New-Pw-3!-ß"]);
    let newcomer = anchor_of(lab, "newcomer");
    administer(lab, &["user", "delete", &gone_user.name]);
    let delta = cycle(&source, Some(nothing.completion.cookie), everybody()).await.unwrap();
    assert_eq!(delta.rejects, 0);
    let change = &delta.changes[changed];
    assert!(is_of(hash(change), "Changed-Pw-1!") && !is_of(hash(change), &changed_user.password));
    assert_eq!((change.must_change, change.deleted), (Some(false), false));
    assert!(change.version > first.changes[changed].version && change.changed >= first.changes[changed].changed);
    let change = &delta.changes[temporary];
    assert!(is_of(hash(change), "Temporary-Pw-2!"));
    assert_eq!(change.must_change, Some(true));
    let change = &delta.changes[disabled];
    assert!(change.disabled == Some(true) && change.hash.is_none(), "a disabled account has the same password: {change:?}");
    assert!(is_of(hash(&delta.changes[&newcomer]), "New-Pw-3!-ß"));
    let change = &delta.changes[gone];
    assert!(change.deleted && matches!(change.hash, Some(None)), "{change:?}");
    assert_eq!(delta.changes.len(), 5);

    // Who asks again hears nothing, NTLM or not.
    let again = cycle(&self::source(lab, Authentication::Ntlm), Some(delta.completion.cookie.clone()), everybody()).await.unwrap();
    assert_eq!(again.changes.len(), 0);
    // One by one: those that are there, and nobody who is gone or never was.
    let anchors = [changed, &newcomer, gone, &vec![7; 16]].map(|octets| Anchor::new(octets.as_slice()));
    let read = source.read(&Context::system(), DOMAIN, &anchors).await.unwrap().changes;
    assert_eq!(read.iter().map(|change| change.anchor.clone()).collect::<Vec<_>>(), anchors[..2]);
    assert!(is_of(hash(&read[0]), "Changed-Pw-1!") && is_of(hash(&read[1]), "New-Pw-3!-ß"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_is_wanted_is_handed_on() {
    let lab = labs::passwords();
    let wanted = known(lab).into_iter().find(|(_, user)| user.number == 20).unwrap().0;
    let only = wanted.clone();
    let read = cycle(&source(lab, Authentication::Kerberos), None, Arc::new(move |anchor| anchor.as_bytes() == only)).await.unwrap();
    assert_eq!(read.changes.keys().collect::<Vec<_>>(), [&wanted]);
    assert!(read.seen > 60);
}

async fn refusal(change: impl FnOnce(&mut ReplicationSettings)) -> ConnectorError {
    let mut settings = settings(labs::passwords(), Authentication::Kerberos);
    change(&mut settings);
    let source = ReplicationSource::new(settings).unwrap();
    cycle(&source, None, everybody()).await.err().expect("a refusal")
}

#[tokio::test(flavor = "multi_thread")]
async fn who_lacks_a_right_is_told_both() {
    let lab = labs::passwords();
    for authentication in [Authentication::Kerberos, Authentication::Ntlm] {
        for account in ["half_name", "reader_name"] {
            let error = refusal(|settings| {
                settings.authentication = authentication;
                settings.account = lab.text(account).to_owned();
            })
            .await;
            assert_eq!(error.kind, ConnectorErrorKind::Permission, "{error}");
            assert!(error.message.contains("\"Replicating Directory Changes\""), "{error}");
            assert!(error.message.contains("\"Replicating Directory Changes All\""), "{error}");
            assert!(error.message.contains(lab.text(account)) && error.message.contains(DOMAIN), "{error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_named_and_not_tried_again() {
    let lab = labs::passwords();
    for authentication in [Authentication::Kerberos, Authentication::Negotiate, Authentication::Ntlm] {
        let mut settings = settings(lab, authentication);
        settings.password = SecretString::from("Secret-Guess-1");
        settings.account = lab.text("reader_name").to_owned();
        let source = ReplicationSource::new(settings).unwrap();
        let error = cycle(&source, None, everybody()).await.err().unwrap();
        assert_eq!(error.kind, ConnectorErrorKind::Authentication, "{error}");
        assert!(error.message.contains("password") && error.message.contains("svc_read"), "{error}");
        assert!(!format!("{error:?}").contains("Secret-Guess-1"));
        let again = cycle(&source, None, everybody()).await.err().unwrap();
        assert!(again.message.contains("not tried again"), "{again}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_wrong_are_named() {
    let lab = labs::passwords();
    let error = refusal(|settings| settings.account = "nobody@corp.example".to_owned()).await;
    assert_eq!(error.kind, ConnectorErrorKind::Authentication);
    assert!(error.message.contains("does not know it"), "{error}");
    let error = refusal(|settings| {
        settings.servers[0].host = "dc7.corp.example".to_owned();
    })
    .await;
    assert_eq!(error.kind, ConnectorErrorKind::Configuration);
    assert!(error.message.contains("host/dc7.corp.example"), "{error}");
    let error = refusal(|settings| settings.servers[0].kdc = Some(format!("{}:1", lab.text("address")))).await;
    assert_eq!(error.kind, ConnectorErrorKind::Connection, "{error}");
    let request = PasswordRequest { domain: "DC=other,DC=example".to_owned(), since: None, wanted: everybody() };
    let error = source(lab, Authentication::Kerberos).changes(&Context::system(), request).await.err().unwrap();
    assert_eq!(error.kind, ConnectorErrorKind::Search);
    assert!(error.message.contains("no naming context"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_is_stood_in_for() {
    let lab = labs::passwords();
    let mut settings = settings(lab, Authentication::Kerberos);
    let mut away = settings.servers[0].clone();
    // A port that was free a moment ago.
    away.port = Some(std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port());
    away.host = "dc0.corp.example".to_owned();
    away.address = Some("127.0.0.1".to_owned());
    settings.servers.insert(0, away.clone());
    let read = cycle(&ReplicationSource::new(settings.clone()).unwrap(), None, everybody()).await.unwrap();
    assert_eq!(read.completion.server, "dc1.corp.example");
    settings.servers = vec![away];
    let error = cycle(&ReplicationSource::new(settings).unwrap(), None, everybody()).await.err().unwrap();
    assert_eq!(error.kind, ConnectorErrorKind::Connection);
    assert!(error.message.contains("dc0.corp.example"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_diagnosis_says_what_is_missing() {
    let lab = labs::passwords();
    let cx = Context::system();
    for authentication in [Authentication::Kerberos, Authentication::Ntlm] {
        let good = source(lab, authentication).diagnose(&cx).await;
        assert!(good.iter().all(|check| check.good), "{good:#?}");
        let words: Vec<&str> = good.iter().map(|check| check.what.split(": ").nth(1).unwrap().split(' ').next().unwrap()).collect();
        let clock: &[&str] = if authentication == Authentication::Ntlm { &[] } else { &["clock"] };
        assert_eq!(words, [&["replication", "sign-in"], clock, &["role", "rights"]].concat());
        assert!(good[0].evidence.contains("4950"), "{good:#?}");
    }
    for (account, missing) in [
        ("half_name", "\"Replicating Directory Changes All\" is missing"),
        ("reader_name", "\"Replicating Directory Changes\" is missing, and perhaps"),
    ] {
        let mut settings = settings(lab, Authentication::Kerberos);
        settings.account = lab.text(account).to_owned();
        let found = ReplicationSource::new(settings).unwrap().diagnose(&cx).await;
        let rights = found.last().unwrap();
        assert!(!rights.good && rights.evidence.contains(missing), "{rights:?}");
        assert!(rights.remedy.as_ref().unwrap().contains("\"Replicating Directory Changes\" and \"Replicating Directory Changes All\""));
        assert!(found[..found.len() - 1].iter().all(|check| check.good), "{found:#?}");
    }
    let mut settings = settings(lab, Authentication::Kerberos);
    settings.account = "nobody@corp.example".to_owned();
    let found = ReplicationSource::new(settings).unwrap().diagnose(&cx).await;
    assert_eq!(found.iter().map(|check| check.good).collect::<Vec<_>>(), [true, false]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_is_told_to_stop_stops() {
    let lab = labs::passwords();
    let mut settings = settings(lab, Authentication::Kerberos);
    settings.page_objects = 1;
    let cx = Context::system();
    let request = PasswordRequest { domain: DOMAIN.to_owned(), since: None, wanted: everybody() };
    let mut stream = ReplicationSource::new(settings).unwrap().changes(&cx, request).await.unwrap();
    assert!(stream.next().await.unwrap().is_ok());
    cx.cancel.cancel();
    let mut last = None;
    while let Some(page) = stream.next().await {
        last = Some(page);
    }
    assert_eq!(last.unwrap().unwrap_err().kind, ConnectorErrorKind::Cancelled);
}
