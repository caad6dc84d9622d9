//! What a domain controller says of itself and of whoever asks: names, time, the account with its groups, and whether the
//! account may do what synchronization needs. For setting up and for looking what is wrong.

use super::watermark::Way;
use super::{delta, dirsync};
use crate::connector::ldap::{Client, LdapSettings, RawEntry};
use crate::connector::{ConnectorError, ConnectorErrorKind};
use crate::context::Context;
use crate::model::Dn;
use crate::protocol::dcerpc::Guid;
use crate::protocol::ldap::DIRSYNC;
use crate::protocol::security::{DESCRIPTOR_PARTS, Descriptor, Sid, WITHOUT_AUDIT, right};
use ldap3::Scope;
use ldap3::controls::RawControl;
use std::sync::Arc;

/// "Replicating Directory Changes" (MS-ADTS 5.1.3.2.1).
pub(super) const REPLICATE_CHANGES: Guid = Guid(*b"\xaa\xf6\x31\x11\x07\x9c\xd1\x11\xf7\x9f\x00\xc0\x4f\xc2\xdc\xd2");
/// "Replicating Directory Changes All", which secrets need as well.
pub(super) const REPLICATE_SECRETS: Guid = Guid(*b"\xad\xf6\x31\x11\x07\x9c\xd1\x11\xf7\x9f\x00\xc0\x4f\xc2\xdc\xd2");

/// What a domain controller says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainSurvey {
    /// The controller's DNS name.
    pub host: Option<String>,
    /// The domain as a naming context.
    pub domain: String,
    /// The domain in DNS.
    pub domain_name: Option<String>,
    /// The domain's short name, which stands before account names.
    pub short_name: Option<String>,
    /// The naming context of the schema.
    pub schema: String,
    /// It is Samba's: Microsoft's names no vendor.
    pub samba: bool,
    /// Seconds by which its clock is ahead of ours.
    pub clock_ahead: Option<i64>,
    /// The account that asks.
    pub account: AccountSurvey,
    /// What is deleted in the domain can be seen.
    pub sees_deleted: bool,
    /// Why it gives no changes by the DirSync control with the right to replicate, if so.
    pub no_changes: Option<String>,
    /// "Replicating Directory Changes" is granted on the domain; unknown where the descriptor cannot be read.
    pub may_replicate: Option<bool>,
    /// "Replicating Directory Changes All" is granted on the domain.
    pub may_replicate_secrets: Option<bool>,
}

/// Who an account is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountSurvey {
    /// Its object; unknown when it cannot be found.
    pub dn: Option<String>,
    /// Its identifier.
    pub sid: Option<Sid>,
    /// The name that stands behind `DOMAIN\`.
    pub name: Option<String>,
    /// Everybody who it is to the server: itself, its groups, and the groups that everybody is in.
    pub token: Vec<Sid>,
}

/// A control that asks for descriptors without their audit lists, which only administrators may read.
pub(super) fn descriptor_parts(parts: &'static [u8]) -> RawControl {
    RawControl { ctype: DESCRIPTOR_PARTS.to_owned(), crit: true, val: Some(parts.to_vec()) }
}

/// Asks a domain controller.
///
/// # Errors
/// When it does not let the account in, or is none.
pub async fn survey(cx: &Context, settings: Arc<LdapSettings>) -> Result<DomainSurvey, ConnectorError> {
    Client::unless_cancelled(cx, async {
        let mut client = Client::connect(settings).await?;
        let found = look(cx, &mut client).await?;
        client.close().await;
        Ok(found)
    })
    .await
}

pub(super) async fn look(cx: &Context, client: &mut Client) -> Result<DomainSurvey, ConnectorError> {
    let names = ["defaultNamingContext", "schemaNamingContext", "configurationNamingContext"];
    let facts = ["dnsHostName", "vendorName", "currentTime", "tokenGroups"];
    let root = client.root(&[&names[..], &facts].concat()).await?;
    let [domain, schema, configuration] = names.map(|name| root.text(name).map(str::to_owned));
    let (Some(domain), Some(schema)) = (domain, schema) else {
        let message = format!("{}: the root entry has no defaultNamingContext: this is no domain controller", client.settings.url);
        return Err(ConnectorError::new(ConnectorErrorKind::Search, message));
    };
    let clock_ahead = root.text("currentTime").and_then(seconds).map(|theirs| theirs - cx.now().seconds());
    let token: Vec<Sid> = root.values("tokenGroups").into_iter().filter_map(Sid::from_octets).collect();
    let account = account(client, &domain, token).await?;
    let head = descriptor(client, &domain).await?;
    let may = |meant| head.as_ref().map(|head| head.grants(&account.token, right::CONTROL_ACCESS, &[meant]));
    let (may_replicate, may_replicate_secrets) = (may(REPLICATE_CHANGES), may(REPLICATE_SECRETS));
    let mut no_changes = None;
    if !root.texts("supportedControl").contains(&DIRSYNC) {
        no_changes = Some("it does not have the DirSync control".to_owned());
    } else if let Err(refusal) = dirsync::probe(client, &domain, Way::DirSync).await? {
        no_changes = Some(refusal);
    }
    let sees_deleted = delta::shows_deleted(client, &domain).await?;
    let short_name = match configuration {
        Some(configuration) => short_name(client, &configuration, &domain).await?,
        None => None,
    };
    Ok(DomainSurvey {
        host: root.text("dnsHostName").map(str::to_owned),
        domain_name: super::replication::dns_name(&domain),
        short_name,
        schema,
        samba: root.text("vendorName").is_some_and(|vendor| vendor.contains("Samba")),
        clock_ahead,
        account,
        sees_deleted,
        no_changes,
        may_replicate,
        may_replicate_secrets,
        domain,
    })
}

