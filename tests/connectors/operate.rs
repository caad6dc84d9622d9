//! The commands of everyday work against real directories: connectors tried, added and set, partitions asked for and chosen,
//! schemas looked at, single objects taken through everything.

use crate::labs::{self, Lab};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Output};

/// A configuration for a directory and an embedded tenant.
struct Office {
    lab: Lab,
    folder: tempfile::TempDir,
    connector: &'static str,
}

impl Office {
    fn active_directory() -> Self {
        Self::new(labs::up("samba-ad", &labs::recipe(20, 3, 2), &[]), "ad", &[])
    }

    fn openldap() -> Self {
        Self::new(labs::up("openldap", &labs::recipe(20, 3, 2), &[]), "ldap", &["--base", "DC=corp,DC=example"])
    }

    fn new(lab: Lab, kind: &str, more: &[&str]) -> Self {
        let office = Self { lab, folder: tempfile::tempdir().unwrap(), connector: "corp.example" };
        let password = office.file("password");
        std::fs::write(&password, office.lab.text("password")).unwrap();
        let lab = &office.lab;
        let server = ["--url", lab.text("ldaps"), "--ca-file", lab.text("ca"), "--bind-name", lab.text("bind_name")];
        let init = [&["init", "--source", kind, "--name", office.connector, "--domain", "corp.example"], &server[..], more].concat();
        let init = [&init[..], &["--secret-file", password.to_str().unwrap()]].concat();
        office.does(&init, 0);
        office
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
        command.arg("--config").arg(self.file("config")).args(arguments);
        command.env_remove("CREDENTIALS_DIRECTORY").env("NO_COLOR", "1").output().unwrap()
    }

