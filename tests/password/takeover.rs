//! Another installation takes over while passwords of many are on their way.

use crate::fakes::{Stage, accept};
use std::sync::Arc;
use syncline::connector::LastWriter;
use syncline::model::Timestamp;
use syncline::password::agent::CycleKind;

/// More than what may be on its way at one time.
const PEOPLE: usize = 400;

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_ends_a_round_that_is_under_way() {
    let mut stage = Stage::new();
    for number in 0..PEOPLE {
        stage.hire(&format!("{number:03}"), "DC=a");
    }
    stage.run();
    stage.installed("a", "ONE");
    let (target, clock) = (Arc::downgrade(&stage.target), Arc::clone(&stage.clock));
    stage.target.answers(move |batch| {
        // Between the first batches and the others somebody else writes.
        clock.forward(2);
        let other =
            LastWriter { id: Some("b".to_owned()), name: Some("TWO".to_owned()), at: Some(Timestamp(*clock.now.borrow())), told: None };
        if let Some(target) = target.upgrade()
            && let Ok(features) = &mut *target.features.lock().unwrap()
        {
            features.last_writer = Some(other);
        }
        accept(batch)
    });
    stage.agent.cycle(&stage.cx, CycleKind::Full).await.unwrap();
    let sent = stage.target.sent().len();
    assert!(sent > 0 && sent < PEOPLE, "{sent} of {PEOPLE} were sent");
    assert_eq!(stage.count(7041), 0);
    // The next round tells of it, once.
    for _ in 0..2 {
        stage.agent.cycle(&stage.cx, CycleKind::Full).await.unwrap();
    }
    assert_eq!((stage.target.sent().len(), stage.count(7041)), (0, 1));
}
