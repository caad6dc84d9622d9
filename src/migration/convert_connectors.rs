//! From the connectors of an export to connector files.

use super::convert::{ImportOptions, of_kind};
use super::keys::{Keys, slug};
use super::model::{CLOUD_CONNECTOR, EntraConnector, EntraConnectorKind, EntraExport, EntraParameter, EntraPartition, SYNCLINE_PREFIX};
use super::report::{Outcome, Report};
use super::words::{boolean, short};
use crate::config::check_connector_name;
use crate::model::Dn;
use std::collections::{BTreeSet, HashSet};

/// Object types that only give structure; Syncline imports no containers.
pub(super) const STRUCTURE: &[&str] = &["container", "domainDNS", "organizationalUnit", "builtinDomain", "lostAndFound"];

/// The name of the partition that a directory without named ones has.
pub(super) const DEFAULT_PARTITION: &str = "default";

/// Stands for the partition that nobody selected: no directory has it, and no reader takes it for a name.
const NO_PARTITION: &str = "fill-in";

/// Where the address of a directory is not known.
const NO_ADDRESS: &str = "ldaps://fill-in.invalid";

/// Makes up connectors for rules that came without: scripts and lists of rules name connectors by number only.
pub(super) fn make_up(export: &mut EntraExport, report: &mut Report) {
    let mut seen = HashSet::new();
    for rule in &export.rules {
        let id = rule.rule.connector.clone();
        if !seen.insert(id.clone()) {
            continue;
        }
        let cloud = id == CLOUD_CONNECTOR;
        let name = if cloud { "Entra".to_owned() } else { format!("directory-{}", id.chars().take(8).collect::<String>()) };
        let mut connector = EntraConnector::new(rule.place.clone(), id.as_str(), name.as_str());
        if cloud {
            connector.kind = EntraConnectorKind::Cloud;
        } else {
            let note = format!("rules name it and nothing describes it; fill in url and bind_name of the connector \"{}\"", short(&name));
            report.add(Outcome::Failed, &rule.place, format!("connector {{{}}}", short(&id)), note);
        }
        export.connectors.push(connector);
    }
}

/// Sources before targets, older before newer; names that commands can tell apart.
pub(super) fn order_and_name(connectors: &mut [EntraConnector], report: &mut Report) {
    connectors.sort_by(|left, right| {
        let key = |connector: &EntraConnector| {
            (connector.kind == EntraConnectorKind::Cloud, connector.created.clone(), connector.name.clone(), connector.id.clone())
        };
        key(left).cmp(&key(right))
    });
    let mut taken = HashSet::new();
    for connector in connectors {
        let mut name = connector.name.clone();
        if check_connector_name(&name).is_err() || name.starts_with('@') || name.contains(char::is_control) {
            name.replace([':', '/', '@'], "-").replace(char::is_control, "-").trim().clone_into(&mut name);
            if check_connector_name(&name).is_err() {
                format!("connector {name}").trim().clone_into(&mut name);
            }
        }
        let stem = name.clone();
        let mut number = 2;
        while !taken.insert(name.to_lowercase()) {
            name = format!("{stem} {number}");
            number += 1;
        }
        if name != connector.name {
            let subject = format!("connector \"{}\"", short(&connector.name));
            report.add(Outcome::Changed, &connector.place, subject, format!("named \"{}\", which commands can tell apart", short(&name)));
            connector.name = name;
        }
    }
}

/// The DNS names of the forests and domains, which a rehearsal tenant should have verified.
pub(super) fn domains(connectors: &[EntraConnector]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for connector in of_kind(connectors, &EntraConnectorKind::ActiveDirectory) {
        let partitions = connector.partitions.iter().filter(|partition| partition.selected).flat_map(|partition| &partition.parameters);
        let domains = partitions.filter(|parameter| parameter.name == "Domain.FQDN").map(|parameter| parameter.value.trim());
        for domain in connector.forest.iter().map(|forest| forest.value.as_str()).chain(domains) {
            if is_domain(domain) && !found.iter().any(|known| known.eq_ignore_ascii_case(domain)) {
                found.push(domain.to_owned());
            }
        }
    }
    found
}

