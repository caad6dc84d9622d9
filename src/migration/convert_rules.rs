//! From the rules of an export to rule files that compile: names, spelling, what does not fit, what is left out.

use super::convert::Target;
use super::keys::slug;
use super::model::{EntraAttribute, EntraConnectorKind, EntraExport, EntraRule, Place};
use super::read_rule::{count, subject};
use super::report::{Outcome, Report};
use super::words::{attributes_of, rewrite, short};
use crate::model::{ConnectorId, Names, ValueKind};
use crate::rules::{
    CompileInput, ConnectorKind, ConnectorProfile, Direction, KnownSchema, PlainRule, PlainSource, RuleFile, RuleProblem, RuleSet,
    RuleSettings, Severity, known_attributes,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

/// The rules of an import, as files.
pub(super) struct ConvertedRules {
    /// Name and text of each file.
    pub(super) files: Vec<RuleFile>,
    /// The rules that are in them.
    pub(super) rules: Vec<PlainRule>,
}

/// The name of the file with attributes that the metaverse gets besides its own.
const ATTRIBUTES_FILE: &str = "rules/00-metaverse.toml";

/// Makes rule files. What cannot be taken is told and left out, and stands in the files as a comment.
pub(super) fn convert(
    export: &EntraExport,
    targets: &[Target],
    settings: &RuleSettings,
    built_in: bool,
    report: &mut Report,
) -> ConvertedRules {
    let attributes = new_attributes(&export.metaverse.attributes, report);
    let attributes_text = attributes_text(&attributes);
    let spelling = Spelling::new(&attributes, targets);
    let mut check = Check { targets, settings, attributes: &attributes_text };
    let mut kept: Vec<(EntraRule, String)> = Vec::new();
    let mut left_out: Vec<(String, String)> = Vec::new();
    for rule in &export.rules {
        let Some(target) = targets.iter().find(|target| target.id == rule.rule.connector) else {
            let note = format!("its connector {{{}}} is not part of the export; the rule is left out", short(&rule.rule.connector));
            report.add(Outcome::Failed, &rule.place, subject(&rule.rule), note);
            continue;
        };
        let mut rule = rule.clone();
        rule.rule.connector.clone_from(&target.name);
        spelling.repair(&mut rule, target, report);
        if rule.rule.enabled && rule.rule.direction == Direction::Outbound && target.kind == EntraConnectorKind::ActiveDirectory {
            rule.rule.enabled = false;
            let note = "disabled: nothing is written to Active Directory; it stays in the files for show";
            report.add(Outcome::Changed, &rule.place, subject(&rule.rule), note);
        }
        match check.rule(&mut rule, report) {
            Ok(comment) => kept.push((rule, comment)),
            Err(comment) => left_out.push((target.name.clone(), comment)),
        }
    }
    kept.sort_by(|(left, _), (right, _)| (left.rule.order, &left.rule.name).cmp(&(right.rule.order, &right.rule.name)));
    loop {
        let files = files(&attributes_text, &kept, &left_out, targets);
        let Err(problems) = compile(&files, targets, settings, built_in) else {
            for (rule, _) in &kept {
                report.add(Outcome::Taken, &rule.place, subject(&rule.rule), count(&rule.rule));
            }
            return ConvertedRules { files, rules: kept.into_iter().map(|(rule, _)| rule.rule).collect() };
        };
        // What only shows when all rules stand together: two with one name or tag.
        let before = kept.len();
        kept.retain(|(rule, _)| {
            let Some(problem) = problems.iter().find(|problem| problem.rule.as_deref() == Some(rule.rule.name.as_str())) else {
                return true;
            };
            let note = format!("{}; the rule is left out", first_line(&problem.message));
            report.add(Outcome::Failed, &rule.place, subject(&rule.rule), note);
            left_out.push((rule.rule.connector.clone(), commented(&rule.rule.to_toml(), &problem.message)));
            false
        });
        if kept.len() == before {
            // Nobody is to blame by name: no rule is better than rules that nobody can use.
            for problem in &problems {
                report.add(
                    Outcome::Failed,
                    &Place::of_file(&problem.file),
                    "rules",
                    format!("none is taken: {}", first_line(&problem.message)),
                );
            }
            kept.clear();
            left_out.clear();
            return ConvertedRules { files: Vec::new(), rules: Vec::new() };
        }
    }
}

/// Attributes that the metaverse does not have yet; conflicts are told.
fn new_attributes(declared: &[EntraAttribute], report: &mut Report) -> Vec<EntraAttribute> {
    let known = known_attributes(KnownSchema::Metaverse);
    let (mut new, mut same) = (Vec::<EntraAttribute>::new(), 0_usize);
    for attribute in declared {
        let subject = format!("metaverse attribute {}", short(&attribute.name));
        let own = known.iter().find(|own| own.name.eq_ignore_ascii_case(&attribute.name));
        if let Some(own) = own {
            let indexed = attribute.indexed && attribute.kind == ValueKind::Text;
            if own.kind != attribute.kind || own.multi != attribute.multi {
                let note = format!(
                    "Syncline has it as {}, the export as {}; Syncline's type counts",
                    described(own.kind, own.multi),
                    described(attribute.kind, attribute.multi)
                );
                report.add(Outcome::Changed, &attribute.place, subject, note);
            } else if own.indexed != indexed {
                let note = if own.indexed { "text of at most 448 characters here" } else { "text of any length here" };
                report.add(Outcome::Changed, &attribute.place, subject, note);
            } else if own.name != attribute.name {
                report.add(Outcome::Changed, &attribute.place, subject, format!("spelled {}", own.name));
            } else {
                same += 1;
            }
        } else if new.iter().any(|other| other.name.eq_ignore_ascii_case(&attribute.name)) {
            report.add(Outcome::Failed, &attribute.place, subject, "declared twice; the first one counts");
        } else if attribute.name.chars().any(|character| character.is_whitespace() || "[]\"{}%$".contains(character)) {
            report.add(Outcome::Failed, &attribute.place, subject, "this is no name of an attribute; it is left out");
        } else {
            let note = format!("added in {ATTRIBUTES_FILE}: {}", described(attribute.kind, attribute.multi));
            report.add(Outcome::Taken, &attribute.place, subject, note);
            new.push(attribute.clone());
        }
    }
    if let (Some(first), true) = (declared.first(), same > 0) {
        report.add(Outcome::Taken, &first.place, "metaverse schema", format!("{same} attributes as Syncline has them"));
    }
    new
}

fn described(kind: ValueKind, multi: bool) -> String {
    let kind = match kind {
        ValueKind::Text | ValueKind::LargeText => "text",
        ValueKind::Number => "a number",
        ValueKind::Boolean => "true or false",
        ValueKind::Binary | ValueKind::LargeBinary => "octets",
        ValueKind::Reference => "a reference",
    };
    if multi { format!("{kind}, several values") } else { kind.to_owned() }
}

fn attributes_text(attributes: &[EntraAttribute]) -> String {
    let mut text = String::new();
    for attribute in attributes {
        let syntax = match attribute.kind {
            ValueKind::Text | ValueKind::LargeText => "string",
            ValueKind::Number => "integer",
            ValueKind::Boolean => "boolean",
            ValueKind::Binary | ValueKind::LargeBinary => "binary",
            ValueKind::Reference => "reference",
        };
        let name = toml::Value::from(attribute.name.as_str());
        let _ = writeln!(text, "\n[[metaverse_attribute]]\nname = {name}\ntype = \"{syntax}\"");
        for (key, _) in [("multi", attribute.multi), ("indexed", attribute.indexed)].iter().filter(|(_, set)| *set) {
            let _ = writeln!(text, "{key} = true");
        }
    }
    text
}

/// How names are spelled, on both sides.
struct Spelling {
    metaverse: HashMap<String, String>,
    spaces: HashMap<String, HashMap<String, String>>,
}

impl Spelling {
    fn new(attributes: &[EntraAttribute], targets: &[Target]) -> Self {
        // The first spelling counts: what the program itself knows stands before what an export declares.
        let table = |names: &mut dyn Iterator<Item = String>| {
            let mut table: HashMap<String, String> = HashMap::new();
            for name in names {
                table.entry(name.to_ascii_lowercase()).or_insert(name);
            }
            table
        };
        let known = |schema| known_attributes(schema).into_iter().map(|attribute| attribute.name);
        let metaverse = table(&mut known(KnownSchema::Metaverse).chain(attributes.iter().map(|attribute| attribute.name.clone())));
        let spaces = targets
            .iter()
            .map(|target| {
                let declared = target.schema.iter().cloned();
                let table = match target.kind {
                    EntraConnectorKind::Cloud => table(&mut known(KnownSchema::Cloud).chain(declared)),
                    _ => table(&mut declared.into_iter()),
                };
                (target.name.clone(), table)
            })
            .collect();
        Self { metaverse, spaces }
    }

    fn repair(&self, rule: &mut EntraRule, target: &Target, report: &mut Report) {
        let empty = HashMap::new();
        let space = self.spaces.get(&target.name).unwrap_or(&empty);
        let inbound = rule.rule.direction == Direction::Inbound;
        let (source, destination) = if inbound { (space, &self.metaverse) } else { (&self.metaverse, space) };
        let mut changed: BTreeSet<(String, String)> = BTreeSet::new();
        let mut spelled = |table: &HashMap<String, String>, name: &str| {
            let right = table.get(&name.to_ascii_lowercase()).filter(|right| *right != name).cloned();
            if let Some(right) = &right {
                changed.insert((name.to_owned(), right.clone()));
            }
            right
        };
        let plain = &mut rule.rule;
        let mut put = |table: &HashMap<String, String>, name: &mut String| {
            if let Some(right) = spelled(table, name) {
                *name = right;
            }
        };
        for clause in plain.scope.iter_mut().flatten() {
            put(source, &mut clause.attribute);
        }
        for pair in plain.join.iter_mut().flatten() {
            put(space, &mut pair.cs);
            put(&self.metaverse, &mut pair.mv);
        }
        for flow in &mut plain.flows {
            put(destination, &mut flow.target);
            match &mut flow.source {
                PlainSource::Direct(name) => put(source, name),
                PlainSource::Expression(text) => {
                    let mut right = BTreeMap::new();
                    for name in attributes_of(text) {
                        let mut spelled = name.clone();
                        put(source, &mut spelled);
                        if spelled != name {
                            right.insert(name, spelled);
                        }
                    }
                    if !right.is_empty() {
                        *text = rewrite(text, |name| right.get(name).cloned());
                    }
                }
                PlainSource::Constant(_) => {}
            }
        }
        for (wrong, right) in changed {
            let note = format!("{} is spelled {right}", short(&wrong));
            report.add(Outcome::Changed, &rule.place, subject(&rule.rule), note);
        }
    }
}

/// Compiles rules one by one, to find what is to blame.
struct Check<'c> {
    targets: &'c [Target],
    settings: &'c RuleSettings,
    attributes: &'c str,
}

