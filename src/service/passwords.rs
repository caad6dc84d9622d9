//! Password hash synchronization: which directories take part, the agent between them and the tenant, and its switch.

use super::facilities::{TenantLease, TenantPool};
use super::journal::Journal;
use super::tenancy::Purpose;
use super::tenant::TenantPlace;
use super::wiring::password_source;
use super::{Service, ServiceError, cloud};
use crate::config::{ConnectorConfig, ConnectorSettings, set_key};
use crate::connector::entra::signs_in;
use crate::connector::{PasswordFeatures, PasswordTarget};
use crate::context::Context;
use crate::model::{ConnectorId, CsId, quoted};
use crate::password::agent::{self, Agent, AgentSettings, CycleKind, CycleReport, Pair, PushError};
use crate::password::report::{AccountStatus, Coverage, Overwritten, PairStatus, Uncovered, Views};
use crate::rules::RuleProfile;
use crate::store::{PasswordStatus, StoreError};
use secrecy::SecretString;
use serde::Serialize;
use std::sync::Arc;

/// The table of a connector's file that the switch is in, and its key.
const TABLE: &str = "password_hash_sync";
const SWITCH: &str = "enabled";

/// The agent with everything that was started for it.
pub(super) struct PasswordCrew {
    pub(super) agent: Agent,
    journal: Arc<Journal>,
    pub(super) target: Arc<dyn PasswordTarget>,
    tenant: Option<TenantLease>,
}

impl PasswordCrew {
    /// Writes what was told, and gives the tenant back.
    async fn dismiss(self, tenants: &TenantPool) {
        let Self { agent, journal, target, tenant } = self;
        drop((agent, target));
        journal.flush();
        if let Some(tenant) = tenant {
            tenants.give_back(tenant).await;
        }
    }
}

/// What switching password synchronization on came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PasswordSwitch {
    /// The directory.
    pub source: String,
    /// The tenant.
    pub target: String,
    /// The switch in the directory's file was turned; false: it stood so already.
    pub configured: bool,
    /// The switch in the tenant was turned; false: it stood so already, or is left alone.
    pub tenant_switched: bool,
    /// The first full synchronization of both sides has not completed: the agent waits for it (event 613).
    pub waits: bool,
    /// This installation is in staging mode: nothing is sent before it is active.
    pub staging: bool,
    /// What keeps the passwords of the directory from being read now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

impl Service {
    /// People get passwords and nothing else.
    pub(super) fn password_only(&self) -> bool {
        self.config.rules.profile == RuleProfile::PasswordOnly
    }

    /// The directories whose password hashes are synchronized.
    pub fn password_sources(&self) -> Vec<ConnectorId> {
        self.switched(|switch| switch == Some(true))
    }

    pub(super) fn switched(&self, wanted: impl Fn(Option<bool>) -> bool) -> Vec<ConnectorId> {
        let configs = self.config.connectors.iter().filter(|config| wanted(switch(config)));
        configs.filter_map(|config| self.connector_id(&config.name).ok()).collect()
    }

    /// The tenant that passwords go to: the first connector of kind `entra`.
    ///
    /// # Errors
    /// When there is none.
    pub fn password_target(&self) -> Result<ConnectorId, ServiceError> {
        let cloud = self.config.connectors.iter().find(|config| matches!(config.settings, ConnectorSettings::Entra(_)));
        let cloud = cloud.ok_or_else(|| ServiceError::NotReady {
            message: "no connector of kind \"entra\" is configured that passwords could go to".to_owned(),
            hint: "`syncline init` writes one; docs/guide/entra.md says what the tenant needs".to_owned(),
        })?;
        self.connector_id(&cloud.name)
    }

