//! Exports scene by scene: what is sent, in which order and in which pieces, and what is remembered of every kind of
//! answer.

use crate::script::{Answer, Scene, Sent, Wish, accept_all, id, keyed, reject_all};
use std::collections::{BTreeMap, BTreeSet};
use syncline::connector::{ConnectorError, ConnectorErrorKind, ExportKind, ExportOutcome, ExportTerms};
use syncline::engine::EngineError;
use syncline::engine::export::{DeleteSet, DeletesWait, ExportLimits, HeldDeletes, plan_export};
use syncline::events::Event;
use syncline::model::{DeltaKind, ErrorSide, Link, MvId, ObjectErrorCode, RuleId, Stage};
use syncline::store::ChangeSet;

fn lines(sent: &[Sent]) -> Vec<String> {
    sent.iter().map(|sent| format!("{:?} {}", sent.kind, sent.dn)).collect()
}

#[test]
fn parents_and_targets_come_first_and_children_go_first() {
    let scene = Scene::new();
    // The numbers run against the order that is needed.
    scene.put(1, Wish::add("CN=Team,OU=New").reference("member", 2));
    scene.put(2, Wish::add("CN=Ada,OU=New").value("title", "Lead"));
    scene.put(3, Wish::add("OU=New"));
    scene.put(4, Wish::change("CN=Old").value("title", "Clerk"));
    scene.put(5, Wish::delete("OU=Gone"));
    scene.put(6, Wish::delete("CN=Ghost,OU=Gone"));
    scene.export().unwrap();
    assert_eq!(
        lines(&scene.sent()),
        ["Add OU=New", "Add CN=Ada,OU=New", "Add CN=Team,OU=New", "Update CN=Old", "Delete CN=Ghost,OU=Gone", "Delete OU=Gone"]
    );
    assert_eq!(scene.counters(), keyed(&[("export-add", 3), ("export-update", 1), ("export-delete", 2)]));
    assert!(scene.queue(Stage::PendingExport).is_empty() && scene.queue(Stage::InProgress).is_empty());
    assert_eq!(scene.queue(Stage::Unconfirmed).len(), 6, "only an import confirms");
}

#[test]
fn two_that_refer_to_each_other_arrive_both_and_count_once() {
    let scene = Scene::new();
    scene.put(1, Wish::add("CN=a").reference("manager", 2));
    scene.put(2, Wish::add("CN=b").reference("manager", 1));
    scene.export().unwrap();
    let sent = scene.sent();
    let of = |kind| sent.iter().filter(|sent| sent.kind == kind).count();
    assert_eq!((of(ExportKind::Add), of(ExportKind::Update)), (2, 1), "{sent:?}");
    let references: BTreeSet<(String, String)> =
        sent.iter().flat_map(|sent| sent.added.iter().map(|(_, target)| (sent.dn.clone(), target.clone()))).collect();
    assert_eq!(references, BTreeSet::from([("CN=a".into(), "CN=b".into()), ("CN=b".into(), "CN=a".into())]));
    assert_eq!(scene.counters(), keyed(&[("export-add", 2)]));
}

#[test]
fn a_reference_to_what_is_not_there_waits() {
    let scene = Scene::new();
    scene.put(1, Wish::add("CN=a").reference("manager", 2));
    scene.put(2, Wish::add("CN=b"));
    scene.script.answer(|batch| Ok(reject_all(batch, ObjectErrorCode::CD_ERROR, |dn| dn == "CN=b")));
    scene.script.answer(|batch| Ok(reject_all(batch, ObjectErrorCode::CD_ERROR, |dn| dn == "CN=b")));
    assert_eq!(scene.export().unwrap().0, "completed-export-errors");
    assert!(scene.sent().iter().all(|sent| sent.added.is_empty()), "nobody is sent a name that does not exist");
    assert_eq!(scene.queue(Stage::PendingExport), [1, 2]);
    scene.export().unwrap();
    let sent = scene.sent();
    assert_eq!(lines(&sent), ["Add CN=b", "Update CN=a"]);
    assert_eq!(sent[1].added, [("manager".to_owned(), "CN=b".to_owned())]);
}

#[test]
fn a_reference_to_somebody_who_is_gone_is_not_sent() {
    let scene = Scene::new();
    scene.put(1, Wish::there("CN=group").refers("member", 2));
    scene.put(2, Wish::there("CN=gone"));
    scene.store.apply(ChangeSet { cs_delete: vec![id(2)], ..ChangeSet::new() }).unwrap();
    assert!(scene.object(2).anchor.is_some(), "what stands for it knows its key");
    scene.put(1, Wish::change("CN=group").value("mail", "group@x").reference("owner", 2));
    scene.script.always(|batch| Ok(accept_all(batch, |_| None)));
    scene.export().unwrap();
    assert!(scene.sent().iter().all(|sent| sent.added.is_empty()), "the target does not know it");
}

