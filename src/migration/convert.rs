//! From an export to the files of a Syncline configuration.

use super::convert_connectors;
use super::convert_rules::{self, ConvertedRules};
use super::keys::Keys;
use super::model::{CLOUD_CONNECTOR, EntraConnector, EntraConnectorKind, EntraExport, EntraParameter, Place, SYNCLINE_PREFIX, plain_guid};
use super::read_rule::without_twins;
use super::report::{Outcome, Report};
use super::words::{boolean, short};
use crate::config::{CONFIG_VERSION, MAIN_FILE, SchedulerTable};
use crate::rules::{AnchorAttribute, Direction, LinkType, RuleFile, RuleSettings, UserMatching};
use jiff::SignedDuration;

/// What somebody who imports may choose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// The tenant, instead of the one of the export: `embedded` for a local one, or an id or domain.
    pub tenant: Option<String>,
}

/// A configuration made from an export.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The files: name within the folder, and text.
    pub files: Vec<(String, String)>,
    /// The names of credentials that somebody must give.
    pub credentials: Vec<String>,
    /// How many rules there are.
    pub rules: usize,
    /// How many flows they have.
    pub flows: usize,
}

/// A connector as rules see it.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) kind: EntraConnectorKind,
    pub(super) schema: Vec<String>,
}

/// The parameter by which an export of Syncline itself is known.
pub(super) const OWN_EXPORT: &str = "Syncline.version";

/// Makes the files of a configuration.
pub fn convert(mut export: EntraExport, options: &ImportOptions, report: &mut Report) -> Imported {
    export.rules = without_twins(std::mem::take(&mut export.rules), report);
    let by_itself = stands_alone(&export);
    if export.connectors.is_empty() {
        convert_connectors::make_up(&mut export, report);
    }
    convert_connectors::order_and_name(&mut export.connectors, report);
    let embedded = options.tenant.as_deref() == Some("embedded");
    let main = main_file(&export, by_itself, embedded, report);
    let targets: Vec<Target> = export
        .connectors
        .iter()
        .map(|connector| Target {
            id: connector.id.clone(),
            name: connector.name.clone(),
            kind: connector.kind.clone(),
            schema: connector.schema.clone(),
        })
        .collect();
    let ConvertedRules { files: rule_files, rules } = convert_rules::convert(&export, &targets, &rule_settings(&main), !by_itself, report);
    let mut files = vec![(MAIN_FILE.to_owned(), main.to_toml(MAIN_COMMENT))];
    let mut credentials = Vec::new();
    let domains = convert_connectors::domains(&export.connectors);
    for (index, connector) in export.connectors.iter().enumerate() {
        let used = convert_rules::used_attributes(&rules, &connector.name);
        let (name, text, credential) = convert_connectors::file(index, connector, &used, &domains, options, report);
        credentials.extend(credential);
        files.push((name, text));
    }
    files.extend(rule_files.into_iter().map(|RuleFile { name, text }| (name, text)));
    let flows = rules.iter().map(|rule| rule.flows.len()).sum();
    Imported { files, credentials, rules: rules.len(), flows }
}

const MAIN_COMMENT: &str = "Imported from Entra Connect. docs/guide/from-entra-connect.md says how to go on; import-report.json has what became of \
                            every part.\nEvery key is explained in docs/reference/config.md.";

/// True when the rules need none of the built-in ones: something makes people, and something sends them to the cloud.
fn stands_alone(export: &EntraExport) -> bool {
    let cloud: Vec<&str> =
        of_kind(&export.connectors, &EntraConnectorKind::Cloud).map(|connector| connector.id.as_str()).chain([CLOUD_CONNECTOR]).collect();
    let mut makers = export.rules.iter().map(|rule| &rule.rule).filter(|rule| rule.enabled && rule.link == LinkType::Provision);
    let made = makers.clone().any(|rule| rule.direction == Direction::Inbound);
    let sent = makers.any(|rule| rule.direction == Direction::Outbound && cloud.contains(&plain_guid(&rule.connector).as_str()));
    export.metaverse.parameters.iter().any(|parameter| parameter.name == OWN_EXPORT) || (made && sent)
}

