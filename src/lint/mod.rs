//! What the cloud would refuse or alter of one object's names and addresses, found before anything is sent (specification:
//! sync engine 6.4 to 6.6; what IdFix looks for).
//!
//! Pure functions over the values that a target would be given. What two objects have in common is found by whoever sees
//! all of them, by [`keys`].

mod names;
mod proposal;

pub use names::{cloud_characters, generated_name, malformed_address, malformed_name};
pub use proposal::{free_name, mended_address, mended_name};

use crate::model::{bare_address, fold, smtp_address};
use std::fmt;

/// The most characters before the `@` of a sign-in name.
pub const USER_MAX: usize = 64;
/// The most octets behind it.
pub const DOMAIN_MAX: usize = 255;
/// The most proxy addresses of an object.
pub const ADDRESSES_MAX: usize = 300;
/// The most characters of one address.
pub const ADDRESS_MAX: usize = 256;
/// The most certificates in an attribute.
pub const CERTIFICATES_MAX: usize = 15;
/// The most directory extensions of an object.
pub const EXTENSIONS_MAX: usize = 100;
/// The most characters of one.
pub const EXTENSION_MAX: usize = 250;
/// The most characters of a display name.
pub const DISPLAY_NAME_MAX: usize = 256;
/// The most octets of the value that ties an object to the cloud.
pub const ANCHOR_MAX: usize = 256;

/// The types of objects that the cloud keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloudType {
    /// A person's account.
    User,
    /// A group of any kind.
    Group,
    /// A mail contact.
    Contact,
    /// Anything else; only anchors are looked at.
    Other,
}

impl CloudType {
    /// The type behind a name of the target's space.
    pub fn of_name(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "user" => Self::User,
            "group" => Self::Group,
            "contact" => Self::Contact,
            _ => Self::Other,
        }
    }
}

/// The domains of a tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Domains {
    /// Verified ones, folded.
    pub verified: Vec<String>,
    /// The one that generated names get.
    pub initial: String,
    /// The one that proposals get.
    pub preferred: String,
}

impl Domains {
    /// Domains of a tenant. `preferred` is proposed where another one is needed.
    pub fn new(verified: impl IntoIterator<Item = String>, initial: &str, preferred: &str) -> Self {
        let mut verified: Vec<String> = verified.into_iter().map(|domain| fold(&domain).into_owned()).collect();
        verified.sort_unstable();
        verified.dedup();
        Self { verified, initial: initial.to_owned(), preferred: preferred.to_owned() }
    }

    /// True for a domain that the tenant has verified.
    pub fn has(&self, domain: &str) -> bool {
        self.verified.binary_search_by(|known| known.as_str().cmp(&fold(domain))).is_ok()
    }
}

/// One object as the cloud would be given it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidate {
    /// Its source anchor.
    pub anchor: Option<String>,
    /// Its sign-in name.
    pub user_principal_name: Option<String>,
    /// Its account name in the directory.
    pub account_name: Option<String>,
    /// Its nickname.
    pub nickname: Option<String>,
    /// Its mail address.
    pub mail: Option<String>,
    /// Its proxy addresses.
    pub proxy_addresses: Vec<String>,
    /// Its display name.
    pub display_name: Option<String>,
    /// Its security identifier, as octets.
    pub security_identifier: Option<Vec<u8>>,
    /// Another name to sign in with, which is unique, too.
    pub sign_in_name: Option<String>,
    /// Certificates: attribute and number of values.
    pub certificates: Vec<(&'static str, usize)>,
    /// Directory extensions: name, and characters of the longest value.
    pub extensions: Vec<(String, usize)>,
}

/// What the cloud does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Consequence {
    /// The object does not arrive.
    Refused,
    /// It arrives with another value, or without this one.
    Altered,
    /// It arrives; what mail and people make of it is probably not meant.
    Odd,
}

impl Consequence {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Altered => "altered",
            Self::Odd => "odd",
        }
    }
}

