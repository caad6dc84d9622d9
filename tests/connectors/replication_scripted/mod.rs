//! Password hashes from controllers that do what real ones do only once in a while: restored, replaced, stuck, away,
//! busy with links, without rights.

mod domain;

use domain::{Account, CHANGED, Controller, DOMAIN, Domain, Lacks, dn};
use futures_util::StreamExt as _;
use secrecy::SecretString;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use syncline::connector::ad::replication::{ReplicationServer, ReplicationSettings, ReplicationSource};
use syncline::connector::{
    ConnectorError, ConnectorErrorKind as Kind, PasswordChange, PasswordCompletion, PasswordPage, PasswordRequest, PasswordSource as _,
    SignIns, Wanted,
};
use syncline::context::{Clock, Context};
use syncline::model::{Anchor, Timestamp};
use syncline::password::hash::{CredentialData, NtHash};
use syncline::protocol::dcerpc::Guid;

const NOBODY: Guid = Guid::NIL;

fn password(rid: u32) -> String {
    format!("Pw-{rid}!")
}

fn hash_of(password: &str) -> [u8; 16] {
    use md4::Digest as _;
    let units: Vec<u8> = password.encode_utf16().flat_map(u16::to_le_bytes).collect();
    md4::Md4::digest(&units).into()
}

fn is_of(change: &PasswordChange, password: &str) -> bool {
    let hash: &NtHash = change.hash.as_ref().unwrap().as_ref().unwrap();
    CredentialData::derive(hash, &[1], 1).unwrap().verify_password(password)
}

/// Accounts from RID 1000 on, each with its password.
fn accounts(count: u32) -> Vec<Account> {
    (0..count)
        .map(|number| {
            let rid = 1_000 + number;
            let mut guid = Guid([3; 16]);
            guid.0[..4].copy_from_slice(&rid.to_le_bytes());
            let hash = Some(hash_of(&password(rid)));
            Account { guid, rid, hash, must_change: false, deleted: false, damaged: false, version: 2, usn: i64::from(rid) }
        })
        .collect()
}

fn one(count: u32) -> Arc<Mutex<Controller>> {
    Controller::new("dc1.corp.example", 1, accounts(count))
}

fn settings(objects: u32) -> ReplicationSettings {
    let servers = vec![ReplicationServer::new("dc1.corp.example")];
    let mut settings = ReplicationSettings::new(servers, "svc@corp.example", SecretString::from("secret"));
    settings.page_objects = objects;
    settings
}

fn source(controllers: &[&Arc<Mutex<Controller>>], objects: u32) -> ReplicationSource {
    let domain = Domain(controllers.iter().map(|controller| Arc::clone(controller)).collect());
    ReplicationSource::with_controllers(Arc::new(settings(objects)), Arc::new(domain)).unwrap()
}

fn everybody() -> Wanted {
    Arc::new(|_| true)
}

fn request(since: Option<Vec<u8>>) -> PasswordRequest {
    PasswordRequest { domain: DOMAIN.to_owned(), since, wanted: everybody() }
}

struct Cycle {
    changes: Vec<PasswordChange>,
    rejects: Vec<(Anchor, String)>,
    pages: usize,
    seen: u64,
    completion: Option<PasswordCompletion>,
    error: Option<ConnectorError>,
}

impl Cycle {
    fn cookie(&self) -> Option<Vec<u8>> {
        self.completion.as_ref().map(|completion| completion.cookie.clone())
    }
}

async fn run(cx: &Context, source: &ReplicationSource, request: PasswordRequest) -> Result<Cycle, ConnectorError> {
    let mut stream = source.changes(cx, request).await?;
    let mut cycle = Cycle { changes: Vec::new(), rejects: Vec::new(), pages: 0, seen: 0, completion: None, error: None };
    while let Some(page) = stream.next().await {
        match page {
            Ok(page) => {
                cycle.pages += 1;
                cycle.seen += page.seen;
                cycle.changes.extend(page.changes);
                cycle.rejects.extend(page.rejects);
                cycle.completion = page.completion;
            }
            Err(error) => cycle.error = Some(error),
        }
    }
    Ok(cycle)
}

