//! `config check`, `schema`, `show` and `set`.

use crate::serve::Served;
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
fn a_value_that_cannot_be_used_is_refused_before_it_is_written() {
    let world = small_world();
    let config = world.path().join("config");
    let main = config.join("syncline.toml");
    let text = || fs::read_to_string(&main).expect("text");
    let before = text();
    let refused = |key: &str, value: &str, told: &str| {
        for what_if in [&["--what-if"][..], &[]] {
            let output = with_config(&config, &[&["config", "set", key, value], what_if].concat());
            assert_code(&output, 4);
            assert!(stderr(&output).contains(told), "{key} {value}: {}", stderr(&output));
        }
        assert_eq!(text(), before, "{key} {value}");
    };
    refused("rules.source_anchor", "mail", "mail cannot be the source anchor");
    refused("rules.user_matching", "blah", "built-in/in-from-ad.toml");
    refused("limits.cache_mib", "99999999", "cache_mib cannot be above 65536");
    refused("limits.threads", "100000", "threads cannot be above 1024");
    // Before anybody is in the cloud, any attribute may be unique there. Afterwards it is another one.
    assert_code(&with_config(&config, &["config", "set", "rules.source_anchor", "employeeNumber", "--what-if"]), 0);
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    refused("rules.source_anchor", "nosuchattribute", "Put 'mS-DS-ConsistencyGuid' back");
    assert_code(&with_config(&config, &["config", "set", "rules.source_anchor", "--unset"]), 0);
    assert_code(&with_config(&config, &["config", "check"]), 0);
    fs::write(&main, format!("{before}\n[rules]\nsource_anchor = \"nosuchattribute\"\n")).expect("a file");
    let output = with_config(&config, &["config", "check"]);
    assert_code(&output, 2);
    assert!(stdout(&output).contains("source_anchor is 'nosuchattribute'"), "{}", stdout(&output));

    // Who has two things to mend mends one after the other.
    fs::write(&main, format!("{before}\n[rules]\nsource_anchor = \"mail\"\nuser_matching = \"blah\"\n")).expect("a file");
    assert_code(&with_config(&config, &["config", "set", "rules.user_matching", "mail"]), 0);
    assert_code(&with_config(&config, &["config", "check"]), 2);
    assert_code(&with_config(&config, &["config", "set", "rules.source_anchor", "mS-DS-ConsistencyGuid"]), 0);
    assert_code(&with_config(&config, &["config", "check"]), 0);
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

/// A file that the configuration names and that is gone: where it is named, and what to do.
#[test]
fn files_that_are_missing_are_told_with_the_line_that_names_them() {
    let world = small_world();
    let config = world.path().join("config");
    fs::create_dir_all(config.join("rules")).expect("a folder");
    let rule = config.join("rules/own.toml");
    std::os::unix::fs::symlink("/nowhere/own.toml", &rule).expect("a link");
    for call in [&["rule", "list"][..], &["status"], &["cycle", "start"], &["config", "check"]] {
        let output = with_config(&config, call);
        assert!(matches!(output.status.code(), Some(2 | 4)), "{call:?}");
        let shown = stdout(&output) + &stderr(&output);
        assert!(shown.contains("rules/own.toml: cannot be read"), "{call:?}: {shown}");
        assert!(shown.contains("it is a link to /nowhere/own.toml: put that file back, or remove the link"), "{call:?}: {shown}");
    }
    fs::remove_file(&rule).expect("it is ours");

    fs::remove_file(world.path().join("people.ldif")).expect("it is ours");
    let command = format!("`syncline --config {} connector set 'corp.example' path FILE`", config.display());
    let calls: [(&[&str], i32); 4] = [
        (&["run", "start", "corp.example", "full-import"], 3),
        (&["cycle", "start"], 3),
        (&["connector", "test", "corp.example"], 4),
        (&["config", "check"], 2),
    ];
    for (call, code) in calls {
        let output = with_config(&config, call);
        assert_code(&output, code);
        let shown = stdout(&output) + &stderr(&output);
        assert!(shown.contains("connectors/10-corp.example.toml:4:8: path: ") && shown.contains(&command), "{call:?}: {shown}");
    }
    let found = document(&with_config(&config, &["--json", "config", "check"]));
    assert_eq!((&found["findings"][0]["line"], &found["findings"][0]["column"]), (&4.into(), &8.into()), "{found:#}");

    fs::write(
        config.join("connectors/ad.toml"),
        "kind = \"ad\"\nurl = \"ldaps://127.0.0.1:1\"\nbind_name = \"x\"\nca_file = \"missing.pem\"\npassword = { credential = \"ad-bind\" }\n",
    )
    .expect("a file");
    let found = document(&with_config(&config, &["--json", "config", "check"]));
    let credential = found["findings"].as_array().expect("findings").iter().find(|one| one.to_string().contains("ad-bind"));
    assert_eq!(credential.map(|one| &one["line"]), Some(&5.into()), "{found:#}");
    for call in [&["connector", "test", "ad"][..], &["partition", "tree", "ad"]] {
        let output = with_config(&config, call);
        assert_code(&output, 4);
        let shown = stderr(&output);
        assert!(shown.contains("connectors/ad.toml:4:11: ca_file: ") && shown.contains("connector set 'ad' ca_file FILE`"), "{shown}");
    }
}

/// Whoever sets a limit has to know whether it is set, whatever else is wrong.
#[test]
fn what_is_written_beside_something_broken_is_told_from_what_is_not() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let main = config.join("syncline.toml");
    let text = || fs::read_to_string(&main).expect("text");
    let broken_rule = config.join("rules/10-own.toml");
    fs::create_dir_all(config.join("rules")).expect("a folder");
    fs::write(&broken_rule, "[[rule]]\nname = \"own\"\ndirection = \"sideways\"\n").expect("a file");
    let calls: [(&[&str], &str, &str); 3] = [
        (
            &["guard", "set", "--max-deletes", "3", "--shrink-percent", "40"],
            "guard.max_deletes = 3 and guard.shrink_percent = 40",
            "max_deletes = 3",
        ),
        (&["scheduler", "set", "--interval", "2h"], "scheduler.interval", "interval = \"2h\""),
        (&["guard", "disable"], "guard.delete_threshold = false", "delete_threshold = false"),
    ];
    for (call, told, line) in calls {
        let output = with_config(&config, call);
        assert_code(&output, 1);
        let shown = stderr(&output);
        assert!(shown.contains(&format!("{told} in syncline.toml is written")), "{shown}");
        assert!(shown.contains("rules/10-own.toml:3:") && shown.contains("config check`"), "{shown}");
        assert!(text().contains(line), "{}", text());
    }
    let error = document(&with_config(&config, &["--json", "guard", "set", "--max-deletes", "4"]))["error"].clone();
    assert_eq!((&error["kind"], &error["exit_code"]), (&"written-only".into(), &1.into()), "{error:#}");

    // What cannot be opened is not written to, and that is another code.
    fs::remove_file(&broken_rule).expect("it is ours");
    let connector = config.join("connectors/10-corp.example.toml");
    let whole = fs::read_to_string(&connector).expect("text");
    fs::write(&connector, format!("nonsense = 1\n{whole}")).expect("a file");
    let before = text();
    let output = with_config(&config, &["guard", "set", "--max-deletes", "5"]);
    assert_code(&output, 4);
    assert!(stderr(&output).contains("connectors/10-corp.example.toml:1:1"), "{}", stderr(&output));
    assert_eq!(text(), before);
    fs::write(&connector, &whole).expect("a file");

    let service = Served::start(&config);
    service.cycles(1);
    fs::write(&connector, format!("nonsense = 1\n{whole}")).expect("a file");
    for (call, line) in
        [(["guard", "set", "--max-deletes", "6"], "max_deletes = 6"), (["scheduler", "set", "--interval", "4h"], "interval = \"4h\"")]
    {
        let output = with_config(&config, &call);
        assert_code(&output, 1);
        let shown = stderr(&output);
        assert!(shown.contains("in syncline.toml is written") && shown.contains("connectors/10-corp.example.toml:1:1"), "{shown}");
        assert!(shown.contains("the running service goes on with the configuration from before"), "{shown}");
        assert!(text().contains(line), "{}", text());
    }
    // Staging mode counts at once, whatever else is broken; other settings do not.
    assert_code(&with_config(&config, &["mode", "staging"]), 0);
    let tenant = fs::read_to_string(config.join("connectors/90-entra.toml")).expect("text");
    let output = with_config(&config, &["connector", "set", "Entra", "batch_objects", "7"]);
    assert_code(&output, 1);
    assert!(stderr(&output).contains("the file is written"), "{}", stderr(&output));
    assert_ne!(fs::read_to_string(config.join("connectors/90-entra.toml")).expect("text"), tenant);
    // Nothing was written, so nothing is to be looked at.
    assert_code(&with_config(&config, &["connector", "set", "Entra", "batch_objects", "7"]), 0);
    service.stop();
}

