//! Passwords from the command line: switching on and off, one round, looking at everybody and at one account, events.

use crate::{assert_code, document, small_world, stderr, stdout, with_config};
use md4::{Digest as _, Md4};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// A small world whose people have passwords; the first cycle has not run.
fn world_with_passwords() -> (tempfile::TempDir, PathBuf) {
    let world = small_world();
    write_people(world.path(), "Ada-Pw-1", 1);
    let config = world.path().join("config");
    (world, config)
}

/// The directory with Ada's password, changed for the how many-th time.
fn write_people(folder: &Path, ada: &str, change: u64) {
    let mut people = crate::PEOPLE.to_owned();
    for (account, password, change) in [("ada", ada, change), ("emil", "Emil-Pw-1", 1), ("oldhand", "Old-Pw-1", 1)] {
        let wide: Vec<u8> = password.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let hash = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, Md4::digest(wide));
        let line = format!("sAMAccountName: {account}\n");
        let set = 133_500_000_000_000_000_u64 + change * 10_000_000;
        assert!(people.contains(&line));
        people = people.replacen(&line, &format!("{line}unicodePwd:: {hash}\npwdLastSet: {set}\n"), 1);
    }
    let file = folder.join("people.ldif");
    fs::write(&file, people).expect("the folder can be written");
    // Whoever may read it has the hashes, and the doctor says so.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("our own file");
}

fn json(config: &Path, arguments: &[&str], code: i32) -> Value {
    let output = with_config(config, &[&["--json"], arguments].concat());
    assert_code(&output, code);
    document(&output)
}

/// One round. Gives how many passwords were sent.
fn round(config: &Path) -> u64 {
    let report = json(config, &["phs", "run", "--once"], 0);
    report["directories"][0]["domains"][0]["sent"].as_u64().unwrap_or_else(|| panic!("{report:#}"))
}

fn ids(events: &Value) -> Vec<u64> {
    events["events"].as_array().expect("events").iter().map(|event| event["id"].as_u64().expect("a number")).collect()
}

#[test]
fn passwords_go_with_the_first_cycle_and_change_with_a_round() {
    let (world, config) = world_with_passwords();
    assert_code(&with_config(&config, &["phs", "status"]), 4);
    let seen = json(&config, &["phs", "enable", "--what-if"], 0);
    assert_eq!((&seen["known"], seen["overwritten"].as_array().map(Vec::len)), (&false.into(), Some(0)), "{seen}");
    let enabled = json(&config, &["phs", "enable"], 0);
    assert_eq!((&enabled["configured"], &enabled["waits"]), (&Value::Bool(true), &Value::Bool(true)), "{enabled}");
    let held = json(&config, &["phs", "run", "--once"], 1);
    assert_eq!(held["directories"][0]["held"], "not-synchronized");
    assert_eq!(ids(&json(&config, &["events", "list", "--id", "613"], 0)), [613]);

    // Any cycle brings what is missing: that is no fault.
    let doctor = with_config(&config, &["phs", "doctor"]);
    assert_code(&doctor, 1);
    assert!(stdout(&doctor).contains("wait  corp.example") && !stdout(&doctor).contains("FAIL"), "{}", stdout(&doctor));
    assert!(!stdout(&doctor).contains("--initial"), "{}", stdout(&doctor));

    assert_code(&with_config(&config, &["cycle", "start"]), 0);
    let coverage = json(&config, &["phs", "coverage"], 0);
    assert_eq!((&coverage["in_scope"], &coverage["confirmed"]), (&Value::from(2), &Value::from(2)), "{coverage}");
    assert_eq!(round(&config), 0);
    let requests = json(&config, &["events", "list", "--id", "656,657"], 0);
    assert_eq!(requests["events"].as_array().map(Vec::len), Some(4), "{requests:#}");
    let ada = json(&config, &["phs", "status", "--object", "ada@corp.example"], 0);
    assert_eq!((&ada["status"], &ada["current"], &ada["in_scope"]), (&"Success".into(), &true.into(), &true.into()), "{ada:#}");
    let old = json(&config, &["phs", "status", "--object", "oldhand@corp.example"], 0);
    assert_eq!(old["in_scope"], false, "{old:#}");

    write_people(world.path(), "Ada-Pw-2", 2);
    assert_eq!(round(&config), 1);
    assert_eq!(round(&config), 0);
    let pushed = json(&config, &["phs", "push", "emil@corp.example"], 0);
    assert_eq!(pushed["status"], "Success");
    let all = json(&config, &["phs", "full-sync"], 0);
    assert_eq!(all["directories"][0]["domains"][0]["sent"], 2, "{all:#}");

    for arguments in [&["phs", "status"][..], &["phs", "coverage"], &["phs", "status", "--policy"], &["events", "list"], &["phs", "doctor"]]
    {
        let output = with_config(&config, arguments);
        assert_code(&output, 0);
        let shown = stdout(&output);
        assert!(shown.len() > 20 && !shown.contains("Pw-1"), "{arguments:?}: {shown}");
    }
    let shown = stdout(&with_config(&config, &["events", "explain", "652"]));
    assert!(shown.contains("81") && shown.contains("90"), "{shown}");
    assert_code(&with_config(&config, &["events", "explain", "4711"]), 2);

    let off = json(&config, &["phs", "disable"], 0);
    assert_eq!(off["configured"], true);
    let status = json(&config, &["phs", "status"], 0);
    let directory = &status["directories"][0];
    assert_eq!((&directory["name"], &directory["enabled"]), (&"corp.example".into(), &false.into()), "{status:#}");
    let shown = stdout(&with_config(&config, &["phs", "status"]));
    assert!(
        shown.contains("off: `syncline --config ")
            && shown.contains(" phs enable corp.example` switches it on")
            && shown.contains("goes on working"),
        "{shown}"
    );
    assert_code(&with_config(&config, &["phs", "run", "--once"]), 4);
    assert_code(&with_config(&config, &["cycle", "start"]), 0);
}