async fn cycle(source: &ReplicationSource, since: Option<Vec<u8>>) -> Cycle {
    let cycle = run(&Context::system(), source, request(since)).await.unwrap_or_else(|error| panic!("{error}"));
    assert!(cycle.error.is_none(), "{:?}", cycle.error);
    cycle
}

async fn refusal(source: &ReplicationSource, since: Option<Vec<u8>>) -> ConnectorError {
    run(&Context::system(), source, request(since)).await.err().expect("a refusal")
}

/// A clock that is set by hand; it never waits.
struct HandClock(AtomicI64);

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_seconds(self.0.load(Ordering::Relaxed))
    }

    fn elapsed(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::Relaxed).unsigned_abs())
    }

    fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::pending())
    }
}

fn at(clock: &Arc<HandClock>) -> Context {
    Context { clock: clock.clone(), ..Context::system() }
}

#[tokio::test]
async fn a_large_domain_comes_page_by_page() {
    let controller = one(2_500);
    let read = cycle(&source(&[&controller], 1_000), None).await;
    assert_eq!((read.pages, read.seen, read.changes.len(), read.rejects.len()), (3, 2_500, 2_500, 0));
    for (change, rid) in read.changes.iter().zip(1_000..) {
        assert!(is_of(change, &password(rid)), "{rid}");
        assert_eq!((change.dn.clone(), change.must_change, change.version), (dn(rid), Some(false), Some(2)));
        assert_eq!(change.changed, Some(Timestamp::from_seconds(CHANGED + i64::from(rid) - 11_644_473_600)));
    }
    let controller = controller.lock().unwrap();
    let positions: Vec<_> = controller.asked.iter().map(|asked| (asked.invocation, asked.position)).collect();
    let own = controller.invocation;
    // The first request speaks of nobody, the others of the one who answered.
    assert_eq!(positions, [(NOBODY, [0, 0, 0]), (own, [1_999, 0, 0]), (own, [2_999, 0, 0])]);
    for asked in &controller.asked {
        assert_eq!((asked.objects, asked.single, asked.known.len(), asked.agent), (1_000, false, 0, controller.agent));
        assert_eq!(asked.attributes, [0x5a, 0x60, 0x08, 0x0001_0030]);
    }
    assert_eq!(controller.connections, 1);
}

#[tokio::test]
async fn a_delta_brings_what_changed_and_nothing_else() {
    let controller = one(30);
    let source = source(&[&controller], 10);
    let first = cycle(&source, None).await;
    let nothing = cycle(&source, first.cookie()).await;
    assert_eq!((nothing.pages, nothing.seen, nothing.changes.len()), (1, 0, 0));
    {
        let mut controller = controller.lock().unwrap();
        controller.change(3, |account| account.hash = Some(hash_of("Other-1!")));
        controller.change(4, |account| account.must_change = true);
        controller.change(5, |account| account.deleted = true);
        controller.change(6, |account| account.hash = None);
    }
    let delta = cycle(&source, nothing.cookie()).await;
    // Of who has no password it is told whether the account may be used, and nothing else.
    assert_eq!((delta.seen, delta.changes.len()), (4, 4));
    assert!(delta.changes.iter().filter(|change| !change.deleted).all(|change| change.disabled == Some(false)));
    assert!(delta.changes[3].hash.is_none() && delta.changes[3].must_change.is_none(), "{:?}", delta.changes[3]);
    assert!(is_of(&delta.changes[0], "Other-1!"));
    assert_eq!((delta.changes[0].version, delta.changes[1].must_change), (Some(3), Some(true)));
    assert!(delta.changes[2].deleted && matches!(delta.changes[2].hash, Some(None)));
    let controller = controller.lock().unwrap();
    let asked = controller.asked.last().unwrap();
    assert_eq!((asked.invocation, asked.position), (controller.invocation, [1_029, 0, 1_029]));
    assert_eq!(asked.known, [(controller.invocation, 1_029), (Guid([0xee; 16]), 5)]);
}

