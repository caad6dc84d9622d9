//! How an object looks in Graph: one table per type from property to where its value comes from.

use crate::tenant::directory::{DirectoryError, ObjectNumber};
use crate::tenant::directory::{Mastery, ObjectKind, ObjectRecord, PropertyValue, Reader};
use crate::tenant::state::graph_time;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// Where a property's value comes from.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// A single text attribute.
    Text(&'static str),
    /// All texts of an attribute.
    Texts(&'static str),
    /// A boolean attribute.
    Boolean(&'static str),
    /// Octets shown as a security identifier.
    SecurityIdentifier,
    /// Made by a function of the whole object.
    Made(fn(&ObjectRecord) -> Value),
    /// Needs the password row.
    Credential(Credential),
    /// The same for every object.
    Nothing,
    /// An empty list for every object.
    NoList,
}

#[derive(Clone, Copy, Debug)]
enum Credential {
    LastChange,
    Policies,
}

type Row = (&'static str, Source);

const USER: [Row; 46] = [
    ("id", Source::Made(id)),
    ("accountEnabled", Source::Made(|record| json!(record.account_enabled()))),
    ("assignedLicenses", Source::NoList),
    ("businessPhones", Source::Texts("telephoneNumber")),
    ("city", Source::Text("city")),
    ("companyName", Source::Text("company")),
    ("country", Source::Text("country")),
    ("createdDateTime", Source::Made(created)),
    ("creationType", Source::Nothing),
    ("deletedDateTime", Source::Made(deleted)),
    ("department", Source::Text("department")),
    ("displayName", Source::Made(display_name)),
    ("employeeId", Source::Text("employeeId")),
    ("employeeType", Source::Text("employeeType")),
    ("faxNumber", Source::Text("facsimileTelephoneNumber")),
    ("givenName", Source::Text("givenName")),
    ("identities", Source::NoList),
    ("jobTitle", Source::Text("title")),
    ("lastPasswordChangeDateTime", Source::Credential(Credential::LastChange)),
    ("mail", Source::Made(|record| json!(record.effective.mail))),
    ("mailNickname", Source::Made(|record| json!(record.effective.mail_nickname))),
    ("mobilePhone", Source::Text("mobile")),
    ("officeLocation", Source::Text("physicalDeliveryOfficeName")),
    ("onPremisesDistinguishedName", Source::Text("onPremisesDistinguishedName")),
    ("onPremisesDomainName", Source::Text("dnsDomainName")),
    ("onPremisesExtensionAttributes", Source::Made(extension_attributes)),
    ("onPremisesImmutableId", Source::Made(|record| json!(record.source_anchor))),
    ("onPremisesLastSyncDateTime", Source::Made(last_synchronization)),
    ("onPremisesProvisioningErrors", Source::Made(provisioning_errors)),
    ("onPremisesSamAccountName", Source::Text("onPremisesSamAccountName")),
    ("onPremisesSecurityIdentifier", Source::SecurityIdentifier),
    ("onPremisesSyncEnabled", Source::Made(synchronized)),
    ("onPremisesUserPrincipalName", Source::Made(|record| json!(record.written.text("userPrincipalName")))),
    ("otherMails", Source::Texts("otherMails")),
    ("passwordPolicies", Source::Credential(Credential::Policies)),
    ("passwordProfile", Source::Nothing),
    ("postalCode", Source::Text("postalCode")),
    ("preferredDataLocation", Source::Text("preferredDataLocation")),
    ("preferredLanguage", Source::Text("preferredLanguage")),
    ("proxyAddresses", Source::Made(|record| json!(record.effective.proxy_addresses))),
    ("state", Source::Text("state")),
    ("streetAddress", Source::Text("streetAddress")),
    ("surname", Source::Text("surname")),
    ("usageLocation", Source::Text("usageLocation")),
    ("userPrincipalName", Source::Made(|record| json!(record.effective.user_principal_name))),
    ("userType", Source::Made(|record| json!(record.wanted_text("userType").unwrap_or("Member")))),
];

/// What Graph returns of a user without `$select`.
const USER_DEFAULT: [&str; 11] = [
    "id",
    "businessPhones",
    "displayName",
    "givenName",
    "jobTitle",
    "mail",
    "mobilePhone",
    "officeLocation",
    "preferredLanguage",
    "surname",
    "userPrincipalName",
];

const GROUP: [Row; 27] = [
    ("id", Source::Made(id)),
    ("classification", Source::Nothing),
    ("createdDateTime", Source::Made(created)),
    ("deletedDateTime", Source::Made(deleted)),
    ("description", Source::Text("description")),
    ("displayName", Source::Made(display_name)),
    ("expirationDateTime", Source::Nothing),
    ("groupTypes", Source::Texts("groupTypes")),
    ("isAssignableToRole", Source::Nothing),
    ("mail", Source::Made(|record| json!(record.effective.mail))),
    ("mailEnabled", Source::Made(|record| json!(mail_enabled(record)))),
    ("mailNickname", Source::Made(|record| json!(record.effective.mail_nickname))),
    ("membershipRule", Source::Nothing),
    ("onPremisesDomainName", Source::Text("dnsDomainName")),
    ("onPremisesExtensionAttributes", Source::Made(extension_attributes)),
    ("onPremisesLastSyncDateTime", Source::Made(last_synchronization)),
    ("onPremisesNetBiosName", Source::Text("netBiosName")),
    ("onPremisesProvisioningErrors", Source::Made(provisioning_errors)),
    ("onPremisesSamAccountName", Source::Text("onPremisesSamAccountName")),
    ("onPremisesSecurityIdentifier", Source::SecurityIdentifier),
    ("onPremisesSyncEnabled", Source::Made(synchronized)),
    ("preferredDataLocation", Source::Text("preferredDataLocation")),
    ("preferredLanguage", Source::Text("preferredLanguage")),
    ("proxyAddresses", Source::Made(|record| json!(record.effective.proxy_addresses))),
    ("renewedDateTime", Source::Made(created)),
    ("securityEnabled", Source::Made(|record| json!(record.wanted_boolean("securityEnabled").unwrap_or_else(|| !mail_enabled(record))))),
    ("visibility", Source::Nothing),
];

const CONTACT: [Row; 17] = [
    ("id", Source::Made(id)),
    ("addresses", Source::Made(addresses)),
    ("companyName", Source::Text("company")),
    ("deletedDateTime", Source::Made(deleted)),
    ("department", Source::Text("department")),
    ("displayName", Source::Made(display_name)),
    ("givenName", Source::Text("givenName")),
    ("jobTitle", Source::Text("title")),
    ("mail", Source::Made(|record| json!(record.effective.mail))),
    ("mailNickname", Source::Made(|record| json!(record.effective.mail_nickname))),
    ("onPremisesLastSyncDateTime", Source::Made(last_synchronization)),
    ("onPremisesProvisioningErrors", Source::Made(provisioning_errors)),
    ("onPremisesSyncEnabled", Source::Made(synchronized)),
    ("phones", Source::Made(phones)),
    ("proxyAddresses", Source::Made(|record| json!(record.effective.proxy_addresses))),
    ("serviceProvisioningErrors", Source::NoList),
    ("surname", Source::Text("surname")),
];

const DEVICE: [Row; 16] = [
    ("id", Source::Made(id)),
    ("accountEnabled", Source::Made(|record| json!(record.account_enabled()))),
    ("alternativeSecurityIds", Source::NoList),
    ("approximateLastSignInDateTime", Source::Nothing),
    ("deletedDateTime", Source::Made(deleted)),
    ("deviceId", Source::Made(device_id)),
    ("displayName", Source::Made(display_name)),
    ("isCompliant", Source::Boolean("isCompliant")),
    ("isManaged", Source::Boolean("isManaged")),
    ("onPremisesLastSyncDateTime", Source::Made(last_synchronization)),
    ("onPremisesSecurityIdentifier", Source::SecurityIdentifier),
    ("onPremisesSyncEnabled", Source::Made(synchronized)),
    ("operatingSystem", Source::Text("deviceOSType")),
    ("operatingSystemVersion", Source::Text("deviceOSVersion")),
    ("physicalIds", Source::Texts("devicePhysicalIds")),
    ("trustType", Source::Text("deviceTrustType")),
];

/// The name of a type in Graph.
pub(super) fn type_name(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::User => "user",
        ObjectKind::Group => "group",
        ObjectKind::Contact => "orgContact",
        ObjectKind::Device => "device",
    }
}

fn rows(kind: ObjectKind) -> &'static [Row] {
    match kind {
        ObjectKind::User => &USER,
        ObjectKind::Group => &GROUP,
        ObjectKind::Contact => &CONTACT,
        ObjectKind::Device => &DEVICE,
    }
}

/// The canonical name of a property of a type; `None` when the type has no such property.
pub(super) fn property(kind: ObjectKind, name: &str) -> Option<&'static str> {
    rows(kind).iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(known, _)| *known)
}

