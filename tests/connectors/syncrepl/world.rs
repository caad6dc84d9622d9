//! A directory, the way to it, and a store that follows it by delta imports.

use super::proxy::Proxy;
use crate::labs::{self, Lab};
use futures_util::StreamExt as _;
use secrecy::SecretString;
use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};
use std::sync::Arc;
use syncline::connector::directory::Selection;
use syncline::connector::ldap::{LdapConnector, LdapConnectorSettings, LdapSettings};
use syncline::connector::{Connector as _, ConnectorError, ConnectorErrorKind, ImportKind, ImportRequest};
use syncline::context::Context;
use syncline::engine::import::{ImportOptions, WATERMARK, import_asking};
use syncline::engine::{EngineError, Silent, StepRecorder};
use syncline::model::{Anchor, AttrId, ConnectorId, Dn, RunId, StageMask, ValueState};
use syncline::store::Store;
use tokio::runtime::Runtime;

pub(crate) const SPACE: ConnectorId = ConnectorId(1);
pub(crate) const BASE: &str = "DC=corp,DC=example";
const ATTRIBUTES: [&str; 9] = ["cn", "sn", "displayName", "description", "mail", "proxyAddresses", "jpegPhoto", "manager", "member"];

/// What a space holds, by anchor: name, type, values with their attributes, references by name.
pub(crate) type Picture = BTreeMap<String, (Vec<u8>, String, BTreeSet<String>, BTreeSet<(String, Vec<u8>)>)>;

/// What one import came to.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) result: &'static str,
    pub(crate) counters: BTreeMap<String, u64>,
    pub(crate) notes: Vec<String>,
    /// The directory told everything; objects that were not named went.
    pub(crate) whole: bool,
    /// Items of all pages.
    pub(crate) items: usize,
}

impl Run {
    pub(crate) fn count(&self, name: &str) -> u64 {
        self.counters.get(name).copied().unwrap_or(0)
    }
}

pub(crate) struct World {
    pub(crate) lab: Lab,
    pub(crate) proxy: Proxy,
    pub(crate) store: Store,
    pub(crate) selection: Selection,
    runtime: Runtime,
}

impl World {
    /// A small directory; `flags` are those of `tools/lab/openldap`.
    pub(crate) fn new(flags: &[&str]) -> Self {
        let lab = labs::up("openldap", &labs::recipe(60, 8, 6), flags);
        let proxy = Proxy::before(lab.text("ldap"));
        Self { lab, proxy, store: Store::in_memory().unwrap(), selection: Selection::default(), runtime: Runtime::new().unwrap() }
    }

    /// The same, with containers to look into and to leave out.
    pub(crate) fn selecting(flags: &[&str]) -> Self {
        let mut world = Self::new(flags);
        let below = |names: &[&str]| names.iter().map(|name| format!("{name},{BASE}")).collect();
        world.selection.include = below(&["OU=People", "OU=Groups"]);
        world.selection.exclude = below(&["OU=Secret,OU=People"]);
        for name in ["OU=Outside", "OU=Secret,OU=People", "OU=Teams,OU=People", "OU=Inner,OU=Teams,OU=People"] {
            world.change(&format!("dn: {name},{BASE}\nchangetype: add\nobjectClass: organizationalUnit\n\n"));
        }
        world
    }

    pub(crate) fn settings(&self, url: &str) -> LdapConnectorSettings {
        let password = SecretString::from(self.lab.text("password"));
        let mut connection = LdapSettings::new(url, self.lab.text("bind_name"), password);
        connection.allow_plain = true;
        LdapConnectorSettings { connection, base: BASE.into(), anchor: "entryUUID".into(), selection: self.selection.clone() }
    }

    pub(crate) fn connector(&self, store: &Store) -> LdapConnector {
        LdapConnector::new(self.settings(&self.proxy.url), store.names().clone()).unwrap()
    }

    pub(crate) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Changes the directory as its administrator, who may do everything.
    pub(crate) fn change(&self, ldif: &str) {
        let (done, said) = self.try_change(ldif);
        assert!(done, "{said}\n{ldif}");
    }

    /// The same; changes that are refused are passed over.
    pub(crate) fn try_change(&self, ldif: &str) -> (bool, String) {
        let (code, said) = self.lab.modify_as(self.lab.text("admin_name"), self.lab.text("password"), ldif, &["-c", "-e", "!relax"]);
        (code == 0, said)
    }

    /// Stops the server and starts it again: what it remembered of deletes is lost.
    pub(crate) fn restart(&self) {
        self.stop();
        self.tool("up");
    }

    pub(crate) fn stop(&self) {
        self.tool("down");
    }

