//! Deltas of Active Directory from a server that follows a script: what Microsoft's servers do and Samba does not, and
//! what goes wrong once in a while.

use crate::scripted::{BASE, DIRSYNC, NOTIFICATION, PAGED, SHOW_DELETED, Search, Step, members, reach_with};
use futures_util::StreamExt as _;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use syncline::connector::ad::{AdConnector, AdSettings, DeltaMode};
use syncline::connector::directory::Selection;
use syncline::connector::{Connector, ConnectorError, ConnectorErrorKind, ImportKind, ImportRequest, PageItem};
use syncline::context::Context;
use syncline::model::Names;

const ALL: &[&str] = &[PAGED, DIRSYNC, SHOW_DELETED, NOTIFICATION];
/// As a negative number: incremental values with the right to replicate, and of what is visible.
const FULL_RIGHTS: i64 = -0x8000_0000;
const VISIBLE: i64 = -0x7fff_ffff;

/// What an import told, in the order in which it did.
#[derive(Debug, Default)]
struct Told {
    items: Vec<String>,
    warnings: Vec<String>,
    watermark: Option<Vec<u8>>,
    completed: bool,
}

struct Scene {
    connector: AdConnector,
    names: Arc<Names>,
}

impl Scene {
    async fn new(mode: DeltaMode, include: &[&str], script: impl Fn(&Search) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::with(ALL, mode, include, script).await
    }

    async fn with(
        controls: &'static [&'static str],
        mode: DeltaMode,
        include: &[&str],
        script: impl Fn(&Search) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let include = include.iter().map(|name| (*name).to_owned()).collect();
        let settings = AdSettings {
            connection: reach_with(controls, script).await,
            partitions: Vec::new(),
            selection: Selection { include, ..Selection::default() },
            delta: mode,
        };
        let names = Arc::new(Names::new());
        Self { connector: AdConnector::new(settings, names.clone()).unwrap(), names }
    }

    fn request(&self, kind: ImportKind) -> ImportRequest {
        ImportRequest { kind, attributes: ["cn", "title", "member", "manager"].map(|name| self.names.intern(name)).to_vec() }
    }

    async fn import(&self, kind: ImportKind) -> Result<Told, ConnectorError> {
        let mut stream = self.connector.import(&Context::system(), self.request(kind)).await?;
        let mut told = Told::default();
        while let Some(page) = stream.next().await {
            let page = page?;
            told.warnings.extend(page.warnings.iter().cloned());
            for item in page.items() {
                let (kind, entry) = match item {
                    PageItem::Entry(entry) => ("entry", entry),
                    PageItem::Change(entry) => ("change", entry),
                    PageItem::Gone(entry) => ("gone", entry),
                    PageItem::Present(entry) => ("present", entry),
                    PageItem::Rejected(error) => {
                        told.items.push(format!("rejected {error:?}"));
                        continue;
                    }
                };
                let number = entry.anchor().and_then(|anchor| anchor.last()).copied().unwrap_or_default();
                let mut text = format!("{kind} {number} '{}'", entry.dn());
                if let Some(departure) = entry.departure() {
                    write!(text, " {departure:?}").unwrap();
                }
                for (attr, operation, values) in entry.attributes() {
                    let values: Vec<String> = values.map(|(_, _, raw)| String::from_utf8_lossy(raw).into_owned()).collect();
                    let values = if values.len() > 5 { format!("{} values", values.len()) } else { values.join("|") };
                    write!(text, " {operation:?} {}={values}", self.names.name(attr)).unwrap();
                }
                told.items.push(text);
            }
            if let Some(completion) = page.completion {
                (told.completed, told.watermark) = (true, completion.watermark);
            }
        }
        Ok(told)
    }

    async fn full(&self) -> Told {
        self.import(ImportKind::Full).await.unwrap()
    }

    async fn delta(&self, since: &[u8]) -> Result<Told, ConnectorError> {
        self.import(ImportKind::Delta { since: since.to_vec() }).await
    }
}

fn guid(number: u8) -> Vec<u8> {
    let mut guid = vec![0; 15];
    guid.push(number);
    guid
}