#[tokio::test]
async fn who_is_not_wanted_is_not_decrypted() {
    let controller = one(5);
    controller.lock().unwrap().change(2, |account| account.damaged = true);
    let source = source(&[&controller], 100);
    let wanted: Wanted = Arc::new(|anchor| anchor.as_bytes()[0] != 1_002_u32.to_le_bytes()[0]);
    let read = run(&Context::system(), &source, PasswordRequest { wanted, ..request(None) }).await.unwrap();
    assert_eq!((read.seen, read.changes.len(), read.rejects.len()), (5, 4, 0));
    let all = cycle(&source, None).await;
    assert_eq!((all.changes.len(), all.rejects.len()), (4, 1));
    assert!(all.rejects[0].1.contains("CN=user1002") && all.rejects[0].1.contains("checksum"), "{:?}", all.rejects);
    assert!(all.completion.is_some(), "one account stops nobody");
}

#[tokio::test]
async fn pages_of_links_are_passed_over_to_the_end() {
    let controller = one(20);
    controller.lock().unwrap().link_pages = 17;
    let read = cycle(&source(&[&controller], 8), None).await;
    assert_eq!((read.changes.len(), read.pages), (20, 3 + 17));
    assert!(read.completion.is_some());
    let controller = controller.lock().unwrap();
    assert_eq!(controller.asked.last().unwrap().position, [1_019, 17, 0]);
}

#[tokio::test]
async fn a_server_that_does_not_get_on_is_left() {
    let controller = one(20);
    controller.lock().unwrap().stuck = true;
    let error = refusal(&source(&[&controller], 8), None).await;
    assert_eq!(error.kind, Kind::Protocol);
    assert!(error.message.contains("same position"), "{error}");
    assert_eq!(controller.lock().unwrap().asked.len(), 1);
}

#[tokio::test]
async fn a_cookie_that_says_nothing_here_is_lost() {
    let controller = one(20);
    let source = source(&[&controller], 100);
    let cookie = cycle(&source, None).await.cookie().unwrap();
    let mut damaged = cookie.clone();
    damaged[20] ^= 1;
    for other in [Vec::new(), b"MSDS".to_vec(), cookie[..cookie.len() - 1].to_vec(), damaged] {
        assert_eq!(refusal(&source, Some(other)).await.kind, Kind::WatermarkLost);
    }
    let elsewhere = PasswordRequest { domain: "DC=other,DC=example".to_owned(), ..request(Some(cookie.clone())) };
    let error = run(&Context::system(), &source, elsewhere).await.err().unwrap();
    assert!(error.kind == Kind::WatermarkLost && error.message.contains(DOMAIN), "{error}");
    // The same name in another spelling is the same domain.
    let spelt = PasswordRequest { domain: "dc=CORP, dc=example".to_owned(), ..request(Some(cookie.clone())) };
    assert!(run(&Context::system(), &source, spelt).await.is_ok());
    // A domain that was made anew under the old name is not.
    controller.lock().unwrap().context = Guid([0xdd; 16]);
    let error = refusal(&source, Some(cookie)).await;
    assert!(error.kind == Kind::WatermarkLost && error.message.contains("not the domain that was read before"), "{error}");
}

#[tokio::test]
async fn a_cookie_from_before_the_tombstones_is_a_full_read() {
    let controller = one(20);
    let source = source(&[&controller], 100);
    let clock = Arc::new(HandClock(AtomicI64::new(1_795_000_000)));
    let first = run(&at(&clock), &source, request(None)).await.unwrap();
    assert!(!first.completion.as_ref().unwrap().answered_in_full);
    let day = 86_400;
    clock.0.fetch_add(180 * day, Ordering::Relaxed);
    let delta = run(&at(&clock), &source, request(first.cookie())).await.unwrap();
    assert_eq!((delta.seen, delta.completion.unwrap().answered_in_full), (0, false));
    clock.0.fetch_add(1, Ordering::Relaxed);
    let full = run(&at(&clock), &source, request(first.cookie())).await.unwrap();
    assert_eq!((full.seen, full.completion.unwrap().answered_in_full), (20, true));
    assert_eq!(controller.lock().unwrap().asked.last().unwrap().known, []);
}