/// Settings that have no counterpart, and why.
const NO_COUNTERPART: &[(&str, &str)] = &[
    ("Microsoft.Synchronize.SynchronizationPolicy", "the server chose between delta and initial; `syncline cycle start` does by itself"),
    ("Microsoft.Synchronize.SchedulerSuspended", "bookkeeping of the server that exported it"),
    ("Microsoft.Synchronize.NextStartTime", "bookkeeping of the server that exported it"),
    ("Microsoft.Synchronize.ServerConfigurationVersion", "bookkeeping of the server that exported it"),
    ("Microsoft.Version.SynchronizationRuleImmutableTag", "bookkeeping of the server that exported it"),
    ("Microsoft.SynchronizationOption.UPNAttribute", "the rules say where sign-in names come from"),
    ("Microsoft.OptionalFeature.AutoUpgradeState", "Syncline does not update itself"),
    ("Microsoft.OptionalFeature.HybridExchange", "the rules say what flows; nothing is written back to Active Directory"),
    ("Microsoft.OptionalFeature.PasswordHashSync", "each directory has its own switch (password_hash_sync.enabled)"),
    ("Microsoft.OptionalFeature.PasswordWriteback", "passwords are not written back"),
    ("Microsoft.OptionalFeature.GroupWriteBack", "nothing is written back to Active Directory"),
    ("Microsoft.OptionalFeature.DeviceWriteBack", "nothing is written back to Active Directory"),
    ("Microsoft.OptionalFeature.DeviceWriteUp", "the rules say what becomes of devices"),
    ("Microsoft.OptionalFeature.UserWriteBack", "nothing is written back to Active Directory"),
    ("Microsoft.OptionalFeature.FilterAAD", "the rules say what flows; compare the list of selected attributes"),
    ("Microsoft.AADFilter.ApplicationList", "the rules say what flows; compare the list of selected attributes"),
    ("Microsoft.AADFilter.AttributeExclusionList", "the rules say what flows; compare the list of selected attributes"),
    ("Microsoft.OptionalFeature.DirectoryExtension", "the rules say what flows into extension attributes"),
    ("Microsoft.OptionalFeature.DirectoryExtensionAttributes", "the rules say what flows into extension attributes"),
    ("Microsoft.DirectoryExtension.SourceTargetAttributesMap", "the rules say what flows into extension attributes"),
    ("Microsoft.GroupWriteBack.Forest", "nothing is written back to Active Directory"),
    ("Microsoft.GroupWriteBack.Container", "nothing is written back to Active Directory"),
    ("Microsoft.DeviceWriteBack.Forest", "nothing is written back to Active Directory"),
    ("Microsoft.DeviceWriteBack.Container", "nothing is written back to Active Directory"),
    ("Microsoft.UserWriteBack.Forest", "nothing is written back to Active Directory"),
    ("Microsoft.UserWriteBack.Container", "nothing is written back to Active Directory"),
];

/// Joins of people across directories: Microsoft's word, and ours.
pub(super) const MATCHING: &[(&str, &str)] =
    &[("AlwaysProvision", "once"), ("Mail", "mail"), ("ObjectSID", "object-sid"), ("Alias", "account-name")];

fn main_file(export: &EntraExport, by_itself: bool, embedded: bool, report: &mut Report) -> Keys {
    let mut keys = Keys::default();
    keys.set("version", CONFIG_VERSION);
    keys.set("store", "syncline.redb");
    keys.set("guard.max_deletes", 500);
    let parameters = &export.metaverse.parameters;
    let own = parameters.iter().any(|parameter| parameter.name == OWN_EXPORT);
    let find = |name: &str| parameters.iter().find(|parameter| parameter.name == name);
    if let Some(parameter) = find("Microsoft.OptionalFeature.ExportDeletionThresholdValue") {
        let number = parameter.value.trim().parse::<i64>().ok().filter(|number| *number >= 0);
        let on = find("Microsoft.OptionalFeature.ExportDeletionThreshold").is_none_or(|on| boolean(&on.value).unwrap_or(true));
        match number {
            // Whoever switched it off here did so knowing what it means here.
            Some(number) if on || own => {
                keys.set("guard.max_deletes", number);
                taken(report, parameter, "guard.max_deletes", &number.to_string());
                if !on {
                    keys.set("guard.delete_threshold", false);
                    taken(report, parameter, "guard.delete_threshold", "false");
                }
            }
            _ => {
                let note = "the threshold was off or no number; Syncline keeps one of 500 deletes (guard.max_deletes), which \
                            `syncline guard disable` switches off";
                report.add(Outcome::Changed, &parameter.place, format!("setting {}", parameter.name), note);
            }
        }
    }
    let staging = find("Microsoft.Synchronize.StagingMode");
    let was_staging = staging.is_some_and(|parameter| boolean(&parameter.value).unwrap_or(true));
    keys.set("guard.staging", was_staging || !(embedded || own));
    let place = staging.map_or_else(|| Place::of_file(MAIN_FILE), |parameter| parameter.place.clone());
    if was_staging || embedded || own {
        if let Some(parameter) = staging {
            taken(report, parameter, "guard.staging", &was_staging.to_string());
        }
    } else {
        let note =
            "guard.staging = true: nothing is exported until you have looked at `syncline export --what-if`; only one server may export";
        report.add(Outcome::Changed, &place, "staging mode", note);
    }
    if let Some(parameter) = find("Microsoft.Synchronize.RunHistoryPurgeInterval") {
        if let Some(days) = days(&parameter.value) {
            keys.set("limits.history_days", days);
            taken(report, parameter, "limits.history_days", &days.to_string());
        } else {
            let note = format!("\"{}\" is no number of days; the default of 7 days counts", short(&parameter.value));
            report.add(Outcome::Changed, &parameter.place, format!("setting {}", parameter.name), note);
        }
    }
    scheduler_table(&mut keys, export, report);
    rules_table(&mut keys, export, by_itself, report);
    keys.take_parameters(parameters, report);
    keys.set("version", CONFIG_VERSION);
    for parameter in parameters.iter().filter(|parameter| !parameter.name.starts_with(SYNCLINE_PREFIX)) {
        no_counterpart(parameter, report);
    }
    keys
}

