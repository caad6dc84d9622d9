//! Wires configuration, store, rules, connectors and engine together. Commands call it and get plain views back.
//!
//! Nothing here decides anything about identities, and nothing here knows a terminal.

mod ad_accounts;
mod alerts;
mod anchors;
mod audit;
mod browse;
mod by_hand;
mod class_choice;
mod clearing;
mod cloud;
mod compare;
mod connector_copy;
mod connector_file;
mod connectors;
mod container_check;
mod directory_schema;
mod doctor;
mod drive;
mod entry;
mod explain;
mod expression;
mod facilities;
mod guard;
mod guard_stops;
mod health;
mod history;
mod installation;
mod journal;
mod lint;
mod lint_files;
mod maintenance;
mod named_files;
mod object_anchor;
mod object_bundle;
mod object_read;
mod object_sync;
mod parameters;
mod partitions;
mod password_checks;
mod passwords;
mod plan;
mod preview;
mod promotion;
mod rotation;
mod rule_book;
mod rule_edit;
mod rule_files;
mod scheduler;
mod secrets;
mod settings;
mod setup;
mod status;
mod still_enabled;
mod support;
mod support_mask;
mod take_overs;
mod tenancy;
mod tenant;
mod traces;
mod views;
mod watch;
mod what_if;
mod why;
mod wiring;

pub use crate::engine::export::{DeleteSet, ExportPlan};
pub use crate::engine::run::{Profile, Standing, stopped_by_guard};
pub use crate::engine::sync::Decree;
pub use ad_accounts::{
    AdAccountLine, AdAccounts, ChangedLine, GrantForm, GrantLine, GrantView, ObjectRightsView, ProtectedView, RightLine, RightsView,
};
pub use alerts::{AlertChannel, AlertWay, AlertsView};
pub use anchors::{AnchorForms, NoAnchor, convert_anchor};
pub use audit::{Act, AuditLog};
pub use browse::{AttributeFilter, Browser, CsQuery, Found, MvQuery};
pub use class_choice::ClassChange;
pub use clearing::ClearedSpace;
pub use cloud::{PUBLIC_CLIENT, graph_of, refresh_name};
pub use compare::{CompareError, compare};
pub use connector_copy::{ConnectorCopy, ImportedConnector, import_connector};
pub use connector_file::{ConnectorTrial, ConnectorType, NewConnector, ProfileView, add_connector, connector_types};
pub use connectors::{ConnectorLine, LeftBehind, Renaming};
pub use directory_schema::{AttributeEffect, AttributeLine, CloudValues, ObjectTypeLine, SchemaChange, SchemaRefresh, SchemaView};
pub use doctor::{Finding, FindingLevel, examine, refused_by_service, unreadable};
pub use drive::{DriveOptions, Work};
pub use explain::{Explanation, ExplanationStep, StepOutcome};
pub use expression::{ExpressionTrial, ExpressionView};
pub use facilities::TenantLease;
pub use guard::{GuardChange, GuardSetting, GuardValue, GuardView, GuardedTarget};
pub use guard_stops::GuardStop;
pub use health::{ConnectorFacts, HealthFacts, PasswordFacts};
pub use history::{History, ObjectLogLine};
pub use installation::InstallationView;
pub use journal::{EventQuery, EventView, PasswordLog, level_name};
pub use lint::{LintCount, LintFinding, LintOther, LintSink, LintView, Repair};
pub use lint_files::{LintRepairs, LintTable, cell};
pub use object_anchor::{AnchorChange, ObjectAnchor};
pub use object_bundle::ObjectBundle;
pub use object_read::ObjectRead;
pub use object_sync::{ObjectStep, ObjectSyncView};
pub use partitions::{Choice, ContainerLine, ContainerTree, PartitionLine, SelectionChange};
pub use password_checks::{PasswordDiagnosis, diagnose_unstored};
pub use passwords::{PasswordStanding, PasswordSwitch};
pub use preview::{JoinLine, PreviewAttribute, PreviewProblem, PreviewTargetView, PreviewView, RuleLine, SourcedFlow, TargetAttribute};
pub use promotion::{ModeView, NotJoined, Promotion, PromotionCheck, PromotionView, TargetMode};
pub use rotation::{OtherAccount, Rotation};
pub use rule_book::{FlowView, PrecedenceLine, PrecedenceView, RuleDetail, RuleFilter};
pub use rule_edit::{DISABLED_FILE, RuleChange};
pub use scheduler::{OverrideView, SchedulerView, SuspensionView};
pub use secrets::{SecretLine, secret_lines};
pub use settings::{ConfigFinding, SettingChange, SettingView, anchor_finding, check_config, set_setting, settings};
pub use setup::Surveyor;
pub use status::{Attention, ConnectorStatus, Health, LastRun, PasswordStatusLine, PendingView, StatusView};
pub use support::SupportBundle;
pub use take_overs::{Overwritten, TakeOver, TakeOversView};
pub use tenant::TenantPlace;
pub use traces::Traces;
pub use views::{
    AnchorView, AttributeView, ChangeView, CsLine, CsObjectView, DeltaView, KnownAs, LineageView, MvLine, MvObjectView, ProblemView,
    RuleView, RunView, StageView, StepObjectView, StepObjectsView, StepRecordView, TargetCounts, ValueView,
};
pub use what_if::{HeldView, WhatIfObject, WhatIfView};
pub use why::{WhyAge, WhyNot, WhyOrigin, WhyRun, WhyTarget, WhyTargetAttribute, WhyView};

