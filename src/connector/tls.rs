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
