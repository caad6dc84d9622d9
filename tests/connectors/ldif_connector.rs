//! Directories in files: whole ones, damaged ones, several, and change records in both directions.

use crate::labs::recipe;
use crate::seen::{self, SeenEntry};
use crate::{contract, seen::names};
use futures_util::StreamExt as _;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use syncline::connector::directory::Selection;
use syncline::connector::ldif::{LdifConnector, LdifSettings};
use syncline::connector::{
    AttributeChange, Connector as _, ConnectorError, ConnectorErrorKind, ExportBatch, ExportKind, ExportOperation, ExportOutcome,
    ImportKind, ImportRequest, ReferenceChange, UniqueKind,
};
use syncline::context::Context;
use syncline::engine::import::{ImportOptions, import};
use syncline::engine::{Silent, StepRecorder};
use syncline::model::{Anchor, ConnectorId, CsId, ErrorSide, Names, RunId, Value, ValueKind};
use syncline::store::Store;
use tempfile::TempDir;

const ATTRIBUTES: &[&str] = &[
    "cn",
    "sn",
    "givenName",
    "userPrincipalName",
    "userAccountControl",
    "proxyAddresses",
    "thumbnailPhoto",
    "objectSid",
    "manager",
    "member",
    "accountExpires",
    "groupType",
    "targetAddress",
];

struct Files {
    folder: TempDir,
    names: Arc<Names>,
}

impl Files {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), names: names() }
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> std::path::PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn connector(&self, path: &Path, change: impl FnOnce(&mut LdifSettings)) -> LdifConnector {
        let mut settings = LdifSettings { path: path.to_owned(), ..LdifSettings::default() };
        change(&mut settings);
        LdifConnector::new(settings, self.names.clone()).unwrap()
    }

    /// A connector that reads nothing of ours and exports to a file.
    fn exporter(&self, export: &Path) -> LdifConnector {
        self.connector(&self.folder.path().join("nothing"), |settings| settings.export = Some(export.to_owned()))
    }

    async fn import(&self, content: &str) -> seen::Seen {
        let path = self.write("content.ldif", content);
        seen::import(&self.connector(&path, |_| {}), &self.names, ATTRIBUTES).await.unwrap()
    }
}

fn person(number: u32, more: &str) -> String {
    format!("dn: CN=p{number},OU=People,DC=x\nobjectClass: top\nobjectClass: user\nobjectGUID: guid-{number:011}\ncn: p{number}\n{more}\n")
}

#[tokio::test]
async fn a_generated_directory_comes_in_whole() {
    let files = Files::new();
    let recipe = recipe(2_500, 40, 15);
    let mut content = Vec::new();
    recipe.write_ldif(&mut content).unwrap();
    let path = files.write("corp.ldif", &content);
    let seen = contract::holds(&files.connector(&path, |_| {}), &files.names, ATTRIBUTES).await;
    assert_eq!((seen.of_type("user"), seen.of_type("group"), seen.of_type("contact")), (2_500, 40, 15));
    // The root and twelve containers.
    assert_eq!((seen.filtered, seen.rejected.len()), (13, 0));
    assert_eq!(seen.pages, 3);
    let entry = &seen.entries[&recipe.user_dn(700)];
    assert_eq!(entry.anchor, recipe.user_guid(700));
    assert_eq!(entry.text("userPrincipalName"), Some(recipe.user_principal_name(700)));
    assert_eq!(entry.text("manager"), Some(recipe.user_dn(699 / 8)));
    assert_eq!(entry.text("accountExpires").as_deref(), Some("9223372036854775807"));
    let kinds = ["cn", "userAccountControl", "objectSid", "manager"].map(|name| entry.kinds[name]);
    assert_eq!(kinds, [ValueKind::Text, ValueKind::Number, ValueKind::Binary, ValueKind::Reference]);
    assert_eq!(seen.entries["CN=All Employees,OU=Groups,DC=corp,DC=example"].count("member"), 2_500);
}

#[tokio::test]
async fn containers_and_types_are_selected() {
    let files = Files::new();
    let mut content = Vec::new();
    recipe(400, 10, 10).write_ldif(&mut content).unwrap();
    let path = files.write("corp.ldif", &content);
    let selected = |selection: Selection| files.connector(&path, |settings| settings.selection = selection);
    let own = |list: &[&str]| -> Vec<String> { list.iter().map(|text| (*text).to_owned()).collect() };
    let people = selected(Selection {
        include: own(&["ou=people,dc=corp,dc=example"]),
        exclude: own(&["OU=Lyon,OU=People,DC=corp,DC=example"]),
        ..Selection::default()
    });
    let seen = seen::import(&people, &files.names, &["cn"]).await.unwrap();
    assert_eq!(seen.entries.len(), seen.of_type("user"));
    assert!(seen.entries.len() > 200 && seen.entries.len() < 400);
    assert!(seen.entries.keys().all(|dn| dn.contains("OU=People") && !dn.contains("OU=Lyon")));
    let contacts = selected(Selection { object_types: own(&["Contact"]), ..Selection::default() });
    assert_eq!(seen::import(&contacts, &files.names, &["cn"]).await.unwrap().entries.len(), 10);
}

