//! The two ends of the test: a domain of its own, a tenant of its own, and the program between them.

use crate::labs::{self, Lab};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use tokio::runtime::Runtime;

/// The domain of generated names in the tenant.
pub(crate) const INITIAL: &str = "contoso.onmicrosoft.com";
/// The only other domain that is verified there.
pub(crate) const VERIFIED: &str = "corp.example";
/// A public client that people may sign in with.
const PUBLIC_CLIENT: &str = "1b730954-1685-4b74-9bfd-dac224a7b894";
/// Nothing below is to be synchronized.
pub(crate) const EXCLUDED: &str = "OU=Service Accounts,DC=corp,DC=example";

pub(crate) struct World {
    pub(crate) lab: Lab,
    folder: tempfile::TempDir,
    tenant: Child,
    base_url: String,
    credentials: Value,
    client: reqwest::Client,
    runtime: Runtime,
    graph_token: String,
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.tenant.kill());
        drop(self.tenant.wait());
    }
}

impl World {
    /// A domain with users, nested groups and contacts, an empty tenant, and a configuration for both.
    pub(crate) fn new(users: u64, groups: u64, contacts: u64) -> Self {
        let lab = labs::up("samba-ad", &labs::recipe(users, groups, contacts), &[]);
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("tenant.redb");
        let mut tenant = Command::new(env!("CARGO_BIN_EXE_syncline"))
            .args(["tenant", "serve", "--json", "--plain-http", "--listen", "127.0.0.1:0", "--name", "Contoso"])
            .args(["--initial-domain", INITIAL, "--domain", VERIFIED, "--data"])
            .arg(&data)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(tenant.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        let credentials = std::fs::read(ready["credentials"].as_str().unwrap()).unwrap();
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut world = Self {
            lab,
            folder,
            tenant,
            base_url: ready["baseUrl"].as_str().unwrap().to_owned(),
            credentials: serde_json::from_slice(&credentials).unwrap(),
            client: reqwest::Client::builder().tls_certs_only(None::<reqwest::Certificate>).build().unwrap(),
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
            graph_token: String::new(),
        };
        world.graph_token = world.token();
        world.configure();
        world
    }

    fn secret(&self, name: &str) -> &str {
        self.credentials[name].as_str().unwrap()
    }

    fn token(&self) -> String {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", self.secret("client_id")),
            ("client_secret", self.secret("client_secret")),
            ("scope", "https://graph.microsoft.com/.default"),
        ];
        let url = format!("{}/{VERIFIED}/oauth2/v2.0/token", self.base_url);
        let answer: Value = self.runtime.block_on(async { self.client.post(url).form(&form).send().await.unwrap().json().await.unwrap() });
        answer["access_token"].as_str().unwrap().to_owned()
    }

    /// The options of `init` that name the tenant, with the secret of its application in a file.
    pub(crate) fn tenant_options(&self, secret: &std::path::Path) -> Vec<String> {
        let given = [
            ("--tenant", "entra".to_owned()),
            ("--tenant-id", self.secret("tenant_id").to_owned()),
            ("--client-id", self.secret("client_id").to_owned()),
            ("--client-secret-file", secret.display().to_string()),
            ("--login-url", self.base_url.clone()),
            ("--provisioning-url", format!("{}/provisioningservice.svc", self.base_url)),
        ];
        given.into_iter().flat_map(|(option, value)| [option.to_owned(), value]).collect()
    }

    /// The secret of the tenant's application.
    pub(crate) fn client_secret(&self) -> &str {
        self.secret("client_secret")
    }

