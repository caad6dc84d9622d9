//! The tenant as its own process.

use crate::support::{answer, client};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

fn start(arguments: &[&str]) -> (Child, serde_json::Value) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_syncline-tenant"))
        .arg("serve")
        .arg("--json")
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
    (child, ready)
}

fn terminate(mut child: Child) {
    let process = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
}

#[tokio::test]
async fn serves_until_it_is_told_to_stop_and_keeps_its_data() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("tenant.redb");
    let data = data.to_str().unwrap();
    let mut tenants = Vec::new();
    for _ in 0..2 {
        let (child, ready) =
            start(&["--data", data, "--domain", "contoso.example", "--throttle-writes", "7000/300", "--fault", "slow=0.01,delay=1"]);
        let authority = std::fs::read_to_string(ready["authority"].as_str().unwrap()).unwrap();
        let credentials: serde_json::Value =
            serde_json::from_slice(&std::fs::read(ready["credentials"].as_str().unwrap()).unwrap()).unwrap();
        let base = ready["baseUrl"].as_str().unwrap();
        let url = format!("{base}/contoso.example/oauth2/v2.0/token");
        let fields = [
            ("grant_type", "client_credentials"),
            ("client_id", credentials["client_id"].as_str().unwrap()),
            ("client_secret", credentials["client_secret"].as_str().unwrap()),
            ("scope", "https://graph.microsoft.com/.default"),
        ];
        let client = client(Some(&authority));
        let (status, body) = answer(client.post(url).form(&fields).send().await.unwrap()).await;
        assert_eq!(status, 200, "{body}");
        let users = client.get(format!("{base}/v1.0/users")).bearer_auth(body["access_token"].as_str().unwrap()).send().await.unwrap();
        let (status, users) = answer(users).await;
        assert_eq!((status, users["value"].as_array().unwrap().len()), (200, 1));
        tenants.push((ready["tenantId"].clone(), users["value"][0]["id"].clone()));
        terminate(child);
    }
    assert_eq!(tenants[0], tenants[1]);
}

#[test]
fn plain_http_stays_on_the_machine() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_syncline-tenant")).args(["serve", "--plain-http", "--listen", "0.0.0.0:0"]).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("loopback"));
}

#[test]
fn bad_arguments_are_named() {
    for (arguments, part) in [
        (&["serve", "--fault", "sleepy"][..], "sleepy"),
        (&["serve", "--throttle-writes", "fast"][..], "fast"),
        (&["serve", "--certificate", "/nowhere.pem"][..], "/nowhere.pem"),
        (&["dance"][..], "dance"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_syncline-tenant")).args(arguments).output().unwrap();
        assert!(!output.status.success());
        assert!(String::from_utf8_lossy(&output.stderr).contains(part), "{part}");
    }
}
