//! A search with the Sync Request control, as a series of messages. Nothing here trusts the server.

use crate::connector::ldap::client::{Client, LdapSettings, lost, said};
use crate::connector::ldap::raw::{RawEntry, primitive};
use crate::connector::{ConnectorError, ConnectorErrorKind};
use crate::protocol::ldap::{
    EntryState, SYNC_DONE, SYNC_INFO, SYNC_REQUEST, SYNC_STATE, SyncDone, SyncInfo, SyncMode, SyncState, SyncUuid, sync_request,
};
use ldap3::asn1::{PL, StructureTag};
use ldap3::controls::{Control, RawControl};
use ldap3::{LdapResult, Scope, SearchStream};
use std::sync::Arc;

/// What to synchronize.
pub(super) struct SyncQuestion<'a> {
    pub(super) base: &'a str,
    pub(super) scope: Scope,
    pub(super) filter: &'a str,
    pub(super) attributes: &'a [&'a str],
    pub(super) mode: SyncMode,
    pub(super) cookie: Option<&'a [u8]>,
}

/// What a server says in answer.
pub(super) enum SyncMessage {
    /// Of one entry.
    Entry { state: EntryState, uuid: SyncUuid, entry: RawEntry },
    /// Of many entries, or of where it stands.
    Info(SyncInfo),
    /// The end.
    Done(SyncDone),
}

/// Why there is no further message.
pub(super) enum SyncError {
    /// The server ended the search with another code than success.
    Refused(Refusal),
    /// Nothing more can be expected of it.
    Failed(ConnectorError),
}

/// A refused search.
pub(super) struct Refusal {
    /// The result code (RFC 4511 section 4.1.9, RFC 4533 section 2.6).
    pub(super) code: u32,
    /// The code with its name and what the server added.
    pub(super) said: String,
}

/// A search under way.
pub(super) struct SyncSearch {
    stream: SearchStream<'static, String, Vec<String>>,
    settings: Arc<LdapSettings>,
    during: String,
}

impl Client {
    /// Begins a search; one that goes on for ever may be silent as long as it likes.
    pub(super) async fn synchronize(&mut self, question: &SyncQuestion<'_>) -> Result<SyncSearch, SyncError> {
        let settings = self.settings.clone();
        let during = format!("the synchronization of '{}'", question.base);
        let value = sync_request(question.mode, question.cookie, false);
        self.ldap.with_controls(vec![RawControl { ctype: SYNC_REQUEST.to_owned(), crit: true, val: Some(value) }]);
        if question.mode == SyncMode::RefreshOnly {
            self.ldap.with_timeout(settings.answer_timeout);
        }
        let attributes: Vec<String> = question.attributes.iter().map(|name| (*name).to_owned()).collect();
        match self.ldap.streaming_search(question.base, question.scope, question.filter, attributes).await {
            Ok(stream) => Ok(SyncSearch { stream, settings, during }),
            Err(error) => Err(SyncError::Failed(lost(&settings, &error, &during))),
        }
    }
}

impl SyncSearch {
    /// The next message. Behind [`SyncMessage::Done`] and errors there is none.
    pub(super) async fn next(&mut self) -> Result<SyncMessage, SyncError> {
        loop {
            let found = self.stream.next().await.map_err(|error| SyncError::Failed(lost(&self.settings, &error, &self.during)))?;
            let Some(found) = found else { return self.end().await };
            // References to other servers are for those who follow them.
            if found.is_ref() {
                continue;
            }
            if found.is_intermediate() {
                let Some(value) = sync_info(&found.0) else { continue };
                return SyncInfo::parse(value).map(SyncMessage::Info).ok_or_else(|| self.malformed("a Sync Info message"));
            }
            let state = control(&found.1, SYNC_STATE).ok_or_else(|| self.malformed("an entry without the Sync State control"))?;
            let SyncState { state, uuid, .. } = SyncState::parse(state).ok_or_else(|| self.malformed("a Sync State control"))?;
            return Ok(SyncMessage::Entry { state, uuid, entry: RawEntry::new(found.0) });
        }
    }

    async fn end(&mut self) -> Result<SyncMessage, SyncError> {
        let result: LdapResult = self.stream.finish().await;
        if result.rc != 0 {
            return Err(SyncError::Refused(Refusal { code: result.rc, said: said(&result) }));
        }
        let done = control(&result.ctrls, SYNC_DONE).ok_or_else(|| self.malformed("an end without the Sync Done control"))?;
        let mut done = SyncDone::parse(done).ok_or_else(|| self.malformed("a Sync Done control"))?;
        // An empty cookie is none.
        done.cookie = done.cookie.filter(|cookie| !cookie.is_empty());
        Ok(SyncMessage::Done(done))
    }

    fn malformed(&self, what: &str) -> SyncError {
        let message = format!("{}: {}: the server sent {what} that is against RFC 4533", self.settings.url, self.during);
        SyncError::Failed(ConnectorError::new(ConnectorErrorKind::Protocol, message))
    }
}

fn control<'a>(controls: &'a [Control], name: &str) -> Option<&'a [u8]> {
    controls.iter().find(|control| control.1.ctype == name).and_then(|control| control.1.val.as_deref())
}

/// The value of an intermediate message (RFC 4511 section 4.13) that is a Sync Info message.
fn sync_info(message: &StructureTag) -> Option<&[u8]> {
    let PL::C(parts) = &message.payload else { return None };
    let part = |number: u64| parts.iter().find(|part| part.id == number).and_then(primitive);
    (part(0)? == SYNC_INFO.as_bytes()).then(|| part(1)).flatten()
}
