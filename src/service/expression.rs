//! Expressions on trial: compiled against the schema of a connector, evaluated over a stored object or typed values.

use super::entry::LooseObject;
use super::{Service, ServiceError};
use crate::connector::directory::KindTable;
use crate::engine::sync::Tracer;
use crate::model::{AttrId, AttributeSource, ConnectorId, CsId, Dn, Link, Timestamp, Value, ValueKind};
use crate::rules::{Direction, FlowOutcome, InputTrace, TrialError, made_value};
use serde::Serialize;

/// What to evaluate, and over what.
#[derive(Clone, Debug)]
pub struct ExpressionTrial {
    /// The expression.
    pub text: String,
    /// Inbound reads a connector-space object, outbound a metaverse object.
    pub direction: Direction,
    /// The connector whose schema and parameters count; by default the object's, else the only source or target.
    pub connector: Option<String>,
    /// The type of the made-up object.
    pub object_type: Option<String>,
    /// A stored object.
    pub object: Option<CsId>,
    /// `name=value` of a made-up object; names may repeat.
    pub attributes: Vec<String>,
}

/// What an expression came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExpressionView {
    /// The expression.
    pub expression: String,
    /// `inbound` or `outbound`.
    pub direction: &'static str,
    /// The connector whose schema and parameters count.
    pub connector: String,
    /// The type of the result, as far as it is known without an object.
    pub static_type: &'static str,
    /// What it reads.
    pub inputs: Vec<InputTrace>,
    /// What it gives.
    #[serde(flatten)]
    pub outcome: FlowOutcome,
    /// What is probably not meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

impl Service {
    /// Evaluates an expression.
    ///
    /// # Errors
    /// [`ServiceError::Expression`] with the place when it does not compile; usage errors for values that no attribute can
    /// have. What goes wrong in the evaluation itself is its outcome.
    pub fn evaluate(&self, trial: &ExpressionTrial, now: Timestamp) -> Result<ExpressionView, ServiceError> {
        let rules = self.rules()?;
        let connector = self.trial_connector(trial)?;
        let run = self.kept_parameters(now)?;
        let own = run.parameters.get(&connector);
        let parameters: Vec<&str> = own.iter().flat_map(|own| own.keys()).map(String::as_str).collect();
        let compiled = rules.trial(&trial.text, trial.direction, connector, &parameters).map_err(ServiceError::Expression)?;
        let evaluate = |source: &dyn AttributeSource| compiled.evaluate(rules, source, &run);
        let (inputs, outcome) = match trial.object {
            None => evaluate(&self.made_object(trial, connector)?),
            Some(id) => {
                let snapshot = self.store().snapshot()?;
                let tracer = Tracer::new(self.store(), &snapshot, rules, &run);
                let found = match trial.direction {
                    Direction::Inbound => tracer.with_space_object(id, evaluate)?,
                    Direction::Outbound => {
                        let mv = snapshot.cs_link(id)?.and_then(Link::mv).ok_or_else(|| {
                            ServiceError::NotFound(format!("object {id} is linked to no metaverse object, which --direction out reads"))
                        })?;
                        tracer.with_metaverse_object(mv, evaluate)?
                    }
                };
                found.ok_or_else(|| ServiceError::NotFound(format!("object {id} is gone")))?
            }
        };
        Ok(ExpressionView {
            expression: trial.text.clone(),
            direction: trial.direction.as_str(),
            connector: self.connectors().get(&connector).cloned().unwrap_or_default(),
            static_type: compiled.kind(),
            inputs,
            outcome,
            warning: compiled
                .mixed_operators()
                .map(|excerpt| format!("operators stand mixed without brackets; they are taken from left to right\n{excerpt}")),
        })
    }

    /// The connector whose schema counts.
    fn trial_connector(&self, trial: &ExpressionTrial) -> Result<ConnectorId, ServiceError> {
        if let Some(name) = &trial.connector {
            return self.connector_id(name);
        }
        let targets = self.rules()?.targets();
        let fits = |id: &ConnectorId| targets.contains(id) == (trial.direction == Direction::Outbound);
        if let Some(id) = trial.object.map(CsId::connector)
            && (trial.direction == Direction::Inbound || fits(&id))
        {
            return Ok(id);
        }
        // An object of a source says nothing about the target that its expression is for.
        let candidates: Vec<ConnectorId> = self.connectors().keys().copied().filter(fits).collect();
        match candidates.as_slice() {
            [one] => Ok(*one),
            [] => Err(ServiceError::Usage("no connector is configured in this direction".to_owned())),
            several => {
                let names: Vec<&str> = several.iter().filter_map(|id| self.connectors().get(id)).map(String::as_str).collect();
                Err(ServiceError::Usage(format!("say whose schema counts, by --connector: {}", names.join(", "))))
            }
        }
    }

    fn made_object(&self, trial: &ExpressionTrial, connector: ConnectorId) -> Result<LooseObject, ServiceError> {
        let (rules, names) = (self.rules()?, self.store().names());
        let kinds = KindTable::built_in();
        let mut dn = String::new();
        let mut attributes: Vec<(AttrId, Option<ValueKind>, Value)> = Vec::new();
        for text in &trial.attributes {
            let Some((name, value)) = text.split_once('=').filter(|(name, _)| !name.trim().is_empty()) else {
                return Err(ServiceError::Usage(format!("--attr '{text}' is no attribute: write name=value")));
            };
            let name = name.trim();
            if name == "dn" {
                Dn::parse(value).map_err(|error| ServiceError::Usage(format!("--attr dn: '{value}' is {error}")))?;
                value.clone_into(&mut dn);
                continue;
            }
            let kind = rules.attribute_kind(name, trial.direction, connector).or_else(|| {
                // Rules leave the types of a directory's attributes open; what an import would make of them is known.
                (trial.direction == Direction::Inbound).then(|| kinds.kind(name))
            });
            let value = made_value(value, kind).map_err(|error| ServiceError::Usage(format!("--attr {name}: {error}")))?;
            attributes.push((names.intern(name), kind, value));
        }
        let default = if trial.direction == Direction::Inbound { "user" } else { "person" };
        let object_type = names.object_type(trial.object_type.as_deref().unwrap_or(default));
        Ok(LooseObject::of(object_type, &dn, &attributes))
    }
}

impl From<TrialError> for ServiceError {
    fn from(error: TrialError) -> Self {
        Self::Expression(error)
    }
}
