//! The built-in rules by their settings: services, excluded attributes, schema, pilot groups, profiles, writeback.

use super::tests::{World, compile_with, connector, default_connectors, run, show, text, user};
use super::{
    CloudService, ConnectorKind, ConnectorProfile, Direction, FlowSource, LinkType, RuleProfile, RuleSettings, SchemaExtensions, SyncRule,
};
use crate::model::{AttrId, ConnectorId, Value};
use std::collections::BTreeSet;

fn world(settings: &RuleSettings) -> World {
    World::with(&default_connectors(), settings, "")
}

fn names(world: &World, wanted: impl Fn(&SyncRule) -> bool) -> Vec<&str> {
    world.set.rules().iter().filter(|rule| wanted(rule)).map(|rule| rule.name.as_str()).collect()
}

/// Holds the rules of each service against the published list of attributes per service.
#[test]
fn every_service_has_its_attributes() {
    // The schema of the cloud has no such attribute for the type.
    let lacking = [("facsimileTelephoneNumber", 'G')];
    let mut compared = 0;
    for (column, service) in CloudService::ALL.iter().enumerate() {
        let world = world(&RuleSettings { services: Some(vec![*service]), ..RuleSettings::default() });
        let name = |attr: AttrId| world.names.name(attr).to_lowercase();
        let flows = |of: &str| -> BTreeSet<String> {
            let rules = world.set.rules().iter().filter(|rule| rule.direction == Direction::Outbound);
            rules
                .filter(|rule| world.names.object_type_name(rule.cs_type).as_ref() == of)
                .flat_map(|rule| &rule.flows)
                .flat_map(|flow| match &flow.source {
                    FlowSource::Direct(source) => vec![name(flow.target), name(*source)],
                    _ => vec![name(flow.target)],
                })
                .collect()
        };
        let sent = [('U', flows("user")), ('C', flows("contact")), ('G', flows("group"))];
        let table = include_str!("../../fixtures/rules/service-attributes.tsv");
        for line in table.lines().filter(|line| !line.starts_with('#')) {
            let mut columns = line.split('\t');
            let attribute = columns.next().unwrap();
            // A row of numbered attributes stands for all of them.
            let attribute = attribute.replace("{1..15}", "15").replace("{1..5}", "5");
            let kinds = columns.nth(column).unwrap();
            for (kind, sent) in sent.iter().filter(|(kind, _)| kinds.contains(*kind)) {
                let wanted = if attribute == "samAccountName" { "accountname".to_owned() } else { attribute.to_lowercase() };
                if !lacking.contains(&(attribute.as_str(), *kind)) {
                    assert!(sent.contains(&wanted), "{}: {kind} {attribute}", service.as_str());
                }
                compared += 1;
            }
        }
    }
    assert!(compared > 500, "{compared}");
}

#[test]
fn a_service_that_is_not_wanted_sends_nothing_of_its_own() {
    let world = world(&RuleSettings { services: Some(vec![CloudService::Intune]), ..RuleSettings::default() });
    let outbound = names(&world, |rule| rule.name.starts_with("Out to AAD - User"));
    assert_eq!(outbound, ["Out to AAD - User Join", "Out to AAD - User Identity", "Out to AAD - User Intune"]);
    let exchange = world.set.disabled_rules().iter().find(|rule| rule.name == "Out to AAD - User ExchangeOnline").unwrap();
    assert_eq!(exchange.hindrance.as_deref(), Some("[rules] services leaves exchange-online out"));
}

#[test]
fn excluded_attributes_are_not_managed() {
    let world = world(&RuleSettings { excluded_attributes: vec!["MOBILE".to_owned()], ..RuleSettings::default() });
    let mobile = world.names.intern("mobile");
    let sent = |rule: &&SyncRule| rule.direction == Direction::Outbound && rule.flows.iter().any(|flow| flow.target == mobile);
    assert_eq!(world.set.rules().iter().filter(sent).count(), 0);
    assert!(world.set.outbound_attributes(ConnectorId(2)).iter().all(|attr| *attr != mobile));
    // Read it is, since an administrator's rule may want it.
    assert!(world.set.inbound_attributes(ConnectorId(1)).contains(&mobile));
    for (name, expected) in [
        (
            "sourceAnchor",
            "settings: error: sourceAnchor is always sent: no object can do without it\n  hint: remove it from [rules] exclude_attributes",
        ),
        ("moblie", "settings: error: [rules] exclude_attributes: the cloud has no attribute moblie\n  hint: did you mean mobile?"),
    ] {
        let settings = RuleSettings { excluded_attributes: vec![name.to_owned()], ..RuleSettings::default() };
        assert_eq!(show(&compile_with(&default_connectors(), &settings, "").unwrap_err()), expected);
    }
}

