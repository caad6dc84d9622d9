//! Whether a server can be reached at all, step by step: its name, its port, its certificate. For people who set something
//! up or look for what is wrong; imports and exports connect by themselves.

use super::{ConnectorError, tls};
use crate::context::Context;
use crate::model::Timestamp;
use rustls_pki_types::ServerName;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// What to reach.
#[derive(Clone, Debug)]
pub struct ReachTarget {
    /// `ldap://`, `ldaps://`, `http://` or `https://` with host and perhaps a port.
    pub url: String,
    /// Encrypt by StartTLS, which `ldap://` knows.
    pub start_tls: bool,
    /// PEM file with the certificate authorities to trust; those of the machine without it.
    pub ca_file: Option<PathBuf>,
    /// Longest wait for each step.
    pub patience: Duration,
}

/// A server that was reached.
#[derive(Clone, Debug)]
pub struct Reached {
    /// What its name stands for.
    pub addresses: Vec<IpAddr>,
    /// The address and port that took the connection.
    pub place: SocketAddr,
    /// Its certificate, when the connection is encrypted.
    pub certificate: Option<CertificateFacts>,
}

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Whose it is.
    pub subject: String,
    /// Who says so.
    pub issuer: String,
    /// When it ends.
    pub expires: Timestamp,
}

/// How far it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The address is malformed, or its name stands for nothing.
    Name,
    /// Nobody answers there.
    Port,
    /// No encryption could be agreed on.
    Encryption,
}

/// A server that was not reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unreached {
    /// How far it went.
    pub stage: Stage,
    /// Its certificate was issued by somebody whom we do not know: naming the authority would help.
    pub unknown_authority: bool,
    /// For people: what, where, and what to do.
    pub message: String,
}

impl Unreached {
    fn at(stage: Stage, message: String) -> Self {
        Self { stage, unknown_authority: false, message }
    }
}

/// The request for StartTLS, whole (RFC 4511 section 4.14.1): message 1, extended request `1.3.6.1.4.1.1466.20037`.
const START_TLS: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";
/// The longest answer to it that is read.
const ANSWER_OCTETS: usize = 512;

/// Reaches a server: name, connection, encryption. Nobody signs in.
///
/// # Errors
/// With the step that failed.
pub async fn reach(cx: &Context, target: &ReachTarget) -> Result<Reached, Unreached> {
    let (host, port, encrypted) = parts(target)?;
    let found = within(cx, target.patience, tokio::net::lookup_host((host.as_str(), port))).await;
    let places: Vec<SocketAddr> = match found {
        None => {
            return Err(Unreached::at(
                Stage::Name,
                format!("no answer to the question for the name {host}; do the name servers of this machine work?"),
            ));
        }
        Some(Err(error)) => {
            let message = format!(
                "the name {host} stands for nothing here ({error}); is it spelled right, and do the name servers of this machine know it?"
            );
            return Err(Unreached::at(Stage::Name, message));
        }
        Some(Ok(places)) => places.collect(),
    };
    let mut addresses: Vec<IpAddr> = places.iter().map(SocketAddr::ip).collect();
    addresses.dedup();
    let (mut stream, mut refused) = (None, format!("the name {host} stands for no address"));
    for place in &places {
        match within(cx, target.patience, TcpStream::connect(place)).await {
            Some(Ok(connected)) => {
                stream = Some((connected, *place));
                break;
            }
            Some(Err(error)) => {
                refused = format!("{place}: no connection ({error}); does the server run, and does a firewall let this through?");
            }
            None => {
                let seconds = target.patience.as_secs();
                refused = format!("{place}: no connection within {seconds} s; is the address right, and does a firewall let this through?");
            }
        }
    }
    let Some((mut stream, place)) = stream else { return Err(Unreached::at(Stage::Port, refused)) };
    if !encrypted {
        return Ok(Reached { addresses, place, certificate: None });
    }
    let agreed = within(cx, target.patience, encrypt(&mut stream, target, &host)).await;
    let certificate = agreed.unwrap_or_else(|| {
        let message = format!("{}: encryption was not agreed on within {} s", target.url, target.patience.as_secs());
        Err(Unreached::at(Stage::Encryption, message))
    })?;
    Ok(Reached { addresses, place, certificate })
}

/// Lets work take so long at most.
async fn within<T>(cx: &Context, patience: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        () = cx.clock.sleep(patience) => None,
        () = cx.cancel.cancelled() => None,
    }
}

/// Host, port, and whether the connection will be encrypted.
fn parts(target: &ReachTarget) -> Result<(String, u16, bool), Unreached> {
    let url = &target.url;
    let wrong = |reason: &str| Unreached::at(Stage::Name, format!("'{url}' is no address of a server: {reason}"));
    let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("write ldaps://host or https://host"))?;
    let (port, encrypted) = match scheme {
        "ldaps" => (636, true),
        "ldap" => (389, target.start_tls),
        "https" => (443, true),
        "http" => (80, false),
        _ => return Err(wrong("it begins with ldap://, ldaps://, http:// or https://")),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains(['@', ' ']) {
        return Err(wrong("it has a blank or an account in it"));
    }
    let (host, port) = match authority.strip_prefix('[').and_then(|inside| inside.split_once(']')) {
        Some((host, behind)) => (host, behind.strip_prefix(':').map_or(Ok(port), str::parse)),
        None => match authority.rsplit_once(':') {
            Some((host, given)) => (host, given.parse()),
            None => (authority, Ok(port)),
        },
    };
    let port = port.map_err(|_| wrong("its port is no number"))?;
    if host.is_empty() {
        return Err(wrong("it names no host"));
    }
    Ok((host.to_owned(), port, encrypted))
}

