//! A delta import: one refresh, the entries that changed, and those that moved with them.

use super::content::Content;
use super::refresh::{Changes, refresh};
use super::watermark::Watermark;
use super::{parse_uuid, uuid_text};
use crate::connector::directory::ImportPlan;
use crate::connector::ldap::client::Client;
use crate::connector::ldap::raw::RawEntry;
use crate::connector::ldap::stream::{Step, complete, pipeline};
use crate::connector::{Completion, ConnectorError, ImportStream, PAGE_ENTRIES};
use crate::context::Context;
use crate::protocol::ldap::SyncUuid;
use ldap3::Scope;
use tokio::sync::mpsc;

/// Entries to ask for at once: fewer than the smallest limit that servers have by default.
const AT_ONCE: usize = 200;

/// What a delta import needs besides the connection.
pub(in crate::connector::ldap) struct Delta {
    pub(in crate::connector::ldap) content: Content,
    pub(in crate::connector::ldap) since: Watermark,
    /// The object types that are wanted.
    pub(in crate::connector::ldap) class_filter: String,
    /// Attribute descriptions to ask for.
    pub(in crate::connector::ldap) attributes: Vec<String>,
}

/// Where steps go; the error says that nobody takes them any more.
struct Taker(mpsc::Sender<Step>);

/// The engine has ended the import.
struct Ended;

impl Taker {
    async fn give(&self, step: Step) -> Result<(), Ended> {
        self.0.send(step).await.map_err(|_| Ended)
    }

    async fn give_anchors(&self, uuids: &[SyncUuid], step: impl Fn(Vec<String>) -> Step) -> Result<(), Ended> {
        for chunk in uuids.chunks(PAGE_ENTRIES) {
            self.give(step(chunk.iter().copied().map(uuid_text).collect())).await?;
        }
        Ok(())
    }
}

/// Why reading ended early.
enum Stop {
    Ended,
    Failed(ConnectorError),
}

impl From<Ended> for Stop {
    fn from(_: Ended) -> Self {
        Self::Ended
    }
}

impl From<ConnectorError> for Stop {
    fn from(error: ConnectorError) -> Self {
        Self::Failed(error)
    }
}

/// Starts a delta import on a bound connection.
pub(in crate::connector::ldap) fn delta(mut client: Client, cx: Context, plan: ImportPlan, delta: Delta) -> ImportStream {
    let place = client.settings.url.clone();
    pipeline(cx, plan, place, move |sender| async move {
        let result = read(&mut client, delta, &Taker(sender)).await;
        match result {
            Ok(completion) => {
                client.close().await;
                Ok((completion, Vec::new()))
            }
            Err(Stop::Ended) => {
                client.close().await;
                Ok((Completion::default(), Vec::new()))
            }
            Err(Stop::Failed(error)) => Err(error),
        }
    })
}

async fn read(client: &mut Client, delta: Delta, taker: &Taker) -> Result<Completion, Stop> {
    let Delta { content, since, class_filter, attributes } = delta;
    let wanted: Vec<&str> = attributes.iter().map(String::as_str).collect();
    let Changes { changed, gone, present, whole, containers, cookie } = refresh(client, &content, &since.cookie).await?;
    let gone = still_there(client, &content.context, gone, &wanted, taker).await?;
    taker.give_anchors(&gone, Step::Gone).await?;
    // Whoever is not found went after the refresh, which the next one tells, or cannot be searched by the key, which nobody tells.
    let unread = still_there(client, &content.context, changed, &wanted, taker).await?;
    if !unread.is_empty() {
        let (count, place) = (unread.len(), &client.settings.url);
        let note = format!(
            "{place}: changed entries that were not found by their entryUUID: {count}; they went meanwhile, or the account may not search by it. \
             The next import reads everything, and names those that do not show it"
        );
        taker.give(Step::Untold(note)).await?;
        taker.give_anchors(&unread, Step::Present).await?;
    }
    for container in containers {
        let mut cookie = Vec::new();
        // A container that is renamed again or gone meanwhile is told by the next refresh.
        while let Some(found) = client.page_if_there(&container, &class_filter, &wanted, &cookie).await? {
            give_entries(client, found.entries, taker).await?;
            if found.cookie.is_empty() {
                break;
            }
            cookie = found.cookie;
        }
    }
    taker.give_anchors(&present, Step::Present).await?;
    let watermark = cookie.map_or(since, |cookie| content.watermark(cookie));
    Ok(Completion { watermark: Some(watermark.write()), answered_in_full: whole })
}

/// Gives the entries with these identifiers as they are now, and returns those that are not there. Also whoever was changed and does not
/// match the question any more is told as gone, because of a class or because the account may not search by it now: who is
/// there says itself what it is.
async fn still_there(
    client: &mut Client,
    context: &str,
    mut uuids: Vec<SyncUuid>,
    wanted: &[&str],
    taker: &Taker,
) -> Result<Vec<SyncUuid>, Stop> {
    let mut met = Vec::new();
    for chunk in uuids.chunks(AT_ONCE) {
        let filter = uuid_filter(chunk);
        let mut cookie = Vec::new();
        loop {
            let found = client.page(context, Scope::Subtree, &filter, wanted, &cookie).await?;
            met.extend(found.entries.iter().filter_map(|entry| parse_uuid(entry.values("entryUUID").first()?)));
            give_entries(client, found.entries, taker).await?;
            if found.cookie.is_empty() {
                break;
            }
            cookie = found.cookie;
        }
    }
    met.sort_unstable();
    uuids.retain(|uuid| met.binary_search(uuid).is_err());
    Ok(uuids)
}

/// A filter (RFC 4515) for the entries with one of these identifiers.
fn uuid_filter(uuids: &[SyncUuid]) -> String {
    let mut filter = "(|".to_owned();
    for uuid in uuids {
        filter.push_str("(entryUUID=");
        filter.push_str(&uuid_text(*uuid));
        filter.push(')');
    }
    filter.push(')');
    filter
}

async fn give_entries(client: &mut Client, mut entries: Vec<RawEntry>, taker: &Taker) -> Result<(), Stop> {
    for entry in &mut entries {
        complete(client, entry).await?;
    }
    taker.give(Step::Changed(entries)).await?;
    Ok(())
}
