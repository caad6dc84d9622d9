//! People of the cloud that an export would take over: shown before it happens, with what it does to their values; and those whom
//! the tenant never lets anybody take over.

use crate::world::{World, exported, people};
use serde_json::{Value, json};

const PEOPLE: &str = include_str!("../cli/people.ldif");

fn world() -> World {
    let world = World::new(PEOPLE, &[]);
    let user = |name: &str, display: &str, more: Value| {
        let mut user = json!({
            "accountEnabled": true, "displayName": display, "mailNickname": name, "userPrincipalName": format!("{name}@corp.example"),
            "passwordProfile": {"password": "Cloud-Only-1!", "forceChangePasswordNextSignIn": false},
        });
        user.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (status, made) = world.graph(reqwest::Method::POST, "/users", Some(&user));
        assert_eq!(status, 201, "{made}");
    };
    user("ada", "Cloud Ada", json!({"department": "Elsewhere", "jobTitle": "Kept"}));
    user("emil", "Cloud Emil", json!({}));
    user("stranger", "Nobody of ours", json!({}));
    world
}

/// Reads and evaluates everything, and sends nothing.
fn prepare(world: &World) {
    for (connector, profile) in [("corp", "full-import"), ("Entra", "full-import"), ("corp", "full-sync"), ("Entra", "full-sync")] {
        world.json(0, &["run", "start", connector, profile]);
    }
}

fn found<'v>(view: &'v Value, name: &str) -> &'v Value {
    let objects = view["objects"].as_array().unwrap();
    objects.iter().find(|object| object["user_principal_name"] == name).unwrap_or_else(|| panic!("{name}: {view:#}"))
}

#[test]
fn take_overs_are_shown_before_they_happen() {
    let mut world = world();
    let (_, emil) = world.graph(reqwest::Method::GET, "/users/emil@corp.example", None);
    world.admin_patch("/objects/emil@corp.example", &json!({"roles": ["Global Administrator"]}));
    prepare(&world);
    let shown = world.json(0, &["export", "--what-if"]);
    let view = &shown["targets"][0]["take_overs"];
    assert_eq!((&view["taken_over"], &view["refused"], &view["kept_aside"]), (&1.into(), &1.into(), &0.into()), "{view:#}");
    // Counts, lists, roles and their holders: not one for each object.
    assert!(view["requests"].as_u64().unwrap() <= 8, "{view:#}");

    let ada = found(view, "ada@corp.example");
    assert_eq!((&ada["fate"], &ada["key"]), (&"taken-over".into(), &"user-principal-name".into()), "{ada:#}");
    assert_eq!(ada["cloud_display_name"], "Cloud Ada");
    let change = |name: &str| {
        let changes = ada["overwritten"].as_array().unwrap();
        changes.iter().find(|change| change["attribute"] == name).map(|change| (change["cloud"].clone(), change["wanted"].clone()))
    };
    assert_eq!(change("displayName"), Some((json!(["Cloud Ada"]), json!(["Ada Byron"]))), "{ada:#}");
    assert_eq!(change("department"), Some((json!(["Elsewhere"]), json!(["Engines"]))));
    assert_eq!(change("title"), None, "what the directory has no value for stays");

    // Whoever holds a role is never matched by name: told beforehand, with both objects.
    let admin = found(view, "emil@corp.example");
    assert_eq!((&admin["fate"], &admin["cloud_id"]), (&"refused".into(), &emil["id"]), "{admin:#}");
    assert_eq!(admin["roles"], json!(["Global Administrator"]));

    let page = world.config().join("plan.html");
    let output = world.syncline(&["export", "--what-if", "--html", page.to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("taken-over") && text.contains("- displayName: Cloud Ada") && text.contains("1 taken over, 1 refused"), "{text}");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("Cloud Ada") && page.contains("Global Administrator"), "{page}");

    // Without an answer nothing is said as if there were none.
    world.kill_tenant();
    let silent = world.json(0, &["export", "--what-if"]);
    let problem = silent["targets"][0]["take_overs"]["problem"].as_str().unwrap().to_owned();
    let output = world.syncline(&["export", "--what-if"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("Take-overs could not be looked up:"), "{told}\n{problem}");
    world.start_tenant();

    // What was foretold happens: nobody twice, nobody deleted, and the refusal names both.
    let output = world.syncline(&["--json", "cycle", "start"]);
    let cycle: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(exported(&cycle) > 0, "{cycle:#}");
    let (_, taken) = world.graph(reqwest::Method::GET, "/users/ada@corp.example?$select=displayName,jobTitle,onPremisesSyncEnabled", None);
    assert_eq!((&taken["displayName"], &taken["jobTitle"]), (&"Ada Byron".into(), &"Kept".into()), "{taken}");
    assert_eq!(taken["onPremisesSyncEnabled"], true);
    let errors = world.json(0, &["errors"]).to_string();
    assert!(errors.contains("ExistingAdminRoleConflict") && errors.contains(emil["id"].as_str().unwrap()), "{errors}");
    assert!(errors.contains("emil@corp.example"), "{errors}");
    let (_, kept) = world.graph(reqwest::Method::GET, "/users/emil@corp.example?$select=displayName,onPremisesSyncEnabled", None);
    assert_eq!((&kept["displayName"], &kept["onPremisesSyncEnabled"]), (&"Cloud Emil".into(), &Value::Null));
}

/// A whole directory costs a count and a list for each type, not a request for each person.
#[test]
fn many_new_objects_are_looked_up_in_few_requests() {
    let world = World::new(&people(1_500, 20, 10), &[]);
    prepare(&world);
    let shown = world.json(0, &["export", "--what-if", "--limit", "1"]);
    let view = &shown["targets"][0]["take_overs"];
    assert_eq!((&view["taken_over"], &view["problem"]), (&0.into(), &Value::Null), "{view:#}");
    assert!(view["requests"].as_u64().unwrap() <= 6, "{view:#}");
}
