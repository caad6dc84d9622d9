//! Replays the corpus of the fuzz targets (`fixtures/fuzz`): what was interesting or wrong once is tried again by every test run.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod judges;

use std::path::Path;

fn replay(target: &str) {
    let (_, judge) = judges::TARGETS.iter().find(|(name, _)| *name == target).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/fuzz").join(target);
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 5, "{} has {} inputs", folder.display(), files.len());
    for file in files {
        let input = std::fs::read(&file).unwrap();
        assert!(input.len() <= 64 << 10, "{} is too large for a corpus", file.display());
        let judged = std::panic::catch_unwind(|| judge(&input));
        assert!(judged.is_ok(), "{} fails: see the message above", file.display());
    }
}

#[test]
fn expressions() {
    replay("expression");
}

#[test]
fn rule_files() {
    replay("rule_file");
}

#[test]
fn ldif() {
    replay("ldif");
}

#[test]
fn binary_xml() {
    replay("binary_xml");
}

#[test]
fn provisioning_messages() {
    replay("provisioning");
}

#[test]
fn texts_and_controls_of_directories() {
    replay("directory_text");
}

#[test]
fn configurations_of_entra_connect() {
    replay("migration");
}

#[test]
fn results_of_replication_calls() {
    replay("drsuapi_reply");
}

#[test]
fn packets_of_remote_procedure_calls() {
    replay("dcerpc_pdu");
}

#[test]
fn changes_that_domain_controllers_tell() {
    replay("directory_delta");
}

#[test]
fn every_target_has_its_program_and_its_corpus() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = std::fs::read_to_string(root.join("tools/fuzz/Cargo.toml")).unwrap();
    for (name, _) in judges::TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "tools/fuzz/Cargo.toml does not have {name}");
        assert!(root.join(format!("tools/fuzz/fuzz_targets/{name}.rs")).exists(), "{name} has no program");
        assert!(root.join("fixtures/fuzz").join(name).is_dir(), "{name} has no corpus");
    }
}

#[test]
fn controls_of_synchronization() {
    replay("directory_sync");
}
