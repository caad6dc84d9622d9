//! Names for what waits for a target, the deletes or all of it: whoever has looked at it can ask for exactly that.

use super::queue::each;
use crate::model::{ConnectorId, CsObject, DeltaKind, Names, Stage, ValueState};
use crate::store::{Snapshot, StoreError};
use std::fmt::{self, Write as _};
use std::str::FromStr;
use xxhash_rust::xxh3::xxh3_64;

/// A set of pending deletes that somebody has looked at: how many, and which. Written as `600-91f2c3d4e5a60718`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeleteSet {
    /// How many objects.
    pub count: u64,
    /// Differs for every other set, except by a chance of one in 2^64.
    pub fingerprint: u64,
}

/// Everything that waits for a target, by number and fingerprint; written in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportPlan {
    /// How many objects wait.
    pub count: u64,
    /// Differs for everything else that could wait, except by a chance of one in 2^64.
    pub fingerprint: u64,
}

impl ExportPlan {
    /// The plan that waits now. Reads all of it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn of(snapshot: &Snapshot, names: &Names, connector: ConnectorId) -> Result<Self, StoreError> {
        let mut plan = Self { count: 0, fingerprint: 0 };
        let mut text = String::new();
        each(snapshot, connector, &mut |object| {
            if object.stage(Stage::PendingExport).kind != DeltaKind::None {
                text.clear();
                describe(snapshot, names, object, &mut text)?;
                plan.count += 1;
                // A sum: the order in which objects wait is not part of what they come to.
                plan.fingerprint = plan.fingerprint.wrapping_add(xxh3_64(text.as_bytes()));
            }
            Ok(())
        })?;
        Ok(plan)
    }
}

/// Everything that an export would do to one object, as text that differs whenever it does. Writing to a text cannot fail.
fn describe(snapshot: &Snapshot, names: &Names, object: &CsObject, text: &mut String) -> Result<(), StoreError> {
    let pending = object.stage(Stage::PendingExport);
    let object_type = names.object_type_name(object.object_type);
    let _ = write!(text, "{:?} {} {:?} {object_type} {:?} {:?}", object.id, object.dn, object.anchor, pending.kind, pending.rename);
    for item in object.values.iter() {
        let state = ValueState(item.flags);
        let sign = match (state.added(Stage::PendingExport), state.removed(Stage::PendingExport)) {
            (true, _) => '+',
            (_, true) => '-',
            _ => continue,
        };
        let _ = write!(text, "\n{sign}{} {:?}", item.attr.0, item.value);
    }
    for row in snapshot.cs_references(object.id)?.iter().filter(|row| row.state.touched(Stage::PendingExport)) {
        let sign = if row.state.added(Stage::PendingExport) { '+' } else { '-' };
        let _ = write!(text, "\n{sign}{} {:?}", row.attr.0, row.target);
    }
    Ok(())
}

impl fmt::Display for DeleteSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_name(f, self.count, self.fingerprint)
    }
}

impl fmt::Display for ExportPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_name(f, self.count, self.fingerprint)
    }
}

impl FromStr for DeleteSet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (count, fingerprint) = read_name(text, "set of deletes")?;
        Ok(Self { count, fingerprint })
    }
}

impl FromStr for ExportPlan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (count, fingerprint) = read_name(text, "plan")?;
        Ok(Self { count, fingerprint })
    }
}

fn write_name(f: &mut fmt::Formatter<'_>, count: u64, fingerprint: u64) -> fmt::Result {
    write!(f, "{count}-{fingerprint:016x}")
}

fn read_name(text: &str, what: &str) -> Result<(u64, u64), String> {
    let parts = text.split_once('-').filter(|(_, name)| name.len() == 16);
    let read = |(count, name): (&str, &str)| Some((count.parse().ok()?, u64::from_str_radix(name, 16).ok()?));
    parts.and_then(read).ok_or_else(|| {
        format!("'{text}' names no {what}, such as 600-91f2c3d4e5a60718; `syncline export --what-if` shows the name of what waits")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_plans_are_read_as_they_are_shown() {
        let plan = ExportPlan { count: 12, fingerprint: 0xAB };
        assert_eq!(plan.to_string(), "12-00000000000000ab");
        assert_eq!(plan.to_string().parse(), Ok(plan));
        for wrong in ["", "12", "12-ab", "x-00000000000000ab", "12-00000000000000xy"] {
            assert!(wrong.parse::<ExportPlan>().is_err(), "{wrong}");
        }
    }
}
