//! `init`: writes a first configuration, by options or by questions. Secrets go to files of mode 0600, never into the
//! configuration.

use crate::cli::App;
use crate::cli::args::{InitArguments, SourceKind, TenantKind};
use crate::cli::ask::Questions;
use crate::cli::calls::call;
use crate::cli::commands::run::{exit_of, print_results};
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::{clean, counted};
use crate::cli::progress::progress;
use crate::cli::wizard::{self, Answers};
use crate::config::{
    Config, ConfigTemplate, MAIN_FILE, Secrets, TemplateError, TemplateSource, TemplateTenant, check_connector_name, check_server,
    take_back, write_secret,
};
use crate::connector::check_authorities;
use crate::connector::ldif::file_kind;
use crate::model::Dn;
use crate::service::{Access, DriveOptions, RunView, Service, WhatIfView, Work};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// The credential of the application's secret.
pub(in crate::cli) const TENANT_CREDENTIAL: &str = "entra-client-secret";

#[derive(Serialize)]
struct Written {
    folder: String,
    files: Vec<String>,
    missing_credentials: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    look: Option<Look>,
}

/// What would be exported, after everything was read.
#[derive(Serialize)]
struct Look {
    runs: Vec<RunView>,
    targets: Vec<WhatIfView>,
    #[serde(skip)]
    exit: Exit,
}

pub(in crate::cli) fn run(app: &App, arguments: &InitArguments) -> Result<Exit, CommandError> {
    // Nobody should answer questions for nothing.
    let main = app.config.join(MAIN_FILE);
    if main.exists() {
        return Err(TemplateError::Exists(main).into());
    }
    let places = Secrets::of_process(&app.config);
    if arguments.source.is_none()
        && let Some(path) =
            [arguments.credential.as_str(), TENANT_CREDENTIAL].map(|name| places.path(name)).into_iter().find(|path| path.exists())
    {
        return Err(TemplateError::Exists(path).into());
    }
    // Everything is looked at before the first file is written: half a configuration helps nobody.
    let Answers { template, secrets, look: wanted } = match (arguments.source, Questions::of_terminal()) {
        (Some(source), _) => by_options(arguments, source)?,
        (None, Some(questions)) => wizard::ask(app, arguments, questions)?,
        (None, None) => {
            return Err(CommandError::usage("there is no terminal to ask questions on, and --source is not given")
                .hint("by options: --source ad --url ldaps://dc1.corp.example --bind-name svc@corp.example --secret-file FILE")
                .hint("`syncline init --help` lists them all"));
        }
    };
    check(&template)?;
    let missing: Vec<String> =
        template.credentials().into_iter().filter(|name| !secrets.iter().any(|(given, _)| given == name)).map(str::to_owned).collect();
    let secrets: Vec<(PathBuf, SecretString)> = secrets.into_iter().map(|(name, secret)| (places.path(&name), secret)).collect();
    if let Some((path, _)) = secrets.iter().find(|(path, _)| path.exists()) {
        return Err(TemplateError::Exists(path.clone()).into());
    }
    let files = write(app, &template, &secrets)?;
    let shown = |path: &PathBuf| path.display().to_string();
    let mut written =
        Written { folder: shown(&app.config), files: files.iter().map(shown).collect(), missing_credentials: missing, look: None };
    if !app.output.json {
        told(app, &written, &places);
    }
    if wanted {
        let look = look(app)?;
        let exit = look.exit;
        if !app.output.json {
            print_look(app, &look, &template);
        }
        written.look = Some(look);
        app.output.result(&written, |_| ());
        return Ok(exit);
    }
    app.output.result(&written, |_| {
        app.output.line(format!("\nLook first:  {}", call(&["run", "start", &template.source_name, "full-import"])));
        app.output.line(format!("Then:        {}", call(&["cycle", "start", "--initial"])));
        told_of_passwords(app, &template);
    });
    Ok(Exit::Ok)
}

fn told(app: &App, written: &Written, places: &Secrets) {
    for file in &written.files {
        app.output.line(format!("wrote {file}"));
    }
    for name in &written.missing_credentials {
        let path = places.path(name);
        app.output
            .line(format!("still needed: the secret '{name}', in {} (mode 0600) or as docs/reference/config.md says", path.display()));
    }
}

