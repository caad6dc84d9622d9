//! Reads a connector from its XML (`Connectors/Connector_{…}.xml`).

use super::model::{EntraConnector, EntraConnectorKind, EntraParameter, EntraPartition, plain_guid};
use super::read_schema;
use super::report::Outcome;
use super::words::short;
use super::xml::{BOOKKEEPING, Fate, Walk, text_of};
use roxmltree::Node;

const NOT_HERE: Fate = Fate::Because("from before rules were declarative; rules say it");
const TLS: Fate = Fate::Because("Syncline encrypts by TLS instead (keys url, start_tls, ca_file)");
const OWN_CONNECTOR: Fate = Fate::Because("how the server loads its connector; Syncline has its own");

const CONNECTOR: &[(&str, Fate)] = &[
    ("format-version", BOOKKEEPING),
    ("id", Fate::Read),
    ("name", Fate::Read),
    ("category", Fate::Read),
    ("description", Fate::Because("connectors have no description here; write a comment into the file")),
    ("subtype", Fate::Read),
    ("ma-listname", BOOKKEEPING),
    ("ma-companyname", BOOKKEEPING),
    ("creation-time", Fate::Read),
    ("last-modification-time", BOOKKEEPING),
    ("version", BOOKKEEPING),
    ("internal-version", BOOKKEEPING),
    ("password-sync-allowed", Fate::Because("passwords are not set in this directory")),
    ("schema", Fate::Read),
    ("private-configuration", Fate::Read),
    ("attribute-inclusion", Fate::Read),
    ("join", NOT_HERE),
    ("projection", NOT_HERE),
    ("export-attribute-flow", NOT_HERE),
    ("component_mappings", NOT_HERE),
    ("ma-partition-data", Fate::Read),
    ("ma-run-data", Fate::Read),
    ("password-sync", Fate::Because("passwords are not set in this directory")),
    ("encrypted-attributes", Fate::Because("secrets are never taken from an export")),
];
const AD: &[(&str, Fate)] = &[
    ("forest-name", Fate::Read),
    ("forest-guid", BOOKKEEPING),
    ("forest-port", Fate::Because("the port is part of the key url")),
    ("forest-login-domain", Fate::Read),
    ("forest-login-user", Fate::Read),
    ("sign-and-seal", TLS),
    ("default-ssl-strength", TLS),
    ("ssl-bind", TLS),
    ("simple-bind", TLS),
    ("password-hash-sync-config", Fate::Read),
    ("parameter-values", Fate::Read),
];
const EXTENSIBLE: &[(&str, Fate)] = &[
    ("primary_class_mappings", OWN_CONNECTOR),
    ("change_type_attribute", OWN_CONNECTOR),
    ("add_change_type_value", OWN_CONNECTOR),
    ("modify_change_type_value", OWN_CONNECTOR),
    ("delete_change_type_value", OWN_CONNECTOR),
    ("ldap-dn", OWN_CONNECTOR),
    ("case_normalize_dn_for_anchor", OWN_CONNECTOR),
    ("extension-config", OWN_CONNECTOR),
    ("file-type", OWN_CONNECTOR),
    ("importing", OWN_CONNECTOR),
    ("parameter-definitions", OWN_CONNECTOR),
    ("possible_component_mappings", OWN_CONNECTOR),
    ("aad-password-reset-config", Fate::Because("passwords are not written back")),
    ("parameter-values", Fate::Read),
];
const PARTITION: &[(&str, Fate)] = &[
    ("id", BOOKKEEPING),
    ("name", Fate::Read),
    ("creation-time", BOOKKEEPING),
    ("last-modification-time", BOOKKEEPING),
    ("version", BOOKKEEPING),
    ("selected", Fate::Read),
    ("display-name", BOOKKEEPING),
    ("filter", Fate::Read),
    ("custom-data", Fate::Because("where the server's last import ended; Syncline begins with a full import")),
    ("parameter-values", Fate::Read),
];

/// Parameters that say the same as an element beside them, or how the server connects.
const CONNECTIVITY: &[(&str, &str)] = &[
    ("forest-port", "the port is part of the key url"),
    ("forest-guid", "bookkeeping of the server that exported it"),
    ("default-ssl-strength", "Syncline encrypts by TLS instead (keys url, start_tls, ca_file)"),
    ("sign-and-seal", "Syncline encrypts by TLS instead (keys url, start_tls, ca_file)"),
    ("crl-check", "Syncline encrypts by TLS instead (keys url, start_tls, ca_file)"),
    ("ssl-bind", "Syncline encrypts by TLS instead (keys url, start_tls, ca_file)"),
    ("simple-bind", "Syncline encrypts by TLS instead (keys url, start_tls, ca_file)"),
    ("guid", "bookkeeping of the server that exported it"),
    ("cookie", "where the server's last import ended; Syncline begins with a full import"),
    ("last-dc", "name a domain controller in the key url if one must be preferred"),
    ("dc-failover", "name a domain controller in the key url if one must be preferred"),
];

