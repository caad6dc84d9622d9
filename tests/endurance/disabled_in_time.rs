//! Somebody is shut out of a directory that tells the service of nothing: the cloud shuts them out within two minutes of the service's
//! clock, whichever moment it was, although the next cycle is an hour away.

use crate::labs::{self, Lab};
use crate::life::{LOOK_EVERY, Life};
use crate::near_real_time::{modify, world};
use crate::served::comes;
use crate::world::World;
use reqwest::Method;
use std::time::Duration;
use syncline::config::{Config, set_key};

/// What is promised.
const PROMISED: Duration = Duration::from_mins(2);
/// The supervisor, who looks for disabled accounts, and who looks at the configuration.
const RESIDENTS: usize = 3;
/// From one look at the directory to the next; while a connection is made, somebody waits for less.
const LOOKS: Duration = Duration::from_mins(1);

/// Whether the cloud lets somebody in.
fn enabled(world: &World, name: &str) -> bool {
    let (status, user) = world.graph(Method::GET, &format!("/users/{name}?$select=accountEnabled"), None);
    assert_eq!(status, 200, "{user}");
    user["accountEnabled"].as_bool().unwrap()
}

/// Waits until the service has nothing to do but wait. Nothing that it does here waits for time to pass, so no time passes meanwhile.
fn rests(life: &Life) -> Duration {
    let mut rested = Duration::ZERO;
    assert!(
        comes(|| {
            std::thread::sleep(LOOK_EVERY);
            let look = life.clock.look();
            rested = look.elapsed;
            look.sleepers == RESIDENTS && life.service().running().is_none()
        }),
        "the service does not come to rest: {:?}",
        life.clock.look()
    );
    rested
}

/// Shuts somebody out, and tells how long the cloud let them in on the service's clock.
fn shut_out(life: &Life, world: &World, lab: &Lab, dn: &str, name: &str) -> Duration {
    assert!(enabled(world, name), "{name}");
    let began = rests(life);
    modify(lab, dn, "userAccountControl", "514");
    loop {
        let now = rests(life);
        let passed = now.saturating_sub(began);
        if !enabled(world, name) {
            return passed;
        }
        assert!(passed < PROMISED, "{name} is still enabled in the cloud after {passed:?}");
        life.clock.leap(began + PROMISED);
    }
}

#[test]
fn whoever_is_disabled_is_disabled_in_the_cloud_within_two_minutes() {
    let recipe = labs::recipe(30, 1, 1);
    let lab = labs::up("samba-ad", &recipe, &[]);
    let world = world(&lab, "ad");
    let folder = world.config();
    set_key(&folder, &folder.join("syncline.toml"), "scheduler", "near_real_time", false).unwrap();
    world.cycle(0, &["--initial"]);
    let people = (0..recipe.users).map(|index| (recipe.user_dn(index), recipe.user_principal_name(index)));
    let people: Vec<_> = people.filter(|(dn, name)| dn.is_ascii() && !dn.contains('\\') && enabled(&world, name)).take(3).collect();
    assert_eq!(people.len(), 3);

    let life = Life::begin(Config::load(&folder).unwrap(), RESIDENTS);
    // Whoever begins to look has a cycle run first, a moment later: that moment has to pass.
    let at_post = || {
        let look = life.clock.look();
        let Some(next) = look.next.filter(|_| look.sleepers == RESIDENTS) else { return false };
        if next > look.elapsed + LOOKS / 2 {
            return true;
        }
        life.clock.leap(next);
        false
    };
    assert!(comes(at_post), "nobody looks for disabled accounts: {:?}", life.clock.look());
    let mut took = Vec::new();
    for (number, (dn, name)) in people.iter().enumerate() {
        // At a look, and at moments between two of them.
        let until = life.clock.look().elapsed + Duration::from_secs(25) * u32::try_from(number).unwrap();
        while rests(&life) < until {
            life.clock.leap(until);
        }
        took.push(shut_out(&life, &world, &lab, dn, name));
    }
    life.end();
    assert!(took.iter().all(|passed| *passed <= PROMISED), "{took:?}");
    println!("disabled in the directory, disabled in the cloud after {took:.1?} on the service's clock");
}
