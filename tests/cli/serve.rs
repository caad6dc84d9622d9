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
const PATIENCE: Duration = Duration::from_mins(1);
/// How often to look.
const PAUSE: Duration = Duration::from_millis(50);

/// A service that ends with the test.
pub(crate) struct Served {
    child: Child,
    config: PathBuf,
    ready: Value,
}

impl Served {
    pub(crate) fn start(config: &Path) -> Self {
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
    pub(crate) fn until(&self, what: &str, arguments: &[&str], wanted: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..PATIENCE.as_millis() / PAUSE.as_millis() {
            let answer = self.json(arguments, 0);
            if wanted(&answer) {
                return answer;
            }
            std::thread::sleep(PAUSE);
        }
        panic!("{what} did not come: {:#}", self.json(arguments, 0));
    }

    /// Waits for the end of so many cycles.
    pub(crate) fn cycles(&self, count: usize) -> Value {
        self.until("a cycle", &["events", "list", "--id", "7002"], |events| events["events"].as_array().map_or(0, Vec::len) >= count)
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).expect("a number")).expect("a process");
        rustix::process::kill_process(id, signal).expect("it is ours");
    }

    pub(crate) fn stop(mut self) {
        self.signal(rustix::process::Signal::TERM);
        let status = self.child.wait().expect("it ends");
        assert_eq!(status.code(), Some(0), "a service that is told to stop ends well");
        assert!(!Path::new(self.ready["socket"].as_str().expect("a path")).exists(), "its socket is gone");
    }

    pub(crate) fn kill(mut self) {
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
    // Commands go on being answered, and say what is wrong.
    let told = with_config(&config, &["scheduler", "show"]);
    assert_code(&told, 0);
    assert!(stderr(&told).contains("configuration from before") && stderr(&told).contains("syncline.toml:"), "{}", stderr(&told));
    service.until("the refusal", &["events", "list", "--id", "7063"], |events| !events["events"].as_array().expect("events").is_empty());
    fs::write(&main, &good).expect("the folder can be written");
    assert!(!stderr(&with_config(&config, &["scheduler", "show"])).contains("configuration from before"));

    // What is changed counts in the very next command.
    let staging = good.replace("[guard]", "[guard]\nstaging = true");
    fs::write(&main, staging).expect("the folder can be written");
    let shown = service.json(&["guard", "show"], 0);
    assert_eq!(shown["staging"], true, "{shown:#}");
    service.stop();
}

