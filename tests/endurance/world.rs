//! One world per test: a directory in a file, a tenant in a process of its own, the program between them.

use crate::labs::Lab;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use syncline::config::Config;
use syncline::directory_generator::DirectoryRecipe;
use syncline::model::MvId;
use syncline::service::{Access, CsQuery, Found, MvQuery, Service};

/// Objects in one call, so that a small directory makes many calls.
const BATCH: usize = 25;

/// Attributes whose values the tenant makes up.
const TENANTS_OWN: [&str; 2] = ["cloudAnchor", "cloudObjectId"];

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

/// One person of a made-up domain; `more` are further lines.
pub(crate) fn person(number: u32, more: &str) -> String {
    let id = STANDARD.encode([[0u8; 12].as_slice(), &number.to_be_bytes()].concat());
    let sid =
        STANDARD.encode([&[1, 5, 0, 0, 0, 0, 0, 5, 21, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0][..], &number.to_le_bytes()].concat());
    format!(
        "dn: CN=Person {number},OU=People,DC=corp,DC=example\nobjectClass: top\nobjectClass: user\ncn: Person {number}\n\
         displayName: Person {number}\nobjectGUID:: {id}\nobjectSid:: {sid}\nsAMAccountName: p{number}\n\
         userPrincipalName: p{number}@corp.example\nuserAccountControl: 512\n{more}\n"
    )
}

impl World {
    /// A world with this directory and an empty tenant. `arguments` go to the tenant.
    pub(crate) fn new(directory: &str, arguments: &[&str]) -> Self {
        let world = Self::with_source(arguments, |folder| {
            let file = folder.join("directory.ldif");
            std::fs::write(&file, directory).unwrap();
            // It may hold passwords.
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
            let path = file.to_str().unwrap().to_owned();
            ["--source", "ldif", "--path", &path, "--domain", "corp.example", "--name", "corp"].map(str::to_owned).to_vec()
        });
        assert!(world.directory_file().exists());
        world
    }

    /// A world whose source is a server of the laboratory: `kind` is that of `init`.
    pub(crate) fn of_server(lab: &Lab, kind: &str, name: &str) -> Self {
        let world = Self::with_source(&[], |folder| {
            let password = folder.join("password");
            std::fs::write(&password, lab.text("password")).unwrap();
            let mut flags = vec![
                ("--source", kind),
                ("--name", name),
                ("--url", lab.text("ldaps")),
                ("--ca-file", lab.text("ca")),
                ("--bind-name", lab.text("bind_name")),
                ("--secret-file", password.to_str().unwrap()),
                ("--domain", "corp.example"),
            ];
            if kind == "ldap" {
                flags.push(("--base", lab.text("base")));
            }
            flags.iter().flat_map(|(flag, value)| [(*flag).to_owned(), (*value).to_owned()]).collect()
        });
        if kind == "ldap" {
            // The people of the test directory have the classes of Active Directory.
            let path = world.connector_file("10-");
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(&path, format!("{text}\n[selection]\nobject_types = [\"user\", \"group\", \"contact\"]\n")).unwrap();
        }
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
            client: reqwest::Client::builder()
                .tls_certs_only(None::<reqwest::Certificate>)
                // The tenant is killed now and then, and connections do not survive it.
                .pool_max_idle_per_host(0)
                .build()
                .unwrap(),
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
        self.set_first_export("free");
    }

