//! What is kept aside, value by value: what is staged, when it is tried, and when nothing is touched.

use super::*;
use crate::model::{Anchor, Link, MvId, ObjectType, RuleId};
use crate::store::Store;
use std::time::Duration;

const NAME: AttrId = AttrId(7);

#[test]
fn what_somebody_really_has_is_as_if_it_had_been_shown() {
    for state in [ValueState::BASE, ValueState::ABSENT.with_added(Stage::PendingImport)] {
        let after = as_shown(state, false);
        assert!(!after.present(StageMask::EXPECTED) && after.present(StageMask::WANTED) && after.added(Stage::PendingExport), "{state:?}");
    }
    let held = as_shown(ValueState::ABSENT, true);
    assert!(held.present(StageMask::EXPECTED) && held.removed(Stage::PendingExport));
    assert_eq!(as_shown(held, true), held);
}

#[test]
fn a_value_is_found_in_its_own_form_first() {
    let mut object = CsObject::new(CsId::new(ConnectorId(1), 1), ObjectType(9), "CN=a");
    let mut builder = FlatBuilder::new();
    for text in ["SMTP:a@corp.example", "smtp:A@corp.example", "smtp:b@corp.example"] {
        builder.push(NAME, ValueRef::Text(text), ValueState::BASE.0);
    }
    object.values = builder.finish();
    let at = |text| {
        place_of(&object, NAME, UniqueKind::Address, text)
            .and_then(|index| object.values.iter().nth(index).map(|item| format!("{:?}", item.value)))
    };
    assert_eq!(at("smtp:A@corp.example").as_deref(), Some("\"smtp:A@corp.example\""));
    assert_eq!(at("SMTP:B@corp.example").as_deref(), Some("\"smtp:b@corp.example\""));
    assert_eq!(at("smtp:c@corp.example"), None);
}

const TARGET: ConnectorId = ConnectorId(3);
const SIGN_IN_NAME: &str = "userPrincipalName";
const UNIQUE: &[UniqueAttribute] = &[UniqueAttribute { name: SIGN_IN_NAME, kind: UniqueKind::SignInName }];
const NOW: Timestamp = Timestamp(1_800_000_000_000_000);

fn id(number: u64) -> CsId {
    CsId::new(TARGET, number)
}

fn name(text: &str) -> String {
    format!("{text}@corp.example")
}

fn anchor(number: u64) -> Anchor {
    Anchor::new(format!("key {number}").into_bytes())
}

/// People of a target, by number, with the names that they are to have and that the import showed.
fn people(people: &[(u64, &str)]) -> Store {
    let store = Store::in_memory().unwrap();
    let names = store.names();
    let mut changes = ChangeSet::new();
    for (number, text) in people {
        let mut object = CsObject::new(id(*number), names.object_type("user"), format!("CN=p{number}"));
        object.in_base = true;
        object.anchor = Some(anchor(*number));
        object.link = Link::Connected { mv: MvId(*number), by: RuleId(1) };
        let mut values = FlatBuilder::new();
        values.push(names.intern(SIGN_IN_NAME), ValueRef::Text(&name(text)), ValueState::BASE.0);
        object.values = values.finish();
        changes.cs_put.push(object);
    }
    store.apply(changes).unwrap();
    store
}

/// Something of an object was sent that no import has shown yet.
fn on_its_way(store: &Store, number: u64, kind: DeltaKind) {
    let mut object = store.snapshot().unwrap().cs_object(id(number)).unwrap().unwrap();
    object.stage_mut(Stage::Unconfirmed).kind = kind;
    let mut changes = ChangeSet::new();
    changes.cs_put.push(object);
    store.apply(changes).unwrap();
}

/// Somebody who has a name, as the target tells; numbers above a hundred are strangers of its recycle bin.
fn holder(number: u64, text: &str) -> ValueHolder {
    ValueHolder {
        anchor: anchor(number),
        called: format!("p{number}"),
        in_recycle_bin: number > 100,
        values: vec![(SIGN_IN_NAME.to_owned(), name(text))],
        removal: "remove it".to_owned(),
    }
}

/// A name that is kept aside of somebody, with those who have it.
fn kept(waiting: u64, text: &str, holders: &[u64]) -> (u64, KeptAside) {
    let holders = Some(holders.iter().map(|number| holder(*number, text)).collect());
    (waiting, KeptAside { anchor: anchor(waiting), attribute: SIGN_IN_NAME.to_owned(), value: name(text), holders })
}

type Attempts = BTreeMap<String, Attempt>;

/// A look at what is kept aside: whose values are staged, and which attempts are known then.
fn look(store: &Store, found: Vec<(u64, KeptAside)>, before: &Attempts, sent: bool, now: Timestamp) -> (Vec<u64>, Attempts) {
    let (staged, tried, _) = look_and_tell(store, found, before, sent, now);
    (staged, tried)
}

