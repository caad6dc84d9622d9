//! `config check`, `schema`, `show` and `set`: the configuration as it stands, key by key.

use crate::cli::App;
use crate::cli::commands::doctor::opened;
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::{clean, counted, table};
use crate::config::{Config, SCHEMAS, schema_of};
use crate::service::{ConfigFinding, ServiceError, SettingChange, SettingView, anchor_finding, check_config, set_setting, settings};
use serde::Serialize;
use serde_json::Value;

/// The key of the attribute that ties people to their cloud objects.
const SOURCE_ANCHOR: &str = "rules.source_anchor";

#[derive(Serialize)]
struct Checked {
    folder: String,
    errors: usize,
    warnings: usize,
    findings: Vec<ConfigFinding>,
}

#[derive(Serialize)]
struct Shown {
    settings: Vec<SettingView>,
}

pub(super) fn check(app: &App) -> Exit {
    let mut findings = check_config(&app.config);
    if let Ok(config) = Config::load(&app.config)
        && let Ok(service) = opened(app, &config)
        && let Err(error @ ServiceError::SourceAnchor { .. }) = service.may_have_source_anchor(Some(&config.rules.source_anchor))
    {
        findings.push(anchor_finding(&error));
    }
    let errors = findings.iter().filter(|finding| finding.severity == "error").count();
    let document = Checked { folder: app.config.display().to_string(), errors, warnings: findings.len() - errors, findings };
    app.output.result(&document, |document| {
        for finding in &document.findings {
            let place = match (finding.line, finding.column) {
                (Some(line), Some(column)) => format!("{}:{line}:{column}", finding.file),
                _ => finding.file.clone(),
            };
            let hint = finding.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
            for line in format!("{}: {place}: {}{hint}", finding.severity, finding.message).lines() {
                app.output.line(crate::cli::output::told(line));
            }
        }
        match (document.errors, document.warnings) {
            (0, 0) => app.output.line(clean(format!("{}: nothing is wrong.", document.folder))),
            (errors, warnings) => {
                app.output.note(format!(
                    "{}, {}",
                    counted(errors as u64, "error", "errors"),
                    counted(warnings as u64, "warning", "warnings")
                ));
            }
        }
    });
    match (document.errors, document.warnings) {
        (0, 0) => Exit::Ok,
        (0, _) => Exit::Warnings,
        _ => Exit::Errors,
    }
}

pub(super) fn schema(app: &App, file: &str) -> Result<Exit, CommandError> {
    let known = schema_of(file).or_else(|| {
        // A file of the folder has the schema of its kind.
        let config = Config::load(&app.config).ok()?;
        let name = file.rsplit('/').next()?;
        let connector = config.connectors.iter().find(|connector| connector.file.file_name().is_some_and(|own| own == name))?;
        schema_of(connector.kind().as_str())
    });
    let Some(schema) = known else {
        return Err(CommandError::usage(format!(
            "there is no schema '{file}'; there are: {}, and the files of connectors/",
            SCHEMAS.join(", ")
        ))
        .hint("`syncline config schema syncline.toml`; for a connector, its kind or its file"));
    };
    // It is a document, whatever was asked for.
    app.output.document(&schema);
    Ok(Exit::Ok)
}

pub(super) fn show(app: &App, beginning: &str) -> Result<Exit, CommandError> {
    // `config show settings` is how the original said it.
    let beginning = if beginning == "settings" { "" } else { beginning };
    let mut found = settings(&app.config)?;
    found.retain(|setting| setting.about.key.starts_with(beginning));
    if found.is_empty() {
        return Err(CommandError::usage(format!("no setting begins with '{beginning}'")).hint("`syncline config show` lists all"));
    }
    app.output.result(&Shown { settings: found }, |document| app.output.table(settings_table(&document.settings)));
    Ok(Exit::Ok)
}

/// Settings, one in each line.
pub(super) fn settings_table(settings: &[SettingView]) -> crate::cli::output::Table {
    let rows = settings.iter().map(|setting| {
        let from = if setting.written { "file" } else { "default" };
        [setting.about.key.clone(), told(&setting.value), from.to_owned(), first_sentence(&setting.about.meaning)]
    });
    table(["setting", "value", "from", "meaning"], &[], rows)
}

pub(super) fn set(app: &App, key: &str, value: Option<&str>, what_if: bool) -> Result<Exit, CommandError> {
    // What people were made with is known to the store alone. Where none can be asked now, every run asks it.
    if key == SOURCE_ANCHOR
        && let Ok(config) = Config::load(&app.config)
        && let Ok(service) = opened(app, &config)
        && let Err(error @ ServiceError::SourceAnchor { .. }) = service.may_have_source_anchor(value)
    {
        return Err(CommandError::from(error).hint("nothing was written"));
    }
    let change = set_setting(&app.config, key, value, what_if)?;
    app.output.result(&change, |change| print_change(app, change));
    Ok(Exit::Ok)
}

/// What became of a setting.
pub(super) fn print_change(app: &App, change: &SettingChange) {
    let (before, after) = (told(&change.before), told(&change.after));
    app.output.line(clean(format!("{}: {before} → {after} ({} in {})", change.key, change.done, change.file.display())));
}

/// A value for people.
pub(super) fn told(value: &Value) -> String {
    match value {
        Value::Null => "(none)".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "(none)".to_owned(),
        Value::Array(items) => items.iter().map(told).collect::<Vec<_>>().join("; "),
        // A secret by reference: its name.
        Value::Object(table) if table.contains_key("credential") => format!("credential {}", told(&table["credential"])),
        other => other.to_string(),
    }
}

fn first_sentence(text: &str) -> String {
    match text.split_once(". ") {
        Some((first, _)) => format!("{first}."),
        None => text.to_owned(),
    }
}