fn entry(dn: &str, number: u8, more: &[(&str, &[&str])]) -> Step {
    let mut attributes = vec![("objectGUID".to_owned(), vec![guid(number)])];
    let octets = |values: &[&str]| values.iter().map(|value| value.as_bytes().to_vec()).collect();
    attributes.extend(more.iter().map(|(name, values)| ((*name).to_owned(), octets(values))));
    Step::Entry(dn.to_owned(), attributes)
}

/// What every script answers to: the container of the deleted is there for those who ask, and so is the server's object.
fn common(search: &Search) -> Option<Vec<Step>> {
    if search.base.starts_with("CN=NTDS Settings") {
        return Some(vec![Step::Entry(search.base.clone(), vec![("invocationId".to_owned(), vec![guid(99)])]), Step::Done(0, None)]);
    }
    if search.base.starts_with("<WKGUID=") {
        return Some(vec![Step::Entry("CN=Deleted Objects,DC=x".to_owned(), vec![]), Step::Done(0, None)]);
    }
    // A probe selects nothing but the container of the deleted.
    (search.dirsync().is_some_and(|(_, cookie)| cookie.is_empty()) && search.asks_for("Deleted Objects"))
        .then(|| vec![entry("CN=Deleted Objects,DC=x", 50, &[("isDeleted", &["TRUE"])]), Step::Changes(false, "first")])
}

fn nothing() -> Vec<Step> {
    vec![Step::Done(0, Some(Vec::new()))]
}

/// A script in which a full import finds nobody, and a delta is answered by `changes`.
fn follows(changes: impl Fn(&Search, &[u8]) -> Vec<Step> + Send + Sync + 'static) -> impl Fn(&Search) -> Vec<Step> + Send + Sync + 'static {
    move |search| {
        common(search).unwrap_or_else(|| match search.dirsync() {
            Some((_, cookie)) => changes(search, &cookie),
            None => nothing(),
        })
    }
}

#[tokio::test]
async fn a_full_import_asks_for_its_place_before_it_searches() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = asked.clone();
    let scene = Scene::new(DeltaMode::Auto, &[], move |search| {
        noted.lock().unwrap().push(search.dirsync().map(|(flags, _)| flags));
        common(search).unwrap_or_else(nothing)
    })
    .await;
    let told = scene.full().await;
    assert!(told.completed && told.warnings.is_empty());
    let watermark = told.watermark.unwrap();
    assert!(watermark.windows(5).any(|part| part == b"first"));
    let asked = asked.lock().unwrap();
    let (place, search) = (asked.iter().position(|flags| *flags == Some(FULL_RIGHTS)), asked.iter().rposition(Option::is_none));
    assert!(place.unwrap() < search.unwrap(), "{asked:?}");
    assert_eq!(asked.iter().flatten().count(), 1, "one request is enough for place and right");
}

#[tokio::test]
async fn answers_follow_each_other_while_there_is_more() {
    let scene = Scene::new(
        DeltaMode::Auto,
        &[],
        follows(|search, cookie| match cookie {
            b"first" => {
                assert_eq!(search.dirsync().unwrap().0, FULL_RIGHTS);
                vec![
                    Step::Reference,
                    entry("CN=a,DC=x", 1, &[("title", &["one"])]),
                    entry("CN=g,DC=x", 9, &[("member;range=1-1", &["CN=a,DC=x"])]),
                    Step::Changes(true, "second"),
                ]
            }
            b"second" => vec![
                entry("CN=b,DC=x", 2, &[("title", &[])]),
                entry("CN=g,DC=x", 9, &[("member;range=0-0", &["CN=b,DC=x"])]),
                Step::Reference,
                Step::Changes(true, "third"),
            ],
            b"third" => vec![Step::Changes(false, "fourth")],
            other => panic!("{other:?}"),
        }),
    )
    .await;
    let since = scene.full().await.watermark.unwrap();
    let told = scene.delta(&since).await.unwrap();
    assert_eq!(
        told.items,
        [
            "change 1 'CN=a,DC=x' Replace title=one",
            "change 2 'CN=b,DC=x' Replace title=",
            "change 9 '' Add member=CN=a,DC=x",
            "change 9 '' Remove member=CN=b,DC=x",
        ]
    );
    assert!(told.watermark.unwrap().windows(6).any(|part| part == b"fourth"));
}

