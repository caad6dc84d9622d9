//! Somebody is shut out of a real domain that tells the service of nothing: the cloud shuts them out long before the next cycle, which
//! is an hour away. That it is within two minutes is held on a clock that no other load disturbs (`endurance`, `disabled_in_time`).

use crate::PEOPLE;
use crate::world::{VERIFIED, World};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// Far from the next cycle, and enough for a machine that has other things to do.
const LONG_BEFORE: Duration = Duration::from_mins(15);

struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn whoever_is_disabled_is_disabled_in_the_cloud_long_before_the_next_cycle() {
    let world = World::new(20, 2, 1);
    let name = format!("shut.out@{VERIFIED}");
    let dn = format!("CN=Shut Out,{PEOPLE}");
    world.modify(&format!(
        "dn: {dn}\nchangetype: add\nobjectClass: user\ncn: Shut Out\nsAMAccountName: shut.out\ndisplayName: Shut Out\n\
         userPrincipalName: {name}\nuserAccountControl: 544\n"
    ));
    world.cycle(&["--initial"]);
    let enabled = || world.graph(&format!("/users/{name}?$select=accountEnabled")).map(|user| user["accountEnabled"] == true);
    assert_eq!(enabled(), Some(true));
    let main = world.config().join("syncline.toml");
    let text = std::fs::read_to_string(&main).unwrap();
    std::fs::write(&main, format!("{text}\n[scheduler]\ninterval = \"1h\"\nnear_real_time = false\n")).unwrap();
    let served = Served(world.command(&["serve"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    // It has to stand at its post: what happens before that is the next cycle's affair.
    sleep(Duration::from_secs(10));
    world.modify(&format!("dn: {dn}\nchangetype: modify\nreplace: userAccountControl\nuserAccountControl: 546\n"));
    let mut waited = Duration::ZERO;
    while enabled() == Some(true) {
        assert!(waited < LONG_BEFORE, "still enabled in the cloud after {waited:?}");
        sleep(Duration::from_secs(1));
        waited += Duration::from_secs(1);
    }
    assert_eq!(enabled(), Some(false));
    drop(served);
}
