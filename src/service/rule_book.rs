//! Looks rules up, and tells everything about one rule or about all flows into one attribute.

use super::entry::LooseObject;
use super::{RuleView, Service, ServiceError};
use crate::engine::sync::Tracer;
use crate::model::{AttrId, CsId, Timestamp};
use crate::rules::{Direction, FlowSource, PlainFlow, PlainRule, PlainSource, RuleSet, RuleTrace, SyncRule};
use serde::Serialize;
use std::path::Path;

/// Which rules to list. Everything given must hold.
#[derive(Clone, Debug, Default)]
pub struct RuleFilter {
    /// Of this connector.
    pub connector: Option<String>,
    /// `inbound` or `outbound`.
    pub direction: Option<Direction>,
    /// Rules that read, test or write this attribute.
    pub attribute: Option<String>,
    /// Rules about this type, on either side.
    pub object_type: Option<String>,
    /// Enabled ones, disabled ones, or both.
    pub enabled: Option<bool>,
}

/// Everything about one rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleDetail {
    /// What lists show.
    #[serde(flatten)]
    pub summary: RuleView,
    /// What it is for.
    pub description: String,
    /// It takes part in password hash synchronization.
    pub password_sync: bool,
    /// Groups of conditions as sentences: any group, all its conditions; none is every object.
    pub scope: Vec<Vec<String>>,
    /// Groups of pairs: connector space = metaverse, in order.
    pub join: Vec<Vec<String>>,
    /// Its flows.
    #[serde(rename = "attribute_flows")]
    pub flows: Vec<FlowView>,
}

/// One flow as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FlowView {
    /// The attribute written.
    pub target: String,
    /// `[attribute]`, a constant in quotation marks, or an expression.
    pub source: String,
    /// What is special: `once`, `merge`, `keeps when absent`, `exact`.
    pub options: Vec<&'static str>,
}

/// All flows into one attribute on one side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PrecedenceView {
    /// The attribute.
    pub attribute: String,
    /// `metaverse`, or the name of the connector whose attribute it is.
    pub side: String,
    /// The flows, the one that is asked first at the top.
    pub flows: Vec<PrecedenceLine>,
}

/// One flow of a [`PrecedenceView`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PrecedenceLine {
    /// Lower is asked first.
    pub precedence: u32,
    /// The rule.
    pub rule: String,
    /// Its connector.
    pub connector: String,
    /// The type that it reads.
    pub object_type: String,
    /// The flow.
    #[serde(flatten)]
    pub flow: FlowView,
}

impl RuleFilter {
    fn takes(&self, service: &Service, rule: &SyncRule) -> bool {
        let names = service.store().names();
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(found));
        let types = [Some(rule.cs_type), rule.mv_type].into_iter().flatten();
        self.enabled.is_none_or(|enabled| enabled == rule.enabled)
            && self.direction.is_none_or(|direction| direction == rule.direction)
            && is(&self.connector, service.connectors().get(&rule.connector).map_or("", String::as_str))
            && (self.object_type.is_none() || types.into_iter().any(|kind| is(&self.object_type, &names.object_type_name(kind))))
            && self.attribute.as_ref().is_none_or(|attribute| names.find(attribute).is_some_and(|attr| touches(rule, attr, attribute)))
    }
}

/// True when a rule reads, tests or writes an attribute.
fn touches(rule: &SyncRule, attr: AttrId, name: &str) -> bool {
    let named = format!("[{}]", name.to_ascii_lowercase());
    rule.scope.0.iter().flatten().any(|clause| clause.attr == attr)
        || rule.join.iter().flatten().any(|clause| clause.cs == attr || clause.mv == attr)
        || rule.flows.iter().any(|flow| {
            flow.target == attr
                || match &flow.source {
                    FlowSource::Direct(source) => *source == attr,
                    FlowSource::Expression(text) => text.to_ascii_lowercase().contains(&named),
                    FlowSource::Constant(_) => false,
                }
        })
}

impl Service {
    /// The rules as lists show them, enabled ones by precedence first.
    ///
    /// # Errors
    /// When the rules do not compile, or there is no such connector.
    pub fn rule_list(&self, filter: &RuleFilter) -> Result<Vec<RuleView>, ServiceError> {
        let rules = self.rules()?;
        let mut filter = filter.clone();
        if let Some(name) = &filter.connector {
            filter.connector = self.connectors().get(&self.connector_id(name)?).cloned();
        }
        let all = rules.rules().iter().chain(rules.disabled_rules());
        let mut found: Vec<&SyncRule> = all.filter(|rule| filter.takes(self, rule)).collect();
        found.sort_by_key(|rule| rule.precedence);
        Ok(found.into_iter().map(|rule| self.rule_view(rule)).collect())
    }

