//! Whom to trust: certificate authorities from a PEM file, or those of the machine.

use crate::connector::{ConnectorError, ConnectorErrorKind};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use std::path::Path;
use std::sync::Arc;

/// A TLS configuration that trusts the authorities in `file`, or without a file those of the machine.
pub(crate) fn configuration(file: Option<&Path>) -> Result<Arc<ClientConfig>, ConnectorError> {
    let mut roots = RootCertStore::empty();
    match file {
        Some(path) => {
            let wrong = |reason: String| {
                ConnectorError::new(ConnectorErrorKind::Configuration, format!("certificate file {}: {reason}", path.display())).unsent()
            };
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))? {
                let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
                roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(wrong("it holds no certificate in PEM form".to_owned()));
            }
        }
        None => {
            // Single unreadable certificates of the machine are its own matter; none at all shows at the handshake.
            for certificate in rustls_native_certs::load_native_certs().certs {
                let _ = roots.add(certificate);
            }
        }
    }
    build(roots)
}

/// Looks whether a file holds certificate authorities that can be trusted.
///
/// # Errors
/// When it cannot be read, or is no PEM file with certificates.
pub fn check_authorities(file: &Path) -> Result<(), ConnectorError> {
    configuration(Some(file)).map(drop)
}

/// A TLS configuration for clients that never encrypt: it trusts no authority and reads none from the machine.
pub(crate) fn trusting_nobody() -> Result<Arc<ClientConfig>, ConnectorError> {
    build(RootCertStore::empty())
}

fn build(roots: RootCertStore) -> Result<Arc<ClientConfig>, ConnectorError> {
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map(|builder| Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
        .map_err(|error| ConnectorError::new(ConnectorErrorKind::Configuration, format!("TLS cannot be set up: {error}")).unsent())
}

/// Why a connection could not be encrypted, when that is why it failed.
pub(crate) fn reason(error: &std::io::Error) -> Option<String> {
    if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return Some(explain(tls));
    }
    (error.kind() == std::io::ErrorKind::UnexpectedEof).then(|| "the server closed the connection during the TLS handshake".to_owned())
}

/// What the library calls a server whose own certificate is one of an authority; it has no name of its own among the kinds of errors.
const SHOWS_AUTHORITY: &str = "CaUsedAsEndEntity";

/// What an error of the library means, and what to do.
pub(crate) fn explain(error: &rustls::Error) -> String {
    use rustls::CertificateError;
    match error {
        rustls::Error::InvalidCertificate(problem) => match problem {
            CertificateError::UnknownIssuer => {
                "the server's certificate was issued by an authority that is not trusted; name the authority's PEM file as ca_file"
                    .to_owned()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the server's certificate is for another name; use the name that is in it".to_owned()
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "the server's certificate has expired".to_owned(),
            CertificateError::Other(inner) if inner.0.to_string() == SHOWS_AUTHORITY => "the server's certificate is that of a certificate \
                 authority itself, and no server may show that one as its own: give the server a certificate that is signed by this authority, \
                 or a self-signed one that is no authority (basicConstraints CA:FALSE), and name its PEM file as ca_file"
                .to_owned(),
            other => format!("the server's certificate is not valid: {other}"),
        },
        other => format!("TLS failed: {other}"),
    }
}

/// True when a certificate was issued by somebody whom we do not know.
pub(crate) fn is_unknown_authority(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    /// How a client that trusts this certificate takes a server that shows it as its own.
    fn shown(is_ca: IsCa) -> Result<(), String> {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        parameters.is_ca = is_ca;
        let certificate = parameters.self_signed(&key).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), certificate.pem()).unwrap();
        let private = rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let settings = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .unwrap();
        let mut server = rustls::ServerConnection::new(Arc::new(settings)).unwrap();
        let ours = configuration(Some(file.path())).unwrap();
        let mut client = rustls::ClientConnection::new(ours, "localhost".try_into().unwrap()).unwrap();
        while client.is_handshaking() {
            let (mut there, mut back) = (Vec::new(), Vec::new());
            client.write_tls(&mut there).unwrap();
            server.read_tls(&mut there.as_slice()).unwrap();
            server.process_new_packets().unwrap();
            server.write_tls(&mut back).unwrap();
            client.read_tls(&mut back.as_slice()).unwrap();
            client.process_new_packets().map_err(|error| explain(&error))?;
        }
        Ok(())
    }

    #[test]
    fn an_authority_that_a_server_shows_as_its_own_is_told_with_the_way_out() {
        let told = shown(IsCa::Ca(BasicConstraints::Unconstrained)).unwrap_err();
        assert!(told.contains("authority itself") && told.contains("CA:FALSE") && !told.contains("OtherError"), "{told}");
        // The way out that it names is one.
        shown(IsCa::ExplicitNoCa).unwrap();
    }
}
