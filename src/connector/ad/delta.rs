//! Delta imports: how changes are asked for, where they begin, and the order in which they are told.

use super::collect::{Collector, Pages, Wanted};
use super::reread::{self, Reading};
use super::watermark::{Server, Watermark, Way};
use super::{DeltaMode, Root, dirsync, hidden, usn};
use crate::connector::directory::{Gathered, ImportPlan, PAGES_AHEAD};
use crate::connector::ldap::{Client, Query, decode_entry};
use crate::connector::{Completion, ConnectorError, ConnectorErrorKind, ImportPage, ImportStream, PageBuilder};
use crate::context::Context;
use crate::model::{Anchor, Dn};
use crate::protocol::ldap::DIRSYNC;
use futures_util::StreamExt as _;
use ldap3::Scope;
use tokio::sync::mpsc;

/// Numbers that may have been given to changes since the last import where a server gives all of them in one answer. The
/// client reads an answer as fast as it comes, so what is not divided has to be small; a full import comes in pages.
const UNDIVIDED_MAX: u64 = 100_000;

/// Everything that reading needs besides the connection.
pub(super) struct Source {
    pub(super) plan: ImportPlan,
    /// Attribute descriptions to ask for.
    pub(super) attributes: Vec<String>,
    /// Lets the wanted object types through.
    pub(super) filter: String,
    /// The naming contexts.
    pub(super) contexts: Vec<String>,
    /// Back links of the wanted attributes that link objects.
    pub(super) links: Vec<String>,
}

/// Where the next delta import begins, as far as there can be one.
pub(super) struct Beginning {
    pub(super) watermark: Option<Vec<u8>>,
    pub(super) warnings: Vec<String>,
}

/// Finds out where changes from now on begin. To be called before anything is read: what changes while it is read is told
/// once more by the next delta.
pub(super) async fn begin(
    client: &mut Client,
    root: &Root,
    contexts: &[String],
    excluded: &[String],
    mode: DeltaMode,
) -> Result<Beginning, ConnectorError> {
    let mut refusals = Vec::new();
    for way in ways(mode) {
        let watermark = match places(client, root, contexts, *way).await? {
            Ok(watermark) => watermark,
            Err(refusal) => {
                refusals.push(refusal);
                continue;
            }
        };
        let (watermark, blind) = watermark;
        let mut warnings: Vec<String> = blind.iter().map(|context| blindness(client, context)).collect();
        let concealed = hidden::concealed(client, root, *way, contexts, excluded).await?;
        warnings.extend(concealed.iter().map(|container| hidden::advice(client, container)));
        return Ok(Beginning { watermark: warnings.is_empty().then(|| watermark.encode()), warnings });
    }
    let mut warnings = Vec::new();
    if mode != DeltaMode::Off {
        warnings.push(format!(
            "{}: every import reads everything, since the server gives no changes to account '{}': {}. Give it the right 'Replicating \
             Directory Changes' on the domain, or set [delta] mode = \"off\" if that is how it shall be",
            client.settings.url,
            client.settings.bind_name,
            refusals.join("; ")
        ));
    }
    Ok(Beginning { watermark: None, warnings })
}

/// The ways that a mode allows, the best one first.
fn ways(mode: DeltaMode) -> &'static [Way] {
    match mode {
        DeltaMode::Auto => &[Way::DirSync, Way::DirSyncVisible, Way::Usn],
        DeltaMode::DirSync => &[Way::DirSync],
        DeltaMode::DirSyncVisible => &[Way::DirSyncVisible],
        DeltaMode::Usn => &[Way::Usn],
        DeltaMode::Off => &[],
    }
}

/// A watermark, with the naming context whose deletions the account does not see; or why this way is none.
async fn places(
    client: &mut Client,
    root: &Root,
    contexts: &[String],
    way: Way,
) -> Result<Result<(Watermark, Option<String>), String>, ConnectorError> {
    let needed = if way == Way::Usn { usn::SHOW_DELETED } else { DIRSYNC };
    if !root.controls.contains(needed) {
        return Ok(Err(format!("it does not have the control {needed}")));
    }
    let Some(usn) = root.usn else { return Ok(Err("it does not tell its highestCommittedUSN".to_owned())) };
    let server = server(client, root).await?;
    let (mut places, mut blind) = (Vec::with_capacity(contexts.len()), None);
    for context in contexts {
        let (cookie, sees_deleted) = match way {
            Way::Usn => (Vec::new(), false),
            _ => match dirsync::probe(client, context, way).await? {
                Ok(probe) => (probe.cookie, probe.sees_deleted),
                Err(said) => return Ok(Err(format!("the DirSync control on '{context}': {said}"))),
            },
        };
        if !sees_deleted && !shows_deleted(client, context).await? {
            blind.get_or_insert_with(|| context.clone());
        }
        places.push((context.clone(), cookie));
    }
    Ok(Ok((Watermark { way, server, usn, contexts: places }, blind)))
}

