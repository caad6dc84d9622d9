//! Looking at what the store holds.

use crate::{assert_code, document, small_world, stderr, stdout, with_config};

#[test]
fn objects_are_found_by_every_name_they_have() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let show = |text: &str| {
        let output = with_config(&config, &["--json", "cs", "show", text]);
        assert_code(&output, 0);
        document(&output)["id"].as_str().unwrap().to_owned()
    };
    let id = show("corp.example:ada@corp.example");
    for text in [
        "cn=ada byron, ou=people, dc=corp, dc=example",
        "11111111-1111-1111-1111-111111111111",
        "EREREREREREREREREREREQ==",
        "corp.example:ada",
        &id,
    ] {
        assert_eq!(show(text), id, "{text}");
    }
    let output = with_config(&config, &["cs", "show", "nobody@corp.example"]);
    assert_code(&output, 2);
    assert!(stderr(&output).contains("no object is known as 'nobody@corp.example'"), "{}", stderr(&output));
}

#[test]
fn searches_narrow_down() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let count = |arguments: &[&str]| {
        let output = with_config(&config, &[&["--json", "cs", "search", "corp.example"], arguments].concat());
        assert_code(&output, 0);
        document(&output)["objects"].as_array().unwrap().len()
    };
    assert_eq!(count(&["--type", "user"]), 3);
    assert_eq!(count(&["--type", "USER", "--where", "mail=*@corp.example"]), 2);
    assert_eq!(count(&["--rdn", "emil"]), 1);
    assert_eq!(count(&["--state", "connector"]), 5);
    assert_eq!(count(&["--under", "OU=People,DC=corp,DC=example", "--type", "group"]), 1);
    assert_eq!(count(&["--pending-import", "add,update"]), 0);
    let output = with_config(&config, &["--json", "mv", "search", "köhler"]);
    assert_eq!(document(&output)["objects"].as_array().unwrap().len(), 1);
    let output = with_config(&config, &["cs", "search", "corp.example", "--where", "nonsense"]);
    assert_code(&output, 64);
}

#[test]
fn every_value_has_an_origin_and_every_counter_its_objects() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let output = with_config(&config, &["--json", "mv", "show", "corp.example:ada"]);
    assert_code(&output, 0);
    let view = document(&output);
    let attributes = view["attributes"].as_array().unwrap();
    assert!(attributes.iter().all(|attribute| attribute["lineage"].as_array().is_some_and(|lineage| !lineage.is_empty())), "{view:#}");
    assert_eq!(view["links"].as_array().unwrap().len(), 2);

    let output = with_config(&config, &["--json", "run", "list"]);
    let runs = document(&output);
    let first = runs["runs"].as_array().unwrap().last().unwrap()["number"].as_u64().unwrap().to_string();
    let output = with_config(&config, &["--json", "run", "show", &first, "--counter", "stage-add"]);
    assert_code(&output, 0);
    assert!(document(&output)["objects"].as_array().unwrap().len() >= 5);
    let output = with_config(&config, &["run", "show", &first, "--counter", "stage-dance"]);
    assert_code(&output, 2);
    assert!(stderr(&output).contains("stage-add"), "{}", stderr(&output));
}

#[test]
fn explanations_name_the_first_stop() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["run", "start", "corp.example", "full-import"]), 0);
    let verdict = |text: &str| {
        let output = with_config(&config, &["--json", "object", "explain", text]);
        assert_code(&output, 0);
        document(&output)["verdict"].as_str().unwrap().to_owned()
    };
    assert!(verdict("corp.example:ada").contains("waits for the next synchronization"), "{}", verdict("corp.example:ada"));
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    assert_eq!(verdict("corp.example:ada"), "It is in Entra, confirmed by import, and nothing is pending.");
    let output = with_config(&config, &["object", "explain", "corp.example:ada"]);
    assert!(stdout(&output).contains("✓ export"), "{}", stdout(&output));
}

#[test]
fn the_store_can_be_cared_for() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let check = with_config(&config, &["--json", "store", "check"]);
    assert_code(&check, 0);
    assert_eq!(document(&check)["clean"], true);
    let stats = with_config(&config, &["--json", "store", "stats"]);
    assert_code(&stats, 0);
    assert!(document(&stats)["cs_records"]["records"].as_u64().unwrap() >= 10);
    let copy = world.path().join("copy.redb");
    assert_code(&with_config(&config, &["store", "backup", copy.to_str().unwrap()]), 0);
    assert_code(&with_config(&config, &["--store", copy.to_str().unwrap(), "cs", "show", "corp.example:ada"]), 0);
    assert_code(&with_config(&config, &["store", "compact"]), 0);
    assert_code(&with_config(&config, &["store", "check"]), 0);
}
