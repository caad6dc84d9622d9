//! What changed: the reply of version 6 to `IDL_DRSGetNCChanges`, and version 9, which differs in linked values only
//! (MS-DRSR 4.1.10.2.9 and 4.1.10.2.12).
//!
//! A reply is read into flat tables that point into its octets: a page of a thousand objects takes a handful of
//! allocations, each of them bounded by what is there.

use super::controller::text_of;
use super::{Cursor, Position, PrefixTable, read_position};
use crate::protocol::dcerpc::{Guid, NdrError, Reader};
use std::ops::Range;

/// Octets of an object's fixed part.
const OBJECT: usize = 32;
/// Octets of an attribute's fixed part.
const ATTRIBUTE: usize = 12;
/// Octets of a value's fixed part.
const VALUE: usize = 8;
/// Octets of an attribute's metadata.
const METADATA: usize = 40;
/// Octets of a cursor.
const CURSOR: usize = 32;
/// Octets of a name before its text (MS-DRSR 5.50).
const NAME_FIXED: usize = 56;

/// Octets that are no reply we can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// Damaged.
    #[error("the replication reply is damaged: {0}")]
    Damaged(#[from] NdrError),
    /// A version that was not asked for: old, or compressed.
    #[error("the server answers with reply version {0}, which was not asked for")]
    Version(u32),
}

/// A page of changes. Borrows from the octets it was read from.
#[derive(Clone, Debug)]
pub struct Reply<'a> {
    /// 6 or 9.
    pub version: u32,
    /// The controller that answers (`uuidDsaObjSrc`).
    pub agent: Guid,
    /// Its database's life (`uuidInvocIdSrc`): another one after a restore.
    pub invocation: Guid,
    /// The naming context or object.
    pub context: Option<Name<'a>>,
    /// Where the page begins.
    pub from: Position,
    /// Where the next page begins.
    pub to: Position,
    /// Everything known afterwards; on the last page of a cycle only.
    pub known: Option<Vec<Cursor>>,
    /// What the numbers of attributes mean.
    pub prefixes: PrefixTable<'a>,
    /// How a request for a single object went; 1 is success (MS-DRSR 4.1.10.2.19).
    pub extended: u32,
    /// There are more pages.
    pub more: bool,
    /// 0, or why replication failed.
    pub replication_error: u32,
    /// 0, or a Win32 error: the return value of the call.
    pub status: u32,
    /// Values of links that came, asked for or not. They are passed over.
    pub links: usize,
    objects: Vec<ObjectSlot<'a>>,
    attributes: Vec<AttributeSlot>,
    values: Vec<&'a [u8]>,
    metadata: Vec<Metadata>,
}

/// The name of an object (MS-DRSR 5.50).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a> {
    /// Its GUID; for an object the octets of `objectGUID`.
    pub guid: Guid,
    /// Its SID; empty when it has none.
    pub sid: &'a [u8],
    text: &'a [u8],
}

impl Name<'_> {
    /// The distinguished name.
    pub fn dn(&self) -> String {
        text_of(self.text)
    }

    /// The last number of the SID, under which the object's secrets are encrypted.
    pub fn rid(&self) -> Option<u32> {
        // Revision, count of numbers, authority, and at least one number of four octets.
        (self.sid.len() >= 12).then(|| self.sid.last_chunk().map(|last| u32::from_le_bytes(*last)))?
    }
}

/// When an attribute was changed last (MS-DRSR 5.166).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// How many times it was changed.
    pub version: u32,
    /// Seconds since 1601-01-01 UTC.
    pub changed: i64,
}

#[derive(Clone, Copy, Debug)]
struct ObjectSlot<'a> {
    name: Option<Name<'a>>,
    first: usize,
    count: usize,
    /// Where the metadata begin; as many as attributes, or none.
    metadata: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
struct AttributeSlot {
    id: u32,
    count: u32,
    first: usize,
}

/// The fixed part of an object, before anything it points to.
#[derive(Clone, Copy)]
struct Head {
    name: bool,
    attributes: u32,
    has_attributes: bool,
    parent: bool,
    metadata: bool,
}

