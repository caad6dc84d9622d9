//! An import over LDAP as a pipeline: one task moves entries from the connection into pages and fetches the rest of
//! long attributes, one thread decodes, and the engine takes pages at its own speed.

use super::client::{Client, Found};
use super::raw::{RawEntry, primitive};
use crate::connector::directory::{Gathered, ImportPlan, PAGES_AHEAD, strip_extended};
use crate::connector::{Completion, ConnectorError, ConnectorErrorKind, DiscoveryError, ImportPage, ImportStream, Legible, PageBuilder};
use crate::context::Context;
use crate::model::ObjectErrorCode;
use crate::protocol::ldap::range_of;
use futures_util::StreamExt as _;
use ldap3::Scope;
use tokio::sync::mpsc;

/// Where to search, and for what.
#[derive(Clone, Debug)]
pub(crate) struct SearchRoot {
    pub(crate) base: String,
    pub(crate) filter: String,
}

/// Everything an import needs besides the connection.
pub(crate) struct StreamPlan {
    pub(crate) roots: Vec<SearchRoot>,
    /// Attribute descriptions to ask for.
    pub(crate) attributes: Vec<String>,
    pub(crate) plan: ImportPlan,
    pub(crate) completion: Completion,
}

/// What the reading task hands to the decoding thread.
pub(super) enum Step {
    /// Entries of a full import.
    Page(Vec<RawEntry>),
    /// Entries that changed: one that is not wanted is gone, if it was wanted before.
    Changed(Vec<RawEntry>),
    /// Anchors of objects that are gone.
    Gone(Vec<String>),
    /// Anchors of objects that are there and unchanged.
    Present(Vec<String>),
    /// Something changed and could not be read, as this sentence says.
    Untold(String),
    /// The end, with what people should know.
    Done(Completion, Vec<String>),
    Failed(ConnectorError),
}

/// Codes of problems that have no constant because the engine never raises them itself.
const READ_ERROR: &str = "read-error";

/// Rounds of range retrieval for one attribute at most: 1,500 values each make 150 million.
const RANGES_MAX: usize = 100_000;

/// Starts an import on a bound connection.
pub(crate) fn stream(client: Client, cx: Context, plan: StreamPlan) -> ImportStream {
    stream_noting(client, cx, plan, Vec::new())
}

/// As [`stream`]; the last page says what people should know.
pub(super) fn stream_noting(client: Client, cx: Context, plan: StreamPlan, notes: Vec<String>) -> ImportStream {
    let StreamPlan { roots, attributes, plan, completion } = plan;
    let place = client.settings.url.clone();
    pipeline(cx, plan, place, move |sender| async move {
        read(client, &roots, &attributes, &sender).await?;
        Ok((completion, notes))
    })
}

/// Runs `read` as a task that hands steps to a decoding thread; what it comes to is the end of the stream.
pub(super) fn pipeline<F>(
    cx: Context,
    plan: ImportPlan,
    place: String,
    read: impl FnOnce(mpsc::Sender<Step>) -> F + Send + 'static,
) -> ImportStream
where
    F: Future<Output = Result<(Completion, Vec<String>), ConnectorError>> + Send,
{
    let (raw_sender, raw_receiver) = mpsc::channel(1);
    let (sender, mut receiver) = mpsc::channel(PAGES_AHEAD);
    tokio::spawn(async move {
        let last = match Client::unless_cancelled(&cx, read(raw_sender.clone())).await {
            Ok((completion, notes)) => Step::Done(completion, notes),
            Err(error) => Step::Failed(error),
        };
        // Nobody listening any more is the same end.
        let _ = raw_sender.send(last).await;
    });
    tokio::task::spawn_blocking(move || decode(&plan, &place, raw_receiver, &sender));
    futures_util::stream::poll_fn(move |task| receiver.poll_recv(task)).boxed()
}