    /// Calls the program, which has to end with a code. Gives what it printed.
    #[track_caller]
    fn does(&self, arguments: &[&str], code: i32) -> String {
        let output = self.run(arguments);
        let (printed, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{printed}\n{told}");
        let all = format!("{printed}{told}");
        assert!(!all.contains(self.lab.text("password")), "{arguments:?} shows the password");
        if arguments.first() == Some(&"--json") && code < 3 { printed.into_owned() } else { all }
    }

    /// The same with a document.
    #[track_caller]
    fn tells(&self, arguments: &[&str], code: i32) -> Value {
        let printed = self.does(&[&["--json"], arguments].concat(), code);
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{arguments:?}: {error}\n{printed}"))
    }

    /// The name and the anchor of the person with an account.
    fn person(&self, account: &str, anchor: &str) -> (String, Vec<u8>) {
        let found = self.lab.search(self.lab.text("base"), &format!("(sAMAccountName={account})"), &[anchor]);
        let (dn, attributes) = found.into_iter().next().unwrap_or_else(|| panic!("nobody has the account {account}"));
        (dn, attributes[anchor].first().unwrap().clone())
    }

    /// Takes one object its whole way. Gives the document and the outcomes of its steps.
    #[track_caller]
    fn sync(&self, object: &str, more: &[&str]) -> (Value, Vec<String>) {
        let view = self.tells(&[&["object", "sync", object], more].concat(), 0);
        let outcomes = view["steps"].as_array().unwrap().iter().map(|step| step["outcome"].as_str().unwrap().to_owned());
        let outcomes = outcomes.collect();
        (view, outcomes)
    }

    /// Whom the tenant has under a sign-in name: the value of an attribute in its space.
    fn in_cloud(&self, name: &str, attribute: &str) -> Option<String> {
        let condition = format!("userPrincipalName={name}");
        let found = self.tells(&["cs", "search", "Entra", "--where", &condition, "--columns", attribute], 0);
        let object = found["objects"].as_array().unwrap().first()?.clone();
        Some(object["columns"][attribute][0].as_str().unwrap_or_default().to_owned())
    }
}

/// The sum of a counter over all runs of a document.
fn counted(view: &Value, counter: &str) -> u64 {
    let runs = view["runs"].as_array().unwrap();
    let steps = runs.iter().flat_map(|run| run["steps"].as_array().unwrap());
    steps.map(|step| step["counters"][counter].as_u64().unwrap_or(0)).sum()
}

/// Four ways in which a connector cannot work, and what is said of each.
#[track_caller]
fn wrong_settings_say_what_is_wrong(office: &Office, bad_name: &str) {
    let url = office.lab.text("ldaps");
    for (key, wrong, told) in [
        ("bind_name", bad_name, "password"),
        ("url", "ldaps://127.0.0.254:636", "127.0.0.254"),
        ("url", "ldaps://no-such-host.invalid", "no-such-host.invalid"),
    ] {
        let before = office.tells(&["connector", "show", office.connector], 0);
        let before = before["settings"].as_array().unwrap().iter().find(|one| one["key"] == key).unwrap()["value"].clone();
        office.does(&["connector", "set", office.connector, key, wrong], 0);
        let said = office.does(&["connector", "test", office.connector], 4);
        assert!(said.contains(told) && said.contains(office.connector), "{key} = {wrong}: {said}");
        office.does(&["connector", "set", office.connector, key, before.as_str().unwrap()], 0);
    }
    assert!(office.does(&["connector", "test", office.connector], 0).contains("answers"), "{url}");
    office.does(&["connector", "set", office.connector, "page_size", "0"], 4);
    office.does(&["connector", "set", office.connector, "page_size", "7"], 0);
    office.does(&["connector", "set", office.connector, "ca_file", "nowhere.pem"], 0);
    let said = office.does(&["connector", "test", office.connector], 4);
    assert!(said.contains("nowhere.pem"), "{said}");
    office.does(&["connector", "set", office.connector, "ca_file", office.lab.text("ca")], 0);
}

#[test]
fn an_active_directory_is_tried_chosen_and_read_by_commands() {
    let office = Office::active_directory();
    let lab = &office.lab;
    let trial = office.tells(&["connector", "test", "corp.example"], 0);
    assert_eq!(trial["facts"]["Domain.FQDN"], "corp.example", "{trial:#}");
    assert!(trial["attributes"].as_u64().unwrap() > 1_000 && trial["delta_import"] == true && trial["export"] == false, "{trial:#}");
    wrong_settings_say_what_is_wrong(&office, "nobody@corp.example");

    // A second connector for the same directory, from nothing but settings.
    let secret = office.file("password");
    office.does(&["secret", "set", "second-bind", "--secret-file", secret.to_str().unwrap()], 0);
    let settings = [
        ("url", lab.text("ldaps")),
        ("bind_name", lab.text("bind_name")),
        ("password.credential", "second-bind"),
        ("ca_file", lab.text("ca")),
    ];
    let settings: Vec<String> = settings.into_iter().flat_map(|(key, value)| ["--set".to_owned(), format!("{key}={value}")]).collect();
    let add: Vec<&str> = ["connector", "add", "second", "ad"].into_iter().chain(settings.iter().map(String::as_str)).collect();
    let ahead = office.tells(&[&add[..], &["--what-if"]].concat(), 0);
    assert!(ahead["done"] == "would be written" && !office.file("config/connectors/second.toml").exists(), "{ahead:#}");
    office.does(&add, 0);
    assert_eq!(office.tells(&["connector", "test", "second"], 0)["facts"]["Domain.FQDN"], "corp.example");
    std::fs::remove_file(office.file("config/connectors/second.toml")).unwrap();

    // The schema: looked at, taken for known, and by what is used of it.
    let first = office.tells(&["connector", "refresh-schema", "corp.example"], 0);
    assert_eq!(first["first"], true, "{first:#}");
    office.does(&["connector", "refresh-schema", "corp.example", "--apply"], 0);
    let again = office.tells(&["connector", "refresh-schema", "corp.example"], 0);
    assert!(again["first"] == false && again["added"] == again["removed"] && again["missed"] == again["added"], "{again:#}");
    let schema = office.tells(&["schema", "show", "corp.example", "--used"], 0);
    let attribute = |name: &str| schema["attributes"].as_array().unwrap().iter().find(|one| one["name"] == name).cloned();
    assert!(attribute("userPrincipalName").is_some() && attribute("mSMQDigests").is_none(), "{schema:#}");

    // Partitions: the domain's own is read; the server offers others.
    let partitions = office.tells(&["partition", "list", "corp.example", "--ask"], 0);
    let line = |partitions: &Value, name: &str| {
        let all = partitions["partitions"].as_array().unwrap();
        all.iter().find(|one| one["partition"].as_str().unwrap().eq_ignore_ascii_case(name)).cloned()
    };
    let configuration = "CN=Configuration,DC=corp,DC=example";
    assert_eq!(line(&partitions, "DC=corp,DC=example").unwrap()["enabled"], true, "{partitions:#}");
    assert_eq!(line(&partitions, configuration).unwrap()["enabled"], false, "{partitions:#}");
    // Before it was read once, the domain is known by what `connector test` heard.
    let said = office.does(&["partition", "enable", "corp.example", "DC=nowhere,DC=example"], 64);
    assert!(said.contains("DC=nowhere,DC=example") && said.contains(configuration), "{said}");
    office.does(&["partition", "enable", "corp.example", configuration], 0);
    // It is read, and what the account may not see there is said.
    let said = office.does(&["cycle", "start", "--initial"], 1);
    assert!(said.contains("cannot see what is deleted in 'CN=Configuration,DC=corp,DC=example'"), "{said}");
    assert_eq!(line(&office.tells(&["partition", "list", "corp.example"], 0), configuration).unwrap()["enabled"], true);
    office.does(&["partition", "disable", "corp.example", configuration], 0);
    let said = office.does(&["partition", "disable", "corp.example", "DC=corp,DC=example"], 64);
    assert!(said.contains("partition"), "the last one stays: {said}");
    office.does(&["cycle", "start"], 0);

    // Containers, as ldapsearch counts them.
    let wanted = "(|(objectClass=user)(objectClass=group)(objectClass=contact))";
    let tree = office.tells(&["partition", "tree", "corp.example"], 0);
    let people = "OU=People,DC=corp,DC=example";
    let container = tree["containers"].as_array().unwrap().iter().find(|one| one["dn"] == people).unwrap().clone();
    let judged = lab.search(people, wanted, &["1.1"]).len() as u64;
    assert!(judged > 15 && container["below"] == judged, "{judged} {tree:#}");
    let said = office.does(&["partition", "exclude", "corp.example", "OU=Peopel,DC=corp,DC=example"], 64);
    assert!(said.contains(&format!("Did you mean '{people}'?")), "{said}");
    let ahead = office.tells(&["partition", "exclude", "corp.example", people, "--what-if"], 0);
    assert_eq!((&ahead["leaves"], &ahead["comes"]), (&judged.into(), &0.into()), "{ahead:#}");
    assert!(ahead["deletes"].as_u64().unwrap() > 0, "{ahead:#}");
    office.does(&["cycle", "start"], 0);
}

#[test]
fn one_object_of_an_active_directory_goes_its_way_by_name_and_by_anchor() {
    let office = Office::active_directory();
    office.does(&["cycle", "start", "--initial"], 0);
    let people = "OU=People,DC=corp,DC=example";
    let user = |name: &str| {
        format!(
            "dn: CN={name},{people}\nchangetype: add\nobjectClass: user\ncn: {name}\nsAMAccountName: {name}\ndisplayName: {name}\n\
             userPrincipalName: {name}@corp.example\nuserAccountControl: 544\n"
        )
    };
    office.lab.modify(&user("newton"));
    let dn = format!("CN=newton,{people}");

    // Nobody knows the newcomer yet; a look reads the directory and writes nothing.
    let named = format!("corp.example:{dn}");
    let (ahead, outcomes) = office.sync(&named, &["--what-if"]);
    assert_eq!((&*outcomes[2], &ahead["runs"].as_array().unwrap().len()), ("done", &0), "{ahead:#}");
    assert!(ahead["read"].to_string().contains("newton@corp.example"), "{ahead:#}");
    office.does(&["object", "find", "newton@corp.example"], 2);
    let (done, outcomes) = office.sync(&named, &[]);
    assert_eq!((outcomes, counted(&done, "export-add")), (vec!["done".to_owned(); 10], 1), "{done:#}");
    assert_eq!(office.in_cloud("newton@corp.example", "displayName").as_deref(), Some("newton"));

    // By every form of the anchor.
    let (_, guid) = office.person("newton", "objectGUID");
    let anchor = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &guid);
    let written = uuid::Uuid::from_slice_le(&guid).unwrap().to_string();
    for form in [&anchor, &written, "newton", "newton@corp.example", &dn] {
        let found = office.tells(&["object", "find", form], 0);
        assert!(found["objects"].as_array().unwrap().iter().any(|one| one["dn"] == *dn), "{form}: {found:#}");
    }
    office.lab.modify(&format!("dn: {dn}\nchangetype: modify\nreplace: department\ndepartment: Optics\n"));
    let (ahead, _) = office.sync(&anchor, &["--what-if"]);
    assert!(ahead["read"].to_string().contains("Optics") && ahead["runs"].as_array().unwrap().is_empty(), "{ahead:#}");
    assert_eq!(office.in_cloud("newton@corp.example", "department").as_deref(), Some(""), "a look sends nothing");
    let (done, _) = office.sync(&anchor, &[]);
    assert_eq!((&done["runs"][0]["steps"][0]["counters"]["stage-update"], counted(&done, "export-update")), (&1.into(), 1), "{done:#}");
    assert_eq!(office.in_cloud("newton@corp.example", "department").as_deref(), Some("Optics"));

