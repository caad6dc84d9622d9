//! Whether a server tells an account what changed, and from where on.

use super::parse_uuid;
use super::search::{Refusal, SyncError, SyncMessage, SyncQuestion};
use super::watermark::{Watermark, is_usable};
use crate::connector::ldap::client::Client;
use crate::connector::ldap::raw::RawEntry;
use crate::connector::ldap::stream::SearchRoot;
use crate::connector::{ConnectorError, ConnectorErrorKind};
use crate::model::Dn;
use crate::protocol::ldap::{SYNC_REQUEST, SyncMode, SyncUuid};
use ldap3::Scope;
use xxhash_rust::xxh3::xxh3_64;

/// Matches no entry: what is asked for is only how far the server has got.
const NOTHING: &str = "(!(objectClass=*))";
/// Both attributes must be there for whoever searches by them, or the server passes over what changed.
const MARKED: &str = "(&(entryUUID=*)(entryCSN=*))";

/// What is synchronized.
#[derive(Clone, Debug)]
pub(in crate::connector::ldap) struct Content {
    /// The naming context: nobody moves out of it, so that every move is told by name.
    pub(super) context: String,
    /// The `entryUUID` of its entry.
    pub(super) database: SyncUuid,
    /// The wanted object types, and whoever has entries below: those move with it and are not told.
    pub(super) filter: String,
}

/// Whether changes are told.
pub(in crate::connector::ldap) enum Ability {
    /// They are.
    Able(Content),
    /// They are not: why, and what to do.
    Unable(String),
}

impl Content {
    /// The watermark of a cookie.
    pub(super) fn watermark(&self, cookie: Vec<u8>) -> Watermark {
        Watermark { database: self.database, question: self.question(), cookie }
    }

    /// True when the watermark was taken here, with the same question.
    pub(in crate::connector::ldap) fn owns(&self, watermark: &Watermark) -> bool {
        watermark.database == self.database && watermark.question == self.question()
    }

    fn question(&self) -> u64 {
        let context = Dn::parse(&self.context).map_or_else(|_| self.context.clone().into_bytes(), |dn| dn.key().as_bytes().to_vec());
        xxh3_64(&[&context[..], b"\0", self.filter.as_bytes()].concat())
    }
}

/// Finds out whether the account is told what changes below the roots. `root_entry` is the server's own entry, with
/// `namingContexts` and `supportedControl`.
///
/// # Errors
/// When the server does not answer.
pub(in crate::connector::ldap) async fn ability(
    client: &mut Client,
    root_entry: &RawEntry,
    base: &Dn,
    roots: &[SearchRoot],
    class_filter: &str,
) -> Result<Ability, ConnectorError> {
    let account = client.settings.bind_name.clone();
    if !root_entry.texts("supportedControl").contains(&SYNC_REQUEST) {
        return Ok(Ability::Unable(format!(
            "every import reads everything, because the server does not tell what changes (control {SYNC_REQUEST}, RFC 4533): for OpenLDAP \
             load the module syncprov, add the overlay to the database, and give it a session log (`syncprov-sessionlog 10000`)"
        )));
    }
    let key = base.key();
    let contexts = root_entry.texts("namingContexts").into_iter().filter_map(|text| Dn::parse(text).ok());
    let context = contexts.filter(|context| key.is_within(&context.key())).max_by_key(Dn::depth);
    let context = context.as_ref().unwrap_or(base).as_str().to_owned();
    let mut database = None;
    for place in std::iter::once(context.as_str()).chain(roots.iter().map(|root| root.base.as_str())) {
        let found = match client.find(place, Scope::Base, MARKED, &["entryUUID"]).await {
            Err(error) if error.kind == ConnectorErrorKind::Permission => Vec::new(),
            found => found?,
        };
        let Some(uuid) = found.first().and_then(|entry| parse_uuid(entry.values("entryUUID").first()?)) else {
            return Ok(Ability::Unable(format!(
                "every import reads everything, because account '{account}' may not read and search entryUUID and entryCSN of '{place}', \
                 without which the server keeps changes to itself: give it the right to read everything below '{context}', with all \
                 operational attributes"
            )));
        };
        database.get_or_insert(uuid);
    }
    let filter = format!("(|{class_filter}(hasSubordinates=TRUE))");
    Ok(Ability::Able(Content { context, database: database.unwrap_or_default(), filter }))
}

/// Where the server stands now: taken before everything is read, so that whatever changes meanwhile is told by the next
/// delta import. A sentence when it does not say.
///
/// # Errors
/// When the server does not answer.
pub(in crate::connector::ldap) async fn position(
    client: &mut Client,
    content: &Content,
) -> Result<Result<Watermark, String>, ConnectorError> {
    let question = SyncQuestion {
        base: &content.context,
        scope: Scope::Base,
        filter: NOTHING,
        attributes: &["1.1"],
        mode: SyncMode::RefreshOnly,
        cookie: None,
    };
    let mut search = match client.synchronize(&question).await {
        Ok(search) => search,
        Err(error) => return refused(&content.context, error),
    };
    loop {
        match search.next().await {
            Ok(SyncMessage::Done(done)) => {
                let Some(cookie) = done.cookie.filter(|cookie| is_usable(cookie)) else {
                    return Ok(Err(format!(
                        "the next import reads everything again, because the server does not say how far '{}' has got: nothing was written \
                         there since the overlay syncprov was added",
                        content.context
                    )));
                };
                return Ok(Ok(content.watermark(cookie)));
            }
            Ok(_) => {}
            Err(error) => return refused(&content.context, error),
        }
    }
}

fn refused(context: &str, error: SyncError) -> Result<Result<Watermark, String>, ConnectorError> {
    match error {
        SyncError::Refused(Refusal { said, .. }) => Ok(Err(format!(
            "every import reads everything, because the server does not tell what changes below '{context}' ({said}): for OpenLDAP add the \
             overlay syncprov to that database, with a session log (`syncprov-sessionlog 10000`)"
        ))),
        SyncError::Failed(error) => Err(error),
    }
}
