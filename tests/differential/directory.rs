//! Made-up forests and a made-up cloud, as LDIF, in which every branch of the rules is taken by somebody. Equal seeds
//! make equal directories.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::fmt::Write as _;

/// What is imported: a forest of accounts and mailboxes, a forest of accounts, and what the cloud has already.
pub(crate) struct Directories {
    pub(crate) contoso: String,
    pub(crate) fabrikam: String,
    pub(crate) cloud: String,
}

/// One forest while it is made.
struct Forest {
    suffix: &'static str,
    domain: &'static str,
    /// First octet of its identifiers.
    number: u8,
    text: String,
    /// Names of objects that exist, for references.
    known: Vec<String>,
}

const CONTOSO: (&str, &str) = ("DC=contoso,DC=com", "contoso.com");
const FABRIKAM: (&str, &str) = ("DC=fabrikam,DC=com", "fabrikam.com");

/// Makes the directories of a seed, with about `people` people in the first forest. With `unsaid`, the cloud does not
/// say of every user who masters it.
pub(crate) fn directories(seed: u64, people: u64, unsaid: bool) -> Directories {
    let mut random = StdRng::seed_from_u64(seed);
    let mut contoso = Forest::new(CONTOSO, 1);
    let mut fabrikam = Forest::new(FABRIKAM, 2);
    for number in 0..people / 4 {
        fabrikam.user(&mut random, number, None);
    }
    for number in 0..people {
        // One in five has its account in the other forest.
        let account = random.random_bool(0.2).then(|| random.random_range(0..people / 4));
        contoso.user(&mut random, number, account.map(|account| fabrikam.sid(account)));
    }
    for number in 0..people / 4 {
        contoso.contact(&mut random, number);
    }
    for number in 0..people / 3 {
        contoso.group(&mut random, number);
    }
    for number in 0..people / 8 {
        contoso.foreign_principal(&mut random, number, &fabrikam);
        contoso.computer(&mut random, number);
    }
    for number in 0..people / 20 {
        contoso.registered_device(&mut random, number);
    }
    let cloud = cloud(&mut random, people, unsaid);
    Directories { contoso: contoso.text, fabrikam: fabrikam.text, cloud }
}

/// What the cloud has already: people, contacts and groups by anchor, mastered here, there, or nobody says.
fn cloud(random: &mut StdRng, people: u64, unsaid: bool) -> String {
    let mut text = String::new();
    let mut entry = |random: &mut StdRng, class: &str, kind: u8, number: u64| {
        let anchor = STANDARD.encode(guid(1, kind, number));
        let hex = hex::encode_upper(&anchor);
        let _ = writeln!(text, "dn: CN={{{hex}}}\nobjectClass: {class}");
        let _ = writeln!(text, "cloudAnchor: {}_{}", if class == "user" { "User" } else { class }, number + u64::from(kind) * 10_000);
        // Sometimes another anchor than the directory's, which must be refused.
        let confirmed = if random.random_bool(0.05) { STANDARD.encode(guid(9, kind, number)) } else { anchor };
        let _ = writeln!(text, "sourceAnchor: {confirmed}");
        if class == "user" || class == "group" {
            let mastered = ["True", "False", "False", "False", "-"][random.random_range(0..5)];
            let mastered = if mastered == "-" && class == "user" && !unsaid { "False" } else { mastered };
            if mastered != "-" {
                let _ = writeln!(text, "cloudMastered: {mastered}");
            }
        }
        if class == "user" {
            for (name, values) in
                [("usageLocation", ["DE", "PL", "-"]), ("accountEnabled", ["True", "False", "-"]), ("countryCode", ["276", "616", "-"])]
            {
                let value = values[random.random_range(0..3)];
                if value != "-" {
                    let _ = writeln!(text, "{name}: {value}");
                }
            }
            if random.random_bool(0.4) {
                let _ =
                    writeln!(text, "cloudMSExchRecipientDisplayType: {}", [0, 7, 1_073_741_824, -2_147_483_642][random.random_range(0..4)]);
                let _ = writeln!(text, "cloudMSExchUserHoldPolicies: hold {number}\ncloudMSExchArchiveStatus: 1");
            }
        }
        if random.random_bool(0.5) {
            let _ = writeln!(text, "cloudLegacyExchangeDN: /o=cloud/cn=recipients/cn={class}{number}");
        }
        text.push('\n');
    };
    for number in 0..people {
        if random.random_bool(0.4) {
            entry(random, "user", 1, number);
        }
    }
    for number in 0..people / 4 {
        if random.random_bool(0.4) {
            entry(random, "contact", 2, number);
        }
        if random.random_bool(0.4) {
            entry(random, "group", 3, number);
        }
    }
    text
}

