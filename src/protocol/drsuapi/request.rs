//! Asking for changes: `IDL_DRSGetNCChanges` with a request of version 8 (MS-DRSR 4.1.10.2.5).

use super::{Attribute, Cursor, Handle, Position, prefixes, write_position};
use crate::protocol::dcerpc::{Guid, Writer};

/// Everything that a writable controller would be sent (`DRS_INIT_SYNC`, `DRS_WRIT_REP`).
const FLAGS: u32 = 0x30;
/// One object at once, whatever changed (`EXOP_REPL_OBJ`).
const SINGLE_OBJECT: u32 = 6;
/// Octets of a page that a server should not exceed.
const PAGE_OCTETS: u32 = 10 << 20;
/// Octets of a name's fixed part (MS-DRSR 5.50).
const NAME_FIXED: usize = 56;

/// What to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// The changes of a naming context, by its name.
    Context(&'a str),
    /// One object by its GUID.
    Object(Guid),
    /// One object by its name.
    ObjectNamed(&'a str),
}

/// A request.
#[derive(Clone, Copy, Debug)]
pub struct ChangesRequest<'a> {
    /// The context of the calls.
    pub handle: &'a Handle,
    /// The controller that is asked, or nil.
    pub agent: Guid,
    /// The invocation id of which `position` speaks, or nil.
    pub invocation: Guid,
    /// What to read.
    pub target: Target<'a>,
    /// From where on; zeros from the beginning.
    pub position: Position,
    /// What is known already, by the controller where it was changed.
    pub known: &'a [Cursor],
    /// Objects in the answer at most.
    pub objects: u32,
    /// Attributes, by our own numbers.
    pub attributes: &'a [u32],
}

impl ChangesRequest<'_> {
    /// The attributes that a cycle asks for.
    pub fn password_attributes() -> [u32; 4] {
        Attribute::ALL.map(Attribute::id)
    }

    /// The arguments of the call.
    pub fn write(&self) -> Vec<u8> {
        let (guid, name, single) = match self.target {
            Target::Context(name) => (Guid::NIL, name, false),
            Target::Object(guid) => (guid, "", true),
            Target::ObjectNamed(name) => (Guid::NIL, name, true),
        };
        let mut writer = Writer::new();
        writer.octets(&self.handle.0);
        writer.u32(8);
        writer.u32(8);
        writer.align(8);
        writer.guid(self.agent);
        writer.guid(self.invocation);
        writer.pointer();
        write_position(&mut writer, self.position);
        writer.optional(!self.known.is_empty());
        writer.u32(FLAGS);
        writer.u32(self.objects);
        writer.u32(if single { 0 } else { PAGE_OCTETS });
        writer.u32(if single { SINGLE_OBJECT } else { 0 });
        writer.i64(0);
        writer.pointer();
        writer.optional(false);
        writer.u32(prefixes::WRITTEN);
        writer.pointer();
        write_name(&mut writer, guid, name);
        if !self.known.is_empty() {
            write_known(&mut writer, self.known);
        }
        writer.count(self.attributes.len());
        writer.u32(1);
        writer.u32(0);
        writer.count(self.attributes.len());
        for id in self.attributes {
            writer.u32(*id);
        }
        prefixes::write(&mut writer);
        writer.finish()
    }
}

/// A name by GUID or by text (MS-DRSR 5.50, `DSNAME`).
fn write_name(writer: &mut Writer, guid: Guid, name: &str) {
    let units: Vec<u16> = name.encode_utf16().collect();
    writer.count(units.len() + 1);
    writer.count(NAME_FIXED + 2 * (units.len() + 1));
    writer.u32(0);
    writer.guid(guid);
    writer.octets(&[0; 28]);
    writer.count(units.len());
    for unit in units.into_iter().chain([0]) {
        writer.u16(unit);
    }
}

/// What is known already (MS-DRSR 5.209, `UPTODATE_VECTOR_V1_EXT`).
fn write_known(writer: &mut Writer, known: &[Cursor]) {
    writer.count(known.len());
    writer.align(8);
    writer.u32(1);
    writer.u32(0);
    writer.count(known.len());
    writer.u32(0);
    for cursor in known {
        writer.guid(cursor.invocation);
        writer.i64(cursor.usn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::drsuapi::{BindReply, recorded};

    /// What the recorded client asked for: names, too.
    const RECORDED: [u32; 7] = [0x5a, 0x60, 0x92, 0xdd, 0x290, 0x08, 0x0001_0030];

    fn guid(text: &str) -> Guid {
        let mut guid = Guid::NIL;
        hex::decode_to_slice(text, &mut guid.0).unwrap();
        guid
    }

    #[test]
    fn every_recorded_request_is_ours() {
        let agent = guid("40c2bf26ad45404d93d83f24959d36d9");
        let invocation = guid("875be7e836f39d46a70b5332fe6f2a64");
        let known = [Cursor { invocation, usn: 4_099 }];
        let context = Target::Context("DC=synclab,DC=example");
        let single = Target::ObjectNamed("CN=user00007,CN=Users,DC=synclab,DC=example");
        let cases = [
            ("ntlm-one/13-getncchanges-one", single, Guid::NIL, [0; 3], &[][..], 1),
            ("kerberos-one/13-getncchanges-one", single, Guid::NIL, [0; 3], &[], 1),
            ("spnego-one/13-getncchanges-one", single, Guid::NIL, [0; 3], &[], 1),
            ("ntlm-nc/20-getncchanges-nc-00", context, Guid::NIL, [0; 3], &[], 50),
            ("ntlm-nc/20-getncchanges-nc-01", context, invocation, [4_006, 0, 0], &[], 50),
            ("ntlm-delta/20-getncchanges-nc-00", context, invocation, [4_099, 0, 4_099], &known, 1_000),
        ];
        assert_eq!(recorded::ending("-req-stub").iter().filter(|name| name.contains("getncchanges")).count(), cases.len());
        for (name, target, invocation, position, known, objects) in cases {
            let session = name.split('/').next().unwrap();
            let bind = BindReply::read(&recorded::octets(&format!("{session}/10-dsbind-resp-stub"))).unwrap();
            let request =
                ChangesRequest { handle: &bind.handle, agent, invocation, target, position, known, objects, attributes: &RECORDED };
            assert_eq!(hex::encode(request.write()), hex::encode(recorded::octets(&format!("{name}-req-stub"))), "{name}");
        }
        assert_eq!(ChangesRequest::password_attributes(), [0x5a, 0x60, 0x08, 0x0001_0030]);
    }
}
