//! Writes a first configuration: what `init` and `demo` put into a new folder.

use super::MAIN_FILE;
use super::secrets::valid_name;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What a new configuration shall hold.
#[derive(Clone, Debug)]
pub struct ConfigTemplate {
    /// The name of the source's connector.
    pub source_name: String,
    /// Where people come from.
    pub source: TemplateSource,
    /// The name of the target's connector.
    pub target_name: String,
    /// Where they go.
    pub tenant: TemplateTenant,
    /// Containers to import.
    pub include: Vec<String>,
    /// Containers to leave out.
    pub exclude: Vec<String>,
    /// The source's DNS name, where the directory does not tell it.
    pub domain: Option<String>,
    /// The most deletes of one export.
    pub max_deletes: u64,
    /// Nothing is exported until somebody switches that off.
    pub staging: bool,
    /// Password hashes of the directory are synchronized.
    pub password_hashes: Option<TemplatePasswords>,
}

/// Where password hashes are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TemplatePasswords {
    /// The domain controller's full DNS name, where the source's address does not tell it.
    pub server: Option<String>,
    /// Where to connect to it, when that is not its name.
    pub address: Option<String>,
    /// The account as Kerberos knows it, where the source's does not tell it.
    pub account: Option<String>,
}

/// Where people come from.
#[derive(Clone, Debug)]
pub enum TemplateSource {
    /// Files.
    Ldif {
        /// The file or folder, as it shall stand in the file.
        path: PathBuf,
        /// Entries look like OpenLDAP's, not like Active Directory's.
        openldap: bool,
    },
    /// A directory server.
    Server {
        /// Active Directory; else OpenLDAP and its like.
        active_directory: bool,
        /// Its address.
        url: String,
        /// Encrypt by StartTLS.
        start_tls: bool,
        /// Allow no encryption.
        allow_plain: bool,
        /// Authorities to trust.
        ca_file: Option<PathBuf>,
        /// The account.
        bind_name: String,
        /// The credential's name.
        credential: String,
        /// Where searches begin; OpenLDAP only.
        base: Option<String>,
    },
}

/// Where they go.
#[derive(Clone, Debug)]
pub enum TemplateTenant {
    /// The embedded tenant, with its verified domains.
    Local {
        /// Domains that are verified from the start.
        verified_domains: Vec<String>,
    },
    /// A tenant elsewhere.
    Entra {
        /// The tenant's id or domain.
        tenant: String,
        /// The application's id; without it a person signs in by device code.
        client_id: Option<String>,
        /// The credential's name of the application's secret.
        credential: String,
        /// Another token service, for a local tenant as its own process.
        login_url: Option<String>,
        /// Another provisioning service.
        provisioning_url: Option<String>,
        /// Authorities to trust.
        ca_file: Option<PathBuf>,
    },
}