impl<'a> Reply<'a> {
    /// Reads a reply.
    pub fn read(stub: &'a [u8]) -> Result<Self, ReplyError> {
        let mut reader = Reader::new(stub);
        let version = reader.u32()?;
        if version != 6 && version != 9 {
            return Err(ReplyError::Version(version));
        }
        reader.same(version)?;
        let agent = reader.guid()?;
        let invocation = reader.guid()?;
        let has_context = reader.pointer()?;
        let from = read_position(&mut reader)?;
        let to = read_position(&mut reader)?;
        let has_known = reader.pointer()?;
        let prefix_count = reader.u32()?;
        let has_prefixes = reader.pointer()?;
        let extended = reader.u32()?;
        let object_count = reader.u32()?;
        reader.u32()?;
        let has_objects = reader.pointer()?;
        let more = reader.u32()? != 0;
        reader.u32()?;
        reader.u32()?;
        let link_count = reader.u32()?;
        // The pointer may be there without a single value; then an empty array follows.
        let has_links = reader.pointer()?;
        let replication_error = reader.u32()?;
        let context = if has_context { Some(read_name(&mut reader)?) } else { None };
        let known = if has_known { Some(read_known(&mut reader)?) } else { None };
        let prefixes = if has_prefixes { PrefixTable::read(&mut reader, prefix_count)? } else { PrefixTable::default() };
        let mut reply = Self {
            version,
            agent,
            invocation,
            context,
            from,
            to,
            known,
            prefixes,
            extended,
            more,
            replication_error,
            status: 0,
            links: 0,
            objects: Vec::new(),
            attributes: Vec::new(),
            values: Vec::new(),
            metadata: Vec::new(),
        };
        if has_objects {
            reply.read_objects(&mut reader, object_count)?;
        } else if object_count != 0 {
            return Err(NdrError::Contradiction { at: 120 }.into());
        }
        if has_links {
            reply.links = skip_links(&mut reader, link_count, version)?;
        } else if link_count != 0 {
            return Err(NdrError::Contradiction { at: 140 }.into());
        }
        reply.status = reader.u32()?;
        reader.finish()?;
        Ok(reply)
    }

    /// The list of objects: all fixed parts from the first to the last, then what they point to from the last to the
    /// first. A list may be long, so nothing here calls itself.
    fn read_objects(&mut self, reader: &mut Reader<'a>, count: u32) -> Result<(), NdrError> {
        let at = reader.position();
        let count = reader.fits(count, OBJECT).ok_or(NdrError::Count { at })?;
        let mut heads = Vec::with_capacity(count);
        loop {
            let next = reader.pointer()?;
            let name = reader.pointer()?;
            reader.u32()?;
            let attributes = reader.u32()?;
            let has_attributes = reader.pointer()?;
            reader.u32()?;
            let parent = reader.pointer()?;
            let metadata = reader.pointer()?;
            if heads.len() == count {
                return Err(NdrError::Contradiction { at: reader.position() - OBJECT });
            }
            heads.push(Head { name, attributes, has_attributes, parent, metadata });
            if !next {
                break;
            }
        }
        if heads.len() != count {
            return Err(NdrError::Contradiction { at: reader.position() });
        }
        self.objects.reserve_exact(count);
        for head in heads.into_iter().rev() {
            let object = self.read_object(reader, head)?;
            self.objects.push(object);
        }
        self.objects.reverse();
        Ok(())
    }

