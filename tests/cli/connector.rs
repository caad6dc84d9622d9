//! Connectors that are configured no longer: their people stay until somebody decides.

use crate::{assert_code, counted, document, exported, small_world, stderr, stdout, with_config};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

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

/// A name that was allowed once, as the store still knows it.
#[test]
fn a_name_that_is_refused_now_is_changed_without_loss() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let refused = "O'Brien \"HQ\"";
    {
        let store = syncline::store::Store::open(&config.join("syncline.redb"), syncline::store::StoreOptions::default()).unwrap();
        let known = store.snapshot().unwrap().states_named(syncline::engine::belief::NAME).unwrap();
        let (id, _) = known.into_iter().find(|(_, name)| name == b"corp.example").unwrap();
        let mut changes = syncline::store::ChangeSet::new();
        changes.states.push((id, syncline::engine::belief::NAME.to_owned(), Some(refused.as_bytes().to_vec())));
        store.apply(changes).unwrap();
    }
    let file = config.join("connectors/10-corp.example.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("name = \"corp.example\"", "name = \"O'Brien \\\"HQ\\\"\"")).unwrap();
    let output = with_config(&config, &["config", "check"]);
    assert_code(&output, 2);
    let shown = format!("{}{}", stdout(&output), stderr(&output)).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(shown.contains("must not hold quotes") && shown.contains("connector rename OLD NEW` then keeps its people"), "{shown}");
    fs::write(&file, text.replace("name = \"corp.example\"", "name = \"headquarters\"")).unwrap();
    assert_code(&with_config(&config, &["connector", "rename", refused, "headquarters"]), 0);
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
    // Whatever runs by itself meanwhile, nobody is deleted before somebody has looked.
    for _ in 0..2 {
        let output = with_config(&config, &["--json", "cycle", "start"]);
        assert_code(&output, 1);
        assert_eq!(exported(&document(&output)), 0, "{:#}", document(&output));
        assert!(stdout(&output).contains("corp.example was removed, and nobody has said yet"), "{}", stdout(&output));
    }
    let waiting = document(&with_config(&config, &["--json", "export", "--what-if"]));
    let set = waiting["targets"][0]["delete_set"].as_str().expect("a set");
    let other = format!("{}{}", &set[..set.len() - 1], if set.ends_with('0') { '1' } else { '0' });
    let refused = with_config(&config, &["--json", "export", "Entra", "--allow-deletes", &other]);
    assert_code(&refused, 1);
    assert_eq!(exported(&document(&refused)), 0, "another set than the one that waits");
    assert_eq!(allow_deletes(&config), 5);
    let output = with_config(&config, &["--json", "cycle", "start"]);
    // Without any other source the cycle is done with something to say.
    assert_code(&output, 1);
    assert_eq!(exported(&document(&output)), 0);
    assert!(document(&output)["warnings"][0].as_str().is_some_and(|warning| warning.contains("no source")), "{:#}", document(&output));
    let list = document(&with_config(&config, &["--json", "connector", "list"]));
    assert_eq!(list["connectors"].as_array().unwrap().len(), 1, "{list:#}");
    assert_code(&with_config(&config, &["store", "check"]), 0);
}

/// Allows the deletes that wait, as it is proposed; gives how many there were.
fn allow_deletes(config: &Path) -> u64 {
    let waiting = document(&with_config(config, &["--json", "export", "--what-if"]));
    let set = waiting["targets"][0]["delete_set"].as_str().expect("a set").to_owned();
    let sent = with_config(config, &["--json", "export", "Entra", "--allow-deletes", &set]);
    assert_code(&sent, 0);
    counted(&document(&sent), "export-delete")
}

/// A small world whose directory tells of changes in a file of its own, and that has synchronized once.
fn world_of_changes() -> tempfile::TempDir {
    let world = small_world();
    let config = world.path().join("config");
    let file = config.join("connectors/10-corp.example.toml");
    let text = fs::read_to_string(&file).expect("a file");
    let changes = world.path().join("changes.ldif");
    fs::write(&changes, "").expect("it can be written");
    let path = format!("changes = \"{}\"\npath = ", changes.display());
    let changed = text.replace("path = ", &path);
    assert_ne!(changed, text);
    fs::write(&file, changed).expect("it can be written");
    let cycle = with_config(&config, &["--json", "cycle", "start", "--initial"]);
    assert_code(&cycle, 0);
    assert_eq!(counted(&document(&cycle), "export-add"), 5);
    let cycle = document(&with_config(&config, &["--json", "cycle", "start"]));
    assert_eq!(profiles(&cycle, "corp.example")[0], "delta-import", "{cycle:#}");
    world
}

