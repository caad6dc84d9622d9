//! `object sync` and `object find`.

use crate::{assert_code, counted, document, small_world, stderr, stdout, with_config};
use serde_json::Value;
use std::fs;

fn outcomes(view: &Value) -> Vec<String> {
    let steps = view["steps"].as_array().expect("steps");
    steps.iter().map(|step| step["outcome"].as_str().unwrap_or("").to_owned()).collect()
}

#[test]
fn one_object_goes_its_whole_way_alone() {
    let world = small_world();
    let config = world.path().join("config");
    let people = world.path().join("people.ldif");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    // Two people change, somebody comes; one of them is synchronized.
    let text = fs::read_to_string(&people).expect("text");
    let text = text.replace("department: Engines", "department: Looms").replace("givenName: Emil", "givenName: Emilio");
    let fay = "dn: CN=Fay,OU=People,DC=corp,DC=example\nobjectClass: user\nobjectGUID:: d3d3d3d3d3d3d3d3d3d3dw==\ncn: Fay\nsAMAccountName: fay\n\
               userPrincipalName: fay@corp.example\nuserAccountControl: 512\ndisplayName: Fay\n";
    fs::write(&people, format!("{}\n\n{fay}", text.trim_end())).expect("written");
    let ahead = with_config(&config, &["--json", "object", "sync", "ada@corp.example", "--what-if"]);
    assert_code(&ahead, 0);
    let ahead = document(&ahead);
    assert_eq!((&ahead["what_if"], ahead["runs"].as_array().map(Vec::len)), (&true.into(), Some(0)), "{ahead:#}");
    assert!(ahead["read"]["changes"].to_string().contains("Looms"), "what the directory says now: {ahead:#}");
    let same = document(&with_config(&config, &["--json", "object", "sync", "CN=Engineers,OU=People,DC=corp,DC=example", "--what-if"]));
    assert_eq!(same["read"]["changes"], Value::Array(vec![]), "{same:#}");
    let fay_ahead = with_config(&config, &["object", "sync", "corp.example:CN=Fay,OU=People,DC=corp,DC=example", "--what-if"]);
    assert_code(&fay_ahead, 0);
    assert!(stdout(&fay_ahead).contains("+ displayName: Fay"), "{}", stdout(&fay_ahead));
    let page = world.path().join("ada.html");
    let done = with_config(&config, &["--json", "object", "sync", "ada@corp.example", "--html", page.to_str().expect("plain")]);
    assert_code(&done, 0);
    let done = document(&done);
    assert_eq!(outcomes(&done), vec!["done"; 10], "{done:#}");
    let names: Vec<&str> = done["steps"].as_array().expect("steps").iter().filter_map(|step| step["name"].as_str()).collect();
    assert_eq!((names.len(), names[8], names[9]), (10, "export", "confirm"));
    assert_eq!(counted(&done, "export-update"), 1, "{done:#}");
    assert_eq!(done["runs"][0]["steps"][0]["counters"]["stage-update"], 1, "of the directory one entry alone was staged: {done:#}");
    let html = fs::read_to_string(&page).expect("the page");
    assert!(html.contains("Looms") && html.contains("read its directory"), "{html}");
    let waiting = document(&with_config(&config, &["--json", "export", "--what-if"]));
    assert!(waiting.to_string().contains("\"updates\":0"), "nobody else was touched: {waiting:#}");

    // Somebody new is named, with the directory before it.
    let unknown = with_config(&config, &["object", "sync", "fay"]);
    assert_code(&unknown, 2);
    let come = with_config(&config, &["--json", "object", "sync", "corp.example:CN=Fay,OU=People,DC=corp,DC=example"]);
    assert_code(&come, 0);
    assert_eq!(counted(&document(&come), "export-add"), 1, "{}", stdout(&come));
    // The others come with the next cycle, and nothing is sent twice.
    let cycle = document(&with_config(&config, &["--json", "cycle", "start"]));
    assert_eq!((counted(&cycle, "export-update"), counted(&cycle, "export-add")), (1, 0), "{cycle:#}");

    // That one entry does not show tells nothing: who left is found by a cycle, behind its guards.
    for lost in ["", &text] {
        fs::write(&people, lost).expect("written");
        for command in
            [&["--json", "object", "sync", "fay@corp.example"][..], &["--json", "object", "sync", "fay@corp.example", "--what-if"]]
        {
            let gone = with_config(&config, command);
            assert_ne!(gone.status.code(), Some(0), "{}", stdout(&gone));
            assert!(stdout(&gone).contains("syncline cycle start"), "{}", stdout(&gone));
            assert_eq!(counted(&document(&gone), "export-delete"), 0, "{}", stdout(&gone));
        }
    }
    let cycle = document(&with_config(&config, &["--json", "cycle", "start"]));
    assert_eq!(counted(&cycle, "export-delete"), 1, "{cycle:#}");
    let left = with_config(&config, &["object", "sync", "fay@corp.example"]);
    assert!(!left.status.success() && !stderr(&left).contains("partitions"), "{}", stderr(&left));
    let nobody = with_config(&config, &["object", "sync", "corp.example:CN=Nobody,DC=corp,DC=example"]);
    assert!(!nobody.status.success() && stdout(&nobody).contains("no such entry"), "{} {}", stdout(&nobody), stderr(&nobody));
    let acts = stdout(&with_config(&config, &["audit", "list"]));
    assert!(acts.contains("object sync"), "{acts}");
}

