//! Password hashes from LDIF files: the right ones for the right accounts, once, and again when a file has changed.

use futures_util::StreamExt as _;
use std::fs::{File, FileTimes, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use syncline::connector::ldif::{LdifConnector, LdifSettings};
use syncline::connector::{ConnectorErrorKind, PasswordChange, PasswordPage, PasswordRequest, PasswordSource as _, Wanted};
use syncline::context::Context;
use syncline::directory_generator::{DirectoryRecipe, PasswordRecipe, PasswordState};
use syncline::model::{Anchor, Names, Timestamp};
use syncline::password::hash::{CredentialData, NtHash};

/// The same hash, as far as anybody can tell who only sees derived keys.
pub(crate) fn is_of(hash: &NtHash, password: &str) -> bool {
    CredentialData::derive(hash, &[1; 10], 1).unwrap().verify_password(password)
}

/// The only hash of a change.
pub(crate) fn hash(change: &PasswordChange) -> &NtHash {
    change.hash.as_ref().and_then(Option::as_ref).unwrap_or_else(|| panic!("no hash: {change:?}"))
}

/// All pages of a read together, the completion of the last.
pub(crate) fn joined(pages: Vec<PasswordPage>) -> PasswordPage {
    let mut whole = PasswordPage::default();
    for page in pages {
        assert!(whole.completion.is_none(), "nothing comes behind the completion");
        whole.changes.extend(page.changes);
        whole.rejects.extend(page.rejects);
        whole.seen += page.seen;
        whole.completion = page.completion;
    }
    whole
}

pub(crate) fn everybody() -> Wanted {
    Arc::new(|_| true)
}

fn connector(path: &Path) -> LdifConnector {
    LdifConnector::new(LdifSettings { path: path.to_owned(), ..LdifSettings::default() }, Arc::new(Names::new())).unwrap()
}

async fn read(connector: &LdifConnector, since: Option<Vec<u8>>, wanted: Wanted) -> PasswordPage {
    let cx = Context::system();
    let domain = connector.domains(&cx).await.unwrap().remove(0);
    let stream = connector.changes(&cx, PasswordRequest { domain, since, wanted }).await.unwrap();
    joined(stream.map(Result::unwrap).collect().await)
}

fn write(path: &Path, recipe: &DirectoryRecipe, age: Duration) {
    let mut file = File::create(path).unwrap();
    let mut text = Vec::new();
    recipe.write_ldif(&mut text).unwrap();
    file.write_all(&text).unwrap();
    let now = Duration::from_secs(Context::system().now().seconds().unsigned_abs());
    file.set_times(FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + now - age)).unwrap();
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("corp.ldif");
    (folder, path)
}

fn recipe(users: u64, changed: u64) -> DirectoryRecipe {
    DirectoryRecipe { users, groups: 20, contacts: 5, passwords: Some(PasswordRecipe { changed }), ..DirectoryRecipe::default() }
}

#[tokio::test]
async fn everybodys_hash_comes_with_its_date() {
    let (_folder, path) = folder();
    let recipe = recipe(2_500, 0);
    write(&path, &recipe, Duration::ZERO);
    let page = read(&connector(&path), None, everybody()).await;
    assert_eq!((page.changes.len(), page.rejects.len()), (2_500, 0), "groups and contacts have no passwords");
    assert!(page.seen > 2_525, "{}", page.seen);
    for (index, change) in (0..).zip(&page.changes) {
        assert_eq!((change.anchor.as_bytes(), change.dn.as_str()), (&recipe.user_guid(index)[..], recipe.user_dn(index).as_str()));
        assert!(!change.deleted && change.version.is_none());
        let state = recipe.password_state(index);
        assert_eq!(change.must_change, Some(state != PasswordState::Good), "{change:?}");
        match state {
            PasswordState::Missing => assert!(matches!(change.hash, Some(None))),
            _ => assert!(is_of(hash(change), &recipe.user_password(index)) && !is_of(hash(change), "Pw-000000-Sync!")),
        }
    }
    // 2024-01-01T00:00:00Z and a second for each.
    assert_eq!(page.changes[7].changed, Some(Timestamp::from_seconds(1_704_067_207)));
    assert_eq!(page.changes[17].changed, None, "a temporary password has no date");
    let completion = page.completion.unwrap();
    assert!(!completion.answered_in_full && completion.server.ends_with("corp.ldif"));
    assert!(!format!("{:?}", page.changes[0]).contains("NtHash"));
}

