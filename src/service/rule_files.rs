//! Rule files as a whole: takes one over from elsewhere, and takes rules of one's own out of theirs.

use super::rule_edit::{DISABLED_FILE, Edit, RuleChange, mark, marks_of};
use super::{Service, ServiceError};
use crate::config::{no_toml, read_rule_file};
use crate::rules::SyncRule;
use std::path::Path;
use toml_edit::DocumentMut;

impl Service {
    /// Takes a rule file over into the configuration under its own name, in place of one of that name.
    ///
    /// # Errors
    /// A file that cannot be read or is no rule file, or a set that does not compile with it.
    pub fn apply_rules(&self, path: &Path, what_if: bool) -> Result<RuleChange, ServiceError> {
        let is_toml = path.extension().is_some_and(|extension| extension == "toml");
        let name = path.file_name().and_then(|name| name.to_str()).filter(|name| is_toml && !name.starts_with('.'));
        let name = name.ok_or_else(|| ServiceError::Usage(format!("{} is no name of a rule file: NAME.toml", path.display())))?;
        let file = format!("rules/{name}");
        if file == DISABLED_FILE {
            return Err(ServiceError::Usage(format!(
                "{file} is kept by `syncline rule disable` and `syncline rule enable`: give the file another name"
            )));
        }
        let text = read_rule_file(path)?;
        let document = parsed(&file, &text)?;
        if document.is_empty() {
            return Err(ServiceError::Usage(format!("{} holds nothing: no rule, and nothing that goes with rules", path.display())));
        }
        let rules = names_in(&document);
        let known = self.config().rule_files.iter().find(|known| known.name == file);
        if known.is_some_and(|known| known.text == text) {
            return Ok(RuleChange { file, done: "unchanged", text: None, rules, warnings: Vec::new() });
        }
        let off = marks_of(&text.parse().unwrap_or_default());
        let goes = |rule: &SyncRule| is_of(rule, &file) && !rules.contains(&rule.name);
        let ties = self.ties_of(|rule| goes(rule) || off.contains(&mark(rule)) || off.contains(&rule.name))?;
        let mut change = self.edit(Edit { file, text: Some(text), new: known.is_none(), rules }, what_if)?;
        change.warnings.extend(ties);
        Ok(change)
    }

    /// Takes a rule out of its file; with its last one the file goes, unless it holds more than rules, and what it switched off applies
    /// again.
    ///
    /// # Errors
    /// A built-in rule, which can only be switched off; a set that does not compile without the rule.
    pub fn delete_rule(&self, rule: &SyncRule, what_if: bool) -> Result<RuleChange, ServiceError> {
        let own = |file: &str| self.config().rule_files.iter().find(|known| known.name == file);
        let place = rule.origin.rsplit_once(':').and_then(|(file, line)| Some((own(file)?, line.parse::<usize>().ok()?)));
        let Some((own, line)) = place else {
            return Err(ServiceError::Usage(format!(
                "\"{}\" is built in and cannot be deleted: `syncline rule disable '{}'` switches it off",
                rule.name, rule.name
            )));
        };
        let mut document = parsed(&own.name, &own.text)?;
        // The tables come in the order of their first lines.
        let headers = own.text.lines().take(line).filter(|line| line.trim_start().starts_with("[[rule]]")).count();
        let by_hand = || ServiceError::Usage(format!("\"{}\" stands in {}: take it out there", rule.name, rule.origin));
        let tables = document.get_mut("rule").and_then(toml_edit::Item::as_array_of_tables_mut).ok_or_else(by_hand)?;
        let index = headers.checked_sub(1).filter(|index| *index < tables.len()).ok_or_else(by_hand)?;
        let named = tables.get(index).and_then(|table| table.get("name")).and_then(toml_edit::Item::as_str);
        if named.is_none_or(|name| name != rule.name) {
            return Err(by_hand());
        }
        tables.remove(index);
        let stays = !tables.is_empty() || document.iter().any(|(key, _)| key != "rule" && key != "disable");
        let mut warnings = self.ties_of(|other| other.origin == rule.origin)?;
        let marks = marks_of(&own.text.parse().unwrap_or_default()).join(", ");
        if !marks.is_empty() {
            let then =
                if stays { "is kept, and what it switches off stays off" } else { "goes with it, and what it switched off applies again" };
            warnings.push(format!("the `disable` of {} {then}: {marks}", own.name));
        }
        let text = stays.then(|| document.to_string());
        let edit = Edit { file: own.name.clone(), text, new: false, rules: vec![rule.name.clone()] };
        let mut change = self.edit(edit, what_if)?;
        change.warnings.extend(warnings);
        Ok(change)
    }

    /// Whom rules tie to the metaverse that would not be there any more.
    fn ties_of(&self, goes: impl Fn(&SyncRule) -> bool) -> Result<Vec<String>, ServiceError> {
        let mut told: Vec<String> = Vec::new();
        let mut marks = Vec::new();
        for rule in self.rules()?.rules().iter().filter(|rule| goes(rule)) {
            if !marks.contains(&mark(rule)) {
                marks.push(mark(rule));
                told.extend(self.ties(rule)?);
            }
        }
        Ok(told)
    }
}

fn is_of(rule: &SyncRule, file: &str) -> bool {
    rule.origin.rsplit_once(':').is_some_and(|(own, _)| own == file)
}

fn parsed(file: &str, text: &str) -> Result<DocumentMut, ServiceError> {
    let document = text.parse::<DocumentMut>();
    Ok(document.map_err(|error| no_toml(Path::new(""), Path::new(file), text, (error.message(), error.span())))?)
}

/// The names of a file's rules.
fn names_in(document: &DocumentMut) -> Vec<String> {
    let tables = document.get("rule").and_then(toml_edit::Item::as_array_of_tables);
    let names = tables.into_iter().flatten().filter_map(|table| table.get("name")?.as_str());
    names.map(str::to_owned).collect()
}