    /// The directory that somebody means by a name, or the only one that can be meant.
    ///
    /// # Errors
    /// When it has no passwords, or several can be meant.
    fn password_source_named(&self, name: Option<&str>, on: Option<bool>) -> Result<ConnectorId, ServiceError> {
        if let Some(name) = name {
            let id = self.connector_id(name)?;
            let known = self.config_of(id).and_then(switch);
            return known
                .map(|_| id)
                .ok_or_else(|| ServiceError::Usage(format!("{name} has no password hashes: directories of kind ad and ldif have")));
        }
        // What is on can be switched off; whoever switches on must name it, where there is a choice.
        let on = if on == Some(true) { self.password_sources() } else { Vec::new() };
        let candidates = if on.is_empty() { self.switched(|switch| switch.is_some()) } else { on };
        match candidates.as_slice() {
            [one] => Ok(*one),
            [] => Err(ServiceError::NotReady {
                message: "no directory with password hashes is configured".to_owned(),
                hint: "directories of kind ad and ldif have them: `syncline init` writes one".to_owned(),
            }),
            several => {
                let names: Vec<&str> = several.iter().filter_map(|id| self.connectors.get(id)).map(String::as_str).collect();
                Err(ServiceError::Usage(format!("name one of the directories: {}", names.join(", "))))
            }
        }
    }

    fn config_of(&self, id: ConnectorId) -> Option<&ConnectorConfig> {
        self.connectors.get(&id).and_then(|name| self.config.connector(name))
    }

    pub(super) fn name_of(&self, id: ConnectorId) -> String {
        self.connectors.get(&id).cloned().unwrap_or_default()
    }

    /// Starts the tenant, unless it runs already, and makes an agent for directories.
    pub(super) async fn password_crew(&self, cx: &Context, sources: &[ConnectorId]) -> Result<PasswordCrew, ServiceError> {
        let rules = self.shared_rules()?;
        let target = self.password_target()?;
        let config = self.config_of(target).ok_or_else(|| ServiceError::NotFound("the tenant is not configured".to_owned()))?;
        let ConnectorSettings::Entra(file) = &config.settings else {
            return Err(ServiceError::Usage(format!("{} is no tenant", config.name)));
        };
        let started = if file.is_embedded() {
            Some(self.facilities.tenants.take(&config.name, file, self.password_only(), TenantPlace::Here, cx).await?)
        } else {
            None
        };
        let names = Arc::clone(self.store.names());
        let running = started.as_ref().map(TenantLease::tenant);
        let sender: Arc<dyn PasswordTarget> = Arc::new(self.cloud(config, file, running, names, Purpose::Looks)?);
        let mut pairs = Vec::with_capacity(sources.len());
        for source in sources {
            let Some(config) = self.config_of(*source) else { continue };
            pairs.push(Pair {
                source: *source,
                source_name: config.name.clone(),
                reader: password_source(config, &self.config.secrets, self.store.names(), self.sign_ins(), false)?,
                target,
                target_name: self.name_of(target),
                sender: Arc::clone(&sender),
            });
        }
        let journal = Arc::new(self.journal());
        let agent = Agent::new(AgentSettings {
            store: self.store.clone(),
            rules,
            parameters: self.kept_parameters(cx.now())?,
            pairs,
            staging: self.config.guard.staging,
            installation: Some(self.installation()?),
            turn: self.facilities.passwords.turn.clone(),
            events: journal.clone(),
        });
        Ok(PasswordCrew { agent, journal, target: sender, tenant: started })
    }

    /// Lends an agent to some work.
    pub(super) fn with_agent<T>(
        &self,
        cx: &Context,
        sources: &[ConnectorId],
        work: impl AsyncFnOnce(&PasswordCrew) -> Result<T, ServiceError>,
    ) -> Result<T, ServiceError> {
        self.with_runtime(cx, async || {
            let crew = self.password_crew(cx, sources).await?;
            let done = work(&crew).await;
            crew.dismiss(&self.facilities.tenants).await;
            done
        })
    }

    /// Reads and sends what changed, once; with `full` every account in scope of these directories once more. `waits` is called when
    /// that begins behind what the agent of this process is doing.
    ///
    /// # Errors
    /// When the agent cannot be set up or the store refuses. What goes wrong with a directory or the tenant is in the report.
    pub fn password_cycle(&self, cx: &Context, connector: Option<&str>, full: bool, waits: impl Fn()) -> Result<CycleReport, ServiceError> {
        let sources = self.enabled_sources()?;
        let asked = connector.map(|name| self.enabled_source(name)).transpose()?;
        if full {
            for source in sources.iter().filter(|source| asked.is_none_or(|asked| asked == **source)) {
                agent::request_full(&self.store, *source, cx.now())?;
            }
        }
        // All of them take part: of several accounts of one person, the rank decides across directories.
        self.with_agent(cx, &sources, async |crew| {
            self.tell_of_wait(&waits);
            Ok(crew.agent.cycle(cx, CycleKind::Changes).await?)
        })
    }