#[test]
fn whoever_cannot_be_read_is_not_taken_for_gone() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let people = world.path().join("people.ldif");
    let text = fs::read_to_string(&people).expect("text");
    let account = "sAMAccountName: ada\n";
    assert!(text.contains(account));
    // A number that is none; and a broken entry that has neither a name that can be read nor an anchor, while hers is missing.
    let hers = text.split("\n\n").find(|entry| entry.contains(account)).expect("hers");
    let nameless = hers.lines().map(|line| match line.split_once(':') {
        Some(("dn", _)) => "dn: no name\n".to_owned(),
        Some(("objectGUID", _)) => String::new(),
        _ => format!("{line}\n"),
    });
    let unclear = text.replace(hers, nameless.collect::<String>().trim_end());
    let flawed = text.replace(hers, &hers.replace("userAccountControl: 512", "userAccountControl: many"));
    for (broken, told) in [(flawed, "userAccountControl"), (unclear, "no name")] {
        fs::write(&people, broken).expect("written");
        let done = with_config(&config, &["--json", "object", "sync", "ada@corp.example"]);
        assert_ne!(done.status.code(), Some(0), "{}", stdout(&done));
        assert!(stdout(&done).contains(told), "{}", stdout(&done));
        assert_eq!(counted(&document(&done), "export-delete"), 0, "{}", stdout(&done));
        let found = document(&with_config(&config, &["--json", "object", "find", "ada@corp.example"]));
        let there = found["objects"].as_array().expect("objects").iter().any(|object| object["connector"] == "Entra");
        assert!(there, "she is there still: {found:#}");
    }
    fs::write(&people, &text).expect("written");
    assert_code(&with_config(&config, &["object", "sync", "ada@corp.example"]), 0);
}

#[test]
fn guards_hold_a_single_object_too() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    assert_code(&with_config(&config, &["guard", "set", "--max-deletes", "0"]), 0);
    let people = world.path().join("people.ldif");
    let text = fs::read_to_string(&people).expect("text");
    let account = "sAMAccountName: ada\n";
    assert!(text.contains(account));
    // She leaves the scope of the built-in rules.
    fs::write(&people, text.replace(account, &format!("{account}adminDescription: User_left\n"))).expect("written");
    let held = with_config(&config, &["--json", "object", "sync", "ada@corp.example"]);
    assert_code(&held, 5);
    assert_eq!(outcomes(&document(&held))[8], "failed", "{}", stdout(&held));
    let found = document(&with_config(&config, &["--json", "object", "find", "ada@corp.example"]));
    let there = found["objects"].as_array().expect("objects").iter().any(|object| object["connector"] == "Entra");
    assert!(there, "she is there still: {found:#}");
    assert_code(&with_config(&config, &["object", "find", "nobody-at-all"]), 2);
}