async fn encrypt(stream: &mut TcpStream, target: &ReachTarget, host: &str) -> Result<Option<CertificateFacts>, Unreached> {
    let url = &target.url;
    let failed = |reason: String| Unreached::at(Stage::Encryption, format!("{url}: {reason}"));
    if target.start_tls {
        ask_for_encryption(stream).await.map_err(&failed)?;
    }
    let configuration = tls::configuration(target.ca_file.as_deref()).map_err(|error: ConnectorError| failed(error.message))?;
    let name = ServerName::try_from(host.to_owned()).map_err(|_| failed(format!("'{host}' cannot stand in a certificate")))?;
    let connected = tokio_rustls::TlsConnector::from(configuration).connect(name, stream).await;
    let connected = connected.map_err(|error| {
        let unknown_authority = tls::is_unknown_authority(&error);
        let reason = tls::reason(&error).unwrap_or_else(|| error.to_string());
        Unreached { unknown_authority, ..failed(reason) }
    })?;
    let first = connected.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    Ok(first.and_then(|der| facts(der)))
}

async fn ask_for_encryption(stream: &mut TcpStream) -> Result<(), String> {
    let lost = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "the server does not know StartTLS; use an ldaps:// address".to_owned(),
        _ => format!("the connection was lost before it was encrypted: {error}"),
    };
    stream.write_all(START_TLS).await.map_err(lost)?;
    let mut head = [0; 2];
    stream.read_exact(&mut head).await.map_err(lost)?;
    let unknown = || "the server does not know StartTLS; use an ldaps:// address".to_owned();
    // The message as a whole and nothing behind it, which is not ours to read any more (X.690 8.1.3).
    let length = match head {
        [0x30, short] if short < 0x80 => usize::from(short),
        [0x30, long] if (0x81..=0x84).contains(&long) => {
            let mut octets = vec![0; usize::from(long & 0x7f)];
            stream.read_exact(&mut octets).await.map_err(lost)?;
            octets.iter().fold(0_usize, |sum, octet| sum << 8 | usize::from(*octet))
        }
        _ => return Err(unknown()),
    };
    if length > ANSWER_OCTETS {
        return Err(unknown());
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).await.map_err(lost)?;
    // The result code and the name behind it, which is empty.
    match answer.windows(4).find_map(|window| if let [0x0a, 1, code, 4] = window { Some(*code) } else { None }) {
        Some(0) => Ok(()),
        Some(code) => Err(format!("the server refuses StartTLS (result {code}); use an ldaps:// address")),
        None => Err(unknown()),
    }
}

fn facts(der: &[u8]) -> Option<CertificateFacts> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let expires = certificate.validity().not_after.timestamp().checked_mul(1_000_000)?;
    Some(CertificateFacts {
        subject: certificate.subject().to_string(),
        issuer: certificate.issuer().to_string(),
        expires: Timestamp(expires),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str, start_tls: bool) -> ReachTarget {
        ReachTarget { url: url.to_owned(), start_tls, ca_file: None, patience: Duration::from_secs(5) }
    }

    #[test]
    fn addresses_are_taken_apart() {
        let whole = |url: &str, start_tls| parts(&target(url, start_tls)).unwrap();
        assert_eq!(whole("ldaps://dc1.corp.example", false), ("dc1.corp.example".to_owned(), 636, true));
        assert_eq!(whole("ldap://dc1:1389/", true), ("dc1".to_owned(), 1389, true));
        assert_eq!(whole("ldap://[2001:db8::1]", false), ("2001:db8::1".to_owned(), 389, false));
        assert_eq!(whole("https://[2001:db8::1]:8443/x", false), ("2001:db8::1".to_owned(), 8443, true));
        for wrong in ["", "dc1", "ftp://dc1", "ldaps://", "ldaps://dc1:x", "ldaps://a@b", "ldaps://:636"] {
            assert_eq!(parts(&target(wrong, false)).unwrap_err().stage, Stage::Name, "{wrong}");
        }
    }

    #[tokio::test]
    async fn the_step_that_fails_is_named() {
        let cx = Context::system();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let reached = reach(&cx, &target(&format!("ldap://127.0.0.1:{port}"), false)).await.unwrap();
        assert_eq!((reached.place.port(), reached.certificate), (port, None));
        drop(listener);
        let refused = reach(&cx, &target(&format!("ldap://127.0.0.1:{port}"), false)).await.unwrap_err();
        assert_eq!(refused.stage, Stage::Port, "{refused}");
        let nobody = reach(&cx, &target("ldap://no-such-host.invalid", false)).await.unwrap_err();
        assert_eq!(nobody.stage, Stage::Name, "{nobody}");
    }

    #[tokio::test]
    async fn a_server_without_encryption_is_told_apart_from_one_that_refuses_it() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let cx = Context::system();
        for (answer, wanted) in [
            // An extended response with result 2, protocolError.
            (&b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x02\x04\x00\x04\x00"[..], "refuses StartTLS (result 2)"),
            (&b"220 mail.example ESMTP\r\n"[..], "does not know StartTLS"),
        ] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let server = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 31];
                stream.read_exact(&mut request).await.unwrap();
                assert_eq!(request, START_TLS);
                stream.write_all(answer).await.unwrap();
            };
            let url = format!("ldap://127.0.0.1:{port}");
            let wish = target(&url, true);
            let ((), failed) = tokio::join!(server, reach(&cx, &wish));
            let failed = failed.unwrap_err();
            assert_eq!(failed.stage, Stage::Encryption);
            assert!(failed.message.contains(wanted), "{failed}");
        }
    }
}