#[test]
fn lesson_24_too_many_deletes_stop_everything_before_the_first_call() {
    let mut scene = Scene::new();
    for number in 1..=6 {
        scene.put(number, Wish::delete(&format!("CN=u{number}")));
    }
    scene.put(7, Wish::add("CN=new"));
    scene.options.limits.set(ExportLimits { deletes_max: Some(5), ..ExportLimits::default() });
    let stopped = |scene: &Scene, limit: u64| {
        let error = scene.export().unwrap_err();
        assert_eq!(error.result(), "stopped-deletion-threshold-exceeded");
        assert!(scene.sent().is_empty(), "nothing was sent, adds neither");
        assert_eq!(scene.events(), [Event::DeletionThreshold { connector: "T".to_owned(), pending: 6, limit }]);
        assert_eq!(scene.queue(Stage::PendingExport).len(), 7);
        assert!(scene.queue(Stage::InProgress).is_empty());
    };
    stopped(&scene, 5);
    let summary =
        plan_export(&scene.snapshot(), scene.store.names(), scene.options.connector, None, 0, &HeldDeletes::default()).unwrap().summary;
    let waiting = summary.delete_set();
    assert_eq!((waiting.count, waiting.to_string().parse()), (6, Ok(waiting)));
    scene.options.allow_deletes = Some(DeleteSet { count: 7, ..waiting });
    stopped(&scene, 5);
    scene.options.allow_deletes = Some(DeleteSet { fingerprint: waiting.fingerprint ^ 1, ..waiting });
    stopped(&scene, 5);
    // The target's own terms count when they are stricter.
    scene.options.allow_deletes = None;
    scene.options.limits.set(ExportLimits { deletes_max: Some(100), ..ExportLimits::default() });
    scene.script.terms(ExportTerms { deletes_max: Some(2), ..ExportTerms::default() });
    stopped(&scene, 2);
    scene.script.terms(ExportTerms { delete_percent_max: Some(50), ..ExportTerms::default() });
    stopped(&scene, 3);
    scene.options.allow_deletes = Some(waiting);
    scene.export().unwrap();
    assert_eq!(scene.counters(), keyed(&[("export-add", 1), ("export-delete", 6)]));
}

#[test]
fn deletes_that_are_held_wait_and_the_rest_goes() {
    let mut scene = Scene::new();
    scene.put(1, Wish::delete("CN=leaver"));
    scene.put(2, Wish::add("CN=new"));
    scene.options.deletes_wait = Some(DeletesWait { reason: "A could not be read in this cycle".to_owned(), by_hand: true });
    assert_eq!(scene.export().unwrap().0, "completed-warnings");
    assert_eq!(lines(&scene.sent()), ["Add CN=new"]);
    assert_eq!(scene.queue(Stage::PendingExport), [1]);
    scene.options.deletes_wait = None;
    assert_eq!(scene.export().unwrap().0, "success");
    assert_eq!(lines(&scene.sent()), ["Delete CN=leaver"]);
}

#[test]
fn what_an_export_reads_hangs_on_what_changed_and_not_on_what_exists() {
    let rows_read = |others: u64| {
        let scene = Scene::new();
        scene.put(1, Wish::change("CN=a").value("title", "Lead"));
        scene.put(2, Wish::delete("CN=b"));
        for number in 3..3 + others {
            scene.put(number, Wish::there(&format!("CN=u{number}")));
        }
        let before = scene.store.io_counts().rows_read;
        scene.export().unwrap();
        scene.store.io_counts().rows_read - before
    };
    assert_eq!(rows_read(10), rows_read(400));
}

#[test]
fn exactly_as_many_deletes_as_allowed_go() {
    let scene = Scene::new();
    for number in 1..=5 {
        scene.put(number, Wish::delete(&format!("CN=u{number}")));
    }
    scene.options.limits.set(ExportLimits { deletes_max: Some(5), ..ExportLimits::default() });
    scene.export().unwrap();
    assert_eq!(scene.counters(), keyed(&[("export-delete", 5)]));
}

