//! `cs search` by name and anchor, `cs log`, `cs clear`, and connectors carried from one installation to another.

use crate::{assert_code, counted, document, exported, small_world, stderr, stdout, with_config};
use serde_json::Value;
use std::fs;
use std::path::Path;

fn people_without(world: &Path, account: &str) {
    let people = world.join("people.ldif");
    let text = fs::read_to_string(&people).expect("text");
    let kept: Vec<&str> = text.split("\n\n").filter(|entry| !entry.contains(&format!("sAMAccountName: {account}"))).collect();
    fs::write(people, kept.join("\n\n")).expect("the folder can be written");
}

fn found(config: &Path, selector: &[&str]) -> Vec<String> {
    let all = [&["--json", "cs", "search", "corp.example"], selector].concat();
    let output = with_config(config, &all);
    assert_code(&output, 0);
    let objects = document(&output)["objects"].as_array().expect("objects").clone();
    objects.iter().map(|object| object["dn"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn objects_are_found_by_name_and_by_anchor_in_every_form() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let ada = "CN=Ada Byron,OU=People,DC=corp,DC=example";
    assert_eq!(found(&config, &["--dn", "cn=ada byron, ou=people,dc=corp,dc=example"]), [ada]);
    for anchor in ["EREREREREREREREREREREQ==", "11111111-1111-1111-1111-111111111111", "11111111111111111111111111111111"] {
        assert_eq!(found(&config, &["--anchor", anchor]), [ada], "{anchor}");
    }
    // Other conditions count, too.
    assert_eq!(found(&config, &["--dn", ada, "--state", "disconnector"]), Vec::<String>::new());
    assert_eq!(found(&config, &["--anchor", "AAAAAAAAAAAAAAAAAAAA/w=="]), Vec::<String>::new());
    assert_code(&with_config(&config, &["cs", "search", "corp.example", "--dn", "no name"]), 64);
    assert_code(&with_config(&config, &["cs", "search", "corp.example", "--dn", ada, "--under", ada]), 64);
}

#[test]
fn what_runs_did_to_an_object_is_listed_the_newest_first() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    crate::ada_changes(world.path());
    assert_code(&with_config(&config, &["cycle", "start"]), 0);
    let log = document(&with_config(&config, &["--json", "cs", "log", "corp.example:ada@corp.example"]));
    let entries = log["entries"].as_array().expect("entries").clone();
    let counters: Vec<&str> = entries.iter().filter_map(|entry| entry["counter"].as_str()).collect();
    assert!(counters.contains(&"stage-update") && counters.contains(&"stage-add"), "{log:#}");
    let runs: Vec<u64> = entries.iter().filter_map(|entry| entry["run"].as_u64()).collect();
    assert!(runs.windows(2).all(|pair| pair[0] >= pair[1]), "{log:#}");
    let staged = entries.iter().find(|entry| entry["counter"] == "stage-update").expect("an update");
    assert!(staged["changes"].to_string().contains("Looms"), "{staged:#}");
    let cloud = document(&with_config(&config, &["--json", "cs", "log", "Entra:ada@corp.example", "--last", "1"]));
    assert_eq!((cloud["entries"].as_array().map(Vec::len), &cloud["more"]), (Some(1), &Value::Bool(true)), "{cloud:#}");
    let of = |arguments: &[&str]| document(&with_config(&config, &[&["--json", "run", "list"], arguments].concat()))["runs"].clone();
    assert!(
        of(&["--connector", "corp.example"])
            .as_array()
            .is_some_and(|runs| { !runs.is_empty() && runs.iter().all(|run| run["connector"] == "corp.example") })
    );
    assert_eq!(of(&["--running"]), Value::Array(vec![]), "nothing runs");
    assert_code(&with_config(&config, &["run", "list", "--connector", "nobody"]), 2);
    let shown = stdout(&with_config(&config, &["cs", "log", "corp.example:ada@corp.example"]));
    assert!(shown.contains("stage-update") && shown.contains("+ department: Looms"), "{shown}");
}

#[test]
fn a_target_is_forgotten_on_request_and_found_again_as_it_is() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let persons = |kind: &str| {
        let found = document(&with_config(&config, &["--json", kind, "search", if kind == "cs" { "Entra" } else { "" }]));
        found["objects"].as_array().expect("objects").len()
    };
    let (in_cloud, in_metaverse) = (persons("cs"), persons("mv"));
    // A change and a delete wait, and the group without whom is deleted.
    assert_code(&with_config(&config, &["mode", "staging"]), 0);
    people_without(world.path(), "emil");
    crate::ada_changes(world.path());
    assert_code(&with_config(&config, &["cycle", "start"]), 0);
    let what_if = || document(&with_config(&config, &["--json", "export", "--what-if"]));
    let waiting = what_if();
    assert_eq!((&waiting["targets"][0]["updates"], &waiting["targets"][0]["deletes"]), (&2.into(), &1.into()), "{waiting:#}");

    let table = world.path().join("waits.csv");
    assert_code(&with_config(&config, &["export", "--what-if", "--csv", table.to_str().expect("plain")]), 0);
    let table = fs::read_to_string(table).expect("the table");
    let header = "target,operation,object,type,display name and sign-in name,name in the target,attribute,change,value now,value then,left without a value\r\n";
    assert!(table.starts_with(header), "{table}");
    let lines: Vec<&str> = table.lines().skip(1).collect();
    let line = |part: &str| lines.iter().find(|line| line.contains(part)).unwrap_or_else(|| panic!("{part}: {table}"));
    assert!(line(",department,").ends_with(",department,replace,Engines,Looms,") && line(",delete,").contains("Emil"), "{table}");
    // The group loses Emil: a value in each line, and never two in a cell.
    assert!(line(",member,").contains(",member,remove,") && line(",member,").ends_with(",,"), "{table}");

    let ahead = with_config(&config, &["--json", "cs", "clear", "Entra", "--what-if"]);
    assert_code(&ahead, 1);
    let ahead = document(&ahead);
    assert_eq!((&ahead["updates"], &ahead["deletes"], &ahead["what_if"]), (&2.into(), &1.into(), &true.into()), "{ahead:#}");
    assert!(ahead["deletes_sample"].as_str().is_some_and(|sample| sample.contains("Emil")), "{ahead:#}");
    assert_eq!(what_if(), waiting, "a look writes nothing");

    // Whoever exports has to mean it.
    assert_code(&with_config(&config, &["config", "set", "guard.staging", "false"]), 0);
    let refused = with_config(&config, &["cs", "clear", "Entra"]);
    assert_code(&refused, 5);
    let told = stderr(&refused);
    for part in ["1 object that waits to be removed", "Emil", "export Entra --what-if", "--force"] {
        assert!(told.replace('\'', "").contains(part), "{part}: {told}");
    }
    assert_eq!(what_if()["targets"][0]["plan"], waiting["targets"][0]["plan"], "nothing was forgotten");
    assert_code(&with_config(&config, &["cs", "clear", "corp.example", "--force"]), 64);

    assert_code(&with_config(&config, &["mode", "staging"]), 0);
    let cleared = with_config(&config, &["cs", "clear", "Entra"]);
    assert_code(&cleared, 1);
    assert!(stdout(&cleared).contains("1 object waits to be removed: it stays"), "{}", stdout(&cleared));
    assert_eq!(persons("cs"), 0);
    assert_code(&with_config(&config, &["store", "check"]), 0);
    // Again, as after an interruption: there is nothing left to do.
    assert_code(&with_config(&config, &["cs", "clear", "Entra"]), 0);

    assert_code(&with_config(&config, &["config", "set", "guard.staging", "false"]), 0);
    let cycle = with_config(&config, &["--json", "cycle", "start"]);
    assert_code(&cycle, 1);
    let cycle = document(&cycle);
    assert!(
        cycle["warnings"][0].as_str().is_some_and(|told| told.contains("1 object belongs to nobody") && told.contains("Emil")),
        "{cycle:#}"
    );
    let sent = ["export-add", "export-update", "export-delete", "export-failure"].map(|counter| counted(&cycle, counter));
    // The group of the directory still names who left, so the one of the tenant keeps them.
    assert_eq!(sent, [0, 1, 0, 0], "joined again, with the change that waited: {cycle:#}");
    assert_eq!((persons("cs"), persons("mv")), (in_cloud, in_metaverse - 1), "who was to be removed stays in the cloud alone");
    assert_eq!(exported(&document(&with_config(&config, &["--json", "cycle", "start"]))), 0);
    assert_code(&with_config(&config, &["store", "check"]), 0);
    let acts = stdout(&with_config(&config, &["audit", "list"]));
    assert!(acts.contains("cs clear Entra") && !acts.contains("--what-if"), "{acts}");
}

