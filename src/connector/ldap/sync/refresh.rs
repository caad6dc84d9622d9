//! One refresh: who changed, who is gone, and how far the server is now.

use super::content::Content;
use super::parse_uuid;
use super::search::{Refusal, SyncError, SyncMessage, SyncQuestion};
use crate::connector::ldap::client::Client;
use crate::connector::ldap::raw::RawEntry;
use crate::connector::{ConnectorError, ConnectorErrorKind};
use crate::model::{Dn, DnKey};
use crate::protocol::ldap::{EntryState, SyncInfo, SyncMode, SyncUuid};
use ldap3::Scope;

/// Entries that one refresh may name, sixteen octets each. Beyond it, reading everything page by page is better.
const NAMED_MAX: usize = 8_000_000;
/// Entries with others below them that may have changed at once.
const CONTAINERS_MAX: usize = 100_000;

/// What a refresh told.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// New, changed or renamed.
    pub(super) changed: Vec<SyncUuid>,
    /// Gone, and not back since.
    pub(super) gone: Vec<SyncUuid>,
    /// Still there and unchanged; told only where it matters.
    pub(super) present: Vec<SyncUuid>,
    /// Whoever was not named is gone.
    pub(super) whole: bool,
    /// Changed entries with others below them, none within another.
    pub(super) containers: Vec<String>,
    /// How far the server is now; as far as before without it.
    pub(super) cookie: Option<Vec<u8>>,
}

/// Asks what changed since the cookie. Nothing of an answer counts before its end.
///
/// # Errors
/// [`ConnectorErrorKind::WatermarkLost`] when only reading everything helps.
pub(super) async fn refresh(client: &mut Client, content: &Content, cookie: &[u8]) -> Result<Changes, ConnectorError> {
    let url = client.settings.url.clone();
    let explain = |error| match error {
        SyncError::Failed(error) => error,
        SyncError::Refused(refusal) => refused(&url, &content.context, &refusal),
    };
    let question = SyncQuestion {
        base: &content.context,
        scope: Scope::Subtree,
        filter: &content.filter,
        attributes: &["entryUUID", "hasSubordinates"],
        mode: SyncMode::RefreshOnly,
        cookie: Some(cookie),
    };
    let mut search = client.synchronize(&question).await.map_err(explain)?;
    let mut gathering = Gathering { context: Dn::parse(&content.context).ok().map(|dn| dn.key()), ..Gathering::default() };
    loop {
        match search.next().await.map_err(explain)? {
            SyncMessage::Entry { state, uuid, entry } => gathering.entry(state, uuid, &entry, &url)?,
            SyncMessage::Info(SyncInfo::IdSet { deletes: true, uuids, .. }) => gathering.changes.gone.extend(uuids),
            SyncMessage::Info(SyncInfo::IdSet { deletes: false, uuids, .. }) => gathering.changes.present.extend(uuids),
            SyncMessage::Info(SyncInfo::RefreshPresent { .. }) => gathering.changes.whole = true,
            // Cookies before the end would be those of an interrupted refresh, and this one is repeated as a whole.
            SyncMessage::Info(SyncInfo::NewCookie(_) | SyncInfo::RefreshDelete { .. }) => {}
            SyncMessage::Done(done) => {
                gathering.changes.whole |= !done.refresh_deletes;
                gathering.changes.cookie = done.cookie;
                return Ok(gathering.finish());
            }
        }
        if gathering.is_too_much() {
            let message = format!("{url}: so much changed below '{}' that everything is read anew, page by page", content.context);
            return Err(ConnectorError::new(ConnectorErrorKind::WatermarkLost, message));
        }
    }
}

#[derive(Default)]
struct Gathering {
    changes: Changes,
    containers: Vec<(DnKey, String)>,
    context: Option<DnKey>,
}