#[test]
fn what_has_no_answer_is_decided_by_an_import() {
    let scene = Scene::new();
    scene.put(1, Wish::add("CN=arrived").value("title", "One"));
    scene.put(2, Wish::add("CN=lost").value("title", "Two"));
    scene.script.answer(|_| Err(ConnectorError::new(ConnectorErrorKind::Dropped, "cut off")));
    let error = scene.export().unwrap_err();
    assert_eq!(error.result(), "stopped-connectivity");
    assert_eq!((scene.queue(Stage::InProgress), scene.queue(Stage::PendingExport)), (vec![1, 2], vec![]));
    assert_eq!(scene.counters(), BTreeMap::new(), "neither success nor failure");
    let sent = scene.sent().len();
    scene.export().unwrap();
    assert_eq!((sent, scene.sent().len()), (2, 0), "nothing is sent again on a guess");

    scene.import(&[("CN=arrived", "k1", &[("title", "One")])]);
    assert_eq!((scene.queue(Stage::InProgress), scene.queue(Stage::PendingExport)), (vec![], vec![2]));
    let arrived = scene.object(1);
    assert_eq!(
        (arrived.anchor.map(|anchor| anchor.as_bytes().to_vec()), arrived.dn.to_string()),
        (Some(b"k1".to_vec()), "CN=arrived".into())
    );
    assert!(scene.error(2, ErrorSide::Import).is_none(), "the target never said that it took it");
    scene.export().unwrap();
    let sent = scene.sent();
    assert_eq!(lines(&sent), ["Add CN=lost"]);
    assert_eq!(sent[0].values, keyed_text(&[("title", "Two")]));
}

#[test]
fn lesson_17_a_lost_change_is_sent_again_and_one_that_arrived_is_not() {
    let scene = Scene::new();
    scene.put(1, Wish::change("CN=a").shows("title", "Old").replace("title", "Old", "New"));
    scene.put(2, Wish::change("CN=b").shows("title", "Old").replace("title", "Old", "New"));
    scene.script.answer(|_| Err(ConnectorError::new(ConnectorErrorKind::Dropped, "cut off")));
    scene.export().unwrap_err();
    scene.import(&[("CN=a", "key 1", &[("title", "New")]), ("CN=b", "key 2", &[("title", "Old")])]);
    assert_eq!((scene.queue(Stage::InProgress), scene.queue(Stage::PendingExport)), (vec![], vec![2]));
    scene.sent();
    scene.export().unwrap();
    let sent = scene.sent();
    assert_eq!((lines(&sent), &sent[0].values), (vec!["Update CN=b".to_owned()], &keyed_text(&[("title", "New")])));
}

#[test]
fn a_lost_delete_is_decided_by_an_import() {
    let scene = Scene::new();
    scene.put(1, Wish::delete("CN=gone"));
    scene.put(2, Wish::delete("CN=still here"));
    scene.put(3, Wish::there("CN=stays"));
    scene.script.answer(|_| Err(ConnectorError::new(ConnectorErrorKind::Dropped, "cut off")));
    scene.export().unwrap_err();
    scene.import(&[("CN=still here", "key 2", &[]), ("CN=stays", "key 3", &[])]);
    assert_eq!((scene.queue(Stage::InProgress), scene.queue(Stage::PendingExport)), (vec![], vec![2]));
    assert_eq!(scene.object(1).stage(Stage::PendingImport).kind, DeltaKind::Delete);
}

#[test]
fn a_call_that_changed_nothing_is_called_back() {
    let scene = Scene::new();
    scene.put(1, Wish::add("CN=a").value("title", "One").reference("manager", 3));
    scene.put(2, Wish::delete("CN=b"));
    scene.put(3, Wish::there("CN=boss"));
    scene.script.answer(|_| Err(ConnectorError::new(ConnectorErrorKind::Busy, "busy").unsent()));
    scene.export().unwrap_err();
    assert_eq!((scene.queue(Stage::InProgress), scene.queue(Stage::PendingExport)), (vec![], vec![1, 2]));
    assert_eq!(lines(&scene.sent()), ["Add CN=a"], "the step ends with the first call that failed");
    scene.export().unwrap();
    let sent = scene.sent();
    assert_eq!(lines(&sent), ["Add CN=a", "Delete CN=b"]);
    assert_eq!((&sent[0].values, sent[0].added.len()), (&keyed_text(&[("title", "One")]), 1));
}