fn guid(forest: u8, kind: u8, number: u64) -> [u8; 16] {
    let mut octets = [forest, kind, 0x5a, 0xa5, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0];
    octets[8..].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
    octets
}

const WORDS: &[&str] = &["Nord", "süd", " Ost ", "West-Ende", "\tA b", "Łódź", "x", "東京", "O'Neil", "a,b;c"];

/// Text that is trimmed and cut: (name, several values allowed).
const TEXTS: &[(&str, bool)] = &[
    ("c", false),
    ("co", false),
    ("company", false),
    ("department", false),
    ("facsimileTelephoneNumber", false),
    ("givenName", false),
    ("homePhone", false),
    ("info", false),
    ("initials", false),
    ("ipPhone", false),
    ("l", false),
    ("middleName", false),
    ("mobile", false),
    ("otherFacsimileTelephoneNumber", true),
    ("otherHomePhone", true),
    ("otherIpPhone", true),
    ("otherMobile", true),
    ("otherPager", true),
    ("otherTelephone", true),
    ("pager", false),
    ("physicalDeliveryOfficeName", false),
    ("postalCode", false),
    ("preferredLanguage", false),
    ("sn", false),
    ("st", false),
    ("streetAddress", false),
    ("telephoneNumber", false),
    ("title", false),
    ("wWWHomePage", false),
    ("description", true),
    ("postOfficeBox", true),
    ("url", true),
    ("telephoneAssistant", false),
    ("legacyExchangeDN", false),
    ("targetAddress", false),
    ("msDS-PhoneticDisplayName", false),
    ("msExchArchiveName", true),
    ("msExchELCExpirySuspensionEnd", false),
    ("msExchImmutableId", false),
    ("msExchResourceDisplay", false),
    ("msExchResourceMetaData", true),
    ("msExchResourceSearchProperties", true),
    ("msExchRetentionComment", false),
    ("msExchRetentionURL", false),
    ("msExchSenderHintTranslations", true),
    ("msExchUserHoldPolicies", true),
    ("msRTCSIP-DeploymentLocator", false),
    ("msRTCSIP-Line", false),
    ("msRTCSIP-OwnerUrn", false),
    ("msRTCSIP-PrimaryUserAddress", false),
    ("extensionAttribute1", false),
    ("extensionAttribute7", false),
    ("extensionAttribute10", false),
    ("extensionAttribute15", false),
];
const NUMBERS: &[&str] = &[
    "countryCode",
    "msDS-HABSeniorityIndex",
    "msExchELCMailboxFlags",
    "msExchModerationFlags",
    "msExchRecipientDisplayType",
    "msExchResourceCapacity",
    "msExchGroupDepartRestriction",
    "msExchGroupJoinRestriction",
    "msRTCSIP-ApplicationOptions",
    "msRTCSIP-OptionFlags",
];
const BOOLEANS: &[&str] = &[
    "hideDLMembership",
    "msExchEnableModeration",
    "msExchHideFromAddressLists",
    "msExchRequireAuthToSendTo",
    "msRTCSIP-UserEnabled",
    "oOFReplyToOriginator",
    "reportToOriginator",
    "reportToOwner",
];
const OCTETS: &[(&str, bool)] = &[
    ("msExchArchiveGUID", false),
    ("msExchMailboxGuid", false),
    ("msExchBlockedSendersHash", false),
    ("msExchSafeRecipientsHash", false),
    ("msExchSafeSendersHash", false),
    ("thumbnailPhoto", false),
    ("userCertificate", true),
    ("userSMIMECertificate", true),
];
const REFERENCES: &[(&str, bool)] = &[
    ("assistant", false),
    ("manager", false),
    ("managedBy", false),
    ("authOrig", true),
    ("dLMemRejectPerms", true),
    ("dLMemSubmitPerms", true),
    ("msExchBypassModerationFromDLMembersLink", true),
    ("msExchBypassModerationLink", true),
    ("msExchCoManagedByLink", true),
    ("msExchDelegateListLink", true),
    ("msExchModeratedByLink", true),
    ("publicDelegates", true),
    ("unauthOrig", true),
];

