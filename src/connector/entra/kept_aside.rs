//! Values that a tenant accepted and keeps aside, and who has them instead: the provisioning service says nothing of it, so Graph
//! is asked (specification: provisioning service 6.1; graph 4 and 6).

use super::graph::{Graph, PAGE, quoted};
use super::matching::VALUES;
use crate::connector::{ConnectorError, ConnectorErrorKind, KeptAside, UniqueKind, ValueHolder};
use crate::context::Context;
use crate::model::{Anchor, Timestamp};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use xxhash_rust::xxh3::xxh3_64;

/// Of so many values it is looked up in one look who has them; another look begins at another one. An address takes five questions, twenty
/// of which are one request.
const LOOKED_UP: usize = 200;
/// What is read of whoever has a value.
const SELECT: &str = "id,displayName,userPrincipalName,mail,proxyAddresses";
/// The same of objects without a sign-in name.
const SELECT_ADDRESSES: &str = "id,displayName,mail,proxyAddresses";
/// Where deleted users lie.
const RECYCLE_BIN: &str = "directory/deletedItems/graph.user";
/// Where values are had, and the types in anchors.
const PLACES: [(&str, &str); 4] = [("users", "User"), ("groups", "Group"), ("contacts", "Contact"), (RECYCLE_BIN, "User")];

/// A value that only one object can have, in the form in which values are compared.
type UniqueValue = (UniqueKind, String);

fn unique_value(attribute: &str, value: &str) -> UniqueValue {
    let is_name = attribute.eq_ignore_ascii_case("userPrincipalName");
    let kind = if is_name { UniqueKind::SignInName } else { UniqueKind::Address };
    (kind, kind.compared(value).into_owned())
}

/// The values that are kept aside; nobody looked yet who has them.
pub(super) async fn list(graph: &Graph, cx: &Context) -> Result<Vec<KeptAside>, ConnectorError> {
    let filter = utf8_percent_encode("onPremisesProvisioningErrors/any(e:e/category eq 'PropertyConflict')", NON_ALPHANUMERIC).to_string();
    let mut found = Vec::new();
    for (collection, kind) in PLACES.into_iter().filter(|(collection, _)| *collection != RECYCLE_BIN) {
        let path = format!("/{collection}?$filter={filter}&$count=true&$select=id,onPremisesProvisioningErrors&$top={PAGE}");
        let take = |object: &Value| {
            let Some(id) = object["id"].as_str() else { return };
            for entry in object["onPremisesProvisioningErrors"].as_array().into_iter().flatten() {
                let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
                let (attribute, value) = (text("propertyCausingError"), text("value"));
                if text("category") == "PropertyConflict" {
                    found.push(KeptAside { anchor: anchor(kind, id), attribute, value, holders: None });
                }
            }
        };
        graph.pages(cx, &path, take).await?;
    }
    Ok(found)
}

/// Looks up who has the values. What cannot be looked up stays open.
pub(super) async fn look_up_holders(graph: &Graph, cx: &Context, found: &mut [KeptAside]) -> Result<(), ConnectorError> {
    let all = found.iter().map(|kept| unique_value(&kept.attribute, &kept.value));
    let wanted = looked_up(all.collect(), cx.now());
    let mut holders: BTreeMap<UniqueValue, Vec<ValueHolder>> = BTreeMap::new();
    let mut everywhere = true;
    for (collection, kind) in PLACES {
        let answers = match graph.batch(cx, &questions(collection, &wanted)).await {
            Ok(answers) => answers,
            // Not everybody may look into the recycle bin.
            Err(error) if collection == RECYCLE_BIN && error.kind != ConnectorErrorKind::Cancelled => {
                everywhere = false;
                continue;
            }
            Err(error) => return Err(error),
        };
        for object in answers.iter().filter_map(|answer| answer["value"].as_array()).flatten() {
            for (value, holder) in held(graph, collection, kind, object) {
                let known = holders.entry(value).or_default();
                if known.iter().all(|other| other.anchor != holder.anchor) {
                    known.push(holder);
                }
            }
        }
    }
    for kept in found {
        let value = unique_value(&kept.attribute, &kept.value);
        let mut others = holders.get(&value).cloned().unwrap_or_default();
        others.retain(|holder| holder.anchor != kept.anchor);
        kept.holders = (wanted.contains(&value) && (everywhere || !others.is_empty())).then_some(others);
    }
    Ok(())
}