/// Notes a setting that counts here, too.
fn taken(report: &mut Report, parameter: &EntraParameter, key: &str, value: &str) {
    report.add(Outcome::Taken, &parameter.place, format!("setting {}", parameter.name), format!("{key} = {value}"));
}

/// `7.00:00:00` as days.
fn days(text: &str) -> Option<i64> {
    let text = text.trim();
    let (days, rest) = text.split_once('.').unwrap_or(("0", text));
    let whole = rest.split(':').all(|part| part.bytes().all(|octet| octet == b'0') && !part.is_empty());
    days.parse::<i64>().ok().filter(|days| whole && (1..=100_000).contains(days))
}

fn scheduler_table(keys: &mut Keys, export: &EntraExport, report: &mut Report) {
    let find = |name: &str| export.metaverse.parameters.iter().find(|parameter| parameter.name == name);
    if let Some(parameter) = find("Microsoft.Synchronize.TimeInterval").filter(|parameter| !parameter.value.trim().is_empty()) {
        let interval = duration(&parameter.value).map(|interval| SchedulerTable { interval, ..SchedulerTable::default() });
        if let Some(table) = interval.filter(|table| table.check().is_ok()) {
            let shown = format!("{:#}", table.interval);
            keys.set("scheduler.interval", shown.as_str());
            taken(report, parameter, "scheduler.interval", &shown);
        } else {
            let note =
                format!("\"{}\" is no interval between 1 minute and 6 days; the default of 30 minutes counts", short(&parameter.value));
            report.add(Outcome::Changed, &parameter.place, format!("setting {}", parameter.name), note);
        }
    }
    for (name, key) in [
        ("Microsoft.Synchronize.SynchronizationSchedule", "scheduler.enabled"),
        ("Microsoft.Synchronize.MaintenanceEnabled", "scheduler.maintenance"),
    ] {
        let Some(parameter) = find(name) else { continue };
        if let Ok(wanted) = boolean(&parameter.value) {
            keys.set(key, wanted);
            taken(report, parameter, key, &wanted.to_string());
        } else {
            let note = format!("\"{}\" is neither True nor False; {key} = true counts", short(&parameter.value));
            report.add(Outcome::Changed, &parameter.place, format!("setting {name}"), note);
        }
    }
}

/// `00:30:00` or `1.02:00:00` (.NET's TimeSpan) as a duration.
fn duration(text: &str) -> Option<SignedDuration> {
    let text = text.trim();
    let (days, rest) = text.split_once('.').unwrap_or(("0", text));
    let parts: Vec<i64> = rest.split(':').map(str::parse).collect::<Result<_, _>>().ok()?;
    let [hours, minutes, seconds] = parts[..] else { return None };
    let days: i64 = days.parse().ok()?;
    let whole = [days.checked_mul(86_400)?, hours.checked_mul(3_600)?, minutes.checked_mul(60)?, seconds];
    whole.into_iter().try_fold(0_i64, i64::checked_add).map(SignedDuration::from_secs)
}