/// Nothing that stands in a file is shown where it is wrong: under a misspelt key it may be a secret.
#[test]
fn a_secret_under_a_misspelt_key_is_told_nowhere() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start"]), 0);
    let service = Served::start(&config);
    service.cycles(1);
    let connector =
        fs::read_dir(config.join("connectors")).expect("a folder").map(|entry| entry.expect("a file").path()).next().expect("one");
    let before = fs::read_to_string(&connector).expect("text");
    // Two files with a problem each: the event has both in one line.
    let other = config.join("connectors/99-other.toml");
    fs::write(&other, "kind = \"entar\"\n").expect("a file");
    for key in ["pasword", "bindpw", "kennwort"] {
        fs::write(&connector, format!("{key} = \"HidePlain14\"\n{before}")).expect("a file");
        let check = with_config(&config, &["config", "check"]);
        assert_code(&check, 2);
        let said = stdout(&check) + &stderr(&check);
        assert!(said.contains(&format!(":1:1: unknown key `{key}`")) && !said.contains("HidePlain14"), "{said}");
        for command in [&["status"][..], &["events", "list"], &["events", "list", "--json"], &["config", "check", "--json"], &["doctor"]] {
            let output = with_config(&config, command);
            let said = stdout(&output) + &stderr(&output);
            assert!(!said.contains("HidePlain14"), "{command:?}: {said}");
        }
    }
    let events = stdout(&with_config(&config, &["events", "list", "--id", "7063"]));
    assert!(
        events.contains("unknown key") && events.contains("; connectors/99-other.toml:1:8: unknown kind") && !events.contains('\u{fffd}'),
        "{events}"
    );
    assert_code(&with_config(&config, &["connector", "set", "corp.example", "kennwort", "HidePlain14"]), 64);
    let bundle = with_config(&config, &["support", "bundle", "--with-names"]);
    assert_code(&bundle, 0);
    let bundle = stdout(&bundle) + &stderr(&bundle);
    assert!(bundle.contains("kennwort") && !bundle.contains("HidePlain14"), "{bundle}");
    for entry in walk(&config) {
        let holds = fs::read(&entry).expect("a file").windows(11).any(|octets| octets == b"HidePlain14");
        assert_eq!(holds, entry == connector, "{}", entry.display());
    }
    drop(service);
    fs::write(&connector, &before).expect("a file");
    fs::remove_file(&other).expect("ours");
    let main = config.join("syncline.toml");
    let text = fs::read_to_string(&main).expect("text");
    fs::write(&main, format!("{text}\n[service]\ntraces = \"http://u:HideTrace44@collector:4318\"\n")).expect("a file");
    let shown = stdout(&with_config(&config, &["config", "show"])) + &stdout(&with_config(&config, &["--json", "config", "show"]));
    assert!(shown.contains("http://collector:4318") && !shown.contains("HideTrace44"), "{shown}");
}

/// Every file below a folder.
fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).filter(|path| path.is_file()).collect()
}

#[test]
fn what_would_lie_in_a_folder_that_is_not_there_is_refused() {
    let world = small_world();
    let config = world.path().join("config");
    let before = fs::read_to_string(config.join("syncline.toml")).expect("text");
    let output = with_config(&config, &["config", "set", "store", "missing/syncline.redb"]);
    assert_code(&output, 4);
    assert!(stderr(&output).contains("there is no such folder") && stderr(&output).contains("mkdir -p"), "{}", stderr(&output));
    assert_eq!(fs::read_to_string(config.join("syncline.toml")).expect("text"), before);
    assert_code(&with_config(&config, &["config", "set", "store", "other.redb"]), 0);

    let data = world.path().join("lab/tenant.redb");
    let output = crate::syncline(["tenant", "serve", "--data", data.to_str().expect("a path")]);
    assert_code(&output, 4);
    assert!(
        stderr(&output).contains("there is no folder") && stderr(&output).contains(data.to_str().expect("a path")),
        "{}",
        stderr(&output)
    );
}
