//! The store is lost, or an old one comes back: everything joins again, and nobody is made a second time or deleted.

use crate::labs::{self, Lab};
use crate::served::{Served, comes};
use crate::world::{World, assert_same, counted, exported, people, person};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use syncline::directory_generator::{DirectoryRecipe, PasswordRecipe, PasswordState};

const USERS: u64 = 60;

fn recipe(changed: u64, users: u64) -> DirectoryRecipe {
    DirectoryRecipe { users, groups: 6, contacts: 3, passwords: Some(PasswordRecipe { changed }), ..DirectoryRecipe::default() }
}

fn text(recipe: &DirectoryRecipe) -> String {
    let mut text = Vec::new();
    recipe.write_ldif(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

fn store(world: &World) -> PathBuf {
    world.config().join("syncline.redb")
}

/// Nobody is made and nobody is deleted, and the tenant stays as it is.
fn joins_again(world: &World) {
    let before = world.tenant_state();
    let store = store(world);
    assert!(store.exists(), "the store lies elsewhere");
    std::fs::remove_file(store).unwrap();
    world.clear("/traffic");
    let cycle = world.cycle(0, &[]);
    assert_eq!((counted(&cycle, "export-add"), counted(&cycle, "export-delete")), (0, 0), "{cycle:#}");
    assert_eq!(exported(&cycle), 0, "not even an update: {cycle:#}");
    assert_eq!(exported(&world.cycle(0, &[])), 0);
    assert_same(&world.tenant_state(), &before, "the tenant");
    world.check_store();
}

#[test]
fn without_its_store_everything_of_a_file_joins_again() {
    let recipe = recipe(0, USERS);
    let world = World::new(&text(&recipe), &[]);
    world.json(0, &["phs", "enable"]);
    assert_eq!(counted(&world.cycle(0, &["--initial"]), "export-add"), USERS + 9);
    // A new store must not be held up by the guard of the first export either: what is there was ours.
    world.set_first_export("approved");
    joins_again(&world);
    let somebody = (0..USERS).find(|index| recipe.password_state(*index) == PasswordState::Good).unwrap();
    assert_eq!(world.sign_in(&recipe.user_principal_name(somebody), &recipe.user_password(somebody)), 0);
}

#[test]
fn without_its_store_everything_of_a_server_joins_again() {
    let lab: Lab = labs::up("openldap", &labs::recipe(80, 8, 4), &[]);
    let world = World::of_server(&lab, "ldap", "people");
    assert!(counted(&world.cycle(0, &["--initial"]), "export-add") >= 80);
    assert_eq!(exported(&world.cycle(0, &[])), 0);
    joins_again(&world);
}

/// A backup is made while the service works; weeks later it is all that is left.
#[test]
fn an_old_backup_comes_back_and_finds_what_was_done_since() {
    let first = recipe(0, USERS);
    let world = World::new(&text(&first), &[]);
    world.json(0, &["phs", "enable"]);
    let backup = world.config().join("backup.redb");
    let name = backup.to_str().unwrap().to_owned();
    let service = Served::start(&world);
    // In the middle of its first cycle, as far as that is to be met.
    assert!(comes(|| world.accepted() > 0));
    world.json(0, &["store", "backup", &name]);
    assert!(comes(|| world.accepted() >= USERS + 9));
    service.stop();
    world.cycle(0, &[]);

    // Some came, some went, some changed their name, some their password.
    let second = recipe(5, USERS + 4);
    let changed = text(&second).replace("displayName: ", "displayName: Dr. ");
    let lines: Vec<&str> = changed.lines().filter(|line| !line.starts_with("# syncline:")).collect();
    let mut records: Vec<String> = lines.join("\n").trim().split("\n\n").map(str::to_owned).collect();
    let gone = records.iter().rposition(|record| record.contains("objectClass: user")).unwrap();
    records.remove(gone - 3);
    world.write_directory(&(records.join("\n\n") + "\n"));
    // References to somebody who comes in the same cycle may take a second export.
    let output = world.syncline(&["--json", "cycle", "start"]);
    let cycle: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(counted(&cycle, "export-update") > USERS / 4 && counted(&cycle, "export-add") == 3, "{cycle:#}");
    world.json(0, &["phs", "run", "--once"]);
    assert_eq!(exported(&world.cycle(0, &[])), 0);
    let (tenant, own) = (world.tenant_state(), world.own_state());

    // A service that runs is not robbed of its store, and looking changes nothing.
    let service = Served::start(&world);
    let refused = world.syncline(&["--wait", "0", "store", "restore", &name]);
    assert_eq!(refused.status.code(), Some(4), "{}", String::from_utf8_lossy(&refused.stderr));
    service.stop();
    let looked: Value = world.json(0, &["store", "restore", &name, "--what-if"]);
    assert_eq!((&looked["done"], &looked["kept"]), (&false.into(), &Value::Null), "{looked:#}");
    assert_eq!(world.own_state(), own);

    let done = world.json(0, &["store", "restore", &name]);
    let kept = done["kept"].as_str().unwrap();
    assert!(std::path::Path::new(kept).exists() && backup.exists(), "{done:#}");
    world.clear("/traffic");
    // The service does the rest by itself.
    let service = Served::start(&world);
    let shown = comes(|| world.json(0, &["scheduler", "show"])["last_success"].is_string());
    assert!(shown, "no cycle succeeded behind the restore");
    let newest = looked["newest_run"].as_str().unwrap();
    let runs = world.json(0, &["run", "list", "--limit", "1000"]);
    let whole = |connector: &str| {
        let fits =
            |run: &&Value| run["connector"] == connector && run["profile"] == "Full Import" && run["started"].as_str() > Some(newest);
        runs["runs"].as_array().unwrap().iter().filter(fits).count()
    };
    assert_eq!((whole("corp"), whole("Entra")), (1, 1), "{runs:#}");
    assert!(comes(|| world.json(0, &["cycle", "start"])["runs"].is_array()));
    service.stop();
    // What the backup had not confirmed, and the tenant shows otherwise since, is a note until all is read once more.
    world.cycle(0, &["--initial"]);
    let runs = world.json(0, &["run", "list", "--limit", "1000"]);
    assert_eq!((counted(&runs, "export-failure"), world.writes()), (0, 0), "nothing is sent a second time: {runs:#}");
    assert_same(&world.tenant_state(), &tenant, "the tenant behind the restore");
    assert_same(&world.own_state(), &own, "the store behind the restore");
    for index in 0..8 {
        if second.password_state(index) == PasswordState::Good {
            let disabled = world.sign_in(&second.user_principal_name(index), "Not-The-Password-1!");
            let right = world.sign_in(&second.user_principal_name(index), &second.user_password(index));
            assert!(right == 0 || right == disabled, "user {index}: {right}");
        }
    }
    world.check_store();
}

/// The backup comes back while the domain controller is still down: what it knows of the directory is a week old.
#[test]
fn restored_with_its_directory_away_it_sends_nothing() {
    let first = recipe(0, USERS);
    let world = World::new(&text(&first), &[]);
    world.json(0, &["phs", "enable"]);
    world.cycle(0, &["--initial"]);
    world.json(0, &["phs", "run", "--once"]);
    let backup = world.config().join("backup.redb");
    let name = backup.to_str().unwrap().to_owned();
    world.json(0, &["store", "backup", &name]);
    // A week later everybody is called otherwise, has another password, and somebody has left.
    let changed = text(&recipe(5, USERS)).replace("displayName: ", "displayName: Dr. ");
    let lines: Vec<&str> = changed.lines().filter(|line| !line.starts_with("# syncline:")).collect();
    let mut records: Vec<String> = lines.join("\n").trim().split("\n\n").map(str::to_owned).collect();
    let gone = records.iter().rposition(|record| record.contains("objectClass: user")).unwrap();
    records.remove(gone - 3);
    let directory = records.join("\n\n") + "\n";
    world.write_directory(&directory);
    assert!(exported(&world.cycle(0, &[])) > USERS / 4);
    world.json(0, &["phs", "run", "--once"]);
    assert_eq!(exported(&world.cycle(0, &[])), 0);
    let tenant = world.tenant_state();

    world.json(0, &["store", "restore", &name]);
    std::fs::remove_file(world.directory_file()).unwrap();
    world.clear("/traffic");
    let by_hand = [
        &["export"][..],
        &["cycle", "start"],
        &["run", "start", "Entra", "full-import"],
        &["run", "start", "corp", "full-sync"],
        &["run", "start", "Entra", "full-sync"],
        &["export"],
        &["object", "sync", &first.user_principal_name(1)],
        &["cycle", "start", "--initial"],
        &["phs", "run", "--once"],
    ];
    for arguments in by_hand {
        let output = world.command().arg("--json").args(arguments).output().unwrap();
        let shown = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_same(&world.tenant_state(), &tenant, &format!("the tenant behind {arguments:?}: {shown}"));
        if arguments == ["export"] {
            assert_eq!(output.status.code(), Some(4), "{shown}");
            assert!(shown.contains("no-start-source-never-read") && shown.contains("the store was restored from a backup"), "{shown}");
        }
        if arguments[0] == "phs" {
            assert!(shown.contains("not-synchronized"), "{shown}");
        }
    }
    assert!(world.json(2, &["status"]).to_string().contains("corp has to be read as a whole"));

    // Back again, but not read yet: no way to send a password knows more than another.
    world.write_directory(&directory);
    world.clear("/traffic");
    let good = (0..USERS).find(|index| recipe(5, USERS).password_state(*index) == PasswordState::Good).unwrap();
    let somebody = first.user_principal_name(good);
    for arguments in [&["phs", "push", &somebody][..], &["phs", "run", "--once"], &["phs", "full-sync"]] {
        let output = world.command().arg("--json").args(arguments).output().unwrap();
        let shown = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(shown.contains("has to be read as a whole") || shown.contains("not-synchronized"), "{arguments:?}: {shown}");
        assert!(arguments[1] != "push" || !output.status.success(), "{shown}");
    }
    assert_eq!(world.writes(), 0, "nothing was sent");
    assert_same(&world.tenant_state(), &tenant, "the tenant before its directory was read");
    world.cycle(0, &[]);
    world.cycle(0, &["--initial"]);
    assert_same(&world.tenant_state(), &tenant, "the tenant with its directory back");
    assert_eq!(world.json(0, &["phs", "run", "--once"])["directories"][0]["held"], Value::Null);
    world.check_store();
}

#[test]
fn what_is_no_backup_is_refused_and_changes_nothing() {
    let world = World::new(&people(10, 2, 1), &[]);
    world.cycle(0, &["--initial"]);
    let own = world.own_state();
    let backup = world.config().join("backup.redb");
    let name = backup.to_str().unwrap().to_owned();
    world.json(4, &["store", "restore", &name]);
    std::fs::write(&backup, "no store").unwrap();
    assert_ne!(world.syncline(&["store", "restore", &name]).status.code(), Some(0));
    world.json(64, &["store", "restore", store(&world).to_str().unwrap()]);
    std::fs::remove_file(&backup).unwrap();
    world.json(0, &["store", "backup", &name]);
    // Half of it got lost on the way.
    let octets = std::fs::read(&backup).unwrap();
    std::fs::write(&backup, &octets[..octets.len() / 2]).unwrap();
    assert_ne!(world.syncline(&["store", "restore", &name]).status.code(), Some(0));
    assert_eq!(world.own_state(), own);
}

#[test]
fn a_killed_restore_leaves_no_copy_for_ever() {
    let world = World::new(&people(300, 20, 1), &[]);
    world.cycle(0, &["--initial"]);
    let backup = world.config().join("backup.redb");
    let name = backup.to_str().unwrap().to_owned();
    world.json(0, &["store", "backup", &name]);
    let copies = || {
        let entries = std::fs::read_dir(world.config()).unwrap().flatten();
        let folders = entries.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b".") && entry.path().is_dir());
        folders.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    // On a busy machine it may come to its end before it is killed.
    let left = (0..20).find_map(|_| {
        let mut restore = world.command().args(["store", "restore", &name]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while copies().is_empty() && restore.try_wait().unwrap().is_none() {}
        restore.kill().unwrap();
        restore.wait().unwrap();
        copies().pop()
    });
    let left = left.expect("a restore that was killed while it had a copy");
    assert_eq!(std::fs::metadata(&left).unwrap().permissions().mode() & 0o077, 0, "others may not look into it");
    world.json(0, &["store", "stats"]);
    assert_eq!(copies(), [] as [PathBuf; 0]);
}

/// What a command's runs and all events say of drift.
#[track_caller]
fn assert_no_drift(world: &World, cycle: &Value) {
    let messages = cycle.to_string();
    assert!(!messages.contains("drift") && !messages.contains("by others"), "{cycle:#}");
    let events = world.json(0, &["events", "list", "--limit", "1000"]).to_string();
    assert!(!events.contains("7021"), "{events}");
}

/// The tenant gives back who returns with all that it had kept, be it gone from the directory meanwhile.
#[test]
fn who_comes_back_from_the_recycle_bin_was_changed_by_nobody() {
    let group = |members: &str| {
        format!(
            "dn: CN=Outer,OU=People,DC=corp,DC=example\nobjectClass: top\nobjectClass: group\ncn: Outer\nobjectGUID:: \
             AQEBAQEBAQEBAQEBAAAAAQ==\nsAMAccountName: outer\ngroupType: -2147483640\nobjectSid:: \
             AQUAAAAAAAUVAAAAAQAAAAIAAAAEAAAAAQAAAA==\n{members}\n"
        )
    };
    let (first, second) = ("member: CN=Person 1,OU=People,DC=corp,DC=example\n", "member: CN=Person 2,OU=People,DC=corp,DC=example\n");
    let others: String = (2..14).map(|number| person(number, "") + "\n").collect();
    let whole = person(1, "department: Sales\nemployeeID: 7\ngivenName: Per\nsn: Son\nproxyAddresses: smtp:per@corp.example\n") + "\n";
    let world = World::new(&format!("{whole}{others}{}", group(&format!("{first}{second}"))), &[]);
    world.cycle(0, &["--initial"]);
    world.write_directory(&format!("{others}{}", group(second)));
    assert_eq!(counted(&world.cycle(0, &[]), "export-delete"), 1);
    world.write_directory(&format!("{}\n{others}{}", person(1, ""), group(second)));
    let cycle = world.cycle(0, &[]);
    assert_no_drift(&world, &cycle);
    assert!(cycle.to_string().contains("restored by the target"), "{cycle:#}");
    // And it is as the directory says.
    let (_, shown) = world.graph(reqwest::Method::GET, "/users/p1@corp.example?$select=department,givenName,surname,employeeId", None);
    assert!(["department", "givenName", "surname", "employeeId"].iter().all(|name| shown[name].is_null()), "{shown}");
    assert_eq!(exported(&world.cycle(0, &["--initial"])), 0);
    world.check_store();
}

/// What the exports since the backup did is our own work, and nobody remembers it.
#[test]
fn behind_a_restore_nobody_is_said_to_have_changed_what_we_sent() {
    let first: String = (1..14).map(|number| person(number, "department: Sales\n") + "\n").collect();
    let world = World::new(&first, &[]);
    world.cycle(0, &["--initial"]);
    let backup = world.config().join("backup.redb");
    let name = backup.to_str().unwrap().to_owned();
    world.json(0, &["store", "backup", &name]);
    let second: String = (2..14).map(|number| person(number, "department: Research\n") + "\n").collect();
    world.write_directory(&second);
    let cycle = world.cycle(0, &[]);
    assert_eq!((counted(&cycle, "export-update"), counted(&cycle, "export-delete")), (12, 1), "{cycle:#}");
    world.json(0, &["store", "restore", &name]);
    let cycle = world.cycle(0, &[]);
    assert_no_drift(&world, &cycle);
    assert!(cycle.to_string().contains("not as remembered: "), "{cycle:#}");
    assert_eq!(exported(&cycle), 0, "{cycle:#}");
    assert_eq!(exported(&world.cycle(0, &["--initial"])), 0);
    world.check_store();
}
