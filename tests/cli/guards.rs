//! What stops before anybody is harmed by a mistake in the configuration or a source that cannot be right.

use crate::{assert_code, counted, document, exported, small_world, stderr, with_config};
use std::fs;

#[test]
fn another_source_anchor_is_refused_once_objects_are_in_the_cloud() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let main = config.join("syncline.toml");
    let text = fs::read_to_string(&main).unwrap();
    assert!(!text.contains("\n[rules]"), "{text}");
    fs::write(&main, format!("{text}\n[rules]\nsource_anchor = \"nonsense\"\n")).unwrap();
    let output = with_config(&config, &["cycle", "start"]);
    assert_code(&output, 4);
    let shown = stderr(&output);
    assert!(shown.contains("'nonsense'") && shown.contains("Put 'mS-DS-ConsistencyGuid' back"), "{shown}");
    fs::write(&main, text).unwrap();
    let output = with_config(&config, &["--json", "cycle", "start"]);
    assert_code(&output, 0);
    assert_eq!(exported(&document(&output)), 0);
}

/// Most people are missing, and a group that is still there is smaller: nothing of it is believed.
#[test]
fn what_a_guard_does_not_believe_does_not_count_in_parts() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let file = world.path().join("people.ldif");
    let few = fs::read_to_string(&file).unwrap();
    let extra = |number: u32| {
        let guid = format!("AQEBAQEBAQEBAQEBAQ{number}AA==");
        format!(
            "\ndn: CN=Extra {number},OU=People,DC=corp,DC=example\nobjectClass: user\nobjectGUID:: {guid}\nsAMAccountName: extra{number}\n\
             userPrincipalName: extra{number}@corp.example\nuserAccountControl: 512\n"
        )
    };
    let many: String = std::iter::once(few.clone()).chain((10..40).map(extra)).collect();
    fs::write(&file, many).unwrap();
    assert_code(&with_config(&config, &["cycle", "start"]), 0);
    let shrunk: Vec<&str> = few.lines().filter(|line| !line.starts_with("member:")).collect();
    assert_ne!(shrunk.len(), few.lines().count(), "a group lost its members, too");
    fs::write(&file, shrunk.join("\n") + "\n").unwrap();
    let output = with_config(&config, &["--json", "cycle", "start"]);
    assert_code(&output, 5);
    let shown = document(&output);
    assert_eq!(shown["runs"][0]["result"], "stopped-shrink-guard", "{shown:#}");
    assert_eq!((counted(&shown, "stage-delete"), counted(&shown, "stage-update")), (0, 1));
    assert_eq!(exported(&shown), 0, "{shown:#}");
}

/// Runs a cycle with a setting that was not there before, and gives what it came to.
fn cycle_with(config: &std::path::Path, setting: (&str, &str)) -> (std::process::Output, serde_json::Value) {
    let file = config.join(setting.0);
    let text = fs::read_to_string(&file).expect("the configuration can be read and written");
    fs::write(&file, format!("{text}\n{}\n", setting.1)).expect("the configuration can be read and written");
    let output = with_config(config, &["--json", "cycle", "start"]);
    fs::write(&file, text).expect("the configuration can be read and written");
    let shown = document(&output);
    (output, shown)
}

#[test]
fn people_who_were_sent_stay_when_only_passwords_are_wanted() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let (output, shown) = cycle_with(&config, ("syncline.toml", "[rules]\nprofile = \"password-only\""));
    assert_code(&output, 0);
    assert_eq!((exported(&shown), counted(&shown, "provisioned-delete")), (0, 0), "{shown:#}");
    // Back again: values that were let go are told as changed by others, and set right.
    let output = with_config(&config, &["--json", "cycle", "start"]);
    assert!(output.status.code() < Some(2), "{}", stderr(&output));
    assert_eq!(counted(&document(&output), "export-delete"), 0);
}

#[test]
fn a_pilot_whose_group_is_missing_stops_before_anybody_is_taken_out() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let source = fs::read_dir(config.join("connectors")).unwrap().map(|entry| entry.unwrap().path());
    let source = source.into_iter().find(|path| fs::read_to_string(path).unwrap().contains("\"ldif\"")).unwrap();
    let name = format!("connectors/{}", source.file_name().unwrap().to_str().unwrap());
    for group in ["CN=Pilt,OU=Groups,DC=corp,DC=example", "OU=People,DC=corp,DC=example"] {
        let (output, shown) = cycle_with(&config, (&name, &format!("[selection]\ngroups = [\"{group}\"]")));
        assert_eq!(exported(&shown), 0, "{shown:#}");
        assert_ne!(output.status.code(), Some(0), "{shown:#}");
        assert!(shown.to_string().contains("no-start-pilot-group-missing") && shown.to_string().contains(group), "{shown:#}");
    }
    let output = with_config(&config, &["--json", "cycle", "start"]);
    assert_code(&output, 0);
    assert_eq!(exported(&document(&output)), 0);
}
