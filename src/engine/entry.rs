//! One entry of a directory, read by itself.

use super::EngineError;
use super::import::cut_off;
use crate::connector::{
    Completion, Connector, ConnectorErrorKind, DiscoveryError, EntryRef, ImportPage, ImportRequest, PageBuilder, PageItem,
};
use crate::context::Context;
use crate::model::{Anchor, Dn, ValueKind, ValueRef};
use futures_util::StreamExt as _;

/// Reads one entry: the one with an anchor where the directory can be asked for it, else the one with the anchor or name among
/// those that an import gives.
///
/// # Errors
/// When the directory does not answer to the end, or the context is cancelled.
pub async fn read_entry<'a>(
    connector: &dyn Connector,
    cx: &Context,
    request: &ImportRequest,
    anchor: Option<&'a Anchor>,
    dn: &'a Dn,
) -> Result<Wanted<'a>, EngineError> {
    let mut wanted = Wanted::new(anchor, dn);
    if let Some(anchor) = anchor
        && let Some(pages) = connector.find(cx, request, std::slice::from_ref(anchor)).await?
    {
        wanted.asked_for = true;
        pages.iter().any(|page| wanted.look(page));
        return Ok(wanted);
    }
    match search(connector, cx, request, &mut wanted).await {
        // A server that is searched at a name alone says that this does not exist. Of nobody known that is an answer.
        Err(EngineError::Connector(error)) if error.kind == ConnectorErrorKind::Search && anchor.is_none() && !wanted.met => {
            wanted.refused = Some(error.message);
        }
        done => done?,
    }
    Ok(wanted)
}

/// Looks through an import until the entry was met.
async fn search(connector: &dyn Connector, cx: &Context, request: &ImportRequest, wanted: &mut Wanted<'_>) -> Result<(), EngineError> {
    let mut pages = connector.import(cx, request.clone()).await?;
    while let Some(page) = pages.next().await {
        if cx.cancelled() {
            return Err(EngineError::Cancelled);
        }
        let page = page?;
        if wanted.look(&page) || page.completion.is_some() {
            return Ok(());
        }
    }
    Err(cut_off().into())
}

/// Looks for one entry on pages, and makes a page of what they say of it alone.
pub struct Wanted<'a> {
    anchor: Option<&'a Anchor>,
    dn: &'a Dn,
    /// The pages answer a question for this anchor: what they could not make legible is about it.
    asked_for: bool,
    /// The entry was met: as a whole, or as one that cannot be used.
    met: bool,
    /// The name of the one that has the key and another name than the wanted one: there may be a second one with that key.
    renamed: Option<String>,
    /// The name of the second one.
    twice: Option<String>,
    /// An entry that could not be read and may be the one that is meant.
    unclear: Option<DiscoveryError>,
    /// Why a server had nothing to give.
    refused: Option<String>,
    only: PageBuilder,
}

impl<'a> Wanted<'a> {
    fn new(anchor: Option<&'a Anchor>, dn: &'a Dn) -> Self {
        let (renamed, twice, unclear, refused) = (None, None, None, None);
        Self { anchor, dn, asked_for: false, met: false, renamed, twice, unclear, refused, only: PageBuilder::new() }
    }

    /// Takes what a page says of the entry. True once nothing more can come of it.
    fn look(&mut self, page: &ImportPage) -> bool {
        for item in page.items() {
            match item {
                PageItem::Entry(entry) if self.is_meant(entry.anchor(), Some(entry.dn())) => self.take(entry),
                PageItem::Rejected(error) if !self.met => self.look_at_flaw(error),
                _ => {}
            }
            if self.is_settled() {
                break;
            }
        }
        self.is_settled()
    }

    /// Takes an entry. One with the key and another name was renamed, or has the key of somebody else by a slip: then that one is
    /// there, too.
    fn take(&mut self, entry: EntryRef<'_>) {
        if self.met {
            self.twice = Some(entry.dn().to_owned());
            return;
        }
        if !Dn::parse(entry.dn()).is_ok_and(|own| own.same(self.dn)) {
            self.renamed = Some(entry.dn().to_owned());
        }
        copy(entry, &mut self.only);
        self.met = true;
    }

    fn is_settled(&self) -> bool {
        self.met && (self.renamed.is_none() || self.twice.is_some())
    }

    fn is_meant(&self, anchor: Option<&[u8]>, dn: Option<&str>) -> bool {
        match (self.anchor, anchor) {
            (Some(wanted), Some(own)) => wanted.as_bytes() == own,
            _ => dn.is_some_and(|dn| Dn::parse(dn).is_ok_and(|own| own.same(self.dn))),
        }
    }

    /// An entry that cannot be used is there all the same: it is never taken for absence.
    fn look_at_flaw(&mut self, error: &DiscoveryError) {
        let own = error.anchor.as_ref().map(Anchor::as_bytes);
        if self.asked_for || self.is_meant(own, error.dn.as_deref()) {
            let anchor = error.anchor.clone().or_else(|| self.anchor.cloned());
            self.only.reject(DiscoveryError { anchor, ..error.clone() });
            self.met = true;
        } else if own.is_none() && self.unclear.is_none() {
            self.unclear = Some(error.clone());
        }
    }

    /// True when the directory gave neither the entry nor one that may be it.
    pub fn is_absent(&self) -> bool {
        !self.met && self.unclear.is_none()
    }

    /// The page: the entry, what is wrong with it, or, of one that is known, that it is gone.
    ///
    /// # Errors
    /// When nobody knows the entry and the directory does not have it, or another entry that cannot be read may be it.
    pub fn page(mut self) -> Result<ImportPage, EngineError> {
        if let Some((first, second)) = self.renamed.as_ref().zip(self.twice.as_ref()) {
            let message = format!("{first} and {second} have the same key, so nobody can say which of them is meant: give each its own");
            return Err(EngineError::Guard { result: "no-start-object-not-found", message });
        }
        if !self.met {
            let dn = self.dn;
            let Some(anchor) = self.anchor else {
                let reason = self.refused.map(|reason| format!(" ({reason})")).unwrap_or_default();
                let message = format!("{dn} is not there, or is not selected: its directory gives no such entry{reason}");
                return Err(EngineError::Guard { result: "no-start-object-not-found", message });
            };
            if let Some(error) = self.unclear {
                let shown = error.dn.unwrap_or_else(|| "an entry without a legible name".to_owned());
                let message = format!(
                    "{dn} was not met, and {shown} may be it: {} ({}); it is not taken for gone, correct that entry first",
                    error.detail, error.code
                );
                return Err(EngineError::Guard { result: "no-start-object-not-found", message });
            }
            self.only.begin_gone(dn.as_str());
            self.only.anchor(anchor.as_bytes());
            self.only.finish();
        }
        // What a delta import is to go on from stays as it was: it will tell the same again, and find nothing new in it.
        Ok(self.only.build(Some(Completion::default())))
    }
}

/// Copies an entry with all its values.
fn copy(entry: EntryRef<'_>, into: &mut PageBuilder) {
    into.begin_entry(entry.dn());
    if let Some(own) = entry.anchor() {
        into.anchor(own);
    }
    if let Some(kind) = entry.object_type() {
        into.object_type(kind);
    }
    for (attr, operation, values) in entry.attributes() {
        into.attribute(attr, operation);
        for (target, (kind, value, _)) in values.with_targets() {
            match (kind, value) {
                (ValueKind::Reference, ValueRef::Text(name)) => match target {
                    Some(target) => into.reference_to(name, target),
                    None => into.reference(name),
                },
                (_, value) => into.value(value),
            }
        }
    }
    into.finish();
}
