//! Changes rule files: clones a rule, switches rules off and on. The whole set is compiled before a file is written, and
//! a set that does not compile is never written.

use super::parameters::kept_extensions;
use super::{Service, ServiceError, compile_rules, problems_of};
use crate::config::{RuleText, lock_folder, no_toml};
use crate::model::{ConnectorId, Link, counted};
use crate::rules::{LinkType, RuleProblem, Severity, SyncRule};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The file in which `rule disable` keeps its list.
pub const DISABLED_FILE: &str = "rules/00-disabled.toml";

/// What a change of rules comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleChange {
    /// The file, relative to the configuration folder.
    pub file: String,
    /// `written`, `removed`, `unchanged`, or with `--what-if` `would be written`, `would be removed`.
    pub done: &'static str,
    /// What the file holds afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The rules that are switched off or on, or were copied.
    pub rules: Vec<String>,
    /// What the set says of itself afterwards and did not say before, and what the change will do to objects.
    pub warnings: Vec<String>,
}

/// A file as it shall be; without a text it goes.
pub(super) struct Edit {
    pub(super) file: String,
    pub(super) text: Option<String>,
    /// It must not be there yet.
    pub(super) new: bool,
    pub(super) rules: Vec<String>,
}

impl Service {
    /// Copies a rule to a file of its own under another name, and switches the original off in that same file. A rule that
    /// several connectors have is copied for each of them, since it is switched off for all.
    ///
    /// # Errors
    /// When the file is there already, the new set does not compile, or the file cannot be written.
    pub fn clone_rule(&self, rule: &SyncRule, name: &str, order: Option<u32>, what_if: bool) -> Result<RuleChange, ServiceError> {
        let name = name.trim();
        if name.is_empty() {
            return Err(ServiceError::Usage("the copy needs a name".to_owned()));
        }
        let set = self.rules()?;
        let mark = mark(rule);
        let copied: Vec<&SyncRule> = set.rules().iter().chain(set.disabled_rules()).filter(|other| self::mark(other) == mark).collect();
        let mut text = format!("# A copy of \"{}\", which it replaces. Without this file the original applies again.\n", rule.name);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "disable = [{}]", quoted(&mark));
        let order = order.unwrap_or(rule.order);
        for one in &copied {
            let mut plain = self.plain_rule(one)?;
            name.clone_into(&mut plain.name);
            plain.tag = None;
            plain.enabled = true;
            plain.order = order;
            text.push('\n');
            text.push_str(&plain.to_toml());
        }
        let file = format!("rules/{order:02}-{}.toml", plain_name(name));
        self.edit(Edit { file, text: Some(text), new: true, rules: copied.iter().map(|rule| rule.name.clone()).collect() }, what_if)
    }

    /// Switches a rule off.
    ///
    /// # Errors
    /// As [`Self::clone_rule`].
    pub fn disable_rule(&self, rule: &SyncRule, what_if: bool) -> Result<RuleChange, ServiceError> {
        let mut marks = self.disabled_marks(DISABLED_FILE)?;
        let rules = self.all_marked(rule)?;
        if !rule.enabled {
            return Ok(RuleChange { file: rule.origin.clone(), done: "unchanged", text: None, rules, warnings: Vec::new() });
        }
        marks.push(mark(rule));
        let edit = Edit { file: DISABLED_FILE.to_owned(), text: Some(disabled_text(&marks)), new: false, rules };
        let mut change = self.edit(edit, what_if)?;
        change.warnings.extend(self.ties(rule)?);
        if rule.link == LinkType::Provision {
            change.warnings.push(format!(
                "\"{}\" creates objects: what it created and no other rule wants is deleted by the next synchronization and export. \
                 Set guard.staging = true before the next cycle, and look at `syncline export --what-if` before you take it back",
                rule.name
            ));
        }
        Ok(change)
    }

    /// Switches a rule on: takes it from the list that [`Self::disable_rule`] keeps, or from its own table.
    ///
    /// # Errors
    /// When another file switches it off, which only people can decide about; else as [`Self::clone_rule`].
    pub fn enable_rule(&self, rule: &SyncRule, what_if: bool) -> Result<RuleChange, ServiceError> {
        let rules = self.all_marked(rule)?;
        if rule.enabled {
            return Ok(RuleChange { file: rule.origin.clone(), done: "unchanged", text: None, rules, warnings: Vec::new() });
        }
        let names = [Some(rule.name.clone()), rule.tag.clone()];
        let marked = |mark: &String| names.iter().flatten().any(|name| name == mark);
        for file in &self.config().rule_files {
            if file.name != DISABLED_FILE && self.disabled_marks(&file.name)?.iter().any(marked) {
                return Err(ServiceError::Usage(format!(
                    "\"{}\" is switched off by `disable` in {}, perhaps because a copy there replaces it: take it out there, or remove the file",
                    rule.name, file.name
                )));
            }
        }
        let marks = self.disabled_marks(DISABLED_FILE)?;
        if marks.iter().any(marked) {
            let rest: Vec<String> = marks.into_iter().filter(|mark| !marked(mark)).collect();
            let text = (!rest.is_empty()).then(|| disabled_text(&rest));
            return self.edit(Edit { file: DISABLED_FILE.to_owned(), text, new: false, rules }, what_if);
        }
        let (file, text) = self.switched_on(rule)?;
        self.edit(Edit { file, text: Some(text), new: false, rules }, what_if)
    }

    /// The rule's own file with `enabled = false` of its table turned round.
    fn switched_on(&self, rule: &SyncRule) -> Result<(String, String), ServiceError> {
        let by_hand = || ServiceError::Usage(format!("\"{}\" is switched off in {}: write enabled = true there", rule.name, rule.origin));
        let (file, line) = rule.origin.rsplit_once(':').ok_or_else(by_hand)?;
        let line: usize = line.parse().map_err(|_| by_hand())?;
        let own = self.config().rule_files.iter().find(|known| known.name == file).ok_or_else(by_hand)?;
        let mut lines: Vec<String> = own.text.split_inclusive('\n').map(str::to_owned).collect();
        let start = line.saturating_sub(1);
        let table = lines.iter().skip(start + 1).position(|line| line.trim_start().starts_with("[["));
        let end = table.map_or(lines.len(), |offset| start + 1 + offset);
        let is_switch = |line: &String| {
            let plain: String = line.split('#').next().unwrap_or_default().split_whitespace().collect();
            plain == "enabled=false"
        };
        let at = lines.iter().take(end).skip(start).position(is_switch).ok_or_else(by_hand)?;
        let switch = lines.get_mut(start + at).ok_or_else(by_hand)?;
        *switch = switch.replacen("false", "true", 1);
        Ok((file.to_owned(), lines.concat()))
    }

    /// Whom a rule, and all that share its mark, tie to the metaverse now, and how to see what becomes of them; `None` where it is nobody.
    pub(super) fn ties(&self, rule: &SyncRule) -> Result<Option<String>, ServiceError> {
        let (set, snapshot) = (self.rules()?, self.store().snapshot()?);
        let (mut spaces, mut people) = (BTreeMap::<ConnectorId, u64>::new(), HashSet::new());
        for one in set.rules().iter().filter(|other| mark(other) == mark(rule)) {
            snapshot.cs_links(one.connector, &mut |_, link| match link {
                Link::Connected { mv, by } if by == one.id => {
                    *spaces.entry(one.connector).or_default() += 1;
                    people.insert(mv);
                }
                _ => {}
            })?;
        }
        if people.is_empty() {
            return Ok(None);
        }
        let name = |id: &ConnectorId| self.connectors().get(id).map_or("?", String::as_str);
        let objects = |count: u64| counted(count, "object", "objects");
        let spaces: Vec<String> = spaces.iter().map(|(id, count)| format!("{} of {}", objects(*count), name(id))).collect();
        let looks: Vec<String> = set.targets().iter().map(|id| format!("`syncline export '{}' --what-if`", name(id))).collect();
        Ok(Some(format!(
            "\"{}\" ties {} to {} of the metaverse now. Whom no other rule ties is parted by the next full synchronization; behind it, and \
             before the guards let anything go, {} shows what follows",
            rule.name,
            spaces.join(" and "),
            objects(people.len() as u64),
            looks.join(" and ")
        )))
    }

    /// Names of all rules that share the mark by which a rule is switched off.
    fn all_marked(&self, rule: &SyncRule) -> Result<Vec<String>, ServiceError> {
        let set = self.rules()?;
        let all = set.rules().iter().chain(set.disabled_rules()).filter(|other| mark(other) == mark(rule));
        Ok(all.map(|rule| format!("{} ({})", rule.name, self.connectors().get(&rule.connector).map_or("?", String::as_str))).collect())
    }

    /// What a rule file switches off.
    fn disabled_marks(&self, file: &str) -> Result<Vec<String>, ServiceError> {
        let Some(own) = self.config().rule_files.iter().find(|known| known.name == file) else { return Ok(Vec::new()) };
        let table: toml::Table = own
            .text
            .parse()
            .map_err(|error: toml::de::Error| no_toml(Path::new(""), Path::new(file), &own.text, (error.message(), error.span())))?;
        if file == DISABLED_FILE && own.text != disabled_text(&marks_of(&table)) {
            return Err(ServiceError::Usage(format!(
                "{file} holds what this command did not write: rename the file, or add the rule to its `disable` by hand"
            )));
        }
        Ok(marks_of(&table))
    }

    /// Compiles the set with the change, and writes it unless only a look was asked for.
    pub(super) fn edit(&self, edit: Edit, what_if: bool) -> Result<RuleChange, ServiceError> {
        let path = self.config().folder.join(&edit.file);
        if edit.new && path.exists() {
            return Err(ServiceError::Usage(format!("{} is there already: choose another name, or remove the file", path.display())));
        }
        // Held until the file is written; another command may have changed it before.
        let _held = if what_if { None } else { Some(lock_folder(&self.config().folder)?) };
        let known = self.config().rule_files.iter().find(|file| file.name == edit.file).map(|file| &file.text);
        if !what_if && !edit.new && std::fs::read_to_string(&path).ok().as_ref() != known {
            return Err(ServiceError::NotReady {
                message: format!("{} was changed meanwhile, and nothing was written", path.display()),
                hint: "run the command again".to_owned(),
            });
        }
        let mut config = self.config().clone();
        config.rule_files.retain(|file| file.name != edit.file);
        if let Some(text) = &edit.text {
            config.rule_files.push(RuleText { name: edit.file.clone(), text: text.clone() });
        }
        config.rule_files.sort_by(|left, right| left.name.cmp(&right.name));
        let extensions = kept_extensions(self.store(), self.connectors().keys())?;
        let set = compile_rules(&config, self.store().names(), self.connectors(), &extensions).map_err(ServiceError::Rules)?;
        let before: Vec<String> = self.rule_problems().iter().map(ToString::to_string).collect();
        let news = |problem: &&RuleProblem| problem.severity == Severity::Warning && !before.contains(&problem.to_string());
        let warnings = problems_of(&config, &set, self.connectors()).iter().filter(news).map(ToString::to_string).collect();
        let done = match (&edit.text, what_if) {
            (Some(_), true) => "would be written",
            (None, true) => "would be removed",
            (Some(text), false) => {
                write(&path, text, edit.new)?;
                "written"
            }
            (None, false) => {
                std::fs::remove_file(&path).map_err(|error| unwritten(&path, &error))?;
                "removed"
            }
        };
        Ok(RuleChange { file: edit.file, done, text: edit.text, rules: edit.rules, warnings })
    }
}