fn is_domain(text: &str) -> bool {
    text.contains('.')
        && text.len() <= 253
        && text.split('.').all(|label| !label.is_empty() && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-'))
}

/// The file of a connector, and the credential that it needs.
pub(super) fn file(
    index: usize,
    connector: &EntraConnector,
    used: &BTreeSet<String>,
    domains: &[String],
    options: &ImportOptions,
    report: &mut Report,
) -> (String, String, Option<String>) {
    let mut keys = Keys::default();
    let mut credential = None;
    let comment;
    match &connector.kind {
        EntraConnectorKind::ActiveDirectory => {
            keys.set("kind", "ad");
            keys.set("name", connector.name.as_str());
            credential = active_directory(&mut keys, connector, report);
            comment = "Active Directory. The account only needs to read.";
        }
        EntraConnectorKind::Cloud => {
            keys.set("kind", "entra");
            keys.set("name", connector.name.as_str());
            cloud(&mut keys, connector, domains, options, report);
            comment = "Microsoft Entra ID.";
        }
        EntraConnectorKind::Syncline(kind) => {
            keys.set("kind", kind.as_str());
            keys.set("name", connector.name.as_str());
            keys.take_parameters(&connector.parameters, report);
            comment = "A directory.";
        }
    }
    inclusion(connector, used, report);
    let name = format!("connectors/{}-{}.toml", (index + 1) * 10, slug(&connector.name));
    let subject = format!("connector \"{}\"", short(&connector.name));
    report.add(Outcome::Taken, &connector.place, subject, name.as_str());
    (name, keys.to_toml(comment), credential)
}

fn active_directory(keys: &mut Keys, connector: &EntraConnector, report: &mut Report) -> Option<String> {
    let own = |key: &str| connector.parameters.iter().any(|parameter| parameter.name.strip_prefix(SYNCLINE_PREFIX) == Some(key));
    let subject = format!("connector \"{}\"", short(&connector.name));
    if let Some(forest) = connector.forest.as_ref().filter(|forest| is_domain(&forest.value)) {
        keys.set("url", format!("ldaps://{}", forest.value));
        if !own("url") {
            let note =
                format!("url = ldaps://{}: connections are encrypted by TLS; the domain controllers need certificates", forest.value);
            report.add(Outcome::Changed, &forest.place, format!("{subject}, forest"), note);
        }
    } else {
        keys.set("url", NO_ADDRESS);
        if !own("url") {
            report.add(Outcome::Failed, &connector.place, subject.as_str(), "it does not say which forest it reads: fill in the key url");
        }
    }
    let user = connector.login_user.as_ref().map(|user| user.value.as_str()).unwrap_or_default();
    let domain = connector.login_domain.as_ref().map(|domain| domain.value.as_str()).unwrap_or_default();
    let account = match (user, domain) {
        ("", _) => "fill-in".to_owned(),
        (user, "") => user.to_owned(),
        (user, _) if user.contains(['@', '\\', '=']) => user.to_owned(),
        (user, domain) if domain.contains('.') => format!("{user}@{domain}"),
        (user, domain) => format!("{domain}\\{user}"),
    };
    keys.set("bind_name", account.as_str());
    if !own("bind_name") {
        match &connector.login_user {
            Some(user) if !user.value.is_empty() => {
                report.add(Outcome::Taken, &user.place, format!("{subject}, account"), format!("bind_name = {}", short(&account)));
            }
            _ => report.add(Outcome::Failed, &connector.place, subject.as_str(), "it names no account: fill in the key bind_name"),
        }
    }
    let stem: String = slug(&connector.name).chars().map(|character| if character == '.' { '-' } else { character }).take(50).collect();
    let credential = format!("{}-bind", stem.trim_matches('-'));
    keys.set_credential("password", &credential);
    if !own("password") {
        let note = format!("passwords are never exported: give it as credential \"{credential}\" (docs/reference/config.md, Secrets)");
        report.add(Outcome::NotTaken, &connector.place, format!("{subject}, password"), note);
    }
    partitions(keys, connector, &subject, report);
    match connector.page_size.as_ref().map(|size| (size, size.value.parse::<u32>())) {
        Some((size, Ok(number @ 1..=1_000))) => {
            keys.set("page_size", i64::from(number));
            report.add(Outcome::Taken, &size.place, format!("{subject}, page size"), format!("page_size = {number}"));
        }
        Some((size, _)) => {
            report.add(
                Outcome::Changed,
                &size.place,
                format!("{subject}, page size"),
                "Syncline asks for 1,000 entries, the most that servers give",
            );
        }
        None => {}
    }
    selection(keys, connector, &subject, report);
    parameters(keys, connector, &subject, report);
    if let Some(hashes) = connector.password_hashes.as_ref().filter(|hashes| boolean(&hashes.value).unwrap_or(true)) {
        keys.set("password_hash_sync.enabled", true);
        let note = "password_hash_sync.enabled = true: nothing is sent in staging mode";
        report.add(Outcome::Taken, &hashes.place, format!("{subject}, password hash synchronization"), note);
    }
    keys.take_parameters(&connector.parameters, report);
    (!own("password")).then_some(credential)
}

fn partitions(keys: &mut Keys, connector: &EntraConnector, subject: &str, report: &mut Report) {
    let mut names = Vec::new();
    for partition in &connector.partitions {
        let what = format!("{subject}, partition {}", short(&partition.name));
        if !partition.selected {
            report.add(Outcome::NotTaken, &partition.place, what, "it was not selected");
        } else if partition.name == DEFAULT_PARTITION {
            // The directory's own: nothing to name.
        } else if Dn::parse(&partition.name).is_ok() && !partition.name.is_empty() {
            report.add(Outcome::Taken, &partition.place, what, "partitions");
            names.push(partition.name.clone());
        } else {
            // Without it the connector would read another part of the directory: as it stands it reads nothing.
            let note = "this is no distinguished name; nothing runs before it is mended in the key partitions";
            report.add(Outcome::Failed, &partition.place, what, note);
            names.push(partition.name.clone());
        }
    }
    if !connector.partitions.is_empty() && connector.partitions.iter().all(|partition| !partition.selected) {
        let note = "no partition was selected, so that nothing was read: name one in the key partitions, or remove the file";
        report.add(Outcome::Failed, &connector.place, format!("{subject}, partitions"), note);
        names.push(NO_PARTITION.to_owned());
    }
    keys.set_list("partitions", &names);
}

fn selection(keys: &mut Keys, connector: &EntraConnector, subject: &str, report: &mut Report) {
    let selected: Vec<&EntraPartition> = connector.partitions.iter().filter(|partition| partition.selected).collect();
    let (mut types, mut include, mut exclude) = (Vec::<String>::new(), Vec::new(), Vec::new());
    let filtered = selected.iter().any(|partition| !partition.include.is_empty());
    for partition in &selected {
        let what = |name: &str| format!("{subject}, {} {}", name, short(&partition.name));
        let mut structure = Vec::new();
        for name in &partition.object_types {
            if STRUCTURE.contains(&name.as_str()) {
                structure.push(name.as_str());
            } else if !types.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                types.push(name.clone());
            }
        }
        if !structure.is_empty() {
            let note = format!("structure only, not imported: {}", structure.join(", "));
            report.add(Outcome::Changed, &partition.place, what("object types of"), note);
        }
        let first = selected.first().map_or(&[][..], |first| &first.object_types);
        if partition.object_types.iter().any(|name| !first.contains(name)) || partition.object_types.len() != first.len() {
            let note = "partitions selected different object types; here all partitions of a connector share them";
            report.add(Outcome::Changed, &partition.place, what("object types of"), note);
        }
        for (from, into) in [(&partition.include, &mut include), (&partition.exclude, &mut exclude)] {
            for container in from {
                if Dn::parse(container).is_err() {
                    // Without it other people would be selected: as it stands nobody is.
                    let note = format!(
                        "\"{}\" is no distinguished name; nothing runs before it is mended in the table selection",
                        short(container)
                    );
                    report.add(Outcome::Failed, &partition.place, what("container filter of"), note);
                }
                into.push(container.clone());
            }
        }
        if filtered && partition.include.is_empty() && partition.name != DEFAULT_PARTITION && !partition.name.is_empty() {
            include.push(partition.name.clone());
            let note = "included as a whole: other partitions include containers, and what no list names is left out";
            report.add(Outcome::Changed, &partition.place, what("container filter of"), note);
        } else if !partition.include.is_empty() || !partition.exclude.is_empty() {
            let note = format!("{} included, {} excluded", partition.include.len(), partition.exclude.len());
            report.add(Outcome::Taken, &partition.place, what("container filter of"), note);
        }
    }
    // A container on both lists could not be read; who selected it saw it selected.
    exclude.retain(|container| {
        let both = include.iter().any(|other| matches!((Dn::parse(other), Dn::parse(container)), (Ok(l), Ok(r)) if l.same(&r)));
        if both {
            let note = format!("{} is included and excluded; it is included", short(container));
            report.add(Outcome::Changed, &connector.place, format!("{subject}, container filter"), note);
        }
        !both
    });
    if !types.is_empty() {
        report.add(Outcome::Taken, &connector.place, format!("{subject}, object types"), types.join(", "));
    }
    keys.set_list("selection.object_types", &types);
    keys.set_list("selection.include", &include);
    keys.set_list("selection.exclude", &exclude);
}

