//! A server that synchronizes as the standard allows and slapd never does, and one that breaks it.

use crate::scripted::{element, entry, message, result, split};
use crate::seen::{self, Seen, names};
use secrecy::SecretString;
use std::sync::Arc;
use std::time::Duration;
use syncline::connector::directory::Selection;
use syncline::connector::ldap::{LdapConnector, LdapConnectorSettings, LdapSettings};
use syncline::connector::{ConnectorError, ConnectorErrorKind, ImportKind};
use syncline::protocol::ldap::{SYNC_DONE, SYNC_INFO, SYNC_REQUEST, SYNC_STATE};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const BASE: &str = "DC=x";
const FIRST: &[u8] = b"rid=000,csn=20240101000000.000001Z#000000#000#000000";
const SECOND: &[u8] = b"rid=000,csn=20240101000000.000002Z#000000#000#000000";

/// What the server answers to the synchronization of the whole directory.
#[derive(Clone)]
enum Step {
    /// An entry with a state.
    Entry(u8, u8),
    /// An entry whose identifiers differ.
    Changeling,
    /// An entry with this as its Sync State.
    State(Vec<u8>),
    /// An entry without any.
    Stateless,
    /// A Sync Info message.
    Info(Vec<u8>),
    /// A message of another kind.
    Other,
    /// The end: code, cookie, refreshDeletes.
    Done(u8, Option<&'static [u8]>, bool),
    /// The end with this as its Sync Done.
    DoneWith(Option<Vec<u8>>),
    Close,
    Silence,
}

/// Nobody has these numbers, whatever a search asks for.
const NOBODY: [u8; 4] = [3, 4, 5, 9];

fn uuid(number: u8) -> [u8; 16] {
    [number; 16]
}

fn uuid_text(number: u8) -> String {
    let pair = format!("{number:02x}");
    [4, 2, 2, 2, 6].map(|count| pair.repeat(count)).join("-")
}

fn id_set(deletes: bool, numbers: &[u8]) -> Step {
    let set: Vec<u8> = numbers.iter().flat_map(|number| element(4, &uuid(*number))).collect();
    let flag = if deletes { element(1, &[0xff]) } else { Vec::new() };
    Step::Info(element(0xa3, &[flag, element(0x31, &set)].concat()))
}

fn controls(name: &str, value: &[u8]) -> Vec<u8> {
    element(0x30, &[element(4, name.as_bytes()), element(4, value)].concat())
}

fn object(number: u8, shown: u8) -> Vec<u8> {
    let attributes = [("objectClass", "user".to_owned()), ("entryUUID", uuid_text(shown)), ("cn", format!("o{number}"))];
    entry(&format!("CN=o{number},{BASE}"), &attributes.map(|(name, value)| (name.to_owned(), vec![value.into_bytes()])))
}

fn state(state: u8, number: u8) -> Vec<u8> {
    element(0x30, &[element(10, &[state]), element(4, &uuid(number))].concat())
}

fn octets(id: u8, step: &Step) -> Vec<u8> {
    let intermediate = |name: &str, value: &[u8]| element(0x79, &[element(0x80, name.as_bytes()), element(0x81, value)].concat());
    match step {
        Step::Entry(kind, number) => message(id, &object(*number, *number), Some(controls(SYNC_STATE, &state(*kind, *number)))),
        Step::Changeling => message(id, &object(1, 2), Some(controls(SYNC_STATE, &state(1, 1)))),
        Step::State(value) => message(id, &object(1, 1), Some(controls(SYNC_STATE, value))),
        Step::Stateless => message(id, &object(1, 1), None),
        Step::Info(value) => message(id, &intermediate(SYNC_INFO, value), None),
        Step::Other => message(id, &intermediate("1.2.3", b"whatever"), None),
        Step::Done(code, cookie, deletes) => {
            let cookie = cookie.map(|cookie| element(4, cookie)).unwrap_or_default();
            let flag = if *deletes { element(1, &[0xff]) } else { Vec::new() };
            message(id, &result(0x65, *code), Some(controls(SYNC_DONE, &element(0x30, &[cookie, flag].concat()))))
        }
        Step::DoneWith(value) => message(id, &result(0x65, 0), value.as_ref().map(|value| controls(SYNC_DONE, value))),
        Step::Close | Step::Silence => Vec::new(),
    }
}

fn has(octets: &[u8], text: &str) -> bool {
    octets.windows(text.len()).any(|part| part == text.as_bytes())
}

fn answer(id: u8, request: &[u8], controls_sent: &[u8], script: &[Step], refused: u8) -> Vec<Vec<u8>> {
    let (_, base, rest) = split(request).unwrap();
    let subtree = split(rest).unwrap().1 == [2];
    let done = message(id, &result(0x65, 0), None);
    let text = |name: &str, value: &str| (name.to_owned(), vec![value.as_bytes().to_vec()]);
    if base.is_empty() {
        let root = [text("namingContexts", BASE), text("supportedControl", SYNC_REQUEST)];
        return vec![message(id, &entry("", &root), None), done];
    }
    if has(controls_sent, SYNC_REQUEST) {
        return match (subtree, refused) {
            (false, _) => vec![octets(id, &Step::Done(0, Some(FIRST), true))],
            (true, 0) => script.iter().map(|step| octets(id, step)).collect(),
            // e-syncRefreshRequired is beyond an octet.
            (true, 255) => {
                let end = [element(10, &[0x10, 0x00]), element(4, b""), element(4, b"scripted")].concat();
                vec![message(id, &element(0x65, &end), None)]
            }
            (true, code) => vec![message(id, &result(0x65, code), None)],
        };
    }
    if !subtree {
        return vec![message(id, &entry(BASE, &[text("objectClass", "domain"), text("entryUUID", &uuid_text(99))]), None), done];
    }
    let named = (0..100).filter(|number| has(request, &uuid_text(*number)) && !NOBODY.contains(number));
    named.map(|number| message(id, &object(number, number), None)).chain([done]).collect()
}

async fn serve(mut stream: TcpStream, script: Arc<Vec<Step>>, refused: u8) {
    let mut buffer = Vec::new();
    loop {
        while let Some((_, body, rest)) = split(&buffer) {
            let used = buffer.len() - rest.len();
            let (_, id, behind) = split(body).unwrap();
            let (tag, request, controls_sent) = split(behind).unwrap();
            let messages = match tag {
                0x60 => vec![message(id[0], &result(0x61, 0), None)],
                0x63 => answer(id[0], request, controls_sent, &script, refused),
                _ => return,
            };
            let scripted = has(controls_sent, SYNC_REQUEST) && messages.len() == script.len() && script.len() > 1;
            for (index, octets) in messages.iter().enumerate() {
                if scripted && matches!(script[index], Step::Close) {
                    return;
                }
                if scripted && matches!(script[index], Step::Silence) {
                    tokio::time::sleep(Duration::from_mins(1)).await;
                }
                if stream.write_all(octets).await.is_err() {
                    return;
                }
            }
            buffer.drain(..used);
        }
        match stream.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

/// A delta import from a server with this script; a full one before it gives the place to go on from.
async fn delta_refusing(script: Vec<Step>, refused: u8) -> Result<Seen, ConnectorError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ldap://{}", listener.local_addr().unwrap());
    let script = Arc::new(script);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, script.clone(), refused));
        }
    });
    let mut connection = LdapSettings::new(url, "CN=reader,DC=x", SecretString::from("x"));
    connection.allow_plain = true;
    connection.answer_timeout = Duration::from_millis(500);
    let settings = LdapConnectorSettings { connection, base: BASE.into(), anchor: "entryUUID".into(), selection: Selection::default() };
    let names = names();
    let connector = LdapConnector::new(settings, names.clone()).unwrap();
    let full = seen::import(&connector, &names, &["cn"]).await.unwrap();
    let since = full.completion.unwrap().watermark.expect("the server says where it stands");
    seen::run(&connector, &names, &["cn"], ImportKind::Delta { since }).await
}

