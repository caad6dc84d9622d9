//! What is known of a side counts no more while passwords of many are on their way: nothing goes on from it.

use crate::fakes::{Stage, accept};
use crate::{A, T};
use std::sync::atomic::{AtomicBool, Ordering};
use syncline::connector::CredentialAnswer;
use syncline::engine::belief::{Belief, Doubt};
use syncline::engine::clear::clear;
use syncline::model::{ConnectorId, Timestamp};
use syncline::password::agent::CycleKind;
use syncline::password::{Held, forget_target};
use syncline::store::ChangeSet;

/// More than what may be on its way at one time.
const PEOPLE: usize = 400;

fn hired(people: usize) -> Stage {
    let mut stage = Stage::new();
    for number in 0..people {
        stage.hire(&format!("{number:03}"), "DC=a");
    }
    stage.run();
    stage
}

/// Somebody forgets what is known of a side, once, while the first batches are answered; a target becomes another tenant.
fn forgotten_under_way(stage: &Stage, side: ConnectorId) {
    let (store, done) = (stage.world.store.clone(), AtomicBool::new(false));
    stage.target.answers(move |batch| {
        if !done.swap(true, Ordering::SeqCst) {
            if side == T {
                clear(&store, T, &[A, T], Doubt::AnotherTenant, Timestamp(9)).unwrap();
                forget_target(&store, &[A], T).unwrap();
            } else {
                let mut changes = ChangeSet::new();
                let snapshot = store.snapshot().unwrap();
                Belief::distrust(&snapshot, side, Doubt::Restored, &mut changes).unwrap();
                store.apply(changes).unwrap();
            }
        }
        accept(batch)
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenant_under_way_gets_nothing_and_nothing_is_noted_of_the_former_one() {
    let stage = hired(PEOPLE);
    forgotten_under_way(&stage, T);
    let report = stage.agent.cycle(&stage.cx, CycleKind::Full).await.unwrap();
    let sent = stage.target.sent().len();
    assert!(sent > 0 && sent < PEOPLE, "{sent} of {PEOPLE} were sent");
    assert_eq!(report.pairs[0].held, Some(Held::NotSynchronized), "{report:?}");
    let snapshot = stage.world.snapshot();
    let noted = snapshot.passwords(A, None, PEOPLE).unwrap();
    assert!(noted.iter().all(|(_, record)| record.sent.is_none()), "what the former one took says nothing of this one");
    assert!(snapshot.state_names(A).unwrap().iter().all(|name| !name.starts_with("password-cookie")), "nobody goes on from there");
    // It waits until the new one was read.
    assert_eq!((stage.cycle().await.pairs[0].held.clone(), stage.target.sent().len()), (Some(Held::NotSynchronized), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_doubted_under_way_stops_the_pass_too() {
    let stage = hired(PEOPLE);
    forgotten_under_way(&stage, A);
    let report = stage.agent.cycle(&stage.cx, CycleKind::Full).await.unwrap();
    let sent = stage.target.sent().len();
    assert!(sent > 0 && sent < PEOPLE, "{sent} of {PEOPLE} were sent");
    assert_eq!(report.pairs[0].held, Some(Held::NotSynchronized), "{report:?}");
}

/// No password goes before both sides were read again, in a round or for one account: the change that the store shows may be old.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_store_sends_no_password_of_one_account_either() {
    for side in [A, T] {
        let stage = hired(2);
        stage.cycle().await;
        stage.target.sent();
        let account = stage.id("000");
        let mut changes = ChangeSet::new();
        Belief::distrust(&stage.world.snapshot(), side, Doubt::Restored, &mut changes).unwrap();
        stage.world.store.apply(changes).unwrap();
        let refused = stage.agent.push(&stage.cx, account).await.map_err(|error| error.to_string());
        assert!(
            refused.as_ref().is_err_and(|error| error.contains("restored from a backup") && error.contains("cycle start")),
            "{refused:?}"
        );
        assert_eq!(stage.cycle().await.pairs[0].held, Some(Held::NotSynchronized));
        assert_eq!(stage.target.sent().len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_account_is_not_noted_for_another_tenant() {
    let stage = hired(1);
    forgotten_under_way(&stage, T);
    let account = stage.id("000");
    let outcome = stage.agent.push(&stage.cx, account).await;
    assert!(outcome.is_err_and(|error| error.to_string().contains("doubted meanwhile")));
    assert!(stage.world.snapshot().password(account).unwrap().is_none_or(|record| record.sent.is_none()));
    // Nor sent any more, when it is forgotten before.
    stage.target.sent();
    stage.target.answers(|batch| Ok(vec![CredentialAnswer::Accepted; batch.len()]));
    assert!(stage.agent.push(&stage.cx, account).await.is_err());
    assert_eq!(stage.target.sent().len(), 0);
}