    fn read_object(&mut self, reader: &mut Reader<'a>, head: Head) -> Result<ObjectSlot<'a>, NdrError> {
        let name = if head.name { Some(read_name(reader)?) } else { None };
        let first = self.attributes.len();
        let mut count = 0;
        if head.has_attributes {
            reader.same(head.attributes)?;
            let at = reader.position();
            count = reader.fits(head.attributes, ATTRIBUTE).ok_or(NdrError::Count { at })?;
            let mut fixed = reader.clone();
            reader.octets(count * ATTRIBUTE)?;
            for _ in 0..count {
                let (id, values, there) = (fixed.u32()?, fixed.u32()?, fixed.pointer()?);
                let slot = AttributeSlot { id, count: if there { values } else { 0 }, first: self.values.len() };
                self.attributes.push(slot);
                if there {
                    self.read_values(reader, values)?;
                } else if values != 0 {
                    return Err(NdrError::Contradiction { at: fixed.position() - 4 });
                }
            }
        } else if head.attributes != 0 {
            return Err(NdrError::Contradiction { at: reader.position() });
        }
        if head.parent {
            reader.guid()?;
        }
        let metadata = if head.metadata { Some(self.read_metadata(reader, count)?) } else { None };
        Ok(ObjectSlot { name, first, count, metadata })
    }

    fn read_values(&mut self, reader: &mut Reader<'a>, count: u32) -> Result<(), NdrError> {
        reader.same(count)?;
        let at = reader.position();
        let count = reader.fits(count, VALUE).ok_or(NdrError::Count { at })?;
        let mut fixed = reader.clone();
        reader.octets(count * VALUE)?;
        for _ in 0..count {
            let (length, there) = (fixed.u32()?, fixed.pointer()?);
            self.values.push(read_octets(reader, length, there)?);
        }
        Ok(())
    }

    fn read_metadata(&mut self, reader: &mut Reader<'a>, attributes: usize) -> Result<usize, NdrError> {
        let most = reader.u32()?;
        reader.align(8)?;
        reader.same(most)?;
        reader.align(8)?;
        let at = reader.position();
        let count = reader.fits(most, METADATA).ok_or(NdrError::Count { at })?;
        if count != attributes {
            return Err(NdrError::Contradiction { at });
        }
        let first = self.metadata.len();
        for _ in 0..count {
            let version = reader.u32()?;
            let changed = reader.i64()?;
            reader.guid()?;
            reader.i64()?;
            self.metadata.push(Metadata { version, changed });
        }
        Ok(first)
    }

    /// The number of objects.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// True when there is no object; there may be more pages all the same.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// The objects in the order of the server. An object without a name is none.
    pub fn objects(&self) -> impl Iterator<Item = ObjectView<'_, 'a>> {
        self.objects.iter().filter_map(|slot| slot.name.map(|name| ObjectView { reply: self, slot, name }))
    }

    /// Octets that this reply takes besides those that it was read from.
    #[cfg(test)]
    pub(super) fn footprint(&self) -> usize {
        self.objects.capacity() * size_of::<ObjectSlot<'_>>()
            + self.attributes.capacity() * size_of::<AttributeSlot>()
            + self.values.capacity() * size_of::<&[u8]>()
            + self.metadata.capacity() * size_of::<Metadata>()
            + self.known.as_ref().map_or(0, |known| known.capacity() * size_of::<Cursor>())
            + self.prefixes.footprint()
    }
}

/// An object of a reply.
#[derive(Clone, Copy, Debug)]
pub struct ObjectView<'r, 'a> {
    reply: &'r Reply<'a>,
    slot: &'r ObjectSlot<'a>,
    /// Its name.
    pub name: Name<'a>,
}

/// An attribute of an object.
#[derive(Clone, Copy, Debug)]
pub struct AttributeView<'r, 'a> {
    /// Its values; none: they were removed.
    pub values: &'r [&'a [u8]],
    /// When it was changed.
    pub metadata: Option<Metadata>,
}

impl<'r, 'a> ObjectView<'r, 'a> {
    /// The attribute with a number of this reply, if it came.
    pub fn attribute(&self, id: u32) -> Option<AttributeView<'r, 'a>> {
        let range: Range<usize> = self.slot.first..self.slot.first + self.slot.count;
        let slots = &self.reply.attributes[range];
        let index = slots.iter().position(|slot| slot.id == id)?;
        let slot = slots[index];
        let values = &self.reply.values[slot.first..slot.first + usize::try_from(slot.count).ok()?];
        let metadata = self.slot.metadata.map(|first| self.reply.metadata[first + index]);
        Some(AttributeView { values, metadata })
    }

    /// The numbers of the attributes that came.
    pub fn attributes(&self) -> impl Iterator<Item = u32> + use<'r, 'a> {
        self.reply.attributes[self.slot.first..self.slot.first + self.slot.count].iter().map(|slot| slot.id)
    }
}

fn read_octets<'a>(reader: &mut Reader<'a>, length: u32, there: bool) -> Result<&'a [u8], NdrError> {
    if !there {
        return if length == 0 { Ok(&[]) } else { Err(NdrError::Contradiction { at: reader.position() }) };
    }
    reader.same(length)?;
    let at = reader.position();
    let length = reader.fits(length, 1).ok_or(NdrError::Count { at })?;
    reader.octets(length)
}

fn read_name<'a>(reader: &mut Reader<'a>) -> Result<Name<'a>, NdrError> {
    let units = reader.count(2)?;
    let begin = reader.position();
    reader.u32()?;
    let sid_length = reader.u32()?;
    let guid = reader.guid()?;
    let sid = reader.octets(28)?;
    let length = reader.u32()?;
    let at = reader.position();
    debug_assert_eq!(at - begin, NAME_FIXED, "the fixed part of a name");
    let sid = usize::try_from(sid_length).ok().and_then(|length| sid.get(..length)).ok_or(NdrError::Count { at: begin + 4 })?;
    let length = reader.fits(length, 2).filter(|length| *length <= units).ok_or(NdrError::Count { at: at - 4 })?;
    // One unit more: the zero behind the text.
    let text = reader.octets(units * 2)?;
    Ok(Name { guid, sid, text: &text[..length * 2] })
}