/// Commands that are proposed carry the options of the call.
fn can_be_pasted(config: &Path, arguments: &[&str], code: i32) {
    let output = with_config(config, arguments);
    assert_code(&output, code);
    let shown = stdout(&output);
    let proposed: Vec<&str> = shown.split("`syncline ").skip(1).collect();
    assert!(!proposed.is_empty() && proposed.iter().all(|rest| rest.starts_with("--config ")), "{arguments:?}: {shown}");
}

#[test]
fn whoever_lacks_a_password_is_named_with_the_reason() {
    let (world, config) = world_with_passwords();
    can_be_pasted(&config, &["phs", "enable"], 0);
    can_be_pasted(&config, &["phs", "run", "--once"], 1);
    json(&config, &["phs", "enable"], 0);
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    // Emil has to change his at the next sign-in, and the tenant takes no such passwords.
    let file = world.path().join("people.ldif");
    let people = fs::read_to_string(&file).expect("the directory");
    let at = people.find("sAMAccountName: emil").expect("Emil");
    let set = people[at..].find("pwdLastSet: ").expect("the time of his password") + at;
    let line = people[set..].lines().next().expect("a line");
    let changed = format!("{}pwdLastSet: 0{}", &people[..set], &people[set + line.len()..]);
    fs::write(&file, changed).expect("the folder can be written");
    json(&config, &["phs", "push", "emil@corp.example"], 2);
    json(&config, &["phs", "full-sync"], 0);

    can_be_pasted(&config, &["phs", "coverage"], 1);
    can_be_pasted(&config, &["phs", "enable"], 0);
    let plain = json(&config, &["phs", "coverage"], 1);
    assert_eq!((&plain["missing"], plain.get("accounts")), (&serde_json::json!({"FilteredByTarget": 1}), None), "{plain:#}");
    for arguments in [&["phs", "coverage", "--list"][..], &["phs", "coverage", "--reason", "filteredbytarget"]] {
        let named = json(&config, arguments, 1);
        let accounts = named["accounts"].as_array().expect("accounts");
        assert_eq!((accounts.len(), &accounts[0]["sign_in_name"]), (1, &"emil@corp.example".into()), "{named:#}");
        assert_eq!((&accounts[0]["reason"], &accounts[0]["next_attempt"]), (&"FilteredByTarget".into(), &Value::Null));
        assert!(accounts[0]["detail"].as_str().is_some_and(|detail| detail.contains("temporary")), "{named:#}");
        let shown = stdout(&with_config(&config, arguments));
        assert!(shown.contains("emil@corp.example") && shown.contains("1 of 2 accounts"), "{shown}");
    }
    let none = stdout(&with_config(&config, &["phs", "coverage", "--reason", "due"]));
    assert!(none.contains("there is: FilteredByTarget."), "{none}");
    let values = stdout(&with_config(&config, &["phs", "coverage", "--csv"]));
    let lines: Vec<&str> = values.lines().collect();
    assert_eq!((lines.len(), lines[0]), (2, "object,account,signs_in_as,reason,detail,code,attempted,next_attempt"), "{values}");
    assert!(lines[1].contains("emil@corp.example,FilteredByTarget,\"a temporary password, and the tenant"), "{values}");
    let other = stdout(&with_config(&config, &["phs", "coverage", "--csv", "--reason", "due"]));
    assert_eq!(other.lines().count(), 1);
    let never = stdout(&with_config(&config, &["events", "explain", "667"]));
    assert!(never.contains("Never told") && never.contains("FIPS"), "{never}");
}

