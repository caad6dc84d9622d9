//! The judge: what `ldapsearch` prints of the domain, turned by rules written down here once more, must be what Graph
//! answers. Nothing here asks Syncline.

use crate::world::{EXCLUDED, INITIAL, VERIFIED, World};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

type Entry = BTreeMap<String, BTreeSet<Vec<u8>>>;

/// What one object should look like, by the names of Graph. Absent and empty are the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) values: BTreeMap<String, String>,
    pub(crate) addresses: BTreeSet<String>,
    /// Anchors of members.
    pub(crate) members: BTreeSet<String>,
    /// The manager's anchor.
    pub(crate) manager: Option<String>,
}

/// All objects by kind and anchor.
pub(crate) type Picture = BTreeMap<(&'static str, String), Seen>;

const ATTRIBUTES: [&str; 27] = [
    "objectClass",
    "objectGUID",
    "mS-DS-ConsistencyGuid",
    "objectSid",
    "sAMAccountName",
    "userPrincipalName",
    "userAccountControl",
    "isCriticalSystemObject",
    "adminDescription",
    "groupType",
    "cn",
    "displayName",
    "givenName",
    "sn",
    "mail",
    "mailNickname",
    "proxyAddresses",
    "department",
    "title",
    "company",
    "l",
    "description",
    "member",
    "manager",
    "mobile",
    "postalCode",
    "st",
];

fn text(entry: &Entry, name: &str) -> Option<String> {
    let octets = entry.get(name)?.first()?;
    Some(String::from_utf8(octets.clone()).unwrap())
}

fn texts(entry: &Entry, name: &str) -> Vec<String> {
    entry.get(name).into_iter().flatten().map(|octets| String::from_utf8(octets.clone()).unwrap()).collect()
}

/// What kind of cloud object an entry becomes, if any: the default rules, sections 3.1 to 3.3, in a few lines.
fn kind_of(dn: &str, entry: &Entry) -> Option<&'static str> {
    let classes = texts(entry, "objectClass");
    let is = |class: &str| classes.iter().any(|known| known.eq_ignore_ascii_case(class));
    let critical = entry.contains_key("isCriticalSystemObject");
    if critical || dn.ends_with(EXCLUDED) || dn.contains("\\0ACNF:") {
        return None;
    }
    let marked = |prefix: &str| text(entry, "adminDescription").is_some_and(|mark| mark.starts_with(prefix));
    if is("group") {
        let mail = text(entry, "mail").is_some_and(|mail| mail.contains('@'));
        let wanted = group_type(entry) & 0x8000_0000 != 0 || mail;
        return (wanted && !marked("Group_")).then_some("group");
    }
    if is("contact") {
        return text(entry, "mail").filter(|mail| mail.contains('@')).map(|_| "contact");
    }
    if is("user") && !is("computer") && !marked("User_") {
        let account = text(entry, "sAMAccountName")?;
        let internal = ["AAD_", "MSOL_"].iter().any(|prefix| account.starts_with(prefix));
        return (!internal).then_some("user");
    }
    None
}

fn group_type(entry: &Entry) -> u32 {
    text(entry, "groupType").map_or(0, |number| number.parse::<i32>().unwrap().cast_unsigned())
}

fn anchor_of(kind: &str, entry: &Entry) -> String {
    let own = (kind == "user").then(|| entry.get("mS-DS-ConsistencyGuid")).flatten();
    STANDARD.encode(own.unwrap_or(&entry["objectGUID"]).first().unwrap())
}

/// A security identifier as text ([MS-DTYP] section 2.4.2.1).
fn security_identifier(entry: &Entry) -> String {
    let octets = entry["objectSid"].first().unwrap();
    let authority = octets[2..8].iter().fold(0u64, |number, octet| number << 8 | u64::from(*octet));
    let parts = octets[8..].chunks(4).map(|part| u32::from_le_bytes(part.try_into().unwrap()).to_string());
    format!("S-{}-{authority}-{}", octets[0], parts.collect::<Vec<_>>().join("-"))
}

