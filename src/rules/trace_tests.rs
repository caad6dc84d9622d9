//! Traces: they agree with what synchronization does for whatever rules and objects, they name what fails, and they
//! show no secret.

use super::tests::{Object, compile_with, default_connectors, show, text};
use super::*;
use crate::model::{CsId, Timestamp, Value};
use proptest::prelude::*;
use std::fmt::Write as _;

const SOURCES: &[&str] = &[
    "from = 'givenName'",
    "from = 'sn'",
    "from = 'info'",
    "constant = 'fixed'",
    "expr = 'Trim([sn])'",
    "expr = '[givenName] & [sn]'",
    "expr = 'IIF(IsPresent([info]), [info], IgnoreThisFlow)'",
    "expr = 'IIF(IsPresent([info]), AuthoritativeNull, [sn])'",
    "expr = 'IIF([sn] = \"bad\", Error(\"no\"), [givenName])'",
    "expr = 'NULL'",
];
const TARGETS: &[(&str, bool)] = &[("displayName", false), ("title", false), ("proxyAddresses", true), ("otherTelephone", true)];

fn flow(inbound: bool) -> impl Strategy<Value = String> {
    let merge = prop_oneof![4 => Just(""), 2 => Just("merge"), 1 => Just("merge-case-insensitive")];
    (0..TARGETS.len(), 0..SOURCES.len(), prop::bool::weighted(0.2), prop::bool::weighted(0.2), merge).prop_map(
        move |(target, source, once, keep, merge)| {
            let (target, multi) = TARGETS[target];
            let source = SOURCES[source];
            let mut flow = format!("  {{ to = '{target}', {source}");
            if once {
                flow.push_str(", once = true");
            }
            if keep && !source.starts_with("constant") {
                flow.push_str(", when_source_absent = 'keep'");
            }
            // The cloud's title and displayName have one value, too.
            if multi && !merge.is_empty() && (inbound || target == "proxyAddresses") {
                flow.push_str(", merge = '");
                flow.push_str(merge);
                flow.push('\'');
            }
            flow + " },\n"
        },
    )
}

fn rules(inbound: bool) -> impl Strategy<Value = String> {
    let rule = (prop::collection::vec(flow(inbound), 1..5), prop::bool::weighted(0.3));
    prop::collection::vec(rule, 1..5).prop_map(move |rules| {
        let mut toml = String::new();
        for (number, (flows, scoped)) in rules.iter().enumerate() {
            let (direction, connector, cs_type) =
                if inbound { ("inbound", "contoso.com", "thing") } else { ("outbound", "cloud", "thing") };
            let scope = if *scoped { "scope = [[{ attr = 'info', op = 'ISNOTNULL' }]]\n" } else { "" };
            // Writing to a String cannot fail.
            let _ = writeln!(
                toml,
                "[[rule]]\nname = 'R{number}'\ndirection = '{direction}'\nconnector = '{connector}'\ncs_type = '{cs_type}'\nmv_type = 'thing'\nlink = 'join'\norder = {number}\n{scope}flows = [\n{}]",
                flows.concat()
            );
        }
        toml
    })
}

