//! Connector files: one per directory, its keys depending on the kind.

use super::error::ConfigProblem;
use super::file;
use super::password::{AdPasswordTable, LdifPasswordTable};
use super::secrets::CredentialReference;
use crate::connector::ad::DeltaMode;
use crate::model::Dn;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use toml::Spanned;

/// A configured connector.
#[derive(Clone, Debug)]
pub struct ConnectorConfig {
    /// The name people use; by default the name of the file without its ending.
    pub name: String,
    /// The file it was read from.
    pub file: PathBuf,
    /// What kind it is, and the settings of that kind.
    pub settings: ConnectorSettings,
}

/// The settings of a connector by kind.
#[derive(Clone, Debug)]
pub enum ConnectorSettings {
    /// Files of entries.
    Ldif(LdifFile),
    /// Active Directory.
    Ad(AdFile),
    /// OpenLDAP and its like.
    Ldap(LdapFile),
    /// Microsoft Entra ID, or a local tenant.
    Entra(EntraFile),
}

/// The kinds of connectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectorKind {
    /// Files of entries.
    Ldif,
    /// Active Directory.
    Ad,
    /// OpenLDAP and its like.
    Ldap,
    /// Microsoft Entra ID, or a local tenant.
    Entra,
}

impl ConnectorKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Ldif, Self::Ad, Self::Ldap, Self::Entra];

    /// The spelling in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ldif => "ldif",
            Self::Ad => "ad",
            Self::Ldap => "ldap",
            Self::Entra => "entra",
        }
    }
}

impl ConnectorConfig {
    /// The connector's kind.
    pub fn kind(&self) -> ConnectorKind {
        match self.settings {
            ConnectorSettings::Ldif(_) => ConnectorKind::Ldif,
            ConnectorSettings::Ad(_) => ConnectorKind::Ad,
            ConnectorSettings::Ldap(_) => ConnectorKind::Ldap,
            ConnectorSettings::Entra(_) => ConnectorKind::Entra,
        }
    }
}

/// A connector file of kind `ldif`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LdifFile {
    /// `"ldif"`.
    pub kind: String,
    /// The connector's name; by default the name of the file without its ending.
    pub name: Option<String>,
    /// The file with all entries, or a folder of which every `*.ldif` file is read; relative to the configuration.
    pub path: PathBuf,
    /// A file with change records, read again by every delta import; or a folder, of which every `*.ldif` file is taken once,
    /// in the order of names.
    pub changes: Option<PathBuf>,
    /// The file to which exports append change records; none that is read.
    pub export: Option<PathBuf>,
    /// The attribute that identifies an entry for good; by default `objectGUID`, or `entryUUID` where that is absent.
    pub anchor: Option<String>,
    /// Whether entries look like those of Active Directory (`"ad"`) or of OpenLDAP (`"ldap"`); decides the built-in
    /// rules. Without it both sets apply, each to the object types it knows.
    pub shape: Option<LdifShape>,
    /// Which objects are wanted.
    #[serde(default)]
    pub selection: SelectionTable,
    /// What rules know as parameters.
    #[serde(default)]
    pub parameters: ParametersTable,
    /// Whether password hashes are synchronized.
    #[serde(default)]
    pub password_hash_sync: LdifPasswordTable,
}

/// Which built-in rules an LDIF directory gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LdifShape {
    /// Entries as Active Directory has them.
    Ad,
    /// Entries as OpenLDAP has them.
    Ldap,
}

/// A connector file of kind `ad`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdFile {
    /// `"ad"`.
    pub kind: String,
    /// The connector's name; by default the name of the file without its ending.
    pub name: Option<String>,
    /// A domain controller: `ldaps://host[:port]` or `ldap://host[:port]`.
    pub url: String,
    /// Encrypt an `ldap://` connection by StartTLS.
    #[serde(default)]
    pub start_tls: bool,
    /// Allow a connection without any encryption; the password then travels readable.
    #[serde(default)]
    pub allow_plain: bool,
    /// PEM file with the certificate authorities to trust; by default those of the machine.
    pub ca_file: Option<PathBuf>,
    /// The account: a distinguished name, `user@domain` or `DOMAIN\user`.
    pub bind_name: String,
    /// The account's password, by reference.
    pub password: CredentialReference,
    /// Naming contexts to import; by default the domain of the server.
    #[serde(default)]
    pub partitions: Vec<String>,
    /// Entries to ask for in one page, 1,000 at most.
    #[serde(default = "default_page")]
    pub page_size: u32,
    /// Read attributes that refer to other objects in portions of this many values.
    pub value_range: Option<u32>,
    /// Longest wait for a connection, in seconds.
    #[serde(default = "default_connect")]
    pub connect_timeout_seconds: u64,
    /// Longest wait for the next piece of an answer, in seconds.
    #[serde(default = "default_answer")]
    pub answer_timeout_seconds: u64,
    /// Which objects are wanted.
    #[serde(default)]
    pub selection: SelectionTable,
    /// How changes are asked for.
    #[serde(default)]
    pub delta: AdDeltaTable,
    /// What rules know as parameters; what is absent is read from the directory.
    #[serde(default)]
    pub parameters: ParametersTable,
    /// Whether password hashes are synchronized, and where they are read.
    #[serde(default)]
    pub password_hash_sync: AdPasswordTable,
}

