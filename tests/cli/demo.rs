//! The demonstration: what a newcomer runs first.

use crate::{assert_code, counted, document, exported, small_world, stderr, stdout, syncline, with_config};
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn a_demonstration_fills_the_tenant_once() {
    let folder = tempfile::tempdir().unwrap();
    let demo = folder.path().join("demo");
    let path = demo.to_str().unwrap();
    let small = ["--users", "40", "--groups", "6", "--contacts", "3", "--dir", path];
    let first = syncline(["--json", "demo"].into_iter().chain(small));
    assert_code(&first, 0);
    let first = document(&first);
    assert_eq!(first["first_run"], true);
    let tenant = &first["tenant"];
    assert_eq!((tenant["users"].as_u64(), tenant["contacts"].as_u64()), (Some(40), Some(3)));
    assert_eq!(counted(&first, "export-failure"), 0);
    // Somebody gets in with the password of the directory, which nobody but its owner may read.
    let sign_in = &first["sign_in"];
    assert_eq!((sign_in["accepted"].as_bool(), sign_in["password"].as_str()), (Some(true), Some("Pw-000001-Sync!")), "{sign_in}");
    assert_eq!(std::fs::metadata(demo.join("directory.ldif")).unwrap().permissions().mode() & 0o777, 0o600);

    let second = syncline(["--json", "demo"].into_iter().chain(small));
    assert_code(&second, 0);
    let second = document(&second);
    assert_eq!((second["first_run"].as_bool(), second["exports"].as_u64(), exported(&second)), (Some(false), Some(0), 0));
    assert_eq!((&second["tenant"], &second["sign_in"]), (&first["tenant"], &first["sign_in"]));

    let cycle = with_config(&demo, &["--json", "cycle", "start", "--initial"]);
    assert_code(&cycle, 0);
    assert_eq!(exported(&document(&cycle)), 0);
    // What the demonstration proposes works as it stands.
    let output = stdout(&syncline(["demo"].into_iter().chain(small)));
    let proposed = output.lines().filter_map(|line| line.trim().strip_prefix("syncline ")).filter(|line| !line.starts_with("tenant"));
    let mut tried = 0;
    for command in proposed {
        let output = syncline(command.split(' '));
        assert_code(&output, 0);
        tried += 1;
    }
    assert!(tried >= 5, "{output}");
    let search = with_config(&demo, &["cs", "search", "Entra", "--type", "user", "--limit", "3"]);
    assert_code(&search, 0);
    assert_eq!(stdout(&search).lines().count(), 4);
}

#[test]
fn the_tenant_may_be_a_process_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo");
    let path = path.to_str().unwrap();
    let small = ["--users", "12", "--groups", "2", "--contacts", "1", "--dir", path];
    let first = syncline(["--json", "demo", "--tenant-process"].into_iter().chain(small));
    assert_code(&first, 0);
    assert_eq!(document(&first)["tenant"]["users"], 12);
    let second = syncline(["demo"].into_iter().chain(small));
    assert_code(&second, 0);
    assert!(stdout(&second).contains("Exported now: 0."), "{}\n{}", stdout(&second), stderr(&second));
}

#[test]
fn what_people_see() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo");
    let output = syncline(["demo", "--users", "12", "--groups", "2", "--contacts", "1", "--dir", path.to_str().unwrap()]);
    assert_code(&output, 0);
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(&regex_of(folder.path().to_str().unwrap()), "FOLDER");
    settings.add_filter(r" +\d+(\.\d)? (ms|s|min)  ", "  TIME  ");
    settings.add_filter(r"step +took  ", "step  took  ");
    settings.add_filter(r"Took \d+(\.\d)? (ms|s|min)\.", "Took TIME.");
    settings.bind(|| insta::assert_snapshot!(stdout(&output)));
}

#[test]
fn a_demonstration_touches_nothing_that_is_not_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("own");
    std::fs::create_dir(&own).unwrap();
    let file = own.join("directory.ldif");
    std::fs::write(&file, "data\n").unwrap();
    let output = syncline(["demo", "--dir", own.to_str().unwrap()]);
    assert_code(&output, 4);
    assert!(stderr(&output).contains("did not make") && stderr(&output).contains("--dir"), "{}", stderr(&output));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "data\n");
    assert_eq!(std::fs::read_dir(&own).unwrap().count(), 1);

    let world = small_world();
    let config = world.path().join("config");
    assert_code(&syncline(["demo", "--dir", config.to_str().unwrap()]), 4);
    assert!(!config.join("syncline.redb").exists(), "no cycle runs on a configuration of somebody else");

    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let small = ["demo", "--users", "3", "--groups", "1", "--contacts", "0", "--dir", empty.to_str().unwrap()];
    assert_code(&syncline(small), 0);
    let target = empty.join("connectors/90-entra.toml");
    std::fs::write(&target, "kind = \"entra\"\nname = \"Entra\"\ntenant = \"contoso.onmicrosoft.com\"\nsign_in = \"device-code\"\n")
        .unwrap();
    let output = syncline(small);
    assert_code(&output, 4);
    assert!(stderr(&output).contains("tenant elsewhere"), "{}", stderr(&output));
    assert_code(&syncline(small.into_iter().chain(["--store", "other.redb"])), 64);
}

/// A text as a pattern that fits just it.
fn regex_of(text: &str) -> String {
    text.chars()
        .map(|character| if character.is_alphanumeric() || character == '/' { character.to_string() } else { format!("\\{character}") })
        .collect()
}