#[tokio::test]
async fn every_problem_of_an_entry_is_named_and_the_rest_comes_in() {
    let files = Files::new();
    let cases = [
        ("dn: not a name\nobjectClass: user\nobjectGUID: aaaaaaaaaaaaaaaa\n\n", "invalid-dn", "'not a name'"),
        ("dn:\nobjectClass: user\nobjectGUID: aaaaaaaaaaaaaaaa\n\n", "missing-dn", "no name"),
        ("dn: CN=b,DC=x\nobjectGUID: bbbbbbbbbbbbbbbb\ncn: b\n\n", "missing-object-class", "objectClass"),
        ("dn: CN=c,DC=x\nobjectClass: user\ncn: c\n\n", "missing-anchor-component", "objectGUID nor entryUUID"),
        ("dn: CN=d,DC=x\nobjectClass: user\nobjectGUID: 1\nobjectGUID: 2\n\n", "multi-valued-anchor-component", "objectGUID"),
        (
            "dn: CN=e,DC=x\nobjectClass: user\nobjectGUID: eeeeeeeeeeeeeeee\nuserAccountControl: many\n\n",
            "invalid-numeric-value",
            "userAccountControl",
        ),
        ("dn: CN=f,DC=x\nobjectClass: user\nobjectGUID: ffffffffffffffff\nsn:: /w==\n\n", "invalid-attribute-value", "sn"),
        ("dn: CN=g,DC=x\nobjectClass: user\nobjectGUID: gggggggggggggggg\ncn:: %%%\n\n", "invalid-base64-value", "line 4"),
        ("dn: CN=h,DC=x\nchangetype: delete\n\n", "invalid-change-type", "delta import"),
    ];
    let long = format!("dn: CN=i,DC=x\nobjectClass: user\nobjectGUID: {}\n\n", "i".repeat(399));
    for (bad, code, part) in cases.into_iter().chain([(long.as_str(), "anchor-too-long", "399")]) {
        let seen = files.import(&format!("{bad}{}", person(1, ""))).await;
        assert_eq!(seen.codes(), [code], "{bad}");
        let detail = &seen.rejected[0].detail;
        assert!(detail.contains(part) && detail.contains("content.ldif, line "), "{detail}");
        assert_eq!(seen.entries.len(), 1, "{bad}");
        assert!(seen.completed);
    }
    // With a name or an anchor the object counts as seen.
    let seen = files.import("dn: CN=e,DC=x\nobjectClass: user\nobjectGUID: eeeeeeeeeeeeeeee\nuserAccountControl: many\n\n").await;
    assert_eq!(seen.rejected[0].dn.as_deref(), Some("CN=e,DC=x"));
    assert_eq!(seen.rejected[0].anchor.as_ref().map(|anchor| anchor.as_bytes().to_vec()), Some(vec![b'e'; 16]));
}

#[tokio::test]
async fn anchors_are_object_guid_then_entry_uuid_or_what_is_configured() {
    let files = Files::new();
    let content = "dn: CN=b,DC=x\nobjectClass: user\nentryUUID: u2\nemployeeID: 8\n\n\
                   dn: CN=a,DC=x\nobjectClass: user\nentryUUID: u\nobjectGUID:: AAEAAQABAAEAAQABAAEAAQ==\nemployeeID: 7\n\n";
    // One for a file: who lost the first one is nobody else by the second.
    let seen = files.import(content).await;
    assert_eq!(seen.entries.values().map(|entry| entry.anchor.clone()).collect::<Vec<_>>(), [[0, 1].repeat(8)]);
    assert_eq!(seen.codes(), ["missing-anchor-component"]);
    let lost = &seen.rejected[0];
    assert!(lost.dn.as_deref() == Some("CN=b,DC=x") && lost.anchor.is_none() && lost.detail.contains("objectGUID"), "{lost:?}");
    assert_eq!(lost.legible.anchors, [Anchor::new(&b"u2"[..])]);
    let seen = files.import(&content.replace("objectGUID:: AAEAAQABAAEAAQABAAEAAQ==\n", "")).await;
    assert_eq!(seen.entries.values().map(|entry| entry.anchor.clone()).collect::<Vec<_>>(), [b"u".to_vec(), b"u2".to_vec()]);
    let path = files.write("content.ldif", content);
    let connector = files.connector(&path, |settings| settings.anchor = Some("employeeID".into()));
    let seen = seen::import(&connector, &files.names, &["employeeID"]).await.unwrap();
    assert_eq!(
        seen.entries["CN=b,DC=x"],
        SeenEntry {
            anchor: b"8".to_vec(),
            object_type: "user".into(),
            values: [("employeeID".to_owned(), [b"8".to_vec()].into())].into(),
            kinds: [("employeeID".to_owned(), ValueKind::Text)].into(),
        }
    );
}