#[tokio::test]
async fn a_server_that_promises_more_for_ever_is_stopped() {
    let scene = Scene::new(DeltaMode::Auto, &[], follows(|_, _| vec![Step::Changes(true, "first")])).await;
    let since = scene.full().await.watermark.unwrap();
    let error = scene.delta(&since).await.unwrap_err();
    assert_eq!(error.kind, ConnectorErrorKind::Protocol, "{error}");
}

#[tokio::test]
async fn a_delta_that_breaks_off_leaves_the_place_where_it_was() {
    let ends: [fn() -> Step; 2] = [|| Step::Close, || Step::Silence];
    for end in ends {
        let scene = Scene::new(
            DeltaMode::Auto,
            &[],
            follows(move |_, cookie| match cookie {
                b"first" => vec![entry("CN=a,DC=x", 1, &[("title", &["one"])]), Step::Changes(true, "second")],
                _ => vec![entry("CN=b,DC=x", 2, &[("title", &["two"])]), end()],
            }),
        )
        .await;
        let since = scene.full().await.watermark.unwrap();
        let error = scene.delta(&since).await.unwrap_err();
        assert_eq!(error.kind, ConnectorErrorKind::Dropped, "{error}");
    }
}

#[tokio::test]
async fn a_refused_place_asks_for_a_full_import_and_a_busy_server_for_patience() {
    let kinds = [
        (2, ConnectorErrorKind::WatermarkLost),
        (12, ConnectorErrorKind::WatermarkLost),
        (53, ConnectorErrorKind::WatermarkLost),
        (50, ConnectorErrorKind::WatermarkLost),
        (3, ConnectorErrorKind::Search),
        (4, ConnectorErrorKind::Search),
        (51, ConnectorErrorKind::Busy),
        (52, ConnectorErrorKind::Busy),
    ];
    for (code, kind) in kinds {
        let scene = Scene::new(DeltaMode::Auto, &[], follows(move |_, _| vec![Step::Done(code, None)])).await;
        let since = scene.full().await.watermark.unwrap();
        let error = scene.delta(&since).await.unwrap_err();
        assert_eq!(error.kind, kind, "{code}: {error}");
        assert!(error.message.contains(&format!("({code} ")), "{error}");
    }
}

#[tokio::test]
async fn values_that_are_cut_are_read_to_the_end() {
    let script = follows(|_, _| {
        let cut = Step::Entry(
            "CN=g,DC=x".to_owned(),
            vec![("objectGUID".to_owned(), vec![guid(9)]), ("member;range=0-1499".to_owned(), members(0..1_500))],
        );
        vec![cut, Step::Changes(false, "second")]
    });
    let scene = Scene::new(DeltaMode::Auto, &[], move |search| {
        let class = ("objectClass".to_owned(), vec![b"top".to_vec(), b"group".to_vec()]);
        if search.dirsync().is_none() && search.asks_for("objectGUID") {
            let cut = vec![
                class,
                ("objectGUID".to_owned(), vec![guid(9)]),
                ("member".to_owned(), vec![]),
                ("member;range=0-1499".to_owned(), members(0..1_500)),
            ];
            return vec![Step::Entry("CN=g,DC=x".to_owned(), cut), Step::Done(0, Some(Vec::new()))];
        }
        if search.attributes == ["member;range=1500-*"] {
            let rest = vec![("member;range=1500-*".to_owned(), members(1_500..2_600))];
            return vec![Step::Entry("CN=g,DC=x".to_owned(), rest), Step::Done(0, None)];
        }
        script(search)
    })
    .await;
    let since = scene.full().await.watermark.unwrap();
    let told = scene.delta(&since).await.unwrap();
    assert_eq!(told.items, ["entry 9 'CN=g,DC=x' Replace member=2600 values"]);
}

