//! Objects of which a delta told a new name, and that the account does not see where they are now: they were deleted
//! since, or they lie where it may not look. Nobody tells of the latter again.

use super::collect::{Collector, Wanted};
use super::delta::Source;
use super::reread::{AT_ONCE, filter};
use super::watermark::Way;
use super::{Root, dirsync, usn};
use crate::connector::ldap::{Client, Query, RawEntry};
use crate::connector::{ConnectorError, ConnectorErrorKind};
use crate::model::Dn;
use ldap3::Scope;
use std::collections::BTreeSet;

/// What is to be known of them.
const ASKED: [&str; 4] = ["objectGUID", "objectClass", "isDeleted", "lastKnownParent"];
/// Each look at some of them goes through the whole domain at the server; with more of them reading everything is cheaper.
const UNSEEN_MAX: usize = 500;

/// Tells what became of objects that the account does not see: they are deleted, or they left. Where neither is certain,
/// or others may have gone along, only a full import tells.
pub(super) async fn tell(
    client: &mut Client,
    source: &Source,
    way: Way,
    mut unseen: BTreeSet<Vec<u8>>,
    collector: &mut Collector<'_>,
) -> Result<(), ConnectorError> {
    if unseen.len() > UNSEEN_MAX {
        return Err(lost(client, &format!("{} objects are", unseen.len())));
    }
    let wanted: Vec<Wanted> = unseen.iter().cloned().map(Wanted::Guid).collect();
    for chunk in wanted.chunks(AT_ONCE) {
        let filter = filter("(objectClass=*)", chunk);
        for context in &source.contexts {
            for entry in look(client, way, context, &filter).await? {
                if let Some(guid) = entry.values("objectGUID").first().filter(|guid| unseen.contains(**guid)).map(|guid| guid.to_vec()) {
                    if !collector.unseen(&entry).await? {
                        let name = entry.dn().map(|dn| String::from_utf8_lossy(dn).into_owned()).unwrap_or_default();
                        return Err(lost(client, &format!("'{name}' is")));
                    }
                    unseen.remove(&guid);
                }
            }
        }
    }
    match unseen.first() {
        None => Ok(()),
        Some(guid) => Err(lost(client, &format!("the object with the objectGUID {} is", hex::encode(guid)))),
    }
}

/// Objects with what shows of them: whoever may replicate is shown all there is, others what is deleted.
async fn look(client: &mut Client, way: Way, context: &str, filter: &str) -> Result<Vec<RawEntry>, ConnectorError> {
    if way == Way::DirSync {
        return dirsync::all(client, context, way, filter, &ASKED).await;
    }
    let query = Query { base: context, scope: Scope::Subtree, filter, attributes: &ASKED };
    let (mut entries, mut cookie) = (Vec::new(), Vec::new());
    loop {
        let (mut found, result) = client.page_with(&query, &cookie, vec![usn::show_deleted()]).await?;
        if result.rc != 0 {
            return Err(client.search_error(context, &result));
        }
        entries.append(&mut found.entries);
        if found.cookie.is_empty() {
            return Ok(entries);
        }
        cookie = found.cookie;
    }
}

fn lost(client: &Client, what: &str) -> ConnectorError {
    let (url, account) = (&client.settings.url, &client.settings.bind_name);
    let message = format!(
        "{url}: {what} now where account '{account}' may not look, so that nobody tells who went along; everything is read instead. Let the \
         account list and read there: what is left out is not imported for it"
    );
    ConnectorError::new(ConnectorErrorKind::WatermarkLost, message)
}

/// An excluded container into which the account cannot look, where the server tells only of what the account sees: who moves
/// there simply is not told any more.
pub(super) async fn concealed(
    client: &mut Client,
    root: &Root,
    way: Way,
    contexts: &[String],
    excluded: &[String],
) -> Result<Option<String>, ConnectorError> {
    // To whoever may replicate Microsoft's servers tell everything (MS-ADTS 3.1.1.3.4.1.3), Samba's what the account sees.
    if way == Way::DirSync && !root.vendor {
        return Ok(None);
    }
    for name in excluded {
        let Ok(dn) = Dn::parse(name) else { continue };
        let key = dn.key();
        if !contexts.iter().any(|context| Dn::parse(context).is_ok_and(|context| key.is_within(&context.key()))) {
            continue;
        }
        if !client.shows(name).await? {
            return Ok(Some(name.clone()));
        }
    }
    Ok(None)
}

/// What is to be done about a container into which the account cannot look.
pub(super) fn advice(client: &Client, container: &str) -> String {
    let (url, account) = (&client.settings.url, &client.settings.bind_name);
    format!(
        "{url}: account '{account}' cannot look into the excluded container '{container}', so that every import reads everything: who moves \
         there would stay for ever otherwise, since this server tells only of what the account sees. Let the account list and read there \
         (rights LC and RP; nothing of it is imported), or, if there is no such container any more, take it off [selection] exclude"
    )
}