macro_rules! kinds {
    ($($name:ident $text:literal $consequence:ident $doc:literal,)+) => {
        /// What was found.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum FindingKind {
            $(#[doc = $doc] $name,)+
        }

        impl FindingKind {
            /// All kinds.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The stable name.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// What it is, for people.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => $doc,)+ }
            }

            /// What the cloud does about it.
            pub fn consequence(self) -> Consequence {
                match self { $(Self::$name => Consequence::$consequence,)+ }
            }
        }
    };
}

kinds! {
    RuleFails "rule-fails" Refused "a rule fails for the object",
    AnchorUnusable "anchor-unusable" Refused "the source anchor is empty, too long or holds control characters",
    AnchorDuplicate "anchor-duplicate" Refused "another object has the same source anchor",
    UpnMalformed "upn-malformed" Refused "the sign-in name has not the form name@domain",
    UpnDuplicate "upn-duplicate" Refused "another object has the same sign-in name, or would be given it",
    AddressDuplicate "address-duplicate" Refused "another object has the same mail address",
    SidDuplicate "sid-duplicate" Refused "another object has the same security identifier",
    SignInNameDuplicate "sign-in-name-duplicate" Refused "another object has the same alternative sign-in name",
    AddressesTooMany "addresses-too-many" Refused "more proxy addresses than the cloud takes",
    CertificatesTooMany "certificates-too-many" Refused "more certificates than the cloud takes",
    ExtensionsTooMany "extensions-too-many" Refused "more directory extensions than the cloud takes",
    ExtensionTooLong "extension-too-long" Refused "a directory extension is longer than the cloud takes",
    UpnSuffix "upn-suffix" Altered "the domain of the sign-in name is not verified in the tenant",
    UpnCharacters "upn-characters" Altered "the sign-in name holds characters that the cloud does not take",
    UpnMissing "upn-missing" Altered "there is no sign-in name; the cloud makes one",
    AddressRepeated "address-repeated" Altered "an address stands twice, and one of the two is dropped",
    AddressBlank "address-blank" Altered "an address is empty, or has white space around it",
    AddressMalformed "address-malformed" Odd "an address has not the form name@domain",
    AddressPrimarySeveral "address-primary-several" Odd "more than one primary address (SMTP:)",
    AddressPrimaryNone "address-primary-none" Odd "addresses, and none of them is the primary one (SMTP:)",
    AddressTooLong "address-too-long" Odd "an address is longer than mail takes",
    AddressSuffix "address-suffix" Odd "the domain of the primary address is not verified in the tenant",
    MailMalformed "mail-malformed" Odd "the mail address has not the form name@domain",
    MailDiffers "mail-differs" Odd "the mail address is not the primary one",
    NicknameUnusable "nickname-unusable" Odd "the nickname holds characters that mail does not take, or is too long",
    DisplayNameMissing "display-name-missing" Odd "there is no display name",
    DisplayNameTooLong "display-name-too-long" Odd "the display name is longer than the cloud takes",
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What to do about a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proposal {
    /// Write this in its place; where there is no value, add it.
    Write(String),
    /// Take it away.
    Remove,
    /// A person has to decide.
    Ask,
}

/// One thing that was found about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub kind: FindingKind,
    /// The attribute of the target; empty where it is none.
    pub attribute: &'static str,
    /// The value; empty where there is none.
    pub value: String,
    /// What to do.
    pub proposal: Proposal,
    /// More than the kind says; may be empty.
    pub detail: String,
}

impl Finding {
    /// A finding about a value.
    pub fn new(kind: FindingKind, attribute: &'static str, value: &str, proposal: Proposal, detail: impl Into<String>) -> Self {
        Self { kind, attribute, value: value.to_owned(), proposal, detail: detail.into() }
    }
}

/// The attribute of sign-in names.
pub const UPN: &str = "userPrincipalName";
/// The attribute of addresses.
pub const ADDRESSES: &str = "proxyAddresses";
/// The attribute of the mail address.
pub const MAIL: &str = "mail";
/// The attribute of nicknames.
pub const NICKNAME: &str = "alias";
/// The attribute of names for people.
pub const DISPLAY_NAME: &str = "displayName";
/// The attribute of source anchors.
pub const ANCHOR: &str = "sourceAnchor";
/// The attribute of security identifiers.
pub const SECURITY_IDENTIFIER: &str = "onPremiseSecurityIdentifier";
/// The attribute of alternative sign-in names.
pub const SIGN_IN_NAME: &str = "signInName";

