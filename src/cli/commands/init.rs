//! `init`: writes a first configuration. Secrets go to files of mode 0600, never into the configuration.

use crate::cli::App;
use crate::cli::args::{InitArguments, SourceKind, TenantKind};
use crate::cli::error::{CommandError, Exit};
use crate::config::{Config, ConfigTemplate, TemplateSource, TemplateTenant, write_secret};
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
    let template = template(arguments)?;
    let mut files = template.write(&app.config)?;
    let config = Config::load(&app.config)?;
    let mut missing = Vec::new();
    let tenant_credential = tenant_credential(&template);
    for name in template.credentials() {
        let given = if Some(name) == tenant_credential { &arguments.client_secret_file } else { &arguments.secret_file };
        match given {
            Some(given) => files.push(copy_secret(given, &config.secrets.path(name))?),
            None => missing.push(name.to_owned()),
        }
    }
    let shown = |path: &PathBuf| path.display().to_string();
    let written = Written { folder: shown(&app.config), files: files.iter().map(shown).collect(), missing_credentials: missing };
    app.output.result(&written, |written| {
        for file in &written.files {
            app.output.line(format!("wrote {file}"));
        }
        for name in &written.missing_credentials {
            let path = config.secrets.path(name);
            app.output
                .line(format!("still needed: the secret '{name}', in {} (mode 0600) or as docs/reference/config.md says", path.display()));
        }
        let folder = quoted(&app.config);
        app.output
            .line(format!("\nLook first:  syncline --config {folder} run start {} full-import", quoted(Path::new(&template.source_name))));
        app.output.line(format!("Then:        syncline --config {folder} cycle start --initial"));
    });
    Ok(Exit::Ok)
}

/// A word as a shell reads it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = text.chars().all(|character| character.is_ascii_alphanumeric() || "-_./".contains(character));
    if plain && !text.is_empty() { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
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

fn copy_secret(from: &Path, to: &Path) -> Result<PathBuf, CommandError> {
    let failed = |error: std::io::Error| {
        CommandError::new("configuration", Exit::NotStarted, format!("the secret in {} cannot be read: {error}", from.display()))
    };
    if std::fs::metadata(from).map_err(failed)?.len() > 64 << 10 {
        return Err(CommandError::usage(format!("{} is too long for a secret", from.display())));
    }
    let content = Zeroizing::new(std::fs::read(from).map_err(failed)?);
    write_secret(to, &content)?;
    Ok(to.to_owned())
}
