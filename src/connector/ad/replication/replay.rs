//! Replays every recorded session through our connection: each packet we send is the recorded one, octet by octet,
//! and each answer opens to the recorded results.

use super::auth::{Leg, Parts, RpcAuth};
use super::settings::Authentication;
use super::transport::Connection;
use super::trouble::Place;
use crate::connector::{ConnectorError, ConnectorErrorKind};
use crate::context::Context;
use crate::protocol::dcerpc::{AuthenticationType, CALL_HEAD_LENGTH, HEADER_LENGTH, Header, TRAILER_LENGTH};
use crate::protocol::drsuapi::{REPLICATION, SessionKey, recorded};
use async_trait::async_trait;
use hmac::{Hmac, Mac as _};
use md5::{Digest as _, Md5};
use rc4::{KeyInit as _, Rc4, StreamCipher as _};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use zeroize::Zeroizing;

/// One direction of NTLM's protection, computed from the session key (MS-NLMP 3.4.4.2, drsuapi section 6.1).
struct Direction {
    sign: Vec<u8>,
    stream: Rc4,
    number: u32,
}

impl Direction {
    fn new(key: &[u8], from: &str) -> Self {
        let derive = |what: &str| {
            let text = format!("session key to {from} {what} key magic constant\0");
            Md5::new().chain_update(key).chain_update(text.as_bytes()).finalize().to_vec()
        };
        Self { sign: derive("signing"), stream: Rc4::new_from_slice(&derive("sealing")).unwrap(), number: 0 }
    }

    fn token(&mut self, parts: &Parts<'_>, plain: &[u8]) -> [u8; 16] {
        let mut mac = <Hmac<Md5> as hmac::KeyInit>::new_from_slice(&self.sign).unwrap();
        for piece in [&self.number.to_le_bytes()[..], parts.header, plain, parts.trailer] {
            mac.update(piece);
        }
        let mut sum = mac.finalize().into_bytes()[..8].to_vec();
        self.stream.apply_keystream(&mut sum);
        let mut token = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        token[4..12].copy_from_slice(&sum);
        token[12..].copy_from_slice(&self.number.to_le_bytes());
        self.number += 1;
        token
    }

    fn seal(&mut self, parts: &mut Parts<'_>) {
        let plain = parts.body.to_vec();
        self.stream.apply_keystream(parts.body);
        let token = self.token(parts, &plain);
        parts.token.copy_from_slice(&token);
    }

    fn unseal(&mut self, parts: &mut Parts<'_>) -> bool {
        self.stream.apply_keystream(parts.body);
        let plain = parts.body.to_vec();
        self.token(parts, &plain) == *parts.token
    }
}

/// How packets are protected in a replay.
enum Cipher {
    /// As NTLM does, from the key.
    Ntlm { send: Box<Direction>, receive: Box<Direction> },
    /// The recorded packets themselves: Kerberos has a random part in each.
    Tape { sealed: VecDeque<Vec<u8>>, plain: VecDeque<Vec<u8>> },
}

/// A sign-in whose tokens were recorded.
struct Recorded {
    kind: AuthenticationType,
    tokens: VecDeque<Vec<u8>>,
    token_length: usize,
    key: Vec<u8>,
    cipher: Cipher,
}

fn broken(what: &str) -> ConnectorError {
    ConnectorError::new(ConnectorErrorKind::Protocol, what)
}

#[async_trait]
impl RpcAuth for Recorded {
    fn kind(&self) -> AuthenticationType {
        self.kind
    }

    fn signs_all(&self) -> bool {
        self.kind == AuthenticationType::Ntlm
    }

    async fn step(&mut self, _: &Context, _: &[u8]) -> Result<Leg, ConnectorError> {
        let token = self.tokens.pop_front().ok_or_else(|| broken("one leg too many"))?;
        Ok(Leg { token, done: self.tokens.is_empty() })
    }

    fn token_length(&mut self) -> Result<usize, ConnectorError> {
        Ok(self.token_length)
    }

    fn seal(&mut self, mut parts: Parts<'_>) -> Result<(), ConnectorError> {
        assert!(parts.all, "header and trailer are signed");
        match &mut self.cipher {
            Cipher::Ntlm { send, .. } => send.seal(&mut parts),
            Cipher::Tape { sealed, .. } => {
                let packet = sealed.pop_front().ok_or_else(|| broken("one call too many"))?;
                let trailer = packet.len() - self.token_length - TRAILER_LENGTH;
                assert_eq!(&packet[..CALL_HEAD_LENGTH], parts.header);
                assert_eq!(&packet[trailer..trailer + TRAILER_LENGTH], parts.trailer);
                parts.body.copy_from_slice(&packet[CALL_HEAD_LENGTH..trailer]);
                parts.token.copy_from_slice(&packet[trailer + TRAILER_LENGTH..]);
            }
        }
        Ok(())
    }

