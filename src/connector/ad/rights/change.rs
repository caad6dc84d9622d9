//! Changes access lists as an administrator: adds the entries that are planned and nothing else, and shuts an account's own
//! object against everybody who has no business with it.

use super::super::survey::{descriptor_parts, with_descriptor};
use super::super::usn::{SHOW_DELETED, show_deleted};
use super::GrantPlan;
use crate::connector::ldap::{Client, LdapSettings, said};
use crate::connector::{ConnectorError, ConnectorErrorKind};
use crate::context::Context;
use crate::protocol::security::{ACCESS_LIST, Ace, DESCRIPTOR_PARTS, Descriptor, Sid, right};
use base64::Engine as _;
use ldap3::Mod;
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;

/// What became of one object's access list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The object.
    pub dn: String,
    /// Entries that were added; the others were there.
    pub added: usize,
    /// Why nothing was added, where that takes more than an administrator has over LDAP.
    pub refused: Option<String>,
}

/// Adds the entries of a plan. `admin`: somebody who may change access lists.
///
/// # Errors
/// When the directory refuses; objects before it keep what they got, and the same again does no harm.
pub async fn grant(cx: &Context, admin: Arc<LdapSettings>, plan: &GrantPlan) -> Result<Vec<Changed>, ConnectorError> {
    let mut by_object: BTreeMap<&str, Vec<&Ace>> = BTreeMap::new();
    for grant in &plan.grants {
        by_object.entry(&grant.dn).or_default().push(&grant.ace);
    }
    Client::unless_cancelled(cx, async {
        let mut client = Client::connect(admin).await?;
        let mut changed = Vec::new();
        for (dn, aces) in by_object {
            let done = add(&mut client, dn, &aces).await;
            let deleted = plan.grants.iter().any(|grant| grant.deleted && grant.dn == dn);
            changed.push(match done {
                Ok(added) => Changed { dn: dn.to_owned(), added, refused: None },
                // That container is the system's own: its owner has to be changed first, which scripts do.
                Err(error) if deleted && error.kind == ConnectorErrorKind::Permission => {
                    Changed { dn: dn.to_owned(), added: 0, refused: Some(error.message) }
                }
                Err(error) => return Err(error),
            });
        }
        client.close().await;
        Ok(changed)
    })
    .await
}

/// Shuts an account's own object: nothing is inherited, administrators may do everything, who signed in may read, and the
/// account keeps what it may do with itself. Gives the entries it has then.
///
/// # Errors
/// When the directory refuses.
pub async fn harden(cx: &Context, admin: Arc<LdapSettings>, plan: &GrantPlan, what_if: bool) -> Result<Vec<String>, ConnectorError> {
    Client::unless_cancelled(cx, async {
        let mut client = Client::connect(admin).await?;
        let mut descriptor = read(&mut client, &plan.dn).await?;
        shut(&mut descriptor, &plan.sid);
        if !what_if {
            write(&mut client, &plan.dn, &descriptor).await?;
        }
        client.close().await;
        Ok(descriptor.aces().map(ToString::to_string).collect())
    })
    .await
}

/// Adds entries to the access list of an object. Gives how many it did not have.
async fn add(client: &mut Client, dn: &str, aces: &[&Ace]) -> Result<usize, ConnectorError> {
    let mut descriptor = read(client, dn).await?;
    let added = aces.iter().filter(|ace| descriptor.add(ace)).count();
    if added > 0 {
        write(client, dn, &descriptor).await?;
    }
    Ok(added)
}

/// The same as change records for `ldapmodify`: whole access lists, as they are now with the entries added.
///
/// # Errors
/// When an access list cannot be read.
pub async fn ldif(cx: &Context, settings: Arc<LdapSettings>, plan: &GrantPlan) -> Result<String, ConnectorError> {
    let mut by_object: BTreeMap<&str, Vec<&Ace>> = BTreeMap::new();
    for grant in &plan.grants {
        by_object.entry(&grant.dn).or_default().push(&grant.ace);
    }
    let encode = |octets: &[u8]| base64::engine::general_purpose::STANDARD.encode(octets);
    Client::unless_cancelled(cx, async {
        let mut client = Client::connect(settings).await?;
        let mut text = format!("version: 1\n# Rights of {} ({}) for synchronization.\n", plan.account.escape_default(), plan.sid);
        for (dn, aces) in by_object {
            let mut descriptor = read(&mut client, dn).await?;
            let added: Vec<&&Ace> = aces.iter().filter(|ace| descriptor.add(ace)).collect();
            let Some(list) = descriptor.write_access_list().filter(|_| !added.is_empty()) else { continue };
            text.push('\n');
            for ace in added {
                let _ = writeln!(text, "# {ace}");
            }
            // `ldapmodify` takes one control in a record.
            let deleted = plan.grants.iter().any(|grant| grant.deleted && grant.dn == dn);
            let control =
                if deleted { format!("{SHOW_DELETED} true") } else { format!("{DESCRIPTOR_PARTS} true:: {}", encode(ACCESS_LIST)) };
            let _ = write!(
                text,
                "dn:: {}\ncontrol: {control}\nchangetype: modify\nreplace: nTSecurityDescriptor\nnTSecurityDescriptor:: {}\n-\n",
                encode(dn.as_bytes()),
                encode(&list)
            );
        }
        client.close().await;
        Ok(text)
    })
    .await
}

