//! Holds the walls of ARCHITECTURE.md: who may use whom, what every file begins with, and which words have no place.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use syncline::model::ObjectErrorCode;

/// What each part may use of ours. The first match decides, so that exceptions stand above their module.
const LAYERS: &[(&str, &[&str])] = &[
    ("src/model/", &[]),
    ("src/context.rs", &["model"]),
    ("src/alert.rs", &["model"]),
    ("src/password/hash.rs", &["model", "context"]),
    ("src/password/lanes", &["model", "context"]),
    ("src/password/", &["model", "context", "events", "rules", "store", "connector", "engine"]),
    ("src/protocol/", &["model"]),
    ("src/rules/", &["model"]),
    ("src/lint/", &["model"]),
    ("src/events", &["model", "context"]),
    ("src/store/", &["model", "context", "events"]),
    ("src/connector/", &["model", "context", "protocol", "password"]),
    ("src/tenant/", &["model", "context", "protocol", "password"]),
    ("src/engine/", &["model", "context", "rules", "store", "events", "connector"]),
    ("src/directory_generator", &["model", "protocol"]),
    ("src/config/", &["alert", "model", "context", "events", "protocol", "rules", "store", "connector", "tenant", "engine", "password"]),
    (
        "src/service/",
        &[
            "alert",
            "model",
            "context",
            "events",
            "protocol",
            "rules",
            "store",
            "connector",
            "tenant",
            "engine",
            "password",
            "config",
            "directory_generator",
            "schedule",
            "lint",
        ],
    ),
    ("src/schedule.rs", &["model"]),
    (
        "src/server/",
        &["alert", "model", "context", "events", "store", "engine", "config", "schedule", "service", "password", "connector", "rules"],
    ),
    ("src/migration/", &["model", "rules", "config"]),
    (
        "src/cli/",
        &[
            "alert",
            "migration",
            "model",
            "context",
            "events",
            "protocol",
            "rules",
            "store",
            "connector",
            "tenant",
            "engine",
            "password",
            "config",
            "service",
            "directory_generator",
            "schedule",
            "server",
        ],
    ),
    ("src/lib.rs", &[]),
    ("src/main.rs", &[]),
    ("src/bin/", &[]),
];

/// Engine files that may know implementations of the connector trait or an executor.
const ENGINE_IMPLEMENTATIONS: &[&str] = &["connector::ad", "connector::ldap", "connector::ldif", "connector::entra"];

/// Crates that a layer must stay free of.
const FOREIGN: &[(&str, &[&str])] = &[
    ("src/model/", &["tokio", "serde", "tracing", "redb", "rkyv"]),
    ("src/protocol/", &["tokio", "redb", "rkyv", "reqwest"]),
    ("src/rules/", &["tokio", "redb", "rkyv", "reqwest"]),
    ("src/store/", &["tokio", "reqwest"]),
    ("src/engine/", &["tokio", "redb", "rkyv", "reqwest", "ldap3", "clap", "indicatif"]),
    ("src/config/", &["clap", "indicatif", "redb", "rkyv", "reqwest", "ldap3"]),
    ("src/password/", &["redb", "rkyv", "reqwest", "ldap3", "clap"]),
    ("src/migration/", &["tokio", "redb", "rkyv", "reqwest", "ldap3", "clap", "tracing"]),
    ("src/service/", &["clap", "indicatif", "comfy_table", "redb", "rkyv", "ldap3"]),
    ("src/server/", &["clap", "indicatif", "comfy_table", "redb", "rkyv", "reqwest", "ldap3"]),
    ("src/cli/", &["redb", "rkyv", "reqwest", "ldap3"]),
    ("src/connector/", &["clap", "redb", "rkyv"]),
    ("src/tenant/", &["ldap3"]),
];

/// The one place where engine and executor meet.
const BRIDGE: &str = "src/engine/bridge.rs";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of ours below a folder, as paths relative to the root, in order.
fn files(folder: &str, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                if !["target", ".git", "fixtures", "node_modules", "corpus", "artifacts"].contains(&name.as_str()) {
                    open.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path.strip_prefix(root()).expect("files lie below the root").to_owned());
            }
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The code of a file without its unit tests, comments and texts in quotation marks.
fn code(text: &str) -> String {
    let body = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    let mut code = String::with_capacity(body.len());
    for line in body.lines() {
        let line = line.split("//").next().unwrap_or(line);
        code.push_str(line);
        code.push('\n');
    }
    code
}

