//! Active or staging, and becoming the active one: what is checked before, and taking over from another installation
//! (specification: sync engine, section 5.6).

use super::facilities::TenantLease;
use super::guard::export_limits;
use super::installation::InstallationView;
use super::status::last_run;
use super::tenancy::Purpose;
use super::tenant::TenantPlace;
use super::{Service, ServiceError};
use crate::config::{ConnectorSettings, MAIN_FILE, set_key};
use crate::connector::{Connector, ExportTerms, LastWriter};
use crate::context::Context;
use crate::engine::active;
use crate::engine::export::{ExportSummary, known_terms};
use crate::engine::run::severity;
use crate::model::{ConnectorId, Timestamp};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

/// The table and the key of the main file.
const TABLE: &str = "guard";
const STAGING: &str = "staging";
/// What is older is no basis for taking over, unless cycles are further apart than that.
const FRESH: Duration = Duration::from_hours(3);
/// The newest runs that are looked at.
const RUNS: usize = 200;

/// Active or staging, and who writes to the targets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModeView {
    /// `active` or `staging`, by the configuration.
    pub mode: &'static str,
    /// This installation.
    pub installation: InstallationView,
    /// Target by target.
    pub targets: Vec<TargetMode>,
}

/// Who writes to a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TargetMode {
    /// Its name.
    pub connector: String,
    /// Who wrote last, as the target tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_writer: Option<InstallationView>,
    /// Who keeps this installation from writing, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rival: Option<String>,
    /// Why the target could not be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreachable: Option<String>,
}

/// What becoming the active installation comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PromotionView {
    /// What was checked.
    pub checks: Vec<PromotionCheck>,
    /// Nothing speaks against it.
    pub ready: bool,
    /// The installations that it takes over from, in a sentence each.
    pub takes_over_from: Vec<String>,
    /// Target by target the objects there that are joined to nobody here. Nothing that runs by itself deletes them.
    pub not_joined: Vec<NotJoined>,
    /// It is done; false: only looked at, or refused.
    pub promoted: bool,
}

/// Synchronized objects of a target that this installation did not make and did not join.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotJoined {
    /// The target's name.
    pub connector: String,
    /// How many; nothing where the target was not imported yet.
    pub objects: Option<u64>,
    /// What shows them, or brings them in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// One check before a promotion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PromotionCheck {
    /// What was looked at.
    pub what: &'static str,
    /// It is as it should be.
    pub good: bool,
    /// What was found.
    pub found: String,
    /// What to do when it is not good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// What to do with the mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promotion {
    /// Take over from another installation that is active.
    pub takeover: bool,
    /// Look and change nothing.
    pub what_if: bool,
}

/// A target that was asked.
pub(super) struct Asked {
    pub(super) id: ConnectorId,
    pub(super) name: String,
    /// The way to it, when it answered.
    pub(super) connector: Option<Arc<dyn Connector>>,
    /// What it said.
    pub(super) terms: Option<ExportTerms>,
    rival: Option<active::Rival>,
    /// Why it did not answer.
    pub(super) failure: Option<String>,
}

impl Service {
    /// Active or staging, and who writes to the targets. Asks them; who cannot be asked is told as such.
    ///
    /// # Errors
    /// When the store cannot be read or the rules do not compile.
    pub fn mode(&self, cx: &Context) -> Result<ModeView, ServiceError> {
        let asked = self.with_targets(cx, async |asked| Ok(asked.iter().map(TargetMode::of).collect()))?;
        Ok(ModeView {
            mode: if self.config.guard.staging { "staging" } else { "active" },
            installation: InstallationView::of(&self.installation()?),
            targets: asked,
        })
    }

    /// Makes this installation only watch: nothing is exported from the next step on. False: it did so already.
    ///
    /// # Errors
    /// When the configuration cannot be written.
    pub fn rest(&self) -> Result<bool, ServiceError> {
        Ok(set_key(&self.config.folder, &self.config.folder.join(MAIN_FILE), TABLE, STAGING, true)?)
    }

    /// Makes this installation export, unless another one does. False: it did so already.
    ///
    /// # Errors
    /// When another installation is active, a target cannot be asked, or the configuration cannot be written.
    pub fn activate(&self, cx: &Context) -> Result<bool, ServiceError> {
        self.with_targets(cx, async |asked| match asked.iter().find_map(Asked::hindrance) {
            Some(reason) => Err(ServiceError::Guarded {
                message: format!("{reason}; nothing was changed"),
                hint: "`syncline promote --takeover` makes this installation the active one; the other one stops by itself".to_owned(),
            }),
            None => Ok(()),
        })?;
        Ok(set_key(&self.config.folder, &self.config.folder.join(MAIN_FILE), TABLE, STAGING, false)?)
    }