fn parameters(keys: &mut Keys, connector: &EntraConnector, subject: &str, report: &mut Report) {
    let selected = connector.partitions.iter().filter(|partition| partition.selected);
    let of_domain: Vec<&EntraParameter> = selected.flat_map(|partition| &partition.parameters).collect();
    for (key, name) in [("domain_fqdn", "Domain.FQDN"), ("domain_netbios", "Domain.Netbios")] {
        let mut values: Vec<&EntraParameter> = of_domain.iter().copied().filter(|parameter| parameter.name == name).collect();
        values.dedup_by(|left, right| left.value == right.value);
        match values.as_slice() {
            [] => {}
            [parameter] => {
                keys.set(&format!("parameters.{key}"), parameter.value.trim());
                report.add(Outcome::Taken, &parameter.place, format!("{subject}, parameter {name}"), format!("parameters.{key}"));
            }
            [parameter, ..] => {
                let note = "several domains: the name follows from each object's own name";
                report.add(Outcome::Changed, &parameter.place, format!("{subject}, parameter {name}"), note);
            }
        }
    }
    for (key, name) in [("forest_fqdn", "Forest.FQDN"), ("forest_netbios", "Forest.Netbios")] {
        if let Some(parameter) = connector.parameters.iter().find(|parameter| parameter.name == name) {
            keys.set(&format!("parameters.{key}"), parameter.value.trim());
            report.add(Outcome::Taken, &parameter.place, format!("{subject}, parameter {name}"), format!("parameters.{key}"));
        }
    }
    let known = ["Domain.FQDN", "Domain.Netbios", "Forest.FQDN", "Forest.Netbios"];
    for parameter in connector.parameters.iter().chain(connector.partitions.iter().flat_map(|partition| &partition.parameters)) {
        let name = parameter.name.as_str();
        let what = format!("{subject}, parameter {}", short(name));
        if known.contains(&name) || name.starts_with(SYNCLINE_PREFIX) {
            continue;
        }
        if ["Domain.LDAP", "Forest.LDAP"].contains(&name) || name.starts_with("ADS_") {
            report.counted(Outcome::Taken, &parameter.place, format!("parameter {}", short(name)), "known to rules without being told");
        } else if parameter.value.trim().is_empty() {
            // A parameter without a value has nothing to take.
        } else if name == "Connector.GroupFilteringGroupDn" {
            let note = format!(
                "only members of {} were synchronized; write rules with ISMEMBEROF before you leave staging mode (docs/rules.md)",
                short(&parameter.value)
            );
            report.add(Outcome::Failed, &parameter.place, what, note);
        } else {
            report.add(Outcome::NotTaken, &parameter.place, what, "connectors have no parameters of their own here; rules cannot name it");
        }
    }
}