/// `[delta]` of Active Directory: how changes are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdDeltaTable {
    /// The way.
    pub mode: AdDeltaMode,
}

/// How a domain controller is asked for changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AdDeltaMode {
    /// By the best way that server and rights allow.
    #[default]
    Auto,
    /// By the DirSync control with the right to replicate.
    Dirsync,
    /// By the DirSync control, of what the account may see.
    DirsyncObjectSecurity,
    /// By the numbers of changes on one domain controller.
    Usn,
    /// Not at all.
    Off,
}

impl From<AdDeltaMode> for DeltaMode {
    fn from(mode: AdDeltaMode) -> Self {
        match mode {
            AdDeltaMode::Auto => Self::Auto,
            AdDeltaMode::Dirsync => Self::DirSync,
            AdDeltaMode::DirsyncObjectSecurity => Self::DirSyncVisible,
            AdDeltaMode::Usn => Self::Usn,
            AdDeltaMode::Off => Self::Off,
        }
    }
}

/// A connector file of kind `ldap`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LdapFile {
    /// `"ldap"`.
    pub kind: String,
    /// The connector's name; by default the name of the file without its ending.
    pub name: Option<String>,
    /// The server: `ldaps://host[:port]` or `ldap://host[:port]`.
    pub url: String,
    /// Encrypt an `ldap://` connection by StartTLS.
    #[serde(default)]
    pub start_tls: bool,
    /// Allow a connection without any encryption; the password then travels readable.
    #[serde(default)]
    pub allow_plain: bool,
    /// PEM file with the certificate authorities to trust; by default those of the machine.
    pub ca_file: Option<PathBuf>,
    /// The account's distinguished name.
    pub bind_name: String,
    /// The account's password, by reference.
    pub password: CredentialReference,
    /// Where searches begin.
    pub base: String,
    /// The attribute that identifies an entry for good.
    #[serde(default = "default_anchor")]
    pub anchor: String,
    /// Entries to ask for in one page, 1,000 at most.
    #[serde(default = "default_page")]
    pub page_size: u32,
    /// Longest wait for a connection, in seconds.
    #[serde(default = "default_connect")]
    pub connect_timeout_seconds: u64,
    /// Longest wait for the next piece of an answer, in seconds.
    #[serde(default = "default_answer")]
    pub answer_timeout_seconds: u64,
    /// Which objects are wanted.
    #[serde(default)]
    pub selection: SelectionTable,
    /// What rules know as parameters.
    #[serde(default)]
    pub parameters: ParametersTable,
}

/// A connector file of kind `entra`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EntraFile {
    /// `"entra"`.
    pub kind: String,
    /// The connector's name; by default the name of the file without its ending.
    pub name: Option<String>,
    /// The tenant's id or one of its domains, or `"embedded"`: a local tenant that runs with the program, in this folder.
    pub tenant: String,
    /// How to sign in: `"client-secret"`, `"certificate"` or `"device-code"`.
    #[serde(default)]
    pub sign_in: SignIn,
    /// The application's id; not for the embedded tenant.
    pub client_id: Option<String>,
    /// The application's secret, by reference.
    pub client_secret: Option<CredentialReference>,
    /// PEM file with the application's certificate.
    pub certificate: Option<PathBuf>,
    /// The certificate's private key in PEM form, by reference.
    pub private_key: Option<CredentialReference>,
    /// Where tokens come from; by default the public cloud.
    pub login_url: Option<String>,
    /// The provisioning service; by default that of the public cloud.
    pub provisioning_url: Option<String>,
    /// Microsoft Graph; by default that of the cloud that `login_url` belongs to.
    pub graph_url: Option<String>,
    /// PEM file with the certificate authorities to trust, alone; by default those of the machine.
    pub ca_file: Option<PathBuf>,
    /// Objects in one call.
    pub batch_objects: Option<usize>,
    /// Calls under way at once.
    pub calls_in_flight: Option<usize>,
    /// The embedded tenant.
    #[serde(default)]
    pub embedded: EmbeddedTenant,
}

