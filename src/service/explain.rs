//! Why an object is in the cloud, or what stops it: walks the circle and names the first stop.

use super::browse::{Browser, kind_name, state_name};
use super::{Service, ServiceError};
use crate::engine::export::{HeldDeletes, loses_only_what_stays};
use crate::engine::sync::{Preview, PreviewDecision, preview};
use crate::model::{AttrId, ConnectorId, CsId, CsObject, DeltaKind, ErrorSide, FlatValues, Link, MvObject, Stage, StageMask, ValueState};
use crate::rules::{LinkType, RuleSet, RuleTrace, RunParameters};
use serde::Serialize;

/// The way of one object, step by step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The object the walk began with.
    pub id: String,
    /// Its connector.
    pub connector: String,
    /// Its name.
    pub dn: String,
    /// The steps in order.
    pub steps: Vec<ExplanationStep>,
    /// One sentence: where it stands.
    pub verdict: String,
}

/// One step of the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExplanationStep {
    /// `import`, `scope`, `join`, `metaverse`, `provisioning` or `export`.
    pub step: &'static str,
    /// Whether the object got past it.
    pub outcome: StepOutcome,
    /// What was found.
    pub findings: Vec<String>,
}

/// Whether an object got past a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepOutcome {
    /// It did.
    Passed,
    /// It will with the next run.
    Waiting,
    /// It does not.
    Stopped,
}

/// Rules shown with their conditions at most.
const RULES_SHOWN: usize = 8;

impl Service {
    /// Walks the way of one object.
    ///
    /// # Errors
    /// When the rules do not compile, the store cannot be read, or the object is gone.
    pub fn explain(&self, id: CsId, now: crate::model::Timestamp) -> Result<Explanation, ServiceError> {
        let rules = self.rules()?;
        let browser = self.browse()?;
        let id = source_of(&browser, rules, id)?;
        let gone = || ServiceError::NotFound(format!("object {id} is gone"));
        let object = browser.snapshot.cs_object(id)?.ok_or_else(gone)?;
        let parameters = self.kept_parameters(now)?;
        let walk = Walk { browser: &browser, rules, object: &object, parameters: &parameters, service: self };
        let (steps, verdict) = walk.steps()?;
        Ok(Explanation { id: id.to_string(), connector: browser.connector_name(id.connector()), dn: object.dn.to_string(), steps, verdict })
    }
}

/// For an object of a target: the source object that it comes from, when there is one.
fn source_of(browser: &Browser<'_>, rules: &RuleSet, id: CsId) -> Result<CsId, ServiceError> {
    if !rules.targets().contains(&id.connector()) {
        return Ok(id);
    }
    let Some(mv) = browser.snapshot.cs_link(id)?.and_then(Link::mv) else { return Ok(id) };
    let links = browser.snapshot.mv_links(mv)?;
    Ok(links.into_iter().find(|link| !rules.targets().contains(&link.connector())).unwrap_or(id))
}

/// What the walk looks at.
struct Walk<'a> {
    browser: &'a Browser<'a>,
    rules: &'a RuleSet,
    object: &'a CsObject,
    parameters: &'a RunParameters,
    service: &'a Service,
}

type Steps = (Vec<ExplanationStep>, String);

