//! Content synchronization (RFC 4533), the way in which a directory tells what changed: delta imports, and the watch.
//!
//! The search that is synchronized goes over the whole naming context and asks for next to nothing but who changed; the
//! entries themselves are read behind it, some hundred at a time. So memory stays small whatever changed, whoever moves
//! out of the selected containers is seen by name, and the size of a group is no matter of the answer.

mod content;
mod import;
mod refresh;
mod search;
mod watch;
mod watermark;

pub(super) use content::{Ability, Content, ability, position};
pub(super) use import::{Delta, delta};
pub(super) use watch::watch;
pub(super) use watermark::Watermark;

use crate::protocol::ldap::SyncUuid;
use uuid::Uuid;

/// The sixteen octets behind the text of an `entryUUID` (RFC 4530 section 2.1).
fn parse_uuid(text: &[u8]) -> Option<SyncUuid> {
    Uuid::try_parse_ascii(text).ok().map(Uuid::into_bytes)
}

/// The text of an `entryUUID`, as servers write it.
fn uuid_text(uuid: SyncUuid) -> String {
    Uuid::from_bytes(uuid).to_string()
}

#[cfg(test)]
mod tests {
    use super::{parse_uuid, uuid_text};

    #[test]
    fn identifiers_are_written_as_they_are_read() {
        let text = "597ae2f6-16a6-1027-98f4-d28b5365dc14";
        assert_eq!(uuid_text(parse_uuid(text.as_bytes()).unwrap()), text);
        assert_eq!(parse_uuid(text.to_uppercase().as_bytes()), parse_uuid(text.as_bytes()));
        assert_eq!(parse_uuid(b"597ae2f6"), None);
        assert_eq!(parse_uuid(b"597ae2f6-16a6-1027-98f4-d28b5365dc1g"), None);
    }
}
