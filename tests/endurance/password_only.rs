//! The profile "password-only": people of the cloud get the password of their directory account and stay the cloud's own
//! in everything else, through full and delta cycles.

use crate::world::{World, counted, exported};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use syncline::directory_generator::{DirectoryRecipe, PasswordRecipe, PasswordState};

const USERS: u64 = 40;
/// "Invalid username or password".
const WRONG: u64 = 50_126;
/// What somebody of the cloud keeps.
const KEPT: &str = "id,userPrincipalName,displayName,givenName,jobTitle,mail,mobilePhone,businessPhones,otherMails,accountEnabled,\
                    onPremisesSyncEnabled,onPremisesImmutableId,proxyAddresses";

/// How a person of the cloud is found from the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    SignInName,
    Address,
    Anchor,
}

struct Person {
    /// In the directory.
    index: u64,
    /// The sign-in name in the cloud.
    name: String,
}

fn recipe(changed: u64) -> DirectoryRecipe {
    DirectoryRecipe { users: USERS, groups: 3, contacts: 2, passwords: Some(PasswordRecipe { changed }), ..DirectoryRecipe::default() }
}

/// The records of a directory, without the promise of their number: some are taken away later.
fn records(recipe: &DirectoryRecipe) -> Vec<String> {
    let mut text = Vec::new();
    recipe.write_ldif(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("# syncline:")).collect();
    lines.join("\n").trim().split("\n\n").map(str::to_owned).collect()
}

fn file(records: &[String]) -> String {
    format!("{}\n", records.join("\n\n"))
}

fn position(records: &[String], recipe: &DirectoryRecipe, index: u64) -> usize {
    let line = format!("\nuserPrincipalName: {}\n", recipe.user_principal_name(index));
    records.iter().position(|record| format!("{record}\n").contains(&line)).unwrap()
}

/// The value of a plain attribute.
fn value<'r>(record: &'r str, attribute: &str) -> Option<&'r str> {
    record.lines().find_map(|line| line.strip_prefix(attribute)?.strip_prefix(": "))
}

/// People with a password of their own that counts, enabled and with an address.
fn candidates(recipe: &DirectoryRecipe, records: &[String]) -> Vec<u64> {
    let fits = |index: &u64| {
        let record = &records[position(records, recipe, *index)];
        recipe.password_state(*index) == PasswordState::Good
            && value(record, "userAccountControl") == Some("512")
            && value(record, "mail").is_some()
    };
    (0..USERS).filter(fits).collect()
}

/// Somebody is made in the cloud, with values that the directory has otherwise.
fn make(world: &World, recipe: &DirectoryRecipe, records: &[String], index: u64, by: By) -> Person {
    let record = &records[position(records, recipe, index)];
    let own = format!("cloud.{index}@corp.example");
    let name = if by == By::SignInName { recipe.user_principal_name(index) } else { own };
    let mut user = json!({
        "accountEnabled": true, "displayName": format!("Cloud Name {index}"), "mailNickname": format!("cloud.{index}"),
        "userPrincipalName": name, "givenName": "Own", "jobTitle": "Kept", "mobilePhone": format!("+1 555 01{index:02}"),
        "businessPhones": [format!("+1 555 02{index:02}")], "otherMails": [format!("alias.{index}@elsewhere.example")],
        "passwordProfile": {"password": "Cloud-Only-1!", "forceChangePasswordNextSignIn": false},
    });
    if by != By::Address {
        user["proxyAddresses"] = json!([format!("SMTP:main.{index}@corp.example"), format!("smtp:second.{index}@corp.example")]);
    }
    match by {
        By::SignInName => {}
        By::Address => user["mail"] = value(record, "mail").unwrap().into(),
        By::Anchor => user["onPremisesImmutableId"] = STANDARD.encode(recipe.user_guid(index)).into(),
    }
    let (status, made) = world.graph(reqwest::Method::POST, "/users", Some(&user));
    assert_eq!(status, 201, "{made}");
    Person { index, name }
}

/// Everybody in the tenant, by sign-in name.
fn everybody(world: &World) -> BTreeMap<String, Value> {
    let (status, list) = world.graph(reqwest::Method::GET, &format!("/users?$select={KEPT}&$top=999"), None);
    assert_eq!(status, 200, "{list}");
    let users = list["value"].as_array().unwrap();
    users.iter().map(|user| (user["userPrincipalName"].as_str().unwrap().to_owned(), user.clone())).collect()
}

