//! A server that follows a script, for what real servers do rarely: closing the connection in the middle of a page, the
//! empty attribute with a range beside it that Windows sends, references to other servers, limits, broken messages.

use crate::seen::{self, Seen, names};
use futures_util::StreamExt as _;
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use syncline::connector::ad::{AdConnector, AdSettings, DeltaMode};
use syncline::connector::directory::Selection;
use syncline::connector::ldap::{LdapConnector, LdapConnectorSettings, LdapSettings};
use syncline::connector::{Connector, ConnectorError, ConnectorErrorKind, ImportKind, ImportRequest};
use syncline::context::Context;
use syncline::engine::import::{ImportOptions, import_asking};
use syncline::engine::{Silent, StepRecorder};
use syncline::model::{Anchor, ConnectorId, DeltaKind, RunId, Stage};
use syncline::store::Store;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

pub(crate) const BASE: &str = "DC=x";
pub(crate) const PAGED: &str = "1.2.840.113556.1.4.319";

/// A search as the client asked for it.
pub(crate) struct Search {
    pub(crate) base: String,
    pub(crate) whole_subtree: bool,
    /// As it came: an element of ASN.1.
    pub(crate) filter: Vec<u8>,
    pub(crate) attributes: Vec<String>,
    /// Of a page.
    pub(crate) cookie: Option<Vec<u8>>,
    /// Values of controls by name.
    pub(crate) controls: BTreeMap<String, Vec<u8>>,
}

impl Search {
    /// True when the filter has this text somewhere.
    pub(crate) fn asks_for(&self, text: &str) -> bool {
        self.filter.windows(text.len()).any(|part| part == text.as_bytes())
    }

    /// Flags and cookie of the DirSync control.
    pub(crate) fn dirsync(&self) -> Option<(i64, Vec<u8>)> {
        let (_, sequence, _) = split(self.controls.get(DIRSYNC)?)?;
        let (_, flags, rest) = split(sequence)?;
        let (_, _, rest) = split(rest)?;
        let flags = flags.iter().fold(if flags[0] < 0x80 { 0 } else { -1 }, |number, octet| number << 8 | i64::from(*octet));
        Some((flags, split(rest)?.1.to_vec()))
    }
}

/// Object identifiers of controls of Active Directory.
pub(crate) const DIRSYNC: &str = "1.2.840.113556.1.4.841";
pub(crate) const SHOW_DELETED: &str = "1.2.840.113556.1.4.417";
pub(crate) const NOTIFICATION: &str = "1.2.840.113556.1.4.528";

/// What the server does next.
pub(crate) enum Step {
    Entry(String, Vec<(String, Vec<Vec<u8>>)>),
    Reference,
    /// Result code and, for paged searches, the cookie.
    Done(u8, Option<Vec<u8>>),
    /// Success with a DirSync control: whether there is more, and the cookie.
    Changes(bool, &'static str),
    Wait(Duration),
    Raw(Vec<u8>),
    Close,
    Silence,
}

pub(crate) type Script = Arc<dyn Fn(&Search) -> Vec<Step> + Send + Sync>;

pub(crate) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut octets = vec![tag];
    if content.len() < 0x80 {
        octets.push(u8::try_from(content.len()).unwrap());
    } else {
        octets.push(0x84);
        octets.extend_from_slice(&u32::try_from(content.len()).unwrap().to_be_bytes());
    }
    octets.extend_from_slice(content);
    octets
}

pub(crate) fn message(id: u8, operation: &[u8], controls: Option<Vec<u8>>) -> Vec<u8> {
    let mut body = element(2, &[id]);
    body.extend_from_slice(operation);
    body.extend(controls.into_iter().flat_map(|controls| element(0xa0, &controls)));
    element(0x30, &body)
}

pub(crate) fn result(tag: u8, code: u8) -> Vec<u8> {
    element(tag, &[element(10, &[code]), element(4, b""), element(4, b"scripted")].concat())
}

