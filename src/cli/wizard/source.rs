//! Questions one to four: which directory, as whom, and which part of it.

use super::containers::{line, selection, shown};
use super::{SOURCES, Wizard};
use crate::cli::args::SourceKind;
use crate::cli::commands::init::{check_container, check_domain, readable, secret_of_file};
use crate::cli::error::CommandError;
use crate::cli::output::{clean, thousands};
use crate::config::{LDAP_TYPES, TemplatePasswords, TemplateSource, check_server};
use crate::connector::ad::replication::{ReplicationServer, ReplicationSettings};
use crate::connector::ad::{DomainSurvey, LocatedController};
use crate::connector::ldap::{Census, CensusPlan, LdapSettings};
use crate::connector::{ConnectorErrorKind, ReachTarget, Stage, check_authorities};
use crate::model::Dn;
use crate::protocol::ldif::Reader;
use secrecy::{ExposeSecret as _, SecretString};
use std::fs::File;
use std::io::BufReader;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A directory that was tried out.
pub(super) struct Source {
    /// What it is called.
    pub(super) name: String,
    pub(super) template: TemplateSource,
    pub(super) secret: Option<(String, SecretString)>,
    pub(super) include: Vec<String>,
    pub(super) exclude: Vec<String>,
    /// Its domain, where the directory does not tell it.
    pub(super) domain: Option<String>,
    /// What lies in it; unknown for files.
    pub(super) census: Option<Census>,
    /// How passwords can be read.
    pub(super) replication: Option<Replication>,
}

/// The way to the passwords of a directory.
pub(super) struct Replication {
    pub(super) settings: ReplicationSettings,
    pub(super) template: TemplatePasswords,
}

/// A server that was reached.
struct Server {
    url: String,
    start_tls: bool,
    allow_plain: bool,
    ca_file: Option<PathBuf>,
}

/// Clocks that are further apart than Kerberos allows, in seconds.
const SKEW: i64 = 300;
/// Longest wait for a server that is tried out.
const PATIENCE: Duration = Duration::from_secs(10);
/// Controllers of a domain that are tried, in the order of the name system.
const TRIED: usize = 3;
/// What is said to nothing at all.
const ANSWERS_TO_EMPTY: &str = "write something";