/// The attribute of the provisioning service behind a plain property, when an administrator may set it.
pub(super) fn attribute(kind: ObjectKind, name: &str) -> Option<(&'static str, bool)> {
    let special = [
        ("mail", "mail"),
        ("mailNickname", "mailNickname"),
        ("userPrincipalName", "userPrincipalName"),
        ("displayName", "displayName"),
        ("userType", "userType"),
    ];
    if let Some((_, attribute)) = special.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
        return Some((attribute, false));
    }
    if name.eq_ignore_ascii_case("proxyAddresses") {
        return Some(("proxyAddresses", true));
    }
    let (known, source) = rows(kind).iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
    if known.starts_with("onPremises") {
        return None;
    }
    match source {
        Source::Text(attribute) => Some((attribute, false)),
        Source::Texts(attribute) => Some((attribute, true)),
        _ => None,
    }
}

/// Shows an object. Without a selection the properties that Graph returns by default.
pub(super) fn show(
    reader: &Reader,
    object: ObjectNumber,
    record: &ObjectRecord,
    select: Option<&[String]>,
    typed: bool,
) -> Result<Map<String, Value>, DirectoryError> {
    let mut shown = Map::new();
    if typed {
        shown.insert("@odata.type".to_owned(), json!(format!("#microsoft.graph.{}", type_name(record.kind))));
    }
    let credential = |source| -> Result<Value, DirectoryError> {
        let Some(credential) = reader.credential(object)? else { return Ok(Value::Null) };
        Ok(match source {
            Credential::LastChange => json!(graph_time(credential.changed)),
            Credential::Policies if credential.never_expires => json!("DisablePasswordExpiration"),
            Credential::Policies => Value::Null,
        })
    };
    for (name, source) in rows(record.kind) {
        let wanted = match select {
            Some(select) => select.iter().any(|wanted| wanted == name),
            None if record.kind == ObjectKind::User => USER_DEFAULT.contains(name),
            None => true,
        };
        if !wanted {
            continue;
        }
        let value = match source {
            Source::Text(attribute) => record.wanted_text(attribute).map_or(Value::Null, |text| json!(text)),
            Source::Texts(attribute) => json!(record.wanted_texts(attribute)),
            Source::Boolean(attribute) => json!(record.wanted_boolean(attribute)),
            Source::SecurityIdentifier => security_identifier(record),
            Source::Made(make) => make(record),
            Source::Credential(source) => credential(*source)?,
            Source::Nothing => Value::Null,
            Source::NoList => json!([]),
        };
        shown.insert((*name).to_owned(), value);
    }
    for name in select.into_iter().flatten().filter(|name| name.starts_with("extension_")) {
        let value = record.wanted(name).map_or(Value::Null, plain);
        shown.insert(name.clone(), value);
    }
    Ok(shown)
}

