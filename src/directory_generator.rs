//! Makes up directories of any size, the same ones for the same seed, in the shape that real ones have (design:
//! storage and performance, section 10): for the demonstration, the test directories and the benchmarks.
//!
//! Every object is a pure function of seed and index, so that nothing but the output grows with the size.

mod passwords;

pub use passwords::{PasswordRecipe, PasswordState};

use crate::model::escape_component;
use crate::protocol::ldif::Writer;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, Write};

/// What directory to make up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryRecipe {
    /// People. One in twenty is disabled, one in a hundred has a photo, one in fifty twenty and more addresses.
    pub users: u64,
    /// Groups. Most are small, a few large; the first has up to 50,000 members. Some hold other groups.
    pub groups: u64,
    /// Contacts at partner companies.
    pub contacts: u64,
    /// Equal seeds give equal directories.
    pub seed: u64,
    /// Name of the root: `DC=corp,DC=example`.
    pub suffix: String,
    /// Domain of logon names and mail addresses: `corp.example`.
    pub domain: String,
    /// Also the password hashes of people, in the shape of Active Directory.
    pub passwords: Option<PasswordRecipe>,
}

impl Default for DirectoryRecipe {
    fn default() -> Self {
        Self {
            users: 1_000,
            groups: 60,
            contacts: 30,
            seed: 1,
            suffix: "DC=corp,DC=example".into(),
            domain: "corp.example".into(),
            passwords: None,
        }
    }
}

/// For which server a directory is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    ActiveDirectory,
    OpenLdap,
}

/// Members of the first group at most: the design's "one of 50,000".
const LARGEST_GROUP: u64 = 50_000;

