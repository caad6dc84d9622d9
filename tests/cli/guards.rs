//! What stops before anybody is harmed by a mistake in the configuration or a source that cannot be right.

use crate::{assert_code, counted, document, exported, small_world, stderr, stdout, with_config};
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
    // Whoever asks is told, and how it is undone.
    let undo = "config set rules.source_anchor mS-DS-ConsistencyGuid";
    for (asked, code) in [(&["status"][..], 2), (&["guard", "show"], 0), (&["scheduler", "show"], 0), (&["doctor"], 2)] {
        let output = with_config(&config, asked);
        assert_code(&output, code);
        assert!(stdout(&output).replace('\n', " ").contains(undo), "{asked:?}: {}", stdout(&output));
    }
    let doctor = document(&with_config(&config, &["--json", "doctor"]));
    let told = doctor["findings"].as_array().unwrap().iter().filter(|finding| finding.to_string().contains(undo)).count();
    assert_eq!(told, 1, "{doctor:#}");
    let shown = document(&with_config(&config, &["--json", "guard", "show"]));
    assert_eq!(shown["targets"][0]["stopped"], true, "{shown:#}");
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
    fs::write(&file, &many).unwrap();
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

    // Not even later, whether somebody synchronizes by hand or only undoes the mistake; nor do strangers in the place of everybody.
    let strangers = many.replace("objectGUID:: A", "objectGUID:: B").replace("objectGUID:: E", "objectGUID:: F");
    assert_ne!(strangers, many);
    for (wrong, said) in [(shrunk.join("\n") + "\n", "nothing was staged as deleted"), (strangers, "is the anchor another one?")] {
        fs::write(&file, wrong).unwrap();
        let stopped = with_config(&config, &["cycle", "start"]);
        assert_code(&stopped, 5);
        let told = stdout(&stopped) + &stderr(&stopped);
        assert!(told.contains(said) && !told.contains("transient-"), "{told}");
        assert_code(&with_config(&config, &["run", "start", "corp.example", "delta-sync"]), 4);
        let waiting = &document(&with_config(&config, &["--json", "export", "--what-if"]))["targets"][0];
        assert_eq!((&waiting["adds"], &waiting["updates"], &waiting["deletes"]), (&0.into(), &0.into(), &0.into()), "{waiting:#}");
        fs::write(&file, &many).unwrap();
        let output = with_config(&config, &["--json", "cycle", "start"]);
        assert_code(&output, 0);
        let shown = document(&output);
        assert_eq!((shown["runs"][0]["profile"].as_str(), exported(&shown)), (Some("Full Import"), 0), "{shown:#}");
    }
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
    // Back again: values that were let go and were not read meanwhile are nobody's doing.
    let output = with_config(&config, &["--json", "cycle", "start"]);
    assert_code(&output, 0);
    let shown = document(&output);
    assert_eq!((exported(&shown), counted(&shown, "provisioned-delete")), (0, 0), "{shown:#}");
    assert!(!shown.to_string().contains("by others"), "{shown:#}");
}

/// A tenant to which no rule writes is configured all the same, and it is told what is wrong.
#[test]
fn without_rules_it_is_told_that_none_writes_to_the_tenant() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let main = config.join("syncline.toml");
    let text = fs::read_to_string(&main).unwrap();
    let told = |told: &str, commands: &[&[&str]]| {
        for command in commands {
            let output = with_config(&config, command);
            let shown = format!("{}{}", stdout(&output), stderr(&output)).split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(output.status.code(), Some(1), "{command:?}: {shown}");
            assert!(shown.contains(told) && shown.contains("[rules] built_in is false"), "{command:?}: {shown}");
            assert!(!shown.contains("no target is configured"), "{command:?}: {shown}");
        }
    };
    fs::write(&main, format!("{text}\n[rules]\nbuilt_in = false\n")).unwrap();
    let commands: [&[&str]; 4] = [&["config", "check"], &["rule", "lint"], &["cycle", "start"], &["status"]];
    told("no rule is enabled: everybody leaves the metaverse, and nothing is sent to 'Entra'", &commands);
    // With rules that only read, somebody may have forgotten the others.
    let source = fs::read_dir(config.join("connectors")).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
    let source: toml::Table = source.into_iter().find(|text| text.contains("\"ldif\"")).unwrap().parse().unwrap();
    let rule = format!(
        "[[rule]]\nname = \"People come\"\nconnector = {}\ndirection = \"inbound\"\norder = 90\ncs_type = \"user\"\nmv_type = \"person\"\n\
         link = \"provision\"\nflows = [{{ to = \"displayName\", from = \"displayName\" }}]\n",
        source["name"]
    );
    fs::create_dir_all(config.join("rules")).unwrap();
    fs::write(config.join("rules/own.toml"), rule).unwrap();
    told("no rule writes to 'Entra': nothing is sent there", &commands);
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

