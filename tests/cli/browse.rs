//! Looking at what the store holds.

use crate::{assert_code, document, small_world, stderr, stdout, with_config};
use std::fs;
use std::time::Duration;
use syncline::context::{Clock as _, SystemClock};

/// A world after its first cycle, in which somebody has left the directory and nobody has exported that yet.
fn world_with_a_leaver() -> tempfile::TempDir {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let file = world.path().join("people.ldif");
    let (before, rest) = crate::PEOPLE.split_once("dn: CN=Old Hand").expect("he is there");
    let (_, after) = rest.split_once("dn: CN=Engineers").expect("they are behind him");
    fs::write(&file, format!("{before}dn: CN=Engineers{after}")).expect("the folder can be written");
    assert_code(&with_config(&config, &["run", "start", "corp.example", "full-import"]), 0);
    world
}

#[test]
fn a_waiting_delete_is_explained_and_has_a_name() {
    let world = world_with_a_leaver();
    let config = world.path().join("config");
    let explain = || {
        let output = with_config(&config, &["--json", "object", "explain", "oldhand@corp.example"]);
        assert_code(&output, 0);
        document(&output)
    };
    let before = explain();
    let last = before["steps"].as_array().unwrap().last().unwrap();
    assert_eq!((last["step"].as_str(), last["findings"][0].as_str()), (Some("export"), Some("nothing is pending")), "{before:#}");
    assert_code(&with_config(&config, &["run", "start", "corp.example", "full-sync"]), 0);
    let after = explain();
    let last = after["steps"].as_array().unwrap().last().unwrap();
    assert_eq!((last["step"].as_str(), last["findings"][0].as_str()), (Some("export"), Some("pending-export: delete")), "{after:#}");
    assert!(after["verdict"].as_str().unwrap().ends_with("The next export deletes it in Entra."), "{after:#}");

    let output = with_config(&config, &["--json", "export", "--what-if"]);
    let object = document(&output)["targets"][0]["objects"][0].clone();
    assert_eq!(object["operation"], "delete");
    assert_eq!((object["display_name"].as_str(), object["user_principal_name"].as_str()), (Some("Old Hand"), Some("oldhand@corp.example")));
    let output = with_config(&config, &["export", "--what-if"]);
    assert!(stdout(&output).contains("Old Hand (oldhand@corp.example)"), "{}", stdout(&output));
    let output = with_config(&config, &["cs", "search", "Entra", "--pending-export", "delete"]);
    assert!(stdout(&output).contains("Old Hand (oldhand@corp.example)"), "{}", stdout(&output));
}