/// How the Entra connector signs in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SignIn {
    /// An application with a secret.
    #[default]
    ClientSecret,
    /// An application with a certificate.
    Certificate,
    /// A person types a code into a browser, once.
    DeviceCode,
}

/// `[embedded]`: the local tenant that runs with the program.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EmbeddedTenant {
    /// Its folder, relative to the configuration.
    pub folder: PathBuf,
    /// The organization's name.
    pub organization: String,
    /// The domain that generated names get.
    pub initial_domain: String,
    /// More verified domains, when it is made; from then on the tenant itself says what they are.
    pub verified_domains: Vec<String>,
}

impl Default for EmbeddedTenant {
    fn default() -> Self {
        Self {
            folder: "tenant".into(),
            organization: "Syncline Demo".into(),
            initial_domain: "syncline.onmicrosoft.com".into(),
            verified_domains: Vec::new(),
        }
    }
}

/// `[selection]`: which objects are wanted (specification: sync engine, section 5.7).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SelectionTable {
    /// Object types to import, by their most derived class; without it those that the built-in rules know.
    pub object_types: Vec<String>,
    /// Containers to import; none means all.
    pub include: Vec<String>,
    /// Containers to leave out; the most specific container of both lists decides.
    pub exclude: Vec<String>,
    /// Attributes that are not read; what they gave to the cloud stays there.
    pub exclude_attributes: Vec<String>,
    /// Attributes that are not read; what they gave to the cloud goes from there.
    pub recall_attributes: Vec<String>,
    /// Names of groups: only their direct members are sent, the groups of others and everybody else are kept here. A pilot.
    pub groups: Vec<String>,
}

/// Object types of Active Directory that the built-in rules know.
const AD_TYPES: [&str; 7] = ["user", "inetOrgPerson", "group", "contact", "foreignSecurityPrincipal", "computer", "msDS-Device"];
/// Object types of OpenLDAP that the built-in rules know.
pub const LDAP_TYPES: [&str; 5] = ["inetOrgPerson", "posixAccount", "groupOfNames", "groupOfUniqueNames", "posixGroup"];

impl ConnectorConfig {
    /// Which objects are wanted; the cloud has no choice.
    pub fn selection(&self) -> Option<&SelectionTable> {
        match &self.settings {
            ConnectorSettings::Ldif(file) => Some(&file.selection),
            ConnectorSettings::Ad(file) => Some(&file.selection),
            ConnectorSettings::Ldap(file) => Some(&file.selection),
            ConnectorSettings::Entra(_) => None,
        }
    }

    /// The same, to be changed.
    pub fn selection_mut(&mut self) -> Option<&mut SelectionTable> {
        match &mut self.settings {
            ConnectorSettings::Ldif(file) => Some(&mut file.selection),
            ConnectorSettings::Ad(file) => Some(&mut file.selection),
            ConnectorSettings::Ldap(file) => Some(&mut file.selection),
            ConnectorSettings::Entra(_) => None,
        }
    }

    /// The object types to import.
    pub fn object_types(&self) -> Vec<String> {
        match self.selection() {
            Some(selection) if !selection.object_types.is_empty() => selection.object_types.clone(),
            _ => self.default_object_types(),
        }
    }

    /// The object types to import where none are configured: those that the built-in rules know.
    pub fn default_object_types(&self) -> Vec<String> {
        let defaults: &[&[&str]] = match &self.settings {
            ConnectorSettings::Ldif(file) => match file.shape {
                Some(LdifShape::Ad) => &[&AD_TYPES],
                Some(LdifShape::Ldap) => &[&LDAP_TYPES],
                None => &[&AD_TYPES, &LDAP_TYPES],
            },
            ConnectorSettings::Ad(_) => &[&AD_TYPES],
            ConnectorSettings::Ldap(_) => &[&LDAP_TYPES],
            ConnectorSettings::Entra(_) => &[],
        };
        let mut types: Vec<String> = Vec::new();
        for name in defaults.iter().flat_map(|list| list.iter()) {
            if !types.iter().any(|known| known == name) {
                types.push((*name).to_owned());
            }
        }
        types
    }
}

