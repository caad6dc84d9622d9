//! Problems of objects, and of entries that no import could make objects of.

use super::{Browser, PAGE};
use crate::engine::import::{KeptEntry, kept_entries};
use crate::model::{ConnectorId, CsId, Dn, Link, ObjectErrorCode};
use crate::service::ServiceError;
use crate::service::views::{KnownAs, ProblemView};
use crate::store::{CounterName, RunRecord, StepKind, StepRecord};
use std::borrow::Cow;

/// How many problems an import notes.
const NOTES: u64 = 100;
/// Runs read at a time while looking for the last import.
const RUNS: usize = 50;

impl Browser<'_> {
    /// Problems of objects, by connector.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn problems(&self, connector: Option<ConnectorId>, limit: usize) -> Result<(Vec<ProblemView>, bool), ServiceError> {
        let mut problems = Vec::new();
        for id in self.connectors.keys().copied().filter(|id| connector.is_none_or(|wanted| wanted == *id)) {
            let mut after = None;
            for problem in self.entries_without_object(id)? {
                if problems.len() >= limit {
                    return Ok((problems, true));
                }
                problems.push(problem);
            }
            loop {
                let page = self.snapshot.errors(id, after, PAGE)?;
                let Some((last, side, _)) = page.last() else { break };
                after = Some((*last, *side));
                for (object, side, error) in &page {
                    if problems.len() >= limit {
                        return Ok((problems, true));
                    }
                    let name = self.connector_name(object.connector());
                    let known_as = self.snapshot.cs_object(*object)?.map(|object| self.known_as(&object)).unwrap_or_default();
                    problems.push(ProblemView::new(object.to_string(), name, (self.dn_of(*object)?, known_as), *side, error));
                }
            }
        }
        Ok((problems, false))
    }

    /// Entries that are there and are no objects: those that could not be used, and those that are kept for what they may be. What is
    /// noted of the former says more.
    fn entries_without_object(&self, connector: ConnectorId) -> Result<Vec<ProblemView>, ServiceError> {
        let mut found = self.entries_refused(connector)?;
        for KeptEntry { name, code, since } in kept_entries(&self.snapshot, connector)? {
            if found.iter().any(|problem| problem.dn == name) {
                continue;
            }
            let place = self.connector_name(connector);
            let detail = format!(
                "it has a class that nobody knows or that is not selected, or could not be used: whoever it may be is deleted nowhere as long \
                 as it is so (`syncline guard show`). Correct it and read again by `syncline run start '{place}' full-import`; the import that \
                 met it says more: `syncline run list --connector '{place}'`"
            );
            // Whose class is not selected any more is an object until its delete may go.
            let id = self.object_named(connector, &name)?.map(|id| id.to_string());
            found.push(ProblemView { id, ..self.of_entry(connector, name, &code, detail, since.to_string()) });
        }
        Ok(found)
    }

    fn of_entry(&self, connector: ConnectorId, dn: String, code: &str, detail: String, since: String) -> ProblemView {
        ProblemView {
            id: None,
            connector: self.connector_name(connector),
            dn,
            known_as: KnownAs::default(),
            side: "import",
            code: code.to_owned(),
            detail,
            first_seen: since.clone(),
            last_seen: since,
            retries: 0,
        }
    }

    /// Entries that no import could make objects of: what the last full import noted, and the imports after it. Earlier
    /// ones tell since when.
    pub(in crate::service) fn entries_refused(&self, connector: ConnectorId) -> Result<Vec<ProblemView>, ServiceError> {
        let (mut found, mut complete, mut before) = (Vec::new(), false, None);
        loop {
            let runs = self.snapshot.runs(before, RUNS)?;
            let Some(last) = runs.last() else { return Ok(found) };
            before = Some(last.id);
            for run in runs.iter().filter(|run| run.connector == connector) {
                for step in run.steps.iter().rev().filter(|step| matches!(step.kind, StepKind::FullImport | StepKind::DeltaImport)) {
                    let refused = self.refused_by(run, step)?;
                    let whole = step.kind == StepKind::FullImport && !step.result.0.starts_with("no-start");
                    let mut known = false;
                    for problem in refused {
                        let same = |other: &&mut ProblemView| other.dn == problem.dn && other.code == problem.code;
                        match found.iter_mut().find(same) {
                            Some(earlier) => {
                                earlier.first_seen = problem.first_seen;
                                known = true;
                            }
                            None if !complete => found.push(problem),
                            None => {}
                        }
                    }
                    if complete && whole && !known {
                        return Ok(found);
                    }
                    complete |= whole;
                    if complete && found.is_empty() {
                        return Ok(found);
                    }
                }
            }
        }
    }

    fn refused_by(&self, run: &RunRecord, step: &StepRecord) -> Result<Vec<ProblemView>, ServiceError> {
        let noted = CounterName(Cow::Borrowed("stage-failure"));
        let failures = step.counters.get(&noted).copied().unwrap_or(0);
        let mut found = Vec::new();
        if failures == 0 {
            return Ok(found);
        }
        let since = step.started.to_string();
        let problem = |dn: String, code: &str, detail: String| self.of_entry(run.connector, dn, code, detail, since.clone());
        let mut lines = 0;
        for (entry, code, detail) in step.message.iter().flat_map(|message| message.lines()).filter_map(noted_entry) {
            lines += 1;
            // Objects have their problems beside them.
            if self.object_named(run.connector, entry)?.is_none() {
                found.push(problem(entry.to_owned(), code, detail.to_owned()));
            }
        }
        if lines >= NOTES && failures > lines {
            let detail = format!("{} more entries of this import had problems; a run notes the first {NOTES}", failures - lines);
            found.push(problem(format!("run {}", run.id.0), "discovery-errors", detail));
        }
        Ok(found)
    }

    /// The object that has a name.
    fn object_named(&self, connector: ConnectorId, name: &str) -> Result<Option<CsId>, ServiceError> {
        let Ok(dn) = Dn::parse(name) else { return Ok(None) };
        let Some(id) = self.snapshot.cs_by_dn(connector, &dn.key())? else { return Ok(None) };
        Ok(self.snapshot.cs_link(id)?.is_some_and(|link| link != Link::Placeholder).then_some(id))
    }
}

/// A line that an import noted of an entry: what it is called, the code, what is wrong.
fn noted_entry(line: &str) -> Option<(&str, &'static str, &str)> {
    ObjectErrorCode::ALL.iter().map(ObjectErrorCode::as_str).find_map(|code| {
        let (entry, detail) = line.split_once(&format!(": {code}: "))?;
        Some((entry, code, detail))
    })
}
