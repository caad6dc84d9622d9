//! A running service as people meet it: it runs cycles by itself, does commands for callers, takes over what is changed
//! in its configuration, and goes on where it was after a stop and after a kill.

use crate::{assert_code, counted, document, small_world, stderr, stdout, with_config};
use serde_json::Value;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// So long something that must happen may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A service that ends with the test.
struct Served {
    child: Child,
    config: PathBuf,
    ready: Value,
}

impl Served {
    fn start(config: &Path) -> Self {
        let program = assert_cmd::cargo::cargo_bin("syncline");
        let mut child = Command::new(program)
            .args(["--json", "--log", "info", "--config"])
            .arg(config)
            .arg("serve")
            .env("NO_COLOR", "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program can be started");
        let mut text = String::new();
        let mut lines = BufReader::new(child.stdout.take().expect("its output is ours"));
        while lines.read_line(&mut text).expect("text") > 0 && !text.ends_with("}\n") {}
        let ready = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        Self { child, config: config.to_owned(), ready }
    }

    fn json(&self, arguments: &[&str], code: i32) -> Value {
        let output = with_config(&self.config, &[&["--json"], arguments].concat());
        assert_code(&output, code);
        document(&output)
    }

    /// Asks again and again until the answer is as wanted.
    fn until(&self, what: &str, arguments: &[&str], wanted: impl Fn(&Value) -> bool) -> Value {
        let began = std::time::Instant::now();
        loop {
            let answer = self.json(arguments, 0);
            if wanted(&answer) {
                return answer;
            }
            assert!(began.elapsed() < PATIENCE, "{what} did not come: {answer:#}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits for the end of so many cycles.
    fn cycles(&self, count: usize) -> Value {
        self.until("a cycle", &["events", "list", "--id", "7002"], |events| events["events"].as_array().map_or(0, Vec::len) >= count)
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).expect("a number")).expect("a process");
        rustix::process::kill_process(id, signal).expect("it is ours");
    }

    fn stop(mut self) {
        self.signal(rustix::process::Signal::TERM);
        let status = self.child.wait().expect("it ends");
        assert_eq!(status.code(), Some(0), "a service that is told to stop ends well");
        assert!(!Path::new(self.ready["socket"].as_str().expect("a path")).exists(), "its socket is gone");
    }

    fn kill(mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn it_runs_by_itself_and_commands_are_done_in_it() {
    let world = small_world();
    let config = world.path().join("config");
    let service = Served::start(&config);
    service.cycles(1);
    let people = service.json(&["mv", "search", "--type", "person"], 0);
    assert!(people["objects"].as_array().is_some_and(|objects| !objects.is_empty()), "{people:#}");

    // One process has the store; commands answer all the same, for people and for programs, with their own exit codes.
    let shown = with_config(&config, &["cs", "search", "hr"]);
    assert!(stdout(&shown).contains("CN=") || stderr(&shown).contains("there is no connector"), "{}", stdout(&shown));
    assert_code(&with_config(&config, &["cs", "show", "nobody at all"]), 2);
    assert_code(&with_config(&config, &["no-such-command"]), 64);
    let cycle = service.json(&["cycle", "start"], 0);
    assert_eq!(counted(&cycle, "export-add"), 0, "everything was sent before");
    let bars = with_config(&config, &["cycle", "start"]);
    assert_code(&bars, 0);
    assert!(stdout(&bars).contains("Delta Synchronization"), "{}", stdout(&bars));
    service.stop();
    // Without it, commands work by themselves again.
    assert_code(&with_config(&config, &["run", "list"]), 0);
}

#[test]
fn a_changed_file_is_noticed_and_synchronized_without_being_asked() {
    let world = small_world();
    let config = world.path().join("config");
    let service = Served::start(&config);
    service.cycles(1);
    service.json(&["scheduler", "suspend", "--reason", "maintenance window"], 0);
    let shown = service.json(&["scheduler", "show"], 0);
    assert_eq!((&shown["suspended"]["reason"], &shown["next_cycle"]), (&"maintenance window".into(), &Value::Null), "{shown:#}");
    service.json(&["scheduler", "resume"], 0);
    let shown = service.json(&["scheduler", "show"], 0);
    assert!(shown["suspended"].is_null() && shown["next_cycle"].is_string(), "{shown:#}");

    // A configuration that is changed counts without a restart; one that is broken is told and left alone.
    let changed = service.json(&["scheduler", "set", "--interval", "2h"], 0);
    assert_eq!(changed["customized_interval_seconds"], 7_200);
    service.until("the new interval", &["scheduler", "show"], |view| view["effective_interval_seconds"] == 7_200);
    let main = config.join("syncline.toml");
    let good = fs::read_to_string(&main).expect("text");
    fs::write(&main, good.replace("2h", "2 hours and a bit")).expect("the folder can be written");
    service.signal(rustix::process::Signal::HUP);
    // Commands read the folder themselves, so they are asked once it is whole again.
    std::thread::sleep(Duration::from_millis(300));
    fs::write(&main, &good).expect("the folder can be written");
    service.signal(rustix::process::Signal::HUP);
    service.until("the refusal", &["events", "list", "--id", "7063"], |events| !events["events"].as_array().expect("events").is_empty());
    service.stop();
}

#[test]
fn full_steps_can_be_asked_for() {
    let world = small_world();
    let config = world.path().join("config");
    let service = Served::start(&config);
    service.cycles(1);
    let source = service.json(&["connector", "list"], 0)["connectors"][0]["name"].as_str().expect("a name").to_owned();
    let shown = service.json(&["scheduler", "override", &source, "--full-sync"], 0);
    assert_eq!(shown["overrides"][0]["full_synchronization"], true, "{shown:#}");
    let cycle = service.json(&["cycle", "start"], 0);
    let profiles: Vec<&str> = cycle["runs"].as_array().expect("runs").iter().filter_map(|run| run["profile"].as_str()).collect();
    assert!(profiles.contains(&"Full Synchronization"), "{profiles:?}");
    assert_eq!(service.json(&["scheduler", "show"], 0)["overrides"], Value::Array(Vec::new()), "it is used up");
    let cycle = service.json(&["cycle", "start"], 0);
    let profiles: Vec<&str> = cycle["runs"].as_array().expect("runs").iter().filter_map(|run| run["profile"].as_str()).collect();
    assert!(!profiles.contains(&"Full Synchronization"), "{profiles:?}");
    service.stop();
}

#[test]
fn killed_it_goes_on_where_it_was() {
    let world = small_world();
    let config = world.path().join("config");
    let service = Served::start(&config);
    service.cycles(1);
    service.kill();
    // The socket that is left behind misleads nobody.
    assert_code(&with_config(&config, &["run", "list"]), 0);
    let service = Served::start(&config);
    let next = service.json(&["scheduler", "show"], 0);
    assert!(next["last_cycle"].is_string(), "what it did is remembered: {next:#}");
    let cycle = service.json(&["cycle", "start"], 0);
    assert_eq!(counted(&cycle, "export-add") + counted(&cycle, "export-delete"), 0);
    service.stop();
}

#[test]
fn a_second_service_is_refused() {
    let world = small_world();
    let config = world.path().join("config");
    let service = Served::start(&config);
    let second = with_config(&config, &["--wait", "0", "serve"]);
    assert_code(&second, 4);
    assert!(stderr(&second).contains("is used by"), "{}", stderr(&second));
    service.stop();
}
