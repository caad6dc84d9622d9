//! What the cloud would refuse or alter, looked for over whole directories before anything is sent (specification:
//! administration surface, section 2.5, IdFix).
//!
//! Every object is evaluated twice, as a synchronization would: first for the values that must be unique, then for what is
//! to be told. Memory holds some 24 octets per unique value, whatever else the directory has.

use super::views::ValueView;
use super::{Service, ServiceError};
use crate::config::ConnectorSettings;
use crate::context::Context;
use crate::engine::sync::{Forecast, Forecaster, TargetForecast};
use crate::lint::{
    self, ADDRESSES, ANCHOR, Candidate, CloudType, DISPLAY_NAME, Domains, Finding, FindingKind, MAIL, NICKNAME, Proposal,
    SECURITY_IDENTIFIER, SIGN_IN_NAME, UPN,
};
use crate::model::{AttrId, ConnectorId, CsId, CsObject, Dn, DnKey, Names, StageMask, ValueRef, ValueState, escape_component, fold};
use crate::rules::{RuleSet, RunParameters};
use crate::store::{Snapshot, StoreError};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, HashSet};
use xxhash_rust::xxh3::xxh3_128;

/// Objects read at a time.
const PAGE: usize = 2_000;

/// What was found in directories.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LintView {
    /// The tenant's connector.
    pub target: String,
    /// The domains that the tenant has verified.
    pub verified_domains: Vec<String>,
    /// The domain of names that the tenant makes.
    pub initial_domain: String,
    /// Objects that would be sent to the tenant.
    pub objects: u64,
    /// Objects that rules keep here.
    pub not_sent: u64,
    /// Objects of which something was found.
    pub affected: u64,
    /// How often each kind was found.
    pub counts: BTreeMap<&'static str, LintCount>,
    /// The first findings, in the order of objects.
    pub findings: Vec<LintFinding>,
    /// There are more than are shown.
    pub more: bool,
}

/// How often something was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LintCount {
    /// How often.
    pub count: u64,
    /// `refused`, `altered` or `odd`: what the cloud does about it.
    pub consequence: &'static str,
    /// What it is.
    pub meaning: &'static str,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LintFinding {
    /// The object's number.
    pub id: String,
    /// Its connector.
    pub connector: String,
    /// Its name.
    pub dn: String,
    /// Its type.
    pub object_type: String,
    /// What was found.
    pub kind: &'static str,
    /// `refused`, `altered` or `odd`.
    pub consequence: &'static str,
    /// The attribute in the tenant.
    pub attribute: &'static str,
    /// The value there.
    pub value: String,
    /// The attribute of the directory that has to be changed; nothing where a rule makes the value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_attribute: Option<String>,
    /// `write`, `remove` or `decide`.
    pub action: &'static str,
    /// The value to write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proposed: Option<String>,
    /// Another object that has the value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other: Option<LintOther>,
    /// More than the kind says.
    pub detail: String,
    /// The change of the directory, for files.
    #[serde(skip)]
    pub repair: Option<Repair>,
}

/// The other object of a duplicate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LintOther {
    /// Its number.
    pub id: String,
    /// Its connector.
    pub connector: String,
    /// Its name.
    pub dn: String,
    /// How many objects have the value, all taken together.
    pub objects: u64,
}

/// A change of one attribute of one entry that does away with a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The entry.
    pub dn: String,
    /// The attribute.
    pub attribute: String,
    /// The value to take away; `None` where there is none.
    pub old: Option<String>,
    /// The value to write; `None` where none is needed.
    pub new: Option<String>,
    /// Other values of the attribute stay.
    pub among_others: bool,
    /// The value is one that names the entry: it changes with the name alone.
    pub names_the_entry: bool,
    /// The connector of the entry.
    pub connector: ConnectorId,
}

impl Repair {
    /// The new RDN, for a value that names the entry by itself, and the whole name with it.
    pub fn renamed(&self) -> Option<(String, Dn)> {
        let (dn, new) = (Dn::parse(&self.dn).ok()?, self.new.as_ref()?);
        let (kind, _) = dn.naming_value()?;
        let rdn = escape_component(&format!("{kind}={new}"));
        let whole = match dn.parent() {
            Some(parent) => format!("{rdn},{parent}"),
            None => rdn.clone(),
        };
        Some((rdn, Dn::parse(&whole).ok()?))
    }
}

