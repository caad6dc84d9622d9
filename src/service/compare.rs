//! Compares two configuration folders without their stores.

use super::{ServiceError, compile_configured};
use crate::config::Config;
use crate::config::diff::{self, ConfigDiff, Side};
use crate::rules::{PlainAttribute, PlainRule, RuleFile, declared_attributes};
use std::path::{Path, PathBuf};

/// Why two folders cannot be compared.
#[derive(Debug, thiserror::Error)]
#[error("the configuration {}: {source}", folder.display())]
pub struct CompareError {
    /// The folder that cannot be used.
    pub folder: PathBuf,
    /// What is wrong with it.
    pub source: ServiceError,
}

/// Compares two configuration folders rule by rule and flow by flow. Neither store is opened or made.
///
/// # Errors
/// When a folder cannot be read, or its rules do not compile.
pub fn compare(old: &Path, new: &Path) -> Result<ConfigDiff, CompareError> {
    let (old, new) = (Loaded::of(old)?, Loaded::of(new)?);
    Ok(diff::compare(old.side(), new.side()))
}

/// A configuration with its rules in plain words.
struct Loaded {
    config: Config,
    rules: Vec<PlainRule>,
    attributes: Vec<PlainAttribute>,
}

impl Loaded {
    fn of(folder: &Path) -> Result<Self, CompareError> {
        Self::read(folder).map_err(|source| CompareError { folder: folder.to_owned(), source })
    }

    fn read(folder: &Path) -> Result<Self, ServiceError> {
        let config = Config::load(folder)?;
        let (set, connectors) = compile_configured(&config)?;
        let mut rules: Vec<PlainRule> = set
            .rules()
            .iter()
            .chain(set.disabled_rules())
            .map(|rule| set.plain(rule, connectors.get(&rule.connector).map_or("", String::as_str)))
            .collect();
        rules.sort_by_key(|rule| rule.order);
        let files: Vec<RuleFile> =
            config.rule_files.iter().map(|file| RuleFile { name: file.name.clone(), text: file.text.clone() }).collect();
        let attributes = declared_attributes(&files);
        Ok(Self { config, rules, attributes })
    }

    fn side(&self) -> Side<'_> {
        Side { config: &self.config, rules: &self.rules, attributes: &self.attributes }
    }
}
