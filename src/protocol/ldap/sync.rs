//! The controls and the message of content synchronization (RFC 4533 section 2), written and read by hand: `ldap3` has
//! parsers for them that end the program at a malformed value.

use super::ber::{element, push};

/// Object identifier of the Sync Request control.
pub const SYNC_REQUEST: &str = "1.3.6.1.4.1.4203.1.9.1.1";
/// Object identifier of the Sync State control, which comes with every entry.
pub const SYNC_STATE: &str = "1.3.6.1.4.1.4203.1.9.1.2";
/// Object identifier of the Sync Done control, which comes with the result.
pub const SYNC_DONE: &str = "1.3.6.1.4.1.4203.1.9.1.3";
/// Object identifier of the Sync Info message, which comes between entries.
pub const SYNC_INFO: &str = "1.3.6.1.4.1.4203.1.9.1.4";

const BOOLEAN: u8 = 0x01;
const OCTETS: u8 = 0x04;
const ENUMERATED: u8 = 0x0a;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

/// The `entryUUID` of an entry, as sixteen octets.
pub type SyncUuid = [u8; 16];

/// What a client asks for (section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncMode {
    /// What changed up to now.
    RefreshOnly,
    /// What changed up to now, and then every change when it happens.
    RefreshAndPersist,
}

/// What a server says of an entry (section 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryState {
    /// Unchanged and still there.
    Present,
    /// New to the content, or changed.
    Add,
    /// Changed.
    Modify,
    /// No longer in the content.
    Delete,
}

/// The Sync State control.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncState {
    /// What became of the entry.
    pub state: EntryState,
    /// Which entry.
    pub uuid: SyncUuid,
    /// How far the client would be behind this entry.
    pub cookie: Option<Vec<u8>>,
}

/// The Sync Done control (section 2.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncDone {
    /// How far the client is now; without it, as far as before.
    pub cookie: Option<Vec<u8>>,
    /// Deletes were told one by one. Otherwise whatever was not named is gone.
    pub refresh_deletes: bool,
}

/// The Sync Info message (section 2.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyncInfo {
    /// Nothing but a newer cookie.
    NewCookie(Vec<u8>),
    /// The delete phase is over.
    RefreshDelete {
        /// How far the client is now.
        cookie: Option<Vec<u8>>,
        /// The refresh is over as well.
        done: bool,
    },
    /// The present phase is over: whatever was not named in it is gone.
    RefreshPresent {
        /// How far the client is now.
        cookie: Option<Vec<u8>>,
        /// The refresh is over as well.
        done: bool,
    },
    /// Many entries at once.
    IdSet {
        /// How far the client would be behind this message.
        cookie: Option<Vec<u8>>,
        /// These entries are gone. Otherwise they are unchanged and still there.
        deletes: bool,
        /// Which entries.
        uuids: Vec<SyncUuid>,
    },
}

/// The value of the control that asks for synchronization. Without a cookie everything is sent; `reload` says that the
/// server may do the same when it cannot use the cookie.
pub fn sync_request(mode: SyncMode, cookie: Option<&[u8]>, reload: bool) -> Vec<u8> {
    let mut body = Vec::with_capacity(cookie.map_or(0, <[u8]>::len) + 16);
    push(&mut body, ENUMERATED, &[if mode == SyncMode::RefreshOnly { 1 } else { 3 }]);
    if let Some(cookie) = cookie {
        push(&mut body, OCTETS, cookie);
    }
    if reload {
        push(&mut body, BOOLEAN, &[0xff]);
    }
    let mut value = Vec::with_capacity(body.len() + 6);
    push(&mut value, SEQUENCE, &body);
    value
}

impl SyncState {
    /// Reads the control's value; `None` when it is no such value.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let mut parts = Parts::of(value, SEQUENCE)?;
        let state = match parts.take(ENUMERATED)? {
            [0] => EntryState::Present,
            [1] => EntryState::Add,
            [2] => EntryState::Modify,
            [3] => EntryState::Delete,
            _ => return None,
        };
        let uuid = parts.take(OCTETS)?.try_into().ok()?;
        let cookie = parts.cookie().ok()?;
        parts.end(Self { state, uuid, cookie })
    }
}

impl SyncDone {
    /// Reads the control's value; `None` when it is no such value.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let mut parts = Parts::of(value, SEQUENCE)?;
        let cookie = parts.cookie().ok()?;
        let refresh_deletes = parts.flag(false)?;
        parts.end(Self { cookie, refresh_deletes })
    }
}

impl SyncInfo {
    /// Reads the message's value; `None` when it is no such value.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (tag, content, rest) = element(value)?;
        if !rest.is_empty() {
            return None;
        }
        let mut parts = Parts { rest: content };
        match tag {
            0x80 => Some(Self::NewCookie(content.to_vec())),
            0xa1 | 0xa2 => {
                let cookie = parts.cookie().ok()?;
                let done = parts.flag(true)?;
                parts.end(if tag == 0xa1 { Self::RefreshDelete { cookie, done } } else { Self::RefreshPresent { cookie, done } })
            }
            0xa3 => {
                let cookie = parts.cookie().ok()?;
                let deletes = parts.flag(false)?;
                let mut set = Parts { rest: parts.take(SET)? };
                // Each takes eighteen octets of what was received, so that the message bounds the list.
                let mut uuids = Vec::with_capacity(set.rest.len() / 18);
                while !set.rest.is_empty() {
                    uuids.push(set.take(OCTETS)?.try_into().ok()?);
                }
                parts.end(Self::IdSet { cookie, deletes, uuids })
            }
            _ => None,
        }
    }
}