    fn unseal(&mut self, mut parts: Parts<'_>) -> Result<(), ConnectorError> {
        assert!(parts.all, "header and trailer are signed");
        match &mut self.cipher {
            Cipher::Ntlm { receive, .. } => {
                if !receive.unseal(&mut parts) {
                    return Err(broken("the signature is wrong"));
                }
            }
            Cipher::Tape { plain, .. } => {
                let stub = plain.front_mut().ok_or_else(|| broken("one answer too many"))?;
                let padding = usize::from(parts.trailer[2]);
                let length = parts.body.len() - padding;
                let rest = stub.split_off(length);
                parts.body[..length].copy_from_slice(stub);
                *stub = rest;
                if stub.is_empty() {
                    plain.pop_front();
                }
            }
        }
        Ok(())
    }

    fn session_key(&mut self) -> Result<SessionKey, ConnectorError> {
        Ok(SessionKey::new(Zeroizing::new(self.key.clone())))
    }

    fn clock_ahead(&self) -> Option<i64> {
        None
    }
}

/// A session of `fixtures/drsuapi`.
struct Session {
    name: &'static str,
    kind: AuthenticationType,
    /// The packets of the bind: ours, and the answer where there is one.
    legs: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Number of the procedure, and the name of the call's files.
    calls: Vec<(u16, String)>,
}

fn session(name: &'static str) -> Session {
    let file = |what: &str| recorded::octets(&format!("{name}/{what}"));
    let first = (file("01-bind-req"), Some(file("02-bind-ack")));
    let (kind, legs) = match name {
        "kerberos-one" => (AuthenticationType::Kerberos, vec![first, (file("03-alter-req"), Some(file("04-alter-resp")))]),
        "spnego-one" => (AuthenticationType::Negotiate, vec![first, (file("03-alter-req"), Some(file("04-alter-resp")))]),
        _ => (AuthenticationType::Ntlm, vec![first, (file("03-auth3"), None)]),
    };
    let mut calls: Vec<(u16, String)> = recorded::ending("-req-stub")
        .into_iter()
        .filter(|file| file.starts_with(&format!("{name}/")))
        .map(|file| {
            let operation = match file.split('-').find(|word| ["dsbind", "dcinfo", "cracknames", "getncchanges", "dsunbind"].contains(word))
            {
                Some("dsbind") => 0,
                Some("dsunbind") => 1,
                Some("getncchanges") => 3,
                Some("cracknames") => 12,
                Some("dcinfo") => 16,
                other => panic!("{file}: {other:?}"),
            };
            (operation, file.trim_end_matches("-req-stub").to_owned())
        })
        .collect();
    calls.sort_by(|left, right| left.1.cmp(&right.1));
    Session { name, kind, legs, calls }
}

/// The packets of octets as they were on the wire.
fn packets(wire: &[u8]) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    let mut rest = wire;
    while !rest.is_empty() {
        let (packet, after) = rest.split_at(Header::read(rest).unwrap().fragment_length);
        packets.push(packet.to_vec());
        rest = after;
    }
    packets
}

fn token_of(packet: &[u8]) -> Vec<u8> {
    packet[packet.len() - Header::read(packet).unwrap().token_length..].to_vec()
}

impl Session {
    fn auth(&self) -> Recorded {
        let file = |what: &str| recorded::octets(&format!("{}/{what}", self.name));
        let key = file("session-key");
        let tape = |what: &str| self.calls.iter().map(|(_, call)| recorded::octets(&format!("{call}-{what}"))).collect::<Vec<_>>();
        let sealed: VecDeque<Vec<u8>> = tape("req-wire").iter().flat_map(|wire| packets(wire)).collect();
        let token_length = Header::read(&sealed[0]).unwrap().token_length;
        let cipher = if self.kind == AuthenticationType::Ntlm {
            let direction = |from: &str| Box::new(Direction::new(&key, from));
            Cipher::Ntlm { send: direction("client-to-server"), receive: direction("server-to-client") }
        } else {
            Cipher::Tape { sealed, plain: tape("resp-stub").into() }
        };
        Recorded { kind: self.kind, tokens: self.legs.iter().map(|(ours, _)| token_of(ours)).collect(), token_length, key, cipher }
    }