impl Forest {
    fn new((suffix, domain): (&'static str, &'static str), number: u8) -> Self {
        Self { suffix, domain, number, text: String::new(), known: Vec::new() }
    }

    fn sid(&self, number: u64) -> Vec<u8> {
        let mut octets = vec![1, 5, 0, 0, 0, 0, 0, 5, 21, 0, 0, 0, self.number, 0, 0, 0, 7, 0, 0, 0, 9, 0, 0, 0];
        octets.extend_from_slice(&(1_000 + u32::try_from(number).unwrap()).to_le_bytes());
        octets
    }

    fn value(&mut self, name: &str, value: &str) {
        let plain = value.bytes().all(|octet| (32..127).contains(&octet)) && !value.starts_with([' ', ':', '<']) && !value.ends_with(' ');
        let _ = if plain { writeln!(self.text, "{name}: {value}") } else { writeln!(self.text, "{name}:: {}", STANDARD.encode(value)) };
    }

    fn octets(&mut self, name: &str, octets: &[u8]) {
        let _ = writeln!(self.text, "{name}:: {}", STANDARD.encode(octets));
    }

    fn begin(&mut self, random: &mut StdRng, common: &str, container: &str, classes: &[&str], kind: u8, number: u64) {
        // A replication conflict carries a line feed in its name.
        let conflict = if random.random_bool(0.03) { format!("\\0ACNF:{number}") } else { String::new() };
        let dn = format!("CN={common}{conflict},{container},{}", self.suffix);
        self.value("dn", &dn);
        for class in classes {
            self.value("objectClass", class);
        }
        self.value("cn", common);
        self.octets("objectGUID", &guid(self.number, kind, number));
        self.known.push(dn);
    }

    fn end(&mut self) {
        self.text.push('\n');
    }

    /// One of the texts, sometimes nothing.
    fn maybe(&mut self, random: &mut StdRng, name: &str, chance: f64, values: &[&str]) {
        if random.random_bool(chance) {
            let value = values[random.random_range(0..values.len())].to_owned();
            self.value(name, &value);
        }
    }

    fn attributes(&mut self, random: &mut StdRng, density: f64) {
        for (name, several) in TEXTS {
            if random.random_bool(density) {
                let count = if *several { random.random_range(1..=3) } else { 1 };
                for index in 0..count {
                    let mut value = format!("{}{name} {index}", WORDS[random.random_range(0..WORDS.len())]);
                    if ["info", "description", "url"].contains(name) && random.random_bool(0.3) {
                        value = value.repeat(60);
                    }
                    self.value(name, &value);
                }
            }
        }
        for name in NUMBERS {
            if random.random_bool(density) {
                self.value(name, &random.random_range(-3..700_i64).to_string());
            }
        }
        for name in BOOLEANS {
            if random.random_bool(density) {
                self.value(name, if random.random_bool(0.5) { "TRUE" } else { "FALSE" });
            }
        }
        for (name, several) in OCTETS {
            if random.random_bool(density) {
                for _ in 0..if *several { random.random_range(1..=3) } else { 1 } {
                    let octets: Vec<u8> = (0..random.random_range(1..40)).map(|_| random.random()).collect();
                    self.octets(name, &octets);
                }
            }
        }
        for (name, several) in REFERENCES {
            if !self.known.is_empty() && random.random_bool(density) {
                let mut targets: Vec<usize> =
                    (0..if *several { random.random_range(1..=4) } else { 1 }).map(|_| random.random_range(0..self.known.len())).collect();
                targets.sort_unstable();
                targets.dedup();
                for target in targets {
                    let target = self.known[target].clone();
                    self.value(name, &target);
                }
            }
        }
    }