/// Configuration and secrets beside it, and a look whether it can be read: all of it or nothing.
fn write(app: &App, template: &ConfigTemplate, secrets: &[(PathBuf, SecretString)]) -> Result<Vec<PathBuf>, CommandError> {
    let mut files = Vec::new();
    for (path, content) in secrets {
        if let Err(error) = write_secret(path, content.expose_secret().as_bytes()) {
            take_back(&files);
            return Err(error.into());
        }
        files.push(path.clone());
    }
    // The configuration comes last: where it is, everything is.
    let written = template.write(&app.config).map_err(CommandError::from).and_then(|written| match Config::load(&app.config) {
        Ok(_) => Ok(written),
        Err(error) => {
            take_back(&written);
            Err(error.into())
        }
    });
    match written {
        Ok(written) => Ok([written, files].concat()),
        Err(error) => {
            take_back(&files);
            Err(error)
        }
    }
}

/// Reads everything and applies the rules; nothing is exported, whatever the configuration says.
fn look(app: &App) -> Result<Look, CommandError> {
    let mut config = Config::load(&app.config)?;
    config.guard.staging = true;
    let service = app.patiently(|| Ok(Service::open(config.clone(), app.store.as_deref(), Access::Create)?))?;
    let mut bars = progress(&app.output);
    let runs = service.drive(&app.cx, &[Work::Cycle { initial: true }], DriveOptions::default(), bars.as_mut())?;
    drop(bars);
    let targets =
        service.rules()?.targets().iter().map(|target| service.what_if(&app.cx, *target, None, SHOWN)).collect::<Result<Vec<_>, _>>()?;
    Ok(Look { exit: exit_of(&runs), runs, targets })
}

/// What to do about options that do not go together.
const ALL_OPTIONS: &str = "`syncline init --help` says which option goes with which source and tenant; without --source it asks";
/// Objects that a first look shows by name.
const SHOWN: usize = 5;

fn print_look(app: &App, look: &Look, template: &ConfigTemplate) {
    print_results(app, &look.runs);
    for target in &look.targets {
        app.output.line(format!(
            "\n{}: {}, {}, {}, {} would be exported, such as",
            clean(&target.connector),
            counted(target.adds, "add", "adds"),
            counted(target.updates, "update", "updates"),
            counted(target.renames, "rename", "renames"),
            counted(target.deletes, "delete", "deletes")
        ));
        for object in &target.objects {
            app.output.line(clean(format!("  {:<8} {}", object.operation, object.known_as)));
        }
    }
    app.output.line(format!("\nNothing was sent. All of it:  {}", call(&["export", "--what-if"])));
    app.output.line(format!("To let it go:  {}, then  {}", call(&["promote"]), call(&["cycle", "start"])));
    told_of_passwords(app, template);
}

/// The tenant has a switch of its own for passwords, which a configuration does not turn.
fn told_of_passwords(app: &App, template: &ConfigTemplate) {
    if template.password_hashes.is_some() {
        app.output.line(format!(
            "For passwords: {}  (the tenant's own switch; once, behind these)",
            call(&["phs", "enable", &template.source_name])
        ));
    }
}

/// What options say.
fn by_options(arguments: &InitArguments, source: SourceKind) -> Result<Answers, CommandError> {
    refuse_foreign_options(arguments, source)?;
    let template = template(arguments, source)?;
    check(&template)?;
    let tenant = tenant_credential(&template);
    let mut secrets = Vec::new();
    for name in template.credentials() {
        let given = if Some(name) == tenant { &arguments.client_secret_file } else { &arguments.secret_file };
        if let Some(given) = given {
            secrets.push((name.to_owned(), secret_of_file(given)?));
        }
    }
    Ok(Answers { template, secrets, look: arguments.look })
}

/// An option that has no meaning for this source or tenant was meant for something: better to ask than to drop it.
fn refuse_foreign_options(arguments: &InitArguments, source: SourceKind) -> Result<(), CommandError> {
    let server = [
        ("--url", arguments.url.is_some()),
        ("--start-tls", arguments.start_tls),
        ("--allow-plain", arguments.allow_plain),
        ("--ca-file", arguments.ca_file.is_some()),
        ("--bind-name", arguments.bind_name.is_some()),
        ("--secret-file", arguments.secret_file.is_some()),
    ];
    let files = [("--path", arguments.path.is_some()), ("--openldap", arguments.openldap)];
    let base = [("--base", arguments.base.is_some())];
    let elsewhere = [
        ("--tenant-id", arguments.tenant_id.is_some()),
        ("--client-id", arguments.client_id.is_some()),
        ("--client-secret-file", arguments.client_secret_file.is_some()),
        ("--login-url", arguments.login_url.is_some()),
        ("--provisioning-url", arguments.provisioning_url.is_some()),
        ("--tenant-ca-file", arguments.tenant_ca_file.is_some()),
    ];
    let asked = [("--name-server", arguments.name_server.is_some())];
    let local = [("--verified-domain", !arguments.verified_domain.is_empty())];
    let mut foreign: Vec<(&str, bool)> = asked.to_vec();
    let source = match source {
        SourceKind::Ldif => {
            foreign.extend(server.iter().chain(&base));
            "ldif"
        }
        SourceKind::Ad => {
            foreign.extend(files.iter().chain(&base));
            "ad"
        }
        SourceKind::Ldap => {
            foreign.extend(files);
            "ldap"
        }
    };
    if let Some((option, _)) = foreign.iter().find(|(_, given)| *given) {
        return Err(CommandError::usage(format!("{option} has no meaning with --source {source}")).hint(ALL_OPTIONS));
    }
    let (options, tenant) = match arguments.tenant.unwrap_or(TenantKind::Local) {
        TenantKind::Local => (&elsewhere[..], "local"),
        TenantKind::Entra => (&local[..], "entra"),
    };
    if let Some((option, _)) = options.iter().find(|(_, given)| *given) {
        return Err(CommandError::usage(format!("{option} has no meaning with --tenant {tenant}")).hint(ALL_OPTIONS));
    }
    if arguments.client_secret_file.is_some() && arguments.client_id.is_none() {
        return Err(CommandError::usage("--client-secret-file needs --client-id: the secret is that of an application")
            .hint("the application's id is on its page in the tenant; docs/guide/entra.md says how to make one"));
    }
    Ok(())
}

