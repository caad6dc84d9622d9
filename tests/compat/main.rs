//! Foreign judges: exchanges recorded with independent clients of the provisioning service (`fixtures/wire`), and
//! configurations as other tools export them (`fixtures/migration`).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod migration;
mod xml;

use std::path::{Path, PathBuf};
use syncline::protocol::nbfx::{Event, Reader};
use syncline::protocol::provisioning::{decode_request, decode_response, encode_request};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/wire")
}

/// All recorded messages: the name without `.bin`, and the octets.
fn recorded() -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder()).expect("fixtures/wire is part of the repository") {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if let Some(name) = name.strip_suffix(".bin") {
            found.push((name.to_owned(), std::fs::read(&path).unwrap()));
        }
    }
    found.sort();
    assert!(found.len() >= 70, "70 recorded messages, not {}", found.len());
    found
}

/// One line per element and text: depth, namespace, name, attributes.
fn infoset(data: &[u8]) -> Result<Vec<String>, String> {
    let mut reader = Reader::new(data).map_err(|error| error.to_string())?;
    let mut lines = Vec::new();
    let mut depth = 0;
    loop {
        match reader.next().map_err(|error| error.to_string())? {
            Event::Start { namespace, name, attributes } => {
                let mut shown: Vec<String> = attributes
                    .iter()
                    .map(|attribute| {
                        let value = if attribute.name == "type" {
                            let (namespace, local) = reader.resolve(&attribute.value);
                            format!("{{{namespace}}}{local}")
                        } else {
                            attribute.value.to_string()
                        };
                        format!("{{{}}}{}={value}", attribute.namespace, attribute.name)
                    })
                    .collect();
                shown.sort();
                lines.push(format!("{depth} {{{namespace}}}{name} {}", shown.join(" ")));
                depth += 1;
            }
            Event::Text(text) if text.is_empty() => {}
            Event::Text(text) => lines.push(format!("{depth} {text}")),
            Event::End => depth -= 1,
            Event::Eof => return Ok(lines),
        }
    }
}

#[test]
fn every_recorded_message_decodes_to_its_infoset() {
    for (name, data) in recorded() {
        let file = folder().join(format!("{}.xml", name.trim_end_matches(".alt")));
        let expected = xml::infoset(&std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())));
        let found = infoset(&data).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn every_recorded_request_is_understood_and_written_again_with_the_same_meaning() {
    let mut read = 0;
    for (name, data) in recorded().into_iter().filter(|(name, _)| name.contains(".request")) {
        let (header, request) = decode_request(&data).unwrap_or_else(|error| panic!("{name}: {error}"));
        let request = request.unwrap_or_else(|| panic!("{name}: the operation {} is not known", header.operation));
        assert_eq!(header.operation, request.operation(), "{name}");
        assert_eq!(header.bearer_token.as_str(), "test-token.not-a-real-jwt.0000", "{name}");
        let again = encode_request(&header, &request, Vec::new());
        let (second_header, second) = decode_request(&again).unwrap();
        assert_eq!((second_header.message_id, second), (header.message_id.clone(), Some(request)), "{name}");
        read += 1;
    }
    assert!(read >= 30, "{read}");
}

#[test]
fn every_recorded_answer_is_understood() {
    let mut read = 0;
    for (name, data) in recorded().into_iter().filter(|(name, _)| name.contains(".response")) {
        let request = std::fs::read(folder().join(format!("{}.request.bin", name.split('.').next().unwrap()))).unwrap();
        let (header, _) = decode_request(&request).unwrap();
        let answer = decode_response(&header.operation, &data).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(answer.is_err(), name.starts_with("fault-"), "{name}: {answer:?}");
        if let Err(fault) = answer {
            let expected = match name.split('.').next().unwrap() {
                "fault-busy-81" => Some(81),
                "fault-phs-disabled-90" => Some(90),
                "fault-dirsync-disabled" => Some(15),
                _ => None,
            };
            assert_eq!(fault.code, expected, "{name}");
            assert_eq!(fault.redirect.is_some(), name.starts_with("fault-redirect"), "{name}");
        }
        read += 1;
    }
    assert!(read >= 30, "{read}");
}

#[test]
fn no_truncation_and_no_flipped_bit_makes_a_decoder_panic() {
    for (name, data) in recorded() {
        for length in 0..data.len() {
            assert!(infoset(&data[..length]).is_err(), "{name}: cut at {length} of {}", data.len());
        }
        for at in (0..data.len()).step_by(7) {
            let mut damaged = data.clone();
            damaged[at] ^= 1 << (at % 8);
            // Any answer will do but a panic.
            let _ = infoset(&damaged);
            let _ = decode_request(&damaged);
            let _ = decode_response("ProvisionAzureADSyncObjects", &damaged);
        }
    }
}