/// Reads one connector (`<ma-data>`). The report says what is missing or not for Syncline.
pub(super) fn read(walk: &mut Walk<'_>, node: Node<'_, '_>) -> Option<EntraConnector> {
    let place = walk.place(node);
    walk.attributes(node, &[]);
    let parts = walk.children(node, CONNECTOR);
    let mut value = |name: &str| walk.text(&parts, name).map(|(text, _)| text).unwrap_or_default();
    let (name, id) = (value("name"), plain_guid(&value("id")));
    let (category, subtype, created) = (value("category"), value("subtype"), value("creation-time"));
    let subject = format!("connector \"{}\"", short(&name));
    if name.trim().is_empty() || id.is_empty() {
        walk.report.add(Outcome::Failed, &place, subject, "a connector needs <name> and <id>; it is left out, and so are its rules");
        return None;
    }
    let kind = match (category.as_str(), subtype.as_str()) {
        ("AD", _) => EntraConnectorKind::ActiveDirectory,
        ("Extensible2", subtype) if subtype.contains("Azure Active Directory") || subtype.contains("Entra") => EntraConnectorKind::Cloud,
        ("Syncline", kind) => EntraConnectorKind::Syncline(kind.to_owned()),
        _ => {
            let note = format!(
                "a connector of category \"{}\" {}: Syncline imports those for Active Directory and Entra ID; it is left out, and so are its rules",
                short(&category),
                if subtype.is_empty() { String::new() } else { format!("({})", short(&subtype)) }
            );
            walk.report.add(Outcome::Failed, &place, subject, note);
            return None;
        }
    };
    let mut connector = EntraConnector { kind, created, ..EntraConnector::new(place, id, name) };
    if let Some(schema) = walk.one(&parts, "schema") {
        connector.schema = read_schema::names(walk, schema, &subject);
    }
    if let Some(private) = walk.one(&parts, "private-configuration") {
        private_configuration(walk, private, &subject, &mut connector);
    }
    if let Some(inclusion) = walk.one(&parts, "attribute-inclusion") {
        connector.inclusion_place = Some(walk.place(inclusion));
        connector.included_attributes =
            walk.children(inclusion, &[("attribute", Fate::Read)]).into_iter().map(|node| text_of(node).trim().to_owned()).collect();
    }
    if let Some(data) = walk.one(&parts, "ma-partition-data") {
        for node in walk.children(data, &[("partition", Fate::Read)]) {
            let partition = partition(walk, node, &subject);
            connector.partitions.push(partition);
        }
    }
    if let Some(data) = walk.one(&parts, "ma-run-data") {
        run_profiles(walk, data, &subject, &mut connector);
    }
    Some(connector)
}

fn parameter(walk: &mut Walk<'_>, parts: &[Node<'_, '_>], name: &str) -> Option<EntraParameter> {
    let (value, place) = walk.text(parts, name)?;
    Some(EntraParameter { place, name: name.to_owned(), value: value.trim().to_owned() })
}

fn private_configuration(walk: &mut Walk<'_>, node: Node<'_, '_>, subject: &str, connector: &mut EntraConnector) {
    for inner in walk.children(node, &[("adma-configuration", Fate::Read), ("MAConfig", Fate::Read)]) {
        let known = if inner.tag_name().name() == "MAConfig" { EXTENSIBLE } else { AD };
        let parts = walk.children(inner, known);
        connector.forest = parameter(walk, &parts, "forest-name");
        connector.login_domain = parameter(walk, &parts, "forest-login-domain");
        connector.login_user = parameter(walk, &parts, "forest-login-user");
        if let Some(hashes) = walk.one(&parts, "password-hash-sync-config") {
            let parts = walk.children(hashes, &[("enabled", Fate::Read), ("target", BOOKKEEPING)]);
            connector.password_hashes = parameter(walk, &parts, "enabled");
        }
        if let Some(values) = walk.one(&parts, "parameter-values") {
            for found in parameters(walk, values, subject) {
                match found.name.as_str() {
                    "forest-name" => _ = connector.forest.get_or_insert(found),
                    "forest-login-domain" => _ = connector.login_domain.get_or_insert(found),
                    "forest-login-user" | "UserName" => _ = connector.login_user.get_or_insert(found),
                    _ => connector.parameters.push(found),
                }
            }
        }
    }
}

