//! Sign-in names that change hands: everybody has the right one in the cloud, or it is said who has not.

use crate::served::{Served, comes};
use crate::world::{World, counted, exported};
use base64::Engine as _;
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Stdio;

/// A person with a key and a name.
fn person(key: u32, label: &str, name: &str) -> String {
    let key = base64::engine::general_purpose::STANDARD.encode([[3u8; 12].as_slice(), &key.to_be_bytes()].concat());
    format!(
        "dn: CN={label},OU=People,DC=corp,DC=example\nobjectClass: user\nobjectGUID:: {key}\ncn: {label}\ndisplayName: {label}\n\
         sAMAccountName: {label}\nuserPrincipalName: {name}@corp.example\nmail: {name}@corp.example\n\
         proxyAddresses: SMTP:{name}@corp.example\nuserAccountControl: 512\n\n"
    )
}

/// Some people of whom nothing becomes different.
fn others() -> String {
    (100..110).map(|number| person(number, &format!("other{number}"), &format!("other{number}"))).collect()
}

/// How everybody signs in, by the name that people see.
fn sign_in_names(world: &World) -> BTreeMap<String, String> {
    let (status, shown) =
        world.graph(reqwest::Method::GET, "/users?$select=displayName,userPrincipalName,mail,onPremisesProvisioningErrors&$top=999", None);
    assert_eq!(status, 200, "{shown}");
    let text = |user: &Value, name: &str| user[name].as_str().unwrap_or_default().to_owned();
    let users = shown["value"].as_array().unwrap().iter();
    let mut names = BTreeMap::new();
    for user in users.filter(|user| !text(user, "displayName").starts_with("On-Premises")) {
        let kept_aside = user["onPremisesProvisioningErrors"].as_array().map_or(0, Vec::len);
        let name = text(user, "userPrincipalName").replace("@corp.example", "");
        let mail = text(user, "mail").replace("@corp.example", "");
        let problems = if kept_aside > 0 { format!(" with {kept_aside} kept aside") } else { String::new() };
        assert_eq!(names.insert(text(user, "displayName"), format!("{name} {mail}{problems}")), None);
    }
    names
}

#[track_caller]
fn assert_names(world: &World, wanted: &[(&str, &str)]) {
    let found = sign_in_names(world);
    for (label, name) in wanted {
        assert_eq!(found.get(*label).map(String::as_str), Some(format!("{name} {name}").as_str()), "{label}: {found:#?}");
    }
    assert!(found.values().all(|name| !name.contains("kept aside")), "{found:#?}");
}

/// What somebody does who deletes an account and creates it again.
#[test]
fn whoever_is_made_anew_signs_in_by_the_same_name() {
    let world = World::new(&(others() + &person(1, "Yara", "novak")), &[]);
    world.cycle(0, &["--initial"]);
    world.write_directory(&(others() + &person(2, "Yara", "novak")));
    let shown = world.cycle(0, &[]);
    assert_eq!((counted(&shown, "export-add"), counted(&shown, "export-delete")), (1, 1), "{shown:#}");
    assert_names(&world, &[("Yara", "novak")]);
    assert_eq!(exported(&world.cycle(0, &[])), 0);
    world.check_store();
}

#[test]
fn people_swap_their_names_hand_them_on_and_leave_them() {
    // Without the tenant's patience for duplicates, too: then whoever takes a name too early is refused.
    for features in [None, Some(32_768 + 8_192 + 16)] {
        let people = [(1, "Ada", "a"), (2, "Ben", "b"), (3, "Cleo", "c"), (4, "Dora", "d"), (5, "Emil", "e"), (6, "Fay", "f")];
        let all = |people: &[(u32, &str, &str)]| {
            others() + &people.iter().map(|(key, label, name)| person(*key, label, name)).collect::<String>()
        };
        let world = World::new(&all(&people), &[]);
        if let Some(features) = features {
            world.put("/features", &serde_json::json!({"bits": features}));
        }
        world.cycle(0, &["--initial"]);
        // Two swap; Cleo takes Dora's name, Dora Emil's, who leaves; a new one takes Cleo's.
        let after = [(1, "Ada", "b"), (2, "Ben", "a"), (3, "Cleo", "d"), (4, "Dora", "e"), (6, "Fay", "f"), (7, "Gus", "c")];
        world.write_directory(&all(&after));
        let shown = world.cycle(0, &[]);
        assert_eq!(
            (counted(&shown, "export-add"), counted(&shown, "export-update"), counted(&shown, "export-delete")),
            (1, 4, 1),
            "{shown:#}"
        );
        let names: Vec<(&str, &str)> = after.iter().map(|(_, label, name)| (*label, *name)).collect();
        assert_names(&world, &names);
        assert_eq!(exported(&world.cycle(0, &[])), 0);
        // Three in a circle.
        let circle = [(1, "Ada", "a"), (2, "Ben", "d"), (3, "Cleo", "b"), (4, "Dora", "e"), (6, "Fay", "f"), (7, "Gus", "c")];
        world.write_directory(&all(&circle));
        assert_eq!(counted(&world.cycle(0, &[]), "export-update"), 3);
        let names: Vec<(&str, &str)> = circle.iter().map(|(_, label, name)| (*label, *name)).collect();
        assert_names(&world, &names);
        world.check_store();
    }
}