/// The values of this look: so many as one takes, beginning anywhere, so that none is left out in every look. What stays kept aside
/// would always be the same first ones otherwise. Looks are often equally far apart, so the time itself would not lead anywhere.
fn looked_up(all: BTreeSet<UniqueValue>, now: Timestamp) -> BTreeSet<UniqueValue> {
    if all.len() <= LOOKED_UP {
        return all;
    }
    let mut all = Vec::from_iter(all);
    let anywhere = xxh3_64(&now.0.to_le_bytes()) % all.len() as u64;
    all.rotate_left(usize::try_from(anywhere).unwrap_or_default());
    all.truncate(LOOKED_UP);
    all.into_iter().collect()
}

fn anchor(kind: &str, id: &str) -> Anchor {
    Anchor::new(format!("{kind}_{id}").as_bytes())
}

/// The requests that find whoever has some of the values.
fn questions(collection: &str, wanted: &BTreeSet<UniqueValue>) -> Vec<String> {
    let people = matches!(collection, "users" | RECYCLE_BIN);
    let select = if people { SELECT } else { SELECT_ADDRESSES };
    let question = |filter: String| format!("/{collection}?$filter={filter}&$count=true&$select={select}");
    let any_of = |property: &str, values: &[&String]| {
        let lists = values.chunks(VALUES).map(|part| part.iter().map(|value| quoted(value)).collect::<Vec<_>>().join(","));
        lists.map(|list| question(format!("{property}%20in%20({list})"))).collect::<Vec<_>>()
    };
    let of_kind = |kind| wanted.iter().filter(|(other, _)| *other == kind).map(|(_, text)| text).collect::<Vec<_>>();
    let addresses = of_kind(UniqueKind::Address);
    let mut questions = if people { any_of("userPrincipalName", &of_kind(UniqueKind::SignInName)) } else { Vec::new() };
    questions.extend(any_of("mail", &addresses));
    // A condition on one of several values takes no list; Graph compares texts without case.
    let address = |address: &&String| question(format!("proxyAddresses/any(p:p%20eq%20{})", quoted(&format!("smtp:{address}"))));
    questions.extend(addresses.iter().map(address));
    questions
}

/// The values that an object has, each with the object as its holder.
fn held(graph: &Graph, collection: &str, kind: &str, object: &Value) -> Vec<(UniqueValue, ValueHolder)> {
    let Some(id) = object["id"].as_str() else { return Vec::new() };
    let mut values: BTreeMap<UniqueValue, Vec<(String, String)>> = BTreeMap::new();
    for attribute in ["userPrincipalName", "mail", "proxyAddresses"] {
        let texts = match &object[attribute] {
            Value::Array(texts) => texts.iter().filter_map(Value::as_str).collect(),
            Value::String(text) => vec![text.as_str()],
            _ => Vec::new(),
        };
        for text in texts {
            values.entry(unique_value(attribute, text)).or_default().push((attribute.to_owned(), text.to_owned()));
        }
    }
    let text = |name: &str| object[name].as_str().filter(|text| !text.is_empty());
    let name = match (text("displayName"), text("userPrincipalName").or_else(|| text("mail"))) {
        (Some(name), Some(account)) => format!("{name} ({account}, id {id})"),
        (Some(name), None) | (None, Some(name)) => format!("{name} (id {id})"),
        (None, None) => format!("the object {id}"),
    };
    let in_recycle_bin = collection == RECYCLE_BIN;
    let removal = if in_recycle_bin {
        format!(
            "remove it for good, in the Entra admin center under Users, Deleted users, or by `az rest --method delete --url \
             {}/directory/deletedItems/{id}`",
            graph.root()
        )
    } else {
        "give it another value in the tenant, or delete it there and remove it for good".to_owned()
    };
    let holder = |values| ValueHolder { anchor: anchor(kind, id), called: name.clone(), in_recycle_bin, values, removal: removal.clone() };
    values.into_iter().map(|(value, had)| (value, holder(had))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_is_left_out_in_every_look() {
        let values = |count: usize| -> BTreeSet<UniqueValue> {
            (0..count).map(|number| (UniqueKind::Address, format!("p{number:04}@corp.example"))).collect()
        };
        assert_eq!(looked_up(values(LOOKED_UP), Timestamp(1)), values(LOOKED_UP));
        // Every half an hour, as cycles come.
        for count in [LOOKED_UP + 1, 300, 360, 900] {
            let mut seen = BTreeSet::new();
            for look in 0..48 {
                let now = looked_up(values(count), Timestamp::from_seconds(1_800_000_000 + look * 1_800));
                assert_eq!(now.len(), LOOKED_UP);
                seen.extend(now);
            }
            assert_eq!(seen, values(count));
        }
    }
}