#[test]
fn switching_on_can_be_looked_at_first() {
    let (_world, config) = world_with_passwords();
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let files = || {
        fs::read_dir(config.join("connectors"))
            .expect("connectors")
            .map(|file| fs::read(file.expect("a file").path()).expect("text"))
            .collect::<Vec<_>>()
    };
    let before = files();
    let seen = json(&config, &["phs", "enable", "--what-if"], 0);
    let names: Vec<&str> = seen["overwritten"].as_array().expect("people").iter().filter_map(|one| one["sign_in_name"].as_str()).collect();
    assert_eq!(names, ["ada@corp.example", "emil@corp.example"], "{seen:#}");
    assert_eq!(files(), before);
    let policy = json(&config, &["phs", "status", "--policy"], 0);
    let runs = json(&config, &["run", "list"], 0);
    json(&config, &["phs", "enable"], 0);
    assert_eq!(json(&config, &["run", "list"], 0), runs, "no object is synchronized again: {policy}");
    assert_eq!(round(&config), 2);
}

#[test]
fn without_a_tenant_the_way_is_named() {
    let (_world, config) = world_with_passwords();
    for file in fs::read_dir(config.join("connectors")).expect("connectors") {
        let path = file.expect("a file").path();
        if fs::read_to_string(&path).expect("text").contains("\"entra\"") {
            fs::remove_file(path).expect("the folder can be written");
        }
    }
    let output = with_config(&config, &["phs", "enable"]);
    assert_code(&output, 4);
    assert!(stderr(&output).contains("init` writes one"), "{}", stderr(&output));
}

