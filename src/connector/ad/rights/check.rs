//! Holds the rights that features take against what a directory grants. Where the server itself can say whether something
//! may be written, it is asked; else access lists are judged as it would judge them.

use super::super::survey::{descriptor, descriptor_parts, with_descriptor};
use super::{Feature, GrantPlan, Meant, Place, plan_with};
use crate::connector::ConnectorError;
use crate::connector::ldap::{Client, LdapSettings, Query};
use crate::context::Context;
use crate::protocol::dcerpc::Guid;
use crate::protocol::security::{Descriptor, Sid, WITHOUT_AUDIT, right};
use ldap3::Scope;
use std::sync::Arc;

/// A right, and whether it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RightCheck {
    /// The feature that takes it.
    pub feature: Feature,
    /// The right in words.
    pub right: String,
    /// Where it is granted.
    pub dn: String,
    /// It is there; `None` when that cannot be told.
    pub granted: Option<bool>,
    /// What was found.
    pub evidence: String,
}

/// Objects of a class that are looked at: rights come by inheritance, so that a few stand for all.
const SAMPLE: usize = 50;

/// Checks the account that signs in. Gives what was looked at, and what was planned for it.
///
/// # Errors
/// When the directory does not answer.
pub async fn check(
    cx: &Context,
    settings: Arc<LdapSettings>,
    features: &[Feature],
    base: Option<&str>,
) -> Result<(GrantPlan, Vec<RightCheck>), ConnectorError> {
    Client::unless_cancelled(cx, async {
        let mut client = Client::connect(settings).await?;
        let plan = plan_with(cx, &mut client, None, features, base).await?;
        let mut checks = Vec::with_capacity(plan.grants.len());
        for grant in &plan.grants {
            let token = &plan.survey.account.token;
            let (granted, evidence) = match (grant.need.place, grant.need.class) {
                (Place::Deleted, _) => {
                    let sees = plan.survey.sees_deleted;
                    (Some(sees), if sees { "what was deleted is shown" } else { "what was deleted is not shown" }.to_owned())
                }
                (_, Some(class)) => sample(&mut client, token, class, grant).await?,
                (_, None) => {
                    let judged = judge(descriptor(&mut client, &grant.dn).await?.as_ref(), token, grant);
                    let evidence = match judged {
                        Some(true) => "the access list grants it",
                        Some(false) => "the access list does not grant it",
                        None => "the account cannot read the access list",
                    };
                    (judged, evidence.to_owned())
                }
            };
            checks.push(RightCheck { feature: grant.feature, right: grant.shown.clone(), dn: grant.dn.clone(), granted, evidence });
        }
        client.close().await;
        Ok((plan, checks))
    })
    .await
}

/// All rights of a grant, by an access list.
fn judge(descriptor: Option<&Descriptor>, token: &[Sid], grant: &super::Grant) -> Option<bool> {
    let descriptor = descriptor?;
    let meant: Vec<Guid> = grant.ace.object.into_iter().collect();
    let wanted = (0..32).map(|bit| 1_u32 << bit).filter(|bit| grant.ace.rights & bit != 0);
    Some(wanted.into_iter().all(|bit| descriptor.grants(token, bit, &meant)))
}

/// Looks at some objects of a class. Accounts of administrators do not inherit, and are told apart.
async fn sample(client: &mut Client, token: &[Sid], class: &str, grant: &super::Grant) -> Result<(Option<bool>, String), ConnectorError> {
    let plain = "(!(adminCount=1))(!(isCriticalSystemObject=TRUE))";
    let filter = match class {
        "user" => format!("(&(objectCategory=person)(objectClass=user)(!(objectClass=inetOrgPerson)){plain})"),
        _ => format!("(&(objectClass={class}){plain})"),
    };
    let attributes = ["nTSecurityDescriptor", "allowedAttributesEffective"];
    let query = Query { base: &grant.dn, scope: Scope::Subtree, filter: &filter, attributes: &attributes };
    let mut answer = client.begin(&query, vec![descriptor_parts(WITHOUT_AUDIT)]).await?;
    let (mut seen, mut without, mut blind, mut apart) = (0_usize, Vec::new(), 0_usize, 0_usize);
    while seen < SAMPLE {
        let Some(entry) = answer.next().await? else { break };
        let octets = entry.values("nTSecurityDescriptor");
        let descriptor = octets.first().and_then(|octets| Descriptor::parse(octets));
        // What its container grants does not reach it, by somebody's wish.
        if descriptor.as_ref().is_some_and(Descriptor::is_protected) {
            apart += 1;
            continue;
        }
        seen += 1;
        let writable = entry.texts("allowedAttributesEffective");
        let known = match grant.need.meant {
            // The server's own word.
            Meant::Attribute(name) if grant.need.rights == right::WRITE_PROPERTY => {
                Some(writable.iter().any(|writable| writable.eq_ignore_ascii_case(name)))
            }
            _ => judge(descriptor.as_ref(), token, grant),
        };
        match known {
            Some(true) => {}
            Some(false) => without.push(entry.dn().map(|dn| String::from_utf8_lossy(dn).into_owned()).unwrap_or_default()),
            None => blind += 1,
        }
    }
    // Whatever follows is for nobody.
    drop(answer);
    Ok(match (seen, without.first(), blind) {
        (0, ..) => (None, format!("there is no {class} object to look at")),
        (_, None, 0) if apart > 0 => {
            (Some(true), format!("on {seen} {class} objects looked at; {apart} more take nothing from their containers (--inheritance)"))
        }
        (_, None, 0) => (Some(true), format!("on {seen} {class} objects looked at")),
        (_, None, _) => (None, format!("the access lists of {blind} of {seen} {class} objects cannot be read")),
        (_, Some(first), _) => (Some(false), format!("not on {} of {seen} {class} objects, such as {first}", without.len())),
    })
}

