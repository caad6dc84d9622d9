//! Accounts that were disabled are found by one small search every minute, also where the directory tells nobody of changes.

use crate::quick::Quick;
use crate::scripted::{PAGED, Search, Step, reach_with};
use futures_util::StreamExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use syncline::connector::Connector as _;
use syncline::connector::ad::{AdConnector, AdSettings, DeltaMode};
use syncline::connector::directory::Selection;
use syncline::context::{Clock as _, Context};
use syncline::model::Names;

#[tokio::test]
async fn a_disabled_account_is_found_in_time_by_one_search_at_a_time() {
    let searches: Arc<AtomicUsize> = Arc::default();
    let asked: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let (count, kept) = (Arc::clone(&searches), Arc::clone(&asked));
    // The nineteenth look finds somebody; nobody is found before and behind.
    let script = move |search: &Search| {
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        kept.lock().unwrap().push(search.filter.clone());
        let mut steps = Vec::new();
        if number == 19 {
            let attributes = vec![("objectGUID".to_owned(), vec![vec![7; 16]]), ("uSNChanged".to_owned(), vec![b"1500".to_vec()])];
            steps.push(Step::Entry("CN=shut,DC=x".to_owned(), attributes));
        }
        if number == 21 {
            steps.push(Step::Close);
        }
        steps.push(Step::Done(0, Some(Vec::new())));
        steps
    };
    let settings = AdSettings {
        connection: reach_with(&[PAGED], script).await,
        partitions: Vec::new(),
        selection: Selection::default(),
        delta: DeltaMode::Usn,
    };
    let connector = AdConnector::new(settings, Arc::new(Names::new())).unwrap();
    let clock = Arc::new(Quick::default());
    let cx = Context { clock: clock.clone(), ..Context::system() };
    let mut looks = connector.watch_disabled(&cx).await.unwrap().unwrap();
    let found = looks.next().await.unwrap().unwrap();
    assert_eq!(found.iter().map(|anchor| anchor.as_bytes().to_vec()).collect::<Vec<_>>(), [vec![7; 16]]);
    // Nothing but one search for each look, and each a minute behind the one before.
    assert_eq!(searches.load(Ordering::SeqCst), 19);
    assert_eq!(clock.now().0 / 60_000_000, 19);
    let asks = |number: usize, text: &str| asked.lock().unwrap()[number - 1].windows(text.len()).any(|part| part == text.as_bytes());
    assert!(asks(1, "1001") && asks(1, "userAccountControl"), "behind what was there when it began");
    // The next look begins behind what was found; a lost connection is told, and ends it.
    let error = looks.next().await.unwrap().unwrap_err();
    assert!(asks(20, "1501"), "{error}");
    assert!(looks.next().await.is_none());
}