async fn delta(script: Vec<Step>) -> Result<Seen, ConnectorError> {
    delta_refusing(script, 0).await
}

fn told(seen: &Seen) -> (Vec<&str>, usize, usize, bool) {
    let entries = seen.entries.keys().map(String::as_str).collect();
    (entries, seen.gone.len(), seen.present, seen.completion.as_ref().unwrap().answered_in_full)
}

#[tokio::test]
async fn every_state_means_what_the_standard_says() {
    let script = vec![
        Step::Entry(1, 1),
        Step::Entry(2, 2),
        Step::Entry(3, 3),
        Step::Other,
        Step::Info(element(0x80, b"c")),
        id_set(true, &[4, 5, 3]),
        // Gone, and there again: what counts is what is there now.
        Step::Entry(3, 6),
        Step::Entry(1, 6),
        Step::Done(0, Some(SECOND), true),
    ];
    let seen = delta(script).await.unwrap();
    assert_eq!(told(&seen), (vec!["CN=o1,DC=x", "CN=o2,DC=x", "CN=o6,DC=x"], 3, 0, false));
    let watermark = seen.completion.unwrap().watermark.unwrap();
    assert!(watermark.windows(SECOND.len()).any(|part| part == SECOND));
}

/// To a server somebody is gone from what it synchronizes who does not match the question any more.
#[tokio::test]
async fn who_is_told_as_gone_and_is_there_says_itself_what_it_is() {
    let script = vec![Step::Entry(3, 7), id_set(true, &[8, 4]), Step::Done(0, Some(SECOND), true)];
    assert_eq!(told(&delta(script).await.unwrap()), (vec!["CN=o7,DC=x", "CN=o8,DC=x"], 1, 0, false));
}