/// A value as JSON has it.
pub(in crate::tenant::service) fn plain(value: &PropertyValue) -> Value {
    match value {
        PropertyValue::Text(text) => json!(text),
        PropertyValue::Boolean(boolean) => json!(boolean),
        PropertyValue::Integer(number) => json!(number),
        PropertyValue::Binary(octets) => json!(STANDARD.encode(octets)),
        PropertyValue::Texts(texts) => json!(texts),
        PropertyValue::Binaries(values) => values.iter().map(|octets| json!(STANDARD.encode(octets))).collect(),
    }
}

fn id(record: &ObjectRecord) -> Value {
    json!(record.uuid().hyphenated().to_string())
}

fn created(record: &ObjectRecord) -> Value {
    json!(graph_time(record.created))
}

fn deleted(record: &ObjectRecord) -> Value {
    record.deleted.as_ref().map_or(Value::Null, |deletion| json!(graph_time(deletion.at)))
}

fn display_name(record: &ObjectRecord) -> Value {
    json!(record.wanted_text("displayName").or_else(|| record.wanted_text("commonName")))
}

fn last_synchronization(record: &ObjectRecord) -> Value {
    record.synchronized.map_or(Value::Null, |at| json!(graph_time(at)))
}

fn synchronized(record: &ObjectRecord) -> Value {
    match record.mastery {
        Mastery::Cloud => Value::Null,
        Mastery::OnPremises => json!(true),
        Mastery::Released => json!(false),
    }
}