#[tokio::test]
async fn a_renamed_container_puts_the_names_below_it_right() {
    let script = follows(|_, _| {
        vec![
            entry("OU=new,DC=x", 7, &[("name", &["new"]), ("parentGUID", &["p"])]),
            entry(
                "CN=gone\\0ADEL:1,CN=Deleted Objects,DC=x",
                8,
                &[("isDeleted", &["TRUE"]), ("lastKnownParent", &["<GUID=01>;OU=old,DC=x"])],
            ),
            Step::Changes(false, "second"),
        ]
    });
    let scene = Scene::new(DeltaMode::Auto, &[BASE], move |search| {
        if search.base == format!("<GUID={}>", hex::encode(guid(7))) {
            let class = |name: &'static str| [("objectClass", vec!["top", name])];
            let below = |dn: &str, number, name: &'static str| {
                let [(attribute, values)] = class(name);
                entry(dn, number, &[(attribute, &values), ("cn", &["x"])])
            };
            return vec![
                below("<GUID=00>;OU=new,DC=x", 7, "organizationalUnit"),
                below("CN=a,OU=new,DC=x", 1, "user"),
                below("CN=pc,OU=new,DC=x", 2, "computer"),
                Step::Done(0, Some(Vec::new())),
            ];
        }
        script(search)
    })
    .await;
    let since = scene.full().await.watermark.unwrap();
    let told = scene.delta(&since).await.unwrap();
    assert_eq!(
        told.items,
        [
            "change 7 'OU=new,DC=x'",
            "gone 8 'CN=gone,OU=old,DC=x' Deleted",
            "gone 7 'OU=new,DC=x' Left",
            "change 1 'CN=a,OU=new,DC=x' Replace cn=x",
            "gone 2 'CN=pc,OU=new,DC=x' Left",
        ]
    );
}

/// A delta of a server of Microsoft that tells of number 1 in a container where the account may not look, and what it tells
/// of the same number when it is asked for all there is.
async fn told_of_the_hidden(name: &'static str, all: fn() -> Vec<Step>) -> Result<Told, ConnectorError> {
    let script = follows(move |search, cookie| {
        if cookie.is_empty() {
            assert!(search.asks_for("objectGUID") && search.dirsync().unwrap().0 == FULL_RIGHTS);
            return all();
        }
        vec![entry(name, 1, &[("name", &["a"]), ("parentGUID", &["p"])]), Step::Changes(false, "second")]
    });
    let scene = Scene::new(DeltaMode::Auto, &["OU=a,DC=x"], move |search| {
        if search.base.starts_with("<GUID=") { vec![Step::Done(32, None)] } else { script(search) }
    })
    .await;
    let since = scene.full().await.watermark.unwrap();
    scene.delta(&since).await
}

#[tokio::test]
async fn who_moved_to_where_the_account_cannot_look_has_left() {
    let told = told_of_the_hidden("CN=a,OU=hidden,DC=x", || {
        vec![entry("CN=a,OU=hidden,DC=x", 1, &[("objectClass", &["top", "person", "user"])]), Step::Changes(false, "all")]
    });
    let told = told.await.unwrap();
    assert_eq!(told.items, ["gone 1 'CN=a,OU=hidden,DC=x' Left"]);
    assert!(told.watermark.unwrap().windows(6).any(|part| part == b"second"));
    let told = told_of_the_hidden("CN=a,OU=hidden,DC=x", || {
        let gone = ("lastKnownParent", &["OU=a,DC=x"][..]);
        vec![entry("CN=a\\0ADEL:1,CN=Deleted Objects,DC=x", 1, &[("isDeleted", &["TRUE"]), gone]), Step::Changes(false, "all")]
    });
    assert_eq!(told.await.unwrap().items, ["gone 1 'CN=a,OU=a,DC=x' Deleted"]);
}

#[tokio::test]
async fn who_went_along_to_where_the_account_cannot_look_is_found_out_by_reading_everything() {
    let container: fn() -> Vec<Step> =
        || vec![entry("OU=a,OU=hidden,DC=x", 1, &[("objectClass", &["top", "organizationalUnit"])]), Step::Changes(false, "all")];
    let selected: fn() -> Vec<Step> =
        || vec![entry("CN=a,OU=b,OU=a,DC=x", 1, &[("objectClass", &["top", "person", "user"])]), Step::Changes(false, "all")];
    let nowhere: fn() -> Vec<Step> = || vec![Step::Changes(false, "all")];
    for (name, all) in [("OU=a,OU=hidden,DC=x", container), ("CN=a,OU=b,OU=a,DC=x", selected), ("CN=a,OU=hidden,DC=x", nowhere)] {
        let error = told_of_the_hidden(name, all).await.unwrap_err();
        assert_eq!(error.kind, ConnectorErrorKind::WatermarkLost, "{error}");
        assert!(error.message.contains("may not look") && error.message.contains("CN=reader,DC=x"), "{error}");
    }
}

