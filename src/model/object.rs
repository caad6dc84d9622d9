//! Objects of connector spaces and of the metaverse, and what ties them together.

use super::anchor::Anchor;
use super::delta::{DeltaKind, Stage, StageDelta, ValueState};
use super::flat::FlatValues;
use super::ids::{CsId, MvId, RuleId};
use super::names::{AttrId, ObjectType};
use super::time::Timestamp;

/// How a connector-space object stands to the metaverse (specification: sync engine, section 1.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Link {
    /// Exists only as the parent or the target of a reference. Never linked.
    Placeholder,
    /// Free: considered at the next sync.
    #[default]
    Disconnected,
    /// No inbound rule in scope wants it.
    DisconnectedByFilter,
    /// Taken off by an administrator or a deprovisioning rule; not considered until reset.
    ExplicitlyDisconnected,
    /// Joined, projected or provisioned by a rule.
    Connected {
        /// The metaverse object.
        mv: MvId,
        /// The rule that made the link.
        by: RuleId,
    },
    /// Joined by an administrator; scope does not break it.
    ExplicitlyConnected {
        /// The metaverse object.
        mv: MvId,
    },
}

impl Link {
    /// The metaverse object, when there is one.
    pub fn mv(self) -> Option<MvId> {
        match self {
            Self::Connected { mv, .. } | Self::ExplicitlyConnected { mv } => Some(mv),
            _ => None,
        }
    }
}

/// One object of a connector space: what we agreed on, and what is under way in each direction.
///
/// Values carry their membership in base and deltas as [`ValueState`] flags; references are rows beside the
/// object ([`CsReference`]). A stage's kind is `Update` whenever any value *or reference* is touched by the stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsObject {
    /// Our number for it.
    pub id: CsId,
    /// The most derived type as the directory last reported it (or as we provisioned it).
    pub object_type: ObjectType,
    /// The type in the base image, when a pending delete-add changes it.
    pub previous_type: Option<ObjectType>,
    /// The name as the directory last reported it, or as provisioned.
    pub dn: Box<str>,
    /// The key in its directory; `None` for objects we provisioned and nobody confirmed. A placeholder may have the marked key of whom
    /// it stands for ([`Anchor::of_placeholder`]).
    pub anchor: Option<Anchor>,
    /// Its name was taken by another object in this import; it waits for its rename or delete.
    pub transient: bool,
    /// Inbound sync has consumed an image of it.
    pub in_base: bool,
    /// The object-level part of each delta, in the order of [`Stage::ALL`].
    pub stages: [StageDelta; 4],
    /// All values of all images.
    pub values: FlatValues,
    /// How it stands to the metaverse.
    pub link: Link,
}

impl CsObject {
    /// An object that nothing is known of yet.
    pub fn new(id: CsId, object_type: ObjectType, dn: impl Into<Box<str>>) -> Self {
        Self {
            id,
            object_type,
            previous_type: None,
            dn: dn.into(),
            anchor: None,
            transient: false,
            in_base: false,
            stages: Default::default(),
            values: FlatValues::default(),
            link: Link::Disconnected,
        }
    }

    /// What is left of an object that goes while others refer to it: its name, and its key with a mark, so that references that mean
    /// it by its key find it, and nobody takes it for the object.
    #[must_use]
    pub fn into_placeholder(self) -> Self {
        let anchor = self.anchor.map(|anchor| Anchor::of_placeholder(anchor.as_bytes()));
        Self { anchor, transient: self.transient, link: Link::Placeholder, ..Self::new(self.id, self.object_type, self.dn) }
    }

    /// The object-level part of a delta.
    pub fn stage(&self, stage: Stage) -> &StageDelta {
        &self.stages[stage.index()]
    }

    /// The object-level part of a delta, to be changed.
    pub fn stage_mut(&mut self, stage: Stage) -> &mut StageDelta {
        &mut self.stages[stage.index()]
    }

    /// True when the object exists in the directory as far as imports told us.
    pub fn imported(&self) -> bool {
        match self.stage(Stage::PendingImport).kind {
            DeltaKind::Add | DeltaKind::DeleteAdd => true,
            DeltaKind::Delete => false,
            DeltaKind::None | DeltaKind::Update => self.in_base,
        }
    }
}

/// A reference of a connector-space object as a row: who, by which attribute, to whom, in which images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CsReference {
    /// The object that refers.
    pub owner: CsId,
    /// By which attribute.
    pub attr: AttrId,
    /// The object referred to; may be a placeholder.
    pub target: CsId,
    /// Membership in base and deltas.
    pub state: ValueState,
}

/// A reference in the metaverse as a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MvReference {
    /// The object that refers.
    pub owner: MvId,
    /// By which attribute.
    pub attr: AttrId,
    /// The object referred to.
    pub target: MvId,
    /// Index of the contributor within the attribute's lineage.
    pub contributor: u8,
}

/// Where an attribute's values come from: lineage is data, not a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lineage {
    /// The attribute.
    pub attr: AttrId,
    /// The rule whose flow won (or, for merges, takes part).
    pub rule: RuleId,
    /// The object that gave the value.
    pub source: CsId,
    /// Since when this rule and this object have been the origin.
    pub since: Timestamp,
}

/// One object of the metaverse. The flags of its values are indexes into the attribute's lineage entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MvObject {
    /// Our number for it.
    pub id: MvId,
    /// `person`, `group`, `device`, …
    pub object_type: ObjectType,
    /// All values but references.
    pub values: FlatValues,
    /// Origins, ordered by attribute and then by precedence; for attributes of values and of references alike.
    pub lineage: Vec<Lineage>,
}
