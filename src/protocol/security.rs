//! Security descriptors as directories of Microsoft's kind keep them in `nTSecurityDescriptor` (MS-DTYP 2.4): read, judged and
//! extended by single entries, so that rights can be checked and granted without touching what else is there.

use super::dcerpc::Guid;
use std::fmt;

/// The control that says which parts of a descriptor are meant (`LDAP_SERVER_SD_FLAGS`, MS-ADTS 3.1.1.3.4.1.11).
pub const DESCRIPTOR_PARTS: &str = "1.2.840.113556.1.4.801";
/// Its value for everything but the audit list: owner, group and access list (1 + 2 + 4).
pub const WITHOUT_AUDIT: &[u8] = &[0x30, 3, 2, 1, 7];
/// Its value for the access list alone (4).
pub const ACCESS_LIST: &[u8] = &[0x30, 3, 2, 1, 4];

/// Single rights of an entry (MS-ADTS 5.1.3.2).
pub mod right {
    /// Create objects below.
    pub const CREATE_CHILD: u32 = 0x1;
    /// Delete objects below.
    pub const DELETE_CHILD: u32 = 0x2;
    /// List what is below.
    pub const LIST_CONTENTS: u32 = 0x4;
    /// Read attributes.
    pub const READ_PROPERTY: u32 = 0x10;
    /// Write attributes.
    pub const WRITE_PROPERTY: u32 = 0x20;
    /// Use an extended right.
    pub const CONTROL_ACCESS: u32 = 0x100;
    /// Read the descriptor.
    pub const READ_CONTROL: u32 = 0x2_0000;
}

/// Bits of the inheritance of an entry (MS-DTYP 2.4.4.1).
pub mod inheritance {
    /// Containers below get it.
    pub const CONTAINERS: u8 = 0x02;
    /// It counts below only.
    pub const ONLY_BELOW: u8 = 0x08;
    /// It came from above.
    pub const INHERITED: u8 = 0x10;
}

/// The descriptor does not take what is inherited (MS-DTYP 2.4.6, `PD`).
const PROTECTED: u16 = 0x1000;
/// The bits of the control word that stay when a descriptor is written: they belong to the access list.
const KEPT: u16 = 0x0008 | 0x0100 | 0x0400 | PROTECTED;
/// An access list is there; the parts are addressed from the beginning.
const WRITTEN: u16 = 0x8004;

const ALLOW: u8 = 0;
const DENY: u8 = 1;
const ALLOW_OBJECT: u8 = 5;
const DENY_OBJECT: u8 = 6;
/// An entry may name an attribute, a set of them, a class or an extended right.
const OBJECT_PRESENT: u32 = 1;
/// And the class of objects below that inherit it.
const INHERITED_OBJECT_PRESENT: u32 = 2;

/// Who somebody is to a domain (MS-DTYP 2.4.2.2).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sid(Box<[u8]>);

impl Sid {
    /// From the octets of `objectSid`; `None` when they are none.
    pub fn from_octets(octets: &[u8]) -> Option<Self> {
        let (sid, rest) = Self::take(octets)?;
        rest.is_empty().then_some(sid)
    }

    fn take(octets: &[u8]) -> Option<(Self, &[u8])> {
        let [1, count, ..] = octets else { return None };
        if *count > 15 {
            return None;
        }
        let length = 8 + 4 * usize::from(*count);
        let (sid, rest) = octets.split_at_checked(length)?;
        Some((Self(sid.into()), rest))
    }

    /// From `S-1-5-…`; `None` when it is not that.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix("S-1-")?.split('-');
        let authority: u64 = parts.next()?.parse().ok()?;
        let numbers = parts.map(|part| part.parse::<u32>().ok()).collect::<Option<Vec<_>>>()?;
        let count = u8::try_from(numbers.len()).ok().filter(|count| *count <= 15)?;
        let mut octets = vec![1, count];
        octets.extend_from_slice(authority.to_be_bytes().get(2..)?);
        octets.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        (authority >> 48 == 0).then(|| Self(octets.into()))
    }

    /// The octets.
    pub fn as_octets(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (head, numbers) = self.0.split_at(8);
        let authority = head.iter().skip(2).fold(0_u64, |sum, octet| sum << 8 | u64::from(*octet));
        write!(f, "S-1-{authority}")?;
        for number in numbers.as_chunks::<4>().0 {
            write!(f, "-{}", u32::from_le_bytes(*number))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sid({self})")
    }
}

