//! Interrupts: whatever was told to stop before it had done everything says so, and ends with 3.

use crate::{assert_code, document, small_world, stderr, stdout, with_config};
use serde_json::Value;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use syncline::config::Config;
use syncline::context::Context;
use syncline::engine::Progress;
use syncline::service::{Access, DriveOptions, Service, Work};

/// Has a directory server that takes connections and never answers, as the connector `hung`.
fn hung(config: &Path) -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let text = format!(
        "kind = \"ad\"\nname = \"hung\"\nurl = \"ldap://{address}\"\nallow_plain = true\nbind_name = \"svc@corp.example\"\n\
         password = {{ credential = \"hung-bind\" }}\n"
    );
    fs::write(config.join("connectors/05-hung.toml"), text).expect("the folder can be written");
    let secret = config.join("secret.txt");
    fs::write(&secret, "Some-Pw-1").expect("the folder can be written");
    assert_code(&with_config(config, &["secret", "set", "hung-bind", "--secret-file", secret.to_str().expect("plain")]), 0);
    listener
}

/// Runs the program, and interrupts it as soon as the server was called.
fn interrupted(config: &Path, server: &TcpListener, arguments: &[&str]) -> Output {
    let child = Command::new(assert_cmd::cargo::cargo_bin("syncline"))
        .arg("--config")
        .arg(config)
        .args(arguments)
        .env("NO_COLOR", "1")
        .env("COLUMNS", "200")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program can be started");
    let _silent = server.accept().expect("it calls");
    std::thread::sleep(Duration::from_millis(300));
    let id = rustix::process::Pid::from_raw(i32::try_from(child.id()).expect("a number")).expect("a process");
    rustix::process::kill_process(id, rustix::process::Signal::INT).expect("it is ours");
    child.wait_with_output().expect("it ends")
}

#[test]
fn a_cycle_that_hangs_at_a_server_and_is_interrupted_is_no_success() {
    let world = small_world();
    let config = world.path().join("config");
    let server = hung(&config);
    let output = interrupted(&config, &server, &["--json", "cycle", "start"]);
    assert_code(&output, 3);
    let told = document(&output);
    let runs = told["runs"].as_array().expect("runs");
    assert!(runs.len() == 1 && runs[0]["result"] == "stopped-user", "{told:#}");
    let message = runs[0]["steps"][0]["message"].as_str().expect("a message");
    for left in ["Import on hung", "Import on corp.example", "Synchronization on corp.example", "Export on Entra"] {
        assert!(message.contains(left), "{left}: {message}");
    }
    let kept = document(&with_config(&config, &["--json", "run", "list"]));
    assert_eq!(kept["runs"][0]["result"], "stopped-user", "{kept:#}");
    let acts = document(&with_config(&config, &["--json", "audit", "list"]));
    assert_eq!(acts["acts"][0]["exit_code"], 3, "{acts:#}");
}

#[test]
fn whoever_looks_and_is_interrupted_is_told_so() {
    let world = small_world();
    let config = world.path().join("config");
    let server = hung(&config);
    let tree = interrupted(&config, &server, &["partition", "tree", "hung"]);
    assert_code(&tree, 3);
    assert!(stderr(&tree).contains("told to stop") && !stderr(&tree).contains("import"), "{}", stderr(&tree));
    let doctor = interrupted(&config, &server, &["doctor"]);
    assert_code(&doctor, 3);
    assert!(stderr(&doctor).contains("not everything was looked at"), "{}", stderr(&doctor));
    assert!(!stdout(&doctor).contains("told to stop"), "nothing is found of what nobody waited for: {}", stdout(&doctor));
}

/// Asks for the end when so many steps have ended.
struct Ends<'c> {
    cx: &'c Context,
    steps: usize,
}

impl Progress for Ends<'_> {
    fn step_started(&mut self, _: &str, _: &str) {}

    fn step_finished(&mut self, _: &str) {
        self.steps = self.steps.saturating_sub(1);
        if self.steps == 0 {
            self.cx.cancel.cancel();
        }
    }
}

#[test]
fn a_cycle_that_is_interrupted_between_two_steps_names_what_it_did_not_do() {
    // Two imports, two synchronizations, the export, its confirmation.
    let expected = [
        (1, Some("Delta Import on Entra")),
        (2, Some("Delta Synchronization on corp.example")),
        (4, Some("not done: Export on Entra.")),
        (5, Some("Delta Import on Entra")),
        (7, None),
    ];
    for (steps, left) in expected {
        let world = small_world();
        let config = world.path().join("config");
        let service = Service::open(Config::load(&config).unwrap(), None, Access::Create).unwrap();
        let cx = Context::system();
        let runs = service.drive(&cx, &[Work::Cycle { initial: false }], DriveOptions::default(), &mut Ends { cx: &cx, steps }).unwrap();
        assert!(cx.cancelled());
        let last = runs.last().expect("runs");
        let message = last.steps[0].message.clone().unwrap_or_default();
        match left {
            Some(left) => assert!(last.result == "stopped-user" && message.contains(left), "{steps}: {runs:#?}"),
            None => assert!(runs.iter().all(|run| run.result != "stopped-user"), "everything was done: {runs:#?}"),
        }
        drop(service);
        // What did everything is told so, also when it was asked to stop behind its last step.
        let told = stdout(&with_config(&config, &["status"])).replace('\n', " ").contains("did not do everything");
        assert_eq!(told, left.is_some(), "{steps}: {}", stdout(&with_config(&config, &["status"])));
        // The next one does it.
        let next = with_config(&config, &["--json", "cycle", "start"]);
        assert_code(&next, 0);
        let status: Value = document(&with_config(&config, &["--json", "status"]));
        let entra = status["connectors"].as_array().unwrap().iter().find(|connector| connector["name"] == "Entra").expect("the target");
        let waiting = entra["pending"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum::<u64>();
        assert_eq!((&entra["objects"], waiting), (&6.into(), 0), "{status:#}");
    }
}
