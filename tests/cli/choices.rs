//! `partition`, `schema`, `connector` and `profile`: what is read of directories, and what becomes of what is not.

use crate::{assert_code, document, exported, small_world, stderr, stdout, with_config};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// The file of the directory's connector.
fn directory_file(config: &Path) -> PathBuf {
    let files = fs::read_dir(config.join("connectors")).expect("the folder").flatten().map(|file| file.path());
    files.into_iter().find(|file| fs::read_to_string(file).is_ok_and(|text| text.contains("\"ldif\""))).expect("a directory")
}

/// An attribute of somebody in the tenant, as it stands there.
fn in_cloud(config: &Path, person: &str, attribute: &str) -> Vec<String> {
    let shown = document(&with_config(config, &["--json", "cs", "search", "entra", "--where", &format!("userPrincipalName={person}")]));
    let id = shown["objects"][0]["id"].as_str().unwrap_or_else(|| panic!("{person} is not in the tenant: {shown:#}")).to_owned();
    let object = document(&with_config(config, &["--json", "cs", "show", &id]));
    let found = object["attributes"].as_array().expect("attributes").iter().find(|one| one["name"] == attribute).cloned();
    let values = found.map(|one| one["values"].as_array().expect("values").clone()).unwrap_or_default();
    values.iter().map(Value::to_string).collect()
}

#[test]
fn containers_are_counted_and_chosen_and_guards_hold_what_follows() {
    let world = small_world();
    let config = world.path().join("config");
    let tree = document(&with_config(&config, &["--json", "partition", "tree", "corp.example"]));
    let container = |tree: &Value, name: &str| {
        let found = tree["containers"].as_array().expect("containers").iter().find(|one| one["dn"] == name).cloned();
        found.unwrap_or_else(|| panic!("{name}: {tree:#}"))
    };
    let people = container(&tree, "OU=People,DC=corp,DC=example");
    let all = tree["objects"].as_u64().expect("a number");
    let below = people["below"].as_u64().expect("a number");
    assert!(below >= 3 && all >= below && people["selected"] == true, "{tree:#}");
    assert_eq!(container(&tree, "DC=corp,DC=example")["below"], all, "{tree:#}");
    assert!(stdout(&with_config(&config, &["partition", "tree", "corp.example"])).contains("OU=People"));
    // A file has no partitions, and it is not denied that it has containers.
    let listed = with_config(&config, &["partition", "list", "--ask"]);
    let told = format!("{}{}", stdout(&listed), stderr(&listed));
    assert!(told.contains("Files have none, but containers") && told.contains("partition tree CONNECTOR"), "{told}");

    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let file = directory_file(&config);
    let before = fs::read_to_string(&file).expect("text");
    let what_if = ["--json", "partition", "exclude", "corp.example", "OU=People,DC=corp,DC=example", "--what-if"];
    let ahead = document(&with_config(&config, &what_if));
    assert_eq!((&ahead["done"], &ahead["comes"]), (&"would be written".into(), &0.into()), "{ahead:#}");
    assert!(ahead["leaves"].as_u64() >= Some(3) && ahead["deletes"].as_u64() >= Some(2), "{ahead:#}");
    assert_eq!(fs::read_to_string(&file).expect("text"), before);

    assert_code(&with_config(&config, &["guard", "set", "--max-deletes", "1", "--shrink-percent", "100"]), 0);
    assert_code(&with_config(&config, &["partition", "exclude", "corp.example", "ou=people,dc=corp,dc=example"]), 0);
    let cycle = with_config(&config, &["--json", "cycle", "start"]);
    assert_code(&cycle, 5);
    let steps = document(&cycle)["runs"].to_string();
    assert!(steps.contains("what is read changed") || steps.contains("full-import"), "{steps}");
    assert!(!in_cloud(&config, "ada@corp.example", "displayName").is_empty(), "the guard held it");

    // Back again: nobody was deleted, and nobody is made anew.
    let back = document(&with_config(&config, &["--json", "partition", "include", "corp.example", "OU=People,DC=corp,DC=example"]));
    assert_eq!((&back["exclude"], &back["include"]), (&Value::Array(vec![]), &Value::Array(vec![])), "{back:#}");
    let cycle = with_config(&config, &["--json", "cycle", "start"]);
    assert_code(&cycle, 0);
    assert_eq!(exported(&document(&cycle)), 0, "{}", stdout(&cycle));
}

