//! Previews, traces of rules, expressions, and where values come from; and rule files that commands keep.

use crate::{assert_code, document, small_world, stderr, stdout, with_config};
use std::fs;
use std::path::{Path, PathBuf};

/// A world after its first cycle, in which Ada has since lost her department and got another name; imported, not
/// synchronized.
fn world_with_news() -> (tempfile::TempDir, PathBuf) {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let file = world.path().join("people.ldif");
    let people = crate::PEOPLE.replacen("department: Engines\n", "", 1).replace("displayName: Ada Byron", "displayName: Ada Lovelace");
    assert_ne!(people, crate::PEOPLE);
    fs::write(file, people).expect("the folder can be written");
    assert_code(&with_config(&config, &["run", "start", "corp.example", "full-import"]), 0);
    (world, config)
}

fn ok(config: &Path, arguments: &[&str]) -> String {
    let output = with_config(config, arguments);
    assert_code(&output, 0);
    stdout(&output)
}

fn json(config: &Path, arguments: &[&str]) -> serde_json::Value {
    document(&with_config(config, &[&["--json"], arguments].concat()))
}

/// The rule files of a configuration, with their content.
fn rule_files(config: &Path) -> Vec<(String, String)> {
    let Ok(folder) = fs::read_dir(config.join("rules")) else { return Vec::new() };
    let mut files: Vec<(String, String)> = folder
        .map(|file| file.expect("the folder can be read"))
        .map(|file| (file.file_name().to_string_lossy().into_owned(), fs::read_to_string(file.path()).expect("rules are text")))
        .collect();
    files.sort();
    files
}

/// "Since when" is asked of the value; the rule that gives it may be much older.
#[test]
fn a_value_is_as_old_as_itself() {
    let (_world, config) = world_with_news();
    let since = |attribute: &str| {
        let why = json(&config, &["mv", "why", "corp.example:ada", attribute]);
        (why["age"]["since"].as_str().map_or_else(|| panic!("{why:#}"), str::to_owned), why["age"]["run"]["number"].clone())
    };
    let before = (since("displayName"), since("accountName"));
    assert_eq!(before.0, before.1);
    let runs = json(&config, &["run", "start", "corp.example", "delta-sync"]);
    assert_eq!(since("accountName"), before.1, "nothing of it changed");
    let (changed, run) = since("displayName");
    assert!(changed > before.0.0, "{changed} {before:?}");
    assert_eq!(run, runs["runs"][0]["number"], "{runs:#}");
    ok(&config, &["run", "start", "corp.example", "full-sync"]);
    assert_eq!(since("displayName"), (changed, run.clone()), "looking again makes it no younger");
    let shown = ok(&config, &["mv", "why", "corp.example:ada", "displayName"]);
    assert!(shown.contains("The value has been so since 20") && shown.contains(&format!("by run {run}, Delta Synch")), "{shown}");
    // Of what the history forgot, it is not said that it is young.
    ok(&config, &["run", "purge", "--all"]);
    ok(&config, &["run", "start", "corp.example", "delta-sync"]);
    let why = json(&config, &["mv", "why", "corp.example:ada", "displayName"]);
    assert_eq!(why["age"]["at_least"], true, "{why:#}");
}