/// As [`common`], of a server that hides what is deleted.
fn blind(search: &Search) -> Vec<Step> {
    match search.dirsync() {
        Some((_, cookie)) if cookie.is_empty() => vec![Step::Changes(false, "first")],
        Some(_) => vec![Step::Changes(false, "second")],
        None => common(search).unwrap_or_else(nothing),
    }
}

#[tokio::test]
async fn who_cannot_see_what_is_deleted_gets_no_delta_and_is_told_what_to_do() {
    let scene = Scene::new(DeltaMode::Auto, &[], blind).await;
    let told = scene.full().await;
    assert!(told.completed && told.watermark.is_none());
    let [warning] = told.warnings.as_slice() else { panic!("{:?}", told.warnings) };
    for part in ["CN=reader,DC=x", "dsacls \"CN=Deleted Objects,DC=x\"", "Samba", "deletes would be missed"] {
        assert!(warning.contains(part), "{warning}");
    }
}

#[tokio::test]
async fn a_delta_refuses_when_what_is_deleted_can_no_longer_be_seen() {
    let hidden = Arc::new(Mutex::new(false));
    let now = hidden.clone();
    let scene = Scene::new(DeltaMode::Auto, &[], move |search| {
        if *now.lock().unwrap() { blind(search) } else { follows(|_, _| vec![Step::Changes(false, "second")])(search) }
    })
    .await;
    let since = scene.full().await.watermark.unwrap();
    assert!(scene.delta(&since).await.is_ok());
    *hidden.lock().unwrap() = true;
    let error = scene.delta(&since).await.unwrap_err();
    assert_eq!(error.kind, ConnectorErrorKind::WatermarkLost);
    assert!(error.message.contains("dsacls"), "{error}");
}

#[tokio::test]
async fn a_restored_server_and_another_selection_of_contexts_need_a_full_import() {
    let database = Arc::new(Mutex::new(99));
    let now = database.clone();
    let scene = Scene::new(DeltaMode::Auto, &[], move |search| {
        if search.base.starts_with("CN=NTDS Settings") {
            let id = vec![("invocationId".to_owned(), vec![guid(*now.lock().unwrap())])];
            return vec![Step::Entry(search.base.clone(), id), Step::Done(0, None)];
        }
        follows(|_, _| vec![Step::Changes(false, "second")])(search)
    })
    .await;
    let since = scene.full().await.watermark.unwrap();
    assert!(scene.delta(&since).await.unwrap().completed);
    *database.lock().unwrap() = 98;
    let error = scene.delta(&since).await.unwrap_err();
    assert_eq!(error.kind, ConnectorErrorKind::WatermarkLost);
    assert!(error.message.contains("restored"), "{error}");
    for damaged in [&b""[..], b"garbage", &since[..since.len() - 1]] {
        let error = scene.delta(damaged).await.unwrap_err();
        assert_eq!(error.kind, ConnectorErrorKind::WatermarkLost, "{error}");
    }
}

#[tokio::test]
async fn rights_decide_the_way_and_the_configuration_may() {
    let refusing = |refused: &'static [i64]| {
        move |search: &Search| match search.dirsync() {
            Some((flags, _)) if refused.contains(&flags) => vec![Step::Done(50, None)],
            _ if search.base.starts_with("<WKGUID=") => {
                vec![entry("CN=Deleted Objects,DC=x", 50, &[("objectClass", &["container"])]), Step::Done(0, None)]
            }
            _ => common(search).unwrap_or_else(nothing),
        }
    };
    let place = async |mode, refused| Scene::new(mode, &[], refusing(refused)).await.full().await;
    let way = |told: &Told| told.watermark.as_ref().map(|watermark| watermark[5]);
    assert_eq!(way(&place(DeltaMode::Auto, &[]).await), Some(0));
    assert_eq!(way(&place(DeltaMode::Auto, &[FULL_RIGHTS]).await), Some(1));
    assert_eq!(way(&place(DeltaMode::Auto, &[FULL_RIGHTS, VISIBLE]).await), Some(2));
    assert_eq!(way(&place(DeltaMode::Usn, &[]).await), Some(2));
    let refused = place(DeltaMode::DirSync, &[FULL_RIGHTS]).await;
    assert_eq!((way(&refused), refused.warnings.len()), (None, 1));
    assert!(refused.warnings[0].contains("Replicating Directory Changes"), "{:?}", refused.warnings);
    let off = place(DeltaMode::Off, &[]).await;
    assert_eq!((way(&off), off.warnings.len()), (None, 0));
    let without = Scene::with(&[PAGED, SHOW_DELETED], DeltaMode::Auto, &[], refusing(&[])).await.full().await;
    assert_eq!(way(&without), Some(2), "no DirSync at all");
}