#[tokio::test]
async fn a_present_phase_names_who_stays() {
    let script = vec![id_set(false, &[1, 2]), Step::Entry(0, 3), Step::Entry(1, 2), Step::Done(0, Some(SECOND), false)];
    assert_eq!(told(&delta(script).await.unwrap()), (vec!["CN=o2,DC=x"], 0, 2, true));
    // A delete phase behind it does not take back that whoever was not named is gone.
    let phases = vec![
        Step::Entry(0, 1),
        Step::Info(element(0xa2, &element(1, &[0]))),
        id_set(true, &[9]),
        Step::Info(element(0xa1, &[])),
        Step::Done(0, Some(SECOND), true),
    ];
    assert_eq!(told(&delta(phases).await.unwrap()), (vec![], 1, 1, true));
}

#[tokio::test]
async fn without_a_new_cookie_the_old_one_stays() {
    for cookie in [None, Some(&b""[..])] {
        let seen = delta(vec![Step::Other, Step::Done(0, cookie, true)]).await.unwrap();
        let watermark = seen.completion.clone().unwrap().watermark.unwrap();
        assert!(watermark.windows(FIRST.len()).any(|part| part == FIRST));
        assert_eq!(told(&seen), (vec![], 0, 0, false));
    }
}

#[tokio::test]
async fn what_is_against_the_standard_ends_the_import() {
    let end = || Step::Done(0, Some(SECOND), true);
    let broken = [
        vec![Step::Stateless, end()],
        vec![Step::State(b"\x30\x03\x0a\x01".to_vec()), end()],
        vec![Step::State(state(7, 1)), end()],
        vec![Step::Info(vec![0xa3, 0x80]), end()],
        vec![Step::Info(element(0xa3, &element(0x31, &element(4, b"short")))), end()],
        vec![Step::Other, Step::DoneWith(None)],
        vec![Step::Other, Step::DoneWith(Some(b"none".to_vec()))],
    ];
    for script in broken {
        let error = delta(script).await.unwrap_err();
        assert_eq!(error.kind, ConnectorErrorKind::Protocol, "{error}");
        assert!(error.message.contains("RFC 4533"), "{error}");
    }
    let error = delta(vec![Step::Changeling, end()]).await.unwrap_err();
    assert_eq!(error.kind, ConnectorErrorKind::WatermarkLost, "{error}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_none() {
    for end in [Step::Close, Step::Silence] {
        let error = delta(vec![Step::Entry(0, 1), id_set(true, &[2]), end]).await.unwrap_err();
        assert_eq!(error.kind, ConnectorErrorKind::Dropped, "{error}");
    }
}

#[tokio::test]
async fn refusals_say_whether_a_full_import_helps() {
    let kinds = [
        (255, ConnectorErrorKind::WatermarkLost),
        (3, ConnectorErrorKind::WatermarkLost),
        (4, ConnectorErrorKind::WatermarkLost),
        (11, ConnectorErrorKind::WatermarkLost),
        (12, ConnectorErrorKind::WatermarkLost),
        (53, ConnectorErrorKind::Search),
        (51, ConnectorErrorKind::Busy),
        (50, ConnectorErrorKind::Permission),
        (80, ConnectorErrorKind::Search),
    ];
    for (code, kind) in kinds {
        let error = delta_refusing(Vec::new(), code).await.unwrap_err();
        assert_eq!(error.kind, kind, "{code}: {error}");
        let named = if code == 255 { 4096 } else { u32::from(code) };
        assert!(error.message.contains(&format!("({named} ")), "{error}");
    }
}