use crate::config::{
    Config, ConfigError, ConfigProblem, ConnectorConfig, ConnectorKind as ConfiguredKind, ConnectorSettings, LdifShape, MAIN_FILE,
};
use crate::connector::ConnectorError;
use crate::model::{ConnectorId, Names};
use crate::rules::{
    AnchorAttribute, CompileInput, ConnectorKind, ConnectorProfile, RuleFile, RuleProblem, RuleProfile, RuleSet, RuleSettings,
    SchemaExtensions, Severity, UserMatching,
};
use crate::store::{Store, StoreError, StoreOptions};
use facilities::Facilities;
use guard::export_limits;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Configuration, store and rules, ready to be used.
#[derive(Debug)]
pub struct Service {
    config: Config,
    store: Store,
    store_path: PathBuf,
    connectors: BTreeMap<ConnectorId, String>,
    /// What the rules were compiled for.
    extensions: BTreeMap<ConnectorId, SchemaExtensions>,
    rules: Result<Arc<RuleSet>, Vec<RuleProblem>>,
    facilities: Arc<Facilities>,
}

/// What the service may do to the store when it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The store must be there: for commands that only look.
    Existing,
    /// The store is made when it is not there.
    Create,
}

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store cannot be opened, read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no store yet.
    #[error("there is no store at {}", .0.display())]
    NoStore(PathBuf),
    /// The rules do not compile.
    #[error("{}", problems(.0))]
    Rules(Vec<RuleProblem>),
    /// The attribute that ties people to their cloud objects was changed.
    #[error(
        "[rules] source_anchor is '{now}', but the objects in the cloud were made with '{kept}': with another one all {objects} of them \
         would be deleted and made anew, among them {sample}; nothing is synchronized. Put '{kept}' back and run `syncline cycle start`; \
         `syncline object explain NAME` shows what somebody's anchor is made of; only a new store can start with another \
         one"
    )]
    SourceAnchor {
        /// The one of the cloud objects.
        kept: String,
        /// The one configured now.
        now: String,
        /// How many objects there are in the cloud's spaces.
        objects: u64,
        /// Some of them, by name.
        sample: String,
    },
    /// A connector cannot be used.
    #[error("connector {connector}: {source}")]
    Connector {
        /// Its name.
        connector: String,
        /// What is wrong.
        source: ConnectorError,
    },
    /// The embedded tenant cannot be started.
    #[error("the embedded tenant of connector {connector}: {message}")]
    Tenant {
        /// The connector's name.
        connector: String,
        /// What is wrong.
        message: String,
    },
    /// The engine cannot go on.
    #[error(transparent)]
    Engine(#[from] crate::engine::EngineError),
    /// A text is no expression.
    #[error("{0}")]
    Expression(crate::rules::TrialError),
    /// A file of the configuration could not be written, and is as it was.
    #[error("{} cannot be written: {reason}", .path.display())]
    SettingUnwritten {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A result could not be written to a file.
    #[error("{} cannot be written: {reason}", .path.display())]
    Unwritten {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// Something must be done first.
    #[error("{message}")]
    NotReady {
        /// What is missing.
        message: String,
        /// What to do.
        hint: String,
    },
    /// A guard keeps it from being done.
    #[error("{message}")]
    Guarded {
        /// What it guards against.
        message: String,
        /// What to do.
        hint: String,
    },
    /// The password of an account could not be sent.
    #[error("{0}")]
    NotSent(String),
    /// Something else runs, and runs follow each other.
    #[error("{0} is running, and runs follow each other")]
    Busy(String),
    /// The machine does not give what is needed: threads, random numbers, a file.
    #[error("{0}")]
    Environment(String),
    /// Somebody asked it to end before it had come to its end.
    #[error("stopped: {0}")]
    Interrupted(String),
    /// What was asked for is not there.
    #[error("{0}")]
    NotFound(String),
    /// What was asked for makes no sense.
    #[error("{0}")]
    Usage(String),
}

fn problems(problems: &[RuleProblem]) -> String {
    problems.iter().filter(|problem| problem.severity == Severity::Error).map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

impl ServiceError {
    /// The system starts no threads.
    fn no_threads(error: std::io::Error) -> Self {
        Self::Environment(format!("no threads for connections can be started: {error}"))
    }
}

impl From<ConfigProblem> for ServiceError {
    fn from(problem: ConfigProblem) -> Self {
        Self::Config(ConfigError::one(problem))
    }
}

impl Service {
    /// Opens the store of a configuration and compiles its rules. `store` wins over the configured file.
    ///
    /// # Errors
    /// When the store cannot be opened. Rules that do not compile are told by [`Self::rules`] only, so that looking at
    /// objects stays possible.
    pub fn open(config: Config, store: Option<&Path>, access: Access) -> Result<Self, ServiceError> {
        Self::open_with(config, store, access, Arc::default())
    }

    fn open_with(config: Config, store: Option<&Path>, access: Access, facilities: Arc<Facilities>) -> Result<Self, ServiceError> {
        let store_path = store.map_or_else(|| config.store.clone(), Path::to_owned);
        if access == Access::Existing && !store_path.exists() {
            return Err(ServiceError::NoStore(store_path));
        }
        let store = Store::open(&store_path, StoreOptions { cache_octets: config.limits.cache_mib.max(1) << 20 })?;
        Self::counting(config, store, store_path, facilities)
    }

    /// As [`Self::open`], for a process that does many things at once: connections use its runtime, and signals are its
    /// own affair.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_in(config: Config, store: Option<&Path>, runtime: tokio::runtime::Handle) -> Result<Self, ServiceError> {
        let facilities = Arc::new(Facilities { runtime: Some(runtime), ..Facilities::default() });
        Self::open_with(config, store, Access::Create, facilities)
    }

    /// As [`Self::open_in`], on a store that is open already: for those who lend it a disk of their own.
    ///
    /// # Errors
    /// When the store refuses.
    pub fn on_store(config: Config, store: Store, runtime: tokio::runtime::Handle) -> Result<Self, ServiceError> {
        let path = config.store.clone();
        let facilities = Arc::new(Facilities { runtime: Some(runtime), ..Facilities::default() });
        Self::counting(config, store, path, facilities)
    }

    /// The same store under another configuration, to look at: it does not count before [`Self::take_effect`].
    ///
    /// # Errors
    /// When the store refuses, or the configuration names another one.
    pub fn reconfigured(&self, config: Config) -> Result<Self, ServiceError> {
        if config.store != self.config.store {
            return Err(ServiceError::Usage(format!(
                "[store] path was changed to {}: a running service keeps its store. Restart it to use another one",
                config.store.display()
            )));
        }
        Self::with_store(config, self.store.clone(), self.store_path.clone(), Arc::clone(&self.facilities))
    }

    /// What runs now in this process.
    pub fn running(&self) -> Option<String> {
        self.facilities.turn.running()
    }

    /// From now on this configuration counts: its connectors have their numbers for good, and its limits are heeded, also by exports
    /// under way. Other work that runs goes on with the configuration before it.
    ///
    /// # Errors
    /// When the store refuses; nothing counts then that did not before.
    pub fn take_effect(&self) -> Result<(), ServiceError> {
        connectors::keep(&self.config, &self.store, &self.connectors)?;
        self.facilities.limits.set(export_limits(&self.config.guard));
        Ok(())
    }

    fn counting(config: Config, store: Store, store_path: PathBuf, facilities: Arc<Facilities>) -> Result<Self, ServiceError> {
        let service = Self::with_store(config, store, store_path, facilities)?;
        service.take_effect()?;
        Ok(service)
    }

    fn with_store(config: Config, store: Store, store_path: PathBuf, facilities: Arc<Facilities>) -> Result<Self, ServiceError> {
        let (connectors, _) = connectors::number(&config, &store.snapshot()?)?;
        let extensions = parameters::kept_extensions(&store, connectors.keys())?;
        let rules = compile_rules(&config, store.names(), &connectors, &extensions).map(Arc::new);
        Ok(Self { config, store, store_path, connectors, extensions, rules, facilities })
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The store's file.
    pub fn store_path(&self) -> &Path {
        &self.store_path
    }

    /// The connectors by number.
    pub fn connectors(&self) -> &BTreeMap<ConnectorId, String> {
        &self.connectors
    }

    /// The rules.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn rules(&self) -> Result<&RuleSet, ServiceError> {
        self.rules.as_deref().map_err(|problems| ServiceError::Rules(problems.clone()))
    }

    /// The rules, for somebody who outlives this call.
    ///
    /// # Errors
    /// As [`Self::rules`].
    pub fn shared_rules(&self) -> Result<Arc<RuleSet>, ServiceError> {
        self.rules.as_ref().map(Arc::clone).map_err(|problems| ServiceError::Rules(problems.clone()))
    }

    /// A connector by name or number.
    ///
    /// # Errors
    /// When there is none; the message lists those there are.
    pub fn connector_id(&self, name: &str) -> Result<ConnectorId, ServiceError> {
        let by_name = self.connectors.iter().find(|(_, known)| known.eq_ignore_ascii_case(name));
        let found = by_name.or_else(|| self.connectors.iter().find(|(id, _)| id.to_string() == name));
        found.map(|(id, _)| *id).ok_or_else(|| {
            let known: Vec<&str> = self.connectors.values().map(String::as_str).collect();
            ServiceError::NotFound(format!("there is no connector '{name}'; there are: {}", known.join(", ")))
        })
    }

    /// Refuses a connector under whose configuration the rules would not compile.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn would_compile(&self, changed: ConnectorConfig) -> Result<(), ServiceError> {
        let mut config = self.config.clone();
        config.connectors.retain(|known| known.name != changed.name);
        config.connectors.push(changed);
        config.connectors.sort_by(|left, right| left.file.cmp(&right.file));
        compile_rules(&config, self.store.names(), &self.connectors, &self.extensions).map(drop).map_err(ServiceError::Rules)
    }

    /// Looks at what the store holds now.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn browse(&self) -> Result<Browser<'_>, ServiceError> {
        Ok(Browser {
            snapshot: self.store.snapshot()?,
            names: self.store.names().clone(),
            connectors: &self.connectors,
            rules: self.rules.as_deref().ok(),
        })
    }

    /// Counts what the targets hold of ours.
    ///
    /// # Errors
    /// When the store cannot be read or the rules do not compile.
    pub fn target_counts(&self) -> Result<TargetCounts, ServiceError> {
        self.browse()?.count_targets(self.rules()?.targets())
    }

    /// Looks at past runs.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn history(&self) -> Result<History, ServiceError> {
        Ok(History::new(self.store.snapshot()?))
    }

    /// What rules say that is wrong or probably not meant.
    pub fn rule_problems(&self) -> Vec<RuleProblem> {
        match &self.rules {
            Ok(rules) => problems_of(&self.config, rules, &self.connectors),
            Err(problems) => problems.clone(),
        }
    }
}