/// Everything (`FA` of objects in directories).
const FULL: u32 = 0xf_01ff;

/// The list that `harden` leaves (specification: administration surface 2.4).
fn shut(descriptor: &mut Descriptor, account: &Sid) {
    descriptor.set_protected(true);
    let own = Sid::parse("S-1-5-10");
    descriptor.remove(|ace| Some(&ace.who) != own.as_ref());
    let domain = account.to_string().rsplit_once('-').map(|(domain, _)| domain.to_owned()).unwrap_or_default();
    // The system, its administrators, those of the domain and of the forest where that is the same domain; then domain
    // controllers and whoever signed in.
    let administrators = ["S-1-5-18".to_owned(), "S-1-5-32-544".to_owned(), format!("{domain}-512"), format!("{domain}-519")];
    let readers = ["S-1-5-9", "S-1-5-11"].map(str::to_owned);
    let read = right::LIST_CONTENTS | right::READ_PROPERTY | right::READ_CONTROL;
    let entries = administrators.iter().map(|who| (who, FULL)).chain(readers.iter().map(|who| (who, read)));
    for (who, rights) in entries {
        if let Some(who) = Sid::parse(who) {
            descriptor.add(&Ace::allow(who, rights));
        }
    }
}

async fn read(client: &mut Client, dn: &str) -> Result<Descriptor, ConnectorError> {
    let entry = with_descriptor(client, dn, &["nTSecurityDescriptor"]).await?;
    let found = entry.and_then(|entry| entry.values("nTSecurityDescriptor").first().and_then(|octets| Descriptor::parse(octets)));
    found.ok_or_else(|| {
        let message = format!(
            "{}: '{}' may not read the access list of '{dn}', or it does not exist",
            client.settings.url, client.settings.bind_name
        );
        ConnectorError::new(ConnectorErrorKind::Permission, message)
    })
}

async fn write(client: &mut Client, dn: &str, descriptor: &Descriptor) -> Result<(), ConnectorError> {
    let settings = client.settings.clone();
    let failed =
        |kind, reason: String| ConnectorError::new(kind, format!("{}: the access list of '{dn}' was not changed: {reason}", settings.url));
    let octets = descriptor
        .write_access_list()
        .ok_or_else(|| failed(ConnectorErrorKind::Configuration, "it would be longer than access lists can be".to_owned()))?;
    client.ldap.with_timeout(settings.answer_timeout);
    client.ldap.with_controls(vec![descriptor_parts(ACCESS_LIST), show_deleted()]);
    let change = vec![Mod::Replace(b"nTSecurityDescriptor".to_vec(), HashSet::from([octets]))];
    match client.ldap.modify(dn, change).await {
        Ok(result) if result.rc == 0 => Ok(()),
        Ok(result) => Err(failed(
            ConnectorErrorKind::Permission,
            format!("{}; is '{}' an administrator of the domain?", said(&result), settings.bind_name),
        )),
        Err(error) => Err(failed(ConnectorErrorKind::Dropped, format!("the connection was lost ({error}); look with `account ad check`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::security::inheritance;

    #[test]
    fn a_shut_object_is_for_administrators_and_itself() {
        let account = Sid::parse("S-1-5-21-1-2-3-1105").unwrap();
        let everybody = Sid::parse("S-1-1-0").unwrap();
        let own = Sid::parse("S-1-5-10").unwrap();
        // An empty list, into which entries are put.
        let mut octets = vec![1, 0, 4, 0x80];
        octets.extend([0_u32, 0, 0, 20].iter().flat_map(|place| place.to_le_bytes()));
        octets.extend_from_slice(&[4, 0, 8, 0, 0, 0, 0, 0]);
        let mut descriptor = Descriptor::parse(&octets).unwrap();
        for ace in [
            Ace::allow(everybody.clone(), FULL),
            Ace::allow(own.clone(), right::READ_PROPERTY),
            Ace { flags: inheritance::INHERITED, ..Ace::allow(account.clone(), right::READ_PROPERTY) },
        ] {
            assert!(descriptor.add(&ace));
        }
        shut(&mut descriptor, &account);
        let who: Vec<String> = descriptor.aces().map(|ace| ace.who.to_string()).collect();
        let wanted = ["S-1-5-10", "S-1-5-18", "S-1-5-32-544", "S-1-5-21-1-2-3-512", "S-1-5-21-1-2-3-519", "S-1-5-9", "S-1-5-11"];
        assert_eq!(who, wanted);
        assert!(descriptor.is_protected() && !descriptor.grants(&[everybody], right::READ_PROPERTY, &[]));
    }
}
