//! What commands show: plain data with the names of the field, the same for tables and for `--json`.

use crate::model::{AttrId, ObjectError, Timestamp, ValueRef};
use crate::store::{AttributeDelta, RunRecord, StepKind, StepObject, StepRecord};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use uuid::Uuid;

/// One attribute value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum ValueView {
    /// Text.
    Text(String),
    /// A number.
    Number(i64),
    /// True or false.
    Boolean(bool),
    /// Octets, with the form in which people know them where there is one.
    Binary {
        /// The octets.
        base64: String,
        /// A GUID or a security identifier.
        #[serde(skip_serializing_if = "Option::is_none")]
        known_as: Option<String>,
    },
    /// A value that is kept beside the record.
    Large {
        /// How long it is.
        octets: u32,
    },
    /// Another object.
    Reference {
        /// Its name.
        dn: String,
        /// Its number.
        id: String,
    },
}

impl ValueView {
    /// A value of an attribute, without references.
    pub fn of(name: &str, value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Text(text) => Self::Text(text.to_owned()),
            ValueRef::Number(number) => Self::Number(number),
            ValueRef::Boolean(boolean) => Self::Boolean(boolean),
            ValueRef::Binary(octets) => Self::Binary { base64: STANDARD.encode(octets), known_as: known_as(name, octets) },
            ValueRef::LargeText(blob) | ValueRef::LargeBinary(blob) => Self::Large { octets: blob.length },
            ValueRef::Reference(id) => Self::Reference { dn: String::new(), id: id.to_string() },
        }
    }
}

impl fmt::Display for ValueView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) | Self::Binary { known_as: Some(text), .. } => f.write_str(text),
            Self::Number(number) => write!(f, "{number}"),
            Self::Boolean(true) => f.write_str("True"),
            Self::Boolean(false) => f.write_str("False"),
            Self::Binary { base64, .. } if base64.len() > 64 => write!(f, "{}… (base64)", &base64[..64]),
            Self::Binary { base64, .. } => write!(f, "{base64} (base64)"),
            Self::Large { octets } => write!(f, "({octets} octets)"),
            Self::Reference { dn, .. } => f.write_str(dn),
        }
    }
}

/// A GUID where the attribute's name says that it is one, a security identifier likewise.
fn known_as(name: &str, octets: &[u8]) -> Option<String> {
    let name = name.to_ascii_lowercase();
    if name.ends_with("sid") {
        return sid_text(octets);
    }
    let guid: [u8; 16] = octets.try_into().ok()?;
    (name.contains("guid") || name.contains("anchor")).then(|| Uuid::from_bytes_le(guid).to_string())
}

/// The text form of a security identifier (MS-DTYP 2.4.2.1), when the octets are one.
pub(super) fn sid_text(octets: &[u8]) -> Option<String> {
    let (&[revision, count], rest) = octets.split_first_chunk::<2>()?;
    let (authority, rest) = rest.split_first_chunk::<6>()?;
    if revision != 1 || rest.len() != usize::from(count) * 4 {
        return None;
    }
    let authority = authority.iter().fold(0u64, |sum, octet| sum << 8 | u64::from(*octet));
    let mut text = format!("S-1-{authority}");
    for part in rest.as_chunks::<4>().0 {
        text.push('-');
        text.push_str(&u32::from_le_bytes(*part).to_string());
    }
    Some(text)
}

/// One attribute of an object.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AttributeView {
    /// Its name.
    pub name: String,
    /// Its values, at most as many as were asked for.
    pub values: Vec<ValueView>,
    /// How many values it has.
    pub count: u64,
    /// Where the values come from; metaverse only, one per contributor.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lineage: Vec<LineageView>,
}

/// Where a metaverse value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LineageView {
    /// The rule.
    pub rule: String,
    /// The contributing object.
    pub source_id: String,
    /// Its connector.
    pub connector: String,
    /// Its name.
    pub dn: String,
    /// Since when.
    pub since: String,
}

/// A change of one attribute within a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChangeView {
    /// The attribute's name.
    pub attribute: String,
    /// Values that go.
    pub removed: Vec<ValueView>,
    /// Values that come.
    pub added: Vec<ValueView>,
}