/// Hears every finding, object by object.
pub type LintSink<'s> = dyn FnMut(&[LintFinding]) -> Result<(), ServiceError> + 's;

/// A unique value of one object, as its hash.
type Key = (u128, CsId);

/// What both passes share.
struct Inspector<'a> {
    snapshot: &'a Snapshot,
    names: &'a Names,
    rules: &'a RuleSet,
    forecaster: Forecaster<'a>,
    connectors: &'a BTreeMap<ConnectorId, String>,
    target: ConnectorId,
    domains: Domains,
    attributes: Attributes,
}

/// Numbers of the attributes that are looked at.
struct Attributes {
    by_name: Vec<(&'static str, Option<AttrId>)>,
    extensions: Vec<(AttrId, String)>,
}

/// Attributes of users that count certificates.
const CERTIFICATES: [&str; 2] = ["userCertificate", "userSMIMECertificate"];
/// The account's name in its directory.
const ACCOUNT: &str = "onPremisesSamAccountName";

impl Attributes {
    fn of(names: &Names, rules: &RuleSet, target: ConnectorId) -> Self {
        let known = [ANCHOR, UPN, ACCOUNT, NICKNAME, MAIL, ADDRESSES, DISPLAY_NAME, SECURITY_IDENTIFIER, SIGN_IN_NAME];
        let by_name = known.into_iter().chain(CERTIFICATES).map(|name| (name, names.find(name))).collect();
        let written = rules.outbound_attributes(target).into_iter().map(|attr| (attr, names.name(attr).to_string()));
        let extensions = written.filter(|(_, name)| name.to_ascii_lowercase().starts_with("extension_")).collect();
        Self { by_name, extensions }
    }

    fn id(&self, name: &str) -> Option<AttrId> {
        self.by_name.iter().find(|(known, _)| *known == name).and_then(|(_, attr)| *attr)
    }
}

/// An object as the tenant would be given it.
struct Seen {
    kind: CloudType,
    candidate: Candidate,
    forecast: TargetForecast,
}

enum Look {
    Nothing,
    NotSent,
    Fails(String),
    Seen(Box<Seen>),
}

impl Inspector<'_> {
    fn look(&self, object: &CsObject) -> Result<Look, StoreError> {
        Ok(match self.forecaster.of(object)? {
            Forecast::Absent | Forecast::Told(_) => Look::Nothing,
            Forecast::Unwanted => Look::NotSent,
            Forecast::Fails(detail) => Look::Fails(detail),
            Forecast::Wanted(targets) => match targets.into_iter().find(|forecast| forecast.connector == self.target) {
                None => Look::NotSent,
                Some(forecast) => {
                    let kind = CloudType::of_name(&self.names.object_type_name(forecast.object_type));
                    Look::Seen(Box::new(Seen { kind, candidate: self.candidate(&forecast)?, forecast }))
                }
            },
        })
    }