#[test]
fn values_that_no_filter_knows_are_refused_with_those_it_does() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["run", "start", "corp.example", "full-import"]), 0);
    for (arguments, known) in [
        (&["cs", "search", "corp.example", "--state", "zebra"][..], "filtered-disconnector"),
        (&["cs", "search", "corp.example", "--type", "zebra"], "inetOrgPerson"),
        (&["cs", "search", "corp.example", "--where", "nosuch=x"], "userPrincipalName"),
        (&["mv", "search", "--type", "zebra"], "person"),
        (&["mv", "search", "--where", "nosuch=x"], "displayName"),
        (&["run", "show", "1", "--step", "9"], "there are: 1"),
        (&["run", "show", "1", "--step", "9", "--counter", "stage-add"], "there are: 1"),
    ] {
        let output = with_config(&config, arguments);
        assert_code(&output, 64);
        assert!(stderr(&output).contains(known), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn somebody_is_shown_where_they_come_from() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let output = with_config(&config, &["--json", "cs", "show", "ada@corp.example"]);
    assert_code(&output, 0);
    assert_eq!(document(&output)["connector"], "corp.example");
    let output = with_config(&config, &["mv", "show", "ada@corp.example"]);
    let shown = stdout(&output);
    assert!(shown.contains("since") && shown.contains("CN=Ada Byron,OU=People,DC=corp,DC=example"), "{shown}");
}

/// The names of the tenant's objects are made of their anchors, which nobody knows anybody by.
#[test]
fn problems_name_people_and_groups_and_commands_are_whole() {
    let world = small_world();
    let config = world.path().join("config");
    let taken = crate::PEOPLE
        .replace("mail: ada@corp.example\n", "mail: ada@corp.example\nproxyAddresses: smtp:engineers@corp.example\n")
        .replace("displayName: Engineers\n", "displayName: Engineers\nproxyAddresses: SMTP:engineers@corp.example\n");
    fs::write(world.path().join("people.ldif"), taken).unwrap();
    let cycle = with_config(&config, &["cycle", "start", "--initial"]);
    assert_code(&cycle, 2);
    assert!(stderr(&cycle).contains("Entra: Full Import: success, 1 object\n"), "{}", stderr(&cycle));
    let problems = document(&with_config(&config, &["--json", "errors"]));
    let problem = &problems["problems"][0];
    assert_eq!(problem["display_name"], "Engineers", "{problems:#}");
    let id = problem["id"].as_str().unwrap();
    let listed = stdout(&with_config(&config, &["errors"]));
    assert!(listed.contains(&format!("Engineers, object {id}")) && !listed.contains("CN={"), "{listed}");
    let shown = stdout(&with_config(&config, &["cs", "show", id]));
    assert!(shown.starts_with("Engineers\n"), "{shown}");
    let status = stdout(&with_config(&config, &["status"]));
    assert!(status.contains("1 add") && !status.contains("1 adds"), "{status}");

    // Whatever proposes a command proposes it with the options of the call.
    let doctor = stdout(&with_config(&config, &["doctor"]));
    let begins = format!("`syncline --config {} ", config.display());
    assert!(doctor.contains(&begins) && doctor.split("`syncline ").skip(1).all(|rest| rest.starts_with("--config ")), "{doctor}");
}

#[test]
fn commands_wait_for_the_store_and_say_so() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let held = syncline::store::Store::open(&config.join("syncline.redb"), syncline::store::StoreOptions::default()).unwrap();
    let clock = SystemClock::new();
    let output = with_config(&config, &["--wait", "2", "run", "list"]);
    assert_code(&output, 4);
    assert!(clock.elapsed() >= Duration::from_secs(2));
    assert!(
        stderr(&output).contains("Waiting at most 2 s") && stderr(&output).contains("in use by another process"),
        "{}",
        stderr(&output)
    );
    assert_code(&with_config(&config, &["--wait", "0", "store", "check"]), 4);
    let freed = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(500));
        drop(held);
    });
    let output = with_config(&config, &["run", "list"]);
    assert_code(&output, 0);
    assert_eq!(stderr(&output), "");
    freed.join().unwrap();
}

#[test]
fn a_damaged_store_is_told_in_words() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let file = config.join("syncline.redb");
    let whole = fs::read(&file).unwrap();
    for (start, end) in [(4_096, 8_192), (whole.len() / 2, whole.len()), (8_192, whole.len())] {
        let mut broken = whole.clone();
        broken[start..end].fill(0x5a);
        fs::write(&file, &broken).unwrap();
        for arguments in [&["run", "list"][..], &["store", "check"], &["cs", "search", "corp.example"], &["store", "stats"]] {
            let output = with_config(&config, arguments);
            let told = stderr(&output);
            assert!(!told.contains("panicked"), "{arguments:?}: {told}");
            if output.status.code() != Some(0) && told.contains("damaged") {
                assert!(told.contains("restore a backup") && told.contains("cycle start --initial"), "{arguments:?}: {told}");
            }
        }
        let check = with_config(&config, &["store", "check"]);
        assert_code(&check, 4);
        assert!(!stderr(&check).contains("store check"), "a check that failed proposes none: {}", stderr(&check));
    }
}

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