    /// The configuration folder.
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("config")
    }

    fn configure(&self) {
        let password = self.folder.path().join("password");
        std::fs::write(&password, self.lab.text("password")).unwrap();
        let output = self.syncline(&[
            "init",
            "--source",
            "ad",
            "--url",
            self.lab.text("ldaps"),
            "--ca-file",
            self.lab.text("ca"),
            "--bind-name",
            self.lab.text("bind_name"),
            "--secret-file",
            password.to_str().unwrap(),
            "--domain",
            VERIFIED,
            "--exclude",
            EXCLUDED,
        ]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // Everything that waits is looked at by the judge, who approves nothing.
        let main = self.config().join("syncline.toml");
        let text = std::fs::read_to_string(&main).unwrap().replace("[guard]", "[guard]\nfirst_export = \"free\"");
        std::fs::write(main, text).unwrap();
        let cloud = self.config().join("connectors/90-entra.toml");
        let text = format!(
            "kind = \"entra\"\nname = \"Entra\"\ntenant = \"{}\"\nclient_id = \"{}\"\nclient_secret = {{ credential = \"entra\" }}\n\
             login_url = \"{base}\"\nprovisioning_url = \"{base}/provisioningservice.svc\"\n",
            self.secret("tenant_id"),
            self.secret("client_id"),
            base = self.base_url,
        );
        std::fs::write(cloud, text).unwrap();
    }

    pub(crate) fn syncline(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// The program, ready to be started.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
        command.arg("--config").arg(self.config()).args(arguments).env("SYNCLINE_CREDENTIAL_ENTRA", self.secret("client_secret"));
        command
    }

    /// The number of the tenant's refusal when somebody signs in with a password over HTTP; 0 when it lets them in.
    pub(crate) fn sign_in(&self, name: &str, password: &str) -> u64 {
        let form = [
            ("grant_type", "password"),
            ("client_id", PUBLIC_CLIENT),
            ("username", name),
            ("password", password),
            ("scope", "https://graph.microsoft.com/.default"),
        ];
        let url = format!("{}/{VERIFIED}/oauth2/v2.0/token", self.base_url);
        self.runtime.block_on(async {
            let response = self.client.post(url).form(&form).send().await.unwrap();
            let status = response.status();
            let answer: Value = response.json().await.unwrap();
            assert_eq!(status.is_success(), answer["access_token"].is_string(), "{status} {answer}");
            if status.is_success() { 0 } else { answer["error_codes"][0].as_u64().unwrap() }
        })
    }

    /// A cycle that must end well or with warnings, and what it says of itself.
    pub(crate) fn cycle(&self, arguments: &[&str]) -> Value {
        let mut all = vec!["--json", "cycle", "start"];
        all.extend(arguments);
        let output = self.syncline(&all);
        let shown = String::from_utf8_lossy(&output.stdout);
        assert!(matches!(output.status.code(), Some(0 | 1)), "{shown}\n{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_str(&shown).unwrap()
    }

    /// An answer of Graph.
    pub(crate) fn graph(&self, path: &str) -> Option<Value> {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}/v1.0{path}", self.base_url) };
        self.runtime.block_on(async {
            let response = self.client.get(&url).bearer_auth(&self.graph_token).send().await.unwrap();
            if response.status() == 404 {
                return None;
            }
            assert!(response.status().is_success(), "{url}: {}", response.status());
            Some(response.json().await.unwrap())
        })
    }

    /// All pages of a list of Graph.
    pub(crate) fn graph_list(&self, path: &str) -> Vec<Value> {
        let (mut found, mut next) = (Vec::new(), Some(path.to_owned()));
        while let Some(path) = next {
            let page = self.graph(&path).unwrap();
            found.extend(page["value"].as_array().unwrap().iter().cloned());
            next = page["@odata.nextLink"].as_str().map(str::to_owned);
        }
        found
    }

    fn admin(&self, method: reqwest::Method, path: &str, body: Option<&Value>) -> Value {
        self.runtime.block_on(async {
            let url = format!("{}/syncline-admin{path}", self.base_url);
            let mut request = self.client.request(method, &url).bearer_auth(self.secret("admin_token"));
            if let Some(body) = body {
                request = request.json(body);
            }
            let response = request.send().await.unwrap();
            let (status, text) = (response.status(), response.text().await.unwrap());
            assert!(status.is_success(), "{url}: {status} {text}");
            serde_json::from_str(&text).unwrap_or(Value::Null)
        })
    }

    /// Forgets what reached the tenant so far.
    pub(crate) fn forget_writes(&self) {
        self.admin(reqwest::Method::DELETE, "/traffic", None);
    }

    /// What reached the tenant since: what it did, to which anchor, with which attributes.
    pub(crate) fn writes(&self) -> Vec<Write> {
        let journal = self.admin(reqwest::Method::GET, "/journal", None);
        let of = |entry: &Value| Write {
            result: entry["result"].as_str().unwrap().to_owned(),
            anchor: entry["sourceAnchor"].as_str().unwrap_or_default().to_owned(),
            attributes: entry["attributes"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect(),
        };
        journal["writes"].as_array().unwrap().iter().map(of).collect()
    }

    /// Changes an object in the tenant as if somebody had done it behind the back of synchronization.
    pub(crate) fn meddle(&self, name: &str, values: &Value) {
        self.admin(reqwest::Method::PATCH, &format!("/objects/{name}"), Some(&json!({"properties": values})));
    }

    /// Changes the directory by LDIF change records, as its administrator.
    pub(crate) fn modify(&self, ldif: &str) {
        self.lab.modify(ldif);
    }

    /// The name of a deleted account.
    pub(crate) fn deleted(&self, account: &str) -> String {
        let filter = format!("(&(isDeleted=TRUE)(sAMAccountName={account}))");
        let output = Command::new("ldapsearch")
            .env("LDAPTLS_CACERT", self.lab.text("ca"))
            .args(["-x", "-LLL", "-o", "ldif-wrap=no", "-E", "!1.2.840.113556.1.4.417", "-H", self.lab.text("ldaps")])
            .args(["-D", self.lab.text("admin_name"), "-w", self.lab.text("admin_password"), "-b", self.lab.text("base"), &filter, "1.1"])
            .output()
            .unwrap();
        let shown = String::from_utf8(output.stdout).unwrap();
        let line =
            shown.lines().find(|line| line.starts_with("dn:")).unwrap_or_else(|| panic!("{account} is not among the deleted: {shown}"));
        line.strip_prefix("dn:").unwrap().to_owned()
    }
}

/// One write that reached the tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) result: String,
    pub(crate) anchor: String,
    pub(crate) attributes: Vec<String>,
}
