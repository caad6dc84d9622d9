//! From a Syncline configuration to what Entra Connect would export, as far as that has words for it.
//!
//! Keys without a counterpart stand as parameters named `Syncline.…`, so that an import loses none of them.

use super::convert::MATCHING;
use super::convert_connectors::{DEFAULT_PARTITION, STRUCTURE};
use super::convert_rules::used_attributes;
use super::keys::Keys;
use super::model::{
    EntraAttribute, EntraConnector, EntraConnectorKind, EntraExport, EntraMetaverse, EntraParameter, EntraPartition, EntraRule, Place,
    SYNCLINE_PREFIX,
};
use super::words::attributes_of;
use crate::config::{
    AdDeltaTable, AdFile, AdPasswordTable, AlertsTable, CONFIG_VERSION, Config, ConnectorConfig, ConnectorSettings, CredentialReference,
    EmbeddedTenant, EntraFile, FirstExport, GuardTable, LdapFile, LdifFile, LdifPasswordTable, LdifShape, LimitsTable, ParametersTable,
    RulesTable, SchedulerTable, SelectionTable, ServiceTable, SignIn,
};
use crate::model::{ConnectorId, Dn, ValueKind};
use crate::rules::{Direction, KnownSchema, PlainRule, PlainSource, RuleSet, known_attributes};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use sha1::{Digest as _, Sha1};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The name space of the numbers that are made here (RFC 9562, version 5).
const NAME_SPACE: uuid::Uuid = uuid::uuid!("0e5f1c5a-6a3b-5d0f-9c57-53796e636c69");

/// Describes a configuration and its compiled rules. `connectors` has the number of every connector in the rules.
pub fn from_config(config: &Config, rules: &RuleSet, connectors: &BTreeMap<ConnectorId, String>) -> EntraExport {
    let place = Place::of_file("");
    let cloud: BTreeMap<String, String> =
        known_attributes(KnownSchema::Cloud).into_iter().map(|known| (known.name.to_ascii_lowercase(), known.name)).collect();
    let mut plain: Vec<EntraRule> = Vec::new();
    for rule in rules.rules().iter().chain(rules.disabled_rules()) {
        let Some(name) = connectors.get(&rule.connector) else { continue };
        let settings = config.connector(name).map(|connector| &connector.settings);
        let mut one = rules.plain(rule, name);
        if matches!(settings, Some(ConnectorSettings::Entra(_))) {
            spell(&mut one, &cloud);
        }
        let direction = one.direction.as_str();
        let id = number(&format!("rule/{name}/{direction}/{}", one.tag.as_deref().unwrap_or(&one.name)));
        one.connector = number(&format!("connector/{name}"));
        plain.push(EntraRule { place: place.clone(), id, rule: one, flow_places: Vec::new() });
    }
    let described = config
        .connectors
        .iter()
        .map(|connector| {
            let id = number(&format!("connector/{}", connector.name));
            describe(config, connector, used_attributes(plain.iter().map(|rule| &rule.rule), &id))
        })
        .collect();
    let metaverse = metaverse(config, plain.iter().map(|rule| &rule.rule));
    EntraExport { connectors: described, metaverse, rules: plain }
}

/// A number that follows from a name.
fn number(name: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(NAME_SPACE.as_bytes());
    hash.update(name.as_bytes());
    let mut octets = [0; 16];
    octets.copy_from_slice(&hash.finalize()[..16]);
    uuid::Builder::from_sha1_bytes(octets).into_uuid().to_string()
}

/// Names of the cloud's attributes as the cloud spells them: one table of names serves all sides, with one spelling.
fn spell(rule: &mut PlainRule, cloud: &BTreeMap<String, String>) {
    let put = |name: &mut String| {
        if let Some(right) = cloud.get(&name.to_ascii_lowercase()) {
            name.clone_from(right);
        }
    };
    rule.join.iter_mut().flatten().for_each(|pair| put(&mut pair.cs));
    if rule.direction == Direction::Outbound {
        rule.flows.iter_mut().for_each(|flow| put(&mut flow.target));
        return;
    }
    rule.scope.iter_mut().flatten().for_each(|clause| put(&mut clause.attribute));
    for flow in &mut rule.flows {
        if let PlainSource::Direct(name) = &mut flow.source {
            put(name);
        }
    }
}

/// A list of keys, and what it is made of.
struct Described {
    keys: Keys,
}

