//! A domain that changes, a store that follows it by delta imports, and the judge: a store that is filled from scratch.

use crate::labs::Lab;
use secrecy::SecretString;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use syncline::connector::Connector;
use syncline::connector::ad::{AdConnector, AdSettings, DeltaMode};
use syncline::connector::directory::Selection;
use syncline::connector::ldap::LdapSettings;
use syncline::context::Context;
use syncline::engine::Silent;
use syncline::engine::bridge::Bridge;
use syncline::engine::import::WATERMARK;
use syncline::engine::run::{Caution, Engine, Participant, Profile, Standing};
use syncline::events::Log;
use syncline::model::{ConnectorId, Link, Stage, StageMask, ValueState};
use syncline::rules::{CompileInput, ConnectorKind, ConnectorProfile, RuleFile, RuleSet, RuleSettings, RunParameters};
use syncline::store::{RunRecord, StepKind, Store};
use tokio::runtime::Runtime;

/// The connector of the domain.
pub(crate) const A: ConnectorId = ConnectorId(1);

/// Projects everybody, and lets everything flow that the tests look at.
const RULES: &str = r#"
[[metaverse_attribute]]
name = "addresses"
type = "string"
multi = true

[[rule]]
name = "In from A - Person"
direction = "inbound"
connector = "A"
cs_type = "user"
mv_type = "person"
link = "provision"
order = 10
direct = ["cn", "displayName", "title", "mail", "manager"]
flows = [{ to = "addresses", from = "proxyAddresses" }]

[[rule]]
name = "In from A - Contact"
direction = "inbound"
connector = "A"
cs_type = "contact"
mv_type = "person"
link = "provision"
order = 15
direct = ["cn", "displayName", "mail", "manager"]

[[rule]]
name = "In from A - Group"
direction = "inbound"
connector = "A"
cs_type = "group"
mv_type = "group"
link = "provision"
order = 20
direct = ["cn", "displayName", "member"]
"#;

/// Everything a connector space and its links say: by key, name and type of an object with its values and references.
pub(crate) type Picture = BTreeMap<String, (String, String, bool, BTreeSet<String>)>;

pub(crate) struct World<'a> {
    pub(crate) lab: &'a Lab,
    pub(crate) runtime: Runtime,
    pub(crate) store: Store,
    pub(crate) settings: AdSettings,
}

impl<'a> World<'a> {
    pub(crate) fn new(lab: &'a Lab, include: &[&str], mode: DeltaMode) -> Self {
        let mut connection = LdapSettings::new(lab.text("ldaps"), lab.text("bind_name"), SecretString::from(lab.text("password")));
        connection.ca_file = Some(PathBuf::from(lab.text("ca")));
        let include = include.iter().map(|name| (*name).to_owned()).collect();
        let selection = Selection { object_types: ["user", "contact", "group"].map(str::to_owned).to_vec(), include, exclude: Vec::new() };
        Self {
            lab,
            runtime: tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap(),
            store: Store::in_memory().unwrap(),
            settings: AdSettings { connection, partitions: Vec::new(), selection, delta: mode },
        }
    }

    pub(crate) fn run_on(&self, store: &Store, profile: Profile) -> RunRecord {
        let connector = AdConnector::new(self.settings.clone(), store.names().clone()).unwrap();
        run_source(store, &self.runtime, Arc::new(connector), 0, profile)
    }

    pub(crate) fn run(&self, profile: Profile) -> RunRecord {
        self.run_on(&self.store, profile)
    }

    /// Everything from the beginning.
    pub(crate) fn begin(&self) {
        let record = self.run(Profile::FullImport);
        assert_eq!(record.result.0, "success", "{record:#?}");
        let record = self.run(Profile::FullSynchronization);
        assert_eq!(record.result.0, "success", "{record:#?}");
    }

    /// A delta import and a delta synchronization, neither of which may become a full one; then the space must be what one
    /// is that is filled from scratch. Gives the counters of the import.
    #[track_caller]
    pub(crate) fn follow(&self, after: &str) -> BTreeMap<String, u64> {
        let import = self.run(Profile::DeltaImport);
        assert!(import.steps.len() == 1 && import.steps[0].kind == StepKind::DeltaImport, "{after}: {import:#?}");
        assert_eq!(import.result.0, "success", "{after}: {import:#?}");
        let sync = self.run(Profile::DeltaSynchronization);
        assert!(sync.steps.len() == 1 && sync.steps[0].kind == StepKind::DeltaSync, "{after}: {sync:#?}");
        assert_eq!(sync.result.0, "success", "{after}: {sync:#?}");
        let scratch = Store::in_memory().unwrap();
        assert_eq!(self.run_on(&scratch, Profile::FullImport).result.0, "success", "{after}");
        assert_eq!(self.run_on(&scratch, Profile::FullSynchronization).result.0, "success", "{after}");
        let (followed, wanted) = (picture(&self.store), picture(&scratch));
        let keys: BTreeSet<_> = followed.keys().chain(wanted.keys()).collect();
        let wrong: Vec<String> = keys
            .into_iter()
            .filter(|key| followed.get(*key) != wanted.get(*key))
            .map(|key| difference(key, followed.get(key), wanted.get(key)))
            .collect();
        assert!(wrong.is_empty(), "after {after}:\n{}\n{import:#?}", wrong.join("\n"));
        import.steps[0].counters.iter().map(|(name, count)| (name.0.to_string(), *count)).collect()
    }