fn cloud(keys: &mut Keys, connector: &EntraConnector, domains: &[String], options: &ImportOptions, report: &mut Report) {
    let subject = format!("connector \"{}\"", short(&connector.name));
    let own = connector.parameters.iter().any(|parameter| parameter.name == "Syncline.tenant");
    let user = connector.login_user.as_ref().map(|user| user.value.trim()).unwrap_or_default();
    let of_user = user.rsplit_once('@').map(|(_, domain)| domain);
    let of_name = connector.name.split(' ').next();
    let domain = [of_user, of_name].into_iter().flatten().find(|domain| is_domain(domain));
    let place = connector.login_user.as_ref().map_or(&connector.place, |user| &user.place);
    match options.tenant.as_deref() {
        Some("embedded") => {
            keys.set("tenant", "embedded");
            if let Some(domain) = domain.filter(|domain| domain.to_ascii_lowercase().ends_with(".onmicrosoft.com")) {
                keys.set("embedded.initial_domain", domain.to_ascii_lowercase());
            }
            let domains: Vec<String> = domains.iter().map(|domain| domain.to_ascii_lowercase()).collect();
            keys.set_list("embedded.verified_domains", &domains);
            report.add(Outcome::Changed, place, format!("{subject}, tenant"), "the embedded tenant, as asked for");
        }
        Some(tenant) => {
            keys.set("tenant", tenant);
            keys.set("sign_in", "device-code");
            report.add(Outcome::Changed, place, format!("{subject}, tenant"), format!("{}, as asked for", short(tenant)));
        }
        None if own => keys.take_parameters(&connector.parameters, report),
        None => {
            keys.set("tenant", domain.unwrap_or("fill-in.invalid"));
            keys.set("sign_in", "device-code");
            match domain {
                Some(domain) => report.add(Outcome::Taken, place, format!("{subject}, tenant"), format!("tenant = {domain}")),
                None => report.add(
                    Outcome::Failed,
                    place,
                    format!("{subject}, tenant"),
                    "nothing says which tenant it is: fill in the key tenant",
                ),
            }
        }
    }
    if !user.is_empty() && !own {
        let note = "the server's own account is not used: sign in by device code once, or register an application (docs/guide/entra.md)";
        report.add(Outcome::NotTaken, place, format!("{subject}, account"), note);
    }
    for partition in connector.partitions.iter().filter(|partition| !partition.object_types.is_empty()) {
        let note = "object types of the cloud follow from the rules";
        report.add(Outcome::Changed, &partition.place, format!("{subject}, object types"), note);
    }
    for parameter in connector.parameters.iter().filter(|parameter| !parameter.name.starts_with(SYNCLINE_PREFIX)) {
        let what = format!("{subject}, parameter {}", short(&parameter.name));
        report.add(Outcome::NotTaken, &parameter.place, what, "connectors have no parameters of their own here; rules cannot name it");
    }
}