#[test]
fn the_story_of_one_password_is_told_the_newest_last() {
    let (world, config) = world_with_passwords();
    json(&config, &["phs", "enable"], 0);
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    write_people(world.path(), "Ada-Pw-2", 2);
    assert_eq!(round(&config), 1);
    let log = |arguments: &[&str]| json(&config, &[&["phs", "log"], arguments].concat(), 0);
    let ada = log(&["ada@corp.example"]);
    assert_eq!(ids(&ada), [656, 657, 656, 657], "{ada:#}");
    let times: Vec<&str> = ada["events"].as_array().unwrap().iter().map(|event| event["at"].as_str().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
    assert!(ada["events"].as_array().unwrap().iter().all(|event| event["fields"]["dn"].as_str().unwrap().contains("Ada")), "{ada:#}");
    assert_eq!((&ada["account"]["status"], &ada["more"]), (&"Success".into(), &false.into()), "{ada:#}");
    let last = log(&["ada@corp.example", "--last", "1"]);
    assert_eq!((ids(&last), &last["more"]), (vec![657], &true.into()), "{last:#}");
    assert_eq!(ids(&log(&["emil@corp.example"])), [656, 657]);
    assert!(ids(&log(&["oldhand@corp.example"])).is_empty());

    // Under another name it is the same account; somebody new under the old name is not.
    let people = world.path().join("people.ldif");
    let text = fs::read_to_string(&people).expect("the directory");
    fs::write(&people, text.replace("CN=Ada Byron,", "CN=Ada Lovelace,")).expect("written");
    assert_code(&with_config(&config, &["cycle", "start"]), 0);
    assert_eq!(ids(&log(&["ada@corp.example"])), [656, 657, 656, 657]);
    // Whose password is not wanted any more has no anchor to go by; what was told stays hers.
    json(&config, &["phs", "disable"], 0);
    let shown = stdout(&with_config(&config, &["phs", "log", "emil@corp.example"]));
    assert!(shown.contains("Password Change Result") && !shown.contains("Pw-1"), "{shown}");
    assert_code(&with_config(&config, &["phs", "log", "nobody@corp.example"]), 2);
}

#[test]
fn events_are_listed_by_what_tells_them() {
    let (_world, config) = world_with_passwords();
    json(&config, &["phs", "enable"], 0);
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let of = |source: &str| {
        let found = json(&config, &["events", "list", "--limit", "500", "--source", source], 0);
        let sources: Vec<String> =
            found["events"].as_array().unwrap().iter().map(|event| event["source"].as_str().unwrap().to_owned()).collect();
        (ids(&found), sources)
    };
    let (scheduler, sources) = of("scheduler");
    assert!(scheduler.contains(&7001) && scheduler.contains(&7002) && sources.iter().all(|source| source == "scheduler"), "{scheduler:?}");
    let (sync, _) = of("sync");
    assert!(sync.contains(&7010) && sync.iter().all(|id| *id == 116 || (7010..7050).contains(id)), "{sync:?}");
    let (passwords, _) = of("Password");
    assert!(passwords.contains(&657) && !passwords.contains(&7010), "{passwords:?}");
    let (both, _) = of("sync,scheduler");
    assert_eq!(both.len(), sync.len() + scheduler.len());
    let all = json(&config, &["events", "list", "--limit", "500"], 0);
    assert_eq!(ids(&all).len(), both.len() + passwords.len(), "each event has one source: {all:#}");
    let wrong = with_config(&config, &["events", "list", "--source", "weather"]);
    assert_code(&wrong, 64);
    assert!(stderr(&wrong).contains("sync, scheduler, password"), "{}", stderr(&wrong));
    let kinds = json(&config, &["events", "explain"], 0);
    assert!(kinds.as_array().unwrap().iter().all(|kind| kind["source"].is_string()), "{kinds:#}");
}

/// What the service's own agent tells is kept a moment later, though it tells nothing more for two minutes: a kill loses none of it.
#[test]
fn what_a_service_tells_of_passwords_outlives_a_kill_and_stands_in_order() {
    let (world, config) = world_with_passwords();
    json(&config, &["phs", "enable"], 0);
    let service = crate::serve::Served::start(&config);
    service.cycles(1);
    // Until it is so, the exit code says that it is not.
    let until = |what: &str, arguments: &[&str], wanted: &dyn Fn(&Value) -> bool| {
        for _ in 0..600 {
            let shown = document(&with_config(&config, &[&["--json"], arguments].concat()));
            if wanted(&shown) {
                return shown;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("{what} did not come");
    };
    until("both passwords", &["phs", "coverage"], &|coverage| coverage["confirmed"] == 2);
    let about_ada = ["phs", "status", "--object", "ada@corp.example"];
    let seen = until("her status", &about_ada, &|ada| ada["status"] == "Success");
    write_people(world.path(), "Ada-Pw-2", 2);
    json(&config, &["cycle", "start"], 0);
    until("the new password", &about_ada, &|ada| ada["status"] == "Success" && ada["current"] == true && *ada != seen);
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    service.kill();
    let events = json(&config, &["events", "list", "--id", "656,657"], 0);
    assert_eq!(events["events"].as_array().map(Vec::len), Some(6), "two of the first round each, and hers: {events:#}");
    let all = json(&config, &["events", "list", "--limit", "1000"], 0);
    let times: Vec<&str> = all["events"].as_array().expect("events").iter().map(|event| event["at"].as_str().expect("a time")).collect();
    assert!(times.is_sorted(), "{times:#?}");
}
