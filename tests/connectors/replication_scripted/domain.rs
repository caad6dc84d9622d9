//! A domain in memory that answers replication calls like a domain controller: it keeps its own order of changes, cuts
//! pages, encrypts hashes, and does on request what real ones do only once in a while.

use async_trait::async_trait;
use des::Des;
use des::cipher::{BlockCipherEncrypt as _, KeyInit as _};
use md5::{Digest as _, Md5};
use rc4::{Rc4, StreamCipher as _};
use std::sync::{Arc, Mutex};
use syncline::connector::ad::replication::{Controllers, DrsCall};
use syncline::connector::{ConnectorError, ConnectorErrorKind};
use syncline::context::Context;
use syncline::protocol::dcerpc::{Guid, Reader, Writer};
use syncline::protocol::drsuapi::SessionKey;
use zeroize::Zeroizing;

pub(crate) const DOMAIN: &str = "DC=corp,DC=example";
const KEY: [u8; 16] = [0x42; 16];
/// Seconds from 1601 to 2026-11-21.
pub(crate) const CHANGED: i64 = 13_439_700_000;

/// An account of the domain.
#[derive(Clone)]
pub(crate) struct Account {
    pub(crate) guid: Guid,
    pub(crate) rid: u32,
    /// The hash; none: it never had a password.
    pub(crate) hash: Option<[u8; 16]>,
    pub(crate) must_change: bool,
    pub(crate) deleted: bool,
    /// The value on the wire is damaged.
    pub(crate) damaged: bool,
    pub(crate) version: u32,
    /// The change of the domain that made it what it is.
    pub(crate) usn: i64,
}

/// What a request asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) agent: Guid,
    pub(crate) invocation: Guid,
    pub(crate) position: [i64; 3],
    pub(crate) known: Vec<(Guid, i64)>,
    pub(crate) objects: u32,
    pub(crate) single: bool,
    pub(crate) attributes: Vec<u32>,
}

/// A controller of the domain and what is wrong with it.
pub(crate) struct Controller {
    pub(crate) name: String,
    pub(crate) agent: Guid,
    pub(crate) invocation: Guid,
    pub(crate) context: Guid,
    pub(crate) accounts: Vec<Account>,
    /// The last change.
    pub(crate) usn: i64,
    /// Pages of links behind the objects.
    pub(crate) link_pages: i64,
    /// Names the same position again.
    pub(crate) stuck: bool,
    /// Refuses every connection with this.
    pub(crate) refuses: Option<ConnectorErrorKind>,
    /// Refuses changes with this number.
    pub(crate) status: u32,
    /// Refuses secrets, or everything.
    pub(crate) lacks: Lacks,
    /// Breaks off after this many pages.
    pub(crate) breaks_after: Option<usize>,
    /// Does not tell who it is.
    pub(crate) anonymous: bool,
    /// The replication epoch.
    pub(crate) epoch: u32,
    /// What it can do.
    pub(crate) flags: u32,
    /// Everything it was asked.
    pub(crate) asked: Vec<Asked>,
    /// How many connections were opened.
    pub(crate) connections: usize,
    pages: usize,
}

/// The rights that the account lacks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lacks {
    Nothing,
    Secrets,
    Everything,
}

impl Controller {
    pub(crate) fn new(name: &str, number: u8, accounts: Vec<Account>) -> Arc<Mutex<Self>> {
        let usn = accounts.iter().map(|account| account.usn).max().unwrap_or(1);
        Arc::new(Mutex::new(Self {
            name: name.to_owned(),
            agent: Guid([number; 16]),
            invocation: Guid([number + 100; 16]),
            context: Guid([0xcc; 16]),
            accounts,
            usn,
            link_pages: 0,
            stuck: false,
            refuses: None,
            status: 0,
            lacks: Lacks::Nothing,
            breaks_after: None,
            anonymous: false,
            epoch: 0,
            flags: 0x2fff_ff6f,
            asked: Vec::new(),
            connections: 0,
            pages: 0,
        }))
    }

    /// Changes an account.
    pub(crate) fn change(&mut self, index: usize, change: impl FnOnce(&mut Account)) {
        self.usn += 1;
        let account = &mut self.accounts[index];
        account.usn = self.usn;
        account.version += 1;
        change(account);
    }