/// Everything about one object that can be told without looking at others.
pub fn check(kind: CloudType, candidate: &Candidate, domains: &Domains) -> Vec<Finding> {
    let mut found = Vec::new();
    anchor(candidate, &mut found);
    if kind == CloudType::Other {
        return found;
    }
    if kind == CloudType::User {
        sign_in_name(candidate, domains, &mut found);
    }
    // Contacts are there for addresses elsewhere.
    let own = (kind != CloudType::Contact).then_some(domains);
    addresses(candidate, own, &mut found);
    mail(candidate, own, &mut found);
    sizes(candidate, &mut found);
    if let Some(nickname) = candidate.nickname.as_deref()
        && (nickname.chars().count() > USER_MAX || !nickname.chars().all(names::nickname_character))
    {
        let mended: String = nickname.chars().filter(|c| names::nickname_character(*c)).take(USER_MAX).collect();
        let proposal = if mended.is_empty() { Proposal::Ask } else { Proposal::Write(mended) };
        found.push(Finding::new(FindingKind::NicknameUnusable, NICKNAME, nickname, proposal, ""));
    }
    match candidate.display_name.as_deref().map(str::trim) {
        None | Some("") => {
            let from = candidate.account_name.as_deref().or(candidate.nickname.as_deref());
            let proposal = from.map_or(Proposal::Ask, |name| Proposal::Write(name.to_owned()));
            found.push(Finding::new(FindingKind::DisplayNameMissing, DISPLAY_NAME, "", proposal, ""));
        }
        Some(name) if name.chars().count() > DISPLAY_NAME_MAX => {
            let mended = name.chars().take(DISPLAY_NAME_MAX).collect();
            let told = format!("{} characters; {DISPLAY_NAME_MAX} are allowed", name.chars().count());
            found.push(Finding::new(FindingKind::DisplayNameTooLong, DISPLAY_NAME, name, Proposal::Write(mended), told));
        }
        Some(_) => {}
    }
    found
}

fn anchor(candidate: &Candidate, found: &mut Vec<Finding>) {
    let Some(anchor) = candidate.anchor.as_deref() else { return };
    if anchor.is_empty() || anchor.len() > ANCHOR_MAX || anchor.chars().any(char::is_control) {
        found.push(Finding::new(FindingKind::AnchorUnusable, ANCHOR, anchor, Proposal::Ask, ""));
    }
}

fn sign_in_name(candidate: &Candidate, domains: &Domains, found: &mut Vec<Finding>) {
    let Some(name) = candidate.user_principal_name.as_deref().filter(|name| !name.is_empty()) else {
        let base = candidate.nickname.as_deref().or(candidate.account_name.as_deref());
        let proposal = base.map_or(Proposal::Ask, |base| Proposal::Write(mended_name(base, domains)));
        found.push(Finding::new(FindingKind::UpnMissing, UPN, "", proposal, ""));
        return;
    };
    let proposal = || Proposal::Write(mended_name(name, domains));
    if let Some(reason) = malformed_name(name) {
        found.push(Finding::new(FindingKind::UpnMalformed, UPN, name, proposal(), reason));
        return;
    }
    let Some((user, domain)) = name.rsplit_once('@') else { return };
    if !domains.has(domain) {
        let told = format!("it would be {}", generated_name(candidate, domains));
        found.push(Finding::new(FindingKind::UpnSuffix, UPN, name, proposal(), told));
    }
    if !cloud_characters(user) {
        let told = format!("it would be {}", generated_name(candidate, domains));
        found.push(Finding::new(FindingKind::UpnCharacters, UPN, name, proposal(), told));
    }
}