/// Why no configuration could be written.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// There is one already.
    #[error("{0} exists already and is left as it is; choose another folder by --config, or edit the files there")]
    Exists(PathBuf),
    /// A credential's name is no name.
    #[error("'{0}' cannot be a credential's name: letters, digits, '-' and '_' only")]
    CredentialName(String),
    /// The disk refused.
    #[error("{path} cannot be written: {source}")]
    Io {
        /// What was written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl ConfigTemplate {
    /// Writes the files. Gives the paths written.
    ///
    /// # Errors
    /// When the folder has a configuration already, or cannot be written. Nothing existing is ever overwritten.
    pub fn write(&self, folder: &Path) -> Result<Vec<PathBuf>, TemplateError> {
        let main = folder.join(MAIN_FILE);
        if main.exists() {
            return Err(TemplateError::Exists(main));
        }
        for credential in self.credentials() {
            if !valid_name(credential) {
                return Err(TemplateError::CredentialName(credential.to_owned()));
            }
        }
        // The main file comes last: a folder that has it is complete.
        let files = [
            (folder.join("connectors").join(file_name(10, &self.source_name)), self.source_text()),
            (folder.join("connectors").join(file_name(90, &self.target_name)), self.target_text()),
            (main, self.main_text()),
        ];
        if let Some((path, _)) = files.iter().find(|(path, _)| path.exists()) {
            return Err(TemplateError::Exists(path.clone()));
        }
        let mut written = Vec::new();
        for (path, text) in files {
            if let Err(error) = create(&path, text.as_bytes(), 0o644) {
                take_back(&written);
                return Err(error);
            }
            written.push(path);
        }
        Ok(written)
    }

    /// The names of the credentials that the configuration needs.
    pub fn credentials(&self) -> Vec<&str> {
        let mut names = Vec::new();
        if let TemplateSource::Server { credential, .. } = &self.source {
            names.push(credential.as_str());
        }
        if let TemplateTenant::Entra { credential, client_id: Some(_), .. } = &self.tenant {
            names.push(credential.as_str());
        }
        names
    }

    fn main_text(&self) -> String {
        format!(
            "# Syncline: what is synchronized and how. Every key is explained in docs/reference/config.md.\n\
             version = 1\n\
             store = \"syncline.redb\"\n\n\
             # Protection against deleting by accident: an export with more deletes stops before the first object.\n\
             [guard]\n\
             max_deletes = {}\n{}",
            self.max_deletes,
            if self.staging {
                "# Staging mode: everything is imported and synchronized, nothing is exported. Set it to false when what would\n\
                 # be exported (`syncline export --what-if`) is what you want.\n\
                 staging = true\n"
            } else {
                ""
            }
        )
    }

    fn source_text(&self) -> String {
        let mut text = String::new();
        match &self.source {
            TemplateSource::Ldif { path, openldap } => {
                text.push_str("# A directory in LDIF files.\nkind = \"ldif\"\n");
                pair(&mut text, "name", &self.source_name);
                pair(&mut text, "path", &path.display().to_string());
                text.push_str("# changes = \"changes\"  # a folder for files with change records, each taken once\n");
                if *openldap {
                    text.push_str("shape = \"ldap\"\n");
                }
            }
            TemplateSource::Server { active_directory, url, start_tls, allow_plain, ca_file, bind_name, credential, base } => {
                let kind = if *active_directory { "ad" } else { "ldap" };
                let _ = writeln!(text, "# A directory server. The account only needs to read.\nkind = \"{kind}\"");
                pair(&mut text, "name", &self.source_name);
                pair(&mut text, "url", url);
                for (key, set) in [("start_tls", *start_tls), ("allow_plain", *allow_plain)] {
                    if set {
                        let _ = writeln!(text, "{key} = true");
                    }
                }
                if let Some(ca_file) = ca_file {
                    pair(&mut text, "ca_file", &ca_file.display().to_string());
                }
                pair(&mut text, "bind_name", bind_name);
                let _ = writeln!(text, "password = {{ credential = {} }}", quoted(credential));
                if let Some(base) = base {
                    pair(&mut text, "base", base);
                }
            }
        }
        if !self.include.is_empty() || !self.exclude.is_empty() {
            text.push_str("\n[selection]\n");
            list_pair(&mut text, "include", &self.include);
            list_pair(&mut text, "exclude", &self.exclude);
        }
        if let Some(domain) = &self.domain {
            let short = domain.split('.').next().unwrap_or(domain).to_ascii_uppercase();
            text.push_str("\n[parameters]\n");
            pair(&mut text, "domain_fqdn", domain);
            pair(&mut text, "domain_netbios", &short);
            pair(&mut text, "forest_fqdn", domain);
            pair(&mut text, "forest_netbios", &short);
        }
        if let Some(passwords) = &self.password_hashes {
            text.push_str("\n# Password hashes go to the tenant. `syncline phs doctor` looks whether everything is there that it takes.\n");
            text.push_str("[password_hash_sync]\nenabled = true\n");
            if let Some(server) = &passwords.server {
                match &passwords.address {
                    Some(address) => {
                        let _ = writeln!(text, "servers = [{{ name = {}, address = {} }}]", quoted(server), quoted(address));
                    }
                    None => list_pair(&mut text, "servers", std::slice::from_ref(server)),
                }
            }
            if let Some(account) = &passwords.account {
                pair(&mut text, "account", account);
            }
        }
        text
    }

    fn target_text(&self) -> String {
        let mut text = String::new();
        match &self.tenant {
            TemplateTenant::Local { verified_domains } => {
                text.push_str("# A tenant that runs with the program and lives in this folder.\nkind = \"entra\"\n");
                pair(&mut text, "name", &self.target_name);
                text.push_str("tenant = \"embedded\"\n\n[embedded]\n");
                list_pair(&mut text, "verified_domains", verified_domains);
            }
            TemplateTenant::Entra { tenant, client_id, credential, login_url, provisioning_url, ca_file } => {
                text.push_str("# Microsoft Entra ID.\nkind = \"entra\"\n");
                pair(&mut text, "name", &self.target_name);
                pair(&mut text, "tenant", tenant);
                if let Some(client_id) = client_id {
                    pair(&mut text, "client_id", client_id);
                    let _ = writeln!(text, "client_secret = {{ credential = {} }}", quoted(credential));
                } else {
                    text.push_str("sign_in = \"device-code\"\n");
                }
                for (key, value) in [("login_url", login_url), ("provisioning_url", provisioning_url)] {
                    if let Some(value) = value {
                        pair(&mut text, key, value);
                    }
                }
                if let Some(ca_file) = ca_file {
                    pair(&mut text, "ca_file", &ca_file.display().to_string());
                }
            }
        }
        text
    }
}

/// Removes files that were written for nothing, as far as that is possible.
pub fn take_back(written: &[PathBuf]) {
    for path in written {
        drop(std::fs::remove_file(path));
    }
}

/// Copies a secret into the configuration's folder of secrets, readable for its owner only.
///
/// # Errors
/// When it is there already or cannot be written.
pub fn write_secret(path: &Path, content: &[u8]) -> Result<(), TemplateError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|source| TemplateError::Io { path: folder.to_owned(), source })?;
    create(path, content, 0o600)
}