#[tokio::test]
async fn another_controller_is_told_what_is_known_and_no_position() {
    for anonymous in [false, true] {
        let first = one(20);
        let cookie = cycle(&source(&[&first], 100), None).await.cookie();
        let second = Controller::new("dc2.corp.example", 2, accounts(20));
        // It knows the changes of the first one by the same numbers, and has one of its own.
        let agent = second.lock().unwrap().agent;
        {
            let mut second = second.lock().unwrap();
            second.anonymous = anonymous;
            second.invocation = first.lock().unwrap().invocation;
            second.change(7, |account| account.hash = Some(hash_of("Other-1!")));
        }
        first.lock().unwrap().refuses = Some(Kind::Connection);
        let read = cycle(&source(&[&first, &second], 100), cookie).await;
        assert_eq!((read.seen, read.changes.len()), (1, 1));
        let completion = read.completion.unwrap();
        assert_eq!((completion.server.as_str(), completion.answered_in_full), ("dc2.corp.example", false));
        let second = second.lock().unwrap();
        let asked = second.asked.last().unwrap();
        assert_eq!((asked.invocation, asked.position, asked.known.len()), (NOBODY, [0; 3], 2));
        // Who does not tell its name is found out by its first answer.
        assert_eq!((second.asked.len(), second.connections), if anonymous { (2, 2) } else { (1, 1) });
        assert_eq!(asked.agent, if anonymous { NOBODY } else { agent });
    }
}

#[tokio::test]
async fn a_restored_controller_is_another_one() {
    let controller = one(20);
    let source = source(&[&controller], 100);
    let cookie = cycle(&source, None).await.cookie();
    let before = controller.lock().unwrap().invocation;
    controller.lock().unwrap().invocation = Guid([0x77; 16]);
    let read = cycle(&source, cookie).await;
    // Nothing of its new life is known, so everything comes, once.
    assert_eq!((read.seen, read.changes.len()), (20, 20));
    let controller = controller.lock().unwrap();
    let [_, first, second] = &controller.asked[..] else { panic!("{:?}", controller.asked) };
    assert_eq!((first.invocation, first.position), (before, [1_019, 0, 1_019]));
    assert_eq!((second.invocation, second.position, &second.known), (NOBODY, [0; 3], &first.known));
    assert_eq!(controller.connections, 3);
}

#[tokio::test]
async fn a_break_in_the_middle_moves_no_cookie() {
    let controller = one(50);
    controller.lock().unwrap().breaks_after = Some(2);
    let source = source(&[&controller], 10);
    let broken = run(&Context::system(), &source, request(None)).await.unwrap();
    assert_eq!((broken.pages, broken.changes.len(), broken.completion.is_none()), (2, 20, true));
    assert_eq!(broken.error.unwrap().kind, Kind::Dropped);
    controller.lock().unwrap().breaks_after = None;
    assert_eq!(cycle(&source, None).await.changes.len(), 50);
}

