//! The rows of the tenant's file and the typed ways to read and write them.
//!
//! Every table has octets as keys and values, so that one set of readers serves read and write transactions alike.
//! Numbers in keys are big-endian, which keeps them in order.

use super::properties::ReferenceAttribute;
use super::record::{CredentialRecord, EarlierCredentialRecord, ObjectRecord, Tombstone};
use super::{DirectoryError, ObjectNumber};
use crate::model::{bare_address, fold};
use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, Table, TableDefinition, WriteTransaction};
use rkyv::rancor;
use std::ops::Bound;
use uuid::Uuid;

type Octets = &'static [u8];
type Definition = TableDefinition<'static, Octets, Octets>;

const OBJECTS: Definition = TableDefinition::new("objects");
const IDS: Definition = TableDefinition::new("ids");
const ANCHORS: Definition = TableDefinition::new("anchors");
const UNIQUE: Definition = TableDefinition::new("unique");
const REFERENCES: Definition = TableDefinition::new("references");
const REFERRERS: Definition = TableDefinition::new("referrers");
const LOG: Definition = TableDefinition::new("log");
const POSITIONS: Definition = TableDefinition::new("positions");
const TOMBSTONES: Definition = TableDefinition::new("tombstones");
const CREDENTIALS: Definition = TableDefinition::new("credentials");
const DELETED: Definition = TableDefinition::new("deleted");
const QUARANTINE: Definition = TableDefinition::new("quarantine");
const META: Definition = TableDefinition::new("meta");

const NEXT_OBJECT: &[u8] = b"next object";
const LOG_END: &[u8] = b"log end";
const LOG_FLOOR: &[u8] = b"log floor";
const LIVE: &[u8] = b"live objects";

/// The first octet of every record: a later form gets another number.
const RECORD_FORM: u8 = 1;
/// The same of passwords, whose first form knew nothing of sessions.
const CREDENTIAL_FORM: u8 = 2;

/// Which kind of unique value a key stands for. The octet is part of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UniqueKind {
    /// Sign-in name.
    UserPrincipalName,
    /// Mail and proxy addresses; one space for both.
    Address,
    /// Security identifier of the directory.
    SecurityIdentifier,
    /// Sign-in name of the other kind.
    SignInName,
}

/// A value that only one object may have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UniqueKey(Vec<u8>);

impl UniqueKey {
    /// A key for a text, which compares without regard to case.
    pub fn text(kind: UniqueKind, value: &str) -> Self {
        Self::octets(kind, fold(value).as_bytes())
    }

    /// A key for octets.
    pub fn octets(kind: UniqueKind, value: &[u8]) -> Self {
        let mut key = Vec::with_capacity(value.len() + 1);
        key.push(match kind {
            UniqueKind::UserPrincipalName => b'u',
            UniqueKind::Address => b'a',
            UniqueKind::SecurityIdentifier => b's',
            UniqueKind::SignInName => b'n',
        });
        key.extend_from_slice(value);
        Self(key)
    }

    /// A key for a mail or proxy address; `smtp:` in any case is cut off.
    pub fn address(value: &str) -> Self {
        Self::text(UniqueKind::Address, bare_address(value))
    }
}

/// All tables of one transaction.
pub struct Tables<T> {
    objects: T,
    ids: T,
    anchors: T,
    unique: T,
    references: T,
    referrers: T,
    log: T,
    positions: T,
    tombstones: T,
    credentials: T,
    deleted: T,
    quarantine: T,
    meta: T,
}

/// A consistent view for reading.
pub type Reader = Tables<ReadOnlyTable<Octets, Octets>>;
type WriteTables<'t> = Tables<Table<'t, Octets, Octets>>;

/// A write in progress.
pub struct Writer<'t> {
    tables: WriteTables<'t>,
    next_object: u64,
    log_end: u64,
    live: u64,
}

impl<'t> std::ops::Deref for Writer<'t> {
    type Target = WriteTables<'t>;

    fn deref(&self) -> &Self::Target {
        &self.tables
    }
}

