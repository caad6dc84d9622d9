//! The Entra connector against a provisioning service that answers by a script, for what a tenant does rarely: calls that
//! are too large, calls that it cannot read, answers that nobody can read, and a stop in the middle of all that.

use secrecy::SecretString;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use syncline::connector::entra::{EntraConnector, EntraSettings, SignIn};
use syncline::connector::{
    AttributeChange, Connector, ConnectorErrorKind, ExportBatch, ExportKind, ExportOperation, ExportOutcome, ExportReply,
};
use syncline::context::Context;
use syncline::model::{ConnectorId, CsId, Names, ObjectErrorCode, Value};
use syncline::protocol::provisioning::{Fault, Request, Response, SyncResult, decode_request, encode_fault, encode_response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const PROVISION: &str = "ProvisionAzureADSyncObjects2";

/// What the service answers to a call of so many octets with these objects, by their source anchors.
type Script = dyn Fn(usize, &[String]) -> Answer + Send + Sync;

enum Answer {
    Accept,
    Fault(u16, Fault),
    Raw(u16, &'static str),
}

struct World {
    connector: Arc<EntraConnector>,
    calls: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<Vec<String>>>>,
    cx: Context,
}

async fn world(script: impl Fn(usize, &[String]) -> Answer + Send + Sync + 'static) -> World {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (calls, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let script: Arc<Script> = Arc::new(script);
    {
        let (calls, seen) = (Arc::clone(&calls), Arc::clone(&seen));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&script), Arc::clone(&calls), Arc::clone(&seen)));
            }
        });
    }
    let sign_in = SignIn::Secret { client_id: "client".to_owned(), secret: SecretString::from("secret") };
    let settings = EntraSettings {
        login_url: url.clone(),
        provisioning_url: format!("{url}/provisioningservice.svc"),
        ..EntraSettings::new("tenant", sign_in)
    };
    let connector = Arc::new(EntraConnector::new(settings, Arc::new(Names::new())).unwrap());
    World { connector, calls, seen, cx: Context::system() }
}

impl World {
    async fn send(&self, operations: Vec<ExportOperation>) -> ExportReply {
        self.connector.export(&self.cx, &ExportBatch { operations }).await.unwrap()
    }
}

/// HTTP with as much of it as this client needs: every request has a length, every answer, too.
async fn serve(mut stream: TcpStream, script: Arc<Script>, calls: Arc<AtomicUsize>, seen: Arc<Mutex<Vec<Vec<String>>>>) {
    let mut buffer = Vec::new();
    loop {
        let Some((head, length)) = head(&buffer).filter(|(head, length)| buffer.len() >= head + length) else {
            match stream.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => continue,
            }
        };
        let token = buffer.starts_with(b"POST /tenant/");
        let body: Vec<u8> = buffer.drain(..head + length).skip(head).collect();
        let (status, answer) = if token {
            (200, br#"{"access_token":"token","expires_in":3600}"#.to_vec())
        } else {
            calls.fetch_add(1, Ordering::SeqCst);
            let (header, request) = decode_request(&body).unwrap();
            let Some(Request::ProvisionObjects { objects, .. }) = request else { panic!("{request:?}") };
            let anchors: Vec<String> = objects.iter().map(|object| object.text("SourceAnchor").unwrap().to_owned()).collect();
            seen.lock().unwrap().push(anchors.clone());
            let success = |anchor: &String| SyncResult {
                success: true,
                cloud_anchor: Some(format!("User_{anchor}")),
                source_anchor: Some(anchor.clone()),
                ..SyncResult::default()
            };
            match script(length, &anchors) {
                Answer::Accept => {
                    let results = Response::Results(anchors.iter().map(success).collect());
                    (200, encode_response(PROVISION, &header.message_id, &results))
                }
                Answer::Fault(status, fault) => (status, encode_fault(PROVISION, &header.message_id, &fault)),
                Answer::Raw(status, text) => (status, text.as_bytes().to_vec()),
            }
        };
        let head = format!("HTTP/1.1 {status} Scripted\r\nContent-Length: {}\r\n\r\n", answer.len());
        if stream.write_all(&[head.as_bytes(), &answer].concat()).await.is_err() {
            return;
        }
    }
}

/// The lengths of head and body of the request at the front, once its head is there.
fn head(buffer: &[u8]) -> Option<(usize, usize)> {
    let end = buffer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")).map_or(0, |length| length.trim().parse().unwrap());
    Some((end, length))
}

fn user(number: u64, name: &str) -> ExportOperation {
    let value = Value::Text(name.into());
    ExportOperation {
        id: CsId::new(ConnectorId(2), number),
        kind: ExportKind::Add,
        object_type: "user".to_owned(),
        dn: format!("CN={{{}}}", hex::encode_upper(format!("u{number}"))),
        rename: None,
        anchor: None,
        attributes: vec![AttributeChange {
            name: "displayName".to_owned(),
            wanted: vec![value.clone()],
            added: vec![value],
            removed: Vec::new(),
        }],
        references: Vec::new(),
    }
}