/// One person gets another consistency GUID, as a migration tool may write it: whoever has that anchor would be somebody else.
#[test]
fn an_object_whose_anchor_changed_is_neither_deleted_nor_made_anew() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let file = world.path().join("people.ldif");
    let text = fs::read_to_string(&file).unwrap();
    let moved =
        text.replace("sAMAccountName: ada\n", "sAMAccountName: ada\nmS-DS-ConsistencyGuid:: 3q2+796tvu/erb7v3q2+7w==\ntitle: Countess\n");
    assert_ne!(moved, text);
    fs::write(&file, moved).unwrap();
    for kind in [&["cycle", "start"][..], &["cycle", "start", "--initial"]] {
        let output = with_config(&config, &[&["--json"], kind].concat());
        assert_code(&output, 2);
        let shown = document(&output);
        assert_eq!((counted(&shown, "export-delete"), counted(&shown, "export-add"), exported(&shown)), (0, 0, 0), "{shown:#}");
    }
    let errors = document(&with_config(&config, &["--json", "errors"]));
    let told = errors.to_string();
    assert!(told.contains("SourceAnchor attribute has changed.") && told.contains("CN=Ada Byron"), "{told}");
    // Set back, it is well again, and what changed meanwhile goes out.
    fs::write(&file, text.replace("sAMAccountName: ada\n", "sAMAccountName: ada\ntitle: Countess\n")).unwrap();
    let output = with_config(&config, &["--json", "cycle", "start"]);
    assert_code(&output, 0);
    assert_eq!(counted(&document(&output), "export-update"), 1);
}

/// The consistency GUID is the one way on from objectGUID: nobody has another value there yet, so nobody changes.
#[test]
fn the_consistency_guid_may_follow_the_object_guid_and_nothing_else() {
    let world = small_world();
    let config = world.path().join("config");
    let main = config.join("syncline.toml");
    let text = fs::read_to_string(&main).unwrap();
    let with = |anchor: &str| fs::write(&main, format!("{text}\n[rules]\nsource_anchor = \"{anchor}\"\n")).unwrap();
    with("objectGUID");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    with("mS-DS-ConsistencyGuid");
    let output = with_config(&config, &["--json", "cycle", "start", "--initial"]);
    assert_code(&output, 0);
    assert_eq!(exported(&document(&output)), 0);
    with("objectGUID");
    let output = with_config(&config, &["cycle", "start"]);
    assert_code(&output, 4);
    let shown = stderr(&output);
    assert!(shown.contains("'objectGUID'") && shown.contains("among them") && shown.contains("Ada Byron"), "{shown}");
}

/// A directory of 32 people lies below any limit that is made for thousands.
#[test]
fn more_than_half_of_a_small_tenant_is_never_deleted_unasked() {
    let world = small_world();
    let config = world.path().join("config");
    let file = world.path().join("people.ldif");
    let few = fs::read_to_string(&file).unwrap();
    let extra = |number: u32| {
        format!(
            "\ndn: CN=Extra {number},OU=People,DC=corp,DC=example\nobjectClass: user\nobjectGUID:: AQEBAQEBAQEBAQEBAQ{number}AA==\n\
             sAMAccountName: extra{number}\nuserPrincipalName: extra{number}@corp.example\nuserAccountControl: 512\n"
        )
    };
    let people = |count: u32| few.clone() + &(10..10 + count).map(extra).collect::<String>();
    fs::write(&file, people(27)).unwrap();
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    assert_code(&with_config(&config, &["guard", "set", "--shrink-percent", "100"]), 0);
    let shown = document(&with_config(&config, &["--json", "guard", "show"]));
    assert_eq!(shown["targets"][0]["limit"], 16, "half of 32: {shown:#}");

    // 17 of 32 go.
    fs::write(&file, people(10)).unwrap();
    let output = with_config(&config, &["--json", "cycle", "start"]);
    assert_code(&output, 5);
    let stopped = document(&output);
    assert_eq!(exported(&stopped), 0, "{stopped:#}");
    let told = stopped.to_string();
    assert!(told.contains("17 deletes are pending") && told.contains("16 are allowed, which is half of what is there"), "{told}");
    // A share that somebody wrote takes its place.
    assert_code(&with_config(&config, &["guard", "set", "--max-delete-percent", "60"]), 0);
    let output = with_config(&config, &["--json", "cycle", "start"]);
    assert_code(&output, 0);
    assert_eq!(counted(&document(&output), "export-delete"), 17);

    // Of few, a few are let through: nine here are more than half of 15.
    let main = config.join("syncline.toml");
    let text = fs::read_to_string(&main).unwrap().replace("max_delete_percent = 60", "");
    fs::write(&main, text).unwrap();
    fs::write(&file, people(1)).unwrap();
    let output = with_config(&config, &["--json", "cycle", "start"]);
    assert_code(&output, 0);
    assert_eq!(counted(&document(&output), "export-delete"), 9);
}

