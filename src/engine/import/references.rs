//! What an entry says of references: names turned into objects, with placeholders for those that nobody has reported.

use super::image::Target;
use super::lookup::anchor_key;
use super::segment::Segment;
use super::{EngineError, Import};
use crate::connector::Operation;
use crate::model::{AttrId, CsId, CsReference, StageMask};
use crate::store::Snapshot;
use std::collections::{BTreeSet, HashSet};

impl Import<'_> {
    /// Reads the references that a change speaks of, beside those that it must settle anyway: the others stay as they are,
    /// so that one member more costs the same in every group.
    pub(super) fn read_named(
        &self,
        owner: CsId,
        told: &[(AttrId, Operation, Vec<Target>)],
        rows: &mut Vec<CsReference>,
        snapshot: &Snapshot,
    ) -> Result<(), EngineError> {
        let mut known: HashSet<(AttrId, CsId)> = rows.iter().map(|row| (row.attr, row.target)).collect();
        for (attr, operation, targets) in told {
            if *operation == Operation::Replace {
                let all = snapshot.cs_references_of(owner, *attr)?;
                rows.extend(all.into_iter().filter(|row| known.insert((row.attr, row.target))));
                continue;
            }
            for target in targets {
                let (Some(target), _) = self.target(target, snapshot)? else { continue };
                if known.insert((*attr, target)) {
                    let state = snapshot.cs_reference(owner, *attr, target)?;
                    rows.extend((!state.is_absent()).then_some(CsReference { owner, attr: *attr, target, state }));
                }
            }
        }
        Ok(())
    }

    /// The object that a reference means, by its anchor or else by its name, and whether the anchor found it.
    pub(super) fn target(&self, target: &Target, snapshot: &Snapshot) -> Result<(Option<CsId>, bool), EngineError> {
        if let Some(anchor) = &target.anchor {
            let found = self.lookup.by_anchor(snapshot, anchor_key(anchor.as_bytes()), anchor.as_bytes())?;
            if found.is_some() {
                return Ok((found, true));
            }
        }
        Ok((self.lookup.by_foreseen_name(snapshot, &target.key, target.foreseen)?, false))
    }

    /// Turns names of targets into objects, with placeholders for those nobody has reported. With it, whether something was
    /// taken away under a name that leads nowhere, so that what is left is not sure.
    pub(super) fn resolve(
        &mut self,
        told: Vec<(AttrId, Operation, Vec<Target>)>,
        before: &[CsReference],
        segment: &mut Segment<'_>,
    ) -> Result<(BTreeSet<(AttrId, CsId)>, bool), EngineError> {
        let imported = before.iter().filter(|row| row.state.present(StageMask::IMPORTED));
        let mut shown: Vec<(AttrId, CsId)> = imported.map(|row| (row.attr, row.target)).collect();
        let mut unclear = false;
        for (attr, operation, targets) in told {
            if operation == Operation::Replace {
                shown.retain(|(other, _)| *other != attr);
            }
            let had: HashSet<CsId> = match operation {
                Operation::Remove => shown.iter().filter(|(other, _)| *other == attr).map(|(_, target)| *target).collect(),
                _ => HashSet::new(),
            };
            let mut gone = HashSet::new();
            for target in targets {
                let (found, by_anchor) = self.target(&target, &segment.snapshot)?;
                match (found, operation) {
                    (Some(id), Operation::Remove) => {
                        unclear |= !by_anchor && target.anchor.is_some() && !had.contains(&id);
                        gone.insert((attr, id));
                    }
                    (None, Operation::Remove) => unclear |= target.anchor.is_some(),
                    (Some(id), _) => shown.push((attr, id)),
                    (None, _) => {
                        let id = self.lookup.allocate();
                        self.lookup.set_name(&target.key, id);
                        segment.placeholders.insert(id, target.dn);
                        shown.push((attr, id));
                    }
                }
            }
            shown.retain(|row| !gone.contains(row));
        }
        Ok((shown.into_iter().collect(), unclear))
    }
}