    /// What the recorded server says, to what.
    fn exchanges(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut exchanges: Vec<(Vec<u8>, Vec<u8>)> =
            self.legs.iter().map(|(ours, theirs)| (ours.clone(), theirs.clone().unwrap_or_default())).collect();
        for (_, call) in &self.calls {
            exchanges.push((recorded::octets(&format!("{call}-req-wire")), recorded::octets(&format!("{call}-resp-wire"))));
        }
        exchanges
    }
}

/// A server that wants to hear exactly what was recorded.
fn server(exchanges: Vec<(Vec<u8>, Vec<u8>)>) -> (DuplexStream, tokio::task::JoinHandle<()>) {
    let (ours, mut theirs) = tokio::io::duplex(1 << 16);
    let task = tokio::spawn(async move {
        for (number, (request, response)) in exchanges.into_iter().enumerate() {
            let mut heard = vec![0; request.len()];
            theirs.read_exact(&mut heard).await.unwrap();
            assert_eq!(hex::encode(heard), hex::encode(request), "packet {number}");
            theirs.write_all(&response).await.unwrap();
        }
    });
    (ours, task)
}

fn place() -> Place {
    Place { server: "sldc1".to_owned(), account: "svc-sync".to_owned(), authentication: Authentication::Ntlm }
}

async fn connect(session: &Session, stream: DuplexStream) -> Result<Connection<DuplexStream>, ConnectorError> {
    let auth = Box::new(session.auth());
    Connection::bind(&Context::system(), stream, REPLICATION, Some(auth), place(), Duration::from_secs(20)).await
}

#[tokio::test]
async fn every_recorded_session_is_ours_to_the_octet() {
    let mut calls = 0;
    for name in ["ntlm-one", "ntlm-nc", "ntlm-delta", "kerberos-one", "spnego-one"] {
        let session = session(name);
        let (stream, task) = server(session.exchanges());
        let mut connection = connect(&session, stream).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        for (operation, call) in &session.calls {
            let request = recorded::octets(&format!("{call}-req-stub"));
            let answer = connection.call(&Context::system(), *operation, &request).await.unwrap_or_else(|error| panic!("{call}: {error}"));
            assert_eq!(hex::encode(answer), hex::encode(recorded::octets(&format!("{call}-resp-stub"))), "{call}");
            calls += 1;
        }
        task.await.unwrap();
    }
    assert_eq!(calls, 24);
}

#[test]
fn the_protection_of_the_replay_is_that_of_the_vectors() {
    let vectors = recorded::expected("vectors");
    let vectors = &vectors["ntlm_seal"];
    let octets = |value: &serde_json::Value| hex::decode(value.as_str().unwrap()).unwrap();
    let mut send = Direction::new(&octets(&vectors["exported_session_key"]), "client-to-server");
    assert_eq!(send.sign, octets(&vectors["client_sign"]));
    for packet in ["pdu1", "pdu2"] {
        let vector = &vectors[packet];
        let (mut header, mut trailer, mut body) = (octets(&vector["header"]), octets(&vector["trailer"]), octets(&vector["stub"]));
        body.resize(body.len() + usize::try_from(vector["pad"].as_u64().unwrap()).unwrap(), 0);
        let mut token = vec![0; 16];
        send.seal(&mut Parts { header: &mut header, body: &mut body, trailer: &mut trailer, token: &mut token, all: true });
        assert_eq!([header, body, trailer, token].concat(), octets(&vector["wire"]), "{packet}");
    }
}

/// Replays the first calls of a session against a server whose last answer was changed.
async fn with_last_answer(change: impl FnOnce(&mut Vec<u8>)) -> ConnectorError {
    let mut session = session("ntlm-one");
    session.calls.truncate(2);
    let mut exchanges = session.exchanges();
    change(&mut exchanges.last_mut().unwrap().1);
    let (stream, task) = server(exchanges);
    let mut connection = connect(&session, stream).await.unwrap();
    let cx = Context::system();
    let request = |index: usize| recorded::octets(&format!("{}-req-stub", session.calls[index].1));
    connection.call(&cx, 0, &request(0)).await.unwrap();
    let error = connection.call(&cx, 16, &request(1)).await.unwrap_err();
    task.await.unwrap();
    // Nothing more is said on such a connection.
    assert!(connection.call(&cx, 1, &[0; 20]).await.unwrap_err().message.contains("given up"));
    error
}