/// It is there for as long as the service; what is changed in its file counts all the same.
#[test]
fn a_tenant_that_runs_with_it_follows_the_configuration() {
    let world = small_world();
    let config = world.path().join("config");
    let service = Served::start(&config);
    service.cycles(1);
    let file = config.join("connectors/90-entra.toml");
    let change = |from: &str, to: &str| {
        let text = fs::read_to_string(&file).expect("text");
        assert!(text.contains(from), "{text}");
        fs::write(&file, text.replace(from, to)).expect("the folder can be written");
    };
    change("name = \"Entra\"", "name = \"Cloud\"");
    service.json(&["connector", "rename", "Entra", "Cloud"], 0);
    let cycle = service.json(&["cycle", "start"], 0);
    assert_eq!(counted(&cycle, "export-add"), 0, "it is the same tenant: {cycle:#}");

    let other = config.join("other-tenant");
    change("[embedded]", "[embedded]\nfolder = \"other-tenant\"");
    service.json(&["scheduler", "show"], 0);
    for _ in 0..PATIENCE.as_millis() / PAUSE.as_millis() {
        if other.join("tenant.redb").exists() {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    assert!(other.join("tenant.redb").exists(), "nobody started the tenant in the new folder");
    service.stop();
}

#[test]
fn whoever_follows_events_does_not_keep_it_alive() {
    let world = small_world();
    let config = world.path().join("config");
    let service = Served::start(&config);
    service.cycles(1);
    let mut follower = Command::new(assert_cmd::cargo::cargo_bin("syncline"))
        .arg("--config")
        .arg(&config)
        .args(["events", "follow"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program can be started");
    let mut line = String::new();
    service.json(&["scheduler", "suspend"], 0);
    service.json(&["cycle", "start"], 0);
    BufReader::new(follower.stdout.take().expect("its output is ours")).read_line(&mut line).expect("text");
    assert!(line.contains("cycle"), "{line}");
    follower.kill().expect("it is ours");
    follower.wait().expect("it ends");
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
fn a_service_that_hangs_keeps_nobody_waiting() {
    let world = small_world();
    let config = world.path().join("config");
    let service = Served::start(&config);
    service.cycles(1);
    service.signal(rustix::process::Signal::STOP);
    let output = with_config(&config, &["--wait", "3", "status"]);
    service.signal(rustix::process::Signal::CONT);
    assert_code(&output, 4);
    assert!(stderr(&output).contains("it does not answer (waited 3s for it)"), "{}", stderr(&output));
    assert_code(&with_config(&config, &["status"]), 0);
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
    assert!(stderr(&second).contains("is in use by another process"), "{}", stderr(&second));
    service.stop();
}

#[test]
fn what_administrators_did_is_kept_whoever_did_it_and_wherever() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let service = Served::start(&config);
    service.json(&["scheduler", "set", "--interval", "3h"], 0);
    service.json(&["scheduler", "show"], 0);
    service.stop();
    let acts = document(&with_config(&config, &["--json", "audit", "list"]));
    let acts = acts["acts"].as_array().expect("acts");
    let words = |act: &Value| act["command"].as_array().expect("words").iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ");
    let told: Vec<String> = acts.iter().map(words).collect();
    // Looking is no act, and the newest stands first.
    let order: Vec<usize> = ["serve", "scheduler set", "cycle start", "init --source"]
        .iter()
        .map(|part| told.iter().position(|act| act.contains(part)).expect(part))
        .collect();
    assert!(told.len() == 4 && order == [0, 1, 2, 3], "{told:?}");
    let set = &acts[1];
    assert_eq!((&set["in_service"], &set["exit_code"]), (&true.into(), &0.into()), "{set:#}");
    assert_ne!(set["configuration_before"], set["configuration_after"], "{set:#}");
    assert!(set["by"].as_str().is_some_and(|by| by.contains("uid")), "{set:#}");
    assert!(stdout(&with_config(&config, &["audit", "list"])).contains("scheduler set --interval 3h"));
}

#[test]
fn an_act_that_cannot_be_recorded_is_told_once() {
    let world = small_world();
    let config = world.path().join("config");
    let entries = fs::read_dir(&config).expect("a folder").map(|entry| entry.expect("an entry").path());
    let record = entries.into_iter().find(|path| path.to_string_lossy().ends_with(".audit.jsonl")).expect("the record of `init`");
    fs::remove_file(&record).expect("it is ours");
    // A folder in its place: nothing can be written there, whoever this runs as.
    fs::create_dir(&record).expect("the folder can be written");
    let told = stderr(&with_config(&config, &["connector", "set", "corp.example", "name", "corp.example"]));
    assert_eq!(told.matches("could not be recorded").count(), 1, "{told}");
}

#[test]
fn status_says_what_needs_somebody() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let alone = document(&with_config(&config, &["--json", "status"]));
    assert_eq!((&alone["health"], &alone["served"]), (&"well".into(), &false.into()), "{alone:#}");
    // A cycle that somebody started counts: the service has none to run at once.
    let service = Served::start(&config);
    service.json(&["cycle", "start"], 0);
    let well = service.until("a good state", &["status"], |view| view["health"] == "well");
    assert!(well["served"] == true && well["metaverse"].as_u64() > Some(0), "{well:#}");
    service.json(&["scheduler", "suspend", "--reason", "move"], 0);
    let suspended = service.json(&["status"], 1);
    assert!(suspended["attention"][0]["what"].as_str().is_some_and(|what| what.contains("suspended")), "{suspended:#}");
    service.json(&["scheduler", "resume"], 0);
    // A directory that went away is the worst that one screen can tell.
    fs::remove_file(world.path().join("people.ldif")).expect("it is ours");
    let cycle = with_config(&config, &["cycle", "start"]);
    assert_ne!(cycle.status.code(), Some(0));
    let trouble = service.json(&["status"], 2);
    assert_eq!(trouble["health"], "trouble", "{trouble:#}");
    let shown = stdout(&with_config(&config, &["status"]));
    assert!(shown.contains("Something does not work.") && shown.contains("run show"), "{shown}");
    service.stop();
}

#[test]
fn machines_can_ask_how_it_is() {
    let world = small_world();
    let config = world.path().join("config");
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let main = config.join("syncline.toml");
    let text = fs::read_to_string(&main).expect("text");
    fs::write(&main, format!("{text}\n[service]\nhealth = \"{free}\"\n")).expect("the folder can be written");
    let service = Served::start(&config);
    service.cycles(1);
    assert!(asked(free, "/healthz").starts_with("HTTP/1.1 200"));
    service.until("a cycle that counts", &["scheduler", "show"], |view| view["last_success"].is_string());
    assert!(asked(free, "/readyz").starts_with("HTTP/1.1 200"));
    let metrics = asked(free, "/metrics");
    assert!(metrics.contains("syncline_cycle_suspended 0") && metrics.contains("syncline_objects{connector="), "{metrics}");
    assert!(!metrics.contains("corp.example\\") && !metrics.contains("ada"), "names of people are nobody's business here: {metrics}");
    service.json(&["scheduler", "suspend"], 0);
    assert!(asked(free, "/readyz").starts_with("HTTP/1.1 503"));
    service.stop();
}

/// A plain question over HTTP, and the whole answer.
fn asked(address: std::net::SocketAddr, path: &str) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(address).expect("it listens");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("it takes questions");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}