    // Renamed and moved: found by the anchor, and by the old name, under which the store has it.
    office
        .lab
        .modify(&format!("dn: {dn}\nchangetype: modrdn\nnewrdn: CN=Isaac\ndeleteoldrdn: 1\nnewsuperior: OU=Groups,DC=corp,DC=example\n"));
    let (done, _) = office.sync(&written, &[]);
    let moved = "CN=Isaac,OU=Groups,DC=corp,DC=example";
    assert_eq!(office.tells(&["object", "find", moved], 0)["objects"][0]["dn"], moved, "{done:#}");

    // Gone, which a cycle finds behind its guards.
    office.lab.modify(&format!("dn: {moved}\nchangetype: delete\n"));
    let said = office.does(&["object", "sync", &anchor, "--what-if"], 2);
    assert!(said.contains("does not have") && said.contains("cycle start`"), "{said}");
    let said = office.does(&["object", "sync", &anchor], 4);
    assert!(said.contains("cycle start`"), "{said}");
    assert_eq!(office.in_cloud("newton@corp.example", "displayName").as_deref(), Some("newton"));
    assert_eq!(counted(&office.tells(&["cycle", "start"], 0), "export-delete"), 1);
    assert_eq!(office.in_cloud("newton@corp.example", "displayName"), None);
    let said = office.does(&["object", "sync", "corp.example:CN=Nobody,DC=corp,DC=example"], 4);
    assert!(said.contains("its directory gives no such entry"), "{said}");
    let said = office.does(&["object", "sync", "corp.example:CN=Nobody,DC=corp,DC=example", "--what-if"], 2);
    assert!(said.contains("its directory gives no such entry"), "{said}");
    // Nothing of it is left for the next cycle.
    let cycle = office.tells(&["cycle", "start"], 0);
    assert_eq!(["export-add", "export-update", "export-delete"].map(|counter| counted(&cycle, counter)), [0, 0, 0], "{cycle:#}");
}