#[test]
fn a_preview_shows_losses_and_writes_nothing_until_it_is_committed() {
    let (_world, config) = world_with_news();
    let state =
        || (json(&config, &["store", "stats"]), json(&config, &["run", "list"]), json(&config, &["cs", "show", "corp.example:ada"]));
    let before = state();
    let shown = ok(&config, &["preview", "corp.example:ada"]);
    assert!(shown.contains("would be emptied in Entra: department"), "{shown}");
    assert!(shown.contains("department: Engines → (none)") && shown.contains("displayName: Ada Byron → Ada Lovelace"), "{shown}");
    let told = json(&config, &["preview", "corp.example:ada", "--full", "--all"]);
    assert_eq!(told["decision"], "stays-linked");
    assert_eq!(told["targets"][0]["would_be_emptied"], serde_json::json!(["department"]));
    let excluded = told["out_of_scope"].as_array().unwrap();
    assert!(excluded.iter().all(|rule| rule["failing"].as_array().is_some_and(|failing| !failing.is_empty())), "{told:#}");
    assert_eq!(state(), before, "a preview writes nothing");

    let done = json(&config, &["preview", "corp.example:ada", "--commit"]);
    assert_eq!(done["committed"]["profile"], "Delta Synchronization of one object");
    assert_eq!(done["committed"]["result"], "success");
    let waits = json(&config, &["export", "--what-if"]);
    assert_eq!(waits["targets"][0]["would_be_emptied"], serde_json::json!({ "department": 1 }));
    assert_eq!(waits["targets"][0]["objects"][0]["would_be_emptied"], serde_json::json!(["department"]));
    let listed = ok(&config, &["export", "--what-if"]);
    assert!(listed.contains("would be emptied: department") && listed.contains("would be emptied in Entra:"), "{listed}");
    let number = done["committed"]["number"].to_string();
    let remembered = json(&config, &["run", "show", &number]);
    assert!(remembered["steps"][0]["message"].as_str().is_some_and(|message| message.starts_with("only 1.1 CN=Ada")), "{remembered:#}");
    // There is nothing left for a step over everything.
    ok(&config, &["run", "start", "corp.example", "delta-sync"]);
    assert_eq!(json(&config, &["export", "--what-if"]), waits);
}