/// Refuses what could be written but never work.
fn check(template: &ConfigTemplate) -> Result<(), CommandError> {
    check_connector_name(&template.source_name).map_err(|message| CommandError::usage(message).hint("choose another by --name"))?;
    if template.source_name.eq_ignore_ascii_case(&template.target_name) {
        return Err(CommandError::usage(format!("'{}' is the target's name", template.target_name)).hint("choose another by --name"));
    }
    if let TemplateSource::Server { url, start_tls, allow_plain, ca_file, base, .. } = &template.source {
        check_server(url, *start_tls, *allow_plain).map_err(|(message, hint)| CommandError::usage(message).hint(hint))?;
        must_be_authorities("--ca-file", ca_file.as_deref())?;
        base.iter().try_for_each(|base| check_container("--base", base))?;
    }
    template.include.iter().try_for_each(|container| check_container("--include", container))?;
    template.exclude.iter().try_for_each(|container| check_container("--exclude", container))?;
    template.domain.iter().try_for_each(|domain| check_domain("--domain", domain))?;
    match &template.tenant {
        TemplateTenant::Local { verified_domains } => {
            verified_domains.iter().try_for_each(|domain| check_domain("--verified-domain", domain))
        }
        TemplateTenant::Entra { login_url, provisioning_url, ca_file, .. } => {
            must_be_authorities("--tenant-ca-file", ca_file.as_deref())?;
            for (option, url) in [("--login-url", login_url), ("--provisioning-url", provisioning_url)] {
                if let Some(url) = url.as_ref().filter(|url| !url.starts_with("https://") && !url.starts_with("http://")) {
                    return Err(CommandError::usage(format!("{option} {url}: an address begins with https://")));
                }
            }
            Ok(())
        }
    }
}

/// Looks whether a path can be a directory in files: a file that can be read again, or a folder.
///
/// # Errors
/// Why it cannot.
pub(in crate::cli) fn readable(path: &Path) -> Result<(), String> {
    match std::fs::metadata(path) {
        Err(_) => Err(format!("{} does not exist", path.display())),
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(metadata) => match file_kind(&metadata) {
            None => Ok(()),
            Some(kind) => Err(format!("{} is {kind} and no regular file: name a file that can be read again, or a folder", path.display())),
        },
    }
}

/// Refuses what is no PEM file with certificates: nothing could be reached with it.
fn must_be_authorities(option: &str, file: Option<&Path>) -> Result<(), CommandError> {
    let Some(file) = file else { return Ok(()) };
    if !file.is_file() {
        return Err(CommandError::new("configuration", Exit::NotStarted, format!("{option}: there is no file {}", file.display()))
            .hint("name the PEM file of the authority that issued the server's certificate"));
    }
    check_authorities(file).map_err(|error| {
        CommandError::new("configuration", Exit::NotStarted, format!("{option}: {}", error.message))
            .hint("name the PEM file of the authority that issued the server's certificate; it begins with -----BEGIN CERTIFICATE-----")
    })
}

pub(in crate::cli) fn check_container(option: &str, text: &str) -> Result<(), CommandError> {
    let wrong = |reason: String| {
        CommandError::usage(format!("{option} {text}: {reason}")).hint("write a distinguished name: OU=People,DC=corp,DC=example")
    };
    match Dn::parse(text) {
        Ok(dn) if dn.depth() > 0 => Ok(()),
        Ok(_) => Err(wrong("the name is empty".to_owned())),
        Err(error) => Err(wrong(error.to_string())),
    }
}

