//! From raw rules to a checked set: placeholders, names, types, precedence.

use super::excluded::Excluded;
use super::expr::{self, AttributeLookup, AttributeRef, Options, PARAMETERS, Resolve, Scalar, Shape};
use super::file::{Located, Place, RawClause, RawExpression, RawFlow, RawJoin, RawRule, RawSource};
use super::flow::{CompiledFlow, CompiledSource, convert};
use super::input::{AnchorAttribute, CompileInput, ConnectorKind, ConnectorProfile};
use super::problem::{RuleProblem, Severity};
use super::schema::{self, AttributeType, Schema};
use super::scope::{CompiledClause, CompiledScope, Operand, Test, test_of};
use super::shown::is_secret;
use super::{
    CompiledJoinClause, CompiledRule, Direction, Flow, FlowSource, JoinClause, RuleSet, Scope, ScopeClause, ScopeOperator, SyncRule,
    bounds, condition, defaults, file, lint,
};
use crate::model::closest;
use crate::model::{AttrId, ConnectorId, Dn, Names, ObjectType, RuleId, ValueKind};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Compiles all files. Every finding is named; a set is made only without errors.
pub(super) fn compile(input: CompileInput<'_>) -> Result<RuleSet, Vec<RuleProblem>> {
    let mut problems = Vec::new();
    let names = input.names;
    let files: Vec<file::RawFile> = input.files.iter().map(|file| file::read(file, &mut problems)).collect();
    if let Some(problem) = bounds::too_many_names(&files) {
        problems.push(problem);
        return Err(problems);
    }
    let mut metaverse = schema::metaverse(names);
    for raw in &files {
        for attribute in &raw.attributes {
            let kind = schema::syntax_kind(&attribute.syntax);
            let wanted = AttributeType { kind, multi: attribute.multi, indexed: attribute.indexed && kind == Some(ValueKind::Text) };
            match metaverse.get(&attribute.name.text) {
                Some((_, known)) if known != wanted => problems.push(problem(
                    &raw.name,
                    &attribute.name.place,
                    None,
                    format!("the metaverse attribute {} exists with another type", attribute.name.text),
                    Some("choose another name".to_owned()),
                )),
                _ => metaverse.insert(names, &attribute.name.text, wanted),
            }
        }
    }
    check_settings(&input, &mut problems);
    let spaces = input
        .connectors
        .iter()
        .map(|connector| {
            let declared = connector.attributes.as_deref();
            let space =
                if connector.kind == ConnectorKind::Cloud { schema::cloud(names, declared) } else { schema::directory(names, declared) };
            (connector.id, space)
        })
        .collect();
    let schema = Schema { metaverse, spaces };
    let mut disabled: Vec<(&Located, &str, bool)> =
        files.iter().flat_map(|raw| raw.disable.iter().map(|located| (located, raw.name.as_str(), false))).collect();
    let mut built: Vec<Built> = Vec::new();
    for raw in &files {
        for rule in &raw.rules {
            for connector in connectors(&input, raw.name.as_str(), rule, &mut problems) {
                for cs_type in &rule.cs_types {
                    let mut builder = Builder {
                        input: &input,
                        schema: &schema,
                        problems: &mut problems,
                        file: &raw.name,
                        raw: rule,
                        connector: &input.connectors[connector],
                        rule_name: rule.name.replace("{type}", cs_type),
                    };
                    let mut made = builder.build(cs_type);
                    made.connector_order = connector;
                    for (located, _, used) in &mut disabled {
                        if located.text == made.rule.name || Some(&located.text) == made.rule.tag.as_ref() {
                            *used = true;
                            made.rule.enabled = false;
                        }
                    }
                    built.push(made);
                }
            }
        }
    }
    for (located, file, used) in disabled {
        if !used {
            let known = built.iter().map(|built| built.rule.name.as_str());
            let hint = closest(&located.text, known).map(|close| format!("did you mean \"{close}\"?"));
            problems.push(problem(file, &located.place, None, format!("no rule \"{}\" to disable", located.text), hint));
        }
    }
    built.sort_by(|left, right| left.key().cmp(&right.key()));
    check_identity(&input, &built, &mut problems);
    let halves = built.iter_mut().map(|built| (&built.rule, &mut built.compiled));
    let excluded = Excluded::take_out(&input, halves, &mut problems);
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        problems.sort_by(|left, right| (&left.file, left.line, left.column).cmp(&(&right.file, right.line, right.column)));
        problems.dedup();
        return Err(problems);
    }
    let mut set = assemble(&input, &schema, built, problems, excluded);
    set.schema = schema;
    Ok(set)
}

