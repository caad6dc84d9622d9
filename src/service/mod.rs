//! Wires configuration, store, rules, connectors and engine together. Commands call it and get plain views back.
//!
//! Nothing here decides anything about identities, and nothing here knows a terminal.

mod anchors;
mod browse;
mod cloud;
mod compare;
mod connectors;
mod drive;
mod explain;
mod history;
mod parameters;
mod tenant;
mod views;
mod what_if;
mod wiring;

pub use crate::engine::export::DeleteSet;
pub use crate::engine::run::{Profile, Standing};
pub use anchors::{AnchorForms, NoAnchor, convert_anchor};
pub use browse::{AttributeFilter, Browser, CsQuery, Found, MvQuery};
pub use compare::{CompareError, compare};
pub use connectors::ConnectorLine;
pub use drive::{DriveOptions, Work};
pub use explain::{Explanation, ExplanationStep, StepOutcome};
pub use history::History;
pub use tenant::TenantPlace;
pub use views::{
    AnchorView, AttributeView, ChangeView, CsLine, CsObjectView, DeltaView, KnownAs, LineageView, MvLine, MvObjectView, ProblemView,
    RuleView, RunView, StageView, StepObjectView, StepObjectsView, StepRecordView, TargetCounts, ValueView,
};
pub use what_if::{WhatIfObject, WhatIfView};

use crate::config::{Config, ConfigError, ConfigProblem, ConnectorKind as ConfiguredKind, ConnectorSettings, LdifShape};
use crate::connector::ConnectorError;
use crate::model::{ConnectorId, Names};
use crate::rules::{
    AnchorAttribute, CompileInput, ConnectorKind, ConnectorProfile, Direction, LinkType, RuleFile, RuleProblem, RuleSet, RuleSettings,
    Severity, UserMatching,
};
use crate::store::{Store, StoreError, StoreOptions};
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
    rules: Result<RuleSet, Vec<RuleProblem>>,
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
        "[rules] source_anchor is '{now}', but the objects in the cloud were made with '{kept}': with another one all of them would be \
         deleted and made anew. Put '{kept}' back; only a new store can start with another anchor"
    )]
    SourceAnchor {
        /// The one of the cloud objects.
        kept: String,
        /// The one configured now.
        now: String,
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
        let store_path = store.map_or_else(|| config.store.clone(), Path::to_owned);
        if access == Access::Existing && !store_path.exists() {
            return Err(ServiceError::NoStore(store_path));
        }
        let store = Store::open(&store_path, StoreOptions { cache_octets: config.limits.cache_mib.max(1) << 20 })?;
        let connectors = connectors::number(&config, &store)?;
        let rules = compile_rules(&config, store.names(), &connectors);
        Ok(Self { config, store, store_path, connectors, rules })
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
        self.rules.as_ref().map_err(|problems| ServiceError::Rules(problems.clone()))
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

    /// Looks at what the store holds now.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn browse(&self) -> Result<Browser<'_>, ServiceError> {
        Ok(Browser {
            snapshot: self.store.snapshot()?,
            names: self.store.names().clone(),
            connectors: &self.connectors,
            rules: self.rules.as_ref().ok(),
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

    /// The rules as lists show them, enabled ones by precedence first.
    ///
    /// # Errors
    /// When the rules do not compile.
    pub fn rule_list(&self) -> Result<Vec<RuleView>, ServiceError> {
        let rules = self.rules()?;
        let names = self.store.names();
        let view = |rule: &crate::rules::SyncRule| RuleView {
            precedence: rule.precedence,
            name: rule.name.clone(),
            direction: match rule.direction {
                Direction::Inbound => "inbound",
                Direction::Outbound => "outbound",
            },
            connector: self.connectors.get(&rule.connector).cloned().unwrap_or_default(),
            cs_type: names.object_type_name(rule.cs_type).to_string(),
            mv_type: rule.mv_type.map_or_else(|| "*".to_owned(), |kind| names.object_type_name(kind).to_string()),
            link: match rule.link {
                LinkType::Join => "join",
                LinkType::StickyJoin => "sticky-join",
                LinkType::Provision => "provision",
            },
            flows: rule.flows.len(),
            enabled: rule.enabled,
            origin: rule.origin.clone(),
        };
        Ok(rules.rules().iter().chain(rules.disabled_rules()).map(view).collect())
    }

    /// What rules say that is wrong or probably not meant.
    pub fn rule_problems(&self) -> Vec<RuleProblem> {
        match &self.rules {
            Ok(rules) => rules.lint().to_vec(),
            Err(problems) => problems.clone(),
        }
    }
}

fn compile_rules(config: &Config, names: &Arc<Names>, connectors: &BTreeMap<ConnectorId, String>) -> Result<RuleSet, Vec<RuleProblem>> {
    let mut files = RuleSet::default_files();
    files.extend(config.rule_files.iter().map(|file| RuleFile { name: file.name.clone(), text: file.text.clone() }));
    let profiles: Vec<ConnectorProfile> = config
        .connectors
        .iter()
        .filter_map(|connector| {
            let id = connectors.iter().find(|(_, name)| **name == connector.name).map(|(id, _)| *id)?;
            let kind = match (connector.kind(), &connector.settings) {
                (ConfiguredKind::Ad, _) => ConnectorKind::ActiveDirectory,
                (ConfiguredKind::Ldap, _) => ConnectorKind::OpenLdap,
                (ConfiguredKind::Entra, _) => ConnectorKind::Cloud,
                (ConfiguredKind::Ldif, ConnectorSettings::Ldif(file)) if file.shape == Some(LdifShape::Ldap) => ConnectorKind::OpenLdap,
                (ConfiguredKind::Ldif, ConnectorSettings::Ldif(file)) if file.shape == Some(LdifShape::Ad) => {
                    ConnectorKind::ActiveDirectory
                }
                (ConfiguredKind::Ldif, _) => ConnectorKind::Ldif,
            };
            Some(ConnectorProfile { id, name: connector.name.clone(), kind, attributes: None, parameters: Vec::new() })
        })
        .collect();
    let settings = rule_settings(config);
    RuleSet::compile(CompileInput { files: &files, connectors: &profiles, names, settings: &settings })
}

fn rule_settings(config: &Config) -> RuleSettings {
    let anchor_attribute = match config.rules.source_anchor.as_str() {
        anchor if anchor.eq_ignore_ascii_case("objectGUID") => AnchorAttribute::ObjectGuid,
        anchor if anchor.eq_ignore_ascii_case("mS-DS-ConsistencyGuid") => AnchorAttribute::ConsistencyGuid,
        anchor => AnchorAttribute::Attribute(anchor.to_owned()),
    };
    let user_matching = match config.rules.user_matching.as_str() {
        "once" => UserMatching::Once,
        "mail" => UserMatching::Mail,
        "object-sid" => UserMatching::ObjectSid,
        "account-name" => UserMatching::AccountName,
        attribute => UserMatching::Attribute(attribute.to_owned()),
    };
    RuleSettings { anchor_attribute, user_matching, group_members_max: config.rules.group_members_max }
}
