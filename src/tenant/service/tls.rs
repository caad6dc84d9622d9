//! The tenant's own certificate authority (EC): its key stays in the folder, server certificates are made at each start.

use super::ServeError;
use crate::model::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use zeroize::Zeroizing;

const CERTIFICATE: &str = "tenant-ca.pem";
const KEY: &str = "tenant-ca-key.pem";
const NAME: &str = "Syncline local tenant";

/// The authority.
pub(super) struct Authority {
    pem: String,
    key: KeyPair,
}

impl Authority {
    /// Reads the authority of a folder, or makes one there. The key is readable for its owner only.
    pub(super) fn load_or_create(folder: &Path, now: Timestamp) -> Result<Self, ServeError> {
        std::fs::create_dir_all(folder).map_err(|source| file_error(folder, source))?;
        let (certificate_path, key_path) = (folder.join(CERTIFICATE), folder.join(KEY));
        let key = match std::fs::read_to_string(&key_path) {
            Ok(pem) => {
                let pem = Zeroizing::new(pem);
                KeyPair::from_pem(&pem)
                    .map_err(|error| ServeError::Certificate(format!("{} holds no usable key: {error}", key_path.display())))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = KeyPair::generate().map_err(certificate_error)?;
                let pem = Zeroizing::new(key.serialize_pem());
                write_new(&key_path, pem.as_bytes(), 0o600)?;
                key
            }
            Err(source) => return Err(file_error(&key_path, source)),
        };
        let pem = match std::fs::read_to_string(&certificate_path) {
            Ok(pem) => pem,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let pem = parameters(now).self_signed(&key).map_err(certificate_error)?.pem();
                write_new(&certificate_path, pem.as_bytes(), 0o644)?;
                pem
            }
            Err(source) => return Err(file_error(&certificate_path, source)),
        };
        Ok(Self { pem, key })
    }

    /// The authority's certificate.
    pub(super) fn pem(&self) -> &str {
        &self.pem
    }

    /// A server configuration with a fresh certificate for `localhost`, the loopback addresses and `address`.
    pub(super) fn server_configuration(&self, address: IpAddr, now: Timestamp) -> Result<ServerConfig, ServeError> {
        let mut certificate = CertificateParams::new(vec!["localhost".to_owned()]).map_err(certificate_error)?;
        for ip in [IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]), address] {
            if !ip.is_unspecified() && !certificate.subject_alt_names.contains(&SanType::IpAddress(ip)) {
                certificate.subject_alt_names.push(SanType::IpAddress(ip));
            }
        }
        certificate.distinguished_name.push(DnType::CommonName, "localhost");
        certificate.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        certificate.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        certificate.use_authority_key_identifier_extension = true;
        limit(&mut certificate, now, 1);
        let key = KeyPair::generate().map_err(certificate_error)?;
        let authority = parameters(now);
        let signed = certificate.signed_by(&key, &Issuer::from_params(&authority, &self.key)).map_err(certificate_error)?;
        let chain = vec![CertificateDer::from(signed.der().to_vec())];
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| ServeError::Certificate(error.to_string()))?
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .map_err(|error| ServeError::Certificate(error.to_string()))
    }
}

fn parameters(now: Timestamp) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, NAME);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    limit(&mut parameters, now, 20);
    parameters
}

/// Valid from the beginning of last year for some years: nobody's clock is off by more.
fn limit(parameters: &mut CertificateParams, now: Timestamp, years: i32) {
    let year = i32::from(now.to_jiff().to_zoned(jiff::tz::TimeZone::UTC).year());
    parameters.not_before = date_time_ymd(year - 1, 1, 1);
    parameters.not_after = date_time_ymd(year + years, 12, 31);
}

fn write_new(path: &Path, content: &[u8], mode: u32) -> Result<(), ServeError> {
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(|source| file_error(path, source))?;
    file.write_all(content).map_err(|source| file_error(path, source))
}

fn file_error(path: &Path, source: io::Error) -> ServeError {
    ServeError::Io { what: path.display().to_string(), source }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn certificate_error(error: rcgen::Error) -> ServeError {
    ServeError::Certificate(error.to_string())
}
