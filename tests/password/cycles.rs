//! What the agent does in a cycle: who is sent, in which order, what ends up in the store, what survives a restart.

use crate::directory::Entry;
use crate::fakes::{Stage, accept, failure};
use crate::world::World;
use crate::{A, B, T, rules};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use syncline::connector::{ConnectorErrorKind, Credential, CredentialAnswer, CredentialErrorKind, PassedOver};
use syncline::model::{Anchor, CsObject, FlatBuilder, Lineage, Link, MvId, MvObject, RuleId, Timestamp, ValueRef, ValueState};
use syncline::password::agent::{CycleKind, PushError, request_full};
use syncline::store::{ChangeSet, PasswordStatus};
use tokio::sync::Notify;

#[tokio::test(flavor = "multi_thread")]
async fn a_new_account_gets_its_password_right_after_its_confirmation() {
    let mut stage = Stage::new();
    stage.hire("1", "DC=a");
    assert_eq!(stage.after(2).await, [] as [&str; 0], "nobody imported it");
    stage.world.import(A);
    stage.world.settle(&[A, B, T]);
    assert_eq!(stage.after(2).await, [] as [&str; 0], "nobody exported it");
    assert_eq!(stage.record("1").status, PasswordStatus::TargetNotExportedToDirectory);
    stage.world.export(T);
    assert_eq!(stage.after(2).await, [] as [&str; 0], "nobody confirmed it");
    stage.world.import(T);
    assert_eq!(stage.after(0).await, ["1"]);
    assert!(stage.target.holds("1", "first-1"));
    let record = stage.record("1");
    assert_eq!((record.status, record.next), (PasswordStatus::Success, None));
    assert_eq!(record.sent.unwrap().cloud_anchor, "t0001");
    assert_eq!(stage.after(2).await, [] as [&str; 0]);
    stage.source.change("1", Some("second"));
    assert_eq!(stage.after(2).await, ["1"]);
    assert!(stage.target.holds("1", "second"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_accounts_that_take_part_are_decrypted() {
    let mut stage = Stage::new();
    stage.hire("1", "DC=a");
    stage.hire("2", "DC=a");
    stage.set("2", "disabled", Some("yes"));
    stage.run();
    assert_eq!(stage.after(2).await, ["1"]);
    stage.source.change("1", Some("a"));
    stage.source.change("2", Some("b"));
    assert_eq!(stage.after(2).await, ["1"]);
    assert!(!stage.source.take_decrypted().contains(&"2".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn disabled_is_out_and_enabled_is_back_with_what_changed_meanwhile() {
    let mut stage = Stage::new();
    stage.hire("1", "DC=a");
    stage.run();
    assert_eq!(stage.after(2).await, ["1"]);
    stage.set("1", "disabled", Some("yes"));
    stage.run();
    stage.source.change("1", Some("while away"));
    assert_eq!(stage.after(2).await, [] as [&str; 0]);
    assert!(!stage.record("1").routed);
    stage.set("1", "disabled", None);
    stage.run();
    assert_eq!(stage.after(2).await, ["1"]);
    assert!(stage.target.holds("1", "while away"));

    // Out and back between two looks, with a change that the agent saw and passed over.
    stage.set("1", "disabled", Some("yes"));
    stage.run();
    stage.set("1", "disabled", None);
    stage.run();
    assert_eq!(stage.after(2).await, [] as [&str; 0], "nothing changed");
    assert_eq!(stage.record("1").status, PasswordStatus::Success);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_just_disabled_gets_no_password_before_the_next_cycle() {
    let mut stage = Stage::new();
    stage.hire("1", "DC=a");
    stage.set("1", "userAccountControl", Some("512"));
    stage.run();
    assert_eq!(stage.after(2).await, ["1"]);
    // The directory shuts the account and somebody resets its password; no cycle has read that.
    stage.source.disable("1", true);
    stage.source.change("1", Some("while shut"));
    assert_eq!(stage.after(2).await, [] as [&str; 0]);
    assert!(stage.target.holds("1", "first-1"));
    assert!(stage.record("1").detail.contains("disabled"), "{:?}", stage.record("1"));
    let refused = stage.agent.push(&stage.cx, stage.id("1")).await.unwrap_err();
    assert!(matches!(refused, PushError::Disabled), "{refused}");
    // Also a password that changes minutes later, when nothing tells of the flag any more.
    stage.source.change("1", Some("later"));
    assert_eq!(stage.after(2).await, [] as [&str; 0]);
    // Opened again before any cycle: the newest one goes.
    stage.source.disable("1", false);
    assert_eq!(stage.after(2).await, ["1"]);
    assert!(stage.target.holds("1", "later"));

    // With a cycle in between the rules decide.
    stage.source.disable("1", true);
    stage.source.change("1", Some("shut again"));
    assert_eq!(stage.after(2).await, [] as [&str; 0]);
    stage.set("1", "userAccountControl", Some("514"));
    stage.set("1", "disabled", Some("yes"));
    stage.run();
    assert_eq!(stage.after(2).await, [] as [&str; 0]);
    assert!(!stage.record("1").routed);
    stage.source.disable("1", false);
    stage.set("1", "userAccountControl", Some("512"));
    stage.set("1", "disabled", None);
    stage.run();
    assert_eq!(stage.after(2).await, ["1"]);
    assert!(stage.target.holds("1", "shut again"));
}

#[tokio::test(flavor = "multi_thread")]
async fn made_anew_in_the_target_or_under_another_domain_it_is_sent_again() {
    let mut stage = Stage::new();
    stage.hire("1", "DC=a");
    stage.run();
    assert_eq!(stage.after(2).await, ["1"]);
    stage.world.directory(T).clear();
    stage.run();
    stage.run();
    assert_eq!(stage.after(2).await, ["1"]);
    assert_eq!(stage.record("1").sent.unwrap().cloud_anchor, "t0002");

    stage.set("1", "userPrincipalName", Some("1@other.example"));
    stage.world.import(A);
    stage.world.settle(&[A, B, T]);
    assert_eq!(stage.after(2).await, [] as [&str; 0], "the name is on its way");
    stage.run();
    assert_eq!(stage.after(2).await, ["1"]);
    stage.set("1", "displayName", Some("another"));
    stage.run();
    assert_eq!(stage.after(2).await, [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn gone_from_its_directory_and_restored_it_is_sent_again() {
    let mut stage = Stage::new();
    stage.hire("1", "DC=a");
    stage.run();
    assert_eq!(stage.after(2).await, ["1"]);
    let entry = stage.world.directory(A).remove("1").unwrap();
    stage.run();
    assert_eq!(stage.after(2).await, [] as [&str; 0]);
    stage.world.put(A, "1", entry);
    stage.run();
    assert_eq!(stage.after(2).await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_wins_and_people_come_in_the_order_of_their_changes() {
    let mut stage = Stage::new();
    for name in ["1", "2", "3"] {
        stage.hire(name, "DC=a");
    }
    stage.run();
    stage.after(2).await;
    for name in ["3", "1", "2", "3"] {
        stage.clock.forward(1);
        stage.source.change(name, Some(&format!("new-{name}")));
    }
    stage.target.sent();
    stage.cycle().await;
    assert_eq!(stage.target.sent(), ["1", "2", "3"], "3 was changed once more at the end");
    assert!(stage.target.holds("3", "new-3"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_domain_that_is_down_holds_up_no_other_and_is_told_once() {
    let mut stage = Stage::with(World::new(rules), &["DC=a", "DC=b"], 7);
    stage.hire("1", "DC=a");
    stage.hire("2", "DC=b");
    stage.run();
    stage.source.down("DC=a", Some(ConnectorErrorKind::Permission));
    assert_eq!(stage.after(2).await, ["2"]);
    for _ in 0..5 {
        assert_eq!(stage.after(2).await, [] as [&str; 0]);
    }
    assert_eq!(stage.count(611), 1, "one event, no storm");
    stage.source.down("DC=a", None);
    assert_eq!(stage.after(2).await, ["1"]);
    assert_eq!(stage.count(7050), 1);
    assert_eq!(stage.after(2).await, [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_full_synchronization_nothing_is_read() {
    let mut stage = Stage::new();
    stage.hire("1", "DC=a");
    stage.run();
    stage.synchronized(false);
    for _ in 0..3 {
        assert_eq!(stage.after(2).await, [] as [&str; 0]);
    }
    assert_eq!(stage.heard(), [613]);
    assert_eq!(stage.source.pages.load(Ordering::SeqCst), 0);
    stage.synchronized(true);
    assert_eq!(stage.after(2).await, ["1"]);
    stage.synchronized(false);
    stage.source.change("1", Some("x"));
    assert_eq!(stage.after(2).await, ["1"], "changed rules do not take it back");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_staging_mode_nothing_leaves_and_nothing_is_lost() {
    let mut stage = Stage::new();
    stage.hire("1", "DC=a");
    stage.run();
    stage.after(2).await;
    stage.staging(true);
    stage.source.change("1", Some("new"));
    assert_eq!(stage.after(60).await, [] as [&str; 0]);
    let error = stage.agent.push(&stage.cx, stage.id("1")).await.unwrap_err();
    assert!(matches!(error, PushError::Staging));
    stage.staging(false);
    assert_eq!(stage.after(2).await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_feature_goes_off_and_on() {
    let mut stage = Stage::new();
    stage.hire("1", "DC=a");
    stage.run();
    stage.after(2).await;
    stage.heard();
    stage.target.answers(|_| Err(failure(CredentialErrorKind::SwitchedOff, Some(90), None)));
    stage.source.change("1", Some("new"));
    assert_eq!(stage.after(2).await, ["1"]);
    stage.change_feature(|features| features.password_hashes = false);
    for _ in 0..4 {
        assert_eq!(stage.after(2).await, [] as [&str; 0]);
    }
    assert_eq!(stage.heard(), [652, 660], "told once");
    stage.restart();
    assert_eq!(stage.after(2).await, [] as [&str; 0]);
    assert_eq!(stage.heard(), [] as [u32; 0], "nor by the next process");
    stage.target.answers(accept);
    stage.change_feature(|features| features.password_hashes = true);
    assert_eq!(stage.after(2).await, ["1"], "the cookie did not move past what was refused");
    assert_eq!(stage.heard(), [661]);

    stage.change_feature(|features| features.synchronization = false);
    stage.after(2).await;
    stage.after(2).await;
    assert_eq!(stage.heard(), [660]);
}

#[tokio::test(flavor = "multi_thread")]
async fn temporary_passwords_wait_for_the_person_or_for_the_feature() {
    let mut stage = Stage::new();
    for name in ["1", "2"] {
        stage.hire(name, "DC=a");
        stage.source.must_change(name, true);
    }
    stage.run();
    assert_eq!(stage.after(2).await, [] as [&str; 0]);
    assert_eq!((stage.record("1").status, stage.record("1").next), (PasswordStatus::FilteredByTarget, None));
    assert_eq!(stage.after(60).await.iter().filter(|name| !name.is_empty()).count(), 0, "no retry");
    stage.source.must_change("1", false);
    assert_eq!(stage.after(2).await, ["1"]);
    stage.change_feature(|features| features.force_change = true);
    assert_eq!(stage.after(2).await, ["2"]);
    assert!(stage.target.took.lock().unwrap()["2"].1, "with the mark");
    stage.source.must_change("2", false);
    assert_eq!(stage.after(2).await, ["2"]);
    assert!(!stage.target.took.lock().unwrap()["2"].1);
    assert!(stage.count(668) >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_password_there_is_nothing_to_send() {
    let mut stage = Stage::new();
    stage.hire("1", "DC=a");
    stage.run();
    stage.after(2).await;
    stage.source.change("1", None);
    assert_eq!(stage.after(2).await, [] as [&str; 0]);
    assert_eq!(stage.record("1").status, PasswordStatus::MissingAttribute);
    stage.source.change("1", Some("again"));
    assert_eq!(stage.after(2).await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_of_life_when_nothing_was_sent_for_half_an_hour() {
    let stage = Stage::new();
    stage.cycle().await;
    assert_eq!(stage.count(654), 1, "the first cycle shows that the way is open");
    for _ in 0..14 {
        stage.after(2).await;
    }
    assert_eq!(stage.count(654), 1);
    stage.after(2).await;
    assert_eq!((stage.count(653), stage.count(654)), (2, 2));
    stage.target.answers(|_| Err(failure(CredentialErrorKind::Later, None, None)));
    stage.after(30).await;
    stage.after(1).await;
    assert_eq!(stage.count(655), 1, "not again at once");
    stage.target.answers(accept);
    stage.after(4).await;
    assert_eq!(stage.count(654), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_in_the_middle_misses_nothing_and_repeats_nothing_without_need() {
    let mut stage = Stage::new();
    let names: Vec<String> = (0..400).map(|number| format!("{number:03}")).collect();
    for name in &names {
        stage.hire(name, "DC=a");
    }
    stage.run();
    let batches = Arc::new(AtomicUsize::new(0));
    let (count, cancel) = (batches.clone(), stage.cx.cancel.clone());
    stage.target.answers(move |batch| {
        if count.fetch_add(1, Ordering::SeqCst) == 3 {
            cancel.cancel();
        }
        accept(batch)
    });
    let first = stage.after(2).await;
    assert!(first.len() >= 200 && first.len() < 400, "{}", first.len());
    stage.restart();
    stage.target.answers(accept);
    let second = stage.after(2).await;
    let mut all: Vec<String> = first.iter().chain(&second).cloned().collect();
    all.sort();
    assert_eq!(all, names, "each exactly once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_to_stop_is_not_reported_as_done() {
    let mut stage = Stage::with(World::new(rules), &["DC=a", "DC=b"], 7);
    stage.hire("1", "DC=a");
    stage.hire("2", "DC=b");
    stage.run();
    let cancel = stage.cx.cancel.clone();
    stage.target.answers(move |batch| {
        cancel.cancel();
        accept(batch)
    });
    stage.clock.forward(2);
    let stopped = stage.cycle().await;
    let pair = &stopped.pairs[0];
    assert!(pair.error.as_ref().is_some_and(|error| error.contains("told to stop")), "DC=b was not come to: {stopped:?}");
    stage.restart();
    stage.target.answers(accept);
    stage.clock.forward(2);
    let whole = stage.cycle().await;
    let pair = &whole.pairs[0];
    assert!(pair.error.is_none() && pair.domains.len() == 2, "{whole:?}");
    assert!(pair.domains.iter().all(|domain| domain.error.is_none()), "{whole:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_synchronization_sends_everybody_once_and_survives_a_restart() {
    let mut stage = Stage::with(World::new(rules), &["DC=a", "DC=b"], 7);
    for name in ["1", "2", "3"] {
        stage.hire(name, "DC=a");
    }
    stage.hire("4", "DC=b");
    stage.run();
    assert_eq!(stage.after(2).await, ["1", "2", "3", "4"]);
    stage.heard();
    stage.source.cut_after("DC=b", Some(0));
    stage.clock.forward(1);
    stage.target.sent();
    stage.agent.cycle(&stage.cx, CycleKind::Full).await.unwrap();
    assert_eq!(stage.target.sent(), ["1", "2", "3"]);
    assert!(stage.heard().contains(&617));
    stage.restart();
    stage.source.cut_after("DC=b", None);
    assert_eq!(stage.after(2).await, ["4"], "what was done before stays done");
    let heard = stage.heard();
    assert!(heard.contains(&622) && heard.contains(&623), "{heard:?}");
    assert_eq!(stage.after(2).await, [] as [&str; 0]);
    request_full(&stage.world.store, A, Timestamp(i64::MAX / 2)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_cookie_costs_a_read_and_no_password() {
    let mut stage = Stage::new();
    stage.hire("1", "DC=a");
    stage.run();
    stage.after(2).await;
    stage.source.lose_cookie("DC=a");
    assert_eq!(stage.after(2).await, [] as [&str; 0]);
    assert_eq!(*stage.source.full_reads.lock().unwrap(), [true, true]);
    assert_eq!(stage.count(611), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_breaks_off_moves_no_cookie_and_loses_nothing() {
    let mut stage = Stage::new();
    for number in 0..20 {
        stage.hire(&format!("{number:02}"), "DC=a");
    }
    stage.run();
    stage.source.cut_after("DC=a", Some(2));
    assert_eq!(stage.after(2).await.len(), 14, "what came is sent");
    assert_eq!(stage.count(611), 1);
    stage.source.cut_after("DC=a", None);
    assert_eq!(stage.after(2).await.len(), 6, "and the rest afterwards, nothing twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_few_that_are_due_are_read_by_name_and_many_with_a_full_read() {
    let stage = Stage::with(World::new(rules), &["DC=a"], 500);
    fill(&stage, 1_200);
    stage.cycle().await;
    assert_eq!(stage.target.sent().len(), 1_200);
    let move_suffix = |from: usize, to: usize| {
        let mut changes = ChangeSet::new();
        for number in from..to {
            let mut target = stage.world.snapshot().cs_object(syncline::model::CsId::new(T, number as u64 + 1)).unwrap().unwrap();
            target.values = target_values(&stage, number, "moved.example");
            changes.cs_put.push(target);
        }
        stage.world.store.apply(changes).unwrap();
    };
    move_suffix(0, 30);
    assert_eq!(stage.after(2).await.len(), 30);
    assert_eq!(stage.source.take_asked().len(), 30);
    move_suffix(30, 700);
    assert_eq!(stage.after(2).await.len(), 670);
    assert_eq!(stage.source.take_asked().len(), 0);
    assert_eq!(*stage.source.full_reads.lock().unwrap(), [true, false, true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_account_is_sent_on_demand() {
    let mut stage = Stage::new();
    stage.hire("1", "DC=a");
    stage.hire("2", "DC=a");
    stage.set("2", "disabled", Some("yes"));
    stage.run();
    assert_eq!(stage.agent.push(&stage.cx, stage.id("1")).await.unwrap(), PasswordStatus::Success);
    assert_eq!(stage.agent.push(&stage.cx, stage.id("1")).await.unwrap(), PasswordStatus::Success, "again, since somebody asked");
    assert_eq!(stage.target.sent(), ["1", "1"]);
    assert!(matches!(stage.agent.push(&stage.cx, stage.id("2")).await, Err(PushError::NoRoute(_))));
    assert_eq!(stage.count(664), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loop_cycles_every_two_minutes_and_when_it_is_called() {
    let mut stage = Stage::new();
    stage.hire("1", "DC=a");
    stage.run();
    let wake = Notify::new();
    let reads = || stage.source.full_reads.lock().unwrap().len();
    let until = async |wanted: usize| {
        while reads() < wanted {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    let script = async {
        until(1).await;
        wake.notify_one();
        until(2).await;
        while stage.clock_sleepers() == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        stage.clock.forward(2);
        until(3).await;
        stage.cx.cancel.cancel();
    };
    tokio::join!(stage.agent.run(&stage.cx, &wake), script);
    assert_eq!(stage.target.sent().iter().filter(|name| !name.is_empty()).count(), 1);
    assert_eq!(stage.count(663), 0);
    assert_eq!((stage.count(601), stage.count(602), stage.count(609)), (1, 1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_parameters_of_the_rules_are_another_scope() {
    let mut stage = Stage::new();
    stage.hire("1", "DC=a");
    stage.hire("2", "DC=a");
    stage.set("2", "suspended", Some("CORP"));
    stage.run();
    assert_eq!(stage.after(2).await, ["1", "2"]);
    stage.with_parameter("Domain.Netbios", "CORP");
    assert_eq!(stage.after(2).await, [] as [&str; 0]);
    assert!(!stage.record("2").routed && stage.record("1").routed);
    stage.with_parameter("Domain.Netbios", "OTHER");
    assert_eq!(stage.after(2).await, ["2"], "nobody touched the account, and it is in scope again");
    stage.with_parameter("Domain.Netbios", "OTHER");
    assert_eq!(stage.after(2).await, [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_tells_no_deletes_loses_nothing() {
    let mut stage = Stage::new();
    for name in ["1", "2", "3"] {
        stage.hire(name, "DC=a");
    }
    stage.run();
    stage.target.answers(|batch| {
        let answer = |credential: &Credential| match credential.source_anchor.as_str() {
            "2" => CredentialAnswer::Refused { code: 9, detail: None },
            _ => CredentialAnswer::Accepted,
        };
        Ok(batch.iter().map(answer).collect())
    });
    assert_eq!(stage.after(2).await, ["1", "2", "3"]);
    // 1 was sent, 2 waits to be tried again; both are gone, and no import knows it yet.
    let mut entries = Vec::new();
    for name in ["1", "2"] {
        stage.source.forget(name);
        entries.push(stage.world.directory(A).remove(name).unwrap());
    }
    stage.source.change("3", Some("another"));
    assert_eq!(stage.after(5).await, ["3"], "nobody's password is sent for them");
    assert_eq!(stage.record("1").status, PasswordStatus::Success);
    assert_eq!(stage.record("2").status, PasswordStatus::SourceConnectorNotPresent);
    assert!(stage.record("2").next.is_some(), "it may be on its way there");
    stage.world.import(A);
    stage.after(2).await;
    for name in ["1", "2"] {
        let record = stage.record(name);
        assert_eq!((record.routed, record.next), (false, None), "{name}: the import closes it");
    }
    stage.source.take_asked();
    assert_eq!(stage.after(60).await.iter().filter(|name| !name.is_empty()).count(), 0);
    assert_eq!(stage.source.take_asked(), [] as [&str; 0], "and nobody asks for them any more");
    // Restored between two imports, or later: sent again.
    stage.target.answers(accept);
    for (name, entry) in ["1", "2"].into_iter().zip(entries) {
        stage.world.put(A, name, entry);
        stage.source.create("DC=a", name, &format!("CN={name},DC=a"), "restored");
    }
    stage.run();
    assert_eq!(stage.after(2).await, ["1", "2"]);
    assert!(stage.target.holds("1", "restored") && stage.target.holds("2", "restored"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_is_passed_over_is_told_once() {
    let mut stage = Stage::new();
    stage.hire("1", "DC=a");
    stage.run();
    let away = || Some(PassedOver { server: "dc0".to_owned(), reason: "connection refused".to_owned() });
    for (over, told) in [(None, 0), (away(), 1), (away(), 1), (None, 1), (away(), 2)] {
        *stage.source.passed_over.lock().unwrap() = over;
        stage.after(2).await;
        assert_eq!(stage.count(616), told);
    }
    let events = stage.ear.0.lock().unwrap();
    let told = events.iter().find(|event| event.number() == 616).unwrap().to_string();
    assert!(told.contains("dc0") && told.contains("dc1") && told.contains("connection refused"), "{told}");
}

/// The values of a target object.
fn target_values(stage: &Stage, number: usize, suffix: &str) -> syncline::model::FlatValues {
    let names = stage.world.store.names();
    let mut values = FlatBuilder::new();
    values.push(names.intern("sourceAnchor"), ValueRef::Text(&format!("{number:06}")), ValueState::BASE.0);
    values.push(names.intern("userPrincipalName"), ValueRef::Text(&format!("u{number}@{suffix}")), ValueState::BASE.0);
    values.finish()
}

/// Many people at once, everything confirmed; written by hand, since synchronizing them is not what is tested.
fn fill(stage: &Stage, people: usize) {
    let names = stage.world.store.names();
    let badge = names.intern("badge");
    let numbers: Vec<usize> = (0..people).collect();
    for part in numbers.chunks(5_000) {
        let mut changes = ChangeSet::new();
        for number in part {
            let name = format!("{number:06}");
            let (mv, sequence) = (MvId(*number as u64 + 1), *number as u64 + 1);
            let link = Link::Connected { mv, by: RuleId(1) };
            let mut account = CsObject::new(syncline::model::CsId::new(A, sequence), names.object_type("user"), format!("CN={name},DC=a"));
            (account.in_base, account.link) = (true, link);
            account.anchor = Some(Anchor::new(name.as_bytes()));
            let mut target =
                CsObject::new(syncline::model::CsId::new(T, sequence), names.object_type("user"), format!("CN={name},O=cloud"));
            (target.in_base, target.link) = (true, link);
            target.anchor = Some(Anchor::new(format!("User_{name}").into_bytes()));
            target.values = target_values(stage, *number, "a.example");
            let mut person = FlatBuilder::new();
            person.push(badge, ValueRef::Text(&name), 0);
            let lineage = vec![Lineage { attr: badge, rule: RuleId(1), source: account.id, since: Timestamp(1) }];
            changes.mv_put.push(MvObject { id: mv, object_type: names.object_type("person"), values: person.finish(), lineage });
            changes.cs_put.extend([account, target]);
            stage.source.create("DC=a", &name, &format!("CN={name},DC=a"), "p");
        }
        stage.world.store.apply(changes).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_accounts_stay_within_a_few_pages() {
    const PEOPLE: usize = 100_000;
    const PAGE: usize = 1_000;
    let stage = Stage::with(World::new(rules), &["DC=a"], PAGE);
    fill(&stage, PEOPLE);
    let (pages, answered, most) = (stage.source.pages.clone(), Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(0)));
    let (count, highest) = (answered.clone(), most.clone());
    stage.target.answers(move |batch| {
        let read = pages.load(Ordering::SeqCst) * PAGE;
        let held = read - count.fetch_add(batch.len(), Ordering::SeqCst);
        let mut highest = highest.lock().unwrap();
        *highest = held.max(*highest);
        accept(batch)
    });
    stage.cycle().await;
    assert_eq!(answered.load(Ordering::SeqCst), PEOPLE);
    let most = *most.lock().unwrap();
    assert!(most <= 4 * PAGE, "{most} accounts read and not yet sent");
    assert_eq!(stage.world.store.check().unwrap().problems, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loop_says_every_half_hour_that_it_is_at_work() {
    let mut stage = Stage::new();
    stage.hire("1", "DC=a");
    stage.run();
    stage.target.answers(|_| Err(failure(CredentialErrorKind::Later, None, None)));
    let (wake, mut minutes) = (Notify::new(), 0);
    let script = async {
        while stage.count(663) == 0 {
            assert!(minutes < 60, "nothing is told");
            while stage.clock_sleepers() == 0 {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            stage.clock.forward(2);
            minutes += 2;
            // Until the cycle that this begins is over.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        stage.cx.cancel.cancel();
    };
    tokio::join!(stage.agent.run(&stage.cx, &wake), script);
    assert!((30..=34).contains(&minutes), "{minutes}");
}

/// The second directory is none of the agent's: its people come without passwords.
#[tokio::test(flavor = "multi_thread")]
async fn who_comes_from_a_directory_that_takes_no_part_is_left_alone() {
    let mut stage = Stage::new();
    stage.world.put(B, "9", Entry::new("user", "CN=9,DC=b").with("badge", "9").with("displayName", "9"));
    stage.world.import(B);
    stage.run();
    assert_eq!(stage.after(2).await, [] as [&str; 0]);
}