/// An element that is not what its tag says.
struct Malformed;

/// The elements of a sequence, one after the other.
struct Parts<'a> {
    rest: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(value: &'a [u8], wanted: u8) -> Option<Self> {
        let (tag, content, rest) = element(value)?;
        (tag == wanted && rest.is_empty()).then_some(Self { rest: content })
    }

    /// The next element, which must have this tag.
    fn take(&mut self, wanted: u8) -> Option<&'a [u8]> {
        let (tag, content, rest) = element(self.rest)?;
        if tag != wanted {
            return None;
        }
        self.rest = rest;
        Some(content)
    }

    /// An element that may be absent; the end of parsing when it is there and broken.
    fn cookie(&mut self) -> Result<Option<Vec<u8>>, Malformed> {
        if self.rest.first() != Some(&OCTETS) {
            return Ok(None);
        }
        self.take(OCTETS).map(|cookie| Some(cookie.to_vec())).ok_or(Malformed)
    }

    fn flag(&mut self, absent: bool) -> Option<bool> {
        if self.rest.first() != Some(&BOOLEAN) {
            return Some(absent);
        }
        match self.take(BOOLEAN)? {
            [octet] => Some(*octet != 0),
            _ => None,
        }
    }

    fn end<T>(&self, parsed: T) -> Option<T> {
        self.rest.is_empty().then_some(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: SyncUuid = *b"0123456789abcdef";

    fn made(tag: u8, parts: &[(u8, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (tag, content) in parts {
            push(&mut body, *tag, content);
        }
        let mut value = Vec::new();
        push(&mut value, tag, &body);
        value
    }

    #[test]
    fn requests_have_the_form_of_the_standard() {
        assert_eq!(sync_request(SyncMode::RefreshOnly, None, false), [0x30, 3, 10, 1, 1]);
        assert_eq!(sync_request(SyncMode::RefreshAndPersist, Some(b"ab"), true), [0x30, 10, 10, 1, 3, 4, 2, b'a', b'b', 1, 1, 0xff]);
    }

    #[test]
    fn states_and_ends_are_read() {
        let value = made(SEQUENCE, &[(ENUMERATED, &[3]), (OCTETS, &UUID), (OCTETS, b"c")]);
        assert_eq!(SyncState::parse(&value), Some(SyncState { state: EntryState::Delete, uuid: UUID, cookie: Some(b"c".to_vec()) }));
        let short = made(SEQUENCE, &[(ENUMERATED, &[1]), (OCTETS, &UUID[1..])]);
        assert_eq!(SyncState::parse(&short), None);
        assert_eq!(SyncState::parse(&made(SEQUENCE, &[(ENUMERATED, &[4]), (OCTETS, &UUID)])), None);
        assert_eq!(SyncDone::parse(&made(SEQUENCE, &[])), Some(SyncDone { cookie: None, refresh_deletes: false }));
        let value = made(SEQUENCE, &[(OCTETS, b"c"), (BOOLEAN, &[0xff])]);
        assert_eq!(SyncDone::parse(&value), Some(SyncDone { cookie: Some(b"c".to_vec()), refresh_deletes: true }));
        assert_eq!(SyncDone::parse(&made(SEQUENCE, &[(BOOLEAN, &[0xff]), (OCTETS, b"c")])), None);
    }

    #[test]
    fn messages_are_read_with_their_defaults() {
        assert_eq!(SyncInfo::parse(&[0x80, 1, b'c']), Some(SyncInfo::NewCookie(b"c".to_vec())));
        assert_eq!(SyncInfo::parse(&made(0xa1, &[])), Some(SyncInfo::RefreshDelete { cookie: None, done: true }));
        let value = made(0xa2, &[(OCTETS, b"c"), (BOOLEAN, &[0])]);
        assert_eq!(SyncInfo::parse(&value), Some(SyncInfo::RefreshPresent { cookie: Some(b"c".to_vec()), done: false }));
        let many: Vec<(u8, &[u8])> = vec![(OCTETS, &UUID); 300];
        let set: Vec<u8> = made(SET, &many).split_off(4);
        let value = made(0xa3, &[(BOOLEAN, &[1]), (SET, &set)]);
        assert_eq!(SyncInfo::parse(&value), Some(SyncInfo::IdSet { cookie: None, deletes: true, uuids: vec![UUID; 300] }));
    }

    #[test]
    fn whatever_is_cut_off_or_goes_on_is_refused() {
        let value = made(0xa3, &[(OCTETS, b"c"), (BOOLEAN, &[1]), (SET, &made(OCTETS, &[]))]);
        for end in 0..value.len() {
            assert_eq!(SyncInfo::parse(&value[..end]), None);
        }
        assert_eq!(SyncInfo::parse(&[&made(0xa1, &[])[..], &[0]].concat()), None);
        assert_eq!(SyncInfo::parse(&made(0xa4, &[])), None);
        assert_eq!(SyncState::parse(&made(SEQUENCE, &[(ENUMERATED, &[1]), (OCTETS, &UUID), (OCTETS, b"c"), (OCTETS, b"d")])), None);
    }
}