/// The modules of ours that a piece of code names: `crate::a::b` and `use crate::{a, b::c}`.
fn used(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut rest = code;
    while let Some(at) = rest.find("crate::") {
        let before = rest[..at].chars().next_back();
        rest = &rest[at + "crate::".len()..];
        if before.is_some_and(|character| character.is_alphanumeric() || character == '_') {
            continue;
        }
        if let Some(list) = rest.strip_prefix('{') {
            let (mut depth, mut word) = (1, String::new());
            for character in list.chars() {
                match character {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 1 => {
                        found.insert(word.trim().to_owned());
                        word.clear();
                        continue;
                    }
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
                word.push(character);
            }
            found.insert(word.trim().to_owned());
        } else {
            let path: String = rest.chars().take_while(|character| character.is_alphanumeric() || "_:".contains(*character)).collect();
            found.insert(path);
        }
    }
    found.retain(|path| !path.is_empty());
    found
}

#[test]
fn nobody_uses_what_lies_above() {
    let mut wrong = Vec::new();
    for path in files("src", &[".rs"]) {
        let name = path.display().to_string();
        let Some((_, allowed)) = LAYERS.iter().find(|(prefix, _)| name.starts_with(prefix)) else {
            wrong.push(format!("{name} belongs to no layer; add it to the table here and in ARCHITECTURE.md"));
            continue;
        };
        let own = name.trim_start_matches("src/").split(['/', '.']).next().unwrap_or_default().to_owned();
        let code = code(&read(&path));
        for path in used(&code) {
            let module = path.split("::").next().unwrap_or_default();
            let known = module.chars().next().is_some_and(char::is_lowercase) && root().join("src").join(module).exists()
                || root().join("src").join(format!("{module}.rs")).exists();
            if known && module != own && !allowed.contains(&module) {
                wrong.push(format!("{name} uses crate::{path}"));
            }
            if name.starts_with("src/engine/") && ENGINE_IMPLEMENTATIONS.iter().any(|implementation| path.starts_with(implementation)) {
                wrong.push(format!("{name} knows the implementation crate::{path}"));
            }
            if ["src/tenant/", "src/connector/"].iter().any(|layer| name.starts_with(layer))
                && path.starts_with("password::")
                && !path.starts_with("password::hash")
                && !path.starts_with("password::Pph")
            {
                wrong.push(format!("{name} uses crate::{path}; of passwords the tenant and connectors may use the hash only"));
            }
        }
        for (_, crates) in FOREIGN.iter().filter(|(prefix, _)| name.starts_with(prefix) && name != BRIDGE) {
            for foreign in *crates {
                let names_it = code
                    .lines()
                    .any(|line| line.trim_start().starts_with(&format!("use {foreign}::")) || line.contains(&format!(" {foreign}::")));
                if names_it {
                    wrong.push(format!("{name} uses the crate {foreign}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_search_for_uses_finds_them() {
    let code = "use crate::model::{A, B};\nuse crate::{store, rules::RuleSet};\nlet x = crate::engine::run();\nmycrate::nothing";
    assert_eq!(used(code).into_iter().collect::<Vec<_>>(), ["engine::run", "model::", "rules::RuleSet", "store"]);
}

#[test]
fn every_file_says_what_it_is() {
    let mut wrong = Vec::new();
    for folder in ["src", "tests", "benches", "tools"] {
        for path in files(folder, &[".rs"]) {
            let text = read(&path);
            let first = text.lines().find(|line| !line.starts_with("#!")).unwrap_or_default();
            if !first.starts_with("//! ") || first.len() < 20 {
                wrong.push(path.display().to_string());
            }
        }
    }
    assert!(wrong.is_empty(), "these files do not begin with a sentence (//!) that says what they are:\n{}", wrong.join("\n"));
}

/// A text that goes on in the next line needs a backslash; without it the indentation becomes a part of the text, or, when lines are
/// put together, a gap.
#[test]
fn no_text_has_a_gap() {
    let mut wrong = Vec::new();
    for path in files("src", &[".rs"]) {
        for (number, line) in read(&path).lines().enumerate() {
            let line = line.trim_start();
            let gap = |at: usize| {
                // A line break that is meant may have an indentation behind it.
                let before = line[..at].chars().next_back().filter(|_| !line[..at].ends_with("\\n"));
                let behind = line[at..].trim_start().chars().next();
                let word =
                    |character: Option<char>| character.is_some_and(|character| character.is_alphanumeric() || "{`'".contains(character));
                word(behind) && (word(before) || before.is_some_and(|character| ",;.)}".contains(character)))
            };
            if !line.starts_with("//") && line.contains('"') && line.match_indices("   ").any(|(at, _)| gap(at)) {
                wrong.push(format!("{}:{}", path.display(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "these texts have a gap; let them go on in the next line by a backslash:\n{}", wrong.join("\n"));
}

#[test]
fn words_that_have_no_place_here() {
    // Put together here, so that this file does not hold them itself.
    let words: Vec<String> = [
        ("to", "do!("),
        ("unimpl", "emented!("),
        ("unreach", "able!()"),
        ("FIX", "ME"),
        ("TO", "DO"),
        ("XX", "X:"),
        ("/ho", "me/"),
        ("/ro", "ot/"),
        ("/wo", "rk/"),
        ("#[ign", "ore"),
        ("db", "g!("),
    ]
    .iter()
    .map(|(left, right)| format!("{left}{right}"))
    .collect();
    let mut wrong = Vec::new();
    for folder in ["src", "tests", "benches", "tools", "docs", ".ci"] {
        for path in files(folder, &[".rs", ".md", ".toml", ".sh", "/run", "test"]) {
            let text = read(&path);
            for (number, line) in text.lines().enumerate() {
                for word in words.iter().filter(|word| line.contains(word.as_str())) {
                    wrong.push(format!("{}:{}: {word}", path.display(), number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_error_code_is_explained() {
    let reference = read(Path::new("docs/reference/error-codes.md"));
    let missing: Vec<&str> =
        ObjectErrorCode::ALL.iter().map(ObjectErrorCode::as_str).filter(|code| !reference.contains(&format!("`{code}`"))).collect();
    assert!(missing.is_empty(), "docs/reference/error-codes.md does not explain {missing:?}");
}

#[test]
fn every_table_of_the_store_is_explained() {
    let source = read(Path::new("src/store/tables.rs"));
    let document = read(Path::new("docs/store.md"));
    let definitions = source.split_once("\ntables! {").expect("the tables stand in one place").1;
    let definitions = definitions.split_once("\n}").map_or("", |(inside, _)| inside);
    // A row is `CONSTANT name: key => value;`.
    let rows = definitions.lines().map(str::trim).filter(|line| line.ends_with(';') && line.contains(" => "));
    let names: Vec<&str> = rows.filter_map(|row| row.split([' ', ':']).nth(1)).collect();
    assert!(names.len() > 20, "{names:?}");
    let missing: Vec<&&str> = names.iter().filter(|name| !document.contains(&format!("| `{name}` |"))).collect();
    assert!(missing.is_empty(), "docs/store.md does not explain {missing:?}");
}

#[test]
fn links_in_the_documentation_lead_somewhere() {
    let mut wrong = Vec::new();
    let mut pages = files("docs", &[".md"]);
    pages.extend(["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(PathBuf::from));
    for page in pages {
        let text = read(&page);
        let folder = page.parent().unwrap_or(Path::new(""));
        for piece in text.split("](").skip(1) {
            let target = piece.split([')', '#']).next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") && !root().join(folder).join(target).exists() {
                wrong.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "links without a target:\n{}", wrong.join("\n"));
}

/// The table "Layers" of ARCHITECTURE.md: each module with those it may use.
fn documented_layers() -> BTreeMap<String, BTreeSet<String>> {
    let document = read(Path::new("ARCHITECTURE.md"));
    let table = document.split_once("## Layers").expect("ARCHITECTURE.md has a section about layers").1;
    let mut layers = BTreeMap::new();
    let mut below: BTreeSet<String> = BTreeSet::new();
    for row in table.lines().skip_while(|line| !line.starts_with("|---")).skip(1).take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let modules: Vec<String> =
            cells[2].split(", ").map(|name| name.trim_matches('`').split("::").next().unwrap_or_default().to_owned()).collect();
        let mut may: BTreeSet<String> = modules.iter().cloned().collect();
        for word in cells[3].split([',', ' ']).map(|word| word.trim_matches('`')) {
            match word {
                "0" => may.extend(["model", "context"].map(str::to_owned)),
                "codecs" => may.extend(["protocol".to_owned()]),
                "all" => may.extend(below.iter().cloned()),
                other => may.extend([other.split("::").next().unwrap_or_default().to_owned()]),
            }
        }
        below.extend(modules.iter().cloned());
        layers.extend(modules.into_iter().map(|module| (module, may.clone())));
    }
    layers
}

#[test]
fn the_layers_here_are_those_of_the_document() {
    let documented = documented_layers();
    assert!(documented.len() >= 12, "{documented:?}");
    let mut wrong = Vec::new();
    for (prefix, allowed) in LAYERS {
        let module = prefix.trim_start_matches("src/").split(['/', '.']).next().unwrap_or_default();
        if ["lib", "main", "bin"].contains(&module) {
            continue;
        }
        match documented.get(module) {
            None => wrong.push(format!("ARCHITECTURE.md does not say what {module} may use")),
            Some(may) => {
                wrong.extend(allowed.iter().filter(|used| !may.contains(**used)).map(|used| format!("{module} may not use {used}")));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Each guard of the guide has a row in docs/testing.md, and each row names tests that there are.
#[test]
fn every_guard_has_its_test() {
    let rows = |path: &str| -> Vec<Vec<String>> {
        let text = read(Path::new(path));
        let section = text.split("\n## Guards\n").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap_or_default().to_owned();
        let lines = section.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| Guard |"));
        lines.map(|line| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()).collect()
    };
    let (guide, tested) = (rows("docs/guide/service.md"), rows("docs/testing.md"));
    assert!(guide.len() >= 12 && tested.len() >= guide.len(), "{} guards, {} with tests", guide.len(), tested.len());
    let tests: String = files("tests", &[".rs"]).iter().map(|path| read(path)).collect();
    for guard in &guide {
        let known = tested.iter().any(|row| row[0] == guard[0] || row[0].starts_with(&format!("{},", guard[0])));
        assert!(known, "the guard '{}' has no row in docs/testing.md", guard[0]);
    }
    for row in &tested {
        let names: Vec<&str> = row[2].split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "{row:?}");
        for name in names {
            assert!(tests.contains(&format!("fn {name}(")), "{}: there is no test {name}", row[0]);
        }
    }
}

/// What users of other synchronizers complained about is done to this one: each row of docs/testing.md has its test, which runs.
#[test]
fn every_lesson_of_the_field_has_its_test() {
    const LESSONS: u32 = 25;
    let mut found: BTreeMap<u32, String> = BTreeMap::new();
    for path in files("tests", &[".rs"]) {
        let text = read(&path);
        let lines: Vec<&str> = text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let Some((_, name)) = line.split_once("fn lesson_") else { continue };
            let Some(number) = name.get(..2).and_then(|number| number.parse().ok()) else { continue };
            let above = lines[..index].iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("///"));
            let above: Vec<&&str> = above.collect();
            assert!(above.iter().any(|line| line.contains("test")), "lesson {number} in {} is no test", path.display());
            assert!(!above.iter().any(|line| line.contains("ignore")), "lesson {number} in {} does not run", path.display());
            let name = name.split('(').next().unwrap_or_default();
            found.insert(number, format!("lesson_{name}"));
        }
    }
    let documentation = read(Path::new("docs/testing.md"));
    let missing: Vec<String> = (1..=LESSONS)
        .filter(|number| found.get(number).is_none_or(|name| !documentation.contains(&format!("`{name}`"))))
        .map(|number| number.to_string())
        .collect();
    assert!(missing.is_empty(), "lessons without a test, or without their line in docs/testing.md: {}", missing.join(", "));
    assert!(found.keys().all(|number| (1..=LESSONS).contains(number)), "{found:?}");
}
