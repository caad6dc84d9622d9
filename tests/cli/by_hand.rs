//! `cs join`, `project` and `disconnect`, and the columns and files of `cs search`.

use crate::{assert_code, document, exported, small_world, stderr, stdout, with_config};
use std::fs;

#[test]
fn links_are_made_and_broken_by_hand_and_outlive_full_steps() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let state = |who: &str| {
        let shown = document(&with_config(&config, &["--json", "cs", "show", who]));
        (shown["state"].as_str().unwrap_or("").to_owned(), shown["metaverse"].clone())
    };
    let emil = state("corp.example:emil@corp.example").1;
    let ahead =
        document(&with_config(&config, &["--json", "cs", "disconnect", "corp.example:emil@corp.example", "--explicit", "--what-if"]));
    assert_eq!(
        (&ahead["state_after"], &ahead["targets"][0]["operation"]),
        (&"explicit-disconnector".into(), &"delete".into()),
        "{ahead:#}"
    );
    assert_eq!(state("corp.example:emil@corp.example"), ("connector".to_owned(), emil.clone()), "a look writes nothing");

    let parted = with_config(&config, &["cs", "disconnect", "corp.example:emil@corp.example", "--explicit"]);
    assert_code(&parted, 0);
    assert!(stdout(&parted).contains("explicit-disconnector"), "{}", stdout(&parted));
    assert_code(&with_config(&config, &["cs", "disconnect", "corp.example:emil@corp.example", "--explicit"]), 64);
    let waiting = document(&with_config(&config, &["--json", "export", "--what-if"]));
    assert!(waiting.to_string().contains("\"deletes\":1"), "{waiting:#}");
    // Before anything was sent, he is put back by hand: he takes his object in the tenant again.
    let back = document(&with_config(&config, &["--json", "cs", "project", "corp.example:emil@corp.example"]));
    assert_eq!(back["state_after"], "explicit-connector", "{back:#}");
    let cycle = with_config(&config, &["--json", "cycle", "start", "--initial"]);
    assert_code(&cycle, 0);
    assert_eq!(state("corp.example:emil@corp.example").0, "explicit-connector", "full steps leave it so");
    let deleted: u64 = crate::counted(&document(&cycle), "export-delete");
    assert_eq!(deleted, 0, "{}", stdout(&cycle));
    assert_eq!(exported(&document(&with_config(&config, &["--json", "cycle", "start"]))), 0);

    // One of a connector is all that a metaverse object has.
    let ada = state("corp.example:ada@corp.example").1.to_string();
    let refused = with_config(&config, &["cs", "join", "corp.example:emil@corp.example", &ada]);
    assert_code(&refused, 64);
    assert!(stderr(&refused).contains("has an object of this connector already"), "{}", stderr(&refused));
    assert_code(&with_config(&config, &["cs", "join", "corp.example:emil@corp.example", "424242"]), 2);
    let acts = stdout(&with_config(&config, &["audit", "list"]));
    assert!(acts.contains("cs project") && acts.contains("cs disconnect") && !acts.contains("--what-if"), "{acts}");
}

#[test]
fn searches_show_columns_and_become_files() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let found = document(&with_config(
        &config,
        &["--json", "cs", "search", "corp.example", "--rdn", "ada", "--columns", "mail,department,manager"],
    ));
    assert_eq!(found["objects"][0]["columns"]["department"][0], "Engines", "{found:#}");
    let emil = document(&with_config(&config, &["--json", "cs", "search", "corp.example", "--rdn", "emil", "--columns", "manager"]));
    assert!(emil["objects"][0]["columns"]["manager"][0].as_str().is_some_and(|name| name.starts_with("CN=Ada")), "{emil:#}");
    assert!(
        stdout(&with_config(&config, &["cs", "search", "corp.example", "--rdn", "ada", "--columns", "mail"]))
            .contains("mail=ada@corp.example")
    );
    assert_code(&with_config(&config, &["cs", "search", "corp.example", "--columns", "nosuch"]), 64);
    let file = world.path().join("found.csv");
    let path = file.to_str().expect("plain");
    assert_code(&with_config(&config, &["cs", "search", "corp.example", "--state", "connector", "--columns", "mail", "--csv", path]), 0);
    let table = fs::read_to_string(&file).expect("the table");
    assert!(table.starts_with("id,connector,name,type,state,metaverse,pending,mail\r\n") && table.contains("ada@corp.example"), "{table}");
    assert!(table.lines().count() >= 4);
    let printed = stdout(&with_config(&config, &["cs", "search", "corp.example", "--csv", "-"]));
    assert!(printed.starts_with("id,connector"), "{printed}");
}
