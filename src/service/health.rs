//! How things stand, in counts and times.

use super::doctor::ago;
use super::{Service, ServiceError};
use crate::context::Context;
use crate::model::Timestamp;
use crate::schedule::Schedule;

/// How things stand. Without names of people and without values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthFacts {
    /// A run is under way in this process.
    pub running: bool,
    /// Nothing runs by itself.
    pub suspended: bool,
    /// Nothing is exported.
    pub staging: bool,
    /// When the last cycle began, in microseconds since 1970.
    pub cycle_began: Option<i64>,
    /// When it ended.
    pub cycle_ended: Option<i64>,
    /// When the last cycle began whose runs all came to their end, exports as well.
    pub cycle_succeeded: Option<i64>,
    /// Seconds since then; `None` when there was none.
    pub success_age: Option<u64>,
    /// A cycle that succeeded longer ago than this is too old, in seconds.
    pub success_age_max: u64,
    /// The connectors that are configured.
    pub connectors: Vec<ConnectorFacts>,
    /// The directories whose passwords are synchronized.
    pub passwords: Vec<PasswordFacts>,
}

/// How password synchronization of a directory stands. Times are microseconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PasswordFacts {
    /// The directory's name.
    pub directory: String,
    /// Passwords are not sent, or not read.
    pub held: bool,
    /// When the agent last looked.
    pub last_cycle: Option<i64>,
    /// When the target last took a password.
    pub last_sent: Option<i64>,
    /// When it last answered a sign of life.
    pub last_heartbeat: Option<i64>,
}

/// How a connector stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectorFacts {
    /// Its name.
    pub name: String,
    /// Objects of its space.
    pub objects: u64,
    /// Objects with a problem; counted to 5,000 and no further.
    pub errors: u64,
}

/// More problems of one connector need no count: a run stops at them.
const ERRORS_COUNTED: usize = 5_000;
/// So many intervals may pass without a cycle that succeeds.
const INTERVALS: u32 = 3;

impl HealthFacts {
    /// Why the service does not do its work, if so.
    pub fn unready(&self) -> Option<String> {
        if self.suspended {
            return Some("suspended: nothing runs by itself".to_owned());
        }
        match self.success_age {
            None => Some("no cycle has succeeded yet".to_owned()),
            Some(age) if age > self.success_age_max => Some(format!("no cycle has succeeded for {}", ago(age))),
            Some(_) => None,
        }
    }
}

impl Service {
    /// How things stand. Costs the same however many objects there are.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn health_facts(&self, cx: &Context) -> Result<HealthFacts, ServiceError> {
        let memory = self.scheduler_memory()?;
        let snapshot = self.store.snapshot()?;
        let mut connectors = Vec::with_capacity(self.connectors.len());
        for (id, name) in &self.connectors {
            connectors.push(ConnectorFacts {
                name: name.clone(),
                objects: snapshot.cs_count(*id)?,
                errors: snapshot.errors(*id, None, ERRORS_COUNTED)?.len() as u64,
            });
        }
        let age = |at: i64| cx.now().since(Timestamp(at)).as_secs();
        let schedule: Schedule = self.schedule();
        Ok(HealthFacts {
            running: self.running().is_some(),
            suspended: memory.is_held(),
            staging: self.config.guard.staging,
            cycle_began: memory.cycle_began,
            cycle_ended: memory.cycle_ended,
            cycle_succeeded: memory.cycle_succeeded,
            success_age: memory.cycle_succeeded.map(age),
            success_age_max: (schedule.effective_interval() * INTERVALS).as_secs(),
            connectors,
            passwords: self.password_facts(cx)?,
        })
    }

    fn password_facts(&self, cx: &Context) -> Result<Vec<PasswordFacts>, ServiceError> {
        if self.rules().is_err() || self.password_sources().is_empty() {
            return Ok(Vec::new());
        }
        let time = |at: &Option<String>| at.as_ref()?.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_microsecond);
        let standings = self.password_status_uncounted(cx)?.into_iter().filter(|standing| standing.enabled);
        let facts = standings.map(|standing| {
            let status = &standing.status;
            let failing = status.domains.iter().any(|domain| domain.failure.is_some());
            PasswordFacts {
                held: status.held.is_some() || status.failure.is_some() || failing,
                last_cycle: time(&status.last_cycle),
                last_sent: time(&status.last_sent),
                last_heartbeat: time(&status.last_heartbeat),
                directory: standing.name,
            }
        });
        Ok(facts.collect())
    }
}