    /// Makes this installation the active one, after looking whether it is fit for that.
    ///
    /// # Errors
    /// When the store cannot be read, or what was begun cannot be finished. A check that failed is in the view.
    pub fn promote(&self, cx: &Context, promotion: Promotion) -> Result<PromotionView, ServiceError> {
        let mut checks = self.fitness(cx)?;
        let not_joined = self.not_joined()?;
        self.with_targets(cx, async |asked| {
            for target in asked {
                checks.push(target.check(promotion.takeover));
            }
            let ready = checks.iter().all(|check| check.good);
            let rivals = asked.iter().filter_map(|target| target.rival.as_ref().map(|rival| format!("{}: {rival}", target.name)));
            let view =
                PromotionView { ready, takes_over_from: rivals.collect(), not_joined, promoted: ready && !promotion.what_if, checks };
            if view.promoted {
                // First, for it may fail, and then nobody would export. Until the other one is told, it keeps this one from writing.
                set_key(&self.config.folder, &self.config.folder.join(MAIN_FILE), TABLE, STAGING, false)?;
                for target in asked {
                    let Some(connector) = &target.connector else { continue };
                    active::take_over(&self.store, target.id, connector, target.last_writer(), cx).await?;
                }
            }
            Ok(view)
        })
    }

    /// What this installation knows is new enough, and what it would do is within the limits.
    fn fitness(&self, cx: &Context) -> Result<Vec<PromotionCheck>, ServiceError> {
        let now = cx.now();
        let most = FRESH.max(self.schedule().effective_interval() * 2);
        let fresh = |at: i64| now.since(Timestamp(at)) <= most;
        let succeeded = self.scheduler_memory()?.last_read();
        let mut checks = vec![PromotionCheck {
            what: "the last cycle",
            good: succeeded.is_some_and(fresh),
            found: succeeded.map_or_else(|| "no cycle has come to its end".to_owned(), |at| format!("began at {}", Timestamp(at))),
            command: Some("syncline cycle start".to_owned()),
        }];
        let runs = self.history()?.runs(RUNS)?;
        let targets = self.rules()?.targets();
        for name in self.connectors.values() {
            let last = last_run(&runs, name, false);
            let good = last.as_ref().is_some_and(|run| {
                let started = run.started.parse::<jiff::Timestamp>();
                severity(&run.result) < 3 && started.is_ok_and(|started| fresh(started.as_microsecond()))
            });
            checks.push(PromotionCheck {
                what: "the last import",
                good,
                found: last.map_or_else(|| format!("{name} was never read"), |run| format!("{name}: {} at {}", run.result, run.started)),
                command: Some("syncline cycle start".to_owned()),
            });
        }
        let (snapshot, guard) = (self.store.snapshot()?, &self.config.guard);
        for target in targets {
            let (summary, terms) = (ExportSummary::of(&snapshot, *target)?, known_terms(&snapshot, *target)?);
            let limit = summary.delete_limit(&snapshot, *target, &export_limits(guard), &terms)?;
            let name = self.name_of(*target);
            checks.push(PromotionCheck {
                what: "the deletes that wait",
                good: limit.is_none_or(|limit| summary.deletes <= limit),
                found: format!(
                    "{name}: waiting: {}, allowed: {}; beside them adds: {}, updates: {}, renames: {}",
                    summary.deletes,
                    limit.map_or_else(|| "any number".to_owned(), |limit| limit.to_string()),
                    summary.adds,
                    summary.updates,
                    summary.renames
                ),
                command: Some(format!("syncline export '{name}' --what-if")),
            });
        }
        for check in &mut checks {
            check.command.take_if(|_| check.good);
        }
        Ok(checks)
    }

    /// What the targets hold of what nobody here stands behind. A store that is new knows nobody who left before it was made.
    fn not_joined(&self) -> Result<Vec<NotJoined>, ServiceError> {
        let (browser, runs) = (self.browse()?, self.history()?.runs(RUNS)?);
        let mut found = Vec::new();
        for target in self.rules()?.targets() {
            let connector = self.name_of(*target);
            let read = self.store.snapshot()?.cs_count(*target)? > 0 || last_run(&runs, &connector, false).is_some();
            let objects = if read { Some(browser.count_not_joined(*target)?) } else { None };
            let command = match objects {
                None => Some(format!("syncline run start '{connector}' full-import")),
                Some(0) => None,
                Some(_) => Some(format!("syncline cs search '{connector}' --state disconnector")),
            };
            found.push(NotJoined { connector, objects, command });
        }
        Ok(found)
    }