impl Check<'_> {
    fn problem(&self, rule: &PlainRule) -> Option<RuleProblem> {
        let files = [file("attributes", self.attributes.to_owned()), file("rule", rule.to_toml())];
        let target = self.targets.iter().filter(|target| target.name == rule.connector);
        let targets: Vec<Target> = target.cloned().collect();
        let problems = compile(&files, &targets, self.settings, false).err()?;
        problems.into_iter().find(|problem| problem.severity == Severity::Error)
    }

    /// Takes away the flows that do not compile; `Ok` and `Err` hold what is left as a comment. A rule whose scope or join
    /// does not compile is left out.
    fn rule(&mut self, rule: &mut EntraRule, report: &mut Report) -> Result<String, String> {
        if self.problem(&rule.rule).is_none() {
            return Ok(String::new());
        }
        let bare = PlainRule { flows: Vec::new(), ..rule.rule.clone() };
        if let Some(problem) = self.problem(&bare) {
            report.add(Outcome::Failed, &rule.place, subject(&rule.rule), format!("{}; the rule is left out", told(&problem)));
            return Err(commented(&rule.rule.to_toml(), &problem.message));
        }
        let mut comment = String::new();
        let (mut flows, mut places) = (Vec::new(), Vec::new());
        for (flow, place) in std::mem::take(&mut rule.rule.flows).into_iter().zip(std::mem::take(&mut rule.flow_places)) {
            let alone = PlainRule { flows: vec![flow.clone()], ..bare.clone() };
            match self.problem(&alone) {
                None => {
                    flows.push(flow);
                    places.push(place);
                }
                Some(problem) => {
                    let what = format!("{}, flow to {}", subject(&rule.rule), short(&flow.target));
                    report.add(Outcome::Failed, &place, what, format!("{}; the flow is left out", told(&problem)));
                    comment.push_str(&commented(&flow.to_toml(), &problem.message));
                }
            }
        }
        (rule.rule.flows, rule.flow_places) = (flows, places);
        match self.problem(&rule.rule) {
            None => Ok(comment),
            Some(problem) => {
                report.add(Outcome::Failed, &rule.place, subject(&rule.rule), format!("{}; the rule is left out", told(&problem)));
                Err(commented(&rule.rule.to_toml(), &problem.message))
            }
        }
    }
}

