//! What a delta import must not believe, and what a directory lacks that has none.

use super::world::{World, person, picture, remove};
use crate::labs;
use crate::seen::{self, names};
use syncline::connector::Connector as _;
use syncline::connector::ConnectorErrorKind;
use syncline::connector::ImportKind;
use syncline::connector::ldap::LdapConnector;
use syncline::engine::EngineError;
use syncline::store::Store;

/// The watermark with another cookie in it.
fn with_cookie(watermark: &[u8], change: impl Fn(&str) -> String) -> Vec<u8> {
    let start = watermark.windows(4).position(|part| part == b"rid=").unwrap();
    let cookie = std::str::from_utf8(&watermark[start..watermark.len() - 4]).unwrap();
    let mut octets = [&watermark[..start], change(cookie).as_bytes()].concat();
    octets.extend_from_slice(&crc32fast::hash(&octets).to_le_bytes());
    octets
}

#[test]
fn a_place_that_is_none_asks_for_a_full_import() {
    let world = World::selecting(&["--sessionlog", "100"]);
    world.full();
    let good = world.watermark().unwrap();
    world.change(&remove("CN=Secret,OU=Nowhere").replace("CN=Secret,OU=Nowhere", "OU=Outside"));
    world.assert_lost(b"garbage".to_vec());
    world.assert_lost(Vec::new());
    world.assert_lost(good[..good.len() - 1].to_vec());
    world.assert_lost(with_cookie(&good, |_| "rid=000,csn=garbage".to_owned()));
    world.assert_lost(with_cookie(&good, |_| "rid=000".to_owned()));
    // Another directory's: its naming context has another entryUUID.
    let mut foreign = with_cookie(&good, str::to_owned);
    foreign[5] ^= 1;
    world.assert_lost(with_cookie(&foreign, str::to_owned));
    assert_eq!(world.delta().result, "success");
}

#[test]
fn a_cookie_of_a_forgotten_time_brings_everything_and_deletes_what_is_not_named() {
    let world = World::selecting(&["--sessionlog", "100"]);
    world.full();
    world.change(&(person("one", "OU=People") + &person("two", "OU=People")));
    world.delta();
    world.change(&remove("CN=one,OU=People"));
    let good = world.watermark().unwrap();
    for change in [("csn=20", "csn=19"), ("#000#", "#00b#")] {
        let since = with_cookie(&good, |cookie| cookie.replace(change.0, change.1));
        let run = world.import(&world.store, ImportKind::Delta { since }).unwrap();
        assert!(run.whole && run.items > 60, "{run:?}");
        world.assert_as_fresh(change.0);
    }
}

/// A server that was put back to an older state knows less than the space does; that is no reason to delete.
#[test]
fn a_server_that_is_behind_is_refused() {
    let world = World::selecting(&["--sessionlog", "100"]);
    world.full();
    let since = with_cookie(&world.watermark().unwrap(), |cookie| cookie.replace("csn=20", "csn=21"));
    let before = picture(&world.store);
    let error = world.refusal(since);
    assert_eq!(error.kind, ConnectorErrorKind::Search);
    assert!(error.message.contains("older than what was read from it") && error.message.contains("full import"), "{error}");
    assert_eq!(picture(&world.store), before);
}

#[test]
fn wherever_the_connection_is_cut_nothing_is_deleted_and_the_place_stays() {
    let world = World::selecting(&[]);
    world.full();
    world.change(&(person("one", "OU=People") + &person("two", "OU=People")));
    world.delta();
    world.change(&(remove("CN=one,OU=People") + &person("three", "OU=People")));
    let place = world.watermark();
    let since = || place.clone().unwrap();
    world.proxy.watch(usize::MAX);
    assert!(world.import(&Store::in_memory().unwrap(), ImportKind::Delta { since: since() }).is_ok());
    let octets = world.proxy.octets();
    for tenth in 0..20 {
        world.proxy.watch(octets * tenth / 20);
        let error = world.try_delta().unwrap_err();
        let EngineError::Connector(error) = error else { panic!("{error}") };
        assert!(matches!(error.kind, ConnectorErrorKind::Dropped | ConnectorErrorKind::Connection), "{tenth}: {error}");
        assert_eq!(world.watermark(), place, "{tenth}");
        assert!(picture(&world.store).values().any(|(dn, ..)| dn.windows(3).any(|part| part == b"one")), "{tenth}");
    }
    world.proxy.watch(usize::MAX);
    assert_eq!(world.delta().count("stage-delete"), 1);
}

#[test]
fn what_changes_while_everything_is_read_is_told_by_the_next_delta() {
    let world = World::selecting(&["--sessionlog", "100"]);
    world.change(&person("early", "OU=People"));
    let connector = world.connector(&world.store);
    let attributes = Vec::new();
    let request = syncline::connector::ImportRequest { kind: ImportKind::Full, attributes };
    // The place is taken before the first page is; whatever happens between the two is in both, or in the delta.
    let stream = world.block_on(connector.import(&syncline::context::Context::system(), request)).unwrap();
    world.change(&(remove("CN=early,OU=People") + &person("late", "OU=People")));
    let pages: Vec<_> = world.block_on(futures_util::StreamExt::collect(stream));
    let since = pages.into_iter().find_map(|page| page.unwrap().completion).unwrap().watermark.unwrap();
    let names = names();
    let own = LdapConnector::new(world.settings(&world.proxy.url), names.clone()).unwrap();
    let told = world.block_on(seen::run(&own, &names, &["cn"], ImportKind::Delta { since })).unwrap();
    assert_eq!((told.gone.len(), told.entries.len()), (1, 1));
    assert!(told.entries.keys().all(|dn| dn.to_lowercase().starts_with("cn=late,")), "{:?}", told.entries.keys());
}

#[test]
fn without_the_overlay_every_import_is_full_and_says_why() {
    let world = World::new(&["--no-sync"]);
    let run = world.full();
    assert_eq!(world.watermark(), None);
    assert!(run.notes.len() == 1 && run.notes[0].contains("syncprov"), "{:?}", run.notes);
    let context = syncline::context::Context::system();
    assert!(world.block_on(world.connector(&world.store).watch(&context)).unwrap().is_none());
}

#[test]
fn without_the_right_to_see_marks_every_import_is_full_and_says_why() {
    let world = World::new(&["--sessionlog", "100", "--hide-marks"]);
    let run = world.full();
    assert_eq!(world.watermark(), None);
    assert!(run.notes.len() == 1 && run.notes[0].contains("entryCSN") && run.notes[0].contains("svc_sync"), "{:?}", run.notes);
}

#[test]
fn another_anchor_means_full_imports() {
    let lab = labs::openldap();
    let names = names();
    let mut settings = crate::openldap::settings(lab);
    settings.anchor = "objectGUID".into();
    let connector = LdapConnector::new(settings, names.clone()).unwrap();
    assert!(!connector.capabilities().delta_import);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let seen = runtime.block_on(seen::import(&connector, &names, &["cn"])).unwrap();
    assert_eq!((seen.completion.unwrap().watermark, seen.notes.len()), (None, 0));
    let error = runtime.block_on(seen::run(&connector, &names, &["cn"], ImportKind::Delta { since: Vec::new() })).unwrap_err();
    assert!(error.kind == ConnectorErrorKind::Configuration && error.message.contains("entryUUID"), "{error}");
}