#[test]
fn a_container_below_an_excluded_one_comes_alone() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["run", "start", "corp.example", "full-import"]), 0);
    assert_code(&with_config(&config, &["partition", "exclude", "corp.example", "DC=corp,DC=example"]), 0);
    let ahead =
        document(&with_config(&config, &["--json", "partition", "include", "corp.example", "OU=People,DC=corp,DC=example", "--what-if"]));
    assert!(ahead["comes"].as_u64() >= Some(3) && ahead["include"].to_string().contains("OU=People"), "{ahead:#}");
    // Taking the last included container out would mean everything.
    let file = directory_file(&config);
    let text = fs::read_to_string(&file).expect("text");
    fs::write(&file, format!("{text}\n").replace("exclude = [", "include = [\"OU=People,DC=corp,DC=example\"]\nexclude = ["))
        .expect("written");
    let refused = with_config(&config, &["partition", "exclude", "corp.example", "OU=People,DC=corp,DC=example"]);
    assert_code(&refused, 64);
    assert!(stderr(&refused).contains("the only container"), "{}", stderr(&refused));
    assert_code(&with_config(&config, &["partition", "enable", "corp.example", "DC=other,DC=example"]), 64);
    assert_code(&with_config(&config, &["partition", "include", "entra", "DC=x"]), 64);
    assert_code(&with_config(&config, &["partition", "include", "corp.example", "nothing"]), 64);
}

/// A misspelt container would stand in the file, and change nothing.
#[test]
fn a_container_that_does_not_exist_is_refused_with_the_nearest_one() {
    let world = small_world();
    let config = world.path().join("config");
    let file = directory_file(&config);
    let before = fs::read_to_string(&file).expect("text");
    for (choice, more) in [("exclude", None), ("include", None), ("exclude", Some("--what-if"))] {
        let call = ["partition", choice, "corp.example", "OU=Peopel,DC=corp,DC=example"];
        let refused = with_config(&config, &call.into_iter().chain(more).collect::<Vec<_>>());
        assert_code(&refused, 64);
        let said = stderr(&refused);
        assert!(said.contains("'OU=Peopel,DC=corp,DC=example'") && said.contains("Did you mean 'OU=People,DC=corp,DC=example'?"), "{said}");
    }
    let far =
        with_config(&config, &["partition", "exclude", "corp.example", "OU=Zzzzzzzzzzzzzzzzzzzzzzzzzzzzzz,OU=People,DC=corp,DC=example"]);
    assert_code(&far, 64);
    assert!(stderr(&far).contains("nearest container above it is 'OU=People,DC=corp,DC=example'"), "{}", stderr(&far));
    assert_eq!(fs::read_to_string(&file).expect("text"), before);

    // An empty container is one; what was named and is gone can be taken back.
    let people = world.path().join("people.ldif");
    let text = fs::read_to_string(&people).expect("text");
    let empty = "\n\ndn: OU=Empty,DC=corp,DC=example\nobjectClass: top\nobjectClass: organizationalUnit\n";
    fs::write(&people, text.trim_end().to_owned() + empty).expect("written");
    let taken = document(&with_config(&config, &["--json", "partition", "exclude", "corp.example", "OU=Empty,DC=corp,DC=example"]));
    assert_eq!((&taken["done"], &taken["unchecked"]), (&"written".into(), &Value::Null), "{taken:#}");
    fs::write(&people, &text).expect("written");
    assert_code(&with_config(&config, &["partition", "include", "corp.example", "OU=Empty,DC=corp,DC=example"]), 0);

    // Nobody can be asked.
    fs::remove_file(&people).expect("removed");
    let unsure = with_config(&config, &["partition", "exclude", "corp.example", "OU=Somewhere,DC=corp,DC=example"]);
    assert_code(&unsure, 0);
    let said = stderr(&unsure);
    assert!(said.contains("Nobody could tell whether this container exists") && said.contains("people.ldif"), "{said}");
}

