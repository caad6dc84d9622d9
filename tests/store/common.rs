//! What the tests of the store share: a disk that can lose power, objects of the usual shape, shorthand.

use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex};
use syncline::model::{
    Anchor, ConnectorId, CsId, CsObject, DeltaKind, FlatBuilder, MvId, MvObject, Names, ObjectType, StageDelta, ValueRef,
};
use syncline::store::{Store, StoreError, StoreOptions};

/// Small caches, so that tests read from the disk, too.
pub(crate) const OPTIONS: StoreOptions = StoreOptions { cache_octets: 1 << 20 };

pub(crate) fn cs(connector: u16, sequence: u64) -> CsId {
    CsId::new(ConnectorId(connector), sequence)
}

/// A disk in memory. Writes reach it only by a synchronization; losing power keeps any part of the others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Arc<Mutex<Platter>>);

#[derive(Debug, Default)]
struct Platter {
    durable: Vec<u8>,
    /// What readers see.
    current: Vec<u8>,
    /// Since the last synchronization, in order.
    unsynced: Vec<Unsynced>,
    /// Operations until the power goes.
    countdown: Option<u64>,
    dead: bool,
}

#[derive(Debug)]
enum Unsynced {
    Write(u64, Vec<u8>),
    Length(u64),
}

impl Disk {
    /// Lets the power go after `operations` more writes, length changes or synchronizations.
    pub(crate) fn fail_after(&self, operations: u64) {
        self.0.lock().unwrap().countdown = Some(operations);
    }

    /// True when the power went.
    pub(crate) fn is_dead(&self) -> bool {
        self.0.lock().unwrap().dead
    }

    /// The disk as it is found when power is back: of the writes that were not synchronized, those whose bit in
    /// `survivors` is set are there.
    pub(crate) fn after_power_loss(&self, survivors: u64) -> Disk {
        let platter = self.0.lock().unwrap();
        let mut content = platter.durable.clone();
        for (index, change) in platter.unsynced.iter().enumerate() {
            let kept = survivors.rotate_right(u32::try_from(index % 64).unwrap()) & 1 == 1;
            if kept {
                change.apply(&mut content);
            }
        }
        Disk(Arc::new(Mutex::new(Platter { durable: content.clone(), current: content, ..Platter::default() })))
    }

    pub(crate) fn open(&self) -> Result<Store, StoreError> {
        Store::open_with_backend(self.clone(), OPTIONS)
    }
}

impl Unsynced {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Length(length) => content.resize(usize::try_from(*length).unwrap(), 0),
            Self::Write(offset, data) => {
                let start = usize::try_from(*offset).unwrap();
                // The length change before it may be among what was lost.
                if content.len() < start + data.len() {
                    content.resize(start + data.len(), 0);
                }
                content[start..start + data.len()].copy_from_slice(data);
            }
        }
    }
}

impl Platter {
    fn step(&mut self) -> io::Result<()> {
        if self.dead || self.countdown == Some(0) {
            self.dead = true;
            return Err(io::Error::other("the power is gone"));
        }
        self.countdown = self.countdown.map(|left| left - 1);
        Ok(())
    }

    fn change(&mut self, change: Unsynced) -> io::Result<()> {
        self.step()?;
        change.apply(&mut self.current);
        self.unsynced.push(change);
        Ok(())
    }
}

impl redb::StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().current.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let platter = self.0.lock().unwrap();
        if platter.dead {
            return Err(io::Error::other("the power is gone"));
        }
        let start = usize::try_from(offset).unwrap();
        let content = platter.current.get(start..start + out.len()).ok_or(ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(content);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.lock().unwrap().change(Unsynced::Length(length))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut platter = self.0.lock().unwrap();
        platter.step()?;
        platter.durable = platter.current.clone();
        platter.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.lock().unwrap().change(Unsynced::Write(offset, data.to_vec()))
    }
}

