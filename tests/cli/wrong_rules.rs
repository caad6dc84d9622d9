//! Every mistake that rule files can hold: one file each in `fixtures/rules/wrong`, read the way the rules commands read them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

use crate::small_world;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use syncline::config::Config;
use syncline::rules::{RuleProblem, Severity};
use syncline::service::{Access, CompareError, Service, ServiceError, compare};

/// What a configuration with this one rule file is told.
fn findings(world: &Path, text: &str) -> Vec<RuleProblem> {
    let config = world.join("config");
    fs::create_dir_all(config.join("rules")).unwrap();
    fs::write(config.join("rules/own.toml"), text).unwrap();
    // Rules that do not compile need no store to be told of; opening one for each takes most of the time.
    match compare(&config, &config) {
        Err(CompareError { source: ServiceError::Rules(problems), .. }) => problems,
        Err(error) => panic!("{error}"),
        Ok(_) => {
            let store = world.join("lint.redb");
            Service::open(Config::load(&config).unwrap(), Some(&store), Access::Create).unwrap().rule_problems()
        }
    }
}

#[test]
fn every_mistake_is_told_with_its_place_and_what_to_do() {
    let world = small_world();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/rules/wrong");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 80, "{}", files.len());
    let mut shown = String::new();
    for file in files {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&file).unwrap();
        let found = findings(world.path(), &text);
        let own: Vec<&RuleProblem> = found.iter().filter(|problem| problem.file == "rules/own.toml").collect();
        assert!(!own.is_empty(), "{name}: nothing was found");
        assert_eq!(own.len(), found.len(), "{name}: something is told of another file: {found:?}");
        let wanted = if name.starts_with("warning-") { Severity::Warning } else { Severity::Error };
        let lines = text.lines().count();
        writeln!(shown, "== {name}").unwrap();
        for problem in own {
            assert_eq!(problem.severity, wanted, "{name}: {problem}");
            assert!((1..=lines.max(1)).contains(&problem.line) && problem.column >= 1, "{name}: the place lies outside: {problem}");
            writeln!(shown, "{problem}").unwrap();
        }
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn a_file_that_is_too_long_is_not_read() {
    let world = small_world();
    let config = world.path().join("config");
    fs::create_dir_all(config.join("rules")).unwrap();
    fs::write(config.join("rules/own.toml"), "# a comment\n".repeat(800_000)).unwrap();
    let told = Config::load(&config).unwrap_err().to_string();
    assert!(told.contains("rules/own.toml") && told.contains("at most"), "{told}");
}

#[test]
fn a_file_that_names_too_many_attributes_is_refused() {
    let world = small_world();
    let clauses: Vec<String> = (0..70_000).map(|number| format!("{{ attr = \"a{number}\", op = \"ISNULL\" }},\n")).collect();
    let clauses = clauses.concat();
    let text = format!(
        "[[rule]]\nname = \"many\"\ndirection = \"inbound\"\nconnector = \"corp.example\"\ncs_type = \"user\"\nmv_type = \"person\"\n\
         link = \"join\"\norder = 50\nscope = [[{clauses}]]\nflows = [{{ to = \"title\", from = \"title\" }}]\n"
    );
    let found = findings(world.path(), &text);
    assert!(found.iter().any(|problem| problem.message.contains("too many")), "{:?}", found.iter().take(3).collect::<Vec<_>>());
}
