//! An import over LDAP as a pipeline: one task moves entries from the connection into pages and fetches the rest of
//! long attributes, one thread decodes, and the engine takes pages at its own speed.

use super::client::{Client, Found};
use super::raw::{RawEntry, primitive};
use crate::connector::directory::{Gathered, ImportPlan, PAGE_ENTRIES, PAGE_OCTETS, PAGES_AHEAD};
use crate::connector::{Completion, ConnectorError, ConnectorErrorKind, DiscoveryError, ImportPage, ImportStream, PageBuilder};
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
enum Step {
    Page(Vec<RawEntry>),
    Done,
    Failed(ConnectorError),
}

/// Codes of problems that have no constant because the engine never raises them itself.
const READ_ERROR: &str = "read-error";

/// Rounds of range retrieval for one attribute at most: 1,500 values each make 150 million.
const RANGES_MAX: usize = 100_000;

/// Starts an import on a bound connection.
pub(crate) fn stream(client: Client, cx: Context, plan: StreamPlan) -> ImportStream {
    let (raw_sender, raw_receiver) = mpsc::channel(1);
    let (sender, mut receiver) = mpsc::channel(PAGES_AHEAD);
    let StreamPlan { roots, attributes, plan, completion } = plan;
    let place = client.settings.url.clone();
    tokio::spawn(async move {
        let last = match Client::unless_cancelled(&cx, read(client, &roots, &attributes, &raw_sender)).await {
            Ok(()) => Step::Done,
            Err(error) => Step::Failed(error),
        };
        // Nobody listening any more is the same end.
        let _ = raw_sender.send(last).await;
    });
    tokio::task::spawn_blocking(move || decode(&plan, &place, completion, raw_receiver, &sender));
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
            decode_entry(&plan.plan, &place, &entry, &mut Gathered::default(), &mut builder);
        }
    }
    client.close().await;
    Ok(vec![builder.build(None)])
}

/// Fetches what is missing of attributes that came in part.
async fn complete(client: &mut Client, entry: &mut RawEntry) -> Result<(), ConnectorError> {
    let mut partial = Vec::new();
    for (description, _) in entry.attributes().into_iter().flatten() {
        if let Some((name, _, Some(last))) = range_of(description) {
            partial.push((name.to_owned(), last));
        }
    }
    let Some(dn) = entry.dn().and_then(|dn| std::str::from_utf8(dn).ok()).map(str::to_owned) else { return Ok(()) };
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

fn decode(
    plan: &ImportPlan,
    place: &str,
    completion: Completion,
    mut receiver: mpsc::Receiver<Step>,
    sender: &mpsc::Sender<Result<ImportPage, ConnectorError>>,
) {
    let mut completion = Some(completion);
    while let Some(step) = receiver.blocking_recv() {
        let sent = match step {
            Step::Failed(error) => {
                let _ = sender.blocking_send(Err(error));
                return;
            }
            Step::Done => {
                let _ = sender.blocking_send(Ok(ImportPage::last(completion.take().unwrap_or_default())));
                return;
            }
            Step::Page(entries) => decode_page(plan, place, &entries, sender),
        };
        if !sent {
            return;
        }
    }
    // The reading task ended without a word: the stream ends without completion, which is how a cut looks.
}

/// False when nobody takes pages any more.
fn decode_page(plan: &ImportPlan, place: &str, entries: &[RawEntry], sender: &mpsc::Sender<Result<ImportPage, ConnectorError>>) -> bool {
    let mut builder = PageBuilder::new();
    let mut gathered = Gathered::default();
    for entry in entries {
        decode_entry(plan, place, entry, &mut gathered, &mut builder);
        if (builder.len() >= PAGE_ENTRIES || builder.octets() >= PAGE_OCTETS)
            && sender.blocking_send(Ok(std::mem::take(&mut builder).build(None))).is_err()
        {
            return false;
        }
    }
    let page = builder.build(None);
    (page.is_empty() && page.filtered == 0) || sender.blocking_send(Ok(page)).is_ok()
}

fn decode_entry<'e>(plan: &ImportPlan, place: &str, entry: &'e RawEntry, gathered: &mut Gathered<'e>, builder: &mut PageBuilder) {
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
            plan.entry(builder, dn, gathered, &|| place.to_owned());
        }
        (dn, _) => {
            let dn = dn.and_then(|dn| std::str::from_utf8(dn).ok()).map(str::to_owned);
            let detail = format!("{place}: an entry that does not have the form of one ({})", dn.as_deref().unwrap_or("without a name"));
            builder.reject(DiscoveryError { code: ObjectErrorCode::named(READ_ERROR), detail, dn, anchor: None });
        }
    }
}
