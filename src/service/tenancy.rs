//! Which tenant the space of a target is about. What was read from one tenant, sent to it and approved for it says nothing
//! about another one, whatever the connector is called.

use super::tenant::{RunningTenant, known_id};
use super::{Service, ServiceError};
use crate::config::{ConnectorSettings, EntraFile};
use crate::connector::entra::PROVISIONING_URL;
use crate::context::Context;
use crate::engine::belief::{Belief, Doubt};
use crate::engine::clear::{Space, clear};
use crate::engine::export::{Sampled, sample};
use crate::model::{ConnectorId, counted};
use crate::password::forget_target;
use crate::store::{ChangeSet, Snapshot};
use std::collections::BTreeMap;

/// A target that leads to another tenant than the one that its space is about, and that no run has met yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MovedTenant {
    /// The tenant that the space is about.
    pub(super) before: String,
    /// The one that is configured now.
    pub(super) now: String,
}

/// What a tenant that runs with the program is called; its folder may be moved.
fn embedded(id: &str) -> String {
    format!("the embedded tenant {id}")
}

/// What a tenant elsewhere is called: by its id or domain, as it is configured, and by the service's address.
fn elsewhere(file: &EntraFile) -> String {
    let address = file.provisioning_url.as_deref().unwrap_or(PROVISIONING_URL).trim_end_matches('/').to_ascii_lowercase();
    let host = address.strip_suffix("/provisioningservice.svc").unwrap_or(&address);
    format!("{} at {host}", file.tenant.trim().to_lowercase())
}

/// The tenant that a configured connector leads to: where it runs with the program, the one that runs.
pub(super) fn leads_to(file: &EntraFile, running: Option<&RunningTenant>) -> Option<String> {
    if file.is_embedded() { running.map(|running| embedded(&running.credentials().tenant_id.to_string())) } else { Some(elsewhere(file)) }
}

impl Service {
    /// Whether a target leads to another tenant than the one that its space is about.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(super) fn moved_tenant(&self, snapshot: &Snapshot, target: ConnectorId) -> Result<Option<MovedTenant>, ServiceError> {
        let config = self.connectors.get(&target).and_then(|name| self.config.connector(name));
        let Some(ConnectorSettings::Entra(file)) = config.map(|config| &config.settings) else { return Ok(None) };
        let Some(before) = Belief::of(snapshot, target)?.tenant else { return Ok(None) };
        let now = if file.is_embedded() {
            known_id(&file.embedded.folder).map_or_else(|| "an embedded tenant that is made anew".to_owned(), |id| embedded(&id))
        } else {
            elsewhere(file)
        };
        Ok((before != now).then_some(MovedTenant { before, now }))
    }

    /// Keeps which tenants the spaces of targets are about. Where one leads to another tenant now, nothing that is known of
    /// the former one counts: its space is forgotten, with what was approved and what is known of passwords there. The space
    /// is not emptied as if everybody had left: nobody is deleted, and nobody is made anew without somebody's approval. For
    /// whoever has the turn; can be repeated after an interruption.
    ///
    /// # Errors
    /// When the store refuses.
    pub(super) fn settle_tenants(&self, cx: &Context, leading: &BTreeMap<ConnectorId, String>) -> Result<(), ServiceError> {
        for (id, now) in leading {
            let snapshot = self.store.snapshot()?;
            let belief = Belief::of(&snapshot, *id)?;
            if belief.tenant.as_ref() == Some(now) {
                continue;
            }
            let mut detail = belief.detail.clone();
            if let Some(before) = &belief.tenant {
                let space = Space::of(&snapshot, *id)?;
                let leaving = sample(&snapshot, self.store.names(), *id, Sampled::Deletes)?;
                let lost = if space.deletes == 0 {
                    String::new()
                } else {
                    format!(
                        ", among them {} to be removed there and now stay: {leaving}",
                        counted(space.deletes, "that waited", "that waited")
                    )
                };
                let told = format!(
                    "{now}, and before it was {before}; nothing that was known of that one counts, and {} of it {} forgotten{lost}",
                    counted(space.objects, "object", "objects"),
                    if space.objects == 1 { "was" } else { "were" },
                );
                drop(snapshot);
                tracing::warn!("{} is another tenant now: {told}", self.name_of(*id));
                let all: Vec<ConnectorId> = self.connectors.keys().copied().collect();
                clear(&self.store, *id, &all, Doubt::AnotherTenant, cx.now())?;
                forget_target(&self.store, &self.all_connectors()?, *id)?;
                detail = Some(told);
            }
            // Last of all: cut off before, it begins anew.
            let (snapshot, mut changes) = (self.store.snapshot()?, ChangeSet::new());
            let settled = Belief { tenant: Some(now.clone()), detail, ..Belief::of(&snapshot, *id)? };
            settled.keep(&snapshot, *id, &mut changes)?;
            drop(snapshot);
            self.store.apply(changes)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, ConnectorConfig};

    fn named(lines: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("connectors")).unwrap();
        std::fs::write(folder.path().join("syncline.toml"), "version = 1\n").unwrap();
        let text = format!("kind = \"entra\"\nclient_id = \"x\"\nclient_secret = {{ credential = \"s\" }}\n{lines}");
        std::fs::write(folder.path().join("connectors/cloud.toml"), text).unwrap();
        let config = Config::load(folder.path()).unwrap();
        let Some(ConnectorConfig { settings: ConnectorSettings::Entra(file), .. }) = config.connector("cloud") else { panic!("no tenant") };
        leads_to(file, None).unwrap()
    }

    #[test]
    fn spelling_makes_no_other_tenant_and_address_does() {
        let plain = named("tenant = \"contoso.onmicrosoft.com\"\n");
        assert_eq!(plain, "contoso.onmicrosoft.com at https://adminwebservice.microsoftonline.com");
        assert_eq!(
            named("tenant = \"Contoso.onmicrosoft.com\"\nprovisioning_url = \"https://adminwebservice.microsoftonline.com/\"\n"),
            plain
        );
        assert_ne!(named("tenant = \"contoso.onmicrosoft.com\"\nprovisioning_url = \"https://127.0.0.1:8443\"\n"), plain);
        assert_ne!(named("tenant = \"fabrikam.onmicrosoft.com\"\n"), plain);
    }
}
