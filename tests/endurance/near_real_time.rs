//! A change in a directory that can tell of changes is in the tenant within seconds, although no cycle is due for an hour.

use crate::labs::{self, Lab};
use crate::served::{Served, comes};
use crate::world::World;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;
use syncline::context::{Clock as _, SystemClock};
use syncline::directory_generator::DirectoryRecipe;

/// Far below the hour after which the schedule would have done it, and enough for a busy machine. Usual are one or two
/// seconds from OpenLDAP; Samba itself tells up to five seconds late (lab: Active Directory facts).
const LONG_BEFORE: Duration = Duration::from_secs(45);

/// A world that reads such a directory, and by itself once an hour.
pub(crate) fn world(lab: &Lab, kind: &str) -> World {
    let world = World::with_source(&[], |folder| {
        let password = folder.join("password");
        std::fs::write(&password, lab.text("password")).unwrap();
        let mut flags = vec![
            ("--source", kind),
            ("--name", "corp"),
            ("--url", lab.text("ldaps")),
            ("--ca-file", lab.text("ca")),
            ("--bind-name", lab.text("bind_name")),
            ("--secret-file", password.to_str().unwrap()),
            ("--domain", "corp.example"),
        ];
        if kind == "ldap" {
            flags.push(("--base", lab.text("base")));
        }
        flags.iter().flat_map(|(flag, value)| [(*flag).to_owned(), (*value).to_owned()]).collect()
    });
    if kind == "ldap" {
        // The people of the test directory have the classes of Active Directory.
        let path = world.connector_file("10-");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{text}\n[selection]\nobject_types = [\"user\", \"group\", \"contact\"]\n")).unwrap();
    }
    world.json(0, &["scheduler", "set", "--interval", "1h"]);
    world
}

/// Gives somebody another value, as the directory's administrator.
pub(crate) fn modify(lab: &Lab, kind: &str, dn: &str, attribute: &str, value: &str) {
    let password = if kind == "ad" { "admin_password" } else { "password" };
    let mut child = Command::new("ldapmodify")
        .env("LDAPTLS_CACERT", lab.text("ca"))
        .args(["-x", "-H", lab.text("ldaps"), "-D", lab.text("admin_name"), "-w", lab.text(password)])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ldapmodify is missing; run tools/lab/install as root");
    let ldif = format!("dn: {dn}\nchangetype: modify\nreplace: {attribute}\n{attribute}: {value}\n");
    child.stdin.take().unwrap().write_all(ldif.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}\n{ldif}", String::from_utf8_lossy(&output.stderr));
}

/// Changes people one after the other, and tells how long each took to arrive.
fn arrives_soon(lab: &Lab, kind: &str, recipe: &DirectoryRecipe) -> Vec<Duration> {
    let world = world(lab, kind);
    let service = Served::start(&world);
    let settled = || {
        let shown = world.json(0, &["scheduler", "show"]);
        shown["last_success"].is_string() && shown["running"].is_null() && world.json(0, &["connector", "list"])["connectors"].is_array()
    };
    assert!(comes(|| world.accepted() >= recipe.users) && comes(settled), "the first cycle did not end");
    let clock = SystemClock::new();
    let mut took = Vec::new();
    // The plain letters of a name need no encoding in the change.
    let people = (0..recipe.users).map(|index| recipe.user_dn(index)).filter(|dn| dn.is_ascii() && !dn.contains('\\'));
    for (number, dn) in people.take(3).enumerate() {
        let name = format!("Arrived In Time {number}");
        modify(lab, kind, &dn, "displayName", &name);
        let began = clock.elapsed();
        assert!(comes(|| world.tenant_state().iter().any(|line| line.contains(&name))), "{name} did not arrive by itself");
        took.push(clock.elapsed().saturating_sub(began));
    }
    service.stop();
    assert!(!took.is_empty() && took.iter().all(|time| *time < LONG_BEFORE), "{took:?}");
    took
}

#[test]
fn a_change_in_openldap_is_there_within_seconds() {
    let recipe = labs::recipe(40, 4, 2);
    let took = arrives_soon(&labs::up("openldap", &recipe, &[]), "ldap", &recipe);
    println!("changes in OpenLDAP arrived after {took:.1?}");
}

#[test]
fn a_change_in_active_directory_is_there_within_seconds() {
    let recipe = labs::recipe(40, 4, 2);
    let took = arrives_soon(&labs::up("samba-ad", &recipe, &[]), "ad", &recipe);
    println!("changes in Samba arrived after {took:.1?}");
}
