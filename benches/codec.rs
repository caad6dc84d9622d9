//! How long binary XML takes: a request that an independent client sent, and a batch of 250 made-up users as an export
//! sends it (design: storage and performance, section 8).
#![allow(missing_docs, reason = "the macros of the bench harness make undocumented functions")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::path::Path;
use syncline::protocol::nbfx::{Event, Reader};
use syncline::protocol::provisioning::{PropertyValue, Request, RequestHeader, SyncObject, decode_request, encode_request};

const USERS: u32 = 250;

/// A recorded request with several objects.
fn recorded() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/wire/provision2-batch.request.bin");
    std::fs::read(path).expect("fixtures/wire is part of the repository")
}

/// A batch as the built-in rules make it: users of about thirty properties.
fn batch() -> Request {
    Request::ProvisionObjects { second: true, objects: (0..USERS).map(user).collect() }
}

fn user(number: u32) -> SyncObject {
    let texts = [
        "displayName",
        "givenName",
        "surname",
        "commonName",
        "mailNickname",
        "mail",
        "userPrincipalName",
        "title",
        "department",
        "companyName",
        "physicalDeliveryOfficeName",
        "telephoneNumber",
        "mobile",
        "facsimileTelephoneNumber",
        "streetAddress",
        "city",
        "state",
        "postalCode",
        "country",
        "usageLocation",
        "employeeId",
        "onPremisesSamAccountName",
        "dnsDomainName",
        "netBiosName",
        "onPremisesDistinguishedName",
        "extensionAttribute1",
    ];
    let mut properties: Vec<(String, PropertyValue)> =
        texts.iter().map(|name| ((*name).to_owned(), PropertyValue::Text(format!("{name} of user {number}")))).collect();
    let own = |name: &str, value| (name.to_owned(), value);
    let addresses = ["SMTP:", "smtp:alias."].map(|kind| format!("{kind}user{number}@corp.example")).to_vec();
    properties.push(own("SourceAnchor", PropertyValue::Text(format!("c291cmNlYW5jaG9y{number:08}=="))));
    properties.push(own("accountEnabled", PropertyValue::Boolean(true)));
    properties.push(own("proxyAddresses", PropertyValue::TextList(addresses)));
    let sid: Vec<u8> = (0..24).chain(number.to_le_bytes()).collect();
    properties.push(own("onPremiseSecurityIdentifier", PropertyValue::Binary(sid)));
    SyncObject { properties, object_type: "User".to_owned(), operation: "Set".to_owned() }
}

fn header() -> RequestHeader {
    RequestHeader {
        application_id: "1b730954-1685-4b74-9bfd-dac224a7b894".to_owned(),
        bearer_token: "x".repeat(1_500).into(),
        build: "2.4.129.0".to_owned(),
        message_id: "urn:uuid:6d21b1c3-0a39-4b0f-8ad1-e0f0a3b1d3b0".to_owned(),
        to: "https://adminwebservice.example/provisioningservice.svc".to_owned(),
        operation: String::new(),
    }
}

/// Reads all events and counts them: decoding without making anything of it.
fn events(data: &[u8]) -> usize {
    let mut reader = Reader::new(data).expect("a document");
    let mut count = 0;
    loop {
        match reader.next().expect("a whole document") {
            Event::Eof => return count,
            event => {
                black_box(event);
                count += 1;
            }
        }
    }
}

fn codec(criterion: &mut Criterion) {
    let messages = [("recorded request", recorded()), ("batch of 250 users", encode_request(&header(), &batch(), Vec::new()))];
    for (name, message) in &messages {
        let (header, request) = decode_request(message).expect("a request");
        let request = request.expect("a known operation");
        let mut group = criterion.benchmark_group(*name);
        group.throughput(Throughput::Bytes(message.len() as u64));
        group.bench_function("events", |bencher| bencher.iter(|| events(black_box(message))));
        group.bench_function("decode", |bencher| bencher.iter(|| decode_request(black_box(message)).expect("a request")));
        let mut buffer = Vec::new();
        group.bench_function("encode", |bencher| {
            bencher.iter(|| {
                buffer = encode_request(&header, black_box(&request), std::mem::take(&mut buffer));
                buffer.len()
            });
        });
        group.finish();
    }
}

criterion_group!(benches, codec);
criterion_main!(benches);