/// True when the account may read the container of deleted objects. Without the right its name shows, and nothing in it.
pub(super) async fn shows_deleted(client: &mut Client, context: &str) -> Result<bool, ConnectorError> {
    // MS-ADTS 6.1.1.4: the well-known name of the container.
    let base = format!("<WKGUID=18E2EA80684F11D2B9AA00C04F79F805,{context}>");
    let query = Query { base: &base, scope: Scope::Base, filter: "(objectClass=*)", attributes: &["isDeleted", "objectClass"] };
    let mut answer = client.begin(&query, vec![usn::show_deleted()]).await?;
    let mut shows = false;
    while let Some(entry) = answer.next().await? {
        shows |= !entry.values("objectClass").is_empty();
    }
    let result = answer.finish().await;
    match result.rc {
        0 => Ok(shows),
        _ if dirsync::is_passing(&result) => Err(client.search_error(context, &result)),
        _ => Ok(false),
    }
}

/// What is to be done for an account that does not see what is deleted.
fn blindness(client: &Client, context: &str) -> String {
    let (url, account) = (&client.settings.url, &client.settings.bind_name);
    format!(
        "{url}: account '{account}' cannot see what is deleted in '{context}', so that every import reads everything: deletes would be missed \
         otherwise. Let it list and read the container of deleted objects (rights LC and RP), as an administrator of the domain: on Windows \
         `dsacls \"CN=Deleted Objects,{context}\" /takeownership` and `dsacls \"CN=Deleted Objects,{context}\" /G \"{account}:LCRP\"`; on \
         Samba, where samba-tool dsacl does not reach it, by the lines under 'What is deleted' in docs/guide/active-directory.md"
    )
}

/// Which domain controller answers.
async fn server(client: &mut Client, root: &Root) -> Result<Server, ConnectorError> {
    let mut invocation = Vec::new();
    if let Some(service) = &root.service
        && let Some(entry) = client.find(service, Scope::Base, "(objectClass=*)", &["invocationId"]).await?.first()
    {
        invocation = entry.values("invocationId").first().map(|octets| octets.to_vec()).unwrap_or_default();
    }
    Ok(Server { host: root.host.clone().unwrap_or_default().to_ascii_lowercase(), invocation })
}

/// Checks that a watermark can be gone on from; gives it with the number that the server has reached.
pub(super) async fn resume(
    client: &mut Client,
    root: &Root,
    contexts: &[String],
    excluded: &[String],
    (mode, since): (DeltaMode, &[u8]),
) -> Result<(Watermark, Watermark), ConnectorError> {
    let url = client.settings.url.clone();
    let lost = |why: &str| ConnectorError::new(ConnectorErrorKind::WatermarkLost, format!("{url}: {why}"));
    let watermark = Watermark::decode(since).ok_or_else(|| lost("what the last import left to go on from cannot be read"))?;
    if !ways(mode).contains(&watermark.way) {
        return Err(lost("the configuration asks for changes in another way now ([delta] mode)"));
    }
    let same = |(left, right): (&String, &(String, Vec<u8>))| matches!((Dn::parse(left), Dn::parse(&right.0)), (Ok(left), Ok(right)) if left.same(&right));
    if contexts.len() != watermark.contexts.len() || !contexts.iter().zip(&watermark.contexts).all(same) {
        return Err(lost("other naming contexts are imported now than by the last import"));
    }
    let usn = root.usn.ok_or_else(|| lost("the server no longer tells its highestCommittedUSN"))?;
    let server = server(client, root).await?;
    if server.host == watermark.server.host && server.invocation != watermark.server.invocation {
        return Err(lost("the domain controller has another database than at the last import (was it restored from a backup?)"));
    }
    if server != watermark.server && (watermark.way == Way::Usn || root.vendor) {
        let why = format!(
            "another domain controller answers ('{}', before '{}'), on which the place where the last import ended means nothing",
            server.host, watermark.server.host
        );
        return Err(lost(&why));
    }
    if server == watermark.server && usn < watermark.usn {
        return Err(lost("the domain controller has fewer changes than at the last import (was it put back to an earlier state?)"));
    }
    if is_too_much(root.vendor, watermark.way, (watermark.usn, usn)) {
        let why = format!(
            "{} changes since the last import are more than the domain controller can be asked for at once ({UNDIVIDED_MAX}): it does not \
             divide its answers",
            usn.saturating_sub(watermark.usn)
        );
        return Err(lost(&why));
    }
    for context in contexts {
        let sees_deleted = match watermark.way {
            Way::Usn => false,
            way => match dirsync::probe(client, context, way).await? {
                Ok(probe) => probe.sees_deleted,
                Err(said) => return Err(lost(&format!("the server no longer gives changes of '{context}' to the account ({said})"))),
            },
        };
        if !sees_deleted && !shows_deleted(client, context).await? {
            return Err(lost(&blindness(client, context)));
        }
    }
    if let Some(container) = hidden::concealed(client, root, watermark.way, contexts, excluded).await? {
        return Err(lost(&hidden::advice(client, &container)));
    }
    let next = Watermark { server, usn, ..watermark.clone() };
    Ok((watermark, next))
}