/// One letter per outcome: what became of each object.
fn letters(reply: &ExportReply) -> String {
    let letter = |outcome: &ExportOutcome| match outcome {
        ExportOutcome::Accepted { .. } => 'a',
        ExportOutcome::Rejected(_) => 'r',
        ExportOutcome::Unknown => '?',
        ExportOutcome::Unsent => '-',
    };
    reply.outcomes().iter().map(|(_, outcome)| letter(outcome)).collect()
}

#[tokio::test]
async fn an_object_that_is_too_large_alone_stands_in_nobodys_way() {
    let world = world(|octets, _| if octets > 20_000 { Answer::Raw(413, "") } else { Answer::Accept }).await;
    let large = "x".repeat(30_000);
    let reply = world.send((1..=5).map(|number| user(number, if number == 4 { &large } else { "Ann" })).collect()).await;
    assert_eq!((letters(&reply).as_str(), reply.error().is_none()), ("aaara", true));
    let ExportOutcome::Rejected(rejection) = &reply.outcomes()[3].1 else { panic!("{reply:?}") };
    assert_eq!(rejection.code, ObjectErrorCode::LARGE_OBJECT);
    assert!(rejection.detail.contains("413"), "{rejection:?}");
    // Alone in its batch it is no other matter.
    assert_eq!(letters(&world.send(vec![user(1, &large)]).await), "r");
}

#[tokio::test]
async fn an_object_that_the_service_cannot_read_stands_in_nobodys_way() {
    let fault = || Fault { code: Some(7), tracking_id: Some("track".to_owned()), ..Fault::sender("The formatter threw an exception") };
    let world =
        world(move |_, anchors| if anchors.iter().any(|anchor| anchor == "u2") { Answer::Fault(500, fault()) } else { Answer::Accept });
    let world = world.await;
    let reply = world.send((1..=6).map(|number| user(number, "Ann")).collect()).await;
    assert_eq!((letters(&reply).as_str(), reply.error().is_none()), ("araaaa", true));
    let ExportOutcome::Rejected(rejection) = &reply.outcomes()[1].1 else { panic!("{reply:?}") };
    assert_eq!(rejection.code, ObjectErrorCode::CD_ERROR);
    assert!(["formatter", "code 7", "track"].iter().all(|part| rejection.detail.contains(part)), "{rejection:?}");
}

#[tokio::test]
async fn a_tenant_that_is_switched_off_refuses_no_object() {
    let world = world(|_, _| Answer::Fault(500, Fault::sender(Fault::NOT_ACTIVATED))).await;
    let error = world.connector.export(&world.cx, &ExportBatch { operations: vec![user(1, "Ann"), user(2, "Bob")] }).await.unwrap_err();
    assert_eq!((error.kind, error.nothing_sent, world.calls.load(Ordering::SeqCst)), (ConnectorErrorKind::Disabled, true, 1));
}

#[tokio::test]
async fn what_was_not_sent_yet_is_not_in_doubt() {
    // Pairs are small enough; the token is not accepted any more behind the first.
    let world = world(|_, anchors| match anchors {
        [first, _] if first == "u1" => Answer::Accept,
        [_, _] => Answer::Fault(401, Fault::sender("AuthenticationFault")),
        _ => Answer::Raw(413, ""),
    })
    .await;
    let reply = world.send((1..=8).map(|number| user(number, "Ann")).collect()).await;
    assert_eq!(letters(&reply), "aa------", "{reply:?}");
    assert_eq!(reply.error().map(|error| (error.kind, error.nothing_sent)), Some((ConnectorErrorKind::Authentication, true)));
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_may_have_been_a_success() {
    let world = world(|_, _| Answer::Raw(200, "<html>")).await;
    let error = world.connector.export(&world.cx, &ExportBatch { operations: vec![user(1, "Ann")] }).await.unwrap_err();
    assert_eq!((error.kind, error.nothing_sent), (ConnectorErrorKind::Protocol, false), "{error}");
}

#[tokio::test]
async fn a_stop_reaches_calls_that_wait_for_their_turn() {
    let world = world(|_, _| Answer::Fault(503, Fault { code: Some(Fault::BUSY), ..Fault::sender("busy") })).await;
    let mut running = tokio::task::JoinSet::new();
    let call = |number| {
        let (connector, cx) = (Arc::clone(&world.connector), world.cx.clone());
        async move { connector.export(&cx, &ExportBatch { operations: vec![user(number, "Ann")] }).await }
    };
    running.spawn(call(1));
    // Asked once, and once more with the turn; now it waits with growing pauses, and the others for the turn.
    while world.calls.load(Ordering::SeqCst) < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    running.spawn(call(2));
    running.spawn(call(3));
    tokio::time::sleep(Duration::from_millis(50)).await;
    world.cx.cancel.cancel();
    while let Some(answer) = running.join_next().await {
        let error = answer.unwrap().unwrap_err();
        assert_eq!((error.kind, error.nothing_sent), (ConnectorErrorKind::Cancelled, true), "{error}");
    }
    let seen = world.seen.lock().unwrap().concat();
    assert!(!seen.contains(&"u2".to_owned()) && !seen.contains(&"u3".to_owned()), "{seen:?}");
}
