//! Lessons of the field that show in what is asked of a directory: connections, requests for each entry, and what must not be taken for
//! granted (docs/testing.md, "Lessons of the field").

use crate::scripted::{BASE, PAGED, Search, Step, object, reach_with};
use crate::seen::{self, names};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use syncline::connector::ad::{AdConnector, AdSettings, DeltaMode};
use syncline::connector::directory::Selection;
use syncline::connector::ldap::{LdapConnector, LdapConnectorSettings, LdapSettings};
use tokio::net::{TcpListener, TcpStream};

const PEOPLE: usize = 2_000;
const PAGE: usize = 500;

/// Somebody between client and server who counts connections.
async fn counting(settings: LdapSettings) -> (LdapSettings, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ldap://{}", listener.local_addr().unwrap());
    let server = settings.url.trim_start_matches("ldap://").to_owned();
    let count: Arc<AtomicUsize> = Arc::default();
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let server = server.clone();
            tokio::spawn(async move {
                let mut far = TcpStream::connect(server).await.unwrap();
                drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
            });
        }
    });
    (LdapSettings { url, ..settings }, count)
}

/// People page by page; counts the searches.
fn people(searches: Arc<AtomicUsize>) -> impl Fn(&Search) -> Vec<Step> + Send + Sync + 'static {
    move |search| {
        searches.fetch_add(1, Ordering::SeqCst);
        if !search.whole_subtree || search.base != BASE {
            return vec![Step::Done(0, None)];
        }
        let from: usize = match search.cookie.as_deref() {
            None | Some(b"") => 0,
            Some(cookie) => std::str::from_utf8(cookie).unwrap().parse().unwrap(),
        };
        let to = (from + PAGE).min(PEOPLE);
        let mut steps: Vec<Step> = (from..to).map(|number| object("user", number, vec![])).collect();
        let cookie = if to == PEOPLE { Vec::new() } else { to.to_string().into_bytes() };
        steps.push(Step::Done(0, Some(cookie)));
        steps
    }
}

async fn import() -> (usize, usize, usize) {
    let searches: Arc<AtomicUsize> = Arc::default();
    let (connection, connections) = counting(reach_with(&[PAGED], people(Arc::clone(&searches))).await).await;
    let settings = AdSettings { connection, partitions: Vec::new(), selection: Selection::default(), delta: DeltaMode::Off };
    let names = names();
    let connector = AdConnector::new(settings, names.clone()).unwrap();
    let seen = seen::import(&connector, &names, &["cn"]).await.unwrap();
    assert!(seen.completed);
    (seen.entries.len(), connections.load(Ordering::SeqCst), searches.load(Ordering::SeqCst))
}

/// One connection for an import, however many people there are.
#[tokio::test]
async fn lesson_04_connections_do_not_grow_with_the_people() {
    let (entries, connections, _) = import().await;
    assert_eq!((entries, connections), (PEOPLE, 1));
}

/// A search for each page, and none for an entry.
#[tokio::test]
async fn lesson_13_searches_follow_pages_and_not_entries() {
    let (entries, _, searches) = import().await;
    assert_eq!(entries, PEOPLE);
    assert!(searches <= PEOPLE / PAGE + 6, "{searches} searches");
}

/// A server that knows no pages gives all of it at once, and that is an import like any other.
#[tokio::test]
async fn lesson_19_pages_are_asked_for_and_not_demanded() {
    let script = |search: &Search| {
        if !search.whole_subtree {
            return vec![Step::Done(0, None)];
        }
        let mut steps: Vec<Step> = (0..7)
            .map(|number| {
                let text = |name: &str, value: String| (name.to_owned(), vec![value.into_bytes()]);
                let attributes = vec![
                    ("objectClass".to_owned(), vec![b"inetOrgPerson".to_vec()]),
                    text("entryUUID", format!("00000000-0000-0000-0000-00000000000{number}")),
                ];
                Step::Entry(format!("uid=u{number},{BASE}"), attributes)
            })
            .collect();
        // No control in the answer, as a server that ignores it does.
        steps.push(Step::Done(0, None));
        steps
    };
    let settings = LdapConnectorSettings {
        connection: reach_with(&[], script).await,
        base: BASE.to_owned(),
        anchor: "entryUUID".to_owned(),
        selection: Selection::default(),
    };
    let names = names();
    let connector = LdapConnector::new(settings, names.clone()).unwrap();
    let seen = seen::import(&connector, &names, &["uid"]).await.unwrap();
    assert_eq!((seen.entries.len(), seen.completed), (7, true));
}
