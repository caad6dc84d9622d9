//! A fresh store with one set of rules: imported, synchronized, and read back in words that mean the same everywhere.

use crate::directory::Directories;
use futures_util::StreamExt as _;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use syncline::connector::directory::Selection;
use syncline::connector::ldif::{LdifConnector, LdifSettings};
use syncline::connector::{Connector as _, ImportKind, ImportRequest};
use syncline::context::Context;
use syncline::engine::import::{ImportOptions, import};
use syncline::engine::sync::{BATCH, SyncRequest, synchronize};
use syncline::engine::{Silent, StepRecorder};
use syncline::model::{AttrId, ConnectorId, CsId, CsObject, ErrorSide, MvId, Names, RunId, Stage, StageMask, Timestamp, ValueState};
use syncline::rules::{CompileInput, ConnectorKind, ConnectorProfile, Direction, RuleFile, RuleSet, RuleSettings, RunParameters};
use syncline::store::{Snapshot, Store};

pub(crate) const CONTOSO: ConnectorId = ConnectorId(1);
pub(crate) const FABRIKAM: ConnectorId = ConnectorId(2);
pub(crate) const CLOUD: ConnectorId = ConnectorId(3);
/// Names of the connectors, as the imported rules know the first and the last.
pub(crate) const NAMES: [(ConnectorId, &str); 3] =
    [(CONTOSO, "contoso.com"), (FABRIKAM, "fabrikam.com"), (CLOUD, "contoso.onmicrosoft.com - AAD")];

/// How often changes may make further changes.
const ROUNDS: usize = 6;

/// What one set of rules made of the directories.
pub(crate) struct Outcome {
    /// Objects of connector spaces that belong together, by the smallest of their names.
    pub(crate) people: BTreeMap<String, Joined>,
    /// Error codes by object.
    pub(crate) errors: BTreeMap<String, String>,
    /// Attributes that any rule flows into, by `metaverse TYPE` or `CONNECTOR TYPE`.
    pub(crate) flowed: BTreeSet<(String, String)>,
}

/// One metaverse object with everything linked to it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Joined {
    pub(crate) object_type: String,
    /// Names of the objects of directories and of the cloud that are linked to it, those that it made included.
    pub(crate) links: BTreeSet<String>,
    pub(crate) values: BTreeMap<String, BTreeSet<String>>,
    /// Wanted images of objects in targets: by target and type.
    pub(crate) exports: BTreeMap<(String, String), BTreeMap<String, BTreeSet<String>>>,
}

/// Runs one set of rules over the directories.
pub(crate) fn run(directories: &Directories, files: &[RuleFile], settings: &RuleSettings, folder: &Path) -> Outcome {
    let store = Store::in_memory().unwrap();
    let rules = compile(store.names(), files, settings);
    let texts = [(CONTOSO, &directories.contoso), (FABRIKAM, &directories.fabrikam), (CLOUD, &directories.cloud)];
    for (id, text) in texts {
        let file = folder.join(format!("{}.ldif", id.0));
        std::fs::write(&file, text).unwrap();
        stage(&store, &rules, id, &file);
    }
    for full in std::iter::once(true).chain(std::iter::repeat_n(false, ROUNDS)) {
        let mut processed = 0;
        for (id, _) in NAMES {
            let parameters = parameters();
            let request = SyncRequest { connector: id, full, parameters, connectors: BTreeMap::new(), step: (RunId(1), 1), batch: BATCH };
            let cx = Context::system();
            let outcome = synchronize(&store, &rules, &request, &cx, &mut |plan| {
                if plan.changes.is_empty() { Ok(()) } else { store.apply(plan.changes) }
            });
            processed += outcome.unwrap().processed;
        }
        if processed == 0 {
            break;
        }
    }
    read(&store.snapshot().unwrap(), store.names(), &rules)
}

pub(crate) fn compile(names: &Arc<Names>, files: &[RuleFile], settings: &RuleSettings) -> RuleSet {
    let kind = |id| if id == CLOUD { ConnectorKind::Cloud } else { ConnectorKind::ActiveDirectory };
    let connectors = NAMES.map(|(id, name)| ConnectorProfile::new(id, name, kind(id)));
    RuleSet::compile(CompileInput { files, connectors: &connectors, names, settings })
        .unwrap_or_else(|found| panic!("{}", found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))
}

fn parameters() -> RunParameters {
    let of = |id: ConnectorId, name: &str, short: &str| {
        let pairs = [("Domain.FQDN", name), ("Domain.Netbios", short), ("Forest.FQDN", name), ("Forest.Netbios", short)];
        let mut all: BTreeMap<String, String> = pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        all.insert("Connector.ID".to_owned(), id.to_string());
        (id, all)
    };
    let parameters = BTreeMap::from([of(CONTOSO, "contoso.com", "CONTOSO"), of(FABRIKAM, "fabrikam.com", "FABRIKAM"), of(CLOUD, "", "")]);
    RunParameters { now: Timestamp::from_seconds(1_700_000_000), parameters }
}

