//! Everything that password synchronization needs, held against what is there: each check with its evidence and its remedy.

use super::doctor::in_time;
use super::passwords::{PasswordStanding, switch};
use super::wiring::password_source;
use super::{Service, ServiceError};
use crate::config::Config;
use crate::connector::{ConnectorError, PasswordCheck, PasswordFeatures, SignIns};
use crate::context::Context;
use crate::model::{CsId, Names};
use crate::password::hash;
use crate::password::report::{AccountStatus, PairStatus};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

/// Everything that password synchronization needs, held against what is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PasswordDiagnosis {
    /// What was looked at, and what it is part of.
    pub area: String,
    /// What was looked at.
    pub what: String,
    /// It is as it should be.
    pub good: bool,
    /// It is not yet, and comes by itself with the next cycle.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub waits: bool,
    /// What was found.
    pub evidence: String,
    /// What to do when it is not good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl PasswordDiagnosis {
    fn new(area: &str, what: &str, good: bool, evidence: impl Into<String>, remedy: &str) -> Self {
        let remedy = (!good).then(|| remedy.to_owned());
        Self { area: area.to_owned(), what: what.to_owned(), good, waits: false, evidence: evidence.into(), remedy }
    }

    /// Whether both sides were synchronized in full, which passwords wait for.
    fn first_synchronization(area: &str, done: bool, evidence: &str) -> Self {
        let remedy = "the next cycle brings it; `syncline cycle start` runs one now";
        Self { waits: !done, ..Self::new(area, "first synchronization", done, evidence, remedy) }
    }

    fn of(area: &str, check: PasswordCheck) -> Self {
        let PasswordCheck { what, good, evidence, remedy } = check;
        Self { area: area.to_owned(), what, good, waits: false, evidence, remedy }
    }
}

impl Service {
    /// Holds everything that password synchronization needs against what is there; with an account, that one, too. `patient` leaves an
    /// account alone that a directory refused a moment ago.
    ///
    /// # Errors
    /// When the configuration cannot work at all. What is not as it should be is in the result.
    pub fn diagnose_passwords(&self, cx: &Context, account: Option<CsId>, patient: bool) -> Result<Vec<PasswordDiagnosis>, ServiceError> {
        let mut found = vec![PasswordDiagnosis::new("machine", "hashing", true, format!("keys are derived by {}", hash::backend()), "")];
        let staging = self.config.guard.staging;
        let evidence = if staging { "this installation is in staging mode" } else { "not in staging mode" };
        found.push(PasswordDiagnosis::new(
            "machine",
            "staging mode",
            !staging,
            evidence,
            "nothing is sent before [guard] staging is false",
        ));
        // What cannot be used is a line, and the others are looked at all the same.
        let target = self.password_target().map(|target| self.name_of(target));
        found.push(match &target {
            Ok(target) => match self.with_agent(cx, &[], async |crew| Ok(in_time(crew.target.features(cx)).await)) {
                Ok(features) => tenant_check(target, features),
                Err(error) => unusable(target, "connection", &error),
            },
            Err(error) => unusable("tenant", "connection", error),
        });
        let sign_ins = self.sign_ins();
        found.extend(self.with_runtime(cx, async || Ok(source_checks(cx, &self.config, self.store.names(), sign_ins, patient).await))?);
        if target.is_ok() {
            match self.password_status(cx) {
                Ok(standings) => {
                    for PasswordStanding { name, status, .. } in standings.into_iter().filter(|standing| standing.enabled) {
                        found.extend(agent_checks(cx, &name, &status));
                    }
                }
                Err(error) => found.push(unusable("agent", "state", &error)),
            }
        }
        if let Some(account) = account {
            found.extend(account_checks(&self.password_of(cx, account)?));
        }
        Ok(found)
    }
}

/// As [`Service::diagnose_passwords`], where there is no store yet: directories only.
///
/// # Errors
/// When the system gives no threads for connections.
pub fn diagnose_unstored(cx: &Context, config: &Config) -> Result<Vec<PasswordDiagnosis>, ServiceError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(ServiceError::no_threads)?;
    let mut found = vec![PasswordDiagnosis::new("machine", "hashing", true, format!("keys are derived by {}", hash::backend()), "")];
    found.extend(runtime.block_on(source_checks(cx, config, &Arc::new(Names::new()), &SignIns::default(), false)));
    found.push(PasswordDiagnosis::first_synchronization("store", false, "there is no store yet"));
    Ok(found)
}

