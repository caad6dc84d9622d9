//! A password that changes while an older one is on its way: the newest counts, and nothing that was found out meanwhile is
//! taken back by the answer.

use crate::fakes::Stage;
use crate::rules;
use crate::world::World;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use std::time::Duration;
use syncline::connector::PasswordChange;
use syncline::context::Context;
use syncline::model::Timestamp;
use syncline::password::agent::{CycleKind, PushError};
use syncline::password::hash::NtHash;
use syncline::store::PasswordStatus;
use tokio_util::sync::CancellationToken;

/// So many that the first batch goes out before the directory has told everything.
const PEOPLE: usize = 50;
const ONE: &str = "007";

fn staffed() -> Stage {
    let mut stage = Stage::with(World::new(rules), &["DC=a"], PEOPLE);
    for number in 0..PEOPLE {
        stage.hire(&format!("{number:03}"), "DC=a");
    }
    stage.run();
    stage.target.hold(true);
    stage
}

/// While the first batch is out and not answered, the directory goes on with what this gives; then the batch is answered.
fn meanwhile(stage: &Stage, tell: impl FnOnce() -> Vec<PasswordChange> + Send + 'static) -> [BoxFuture<'static, Vec<PasswordChange>>; 2] {
    let (first, second) = (stage.target.clone(), stage.target.clone());
    let news = async move {
        first.called().await;
        tell()
    };
    // Asked for when the page before was judged.
    let end = async move {
        second.hold(false);
        Vec::new()
    };
    [news.boxed(), end.boxed()]
}

fn times(sent: &[String]) -> usize {
    sent.iter().filter(|name| *name == ONE).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_password_goes_behind_the_older_one() {
    let stage = staffed();
    let source = stage.source.clone();
    stage.source.goes_on(meanwhile(&stage, move || {
        source.change(ONE, Some("second"));
        vec![source.told(ONE)]
    }));
    let sent = stage.after(2).await;
    assert_eq!((sent.len(), times(&sent)), (PEOPLE + 1, 2));
    assert!(stage.target.holds(ONE, "second"));
    let record = stage.record(ONE);
    assert_eq!((record.status, record.seen), (PasswordStatus::Success, record.sent.map(|sent| sent.stamp)));
    assert_eq!(record.seen.unwrap().version, Some(2));
    assert_eq!(stage.after(2).await, [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_password_does_not_overtake_a_newer_one() {
    let stage = staffed();
    stage.source.change(ONE, Some("third"));
    let now = stage.source.told(ONE).changed.unwrap();
    let source = stage.source.clone();
    stage.source.goes_on(meanwhile(&stage, move || {
        // A controller that is behind tells of the time before.
        let hash = Some(Some(NtHash::of_password("first")));
        vec![PasswordChange { hash, version: Some(1), changed: Some(Timestamp(now.0 - 1)), ..source.told(ONE) }]
    }));
    let sent = stage.after(2).await;
    assert_eq!((sent.len(), times(&sent)), (PEOPLE, 1));
    assert!(stage.target.holds(ONE, "third"));
    assert_eq!(stage.record(ONE).seen.unwrap().version, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_password_told_twice_is_sent_once() {
    let stage = staffed();
    let source = stage.source.clone();
    stage.source.goes_on(meanwhile(&stage, move || vec![source.told(ONE)]));
    let sent = stage.after(2).await;
    assert_eq!((sent.len(), times(&sent)), (PEOPLE, 1));
    assert_eq!(stage.record(ONE).status, PasswordStatus::Success);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_temporary_password_told_meanwhile_is_not_forgotten_by_the_answer() {
    let stage = staffed();
    let source = stage.source.clone();
    stage.source.goes_on(meanwhile(&stage, move || {
        source.change(ONE, Some("second"));
        source.must_change(ONE, true);
        vec![source.told(ONE)]
    }));
    let sent = stage.after(2).await;
    assert_eq!(times(&sent), 1, "the tenant takes no temporary ones");
    let record = stage.record(ONE);
    assert_eq!((record.status, record.must_change), (PasswordStatus::FilteredByTarget, true));
    assert_eq!(record.seen.unwrap().version, Some(2), "the answer for the first does not take it back");
    assert_eq!(record.sent.unwrap().stamp.version, Some(1), "and what the tenant has is known");
    // From here on the directory tells of nothing but that it is temporary no longer.
    stage.source.must_change(ONE, false);
    assert_eq!(stage.after(2).await, [ONE]);
    assert!(stage.target.holds(ONE, "second"));
    assert_eq!(stage.record(ONE).status, PasswordStatus::Success);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_taken_away_meanwhile_stays_away() {
    let stage = staffed();
    let source = stage.source.clone();
    stage.source.goes_on(meanwhile(&stage, move || {
        source.change(ONE, None);
        vec![source.told(ONE)]
    }));
    stage.after(2).await;
    assert_eq!((stage.record(ONE).status, stage.record(ONE).next), (PasswordStatus::MissingAttribute, None));
    assert_eq!(stage.after(2).await, [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_meanwhile_it_counts_as_gone() {
    let stage = staffed();
    let source = stage.source.clone();
    stage.source.goes_on(meanwhile(&stage, move || vec![PasswordChange { deleted: true, hash: None, ..source.told(ONE) }]));
    stage.after(2).await;
    let record = stage.record(ONE);
    assert_eq!((record.status, record.routed, record.sent), (PasswordStatus::SourceConnectorNotPresent, false, None));
}

/// What a command does while the agent of the service has older passwords out goes behind them: sent beside them it would be
/// overtaken, and nobody would ask the directory for the newer one again.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_agent_waits_for_what_the_first_has_out() {
    for push in [false, true] {
        let stage = staffed();
        let (second, account) = (stage.second_agent(), stage.id(ONE));
        let work = async {
            if push {
                second.push(&stage.cx, account).await.map(drop)
            } else {
                second.cycle(&stage.cx, CycleKind::Changes).await.map(drop).map_err(PushError::Store)
            }
        };
        let (first, command) = tokio::join!(stage.cycle(), async {
            stage.target.called().await;
            stage.source.change(ONE, Some("second"));
            let mut work = Box::pin(work);
            let early = tokio::time::timeout(Duration::from_millis(200), &mut work).await;
            stage.target.hold(false);
            assert!(early.is_err(), "it ended before the answer that was out");
            work.await
        });
        command.expect("nothing keeps it from being sent");
        assert_eq!(first.pairs[0].domains[0].accepted, PEOPLE as u64);
        assert!(stage.target.holds(ONE, "second"), "push: {push}");
        let record = stage.record(ONE);
        assert_eq!((record.status, record.seen.unwrap().version), (PasswordStatus::Success, Some(2)));
        assert_eq!(stage.after(2).await, [] as [&str; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_can_be_told_to_stop() {
    let stage = staffed();
    let (second, account) = (stage.second_agent(), stage.id(ONE));
    let cx = Context { cancel: CancellationToken::new(), ..stage.cx.clone() };
    let (_, (report, pushed)) = tokio::join!(stage.cycle(), async {
        stage.target.called().await;
        let (report, pushed, ()) = tokio::join!(second.cycle(&cx, CycleKind::Changes), second.push(&cx, account), async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            cx.cancel.cancel();
        });
        stage.target.hold(false);
        (report, pushed)
    });
    assert_eq!(report.unwrap().pairs, []);
    assert!(matches!(pushed, Err(PushError::Source(_))), "{pushed:?}");
}