/// The name before the `@`.
fn prefix(address: &str) -> String {
    address.split('@').next().unwrap().to_owned()
}

/// The name that the tenant gives (sync engine 6.4): the account's own, or the nickname in the initial domain.
fn principal_name(entry: &Entry) -> String {
    let own = text(entry, "userPrincipalName").unwrap_or_else(|| format!("{}@{VERIFIED}", text(entry, "sAMAccountName").unwrap()));
    if own.ends_with(&format!("@{VERIFIED}")) || own.ends_with(&format!("@{INITIAL}")) {
        return own;
    }
    let primary = texts(entry, "proxyAddresses").into_iter().find_map(|address| address.strip_prefix("SMTP:").map(prefix));
    let nickname =
        text(entry, "mailNickname").or(primary).or_else(|| text(entry, "mail").map(|mail| prefix(&mail))).unwrap_or_else(|| prefix(&own));
    format!("{nickname}@{INITIAL}")
}

/// What the tenant should hold, from what the domain holds.
pub(crate) fn expected(world: &World) -> Picture {
    let found = world.lab.search(world.lab.text("base"), "(|(objectClass=user)(objectClass=group)(objectClass=contact))", &ATTRIBUTES);
    let mut kinds = BTreeMap::new();
    for (dn, entry) in &found {
        if let Some(kind) = kind_of(dn, entry) {
            kinds.insert(dn.clone(), (kind, anchor_of(kind, entry)));
        }
    }
    let mut picture = Picture::new();
    for (dn, (kind, anchor)) in &kinds {
        let entry = &found[dn];
        let mut seen = Seen::default();
        let mut set = |name: &str, value: Option<String>| {
            if let Some(value) = value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty()) {
                seen.values.insert(name.to_owned(), value);
            }
        };
        set("displayName", text(entry, "displayName").or_else(|| text(entry, "cn")));
        set("mail", text(entry, "mail"));
        match *kind {
            "user" => {
                set("givenName", text(entry, "givenName"));
                set("surname", text(entry, "sn"));
                set("department", text(entry, "department"));
                set("jobTitle", text(entry, "title"));
                set("companyName", text(entry, "company"));
                set("city", text(entry, "l"));
                set("state", text(entry, "st"));
                set("postalCode", text(entry, "postalCode"));
                set("mobilePhone", text(entry, "mobile"));
                set("onPremisesSamAccountName", text(entry, "sAMAccountName"));
                set("userPrincipalName", Some(principal_name(entry)));
                let control: u32 = text(entry, "userAccountControl").unwrap().parse().unwrap();
                set("accountEnabled", Some((control & 2 == 0).to_string()));
                seen.manager = text(entry, "manager").and_then(|dn| kinds.get(&dn)).map(|(_, anchor)| anchor.clone());
            }
            "group" => {
                set("description", text(entry, "description"));
                set("onPremisesSecurityIdentifier", Some(security_identifier(entry)));
                seen.members = texts(entry, "member").iter().filter_map(|dn| kinds.get(dn)).map(|(_, anchor)| anchor.clone()).collect();
            }
            _ => {
                set("givenName", text(entry, "givenName"));
                set("surname", text(entry, "sn"));
                set("companyName", text(entry, "company"));
            }
        }
        seen.addresses = texts(entry, "proxyAddresses").into_iter().collect();
        picture.insert((*kind, anchor.clone()), seen);
    }
    picture
}

