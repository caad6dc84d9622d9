//! What is given away or written beside: a bundle without secrets, files for their owner alone, secrets that alerts need.

use crate::{assert_code, document, small_world, stderr, stdout, with_config};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

const HOOK: &str = "https://hooks.slack.example/services/T0AB12CD3/B0EF45GH6/a1B2c3D4e5F6g7H8i9J0k1L2";

fn add(path: &Path, text: &str) {
    let before = fs::read_to_string(path).expect("a file");
    fs::write(path, format!("{before}\n{text}")).expect("written");
}

#[test]
fn a_bundle_has_no_address_that_is_a_secret_and_no_name_that_was_typed() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let alerts = format!(
        "# {HOOK}\n[alerts.webhook]\nurl = \"{HOOK}\"\n[alerts.mail]\nserver = \"mail.corp.example\"\nfrom = \"sync@corp.example\"\nto = [\"ann@corp.example\"]\n"
    );
    add(&config.join("syncline.toml"), &alerts);
    // Nobody is called so; that it was typed is recorded all the same.
    with_config(&config, &["object", "sync", "jsmith"]);
    let bundle = with_config(&config, &["support", "bundle"]);
    assert_code(&bundle, 0);
    let text = stdout(&bundle);
    assert!(text.contains("https://hooks.slack.example/…"), "{text}");
    for gone in ["T0AB12CD3", "a1B2c3", "jsmith", "ann@", "sync@"] {
        assert!(!text.contains(gone), "{gone}");
    }
    assert!(stderr(&bundle).contains("it holds names of servers"), "{}", stderr(&bundle));
    let document: serde_json::Value = serde_json::from_str(&text).expect("one document");
    let acts = document["acts"].as_array().expect("acts");
    assert!(acts.iter().any(|act| act["command"] == serde_json::json!(["--config", "object", "sync"])), "{acts:#?}");
    let named = stdout(&with_config(&config, &["support", "bundle", "--with-names"]));
    assert!(named.contains("jsmith") && named.contains("ann@corp.example"));
    assert!(!named.contains("T0AB12CD3") && !named.contains("a1B2c3"));
}

#[test]
fn an_address_that_is_a_secret_is_nowhere_but_in_its_file() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let set = ["config", "set", "alerts.webhook.url", HOOK];
    let told = [
        with_config(&config, &set),
        with_config(&config, &["--json", "config", "set", "alerts.webhook.url", "http://hooks.slack.example/T0AB12CD3/a1B2c3"]),
        with_config(&config, &["--json", "config", "show"]),
        with_config(&config, &["alerts", "show"]),
        with_config(&config, &["audit", "list"]),
        with_config(&config, &["--json", "audit", "list"]),
        with_config(&config, &["support", "bundle", "--with-names"]),
    ];
    assert!(fs::read_to_string(config.join("syncline.toml")).expect("text").contains(HOOK));
    for output in &told {
        let shown = stdout(output) + &stderr(output);
        assert!(!shown.contains("T0AB12CD3") && !shown.contains("a1B2c3"), "{shown}");
    }
    let codes: Vec<Option<i32>> = told.iter().map(|output| output.status.code()).collect();
    assert_eq!(codes, [Some(0), Some(4), Some(0), Some(0), Some(0), Some(0), Some(0)]);
    assert!(stdout(&told[4]).contains("alerts.webhook.url 'https://hooks.slack.example/…'"), "{}", stdout(&told[4]));
    for file in fs::read_dir(&config).expect("the folder").flatten().map(|file| file.path()).filter(|path| path.is_file()) {
        let text = fs::read(&file).expect("a file");
        let holds = text.windows(9).any(|part| part == b"T0AB12CD3");
        assert_eq!(holds, file.ends_with("syncline.toml"), "{}", file.display());
    }
}

#[test]
fn files_with_values_of_people_are_their_owners_alone() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let calls: [(&[&str], &str); 10] = [
        (&["object", "explain", "ada@corp.example", "--html"], "explain.html"),
        (&["preview", "ada@corp.example", "--html"], "preview.html"),
        (&["mv", "why", "ada@corp.example", "department", "--html"], "why.html"),
        (&["export", "--what-if", "--csv"], "export.csv"),
        (&["object", "export", "ada@corp.example", "--bundle"], "bundle.json"),
        (&["object", "sync", "ada@corp.example", "--what-if", "--html"], "object.html"),
        (&["cs", "search", "corp.example", "--csv"], "people.csv"),
        (&["lint", "directory", "--csv"], "lint.csv"),
        (&["lint", "directory", "--ldif"], "lint.ldif"),
        (&["export", "--what-if", "--html"], "export.html"),
    ];
    for (call, name) in calls {
        let path = world.path().join(name);
        // Others could read what was there.
        fs::write(&path, "before").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("ours");
        let mut words = call.to_vec();
        let shown = path.display().to_string();
        words.push(&shown);
        let output = with_config(&config, &words);
        assert!(matches!(output.status.code(), Some(0..=2)), "{words:?}: {}", stderr(&output));
        assert_eq!(fs::metadata(&path).expect("written").permissions().mode() & 0o777, 0o600, "{name}");
        assert_ne!(fs::read_to_string(&path).expect("text"), "before", "{name}");
    }
}

#[test]
fn the_secrets_of_alerts_are_needed_and_looked_for() {
    let world = small_world();
    let config = world.path().join("config");
    let alerts = "[alerts.webhook]\nurl = \"https://hooks.example/x\"\nsecret = { credential = \"hook\" }\n[alerts.mail]\nserver = \"mail.corp.example\"\n\
                  from = \"sync@corp.example\"\nto = [\"ann@corp.example\"]\nuser = \"u\"\npassword = { credential = \"mail-password\" }\n";
    add(&config.join("syncline.toml"), alerts);
    let check = with_config(&config, &["config", "check"]);
    assert_code(&check, 2);
    for name in ["'hook'", "'mail-password'"] {
        assert!(stdout(&check).contains(name), "{}", stdout(&check));
    }
    for name in ["hook", "mail-password"] {
        let file = world.path().join("typed");
        fs::write(&file, "some secret\n").expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("ours");
        let shown = file.display().to_string();
        assert_code(&with_config(&config, &["secret", "set", name, "--secret-file", &shown]), 0);
    }
    assert_code(&with_config(&config, &["config", "check"]), 0);
    let listed = document(&with_config(&config, &["--json", "secret", "list"]));
    let users = |name: &str| {
        let lines = listed["secrets"].as_array().expect("secrets");
        lines.iter().find(|line| line["name"] == name).map(|line| line["used_by"].to_string()).unwrap_or_default()
    };
    assert!(users("hook").contains("[alerts.webhook]") && users("mail-password").contains("[alerts.mail]"), "{listed:#}");
    let removed = with_config(&config, &["secret", "remove", "mail-password"]);
    assert_code(&removed, 4);
    assert!(stderr(&removed).contains("[alerts.mail]"), "{}", stderr(&removed));
    assert!(!stdout(&with_config(&config, &["doctor"])).contains("secret remove"));
}
