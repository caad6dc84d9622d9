//! No hash and no key reaches the file, an event or a debug text (ARCHITECTURE.md, invariant 18).

use crate::fakes::{Stage, accept, failure};
use std::sync::{Arc, Mutex};
use syncline::connector::{CredentialAnswer, CredentialErrorKind};
use syncline::store::{Store, StoreOptions};

/// MD4 of `first-N` is worked out here by the same code that sources use; what is looked for is its octets.
fn octets_of(password: &str) -> Vec<u8> {
    use md4::Digest as _;
    let text: Vec<u8> = password.encode_utf16().flat_map(u16::to_le_bytes).collect();
    md4::Md4::digest(text).to_vec()
}

fn contains(place: &[u8], what: &[u8]) -> bool {
    place.windows(what.len()).any(|window| window == what)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_stays_behind() {
    use secrecy::ExposeSecret as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let mut stage = Stage::new();
    for number in 0..30 {
        stage.hire(&format!("{number:02}"), "DC=a");
    }
    stage.run();
    let keys: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = keys.clone();
    stage.target.answers(move |batch| {
        if batch.is_empty() {
            return accept(batch);
        }
        seen.lock().unwrap().extend(batch.iter().map(|credential| credential.data.to_text().expose_secret().to_owned()));
        assert!(format!("{batch:?}").contains("CredentialData { iterations: 1000, .. }"));
        if seen.lock().unwrap().len() <= 30 {
            return Err(failure(CredentialErrorKind::Later, Some(81), None));
        }
        let refused = |index| CredentialAnswer::Refused { code: 5, detail: Some(format!("number {index}")) };
        Ok((0..batch.len()).map(|index| if index % 3 == 0 { refused(index) } else { CredentialAnswer::Accepted }).collect())
    });
    stage.after(2).await;
    stage.source.change("03", Some("another"));
    stage.after(2).await;
    stage.after(30).await;
    stage.target.answers(accept);
    stage.after(30).await;
    assert!(keys.lock().unwrap().len() > 60);

    stage.world.store.backup(&path).unwrap();
    let file = std::fs::read(&path).unwrap();
    let events: Vec<String> = stage.ear.0.lock().unwrap().iter().map(|event| format!("{event:?} {event} {:?}", event.fields())).collect();
    let events = events.join("\n");
    let records: Vec<String> = (0..30).map(|number| format!("{:?}", stage.record(&format!("{number:02}")))).collect();
    let records = records.join("\n");
    let passwords = (0..30).map(|number| format!("first-{number:02}")).chain(["another".to_owned()]);
    for password in passwords {
        let hash = octets_of(&password);
        for secret in [hash.clone(), hex::encode(&hash).into_bytes(), hex::encode_upper(&hash).into_bytes(), password.into_bytes()] {
            assert!(!contains(&file, &secret), "in the file");
            assert!(!contains(events.as_bytes(), &secret) && !contains(records.as_bytes(), &secret), "in a text");
        }
    }
    for key in keys.lock().unwrap().iter() {
        let parts: Vec<&str> = key.trim_end_matches(';').split(',').collect();
        for secret in [parts[1], parts[3]] {
            assert!(!contains(&file, secret.as_bytes()) && !contains(&file, &hex::decode(secret).unwrap()), "in the file");
            assert!(!events.contains(secret) && !records.contains(secret), "in a text");
        }
    }
    assert!(Store::open(&path, StoreOptions::default()).unwrap().check().unwrap().is_clean());
}
