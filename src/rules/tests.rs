//! Rules over small objects: the built-in set, precedence, merging, scopes, joins, and what is refused.

use super::*;
use crate::model::{Blob, CsId, FlatBuilder, FlatValues, Lineage, MvId, Timestamp, Value, ValueRef, Values};
use std::collections::BTreeMap;

/// An object made by hand.
pub(super) struct Object {
    pub(super) names: Arc<Names>,
    pub(super) object_type: ObjectType,
    pub(super) dn: String,
    pub(super) values: FlatValues,
    pub(super) imported: FlatValues,
    pub(super) references: BTreeMap<AttrId, Vec<u64>>,
    pub(super) blobs: Vec<Vec<u8>>,
}

impl Object {
    pub(super) fn new(names: &Arc<Names>, object_type: &str, dn: &str, values: &[(&str, Value)]) -> Self {
        let flat = flat(names, values);
        Self {
            names: Arc::clone(names),
            object_type: names.object_type(object_type),
            dn: dn.to_owned(),
            imported: flat.clone(),
            values: flat,
            references: BTreeMap::new(),
            blobs: Vec::new(),
        }
    }

    pub(super) fn refer(mut self, attribute: &str, targets: &[u64]) -> Self {
        self.references.insert(self.names.intern(attribute), targets.to_vec());
        self
    }
}

pub(super) fn flat(names: &Names, values: &[(&str, Value)]) -> FlatValues {
    let mut builder = FlatBuilder::new();
    for (name, value) in values {
        builder.push(names.intern(name), value.as_ref(), 0);
    }
    builder.finish()
}

impl AttributeSource for Object {
    fn object_type(&self) -> ObjectType {
        self.object_type
    }
    fn dn(&self) -> &str {
        &self.dn
    }
    fn values(&self, attr: AttrId) -> Values<'_> {
        Values::all(&self.values, attr)
    }
    fn imported_values(&self, attr: AttrId) -> Values<'_> {
        Values::all(&self.imported, attr)
    }
    fn count(&self, attr: AttrId) -> u64 {
        self.references.get(&attr).map_or_else(|| self.values.attribute(attr).count() as u64, |targets| targets.len() as u64)
    }
    fn references(&self, attr: AttrId) -> Vec<u64> {
        self.references.get(&attr).cloned().unwrap_or_default()
    }
    fn reference_dn(&self, target: u64) -> Option<String> {
        Some(format!("CN=object {target},DC=example,DC=org"))
    }
    fn blob(&self, blob: Blob) -> Option<Vec<u8>> {
        self.blobs.iter().find(|content| Blob::of(content) == blob).cloned()
    }
}

pub(super) fn text(value: &str) -> Value {
    Value::from(value)
}

pub(super) fn connector(id: u16, name: &str, kind: ConnectorKind) -> ConnectorProfile {
    ConnectorProfile { id: ConnectorId(id), name: name.to_owned(), kind, attributes: None, parameters: Vec::new() }
}

pub(super) fn default_connectors() -> Vec<ConnectorProfile> {
    vec![connector(1, "contoso.com", ConnectorKind::ActiveDirectory), connector(2, "cloud", ConnectorKind::Cloud)]
}

/// A set from the built-in files and one more.
pub(super) fn compile_with(connectors: &[ConnectorProfile], settings: &RuleSettings, more: &str) -> Result<RuleSet, Vec<RuleProblem>> {
    let names = Arc::new(Names::new());
    let mut files = RuleSet::default_files();
    files.push(RuleFile { name: "custom.toml".to_owned(), text: more.to_owned() });
    RuleSet::compile(CompileInput { files: &files, connectors, names: &names, settings })
}