/// An entry of an access list that allows or denies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ace {
    /// It denies.
    pub denies: bool,
    /// Bits of [`inheritance`].
    pub flags: u8,
    /// Bits of [`right`].
    pub rights: u32,
    /// The attribute, set of attributes, class or extended right that is meant; everything without it.
    pub object: Option<Guid>,
    /// The class of objects below that get it; all without it.
    pub class: Option<Guid>,
    /// Whom it is for.
    pub who: Sid,
}

impl Ace {
    /// An entry that allows rights on the object itself.
    pub fn allow(who: Sid, rights: u32) -> Self {
        Self { denies: false, flags: 0, rights, object: None, class: None, who }
    }

    fn parse(octets: &[u8]) -> Option<Self> {
        let [kind, flags, _, _, r0, r1, r2, r3, body @ ..] = octets else { return None };
        let rights = u32::from_le_bytes([*r0, *r1, *r2, *r3]);
        let (denies, of_object) = match *kind {
            ALLOW => (false, false),
            DENY => (true, false),
            ALLOW_OBJECT => (false, true),
            DENY_OBJECT => (true, true),
            _ => return None,
        };
        let (mut object, mut class, mut rest) = (None, None, body);
        if of_object {
            let (present, after) = rest.split_first_chunk::<4>()?;
            let present = u32::from_le_bytes(*present);
            rest = after;
            for (bit, place) in [(OBJECT_PRESENT, &mut object), (INHERITED_OBJECT_PRESENT, &mut class)] {
                if present & bit != 0 {
                    let (guid, after) = rest.split_first_chunk::<16>()?;
                    *place = Some(Guid(*guid));
                    rest = after;
                }
            }
        }
        // Behind the identifier there may be data of applications.
        let (who, _) = Sid::take(rest)?;
        Some(Self { denies, flags: *flags, rights, object, class, who })
    }

    fn write(&self) -> Vec<u8> {
        let of_object = self.object.is_some() || self.class.is_some();
        let kind = match (self.denies, of_object) {
            (false, false) => ALLOW,
            (true, false) => DENY,
            (false, true) => ALLOW_OBJECT,
            (true, true) => DENY_OBJECT,
        };
        let mut octets = vec![kind, self.flags, 0, 0];
        octets.extend_from_slice(&self.rights.to_le_bytes());
        if of_object {
            let bit = |guid: Option<Guid>, bit| if guid.is_some() { bit } else { 0 };
            let present: u32 = bit(self.object, OBJECT_PRESENT) | bit(self.class, INHERITED_OBJECT_PRESENT);
            octets.extend_from_slice(&present.to_le_bytes());
            [self.object, self.class].into_iter().flatten().for_each(|guid| octets.extend_from_slice(&guid.0));
        }
        octets.extend_from_slice(self.who.as_octets());
        // At most 44 octets and an identifier of at most 68.
        let length = u16::try_from(octets.len()).unwrap_or(u16::MAX).to_le_bytes();
        octets[2..4].copy_from_slice(&length);
        octets
    }

    /// True when whoever has this entry needs `other` no more.
    fn covers(&self, other: &Self) -> bool {
        let reach = inheritance::CONTAINERS | inheritance::ONLY_BELOW;
        self.denies == other.denies
            && self.who == other.who
            && self.object == other.object
            && self.class == other.class
            && self.flags & reach == other.flags & reach
            && self.rights & other.rights == other.rights
    }
}

/// As the security descriptor definition language writes it (MS-DTYP 2.5.1).
impl fmt::Display for Ace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const FLAGS: [(u8, &str); 5] = [(1, "OI"), (2, "CI"), (4, "NP"), (8, "IO"), (0x10, "ID")];
        const RIGHTS: [(u32, &str); 13] = [
            (0x1, "CC"),
            (0x2, "DC"),
            (0x4, "LC"),
            (0x8, "SW"),
            (0x10, "RP"),
            (0x20, "WP"),
            (0x40, "DT"),
            (0x80, "LO"),
            (0x100, "CR"),
            (0x1_0000, "SD"),
            (0x2_0000, "RC"),
            (0x4_0000, "WD"),
            (0x8_0000, "WO"),
        ];
        let of_object = if self.object.is_some() || self.class.is_some() { "O" } else { "" };
        write!(f, "({of_object}{};", if self.denies { "D" } else { "A" })?;
        FLAGS.iter().filter(|(bit, _)| self.flags & bit != 0).try_for_each(|(_, name)| f.write_str(name))?;
        f.write_str(";")?;
        let named = RIGHTS.iter().fold(0, |sum, (bit, _)| sum | bit);
        if self.rights & !named == 0 {
            RIGHTS.iter().filter(|(bit, _)| self.rights & bit != 0).try_for_each(|(_, name)| f.write_str(name))?;
        } else {
            write!(f, "{:#x}", self.rights)?;
        }
        let shown = |guid: Option<Guid>| guid.map(|guid| guid.to_string()).unwrap_or_default();
        write!(f, ";{};{};{})", shown(self.object), shown(self.class), self.who)
    }
}

