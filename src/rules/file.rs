//! Reads rule files: TOML with spans in, raw rules and findings out. Names are not resolved here.

use super::problem::{RuleProblem, Severity};
use super::{Direction, LinkType, MergeType, RuleFile, ScopeOperator};
use crate::model::Value;
use crate::model::closest;
use std::collections::HashMap;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A place in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// A text and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Located {
    pub(super) text: String,
    pub(super) place: Place,
}

/// Everything one file says.
#[derive(Debug, Default)]
pub(super) struct RawFile {
    pub(super) name: String,
    pub(super) attributes: Vec<RawAttribute>,
    pub(super) disable: Vec<Located>,
    pub(super) rules: Vec<RawRule>,
}

/// A metaverse attribute that people added.
#[derive(Debug)]
pub(super) struct RawAttribute {
    pub(super) name: Located,
    pub(super) syntax: String,
    pub(super) multi: bool,
    pub(super) indexed: bool,
}

/// A rule as written, `{type}` and placeholders not yet replaced.
#[derive(Clone, Debug)]
pub(super) struct RawRule {
    pub(super) place: Place,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) tag: Option<String>,
    /// Names of conditions that must all hold for the rule to be there.
    pub(super) when: Vec<Located>,
    pub(super) direction: Direction,
    pub(super) connectors: Vec<Located>,
    pub(super) cs_types: Vec<String>,
    pub(super) mv_type: Located,
    pub(super) link: LinkType,
    pub(super) order: u32,
    pub(super) password_sync: bool,
    pub(super) enabled: bool,
    pub(super) exact: bool,
    pub(super) scope: Vec<Vec<RawClause>>,
    pub(super) join: RawJoin,
    pub(super) flows: Vec<RawFlow>,
}

#[derive(Clone, Debug)]
pub(super) struct RawClause {
    pub(super) attr: Located,
    pub(super) operator: ScopeOperator,
    pub(super) value: Option<Located>,
}

#[derive(Clone, Debug)]
pub(super) enum RawJoin {
    Groups(Vec<Vec<RawJoinClause>>),
    /// `@user-matching` and its kin.
    Placeholder(Located),
}

#[derive(Clone, Debug)]
pub(super) struct RawJoinClause {
    pub(super) cs: Located,
    pub(super) mv: Located,
    pub(super) case_sensitive: bool,
}

#[derive(Clone, Debug)]
pub(super) struct RawFlow {
    pub(super) to: Located,
    pub(super) source: RawSource,
    pub(super) once: bool,
    pub(super) merge: MergeType,
    pub(super) keep_when_absent: bool,
    pub(super) exact: Option<bool>,
}

#[derive(Clone, Debug)]
pub(super) enum RawSource {
    Direct(Located),
    Constant(Value, Place),
    Expression(RawExpression),
}

/// An expression and how its own lines and columns map to the file's.
#[derive(Clone, Debug)]
pub(super) struct RawExpression {
    pub(super) text: String,
    pub(super) place: Place,
    /// The text stands in the file as it is, beginning at `place`.
    pub(super) verbatim: bool,
}

const ROOT_KEYS: &[&str] = &["rule", "flow_set", "metaverse_attribute", "disable"];
const RULE_KEYS: &[&str] = &[
    "name",
    "description",
    "tag",
    "when",
    "direction",
    "connector",
    "cs_type",
    "mv_type",
    "link",
    "order",
    "password_sync",
    "enabled",
    "compare",
    "scope",
    "join",
    "include",
    "direct",
    "trim",
    "trim448",
    "first448",
    "flows",
];
const SET_KEYS: &[&str] = &["name", "include", "direct", "trim", "trim448", "first448", "flows"];
const FLOW_KEYS: &[&str] = &["to", "from", "expr", "constant", "once", "merge", "when_source_absent", "compare"];
const CLAUSE_KEYS: &[&str] = &["attr", "op", "value"];
const JOIN_KEYS: &[&str] = &["cs", "mv", "case_sensitive"];
const ATTRIBUTE_KEYS: &[&str] = &["name", "type", "multi", "indexed"];

