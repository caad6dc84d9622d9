//! Verifying a person's password (specification: graph 3.1; sync engine 6.8 and 6.9).

use super::codes::{SignInCode, SignInError};
use crate::model::Timestamp;
use crate::password::hash::CredentialData;
use crate::tenant::directory::{Authentication, DirectoryError, ObjectNumber, ObjectRecord, UniqueKey, UniqueKind};
use crate::tenant::traffic::SignInAttempt;
use crate::tenant::{Tenant, TenantError};
use secrecy::{ExposeSecret, SecretString};

/// The longest part of a name that the log keeps; longer ones are nobody's.
const MAX_NAME: usize = 256;

/// The type of account behind a name (`userrealm`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Realm {
    /// The tenant verifies passwords.
    Managed {
        /// The domain.
        domain: String,
    },
    /// Another server does.
    Federated {
        /// The domain.
        domain: String,
        /// Its settings as Graph has them.
        settings: serde_json::Value,
    },
    /// No tenant has this domain.
    Unknown,
}

/// How a password was verified, or who should have done it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub enum SignInPath {
    /// Against a synchronized password hash.
    #[serde(rename = "synchronized hash")]
    SynchronizedHash,
    /// Against a password that was set in the cloud.
    #[serde(rename = "cloud password")]
    CloudPassword,
    /// Not here: the domain is federated.
    #[serde(rename = "federation")]
    Federation,
    /// Against nothing: no such account, a disabled one, or one without a password.
    #[serde(rename = "none")]
    None,
}

impl SignInPath {
    /// The name in answers and in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SynchronizedHash => "synchronized hash",
            Self::CloudPassword => "cloud password",
            Self::Federation => "federation",
            Self::None => "none",
        }
    }
}

/// Somebody who signed in.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// The account.
    pub object: ObjectNumber,
    /// The account's record.
    pub record: ObjectRecord,
    /// How the password was verified.
    pub path: SignInPath,
}

impl Tenant {
    /// Where an account signs in.
    pub fn realm(&self, user: &str) -> Realm {
        let Some((_, domain)) = user.rsplit_once('@') else { return Realm::Unknown };
        match self.state().domain(domain) {
            Some(domain) if domain.verified && domain.authentication == Authentication::Managed => {
                Realm::Managed { domain: domain.name.clone() }
            }
            Some(domain) if domain.verified => {
                Realm::Federated { domain: domain.name.clone(), settings: domain.federation.clone().unwrap_or_default() }
            }
            _ => Realm::Unknown,
        }
    }

    /// Verifies a password and notes the attempt in the log. CPU-heavy: call it off the asynchronous threads.
    pub fn verify_password(&self, user: &str, password: &SecretString) -> Result<Result<SignedIn, SignInError>, TenantError> {
        let mut path = SignInPath::None;
        let outcome = self.verify_by(user, password, &mut path)?;
        let code = outcome.as_ref().map_or_else(|error| error.code.number(), |_| 0);
        let attempt = SignInAttempt { number: 0, time: self.now().0, user: user.chars().take(MAX_NAME).collect(), code, path };
        self.traffic().attempt(attempt);
        Ok(outcome)
    }

    fn verify_by(&self, user: &str, password: &SecretString, path: &mut SignInPath) -> Result<Result<SignedIn, SignInError>, TenantError> {
        let unknown = || {
            if self.settings().hide_unknown_users {
                SignInError::from(SignInCode::WrongPassword)
            } else {
                SignInError::new(SignInCode::UnknownUser, user)
            }
        };
        match self.realm(user) {
            Realm::Unknown => return Ok(Err(if user.contains('@') { unknown() } else { SignInCode::NoTenantInName.into() })),
            Realm::Federated { settings, .. } => {
                *path = SignInPath::Federation;
                let issuer = settings.get("issuerUri").and_then(serde_json::Value::as_str).unwrap_or("its federation server");
                return Ok(Err(SignInError::new(SignInCode::WrongPassword, format!("The account is federated; sign in at {issuer}."))));
            }
            Realm::Managed { .. } => {}
        }
        let now = self.now();
        let Some((object, record)) = self.find_user(user)? else { return Ok(Err(unknown())) };
        if !record.account_enabled() {
            return Ok(Err(SignInCode::Disabled.into()));
        }
        let Some(mut credential) = self.directory().read()?.credential(object)? else {
            return Ok(Err(SignInCode::WrongPassword.into()));
        };
        *path = if credential.synchronized { SignInPath::SynchronizedHash } else { SignInPath::CloudPassword };
        if credential.locked_until > now.0 {
            return Ok(Err(SignInCode::Locked.into()));
        }
        let right = CredentialData::parse(&credential.derivation).is_ok_and(|data| data.verify_password(password.expose_secret()));
        let threshold = self.settings().lockout_threshold;
        if !right {
            credential.failures = credential.failures.saturating_add(1);
            if credential.failures >= threshold {
                credential.failures = 0;
                credential.locked_until = Timestamp(now.0.saturating_add(micros(self.settings().lockout))).0;
            }
            self.directory().write(|writer| writer.put_credential(object, &credential))?;
            return Ok(Err(SignInCode::WrongPassword.into()));
        }
        if credential.failures > 0 {
            credential.failures = 0;
            self.directory().write(|writer| writer.put_credential(object, &credential))?;
        }
        let lifetime = self.settings().password_lifetime.filter(|_| !credential.never_expires);
        let expired = lifetime.is_some_and(|lifetime| credential.changed.saturating_add(micros(lifetime)) <= now.0);
        if credential.must_change || expired {
            return Ok(Err(SignInCode::PasswordExpired.into()));
        }
        Ok(Ok(SignedIn { object, record, path: *path }))
    }

    /// A live user by sign-in name.
    pub fn find_user(&self, name: &str) -> Result<Option<(ObjectNumber, ObjectRecord)>, DirectoryError> {
        let reader = self.directory().read()?;
        let Some(object) = reader.by_unique(&UniqueKey::text(UniqueKind::UserPrincipalName, name))? else { return Ok(None) };
        Ok(reader.object(object)?.filter(ObjectRecord::is_live).map(|record| (object, record)))
    }
}

/// A duration in microseconds.
pub(in crate::tenant) fn micros(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
