//! What the tenant makes of wanted values: names, addresses, uniqueness, and values kept aside.

use super::change::{Conflict, FaultCode, ObjectFault};
use super::naming;
use super::policy::{Authentication, Features, Policy};
use super::properties::PropertyValue;
use super::record::{Effective, Mastery, ObjectKind, ObjectRecord, Quarantined};
use super::tables::{UniqueKey, UniqueKind, Writer};
use super::{DirectoryError, ObjectNumber, Refusal};
use crate::model::{bare_address, fold};

/// Values that the tenant itself added to a mailbox user's addresses when the sign-in name was recomputed.
pub(super) const GENERATED_ADDRESSES: &str = "syncline.generatedAddresses";
/// Property name under which a kept-aside sign-in name is reported.
pub(super) const UPN_PROPERTY: &str = "UserPrincipalName";
/// Property name under which a kept-aside address is reported.
pub(super) const ADDRESS_PROPERTY: &str = "ProxyAddresses";

const MAX_ADDRESSES: usize = 300;
const MAX_CERTIFICATES: usize = 15;
const MAX_EXTENSIONS: usize = 100;
const MAX_EXTENSION_LENGTH: usize = 250;

/// All unique values of an object, sorted and without doubles.
pub(super) fn unique_keys(record: &ObjectRecord) -> Vec<UniqueKey> {
    let mut keys = Vec::with_capacity(6);
    if let Some(name) = &record.effective.user_principal_name {
        keys.push(UniqueKey::text(UniqueKind::UserPrincipalName, name));
    }
    keys.extend(record.effective.mail.iter().map(|mail| UniqueKey::address(mail)));
    keys.extend(record.effective.proxy_addresses.iter().map(|address| UniqueKey::address(address)));
    keys.extend(security_identifier(record));
    if let Some(name) = record.wanted_text("signInName") {
        keys.push(UniqueKey::text(UniqueKind::SignInName, name));
    }
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn security_identifier(record: &ObjectRecord) -> Option<UniqueKey> {
    match record.wanted("onPremiseSecurityIdentifier").or_else(|| record.wanted("onPremisesSecurityIdentifier"))? {
        PropertyValue::Binary(octets) => Some(UniqueKey::octets(UniqueKind::SecurityIdentifier, octets)),
        PropertyValue::Text(text) => Some(UniqueKey::text(UniqueKind::SecurityIdentifier, text)),
        _ => None,
    }
}

/// How an object comes to its names and addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    /// Synchronization wrote it: duplicates are kept aside when the features say so.
    Synchronization,
    /// An administrator wrote it: duplicates are refused.
    Administrator,
    /// The hourly sweep or a change of domains: nothing was written, names are looked at again.
    Review {
        /// Sign-in names are made again even when they are not kept aside.
        names: bool,
    },
}

struct Maker<'a, 't> {
    writer: &'a Writer<'t>,
    object: Option<ObjectNumber>,
    record: &'a ObjectRecord,
    policy: &'a Policy,
    occasion: Occasion,
    made: Effective,
}

/// Makes names and addresses of `record`, whose effective part is still the earlier one. `before` is the object
/// before this write, without one when it is new.
pub(super) fn make(
    writer: &Writer<'_>,
    object: Option<ObjectNumber>,
    record: &ObjectRecord,
    before: Option<&ObjectRecord>,
    policy: &Policy,
    occasion: Occasion,
) -> Result<Effective, Refusal> {
    check_size(record)?;
    let made = Effective { mail_nickname: record.effective.mail_nickname.clone(), ..Effective::default() };
    let mut maker = Maker { writer, object, record, policy, occasion, made };
    maker.nickname(before);
    if record.kind == ObjectKind::User {
        maker.user_principal_name(before)?;
    }
    maker.addresses()?;
    maker.security_identifier()?;
    Ok(maker.made)
}

impl Maker<'_, '_> {
    fn nickname(&mut self, before: Option<&ObjectRecord>) {
        if self.record.kind == ObjectKind::Device {
            return;
        }
        let written = naming::written_nickname(self.record);
        let changed = written.is_some() && written != before.and_then(naming::written_nickname);
        if changed || self.made.mail_nickname.is_none() {
            self.made.mail_nickname = if changed { written.map(str::to_owned) } else { naming::first_nickname(self.record) };
        }
    }