/// A stage that holds something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StageView {
    /// `pending-import`, `unconfirmed`, `in-progress` or `pending-export`.
    pub stage: &'static str,
    /// `add`, `update`, `delete` or `delete-add`.
    pub operation: &'static str,
    /// The other name, when the object is renamed or moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rename: Option<String>,
    /// What changes.
    pub changes: Vec<ChangeView>,
}

/// A problem of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProblemView {
    /// The object's number; nothing for an entry that is no object yet.
    pub id: Option<String>,
    /// Its connector.
    pub connector: String,
    /// Its name.
    pub dn: String,
    /// By what people know it, where it is an object of a target, whose names say nothing.
    #[serde(flatten)]
    pub known_as: KnownAs,
    /// `import`, `sync` or `export`.
    pub side: &'static str,
    /// The stable name; docs/reference/error-codes.md explains it.
    pub code: String,
    /// What happened and what to do.
    pub detail: String,
    /// When it happened first.
    pub first_seen: String,
    /// When it happened last.
    pub last_seen: String,
    /// How often it happened again.
    pub retries: u32,
}

impl ProblemView {
    /// A problem of an object whose name and connector are known.
    pub fn new(
        id: String,
        connector: String,
        (dn, known_as): (String, KnownAs),
        side: crate::model::ErrorSide,
        error: &ObjectError,
    ) -> Self {
        use crate::model::ErrorSide;
        let side = match side {
            ErrorSide::Import => "import",
            ErrorSide::Sync => "sync",
            ErrorSide::Export => "export",
        };
        Self {
            id: Some(id),
            connector,
            dn,
            known_as,
            side,
            code: error.code.as_str().to_owned(),
            detail: error.detail.clone(),
            first_seen: error.first_seen.to_string(),
            last_seen: error.last_seen.to_string(),
            retries: error.retry_count,
        }
    }
}

/// A line of a search in a connector space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CsLine {
    /// The object's number.
    pub id: String,
    /// Its connector.
    pub connector: String,
    /// Its type.
    pub object_type: String,
    /// Its link state.
    pub state: &'static str,
    /// The metaverse object it is linked to.
    pub metaverse: Option<u64>,
    /// What is pending: `import add`, `export update`, …
    pub pending: Vec<String>,
    /// Its name.
    pub dn: String,
    /// In targets, where the name says nothing to people: what it is called.
    #[serde(flatten)]
    pub known_as: KnownAs,
    /// The values of the attributes that were asked for.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, Vec<String>>,
}

/// By what people know an object of a target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KnownAs {
    /// `displayName`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// `userPrincipalName`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_principal_name: Option<String>,
}

impl fmt::Display for KnownAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.display_name, &self.user_principal_name) {
            (Some(name), Some(account)) => write!(f, "{name} ({account})"),
            (Some(text), None) | (None, Some(text)) => f.write_str(text),
            (None, None) => Ok(()),
        }
    }
}

/// An object of a connector space.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CsObjectView {
    /// Its number.
    pub id: String,
    /// Its connector.
    pub connector: String,
    /// Its name.
    pub dn: String,
    /// By what people know it, where it is an object of a target.
    #[serde(flatten)]
    pub known_as: KnownAs,
    /// Its type.
    pub object_type: String,
    /// Its key in its directory.
    pub anchor: Option<AnchorView>,
    /// Its link state.
    pub state: &'static str,
    /// The metaverse object it is linked to.
    pub metaverse: Option<u64>,
    /// The rule that made the link.
    pub linked_by: Option<String>,
    /// Its name was taken by another object in the last import.
    pub transient: bool,
    /// Which image `attributes` are of.
    pub image: &'static str,
    /// Attributes of the image.
    pub attributes: Vec<AttributeView>,
    /// What is under way.
    pub stages: Vec<StageView>,
    /// Its problems.
    pub problems: Vec<ProblemView>,
}

/// An anchor in the forms people meet it in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AnchorView {
    /// As text: printable text as it is, else hex.
    pub text: String,
    /// Base64 of the octets.
    pub base64: String,
    /// As a GUID in the order in which Active Directory stores it, when it has 16 octets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guid: Option<String>,
}

