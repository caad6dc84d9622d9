//! Who lacks what nobody of its kind is without is asked for by imports of changes, and does not make them read everything.

use super::tests::{SPACE, by_name, consume};
use super::{FULL_NEEDED, ImportOptions, import_asking};
use crate::connector::{Completion, ConnectorError, ImportPage, Operation, PageBuilder};
use crate::context::Context;
use crate::engine::{Silent, StepRecorder};
use crate::model::{Anchor, DeltaKind, ErrorSide, FlatValues, Link, MvId, MvObject, RunId, Stage, StageMask, ValueRef, ValueState};
use crate::store::{ChangeSet, Store};

/// An account, by its name, and whether `userAccountControl` and the class show of it.
#[derive(Clone, Copy)]
enum Shown {
    Whole(&'static str),
    NoControl(&'static str),
    NoClass(&'static str),
    Gone(&'static str),
}
use Shown::{Gone, NoClass, NoControl, Whole};

/// What the directory answers when it is asked.
enum Answer {
    /// It cannot be asked.
    Mute,
    These(Vec<Shown>),
}

fn page(store: &Store, shown: &[Shown]) -> ImportPage {
    let mut page = PageBuilder::new();
    for shown in shown {
        let (Whole(name) | NoControl(name) | NoClass(name) | Gone(name)) = shown;
        if let Gone(_) = shown {
            page.begin_gone(name);
            page.anchor(name.as_bytes());
            page.finish();
            continue;
        }
        page.begin_entry(name);
        page.anchor(name.as_bytes());
        if !matches!(shown, NoClass(_)) {
            page.object_type(store.names().object_type("user"));
        }
        if !matches!(shown, NoControl(_)) {
            page.attribute(store.names().intern("userAccountControl"), Operation::Replace);
            page.value(ValueRef::Text("514"));
        }
        page.finish();
    }
    page.build(Some(Completion { watermark: Some(vec![7]), answered_in_full: false }))
}

/// What an import comes to, whom it asked for, and whether the next one has to read everything.
fn tell(store: &Store, full: bool, shown: &[Shown], answer: &Answer) -> (String, Vec<String>, bool) {
    let mut options = ImportOptions::full(SPACE, "A", vec![store.names().intern("userAccountControl")], (RunId(1), 1));
    options.full = full;
    let mut asked = Vec::new();
    let mut ask = |anchors: &[Anchor]| -> Result<Option<Vec<ImportPage>>, ConnectorError> {
        asked.extend(anchors.iter().map(|anchor| String::from_utf8(anchor.as_bytes().to_vec()).unwrap()));
        Ok(match answer {
            Answer::Mute => None,
            Answer::These(shown) => Some(vec![page(store, shown)]),
        })
    };
    let mut silent = Silent;
    let mut recorder = StepRecorder::new(&mut silent);
    let pages = std::iter::once(Ok(page(store, shown)));
    let result = import_asking(store, pages, &mut ask, &options, &Context::system(), &mut recorder).unwrap().to_owned();
    (result, asked, store.snapshot().unwrap().state(SPACE, FULL_NEEDED).unwrap().is_some())
}

fn nobody() -> Answer {
    Answer::These(Vec::new())
}

const ERRORS: &str = "completed-discovery-errors";
const ADA: &str = "CN=Ada";
const BERT: &str = "CN=Bert";

/// A store that knows Ada, Bert and the control of both, in which Ada lacks something since the last full import.
fn where_ada_lacks(lacks: Shown) -> Store {
    let store = Store::in_memory().unwrap();
    assert_eq!(tell(&store, true, &[Whole(ADA), Whole(BERT)], &nobody()), ("success".to_owned(), Vec::new(), false));
    consume(&store);
    let (result, asked, everything) = tell(&store, true, &[lacks, Whole(BERT)], &nobody());
    assert_eq!((result.as_str(), asked.len(), everything), (ERRORS, 0, false));
    store
}

fn has_control(store: &Store, name: &str) -> bool {
    let object = by_name(store, name);
    let control = store.names().intern("userAccountControl");
    object.values.attribute(control).any(|item| ValueState(item.flags).present(StageMask::IMPORTED))
}

#[test]
fn changes_ask_for_who_lacks_something_until_it_shows() {
    for lacks in [NoControl(ADA), NoClass(ADA)] {
        let store = where_ada_lacks(lacks);
        for _ in 0..2 {
            let (result, asked, everything) = tell(&store, false, &[Whole(BERT)], &Answer::These(vec![lacks]));
            assert_eq!((result.as_str(), asked, everything), (ERRORS, vec![ADA.to_owned()], false));
            assert!(has_control(&store, ADA), "as it was");
        }
        let told = tell(&store, false, &[], &Answer::These(vec![Whole(ADA)]));
        assert_eq!(told, ("success".to_owned(), vec![ADA.to_owned()], false));
        assert_eq!(tell(&store, false, &[], &nobody()), ("success".to_owned(), Vec::new(), false), "nobody lacks anything");
    }
}

#[test]
fn who_is_told_by_itself_is_not_asked_for() {
    for (told, result) in [(Whole(ADA), "success"), (NoControl(ADA), ERRORS), (Gone(ADA), "success")] {
        let store = where_ada_lacks(NoControl(ADA));
        let told = tell(&store, false, &[told], &nobody());
        assert_eq!(told, (result.to_owned(), Vec::new(), false));
        let again = tell(&store, false, &[], &Answer::These(vec![Whole(ADA)]));
        assert_eq!(again.1.len(), usize::from(result == ERRORS), "{result}");
    }
}

#[test]
fn who_lacks_something_and_is_not_found_makes_the_next_import_read_everything() {
    for answer in [nobody(), Answer::Mute] {
        let store = where_ada_lacks(NoControl(ADA));
        let (_, asked, everything) = tell(&store, false, &[Whole(BERT)], &answer);
        assert_eq!((asked, everything), (vec![ADA.to_owned()], true));
        assert!(!by_name(&store, ADA).stage(Stage::PendingImport).is_some(), "one that does not show is not gone");
        let told = tell(&store, true, &[Whole(ADA), Whole(BERT)], &answer);
        assert_eq!(told, ("success".to_owned(), Vec::new(), false));
        assert_eq!(tell(&store, false, &[], &answer), ("success".to_owned(), Vec::new(), false));
    }
}

/// Somebody who is new and lacks something is found when the right to read is given.
#[test]
fn a_new_entry_that_lacks_something_is_asked_for_too() {
    let store = Store::in_memory().unwrap();
    assert_eq!(tell(&store, true, &[NoClass(ADA), Whole(BERT)], &nobody()), (ERRORS.to_owned(), Vec::new(), false));
    consume(&store);
    let told = tell(&store, false, &[], &Answer::These(vec![Whole(ADA)]));
    assert_eq!(told, ("success".to_owned(), vec![ADA.to_owned()], false));
    assert!(has_control(&store, ADA));
    // Another one, who leaves before anybody may read it.
    let store = Store::in_memory().unwrap();
    assert!(!tell(&store, true, &[NoClass(ADA), Whole(BERT)], &nobody()).2);
    assert_eq!(tell(&store, false, &[Gone(ADA)], &nobody()).1, Vec::<String>::new());
    assert_eq!(tell(&store, false, &[], &nobody()), ("success".to_owned(), Vec::new(), false));
}

/// A directory that says nothing of what is always there, as a file.
#[test]
fn what_most_of_those_have_who_are_known_nobody_new_is_without() {
    const KNOWN: [&str; 6] = ["CN=1", "CN=2", "CN=3", "CN=4", "CN=5", "CN=6"];
    for (have, taken) in [(6, false), (4, false), (3, true), (0, true)] {
        let store = Store::in_memory().unwrap();
        let known: Vec<Shown> = KNOWN.iter().enumerate().map(|(at, name)| if at < have { Whole(name) } else { NoControl(name) }).collect();
        tell(&store, true, &known, &nobody());
        consume(&store);
        let (result, _, everything) = tell(&store, false, &[NoControl(ADA)], &nobody());
        assert_eq!((result == "success", everything), (taken, false), "{have}: {result}");
        let ada = store.snapshot().unwrap().cs_by_anchor(SPACE, ADA.as_bytes()).unwrap();
        assert_eq!(ada.is_some(), taken, "{have}");
    }
}

/// A slip in a file, or a tool that writes another class: the account would be deleted.
#[test]
fn nobody_becomes_another_kind_of_thing() {
    for (was, is, stays) in [
        ("user", "contact", true),
        ("group", "user", true),
        ("user", "computer", true),
        ("user", "inetOrgPerson", false),
        ("groupOfNames", "group", false),
        ("device", "user", false),
    ] {
        for (allowed, tied) in [(false, true), (true, true), (false, false)] {
            let store = Store::in_memory().unwrap();
            let told = |class: &str, allow_incomplete: bool| {
                let mut page = PageBuilder::new();
                page.begin_entry(ADA);
                page.anchor(ADA.as_bytes());
                page.object_type(store.names().object_type(class));
                page.finish();
                let options = ImportOptions { allow_incomplete, ..ImportOptions::full(SPACE, "A", Vec::new(), (RunId(1), 1)) };
                let mut silent = Silent;
                let mut recorder = StepRecorder::new(&mut silent);
                let pages = std::iter::once(Ok(page.build(Some(Completion::default()))));
                import_asking(&store, pages, &mut |_| Ok(None), &options, &Context::system(), &mut recorder).unwrap().to_owned()
            };
            assert_eq!(told(was, false), "success");
            consume(&store);
            if tied {
                let mut object = by_name(&store, ADA);
                object.link = Link::ExplicitlyConnected { mv: MvId(1) };
                let mv = MvObject { id: MvId(1), object_type: object.object_type, values: FlatValues::default(), lineage: Vec::new() };
                store.apply(ChangeSet { cs_put: vec![object], mv_put: vec![mv], ..ChangeSet::new() }).unwrap();
            }
            let held = stays && tied && !allowed;
            assert_eq!(told(is, allowed), if held { ERRORS } else { "success" }, "{was} {is}");
            let object = by_name(&store, ADA);
            let kind = object.stage(Stage::PendingImport).kind;
            assert_eq!(kind, if held { DeltaKind::None } else { DeltaKind::DeleteAdd }, "{was} {is}");
            assert_eq!(&*store.names().object_type_name(object.object_type), if held { was } else { is });
            // With the former class it is as it was.
            assert_eq!(told(was, true), "success");
            assert_eq!(by_name(&store, ADA).stage(Stage::PendingImport).kind, DeltaKind::None);
            assert!(store.snapshot().unwrap().error(object.id, ErrorSide::Import).unwrap().is_none());
        }
    }
}