    fn candidate(&self, forecast: &TargetForecast) -> Result<Candidate, StoreError> {
        let one = |name: &str| -> Result<Option<String>, StoreError> { Ok(self.texts(forecast, name)?.into_iter().next()) };
        let count = |name: &'static str| {
            let attr = self.attributes.id(name);
            (name, attr.map_or(0, |attr| forecast.values.attribute(attr).count()))
        };
        let security_identifier = self.attributes.id(SECURITY_IDENTIFIER).and_then(|attr| {
            forecast.values.attribute(attr).find_map(|item| match item.value {
                ValueRef::Binary(octets) => Some(octets.to_vec()),
                ValueRef::Text(text) => Some(text.as_bytes().to_vec()),
                _ => None,
            })
        });
        let extensions = self.attributes.extensions.iter().filter_map(|(attr, name)| {
            let lengths = forecast.values.attribute(*attr).map(|item| match item.value {
                ValueRef::Text(text) => text.chars().count(),
                // What is kept apart is longer than any extension may be.
                ValueRef::LargeText(_) | ValueRef::LargeBinary(_) => usize::MAX,
                _ => 0,
            });
            lengths.max().map(|longest| (name.clone(), longest))
        });
        Ok(Candidate {
            anchor: one(ANCHOR)?,
            user_principal_name: one(UPN)?,
            account_name: one(ACCOUNT)?,
            nickname: one(NICKNAME)?,
            mail: one(MAIL)?,
            proxy_addresses: self.texts(forecast, ADDRESSES)?,
            display_name: one(DISPLAY_NAME)?,
            security_identifier,
            sign_in_name: one(SIGN_IN_NAME)?,
            certificates: CERTIFICATES.map(count).to_vec(),
            extensions: extensions.collect(),
        })
    }

    fn texts(&self, forecast: &TargetForecast, name: &str) -> Result<Vec<String>, StoreError> {
        let Some(attr) = self.attributes.id(name) else { return Ok(Vec::new()) };
        let mut texts = Vec::new();
        for item in forecast.values.attribute(attr) {
            match item.value {
                ValueRef::Text(text) => texts.push(text.to_owned()),
                ValueRef::LargeText(blob) => {
                    texts.extend(self.snapshot.blob(blob)?.map(|octets| String::from_utf8_lossy(&octets).into_owned()));
                }
                _ => {}
            }
        }
        Ok(texts)
    }

    /// The hashes of everything of an object that must be unique.
    fn keys(&self, object: &CsObject) -> Result<Vec<Key>, StoreError> {
        let Look::Seen(seen) = self.look(object)? else { return Ok(Vec::new()) };
        let keys = lint::keys(seen.kind, &seen.candidate, &self.domains);
        Ok(keys.into_iter().map(|value| (xxh3_128(&value.key), object.id)).collect())
    }

    /// All findings about an object.
    fn findings(&self, object: &CsObject, taken: &Taken) -> Result<(Look, Vec<LintFinding>), StoreError> {
        let look = self.look(object)?;
        let found = match &look {
            Look::Nothing | Look::NotSent => Vec::new(),
            Look::Fails(detail) => {
                vec![(Finding::new(FindingKind::RuleFails, "", "", Proposal::Ask, detail.clone()), None)]
            }
            Look::Seen(seen) => {
                let mut found: Vec<(Finding, Option<(CsId, u64)>)> =
                    lint::check(seen.kind, &seen.candidate, &self.domains).into_iter().map(|finding| (finding, None)).collect();
                self.duplicates(object.id, seen, taken, &mut found);
                found
            }
        };
        let forecast = if let Look::Seen(seen) = &look { Some(&seen.forecast) } else { None };
        let told = found.into_iter().map(|(finding, other)| self.told(object, forecast, finding, other));
        let told = told.collect::<Result<_, _>>()?;
        Ok((look, told))
    }

    /// Adds what other objects have, too. The one with the lowest number keeps its value.
    fn duplicates(&self, id: CsId, seen: &Seen, taken: &Taken, found: &mut Vec<(Finding, Option<(CsId, u64)>)>) {
        for value in lint::keys(seen.kind, &seen.candidate, &self.domains) {
            let owners = taken.owners(xxh3_128(&value.key));
            let Some(other) = owners.iter().map(|(_, owner)| *owner).find(|owner| *owner != id) else { continue };
            let place = owners.iter().position(|(_, owner)| *owner == id).unwrap_or_default();
            if found.iter().any(|(known, _)| known.kind == value.kind && known.value == value.value) {
                continue;
            }
            let proposal = match value.kind {
                _ if place == 0 || value.value.is_empty() => Proposal::Ask,
                FindingKind::UpnDuplicate => Proposal::Write(value.value.clone()),
                FindingKind::AddressDuplicate => Proposal::Remove,
                _ => Proposal::Ask,
            };
            let detail = if place == 0 { "this object comes first, and keeps it" } else { "" };
            found.push((Finding::new(value.kind, value.attribute, &value.value, proposal, detail), Some((other, owners.len() as u64))));
        }
    }

    fn told(
        &self,
        object: &CsObject,
        forecast: Option<&TargetForecast>,
        finding: Finding,
        other: Option<(CsId, u64)>,
    ) -> Result<LintFinding, StoreError> {
        let other = match other {
            Some((other, objects)) => Some(LintOther {
                id: other.to_string(),
                connector: self.connector(other.connector()),
                dn: self.snapshot.cs_object(other)?.map(|object| object.dn.to_string()).unwrap_or_default(),
                objects,
            }),
            None => None,
        };
        let place = match forecast {
            Some(forecast) if !finding.attribute.is_empty() => self.place(forecast, &finding)?,
            _ => None,
        };
        let (action, proposed) = match &finding.proposal {
            Proposal::Write(value) => ("write", Some(value.clone())),
            Proposal::Remove => ("remove", None),
            Proposal::Ask => ("decide", None),
        };
        let source_attribute = place.as_ref().map(|place| place.attribute.clone());
        let repair = place.filter(|_| action != "decide").map(|place| Repair {
            names_the_entry: place.names_the_entry(),
            connector: place.source.connector(),
            dn: place.dn,
            attribute: place.attribute,
            old: place.raw,
            new: proposed.clone(),
            among_others: place.several || finding.attribute == ADDRESSES,
        });
        Ok(LintFinding {
            id: object.id.to_string(),
            connector: self.connector(object.id.connector()),
            dn: object.dn.to_string(),
            object_type: self.names.object_type_name(object.object_type).to_string(),
            kind: finding.kind.as_str(),
            consequence: finding.kind.consequence().as_str(),
            attribute: finding.attribute,
            value: ValueView::of(finding.attribute, ValueRef::Text(&finding.value)).to_string(),
            source_attribute,
            action,
            proposed,
            other,
            detail: finding.detail,
            repair,
        })
    }

    /// The attribute of a directory in which a value stands as it is; for a value that is missing, the one where it would.
    fn place(&self, forecast: &TargetForecast, finding: &Finding) -> Result<Option<Place>, StoreError> {
        let Some(attr) = self.attributes.id(finding.attribute) else { return Ok(None) };
        let origins = forecast.origins(self.rules, attr);
        let mut empty = None;
        for (source, read) in origins {
            let Some(entry) = self.snapshot.cs_object(source)? else { continue };
            let present = entry.values.attribute(read).filter(|item| ValueState(item.flags).present(StageMask::IMPORTED));
            let texts: Vec<&str> = present
                .filter_map(|item| match item.value {
                    ValueRef::Text(text) => Some(text),
                    _ => None,
                })
                .collect();
            let name = self.names.name(read).to_string();
            let several = texts.len() > 1;
            if let Some(raw) = texts.iter().find(|text| text.trim() == finding.value.trim() && !finding.value.is_empty()) {
                return Ok(Some(Place { source, dn: entry.dn.to_string(), attribute: name, raw: Some((*raw).to_owned()), several }));
            }
            if finding.value.is_empty() && texts.is_empty() && empty.is_none() {
                empty = Some(Place { source, dn: entry.dn.to_string(), attribute: name, raw: None, several });
            }
        }
        Ok(empty)
    }

    fn connector(&self, id: ConnectorId) -> String {
        self.connectors.get(&id).cloned().unwrap_or_else(|| id.to_string())
    }
}

