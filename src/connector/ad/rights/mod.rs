//! The rights that the account of a directory needs, feature by feature: which they are, whether it has them, and how they
//! are granted, to the last one and no further (specification: administration surface 2.4).

mod change;
mod check;
mod script;

pub use change::{Changed, grant, harden, ldif};
pub use check::{ObjectRights, RightCheck, check, protected_objects, rights_on};
pub use script::{ScriptKind, script};

use super::survey::{DomainSurvey, REPLICATE_CHANGES, REPLICATE_SECRETS, find_account, look};
use crate::connector::ldap::{Client, LdapSettings};
use crate::connector::{ConnectorError, ConnectorErrorKind};
use crate::context::Context;
use crate::protocol::dcerpc::Guid;
use crate::protocol::security::{Ace, Sid, inheritance, right};
use ldap3::Scope;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

/// What an account can be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    /// Reading people, groups and contacts.
    Read,
    /// Being told of changes, and of what was deleted.
    Changes,
    /// Reading password hashes by replication.
    PasswordHash,
    /// Writing the source anchor to accounts.
    ConsistencyGuid,
    /// Setting passwords that were changed in the cloud.
    PasswordWriteback,
    /// Writing what Exchange Online writes.
    ExchangeHybrid,
    /// Reading mail-enabled public folders.
    MailPublicFolder,
    /// Keeping groups of the cloud in one container.
    GroupWriteback,
}

impl Feature {
    /// Every feature.
    pub const ALL: [Self; 8] = [
        Self::Read,
        Self::Changes,
        Self::PasswordHash,
        Self::ConsistencyGuid,
        Self::PasswordWriteback,
        Self::ExchangeHybrid,
        Self::MailPublicFolder,
        Self::GroupWriteback,
    ];

    /// Its word on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Changes => "changes",
            Self::PasswordHash => "password-hash",
            Self::ConsistencyGuid => "consistency-guid",
            Self::PasswordWriteback => "password-writeback",
            Self::ExchangeHybrid => "exchange-hybrid",
            Self::MailPublicFolder => "mail-public-folder",
            Self::GroupWriteback => "group-writeback",
        }
    }

    /// The rights it takes.
    fn needs(self) -> Vec<Need> {
        let below = |meant, rights, class| Need { place: Place::Base, meant, rights, class: Some(class) };
        let on_domain =
            |guid, name| Need { place: Place::Domain, meant: Meant::Extended(guid, name), rights: right::CONTROL_ACCESS, class: None };
        let changes = || on_domain(REPLICATE_CHANGES, "Replicating Directory Changes");
        match self {
            Self::Read => ["user", "inetOrgPerson", "group", "contact", "foreignSecurityPrincipal"]
                .map(|class| below(Meant::Everything, right::READ_PROPERTY, class))
                .into(),
            Self::Changes => {
                let rights = right::LIST_CONTENTS | right::READ_PROPERTY;
                vec![changes(), Need { place: Place::Deleted, meant: Meant::Everything, rights, class: None }]
            }
            Self::PasswordHash => vec![changes(), on_domain(REPLICATE_SECRETS, "Replicating Directory Changes All")],
            Self::ConsistencyGuid => {
                vec![below(Meant::Attribute("mS-DS-ConsistencyGuid"), right::WRITE_PROPERTY, "user")]
            }
            Self::PasswordWriteback => vec![
                below(Meant::Extended(RESET_PASSWORD, "Reset Password"), right::CONTROL_ACCESS, "user"),
                below(Meant::Attribute("lockoutTime"), right::WRITE_PROPERTY, "user"),
                below(Meant::Attribute("pwdLastSet"), right::WRITE_PROPERTY, "user"),
            ],
            Self::ExchangeHybrid => {
                let written = EXCHANGE_OF_PEOPLE.iter().map(|name| below(Meant::Attribute(name), right::WRITE_PROPERTY, "user"));
                let others = ["group", "contact"].map(|class| below(Meant::Attribute("proxyAddresses"), right::WRITE_PROPERTY, class));
                written.chain(others).collect()
            }
            Self::MailPublicFolder => vec![below(Meant::Everything, right::READ_PROPERTY, "publicFolder")],
            Self::GroupWriteback => vec![
                Need { place: Place::Base, meant: Meant::Class("group"), rights: right::CREATE_CHILD | right::DELETE_CHILD, class: None },
                below(Meant::Everything, right::READ_PROPERTY | right::WRITE_PROPERTY, "group"),
            ],
        }
    }
}

