//! Listening to directories that can tell of changes, and looking for accounts that were disabled.

use super::tenancy::Purpose;
use super::{Service, ServiceError};
use crate::config::ConnectorKind;
use crate::connector::{ChangeStream, Connector, DisabledStream};
use crate::context::Context;
use crate::engine::password::is_disabled;
use crate::model::{Anchor, ConnectorId, StageMask};
use std::sync::Arc;

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

    /// The connectors whose accounts can be disabled: configured ones that rules do not write to, also when they tell of changes, since
    /// what is told may be lost. None while the rules do not compile.
    pub fn with_accounts(&self) -> Vec<ConnectorId> {
        let Ok(rules) = self.rules() else { return Vec::new() };
        let is_ad = |name: &String| self.config.connector(name).is_some_and(|config| config.kind() == ConnectorKind::Ad);
        let sources = self.connectors.iter().filter(|(id, name)| !rules.targets().contains(id) && is_ad(name));
        sources.map(|(id, _)| *id).collect()
    }

    /// Listens to a directory. `None` when it cannot tell.
    ///
    /// # Errors
    /// When it is not configured any more, or cannot be reached.
    pub async fn watch(&self, cx: &Context, id: ConnectorId) -> Result<Option<ChangeStream>, ServiceError> {
        let connector = self.listener(cx, id).await?;
        connector.watch(cx).await.map_err(|source| ServiceError::Connector { connector: self.name_of(id), source })
    }

    /// Looks again and again for accounts of a directory that were disabled. `None` when it has no such accounts.
    ///
    /// # Errors
    /// As [`Self::watch`].
    pub async fn watch_disabled(&self, cx: &Context, id: ConnectorId) -> Result<Option<DisabledStream>, ServiceError> {
        let connector = self.listener(cx, id).await?;
        connector.watch_disabled(cx).await.map_err(|source| ServiceError::Connector { connector: self.name_of(id), source })
    }

    async fn listener(&self, cx: &Context, id: ConnectorId) -> Result<Arc<dyn Connector>, ServiceError> {
        let name = self.name_of(id);
        let config = self.config.connector(&name).ok_or_else(|| ServiceError::NotFound(format!("{name} is not configured any more")))?;
        Ok(self.wire(config, None, Purpose::Looks, cx).await?.connector)
    }

    /// True when one of these accounts, which the directory shows as disabled, is not known to be: a cycle should read it now.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn is_news(&self, id: ConnectorId, disabled: &[Anchor]) -> Result<bool, ServiceError> {
        let snapshot = self.store.snapshot()?;
        self.facilities.seen_disabled.unread(self.store.names(), &snapshot)?;
        let mut news = false;
        for anchor in disabled {
            // An account that is not imported, or was disabled from the beginning, harms nobody.
            let Some(account) = snapshot.cs_by_anchor(id, anchor.as_bytes())? else { continue };
            let Some(object) = snapshot.cs_object(account)? else { continue };
            if is_disabled(self.store.names(), &object, StageMask::IMPORTED) == Some(false) {
                // Until an import has read it, it is known by this alone.
                self.facilities.seen_disabled.note(account);
                news = true;
            }
        }
        Ok(news)
    }
}
