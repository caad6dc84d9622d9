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

    /// The connectors whose accounts can be disabled, be it that rules write to them, too; also when they tell of changes, since what is
    /// told may be lost. None while the rules do not compile.
    pub fn with_accounts(&self) -> Vec<ConnectorId> {
        if self.rules().is_err() {
            return Vec::new();
        }
        let is_ad = |name: &String| self.config.connector(name).is_some_and(|config| config.kind() == ConnectorKind::Ad);
        self.connectors.iter().filter(|(_, name)| is_ad(name)).map(|(id, _)| *id).collect()
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
    pub fn is_news(&self, cx: &Context, id: ConnectorId, disabled: &[Anchor]) -> Result<bool, ServiceError> {
        let snapshot = self.store.snapshot()?;
        self.facilities.seen_disabled.unread(self.store.names(), &snapshot)?;
        let mut news = false;
        for anchor in disabled {
            // An account that is not imported, or was disabled from the beginning, harms nobody.
            let Some(account) = snapshot.cs_by_anchor(id, anchor.as_bytes())? else { continue };
            let Some(object) = snapshot.cs_object(account)? else { continue };
            if is_disabled(self.store.names(), &object, StageMask::IMPORTED) == Some(false) {
                // Until an import has read it, it is known by this alone.
                self.facilities.seen_disabled.note(account, cx.now());
                news = true;
            }
        }
        Ok(news)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::engine::Silent;
    use crate::engine::run::Profile;
    use crate::model::Timestamp;
    use crate::service::{Access, DriveOptions, Work};
    use std::fs;
    use tempfile::TempDir;

    fn service(files: &[(&str, &str)]) -> (TempDir, Service) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let config = Config::load(folder.path()).unwrap();
        let service = Service::open(config, None, Access::Create).unwrap();
        (folder, service)
    }

    #[test]
    fn a_directory_that_rules_also_write_to_has_accounts_all_the_same() {
        let directory = "kind = \"ad\"\nurl = \"ldaps://dc1\"\nbind_name = \"svc@corp.example\"\npassword = { credential = \"ad-bind\" }\n";
        let rule = "[[rule]]\nname = \"Out to corp - Own\"\ndirection = \"outbound\"\nconnector = \"corp\"\ncs_type = \"user\"\n\
                    mv_type = \"person\"\nlink = \"join\"\norder = 60\njoin = [[{ cs = \"mail\", mv = \"mail\" }]]\n\
                    flows = [{ to = \"description\", from = \"title\" }]\n";
        let (_folder, service) = service(&[
            ("syncline.toml", "version = 1\n"),
            ("connectors/corp.toml", directory),
            ("connectors/people.toml", "kind = \"ldif\"\npath = \"people.ldif\"\n"),
            ("rules/own.toml", rule),
        ]);
        let corp = service.connector_id("corp").unwrap();
        assert!(service.rules().unwrap().targets().contains(&corp));
        assert_eq!(service.with_accounts(), [corp]);
    }

    /// Disabled and enabled again between two imports: an import shows nothing of it, and nobody is told of it for ever.
    #[test]
    fn what_was_seen_counts_until_an_import_that_began_behind_it() {
        let people = "version: 1\n\ndn: CN=Ada,DC=corp,DC=example\nobjectClass: user\nobjectGUID:: EREREREREREREREREREREQ==\ncn: Ada\n\
                      sAMAccountName: ada\nuserPrincipalName: ada@corp.example\nuserAccountControl: 512\n";
        let (_folder, service) = service(&[
            ("syncline.toml", "version = 1\n"),
            ("connectors/people.toml", "kind = \"ldif\"\npath = \"people.ldif\"\n"),
            ("people.ldif", people),
        ]);
        let (cx, id) = (Context::system(), service.connector_id("people").unwrap());
        let read = || {
            let work = [Work::Profile { connector: id, profile: Profile::FullImport }];
            let runs = service.drive(&cx, &work, DriveOptions::default(), &mut Silent).unwrap();
            assert_eq!(runs[0].result, "success");
        };
        let unread = || service.facilities.seen_disabled.unread(service.store.names(), &service.store.snapshot().unwrap()).unwrap().len();
        read();
        let ada = [Anchor::new([0x11; 16])];
        assert!(service.is_news(&cx, id, &ada).unwrap() && unread() == 1);
        let noted = cx.now();
        service.facilities.seen_disabled.forget(&[id], Timestamp(noted.0 - 3_600_000_000), noted);
        assert_eq!(unread(), 1, "an import that began before the look may have missed it");
        service.facilities.seen_disabled.forget(&[ConnectorId(id.0 + 1)], Timestamp(noted.0 + 1), Timestamp(noted.0 + 1));
        assert_eq!(unread(), 1, "another directory was read");
        read();
        assert_eq!(unread(), 0, "it is enabled again");
    }
}
