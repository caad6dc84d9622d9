//! The connector for LDIF files: a directory is a file, or every `*.ldif` file of a folder; exports are change records.
//!
//! Change records stand in a file or a folder beside it: the directory is the one with the others applied to it, in their
//! order. A full import reads both, a delta import the change records alone, and of a folder only the files that are new.
//! The file of all entries is streamed: memory depends on the changes alone.

mod drop;
mod export;
mod full;
mod import;
mod passwords;
mod replay;
mod sample;
mod watch;

pub use import::file_kind;

use crate::connector::directory::{Scope, Selection, known_attributes};
use crate::connector::{
    Capabilities, ChangeStream, ClassAttribute, Connector, ConnectorError, ConnectorErrorKind, ExportBatch, ExportReply, ImportKind,
    ImportRequest, ImportStream, Schema,
};
use crate::context::Context;
use crate::model::Names;
use async_trait::async_trait;
use std::path::PathBuf;
use std::sync::Arc;

/// Where a directory of files lives, and what is wanted of it.
#[derive(Clone, Debug, Default)]
pub struct LdifSettings {
    /// The file with all entries, or a folder of which every `*.ldif` file is read in the order of their names.
    pub path: PathBuf,
    /// A file with change records, which every delta import reads again; or a folder, of which every `*.ldif` file is
    /// taken once, in the order of their names.
    pub changes: Option<PathBuf>,
    /// The file to which exports append change records; none of those that are read.
    pub export: Option<PathBuf>,
    /// The attribute that identifies an entry for good; without it `objectGUID`, and `entryUUID` in a file where no entry has that.
    pub anchor: Option<String>,
    /// Which objects are wanted.
    pub selection: Selection,
}

/// A directory in files.
#[derive(Debug)]
pub struct LdifConnector {
    names: Arc<Names>,
    settings: LdifSettings,
    scope: Scope,
}

impl LdifConnector {
    /// A connector for the files that `settings` name. Nothing is opened yet.
    ///
    /// # Errors
    /// Containers that are no names; a file for exports that imports read.
    pub fn new(settings: LdifSettings, names: Arc<Names>) -> Result<Self, ConnectorError> {
        if let Some(export) = &settings.export {
            export::refuse_what_is_read(export, &settings)?;
        }
        let scope = Scope::new(&settings.selection)?;
        Ok(Self { names, settings, scope })
    }
}

#[async_trait]
impl Connector for LdifConnector {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            full_import: true,
            delta_import: self.settings.changes.is_some(),
            export: self.settings.export.is_some(),
            batch_objects: 1_000,
            batch_references: 100_000,
            // Changes of one file must keep their order.
            batches_in_flight: 1,
            reference_deltas: true,
        }
    }

    async fn schema(&self, _cx: &Context) -> Result<Schema, ConnectorError> {
        Ok(Schema { object_types: self.settings.selection.object_types.clone(), attributes: known_attributes() })
    }

    async fn import(&self, cx: &Context, request: ImportRequest) -> Result<ImportStream, ConnectorError> {
        if request.kind != ImportKind::Full && self.settings.changes.is_none() {
            return Err(ConnectorError::new(
                ConnectorErrorKind::Configuration,
                format!("{}: no file of changes is configured, so only full imports are possible", self.settings.path.display()),
            ));
        }
        import::start(self, cx.clone(), request).await
    }

    /// They are names in files: nobody takes one back when its object is deleted, and whoever is added under it is meant then.
    fn references_stay(&self) -> bool {
        true
    }

    /// There are records for it, and an entry that is added is another one.
    fn renames_are_told(&self) -> bool {
        true
    }

    fn always_there(&self, asked: Vec<ClassAttribute>) -> Vec<ClassAttribute> {
        sample::usual(&self.settings.path, asked)
    }

    async fn look_back(&self, _cx: &Context, since: &[u8], meant: bool) -> Result<Option<String>, ConnectorError> {
        let (settings, since) = (self.settings.clone(), since.to_vec());
        tokio::task::spawn_blocking(move || import::look_back(&settings, &since, meant))
            .await
            .map_err(|_| ConnectorError::new(ConnectorErrorKind::File, "looking at the change files ended unexpectedly"))?
    }

    async fn watch(&self, cx: &Context) -> Result<Option<ChangeStream>, ConnectorError> {
        Ok(Some(watch::watch(&self.settings, cx.clone())))
    }

    async fn export(&self, _cx: &Context, batch: &ExportBatch) -> Result<ExportReply, ConnectorError> {
        let Some(path) = self.settings.export.clone() else {
            return Err(ConnectorError::new(
                ConnectorErrorKind::Configuration,
                format!("{}: no file for exports is configured", self.settings.path.display()),
            )
            .unsent());
        };
        let (settings, batch) = (self.settings.clone(), batch.clone());
        let append = move || {
            // Once more: where links lead may have changed.
            export::refuse_what_is_read(&path, &settings)?;
            export::append(&path, &batch)
        };
        tokio::task::spawn_blocking(append).await.map_err(|_| {
            ConnectorError::new(ConnectorErrorKind::File, "writing the export file ended unexpectedly; run the export again")
        })?
    }
}