/// Where a value stands.
struct Place {
    source: CsId,
    dn: String,
    attribute: String,
    raw: Option<String>,
    several: bool,
}

impl Place {
    /// The value is one that names the entry: no directory lets it be replaced or taken away by itself.
    fn names_the_entry(&self) -> bool {
        let (Some(raw), Ok(dn)) = (&self.raw, Dn::parse(&self.dn)) else { return false };
        dn.naming_values().any(|(attribute, value)| {
            attribute.eq_ignore_ascii_case(&self.attribute) && (!self.several || fold(raw) == fold(&String::from_utf8_lossy(&value)))
        })
    }
}

/// Who has which unique value, in the order of hashes.
struct Taken(Vec<Key>);

impl Taken {
    fn owners(&self, hash: u128) -> &[Key] {
        let start = self.0.partition_point(|(known, _)| *known < hash);
        let length = self.0.get(start..).map_or(0, |rest| rest.partition_point(|(known, _)| *known == hash));
        self.0.get(start..start + length).unwrap_or_default()
    }
}

/// Proposed sign-in names and names of entries, so that no two objects are proposed the same.
struct Proposed<'t> {
    taken: &'t Taken,
    domains: &'t Domains,
    names: HashSet<u128>,
    snapshot: &'t Snapshot,
    /// Names that entries would get, and whose they are.
    entries: HashMap<(ConnectorId, DnKey), String>,
}