/// Every directory that has passwords: its switch, and what reading them takes.
async fn source_checks(cx: &Context, config: &Config, names: &Arc<Names>, sign_ins: &SignIns, patient: bool) -> Vec<PasswordDiagnosis> {
    let mut checks = Vec::new();
    let asked_for = config.connectors.iter().any(|connector| switch(connector) == Some(true));
    for connector in &config.connectors {
        let Some(enabled) = switch(connector) else { continue };
        let area = connector.name.as_str();
        if asked_for && !enabled {
            // Passwords of one directory are no reason to want those of another.
            let evidence = format!("off; `syncline phs enable '{area}'` switches it on");
            checks.push(PasswordDiagnosis::new(area, "switch", true, evidence, ""));
            continue;
        }
        let evidence = if enabled { "password_hash_sync.enabled is true" } else { "password_hash_sync.enabled is false" };
        let remedy = format!("`syncline phs enable {area}` switches it on");
        checks.push(PasswordDiagnosis::new(area, "switch", enabled, evidence, &remedy));
        match password_source(connector, &config.secrets, names, sign_ins, patient) {
            Ok(reader) => {
                if let Ok(found) = tokio::time::timeout(LONGEST_DIAGNOSIS, reader.diagnose(cx)).await {
                    checks.extend(found.into_iter().map(|check| PasswordDiagnosis::of(area, check)));
                } else {
                    let evidence = format!("the directory did not answer everything within {} s", LONGEST_DIAGNOSIS.as_secs());
                    checks.push(PasswordDiagnosis::new(area, "reading", false, evidence, "see that its domain controllers are well"));
                }
            }
            Err(error) => checks.push(unusable(area, "configuration", &error)),
        }
    }
    checks
}

/// The longest wait for all that a directory is asked: it may have several domain controllers, which are tried one by one.
const LONGEST_DIAGNOSIS: Duration = Duration::from_mins(2);

/// Something that cannot even be set up.
fn unusable(area: &str, what: &str, error: &ServiceError) -> PasswordDiagnosis {
    PasswordDiagnosis::new(
        area,
        what,
        false,
        error.to_string(),
        "correct the configuration and its secrets; `syncline doctor` looks at all of it",
    )
}

fn tenant_check(area: &str, features: Result<PasswordFeatures, ConnectorError>) -> PasswordDiagnosis {
    match features {
        Err(error) => {
            PasswordDiagnosis::new(area, "features", false, error.to_string(), "check the connection and the credential of the tenant")
        }
        Ok(features) if !features.synchronization => PasswordDiagnosis::new(
            area,
            "features",
            false,
            "directory synchronization is off in the tenant",
            "a Hybrid Identity Administrator switches it on once (docs/guide/entra.md)",
        ),
        Ok(features) => PasswordDiagnosis::new(
            area,
            "features",
            features.password_hashes,
            format!("password hash synchronization is {} in the tenant", if features.password_hashes { "on" } else { "off" }),
            "`syncline phs enable` switches it on",
        ),
    }
}

/// The tenant raises an alert after two hours; health tools look for a sign of life of the last three (specification: sync
/// engine 7.4).
const SIGN_OF_LIFE: Duration = Duration::from_hours(3);

fn agent_checks(cx: &Context, area: &str, pair: &PairStatus) -> Vec<PasswordDiagnosis> {
    let mut checks = Vec::new();
    let first = if pair.ready { "both sides were synchronized in full" } else { "the first full synchronization has not completed" };
    checks.push(PasswordDiagnosis::first_synchronization(area, pair.ready, first));
    let last = pair.last_sign_of_life(cx.now());
    let fresh = pair.silence(cx.now()).is_some_and(|silence| silence < SIGN_OF_LIFE);
    let unheard = last.is_none();
    let evidence =
        last.map_or_else(|| "the tenant has heard nothing yet".to_owned(), |last| format!("the tenant last heard from us at {last}"));
    // What passwords wait for brings these, too.
    let waits = |yet: bool| !pair.ready && yet;
    let sign = PasswordDiagnosis::new(area, "sign of life", fresh, evidence, "keep `syncline phs run` running");
    checks.push(PasswordDiagnosis { waits: waits(unheard), ..sign });
    for domain in &pair.domains {
        let evidence = match (&domain.failure, &domain.last_read) {
            (Some(failure), _) => failure.clone(),
            (None, Some(last)) => format!("read at {last} from {}", domain.server.as_deref().unwrap_or("its server")),
            (None, None) => "never read".to_owned(),
        };
        let good = domain.failure.is_none() && domain.last_read.is_some();
        let remedy = "see the checks above; `syncline events list --id 611` has the history";
        let check = PasswordDiagnosis::new(area, &format!("domain {}", domain.domain), good, evidence, remedy);
        checks.push(PasswordDiagnosis { waits: waits(domain.failure.is_none() && domain.last_read.is_none()), ..check });
    }
    checks
}

fn account_checks(account: &AccountStatus) -> Vec<PasswordDiagnosis> {
    let area = account.dn.as_str();
    let route = match &account.reason_detail {
        Some(reason) => reason.clone(),
        None => format!("its password goes to {}", account.sign_in_name.as_deref().unwrap_or("an object of the tenant")),
    };
    let mut checks = vec![PasswordDiagnosis::new(
        area,
        "takes part",
        account.reason.is_none(),
        route,
        "`syncline object explain` shows rules and links of the account",
    )];
    let evidence = match (&account.status, &account.confirmed) {
        (Some(status), Some(confirmed)) if account.current => format!("{status}, confirmed at {confirmed}"),
        (Some(status), _) => [Some((*status).to_owned()), account.detail.clone()].into_iter().flatten().collect::<Vec<_>>().join(": "),
        (None, _) => "never tried".to_owned(),
    };
    let remedy = match &account.next_attempt {
        Some(next) => format!("tried again at {next}; `syncline phs push` tries now"),
        None => "`syncline phs push` sends it now".to_owned(),
    };
    checks.push(PasswordDiagnosis::new(area, "password", account.current, evidence, &remedy));
    checks
}