pub(super) fn show(problems: &[RuleProblem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_built_in_rules_compile_for_every_kind_of_connector_without_findings() {
    for kind in [ConnectorKind::ActiveDirectory, ConnectorKind::OpenLdap, ConnectorKind::Ldif] {
        for anchor_attribute in
            [AnchorAttribute::ObjectGuid, AnchorAttribute::ConsistencyGuid, AnchorAttribute::Attribute("employeeNumber".to_owned())]
        {
            let settings = RuleSettings { anchor_attribute, ..RuleSettings::default() };
            let connectors = [connector(1, "source", kind), connector(2, "cloud", ConnectorKind::Cloud)];
            let set = compile_with(&connectors, &settings, "").unwrap_or_else(|problems| panic!("{}", show(&problems)));
            assert_eq!(show(set.lint()), "");
            assert_eq!(set.targets(), [ConnectorId(2)]);
        }
    }
}

fn run() -> RunParameters {
    let parameters =
        [("Domain.FQDN", "contoso.com"), ("Domain.Netbios", "CONTOSO"), ("Forest.FQDN", "contoso.com"), ("Forest.Netbios", "CONTOSO")];
    let parameters = parameters.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    RunParameters { now: Timestamp::from_seconds(1_700_000_000), parameters: BTreeMap::from([(ConnectorId(1), parameters)]) }
}

const GUID: &[u8] = &[0x33, 0x22, 0x11, 0, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff];
const SID: &[u8] = &[1, 5, 0, 0, 0, 0, 0, 5, 21, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0x51, 4, 0, 0];

fn octets(bytes: &[u8]) -> Value {
    Value::Binary(bytes.into())
}

fn user(names: &Arc<Names>, more: &[(&str, Value)]) -> Object {
    let mut values = vec![
        ("objectGUID", octets(GUID)),
        ("objectSid", octets(SID)),
        ("cn", text("Ann Other")),
        ("sAMAccountName", text("ann")),
        ("userPrincipalName", text("ann@contoso.com")),
        ("userAccountControl", Value::Number(512)),
        ("pwdLastSet", Value::Number(130_543_784_930_000_000)),
        ("mail", text(" ann@contoso.com ")),
    ];
    values.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
    values.extend(more.iter().filter(|(_, value)| *value != text("-")).cloned());
    Object::new(names, "user", "CN=Ann Other,OU=People,DC=contoso,DC=com", &values)
}

struct World {
    set: RuleSet,
    names: Arc<Names>,
}

impl World {
    fn new(more: &str) -> Self {
        Self::with(&default_connectors(), &RuleSettings::default(), more)
    }

    fn with(connectors: &[ConnectorProfile], settings: &RuleSettings, more: &str) -> Self {
        let set = compile_with(connectors, settings, more).unwrap_or_else(|problems| panic!("{}", show(&problems)));
        let names = Arc::clone(&set.names);
        Self { set, names }
    }

    fn scope(&self, connector: u16, object: &Object) -> ScopeSet {
        self.set.inbound_scope(ConnectorId(connector), object, &run()).unwrap()
    }

    fn rule_names(&self, scope: &ScopeSet) -> Vec<&str> {
        scope.rules.iter().map(|scoped| self.set.rule(scoped.id).unwrap().name.as_str()).collect()
    }

    /// The metaverse object that linked objects make.
    fn merge(&self, mv_type: &str, objects: &[&Object]) -> Result<Contribution, FlowError> {
        let scopes: Vec<ScopeSet> = objects.iter().map(|object| self.scope(1, object)).collect();
        let contributors: Vec<Contributor<'_>> = objects
            .iter()
            .zip(&scopes)
            .enumerate()
            .map(|(index, (object, scope))| Contributor {
                id: CsId::new(ConnectorId(1), index as u64 + 1),
                source: *object,
                scope,
                new_link: true,
            })
            .collect();
        self.set.contribute(self.names.object_type(mv_type), &contributors, None, &run())
    }

    fn show(&self, values: &FlatValues, attribute: &str) -> Vec<String> {
        values.attribute(self.names.find(attribute).unwrap_or(AttrId(u16::MAX))).map(|item| format!("{:?}", item.value)).collect()
    }

    fn metaverse(&self, mv_type: &str, contribution: &Contribution) -> Object {
        let mut object = Object::new(&self.names, mv_type, "", &[]);
        object.values = contribution.values.clone();
        for flow in &contribution.references {
            object.references.insert(flow.target, vec![1]);
        }
        object
    }

    fn want(&self, object: &Object) -> Result<(ScopeSet, Wanted), FlowError> {
        let scope = self.set.outbound_scope(ConnectorId(2), object, &run())?;
        let wanted = self.set.want(&scope, object, true, &run())?;
        Ok((scope, wanted))
    }
}

#[test]
fn an_enabled_user_without_exchange_becomes_a_person_and_a_cloud_user() {
    let world = World::new("");
    let ann = user(&world.names, &[]);
    let scope = world.scope(1, &ann);
    assert_eq!(
        world.rule_names(&scope),
        ["In from AD - User Join", "In from AD - User AccountEnabled", "In from AD - User Common", "In from AD - User Lync"]
    );
    let contribution = world.merge("person", &[&ann]).unwrap();
    for (attribute, expected) in [
        ("accountEnabled", "true"),
        ("accountName", "\"ann\""),
        ("displayName", "\"Ann Other\""),
        ("mail", "\"ann@contoso.com\""),
        ("pwdLastSet", "\"20140905081453.0Z\""),
        ("sourceAnchor", "\"MyIRAFVEd2aImaq7zN3u/w==\""),
        ("sourceObjectType", "\"User\""),
        ("objectSidString", "\"S-1-5-21-1-2-3-1105\""),
        ("domainFQDN", "\"contoso.com\""),
        ("contributingConnectorUser", "\"1\""),
    ] {
        assert_eq!(world.show(&contribution.values, attribute), [expected], "{attribute}");
    }
    assert!(world.show(&contribution.values, "cloudFiltered").is_empty());
    let enabled = contribution.lineage.iter().find(|entry| entry.attr == world.names.intern("accountEnabled")).unwrap();
    assert_eq!(world.set.rule(enabled.rule).unwrap().name, "In from AD - User AccountEnabled");
    let person = world.metaverse("person", &contribution);
    let (scope, wanted) = world.want(&person).unwrap();
    assert!(scope.rules[0].password_sync && scope.rules[0].link == LinkType::Provision);
    assert_eq!(wanted.dn.as_deref(), Some(format!("CN={{{}}}", hex::encode_upper("MyIRAFVEd2aImaq7zN3u/w==")).as_str()));
    assert_eq!(world.show(&wanted.values, "userPrincipalName"), ["\"ann@contoso.com\""]);
    assert_eq!(world.show(&wanted.values, "surname"), Vec::<String>::new());
    assert!(wanted.managed.contains(&world.names.intern("surname")), "an absent value is to be cleared");
    assert!(!wanted.managed.contains(&world.names.intern("usageLocation")), "IgnoreThisFlow leaves the cloud's value alone");
    assert_eq!(wanted.managed.len(), wanted.decided_by.len());
    assert!(wanted.managed.is_sorted());
}
