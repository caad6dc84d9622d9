//! Rules over small objects: the built-in set, precedence, merging, scopes, joins, and what is refused.

use super::*;
use crate::model::{Blob, CsId, FlatBuilder, FlatValues, MvId, Timestamp, Value, ValueRef, Values};
use std::collections::BTreeMap;

/// An object made by hand.
pub(super) struct Object {
    pub(super) names: Arc<Names>,
    pub(super) kind: ObjectType,
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
            kind: names.object_type(object_type),
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
        self.kind
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
    ConnectorProfile::new(ConnectorId(id), name, kind)
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

pub(super) fn run() -> RunParameters {
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

pub(super) fn user(names: &Arc<Names>, more: &[(&str, Value)]) -> Object {
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

pub(super) struct World {
    pub(super) set: RuleSet,
    pub(super) names: Arc<Names>,
}

impl World {
    pub(super) fn new(more: &str) -> Self {
        Self::with(&default_connectors(), &RuleSettings::default(), more)
    }

    pub(super) fn with(connectors: &[ConnectorProfile], settings: &RuleSettings, more: &str) -> Self {
        let set = compile_with(connectors, settings, more).unwrap_or_else(|problems| panic!("{}", show(&problems)));
        let names = Arc::clone(&set.names);
        Self { set, names }
    }

    pub(super) fn scope(&self, connector: u16, object: &Object) -> ScopeSet {
        self.set.inbound_scope(ConnectorId(connector), object, &run()).unwrap()
    }

    pub(super) fn rule_names(&self, scope: &ScopeSet) -> Vec<&str> {
        scope.rules.iter().map(|scoped| self.set.rule(scoped.id).unwrap().name.as_str()).collect()
    }

    /// The metaverse object that linked objects make.
    pub(super) fn merge(&self, mv_type: &str, objects: &[&Object]) -> Result<Contribution, FlowError> {
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

    pub(super) fn show(&self, values: &FlatValues, attribute: &str) -> Vec<String> {
        values.attribute(self.names.find(attribute).unwrap_or(AttrId(u16::MAX))).map(|item| format!("{:?}", item.value)).collect()
    }

    pub(super) fn metaverse(&self, mv_type: &str, contribution: &Contribution) -> Object {
        let mut object = Object::new(&self.names, mv_type, "", &[]);
        object.values = contribution.values.clone();
        for flow in &contribution.references {
            object.references.insert(flow.target, vec![1]);
        }
        object
    }

    pub(super) fn want(&self, object: &Object) -> Result<(ScopeSet, Wanted), FlowError> {
        let scope = self.set.outbound_scope(ConnectorId(2), object, &run())?;
        if let Ok(existing) = self.set.want(&scope, object, false, &run()) {
            assert_eq!(self.set.want_references(&scope, object, &run()).unwrap(), existing.references);
        }
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

#[test]
fn a_disabled_user_is_synchronized_without_its_password() {
    let world = World::new("");
    let ann = user(&world.names, &[("userAccountControl", Value::Number(514))]);
    let scope = world.scope(1, &ann);
    assert!(!scope.rules.iter().any(|rule| rule.password_sync));
    let contribution = world.merge("person", &[&ann]).unwrap();
    assert_eq!(world.show(&contribution.values, "accountEnabled"), ["false"]);
    assert_eq!(world.show(&contribution.values, "userPrincipalName"), ["\"ann@contoso.com\""]);
    assert_eq!(world.show(&contribution.values, "sourceAnchor"), ["\"MyIRAFVEd2aImaq7zN3u/w==\""]);
    let (scope, _) = world.want(&world.metaverse("person", &contribution)).unwrap();
    assert!(world.rule_names(&scope).contains(&"Out to AAD - User Join"));
}

#[test]
fn a_linked_mailbox_gives_its_address_book_entry_and_no_identity() {
    let world = World::with(
        &[
            connector(1, "contoso.com", ConnectorKind::ActiveDirectory),
            connector(3, "exchange.example", ConnectorKind::ActiveDirectory),
            connector(2, "cloud", ConnectorKind::Cloud),
        ],
        &RuleSettings::default(),
        "",
    );
    let mailbox = user(
        &world.names,
        &[
            ("userAccountControl", Value::Number(514)),
            ("msExchRecipientTypeDetails", Value::Number(2)),
            ("mailNickname", text("ann.o")),
            ("displayName", text("Ann O. Ther")),
            ("userPrincipalName", text("ann@exchange.example")),
            ("msExchMasterAccountSid", octets(SID)),
        ],
    );
    let scope = world.set.inbound_scope(ConnectorId(3), &mailbox, &run()).unwrap();
    let alone = [Contributor { id: CsId::new(ConnectorId(3), 1), source: &mailbox, scope: &scope, new_link: true }];
    let person = world.names.object_type("person");
    let contribution = world.set.contribute(person, &alone, None, &run()).unwrap();
    assert!(world.show(&contribution.values, "sourceAnchor").is_empty());
    assert!(world.show(&contribution.values, "sourceObjectType").is_empty());
    assert!(world.want(&world.metaverse("person", &contribution)).unwrap().0.is_empty(), "nothing is staged to the cloud");

    // With the enabled account of the other forest: sign-in from there, address book from here, whatever the order.
    let account = user(&world.names, &[("displayName", text("account")), ("mail", text("-"))]);
    let account_scope = world.scope(1, &account);
    let account = Contributor { id: CsId::new(ConnectorId(1), 9), source: &account, scope: &account_scope, new_link: true };
    let both = world.set.contribute(person, &[alone[0], account], None, &run()).unwrap();
    assert_eq!(both, world.set.contribute(person, &[account, alone[0]], None, &run()).unwrap());
    assert_eq!(world.show(&both.values, "accountEnabled"), ["true"]);
    assert_eq!(world.show(&both.values, "userPrincipalName"), ["\"ann@contoso.com\""]);
    assert_eq!(world.show(&both.values, "displayName"), ["\"Ann O. Ther\""]);
    assert_eq!(world.show(&both.values, "sourceObjectType"), ["\"User\""]);
    assert!(!world.want(&world.metaverse("person", &both)).unwrap().0.is_empty());
    let joins = world.set.joins(&account_scope, account.source).unwrap();
    assert_eq!(joins.len(), 1);
    assert_eq!(joins[0].groups.len(), 3, "of five groups the two that start from absent attributes are left out");
    assert!(joins[0].has_value);
}

#[test]
fn built_in_accounts_are_out_of_scope() {
    let world = World::new("");
    let krbtgt = user(&world.names, &[("isCriticalSystemObject", Value::Boolean(true))]);
    let scope = world.scope(1, &krbtgt);
    assert!(!world.rule_names(&scope).contains(&"In from AD - User Join"));
    assert!(world.set.joins(&scope, &krbtgt).unwrap().is_empty());
    let values = [("isCriticalSystemObject", Value::Boolean(true)), ("objectGUID", octets(GUID)), ("cn", text("Domain Admins"))];
    let admins = Object::new(&world.names, "group", "CN=Domain Admins,CN=Users,DC=x", &values);
    assert!(world.scope(1, &admins).is_empty());
    let written = user(&world.names, &[("isCriticalSystemObject", Value::Boolean(false))]);
    assert!(world.rule_names(&world.scope(1, &written)).contains(&"In from AD - User Join"), "FALSE is in scope");
}

#[test]
fn service_accounts_and_damaged_objects_are_filtered() {
    let world = World::new("");
    let conflict = |names: &Arc<Names>| {
        let mut object = user(names, &[]);
        object.dn = "CN=Ann\\0ACNF:00112233-4455-6677-8899-aabbccddeeff,OU=People,DC=contoso,DC=com".to_owned();
        object
    };
    let filtered: Vec<(&str, Object)> = vec![
        ("service account", user(&world.names, &[("sAMAccountName", text("MSOL_1234"))])),
        ("other service account", user(&world.names, &[("sAMAccountName", text("AAD_1234"))])),
        ("support", user(&world.names, &[("sAMAccountName", text("SUPPORT_388945a0"))])),
        ("monitoring", user(&world.names, &[("sAMAccountName", text("CAS_{0011}"))])),
        ("monitoring by alias", user(&world.names, &[("mailNickname", text("CAS_{0011}"))])),
        ("system mailbox", user(&world.names, &[("mailNickname", text("SystemMailbox{0011}"))])),
        ("discovery mailbox", user(&world.names, &[("msExchRecipientTypeDetails", Value::Number(0x2000_0000))])),
        ("upgrade leftover", user(&world.names, &[("sAMAccountName", text("-"))])),
        ("isCriticalSystemObject FALSE", user(&world.names, &[("isCriticalSystemObject", Value::Boolean(false))])),
        ("conflict object", conflict(&world.names)),
    ];
    for (what, object) in &filtered {
        let contribution = world.merge("person", &[object]).unwrap();
        assert_eq!(world.show(&contribution.values, "cloudFiltered"), ["true"], "{what}");
        let (scope, _) = world.want(&world.metaverse("person", &contribution)).unwrap();
        assert!(!scope.rules.iter().any(|rule| rule.link == LinkType::Provision), "{what}");
    }
    for (what, object) in [
        ("user mailbox", user(&world.names, &[("msExchRecipientTypeDetails", Value::Number(1))])),
        ("CAS without brace", user(&world.names, &[("sAMAccountName", text("CAS_x"))])),
    ] {
        let contribution = world.merge("person", &[&object]).unwrap();
        assert!(world.show(&contribution.values, "cloudFiltered").is_empty(), "{what}");
    }
}

#[test]
fn a_user_without_names_is_an_error_that_says_so() {
    let world = World::new("");
    let nameless = user(&world.names, &[("userPrincipalName", text("-")), ("sAMAccountName", text("-"))]);
    let error = world.merge("person", &[&nameless]).unwrap_err();
    assert_eq!(error.code, ObjectErrorCode::SYNC_RULE_ERROR_FUNCTION_TRIGGERED);
    assert!(error.detail.contains("AccountName is not present"), "{error}");
    assert!(error.detail.contains("In from AD - User AccountEnabled") && error.detail.contains("userPrincipalName"), "{error}");
    assert!(error.detail.contains("^^^^^") && error.detail.contains("read [sAMAccountName]: absent"), "{error}");
    let short = user(&world.names, &[("userPrincipalName", text("-"))]);
    assert_eq!(world.show(&world.merge("person", &[&short]).unwrap().values, "userPrincipalName"), ["\"ann@contoso.com\""]);
}

#[test]
fn contacts_need_mail() {
    let world = World::new("");
    let without = Object::new(&world.names, "contact", "CN=c,DC=x", &[("cn", text("c")), ("objectGUID", octets(GUID))]);
    let requests = world.set.joins(&world.scope(1, &without), &without).unwrap();
    assert_eq!(requests.len(), 1);
    assert!(!requests[0].has_value && requests[0].groups.is_empty());
    let values = [("cn", text("c")), ("objectGUID", octets(GUID)), ("mail", text("c@partner.example"))];
    let with = Object::new(&world.names, "contact", "CN=c,DC=x", &values);
    let requests = world.set.joins(&world.scope(1, &with), &with).unwrap();
    assert_eq!(requests[0].groups[0].clauses[0].value, text("c@partner.example"));
    let contribution = world.merge("person", &[&with]).unwrap();
    let (scope, wanted) = world.want(&world.metaverse("person", &contribution)).unwrap();
    assert_eq!(world.rule_names(&scope)[0], "Out to AAD - Contact Join");
    assert_eq!(world.show(&wanted.values, "alias"), ["\"c\""]);
}

#[test]
fn groups_are_sent_when_they_secure_or_have_mail() {
    let world = World::new("");
    let group = |more: &[(&str, Value)]| {
        let mut values = vec![("objectGUID", octets(GUID)), ("objectSid", octets(SID)), ("cn", text("g")), ("sAMAccountName", text("g"))];
        values.extend(more.iter().cloned());
        Object::new(&world.names, "group", "CN=g,DC=x", &values)
    };
    let provisioned = |object: &Object| {
        let contribution = world.merge("group", &[object]).unwrap();
        let (scope, _) = world.want(&world.metaverse("group", &contribution)).unwrap();
        let secured = world.show(&contribution.values, "securityEnabled");
        (scope.rules.iter().any(|rule| rule.link == LinkType::Provision), secured)
    };
    let (universal_security, distribution) = (Value::Number(-2_147_483_640), Value::Number(8));
    assert_eq!(provisioned(&group(&[("groupType", universal_security)])), (true, vec!["true".to_owned()]));
    assert_eq!(provisioned(&group(&[("groupType", distribution.clone())])), (false, vec!["false".to_owned()]));
    assert!(provisioned(&group(&[("groupType", distribution.clone()), ("mail", text("x@y"))])).0);
    // Three documented examples of what counts as mail.
    for (addresses, mail, enabled) in [
        (vec!["SMTP:g@x"], None, true),
        (vec!["smtp:g@x"], None, false),
        (vec![], Some("g@x"), true),
        (vec!["SMTP:nonsense"], None, false),
        (vec!["smtp:g@x", "SMTP:h@x"], None, true),
    ] {
        let mut values: Vec<(&str, Value)> = addresses.iter().map(|address| ("proxyAddresses", text(address))).collect();
        values.extend(mail.map(|mail| ("mail", text(mail))));
        values.push(("groupType", distribution.clone()));
        assert_eq!(provisioned(&group(&values)).0, enabled, "{addresses:?} {mail:?}");
    }
}

#[test]
fn a_group_that_grew_too_large_stops_with_an_error() {
    let world = World::new("");
    let mut group = Object::new(
        &world.names,
        "group",
        "",
        &[
            ("sourceAnchor", text("anchor")),
            ("securityEnabled", Value::Boolean(true)),
            ("memberCount", Value::Number(249_999)),
            ("displayName", text("g")),
        ],
    )
    .refer("member", &[1, 2]);
    let (_, wanted) = world.want(&group).unwrap();
    let member = world.names.intern("member");
    assert!(wanted.references.iter().any(|flow| flow.target == member && flow.source == ReferenceSource::Attribute(member)));
    // Too large and not in the cloud: never provisioned. In the cloud: kept, and the guard stops it.
    group.values = flat(
        &world.names,
        &[("sourceAnchor", text("a")), ("securityEnabled", Value::Boolean(true)), ("memberCount", Value::Number(250_001))],
    );
    assert!(!world.want(&group).unwrap().0.rules.iter().any(|rule| rule.link == LinkType::Provision));
    group.values = flat(
        &world.names,
        &[
            ("sourceAnchor", text("a")),
            ("securityEnabled", Value::Boolean(true)),
            ("memberCount", Value::Number(250_001)),
            ("cloudAnchor", text("Group_1")),
        ],
    );
    let error = world.want(&group).unwrap_err();
    assert_eq!(error.code, ObjectErrorCode::SYNC_RULE_ERROR_FUNCTION_TRIGGERED);
    assert!(error.detail.contains("Maximum Group member count exceeded"), "{error}");
    assert_eq!(error.target, Some(member));
}

#[test]
fn a_changed_source_anchor_is_refused_exactly() {
    let world = World::new("");
    let person = |anchor: &str, cloud_anchor: &str| {
        let values = [
            ("sourceObjectType", text("User")),
            ("sourceAnchor", text(anchor)),
            ("accountEnabled", Value::Boolean(true)),
            ("cloudSourceAnchor", text("AbC=")),
            ("cloudAnchor", text(cloud_anchor)),
        ];
        Object::new(&world.names, "person", "", &values)
    };
    assert!(world.want(&person("AbC=", "User_1")).is_ok());
    for changed in ["other", "ABC="] {
        let error = world.want(&person(changed, "User_1")).unwrap_err();
        assert!(error.detail.contains("SourceAnchor attribute has changed."), "{error}");
    }
    assert!(world.want(&person("other", "Contact_1")).is_ok(), "a contact that became a user is another kind of object");
}

#[test]
fn addresses_are_trimmed_and_exact_duplicates_dropped() {
    let world = World::new("");
    let addresses = [" SMTP:a@x ", "smtp:a@x", "smtp:b@x", "smtp:b@x "].map(|address| ("proxyAddresses", text(address)));
    let contribution = world.merge("person", &[&user(&world.names, &addresses)]).unwrap();
    assert_eq!(world.show(&contribution.values, "proxyAddresses"), ["\"SMTP:a@x\"", "\"smtp:a@x\"", "\"smtp:b@x\""]);
    let mut pending = user(&world.names, &addresses);
    pending.imported = flat(&world.names, &[("proxyAddresses", text("smtp:confirmed@x"))]);
    assert_eq!(world.show(&world.merge("person", &[&pending]).unwrap().values, "proxyAddresses"), ["\"smtp:confirmed@x\""]);
}

#[test]
fn descriptions_are_cut_and_limits_are_kept() {
    let world = World::new("");
    let long = "ä".repeat(600);
    let contribution = world.merge("person", &[&user(&world.names, &[("description", text(&long)), ("description", text("zz"))])]).unwrap();
    assert_eq!(world.show(&contribution.values, "description"), ["\"zz\""], "the first in stored order");
    let contribution = world.merge("person", &[&user(&world.names, &[("description", text(&long)), ("info", text(&long))])]).unwrap();
    let expected = format!("{:?}", "ä".repeat(448));
    assert_eq!(world.show(&contribution.values, "description"), [expected.as_str()]);
    assert_eq!(world.show(&contribution.values, "info"), [expected.as_str()]);
    let error = world.merge("person", &[&user(&world.names, &[("streetAddress", text(&"x".repeat(449)))])]).unwrap_err();
    assert_eq!(error.code, ObjectErrorCode::MV_CONSTRAINT_VIOLATION);
    let error = world.merge("person", &[&user(&world.names, &[("photo", octets(b"1")), ("photo", octets(b"2"))])]).unwrap_err();
    assert_eq!(error.code, ObjectErrorCode::FLOW_MULTI_VALUES_TO_SINGLE_VALUE);
    let error = world.merge("person", &[&user(&world.names, &[("countryCode", text("many"))])]).unwrap_err();
    assert_eq!(error.code, ObjectErrorCode::CS_ATTRIBUTE_TYPE_MISMATCH);
    let contribution = world.merge("person", &[&user(&world.names, &[("countryCode", text("49"))])]).unwrap();
    assert_eq!(world.show(&contribution.values, "countryCode"), ["49"], "text from a file without a schema");
}

#[test]
fn usage_location_of_the_cloud_is_left_alone() {
    let world = World::new("");
    let values = [("sourceAnchor", text("a")), ("usageLocation", text("DE")), ("cloudAnchor", text("User_1"))];
    let cloud = Object::new(&world.names, "user", "CN={61}", &values);
    let ann = user(&world.names, &[]);
    let (cloud_scope, scope) = (world.scope(2, &cloud), world.scope(1, &ann));
    let contributors = [
        Contributor { id: CsId::new(ConnectorId(2), 1), source: &cloud, scope: &cloud_scope, new_link: true },
        Contributor { id: CsId::new(ConnectorId(1), 1), source: &ann, scope: &scope, new_link: true },
    ];
    let contribution = world.set.contribute(world.names.object_type("person"), &contributors, None, &run()).unwrap();
    assert_eq!(world.show(&contribution.values, "usageLocation"), ["\"DE\""]);
    assert_eq!(world.show(&contribution.values, "cloudSourceAnchor"), ["\"a\""]);
    assert_eq!(world.show(&contribution.values, "accountEnabled"), ["true"], "the directory comes before the cloud");
    let requests = world.set.joins(&cloud_scope, &cloud).unwrap();
    assert!(requests[0].groups[0].clauses[0].case_sensitive);
}

#[test]
fn references_flow_by_name_of_the_attribute() {
    let world = World::new("");
    let ann = user(&world.names, &[]).refer("manager", &[5]);
    let contribution = world.merge("person", &[&ann]).unwrap();
    let manager = world.names.intern("manager");
    assert_eq!(
        contribution.references,
        [ReferenceFlow {
            target: manager,
            contributor: 0,
            owner: CsId::new(ConnectorId(1), 1).0,
            source: ReferenceSource::Attribute(manager)
        }]
    );
    assert!(contribution.lineage.iter().any(|entry| entry.attr == manager));
    assert!(world.set.is_reference(manager));
    let two = user(&world.names, &[]).refer("manager", &[5, 6]);
    assert_eq!(world.merge("person", &[&two]).unwrap_err().code, ObjectErrorCode::FLOW_MULTI_VALUES_TO_SINGLE_VALUE);
}

#[test]
fn foreign_security_principals_join_by_their_name() {
    let world = World::new("");
    let fsp = Object::new(&world.names, "foreignSecurityPrincipal", "CN=S-1-5-21-1,DC=x", &[("cn", text("S-1-5-21-1"))]);
    let requests = world.set.joins(&world.scope(1, &fsp), &fsp).unwrap();
    assert_eq!(requests.len(), 1);
    assert_eq!((requests[0].link, requests[0].partner_type), (LinkType::Join, None));
    assert_eq!(requests[0].groups[0].clauses[0].value, text("S-1-5-21-1"));
}

#[test]
fn openldap_people_and_groups_come_through() {
    let connectors = [connector(1, "ldap", ConnectorKind::OpenLdap), connector(2, "cloud", ConnectorKind::Cloud)];
    let world = World::with(&connectors, &RuleSettings::default(), "");
    let values = [
        ("uid", text("ann")),
        ("cn", text("Ann Other")),
        ("cn", text("Other, Ann")),
        ("sn", text("Other")),
        ("mail", text("ann@example.org")),
        ("mail", text("other@example.org")),
        ("entryUUID", text("00112233-4455-6677-8899-aabbccddeeff")),
    ];
    let ann = Object::new(&world.names, "inetOrgPerson", "uid=ann,ou=people,dc=example,dc=org", &values).refer("manager", &[2]);
    let scope = world.scope(1, &ann);
    assert_eq!(world.rule_names(&scope), ["In from LDAP - inetOrgPerson Join"]);
    assert!(world.set.joins(&scope, &ann).unwrap()[0].has_value);
    let contribution = world.merge("person", &[&ann]).unwrap();
    for (attribute, expected) in [
        ("sourceAnchor", "\"00112233-4455-6677-8899-aabbccddeeff\""),
        ("userPrincipalName", "\"ann@example.org\""),
        ("displayName", "\"Ann Other\""),
        ("accountEnabled", "true"),
        ("accountName", "\"ann\""),
    ] {
        assert_eq!(world.show(&contribution.values, attribute), [expected], "{attribute}");
    }
    assert!(world.want(&world.metaverse("person", &contribution)).unwrap().0.rules[0].link == LinkType::Provision);
    let plain = Object::new(&world.names, "inetOrgPerson", "uid=bo,dc=example,dc=org", &[("uid", text("bo")), ("cn", text("Bo"))]);
    let contribution = world
        .set
        .contribute(
            world.names.object_type("person"),
            &[Contributor { id: CsId::new(ConnectorId(1), 1), source: &plain, scope: &world.scope(1, &plain), new_link: true }],
            None,
            &RunParameters::default(),
        )
        .unwrap();
    assert_eq!(world.show(&contribution.values, "userPrincipalName"), ["\"bo@example.org\""], "domain from the object's own name");
    let values = [("cn", text("team")), ("entryUUID", text("10112233-4455-6677-8899-aabbccddeeff"))];
    let team = Object::new(&world.names, "groupOfNames", "cn=team,dc=example,dc=org", &values).refer("member", &[1, 2]);
    let contribution = world.merge("group", &[&team]).unwrap();
    assert_eq!(world.show(&contribution.values, "securityEnabled"), ["true"]);
    assert_eq!(world.show(&contribution.values, "memberCount"), ["2"]);
    assert_eq!(contribution.references.len(), 1);
    assert!(world.want(&world.metaverse("group", &contribution)).unwrap().0.rules[0].link == LinkType::Provision);
    // Active Directory's shape on an OpenLDAP server belongs to the other rules.
    let shaped = user(&world.names, &[]);
    assert!(world.rule_names(&world.scope(1, &shaped)).contains(&"In from AD - User Join"));
}

#[test]
fn anchors_follow_the_setting() {
    let anchor = |anchor_attribute: AnchorAttribute, more: &[(&str, Value)]| {
        let world = World::with(&default_connectors(), &RuleSettings { anchor_attribute, ..RuleSettings::default() }, "");
        let contribution = world.merge("person", &[&user(&world.names, more)]).unwrap();
        (world.show(&contribution.values, "sourceAnchor"), world.show(&contribution.values, "sourceAnchorBinary"))
    };
    let consistency = ("mS-DS-ConsistencyGuid", octets(&[9; 16]));
    assert_eq!(anchor(AnchorAttribute::ObjectGuid, std::slice::from_ref(&consistency)).0, ["\"MyIRAFVEd2aImaq7zN3u/w==\""]);
    let (text_form, binary) = anchor(AnchorAttribute::ConsistencyGuid, &[consistency]);
    assert_eq!(text_form, ["\"CQkJCQkJCQkJCQkJCQkJCQ==\""]);
    assert_eq!(binary, ["0x09090909090909090909090909090909"]);
    assert_eq!(anchor(AnchorAttribute::ConsistencyGuid, &[]).0, ["\"MyIRAFVEd2aImaq7zN3u/w==\""]);
    assert_eq!(anchor(AnchorAttribute::Attribute("employeeNumber".to_owned()), &[("employeeNumber", text("E17"))]).0, ["\"E17\""]);
    let settings = RuleSettings { anchor_attribute: AnchorAttribute::Attribute("mail".to_owned()), ..RuleSettings::default() };
    assert!(show(&compile_with(&default_connectors(), &settings, "").unwrap_err()).contains("mail cannot be the source anchor"));
}

#[test]
fn user_matching_replaces_the_join() {
    let groups = |user_matching: UserMatching| {
        let world = World::with(&default_connectors(), &RuleSettings { user_matching, ..RuleSettings::default() }, "");
        let rule = world.set.rules().iter().find(|rule| rule.name == "In from AD - User Join").unwrap();
        let name = |attr| world.names.name(attr).to_string();
        rule.join
            .iter()
            .map(|group| group.iter().map(|clause| format!("{}={}", name(clause.cs), name(clause.mv))).collect::<Vec<_>>().concat())
            .collect::<Vec<_>>()
    };
    assert!(groups(UserMatching::Once).is_empty());
    assert_eq!(groups(UserMatching::Mail), ["mail=mail"]);
    assert_eq!(groups(UserMatching::ObjectSid).len(), 5);
    assert_eq!(groups(UserMatching::AccountName), ["sAMAccountName=mailNickname", "mailNickname=accountName"]);
    assert_eq!(groups(UserMatching::Attribute("employeeID".to_owned())), ["employeeID=employeeID"]);
}

/// A small rule file around flows of two rules.
fn two_rules(first: &str, second: &str) -> String {
    format!(
        r#"
[[rule]]
name = "first"
direction = "inbound"
connector = "contoso.com"
cs_type = "thing"
mv_type = "person"
link = "provision"
order = 10
{first}

[[rule]]
name = "second"
direction = "inbound"
connector = "contoso.com"
cs_type = "thing"
mv_type = "person"
link = "join"
order = 20
{second}
"#
    )
}

fn things(world: &World, values: &[(&str, Value)], current: Option<&MvObject>, new_link: bool) -> Result<Contribution, FlowError> {
    let object = Object::new(&world.names, "thing", "CN=t,DC=x", values);
    let scope = world.scope(1, &object);
    let contributor = Contributor { id: CsId::new(ConnectorId(1), 1), source: &object, scope: &scope, new_link };
    world.set.contribute(world.names.object_type("person"), &[contributor], current, &run())
}

fn person(world: &World, contribution: &Contribution) -> MvObject {
    MvObject {
        id: MvId(1),
        object_type: world.names.object_type("person"),
        values: contribution.values.clone(),
        lineage: contribution.lineage.clone(),
    }
}

#[test]
fn the_first_flow_with_a_value_decides() {
    for (first, second, expected) in [
        ("[a]", "[b]", vec!["\"A\""]),
        ("[missing]", "[b]", vec!["\"B\""]),
        ("NULL", "[b]", vec!["\"B\""]),
        ("AuthoritativeNull", "[b]", vec![]),
        ("IgnoreThisFlow", "[b]", vec!["\"B\""]),
        ("Trim([blank])", "[b]", vec!["\"B\""]),
        ("NULL", "NULL", vec![]),
        ("[a]", "Error(\"never reached\")", vec!["\"A\""]),
    ] {
        let flows = |expression: &str| format!("flows = [{{ to = \"title\", expr = '{expression}' }}]");
        let world = World::new(&two_rules(&flows(first), &flows(second)));
        let contribution = things(&world, &[("a", text("A")), ("b", text("B")), ("blank", text("  "))], None, true).unwrap();
        assert_eq!(world.show(&contribution.values, "title"), expected, "{first} {second}");
        assert_eq!(contribution.lineage.len(), expected.len());
    }
}

#[test]
fn ignoring_keeps_value_and_origin_and_lineage_keeps_its_time() {
    let flow = "flows = [{ to = \"title\", expr = 'IIF(IsNull([a]), IgnoreThisFlow, [a])' }]";
    let world = World::new(&two_rules(flow, "direct = [\"department\"]"));
    let first = things(&world, &[("a", text("A")), ("department", text("D"))], None, true).unwrap();
    let mut current = person(&world, &first);
    for entry in &mut current.lineage {
        entry.since = Timestamp::from_seconds(5);
    }
    let kept = things(&world, &[], Some(&current), false).unwrap();
    assert_eq!(world.show(&kept.values, "title"), ["\"A\""]);
    assert_eq!(kept.lineage.len(), 1, "the department is gone with its origin");
    assert_eq!(kept.lineage[0].since, Timestamp::from_seconds(5));
    // What a vanished origin gave is not kept.
    current.lineage[0].source = CsId::new(ConnectorId(1), 77);
    current.lineage[1].source = CsId::new(ConnectorId(1), 77);
    assert!(things(&world, &[], Some(&current), false).unwrap().values.is_empty());
    // Same origin, other value: since stays. Other rule: since is now.
    let mut current = person(&world, &first);
    current.lineage[0].since = Timestamp::from_seconds(5);
    current.lineage[1].since = Timestamp::from_seconds(5);
    let changed = things(&world, &[("a", text("A2"))], Some(&current), false).unwrap();
    assert_eq!(changed.lineage[0].since, Timestamp::from_seconds(5));
    current.lineage[0].rule = RuleId(1);
    let title = current.lineage.iter().position(|entry| entry.attr == world.names.intern("title")).unwrap();
    current.lineage[title].rule = RuleId(1);
    assert_eq!(things(&world, &[("a", text("A2"))], Some(&current), false).unwrap().lineage[0].since, run().now);
}

#[test]
fn once_means_when_the_link_is_made() {
    let world =
        World::new(&two_rules("flows = [{ to = \"title\", from = \"a\", once = true }]", "flows = [{ to = \"title\", from = \"b\" }]"));
    let first = things(&world, &[("a", text("A")), ("b", text("B"))], None, true).unwrap();
    assert_eq!(world.show(&first.values, "title"), ["\"A\""]);
    let later = things(&world, &[("a", text("A2")), ("b", text("B"))], Some(&person(&world, &first)), false).unwrap();
    assert_eq!(world.show(&later.values, "title"), ["\"A\""], "later changes do not flow, and what was given still counts");
    let without = things(&world, &[("a", text("A2")), ("b", text("B"))], None, false).unwrap();
    assert_eq!(world.show(&without.values, "title"), ["\"B\""]);
}

#[test]
fn merged_values_are_united_in_precedence_order() {
    let merged = |kind: &str| {
        let flow = |from: &str| format!("flows = [{{ to = \"otherMobile\", from = \"{from}\", merge = \"{kind}\" }}]");
        let world = World::new(&two_rules(&flow("a"), &flow("b")));
        let values = [("a", text("X")), ("a", text("Y")), ("b", text("x")), ("b", text("Y")), ("b", text("Z"))];
        let contribution = things(&world, &values, None, true).unwrap();
        let shown: Vec<String> = contribution.values.iter().map(|item| format!("{:?}/{}", item.value, item.flags)).collect();
        (shown, contribution.lineage.len())
    };
    let strings = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    assert_eq!(merged("merge"), (strings(&["\"X\"/0", "\"Y\"/0", "\"Z\"/1", "\"x\"/1"]), 2));
    assert_eq!(merged("merge-case-insensitive"), (strings(&["\"X\"/0", "\"Y\"/0", "\"Z\"/1"]), 2));
    let world = World::new(&two_rules(
        "flows = [{ to = \"otherMobile\", from = \"a\", merge = \"merge\" }]",
        "flows = [{ to = \"otherMobile\", from = \"b\" }]",
    ));
    let error = things(&world, &[("a", text("X"))], None, true).unwrap_err();
    assert_eq!(error.code, ObjectErrorCode::MERGE_TYPE_CONFLICT);
    assert!(error.detail.contains("first") && error.detail.contains("second"), "{error}");
}

#[test]
fn large_values_flow_by_handle_and_new_ones_come_with_their_content() {
    let world = World::new(&two_rules("direct = [\"msExchResourceDisplay <- a\"]\ntrim = [\"msExchLabeledURI <- a\"]", ""));
    let content = format!(" {} ", "x".repeat(3000));
    let mut object = Object::new(&world.names, "thing", "CN=t,DC=x", &[]);
    let mut builder = FlatBuilder::new();
    builder.push(world.names.intern("a"), ValueRef::LargeText(Blob::of(content.as_bytes())), 0);
    object.values = builder.finish();
    object.blobs.push(content.clone().into_bytes());
    let scope = world.scope(1, &object);
    let contributor = Contributor { id: CsId::new(ConnectorId(1), 1), source: &object, scope: &scope, new_link: true };
    let contribution = world.set.contribute(world.names.object_type("person"), &[contributor], None, &run()).unwrap();
    let value = |name: &str| contribution.values.attribute(world.names.intern(name)).next().unwrap().value;
    assert_eq!(value("msExchResourceDisplay"), ValueRef::LargeText(Blob::of(content.as_bytes())));
    assert_eq!(value("msExchLabeledURI"), ValueRef::LargeText(Blob::of("x".repeat(3000).as_bytes())));
    assert_eq!(contribution.blobs, ["x".repeat(3000).into_bytes()]);
    object.blobs.clear();
    let contributor = Contributor { id: CsId::new(ConnectorId(1), 1), source: &object, scope: &scope, new_link: true };
    let error = world.set.contribute(world.names.object_type("person"), &[contributor], None, &run()).unwrap_err();
    assert!(error.detail.contains("missing from the store"), "{error}");
}

#[test]
fn outbound_flows_decide_leave_alone_or_clear() {
    let world = World::new(
        r#"
[[rule]]
name = "out"
direction = "outbound"
connector = "cloud"
cs_type = "thing"
mv_type = "thing"
link = "provision"
order = 10
flows = [
  { to = "dn", expr = '"CN=" & [cn]' },
  { to = "displayName", from = "displayName" },
  { to = "city", expr = 'IIF(IsNull([l]), IgnoreThisFlow, [l])' },
  { to = "state", expr = 'AuthoritativeNull' },
  { to = "department", from = "department", once = true },
  { to = "otherMobile", from = "otherMobile", merge = "merge" },
  { to = "manager", from = "manager" },
  { to = "publicDelegates", expr = 'IIF([cn] = "x", [member], NULL)' },
]
"#,
    );
    let out = |creating: bool, values: &[(&str, Value)]| {
        let object = Object::new(&world.names, "thing", "", values).refer("member", &[9, 8]);
        let scope = world.set.outbound_scope(ConnectorId(2), &object, &run()).unwrap();
        world.set.want(&scope, &object, creating, &run()).unwrap()
    };
    let managed = |wanted: &Wanted| {
        let mut names: Vec<String> = wanted.managed.iter().map(|attr| world.names.name(*attr).to_string()).collect();
        names.sort();
        names.join(" ")
    };
    let wanted = out(true, &[("cn", text("x")), ("department", text("d"))]);
    assert_eq!(wanted.dn.as_deref(), Some("CN=x"));
    assert_eq!(managed(&wanted), "department displayName otherMobile state");
    assert_eq!(wanted.merged, [world.names.intern("otherMobile")]);
    let targets = |wanted: &Wanted, name: &str| {
        wanted.references.iter().find(|flow| flow.target == world.names.intern(name)).map(|flow| flow.source.clone())
    };
    assert_eq!(targets(&wanted, "manager"), Some(ReferenceSource::Targets(vec![])), "decided: nobody");
    assert_eq!(targets(&wanted, "publicDelegates"), Some(ReferenceSource::Targets(vec![8, 9])));
    let later = out(false, &[("cn", text("y")), ("department", text("d2")), ("l", text("Town"))]);
    assert_eq!(managed(&later), "city displayName otherMobile state");
    assert_eq!(targets(&later, "publicDelegates"), Some(ReferenceSource::Targets(vec![])));
}

#[test]
fn every_operator_of_a_scope() {
    let values = [
        ("text", text("Head of Sales")),
        ("number", Value::Number(514)),
        ("numberText", text("514")),
        ("yes", Value::Boolean(true)),
        ("many", text("a")),
        ("many", text("B")),
        ("unicode", text("ŁÓDŹ")),
    ];
    for (attr, op, value, expected) in [
        ("text", "EQUAL", "head of sales", true),
        ("text", "EQUAL", "head", false),
        ("text", "NOTEQUAL", "head", true),
        ("missing", "EQUAL", "", false),
        ("missing", "NOTEQUAL", "x", true),
        ("unicode", "EQUAL", "łódź", true),
        ("yes", "EQUAL", "TRUE", true),
        ("yes", "NOTEQUAL", "True", false),
        ("number", "EQUAL", "514", true),
        ("number", "LESSTHAN", "1000", true),
        ("number", "LESSTHAN", "514", false),
        ("number", "LESSTHAN_OR_EQUAL", "514", true),
        ("number", "GREATERTHAN", "99", true),
        ("number", "GREATERTHAN_OR_EQUAL", "515", false),
        ("numberText", "LESSTHAN", "1000", true),
        ("missing", "LESSTHAN", "1000", false),
        ("text", "LESSTHAN", "Iris", true),
        ("text", "CONTAINS", "OF", true),
        ("text", "NOTCONTAINS", "of", false),
        ("missing", "NOTCONTAINS", "of", true),
        ("text", "STARTSWITH", "head", true),
        ("text", "NOTSTARTSWITH", "Tail", true),
        ("missing", "NOTSTARTSWITH", "Tail", true),
        ("text", "ENDSWITH", "SALES", true),
        ("text", "NOTENDSWITH", "sales", false),
        ("missing", "NOTENDSWITH", "sales", true),
        ("missing", "ISNULL", "", true),
        ("text", "ISNULL", "", false),
        ("text", "ISNOTNULL", "", true),
        ("many", "ISIN", "b", true),
        ("many", "ISIN", "c", false),
        ("many", "ISNOTIN", "c", true),
        ("missing", "ISNOTIN", "c", true),
        ("number", "ISBITSET", "2", true),
        ("number", "ISBITSET", "3", false),
        ("number", "ISBITNOTSET", "3", true),
        ("number", "ISNOTBITSET", "2", false),
        ("numberText", "ISBITSET", "&H202", true),
        ("missing", "ISBITSET", "2", false),
        ("missing", "ISBITNOTSET", "2", true),
        ("memberOf", "ISMEMBEROF", "cn=Object 7, dc=example,dc=org", true),
        ("dn", "ISMEMBEROF", "CN=object 8,DC=example,DC=org", false),
        ("dn", "ISNOTMEMBEROF", "CN=object 8,DC=example,DC=org", true),
        ("dn", "ENDSWITH", ",dc=X", true),
        ("numberText", "EQUAL", "%Connector.ID%", false),
        ("id", "EQUAL", "%Connector.ID%", true),
        ("id", "EQUAL", "100%", false),
    ] {
        let value = if op.ends_with("NULL") { String::new() } else { format!(", value = \"{value}\"") };
        let scope = format!("scope = [[{{ attr = \"{attr}\", op = \"{op}\"{value} }}]]\ndirect = [\"title <- text\"]");
        let world = World::new(&two_rules(&scope, "scope = [[{ attr = \"never\", op = \"ISNOTNULL\" }]]\ndirect = [\"title <- text\"]"));
        let mut values = values.to_vec();
        values.push(("id", text("1")));
        let object = Object::new(&world.names, "thing", "CN=t,DC=x", &values).refer("memberOf", &[7]);
        assert_eq!(!world.scope(1, &object).is_empty(), expected, "{attr} {op} {value}");
    }
}

#[test]
fn groups_of_a_scope_are_alternatives() {
    let scope = r#"scope = [
  [{ attr = "a", op = "EQUAL", value = "1" }, { attr = "b", op = "EQUAL", value = "1" }],
  [{ attr = "c", op = "EQUAL", value = "1" }],
]
direct = ["title <- a"]"#;
    let world = World::new(&two_rules(scope, scope));
    for (a, b, c, expected) in [("1", "1", "0", true), ("1", "0", "0", false), ("0", "0", "1", true), ("0", "1", "0", false)] {
        let object = Object::new(&world.names, "thing", "CN=t,DC=x", &[("a", text(a)), ("b", text(b)), ("c", text(c))]);
        assert_eq!(!world.scope(1, &object).is_empty(), expected, "{a}{b}{c}");
    }
}

#[test]
fn join_keys_have_the_partners_type_and_one_value() {
    let world = World::new(&two_rules(
        "join = [[{ cs = \"number\", mv = \"accountName\" }], [{ cs = \"text\", mv = \"countryCode\" }, { cs = \"name\", mv = \"cn\" }]]",
        "",
    ));
    let joins = |values: &[(&str, Value)]| {
        let object = Object::new(&world.names, "thing", "CN=t,DC=x", values);
        world.set.joins(&world.scope(1, &object), &object)
    };
    let requests = joins(&[("text", text("49")), ("name", text("n"))]).unwrap();
    assert_eq!(requests.len(), 1, "the second rule neither joins nor provisions");
    assert_eq!(requests[0].groups[0].clauses[0].value, Value::Number(49));
    assert!(joins(&[("text", text("49"))]).unwrap()[0].groups.is_empty(), "half a group matches nothing");
    assert!(joins(&[("text", text("49"))]).unwrap()[0].has_value);
    assert!(!joins(&[("text", text("no number"))]).unwrap()[0].has_value);
    assert!(!joins(&[]).unwrap()[0].has_value);
    let error = joins(&[("name", text("a")), ("name", text("b"))]).unwrap_err();
    assert_eq!(error.code, ObjectErrorCode::JOIN_OBJECT_ID_MUST_BE_SINGLE_VALUED);
    assert!(error.detail.contains("name") && error.detail.contains("first"), "{error}");
}

#[test]
fn the_set_knows_what_it_reads_and_writes() {
    let world = World::new("");
    let has = |list: &[AttrId], name: &str| list.contains(&world.names.intern(name));
    let inbound = world.set.inbound_attributes(ConnectorId(1));
    for name in
        ["userAccountControl", "proxyAddresses", "member", "adminDescription", "msExchMasterAccountSid", "isCriticalSystemObject", "cn"]
    {
        assert!(has(&inbound, name), "{name}");
    }
    assert!(!inbound.contains(&AttrId::DN) && !has(&inbound, "usageLocation"));
    assert!(has(&world.set.inbound_attributes(ConnectorId(2)), "usageLocation"));
    let outbound = world.set.outbound_attributes(ConnectorId(2));
    assert!(has(&outbound, "userPrincipalName") && has(&outbound, "member") && !outbound.contains(&AttrId::DN));
    assert!(world.set.outbound_attributes(ConnectorId(1)).is_empty());
    assert!(has(&world.set.metaverse_join_attributes(), "objectSid") && has(&world.set.metaverse_join_attributes(), "sourceAnchor"));
    assert_eq!(
        world.set.space_join_attributes(),
        [(ConnectorId(2), world.names.intern("sourceAnchor")), (ConnectorId(2), world.names.intern("deviceId"))]
            .into_iter()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
    );
    let types: Vec<String> =
        world.set.inbound_types(ConnectorId(1)).iter().map(|kind| world.names.object_type_name(*kind).to_string()).collect();
    for kind in ["user", "group", "contact", "inetOrgPerson", "foreignSecurityPrincipal", "computer"] {
        assert!(types.iter().any(|known| known == kind), "{kind}");
    }
}

#[test]
fn precedence_follows_order_then_connectors() {
    let connectors = [
        connector(1, "a.example", ConnectorKind::ActiveDirectory),
        connector(7, "b.example", ConnectorKind::ActiveDirectory),
        connector(2, "cloud", ConnectorKind::Cloud),
    ];
    let world = World::with(
        &connectors,
        &RuleSettings::default(),
        &two_rules("direct = [\"title <- a\"]", "direct = [\"title <- b\"]").replace("contoso.com", "b.example"),
    );
    let rules = world.set.rules();
    assert!(rules.windows(2).all(|pair| pair[0].precedence < pair[1].precedence));
    let at =
        |name: &str, connector: u16| rules.iter().position(|rule| rule.name == name && rule.connector == ConnectorId(connector)).unwrap();
    assert_eq!(at("first", 7), 0);
    assert_eq!(at("In from AD - User Join", 1) + 1, at("In from AD - User Join", 7));
    assert!(at("In from AD - User Join", 7) < at("In from AD - User Common", 1));
    assert_ne!(rules[at("In from AD - User Join", 1)].id, rules[at("In from AD - User Join", 7)].id);
    let single = World::new("");
    let precedence = |name: &str| single.set.rules().iter().find(|rule| rule.name == name).unwrap().precedence;
    assert_eq!(precedence("In from AD - User AccountEnabled"), 102, "the documented numbers with one directory");
    assert_eq!(precedence("Out to AAD - Group Join"), 139);
}

#[test]
fn the_fingerprint_changes_with_what_rules_say() {
    let plain = World::new("").set.fingerprint();
    assert_eq!(plain, World::new("# a comment\n").set.fingerprint());
    let with = |first: &str| World::new(&two_rules(first, "")).set.fingerprint();
    let prints = [
        plain,
        with("direct = [\"title <- a\"]"),
        with("direct = [\"title <- b\"]"),
        with("flows = [{ to = \"title\", from = \"a\", once = true }]"),
        with("flows = [{ to = \"title\", expr = '[a] & \"x\"' }]"),
        with("flows = [{ to = \"title\", expr = '[a] & \"x\"', compare = \"binary\" }]"),
        with("scope = [[{ attr = \"a\", op = \"ISNULL\" }]]"),
        World::new("disable = [\"In from AD - User Lync\"]").set.fingerprint(),
    ];
    assert_eq!(prints.iter().collect::<BTreeSet<_>>().len(), prints.len());
}

#[test]
fn what_is_wrong_in_a_file_is_said_with_line_and_hint() {
    let refused = |text: &str| show(&compile_with(&default_connectors(), &RuleSettings::default(), text).unwrap_err());
    for (file, expected) in [
        ("rule = 5", "custom.toml:1:8: error: \"rule\" stands in double brackets"),
        ("[[rule]]\nname = ", "custom.toml:2:8: error: "),
        ("[[ruel]]\nname = \"x\"", "unknown key \"ruel\" in the file\n  hint: did you mean \"rule\"?"),
        (
            &two_rules("dirct = []", ""),
            "custom.toml:10:1: error: rule \"first\": unknown key \"dirct\" in a rule\n  hint: did you mean \"direct\"?",
        ),
        (
            &two_rules("flows = [{ to = \"title\", expr = 'Trimm([a])' }]", ""),
            "custom.toml:10:34: error: rule \"first\": attribute title: unknown function Trimm (line 1, column 1)\nTrimm([a])\n^^^^^^^^^^\n  hint: did you mean Trim?",
        ),
        (&two_rules("flows = [{ to = \"title\", expr = '''\nIIF(True,\n  [a],\n  Trimm([a]))''' }]", ""), "custom.toml:13:3: error"),
        (&two_rules("direct = [\"titel\"]", ""), "unknown attribute \"titel\" in the metaverse\n  hint: did you mean \"title\"?"),
        (&two_rules("direct = [\"Title <- a\"]", ""), "hint: did you mean \"title\"? Names are case-sensitive"),
        (
            &two_rules("flows = [{ to = \"title\", from = \"a\", expr = 'x' }]", ""),
            "one of \"from\", \"expr\" and \"constant\", here are 2",
        ),
        (
            &two_rules("flows = [{ to = \"accountEnabled\", constant = \"maybe\" }]", ""),
            "the constant does not fit the type of accountEnabled",
        ),
        (&two_rules("flows = [{ to = \"title\", expr = 'Len([a])' }]", ""), "the expression gives a number"),
        (&two_rules("flows = [{ to = \"title\", expr = 'Now()' }]", ""), "the expression gives a date"),
        (
            &two_rules("direct = [\"title <- manager\"]", ""),
            "manager is a reference, the target is not\n  hint: give its name as text: expr = 'CStr([manager])'",
        ),
        (&two_rules("direct = [\"manager <- objectSid\"]", ""), "the type of objectSid does not fit"),
        (&two_rules("flows = [{ to = \"title\", from = \"a\", merge = \"merge\" }]", ""), "there is nothing to merge"),
        (
            &two_rules("scope = [[{ attr = \"a\", op = \"EQUALS\", value = \"1\" }]]", ""),
            "\"EQUALS\" is not known here\n  hint: did you mean \"EQUAL\"?",
        ),
        (&two_rules("scope = [[{ attr = \"a\", op = \"EQUAL\" }]]", ""), "the key \"value\" is missing"),
        (&two_rules("scope = [{ attr = \"a\", op = \"ISNULL\" }]", ""), "a group of clauses in brackets of its own"),
        (&two_rules("scope = [[{ attr = \"a\", op = \"ISBITSET\", value = \"two\" }]]", ""), "\"two\" is no number"),
        (&two_rules("join = \"@user-maching\"", ""), "hint: did you mean \"@user-matching\"?"),
        (&two_rules("include = [\"nothing\"]", ""), "unknown flow set \"nothing\""),
        (&two_rules("flows = [{ to = \"title\", expr = '${user_anker}' }]", ""), "hint: did you mean ${user_anchor}?"),
        (&two_rules("direct = [\"extensionAttribute{1..3} <- a{1..2}\"]", ""), "differ in length"),
        (
            &two_rules("", "").replace("contoso.com", "contoso.con"),
            "unknown connector \"contoso.con\"\n  hint: did you mean \"contoso.com\"?",
        ),
        (&two_rules("", "").replace("\"second\"", "\"first\""), "has this rule twice"),
        ("disable = [\"In from AD - User Linc\"]", "hint: did you mean \"In from AD - User Lync\"?"),
        (
            &two_rules("", "").replace("\"person\"", "\"*\"").replace("order = 10", "order = 10\ndirect = [\"title\"]"),
            "\"*\" is for inbound rules that only join",
        ),
        ("[[metaverse_attribute]]\nname = \"title\"\ntype = \"integer\"", "exists with another type"),
        ("[[metaverse_attribute]]\nname = \"x\"\ntype = \"number\"", "\"number\" is no attribute type"),
    ] {
        let shown = refused(file);
        assert!(shown.contains(expected), "{file}\n→ {shown}");
    }
    let declared = ConnectorProfile {
        attributes: Some(vec![("division".to_owned(), ValueKind::Text, false)]),
        ..connector(1, "contoso.com", ConnectorKind::ActiveDirectory)
    };
    let connectors = [declared, connector(2, "cloud", ConnectorKind::Cloud)];
    let problems = compile_with(&connectors, &RuleSettings::default(), &two_rules("direct = [\"division <- divsion\"]", "")).unwrap_err();
    assert!(show(&problems).contains("unknown attribute \"divsion\" in the connector's schema\n  hint: did you mean \"division\"?"));
}

#[test]
fn what_is_odd_is_a_warning() {
    let warned = |text: &str| show(compile_with(&default_connectors(), &RuleSettings::default(), text).unwrap().lint());
    for (file, expected) in [
        (two_rules("flows = [{ to = \"title\", constant = \"NULL\" }]", ""), "reads like a literal"),
        (
            two_rules("flows = [{ to = \"title\", from = \"a\" }, { to = \"title\", from = \"b\" }]", ""),
            "attribute title has two flows in this rule",
        ),
        (two_rules("flows = [{ to = \"countryCode\", expr = '1 + 2 * 3' }]", ""), "operators stand mixed"),
        (two_rules("flows = [{ to = \"title\", expr = 'Guid()' }]", ""), "every evaluation gives another value"),
        (
            two_rules("join = [[{ cs = \"a\", mv = \"mail\" }]]", "join = [[{ cs = \"b\", mv = \"mail\" }]]"),
            "joins the same objects as rule \"first\"",
        ),
        (two_rules("", ""), "the rule does nothing"),
        (two_rules("", "").replace("inbound", "outbound").replace("contoso.com", "cloud"), "nothing flows to dn"),
    ] {
        let shown = warned(&file);
        assert!(shown.contains(expected), "{file}\n→ {shown}");
        assert!(!shown.contains(": error: "), "{shown}");
    }
    let world = World::new(
        "disable = [\"In from AD - User Lync\"]\n[[metaverse_attribute]]\nname = \"costCenter\"\ntype = \"string\"\nindexed = true\n",
    );
    assert!(world.set.rules().iter().all(|rule| rule.name != "In from AD - User Lync"));
    let disabled = world.set.disabled_rules().first().unwrap();
    assert!(!disabled.enabled && world.set.rule(disabled.id).is_some());
}

/// What the exported configuration of a real installation says of one rule.
struct Reference {
    name: String,
    precedence: u32,
    link: String,
    password: bool,
    direct: BTreeSet<(String, String)>,
    expressions: BTreeSet<String>,
    once: BTreeSet<String>,
    scope: Vec<BTreeSet<String>>,
    join: Vec<BTreeSet<String>>,
}

fn between<'t>(text: &'t str, tag: &str) -> Vec<&'t str> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    text.split(open.as_str()).skip(1).filter_map(|rest| rest.split_once(close.as_str()).map(|(inner, _)| inner)).collect()
}

/// The groups of a criterion, each as a set of its clauses in words.
fn groups(text: &str, section: &str, clause: &str, parts: &[&str]) -> Vec<BTreeSet<String>> {
    let sections = between(text, section);
    let words = |clause: &str| {
        let part = |tag: &&str| between(clause, tag).first().map_or(String::new(), |part| part.to_lowercase());
        parts.iter().map(part).collect::<Vec<_>>().join(" ").trim().to_owned()
    };
    let conditions = sections.iter().flat_map(|section| between(section, "conditions"));
    conditions
        .map(|group| between(group, clause).into_iter().map(words).collect())
        .filter(|group: &BTreeSet<String>| !group.is_empty())
        .collect()
}

fn reference_rules(folder: &std::path::Path) -> Vec<Reference> {
    let mut rules = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let first = |tag: &str| between(&text, tag).first().map_or(String::new(), |value| (*value).to_owned());
        let (mut direct, mut expressions, mut once) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for mapping in text.split("<mapping").skip(1).filter(|mapping| !mapping.starts_with('s') && !mapping.starts_with('-')) {
            let Some((mapping, _)) = mapping.split_once("</mapping>") else { continue };
            let target = between(mapping, "dest")[0].to_owned();
            if mapping.starts_with(" execute-once=\"true\"") {
                once.insert(target.to_lowercase());
            }
            let sources = between(mapping, "attr");
            if mapping.contains("<expression>") || sources.len() != 1 {
                expressions.insert(target);
            } else {
                direct.insert((target, sources[0].to_owned()));
            }
        }
        rules.push(Reference {
            name: first("name"),
            precedence: first("precedence").parse().unwrap(),
            link: first("linkType"),
            password: first("EnablePasswordSync") == "true",
            direct,
            expressions,
            once,
            scope: groups(&text, "synchronizationCriteria", "scope", &["csAttribute", "csOperator", "csValue"]),
            join: groups(&text, "relationshipCriteria", "condition", &["csAttribute", "ilmAttribute"]),
        });
    }
    rules
}

#[test]
fn built_in_rules_have_tags() {
    let world = World::new("");
    let untagged: Vec<&str> = world.set.rules().iter().filter(|rule| rule.tag.is_none()).map(|rule| rule.name.as_str()).collect();
    assert!(untagged.is_empty() && !world.set.rules().is_empty(), "{untagged:?}");
}

/// True for flows that the built-in rules have from the published list of attributes per service.
fn of_the_list(rule: &str, target: &str) -> bool {
    let added: &[&str] = match rule {
        "Out to AAD - User SharePointOnline"
        | "Out to AAD - User LyncOnline"
        | "Out to AAD - User Intune"
        | "Out to AAD - User DynamicsCRM" => &["countryLetterCode"],
        "In from AD - User Exchange" | "In from AD - InetOrgPerson Exchange" | "Out to AAD - User ExchangeOnline" => &["altRecipient"],
        "Out to AAD - Group ExchangeOnline" => &["msExchBypassModerationLink"],
        "Out to AAD - Contact LyncOnline" => {
            return target.starts_with("msRtcSip") || ["city", "ipPhone", "mail", "manager"].contains(&target);
        }
        "Out to AAD - Contact DynamicsCRM" => &["city", "manager"],
        "Out to AAD - Contact Intune" => &["mail"],
        _ => &[],
    };
    added.contains(&target)
}

/// Holds the built-in rules against a published configuration of the original.
#[test]
#[expect(clippy::disallowed_methods, reason = "where the references are is told by the environment")]
fn published_material_agrees_with_the_built_in_rules() {
    let world = World::with(&default_connectors(), &RuleSettings { exchange_hybrid: true, ..RuleSettings::default() }, "");
    let name = |attr: AttrId| if attr == AttrId::DN { "dn".to_owned() } else { world.names.name(attr).to_string() };
    let references = std::env::var("SYNCLINE_REFERENCES").expect(
        "SYNCLINE_REFERENCES is not set: it names the folder with entra-connect-config/, which is not part of this repository. \
         Set it, or run the other tests with --skip published_material_",
    );
    let folder = std::path::Path::new(&references).join("entra-connect-config/SynchronizationRules");
    // Deliberate: written for Syncline, described in docs/rules.md.
    let added = ["sourceAnchorBinary", "employeeID"];
    let mut compared = 0;
    for reference in reference_rules(&folder) {
        let Some(rule) = world.set.rules().iter().find(|rule| rule.name == reference.name) else {
            assert!(reference.name.ends_with("NGCKey"), "missing: {}", reference.name);
            continue;
        };
        assert_eq!(rule.precedence, reference.precedence, "{}", rule.name);
        assert_eq!(format!("{:?}", rule.link), reference.link, "{}", rule.name);
        assert_eq!(rule.password_sync, reference.password, "{}", rule.name);
        let (mut direct, mut expressions) = (BTreeSet::new(), BTreeSet::new());
        for flow in &rule.flows {
            match &flow.source {
                // A direct flow that keeps is written with a condition there.
                FlowSource::Direct(_) if flow.keep_when_absent => {
                    expressions.insert(name(flow.target).to_lowercase());
                }
                FlowSource::Direct(_) if of_the_list(&rule.name, &name(flow.target)) => {}
                FlowSource::Direct(source) => {
                    direct.insert((name(flow.target).to_lowercase(), name(*source).to_lowercase()));
                }
                _ if added.contains(&name(flow.target).as_str()) => {}
                _ => {
                    expressions.insert(name(flow.target).to_lowercase());
                }
            }
        }
        let lower = |(target, source): &(String, String)| (target.to_lowercase(), source.to_lowercase());
        let mut expected: BTreeSet<_> = reference.direct.iter().map(lower).collect();
        if reference.name == "Out to AAD - Contact DynamicsCRM" {
            expected.remove(&("state".to_owned(), "postaladdress".to_owned()));
            expected.insert(("state".to_owned(), "st".to_owned()));
        }
        let missing: Vec<_> = expected.difference(&direct).collect();
        let extra: Vec<_> = direct.difference(&expected).collect();
        assert!(missing.is_empty() && extra.is_empty(), "{}: missing {missing:?}, extra {extra:?}", rule.name);
        let expected: BTreeSet<_> = reference.expressions.iter().map(|target| target.to_lowercase()).collect();
        assert_eq!(expressions, expected, "{}", rule.name);
        let once: BTreeSet<_> = rule.flows.iter().filter(|flow| flow.once).map(|flow| name(flow.target).to_lowercase()).collect();
        assert_eq!(once, reference.once, "{}", rule.name);
        let operator = |operator: ScopeOperator| match operator {
            ScopeOperator::IsNotBitSet => "isbitnotset".to_owned(),
            other => format!("{other:?}").to_lowercase(),
        };
        let scope: Vec<BTreeSet<String>> = rule
            .scope
            .0
            .iter()
            .map(|group| {
                group
                    .iter()
                    .map(|clause| {
                        format!("{} {} {}", name(clause.attr), operator(clause.operator), clause.value).to_lowercase().trim().to_owned()
                    })
                    .collect()
            })
            .collect();
        let mut expected = reference.scope.clone();
        match reference.name.as_str() {
            // Told apart from the inetOrgPerson of other directories.
            name if name.contains("InetOrgPerson") && name.starts_with("In") => {
                if expected.is_empty() {
                    expected.push(BTreeSet::new());
                }
                for group in &mut expected {
                    group.insert("objectguid isnotnull".to_owned());
                }
            }
            "In from AAD - User Join" => expected = vec![BTreeSet::from(["cloudmastered notequal true".to_owned()])],
            "Out to AAD - Group Join" => {
                expected =
                    expected.into_iter().map(|group| group.into_iter().map(|clause| clause.replace("50000", "250000")).collect()).collect();
            }
            _ => {}
        }
        assert_eq!(scope, expected, "{}", rule.name);
        let join: Vec<BTreeSet<String>> = rule
            .join
            .iter()
            .map(|group| group.iter().map(|clause| format!("{} {}", name(clause.cs), name(clause.mv)).to_lowercase()).collect())
            .collect();
        assert_eq!(join, reference.join, "{}", rule.name);
        compared += 1;
    }
    assert!(compared >= 50, "{compared}");
}