impl Gathering {
    fn entry(&mut self, state: EntryState, uuid: SyncUuid, entry: &RawEntry, url: &str) -> Result<(), ConnectorError> {
        match state {
            EntryState::Present => self.changes.present.push(uuid),
            EntryState::Delete => self.changes.gone.push(uuid),
            EntryState::Add | EntryState::Modify => {
                if entry.values("entryUUID").first().is_some_and(|text| parse_uuid(text) != Some(uuid)) {
                    // What it tells as gone would be somebody else, or nobody.
                    let message =
                        format!("{url}: the server's names for synchronization are not its entryUUIDs; its changes cannot be used");
                    return Err(ConnectorError::new(ConnectorErrorKind::WatermarkLost, message));
                }
                self.changes.changed.push(uuid);
                self.container(entry);
            }
        }
        Ok(())
    }

    /// Those below a renamed entry have new names, and the server does not tell them.
    fn container(&mut self, entry: &RawEntry) {
        if !entry.text("hasSubordinates").is_some_and(|text| text.eq_ignore_ascii_case("TRUE")) {
            return;
        }
        let dn = entry.dn().and_then(|octets| std::str::from_utf8(octets).ok()).and_then(|text| Dn::parse(text).ok());
        let Some(dn) = dn else { return };
        let key = dn.key();
        // The naming context itself cannot be renamed.
        if Some(&key) != self.context.as_ref() {
            self.containers.push((key, dn.as_str().to_owned()));
        }
    }

    fn is_too_much(&self) -> bool {
        let Changes { changed, gone, present, .. } = &self.changes;
        changed.len() + gone.len() + present.len() > NAMED_MAX || self.containers.len() > CONTAINERS_MAX
    }

    fn finish(mut self) -> Changes {
        let changes = &mut self.changes;
        for list in [&mut changes.changed, &mut changes.gone, &mut changes.present] {
            list.sort_unstable();
            list.dedup();
        }
        // Whoever changed is read, which tells more than any message.
        changes.gone.retain(|uuid| changes.changed.binary_search(uuid).is_err());
        changes.present.retain(|uuid| changes.changed.binary_search(uuid).is_err());
        if !changes.whole {
            changes.present = Vec::new();
        }
        // A key begins with that of its parent: whoever lies within another one comes right behind it.
        self.containers.sort_by(|(left, _), (right, _)| left.as_bytes().cmp(right.as_bytes()));
        let mut roots: Vec<(DnKey, String)> = Vec::new();
        for (key, dn) in self.containers {
            if !roots.last().is_some_and(|(root, _)| key.is_within(root)) {
                roots.push((key, dn));
            }
        }
        self.changes.containers = roots.into_iter().map(|(_, dn)| dn).collect();
        self.changes
    }
}

fn refused(url: &str, context: &str, Refusal { code, said }: &Refusal) -> ConnectorError {
    let (kind, advice) = match code {
        // e-syncRefreshRequired (RFC 4533 section 2.6).
        4096 => {
            (ConnectorErrorKind::WatermarkLost, "the server no longer knows what changed since the last import; everything is read anew")
        }
        3 | 4 | 11 => (
            ConnectorErrorKind::WatermarkLost,
            "more changed than the server's limits let this account have at once, so everything is read anew; raise them (for OpenLDAP: \
             limits dn.exact=\"…\" size=unlimited time=unlimited)",
        ),
        12 => (
            ConnectorErrorKind::WatermarkLost,
            "the server does not tell what changes any more (overlay syncprov); everything is read anew",
        ),
        53 => (
            ConnectorErrorKind::Search,
            "the server is older than what was read from it: it lags behind another one, or was restored from a backup. Wait until it has \
             caught up; if it is right as it is, run a full import",
        ),
        51 | 52 => (ConnectorErrorKind::Busy, "the server is busy; try again later"),
        50 => (ConnectorErrorKind::Permission, "the account may not synchronize"),
        32 => (ConnectorErrorKind::Search, "it does not exist, or the account may not see it"),
        _ => (ConnectorErrorKind::Search, "the server refused to tell what changed"),
    };
    ConnectorError::new(kind, format!("{url}: synchronization of '{context}': {advice} ({said})"))
}
