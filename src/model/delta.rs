//! Stages of an object and the state byte of a value.
//!
//! Every connector-space object has one *base* image (what inbound sync last consumed) and up to four deltas on
//! top of it. Microsoft's words for them are holograms; see `docs/glossary.md`.

/// The deltas that may lie on top of the base image, in the order in which they apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Base → what the directory last reported. Written by import only.
    PendingImport,
    /// Acknowledged by the target, not yet seen in an import. Written by export, cleared by confirmation.
    Unconfirmed,
    /// Handed to the connector, no answer yet. Written by export.
    InProgress,
    /// What outbound sync wants and nobody has sent.
    PendingExport,
}

impl Stage {
    /// All stages in the order in which they apply.
    pub const ALL: [Stage; 4] = [Stage::PendingImport, Stage::Unconfirmed, Stage::InProgress, Stage::PendingExport];

    /// Position in [`Stage::ALL`].
    pub fn index(self) -> usize {
        match self {
            Self::PendingImport => 0,
            Self::Unconfirmed => 1,
            Self::InProgress => 2,
            Self::PendingExport => 3,
        }
    }
}

/// A set of stages: which deltas an image includes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageMask(u8);

impl StageMask {
    /// The base image alone: what inbound sync last consumed.
    pub const BASE: Self = Self(0);
    /// What the directory last reported; the *imported* values.
    pub const IMPORTED: Self = Self(0b0001);
    /// What the directory has as far as imports and answers tell; what was handed over without an answer counts for nothing.
    pub const ACKNOWLEDGED: Self = Self(0b0011);
    /// The newest image we have reason to expect in the directory, without what nobody has sent.
    pub const EXPECTED: Self = Self(0b0111);
    /// What the directory will look like when everything wanted has arrived; what inbound rules read.
    pub const WANTED: Self = Self(0b1111);

    /// True when the set holds the stage.
    pub fn contains(self, stage: Stage) -> bool {
        self.0 >> stage.index() & 1 == 1
    }
}

/// One value's membership in the base and in every delta, as one byte.
///
/// `base + 2 × (Σ digit(stage) × 3^index)`, where a digit is 0 untouched, 1 added, 2 removed: 162 states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueState(pub u8);

const POWERS: [u8; 4] = [1, 3, 9, 27];

/// What one delta does to one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Digit {
    Untouched,
    Added,
    Removed,
}

impl ValueState {
    /// In the base, touched by no delta.
    pub const BASE: Self = Self(1);
    /// In nothing at all: a value in this state has no row and no entry.
    pub const ABSENT: Self = Self(0);

    /// True when the byte is one of the 162 defined states.
    pub fn is_valid(self) -> bool {
        self.0 < 162
    }

    /// Member of the base image.
    pub fn in_base(self) -> bool {
        self.0 & 1 == 1
    }

    /// With base membership set or cleared.
    #[must_use]
    pub fn with_base(self, in_base: bool) -> Self {
        Self(self.0 & !1 | u8::from(in_base))
    }

    /// The delta adds the value.
    pub fn added(self, stage: Stage) -> bool {
        self.digit(stage) == Digit::Added
    }

    /// The delta removes the value.
    pub fn removed(self, stage: Stage) -> bool {
        self.digit(stage) == Digit::Removed
    }

    /// The delta does something to the value.
    pub fn touched(self, stage: Stage) -> bool {
        self.digit(stage) != Digit::Untouched
    }

    /// With the delta adding the value.
    #[must_use]
    pub fn with_added(self, stage: Stage) -> Self {
        self.with(stage, 1)
    }

    /// With the delta removing the value.
    #[must_use]
    pub fn with_removed(self, stage: Stage) -> Self {
        self.with(stage, 2)
    }

    /// With the delta not touching the value.
    #[must_use]
    pub fn without(self, stage: Stage) -> Self {
        self.with(stage, 0)
    }

    /// Present after base and the deltas of `mask` have been applied in order.
    pub fn present(self, mask: StageMask) -> bool {
        Stage::ALL.into_iter().filter(|stage| mask.contains(*stage)).fold(self.in_base(), |present, stage| match self.digit(stage) {
            Digit::Untouched => present,
            Digit::Added => true,
            Digit::Removed => false,
        })
    }

    /// With `stage` set so that the value is present, or not, after `before` and then `stage`.
    #[must_use]
    pub fn with_target(self, before: StageMask, stage: Stage, present: bool) -> Self {
        match (self.present(before), present) {
            (false, true) => self.with_added(stage),
            (true, false) => self.with_removed(stage),
            _ => self.without(stage),
        }
    }

    /// True when any delta does something to the value.
    pub fn is_touched(self) -> bool {
        self.0 > Self::BASE.0
    }

    /// True when the value is in no image and no delta, so that its entry or row can go.
    pub fn is_absent(self) -> bool {
        self.0 == 0
    }

    fn digit(self, stage: Stage) -> Digit {
        match self.0 / 2 / POWERS[stage.index()] % 3 {
            0 => Digit::Untouched,
            1 => Digit::Added,
            _ => Digit::Removed,
        }
    }

    fn with(self, stage: Stage, digit: u8) -> Self {
        let power = POWERS[stage.index()];
        let now = self.0 / 2 / power % 3;
        Self(self.0 - 2 * power * now + 2 * power * digit)
    }
}

/// What a delta does to the object as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeltaKind {
    /// Nothing in this stage.
    #[default]
    None,
    /// The object appears.
    Add,
    /// Values, references or the name change.
    Update,
    /// The object goes.
    Delete,
    /// Same identity, other object type: everything about the object is evaluated again.
    DeleteAdd,
}

/// One delta's part that concerns the object as a whole; values and references carry their own [`ValueState`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StageDelta {
    /// What happens to the object.
    pub kind: DeltaKind,
    /// The other distinguished name when the delta renames or moves the object: for a pending import the name
    /// *before* it (the object already carries the new one), for exports the name *wanted*.
    pub rename: Option<Box<str>>,
}

impl StageDelta {
    /// True when the stage holds anything.
    pub fn is_some(&self) -> bool {
        self.kind != DeltaKind::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_survives_reading_and_writing_each_stage() {
        for byte in 0..162u8 {
            let state = ValueState(byte);
            assert_eq!(state.is_touched(), Stage::ALL.into_iter().any(|stage| state.touched(stage)));
            for stage in Stage::ALL {
                let rebuilt = if state.added(stage) {
                    state.without(stage).with_added(stage)
                } else if state.removed(stage) {
                    state.without(stage).with_removed(stage)
                } else {
                    state.with_added(stage).without(stage)
                };
                assert_eq!(rebuilt, state);
                for present in [false, true] {
                    let before = match stage {
                        Stage::PendingImport => StageMask::BASE,
                        Stage::PendingExport => StageMask::EXPECTED,
                        _ => continue,
                    };
                    let after = if stage == Stage::PendingImport { StageMask::IMPORTED } else { StageMask::WANTED };
                    assert_eq!(state.with_target(before, stage, present).present(after), present, "{byte} {stage:?}");
                }
            }
        }
    }
}