    /// The end of a cycle of runs: passwords of accounts that it brought to the tenant. Nothing when no directory takes part.
    pub(super) async fn passwords_behind_cycle(&self, cx: &Context) -> Result<Option<CycleReport>, ServiceError> {
        let sources = self.password_sources();
        if sources.is_empty() || cx.cancelled() || self.facilities.passwords.wake() {
            return Ok(None);
        }
        let crew = self.password_crew(cx, &sources).await?;
        let report = crew.agent.cycle(cx, CycleKind::Changes).await;
        crew.dismiss(&self.facilities.tenants).await;
        Ok(Some(report?))
    }

    /// Reads and sends what changed every two minutes, until told to stop.
    ///
    /// # Errors
    /// When the agent cannot be set up.
    pub fn run_password_agent(&self, cx: &Context) -> Result<(), ServiceError> {
        let sources = self.enabled_sources()?;
        self.with_agent(cx, &sources, async |crew| {
            // Cycles of this process wake it; those of others wait until this one ends.
            self.facilities.passwords.run(async |wake| crew.agent.run(cx, wake).await).await;
            Ok(())
        })
    }

    fn tell_of_wait(&self, waits: impl Fn()) {
        if self.facilities.passwords.turn.is_taken() {
            waits();
        }
    }

    /// Sends the password of one account now. `waits` is called when that begins behind what the agent of this process is doing.
    ///
    /// # Errors
    /// When the agent cannot be set up, or the account could not be sent; the message says why.
    pub fn push_password(&self, cx: &Context, account: CsId, waits: impl Fn()) -> Result<PasswordStatus, ServiceError> {
        let sources = self.enabled_sources()?;
        self.with_agent(cx, &sources, async |crew| {
            self.tell_of_wait(&waits);
            crew.agent.push(cx, account).await.map_err(|error| match error {
                PushError::Store(error) => ServiceError::Store(error),
                other => ServiceError::NotSent(other.to_string()),
            })
        })
    }

    /// What the tenant has switched on.
    ///
    /// # Errors
    /// When there is no tenant, or it does not answer.
    pub fn password_features(&self, cx: &Context) -> Result<PasswordFeatures, ServiceError> {
        self.with_agent(cx, &[], async |crew| self.features(cx, crew).await)
    }

    async fn features(&self, cx: &Context, crew: &PasswordCrew) -> Result<PasswordFeatures, ServiceError> {
        let connector = self.name_of(self.password_target()?);
        crew.target.features(cx).await.map_err(|source| ServiceError::Connector { connector, source })
    }

    /// Switches password synchronization on: in the tenant, and in a directory's file. A full password synchronization is
    /// asked for, unless everything was on already; no object is synchronized again. With `what_if` nothing is changed.
    ///
    /// # Errors
    /// When there is no tenant, directory synchronization is off in it, or the file cannot be written.
    pub fn enable_passwords(&self, cx: &Context, connector: Option<&str>, what_if: bool) -> Result<PasswordSwitch, ServiceError> {
        let target = self.password_target()?;
        let source = self.password_source_named(connector, Some(false))?;
        let config = self.config_of(source).ok_or_else(|| ServiceError::NotFound("the directory is not configured".to_owned()))?;
        // What cannot work at all is not switched on; what does not work now is told.
        let reader = password_source(config, &self.config.secrets, self.store.names(), self.sign_ins(), false)?;
        let (configured, tenant_switched, problems) = self.with_agent(cx, &[], async |crew| {
            let checks = reader.diagnose(cx).await;
            let problems: Vec<String> =
                checks.into_iter().filter(|check| !check.good).map(|check| format!("{}: {}", check.what, check.evidence)).collect();
            let features = self.features(cx, crew).await?;
            if !features.synchronization {
                return Err(ServiceError::NotReady {
                    message: "directory synchronization is off in the tenant, so it takes no passwords".to_owned(),
                    hint: "a Hybrid Identity Administrator switches it on once (docs/guide/entra.md, \"What the tenant needs\")".to_owned(),
                });
            }
            let off = self.turn(source, true, true)? || !features.password_hashes;
            if off && !what_if {
                // First of all: a switch that is on without it would leave those out who changed nothing since.
                agent::request_full(&self.store, source, cx.now())?;
            }
            // Then the file: where that fails nothing is half on.
            let configured = self.turn(source, true, what_if)?;
            if !features.password_hashes && !what_if {
                let connector = self.name_of(target);
                crew.target.set_enabled(cx, true).await.map_err(|source| ServiceError::Connector { connector, source })?;
            }
            Ok((configured, !features.password_hashes, problems))
        })?;
        let snapshot = self.store.snapshot()?;
        let ready =
            crate::engine::password::is_synchronized(&snapshot, source)? && crate::engine::password::is_synchronized(&snapshot, target)?;
        Ok(PasswordSwitch {
            source: self.name_of(source),
            target: self.name_of(target),
            configured,
            tenant_switched,
            waits: !ready,
            staging: self.config.guard.staging,
            problems,
        })
    }

