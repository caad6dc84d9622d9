//! The one place that makes HTTP clients: whom they trust, how long they wait, and what their failures mean.

use crate::connector::{ConnectorError, ConnectorErrorKind, tls};
use bytes::{Bytes, BytesMut};
use reqwest::Client;
use std::error::Error as _;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(30);
/// Longest wait for a whole call (specification: provisioning service 1.2).
const CALL: Duration = Duration::from_mins(10);
/// The longest answer that is read.
const ANSWER_OCTETS: usize = 64 << 20;

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
        "http" => match url.host_str() {
            Some("localhost" | "127.0.0.1" | "[::1]") => Ok(()),
            _ => wrong("a token would go over the network in clear text; use https://"),
        },
        _ => wrong("write https://host/path"),
    }
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
            return Err(Failed::Lost(format!("the answer is longer than {} MiB", ANSWER_OCTETS >> 20)));
        }
        collected.extend_from_slice(&chunk);
    }
    Ok(collected.freeze())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_leave_the_machine_encrypted_only() {
        for good in ["https://adminwebservice.microsoftonline.com/x", "http://127.0.0.1:8080", "http://localhost/x", "http://[::1]:1/"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["http://tenant.example/", "ldap://127.0.0.1", "tenant", ""] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