/// What an account may do with one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRights {
    /// The object.
    pub dn: String,
    /// What is inherited does not reach it.
    pub protected: bool,
    /// Entries of its access list that are for the account or its groups, as the security descriptor definition language
    /// writes them; `None` when the list cannot be read.
    pub entries: Option<Vec<String>>,
    /// Attributes that the account may write, as the server says.
    pub writable: Vec<String>,
}

/// Looks at one object with the eyes of the account that signs in.
///
/// # Errors
/// When the directory does not answer.
pub async fn rights_on(cx: &Context, settings: Arc<LdapSettings>, dn: &str) -> Result<Option<ObjectRights>, ConnectorError> {
    Client::unless_cancelled(cx, async {
        let mut client = Client::connect(settings).await?;
        let survey = super::look(cx, &mut client).await?;
        let entry = with_descriptor(&mut client, dn, &["nTSecurityDescriptor", "allowedAttributesEffective"]).await?;
        client.close().await;
        Ok(entry.map(|entry| {
            let found = entry.values("nTSecurityDescriptor").first().and_then(|octets| Descriptor::parse(octets));
            let ours = |found: &Descriptor| {
                found.aces().filter(|ace| survey.account.token.contains(&ace.who)).map(ToString::to_string).collect::<Vec<_>>()
            };
            let mut writable: Vec<String> = entry.texts("allowedAttributesEffective").into_iter().map(str::to_owned).collect();
            writable.sort_by_key(|name| name.to_lowercase());
            ObjectRights {
                dn: entry.dn().map_or_else(|| dn.to_owned(), |dn| String::from_utf8_lossy(dn).into_owned()),
                protected: found.as_ref().is_some_and(Descriptor::is_protected),
                entries: found.as_ref().map(ours),
                writable,
            }
        }))
    })
    .await
}

/// Objects that do not take what is inherited, up to `limit`, and whether there are more. Rights that are granted on a
/// container do not reach them.
///
/// # Errors
/// When the directory does not answer.
pub async fn protected_objects(
    cx: &Context,
    settings: Arc<LdapSettings>,
    base: Option<&str>,
    limit: usize,
) -> Result<(Vec<String>, bool), ConnectorError> {
    Client::unless_cancelled(cx, async {
        let mut client = Client::connect(settings).await?;
        let root = client.root(&["defaultNamingContext"]).await?;
        let base = base.or_else(|| root.text("defaultNamingContext")).unwrap_or_default().to_owned();
        let filter =
            "(|(&(objectCategory=person)(objectClass=user))(objectClass=group)(objectClass=contact)(objectClass=organizationalUnit))";
        let query = Query { base: &base, scope: Scope::Subtree, filter, attributes: &["nTSecurityDescriptor"] };
        let (mut found, mut more, mut cookie) = (Vec::new(), false, Vec::new());
        loop {
            let (page, result) = client.page_with(&query, &cookie, vec![descriptor_parts(WITHOUT_AUDIT)]).await?;
            if result.rc != 0 {
                return Err(client.search_error(&base, &result));
            }
            for entry in &page.entries {
                let octets = entry.values("nTSecurityDescriptor");
                let descriptor = octets.first().and_then(|octets| Descriptor::parse(octets));
                if descriptor.is_some_and(|descriptor| descriptor.is_protected()) {
                    if found.len() < limit {
                        found.extend(entry.dn().map(|dn| String::from_utf8_lossy(dn).into_owned()));
                    } else {
                        more = true;
                    }
                }
            }
            cookie = page.cookie;
            if cookie.is_empty() || more {
                break;
            }
        }
        client.close().await;
        Ok((found, more))
    })
    .await
}