/// The parameters of a list. What is encrypted is not even looked at.
pub(super) fn parameters(walk: &mut Walk<'_>, node: Node<'_, '_>, subject: &str) -> Vec<EntraParameter> {
    let mut found = Vec::new();
    for parameter in walk.children(node, &[("parameter", Fate::Read)]) {
        walk.attributes(parameter, &["name", "type", "use", "dataType", "encrypted", "intrinsic"]);
        let place = walk.place(parameter);
        let name = parameter.attribute("name").unwrap_or_default().to_owned();
        let secret = parameter.attribute("encrypted").is_some_and(|encrypted| encrypted != "0")
            || parameter.attribute("type").is_some_and(|kind| kind.contains("encrypted"));
        if secret {
            let subject = format!("{subject}, parameter {}", short(&name));
            walk.report.counted(Outcome::NotTaken, &place, subject, "secrets are never part of an export: give them as credentials");
            continue;
        }
        if let Some((_, reason)) = CONNECTIVITY.iter().find(|(known, _)| *known == name) {
            walk.report.counted(Outcome::NotTaken, &place, format!("parameter {name}"), *reason);
            continue;
        }
        found.push(EntraParameter { place, name, value: text_of(parameter) });
    }
    found
}

fn partition(walk: &mut Walk<'_>, node: Node<'_, '_>, subject: &str) -> EntraPartition {
    let place = walk.place(node);
    let parts = walk.children(node, PARTITION);
    let name = walk.text(&parts, "name").map(|(name, _)| name.trim().to_owned()).unwrap_or_default();
    let selected = walk.text(&parts, "selected").is_none_or(|(selected, _)| selected.trim() != "0");
    let mut partition = EntraPartition {
        place,
        name,
        selected,
        object_types: Vec::new(),
        include: Vec::new(),
        exclude: Vec::new(),
        parameters: Vec::new(),
    };
    if let Some(filter) = walk.one(&parts, "filter") {
        let parts = walk.children(filter, &[("object-classes", Fate::Read), ("containers", Fate::Read)]);
        partition.object_types = list(walk, &parts, "object-classes", "object-class");
        if let Some(containers) = walk.one(&parts, "containers") {
            let parts = walk.children(containers, &[("exclusions", Fate::Read), ("inclusions", Fate::Read)]);
            partition.exclude = list(walk, &parts, "exclusions", "exclusion");
            partition.include = list(walk, &parts, "inclusions", "inclusion");
        }
    }
    if let Some(values) = walk.one(&parts, "parameter-values") {
        partition.parameters = parameters(walk, values, subject);
    }
    partition
}

/// The texts of the elements of a list; empty ones say nothing.
fn list(walk: &mut Walk<'_>, parts: &[Node<'_, '_>], name: &str, element: &str) -> Vec<String> {
    let Some(node) = walk.one(parts, name) else { return Vec::new() };
    let items = walk.children(node, &[(element, Fate::Read)]);
    items.into_iter().map(|item| text_of(item).trim().to_owned()).filter(|text| !text.is_empty()).collect()
}

/// Run profiles are built in here; what they say of pages is taken from the full import.
fn run_profiles(walk: &mut Walk<'_>, node: Node<'_, '_>, subject: &str, connector: &mut EntraConnector) {
    for configuration in walk.children(node, &[("run-configuration", Fate::Read)]) {
        let known =
            [("id", BOOKKEEPING), ("name", Fate::Read), ("version", BOOKKEEPING), ("configuration", Fate::Read), ("last-run", BOOKKEEPING)];
        let parts = walk.children(configuration, &known);
        let place = walk.place(configuration);
        let name = walk.text(&parts, "name").map(|(name, _)| name).unwrap_or_default();
        let mut steps = Vec::new();
        if let Some(inner) = walk.one(&parts, "configuration") {
            for step in walk.children(inner, &[("step", Fate::Read)]) {
                let kind = step.descendants().find(|node| node.tag_name().name() == "step-type").and_then(|node| node.attribute("type"));
                let kind = kind.unwrap_or("?");
                steps.push(short(kind));
                let size = step.descendants().find(|node| node.tag_name().name() == "page-size");
                if let Some(size) = size.filter(|_| kind == "full-import") {
                    let (place, value) = (walk.place(size), text_of(size).trim().to_owned());
                    connector.page_size = Some(EntraParameter { place, name: "page-size".to_owned(), value });
                }
                let batch = step.descendants().filter(|node| node.tag_name().name() == "batch-size").map(text_of);
                if batch.into_iter().any(|size| size.trim() != "0") {
                    let at = walk.place(step);
                    let note = "Syncline's own sizes of batches were measured and are kept";
                    walk.report.counted(Outcome::NotTaken, &at, "batch-size of run profiles", note);
                }
            }
        }
        let builtin = ["full-import", "delta-import", "apply-rules", "export"];
        let subject = format!("{subject}, run profile \"{}\"", short(&name));
        match steps.as_slice() {
            [step] if builtin.contains(&step.as_str()) => {
                walk.report.add(Outcome::Taken, &place, subject, "built in: `syncline run start`");
            }
            _ => {
                let note =
                    format!("profiles of several steps ({}) are not kept; `syncline cycle start` runs all of them", steps.join(", "));
                walk.report.add(Outcome::NotTaken, &place, subject, note);
            }
        }
    }
}