pub(crate) fn entry(dn: &str, attributes: &[(String, Vec<Vec<u8>>)]) -> Vec<u8> {
    let list: Vec<u8> = attributes
        .iter()
        .flat_map(|(name, values)| {
            let values: Vec<u8> = values.iter().flat_map(|value| element(4, value)).collect();
            element(0x30, &[element(4, name.as_bytes()), element(0x31, &values)].concat())
        })
        .collect();
    element(0x64, &[element(4, dn.as_bytes()), element(0x30, &list)].concat())
}

/// The first element: tag, content, rest.
pub(crate) fn split(octets: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, first) = (*octets.first()?, *octets.get(1)?);
    let (length, start) = if first < 0x80 {
        (usize::from(first), 2)
    } else {
        let count = usize::from(first & 0x7f);
        (octets.get(2..2 + count)?.iter().fold(0, |length, octet| length << 8 | usize::from(*octet)), 2 + count)
    };
    Some((tag, octets.get(start..start + length)?, &octets[start + length..]))
}

fn parse_search(body: &[u8], controls: &[u8]) -> Search {
    let (_, base, rest) = split(body).unwrap();
    let (_, scope, mut rest) = split(rest).unwrap();
    for _ in 0..4 {
        rest = split(rest).unwrap().2;
    }
    let (_, filter, rest) = split(rest).unwrap();
    let mut list = split(rest).unwrap().1;
    let mut attributes = Vec::new();
    while let Some((_, name, behind)) = split(list) {
        attributes.push(String::from_utf8(name.to_vec()).unwrap());
        list = behind;
    }
    let mut found = BTreeMap::new();
    let mut rest = split(controls).map_or(&[][..], |(_, list, _)| list);
    while let Some((_, control, behind)) = split(rest) {
        let (_, name, mut parts) = split(control).unwrap();
        if let Some((1, _, behind)) = split(parts) {
            parts = behind;
        }
        let value = split(parts).map(|(_, value, _)| value.to_vec()).unwrap_or_default();
        found.insert(String::from_utf8(name.to_vec()).unwrap(), value);
        rest = behind;
    }
    let cookie = found.get(PAGED).and_then(|value| {
        let (_, sequence, _) = split(value)?;
        Some(split(split(sequence)?.2)?.1.to_vec())
    });
    Search {
        base: String::from_utf8(base.to_vec()).unwrap(),
        whole_subtree: scope == [2],
        filter: filter.to_vec(),
        attributes,
        cookie,
        controls: found,
    }
}