impl AnchorView {
    /// The view of an anchor.
    pub fn of(anchor: &crate::model::Anchor) -> Self {
        let octets = anchor.unmarked();
        let guid = <[u8; 16]>::try_from(octets).ok().map(|octets| Uuid::from_bytes_le(octets).to_string());
        Self { text: anchor.to_string(), base64: STANDARD.encode(octets), guid }
    }
}

/// A line of a search in the metaverse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MvLine {
    /// The object's number.
    pub id: u64,
    /// Its type.
    pub object_type: String,
    /// `displayName`, or what else names it.
    pub name: String,
    /// `userPrincipalName` or mail.
    pub account: String,
    /// The connectors it is linked to.
    pub connectors: Vec<String>,
}

/// An object of the metaverse.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MvObjectView {
    /// Its number.
    pub id: u64,
    /// Its type.
    pub object_type: String,
    /// Its attributes with their origins.
    pub attributes: Vec<AttributeView>,
    /// The objects linked to it.
    pub links: Vec<CsLine>,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunView {
    /// Its number.
    pub number: u64,
    /// The cycle it belongs to: the number of the cycle's first run.
    pub cycle: Option<u64>,
    /// Its connector.
    pub connector: String,
    /// Its profile.
    pub profile: String,
    /// When it began.
    pub started: String,
    /// When it ended.
    pub ended: Option<String>,
    /// How long it took, in seconds.
    pub seconds: Option<f64>,
    /// How it ended.
    pub result: String,
    /// Its steps.
    pub steps: Vec<StepRecordView>,
}

/// A step of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepRecordView {
    /// From 1.
    pub number: u32,
    /// `full-import`, `delta-import`, `apply-rules` or `export`.
    pub kind: &'static str,
    /// `reevaluate-flow-connectors` or `apply-pending`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subtype: Option<&'static str>,
    /// When it began.
    pub started: String,
    /// When it ended.
    pub ended: Option<String>,
    /// How long it took, in seconds.
    pub seconds: Option<f64>,
    /// How it ended.
    pub result: String,
    /// What was counted.
    pub counters: BTreeMap<String, u64>,
    /// A sentence when it did not end well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

fn seconds(started: Timestamp, ended: Option<Timestamp>) -> Option<f64> {
    let microseconds = ended?.0.saturating_sub(started.0).max(0);
    let milliseconds = u32::try_from(microseconds / 1_000).unwrap_or(u32::MAX);
    Some(f64::from(milliseconds) / 1_000.0)
}

impl RunView {
    /// The view of a run record.
    pub fn of(record: &RunRecord) -> Self {
        Self {
            number: record.id.0,
            cycle: record.cycle.map(|cycle| cycle.0),
            connector: record.connector_name.clone(),
            profile: record.profile.clone(),
            started: record.started.to_string(),
            ended: record.ended.map(|ended| ended.to_string()),
            seconds: seconds(record.started, record.ended),
            result: record.result.0.to_string(),
            steps: record.steps.iter().map(StepRecordView::of).collect(),
        }
    }
}

impl StepRecordView {
    /// The view of a step record.
    pub fn of(record: &StepRecord) -> Self {
        let (kind, subtype) = match record.kind {
            StepKind::FullImport => ("full-import", None),
            StepKind::DeltaImport => ("delta-import", None),
            StepKind::FullSync => ("apply-rules", Some("reevaluate-flow-connectors")),
            StepKind::DeltaSync => ("apply-rules", Some("apply-pending")),
            StepKind::Export => ("export", None),
        };
        Self {
            number: record.number,
            kind,
            subtype,
            started: record.started.to_string(),
            ended: record.ended.map(|ended| ended.to_string()),
            seconds: seconds(record.started, record.ended),
            result: record.result.0.to_string(),
            counters: record.counters.iter().map(|(name, count)| (name.0.to_string(), *count)).collect(),
            message: record.message.clone(),
        }
    }

    /// What the step is called for people.
    pub fn title(&self) -> &'static str {
        match (self.kind, self.subtype) {
            ("full-import", _) => "Full Import",
            ("delta-import", _) => "Delta Import",
            (_, Some("reevaluate-flow-connectors")) => "Full Synchronization",
            (_, Some(_)) => "Delta Synchronization",
            _ => "Export",
        }
    }
}