#[tokio::test]
async fn numbers_count_on_one_server_only() {
    let scene = Scene::new(DeltaMode::Usn, &[], move |search| {
        if search.base.starts_with("<WKGUID=") {
            return vec![entry("CN=Deleted Objects,DC=x", 50, &[("objectClass", &["container"])]), Step::Done(0, None)];
        }
        if search.base.starts_with("<GUID=") {
            return vec![entry("CN=a,DC=x", 1, &[("objectClass", &["top", "user"])]), Step::Done(0, Some(Vec::new()))];
        }
        if search.controls.contains_key(SHOW_DELETED) {
            assert!(search.asks_for("1001"), "the first number behind that of the full import");
            return vec![
                entry("CN=a,DC=x", 1, &[("objectClass", &["top", "user"])]),
                entry("CN=b\\0ADEL:1,CN=Deleted Objects,DC=x", 2, &[("isDeleted", &["TRUE"]), ("lastKnownParent", &[BASE])]),
                Step::Done(0, Some(Vec::new())),
            ];
        }
        if search.asks_for("objectGUID") {
            return vec![entry("CN=a,DC=x", 1, &[("objectClass", &["top", "user"]), ("title", &["t"])]), Step::Done(0, Some(Vec::new()))];
        }
        common(search).unwrap_or_else(nothing)
    })
    .await;
    let since = scene.full().await.watermark.unwrap();
    let told = scene.delta(&since).await.unwrap();
    let (change, gone, whole) = ("change 1 'CN=a,DC=x'", "gone 2 'CN=b,DC=x' Deleted", "entry 1 'CN=a,DC=x' Replace title=t");
    // Who may not see when the name changed is read once more, by what lies below.
    assert_eq!(told.items, [change, gone, change, whole]);
    let elsewhere: Vec<u8> = String::from_utf8_lossy(&since).replace("dc1.x", "dc2.x").into_bytes();
    let error = scene.delta(&elsewhere).await.unwrap_err();
    assert_eq!(error.kind, ConnectorErrorKind::WatermarkLost);
}

#[tokio::test]
async fn a_burst_of_changes_is_told_at_its_beginning_and_at_its_end_and_a_lost_connection_is_an_error() {
    let scene = Scene::new(DeltaMode::Auto, &[], |search| {
        if !search.controls.contains_key(NOTIFICATION) {
            return nothing();
        }
        let mut steps = vec![Step::Wait(Duration::from_millis(50))];
        steps.extend((0..30).map(|number| entry("CN=a,DC=x", number, &[])));
        steps.extend([
            Step::Wait(Duration::from_millis(1_200)),
            entry("CN=a,DC=x", 1, &[]),
            Step::Wait(Duration::from_millis(700)),
            Step::Close,
        ]);
        steps
    })
    .await;
    let mut changes = scene.connector.watch(&Context::system()).await.unwrap().unwrap();
    let mut told = 0;
    let error = loop {
        match changes.next().await.unwrap() {
            Ok(()) => told += 1,
            Err(error) => break error,
        }
    };
    // The first change, the rest of its burst, and the one behind it; on a busy machine the last two may be one.
    assert!((2..=3).contains(&told), "{told}");
    assert_eq!(error.kind, ConnectorErrorKind::Dropped, "{error}");
    assert!(changes.next().await.is_none());
}

#[tokio::test]
async fn a_server_that_cannot_tell_is_not_listened_to() {
    let scene = Scene::with(&[PAGED, DIRSYNC], DeltaMode::Auto, &[], |_| nothing()).await;
    assert!(scene.connector.watch(&Context::system()).await.unwrap().is_none());
    let refusing =
        Scene::new(
            DeltaMode::Auto,
            &[],
            |search| {
                if search.controls.contains_key(NOTIFICATION) { vec![Step::Done(53, None)] } else { nothing() }
            },
        )
        .await;
    let mut changes = refusing.connector.watch(&Context::system()).await.unwrap().unwrap();
    assert!(changes.next().await.unwrap().is_err());
}