macro_rules! open_all {
    ($transaction:expr) => {
        Tables {
            objects: $transaction.open_table(OBJECTS)?,
            ids: $transaction.open_table(IDS)?,
            anchors: $transaction.open_table(ANCHORS)?,
            unique: $transaction.open_table(UNIQUE)?,
            references: $transaction.open_table(REFERENCES)?,
            referrers: $transaction.open_table(REFERRERS)?,
            log: $transaction.open_table(LOG)?,
            positions: $transaction.open_table(POSITIONS)?,
            tombstones: $transaction.open_table(TOMBSTONES)?,
            credentials: $transaction.open_table(CREDENTIALS)?,
            deleted: $transaction.open_table(DELETED)?,
            quarantine: $transaction.open_table(QUARANTINE)?,
            meta: $transaction.open_table(META)?,
        }
    };
}

impl Reader {
    /// Opens all tables of a read transaction.
    pub fn open(transaction: &ReadTransaction) -> Result<Self, DirectoryError> {
        Ok(open_all!(transaction))
    }
}

fn number(bytes: &[u8]) -> Result<u64, DirectoryError> {
    bytes.try_into().map(u64::from_be_bytes).map_err(|_| DirectoryError::Damaged("a number in a key or row has not eight octets"))
}

/// Reads a record behind its form octet.
macro_rules! decode {
    ($type:ty, $bytes:expr) => {{
        let bytes: &[u8] = $bytes;
        match bytes.split_first() {
            Some((&RECORD_FORM, rest)) => {
                rkyv::from_bytes::<$type, rancor::Error>(rest).map_err(|_| DirectoryError::Damaged("a record cannot be read"))
            }
            _ => Err(DirectoryError::Damaged("a record has a form that this version does not know")),
        }
    }};
}

macro_rules! encode {
    ($value:expr) => {{
        let mut bytes = Vec::with_capacity(1024);
        bytes.push(RECORD_FORM);
        let body = rkyv::to_bytes::<rancor::Error>($value).map_err(|_| DirectoryError::Damaged("a record cannot be written"))?;
        bytes.extend_from_slice(&body);
        bytes
    }};
}

fn reference_key(owner: ObjectNumber, attribute: ReferenceAttribute, anchor: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(9 + anchor.len());
    key.extend_from_slice(&owner.to_be_bytes());
    key.push(attribute.0);
    key.extend_from_slice(anchor.as_bytes());
    key
}

/// Anchors hold no octet 0, so the octet closes them.
fn referrer_key(anchor: &str, owner: ObjectNumber, attribute: ReferenceAttribute) -> Vec<u8> {
    let mut key = Vec::with_capacity(10 + anchor.len());
    key.extend_from_slice(anchor.as_bytes());
    key.push(0);
    key.extend_from_slice(&owner.to_be_bytes());
    key.push(attribute.0);
    key
}

/// The first key behind everything that begins with `prefix`.
fn after_prefix(prefix: &[u8]) -> Bound<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Bound::Excluded(end);
        }
    }
    Bound::Unbounded
}

fn as_slices(bounds: &(Bound<Vec<u8>>, Bound<Vec<u8>>)) -> (Bound<&[u8]>, Bound<&[u8]>) {
    (bounds.0.as_ref().map(Vec::as_slice), bounds.1.as_ref().map(Vec::as_slice))
}

impl<T: ReadableTable<Octets, Octets>> Tables<T> {
    /// The object of a number, deleted ones included.
    pub fn object(&self, object: ObjectNumber) -> Result<Option<ObjectRecord>, DirectoryError> {
        self.objects.get(object.to_be_bytes().as_slice())?.map(|row| decode!(ObjectRecord, row.value())).transpose()
    }

    /// The number of an object id; it remains known after the object is gone, until its tombstone goes.
    pub fn by_id(&self, id: Uuid) -> Result<Option<ObjectNumber>, DirectoryError> {
        self.ids.get(id.as_bytes().as_slice())?.map(|row| number(row.value())).transpose()
    }

    /// The object with that immutable id, deleted ones included. Case counts.
    pub fn by_anchor(&self, anchor: &str) -> Result<Option<ObjectNumber>, DirectoryError> {
        self.anchors.get(anchor.as_bytes())?.map(|row| number(row.value())).transpose()
    }