impl Wizard<'_> {
    pub(super) fn source(&self) -> Result<Source, CommandError> {
        self.step(1, "Where people come from");
        let kinds = SOURCES.map(|(_, text)| text.to_owned());
        // Only servers have addresses.
        let servers_only = self.arguments.url.is_some() || self.arguments.name_server.is_some();
        let offered = if servers_only { &kinds[..2] } else { &kinds[..] };
        let (kind, _) = SOURCES[self.questions.one_of("Kind of directory", offered, 0)?];
        if kind == SourceKind::Ldif {
            return self.files();
        }
        let server = self.server(kind)?;
        let (connection, survey) = self.account(kind, &server)?;
        let base = match (&survey, kind) {
            (Some(survey), _) => survey.domain.clone(),
            (None, _) => self.base(&connection)?,
        };
        let plan = if kind == SourceKind::Ad { CensusPlan::active_directory(&base) } else { CensusPlan::ldap(&base, &LDAP_TYPES) };
        let (census, include, exclude) = self.containers(&connection, &plan)?;
        let credential = self.arguments.credential.clone();
        // Only Active Directory tells its domain; elsewhere the base is named after it, as a rule.
        let domain = self.arguments.domain.clone().or_else(|| if survey.is_none() { domain_of(&base) } else { None });
        if let Some(domain) = domain.as_ref().filter(|_| self.arguments.domain.is_none()) {
            self.good(format!("the domain is {domain}, by the name of the base"));
        }
        let name = survey.as_ref().and_then(|survey| survey.domain_name.clone());
        let replication = survey.as_ref().map(|survey| replication(&connection, survey));
        Ok(Source {
            name: domain.clone().or(name).unwrap_or_else(|| "LDAP".to_owned()),
            template: TemplateSource::Server {
                active_directory: kind == SourceKind::Ad,
                url: server.url,
                start_tls: server.start_tls,
                allow_plain: server.allow_plain,
                ca_file: server.ca_file,
                bind_name: connection.bind_name.clone(),
                credential: credential.clone(),
                base: (kind == SourceKind::Ldap).then_some(base),
            },
            secret: Some((credential, connection.bind_password)),
            include,
            exclude,
            domain,
            census: Some(census),
            replication,
        })
    }

    fn files(&self) -> Result<Source, CommandError> {
        loop {
            let given = self.arguments.path.as_ref();
            let path = match given {
                Some(path) => path.clone(),
                None => PathBuf::from(self.questions.text("The file, or the folder with *.ldif files", None)?),
            };
            let option = given.map(|_| "--path");
            match std::path::absolute(&path) {
                Ok(path) if readable(&path).is_ok() => {
                    let openldap = self.arguments.openldap || !self.questions.yes("Do its entries come from Active Directory", true)?;
                    let domain = self.domain_of_files(&path)?;
                    return Ok(Source {
                        name: domain.clone().unwrap_or_else(|| "Files".to_owned()),
                        template: TemplateSource::Ldif { path, openldap },
                        secret: None,
                        include: self.arguments.include.clone(),
                        exclude: self.arguments.exclude.clone(),
                        domain,
                        census: None,
                        replication: None,
                    });
                }
                Ok(path) if path.exists() => self.wrong(readable(&path).err().unwrap_or_default(), option)?,
                _ => self.wrong(format!("there is nothing at '{}'", path.display()), option)?,
            }
        }
    }

    /// The domain of people in files, which nobody tells; the names of the entries are a guess.
    fn domain_of_files(&self, path: &Path) -> Result<Option<String>, CommandError> {
        if self.arguments.domain.is_some() {
            return Ok(self.arguments.domain.clone());
        }
        let guess = first_name(path).and_then(|name| domain_of(&name));
        loop {
            let prompt = if guess.is_some() { "The domain of these people" } else { "The domain of these people (empty: none)" };
            let domain = self.questions.text(prompt, guess.as_deref())?;
            if domain.is_empty() {
                return Ok(None);
            }
            match check_domain("it", &domain) {
                Ok(()) => return Ok(Some(domain)),
                Err(_) => self.wrong(format!("'{domain}' is no domain: write corp.example"), None)?,
            }
        }
    }

    /// A server that answers, with its encryption.
    fn server(&self, kind: SourceKind) -> Result<Server, CommandError> {
        let arguments = self.arguments;
        let option = arguments.url.as_ref().map(|_| "--url");
        loop {
            let text = match &arguments.url {
                Some(url) => url.clone(),
                None if kind == SourceKind::Ad => self.questions.text("Domain, or one of its domain controllers", None)?,
                None => self.questions.text("Server (ldap.corp.example, or ldaps://host:port)", None)?,
            };
            let candidates = match self.candidates(kind, &text) {
                Ok(candidates) => candidates,
                Err(reason) => {
                    self.wrong(reason, option)?;
                    continue;
                }
            };
            match self.encrypted(candidates)? {
                Ok(server) => return Ok(server),
                Err(reason) => self.wrong(reason, option)?,
            }
        }
    }

    /// The addresses that a text may mean.
    fn candidates(&self, kind: SourceKind, text: &str) -> Result<Vec<String>, String> {
        if text.is_empty() {
            return Err(ANSWERS_TO_EMPTY.to_owned());
        }
        if text.contains("://") {
            // Encryption is tried out; whether it can be had, the server says.
            check_server(text, text.starts_with("ldap://"), false).map_err(|(message, hint)| format!("{message}; {hint}"))?;
            return Ok(vec![text.to_owned()]);
        }
        let host = text.trim_end_matches('.');
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|octet| octet.is_ascii_digit()) && !name.contains(':') => (name, Some(port)),
            _ => (host, None),
        };
        let authority = |name: &str| if name.contains(':') && !name.starts_with('[') { format!("[{name}]") } else { name.to_owned() };
        let both = |name: &str, port: Option<&str>| match port {
            Some(port) => vec![format!("ldaps://{}:{port}", authority(name)), format!("ldap://{}:{port}", authority(name))],
            None => vec![format!("ldaps://{}", authority(name)), format!("ldap://{}", authority(name))],
        };
        if name.parse::<IpAddr>().is_ok() || name == "localhost" {
            return Ok(both(name, port));
        }
        check_domain("it", name)
            .map_err(|_| format!("'{text}' is neither a domain nor a server: write corp.example, dc1.corp.example or an address"))?;
        if kind == SourceKind::Ldap || port.is_some() {
            return Ok(both(name, port));
        }
        match self.surveyor.locate(&self.app.cx, name, self.arguments.name_server) {
            Ok(found) => {
                let names: Vec<String> = found.iter().map(|controller| controller.host.clone()).collect();
                self.good(format!(
                    "{name} has {} domain controllers: {}",
                    found.len(),
                    names.iter().take(5).cloned().collect::<Vec<_>>().join(", ")
                ));
                // The name system tells the port without encryption; that with it is the usual one.
                let addresses = |found: &LocatedController| match found.port {
                    389 => both(&found.host, None),
                    port => vec![format!("ldaps://{}", found.host), format!("ldap://{}:{port}", found.host)],
                };
                Ok(found.iter().take(TRIED).flat_map(addresses).collect())
            }
            // It may be the name of a server itself.
            Err(error) => match self.surveyor.reach(&self.app.cx, &target(&format!("ldap://{name}"), false, None)) {
                Err(unreached) if unreached.stage == Stage::Name => Err(format!("{}; nor is it a server: {unreached}", error.message)),
                _ => Ok(both(name, None)),
            },
        }
    }

    /// The first of these addresses that can be reached, encrypted if that can be had. `Err` has the reasons.
    fn encrypted(&self, candidates: Vec<String>) -> Result<Result<Server, String>, CommandError> {
        let arguments = self.arguments;
        let mut ca_file =
            arguments.ca_file.as_deref().map(std::path::absolute).transpose().map_err(|error| CommandError::usage(error.to_string()))?;
        let mut reasons: Vec<String> = Vec::new();
        for url in candidates {
            let start_tls = url.starts_with("ldap://") && !arguments.allow_plain;
            loop {
                match self.surveyor.reach(&self.app.cx, &target(&url, start_tls, ca_file.clone())) {
                    Ok(reached) => {
                        self.good(format!("{url} answers at {}{}", reached.place, if start_tls { ", encrypted by StartTLS" } else { "" }));
                        if let Some(certificate) = &reached.certificate {
                            self.good(format!("its certificate is trusted until {}", certificate.expires));
                        } else {
                            self.warn("nothing is encrypted: the account's password travels readable");
                        }
                        let allow_plain = reached.certificate.is_none();
                        return Ok(Ok(Server { url, start_tls: start_tls && !allow_plain, allow_plain, ca_file }));
                    }
                    Err(unreached) if unreached.unknown_authority && arguments.ca_file.is_none() => {
                        self.wrong(&unreached, None)?;
                        match self.authority()? {
                            Some(path) => ca_file = Some(path),
                            None => return Ok(Err("the server's certificate is not trusted; name the server anew".to_owned())),
                        }
                    }
                    Err(unreached) => {
                        reasons.push(unreached.message);
                        break;
                    }
                }
            }
        }
        Ok(Err(reasons.join("; ")))
    }

    /// The file with the authority of a certificate; `None` when there is none to name.
    fn authority(&self) -> Result<Option<PathBuf>, CommandError> {
        loop {
            let text = self.questions.text("PEM file of its authority (empty: choose another server)", None)?;
            if text.is_empty() {
                return Ok(None);
            }
            match std::path::absolute(&text) {
                Ok(path) if path.is_file() => match check_authorities(&path) {
                    Ok(()) => return Ok(Some(path)),
                    Err(error) => self.wrong(error.message, None)?,
                },
                _ => self.wrong(format!("there is no file '{text}'"), None)?,
            }
        }
    }

    /// An account that the server lets in, with what the server says of it.
    fn account(&self, kind: SourceKind, server: &Server) -> Result<(LdapSettings, Option<DomainSurvey>), CommandError> {
        let arguments = self.arguments;
        let mut known: Option<String> = arguments.bind_name.clone();
        let mut refused: Option<SecretString> = None;
        let (mut told_name, mut told_password) = (false, false);
        loop {
            // Whoever mistyped a password types it again, and must not do so where everybody sees it.
            let again = match (&refused, &known) {
                (Some(_), Some(_)) if arguments.secret_file.is_none() => {
                    let other = if arguments.bind_name.is_none() { "; empty: another account" } else { "" };
                    self.questions.secret_or_nothing(&format!("Password (not shown{other})"))?
                }
                _ => None,
            };
            if !told_name {
                self.step(2, "The account to read with");
                told_name = true;
            }
            let name = match (&arguments.bind_name, &known, &again) {
                (Some(name), ..) | (None, Some(name), Some(_)) => name.clone(),
                _ => {
                    let prompt = if kind == SourceKind::Ad { "Account (user@domain)" } else { "Account (distinguished name)" };
                    self.questions.text(prompt, known.as_deref())?
                }
            };
            if name.is_empty() {
                self.wrong(ANSWERS_TO_EMPTY, arguments.bind_name.as_ref().map(|_| "--bind-name"))?;
                continue;
            }
            let typed = arguments.bind_name.is_none() && again.is_none() && known.as_ref() != Some(&name);
            if typed && refused.as_ref().is_some_and(|refused| refused.expose_secret() == name) {
                self.wrong("this is the password that was just typed; the account's name is asked for here", None)?;
                continue;
            }
            known = Some(name.clone());
            if !told_password {
                self.step(3, "Its password");
                told_password = true;
            }
            let password = match (&arguments.secret_file, again) {
                (Some(file), _) => secret_of_file(file)?,
                (None, Some(again)) => again,
                (None, None) => self.questions.secret("Password (not shown)")?,
            };
            refused = Some(password.clone());
            let settings = LdapSettings {
                start_tls: server.start_tls,
                allow_plain: server.allow_plain,
                ca_file: server.ca_file.clone(),
                ..LdapSettings::new(&server.url, name, password)
            };
            let asked = match kind {
                SourceKind::Ad => self.surveyor.domain(&self.app.cx, &settings).map(Some),
                _ => self.surveyor.directory(&self.app.cx, &settings).map(|_| None),
            };
            match asked {
                Ok(survey) => {
                    self.good(format!("signed in as {}", settings.bind_name));
                    if let Some(survey) = &survey {
                        self.tell(survey);
                    }
                    return Ok((settings, survey));
                }
                Err(error) => {
                    let given = (arguments.bind_name.is_some() && arguments.secret_file.is_some()).then_some("--bind-name, --secret-file");
                    // What is wrong is not always the account.
                    let fatal = error.kind == ConnectorErrorKind::Configuration;
                    self.wrong(&error.message, if fatal { Some("the account") } else { given })?;
                }
            }
        }
    }

    /// What a domain controller said.
    fn tell(&self, survey: &DomainSurvey) {
        let domain = survey.domain_name.as_deref().unwrap_or(&survey.domain);
        self.good(format!("the domain is {domain}{}", if survey.samba { " (Samba)" } else { "" }));
        match survey.clock_ahead {
            Some(ahead) if ahead.abs() > SKEW => {
                self.warn(format!(
                    "the clocks differ by {ahead} s; Kerberos allows {SKEW}: set this machine's by the time service of the domain"
                ));
            }
            Some(ahead) => self.good(format!("the clocks agree ({ahead} s)")),
            None => {}
        }
        if survey.sees_deleted {
            self.good("what is deleted can be seen");
        } else {
            self.warn(
                "what is deleted cannot be seen, so that every import reads everything; `account ad grant --feature changes` mends it",
            );
        }
        match &survey.no_changes {
            None => self.good("changes are told"),
            Some(_) => self.warn("changes are told to this account in a slower way; `account ad grant --feature changes` mends it"),
        }
    }

    /// Where searches begin.
    fn base(&self, connection: &LdapSettings) -> Result<String, CommandError> {
        let offered = self.surveyor.directory(&self.app.cx, connection).ok().flatten();
        loop {
            let given = self.arguments.base.as_ref();
            let base = match given {
                Some(base) => base.clone(),
                None => self.questions.text("Where searches begin (distinguished name)", offered.as_deref())?,
            };
            match check_container("it", &base) {
                Ok(()) => return Ok(base),
                Err(error) => self.wrong(error.message.trim_start_matches("it "), given.map(|_| "--base"))?,
            }
        }
    }

    /// What lies where, and which of it is wanted.
    fn containers(&self, connection: &LdapSettings, plan: &CensusPlan) -> Result<(Census, Vec<String>, Vec<String>), CommandError> {
        let arguments = self.arguments;
        self.step(4, "Which part of the directory");
        let census = self
            .surveyor
            .census(&self.app.cx, connection, plan)
            .map_err(|error| CommandError::new("connector", crate::cli::error::Exit::NotStarted, error.message))?;
        let total = census.total();
        self.good(format!(
            "{} people, {} groups and {} contacts below {}",
            thousands(total.users),
            thousands(total.groups),
            thousands(total.contacts),
            plan.base
        ));
        if !arguments.include.is_empty() || !arguments.exclude.is_empty() {
            return Ok((census, arguments.include.clone(), arguments.exclude.clone()));
        }
        let choices = [format!("All of it ({} objects)", thousands(total.all())), "Choose containers".to_owned()];
        if self.questions.one_of("Synchronize", &choices, 0)? == 0 {
            return Ok((census, Vec::new(), Vec::new()));
        }
        let nodes = shown(&census);
        loop {
            let items: Vec<(String, bool)> = nodes.iter().map(|node| (line(node), true)).collect();
            let ticked = self.questions.some_of("Blank ticks and unticks, return goes on", &items)?;
            if !ticked.contains(&true) {
                self.wrong("nothing would be synchronized: tick something", None)?;
                continue;
            }
            let (include, exclude) = selection(&nodes, &ticked);
            for (word, names) in [("in", &include), ("out", &exclude)] {
                for name in names {
                    self.note(clean(format!("  {word:<5} {name}")));
                }
            }
            return Ok((census, include, exclude));
        }
    }
}

