//! The guide to rules of one's own, run as it stands there: every command of the page, in an empty folder, with what it prints.

use std::path::{Path, PathBuf};
use std::process::Command;

const PAGE: &str = include_str!("../../docs/guide/custom-rules.md");

/// A command as the page has it, and what it printed there.
struct Step {
    command: String,
    printed: String,
}

#[test]
fn the_guide_to_own_rules_holds_as_printed() {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_syncline"));
    let path = format!("{}:/usr/bin:/bin", program.parent().expect("the program is in a folder").display());
    let folder = tempfile::tempdir().expect("a folder can be made");
    let steps = steps(PAGE);
    assert!(steps.len() >= 20, "{} commands", steps.len());
    for step in steps {
        let printed = run(&step.command, folder.path(), &path);
        assert_eq!(lasting(&printed), lasting(&step.printed), "\n$ {}\nprinted now:\n{printed}", step.command);
    }
}

fn run(command: &str, folder: &Path, path: &str) -> String {
    let output = Command::new("sh")
        .args(["-c", &format!("exec 2>&1\n{command}")])
        .current_dir(folder)
        .env_clear()
        .envs([("PATH", path), ("NO_COLOR", "1"), ("COLUMNS", "100"), ("LANG", "C.UTF-8")])
        .output()
        .expect("there is a shell");
    String::from_utf8(output.stdout).expect("text is printed")
}

/// The commands of the page's `console` blocks: `$ ` begins one, `> ` continues it, everything else is what it printed.
fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        match (inside, line) {
            (false, "```console") => inside = true,
            (true, "```") => inside = false,
            (true, line) => match (line.strip_prefix("$ "), line.strip_prefix("> "), steps.last_mut()) {
                (Some(command), ..) => steps.push(Step { command: command.to_owned(), printed: String::new() }),
                (None, Some(more), Some(step)) if step.printed.is_empty() => {
                    step.command.push('\n');
                    step.command.push_str(more);
                }
                (None, _, Some(step)) => {
                    step.printed.push_str(line);
                    step.printed.push('\n');
                }
                (None, _, None) => panic!("the page begins with something printed: {line}"),
            },
            (false, _) => {}
        }
    }
    steps
}

/// What is the same at every run: without times, and without blanks at the ends of lines.
fn lasting(printed: &str) -> String {
    let line = |line: &str| {
        let words: Vec<&str> = line.trim_end().split(' ').collect();
        let is_date = |word: &str| word.len() == 10 && word.bytes().filter(|octet| *octet == b'-').count() == 2 && word.starts_with("20");
        let is_time = |word: &str| word.trim_end_matches(',').ends_with('Z') && word.matches(':').count() == 2;
        let shown = words.into_iter().map(|word| {
            if is_date(word) {
                "DATE"
            } else if is_time(word) {
                "TIME"
            } else {
                word
            }
        });
        shown.collect::<Vec<_>>().join(" ")
    };
    printed.trim_end().lines().map(line).collect::<Vec<_>>().join("\n")
}
