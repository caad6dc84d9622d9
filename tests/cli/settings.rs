//! `config check`, `schema`, `show` and `set`.

use crate::{assert_code, document, small_world, stderr, stdout, with_config};
use std::fs;

#[test]
fn settings_are_listed_changed_and_taken_back_in_the_file() {
    let world = small_world();
    let config = world.path().join("config");
    let main = config.join("syncline.toml");
    let value = |key: &str| {
        let shown = document(&with_config(&config, &["--json", "config", "show"]));
        let found = shown["settings"].as_array().expect("settings").iter().find(|setting| setting["key"] == key).cloned();
        found.unwrap_or_else(|| panic!("{key}: {shown:#}"))
    };
    assert_eq!(value("limits.object_errors")["value"], 5_000);
    assert_eq!(value("limits.object_errors")["written"], false);
    let before = fs::read_to_string(&main).expect("text");
    let ahead = document(&with_config(&config, &["--json", "config", "set", "limits.object_errors", "7", "--what-if"]));
    assert_eq!((&ahead["before"], &ahead["after"], &ahead["done"]), (&5_000.into(), &7.into(), &"would be written".into()));
    assert_eq!(fs::read_to_string(&main).expect("text"), before, "a look writes nothing");
    assert_code(&with_config(&config, &["config", "set", "limits.object_errors", "7"]), 0);
    assert_eq!((&value("limits.object_errors")["value"], &value("limits.object_errors")["written"]), (&7.into(), &true.into()));
    assert_code(&with_config(&config, &["config", "set", "rules.services", "[\"teams\", \"intune\"]"]), 0);
    assert_eq!(value("rules.services")["value"].as_array().map(Vec::len), Some(2));
    assert_code(&with_config(&config, &["config", "set", "limits.object_errors", "--unset"]), 0);
    assert_code(&with_config(&config, &["config", "set", "rules.services", "--unset"]), 0);
    assert_eq!(value("limits.object_errors")["value"], 5_000);
    let text = stdout(&with_config(&config, &["config", "show", "guard"]));
    assert!(text.contains("guard.max_deletes") && !text.contains("limits."), "{text}");

    for wrong in [["guard.max_delete", "7"], ["guard.max_deletes", "many"], ["guard.shrink_percent", "101"], ["rules.services", "fax"]] {
        let output = with_config(&config, &["config", "set", wrong[0], wrong[1]]);
        assert!(matches!(output.status.code(), Some(4 | 64)), "{wrong:?}: {}", stderr(&output));
    }
    assert!(stderr(&with_config(&config, &["config", "set", "guard.max_delete", "7"])).contains("did you mean guard.max_deletes"));
    assert!(!fs::read_to_string(&main).expect("text").contains("101"));
    let acts = stdout(&with_config(&config, &["audit", "list"]));
    assert!(acts.contains("limits.object_errors") && !acts.contains("--what-if"), "{acts}");
}

#[test]
fn a_check_tells_of_files_rules_and_secrets_at_once() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["config", "check"]), 0);
    fs::create_dir_all(config.join("rules")).expect("a folder");
    fs::write(
        config.join("rules/10-own.toml"),
        "[[rule]]\nname = \"own\"\ndirection = \"inbound\"\nconnector = \"corp.example\"\ncs_type = \"user\"\nmv_type = \"person\"\n\
         link = \"join\"\nprecedence = 50\nflows = [{ to = \"title\", expr = 'Nosuch([title])' }]\n",
    )
    .expect("a file");
    fs::write(
        config.join("connectors/ad.toml"),
        "kind = \"ad\"\nurl = \"ldaps://dc\"\nbind_name = \"x\"\npassword = { credential = \"nobody-has-it\" }\nca_file = \"missing.pem\"\n",
    )
    .expect("a file");
    let output = with_config(&config, &["--json", "config", "check"]);
    assert_code(&output, 2);
    let found = document(&output);
    let told = found["findings"].to_string();
    for part in ["nobody-has-it", "missing.pem", "rules/10-own.toml"] {
        assert!(told.contains(part), "{part}: {found:#}");
    }
    let rule = found["findings"].as_array().expect("findings").iter().find(|finding| finding["file"] == "rules/10-own.toml");
    assert!(rule.is_some_and(|rule| rule["line"].as_u64() > Some(0)), "{found:#}");
    // Broken files: all of them, with line and column.
    fs::write(config.join("connectors/ad.toml"), "kind = \"ad\"\nurl = 3\nbind = \"x\"\n").expect("a file");
    fs::write(config.join("syncline.toml"), "version = 1\n[guard]\nmax_delets = 1\n").expect("a file");
    let found = document(&with_config(&config, &["--json", "config", "check"]));
    let places: Vec<String> = found["findings"]
        .as_array()
        .expect("findings")
        .iter()
        .map(|one| format!("{}:{}", one["file"].as_str().unwrap_or(""), one["line"]))
        .collect();
    for place in ["connectors/ad.toml:2", "connectors/ad.toml:3", "syncline.toml:3"] {
        assert!(places.iter().any(|known| known == place), "{place}: {places:?}");
    }
}

#[test]
fn schemas_describe_every_key() {
    let world = small_world();
    let config = world.path().join("config");
    let files = fs::read_dir(config.join("connectors")).expect("the folder").flatten().map(|file| file.path());
    let tenant = files.into_iter().find(|file| fs::read_to_string(file).is_ok_and(|text| text.contains("embedded"))).expect("a tenant");
    let tenant = format!("connectors/{}", tenant.file_name().expect("a name").to_string_lossy());
    for (name, key) in [("syncline.toml", "guard"), ("ad", "bind_name"), ("ldap", "base"), ("ldif", "shape"), (&*tenant, "tenant")] {
        let output = with_config(&config, &["config", "schema", name]);
        assert_code(&output, 0);
        let schema = document(&output);
        assert!(schema["$schema"].as_str().is_some_and(|draft| draft.contains("2020-12")), "{schema:#}");
        assert!(schema["properties"][key].is_object(), "{name}: {schema:#}");
    }
    assert_code(&with_config(&config, &["config", "schema", "nothing"]), 64);
}