/// Compares the attributes that were selected with those that the rules use: Syncline derives the list from the rules.
fn inclusion(connector: &EntraConnector, used: &BTreeSet<String>, report: &mut Report) {
    let Some(place) = &connector.inclusion_place else { return };
    let subject = format!("connector \"{}\", selected attributes", short(&connector.name));
    let included: BTreeSet<String> = connector.included_attributes.iter().map(|name| name.to_ascii_lowercase()).collect();
    let folded: BTreeSet<String> = used.iter().map(|name| name.to_ascii_lowercase()).collect();
    let missing: Vec<&str> = used.iter().filter(|name| !included.contains(&name.to_ascii_lowercase())).map(String::as_str).collect();
    let idle: Vec<&str> =
        connector.included_attributes.iter().filter(|name| !folded.contains(&name.to_ascii_lowercase())).map(String::as_str).collect();
    let note = format!(
        "{} of {} are used by rules; what is read follows from the rules",
        included.len() - idle.len().min(included.len()),
        included.len()
    );
    report.add(Outcome::Taken, place, subject.as_str(), note);
    if !missing.is_empty() {
        let note = format!("rules use what was not selected, and now it counts: {}", list(&missing));
        report.add(Outcome::Changed, place, subject.as_str(), note);
    }
    if !idle.is_empty() {
        report.add(Outcome::NotTaken, place, subject.as_str(), format!("selected, and no enabled rule uses them: {}", list(&idle)));
    }
}

/// At most 40 names.
fn list(names: &[&str]) -> String {
    let shown: Vec<String> = names.iter().take(40).map(|name| short(name)).collect();
    let more = names.len() - shown.len();
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}