#[test]
fn a_batch_that_ends_early_keeps_apart_what_was_answered_and_what_was_not_sent() {
    let mut scene = Scene::new();
    scene.capabilities.batch_objects = 4;
    scene.capabilities.batches_in_flight = 1;
    for number in 1..=6 {
        scene.put(number, Wish::add(&format!("CN=u{number}")));
    }
    scene.script.answer(|batch| {
        let outcomes = [
            ExportOutcome::Accepted { anchor: None },
            ExportOutcome::Rejected(crate::script::rejection(ObjectErrorCode::LARGE_OBJECT)),
            ExportOutcome::Unknown,
            ExportOutcome::Unsent,
        ];
        let outcomes = batch.operations.iter().map(|operation| operation.id).zip(outcomes);
        let error = ConnectorError::new(ConnectorErrorKind::Cancelled, "stopped");
        Ok(syncline::connector::ExportReply::new(batch, outcomes).ended_by(error))
    });
    assert_eq!(scene.export().unwrap_err().result(), "stopped-user");
    assert_eq!(
        (scene.queue(Stage::Unconfirmed), scene.queue(Stage::InProgress), scene.queue(Stage::PendingExport)),
        (vec![1], vec![3], vec![2, 4, 5, 6])
    );
    assert_eq!(scene.counters(), keyed(&[("export-add", 1), ("export-failure", 1)]));
    assert!(scene.error(4, ErrorSide::Export).is_none(), "nothing happened to it");
}

#[test]
fn a_connector_that_breaks_off_leaves_everything_undecided() {
    let scene = Scene::new();
    scene.put(1, Wish::add("CN=a"));
    scene.script.answer(|_| panic!("a connector's mistake"));
    assert_eq!(scene.export().unwrap_err().result(), "stopped-connectivity");
    assert_eq!((scene.queue(Stage::InProgress), scene.queue(Stage::PendingExport)), (vec![1], vec![]));
}

#[test]
fn a_refusal_stays_pending_is_counted_and_heals() {
    let scene = Scene::new();
    scene.put(1, Wish::add("CN=a").value("title", "One"));
    scene.put(2, Wish::change("CN=b").value("title", "Two"));
    for expected in 0..2 {
        let refuse: fn(&str) -> bool = |dn| dn == "CN=a";
        scene.script.answer(move |batch| Ok(reject_all(batch, ObjectErrorCode::DATA_VALIDATION_FAILED, refuse)));
        assert_eq!(scene.export().unwrap().0, "completed-export-errors");
        let error = scene.error(1, ErrorSide::Export).unwrap();
        assert_eq!((error.code, error.retry_count), (ObjectErrorCode::DATA_VALIDATION_FAILED, expected));
        assert!(error.detail.contains("CN=other") && error.detail.contains("mail"), "{}", error.detail);
        assert_eq!(scene.queue(Stage::PendingExport), [1]);
        assert_eq!(scene.counters().get("export-failure"), Some(&1));
    }
    assert_eq!(scene.export().unwrap().0, "success");
    assert!(scene.error(1, ErrorSide::Export).is_none() && scene.queue(Stage::PendingExport).is_empty());
    assert_eq!(lines(&scene.sent()), ["Add CN=a", "Update CN=b", "Add CN=a", "Add CN=a"]);
}

#[test]
fn counters_add_up_to_what_was_answered() {
    let scene = Scene::new();
    for number in 1..=9 {
        scene.put(number, Wish::add(&format!("CN=u{number}")));
    }
    scene.script.answer(|batch| {
        let outcomes = batch.operations.iter().enumerate().map(|(index, operation)| {
            let rejected = crate::script::rejection(ObjectErrorCode::CD_ERROR);
            let outcome = match index % 3 {
                0 => ExportOutcome::Accepted { anchor: None },
                1 => ExportOutcome::Rejected(rejected),
                _ => ExportOutcome::Unknown,
            };
            (operation.id, outcome)
        });
        Ok(syncline::connector::ExportReply::new(batch, outcomes))
    });
    let (result, outcome) = scene.export().unwrap();
    assert_eq!((result, outcome.sent, outcome.refused, outcome.unknown), ("completed-export-errors", 6, 3, 3));
    assert_eq!(scene.counters(), keyed(&[("export-add", 3), ("export-failure", 3)]));
}

/// A row that was imported before, and one of ours that the target says is the same.
fn soft_matched(theirs: Wish) -> Scene {
    let scene = Scene::new();
    scene.put(1, theirs);
    scene.put(2, Wish::add("CN=ours").value("title", "Ours").linked(7));
    scene.put(3, Wish::add("CN=team").reference("member", 2));
    scene.script.answer(|batch| Ok(accept_all(batch, |_| Some("key 1".to_owned()))));
    scene
}

#[test]
fn what_the_target_matches_becomes_one() {
    let scene = soft_matched(Wish::there("CN=theirs").shows("mail", "a@x").shows("title", "Theirs"));
    scene.export().unwrap();
    assert!(scene.snapshot().cs_object(id(2)).unwrap().is_none(), "two rows became one");
    let merged = scene.object(1);
    assert_eq!(merged.link, Link::Connected { mv: MvId(7), by: RuleId(1) });
    assert_eq!((merged.stage(Stage::Unconfirmed).kind, merged.stage(Stage::PendingExport).kind), (DeltaKind::Update, DeltaKind::None));
    assert_eq!(scene.values(1, "title"), ["Ours"], "what we sent has taken its place: it was no change by others");
    assert_eq!(scene.values(1, "mail"), ["a@x"], "what it had before stays");
    assert_eq!(scene.targets(3, "member"), [1], "whoever referred to ours refers to the one that stays");
    assert_eq!(scene.counters(), keyed(&[("export-add", 2)]));
}

