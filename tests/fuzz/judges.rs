//! What must hold for any octets that reach a decoder. The fuzz targets of `tools/fuzz` and the replay of their corpus call the
//! same functions, so that what was found once is tried by every ordinary test run.

use std::sync::Arc;
use syncline::migration::{ForeignFile, ImportOptions, Report, import};
use syncline::model::{
    AttrId, AttributeSource, Blob, ConnectorId, CsId, Dn, FlatBuilder, FlatValues, INLINE_VALUE_MAX, Names, ObjectType, ValueKind,
    ValueRef, Values,
};
use syncline::protocol::{dcerpc, drsuapi, kerberos, ldap, ldif, nbfx, provisioning};
use syncline::rules::{
    CompileInput, ConnectorKind, ConnectorProfile, Contributor, Direction, RuleFile, RuleProblem, RuleSet, RuleSettings, RunParameters,
};

/// Holds what must be true for any octets; panics where it is not.
pub(crate) type Judge = fn(&[u8]);

/// Every target: its name, which is also the folder of its corpus, and its judge.
pub(crate) const TARGETS: &[(&str, Judge)] = &[
    ("expression", expression),
    ("rule_file", rule_file),
    ("ldif", read_ldif),
    ("binary_xml", binary_xml),
    ("provisioning", provisioning_message),
    ("directory_text", directory_text),
    ("migration", migration),
    ("drsuapi_reply", drsuapi_reply),
    ("dcerpc_pdu", dcerpc_pdu),
    ("directory_sync", directory_sync),
    ("directory_delta", directory_delta),
];

/// Text as an expression: it is refused inside the text, or it compiles and gives a value or an error of the object.
pub(crate) fn expression(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let quoted = toml_text(text);
    for (direction, connector) in [("inbound", "hr"), ("outbound", "other")] {
        let file = format!(
            "[[metaverse_attribute]]\nname = \"any\"\ntype = \"string\"\nmulti = true\n[[rule]]\nname = \"fuzz\"\ndirection = \"{direction}\"\n\
             connector = \"{connector}\"\ncs_type = \"user\"\nmv_type = \"person\"\nlink = \"join\"\norder = 1\n\
             flows = [{{ to = \"any\", expr = {quoted} }}]\n"
        );
        // Small connectors: the cloud's table would cost more than the expression.
        try_rules(&file, false);
    }
}

/// Octets as a rule file: every finding stands inside the file, and rules that compile say the same when they are written anew.
pub(crate) fn rule_file(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Some(set) = try_rules(&text, true) else { return };
    let names = connector_names();
    let written = |set: &RuleSet| -> Vec<_> {
        set.rules().iter().chain(set.disabled_rules()).map(|rule| set.plain(rule, names[usize::from(rule.connector.0) - 1])).collect()
    };
    let plain = written(&set);
    let mut again = String::new();
    for attribute in syncline::rules::declared_attributes(&[RuleFile { name: String::new(), text: text.to_string() }]) {
        let written = format!(
            "[[metaverse_attribute]]\nname = {}\ntype = \"{}\"\nmulti = {}\nindexed = {}\n",
            toml_text(&attribute.name),
            attribute.kind,
            attribute.multi,
            attribute.indexed
        );
        again.push_str(&written);
    }
    for rule in &plain {
        again.push_str(&rule.to_toml());
    }
    let second = compile(&again, true).unwrap_or_else(|problems| panic!("what was written is refused:\n{again}\n{problems:?}"));
    assert_eq!(written(&second), plain, "written:\n{again}");
}

