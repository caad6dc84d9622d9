//! Which domain controllers to ask, in which order, and as whom.

use super::trouble::Place;
use crate::connector::{ConnectorError, ConnectorErrorKind, SignIn, SignIns, Way};
use secrecy::SecretString;
use std::time::Duration;

/// How the account signs in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Authentication {
    /// Kerberos. The account is `user@REALM`, the servers are named by their full DNS names.
    #[default]
    Kerberos,
    /// Kerberos, agreed on by SPNEGO. Never NTLM.
    Negotiate,
    /// NTLM, for whoever has no other way: weaker, and switched off in many domains.
    Ntlm,
}

impl Authentication {
    pub(super) fn way(self) -> Way {
        match self {
            Self::Kerberos => Way::Kerberos,
            Self::Negotiate => Way::Negotiate,
            Self::Ntlm => Way::Ntlm,
        }
    }

    /// The word in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kerberos => "kerberos",
            Self::Negotiate => "negotiate",
            Self::Ntlm => "ntlm",
        }
    }
}

/// A domain controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicationServer {
    /// Its full DNS name, `dc1.corp.example`. Kerberos knows it by this name (`host/dc1.corp.example`).
    pub host: String,
    /// Name or address to connect to, when it is another than `host`.
    pub address: Option<String>,
    /// The port of the replication interface; without it the endpoint mapper on port 135 is asked.
    pub port: Option<u16>,
    /// `host[:port]` of the key distribution centre; without it the controller itself, port 88.
    pub kdc: Option<String>,
}

impl ReplicationServer {
    /// A controller that is reached under its own name.
    pub fn new(host: impl Into<String>) -> Self {
        Self { host: host.into(), address: None, port: None, kdc: None }
    }

    /// Name or address to connect to.
    pub fn address(&self) -> &str {
        self.address.as_deref().unwrap_or(&self.host)
    }

    /// Name or address of the key distribution centre, with its port.
    pub(super) fn kdc(&self) -> String {
        let kdc = self.kdc.as_deref().unwrap_or_else(|| self.address());
        match kdc.rsplit_once(':') {
            // Several colons without brackets are an address of IPv6 without a port.
            Some((host, port)) if port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']')) => kdc.to_owned(),
            _ => with_port(kdc, 88),
        }
    }
}

