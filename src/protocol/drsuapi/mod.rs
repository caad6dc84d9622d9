//! Reading a domain controller by directory replication, as a client that is no domain controller (MS-DRSR): what
//! is asked, what is answered, and how a password hash is taken out of it.
//!
//! Only reading is here. No procedure that writes has a codec.

mod bind;
mod controller;
mod cookie;
mod endpoint;
mod prefixes;
mod reply;
mod request;
mod secrets;

pub use bind::{BindReply, Handle, bind_request, unbind_request};
pub use controller::{ControllerReply, DomainController, controllers_request};
pub use cookie::{COOKIE_VERSION, Cookie, CookieError};
pub use endpoint::{ENDPOINT_MAPPER, EndpointError, MAP, REPLICATION, map_request, map_response};
pub use prefixes::{Attribute, PrefixTable, attribute_id, object_identifier};
pub use reply::{AttributeView, Metadata, ObjectView, Reply, ReplyError};
pub use request::{ChangesRequest, Target};
pub use secrets::{SecretError, SessionKey, open_payload, remove_rid_layer};

use crate::protocol::dcerpc::{Guid, NdrError, Reader, Writer};

/// `DsBind`.
pub const BIND: u16 = 0;
/// `DsUnbind`.
pub const UNBIND: u16 = 1;
/// `DsGetNCChanges`.
pub const GET_CHANGES: u16 = 3;
/// `DsDomainControllerInfo`.
pub const CONTROLLERS: u16 = 16;

/// Where a reader of changes stands at one controller: `usnHighObjUpdate`, `usnReserved`, `usnHighPropUpdate`
/// (MS-DRSR 5.206). Only the three together mean something, and only to the controller that gave them.
pub type Position = [i64; 3];

/// Up to which change of another controller everything is known (MS-DRSR 5.46).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Whose changes: an invocation id.
    pub invocation: Guid,
    /// The last of its changes that is known.
    pub usn: i64,
}

fn read_position(reader: &mut Reader<'_>) -> Result<Position, NdrError> {
    Ok([reader.i64()?, reader.i64()?, reader.i64()?])
}

fn write_position(writer: &mut Writer, position: Position) {
    for number in position {
        writer.i64(number);
    }
}

#[cfg(test)]
pub(crate) mod recorded {
    //! The recorded exchanges of `fixtures/drsuapi`.

    use std::path::{Path, PathBuf};

    /// The folder of all sessions.
    pub(crate) fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/drsuapi")
    }

    /// The octets of one file, `ntlm-one/10-dsbind-req-stub`.
    pub(crate) fn octets(name: &str) -> Vec<u8> {
        let path = folder().join(format!("{name}.hex"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        hex::decode(text.split_whitespace().collect::<String>()).unwrap()
    }

    /// What a decoder must find.
    pub(crate) fn expected(name: &str) -> serde_json::Value {
        serde_json::from_str(&std::fs::read_to_string(folder().join(format!("{name}.json"))).unwrap()).unwrap()
    }

    /// Every file whose name ends so, without `.hex`, in order.
    pub(crate) fn ending(with: &str) -> Vec<String> {
        let mut found = Vec::new();
        for session in std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
            for file in std::fs::read_dir(&session).unwrap().map(|entry| entry.unwrap().path()) {
                let name = file.strip_prefix(folder()).unwrap().to_str().unwrap().trim_end_matches(".hex").to_owned();
                if name.ends_with(with) {
                    found.push(name);
                }
            }
        }
        found.sort();
        found
    }
}
