//! Another installation takes over while an export is under way, and one that was taken over from goes on for a while.

use crate::script::{Scene, Wish, accept_all};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use syncline::connector::{ExportTerms, Installation, LastWriter};
use syncline::context::{Clock, Context};
use syncline::engine::active::displaced_by;
use syncline::events::Event;
use syncline::model::{Stage, Timestamp};
use tokio_util::sync::CancellationToken;

/// A clock that is set by hand, in minutes.
#[derive(Default)]
struct ByHand(AtomicU64);

impl ByHand {
    fn set(&self, minutes: u64) {
        self.0.store(minutes, Ordering::SeqCst);
    }
}

impl Clock for ByHand {
    fn now(&self) -> Timestamp {
        at(self.0.load(Ordering::SeqCst))
    }

    fn elapsed(&self) -> Duration {
        Duration::from_mins(self.0.load(Ordering::SeqCst))
    }

    fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::ready(()))
    }
}

fn at(minutes: u64) -> Timestamp {
    Timestamp::from_seconds(1_790_000_000 + 60 * i64::try_from(minutes).unwrap())
}

fn written_by(id: &str, name: &str, minutes: u64) -> ExportTerms {
    let last = LastWriter { id: Some(id.to_owned()), name: Some(name.to_owned()), at: Some(at(minutes)), told: None };
    ExportTerms { last_writer: Some(last), ..ExportTerms::default() }
}

/// A scene of installation `a` on `ONE`, with a clock and some people to be sent.
fn scene(people: u64) -> (Scene, Arc<ByHand>) {
    let (mut scene, clock) = (Scene::new(), Arc::new(ByHand::default()));
    scene.cx = Context { clock: clock.clone(), cancel: CancellationToken::new(), seed: 1 };
    scene.options.installation = Some(Installation { id: "a".to_owned(), name: "ONE".to_owned() });
    (scene.capabilities.batch_objects, scene.capabilities.batches_in_flight) = (2, 1);
    for number in 1..=people {
        scene.put(number, Wish::add(&format!("CN=u{number}")));
    }
    (scene, clock)
}

fn displaced(scene: &Scene) -> Option<String> {
    displaced_by(&scene.snapshot(), scene.options.connector).unwrap().and_then(|rival| rival.name)
}

#[test]
fn a_takeover_ends_an_export_that_is_under_way() {
    let (scene, clock) = scene(20);
    let (script, hand) = (Arc::clone(&scene.script), Arc::clone(&clock));
    scene.script.answer(|batch| Ok(accept_all(batch, |_| None)));
    // With the second batch on its way, the other one takes over; the third is not sent.
    scene.script.answer(move |batch| {
        hand.set(3);
        script.terms(written_by("b", "TWO", 2));
        Ok(accept_all(batch, |_| None))
    });
    let stopped = scene.export().unwrap_err();
    assert_eq!(stopped.result(), "stopped-another-installation");
    assert!(stopped.to_string().contains("nothing more was sent: 16 objects wait"), "{stopped}");
    assert!(matches!(&scene.events()[..], [Event::AnotherInstallation { other, .. }] if other.starts_with("TWO ")), "{:?}", scene.events());
    assert_eq!(scene.sent().len(), 4);
    assert_eq!((scene.queue(Stage::PendingExport).len(), scene.queue(Stage::InProgress).len()), (16, 0));

    // It is not forgotten, also when the target named us once more.
    scene.script.terms(written_by("a", "ONE", 3));
    assert_eq!(scene.export().unwrap_err().result(), "stopped-another-installation");
    assert_eq!((scene.sent().len(), displaced(&scene).as_deref()), (0, Some("TWO")));
}

#[test]
fn an_export_does_not_ask_before_a_minute_is_over() {
    let (scene, _clock) = scene(20);
    let script = Arc::clone(&scene.script);
    scene.script.always(move |batch| {
        script.terms(written_by("b", "TWO", 0));
        Ok(accept_all(batch, |_| None))
    });
    assert_eq!(scene.export().unwrap().0, "success");
    assert_eq!(scene.sent().len(), 20);
}

#[test]
fn whoever_took_over_waits_for_the_other_one_to_find_out() {
    let (scene, clock) = scene(4);
    let before = written_by("b", "TWO", 0).last_writer.unwrap();
    clock.set(1);
    scene.take_over(&before);
    assert_eq!(scene.finished(), 1, "it shows itself at once");

    // The other one is in the middle of an export, and its batches overwrite our name.
    for minutes in [2, 32] {
        clock.set(minutes + 1);
        scene.script.terms(written_by("b", "TWO", minutes));
        let stopped = scene.export().unwrap_err();
        assert_eq!(stopped.result(), "stopped-another-installation");
        assert!(stopped.to_string().contains("stops by itself"), "{stopped}");
        assert_eq!(scene.finished(), 1, "it shows itself again");
        assert_eq!((displaced(&scene), scene.events().len(), scene.sent().len()), (None, 0, 0), "nobody gives way");
    }

    // It found out, and this one goes on without anybody's help.
    clock.set(63);
    scene.script.terms(written_by("a", "ONE", 33));
    assert_eq!(scene.export().unwrap().0, "success");
    assert_eq!(scene.sent().len(), 4);
}