/// By what a rule is switched off: its tag, or its name. Rules of several connectors may share it.
pub(super) fn mark(rule: &SyncRule) -> String {
    rule.tag.clone().unwrap_or_else(|| rule.name.clone())
}

/// The `disable` of a rule file.
pub(super) fn marks_of(table: &toml::Table) -> Vec<String> {
    let marks = table.get("disable").and_then(toml::Value::as_array).cloned().unwrap_or_default();
    marks.iter().filter_map(toml::Value::as_str).map(str::to_owned).collect()
}

fn disabled_text(marks: &[String]) -> String {
    let mut text =
        String::from("# Rules that are switched off. `syncline rule disable` and `syncline rule enable` keep this file.\ndisable = [\n");
    for mark in marks {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {},", quoted(mark));
    }
    text.push_str("]\n");
    text
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A file name from a rule's name.
fn plain_name(name: &str) -> String {
    let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let words: Vec<&str> = plain.split('-').filter(|word| !word.is_empty()).collect();
    if words.is_empty() { "rule".to_owned() } else { words.join("-") }
}

/// Writes a file as a whole or not at all.
fn write(path: &PathBuf, text: &str, new: bool) -> Result<(), ServiceError> {
    let failed = |error: &std::io::Error| unwritten(path, error);
    let folder = path.parent().map(PathBuf::from).unwrap_or_default();
    std::fs::create_dir_all(&folder).map_err(|error| failed(&error))?;
    let mut file = tempfile::Builder::new().prefix(".rule-").tempfile_in(&folder).map_err(|error| failed(&error))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // Rules hold no secrets; the service may run as somebody else.
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).map_err(|error| failed(&error))?;
    }
    file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(|error| failed(&error))?;
    let kept = if new { file.persist_noclobber(path) } else { file.persist(path) };
    kept.map(|_| ()).map_err(|error| failed(&error.error))
}

fn unwritten(path: &Path, error: &std::io::Error) -> ServiceError {
    ServiceError::SettingUnwritten { path: path.to_owned(), reason: error.to_string() }
}
