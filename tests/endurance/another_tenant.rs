//! Rehearsed with one tenant and then pointed at another one: nothing that was read from the first, sent to it or approved for it
//! counts for the second; and nothing is forgotten before a person says so, least of all for a slip in the file.

use crate::served::comes;
use crate::world::{World, counted, exported};
use serde_json::Value;
use syncline::directory_generator::{DirectoryRecipe, PasswordRecipe, PasswordState};
use syncline::model::ConnectorId;
use syncline::store::{ChangeSet, Store, StoreOptions};

const USERS: u64 = 30;
const EMBEDDED: &str = "kind = \"entra\"\nname = \"Entra\"\ntenant = \"embedded\"\n[embedded]\nverified_domains = [\"corp.example\"]\n";

fn recipe() -> DirectoryRecipe {
    DirectoryRecipe { users: USERS, groups: 3, contacts: 2, passwords: Some(PasswordRecipe { changed: 0 }), ..DirectoryRecipe::default() }
}

/// The steps that a document has of a connector, with their messages.
fn said(cycle: &Value, connector: &str) -> String {
    let runs = cycle["runs"].as_array().unwrap().iter().filter(|run| run["connector"] == connector);
    runs.map(Value::to_string).collect::<Vec<_>>().join("\n")
}

/// Somebody looks at what would be forgotten of the former tenant, and decides.
fn forgets_the_former(world: &World, objects: u64, deletes: u64) {
    let code = i32::from(deletes > 0);
    let shown = world.json(code, &["cs", "clear", "Entra", "--what-if"]);
    assert_eq!((&shown["objects"], &shown["deletes"]), (&objects.into(), &deletes.into()), "{shown:#}");
    assert!(shown["former_tenant"].is_string(), "{shown:#}");
    world.json(5, &["cs", "clear", "Entra"]);
    world.json(code, &["cs", "clear", "Entra", "--force"]);
}

