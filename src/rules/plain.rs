//! Rules in plain words: what a rule says, with names instead of numbers. It is what importers make, what files are
//! written from, what configurations are compared by, and what commands show.

use super::{Direction, Flow, FlowSource, LinkType, MergeType, RuleFile, RuleSet, ScopeOperator, SyncRule, file};
use crate::model::{AttrId, Value};
use std::fmt::Write as _;

/// A rule with names.
#[derive(Clone, Debug, PartialEq)]
pub struct PlainRule {
    /// The name people see; once per connector.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Immutable tag of a built-in rule, of ours or of the product that it was exported from.
    pub tag: Option<String>,
    /// Which way it works.
    pub direction: Direction,
    /// The connector's name, or a placeholder such as `@cloud`.
    pub connector: String,
    /// The type in the connector space.
    pub cs_type: String,
    /// The type in the metaverse; `*` is any.
    pub mv_type: String,
    /// What it does to links.
    pub link: LinkType,
    /// Place in the precedence; lower wins.
    pub order: u32,
    /// Objects in its scope take part in password hash synchronization.
    pub password_sync: bool,
    /// False keeps it for show.
    pub enabled: bool,
    /// Groups of clauses: any group, all its clauses; none is every object.
    pub scope: Vec<Vec<PlainClause>>,
    /// Groups of pairs, in order.
    pub join: Vec<Vec<PlainJoin>>,
    /// Flows in the order in which they stand.
    pub flows: Vec<PlainFlow>,
}

/// One test of a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainClause {
    /// The attribute tested.
    pub attribute: String,
    /// The test.
    pub operator: ScopeOperator,
    /// The operand; empty for `ISNULL` and `ISNOTNULL`.
    pub value: String,
}

/// One pair of a join group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainJoin {
    /// The attribute in the connector space.
    pub cs: String,
    /// The attribute in the metaverse.
    pub mv: String,
    /// Compare text exactly.
    pub case_sensitive: bool,
}

/// One attribute flow.
#[derive(Clone, Debug, PartialEq)]
pub struct PlainFlow {
    /// The attribute written.
    pub target: String,
    /// Where the value comes from.
    pub source: PlainSource,
    /// Only when the link (inbound) or the object (outbound) is made.
    pub once: bool,
    /// How it goes together with other flows into the same attribute.
    pub merge: MergeType,
    /// An absent source leaves the target's value as it is, instead of clearing it.
    pub keep_when_absent: bool,
    /// Text in the expression compares exactly.
    pub exact: bool,
}

/// Where a flow's value comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum PlainSource {
    /// An attribute as it is.
    Direct(String),
    /// A fixed value.
    Constant(Value),
    /// An expression.
    Expression(String),
}

/// An attribute that rule files add to the metaverse.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlainAttribute {
    /// Its name.
    pub name: String,
    /// `string`, `integer`, `boolean`, `binary` or `reference`.
    pub kind: String,
    /// It may have several values.
    pub multi: bool,
    /// Its text is short and can be searched for.
    pub indexed: bool,
}

/// The attributes that files add to the metaverse, by name. What cannot be read is left out: compiling names it.
pub fn declared_attributes(files: &[RuleFile]) -> Vec<PlainAttribute> {
    let mut declared = Vec::new();
    for rule_file in files {
        let raw = file::read(rule_file, &mut Vec::new());
        declared.extend(raw.attributes.into_iter().map(|attribute| PlainAttribute {
            name: attribute.name.text,
            kind: attribute.syntax,
            multi: attribute.multi,
            indexed: attribute.indexed,
        }));
    }
    declared.sort();
    declared.dedup();
    declared
}

impl RuleSet {
    /// A rule of this set with names; `connector` names its connector.
    pub fn plain(&self, rule: &SyncRule, connector: &str) -> PlainRule {
        let name = |attr: AttrId| if attr == AttrId::DN { "dn".to_owned() } else { self.names.name(attr).to_string() };
        let kind = |kind| self.names.object_type_name(kind).to_string();
        let flow = |flow: &Flow| PlainFlow {
            target: name(flow.target),
            source: match &flow.source {
                FlowSource::Direct(attr) => PlainSource::Direct(name(*attr)),
                FlowSource::Constant(value) => PlainSource::Constant(value.clone()),
                FlowSource::Expression(text) => PlainSource::Expression(text.clone()),
            },
            once: flow.once,
            merge: flow.merge,
            keep_when_absent: flow.keep_when_absent,
            exact: flow.exact,
        };
        PlainRule {
            name: rule.name.clone(),
            description: rule.description.clone(),
            tag: rule.tag.clone(),
            direction: rule.direction,
            connector: connector.to_owned(),
            cs_type: kind(rule.cs_type),
            mv_type: rule.mv_type.map_or_else(|| "*".to_owned(), kind),
            link: rule.link,
            order: rule.precedence,
            password_sync: rule.password_sync,
            enabled: rule.enabled,
            scope: rule
                .scope
                .0
                .iter()
                .map(|group| {
                    let clause = |clause: &super::ScopeClause| PlainClause {
                        attribute: name(clause.attr),
                        operator: clause.operator,
                        value: clause.value.clone(),
                    };
                    group.iter().map(clause).collect()
                })
                .collect(),
            join: rule
                .join
                .iter()
                .map(|group| {
                    let pair = |clause: &super::JoinClause| PlainJoin {
                        cs: name(clause.cs),
                        mv: name(clause.mv),
                        case_sensitive: clause.case_sensitive,
                    };
                    group.iter().map(pair).collect()
                })
                .collect(),
            flows: rule.flows.iter().map(flow).collect(),
        }
    }
}

