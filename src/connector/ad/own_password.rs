//! An account changes its own password: the old one goes out as the new one comes in, in one change, so that nobody needs
//! more rights for it than every account has (MS-ADTS 3.1.1.3.1.5.1).

use super::survey::find_account;
use crate::connector::ldap::{Client, LdapSettings, said};
use crate::connector::{ConnectorError, ConnectorErrorKind};
use crate::context::Context;
use ldap3::Mod;
use secrecy::{ExposeSecret as _, SecretString};
use std::collections::HashSet;
use std::sync::Arc;
use zeroize::Zeroize as _;

/// Why a password was not changed.
#[derive(Debug, thiserror::Error)]
pub enum PasswordChangeError {
    /// It surely stands as it stood.
    #[error("{0}")]
    Refused(ConnectorError),
    /// The answer was lost: one of both passwords counts now.
    #[error("{0}")]
    Unknown(ConnectorError),
}

/// What the library is lent for a change. This copy is wiped; the library copies it into the message that it sends, and gives that
/// memory back as it is: the account is the only one whose password ever goes this way.
#[derive(PartialEq, Eq, Hash)]
struct Lent(Vec<u8>);

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// The value of `unicodePwd`: the password in quotation marks, as UTF-16 in little-endian order.
fn value(password: &SecretString) -> Lent {
    let text = password.expose_secret();
    let mut octets = Vec::with_capacity(2 * text.len() + 4);
    let units = std::iter::once(u16::from(b'"')).chain(text.encode_utf16()).chain(std::iter::once(u16::from(b'"')));
    octets.extend(units.flat_map(u16::to_le_bytes));
    Lent(octets)
}

/// Changes the password of the account that signs in.
///
/// # Errors
/// With what is known of the password afterwards.
pub async fn change_own_password(cx: &Context, settings: Arc<LdapSettings>, new: &SecretString) -> Result<(), PasswordChangeError> {
    let refused = |kind, message: String| PasswordChangeError::Refused(ConnectorError::new(kind, message).unsent());
    if !settings.url.starts_with("ldaps://") && !settings.start_tls {
        let message = format!("{}: a password is changed over encrypted connections only; use ldaps:// or start_tls", settings.url);
        return Err(refused(ConnectorErrorKind::Configuration, message));
    }
    let prepared = Client::unless_cancelled(cx, async {
        let mut client = Client::connect(settings.clone()).await?;
        let root = client.root(&["defaultNamingContext"]).await?;
        let domain = root.text("defaultNamingContext").unwrap_or_default().to_owned();
        let account = find_account(&mut client, &domain, &settings.bind_name).await?;
        Ok((client, account.and_then(|account| account.dn)))
    });
    let (mut client, dn) = prepared.await.map_err(PasswordChangeError::Refused)?;
    let Some(dn) = dn else {
        let message = format!("{}: the object of account '{}' cannot be found there", settings.url, settings.bind_name);
        return Err(refused(ConnectorErrorKind::Search, message));
    };
    let attribute = || Lent(b"unicodePwd".to_vec());
    let changes =
        vec![Mod::Delete(attribute(), HashSet::from([value(&settings.bind_password)])), Mod::Add(attribute(), HashSet::from([value(new)]))];
    client.ldap.with_timeout(settings.answer_timeout);
    // From here on it is not left half-way: what was sent is waited for.
    let answer = client.ldap.modify(&dn, changes).await;
    let url = &settings.url;
    match answer {
        Ok(result) if result.rc == 0 => {
            client.close().await;
            Ok(())
        }
        Ok(result) => {
            let advice = match result.rc {
                19 => {
                    "the domain's rules for passwords do not allow it: is the last change too young (minimum password age), or is a longer one wanted?"
                }
                50 => "the account may not change its own password",
                53 => "the domain controller does not change passwords over this connection",
                _ => "the domain controller refused",
            };
            Err(refused(ConnectorErrorKind::Permission, format!("{url}: {advice} ({})", said(&result))))
        }
        Err(error) => {
            let message = format!("{url}: the connection was lost while the password was changed ({error})");
            Err(PasswordChangeError::Unknown(ConnectorError::new(ConnectorErrorKind::Dropped, message)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_stands_in_quotation_marks() {
        assert_eq!(value(&SecretString::from("aß")).0, [0x22, 0, 0x61, 0, 0xdf, 0, 0x22, 0]);
    }
}
