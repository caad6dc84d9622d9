//! Forgets the space of a target on request: what would be lost, who may do it, and what follows.

use super::{Service, ServiceError};
use crate::context::Context;
use crate::engine::belief::Doubt;
use crate::engine::clear::{Space, clear};
use crate::engine::export::{Sampled, sample};
use crate::model::{ConnectorId, counted};
use serde::Serialize;
use std::time::Duration;

/// A space that was forgotten, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClearedSpace {
    /// The target.
    pub connector: String,
    /// What it held, and is lost.
    #[serde(flatten)]
    pub space: Space,
    /// The tenant that it is about, where the connector leads to another one now, or may: which tenant it is, what was approved
    /// for it and what is known of passwords there is forgotten, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub former_tenant: Option<String>,
    /// Some of the objects that wait to be removed, by name; empty when there are none.
    pub deletes_sample: String,
    /// Nothing was written.
    pub what_if: bool,
}

impl Service {
    /// Forgets everything of a target's space. The next import reads it whole, and the next cycle evaluates everything.
    ///
    /// # Errors
    /// When there is no such target, this installation exports and nobody forces it, or something runs for longer than
    /// `patience`.
    pub fn clear_space(
        &self,
        cx: &Context,
        name: &str,
        force: bool,
        what_if: bool,
        patience: Duration,
    ) -> Result<ClearedSpace, ServiceError> {
        let id = self.connector_id(name)?;
        let name = self.connectors.get(&id).map_or(name, String::as_str);
        if !self.rules()?.targets().contains(&id) {
            return Err(ServiceError::Usage(format!(
                "{name} is read: forgetting its space would take its people off everywhere. `syncline run start '{name}' full-import` reads \
                 everything again and puts right what differs; a directory that is not wanted any more goes by `syncline connector remove`"
            )));
        }
        if what_if {
            return self.space(id, name, true);
        }
        if !force && !self.config.guard.staging {
            let space = self.space(id, name, true)?;
            let among = if space.deletes_sample.is_empty() { String::new() } else { format!(", among them {}", space.deletes_sample) };
            return Err(ServiceError::Guarded {
                message: format!(
                    "this installation exports to {name}: the {} would be forgotten, and {} to be removed \
                     would stay in the target for good{among}. Nothing was forgotten",
                    counted(space.space.waiting(), "export that waits", "exports that wait"),
                    counted(space.space.deletes, "object that waits", "objects that wait"),
                ),
                hint: format!(
                    "look at what waits with `syncline export '{name}' --what-if`; then `syncline mode staging` first, or `syncline cs clear \
                     '{name}' --force`"
                ),
            });
        }
        self.between_runs(cx, &format!("forgetting the space of {name}"), patience, || {
            let space = self.space(id, name, false)?;
            let all: Vec<ConnectorId> = self.connectors.keys().copied().collect();
            let Some(before) = &space.former_tenant else {
                clear(&self.store, id, &all, Doubt::Cleared, cx.now())?;
                return Ok(space);
            };
            clear(&self.store, id, &all, Doubt::AnotherTenant, cx.now())?;
            let told =
                format!("before it was {before}, and {} of it had to be forgotten", counted(space.space.objects, "object", "objects"));
            self.forget_tenant(id, told)?;
            Ok(space)
        })
    }

    fn space(&self, id: ConnectorId, name: &str, what_if: bool) -> Result<ClearedSpace, ServiceError> {
        let snapshot = self.store.snapshot()?;
        Ok(ClearedSpace {
            connector: name.to_owned(),
            space: Space::of(&snapshot, id)?,
            former_tenant: self.tenant_to_forget(&snapshot, id)?,
            deletes_sample: sample(&snapshot, self.store.names(), id, Sampled::Deletes)?,
            what_if,
        })
    }
}
