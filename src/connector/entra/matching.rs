//! Which objects a tenant would take new ones for, asked of Graph before anything is sent: by keys in batches where there are few new
//! objects, by reading the tenant's list where that takes fewer requests (specification: sync engine 6.3; graph 4 and 6).

use super::anchor::{self, Key};
use super::graph::{BATCH, Graph, PAGE, quoted};
use crate::connector::{ConnectorError, ConnectorErrorKind, Existing, Match, MatchFate, MatchKey, MatchReport, NewObject};
use crate::context::Context;
use crate::model::fold;
use crate::protocol::provisioning::features;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Values in one `in` filter (Graph, "Use the $filter query parameter").
pub(super) const VALUES: usize = 15;

/// What is read of an object: names of Graph, and of exports.
const PROPERTIES: [(&str, &str); 24] = [
    ("accountEnabled", "accountEnabled"),
    ("businessPhones", "telephoneNumber"),
    ("city", "city"),
    ("companyName", "company"),
    ("country", "country"),
    ("department", "department"),
    ("displayName", "displayName"),
    ("employeeId", "employeeId"),
    ("employeeType", "employeeType"),
    ("faxNumber", "facsimileTelephoneNumber"),
    ("givenName", "givenName"),
    ("jobTitle", "title"),
    ("mail", "mail"),
    ("mailNickname", "mailNickname"),
    ("mobilePhone", "mobile"),
    ("officeLocation", "physicalDeliveryOfficeName"),
    ("postalCode", "postalCode"),
    ("preferredLanguage", "preferredLanguage"),
    ("proxyAddresses", "proxyAddresses"),
    ("state", "state"),
    ("streetAddress", "streetAddress"),
    ("surname", "surname"),
    ("usageLocation", "usageLocation"),
    ("userPrincipalName", "userPrincipalName"),
];
/// The same of groups and of contacts.
const GROUP_PROPERTIES: [(&str, &str); 5] = [
    ("description", "description"),
    ("displayName", "displayName"),
    ("mail", "mail"),
    ("mailNickname", "mailNickname"),
    ("proxyAddresses", "proxyAddresses"),
];
const CONTACT_PROPERTIES: [(&str, &str); 9] = [
    ("companyName", "company"),
    ("department", "department"),
    ("displayName", "displayName"),
    ("givenName", "givenName"),
    ("jobTitle", "title"),
    ("mail", "mail"),
    ("mailNickname", "mailNickname"),
    ("proxyAddresses", "proxyAddresses"),
    ("surname", "surname"),
];

/// Objects of one type.
struct Collection {
    name: &'static str,
    object_type: &'static str,
    properties: &'static [(&'static str, &'static str)],
    /// It has immutable ids and sign-in names.
    people: bool,
}

const COLLECTIONS: [Collection; 3] = [
    Collection { name: "users", object_type: "user", properties: &PROPERTIES, people: true },
    Collection { name: "groups", object_type: "group", properties: &GROUP_PROPERTIES, people: false },
    Collection { name: "contacts", object_type: "contact", properties: &CONTACT_PROPERTIES, people: false },
];

/// A new object with its keys, folded where case does not matter.
struct Wanted<'n> {
    new: &'n NewObject,
    anchor: Option<String>,
    address: Option<String>,
    name: Option<String>,
}

impl<'n> Wanted<'n> {
    fn of(new: &'n NewObject, people: bool) -> Self {
        let anchor = match anchor::key_of(&new.dn) {
            Some(Key::Source(anchor)) if people => Some(anchor),
            _ => None,
        };
        let folded = |text: &Option<String>| text.as_deref().filter(|text| !text.is_empty()).map(|text| fold(text).into_owned());
        Self { new, anchor, address: folded(&new.primary_address), name: folded(&new.user_principal_name).filter(|_| people) }
    }
}

/// An object of the tenant.
#[derive(Clone)]
struct Known {
    anchor: Option<String>,
    synchronized: bool,
    address: Option<String>,
    name: Option<String>,
    existing: Existing,
}

