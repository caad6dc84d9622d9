//! What a written configuration consists of: the file `manifest.json` beside it.

use crate::config::CONFIG_VERSION;
use crate::rules::{Direction, RuleSet};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

#[derive(Serialize)]
struct Manifest {
    #[expect(clippy::struct_field_names, reason = "the name in the file")]
    manifest_version: u32,
    syncline_version: &'static str,
    configuration_version: i64,
    built_in_rules: bool,
    /// Stands for what the rules mean; equal rules have equal ones.
    rules_fingerprint: String,
    counts: Counts,
    files: Vec<ManifestFile>,
}

#[derive(Serialize)]
struct Counts {
    connectors: usize,
    inbound_rules: usize,
    outbound_rules: usize,
    disabled_rules: usize,
    flows: usize,
}

#[derive(Serialize)]
struct ManifestFile {
    name: String,
    octets: usize,
    sha256: String,
}

/// The manifest of a configuration: versions, counts, and the hash of every file. The same configuration has the same
/// manifest; it holds no time and no secret.
pub fn manifest(files: &[(String, String)], rules: &RuleSet, connectors: usize, built_in: bool) -> String {
    let of = |direction| rules.rules().iter().filter(|rule| rule.direction == direction).count();
    let manifest = Manifest {
        manifest_version: 1,
        syncline_version: env!("CARGO_PKG_VERSION"),
        configuration_version: CONFIG_VERSION,
        built_in_rules: built_in,
        rules_fingerprint: format!("{:016x}", rules.fingerprint()),
        counts: Counts {
            connectors,
            inbound_rules: of(Direction::Inbound),
            outbound_rules: of(Direction::Outbound),
            disabled_rules: rules.disabled_rules().len(),
            flows: rules.rules().iter().chain(rules.disabled_rules()).map(|rule| rule.flows.len()).sum(),
        },
        files: files
            .iter()
            .map(|(name, text)| ManifestFile {
                name: name.clone(),
                octets: text.len(),
                sha256: hex::encode(Sha256::digest(text.as_bytes())),
            })
            .collect(),
    };
    // Plain data always has a JSON form.
    let mut text = serde_json::to_string_pretty(&manifest).unwrap_or_default();
    text.push('\n');
    text
}