fn create(path: &Path, content: &[u8], mode: u32) -> Result<(), TemplateError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => TemplateError::Exists(path.to_owned()),
        _ => TemplateError::Io { path: path.to_owned(), source },
    };
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(failed)?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(failed)
}

/// A file name from a connector's name; the number keeps sources before targets.
fn file_name(order: u32, name: &str) -> String {
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '.' { c.to_ascii_lowercase() } else { '-' }).collect();
    format!("{order}-{plain}.toml")
}

fn pair(text: &mut String, key: &str, value: &str) {
    let _ = writeln!(text, "{key} = {}", quoted(value));
}

fn list_pair(text: &mut String, key: &str, values: &[String]) {
    if !values.is_empty() {
        let _ = writeln!(text, "{key} = {}", list(values));
    }
}

fn list(values: &[String]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| quoted(value)).collect();
    format!("[{}]", quoted.join(", "))
}

fn quoted(value: &str) -> String {
    toml::Value::String(value.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, ConnectorSettings};

    fn template(source: TemplateSource, tenant: TemplateTenant) -> ConfigTemplate {
        ConfigTemplate {
            source_name: "corp.example".into(),
            source,
            target_name: "Entra".into(),
            tenant,
            include: vec!["OU=\"odd\\, name\",DC=corp,DC=example".into()],
            exclude: Vec::new(),
            domain: Some("corp.example".into()),
            max_deletes: 30,
            staging: true,
            password_hashes: Some(TemplatePasswords {
                server: Some("dc1.corp.example".into()),
                address: Some("127.0.0.1".into()),
                account: Some("svc@CORP.EXAMPLE".into()),
            }),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let sources = [
            TemplateSource::Ldif { path: "data/people.ldif".into(), openldap: false },
            TemplateSource::Ldif { path: "data/people.ldif".into(), openldap: true },
            TemplateSource::Server {
                active_directory: true,
                url: "ldap://dc1".into(),
                start_tls: true,
                allow_plain: false,
                ca_file: Some("ca.pem".into()),
                bind_name: "CORP\\svc".into(),
                credential: "ad-bind".into(),
                base: None,
            },
            TemplateSource::Server {
                active_directory: false,
                url: "ldaps://ldap".into(),
                start_tls: false,
                allow_plain: false,
                ca_file: None,
                bind_name: "cn=svc,dc=corp,dc=example".into(),
                credential: "ldap-bind".into(),
                base: Some("dc=corp,dc=example".into()),
            },
        ];
        let tenants = [
            TemplateTenant::Local { verified_domains: vec!["corp.example".into()] },
            TemplateTenant::Entra {
                tenant: "contoso.onmicrosoft.com".into(),
                client_id: Some("0000".into()),
                credential: "entra-secret".into(),
                login_url: Some("https://127.0.0.1:8443".into()),
                provisioning_url: None,
                ca_file: Some("ca.pem".into()),
            },
        ];
        for source in &sources {
            for tenant in &tenants {
                let folder = tempfile::tempdir().unwrap();
                let mut template = template(source.clone(), tenant.clone());
                // Only Active Directory is read by replication.
                let replicated = matches!(source, TemplateSource::Server { active_directory: true, .. });
                template.password_hashes = template.password_hashes.filter(|_| replicated);
                assert_eq!(template.write(folder.path()).unwrap().len(), 3);
                let config = Config::load(folder.path()).unwrap_or_else(|error| panic!("{error}"));
                assert_eq!((config.guard.max_deletes, config.guard.staging), (30, true));
                assert_eq!(config.connectors[0].name, "corp.example");
                match &config.connectors[0].settings {
                    ConnectorSettings::Ldif(file) => assert_eq!(file.selection.include, template.include),
                    ConnectorSettings::Ad(file) => {
                        assert_eq!(file.bind_name, "CORP\\svc");
                        let passwords = &file.password_hash_sync;
                        assert!(passwords.enabled && passwords.servers[0].name() == "dc1.corp.example", "{passwords:?}");
                        assert_eq!(passwords.account.as_deref(), Some("svc@CORP.EXAMPLE"));
                    }
                    ConnectorSettings::Ldap(file) => assert_eq!(file.base, "dc=corp,dc=example"),
                    ConnectorSettings::Entra(_) => panic!("the source comes first"),
                }
                assert!(matches!(template.write(folder.path()), Err(TemplateError::Exists(_))));
            }
        }
    }

    #[test]
    fn a_credential_name_cannot_leave_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let source = TemplateSource::Server {
            active_directory: true,
            url: "ldaps://dc1".into(),
            start_tls: false,
            allow_plain: false,
            ca_file: None,
            bind_name: "svc".into(),
            credential: "../x".into(),
            base: None,
        };
        let error = template(source, TemplateTenant::Local { verified_domains: Vec::new() }).write(folder.path()).unwrap_err();
        assert!(matches!(error, TemplateError::CredentialName(_)));
        assert!(!folder.path().join(MAIN_FILE).exists());
    }
}