/// True when a server that takes no notice of the size that answers should have may have too much to tell: no more objects
/// changed than numbers were given. Microsoft's divide their answers, and numbers are asked for in pages.
fn is_too_much(vendor: bool, way: Way, (before, now): (u64, u64)) -> bool {
    vendor && way != Way::Usn && now.saturating_sub(before) > UNDIVIDED_MAX
}

/// A delta import on a bound connection.
pub(super) fn stream(client: Client, cx: Context, source: Source, watermark: Watermark, next: Watermark) -> ImportStream {
    let (sender, mut receiver) = mpsc::channel(PAGES_AHEAD);
    tokio::spawn(async move {
        let work = tell(client, &source, watermark, next, &sender);
        if let Err(error) = Client::unless_cancelled(&cx, work).await {
            // Nobody listening any more is the same end.
            let _ = sender.send(Err(error)).await;
        }
    });
    futures_util::stream::poll_fn(move |task| receiver.poll_recv(task)).boxed()
}

/// Tells changes in an order in which no later one is needed to understand an earlier one: who changed and who is gone,
/// then who is called what now, then who refers to whom, and last what was read whole.
async fn tell(mut client: Client, source: &Source, since: Watermark, mut next: Watermark, pages: &Pages) -> Result<(), ConnectorError> {
    let place = client.settings.url.clone();
    let mut collector = Collector::new(&source.plan, &place, pages);
    let mut places = Vec::with_capacity(since.contexts.len());
    for (context, cookie) in &since.contexts {
        let cookie = match since.way {
            Way::Usn => {
                usn::read(&mut client, source, (context, since.usn), &mut collector).await?;
                Vec::new()
            }
            way => dirsync::read(&mut client, source, way, (context, cookie), &mut collector).await?,
        };
        places.push((context.clone(), cookie));
    }
    next.contexts = places;
    reread::names(&mut client, source, since.way, &mut collector).await?;
    collector.flush_references().await?;
    reread::whole(&mut client, source, &mut collector).await?;
    collector.flush().await?;
    client.close().await;
    let completion = Completion { watermark: Some(next.encode()), answered_in_full: false };
    let _ = pages.send(Ok(ImportPage::last(completion))).await;
    Ok(())
}

/// Objects of which a delta told changes, and that nobody knows: as they are now. Who came into scope is not new to those
/// who refer to it, but they refer to it by a name that it has no more; they are read, too.
pub(super) async fn find(
    mut client: Client,
    source: &Source,
    host: Option<&str>,
    since: &[u8],
    anchors: &[Anchor],
) -> Result<Vec<ImportPage>, ConnectorError> {
    let place = client.settings.url.clone();
    client.ask_for_extended_names();
    // On another domain controller numbers tell nothing, and everybody counts as one who came into scope.
    let known = Watermark::decode(since).filter(|watermark| host.is_some_and(|host| host.eq_ignore_ascii_case(&watermark.server.host)));
    let mut more = vec!["uSNCreated"];
    more.extend(source.links.iter().map(String::as_str));
    let (pages, _nobody) = mpsc::channel(1);
    let mut collector = Collector::new(&source.plan, &place, &pages);
    let mut builder = PageBuilder::new();
    let wanted = anchors.iter().map(|anchor| Wanted::Guid(anchor.as_bytes().to_vec())).collect();
    let mut reading = Reading::new(source, wanted, &more);
    while let Some(entries) = reading.next(&mut client).await? {
        for entry in &entries {
            let before = builder.len();
            decode_entry(&source.plan, &place, entry, false, &mut Gathered::default(), &mut builder);
            let created: Option<u64> = entry.text("uSNCreated").and_then(|number| number.parse().ok());
            let new = known.as_ref().zip(created).is_some_and(|(watermark, created)| created > watermark.usn);
            if builder.len() > before && !new {
                collector.referrers(entry, &source.links);
            }
        }
    }
    let mut reading = Reading::new(source, std::mem::take(&mut collector.whole), &[]);
    while let Some(entries) = reading.next(&mut client).await? {
        for entry in &entries {
            decode_entry(&source.plan, &place, entry, false, &mut Gathered::default(), &mut builder);
        }
    }
    client.close().await;
    Ok(vec![builder.build(None)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_answers_that_are_not_divided_may_be_too_much() {
        assert!(is_too_much(true, Way::DirSync, (7, 8 + UNDIVIDED_MAX)));
        assert!(is_too_much(true, Way::DirSyncVisible, (7, 8 + UNDIVIDED_MAX)));
        assert!(!is_too_much(true, Way::DirSync, (7, 7 + UNDIVIDED_MAX)));
        assert!(!is_too_much(true, Way::DirSync, (7, 1)));
        assert!(!is_too_much(true, Way::Usn, (7, u64::MAX)));
        assert!(!is_too_much(false, Way::DirSync, (7, u64::MAX)));
    }
}
