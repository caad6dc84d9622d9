//! What a tenant lets us do, and how much room is left in it: for people who look what is wrong. Nothing is decided by it; the
//! tenant itself does that with every call.

use super::EntraSettings;
use super::graph::Graph;
use crate::connector::ConnectorError;
use crate::context::Context;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use zeroize::Zeroizing;

/// The application permission that lets an application synchronize (specification: provisioning service 3.2).
const SYNC_PERMISSION: &str = "ADSynchronization.ReadWrite.All";
/// The directory roles that let a person synchronize, by their templates, and whether they are for that alone.
const ROLES: [(&str, &str, bool); 4] = [
    ("d29b2b05-8046-44ba-8758-1e26182fcf32", "Directory Synchronization Accounts", true),
    ("a92aed5d-d78a-4d16-b381-09adb37eb3b0", "On Premises Directory Sync Account", true),
    ("8ac3fc64-6eca-42ea-9e69-59f4c7b60eb2", "Hybrid Identity Administrator", false),
    ("62e90394-69f5-4237-9190-012177145e10", "Global Administrator", false),
];

/// By what the tenant lets us synchronize, as the token says that it gave us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncRights {
    /// Permissions and roles that are good for it.
    pub by: Vec<String>,
    /// All of them reach further than synchronization.
    pub too_wide: bool,
}

/// How many objects a tenant has, and may have (`directorySizeQuota` of its organization).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectoryQuota {
    /// Objects that count.
    pub used: u64,
    /// The most that it takes.
    pub allowed: u64,
}

/// What a token says of our rights; nothing when it cannot be read, which tokens need not let us.
pub(super) fn rights_in(token: &SecretString) -> Option<SyncRights> {
    let claims = token.expose_secret().split('.').nth(1)?;
    let octets = Zeroizing::new(URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?);
    let claims: Value = serde_json::from_slice(&octets).ok()?;
    let listed = |name: &str| claims[name].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_ascii_lowercase);
    let mut rights = SyncRights { by: Vec::new(), too_wide: true };
    if listed("roles").any(|role| role.eq_ignore_ascii_case(SYNC_PERMISSION)) {
        rights.by.push(SYNC_PERMISSION.to_owned());
        rights.too_wide = false;
    }
    for role in listed("wids") {
        if let Some((_, name, narrow)) = ROLES.iter().find(|(template, ..)| *template == role) {
            rights.by.push((*name).to_owned());
            rights.too_wide &= !narrow;
        }
    }
    rights.too_wide &= !rights.by.is_empty();
    Some(rights)
}

/// Asks how much room a tenant has.
///
/// # Errors
/// When Graph does not answer, does not let us read the organization, or does not tell it.
pub(super) async fn quota(settings: &EntraSettings, cx: &Context) -> Result<DirectoryQuota, ConnectorError> {
    Graph::new(settings)?.directory_quota(cx).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn token(claims: &Value) -> SecretString {
        SecretString::from(format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string())))
    }

    #[test]
    fn rights_are_those_that_the_token_names() {
        let of = |claims: &Value| rights_in(&token(claims)).unwrap();
        let application = of(&json!({"roles": ["Domain.Read.All", SYNC_PERMISSION]}));
        assert_eq!((application.by.as_slice(), application.too_wide), (&[SYNC_PERMISSION.to_owned()][..], false));
        let person = of(&json!({"wids": ["62E90394-69f5-4237-9190-012177145e10", "00000000-0000-0000-0000-000000000001"]}));
        assert_eq!((person.by.as_slice(), person.too_wide), (&["Global Administrator".to_owned()][..], true));
        let both = of(&json!({"wids": ["62e90394-69f5-4237-9190-012177145e10", "d29b2b05-8046-44ba-8758-1e26182fcf32"]}));
        assert!(both.by.len() == 2 && !both.too_wide);
        assert_eq!(of(&json!({"sub": "x"})), SyncRights { by: Vec::new(), too_wide: false });
    }

    #[test]
    fn tokens_that_cannot_be_read_say_nothing() {
        for text in ["", "opaque", "a.b.c", "a.!!.c", "..", "e30.W10"] {
            let said = rights_in(&SecretString::from(text));
            assert!(said.is_none_or(|rights| rights.by.is_empty()), "{text}");
        }
    }
}
