//! Entra Connect configurations, both ways: what its tools export becomes a Syncline configuration, and a Syncline
//! configuration becomes what they export.
//!
//! Texts in, texts out: files are read and written by the commands. Whatever an export holds is told in a [`Report`]: as
//! taken, changed, not taken or failed, with file and line.

mod convert;
mod convert_connectors;
mod convert_rules;
mod from_config;
mod json;
mod keys;
mod manifest;
mod model;
mod read;
mod read_connector;
mod read_rule;
mod read_schema;
mod report;
mod script;
mod script_tokens;
#[cfg(test)]
mod tests;
mod words;
mod write;
mod xml;

pub use convert::{ImportOptions, Imported, convert};
pub use from_config::from_config;
pub use manifest::manifest;
pub use model::{
    CLOUD_CONNECTOR, EntraAttribute, EntraConnector, EntraConnectorKind, EntraExport, EntraMetaverse, EntraParameter, EntraPartition,
    EntraRule, FILE_MAX, ForeignFile, Place, SYNCLINE_PREFIX,
};
pub use read::read;
pub use report::{Outcome, Report, ReportLine};
pub use write::write;

/// Reads the files of an export and makes a configuration of them. `None` when they hold neither a rule nor a connector.
pub fn import(files: &[ForeignFile], options: &ImportOptions, report: &mut Report) -> Option<Imported> {
    let export = read(files, report);
    // A folder of which a part was lost must not pass for the whole.
    let metaverse = &export.metaverse;
    let of_a_server = !export.connectors.is_empty() && files.iter().any(|file| file.name.to_ascii_lowercase().ends_with(".xml"));
    for (missing, part, what) in [
        (of_a_server && export.rules.is_empty(), "SynchronizationRules", "no rule is here, and the built-in ones apply"),
        (
            of_a_server && metaverse.attributes.is_empty() && metaverse.parameters.is_empty(),
            "GlobalSettings/MV.xml",
            "the metaverse's schema and the settings (source anchor, matching of people) are not here: set [rules] by hand",
        ),
    ] {
        if missing {
            report.file(Outcome::Failed, part, format!("missing from the export: {what}"));
        }
    }
    (!export.rules.is_empty() || !export.connectors.is_empty()).then(|| convert(export, options, report))
}
