//! The bell: it rings when something changed, at the beginning and at the end of many changes, and says when it is deaf.

use super::world::{World, person};
use futures_util::StreamExt as _;
use std::time::Duration;
use syncline::connector::{Connector as _, ConnectorErrorKind};
use syncline::context::Context;

#[test]
fn changes_ring_a_few_times_however_many_they_are() {
    let world = World::new(&["--sessionlog", "100"]);
    let cx = Context::system();
    let mut bell = world.block_on(world.connector(&world.store).watch(&cx)).unwrap().unwrap();
    let mut rings = |seconds| world.block_on(async { tokio::time::timeout(Duration::from_secs(seconds), bell.next()).await });
    assert!(rings(3).is_err(), "nothing changed");
    for round in 0..2 {
        let many: String = (0..30).map(|number| person(&format!("p{round}-{number}"), "OU=People")).collect();
        world.change(&many);
        assert!(matches!(rings(20), Ok(Some(Ok(())))));
        // The end of the burst; twice if the machine was busy.
        let more = (0..30).take_while(|_| rings(2).is_ok()).count();
        assert!(more <= 3, "{more} times for one burst");
    }
    world.stop();
    let Ok(Some(Err(error))) = rings(20) else { panic!("nobody was told that the connection is lost") };
    assert_eq!(error.kind, ConnectorErrorKind::Dropped, "{error}");
    assert!(matches!(rings(20), Ok(None)));
}