/// What is allowed in rules that compile, and probably not meant: also that they leave a tenant out.
fn problems_of(config: &Config, rules: &RuleSet, connectors: &BTreeMap<ConnectorId, String>) -> Vec<RuleProblem> {
    let mut found = rules.lint().to_vec();
    found.extend(nobody_writes(config, rules, connectors));
    found
}

/// That tenants are configured to which no rule writes: they are no targets, and nothing says so but this.
fn nobody_writes(config: &Config, rules: &RuleSet, connectors: &BTreeMap<ConnectorId, String>) -> Option<RuleProblem> {
    let unwritten = |connector: &&ConnectorConfig| {
        let written = |(id, name): (&ConnectorId, &String)| *name == connector.name && rules.targets().contains(id);
        connector.kind() == ConfiguredKind::Entra && !connectors.iter().any(written)
    };
    let tenants: Vec<String> = config.connectors.iter().filter(unwritten).map(|tenant| format!("'{}'", tenant.name)).collect();
    if tenants.is_empty() {
        return None;
    }
    let (tenants, nothing) = (tenants.join(", "), rules.rules().iter().all(|rule| !rule.enabled));
    let message = if nothing {
        format!("no rule is enabled: everybody leaves the metaverse, and nothing is sent to {tenants}")
    } else {
        format!("no rule writes to {tenants}: nothing is sent there")
    };
    let hint = if config.rules.built_in {
        "see which are disabled by `syncline rule list --all`".to_owned()
    } else {
        "[rules] built_in is false: take it out, or write rules that do it into rules/".to_owned()
    };
    let file = MAIN_FILE.to_owned();
    Some(RuleProblem { severity: Severity::Warning, file, line: 0, column: 0, rule: None, message, hint: Some(hint) })
}