impl Proposed<'_> {
    /// Whatever is wrong with a sign-in name, one other name is proposed, and nobody has it.
    fn settle(&mut self, id: CsId, findings: &mut [LintFinding]) {
        let again = findings.iter().any(|finding| finding.kind == FindingKind::UpnDuplicate.as_str());
        let mut settled: Option<String> = None;
        for finding in findings.iter_mut().filter(|finding| finding.attribute == UPN) {
            let Some(wanted) = finding.proposed.take() else { continue };
            let name = settled.get_or_insert_with(|| self.free(&wanted, id, again)).clone();
            if let Some(repair) = &mut finding.repair {
                repair.new = Some(name.clone());
            }
            finding.proposed = Some(name);
        }
    }

    /// An entry is proposed a name that nobody has in its directory, and that no other one is proposed; otherwise somebody has to decide.
    fn settle_entries(&mut self, findings: &mut [LintFinding]) -> Result<(), StoreError> {
        for finding in findings {
            let Some(repair) = finding.repair.as_ref().filter(|repair| repair.names_the_entry) else { continue };
            let free = match repair.renamed() {
                None => false,
                Some((_, name)) => {
                    let key = name.key();
                    // It may be spelt anew only.
                    let same = Dn::parse(&repair.dn).is_ok_and(|dn| dn.key() == key);
                    (same || self.snapshot.cs_by_dn(repair.connector, &key)?.is_none())
                        && self.entries.entry((repair.connector, key)).or_insert_with(|| repair.dn.clone()) == &repair.dn
                }
            };
            if !free {
                (finding.action, finding.proposed, finding.repair) = ("decide", None, None);
            }
        }
        Ok(())
    }

    /// The wanted name, or the next one with a number that is free.
    fn free(&mut self, wanted: &str, id: CsId, again: bool) -> String {
        let mut name = if again { lint::free_name(wanted, 2, self.domains) } else { lint::mended_name(wanted, self.domains) };
        let mut number = if again { 2 } else { 1 };
        loop {
            let named = Candidate { user_principal_name: Some(name.clone()), ..Candidate::default() };
            let hash = lint::keys(CloudType::User, &named, self.domains).first().map_or(0, |value| xxh3_128(&value.key));
            if self.taken.owners(hash).iter().all(|(_, owner)| *owner == id) && self.names.insert(hash) {
                return name;
            }
            number += 1;
            name = lint::free_name(wanted, number, self.domains);
        }
    }
}

impl Service {
    /// Looks through the sources (or one of them) for what a tenant would refuse or alter. Every finding goes to `sink`; the
    /// first `limit` come back.
    ///
    /// # Errors
    /// When there is no tenant, nothing was imported, the rules do not compile, or the store cannot be read.
    pub fn lint_directory(
        &self,
        cx: &Context,
        only: Option<ConnectorId>,
        domains: Option<Vec<String>>,
        limit: usize,
        sink: &mut LintSink<'_>,
    ) -> Result<LintView, ServiceError> {
        let rules = self.rules()?;
        let run: RunParameters = self.kept_parameters(cx.now())?;
        let target = self.cloud_target()?;
        let sources: Vec<ConnectorId> =
            self.connectors.keys().copied().filter(|id| !rules.targets().contains(id) && only.is_none_or(|only| only == *id)).collect();
        if let Some(only) = only.filter(|_| sources.is_empty()) {
            let name = self.connectors.get(&only).cloned().unwrap_or_default();
            return Err(ServiceError::Usage(format!("{name} is a target: give the name of a directory that people come from")));
        }
        let snapshot = self.store.snapshot()?;
        let mut known = 0;
        for source in &sources {
            known += snapshot.cs_count(*source)?;
        }
        if known == 0 {
            return Err(ServiceError::NotReady {
                message: "nothing was imported yet".to_owned(),
                hint: "import first: `syncline run start CONNECTOR full-import`".to_owned(),
            });
        }
        let domains = match domains {
            Some(names) => {
                let preferred = names.first().cloned().unwrap_or_default();
                Domains::new(names.clone(), &preferred, &preferred)
            }
            None => self.tenant_domains(cx, target)?,
        };
        let names = self.store.names();
        let inspector = Inspector {
            snapshot: &snapshot,
            names,
            rules,
            forecaster: Forecaster::new(&self.store, &snapshot, rules, &run),
            connectors: &self.connectors,
            target,
            attributes: Attributes::of(names, rules, target),
            domains,
        };
        let mut view = LintView {
            target: self.connectors.get(&target).cloned().unwrap_or_default(),
            verified_domains: inspector.domains.verified.clone(),
            initial_domain: inspector.domains.initial.clone(),
            ..LintView::default()
        };
        // It takes long, and an interrupt ends it at the next page.
        self.with_runtime(cx, async || {
            let mut keys: Vec<Key> = Vec::new();
            // Duplicates are looked for everywhere: another directory may hold the second one.
            for source in self.connectors.keys().filter(|id| !rules.targets().contains(id)) {
                each_page(&snapshot, *source, cx, |page| {
                    let found: Vec<Vec<Key>> = page.par_iter().map(|object| inspector.keys(object)).collect::<Result<_, _>>()?;
                    keys.extend(found.into_iter().flatten());
                    Ok(())
                })?;
            }
            keys.par_sort_unstable();
            keys.dedup();
            let taken = Taken(keys);
            let mut proposed = Proposed {
                taken: &taken,
                domains: &inspector.domains,
                names: HashSet::new(),
                snapshot: &snapshot,
                entries: HashMap::new(),
            };
            for source in &sources {
                each_page(&snapshot, *source, cx, |page| {
                    let found: Vec<(Look, Vec<LintFinding>)> =
                        page.par_iter().map(|object| inspector.findings(object, &taken)).collect::<Result<_, _>>()?;
                    for (object, (look, mut findings)) in page.iter().zip(found) {
                        match look {
                            Look::Nothing => {}
                            Look::NotSent => view.not_sent += 1,
                            Look::Fails(_) | Look::Seen(_) => view.objects += 1,
                        }
                        if !findings.is_empty() {
                            proposed.settle(object.id, &mut findings);
                            proposed.settle_entries(&mut findings)?;
                            view.count(&findings, limit);
                            sink(&findings)?;
                        }
                    }
                    Ok(())
                })?;
            }
            Ok(view)
        })
    }

