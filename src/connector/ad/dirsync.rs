//! Reading changes by the DirSync control (MS-ADTS 3.1.1.3.4.1.3).

use super::collect::Collector;
use super::delta::Source;
use super::watermark::Way;
use crate::connector::ldap::{Client, Query, RawEntry, extended_names, reply_control, said};
use crate::connector::{ConnectorError, ConnectorErrorKind};
use crate::protocol::ldap::{DIRSYNC, DirSyncReply, INCREMENTAL_VALUES, OBJECT_SECURITY, dirsync_request};
use ldap3::controls::RawControl;
use ldap3::{LdapResult, Scope};

/// What every entry is asked for besides the wanted attributes: who it is, and what became of it.
const IDENTITY: [&str; 7] = ["objectGUID", "objectClass", "isDeleted", "name", "parentGUID", "whenCreated", "lastKnownParent"];
/// Octets that an answer should have at most; servers take at least a mebibyte for it, and Samba takes no notice.
const ANSWER_OCTETS: u32 = 4 << 20;
/// Answers to one delta at most.
const ANSWERS_MAX: usize = 1_000_000;
/// Selects nothing but the container of deleted objects, and only when what is deleted can be seen.
const DELETED_CONTAINER: &str = "(&(isDeleted=TRUE)(name=Deleted Objects))";

/// What a request that selects next to nothing brings.
pub(super) struct Probe {
    /// Where changes from now on begin: a request has a cookie for all that the server has, whatever it selects.
    pub(super) cookie: Vec<u8>,
    /// The answer shows what is deleted.
    pub(super) sees_deleted: bool,
}

fn control(way: Way, cookie: &[u8]) -> RawControl {
    let security = if way == Way::DirSyncVisible { OBJECT_SECURITY } else { 0 };
    let value = dirsync_request(INCREMENTAL_VALUES | security, ANSWER_OCTETS, cookie);
    RawControl { ctype: DIRSYNC.to_owned(), crit: true, val: Some(value) }
}

/// True for results that say nothing against the request itself: the server is busy, or its limits are met.
pub(super) fn is_passing(result: &LdapResult) -> bool {
    matches!(result.rc, 3 | 4 | 11 | 51 | 52)
}

fn reply(client: &Client, context: &str, result: &LdapResult) -> Result<DirSyncReply, ConnectorError> {
    reply_control(result, DIRSYNC).and_then(DirSyncReply::parse).ok_or_else(|| {
        let message = format!("{}: the answer for '{context}' has no legible DirSync control", client.settings.url);
        ConnectorError::new(ConnectorErrorKind::Protocol, message)
    })
}

/// Asks where changes from now on begin. `Err` within is the server's refusal, in its own words.
pub(super) async fn probe(client: &mut Client, context: &str, way: Way) -> Result<Result<Probe, String>, ConnectorError> {
    let mut cookie = Vec::new();
    let mut sees_deleted = false;
    for _ in 0..ANSWERS_MAX {
        let query = Query { base: context, scope: Scope::Subtree, filter: DELETED_CONTAINER, attributes: &["isDeleted"] };
        let mut answer = client.begin(&query, vec![control(way, &cookie)]).await?;
        while answer.next().await?.is_some() {
            sees_deleted = true;
        }
        let result = answer.finish().await;
        if is_passing(&result) {
            return Err(client.search_error(context, &result));
        }
        if result.rc != 0 {
            return Ok(Err(said(&result)));
        }
        let reply = reply(client, context, &result)?;
        if reply.cookie.is_empty() {
            return Ok(Err("the answer has no cookie".to_owned()));
        }
        if !reply.more {
            return Ok(Ok(Probe { cookie: reply.cookie, sees_deleted }));
        }
        cookie = reply.cookie;
    }
    Ok(Err("the answer does not end".to_owned()))
}

/// All that a filter selects in a naming context, whenever it changed; for some objects.
pub(super) async fn all(
    client: &mut Client,
    context: &str,
    way: Way,
    filter: &str,
    attributes: &[&str],
) -> Result<Vec<RawEntry>, ConnectorError> {
    let (mut entries, mut cookie) = (Vec::new(), Vec::new());
    for _ in 0..ANSWERS_MAX {
        let query = Query { base: context, scope: Scope::Subtree, filter, attributes };
        let mut answer = client.begin(&query, vec![control(way, &cookie)]).await?;
        while let Some(entry) = answer.next().await? {
            entries.push(entry);
        }
        let result = answer.finish().await;
        if result.rc != 0 {
            return Err(client.search_error(context, &result));
        }
        let reply = reply(client, context, &result)?;
        if !reply.more {
            break;
        }
        cookie = reply.cookie;
    }
    Ok(entries)
}

/// Reads what changed in a naming context since a cookie. Gives the next one.
pub(super) async fn read(
    client: &mut Client,
    source: &Source,
    way: Way,
    (context, since): (&str, &[u8]),
    collector: &mut Collector<'_>,
) -> Result<Vec<u8>, ConnectorError> {
    let mut asked: Vec<&str> = source.attributes.iter().map(|description| description.split(';').next().unwrap_or_default()).collect();
    asked.extend(IDENTITY.iter().filter(|name| !source.attributes.iter().any(|other| other.eq_ignore_ascii_case(name))));
    let mut cookie = since.to_vec();
    for _ in 0..ANSWERS_MAX {
        let query = Query { base: context, scope: Scope::Subtree, filter: "(objectClass=*)", attributes: &asked };
        let mut answer = client.begin(&query, vec![control(way, &cookie), extended_names()]).await?;
        let mut entries = 0u64;
        while let Some(entry) = answer.next().await? {
            let entry: RawEntry = entry;
            entries += 1;
            collector.change(&entry).await?;
        }
        let result = answer.finish().await;
        if is_passing(&result) {
            return Err(client.search_error(context, &result));
        }
        if result.rc != 0 {
            return Err(ConnectorError::new(
                ConnectorErrorKind::WatermarkLost,
                format!(
                    "{}: the server does not go on from where the last import of '{context}' ended ({})",
                    client.settings.url,
                    said(&result)
                ),
            ));
        }
        let reply = reply(client, context, &result)?;
        if !reply.more {
            return Ok(reply.cookie);
        }
        if entries == 0 && reply.cookie == cookie {
            break;
        }
        cookie = reply.cookie;
    }
    Err(ConnectorError::new(
        ConnectorErrorKind::Protocol,
        format!("{}: the server says that there are more changes of '{context}' and never gives them", client.settings.url),
    ))
}