    pub(crate) fn watermark(&self) -> Option<Vec<u8>> {
        self.store.snapshot().unwrap().state(A, WATERMARK).unwrap()
    }

    /// Changes the domain, as its administrator.
    #[track_caller]
    pub(crate) fn modify(&self, ldif: &str) {
        self.lab.modify(ldif);
    }

    /// The imported object of a name.
    pub(crate) fn has(&self, dn: &str) -> bool {
        picture(&self.store).values().any(|(name, ..)| name == dn)
    }

    /// What the object of a name says.
    #[track_caller]
    pub(crate) fn says(&self, dn: &str) -> BTreeSet<String> {
        let picture = picture(&self.store);
        picture.into_values().find(|(name, ..)| name == dn).unwrap_or_else(|| panic!("{dn} is not there")).3
    }
}

type Row = (String, String, bool, BTreeSet<String>);

fn difference(key: &str, followed: Option<&Row>, wanted: Option<&Row>) -> String {
    match (followed, wanted) {
        (Some(followed), Some(wanted)) => {
            let (more, less): (Vec<_>, Vec<_>) = (followed.3.difference(&wanted.3).collect(), wanted.3.difference(&followed.3).collect());
            let followed = (&followed.0, &followed.1, followed.2);
            format!("{key}: {followed:?}, wanted {:?}; has {more:?} too much and lacks {less:?}", (&wanted.0, &wanted.1, wanted.2))
        }
        (followed, wanted) => format!("{key}: {:?}, wanted {:?}", followed.map(|row| &row.0), wanted.map(|row| &row.0)),
    }
}

/// What a store says of the domain.
pub(crate) fn picture(store: &Store) -> Picture {
    let snapshot = store.snapshot().unwrap();
    let names = store.names();
    let mut picture = Picture::new();
    for object in snapshot.cs_scan(A, None, usize::MAX).unwrap() {
        if object.link == Link::Placeholder {
            continue;
        }
        assert!(!object.stage(Stage::PendingImport).is_some(), "{} is not synchronized", object.dn);
        let mut values = BTreeSet::new();
        for item in object.values.iter().filter(|item| ValueState(item.flags).present(StageMask::IMPORTED)) {
            values.insert(format!("{}={:?}", names.name(item.attr), item.value));
        }
        for row in snapshot.cs_references(object.id).unwrap().iter().filter(|row| row.state.present(StageMask::IMPORTED)) {
            let target = snapshot.cs_object(row.target).unwrap().unwrap();
            values.insert(format!("{}->{} {}", names.name(row.attr), target.dn, target.link == Link::Placeholder));
        }
        if let Some(mv) = object.link.mv().and_then(|mv| snapshot.mv_object(mv).unwrap()) {
            for item in mv.values.iter() {
                values.insert(format!("mv {}={:?}", names.name(item.attr), item.value));
            }
            for row in snapshot.mv_references(mv.id).unwrap() {
                let target = snapshot.mv_link(row.target, A).unwrap().and_then(|id| snapshot.cs_object(id).unwrap());
                values.insert(format!("mv {}->{:?}", names.name(row.attr), target.map(|target| target.dn)));
            }
        }
        let kind = names.object_type_name(object.object_type).to_string();
        let anchor = object.anchor.as_ref().map(ToString::to_string).unwrap_or_default();
        let before = picture.insert(anchor, (object.dn.to_string(), kind, object.link.mv().is_some(), values));
        assert_eq!(before, None, "two objects of one key");
    }
    picture
}

/// Runs a profile on a directory that is the only source of a store; `selection` stands for what is read of it.
pub(crate) fn run_source(store: &Store, runtime: &Runtime, connector: Arc<dyn Connector>, selection: u64, profile: Profile) -> RunRecord {
    let names = store.names();
    let files = [RuleFile { name: "delta.toml".to_owned(), text: RULES.to_owned() }];
    let connectors = [ConnectorProfile::new(A, "A", ConnectorKind::Other)];
    let rules =
        RuleSet::compile(CompileInput { files: &files, connectors: &connectors, names, settings: &RuleSettings::default() }).unwrap();
    let participant = Participant {
        name: "A".to_owned(),
        connector: Some(connector),
        unusable: None,
        target: false,
        selection,
        standing: Standing::Configured,
    };
    let engine = Engine {
        store,
        rules: &rules,
        bridge: Bridge::new(runtime.handle().clone()),
        participants: BTreeMap::from([(A, participant)]),
        parameters: RunParameters::default(),
        caution: Caution::default(),
        cx: Context::system(),
        events: &Log,
    };
    engine.run(A, profile, &mut Silent).unwrap()
}
