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
    (!export.rules.is_empty() || !export.connectors.is_empty()).then(|| convert(export, options, report))
}