/// An entry as it came: what is not understood is kept as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    octets: Vec<u8>,
    ace: Option<Ace>,
}

impl Entry {
    fn inherited(&self) -> bool {
        self.octets.get(1).is_some_and(|flags| flags & inheritance::INHERITED != 0)
    }
}

/// Who may do what with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    control: u16,
    owner: Option<Sid>,
    /// The revision of the access list; entries that name objects need 4.
    revision: u8,
    /// `None`: there is no access list, and everybody may do everything.
    entries: Option<Vec<Entry>>,
}

impl Descriptor {
    /// Reads a descriptor; `None` when it is malformed.
    pub fn parse(octets: &[u8]) -> Option<Self> {
        let [1, _, c0, c1, o0, o1, o2, o3, _, _, _, _, _, _, _, _, d0, d1, d2, d3, ..] = octets else { return None };
        let control = u16::from_le_bytes([*c0, *c1]);
        let place = |octets: [u8; 4]| usize::try_from(u32::from_le_bytes(octets)).ok();
        let owner = match place([*o0, *o1, *o2, *o3])? {
            0 => None,
            at => Some(Sid::take(octets.get(at..)?)?.0),
        };
        let at = place([*d0, *d1, *d2, *d3])?;
        if control & 4 == 0 || at == 0 {
            return Some(Self { control, owner, revision: 4, entries: None });
        }
        let list = octets.get(at..)?;
        let [revision, _, s0, s1, n0, n1, _, _, ..] = list else { return None };
        let size = usize::from(u16::from_le_bytes([*s0, *s1]));
        let count = usize::from(u16::from_le_bytes([*n0, *n1]));
        let mut rest = list.get(8..size)?;
        let mut entries = Vec::new();
        for _ in 0..count {
            let [_, _, l0, l1, ..] = rest else { return None };
            let (entry, after) = rest.split_at_checked(usize::from(u16::from_le_bytes([*l0, *l1])))?;
            // Fewer octets than a header has would never come to an end.
            if entry.len() < 4 {
                return None;
            }
            entries.push(Entry { octets: entry.to_vec(), ace: Ace::parse(entry) });
            rest = after;
        }
        Some(Self { control, owner, revision: *revision, entries: Some(entries) })
    }

    /// Writes the access list, for [`ACCESS_LIST`]. `None` when there is none, or it has become too long.
    pub fn write_access_list(&self) -> Option<Vec<u8>> {
        let entries = self.entries.as_ref()?;
        let length = 8 + entries.iter().map(|entry| entry.octets.len()).sum::<usize>();
        let length = u16::try_from(length).ok()?;
        let count = u16::try_from(entries.len()).ok()?;
        let mut octets = vec![1, 0];
        octets.extend_from_slice(&(self.control & KEPT | WRITTEN).to_le_bytes());
        // Owner, group and audit list are not written; the access list follows these twenty octets.
        for place in [0_u32, 0, 0, 20] {
            octets.extend_from_slice(&place.to_le_bytes());
        }
        octets.extend_from_slice(&[self.revision.max(4), 0]);
        octets.extend_from_slice(&length.to_le_bytes());
        octets.extend_from_slice(&count.to_le_bytes());
        octets.extend_from_slice(&[0, 0]);
        octets.extend(entries.iter().flat_map(|entry| entry.octets.iter().copied()));
        Some(octets)
    }

    /// What is inherited does not reach this object.
    pub fn is_protected(&self) -> bool {
        self.control & PROTECTED != 0
    }

    /// Stops or lets in what is inherited; inherited entries that are there go when it is stopped.
    pub fn set_protected(&mut self, on: bool) {
        if on {
            self.control |= PROTECTED;
            if let Some(entries) = &mut self.entries {
                entries.retain(|entry| !entry.inherited());
            }
        } else {
            self.control &= !PROTECTED;
        }
    }

