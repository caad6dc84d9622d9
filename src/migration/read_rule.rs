//! Reads a synchronization rule from its XML (`SynchronizationRules/SynchronizationRule_{…}.xml`).

use super::model::{EntraRule, Place, plain_guid};
use super::report::{Outcome, Report};
use super::words::{self, FlowType, short};
use super::write::{EXACT, KEEP};
use super::xml::{BOOKKEEPING, Fate, Walk, name_of, text_of};
use crate::rules::{Direction, PlainClause, PlainFlow, PlainJoin, PlainRule};
use roxmltree::Node;

const RULE: &[(&str, Fate)] = &[
    ("id", Fate::Read),
    ("internal-id", BOOKKEEPING),
    ("version", BOOKKEEPING),
    ("name", Fate::Read),
    ("description", Fate::Read),
    ("immutable-tag", Fate::Read),
    ("direction", Fate::Read),
    ("disabled", Fate::Read),
    ("connector", Fate::Read),
    ("sourceObjectType", Fate::Read),
    ("targetObjectType", Fate::Read),
    ("linkType", Fate::Read),
    ("precedence", Fate::Read),
    ("precedence-after", Fate::Read),
    ("precedence-before", Fate::Read),
    ("softDeleteExpiryInterval", Fate::Read),
    ("EnablePasswordSync", Fate::Read),
    ("attribute-mappings", Fate::Read),
    ("relationshipCriteria", Fate::Read),
    ("synchronizationCriteria", Fate::Read),
];
const MAPPING: &[(&str, Fate)] = &[("dest", Fate::Read), ("src", Fate::Read), ("expression", Fate::Read), ("valueMergeType", Fate::Read)];
const SCOPE: &[&str] = &["csAttribute", "csOperator", "csValue"];
const CONDITION: &[&str] = &["caseSensitive", "csAttribute", "ilmAttribute"];

/// Reads one rule. A flow that cannot be read is left out; a rule of which anything else cannot be read is left out as a
/// whole, since without a clause or a pair it would be for other objects. The report names both.
pub(super) fn read(walk: &mut Walk<'_>, node: Node<'_, '_>) -> Option<EntraRule> {
    let place = walk.place(node);
    walk.attributes(node, &[]);
    let parts = walk.children(node, RULE);
    let mut reader = RuleReader { problems: Vec::new() };
    // A name is kept with its blanks: rules are told apart by it.
    let name = reader.required(walk, &parts, "name", &place).and_then(|_| walk.text(&parts, "name")).map(|(name, _)| name);
    let id = reader.required(walk, &parts, "id", &place).map(|id| plain_guid(&id));
    let connector = reader.required(walk, &parts, "connector", &place).map(|id| plain_guid(&id));
    let direction = reader.word(walk, &parts, "direction", &place, words::direction);
    let link = reader.word(walk, &parts, "linkType", &place, words::link);
    let order = reader.word(walk, &parts, "precedence", &place, words::precedence);
    let source_type = reader.required(walk, &parts, "sourceObjectType", &place);
    let target_type = reader.required(walk, &parts, "targetObjectType", &place);
    let disabled = reader.flag(walk, &parts, "disabled");
    let password_sync = reader.flag(walk, &parts, "EnablePasswordSync");
    let description = walk.text(&parts, "description").map(|(text, _)| text).unwrap_or_default();
    let tag = walk.text(&parts, "immutable-tag").map(|(text, _)| text.trim().to_owned()).filter(|tag| !tag.is_empty());
    for beside in ["precedence-after", "precedence-before", "softDeleteExpiryInterval"] {
        if let Some((value, at)) = walk.text(&parts, beside) {
            words::beside(walk.report, &at, beside, &value);
        }
    }
    for criteria in ["synchronizationCriteria", "relationshipCriteria"] {
        reader.once(walk, &parts, criteria);
    }
    let scope = match walk.one(&parts, "synchronizationCriteria") {
        Some(criteria) => reader.groups(walk, criteria, "scope", RuleReader::clause),
        None => Vec::new(),
    };
    let join = match walk.one(&parts, "relationshipCriteria") {
        Some(criteria) => reader.groups(walk, criteria, "condition", RuleReader::pair),
        None => Vec::new(),
    };
    let subject = format!("rule \"{}\"", short(name.as_deref().unwrap_or("?")));
    let (mut flows, mut flow_places) = (Vec::new(), Vec::new());
    if let Some(mappings) = walk.one(&parts, "attribute-mappings") {
        for mapping in walk.children(mappings, &[("mapping", Fate::Read)]) {
            let at = walk.place(mapping);
            match flow(walk, mapping) {
                Ok(flow) => {
                    flows.push(flow);
                    flow_places.push(at);
                }
                Err((target, message)) => walk.report.add(Outcome::Failed, &at, format!("{subject}, flow to {target}"), message),
            }
        }
    }
    for (at, message) in &reader.problems {
        walk.report.add(Outcome::Failed, at, subject.as_str(), format!("{message}; the rule is left out"));
    }
    if !reader.problems.is_empty() {
        return None;
    }
    let direction = direction?;
    let (cs_type, mv_type) = match direction {
        Direction::Inbound => (source_type?, target_type?),
        Direction::Outbound => (target_type?, source_type?),
    };
    let rule = PlainRule {
        name: name?,
        description,
        tag,
        direction,
        connector: connector?,
        cs_type,
        mv_type,
        link: link?,
        order: order?,
        password_sync: password_sync.unwrap_or(false),
        enabled: !disabled.unwrap_or(false),
        scope,
        join,
        flows,
    };
    Some(EntraRule { place, id: id?, rule, flow_places })
}

