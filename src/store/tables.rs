//! All tables of the store, in one place, with what their keys and values mean.
//!
//! Integers are keys as they are; names and anchors are octets. Every index can be refilled from the records.

use redb::TableDefinition;

/// The format that this program writes. A store of a lower number is migrated when it is opened.
pub(super) const FORMAT: u64 = 1;

/// Written once into [`META`]: tells our files from other redb files.
pub(super) const MAGIC: u64 = 0x5359_4e43_4c49_4e45;

/// Small numbers: `magic`, `format`, `secret`, `next-mv`, `next-run`, and `next-cs-<connector>`.
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// Interned names in the order of their numbers.
pub(super) const NAME: TableDefinition<'_, u16, &str> = TableDefinition::new("name");
/// Which attributes are indexed for joins: (0, attribute) metaverse, (1 + connector, attribute) space.
pub(super) const INDEXED: TableDefinition<'_, (u32, u16), ()> = TableDefinition::new("indexed");

/// CsId → flat record of base image and deltas, without references and link.
pub(super) const CS_OBJECT: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("cs_object");
/// CsId → (link kind, MvId or 0, RuleId or 0). Every object has a row.
pub(super) const CS_LINK: TableDefinition<'_, u64, (u8, u64, u32)> = TableDefinition::new("cs_link");
/// CsId → canonical hash of the last imported image.
pub(super) const CS_HASH: TableDefinition<'_, u64, u128> = TableDefinition::new("cs_hash");
/// (connector, anchor) → CsId.
pub(super) const CS_ANCHOR: TableDefinition<'_, (u16, &[u8]), u64> = TableDefinition::new("cs_by_anchor");
/// (connector, name key from the root) → CsId: a subtree is one range.
pub(super) const CS_DN: TableDefinition<'_, (u16, &[u8]), u64> = TableDefinition::new("cs_by_dn");
/// (connector, attribute, hash of the folded value, CsId): reverse joins.
pub(super) const CS_JOIN: TableDefinition<'_, (u16, u16, u64, u64), ()> = TableDefinition::new("cs_join");
/// (owner, attribute, target) → state byte.
pub(super) const CS_REFERENCE: TableDefinition<'_, (u64, u16, u64), u8> = TableDefinition::new("cs_reference");
/// (target, attribute, owner): the same rows from the other side.
pub(super) const CS_REFERRER: TableDefinition<'_, (u64, u16, u64), ()> = TableDefinition::new("cs_referrer");
/// (owner, attribute) → how many of the rows are present in the wanted image.
pub(super) const CS_REFERENCE_COUNT: TableDefinition<'_, (u64, u16), u64> = TableDefinition::new("cs_reference_count");
/// (stage, CsId): objects with something in the stage.
pub(super) const QUEUE: TableDefinition<'_, (u8, u64), ()> = TableDefinition::new("queue");
/// CsId → why it is evaluated again.
pub(super) const DIRTY: TableDefinition<'_, u64, u8> = TableDefinition::new("dirty");

/// MvId → flat record.
pub(super) const MV_OBJECT: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("mv_object");
/// MvId → origins of its attributes.
pub(super) const MV_LINEAGE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("lineage");
/// (MvId, connector) → CsId. The key is the rule "one link per connector".
pub(super) const MV_LINK: TableDefinition<'_, (u64, u16), u64> = TableDefinition::new("mv_link");
/// (owner, attribute, target) → contributor.
pub(super) const MV_REFERENCE: TableDefinition<'_, (u64, u16, u64), u8> = TableDefinition::new("mv_reference");
/// (target, attribute, owner).
pub(super) const MV_REFERRER: TableDefinition<'_, (u64, u16, u64), ()> = TableDefinition::new("mv_referrer");
/// (attribute, hash of the folded value, MvId): joins.
pub(super) const MV_JOIN: TableDefinition<'_, (u16, u64, u64), ()> = TableDefinition::new("mv_join");

/// Content hash → (how many values point to it, content).
pub(super) const BLOB: TableDefinition<'_, u128, (u64, &[u8])> = TableDefinition::new("blob");
/// (CsId, side) → problem.
pub(super) const ERROR: TableDefinition<'_, (u64, u8), &[u8]> = TableDefinition::new("object_error");
/// (connector, name) → watermark or other small state.
pub(super) const STATE: TableDefinition<'_, (u16, &str), &[u8]> = TableDefinition::new("state");
/// RunId → run with its steps.
pub(super) const RUN: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("run");
/// (run, step, counter, CsId) → what changed.
pub(super) const STEP_OBJECT: TableDefinition<'_, (u64, u32, &str, u64), &[u8]> = TableDefinition::new("step_object");

/// Calls a macro with every table, so that nothing that concerns all of them forgets one.
macro_rules! every_table {
    ($each:ident) => {
        $each!(META);
        $each!(NAME);
        $each!(INDEXED);
        $each!(CS_OBJECT);
        $each!(CS_LINK);
        $each!(CS_HASH);
        $each!(CS_ANCHOR);
        $each!(CS_DN);
        $each!(CS_JOIN);
        $each!(CS_REFERENCE);
        $each!(CS_REFERRER);
        $each!(CS_REFERENCE_COUNT);
        $each!(QUEUE);
        $each!(DIRTY);
        $each!(MV_OBJECT);
        $each!(MV_LINEAGE);
        $each!(MV_LINK);
        $each!(MV_REFERENCE);
        $each!(MV_REFERRER);
        $each!(MV_JOIN);
        $each!(BLOB);
        $each!(ERROR);
        $each!(STATE);
        $each!(RUN);
        $each!(STEP_OBJECT);
    };
}
pub(super) use every_table;