#[test]
fn an_attribute_that_is_left_out_stays_in_the_cloud_or_goes_as_it_was_asked() {
    let world = small_world();
    let config = world.path().join("config");
    let people = world.path().join("people.ldif");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    assert_eq!(in_cloud(&config, "ada@corp.example", "department").len(), 1);

    let ahead = document(&with_config(&config, &["--json", "schema", "exclude", "corp.example", "department", "--what-if"]));
    assert_eq!((&ahead["cloud_values"], &ahead["effects"][0]["in_targets"]), (&"leave".into(), &1.into()), "{ahead:#}");
    assert!(ahead["effects"][0]["targets"].to_string().contains("department"), "{ahead:#}");
    assert_code(&with_config(&config, &["schema", "exclude", "corp.example", "department"]), 0);
    let cycle = with_config(&config, &["--json", "cycle", "start"]);
    assert_code(&cycle, 0);
    assert_eq!(exported(&document(&cycle)), 0, "nothing is cleared: {}", stdout(&cycle));
    let ada = document(&with_config(&config, &["--json", "cs", "show", "corp.example:ada@corp.example"]));
    assert!(!ada["attributes"].to_string().contains("Engines"), "it is not read any more: {ada:#}");
    assert_eq!(in_cloud(&config, "ada@corp.example", "department").len(), 1);

    // Whatever else changes of her, and however much is compared, it stays; the directory's changes of it are not seen.
    let text = fs::read_to_string(&people).expect("text").replace("department: Engines", "department: Looms\ntitle: Countess");
    fs::write(&people, text).expect("written");
    let cycle = with_config(&config, &["--json", "cycle", "start", "--initial"]);
    assert_code(&cycle, 0);
    assert_eq!(exported(&document(&cycle)), 1, "only her title: {}", stdout(&cycle));
    assert!(in_cloud(&config, "ada@corp.example", "department")[0].contains("Engines"));
    assert!(!in_cloud(&config, "ada@corp.example", "title").is_empty());

    // A new store finds the same: what is left does not hang on what was known.
    fs::remove_file(config.join("syncline.redb")).expect("the store");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    assert!(in_cloud(&config, "ada@corp.example", "department")[0].contains("Engines"));

    // Recalled, it goes.
    let recalled =
        document(&with_config(&config, &["--json", "schema", "exclude", "corp.example", "department", "--cloud-values", "recall"]));
    assert_eq!(recalled["done"], "written", "{recalled:#}");
    let cycle = with_config(&config, &["--json", "cycle", "start"]);
    assert_code(&cycle, 0);
    assert_eq!(exported(&document(&cycle)), 1, "{}", stdout(&cycle));
    assert_eq!(in_cloud(&config, "ada@corp.example", "department"), Vec::<String>::new());

    // And it comes back.
    assert_code(&with_config(&config, &["schema", "include", "corp.example", "department"]), 0);
    assert!(!fs::read_to_string(directory_file(&config)).expect("text").contains("recall_attributes"));
    assert_code(&with_config(&config, &["cycle", "start"]), 0);
    assert!(in_cloud(&config, "ada@corp.example", "department")[0].contains("Looms"));
}

#[test]
fn what_tells_people_apart_is_never_left_out() {
    let world = small_world();
    let config = world.path().join("config");
    let file = directory_file(&config);
    let before = fs::read_to_string(&file).expect("text");
    for attribute in ["objectGUID", "userAccountControl", "sAMAccountName", "userPrincipalName"] {
        let refused = with_config(&config, &["schema", "exclude", "corp.example", attribute]);
        assert_code(&refused, 4);
        assert!(stderr(&refused).contains("cannot do without"), "{attribute}: {}", stderr(&refused));
    }
    let unknown = with_config(&config, &["schema", "exclude", "corp.example", "departmnt"]);
    assert_code(&unknown, 64);
    assert!(stderr(&unknown).contains("did you mean department"), "{}", stderr(&unknown));
    assert_eq!(fs::read_to_string(&file).expect("text"), before);
}

#[test]
fn schemas_are_shown_with_what_is_read() {
    let world = small_world();
    let config = world.path().join("config");
    let shown = document(&with_config(&config, &["--json", "schema", "show", "corp.example"]));
    let state = |view: &Value, name: &str| {
        let found = view["attributes"].as_array().expect("attributes").iter().find(|one| one["name"] == name).cloned();
        found.unwrap_or_else(|| panic!("{name}: {view:#}"))["state"].clone()
    };
    assert_eq!(state(&shown, "department"), "read");
    let metaverse = document(&with_config(&config, &["--json", "schema", "show", "mv"]));
    assert_eq!(state(&metaverse, "department"), "written");
    assert!(metaverse["object_types"].to_string().contains("person"), "{}", metaverse["object_types"]);
    let cloud = document(&with_config(&config, &["--json", "schema", "show", "entra", "--used"]));
    assert_eq!(state(&cloud, "department"), "written");
    assert!(cloud["attributes"].as_array().expect("attributes").iter().all(|one| one["state"] != "unused"));
    let first = document(&with_config(&config, &["--json", "connector", "refresh-schema", "corp.example"]));
    assert_eq!((&first["first"], &first["applied"]), (&true.into(), &true.into()), "{first:#}");
    let again = document(&with_config(&config, &["--json", "connector", "refresh-schema", "corp.example"]));
    assert_eq!((&again["first"], &again["added"], &again["missed"]), (&false.into(), &Value::Array(vec![]), &Value::Array(vec![])));
}