fn problem(file: &str, place: &Place, rule: Option<&str>, message: String, hint: Option<String>) -> RuleProblem {
    RuleProblem {
        severity: Severity::Error,
        file: file.to_owned(),
        line: place.line,
        column: place.column,
        rule: rule.map(str::to_owned),
        message,
        hint,
    }
}

/// Attributes of the cloud that the built-in rules always send.
const NEEDED: &[&str] = &["accountEnabled", "displayName", "dn", "securityEnabled", "sourceAnchor", "userPrincipalName"];

fn check_settings(input: &CompileInput<'_>, problems: &mut Vec<RuleProblem>) {
    if let AnchorAttribute::Attribute(attribute) = &input.settings.anchor_attribute
        && ["userPrincipalName", "mail", "targetAddress"].iter().any(|name| name.eq_ignore_ascii_case(attribute))
    {
        let hint = Some("choose an attribute that never changes: objectGUID, mS-DS-ConsistencyGuid, employeeNumber".to_owned());
        let message = format!("{attribute} cannot be the source anchor: it is a name");
        problems.push(problem("settings", &Place::default(), None, message, hint));
    }
    for name in &input.settings.excluded_attributes {
        if let Some(needed) = NEEDED.iter().find(|needed| needed.eq_ignore_ascii_case(name)) {
            let hint = Some("remove it from [rules] exclude_attributes".to_owned());
            problems.push(problem(
                "settings",
                &Place::default(),
                None,
                format!("{needed} is always sent: no object can do without it"),
                hint,
            ));
        } else if !schema::is_cloud_attribute(name) {
            let hint = schema::closest_cloud_attribute(name).map(|close| format!("did you mean {close}?"));
            let message = format!("[rules] exclude_attributes: the cloud has no attribute {name}");
            problems.push(problem("settings", &Place::default(), None, message, hint));
        }
    }
    for connector in input.connectors {
        for group in &connector.pilot_groups {
            if let Err(error) = Dn::parse(group) {
                let message = format!("connector \"{}\", [selection] groups: '{group}': {error}", connector.name);
                problems.push(problem(
                    "settings",
                    &Place::default(),
                    None,
                    message,
                    Some("write the group's distinguished name".to_owned()),
                ));
            }
        }
    }
    let mut seen = HashSet::new();
    for connector in input.connectors {
        if !seen.insert(&connector.name) {
            let message = format!("two connectors are named \"{}\"", connector.name);
            problems.push(problem("settings", &Place::default(), None, message, None));
        }
    }
}

/// The connectors a rule is for, as positions, in configuration order.
fn connectors(input: &CompileInput<'_>, file: &str, rule: &RawRule, problems: &mut Vec<RuleProblem>) -> Vec<usize> {
    let mut found = BTreeSet::new();
    for located in &rule.connectors {
        let kinds: &[ConnectorKind] = match located.text.as_str() {
            "@each-ad" => &[ConnectorKind::ActiveDirectory, ConnectorKind::OpenLdap, ConnectorKind::Ldif],
            "@each-ldap" => &[ConnectorKind::OpenLdap, ConnectorKind::Ldif],
            "@cloud" => &[ConnectorKind::Cloud],
            name => {
                if let Some(position) = input.connectors.iter().position(|connector| connector.name == name) {
                    found.insert(position);
                } else {
                    let known = input.connectors.iter().map(|connector| connector.name.as_str());
                    let hint = closest(name, known.chain(["@each-ad", "@each-ldap", "@cloud"])).map_or_else(
                        || "a connector's name, @each-ad, @each-ldap or @cloud".to_owned(),
                        |close| format!("did you mean \"{close}\"?"),
                    );
                    let message = format!("unknown connector \"{name}\"");
                    problems.push(problem(file, &located.place, Some(&rule.name), message, Some(hint)));
                }
                continue;
            }
        };
        found.extend(
            input.connectors.iter().enumerate().filter(|(_, connector)| kinds.contains(&connector.kind)).map(|(position, _)| position),
        );
    }
    found.into_iter().collect()
}

/// One rule for one connector and type.
struct Built {
    rule: SyncRule,
    compiled: CompiledRule,
    file: String,
    place: Place,
    order: u32,
    connector_order: usize,
    warnings: Vec<(Place, String, Option<String>)>,
}

