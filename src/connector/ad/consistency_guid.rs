//! The source anchor of one object: what `mS-DS-ConsistencyGuid` holds, and another value for it, as an administrator.

use super::survey::find_account;
use crate::connector::ldap::{Client, LdapSettings, said};
use crate::connector::{ConnectorError, ConnectorErrorKind};
use crate::context::Context;
use ldap3::Mod;
use std::collections::HashSet;
use std::sync::Arc;

const ATTRIBUTE: &str = "mS-DS-ConsistencyGuid";

/// What the source anchor of an object is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnchorParts {
    /// The object's name.
    pub dn: String,
    /// `objectGUID`, which counts where the other one is not set.
    pub object_guid: Vec<u8>,
    /// `mS-DS-ConsistencyGuid`.
    pub consistency_guid: Option<Vec<u8>>,
}

/// Gives an object's `mS-DS-ConsistencyGuid` another value, or none; with `look_only` nothing is written. The object is named by its
/// distinguished name, `user@domain`, `DOMAIN\user` or `user`. Gives what was there before. What somebody else wrote meanwhile is
/// not written over.
///
/// # Errors
/// When there is no such object or the account does not see it, or the directory refuses.
pub async fn set_consistency_guid(
    cx: &Context,
    settings: Arc<LdapSettings>,
    object: &str,
    wanted: Option<&[u8]>,
    look_only: bool,
) -> Result<AnchorParts, ConnectorError> {
    Client::unless_cancelled(cx, async {
        let mut client = Client::connect(settings).await?;
        let before = read(&mut client, object).await?;
        if !look_only && before.consistency_guid.as_deref() != wanted {
            write(&mut client, &before, wanted).await?;
        }
        client.close().await;
        Ok(before)
    })
    .await
}

async fn read(client: &mut Client, object: &str) -> Result<AnchorParts, ConnectorError> {
    let settings = client.settings.clone();
    let missing = || {
        let message = format!("{}: nobody is known there as '{object}', or '{}' may not see it", settings.url, settings.bind_name);
        ConnectorError::new(ConnectorErrorKind::Search, message)
    };
    let root = client.root(&["defaultNamingContext"]).await?;
    let domain = root.text("defaultNamingContext").unwrap_or_default().to_owned();
    let dn = find_account(client, &domain, object).await?.and_then(|found| found.dn).ok_or_else(missing)?;
    let entry = client.read(&dn, &["objectGUID", ATTRIBUTE]).await?.ok_or_else(missing)?;
    let first = |name: &str| entry.values(name).first().map(|octets| octets.to_vec());
    let object_guid = first("objectGUID").ok_or_else(missing)?;
    Ok(AnchorParts { dn, object_guid, consistency_guid: first(ATTRIBUTE) })
}

async fn write(client: &mut Client, before: &AnchorParts, wanted: Option<&[u8]>) -> Result<(), ConnectorError> {
    let settings = client.settings.clone();
    let dn = &before.dn;
    let failed = |kind, reason: String| ConnectorError::new(kind, format!("{}: {ATTRIBUTE} of '{dn}': {reason}", settings.url));
    let attribute = || ATTRIBUTE.as_bytes().to_vec();
    // The value of before is named, so that the change fails where it is another one by now.
    let mut changes: Vec<Mod<Vec<u8>>> = Vec::new();
    changes.extend(before.consistency_guid.iter().map(|old| Mod::Delete(attribute(), HashSet::from([old.clone()]))));
    changes.extend(wanted.map(|new| Mod::Add(attribute(), HashSet::from([new.to_vec()]))));
    client.ldap.with_timeout(settings.answer_timeout);
    match client.ldap.modify(dn, changes).await {
        Ok(result) if result.rc == 0 => Ok(()),
        Ok(result) => {
            let advice = match result.rc {
                // No such value, one too many, or it is there already.
                16 | 19 | 20 => "somebody changed it at the same time; look again".to_owned(),
                50 => format!("'{}' may not write it; name an administrator of the domain", settings.bind_name),
                _ => "the domain controller refused".to_owned(),
            };
            Err(failed(ConnectorErrorKind::Permission, format!("nothing was written: {advice} ({})", said(&result))))
        }
        Err(error) => {
            let reason = format!("the connection was lost ({error}), so nobody knows whether it was written; the same command again tells");
            Err(failed(ConnectorErrorKind::Dropped, reason))
        }
    }
}