    fn addresses(&mut self, random: &mut StdRng, local: &str) {
        if random.random_bool(0.6) {
            let mail = match random.random_range(0..10) {
                0 => format!(" {local}@{} ", self.domain),
                1 => format!("{local} without at"),
                _ => format!("{local}@{}", self.domain),
            };
            self.value("mail", &mail);
        }
        if random.random_bool(0.5) {
            let domain = self.domain;
            for value in [
                format!("SMTP:{local}@{domain}"),
                format!(" SMTP:{local}@{domain} "),
                format!("smtp:{local}@{domain}"),
                format!("smtp:{local}.2@{domain}"),
                format!("smtp:{local}.2@{domain} "),
                "SMTP:nowhere".to_owned(),
                format!("x500:/o=x/cn={local}"),
            ] {
                if random.random_bool(0.4) {
                    self.value("proxyAddresses", &value);
                }
            }
        }
    }

    fn user(&mut self, random: &mut StdRng, number: u64, account: Option<Vec<u8>>) {
        let local = format!("{}u{number}", if self.number == 1 { "c" } else { "f" });
        let person = random.random_bool(0.15);
        let classes: &[&str] = if person {
            &["top", "person", "organizationalPerson", "user", "inetOrgPerson"]
        } else {
            &["top", "person", "organizationalPerson", "user"]
        };
        self.begin(random, &format!("User {local}"), "OU=People", classes, 1, number);
        let sid = self.sid(number);
        self.octets("objectSid", &sid);
        match random.random_range(0..30) {
            0 => {}
            1 => self.value("sAMAccountName", "SUPPORT_388945a0"),
            2 => self.value("sAMAccountName", &format!("AAD_{number}")),
            3 => self.value("sAMAccountName", &format!("MSOL_{number}")),
            4 => self.value("sAMAccountName", &format!("CAS_{{{number}}}")),
            5 => self.value("sAMAccountName", &format!("CAS_{number}")),
            6 => self.value("sAMAccountName", &format!("aad_{number}")),
            _ => self.value("sAMAccountName", &local),
        }
        self.maybe(random, "isCriticalSystemObject", 0.1, &["TRUE", "FALSE"]);
        self.maybe(random, "adminDescription", 0.15, &["User_1", "user_2", "Group_3", "a user"]);
        self.maybe(random, "userAccountControl", 0.97, &["512", "512", "512", "514", "66048", "66050", "546"]);
        let alias = [
            local.clone(),
            local.clone(),
            local.clone(),
            format!("SystemMailbox{{{number}}}"),
            format!("CAS_{{{number}}}"),
            format!("CAS_{number}"),
        ];
        self.maybe(random, "mailNickname", 0.6, &alias.iter().map(String::as_str).collect::<Vec<_>>());
        let linked = account.is_some();
        let types = [
            "1",
            "1",
            "1",
            "2",
            "4",
            "16",
            "32",
            "4096",
            "8192",
            "16384",
            "4194304",
            "8388608",
            "16777216",
            "536870912",
            "524288",
            "1073741824",
        ];
        if linked && random.random_bool(0.8) {
            self.value("msExchRecipientTypeDetails", "2");
        } else {
            self.maybe(random, "msExchRecipientTypeDetails", 0.5, &types);
        }
        if let Some(account) = account {
            self.octets(if random.random_bool(0.8) { "msExchMasterAccountSid" } else { "msRTCSIP-OriginatorSid" }, &account);
        }
        let (display, padded) = (format!("Display {local}"), format!("  Display {local}"));
        self.maybe(random, "displayName", 0.7, &[&display, &padded]);
        let principal = format!("{local}@{}", self.domain);
        self.maybe(random, "userPrincipalName", 0.85, &[&principal]);
        self.maybe(random, "pwdLastSet", 0.9, &["0", "130543784930000000", "129699324000000000"]);
        self.addresses(random, &local);
        self.attributes(random, 0.25);
        // Two values where the metaverse has one, and more than it can index.
        for _ in 0..if random.random_bool(0.05) { 2 } else { 1 } {
            let octets: [u8; 3] = random.random();
            self.octets("photo", &octets);
        }
        if random.random_bool(0.03) {
            self.value("msExchAssistantName", &"0123456789".repeat(45));
        }
        self.end();
    }