/// The name of the first entry of a file, or of the first file of a folder.
fn first_name(path: &Path) -> Option<String> {
    let file = if path.is_dir() {
        let files = std::fs::read_dir(path).ok()?.flatten().map(|entry| entry.path());
        files.filter(|file| file.extension().is_some_and(|end| end.eq_ignore_ascii_case("ldif"))).min()?
    } else {
        path.to_owned()
    };
    let first = Reader::new(BufReader::new(File::open(file).ok()?)).next()?;
    first.ok().map(|record| record.dn)
}

/// The domain that a name ends with: `corp.example` of `OU=People,DC=corp,DC=example`.
fn domain_of(name: &str) -> Option<String> {
    let dn = Dn::parse(name).ok()?;
    let labels: Vec<String> = (0..dn.depth())
        .filter_map(|place| dn.component(place))
        .filter(|(kind, _)| kind.eq_ignore_ascii_case("dc"))
        .map(|(_, value)| value.to_lowercase())
        .collect();
    Some(labels.join(".")).filter(|domain| check_domain("it", domain).is_ok())
}

fn target(url: &str, start_tls: bool, ca_file: Option<PathBuf>) -> ReachTarget {
    ReachTarget { url: url.to_owned(), start_tls, ca_file, patience: PATIENCE }
}

