//! One scenario per sentence of the specification (sync engine, section 3).

use crate::directory::Entry;
use crate::world::{Counters, World};
use crate::{A, B, T, rules, rules_of};
use std::collections::BTreeSet;
use syncline::context::Context;
use syncline::engine::sync::{PreviewDecision, preview};
use syncline::model::{DeltaKind, Link, ObjectErrorCode, Stage};
use syncline::rules::RunParameters;
use syncline::store::{ChangeSet, DirtyReason};

pub(crate) fn person(number: u32, badge: &str) -> Entry {
    Entry::new("user", &format!("CN=u{number},DC=x")).with("badge", badge).with("mail", &format!("{badge}@x"))
}

fn names(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

fn count(counters: &Counters, name: &str) -> u64 {
    counters.get(name).copied().unwrap_or_default()
}

/// Both imports and one round of delta steps.
fn run(world: &mut World) {
    for connector in [A, B, T] {
        world.import(connector);
    }
    world.settle(&[A, B, T]);
}

fn round_trip(world: &mut World) {
    run(world);
    world.export(T);
    run(world);
}

#[test]
fn projects_provisions_exports_and_confirms() {
    let mut world = World::new(rules);
    world.put(A, "1", person(1, "ada").with("displayName", "Ada"));
    world.import(A);
    let counters = world.sync(A, false);
    assert_eq!(count(&counters, "disconnector-projected-flow"), 1);
    assert_eq!(count(&counters, "provisioned-add-flow/T"), 1);
    let mv = world.metaverse_of(A, "CN=u1,DC=x").unwrap();
    assert_eq!(world.mv_values(&mv, "displayName"), ["Ada"]);
    let target = world.object(T, "CN=ada").unwrap();
    assert_eq!(target.anchor, None, "nobody made it yet");
    assert_eq!(target.stage(Stage::PendingExport).kind, DeltaKind::Add);
    assert_eq!(target.link.mv(), Some(mv.id));
    assert!(!world.object(A, "CN=u1,DC=x").unwrap().stage(Stage::PendingImport).is_some(), "the import is consumed");

    assert_eq!(world.export(T), 1);
    world.import(T);
    let counters = world.sync(T, false);
    assert_eq!(count(&counters, "connector-flow"), 1, "what the target confirms flows in: {counters:?}");
    assert_eq!(world.pending(T), 0);
    let mv = world.metaverse_of(A, "CN=u1,DC=x").unwrap();
    assert_eq!(world.mv_values(&mv, "targetNumber"), ["first"]);
    let counters = world.sync(A, true);
    assert_eq!((count(&counters, "connector-no-flow"), count(&counters, "connector-no-flow/T"), world.written), (1, 1, 0));
}

#[test]
fn joins_by_criteria_and_precedence_decides_between_contributors() {
    let mut world = World::new(rules);
    world.put(B, "1", person(1, "ada").with("displayName", "from B").with("title", "B title"));
    world.import(B);
    world.sync(B, false);
    world.put(A, "1", person(2, "ADA").with("displayName", "from A"));
    world.import(A);
    let counters = world.sync(A, false);
    assert_eq!(count(&counters, "disconnector-joined-flow"), 1, "texts compare without regard to case");
    let mv = world.metaverse_of(B, "CN=u1,DC=x").unwrap();
    assert_eq!(world.snapshot().mv_links(mv.id).unwrap().len(), 3);
    assert_eq!(world.mv_values(&mv, "displayName"), ["from A"]);
    assert_eq!(world.mv_values(&mv, "title"), ["B title"], "what A does not say, B does");
}

#[test]
fn an_object_without_a_join_value_is_not_projected() {
    let mut world = World::new(rules);
    world.put(A, "1", Entry::new("user", "CN=nobody").with("mail", "n@x"));
    world.import(A);
    let counters = world.sync(A, false);
    assert_eq!(count(&counters, "disconnector-remains"), 1);
    assert_eq!(world.object(A, "CN=nobody").unwrap().link, Link::Disconnected);
    assert!(world.metaverse().is_empty());
    let mut entry = world.directory(A)["1"].clone();
    entry.set("badge", Some("late"));
    world.put(A, "1", entry);
    world.import(A);
    assert_eq!(count(&world.sync(A, false), "disconnector-projected-flow"), 1);
}

#[test]
fn leaving_scope_disconnects_and_recalls_and_coming_back_joins_again() {
    let mut world = World::new(rules);
    world.put(A, "1", person(1, "ada").with("displayName", "from A"));
    world.put(B, "1", person(2, "ada").with("displayName", "from B"));
    round_trip(&mut world);
    world.directory(A).get_mut("1").unwrap().set("hidden", Some("yes"));
    world.import(A);
    let counters = world.sync(A, false);
    assert_eq!(count(&counters, "connector-filtered-leave-mv"), 1);
    assert_eq!(world.object(A, "CN=u1,DC=x").unwrap().link, Link::DisconnectedByFilter);
    let mv = world.metaverse_of(B, "CN=u2,DC=x").unwrap();
    assert_eq!(world.mv_values(&mv, "displayName"), ["from B"], "the next contributor takes over");
    assert!(mv.lineage.iter().all(|entry| entry.source.connector() != A));
    let target = world.object(T, "CN=ada").unwrap();
    assert_eq!(world.wanted(&target, "displayName"), ["from B"]);

    world.directory(A).get_mut("1").unwrap().set("hidden", None);
    world.import(A);
    let counters = world.sync(A, false);
    assert_eq!(count(&counters, "disconnector-joined-flow"), 1);
    let target = world.object(T, "CN=ada").unwrap();
    assert_eq!(world.wanted(&target, "displayName"), ["from A"]);
    assert_eq!(world.pending(T), 0, "the target never saw anything else");
}

#[test]
fn the_last_holder_takes_the_metaverse_object_with_it() {
    let mut world = World::new(rules);
    world.put(A, "1", person(1, "ada"));
    world.put(A, "2", person(2, "bob").to("manager", "1"));
    round_trip(&mut world);
    world.directory(A).remove("1");
    world.directory(A).get_mut("2").unwrap().references.clear();
    world.import(A);
    let counters = world.sync(A, false);
    assert_eq!(count(&counters, "connector-delete-remove-mv"), 1);
    assert_eq!(count(&counters, "provisioned-disconnect/T"), 1);
    assert!(world.object(A, "CN=u1,DC=x").is_none());
    assert_eq!(world.metaverse().len(), 1);
    let target = world.object(T, "CN=ada").unwrap();
    assert_eq!((target.link, target.stage(Stage::PendingExport).kind), (Link::Disconnected, DeltaKind::Delete));
    let bob = world.object(T, "CN=bob").unwrap();
    assert_eq!(world.wanted_references(&bob, "manager"), names(&[]));
    world.export(T);
    run(&mut world);
    assert!(world.object(T, "CN=ada").is_none(), "the confirmed deletion ends it");
    assert!(!world.directory(T).values().any(|entry| entry.dn == "CN=ada"));
}

#[test]
fn an_export_object_that_was_never_sent_vanishes() {
    let mut world = World::new(rules);
    world.put(A, "1", person(1, "ada"));
    world.import(A);
    world.sync(A, false);
    assert_eq!(world.pending(T), 1);
    world.directory(A).remove("1");
    world.import(A);
    world.sync(A, false);
    assert_eq!(world.space(T), []);
    assert_eq!(world.pending(T), 0);
}

#[test]
fn out_of_outbound_scope_deletes_what_was_provisioned_and_back_again_before_the_export_keeps_it() {
    let mut world = World::new(rules);
    world.put(A, "1", person(1, "ada"));
    round_trip(&mut world);
    world.directory(A).get_mut("1").unwrap().set("blocked", Some("yes"));
    world.import(A);
    let counters = world.sync(A, false);
    assert_eq!(count(&counters, "provisioned-disconnect/T"), 1);
    assert_eq!(world.object(T, "CN=ada").unwrap().stage(Stage::PendingExport).kind, DeltaKind::Delete);
    world.sync(T, true);
    assert_eq!(world.object(T, "CN=ada").unwrap().link, Link::Disconnected, "nothing ties it again while it is to go");
    world.directory(A).get_mut("1").unwrap().set("blocked", None);
    world.import(A);
    world.sync(A, false);
    let target = world.object(T, "CN=ada").unwrap();
    assert!(target.link.mv().is_some());
    assert_eq!(world.pending(T), 0, "the deletion was taken back");
    assert_eq!(world.wanted(&target, "number"), ["first"]);
}

#[test]
fn a_deletion_under_way_is_followed_by_a_new_object() {
    let mut world = World::new(rules);
    world.put(A, "1", person(1, "ada"));
    round_trip(&mut world);
    world.directory(A).get_mut("1").unwrap().set("blocked", Some("yes"));
    world.import(A);
    world.sync(A, false);
    world.export(T);
    world.directory(A).get_mut("1").unwrap().set("blocked", None);
    world.import(A);
    world.sync(A, false);
    let target = world.object(T, "CN=ada").unwrap();
    assert_eq!(target.stage(Stage::PendingExport).kind, DeltaKind::Add, "the old one is expected to be gone");
    run(&mut world);
    world.export(T);
    run(&mut world);
    let entry = world.directory(T).values().find(|entry| entry.dn == "CN=ada").unwrap().clone();
    assert_eq!(entry.value("mail"), Some("ada@x"));
    assert_eq!(entry.value("number"), Some("first"), "a new object gets what only new objects get");
    assert_eq!(world.pending(T), 0);
}

/// An export was confirmed late: the directory has somebody again before the end of the old object is synchronized.
#[test]
fn whoever_is_back_while_the_old_object_is_news_is_made_again_by_the_same_step() {
    let mut world = World::new(rules);
    world.put(A, "1", person(1, "ada"));
    world.put(A, "g", Entry::new("group", "CN=g,DC=x").with("cn", "staff").to("member", "1"));
    round_trip(&mut world);
    let gone = world.directory(A).remove("1").unwrap();
    world.directory(A).get_mut("g").unwrap().references.clear();
    world.import(A);
    world.sync(A, false);
    world.export(T);
    world.put(A, "1", gone);
    world.put(A, "g", Entry::new("group", "CN=g,DC=x").with("cn", "staff").to("member", "1"));
    world.import(A);
    world.import(T);
    let old = world.object(T, "CN=ada").unwrap();
    assert_eq!((old.link, old.stage(Stage::PendingImport).kind), (Link::Disconnected, DeltaKind::Delete));
    let counters = world.sync(A, false);
    assert_eq!(count(&counters, "provisioned-add-flow/T"), 1);
    let mv = world.metaverse_of(A, "CN=u1,DC=x").unwrap();
    let new = world.object(T, "CN=ada").unwrap();
    assert_eq!((new.link.mv(), new.stage(Stage::PendingExport).kind), (Some(mv.id), DeltaKind::Add));
    assert_eq!((new.in_base, new.anchor.clone(), new.stage(Stage::PendingImport).kind), (false, None, DeltaKind::None));
    world.sync(T, false);
    world.export(T);
    run(&mut world);
    assert_eq!(world.pending(T), 0);
    let entry = world.directory(T).values().find(|entry| entry.dn == "CN=ada").unwrap().clone();
    assert_eq!((entry.value("mail"), entry.value("number")), (Some("ada@x"), Some("first")), "it is whole, and a new object");
    let group = world.directory(T).values().find(|entry| entry.dn == "CN=g-staff").unwrap();
    assert_eq!(group.references["member"].len(), 1);
}

#[test]
fn a_target_object_that_somebody_deleted_is_made_again() {
    let mut world = World::new(rules);
    world.put(A, "1", person(1, "ada"));
    world.put(A, "g", Entry::new("group", "CN=g,DC=x").with("cn", "staff").to("member", "1"));
    round_trip(&mut world);
    let anchor = world.directory(T).iter().find(|(_, entry)| entry.dn == "CN=ada").unwrap().0.clone();
    world.directory(T).remove(&anchor);
    for entry in world.directory(T).values_mut() {
        entry.references.clear();
    }
    world.import(T);
    let counters = world.sync(T, false);
    assert_eq!(count(&counters, "connector-delete-leave-mv"), 1);
    assert_eq!(count(&counters, "provisioned-add-flow/T"), 1);
    let target = world.object(T, "CN=ada").unwrap();
    assert_eq!((target.anchor.clone(), target.stage(Stage::PendingExport).kind), (None, DeltaKind::Add));
    let group = world.object(T, "CN=g-staff").unwrap();
    assert_eq!(world.wanted_references(&group, "member"), names(&["CN=ada"]));
    world.export(T);
    run(&mut world);
    assert_eq!(world.pending(T), 0);
    let group = world.directory(T).values().find(|entry| entry.dn == "CN=g-staff").unwrap();
    assert_eq!(group.references["member"].len(), 1);
}

#[test]
fn what_somebody_changed_in_the_target_is_set_right_and_what_is_not_ours_is_left() {
    let mut world = World::new(rules);
    world.put(A, "1", person(1, "ada").with("displayName", "Ada"));
    round_trip(&mut world);
    let entry = world.directory(T).values_mut().next().unwrap();
    entry.set("displayName", Some("Changed"));
    entry.set("comment", Some("theirs"));
    entry.set("number", Some("second"));
    world.import(T);
    let counters = world.sync(T, false);
    assert_eq!(count(&counters, "connector-flow/T"), 1);
    world.export(T);
    run(&mut world);
    let entry = world.directory(T).values().next().unwrap();
    assert_eq!(entry.value("displayName"), Some("Ada"));
    assert_eq!(entry.value("comment"), Some("theirs"), "no flow, no touch");
    assert_eq!(entry.value("number"), Some("second"), "what flows once only is theirs afterwards");
    let mv = world.metaverse_of(A, "CN=u1,DC=x").unwrap();
    assert_eq!(world.mv_values(&mv, "targetNumber"), ["second"]);
}

#[test]
fn references_follow_their_targets_whenever_those_come() {
    let mut world = World::new(rules);
    // The group comes first and names people who are not in scope, who are not exported, and itself.
    let group = Entry::new("group", "CN=g,DC=x").with("cn", "staff").to("member", "1").to("member", "2").to("member", "g");
    world.put(A, "g", group);
    world.put(A, "1", person(1, "ada").with("hidden", "yes"));
    world.put(A, "2", person(2, "bob").with("blocked", "yes").to("manager", "1"));
    run(&mut world);
    let group = world.object(T, "CN=g-staff").unwrap();
    assert_eq!(world.wanted_references(&group, "member"), names(&["CN=g-staff"]), "withheld until the others exist");

    world.directory(A).get_mut("1").unwrap().set("hidden", None);
    world.import(A);
    world.sync(A, false);
    let group = world.object(T, "CN=g-staff").unwrap();
    assert_eq!(world.wanted_references(&group, "member"), names(&["CN=ada", "CN=g-staff"]));
    world.directory(A).get_mut("2").unwrap().set("blocked", None);
    world.import(A);
    world.sync(A, false);
    let group = world.object(T, "CN=g-staff").unwrap();
    assert_eq!(world.wanted_references(&group, "member"), names(&["CN=ada", "CN=bob", "CN=g-staff"]));
    let bob = world.object(T, "CN=bob").unwrap();
    assert_eq!(world.wanted_references(&bob, "manager"), names(&["CN=ada"]));

    world.directory(A).get_mut("2").unwrap().references.clear();
    world.import(A);
    world.sync(A, false);
    let bob = world.object(T, "CN=bob").unwrap();
    assert_eq!(world.wanted_references(&bob, "manager"), names(&[]), "a manager can be cleared");
    assert_eq!(world.snapshot().mv_references(bob.link.mv().unwrap()).unwrap(), []);

    world.directory(A).get_mut("1").unwrap().set("hidden", Some("yes"));
    world.import(A);
    world.sync(A, false);
    let group = world.object(T, "CN=g-staff").unwrap();
    assert_eq!(world.wanted_references(&group, "member"), names(&["CN=bob", "CN=g-staff"]), "and members go with their objects");
}

#[test]
fn groups_may_hold_each_other() {
    let mut world = World::new(rules);
    world.put(A, "g1", Entry::new("group", "CN=g1,DC=x").with("cn", "one").to("member", "g2"));
    world.put(A, "g2", Entry::new("group", "CN=g2,DC=x").with("cn", "two").to("member", "g1"));
    round_trip(&mut world);
    assert_eq!(world.pending(T), 0);
    let one = world.object(T, "CN=g-one").unwrap();
    assert_eq!(world.wanted_references(&one, "member"), names(&["CN=g-two"]));
}

#[test]
fn another_object_type_in_the_directory_starts_anew() {
    let mut world = World::new(rules);
    world.put(A, "1", person(1, "ada").with("cn", "ada"));
    round_trip(&mut world);
    world.directory(A).get_mut("1").unwrap().object_type = "group".to_owned();
    world.import(A);
    assert_eq!(world.object(A, "CN=u1,DC=x").unwrap().stage(Stage::PendingImport).kind, DeltaKind::DeleteAdd);
    let counters = world.sync(A, false);
    assert_eq!(count(&counters, "connector-delete-add-processed"), 1);
    let objects = world.metaverse();
    assert_eq!(objects.len(), 1);
    assert_eq!(world.names().object_type_name(objects[0].object_type).as_ref(), "group");
    assert_eq!(world.object(T, "CN=ada").unwrap().stage(Stage::PendingExport).kind, DeltaKind::Delete);
    assert_eq!(world.object(T, "CN=g-ada").unwrap().stage(Stage::PendingExport).kind, DeltaKind::Add);
}

#[test]
fn another_object_type_in_the_target_is_a_deletion_and_an_addition() {
    let text = format!(
        "{}\n{}",
        include_str!("rules.toml"),
        r#"
[[rule]]
name = "In from B - Contact"
direction = "inbound"
connector = "B"
cs_type = "contact"
mv_type = "person"
link = "provision"
order = 90
join = [[{ cs = "badge", mv = "badge" }]]
direct = ["badge", "mail", "displayName"]
flows = [{ to = "kind", constant = "contact" }]

[[rule]]
name = "Out to T - Contact"
direction = "outbound"
connector = "T"
cs_type = "contact"
mv_type = "person"
link = "provision"
order = 91
scope = [[{ attr = "kind", op = "EQUAL", value = "contact" }]]
direct = ["badge", "mail"]
flows = [{ to = "dn", expr = '"CN=c-" & [badge]' }]
"#
    );
    let mut world = World::new(|names| rules_of(names, &text));
    let mut contact = person(1, "ada");
    contact.object_type = "contact".to_owned();
    world.put(B, "1", contact);
    round_trip(&mut world);
    let mv = world.metaverse_of(B, "CN=u1,DC=x").unwrap();
    world.put(A, "1", person(2, "ada"));
    world.import(A);
    let counters = world.sync(A, false);
    assert_eq!(count(&counters, "disconnector-joined-flow"), 1);
    assert_eq!(count(&counters, "provisioned-delete-add-flow/T"), 1);
    assert_eq!(world.metaverse_of(A, "CN=u2,DC=x").unwrap().id, mv.id, "the metaverse object stays the same");
    let old = world.object(T, "CN=c-ada").unwrap();
    assert_eq!((old.link, old.stage(Stage::PendingExport).kind), (Link::Disconnected, DeltaKind::Delete));
    let new = world.object(T, "CN=ada").unwrap();
    assert_eq!((new.link.mv(), new.stage(Stage::PendingExport).kind), (Some(mv.id), DeltaKind::Add));
    world.export(T);
    run(&mut world);
    assert_eq!((world.space(T).len(), world.pending(T)), (1, 0));
}

#[test]
fn an_object_that_fails_keeps_its_news_until_it_is_set_right() {
    let text = include_str!("rules.toml").replace(
        r#"direct = ["badge", "displayName", "mail", "title", "manager", "tags"]"#,
        r#"direct = ["displayName", "mail", "title", "manager", "tags"]"#,
    );
    let text = text.replace(
        r#"{ to = "dn", expr = '"CN=" & [badge]' },"#,
        r#"{ to = "dn", expr = '"CN=" & [badge]' },
  { to = "badge", expr = 'IIF(IsPresent([targetNumber]) && [targetNumber] <> [title], Error("SourceAnchor attribute has changed."), [badge])' },"#,
    );
    let mut world = World::new(|names| rules_of(names, &text));
    world.put(A, "1", person(1, "ada").with("title", "first").with("displayName", "Ada"));
    world.put(A, "2", person(2, "bob").with("title", "first"));
    round_trip(&mut world);
    let before = world.metaverse_of(A, "CN=u1,DC=x").unwrap();
    let entry = world.directory(A).get_mut("1").unwrap();
    entry.set("title", Some("moved"));
    entry.set("displayName", Some("Ada Moved"));
    world.directory(A).get_mut("2").unwrap().set("displayName", Some("Bob"));
    world.import(A);
    let (counters, outcome) = world.try_sync(A, false);
    assert_eq!((count(&counters, "flow-failure"), count(&counters, "connector-flow"), outcome.failed), (1, 1, 1));
    let problem = world.problem(A, "CN=u1,DC=x").unwrap();
    assert_eq!(problem.code, ObjectErrorCode::SYNC_RULE_ERROR_FUNCTION_TRIGGERED);
    assert!(problem.detail.contains("SourceAnchor attribute has changed."), "{}", problem.detail);
    assert_eq!(world.metaverse_of(A, "CN=u1,DC=x").unwrap(), before, "nothing of it is kept");
    assert_eq!(world.object(A, "CN=u1,DC=x").unwrap().stage(Stage::PendingImport).kind, DeltaKind::Update);
    assert_eq!(world.pending(T), 1, "bob alone");

    world.sync(A, false);
    assert_eq!(world.problem(A, "CN=u1,DC=x").unwrap().retry_count, 1, "tried again in every step");
    world.directory(A).get_mut("1").unwrap().set("title", Some("first"));
    world.import(A);
    world.sync(A, false);
    assert_eq!(world.problem(A, "CN=u1,DC=x"), None);
    let after = world.metaverse_of(A, "CN=u1,DC=x").unwrap();
    assert_eq!(world.mv_values(&after, "displayName"), ["Ada Moved"]);
    assert_eq!(world.snapshot().dirty(A, None, 10).unwrap(), []);
}

#[test]
fn the_loser_of_a_join_names_the_winner_and_takes_its_place_when_it_goes() {
    let mut world = World::new(rules);
    world.put(A, "2", person(2, "ada"));
    world.put(A, "1", person(1, "ada"));
    world.import_in(A, &["2".to_owned(), "1".to_owned()]);
    let counters = world.sync(A, false);
    assert_eq!((count(&counters, "disconnector-projected-flow"), count(&counters, "flow-failure")), (1, 1));
    let problem = world.problem(A, "CN=u2,DC=x").unwrap();
    assert_eq!(problem.code, ObjectErrorCode::AMBIGUOUS_JOIN);
    assert!(problem.detail.contains("CN=u1,DC=x"), "{}", problem.detail);
    world.directory(A).remove("1");
    world.import(A);
    world.sync(A, false);
    assert_eq!(world.problem(A, "CN=u2,DC=x"), None);
    assert!(world.object(A, "CN=u2,DC=x").unwrap().link.mv().is_some());
    assert_eq!(world.pending(T), 1);
}

#[test]
fn rules_that_would_join_an_object_to_two_partners_are_refused() {
    let text = format!(
        "{}\n{}",
        include_str!("rules.toml"),
        r#"
[[rule]]
name = "In from B - By mail"
direction = "inbound"
connector = "B"
cs_type = "user"
mv_type = "person"
link = "join"
order = 21
join = [[{ cs = "mail", mv = "mail" }]]
"#
    );
    let mut world = World::new(|names| rules_of(names, &text));
    world.put(A, "1", person(1, "ada"));
    world.put(A, "2", person(2, "bob"));
    let mut torn = person(3, "ada");
    torn.set("mail", Some("bob@x"));
    world.put(B, "1", torn);
    run(&mut world);
    assert_eq!(world.problem(B, "CN=u3,DC=x").unwrap().code, ObjectErrorCode::MULTIPLE_JOIN_RULES_IN_SCOPE);
    world.directory(B).get_mut("1").unwrap().set("mail", Some("ada@x"));
    run(&mut world);
    assert_eq!(world.problem(B, "CN=u3,DC=x"), None, "two rules that agree are welcome");
    assert!(world.object(B, "CN=u3,DC=x").unwrap().link.mv().is_some());
}

const JOIN_ONLY: &str = r#"
[[rule]]
name = "In from B - Card"
direction = "inbound"
connector = "B"
cs_type = "card"
mv_type = "person"
link = "LINK"
order = 95
join = [[{ cs = "badge", mv = "badge" }]]
direct = ["title"]
"#;

#[test]
fn an_object_that_only_joins_waits_for_its_partner_and_does_not_hold_it() {
    let text = format!("{}\n{}", include_str!("rules.toml"), JOIN_ONLY.replace("LINK", "join"));
    let mut world = World::new(|names| rules_of(names, &text));
    world.put(B, "1", Entry::new("card", "CN=card").with("badge", "ada").with("title", "card"));
    run(&mut world);
    assert_eq!(world.object(B, "CN=card").unwrap().link, Link::Disconnected);
    world.put(A, "1", person(1, "ada"));
    run(&mut world);
    let mv = world.metaverse_of(B, "CN=card").expect("woken by the new metaverse object");
    assert_eq!(world.mv_values(&mv, "title"), ["card"]);
    world.directory(A).remove("1");
    run(&mut world);
    assert_eq!(world.object(B, "CN=card").unwrap().link, Link::Disconnected);
    assert!(world.metaverse().is_empty());
}

#[test]
fn a_sticky_join_holds_the_metaverse_object() {
    let text = format!("{}\n{}", include_str!("rules.toml"), JOIN_ONLY.replace("LINK", "sticky-join"));
    let mut world = World::new(|names| rules_of(names, &text));
    world.put(B, "1", Entry::new("card", "CN=card").with("badge", "ada").with("title", "card"));
    world.put(A, "1", person(1, "ada"));
    run(&mut world);
    world.directory(A).remove("1");
    run(&mut world);
    let mv = world.metaverse_of(B, "CN=card").expect("held");
    assert_eq!(world.mv_values(&mv, "title"), ["card"]);
    assert_eq!(world.mv_values(&mv, "badge"), Vec::<String>::new(), "what the other gave is recalled");
}

#[test]
fn outbound_rules_find_objects_that_the_target_has_already() {
    let mut world = World::new(rules);
    world.put(T, "theirs", Entry::new("user", "CN=other name").with("badge", "ada").with("displayName", "old"));
    world.put(A, "1", person(1, "ada").with("displayName", "new"));
    world.import(T);
    world.sync(T, false);
    world.import(A);
    let counters = world.sync(A, false);
    assert_eq!(count(&counters, "provisioned-rename-flow/T"), 1, "{counters:?}");
    let target = world.object(T, "CN=other name").unwrap();
    assert_eq!(target.link.mv(), world.object(A, "CN=u1,DC=x").unwrap().link.mv());
    assert_eq!(target.stage(Stage::PendingExport).rename.as_deref(), Some("CN=ada"));
    assert_eq!(world.wanted(&target, "displayName"), ["new"]);
    assert_eq!(world.wanted(&target, "number"), Vec::<String>::new(), "it is not new");
    world.export(T);
    run(&mut world);
    assert_eq!((world.directory(T).len(), world.pending(T)), (1, 0));
    assert_eq!(world.directory(T)["theirs"].dn, "CN=ada");
}

#[test]
fn an_object_that_the_target_shows_late_is_found_too() {
    let text = include_str!("rules.toml").replace("name = \"Out to T - Person\"\ndirection = \"outbound\"\nconnector = \"T\"\ncs_type = \"user\"\nmv_type = \"person\"\nlink = \"provision\"", "name = \"Out to T - Person\"\ndirection = \"outbound\"\nconnector = \"T\"\ncs_type = \"user\"\nmv_type = \"person\"\nlink = \"join\"");
    let text =
        text.replace("join = [[{ cs = \"badge\", mv = \"badge\" }]]\nflows = [{ to = \"targetNumber\"", "flows = [{ to = \"targetNumber\"");
    let mut world = World::new(|names| rules_of(names, &text));
    world.put(A, "1", person(1, "ada").with("displayName", "Ada"));
    run(&mut world);
    assert_eq!(world.pending(T), 0, "rules that only join make nothing");
    world.put(T, "theirs", Entry::new("user", "CN=ada").with("badge", "ada"));
    world.import(T);
    let counters = world.sync(T, false);
    assert_eq!(count(&counters, "disconnector-joined-no-flow") + count(&counters, "disconnector-joined-flow"), 1, "{counters:?}");
    assert_eq!(world.pending(T), 1);
    world.directory(A).get_mut("1").unwrap().set("blocked", Some("yes"));
    world.import(A);
    world.sync(A, false);
    let target = world.object(T, "CN=ada").unwrap();
    assert_eq!(target.link.mv(), None);
    assert_eq!(world.pending(T), 0, "joined objects are let go, never deleted, and wishes for them with them");
}

#[test]
fn an_administrators_word_stands() {
    let mut world = World::new(rules);
    world.put(A, "1", person(1, "ada"));
    run(&mut world);
    let mut object = world.object(A, "CN=u1,DC=x").unwrap();
    let mv = object.link.mv().unwrap();
    object.link = Link::ExplicitlyConnected { mv };
    world.store.apply(ChangeSet { cs_put: vec![object], ..ChangeSet::new() }).unwrap();
    world.directory(A).get_mut("1").unwrap().set("title", Some("t"));
    world.import(A);
    world.sync(A, false);
    assert_eq!(world.object(A, "CN=u1,DC=x").unwrap().link, Link::ExplicitlyConnected { mv });

    world.put(A, "2", person(2, "bob"));
    world.import(A);
    let mut object = world.object(A, "CN=u2,DC=x").unwrap();
    object.link = Link::ExplicitlyDisconnected;
    world.store.apply(ChangeSet { cs_put: vec![object], ..ChangeSet::new() }).unwrap();
    let counters = world.sync(A, true);
    assert_eq!(count(&counters, "disconnector-remains"), 1);
    assert_eq!(world.object(A, "CN=u2,DC=x").unwrap().link, Link::ExplicitlyDisconnected);
    assert_eq!(world.metaverse().len(), 1);
}

#[test]
fn provisioning_without_a_name_is_the_objects_own_problem() {
    let text = include_str!("rules.toml").replace(r#"'"CN=" & [badge]'"#, r#"'IIF(IsPresent([title]), "CN=" & [badge], NULL)'"#);
    let mut world = World::new(|names| rules_of(names, &text));
    world.put(A, "1", person(1, "ada"));
    world.import(A);
    world.sync(A, false);
    let problem = world.problem(A, "CN=u1,DC=x").unwrap();
    assert_eq!(problem.code, ObjectErrorCode::MISSING_PROVISIONING_ATTRIBUTE);
    assert!(problem.detail.contains("Out to T - Person"), "{}", problem.detail);
    assert!(world.metaverse().is_empty() && world.space(T).is_empty());
}

#[test]
fn rules_that_feed_each_other_are_stopped() {
    let text = include_str!("rules.toml")
        .replace(
            r#"flows = [{ to = "targetNumber", expr = 'ImportedValue("number")' }]"#,
            r#"flows = [{ to = "targetNumber", expr = '[info] & "x"' }]"#,
        )
        .replace(r#"{ to = "number", constant = "first", once = true },"#, r#"{ to = "info", from = "targetNumber" },"#);
    let mut world = World::new(|names| rules_of(names, &text));
    world.put(A, "1", person(1, "ada"));
    world.import(A);
    world.sync(A, false);
    assert_eq!(world.problem(A, "CN=u1,DC=x").unwrap().code, ObjectErrorCode::PROVISIONING_LOOP);
    assert!(world.space(T).is_empty());
}

#[test]
fn merged_attributes_only_gain() {
    let text = include_str!("rules.toml").replace(
        r#"direct = ["badge", "displayName", "mail", "title", "manager", "tags"]
flows = ["#,
        r#"direct = ["badge", "displayName", "mail", "title", "manager"]
flows = [
  { to = "tags", from = "tags", merge = "merge" },"#,
    );
    let mut world = World::new(|names| rules_of(names, &text));
    world.put(T, "theirs", Entry::new("user", "CN=ada").with("badge", "ada").with("tags", "theirs"));
    world.put(A, "1", person(1, "ada").with("tags", "ours"));
    round_trip(&mut world);
    assert_eq!(world.directory(T)["theirs"].values["tags"], names(&["ours", "theirs"]));
    world.directory(A).get_mut("1").unwrap().set("tags", None);
    round_trip(&mut world);
    assert!(world.directory(T)["theirs"].values["tags"].contains("theirs"));
}

#[test]
fn a_wish_that_comes_true_by_itself_is_dropped() {
    let mut world = World::new(rules);
    world.put(A, "1", person(1, "ada").with("displayName", "one"));
    round_trip(&mut world);
    world.directory(A).get_mut("1").unwrap().set("displayName", Some("two"));
    world.import(A);
    world.sync(A, false);
    assert_eq!(world.pending(T), 1);
    world.directory(T).values_mut().next().unwrap().set("displayName", Some("two"));
    world.import(T);
    world.sync(T, false);
    assert_eq!(world.pending(T), 0);
}

#[test]
fn members_of_a_watched_group_are_looked_at_when_membership_changes() {
    let text = include_str!("rules.toml").replacen(
        r#"scope = [[{ attr = "hidden", op = "NOTEQUAL", value = "yes" }]]"#,
        r#"scope = [[{ attr = "memberOf", op = "ISMEMBEROF", value = "CN=pilot,DC=x" }]]"#,
        1,
    );
    let mut world = World::new(|names| rules_of(names, &text));
    world.put(A, "1", person(1, "ada"));
    world.put(A, "p", Entry::new("group", "CN=pilot,DC=x").with("cn", "pilot"));
    run(&mut world);
    assert_eq!(world.object(A, "CN=u1,DC=x").unwrap().link, Link::DisconnectedByFilter);
    let pilot = world.directory(A)["p"].clone().to("member", "1");
    world.put(A, "p", pilot);
    run(&mut world);
    assert!(world.object(A, "CN=u1,DC=x").unwrap().link.mv().is_some());
    world.directory(A).get_mut("p").unwrap().references.clear();
    run(&mut world);
    assert_eq!(world.object(A, "CN=u1,DC=x").unwrap().link, Link::DisconnectedByFilter);
}

#[test]
fn a_preview_tells_everything_and_writes_nothing() {
    let mut world = World::new(rules);
    world.put(A, "1", person(1, "ada").with("displayName", "Ada"));
    world.put(A, "2", person(2, "bob").to("manager", "1"));
    world.import(A);
    world.sync(A, false);
    world.directory(A).get_mut("1").unwrap().set("displayName", Some("Ada Lovelace"));
    world.put(A, "3", person(3, "cyd"));
    world.import(A);
    let (spaces, metaverse) = ((world.space(A), world.space(T)), world.metaverse());
    let id = world.object(A, "CN=u1,DC=x").unwrap().id;
    let told = preview(&world.store, &world.rules, &RunParameters::default(), id, false).unwrap().unwrap();
    assert_eq!(told.decision, PreviewDecision::StaysLinked);
    assert_eq!(told.scope.len(), 1);
    assert_eq!(told.changes.len(), 1);
    assert_eq!(
        (told.changes[0].removed.as_slice(), told.changes[0].added.as_slice()),
        (&["Ada".to_owned()][..], &["Ada Lovelace".to_owned()][..])
    );
    let flow = told.flows.iter().find(|flow| flow.attribute == "displayName").unwrap();
    assert_eq!((flow.rule.as_str(), flow.source_dn.as_str()), ("In from A - Person", "CN=u1,DC=x"));
    assert_eq!(told.targets.len(), 1);
    assert_eq!(told.targets[0].dn, "CN=ada");
    let id = world.object(A, "CN=u3,DC=x").unwrap().id;
    let told = preview(&world.store, &world.rules, &RunParameters::default(), id, true).unwrap().unwrap();
    assert_eq!((told.decision, told.targets[0].pending), (PreviewDecision::Projects, DeltaKind::Add));
    assert!(told.before.is_none() && told.after.is_some());
    assert_eq!((world.space(A), world.space(T)), spaces);
    assert_eq!(world.metaverse(), metaverse);
}

#[test]
fn a_step_that_is_asked_to_stop_ends_between_batches_and_can_go_on() {
    let mut world = World::new(rules);
    for number in 0..3_000 {
        world.put(A, &format!("{number:04}"), person(number, &format!("b{number}")));
    }
    world.import(A);
    let cx = Context::system();
    let request = syncline::engine::sync::SyncRequest {
        connector: A,
        full: false,
        parameters: RunParameters::default(),
        connectors: std::collections::BTreeMap::new(),
        step: (syncline::model::RunId(1), 1),
        batch: 2_000,
    };
    let store = world.store.clone();
    let outcome = syncline::engine::sync::synchronize(&store, &world.rules, &request, &cx, &mut |plan| {
        cx.cancel.cancel();
        store.apply(plan.changes)
    })
    .unwrap();
    assert!(outcome.stopped && outcome.processed == 2_000, "{outcome:?}");
    let counters = world.sync(A, false);
    assert_eq!(count(&counters, "disconnector-projected-flow"), 1_000);
    assert_eq!(world.metaverse().len(), 3_000);
}

#[test]
fn marks_for_a_new_evaluation_go_when_it_has_happened() {
    let mut world = World::new(rules);
    world.put(A, "1", person(1, "ada"));
    run(&mut world);
    let id = world.object(A, "CN=u1,DC=x").unwrap().id;
    world.touch(id);
    assert_eq!(world.snapshot().dirty(A, None, 9).unwrap(), [(id, DirtyReason::Consequence)]);
    let counters = world.sync(A, false);
    assert_eq!(count(&counters, "connector-no-flow"), 1);
    assert_eq!(world.snapshot().dirty(A, None, 9).unwrap(), []);
    assert_eq!(world.runs().0, 1, "history is written by whoever runs the step");
}

#[test]
fn news_that_are_taken_back_before_their_own_turn_leave_nothing() {
    let mut world = World::new(rules);
    world.put(A, "1", person(1, "ada"));
    world.put(A, "g", Entry::new("group", "CN=g,DC=x").with("cn", "staff"));
    round_trip(&mut world);
    let without = world.directory(A)["g"].clone();
    world.put(A, "g", without.clone().to("member", "1"));
    world.import(A);
    // The target's own news make the group's metaverse object be worked out from everything known, news included.
    let entry = world.directory(T).values_mut().find(|entry| entry.dn == "CN=g-staff").unwrap();
    entry.set("displayName", Some("changed there"));
    world.import(T);
    world.sync(T, false);
    world.put(A, "g", without);
    run(&mut world);
    let group = world.object(T, "CN=g-staff").unwrap();
    assert_eq!(world.wanted_references(&group, "member"), names(&[]));
    assert_eq!(world.snapshot().mv_references(group.link.mv().unwrap()).unwrap(), []);
}

#[test]
fn a_manager_given_by_a_contributor_goes_with_it() {
    let mut world = World::new(rules);
    world.put(B, "1", person(1, "ada").to("manager", "2"));
    world.put(B, "2", person(2, "bob"));
    world.put(A, "3", person(3, "ada"));
    round_trip(&mut world);
    let mv = world.metaverse_of(A, "CN=u3,DC=x").unwrap();
    assert_eq!(world.snapshot().mv_references(mv.id).unwrap().len(), 1);
    world.directory(B).remove("1");
    round_trip(&mut world);
    assert_eq!(world.snapshot().mv_references(mv.id).unwrap(), []);
    let target = world.object(T, "CN=ada").unwrap();
    assert_eq!(world.wanted_references(&target, "manager"), names(&[]));
}