/// The tenant keeps a limit of its own for all who synchronize with it; the stricter one wins.
#[test]
fn the_tenants_own_limit_is_shown_set_and_heeded() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let show = |arguments: &[&str]| document(&with_config(&config, &[&["--json", "guard"], arguments].concat()));
    assert_eq!(show(&["show"])["targets"][0]["tenant_max_deletes"], 500);
    let looked = show(&["set", "--tenant", "--max-deletes", "0", "--what-if"]);
    assert_eq!((&looked["changes"][0]["now"], &looked["changes"][0]["then"]), (&500.into(), &0.into()), "{looked:#}");
    assert_eq!(show(&["show", "--tenant"])["targets"][0]["tenant_max_deletes"], 500);
    assert_code(&with_config(&config, &["guard", "set", "--tenant"]), 64);
    assert_code(&with_config(&config, &["guard", "set", "--off"]), 64);
    assert_code(&with_config(&config, &["guard", "set", "--tenant", "--max-deletes", "3", "--max-delete-percent", "3"]), 64);
    let set = show(&["set", "--tenant", "--max-delete-percent", "1"]);
    assert_eq!(set["targets"][0]["tenant_max_delete_percent"], 1, "{set:#}");
    // One of five is more than a hundredth.
    let file = world.path().join("people.ldif");
    let text = fs::read_to_string(&file).unwrap();
    let (kept, gone) = text.split_at(text.find("dn: CN=Partner Pat").unwrap());
    assert!(gone.contains("pat@partner.example"));
    fs::write(&file, kept).unwrap();
    let output = with_config(&config, &["--json", "cycle", "start"]);
    assert_code(&output, 5);
    let shown = document(&output);
    assert_eq!(exported(&shown), 0, "{shown:#}");
    let told = shown.to_string();
    for part in ["1 delete is pending", "Among them: Partner Pat", "--what-if", "--allow-deletes 1-"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(show(&["set", "--tenant", "--off"])["targets"][0]["tenant_max_delete_percent"], serde_json::Value::Null);
    let output = with_config(&config, &["--json", "cycle", "start"]);
    assert_code(&output, 0);
    assert_eq!(counted(&document(&output), "export-delete"), 1);
}

/// A store that is new knows nobody who left before it was made.
#[test]
fn a_replaced_installation_is_told_of_accounts_that_nobody_stands_behind() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    assert_code(&with_config(&config, &["mode", "staging"]), 0);
    fs::remove_file(config.join("syncline.redb")).unwrap();
    let file = world.path().join("people.ldif");
    let text = fs::read_to_string(&file).unwrap();
    let kept: Vec<&str> = text.split("\n\n").filter(|entry| !entry.contains("sAMAccountName: ada")).collect();
    fs::write(&file, kept.join("\n\n")).unwrap();

    let never = with_config(&config, &["promote", "--takeover"]);
    assert_code(&never, 5);
    assert!(
        stdout(&never).contains("Entra was not imported yet") && stdout(&never).contains("run start 'Entra' full-import`"),
        "{}",
        stdout(&never)
    );
    // The cycle tells of who belongs to nobody, too.
    assert_code(&with_config(&config, &["cycle", "start"]), 1);
    let looked = document(&with_config(&config, &["--json", "promote", "--takeover", "--what-if"]));
    assert_eq!((&looked["not_joined"][0]["connector"], &looked["not_joined"][0]["objects"]), (&"Entra".into(), &1.into()), "{looked:#}");
    let promoted = with_config(&config, &["promote", "--takeover"]);
    assert_code(&promoted, 0);
    let command = format!("`syncline --config {} cs search 'Entra' --state disconnector`", config.display());
    let shown = stdout(&promoted);
    assert!(shown.contains("1 synchronized object of Entra is joined to nobody") && shown.contains(&command), "{shown}");
    let listed = document(&with_config(&config, &["--json", "cs", "search", "Entra", "--state", "disconnector"]));
    assert!(
        listed["objects"].as_array().is_some_and(|objects| objects.len() == 1) && listed.to_string().contains("ada@corp.example"),
        "{listed:#}"
    );
    // Who is known again is nobody to be told of.
    fs::write(&file, text).unwrap();
    assert_code(&with_config(&config, &["cycle", "start"]), 0);
    let whole = with_config(&config, &["promote", "--takeover"]);
    assert!(!stdout(&whole).contains("joined to nobody"), "{}", stdout(&whole));
}