async fn serve(mut stream: TcpStream, script: Script, controls: &'static [&'static str]) {
    let mut buffer = Vec::new();
    loop {
        while let Some((_, body, rest)) = split(&buffer) {
            let used = buffer.len() - rest.len();
            let (_, id, behind) = split(body).unwrap();
            let id = id[0];
            let (tag, request, sent) = split(behind).unwrap();
            let steps = match tag {
                0x60 => vec![Step::Raw(message(id, &result(0x61, 0), None))],
                0x63 => {
                    let search = parse_search(request, sent);
                    answer(&search, controls).unwrap_or_else(|| script(&search))
                }
                _ => vec![Step::Close],
            };
            for step in steps {
                let octets = match step {
                    Step::Entry(dn, attributes) => message(id, &entry(&dn, &attributes), None),
                    Step::Reference => message(id, &element(0x73, &element(4, b"ldap://other.example/DC=y")), None),
                    Step::Done(code, cookie) => {
                        let controls = cookie.map(|cookie| {
                            let value = element(0x30, &[element(2, &[0]), element(4, &cookie)].concat());
                            element(0x30, &[element(4, PAGED.as_bytes()), element(4, &value)].concat())
                        });
                        message(id, &result(0x65, code), controls)
                    }
                    Step::Changes(more, cookie) => {
                        let value = [element(2, &[u8::from(more)]), element(2, &[0]), element(4, cookie.as_bytes())].concat();
                        let control = element(0x30, &[element(4, DIRSYNC.as_bytes()), element(4, &element(0x30, &value))].concat());
                        message(id, &result(0x65, 0), Some(control))
                    }
                    Step::Wait(time) => {
                        tokio::time::sleep(time).await;
                        continue;
                    }
                    Step::Raw(octets) => octets,
                    Step::Close => return,
                    Step::Silence => {
                        tokio::time::sleep(Duration::from_mins(1)).await;
                        return;
                    }
                };
                if stream.write_all(&octets).await.is_err() {
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

/// What every script has in common: root entry, schema without anything, bases that can be read.
fn answer(search: &Search, controls: &[&str]) -> Option<Vec<Step>> {
    let text = |name: &str, value: &str| (name.to_owned(), vec![value.as_bytes().to_vec()]);
    if search.base.is_empty() {
        let attributes = vec![
            text("defaultNamingContext", BASE),
            text("rootDomainNamingContext", BASE),
            text("configurationNamingContext", "CN=Configuration,DC=x"),
            text("schemaNamingContext", "CN=Schema,CN=Configuration,DC=x"),
            ("supportedControl".to_owned(), controls.iter().map(|control| control.as_bytes().to_vec()).collect()),
            text("dnsHostName", "dc1.x"),
            text("dsServiceName", "CN=NTDS Settings,DC=x"),
            text("highestCommittedUSN", "1000"),
        ];
        return Some(vec![Step::Entry(String::new(), attributes), Step::Done(0, None)]);
    }
    if search.base.starts_with("CN=Schema") {
        return Some(vec![Step::Done(0, None)]);
    }
    ([BASE, "OU=a,DC=x", "OU=b,DC=x"].contains(&search.base.as_str()) && !search.whole_subtree)
        .then(|| vec![Step::Entry(search.base.clone(), vec![text("objectClass", "domainDNS")]), Step::Done(0, None)])
}

pub(crate) fn object(class: &str, number: usize, more: Vec<(String, Vec<Vec<u8>>)>) -> Step {
    let mut attributes = vec![
        ("objectClass".to_owned(), vec![b"top".to_vec(), class.as_bytes().to_vec()]),
        ("objectGUID".to_owned(), vec![(number as u128).to_be_bytes().to_vec()]),
    ];
    attributes.extend(more);
    Step::Entry(format!("CN=o{number},{BASE}"), attributes)
}

pub(crate) fn members(numbers: std::ops::Range<usize>) -> Vec<Vec<u8>> {
    numbers.map(|number| format!("CN=m{number},{BASE}").into_bytes()).collect()
}

async fn import(script: impl Fn(&Search) -> Vec<Step> + Send + Sync + 'static) -> Result<Seen, ConnectorError> {
    let names = names();
    let settings =
        AdSettings { connection: reach(script).await, partitions: Vec::new(), selection: Selection::default(), delta: DeltaMode::Off };
    let connector = AdConnector::new(settings, names.clone()).unwrap();
    seen::import(&connector, &names, &["cn", "member", "manager"]).await
}

/// Starts a server with a script.
async fn reach(script: impl Fn(&Search) -> Vec<Step> + Send + Sync + 'static) -> LdapSettings {
    reach_with(&[PAGED], script).await
}

/// The same, with the controls that it says it knows.
pub(crate) async fn reach_with(
    controls: &'static [&'static str],
    script: impl Fn(&Search) -> Vec<Step> + Send + Sync + 'static,
) -> LdapSettings {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ldap://{}", listener.local_addr().unwrap());
    let script: Script = Arc::new(script);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, script.clone(), controls));
        }
    });
    let mut connection = LdapSettings::new(url, "CN=reader,DC=x", SecretString::from("x"));
    connection.allow_plain = true;
    connection.answer_timeout = Duration::from_millis(500);
    connection
}