#[tokio::test]
async fn only_who_is_wanted_is_handed_on() {
    let (_folder, path) = folder();
    let recipe = recipe(50, 0);
    write(&path, &recipe, Duration::ZERO);
    let chosen = Anchor::new(recipe.user_guid(30).to_vec());
    let only = chosen.clone();
    let page = read(&connector(&path), None, Arc::new(move |anchor| *anchor == only)).await;
    assert_eq!(page.changes.iter().map(|change| change.anchor.clone()).collect::<Vec<_>>(), std::slice::from_ref(&chosen));
    let cx = Context::system();
    let gone = Anchor::new(vec![0; 16]);
    let read = connector(&path).read(&cx, "any", &[gone, chosen.clone()]).await.unwrap().changes;
    assert_eq!(read.len(), 1);
    assert!(read[0].anchor == chosen && is_of(hash(&read[0]), &recipe.user_password(30)));
}

#[tokio::test]
async fn a_file_that_nobody_touched_gives_nothing() {
    let (folder, path) = folder();
    let old = Duration::from_mins(1);
    write(&path, &recipe(50, 0), old);
    let connector = connector(folder.path());
    let cookie = |page: &PasswordPage| page.completion.clone().unwrap().cookie;
    // Just written, as its other time says: it could be written once more without looking younger.
    let fresh = read(&connector, None, everybody()).await;
    assert_eq!(read(&connector, Some(cookie(&fresh)), everybody()).await.changes.len(), 50);
    tokio::time::sleep(Duration::from_millis(3_100)).await;
    let settled = read(&connector, Some(cookie(&fresh)), everybody()).await;
    assert_eq!((settled.changes.len(), settled.seen), (0, 0));
    assert_eq!(settled.completion.as_ref().map(|completion| completion.answered_in_full), Some(false));
    assert_eq!(cookie(&settled), cookie(&fresh));
    // A restart is no reason to read again.
    let restarted =
        LdifConnector::new(LdifSettings { path: folder.path().to_owned(), ..LdifSettings::default() }, Arc::new(Names::new())).unwrap();
    assert_eq!(read(&restarted, Some(cookie(&settled)), everybody()).await.seen, 0);
    // The same length and a time set back: still another file.
    write(&path, &recipe(50, 0), old);
    assert_eq!(read(&connector, Some(cookie(&settled)), everybody()).await.changes.len(), 50);
    write(&path, &recipe(50, 10), old);
    let changed = read(&connector, Some(cookie(&settled)), everybody()).await;
    assert_eq!((changed.changes.len(), changed.completion.as_ref().map(|completion| completion.answered_in_full)), (50, Some(true)));
    let recipe = recipe(50, 10);
    assert!(is_of(hash(&changed.changes[9]), &recipe.user_password(9)) && recipe.user_password(9).ends_with("-2"));
    assert!(changed.changes[9].changed > settled_date(&fresh, 9) && changed.changes[10].changed == settled_date(&fresh, 10));
    // Another file beside it is a change, too.
    std::fs::write(folder.path().join("more.ldif"), "version: 1\n").unwrap();
    assert_eq!(read(&connector, Some(cookie(&changed)), everybody()).await.changes.len(), 50);
}

fn settled_date(page: &PasswordPage, index: usize) -> Option<Timestamp> {
    page.changes[index].changed
}