/// What a cycle ran on a connector, in its order: the steps as they were done.
fn profiles(cycle: &Value, connector: &str) -> Vec<String> {
    let runs = cycle["runs"].as_array().expect("runs").iter().filter(|run| run["connector"] == connector);
    let steps = runs.flat_map(|run| run["steps"].as_array().expect("steps"));
    steps.map(|step| step["kind"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Removes the source; gives its file, for its return.
fn removed(config: &Path) -> (PathBuf, String) {
    let file = config.join("connectors/10-corp.example.toml");
    let text = fs::read_to_string(&file).expect("a file");
    fs::remove_file(&file).expect("it can be removed");
    assert_code(&with_config(config, &["connector", "remove", "corp.example"]), 0);
    (file, text)
}

/// People of the metaverse.
fn people(config: &Path) -> usize {
    document(&with_config(config, &["--json", "mv", "search", "--limit", "100"]))["objects"].as_array().expect("objects").len()
}

#[test]
fn a_removed_connector_that_comes_back_at_once_deletes_nobody() {
    let world = world_of_changes();
    let config = world.path().join("config");
    let before = people(&config);
    let (file, text) = removed(&config);
    fs::write(&file, &text).unwrap();

    // Its directory is away: what is staged as gone goes nowhere, neither by a cycle nor by hand.
    let people_file = world.path().join("people.ldif");
    let directory = fs::read_to_string(&people_file).unwrap();
    fs::remove_file(&people_file).unwrap();
    for arguments in [&["cycle", "start"][..], &["run", "start", "corp.example", "delta-sync"], &["export"]] {
        let refused = with_config(&config, &[&["--json"], arguments].concat());
        assert_ne!(refused.status.code(), Some(0), "{arguments:?}");
        assert_eq!(exported(&document(&refused)), 0, "{arguments:?}: {:#}", document(&refused));
        assert_eq!(people(&config), before, "{arguments:?}");
    }
    let refused = stdout(&with_config(&config, &["--json", "run", "start", "corp.example", "full-sync"]));
    assert!(refused.contains("no-start-source-not-read") && refused.contains("was removed and is configured again"), "{refused}");
    let status = stdout(&with_config(&config, &["status"]));
    assert!(status.contains("has to be read as a whole"), "{status}");

    fs::write(&people_file, &directory).unwrap();
    let cycle = with_config(&config, &["--json", "cycle", "start"]);
    assert_code(&cycle, 0);
    let cycle = document(&cycle);
    assert_eq!(profiles(&cycle, "corp.example")[0], "full-import", "{cycle:#}");
    assert_eq!((exported(&cycle), people(&config)), (0, before), "{cycle:#}");
    assert_code(&with_config(&config, &["store", "check"]), 0);
}

#[test]
fn a_removed_connector_that_comes_back_to_half_a_directory_is_not_believed() {
    let world = world_of_changes();
    let config = world.path().join("config");
    let (file, text) = removed(&config);
    fs::write(&file, &text).unwrap();
    let people_file = world.path().join("people.ldif");
    let directory = fs::read_to_string(&people_file).unwrap();
    let kept: Vec<&str> = directory.split("\n\n").take(2).collect();
    fs::write(&people_file, kept.join("\n\n") + "\n").unwrap();
    let cycle = with_config(&config, &["--json", "cycle", "start"]);
    assert_code(&cycle, 5);
    assert!(stdout(&cycle).contains("stopped-shrink-guard"), "{:#}", document(&cycle));
    assert_eq!(exported(&document(&cycle)), 0);
}

#[test]
fn a_removed_connector_that_comes_back_later_is_read_as_a_whole() {
    let world = world_of_changes();
    let config = world.path().join("config");
    let before = people(&config);
    let (file, text) = removed(&config);
    assert_code(&with_config(&config, &["cycle", "start"]), 1);
    assert_eq!(allow_deletes(&config), 5);
    fs::write(&file, &text).unwrap();
    let cycle = with_config(&config, &["--json", "cycle", "start"]);
    assert_code(&cycle, 0);
    let cycle = document(&cycle);
    assert_eq!(profiles(&cycle, "corp.example")[0], "full-import", "{cycle:#}");
    assert_eq!((counted(&cycle, "stage-add"), people(&config)), (5, before), "{cycle:#}");
    assert!(cycle.to_string().contains("it was removed and is configured again"), "{cycle:#}");
    // From then on only changes are read again.
    let cycle = document(&with_config(&config, &["--json", "cycle", "start"]));
    assert_eq!(profiles(&cycle, "corp.example")[0], "delta-import", "{cycle:#}");
}