/// A key of another length is a damaged one, and would be somebody else.
#[tokio::test]
async fn an_object_guid_has_sixteen_octets() {
    let files = Files::new();
    let entry = |line: &str| format!("dn: CN=a,DC=x\nobjectClass: user\n{line}\nuserPrincipalName: a@x.example\ncn: a\n\n");
    for line in ["objectGUID: EREREREREREREREREREREQ==", "objectGUID:: AAAA", "objectGUID: 11111111-1111-1111-1111-111111111111"] {
        let seen = files.import(&entry(line)).await;
        assert_eq!(seen.codes(), ["invalid-attribute-value"], "{line}");
        let rejected = &seen.rejected[0];
        assert!(seen.entries.is_empty() && rejected.anchor.is_none() && rejected.detail.contains("16 octets"), "{line}: {rejected:?}");
        assert_eq!(rejected.legible.identities, ["a@x.example"], "{line}");
    }
    let seen = files.import(&entry("objectGUID: EREREREREREREREREREREQ==")).await;
    assert!(seen.rejected[0].legible.anchors.contains(&Anchor::new(vec![17; 16])), "the key that was meant is told: {:?}", seen.rejected);
}

/// Whom an entry may be about is told by whatever can be read of it, selected or not, and within bounds.
#[tokio::test]
async fn what_is_legible_of_an_entry_that_cannot_be_used_is_told() {
    let files = Files::new();
    let rest = "objectClass: user\nsAMAccountName: acc\nmail: m@x.example\ndisplayName: Dis\nobjectGUID: aaaaaaaaaaaaaaaa\ncn: c\n";
    for damage in ["userAccountControl: abc\n", "no colon\n", "sn:: %%%\n", "objectGUID: bbbbbbbbbbbbbbbb\n", "-\n"] {
        let seen = files.import(&format!("dn: CN=c,DC=x\n{damage}{rest}\n")).await;
        let told = &seen.rejected[0].legible;
        assert!(told.anchors.contains(&Anchor::new(&b"aaaaaaaaaaaaaaaa"[..])), "{damage}: {told:?}");
        assert_eq!(told.identities, ["acc", "m@x.example"], "{damage}");
        assert!(told.names.contains(&"Dis".to_owned()) && !told.nobody_knows, "{damage}: {told:?}");
        assert_eq!(told.merged, damage.starts_with("objectGUID"), "two keys are two people: {told:?}");
    }
    let seen = files.import(&format!("{rest}\n")).await;
    assert_eq!((seen.codes(), seen.rejected[0].legible.identities.len()), (vec!["missing-dn"], 2));
    for nothing in ["dn: CN=c,DC=x\n\n", "sn: s\n\n", "dn: CN=c,DC=x\nobjectClass: user\n\n"] {
        assert!(files.import(nothing).await.rejected[0].legible.nobody_knows, "{nothing}");
    }
    let mut many = String::new();
    for number in 0..200 {
        writeln!(many, "proxyAddresses: smtp:{number}@x.example").unwrap();
    }
    let seen = files.import(&format!("dn: CN=c,DC=x\nno colon\nmail: {}\n{many}\n", "x".repeat(400))).await;
    assert_eq!(seen.rejected[0].legible.len(), 50);
}

/// Entries of a class that nobody knows fill pages as others do, so that no page is larger for them.
#[tokio::test]
async fn entries_of_an_unknown_class_come_in_several_pages() {
    let files = Files::new();
    let pages = async |content: String| {
        let connector = files.connector(&files.write("odd.ldif", content), |_| {});
        let request = ImportRequest { kind: ImportKind::Full, attributes: vec![files.names.intern("cn")] };
        let stream = connector.import(&Context::system(), request).await.unwrap();
        let pages: Vec<usize> = stream.map(|page| page.unwrap().odd.len()).collect().await;
        pages
    };
    let odd =
        |number: usize, name: &str| format!("dn: CN=u{number}{name},DC=x\nobjectClass: uesr\nobjectGUID: {number:016}\ncn: u{number}\n\n");
    let short: Vec<String> = (0..3_000).map(|number| odd(number, "")).collect();
    assert_eq!(pages(short.concat()).await, [1_000, 1_000, 1_000, 0]);
    // What is kept of an entry has octets, too.
    let name = "a".repeat(20_000);
    let long: Vec<String> = (0..999).map(|number| odd(number, &name)).collect();
    let long = pages(long.concat()).await;
    assert!(long.len() == 2 && long[0] < 900 && long.iter().sum::<usize>() == 999, "{long:?}");
}