/// MS-DRSR 5.211, `UPTODATE_VECTOR_V2_EXT`.
fn read_known(reader: &mut Reader<'_>) -> Result<Vec<Cursor>, NdrError> {
    let most = reader.u32()?;
    reader.align(8)?;
    let at = reader.position();
    if reader.u32()? != 2 {
        return Err(NdrError::Unknown { at });
    }
    reader.u32()?;
    reader.same(most)?;
    reader.u32()?;
    let at = reader.position();
    let count = reader.fits(most, CURSOR).ok_or(NdrError::Count { at })?;
    let mut known = Vec::with_capacity(count);
    for _ in 0..count {
        let invocation = reader.guid()?;
        let usn = reader.i64()?;
        reader.i64()?;
        known.push(Cursor { invocation, usn });
    }
    Ok(known)
}

/// Passes over the values of links and counts them (MS-DRSR 5.215 `REPLVALINF_V1`, 5.217 `REPLVALINF_V3`).
fn skip_links(reader: &mut Reader<'_>, count: u32, version: u32) -> Result<usize, NdrError> {
    reader.same(count)?;
    // The elements hold 64-bit numbers. An empty array has none to align.
    if count == 0 {
        return Ok(0);
    }
    reader.align(8)?;
    let size = if version == 9 { 96 } else { 72 };
    let at = reader.position();
    let count = reader.fits(count, size).ok_or(NdrError::Count { at })?;
    let mut fixed = reader.clone();
    reader.octets(count * size)?;
    for index in 0..count {
        debug_assert_eq!(fixed.position(), at + index * size, "elements stand side by side");
        let name = fixed.pointer()?;
        fixed.u32()?;
        let (length, there) = (fixed.u32()?, fixed.pointer()?);
        fixed.octets(size - 16)?;
        if name {
            read_name(reader)?;
        }
        read_octets(reader, length, there)?;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::drsuapi::{Attribute, SessionKey, open_payload, recorded, remove_rid_layer};
    use serde_json::Value;
    use zeroize::Zeroizing;

    fn replies() -> Vec<String> {
        recorded::ending("-expected.json").into_iter().map(|name| name.trim_end_matches("-expected.json").to_owned()).collect()
    }

    fn number(value: &Value) -> u64 {
        value.as_u64().unwrap_or_else(|| panic!("{value}"))
    }

    fn numbers(value: &Value) -> Vec<i64> {
        value.as_array().unwrap().iter().map(|number| number.as_i64().unwrap()).collect()
    }

    #[test]
    fn every_recorded_reply_holds_what_is_expected() {
        let names = replies();
        assert_eq!(names.len(), 6);
        for name in names {
            let session = name.split('/').next().unwrap();
            let key = SessionKey::new(Zeroizing::new(recorded::octets(&format!("{session}/session-key"))));
            let stub = recorded::octets(&format!("{name}-resp-stub"));
            let reply = Reply::read(&stub).unwrap();
            let expected = recorded::expected(&format!("{name}-expected"));
            assert_eq!(u64::from(reply.version), number(&expected["version"]));
            assert_eq!(u64::from(reply.status), number(&expected["return"]));
            assert_eq!(u64::from(reply.extended), number(&expected["extended_ret"]));
            assert_eq!((reply.from.to_vec(), reply.to.to_vec()), (numbers(&expected["usn_from"]), numbers(&expected["usn_to"])));
            assert_eq!(reply.more, expected["more"].as_bool().unwrap());
            assert_eq!(hex::encode(reply.invocation.0), expected["invocation_id"].as_str().unwrap());
            assert_eq!(hex::encode(reply.agent.0), expected["dsa"].as_str().unwrap());
            assert_eq!(reply.context.unwrap().dn(), expected["nc"].as_str().unwrap());
            assert_eq!(reply.links as u64, number(&expected["num_values"]));
            let cursors = expected["utdv"].as_array().unwrap();
            let known = reply.known.clone().unwrap_or_default();
            assert_eq!(known.len(), cursors.len());
            for (cursor, expected) in known.iter().zip(cursors) {
                assert_eq!(hex::encode(cursor.invocation.0), expected[0].as_str().unwrap());
                assert_eq!(Some(cursor.usn), expected[1].as_i64());
            }
            // The last one, the state of the schema, is no prefix.
            assert_eq!(reply.prefixes.len() as u64 + 1, number(&expected["prefixes"]));
            let entries = expected["entries"].as_array().unwrap();
            assert_eq!((reply.len(), reply.is_empty()), (entries.len(), entries.is_empty()));
            assert_eq!(reply.len() as u64, number(&expected["objects"]));
            for (object, entry) in reply.objects().zip(entries) {
                compare(&reply, object, entry, &key);
            }
        }
    }

    fn compare(reply: &Reply<'_>, object: ObjectView<'_, '_>, entry: &Value, key: &SessionKey) {
        assert_eq!(hex::encode(object.name.guid.0), entry["guid"].as_str().unwrap());
        assert_eq!(object.name.dn(), entry["dn"].as_str().unwrap());
        assert_eq!(hex::encode(object.name.sid), entry["sid"].as_str().unwrap_or_default());
        // Who recorded wrote 0 for objects without a SID.
        assert_eq!(object.name.rid().map_or(0, u64::from), number(&entry["rid"]));
        let attribute = |which: Attribute| object.attribute(reply.prefixes.id(which).unwrap());
        let password = attribute(Attribute::UnicodePwd);
        assert_eq!(password.is_some(), entry.get("unicodePwd").is_some(), "{entry}");
        if let Some(password) = password {
            let hash = password.values.first().map(|value| {
                let wrapped = open_payload(key, value).unwrap();
                hex::encode(&*remove_rid_layer(&wrapped, object.name.rid().unwrap()).unwrap())
            });
            assert_eq!(hash.as_deref(), entry["unicodePwd"].as_str());
            if let Some(metadata) = entry.get("unicodePwd_meta") {
                let found = password.metadata.unwrap();
                assert_eq!(u64::from(found.version), number(&metadata["version"]));
                assert_eq!(Some(found.changed), metadata["time_changed"].as_i64());
            }
        }
        let last_set = attribute(Attribute::PwdLastSet);
        assert_eq!(last_set.is_some(), entry.get("pwdLastSet").is_some());
        let last_set = last_set.and_then(|last_set| last_set.values.first().map(|value| i64::from_le_bytes((*value).try_into().unwrap())));
        assert_eq!(last_set, entry["pwdLastSet"].as_i64());
        for (which, name) in [(Attribute::UserAccountControl, "userAccountControl"), (Attribute::IsDeleted, "isDeleted")] {
            let found = attribute(which).map(|found| u64::from(u32::from_le_bytes(found.values[0].try_into().unwrap())));
            assert_eq!(found, entry[name].as_u64(), "{name} of {entry}");
        }
        assert!(object.attributes().count() <= 7);
    }

    #[test]
    fn refusals_come_as_empty_replies() {
        for (name, status) in [("access-denied", 0x2105), ("no-schemainfo", 0x57), ("unknown-nc", 0x20f8)] {
            let stub = recorded::octets(&format!("errors/{name}-resp-stub"));
            let reply = Reply::read(&stub).unwrap();
            assert_eq!((reply.status, reply.len(), reply.links, reply.known), (status, 0, 0, None), "{name}");
        }
    }

    #[test]
    fn a_reply_cut_anywhere_is_refused() {
        for name in replies() {
            let stub = recorded::octets(&format!("{name}-resp-stub"));
            for length in 0..stub.len() {
                assert!(Reply::read(&stub[..length]).is_err(), "{name} {length}");
            }
        }
    }

    #[test]
    fn a_changed_octet_never_makes_a_reply_larger_than_four_times_its_input() {
        for name in replies() {
            let mut stub = recorded::octets(&format!("{name}-resp-stub"));
            let mut read = 0;
            for index in 0..stub.len() {
                let before = stub[index];
                for change in [0x01, 0x80, 0xff] {
                    stub[index] = before ^ change;
                    if let Ok(reply) = Reply::read(&stub) {
                        assert!(reply.footprint() <= 4 * stub.len(), "{name} {index}");
                        reply.objects().for_each(|object| assert!(object.name.dn().len() <= stub.len() * 2));
                        read += 1;
                    }
                }
                stub[index] = before;
            }
            // Octets of values, times and GUIDs make no difference to the form.
            assert!(read > stub.len(), "{name}: {read}");
        }
    }

    #[test]
    fn versions_that_were_not_asked_for_are_named() {
        for version in [0, 1, 2, 7] {
            let mut stub = recorded::octets("errors/access-denied-resp-stub");
            stub[0] = version;
            assert_eq!(Reply::read(&stub).err(), Some(ReplyError::Version(u32::from(version))));
        }
    }
}