#[test]
fn connectors_are_shown_added_set_and_tried() {
    let world = small_world();
    let config = world.path().join("config");
    let types = stdout(&with_config(&config, &["connector", "types"]));
    assert!(types.contains("ldap") && types.contains("bind_name"), "{types}");
    let tried = document(&with_config(&config, &["--json", "connector", "test", "entra"]));
    assert_eq!((&tried["kind"], &tried["export"]), (&"entra".into(), &true.into()), "{tried:#}");
    assert_code(&with_config(&config, &["connector", "test", "corp.example"]), 0);

    let (url, account, password) = ("url=ldaps://127.0.0.1:1", "bind_name=svc@lab.example", "password.credential=nobody-has-it");
    let add = |more: &[&str]| {
        let call = ["--json", "connector", "add", "lab", "ad", "--set", url, "--set", account, "--set", password];
        with_config(&config, &[&call[..], more].concat())
    };
    let ahead = add(&["--what-if"]);
    assert_code(&ahead, 1);
    assert!(!config.join("connectors/lab.toml").exists() && document(&ahead)["text"].to_string().contains("credential"));
    assert_code(&add(&["--set", "page_size=many"]), 64);
    assert_code(&add(&["--set", "page_sice=10"]), 64);
    // A secret that is typed where its name belongs is neither written nor repeated.
    let typed = with_config(&config, &["connector", "add", "lab2", "ad", "--set", url, "--set", account, "--set", "password=hunter2"]);
    assert_code(&typed, 64);
    let told = format!("{}{}", stdout(&typed), stderr(&typed));
    assert!(told.contains("password.credential=NAME") && !told.contains("hunter2"), "{told}");
    assert!(!config.join("connectors/lab2.toml").exists());
    let added = add(&["--set", "page_size=500", "--set", "selection.include=OU=People,DC=lab,DC=example"]);
    assert_code(&added, 1);
    assert_eq!(document(&added)["missing_credentials"][0], "nobody-has-it");
    let text = fs::read_to_string(config.join("connectors/lab.toml")).expect("the file");
    assert!(text.contains("password = { credential = \"nobody-has-it\" }") && text.contains("page_size = 500"), "{text}");
    assert_code(&add(&[]), 64);
    assert_code(&with_config(&config, &["connector", "test", "lab"]), 4);
    let value = |key: &str| {
        let shown = document(&with_config(&config, &["--json", "connector", "show", "lab"]));
        let found = shown["settings"].as_array().expect("settings").iter().find(|one| one["key"] == key).cloned();
        found.unwrap_or_else(|| panic!("{key}: {shown:#}"))["value"].clone()
    };
    assert_eq!(value("page_size"), 500);
    assert_code(&with_config(&config, &["connector", "set", "lab", "page_size", "250"]), 0);
    assert_eq!(value("page_size"), 250);
    assert_code(&with_config(&config, &["connector", "set", "lab", "page_size", "--unset"]), 0);
    assert_eq!(value("page_size"), 1_000);
    for (key, wrong) in [("page_size", "0"), ("url", "http://x"), ("kind", "ldap"), ("nothing", "1")] {
        let refused = with_config(&config, &["connector", "set", "lab", key, wrong]);
        assert!(matches!(refused.status.code(), Some(4 | 64)), "{key}: {}", stderr(&refused));
    }
    let profiles = document(&with_config(&config, &["--json", "profile", "list"]));
    assert_eq!((&profiles["built_in"], profiles["profiles"].as_array().map(Vec::len)), (&true.into(), Some(5)), "{profiles:#}");
    assert_eq!(document(&with_config(&config, &["--json", "profile", "show", "export"]))["profiles"][0]["connectors"][0], "Entra");
    assert_code(&with_config(&config, &["profile", "show", "nothing"]), 64);
}

