//! Changes of objects that nobody knows: they came into scope, or were missed, and a change alone does not tell what they
//! are. The directory is asked for them whole.

use super::finish::ASKED_AT_ONCE;
use super::segment::Segment;
use super::{AskAgain, EngineError, Import, StepRecorder};
use crate::connector::{DiscoveryError, PageItem};
use crate::model::Anchor;
use std::collections::BTreeMap;

/// The objects to ask for.
#[derive(Debug, Default)]
pub(super) struct Unknown {
    /// With what is to be said of each when the directory cannot be asked. By anchor, so that the order does not depend on
    /// that of arrival.
    waiting: BTreeMap<Anchor, DiscoveryError>,
    /// Whether the directory can be asked; nobody knows before the first time.
    answers: Option<bool>,
}

impl Unknown {
    /// Notes an object; false when it cannot be asked for, and the problem stands.
    pub(super) fn note(&mut self, problem: &DiscoveryError) -> bool {
        let Some(anchor) = problem.anchor.clone().filter(|_| self.answers != Some(false)) else { return false };
        self.waiting.entry(anchor).or_insert_with(|| problem.clone());
        true
    }

    /// True when the next item may depend on what the answers say: who is meant by the name in a reference is only known
    /// when everybody has the right name. The first one is asked for at once, to see whether the directory answers.
    pub(super) fn must_be_asked_before(&self, next: &PageItem<'_>) -> bool {
        let refers = matches!(next, PageItem::Change(entry) if entry.has_references());
        !self.waiting.is_empty() && (refers || self.answers.is_none() || self.waiting.len() >= ASKED_AT_ONCE)
    }
}

impl Import<'_> {
    /// Asks for the objects that changes were told of and nobody knows. What the directory does not give is out of scope or
    /// gone by now.
    pub(super) fn ask_for_unknown(&mut self, ask_again: &mut AskAgain<'_>, recorder: &mut StepRecorder<'_>) -> Result<(), EngineError> {
        let waiting: Vec<(Anchor, DiscoveryError)> = std::mem::take(&mut self.unknown.waiting).into_iter().collect();
        for chunk in waiting.chunks(ASKED_AT_ONCE) {
            if self.cx.cancelled() {
                return Err(EngineError::Cancelled);
            }
            let anchors: Vec<Anchor> = chunk.iter().map(|(anchor, _)| anchor.clone()).collect();
            let answers = if self.unknown.answers == Some(false) { None } else { ask_again(&anchors)? };
            self.unknown.answers = Some(answers.is_some());
            match answers {
                Some(pages) => {
                    for page in &pages {
                        self.stage(page, recorder)?;
                    }
                    let snapshot = self.store.snapshot()?;
                    let mut missing = 0;
                    for anchor in &anchors {
                        missing += u64::from(snapshot.cs_by_anchor(self.options.connector, anchor.as_bytes())?.is_none());
                    }
                    recorder.count("filtered-objects", missing);
                }
                None => {
                    for (_, problem) in chunk {
                        let mut segment = Segment::new(self.store.snapshot()?);
                        // Alone in its segment it has nobody to wait for.
                        self.rejected(problem, &mut segment, recorder)?;
                        self.flush(segment, recorder)?;
                    }
                }
            }
        }
        Ok(())
    }
}
