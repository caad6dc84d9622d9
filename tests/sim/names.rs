//! Names that change hands, scene by scene: whatever ends an export, nobody is left under a stand-in as long as the target can
//! be reached; and who is left under one is known, told and sent first.

use crate::script::{Answer, Scene, Sent, Wish, accept_all, id};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use syncline::connector::{ConnectorError, ConnectorErrorKind, ExportBatch, ExportKind};
use syncline::engine::export::{ExportLimits, HeldDeletes, REMOVALS, STAND_INS, StandIns};
use syncline::events::Event;
use syncline::model::{DeltaKind, Stage};

const NAME: &str = "userPrincipalName";

fn name(text: &str) -> String {
    format!("{text}@x.example")
}

fn takes(dn: &str, before: &str, after: &str) -> Wish {
    Wish::change(dn).shows(NAME, &name(before)).replace(NAME, &name(before), &name(after))
}

/// `circles` pairs that swap their names, two to a batch; before them nobody.
fn swapping(circles: u64) -> Scene {
    let mut scene = Scene::new();
    (scene.capabilities.batch_objects, scene.capabilities.batches_in_flight) = (2, 1);
    for pair in 0..circles {
        let (one, two) = (2 * pair + 1, 2 * pair + 2);
        scene.put(one, takes(&format!("CN=p{one}"), &format!("n{one}"), &format!("n{two}")));
        scene.put(two, takes(&format!("CN=p{two}"), &format!("n{two}"), &format!("n{one}")));
    }
    scene
}

fn is_stand_in(sent: &Sent) -> bool {
    sent.values.get(NAME).is_some_and(|names| names.iter().any(|name| name.len() > 32))
}

/// Who goes by a stand-in as far as the target's answers tell.
fn left(scene: &Scene) -> Vec<u64> {
    let left = StandIns::of(&scene.snapshot(), scene.options.connector).unwrap();
    left.names.keys().map(|id| id.sequence()).collect()
}

fn lines(sent: &[Sent]) -> Vec<String> {
    sent.iter().map(|sent| format!("{}{}", sent.dn, if is_stand_in(sent) { " parts" } else { "" })).collect()
}

#[test]
fn each_circle_is_through_before_the_next_one_begins() {
    let scene = swapping(2);
    scene.put(9, Wish::add("CN=new"));
    scene.export().unwrap();
    assert_eq!(
        lines(&scene.sent()),
        ["CN=p1 parts", "CN=p2 parts", "CN=p1", "CN=p2", "CN=p3 parts", "CN=p4 parts", "CN=p3", "CN=p4", "CN=new"]
    );
    assert_eq!(left(&scene), [] as [u64; 0]);
    // Nothing of the stand-ins is left when the target shows what it has.
    let shown = [("CN=p1", "key 1", "n2"), ("CN=p2", "key 2", "n1"), ("CN=p3", "key 3", "n4"), ("CN=p4", "key 4", "n3")];
    let names: Vec<String> = shown.iter().map(|(_, _, text)| name(text)).collect();
    let values: Vec<[(&str, &str); 1]> = names.iter().map(|name| [(NAME, name.as_str())]).collect();
    let rows: Vec<_> = shown.iter().zip(&values).map(|((dn, key, _), values)| (*dn, *key, values.as_slice())).collect();
    scene.import(&rows);
    assert_eq!((scene.queue(Stage::PendingExport), scene.queue(Stage::Unconfirmed)), (vec![9], vec![]));
    assert_eq!(scene.values(1, NAME), [name("n2")]);
}

