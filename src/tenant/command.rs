//! The tenant's command line, shared by `syncline-tenant` and `syncline tenant serve`.

use super::faults::{FaultRule, Throttle};
use super::{Location, Tenant, TenantCredentials, TenantError, TenantSettings, Tls, serve};
use crate::context::Context;
use clap::{Args, Parser, Subcommand};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// A local Entra-compatible tenant.
#[derive(Debug, Parser)]
#[command(name = "syncline-tenant", version)]
pub struct TenantCommand {
    /// What to do.
    #[command(subcommand)]
    pub action: TenantAction,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum TenantAction {
    /// Serve a tenant until SIGTERM or SIGINT.
    Serve(ServeArguments),
}

/// How to serve a tenant.
#[derive(Clone, Debug, Args)]
pub struct ServeArguments {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,
    /// The tenant's file, made when missing; credentials and certificates are kept beside it. Without it the tenant
    /// lives in memory and prints where its credentials are.
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,
    /// The file with client id, secret and administrator's token; made when missing, readable for its owner only.
    #[arg(long, value_name = "FILE")]
    pub credentials: Option<PathBuf>,
    /// Plain HTTP instead of TLS; on loopback addresses only.
    #[arg(long)]
    pub plain_http: bool,
    /// The name of the organization, at the first start.
    #[arg(long, default_value = "Local Tenant")]
    pub name: String,
    /// The domain of generated names, at the first start.
    #[arg(long, default_value = "tenant.onmicrosoft.com", value_name = "DOMAIN")]
    pub initial_domain: String,
    /// A verified domain, at the first start; may be repeated.
    #[arg(long = "domain", value_name = "DOMAIN")]
    pub domains: Vec<String>,
    /// Start with directory synchronization not activated.
    #[arg(long)]
    pub not_activated: bool,
    /// A PEM file with the certificate by which the application signs its assertions; may be repeated.
    #[arg(long = "certificate", value_name = "FILE")]
    pub certificates: Vec<PathBuf>,
    /// Approve device codes by themselves, for the sync account.
    #[arg(long)]
    pub approve_device_codes: bool,
    /// Let accounts of the cloud take synchronized passwords, for the profile "password-only"; the real service does not.
    #[arg(long)]
    pub password_only_links: bool,
    /// Days until a password expires, for accounts that are not exempt; without it passwords never expire.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..))]
    pub password_lifetime: Option<u16>,
    /// A fault on demand, such as busy=0.2, drop-answer=3x or slow=0.1,delay=200; may be repeated.
    #[arg(long = "fault", value_name = "RULE")]
    pub faults: Vec<FaultRule>,
    /// The token bucket for writes: so many in so many seconds, such as 7000/300, or per second, such as 50.
    #[arg(long, value_name = "WRITES[/SECONDS]", value_parser = parse_throttle)]
    pub throttle_writes: Option<Throttle>,
    /// How long turning synchronization off takes, in seconds.
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    pub deactivation: u64,
    /// Seed for faults at a rate.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

fn parse_throttle(text: &str) -> Result<Throttle, String> {
    let (writes, window) = text.split_once('/').unwrap_or((text, "1"));
    let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite() && *number > 0.0);
    match (number(writes), number(window)) {
        (Some(writes), Some(window_seconds)) => Ok(Throttle { writes, window_seconds }),
        _ => Err(format!("{text:?} is not a number of writes, optionally with /seconds")),
    }
}

/// Why the command ended.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The tenant.
    #[error(transparent)]
    Tenant(#[from] TenantError),
    /// The server.
    #[error(transparent)]
    Serve(#[from] super::service::ServeError),
    /// A file or the socket.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A certificate file.
    #[error("{0} holds no certificate in PEM form")]
    Certificate(PathBuf),
}

impl ServeArguments {
    /// Where the credentials file is: as given, otherwise beside the data file.
    pub fn credentials_path(&self) -> Option<PathBuf> {
        self.credentials.clone().or_else(|| self.data.as_ref().map(|data| beside(data, "credentials.json")))
    }

    /// The settings that these arguments mean; makes the credentials file when it is missing.
    pub fn settings(&self) -> Result<TenantSettings, CommandError> {
        let credentials = match self.credentials_path() {
            Some(path) => TenantCredentials::load_or_create(&path)?,
            None => TenantCredentials::generate(),
        };
        let mut settings = TenantSettings::new(&self.name, &self.initial_domain, credentials);
        settings.verified_domains.clone_from(&self.domains);
        settings.activated = !self.not_activated;
        settings.approve_device_codes = self.approve_device_codes;
        settings.password_only_links = self.password_only_links;
        settings.password_lifetime = self.password_lifetime.map(|days| Duration::from_hours(24 * u64::from(days)));
        settings.faults.clone_from(&self.faults);
        settings.throttle = self.throttle_writes;
        settings.deactivation = Duration::from_secs(self.deactivation);
        for path in &self.certificates {
            let content = std::fs::read(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
            let (_, pem) = x509_parser::pem::parse_x509_pem(&content).map_err(|_| CommandError::Certificate(path.clone()))?;
            if pem.label != "CERTIFICATE" {
                return Err(CommandError::Certificate(path.clone()));
            }
            settings.certificates.push(pem.contents);
        }
        Ok(settings)
    }
}

fn beside(data: &Path, what: &str) -> PathBuf {
    let mut name = data.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(what);
    data.with_file_name(name)
}

/// Serves a tenant until SIGTERM, SIGINT or the context says stop. One line tells that it is ready.
pub async fn run_serve(arguments: &ServeArguments, mut context: Context, output: &mut dyn Write) -> Result<(), CommandError> {
    context.seed = arguments.seed;
    let mut arguments = arguments.clone();
    // A tenant in memory has its credentials and certificates in a folder that goes with the process.
    let temporary = if arguments.data.is_none() { Some(tempfile::Builder::new().prefix("syncline-tenant-").tempdir()?) } else { None };
    if let Some(folder) = &temporary
        && arguments.credentials.is_none()
    {
        arguments.credentials = Some(folder.path().join("credentials.json"));
    }
    for path in [&arguments.data, &arguments.credentials].into_iter().flatten() {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            let message =
                format!("{}: there is no folder {}; make it first: mkdir -p {}", path.display(), folder.display(), folder.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, message).into());
        }
    }
    let settings = arguments.settings()?;
    let location = arguments.data.clone().map_or(Location::Memory, Location::File);
    let tls = if arguments.plain_http {
        Tls::Plain
    } else {
        let folder = match (&arguments.data, &temporary) {
            (Some(data), _) => beside(data, "tls"),
            (None, Some(folder)) => folder.path().join("tls"),
            (None, None) => PathBuf::from("tls"),
        };
        Tls::Own { folder }
    };
    let authority = match &tls {
        Tls::Own { folder } => Some(folder.join("tenant-ca.pem")),
        Tls::Plain => None,
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (tenant_id, client_id) = (settings.credentials.tenant_id, settings.credentials.client_id);
    let tenant = Tenant::open(&location, settings, context.clone())?;
    let listener = TcpListener::bind(arguments.listen)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {}: {error}", arguments.listen)))?;
    let handle = serve(tenant, listener, tls, context.clone()).await?;
    let credentials = arguments.credentials_path();
    if arguments.json {
        let line = serde_json::json!({
            "baseUrl": handle.base_url, "tenantId": tenant_id, "clientId": client_id, "credentials": credentials, "authority": authority,
        });
        writeln!(output, "{line}")?;
    } else {
        writeln!(output, "Tenant {tenant_id} is served at {}", handle.base_url)?;
        if let Some(path) = &credentials {
            writeln!(output, "Client id, secret and administrator's token: {}", path.display())?;
        }
        if let Some(path) = &authority {
            writeln!(output, "Certificate authority: {}", path.display())?;
        }
    }
    output.flush()?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = context.cancel.cancelled() => {}
    }
    handle.shutdown().await;
    Ok(())
}

/// The whole program: reads arguments, serves, and answers an exit code (specification: admin surface 8).
pub fn main(output: &mut dyn Write, errors: &mut dyn Write) -> ExitCode {
    let command = match TenantCommand::try_parse() {
        Ok(command) => command,
        Err(error) => {
            let text = error.render().to_string();
            let target: &mut dyn Write = if error.use_stderr() { errors } else { output };
            return if target.write_all(text.as_bytes()).is_ok() {
                ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
            } else {
                ExitCode::from(1)
            };
        }
    };
    let TenantAction::Serve(arguments) = command.action;
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(CommandError::from)
        .and_then(|runtime| runtime.block_on(run_serve(&arguments, Context::system(), output)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let told = writeln!(errors, "syncline-tenant: {error}");
            ExitCode::from(if told.is_ok() { 1 } else { 2 })
        }
    }
}
