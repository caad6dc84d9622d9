//! A change in a directory that can tell of changes is in the tenant within seconds, although no cycle is due for an hour.

use crate::labs::{self, Lab};
use crate::served::{Served, comes};
use crate::world::World;
use std::time::Duration;
use syncline::context::{Clock as _, SystemClock};
use syncline::directory_generator::DirectoryRecipe;

/// Far below the hour after which the schedule would have done it, and enough for a busy machine. Usual are one or two
/// seconds from OpenLDAP; Samba itself tells up to five seconds late (lab: Active Directory facts).
const LONG_BEFORE: Duration = Duration::from_secs(45);

/// A world that reads such a directory, and by itself once an hour.
pub(crate) fn world(lab: &Lab, kind: &str) -> World {
    let world = World::of_server(lab, kind, "corp");
    world.json(0, &["scheduler", "set", "--interval", "1h"]);
    world
}

/// Gives somebody another value.
#[track_caller]
pub(crate) fn modify(lab: &Lab, dn: &str, attribute: &str, value: &str) {
    lab.modify(&format!("dn: {dn}\nchangetype: modify\nreplace: {attribute}\n{attribute}: {value}\n"));
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
        modify(lab, &dn, "displayName", &name);
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