/// The rules of a configuration and the connectors that they speak of, without a store: numbers count from 1 in the order
/// of configuration.
///
/// # Errors
/// Everything that is wrong with the rules.
pub fn compile_configured(config: &Config) -> Result<(RuleSet, BTreeMap<ConnectorId, String>), ServiceError> {
    let numbers = (1..).map(ConnectorId);
    let connectors = numbers.zip(config.connectors.iter().map(|connector| connector.name.clone())).collect();
    let rules = compile_rules(config, &Arc::new(Names::new()), &connectors, &BTreeMap::new()).map_err(ServiceError::Rules)?;
    Ok((rules, connectors))
}

/// Compiles the rules of a configuration; `extensions` are those of the directories' schemas, as they were last told.
fn compile_rules(
    config: &Config,
    names: &Arc<Names>,
    connectors: &BTreeMap<ConnectorId, String>,
    extensions: &BTreeMap<ConnectorId, SchemaExtensions>,
) -> Result<RuleSet, Vec<RuleProblem>> {
    if !config.rules.built_in {
        refuse_idle_settings(config)?;
    }
    let mut files = if config.rules.built_in { RuleSet::default_files() } else { Vec::new() };
    files.extend(config.rule_files.iter().map(|file| RuleFile { name: file.name.clone(), text: file.text.clone() }));
    let mut profiles = Vec::with_capacity(config.connectors.len());
    for connector in &config.connectors {
        let Some(id) = connectors.iter().find(|(_, name)| **name == connector.name).map(|(id, _)| *id) else { continue };
        profiles.push(ConnectorProfile { schema: extensions.get(&id).copied().unwrap_or_default(), ..profile(id, connector) });
    }
    let settings = rule_settings(config);
    RuleSet::compile(CompileInput { files: &files, connectors: &profiles, names, settings: &settings })
}