#[test]
fn addresses_are_compared_without_blanks_around_them_and_their_scheme() {
    for text in [" smtp:Ada@x.example", "SMTP: ada@x.example ", "\tada@x.example", "smtp:ada@x.example"] {
        assert_eq!(UniqueKind::Address.compared(text), "ada@x.example", "{text:?}");
    }
    assert_eq!(UniqueKind::Address.compared(" x500:/o=A"), "x500:/o=a");
}

#[tokio::test]
async fn scattered_values_options_and_extended_names_are_understood() {
    let files = Files::new();
    let more = "proxyAddresses: 1\nsn: s\nPROXYADDRESSES: 2\nsn;lang-de: andere\nthumbnailPhoto;binary:: /9g=\nmanager: <GUID=00>;<SID=01>;CN=m,DC=x\n";
    let seen = files.import(&person(1, more)).await;
    let entry = seen.entries.values().next().unwrap();
    assert_eq!(entry.count("proxyAddresses"), 2);
    assert_eq!((entry.count("sn"), entry.text("sn").as_deref()), (1, Some("s")));
    assert_eq!(entry.values["thumbnailPhoto"].first().unwrap(), &[0xff, 0xd8]);
    assert_eq!(entry.text("manager").as_deref(), Some("CN=m,DC=x"));
}

#[tokio::test]
async fn lesson_20_a_value_of_ten_megabytes_and_a_group_of_250_000_members_come_in() {
    let files = Files::new();
    let mut group = String::from("dn: CN=g,DC=x\nobjectClass: group\nobjectGUID: gggggggggggggggg\n");
    for number in 0..250_000 {
        writeln!(group, "member: CN=m{number},OU=People,DC=x").unwrap();
    }
    let seen = files.import(&format!("{group}\n{}", person(1, &format!("thumbnailPhoto: {}\n", "p".repeat(10 << 20))))).await;
    assert_eq!(seen.rejected, []);
    assert_eq!(seen.entries["CN=g,DC=x"].count("member"), 250_000);
    assert_eq!(seen.entries["CN=p1,OU=People,DC=x"].values["thumbnailPhoto"].first().unwrap().len(), 10 << 20);
}

#[tokio::test]
async fn missing_unreadable_and_truncated_files_are_errors_that_name_file_and_line() {
    let files = Files::new();
    let missing = files.folder.path().join("nowhere.ldif");
    let error = seen::import(&files.connector(&missing, |_| {}), &files.names, &["cn"]).await.unwrap_err();
    assert_eq!(error.kind, ConnectorErrorKind::File);
    assert!(error.message.contains("nowhere.ldif"), "{error}");
    let empty = files.folder.path().join("folder");
    std::fs::create_dir(&empty).unwrap();
    let error = seen::import(&files.connector(&empty, |_| {}), &files.names, &["cn"]).await.unwrap_err();
    assert!(error.message.contains("*.ldif"), "{error}");
    let mut content = Vec::new();
    recipe(1_200, 1, 0).write_ldif(&mut content).unwrap();
    for cut in [content.len() / 2, content.len() - 3] {
        let path = files.write("cut.ldif", &content[..cut]);
        let error = seen::import(&files.connector(&path, |_| {}), &files.names, &["cn"]).await.unwrap_err();
        assert_eq!(error.kind, ConnectorErrorKind::File);
        assert!(error.message.contains("cut.ldif, line ") && error.message.contains("cut off"), "{error}");
    }
    // Cut between two records: nothing looks wrong but the promised closing line.
    let border = content.windows(2).rposition(|window| window == b"\n\n").unwrap() + 2;
    let path = files.write("cut.ldif", &content[..border]);
    let error = seen::import(&files.connector(&path, |_| {}), &files.names, &["cn"]).await.unwrap_err();
    assert!(error.message.contains("closing line"), "{error}");
}

#[tokio::test]
async fn an_empty_file_is_an_empty_directory() {
    let seen = Files::new().import("").await;
    assert!(seen.completed && seen.entries.is_empty());
}

#[tokio::test]
async fn a_folder_is_read_in_the_order_of_its_files() {
    let files = Files::new();
    let folder = files.folder.path().join("drop");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("2.ldif"), person(2, "")).unwrap();
    std::fs::write(folder.join("1.LDIF"), person(1, "")).unwrap();
    std::fs::write(folder.join("notes.txt"), "no LDIF").unwrap();
    let seen = seen::import(&files.connector(&folder, |_| {}), &files.names, &["cn"]).await.unwrap();
    assert_eq!((seen.entries.len(), seen.rejected.len()), (2, 0));
    std::fs::write(folder.join("3.ldif"), "dn: CN=cut").unwrap();
    let error = seen::import(&files.connector(&folder, |_| {}), &files.names, &["cn"]).await.unwrap_err();
    assert!(error.message.contains("3.ldif, line 1"), "{error}");
}