#[test]
fn a_rehearsal_says_nothing_about_the_real_tenant() {
    let recipe = recipe();
    let mut text = Vec::new();
    recipe.write_ldif(&mut text).unwrap();
    let world = World::new(&String::from_utf8(text).unwrap(), &[]);
    let file = world.connector_file("90-");
    let real = std::fs::read_to_string(&file).unwrap();
    world.set_first_export("approved");
    // Its switch is on before anybody comes: nothing but what is forgotten has passwords sent again.
    world.put("/features", &serde_json::json!({"set": {"passwordSyncEnabled": true}}));
    std::fs::write(&file, EMBEDDED).unwrap();
    world.json(0, &["phs", "enable"]);
    let rehearsed = world.cycle(0, &["--initial"]);
    assert_eq!(counted(&rehearsed, "export-add"), USERS + 5, "{rehearsed:#}");
    assert_eq!(exported(&world.cycle(0, &[])), 0);
    // Somebody leaves, and the delete waits.
    world.json(0, &["config", "set", "guard.max_deletes", "0"]);
    let directory = std::fs::read_to_string(world.directory_file()).unwrap();
    let lines: Vec<&str> = directory.lines().filter(|line| !line.starts_with("# syncline:")).collect();
    let mut records: Vec<String> = lines.join("\n").trim().split("\n\n").map(str::to_owned).collect();
    let gone = records.iter().rposition(|record| record.contains("objectClass: user")).unwrap();
    records.remove(gone - 3);
    world.write_directory(&(records.join("\n\n") + "\n"));
    world.cycle(5, &[]);
    let rehearsed_plan = world.json(5, &["export", "--what-if"])["targets"][0]["plan"].as_str().unwrap().to_owned();

    // Now the real one. Before any run it is said, and what was looked at approves nothing.
    std::fs::write(&file, &real).unwrap();
    let status = world.json(2, &["status"]).to_string();
    assert!(status.contains("Entra leads to ") && status.contains("is about the embedded tenant"), "{status}");
    world.json(4, &["export", "--approve", &rehearsed_plan]);
    world.clear("/traffic");
    let held = world.json(2, &["phs", "run", "--once"]);
    assert_eq!(held["directories"][0]["held"], "another-tenant", "{held:#}");
    // It answers and is left alone, and nothing is lost.
    for _ in 0..2 {
        let refused = world.cycle(4, &[]);
        let told = said(&refused, "Entra");
        for part in ["no-start-configuration", "leads to another tenant", "is about the embedded tenant", "36 objects, 1 that waits"] {
            assert!(told.contains(part), "{part}: {refused:#}");
        }
    }
    world.json(4, &["export", "Entra"]);
    assert_eq!(world.writes(), 0);
    let status = world.json(2, &["status"]).to_string();
    assert!(status.contains("Entra leads to another tenant") && status.contains("cs clear 'Entra' --what-if"), "{status}");
    forgets_the_former(&world, 36, 1);
    let cycle = world.cycle(5, &[]);
    let told = said(&cycle, "Entra");
    for part in ["stopped-by-review", "Full Import", "it is another tenant than before", "before it was the embedded tenant", "36 objects"]
    {
        assert!(told.contains(part), "{part}: {cycle:#}");
    }
    assert_eq!(world.writes(), 0, "nothing was sent: {cycle:#}");
    let shown = world.json(5, &["export", "--what-if"])["targets"][0].clone();
    assert_eq!((&shown["adds"], &shown["deletes"]), (&(USERS + 4).into(), &0.into()), "{shown:#}");
    assert_eq!(shown["awaits_approval"], true, "{shown:#}");
    world.json(0, &["export", "--approve", shown["plan"].as_str().unwrap()]);
    let sent = world.cycle(0, &[]);
    assert_eq!((counted(&sent, "export-add"), counted(&sent, "export-delete")), (USERS + 4, 0), "{sent:#}");
    assert_eq!(exported(&world.cycle(0, &[])), 0);
    // Passwords were known to be sent to the other one only.
    let somebody = (0..USERS).find(|index| recipe.password_state(*index) == PasswordState::Good).unwrap();
    world.json(0, &["phs", "run", "--once"]);
    assert!(comes(|| world.sign_in(&recipe.user_principal_name(somebody), &recipe.user_password(somebody)) == 0));
    world.check_store();

    // And back, by a decision again: everybody is found there and joined, nobody is deleted, also not who left meanwhile.
    std::fs::write(&file, EMBEDDED).unwrap();
    forgets_the_former(&world, 35, 0);
    let back = world.cycle(1, &[]);
    assert!(back["warnings"].to_string().contains("1 object belongs to nobody here"), "{back:#}");
    assert_eq!((counted(&back, "export-add"), counted(&back, "export-delete")), (0, 0), "{back:#}");
    // Groups of the directory still name who left: as long as that is so, nobody takes them out of the tenant's.
    let again = world.cycle(1, &[]);
    assert_eq!(exported(&again), 0, "{again:#}");
    assert!(again.to_string().contains("names and nobody is"), "{again:#}");
    world.check_store();
}

/// The folder of the rehearsal is thrown away: the tenant in it that is made anew is another one.
#[test]
fn a_tenant_that_is_made_anew_gets_everybody() {
    let world = World::new(&crate::world::people(12, 2, 1), &[]);
    let file = world.connector_file("90-");
    std::fs::write(&file, EMBEDDED).unwrap();
    assert_eq!(counted(&world.cycle(0, &["--initial"]), "export-add"), 15);
    std::fs::remove_dir_all(world.config().join("tenant")).unwrap();
    assert!(said(&world.cycle(4, &[]), "Entra").contains("leads to another tenant"));
    forgets_the_former(&world, 16, 0);
    let cycle = world.cycle(0, &[]);
    assert_eq!((counted(&cycle, "export-add"), counted(&cycle, "export-delete")), (15, 0), "{cycle:#}");
    world.check_store();
}

