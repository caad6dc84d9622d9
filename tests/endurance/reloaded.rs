//! What happens in a directory while the service takes over another configuration is not left until the next cycle is due.

use crate::labs;
use crate::served::{Served, comes};
use crate::world::World;

/// The looks for disabled accounts begin anew with every configuration, from what the directory holds then. Whoever was disabled
/// between two looks is found by a cycle that comes at once.
#[test]
fn a_changed_configuration_is_followed_by_a_cycle_where_accounts_can_be_disabled() {
    let lab = labs::up("samba-ad", &labs::recipe(40, 4, 2), &[]);
    let world = World::of_server(&lab, "ad", "corp");
    world.json(0, &["scheduler", "set", "--interval", "12h", "--near-real-time", "false"]);
    let service = Served::start(&world);
    let last = || world.json(0, &["scheduler", "show"])["last_success"].as_str().map(str::to_owned);
    assert!(comes(|| last().is_some()), "the first cycle did not end");
    // The first look may be followed by a cycle of its own.
    for deletes in ["11", "12", "13"] {
        let before = last();
        world.json(0, &["guard", "set", "--max-deletes", deletes]);
        assert!(comes(|| last() != before), "no cycle followed when {deletes} deletes were allowed");
    }
    service.stop();
}