    fn changes(&mut self, stub: &[u8]) -> Result<Vec<u8>, ConnectorError> {
        let asked = read_request(stub);
        self.asked.push(asked.clone());
        self.pages += 1;
        if self.breaks_after.is_some_and(|pages| self.pages > pages) {
            return Err(ConnectorError::new(ConnectorErrorKind::Dropped, format!("{}: the connection was lost", self.name)));
        }
        let secret = asked.attributes.contains(&0x5a);
        let status = match self.lacks {
            Lacks::Everything => 0x2105,
            Lacks::Secrets if secret => 0x2105,
            _ => self.status,
        };
        if status != 0 {
            return Ok(self.reply(&asked, &[], Ending { to: [0; 3], more: false, links: 0, status, extended: 0 }));
        }
        if asked.single {
            return Ok(self.single(&asked, stub));
        }
        // Another life's position says nothing here.
        let from = if asked.invocation == self.invocation { asked.position } else { [0; 3] };
        let known = asked.known.iter().filter(|(of, _)| *of == self.invocation).map(|(_, usn)| *usn).max().unwrap_or(0);
        let mut due: Vec<Account> = self.accounts.iter().filter(|account| account.usn > from[0] && account.usn > known).cloned().collect();
        due.sort_by_key(|account| account.usn);
        let room = usize::try_from(asked.objects).unwrap();
        let objects_left = due.len() > room;
        due.truncate(room);
        let mut links = 0;
        let (to, more) = if objects_left {
            ([due[room - 1].usn, 0, 0], true)
        } else if from[1] < self.link_pages {
            links = usize::from(from[1] > 0);
            ([self.usn, from[1] + 1, 0], true)
        } else {
            ([self.usn, 0, self.usn], false)
        };
        let (to, more) = if self.stuck { (asked.position, true) } else { (to, more) };
        Ok(self.reply(&asked, &due, Ending { to, more, links, status: 0, extended: 0 }))
    }

    fn single(&self, asked: &Asked, stub: &[u8]) -> Vec<u8> {
        // The GUID stands in the name: behind the fixed part, a count and two lengths.
        let guid = Guid(stub[156..172].try_into().unwrap());
        let found: Vec<Account> = self.accounts.iter().filter(|account| account.guid == guid).cloned().collect();
        // Without a GUID the domain's own object is meant.
        let status = if found.is_empty() && !guid.is_nil() { 0x20f7 } else { 0 };
        self.reply(asked, &found, Ending { to: [0; 3], more: false, links: 0, status, extended: u32::from(status == 0) })
    }

    fn reply(&self, asked: &Asked, accounts: &[Account], ending: Ending) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u32(6);
        writer.u32(6);
        writer.guid(self.agent);
        writer.guid(self.invocation);
        writer.optional(ending.status == 0);
        for number in asked.position.into_iter().chain(ending.to) {
            writer.i64(number);
        }
        let last = ending.status == 0 && !ending.more && !asked.single;
        writer.optional(last);
        writer.u32(if ending.status == 0 { 3 } else { 0 });
        writer.optional(ending.status == 0);
        writer.u32(ending.extended);
        writer.count(accounts.len());
        writer.u32(0);
        writer.optional(!accounts.is_empty());
        writer.u32(u32::from(ending.more));
        writer.u32(0);
        writer.u32(0);
        writer.count(ending.links);
        // As Samba does: there, even when it is empty.
        writer.pointer();
        writer.u32(0);
        if ending.status == 0 {
            write_name(&mut writer, self.context, &[], DOMAIN);
        }
        if last {
            writer.count(2);
            writer.align(8);
            for number in [2, 0, 2, 0] {
                writer.u32(number);
            }
            for (invocation, usn) in [(self.invocation, self.usn), (Guid([0xee; 16]), 5)] {
                writer.guid(invocation);
                writer.i64(usn);
                writer.i64(0);
            }
        }
        if ending.status == 0 {
            write_prefixes(&mut writer);
        }
        self.write_objects(&mut writer, accounts);
        writer.count(ending.links);
        for _ in 0..ending.links {
            writer.align(8);
            writer.pointer();
            writer.u32(0x0001_0002);
            writer.u32(4);
            writer.pointer();
            writer.octets(&[0; 56]);
        }
        for _ in 0..ending.links {
            write_name(&mut writer, Guid([7; 16]), &[], "CN=group,DC=corp,DC=example");
            writer.count(4);
            writer.octets(b"link");
        }
        writer.u32(ending.status);
        writer.finish()
    }

    fn write_objects(&self, writer: &mut Writer, accounts: &[Account]) {
        for (index, account) in accounts.iter().enumerate() {
            writer.optional(index + 1 < accounts.len());
            writer.pointer();
            writer.u32(0);
            writer.count(attributes(account).len());
            writer.pointer();
            writer.u32(0);
            writer.optional(false);
            writer.pointer();
        }
        for account in accounts.iter().rev() {
            let mut sid = vec![1, 5, 0, 0, 0, 0, 0, 5, 21, 0, 0, 0];
            sid.extend_from_slice(&[9; 12]);
            sid.extend_from_slice(&account.rid.to_le_bytes());
            write_name(writer, account.guid, &sid, &dn(account.rid));
            let attributes = attributes(account);
            writer.count(attributes.len());
            for (id, values) in &attributes {
                writer.u32(*id);
                writer.count(values.len());
                writer.optional(!values.is_empty());
            }
            for (_, values) in attributes.iter().filter(|(_, values)| !values.is_empty()) {
                writer.count(values.len());
                for value in values {
                    writer.count(value.len());
                    writer.pointer();
                }
                for value in values {
                    writer.count(value.len());
                    writer.octets(value);
                }
            }
            writer.count(attributes.len());
            writer.align(8);
            writer.count(attributes.len());
            for _ in &attributes {
                writer.align(8);
                writer.u32(account.version);
                writer.i64(CHANGED + account.usn);
                writer.guid(self.invocation);
                writer.i64(account.usn);
            }
        }
    }
}