/// Attributes of one object.
type Attributes = Vec<(&'static str, Value)>;

fn values() -> impl Strategy<Value = Attributes> {
    let pool = || prop_oneof![Just("Ann"), Just("ann"), Just("bad"), Just(" "), Just("Other")];
    let attribute = |name: &'static str| prop::option::of(pool()).prop_map(move |value| value.map(|value| (name, text(value))));
    (attribute("givenName"), attribute("sn"), attribute("info")).prop_map(|(a, b, c)| [a, b, c].into_iter().flatten().collect())
}

fn run() -> RunParameters {
    RunParameters { now: Timestamp::from_seconds(1_700_000_000), ..RunParameters::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_trace_names_the_origins_that_contribute_finds(
        toml in rules(true),
        before in (values(), values()),
        after in (values(), values()),
        fresh in (any::<bool>(), any::<bool>()),
    ) {
        // Merge types that differ within one set are refused by the evaluation, not by compiling.
        let set = compile_with(&default_connectors(), &RuleSettings::default(), &toml).unwrap_or_else(|problems| panic!("{toml}\n{}", show(&problems)));
        let names = Arc::clone(&set.names);
        let kind = names.object_type("thing");
        let contribution = |values: &(Attributes, Attributes), fresh: (bool, bool), current: Option<&MvObject>, traced: bool| {
            let objects = [&values.0, &values.1].map(|values| Object::new(&names, "thing", "CN=t,DC=x", values));
            let scopes = [&objects[0], &objects[1]].map(|object| set.inbound_scope(ConnectorId(1), object, &run()).expect("scopes hold"));
            let contributors: Vec<Contributor<'_>> = objects.iter().zip(&scopes).zip([fresh.0, fresh.1]).enumerate()
                .map(|(index, ((object, scope), new_link))| Contributor { id: CsId::new(ConnectorId(1), index as u64 + 1), source: object, scope, new_link })
                .collect();
            let trace = if traced { set.trace_contribution(kind, &contributors, current, None, &run()) } else { Vec::new() };
            (set.contribute(kind, &contributors, current, &run()), trace)
        };
        let first = contribution(&before, (true, true), None, false).0.unwrap_or_default();
        let current = MvObject { id: crate::model::MvId(1), object_type: kind, values: first.values, lineage: first.lineage };
        let (contributed, trace) = contribution(&after, fresh, Some(&current), true);
        let fails = trace.iter().any(|attribute| attribute.decision == AttributeDecision::Fails);
        match contributed {
            Err(error) => prop_assert!(fails, "{toml}\n{error}\n{trace:#?}"),
            Ok(contributed) => {
                prop_assert!(!fails, "{toml}\n{trace:#?}");
                let found: Vec<(AttrId, RuleId, CsId)> = contributed.lineage.iter().map(|entry| (entry.attr, entry.rule, entry.source)).collect();
                let told: Vec<(AttrId, RuleId, CsId)> =
                    trace.iter().flat_map(|attribute| attribute.origins.iter().map(|(rule, source)| (attribute.attr, *rule, *source))).collect();
                prop_assert_eq!(found, told, "{}\n{:#?}", toml, trace);
                for attribute in &trace {
                    let wins = attribute.flows.iter().filter(|flow| flow.verdict == Verdict::Won).count();
                    prop_assert!(wins <= 1, "{:#?}", attribute);
                    let has = contributed.values.attribute(attribute.attr).next().is_some();
                    let told = matches!(attribute.decision, AttributeDecision::Flows | AttributeDecision::Kept);
                    prop_assert_eq!(has, told, "{}\n{:#?}", toml, attribute);
                }
            }
        }
    }

    #[test]
    fn a_trace_names_the_rule_that_decides_an_attribute_of_a_target(toml in rules(false), values in values(), creating in any::<bool>()) {
        let toml = toml.replace("'info'", "'department'").replace("[info]", "[department]");
        let set = compile_with(&default_connectors(), &RuleSettings::default(), &toml).unwrap_or_else(|problems| panic!("{toml}\n{}", show(&problems)));
        let values: Vec<_> = values.into_iter().map(|(name, value)| (if name == "info" { "department" } else { name }, value)).collect();
        let object = Object::new(&set.names, "thing", "", &values);
        let scope = set.outbound_scope(ConnectorId(2), &object, &run()).expect("scopes hold");
        let trace = set.trace_want(&scope, &object, creating, None, &run());
        match set.want(&scope, &object, creating, &run()) {
            Err(error) => prop_assert!(trace.iter().any(|attribute| attribute.decision == AttributeDecision::Fails), "{toml}\n{error}\n{trace:#?}"),
            Ok(wanted) => {
                let found: Vec<(AttrId, RuleId)> = wanted.managed.iter().copied().zip(wanted.decided_by.iter().copied()).collect();
                let told: Vec<(AttrId, RuleId)> =
                    trace.iter().filter_map(|attribute| attribute.origins.first().map(|(rule, _)| (attribute.attr, *rule))).collect();
                prop_assert_eq!(found, told, "{}\n{:#?}", toml, trace);
                for attribute in &trace {
                    let has = wanted.values.attribute(attribute.attr).next().is_some();
                    prop_assert_eq!(has, attribute.decision == AttributeDecision::Flows, "{}\n{:#?}", toml, attribute);
                }
            }
        }
    }
}

const CUSTOM: &str = r#"
[[rule]]
name = "In from contoso - Contractors"
direction = "inbound"
connector = "contoso.com"
cs_type = "user"
mv_type = "person"
link = "join"
order = 10
scope = [
  [{ attr = "employeeType", op = "EQUAL", value = "contractor" }, { attr = "dn", op = "ENDSWITH", value = "OU=%Domain.Netbios%,DC=x" }],
  [{ attr = "memberOf", op = "ISMEMBEROF", value = "CN=object 7,DC=example,DC=org" }],
]
join = [[{ cs = "mail", mv = "mail" }, { cs = "employeeID", mv = "employeeID" }]]
flows = [
  { to = "displayName", expr = '[givenName] & " (" & [company] & ")"' },
  { to = "department", expr = 'DNComponent([dn], 9)' },
  { to = "manager", from = "manager" },
]
"#;

#[test]
fn a_rule_is_told_clause_by_clause() {
    for disabled in [false, true] {
        let custom = if disabled { CUSTOM.replace("order = 10", "order = 10\nenabled = false") } else { CUSTOM.to_owned() };
        let set =
            compile_with(&default_connectors(), &RuleSettings::default(), &custom).unwrap_or_else(|problems| panic!("{}", show(&problems)));
        let more =
            [("employeeType", text("Contractor")), ("mail", text("ann@x")), ("givenName", text("Ann")), ("company", text("Initech"))];
        let object = Object::new(&set.names, "user", "CN=Ann,OU=Contoso,DC=x", &more).refer("memberOf", &[7]).refer("manager", &[3]);
        let rule = set.rules().iter().chain(set.disabled_rules()).find(|rule| rule.name.ends_with("Contractors")).expect("it is there");
        let mut run = run();
        run.parameters.entry(ConnectorId(1)).or_default().insert("Domain.Netbios".to_owned(), "CONTOSO".to_owned());
        let trace = set.trace_rule(rule.id, &object, &run).expect("the rule is known");
        assert!(trace.in_scope && trace.enabled != disabled);
        assert!(trace.scope.iter().all(|group| group.holds), "{trace:#?}");
        let clause = &trace.scope[0].clauses[1];
        assert_eq!((clause.operator, clause.operand.as_str()), ("ENDSWITH", "OU=CONTOSO,DC=x"));
        assert_eq!(trace.scope[1].clauses[0].found.to_string(), "CN=object 7,DC=example,DC=org");
        let group = &trace.join[0];
        assert!(!group.usable && group.pairs[0].key.as_ref().is_some_and(|key| key.value == "ann@x"));
        assert_eq!(group.pairs[1].lacks.as_deref(), Some("absent"));
        let flow = |target: &str| trace.flows.iter().find(|flow| flow.target == target).expect("the flow is there");
        assert!(matches!(&flow("displayName").outcome, FlowOutcome::Values(found) if found.to_string() == "\"Ann (Initech)\""));
        assert_eq!(flow("displayName").inputs.len(), 2);
        assert!(
            matches!(&flow("department").outcome, FlowOutcome::Failed { code, detail } if code == "dn-index-out-of-bounds" && detail.contains('^'))
        );
        assert!(matches!(&flow("manager").outcome, FlowOutcome::Values(found) if found.values[0].kind == "reference"));
    }
}

#[test]
fn long_and_binary_values_are_shortened() {
    let long = "x".repeat(500);
    let names = Arc::new(Names::new());
    let object = Object::new(&names, "user", "CN=t", &[]);
    let shown = |scalar: Scalar<'_>| shown::shown(&object, &scalar).value;
    assert_eq!(shown(Scalar::text(long)).chars().count(), 121);
    assert_eq!(shown(Scalar::Binary((&[7u8; 40][..]).into())), format!("0x{}… (40 octets)", "07".repeat(16)));
    assert_eq!(shown(Scalar::Date(133_500_000_000_000_000)), "2024-01-17 21:20:00Z");
}

#[test]
fn losers_say_what_they_would_give_and_who_decided() {
    let toml = r"
[[rule]]
name = 'High'
direction = 'inbound'
connector = 'contoso.com'
cs_type = 'thing'
mv_type = 'thing'
link = 'join'
order = 1
flows = [{ to = 'displayName', from = 'givenName' }, { to = 'title', from = 'title', when_source_absent = 'keep' }]
[[rule]]
name = 'Low'
direction = 'inbound'
connector = 'contoso.com'
cs_type = 'thing'
mv_type = 'thing'
link = 'join'
order = 2
flows = [{ to = 'displayName', from = 'sn' }, { to = 'title', expr = 'NULL' }]
";
    let set = compile_with(&default_connectors(), &RuleSettings::default(), toml).unwrap_or_else(|problems| panic!("{}", show(&problems)));
    let object = Object::new(&set.names, "thing", "CN=t", &[("givenName", text("Ann")), ("sn", text("Other"))]);
    let scope = set.inbound_scope(ConnectorId(1), &object, &run()).unwrap();
    let contributor = Contributor { id: CsId::new(ConnectorId(1), 1), source: &object, scope: &scope, new_link: false };
    let only = |name: &str| {
        let mut found = set.trace_contribution(set.names.object_type("thing"), &[contributor], None, set.names.find(name), &run());
        assert_eq!(found.len(), 1);
        found.remove(0)
    };
    let name = only("displayName");
    assert_eq!(name.flows.iter().map(|flow| flow.verdict).collect::<Vec<_>>(), [Verdict::Won, Verdict::NotAsked]);
    assert_eq!(name.flows[1].decided_by.as_deref(), Some("High"));
    assert!(matches!(&name.flows[1].outcome, FlowOutcome::Values(found) if found.to_string() == "\"Other\""));
    let title = only("title");
    assert_eq!(title.decision, AttributeDecision::Empty);
    assert_eq!(title.flows[0].outcome, FlowOutcome::SourceAbsent);
    assert_eq!(title.flows.iter().map(|flow| flow.verdict).collect::<Vec<_>>(), [Verdict::Ignored, Verdict::GaveNothing]);
}

#[test]
fn blanks_are_nothing_to_a_flow_that_trims_and_a_value_to_one_that_copies() {
    let rule = |name: &str, order: u32, flow: &str| {
        format!(
            "[[rule]]\nname = '{name}'\ndirection = 'inbound'\nconnector = 'contoso.com'\ncs_type = 'thing'\nmv_type = 'thing'\nlink = 'join'\norder = {order}\nflows = [{{ to = 'title', {flow} }}]\n"
        )
    };
    for (first, second, winner) in [("expr = 'Trim([sn])'", "from = 'sn'", "Second"), ("from = 'sn'", "expr = 'Trim([sn])'", "First")] {
        let toml = rule("First", 1, first) + &rule("Second", 2, second);
        let set =
            compile_with(&default_connectors(), &RuleSettings::default(), &toml).unwrap_or_else(|problems| panic!("{}", show(&problems)));
        let object = Object::new(&set.names, "thing", "CN=t", &[("sn", text(" "))]);
        let scope = set.inbound_scope(ConnectorId(1), &object, &run()).unwrap();
        let contributor = Contributor { id: CsId::new(ConnectorId(1), 1), source: &object, scope: &scope, new_link: false };
        let contribution = set.contribute(set.names.object_type("thing"), &[contributor], None, &run()).unwrap();
        let by: Vec<&str> = contribution.lineage.iter().map(|entry| set.rule(entry.rule).unwrap().name.as_str()).collect();
        assert_eq!(by, [winner], "{first} before {second}");
    }
}