/// True for a word that names a key or a table somewhere in a rule file.
pub(crate) fn is_key(word: &str) -> bool {
    [ROOT_KEYS, RULE_KEYS, SET_KEYS, FLOW_KEYS, CLAUSE_KEYS, JOIN_KEYS, ATTRIBUTE_KEYS].iter().any(|keys| keys.contains(&word))
}

/// The longest rule file that is read, in octets.
const FILE_MAX: usize = 8 * 1024 * 1024;

/// Reads one file. What cannot be used is left out and named in `problems`.
pub(super) fn read(file: &RuleFile, problems: &mut Vec<RuleProblem>) -> RawFile {
    let lines = std::iter::once(0).chain(file.text.match_indices('\n').map(|(at, _)| at + 1)).collect();
    let mut reader = Reader { file, lines, problems, rule: None };
    let mut raw = RawFile { name: file.name.clone(), ..RawFile::default() };
    if file.text.len() > FILE_MAX {
        reader.error(&(0..0), format!("longer than {FILE_MAX} octets"), None);
        return raw;
    }
    let (root, errors) = DeTable::parse_recoverable(&file.text);
    if !errors.is_empty() {
        for error in errors.iter().take(20) {
            reader.error(&error.span().unwrap_or(0..0), error.message().to_owned(), None);
        }
        return raw;
    }
    let root = root.get_ref();
    reader.keys(root, ROOT_KEYS, "the file");
    for attribute in reader.tables(root, "metaverse_attribute") {
        raw.attributes.extend(reader.attribute(attribute));
    }
    if let Some(value) = get(root, "disable") {
        raw.disable = reader.texts(value);
    }
    let mut sets: HashMap<String, Vec<RawFlow>> = HashMap::new();
    for set in reader.tables(root, "flow_set") {
        let table = set.get_ref();
        reader.keys(table, SET_KEYS, "a flow set");
        if let Some(name) = reader.required(table, set.span(), "name") {
            let flows = reader.flows(table, &sets);
            if sets.insert(name.text.clone(), flows).is_some() {
                reader.error(&set.span(), format!("the flow set \"{}\" stands twice", name.text), None);
            }
        }
    }
    for rule in reader.tables(root, "rule") {
        raw.rules.extend(reader.rule(rule, &sets));
        reader.rule = None;
    }
    raw
}

type Node<'t> = Spanned<DeValue<'t>>;

fn get<'v, 't>(table: &'v DeTable<'t>, key: &str) -> Option<&'v Node<'t>> {
    table.iter().find(|(name, _)| name.get_ref().as_ref() == key).map(|(_, value)| value)
}

struct Reader<'f> {
    file: &'f RuleFile,
    /// Where each line begins: places are asked for at every name, and counting lines anew each time would take minutes.
    lines: Vec<usize>,
    problems: &'f mut Vec<RuleProblem>,
    rule: Option<String>,
}