#[test]
fn what_belongs_to_somebody_else_is_not_taken() {
    let scene = soft_matched(Wish::there("CN=theirs").linked(8));
    assert_eq!(scene.export().unwrap().0, "completed-export-errors");
    let error = scene.error(2, ErrorSide::Export).unwrap();
    assert_eq!(error.code, ObjectErrorCode::DUPLICATE_ANCHOR);
    assert!(error.detail.contains("CN=ours") && error.detail.contains("CN=theirs"), "{}", error.detail);
    assert_eq!(scene.object(2).stage(Stage::PendingExport).kind, DeltaKind::Add);
    assert_eq!(scene.object(1).link.mv(), Some(MvId(8)));
}

/// A group of many members, as the test wants it to begin.
fn large(scene: &Scene, members: u64, group: Wish) {
    for number in 1..=members {
        scene.put(number, Wish::there(&format!("CN=u{number:03}")));
    }
    scene.put(members + 1, (1..=members).fold(group, |group, number| group.reference("member", number)));
}

#[test]
fn more_members_than_a_batch_takes_go_in_pieces() {
    let mut scene = Scene::new();
    scene.capabilities.batch_references = 10;
    large(&scene, 35, Wish::add("CN=everybody").value("title", "All"));
    scene.export().unwrap();
    let sent = scene.sent();
    let pieces: Vec<(ExportKind, usize)> = sent.iter().map(|sent| (sent.kind, sent.added.len())).collect();
    let update = ExportKind::Update;
    assert_eq!(pieces, [(ExportKind::Add, 10), (update, 10), (update, 10), (update, 5)]);
    assert!(sent[1..].iter().all(|sent| !sent.replace && sent.values.is_empty()), "a piece adds, and says nothing else: {sent:?}");
    let named: BTreeSet<&str> = sent.iter().flat_map(|sent| &sent.added).map(|(_, target)| target.as_str()).collect();
    assert_eq!(named.len(), 35, "each once");
    assert_eq!(scene.counters(), keyed(&[("export-add", 1)]), "one object, however many pieces");
    assert!(scene.queue(Stage::PendingExport).is_empty());
    assert_eq!(scene.targets(36, "member").len(), 35);
}

#[test]
fn a_piece_that_gets_lost_stops_the_pieces_behind_it() {
    let mut scene = Scene::new();
    scene.capabilities.batch_references = 10;
    large(&scene, 25, Wish::change("CN=everybody"));
    scene.script.answer(|batch| Ok(accept_all(batch, |_| None)));
    scene.script.answer(|_| Err(ConnectorError::new(ConnectorErrorKind::Dropped, "cut off")));
    scene.export().unwrap_err();
    assert_eq!(scene.sent().len(), 2);
    let group = scene.object(26);
    let kinds = [Stage::Unconfirmed, Stage::InProgress, Stage::PendingExport].map(|stage| group.stage(stage).kind);
    assert_eq!(kinds, [DeltaKind::Update; 3], "ten acknowledged, ten unknown, five waiting");
    let states = scene.reference_stages(26);
    let counted = |stage: Stage| states.iter().filter(|state| state.added(stage)).count();
    assert_eq!([Stage::Unconfirmed, Stage::InProgress, Stage::PendingExport].map(counted), [10, 10, 5]);
}

#[test]
fn a_target_without_reference_deltas_gets_the_whole_list() {
    let mut scene = Scene::new();
    scene.capabilities.batch_references = 10;
    scene.capabilities.reference_deltas = false;
    large(&scene, 25, Wish::change("CN=everybody"));
    scene.export().unwrap();
    let sent = scene.sent();
    assert_eq!((sent.len(), sent[0].added.len(), sent[0].replace), (1, 25, true));
}

#[test]
fn a_removed_member_is_one_removal() {
    let scene = Scene::new();
    scene.put(1, Wish::there("CN=a"));
    scene.put(2, Wish::there("CN=b"));
    scene.put(3, Wish::change("CN=team").refers("member", 1).unreference("member", 2));
    scene.export().unwrap();
    let sent = scene.sent();
    assert_eq!((&sent[0].added, &sent[0].removed), (&vec![], &vec![("member".to_owned(), "CN=b".to_owned())]));
}

