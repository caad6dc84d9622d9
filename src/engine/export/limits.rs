//! What limits exports, as it is configured at this moment: an administrator who changes it means what runs, too.

use std::sync::{Arc, PoisonError, RwLock};

/// What limits exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportLimits {
    /// The limits of deletes below count; switched off, only the target's own does.
    pub delete_threshold: bool,
    /// More deletes than this stop an export before the first call; `None` is no limit of ours.
    pub deletes_max: Option<u64>,
    /// The same as a share of the objects known to exist in the target, in percent. Without one, ten deletes or more stop an export
    /// when they are more than half of these objects: a directory of 300 people would be lost below any limit for large ones.
    pub delete_percent_max: Option<u32>,
    /// This installation only watches: nothing is exported.
    pub staging: bool,
}

/// So many deletes are let through whatever share of a target they are: small tenants change a lot with each person.
const DELETES_OF_FEW: u64 = 9;

impl ExportLimits {
    /// The most deletes where nobody configured a share: half of the objects known to exist in the target.
    pub(super) fn half_of(&self, known: u64) -> Option<u64> {
        (self.delete_threshold && self.delete_percent_max.is_none()).then(|| (known / 2).max(DELETES_OF_FEW))
    }
}

impl Default for ExportLimits {
    /// At most 500 deletes, and at most half of what is there (specification: sync engine, section 5.5).
    fn default() -> Self {
        Self { delete_threshold: true, deletes_max: Some(500), delete_percent_max: None, staging: false }
    }
}

/// The limits that count now, shared by whoever configures them and whoever heeds them.
#[derive(Clone, Debug, Default)]
pub struct Limits(Arc<RwLock<ExportLimits>>);

impl Limits {
    /// Limits that nobody has said yet: nothing may leave.
    pub fn unsaid() -> Self {
        Self::new(ExportLimits { staging: true, deletes_max: Some(0), ..ExportLimits::default() })
    }

    /// Limits that begin with these.
    pub fn new(limits: ExportLimits) -> Self {
        Self(Arc::new(RwLock::new(limits)))
    }

    /// What counts now.
    pub fn now(&self) -> ExportLimits {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on these count, for exports under way as well: they look before every batch.
    pub fn set(&self, limits: ExportLimits) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = limits;
    }
}
