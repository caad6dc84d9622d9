//! Tells the program which commit it was built from, for `--version --json`.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=.git/HEAD");
    println!("cargo::rerun-if-changed=.git/refs/heads");
    println!("cargo::rerun-if-env-changed=SYNCLINE_COMMIT");
    // Whoever builds from an archive can say it; without either it is unknown, and the program says so.
    let output = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output();
    let commit = output.ok().filter(|output| output.status.success()).and_then(|output| String::from_utf8(output.stdout).ok());
    if let (None, Some(commit)) = (option_env!("SYNCLINE_COMMIT"), commit) {
        println!("cargo::rustc-env=SYNCLINE_COMMIT={}", commit.trim());
    }
}
