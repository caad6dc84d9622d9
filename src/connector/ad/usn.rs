//! Reading changes by the numbers that a domain controller gives to them, where DirSync is not to be had. It tells who
//! changed, not what; and numbers count on one controller only.

use super::collect::{Collector, Wanted};
use super::delta::Source;
use crate::connector::ConnectorError;
use crate::connector::ldap::{Client, Query, RawEntry};
use crate::protocol::ldap::{AttributeStamp, NAME_ATTRIBUTE};
use ldap3::Scope;
use ldap3::controls::RawControl;

/// Object identifier of the control that shows what is deleted (MS-ADTS 3.1.1.3.4.1.14).
pub(super) const SHOW_DELETED: &str = "1.2.840.113556.1.4.417";

/// The control that shows what is deleted.
pub(super) fn show_deleted() -> RawControl {
    RawControl { ctype: SHOW_DELETED.to_owned(), crit: true, val: None }
}

/// Reads who changed in a naming context behind a number. Who is wanted is noted to be read whole.
pub(super) async fn read(
    client: &mut Client,
    source: &Source,
    (context, since): (&str, u64),
    collector: &mut Collector<'_>,
) -> Result<(), ConnectorError> {
    let asked = ["objectGUID", "objectClass", "isDeleted", "lastKnownParent", "replPropertyMetaData"];
    let filter = format!("(uSNChanged>={})", since.saturating_add(1));
    let query = Query { base: context, scope: Scope::Subtree, filter: &filter, attributes: &asked };
    let mut cookie = Vec::new();
    loop {
        let (found, result) = client.page_with(&query, &cookie, vec![show_deleted()]).await?;
        if result.rc != 0 {
            return Err(client.search_error(context, &result));
        }
        for entry in &found.entries {
            take(entry, context, since, &source.links, collector).await?;
        }
        if found.cookie.is_empty() {
            return Ok(());
        }
        cookie = found.cookie;
    }
}

async fn take(entry: &RawEntry, context: &str, since: u64, links: &[String], collector: &mut Collector<'_>) -> Result<(), ConnectorError> {
    let guid = entry.values("objectGUID").first().map(|guid| guid.to_vec()).unwrap_or_default();
    if collector.named(entry, links).await? {
        collector.whole.insert(Wanted::Guid(guid.clone()));
    }
    let deleted = entry.text("isDeleted").is_some_and(|value| value.eq_ignore_ascii_case("TRUE"));
    let top = entry.dn().is_some_and(|dn| dn.eq_ignore_ascii_case(context.as_bytes()));
    // Who may not see when the name changed has to take every change for one.
    let stamp = entry.values("replPropertyMetaData").first().and_then(|value| AttributeStamp::of(value, NAME_ATTRIBUTE));
    let renamed = stamp.is_none_or(|stamp| stamp.usn > since);
    if renamed && !deleted && !top && !guid.is_empty() {
        collector.renamed.insert(guid);
    }
    Ok(())
}