    fn user_principal_name(&mut self, before: Option<&ObjectRecord>) -> Result<(), Refusal> {
        let record = self.record;
        let earlier = record.effective.user_principal_name.clone();
        let written = record.wanted_text("userPrincipalName");
        if let Some(reason) = written.and_then(naming::malformed) {
            return Err(ObjectFault::new(
                FaultCode::DataValidationFailed,
                format!("The value of the attribute UserPrincipalName is not valid: {reason}. Correct it in the directory it comes from."),
            )
            .into());
        }
        let kept_aside = record.effective.quarantined.iter().find(|entry| entry.property == UPN_PROPERTY);
        let arrived = before.is_none_or(|before| before.wanted_text("userPrincipalName") != written);
        let wanted = match (&earlier, self.occasion) {
            (None, _) | (_, Occasion::Review { names: true }) => true,
            _ => arrived || kept_aside.is_some(),
        };
        let Some(earlier_name) = earlier.as_deref().filter(|_| !wanted) else {
            return self.new_name(earlier.as_deref());
        };
        self.made.user_principal_name = Some(earlier_name.to_owned());
        Ok(())
    }

    fn new_name(&mut self, earlier: Option<&str>) -> Result<(), Refusal> {
        let record = self.record;
        let name = naming::cloud_name(record, self.made.mail_nickname.as_deref(), self.policy);
        let domain = name.rsplit_once('@').map_or("", |(_, domain)| domain);
        if let Some(earlier) = earlier.filter(|earlier| !earlier.eq_ignore_ascii_case(&name)) {
            let earlier_domain = earlier.rsplit_once('@').map_or("", |(_, domain)| domain);
            let federated = |name: &str| self.policy.domain(name) == Some(Authentication::Federated);
            if self.occasion == Occasion::Synchronization
                && fold(earlier_domain) != fold(domain)
                && federated(earlier_domain)
                && federated(domain)
            {
                return Err(ObjectFault::new(
                    FaultCode::FederatedDomainChangeError,
                    format!(
                        "The sign-in name {earlier} cannot move from the federated domain {earlier_domain} to the federated domain \
                         {domain} in one step; move it to a managed domain first."
                    ),
                )
                .into());
            }
            let held = record.mailbox && !federated(earlier_domain) && record.mastery == Mastery::OnPremises;
            if held && !self.policy.features.has(Features::SYNCHRONIZE_UPN_FOR_MANAGED_USERS) {
                self.made.user_principal_name = Some(earlier.to_owned());
                return Ok(());
            }
        }
        let key = UniqueKey::text(UniqueKind::UserPrincipalName, &name);
        let Some(other) = self.owner(&key)? else {
            self.made.user_principal_name = Some(name);
            return Ok(());
        };
        let written = record.wanted_text("userPrincipalName") == Some(name.as_str());
        if !self.keeps_aside(Features::DUPLICATE_UPN_RESILIENCY) {
            return Err(self.duplicate(other, UPN_PROPERTY, &name)?.into());
        }
        if written {
            self.keep_aside(UPN_PROPERTY, &name);
        }
        self.made.user_principal_name = Some(match earlier {
            Some(earlier) => earlier.to_owned(),
            None => self.placeholder(&name)?,
        });
        Ok(())
    }

    fn placeholder(&self, name: &str) -> Result<String, Refusal> {
        let seed = self.record.source_anchor.as_deref().map_or(self.record.id.as_slice(), str::as_bytes);
        for candidate in naming::placeholders(name, seed, self.policy) {
            if self.owner(&UniqueKey::text(UniqueKind::UserPrincipalName, &candidate))?.is_none() {
                return Ok(candidate);
            }
        }
        Err(ObjectFault::new(
            FaultCode::AttributeValueMustBeUnique,
            format!("Nine thousand users already have placeholders for {name}; give this one another sign-in name."),
        )
        .into())
    }

    fn addresses(&mut self) -> Result<(), Refusal> {
        let record = self.record;
        let mut addresses: Vec<&str> = Vec::new();
        for address in record.wanted_texts("proxyAddresses").iter().chain(record.cloud.texts(GENERATED_ADDRESSES)) {
            let address = address.trim();
            if !address.is_empty() && !addresses.iter().any(|known| fold(bare_address(known)) == fold(bare_address(address))) {
                addresses.push(address);
            }
        }
        if addresses.len() > MAX_ADDRESSES {
            return Err(too_large(&format!("it has {} proxy addresses; {MAX_ADDRESSES} are allowed", addresses.len())).into());
        }
        for address in addresses {
            match self.owner(&UniqueKey::address(address))? {
                None => self.made.proxy_addresses.push(address.to_owned()),
                Some(other) => self.duplicate_address(other, ADDRESS_PROPERTY, address)?,
            }
        }
        let mail = record.wanted_text("mail").map(str::trim).filter(|mail| !mail.is_empty());
        if let Some(mail) = mail {
            let known = self.made.quarantined.iter().any(|entry| fold(bare_address(&entry.value)) == fold(mail));
            match self.owner(&UniqueKey::address(mail))? {
                None => self.made.mail = Some(mail.to_owned()),
                Some(_) if known => {}
                Some(other) => self.duplicate_address(other, "Mail", &format!("SMTP:{mail}"))?,
            }
        }
        if self.made.mail.is_none() {
            self.made.mail = super::record::primary_of(&self.made.proxy_addresses).map(str::to_owned);
        }
        Ok(())
    }