pub(in crate::cli) fn check_domain(option: &str, text: &str) -> Result<(), CommandError> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|character| character.is_alphanumeric() || character == '-' || character == '_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() <= 253 && text.contains('.') && text.split('.').all(label) {
        Ok(())
    } else {
        Err(CommandError::usage(format!("{option} {text}: this is no domain")).hint("write a DNS name: corp.example"))
    }
}

fn tenant_credential(template: &ConfigTemplate) -> Option<&str> {
    match &template.tenant {
        TemplateTenant::Entra { credential, .. } => Some(credential),
        TemplateTenant::Local { .. } => None,
    }
}

fn template(arguments: &InitArguments, kind: SourceKind) -> Result<ConfigTemplate, CommandError> {
    let need = |value: &Option<String>, flag: &str| {
        value.clone().ok_or_else(|| CommandError::usage(format!("this kind of source or tenant needs {flag}")).hint(ALL_OPTIONS))
    };
    let source = match kind {
        SourceKind::Ldif => {
            let path = arguments.path.as_ref().ok_or_else(|| {
                CommandError::usage("an LDIF source needs --path").hint("--path people.ldif, or a folder with *.ldif files")
            })?;
            if let Err(reason) = readable(path) {
                return Err(
                    CommandError::new("configuration", Exit::NotStarted, reason).hint("--path people.ldif, or a folder with *.ldif files")
                );
            }
            TemplateSource::Ldif { path: absolute(path)?, openldap: arguments.openldap }
        }
        SourceKind::Ad | SourceKind::Ldap => TemplateSource::Server {
            active_directory: kind == SourceKind::Ad,
            url: need(&arguments.url, "--url")?,
            start_tls: arguments.start_tls,
            allow_plain: arguments.allow_plain,
            ca_file: arguments.ca_file.as_deref().map(absolute).transpose()?,
            bind_name: need(&arguments.bind_name, "--bind-name")?,
            credential: arguments.credential.clone(),
            base: if kind == SourceKind::Ldap { Some(need(&arguments.base, "--base")?) } else { None },
        },
    };
    let tenant = match arguments.tenant.unwrap_or(TenantKind::Local) {
        TenantKind::Local => {
            let mut verified_domains = arguments.verified_domain.clone();
            if verified_domains.is_empty() {
                verified_domains.extend(arguments.domain.clone());
            }
            TemplateTenant::Local { verified_domains }
        }
        TenantKind::Entra => TemplateTenant::Entra {
            tenant: need(&arguments.tenant_id, "--tenant-id")?,
            client_id: arguments.client_id.clone(),
            credential: TENANT_CREDENTIAL.to_owned(),
            login_url: arguments.login_url.clone(),
            provisioning_url: arguments.provisioning_url.clone(),
            ca_file: arguments.tenant_ca_file.as_deref().map(absolute).transpose()?,
        },
    };
    let default_name = arguments.domain.clone().unwrap_or_else(|| {
        match kind {
            SourceKind::Ldif => "Files",
            SourceKind::Ad => "Active Directory",
            SourceKind::Ldap => "LDAP",
        }
        .to_owned()
    });
    Ok(ConfigTemplate {
        source_name: arguments.name.clone().unwrap_or(default_name),
        source,
        target_name: "Entra".to_owned(),
        tenant,
        include: arguments.include.clone(),
        exclude: arguments.exclude.clone(),
        domain: arguments.domain.clone(),
        max_deletes: arguments.max_deletes,
        staging: arguments.staging,
        password_hashes: None,
    })
}

/// Paths on the command line are meant from where it is typed; in the configuration they must not depend on that.
fn absolute(path: &Path) -> Result<PathBuf, CommandError> {
    std::path::absolute(path).map_err(|error| CommandError::usage(format!("{}: {error}", path.display())))
}

/// The secret in a file, without a line end behind it.
pub(in crate::cli) fn secret_of_file(from: &Path) -> Result<SecretString, CommandError> {
    let failed = |reason: String| {
        CommandError::new("configuration", Exit::NotStarted, format!("the secret in {} cannot be read: {reason}", from.display()))
            .hint("the file holds the secret in one line and nothing else, and is its owner's alone (mode 0600)")
    };
    if std::fs::metadata(from).map_err(|error| failed(error.to_string()))?.len() > 64 << 10 {
        return Err(CommandError::usage(format!("{} is too long for a secret", from.display())));
    }
    let content = zeroize::Zeroizing::new(std::fs::read(from).map_err(|error| failed(error.to_string()))?);
    let text = std::str::from_utf8(&content).map_err(|_| failed("it is no UTF-8 text".to_owned()))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(failed("it is empty".to_owned())),
        text => Ok(SecretString::from(text)),
    }
}