    /// Switches password synchronization off for a directory. The tenant's switch stays: what was sent goes on working.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn disable_passwords(&self, connector: Option<&str>, what_if: bool) -> Result<PasswordSwitch, ServiceError> {
        let target = self.password_target()?;
        let source = self.password_source_named(connector, Some(true))?;
        let configured = self.turn(source, false, what_if)?;
        let others = self.password_sources().into_iter().any(|other| other != source);
        if !what_if && !others {
            self.forget_password_changes()?;
        }
        Ok(PasswordSwitch {
            source: self.name_of(source),
            target: self.name_of(target),
            configured,
            tenant_switched: false,
            waits: false,
            staging: self.config.guard.staging,
            problems: Vec::new(),
        })
    }

    /// Ends noting whose password may be due, when no directory's passwords are synchronized.
    ///
    /// # Errors
    /// When the store refuses.
    pub fn forget_password_changes(&self) -> Result<(), ServiceError> {
        Ok(agent::unwatch(&self.store)?)
    }

    fn turn(&self, source: ConnectorId, on: bool, what_if: bool) -> Result<bool, ServiceError> {
        let config = self.config_of(source).ok_or_else(|| ServiceError::NotFound("the directory is not configured".to_owned()))?;
        if what_if {
            return Ok(switch(config) != Some(on));
        }
        Ok(set_key(&self.config.folder, &config.file, TABLE, SWITCH, on)?)
    }

    /// True when the embedded tenant lets somebody in with a password, asked over HTTP as any client would.
    ///
    /// # Errors
    /// When the tenant is elsewhere, or does not answer.
    pub fn sign_in(&self, cx: &Context, user: &str, password: &SecretString) -> Result<bool, ServiceError> {
        let target = self.password_target()?;
        let connector = self.name_of(target);
        let Some(ConnectorSettings::Entra(file)) = self.config_of(target).map(|config| &config.settings) else {
            return Err(ServiceError::NotFound("the tenant is not configured".to_owned()));
        };
        if !file.is_embedded() {
            return Err(ServiceError::Usage(format!("{connector} is elsewhere, and passwords are tried at an embedded tenant only")));
        }
        self.with_runtime(cx, async || {
            let lease = self.facilities.tenants.take(&connector, file, self.password_only(), TenantPlace::Here, cx).await?;
            let tenant = lease.tenant();
            let id = tenant.credentials().tenant_id.to_string();
            let outcome = signs_in(tenant.base_url(), &id, cloud::PUBLIC_CLIENT, user, password).await;
            self.facilities.tenants.give_back(lease).await;
            outcome.map_err(|source| ServiceError::Connector { connector: connector.clone(), source })
        })
    }

    fn enabled_sources(&self) -> Result<Vec<ConnectorId>, ServiceError> {
        let sources = self.password_sources();
        if sources.is_empty() {
            return Err(ServiceError::NotReady {
                message: "password synchronization is off for every directory".to_owned(),
                hint: "`syncline phs enable` switches it on".to_owned(),
            });
        }
        Ok(sources)
    }

    fn enabled_source(&self, name: &str) -> Result<ConnectorId, ServiceError> {
        let source = self.password_source_named(Some(name), None)?;
        if self.password_sources().contains(&source) {
            return Ok(source);
        }
        Err(ServiceError::NotReady {
            message: format!("password synchronization is off for {name}"),
            hint: format!("`syncline phs enable {}` switches it on", quoted(name)),
        })
    }
}

