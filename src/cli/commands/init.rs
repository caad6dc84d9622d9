//! `init`: writes a first configuration. Secrets go to files of mode 0600, never into the configuration.

use crate::cli::App;
use crate::cli::args::{InitArguments, SourceKind, TenantKind};
use crate::cli::calls::call;
use crate::cli::error::{CommandError, Exit};
use crate::config::{
    Config, ConfigTemplate, Secrets, TemplateError, TemplateSource, TemplateTenant, check_connector_name, check_server, take_back,
    write_secret,
};
use crate::model::Dn;
use serde::Serialize;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

#[derive(Serialize)]
struct Written {
    folder: String,
    files: Vec<String>,
    missing_credentials: Vec<String>,
}

pub(in crate::cli) fn run(app: &App, arguments: &InitArguments) -> Result<Exit, CommandError> {
    // Everything is looked at before the first file is written: half a configuration helps nobody.
    refuse_foreign_options(arguments)?;
    let template = template(arguments)?;
    check(&template)?;
    let mut secrets = Vec::new();
    let mut missing = Vec::new();
    let tenant_credential = tenant_credential(&template);
    let places = Secrets::of_process(&app.config);
    for name in template.credentials() {
        let given = if Some(name) == tenant_credential { &arguments.client_secret_file } else { &arguments.secret_file };
        match given {
            Some(given) => {
                let path = places.path(name);
                if path.exists() {
                    return Err(TemplateError::Exists(path).into());
                }
                secrets.push((path, secret(given)?));
            }
            None => missing.push(name.to_owned()),
        }
    }
    let mut files = template.write(&app.config)?;
    if let Err(error) = complete(app, &secrets, &mut files) {
        take_back(&files);
        return Err(error);
    }
    let shown = |path: &PathBuf| path.display().to_string();
    let written = Written { folder: shown(&app.config), files: files.iter().map(shown).collect(), missing_credentials: missing };
    app.output.result(&written, |written| {
        for file in &written.files {
            app.output.line(format!("wrote {file}"));
        }
        for name in &written.missing_credentials {
            let path = places.path(name);
            app.output
                .line(format!("still needed: the secret '{name}', in {} (mode 0600) or as docs/reference/config.md says", path.display()));
        }
        app.output.line(format!("\nLook first:  {}", call(&["run", "start", &template.source_name, "full-import"])));
        app.output.line(format!("Then:        {}", call(&["cycle", "start", "--initial"])));
    });
    Ok(Exit::Ok)
}

/// Secrets beside the configuration, and a look whether it can be read.
fn complete(app: &App, secrets: &[(PathBuf, Zeroizing<Vec<u8>>)], files: &mut Vec<PathBuf>) -> Result<(), CommandError> {
    for (path, content) in secrets {
        write_secret(path, content)?;
        files.push(path.clone());
    }
    Config::load(&app.config)?;
    Ok(())
}

/// An option that has no meaning for this source or tenant was meant for something: better to ask than to drop it.
fn refuse_foreign_options(arguments: &InitArguments) -> Result<(), CommandError> {
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
    let local = [("--verified-domain", !arguments.verified_domain.is_empty())];
    let mut foreign: Vec<(&str, bool)> = Vec::new();
    let source = match arguments.source {
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
        return Err(CommandError::usage(format!("{option} has no meaning with --source {source}")));
    }
    let (options, tenant) = match arguments.tenant {
        TenantKind::Local => (&elsewhere[..], "local"),
        TenantKind::Entra => (&local[..], "entra"),
    };
    if let Some((option, _)) = options.iter().find(|(_, given)| *given) {
        return Err(CommandError::usage(format!("{option} has no meaning with --tenant {tenant}")));
    }
    if arguments.client_secret_file.is_some() && arguments.client_id.is_none() {
        return Err(CommandError::usage("--client-secret-file needs --client-id: the secret is that of an application"));
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
        must_exist(ca_file.as_deref())?;
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
            must_exist(ca_file.as_deref())?;
            for (option, url) in [("--login-url", login_url), ("--provisioning-url", provisioning_url)] {
                if let Some(url) = url.as_ref().filter(|url| !url.starts_with("https://") && !url.starts_with("http://")) {
                    return Err(CommandError::usage(format!("{option} {url}: an address begins with https://")));
                }
            }
            Ok(())
        }
    }
}