fn round(world: &World, code: i32) -> u64 {
    let report = world.json(code, &["phs", "run", "--once"]);
    report["directories"][0]["domains"].as_array().unwrap().iter().map(|domain| domain["sent"].as_u64().unwrap()).sum()
}

/// A cycle that writes nothing and makes and deletes nobody.
fn quiet(world: &World, arguments: &[&str]) -> Value {
    let cycle = world.cycle(0, arguments);
    assert_eq!((exported(&cycle), world.writes()), (0, 0), "{cycle:#}");
    cycle
}

#[test]
fn people_of_the_cloud_get_the_password_and_keep_the_rest() {
    let first = recipe(0);
    let mut directory = records(&first);
    let world = World::new(&file(&directory), &["--password-only-links"]);
    let main = world.config().join("syncline.toml");
    let text = std::fs::read_to_string(&main).unwrap();
    assert!(!text.contains("\n[rules]"));
    std::fs::write(&main, format!("{text}\n[rules]\nprofile = \"password-only\"\n")).unwrap();

    let chosen = candidates(&first, &directory);
    let ways = [By::SignInName, By::Address, By::Anchor, By::SignInName, By::Address, By::Anchor];
    let people: Vec<Person> = ways.iter().zip(&chosen).map(|(by, index)| make(&world, &first, &directory, *index, *by)).collect();
    let stranger = "nobody.of.the.directory@corp.example".to_owned();
    let made = json!({
        "accountEnabled": true, "displayName": "A Stranger", "mailNickname": "stranger", "userPrincipalName": stranger,
        "passwordProfile": {"password": "Cloud-Only-1!", "forceChangePasswordNextSignIn": false},
    });
    assert_eq!(world.graph(reqwest::Method::POST, "/users", Some(&made)).0, 201);
    let before = everybody(&world);
    world.json(0, &["phs", "enable"]);
    quiet(&world, &["--initial"]);
    assert_eq!(everybody(&world), before, "nobody is made, changed or deleted");
    for Person { index, name } in &people {
        assert_eq!(world.sign_in(name, &first.user_password(*index)), 0, "{name}");
        assert_eq!(world.sign_in(name, "Cloud-Only-1!"), WRONG, "{name}");
    }
    assert_eq!(world.sign_in(&stranger, "Cloud-Only-1!"), 0, "whom the directory does not know is left alone");
    let coverage = world.json(1, &["phs", "coverage", "--list"]);
    assert_eq!(coverage["confirmed"], people.len(), "{coverage:#}");
    let without: Vec<&Value> = coverage["accounts"].as_array().unwrap().iter().map(|one| &one["reason"]).collect();
    assert!(!without.is_empty() && without.iter().all(|reason| **reason == "no-target"), "{coverage:#}");

    // Cycles of both kinds, and edits in the cloud in between, which stay.
    let mut expected = before;
    for (turn, person) in people.iter().enumerate().take(3) {
        let change = json!({
            "displayName": format!("Edited {turn}"), "mobilePhone": format!("+1 555 77{turn}"), "jobTitle": null,
            "otherMails": [format!("edited.{turn}@elsewhere.example")],
        });
        let (status, answer) = world.graph(reqwest::Method::PATCH, &format!("/users/{}", person.name), Some(&change));
        assert_eq!(status, 204, "still the cloud's own: {answer}");
        for (name, value) in change.as_object().unwrap() {
            expected.get_mut(&person.name).unwrap()[name] = value.clone();
        }
        quiet(&world, if turn == 1 { &["--initial"] } else { &[] });
        assert_eq!(round(&world, 0), 0, "no password changed");
        assert_eq!(everybody(&world), expected, "turn {turn}");
        assert_eq!(world.sign_in(&person.name, &first.user_password(person.index)), 0);
    }

    // A password changes in the directory, with values that are none of the profile's business.
    let changed = recipe(people[2].index + 1);
    let new = records(&changed);
    for person in &people {
        let at = position(&directory, &first, person.index);
        directory[at] = new[at].replace("\ntelephoneNumber: ", "\ntelephoneNumber: 9");
    }
    world.write_directory(&file(&directory));
    assert_eq!(round(&world, 0), 3, "the first three, without a directory cycle");
    quiet(&world, &[]);
    assert_eq!(everybody(&world), expected);
    for person in &people {
        assert_eq!(world.sign_in(&person.name, &changed.user_password(person.index)), 0, "{}", person.name);
    }
    assert_eq!(world.sign_in(&people[0].name, &first.user_password(people[0].index)), WRONG);

    // Set anew in the cloud it counts there, until the directory has another one.
    let reset = json!({"passwordProfile": {"password": "From-The-Cloud-2!", "forceChangePasswordNextSignIn": false}});
    assert_eq!(world.graph(reqwest::Method::PATCH, &format!("/users/{}", people[3].name), Some(&reset)).0, 204);
    quiet(&world, &["--initial"]);
    assert_eq!(world.sign_in(&people[3].name, "From-The-Cloud-2!"), 0);
    world.json(0, &["phs", "push", &first.user_principal_name(people[3].index)]);
    assert_eq!(world.sign_in(&people[3].name, &changed.user_password(people[3].index)), 0);

    // Disabled in the directory, and deleted there: in the cloud nothing happens, and the last password goes on working.
    let (disabled, deleted) = (&people[4], &people[5]);
    let at = position(&directory, &first, disabled.index);
    directory[at] = directory[at].replace("\nuserAccountControl: 512", "\nuserAccountControl: 514");
    let gone = directory.remove(position(&directory, &first, deleted.index));
    world.write_directory(&file(&directory));
    for arguments in [&[][..], &["--initial"]] {
        let cycle = quiet(&world, arguments);
        assert_eq!(counted(&cycle, "provisioned-delete"), 0, "{cycle:#}");
        assert_eq!(round(&world, 0), 0);
        assert_eq!(everybody(&world), expected);
        for person in [disabled, deleted] {
            assert_eq!(world.sign_in(&person.name, &changed.user_password(person.index)), 0, "{}", person.name);
        }
    }
    let status = world.json(0, &["phs", "status", "--object", &first.user_principal_name(disabled.index)]);
    assert_eq!(status["in_scope"], false, "{status:#}");
    // Somebody of the directory comes back: the password is sent again.
    directory.push(gone);
    world.write_directory(&file(&directory));
    quiet(&world, &[]);
    assert_eq!(world.sign_in(&deleted.name, &changed.user_password(deleted.index)), 0);
    let status = world.json(0, &["phs", "status", "--object", &first.user_principal_name(deleted.index)]);
    assert_eq!((&status["status"], &status["current"]), (&json!("Success"), &json!(true)), "{status:#}");
    world.check_store();
}