impl Described {
    fn text(&mut self, key: &str, value: Option<&str>) {
        self.keys.set_some(key, value.map(str::to_owned));
    }

    fn flag(&mut self, key: &str, value: bool) {
        if value {
            self.keys.set(key, true);
        }
    }

    fn path(&mut self, config: &Config, key: &str, value: Option<&Path>) {
        let value = value.map(|path| path.strip_prefix(&config.folder).unwrap_or(path).display().to_string());
        self.keys.set_some(key, value);
    }

    fn number(&mut self, key: &str, value: u64, default: u64) {
        if value != default {
            self.keys.set(key, i64::try_from(value).unwrap_or(i64::MAX));
        }
    }

    fn credential(&mut self, key: &str, value: Option<&CredentialReference>) {
        if let Some(reference) = value {
            self.keys.set_credential(key, &reference.credential);
        }
    }

    fn selection(&mut self, selection: &SelectionTable) {
        self.keys.set_list("selection.object_types", &selection.object_types);
        self.keys.set_list("selection.include", &selection.include);
        self.keys.set_list("selection.exclude", &selection.exclude);
        self.keys.set_list("selection.groups", &selection.groups);
    }

    /// The keys of a table that differ from what they are without being written.
    fn table<T: Serialize>(&mut self, name: &str, table: &T, default: &T) {
        let (Ok(toml::Value::Table(table)), Ok(toml::Value::Table(default))) =
            (toml::Value::try_from(table), toml::Value::try_from(default))
        else {
            return;
        };
        for (key, value) in table.into_iter().filter(|(key, value)| default.get(key) != Some(value)) {
            self.keys.set(&format!("{name}.{key}"), value);
        }
    }

    fn parameters(&mut self, parameters: &ParametersTable) {
        let ParametersTable { domain_fqdn, domain_netbios, forest_fqdn, forest_netbios } = parameters;
        self.text("parameters.domain_fqdn", domain_fqdn.as_deref());
        self.text("parameters.domain_netbios", domain_netbios.as_deref());
        self.text("parameters.forest_fqdn", forest_fqdn.as_deref());
        self.text("parameters.forest_netbios", forest_netbios.as_deref());
    }

    /// As parameters of an export.
    fn into_parameters(self) -> Vec<EntraParameter> {
        let parameter = |(key, value): (&str, &str)| named(&format!("{SYNCLINE_PREFIX}{key}"), value);
        self.keys.iter().map(parameter).collect()
    }
}

fn named(name: &str, value: &str) -> EntraParameter {
    EntraParameter { place: Place::of_file(""), name: name.to_owned(), value: value.to_owned() }
}

fn describe(config: &Config, connector: &ConnectorConfig, read: BTreeSet<String>) -> EntraConnector {
    let mut described = Described { keys: Keys::default() };
    let id = number(&format!("connector/{}", connector.name));
    let mut export = EntraConnector::new(Place::of_file(""), id.as_str(), connector.name.as_str());
    export.included_attributes = read.into_iter().collect();
    export.included_attributes.sort_by_cached_key(|name| name.to_ascii_lowercase());
    match &connector.settings {
        ConnectorSettings::Ad(file) => {
            active_directory(config, connector, file, &mut described, &mut export);
        }
        ConnectorSettings::Entra(file) => {
            export.kind = EntraConnectorKind::Cloud;
            export.included_attributes.clear();
            entra(config, file, &mut described);
        }
        ConnectorSettings::Ldif(file) => {
            export.kind = EntraConnectorKind::Syncline("ldif".to_owned());
            ldif(config, file, &mut described);
        }
        ConnectorSettings::Ldap(file) => {
            export.kind = EntraConnectorKind::Syncline("ldap".to_owned());
            ldap(config, file, &mut described);
        }
    }
    export.parameters.extend(described.into_parameters());
    export
}