/// "Reset Password" (MS-ADTS 5.1.3.2.1).
const RESET_PASSWORD: Guid = Guid(*b"\x70\x95\x29\x00\x6d\x24\xd0\x11\xa7\x68\x00\xaa\x00\x6e\x05\x29");
/// What the rules write back to people's accounts (specification: default rules 4.5).
const EXCHANGE_OF_PEOPLE: [&str; 9] = [
    "proxyAddresses",
    "msDS-ExternalDirectoryObjectID",
    "msExchArchiveStatus",
    "msExchBlockedSendersHash",
    "msExchSafeRecipientsHash",
    "msExchSafeSendersHash",
    "msExchUCVoiceMailSettings",
    "msExchUserHoldPolicies",
    "publicDelegates",
];

/// Where a right is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// On the domain itself.
    Domain,
    /// On the container of what was deleted.
    Deleted,
    /// On the container that was named, or the domain, and below.
    Base,
}

/// Of what a right is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meant {
    Everything,
    Extended(Guid, &'static str),
    Attribute(&'static str),
    Class(&'static str),
}

/// A right that a feature takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Need {
    place: Place,
    meant: Meant,
    rights: u32,
    /// The class of objects below that it is for; the place itself without it.
    class: Option<&'static str>,
}

impl Need {
    /// In words.
    fn shown(&self) -> String {
        let verb = match (self.rights, self.meant) {
            (_, Meant::Extended(_, name)) => return self.of(format!("\"{name}\"")),
            (rights, Meant::Class(name)) if rights & right::CREATE_CHILD != 0 => format!("create and delete {name} objects"),
            (rights, Meant::Everything) if rights & right::LIST_CONTENTS != 0 => "list and read what was deleted".to_owned(),
            (rights, Meant::Everything) if rights & right::WRITE_PROPERTY != 0 => "read and write all properties".to_owned(),
            (_, Meant::Everything) => "read all properties".to_owned(),
            (_, Meant::Attribute(name) | Meant::Class(name)) => format!("write {name}"),
        };
        self.of(verb)
    }

    fn of(&self, verb: String) -> String {
        match self.class {
            Some(class) => format!("{verb} of {class} objects"),
            None => verb,
        }
    }
}

/// An entry of an access list that has to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The feature that takes it.
    pub feature: Feature,
    /// The object that gets the entry.
    pub dn: String,
    /// The object is the container of what was deleted, which ordinary tools do not reach.
    pub deleted: bool,
    /// The entry.
    pub ace: Ace,
    /// In words.
    pub shown: String,
    need: Need,
}

/// Everything that features take, for one account.
#[derive(Clone, Debug)]
pub struct GrantPlan {
    /// What the domain controller says.
    pub survey: DomainSurvey,
    /// The account's name behind the backslash.
    pub account: String,
    /// The account's identifier.
    pub sid: Sid,
    /// The account's object.
    pub dn: String,
    /// The entries.
    pub grants: Vec<Grant>,
    /// Attributes and classes that the schema of this forest does not have: nothing is granted for them.
    pub absent: Vec<String>,
}

/// Works out the entries for an account.
///
/// # Errors
/// When the directory does not answer, or the account is not found in it.
pub async fn plan(
    cx: &Context,
    settings: Arc<LdapSettings>,
    account: Option<&str>,
    features: &[Feature],
    base: Option<&str>,
) -> Result<GrantPlan, ConnectorError> {
    Client::unless_cancelled(cx, async {
        let mut client = Client::connect(settings).await?;
        let plan = plan_with(cx, &mut client, account, features, base).await?;
        client.close().await;
        Ok(plan)
    })
    .await
}

async fn plan_with(
    cx: &Context,
    client: &mut Client,
    account: Option<&str>,
    features: &[Feature],
    base: Option<&str>,
) -> Result<GrantPlan, ConnectorError> {
    let survey = look(cx, client).await?;
    let asked = account.unwrap_or(&client.settings.bind_name).to_owned();
    let found = match account {
        None => Some(survey.account.clone()),
        Some(text) => find_account(client, &survey.domain, text).await?,
    };
    let Some((dn, sid, name)) = found.and_then(|found| Some((found.dn?, found.sid?, found.name?))) else {
        let message = format!("{}: the account '{asked}' is not found in '{}'", client.settings.url, survey.domain);
        return Err(ConnectorError::new(ConnectorErrorKind::Search, message));
    };
    if let Some(base) = base {
        client.check_base(base).await?;
    }
    let needs: Vec<(Feature, Need)> =
        features.iter().flat_map(|feature| feature.needs().into_iter().map(|need| (*feature, need))).collect();
    let known = identifiers(client, &survey.schema, needs.iter().map(|(_, need)| need)).await?;
    let (mut grants, mut absent): (Vec<Grant>, Vec<String>) = (Vec::new(), Vec::new());
    for (feature, need) in needs {
        let grant = entry(&need, &known, &sid).map(|ace| Grant {
            feature,
            dn: match need.place {
                Place::Domain => survey.domain.clone(),
                Place::Deleted => format!("CN=Deleted Objects,{}", survey.domain),
                Place::Base => base.unwrap_or(&survey.domain).to_owned(),
            },
            deleted: need.place == Place::Deleted,
            ace,
            shown: need.shown(),
            need,
        });
        match grant {
            // Two features may take the same.
            Ok(grant) if grants.iter().any(|known| known.dn == grant.dn && known.ace == grant.ace) => {}
            Ok(grant) => grants.push(grant),
            Err(name) if absent.iter().any(|known| known == name) => {}
            Err(name) => absent.push(name.to_owned()),
        }
    }
    Ok(GrantPlan { survey, account: name, sid, dn, grants, absent })
}