fn addresses(candidate: &Candidate, domains: Option<&Domains>, found: &mut Vec<Finding>) {
    let mut known: Vec<String> = Vec::new();
    let mut primary: Option<&str> = None;
    for address in &candidate.proxy_addresses {
        let trimmed = address.trim();
        if trimmed.len() != address.len() || trimmed.is_empty() {
            let proposal = if trimmed.is_empty() { Proposal::Remove } else { Proposal::Write(trimmed.to_owned()) };
            found.push(Finding::new(FindingKind::AddressBlank, ADDRESSES, address, proposal, ""));
        }
        if trimmed.is_empty() {
            continue;
        }
        let bare = fold(bare_address(trimmed)).into_owned();
        if known.contains(&bare) {
            found.push(Finding::new(FindingKind::AddressRepeated, ADDRESSES, address, Proposal::Remove, ""));
            continue;
        }
        known.push(bare);
        if trimmed.chars().count() > ADDRESS_MAX {
            let told = format!("{} characters; {ADDRESS_MAX} are allowed", trimmed.chars().count());
            found.push(Finding::new(FindingKind::AddressTooLong, ADDRESSES, address, Proposal::Ask, told));
        }
        let Some(mail) = smtp_address(trimmed) else { continue };
        if let Some(reason) = malformed_address(mail) {
            let proposal = mended_address(trimmed).map_or(Proposal::Ask, Proposal::Write);
            found.push(Finding::new(FindingKind::AddressMalformed, ADDRESSES, address, proposal, reason));
        }
        if !trimmed.starts_with("SMTP:") {
            continue;
        }
        if let Some(first) = primary {
            let told = format!("{first} is one, too");
            let proposal = Proposal::Write(format!("smtp:{mail}"));
            found.push(Finding::new(FindingKind::AddressPrimarySeveral, ADDRESSES, address, proposal, told));
            continue;
        }
        primary = Some(trimmed);
        if let Some((_, domain)) = mail.rsplit_once('@')
            && malformed_address(mail).is_none()
            && domains.is_some_and(|domains| !domains.has(domain))
        {
            found.push(Finding::new(
                FindingKind::AddressSuffix,
                ADDRESSES,
                address,
                Proposal::Ask,
                format!("verify {domain} in the tenant"),
            ));
        }
    }
    if known.len() > ADDRESSES_MAX {
        let told = format!("{} addresses; {ADDRESSES_MAX} are allowed", known.len());
        found.push(Finding::new(FindingKind::AddressesTooMany, ADDRESSES, "", Proposal::Ask, told));
    }
    let first = candidate.proxy_addresses.iter().find(|address| smtp_address(address.trim()).is_some());
    if let (Some(first), None) = (first, primary) {
        let mail = smtp_address(first.trim()).unwrap_or_default();
        found.push(Finding::new(FindingKind::AddressPrimaryNone, ADDRESSES, first, Proposal::Write(format!("SMTP:{mail}")), ""));
    }
}

fn mail(candidate: &Candidate, domains: Option<&Domains>, found: &mut Vec<Finding>) {
    let Some(mail) = candidate.mail.as_deref().filter(|mail| !mail.trim().is_empty()) else { return };
    if let Some(reason) = malformed_address(mail) {
        let proposal = mended_address(mail).map_or(Proposal::Ask, Proposal::Write);
        found.push(Finding::new(FindingKind::MailMalformed, MAIL, mail, proposal, reason));
        return;
    }
    let primary = candidate.proxy_addresses.iter().find_map(|address| address.trim().strip_prefix("SMTP:"));
    if let Some(primary) = primary.filter(|primary| fold(primary) != fold(mail)) {
        let told = format!("the primary address is {primary}");
        found.push(Finding::new(FindingKind::MailDiffers, MAIL, mail, Proposal::Write(primary.to_owned()), told));
    } else if primary.is_none()
        && let Some((_, domain)) = mail.rsplit_once('@')
        && domains.is_some_and(|domains| !domains.has(domain))
    {
        found.push(Finding::new(FindingKind::AddressSuffix, MAIL, mail, Proposal::Ask, format!("verify {domain} in the tenant")));
    }
}

