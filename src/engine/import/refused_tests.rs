//! Entries of which no object came: kept until one comes, or until the directory says that they left.

use super::tests::{Outcome, SPACE, by_name, consume, entry, full};
use super::{AlwaysThere, ImportOptions, import, refused_entries};
use crate::connector::{ClassAttribute, Completion, DiscoveryError, Legible, OddClass, Operation, PageBuilder};
use crate::context::Context;
use crate::engine::{Silent, StepRecorder};
use crate::model::{Anchor, DeltaKind, ErrorSide, ObjectErrorCode, RunId, Stage, StageMask, ValueRef};
use crate::store::Store;

/// What a directory tells.
enum Told<'a> {
    /// An entry that cannot be used.
    Refused(&'a str, Option<&'a str>),
    /// One that can.
    Entry(&'a str, &'a str),
    /// It left, by its name and its key.
    Gone(&'a str, Option<&'a str>),
    /// One of a class that nobody knows.
    Odd(&'a str),
    /// An entry that cannot be used, with every key in it.
    Keys(&'a str, &'a [&'a str]),
    /// One that can, with whom it refers to by name.
    Referrer(&'a str, &'a str, &'a str),
}
use Told::{Entry, Gone, Keys, Odd, Referrer, Refused};

fn illegible(name: &str, anchor: Option<&str>, keys: &[&str]) -> DiscoveryError {
    let key = |key: &str| Anchor::new(key.as_bytes());
    DiscoveryError {
        code: ObjectErrorCode::PARSE_ERROR,
        detail: "illegible".to_owned(),
        dn: Some(name.to_owned()),
        anchor: anchor.map(key),
        legible: Legible { anchors: keys.iter().copied().map(key).collect(), ..Legible::default() },
    }
}

fn tell(store: &Store, told: &[Told<'_>], full: bool) -> String {
    let mut page = PageBuilder::new();
    for told in told {
        match told {
            Refused(name, anchor) => page.reject(illegible(name, *anchor, &[])),
            Keys(name, keys) => page.reject(illegible(name, None, keys)),
            Odd(name) => page.odd_class(OddClass {
                dn: (*name).to_owned(),
                anchor: None,
                class: "uesr".to_owned(),
                place: "line 1".to_owned(),
                slip: true,
                legible: Legible::default(),
            }),
            Referrer(name, anchor, target) => {
                page.begin_entry(name);
                page.anchor(anchor.as_bytes());
                page.object_type(store.names().object_type("user"));
                page.attribute(store.names().intern("manager"), Operation::Replace);
                page.reference(target);
                page.finish();
            }
            Entry(name, anchor) => {
                page.begin_entry(name);
                page.anchor(anchor.as_bytes());
                page.object_type(store.names().object_type("user"));
                page.finish();
            }
            Gone(name, anchor) => {
                page.begin_gone(name);
                if let Some(anchor) = anchor {
                    page.anchor(anchor.as_bytes());
                }
                page.finish();
            }
        }
    }
    let completion = Completion { watermark: Some(vec![7]), answered_in_full: false };
    let mut options = ImportOptions::full(SPACE, "A", Vec::new(), (RunId(1), 1));
    options.full = full;
    let mut silent = Silent;
    let mut recorder = StepRecorder::new(&mut silent);
    let pages = std::iter::once(Ok(page.build(Some(completion))));
    import(store, pages, &options, &Context::system(), &mut recorder).unwrap().to_owned()
}

/// Who is refused, by name.
fn names(store: &Store) -> Vec<String> {
    refused_entries(&store.snapshot().unwrap(), SPACE).unwrap().into_iter().map(|entry| entry.name).collect()
}

/// A space of one object, and two entries of which none came.
fn refused() -> Store {
    let store = Store::in_memory().unwrap();
    let told = [Entry("CN=known,DC=x", "0"), Refused("CN=Anna,DC=x", Some("1")), Refused("CN=Bert,DC=x", Some("2"))];
    assert_eq!(tell(&store, &told, true), "completed-discovery-errors");
    consume(&store);
    tell(&store, &[], false);
    assert_eq!(names(&store), ["CN=Anna,DC=x", "CN=Bert,DC=x"], "no change was told of them");
    store
}

#[test]
fn who_left_is_refused_no_more() {
    for (tombstone, left) in [
        (Gone("CN=Anna,DC=x", Some("1")), vec!["CN=Bert,DC=x"]),
        (Gone("CN=elsewhere,DC=x", Some("1")), vec!["CN=Bert,DC=x"]),
        (Gone("", Some("2")), vec!["CN=Anna,DC=x"]),
        (Gone("cn=anna, dc=x", None), vec!["CN=Bert,DC=x"]),
        // Somebody else had that name.
        (Gone("CN=Anna,DC=x", Some("9")), vec!["CN=Anna,DC=x", "CN=Bert,DC=x"]),
    ] {
        let store = refused();
        assert_eq!(tell(&store, &[tombstone], false), "success");
        assert_eq!(names(&store), left);
        tell(&store, &[], false);
        assert_eq!(names(&store), left);
    }
    // The last one takes what is kept along.
    let store = refused();
    tell(&store, &[Gone("", Some("1")), Gone("", Some("2"))], false);
    assert!(names(&store).is_empty());
    assert_eq!(store.snapshot().unwrap().state(SPACE, "refused-entries").unwrap(), None);
    // Refused and gone within one import.
    let store = refused();
    tell(&store, &[Refused("CN=Carl,DC=x", Some("3")), Gone("CN=Carl,DC=x", Some("3"))], false);
    assert_eq!(names(&store), ["CN=Anna,DC=x", "CN=Bert,DC=x"]);
}

#[test]
fn who_is_renamed_and_refused_again_stands_there_once() {
    let store = refused();
    let since = refused_entries(&store.snapshot().unwrap(), SPACE).unwrap()[0].since;
    std::thread::sleep(std::time::Duration::from_millis(2));
    tell(&store, &[Refused("CN=Anna,OU=moved,DC=x", Some("1")), Refused("CN=Anna,OU=again,DC=x", Some("1"))], false);
    assert_eq!(names(&store), ["CN=Anna,OU=again,DC=x", "CN=Bert,DC=x"]);
    assert_eq!(refused_entries(&store.snapshot().unwrap(), SPACE).unwrap()[0].since, since, "known since the first time");
    tell(&store, &[Gone("", Some("1"))], false);
    assert_eq!(names(&store), ["CN=Bert,DC=x"]);
}

/// Who came and left later is not in the way once more.
#[test]
fn who_came_is_forgotten_for_good() {
    let store = refused();
    assert_eq!(tell(&store, &[Entry("CN=Anna,DC=x", "1")], false), "success");
    consume(&store);
    assert_eq!(names(&store), ["CN=Bert,DC=x"]);
    assert_eq!(tell(&store, &[Gone("CN=Anna,DC=x", Some("1"))], false), "success");
    consume(&store);
    assert_eq!(names(&store), ["CN=Bert,DC=x"]);
}

/// Names without keys are told apart however they are spelt, and a full import tells of all.
#[test]
fn entries_without_a_key_go_by_their_names() {
    let store = Store::in_memory().unwrap();
    let outcome: Outcome = full(&store, &[entry("CN=known,DC=x", "0", &[])]);
    assert_eq!(outcome.0, "success");
    consume(&store);
    tell(&store, &[Refused("CN=Anna,DC=x", None), Refused("cn=anna,dc=x", None), Refused("CN=Bert,DC=x", None)], false);
    assert_eq!(names(&store), ["cn=anna,dc=x", "CN=Bert,DC=x"]);
    tell(&store, &[Gone("CN=anna,DC=x", None)], false);
    assert_eq!(names(&store), ["CN=Bert,DC=x"]);
    tell(&store, &[Entry("CN=known,DC=x", "0")], true);
    assert!(names(&store).is_empty());
}

/// A change record that tells nothing but an unknown class says who it is about by what was read of them before: by what identifies
/// people first, and by short values.
#[test]
fn whoever_gets_an_unknown_class_is_known_by_what_was_read_before() {
    let store = Store::in_memory().unwrap();
    let many: Vec<(String, String)> = (0..60).map(|number| (format!("attribute{number:02}"), format!("value {number}"))).collect();
    let own = [
        ("userPrincipalName", "anna@x.example"),
        ("mS-DS-ConsistencyGuid", "a key"),
        ("displayName", "Anna A."),
        ("sAMAccountName", "anna"),
        ("description", &"long ".repeat(100)),
    ];
    let values: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain(own).collect();
    assert_eq!(full(&store, &[entry("CN=Anna,DC=x", "1", &values), entry("CN=Bert,DC=x", "2", &[])]).0, "success");
    consume(&store);
    let mut page = PageBuilder::new();
    for dn in ["CN=Anna,DC=x", "CN=nobody,DC=x"] {
        let (class, place, legible) = ("uesr".to_owned(), "a file, line 1".to_owned(), Legible::default());
        page.odd_class(OddClass { dn: dn.to_owned(), anchor: None, class, place, slip: true, legible });
        page.begin_gone(dn);
        page.finish();
    }
    let page = page.build(Some(Completion { watermark: Some(vec![7]), answered_in_full: false }));
    let attributes = values.iter().map(|(name, _)| store.names().intern(name)).collect();
    let mut options = ImportOptions::full(SPACE, "A", attributes, (RunId(1), 1));
    options.full = false;
    let mut silent = Silent;
    let mut recorder = StepRecorder::new(&mut silent);
    let result = import(&store, std::iter::once(Ok(page)), &options, &Context::system(), &mut recorder).unwrap();
    assert_eq!(result, "completed-warnings");
    consume(&store);
    let refused = refused_entries(&store.snapshot().unwrap(), SPACE).unwrap();
    let [anna] = &refused[..] else { panic!("{refused:?}") };
    assert_eq!((anna.name.as_str(), anna.anchor.as_deref()), ("CN=Anna,DC=x", Some(&b"1"[..])));
    assert_eq!(
        (&anna.identities[..], &anna.names[..]),
        (&["anna@x.example".to_owned(), "anna".to_owned()][..], &["Anna A.".to_owned()][..])
    );
    assert!(anna.keys[0] == b"a key" && anna.keys.contains(&b"value 0".to_vec()), "{anna:?}");
    assert_eq!(anna.keys.len(), Legible::VALUES_MAX - 3);
}

/// The delete of somebody whose class is odd is staged, and the next import comes before the synchronization.
#[test]
fn who_waits_to_be_deleted_has_not_come() {
    let store = Store::in_memory().unwrap();
    tell(&store, &[Entry("CN=Anna,DC=x", "1"), Entry("CN=Bert,DC=x", "2")], true);
    consume(&store);
    tell(&store, &[Odd("CN=Anna,DC=x"), Gone("CN=Anna,DC=x", Some("1"))], false);
    assert_eq!(by_name(&store, "CN=Anna,DC=x").stage(Stage::PendingImport).kind, DeltaKind::Delete);
    tell(&store, &[], false);
    assert_eq!(names(&store), ["CN=Anna,DC=x"]);
    consume(&store);
    assert_eq!(names(&store), ["CN=Anna,DC=x"], "she is held when the delete reaches the target");
    tell(&store, &[], false);
    assert_eq!(names(&store), ["CN=Anna,DC=x"]);
    tell(&store, &[Entry("CN=Anna,DC=x", "1")], false);
    assert!(names(&store).is_empty());
}

/// Somebody whose key stands in an entry that cannot be used is held, also when an entry before it took the name.
#[test]
fn who_lost_a_name_is_held_by_a_key_all_the_same() {
    let store = Store::in_memory().unwrap();
    tell(&store, &[Entry("CN=p,DC=x", "2"), Entry("CN=q,DC=x", "3"), Entry("CN=r,DC=x", "4")], true);
    consume(&store);
    let id = by_name(&store, "CN=p,DC=x").id;
    tell(&store, &[Entry("CN=r,DC=x", "4"), Entry("CN=p,DC=x", "9"), Keys("CN=q,DC=x", &["3", "2"])], true);
    let object = store.snapshot().unwrap().cs_object(id).unwrap().unwrap();
    assert_ne!(object.stage(Stage::PendingImport).kind, DeltaKind::Delete);
    assert_eq!(store.snapshot().unwrap().error(id, ErrorSide::Import).unwrap(), None, "nobody told the name twice");
}

/// The references of whoever is only held are those of before: they do not follow a name. Those of whoever is read after all do.
#[test]
fn references_of_the_held_follow_no_name() {
    let anna = Referrer("CN=Anna,DC=x", "1", "CN=b,DC=x");
    let moved = Referrer("CN=Anna,OU=new,DC=x", "1", "CN=b,DC=x");
    for (read, follows) in [(None, false), (Some(anna), true), (Some(moved), true)] {
        let store = Store::in_memory().unwrap();
        let before = [Referrer("CN=Anna,DC=x", "1", "CN=b,DC=x"), Entry("CN=q,DC=x", "3"), Entry("CN=b,DC=x", "4")];
        tell(&store, &before, true);
        consume(&store);
        let (anna, before) = (by_name(&store, "CN=Anna,DC=x").id, by_name(&store, "CN=b,DC=x").id);
        let mut told = vec![Keys("CN=q,DC=x", &["3", "1"])];
        told.extend(read);
        told.extend([Entry("CN=c,DC=x", "4"), Entry("CN=b,DC=x", "5")]);
        tell(&store, &told, true);
        let rows = store.snapshot().unwrap().cs_references(anna).unwrap();
        let shown: Vec<_> = rows.iter().filter(|row| row.state.present(StageMask::IMPORTED)).map(|row| row.target).collect();
        let expected = if follows { by_name(&store, "CN=b,DC=x").id } else { before };
        assert_eq!(shown, [expected], "read: {follows}");
    }
}

/// An account of Active Directory whose `userAccountControl` the reader may not read, and a group, which has none.
#[test]
fn a_new_account_that_does_not_say_whether_it_may_be_used_is_not_taken_where_all_do() {
    const ALWAYS: ClassAttribute = ClassAttribute { class: "user", attribute: "userAccountControl" };
    for (all, allow_incomplete, taken) in [(true, false, false), (false, false, true), (true, true, true)] {
        let store = Store::in_memory().unwrap();
        let control = store.names().intern("userAccountControl");
        let mut page = PageBuilder::new();
        for (name, class, value) in [("CN=Ada", "user", None), ("CN=Bert", "user", Some("512")), ("CN=Crew", "group", None)] {
            page.begin_entry(name);
            page.anchor(name.as_bytes());
            page.object_type(store.names().object_type(class));
            if let Some(value) = value {
                page.attribute(control, Operation::Replace);
                page.value(ValueRef::Text(value));
            }
            page.finish();
        }
        let options = ImportOptions {
            always_there: AlwaysThere::by(move |asked| asked.into_iter().filter(|asked| all && *asked == ALWAYS).collect()),
            allow_incomplete,
            // What allows a smaller directory says nothing of single entries.
            allow_shrink: true,
            ..ImportOptions::full(SPACE, "A", vec![control], (RunId(1), 1))
        };
        let mut silent = Silent;
        let mut recorder = StepRecorder::new(&mut silent);
        let pages = std::iter::once(Ok(page.build(Some(Completion::default()))));
        let result = import(&store, pages, &options, &Context::system(), &mut recorder).unwrap();
        let snapshot = store.snapshot().unwrap();
        let found = ["CN=Ada", "CN=Bert", "CN=Crew"].map(|name| snapshot.cs_by_anchor(SPACE, name.as_bytes()).unwrap().is_some());
        assert_eq!(found, [taken, true, true]);
        assert_eq!(names(&store), if taken { Vec::new() } else { vec!["CN=Ada".to_owned()] });
        assert_eq!(result, if taken { "success" } else { "completed-discovery-errors" });
    }
}

/// What a directory that hides an attribute shows of people, groups and groups of OpenLDAP.
#[test]
fn what_lacks_an_attribute_that_nobody_of_its_kind_is_without_stays_until_it_shows_again() {
    let store = Store::in_memory().unwrap();
    let [control, account, critical, member] =
        ["userAccountControl", "sAMAccountName", "isCriticalSystemObject", "member"].map(|name| store.names().intern(name));
    let told = |hidden: &str, full: bool| {
        let mut page = PageBuilder::new();
        for (name, class) in [("CN=Ada", "user"), ("CN=System", "group"), ("CN=Crew", "group"), ("CN=Band", "groupOfNames")] {
            page.begin_entry(name);
            page.anchor(name.as_bytes());
            page.object_type(store.names().object_type(class));
            let has = |shown: &str| shown != hidden;
            if has("userAccountControl") && class == "user" {
                page.attribute(control, Operation::Replace);
                page.value(ValueRef::Text("514"));
            }
            if has("sAMAccountName") && class != "groupOfNames" {
                page.attribute(account, Operation::Replace);
                page.value(ValueRef::Text(name));
            }
            if has("isCriticalSystemObject") && name == "CN=System" {
                page.attribute(critical, Operation::Replace);
                page.value(ValueRef::Text("TRUE"));
            }
            // A group of Active Directory may have nobody.
            if has("member") && name != "CN=Ada" && name != "CN=System" {
                page.attribute(member, Operation::Replace);
                page.reference("CN=Ada");
            }
            page.finish();
        }
        let completion = Completion { watermark: Some(vec![7]), answered_in_full: false };
        let mut options = ImportOptions::full(SPACE, "A", vec![control, account, critical, member], (RunId(1), 1));
        options.full = full;
        let mut silent = Silent;
        let mut recorder = StepRecorder::new(&mut silent);
        let pages = std::iter::once(Ok(page.build(Some(completion))));
        import(&store, pages, &options, &Context::system(), &mut recorder).unwrap().to_owned()
    };
    assert_eq!(told("", true), "success");
    consume(&store);
    for (hidden, stay) in [
        ("userAccountControl", &["CN=Ada"][..]),
        ("sAMAccountName", &["CN=Ada", "CN=System", "CN=Crew"]),
        ("isCriticalSystemObject", &["CN=System"]),
        ("member", &["CN=Band"]),
    ] {
        assert_eq!(told(hidden, true), "completed-discovery-errors", "{hidden}");
        let snapshot = store.snapshot().unwrap();
        for name in ["CN=Ada", "CN=System", "CN=Crew", "CN=Band"] {
            let object = by_name(&store, name);
            let stays = stay.contains(&name);
            let error = snapshot.error(object.id, ErrorSide::Import).unwrap();
            assert_eq!(error.map(|error| error.code), stays.then_some(ObjectErrorCode::MISSING_REQUIRED_ATTRIBUTE), "{hidden} {name}");
            let changed = hidden == "member" && name == "CN=Crew";
            let kind = object.stage(Stage::PendingImport).kind;
            assert_eq!(kind, if changed { DeltaKind::Update } else { DeltaKind::None }, "{hidden} {name}");
        }
        assert_eq!(told("", true), "success", "{hidden}");
        assert_eq!(by_name(&store, "CN=Crew").stage(Stage::PendingImport).kind, DeltaKind::None, "{hidden}");
    }
}