    fn rule_view(&self, rule: &SyncRule) -> RuleView {
        let names = self.store().names();
        RuleView {
            precedence: rule.precedence,
            name: rule.name.clone(),
            number: format!("{:08x}", rule.id.0),
            tag: rule.tag.clone(),
            direction: rule.direction.as_str(),
            connector: self.connectors().get(&rule.connector).cloned().unwrap_or_default(),
            cs_type: names.object_type_name(rule.cs_type).to_string(),
            mv_type: rule.mv_type.map_or_else(|| "*".to_owned(), |kind| names.object_type_name(kind).to_string()),
            link: rule.link.as_str(),
            flows: rule.flows.len(),
            enabled: rule.enabled,
            origin: rule.origin.clone(),
        }
    }

    /// The one rule that a text means: its name, tag, number (eight hexadecimal digits) or precedence, or a part of its
    /// name that no other rule has. `connector:` may stand before it.
    ///
    /// # Errors
    /// When the rules do not compile, none is meant or several; the candidates are listed.
    pub fn find_rule(&self, text: &str) -> Result<&SyncRule, ServiceError> {
        let rules = self.rules()?;
        let split = text.split_once(':').and_then(|(name, rest)| {
            let known = self.connectors().iter().find(|(_, known)| known.eq_ignore_ascii_case(name.trim()));
            known.map(|(id, _)| (*id, rest.trim()))
        });
        let (connector, text) = split.map_or((None, text.trim()), |(id, rest)| (Some(id), rest));
        let all: Vec<&SyncRule> = rules
            .rules()
            .iter()
            .chain(rules.disabled_rules())
            .filter(|rule| connector.is_none_or(|connector| connector == rule.connector))
            .collect();
        let folded = text.to_lowercase();
        let tests: [&dyn Fn(&SyncRule) -> bool; 5] = [
            &|rule| rule.name == text,
            &|rule| rule.name.to_lowercase() == folded || rule.tag.as_ref().is_some_and(|tag| tag.eq_ignore_ascii_case(text)),
            &|rule| format!("{:08x}", rule.id.0) == folded,
            &|rule| rule.hindrance.is_none() && rule.precedence.to_string() == text,
            &|rule| !folded.is_empty() && rule.name.to_lowercase().contains(&folded),
        ];
        for test in tests {
            let found: Vec<&SyncRule> = all.iter().copied().filter(|rule| test(rule)).collect();
            match found.as_slice() {
                [] => {}
                [one] => return Ok(one),
                several => {
                    let lines: Vec<String> = several.iter().take(10).map(|rule| self.named(rule)).collect();
                    let more = if several.len() > 10 { format!("\n  … and {} more", several.len() - 10) } else { String::new() };
                    return Err(ServiceError::NotFound(format!(
                        "'{text}' may mean several rules; say which by the number at the front:{}{more}",
                        lines.concat()
                    )));
                }
            }
        }
        Err(ServiceError::NotFound(format!("no rule is known as '{text}'; `syncline rule list --all` shows all of them")))
    }

    fn named(&self, rule: &SyncRule) -> String {
        let connector = self.connectors().get(&rule.connector).map_or("?", String::as_str);
        format!("\n  {:>4}  {} ({connector}){}", rule.precedence, rule.name, if rule.enabled { "" } else { ", disabled" })
    }

    /// Everything about one rule.
    ///
    /// # Errors
    /// When the rules do not compile.
    pub fn rule_detail(&self, rule: &SyncRule) -> Result<RuleDetail, ServiceError> {
        let plain = self.plain_rule(rule)?;
        let clause = |clause: &crate::rules::PlainClause| {
            let value = if clause.operator.takes_value() { format!(" \"{}\"", clause.value) } else { String::new() };
            format!("{} {}{value}", clause.attribute, clause.operator.as_str())
        };
        let pair = |pair: &crate::rules::PlainJoin| {
            format!("{} = {}{}", pair.cs, pair.mv, if pair.case_sensitive { " (case counts)" } else { "" })
        };
        Ok(RuleDetail {
            summary: self.rule_view(rule),
            description: plain.description.clone(),
            password_sync: plain.password_sync,
            scope: plain.scope.iter().map(|group| group.iter().map(clause).collect()).collect(),
            join: plain.join.iter().map(|group| group.iter().map(pair).collect()).collect(),
            flows: plain.flows.iter().map(flow_view).collect(),
        })
    }

    /// A rule with names instead of numbers, and with its place in the precedence as it is configured.
    ///
    /// # Errors
    /// When the rules do not compile.
    pub fn plain_rule(&self, rule: &SyncRule) -> Result<PlainRule, ServiceError> {
        let connector = self.connectors().get(&rule.connector).map_or("", String::as_str);
        Ok(PlainRule { order: rule.order, ..self.rules()?.plain(rule, connector) })
    }