/// `[parameters]`: what rules read as `%Domain.FQDN%` and the like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ParametersTable {
    /// `%Domain.FQDN%`: the domain's DNS name.
    pub domain_fqdn: Option<String>,
    /// `%Domain.Netbios%`: the domain's short name.
    pub domain_netbios: Option<String>,
    /// `%Forest.FQDN%`: the DNS name of the forest's first domain.
    pub forest_fqdn: Option<String>,
    /// `%Forest.Netbios%`: the short name of the forest's first domain.
    pub forest_netbios: Option<String>,
}

impl ParametersTable {
    /// The parameters that are set, by the names that rules use.
    pub fn pairs(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("Domain.FQDN", &self.domain_fqdn),
            ("Domain.Netbios", &self.domain_netbios),
            ("Forest.FQDN", &self.forest_fqdn),
            ("Forest.Netbios", &self.forest_netbios),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }
}

fn default_page() -> u32 {
    PAGE_SIZE_MAX
}

fn default_connect() -> u64 {
    10
}

fn default_answer() -> u64 {
    120
}

fn default_anchor() -> String {
    "entryUUID".to_owned()
}

/// The keys that decide how the rest of the file is read.
#[derive(Deserialize)]
struct KindOnly {
    kind: Spanned<String>,
}

/// Reads one connector file.
pub(super) fn read(folder: &Path, path: &Path) -> Result<ConnectorConfig, ConfigProblem> {
    read_text(folder, path, &file::read_text(path)?)
}

/// Reads a connector file that would have this text.
pub(super) fn read_text(folder: &Path, path: &Path, text: &str) -> Result<ConnectorConfig, ConfigProblem> {
    let kind = file::parse::<KindOnly>(folder, path, text)?.kind;
    let Some(known) = ConnectorKind::ALL.into_iter().find(|known| known.as_str() == kind.get_ref()) else {
        let names: Vec<String> = ConnectorKind::ALL.into_iter().map(|kind| kind.as_str().to_owned()).collect();
        let hint = file::closest(kind.get_ref(), &names)
            .map_or_else(|| format!("kinds are {}", names.join(", ")), |meant| format!("did you mean `{meant}`?"));
        return Err(file::problem_at(folder, path, text, kind.span(), format!("unknown kind `{}`", kind.get_ref())).hint(hint));
    };
    let (name, settings) = match known {
        ConnectorKind::Ldif => {
            let mut settings: LdifFile = file::parse(folder, path, text)?;
            settings.path = folder.join(&settings.path);
            settings.changes = settings.changes.map(|changes| folder.join(changes));
            settings.export = settings.export.map(|export| folder.join(export));
            (settings.name.clone(), ConnectorSettings::Ldif(settings))
        }
        ConnectorKind::Ad => {
            let mut settings: AdFile = file::parse(folder, path, text)?;
            let server = (settings.url.as_str(), settings.start_tls, settings.allow_plain);
            refuse_server(server).map_err(|(message, hint)| key_problem(folder, path, text, "url", message).hint(hint))?;
            refuse_zeros(
                folder,
                path,
                text,
                &server_numbers(settings.page_size, settings.connect_timeout_seconds, settings.answer_timeout_seconds),
            )?;
            refuse_large_page(folder, path, text, settings.page_size)?;
            settings.ca_file = settings.ca_file.map(|ca_file| folder.join(ca_file));
            (settings.name.clone(), ConnectorSettings::Ad(settings))
        }
        ConnectorKind::Ldap => {
            let mut settings: LdapFile = file::parse(folder, path, text)?;
            let server = (settings.url.as_str(), settings.start_tls, settings.allow_plain);
            refuse_server(server).map_err(|(message, hint)| key_problem(folder, path, text, "url", message).hint(hint))?;
            refuse_zeros(
                folder,
                path,
                text,
                &server_numbers(settings.page_size, settings.connect_timeout_seconds, settings.answer_timeout_seconds),
            )?;
            refuse_large_page(folder, path, text, settings.page_size)?;
            settings.ca_file = settings.ca_file.map(|ca_file| folder.join(ca_file));
            (settings.name.clone(), ConnectorSettings::Ldap(settings))
        }
        ConnectorKind::Entra => {
            let mut settings: EntraFile = file::parse(folder, path, text)?;
            check_sign_in(&settings).map_err(|message| key_problem(folder, path, text, "tenant", message))?;
            let numbers = [("batch_objects", settings.batch_objects), ("calls_in_flight", settings.calls_in_flight)];
            refuse_zeros(folder, path, text, &numbers.map(|(key, number)| (key, number == Some(0))))?;
            settings.provisioning_url = settings.provisioning_url.map(provisioning_service);
            settings.ca_file = settings.ca_file.map(|ca_file| folder.join(ca_file));
            settings.certificate = settings.certificate.map(|certificate| folder.join(certificate));
            settings.embedded.folder = folder.join(&settings.embedded.folder);
            (settings.name.clone(), ConnectorSettings::Entra(settings))
        }
    };
    refuse_non_names(folder, path, text, &settings)?;
    let name = name.unwrap_or_else(|| path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default());
    Ok(ConnectorConfig { name, file: path.to_owned(), settings })
}