#[tokio::test]
async fn changes_are_read_by_delta_imports() {
    let files = Files::new();
    let full = files.write("full.ldif", person(1, ""));
    let changes = files.write(
        "changes.ldif",
        "dn: CN=p1,OU=People,DC=x\nchangetype: modify\nreplace: sn\nsn: new\n-\nadd: member\nmember: CN=a\n-\ndelete: member\nmember: CN=b\n-\ndelete: givenName\n-\nadd: fax\nfax: 1\n-\n\n\
         dn: CN=p2,DC=x\nchangetype: delete\n\n\
         dn: CN=p3,DC=x\nchangetype: add\nobjectClass: user\nobjectGUID: 3333333333333333\ncn: p3\n\n\
         dn: CN=p4,DC=x\nchangetype: modrdn\nnewrdn: CN=p5\ndeleteoldrdn: 1\n\n",
    );
    let connector = files.connector(&full, |settings| settings.changes = Some(changes));
    assert!(connector.capabilities().delta_import);
    let seen = seen::run(&connector, &files.names, ATTRIBUTES, ImportKind::Delta { since: b"ldif".to_vec() }).await.unwrap();
    assert_eq!(
        seen.changes,
        [
            "CN=p1,OU=People,DC=x: Replace sn [\"new\"]; Add member [\"CN=a\"]; Remove member [\"CN=b\"]; Replace givenName []",
            "CN=p5,DC=x: Remove cn [\"p4\"]; Add cn [\"p5\"]"
        ]
    );
    assert_eq!(seen.gone, ["CN=p2,DC=x"]);
    assert_eq!(seen.entries.keys().collect::<Vec<_>>(), ["CN=p3,DC=x"]);
    assert!(seen.rejected.is_empty());
}

fn operation(number: u64, kind: ExportKind, dn: &str) -> ExportOperation {
    ExportOperation {
        id: CsId::new(ConnectorId(1), number),
        kind,
        object_type: "user".into(),
        dn: dn.into(),
        rename: None,
        anchor: None,
        attributes: Vec::new(),
        references: Vec::new(),
    }
}

fn set(name: &str, wanted: Vec<Value>) -> AttributeChange {
    AttributeChange { name: name.into(), wanted, added: Vec::new(), removed: Vec::new() }
}

#[tokio::test]
async fn exports_append_change_records_that_read_back() {
    let files = Files::new();
    let path = files.write("full.ldif", person(1, ""));
    let target = files.folder.path().join("out.ldif");
    let connector = files.connector(&path, |settings| settings.export = Some(target.clone()));
    let mut add = operation(1, ExportKind::Add, "CN=Łódź,DC=x");
    add.attributes = vec![
        set("sn", vec!["a".into()]),
        set("userAccountControl", vec![Value::Number(512)]),
        set("isDeleted", vec![Value::Boolean(false)]),
        set("objectGUID", vec![Value::Binary(vec![0, 255].into())]),
    ];
    add.references = vec![ReferenceChange { name: "manager".into(), replace: true, added: vec!["CN=m,DC=x".into()], removed: vec![] }];
    let mut update = operation(2, ExportKind::Update, "CN=b,DC=x");
    update.rename = Some("CN=c,OU=y,DC=x".into());
    update.attributes = vec![set("title", vec![])];
    update.references =
        vec![ReferenceChange { name: "member".into(), replace: false, added: vec!["CN=1".into()], removed: vec!["CN=2".into()] }];
    let mut impossible = operation(3, ExportKind::Add, "CN=d,DC=x");
    impossible.attributes = vec![set("manager", vec![Value::Reference(5)])];
    let delete = operation(4, ExportKind::Delete, "CN=e,DC=x");
    let cx = Context::system();
    let batch = ExportBatch { operations: vec![add, update, impossible] };
    let reply = connector.export(&cx, &batch).await.unwrap();
    assert!(matches!(
        reply.outcomes().iter().map(|(_, outcome)| outcome).collect::<Vec<_>>()[..],
        [ExportOutcome::Accepted { .. }, ExportOutcome::Accepted { .. }, ExportOutcome::Rejected(_)]
    ));
    connector.export(&cx, &ExportBatch { operations: vec![delete] }).await.unwrap();
    let written = std::fs::read_to_string(&target).unwrap();
    assert_eq!(
        written,
        "dn:: Q049xYHDs2TFuixEQz14\n".to_owned()
            + "changetype: add\nobjectClass: user\nsn: a\nuserAccountControl: 512\nisDeleted: FALSE\nobjectGUID:: AP8=\nmanager: CN=m,DC=x\n\n\
               dn: CN=b,DC=x\nchangetype: modrdn\nnewrdn: CN=c\ndeleteoldrdn: 1\nnewsuperior: OU=y,DC=x\n\n\
               dn: CN=c,OU=y,DC=x\nchangetype: modify\nreplace: title\n-\ndelete: member\nmember: CN=2\n-\nadd: member\nmember: CN=1\n-\n\n\
               dn: CN=e,DC=x\nchangetype: delete\n\n"
    );
    let unwritable = files.connector(&path, |settings| settings.export = Some(files.folder.path().join("none/out.ldif")));
    let error = unwritable.export(&cx, &batch).await.unwrap_err();
    assert_eq!((error.kind, error.nothing_sent), (ConnectorErrorKind::File, true));
}