#[tokio::test]
async fn others_stand_in_where_that_helps_and_only_there() {
    for (kind, helps) in [
        (Kind::Connection, true),
        (Kind::Dropped, true),
        (Kind::Busy, true),
        (Kind::Authentication, false),
        (Kind::Permission, false),
        (Kind::Cancelled, false),
    ] {
        let (first, second) = (one(3), Controller::new("dc2.corp.example", 2, accounts(3)));
        first.lock().unwrap().refuses = Some(kind);
        let both = source(&[&first, &second], 100);
        match run(&Context::system(), &both, request(None)).await {
            Ok(read) => assert!(helps && read.changes.len() == 3, "{kind:?}"),
            Err(error) => assert!(!helps && error.kind == kind, "{kind:?}: {error}"),
        }
        assert_eq!(second.lock().unwrap().connections, usize::from(helps), "{kind:?}");
    }
    // Numbers in answers: a read-only controller, another domain's controller, a busy one.
    for status in [0x2108, 0x20f8, 0x20f6] {
        let (first, second) = (one(3), Controller::new("dc2.corp.example", 2, accounts(3)));
        first.lock().unwrap().status = status;
        let completion = cycle(&source(&[&first, &second], 100), None).await.completion.unwrap();
        let passed_over = completion.passed_over.unwrap();
        assert_eq!((completion.server.as_str(), passed_over.server.as_str()), ("dc2.corp.example", "dc1.corp.example"));
        assert!(passed_over.reason.contains(&format!("{status:#x}")), "{passed_over:?}");
        assert_eq!(cycle(&source(&[&second, &first], 100), None).await.completion.unwrap().passed_over, None);
        second.lock().unwrap().status = status;
        let error = refusal(&source(&[&first, &second], 100), None).await;
        assert!(error.message.contains("dc1.corp.example: ") && error.message.contains("; dc2.corp.example: "), "{error}");
        assert!(error.message.contains(&format!("{status:#x}")), "{error}");
    }
}

#[tokio::test]
async fn missing_rights_are_named_and_asked_for_once() {
    for lacks in [Lacks::Secrets, Lacks::Everything] {
        let (first, second) = (one(3), one(3));
        first.lock().unwrap().lacks = lacks;
        let error = refusal(&source(&[&first, &second], 100), None).await;
        assert_eq!(error.kind, Kind::Permission);
        assert!(error.message.contains("\"Replicating Directory Changes\" and \"Replicating Directory Changes All\""), "{error}");
        assert_eq!((first.lock().unwrap().asked.len(), second.lock().unwrap().connections), (1, 0));
    }
}

#[tokio::test]
async fn a_refused_account_is_left_alone_for_a_while() {
    let controller = one(3);
    let clock = Arc::new(HandClock(AtomicI64::new(1_795_000_000)));
    let settings = ReplicationSettings { sign_in: SignIns::on(clock.clone()).to("corp.example"), ..settings(100) };
    let source = ReplicationSource::with_controllers(Arc::new(settings), Arc::new(Domain(vec![Arc::clone(&controller)]))).unwrap();
    controller.lock().unwrap().refuses = Some(Kind::Authentication);
    let cx = at(&clock);
    assert_eq!(run(&cx, &source, request(None)).await.err().unwrap().kind, Kind::Authentication);
    controller.lock().unwrap().refuses = None;
    clock.0.fetch_add(14 * 60, Ordering::Relaxed);
    let error = run(&cx, &source, request(None)).await.err().unwrap();
    assert!(error.kind == Kind::Authentication && error.message.contains("not tried again for 60 s"), "{error}");
    let anchor = Anchor::new(accounts(1)[0].guid.0);
    assert!(source.read(&cx, DOMAIN, &[anchor]).await.is_err());
    assert_eq!(controller.lock().unwrap().connections, 1);
    clock.0.fetch_add(60, Ordering::Relaxed);
    assert_eq!(run(&cx, &source, request(None)).await.unwrap().changes.len(), 3);
    // A diagnosis asks at once, and a good one ends the pause.
    controller.lock().unwrap().refuses = Some(Kind::Authentication);
    run(&cx, &source, request(None)).await.err().unwrap();
    controller.lock().unwrap().refuses = None;
    assert!(source.diagnose(&cx).await.iter().all(|check| check.good));
    assert!(run(&cx, &source, request(None)).await.is_ok());
}