/// How a reply ends.
struct Ending {
    to: [i64; 3],
    more: bool,
    links: usize,
    status: u32,
    extended: u32,
}

pub(crate) fn dn(rid: u32) -> String {
    format!("CN=user{rid},{DOMAIN}")
}

/// Attributes by the numbers of this domain's own table: not those that were sent.
fn attributes(account: &Account) -> Vec<(u32, Vec<Vec<u8>>)> {
    let value = account.hash.map(|hash| {
        let mut value = encrypt(&hash, account.rid, account.guid);
        if account.damaged {
            value[30] ^= 4;
        }
        value
    });
    let last_set: i64 = if account.must_change { 0 } else { 134_396_909_900_986_750 };
    let mut attributes = Vec::new();
    if account.deleted {
        attributes.push((0x0002_0030, vec![1_u32.to_le_bytes().to_vec()]));
        attributes.push((0x0009_005a, Vec::new()));
        attributes.push((0x0009_0060, Vec::new()));
    } else {
        attributes.push((0x0009_0008, vec![512_u32.to_le_bytes().to_vec()]));
        if let Some(value) = value {
            attributes.push((0x0009_005a, vec![value]));
            attributes.push((0x0009_0060, vec![last_set.to_le_bytes().to_vec()]));
        }
    }
    attributes
}

/// The prefixes of this domain: with indexes of its own, and a state of the schema at the end.
fn write_prefixes(writer: &mut Writer) {
    let mut state = [0; 21];
    state[0] = 0xff;
    let prefixes: [(u32, &[u8]); 3] =
        [(9, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x14, 0x01, 0x04]), (2, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x14, 0x01, 0x02]), (0, &state)];
    writer.count(prefixes.len());
    for (index, octets) in prefixes {
        writer.u32(index);
        writer.count(octets.len());
        writer.pointer();
    }
    for (_, octets) in prefixes {
        writer.count(octets.len());
        writer.octets(octets);
    }
}

fn write_name(writer: &mut Writer, guid: Guid, sid: &[u8], name: &str) {
    let units: Vec<u16> = name.encode_utf16().collect();
    writer.count(units.len() + 1);
    writer.count(56 + 2 * (units.len() + 1));
    writer.count(sid.len());
    writer.guid(guid);
    writer.octets(&[sid, &vec![0; 28 - sid.len()]].concat());
    writer.count(units.len());
    for unit in units.into_iter().chain([0]) {
        writer.u16(unit);
    }
}

/// Both layers of encryption, the way there (MS-DRSR 4.1.10.6.17 and .18 say the way back).
fn encrypt(hash: &[u8; 16], rid: u32, salt: Guid) -> Vec<u8> {
    let [r0, r1, r2, r3] = rid.to_le_bytes();
    let mut wrapped = Vec::new();
    for (half, key) in hash.chunks(8).zip([[r0, r1, r2, r3, r0, r1, r2], [r3, r0, r1, r2, r3, r0, r1]]) {
        let mut spread = [0_u8; 8];
        for bit in 0..56 {
            let set = key[bit / 8] >> (7 - bit % 8) & 1;
            spread[bit / 7] |= set << (7 - bit % 7);
        }
        let mut block: [u8; 8] = half.try_into().unwrap();
        Des::new(&spread.into()).encrypt_block((&mut block).into());
        wrapped.extend_from_slice(&block);
    }
    let mut value = crc32fast::hash(&wrapped).to_le_bytes().to_vec();
    value.extend_from_slice(&wrapped);
    let key = Md5::new().chain_update(KEY).chain_update(salt.0).finalize();
    Rc4::new_from_slice(&key).unwrap().apply_keystream(&mut value);
    [&salt.0[..], &value].concat()
}

