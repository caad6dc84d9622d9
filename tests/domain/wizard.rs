//! From an empty folder to what would be exported, by `init` alone: a person at a real terminal, who is wrong on the way.

use crate::labs;
use crate::person::{BEFORE_TYPING, Person, syncline};
use crate::world::World;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;
use syncline::context::{Clock as _, SystemClock};

#[test]
fn from_an_empty_folder_to_the_first_what_if_with_wrong_answers_on_the_way() {
    let lab = labs::active_directory();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    let clock = SystemClock::new();
    let mut person = Person::at(&config, &["init"]);
    person.agrees("Kind of directory");
    // A domain that is none, a server where nobody is, and the right one, whose authority nobody knows yet.
    person.answers("Domain, or one of its domain controllers", "corp..example");
    person.reads("'corp..example' is neither a domain nor a server");
    person.answers("Domain, or one of its domain controllers", "127.0.0.254");
    person.reads("no connection");
    person.answers("Domain, or one of its domain controllers", lab.text("address"));
    person.reads("issued by an authority that is not trusted");
    person.answers("PEM file", lab.text("ca"));
    person.reads("its certificate is trusted until");
    person.signs_in("Account (user@domain)", lab, "the password or the name is wrong");
    person.reads("what is deleted can be seen");
    person.reads("changes are told");
    person.reads("contacts below DC=corp,DC=example");
    person.agrees("Synchronize");
    person.agrees("Tenant");
    person.reads("Verified");
    person.agrees("Shall people sign in");
    person.reads("the account has \"Replicating Directory Changes\" and \"Replicating Directory Changes All\"");
    person.agrees("Write it");
    assert!(!config.exists(), "nothing is written before the end");
    person.agrees("Read everything now");
    person.reads("would be exported, such as");
    let (seen, code) = person.leaves();
    println!("from an empty folder to the first what-if: {:.1} s", clock.elapsed().as_secs_f64());
    assert!(matches!(code, 0 | 1), "{code}\n{seen}");
    assert!(seen.contains("phs enable corp.example"), "the tenant has a switch of its own: {seen}");
    assert!(!seen.contains(lab.text("password")) && !seen.contains("not-the-password"), "{seen}");

    let secret = config.join("secrets/directory-bind");
    assert_eq!(std::fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), lab.text("password"));
    let main = std::fs::read_to_string(config.join("syncline.toml")).unwrap();
    assert!(main.contains("staging = true"), "{main}");
    let source = std::fs::read_to_string(config.join("connectors/10-corp.example.toml")).unwrap();
    assert!(source.contains("[password_hash_sync]\nenabled = true"), "{source}");
    let what_if = syncline(&config, &["--json", "export", "--what-if"]);
    let what_if: Value = serde_json::from_slice(&what_if.stdout).unwrap();
    assert!(what_if["targets"][0]["adds"].as_u64().unwrap() > 60, "{what_if:#}");
    let cycle: Value = serde_json::from_slice(&syncline(&config, &["--json", "cycle", "start"]).stdout).unwrap();
    assert_eq!(crate::counted(&cycle, "export-add"), 0, "nothing leaves in staging mode: {cycle:#}");
}

#[test]
fn a_tenant_elsewhere_is_tried_out_like_everything_else() {
    let world = World::new(30, 3, 2);
    let folder = tempfile::tempdir().unwrap();
    let (config, password, secret) = (folder.path().join("config"), folder.path().join("password"), folder.path().join("secret"));
    std::fs::write(&password, world.lab.text("password")).unwrap();
    let lab = ["--url", world.lab.text("ldaps"), "--ca-file", world.lab.text("ca"), "--bind-name", world.lab.text("bind_name")];
    let options = world.tenant_options(&secret);
    let all: Vec<&str> = [&["init"], &lab[..], &["--secret-file", password.to_str().unwrap()]].concat();
    let all: Vec<&str> = all.into_iter().chain(options.iter().map(String::as_str)).collect();

    // What an option says wrongly cannot be asked again.
    std::fs::write(&secret, "not-the-secret").unwrap();
    let mut person = Person::at(&config, &all);
    person.agrees("Kind of directory");
    person.agrees("Synchronize");
    let (seen, code) = person.leaves();
    assert!(code == 4 && seen.contains("did not accept the application and its secret") && !config.exists(), "{code}\n{seen}");

    std::fs::write(&secret, world.client_secret()).unwrap();
    let mut person = Person::at(&config, &all);
    person.agrees("Kind of directory");
    person.reads("the domain is corp.example");
    person.agrees("Synchronize");
    person.reads("directory synchronization is on in it");
    person.reads("Verified");
    person.refuses("Shall people sign in");
    person.agrees("Write it");
    person.refuses("Read everything now");
    let (seen, code) = person.leaves();
    assert!(code == 0 && !seen.contains(world.client_secret()), "{code}\n{seen}");
    assert_eq!(std::fs::read_to_string(config.join("secrets/entra-client-secret")).unwrap(), world.client_secret());
    let doctor: Value = serde_json::from_slice(&syncline(&config, &["--json", "doctor"]).stdout).unwrap();
    let findings = doctor["findings"].as_array().unwrap();
    for (what, evidence) in
        [("sign-in", "lets us in"), ("directory synchronization", "on"), ("verified domains", "corp.example"), ("clock", "")]
    {
        let of = |finding: &&Value| finding["area"] == "Entra" && finding["what"].as_str().unwrap().contains(what);
        let found = findings.iter().find(of).unwrap_or_else(|| panic!("{what}: {doctor:#}"));
        assert!(found["level"] == "ok" && found["evidence"].as_str().unwrap().contains(evidence), "{found:#}");
    }
}

#[test]
fn whoever_goes_away_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    let mut person = Person::at(&config, &["init"]);
    person.reads("Kind of directory");
    std::thread::sleep(BEFORE_TYPING);
    person.terminal.send_control('c').unwrap();
    person.terminal.exp_eof().unwrap();
    assert!(!config.exists());
    // Without a terminal nobody is asked.
    let output = syncline(&config, &["init"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{told}");
    assert!(told.contains("--source") && told.contains("--bind-name"), "{told}");
}
