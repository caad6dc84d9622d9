//! Starts the real servers, once for the whole test run, and takes them away when the run has ended, however it ended.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// A running test directory.
pub(crate) struct Lab {
    state: serde_json::Value,
}

impl Lab {
    pub(crate) fn text(&self, key: &str) -> &str {
        self.state[key].as_str().unwrap_or_else(|| panic!("the lab has no {key}"))
    }

    /// The same, where not every lab has it.
    pub(crate) fn optional(&self, key: &str) -> Option<&str> {
        self.state[key].as_str()
    }

    /// The folder that holds everything of a domain controller.
    pub(crate) fn folder(&self) -> &str {
        self.text("ca").trim_end_matches("/tls/ca.pem")
    }

    /// What `ldapsearch` prints, by name and attribute: the independent judge.
    pub(crate) fn search(&self, base: &str, filter: &str, attributes: &[&str]) -> BTreeMap<String, BTreeMap<String, BTreeSet<Vec<u8>>>> {
        let output = Command::new("ldapsearch")
            .env("LDAPTLS_CACERT", self.text("ca"))
            .args(["-x", "-LLL", "-o", "ldif-wrap=no", "-E", "pr=500/noprompt", "-H", self.text("ldaps")])
            .args(["-D", self.text("bind_name"), "-w", self.text("password"), "-b", base, filter])
            .args(attributes)
            .output()
            .expect("ldapsearch is missing; run tools/lab/install as root");
        assert!(output.status.success(), "ldapsearch: {}", String::from_utf8_lossy(&output.stderr));
        let mut found: BTreeMap<String, BTreeMap<String, BTreeSet<Vec<u8>>>> = BTreeMap::new();
        let mut dn = String::new();
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            if line.starts_with('#') {
                continue;
            }
            let Some((name, value)) = line.split_once(':') else { continue };
            let octets = match value.strip_prefix(": ") {
                Some(encoded) => base64::Engine::decode(&base64::engine::general_purpose::STANDARD, encoded).unwrap(),
                None => value.trim_start().as_bytes().to_vec(),
            };
            match name {
                "dn" => {
                    dn = String::from_utf8(octets).unwrap();
                    found.entry(dn.clone()).or_default();
                }
                "ref" => {}
                _ => {
                    found.get_mut(&dn).unwrap().entry(name.to_owned()).or_default().insert(octets);
                }
            }
        }
        found
    }

    /// Changes the directory as its administrator.
    #[track_caller]
    pub(crate) fn modify(&self, ldif: &str) {
        self.modify_with(ldif, &[]);
    }

    /// The same with options of `ldapmodify`.
    #[track_caller]
    pub(crate) fn modify_with(&self, ldif: &str, options: &[&str]) {
        let password = self.optional("admin_password").unwrap_or_else(|| self.text("password"));
        let (code, said) = self.modify_as(self.text("admin_name"), password, ldif, options);
        assert_eq!(code, 0, "{said}\n{ldif}");
    }

    /// Changes the directory as somebody. Gives the exit code, which is that of LDAP, and what was said.
    pub(crate) fn modify_as(&self, who: &str, password: &str, ldif: &str, options: &[&str]) -> (i32, String) {
        let mut child = Command::new("ldapmodify")
            .env("LDAPTLS_CACERT", self.text("ca"))
            .args(["-x", "-H", self.text("ldaps"), "-D", who, "-w", password])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("ldapmodify is missing; run tools/lab/install as root");
        let mut input = child.stdin.take().unwrap();
        let text = ldif.to_owned();
        // Whoever is refused stops reading.
        let writing = std::thread::spawn(move || drop(input.write_all(text.as_bytes())));
        let output = child.wait_with_output().unwrap();
        writing.join().unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// An Active Directory domain with 60 users, 10 groups and 6 contacts.
pub(crate) fn active_directory() -> &'static Lab {
    static LAB: OnceLock<Lab> = OnceLock::new();
    LAB.get_or_init(|| up("samba-ad", &active_directory_recipe(), &[]))
}

/// Another such domain, whose passwords may be changed: nobody else looks at it.
pub(crate) fn passwords() -> &'static Lab {
    static LAB: OnceLock<Lab> = OnceLock::new();
    LAB.get_or_init(|| up("samba-ad", &active_directory_recipe(), &[]))
}

/// An OpenLDAP server with 1,500 users, 60 groups and 20 contacts; other accounts than the service's own get 500 entries.
pub(crate) fn openldap() -> &'static Lab {
    static LAB: OnceLock<Lab> = OnceLock::new();
    LAB.get_or_init(|| up("openldap", &openldap_recipe(), &["--size-limit", "500"]))
}

pub(crate) fn active_directory_recipe() -> syncline::directory_generator::DirectoryRecipe {
    recipe(60, 10, 6)
}

pub(crate) fn openldap_recipe() -> syncline::directory_generator::DirectoryRecipe {
    recipe(1_500, 60, 20)
}

pub(crate) fn recipe(users: u64, groups: u64, contacts: u64) -> syncline::directory_generator::DirectoryRecipe {
    syncline::directory_generator::DirectoryRecipe { users, groups, contacts, ..Default::default() }
}

pub(crate) fn up(kind: &str, recipe: &syncline::directory_generator::DirectoryRecipe, more: &[&str]) -> Lab {
    let tool = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tools/lab").join(kind);
    // Below /tmp, for Samba puts Unix sockets there, and their paths are short.
    let home = tempfile::Builder::new().prefix("syncline-test-").tempdir().unwrap().keep();
    let (data, folder) = (home.join("data.ldif"), home.join("lab"));
    let mut file = std::io::BufWriter::new(std::fs::File::create(&data).unwrap());
    if kind == "openldap" { recipe.write_openldap_ldif(&mut file) } else { recipe.write_ldif(&mut file) }.unwrap();
    file.flush().unwrap();
    drop(file);
    // Whatever becomes of the tests, the server goes when their process has gone.
    let watch = "while [ -d /proc/$1 ]; do sleep 1; done; \"$2\" wipe \"$3/lab\"; rm -rf \"$3\"";
    let behind = "setsid sh -c \"$0\" watch \"$@\" </dev/null >/dev/null 2>&1 &";
    let watching = Command::new("sh").args(["-c", behind, watch, &std::process::id().to_string()]).args([&tool, &home]).status();
    assert!(watching.is_ok_and(|status| status.success()), "setsid is missing (package util-linux)");
    let output = Command::new(&tool).arg("up").arg(&folder).arg("--ldif").arg(&data).args(more).stdin(Stdio::null()).output();
    let output = output.expect("python3 is missing; run tools/lab/install as root");
    assert!(
        output.status.success(),
        "the {kind} test directory did not start; run tools/test, or tools/lab/install as root:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Lab { state: serde_json::from_slice(&output.stdout).unwrap() }
}