/// Given and family names with what a mail address makes of them.
const GIVEN: &[(&str, &str)] = &[
    ("Amelia", "amelia"),
    ("Bjørn", "bjorn"),
    ("Camille", "camille"),
    ("Daniel", "daniel"),
    ("Emre", "emre"),
    ("Fiona", "fiona"),
    ("Gábor", "gabor"),
    ("Helena", "helena"),
    ("Ignacio", "ignacio"),
    ("Jana", "jana"),
    ("Karim", "karim"),
    ("Lucía", "lucia"),
    ("Marek", "marek"),
    ("Noémie", "noemie"),
    ("Oskar", "oskar"),
    ("Paula", "paula"),
    ("Rafael", "rafael"),
    ("Sanna", "sanna"),
    ("Tomáš", "tomas"),
    ("Ursula", "ursula"),
    ("Victor", "victor"),
    ("Wanda", "wanda"),
    ("Yara", "yara"),
    ("Zsófia", "zsofia"),
    ("健太", "kenta"),
    ("さくら", "sakura"),
    ("Татьяна", "tatiana"),
    ("Сергей", "sergei"),
    ("أحمد", "ahmad"),
    ("Νίκος", "nikos"),
    ("민준", "minjun"),
    ("अर्जुन", "arjun"),
    ("晓明", "xiaoming"),
    ("יעל", "yael"),
];
const FAMILY: &[(&str, &str)] = &[
    ("Andersson", "andersson"),
    ("Becker", "becker"),
    ("Čapek", "capek"),
    ("Delgado", "delgado"),
    ("Evans", "evans"),
    ("Fontaine", "fontaine"),
    ("Grünwald", "gruenwald"),
    ("Horváth", "horvath"),
    ("Ivanova", "ivanova"),
    ("Jørgensen", "jorgensen"),
    ("Kaya", "kaya"),
    ("Lindqvist", "lindqvist"),
    ("Moreau", "moreau"),
    ("Novák", "novak"),
    ("O'Connor", "oconnor"),
    ("Pereira", "pereira"),
    ("Quinn", "quinn"),
    ("Rivera", "rivera"),
    ("Schäfer", "schaefer"),
    ("Taylor", "taylor"),
    ("Ulrich", "ulrich"),
    ("Vasquez", "vasquez"),
    ("Wright", "wright"),
    ("Żak", "zak"),
    ("鈴木", "suzuki"),
    ("Кузнецов", "kuznetsov"),
    ("الهاشمي", "alhashimi"),
    ("Γεωργίου", "georgiou"),
    ("박", "park"),
    ("शर्मा", "sharma"),
    ("王", "wang"),
    ("St. John-Smythe", "stjohnsmythe"),
];
/// City, region, postal code, country code, country, its number (ISO 3166), telephone prefix, language.
type Site = (&'static str, &'static str, &'static str, &'static str, &'static str, u16, &'static str, &'static str);
const SITES: &[Site] = &[
    ("Hamburg", "HH", "20095", "DE", "Germany", 276, "+49 40", "de-DE"),
    ("Kraków", "Małopolska", "31-002", "PL", "Poland", 616, "+48 12", "pl-PL"),
    ("Lyon", "Rhône", "69002", "FR", "France", 250, "+33 4", "fr-FR"),
    ("Boston", "MA", "02110", "US", "United States", 840, "+1 617", "en-US"),
    ("Porto", "Porto", "4000-322", "PT", "Portugal", 620, "+351 22", "pt-PT"),
    ("横浜市", "神奈川県", "231-0017", "JP", "Japan", 392, "+81 45", "ja-JP"),
    ("Pune", "MH", "411001", "IN", "India", 356, "+91 20", "en-GB"),
    ("Göteborg", "Västra Götaland", "411 06", "SE", "Sweden", 752, "+46 31", "sv-SE"),
];
/// Containers of the sites, in their order.
const SITE_OUS: &[&str] = &["Hamburg", "Krakow", "Lyon", "Boston", "Porto", "Yokohama", "Pune", "Goteborg"];
const DEPARTMENTS: &[&str] =
    &["Accounting", "Customer Care", "Development", "Facilities", "Legal", "Logistics", "People", "Procurement", "Production", "Sales"];
const TITLES: &[&str] = &[
    "Analyst",
    "Architect",
    "Assistant",
    "Buyer",
    "Consultant",
    "Coordinator",
    "Designer",
    "Developer",
    "Lead",
    "Manager",
    "Planner",
    "Technician",
];
/// 100-nanosecond units from 1601 to the start of 2024.
const START_OF_2024: u64 = 133_485_408_000_000_000;

/// A small generator of numbers (SplitMix64); the point is that it never changes.
struct Dice(u64);

impl Dice {
    fn new(seed: u64, kind: u64, index: u64) -> Self {
        let mut dice = Self(seed ^ kind.wrapping_mul(0xd6e8_feb8_6659_fd93));
        dice.0 = dice.next() ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        dice.next();
        dice
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        let index = usize::try_from(self.below(list.len() as u64)).unwrap_or_default();
        &list[index]
    }

    /// True in `share` of a thousand cases.
    fn chance(&mut self, share: u64) -> bool {
        self.below(1_000) < share
    }
}

const USER: u64 = 1;
const GROUP: u64 = 2;
const CONTACT: u64 = 3;
const CONTAINER: u64 = 4;

/// Who a user is; all that other objects need to name it.
struct Person {
    given: &'static str,
    family: &'static str,
    local: String,
    common_name: String,
    site: usize,
}

impl DirectoryRecipe {
    /// Writes the directory as Active Directory would show it.
    pub fn write_ldif(&self, out: &mut dyn Write) -> io::Result<()> {
        self.write(out, Shape::ActiveDirectory)
    }

    /// Writes the directory for OpenLDAP's `slapadd`, with the schema file `tools/lab/ad-shaped.schema`: the same
    /// objects, a root entry of class `dcObject`, and `entryUUID` fixed by the seed.
    pub fn write_openldap_ldif(&self, out: &mut dyn Write) -> io::Result<()> {
        self.write(out, Shape::OpenLdap)
    }

    /// The distinguished name of user `index`, as both shapes write it.
    pub fn user_dn(&self, index: u64) -> String {
        let person = self.person(index);
        format!("{},OU={},OU=People,{}", escape_component(&format!("CN={}", person.common_name)), SITE_OUS[person.site], self.suffix)
    }

    /// The logon name of user `index`.
    pub fn user_principal_name(&self, index: u64) -> String {
        format!("{}@{}", self.person(index).local, self.domain)
    }

    /// The octets of user `index`'s `objectGUID`.
    pub fn user_guid(&self, index: u64) -> [u8; 16] {
        self.guid(USER, index)
    }

    fn write(&self, out: &mut dyn Write, shape: Shape) -> io::Result<()> {
        let mut writer = match shape {
            Shape::ActiveDirectory => Writer::new(out)?,
            Shape::OpenLdap => Writer::without_version(out)?,
        };
        self.root(&mut writer, shape)?;
        for index in 0..self.users {
            self.user(&mut writer, shape, index)?;
        }
        for index in 0..self.groups {
            self.group(&mut writer, shape, index)?;
        }
        for index in 0..self.contacts {
            self.contact(&mut writer, shape, index)?;
        }
        writer.finish().map(drop)
    }

    fn root<W: Write>(&self, writer: &mut Writer<W>, shape: Shape) -> io::Result<()> {
        writer.entry(&self.suffix)?;
        match shape {
            Shape::ActiveDirectory => text(writer, &[("objectClass", "top"), ("objectClass", "domain"), ("objectClass", "domainDNS")])?,
            Shape::OpenLdap => {
                text(writer, &[("objectClass", "top"), ("objectClass", "organization"), ("objectClass", "dcObject"), ("o", &self.domain)])?;
            }
        }
        let first = self.suffix.split(',').next().and_then(|rdn| rdn.split_once('=')).map_or("corp", |(_, value)| value);
        text(writer, &[("dc", first)])?;
        self.identity(writer, shape, CONTAINER, 0)?;
        let top = ["People", "Groups", "Contacts", "Service Accounts"].map(|name| (name, format!("OU={name},{}", self.suffix)));
        let sites = SITE_OUS.iter().map(|name| (*name, format!("OU={name},OU=People,{}", self.suffix)));
        for (index, (name, dn)) in (1..).zip(top.into_iter().chain(sites)) {
            writer.entry(&dn)?;
            text(writer, &[("objectClass", "top"), ("objectClass", "organizationalUnit"), ("ou", name)])?;
            self.identity(writer, shape, CONTAINER, index)?;
        }
        Ok(())
    }

    fn user<W: Write>(&self, writer: &mut Writer<W>, shape: Shape, index: u64) -> io::Result<()> {
        let person = self.person(index);
        let mut dice = Dice::new(self.seed, USER + 16, index);
        let (city, region, postal_code, country, country_name, country_number, prefix, language) = SITES[person.site];
        let (department, title) = (*dice.pick(DEPARTMENTS), *dice.pick(TITLES));
        let account = account_name(&person, index);
        let mail = format!("{}@{}", person.local, self.domain);
        let (last_set, hash) = self.stored_password(index);
        writer.entry(&self.user_dn(index))?;
        text(
            writer,
            &[("objectClass", "top"), ("objectClass", "person"), ("objectClass", "organizationalPerson"), ("objectClass", "user")],
        )?;
        text(
            writer,
            &[
                ("cn", &person.common_name),
                ("sn", person.family),
                ("givenName", person.given),
                ("displayName", &format!("{} {}", person.given, person.family)),
                ("sAMAccountName", &account),
                ("userPrincipalName", &mail),
                ("mail", &mail),
                ("mailNickname", &person.local),
                ("userAccountControl", if dice.chance(50) { "514" } else { "512" }),
                ("sAMAccountType", "805306368"),
                ("primaryGroupID", "513"),
                ("pwdLastSet", &last_set.to_string()),
                ("accountExpires", "9223372036854775807"),
                ("department", department),
                ("title", title),
                ("company", "Corp Example"),
                ("l", city),
                ("st", region),
                ("postalCode", postal_code),
                ("c", country),
                ("co", country_name),
                ("countryCode", &country_number.to_string()),
                ("streetAddress", &format!("{} Example Street", 1 + dice.below(240))),
                ("physicalDeliveryOfficeName", &format!("{}-{:02}.{:03}", SITE_OUS[person.site], dice.below(12), dice.below(400))),
                ("telephoneNumber", &format!("{prefix} {:03} {:04}", dice.below(1_000), index % 10_000)),
                ("employeeID", &format!("{:08}", index + 1)),
                ("whenCreated", "20240102030405.0Z"),
                ("whenChanged", "20240607080910.0Z"),
            ],
        )?;
        if let Some(hash) = hash.filter(|_| shape == Shape::ActiveDirectory) {
            writer.value("unicodePwd", &hash)?;
        }
        writer.value("proxyAddresses", format!("SMTP:{mail}").as_bytes())?;
        writer.value("proxyAddresses", format!("smtp:{account}@mail.{}", self.domain).as_bytes())?;
        if dice.chance(20) {
            for extra in 0..20 + dice.below(15) {
                writer.value("proxyAddresses", format!("smtp:{}.alias{extra}@{}", person.local, self.domain).as_bytes())?;
            }
        }
        // What only some people have: between none and all of these.
        if dice.chance(700) {
            writer.value("mobile", format!("{prefix} 7{:02} {:06}", dice.below(100), index % 1_000_000).as_bytes())?;
        }
        if dice.chance(600) {
            writer.value("description", format!("{title}, {department}").as_bytes())?;
        }
        if dice.chance(500) {
            writer.value("extensionAttribute1", format!("cost-{:04}", dice.below(300)).as_bytes())?;
        }
        if dice.chance(400) {
            writer.value("preferredLanguage", language.as_bytes())?;
        }
        if let Some(manager) = index.checked_sub(1).map(|before| before / 8) {
            writer.value("manager", self.user_dn(manager).as_bytes())?;
        }
        if dice.chance(10) {
            writer.value("thumbnailPhoto", &photo(&mut dice))?;
        }
        writer.value("objectSid", &security_identifier(self.seed, 2_000 + index))?;
        self.identity(writer, shape, USER, index)
    }

    fn group<W: Write>(&self, writer: &mut Writer<W>, shape: Shape, index: u64) -> io::Result<()> {
        let mut dice = Dice::new(self.seed, GROUP + 16, index);
        let account = format!("group-{index:05}");
        let name = self.group_name(index);
        // Three quarters are security groups; whatever is none is for mail.
        let security = index == 0 || dice.chance(750);
        let mailed = !security || dice.chance(500);
        let scope: i64 = if dice.chance(400) { 8 } else { 2 };
        let group_type = if security { scope - 2_147_483_648 } else { scope };
        writer.entry(&self.group_dn(index))?;
        text(
            writer,
            &[
                ("objectClass", "top"),
                ("objectClass", "group"),
                ("cn", &name),
                ("sAMAccountName", &account),
                ("displayName", &name),
                ("description", &format!("Generated group {index}")),
                ("groupType", &group_type.to_string()),
                ("whenCreated", "20240102030405.0Z"),
            ],
        )?;
        if mailed {
            let mail = format!("{account}@{}", self.domain);
            text(writer, &[("mail", &mail), ("mailNickname", &account), ("proxyAddresses", &format!("SMTP:{mail}"))])?;
        }
        for member in self.members(index, &mut dice) {
            writer.value("member", self.user_dn(member).as_bytes())?;
        }
        for nested in [2 * index, 2 * index + 1] {
            if nested > index && nested < self.groups && dice.chance(350) {
                writer.value("member", self.group_dn(nested).as_bytes())?;
            }
        }
        writer.value("objectSid", &security_identifier(self.seed, 2_000 + self.users + index))?;
        self.identity(writer, shape, GROUP, index)
    }

    /// Users in a group: nearly everybody in the first, few in most, a heavy tail between.
    fn members(&self, index: u64, dice: &mut Dice) -> BTreeSet<u64> {
        if index == 0 {
            return (0..self.users.min(LARGEST_GROUP)).collect();
        }
        // Twice as large a group is about half as likely (a Pareto tail, in whole numbers).
        let size = (3_000 / (1 + dice.below(1_000))).max(3) + dice.below(12);
        let size = size.min(self.users / 2 + 1).min(self.users);
        let mut members = BTreeSet::new();
        // Drawing with repetition may fall short of the size; real groups are not of round sizes either.
        for _ in 0..size {
            members.insert(dice.below(self.users));
        }
        members
    }

    fn contact<W: Write>(&self, writer: &mut Writer<W>, shape: Shape, index: u64) -> io::Result<()> {
        let mut dice = Dice::new(self.seed, CONTACT, index);
        let ((given, given_plain), (family, family_plain)) = (*dice.pick(GIVEN), *dice.pick(FAMILY));
        let name = format!("{given} {family} (Partner {index})");
        let mail = format!("{given_plain}.{family_plain}{index}@partner.example");
        writer.entry(&format!("{},OU=Contacts,{}", escape_component(&format!("CN={name}")), self.suffix))?;
        text(
            writer,
            &[
                ("objectClass", "top"),
                ("objectClass", "person"),
                ("objectClass", "organizationalPerson"),
                ("objectClass", "contact"),
                ("cn", &name),
                ("sn", family),
                ("givenName", given),
                ("displayName", &name),
                ("mail", &mail),
                ("mailNickname", &format!("partner{index}")),
                ("targetAddress", &format!("SMTP:{mail}")),
                ("proxyAddresses", &format!("SMTP:{mail}")),
                ("company", &format!("Partner {} Ltd", dice.below(40))),
            ],
        )?;
        self.identity(writer, shape, CONTACT, index)
    }

    fn person(&self, index: u64) -> Person {
        let mut dice = Dice::new(self.seed, USER, index);
        let ((given, given_plain), (family, family_plain)) = (*dice.pick(GIVEN), *dice.pick(FAMILY));
        // Every twelfth name has a comma, as directories that show the family name first have it.
        let common_name = if index % 12 == 5 { format!("{family}, {given} {index}") } else { format!("{given} {family} {index}") };
        let site = usize::try_from(dice.below(SITES.len() as u64)).unwrap_or_default();
        Person { given, family, local: format!("{given_plain}.{family_plain}{index}"), common_name, site }
    }

    fn group_name(&self, index: u64) -> String {
        if index == 0 {
            return "All Employees".to_owned();
        }
        let mut dice = Dice::new(self.seed, GROUP, index);
        format!(
            "{} {} {index:05}",
            SITE_OUS[usize::try_from(dice.below(SITE_OUS.len() as u64)).unwrap_or_default()],
            dice.pick(DEPARTMENTS)
        )
    }

    fn group_dn(&self, index: u64) -> String {
        format!("CN={},OU=Groups,{}", self.group_name(index), self.suffix)
    }

    fn guid(&self, kind: u64, index: u64) -> [u8; 16] {
        let mut dice = Dice::new(self.seed, kind + 32, index);
        let mut octets = [0; 16];
        octets[..8].copy_from_slice(&dice.next().to_le_bytes());
        octets[8..].copy_from_slice(&dice.next().to_le_bytes());
        // Version 4, variant 1, in the order of octets that Active Directory stores (MS-DTYP 2.3.4.2).
        octets[7] = octets[7] & 0x0f | 0x40;
        octets[8] = octets[8] & 0x3f | 0x80;
        octets
    }

    fn identity<W: Write>(&self, writer: &mut Writer<W>, shape: Shape, kind: u64, index: u64) -> io::Result<()> {
        let guid = self.guid(kind, index);
        if shape == Shape::ActiveDirectory || kind != CONTAINER {
            writer.value("objectGUID", &guid)?;
        }
        if shape == Shape::OpenLdap {
            writer.value("entryUUID", guid_text(&guid).as_bytes())?;
        }
        Ok(())
    }
}

fn text<W: Write>(writer: &mut Writer<W>, values: &[(&str, &str)]) -> io::Result<()> {
    values.iter().try_for_each(|(name, value)| writer.value(name, value.as_bytes()))
}

/// At most 20 characters, as Active Directory wants it of people.
fn account_name(person: &Person, index: u64) -> String {
    let plain: String = person.local.rsplit('.').next().unwrap_or_default().chars().filter(char::is_ascii_alphabetic).take(9).collect();
    format!("{plain}{index}")
}

/// `S-1-5-21-…-rid` in its binary form (MS-DTYP 2.4.2.2).
fn security_identifier(seed: u64, rid: u64) -> Vec<u8> {
    let mut octets = vec![1, 5, 0, 0, 0, 0, 0, 5];
    let mut dice = Dice::new(seed, 64, 0);
    let parts = [21, dice.next() >> 34, dice.next() >> 34, dice.next() >> 34, rid];
    for part in parts {
        octets.extend_from_slice(&u32::try_from(part & 0xffff_ffff).unwrap_or_default().to_le_bytes());
    }
    octets
}

/// Octets that begin and end like a JPEG file. Nothing looks at pictures; that they survive unchanged is the point.
fn photo(dice: &mut Dice) -> Vec<u8> {
    let mut octets = vec![0xff, 0xd8, 0xff, 0xe0, 0, 16, b'J', b'F', b'I', b'F', 0, 1, 1, 0, 0, 1, 0, 1, 0, 0];
    for _ in 0..250 + dice.below(750) {
        octets.extend_from_slice(&dice.next().to_le_bytes());
    }
    octets.extend_from_slice(&[0xff, 0xd9]);
    octets
}

fn guid_text(octets: &[u8; 16]) -> String {
    let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let mut text = String::with_capacity(36);
    for (position, index) in order.into_iter().enumerate() {
        if matches!(position, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{:02x}", octets[index]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ldif::Reader;

    fn records(recipe: &DirectoryRecipe) -> Vec<crate::protocol::ldif::Record> {
        let mut file = Vec::new();
        recipe.write_ldif(&mut file).unwrap();
        Reader::new(file.as_slice()).map(|record| record.unwrap()).collect()
    }

    fn values(record: &crate::protocol::ldif::Record, name: &str) -> usize {
        record.values().filter(|value| value.name == name).count()
    }

    #[test]
    fn people_have_the_measured_shape() {
        let recipe = DirectoryRecipe { users: 2_000, groups: 100, contacts: 20, ..DirectoryRecipe::default() };
        let records = records(&recipe);
        let people: Vec<_> = records.iter().filter(|record| record.dn.contains("OU=People") && record.dn.starts_with("CN=")).collect();
        assert_eq!(people.len(), 2_000);
        let mut sizes: Vec<(usize, usize)> =
            people.iter().map(|record| (record.len(), record.values().map(|value| value.octets.len() + value.name.len()).sum())).collect();
        sizes.sort_unstable();
        let (count, octets) = sizes[1_000];
        assert!((36..=41).contains(&count), "{count} values");
        assert!((900..=1_300).contains(&octets), "{octets} octets");
        let share = |test: &dyn Fn(&crate::protocol::ldif::Record) -> bool| people.iter().filter(|record| test(record)).count();
        assert!((8..=40).contains(&share(&|record| values(record, "thumbnailPhoto") == 1)));
        assert!((20..=70).contains(&share(&|record| values(record, "proxyAddresses") > 20)));
        assert!((60..=140).contains(&share(&|record| record.values().any(|value| value.octets == b"514"))));
    }

    #[test]
    fn every_name_that_is_referred_to_exists() {
        let recipe = DirectoryRecipe { users: 300, groups: 40, contacts: 5, ..DirectoryRecipe::default() };
        let records = records(&recipe);
        let names: BTreeSet<&[u8]> = records.iter().map(|record| record.dn.as_bytes()).collect();
        assert_eq!(names.len(), records.len());
        let mut references = 0;
        for record in &records {
            for value in record.values().filter(|value| matches!(value.name, "member" | "manager")) {
                assert!(names.contains(value.octets), "{}", String::from_utf8_lossy(value.octets));
                references += 1;
            }
        }
        assert!(references > 600);
    }

    #[test]
    fn equal_seeds_give_equal_directories() {
        let write = |seed| {
            let mut file = Vec::new();
            DirectoryRecipe { users: 50, groups: 5, contacts: 5, seed, ..DirectoryRecipe::default() }.write_ldif(&mut file).unwrap();
            file
        };
        assert_eq!(write(7), write(7));
        assert_ne!(write(7), write(8));
    }
}