    /// The object that has a unique value, deleted ones included.
    pub fn by_unique(&self, key: &UniqueKey) -> Result<Option<ObjectNumber>, DirectoryError> {
        self.unique.get(key.0.as_slice())?.map(|row| number(row.value())).transpose()
    }

    /// The object behind a cloud anchor `<Type>_<object id>`.
    pub fn by_cloud_anchor(&self, anchor: &str) -> Result<Option<ObjectNumber>, DirectoryError> {
        match parse_cloud_anchor(anchor) {
            Some(id) => self.by_id(id),
            None => Ok(None),
        }
    }

    /// The object that a reference names: by immutable id, otherwise by cloud anchor.
    pub fn by_reference(&self, anchor: &str) -> Result<Option<ObjectNumber>, DirectoryError> {
        match self.by_anchor(anchor)? {
            Some(object) => Ok(Some(object)),
            None => self.by_cloud_anchor(anchor),
        }
    }

    /// Calls `each` for the objects behind `after` in the order of their numbers until it answers false.
    pub fn scan(
        &self,
        after: ObjectNumber,
        mut each: impl FnMut(ObjectNumber, ObjectRecord) -> Result<bool, DirectoryError>,
    ) -> Result<(), DirectoryError> {
        let after = after.to_be_bytes();
        for row in self.objects.range::<&[u8]>((Bound::Excluded(after.as_slice()), Bound::Unbounded))? {
            let (key, value) = row?;
            if !each(number(key.value())?, decode!(ObjectRecord, value.value())?)? {
                break;
            }
        }
        Ok(())
    }

    /// Calls `each` with every immutable id behind `after` in octet order, until it answers false.
    pub fn scan_anchors(
        &self,
        after: &str,
        mut each: impl FnMut(&str, ObjectNumber) -> Result<bool, DirectoryError>,
    ) -> Result<(), DirectoryError> {
        for row in self.anchors.range::<&[u8]>((Bound::Excluded(after.as_bytes()), Bound::Unbounded))? {
            let (key, value) = row?;
            let anchor = std::str::from_utf8(key.value()).map_err(|_| DirectoryError::Damaged("an anchor is no text"))?;
            if !each(anchor, number(value.value())?)? {
                break;
            }
        }
        Ok(())
    }