impl Built {
    /// The place in the precedence: group order, connectors in configuration order, then tag or name.
    fn key(&self) -> (u32, usize, &str, &str) {
        (self.order, self.connector_order, self.rule.tag.as_deref().unwrap_or(&self.rule.name), &self.rule.name)
    }
}

struct Builder<'b> {
    input: &'b CompileInput<'b>,
    schema: &'b Schema,
    problems: &'b mut Vec<RuleProblem>,
    file: &'b str,
    raw: &'b RawRule,
    connector: &'b ConnectorProfile,
    rule_name: String,
}

/// The number of a rule: stable as long as its tag (or name) and its connector's name stay.
pub(super) fn rule_id(identifier: &str, connector: &str) -> RuleId {
    let hash = xxhash_rust::xxh3::xxh3_64(format!("{identifier}@{connector}").as_bytes());
    RuleId((hash >> 32) as u32)
}

impl Builder<'_> {
    fn error(&mut self, place: &Place, message: String, hint: Option<String>) {
        let found = problem(self.file, place, Some(&self.rule_name), message, hint);
        self.problems.push(found);
    }

    fn names(&self) -> &Arc<Names> {
        self.input.names
    }

    fn inbound(&self) -> bool {
        self.raw.direction == Direction::Inbound
    }

    fn build(&mut self, cs_type: &str) -> Built {
        let raw = self.raw;
        let tag = raw.tag.as_ref().map(|tag| tag.replace("{type}", &cs_type.to_lowercase()));
        let id = rule_id(tag.as_deref().unwrap_or(&self.rule_name), &self.connector.name);
        let mv_type = (raw.mv_type.text != "*").then(|| self.names().object_type(&raw.mv_type.text));
        if mv_type.is_none() && (!self.inbound() || !raw.flows.is_empty()) {
            let hint = Some("name one type of the metaverse".to_owned());
            self.error(&raw.mv_type.place, "\"*\" is for inbound rules that only join".to_owned(), hint);
        }
        let hindrance = self.hindrance();
        let mut warnings = Vec::new();
        let (scope, compiled_scope) = self.scope();
        let (join, compiled_join) = self.join();
        let (flows, compiled_flows) = self.flows(&mut warnings);
        let cs_type = self.names().object_type(cs_type);
        let rule = SyncRule {
            id,
            name: self.rule_name.clone(),
            description: raw.description.clone(),
            tag,
            direction: raw.direction,
            connector: self.connector.id,
            cs_type,
            mv_type,
            link: raw.link,
            precedence: raw.order,
            order: raw.order,
            scope,
            join,
            flows,
            password_sync: raw.password_sync,
            enabled: raw.enabled && hindrance.is_none(),
            hindrance,
            origin: format!("{}:{}", self.file, raw.place.line),
        };
        let compiled =
            CompiledRule { id, connector: self.connector.id, mv_type, scope: compiled_scope, join: compiled_join, flows: compiled_flows };
        Built { rule, compiled, file: self.file.to_owned(), place: raw.place.clone(), order: raw.order, connector_order: 0, warnings }
    }

    /// Why the rule's conditions keep it out.
    fn hindrance(&mut self) -> Option<String> {
        let mut found = None;
        for located in &self.raw.when {
            if let Some(reason) = condition::hindrance(&located.text, self.connector, self.input.settings) {
                found = found.or(reason);
            } else {
                let names: Vec<String> = condition::names().collect();
                let hint = closest(&located.text, names.iter().map(String::as_str))
                    .map_or_else(|| format!("one of {}", names.join(", ")), |close| format!("did you mean \"{close}\"?"));
                self.error(&located.place, format!("unknown condition \"{}\"", located.text), Some(hint));
            }
        }
        found
    }

    /// An attribute of the connector space.
    fn space_attribute(&mut self, located: &Located) -> Option<(AttrId, AttributeType)> {
        let single_text = AttributeType { kind: Some(ValueKind::Text), multi: false, indexed: false };
        if located.text == "dn" {
            return Some((AttrId::DN, single_text));
        }
        if is_secret(&located.text) {
            self.refuse_secret(&located.place, &located.text);
            return None;
        }
        let space = self.schema.spaces.get(&self.connector.id)?;
        match space.attribute(self.input.names, &located.text, self.raw.tag.is_some()) {
            Ok(found) => Some(found),
            Err(suggestion) => {
                self.unknown(located, "the connector's schema", suggestion);
                None
            }
        }
    }

    fn refuse_secret(&mut self, place: &Place, name: &str) {
        let hint = Some("passwords go their own way, by password hash synchronization; keys stay where they are".to_owned());
        self.error(place, format!("{name} holds secrets, and rules do not read them"), hint);
    }

    fn metaverse_attribute(&mut self, located: &Located) -> Option<(AttrId, AttributeType)> {
        let found = self.schema.metaverse.get(&located.text);
        if found.is_none() {
            let suggestion = self.schema.metaverse.suggestion(&located.text);
            self.unknown(located, "the metaverse", suggestion);
        }
        found
    }

    fn unknown(&mut self, located: &Located, place: &str, suggestion: Option<String>) {
        let hint = match suggestion {
            Some(close) => format!("did you mean \"{close}\"? Names are case-sensitive"),
            None if place == "the metaverse" => "declare it with [[metaverse_attribute]]".to_owned(),
            None => "the attribute is not selected, or the schema does not have it".to_owned(),
        };
        self.error(&located.place, format!("unknown attribute \"{}\" in {place}", located.text), Some(hint));
    }

    /// Replaces `${…}`.
    fn substitute(&mut self, text: &str, place: &Place) -> Option<String> {
        let mut result = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once("${") {
            result.push_str(before);
            let Some((name, behind)) = behind.split_once('}') else {
                self.error(place, "\"${\" without its closing brace".to_owned(), None);
                return None;
            };
            let Some(value) = defaults::substitution(name, self.connector.kind, self.input.settings) else {
                let hint = closest(name, defaults::SUBSTITUTIONS.iter().copied()).map_or_else(
                    || format!("one of {}", defaults::SUBSTITUTIONS.join(", ")),
                    |close| format!("did you mean ${{{close}}}?"),
                );
                self.error(place, format!("${{{name}}} stands for nothing"), Some(hint));
                return None;
            };
            result.push_str(&value);
            rest = behind;
        }
        result.push_str(rest);
        Some(result)
    }

    fn scope(&mut self) -> (Scope, CompiledScope) {
        let (mut groups, mut compiled_groups) = (Vec::new(), Vec::new());
        for group in &self.raw.scope {
            let (mut clauses, mut compiled_clauses) = (Vec::new(), Vec::new());
            for clause in group {
                for value in self.operands(clause) {
                    if let Some((plain, compiled)) = self.clause(clause, value) {
                        clauses.push(plain);
                        compiled_clauses.push(compiled);
                    }
                }
            }
            // A group that stands for pilot groups has no clause where there are none; the rule is then not there.
            if !clauses.is_empty() {
                groups.push(clauses);
                compiled_groups.push(compiled_clauses);
            }
        }
        (Scope(groups), CompiledScope(compiled_groups))
    }

    /// The operands of a clause: one, but one for each pilot group where it stands for them.
    fn operands(&mut self, clause: &RawClause) -> Vec<String> {
        match &clause.value {
            None => vec![String::new()],
            Some(value) if value.text == defaults::PILOT_GROUP => {
                let conditional = self.raw.when.iter().any(|condition| condition.text == "pilot-groups");
                if !conditional || clause.operator != ScopeOperator::IsNotMemberOf {
                    let hint =
                        Some("without a pilot there is no such group; ISNOTMEMBEROF asks for no membership in any of them".to_owned());
                    let message =
                        format!("{} stands for groups in ISNOTMEMBEROF of a rule with when = \"pilot-groups\" only", defaults::PILOT_GROUP);
                    self.error(&value.place, message, hint);
                }
                self.connector.pilot_groups.clone()
            }
            Some(value) => self.substitute(&value.text, &value.place).into_iter().collect(),
        }
    }

    fn clause(&mut self, clause: &RawClause, value: String) -> Option<(ScopeClause, CompiledClause)> {
        let mut attr = clause.attr.clone();
        if clause.operator.tests_membership() && attr.text == "dn" {
            "memberOf".clone_into(&mut attr.text);
        }
        let (id, kind) = if self.inbound() { self.space_attribute(&attr)? } else { self.metaverse_attribute(&attr)? };
        let place = clause.value.as_ref().map_or_else(|| clause.attr.place.clone(), |value| value.place.clone());
        let (test, negative) = test_of(clause.operator);
        if test == Test::BitSet && expr::parse_number(&value).is_none() && !value.contains('%') {
            let hint = Some("a mask such as 2 or &H200000".to_owned());
            self.error(&place, format!("\"{value}\" is no number"), hint);
        }
        let known = |name: &str| parameter_known(self.connector, name).is_ok();
        let operand = Operand::new(&value, known);
        let compiled = CompiledClause { attribute: AttributeRef { id, kind: kind.kind }, test, negative, operand };
        Some((ScopeClause { attr: id, operator: clause.operator, value }, compiled))
    }

    fn join(&mut self) -> (Vec<Vec<JoinClause>>, Vec<Vec<CompiledJoinClause>>) {
        let located = |text: &str, place: &Place| Located { text: text.to_owned(), place: place.clone() };
        let groups = match &self.raw.join {
            RawJoin::Groups(groups) => groups.clone(),
            RawJoin::Placeholder(name) => {
                let Some(pairs) = defaults::join(&name.text, self.connector.kind, self.input.settings) else {
                    let hint = closest(&name.text, defaults::JOINS.iter().copied())
                        .map_or_else(|| format!("one of {}", defaults::JOINS.join(", ")), |close| format!("did you mean \"{close}\"?"));
                    self.error(&name.place, format!("\"{}\" stands for no join", name.text), Some(hint));
                    return (Vec::new(), Vec::new());
                };
                let clause = |cs: &str, mv: &str| file::RawJoinClause {
                    cs: located(cs, &name.place),
                    mv: located(mv, &name.place),
                    case_sensitive: false,
                };
                pairs.iter().map(|(cs, mv)| vec![clause(cs, mv)]).collect()
            }
        };
        let (mut join, mut compiled) = (Vec::new(), Vec::new());
        for group in &groups {
            let (mut clauses, mut compiled_clauses) = (Vec::new(), Vec::new());
            for clause in group {
                let (Some((cs, cs_kind)), Some((mv, mv_kind))) = (self.space_attribute(&clause.cs), self.metaverse_attribute(&clause.mv))
                else {
                    continue;
                };
                let (own, partner_kind) = if self.inbound() { (cs, mv_kind.kind) } else { (mv, cs_kind.kind) };
                let partner = if self.inbound() { mv } else { cs };
                if [cs_kind.kind, mv_kind.kind].contains(&Some(ValueKind::Reference)) {
                    self.error(&clause.cs.place, "references cannot be joined on".to_owned(), None);
                }
                let case_sensitive = clause.case_sensitive;
                clauses.push(JoinClause { cs, mv, case_sensitive });
                compiled_clauses.push(CompiledJoinClause { own, partner, partner_kind, case_sensitive });
            }
            join.push(clauses);
            compiled.push(compiled_clauses);
        }
        (join, compiled)
    }

    fn flows(&mut self, warnings: &mut Vec<(Place, String, Option<String>)>) -> (Vec<Flow>, Vec<CompiledFlow>) {
        let mut flows: Vec<(Flow, CompiledFlow)> = Vec::new();
        for raw in &self.raw.flows {
            if self.is_excluded(raw) {
                continue;
            }
            let Some((flow, compiled)) = self.flow(raw, warnings) else { continue };
            match flows.iter_mut().find(|(other, _)| other.target == flow.target) {
                Some(other) => {
                    if !same_source(&other.0.source, &flow.source) {
                        let message = format!("attribute {} has two flows in this rule; the last one counts", raw.to.text);
                        warnings.push((raw.to.place.clone(), message, Some("remove one".to_owned())));
                    }
                    *other = (flow, compiled);
                }
                None => flows.push((flow, compiled)),
            }
        }
        let mut compiled_flows = Vec::with_capacity(flows.len());
        let mut shown = Vec::with_capacity(flows.len());
        for (flow, compiled) in flows {
            shown.push(flow);
            compiled_flows.push(compiled);
        }
        compiled_flows.sort_by_key(|flow| flow.target);
        (shown, compiled_flows)
    }

    /// True for what a built-in rule would send and the administrator does not want sent.
    fn is_excluded(&self, raw: &RawFlow) -> bool {
        let of_cloud = !self.inbound() && self.connector.kind == ConnectorKind::Cloud && self.raw.tag.is_some();
        of_cloud && self.input.settings.excluded_attributes.iter().any(|name| name.eq_ignore_ascii_case(&raw.to.text))
    }

    fn flow(&mut self, raw: &RawFlow, warnings: &mut Vec<(Place, String, Option<String>)>) -> Option<(Flow, CompiledFlow)> {
        if raw.to.text == "dn" && self.inbound() {
            let hint = Some("flow it to an attribute; [dn] can be read".to_owned());
            self.error(&raw.to.place, "objects of the metaverse have no name of their own".to_owned(), hint);
            return None;
        }
        let (target, kind) = if self.inbound() { self.metaverse_attribute(&raw.to)? } else { self.space_attribute(&raw.to)? };
        let (source, compiled) = match &raw.source {
            RawSource::Direct(located) => {
                let (id, source_kind) = if self.inbound() { self.space_attribute(located)? } else { self.metaverse_attribute(located)? };
                let attribute = AttributeRef { id, kind: source_kind.kind };
                let compiled = self.direct(attribute, kind, &located.place, &located.text)?;
                (FlowSource::Direct(id), compiled)
            }
            RawSource::Constant(value, place) => {
                if matches!(value, crate::model::Value::Text(text) if ["NULL", "AuthoritativeNull", "IgnoreThisFlow"].contains(&text.as_ref()))
                {
                    let message = "the constant is a text that reads like a literal".to_owned();
                    warnings.push((place.clone(), message, Some("literals work in expressions only: expr = 'NULL'".to_owned())));
                }
                let converted = match kind.kind {
                    Some(kind) => convert(Scalar::from(value.as_ref()), kind).ok().and_then(|scalar| scalar.to_value()),
                    None => Some(value.clone()),
                };
                let Some(value) = converted else {
                    self.error(place, format!("the constant does not fit the type of {}", raw.to.text), None);
                    return None;
                };
                (FlowSource::Constant(value.clone()), CompiledSource::Constant(value))
            }
            RawSource::Expression(expression) => self.expression(raw, expression, kind, warnings)?,
        };
        let (once, merge) = (raw.once, raw.merge);
        if merge != super::MergeType::Update && !kind.multi {
            self.error(&raw.to.place, format!("attribute {} has one value: there is nothing to merge", raw.to.text), None);
        }
        let exact = raw.exact.unwrap_or(self.raw.exact);
        let flow = Flow { target, source, once, merge, keep_when_absent: raw.keep_when_absent, exact };
        let keep = raw.keep_when_absent;
        Some((flow, CompiledFlow { target, kind, source: compiled, once, merge, keep, mixed: false }))
    }

    fn direct(&mut self, attribute: AttributeRef, target: AttributeType, place: &Place, name: &str) -> Option<CompiledSource> {
        let fits = match (attribute.kind, target.kind) {
            (Some(ValueKind::Reference) | None, Some(ValueKind::Reference)) => {
                return Some(CompiledSource::References(attribute));
            }
            (Some(ValueKind::Reference), _) => {
                let hint = Some(format!("give its name as text: expr = 'CStr([{name}])'"));
                self.error(place, format!("{name} is a reference, the target is not"), hint);
                return None;
            }
            (Some(source), Some(target)) => source == target || source == ValueKind::Text,
            _ => true,
        };
        if !fits || target.kind == Some(ValueKind::Reference) {
            self.error(place, format!("the type of {name} does not fit the target's"), Some("convert it in an expression".to_owned()));
            return None;
        }
        if attribute.id == AttrId::DN {
            // Names are read in another way than values.
            return match expr::compile("[dn]", &Resolver { builder: self }, Options::default()) {
                Ok(expression) => Some(CompiledSource::Expression(Box::new(expression))),
                Err(_) => None,
            };
        }
        Some(CompiledSource::Direct(attribute))
    }

    fn expression(
        &mut self,
        raw: &RawFlow,
        expression: &RawExpression,
        target: AttributeType,
        warnings: &mut Vec<(Place, String, Option<String>)>,
    ) -> Option<(FlowSource, CompiledSource)> {
        let text = self.substitute(&expression.text, &expression.place)?;
        let verbatim = expression.verbatim && text == expression.text;
        let options = Options { exact: raw.exact.unwrap_or(self.raw.exact) };
        let compiled = match expr::compile(&text, &Resolver { builder: self }, options) {
            Ok(compiled) => compiled,
            Err(error) => {
                let place = if verbatim { within(&expression.place, error.line, error.column) } else { expression.place.clone() };
                let message = format!("attribute {}: {error}\n{}", raw.to.text, error.excerpt);
                self.error(&place, message, error.hint);
                return None;
            }
        };
        if self.inbound() {
            let secret = compiled.reads().iter().map(|attribute| self.names().name(attribute.id)).find(|name| is_secret(name));
            if let Some(name) = secret {
                self.refuse_secret(&expression.place, &name);
                return None;
            }
        }
        if let Some(message) = unfit(compiled.kind(), target.kind) {
            self.error(&expression.place, format!("attribute {}: {message}", raw.to.text), None);
            return None;
        }
        if let Some(excerpt) = compiled.mixed_operators() {
            let message =
                format!("attribute {}: operators stand mixed without brackets; they are taken from left to right\n{excerpt}", raw.to.text);
            warnings.push((expression.place.clone(), message, Some("add brackets".to_owned())));
        }
        if compiled.is_volatile() && !raw.once && !text.contains("Now") {
            let message = format!("attribute {}: every evaluation gives another value", raw.to.text);
            warnings.push((expression.place.clone(), message, Some("add once = true".to_owned())));
        }
        let source = FlowSource::Expression(text);
        let fast = match compiled.shape() {
            Shape::Direct(attribute) => {
                let compiled = self.direct(attribute, target, &expression.place, &self.names().name(attribute.id))?;
                return Some((source, compiled));
            }
            Shape::Trim(attribute) => CompiledSource::Trim(attribute),
            Shape::TrimCut(attribute) => CompiledSource::TrimCut(attribute),
            Shape::FirstCut(attribute) => CompiledSource::FirstCut(attribute),
            Shape::General => CompiledSource::Expression(Box::new(compiled)),
        };
        Some((source, fast))
    }
}