fn stage(store: &Store, rules: &RuleSet, id: ConnectorId, file: &Path) {
    let mut attributes = rules.inbound_attributes(id);
    attributes.extend(rules.outbound_attributes(id));
    attributes.sort_unstable();
    attributes.dedup();
    let kinds = ["user", "inetOrgPerson", "group", "contact", "foreignSecurityPrincipal", "computer", "msDS-Device"];
    let settings = LdifSettings {
        path: file.to_owned(),
        anchor: (id == CLOUD).then(|| "cloudAnchor".to_owned()),
        selection: Selection { object_types: kinds.map(str::to_owned).to_vec(), ..Selection::default() },
        ..LdifSettings::default()
    };
    let connector = LdifConnector::new(settings, Arc::clone(store.names())).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let pages = runtime.block_on(async {
        let request = ImportRequest { kind: ImportKind::Full, attributes: attributes.clone() };
        connector.import(&Context::system(), request).await.unwrap().collect::<Vec<_>>().await
    });
    let mut silent = Silent;
    let mut recorder = StepRecorder::new(&mut silent);
    let options = ImportOptions::full(id, "made up", attributes, (RunId(1), 1));
    let result = import(store, pages.into_iter(), &options, &Context::system(), &mut recorder).unwrap();
    assert_eq!(result, "success", "connector {id}");
}

fn read(snapshot: &Snapshot, names: &Names, rules: &RuleSet) -> Outcome {
    let attribute = |attr: AttrId| if attr == AttrId::DN { "dn".to_owned() } else { names.name(attr).to_lowercase() };
    let connector = |id: ConnectorId| NAMES.iter().find(|(known, _)| *known == id).unwrap().1;
    let mut flowed = BTreeSet::new();
    for rule in rules.rules() {
        let place = match (rule.direction, rule.mv_type) {
            (Direction::Inbound, Some(kind)) => format!("metaverse {}", names.object_type_name(kind)),
            (Direction::Inbound, None) => continue,
            (Direction::Outbound, _) => format!("{} {}", connector(rule.connector), names.object_type_name(rule.cs_type)),
        };
        flowed.extend(rule.flows.iter().map(|flow| (place.clone(), attribute(flow.target))));
    }
    let objects: BTreeMap<CsId, CsObject> =
        NAMES.iter().flat_map(|(id, _)| snapshot.cs_scan(*id, None, usize::MAX).unwrap()).map(|object| (object.id, object)).collect();
    let known = |id: CsId| format!("{}: {}", connector(id.connector()), objects.get(&id).map_or("?", |object| &object.dn));
    let linked: BTreeMap<MvId, BTreeSet<String>> = snapshot
        .mv_scan(None, usize::MAX)
        .unwrap()
        .iter()
        .map(|object| (object.id, snapshot.mv_links(object.id).unwrap().into_iter().map(known).collect()))
        .collect();
    let key = |mv: &MvId| linked.get(mv).and_then(|links| links.first()).cloned().unwrap_or_default();
    let mut people = BTreeMap::new();
    for object in snapshot.mv_scan(None, usize::MAX).unwrap() {
        let mut joined = Joined {
            object_type: names.object_type_name(object.object_type).to_string(),
            links: linked[&object.id].clone(),
            ..Joined::default()
        };
        for item in object.values.iter() {
            joined.values.entry(attribute(item.attr)).or_default().insert(format!("{:?}", item.value));
        }
        for row in snapshot.mv_references(object.id).unwrap() {
            joined.values.entry(attribute(row.attr)).or_default().insert(key(&row.target));
        }
        for link in snapshot.mv_links(object.id).unwrap() {
            let target = &objects[&link];
            let kind = (connector(link.connector()).to_owned(), names.object_type_name(target.object_type).to_string());
            let image = joined.exports.entry(kind).or_default();
            image.entry("(pending)".to_owned()).or_default().insert(format!("{:?}", target.stage(Stage::PendingExport).kind));
            for item in target.values.iter().filter(|item| ValueState(item.flags).present(StageMask::WANTED)) {
                image.entry(attribute(item.attr)).or_default().insert(format!("{:?}", item.value));
            }
            for row in snapshot.cs_references(link).unwrap() {
                if row.state.present(StageMask::WANTED) {
                    image.entry(attribute(row.attr)).or_default().insert(known(row.target));
                }
            }
        }
        people.insert(key(&object.id), joined);
    }
    let mut errors = BTreeMap::new();
    for (id, _) in NAMES {
        for (object, side, error) in snapshot.errors(id, None, usize::MAX).unwrap() {
            if side == ErrorSide::Sync {
                errors.insert(known(object), error.code.to_string());
            }
        }
    }
    Outcome { people, errors, flowed }
}
