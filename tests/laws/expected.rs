//! The judge: what the metaverse and the target must be for given directories, worked out naively from nothing, by
//! the rules of `rules.toml` written down a second time. No state, no deltas, no order.

use crate::directory::{Directory, Entry};
use std::collections::{BTreeMap, BTreeSet};

/// Values by attribute.
pub(crate) type Values = BTreeMap<String, BTreeSet<String>>;

/// Metaverse objects by badge or common name, target objects by name; references as keys and names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Picture {
    /// The metaverse.
    pub(crate) metaverse: BTreeMap<String, Values>,
    /// The target, as it will be when everything pending has arrived.
    pub(crate) target: BTreeMap<String, Values>,
}

fn in_scope(entry: &Entry) -> bool {
    entry.object_type == "user" && entry.value("hidden") != Some("yes") && entry.value("badge").is_some()
}

fn person_key(directory: &Directory, anchor: &str) -> Option<String> {
    let entry = directory.get(anchor).filter(|entry| in_scope(entry))?;
    entry.value("badge").map(|badge| format!("person {badge}"))
}

fn any_key(directory: &Directory, anchor: &str) -> Option<String> {
    let entry = directory.get(anchor)?;
    match entry.object_type.as_str() {
        "group" => entry.value("cn").map(|name| format!("group {name}")),
        _ => person_key(directory, anchor),
    }
}

pub(crate) fn put(values: &mut Values, attribute: &str, value: impl Into<String>) {
    values.entry(attribute.to_owned()).or_default().insert(value.into());
}

/// What must come out.
pub(crate) fn expect(a: &Directory, b: &Directory) -> Picture {
    let mut picture = Picture::default();
    let mut people: BTreeMap<String, Vec<(&Directory, &Entry, bool)>> = BTreeMap::new();
    for (directory, is_a) in [(a, true), (b, false)] {
        for entry in directory.values().filter(|entry| in_scope(entry)) {
            people.entry(format!("person {}", entry.value("badge").unwrap())).or_default().push((directory, entry, is_a));
        }
    }
    for (key, contributors) in &people {
        let mut values = Values::new();
        put(&mut values, "kind", "user");
        put(&mut values, "badge", contributors[0].1.value("badge").unwrap());
        for attribute in ["displayName", "mail"] {
            if let Some(value) = contributors.iter().find_map(|(_, entry, _)| entry.value(attribute)) {
                put(&mut values, attribute, value);
            }
        }
        let special = contributors.iter().find(|(_, entry, is_a)| *is_a && entry.value("department") == Some("IT"));
        let title = special.and_then(|(_, entry, _)| entry.value("title")).map(|title| format!("IT {title}"));
        let title = title.or_else(|| contributors.iter().find_map(|(_, entry, _)| entry.value("title")).map(str::to_owned));
        if let Some(title) = title {
            put(&mut values, "title", title);
        }
        if let Some(blocked) = contributors.iter().filter(|(.., is_a)| *is_a).find_map(|(_, entry, _)| entry.value("blocked")) {
            put(&mut values, "blocked", blocked);
        }
        for (_, entry, _) in contributors {
            for tag in entry.values.get("tags").into_iter().flatten() {
                put(&mut values, "tags", tag);
            }
        }
        let winner = contributors.iter().find(|(_, entry, _)| entry.references.get("manager").is_some_and(|targets| !targets.is_empty()));
        if let Some((directory, entry, _)) = winner {
            for anchor in &entry.references["manager"] {
                if let Some(manager) = any_key(directory, anchor) {
                    put(&mut values, "manager", manager);
                }
            }
        }
        picture.metaverse.insert(key.clone(), values);
    }
    for entry in a.values().filter(|entry| entry.object_type == "group") {
        let Some(name) = entry.value("cn") else { continue };
        let mut values = Values::new();
        put(&mut values, "cn", name);
        if let Some(value) = entry.value("displayName") {
            put(&mut values, "displayName", value);
        }
        for anchor in entry.references.get("member").into_iter().flatten() {
            if let Some(member) = any_key(a, anchor) {
                put(&mut values, "member", member);
            }
        }
        picture.metaverse.insert(format!("group {name}"), values);
    }
    picture.target = targets(&picture.metaverse);
    picture
}

fn targets(metaverse: &BTreeMap<String, Values>) -> BTreeMap<String, Values> {
    let name_of = |key: &String| {
        let (kind, rest) = key.split_once(' ').unwrap();
        let values = metaverse.get(key)?;
        let sent = kind == "group" || values.contains_key("mail") && !values.get("blocked").is_some_and(|blocked| blocked.contains("yes"));
        sent.then(|| if kind == "group" { format!("CN=g-{rest}") } else { format!("CN={rest}") })
    };
    let mut targets = BTreeMap::new();
    for (key, source) in metaverse {
        let Some(name) = name_of(key) else { continue };
        let mut values = Values::new();
        for attribute in ["badge", "cn", "displayName", "mail", "title", "tags"] {
            source.get(attribute).into_iter().flatten().for_each(|value| put(&mut values, attribute, value));
        }
        if key.starts_with("person") {
            put(&mut values, "number", "first");
        }
        for attribute in ["manager", "member"] {
            let names = source.get(attribute).into_iter().flatten().filter_map(name_of);
            names.for_each(|name| put(&mut values, attribute, name));
        }
        targets.insert(name, values);
    }
    targets
}
