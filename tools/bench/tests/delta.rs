//! The measurement of delta cycles does its work at a small size, and its figures are about what they say.

use serde_json::Value;
use std::path::Path;
use std::process::Command;

#[test]
fn delta_cycles_are_measured_with_their_rows() {
    let itself = Path::new(env!("CARGO_BIN_EXE_syncline-bench"));
    let binary = itself.with_file_name("syncline");
    assert!(binary.exists(), "build the program first: cargo build");
    let output = Command::new(itself).args(["--delta", "--users", "200", "--runs", "1", "--json"]).output().expect("it can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let document: Value = serde_json::from_slice(&output.stdout).expect("one document");
    assert_eq!(document["stages"].as_array().map(Vec::len), Some(3), "{document:#}");
    let figure = |name: &str| document["numbers"][name].as_f64().unwrap_or_else(|| panic!("{name}: {document:#}"));
    // Nothing changed: no record of an object is read, and runs are noted when they begin and when they end.
    assert!(figure("  no changes: of them records of objects") < 1.0, "{document:#}");
    assert!(figure("  no changes: rows written") < 30.0, "{document:#}");
    for cycle in ["first", "next"] {
        assert!(figure(&format!("  changes, {cycle}: rows written")) > 14.0, "{document:#}");
    }
}
