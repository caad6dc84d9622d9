//! Where a command may write its result: wherever the caller says, but not over what Syncline lives on.

use super::App;
use crate::cli::error::CommandError;
use crate::config::{Config, ConnectorSettings};
use std::path::{Path, PathBuf};

/// Endings of files in the configuration folder that are the configuration or a store.
const OWN: [&str; 2] = ["toml", "redb"];

impl App {
    /// The path of a file for a result, as the caller meant it; an error where the store, the configuration or a source lies there.
    pub(super) fn result_file(&self, file: &Path) -> Result<PathBuf, CommandError> {
        let path = self.path(file);
        let Some(whole) = resolved(&path) else { return Ok(path) };
        let refuse = |what: &str| {
            let message = format!("{} is {what}, and would be replaced by the result", path.display());
            Err(CommandError::usage(message).hint("name another file"))
        };
        if let Some(folder) = resolved(&self.config)
            && let Ok(inside) = whole.strip_prefix(&folder)
            && (inside.components().count() > 1 || inside.extension().is_some_and(|ending| OWN.iter().any(|own| ending == *own)))
        {
            return refuse("of the configuration");
        }
        let is = |other: &Path| resolved(other).is_some_and(|other| whole.starts_with(other));
        if self.store.as_deref().is_some_and(is) {
            return refuse("the store");
        }
        // What a broken configuration names cannot be told; its commands end before they write.
        let Ok(config) = Config::load(&self.config) else { return Ok(path) };
        if is(&config.store) {
            return refuse("the store");
        }
        for connector in &config.connectors {
            if let ConnectorSettings::Ldif(files) = &connector.settings
                && [Some(&files.path), files.changes.as_ref(), files.export.as_ref()].into_iter().flatten().any(|path| is(path))
            {
                return refuse(&format!("a file of connector '{}'", connector.name));
            }
        }
        Ok(path)
    }
}

/// A path without links, also of a file that is not there yet.
fn resolved(path: &Path) -> Option<PathBuf> {
    std::fs::canonicalize(path).ok().or_else(|| {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Some(std::fs::canonicalize(folder).ok()?.join(path.file_name()?))
    })
}