/// How the passwords of a domain are read from the controller that was asked.
fn replication(connection: &LdapSettings, survey: &DomainSurvey) -> Replication {
    let authority = connection.url.split_once("://").map_or("", |(_, rest)| rest);
    let reached = match authority.strip_prefix('[').and_then(|inside| inside.split_once(']')) {
        Some((address, _)) => address,
        None => authority.split([':', '/']).next().unwrap_or_default(),
    };
    // Kerberos knows the controller by its full name only.
    let host = survey.host.clone().unwrap_or_else(|| reached.to_owned());
    let elsewhere = (!host.eq_ignore_ascii_case(reached)).then(|| reached.to_owned());
    let account = match (&survey.account.name, &survey.domain_name) {
        _ if connection.bind_name.contains('@') => None,
        (Some(name), Some(domain)) => Some(format!("{name}@{}", domain.to_uppercase())),
        _ => None,
    };
    let server = ReplicationServer { address: elsewhere.clone(), ..ReplicationServer::new(&host) };
    let name = account.clone().unwrap_or_else(|| connection.bind_name.clone());
    let settings = ReplicationSettings {
        domains: vec![survey.domain.clone()],
        ..ReplicationSettings::new(vec![server], name, connection.bind_password.clone())
    };
    let template = TemplatePasswords { server: elsewhere.as_ref().map(|_| host), address: elsewhere, account };
    Replication { settings, template }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_ends_with_its_domain() {
        let of = |name: &str| domain_of(name);
        assert_eq!(of("cn=A,ou=People,DC=Corp,dc=example").as_deref(), Some("corp.example"));
        assert_eq!([of("o=corp"), of("dc=example"), of("no name"), of("dc=a b,dc=c")], [None, None, None, None]);
    }

    #[test]
    fn the_first_entry_of_files_says_where_they_come_from() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(first_name(folder.path()), None);
        std::fs::write(folder.path().join("b.ldif"), "dn: CN=B,DC=x\nobjectClass: user\n").unwrap();
        std::fs::write(folder.path().join("a.ldif"), "version: 1\n\ndn: CN=A,DC=y\nobjectClass: user\n").unwrap();
        std::fs::write(folder.path().join("0.txt"), "x").unwrap();
        assert_eq!(first_name(folder.path()).as_deref(), Some("CN=A,DC=y"));
        assert_eq!(first_name(&folder.path().join("0.txt")), None);
        assert_eq!(first_name(&folder.path().join("nothing")), None);
    }
}