    /// Whether the first export waits for an approval.
    pub(crate) fn set_first_export(&self, who: &str) {
        let main = self.config().join("syncline.toml");
        let text = std::fs::read_to_string(&main).unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("first_export")).collect();
        let text = lines.join("\n").replace("[guard]", &format!("[guard]\nfirst_export = \"{who}\""));
        std::fs::write(main, text + "\n").unwrap();
    }

    /// Sends this many objects in one call from now on.
    pub(crate) fn set_batch(&self, objects: usize) {
        let cloud = self.connector_file("90-");
        let text = std::fs::read_to_string(&cloud).unwrap();
        let changed = text.replace(&format!("batch_objects = {BATCH}\n"), &format!("batch_objects = {objects}\n"));
        assert_ne!(changed, text);
        std::fs::write(cloud, changed).unwrap();
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

    /// A request to Graph, by the application. Gives status and body.
    pub(crate) fn graph(&self, method: reqwest::Method, path: &str, body: Option<&Value>) -> (u16, Value) {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", self.credential("client_id")),
            ("client_secret", self.credential("client_secret")),
            ("scope", "https://graph.microsoft.com/.default"),
        ];
        let (status, token) = self.token(&form);
        assert_eq!(status, 200, "{token}");
        self.runtime.block_on(async {
            let url = format!("{}/v1.0{path}", self.base_url());
            let mut request = self.client.request(method, &url).bearer_auth(token["access_token"].as_str().unwrap());
            if let Some(body) = body {
                request = request.json(body);
            }
            let response = request.send().await.unwrap();
            let status = response.status().as_u16();
            let octets = response.bytes().await.unwrap();
            (status, if octets.is_empty() { Value::Null } else { serde_json::from_slice(&octets).unwrap() })
        })
    }

    fn token(&self, form: &[(&str, &str)]) -> (u16, Value) {
        self.runtime.block_on(async {
            let url = format!("{}/corp.example/oauth2/v2.0/token", self.base_url());
            let response = self.client.post(url).form(form).send().await.unwrap();
            (response.status().as_u16(), response.json().await.unwrap())
        })
    }

    /// The number of the tenant's refusal when somebody signs in with a password over HTTP; 0 when it lets them in.
    pub(crate) fn sign_in(&self, name: &str, password: &str) -> u64 {
        const PUBLIC_CLIENT: &str = "1b730954-1685-4b74-9bfd-dac224a7b894";
        let form = [
            ("grant_type", "password"),
            ("client_id", PUBLIC_CLIENT),
            ("username", name),
            ("password", password),
            ("scope", "https://graph.microsoft.com/.default"),
        ];
        let (status, answer) = self.token(&form);
        assert_eq!(status == 200, answer["access_token"].is_string(), "{status} {answer}");
        if status == 200 { 0 } else { answer["error_codes"][0].as_u64().unwrap() }
    }

    pub(crate) fn ask(&self, path: &str) -> Value {
        serde_json::from_str(&self.admin(reqwest::Method::GET, path, None)).unwrap()
    }

    pub(crate) fn put(&self, path: &str, body: &Value) {
        self.admin(reqwest::Method::PUT, path, Some(body));
    }

    pub(crate) fn admin_patch(&self, path: &str, body: &Value) {
        self.admin(reqwest::Method::PATCH, path, Some(body));
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

    /// Everything Syncline believes, without running numbers and times: each object of each connector space with all
    /// values and stages, each object of the metaverse with all values and where they come from.
    pub(crate) fn own_state(&self) -> BTreeSet<String> {
        let service = Service::open(Config::load(&self.config()).unwrap(), None, Access::Existing).unwrap();
        let browser = service.browse().unwrap();
        let mut state = BTreeSet::new();
        let mut count = 0;
        for (id, connector) in service.connectors() {
            let (lines, more) = browser.search_cs(*id, &CsQuery { limit: 1_000_000, ..CsQuery::default() }).unwrap();
            assert!(!more);
            for line in lines {
                // The tenant's own account has another name in every tenant.
                if line.state == "filtered-disconnector" && connector == "Entra" {
                    continue;
                }
                let Found::One(number) = browser.find_cs(&line.id).unwrap() else { panic!("{} is not one object", line.id) };
                let object = browser.show_cs(number, usize::MAX).unwrap().unwrap();
                state.insert(without_numbers(serde_json::to_value(object).unwrap()));
                count += 1;
            }
        }
        for line in browser.search_mv(&MvQuery { limit: 1_000_000, ..MvQuery::default() }).unwrap().0 {
            let object = browser.show_mv(MvId(line.id), usize::MAX).unwrap().unwrap();
            state.insert(without_numbers(serde_json::to_value(object).unwrap()));
            count += 1;
        }
        assert_eq!(state.len(), count, "an object is twice in the store");
        state
    }

    /// The store must hold together.
    #[track_caller]
    pub(crate) fn check_store(&self) {
        self.json(0, &["store", "check"]);
    }

    /// The runs that kills interrupted, with their profiles. They are shown as running until the next ones begin.
    pub(crate) fn interrupted_runs(&self) -> Vec<(u64, String)> {
        let running = self.newest_runs().into_iter().filter(|run| run["result"] == "in-progress");
        running.map(|run| (run["number"].as_u64().unwrap(), run["profile"].as_str().unwrap().to_owned())).collect()
    }

    /// The newest runs; none while there is no store.
    pub(crate) fn newest_runs(&self) -> Vec<Value> {
        let output = self.syncline(&["--json", "run", "list", "--limit", "20"]);
        // Killed early enough, not even the store is there.
        let Ok(document) = serde_json::from_slice::<Value>(&output.stdout) else { return Vec::new() };
        document["runs"].as_array().cloned().unwrap_or_default()
    }

    /// Writes that the tenant accepted since its start or since its counters were cleared.
    pub(crate) fn accepted(&self) -> u64 {
        self.ask("/traffic")["accepted"].as_u64().unwrap()
    }

    /// Writes that reached the tenant, accepted or not.
    pub(crate) fn writes(&self) -> usize {
        self.ask("/journal")["writes"].as_array().unwrap().len()
    }
}

/// A view as text, without what differs between two runs of the same synchronization: our numbers, the tenant's, times.
fn without_numbers(mut view: Value) -> String {
    fn clean(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields
                    .retain(|name, _| !["id", "source_id", "metaverse", "since", "first_seen", "last_seen", "retries"].contains(&&**name));
                if fields.get("connector").is_some_and(|connector| connector == "Entra") {
                    fields.remove("anchor");
                }
                fields.values_mut().for_each(clean);
            }
            Value::Array(items) => {
                items.retain(|item| !item.get("name").and_then(Value::as_str).is_some_and(|name| TENANTS_OWN.contains(&name)));
                items.iter_mut().for_each(clean);
                items.sort_by_cached_key(Value::to_string);
            }
            _ => {}
        }
    }
    clean(&mut view);
    view.to_string()
}

/// The first difference of two states, for people.
#[track_caller]
pub(crate) fn assert_same(found: &BTreeSet<String>, wanted: &BTreeSet<String>, what: &str) {
    let sample = |one: &BTreeSet<String>, other: &BTreeSet<String>| one.difference(other).take(2).cloned().collect::<Vec<_>>().join("\n");
    assert!(
        found == wanted,
        "{what}: {} objects, {} wanted\nnot wanted: {}\nmissing: {}",
        found.len(),
        wanted.len(),
        sample(found, wanted),
        sample(wanted, found)
    );
}

/// The sum of a counter over all steps of a command's runs.
pub(crate) fn counted(document: &Value, counter: &str) -> u64 {
    let runs = document["runs"].as_array().unwrap();
    runs.iter().flat_map(|run| run["steps"].as_array().unwrap()).map(|step| step["counters"][counter].as_u64().unwrap_or(0)).sum()
}

/// Objects that exports sent.
pub(crate) fn exported(document: &Value) -> u64 {
    ["add", "update", "rename", "delete", "failure"].iter().map(|name| counted(document, &format!("export-{name}"))).sum()
}