/// Settings that only built-in rules heed mean nothing without those, and one that keeps people out must not mean nothing.
fn refuse_idle_settings(config: &Config) -> Result<(), Vec<RuleProblem>> {
    let rules = &config.rules;
    let pilot = config.connectors.iter().find(|connector| connector.selection().is_some_and(|selection| !selection.groups.is_empty()));
    let idle = [
        (rules.services.is_some(), "[rules] services".to_owned()),
        (!rules.exclude_attributes.is_empty(), "[rules] exclude_attributes".to_owned()),
        (rules.exchange_hybrid, "[rules] exchange_hybrid".to_owned()),
        (rules.profile != RuleProfile::Full, "[rules] profile".to_owned()),
        (pilot.is_some(), format!("[selection] groups of {}", pilot.map_or("", |connector| connector.name.as_str()))),
    ];
    let problems: Vec<RuleProblem> = idle
        .into_iter()
        .filter(|(set, _)| *set)
        .map(|(_, name)| RuleProblem {
            severity: Severity::Error,
            file: "settings".to_owned(),
            line: 0,
            column: 0,
            rule: None,
            message: format!("{name} is heeded by the built-in rules only, and [rules] built_in is false"),
            hint: Some("write what it means into the rules of this folder, and take the setting out".to_owned()),
        })
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// A connector as rules see it.
fn profile(id: ConnectorId, connector: &ConnectorConfig) -> ConnectorProfile {
    let kind = match (connector.kind(), &connector.settings) {
        (ConfiguredKind::Ad, _) => ConnectorKind::ActiveDirectory,
        (ConfiguredKind::Ldap, _) => ConnectorKind::OpenLdap,
        (ConfiguredKind::Entra, _) => ConnectorKind::Cloud,
        (ConfiguredKind::Ldif, ConnectorSettings::Ldif(file)) => match file.shape {
            Some(LdifShape::Ldap) => ConnectorKind::OpenLdap,
            Some(LdifShape::Ad) => ConnectorKind::ActiveDirectory,
            None => ConnectorKind::Ldif,
        },
        (ConfiguredKind::Ldif, _) => ConnectorKind::Ldif,
    };
    let pilot_groups = connector.selection().map(|selection| selection.groups.clone()).unwrap_or_default();
    let (left_attributes, recalled_attributes) =
        connector.selection().map(|table| (table.exclude_attributes.clone(), table.recall_attributes.clone())).unwrap_or_default();
    ConnectorProfile { pilot_groups, left_attributes, recalled_attributes, ..ConnectorProfile::new(id, connector.name.clone(), kind) }
}

fn rule_settings(config: &Config) -> RuleSettings {
    let rules = &config.rules;
    let anchor_attribute = match rules.source_anchor.as_str() {
        anchor if anchor.eq_ignore_ascii_case("objectGUID") => AnchorAttribute::ObjectGuid,
        anchor if anchor.eq_ignore_ascii_case("mS-DS-ConsistencyGuid") => AnchorAttribute::ConsistencyGuid,
        anchor => AnchorAttribute::Attribute(anchor.to_owned()),
    };
    let user_matching = match rules.user_matching.as_str() {
        "once" => UserMatching::Once,
        "mail" => UserMatching::Mail,
        "object-sid" => UserMatching::ObjectSid,
        "account-name" => UserMatching::AccountName,
        attribute => UserMatching::Attribute(attribute.to_owned()),
    };
    RuleSettings {
        anchor_attribute,
        user_matching,
        group_members_max: rules.group_members_max,
        services: rules.services.clone(),
        excluded_attributes: rules.exclude_attributes.clone(),
        exchange_hybrid: rules.exchange_hybrid,
        profile: rules.profile,
    }
}
