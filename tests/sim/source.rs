//! A directory as a source: it is read whole or tells what changed, in any order, and sometimes the connection breaks.

use crate::directory::Directory;
use crate::life::Dice;
use async_trait::async_trait;
use futures_util::StreamExt as _;
use std::sync::{Arc, Mutex};
use syncline::connector::{
    Capabilities, Completion, Connector, ConnectorError, ConnectorErrorKind, ExportBatch, ExportReply, ImportKind, ImportPage,
    ImportRequest, ImportStream, Operation, PageBuilder, Schema,
};
use syncline::context::Context;
use syncline::model::{Names, ValueRef};

/// What was there when somebody imported, by the watermarks.
pub(crate) type Watermarks = Arc<Mutex<Vec<Directory>>>;

pub(crate) struct Source {
    pub(crate) names: Arc<Names>,
    pub(crate) directory: Arc<Mutex<Directory>>,
    pub(crate) told: Watermarks,
    /// Somebody is left out.
    pub(crate) narrow: bool,
    pub(crate) dice: Arc<Mutex<Dice>>,
}

/// Who is selected.
pub(crate) fn selected(directory: &Directory, narrow: bool) -> Directory {
    let is_in = |anchor: &str| !narrow || !anchor.ends_with(['1', '4', '7']);
    directory.iter().filter(|(anchor, _)| is_in(anchor)).map(|(anchor, entry)| (anchor.clone(), entry.clone())).collect()
}

#[async_trait]
impl Connector for Source {
    fn capabilities(&self) -> Capabilities {
        Capabilities { delta_import: true, ..Capabilities::SOURCE }
    }

    async fn schema(&self, _cx: &Context) -> Result<Schema, ConnectorError> {
        Ok(Schema::default())
    }

    async fn import(&self, _cx: &Context, request: ImportRequest) -> Result<ImportStream, ConnectorError> {
        let directory = self.directory.lock().unwrap().clone();
        let now = selected(&directory, self.narrow);
        let mut dice = self.dice.lock().unwrap();
        let mut told = self.told.lock().unwrap();
        let (before, breaking) = match &request.kind {
            ImportKind::Full => (Directory::new(), 0.25),
            ImportKind::Delta { since } => (told[usize::from(since[0])].clone(), 0.1),
        };
        // Directories tell also of whoever came and went meanwhile.
        let gone: Directory = match &request.kind {
            ImportKind::Full => Directory::new(),
            ImportKind::Delta { since } => {
                let met = told[usize::from(since[0])..].iter().flatten().filter(|(anchor, _)| !now.contains_key(*anchor));
                met.map(|(anchor, entry)| (anchor.clone(), entry.clone())).collect()
            }
        };
        let mut order: Vec<&String> =
            now.iter().filter(|(anchor, entry)| before.get(*anchor) != Some(entry)).map(|(anchor, _)| anchor).collect();
        order.extend(gone.keys());
        told.push(now.clone());
        let watermark = vec![u8::try_from(told.len() - 1).unwrap()];
        dice.shuffle(&mut order);
        let breaks = dice.fault(breaking).then(|| dice.below(order.len().max(1) as u64));
        let mut pages: Vec<Result<ImportPage, ConnectorError>> = Vec::new();
        let mut page = PageBuilder::new();
        for (number, anchor) in order.iter().enumerate() {
            if breaks == Some(number as u64) {
                pages.push(Ok(page.build(None)));
                pages.push(Err(ConnectorError::new(ConnectorErrorKind::Dropped, "the simulated connection broke")));
                return Ok(futures_util::stream::iter(pages).boxed());
            }
            let Some(entry) = now.get(*anchor) else {
                page.begin_gone(&gone[*anchor].dn);
                page.anchor(anchor.as_bytes());
                page.finish();
                continue;
            };
            page.begin_entry(&entry.dn);
            page.anchor(anchor.as_bytes());
            page.object_type(self.names.object_type(&entry.object_type));
            for (attribute, values) in &entry.values {
                page.attribute(self.names.intern(attribute), Operation::Replace);
                for value in values {
                    page.value(ValueRef::Text(value));
                }
            }
            for (attribute, targets) in entry.references.iter().filter(|(_, targets)| !targets.is_empty()) {
                page.attribute(self.names.intern(attribute), Operation::Replace);
                for target in targets.iter().filter_map(|target| directory.get(target)) {
                    page.reference(&target.dn);
                }
            }
            page.finish();
            if page.len() == 6 {
                pages.push(Ok(std::mem::take(&mut page).build(None)));
            }
        }
        pages.push(Ok(page.build(Some(Completion { watermark: Some(watermark), answered_in_full: false }))));
        Ok(futures_util::stream::iter(pages).boxed())
    }

    async fn export(&self, _cx: &Context, _batch: &ExportBatch) -> Result<ExportReply, ConnectorError> {
        Err(ConnectorError::new(ConnectorErrorKind::Configuration, "a source takes no exports").unsent())
    }
}