fn active_directory(config: &Config, connector: &ConnectorConfig, file: &AdFile, keys: &mut Described, export: &mut EntraConnector) {
    let AdFile {
        kind: _,
        name: _,
        url,
        start_tls,
        allow_plain,
        ca_file,
        bind_name,
        password,
        partitions,
        page_size,
        value_range,
        connect_timeout_seconds,
        answer_timeout_seconds,
        selection,
        delta,
        parameters,
        password_hash_sync,
    } = file;
    keys.text("url", Some(url));
    keys.flag("start_tls", *start_tls);
    keys.flag("allow_plain", *allow_plain);
    keys.path(config, "ca_file", ca_file.as_deref());
    keys.text("bind_name", Some(bind_name));
    keys.credential("password", Some(password));
    if let Some(range) = value_range {
        keys.keys.set("value_range", i64::from(*range));
    }
    keys.number("connect_timeout_seconds", *connect_timeout_seconds, 10);
    keys.number("answer_timeout_seconds", *answer_timeout_seconds, 120);
    if (1..=1_000).contains(page_size) {
        export.page_size = Some(named("page-size", &page_size.to_string()));
    } else {
        keys.number("page_size", u64::from(*page_size), 1_000);
    }
    keys.keys.set_list("selection.groups", &selection.groups);
    keys.table("delta", delta, &AdDeltaTable::default());
    keys.table("password_hash_sync", password_hash_sync, &AdPasswordTable::default());
    let host = url.split("://").nth(1).unwrap_or_default().split([':', '/']).next().unwrap_or_default();
    export.forest = Some(named("forest-name", parameters.forest_fqdn.as_deref().unwrap_or(host)));
    let (user, domain) = match (bind_name.split_once('@'), bind_name.split_once('\\')) {
        (Some((user, domain)), _) | (None, Some((domain, user))) => (user, domain),
        _ => (bind_name.as_str(), ""),
    };
    export.login_user = Some(named("forest-login-user", user));
    export.login_domain = Some(named("forest-login-domain", domain));
    let ParametersTable { domain_fqdn, domain_netbios, forest_fqdn, forest_netbios } = parameters;
    let pairs = |pairs: [(&str, &Option<String>); 2]| -> Vec<EntraParameter> {
        pairs.iter().filter_map(|(name, value)| Some(named(name, value.as_deref()?))).collect()
    };
    export.parameters = pairs([("Forest.FQDN", forest_fqdn), ("Forest.Netbios", forest_netbios)]);
    let of_domain = pairs([("Domain.FQDN", domain_fqdn), ("Domain.Netbios", domain_netbios)]);
    let mut types = connector.object_types();
    types.extend(STRUCTURE.iter().take(3).map(|name| (*name).to_owned()));
    let names = if partitions.is_empty() { vec![DEFAULT_PARTITION.to_owned()] } else { partitions.clone() };
    let keys_of: Vec<_> = names.iter().map(|name| Dn::parse(name).ok().map(|dn| dn.key())).collect();
    export.partitions = names
        .into_iter()
        .enumerate()
        .map(|(index, name)| EntraPartition {
            place: Place::of_file(""),
            name,
            selected: true,
            object_types: types.clone(),
            include: Vec::new(),
            exclude: Vec::new(),
            parameters: if index == 0 { of_domain.clone() } else { Vec::new() },
        })
        .collect();
    for (wanted, containers) in [(true, &selection.include), (false, &selection.exclude)] {
        for container in containers {
            let key = Dn::parse(container).ok().map(|dn| dn.key());
            let within = |partition: &Option<crate::model::DnKey>| matches!((&key, partition), (Some(key), Some(partition)) if key.is_within(partition));
            // A container of no partition is a mistake that the connector refuses; it must not get lost here.
            let index = keys_of.iter().position(within).unwrap_or(0);
            if let Some(partition) = export.partitions.get_mut(index) {
                if wanted { &mut partition.include } else { &mut partition.exclude }.push(container.clone());
            }
        }
    }
}

fn entra(config: &Config, file: &EntraFile, keys: &mut Described) {
    let EntraFile {
        kind: _,
        name: _,
        tenant,
        sign_in,
        client_id,
        client_secret,
        certificate,
        private_key,
        login_url,
        provisioning_url,
        graph_url,
        ca_file,
        batch_objects,
        calls_in_flight,
        embedded,
    } = file;
    keys.text("tenant", Some(tenant));
    match sign_in {
        SignIn::ClientSecret => {}
        SignIn::Certificate => keys.text("sign_in", Some("certificate")),
        SignIn::DeviceCode => keys.text("sign_in", Some("device-code")),
    }
    keys.text("client_id", client_id.as_deref());
    keys.credential("client_secret", client_secret.as_ref());
    keys.path(config, "certificate", certificate.as_deref());
    keys.credential("private_key", private_key.as_ref());
    keys.text("login_url", login_url.as_deref());
    keys.text("provisioning_url", provisioning_url.as_deref());
    keys.text("graph_url", graph_url.as_deref());
    keys.path(config, "ca_file", ca_file.as_deref());
    for (key, number) in [("batch_objects", batch_objects), ("calls_in_flight", calls_in_flight)] {
        keys.keys.set_some(key, number.map(|number| i64::try_from(number).unwrap_or(i64::MAX)));
    }
    if tenant == "embedded" {
        let default = EmbeddedTenant::default();
        let EmbeddedTenant { folder, organization, initial_domain, verified_domains } = embedded;
        if folder.strip_prefix(&config.folder).unwrap_or(folder) != default.folder {
            keys.path(config, "embedded.folder", Some(folder));
        }
        keys.text("embedded.organization", Some(organization).filter(|name| **name != default.organization).map(String::as_str));
        keys.text("embedded.initial_domain", Some(initial_domain).filter(|name| **name != default.initial_domain).map(String::as_str));
        keys.keys.set_list("embedded.verified_domains", verified_domains);
    }
}