/// Collects what is wrong with a rule.
struct RuleReader {
    problems: Vec<(Place, String)>,
}

impl RuleReader {
    fn required(&mut self, walk: &mut Walk<'_>, parts: &[Node<'_, '_>], name: &str, place: &Place) -> Option<String> {
        match walk.text(parts, name) {
            Some((text, _)) if !text.trim().is_empty() => Some(text.trim().to_owned()),
            Some((_, at)) => {
                self.problems.push((at, format!("<{name}> is empty")));
                None
            }
            None => {
                self.problems.push((place.clone(), format!("<{name}> is missing")));
                None
            }
        }
    }

    fn word<T>(
        &mut self,
        walk: &mut Walk<'_>,
        parts: &[Node<'_, '_>],
        name: &str,
        place: &Place,
        known: fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.required(walk, parts, name, place)?;
        let at = walk.text(parts, name).map_or_else(|| place.clone(), |(_, at)| at);
        known(&text).map_err(|message| self.problems.push((at, message))).ok()
    }

    fn flag(&mut self, walk: &mut Walk<'_>, parts: &[Node<'_, '_>], name: &str) -> Option<bool> {
        let (text, at) = walk.text(parts, name)?;
        words::boolean(&text).map_err(|message| self.problems.push((at, format!("<{name}>: {message}")))).ok()
    }

    /// The child elements, all of which must be known: a scope or a join with a part missing is another one.
    fn whole<'a, 'i>(&mut self, walk: &Walk<'_>, node: Node<'a, 'i>, known: &[&str]) -> Vec<Node<'a, 'i>> {
        for attribute in node.attributes() {
            self.problems.push((walk.place(node), format!("attribute {} of <{}> is not known", short(attribute.name()), name_of(node))));
        }
        let (read, strange): (Vec<_>, Vec<_>) =
            node.children().filter(Node::is_element).partition(|child| known.contains(&child.tag_name().name()));
        for child in strange {
            self.problems.push((walk.place(child), format!("<{}> in <{}> is not known", name_of(child), name_of(node))));
        }
        read
    }

    /// The parts of a clause or a pair, each once.
    fn parts<'a, 'i>(&mut self, walk: &Walk<'_>, node: Node<'a, 'i>, known: &[&str]) -> Vec<Node<'a, 'i>> {
        let parts = self.whole(walk, node, known);
        for name in known {
            self.once(walk, &parts, name);
        }
        parts
    }

    /// Nobody could say which of two counts.
    fn once(&mut self, walk: &Walk<'_>, among: &[Node<'_, '_>], name: &str) {
        if let Some(second) = among.iter().filter(|node| node.tag_name().name() == name).nth(1) {
            self.problems.push((walk.place(*second), format!("<{name}> stands twice")));
        }
    }