#[tokio::test]
async fn pages_follow_each_other_by_cookie() {
    let seen = import(|search| match search.cookie.as_deref() {
        Some(b"") => vec![object("user", 1, vec![]), object("user", 2, vec![]), Step::Done(0, Some(b"next".to_vec()))],
        Some(b"next") => vec![object("user", 3, vec![]), Step::Done(0, Some(Vec::new()))],
        other => panic!("{other:?}"),
    })
    .await
    .unwrap();
    assert_eq!((seen.entries.len(), seen.completed), (3, true));
}

#[tokio::test]
async fn a_server_that_closes_in_the_middle_of_a_page_is_a_dropped_connection() {
    let error = import(|search| match search.cookie.as_deref() {
        Some(b"") => vec![object("user", 1, vec![]), Step::Done(0, Some(b"next".to_vec()))],
        _ => vec![object("user", 2, vec![]), Step::Close],
    })
    .await
    .unwrap_err();
    assert_eq!(error.kind, ConnectorErrorKind::Dropped);
    assert!(error.message.contains("closed the connection") && error.message.contains(BASE), "{error}");
}

#[tokio::test]
async fn a_server_that_falls_silent_is_a_dropped_connection() {
    let error = import(|_| vec![object("user", 1, vec![]), Step::Silence]).await.unwrap_err();
    assert_eq!(error.kind, ConnectorErrorKind::Dropped);
    assert!(error.message.contains("no answer"), "{error}");
}

#[tokio::test]
async fn messages_that_are_none_are_a_dropped_connection_and_no_crash() {
    for broken in [&b"\x30\x00"[..], b"HTTP/1.1 400 Bad Request\r\n\r\n", &[0x30, 3, 2, 1, 9], &[0x30, 5, 4, 1, 2, 4, 0]] {
        let broken = broken.to_vec();
        let error = import(move |_| vec![Step::Raw(broken.clone()), Step::Close]).await.unwrap_err();
        assert_eq!(error.kind, ConnectorErrorKind::Dropped, "{error}");
    }
}

#[tokio::test]
async fn an_entry_without_the_form_of_one_is_named_and_the_rest_comes_in() {
    let seen = import(|_| {
        // The list of attributes is a text, and the message belongs to the sixth request (bind, root entry, schema, base…).
        let broken = element(0x64, &[element(4, b"CN=broken,DC=x"), element(4, b"none")].concat());
        vec![object("user", 1, vec![]), Step::Raw(message(5, &broken, None)), Step::Done(0, Some(Vec::new()))]
    })
    .await
    .unwrap();
    assert_eq!((seen.entries.len(), seen.codes()), (1, vec!["read-error"]));
    assert_eq!(seen.rejected[0].dn.as_deref(), Some("CN=broken,DC=x"));
}

#[tokio::test]
async fn windows_sends_an_empty_attribute_and_the_first_range_beside_it() {
    let seen = import(|search| {
        if search.base == BASE {
            let ranged = vec![
                ("member".to_owned(), vec![]),
                ("member;range=0-1499".to_owned(), members(0..1_500)),
                ("manager".to_owned(), vec![b"<GUID=0a0b>;<SID=0c>;CN=m,DC=x".to_vec()]),
            ];
            return vec![
                object("group", 1, ranged),
                object("group", 2, vec![("member".to_owned(), members(0..3))]),
                Step::Done(0, Some(vec![])),
            ];
        }
        assert_eq!(search.base, "CN=o1,DC=x");
        let (name, range) = match search.attributes[0].as_str() {
            "member;range=1500-*" => ("member;range=1500-2999", 1_500..3_000),
            "member;range=3000-*" => ("member;range=3000-*", 3_000..3_100),
            other => panic!("{other}"),
        };
        vec![Step::Entry(search.base.clone(), vec![(name.to_owned(), members(range))]), Step::Done(0, None)]
    })
    .await
    .unwrap();
    assert_eq!(seen.entries["CN=o1,DC=x"].count("member"), 3_100);
    assert_eq!(seen.entries["CN=o2,DC=x"].count("member"), 3);
    assert_eq!(seen.entries["CN=o1,DC=x"].text("manager").as_deref(), Some("CN=m,DC=x"));
}