fn mail_enabled(record: &ObjectRecord) -> bool {
    record.effective.mail.is_some() || !record.effective.proxy_addresses.is_empty()
}

fn extension_attributes(record: &ObjectRecord) -> Value {
    let values = (1..=15).map(|number| {
        let name = format!("extensionAttribute{number}");
        let value = json!(record.wanted_text(&name));
        (name, value)
    });
    Value::Object(values.collect())
}

fn provisioning_errors(record: &ObjectRecord) -> Value {
    let errors = record.effective.quarantined.iter().map(|entry| {
        json!({
            "category": "PropertyConflict", "occurredDateTime": graph_time(entry.since),
            "propertyCausingError": entry.property, "value": entry.value,
        })
    });
    errors.collect()
}

fn addresses(record: &ObjectRecord) -> Value {
    let text = |name: &str| json!(record.wanted_text(name));
    let names = ["city", "country", "physicalDeliveryOfficeName", "postalCode", "state", "streetAddress"];
    if names.iter().all(|name| record.wanted_text(name).is_none()) {
        return json!([]);
    }
    json!([{
        "city": text("city"), "countryOrRegion": text("country"), "officeLocation": text("physicalDeliveryOfficeName"),
        "postalCode": text("postalCode"), "state": text("state"), "street": text("streetAddress"),
    }])
}

fn phones(record: &ObjectRecord) -> Value {
    let kinds = [("telephoneNumber", "business"), ("mobile", "mobile"), ("facsimileTelephoneNumber", "businessFax")];
    kinds.iter().filter_map(|(name, kind)| record.wanted_text(name).map(|number| json!({"number": number, "type": kind}))).collect()
}

fn device_id(record: &ObjectRecord) -> Value {
    match record.wanted("deviceId") {
        Some(PropertyValue::Binary(octets)) => match <[u8; 16]>::try_from(octets.as_slice()) {
            Ok(octets) => json!(Uuid::from_bytes_le(octets).hyphenated().to_string()),
            Err(_) => Value::Null,
        },
        Some(PropertyValue::Text(text)) => json!(text),
        _ => Value::Null,
    }
}

fn security_identifier(record: &ObjectRecord) -> Value {
    match record.wanted("onPremiseSecurityIdentifier").or_else(|| record.wanted("onPremisesSecurityIdentifier")) {
        Some(PropertyValue::Binary(octets)) => json!(security_identifier_text(octets)),
        Some(PropertyValue::Text(text)) => json!(text),
        _ => Value::Null,
    }
}

/// `S-1-5-21-…` from the octets of a security identifier (MS-DTYP 2.4.2.2).
fn security_identifier_text(octets: &[u8]) -> Option<String> {
    let (&[revision, count, authority @ ..], parts) = octets.split_first_chunk::<8>()?;
    if parts.len() != usize::from(count) * 4 {
        return None;
    }
    let authority = authority.iter().fold(0u64, |number, octet| number << 8 | u64::from(*octet));
    let mut text = format!("S-{revision}-{authority}");
    for part in parts.as_chunks::<4>().0 {
        text.push('-');
        text.push_str(&u32::from_le_bytes(*part).to_string());
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn security_identifiers_are_shown_as_text() {
        let octets = STANDARD.decode("AQUAAAAAAAUVAAAAUVGlVVVRpVVVUaVVWQQAAA==").unwrap();
        assert_eq!(security_identifier_text(&octets).unwrap(), "S-1-5-21-1436897617-1436897621-1436897621-1113");
        assert_eq!(security_identifier_text(&octets[..20]), None);
        assert_eq!(security_identifier_text(&[]), None);
    }

    #[test]
    fn properties_are_found_in_any_case() {
        assert_eq!(property(ObjectKind::User, "onpremisesimmutableid"), Some("onPremisesImmutableId"));
        assert_eq!(property(ObjectKind::Contact, "onPremisesImmutableId"), None);
        assert_eq!(attribute(ObjectKind::User, "jobTitle"), Some(("title", false)));
        assert_eq!(attribute(ObjectKind::User, "onPremisesSamAccountName"), None);
    }
}