fn ldif(config: &Config, file: &LdifFile, keys: &mut Described) {
    let LdifFile { kind: _, name: _, path, changes, export, anchor, shape, selection, parameters, password_hash_sync } = file;
    keys.path(config, "path", Some(path));
    keys.path(config, "changes", changes.as_deref());
    keys.path(config, "export", export.as_deref());
    keys.text("anchor", anchor.as_deref());
    keys.text(
        "shape",
        shape.map(|shape| match shape {
            LdifShape::Ad => "ad",
            LdifShape::Ldap => "ldap",
        }),
    );
    keys.selection(selection);
    keys.parameters(parameters);
    keys.table("password_hash_sync", password_hash_sync, &LdifPasswordTable::default());
}

fn ldap(config: &Config, file: &LdapFile, keys: &mut Described) {
    let LdapFile {
        kind: _,
        name: _,
        url,
        start_tls,
        allow_plain,
        ca_file,
        bind_name,
        password,
        base,
        anchor,
        page_size,
        connect_timeout_seconds,
        answer_timeout_seconds,
        selection,
        parameters,
    } = file;
    keys.text("url", Some(url));
    keys.flag("start_tls", *start_tls);
    keys.flag("allow_plain", *allow_plain);
    keys.path(config, "ca_file", ca_file.as_deref());
    keys.text("bind_name", Some(bind_name));
    keys.credential("password", Some(password));
    keys.text("base", Some(base));
    keys.text("anchor", Some(anchor));
    keys.number("page_size", u64::from(*page_size), 1_000);
    keys.number("connect_timeout_seconds", *connect_timeout_seconds, 10);
    keys.number("answer_timeout_seconds", *answer_timeout_seconds, 120);
    keys.selection(selection);
    keys.parameters(parameters);
}

/// The metaverse: attributes of the program and of the configuration, types with what rules use of them, and settings.
fn metaverse<'p>(config: &Config, rules: impl Iterator<Item = &'p PlainRule>) -> EntraMetaverse {
    let place = Place::of_file("");
    let mut attributes: Vec<EntraAttribute> = known_attributes(KnownSchema::Metaverse)
        .into_iter()
        .map(|known| EntraAttribute {
            place: place.clone(),
            name: known.name,
            kind: known.kind,
            multi: known.multi,
            indexed: known.indexed,
        })
        .collect();
    for file in &config.rule_files {
        let added: AddedFile = toml::from_str(&file.text).unwrap_or_default();
        for added in added.metaverse_attribute {
            if !attributes.iter().any(|known| known.name == added.name) {
                let kind = match added.r#type.as_str() {
                    "integer" => ValueKind::Number,
                    "boolean" => ValueKind::Boolean,
                    "binary" => ValueKind::Binary,
                    "reference" => ValueKind::Reference,
                    _ => ValueKind::Text,
                };
                let indexed = added.indexed && kind == ValueKind::Text;
                attributes.push(EntraAttribute { place: place.clone(), name: added.name, kind, multi: added.multi, indexed });
            }
        }
    }
    attributes.sort_by_cached_key(|attribute| (attribute.name.to_ascii_lowercase(), attribute.name.clone()));
    let mut classes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for rule in rules.filter(|rule| rule.mv_type != "*") {
        let class = classes.entry(rule.mv_type.clone()).or_default();
        class.extend(rule.join.iter().flatten().map(|pair| pair.mv.clone()));
        if rule.direction == Direction::Inbound {
            class.extend(rule.flows.iter().map(|flow| flow.target.clone()));
            continue;
        }
        class.extend(rule.scope.iter().flatten().map(|clause| clause.attribute.clone()));
        for flow in &rule.flows {
            match &flow.source {
                PlainSource::Direct(name) => _ = class.insert(name.clone()),
                PlainSource::Expression(text) => class.extend(attributes_of(text)),
                PlainSource::Constant(_) => {}
            }
        }
    }
    let classes = classes.into_iter().map(|(name, attributes)| (name, attributes.into_iter().collect())).collect();
    EntraMetaverse { attributes, classes, parameters: settings(config) }
}