#[test]
fn a_connector_goes_to_another_installation_as_a_file() {
    let (here, there) = (small_world(), small_world());
    let (config, other) = (here.path().join("config"), there.path().join("config"));
    let file = here.path().join("copy.toml");
    let path = file.to_str().expect("plain");
    let add = ["--set", "url=ldaps://dc1.lab.example", "--set", "bind_name=svc@lab.example", "--set", "password.credential=lab-bind"];
    let add = [&["connector", "add", "lab", "ad"], &add[..], &["--set", "ca_file=lab.pem"]].concat();
    assert_code(&with_config(&config, &add), 1);
    let secret = here.path().join("secret");
    fs::write(&secret, "a-secret-of-the-lab").expect("written");
    assert_code(&with_config(&config, &["secret", "set", "lab-bind", "--secret-file", secret.to_str().expect("plain")]), 0);
    let copied = with_config(&config, &["--json", "connector", "export", "lab", "--to", path]);
    assert_code(&copied, 0);
    let copied = document(&copied);
    assert_eq!((&copied["credentials"][0], &copied["places"][0]), (&"lab-bind".into(), &"ca_file = lab.pem".into()), "{copied:#}");
    let text = fs::read_to_string(&file).expect("the file");
    assert!(text.contains("dc1.lab.example") && !text.contains("a-secret-of-the-lab"), "{text}");
    assert_eq!(stdout(&with_config(&config, &["connector", "export", "lab"])), text, "the same on the standard output");

    let folder = || fs::read_dir(other.join("connectors")).expect("the folder").count();
    let before = folder();
    let ahead = with_config(&other, &["--json", "connector", "import", path, "--what-if"]);
    assert_code(&ahead, 1);
    let ahead = document(&ahead);
    assert_eq!(
        (&ahead["done"], &ahead["missing_credentials"][0], &ahead["missing_places"][0]),
        (&"would be written".into(), &"lab-bind".into(), &"ca_file = lab.pem".into()),
        "{ahead:#}"
    );
    assert_eq!(folder(), before);
    assert_code(&with_config(&other, &["connector", "import", path]), 1);
    assert!(stdout(&with_config(&other, &["connector", "list"])).contains("lab"));
    // The name is taken now: another one, or in its place.
    let taken = with_config(&other, &["connector", "import", path]);
    assert_code(&taken, 64);
    assert!(stderr(&taken).contains("--replace") && stderr(&taken).contains("--name"), "{}", stderr(&taken));
    assert_code(&with_config(&other, &["connector", "import", path, "--name", "lab 2"]), 1);
    assert!(other.join("connectors/lab-2.toml").exists());
    fs::write(&file, text.replace("dc1.lab.example", "dc2.lab.example")).expect("written");
    let replaced = document(&with_config(&other, &["--json", "connector", "import", path, "--replace"]));
    assert_eq!((&replaced["replaces"], &replaced["done"]), (&true.into(), &"written".into()), "{replaced:#}");
    assert!(fs::read_to_string(other.join("connectors/lab.toml")).expect("text").contains("dc2.lab.example"));
    let same = document(&with_config(&other, &["--json", "connector", "import", path, "--replace"]));
    assert_eq!(same["done"], "unchanged", "{same:#}");

    // What is no such file, or of another kind, changes nothing.
    let shape = fs::read_to_string(other.join("connectors/lab.toml")).expect("text");
    for (text, code, told) in [
        ("kind = \"ad\"\nname = \"lab\"\nurll = \"x\"\n", 4, "urll"),
        ("kind = \"ldif\"\nname = \"lab\"\npath = \"x.ldif\"\n", 64, "of kind ad"),
        ("name = \"lab\"\n", 4, "kind"),
        ("kind = \"ldif\"\npath = \"x.ldif\"\n", 4, "--name"),
        ("= nonsense", 4, "no TOML"),
    ] {
        fs::write(&file, text).expect("written");
        let refused = with_config(&other, &["connector", "import", path, "--replace"]);
        assert_code(&refused, code);
        assert!(stderr(&refused).contains(told), "{told}: {}", stderr(&refused));
        assert_eq!(fs::read_to_string(other.join("connectors/lab.toml")).expect("text"), shape);
    }
    let acts = stdout(&with_config(&other, &["audit", "list"]));
    assert!(acts.contains("connector import") && !acts.contains("--what-if"), "{acts}");
}