/// The classes that a connector reads, as its file names them.
fn classes_in_file(config: &Path) -> Option<Vec<String>> {
    let file: toml::Table = fs::read_to_string(directory_file(config)).expect("text").parse().expect("TOML");
    let list = file.get("selection")?.get("object_types")?.as_array()?;
    Some(list.iter().filter_map(|class| class.as_str().map(str::to_owned)).collect())
}

#[test]
fn objects_of_a_class_that_is_left_out_leave_and_come_back() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let partner = || document(&with_config(&config, &["--json", "cs", "search", "entra", "--where", "mail=pat@partner.example"]));
    assert_eq!(partner()["objects"].as_array().map(Vec::len), Some(1));

    let before = fs::read_to_string(directory_file(&config)).expect("text");
    let ahead = document(&with_config(&config, &["--json", "schema", "exclude", "corp.example", "Contact", "--what-if"]));
    let classes = &ahead["classes"];
    assert_eq!((&ahead["done"], &classes["objects"]["contact"]), (&"would be written".into(), &1.into()), "{ahead:#}");
    assert_eq!((&classes["leaves"], &classes["deletes"], &classes["comes"]), (&1.into(), &1.into(), &0.into()), "{ahead:#}");
    assert_eq!((&ahead["effects"], &ahead["cloud_values"]), (&Value::Array(vec![]), &Value::Null), "{ahead:#}");
    assert_eq!(fs::read_to_string(directory_file(&config)).expect("text"), before);

    // Together with an attribute; both are written, or neither.
    let refused = with_config(&config, &["schema", "exclude", "corp.example", "contact", "objectGUID"]);
    assert_code(&refused, 4);
    assert_eq!(fs::read_to_string(directory_file(&config)).expect("text"), before);
    let written = with_config(&config, &["schema", "exclude", "corp.example", "contact", "department"]);
    assert_code(&written, 0);
    let told = stdout(&written) + &stderr(&written);
    assert!(told.contains("1 object of the connector space") && told.contains("stays there") && told.contains("--allow-shrink"), "{told}");
    let classes = classes_in_file(&config).expect("the list is written out");
    assert!(classes.contains(&"user".to_owned()) && !classes.contains(&"contact".to_owned()), "{classes:?}");
    let again = document(&with_config(&config, &["--json", "schema", "exclude", "corp.example", "contact", "department"]));
    assert_eq!(again["done"], "unchanged", "{again:#}");
    let cycle = document(&with_config(&config, &["--json", "cycle", "start"]));
    assert_eq!(crate::counted(&cycle, "export-delete"), 1, "{cycle:#}");
    assert_eq!(partner()["objects"].as_array().map(Vec::len), Some(0));

    // Back again: nothing is left in the file, and the object is made anew.
    let ahead = document(&with_config(&config, &["--json", "schema", "include", "corp.example", "contact", "--what-if"]));
    assert_eq!((&ahead["classes"]["comes"], &ahead["classes"]["leaves"]), (&1.into(), &0.into()), "{ahead:#}");
    assert_code(&with_config(&config, &["schema", "include", "corp.example", "contact", "department"]), 0);
    assert_eq!(classes_in_file(&config), None);
    let cycle = document(&with_config(&config, &["--json", "cycle", "start"]));
    assert_eq!(crate::counted(&cycle, "export-add"), 1, "{cycle:#}");
    assert_eq!(partner()["objects"].as_array().map(Vec::len), Some(1));
    let acts = document(&with_config(&config, &["--json", "audit", "list"])).to_string();
    assert!(acts.contains("\"include\"") && !acts.contains("--what-if"), "{acts}");

    for (wrong, said) in [
        (&["schema", "exclude", "corp.example", "contct"][..], "did you mean contact"),
        (&["schema", "exclude", "corp.example", "contact", "--cloud-values", "recall"], "is a class"),
        (&["schema", "exclude", "entra", "user"], "is a tenant"),
    ] {
        let refused = with_config(&config, wrong);
        assert_code(&refused, 64);
        assert!(stderr(&refused).contains(said), "{}", stderr(&refused));
    }
    // No list at all would mean all classes.
    assert_code(&with_config(&config, &["connector", "set", "corp.example", "selection.object_types", "user"]), 0);
    let refused = with_config(&config, &["schema", "exclude", "corp.example", "user"]);
    assert_code(&refused, 64);
    assert!(stderr(&refused).contains("the only class"), "{}", stderr(&refused));
}