/// Ends an export in the middle of the first circle.
fn ended_by(scene: &Scene, end: impl Fn() + Send + Sync + 'static) -> &'static str {
    scene.script.answer(move |batch| {
        end();
        Ok(accept_all(batch, |_| None))
    });
    scene.export().unwrap_err().result_under_way()
}

#[test]
fn what_was_begun_is_ended_whoever_stops_the_export() {
    let scene = swapping(2);
    let limits = scene.options.limits.clone();
    let staging = move || limits.set(ExportLimits { staging: true, ..ExportLimits::default() });
    assert_eq!(ended_by(&scene, staging), "stopped-staging-mode");
    assert_eq!(lines(&scene.sent()), ["CN=p1 parts", "CN=p2 parts", "CN=p1", "CN=p2"]);
    assert_eq!((left(&scene), scene.queue(Stage::PendingExport)), (vec![], vec![3, 4]));

    let scene = swapping(2);
    let cancel = scene.cx.cancel.clone();
    assert_eq!(ended_by(&scene, move || cancel.cancel()), "stopped-user");
    assert_eq!(lines(&scene.sent()), ["CN=p1 parts", "CN=p2 parts", "CN=p1", "CN=p2"]);
    assert_eq!((left(&scene), scene.queue(Stage::PendingExport)), (vec![], vec![3, 4]));
}

/// A circle that takes more than one call to part, and more than one to send.
#[test]
fn a_circle_of_many_is_ended_too() {
    let mut scene = Scene::new();
    (scene.capabilities.batch_objects, scene.capabilities.batches_in_flight) = (2, 1);
    for one in 1..=5 {
        scene.put(one, takes(&format!("CN=p{one}"), &format!("n{one}"), &format!("n{}", one % 5 + 1)));
    }
    let limits = scene.options.limits.clone();
    let staging = move || limits.set(ExportLimits { staging: true, ..ExportLimits::default() });
    assert_eq!(ended_by(&scene, staging), "stopped-staging-mode");
    let sent = scene.sent();
    assert_eq!((sent.len(), sent.iter().filter(|sent| is_stand_in(sent)).count()), (10, 5), "{:?}", lines(&sent));
    assert_eq!((left(&scene), scene.queue(Stage::PendingExport)), (vec![], vec![]));
}

fn lost(_: &ExportBatch) -> Answer {
    Err(ConnectorError::new(ConnectorErrorKind::Dropped, "cut off").unsent())
}

/// A pair under stand-ins, since the connection was lost behind them; somebody else waits, and so do deletes.
fn cut_off() -> Scene {
    let scene = swapping(1);
    scene.script.answer(|batch| Ok(accept_all(batch, |_| None)));
    scene.script.answer(lost);
    assert_eq!(scene.export().unwrap_err().result(), "stopped-connectivity");
    scene.sent();
    assert_eq!(left(&scene), [1, 2]);
    scene
}

#[test]
fn who_goes_by_a_stand_in_is_told_and_sent_before_everybody_else() {
    let scene = cut_off();
    let [Event::StandInNames { objects: 2, people, .. }] = &scene.events()[..] else { panic!("{:?}", scene.events()) };
    assert!(people.contains(&name("n2")) && people.contains(", now "), "{people}");
    scene.put(7, Wish::add("CN=a new one"));
    scene.put(8, Wish::change("CN=another").value("title", "Lead"));
    scene.export().unwrap();
    assert_eq!(lines(&scene.sent()), ["CN=p1", "CN=p2", "CN=a new one", "CN=another"]);
    assert_eq!((left(&scene), scene.events()), (vec![], vec![]));
}

#[test]
fn a_guard_of_deletes_does_not_keep_anybody_under_a_stand_in() {
    let mut scene = cut_off();
    scene.put(7, Wish::add("CN=a new one"));
    for number in 10..16 {
        scene.put(number, Wish::delete(&format!("CN=gone {number}")));
    }
    scene.options.limits.set(ExportLimits { deletes_max: Some(5), ..ExportLimits::default() });
    assert_eq!(scene.export().unwrap_err().result(), "stopped-deletion-threshold-exceeded");
    assert_eq!(lines(&scene.sent()), ["CN=p1", "CN=p2"]);
    assert_eq!((left(&scene), scene.queue(Stage::PendingExport).len()), (vec![], 7));
    // And never again: there is nobody any more.
    assert_eq!(scene.export().unwrap_err().result(), "stopped-deletion-threshold-exceeded");
    assert!(scene.sent().is_empty());
    // Staging mode sends nothing at all.
    scene = cut_off();
    scene.options.limits.set(ExportLimits { staging: true, ..ExportLimits::default() });
    assert_eq!(scene.export().unwrap_err().result(), "no-start-staging-mode");
    assert_eq!((left(&scene), scene.sent().len()), (vec![1, 2], 0));
}

/// The import tells what became of those whose parting got no answer.
#[test]
fn an_import_knows_who_goes_by_a_stand_in() {
    let scene = swapping(1);
    let stand_in = Arc::new(std::sync::Mutex::new(String::new()));
    let seen = Arc::clone(&stand_in);
    scene.script.answer(move |batch| {
        let change = &batch.operations[0].attributes[0];
        let syncline::model::Value::Text(text) = &change.added[0] else { panic!("{change:?}") };
        *seen.lock().unwrap() = text.to_string();
        Err(ConnectorError::new(ConnectorErrorKind::Dropped, "cut off"))
    });
    assert_eq!(scene.export().unwrap_err().result(), "stopped-connectivity");
    assert_eq!(scene.queue(Stage::InProgress), [1, 2]);
    // The first one arrived, the second one did not.
    let (first, second) = (stand_in.lock().unwrap().clone(), name("n2"));
    scene.import(&[("CN=p1", "key 1", &[(NAME, &first)]), ("CN=p2", "key 2", &[(NAME, &second)])]);
    assert_eq!((left(&scene), scene.queue(Stage::InProgress), scene.queue(Stage::PendingExport)), (vec![1], vec![], vec![1, 2]));
    scene.sent();
    scene.export().unwrap();
    // The name that the first one waits for is free when the second one has gone.
    assert_eq!(lines(&scene.sent()), ["CN=p2", "CN=p1"]);
    assert_eq!((left(&scene), scene.values(1, NAME), scene.values(2, NAME)), (vec![], vec![name("n2")], vec![name("n1")]));
}

/// Somebody leaves whose name is taken: no guard comes between the name and the delete.
#[test]
fn who_leaves_is_not_left_under_a_stand_in() {
    let scene = Scene::new();
    scene.put(1, Wish::delete("CN=leaver").shows(NAME, &name("a")));
    scene.put(2, Wish::add("CN=new").value(NAME, &name("a")));
    let limits = scene.options.limits.clone();
    let staging = move || limits.set(ExportLimits { staging: true, ..ExportLimits::default() });
    assert_eq!(ended_by(&scene, staging), "stopped-staging-mode");
    let sent = scene.sent();
    assert_eq!(lines(&sent), ["CN=leaver parts", "CN=leaver"]);
    assert_eq!((sent[1].kind, scene.object(1).stage(Stage::Unconfirmed).kind), (ExportKind::Delete, DeltaKind::Delete));
    let told = scene.events().into_iter().filter(|event| matches!(event, Event::StandInNames { .. })).collect::<Vec<_>>();
    assert_eq!((left(&scene), told), (vec![], vec![]), "nobody is there who could not sign in");
    scene.import(&[]);
    assert!(scene.snapshot().cs_object(id(1)).unwrap().is_none_or(|object| object.stage(Stage::PendingImport).kind == DeltaKind::Delete));
}

/// Only an export by hand can meet it: a cycle reads first.
#[test]
fn nobody_takes_a_name_whose_fate_nobody_knows() {
    let scene = Scene::new();
    scene.put(1, takes("CN=giver", "a", "b"));
    scene.script.answer(|_| Err(ConnectorError::new(ConnectorErrorKind::Dropped, "cut off")));
    scene.export().unwrap_err();
    scene.put(2, takes("CN=taker", "c", "a"));
    scene.put(3, takes("CN=behind", "d", "c"));
    scene.put(4, takes("CN=another", "e", "f"));
    scene.sent();
    assert_eq!(scene.export().unwrap().0, "completed-warnings");
    assert_eq!(lines(&scene.sent()), ["CN=another"]);
    assert_eq!(scene.queue(Stage::PendingExport), [2, 3]);
    let (one, two, three, four) = (name("b"), name("c"), name("d"), name("f"));
    scene.import(&[
        ("CN=giver", "key 1", &[(NAME, &one)]),
        ("CN=taker", "key 2", &[(NAME, &two)]),
        ("CN=behind", "key 3", &[(NAME, &three)]),
        ("CN=another", "key 4", &[(NAME, &four)]),
    ]);
    assert_eq!(scene.export().unwrap().0, "success");
    assert_eq!(lines(&scene.sent()), ["CN=taker", "CN=behind"]);
}

/// Who waits for an import is no delete that is held back.
#[test]
fn allowed_deletes_are_counted_apart_also_when_somebody_waits_for_the_import() {
    let mut scene = Scene::new();
    scene.put(1, takes("CN=giver", "a", "b"));
    scene.script.answer(|_| Err(ConnectorError::new(ConnectorErrorKind::Dropped, "cut off")));
    scene.export().unwrap_err();
    scene.sent();
    scene.put(2, takes("CN=taker", "c", "a"));
    // Three follow from the removal of a connector; the limit is for three others.
    for number in 10..16 {
        scene.put(number, Wish::delete(&format!("CN=gone {number}")));
    }
    scene.keep(REMOVALS, &json!({"1": {"name": "lab", "since": 0, "objects": [id(10).0, id(11).0, id(12).0]}}));
    let held = HeldDeletes::of(&scene.snapshot(), scene.store.names(), scene.options.connector).unwrap();
    assert_eq!(held.count(), 3);
    scene.options.limits.set(ExportLimits { deletes_max: Some(3), ..ExportLimits::default() });
    scene.options.allow_deletes = Some(held.set());
    assert_eq!(scene.export().unwrap().0, "completed-warnings");
    let sent = scene.sent();
    assert_eq!((sent.len(), sent.iter().all(|sent| sent.kind == ExportKind::Delete)), (6, true), "{:?}", lines(&sent));
    assert_eq!(scene.queue(Stage::PendingExport), [2]);
    assert_eq!(scene.snapshot().state(scene.options.connector, REMOVALS).unwrap(), None, "who was allowed to go waits for nobody");
}

/// One of two can have the name at once; the other one needs a delete before, which is stopped.
#[test]
fn only_who_is_sent_behind_a_guard_is_named() {
    let scene = Scene::new();
    scene.put(1, takes("CN=sent", "s1", "free"));
    scene.put(3, takes("CN=waiting", "s3", "taken"));
    scene.put(4, Wish::delete("CN=leaver").shows(NAME, &name("taken")));
    for number in 10..16 {
        scene.put(number, Wish::delete(&format!("CN=gone {number}")));
    }
    scene.keep(STAND_INS, &json!({id(1).0.to_string(): name("s1"), id(3).0.to_string(): name("s3")}));
    assert_eq!(left(&scene), [1, 3]);
    scene.options.limits.set(ExportLimits { deletes_max: Some(5), ..ExportLimits::default() });
    assert_eq!(scene.export().unwrap_err().result(), "stopped-deletion-threshold-exceeded");
    assert_eq!((lines(&scene.sent()), left(&scene)), (vec!["CN=sent".to_owned()], vec![3]));
    let notes = scene.notes().join("\n");
    assert!(notes.contains(&name("s1")) && !notes.contains(&name("s3")), "{notes}");
}

/// A limit of refusals ends the export in the middle, and what was begun is ended.
#[test]
fn too_many_refusals_leave_nobody_under_a_stand_in() {
    let mut scene = swapping(1);
    scene.options.errors_max = 0;
    let calls = Arc::new(AtomicU64::new(0));
    scene.script.always(move |batch| {
        // One of the two is refused, for another reason than the name, and the limit is reached.
        let third = calls.fetch_add(1, Ordering::SeqCst) == 2;
        let code = syncline::model::ObjectErrorCode::LARGE_OBJECT;
        Ok(if third { crate::script::reject_all(batch, code, |dn| dn == "CN=p1") } else { accept_all(batch, |_| None) })
    });
    scene.capabilities.batch_objects = 1;
    assert_eq!(scene.export().unwrap_err().result(), "stopped-error-limit");
    assert_eq!(lines(&scene.sent()), ["CN=p1 parts", "CN=p2 parts", "CN=p1", "CN=p2"]);
    assert_eq!(left(&scene), [1], "only whom the target refused");
}