    /// The entries that are understood, in their order.
    pub fn aces(&self) -> impl Iterator<Item = &Ace> {
        self.entries.iter().flatten().filter_map(|entry| entry.ace.as_ref())
    }

    /// Adds an entry where the order wants it: denials, then what allows, then what is inherited (MS-DTYP 2.4.5). False
    /// when there is one already that gives as much.
    pub fn add(&mut self, ace: &Ace) -> bool {
        let Some(entries) = &mut self.entries else { return false };
        if entries.iter().filter_map(|entry| entry.ace.as_ref()).any(|known| known.covers(ace)) {
            return false;
        }
        let at = if ace.denies { 0 } else { entries.iter().position(Entry::inherited).unwrap_or(entries.len()) };
        entries.insert(at, Entry { octets: ace.write(), ace: Some(ace.clone()) });
        self.revision = 4;
        true
    }

    /// Takes out every entry of its own for which `goes` says so. Gives how many went.
    pub fn remove(&mut self, goes: impl Fn(&Ace) -> bool) -> usize {
        let Some(entries) = &mut self.entries else { return 0 };
        let before = entries.len();
        entries.retain(|entry| entry.inherited() || !entry.ace.as_ref().is_some_and(&goes));
        before - entries.len()
    }

    /// True when somebody may use a single right (MS-DTYP 2.5.3.2, MS-ADTS 5.1.3.3). `token`: who somebody is, groups
    /// included. `meant`: the identifiers that stand for what is meant, an attribute with the sets that it is in; empty for
    /// the object with all that it has.
    pub fn grants(&self, token: &[Sid], right: u32, meant: &[Guid]) -> bool {
        let Some(entries) = &self.entries else { return true };
        if right == right::READ_CONTROL && self.owner.as_ref().is_some_and(|owner| token.contains(owner)) {
            return true;
        }
        for ace in entries.iter().filter_map(|entry| entry.ace.as_ref()) {
            if ace.flags & inheritance::ONLY_BELOW != 0 || ace.rights & right == 0 || !token.contains(&ace.who) {
                continue;
            }
            match ace.object {
                None => return !ace.denies,
                Some(object) if meant.contains(&object) => return !ace.denies,
                // Denying a part denies the whole; allowing a part does not allow it.
                Some(_) if meant.is_empty() && ace.denies => return false,
                Some(_) => {}
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERYBODY: &str = "S-1-1-0";
    const SOMEBODY: &str = "S-1-5-21-1-2-3-1105";

    fn sid(text: &str) -> Sid {
        Sid::parse(text).unwrap()
    }

    /// A descriptor with an owner, a denial, something that nobody understands, and something inherited.
    fn sample() -> Vec<u8> {
        let denial = Ace { denies: true, ..Ace::allow(sid("S-1-5-7"), right::READ_PROPERTY) }.write();
        let strange = vec![0x11, 0, 12, 0, 1, 2, 3, 4, 5, 6, 7, 8];
        let inherited = Ace { flags: inheritance::INHERITED, ..Ace::allow(sid(EVERYBODY), right::LIST_CONTENTS) }.write();
        let entries = [denial, strange, inherited].concat();
        let mut octets = vec![1, 0, 0x04, 0x84];
        for place in [20_u32, 0, 0, 32] {
            octets.extend_from_slice(&place.to_le_bytes());
        }
        octets.extend_from_slice(sid(EVERYBODY).as_octets());
        octets.extend_from_slice(&[4, 0]);
        octets.extend_from_slice(&u16::try_from(8 + entries.len()).unwrap().to_le_bytes());
        octets.extend_from_slice(&[3, 0, 0, 0]);
        octets.extend_from_slice(&entries);
        octets
    }

    #[test]
    fn identifiers_have_their_text() {
        for text in [EVERYBODY, SOMEBODY, "S-1-5-32-544"] {
            assert_eq!(sid(text).to_string(), text);
            assert_eq!(Sid::from_octets(sid(text).as_octets()), Some(sid(text)));
        }
        for wrong in ["", "S-1", "S-2-5-1", "S-1-x", "S-1-5-4294967296", "S-1-5-1-2-3-4-5-6-7-8-9-10-11-12-13-14-15-16"] {
            assert_eq!(Sid::parse(wrong), None, "{wrong}");
        }
        assert_eq!(Sid::from_octets(&[1, 16, 0, 0, 0, 0, 0, 5]), None);
    }

    #[test]
    fn an_entry_goes_between_its_own_and_what_is_inherited_and_the_rest_stays() {
        let mut descriptor = Descriptor::parse(&sample()).unwrap();
        let class = Guid([7; 16]);
        let ace = Ace {
            flags: inheritance::CONTAINERS | inheritance::ONLY_BELOW,
            object: Some(Guid([9; 16])),
            class: Some(class),
            ..Ace::allow(sid(SOMEBODY), right::WRITE_PROPERTY)
        };
        assert!(descriptor.add(&ace));
        assert!(!descriptor.add(&ace), "it is there already");
        let again = Descriptor::parse(&descriptor.write_access_list().unwrap()).unwrap();
        let kinds: Vec<u8> = again.entries.as_ref().unwrap().iter().map(|entry| entry.octets[0]).collect();
        assert_eq!(kinds, [DENY, 0x11, ALLOW_OBJECT, ALLOW]);
        assert_eq!(again.aces().nth(1), Some(&ace));
        let guid =
            |octet: &str| format!("{}-{}-{}-{}-{}", octet.repeat(4), octet.repeat(2), octet.repeat(2), octet.repeat(2), octet.repeat(6));
        assert_eq!(ace.to_string(), format!("(OA;CIIO;WP;{};{};{SOMEBODY})", guid("09"), guid("07")));
        let mut again = again;
        assert_eq!(again.remove(|known| known.who == sid(SOMEBODY)), 1);
        assert_eq!(again.remove(|known| known.who == sid(EVERYBODY)), 0, "what is inherited is somebody else's");
        again.set_protected(true);
        assert!(again.is_protected() && again.aces().count() == 1);
    }

    #[test]
    fn rights_are_judged_in_order_and_by_what_is_meant() {
        let (one, set, other) = (Guid([1; 16]), Guid([2; 16]), Guid([3; 16]));
        let token = [sid(SOMEBODY), sid(EVERYBODY)];
        let judged = |aces: &[Ace], right, meant: &[Guid]| {
            let entries = aces.iter().map(|ace| Entry { octets: ace.write(), ace: Some(ace.clone()) }).collect();
            Descriptor { control: 4, owner: None, revision: 4, entries: Some(entries) }.grants(&token, right, meant)
        };
        let allow = Ace::allow(sid(SOMEBODY), right::READ_PROPERTY | right::WRITE_PROPERTY);
        let of = |object| Ace { object: Some(object), ..allow.clone() };
        let deny = |ace: Ace| Ace { denies: true, ..ace };
        let read = right::READ_PROPERTY;
        assert!(!judged(&[], read, &[one]));
        assert!(judged(std::slice::from_ref(&allow), read, &[one]) && judged(std::slice::from_ref(&allow), read, &[]));
        assert!(!judged(std::slice::from_ref(&allow), right::CONTROL_ACCESS, &[]));
        assert!(judged(&[of(set)], read, &[one, set]) && !judged(&[of(other)], read, &[one, set]));
        assert!(!judged(&[of(one)], read, &[]), "a part is not the whole");
        assert!(!judged(&[deny(of(one)), allow.clone()], read, &[]), "without a part it is not the whole");
        assert!(judged(&[deny(of(one)), allow.clone()], read, &[other]));
        assert!(judged(&[allow.clone(), deny(allow.clone())], read, &[one]), "the first one counts");
        let below = Ace { flags: inheritance::ONLY_BELOW, ..allow.clone() };
        let others = Ace { who: sid("S-1-5-11"), ..allow };
        assert!(!judged(&[below, others], read, &[one]));
    }

    #[test]
    fn what_is_cut_off_or_lies_about_its_length_is_no_descriptor() {
        let whole = sample();
        assert!(Descriptor::parse(&whole).is_some());
        for end in 0..whole.len() {
            assert_eq!(Descriptor::parse(&whole[..end]), None, "{end}");
        }
        for at in 0..whole.len() {
            for octet in [0, 1, 0x7f, 0xff] {
                let mut changed = whole.clone();
                changed[at] = octet;
                // Whatever it is taken for, it ends.
                let _ = Descriptor::parse(&changed).and_then(|descriptor| descriptor.write_access_list());
            }
        }
    }
}