    fn tool(&self, command: &str) {
        let tool = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/lab/openldap");
        let done = Command::new(tool).arg(command).arg(self.lab.folder()).stdin(Stdio::null()).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    fn attributes(store: &Store) -> Vec<AttrId> {
        let mut attributes: Vec<_> = ATTRIBUTES.iter().map(|name| store.names().intern(name)).collect();
        attributes.sort_unstable();
        attributes
    }

    /// One import into a store, with everything the engine does besides.
    pub(crate) fn import(&self, store: &Store, kind: ImportKind) -> Result<Run, EngineError> {
        let connector = Arc::new(self.connector(store));
        let attributes = Self::attributes(store);
        let request = ImportRequest { kind, attributes: attributes.clone() };
        let cx = Context::system();
        let mut options = ImportOptions::full(SPACE, "corp", attributes, (RunId(1), 1));
        options.full = request.kind == ImportKind::Full;
        options.references_stay = connector.references_stay();
        let pages: Vec<Result<_, ConnectorError>> = self.block_on(async {
            match connector.import(&cx, request.clone()).await {
                Ok(stream) => stream.collect().await,
                Err(error) => vec![Err(error)],
            }
        });
        let complete = pages.iter().flatten().find_map(|page| page.completion.clone());
        let items = pages.iter().flatten().map(syncline::connector::ImportPage::len).sum();
        let mut again = |anchors: &[Anchor]| self.block_on(connector.find(&cx, &request, anchors));
        let mut silent = Silent;
        let mut recorder = StepRecorder::new(&mut silent);
        let result = import_asking(store, pages.into_iter(), &mut again, &options, &cx, &mut recorder)?;
        let counters = recorder.counters().iter().map(|(name, count)| (name.0.to_string(), *count)).collect();
        let whole = complete.is_some_and(|completion| completion.answered_in_full);
        Ok(Run { result, counters, notes: recorder.notes.clone(), whole, items })
    }

    /// A full import into the store that is kept.
    pub(crate) fn full(&self) -> Run {
        let run = self.import(&self.store, ImportKind::Full).unwrap();
        assert_eq!(run.result, "success", "{run:?}");
        run
    }

    pub(crate) fn watermark(&self) -> Option<Vec<u8>> {
        self.store.snapshot().unwrap().state(SPACE, WATERMARK).unwrap()
    }

    /// A delta import from where the last one ended.
    pub(crate) fn try_delta(&self) -> Result<Run, EngineError> {
        let since = self.watermark().expect("an import left a place to go on from");
        self.import(&self.store, ImportKind::Delta { since })
    }

    /// The same; afterwards the space is that of a fresh store.
    pub(crate) fn delta(&self) -> Run {
        let run = self.try_delta().unwrap();
        assert_eq!(run.result, "success", "{run:?}");
        self.assert_as_fresh(&format!("{run:?}"));
        run
    }

    pub(crate) fn assert_as_fresh(&self, what: &str) {
        let fresh = Store::in_memory().unwrap();
        assert_eq!(self.import(&fresh, ImportKind::Full).unwrap().result, "success");
        let (wanted, found) = (picture(&fresh), picture(&self.store));
        for (anchor, object) in &wanted {
            assert_eq!(found.get(anchor), Some(object), "{anchor} {}\n{what}", String::from_utf8_lossy(&object.0));
        }
        let more: Vec<_> = found.iter().filter(|(anchor, _)| !wanted.contains_key(*anchor)).collect();
        assert!(more.is_empty(), "{more:?}\n{what}");
        assert!(self.store.check().unwrap().is_clean());
    }

    /// The kind of error that a delta import ends with.
    pub(crate) fn refusal(&self, since: Vec<u8>) -> ConnectorError {
        match self.import(&self.store, ImportKind::Delta { since }) {
            Err(EngineError::Connector(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn assert_lost(&self, since: Vec<u8>) {
        let error = self.refusal(since);
        assert_eq!(error.kind, ConnectorErrorKind::WatermarkLost, "{error}");
    }
}

/// What a space holds. Objects that are on their way out do not count.
pub(crate) fn picture(store: &Store) -> Picture {
    let snapshot = store.snapshot().unwrap();
    let names = store.names();
    let key = |dn: &str| Dn::parse(dn).unwrap().key().as_bytes().to_vec();
    let shown = |flags: u8| ValueState(flags).present(StageMask::IMPORTED);
    let mut picture = Picture::new();
    for object in snapshot.cs_scan(SPACE, None, usize::MAX).unwrap() {
        if !object.imported() {
            continue;
        }
        assert!(!object.transient, "{} has no name of its own", object.dn);
        let values = object.values.iter().filter(|item| shown(item.flags));
        let values = values.map(|item| format!("{}: {:?}", names.name(item.attr), item.value)).collect();
        let rows = snapshot.cs_references(object.id).unwrap();
        let rows = rows.into_iter().filter(|row| row.state.present(StageMask::IMPORTED));
        let references = rows.map(|row| {
            let target = snapshot.cs_object(row.target).unwrap().unwrap();
            (names.name(row.attr).to_string(), key(&target.dn))
        });
        let kind = names.object_type_name(object.object_type).to_string();
        let anchor = String::from_utf8(object.anchor.as_ref().unwrap().as_bytes().to_vec()).unwrap();
        assert!(picture.insert(anchor, (key(&object.dn), kind, values, references.collect())).is_none());
    }
    picture
}

/// A change record that makes a person.
pub(crate) fn person(name: &str, container: &str) -> String {
    format!("dn: CN={name},{container},{BASE}\nchangetype: add\nobjectClass: user\ncn: {name}\nsn: {name}\ndescription: of {name}\n\n")
}

pub(crate) fn remove(name: &str) -> String {
    format!("dn: {name},{BASE}\nchangetype: delete\n\n")
}

pub(crate) fn modify(name: &str, parts: &str) -> String {
    format!("dn: {name},{BASE}\nchangetype: modify\n{parts}\n\n")
}

pub(crate) fn rename(name: &str, new: &str, parent: Option<&str>) -> String {
    let parent = parent.map(|parent| format!("newsuperior: {parent},{BASE}\n")).unwrap_or_default();
    format!("dn: {name},{BASE}\nchangetype: modrdn\nnewrdn: {new}\ndeleteoldrdn: 1\n{parent}\n")
}