    /// All enabled flows into an attribute, of the metaverse and of targets, in the order in which they are asked.
    ///
    /// # Errors
    /// When the rules do not compile, or nothing flows into it; the message names attributes of like names.
    pub fn precedence(&self, attribute: &str) -> Result<Vec<PrecedenceView>, ServiceError> {
        let rules = self.rules()?;
        let names = self.store().names();
        let attr = names.find(attribute);
        let mut views: Vec<PrecedenceView> = Vec::new();
        for rule in rules.rules() {
            let Some(place) = rule.flows.iter().position(|flow| Some(flow.target) == attr) else { continue };
            let plain = self.plain_rule(rule)?;
            let Some(flow) = plain.flows.get(place) else { continue };
            let inbound = rule.direction == Direction::Inbound;
            let side = if inbound { "metaverse".to_owned() } else { plain.connector.clone() };
            let line = PrecedenceLine {
                precedence: rule.precedence,
                rule: rule.name.clone(),
                connector: plain.connector.clone(),
                object_type: if inbound { plain.cs_type.clone() } else { plain.mv_type.clone() },
                flow: flow_view(flow),
            };
            match views.iter_mut().find(|view| view.side == side) {
                Some(view) => view.flows.push(line),
                None => views.push(PrecedenceView { attribute: flow.target.clone(), side, flows: vec![line] }),
            }
        }
        if views.is_empty() {
            return Err(ServiceError::NotFound(format!("no enabled rule flows into '{attribute}'{}", like(rules, names, attribute))));
        }
        Ok(views)
    }

    /// Holds a rule against a stored object; an outbound rule against the metaverse object that it is linked to.
    ///
    /// # Errors
    /// When the rules do not compile, the store cannot be read, or the object has no link that the rule could read.
    pub fn test_rule(&self, rule: &SyncRule, id: CsId, now: Timestamp) -> Result<RuleTrace, ServiceError> {
        let run = self.kept_parameters(now)?;
        let snapshot = self.store().snapshot()?;
        let found = Tracer::new(self.store(), &snapshot, self.rules()?, &run).rule(rule.id, id)?;
        found.ok_or_else(|| {
            ServiceError::NotFound(format!(
                "\"{}\" is an outbound rule and reads metaverse objects; object {id} is linked to none. `syncline preview {id}` tells why",
                rule.name
            ))
        })
    }

    /// Holds an inbound rule against an entry of an LDIF file that need not be in the store.
    ///
    /// # Errors
    /// When the rules do not compile, the rule is an outbound one, or the file does not hold one entry.
    pub fn test_rule_with_entry(&self, rule: &SyncRule, file: &Path, now: Timestamp) -> Result<RuleTrace, ServiceError> {
        if rule.direction == Direction::Outbound {
            let message = format!("\"{}\" is an outbound rule: it reads metaverse objects, and an entry of a file is none", rule.name);
            return Err(ServiceError::Usage(message));
        }
        let object = LooseObject::from_ldif(file, self.store().names())?;
        let run = self.kept_parameters(now)?;
        let trace = self.rules()?.trace_rule(rule.id, &object, &run);
        trace.ok_or_else(|| ServiceError::NotFound(format!("the rule \"{}\" is gone", rule.name)))
    }
}

/// A flow as lists show it.
pub(super) fn flow_view(flow: &PlainFlow) -> FlowView {
    let source = match &flow.source {
        PlainSource::Direct(attribute) => format!("[{attribute}]"),
        PlainSource::Constant(value) => format!("{value:?}"),
        PlainSource::Expression(text) => text.clone(),
    };
    let merge = flow.merge.as_str();
    let options = [
        flow.once.then_some("once"),
        (merge != "update").then_some(merge),
        flow.keep_when_absent.then_some("keeps when absent"),
        flow.exact.then_some("exact"),
    ];
    FlowView { target: flow.target.clone(), source, options: options.into_iter().flatten().collect() }
}

/// Attributes that rules write and whose names hold the text, as a half sentence.
fn like(rules: &RuleSet, names: &crate::model::Names, text: &str) -> String {
    let folded = text.to_lowercase();
    let mut known: Vec<String> = rules
        .rules()
        .iter()
        .flat_map(|rule| &rule.flows)
        .map(|flow| names.name(flow.target).to_string())
        .filter(|name| name.to_lowercase().contains(&folded) || folded.contains(&name.to_lowercase()))
        .collect();
    known.sort_unstable();
    known.dedup();
    if known.is_empty() { String::new() } else { format!("; there are: {}", known.join(", ")) }
}
