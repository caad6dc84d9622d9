//! The one place that makes HTTP clients: whom they trust, how long they wait, and what their failures mean.

use crate::connector::{ConnectorError, ConnectorErrorKind, tls};
use crate::model::Timestamp;
use bytes::{Bytes, BytesMut};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Client;
use reqwest::header::{DATE, HeaderMap, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use std::error::Error as _;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;
use zeroize::{Zeroize as _, Zeroizing};

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(30);
/// Longest wait for a whole call (specification: provisioning service 1.2).
const CALL: Duration = Duration::from_mins(10);
/// The longest answer that is read,
const ANSWER_OCTETS: usize = 64 << 20;
/// and the longest one with secrets: tokens have a few KiB.
const SECRET_ANSWER_OCTETS: usize = 256 << 10;

/// A client that trusts the authorities in `ca_file` alone, or without a file those of the machine. Certificates of
/// the machine are looked for only when one of the addresses is encrypted, so that plain loopback needs none.
pub(super) fn client(ca_file: Option<&Path>, addresses: &[&str]) -> Result<Client, ConnectorError> {
    for address in addresses {
        check(address)?;
    }
    let builder = Client::builder()
        .connect_timeout(CONNECT)
        .timeout(CALL)
        .pool_idle_timeout(Duration::from_secs(90))
        .redirect(reqwest::redirect::Policy::none())
        .http1_only();
    let encrypted = addresses.iter().any(|address| address.starts_with("https://"));
    let config = if encrypted { tls::configuration(ca_file)? } else { tls::trusting_nobody()? };
    builder.tls_backend_preconfigured((*config).clone()).build().map_err(|error| {
        ConnectorError::new(ConnectorErrorKind::Configuration, format!("the HTTP client cannot be made: {error}")).unsent()
    })
}

/// Secrets go over encrypted connections, or over none that leaves the machine.
fn check(address: &str) -> Result<(), ConnectorError> {
    let wrong = |reason: &str| {
        Err(ConnectorError::new(ConnectorErrorKind::Configuration, format!("'{address}' cannot be used: {reason}")).unsent())
    };
    let Ok(url) = reqwest::Url::parse(address) else { return wrong("it is no address; write https://host/path") };
    match url.scheme() {
        "https" => Ok(()),
        "http" if url.host_str().is_some_and(is_loopback) => Ok(()),
        "http" => wrong("a token would go over the network in clear text; use https://"),
        _ => wrong("write https://host/path"),
    }
}

/// The address of the same service at the host that a redirect names, or why a token must not go there. Redirects lead
/// to other instances of one service, whose hosts are neighbours under one domain (specification: provisioning
/// service 1.5): anything else is nobody that we know.
pub(super) fn redirected(home: &str, target: &str) -> Result<String, String> {
    check(target).map_err(|error| error.message)?;
    let no_address = || "it is no address".to_owned();
    let parse = |address: &str| reqwest::Url::parse(address).map_err(|_| no_address());
    let (mut moved, target) = (parse(home)?, parse(target)?);
    if target.scheme() != moved.scheme() {
        return Err("a redirect never changes between http and https".to_owned());
    }
    let (ours, theirs) = (moved.host_str().unwrap_or_default().to_owned(), target.host_str().unwrap_or_default());
    let both_here = is_loopback(&ours) && is_loopback(theirs);
    let neighbours = service_domain(&ours).is_some_and(|domain| theirs.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')));
    if !(both_here || ours == theirs || neighbours) {
        return Err(format!("a token for {ours} is not shown to {theirs}"));
    }
    let port = target.port();
    moved.set_host(Some(theirs)).map_err(|_| no_address())?;
    moved.set_port(port).map_err(|()| no_address())?;
    Ok(moved.into())
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// What the instances of a service have in common: its host without the first label. `None` where that would be a
/// domain in which anybody can have a name.
fn service_domain(host: &str) -> Option<&str> {
    if host.parse::<std::net::Ipv4Addr>().is_ok() || host.starts_with('[') {
        return None;
    }
    let (_, domain) = host.split_once('.')?;
    let (owner, country) = domain.rsplit_once('.')?;
    // co.uk, com.au
    let registry = country.len() == 2 && owner.len() <= 3;
    (!owner.is_empty() && !registry).then_some(domain)
}

/// How a request failed before an answer was there.
#[derive(Debug)]
pub(super) enum Failed {
    /// No connection: surely nothing was sent.
    Connect(String),
    /// The other side's certificate is not trusted; trying again would not help.
    Certificate(String),
    /// The connection was lost, or the time was over, when the request may have been read.
    Lost(String),
}

/// What an error of the HTTP library means. Addresses are kept, they hold no secrets; bodies never appear.
pub(super) fn failed(error: &reqwest::Error) -> Failed {
    let mut text = error.url().map(|url| format!("{}: ", origin(url))).unwrap_or_default();
    let mut cause = error.source();
    let mut certificate = false;
    let mut deepest = error.to_string();
    while let Some(inner) = cause {
        certificate |= matches!(inner.downcast_ref::<rustls::Error>(), Some(rustls::Error::InvalidCertificate(_)));
        deepest = inner.to_string();
        cause = inner.source().or_else(|| io_inner(inner));
    }
    if error.is_timeout() {
        "the time was over".clone_into(&mut deepest);
    }
    let _ = write!(text, "{deepest}");
    if certificate || deepest.contains("invalid peer certificate") {
        Failed::Certificate(text)
    } else if error.is_connect() {
        Failed::Connect(text)
    } else {
        Failed::Lost(text)
    }
}

/// An I/O error does not name what it wraps as its source.
fn io_inner<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e (dyn std::error::Error + 'static)> {
    let inner = error.downcast_ref::<std::io::Error>()?.get_ref()?;
    Some(inner)
}

fn origin(url: &reqwest::Url) -> String {
    url.origin().ascii_serialization()
}

/// Reads an answer's body, but no more of it than fits.
pub(super) async fn body(mut response: reqwest::Response) -> Result<Bytes, Failed> {
    let mut collected = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| Failed::Lost(error.to_string()))? {
        if collected.len() + chunk.len() > ANSWER_OCTETS {
            return Err(too_long(ANSWER_OCTETS));
        }
        collected.extend_from_slice(&chunk);
    }
    Ok(collected.freeze())
}

/// Reads the body of an answer that holds secrets: what is collected is wiped when it is dropped, and so is what it was collected from,
/// as far as the HTTP library lets go of it.
pub(super) async fn secret_body(mut response: reqwest::Response) -> Result<Zeroizing<Vec<u8>>, Failed> {
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let mut collected = Zeroizing::new(Vec::with_capacity(SECRET_ANSWER_OCTETS));
    while let Some(chunk) = response.chunk().await.map_err(|error| Failed::Lost(error.to_string()))? {
        if collected.len() + chunk.len() > SECRET_ANSWER_OCTETS {
            return Err(too_long(SECRET_ANSWER_OCTETS));
        }
        collected.extend_from_slice(&chunk);
        if let Ok(mut own) = chunk.try_into_mut() {
            own.zeroize();
        }
    }
    Ok(collected)
}

fn too_long(most: usize) -> Failed {
    Failed::Lost(format!("the answer is longer than {} KiB", most >> 10))
}

/// A form (`application/x-www-form-urlencoded`) that is wiped when the last reader drops it.
pub(super) fn secret_form(fields: &[(&str, &str)]) -> Bytes {
    // An octet becomes three at most.
    let room = fields.iter().map(|(name, value)| 3 * (name.len() + value.len()) + 2).sum();
    let mut form = Zeroizing::new(String::with_capacity(room));
    for (name, value) in fields {
        if !form.is_empty() {
            form.push('&');
        }
        form.extend(utf8_percent_encode(name, NON_ALPHANUMERIC));
        form.push('=');
        form.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
    }
    Bytes::from_owner(Wiped(form))
}

/// The header that shows a token. It is wiped when the last reader drops it.
pub(super) fn bearer(token: &SecretString) -> Result<HeaderValue, ConnectorError> {
    let token = token.expose_secret();
    let mut text = Zeroizing::new(String::with_capacity("Bearer ".len() + token.len()));
    text.push_str("Bearer ");
    text.push_str(token);
    let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(Wiped(text)))
        .map_err(|_| ConnectorError::new(ConnectorErrorKind::Protocol, "the token that we got is no text of a header").unsent())?;
    value.set_sensitive(true);
    Ok(value)
}

/// A text whose octets others may share.
struct Wiped(Zeroizing<String>);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Runs what computes for long, or waits for the disk, off the threads on which calls wait for their answers.
pub(super) async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ConnectorError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| {
        ConnectorError::new(ConnectorErrorKind::Protocol, "the connector broke off while it worked on a message of the service")
    })
}