async fn read(mut client: Client, roots: &[SearchRoot], attributes: &[String], sender: &mpsc::Sender<Step>) -> Result<(), ConnectorError> {
    let wanted: Vec<&str> = attributes.iter().map(String::as_str).collect();
    for root in roots {
        let mut cookie = Vec::new();
        loop {
            let Found { mut entries, cookie: next } = client.page(&root.base, Scope::Subtree, &root.filter, &wanted, &cookie).await?;
            for entry in &mut entries {
                complete(&mut client, entry).await?;
            }
            if sender.send(Step::Page(entries)).await.is_err() {
                // The engine has ended the import.
                client.close().await;
                return Ok(());
            }
            if next.is_empty() {
                break;
            }
            cookie = next;
        }
    }
    client.close().await;
    Ok(())
}

/// One of the searches by which objects are looked for once more.
pub(crate) struct Question {
    pub(crate) base: String,
    pub(crate) scope: Scope,
    pub(crate) filter: String,
}

/// Asks for single objects and gives those that are there and in scope.
pub(crate) async fn find(mut client: Client, plan: &StreamPlan, questions: &[Question]) -> Result<Vec<ImportPage>, ConnectorError> {
    let wanted: Vec<&str> = plan.attributes.iter().map(String::as_str).collect();
    let place = client.settings.url.clone();
    let mut builder = PageBuilder::new();
    for question in questions {
        for mut entry in client.find(&question.base, question.scope, &question.filter, &wanted).await? {
            complete(&mut client, &mut entry).await?;
            decode_entry(&plan.plan, &place, &entry, false, &mut Gathered::default(), &mut builder);
        }
    }
    client.close().await;
    Ok(vec![builder.build(None)])
}

/// Fetches what is missing of attributes that came in part.
pub(crate) async fn complete(client: &mut Client, entry: &mut RawEntry) -> Result<(), ConnectorError> {
    let mut partial = Vec::new();
    for (description, _) in entry.attributes().into_iter().flatten() {
        if let Some((name, _, Some(last))) = range_of(description) {
            partial.push((name.to_owned(), last));
        }
    }
    let Some(dn) = entry.dn().and_then(|dn| std::str::from_utf8(dn).ok()).map(|dn| strip_extended(dn).to_owned()) else {
        return Ok(());
    };
    for (name, last) in partial {
        let values = rest_of(client, &dn, &name, last).await?;
        entry.more.push((name, values));
    }
    Ok(())
}

async fn rest_of(client: &mut Client, dn: &str, name: &str, mut last: u64) -> Result<Vec<Vec<u8>>, ConnectorError> {
    let mut values = Vec::new();
    for _ in 0..RANGES_MAX {
        let from = last.saturating_add(1);
        let to = match client.settings.value_range {
            Some(portion) => (last.saturating_add(u64::from(portion.max(1)))).to_string(),
            None => "*".to_owned(),
        };
        let wanted = format!("{name};range={from}-{to}");
        let found = client.read(dn, &[&wanted]).await?;
        let Some(found) = found else { return Err(changed(client, dn, name)) };
        let Some(attributes) = found.attributes() else { return Err(changed(client, dn, name)) };
        let mut reached = None;
        for (description, part) in attributes {
            if let Some((other, first, end)) = range_of(description)
                && other.eq_ignore_ascii_case(name)
                && first == from
            {
                values.extend(part.iter().filter_map(primitive).map(<[u8]>::to_vec));
                reached = Some(end);
            }
        }
        match reached {
            Some(None) => return Ok(values),
            Some(Some(end)) if end >= from => last = end,
            _ => return Err(changed(client, dn, name)),
        }
    }
    Err(changed(client, dn, name))
}

fn changed(client: &Client, dn: &str, name: &str) -> ConnectorError {
    ConnectorError::new(
        ConnectorErrorKind::Protocol,
        format!(
            "{}: '{dn}': the server did not give the remaining values of {name}; it may have changed meanwhile, run the import again",
            client.settings.url
        ),
    )
}

