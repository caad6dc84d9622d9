//! How a tenant is set up, and the secrets by which clients reach it.

use super::faults::{FaultRule, Throttle};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;
use uuid::Uuid;

/// The `ApplicationId` that the product's own clients send; our generated applications have ids of their own.
pub const SYNC_CLIENT: &str = "1651564e-7ce4-4d99-88be-0a65050d8dc3";
/// Public clients that may use password, device code and refresh grants (specification: provisioning service 1.4).
pub const PUBLIC_CLIENTS: [&str; 5] = [
    "1b730954-1685-4b74-9bfd-dac224a7b894",
    "04b07795-8ddb-461a-bbee-02f9e1bf7b46",
    "cb1056e2-e479-49de-ae31-7812af012ed8",
    SYNC_CLIENT,
    "6eb59a73-39b2-4c23-a70f-e2e3ce8965b1",
];

/// What a client needs to reach the tenant, and an administrator to steer it. Generated once per tenant.
#[derive(Clone)]
pub struct TenantCredentials {
    /// The tenant.
    pub tenant_id: Uuid,
    /// The registered application.
    pub client_id: Uuid,
    /// Its secret.
    pub client_secret: SecretString,
    /// The token of the endpoint under `/syncline-admin/`.
    pub admin_token: SecretString,
}

/// The form in the file.
#[derive(Serialize, Deserialize)]
struct CredentialsFile {
    tenant_id: Uuid,
    client_id: Uuid,
    client_secret: String,
    admin_token: String,
}

impl TenantCredentials {
    /// New ids and random secrets of 256 bits.
    pub fn generate() -> Self {
        Self {
            tenant_id: Uuid::new_v4(),
            client_id: Uuid::new_v4(),
            client_secret: SecretString::from(random_text()),
            admin_token: SecretString::from(random_text()),
        }
    }

    /// Reads the file, or generates credentials and writes it, readable for its owner only.
    pub fn load_or_create(path: &Path) -> io::Result<Self> {
        match std::fs::read(path) {
            Ok(content) => Self::parse(&content).ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("{} holds no tenant credentials; move it away to have new ones made", path.display()),
                )
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let credentials = Self::generate();
                let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
                file.write_all(credentials.render().expose_secret().as_bytes())?;
                file.sync_all()?;
                Ok(credentials)
            }
            Err(error) => Err(io::Error::new(error.kind(), format!("{} cannot be read: {error}", path.display()))),
        }
    }

    fn parse(content: &[u8]) -> Option<Self> {
        let file: CredentialsFile = serde_json::from_slice(content).ok()?;
        Some(Self {
            tenant_id: file.tenant_id,
            client_id: file.client_id,
            client_secret: SecretString::from(file.client_secret),
            admin_token: SecretString::from(file.admin_token),
        })
    }

    fn render(&self) -> SecretString {
        let file = CredentialsFile {
            tenant_id: self.tenant_id,
            client_id: self.client_id,
            client_secret: self.client_secret.expose_secret().to_owned(),
            admin_token: self.admin_token.expose_secret().to_owned(),
        };
        SecretString::from(serde_json::to_string_pretty(&file).unwrap_or_default())
    }
}

impl std::fmt::Debug for TenantCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TenantCredentials").field("tenant_id", &self.tenant_id).field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

/// 256 random bits from the operating system's generator, in hex.
pub(super) fn random_text() -> String {
    let mut octets = [0u8; 32];
    rand::fill(&mut octets);
    hex::encode(octets)
}

/// How a tenant is set up. What the tenant itself changes later (features, domains, activation) is kept in its file
/// and wins over the settings from the second start on.
#[derive(Clone, Debug)]
pub struct TenantSettings {
    /// The name of the organization.
    pub name: String,
    /// The domain that generated names get; always verified and managed.
    pub initial_domain: String,
    /// More verified domains at the first start.
    pub verified_domains: Vec<String>,
    /// Directory synchronization is activated at the first start.
    pub activated: bool,
    /// Ids and secrets.
    pub credentials: TenantCredentials,
    /// Certificates (DER) by which the application may sign assertions, beside its secret.
    pub certificates: Vec<Vec<u8>>,
    /// The most live objects (specification: sync engine 6.11).
    pub quota: u64,
    /// How long a deleted user can come back: 30 days.
    pub recycle: Duration,
    /// How long turning synchronization off takes.
    pub deactivation: Duration,
    /// Objects per page for a client that sends a cookie.
    pub read_back_page: usize,
    /// Objects in one call (specification: provisioning service 3.4).
    pub max_batch: usize,
    /// Octets of one request.
    pub max_request: usize,
    /// How long an access token is good.
    pub token_lifetime: Duration,
    /// Wrong passwords until the account is locked.
    pub lockout_threshold: u32,
    /// How long the lock lasts.
    pub lockout: Duration,
    /// Answer the same for an unknown user as for a wrong password.
    pub hide_unknown_users: bool,
    /// Device codes are approved by themselves, for the sync account.
    pub approve_device_codes: bool,
    /// Placeholders for duplicate sign-in names have a `+` before their digits.
    pub placeholder_with_plus: bool,
    /// Accounts of the cloud take synchronized passwords when they are named by their own key (specification: sync engine
    /// 5.7, profile `password-only`). The real service does not.
    pub password_only_links: bool,
    /// How old a password may get that is not exempt from expiry; without it passwords never expire.
    pub password_lifetime: Option<Duration>,
    /// Texts accepted as bearer tokens beside real ones, for replaying recorded requests.
    pub test_tokens: Vec<SecretString>,
    /// The token bucket for writes.
    pub throttle: Option<Throttle>,
    /// Faults from the start.
    pub faults: Vec<FaultRule>,
    /// The most memory for pages of the file, in octets.
    pub cache: usize,
}

impl TenantSettings {
    /// A tenant with documented defaults.
    pub fn new(name: impl Into<String>, initial_domain: impl Into<String>, credentials: TenantCredentials) -> Self {
        Self {
            name: name.into(),
            initial_domain: initial_domain.into(),
            verified_domains: Vec::new(),
            activated: true,
            credentials,
            certificates: Vec::new(),
            quota: 300_000,
            recycle: Duration::from_hours(30 * 24),
            deactivation: Duration::ZERO,
            read_back_page: 1000,
            max_batch: 1000,
            max_request: 64 << 20,
            token_lifetime: Duration::from_secs(3599),
            lockout_threshold: 10,
            lockout: Duration::from_mins(1),
            hide_unknown_users: false,
            approve_device_codes: false,
            placeholder_with_plus: false,
            password_only_links: false,
            password_lifetime: None,
            test_tokens: Vec::new(),
            throttle: None,
            faults: Vec::new(),
            cache: 64 << 20,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn credentials_are_made_once_and_are_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials.json");
        let made = TenantCredentials::load_or_create(&path).unwrap();
        let read = TenantCredentials::load_or_create(&path).unwrap();
        assert_eq!(made.client_secret.expose_secret(), read.client_secret.expose_secret());
        assert_eq!((made.tenant_id, made.client_id), (read.tenant_id, read.client_id));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!format!("{made:?}").contains(made.client_secret.expose_secret()));
        std::fs::write(&path, "{}").unwrap();
        assert!(TenantCredentials::load_or_create(&path).unwrap_err().to_string().contains("holds no tenant credentials"));
    }
}
