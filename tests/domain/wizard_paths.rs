//! The other ways through the questions of `init`: an OpenLDAP server, LDIF files, and a person who signs in to a tenant by a
//! code. Each with wrong answers on the way.

use crate::labs;
use crate::person::{Person, people_in, syncline};
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// How many of something would be exported.
fn adds(config: &Path) -> u64 {
    let what_if = syncline(config, &["--json", "export", "--what-if"]);
    let what_if: Value = serde_json::from_slice(&what_if.stdout).unwrap();
    what_if["targets"][0]["adds"].as_u64().unwrap_or_else(|| panic!("{what_if:#}"))
}

#[test]
fn an_openldap_server_is_found_tried_and_read() {
    let lab = labs::up("openldap", &labs::recipe(5, 1, 1), &[]);
    // People as such servers have them.
    let people = (1..=4).map(|number| {
        format!(
            "dn: uid=person{number},ou=People,dc=corp,dc=example\nchangetype: add\nobjectClass: inetOrgPerson\nuid: person{number}\n\
             cn: Person {number}\nsn: {number}\ndisplayName: Person {number}\nmail: person{number}@corp.example\n"
        )
    });
    lab.modify(&people.collect::<Vec<_>>().join("\n"));
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    let mut person = Person::at(&config, &["init"]);
    person.takes("Kind of directory", 1);
    // No name, nobody there, and the right one, whose authority nobody knows yet.
    person.answers("Server (ldap.corp.example", "ldap..example");
    person.reads("neither a domain nor a server");
    person.answers("Server (ldap.corp.example", "ldaps://127.0.0.254:1636");
    person.reads("no connection");
    person.answers("Server (ldap.corp.example", lab.text("ldaps"));
    person.reads("issued by an authority that is not trusted");
    person.answers("PEM file", "nowhere.pem");
    person.reads("there is no file 'nowhere.pem'");
    person.answers("PEM file", lab.text("ca"));
    person.reads("its certificate is trusted until");
    // No name at all, the wrong password, and the right one.
    person.answers("Account (distinguished name)", "");
    person.reads("write something");
    // Whoever mistypes it types it again where nobody sees it, and is told when it goes to the wrong place.
    person.answers("Account (distinguished name)", lab.text("bind_name"));
    person.answers("Password (not shown)", "typed-in-a-hurry");
    person.reads("wrong ");
    person.agrees("Password (not shown; empty: another account)");
    person.answers("Account (distinguished name)", "typed-in-a-hurry");
    person.reads("this is the password that was just typed");
    person.answers("Password (not shown; empty: another account)", lab.text("password"));
    person.reads("signed in as");
    person.answers("Where searches begin", "no distinguished name");
    person.reads("wrong ");
    person.agrees("Where searches begin");
    person.reads("4 people, ");
    person.agrees("Synchronize");
    person.reads("the domain is corp.example");
    person.agrees("Tenant");
    person.reads("Verified");
    person.reads("has none to read");
    person.agrees("Write it");
    assert!(!config.exists(), "nothing is written before the end");
    person.agrees("Read everything now");
    person.reads("would be exported, such as");
    let (seen, code) = person.leaves();
    assert!(matches!(code, 0 | 1), "{code}\n{seen}");
    assert!(!seen.contains(lab.text("password")) && !seen.contains("not-the-password"), "{seen}");
    let secret = config.join("secrets/directory-bind");
    assert_eq!(std::fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), lab.text("password"));
    assert_eq!(adds(&config), 4);
}

#[test]
fn ldif_files_need_no_server() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    let people = people_in(folder.path());
    let mut person = Person::at(&config, &["init"]);
    person.takes("Kind of directory", 2);
    person.answers("The file, or the folder", "nowhere.ldif");
    person.reads("there is nothing at 'nowhere.ldif'");
    person.answers("The file, or the folder", people.to_str().unwrap());
    person.agrees("come from Active Directory");
    person.answers("The domain of these people", "corp");
    person.reads("'corp' is no domain");
    person.agrees("The domain of these people");
    person.agrees("Tenant");
    person.reads("has none to read");
    person.writes_and_looks();
    assert!(adds(&config) >= 25);
    let names: Value = serde_json::from_slice(&syncline(&config, &["--json", "connector", "list"]).stdout).unwrap();
    assert_eq!(names["connectors"][0]["name"], "corp.example", "{names:#}");
    let source = std::fs::read_to_string(config.join("connectors/10-corp.example.toml")).unwrap();
    assert!(source.contains("corp.example"), "rules know the domain: {source}");
}

/// A tenant of its own, in which codes are good at once.
struct Tenant {
    process: Child,
    url: String,
}

impl Tenant {
    fn new(folder: &Path) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_syncline"))
            .args(["tenant", "serve", "--json", "--plain-http", "--listen", "127.0.0.1:0", "--name", "Contoso", "--approve-device-codes"])
            .args(["--initial-domain", "contoso.onmicrosoft.com", "--domain", "corp.example", "--data"])
            .arg(folder.join("tenant.redb"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        Self { process, url: ready["baseUrl"].as_str().unwrap().to_owned() }
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

#[test]
fn a_person_signs_in_to_the_tenant_by_a_code() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = Tenant::new(folder.path());
    let config = folder.path().join("config");
    let people = people_in(folder.path());
    let provisioning = format!("{}/provisioningservice.svc", tenant.url);
    let places = ["--tenant", "entra", "--login-url", &tenant.url, "--provisioning-url", &provisioning];
    let given = ["--path", people.to_str().unwrap(), "--domain", "corp.example"];
    let mut person = Person::at(&config, &[&["init"], &places[..], &given[..]].concat());
    person.takes("Kind of directory", 2);
    person.agrees("come from Active Directory");
    // No tenant's name, a tenant that nobody knows, and the right one.
    person.answers("The tenant's id, or one of its domains", "not a tenant");
    person.reads("'not a tenant' is neither an id nor a domain");
    person.answers("The tenant's id, or one of its domains", "nowhere.example");
    person.answers("The application's id", "");
    person.reads("wrong ");
    person.answers("The tenant's id, or one of its domains", "corp.example");
    person.answers("The application's id", "");
    person.reads("code");
    person.reads("the tenant is Contoso");
    person.reads("has none to read");
    let seen = person.writes_and_looks();
    // What makes the next sign-in silent is kept for its owner alone, and was shown to nobody.
    let kept: Vec<_> = std::fs::read_dir(config.join("secrets")).unwrap().flatten().map(|file| file.path()).collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(std::fs::metadata(&kept[0]).unwrap().permissions().mode() & 0o777, 0o600);
    let token = std::fs::read_to_string(&kept[0]).unwrap();
    assert!(token.len() > 20 && !seen.contains(&token), "{seen}");
    let doctor: Value = serde_json::from_slice(&syncline(&config, &["--json", "doctor"]).stdout).unwrap();
    let of = |what: &str| doctor["findings"].as_array().unwrap().iter().find(|one| one["what"] == what).cloned();
    assert_eq!(of("sign-in").unwrap()["level"], "ok", "{doctor:#}");
    let role = of("role of the account").unwrap();
    assert!(role["level"] == "ok" && role["evidence"] == "Directory Synchronization Accounts", "{role:#}");
    let room = of("room for objects").unwrap();
    assert!(room["level"] == "ok" && room["evidence"].as_str().unwrap().contains("objects of 300000"), "{room:#}");
}