/// Without the tenant's leave, as with the real service: each account is refused, and nothing else happens.
#[test]
fn a_tenant_like_the_real_service_refuses_accounts_that_it_masters() {
    let first = recipe(0);
    let directory = records(&first);
    let world = World::new(&file(&directory), &[]);
    let main = world.config().join("syncline.toml");
    let text = std::fs::read_to_string(&main).unwrap();
    std::fs::write(&main, format!("{text}\n[rules]\nprofile = \"password-only\"\n")).unwrap();
    let index = candidates(&first, &directory)[0];
    let person = make(&world, &first, &directory, index, By::SignInName);
    let before = everybody(&world);
    world.json(0, &["phs", "enable"]);
    let cycle = world.cycle(0, &["--initial"]);
    assert_eq!((exported(&cycle), everybody(&world)), (0, before), "{cycle:#}");
    assert_eq!((world.sign_in(&person.name, "Cloud-Only-1!"), world.sign_in(&person.name, &first.user_password(index))), (0, WRONG));
    let status = world.json(0, &["phs", "status", "--object", &person.name]);
    assert_eq!((&status["status"], &status["code"]), (&json!("Error"), &json!(2)), "{status:#}");
    assert!(status["detail"].as_str().is_some_and(|detail| detail.contains("cloud")), "{status:#}");
    let missing = world.json(1, &["phs", "coverage", "--reason", "error"]);
    assert_eq!(missing["accounts"].as_array().unwrap().len(), 1, "{missing:#}");
}