impl Walk<'_> {
    fn steps(&self) -> Result<Steps, ServiceError> {
        let mut steps = Vec::new();
        if let Some(mut verdict) = self.until_stopped(&mut steps)? {
            // Whatever stopped it: what waits for its copies in targets happens all the same.
            for export in self.exports()? {
                let name = self.browser.connector_name(export.id.connector());
                let (step, told) = self.export_step(&name, &export)?;
                steps.push(step);
                if !matches!(export.stage(Stage::PendingExport).kind, DeltaKind::None) {
                    verdict = format!("{verdict} {told}");
                }
            }
            return Ok((steps, verdict));
        }
        let Some(ahead) = preview(&self.service.store, self.rules, self.parameters, self.object.id, true)? else {
            return Ok((steps, "The object is gone.".to_owned()));
        };
        let metaverse = ahead.after.as_ref().or(ahead.before.as_ref());
        if let Some(metaverse) = metaverse {
            steps.push(self.metaverse(metaverse));
        }
        let verdict = self.targets(&ahead, metaverse, &mut steps)?;
        Ok((steps, verdict))
    }

    /// The steps to the first one that stops it, with the sentence that says so.
    fn until_stopped(&self, steps: &mut Vec<ExplanationStep>) -> Result<Option<String>, ServiceError> {
        if let Some(verdict) = self.import(steps)? {
            return Ok(Some(verdict));
        }
        let Some(ahead) = preview(&self.service.store, self.rules, self.parameters, self.object.id, true)? else {
            return Ok(Some("The object is gone.".to_owned()));
        };
        Ok(Self::scope(&ahead, steps).or_else(|| self.join(&ahead, steps)))
    }

    /// The copies of it in targets; an object of a target is its own copy.
    fn exports(&self) -> Result<Vec<CsObject>, ServiceError> {
        let id = self.object.id;
        if self.rules.targets().contains(&id.connector()) {
            return Ok(vec![self.object.clone()]);
        }
        let Some(mv) = self.object.link.mv() else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for link in self.browser.snapshot.mv_links(mv)? {
            if self.rules.targets().contains(&link.connector()) {
                found.extend(self.browser.snapshot.cs_object(link)?);
            }
        }
        Ok(found)
    }

    fn import(&self, steps: &mut Vec<ExplanationStep>) -> Result<Option<String>, ServiceError> {
        let mut findings = vec![format!(
            "{} {} of {}",
            self.browser.names.object_type_name(self.object.object_type),
            self.object.id,
            self.browser.connector_name(self.object.id.connector())
        )];
        if let Some(error) = self.browser.snapshot.error(self.object.id, ErrorSide::Import)? {
            findings.push(format!("{}: {}", error.code, error.detail));
        }
        if self.object.link == Link::Placeholder {
            findings.push("known only because others refer to it or lie below it".to_owned());
            steps.push(ExplanationStep { step: "import", outcome: StepOutcome::Stopped, findings });
            return Ok(Some(match self.browser.last_delete_of(self.object.id)? {
                Some(line) => format!(
                    "It was here until {}, and {}: run {}, {} of {}. `syncline cs log {}` shows what runs did to it.",
                    line.started,
                    line.departure(),
                    line.run,
                    line.kind,
                    line.connector,
                    self.object.id
                ),
                None => {
                    "It was never imported, as far back as the history goes: it is outside the selected containers and object types, or \
                         the account may not read it."
                        .to_owned()
                }
            }));
        }
        let pending = self.object.stage(Stage::PendingImport);
        if pending.is_some() {
            findings.push(format!("{} waits for synchronization", kind_name(pending.kind)));
        }
        let outcome = if pending.is_some() { StepOutcome::Waiting } else { StepOutcome::Passed };
        steps.push(ExplanationStep { step: "import", outcome, findings });
        Ok(None)
    }

    fn scope(ahead: &Preview, steps: &mut Vec<ExplanationStep>) -> Option<String> {
        let mut findings: Vec<String> = ahead.scope.iter().map(|rule| format!("in scope of \"{}\"", rule.name)).collect();
        if let Some((code, detail)) = &ahead.problem {
            findings.push(format!("{code}: {detail}"));
            steps.push(ExplanationStep { step: "scope", outcome: StepOutcome::Stopped, findings });
            return Some(format!("A problem stops it: {code}."));
        }
        if ahead.scope.is_empty() {
            findings.extend(ahead.inbound.iter().take(RULES_SHOWN).map(why_not));
            if ahead.inbound.is_empty() {
                findings.push("no rule is about objects of this type".to_owned());
            }
            steps.push(ExplanationStep { step: "scope", outcome: StepOutcome::Stopped, findings });
            return Some("No inbound rule wants it: the conditions above are not fulfilled.".to_owned());
        }
        steps.push(ExplanationStep { step: "scope", outcome: StepOutcome::Passed, findings });
        None
    }

    fn join(&self, ahead: &Preview, steps: &mut Vec<ExplanationStep>) -> Option<String> {
        let (outcome, finding, verdict) = match ahead.decision {
            PreviewDecision::StaysLinked => (StepOutcome::Passed, "it is linked and stays so", None),
            PreviewDecision::Joins => (StepOutcome::Waiting, "the next synchronization joins it to an object of the metaverse", None),
            PreviewDecision::Projects => (StepOutcome::Waiting, "the next synchronization makes a metaverse object of it", None),
            PreviewDecision::Retyped => (StepOutcome::Waiting, "it became another type; the next synchronization treats it as new", None),
            PreviewDecision::Remains => (
                StepOutcome::Stopped,
                "no rule found a partner, and none may make one",
                Some("It has no partner, and no rule in scope may project it."),
            ),
            PreviewDecision::Filtered => (StepOutcome::Stopped, "no rule wants it", Some("No inbound rule wants it.")),
            PreviewDecision::LeavesScope => {
                (StepOutcome::Stopped, "the next synchronization disconnects it", Some("It has left the scope of the rules."))
            }
            PreviewDecision::Deleted => (StepOutcome::Stopped, "it is gone from its directory", Some("It was deleted in its directory.")),
            PreviewDecision::Placeholder => (StepOutcome::Stopped, "it is a placeholder", Some("It was never imported.")),
            PreviewDecision::Fails => (StepOutcome::Stopped, "a problem stops it", Some("A problem stops it.")),
        };
        let mut findings = vec![format!("{} now: {finding}", state_name(self.object.link))];
        if let Link::Connected { by, .. } = self.object.link
            && let Some(rule) = self.rules.rule(by)
        {
            findings.push(format!("linked by \"{}\"", rule.name));
        }
        steps.push(ExplanationStep { step: "join", outcome, findings });
        verdict.map(str::to_owned)
    }

    fn metaverse(&self, object: &MvObject) -> ExplanationStep {
        let mut findings = vec![format!("{} {}", self.browser.names.object_type_name(object.object_type), object.id)];
        for name in ["displayName", "userPrincipalName", "mail", "sourceAnchor", "cloudFiltered", "accountEnabled"] {
            if let Some(attr) = self.browser.names.find(name) {
                let values = shown_values(&object.values, attr, None);
                if !values.is_empty() {
                    findings.push(format!("{name} = {}", values.join(", ")));
                }
            }
        }
        ExplanationStep { step: "metaverse", outcome: StepOutcome::Passed, findings }
    }

    fn targets(&self, ahead: &Preview, metaverse: Option<&MvObject>, steps: &mut Vec<ExplanationStep>) -> Result<String, ServiceError> {
        let mut verdict = "There is no target configured.".to_owned();
        for target in self.rules.targets() {
            let name = self.browser.connector_name(*target);
            let linked = match metaverse {
                Some(metaverse) => self.browser.snapshot.mv_link(metaverse.id, *target)?,
                None => None,
            };
            let wanted = ahead.targets.iter().find(|wanted| wanted.connector == *target);
            let export = match linked {
                Some(id) => self.browser.snapshot.cs_object(id)?,
                None => None,
            };
            verdict = match (export, wanted) {
                (Some(export), _) => self.export(&name, &export, steps)?,
                (None, Some(wanted)) => {
                    let finding = format!("{name}: the next synchronization stages {} of {}", kind_name(wanted.pending), wanted.dn);
                    steps.push(ExplanationStep { step: "provisioning", outcome: StepOutcome::Waiting, findings: vec![finding] });
                    format!("It waits for the next synchronization and export to {name}.")
                }
                (None, None) => self.not_provisioned(ahead, *target, &name, steps),
            };
        }
        Ok(verdict)
    }

    fn not_provisioned(&self, ahead: &Preview, target: ConnectorId, name: &str, steps: &mut Vec<ExplanationStep>) -> String {
        let provisions =
            |trace: &&RuleTrace| self.rules.rule(trace.id).is_some_and(|rule| rule.connector == target && rule.link == LinkType::Provision);
        let mut findings: Vec<String> = ahead.outbound.iter().filter(provisions).take(RULES_SHOWN).map(why_not).collect();
        if findings.is_empty() {
            findings.push(format!("no rule makes objects of this kind in {name}"));
        }
        steps.push(ExplanationStep { step: "provisioning", outcome: StepOutcome::Stopped, findings });
        format!("No outbound rule provisions it to {name}: the conditions above are not fulfilled.")
    }

    fn export(&self, name: &str, export: &CsObject, steps: &mut Vec<ExplanationStep>) -> Result<String, ServiceError> {
        let finding = format!("{name}: object {} ({})", export.id, export.dn);
        steps.push(ExplanationStep { step: "provisioning", outcome: StepOutcome::Passed, findings: vec![finding] });
        let (step, verdict) = self.export_step(name, export)?;
        steps.push(step);
        Ok(verdict)
    }

    /// What is under way for an object of a target.
    fn export_step(&self, name: &str, export: &CsObject) -> Result<(ExplanationStep, String), ServiceError> {
        let error = self.browser.snapshot.error(export.id, ErrorSide::Export)?;
        let mut findings: Vec<String> = error.iter().map(|error| format!("{}: {}", error.code, error.detail)).collect();
        for stage in [Stage::PendingExport, Stage::InProgress, Stage::Unconfirmed] {
            let delta = export.stage(stage);
            if delta.is_some() {
                findings.push(format!("{}: {}", super::browse::stage_name(stage), kind_name(delta.kind)));
            }
        }
        let pending = export.stage(Stage::PendingExport).kind;
        let sent = [Stage::InProgress, Stage::Unconfirmed].into_iter().any(|stage| export.stage(stage).kind != DeltaKind::None);
        let (outcome, verdict) = if let Some(error) = error.as_ref().filter(|error| error.is_kept_aside()) {
            (StepOutcome::Stopped, format!("It is in {name}, but goes by another name there: {}.", error.code))
        } else if let Some(error) = error {
            (StepOutcome::Stopped, format!("{name} refused it: {}.", error.code))
        } else if pending == DeltaKind::Delete {
            let held = HeldDeletes::of(&self.browser.snapshot, self.service.store.names(), export.id.connector())?;
            if held.objects.contains(&export.id) {
                let command = format!("`syncline export '{name}' --what-if` shows all of them and how to");
                (StepOutcome::Stopped, format!("It is not deleted in {name}, because {}: {command}.", held.reason()))
            } else {
                (StepOutcome::Waiting, format!("The next export deletes it in {name}."))
            }
        } else if pending == DeltaKind::Update && loses_only_what_stays(&self.browser.snapshot, self.service.store.names(), export.id)? {
            let verdict = format!(
                "It is in {name}, and is to lose references there to whoever may be an entry that cannot be used, or whose delete waits: they \
                 stay until that is settled. `syncline export '{name}' --what-if` shows them."
            );
            (StepOutcome::Waiting, verdict)
        } else if pending != DeltaKind::None {
            (StepOutcome::Waiting, format!("It waits for the next export to {name}."))
        } else if sent {
            (StepOutcome::Waiting, format!("It was sent to {name}; the next import confirms it."))
        } else {
            findings.push("nothing is pending".to_owned());
            (StepOutcome::Passed, format!("It is in {name}, confirmed by import, and nothing is pending."))
        };
        Ok((ExplanationStep { step: "export", outcome, findings }, verdict))
    }
}

/// Why a rule does not apply: the clauses that fail, with what was found.
fn why_not(trace: &RuleTrace) -> String {
    let failing = trace.failing();
    if failing.is_empty() {
        return format!("\"{}\" applies", trace.rule);
    }
    let groups: Vec<String> = failing.iter().map(|group| group.join(" and ")).collect();
    format!("\"{}\" does not apply: {}", trace.rule, groups.join("; or "))
}

fn shown_values(values: &FlatValues, attr: AttrId, mask: Option<StageMask>) -> Vec<String> {
    values
        .attribute(attr)
        .filter(|item| mask.is_none_or(|mask| ValueState(item.flags).present(mask)))
        .take(4)
        .map(|item| super::ValueView::of("", item.value).to_string())
        .collect()
}