/// Why a result type cannot flow to a target type; `None` when it can, or nobody knows before evaluation.
fn unfit(kind: expr::Kind, target: Option<ValueKind>) -> Option<String> {
    let wanted = match target? {
        ValueKind::Text | ValueKind::LargeText => matches!(kind, expr::Kind::Text),
        ValueKind::Number => matches!(kind, expr::Kind::Number | expr::Kind::Text),
        ValueKind::Boolean => matches!(kind, expr::Kind::Boolean | expr::Kind::Text),
        ValueKind::Binary | ValueKind::LargeBinary => matches!(kind, expr::Kind::Binary | expr::Kind::Text),
        ValueKind::Reference => matches!(kind, expr::Kind::Reference),
    };
    if wanted || matches!(kind, expr::Kind::Any | expr::Kind::Nothing) {
        return None;
    }
    Some(format!("the expression gives {}, which the attribute does not hold", kind.name()))
}

/// A position inside an expression as a position in the file.
fn within(place: &Place, line: usize, column: usize) -> Place {
    if line == 1 { Place { line: place.line, column: place.column + column - 1 } } else { Place { line: place.line + line - 1, column } }
}

fn same_source(left: &FlowSource, right: &FlowSource) -> bool {
    match (left, right) {
        (FlowSource::Direct(left), FlowSource::Direct(right)) => left == right,
        (FlowSource::Constant(left), FlowSource::Constant(right)) => left == right,
        (FlowSource::Expression(left), FlowSource::Expression(right)) => left == right,
        _ => false,
    }
}

