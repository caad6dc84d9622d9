//! The embedded tenant: a local tenant that runs for as long as a command needs it, in this process or beside it.

use super::ServiceError;
use crate::config::EntraFile;
use crate::context::Context;
use crate::tenant::{Location, ServerHandle, Tenant, TenantCredentials, TenantSettings, Tls, serve};
use std::fmt::Display;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tokio::net::TcpListener;

/// Where the embedded tenant runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TenantPlace {
    /// In this process.
    #[default]
    Here,
    /// In a process of its own, so that the memory of both can be told apart.
    OwnProcess,
}

/// A local tenant that is being served.
pub(super) struct RunningTenant {
    base_url: String,
    credentials: TenantCredentials,
    server: Server,
}

enum Server {
    Here(ServerHandle),
    Process(Child),
}

/// The tenant's file within its folder.
fn data_file(folder: &Path) -> PathBuf {
    folder.join("tenant.redb")
}

/// The id of the tenant in a folder, where there is one.
pub(super) fn known_id(folder: &Path) -> Option<String> {
    let path = credentials_file(folder);
    path.exists().then(|| TenantCredentials::load_or_create(&path).ok()).flatten().map(|known| known.tenant_id.to_string())
}

/// Beside the data, where `syncline-tenant serve --data` looks for it.
fn credentials_file(folder: &Path) -> PathBuf {
    folder.join("tenant.redb.credentials.json")
}

impl RunningTenant {
    /// Starts the tenant that a connector names, making it when it is not there. `password_only`: it takes passwords of
    /// people whom it masters itself, as that profile rehearses it.
    pub(super) async fn start(
        connector: &str,
        file: &EntraFile,
        password_only: bool,
        place: TenantPlace,
        cx: &Context,
    ) -> Result<Self, ServiceError> {
        let failed = |error: &dyn Display| ServiceError::Tenant { connector: connector.to_owned(), message: error.to_string() };
        let folder = &file.embedded.folder;
        // The folder holds the tenant's keys and the application's secret.
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| failed(&format!("{}: {error}", folder.display())))?;
        let credentials = TenantCredentials::load_or_create(&credentials_file(folder)).map_err(|error| failed(&error))?;
        let (base_url, server) = match place {
            TenantPlace::Here => {
                let mut settings = TenantSettings::new(&file.embedded.organization, &file.embedded.initial_domain, credentials.clone());
                settings.verified_domains.clone_from(&file.embedded.verified_domains);
                settings.password_only_links = password_only;
                let tenant = Tenant::open(&Location::File(data_file(folder)), settings, cx.clone()).map_err(|error| failed(&error))?;
                let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| failed(&error))?;
                let handle = serve(tenant, listener, Tls::Plain, cx.clone()).await.map_err(|error| failed(&error))?;
                (handle.base_url.clone(), Server::Here(handle))
            }
            TenantPlace::OwnProcess => {
                let (base_url, child) = spawn(file, password_only).map_err(|error| failed(&error))?;
                (base_url, Server::Process(child))
            }
        };
        Ok(Self { base_url, credentials, server })
    }

    /// Where it is served.
    pub(super) fn base_url(&self) -> &str {
        &self.base_url
    }

    /// How to reach it.
    pub(super) fn credentials(&self) -> &TenantCredentials {
        &self.credentials
    }

    /// Ends it when its requests are done.
    pub(super) async fn stop(self) {
        match self.server {
            Server::Here(handle) => handle.shutdown().await,
            Server::Process(mut child) => {
                // It ends by itself and closes its file when it is asked to; what it does then concerns nobody here.
                if let Ok(Some(process)) = i32::try_from(child.id()).map(rustix::process::Pid::from_raw)
                    && rustix::process::kill_process(process, rustix::process::Signal::TERM).is_err()
                {
                    drop(child.kill());
                }
                drop(child.wait());
            }
        }
    }
}

/// Starts this very program as a tenant, and waits for the line that says where it is.
fn spawn(file: &EntraFile, password_only: bool) -> std::io::Result<(String, Child)> {
    let embedded = &file.embedded;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["tenant", "serve", "--json", "--plain-http", "--listen", "127.0.0.1:0"]);
    command.arg("--data").arg(data_file(&embedded.folder));
    command.args(["--name", &embedded.organization, "--initial-domain", &embedded.initial_domain]);
    for domain in &embedded.verified_domains {
        command.args(["--domain", domain]);
    }
    if password_only {
        command.arg("--password-only-links");
    }
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    let base_url = serde_json::from_str::<serde_json::Value>(&line).ok().and_then(|ready| Some(ready["baseUrl"].as_str()?.to_owned()));
    let Some(base_url) = base_url else {
        drop(child.kill());
        drop(child.wait());
        return Err(std::io::Error::other("the tenant's process ended before it was ready"));
    };
    Ok((base_url, child))
}

impl std::fmt::Debug for RunningTenant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunningTenant").field("base_url", &self.base_url).finish_non_exhaustive()
    }
}