    /// Groups of clauses: `<conditions>` with elements of one name.
    fn groups<T>(
        &mut self,
        walk: &mut Walk<'_>,
        criteria: Node<'_, '_>,
        element: &str,
        read: fn(&mut Self, &mut Walk<'_>, Node<'_, '_>) -> Option<T>,
    ) -> Vec<Vec<T>> {
        let mut groups = Vec::new();
        for conditions in self.whole(walk, criteria, &["conditions"]) {
            let clauses: Vec<T> = self.whole(walk, conditions, &[element]).into_iter().filter_map(|node| read(self, walk, node)).collect();
            if clauses.is_empty() {
                // A group without clauses holds for every object: that is not to be guessed at.
                self.problems.push((walk.place(conditions), format!("<conditions> without a single <{element}>")));
            } else {
                groups.push(clauses);
            }
        }
        groups
    }

    fn clause(&mut self, walk: &mut Walk<'_>, node: Node<'_, '_>) -> Option<PlainClause> {
        let place = walk.place(node);
        let parts = self.parts(walk, node, SCOPE);
        let attribute = self.required(walk, &parts, "csAttribute", &place);
        let operator = self.word(walk, &parts, "csOperator", &place, words::operator);
        let value = walk.text(&parts, "csValue").map(|(text, _)| text).unwrap_or_default();
        let operator = operator?;
        Some(PlainClause { attribute: attribute?, operator, value: if operator.takes_value() { value } else { String::new() } })
    }

    fn pair(&mut self, walk: &mut Walk<'_>, node: Node<'_, '_>) -> Option<PlainJoin> {
        let place = walk.place(node);
        let parts = self.parts(walk, node, CONDITION);
        let cs = self.required(walk, &parts, "csAttribute", &place);
        let mv = self.required(walk, &parts, "ilmAttribute", &place);
        let case_sensitive = self.flag(walk, &parts, "caseSensitive").unwrap_or(false);
        Some(PlainJoin { cs: cs?, mv: mv?, case_sensitive })
    }
}

/// A flow, or its target and what is wrong.
fn flow(walk: &mut Walk<'_>, node: Node<'_, '_>) -> Result<PlainFlow, (String, String)> {
    walk.attributes(node, &["execute-once", EXACT.0, KEEP.0]);
    let parts = walk.children(node, MAPPING);
    let target = walk.text(&parts, "dest").map(|(text, _)| text.trim().to_owned()).filter(|target| !target.is_empty());
    let Some(target) = target else { return Err(("?".to_owned(), "<dest> is missing".to_owned())) };
    let failed = |message: String| (short(&target), message);
    let expression = walk.text(&parts, "expression").map(|(text, _)| text);
    let (mut attributes, mut constant) = (Vec::new(), None);
    if let Some(source) = walk.one(&parts, "src") {
        attributes = walk.children(source, &[("attr", Fate::Read)]).into_iter().map(text_of).collect();
        if attributes.is_empty() && !text_of(source).trim().is_empty() {
            constant = Some(text_of(source));
        }
    }
    // The attributes beside an expression are those that it names; they follow from it.
    let source = match (expression, constant) {
        (Some(text), _) => words::source(FlowType::Expression, &attributes, Some(&text)),
        (None, Some(text)) => words::source(FlowType::Constant, &[text], None),
        (None, None) => words::source(FlowType::Direct, &attributes, None),
    };
    let own = |(name, set): (&str, &str)| match node.attribute(name) {
        None => Ok(false),
        Some(value) if value == set => Ok(true),
        Some(value) => Err(format!("the attribute {name} is \"{set}\" or absent, not \"{}\"", short(value))),
    };
    let merge = walk.text(&parts, "valueMergeType").map(|(text, _)| text).unwrap_or_default();
    Ok(PlainFlow {
        source: source.map_err(failed)?,
        once: words::boolean(node.attribute("execute-once").unwrap_or_default()).map_err(failed)?,
        merge: words::merge(&merge).map_err(failed)?,
        keep_when_absent: own(KEEP).map_err(failed)?,
        exact: own(EXACT).map_err(failed)?,
        target,
    })
}

/// What a rule has, in numbers.
pub(super) fn count(rule: &PlainRule) -> String {
    let mut parts = vec![format!("{} flows", rule.flows.len())];
    let clauses: usize = rule.scope.iter().map(Vec::len).sum();
    let pairs: usize = rule.join.iter().map(Vec::len).sum();
    if clauses > 0 {
        parts.push(format!("{clauses} scope clauses"));
    }
    if pairs > 0 {
        parts.push(format!("{pairs} join pairs"));
    }
    parts.join(", ")
}

/// How a report names a rule.
pub(super) fn subject(rule: &PlainRule) -> String {
    format!("rule \"{}\"", short(&rule.name))
}

/// Reports rules of which two have one number or one name; the first one counts.
pub(super) fn without_twins(rules: Vec<EntraRule>, report: &mut Report) -> Vec<EntraRule> {
    let mut kept: Vec<EntraRule> = Vec::with_capacity(rules.len());
    let mut ids = std::collections::HashSet::new();
    let mut names = std::collections::HashSet::new();
    for rule in rules {
        if !ids.insert(rule.id.clone()) {
            let note = format!("another rule has the same identifier {}; this one is left out", short(&rule.id));
            report.add(Outcome::Failed, &rule.place, subject(&rule.rule), note);
        } else if !names.insert((rule.rule.connector.clone(), rule.rule.name.clone())) {
            report.add(
                Outcome::Failed,
                &rule.place,
                subject(&rule.rule),
                "its connector has another rule of this name; this one is left out",
            );
        } else {
            kept.push(rule);
        }
    }
    kept
}