fn parameter_known(connector: &ConnectorProfile, name: &str) -> Result<(), Option<String>> {
    let own = connector.parameters.iter().map(String::as_str);
    if PARAMETERS.contains(&name) || own.clone().any(|known| known == name) {
        return Ok(());
    }
    Err(closest(name, PARAMETERS.iter().copied().chain(own)))
}

/// Names as an expression of one rule sees them.
struct Resolver<'r, 'b> {
    builder: &'r Builder<'b>,
}

impl Resolve for Resolver<'_, '_> {
    fn attribute(&self, name: &str) -> AttributeLookup {
        if name == "dn" {
            return AttributeLookup::Found(AttributeRef { id: AttrId::DN, kind: Some(ValueKind::Text) });
        }
        let builder = self.builder;
        if builder.inbound() {
            let Some(space) = builder.schema.spaces.get(&builder.connector.id) else {
                return AttributeLookup::Unknown { suggestion: None };
            };
            return schema::lookup(space.attribute(builder.input.names, name, builder.raw.tag.is_some()));
        }
        let metaverse = &builder.schema.metaverse;
        schema::lookup(metaverse.get(name).ok_or_else(|| metaverse.suggestion(name)))
    }

    fn parameter(&self, name: &str) -> Result<(), Option<String>> {
        parameter_known(self.builder.connector, name)
    }