    fn duplicate_address(&mut self, other: ObjectNumber, property: &str, address: &str) -> Result<(), Refusal> {
        // A group's address is the documented exception: it is never kept aside for an object of another type.
        let group_in_the_way = match self.writer.object(other)? {
            Some(owner) => owner.kind != self.record.kind && (owner.kind == ObjectKind::Group || self.record.kind == ObjectKind::Group),
            None => false,
        };
        if group_in_the_way || !self.keeps_aside(Features::DUPLICATE_PROXY_ADDRESS_RESILIENCY) {
            return Err(self.duplicate(other, property, address)?.into());
        }
        self.keep_aside(ADDRESS_PROPERTY, address);
        Ok(())
    }

    fn security_identifier(&mut self) -> Result<(), Refusal> {
        if let Some(key) = security_identifier(self.record)
            && let Some(other) = self.owner(&key)?
        {
            return Err(self.duplicate(other, "OnPremiseSecurityIdentifier", "the security identifier")?.into());
        }
        if let Some(name) = self.record.wanted_text("signInName")
            && let Some(other) = self.owner(&UniqueKey::text(UniqueKind::SignInName, name))?
        {
            return Err(self.duplicate(other, "SignInName", name)?.into());
        }
        Ok(())
    }

    /// The other object that has a value, or none.
    fn owner(&self, key: &UniqueKey) -> Result<Option<ObjectNumber>, DirectoryError> {
        Ok(self.writer.by_unique(key)?.filter(|owner| Some(*owner) != self.object))
    }

    fn keeps_aside(&self, feature: i32) -> bool {
        match self.occasion {
            Occasion::Administrator => false,
            Occasion::Synchronization => self.policy.features.has(feature),
            Occasion::Review { .. } => true,
        }
    }

    fn keep_aside(&mut self, property: &str, value: &str) {
        let since = self
            .record
            .effective
            .quarantined
            .iter()
            .find(|entry| entry.property == property && entry.value == value)
            .map_or(self.policy.now.0, |entry| entry.since);
        self.made.quarantined.push(Quarantined { property: property.to_owned(), value: value.to_owned(), since });
    }

    fn duplicate(&self, other: ObjectNumber, property: &str, value: &str) -> Result<ObjectFault, DirectoryError> {
        let owner = self.writer.object(other)?;
        let name = owner.as_ref().map_or_else(String::new, describe);
        let object_id = owner.map_or_else(String::new, |owner| owner.uuid().hyphenated().to_string());
        Ok(ObjectFault {
            code: FaultCode::AttributeValueMustBeUnique,
            description: format!(
                "Unable to update this object because the following attributes associated with this object have values that may \
                 already be associated with another object: [{property} {value};]. The other object is {name}. Change the value of \
                 one of the two, or delete the one that is not needed."
            ),
            conflict: Some(Conflict { object_id, attribute: property.to_owned(), values: value.to_owned() }),
        })
    }
}

/// An object for people: type, a name, the object id, and that it lies in the recycle bin when it does.
pub(super) fn describe(record: &ObjectRecord) -> String {
    let name = record
        .effective
        .user_principal_name
        .as_deref()
        .or_else(|| record.wanted_text("displayName"))
        .or(record.source_anchor.as_deref())
        .unwrap_or("without a name");
    let bin = if record.is_live() { "" } else { ", in the recycle bin" };
    format!("{} {name} ({}{bin})", record.kind, record.uuid().hyphenated())
}

fn too_large(reason: &str) -> ObjectFault {
    ObjectFault::new(FaultCode::LargeObject, format!("The object is too large: {reason} (ExceededAllowedLength)."))
}

fn check_size(record: &ObjectRecord) -> Result<(), ObjectFault> {
    for name in ["userCertificate", "userSMIMECertificate"] {
        let count = record.wanted(name).map_or(0, PropertyValue::count);
        if count > MAX_CERTIFICATES {
            return Err(too_large(&format!("{name} has {count} values; {MAX_CERTIFICATES} are allowed")));
        }
    }
    let mut extensions = 0;
    for property in record.written.iter() {
        let is_extension = property.name.get(..10).is_some_and(|start| start.eq_ignore_ascii_case("extension_"));
        if is_extension {
            extensions += 1;
            let longest = property.value.texts().iter().map(|text| text.chars().count()).max().unwrap_or(0);
            if longest > MAX_EXTENSION_LENGTH {
                return Err(too_large(&format!("{} has {longest} characters; {MAX_EXTENSION_LENGTH} are allowed", property.name)));
            }
        }
    }
    if extensions > MAX_EXTENSIONS {
        return Err(too_large(&format!("it has {extensions} directory extensions; {MAX_EXTENSIONS} are allowed")));
    }
    Ok(())
}
