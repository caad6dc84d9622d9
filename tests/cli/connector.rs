//! Connectors that are configured no longer: their people stay until somebody decides.

use crate::{assert_code, counted, document, exported, small_world, stderr, stdout, with_config};
use std::fs;

#[test]
fn without_its_file_a_connector_loses_nobody() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let file = config.join("connectors/10-corp.example.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::remove_file(&file).unwrap();

    let output = with_config(&config, &["--json", "cycle", "start"]);
    assert_code(&output, 4);
    assert_eq!(exported(&document(&output)), 0);
    let shown = stdout(&output);
    assert!(shown.contains("'corp.example', which is not configured any more") && shown.contains("connector remove"), "{shown}");
    let output = with_config(&config, &["--json", "export"]);
    assert_code(&output, 4);
    let list = document(&with_config(&config, &["--json", "connector", "list"]));
    assert_eq!(list["connectors"][1]["state"], "abandoned", "{list:#}");
    assert!(stdout(&with_config(&config, &["connector", "list"])).contains("abandoned"));

    fs::write(&file, text).unwrap();
    let output = with_config(&config, &["--json", "cycle", "start"]);
    assert_code(&output, 0);
    assert_eq!(exported(&document(&output)), 0);
}

#[test]
fn under_a_new_name_a_connector_keeps_its_objects() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let file = config.join("connectors/10-corp.example.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("name = \"corp.example\"", "name = \"headquarters\"")).unwrap();
    assert_code(&with_config(&config, &["cycle", "start"]), 4);
    let output = with_config(&config, &["connector", "rename", "nobody", "headquarters"]);
    assert_code(&output, 2);
    assert!(stderr(&output).contains("there are: corp.example"), "{}", stderr(&output));
    assert_code(&with_config(&config, &["connector", "rename", "corp.example", "headquarters"]), 0);
    let output = with_config(&config, &["--json", "cycle", "start"]);
    assert_code(&output, 0);
    assert_eq!((exported(&document(&output)), counted(&document(&output), "stage-add")), (0, 0));
}

#[test]
fn a_removed_connector_takes_its_people_along() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let output = with_config(&config, &["connector", "remove", "corp.example"]);
    assert_code(&output, 64);
    assert!(stderr(&output).contains("is configured"), "{}", stderr(&output));
    fs::remove_file(config.join("connectors/10-corp.example.toml")).unwrap();
    let show = || document(&with_config(&config, &["--json", "connector", "remove", "corp.example", "--what-if"]));
    assert_eq!(show()["objects"], 5);
    assert_eq!(show()["objects"], 5, "looking changes nothing");
    assert_code(&with_config(&config, &["connector", "remove", "corp.example"]), 0);
    let output = with_config(&config, &["--json", "cycle", "start"]);
    assert_code(&output, 0);
    assert_eq!(counted(&document(&output), "export-delete"), 5, "{:#}", document(&output));
    let output = with_config(&config, &["--json", "cycle", "start"]);
    // Without any other source the cycle is done with something to say.
    assert_code(&output, 1);
    assert_eq!(exported(&document(&output)), 0);
    assert!(document(&output)["warnings"][0].as_str().is_some_and(|warning| warning.contains("no source")), "{:#}", document(&output));
    let list = document(&with_config(&config, &["--json", "connector", "list"]));
    assert_eq!(list["connectors"].as_array().unwrap().len(), 1, "{list:#}");
    assert_code(&with_config(&config, &["store", "check"]), 0);
}