    /// The tenant that people are sent to.
    fn cloud_target(&self) -> Result<ConnectorId, ServiceError> {
        let is_cloud = |id: &&ConnectorId| {
            let settings = self.connectors.get(id).and_then(|name| self.config.connector(name)).map(|connector| &connector.settings);
            matches!(settings, Some(ConnectorSettings::Entra(_)))
        };
        let found = self.rules()?.targets().iter().find(is_cloud).copied();
        found.ok_or_else(|| ServiceError::NotReady {
            message: "no tenant is configured that rules write to".to_owned(),
            hint: "add a connector of kind entra; `tenant = \"embedded\"` makes a local one to try things with".to_owned(),
        })
    }
}

impl LintView {
    fn count(&mut self, findings: &[LintFinding], limit: usize) {
        self.affected += 1;
        for finding in findings {
            let kind = FindingKind::ALL.iter().find(|kind| kind.as_str() == finding.kind);
            let fresh = || LintCount { count: 0, consequence: finding.consequence, meaning: kind.map_or("", |kind| kind.meaning()) };
            self.counts.entry(finding.kind).or_insert_with(fresh).count += 1;
            if self.findings.len() < limit {
                self.findings.push(finding.clone());
            } else {
                self.more = true;
            }
        }
    }
}

/// Visits the objects of a space, some at a time.
fn each_page(
    snapshot: &Snapshot,
    connector: ConnectorId,
    cx: &Context,
    mut visit: impl FnMut(&[CsObject]) -> Result<(), ServiceError>,
) -> Result<(), ServiceError> {
    let mut after = None;
    loop {
        let page = snapshot.cs_scan(connector, after, PAGE)?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.id);
        if cx.cancelled() {
            return Err(ServiceError::Interrupted("not all objects were looked at".to_owned()));
        }
        visit(&page)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{ChangeSet, Store};

    /// Wrongly called is something else.
    #[test]
    fn who_is_told_to_stop_says_that_not_all_was_looked_at() {
        let store = Store::in_memory().unwrap();
        let connector = ConnectorId(1);
        let object = CsObject::new(CsId::new(connector, 1), store.names().object_type("user"), "CN=a".to_owned());
        let mut changes = ChangeSet::new();
        changes.cs_put.push(object);
        store.apply(changes).unwrap();
        let snapshot = store.snapshot().unwrap();
        let cx = Context::system();
        let mut seen = 0;
        let mut visit = |objects: &[CsObject]| {
            seen += objects.len();
            Ok(())
        };
        each_page(&snapshot, connector, &cx, &mut visit).unwrap();
        cx.cancel.cancel();
        let stopped = each_page(&snapshot, connector, &cx, &mut visit);
        assert!(matches!(stopped, Err(ServiceError::Interrupted(_))), "{stopped:?}");
        assert_eq!(seen, 1);
    }
}