/// Octets as LDIF, records and lines kept small so that limits are met.
pub(crate) fn read_ldif(data: &[u8]) {
    let limits = ldif::Limits { line: 4 << 10, record: 16 << 10 };
    let lines = 1 + u64::try_from(data.split(|octet| matches!(octet, b'\n' | b'\r')).count()).unwrap_or(u64::MAX);
    let mut reader = ldif::Reader::with_limits(data, limits);
    while let Some(read) = reader.next() {
        assert!(reader.line() <= lines, "line {} of {lines}", reader.line());
        match read {
            Ok(record) => {
                let octets: usize = record.values().map(|value| value.octets.len()).sum();
                assert!(octets <= limits.record, "{octets} octets in a record");
                assert_eq!(record.values().count(), record.len());
                record.changes().for_each(|change| assert!(change.values().count() <= record.len()));
                if let Ok(dn) = Dn::parse(&record.dn) {
                    assert!(dn.same(&dn));
                }
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

/// Octets as binary XML: as many events as octets and values of arrays allow, and an end.
pub(crate) fn binary_xml(data: &[u8]) {
    let Ok(mut reader) = nbfx::Reader::new(data) else { return };
    let most = 3 * 100_000 + 4 * data.len() + 8;
    for _ in 0..most {
        match reader.next() {
            Ok(nbfx::Event::Eof) | Err(_) => return,
            Ok(_) => {}
        }
    }
    panic!("{} octets gave more than {most} events", data.len());
}

/// Octets as a message of the provisioning service, in both directions; what is understood is written and understood again.
pub(crate) fn provisioning_message(data: &[u8]) {
    if let Ok((header, Some(request))) = provisioning::decode_request(data) {
        let octets = provisioning::encode_request(&header, &request, Vec::new());
        let (header, request) = provisioning::decode_request(&octets).expect("what was written is read");
        let request = request.expect("a request stays one");
        assert_eq!(provisioning::encode_request(&header, &request, Vec::new()), octets);
    }
    for operation in OPERATIONS {
        // Nothing is held against it but that it comes to an end.
        drop(provisioning::decode_response(operation, data));
    }
}

/// Operations whose answers are read in different ways.
const OPERATIONS: &[&str] = &[
    "GetCompanyConfiguration",
    "ProvisionAzureADSyncObjects2",
    "ReadBackAzureADSyncObjects2",
    "ProvisionCredentials",
    "GetServiceAccount",
    "GetDeviceConfiguration",
    "Capabilities",
    "GetKerberosDomain",
];

/// Octets as the small texts and controls that directories send.
pub(crate) fn directory_text(data: &[u8]) {
    if let Some(reply) = ldap::PagedReply::parse(data) {
        assert!(reply.cookie.len() <= data.len());
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some((name, from, to)) = ldap::range_of(text) {
        assert!(name.len() < text.len() && to.is_none_or(|to| to >= from), "{name} {from} {to:?}");
    }
    drop(ldap::parse_attribute_type(text));
    assert!(ldap::bind_detail(text).is_none_or(|detail| !detail.is_empty()));
    if let Ok(dn) = Dn::parse(text) {
        let parts: Vec<String> = (0..dn.depth()).filter_map(|index| dn.rdn(index).map(str::to_owned)).collect();
        assert_eq!(parts.len(), dn.depth());
        let again = Dn::parse(&parts.join(",")).expect("the parts of a name make a name");
        assert!(again.same(&dn), "{text:?} became {:?}", again.as_str());
        if let Some(parent) = dn.parent() {
            assert!(dn.key().is_within(&parent.key()), "{text:?} lies in {:?}", parent.as_str());
        }
    }
}

/// Octets as what a directory says while it is synchronized: read or refused, and nothing is made of more than was there.
pub(crate) fn directory_sync(data: &[u8]) {
    let within = |cookie: &Option<Vec<u8>>| assert!(cookie.as_ref().is_none_or(|cookie| cookie.len() < data.len()));
    if let Some(state) = ldap::SyncState::parse(data) {
        within(&state.cookie);
    }
    if let Some(done) = ldap::SyncDone::parse(data) {
        within(&done.cookie);
    }
    match ldap::SyncInfo::parse(data) {
        Some(ldap::SyncInfo::NewCookie(cookie)) => assert!(cookie.len() < data.len()),
        Some(ldap::SyncInfo::RefreshDelete { cookie, .. } | ldap::SyncInfo::RefreshPresent { cookie, .. }) => within(&cookie),
        Some(ldap::SyncInfo::IdSet { cookie, uuids, .. }) => {
            within(&cookie);
            assert!(uuids.len() * 18 <= data.len());
        }
        None => {}
    }
}

/// Octets as what a domain controller says of changes: the control behind an answer, the times of changes, extended names.
pub(crate) fn directory_delta(data: &[u8]) {
    if let Some(reply) = ldap::DirSyncReply::parse(data) {
        assert!(reply.cookie.len() <= data.len() && reply.cookie.len() <= ldap::COOKIE_MAX);
        let request = ldap::dirsync_request(ldap::INCREMENTAL_VALUES, 1 << 20, &reply.cookie);
        // Both directions have the same form, and so a request is read as a reply with its cookie.
        assert_eq!(ldap::DirSyncReply::parse(&request).map(|reply| reply.cookie), Some(reply.cookie));
    }
    if ldap::AttributeStamp::of(data, ldap::NAME_ATTRIBUTE).is_some() {
        assert!(data.len() >= 64, "{} octets hold no record", data.len());
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Some(guid) = ldap::guid_of(text)
    {
        let plain = guid.map(|octet| format!("{octet:02x}")).concat();
        assert_eq!(ldap::guid_of(&format!("<GUID={plain}>;CN=a")), Some(guid), "{text:?}");
    }
}

fn connector_names() -> [&'static str; 3] {
    ["hr", "other", "cloud"]
}

fn compile(text: &str, cloud: bool) -> Result<RuleSet, Vec<RuleProblem>> {
    let [source, other, target] = connector_names();
    let profile = |id, name: &str, kind, attributes| {
        let parameters = vec!["Own".to_owned()];
        ConnectorProfile { attributes, parameters, ..ConnectorProfile::new(ConnectorId(id), name, kind) }
    };
    let declared = vec![("any".to_owned(), ValueKind::Text, true), ("manager".to_owned(), ValueKind::Reference, false)];
    let mut connectors = vec![profile(1, source, ConnectorKind::Ldif, None), profile(2, other, ConnectorKind::Other, None)];
    if cloud {
        connectors.push(profile(3, target, ConnectorKind::Cloud, Some(declared)));
    }
    let files = [RuleFile { name: "rules/fuzz.toml".to_owned(), text: text.to_owned() }];
    RuleSet::compile(CompileInput {
        files: &files,
        connectors: &connectors,
        names: &Arc::new(Names::new()),
        settings: &RuleSettings::default(),
    })
}

/// Compiles, holds every finding against the file, and runs what compiled over an object.
fn try_rules(text: &str, cloud: bool) -> Option<RuleSet> {
    let set = match compile(text, cloud) {
        Ok(set) => set,
        Err(problems) => {
            assert!(!problems.is_empty());
            for problem in &problems {
                check_problem(problem, text);
            }
            return None;
        }
    };
    for problem in set.lint() {
        check_problem(problem, text);
    }
    evaluate(&set);
    Some(set)
}

fn check_problem(problem: &RuleProblem, text: &str) {
    assert!(!problem.message.is_empty());
    let lines: Vec<&str> = text.split('\n').collect();
    if problem.line > 0 {
        let line = lines.get(problem.line - 1).unwrap_or_else(|| panic!("line {} of {}: {problem}", problem.line, lines.len()));
        assert!((1..=line.chars().count() + 1).contains(&problem.column), "column {} of {line:?}: {problem}", problem.column);
    }
}

fn evaluate(set: &RuleSet) {
    let run = RunParameters::default();
    for rule in set.rules() {
        let (object, connector) = (Sample::new(set, rule.direction == Direction::Inbound), rule.connector);
        let object = Sample { kind: if rule.direction == Direction::Inbound { Some(rule.cs_type) } else { rule.mv_type }, ..object };
        if rule.direction == Direction::Inbound {
            let Ok(scope) = set.inbound_scope(connector, &object, &run) else { continue };
            let contributor = Contributor { id: CsId::new(connector, 1), source: &object, scope: &scope, new_link: true };
            told(set.joins(&scope, &object).map(drop));
            if let Some(kind) = rule.mv_type {
                told(set.contribute(kind, &[contributor], None, &run).map(drop));
            }
        } else {
            let Ok(scope) = set.outbound_scope(connector, &object, &run) else { continue };
            told(set.joins(&scope, &object).map(drop));
            told(set.want(&scope, &object, true, &run).map(drop));
        }
    }
}

/// A failure of an object has a code and says something.
fn told(outcome: Result<(), syncline::rules::FlowError>) {
    if let Err(error) = outcome {
        assert!(!error.code.as_str().is_empty() && !error.detail.is_empty());
    }
}

fn toml_text(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// An object that has something of every kind under any name.
struct Sample {
    kind: Option<ObjectType>,
    dn: &'static str,
    values: FlatValues,
}

impl Sample {
    fn new(set: &RuleSet, inbound: bool) -> Self {
        let mut builder = FlatBuilder::new();
        for rule in set.rules() {
            let connector = rule.connector;
            for attr in set.inbound_attributes(connector).into_iter().chain(set.metaverse_join_attributes()) {
                // By number, so that every attribute always holds the same.
                match attr.0 % 7 {
                    0 => {}
                    1 => builder.push(attr, ValueRef::Text("SMTP:joe@example.org"), 0),
                    2 => ["a", "B", " c "].iter().for_each(|text| builder.push(attr, ValueRef::Text(text), 0)),
                    3 => builder.push(attr, ValueRef::Number(-2_147_483_646), 0),
                    4 => builder.push(attr, ValueRef::Boolean(true), 0),
                    5 => builder.push(attr, ValueRef::Binary(&[1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0]), 0),
                    _ => builder.push(attr, ValueRef::LargeText(Blob::of(&large())), 0),
                }
            }
        }
        Self { kind: None, dn: if inbound { "CN=Joe,OU=A\\,B,DC=example,DC=org" } else { "" }, values: builder.finish() }
    }
}

fn large() -> Vec<u8> {
    vec![b'x'; INLINE_VALUE_MAX + 1]
}

impl AttributeSource for Sample {
    fn object_type(&self) -> ObjectType {
        self.kind.unwrap_or(ObjectType(0))
    }
    fn dn(&self) -> &str {
        self.dn
    }
    fn values(&self, attr: AttrId) -> Values<'_> {
        Values::all(&self.values, attr)
    }
    fn imported_values(&self, attr: AttrId) -> Values<'_> {
        self.values(attr)
    }
    fn count(&self, attr: AttrId) -> u64 {
        self.values.attribute(attr).count() as u64
    }
    fn references(&self, attr: AttrId) -> Vec<u64> {
        (0..u64::from(attr.0 % 3)).collect()
    }
    fn reference_dn(&self, target: u64) -> Option<String> {
        (target != 1).then(|| format!("CN=object {target},DC=example,DC=org"))
    }
    fn blob(&self, blob: Blob) -> Option<Vec<u8>> {
        Some(large()).filter(|content| Blob::of(content) == blob)
    }
}

/// Octets as a part of an Entra Connect configuration, in each of its forms: whatever can be taken makes rules that compile,
/// and everything else is in the report.
pub(crate) fn migration(data: &[u8]) {
    for name in ["SynchronizationRules/a.xml", "Connectors/a.xml", "GlobalSettings/MV.xml", "a.ps1", "a.json"] {
        let Ok(file) = ForeignFile::decode(name, data) else { continue };
        let mut report = Report::default();
        let Some(imported) = import(&[file], &ImportOptions::default(), &mut report) else { continue };
        assert!(!report.lines().is_empty(), "{name} made files and told nothing");
        for (name, text) in imported.files {
            let read = toml::from_str::<toml::Table>(&text);
            assert!(name.ends_with("json") || read.is_ok(), "{name}: {read:?}\n{text}");
        }
    }
}

/// Octets as any result of a replication call, and as what we keep between two cycles: refused, or within themselves.
pub(crate) fn drsuapi_reply(data: &[u8]) {
    if let Ok(reply) = drsuapi::Reply::read(data) {
        assert!(reply.len() * 32 <= data.len() && reply.links * 72 <= data.len());
        assert!(reply.known.as_ref().is_none_or(|known| known.len() * 32 <= data.len()));
        for attribute in drsuapi::Attribute::ALL {
            let id = reply.prefixes.id(attribute);
            for object in reply.objects() {
                let Some(found) = id.and_then(|id| object.attribute(id)) else { continue };
                assert!(found.values.iter().all(|value| value.len() <= data.len()));
            }
        }
        for object in reply.objects() {
            assert!(object.name.dn().len() <= data.len() * 2);
            assert!(object.name.rid().is_none() || object.name.sid.len() >= 12);
            object.attributes().for_each(|id| {
                if let Some(identifier) = reply.prefixes.identifier(id) {
                    assert!(identifier.len() <= data.len() + 2);
                }
            });
        }
    }
    if let Ok(reply) = drsuapi::ControllerReply::read(data) {
        assert!(reply.controllers.len() * 104 <= data.len());
    }
    let _ = drsuapi::BindReply::read(data);
    let _ = drsuapi::map_response(data);
    if let Ok(cookie) = drsuapi::Cookie::read(data) {
        assert_eq!(cookie.write(), data, "a cookie has one form");
    }
}

/// Octets as a packet of a server, and as a refusal of Kerberos: every part lies inside.
pub(crate) fn dcerpc_pdu(data: &[u8]) {
    let _ = kerberos::Refusal::read(data);
    let Ok(packet) = dcerpc::Packet::read(data) else { return };
    match packet {
        dcerpc::Packet::Bound(answer) => assert!(answer.token.len() <= data.len()),
        dcerpc::Packet::Response(response) => {
            assert!(response.body.end <= data.len() && response.padding <= response.body.len());
            assert!(response.trailer.as_ref().is_none_or(|trailer| trailer.end + response.header.token_length == data.len()));
            let mut joined = dcerpc::Reassembly::default();
            if joined.add(response.header, &data[response.body.clone()]).is_ok() {
                assert_eq!(joined.finish().as_slice(), &data[response.body]);
            }
        }
        dcerpc::Packet::BindRefused(_) | dcerpc::Packet::Fault { .. } => {}
    }
}