/// The entry for a need; or what of it the schema does not know.
fn entry(need: &Need, known: &BTreeMap<String, Guid>, who: &Sid) -> Result<Ace, &'static str> {
    let of = |name: &'static str| known.get(&name.to_ascii_lowercase()).copied().ok_or(name);
    let object = match need.meant {
        Meant::Everything => None,
        Meant::Extended(guid, _) => Some(guid),
        Meant::Attribute(name) | Meant::Class(name) => Some(of(name)?),
    };
    let class = need.class.map(of).transpose()?;
    let flags = match (need.place, need.class) {
        (Place::Domain, _) => 0,
        (_, Some(_)) => inheritance::CONTAINERS | inheritance::ONLY_BELOW,
        (_, None) => inheritance::CONTAINERS,
    };
    Ok(Ace { flags, object, class, ..Ace::allow(who.clone(), need.rights) })
}

/// What the schema calls the classes and attributes of needs.
async fn identifiers(
    client: &mut Client,
    schema: &str,
    needs: impl Iterator<Item = &Need>,
) -> Result<BTreeMap<String, Guid>, ConnectorError> {
    let mut names: Vec<&str> = Vec::new();
    for need in needs {
        names.extend(need.class);
        if let Meant::Attribute(name) | Meant::Class(name) = need.meant {
            names.push(name);
        }
    }
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut filter = String::new();
    for name in names {
        let _ = write!(filter, "(lDAPDisplayName={name})");
    }
    let found = client.search(schema, Scope::OneLevel, &format!("(|{filter})"), &["lDAPDisplayName", "schemaIDGUID"]).await?;
    let identifier = |entry: &crate::connector::ldap::RawEntry| {
        let name = entry.text("lDAPDisplayName")?.to_ascii_lowercase();
        let octets = entry.values("schemaIDGUID").first().and_then(|octets| <[u8; 16]>::try_from(*octets).ok())?;
        Some((name, Guid(octets)))
    };
    Ok(found.iter().filter_map(identifier).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_reach_as_far_as_they_must() {
        let sid = Sid::parse("S-1-5-21-1-2-3-1105").unwrap();
        let known = BTreeMap::from([("user".to_owned(), Guid([1; 16])), ("ms-ds-consistencyguid".to_owned(), Guid([2; 16]))]);
        let [need] = Feature::ConsistencyGuid.needs()[..] else { panic!("one right is enough") };
        let ace = entry(&need, &known, &sid).unwrap();
        assert!(ace.to_string().starts_with("(OA;CIIO;WP;02020202-"), "{ace}");
        assert_eq!(entry(&need, &BTreeMap::new(), &sid), Err("mS-DS-ConsistencyGuid"));
        for need in Feature::PasswordHash.needs() {
            let ace = entry(&need, &known, &sid).unwrap();
            assert!(ace.flags == 0 && ace.rights == right::CONTROL_ACCESS, "on the domain itself only: {ace}");
        }
        assert_eq!(RESET_PASSWORD.to_string(), "00299570-246d-11d0-a768-00aa006e0529");
    }

    #[test]
    fn every_feature_says_what_it_takes() {
        for feature in Feature::ALL {
            let shown: Vec<String> = feature.needs().iter().map(Need::shown).collect();
            assert!(!shown.is_empty() && shown.iter().all(|text| text.len() > 8), "{feature:?} {shown:?}");
        }
        assert_eq!(Feature::Changes.needs()[1].shown(), "list and read what was deleted");
        assert_eq!(Feature::ConsistencyGuid.needs()[0].shown(), "write mS-DS-ConsistencyGuid of user objects");
    }
}