impl From<Failed> for ConnectorError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Connect(reason) => {
                ConnectorError::new(ConnectorErrorKind::Connection, format!("no connection to {reason}; check the address and the network"))
                    .unsent()
            }
            Failed::Certificate(reason) => ConnectorError::new(
                ConnectorErrorKind::Connection,
                format!("no connection to {reason}; name the authority that signed it in ca_file"),
            )
            .unsent(),
            Failed::Lost(reason) => ConnectorError::new(ConnectorErrorKind::Dropped, format!("the connection was lost: {reason}")),
        }
    }
}

/// What the clock of whoever answered shows (RFC 9110 section 6.6.1).
pub(super) fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let date = jiff::fmt::rfc2822::parse(headers.get(DATE)?.to_str().ok()?).ok()?;
    Some(Timestamp::from_seconds(date.timestamp().as_second()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_secrets_is_as_the_library_would_make_it() {
        let form = secret_form(&[("grant_type", "client_credentials"), ("client_secret", "a b&c=d+ü%~")]);
        let read: Vec<(String, String)> = reqwest::Url::parse(&format!("http://x/?{}", std::str::from_utf8(&form).unwrap()))
            .unwrap()
            .query_pairs()
            .into_owned()
            .collect();
        let wanted = [("grant_type", "client_credentials"), ("client_secret", "a b&c=d+ü%~")];
        assert_eq!(read, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let header = bearer(&SecretString::from("eyJ.x.y")).unwrap();
        assert_eq!((header.to_str().unwrap(), header.is_sensitive()), ("Bearer eyJ.x.y", true));
        assert!(!format!("{header:?}").contains("eyJ"));
        let error = bearer(&SecretString::from("eyJ\n")).unwrap_err();
        assert!(!error.to_string().contains("eyJ"), "{error}");
    }

    #[test]
    fn tokens_leave_the_machine_encrypted_only() {
        for good in ["https://adminwebservice.microsoftonline.com/x", "http://127.0.0.78:8080", "http://localhost/x", "http://[::1]:1/"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["http://tenant.example/", "ldap://127.0.0.1", "tenant", ""] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn redirects_stay_with_the_service() {
        let cloud = "https://adminwebservice.microsoftonline.com/provisioningservice.svc";
        let goes = |home: &str, target: &str| redirected(home, target).ok();
        assert_eq!(
            goes(cloud, "https://adminwebservice-s1-co2.microsoftonline.com/provisioningservice.svc?x").as_deref(),
            Some("https://adminwebservice-s1-co2.microsoftonline.com/provisioningservice.svc")
        );
        assert_eq!(goes(cloud, cloud).as_deref(), Some(cloud));
        for foreign in [
            "http://adminwebservice-s1-co2.microsoftonline.com/",
            "http://127.0.0.1/",
            "https://127.0.0.1/",
            "https://adminwebservice.microsoftonline.com.example/",
            "https://microsoftonline.com/",
            "https://evilmicrosoftonline.com/",
            "https://evil.example/adminwebservice.microsoftonline.com",
            "https://evil.example@evil.example/",
            "https://com/",
            "elsewhere",
            "",
        ] {
            assert_eq!(goes(cloud, foreign), None, "{foreign}");
        }
        let here = "http://127.0.0.1:8080/provisioningservice.svc";
        assert_eq!(goes(here, "http://localhost:9090/x").as_deref(), Some("http://localhost:9090/provisioningservice.svc"));
        for foreign in ["http://10.0.0.1:8080/", "http://tenant.example/", "https://tenant.example/", "http://127.0.0.1.example/"] {
            assert_eq!(goes(here, foreign), None, "{foreign}");
        }
        // Neighbours of these are strangers.
        for (home, foreign) in [
            ("https://tenant.example/", "https://other.example/"),
            ("https://tenant.co.uk/", "https://other.co.uk/"),
            ("https://10.1.2.3/", "https://9.1.2.3/"),
        ] {
            assert_eq!(goes(home, foreign), None, "{foreign}");
            assert!(goes(home, home).is_some(), "{home}");
        }
    }
}