/// The descriptor of an object, without its audit list; `None` when it cannot be read.
pub(super) async fn descriptor(client: &mut Client, dn: &str) -> Result<Option<Descriptor>, ConnectorError> {
    let entry = with_descriptor(client, dn, &["nTSecurityDescriptor"]).await?;
    Ok(entry.and_then(|entry| entry.values("nTSecurityDescriptor").first().and_then(|octets| Descriptor::parse(octets))))
}

/// An object with attributes, its descriptor perhaps among them; deleted ones, too. `None` when it cannot be seen.
pub(super) async fn with_descriptor(client: &mut Client, dn: &str, attributes: &[&str]) -> Result<Option<RawEntry>, ConnectorError> {
    let query = crate::connector::ldap::Query { base: dn, scope: Scope::Base, filter: "(objectClass=*)", attributes };
    let controls = vec![descriptor_parts(WITHOUT_AUDIT), super::usn::show_deleted()];
    let mut answer = client.begin(&query, controls).await?;
    let mut found = None;
    while let Some(entry) = answer.next().await? {
        found.get_or_insert(entry);
    }
    let result = answer.finish().await;
    match result.rc {
        0 => Ok(found),
        32 | 50 => Ok(None),
        _ => Err(client.search_error(dn, &result)),
    }
}

/// The account that is signed in, found by the name it signed in with and proven by its identifier.
async fn account(client: &mut Client, domain: &str, token: Vec<Sid>) -> Result<AccountSurvey, ConnectorError> {
    let found = find_account(client, domain, &client.settings.bind_name.clone()).await?;
    let ours = |account: &AccountSurvey| token.is_empty() || account.sid.as_ref().is_some_and(|sid| token.contains(sid));
    let AccountSurvey { dn, sid, name, .. } = found.filter(ours).unwrap_or_default();
    let mut token = token;
    if let Some(sid) = sid.as_ref().filter(|sid| !token.contains(sid)) {
        token.insert(0, sid.clone());
    }
    // Everybody, and everybody who signed in: some servers do not name them.
    for everybody in ["S-1-1-0", "S-1-5-11"].iter().filter_map(|text| Sid::parse(text)) {
        if !token.contains(&everybody) {
            token.push(everybody);
        }
    }
    Ok(AccountSurvey { dn, sid, name, token })
}

/// An account by distinguished name, `user@domain`, `DOMAIN\user` or `user`.
pub(super) async fn find_account(client: &mut Client, domain: &str, text: &str) -> Result<Option<AccountSurvey>, ConnectorError> {
    let attributes = ["objectSid", "sAMAccountName"];
    let entry = if Dn::parse(text).is_ok_and(|dn| dn.depth() > 0) {
        client.find(text, Scope::Base, "(objectClass=*)", &attributes).await?.into_iter().next()
    } else {
        let short = text.rsplit_once('\\').map_or(text, |(_, name)| name);
        let short = short.split_once('@').map_or(short, |(name, _)| name);
        let (whole, short) = (ldap3::ldap_escape(text), ldap3::ldap_escape(short));
        let mut found = client.search(domain, Scope::Subtree, &format!("(userPrincipalName={whole})"), &attributes).await?;
        if found.is_empty() {
            found = client.search(domain, Scope::Subtree, &format!("(sAMAccountName={short})"), &attributes).await?;
        }
        found.into_iter().next()
    };
    Ok(entry.map(|entry| AccountSurvey {
        dn: entry.dn().and_then(|dn| std::str::from_utf8(dn).ok()).map(str::to_owned),
        sid: entry.values("objectSid").first().and_then(|octets| Sid::from_octets(octets)),
        name: entry.text("sAMAccountName").map(str::to_owned),
        token: Vec::new(),
    }))
}

async fn short_name(client: &mut Client, configuration: &str, domain: &str) -> Result<Option<String>, ConnectorError> {
    let partitions = format!("CN=Partitions,{configuration}");
    let filter = format!("(&(objectClass=crossRef)(nCName={}))", ldap3::ldap_escape(domain));
    // Who may not look there does without.
    let found = client.search(&partitions, Scope::OneLevel, &filter, &["nETBIOSName"]).await.unwrap_or_default();
    Ok(found.first().and_then(|entry| entry.text("nETBIOSName")).map(str::to_owned))
}

/// Seconds since 1970 of `20261121203000.0Z`.
fn seconds(text: &str) -> Option<i64> {
    let digits = text.get(..14)?;
    let time = jiff::civil::DateTime::strptime("%Y%m%d%H%M%S", digits).ok()?;
    time.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_time_is_read() {
        assert_eq!(seconds("20261121203000.0Z"), Some(1_795_293_000));
        for wrong in ["", "2026", "20261321203000.0Z", "ä0261121203000.0Z"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_rights_have_their_identifiers() {
        assert_eq!(REPLICATE_CHANGES.to_string(), "1131f6aa-9c07-11d1-f79f-00c04fc2dcd2");
        assert_eq!(REPLICATE_SECRETS.to_string(), "1131f6ad-9c07-11d1-f79f-00c04fc2dcd2");
    }
}