fn must_exist(path: Option<&Path>) -> Result<(), CommandError> {
    match path.filter(|path| !path.is_file()) {
        Some(path) => Err(CommandError::new("configuration", Exit::NotStarted, format!("there is no file {}", path.display()))),
        None => Ok(()),
    }
}

fn check_container(option: &str, text: &str) -> Result<(), CommandError> {
    let wrong = |reason: String| {
        CommandError::usage(format!("{option} {text}: {reason}")).hint("write a distinguished name: OU=People,DC=corp,DC=example")
    };
    match Dn::parse(text) {
        Ok(dn) if dn.depth() > 0 => Ok(()),
        Ok(_) => Err(wrong("the name is empty".to_owned())),
        Err(error) => Err(wrong(error.to_string())),
    }
}

fn check_domain(option: &str, text: &str) -> Result<(), CommandError> {
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

fn template(arguments: &InitArguments) -> Result<ConfigTemplate, CommandError> {
    let need = |value: &Option<String>, flag: &str| {
        value.clone().ok_or_else(|| CommandError::usage(format!("this kind of source or tenant needs {flag}")))
    };
    let source = match arguments.source {
        SourceKind::Ldif => {
            let path = arguments.path.as_ref().ok_or_else(|| CommandError::usage("an LDIF source needs --path"))?;
            if !path.exists() {
                return Err(CommandError::new("configuration", Exit::NotStarted, format!("{} does not exist", path.display())));
            }
            TemplateSource::Ldif { path: absolute(path)?, openldap: arguments.openldap }
        }
        SourceKind::Ad | SourceKind::Ldap => TemplateSource::Server {
            active_directory: arguments.source == SourceKind::Ad,
            url: need(&arguments.url, "--url")?,
            start_tls: arguments.start_tls,
            allow_plain: arguments.allow_plain,
            ca_file: arguments.ca_file.as_deref().map(absolute).transpose()?,
            bind_name: need(&arguments.bind_name, "--bind-name")?,
            credential: arguments.credential.clone(),
            base: if arguments.source == SourceKind::Ldap { Some(need(&arguments.base, "--base")?) } else { None },
        },
    };
    let tenant = match arguments.tenant {
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
            credential: "entra-client-secret".to_owned(),
            login_url: arguments.login_url.clone(),
            provisioning_url: arguments.provisioning_url.clone(),
            ca_file: arguments.tenant_ca_file.as_deref().map(absolute).transpose()?,
        },
    };
    let default_name = arguments.domain.clone().unwrap_or_else(|| {
        match arguments.source {
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
    })
}

/// Paths on the command line are meant from where it is typed; in the configuration they must not depend on that.
fn absolute(path: &Path) -> Result<PathBuf, CommandError> {
    std::path::absolute(path).map_err(|error| CommandError::usage(format!("{}: {error}", path.display())))
}

/// The secret in a file.
fn secret(from: &Path) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    let failed = |reason: String| {
        CommandError::new("configuration", Exit::NotStarted, format!("the secret in {} cannot be read: {reason}", from.display()))
    };
    if std::fs::metadata(from).map_err(|error| failed(error.to_string()))?.len() > 64 << 10 {
        return Err(CommandError::usage(format!("{} is too long for a secret", from.display())));
    }
    let content = Zeroizing::new(std::fs::read(from).map_err(|error| failed(error.to_string()))?);
    match std::str::from_utf8(&content) {
        Ok(text) if text.trim_end_matches(['\r', '\n']).is_empty() => Err(failed("it is empty".to_owned())),
        Ok(_) => Ok(content),
        Err(_) => Err(failed("it is no UTF-8 text".to_owned())),
    }
}
