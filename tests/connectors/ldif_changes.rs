//! Change files from a folder: the space after each delta import is that of a fresh store after a full one, and a file that is
//! broken, late, changed or gone is named.

use crate::syncrepl::world::{SPACE, picture};
use futures_util::StreamExt as _;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;
use syncline::connector::directory::Selection;
use syncline::connector::ldif::{LdifConnector, LdifSettings};
use syncline::connector::{Connector as _, ConnectorError, ConnectorErrorKind, ImportKind, ImportRequest};
use syncline::context::Context;
use syncline::engine::import::{FULL_NEEDED, ImportOptions, WATERMARK, import};
use syncline::engine::{EngineError, Silent, StepRecorder};
use syncline::model::RunId;
use syncline::store::Store;
use tempfile::TempDir;

struct World {
    folder: TempDir,
    store: Store,
}

fn person(number: usize) -> String {
    format!(
        "dn: CN=p{number},OU=People,DC=x\nobjectClass: top\nobjectClass: user\nobjectGUID: guid-{number:011}\ncn: p{number}\nsn: s\nmember: CN=p0,OU=People,DC=x\n\n"
    )
}

fn added(number: usize) -> String {
    person(number).replacen('\n', "\nchangetype: add\n", 1)
}

fn unit(name: &str) -> String {
    format!("dn: OU={name},DC=x\nobjectClass: organizationalUnit\nobjectGUID: unit-{name:_<11}\nou: {name}\n\n")
}

impl World {
    async fn new() -> Self {
        let world = Self { folder: tempfile::tempdir().unwrap(), store: Store::in_memory().unwrap() };
        std::fs::create_dir(world.changes()).unwrap();
        world.base(10);
        world.run(&world.store, None).await.unwrap();
        world
    }

    fn base(&self, people: usize) {
        let text = unit("People") + &unit("Away") + &(0..people).map(person).collect::<String>();
        std::fs::write(self.folder.path().join("base.ldif"), text).unwrap();
    }

    fn changes(&self) -> PathBuf {
        self.folder.path().join("changes")
    }

    /// Writes a change file as it should be: under another name first.
    fn drop(&self, name: &str, text: &str) -> PathBuf {
        let (writing, path) = (self.changes().join(format!("{name}.part")), self.changes().join(name));
        std::fs::write(&writing, text).unwrap();
        std::fs::rename(&writing, &path).unwrap();
        path
    }

    fn connector(&self, store: &Store) -> LdifConnector {
        let selection = Selection { exclude: vec!["OU=Away,DC=x".to_owned()], ..Selection::default() };
        let path = self.folder.path().join("base.ldif");
        let settings = LdifSettings { path, changes: Some(self.changes()), selection, ..LdifSettings::default() };
        LdifConnector::new(settings, store.names().clone()).unwrap()
    }