/// How password synchronization of one directory stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PasswordStanding {
    /// The directory.
    pub name: String,
    /// It is on; false: what follows is of the time when it was.
    pub enabled: bool,
    /// How the agent does, or did.
    #[serde(flatten)]
    pub status: PairStatus,
}

impl Service {
    /// Answers questions about passwords, for all directories that could take part or for those that do.
    fn ask<T>(
        &self,
        cx: &Context,
        sources: &[ConnectorId],
        question: impl FnOnce(Views<'_>) -> Result<T, StoreError>,
    ) -> Result<T, ServiceError> {
        let target = self.password_target()?;
        let run = self.kept_parameters(cx.now())?;
        let pairs = sources.iter().map(|source| (*source, target)).collect();
        Ok(question(Views { store: &self.store, rules: self.rules()?, run: &run, pairs: &pairs })?)
    }

    /// How password synchronization stands, of each directory that has passwords, also where it is off.
    ///
    /// # Errors
    /// When there is no tenant, or the store cannot be read.
    pub fn password_status(&self, cx: &Context) -> Result<Vec<PasswordStanding>, ServiceError> {
        self.password_standings(cx, |views| views.agent())
    }

    /// The same without counts of accounts, for those who ask again and again.
    ///
    /// # Errors
    /// As [`Self::password_status`].
    pub(super) fn password_status_uncounted(&self, cx: &Context) -> Result<Vec<PasswordStanding>, ServiceError> {
        self.password_standings(cx, |views| views.agent_uncounted())
    }

    fn password_standings(
        &self,
        cx: &Context,
        question: impl FnOnce(Views<'_>) -> Result<Vec<PairStatus>, StoreError>,
    ) -> Result<Vec<PasswordStanding>, ServiceError> {
        let (on, all) = (self.password_sources(), self.switched(|switch| switch.is_some()));
        let pairs = self.ask(cx, &all, question)?;
        let standing = |pair: PairStatus| {
            let source = ConnectorId(pair.source);
            PasswordStanding { name: self.name_of(source), enabled: on.contains(&source), status: pair }
        };
        Ok(pairs.into_iter().map(standing).collect())
    }

    /// How the password of one account stands.
    ///
    /// # Errors
    /// When there is no such object, or the store cannot be read.
    pub fn password_of(&self, cx: &Context, account: CsId) -> Result<AccountStatus, ServiceError> {
        let status = self.ask(cx, &self.password_sources(), |views| views.account(account))?;
        status.ok_or_else(|| ServiceError::NotFound(format!("there is no object {account}")))
    }

    /// How many accounts have a confirmed password, and what the others lack.
    ///
    /// # Errors
    /// When password synchronization is off everywhere, or the store cannot be read.
    pub fn password_coverage(&self, cx: &Context, domain: Option<&str>) -> Result<Coverage, ServiceError> {
        self.ask(cx, &self.enabled_sources()?, |views| views.coverage(domain))
    }

    /// The accounts that take part and whose present password the tenant does not have, all or those of one reason.
    ///
    /// # Errors
    /// When password synchronization is off everywhere, or the store cannot be read.
    pub fn passwords_missing(&self, cx: &Context, domain: Option<&str>, reason: Option<&str>) -> Result<Vec<Uncovered>, ServiceError> {
        self.ask(cx, &self.enabled_sources()?, |views| views.uncovered(domain, reason))
    }

    /// The people whose password in the tenant switching on would overwrite.
    ///
    /// # Errors
    /// When there is no such directory or no tenant, or the store cannot be read.
    pub fn passwords_overwritten(&self, cx: &Context, connector: Option<&str>) -> Result<Vec<Overwritten>, ServiceError> {
        let source = self.password_source_named(connector, Some(false))?;
        let mut sources = self.password_sources();
        sources.push(source);
        self.ask(cx, &sources, |views| views.overwritten(source))
    }
}

/// The switch of a directory; `None` where there is none.
pub(super) fn switch(config: &ConnectorConfig) -> Option<bool> {
    match &config.settings {
        ConnectorSettings::Ldif(file) => Some(file.password_hash_sync.enabled),
        ConnectorSettings::Ad(file) => Some(file.password_hash_sync.enabled),
        ConnectorSettings::Ldap(_) | ConnectorSettings::Entra(_) => None,
    }
}
