//! One user and one group as the built-in rules see them, for the bench of the rules and for the gate on them.

use std::collections::BTreeMap;
use std::sync::Arc;
use syncline::model::{
    AttrId, AttributeSource, Blob, ConnectorId, CsId, FlatBuilder, FlatValues, Names, ObjectType, Timestamp, ValueRef, Values,
};
use syncline::rules::{
    CompileInput, ConnectorKind, ConnectorProfile, Contribution, Contributor, RuleSet, RuleSettings, RunParameters, Wanted,
};

/// An object in memory.
pub(crate) struct Object {
    pub(crate) kind: ObjectType,
    pub(crate) dn: String,
    pub(crate) values: FlatValues,
    pub(crate) references: BTreeMap<AttrId, Vec<u64>>,
}

impl AttributeSource for Object {
    fn object_type(&self) -> ObjectType {
        self.kind
    }
    fn dn(&self) -> &str {
        &self.dn
    }
    fn values(&self, attr: AttrId) -> Values<'_> {
        Values::all(&self.values, attr)
    }
    fn imported_values(&self, attr: AttrId) -> Values<'_> {
        Values::all(&self.values, attr)
    }
    fn count(&self, attr: AttrId) -> u64 {
        self.references.get(&attr).map_or(0, Vec::len) as u64
    }
    fn references(&self, attr: AttrId) -> Vec<u64> {
        self.references.get(&attr).cloned().unwrap_or_default()
    }
    fn reference_dn(&self, _: u64) -> Option<String> {
        None
    }
    fn blob(&self, _: Blob) -> Option<Vec<u8>> {
        None
    }
}

const GUID: [u8; 16] = [0x33, 0x22, 0x11, 0, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff];
const SID: [u8; 28] = [1, 5, 0, 0, 0, 0, 0, 5, 21, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0x51, 4, 0, 0];

fn object(names: &Names, object_type: &str, values: &[(&str, ValueRef<'_>)], references: &[(&str, &[u64])]) -> Object {
    let mut builder = FlatBuilder::new();
    for (name, value) in values {
        builder.push(names.intern(name), *value, 0);
    }
    let references = references.iter().map(|(name, targets)| (names.intern(name), targets.to_vec())).collect();
    Object {
        kind: names.object_type(object_type),
        dn: "CN=Ann Other,OU=People,DC=contoso,DC=com".to_owned(),
        values: builder.finish(),
        references,
    }
}

fn user(names: &Names) -> Object {
    let text = ValueRef::Text;
    let values = [
        ("objectGUID", ValueRef::Binary(&GUID)),
        ("objectSid", ValueRef::Binary(&SID)),
        ("cn", text("Ann Other")),
        ("sAMAccountName", text("ann.other")),
        ("userPrincipalName", text("ann.other@contoso.com")),
        ("userAccountControl", ValueRef::Number(512)),
        ("pwdLastSet", ValueRef::Number(130_543_784_930_000_000)),
        ("mail", text("ann.other@contoso.com")),
        ("proxyAddresses", text("SMTP:ann.other@contoso.com")),
        ("proxyAddresses", text("smtp:ann@contoso.com")),
        ("displayName", text("Ann Other")),
        ("givenName", text("Ann")),
        ("sn", text("Other")),
        ("title", text("Engineer")),
        ("department", text("Research")),
        ("company", text("Contoso")),
        ("telephoneNumber", text("+1 555 0100")),
        ("mobile", text("+1 555 0101")),
        ("streetAddress", text("1 Main Street")),
        ("l", text("Springfield")),
        ("st", text("OR")),
        ("postalCode", text("97477")),
        ("c", text("US")),
        ("co", text("United States")),
        ("countryCode", ValueRef::Number(840)),
        ("physicalDeliveryOfficeName", text("B2.17")),
        ("description", text("A person")),
    ];
    object(names, "user", &values, &[("manager", &[7])])
}

fn group(names: &Names) -> Object {
    let values = [
        ("objectGUID", ValueRef::Binary(&GUID)),
        ("objectSid", ValueRef::Binary(&SID)),
        ("cn", ValueRef::Text("Team")),
        ("sAMAccountName", ValueRef::Text("team")),
        ("groupType", ValueRef::Number(-2_147_483_640)),
        ("description", ValueRef::Text("A group")),
    ];
    object(names, "group", &values, &[("member", &[1, 2, 3, 4, 5])])
}

/// The built-in rules for one directory and the cloud, and the objects that they are held against.
pub(crate) struct Scene {
    pub(crate) names: Arc<Names>,
    pub(crate) set: RuleSet,
    pub(crate) run: RunParameters,
    pub(crate) user: Object,
    pub(crate) group: Object,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let names = Arc::new(Names::new());
        let set = compile(&names);
        let pairs =
            [("Domain.FQDN", "contoso.com"), ("Domain.Netbios", "CONTOSO"), ("Forest.FQDN", "contoso.com"), ("Forest.Netbios", "CONTOSO")];
        let parameters = pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let run = RunParameters { now: Timestamp::from_seconds(1_700_000_000), parameters: BTreeMap::from([(ConnectorId(1), parameters)]) };
        let (user, group) = (user(&names), group(&names));
        Self { names, set, run, user, group }
    }

    /// What an object gives to the metaverse, from its scope on.
    pub(crate) fn contribute(&self, object: &Object, metaverse_type: &str) -> Contribution {
        let scope = self.set.inbound_scope(ConnectorId(1), object, &self.run).expect("scopes hold");
        let contributor = Contributor { id: CsId::new(ConnectorId(1), 1), source: object, scope: &scope, new_link: true };
        self.set.contribute(self.names.object_type(metaverse_type), &[contributor], None, &self.run).expect("the object flows")
    }

    /// The metaverse object that it becomes.
    pub(crate) fn metaverse(&self, object: &Object, metaverse_type: &str) -> Object {
        let values = self.contribute(object, metaverse_type).values;
        Object { kind: self.names.object_type(metaverse_type), dn: String::new(), values, references: object.references.clone() }
    }

    /// What the cloud should hold of a metaverse object, from its scope on.
    pub(crate) fn want(&self, object: &Object) -> Wanted {
        let scope = self.set.outbound_scope(ConnectorId(2), object, &self.run).expect("scopes hold");
        self.set.want(&scope, object, true, &self.run).expect("the object flows")
    }
}

/// Compiles the built-in rules.
pub(crate) fn compile(names: &Arc<Names>) -> RuleSet {
    let connector = |id: u16, name: &str, kind| ConnectorProfile::new(ConnectorId(id), name, kind);
    let connectors = [connector(1, "contoso.com", ConnectorKind::ActiveDirectory), connector(2, "cloud", ConnectorKind::Cloud)];
    let (files, settings) = (RuleSet::default_files(), RuleSettings::default());
    RuleSet::compile(CompileInput { files: &files, connectors: &connectors, names, settings: &settings }).expect("the built-in rules")
}