#[test]
fn the_schema_found_decides_which_rules_there_are() {
    let schema = SchemaExtensions { exchange: false, lync: false, devices: false };
    let plain = ConnectorProfile { schema, ..connector(1, "contoso.com", ConnectorKind::ActiveDirectory) };
    let world = World::with(&[plain, connector(2, "cloud", ConnectorKind::Cloud)], &RuleSettings::default(), "");
    let inbound = names(&world, |rule| rule.connector == ConnectorId(1));
    assert_eq!(
        inbound,
        [
            "In from AD - User Join",
            "In from AD - InetOrgPerson Join",
            "In from AD - User AccountEnabled",
            "In from AD - InetOrgPerson AccountEnabled",
            "In from AD - User Common",
            "In from AD - InetOrgPerson Common",
            "In from AD - Group Join",
            "In from AD - Group Common",
            "In from AD - Contact Join",
            "In from AD - Contact Common",
            "In from AD - ForeignSecurityPrincipal Join User",
            "In from AD - Computer Join",
        ]
    );
    let reasons: BTreeSet<&str> = world.set.disabled_rules().iter().filter_map(|rule| rule.hindrance.as_deref()).collect();
    assert!(
        reasons.contains("the directory has no Exchange schema") && reasons.contains("the directory's schema has no registered devices")
    );
}

#[test]
fn a_pilot_keeps_everybody_else_out() {
    let pilot_groups = vec!["CN=object 7,DC=example,DC=org".to_owned(), "CN=Second,DC=example,DC=org".to_owned()];
    let source = ConnectorProfile { pilot_groups, ..connector(1, "contoso.com", ConnectorKind::ActiveDirectory) };
    let world = World::with(&[source, connector(2, "cloud", ConnectorKind::Cloud)], &RuleSettings::default(), "");
    let filtered = |member_of: &[u64]| {
        let ann = user(&world.names, &[]).refer("memberOf", member_of);
        let person = world.merge("person", &[&ann]).unwrap();
        world.show(&person.values, "cloudFiltered")
    };
    assert_eq!(filtered(&[]), ["true"]);
    assert_eq!(filtered(&[6]), ["true"]);
    assert_eq!(filtered(&[6, 7]), [""; 0]);
    let wrong = ConnectorProfile { pilot_groups: vec!["pilot".to_owned()], ..connector(1, "contoso.com", ConnectorKind::ActiveDirectory) };
    let problems = compile_with(&[wrong], &RuleSettings::default(), "").unwrap_err();
    assert!(
        show(&problems).starts_with("settings: error: connector \"contoso.com\", [selection] groups: 'pilot': "),
        "{}",
        show(&problems)
    );
}

#[test]
fn the_password_only_profile_joins_and_neither_makes_nor_sends() {
    let world = world(&RuleSettings { profile: RuleProfile::PasswordOnly, ..RuleSettings::default() });
    let outbound: Vec<&SyncRule> = world.set.rules().iter().filter(|rule| rule.direction == Direction::Outbound).collect();
    let [rule] = outbound.as_slice() else { panic!("{outbound:?}") };
    assert!(rule.link == LinkType::Join && rule.flows.is_empty() && rule.password_sync);
    assert_eq!(show(world.set.lint()), "");
    let ann = user(&world.names, &[]);
    let person = world.metaverse("person", &world.merge("person", &[&ann]).unwrap());
    let scope = world.set.outbound_scope(ConnectorId(2), &person, &run()).unwrap();
    assert_eq!(world.rule_names(&scope), ["Out to AAD - User Password Only"]);
    let [request] = world.set.joins(&scope, &person).unwrap().try_into().unwrap();
    assert_eq!(request.groups.len(), 3, "anchor, sign-in name, address");
    let wanted = world.set.want(&scope, &person, false, &run()).unwrap();
    assert!(wanted.managed.is_empty() && wanted.references.is_empty() && wanted.dn.is_none());
}