    fn inbound(&self) -> bool {
        self.builder.inbound()
    }
}

fn check_identity(input: &CompileInput<'_>, built: &[Built], problems: &mut Vec<RuleProblem>) {
    let mut by_id: HashMap<RuleId, &Built> = HashMap::new();
    let mut by_name: HashMap<(ConnectorId, &str), &Built> = HashMap::new();
    for one in built {
        let connector = input.connectors.get(one.connector_order).map_or("", |connector| connector.name.as_str());
        if let Some(other) = by_name.insert((one.rule.connector, &one.rule.name), one) {
            let message = format!("connector \"{connector}\" has this rule twice; the other is at {}", other.rule.origin);
            problems.push(problem(&one.file, &one.place, Some(&one.rule.name), message, Some("give it another name".to_owned())));
        } else if let Some(other) = by_id.insert(one.rule.id, one) {
            let tagged = one.rule.tag.is_some() && one.rule.tag == other.rule.tag;
            let (what, hint) =
                if tagged { ("tag", "take `tag` out, or give it another one") } else { ("number", "change the name a little") };
            let message = format!("its {what} is the one of rule \"{}\" at {}", other.rule.name, other.rule.origin);
            problems.push(problem(&one.file, &one.place, Some(&one.rule.name), message, Some(hint.to_owned())));
        }
    }
}