/// Which tenant the store is about cannot be read any more: nobody is taken for the one before a person has decided.
#[test]
fn a_tenant_that_nobody_knows_any_more_is_left_alone() {
    let world = World::new(&crate::world::people(12, 2, 1), &[]);
    world.cycle(0, &["--initial"]);
    let entra = world.json(0, &["cs", "search", "Entra"])["objects"][0]["id"].as_str().unwrap().to_owned();
    let entra = ConnectorId(entra.split('.').next().unwrap().parse().unwrap());
    let store = Store::open(&world.config().join("syncline.redb"), StoreOptions::default()).unwrap();
    let mut changes = ChangeSet::new();
    changes.states.push((entra, "belief".to_owned(), Some(b"nonsense".to_vec())));
    store.apply(changes).unwrap();
    drop(store);
    let refused = said(&world.cycle(4, &[]), "Entra");
    assert!(refused.contains("no-start-configuration") && refused.contains("nobody knows any more"), "{refused}");
    let status = world.json(2, &["status"]).to_string();
    assert!(status.contains("nobody knows any more") && status.contains("cs clear 'Entra' --what-if"), "{status}");
    forgets_the_former(&world, 16, 0);
    let joined = world.cycle(0, &[]);
    assert_eq!(exported(&joined), 0, "{joined:#}");
    world.check_store();
}

/// A slip in the connector's file leads nowhere or to the same tenant by another name: nothing is forgotten, whatever runs meanwhile.
#[test]
fn a_slip_in_the_file_costs_nothing() {
    let world = World::new(&crate::world::people(12, 2, 1), &[]);
    world.cycle(0, &["--initial"]);
    // A delete waits, and somebody was parted by hand.
    let file = world.connector_file("90-");
    let right = std::fs::read_to_string(&file).unwrap();
    let parted = world.json(0, &["cs", "search", "Entra"])["objects"][0]["id"].as_str().unwrap().to_owned();
    world.json(0, &["cs", "disconnect", &parted, "--explicit"]);
    world.cycle(0, &[]);
    world.json(0, &["config", "set", "guard.max_deletes", "0"]);
    let directory = std::fs::read_to_string(world.directory_file()).unwrap();
    let lines: Vec<&str> = directory.lines().filter(|line| !line.starts_with("# syncline:")).collect();
    let mut records: Vec<String> = lines.join("\n").trim().split("\n\n").map(str::to_owned).collect();
    let gone = records.iter().rposition(|record| record.contains("objectClass: user")).unwrap();
    records.remove(gone);
    world.write_directory(&(records.join("\n\n") + "\n"));
    world.cycle(5, &[]);
    let known = || {
        let mut known = world.json(1, &["cs", "clear", "Entra", "--what-if"]);
        known.as_object_mut().unwrap().remove("former_tenant");
        known
    };
    let before = known();
    assert_eq!((&before["deletes"], &before["by_hand"]), (&1.into(), &1.into()), "{before:#}");

    let line = |key: &str| right.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
    let (tenant, address) = (line("tenant"), line("provisioning_url"));
    for slip in [
        // Nobody is there, or nobody of that name.
        right.replace(&address, "provisioning_url = \"http://127.0.0.1:9/provisioningservice.svc\""),
        right.replace(&tenant, "tenant = \"cotnoso.example\""),
    ] {
        assert_ne!(slip, right);
        std::fs::write(&file, slip).unwrap();
        world.json(0, &["run", "start", "corp", "full-import"]);
        world.json(4, &["run", "start", "Entra", "full-import"]);
        world.json(4, &["run", "start", "Entra", "export"]);
        assert_eq!(known(), before);
    }
    // One of its domains is another spelling of the same tenant.
    std::fs::write(&file, right.replace(&tenant, "tenant = \"corp.example\"")).unwrap();
    world.cycle(5, &[]);
    assert_eq!(known(), before);
    std::fs::write(&file, &right).unwrap();
    world.json(0, &["config", "set", "guard.max_deletes", "500"]);
    let healed = world.cycle(0, &[]);
    assert_eq!((counted(&healed, "export-delete"), counted(&healed, "export-add")), (1, 0), "{healed:#}");
    world.check_store();
}