impl Known {
    fn of(object: &Value, collection: &Collection) -> Option<Self> {
        let text = |name: &str| object[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let texts = |name: &str| match &object[name] {
            Value::String(text) if !text.is_empty() => vec![text.clone()],
            Value::Bool(flag) => vec![flag.to_string()],
            Value::Array(values) => values.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        let primary = texts("proxyAddresses").into_iter().find_map(|address| address.strip_prefix("SMTP:").map(str::to_owned));
        let values = collection.properties.iter().map(|(name, ours)| ((*ours).to_owned(), texts(name)));
        let name = text("userPrincipalName");
        Some(Self {
            anchor: text("onPremisesImmutableId"),
            synchronized: object["onPremisesSyncEnabled"].as_bool() == Some(true),
            address: primary.or_else(|| text("mail")).map(|address| fold(&address).into_owned()),
            name: name.as_ref().map(|name| fold(name).into_owned()),
            existing: Existing {
                id: text("id")?,
                display_name: text("displayName"),
                name: name.or_else(|| text("mail")),
                roles: Vec::new(),
                values: values.filter(|(_, values)| !values.is_empty()).collect(),
            },
        })
    }
}

/// The objects of the tenant that matter, by their keys.
#[derive(Default)]
struct Directory {
    objects: Vec<Known>,
    known: HashSet<String>,
    by_anchor: HashMap<String, usize>,
    by_address: HashMap<String, usize>,
    by_name: HashMap<String, usize>,
}

impl Directory {
    fn add(&mut self, known: Known) {
        if !self.known.insert(known.existing.id.clone()) {
            return;
        }
        let place = self.objects.len();
        for (index, key) in [(&mut self.by_anchor, &known.anchor), (&mut self.by_address, &known.address), (&mut self.by_name, &known.name)]
        {
            if let Some(key) = key {
                index.entry(key.clone()).or_insert(place);
            }
        }
        self.objects.push(known);
    }

    fn find(&self, index: &HashMap<String, usize>, key: Option<&String>) -> Option<&Known> {
        self.objects.get(*index.get(key?)?)
    }
}

/// Looks the new objects up. `field`: the tenant's feature bits.
pub(super) async fn look_up(graph: &Graph, cx: &Context, field: i64, adds: &[NewObject]) -> Result<MatchReport, ConnectorError> {
    let mut report = MatchReport::default();
    for collection in &COLLECTIONS {
        let of_type = adds.iter().filter(|new| new.object_type.eq_ignore_ascii_case(collection.object_type));
        let wanted: Vec<Wanted<'_>> = of_type.map(|new| Wanted::of(new, collection.people)).collect();
        if wanted.is_empty() {
            continue;
        }
        let directory = read(graph, cx, collection, &wanted).await?;
        report.matches.extend(wanted.iter().filter_map(|wanted| judge(&directory, wanted, field)));
    }
    // An immutable id settles it; only what is found by name is kept from those who hold roles.
    let soft = |found: &&Match| found.key != MatchKey::SourceAnchor && found.fate == MatchFate::TakenOver;
    if report.matches.iter().any(|found| soft(&found)) {
        match roles(graph, cx).await {
            Ok(roles) => {
                for found in report.matches.iter_mut().filter(|found| soft(&&**found)) {
                    if let Some(roles) = roles.get(&found.existing.id) {
                        found.existing.roles.clone_from(roles);
                        let reason =
                            "it holds an administrator role and is never matched; take the role away first, or set its immutable id";
                        found.fate = MatchFate::Refused(format!("{reason} (roles: {})", roles.join(", ")));
                    }
                }
            }
            Err(error) if error.kind == ConnectorErrorKind::Cancelled => return Err(error),
            Err(error) => report.gaps.push(format!(
                "who holds administrator roles could not be looked up, and such accounts are never matched by name: {error}"
            )),
        }
    }
    report.requests = graph.requests();
    Ok(report)
}

/// The objects of a type that some of the new ones could be, by whatever takes fewer requests.
async fn read(graph: &Graph, cx: &Context, collection: &Collection, wanted: &[Wanted<'_>]) -> Result<Directory, ConnectorError> {
    let mut select = vec!["id"];
    if collection.people {
        select.push("onPremisesImmutableId");
    }
    select.push("onPremisesSyncEnabled");
    select.extend(collection.properties.iter().map(|(name, _)| *name));
    let select = select.join(",");
    let mut directory = Directory::default();
    let questions = questions(collection, wanted, &select);
    let pages = graph.count(cx, collection.name).await? / PAGE + 1;
    if pages <= questions.len().div_ceil(BATCH) {
        let anchors: HashSet<&String> = wanted.iter().filter_map(|wanted| wanted.anchor.as_ref()).collect();
        let addresses: HashSet<&String> = wanted.iter().filter_map(|wanted| wanted.address.as_ref()).collect();
        let names: HashSet<&String> = wanted.iter().filter_map(|wanted| wanted.name.as_ref()).collect();
        let matters = |known: &Known| {
            let is_in = |set: &HashSet<&String>, key: &Option<String>| key.as_ref().is_some_and(|key| set.contains(key));
            is_in(&anchors, &known.anchor) || is_in(&addresses, &known.address) || is_in(&names, &known.name)
        };
        let path = format!("/{}?$select={select}&$top={PAGE}", collection.name);
        let keep = |object: &Value| {
            if let Some(known) = Known::of(object, collection).filter(matters) {
                directory.add(known);
            }
        };
        graph.pages(cx, &path, keep).await?;
        return Ok(directory);
    }
    for answer in graph.batch(cx, &questions).await? {
        for object in answer["value"].as_array().into_iter().flatten() {
            if let Some(known) = Known::of(object, collection) {
                directory.add(known);
            }
        }
    }
    Ok(directory)
}

/// The requests that find every object which some of the new ones could be.
fn questions(collection: &Collection, wanted: &[Wanted<'_>], select: &str) -> Vec<String> {
    let question = |filter: String| format!("/{}?$filter={filter}&$select={select}", collection.name);
    let mut questions = Vec::new();
    let mut ask_in = |property: &str, keys: Vec<&String>| {
        for part in keys.chunks(VALUES) {
            let list: Vec<String> = part.iter().map(|key| quoted(key)).collect();
            questions.push(question(format!("{property}%20in%20({})", list.join(","))));
        }
    };
    ask_in("onPremisesImmutableId", wanted.iter().filter_map(|wanted| wanted.anchor.as_ref()).collect());
    ask_in("userPrincipalName", wanted.iter().filter_map(|wanted| wanted.name.as_ref()).collect());
    let addresses: Vec<&String> = wanted.iter().filter_map(|wanted| wanted.address.as_ref()).collect();
    ask_in("mail", addresses.clone());
    // A condition on one of several values takes no list.
    questions.extend(addresses.iter().map(|key| question(format!("proxyAddresses/any(p:p%20eq%20{})", quoted(&format!("SMTP:{key}"))))));
    questions
}

/// What the tenant would do with a new object, by the order of its own rules.
fn judge(directory: &Directory, wanted: &Wanted<'_>, field: i64) -> Option<Match> {
    let has = |bit: i64| field & bit != 0;
    let found = |key, value: &Option<String>, fate, known: &Known| {
        let value = value.clone().unwrap_or_default();
        Some(Match { id: wanted.new.id, key, value, fate, existing: known.existing.clone() })
    };
    if let Some(known) = directory.find(&directory.by_anchor, wanted.anchor.as_ref()) {
        let fate = if known.synchronized {
            MatchFate::Synchronized
        } else if has(features::BLOCK_HARD_MATCH_TAKEOVER) {
            MatchFate::Refused(
                "taking objects of the cloud over by their immutable id is blocked in the tenant (InvalidHardMatch)".to_owned(),
            )
        } else {
            MatchFate::TakenOver
        };
        return found(MatchKey::SourceAnchor, &wanted.anchor, fate, known);
    }
    let soft = |known: &Known, keeps_aside: bool| {
        if known.anchor.is_some() {
            return if keeps_aside {
                MatchFate::KeptAside
            } else {
                MatchFate::Refused(
                    "it has another immutable id already (InvalidSoftMatch); clear that, or change the value of one of the two".to_owned(),
                )
            };
        }
        if has(features::BLOCK_SOFT_MATCH) {
            return MatchFate::Refused("matching by name is blocked in the tenant (InvalidSoftMatch)".to_owned());
        }
        MatchFate::TakenOver
    };
    let by_address = directory.find(&directory.by_address, wanted.address.as_ref()).and_then(|known| {
        let fate = soft(known, has(features::DUPLICATE_PROXY_ADDRESS_RESILIENCY));
        found(MatchKey::PrimaryAddress, &wanted.address, fate, known)
    });
    // Whose address is kept aside may still be found by the sign-in name.
    if by_address.as_ref().is_some_and(|found| found.fate != MatchFate::KeptAside) || !has(features::SOFT_MATCH_ON_UPN) {
        return by_address;
    }
    let by_name = directory
        .find(&directory.by_name, wanted.name.as_ref())
        .and_then(|known| found(MatchKey::UserPrincipalName, &wanted.name, soft(known, has(features::DUPLICATE_UPN_RESILIENCY)), known));
    by_name.or(by_address)
}

/// The roles of everybody who holds one, by the holder's id. As many requests as there are roles, twenty at a time.
async fn roles(graph: &Graph, cx: &Context) -> Result<BTreeMap<String, Vec<String>>, ConnectorError> {
    let mut roles = Vec::new();
    graph
        .pages(cx, "/directoryRoles?$select=id,displayName", |role| {
            if let (Some(id), Some(name)) = (role["id"].as_str(), role["displayName"].as_str()) {
                roles.push((id.to_owned(), name.to_owned()));
            }
        })
        .await?;
    let mut holders: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let paths: Vec<String> = roles.iter().map(|(id, _)| format!("/directoryRoles/{id}/members?$select=id")).collect();
    for ((_, name), answer) in roles.iter().zip(graph.batch(cx, &paths).await?) {
        for holder in answer["value"].as_array().into_iter().flatten().filter_map(|holder| holder["id"].as_str()) {
            holders.entry(holder.to_owned()).or_default().push(name.clone());
        }
    }
    Ok(holders)
}
