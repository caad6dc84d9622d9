//! How long the built-in rules take over one user and one group: scope, inbound contribution, outbound image.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use criterion::{Criterion, criterion_group, criterion_main};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use syncline::model::{
    AttrId, AttributeSource, Blob, ConnectorId, CsId, FlatBuilder, FlatValues, Names, ObjectType, Timestamp, ValueRef, Values,
};
use syncline::rules::{CompileInput, ConnectorKind, ConnectorProfile, Contributor, RuleSet, RuleSettings, RunParameters};

struct Object {
    kind: ObjectType,
    dn: String,
    values: FlatValues,
    references: BTreeMap<AttrId, Vec<u64>>,
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

fn rules(criterion: &mut Criterion) {
    let names = Arc::new(Names::new());
    let connector = |id: u16, name: &str, kind| ConnectorProfile::new(ConnectorId(id), name, kind);
    let connectors = [connector(1, "contoso.com", ConnectorKind::ActiveDirectory), connector(2, "cloud", ConnectorKind::Cloud)];
    let files = RuleSet::default_files();
    let settings = RuleSettings::default();
    let input = CompileInput { files: &files, connectors: &connectors, names: &names, settings: &settings };
    let set = RuleSet::compile(input).expect("the built-in rules compile");
    let parameters =
        [("Domain.FQDN", "contoso.com"), ("Domain.Netbios", "CONTOSO"), ("Forest.FQDN", "contoso.com"), ("Forest.Netbios", "CONTOSO")]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
    let run = RunParameters { now: Timestamp::from_seconds(1_700_000_000), parameters: BTreeMap::from([(ConnectorId(1), parameters)]) };

    let ann = user(&names);
    let person_type = names.object_type("person");
    let scope = set.inbound_scope(ConnectorId(1), &ann, &run).expect("scopes hold");
    let contributor = Contributor { id: CsId::new(ConnectorId(1), 1), source: &ann, scope: &scope, new_link: true };
    let contribution = set.contribute(person_type, &[contributor], None, &run).expect("the user flows");
    let person = Object { kind: person_type, dn: String::new(), values: contribution.values, references: ann.references.clone() };
    let out = set.outbound_scope(ConnectorId(2), &person, &run).expect("scopes hold");

    criterion.bench_function("rules/compile the built-in set", |bencher| {
        bencher.iter(|| RuleSet::compile(black_box(input)).expect("the built-in rules compile"));
    });
    criterion.bench_function("rules/inbound scope of a user", |bencher| {
        bencher.iter(|| set.inbound_scope(ConnectorId(1), black_box(&ann), &run).expect("scopes hold"));
    });
    criterion.bench_function("rules/contribute a user", |bencher| {
        bencher.iter(|| set.contribute(person_type, black_box(&[contributor]), None, &run).expect("the user flows"));
    });
    criterion.bench_function("rules/outbound scope of a person", |bencher| {
        bencher.iter(|| set.outbound_scope(ConnectorId(2), black_box(&person), &run).expect("scopes hold"));
    });
    criterion.bench_function("rules/want a cloud user", |bencher| {
        bencher.iter(|| set.want(&out, black_box(&person), true, &run).expect("the person flows"));
    });
    let values = [
        ("objectGUID", ValueRef::Binary(&GUID)),
        ("objectSid", ValueRef::Binary(&SID)),
        ("cn", ValueRef::Text("Team")),
        ("sAMAccountName", ValueRef::Text("team")),
        ("groupType", ValueRef::Number(-2_147_483_640)),
        ("description", ValueRef::Text("A group")),
    ];
    let group = object(&names, "group", &values, &[("member", &[1, 2, 3, 4, 5])]);
    let scope = set.inbound_scope(ConnectorId(1), &group, &run).expect("scopes hold");
    let contributor = Contributor { id: CsId::new(ConnectorId(1), 2), source: &group, scope: &scope, new_link: true };
    let group_type = names.object_type("group");
    criterion.bench_function("rules/contribute a group", |bencher| {
        bencher.iter(|| set.contribute(group_type, black_box(&[contributor]), None, &run).expect("the group flows"));
    });
}

criterion_group!(benches, rules);
criterion_main!(benches);
