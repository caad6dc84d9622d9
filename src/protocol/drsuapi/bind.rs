//! Opening and closing the context in which replication calls are made (MS-DRSR 4.1.3 `IDL_DRSBind`, 4.1.25).

use crate::protocol::dcerpc::{Guid, NdrError, Reader, Writer};

/// Twenty octets by which the server knows the context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle(pub [u8; 20]);

/// What a client that is no domain controller calls itself (MS-DRSR 5.138, `NTDSAPI_CLIENT_GUID`).
const CLIENT: Guid = Guid([0x1a, 0x20, 0x4d, 0xe2, 0xd6, 0x4f, 0xd1, 0x11, 0xa3, 0xda, 0x00, 0x00, 0xf8, 0x75, 0xae, 0x0d]);
/// Replies of version 6 (MS-DRSR 5.39).
const REPLY_V6: u32 = 0x0400_0000;
/// Requests of version 8.
const REQUEST_V8: u32 = 0x0100_0000;
/// Naming contexts that are no domains.
const NON_DOMAIN: u32 = 0x0080_0000;
/// Requests of version 6.
const REQUEST_V6: u32 = 0x0040_0000;
/// Passwords are encrypted once more; without it nobody is sent any.
const STRONG_ENCRYPTION: u32 = 0x0000_8000;
/// Octets of the extensions that we know.
const EXTENSIONS: usize = 52;

/// The arguments of `DsBind`. `epoch` is 0 but for a domain that was renamed. What compresses replies or changes
/// their version is not offered.
pub fn bind_request(epoch: u32) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.pointer();
    writer.guid(CLIENT);
    writer.pointer();
    writer.count(EXTENSIONS);
    writer.count(EXTENSIONS);
    writer.u32(REPLY_V6 | REQUEST_V8 | NON_DOMAIN | REQUEST_V6 | STRONG_ENCRYPTION);
    writer.guid(Guid::NIL);
    writer.u32(0);
    writer.u32(epoch);
    writer.u32(0);
    writer.guid(Guid::NIL);
    writer.u32(0);
    writer.finish()
}

/// The arguments of `DsUnbind`.
pub fn unbind_request(handle: &Handle) -> Vec<u8> {
    handle.0.to_vec()
}

/// The answer to `DsBind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindReply {
    /// The context.
    pub handle: Handle,
    /// What the server can do.
    pub flags: u32,
    /// The server's replication epoch; a bind with another one is of no use.
    pub epoch: u32,
    /// 0, or a Win32 error.
    pub status: u32,
}

impl BindReply {
    /// Reads an answer. Servers send more or less of the extensions.
    pub fn read(stub: &[u8]) -> Result<Self, NdrError> {
        let mut reader = Reader::new(stub);
        let mut extensions = [0; EXTENSIONS];
        if reader.pointer()? {
            let most = reader.count(1)?;
            let length = reader.count(1)?;
            if length > most {
                return Err(NdrError::Contradiction { at: reader.position() - 4 });
            }
            let sent = reader.octets(most)?;
            let known = length.min(EXTENSIONS);
            extensions[..known].copy_from_slice(&sent[..known]);
        }
        reader.align(4)?;
        let mut handle = Handle([0; 20]);
        handle.0.copy_from_slice(reader.octets(20)?);
        let status = reader.u32()?;
        reader.finish()?;
        let field = |at: usize| u32::from_le_bytes([extensions[at], extensions[at + 1], extensions[at + 2], extensions[at + 3]]);
        Ok(Self { handle, flags: field(0), epoch: field(24), status })
    }

    /// True when the server gives what we ask for: requests of version 8, replies of version 6, encrypted passwords.
    pub fn suffices(&self) -> bool {
        let needed = REQUEST_V8 | REPLY_V6 | STRONG_ENCRYPTION;
        self.flags & needed == needed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::drsuapi::recorded;

    #[test]
    fn every_recorded_bind_is_ours() {
        let requests = recorded::ending("dsbind-req-stub");
        assert_eq!(requests.len(), 5);
        for name in requests {
            assert_eq!(bind_request(0), recorded::octets(&name), "{name}");
            let stub = recorded::octets(&name.replace("-req-", "-resp-"));
            let reply = BindReply::read(&stub).unwrap();
            assert_eq!((reply.flags, reply.epoch, reply.status, reply.suffices()), (0x2fff_ff6f, 0, 0, true));
            let session = name.split('/').next().unwrap();
            assert_eq!(unbind_request(&reply.handle), recorded::octets(&format!("{session}/90-dsunbind-req-stub")));
            for length in 0..stub.len() {
                assert!(BindReply::read(&stub[..length]).is_err(), "{length}");
            }
        }
    }

    #[test]
    fn fewer_extensions_are_those_with_zeros_behind() {
        let mut writer = Writer::new();
        writer.pointer();
        writer.count(28);
        writer.count(28);
        writer.u32(0x0500_8000);
        writer.guid(Guid::NIL);
        writer.u32(0);
        writer.u32(7);
        writer.octets(&[5; 20]);
        writer.u32(0);
        let reply = BindReply::read(&writer.finish()).unwrap();
        assert_eq!((reply.epoch, reply.suffices(), reply.handle), (7, true, Handle([5; 20])));
        let mut bare = vec![0; 4];
        bare.extend_from_slice(&[5; 20]);
        bare.extend_from_slice(&5_u32.to_le_bytes());
        assert_eq!(BindReply::read(&bare).unwrap().status, 5);
    }
}
