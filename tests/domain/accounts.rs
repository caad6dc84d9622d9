//! Accounts in a real domain: rights that are granted to the last one and no further, by us and by the scripts that we write;
//! new passwords, also when the change is cut off; and what the doctor says of it all.

use crate::labs::{self, Lab};
use base64::Engine as _;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const PASSWORD: &str = "Syncl1ne!New-Account";

fn run(config: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
    command.arg("--config").arg(config).args(arguments).env("NO_COLOR", "1").env_remove("CREDENTIALS_DIRECTORY");
    command.stdin(Stdio::null()).output().unwrap()
}

/// Runs the program, which must end with a code; gives its document.
#[track_caller]
fn document(config: &Path, code: i32, arguments: &[&str]) -> Value {
    let output = run(config, &[&["--json"], arguments].concat());
    let (shown, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{shown}\n{told}");
    serde_json::from_str(&shown).unwrap_or_else(|error| panic!("{error}: {shown}\n{told}"))
}

/// A configuration whose account is new in the domain and may do what everybody may.
fn account(lab: &Lab, folder: &Path, name: &str) -> (PathBuf, String) {
    let quoted: Vec<u8> = format!("\"{PASSWORD}\"").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let secret = base64::engine::general_purpose::STANDARD.encode(quoted);
    lab.modify(&format!(
        "dn: CN={name},OU=Service Accounts,{}\nchangetype: add\nobjectClass: user\nsAMAccountName: {name}\n\
             userPrincipalName: {name}@corp.example\nuserAccountControl: 66048\nunicodePwd:: {secret}\n",
        lab.text("base")
    ));
    let (config, password) = (folder.join(name), folder.join(format!("{name}.password")));
    fs::write(&password, PASSWORD).unwrap();
    fs::write(folder.join("admin"), lab.text("admin_password")).unwrap();
    let bind_name = format!("{name}@corp.example");
    let output = run(
        &config,
        &[
            "init",
            "--source",
            "ad",
            "--name",
            "AD",
            "--url",
            lab.text("ldaps"),
            "--ca-file",
            lab.text("ca"),
            "--bind-name",
            &bind_name,
            "--secret-file",
            password.to_str().unwrap(),
            "--domain",
            "corp.example",
        ],
    );
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (config, bind_name)
}

/// Rights by name, and whether they are there.
fn rights(view: &Value) -> Vec<(String, Option<bool>)> {
    let rights = view["rights"].as_array().unwrap();
    rights.iter().map(|right| (right["right"].as_str().unwrap().to_owned(), right["granted"].as_bool())).collect()
}

const GRANTED: [&str; 4] = ["--feature", "password-hash", "--feature", "consistency-guid"];

/// The account has what was granted and nothing else: by its own check, and by what the domain lets it do.
#[track_caller]
fn has_exactly_that(lab: &Lab, config: &Path, bind_name: &str) {
    let view = document(config, 0, &[&["account", "ad", "check", "AD"], &GRANTED[..]].concat());
    assert!(rights(&view).iter().all(|(_, granted)| *granted == Some(true)), "{view:#}");
    let view = document(config, 1, &["account", "ad", "check", "AD", "--feature", "password-writeback", "--feature", "group-writeback"]);
    assert!(rights(&view).iter().all(|(_, granted)| *granted == Some(false)), "{view:#}");
    let found = lab.search("OU=People,DC=corp,DC=example", "(&(objectClass=user)(mail=*))", &["mail"]);
    let person = found.keys().find(|dn| dn.is_ascii()).unwrap();
    let change = |attribute: &str, value: &str| {
        lab.modify_as(bind_name, PASSWORD, &format!("dn: {person}\nchangetype: modify\nreplace: {attribute}\n{attribute}{value}\n"), &[]).0
    };
    assert_eq!(change("mS-DS-ConsistencyGuid", ":: AAECAwQFBgcICQoLDA0ODw=="), 0);
    for other in ["title", "description", "mail"] {
        assert_eq!(change(other, ": x"), 50, "insufficient access rights for {other}");
    }
    let object = document(config, 0, &["account", "ad", "check", "AD", "--object", person]);
    assert_eq!(object["writable"], serde_json::json!(["mS-DS-ConsistencyGuid"]), "{object:#}");
}

#[test]
fn rights_are_granted_to_the_last_one_and_no_further() {
    let lab = labs::active_directory();
    let folder = tempfile::tempdir().unwrap();
    let (config, bind_name) = account(lab, folder.path(), "svc_granted");
    let before = document(&config, 1, &[&["account", "ad", "check", "AD"], &GRANTED[..]].concat());
    assert!(rights(&before).iter().all(|(_, granted)| *granted == Some(false)), "{before:#}");
    let listed = document(&config, 0, &["account", "ad", "list"]);
    assert_eq!(listed["accounts"][0]["account"], bind_name.as_str());

    let admin = folder.path().join("admin");
    let admin = ["--apply", "--admin-name", lab.text("admin_name"), "--admin-secret-file", admin.to_str().unwrap()];
    let grant = [&["account", "ad", "grant", "AD"], &GRANTED[..], &admin[..]].concat();
    let done = document(&config, 0, &grant);
    let added = |done: &Value| done["changed"].as_array().unwrap().iter().map(|changed| changed["added"].as_u64().unwrap()).sum::<u64>();
    assert_eq!(added(&done), 3, "{done:#}");
    assert_eq!(added(&document(&config, 0, &grant)), 0, "the same again changes nothing");
    has_exactly_that(lab, &config, &bind_name);
    // What takes more than an administrator has is told, and the rest is done.
    let done = document(&config, 1, &[&["account", "ad", "grant", "AD", "--feature", "changes"], &admin[..]].concat());
    assert!(done["changed"].to_string().contains("refused"), "{done:#}");

    // Shut, the account still signs in, and others do not see it.
    document(&config, 0, &["account", "ad", "harden", "AD", "--admin-name", admin[2], "--admin-secret-file", admin[4]]);
    let own = format!("CN=svc_granted,OU=Service Accounts,{}", lab.text("base"));
    let object = document(&config, 0, &["account", "ad", "check", "AD", "--object", &own]);
    assert_eq!(object["protected"], true, "{object:#}");
    let protected = document(&config, 0, &["account", "ad", "check", "AD", "--inheritance"]);
    assert!(protected["objects"].to_string().contains("svc_granted"), "{protected:#}");
    let acts = String::from_utf8(run(&config, &["audit", "list"]).stdout).unwrap();
    assert!(acts.contains("account ad harden") && !acts.contains("account ad list"), "{acts}");
}

#[test]
fn what_the_scripts_do_is_what_is_done_without_them() {
    let lab = labs::active_directory();
    let folder = tempfile::tempdir().unwrap();
    let (config, bind_name) = account(lab, folder.path(), "svc_script");
    let whole = [&GRANTED[..], &["--feature", "changes"]].concat();
    let script = run(&config, &[&["account", "ad", "grant", "AD", "--script", "samba"], &whole[..]].concat());
    assert!(script.status.success(), "{}", String::from_utf8_lossy(&script.stderr));
    let path = folder.path().join("grant.sh");
    fs::write(&path, &script.stdout).unwrap();
    // Samba's library is that of the system's own interpreter.
    let output = Command::new("sh")
        .args(["-c", "PATH=/usr/bin:$PATH exec sh \"$0\""])
        .arg(&path)
        .env("SMB_CONF_PATH", format!("{}/smb.conf", lab.folder()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&script.stdout), String::from_utf8_lossy(&output.stderr));
    has_exactly_that(lab, &config, &bind_name);
    let view = document(&config, 0, &["account", "ad", "check", "AD", "--feature", "changes"]);
    assert!(rights(&view).iter().all(|(_, granted)| *granted == Some(true)), "{view:#}");

    // The same rights as change records, for what the account can read the access lists of.
    let (config, bind_name) = account(lab, folder.path(), "svc_ldif");
    let ldif = run(&config, &[&["account", "ad", "grant", "AD", "--script", "ldif"], &GRANTED[..]].concat());
    lab.modify(&String::from_utf8(ldif.stdout).unwrap());
    has_exactly_that(lab, &config, &bind_name);
    let windows = run(&config, &[&["account", "ad", "grant", "AD", "--script", "windows"], &whole[..]].concat());
    let windows = String::from_utf8(windows.stdout).unwrap();
    for line in [
        "dsacls \"DC=corp,DC=example\" /G \"CORP\\svc_ldif:CA;Replicating Directory Changes All\"",
        "dsacls \"CN=Deleted Objects,DC=corp,DC=example\" /takeownership",
        "dsacls \"DC=corp,DC=example\" /I:S /G \"CORP\\svc_ldif:WP;mS-DS-ConsistencyGuid;user\"",
    ] {
        assert!(windows.contains(line), "{line}\n{windows}");
    }
    assert!(!windows.contains(&bind_name), "{windows}");
}

#[test]
fn a_new_password_is_known_whenever_it_is_cut_off() {
    let lab = labs::passwords();
    let folder = tempfile::tempdir().unwrap();
    let (config, bind_name) = account(lab, folder.path(), "svc_rotate");
    let (kept, next) = (config.join("secrets/directory-bind"), config.join("secrets/directory-bind.next"));
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    let opens = |password: &str| {
        let output = Command::new("ldapsearch")
            .env("LDAPTLS_CACERT", lab.text("ca"))
            .args(["-x", "-H", lab.text("ldaps"), "-D", &bind_name, "-w", password, "-b", "", "-s", "base", "1.1"])
            .output();
        output.unwrap().status.success()
    };
    // The domain's rules come first, and nothing is lost by them.
    let refused = run(&config, &["account", "ad", "rotate", "AD"]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(4) && told.contains("minimum password age"), "{told}");
    assert!(read(&kept) == PASSWORD && !next.exists() && opens(PASSWORD));
    lab.modify(&format!("dn: {}\nchangetype: modify\nreplace: minPwdAge\nminPwdAge: 0\n", lab.text("base")));

    let looked = document(&config, 0, &["account", "ad", "rotate", "AD", "--what-if"]);
    assert!(looked["what_if"] == true && read(&kept) == PASSWORD, "{looked:#}");
    let done = document(&config, 0, &["account", "ad", "rotate", "AD"]);
    assert_eq!((&done["recovered"], &done["credential"]), (&false.into(), &"directory-bind".into()));
    let first = read(&kept);
    assert!(first.len() == 40 && first != PASSWORD && !next.exists(), "{done:#}");
    // Domain controllers let an old password in for an hour more, so that it is no witness.
    assert!(opens(&first));
    assert!(!done.to_string().contains(&first));

    // Killed when the directory had the new one: it is found again.
    fs::rename(&kept, &next).unwrap();
    fs::write(&kept, PASSWORD).unwrap();
    fs::set_permissions(&kept, fs::Permissions::from_mode(0o600)).unwrap();
    let import = run(&config, &["run", "start", "AD", "full-import"]);
    assert!(matches!(import.status.code(), Some(0 | 1)), "an import goes on with it: {}", String::from_utf8_lossy(&import.stderr));
    assert!(read(&kept) == first && !next.exists());

    // Killed before: what might still happen is waited for, and then forgotten.
    fs::write(&next, "never-told-to-anybody").unwrap();
    let waits = run(&config, &["account", "ad", "rotate", "AD"]);
    let told = String::from_utf8_lossy(&waits.stderr).into_owned();
    assert!(waits.status.code() == Some(4) && told.contains("may have made the change"), "{told}");
    assert!(read(&kept) == first && next.exists() && opens(&first));
    let touched = Command::new("touch").args(["-d", "25 hours ago"]).arg(&next).status().unwrap();
    assert!(touched.success());
    document(&config, 0, &["account", "ad", "rotate", "AD"]);
    let second = read(&kept);
    assert!(second != first && !next.exists() && opens(&second));
}

#[test]
fn a_doctor_looks_at_everything_whatever_fails() {
    let lab = labs::active_directory();
    let folder = tempfile::tempdir().unwrap();
    let (config, _) = account(lab, folder.path(), "svc_doctor");
    fs::write(
        config.join("connectors/20-gone.toml"),
        "kind = \"ad\"\nname = \"Gone\"\nurl = \"ldaps://127.0.0.254\"\nbind_name = \"svc@gone.example\"\n\
         password = { credential = \"gone\" }\n[password_hash_sync]\nenabled = true\nsign_in = \"ntlm\"\n",
    )
    .unwrap();
    let level = |found: &Value, area: &str, what: &str| {
        let all = found["findings"].as_array().unwrap();
        let one = all.iter().find(|finding| finding["area"] == area && finding["what"].as_str().unwrap().contains(what));
        one.map_or_else(|| panic!("nothing of {area}, {what}: {found:#}"), |finding| finding["level"].as_str().unwrap().to_owned())
    };
    // Without a store, with a secret that nobody gives and a server that nobody reaches.
    let found = document(&config, 2, &["doctor"]);
    for (area, what, wanted) in [
        ("configuration", "all of it", "ok"),
        ("secrets", "gone", "fail"),
        ("secrets", "directory-bind", "ok"),
        ("machine", "disk", "ok"),
        ("AD", "name and port", "ok"),
        ("AD", "certificate", "ok"),
        ("AD", "sign-in", "ok"),
        ("AD", "clock", "ok"),
        ("AD", "deleted objects", "warn"),
        ("AD", "changes", "warn"),
        ("AD", "the account itself", "warn"),
        ("Gone", "port", "fail"),
        ("store", "all of it", "warn"),
    ] {
        let disk = what == "disk";
        let level = level(&found, area, what);
        assert!(level == wanted || disk && level != "fail", "{area}, {what}: {level}\n{found:#}");
    }
    let network = document(&config, 2, &["doctor", "network"]);
    assert!(network["findings"].as_array().unwrap().iter().all(|finding| finding["what"].as_str().unwrap().contains("://")), "{network:#}");
    let passwords = document(&config, 2, &["phs", "doctor"]);
    let checks = passwords["checks"].as_array().unwrap();
    assert!(checks.iter().any(|check| check["area"] == "Gone" && check["good"] == false), "{passwords:#}");
    assert!(checks.iter().any(|check| check["area"] == "AD"), "{passwords:#}");
    // What cannot work is not switched on.
    let refused = run(&config, &["phs", "enable", "Gone"]);
    assert_eq!(refused.status.code(), Some(4), "{}", String::from_utf8_lossy(&refused.stderr));

    fs::remove_file(config.join("connectors/20-gone.toml")).unwrap();
    assert!(matches!(run(&config, &["cycle", "start", "--initial"]).status.code(), Some(0 | 1)));
    let found = document(&config, 1, &["doctor"]);
    for (area, what) in [("Entra", "sign-in"), ("Entra", "directory synchronization"), ("store", "all of it"), ("scheduler", "cycles")] {
        assert_eq!(level(&found, area, what), "ok", "{area}, {what}: {found:#}");
    }
    // A configuration that cannot be read is a finding, too.
    fs::write(config.join("connectors/30-odd.toml"), "kind = \"ad\"\nurll = 1\n").unwrap();
    let found = document(&config, 2, &["doctor"]);
    assert!(found.to_string().contains("30-odd.toml"), "{found:#}");
}

#[test]
fn secrets_are_kept_and_listed_without_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    let people = folder.path().join("people.ldif");
    fs::write(&people, "version: 1\n").unwrap();
    let made = run(&config, &["init", "--source", "ldif", "--path", people.to_str().unwrap(), "--domain", "corp.example"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let from = folder.path().join("secret");
    fs::write(&from, "hidden-thing\n").unwrap();
    let set = ["secret", "set", "spare", "--secret-file", from.to_str().unwrap()];
    document(&config, 0, &[&set[..], &["--what-if"]].concat());
    assert!(!config.join("secrets/spare").exists());
    document(&config, 0, &set);
    assert_eq!(fs::metadata(config.join("secrets/spare")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_to_string(config.join("secrets/spare")).unwrap(), "hidden-thing");
    let listed = document(&config, 0, &["secret", "list"]);
    assert!(listed["secrets"][0]["name"] == "spare" && !listed.to_string().contains("hidden-thing"), "{listed:#}");
    assert_eq!(run(&config, &["secret", "set", "../x", "--secret-file", from.to_str().unwrap()]).status.code(), Some(64));
    assert_eq!(run(&config, &["secret", "set", "spare"]).status.code(), Some(64), "nobody is there to be asked");
    document(&config, 0, &["secret", "remove", "spare"]);
    assert!(!config.join("secrets/spare").exists());
    assert_eq!(run(&config, &["secret", "remove", "spare"]).status.code(), Some(2));
}

#[test]
fn an_anchor_is_written_by_an_administrator_and_not_over_anothers() {
    let lab = labs::active_directory();
    let folder = tempfile::tempdir().unwrap();
    let (config, bind_name) = account(lab, folder.path(), "svc_anchor");
    let base = lab.text("base");
    lab.modify(&format!("dn: CN=Anchored,OU=People,{base}\nchangetype: add\nobjectClass: user\nsAMAccountName: anchored\n"));
    let dn = format!("CN=Anchored,OU=People,{base}");
    let stored = || {
        let found = lab.search(&dn, "(objectClass=*)", &["mS-DS-ConsistencyGuid"]);
        found.values().next().and_then(|entry| entry.get("mS-DS-ConsistencyGuid")).and_then(|values| values.first().cloned())
    };
    let admin = folder.path().join("admin");
    let admin = ["--admin-name", lab.text("admin_name"), "--admin-secret-file", admin.to_str().unwrap()];
    let (guid, octets) = ("897485c7-81a7-42eb-97c6-37ed73077b1f", "x4V0iaeB60KXxjftcwd7Hw==");

    let ahead = document(&config, 1, &["anchor", "set", "anchored", guid, "--what-if"]);
    assert_eq!((&ahead["done"], &ahead["before"], &ahead["after"]["base64"]), (&"would be written".into(), &Value::Null, &octets.into()));
    assert_eq!(stored(), None, "{ahead:#}");
    let done = document(&config, 1, &[&["anchor", "set", &dn, guid], &admin[..]].concat());
    assert_eq!((&done["done"], &done["dn"], &done["source_anchor"][1]), (&"written".into(), &dn.as_str().into(), &octets.into()));
    assert_eq!(stored().as_deref(), Some(&base64::engine::general_purpose::STANDARD.decode(octets).unwrap()[..]));
    let again = document(&config, 0, &[&["anchor", "set", "AD:anchored", octets], &admin[..]].concat());
    assert_eq!((&again["done"], &again["before"]["guid"]), (&"unchanged".into(), &guid.into()), "{again:#}");

    // Another value takes its place in one change; whoever may not write is told so, and nothing happens.
    let other = "AAECAwQFBgcICQoLDA0ODw==";
    let own = folder.path().join("svc_anchor.password");
    let refused =
        run(&config, &["anchor", "set", "anchored", other, "--admin-name", &bind_name, "--admin-secret-file", own.to_str().unwrap()]);
    assert!(!refused.status.success(), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("may not write it"), "{refused:?}");
    assert!(!String::from_utf8_lossy(&refused.stderr).contains(PASSWORD));
    let replaced = document(&config, 1, &[&["anchor", "set", "anchored", other], &admin[..]].concat());
    assert_eq!(replaced["source_anchor"], serde_json::json!([octets, other]), "{replaced:#}");
    let cleared = document(&config, 1, &[&["anchor", "clear", "anchored"], &admin[..]].concat());
    assert_eq!((&cleared["before"]["base64"], &cleared["after"]), (&other.into(), &Value::Null), "{cleared:#}");
    assert_eq!(stored(), None);
    assert!(!run(&config, &["anchor", "clear", "nobody-of-that-name", "--what-if"]).status.success());
    let acts = String::from_utf8(run(&config, &["audit", "list"]).stdout).unwrap();
    assert!(acts.contains("anchor clear") && !acts.contains("--what-if"), "{acts}");
}