/// For a clean-up that takes days; while it is off, everything says so.
#[test]
fn a_threshold_that_is_off_warns_in_every_cycle_until_a_limit_is_set() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    assert_code(&with_config(&config, &["guard", "set", "--max-deletes", "1"]), 0);
    let main = config.join("syncline.toml");
    let before = fs::read_to_string(&main).unwrap();
    let ahead = document(&with_config(&config, &["--json", "guard", "disable", "--what-if"]));
    assert_eq!(ahead["changes"][0]["key"], "guard.delete_threshold", "{ahead:#}");
    assert_eq!((&ahead["changes"][0]["now"], &ahead["changes"][0]["then"]), (&true.into(), &false.into()), "{ahead:#}");
    assert_eq!(fs::read_to_string(&main).unwrap(), before);

    crate::two_people_leave(world.path());
    assert_code(&with_config(&config, &["cycle", "start"]), 5);
    let off = document(&with_config(&config, &["--json", "guard", "disable"]));
    assert_eq!((&off["delete_threshold"], &off["targets"][0]["limit"]), (&false.into(), &500.into()), "the tenant's own: {off:#}");
    assert_eq!(document(&with_config(&config, &["--json", "guard", "disable", "--what-if"]))["changes"].as_array().map(Vec::len), Some(0));
    let output = with_config(&config, &["--json", "cycle", "start"]);
    assert_code(&output, 1);
    let cycle = document(&output);
    assert_eq!(counted(&cycle, "export-delete"), 2, "{cycle:#}");
    assert!(cycle["warnings"][0].as_str().unwrap().contains("delete threshold is off"), "{cycle:#}");

    // Also where there is nothing to send.
    let output = with_config(&config, &["cycle", "start"]);
    assert_code(&output, 1);
    let command = format!("`syncline --config {} guard set --max-deletes 1`", config.display());
    assert!(stderr(&output).contains(&command), "{}", stderr(&output));
    let told = document(&with_config(&config, &["--json", "events", "list", "--id", "7042"]));
    assert_eq!(told["events"].as_array().map(Vec::len), Some(2), "one for each cycle: {told:#}");
    let status = document(&with_config(&config, &["--json", "status"]));
    assert_eq!(status["health"], "attention", "{status:#}");
    assert!(status["attention"].to_string().contains("guard set --max-deletes 1"), "{status:#}");
    let acts = document(&with_config(&config, &["--json", "audit", "list"])).to_string();
    assert_eq!(acts.matches("\"disable\"").count(), 1, "{acts}");

    // The share that a full import may miss is another matter.
    let still = document(&with_config(&config, &["--json", "guard", "set", "--shrink-percent", "70"]));
    assert_eq!(still["delete_threshold"], false, "{still:#}");
    let ahead = document(&with_config(&config, &["--json", "guard", "set", "--max-deletes", "1", "--what-if"]));
    assert_eq!((&ahead["changes"][1]["now"], &ahead["changes"][1]["then"]), (&false.into(), &true.into()), "{ahead:#}");
    let on = document(&with_config(&config, &["--json", "guard", "set", "--max-deletes", "1"]));
    assert_eq!((&on["delete_threshold"], &on["targets"][0]["limit"]), (&true.into(), &1.into()), "{on:#}");
    assert!(!fs::read_to_string(&main).unwrap().contains("delete_threshold"));
    assert_code(&with_config(&config, &["cycle", "start"]), 0);
}