#[test]
fn an_openldap_is_tried_chosen_and_read_by_commands() {
    let office = Office::openldap();
    let trial = office.tells(&["connector", "test", "corp.example"], 0);
    assert!(trial["attributes"].as_u64().unwrap() > 100 && trial["delta_import"] == true, "{trial:#}");
    wrong_settings_say_what_is_wrong(&office, "cn=nobody,DC=corp,DC=example");
    let doctor = |office: &Office, level: &str, part: &str| {
        let told = office.tells(&["doctor"], 1);
        let of_it = |finding: &&Value| finding["area"] == "corp.example" && finding["level"] == level;
        let evidence: Vec<&str> =
            told["findings"].as_array().unwrap().iter().filter(of_it).filter_map(|one| one["evidence"].as_str()).collect();
        assert!(evidence.iter().any(|evidence| evidence.contains(part)), "{told:#}");
    };
    doctor(&office, "warn", "sees nobody of the selected types");
    // The people of this server are of Active Directory's classes.
    office.does(&["connector", "set", "corp.example", "selection.object_types", "[\"user\", \"group\", \"contact\"]"], 0);
    doctor(&office, "ok", "all of 25 entries show entryUUID");
    doctor(&office, "ok", "RFC 4533");
    let first = office.tells(&["connector", "refresh-schema", "corp.example", "--apply"], 0);
    assert_eq!(first["first"], true, "{first:#}");
    assert!(office.does(&["connector", "refresh-schema", "corp.example"], 0).contains("nothing changed"));
    let partitions = office.tells(&["partition", "list", "--ask"], 0);
    assert_eq!(partitions["partitions"][0]["enabled"], true, "{partitions:#}");
    assert_eq!(partitions["partitions"].as_array().unwrap().len(), 1, "{partitions:#}");
    office.does(&["partition", "enable", "corp.example", "DC=other,DC=example"], 64);
    office.does(&["partition", "disable", "corp.example", "DC=corp,DC=example"], 64);
    let tree = office.tells(&["partition", "tree", "corp.example"], 0);
    let wanted = "(|(objectClass=user)(objectClass=group)(objectClass=contact))";
    let judged = office.lab.search(office.lab.text("base"), wanted, &["1.1"]).len() as u64;
    assert_eq!(tree["objects"], judged, "{tree:#}");
    // Nothing is in the store yet, so the server is asked.
    let said = office.does(&["partition", "exclude", "corp.example", "ou=Peopel,dc=corp,dc=example"], 64);
    assert!(said.to_lowercase().contains("did you mean 'ou=people,dc=corp,dc=example'?"), "{said}");
    let ahead = office.tells(&["partition", "exclude", "corp.example", "ou=people,dc=corp,dc=example", "--what-if"], 0);
    assert_eq!((&ahead["unchecked"], &ahead["done"]), (&Value::Null, &"would be written".into()), "{ahead:#}");
    office.does(&["cycle", "start", "--initial"], 0);

    // One person, by name, by account and by anchor.
    let people = "ou=People,dc=corp,dc=example";
    office.lab.modify(&format!(
        "dn: cn=newton,{people}\nchangetype: add\nobjectClass: user\ncn: newton\nsn: newton\nsAMAccountName: newton\ndisplayName: newton\n\
         userPrincipalName: newton@corp.example\nuserAccountControl: 512\n"
    ));
    let named = format!("corp.example:cn=newton,{people}");
    let (done, _) = office.sync(&named, &[]);
    assert_eq!(counted(&done, "export-add"), 1, "{done:#}");
    let (dn, uuid) = office.person("newton", "entryUUID");
    let uuid = String::from_utf8(uuid).unwrap();
    office.lab.modify(&format!("dn: {dn}\nchangetype: modify\nreplace: department\ndepartment: Optics\n"));
    let (ahead, _) = office.sync(&uuid, &["--what-if"]);
    assert!(ahead["read"].to_string().contains("Optics"), "{ahead:#}");
    let (done, _) = office.sync(&uuid, &[]);
    assert_eq!(counted(&done, "export-update"), 1, "{done:#}");
    assert_eq!(office.in_cloud("newton@corp.example", "department").as_deref(), Some("Optics"));
    office.lab.modify(&format!("dn: {dn}\nchangetype: delete\n"));
    office.does(&["object", "sync", &uuid], 4);
    let cycle = office.tells(&["cycle", "start"], 0);
    assert_eq!(["export-add", "export-update", "export-delete"].map(|counter| counted(&cycle, counter)), [0, 0, 1], "{cycle:#}");
}