#[tokio::test]
async fn an_answer_that_was_touched_ends_the_connection() {
    use ConnectorErrorKind as Kind;
    // A flipped bit in the body, in the signed header, in the token.
    for at in [HEADER_LENGTH + 1, CALL_HEAD_LENGTH + 5] {
        assert_eq!(with_last_answer(|answer| answer[at] ^= 1).await.kind, Kind::Protocol, "{at}");
    }
    assert_eq!(with_last_answer(|answer| *answer.last_mut().unwrap() ^= 1).await.kind, Kind::Protocol);
    // Without protection.
    let bare = with_last_answer(|answer| {
        let packet = packets(answer)[0].clone();
        let length = packet.len() - 24;
        *answer = packet[..length].to_vec();
        answer[8..10].copy_from_slice(&u16::try_from(length).unwrap().to_le_bytes());
        answer[10..12].copy_from_slice(&[0, 0]);
    })
    .await;
    assert!(bare.message.contains("without protection"), "{bare}");
    // Another level than privacy, another call, another version, another kind of packet.
    let trailer = |answer: &[u8]| Header::read(answer).unwrap().fragment_length - 24;
    assert!(
        with_last_answer(|answer| {
            let at = trailer(answer);
            answer[at + 1] = 5;
        })
        .await
        .message
        .contains("trailer")
    );
    assert!(with_last_answer(|answer| answer[12] ^= 1).await.message.contains("not asked"));
    assert!(with_last_answer(|answer| answer[0] = 4).await.message.contains("version"));
    assert!(with_last_answer(|answer| answer[2] = 0).await.message.contains("kind 0"));
}

#[tokio::test]
async fn a_lost_connection_and_a_fault_are_told_apart() {
    let lost = with_last_answer(|answer| answer.truncate(40)).await;
    assert_eq!(lost.kind, ConnectorErrorKind::Dropped, "{lost}");
    let fault = recorded::octets("errors/bad-password-fault-wire");
    let later = with_last_answer(|answer| {
        *answer = fault.clone();
        // The recorded fault belongs to the first call, this one is the second.
        answer[12] += 1;
    })
    .await;
    assert_eq!(later.kind, ConnectorErrorKind::Protocol, "{later}");
}

#[tokio::test]
async fn a_wrong_password_of_ntlm_shows_at_the_first_call() {
    let mut session = session("ntlm-one");
    session.calls.truncate(1);
    let mut exchanges = session.exchanges();
    exchanges.last_mut().unwrap().1 = recorded::octets("errors/bad-password-fault-wire");
    let (stream, task) = server(exchanges);
    let mut connection = connect(&session, stream).await.unwrap();
    let request = recorded::octets("ntlm-one/10-dsbind-req-stub");
    let error = connection.call(&Context::system(), 0, &request).await.unwrap_err();
    assert_eq!(error.kind, ConnectorErrorKind::Authentication);
    assert!(error.message.contains("svc-sync") && error.message.contains("wrong user, domain or password"), "{error}");
    task.await.unwrap();
}

#[tokio::test]
async fn binds_that_are_refused_say_why() {
    let session = session("ntlm-one");
    let mut refused = recorded::octets("ntlm-one/02-bind-ack");
    // The reason of a refusal stands right behind the header.
    refused[2] = 13;
    refused[HEADER_LENGTH] = 8;
    refused[HEADER_LENGTH + 1] = 0;
    let (stream, _task) = server(vec![(session.legs[0].0.clone(), refused)]);
    let error = connect(&session, stream).await.err().unwrap();
    assert_eq!(error.kind, ConnectorErrorKind::Authentication, "{error}");
    let mut rejected = recorded::octets("ntlm-one/02-bind-ack");
    // Length of the address, the address, padding, the number of results: then the result.
    rejected[36] = 2;
    let (stream, _task) = server(vec![(session.legs[0].0.clone(), rejected)]);
    let error = connect(&session, stream).await.err().unwrap();
    assert_eq!(error.kind, ConnectorErrorKind::Connection, "{error}");
}

#[tokio::test]
async fn silence_and_the_wish_to_stop_end_a_wait() {
    let session = session("ntlm-one");
    let (stream, _theirs) = tokio::io::duplex(1 << 16);
    let auth = || Some(Box::new(session.auth()) as Box<dyn RpcAuth>);
    let error = Connection::bind(&Context::system(), stream, REPLICATION, auth(), place(), Duration::from_millis(30)).await.err().unwrap();
    assert_eq!(error.kind, ConnectorErrorKind::Dropped, "{error}");
    let (stream, _theirs) = tokio::io::duplex(1 << 16);
    let cx = Context::system();
    let stop = cx.cancel.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(30)).await;
        stop.cancel();
    });
    let error = Connection::bind(&cx, stream, REPLICATION, auth(), place(), Duration::from_mins(1)).await.err().unwrap();
    assert_eq!(error.kind, ConnectorErrorKind::Cancelled, "{error}");
}