#[tokio::test]
async fn a_range_that_the_server_does_not_continue_is_an_error_and_never_a_shorter_group() {
    for next in ["", "member;range=0-1499", "member;range=1400-*"] {
        let error = import(move |search| {
            if search.base == BASE {
                return vec![object("group", 1, vec![("member;range=0-1499".to_owned(), members(0..1_500))]), Step::Done(0, Some(vec![]))];
            }
            let attributes = if next.is_empty() { vec![] } else { vec![(next.to_owned(), members(0..10))] };
            vec![Step::Entry(search.base.clone(), attributes), Step::Done(0, None)]
        })
        .await
        .unwrap_err();
        assert_eq!(error.kind, ConnectorErrorKind::Protocol, "{next}");
        assert!(error.message.contains("member") && error.message.contains("CN=o1,DC=x"), "{error}");
    }
}

#[tokio::test]
async fn references_to_other_servers_are_passed_over() {
    let seen = import(|_| vec![Step::Reference, object("user", 1, vec![]), Step::Reference, Step::Done(0, Some(vec![]))]).await.unwrap();
    assert_eq!((seen.entries.len(), seen.rejected.len(), seen.completed), (1, 0, true));
}

#[tokio::test]
async fn an_import_that_the_server_cuts_short_is_never_complete() {
    let kinds = [
        (1, ConnectorErrorKind::Permission),
        (3, ConnectorErrorKind::Search),
        (4, ConnectorErrorKind::Search),
        (10, ConnectorErrorKind::Search),
        (11, ConnectorErrorKind::Search),
        (50, ConnectorErrorKind::Permission),
        (51, ConnectorErrorKind::Busy),
        (53, ConnectorErrorKind::Search),
        (80, ConnectorErrorKind::Search),
    ];
    for (code, kind) in kinds {
        let error = import(move |_| vec![object("user", 1, vec![]), Step::Done(code, None)]).await.unwrap_err();
        assert_eq!(error.kind, kind, "{code}");
        assert!(error.message.contains(&format!("({code} ")), "{error}");
    }
}

/// A server that cannot page sends everything at once; what is much is not taken into memory.
#[tokio::test]
async fn more_than_a_few_pages_at_once_are_refused() {
    let all =
        |count: usize| move |_: &Search| (0..count).map(|number| object("user", number, vec![])).chain([Step::Done(0, None)]).collect();
    assert_eq!(import(all(3_000)).await.unwrap().entries.len(), 3_000);
    let error = import(all(10_001)).await.unwrap_err();
    assert_eq!(error.kind, ConnectorErrorKind::Search);
    assert!(error.message.contains("more than 10000 entries at once") && error.message.contains("pages"), "{error}");
}

/// An entry with a key, in a container.
fn member_of(container: &str, number: usize) -> Step {
    let text = |name: &str, value: String| (name.to_owned(), vec![value.into_bytes()]);
    let attributes = vec![
        ("objectClass".to_owned(), vec![b"top".to_vec(), b"person".to_vec(), b"user".to_vec()]),
        ("objectGUID".to_owned(), vec![(number as u128).to_be_bytes().to_vec()]),
        text("entryUUID", format!("uuid-{number}")),
        text("cn", format!("o{number}")),
    ];
    Step::Entry(format!("CN=o{number},OU={container},{BASE}"), attributes)
}