fn rules_table(keys: &mut Keys, export: &EntraExport, by_itself: bool, report: &mut Report) {
    keys.set("rules.built_in", !by_itself);
    let place = export.rules.first().map_or_else(|| Place::of_file(MAIN_FILE), |rule| rule.place.clone());
    if by_itself {
        report.add(Outcome::Taken, &place, "rules", "they make people and send them: the built-in rules are off (rules.built_in = false)");
    } else {
        let note = "these rules cannot stand alone: Syncline's built-in rules apply besides (rules.built_in)";
        report.add(Outcome::Changed, &place, "rules", note);
    }
    let find = |name: &str| export.metaverse.parameters.iter().find(|parameter| parameter.name == name);
    if let Some(parameter) = find("Microsoft.SynchronizationOption.AnchorAttribute").filter(|parameter| !parameter.value.trim().is_empty())
    {
        let anchor = parameter.value.trim();
        let subject = format!("setting {}", parameter.name);
        if ["userPrincipalName", "mail", "targetAddress"].iter().any(|name| name.eq_ignore_ascii_case(anchor)) {
            report.add(Outcome::Failed, &parameter.place, subject, format!("{anchor} is a name and cannot be the source anchor"));
        } else {
            keys.set("rules.source_anchor", anchor);
            report.add(Outcome::Taken, &parameter.place, subject, format!("rules.source_anchor = {}", short(anchor)));
        }
    }
    if let Some(parameter) = find("Microsoft.SynchronizationOption.JoinCriteria").filter(|parameter| !parameter.value.trim().is_empty()) {
        let word = parameter.value.trim();
        let custom =
            find("Microsoft.SynchronizationOption.CustomAttribute").map(|custom| custom.value.trim()).filter(|name| !name.is_empty());
        let known = MATCHING.iter().find(|(theirs, _)| theirs.eq_ignore_ascii_case(word)).map(|(_, ours)| *ours);
        let subject = format!("setting {}", parameter.name);
        if let Some(ours) = known.or_else(|| custom.filter(|_| word.eq_ignore_ascii_case("Custom"))) {
            keys.set("rules.user_matching", ours);
            report.add(Outcome::Taken, &parameter.place, subject, format!("rules.user_matching = {}", short(ours)));
        } else {
            let note = format!("\"{}\" is not known here; the joins of the rules count", short(word));
            report.add(Outcome::NotTaken, &parameter.place, subject, note);
        }
    }
}

/// Settings that [`main_file`] and [`rules_table`] read.
const READ: &[&str] = &[
    "Microsoft.OptionalFeature.ExportDeletionThreshold",
    "Microsoft.OptionalFeature.ExportDeletionThresholdValue",
    "Microsoft.Synchronize.StagingMode",
    "Microsoft.Synchronize.RunHistoryPurgeInterval",
    "Microsoft.Synchronize.TimeInterval",
    "Microsoft.Synchronize.SynchronizationSchedule",
    "Microsoft.Synchronize.MaintenanceEnabled",
    "Microsoft.SynchronizationOption.AnchorAttribute",
    "Microsoft.SynchronizationOption.JoinCriteria",
    "Microsoft.SynchronizationOption.CustomAttribute",
];

fn no_counterpart(parameter: &EntraParameter, report: &mut Report) {
    let name = parameter.name.as_str();
    let subject = format!("setting {}", short(name));
    if READ.contains(&name) {
        return;
    }
    if name == "Microsoft.OptionalFeature.GroupFiltering" {
        if boolean(&parameter.value).unwrap_or(true) {
            let note =
                "only members of one group were synchronized; write rules with ISMEMBEROF before you leave staging mode (docs/rules.md)";
            report.add(Outcome::Failed, &parameter.place, subject, note);
        }
        return;
    }
    match NO_COUNTERPART.iter().find(|(known, _)| *known == name) {
        // What is off or empty has no counterpart to miss.
        Some(_) if matches!(parameter.value.trim().to_ascii_lowercase().as_str(), "" | "false") => {}
        Some((_, reason)) => report.add(Outcome::NotTaken, &parameter.place, subject, *reason),
        None => report.unknown_part(&parameter.place, subject),
    }
}

/// What the built-in rules ask for, from the keys of the main file.
fn rule_settings(main: &Keys) -> RuleSettings {
    let text = |key: &str| {
        let value = toml::from_str::<toml::Table>(&format!("value = {}", main.get(key)?)).ok()?;
        value.get("value")?.as_str().map(str::to_owned)
    };
    let mut settings = RuleSettings::default();
    match text("rules.source_anchor").as_deref() {
        None => settings.anchor_attribute = AnchorAttribute::ConsistencyGuid,
        Some(anchor) if anchor.eq_ignore_ascii_case("objectGUID") => settings.anchor_attribute = AnchorAttribute::ObjectGuid,
        Some(anchor) if anchor.eq_ignore_ascii_case("mS-DS-ConsistencyGuid") => {
            settings.anchor_attribute = AnchorAttribute::ConsistencyGuid;
        }
        Some(anchor) => settings.anchor_attribute = AnchorAttribute::Attribute(anchor.to_owned()),
    }
    settings.user_matching = match text("rules.user_matching").as_deref() {
        Some("once") => UserMatching::Once,
        Some("mail") => UserMatching::Mail,
        Some("account-name") => UserMatching::AccountName,
        None | Some("object-sid") => UserMatching::ObjectSid,
        Some(attribute) => UserMatching::Attribute(attribute.to_owned()),
    };
    settings
}

/// The connectors of one kind.
pub(super) fn of_kind<'c>(connectors: &'c [EntraConnector], kind: &'c EntraConnectorKind) -> impl Iterator<Item = &'c EntraConnector> {
    connectors.iter().filter(move |connector| connector.kind == *kind)
}
