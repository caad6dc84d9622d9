//! A running service as a process of its own.

use crate::world::World;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

/// So long something that must happen may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);
/// How often to look.
const PAUSE: Duration = Duration::from_millis(100);

/// A service; killed when it is dropped.
pub(crate) struct Served {
    child: Child,
}

impl Served {
    /// Starts it and goes on at once.
    fn launch(world: &World) -> Self {
        let mut command = world.command();
        command.args(["--json", "--wait", "30", "serve"]).stdout(Stdio::piped()).stderr(Stdio::null());
        Self { child: command.spawn().unwrap() }
    }

    /// Starts it and waits until it takes commands.
    pub(crate) fn start(world: &World) -> Self {
        let mut served = Self::launch(world);
        let mut text = String::new();
        let mut lines = BufReader::new(served.child.stdout.take().unwrap());
        while lines.read_line(&mut text).unwrap() > 0 && !text.ends_with("}\n") {}
        assert!(serde_json::from_str::<Value>(&text).is_ok(), "the service did not start: {text}");
        served
    }

    pub(crate) fn kill(mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "the service ended by itself");
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn signal(&self, signal: Signal) {
        let process = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(process, signal).unwrap();
    }

    /// Tells it to look at its configuration, as `systemctl reload` does.
    pub(crate) fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    /// Ends it as a service manager does.
    pub(crate) fn stop(mut self) {
        self.signal(Signal::TERM);
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "a service that is told to stop ends well");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Looks again and again until it is as wanted; false when that does not come.
pub(crate) fn comes(mut wanted: impl FnMut() -> bool) -> bool {
    for _ in 0..PATIENCE.as_millis() / PAUSE.as_millis() {
        if wanted() {
            return true;
        }
        std::thread::sleep(PAUSE);
    }
    false
}