/// The attributes of a common user of Active Directory, for records of the measured shape: 36–41 values.
const USER: [(&str, Shape); 33] = [
    ("accountNameHistory", Shape::Text("jw00000")),
    ("c", Shape::Text("DE")),
    ("cn", Shape::Numbered("Johanna Wintermeier")),
    ("co", Shape::Text("Germany")),
    ("company", Shape::Text("Contoso Manufacturing GmbH")),
    ("countryCode", Shape::Number(276)),
    ("department", Shape::Text("Product Engineering")),
    ("description", Shape::Text("Engineer, fixed term, building 12")),
    ("displayName", Shape::Numbered("Wintermeier, Johanna")),
    ("employeeID", Shape::Numbered("4711")),
    ("employeeType", Shape::Text("internal")),
    ("extensionAttribute1", Shape::Text("cost-center-4100")),
    ("extensionAttribute2", Shape::Text("E3")),
    ("facsimileTelephoneNumber", Shape::Text("+49 89 1234 5679")),
    ("givenName", Shape::Text("Johanna")),
    ("l", Shape::Text("München")),
    ("mail", Shape::Numbered("johanna.wintermeier@contoso.example")),
    ("mailNickname", Shape::Numbered("johanna.wintermeier")),
    ("mobile", Shape::Text("+49 170 1234567")),
    ("objectGUID", Shape::Binary(16)),
    ("objectSid", Shape::Binary(28)),
    ("physicalDeliveryOfficeName", Shape::Text("12/3.047")),
    ("postalCode", Shape::Text("80331")),
    ("pwdLastSet", Shape::Number(133_500_000_000_000_000)),
    ("sAMAccountName", Shape::Numbered("jwinterm")),
    ("sn", Shape::Text("Wintermeier")),
    ("st", Shape::Text("Bayern")),
    ("streetAddress", Shape::Text("Lindwurmstraße 123")),
    ("telephoneNumber", Shape::Text("+49 89 1234 5678")),
    ("title", Shape::Text("Senior Engineer")),
    ("userAccountControl", Shape::Number(512)),
    ("userPrincipalName", Shape::Numbered("johanna.wintermeier@contoso.example")),
    ("whenCreated", Shape::Text("20240131083015.0Z")),
];

#[derive(Clone, Copy)]
enum Shape {
    Text(&'static str),
    Numbered(&'static str),
    Number(i64),
    Binary(usize),
}

/// A common user: 36 to 41 values by its number, as the second import of it leaves it.
pub(crate) fn user(names: &Names, connector: u16, number: u64) -> CsObject {
    let mut values = FlatBuilder::with_capacity(41, 1000);
    for (name, shape) in USER {
        let attr = names.intern(name);
        match shape {
            Shape::Text(text) => values.push(attr, ValueRef::Text(text), 1),
            Shape::Numbered(text) => values.push(attr, ValueRef::Text(&with_number(text, number)), 1),
            Shape::Number(value) => values.push(attr, ValueRef::Number(value + i64::try_from(number % 7).unwrap()), 1),
            Shape::Binary(length) => values.push(attr, ValueRef::Binary(&octets(number, length)), 1),
        }
    }
    let proxies = names.intern("proxyAddresses");
    for alias in 0..3 + number % 6 {
        let address = format!("smtp:j.w{alias}.{number:06}@contoso.example");
        values.push(proxies, ValueRef::Text(&address), 1);
    }
    let dn = format!("CN=Johanna Wintermeier {number:06},OU=Engineering,OU=People,DC=contoso,DC=example");
    let mut object = CsObject::new(cs(connector, number), names.object_type("user"), dn);
    object.anchor = Some(Anchor::new(octets(number, 16)));
    object.in_base = true;
    object.values = values.finish();
    object.stages[0] = StageDelta { kind: DeltaKind::Update, rename: None };
    object
}

/// A metaverse object with the values of a user.
pub(crate) fn person(names: &Names, id: u64) -> MvObject {
    let values = user(names, 1, id).values;
    MvObject { id: MvId(id), object_type: ObjectType(names.intern("person").0), values, lineage: Vec::new() }
}

fn with_number(text: &str, number: u64) -> String {
    match text.split_once('@') {
        Some((local, domain)) => format!("{local}{number:06}@{domain}"),
        None => format!("{text} {number:06}"),
    }
}

/// Octets that look random and are the same for the same number.
pub(crate) fn octets(number: u64, length: usize) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}