#[cfg(test)]
impl RuleSet {
    /// How many flows of enabled rules are recognised as `Trim([attribute])` and need no evaluation.
    pub(crate) fn trims(&self) -> usize {
        let flows = self.compiled.iter().flat_map(|rule| &rule.flows);
        flows.filter(|flow| matches!(flow.source, super::CompiledSource::Trim(_))).count()
    }
}

impl PlainRule {
    /// The rule as a `[[rule]]` table of a rule file.
    pub fn to_toml(&self) -> String {
        let mut text = String::from("[[rule]]\n");
        // Writing to a String cannot fail.
        let mut line = |key: &str, value: &str| {
            let _ = writeln!(text, "{key} = {value}");
        };
        line("name", &quoted(&self.name));
        if !self.description.is_empty() {
            line("description", &quoted(&self.description));
        }
        if let Some(tag) = &self.tag {
            line("tag", &quoted(tag));
        }
        line("direction", &quoted(self.direction.as_str()));
        line("connector", &quoted(&self.connector));
        line("cs_type", &quoted(&self.cs_type));
        line("mv_type", &quoted(&self.mv_type));
        line("link", &quoted(self.link.as_str()));
        line("order", &self.order.to_string());
        if self.password_sync {
            line("password_sync", "true");
        }
        if !self.enabled {
            line("enabled", "false");
        }
        let clauses = |group: &[PlainClause]| group.iter().map(PlainClause::to_toml).collect::<Vec<_>>();
        groups(&mut text, "scope", self.scope.iter().map(|group| clauses(group)));
        let pairs = |group: &[PlainJoin]| group.iter().map(PlainJoin::to_toml).collect::<Vec<_>>();
        groups(&mut text, "join", self.join.iter().map(|group| pairs(group)));
        if !self.flows.is_empty() {
            text.push_str("flows = [\n");
            for flow in &self.flows {
                let _ = writeln!(text, "  {},", flow.to_toml());
            }
            text.push_str("]\n");
        }
        text
    }
}

/// Groups of inline tables; one group of one table stays on its line.
fn groups(text: &mut String, key: &str, groups: impl ExactSizeIterator<Item = Vec<String>>) {
    let groups: Vec<Vec<String>> = groups.collect();
    match groups.as_slice() {
        [] => {}
        [group] if group.len() == 1 => {
            let _ = writeln!(text, "{key} = [[{}]]", group.concat());
        }
        _ => {
            let _ = writeln!(text, "{key} = [");
            for group in groups {
                let _ = writeln!(text, "  [\n    {},\n  ],", group.join(",\n    "));
            }
            text.push_str("]\n");
        }
    }
}

impl PlainClause {
    fn to_toml(&self) -> String {
        let value = if self.operator.takes_value() { format!(", value = {}", quoted(&self.value)) } else { String::new() };
        format!("{{ attr = {}, op = {}{value} }}", quoted(&self.attribute), quoted(self.operator.as_str()))
    }
}

impl PlainJoin {
    fn to_toml(&self) -> String {
        let case = if self.case_sensitive { ", case_sensitive = true" } else { "" };
        format!("{{ cs = {}, mv = {}{case} }}", quoted(&self.cs), quoted(&self.mv))
    }
}

impl PlainFlow {
    /// The flow as an inline table of a rule file.
    pub fn to_toml(&self) -> String {
        let source = match &self.source {
            PlainSource::Direct(attribute) => format!("from = {}", quoted(attribute)),
            PlainSource::Constant(Value::Boolean(value)) => format!("constant = {value}"),
            PlainSource::Constant(Value::Number(value)) => format!("constant = {value}"),
            PlainSource::Constant(Value::Text(value)) => format!("constant = {}", quoted(value)),
            PlainSource::Constant(other) => format!("constant = {}", quoted(&format!("{other:?}"))),
            PlainSource::Expression(text) => format!("expr = {}", quoted(text)),
        };
        let mut more = String::new();
        if self.once {
            more.push_str(", once = true");
        }
        if self.merge != MergeType::Update {
            let _ = write!(more, ", merge = {}", quoted(self.merge.as_str()));
        }
        if self.keep_when_absent {
            more.push_str(", when_source_absent = \"keep\"");
        }
        if self.exact {
            more.push_str(", compare = \"binary\"");
        }
        format!("{{ to = {}, {source}{more} }}", quoted(&self.target))
    }
}

/// Text as TOML writes it: plainly where that is possible.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}
