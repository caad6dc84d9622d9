//! One world per test: a directory in a file, a tenant in a process of its own, the program between them.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use syncline::directory_generator::DirectoryRecipe;

/// Objects in one call, so that a small directory makes many calls.
const BATCH: usize = 25;

pub(crate) struct World {
    folder: tempfile::TempDir,
    tenant: Option<Child>,
    arguments: Vec<String>,
    port: u16,
    credentials: Value,
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

impl Drop for World {
    fn drop(&mut self) {
        self.kill_tenant();
    }
}

/// A made-up directory.
pub(crate) fn people(users: u64, groups: u64, contacts: u64) -> String {
    let recipe = DirectoryRecipe { users, groups, contacts, ..DirectoryRecipe::default() };
    let mut text = Vec::new();
    recipe.write_ldif(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

impl World {
    /// A world with this directory and an empty tenant. `arguments` go to the tenant.
    pub(crate) fn new(directory: &str, arguments: &[&str]) -> Self {
        let world = Self::with_source(arguments, |folder| {
            std::fs::write(folder.join("directory.ldif"), directory).unwrap();
            let path = folder.join("directory.ldif").to_str().unwrap().to_owned();
            ["--source", "ldif", "--path", &path, "--domain", "corp.example", "--name", "corp"].map(str::to_owned).to_vec()
        });
        assert!(world.directory_file().exists());
        world
    }

    /// A world with another source: `source` gives the flags of `init`.
    pub(crate) fn with_source(arguments: &[&str], source: impl FnOnce(&Path) -> Vec<String>) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut world = Self {
            folder: tempfile::tempdir().unwrap(),
            tenant: None,
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            port: 0,
            credentials: Value::Null,
            client: reqwest::Client::builder().tls_certs_only(None::<reqwest::Certificate>).build().unwrap(),
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
        };
        world.start_tenant();
        let flags = source(world.folder.path());
        world.configure(&flags);
        world
    }

    fn configure(&self, source: &[String]) {
        let secret = self.folder.path().join("client-secret");
        std::fs::write(&secret, self.credential("client_secret")).unwrap();
        let mut command = self.command();
        command.arg("init").args(source).args(["--tenant", "entra", "--tenant-id", self.credential("tenant_id")]);
        command.args(["--client-id", self.credential("client_id"), "--client-secret-file"]).arg(&secret);
        command.args(["--login-url", &self.base_url(), "--provisioning-url", &format!("{}/provisioningservice.svc", self.base_url())]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let cloud = self.config().join("connectors/90-entra.toml");
        let text = std::fs::read_to_string(&cloud).unwrap();
        std::fs::write(cloud, format!("batch_objects = {BATCH}\n{text}")).unwrap();
    }

    /// Starts the tenant, on the port that it had before.
    pub(crate) fn start_tenant(&mut self) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_syncline-tenant"))
            .args([
                "serve",
                "--json",
                "--plain-http",
                "--domain",
                "corp.example",
                "--listen",
                &format!("127.0.0.1:{}", self.port),
                "--data",
            ])
            .arg(self.folder.path().join("tenant.redb"))
            .args(&self.arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        self.port = ready["baseUrl"].as_str().unwrap().rsplit_once(':').unwrap().1.parse().unwrap();
        self.credentials = serde_json::from_slice(&std::fs::read(ready["credentials"].as_str().unwrap()).unwrap()).unwrap();
        self.tenant = Some(child);
    }

    pub(crate) fn kill_tenant(&mut self) {
        if let Some(mut tenant) = self.tenant.take() {
            drop(tenant.kill());
            drop(tenant.wait());
        }
    }

    fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn credential(&self, name: &str) -> &str {
        self.credentials[name].as_str().unwrap()
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("config")
    }

    /// A connector's file of the configuration.
    pub(crate) fn connector_file(&self, beginning: &str) -> PathBuf {
        let files = std::fs::read_dir(self.config().join("connectors")).unwrap().map(|file| file.unwrap().path());
        files.into_iter().find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(beginning)).unwrap()
    }

    pub(crate) fn directory_file(&self) -> PathBuf {
        self.folder.path().join("directory.ldif")
    }

    /// Writes the directory anew; the promise of a number of records is taken out, as an editor would have to.
    pub(crate) fn write_directory(&self, text: &str) {
        std::fs::write(self.directory_file(), text).unwrap();
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
        command.arg("--config").arg(self.config()).env("NO_COLOR", "1");
        command
    }

    pub(crate) fn syncline(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).output().unwrap()
    }

    /// A command with `--json` that must end with this exit code.
    #[track_caller]
    pub(crate) fn json(&self, code: i32, arguments: &[&str]) -> Value {
        let output = self.command().arg("--json").args(arguments).output().unwrap();
        let shown = format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{arguments:?}:\n{shown}");
        serde_json::from_slice(&output.stdout).unwrap_or(Value::String(shown))
    }

    /// A cycle that must end with this exit code.
    #[track_caller]
    pub(crate) fn cycle(&self, code: i32, arguments: &[&str]) -> Value {
        let all: Vec<&str> = ["cycle", "start"].into_iter().chain(arguments.iter().copied()).collect();
        self.json(code, &all)
    }

    fn admin(&self, method: reqwest::Method, path: &str, body: Option<&Value>) -> String {
        self.runtime.block_on(async {
            let url = format!("{}/syncline-admin{path}", self.base_url());
            let mut request = self.client.request(method, &url).bearer_auth(self.credential("admin_token"));
            if let Some(body) = body {
                request = request.json(body);
            }
            let response = request.send().await.unwrap();
            let (status, text) = (response.status(), response.text().await.unwrap());
            assert!(status.is_success(), "{url}: {status} {text}");
            text
        })
    }

    pub(crate) fn ask(&self, path: &str) -> Value {
        serde_json::from_str(&self.admin(reqwest::Method::GET, path, None)).unwrap()
    }

    pub(crate) fn put(&self, path: &str, body: &Value) {
        self.admin(reqwest::Method::PUT, path, Some(body));
    }

    pub(crate) fn clear(&self, path: &str) {
        self.admin(reqwest::Method::DELETE, path, None);
    }

    pub(crate) fn fault(&self, rule: &str) {
        self.admin(reqwest::Method::POST, "/faults", Some(&json!(rule)));
    }

    /// Everything the tenant holds, without what differs between two runs of the same synchronization.
    pub(crate) fn tenant_state(&self) -> BTreeSet<String> {
        // The tenant's own account has another name in every tenant.
        let own = |line: &&str| line.contains("On-Premises Directory Synchronization Service Account");
        let dump = self.admin(reqwest::Method::GET, "/dump", None);
        let lines: Vec<String> = dump.lines().filter(|line| !own(line)).map(str::to_owned).collect();
        let state: BTreeSet<String> = lines.iter().cloned().collect();
        assert_eq!(state.len(), lines.len(), "an object is twice in the tenant");
        state
    }

    /// What Syncline believes, without its running numbers.
    pub(crate) fn own_state(&self) -> BTreeSet<String> {
        let mut state = BTreeSet::new();
        for connector in ["corp", "Entra"] {
            for object in self.json(0, &["cs", "search", connector, "--limit", "1000000"])["objects"].as_array().unwrap() {
                // The tenant's own account has another name in every tenant.
                if object["state"] != "filtered-disconnector" || connector == "corp" {
                    state.insert(format!(
                        "{connector} {} {} {} {}",
                        object["object_type"], object["state"], object["pending"], object["dn"]
                    ));
                }
            }
        }
        for object in self.json(0, &["mv", "search", "--limit", "1000000"])["objects"].as_array().unwrap() {
            state.insert(format!("mv {} {} {}", object["object_type"], object["name"], object["account"]));
        }
        state
    }

    /// The store must hold together.
    #[track_caller]
    pub(crate) fn check_store(&self) {
        self.json(0, &["store", "check"]);
    }

    /// Writes that reached the tenant, accepted or not.
    pub(crate) fn writes(&self) -> usize {
        self.ask("/journal")["writes"].as_array().unwrap().len()
    }
}

/// The sum of a counter over all steps of a command's runs.
pub(crate) fn counted(document: &Value, counter: &str) -> u64 {
    let runs = document["runs"].as_array().unwrap();
    runs.iter().flat_map(|run| run["steps"].as_array().unwrap()).map(|step| step["counters"][counter].as_u64().unwrap_or(0)).sum()
}

/// Objects that exports sent.
pub(crate) fn exported(document: &Value) -> u64 {
    ["add", "update", "rename", "delete", "delete-add", "failure"].iter().map(|name| counted(document, &format!("export-{name}"))).sum()
}
