//! What can be read of an entry that cannot be used: whom it may be about.

use crate::model::Anchor;

/// By these attributes it is told whom an entry may be about that cannot be used, whether they are selected or not; those with many
/// values come last.
pub(crate) const TELLING: [(&str, Telling); 10] = [
    ("objectguid", Telling::Key),
    ("entryuuid", Telling::Key),
    ("ms-ds-consistencyguid", Telling::Key),
    ("userprincipalname", Telling::Identity),
    ("mail", Telling::Identity),
    ("samaccountname", Telling::Identity),
    ("uid", Telling::Identity),
    ("cn", Telling::Name),
    ("displayname", Telling::Name),
    ("proxyaddresses", Telling::Identity),
];

/// Of these every entry has one value at most. With several, another entry has run into it.
pub(crate) const SINGLE: [&str; 5] = ["objectGUID", "entryUUID", "mS-DS-ConsistencyGuid", "userPrincipalName", "sAMAccountName"];

/// What a value tells of whom an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    /// A value of an attribute that identifies an object.
    Key,
    /// A sign-in name, an account name, an address.
    Identity,
    /// What people call it.
    Name,
}

impl Telling {
    /// What values of an attribute tell, and its place among those that tell something, the most telling one first.
    pub fn of(attribute: &str) -> Option<(usize, Self)> {
        let place = TELLING.iter().position(|(name, _)| name.eq_ignore_ascii_case(attribute))?;
        Some((place, TELLING[place].1))
    }
}

/// What could be read of an entry that cannot be used: short values, [`Legible::VALUES_MAX`] at most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Legible {
    /// All its values of attributes that identify an object. Of several, some are another object's, which counts as seen, too.
    pub anchors: Vec<Anchor>,
    /// Sign-in names, account names, addresses.
    pub identities: Vec<String>,
    /// What people call it.
    pub names: Vec<String>,
    /// The entry ran into another one: nobody knows who else is in there, and none is taken for gone.
    pub merged: bool,
    /// Too little can be read to tell who it is about: it may be anybody who is missed elsewhere.
    pub nobody_knows: bool,
}

impl Legible {
    /// So many values are kept.
    pub const VALUES_MAX: usize = 50;
    /// Octets of such a value.
    pub const OCTETS_MAX: usize = 256;

    /// True when a person could be known by it.
    pub fn tells_who(&self) -> bool {
        !self.anchors.is_empty() || !self.identities.is_empty()
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.anchors.len() + self.identities.len() + self.names.len()
    }

    /// True without values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Octets of the values.
    pub fn octets(&self) -> usize {
        let texts = self.identities.iter().chain(&self.names).map(String::len);
        self.anchors.iter().map(|anchor| anchor.as_bytes().len()).chain(texts).sum()
    }

    /// True for a value that is short enough, where there is room for one more.
    pub fn takes(&self, octets: &[u8]) -> bool {
        !octets.is_empty() && octets.len() <= Self::OCTETS_MAX && self.len() < Self::VALUES_MAX
    }

    /// Adds a value if it is taken, new, and text where it has to be.
    pub fn add(&mut self, telling: Telling, octets: &[u8]) {
        if !self.takes(octets) {
            return;
        }
        let texts = match telling {
            Telling::Key => return push_new(&mut self.anchors, Anchor::new(octets)),
            Telling::Identity => &mut self.identities,
            Telling::Name => &mut self.names,
        };
        if let Ok(text) = std::str::from_utf8(octets) {
            push_new(texts, text.to_owned());
        }
    }
}

fn push_new<T: PartialEq>(values: &mut Vec<T>, value: T) {
    if !values.contains(&value) {
        values.push(value);
    }
}