fn sizes(candidate: &Candidate, found: &mut Vec<Finding>) {
    for (attribute, count) in &candidate.certificates {
        if *count > CERTIFICATES_MAX {
            let told = format!("{count} values; {CERTIFICATES_MAX} are allowed");
            found.push(Finding::new(FindingKind::CertificatesTooMany, attribute, "", Proposal::Ask, told));
        }
    }
    if candidate.extensions.len() > EXTENSIONS_MAX {
        let told = format!("{} extensions; {EXTENSIONS_MAX} are allowed", candidate.extensions.len());
        found.push(Finding::new(FindingKind::ExtensionsTooMany, "", "", Proposal::Ask, told));
    }
    for (name, longest) in &candidate.extensions {
        if *longest > EXTENSION_MAX {
            let told = format!("{name} has {longest} characters; {EXTENSION_MAX} are allowed");
            found.push(Finding::new(FindingKind::ExtensionTooLong, "", "", Proposal::Ask, told));
        }
    }
}

/// A value that no two objects of a tenant may share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UniqueValue {
    /// What is found when another object has it, too.
    pub kind: FindingKind,
    /// The attribute of the target.
    pub attribute: &'static str,
    /// The value as it is written; empty for octets.
    pub value: String,
    /// What is compared.
    pub key: Vec<u8>,
}