#[tokio::test]
async fn single_accounts_are_read_one_by_one() {
    let controller = one(6);
    {
        let mut controller = controller.lock().unwrap();
        controller.change(1, |account| account.deleted = true);
        controller.change(2, |account| account.damaged = true);
        controller.change(3, |account| account.must_change = true);
    }
    let source = source(&[&controller], 100);
    let cx = Context::system();
    let mut anchors: Vec<Anchor> = accounts(5).iter().map(|account| Anchor::new(account.guid.0)).collect();
    anchors.push(Anchor::new([9; 16]));
    anchors.push(Anchor::new(*b"short"));
    let PasswordPage { changes: found, rejects, completion, .. } = source.read(&cx, DOMAIN, &anchors).await.unwrap();
    let names: Vec<&str> = found.iter().map(|change| change.dn.as_str()).collect();
    assert_eq!(names, [dn(1_000), dn(1_003), dn(1_004)]);
    assert!(is_of(&found[0], &password(1_000)) && found[1].must_change == Some(true));
    assert!(controller.lock().unwrap().asked.iter().all(|asked| asked.single && asked.objects == 1 && asked.known.is_empty()));
    // Who is there and cannot be read keeps the reason; who is gone or never was is left out.
    let reasons: Vec<(&[u8], &str)> = rejects.iter().map(|(anchor, reason)| (anchor.as_bytes(), reason.as_str())).collect();
    let [(damaged, checksum), (b"short", key)] = reasons.as_slice() else { panic!("{rejects:?}") };
    assert!(*damaged == accounts(5)[2].guid.0 && checksum.contains("checksum") && key.contains("objectGUID"), "{rejects:?}");
    assert_eq!(completion, None);
    assert!(source.read(&cx, DOMAIN, &[]).await.unwrap().changes.is_empty());
    controller.lock().unwrap().lacks = Lacks::Secrets;
    assert_eq!(source.read(&cx, DOMAIN, &anchors).await.unwrap_err().kind, Kind::Permission);
}

#[tokio::test]
async fn the_diagnosis_tells_one_right_from_the_other() {
    let cx = Context::system();
    for (lacks, words) in [
        (Lacks::Nothing, "the account has"),
        (Lacks::Secrets, "\"Replicating Directory Changes All\" is missing"),
        (Lacks::Everything, "\"Replicating Directory Changes\" is missing"),
    ] {
        let controller = one(3);
        controller.lock().unwrap().lacks = lacks;
        let checks = source(&[&controller], 100).diagnose(&cx).await;
        let (rights, others) = checks.split_last().unwrap();
        assert!(others.iter().all(|check| check.good) && others.len() == 4, "{checks:#?}");
        assert_eq!(rights.good, lacks == Lacks::Nothing);
        assert!(rights.evidence.starts_with(words), "{rights:?}");
        assert!(others[2].evidence.contains("2 s behind"), "{others:?}");
    }
    let (first, second) = (one(3), one(3));
    first.lock().unwrap().refuses = Some(Kind::Connection);
    let checks = source(&[&first, &second], 100).diagnose(&cx).await;
    assert_eq!(checks.iter().filter(|check| !check.good).count(), 1);
    assert!(checks[1].remedy.as_ref().unwrap().contains("firewall"), "{checks:#?}");
    first.lock().unwrap().refuses = Some(Kind::Authentication);
    let connections = second.lock().unwrap().connections;
    source(&[&first, &second], 100).diagnose(&cx).await;
    assert_eq!(second.lock().unwrap().connections, connections, "a refused account is not tried elsewhere");
}

#[tokio::test]
async fn a_renamed_domain_is_bound_by_its_epoch() {
    let controller = one(3);
    controller.lock().unwrap().epoch = 7;
    assert_eq!(cycle(&source(&[&controller], 100), None).await.changes.len(), 3);
    controller.lock().unwrap().flags = 0;
    let error = refusal(&source(&[&controller], 100), None).await;
    assert!(error.message.contains("cannot give what is needed"), "{error}");
}

#[tokio::test]
async fn who_stops_listening_stops_the_reading() {
    let controller = one(500);
    let source = source(&[&controller], 1);
    let mut stream = source.changes(&Context::system(), request(None)).await.unwrap();
    assert!(stream.next().await.unwrap().is_ok());
    drop(stream);
    tokio::time::sleep(Duration::from_millis(100)).await;
    // One page was taken, one waits, one more was on its way.
    assert!(controller.lock().unwrap().asked.len() <= 4, "{}", controller.lock().unwrap().asked.len());
}