/// The part of a rule file that adds attributes.
#[derive(Default, Deserialize)]
struct AddedFile {
    #[serde(default)]
    metaverse_attribute: Vec<AddedAttribute>,
}

#[derive(Deserialize)]
struct AddedAttribute {
    name: String,
    r#type: String,
    #[serde(default)]
    multi: bool,
    #[serde(default)]
    indexed: bool,
}

/// A duration as .NET writes it: `00:30:00`, `1.02:00:00`.
fn span(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let days = if days > 0 { format!("{days}.") } else { String::new() };
    format!("{days}{hours:02}:{minutes:02}:{:02}", seconds % 60)
}

fn settings(config: &Config) -> Vec<EntraParameter> {
    let GuardTable { delete_threshold, max_deletes, max_delete_percent, staging, first_export, shrink_percent } = &config.guard;
    let SchedulerTable { enabled, interval, maintenance, near_real_time } = &config.scheduler;
    let ServiceTable { socket, health, traces } = &config.service;
    let LimitsTable { cache_mib, threads, object_errors, history_days } = &config.limits;
    // The rest chooses among the built-in rules, and rules are exported as they apply.
    let RulesTable { source_anchor, user_matching, group_members_max, .. } = &config.rules;
    let truth = |flag: bool| if flag { "True" } else { "False" };
    let matching = MATCHING.iter().find(|(_, ours)| ours == user_matching).map(|(theirs, _)| *theirs);
    let mut parameters = vec![
        named("Microsoft.OptionalFeature.ExportDeletionThreshold", truth(*delete_threshold)),
        named("Microsoft.OptionalFeature.ExportDeletionThresholdValue", &max_deletes.to_string()),
        named("Microsoft.SynchronizationOption.AnchorAttribute", source_anchor),
        named("Microsoft.SynchronizationOption.CustomAttribute", if matching.is_some() { "" } else { user_matching }),
        named("Microsoft.SynchronizationOption.JoinCriteria", matching.unwrap_or("Custom")),
        named("Microsoft.Synchronize.RunHistoryPurgeInterval", &format!("{history_days}.00:00:00")),
        named("Microsoft.Synchronize.StagingMode", truth(*staging)),
        named("Microsoft.Synchronize.TimeInterval", &span(*interval)),
        named("Microsoft.Synchronize.SynchronizationSchedule", truth(*enabled)),
        named("Microsoft.Synchronize.MaintenanceEnabled", truth(*maintenance)),
    ];
    let mut keys = Described { keys: Keys::default() };
    keys.keys.set("version", CONFIG_VERSION);
    if config.store != config.folder.join("syncline.redb") {
        keys.path(config, "store", Some(&config.store));
    }
    keys.keys.set_some("guard.max_delete_percent", max_delete_percent.map(i64::from));
    keys.number("guard.shrink_percent", u64::from(*shrink_percent), u64::from(GuardTable::default().shrink_percent));
    if *first_export != FirstExport::default() {
        keys.keys.set("guard.first_export", "free");
    }
    if !near_real_time {
        keys.keys.set("scheduler.near_real_time", false);
    }
    keys.path(config, "service.socket", socket.as_deref());
    keys.keys.set_some("service.health", health.map(|address| address.to_string()));
    keys.text("service.traces", traces.as_deref());
    // Secrets are references in it, as everywhere.
    if config.alerts != AlertsTable::default()
        && let Ok(alerts) = toml::Value::try_from(&config.alerts)
    {
        keys.keys.set("alerts", alerts);
    }
    let limits = LimitsTable::default();
    keys.number("limits.cache_mib", *cache_mib as u64, limits.cache_mib as u64);
    keys.number("limits.threads", *threads as u64, limits.threads as u64);
    keys.number("limits.object_errors", *object_errors, limits.object_errors);
    keys.number("rules.group_members_max", *group_members_max, RulesTable::default().group_members_max);
    parameters.extend(keys.into_parameters());
    parameters
}