/// The objects behind a counter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepObjectsView {
    /// The run.
    pub run: u64,
    /// The step.
    pub step: u32,
    /// The counter.
    pub counter: String,
    /// The objects.
    pub objects: Vec<StepObjectView>,
    /// More objects are behind the counter than are shown.
    pub more: bool,
}

/// One object behind a counter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepObjectView {
    /// Its number.
    pub id: String,
    /// Its name at that time.
    pub dn: String,
    /// What changed.
    pub changes: Vec<DeltaView>,
}

/// One attribute before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeltaView {
    /// The attribute.
    pub attribute: String,
    /// Values that went.
    pub removed: Vec<String>,
    /// Values that came.
    pub added: Vec<String>,
}

impl DeltaView {
    /// The view of a change.
    pub fn of(delta: &AttributeDelta) -> Self {
        Self { attribute: delta.attribute.clone(), removed: delta.removed.clone(), added: delta.added.clone() }
    }
}

impl StepObjectView {
    /// The view of an object behind a counter.
    pub fn of(object: &StepObject) -> Self {
        Self { id: object.id.to_string(), dn: object.dn.clone(), changes: object.changes.iter().map(DeltaView::of).collect() }
    }
}

/// Objects that targets hold, as far as imports confirmed them and we made or joined them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TargetCounts {
    /// People.
    pub users: u64,
    /// Groups.
    pub groups: u64,
    /// Contacts.
    pub contacts: u64,
}

/// A rule as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleView {
    /// Lower wins.
    pub precedence: u32,
    /// Its name.
    pub name: String,
    /// Its number, eight hexadecimal digits; stable as long as tag (or name) and connector stay.
    pub number: String,
    /// Immutable mark of a built-in rule.
    pub tag: Option<String>,
    /// `inbound` or `outbound`.
    pub direction: &'static str,
    /// Its connector.
    pub connector: String,
    /// The type in the connector space.
    pub cs_type: String,
    /// The type in the metaverse; `*` for any.
    pub mv_type: String,
    /// `join`, `sticky-join` or `provision`.
    pub link: &'static str,
    /// How many attributes it flows.
    pub flows: usize,
    /// It applies.
    pub enabled: bool,
    /// The file and line it came from.
    pub origin: String,
}

/// Sorts attribute views as people look for them: by name without regard to case.
pub(super) fn sort_attributes(attributes: &mut [AttributeView]) {
    attributes.sort_by_cached_key(|attribute| attribute.name.to_ascii_lowercase());
}

/// A name that stands for an attribute number nobody gave out.
pub(super) fn shown_name(names: &crate::model::Names, attr: AttrId) -> String {
    names.name(attr).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Anchor;

    #[test]
    fn octets_show_the_form_people_know() {
        let sid = [1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 2, 0, 0];
        assert_eq!(ValueView::of("objectSid", ValueRef::Binary(&sid)).to_string(), "S-1-5-32-544");
        let guid: Vec<u8> = (0..16).collect();
        assert_eq!(ValueView::of("objectGUID", ValueRef::Binary(&guid)).to_string(), "03020100-0504-0706-0809-0a0b0c0d0e0f");
        assert_eq!(ValueView::of("userCertificate", ValueRef::Binary(&guid)).to_string(), "AAECAwQFBgcICQoLDA0ODw== (base64)");
        assert_eq!(sid_text(&sid[..15]), None);
    }

    #[test]
    fn the_key_of_a_placeholder_is_shown_as_that_of_whom_it_stands_for() {
        let guid: Vec<u8> = (0..16).collect();
        let shown = AnchorView::of(&Anchor::of_placeholder(&guid));
        assert_eq!(shown, AnchorView::of(&Anchor::new(guid)));
        assert_eq!(shown.guid.as_deref(), Some("03020100-0504-0706-0809-0a0b0c0d0e0f"));
    }

    #[test]
    fn json_of_values_keeps_their_types() {
        let json = |value| serde_json::to_string(&ValueView::of("x", value)).unwrap();
        assert_eq!(json(ValueRef::Text("a")), "\"a\"");
        assert_eq!(json(ValueRef::Number(3)), "3");
        assert_eq!(json(ValueRef::Boolean(true)), "true");
        assert_eq!(json(ValueRef::Binary(&[0])), "{\"base64\":\"AA==\"}");
    }
}
