//! Tests that need the inside of the rules: what is recognised without evaluation.

use super::{ForeignFile, ImportOptions, Report, import};
use crate::model::{ConnectorId, Names};
use crate::rules::{CompileInput, ConnectorKind, ConnectorProfile, RuleFile, RuleSet, RuleSettings};
use std::sync::Arc;

#[test]
#[expect(clippy::disallowed_methods, reason = "the variable is how tests are told where published material is")]
fn published_material_trims_are_recognised() {
    let references = std::env::var("SYNCLINE_REFERENCES").expect(
        "SYNCLINE_REFERENCES is not set: it names the folder with entra-connect-config/, which is not part of this repository. \
         Set it, or run the other tests with --skip published_material_",
    );
    let root = std::path::Path::new(&references).join("entra-connect-config");
    let mut files = Vec::new();
    for folder in ["Connectors", "GlobalSettings", "SynchronizationRules"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            files.push(ForeignFile::decode(&path.display().to_string(), &std::fs::read(&path).unwrap()).unwrap());
        }
    }
    // A plain trim, as the text of a file has it.
    let trims = |text: &str| {
        text.split("<expression>")
            .skip(1)
            .filter(|rest| {
                let inner = rest.split("</expression>").next().unwrap_or_default().strip_prefix("Trim([");
                inner.is_some_and(|inner| inner.strip_suffix("])").is_some_and(|name| !name.contains(['[', '(', ','])))
            })
            .count()
    };
    let to_directory = |text: &str| text.contains("<name>Out to AD - ");
    let expected: usize = files.iter().filter(|file| !to_directory(&file.text)).map(|file| trims(&file.text)).sum();
    let imported = import(&files, &ImportOptions::default(), &mut Report::default()).unwrap();
    let rules: Vec<RuleFile> =
        imported.files.into_iter().filter(|(name, _)| name.starts_with("rules/")).map(|(name, text)| RuleFile { name, text }).collect();
    let profile = |id, name: &str, kind| ConnectorProfile::new(ConnectorId(id), name, kind);
    let connectors =
        [profile(1, "contoso.com", ConnectorKind::ActiveDirectory), profile(2, "contoso.onmicrosoft.com - AAD", ConnectorKind::Cloud)];
    let input = CompileInput { files: &rules, connectors: &connectors, names: &Arc::new(Names::new()), settings: &RuleSettings::default() };
    let set = RuleSet::compile(input).unwrap();
    assert!(expected > 200, "{expected}");
    assert_eq!(set.trims(), expected);
}
