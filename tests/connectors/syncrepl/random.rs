//! Changes of every kind at random, over many delta imports. `SYNCLINE_SYNC_SEED`, `SYNCLINE_SYNC_CYCLES` and
//! `SYNCLINE_SYNC_CHANGES` (per cycle) make it another or a longer life.

use super::world::{BASE, World, modify, person, remove, rename};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

#[expect(clippy::disallowed_methods, reason = "the length of a test is its runner's business")]
fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// The directory as the server shows it now.
struct Seen {
    people: Vec<String>,
    groups: Vec<String>,
    /// Below them people may live; the first ones stay where they are.
    containers: Vec<String>,
}

const FIXED: [&str; 4] = ["OU=People", "OU=Outside", "OU=Secret,OU=People", "OU=Teams,OU=People"];

impl Seen {
    fn look(world: &World) -> Self {
        let all = world.lab.search(BASE, "(objectClass=*)", &["objectClass"]);
        let of = |class: &str| {
            let has =
                |classes: &std::collections::BTreeSet<Vec<u8>>| classes.iter().any(|octets| octets.eq_ignore_ascii_case(class.as_bytes()));
            all.iter()
                .filter(|(_, entry)| entry.get("objectClass").is_some_and(&has))
                .map(|(dn, _)| dn[..dn.len() - BASE.len() - 1].to_owned())
                .filter(|dn| !dn.contains("Service") && !dn.contains("svc_"))
                .collect::<Vec<_>>()
        };
        let mut containers: Vec<String> = FIXED.map(str::to_owned).to_vec();
        let units = of("organizationalUnit").into_iter().filter(|dn| dn.to_lowercase().starts_with("ou=unit"));
        containers.extend(units);
        Self { people: [of("user"), of("contact")].concat(), groups: of("group"), containers }
    }
}

/// One change, as a record. It may be refused: names collide, and parents move below their children.
fn change(random: &mut StdRng, seen: &Seen, fresh: &mut u64) -> String {
    *fresh += 1;
    let fresh = *fresh;
    let mut pick = |list: &[String]| list.choose(random).cloned().unwrap_or_else(|| "CN=nobody".to_owned());
    let (somebody, other) = (pick(&seen.people), pick(&seen.people));
    let (group, container, elsewhere) = (pick(&seen.groups), pick(&seen.containers), pick(&seen.containers));
    let unit = seen.containers[FIXED.len()..].choose(random).cloned().unwrap_or_else(|| "OU=unit0".to_owned());
    match random.random_range(0..18) {
        0 | 1 => person(&format!("new{fresh}"), &container),
        2 | 3 => remove(&somebody),
        4 => modify(&somebody, &format!("replace: sn\nsn: name {fresh}")),
        5 => modify(&somebody, "replace: description"),
        6 => modify(&somebody, &format!("add: proxyAddresses\nproxyAddresses: smtp:a{fresh}@x\nproxyAddresses: smtp:b{fresh}@x")),
        7 => modify(&somebody, &format!("replace: manager\nmanager: {other},{BASE}")),
        8 => rename(&somebody, &format!("CN=other{fresh}"), None),
        9 | 10 => rename(&somebody, &format!("CN=moved{fresh}"), Some(&container)),
        11 => modify(&somebody, &format!("replace: objectClass\nobjectClass: {}", ["user", "contact", "person"].choose(random).unwrap())),
        12 | 13 => modify(&group, &format!("add: member\nmember: {somebody},{BASE}")),
        14 => modify(&group, "delete: member"),
        15 => format!("dn: OU=unit{fresh},{container},{BASE}\nchangetype: add\nobjectClass: organizationalUnit\n\n"),
        16 => rename(&unit, &format!("OU=unit{fresh}"), Some(&elsewhere)),
        _ => remove(&somebody) + &format!("dn: {somebody},{BASE}\nchangetype: add\nobjectClass: user\nsn: again {fresh}\n\n"),
    }
}

fn live(flags: &[&str], seed: u64) {
    let (cycles, changes) = (number("SYNCLINE_SYNC_CYCLES", 6), number("SYNCLINE_SYNC_CHANGES", 25));
    let seed = number("SYNCLINE_SYNC_SEED", seed);
    let world = World::selecting(flags);
    world.full();
    let mut random = StdRng::seed_from_u64(seed);
    let (mut fresh, mut done) = (0, 0);
    for cycle in 0..cycles {
        let mut seen = Seen::look(&world);
        let mut left = changes;
        while left > 0 {
            // Some at a time, so that later ones meet what earlier ones left.
            let some = left.min(8);
            let records: Vec<String> = (0..some).map(|_| change(&mut random, &seen, &mut fresh)).collect();
            let (_, said) = world.try_change(&records.concat());
            done += some.saturating_sub(said.matches("ldap_").count() as u64);
            left -= some;
            seen = Seen::look(&world);
        }
        if random.random_range(0..5) == 0 {
            world.restart();
        }
        let run = world.try_delta().unwrap();
        assert_eq!(run.result, "success", "seed {seed}, cycle {cycle}: {run:?}");
        world.assert_as_fresh(&format!("seed {seed}, cycle {cycle}: {run:?}"));
    }
    assert!(done * 2 > cycles * changes, "most changes were refused: {done}");
}

#[test]
fn any_life_of_a_directory_is_followed() {
    live(&["--sessionlog", "10000"], 20_261);
}

#[test]
fn any_life_is_followed_with_a_short_memory() {
    live(&["--sessionlog", "8"], 20_262);
}