/// Host and port as one text; addresses of IPv6 in brackets.
pub(super) fn with_port(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Everything that reading by replication needs to know.
#[derive(Clone, Debug)]
pub struct ReplicationSettings {
    /// Controllers in the order in which they are tried, the PDC emulator first. Read-only ones are of no use.
    pub servers: Vec<ReplicationServer>,
    /// `user@REALM`, or for NTLM also `DOMAIN\user`.
    pub account: String,
    /// Its password.
    pub password: SecretString,
    /// How it signs in.
    pub authentication: Authentication,
    /// Naming contexts of the domains to read, `DC=corp,DC=example`; none means the domain that the first server's name
    /// ends with.
    pub domains: Vec<String>,
    /// Objects in a page.
    pub page_objects: u32,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest wait for the next piece of an answer. A controller in the middle of a bulk change is silent for minutes.
    pub answer_timeout: Duration,
    /// How long deleted objects are remembered; a cookie older than this is of no use (180 days).
    pub tombstone_lifetime: Duration,
    /// Past what is known of the account's secret: repeated tries lock the account out.
    pub sign_in: SignIn,
    /// A diagnosis leaves a refused account alone, too: for one that nobody waits for and that comes again and again.
    pub patient: bool,
}

impl ReplicationSettings {
    /// Settings with the usual limits.
    pub fn new(servers: Vec<ReplicationServer>, account: impl Into<String>, password: SecretString) -> Self {
        Self {
            servers,
            account: account.into(),
            password,
            authentication: Authentication::default(),
            domains: Vec::new(),
            page_objects: 1_000,
            connect_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_mins(5),
            tombstone_lifetime: Duration::from_hours(180 * 24),
            sign_in: SignIns::default().to(""),
            patient: false,
        }
    }

    /// Holds what can be held without asking anybody.
    ///
    /// # Errors
    /// [`ConnectorErrorKind::Configuration`] with what is missing.
    pub(super) fn check(&self) -> Result<(), ConnectorError> {
        let wrong = |message: String| Err(ConnectorError::new(ConnectorErrorKind::Configuration, message).unsent());
        if self.servers.is_empty() {
            return wrong("no domain controller is named to read password hashes from; name at least one".to_owned());
        }
        if self.account.is_empty() {
            return wrong("no account is named to read password hashes with".to_owned());
        }
        for server in &self.servers {
            if server.host.is_empty() {
                return wrong("a domain controller has an empty name".to_owned());
            }
            let is_address = server.host.parse::<std::net::IpAddr>().is_ok();
            if self.authentication != Authentication::Ntlm && (is_address || !server.host.contains('.')) {
                return wrong(format!(
                    "domain controller '{}': Kerberos needs its full DNS name, like dc1.corp.example; an address to connect to can be set beside it",
                    server.host
                ));
            }
        }
        if self.authentication != Authentication::Ntlm && !self.account.contains('@') {
            return wrong(format!("account '{}': Kerberos needs it as user@REALM", self.account));
        }
        Ok(())
    }

    /// How a server is spoken of.
    pub(super) fn place(&self, server: &ReplicationServer) -> Place {
        Place { server: server.host.clone(), account: self.account.clone(), authentication: self.authentication }
    }

    /// The naming contexts to read.
    ///
    /// # Errors
    /// [`ConnectorErrorKind::Configuration`] when none is named and the first server's name does not tell one.
    pub(super) fn contexts(&self) -> Result<Vec<String>, ConnectorError> {
        if !self.domains.is_empty() {
            return Ok(self.domains.clone());
        }
        // An address has dots, too, and names no domain.
        let named = self.servers.first().map(|server| server.host.as_str()).filter(|host| host.parse::<std::net::IpAddr>().is_err());
        let domain = named.and_then(|host| host.split_once('.')).map(|(_, domain)| domain.trim_end_matches('.'));
        match domain.filter(|domain| !domain.is_empty()) {
            Some(domain) => Ok(vec![domain.split('.').map(|label| format!("DC={label}")).collect::<Vec<_>>().join(",")]),
            None => Err(ConnectorError::new(
                ConnectorErrorKind::Configuration,
                "the domain to read password hashes from is not known; name it, like DC=corp,DC=example",
            )
            .unsent()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(host: &str) -> ReplicationSettings {
        ReplicationSettings::new(vec![ReplicationServer::new(host)], "svc@corp.example", SecretString::from("secret"))
    }

    #[test]
    fn the_domain_is_that_of_the_first_server() {
        assert_eq!(settings("dc1.corp.example").contexts().unwrap(), ["DC=corp,DC=example"]);
        let mut named = settings("dc1.corp.example");
        named.domains = vec!["DC=other,DC=example".to_owned()];
        assert_eq!(named.contexts().unwrap(), ["DC=other,DC=example"]);
        for host in ["dc1", "192.0.2.7", "2001:db8::7", "dc1."] {
            assert_eq!(settings(host).contexts().unwrap_err().kind, ConnectorErrorKind::Configuration, "{host}");
        }
    }

    #[test]
    fn kerberos_needs_full_names() {
        assert!(settings("dc1.corp.example").check().is_ok());
        for host in ["dc1", "192.0.2.7", "2001:db8::7", ""] {
            assert_eq!(settings(host).check().unwrap_err().kind, ConnectorErrorKind::Configuration, "{host}");
        }
        let mut short = settings("dc1.corp.example");
        short.account = "CORP\\svc".to_owned();
        assert!(short.check().unwrap_err().message.contains("user@REALM"));
        short.authentication = Authentication::Ntlm;
        assert!(short.check().is_ok());
        short.servers.clear();
        assert!(short.check().is_err());
        assert!(!format!("{:?}", settings("dc1.corp.example")).contains("\"secret\""));
    }

    #[test]
    fn addresses_get_their_ports() {
        let mut server = ReplicationServer::new("dc1.corp.example");
        assert_eq!(server.kdc(), "dc1.corp.example:88");
        server.address = Some("2001:db8::7".to_owned());
        assert_eq!((server.kdc().as_str(), server.address()), ("[2001:db8::7]:88", "2001:db8::7"));
        server.kdc = Some("kdc:8888".to_owned());
        assert_eq!(server.kdc(), "kdc:8888");
        server.kdc = Some("[2001:db8::8]:88".to_owned());
        assert_eq!(server.kdc(), "[2001:db8::8]:88");
        assert_eq!(with_port("192.0.2.7", 135), "192.0.2.7:135");
    }
}