#[test]
fn after_a_rename_the_new_name_is_used() {
    let mut scene = Scene::new();
    scene.capabilities.batch_references = 10;
    scene.capabilities.batch_objects = 1;
    scene.capabilities.batches_in_flight = 1;
    large(&scene, 15, Wish::change("CN=before").rename("CN=after"));
    // Others refer to the renamed one, or do so no longer.
    scene.put(17, Wish::change("CN=holder").reference("member", 16));
    scene.put(18, Wish::change("CN=leaver").value("title", "x").unreference("member", 16));
    scene.put(19, Wish::add("CN=newcomer").reference("member", 16));
    scene.export().unwrap();
    let sent = scene.sent();
    let moved = sent.iter().position(|sent| sent.rename.is_some()).unwrap();
    assert_eq!((sent[moved].dn.as_str(), sent[moved].rename.as_deref()), ("CN=before", Some("CN=after")));
    let rest: Vec<&Sent> = sent.iter().filter(|sent| sent.dn == "CN=after").collect();
    assert_eq!((rest.len(), rest[0].rename.as_deref(), rest[0].added.len()), (1, None, 5));
    let after = ("member".to_owned(), "CN=after".to_owned());
    let told = |of: fn(&Sent) -> &Vec<(String, String)>, dn: &str| -> Vec<(usize, (String, String))> {
        let of_dn = sent.iter().enumerate().filter(|(_, sent)| sent.dn == dn);
        of_dn.flat_map(|(at, sent)| of(sent).iter().map(move |pair| (at, pair.clone()))).collect()
    };
    for (names, dn) in [
        (told(|sent| &sent.added, "CN=holder"), "CN=holder"),
        (told(|sent| &sent.removed, "CN=leaver"), "CN=leaver"),
        (told(|sent| &sent.added, "CN=newcomer"), "CN=newcomer"),
    ] {
        assert_eq!(names.len(), 1, "{dn}: {sent:#?}");
        assert!(names[0].0 > moved && names[0].1 == after, "{dn} names it only when it is sure of its name: {names:?}");
    }
    assert!(scene.queue(Stage::PendingExport).is_empty());
    assert_eq!(scene.counters(), keyed(&[("export-add", 1), ("export-rename", 1), ("export-update", 2)]));
}

#[test]
fn a_name_that_nobody_knows_is_not_sent() {
    let scene = Scene::new();
    scene.put(1, Wish::change("CN=before").rename("CN=after"));
    scene.put(2, Wish::change("CN=holder").reference("member", 1));
    scene.script.answer(|batch| Ok(syncline::connector::ExportReply::new(batch, [])));
    assert_eq!(scene.export().unwrap().0, "completed-warnings");
    assert!(scene.sent().iter().all(|sent| sent.added.is_empty()));
    assert_eq!((scene.queue(Stage::InProgress), scene.queue(Stage::PendingExport)), (vec![1], vec![2]));
    scene.import(&[("CN=after", "key 1", &[]), ("CN=holder", "key 2", &[])]);
    scene.export().unwrap();
    let sent = scene.sent();
    assert_eq!((lines(&sent), &sent[0].added[0].1), (vec!["Update CN=holder".to_owned()], &"CN=after".to_owned()));
}

#[test]
fn a_refused_rename_leaves_the_old_name_in_use() {
    let scene = Scene::new();
    scene.put(1, Wish::change("CN=before").rename("CN=after"));
    scene.put(2, Wish::change("CN=holder").reference("member", 1));
    scene.script.always(|batch| Ok(reject_all(batch, ObjectErrorCode::CD_ERROR, |dn| dn == "CN=before")));
    scene.export().unwrap();
    let sent = scene.sent();
    assert_eq!(sent.last().unwrap().added, [("member".to_owned(), "CN=before".to_owned())]);
    assert_eq!(scene.queue(Stage::PendingExport), [1]);
}

#[test]
fn a_whole_list_waits_for_its_last_name() {
    let mut scene = Scene::new();
    scene.capabilities.reference_deltas = false;
    scene.put(1, Wish::change("CN=before").rename("CN=after"));
    scene.put(2, Wish::there("CN=b"));
    scene.put(3, Wish::change("CN=team").refers("member", 1).reference("member", 2));
    scene.export().unwrap();
    let sent = scene.sent();
    assert_eq!(lines(&sent), ["Update CN=before", "Update CN=team"]);
    let names: BTreeSet<&str> = sent[1].added.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!((names, sent[1].replace), (BTreeSet::from(["CN=after", "CN=b"]), true));
}