/// A problem in one line, with what to do.
fn told(problem: &RuleProblem) -> String {
    let message = first_line(&problem.message);
    match &problem.hint {
        Some(hint) => format!("{message} ({hint})"),
        None => message.to_owned(),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn commented(text: &str, reason: &str) -> String {
    let mut comment = format!("# left out: {}\n", first_line(reason));
    for line in text.lines() {
        let _ = writeln!(comment, "# {line}");
    }
    comment
}

fn file(name: &str, text: String) -> RuleFile {
    RuleFile { name: name.to_owned(), text }
}

/// One file per direction and connector, rules by precedence.
fn files(attributes: &str, kept: &[(EntraRule, String)], left_out: &[(String, String)], targets: &[Target]) -> Vec<RuleFile> {
    let mut files = Vec::new();
    if !attributes.is_empty() {
        let text = format!("# Attributes that the metaverse has besides those that come with the program.\n{attributes}");
        files.push(file(ATTRIBUTES_FILE, text));
    }
    let mut number = 10;
    for direction in [Direction::Inbound, Direction::Outbound] {
        for target in targets {
            let of_target = kept.iter().filter(|(rule, _)| rule.rule.direction == direction && rule.rule.connector == target.name);
            let rules: Vec<&(EntraRule, String)> = of_target.collect();
            let comments: Vec<&str> = left_out
                .iter()
                .filter(|(connector, _)| direction == Direction::Inbound && *connector == target.name)
                .map(|(_, comment)| comment.as_str())
                .collect();
            if rules.is_empty() && comments.is_empty() {
                continue;
            }
            let (way, title) = if direction == Direction::Inbound { ("in-from", "Inbound from") } else { ("out-to", "Outbound to") };
            let mut text = format!("# {title} {}, by precedence.\n", target.name.replace(char::is_control, "?"));
            for (rule, comment) in rules {
                let _ = write!(text, "\n{}{comment}", rule.rule.to_toml());
            }
            for comment in comments {
                let _ = write!(text, "\n{comment}");
            }
            files.push(file(&format!("rules/{number}-{way}-{}.toml", slug(&target.name)), text));
            number += 10;
        }
    }
    files
}

/// Compiles rule files as the service will.
fn compile(files: &[RuleFile], targets: &[Target], settings: &RuleSettings, built_in: bool) -> Result<RuleSet, Vec<RuleProblem>> {
    let mut all = if built_in { RuleSet::default_files() } else { Vec::new() };
    all.extend(files.iter().cloned());
    let profiles: Vec<ConnectorProfile> = (1..)
        .map(ConnectorId)
        .zip(targets)
        .map(|(id, target)| {
            let kind = match &target.kind {
                EntraConnectorKind::ActiveDirectory => ConnectorKind::ActiveDirectory,
                EntraConnectorKind::Cloud => ConnectorKind::Cloud,
                EntraConnectorKind::Syncline(kind) if kind == "ldap" => ConnectorKind::OpenLdap,
                EntraConnectorKind::Syncline(_) => ConnectorKind::Ldif,
            };
            ConnectorProfile::new(id, target.name.clone(), kind)
        })
        .collect();
    RuleSet::compile(CompileInput { files: &all, connectors: &profiles, names: &Arc::new(Names::new()), settings })
}

/// The attributes of a connector that enabled rules read or write.
pub(super) fn used_attributes<'p>(rules: impl IntoIterator<Item = &'p PlainRule>, connector: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for rule in rules.into_iter().filter(|rule| rule.enabled && rule.connector == connector) {
        used.extend(rule.join.iter().flatten().map(|pair| pair.cs.clone()));
        if rule.direction == Direction::Outbound {
            used.extend(rule.flows.iter().map(|flow| flow.target.clone()));
            continue;
        }
        used.extend(rule.scope.iter().flatten().map(|clause| clause.attribute.clone()));
        for flow in &rule.flows {
            match &flow.source {
                PlainSource::Direct(name) => _ = used.insert(name.clone()),
                PlainSource::Expression(text) => used.extend(attributes_of(text)),
                PlainSource::Constant(_) => {}
            }
        }
    }
    used.remove("dn");
    // Names have no case in directories.
    let mut seen = BTreeSet::new();
    used.retain(|name| seen.insert(name.to_ascii_lowercase()));
    used
}