#[test]
fn exchange_hybrid_writes_back_what_the_cloud_knows() {
    let world = world(&RuleSettings { exchange_hybrid: true, ..RuleSettings::default() });
    assert_eq!(world.set.targets(), [ConnectorId(1), ConnectorId(2)]);
    let person = |more: &[(&str, Value)]| {
        let mut values = vec![("sourceObjectType", text("User")), ("cloudMSExchSafeSendersHash", Value::Binary([1].as_slice().into()))];
        values.extend(more.iter().cloned());
        super::tests::Object::new(&world.names, "person", "", &values)
    };
    let wanted = |more: &[(&str, Value)]| {
        let person = person(more);
        let scope = world.set.outbound_scope(ConnectorId(1), &person, &run()).unwrap();
        world.set.want(&scope, &person, false, &run()).unwrap()
    };
    let senders = world.names.intern("msExchSafeSendersHash");
    let policies = world.names.intern("msExchUserHoldPolicies");
    let addresses = world.names.intern("proxyAddresses");
    let in_cloud = wanted(&[("cloudSOAExchMailbox", Value::Boolean(true)), ("cloudLegacyExchangeDN", text("/o=x/cn=ann"))]);
    assert!(in_cloud.managed.contains(&senders) && in_cloud.merged.contains(&addresses) && !in_cloud.managed.contains(&policies));
    assert_eq!(world.show(&in_cloud.values, "proxyAddresses"), ["\"x500:/o=x/cn=ann\""]);
    let at_home = wanted(&[("cloudMSExchUserHoldPolicies", text("hold"))]);
    assert!(!at_home.managed.contains(&senders) && at_home.managed.contains(&policies));
    assert!(names(&self::world(&RuleSettings::default()), |rule| rule.name.starts_with("Out to AD")).is_empty());
}

#[test]
fn an_unknown_condition_is_named() {
    let rule = "[[rule]]\nname = \"x\"\nwhen = \"service-exchnge-online\"\ndirection = \"inbound\"\nconnector = \"contoso.com\"\n\
                cs_type = \"user\"\nmv_type = \"person\"\nlink = \"join\"\norder = 5\ndirect = [\"cn\"]\n";
    let problems = compile_with(&default_connectors(), &RuleSettings::default(), rule).unwrap_err();
    assert_eq!(
        show(&problems),
        "custom.toml:3:8: error: rule \"x\": unknown condition \"service-exchnge-online\"\n  hint: did you mean \"service-exchange-online\"?"
    );
}

#[test]
fn a_flow_can_keep_what_its_source_no_longer_has() {
    let rule = |when: &str| {
        format!(
            "[[rule]]\nname = \"x\"\ndirection = \"outbound\"\nconnector = \"cloud\"\ncs_type = \"user\"\nmv_type = \"person\"\n\
             link = \"join\"\norder = 5\nflows = [{{ to = \"jobTitle\", from = \"title\"{when} }}, {{ to = \"mobile\", expr = 'Trim([mobile])'{when} }}]\n"
        )
        .replace("jobTitle", "title")
    };
    let managed = |when: &str, values: &[(&str, Value)]| {
        let world = World::with(
            &default_connectors(),
            &RuleSettings { profile: RuleProfile::PasswordOnly, ..RuleSettings::default() },
            &rule(when),
        );
        let person = super::tests::Object::new(&world.names, "person", "", values);
        let scope = world.set.outbound_scope(ConnectorId(2), &person, &run()).unwrap();
        let wanted = world.set.want(&scope, &person, false, &run()).unwrap();
        wanted.managed.iter().map(|attr| world.names.name(*attr).to_string()).collect::<BTreeSet<_>>()
    };
    let both = BTreeSet::from(["mobile".to_owned(), "title".to_owned()]);
    assert_eq!(managed("", &[]), both);
    assert_eq!(managed(", when_source_absent = \"clear\"", &[]), both);
    assert_eq!(managed(", when_source_absent = \"keep\"", &[]), BTreeSet::new());
    assert_eq!(managed(", when_source_absent = \"keep\"", &[("title", text("Boss"))]), BTreeSet::from(["title".to_owned()]));
}

#[test]
fn rules_do_not_read_secrets() {
    for flow in ["{ to = \"title\", expr = '\"x\" & [unicodePwd]' }", "{ to = \"title\", from = \"ms-Mcs-AdmPwd\" }"] {
        let rule = format!(
            "[[rule]]\nname = \"x\"\ndirection = \"inbound\"\nconnector = \"contoso.com\"\ncs_type = \"user\"\nmv_type = \"person\"\n\
             link = \"join\"\norder = 5\nflows = [{flow}]\n"
        );
        let shown = show(&compile_with(&default_connectors(), &RuleSettings::default(), &rule).unwrap_err());
        assert!(shown.contains("holds secrets, and rules do not read them\n  hint: passwords go their own way"), "{shown}");
    }
}