fn group(number: u64) -> ExportOperation {
    let mut group = operation(number, ExportKind::Update, &format!("CN=group {number},DC=x"));
    let members = (0..40).map(|member| format!("CN=member {member} of {number},OU=People,DC=x")).collect();
    group.references = vec![ReferenceChange { name: "member".into(), replace: true, added: members, removed: vec![] }];
    group
}

fn members(path: &Path) -> Vec<(String, usize)> {
    let records = syncline::protocol::ldif::Reader::new(std::io::BufReader::new(std::fs::File::open(path).unwrap()));
    records.map(Result::unwrap).map(|record| (record.dn.clone(), record.values().filter(|value| value.name == "member").count())).collect()
}

const FULL_DISK: &str = "SYNCLINE_TEST_FULL_DISK";
/// What it prints when it was all so: without the variable it does nothing.
const WAS_FULL: &str = "the disk was full";

/// What the other process of the test below does, whose files can grow no further.
#[tokio::test]
async fn on_a_full_disk() {
    let Some(target) = std::env::var_os(FULL_DISK).map(std::path::PathBuf::from) else { return };
    let files = Files::new();
    let connector = files.exporter(&target);
    let before = std::fs::read(&target).unwrap();
    let error = connector.export(&Context::system(), &ExportBatch { operations: vec![group(2), group(3)] }).await.unwrap_err();
    assert_eq!((error.kind, error.nothing_sent), (ConnectorErrorKind::File, true), "{error}");
    assert_eq!(String::from_utf8(std::fs::read(&target).unwrap()), String::from_utf8(before));
    println!("{WAS_FULL}");
}

/// The disk is full in the middle of a batch: nothing of it stays, and the next one begins where it began.
#[tokio::test]
async fn a_batch_that_was_cut_off_is_taken_back() {
    let files = Files::new();
    let target = files.folder.path().join("out.ldif");
    let connector = files.exporter(&target);
    connector.export(&Context::system(), &ExportBatch { operations: vec![group(1)] }).await.unwrap();
    let record = std::fs::metadata(&target).unwrap().len();
    // Room for one record more, and for a part of the next one (in units of 512 octets).
    let most = record * 5 / 2 / 512;
    assert!(most * 512 > 2 * record && most * 512 < 3 * record, "{record}");
    let limited = format!("trap '' XFSZ; ulimit -f {most}; exec \"$0\" \"$@\"");
    let child = std::process::Command::new("sh")
        .args(["-c", &limited])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "ldif_connector::on_a_full_disk", "--nocapture"])
        .env(FULL_DISK, &target)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success() && told.contains("1 passed") && told.contains(WAS_FULL),
        "{told}{}",
        String::from_utf8_lossy(&child.stderr)
    );
    connector.export(&Context::system(), &ExportBatch { operations: vec![group(2), group(3)] }).await.unwrap();
    assert_eq!(members(&target), [1, 2, 3].map(|number| (format!("CN=group {number},DC=x"), 40)));
}

/// Wherever a kill cut the file off, the next export leaves whole records only, and none that was cut short.
#[tokio::test]
async fn half_a_record_at_the_end_is_cut_off() {
    let files = Files::new();
    let whole = files.folder.path().join("whole.ldif");
    let connector = |target: &Path| files.exporter(target);
    let mut large = group(2);
    large.attributes = vec![set("info", vec!["x".repeat(150_000).as_str().into()])];
    connector(&whole).export(&Context::system(), &ExportBatch { operations: vec![group(1), large] }).await.unwrap();
    let octets = std::fs::read(&whole).unwrap();
    let first = octets.windows(2).position(|pair| pair == b"\n\n").unwrap() + 2;
    let places = [0, 1, 30, first - 2, first - 1, first, first + 1, first + 65_536, octets.len() - 90, octets.len() - 1, octets.len()];
    for place in places {
        let target = files.write("out.ldif", &octets[..place]);
        connector(&target).export(&Context::system(), &ExportBatch { operations: vec![group(3)] }).await.unwrap();
        let kept = if place == octets.len() { 2 } else { usize::from(place >= first) };
        let names: Vec<(String, usize)> =
            [1, 2].into_iter().take(kept).chain([3]).map(|number| (format!("CN=group {number},DC=x"), 40)).collect();
        assert_eq!(members(&target), names, "cut off at {place}");
    }
    // Lines of another system, and a file that its writer ended.
    let target = files.write("out.ldif", "dn: CN=a,DC=x\r\nchangetype: delete\r\n\r\ndn: CN=b");
    connector(&target).export(&Context::system(), &ExportBatch { operations: vec![group(3)] }).await.unwrap();
    assert_eq!(members(&target).len(), 2);
    let mut closed = syncline::protocol::ldif::Writer::new(Vec::new()).unwrap();
    closed.entry("CN=a,DC=x").unwrap();
    let closed = closed.finish().unwrap();
    let target = files.write("out.ldif", &closed);
    let error = connector(&target).export(&Context::system(), &ExportBatch { operations: vec![group(3)] }).await.unwrap_err();
    assert!(error.nothing_sent && error.message.contains("closed file"), "{error}");
    assert_eq!(std::fs::read(&target).unwrap(), closed);
}