fn assemble(input: &CompileInput<'_>, schema: &Schema, built: Vec<Built>, mut warnings: Vec<RuleProblem>, excluded: Excluded) -> RuleSet {
    let (mut rules, mut compiled) = (Vec::new(), Vec::new());
    let (mut disabled, mut compiled_disabled) = (Vec::new(), Vec::new());
    let mut inbound: HashMap<(ConnectorId, ObjectType), Vec<u32>> = HashMap::new();
    let mut outbound: HashMap<(ConnectorId, ObjectType), Vec<u32>> = HashMap::new();
    let mut next = 0;
    for mut one in built {
        // Numbers are unique and in order; with one connector a built-in rule keeps its documented number.
        // Rules that do not apply take none away.
        if one.rule.enabled {
            one.rule.precedence = one.order.max(next);
            next = one.rule.precedence + 1;
        }
        for (place, message, hint) in one.warnings {
            let mut warning = problem(&one.file, &place, Some(&one.rule.name), message, hint);
            warning.severity = Severity::Warning;
            warnings.push(warning);
        }
        if !one.rule.enabled {
            disabled.push(one.rule);
            compiled_disabled.push(one.compiled);
            continue;
        }
        let position = u32::try_from(rules.len()).unwrap_or(u32::MAX);
        match (one.rule.direction, one.rule.mv_type) {
            (Direction::Inbound, _) => inbound.entry((one.rule.connector, one.rule.cs_type)).or_default().push(position),
            (Direction::Outbound, Some(mv_type)) => outbound.entry((one.rule.connector, mv_type)).or_default().push(position),
            (Direction::Outbound, None) => {}
        }
        rules.push(one.rule);
        compiled.push(one.compiled);
    }
    let targets: BTreeSet<ConnectorId> =
        rules.iter().filter(|rule| rule.direction == Direction::Outbound).map(|rule: &SyncRule| rule.connector).collect();
    let references = schema.metaverse.iter().filter(|(_, _, kind)| kind.kind == Some(ValueKind::Reference)).map(|(_, id, _)| id).collect();
    let mut merges: HashMap<AttrId, super::MergeType> = HashMap::new();
    let mut mixed: HashSet<AttrId> = HashSet::new();
    for flow in compiled.iter().flat_map(|rule: &CompiledRule| &rule.flows) {
        if *merges.entry(flow.target).or_insert(flow.merge) != flow.merge {
            mixed.insert(flow.target);
        }
    }
    for flow in compiled.iter_mut().flat_map(|rule| &mut rule.flows) {
        flow.mixed = mixed.contains(&flow.target);
    }
    let positions = rules.iter().chain(&disabled).enumerate().map(|(position, rule)| (rule.id, position)).collect();
    let mut set = RuleSet {
        names: Arc::clone(input.names),
        rules,
        disabled,
        positions,
        compiled,
        compiled_disabled,
        inbound,
        outbound,
        targets: targets.into_iter().collect(),
        pilots: input
            .connectors
            .iter()
            .flat_map(|connector| connector.pilot_groups.iter().map(|group| (connector.id, group.clone())))
            .collect(),
        references,
        excluded,
        fingerprint: 0,
        warnings,
        layouts: super::layout::Layouts::default(),
        schema: Schema::default(),
    };
    set.fingerprint = set.compute_fingerprint(schema);
    let found = lint::lint(&set);
    set.warnings.extend(found);
    let mut seen = HashSet::new();
    // A finding in a shared flow set would otherwise come back for every rule and connector.
    set.warnings.retain(|warning| seen.insert((warning.file.clone(), warning.line, warning.column, warning.message.clone())));
    set
}