    fn contact(&mut self, random: &mut StdRng, number: u64) {
        let local = format!("k{number}");
        self.begin(random, &format!("Contact {local}"), "OU=Contacts", &["top", "person", "organizationalPerson", "contact"], 2, number);
        self.maybe(random, "isCriticalSystemObject", 0.05, &["TRUE", "FALSE"]);
        self.maybe(random, "displayName", 0.8, &["A (MSOL)", "Somebody", " padded"]);
        self.maybe(random, "mailNickname", 0.5, &["k", "CAS_{1}", "CAS_1"]);
        self.maybe(random, "msExchRecipientTypeDetails", 0.3, &["64", "2"]);
        self.addresses(random, &local);
        self.attributes(random, 0.25);
        self.end();
    }

    fn group(&mut self, random: &mut StdRng, number: u64) {
        let local = format!("g{number}");
        self.begin(random, &format!("Group {local}"), "OU=Groups", &["top", "group"], 3, number);
        let sid = self.sid(100_000 + number);
        self.octets("objectSid", &sid);
        self.maybe(random, "sAMAccountName", 0.95, &[&local, &local, &local, "MSOL_AD_Sync_RichCoexistence"]);
        self.maybe(random, "isCriticalSystemObject", 0.08, &["TRUE", "FALSE"]);
        self.maybe(random, "adminDescription", 0.15, &["Group_1", "group_2", "User_3"]);
        self.maybe(random, "groupType", 0.97, &["-2147483640", "-2147483646", "-2147483644", "2", "8", "4"]);
        self.maybe(random, "displayName", 0.6, &[&format!("Display {local}")]);
        self.maybe(random, "mailNickname", 0.4, &[&local]);
        self.maybe(random, "msExchRecipientTypeDetails", 0.2, &["1073741824", "1048576"]);
        self.addresses(random, &local);
        let members = random.random_range(0..12);
        let mut targets: Vec<usize> = (0..members).map(|_| random.random_range(0..self.known.len())).collect();
        targets.sort_unstable();
        targets.dedup();
        for target in targets {
            let target = self.known[target].clone();
            self.value("member", &target);
        }
        self.attributes(random, 0.25);
        self.end();
    }

    /// Stands for an account of the other forest, and is a member of a group.
    fn foreign_principal(&mut self, random: &mut StdRng, number: u64, other: &Forest) {
        let sid = other.sid(number);
        let parts: Vec<String> = sid[12..].as_chunks::<4>().0.iter().map(|part| u32::from_le_bytes(*part).to_string()).collect();
        let common = format!("S-1-5-21-{}", parts.join("-"));
        self.begin(random, &common, "CN=ForeignSecurityPrincipals", &["top", "foreignSecurityPrincipal"], 4, number);
        self.octets("objectSid", &sid);
        self.end();
        let member = self.known.last().unwrap().clone();
        self.begin(random, &format!("Foreign {number}"), "OU=Groups", &["top", "group"], 3, 50_000 + number);
        let sid = self.sid(150_000 + number);
        self.octets("objectSid", &sid);
        self.value("sAMAccountName", &format!("foreign{number}"));
        self.value("groupType", "-2147483640");
        self.value("member", &member);
        self.end();
    }

    fn computer(&mut self, random: &mut StdRng, number: u64) {
        let classes = ["top", "person", "organizationalPerson", "user", "computer"];
        self.begin(random, &format!("PC{number}"), "CN=Computers", &classes, 5, number);
        let sid = self.sid(200_000 + number);
        self.octets("objectSid", &sid);
        self.value("sAMAccountName", &format!("PC{number}$"));
        self.maybe(random, "userAccountControl", 0.95, &["4096", "4098"]);
        self.maybe(random, "displayName", 0.3, &["A computer"]);
        self.maybe(random, "operatingSystem", 0.8, &["Windows 11 Enterprise"]);
        self.maybe(random, "operatingSystemVersion", 0.8, &["10.0 (22631)"]);
        if random.random_bool(0.6) {
            self.octets("userCertificate", &[number.to_le_bytes()[0], 1, 2, 3]);
        }
        self.end();
    }

    fn registered_device(&mut self, random: &mut StdRng, number: u64) {
        let known = guid(self.number, 5, number);
        self.begin(random, &format!("Device {number}"), "CN=RegisteredDevices", &["top", "msDS-Device"], 6, number);
        self.octets("msDS-DeviceID", &known);
        self.maybe(random, "msDS-CloudAnchor", 0.7, &["anchor"]);
        self.end();
    }
}