/// What no export of ours left behind is not cut off, whatever file was named.
#[tokio::test]
async fn what_is_no_change_record_stays_and_nothing_is_appended_to_it() {
    let files = Files::new();
    let entry = "dn: CN=hand-made,DC=x\nobjectClass: user\ncn: hand-made\n";
    let folded = format!("dn: CN={}\n {},DC=x\nobjectClass: user\n", "x".repeat(70), "y".repeat(40));
    let table = "name,mail\n".to_owned() + &"anna,anna@x\n".repeat(9_000);
    let contents = [
        entry.to_owned(),
        format!("version: 1\n\n{}{entry}", person(1, "")),
        folded,
        table,
        "version: 1\ndn: CN=a,DC=x\nchangetype: delete\n".to_owned(),
        "# mine\ndn: CN=a,DC=x\nchangetype: delete\n".to_owned(),
        "d\u{fc}nn".to_owned(),
    ];
    for content in &contents {
        let target = files.write("theirs.txt", content);
        let batch = ExportBatch { operations: vec![group(3)] };
        let error = files.exporter(&target).export(&Context::system(), &batch).await.unwrap_err();
        assert_eq!((error.kind, error.nothing_sent), (ConnectorErrorKind::File, true), "{error}");
        assert!(error.message.contains("theirs.txt") && error.message.contains("no change record"), "{error}");
        assert!(std::fs::read(&target).unwrap() == content.as_bytes(), "{error}");
        // As the message says.
        let target = files.write("theirs.txt", format!("{content}\n\n"));
        files.exporter(&target).export(&Context::system(), &batch).await.unwrap();
        assert!(std::fs::read(&target).unwrap().starts_with(content.as_bytes()));
    }
    // A name in several lines is what an export begins with, too.
    let long = operation(1, ExportKind::Delete, &format!("CN={},DC=x", "z".repeat(200)));
    let target = files.folder.path().join("out.ldif");
    files.exporter(&target).export(&Context::system(), &ExportBatch { operations: vec![long] }).await.unwrap();
    let octets = std::fs::read(&target).unwrap();
    for place in 0..octets.len() {
        let target = files.write("out.ldif", &octets[..place]);
        files.exporter(&target).export(&Context::system(), &ExportBatch { operations: vec![group(3)] }).await.unwrap();
        assert_eq!(members(&target), [("CN=group 3,DC=x".to_owned(), 40)], "cut off at {place}");
    }
}

/// What is read is no place for exports, by whatever name: what is cut off of it would be missing at the next import.
#[tokio::test]
async fn nothing_is_exported_to_a_file_that_is_read() {
    let files = Files::new();
    let half = "dn: CN=p2,DC=x\nchangetype: delete\n";
    let (full, changes, folder) = (files.write("full.ldif", person(1, "")), files.write("changes.ldif", half), files.folder.path());
    let inbox = folder.join("in");
    std::fs::create_dir(&inbox).unwrap();
    std::os::unix::fs::symlink(&changes, folder.join("link.ldif")).unwrap();
    std::os::unix::fs::symlink(&inbox, folder.join("other")).unwrap();
    std::os::unix::fs::symlink(files.write("elsewhere.txt", ""), inbox.join("elsewhere.ldif")).unwrap();
    let one = ExportBatch { operations: vec![group(1)] };
    let is_refused = |error: &ConnectorError, key: &str| {
        (error.kind, error.nothing_sent) == (ConnectorErrorKind::Configuration, true)
            && error.message.contains(key)
            && error.message.contains("is read by imports")
    };
    for (path, changes, export, key) in [
        (&full, Some(&changes), full.clone(), Some("`path`")),
        (&full, Some(&changes), changes.clone(), Some("`changes`")),
        (&full, Some(&changes), folder.join("link.ldif"), Some("`changes`")),
        (&full, Some(&inbox), inbox.join("../in/1.LDIF"), Some("`changes`")),
        (&full, Some(&inbox), folder.join("other/1.ldif"), Some("`changes`")),
        (&inbox, None, inbox.join("1.ldif"), Some("`path`")),
        (&inbox, None, inbox.join("elsewhere.ldif"), Some("`path`")),
        (&full, Some(&inbox), inbox.join("1.txt"), None),
        (&full, None, folder.join("out.ldif"), None),
    ] {
        let settings =
            LdifSettings { path: path.clone(), changes: changes.cloned(), export: Some(export.clone()), ..LdifSettings::default() };
        let connector = LdifConnector::new(settings, files.names.clone());
        let Some(key) = key else {
            connector.unwrap().export(&Context::system(), &one).await.unwrap();
            continue;
        };
        assert!(is_refused(&connector.unwrap_err(), key));
    }
    // Where a link leads may change under a connector that is there already.
    let later = folder.join("later.ldif");
    let connector = files.connector(&full, |settings| settings.export = Some(later.clone()));
    std::os::unix::fs::symlink(&full, &later).unwrap();
    assert!(is_refused(&connector.export(&Context::system(), &one).await.unwrap_err(), "`path`"));
    assert_eq!((std::fs::read_to_string(&full).unwrap(), std::fs::read_to_string(&changes).unwrap()), (person(1, ""), half.to_owned()));
    assert!(!inbox.join("1.ldif").exists() && !inbox.join("1.LDIF").exists());
}