/// What Graph says that the tenant holds of synchronized objects. Graph shows anchors of users only, so groups and
/// contacts are recognized by security identifier and mail address.
pub(crate) fn actual(world: &World, anchors: &BTreeMap<String, String>) -> Picture {
    let kinds = [
        (
            "user",
            "/users",
            "id,onPremisesImmutableId,onPremisesSyncEnabled,displayName,givenName,surname,mail,department,jobTitle,companyName,city,state,postalCode,mobilePhone,onPremisesSamAccountName,userPrincipalName,accountEnabled,proxyAddresses,onPremisesDistinguishedName",
        ),
        ("group", "/groups", "id,onPremisesSyncEnabled,displayName,description,mail,proxyAddresses,onPremisesSecurityIdentifier"),
        ("contact", "/contacts", "id,onPremisesSyncEnabled,displayName,givenName,surname,mail,companyName,proxyAddresses"),
    ];
    let mut picture = Picture::new();
    let mut by_id = BTreeMap::new();
    let mut listed = Vec::new();
    for (kind, path, select) in kinds {
        for object in world.graph_list(&format!("{path}?$select={select}&$top=200")) {
            if object["onPremisesSyncEnabled"] != true {
                continue;
            }
            let anchor = match kind {
                "user" => object["onPremisesImmutableId"].as_str().unwrap().to_owned(),
                _ => anchors.get(&key_of(kind, &object)).cloned().unwrap_or_else(|| format!("nobody's: {}", key_of(kind, &object))),
            };
            by_id.insert(object["id"].as_str().unwrap().to_owned(), anchor.clone());
            listed.push((kind, path, anchor, object));
        }
    }
    for (kind, path, anchor, object) in listed {
        let mut seen = Seen::default();
        for (name, value) in object.as_object().unwrap() {
            let value = match value {
                Value::String(text) => text.clone(),
                Value::Bool(boolean) => boolean.to_string(),
                _ => continue,
            };
            let own = ["id", "onPremisesImmutableId", "onPremisesSyncEnabled", "onPremisesDistinguishedName"];
            if !own.contains(&name.as_str()) && !name.starts_with('@') {
                seen.values.insert(name.clone(), value);
            }
        }
        seen.addresses =
            object["proxyAddresses"].as_array().into_iter().flatten().map(|address| address.as_str().unwrap().to_owned()).collect();
        let id = object["id"].as_str().unwrap();
        if kind == "group" {
            let members = world.graph_list(&format!("{path}/{id}/members?$select=id&$top=999"));
            seen.members = members.iter().map(|member| by_id[member["id"].as_str().unwrap()].clone()).collect();
        }
        if kind == "user" {
            seen.manager =
                world.graph(&format!("/users/{id}/manager?$select=id")).map(|manager| by_id[manager["id"].as_str().unwrap()].clone());
        }
        assert_eq!(picture.insert((kind, anchor.clone()), seen), None, "{kind} {anchor} is twice in the tenant");
    }
    picture
}

/// By what a group or contact is known on both sides.
fn key_of(kind: &str, object: &Value) -> String {
    match kind {
        "group" => format!("group {}", object["onPremisesSecurityIdentifier"].as_str().unwrap_or_default()),
        _ => format!("contact {}", object["mail"].as_str().unwrap_or_default()),
    }
}

/// Anchors of groups and contacts by those keys.
fn anchors(expected: &Picture) -> BTreeMap<String, String> {
    let key = |((kind, anchor), seen): (&(&'static str, String), &Seen)| {
        let name = |name: &str| seen.values.get(name).cloned().unwrap_or_default();
        let key = match *kind {
            "group" => format!("group {}", name("onPremisesSecurityIdentifier")),
            "contact" => format!("contact {}", name("mail")),
            _ => return None,
        };
        Some((key, anchor.clone()))
    };
    expected.iter().filter_map(key).collect()
}

/// Compares both sides, object by object.
#[track_caller]
pub(crate) fn judge(world: &World, after: &str) -> Picture {
    let expected = expected(world);
    let actual = actual(world, &anchors(&expected));
    let mut wrong = Vec::new();
    for key in expected.keys().chain(actual.keys()).collect::<BTreeSet<_>>() {
        let (wanted, found) = (expected.get(key), actual.get(key));
        if wanted != found {
            wrong.push(format!("{key:?}\n  domain: {wanted:?}\n  tenant: {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "after {after}, {} objects differ:\n{}", wrong.len(), wrong[..wrong.len().min(5)].join("\n"));
    expected
}
