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