fn read_request(stub: &[u8]) -> Asked {
    let guid = |at: usize| Guid(stub[at..at + 16].try_into().unwrap());
    let number = |at: usize| u32::from_le_bytes(stub[at..at + 4].try_into().unwrap());
    let long = |at: usize| i64::from_le_bytes(stub[at..at + 8].try_into().unwrap());
    assert_eq!((number(20), number(24)), (8, 8), "a request of version 8");
    let mut reader = Reader::new(stub);
    reader.octets(144).unwrap();
    let units = reader.u32().unwrap();
    reader.octets(56 + 2 * usize::try_from(units).unwrap()).unwrap();
    let mut known = Vec::new();
    if number(96) != 0 {
        let count = reader.u32().unwrap();
        reader.align(8).unwrap();
        assert_eq!([reader.u32(), reader.u32(), reader.u32(), reader.u32()], [Ok(1), Ok(0), Ok(count), Ok(0)]);
        for _ in 0..count {
            known.push((reader.guid().unwrap(), reader.i64().unwrap()));
        }
    }
    let count = reader.u32().unwrap();
    assert_eq!([reader.u32(), reader.u32(), reader.u32()], [Ok(1), Ok(0), Ok(count)]);
    let attributes = (0..count).map(|_| reader.u32().unwrap()).collect();
    Asked {
        agent: guid(32),
        invocation: guid(48),
        position: [long(72), long(80), long(88)],
        known,
        objects: number(104),
        single: number(112) == 6,
        attributes,
    }
}

/// The controllers behind their names.
pub(crate) struct Domain(pub(crate) Vec<Arc<Mutex<Controller>>>);

#[async_trait]
impl Controllers for Domain {
    fn names(&self) -> Vec<String> {
        self.0.iter().map(|controller| controller.lock().unwrap().name.clone()).collect()
    }

    async fn port(&self, _: &Context, _: usize) -> Result<u16, ConnectorError> {
        Ok(4_950)
    }

    async fn connect(&self, _: &Context, index: usize, port: u16) -> Result<Box<dyn DrsCall>, ConnectorError> {
        assert_eq!(port, 4_950);
        let controller = self.0[index].clone();
        let mut state = controller.lock().unwrap();
        state.connections += 1;
        state.pages = 0;
        if let Some(kind) = state.refuses {
            return Err(ConnectorError::new(kind, format!("{}: refused", state.name)));
        }
        drop(state);
        Ok(Box::new(Call(controller)))
    }
}

struct Call(Arc<Mutex<Controller>>);

#[async_trait]
impl DrsCall for Call {
    async fn call(&mut self, _: &Context, operation: u16, stub: &[u8]) -> Result<Zeroizing<Vec<u8>>, ConnectorError> {
        let mut controller = self.0.lock().unwrap();
        let mut writer = Writer::new();
        match operation {
            0 => {
                let epoch = u32::from_le_bytes(stub[56..60].try_into().unwrap());
                writer.pointer();
                writer.count(48);
                writer.count(48);
                writer.u32(controller.flags);
                writer.octets(&[0; 20]);
                writer.u32(controller.epoch);
                writer.octets(&[0; 20]);
                // Who names another epoch gets a handle of no use.
                writer.octets(&[if epoch == controller.epoch { 5 } else { 6 }; 20]);
                writer.u32(0);
            }
            1 => {
                writer.octets(&[0; 20]);
                writer.u32(0);
            }
            3 => {
                assert_eq!(stub[..20], [5; 20], "the handle of the right epoch");
                return controller.changes(stub).map(Zeroizing::new);
            }
            16 => {
                let name = if controller.anonymous { "other.corp.example".to_owned() } else { controller.name.clone() };
                writer.u32(2);
                writer.u32(2);
                writer.u32(1);
                writer.pointer();
                writer.u32(1);
                writer.optional(false);
                writer.pointer();
                for _ in 0..5 {
                    writer.optional(false);
                }
                for number in [1, 1, 1] {
                    writer.u32(number);
                }
                writer.octets(&[0; 48]);
                writer.guid(controller.agent);
                writer.wide_string(&name);
                writer.u32(0);
            }
            other => panic!("procedure {other} is not called"),
        }
        drop(controller);
        Ok(Zeroizing::new(writer.finish()))
    }

    fn session_key(&mut self) -> Result<SessionKey, ConnectorError> {
        Ok(SessionKey::new(Zeroizing::new(KEY.to_vec())))
    }

    fn clock_ahead(&self) -> Option<i64> {
        Some(-2_000_000)
    }
}