/// Several change records of one entry in one file come to what they come to in a file each.
#[tokio::test]
async fn records_of_one_entry_add_up_whatever_they_are() {
    const RECORDS: [&str; 6] = [
        "dn: CN=p1,OU=People,DC=x\nchangetype: add\nobjectClass: top\nobjectClass: user\nobjectGUID: guid-00000000001\ncn: added\nmember: CN=m1\n\n",
        "dn: CN=p1,OU=People,DC=x\nchangetype: modify\nreplace: sn\nsn: modified\n-\nadd: member\nmember: CN=m2\n-\n\n",
        "dn: CN=p1,OU=People,DC=x\nchangetype: modify\nreplace: cn\ncn: modified\n-\ndelete: member\nmember: CN=m1\n-\n\n",
        "dn: CN=p1,OU=People,DC=x\nchangetype: modrdn\nnewrdn: CN=p9\ndeleteoldrdn: 1\n\n",
        "dn: CN=p1,OU=People,DC=x\nchangetype: delete\n\n",
        "dn: CN=p9,OU=People,DC=x\nchangetype: add\nobjectClass: top\nobjectClass: user\nobjectGUID: guid-00000000001\ncn: renamed\n\n",
    ];
    const SPACE: ConnectorId = ConnectorId(1);
    let files = Files::new();
    for known in [false, true] {
        for first in RECORDS {
            for second in RECORDS {
                let mut pictures = Vec::new();
                for deltas in [vec![format!("{first}{second}")], vec![first.to_owned(), second.to_owned()]] {
                    let store = Store::in_memory().unwrap();
                    let attributes: Vec<_> = ["cn", "sn", "member"].map(|name| store.names().intern(name)).to_vec();
                    let content = if known { person(1, "sn: known\nmember: CN=m1\n") + &person(2, "") } else { person(2, "") };
                    let (path, changes) = (files.write("content.ldif", &content), files.folder.path().join("changes.ldif"));
                    let settings = LdifSettings { path, changes: Some(changes), ..LdifSettings::default() };
                    let connector = LdifConnector::new(settings, store.names().clone()).unwrap();
                    let kinds = std::iter::once(ImportKind::Full);
                    for (kind, text) in
                        kinds.chain(std::iter::repeat(ImportKind::Delta { since: Vec::new() })).zip([String::new()].iter().chain(&deltas))
                    {
                        files.write("changes.ldif", text);
                        let mut options = ImportOptions::full(SPACE, "A", attributes.clone(), (RunId(1), 1));
                        options.full = kind == ImportKind::Full;
                        let request = ImportRequest { kind, attributes: attributes.clone() };
                        let pages: Vec<_> = connector.import(&Context::system(), request).await.unwrap().collect().await;
                        let mut silent = Silent;
                        import(&store, pages.into_iter(), &options, &Context::system(), &mut StepRecorder::new(&mut silent)).unwrap();
                    }
                    let snapshot = store.snapshot().unwrap();
                    let objects = snapshot.cs_scan(SPACE, None, 99).unwrap();
                    let picture: Vec<String> = objects
                        .iter()
                        .map(|object| {
                            let error = snapshot.error(object.id, ErrorSide::Import).unwrap().map(|error| error.code);
                            format!("{object:?} {:?} {error:?}", snapshot.cs_references(object.id).unwrap())
                        })
                        .collect();
                    assert!(store.check().unwrap().is_clean());
                    pictures.push(picture);
                }
                assert_eq!(pictures[0], pictures[1], "known {known}\n{first}{second}");
            }
        }
    }
}