#[tokio::test]
async fn what_cannot_be_read_is_named_without_its_value() {
    let (_folder, path) = folder();
    let user = |name: &str, more: &str| {
        format!("dn: CN={name},DC=corp\nobjectClass: top\nobjectClass: user\nentryUUID: 00000000-0000-4000-8000-0000000000{name}\n{more}\n")
    };
    let text = [
        "version: 1\n\n".to_owned(),
        user("01", "unicodePwd:: MDEyMzQ1Njc4OWFiY2RlZg==\npwdLastSet: 133485408000000000\n"),
        // The form in which passwords are written to Active Directory.
        user("02", "unicodePwd:: IgBzAGUAYwByAGUAdAAxACIA\n"),
        user("03", "unicodePwd:: MDEyMzQ1Njc4OWFiY2RlZg==\npwdLastSet: yesterday\n"),
        user("04", "unicodePwd:: MDEyMzQ1Njc4OWFiY2RlZg==\nisDeleted: TRUE\n"),
        "dn: CN=anchorless,DC=corp\nobjectClass: user\nunicodePwd:: MDEyMzQ1Njc4OWFiY2RlZg==\n\n".to_owned(),
        "dn: CN=01,DC=corp\nchangetype: modify\nreplace: unicodePwd\nunicodePwd:: AAAA\n-\n\n".to_owned(),
    ];
    std::fs::write(&path, text.concat()).unwrap();
    let connector = connector(&path);
    let page = read(&connector, None, everybody()).await;
    assert_eq!(
        page.changes.iter().map(|change| (change.dn.as_str(), change.deleted)).collect::<Vec<_>>(),
        [("CN=01,DC=corp", false), ("CN=04,DC=corp", true)]
    );
    let sentences: Vec<&str> = page.rejects.iter().map(|(_, sentence)| sentence.as_str()).collect();
    assert_eq!(sentences.len(), 2);
    for (sentence, parts) in
        sentences.iter().zip([["line 10", "'CN=02,DC=corp'", "18 octets"], ["line 16", "'CN=03,DC=corp'", "pwdLastSet"]])
    {
        assert!(parts.iter().all(|part| sentence.contains(part)), "{sentence}");
        assert!(!sentence.contains("secret") && !sentence.contains("yesterday") && !sentence.contains("IgBz"), "{sentence}");
    }
    let cx = Context::system();
    let request = |since: &[u8]| PasswordRequest { domain: "any".to_owned(), since: Some(since.to_vec()), wanted: everybody() };
    let Err(lost) = connector.changes(&cx, request(b"ldapi1 aa 7")).await else { panic!("a strange cookie") };
    assert_eq!(lost.kind, ConnectorErrorKind::WatermarkLost);
    std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let checks = connector.diagnose(&cx).await;
    assert_eq!(checks.iter().map(|check| check.good).collect::<Vec<_>>(), [false, false], "{checks:?}");
    assert!(
        checks[0].remedy.as_ref().unwrap().starts_with("chmod 600 ") && checks[1].evidence.contains("2 that cannot be read"),
        "{checks:?}"
    );
    write(&path, &recipe(20, 0), Duration::ZERO);
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    let checks = connector.diagnose(&cx).await;
    assert!(checks.iter().all(|check| check.good && check.remedy.is_none()), "{checks:?}");
    std::fs::remove_file(&path).unwrap();
    let Err(missing) = connector.changes(&cx, PasswordRequest { domain: "any".to_owned(), since: None, wanted: everybody() }).await else {
        panic!("no file")
    };
    assert_eq!(missing.kind, ConnectorErrorKind::File);
    assert!(!connector.diagnose(&cx).await[0].good);
}

#[tokio::test]
async fn a_read_that_is_told_to_stop_has_no_completion() {
    let (_folder, path) = folder();
    write(&path, &recipe(1_500, 0), Duration::ZERO);
    let cx = Context::system();
    let request = PasswordRequest { domain: "any".to_owned(), since: None, wanted: everybody() };
    cx.cancel.cancel();
    let stream = connector(&path).changes(&cx, request).await.unwrap();
    let pages: Vec<_> = stream.collect().await;
    assert!(pages.iter().flatten().all(|page| page.completion.is_none()));
    assert!(matches!(pages.last(), Some(Err(error)) if error.kind == ConnectorErrorKind::Cancelled), "{pages:?}");
}