#[test]
fn an_unconfirmed_name_is_the_name_of_the_next_export() {
    let scene = Scene::new();
    scene.put(1, Wish::change("CN=before").rename("CN=after"));
    scene.export().unwrap();
    scene.sent();
    scene.edit(1, |object| object.stage_mut(Stage::PendingExport).kind = DeltaKind::Delete);
    scene.export().unwrap();
    assert_eq!(lines(&scene.sent()), ["Delete CN=after"]);
}

#[test]
fn staging_sends_nothing_unless_somebody_insists() {
    let mut scene = Scene::new();
    scene.put(1, Wish::add("CN=a"));
    scene.options.limits.set(ExportLimits { staging: true, ..ExportLimits::default() });
    assert_eq!(scene.export().unwrap_err().result(), "no-start-staging-mode");
    assert!(scene.sent().is_empty());
    assert_eq!(scene.events(), [Event::ExportLeftOut { connector: "T".to_owned() }]);
    assert_eq!(scene.queue(Stage::PendingExport), [1]);
    scene.options.force = true;
    scene.export().unwrap();
    assert_eq!(lines(&scene.sent()), ["Add CN=a"]);
}

#[test]
fn a_source_takes_no_exports() {
    let mut scene = Scene::new();
    scene.put(1, Wish::add("CN=a"));
    scene.capabilities.export = false;
    assert_eq!(scene.export().unwrap_err().result(), "no-start-export-not-supported");
    assert!(scene.sent().is_empty());
}

#[test]
fn what_if_shows_what_is_sent() {
    let scene = Scene::new();
    scene.put(1, Wish::add("CN=a").value("title", "One").value("mail", "a@x").reference("manager", 5));
    scene.put(2, Wish::change("CN=b").shows("title", "Old").replace("title", "Old", "New").shows("mail", "b@x"));
    scene.put(3, Wish::change("CN=c").rename("CN=d").shows("title", "Gone").clear("title", "Gone"));
    scene.put(4, Wish::delete("CN=e").shows("title", "Whatever"));
    scene.put(5, Wish::add("CN=boss"));
    scene.put(6, Wish::there("CN=untouched").shows("title", "x"));
    scene.put(7, Wish::change("CN=team").refers("member", 6).unreference("member", 2).reference("member", 5));
    let plan = plan_export(&scene.snapshot(), scene.store.names(), scene.options.connector, None, 100, &HeldDeletes::default()).unwrap();
    assert_eq!(
        (plan.summary.adds, plan.summary.updates, plan.summary.renames, plan.summary.deletes, plan.more),
        (2, 2, 1, 1, false),
        "{plan:?}"
    );
    assert_eq!(scene.queue(Stage::PendingExport).len(), 6, "looking changes nothing");
    let shown: BTreeSet<String> = plan
        .objects
        .iter()
        .map(|object| {
            let changes: BTreeMap<&str, (&[String], &[String])> = object
                .changes
                .iter()
                .filter(|change| change.attribute != "dn")
                .map(|change| (change.attribute.as_str(), (&change.removed[..], &change.added[..])))
                .collect();
            format!("{:?} {} {:?} {changes:?}", object.kind, object.dn, object.rename)
        })
        .collect();
    scene.export().unwrap();
    let sent: BTreeSet<String> = scene.sent().iter().map(Sent::told).collect();
    assert_eq!(shown, sent);
    let limited = plan_export(&scene.snapshot(), scene.store.names(), scene.options.connector, None, 100, &HeldDeletes::default()).unwrap();
    assert_eq!((limited.objects.len(), limited.summary.adds), (0, 0), "nothing is left");
}

#[test]
fn what_exists_already_is_changed_and_what_is_gone_is_gone() {
    let scene = Scene::new();
    scene.put(1, Wish::add("CN=exists").value("title", "One"));
    scene.put(2, Wish::delete("CN=gone"));
    scene.put(3, Wish::change("CN=vanished").shows("title", "Old").replace("title", "Old", "New"));
    scene.script.always(|batch| {
        let refuse = |code| ExportOutcome::Rejected(crate::script::rejection(code));
        let outcomes = batch.operations.iter().map(|operation| {
            let outcome = match (operation.dn.as_str(), operation.kind) {
                ("CN=exists", ExportKind::Add) => refuse(ObjectErrorCode::CD_EXISTING_OBJECT),
                ("CN=gone", _) => refuse(ObjectErrorCode::OBJECT_NOT_FOUND),
                ("CN=vanished", ExportKind::Update) => refuse(ObjectErrorCode::CD_MISSING_OBJECT),
                _ => ExportOutcome::Accepted { anchor: None },
            };
            (operation.id, outcome)
        });
        Ok(syncline::connector::ExportReply::new(batch, outcomes))
    });
    scene.export().unwrap();
    let sent = scene.sent();
    assert_eq!(lines(&sent), ["Add CN=exists", "Update CN=vanished", "Update CN=exists", "Delete CN=gone"]);
    assert_eq!(sent[2].values, keyed_text(&[("title", "One")]), "the change says all that the add said");
    assert_eq!(scene.counters(), keyed(&[("export-update", 1), ("export-delete", 1), ("export-failure", 1)]));
    assert_eq!(scene.error(3, ErrorSide::Export).unwrap().code, ObjectErrorCode::CD_MISSING_OBJECT);
    let vanished = scene.object(3);
    assert_eq!(vanished.stage(Stage::PendingExport).kind, DeltaKind::None, "synchronization wants it anew, whole");
    assert!(scene.snapshot().dirty(scene.options.connector, None, 10).unwrap().iter().any(|(dirty, _)| *dirty == id(3)));
}