#[test]
fn everything_of_one_object_goes_into_one_file() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    crate::ada_changes(world.path());
    assert_code(&with_config(&config, &["run", "start", "corp.example", "delta-import"]), 0);
    let file = world.path().join("ada.json");
    let path = file.to_str().expect("a plain path");
    let told = document(&with_config(&config, &["--json", "object", "export", "ada@corp.example", "--bundle", path]));
    assert_eq!(told["objects"], 2, "{told:#}");
    let bundle: Value = serde_json::from_slice(&fs::read(&file).expect("written")).expect("JSON");
    let spaces = bundle["spaces"].as_array().expect("spaces");
    assert_eq!((&spaces[0]["connector"], &spaces[1]["connector"]), (&"corp.example".into(), &"Entra".into()), "{bundle:#}");
    assert_eq!((&spaces[0]["id"], &spaces[0]["metaverse"]), (&bundle["object"], &bundle["metaverse"]["id"]), "{bundle:#}");
    let pending = &spaces[0]["stages"][0];
    assert_eq!((&pending["stage"], &pending["changes"][0]["added"][0]), (&"pending-import".into(), &"Looms".into()), "{pending:#}");
    let department = bundle["metaverse"]["attributes"].as_array().unwrap().iter().find(|one| one["name"] == "department");
    let department = department.unwrap_or_else(|| panic!("{bundle:#}"));
    assert_eq!((&department["values"][0], &department["lineage"][0]["connector"]), (&"Engines".into(), &"corp.example".into()));
    let runs = bundle["runs"].as_array().expect("runs");
    let counters: Vec<&str> = runs.iter().map(|line| line["counter"].as_str().unwrap()).collect();
    for counter in ["stage-update", "stage-add", "export-add"] {
        assert!(counters.contains(&counter), "{counter}: {counters:?}");
    }
    assert_eq!(counters[0], "stage-update", "the newest first: {counters:?}");
    assert!(bundle["explanation"]["verdict"].is_string() && bundle["password"].is_null(), "{bundle:#}");
    assert_code(&with_config(&config, &["object", "export", "nobody@corp.example", "--bundle", path]), 2);
}

#[test]
fn an_object_says_what_it_is_tied_to_the_cloud_by() {
    let world = small_world();
    let config = world.path().join("config");
    let people = world.path().join("people.ldif");
    let text = fs::read_to_string(&people).expect("text");
    let with = "sAMAccountName: emil\nmS-DS-ConsistencyGuid:: 3q2+796tvu/erb7v3q2+7w==\n";
    fs::write(&people, text.replace("sAMAccountName: emil\n", with)).expect("written");
    assert_code(&with_config(&config, &["run", "start", "corp.example", "full-import"]), 0);
    let get = |object: &str| document(&with_config(&config, &["--json", "anchor", "get", object]));
    let imported = get("emil@corp.example");
    assert_eq!(imported["consistency_guid"]["base64"], "3q2+796tvu/erb7v3q2+7w==", "{imported:#}");
    assert_eq!(imported["source_anchor"], Value::Null, "rules have not seen it: {imported:#}");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    assert_eq!(get("emil@corp.example")["source_anchor"], "3q2+796tvu/erb7v3q2+7w==");
    let ada = get("ada@corp.example");
    assert_eq!((&ada["consistency_guid"], &ada["source_anchor"]), (&Value::Null, &ada["anchor"]["base64"]), "{ada:#}");
    assert!(stdout(&with_config(&config, &["anchor", "get", "ada@corp.example"])).contains("mS-DS-ConsistencyGuid  none"));
    // Only Active Directory has it, and only 16 octets fit.
    for (wrong, said) in [
        (&["anchor", "set", "ada@corp.example", "67452301", "--what-if"][..], "has 4 octets"),
        (&["anchor", "set", "ada@corp.example", "3q2+796tvu/erb7v3q2+7w==", "--what-if"], "no Active Directory"),
        (&["anchor", "clear", "corp.example:ada@corp.example", "--what-if"], "is no Active Directory"),
        (&["anchor", "clear", "ada@corp.example"], "--admin-name"),
    ] {
        let refused = with_config(&config, wrong);
        assert_code(&refused, 64);
        assert!(stderr(&refused).contains(said), "{wrong:?}: {}", stderr(&refused));
    }
}