    /// Asks every target who wrote to it last, and lends the answers to some work.
    pub(super) fn with_targets<T>(
        &self,
        cx: &Context,
        work: impl AsyncFnOnce(&[Asked]) -> Result<T, ServiceError>,
    ) -> Result<T, ServiceError> {
        let targets = self.rules()?.targets().to_vec();
        self.with_these(cx, targets, work)
    }

    /// Who keeps this installation from writing to one target, or why that one could not be asked.
    pub(super) fn writer_to(&self, cx: &Context, target: ConnectorId) -> Result<Option<TargetMode>, ServiceError> {
        self.with_these(cx, vec![target], async |asked| Ok(asked.first().map(TargetMode::of)))
    }

    fn with_these<T>(
        &self,
        cx: &Context,
        targets: Vec<ConnectorId>,
        work: impl AsyncFnOnce(&[Asked]) -> Result<T, ServiceError>,
    ) -> Result<T, ServiceError> {
        let ours = self.installation()?;
        self.with_runtime(cx, async || {
            let (mut asked, mut leases) = (Vec::new(), Vec::new());
            for id in targets {
                let mut target = Asked { id, name: self.name_of(id), connector: None, terms: None, rival: None, failure: None };
                match self.reach(id, cx, &mut leases).await {
                    Ok(connector) => match connector.begin_export(cx).await {
                        Ok(terms) => {
                            target.rival = active::rival(&self.store.snapshot()?, id, &ours, terms.last_writer.as_ref(), cx.now())?;
                            (target.terms, target.connector) = (Some(terms), Some(connector));
                        }
                        Err(error) => target.failure = Some(error.to_string()),
                    },
                    Err(error) => target.failure = Some(error.to_string()),
                }
                asked.push(target);
            }
            let done = work(&asked).await;
            drop(asked);
            for lease in leases {
                self.facilities.tenants.give_back(lease).await;
            }
            done
        })
    }

    /// A connector, with the tenant that it needs started.
    pub(super) async fn reach(
        &self,
        id: ConnectorId,
        cx: &Context,
        leases: &mut Vec<TenantLease>,
    ) -> Result<Arc<dyn Connector>, ServiceError> {
        let name = self.name_of(id);
        let config = self.config.connector(&name).ok_or_else(|| ServiceError::NotFound(format!("{name} is not configured any more")))?;
        let tenant = match &config.settings {
            ConnectorSettings::Entra(file) if file.is_embedded() => {
                Some(self.facilities.tenants.take(&config.name, file, self.password_only(), TenantPlace::Here, cx).await?)
            }
            _ => None,
        };
        let wired = self.wire(config, tenant.as_ref().map(TenantLease::tenant), Purpose::Looks, cx).await;
        leases.extend(tenant);
        Ok(wired?.connector)
    }
}

impl Asked {
    fn last_writer(&self) -> Option<&LastWriter> {
        self.terms.as_ref()?.last_writer.as_ref()
    }

    /// Why this installation must not simply begin to write.
    fn hindrance(&self) -> Option<String> {
        let rival = self.rival.as_ref().map(|rival| format!("another installation writes to {}: {rival}", self.name));
        rival.or_else(|| self.failure.as_ref().map(|failure| format!("{} could not be asked who writes to it: {failure}", self.name)))
    }

    fn check(&self, takeover: bool) -> PromotionCheck {
        let found = match (&self.rival, &self.failure) {
            (Some(rival), _) => format!("{}: {rival}", self.name),
            (None, Some(failure)) => format!("{} could not be asked: {failure}", self.name),
            (None, None) => format!("{}: nobody else writes", self.name),
        };
        let good = self.failure.is_none() && (self.rival.is_none() || takeover);
        let command = if self.failure.is_some() { "syncline mode show" } else { "syncline promote --takeover" };
        PromotionCheck { what: "who writes to the target", good, found, command: (!good).then(|| command.to_owned()) }
    }
}

impl TargetMode {
    fn of(asked: &Asked) -> Self {
        Self {
            connector: asked.name.clone(),
            last_writer: asked.last_writer().map(InstallationView::of_last),
            rival: asked.rival.as_ref().map(ToString::to_string),
            unreachable: asked.failure.clone(),
        }
    }
}