/// Full imports of two containers; between their searches object 1 moves from the second to the first one, and
/// object 2 is deleted.
async fn import_while_somebody_moves(connector: &dyn Connector, store: &Store, moving: &AtomicBool) {
    let request = ImportRequest { kind: ImportKind::Full, attributes: vec![store.names().intern("cn")] };
    for round in 0..2 {
        moving.store(round == 1, Ordering::SeqCst);
        let mut pages = connector.import(&Context::system(), request.clone()).await.unwrap();
        let mut read = Vec::new();
        while let Some(page) = pages.next().await {
            read.push(page);
        }
        let options = ImportOptions::full(ConnectorId(1), "A", request.attributes.clone(), (RunId(1), round));
        let mut silent = Silent;
        let mut recorder = StepRecorder::new(&mut silent);
        let mut again = |anchors: &[Anchor]| {
            tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(connector.find(&Context::system(), &request, anchors))
            })
        };
        let result = import_asking(store, read.into_iter(), &mut again, &options, &Context::system(), &mut recorder).unwrap();
        assert_eq!(result, "success", "{:?}", recorder.notes);
        if round == 1 {
            assert_eq!((recorder.counter("stage-rename"), recorder.counter("stage-delete")), (1, 1));
        }
    }
    let snapshot = store.snapshot().unwrap();
    let names: Vec<String> = snapshot
        .cs_scan(ConnectorId(1), None, 9)
        .unwrap()
        .into_iter()
        .filter(|object| object.stage(Stage::PendingImport).kind != DeltaKind::Delete)
        .map(|object| object.dn.into())
        .collect();
    assert_eq!(names, ["CN=o0,OU=a,DC=x", "CN=o1,OU=a,DC=x", "CN=o3,OU=b,DC=x"]);
}

fn two_containers() -> Selection {
    let include = ["OU=a,DC=x", "OU=b,DC=x"].map(str::to_owned).to_vec();
    Selection { include, object_types: vec!["user".to_owned()], ..Selection::default() }
}

fn containers(search: &Search, moving: bool) -> Vec<Step> {
    let mut steps = match search.base.as_str() {
        "OU=a,DC=x" => vec![member_of("a", 0)],
        _ if moving => vec![member_of("b", 3)],
        _ => vec![member_of("b", 1), member_of("b", 2), member_of("b", 3)],
    };
    steps.push(Step::Done(0, Some(Vec::new())));
    steps
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_moves_during_an_import_of_active_directory_stays() {
    let moving = Arc::new(AtomicBool::new(false));
    let script = {
        let moving = moving.clone();
        move |search: &Search| match search.base.strip_prefix("<GUID=").and_then(|guid| guid.strip_suffix('>')) {
            Some("00000000000000000000000000000001") => vec![member_of("a", 1), Step::Done(0, None)],
            Some(_) => vec![Step::Done(32, None)],
            None => containers(search, moving.load(Ordering::SeqCst)),
        }
    };
    let store = Store::in_memory().unwrap();
    let settings =
        AdSettings { connection: reach(script).await, partitions: Vec::new(), selection: two_containers(), delta: DeltaMode::Off };
    let connector = AdConnector::new(settings, store.names().clone()).unwrap();
    import_while_somebody_moves(&connector, &store, &moving).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_moves_during_an_import_of_an_ldap_directory_stays() {
    let moving = Arc::new(AtomicBool::new(false));
    let script = {
        let moving = moving.clone();
        move |search: &Search| {
            if search.asks_for("uuid-") {
                assert!(search.asks_for("uuid-1") && search.asks_for("uuid-2") && !search.asks_for("uuid-3"), "{:?}", search.filter);
                let found = (search.base == "OU=a,DC=x").then(|| member_of("a", 1));
                return found.into_iter().chain([Step::Done(0, Some(Vec::new()))]).collect();
            }
            containers(search, moving.load(Ordering::SeqCst))
        }
    };
    let store = Store::in_memory().unwrap();
    let settings = LdapConnectorSettings {
        connection: reach(script).await,
        base: BASE.to_owned(),
        anchor: "entryUUID".to_owned(),
        selection: two_containers(),
    };
    let connector = LdapConnector::new(settings, store.names().clone()).unwrap();
    import_while_somebody_moves(&connector, &store, &moving).await;
}