fn decode(plan: &ImportPlan, place: &str, mut receiver: mpsc::Receiver<Step>, sender: &mpsc::Sender<Result<ImportPage, ConnectorError>>) {
    while let Some(step) = receiver.blocking_recv() {
        let sent = match step {
            Step::Failed(error) => {
                let _ = sender.blocking_send(Err(error));
                return;
            }
            Step::Done(completion, notes) => {
                let mut last = ImportPage::last(completion);
                last.notes = notes;
                let _ = sender.blocking_send(Ok(last));
                return;
            }
            Step::Page(entries) => decode_page(plan, place, &entries, false, sender),
            Step::Changed(entries) => decode_page(plan, place, &entries, true, sender),
            Step::Gone(anchors) => {
                let page = of_anchors(&anchors, PageBuilder::begin_gone);
                sender.blocking_send(Ok(page)).is_ok()
            }
            Step::Present(anchors) => {
                let page = of_anchors(&anchors, PageBuilder::begin_present);
                sender.blocking_send(Ok(page)).is_ok()
            }
            Step::Untold(note) => sender.blocking_send(Ok(ImportPage::untold(note))).is_ok(),
        };
        if !sent {
            return;
        }
    }
    // The reading task ended without a word: the stream ends without completion, which is how a cut looks.
}

/// A page about objects of which nothing but the anchor is known.
fn of_anchors(anchors: &[String], begin: impl Fn(&mut PageBuilder, &str)) -> ImportPage {
    let mut builder = PageBuilder::new();
    for anchor in anchors {
        begin(&mut builder, "");
        builder.anchor(anchor.as_bytes());
        builder.finish();
    }
    builder.build(None)
}

/// False when nobody takes pages any more.
fn decode_page(
    plan: &ImportPlan,
    place: &str,
    entries: &[RawEntry],
    changed: bool,
    sender: &mpsc::Sender<Result<ImportPage, ConnectorError>>,
) -> bool {
    let mut builder = PageBuilder::new();
    let mut gathered = Gathered::default();
    for entry in entries {
        decode_entry(plan, place, entry, changed, &mut gathered, &mut builder);
        if builder.is_full() && sender.blocking_send(Ok(std::mem::take(&mut builder).build(None))).is_err() {
            return false;
        }
    }
    let page = builder.build(None);
    (page.is_empty() && page.filtered == 0) || sender.blocking_send(Ok(page)).is_ok()
}

/// One whole entry: as an item of a page, as filtered, or as a problem. With `changed` it was there before and may have
/// left the scope.
pub(crate) fn decode_entry<'e>(
    plan: &ImportPlan,
    place: &str,
    entry: &'e RawEntry,
    changed: bool,
    gathered: &mut Gathered<'e>,
    builder: &mut PageBuilder,
) {
    match (entry.dn(), entry.attributes()) {
        (Some(dn), Some(attributes)) => {
            for (description, values) in attributes {
                if let Some(known) = plan.known(description) {
                    for octets in values.iter().filter_map(primitive) {
                        gathered.push(known, octets);
                    }
                }
            }
            for (name, values) in &entry.more {
                if let Some(known) = plan.known(name) {
                    for octets in values {
                        gathered.push(known, octets);
                    }
                }
            }
            let place = || place.to_owned();
            if changed {
                plan.changed_entry(builder, dn, gathered, &place);
            } else {
                plan.entry(builder, dn, gathered, &place);
            }
        }
        (dn, _) => {
            let dn = dn.and_then(|dn| std::str::from_utf8(dn).ok()).map(str::to_owned);
            let detail = format!("{place}: an entry that does not have the form of one ({})", dn.as_deref().unwrap_or("without a name"));
            builder.reject(DiscoveryError {
                code: ObjectErrorCode::named(READ_ERROR),
                detail,
                dn,
                anchor: None,
                legible: Legible::default(),
            });
        }
    }
}