/// Everything of an object that must be unique, each value once.
pub fn keys(kind: CloudType, candidate: &Candidate, domains: &Domains) -> Vec<UniqueValue> {
    let mut keys: Vec<UniqueValue> = Vec::new();
    let mut push = |kind: FindingKind, attribute, value: &str, mark: u8, octets: &[u8]| {
        let mut key = Vec::with_capacity(octets.len() + 1);
        key.push(mark);
        key.extend_from_slice(octets);
        if !keys.iter().any(|known| known.key == key && known.attribute == attribute) {
            keys.push(UniqueValue { kind, attribute, value: value.to_owned(), key });
        }
    };
    if let Some(anchor) = &candidate.anchor {
        push(FindingKind::AnchorDuplicate, ANCHOR, anchor, b'i', anchor.as_bytes());
    }
    if kind == CloudType::Other {
        return keys;
    }
    if kind == CloudType::User {
        // The name that shows in the cloud is what counts, whether it was written or made there.
        let name = generated_name(candidate, domains);
        let written = candidate.user_principal_name.as_deref().unwrap_or_default();
        push(FindingKind::UpnDuplicate, UPN, written, b'u', fold(&name).as_bytes());
        if !written.is_empty() {
            push(FindingKind::UpnDuplicate, UPN, written, b'u', fold(written).as_bytes());
        }
    }
    for address in candidate.proxy_addresses.iter().map(|address| address.trim()).filter(|address| !address.is_empty()) {
        push(FindingKind::AddressDuplicate, ADDRESSES, address, b'a', fold(bare_address(address)).as_bytes());
    }
    if let Some(mail) = candidate.mail.as_deref().map(str::trim).filter(|mail| !mail.is_empty()) {
        push(FindingKind::AddressDuplicate, MAIL, mail, b'a', fold(bare_address(mail)).as_bytes());
    }
    if let Some(sid) = &candidate.security_identifier {
        push(FindingKind::SidDuplicate, SECURITY_IDENTIFIER, "", b's', sid);
    }
    if let Some(name) = candidate.sign_in_name.as_deref().filter(|name| !name.is_empty()) {
        push(FindingKind::SignInNameDuplicate, SIGN_IN_NAME, name, b'n', fold(name).as_bytes());
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domains() -> Domains {
        Domains::new(["corp.example".to_owned(), "corp.onmicrosoft.com".to_owned()], "corp.onmicrosoft.com", "corp.example")
    }

    fn user(name: &str, addresses: &[&str]) -> Candidate {
        Candidate {
            anchor: Some("AAAA".to_owned()),
            user_principal_name: Some(name.to_owned()),
            account_name: Some("ada".to_owned()),
            display_name: Some("Ada".to_owned()),
            proxy_addresses: addresses.iter().map(|address| (*address).to_owned()).collect(),
            ..Candidate::default()
        }
    }

    fn kinds(candidate: &Candidate) -> Vec<&'static str> {
        check(CloudType::User, candidate, &domains()).iter().map(|finding| finding.kind.as_str()).collect()
    }

    #[test]
    fn what_the_cloud_takes_as_it_is_has_no_findings() {
        let clean = user("o'neil@CORP.example", &["SMTP:ada@corp.example", "smtp:a.l@corp.example", "X500:/o=x"]);
        assert_eq!(kinds(&clean), Vec::<&str>::new());
        assert_eq!(check(CloudType::Other, &Candidate::default(), &domains()), []);
    }

    #[test]
    fn each_kind_has_its_cause() {
        for (name, addresses, wanted) in [
            ("ada", &[][..], &["upn-malformed"][..]),
            ("ada@corp.local", &[], &["upn-suffix"]),
            ("a,da@corp.example", &[], &["upn-characters"]),
            ("müller@corp.local", &[], &["upn-suffix", "upn-characters"]),
            ("", &[], &["upn-missing"]),
            ("ada@corp.example", &["SMTP:a@corp.example", "SMTP:b@corp.example"], &["address-primary-several"]),
            ("ada@corp.example", &["smtp:a@corp.example"], &["address-primary-none"]),
            ("ada@corp.example", &["SMTP:a@corp.example", "smtp:A@CORP.example"], &["address-repeated"]),
            ("ada@corp.example", &["SMTP:a b@corp.example"], &["address-malformed"]),
            ("ada@corp.example", &[" SMTP:a@corp.example"], &["address-blank"]),
            ("ada@corp.example", &["SMTP:a@corp.local"], &["address-suffix"]),
        ] {
            assert_eq!(kinds(&user(name, addresses)), wanted, "{name} {addresses:?}");
        }
        let blank = Candidate {
            display_name: Some(" ".to_owned()),
            mail: Some("x@corp.example".to_owned()),
            ..user("a@corp.example", &["SMTP:y@corp.example"])
        };
        assert_eq!(kinds(&blank), ["mail-differs", "display-name-missing"]);
        let many: Vec<String> = (0..301).map(|number| format!("smtp:a{number}@corp.example")).collect();
        let many = Candidate { proxy_addresses: many, ..user("a@corp.example", &[]) };
        assert_eq!(kinds(&many), ["addresses-too-many", "address-primary-none"]);
        let large = Candidate {
            certificates: vec![("userCertificate", 16)],
            extensions: vec![("x".to_owned(), 251)],
            ..user("a@corp.example", &[])
        };
        assert_eq!(kinds(&large), ["certificates-too-many", "extension-too-long"]);
    }

    #[test]
    fn proposals_are_clean_themselves() {
        for name in [
            "ada",
            "ada@corp.local",
            "a,da@corp.example",
            "müller@corp.local",
            "@corp.example",
            "a b@@x..y",
            ".a.@corp.example",
            "日本@x.example",
        ] {
            let found = check(CloudType::User, &user(name, &[]), &domains());
            let Some(Proposal::Write(proposed)) = found.first().map(|finding| finding.proposal.clone()) else {
                panic!("{name}: {found:?}")
            };
            assert_eq!(kinds(&user(&proposed, &[])), Vec::<&str>::new(), "{name} → {proposed}");
        }
    }

    #[test]
    fn names_made_by_the_cloud_count_as_taken() {
        let written = user("ada@corp.onmicrosoft.com", &[]);
        let made = Candidate { nickname: Some("ada".to_owned()), ..user("other@corp.local", &[]) };
        let key = |candidate: &Candidate| keys(CloudType::User, candidate, &domains()).into_iter().map(|key| key.key).collect::<Vec<_>>();
        let theirs = key(&made);
        assert!(key(&written).iter().any(|own| own[0] == b'u' && theirs.contains(own)), "{theirs:?}");
    }

    #[test]
    fn texts_of_kinds_are_their_own() {
        let mut names: Vec<&str> = FindingKind::ALL.iter().map(|kind| kind.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FindingKind::ALL.len());
    }
}