    /// Up to `limit` targets of an object's references behind `after`, in octet order.
    pub fn references(
        &self,
        owner: ObjectNumber,
        attribute: ReferenceAttribute,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, DirectoryError> {
        let prefix = reference_key(owner, attribute, "");
        let start = match after {
            Some(after) => Bound::Excluded(reference_key(owner, attribute, after)),
            None => Bound::Included(prefix.clone()),
        };
        let bounds = (start, after_prefix(&prefix));
        let mut found = Vec::new();
        for row in self.references.range::<&[u8]>(as_slices(&bounds))?.take(limit) {
            found.push(text(&row?.0.value()[9..])?);
        }
        Ok(found)
    }

    /// Every reference of an object: attribute and target.
    pub fn all_references(&self, owner: ObjectNumber) -> Result<Vec<(ReferenceAttribute, String)>, DirectoryError> {
        let prefix = owner.to_be_bytes().to_vec();
        let bounds = (Bound::Included(prefix.clone()), after_prefix(&prefix));
        let mut found = Vec::new();
        for row in self.references.range::<&[u8]>(as_slices(&bounds))? {
            let key = row?.0;
            let key = key.value();
            found.push((ReferenceAttribute(key[8]), text(&key[9..])?));
        }
        Ok(found)
    }

    /// True when the reference is there.
    pub fn has_reference(&self, owner: ObjectNumber, attribute: ReferenceAttribute, anchor: &str) -> Result<bool, DirectoryError> {
        Ok(self.references.get(reference_key(owner, attribute, anchor).as_slice())?.is_some())
    }

    /// Who refers to an anchor, and by which attribute.
    pub fn referrers(&self, anchor: &str) -> Result<Vec<(ObjectNumber, ReferenceAttribute)>, DirectoryError> {
        let mut prefix = anchor.as_bytes().to_vec();
        prefix.push(0);
        let bounds = (Bound::Included(prefix.clone()), after_prefix(&prefix));
        let mut found = Vec::new();
        for row in self.referrers.range::<&[u8]>(as_slices(&bounds))? {
            let key = row?.0;
            let Some((owner, [attribute])) = key.value()[prefix.len()..].split_at_checked(8) else {
                return Err(DirectoryError::Damaged("a referrer row has no owner"));
            };
            found.push((number(owner)?, ReferenceAttribute(*attribute)));
        }
        Ok(found)
    }

    /// Up to `limit` log entries behind a position: position and object.
    pub fn log_after(&self, position: u64, limit: usize) -> Result<Vec<(u64, ObjectNumber)>, DirectoryError> {
        let after = position.to_be_bytes();
        let mut found = Vec::new();
        for row in self.log.range::<&[u8]>((Bound::Excluded(after.as_slice()), Bound::Unbounded))?.take(limit) {
            let (key, value) = row?;
            found.push((number(key.value())?, number(value.value())?));
        }
        Ok(found)
    }

    /// What remains of an object that is gone.
    pub fn tombstone(&self, object: ObjectNumber) -> Result<Option<Tombstone>, DirectoryError> {
        self.tombstones.get(object.to_be_bytes().as_slice())?.map(|row| decode!(Tombstone, row.value())).transpose()
    }

    /// The password state of an account.
    pub fn credential(&self, object: ObjectNumber) -> Result<Option<CredentialRecord>, DirectoryError> {
        let Some(row) = self.credentials.get(object.to_be_bytes().as_slice())? else { return Ok(None) };
        match row.value().split_first() {
            Some((&CREDENTIAL_FORM, rest)) => rkyv::from_bytes::<CredentialRecord, rancor::Error>(rest)
                .map(Some)
                .map_err(|_| DirectoryError::Damaged("a password record cannot be read")),
            _ => decode!(EarlierCredentialRecord, row.value()).map(|earlier| Some(earlier.into())),
        }
    }

    /// Up to `limit` objects of the recycle bin behind a number.
    pub fn deleted_after(&self, after: ObjectNumber, limit: usize) -> Result<Vec<ObjectNumber>, DirectoryError> {
        let after = after.to_be_bytes();
        let mut found = Vec::new();
        for row in self.deleted.range::<&[u8]>((Bound::Excluded(after.as_slice()), Bound::Unbounded))?.take(limit) {
            found.push(number(row?.0.value())?);
        }
        Ok(found)
    }

    /// Objects of the recycle bin whose time is over.
    pub fn due_for_purge(&self, now: i64, limit: usize) -> Result<Vec<ObjectNumber>, DirectoryError> {
        let mut found = Vec::new();
        for row in self.deleted.iter()? {
            let (key, value) = row?;
            let at = value.value().try_into().map(i64::from_be_bytes).map_err(|_| DirectoryError::Damaged("a purge time is no number"))?;
            if at <= now {
                found.push(number(key.value())?);
                if found.len() == limit {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// All objects with values kept aside.
    pub fn quarantined(&self) -> Result<Vec<ObjectNumber>, DirectoryError> {
        self.quarantine.iter()?.map(|row| number(row?.0.value())).collect()
    }

    /// A row of the tenant's own state.
    pub fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, DirectoryError> {
        Ok(self.meta.get(key.as_bytes())?.map(|row| row.value().to_vec()))
    }

    /// The last position of the log.
    pub fn log_end(&self) -> Result<u64, DirectoryError> {
        self.meta_number(LOG_END)
    }

    /// Cookies from before this position are no longer good.
    pub fn log_floor(&self) -> Result<u64, DirectoryError> {
        self.meta_number(LOG_FLOOR)
    }

    /// How many live objects there are.
    pub fn live(&self) -> Result<u64, DirectoryError> {
        self.meta_number(LIVE)
    }

    fn meta_number(&self, key: &[u8]) -> Result<u64, DirectoryError> {
        self.meta.get(key)?.map_or(Ok(0), |row| number(row.value()))
    }
}

fn text(bytes: &[u8]) -> Result<String, DirectoryError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| DirectoryError::Damaged("an anchor is no text"))
}

/// The object id in a cloud anchor.
pub fn parse_cloud_anchor(anchor: &str) -> Option<Uuid> {
    let (kind, id) = anchor.split_once('_')?;
    super::record::ObjectKind::parse(kind)?;
    Uuid::try_parse(id).ok()
}

impl<'t> Writer<'t> {
    /// Opens, and where needed creates, all tables of a write transaction.
    pub fn open(transaction: &'t WriteTransaction) -> Result<Self, DirectoryError> {
        let tables: WriteTables<'t> = open_all!(transaction);
        let next_object = tables.meta_number(NEXT_OBJECT)?.max(1);
        let log_end = tables.meta_number(LOG_END)?;
        let live = tables.meta_number(LIVE)?;
        Ok(Self { tables, next_object, log_end, live })
    }

    /// Writes the counters; call it before the commit.
    pub fn finish(mut self) -> Result<(), DirectoryError> {
        for (key, value) in [(NEXT_OBJECT, self.next_object), (LOG_END, self.log_end), (LIVE, self.live)] {
            self.tables.meta.insert(key, value.to_be_bytes().as_slice())?;
        }
        Ok(())
    }

    /// A number for a new object.
    pub fn allocate(&mut self) -> ObjectNumber {
        let object = self.next_object;
        self.next_object += 1;
        object
    }

    /// How many live objects there are, with what this write has done so far.
    pub fn live_now(&self) -> u64 {
        self.live
    }

    /// Writes an object.
    pub fn put_object(&mut self, object: ObjectNumber, record: &ObjectRecord) -> Result<(), DirectoryError> {
        self.tables.objects.insert(object.to_be_bytes().as_slice(), encode!(record).as_slice())?;
        Ok(())
    }

    /// Writes the rows by which a new object is found, and counts it.
    pub fn put_identity(&mut self, object: ObjectNumber, record: &ObjectRecord) -> Result<(), DirectoryError> {
        self.tables.ids.insert(record.id.as_slice(), object.to_be_bytes().as_slice())?;
        self.live += 1;
        Ok(())
    }

    /// Moves the index of immutable ids from one value to another.
    pub fn move_anchor(&mut self, object: ObjectNumber, before: Option<&str>, after: Option<&str>) -> Result<(), DirectoryError> {
        if before != after {
            if let Some(before) = before {
                self.tables.anchors.remove(before.as_bytes())?;
            }
            if let Some(after) = after {
                self.tables.anchors.insert(after.as_bytes(), object.to_be_bytes().as_slice())?;
            }
        }
        Ok(())
    }

    /// Moves the index of unique values from one sorted set to another.
    pub fn move_unique(&mut self, object: ObjectNumber, before: &[UniqueKey], after: &[UniqueKey]) -> Result<(), DirectoryError> {
        for key in before.iter().filter(|key| after.binary_search(key).is_err()) {
            self.tables.unique.remove(key.0.as_slice())?;
        }
        for key in after.iter().filter(|key| before.binary_search(key).is_err()) {
            self.tables.unique.insert(key.0.as_slice(), object.to_be_bytes().as_slice())?;
        }
        Ok(())
    }

    /// Adds a reference and says whether it is new.
    pub fn add_reference(&mut self, owner: ObjectNumber, attribute: ReferenceAttribute, anchor: &str) -> Result<bool, DirectoryError> {
        let new = self.tables.references.insert(reference_key(owner, attribute, anchor).as_slice(), [].as_slice())?.is_none();
        if new {
            self.tables.referrers.insert(referrer_key(anchor, owner, attribute).as_slice(), [].as_slice())?;
        }
        Ok(new)
    }

    /// Takes a reference away and says whether it was there.
    pub fn remove_reference(&mut self, owner: ObjectNumber, attribute: ReferenceAttribute, anchor: &str) -> Result<bool, DirectoryError> {
        let there = self.tables.references.remove(reference_key(owner, attribute, anchor).as_slice())?.is_some();
        if there {
            self.tables.referrers.remove(referrer_key(anchor, owner, attribute).as_slice())?;
        }
        Ok(there)
    }

    /// Puts an object at the end of the log, so that the next delta reports it.
    pub fn touch(&mut self, object: ObjectNumber) -> Result<(), DirectoryError> {
        self.log_end += 1;
        let position = self.log_end.to_be_bytes();
        let earlier = self.tables.positions.insert(object.to_be_bytes().as_slice(), position.as_slice())?.map(|row| row.value().to_vec());
        if let Some(earlier) = earlier {
            self.tables.log.remove(earlier.as_slice())?;
        }
        self.tables.log.insert(position.as_slice(), object.to_be_bytes().as_slice())?;
        Ok(())
    }

    /// Makes every cookie given out so far invalid.
    pub fn raise_floor(&mut self) -> Result<(), DirectoryError> {
        self.log_end += 1;
        self.tables.meta.insert(LOG_FLOOR, self.log_end.to_be_bytes().as_slice())?;
        Ok(())
    }

    /// Puts an object into the recycle bin's list, or changes its time there.
    pub fn put_deleted(&mut self, object: ObjectNumber, purge_at: i64) -> Result<(), DirectoryError> {
        if self.tables.deleted.insert(object.to_be_bytes().as_slice(), purge_at.to_be_bytes().as_slice())?.is_none() {
            self.live = self.live.saturating_sub(1);
        }
        Ok(())
    }

    /// Takes an object off the recycle bin's list because it lives again.
    pub fn revive(&mut self, object: ObjectNumber) -> Result<(), DirectoryError> {
        if self.tables.deleted.remove(object.to_be_bytes().as_slice())?.is_some() {
            self.live += 1;
        }
        Ok(())
    }

    /// Removes an object for good and leaves a tombstone. Unique values, anchor and references must be gone already.
    pub fn bury(&mut self, object: ObjectNumber, tombstone: &Tombstone) -> Result<(), DirectoryError> {
        let key = object.to_be_bytes();
        self.tables.objects.remove(key.as_slice())?;
        self.tables.credentials.remove(key.as_slice())?;
        self.tables.quarantine.remove(key.as_slice())?;
        if self.tables.deleted.remove(key.as_slice())?.is_none() {
            self.live = self.live.saturating_sub(1);
        }
        self.tables.tombstones.insert(key.as_slice(), encode!(tombstone).as_slice())?;
        Ok(())
    }

    /// Removes up to `limit` tombstones from before a time, with their log entries; cookies that would have needed
    /// them become invalid. Says how many went.
    pub fn forget_tombstones(&mut self, before: i64, limit: usize) -> Result<usize, DirectoryError> {
        let mut old = Vec::new();
        for row in self.tables.tombstones.iter()? {
            let (key, value) = row?;
            let tombstone = decode!(Tombstone, value.value())?;
            if tombstone.at < before {
                old.push((number(key.value())?, tombstone.id));
                if old.len() == limit {
                    break;
                }
            }
        }
        let mut floor = self.tables.meta_number(LOG_FLOOR)?;
        for (object, id) in &old {
            let key = object.to_be_bytes();
            self.tables.tombstones.remove(key.as_slice())?;
            self.tables.ids.remove(id.as_slice())?;
            let position = self.tables.positions.remove(key.as_slice())?.map(|row| row.value().to_vec());
            if let Some(position) = position {
                floor = floor.max(number(&position)?);
                self.tables.log.remove(position.as_slice())?;
            }
        }
        self.tables.meta.insert(LOG_FLOOR, floor.to_be_bytes().as_slice())?;
        Ok(old.len())
    }

    /// Writes the password state of an account.
    pub fn put_credential(&mut self, object: ObjectNumber, record: &CredentialRecord) -> Result<(), DirectoryError> {
        let mut bytes = encode!(record);
        bytes[0] = CREDENTIAL_FORM;
        self.tables.credentials.insert(object.to_be_bytes().as_slice(), bytes.as_slice())?;
        Ok(())
    }

    /// Remembers or forgets that an object has values kept aside.
    pub fn mark_quarantined(&mut self, object: ObjectNumber, marked: bool) -> Result<(), DirectoryError> {
        let key = object.to_be_bytes();
        if marked {
            self.tables.quarantine.insert(key.as_slice(), [].as_slice())?;
        } else {
            self.tables.quarantine.remove(key.as_slice())?;
        }
        Ok(())
    }

    /// Writes a row of the tenant's own state.
    pub fn put_meta(&mut self, key: &str, value: &[u8]) -> Result<(), DirectoryError> {
        self.tables.meta.insert(key.as_bytes(), value)?;
        Ok(())
    }
}