impl Reader<'_> {
    fn place(&self, offset: usize) -> Place {
        let line = self.lines.partition_point(|start| *start <= offset);
        let start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or_default();
        let before = self.file.text.get(start..offset).unwrap_or_default();
        Place { line, column: before.chars().count() + 1 }
    }

    fn error(&mut self, span: &Range<usize>, message: String, hint: Option<String>) {
        let place = self.place(span.start);
        self.problems.push(RuleProblem {
            severity: Severity::Error,
            file: self.file.name.clone(),
            line: place.line,
            column: place.column,
            rule: self.rule.clone(),
            message,
            hint,
        });
    }

    fn keys(&mut self, table: &DeTable<'_>, known: &[&str], what: &str) {
        for (key, _) in table {
            let name = key.get_ref().as_ref();
            if !known.contains(&name) {
                let hint = match closest(name, known.iter().copied()) {
                    Some(close) => format!("did you mean \"{close}\"?"),
                    None => format!("known here: {}", known.join(", ")),
                };
                self.error(&key.span(), format!("unknown key \"{name}\" in {what}"), Some(hint));
            }
        }
    }

    fn wrong(&mut self, value: &Node<'_>, wanted: &str) {
        let found = value.get_ref().type_str();
        self.error(&value.span(), format!("{wanted} is expected, this is {found}"), None);
    }

    fn tables<'v, 't>(&mut self, table: &'v DeTable<'t>, key: &str) -> Vec<Spanned<&'v DeTable<'t>>> {
        let Some(value) = get(table, key) else { return Vec::new() };
        let Some(array) = value.get_ref().as_array() else {
            self.error(&value.span(), format!("\"{key}\" stands in double brackets: [[{key}]]"), None);
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in array {
            match item.get_ref().as_table() {
                Some(inner) => tables.push(Spanned::new(item.span(), inner)),
                None => self.wrong(item, "a table"),
            }
        }
        tables
    }

    fn text(&mut self, value: &Node<'_>) -> Option<Located> {
        let Some(text) = value.get_ref().as_str() else {
            self.wrong(value, "text in quotation marks");
            return None;
        };
        Some(Located { text: text.to_owned(), place: self.place(value.span().start) })
    }

    fn texts(&mut self, value: &Node<'_>) -> Vec<Located> {
        let Some(array) = value.get_ref().as_array() else {
            self.wrong(value, "an array of texts");
            return Vec::new();
        };
        let mut texts = Vec::new();
        for item in array {
            texts.extend(self.text(item));
        }
        texts
    }

    /// One text or several.
    fn text_or_texts(&mut self, value: &Node<'_>) -> Vec<Located> {
        if value.get_ref().is_array() { self.texts(value) } else { self.text(value).into_iter().collect() }
    }

    fn required(&mut self, table: &DeTable<'_>, span: Range<usize>, key: &str) -> Option<Located> {
        let Some(value) = get(table, key) else {
            self.error(&span, format!("the key \"{key}\" is missing"), None);
            return None;
        };
        self.text(value)
    }

    fn flag(&mut self, table: &DeTable<'_>, key: &str, default: bool) -> bool {
        let Some(value) = get(table, key) else { return default };
        value.get_ref().as_bool().unwrap_or_else(|| {
            self.wrong(value, "true or false");
            default
        })
    }

    fn word<T: Copy>(&mut self, value: &Node<'_>, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(value)?;
        if let Some((_, choice)) = choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(&text.text)) {
            return Some(*choice);
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let hint = match closest(&text.text, names.iter().copied()) {
            Some(close) => format!("did you mean \"{close}\"?"),
            None => format!("one of {}", names.join(", ")),
        };
        self.error(&value.span(), format!("\"{}\" is not known here", text.text), Some(hint));
        None
    }

    fn compare(&mut self, table: &DeTable<'_>) -> Option<bool> {
        let value = get(table, "compare")?;
        self.word(value, &[("text", false), ("binary", true)])
    }

    fn attribute(&mut self, table: Spanned<&DeTable<'_>>) -> Option<RawAttribute> {
        let span = table.span();
        let table = table.into_inner();
        self.keys(table, ATTRIBUTE_KEYS, "a metaverse attribute");
        let name = self.required(table, span.clone(), "name")?;
        let syntax = self.required(table, span.clone(), "type")?.text;
        if super::schema::syntax_kind(&syntax).is_none() {
            let hint = Some("one of string, integer, boolean, binary, reference".to_owned());
            let span = get(table, "type").map_or(span, Spanned::span);
            self.error(&span, format!("\"{syntax}\" is no attribute type"), hint);
            return None;
        }
        let (multi, indexed) = (self.flag(table, "multi", false), self.flag(table, "indexed", false));
        Some(RawAttribute { name, syntax, multi, indexed })
    }

    fn rule(&mut self, table: Spanned<&DeTable<'_>>, sets: &HashMap<String, Vec<RawFlow>>) -> Option<RawRule> {
        let span = table.span();
        let table = table.into_inner();
        let name = self.required(table, span.clone(), "name")?.text;
        self.rule = Some(name.clone());
        self.keys(table, RULE_KEYS, "a rule");
        let tag = get(table, "tag").and_then(|value| self.text(value)).map(|tag| tag.text);
        let direction =
            get(table, "direction").map(|value| self.word(value, &[("inbound", Direction::Inbound), ("outbound", Direction::Outbound)]));
        let connectors = get(table, "connector").map(|value| self.text_or_texts(value));
        let cs_types = get(table, "cs_type").map(|value| self.text_or_texts(value));
        let mv_type = self.required(table, span.clone(), "mv_type");
        let link = get(table, "link").map(|value| {
            self.word(value, &[("join", LinkType::Join), ("sticky-join", LinkType::StickyJoin), ("provision", LinkType::Provision)])
        });
        let order = self.order(table, &span);
        for (key, missing) in [
            ("direction", direction.is_none()),
            ("connector", connectors.is_none()),
            ("cs_type", cs_types.is_none()),
            ("link", link.is_none()),
        ] {
            if missing {
                self.error(&span, format!("the key \"{key}\" is missing"), None);
            }
        }
        let rule = RawRule {
            place: self.place(span.start),
            description: get(table, "description").and_then(|value| self.text(value)).map(|text| text.text).unwrap_or_default(),
            tag,
            when: get(table, "when").map(|value| self.text_or_texts(value)).unwrap_or_default(),
            password_sync: self.flag(table, "password_sync", false),
            enabled: self.flag(table, "enabled", true),
            exact: self.compare(table).unwrap_or(false),
            scope: get(table, "scope").map(|value| self.scope(value)).unwrap_or_default(),
            join: get(table, "join").map_or(RawJoin::Groups(Vec::new()), |value| self.join(value)),
            flows: self.flows(table, sets),
            name,
            direction: direction??,
            connectors: connectors?,
            cs_types: cs_types?.into_iter().map(|located| located.text).collect(),
            mv_type: mv_type?,
            link: link??,
            order: order?,
        };
        if rule.cs_types.len() > 1 && !rule.name.contains("{type}") {
            let hint = Some("put {type} into the name; it is replaced by each type".to_owned());
            self.error(&span, "a rule for several types needs a name for each".to_owned(), hint);
            return None;
        }
        Some(rule)
    }

    fn order(&mut self, table: &DeTable<'_>, span: &Range<usize>) -> Option<u32> {
        let Some(value) = get(table, "order") else {
            let hint = Some("a number; lower wins. 0 to 99 come before the built-in rules".to_owned());
            self.error(span, "the key \"order\" is missing".to_owned(), hint);
            return None;
        };
        let number = value.get_ref().as_integer().and_then(|number| u32::from_str_radix(number.as_str(), number.radix()).ok());
        let number = number.filter(|number| *number <= 1_000_000);
        if number.is_none() {
            self.wrong(value, "a whole number from 0 to 1,000,000");
        }
        number
    }

    /// An array of groups, each an array of clauses.
    fn groups<'v, 't>(&mut self, value: &'v Node<'t>) -> Vec<Vec<Spanned<&'v DeTable<'t>>>> {
        let mut groups = Vec::new();
        let Some(outer) = value.get_ref().as_array() else {
            self.wrong(value, "an array of groups [[{ … }]]");
            return groups;
        };
        for group in outer {
            let Some(inner) = group.get_ref().as_array() else {
                self.wrong(group, "a group of clauses in brackets of its own: [[{ … }]]");
                continue;
            };
            let mut clauses = Vec::new();
            for clause in inner {
                match clause.get_ref().as_table() {
                    Some(table) => clauses.push(Spanned::new(clause.span(), table)),
                    None => self.wrong(clause, "a clause in braces"),
                }
            }
            if inner.is_empty() {
                let hint = Some("write a clause into it, or take it away; no scope is every object".to_owned());
                self.error(&group.span(), "a group without clauses".to_owned(), hint);
            } else {
                groups.push(clauses);
            }
        }
        groups
    }

    fn scope(&mut self, value: &Node<'_>) -> Vec<Vec<RawClause>> {
        let mut scope = Vec::new();
        for group in self.groups(value) {
            let mut clauses = Vec::new();
            for table in group {
                let span = table.span();
                let table = table.into_inner();
                self.keys(table, CLAUSE_KEYS, "a clause of a scope");
                let attr = self.required(table, span.clone(), "attr");
                let operator = get(table, "op").map(|value| self.word(value, ScopeOperator::SPELLINGS));
                if operator.is_none() {
                    self.error(&span, "the key \"op\" is missing".to_owned(), None);
                }
                let operator = operator.flatten();
                let value = get(table, "value").and_then(|value| self.text(value));
                let (Some(attr), Some(operator)) = (attr, operator) else { continue };
                let without = !operator.takes_value();
                if without == value.is_some() {
                    let message = if without { "this operator takes no value" } else { "the key \"value\" is missing" };
                    self.error(&span, message.to_owned(), None);
                    continue;
                }
                clauses.push(RawClause { attr, operator, value });
            }
            scope.push(clauses);
        }
        scope
    }

    fn join(&mut self, value: &Node<'_>) -> RawJoin {
        if value.get_ref().is_str() {
            return self.text(value).map_or(RawJoin::Groups(Vec::new()), RawJoin::Placeholder);
        }
        let mut join = Vec::new();
        for group in self.groups(value) {
            let mut clauses = Vec::new();
            for table in group {
                let span = table.span();
                let table = table.into_inner();
                self.keys(table, JOIN_KEYS, "a clause of a join");
                let (cs, mv) = (self.required(table, span.clone(), "cs"), self.required(table, span, "mv"));
                let case_sensitive = self.flag(table, "case_sensitive", false);
                if let (Some(cs), Some(mv)) = (cs, mv) {
                    clauses.push(RawJoinClause { cs, mv, case_sensitive });
                }
            }
            join.push(clauses);
        }
        RawJoin::Groups(join)
    }

    fn flows(&mut self, table: &DeTable<'_>, sets: &HashMap<String, Vec<RawFlow>>) -> Vec<RawFlow> {
        let mut flows = Vec::new();
        if let Some(value) = get(table, "include") {
            for name in self.texts(value) {
                if let Some(set) = sets.get(&name.text) {
                    flows.extend(set.iter().cloned());
                } else {
                    let hint = closest(&name.text, sets.keys().map(String::as_str)).map(|close| format!("did you mean \"{close}\"?"));
                    let hint = hint.or_else(|| Some("a flow set stands above what includes it, in the same file".to_owned()));
                    self.error(&value.span(), format!("unknown flow set \"{}\"", name.text), hint);
                }
            }
        }
        for (key, form) in [
            ("direct", None),
            ("trim", Some("Trim([x])")),
            ("trim448", Some("Left(Trim([x]),448)")),
            ("first448", Some("IIF(IsNullOrEmpty([x]),NULL,Left(Trim(Item([x],1)),448))")),
        ] {
            if let Some(value) = get(table, key) {
                for item in self.texts(value) {
                    self.short(&item, form, &value.span(), &mut flows);
                }
            }
        }
        if let Some(value) = get(table, "flows") {
            let Some(array) = value.get_ref().as_array() else {
                self.wrong(value, "an array of flows [{ to = …, from = … }]");
                return flows;
            };
            for item in array {
                match item.get_ref().as_table() {
                    Some(inner) => flows.extend(self.flow(inner, item.span())),
                    None => self.wrong(item, "a flow in braces"),
                }
            }
        }
        flows
    }

    /// `name`, `target <- source`, `name{1..15}`.
    fn short(&mut self, item: &Located, form: Option<&str>, span: &Range<usize>, flows: &mut Vec<RawFlow>) {
        let (to, from) = match item.text.split_once("<-") {
            Some((to, from)) => (to.trim(), from.trim()),
            None => (item.text.trim(), item.text.trim()),
        };
        let (Some(targets), Some(sources)) = (numbered(to), numbered(from)) else {
            let hint = Some("a range is written name{1..15}".to_owned());
            self.error(span, format!("\"{}\" is no name of an attribute", item.text), hint);
            return;
        };
        if targets.len() != sources.len() {
            self.error(span, format!("the two ranges of \"{}\" differ in length", item.text), None);
            return;
        }
        for (to, from) in targets.into_iter().zip(sources) {
            let place = item.place.clone();
            let source = match form {
                None => RawSource::Direct(Located { text: from, place: place.clone() }),
                Some(form) => RawSource::Expression(RawExpression {
                    text: form.replace("[x]", &format!("[{from}]")),
                    place: place.clone(),
                    verbatim: false,
                }),
            };
            flows.push(RawFlow {
                to: Located { text: to, place },
                source,
                once: false,
                merge: MergeType::Update,
                keep_when_absent: false,
                exact: None,
            });
        }
    }

    fn flow(&mut self, table: &DeTable<'_>, span: Range<usize>) -> Option<RawFlow> {
        self.keys(table, FLOW_KEYS, "a flow");
        let to = self.required(table, span.clone(), "to")?;
        let given: Vec<&str> = ["from", "expr", "constant"].into_iter().filter(|key| get(table, key).is_some()).collect();
        let [key] = given.as_slice() else {
            let message = format!("a flow has one of \"from\", \"expr\" and \"constant\", here are {}", given.len());
            self.error(&span, message, None);
            return None;
        };
        let value = get(table, key)?;
        let source = match *key {
            "from" => RawSource::Direct(self.text(value)?),
            "expr" => RawSource::Expression(self.expression(value)?),
            _ => RawSource::Constant(self.constant(value)?, self.place(value.span().start)),
        };
        let merge = match get(table, "merge") {
            None => MergeType::Update,
            Some(value) => self.word(
                value,
                &[
                    ("update", MergeType::Update),
                    ("replace", MergeType::Update),
                    ("merge", MergeType::Merge),
                    ("merge-case-insensitive", MergeType::MergeCaseInsensitive),
                ],
            )?,
        };
        let (once, exact) = (self.flag(table, "once", false), self.compare(table));
        let keep_when_absent = match get(table, "when_source_absent") {
            None => false,
            Some(value) => self.word(value, &[("clear", false), ("keep", true)])?,
        };
        Some(RawFlow { to, source, once, merge, keep_when_absent, exact })
    }

    fn constant(&mut self, value: &Node<'_>) -> Option<Value> {
        let constant = match value.get_ref() {
            DeValue::String(text) => Some(Value::from(text.as_ref())),
            DeValue::Boolean(boolean) => Some(Value::Boolean(*boolean)),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok().map(Value::Number),
            _ => None,
        };
        if constant.is_none() {
            self.wrong(value, "text, a whole number, true or false");
        }
        constant
    }

    fn expression(&mut self, value: &Node<'_>) -> Option<RawExpression> {
        let located = self.text(value)?;
        let span = value.span();
        // Where the text stands in the file as it is, positions inside it are positions in the file.
        let written = self.file.text.get(span.clone()).unwrap_or_default();
        match written.find(&located.text).filter(|_| !located.text.is_empty()) {
            Some(offset) => Some(RawExpression { text: located.text, place: self.place(span.start + offset), verbatim: true }),
            None => Some(RawExpression { text: located.text, place: located.place, verbatim: false }),
        }
    }
}

/// `name{1..15}` as fifteen names; a plain name as itself. `None` when neither.
fn numbered(text: &str) -> Option<Vec<String>> {
    let Some((stem, rest)) = text.split_once('{') else {
        let good = !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || "[]\"{}%$".contains(c));
        return good.then(|| vec![text.to_owned()]);
    };
    let (from, to) = rest.strip_suffix('}')?.split_once("..")?;
    let (from, to): (u16, u16) = (from.parse().ok()?, to.parse().ok()?);
    (from <= to && to - from < 1000).then(|| (from..=to).map(|number| format!("{stem}{number}")).collect())
}
