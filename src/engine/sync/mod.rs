//! Synchronization: from connector spaces to the metaverse and on to the targets' pending exports.
//!
//! One connector-space object with everything that follows from it is a *unit* (`unit`): it is joined or projected
//! (`link`), its metaverse object is worked out anew from all contributors (`contribute`), the targets are held
//! against what they should be (`outbound`). Units are planned on a sheet of their own (`draft`), many at once, and
//! laid down in order (`batch`); references follow when all units of a batch lie (`resolve`). A batch gives a
//! [`SyncPlan`]: plain data, written in one transaction by the step or shown by a preview.

mod anchor;
mod batch;
mod book;
mod contribute;
mod draft;
mod forecast;
pub(super) mod image;
mod keys;
mod link;
mod outbound;
mod plan;
mod preview;
mod resolve;
mod stages;
mod step;
mod trace;
mod unit;
pub(super) mod view;

pub(super) use stages::wants_values;

pub use forecast::{Forecast, Forecaster, TargetForecast};
pub use plan::SyncPlan;
pub use preview::{Preview, PreviewDecision, PreviewFlow, PreviewRule, PreviewTarget, preview, preview_decree};
pub use step::{BATCH, SIGN_IN_NAME, SyncOutcome, SyncRequest, indexed_attributes, run_decree, run_sync, run_sync_of_object, synchronize};
pub use trace::Tracer;
pub use unit::Decree;