#[test]
fn a_value_has_its_origin_its_rivals_and_its_fate() {
    let (_world, config) = world_with_news();
    let why = json(&config, &["mv", "why", "corp.example:ada", "accountEnabled"]);
    let origin = &why["origins"][0];
    assert_eq!((origin["rule"].as_str(), origin["connector"].as_str()), (Some("In from AD - User AccountEnabled"), Some("corp.example")));
    assert_eq!(origin["dn"], "CN=Ada Byron,OU=People,DC=corp,DC=example");
    assert_eq!(origin["run"]["profile"], "Full Synchronization");
    let verdicts: Vec<&str> = why["flows"].as_array().unwrap().iter().map(|flow| flow["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["won", "not-asked", "not-asked"]);
    let sent = &why["targets"][0]["attributes"][0];
    assert_eq!((sent["attribute"].as_str(), sent["state"].as_str()), (Some("accountEnabled"), Some("confirmed")));
    assert_eq!((sent["sent"]["profile"].as_str(), sent["confirmed"]["profile"].as_str()), (Some("Export"), Some("Delta Import")));

    let none = json(&config, &["mv", "why", "corp.example:ada", "title"]);
    assert_eq!((none["count"].as_u64(), none["decision"].as_str()), (Some(0), Some("empty")));
    assert_eq!(none["flows"][0]["verdict"], "gave-nothing");
    let told = json(&config, &["mv", "why", "corp.example:ada", "department"]);
    assert_eq!((told["outdated"].as_bool(), told["values"][0].as_str()), (Some(true), Some("Engines")));
    let shown = ok(&config, &["mv", "why", "corp.example:ada", "department"]);
    assert!(shown.contains("Trim([department]) gives nothing") && shown.contains("The rules would give another result now"), "{shown}");
    let output = with_config(&config, &["mv", "why", "corp.example:ada", "shoeSize"]);
    assert_code(&output, 2);
    assert!(stderr(&output).contains("no rule reads or writes a metaverse attribute 'shoeSize'"), "{}", stderr(&output));
}

#[test]
fn a_rule_is_found_by_all_its_names_and_shown_whole() {
    let world = small_world();
    let config = world.path().join("config");
    let shown = json(&config, &["rule", "show", "In from AD - User Common"]);
    let keys = ["tag", "number"].map(|key| shown[key].as_str().unwrap().to_owned());
    let precedence = shown["precedence"].to_string();
    for text in ["in from ad - user common", &keys[0], &keys[1], &precedence, "corp.example:In from AD - User Common"] {
        assert_eq!(json(&config, &["rule", "show", text])["number"].as_str(), Some(keys[1].as_str()), "{text}");
    }
    insta::assert_snapshot!(ok(&config, &["rule", "show", "In from AD - User AccountEnabled"]));
    let output = with_config(&config, &["rule", "show", "user common"]);
    assert_code(&output, 2);
    assert!(
        stderr(&output).contains("may mean several rules") && stderr(&output).contains("106  In from AD - User Common (corp.example)"),
        "{}",
        stderr(&output)
    );
    let output = with_config(&config, &["rule", "show", "nonsense"]);
    assert_code(&output, 2);
    let count = |arguments: &[&str]| json(&config, &[&["rule", "list"], arguments].concat())["rules"].as_array().unwrap().len();
    let all = count(&[]);
    assert_eq!(count(&["--direction", "in"]) + count(&["--direction", "out"]), all);
    assert_eq!(count(&["--connector", "corp.example"]) + count(&["--connector", "Entra"]), all);
    assert!((1..all).contains(&count(&["--attribute", "department"])) && (1..all).contains(&count(&["--type", "group"])));
    // Nobody switched them off: they are for what this configuration does not ask for.
    let disabled = json(&config, &["rule", "list", "--disabled"]);
    assert!(disabled["rules"].as_array().unwrap().iter().all(|rule| rule["tag"].is_string()), "{disabled:#}");
    assert_eq!(json(&config, &["rules", "list"]), json(&config, &["rule", "list"]), "the former word still works");
    let flows = ok(&config, &["rule", "precedence", "accountEnabled"]);
    assert!(flows.contains("accountEnabled of metaverse:") && flows.contains("accountEnabled of Entra:"), "{flows}");
    let output = with_config(&config, &["rule", "precedence", "accountEnable"]);
    assert_code(&output, 2);
    assert!(stderr(&output).contains("there are: accountEnabled"), "{}", stderr(&output));
}

#[test]
fn a_rule_is_tried_on_stored_objects_and_on_entries_that_nobody_has() {
    let (world, config) = world_with_news();
    insta::assert_snapshot!(ok(&config, &["rule", "test", "In from AD - User AccountEnabled", "ada@corp.example"]));
    let outbound = json(&config, &["rule", "test", "Out to AAD - User Join", "corp.example:ada"]);
    assert_eq!((outbound["direction"].as_str(), outbound["in_scope"].as_bool()), (Some("outbound"), Some(true)));
    let entry = world.path().join("entry.ldif");
    fs::write(&entry, "dn: CN=Krbtgt,DC=corp,DC=example\nobjectClass: user\nsAMAccountName: krbtgt\nuserPassword: hunter2\nisCriticalSystemObject: TRUE\n").unwrap();
    let tried = json(&config, &["rule", "test", "In from AD - User Join", "--entry", entry.to_str().unwrap()]);
    assert_eq!(tried["in_scope"], false, "{tried:#}");
    assert!(!tried.to_string().contains("hunter2"));
    let output = with_config(&config, &["rule", "test", "Out to AAD - User Join", "--entry", entry.to_str().unwrap()]);
    assert_code(&output, 64);
    let output = with_config(&config, &["rule", "test", "In from AD - User Join"]);
    assert_code(&output, 64);
}

#[test]
fn whoever_switches_a_rule_off_is_told_whom_it_ties() {
    let world = small_world();
    let config = world.path().join("config");
    let disable = |rule: &str, code| {
        let output = with_config(&config, &["rule", "disable", rule, "--what-if"]);
        assert_code(&output, code);
        stderr(&output).replace('\n', " ")
    };
    assert!(!disable("In from AD - User Join", 1).contains(" ties "), "nobody yet");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let people = json(&config, &["cs", "search", "Entra", "--limit", "100"])["objects"].as_array().unwrap().clone();
    let users = people.iter().filter(|one| one["object_type"] == "user" && one["state"] == "connector").count();
    let told = disable("In from AD - User Join", 1);
    assert!(
        users > 1 && told.contains(&format!("ties {users} objects of corp.example to {users} objects of the metaverse")),
        "{users}: {told}"
    );
    assert!(told.contains("`syncline --config ") && told.contains(" export 'Entra' --what-if`"), "{told}");
    let told = disable("Out to AAD - User Join", 1);
    assert!(told.contains(&format!("ties {users} objects of Entra to")) && told.contains("creates objects"), "{told}");
    assert_eq!(disable("In from AD - User Lync", 0), "", "it flows, and ties nobody");
}

#[test]
fn rules_are_copied_and_switched_by_files_that_always_compile() {
    let world = small_world();
    let config = world.path().join("config");
    let count = |arguments: &[&str]| json(&config, &[&["rule", "list"], arguments].concat())["rules"].as_array().unwrap().len();
    let (all, absent) = (count(&[]), count(&["--disabled"]));
    // A look writes nothing.
    for arguments in [
        &["rule", "clone", "In from AD - User Lync", "--as", "Ours", "--what-if"][..],
        &["rule", "disable", "In from AD - User Lync", "--what-if"],
    ] {
        assert!(ok(&config, arguments).contains("would be written"));
        assert_eq!(rule_files(&config), []);
    }
    let cloned = json(&config, &["rule", "clone", "In from AD - User Lync", "--as", "Ours - Lync"]);
    assert_eq!((cloned["done"].as_str(), cloned["file"].as_str()), (Some("written"), Some("rules/110-ours-lync.toml")));
    assert_eq!((count(&[]), count(&["--disabled"])), (all, absent + 1));
    // The copy flows what the original did, at its place.
    let [ours, theirs] = ["Ours - Lync", "In from AD - User Lync"].map(|rule| json(&config, &["rule", "show", rule]));
    assert_eq!((&ours["attribute_flows"], &ours["scope"]), (&theirs["attribute_flows"], &theirs["scope"]));
    assert_eq!(json(&config, &["rule", "lint"])["findings"], serde_json::json!([]));
    let again = with_config(&config, &["rule", "clone", "In from AD - User Lync", "--as", "Ours - Lync"]);
    assert_code(&again, 64);
    assert!(stderr(&again).contains("is there already"), "{}", stderr(&again));
    let enable = with_config(&config, &["rule", "enable", "In from AD - User Lync"]);
    assert_code(&enable, 64);
    assert!(stderr(&enable).contains("rules/110-ours-lync.toml"), "{}", stderr(&enable));

    let before = rule_files(&config);
    ok(&config, &["rule", "disable", "Out to AAD - User Intune"]);
    ok(&config, &["rule", "disable", "Out to AAD - User AzureRMS"]);
    assert_eq!(count(&["--disabled"]), absent + 3);
    assert!(ok(&config, &["rule", "disable", "Out to AAD - User AzureRMS"]).contains("Nothing to do"));
    ok(&config, &["rule", "enable", "Out to AAD - User Intune"]);
    ok(&config, &["rule", "enable", "Out to AAD - User AzureRMS"]);
    assert_eq!(rule_files(&config), before, "a list without entries is no file");

    // A rule of one's own is switched by its own table; comments stay.
    let own = config.join("rules/50-own.toml");
    let text = "# mine\n[[rule]]\nname = \"Own\"\ndirection = \"inbound\"\nconnector = \"corp.example\"\ncs_type = \"user\"\nmv_type = \"person\"\nlink = \"join\"\norder = 50\nenabled = false # not yet\nflows = [{ to = \"title\", constant = \"x\" }]\n";
    fs::write(&own, text).unwrap();
    let tried = ok(&config, &["rule", "show", "Own"]);
    assert!(tried.contains("disabled"), "{tried}");
    ok(&config, &["rule", "enable", "Own"]);
    assert_eq!(fs::read_to_string(&own).unwrap(), text.replace("enabled = false", "enabled = true"));

    // A set that would not compile is never written: the copy's name is taken.
    let files = rule_files(&config);
    let refused = with_config(&config, &["rule", "clone", "In from AD - User Common", "--as", "Own"]);
    assert_code(&refused, 4);
    assert!(stderr(&refused).contains("has this rule twice"), "{}", stderr(&refused));
    assert_eq!(rule_files(&config), files);

    // What is exported is a rule file.
    let toml = ok(&config, &["rule", "export", "In from AD - User Lync"]);
    assert!(toml.starts_with("[[rule]]\nname = \"In from AD - User Lync\""), "{toml}");
    assert!(json(&config, &["rule", "export", "Own"])["toml"].as_str().is_some_and(|toml| toml.contains("order = 50")));
}

#[test]
fn expressions_are_tried_before_they_are_written_into_rules() {
    let (_world, config) = world_with_news();
    let eval = |arguments: &[&str]| {
        let output = with_config(&config, &[&["expr", "eval"], arguments].concat());
        (output.status.code(), stdout(&output), stderr(&output))
    };
    let (code, shown, _) = eval(&["UCase([displayName]) & \" of \" & %Domain.FQDN%", "--object", "corp.example:ada"]);
    assert_eq!((code, shown.as_str()), (Some(0), "reads displayName = \"Ada Lovelace\"\ntext  \"ADA LOVELACE of corp.example\"\n"));
    let (_, shown, _) = eval(&["[displayName]", "--object", "corp.example:ada", "--direction", "out"]);
    assert!(shown.ends_with("text  \"Ada Byron\"\n"), "the metaverse has not heard of it: {shown}");
    let (_, shown, _) = eval(&["Count([proxyAddresses])", "--attr", "proxyAddresses=smtp:a@x", "--attr", "proxyAddresses=smtp:b@x"]);
    assert!(shown.ends_with("number  2\n"), "{shown}");
    let (_, shown, _) = eval(&["ConvertToBase64([objectGUID])", "--attr", "objectGUID=0x11111111111111111111111111111111"]);
    assert!(shown.ends_with("text  \"EREREREREREREREREREREQ==\"\n"), "{shown}");
    let (code, _, told) = eval(&["Lft([givenName], 3)"]);
    assert_eq!(code, Some(2));
    assert!(told.contains("^^^") && told.contains("Left"), "{told}");
    let (code, shown, _) = eval(&["Item([mail], 3)", "--attr", "mail=a@x"]);
    assert!(code == Some(2) && shown.contains("fails: expression-argument") && shown.contains('^'), "{shown}");
    let (code, _, told) = eval(&["[mail]", "--attr", "mail"]);
    assert!(code == Some(64) && told.contains("name=value"), "{told}");
    let view = json(&config, &["expr", "eval", "IgnoreThisFlow"]);
    assert_eq!((view["outcome"].as_str(), view["connector"].as_str()), (Some("ignored"), Some("corp.example")));

    let functions = json(&config, &["expr", "functions"]);
    assert_eq!(functions["functions"].as_array().unwrap().len(), 89);
    let listed = ok(&config, &["expr", "functions"]);
    assert!(listed.lines().all(|line| line.chars().count() <= 140), "{listed}");
    let shown = ok(&config, &["expr", "functions", "dncomponentrev"]);
    assert!(shown.starts_with("DNComponentRev(dn, n[, option])\n") && shown.contains("option: one of DC"), "{shown}");
    let output = with_config(&config, &["expr", "functions", "base64"]);
    assert_code(&output, 2);
    assert!(stderr(&output).contains("ConvertFromBase64, ConvertToBase64"), "{}", stderr(&output));
}

/// A rule file with two rules of one's own.
const OWN_RULES: &str = r#"# mine
[[rule]]
name = "Own - One"
direction = "inbound"
connector = "corp.example"
cs_type = "user"
mv_type = "person"
link = "join"
order = 50
flows = [{ to = "title", constant = "x" }]

# the other one
[[rule]]
name = "Own - Two"
direction = "inbound"
connector = "corp.example"
cs_type = "user"
mv_type = "person"
link = "join"
order = 51
flows = [{ to = "department", constant = "y" }]
"#;

#[test]
fn rule_files_are_taken_over_and_rules_taken_out_again() {
    let world = small_world();
    let config = world.path().join("config");
    let (file, kept) = (world.path().join("50-own.toml"), config.join("rules/50-own.toml"));
    let path = file.to_str().unwrap();
    fs::write(&file, OWN_RULES).unwrap();
    let ahead = ok(&config, &["rule", "apply", path, "--what-if"]);
    assert!(ahead.contains("Own - One: taken over") && ahead.contains("would be written") && !kept.exists(), "{ahead}");
    let done = json(&config, &["rule", "apply", path]);
    assert_eq!((&done["done"], &done["rules"]), (&"written".into(), &serde_json::json!(["Own - One", "Own - Two"])), "{done:#}");
    assert_eq!(fs::read_to_string(&kept).unwrap(), OWN_RULES);
    assert!(ok(&config, &["rule", "apply", path]).contains("Nothing to do"));
    assert!(ok(&config, &["audit", "list"]).contains("rule apply"));

    // What does not compile, is no rule file or has a name of its own is not taken.
    let built_in = ok(&config, &["rule", "export", "In from AD - User Lync"]);
    for (name, text, code, told) in [
        ("50-own.toml", OWN_RULES.replace("cs_type = \"user\"", "cs_typ = \"user\""), 4, "cs_typ"),
        ("51-own.toml", OWN_RULES.to_owned(), 4, "has this rule twice"),
        ("50-own.toml", "[[rule".to_owned(), 4, "50-own.toml"),
        ("00-disabled.toml", String::new(), 64, "give the file another name"),
        ("52-own.toml", "# nothing yet\n".to_owned(), 64, "holds nothing"),
        ("53-own.toml", built_in.replacen("In from AD - User Lync", "Another", 1), 4, "take `tag` out"),
        ("rules.txt", OWN_RULES.to_owned(), 64, "no name of a rule file"),
    ] {
        fs::write(world.path().join(name), text).unwrap();
        let refused = with_config(&config, &["rule", "apply", world.path().join(name).to_str().unwrap()]);
        assert_code(&refused, code);
        assert!(stderr(&refused).contains(told), "{name}: {}", stderr(&refused));
        assert_eq!(rule_files(&config), [("50-own.toml".to_owned(), OWN_RULES.to_owned())]);
    }
    assert_code(&with_config(&config, &["rule", "apply", "nowhere.toml"]), 4);

    // One goes, with what is said above it; the other stays as it was. With the last one the file goes.
    let built_in = with_config(&config, &["rule", "delete", "In from AD - User Lync"]);
    assert_code(&built_in, 64);
    assert!(stderr(&built_in).contains("rule disable 'In from AD - User Lync'"), "{}", stderr(&built_in));
    assert!(ok(&config, &["rule", "delete", "Own - Two", "--what-if"]).contains("would be written"));
    assert!(ok(&config, &["rule", "delete", "Own - Two"]).contains("Own - Two: taken out"));
    assert_eq!(fs::read_to_string(&kept).unwrap(), OWN_RULES.split("\n# the other one").next().unwrap());
    assert!(ok(&config, &["rule", "delete", "Own - One"]).contains("rules/50-own.toml removed"));
    assert_eq!(rule_files(&config), []);

    // A copy that goes gives the original back.
    ok(&config, &["rule", "clone", "In from AD - User Lync", "--as", "Ours - Lync"]);
    let gone = with_config(&config, &["rule", "delete", "Ours - Lync"]);
    assert_code(&gone, 1);
    assert!(stderr(&gone).replace('\n', " ").contains("applies again"), "{}", stderr(&gone));
    assert_eq!(rule_files(&config), []);
    assert!(ok(&config, &["rule", "show", "In from AD - User Lync"]).contains("enabled"));

    // What is no rule stays, and so does what the file switches off.
    let more = "disable = [\"In from AD - User Lync\"]\n\n[[metaverse_attribute]]\nname = \"badge\"\ntype = \"string\"\n\n";
    fs::write(&file, format!("{more}{OWN_RULES}")).unwrap();
    assert_code(&with_config(&config, &["rule", "apply", path]), 0);
    for rule in ["Own - One", "Own - Two"] {
        let gone = with_config(&config, &["rule", "delete", rule]);
        assert_code(&gone, 1);
        assert!(stderr(&gone).replace('\n', " ").contains("stays off: In from AD - User Lync"), "{}", stderr(&gone));
    }
    let left = fs::read_to_string(&kept).unwrap();
    assert!(left.starts_with(more.trim_end()) && !left.contains("[[rule]]"), "{left}");
}