/// Nobody goes before the guard has let everybody go.
#[test]
fn a_name_of_somebody_whose_delete_is_stopped_is_not_touched() {
    let leavers: String = (1..15).map(|number| person(number, &format!("p{number}"), &format!("p{number}"))).collect();
    let world = World::new(&(others() + &leavers), &[]);
    world.cycle(0, &["--initial"]);
    let before = sign_in_names(&world);
    let anew: String = (1..15).map(|number| person(number + 50, &format!("p{number}"), &format!("p{number}"))).collect();
    world.write_directory(&(others() + &anew));
    let shown = world.cycle(5, &["--allow-shrink"]);
    assert_eq!(exported(&shown), 0, "{shown:#}");
    assert_eq!(sign_in_names(&world), before);
}

#[test]
fn a_name_that_the_tenant_keeps_aside_is_a_problem_of_the_person_until_it_is_free() {
    let world = World::new(&(others() + &person(1, "Ada", "a")), &[]);
    world.cycle(0, &["--initial"]);
    // Somebody of the cloud gets the name first.
    let user = serde_json::json!({
        "accountEnabled": true, "displayName": "Cloud", "mailNickname": "taken", "userPrincipalName": "taken@corp.example",
        "passwordProfile": {"password": "Cloud-Only-1!", "forceChangePasswordNextSignIn": false},
    });
    let (status, made) = world.graph(reqwest::Method::POST, "/users", Some(&user));
    assert_eq!(status, 201, "{made}");
    world.write_directory(&(others() + &person(1, "Ada", "taken")));
    world.cycle(1, &[]);
    let problems = |world: &World| {
        let output = world.syncline(&["errors"]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let code = "QuarantinedAttributeValueMustBeUnique";
    let told = problems(&world);
    assert!(told.contains(code) && told.contains("UserPrincipalName 'taken@corp.example'"), "{told}");
    let explained =
        String::from_utf8_lossy(&world.syncline(&["object", "explain", "CN=Ada,OU=People,DC=corp,DC=example"]).stdout).into_owned();
    assert!(explained.contains(code) && !explained.contains("nothing is pending."), "{explained}");
    let why = String::from_utf8_lossy(&world.syncline(&["mv", "why", "taken@corp.example", "userPrincipalName"]).stdout).into_owned();
    assert!(why.contains(code), "{why}");
    // It stays when other things are sent and everything is synchronized anew.
    world.write_directory(&(others() + &person(1, "Ada", "taken").replace("cn: Ada\n", "cn: Ada\ntitle: Countess\n")));
    world.cycle(0, &[]);
    world.cycle(0, &["--initial"]);
    assert!(problems(&world).contains(code), "{}", problems(&world));
    // And goes when the name is free and the tenant has given it.
    let (status, _) = world.graph(reqwest::Method::DELETE, &format!("/users/{}", made["id"].as_str().unwrap()), None);
    assert_eq!(status, 204);
    let (status, _) = world.graph(reqwest::Method::DELETE, &format!("/directory/deletedItems/{}", made["id"].as_str().unwrap()), None);
    assert_eq!(status, 204);
    world.write_directory(&(others() + &person(1, "Ada", "taken").replace("cn: Ada\n", "cn: Ada\ntitle: Lady\n")));
    world.cycle(0, &[]);
    assert!(!problems(&world).contains(code), "{}", problems(&world));
    assert_eq!(sign_in_names(&world)["Ada"], "taken taken");
}

/// Some people swap their names, each with the one beside, and all of them are sent in pieces of two.
const PAIRS: u32 = 15;

fn pairs(swapped: bool) -> String {
    let label = |key: u32| format!("p{key}");
    let name = |key: u32| if swapped { label(if key % 2 == 1 { key + 1 } else { key - 1 }) } else { label(key) };
    others() + &(1..=2 * PAIRS).map(|key| person(key, &label(key), &name(key))).collect::<String>()
}

/// People whose sign-in name is one that nobody knows.
fn under_stand_ins(world: &World) -> Vec<String> {
    let name = |shown: &String| shown.split(' ').next().unwrap().to_owned();
    sign_in_names(world).values().map(name).filter(|name| name.len() >= 32).collect()
}

/// The emergency switch, in the middle of an export in which names change hands.
#[test]
fn staging_mode_leaves_nobody_under_a_stand_in() {
    let world = World::new(&pairs(false), &[]);
    world.set_batch(2);
    world.cycle(0, &["--initial"]);
    world.write_directory(&pairs(true));
    world.fault("slow,delay=300");
    let writes = world.writes();
    let service = Served::start(&world);
    assert!(comes(|| world.writes() >= writes + 4), "nothing arrives");
    world.json(0, &["mode", "staging"]);
    let stopped = || world.newest_runs().iter().any(|run| run["profile"] == "Export" && run["result"] == "stopped-staging-mode");
    assert!(comes(stopped), "{:#?}", world.newest_runs());
    world.clear("/faults");
    assert_eq!(under_stand_ins(&world), [] as [String; 0]);
    world.json(0, &["promote"]);
    world.cycle(0, &[]);
    let label = |key: u32| format!("p{key}");
    for key in (1..=2 * PAIRS).step_by(2) {
        assert_names(&world, &[(&label(key), &label(key + 1)), (&label(key + 1), &label(key))]);
    }
    service.stop();
    world.check_store();
}

/// The process is killed right behind the parting, and then somebody switches to staging mode.
#[test]
fn who_goes_by_a_stand_in_is_named_as_long_as_nothing_may_be_sent() {
    let world = World::new(&pairs(false), &[]);
    world.set_batch(2);
    world.cycle(0, &["--initial"]);
    assert_eq!(world.json(0, &["status"])["health"], "well");
    world.write_directory(&pairs(true));
    // The first call of the export arrives, and the process dies before it can send more.
    world.fault("slow,delay=1500,operation=ProvisionAzureADSyncObjects2");
    let writes = world.writes();
    let mut cycle = world.command().args(["cycle", "start"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    assert!(comes(|| world.writes() > writes), "nothing arrives");
    cycle.kill().unwrap();
    cycle.wait().unwrap();
    world.json(0, &["mode", "staging"]);
    world.clear("/faults");
    world.cycle(0, &[]);
    let left = under_stand_ins(&world);
    assert_eq!(left.len(), 2, "{left:?}");
    let status = world.json(2, &["status"]).to_string();
    assert!(status.contains("2 objects go by stand-in names") && status.contains("syncline promote"), "{status}");
    assert!(left.iter().all(|name| status.contains(name)), "{status}");
    let alerts = world.json(0, &["alerts", "show"]);
    let told = alerts["found"].as_array().unwrap().iter().find(|found| found["condition"] == "stand-ins");
    assert!(told.is_some_and(|told| told["subject"] == "Entra" && left.iter().all(|name| told.to_string().contains(name))), "{alerts:#}");
    let events = world.json(0, &["events", "list", "--id", "7043"]).to_string();
    assert!(left.iter().all(|name| events.contains(name)), "{events}");
    let doctor = world.syncline(&["doctor"]);
    let doctor = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(doctor.contains("stand-in"), "{doctor}");
    // A guard of deletes stops everything else.
    world.json(0, &["mode", "active"]);
    let stays: String = pairs(true).replace(&others(), "") + &person(100, "other100", "other100");
    world.write_directory(&stays);
    world.json(0, &["guard", "set", "--max-deletes", "1"]);
    world.cycle(5, &["--allow-shrink"]);
    assert_eq!(under_stand_ins(&world), [] as [String; 0]);
    assert_eq!(sign_in_names(&world).values().filter(|name| name.starts_with("other")).count(), 10, "nobody was deleted");
    assert!(!world.json(2, &["status"]).to_string().contains("stand-in"));
    world.check_store();
}

/// What an export handed over before a guard ended it is confirmed in the same cycle.
#[test]
fn an_export_that_a_guard_ends_is_confirmed_all_the_same() {
    let world = World::new(&others(), &[]);
    world.set_batch(1);
    world.cycle(0, &["--initial"]);
    world.write_directory(&(others() + &(200..230).map(|key| person(key, &format!("n{key}"), &format!("n{key}"))).collect::<String>()));
    world.fault("slow,delay=300");
    let accepted = world.accepted();
    let service = Served::start(&world);
    assert!(comes(|| world.accepted() >= accepted + 3), "nothing arrives");
    world.json(0, &["mode", "staging"]);
    let runs = || -> Vec<(String, String, String)> {
        let text = |run: &Value, name: &str| run[name].as_str().unwrap_or_default().to_owned();
        // The oldest first.
        world.newest_runs().iter().rev().map(|run| (text(run, "connector"), text(run, "profile"), text(run, "result"))).collect()
    };
    assert!(comes(|| runs().iter().any(|run| run.2 == "stopped-staging-mode")), "{:#?}", runs());
    assert!(
        comes(|| world.json(0, &["events", "list", "--id", "7002"])["events"].as_array().map_or(0, Vec::len) >= 2),
        "the cycle goes on"
    );
    service.stop();
    let runs = runs();
    let export = runs.iter().position(|run| run.2 == "stopped-staging-mode").unwrap();
    assert!(runs[export + 1..].iter().any(|run| run.0 == runs[export].0 && run.1.ends_with("Import")), "{runs:?}");
    assert!(runs[export + 1..].iter().all(|run| run.1 != "Export"), "{runs:?}");
}

/// What `errors` shows.
fn problems(world: &World) -> String {
    let shown = String::from_utf8_lossy(&world.syncline(&["errors"]).stdout).into_owned();
    shown.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Both were in the recycle bin with their names, and each came back with those of the other.
#[test]
fn people_who_return_with_each_others_names_get_them() {
    let world = World::new(&(others() + &person(24, "Mass 24", "mass24") + &person(25, "Mass 25", "mass25")), &[]);
    world.cycle(0, &["--initial"]);
    world.write_directory(&others());
    assert_eq!(counted(&world.cycle(0, &[]), "export-delete"), 2);
    world.write_directory(&(others() + &person(24, "Mass 24", "mass25") + &person(25, "Mass 25", "mass24")));
    let shown = world.cycle(0, &[]);
    assert_eq!(counted(&shown, "export-add"), 2, "{shown:#}");
    assert_names(&world, &[("Mass 24", "mass25"), ("Mass 25", "mass24")]);
    for arguments in [&[][..], &["--initial"], &[]] {
        assert_eq!(exported(&world.cycle(0, arguments)), 0);
    }
    assert_names(&world, &[("Mass 24", "mass25"), ("Mass 25", "mass24")]);
    assert!(!problems(&world).contains("Quarantined"), "{}", problems(&world));
    world.check_store();
}

/// The connection to Graph fails at first, and everything is read anew before somebody looks.
#[test]
fn names_that_nobody_could_look_up_are_put_right_by_a_later_cycle() {
    let world = World::new(&(others() + &person(24, "Mass 24", "mass24") + &person(25, "Mass 25", "mass25")), &[]);
    world.cycle(0, &["--initial"]);
    world.write_directory(&others());
    world.cycle(0, &[]);
    world.write_directory(&(others() + &person(24, "Mass 24", "mass25") + &person(25, "Mass 25", "mass24")));
    world.fault("throttle=1000x,service=graph,retry-after=0.01");
    world.cycle(0, &[]);
    world.clear("/faults");
    let shown = world.cycle(0, &["--initial"]);
    assert_eq!(counted(&shown, "export-update"), 2, "{shown:#}");
    assert_names(&world, &[("Mass 24", "mass25"), ("Mass 25", "mass24")]);
    assert_eq!(exported(&world.cycle(0, &["--initial"])), 0);
    world.check_store();
}

/// A person made anew while the account of before lies in the recycle bin.
#[test]
fn who_is_made_anew_a_cycle_later_is_told_who_has_the_name_and_how_it_becomes_free() {
    let world = World::new(&(others() + &person(1, "Yara", "novak")), &[]);
    world.cycle(0, &["--initial"]);
    world.write_directory(&others());
    assert_eq!(counted(&world.cycle(0, &[]), "export-delete"), 1);
    let (_, bin) = world.graph(reqwest::Method::GET, "/directory/deletedItems/graph.user?$select=id,displayName", None);
    let old = bin["value"][0]["id"].as_str().unwrap().to_owned();
    world.write_directory(&(others() + &person(2, "Yara", "novak")));
    world.cycle(1, &[]);
    let told = problems(&world);
    for words in
        ["UserPrincipalName 'novak@corp.example'", "Yara (novak@corp.example, id ", "recycle bin", "az rest --method delete --url", &old]
    {
        assert!(told.contains(words), "{words}: {told}");
    }
    // It is no news in the next cycle, and nobody sends anything in vain.
    assert_eq!(exported(&world.cycle(0, &[])), 0);
    assert!(problems(&world).contains(&old));
    let (status, _) = world.graph(reqwest::Method::DELETE, &format!("/directory/deletedItems/{old}"), None);
    assert_eq!(status, 204);
    world.cycle(0, &[]);
    assert_names(&world, &[("Yara", "novak")]);
    assert!(!problems(&world).contains("Quarantined"), "{}", problems(&world));
    assert_eq!(exported(&world.cycle(0, &["--initial"])), 0);
    world.check_store();
}

/// The other way that the guide names: the new entry gets the anchor of the old account.
#[test]
fn who_was_made_anew_can_have_the_old_account_back() {
    let world = World::new(&(others() + &person(1, "Yara", "novak")), &[]);
    world.cycle(0, &["--initial"]);
    let old = world.graph(reqwest::Method::GET, "/users/novak@corp.example?$select=id", None).1["id"].clone();
    world.write_directory(&others());
    world.cycle(0, &[]);
    world.write_directory(&(others() + &person(2, "Yara", "novak")));
    world.cycle(1, &[]);
    world.write_directory(&others());
    assert_eq!(counted(&world.cycle(0, &[]), "export-delete"), 1);
    world.write_directory(&(others() + &person(1, "Yara", "novak").replace("CN=Yara", "CN=Yara Novak")));
    world.cycle(0, &[]);
    assert_names(&world, &[("Yara", "novak")]);
    assert_eq!(world.graph(reqwest::Method::GET, "/users/novak@corp.example?$select=id", None).1["id"], old);
    world.check_store();
}

/// Nothing is put right where both are meant to have it: both are named.
#[test]
fn two_who_are_to_have_one_name_are_both_named() {
    let world = World::new(&(others() + &person(1, "Ada", "a") + &person(2, "Ben", "b")), &[]);
    world.cycle(0, &["--initial"]);
    world.write_directory(&(others() + &person(1, "Ada", "a") + &person(2, "Ben", "a")));
    world.cycle(1, &[]);
    let told = problems(&world);
    assert!(told.contains("Ada (a@corp.example) has and is to have, too") && told.contains("Ben"), "{told}");
    assert_eq!(exported(&world.cycle(0, &[])), 0);
    assert_eq!(sign_in_names(&world)["Ada"], "a a");
    world.check_store();
}

/// The tenant does not take the new name of somebody with a mailbox, and so gives the old one to nobody.
#[test]
fn a_name_that_the_tenant_does_not_let_go_is_tried_once_and_told() {
    let world = World::new(&(others() + &person(1, "Ada", "a") + &person(2, "Ben", "b")), &[]);
    world.put("/features", &serde_json::json!({"bits": 32_768 + 32 + 16 + 8}));
    world.cycle(0, &["--initial"]);
    world.admin_patch("/objects/a@corp.example", &serde_json::json!({"mailbox": true}));
    world.write_directory(&(others() + &person(1, "Ada", "c") + &person(2, "Ben", "a")));
    let shown = world.cycle(1, &[]);
    // Both, and once more to put it right.
    assert_eq!(counted(&shown, "export-update"), 4, "{shown:#}");
    let told = problems(&world);
    assert!(told.contains("has and is to give up, and the target let it go by no export so far"), "{told}");
    for arguments in [&[][..], &["--initial"], &[]] {
        let shown = world.cycle(0, arguments);
        assert_eq!(exported(&shown), 0, "{shown:#}");
    }
    assert!(problems(&world).contains("let it go by no export"), "{}", problems(&world));
    world.check_store();
}