    async fn run(&self, store: &Store, since: Option<Vec<u8>>) -> Result<&'static str, EngineError> {
        let connector = self.connector(store);
        let mut attributes: Vec<_> = ["cn", "sn", "member", "description"].map(|name| store.names().intern(name)).to_vec();
        attributes.sort_unstable();
        let kind = since.map_or(ImportKind::Full, |since| ImportKind::Delta { since });
        let mut options = ImportOptions::full(SPACE, "A", attributes.clone(), (RunId(1), 1));
        options.full = kind == ImportKind::Full;
        options.references_stay = connector.references_stay();
        options.renames_are_told = connector.renames_are_told();
        let pages: Vec<Result<_, ConnectorError>> = match connector.import(&Context::system(), ImportRequest { kind, attributes }).await {
            Ok(stream) => stream.collect().await,
            Err(error) => vec![Err(error)],
        };
        let mut silent = Silent;
        import(store, pages.into_iter(), &options, &Context::system(), &mut StepRecorder::new(&mut silent))
    }

    fn watermark(&self) -> Vec<u8> {
        self.store.snapshot().unwrap().state(SPACE, WATERMARK).unwrap().unwrap()
    }

    async fn delta(&self) -> Result<&'static str, EngineError> {
        self.run(&self.store, Some(self.watermark())).await
    }

    async fn refusal(&self) -> ConnectorError {
        match self.delta().await {
            Err(EngineError::Connector(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    async fn assert_as_fresh(&self, what: &str) {
        let fresh = Store::in_memory().unwrap();
        assert_eq!(self.run(&fresh, None).await.unwrap(), "success", "{what}");
        assert_eq!(picture(&self.store), picture(&fresh), "{what}");
        assert!(self.store.check().unwrap().is_clean());
    }
}

#[tokio::test]
async fn every_kind_of_record_counts_once_and_in_order() {
    let world = World::new().await;
    let p = |number: usize| format!("CN=p{number},OU=People,DC=x");
    let rename = |old: &str, new: &str| format!("dn: {old}\nchangetype: modrdn\nnewrdn: {new}\ndeleteoldrdn: 1\n\n");
    let steps = [
        ("10.ldif", added(20) + &added(21)),
        ("11.ldif", format!("dn: {}\nchangetype: modify\nreplace: sn\nsn: new\n-\nadd: member\nmember: {}\n-\n\n", p(1), p(2))),
        ("12.ldif", format!("dn: {}\nchangetype: modify\ndelete: sn\n-\ndelete: member\nmember: cn=P0, ou=people, dc=x\n-\n\n", p(1))),
        ("13.ldif", format!("dn: {}\nchangetype: delete\n\n", p(3))),
        // Everybody refers to the first one; the references follow.
        ("14.ldif", rename(&p(0), "CN=first")),
        (
            "15.ldif",
            "dn: CN=first,OU=People,DC=x\nchangetype: modify\nadd: description\ndescription: renamed\n-\n\n".to_owned()
                + &added(0).replace("guid-0", "gone-0"),
        ),
        ("16.ldif", rename(&p(4), "CN=swap") + &rename(&p(5), "CN=p4") + &rename("CN=swap,OU=People,DC=x", "CN=p5")),
        ("17.ldif", format!("dn: {}\nchangetype: moddn\nnewrdn: CN=p6\ndeleteoldrdn: 0\nnewsuperior: OU=Away,DC=x\n\n", p(6))),
        ("18.ldif", format!("dn: {}\nchangetype: delete\n\n{}", p(7), added(7).replace("guid-0", "back-0"))),
        ("19.ldif", String::new()),
    ];
    for (name, text) in steps {
        world.drop(name, &text);
        assert_eq!(world.delta().await.unwrap(), "success", "{name}");
        world.assert_as_fresh(name).await;
        let before = world.watermark();
        assert_eq!(world.delta().await.unwrap(), "success");
        assert_eq!(world.watermark(), before);
    }
    let renamed = picture(&world.store)["guid-00000000000"].clone();
    assert!(renamed.2.contains("cn: \"first\"") && !renamed.2.contains("cn: \"p0\""), "{renamed:?}");
}

/// Everybody refers to the first one by the name. Whoever is made anew under it is meant from then on, and nobody else.
#[tokio::test]
async fn whoever_takes_the_name_of_somebody_who_went_is_meant_by_it() {
    let p = |number: usize| format!("CN=p{number},OU=People,DC=x");
    let deleted = format!("dn: {}\nchangetype: delete\n\n", p(0));
    let anew = added(0).replace("guid-0", "anew-0");
    let taken = format!(
        "dn: {0}\nchangetype: modify\nreplace: member\nmember: {1}\n-\n\ndn: {0}\nchangetype: modrdn\nnewrdn: CN=p0\ndeleteoldrdn: 1\n\n",
        p(8),
        p(1)
    );
    let told_between = format!("dn: {}\nchangetype: modify\nreplace: member\nmember: {}\nmember: {}\n-\n\n", p(1), p(0), p(2));
    let moved = format!("dn: {}\nchangetype: moddn\nnewrdn: CN=p0\ndeleteoldrdn: 0\nnewsuperior: OU=Away,DC=x\n\n", p(0));
    for (what, files) in [
        ("made anew", vec![format!("{deleted}{anew}")]),
        ("made anew later", vec![deleted.clone(), anew.clone()]),
        ("another one takes the name", vec![format!("{deleted}{taken}")]),
        ("told between", vec![format!("{deleted}{told_between}{anew}")]),
        ("told between, later", vec![deleted.clone(), format!("{told_between}{anew}")]),
        ("twice", vec![format!("{deleted}{anew}{deleted}{}", anew.replace("anew-0", "more-0"))]),
        ("moved out", vec![format!("{moved}{anew}")]),
        ("moved out before", vec![moved, anew]),
    ] {
        let world = World::new().await;
        for (number, text) in files.iter().enumerate() {
            world.drop(&format!("{number}.ldif"), text);
            assert_eq!(world.delta().await.unwrap(), "success", "{what}");
        }
        world.assert_as_fresh(what).await;
    }
}

/// Whoever loses the key by a change record, or is given another one, is told, and stays, in a delta import and in the full one
/// behind it, which knows whoever has another key as somebody else.
#[tokio::test]
async fn a_change_of_the_key_deletes_nobody() {
    let key = |octets: &str| format!("objectGUID: {octets}\n");
    let (old, new) = ("guid-00000000003", "key--00000000003");
    for (part, code) in [
        ("delete: objectGUID\n-\n".to_owned(), "missing-anchor-component"),
        ("replace: objectGUID\n-\n".to_owned(), "missing-anchor-component"),
        (format!("replace: objectGUID\n{}-\n", key(new)), "need-full-object"),
        (format!("delete: objectGUID\n{}-\nadd: objectGUID\n{}-\n", key(old), key(new)), "need-full-object"),
        (format!("delete: objectGUID\n-\nadd: objectGUID\n{}-\n", key(new)), "need-full-object"),
        ("delete: objectClass\nobjectClass: user\n-\n".to_owned(), "need-full-object"),
        ("replace: objectClass\n-\n".to_owned(), "missing-object-class"),
    ] {
        let world = World::new().await;
        let before = picture(&world.store);
        world.drop("1.ldif", &format!("dn: CN=p3,OU=People,DC=x\nchangetype: modify\n{part}\n"));
        assert_eq!(world.delta().await.unwrap(), "completed-discovery-errors", "{part}");
        assert_eq!(picture(&world.store), before, "{part}");
        let snapshot = world.store.snapshot().unwrap();
        let problems = snapshot.errors(SPACE, None, 10).unwrap();
        assert_eq!(problems.iter().map(|(_, _, problem)| problem.code.to_string()).collect::<Vec<_>>(), [code], "{part}");
        assert!(snapshot.state(SPACE, FULL_NEEDED).unwrap().is_some(), "{part}");
        let (full, after) = (world.run(&world.store, None).await.unwrap(), picture(&world.store));
        if part.starts_with("delete: objectClass") {
            // Only the full import knows what is left, and that it may be a slip: the delete is staged, and waits at its target.
            assert_eq!((full, after.len()), ("completed-warnings", before.len() - 1));
        } else if part.contains(new) {
            // It is somebody else now, under the same name.
            let mut other = before;
            let object = other.remove(old).unwrap();
            other.insert(new.to_owned(), object);
            assert_eq!((full, after), ("success", other), "{part}");
        } else {
            assert_eq!((full, after), ("completed-discovery-errors", before), "{part}");
        }
    }
}

/// Who is of another class by a change record leaves the selection, or becomes another kind, in a delta import as in a full one.
#[tokio::test]
async fn a_change_of_the_class_comes_to_the_same_in_every_import() {
    for (class, result) in
        [("uesr", "completed-warnings"), ("printQueue", "completed-warnings"), ("device", "success"), ("group", "success")]
    {
        let world = World::new().await;
        world.drop(
            "1.ldif",
            &format!("dn: CN=p3,OU=People,DC=x\nchangetype: modify\nreplace: objectClass\nobjectClass: top\nobjectClass: {class}\n-\n\n"),
        );
        assert_eq!(world.delta().await.unwrap(), result, "{class}");
        world.assert_as_fresh(class).await;
    }
}

#[tokio::test]
async fn what_names_alone_cannot_tell_asks_for_a_full_import() {
    let world = World::new().await;
    world.drop("1.ldif", "dn: OU=People,DC=x\nchangetype: modrdn\nnewrdn: OU=Staff\ndeleteoldrdn: 1\n\n");
    assert_eq!(world.delta().await.unwrap(), "completed-discovery-errors");
    assert!(world.store.snapshot().unwrap().state(SPACE, FULL_NEEDED).unwrap().is_some());
    assert_eq!(world.run(&world.store, None).await.unwrap(), "success");
    let names: Vec<_> = picture(&world.store).into_values().map(|(dn, ..)| String::from_utf8(dn).unwrap()).collect();
    assert!(names.len() == 10 && names.iter().all(|dn| dn.contains("staff")), "{names:?}");
    world.assert_as_fresh("container").await;
}

#[tokio::test]
async fn a_broken_file_is_named_and_nothing_of_it_or_behind_it_counts() {
    let world = World::new().await;
    let before = picture(&world.store);
    world.drop("1.ldif", &added(30));
    world.drop("2.ldif", &(added(31) + "dn: CN=p1,OU=People,DC=x\nchangetype: nonsense\n\n"));
    world.drop("3.ldif", &added(32));
    let error = world.refusal().await;
    assert_eq!(error.kind, ConnectorErrorKind::File);
    assert!(error.message.contains("2.ldif, line 11") && error.message.contains("CN=p1,OU=People,DC=x"), "{error}");
    assert_eq!(picture(&world.store), before);
    world.drop("2.ldif", &added(31));
    assert_eq!(world.delta().await.unwrap(), "success");
    assert_eq!(picture(&world.store).len(), before.len() + 3);
    world.assert_as_fresh("mended").await;
}

#[tokio::test]
async fn files_that_are_still_written_are_not_there_yet() {
    let world = World::new().await;
    let half = added(30);
    std::fs::write(world.changes().join("1.ldif.part"), &half[..half.len() / 2]).unwrap();
    assert_eq!(world.delta().await.unwrap(), "success");
    world.assert_as_fresh("part").await;
    world.drop("1.ldif", &half);
    assert_eq!(world.delta().await.unwrap(), "success");
    assert_eq!(picture(&world.store).len(), 11);
}

#[tokio::test]
async fn what_was_taken_must_stay_as_it_was() {
    let world = World::new().await;
    let path = world.drop("5.ldif", &added(30));
    assert_eq!(world.delta().await.unwrap(), "success");
    // The same content, written once more.
    world.drop("5.ldif", &added(30));
    assert_eq!(world.delta().await.unwrap(), "success");
    world.drop("5.ldif", &added(31));
    let error = world.refusal().await;
    assert!(error.kind == ConnectorErrorKind::File && error.message.contains("5.ldif: this change file was changed"), "{error}");
    std::fs::remove_file(&path).unwrap();
    let error = world.refusal().await;
    assert!(error.kind == ConnectorErrorKind::File && error.message.contains("is not there any more"), "{error}");
    // A full import would take whoever it added for gone.
    let place = world.watermark();
    let error = world.connector(&world.store).look_back(&Context::system(), &place, false).await.unwrap_err();
    assert!(error.kind == ConnectorErrorKind::File && error.message.contains("5.ldif: this change file was taken"), "{error}");
    world.drop("5.ldif", &added(30));
    world.connector(&world.store).look_back(&Context::system(), &place, false).await.unwrap();
    world.drop("4.ldif", &added(29));
    let error = world.refusal().await;
    assert!(error.kind == ConnectorErrorKind::File && error.message.contains("4.ldif: change files count in the order"), "{error}");
    // A new file of all entries begins anew, and the folder may be emptied.
    std::fs::remove_file(&path).unwrap();
    std::fs::remove_file(world.changes().join("4.ldif")).unwrap();
    world.base(11);
    let told = world.connector(&world.store).look_back(&Context::system(), &place, false).await.unwrap();
    assert!(told.is_some_and(|told| told.contains("'5.ldif'")));
    assert_eq!(world.refusal().await.kind, ConnectorErrorKind::WatermarkLost);
    assert_eq!(world.run(&world.store, None).await.unwrap(), "success");
    world.assert_as_fresh("anew").await;
}

#[tokio::test]
async fn a_place_of_an_older_form_asks_for_a_full_import() {
    let world = World::new().await;
    let Err(EngineError::Connector(error)) = world.run(&world.store, Some(b"ldif".to_vec())).await else { panic!("taken") };
    assert_eq!(error.kind, ConnectorErrorKind::ReadAnew);
}

/// Random records of everybody, some of which name people who are not there.
#[tokio::test]
async fn any_series_of_records_is_followed() {
    use rand::{RngExt as _, SeedableRng as _};
    for seed in 0..6 {
        let world = World::new().await;
        let mut random = rand::rngs::StdRng::seed_from_u64(seed);
        let mut there: Vec<String> = (0..10).map(|number| format!("CN=p{number}")).collect();
        let mut fresh = 100;
        for file in 0..12 {
            let mut text = String::new();
            for _ in 0..random.random_range(1..8) {
                fresh += 1;
                let at = random.random_range(0..there.len());
                let (who, whom) = (there[at].clone(), there[random.random_range(0..there.len())].clone());
                let dn = format!("dn: {who},OU=People,DC=x\n");
                match random.random_range(0..6) {
                    0 => {
                        text += &added(fresh);
                        there.push(format!("CN=p{fresh}"));
                    }
                    1 if there.len() > 5 => {
                        write!(text, "{dn}changetype: delete\n\n").unwrap();
                        there.remove(at);
                    }
                    2 => {
                        write!(text, "{dn}changetype: modrdn\nnewrdn: CN=r{fresh}\ndeleteoldrdn: {}\n\n", fresh % 2).unwrap();
                        there[at] = format!("CN=r{fresh}");
                    }
                    3 => write!(text, "{dn}changetype: modify\nadd: member\nmember: {whom},OU=People,DC=x\n-\n\n").unwrap(),
                    4 => write!(text, "{dn}changetype: modify\ndelete: member\nmember: {whom},OU=People,DC=x\n-\n\n").unwrap(),
                    _ => write!(text, "{dn}changetype: modify\nreplace: sn\nsn: v{fresh}\n-\n\n").unwrap(),
                }
            }
            world.drop(&format!("{file:03}.ldif"), &text);
            assert_eq!(world.delta().await.unwrap(), "success", "seed {seed}, file {file}\n{text}");
            world.assert_as_fresh(&format!("seed {seed}, file {file}\n{text}")).await;
        }
    }
}

#[tokio::test]
async fn a_new_file_rings_once() {
    let world = World::new().await;
    let mut bell = world.connector(&world.store).watch(&Context::system()).await.unwrap().unwrap();
    let mut rings = async |seconds| tokio::time::timeout(Duration::from_secs(seconds), bell.next()).await;
    assert!(rings(3).await.is_err(), "nothing was written");
    world.drop("1.ldif", &added(30));
    world.drop("2.ldif", &added(31));
    assert!(matches!(rings(20).await, Ok(Some(Ok(())))));
    assert!(rings(5).await.is_err(), "two files are one ring");
    std::fs::remove_file(world.folder.path().join("base.ldif")).unwrap();
    assert!(matches!(rings(20).await, Ok(Some(Err(error))) if error.kind == ConnectorErrorKind::File));
}