#[test]
fn lesson_18_a_value_that_a_delete_frees_is_tried_again_behind_it() {
    let scene = Scene::new();
    scene.put(1, Wish::add("CN=successor").value("mail", "a@x"));
    scene.put(2, Wish::delete("CN=predecessor"));
    let held = std::sync::Mutex::new(true);
    scene.script.always(move |batch| {
        let mut held = held.lock().unwrap();
        let outcomes: Vec<_> = batch
            .operations
            .iter()
            .map(|operation| {
                if operation.kind == ExportKind::Delete {
                    *held = false;
                }
                let outcome = if *held {
                    ExportOutcome::Rejected(crate::script::rejection(ObjectErrorCode::ATTRIBUTE_VALUE_MUST_BE_UNIQUE))
                } else {
                    ExportOutcome::Accepted { anchor: None }
                };
                (operation.id, outcome)
            })
            .collect();
        Ok(syncline::connector::ExportReply::new(batch, outcomes))
    });
    assert_eq!(scene.export().unwrap().0, "success");
    assert_eq!(lines(&scene.sent()), ["Add CN=successor", "Delete CN=predecessor", "Add CN=successor"]);
    assert_eq!(scene.counters(), keyed(&[("export-add", 1), ("export-delete", 1)]));
    assert!(scene.error(1, ErrorSide::Export).is_none());
}

#[test]
fn a_conflict_without_deletes_is_refused_at_once() {
    let scene = Scene::new();
    scene.put(1, Wish::add("CN=a"));
    scene.script.always(|batch| Ok(reject_all(batch, ObjectErrorCode::ATTRIBUTE_VALUE_MUST_BE_UNIQUE, |_| true)));
    assert_eq!(scene.export().unwrap().0, "completed-export-errors");
    assert_eq!((scene.sent().len(), scene.error(1, ErrorSide::Export).unwrap().retry_count), (1, 0));
}

#[test]
fn large_values_are_sent_with_their_content() {
    let scene = Scene::new();
    let long = "x".repeat(5_000);
    scene.put(1, Wish::add("CN=a").value("info", &long));
    scene.export().unwrap();
    assert_eq!(scene.sent()[0].values, keyed_text(&[("info", &long)]));
}

#[test]
fn a_stop_leaves_what_was_not_handed_over_pending() {
    let mut scene = Scene::new();
    scene.capabilities.batch_objects = 1;
    scene.capabilities.batches_in_flight = 1;
    for number in 1..=3 {
        scene.put(number, Wish::add(&format!("CN=u{number}")));
    }
    let cancel = scene.cx.cancel.clone();
    scene.script.answer(move |batch| {
        cancel.cancel();
        Ok(accept_all(batch, |_| None))
    });
    assert!(matches!(scene.export().unwrap_err(), EngineError::Cancelled));
    assert_eq!((scene.queue(Stage::Unconfirmed), scene.queue(Stage::PendingExport)), (vec![1], vec![2, 3]));
    assert_eq!(scene.counters(), keyed(&[("export-add", 1)]), "what was answered counts");
}

#[test]
fn many_batches_under_way_keep_their_answers_apart() {
    let mut scene = Scene::new();
    scene.capabilities.batch_objects = 3;
    scene.capabilities.batches_in_flight = 4;
    for number in 1..=50 {
        scene.put(number, Wish::add(&format!("CN=u{number}")));
    }
    scene.script.always(|batch| -> Answer { Ok(accept_all(batch, |dn| Some(format!("key of {dn}")))) });
    scene.export().unwrap();
    for number in 1..=50 {
        let anchor = scene.object(number).anchor.unwrap();
        assert_eq!(anchor.as_bytes(), format!("key of CN=u{number}").as_bytes());
    }
    assert_eq!(scene.counters(), keyed(&[("export-add", 50)]));
}

fn keyed_text(pairs: &[(&str, &str)]) -> BTreeMap<String, Vec<String>> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()])).collect()
}
