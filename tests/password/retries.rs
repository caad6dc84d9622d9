//! Every row of the table of retries (specification: sync engine 7.5).

use crate::fakes::{Stage, accept, failure};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use syncline::connector::{Credential, CredentialAnswer, CredentialErrorKind};
use syncline::events::{Event, PasswordEvent};
use syncline::password::agent::PushError;
use syncline::store::PasswordStatus;

fn staffed(people: usize) -> Stage {
    let mut stage = Stage::new();
    for number in 0..people {
        stage.hire(&format!("{number:03}"), "DC=a");
    }
    stage.run();
    stage
}

fn has(batch: &[Credential], name: &str) -> bool {
    batch.iter().any(|credential| credential.source_anchor == name)
}

/// Minutes to the next attempt.
fn wait(stage: &Stage, name: &str) -> i64 {
    use syncline::context::Clock as _;
    (stage.record(name).next.unwrap().0 - stage.clock.now().0) / 60_000_000
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_the_target_does_not_know_is_never_given_up() {
    let stage = staffed(1);
    stage.target.answers(|batch| Ok(batch.iter().map(|_| CredentialAnswer::Unknown).collect()));
    assert_eq!(stage.after(2).await, ["000"]);
    assert_eq!(stage.record("000").status, PasswordStatus::TargetNotExportedToDirectory);
    for _ in 0..12 {
        assert_eq!(stage.after(36).await.iter().filter(|name| *name == "000").count(), 1);
    }
    stage.target.answers(accept);
    assert_eq!(stage.after(36).await, ["000"]);
    assert_eq!(stage.record("000").status, PasswordStatus::Success);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_target_is_asked_again_when_it_said() {
    let stage = staffed(1);
    stage.target.answers(|_| Err(failure(CredentialErrorKind::Later, Some(81), Some(600))));
    assert_eq!(stage.after(2).await, ["000"]);
    let record = stage.record("000");
    assert_eq!((record.status, record.code, record.attempts), (PasswordStatus::RetryRequestedByTarget, Some(81), 1));
    assert_eq!(wait(&stage, "000"), 10);
    stage.target.answers(accept);
    assert_eq!(stage.after(9).await, [] as [&str; 0]);
    assert_eq!(stage.after(1).await, ["000"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_target_is_asked_after_2_4_8_16_and_30_minutes() {
    let stage = staffed(1);
    stage.target.answers(|batch| if batch.is_empty() { accept(batch) } else { Err(failure(CredentialErrorKind::Later, None, None)) });
    stage.after(2).await;
    for minutes in [2, 4, 8, 16, 30, 30, 30] {
        let next = wait(&stage, "000");
        assert!((minutes..=minutes + minutes / 5 + 1).contains(&next), "{next} for {minutes}");
        assert_eq!(stage.record("000").status, PasswordStatus::Unknown);
        let early = stage.after(minutes - 1).await;
        assert!(!early.contains(&"000".to_owned()));
        let attempts = stage.record("000").attempts;
        let mut late = Vec::new();
        while !late.contains(&"000".to_owned()) {
            late = stage.after(1).await;
        }
        assert_eq!(stage.record("000").attempts, attempts + 1);
    }
    assert_eq!(stage.source.full_reads.lock().unwrap().iter().filter(|full| **full).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_user_refused_is_the_only_one_tried_again_and_is_flagged() {
    let stage = staffed(60);
    stage.target.answers(|batch| {
        let answer = |credential: &Credential| match credential.source_anchor.as_str() {
            "017" => CredentialAnswer::Refused { code: 9, detail: Some("not this one".to_owned()) },
            _ => CredentialAnswer::Accepted,
        };
        Ok(batch.iter().map(answer).collect())
    });
    assert_eq!(stage.after(2).await.len(), 60);
    let record = stage.record("017");
    assert_eq!((record.status, record.code, record.detail.as_str()), (PasswordStatus::Error, Some(9), "not this one"));
    for _ in 0..6 {
        assert_eq!(stage.after(36).await.iter().filter(|name| !name.is_empty()).collect::<Vec<_>>(), ["017"]);
    }
    assert_eq!(stage.count(7051), 1, "told once");
    assert!(stage.record("017").attempts >= 7);
    stage.source.change("017", Some("better"));
    stage.target.answers(accept);
    assert_eq!(stage.after(2).await, ["017"], "news do not wait");
}

#[tokio::test(flavor = "multi_thread")]
async fn busy_on_three_batches_leaves_the_others_alone() {
    let stage = staffed(500);
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    stage.target.answers(move |batch| {
        if [2, 4, 6].contains(&count.fetch_add(1, Ordering::SeqCst)) {
            return Err(failure(CredentialErrorKind::Later, Some(81), Some(120)));
        }
        accept(batch)
    });
    assert_eq!(stage.after(2).await.len(), 500);
    assert_eq!(stage.target.took.lock().unwrap().len(), 350);
    stage.heard();
    assert_eq!(stage.after(2).await.len(), 150, "these and no others");
    assert_eq!(stage.target.took.lock().unwrap().len(), 500);
    assert_eq!(stage.heard(), [606]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_entry_is_isolated_by_halving() {
    let stage = staffed(50);
    stage.target.answers(|batch| if has(batch, "031") { Err(failure(CredentialErrorKind::Later, Some(500), None)) } else { accept(batch) });
    assert_eq!(stage.after(2).await.len(), 50);
    let mut minutes = 0;
    while stage.target.took.lock().unwrap().len() < 49 {
        stage.after(1).await;
        minutes += 1;
        assert!(minutes < 30, "three failures, then halves: {}", stage.target.took.lock().unwrap().len());
    }
    assert!(minutes >= 14, "{minutes}");
    assert_ne!(stage.record("031").status, PasswordStatus::Success);
    assert!(stage.record("031").next.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_gone_ends_the_pass_and_loses_nobody() {
    let stage = staffed(1_000);
    stage.target.answers(|_| Err(failure(CredentialErrorKind::Later, None, None)));
    let tried = stage.after(2).await.len();
    assert!((400..=900).contains(&tried), "{tried}");
    assert_eq!(stage.after(1).await, [] as [&str; 0], "the target is left alone for a while");
    stage.target.answers(accept);
    stage.after(4).await;
    for _ in 0..4 {
        stage.after(30).await;
    }
    assert_eq!(stage.target.took.lock().unwrap().len(), 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_cannot_be_read_is_tried_again() {
    let stage = staffed(2);
    stage.after(2).await;
    stage.source.change("001", Some("x"));
    stage.source.unreadable("001", true);
    assert_eq!(stage.after(2).await, [] as [&str; 0]);
    assert_eq!(stage.count(6900), 1);
    assert_eq!(stage.record("001").status, PasswordStatus::Error);
    assert_eq!(stage.after(3).await, ["001"], "by name it can be read");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_cannot_be_given_by_name_keeps_its_reason() {
    let stage = staffed(2);
    stage.after(2).await;
    stage.source.change("001", Some("x"));
    stage.source.unreadable("001", true);
    stage.after(2).await;
    let why = "the controller holds no secrets of it";
    stage.source.refused_by_name.lock().unwrap().insert("001".to_owned(), why.to_owned());
    for attempts in 2..4 {
        assert_eq!(stage.after(36).await.iter().filter(|name| *name == "001").count(), 0);
        let record = stage.record("001");
        assert_eq!((record.status, record.detail.as_str(), record.attempts), (PasswordStatus::Error, why, attempts));
        assert!(record.next.is_some());
    }
    assert!(matches!(stage.agent.push(&stage.cx, stage.id("001")).await, Err(PushError::Unreadable(reason)) if reason == why));
    stage.source.refused_by_name.lock().unwrap().clear();
    assert_eq!(stage.after(36).await.iter().filter(|name| *name == "001").count(), 1);
    assert_eq!(stage.record("001").status, PasswordStatus::Success);
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_were_taken_away_are_told_once() {
    let stage = staffed(1);
    stage.target.answers(|_| Err(failure(CredentialErrorKind::Denied, None, None)));
    for _ in 0..6 {
        stage.after(2).await;
    }
    assert_eq!(stage.count(115), 1);
    stage.target.answers(accept);
    stage.after(40).await;
    assert!(stage.target.holds("000", "first-000"));
}

/// Ten years.
const AHEAD: i64 = 10 * 365 * 24 * 60;

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_the_time_of_a_clock_that_was_ahead() {
    let stage = staffed(3);
    stage.clock.ahead(AHEAD);
    stage.target.answers(|batch| {
        let answer = |credential: &Credential| match credential.source_anchor.as_str() {
            "001" => CredentialAnswer::Refused { code: 9, detail: None },
            "002" => CredentialAnswer::Unknown,
            _ => CredentialAnswer::Accepted,
        };
        Ok(batch.iter().map(answer).collect())
    });
    assert_eq!(stage.after(2).await.len(), 3);
    stage.clock.ahead(0);
    assert_eq!(stage.after(2).await, ["001", "002"], "at once, and none that was sent");
    assert!((2..=40).contains(&wait(&stage, "001")), "tried in vain, it waits as ever");
    assert_eq!(stage.after(1).await, [] as [&str; 0]);
    stage.target.answers(accept);
    assert_eq!(stage.after(40).await, ["001", "002"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_synchronization_leaves_out_nobody_that_was_sent_under_a_clock_ahead() {
    let stage = staffed(3);
    stage.clock.ahead(AHEAD);
    assert_eq!(stage.after(2).await.len(), 3);
    stage.clock.ahead(0);
    stage.clock.forward(2);
    stage.target.sent();
    let full = stage.agent.cycle(&stage.cx, syncline::password::agent::CycleKind::Full).await.unwrap();
    assert_eq!((stage.target.sent().iter().filter(|name| !name.is_empty()).count(), full.pairs[0].domains[0].accepted), (3, 3));
    assert_eq!(stage.after(2).await.iter().filter(|name| !name.is_empty()).count(), 0, "once");
    // Asked for by a clock that is ahead, it is for everybody, too, and ends.
    stage.clock.ahead(AHEAD);
    stage.target.answers(|_| Err(failure(CredentialErrorKind::Later, None, None)));
    stage.agent.cycle(&stage.cx, syncline::password::agent::CycleKind::Full).await.unwrap();
    stage.clock.ahead(0);
    stage.target.answers(accept);
    let mut sent = Vec::new();
    for _ in 0..20 {
        sent.extend(stage.after(2).await.into_iter().filter(|name| !name.is_empty()));
    }
    sent.sort();
    assert_eq!(sent, ["000", "001", "002"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn signs_of_life_and_holds_do_not_wait_for_a_clock_that_was_ahead() {
    let stage = staffed(1);
    stage.clock.ahead(AHEAD);
    stage.after(2).await;
    stage.after(31).await;
    stage.clock.ahead(0);
    let signs = async |minutes: i64| {
        stage.ear.0.lock().unwrap().clear();
        stage.after(minutes).await;
        let told = stage.ear.0.lock().unwrap();
        told.iter().filter(|event| matches!(event, Event::Password(PasswordEvent::PingEnd { .. }))).count()
    };
    assert_eq!(signs(2).await, 1, "when the last one was nobody knows");
    assert_eq!(signs(2).await, 0, "and no second one");
    assert_eq!(signs(30).await, 1);
    // A target that does not answer is left alone for some minutes of the time that passes.
    stage.clock.ahead(AHEAD);
    *stage.target.features.lock().unwrap() = Err(syncline::connector::ConnectorErrorKind::Connection);
    stage.source.change("000", Some("new"));
    stage.after(2).await;
    *stage.target.features.lock().unwrap() = Ok(syncline::connector::PasswordFeatures {
        synchronization: true,
        password_hashes: true,
        ..syncline::connector::PasswordFeatures::default()
    });
    stage.clock.ahead(0);
    assert!(stage.after(5).await.contains(&"000".to_owned()));
}
