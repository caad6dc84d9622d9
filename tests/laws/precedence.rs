//! A second reading of precedence: sync-engine section 3.6 (and 3.8 for targets) written down naively, and held against the
//! rules on random rule sets, contributors and histories.
//!
//! What the specification leaves open is as docs/rules.md says: a value kept by `IgnoreThisFlow` or `once` goes with its
//! origin; outbound, an attribute is left alone when every flow says so, or when it was set once and nobody has another value.

use crate::{A, B, T, rules_of};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use syncline::model::{
    AttrId, AttributeSource, Blob, ConnectorId, CsId, FlatBuilder, FlatValues, MvId, MvObject, Names, ObjectType, RuleId, Timestamp,
    ValueRef, Values,
};
use syncline::rules::{Contributor, RuleSet, RunParameters, ScopeSet};

/// Where a flow's value comes from.
#[derive(Clone, Copy, Debug)]
enum Source {
    Direct(&'static str),
    Constant(&'static str),
    Null,
    AuthoritativeNull,
    Ignore,
    /// The attribute, or `IgnoreThisFlow` without it.
    OrIgnore(&'static str),
    /// The attribute, or `AuthoritativeNull` without it.
    OrAuthoritativeNull(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Merge {
    Update,
    Union,
    CaseInsensitive,
}

#[derive(Clone, Debug)]
struct ModelFlow {
    target: &'static str,
    source: Source,
    once: bool,
    keep: bool,
    merge: Merge,
}

#[derive(Clone, Debug)]
struct ModelRule {
    connector: ConnectorId,
    /// It wants objects whose attribute `in` has this value.
    scope: Option<&'static str>,
    flows: Vec<ModelFlow>,
}

/// An object as both sides read it.
#[derive(Clone, Debug, Default)]
struct ModelObject(BTreeMap<&'static str, Vec<&'static str>>);

/// Values of one attribute with the rule (by its place) and connector that gave each.
type Given = Vec<(String, (usize, ConnectorId))>;

/// What one flow says.
enum Answer {
    Values(Vec<&'static str>),
    Nothing,
    AuthoritativeNull,
    Ignore,
    /// It flows once, and that was earlier.
    Over,
}

impl ModelRule {
    fn wants(&self, object: &ModelObject) -> bool {
        self.scope.is_none_or(|value| object.values("in").contains(&value))
    }
}

impl ModelObject {
    fn values(&self, name: &str) -> Vec<&'static str> {
        self.0.get(name).cloned().unwrap_or_default()
    }
}

impl ModelFlow {
    fn ask(&self, object: &ModelObject) -> Answer {
        let attribute = |name: &str, otherwise: Answer| {
            let values = object.values(name);
            if values.iter().all(|value| value.is_empty()) { otherwise } else { Answer::Values(values) }
        };
        let answer = match self.source {
            Source::Direct(name) => attribute(name, Answer::Nothing),
            Source::Constant(text) => Answer::Values(vec![text]),
            Source::Null => Answer::Nothing,
            Source::AuthoritativeNull => Answer::AuthoritativeNull,
            Source::Ignore => Answer::Ignore,
            Source::OrIgnore(name) => attribute(name, Answer::Ignore),
            Source::OrAuthoritativeNull(name) => attribute(name, Answer::AuthoritativeNull),
        };
        if self.keep && matches!(answer, Answer::Nothing) { Answer::Ignore } else { answer }
    }
}

/// How the flows into one attribute come out.
#[derive(Debug, PartialEq)]
enum Verdict {
    /// These values; none: the attribute is to be empty.
    Decided(Given),
    /// Nobody gave a value: so many had none, are to be ignored, were over.
    Open { nothing: usize, ignored: usize, over: usize },
    /// The object fails.
    Fails(&'static str),
}

/// Flows in order of precedence, each with what it says; `single`: the attribute takes one value.
fn decide(flows: &[(usize, ConnectorId, &ModelFlow, Answer)], single: bool) -> Verdict {
    let (mut nothing, mut ignored, mut over) = (0, 0, 0);
    let Some((_, _, first, _)) = flows.first() else { return Verdict::Open { nothing, ignored, over } };
    if flows.iter().any(|(_, _, flow, _)| flow.merge != first.merge) {
        return Verdict::Fails("merge-type-conflict");
    }
    let mut given = Given::new();
    for (rule, connector, _, answer) in flows {
        match answer {
            Answer::Values(values) => {
                if single && values.len() > 1 {
                    return Verdict::Fails("flow-multi-values-to-single-value");
                }
                for value in values {
                    let same = |(other, _): &(String, _)| match first.merge {
                        Merge::CaseInsensitive => other.eq_ignore_ascii_case(value),
                        _ => other == value,
                    };
                    if !given.iter().any(same) {
                        given.push(((*value).to_owned(), (*rule, *connector)));
                    }
                }
                if first.merge == Merge::Update {
                    return Verdict::Decided(given);
                }
            }
            Answer::AuthoritativeNull => return Verdict::Decided(given),
            Answer::Nothing => nothing += 1,
            Answer::Ignore => ignored += 1,
            Answer::Over => over += 1,
        }
    }
    if given.is_empty() { Verdict::Open { nothing, ignored, over } } else { Verdict::Decided(given) }
}

/// What a metaverse object should hold after one evaluation, attribute by attribute.
fn expect_metaverse(
    rules: &[ModelRule],
    objects: &BTreeMap<ConnectorId, (ModelObject, bool)>,
    current: &BTreeMap<&'static str, Given>,
) -> Result<BTreeMap<&'static str, Given>, BTreeSet<&'static str>> {
    let (mut result, mut errors) = (BTreeMap::new(), BTreeSet::new());
    for target in TARGETS {
        let before = current.get(target).cloned().unwrap_or_default();
        let mut flows = Vec::new();
        for (place, rule) in rules.iter().enumerate() {
            let Some((object, new)) = objects.get(&rule.connector).filter(|(object, _)| rule.wants(object)) else { continue };
            for flow in rule.flows.iter().filter(|flow| flow.target == target) {
                let answer = if flow.once && !new {
                    let own = before.iter().filter(|(_, origin)| *origin == (place, rule.connector));
                    let own: Vec<&'static str> = own.map(|(value, _)| *VALUES.iter().find(|known| **known == value).unwrap()).collect();
                    if own.is_empty() { Answer::Over } else { Answer::Values(own) }
                } else {
                    flow.ask(object)
                };
                flows.push((place, rule.connector, flow, answer));
            }
        }
        let origins: BTreeSet<(usize, ConnectorId)> = flows.iter().map(|(place, connector, ..)| (*place, *connector)).collect();
        let given = match decide(&flows, target == "title") {
            Verdict::Decided(given) => given,
            Verdict::Open { ignored, .. } if ignored > 0 => before.into_iter().filter(|(_, origin)| origins.contains(origin)).collect(),
            Verdict::Open { .. } => Given::new(),
            Verdict::Fails(code) => {
                errors.insert(code);
                continue;
            }
        };
        if !given.is_empty() {
            result.insert(target, given);
        }
    }
    if errors.is_empty() { Ok(result) } else { Err(errors) }
}

const TARGETS: [&str; 2] = ["many", "title"];
const VALUES: [&str; 6] = ["", "a", "A", "b", "B", "c"];

// From here on: making rules and objects, and running the program's own reading of them.

/// An object as the rules read it.
#[derive(Clone)]
struct Readable {
    kind: ObjectType,
    values: FlatValues,
}

impl Readable {
    fn new(names: &Names, kind: &str, object: &ModelObject) -> Self {
        let mut builder = FlatBuilder::new();
        for (name, values) in &object.0 {
            for value in values {
                builder.push(names.intern(name), ValueRef::Text(value), 0);
            }
        }
        Self { kind: names.object_type(kind), values: builder.finish() }
    }
}

impl AttributeSource for Readable {
    fn object_type(&self) -> ObjectType {
        self.kind
    }
    fn dn(&self) -> &'static str {
        ""
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
    fn references(&self, _: AttrId) -> Vec<u64> {
        Vec::new()
    }
    fn reference_dn(&self, _: u64) -> Option<String> {
        None
    }
    fn blob(&self, _: Blob) -> Option<Vec<u8>> {
        None
    }
}

fn to_toml(rules: &[ModelRule], inbound: bool) -> String {
    let mut text = "[[metaverse_attribute]]\nname = \"many\"\ntype = \"string\"\nmulti = true\n".to_owned();
    for name in ["x", "y", "in"] {
        writeln!(text, "[[metaverse_attribute]]\nname = \"{name}\"\ntype = \"string\"\nmulti = true").unwrap();
    }
    for (place, rule) in rules.iter().enumerate() {
        let (direction, connector) = if inbound { ("inbound", if rule.connector == A { "A" } else { "B" }) } else { ("outbound", "T") };
        writeln!(text, "[[rule]]\nname = \"{place}\"\ndirection = \"{direction}\"\nconnector = \"{connector}\"\ncs_type = \"user\"")
            .unwrap();
        writeln!(text, "mv_type = \"person\"\nlink = \"join\"\norder = {}", 10 + place).unwrap();
        if let Some(value) = rule.scope {
            writeln!(text, "scope = [[{{ attr = \"in\", op = \"EQUAL\", value = \"{value}\" }}]]").unwrap();
        }
        text.push_str("flows = [\n");
        for flow in &rule.flows {
            let source = match flow.source {
                Source::Direct(name) => format!("from = \"{name}\""),
                Source::Constant(value) => format!("constant = \"{value}\""),
                Source::Null => "expr = 'NULL'".to_owned(),
                Source::AuthoritativeNull => "expr = 'AuthoritativeNull'".to_owned(),
                Source::Ignore => "expr = 'IgnoreThisFlow'".to_owned(),
                Source::OrIgnore(name) => format!("expr = 'IIF(IsPresent([{name}]), [{name}], IgnoreThisFlow)'"),
                Source::OrAuthoritativeNull(name) => format!("expr = 'IIF(IsPresent([{name}]), [{name}], AuthoritativeNull)'"),
            };
            let merge = match flow.merge {
                Merge::Update => "",
                Merge::Union => ", merge = \"merge\"",
                Merge::CaseInsensitive => ", merge = \"merge-case-insensitive\"",
            };
            let (once, keep) =
                (if flow.once { ", once = true" } else { "" }, if flow.keep { ", when_source_absent = \"keep\"" } else { "" });
            writeln!(text, "  {{ to = \"{}\", {source}{merge}{once}{keep} }},", flow.target).unwrap();
        }
        text.push_str("]\n");
    }
    text
}

fn attribute() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["x", "y"])
}

fn source() -> impl Strategy<Value = Source> {
    prop_oneof![
        6 => attribute().prop_map(Source::Direct),
        1 => prop::sample::select(VALUES[1..].to_vec()).prop_map(Source::Constant),
        1 => Just(Source::Null),
        1 => Just(Source::AuthoritativeNull),
        1 => Just(Source::Ignore),
        2 => attribute().prop_map(Source::OrIgnore),
        2 => attribute().prop_map(Source::OrAuthoritativeNull),
    ]
}

fn flows(mode: Merge) -> impl Strategy<Value = Vec<ModelFlow>> {
    let flow = move |target: &'static str| {
        (source(), prop::bool::weighted(0.2), prop::bool::weighted(0.2), prop::bool::weighted(0.03)).prop_map(
            move |(source, once, keep, odd)| {
                let merge = match (target, odd) {
                    ("title", _) => Merge::Update,
                    (_, false) => mode,
                    (_, true) => {
                        if mode == Merge::Union {
                            Merge::Update
                        } else {
                            Merge::Union
                        }
                    }
                };
                ModelFlow { target, source, once, keep, merge }
            },
        )
    };
    (prop::option::weighted(0.8, flow("many")), prop::option::weighted(0.7, flow("title")))
        .prop_map(|(many, title)| many.into_iter().chain(title).collect())
}

fn rule_sets() -> impl Strategy<Value = Vec<ModelRule>> {
    prop::sample::select(vec![Merge::Update, Merge::Union, Merge::CaseInsensitive]).prop_flat_map(|mode| {
        let rule = (any::<bool>(), prop::option::weighted(0.4, Just("b")), flows(mode)).prop_map(|(first, scope, flows)| ModelRule {
            connector: if first { A } else { B },
            scope,
            flows,
        });
        prop::collection::vec(rule, 1..6)
    })
}

fn objects() -> impl Strategy<Value = ModelObject> {
    let values = || {
        prop_oneof![
            1 => Just(vec![]),
            1 => Just(vec![""]),
            5 => prop::sample::select(VALUES[1..].to_vec()).prop_map(|value| vec![value]),
            2 => prop::sample::subsequence(VALUES[1..].to_vec(), 2..4),
        ]
    };
    (values(), values(), prop::bool::weighted(0.7)).prop_map(|(x, y, inside)| {
        let mut object = ModelObject::default();
        for (name, values) in [("x", x), ("y", y), ("in", if inside { vec!["b"] } else { vec![] })] {
            if !values.is_empty() {
                // Attributes hold their values in canonical order.
                object.0.insert(name, values.into_iter().collect::<BTreeSet<_>>().into_iter().collect());
            }
        }
        object
    })
}

fn place(set: &RuleSet, rule: RuleId) -> usize {
    set.rule(rule).unwrap().name.parse().unwrap()
}

fn read_metaverse(set: &RuleSet, names: &Names, object: &MvObject) -> BTreeMap<&'static str, Given> {
    let mut found = BTreeMap::new();
    for target in TARGETS {
        let attr = names.intern(target);
        let origins: Vec<_> = object.lineage.iter().filter(|lineage| lineage.attr == attr).collect();
        let given: Given = object
            .values
            .attribute(attr)
            .map(|item| {
                let origin = origins[usize::from(item.flags)];
                (crate::world::text(item.value), (place(set, origin.rule), origin.source.connector()))
            })
            .collect();
        if !given.is_empty() {
            found.insert(target, given);
        }
    }
    found
}

fn sorted(mut found: BTreeMap<&'static str, Given>) -> BTreeMap<&'static str, Given> {
    for given in found.values_mut() {
        given.sort();
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn the_metaverse_holds_what_the_specification_says(
        rules in rule_sets(),
        history in prop::collection::vec((prop::option::weighted(0.8, objects()), prop::option::weighted(0.8, objects())), 1..5),
    ) {
        let names = Arc::new(Names::new());
        let set = rules_of(&names, &to_toml(&rules, true));
        let run = RunParameters::default();
        let (mut model, mut current): (BTreeMap<&'static str, Given>, Option<MvObject>) = Default::default();
        let mut linked: BTreeSet<ConnectorId> = BTreeSet::new();
        for (step, (a, b)) in history.into_iter().enumerate() {
            let objects: BTreeMap<ConnectorId, (ModelObject, bool)> = [(A, a), (B, b)]
                .into_iter()
                .filter_map(|(connector, object)| Some((connector, (object?, !linked.contains(&connector)))))
                .collect();
            let readable: Vec<(ConnectorId, Readable, ScopeSet, bool)> = objects
                .iter()
                .map(|(connector, (object, new))| {
                    let source = Readable::new(&names, "user", object);
                    let scope = set.inbound_scope(*connector, &source, &run).unwrap();
                    (*connector, source, scope, *new)
                })
                .collect();
            let contributors: Vec<Contributor<'_>> = readable
                .iter()
                .map(|(connector, source, scope, new)| Contributor { id: CsId::new(*connector, 1), source, scope, new_link: *new })
                .collect();
            let outcome = set.contribute(names.object_type("person"), &contributors, current.as_ref(), &run);
            match (expect_metaverse(&rules, &objects, &model), outcome) {
                (Ok(expected), Ok(found)) => {
                    let object = MvObject { id: MvId(1), object_type: names.object_type("person"), values: found.values, lineage: found.lineage };
                    prop_assert_eq!(sorted(read_metaverse(&set, &names, &object)), sorted(expected.clone()), "step {}", step);
                    model = expected;
                    current = Some(object);
                    linked = objects.keys().copied().collect();
                }
                (Err(codes), Err(error)) => prop_assert!(codes.contains(error.code.as_str()), "step {step}: {codes:?} expected, {error:?}"),
                (expected, found) => prop_assert!(false, "step {}: {:?} expected, {:?} found", step, expected, found),
            }
        }
    }

    #[test]
    fn a_target_object_holds_what_the_specification_says(rules in rule_sets(), object in objects(), creating in any::<bool>()) {
        let names = Arc::new(Names::new());
        let set = rules_of(&names, &to_toml(&rules, false));
        let run = RunParameters { now: Timestamp::from_seconds(1), ..RunParameters::default() };
        let source = Readable::new(&names, "person", &object);
        let scope = set.outbound_scope(T, &source, &run).unwrap();
        let outcome = set.want(&scope, &source, creating, &run);
        let mut codes = BTreeSet::new();
        let mut expected = BTreeMap::new();
        for target in TARGETS {
            let mut flows = Vec::new();
            for (place, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.wants(&object)) {
                let answer = |flow: &ModelFlow| if flow.once && !creating { Answer::Over } else { flow.ask(&object) };
                flows.extend(rule.flows.iter().filter(|flow| flow.target == target).map(|flow| (place, T, flow, answer(flow))));
            }
            // Nobody declares the target's attributes, so nobody can say that one takes a single value.
            match decide(&flows, false) {
                Verdict::Fails(code) => drop(codes.insert(code)),
                Verdict::Decided(given) => drop(expected.insert(target, given)),
                // An ignored flow is as if it did not exist; an empty one is an answer, but does not clear what was set
                // once, when the object was made.
                Verdict::Open { nothing, over: 0, .. } if nothing > 0 => drop(expected.insert(target, Given::new())),
                Verdict::Open { .. } => {}
            }
        }
        let wanted = match outcome {
            Err(error) => {
                prop_assert!(codes.contains(error.code.as_str()), "{codes:?} expected, {error:?}");
                return Ok(());
            }
            Ok(wanted) => wanted,
        };
        prop_assert_eq!(codes, BTreeSet::new());
        for target in TARGETS {
            let attr = names.intern(target);
            let position = wanted.managed.iter().position(|managed| *managed == attr);
            let values: BTreeSet<String> = wanted.values.attribute(attr).map(|item| crate::world::text(item.value)).collect();
            let wished = expected.get(target).map(|given| given.iter().map(|(value, _)| value.clone()).collect::<BTreeSet<_>>());
            prop_assert_eq!(position.map(|_| values), wished, "{}", target);
            if let (Some(position), Some((_, (winner, _)))) = (position, expected.get(target).and_then(|given| given.first())) {
                prop_assert_eq!(place(&set, wanted.decided_by[position]), *winner, "who decided {}", target);
            }
        }
    }
}