/// A server refuses to replace the attribute that names an entry, and `ldapmodify` stops there.
#[test]
fn what_the_lint_proposes_is_taken_by_a_server_as_a_whole() {
    let office = Office::openldap();
    office.does(&["connector", "set", "corp.example", "selection.object_types", "[\"user\", \"group\", \"contact\"]"], 0);
    let people = "ou=People,dc=corp,dc=example";
    let contact = |name: &str, cn: &str, mail: &str| {
        format!("dn: cn={name},{people}\nchangetype: add\nobjectClass: contact\ncn: {cn}\nsn: Partner\nmail: {mail}\n\n")
    };
    office.lab.modify(&contact("Ann Partner", "Ann Partner", "ann partner@else.example"));
    office.lab.modify(&contact("Bo\\, b", "Bo, b", "bob@else.example"));
    office.does(&["run", "start", "corp.example", "full-import"], 0);
    let file = office.file("mend.ldif");
    let lint = || {
        let output = office.run(&["--json", "lint", "directory", "--limit", "10000", "--ldif", file.to_str().unwrap()]);
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        let of_partners = |finding: &&Value| finding["kind"] == "nickname-unusable" || finding["kind"] == "mail-malformed";
        found["findings"].as_array().unwrap().iter().filter(of_partners).count()
    };
    assert!(lint() >= 3);
    let changes = std::fs::read_to_string(&file).unwrap();
    assert!(changes.contains("changetype: modrdn\nnewrdn: cn=AnnPartner\n"), "{changes}");
    office.lab.modify(&changes);
    let renamed = office.lab.search(people, "(cn=AnnPartner)", &["cn", "mail"]);
    let (_, values) = renamed.first_key_value().unwrap();
    assert_eq!(values["cn"], [b"AnnPartner".to_vec()].into(), "the old name is gone");
    assert_eq!(values["mail"], [b"annpartner@else.example".to_vec()].into());
    office.does(&["run", "start", "corp.example", "full-import"], 0);
    assert_eq!(lint(), 0);
}
