//! Listening to directories that can tell of changes.

use super::{Service, ServiceError};
use crate::connector::ChangeStream;
use crate::context::Context;
use crate::model::ConnectorId;

impl Service {
    /// The connectors that may tell of changes: configured ones that rules do not write to. None when that is not wanted,
    /// or while the rules do not compile.
    pub fn watchable(&self) -> Vec<ConnectorId> {
        let Ok(rules) = self.rules() else { return Vec::new() };
        if !self.config.scheduler.near_real_time {
            return Vec::new();
        }
        self.connectors.keys().copied().filter(|id| !rules.targets().contains(id)).collect()
    }

    /// Listens to a directory. `None` when it cannot tell.
    ///
    /// # Errors
    /// When it is not configured any more, or cannot be reached.
    pub async fn watch(&self, cx: &Context, id: ConnectorId) -> Result<Option<ChangeStream>, ServiceError> {
        let name = self.connectors.get(&id).cloned().unwrap_or_default();
        let config = self.config.connector(&name).ok_or_else(|| ServiceError::NotFound(format!("{name} is not configured any more")))?;
        let wired = self.wire(config, None, cx).await?;
        wired.connector.watch(cx).await.map_err(|source| ServiceError::Connector { connector: name, source })
    }
}