/// The same, and whether an attempt is told that did not help.
fn look_and_tell(store: &Store, found: Vec<(u64, KeptAside)>, before: &Attempts, sent: bool, now: Timestamp) -> (Vec<u64>, Attempts, bool) {
    let mut conflict = Conflict::default();
    let snapshot = store.snapshot().unwrap();
    let mut look = Look {
        snapshot: &snapshot,
        names: store.names(),
        connector: TARGET,
        unique: UNIQUE,
        sent,
        now,
        before: before.clone(),
        tried: BTreeMap::new(),
        truths: BTreeMap::new(),
        unknown: OnceCell::new(),
    };
    for (waiting, value) in found {
        look.take(id(waiting), value, &mut conflict).unwrap();
    }
    let mut changes = ChangeSet::new();
    look.correct(&mut changes).unwrap();
    (changes.cs_put.iter().map(|object| object.id.sequence()).collect(), look.tried, conflict.failed)
}

fn attempts(waiting: u64, text: &str, at: Timestamp, failed: bool) -> Attempts {
    let key = format!("{} {SIGN_IN_NAME} '{}'", anchor(waiting), name(text));
    BTreeMap::from([(key, Attempt { at: at.0, failed })])
}

#[test]
fn what_both_really_have_is_staged_once_and_again_after_a_day() {
    let store = people(&[(1, "a"), (2, "b")]);
    let found = || vec![kept(1, "a", &[2])];
    let (staged, tried) = look(&store, found(), &Attempts::new(), true, NOW);
    assert_eq!((staged, &tried), (vec![1, 2], &attempts(1, "a", NOW, false)));
    // Nothing was sent since: it is still to be made. Then it did not help.
    assert_eq!(look(&store, found(), &tried, false, NOW), (vec![1, 2], tried.clone()));
    let failed = attempts(1, "a", NOW, true);
    assert_eq!(look(&store, found(), &tried, true, NOW), (vec![], failed.clone()));
    let at = |passed: Duration| Timestamp(NOW.0 + i64::try_from(passed.as_micros()).unwrap());
    let (nearly, day) = (at(Duration::from_secs(86_399)), at(Duration::from_hours(24)));
    assert_eq!(look(&store, found(), &failed, false, nearly), (vec![], failed.clone()));
    assert_eq!(look(&store, found(), &failed, false, day), (vec![1, 2], attempts(1, "a", day, false)));
}

#[test]
fn an_attempt_noted_by_a_clock_that_was_ahead_holds_nothing_back() {
    let store = people(&[(1, "a"), (2, "b")]);
    let ahead = attempts(1, "a", Timestamp(NOW.0 + 3_600_000_000), true);
    assert_eq!(look(&store, vec![kept(1, "a", &[2])], &ahead, false, NOW), (vec![1, 2], attempts(1, "a", NOW, false)));
}

#[test]
fn nothing_is_staged_where_one_of_several_has_the_name_for_good() {
    let store = people(&[(1, "a"), (2, "b"), (3, "a")]);
    // One of the recycle bin, and one who is to have it, too; both are told behind the one who is to give it up.
    for last in [101, 3] {
        assert_eq!(look(&store, vec![kept(1, "a", &[2, last])], &Attempts::new(), true, NOW), (vec![], Attempts::new()), "{last}");
    }
}

#[test]
fn nothing_is_staged_while_something_of_either_is_on_its_way() {
    for (number, kind) in [(1, DeltaKind::Update), (2, DeltaKind::Update), (4, DeltaKind::Update)] {
        let store = people(&[(1, "a"), (2, "b"), (4, "d")]);
        on_its_way(&store, number, kind);
        let found = || vec![kept(1, "a", &[2, 4])];
        assert_eq!(look(&store, found(), &Attempts::new(), true, NOW), (vec![], Attempts::new()), "{number}");
        // An attempt of earlier is known as long as the name is kept aside.
        let failed = attempts(1, "a", NOW, true);
        assert_eq!(look(&store, found(), &failed, true, NOW), (vec![], failed.clone()), "{number}");
        on_its_way(&store, number, DeltaKind::None);
        assert_eq!(look(&store, found(), &Attempts::new(), false, NOW), (vec![1, 2, 4], attempts(1, "a", NOW, false)), "{number}");
    }
}

#[test]
fn an_attempt_is_remembered_while_nobody_can_look_who_has_the_name() {
    let store = people(&[(1, "a"), (2, "b")]);
    let unknown = || vec![(1, KeptAside { holders: None, ..kept(1, "a", &[]).1 })];
    for (before, sent) in [(true, false), (true, true), (false, true)] {
        let attempts = |failed| attempts(1, "a", NOW, failed);
        let seen = look_and_tell(&store, unknown(), &attempts(before), sent, NOW);
        assert_eq!(seen, (vec![], attempts(true), !before), "{before} {sent}");
    }
}

#[test]
fn of_two_who_wait_for_one_name_each_has_an_attempt_of_its_own() {
    let store = people(&[(1, "a"), (2, "b"), (3, "c"), (4, "a")]);
    let resting = attempts(4, "a", NOW, true);
    let both = vec![kept(1, "a", &[2]), kept(4, "a", &[2])];
    assert_eq!(look(&store, both, &resting, false, NOW).0, [1, 2]);
    // Of one who rests nothing is staged, of however many others have the name.
    assert_eq!(look(&store, vec![kept(4, "a", &[2, 3])], &resting, false, NOW), (vec![], resting));
}