impl EntraFile {
    /// True when the tenant runs with the program.
    pub fn is_embedded(&self) -> bool {
        self.tenant == "embedded"
    }
}

/// The last part of every address of a provisioning service.
const PROVISIONING_SERVICE: &str = "provisioningservice.svc";

/// The address of the service itself, also where only that of its host was given.
fn provisioning_service(url: String) -> String {
    let base = url.trim_end_matches('/');
    if base.to_ascii_lowercase().ends_with(PROVISIONING_SERVICE) { url } else { format!("{base}/{PROVISIONING_SERVICE}") }
}

/// Keys that servers share, and whether each is 0.
fn server_numbers(page_size: u32, connect: u64, answer: u64) -> [(&'static str, bool); 3] {
    [("page_size", page_size == 0), ("connect_timeout_seconds", connect == 0), ("answer_timeout_seconds", answer == 0)]
}

/// The most entries that a page may have: no server gives more to everybody, and a page is kept in memory.
const PAGE_SIZE_MAX: u32 = 1_000;

fn refuse_large_page(folder: &Path, path: &Path, text: &str, page_size: u32) -> Result<(), ConfigProblem> {
    if page_size <= PAGE_SIZE_MAX {
        return Ok(());
    }
    let message = format!("page_size is {page_size}, and servers give {PAGE_SIZE_MAX} entries in one page at most");
    Err(key_problem(folder, path, text, "page_size", message).hint(format!("write {PAGE_SIZE_MAX} or less, or leave it out")))
}

fn refuse_zeros(folder: &Path, path: &Path, text: &str, numbers: &[(&str, bool)]) -> Result<(), ConfigProblem> {
    match numbers.iter().find(|(_, zero)| *zero) {
        Some((key, _)) => Err(key_problem(folder, path, text, key, format!("{key} cannot be 0")).hint("write 1 or more, or leave it out")),
        None => Ok(()),
    }
}

/// Refuses partitions and containers that are no distinguished names: a filter with one missing selects other people.
fn refuse_non_names(folder: &Path, path: &Path, text: &str, settings: &ConnectorSettings) -> Result<(), ConfigProblem> {
    let none = Vec::new();
    let (partitions, selection) = match settings {
        ConnectorSettings::Ldif(file) => (&none, &file.selection),
        ConnectorSettings::Ad(file) => (&file.partitions, &file.selection),
        ConnectorSettings::Ldap(file) => (&none, &file.selection),
        ConnectorSettings::Entra(_) => return Ok(()),
    };
    for (key, names) in [("partitions", partitions), ("include", &selection.include), ("exclude", &selection.exclude)] {
        for name in names {
            if let Err(error) = Dn::parse(name) {
                let message = format!("{key}: '{name}' is no distinguished name: {error}");
                return Err(key_problem(folder, path, text, key, message).hint("write it as \"OU=People,DC=corp,DC=example\""));
            }
        }
    }
    Ok(())
}

/// The same for a file, whose keys the advice names.
fn refuse_server((url, start_tls, allow_plain): (&str, bool, bool)) -> Result<(), (String, &'static str)> {
    check_url(url)?;
    check_server(url, start_tls, allow_plain).map_err(|(message, _)| {
        let plain = url.starts_with("ldap://");
        let keys = "write ldaps://, or start_tls = true, or allow_plain = true if that is really wanted";
        (message, if plain { keys } else { "start_tls goes with ldap://" })
    })
}

/// Refuses an address that no connection can be made to as it is meant.
///
/// # Errors
/// A sentence, and what to do.
pub fn check_server(url: &str, start_tls: bool, allow_plain: bool) -> Result<(), (String, &'static str)> {
    check_url(url)?;
    let plain = url.starts_with("ldap://");
    if plain && !start_tls && !allow_plain {
        let message = format!("'{url}' is not encrypted, and the password would travel readable");
        return Err((message, "write ldaps://, or ask for StartTLS (--start-tls), or allow it (--allow-plain)"));
    }
    if !plain && start_tls {
        return Err((format!("'{url}' is encrypted from the start"), "StartTLS goes with ldap://"));
    }
    Ok(())
}

fn check_url(url: &str) -> Result<(), (String, &'static str)> {
    let rest = url.strip_prefix("ldaps://").or_else(|| url.strip_prefix("ldap://"));
    match rest {
        Some(host) if host.contains('@') => {
            Err(("the address holds an account".to_owned(), "write the account as bind_name, and its password as a credential"))
        }
        Some(host) if !host.trim_matches('/').is_empty() => Ok(()),
        _ => Err((format!("'{url}' is no address of an LDAP server"), "write ldaps://host or ldap://host")),
    }
}

fn check_sign_in(settings: &EntraFile) -> Result<(), String> {
    if settings.tenant.is_empty() {
        return Err("tenant is empty: write the tenant's id, one of its domains, or \"embedded\"".to_owned());
    }
    if settings.is_embedded() {
        return Ok(());
    }
    let missing = match settings.sign_in {
        SignIn::ClientSecret | SignIn::Certificate if settings.client_id.is_none() => "client_id",
        SignIn::ClientSecret if settings.client_secret.is_none() => "client_secret",
        SignIn::Certificate if settings.certificate.is_none() => "certificate",
        SignIn::Certificate if settings.private_key.is_none() => "private_key",
        _ => return Ok(()),
    };
    Err(format!("signing in to tenant '{}' needs the key `{missing}`", settings.tenant))
}

fn key_problem(folder: &Path, path: &Path, text: &str, key: &str, message: String) -> ConfigProblem {
    let at =
        text.match_indices(key).map(|(at, _)| at).find(|at| text[..*at].rsplit('\n').next().is_some_and(|line| line.trim().is_empty()));
    file::problem_at(folder, path, text, at.map_or(0..0, |at| at..at + key.len()), message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<ConnectorConfig, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        std::fs::write(&path, text).unwrap();
        read(folder.path(), &path).map_err(|problem| problem.to_string())
    }

    #[test]
    fn each_kind_has_its_own_keys() {
        let error = read_text("kind = \"ldif\"\npath = \"x.ldif\"\nbase = \"DC=x\"\n").unwrap_err();
        assert!(error.starts_with("c.toml:3:1: unknown key `base`"), "{error}");
        let error = read_text("kind = \"ad\"\nurl = \"http://dc\"\nbind_name = \"a\"\npassword = { credential = \"p\" }\n").unwrap_err();
        assert!(error.starts_with("c.toml:2:1: 'http://dc' is no address"), "{error}");
        let error = read_text("kind = \"entra\"\ntenant = \"contoso.onmicrosoft.com\"\nclient_id = \"x\"\n").unwrap_err();
        assert!(error.contains("needs the key `client_secret`"), "{error}");
    }

    #[test]
    fn the_address_of_a_provisioning_service_is_completed() {
        for base in ["https://127.0.0.1:8443", "https://127.0.0.1:8443/", "https://127.0.0.1:8443/provisioningservice.svc"] {
            assert_eq!(provisioning_service(base.to_owned()), "https://127.0.0.1:8443/provisioningservice.svc");
        }
    }

    #[test]
    fn servers_are_reached_encrypted_or_on_purpose() {
        assert!(check_server("ldap://dc1", false, false).is_err() && check_server("ldaps://dc1", true, false).is_err());
        assert!(check_server("http://dc1", false, true).is_err());
        let file = |url| refuse_server((url, false, false)).map_err(|(message, hint)| format!("{message}; {hint}"));
        assert!(file("ldap://dc1").unwrap_err().contains("start_tls = true") && file("ldap://a@dc1").unwrap_err().contains("bind_name"));
        for (url, start_tls, allow_plain) in [("ldaps://dc1", false, false), ("ldap://dc1", true, false), ("ldap://dc1", false, true)] {
            assert_eq!(check_server(url, start_tls, allow_plain), Ok(()));
        }
    }

    #[test]
    fn parameters_have_the_names_that_rules_use() {
        let table = ParametersTable { domain_fqdn: Some("corp.example".into()), ..ParametersTable::default() };
        assert_eq!(table.pairs().collect::<Vec<_>>(), [("Domain.FQDN", "corp.example")]);
    }
}
