//! All tables of the store, in one place: names, key and value types, and what must be done for every table alike.
//!
//! Keys are fixed-width wherever they can be, and ordered so that everything one question asks for is one range.
//! `docs/store.md` explains each table; what must agree with what is written in `derived.rs`.

use redb::{ReadOnlyTable, ReadTransaction, TableDefinition, TableError, WriteTransaction};

macro_rules! tables {
    ($($(#[$doc:meta])* $constant:ident $field:ident: $key:ty => $value:ty;)*) => {
        $($(#[$doc])* pub(super) const $constant: TableDefinition<'static, $key, $value> = TableDefinition::new(stringify!($field));)*

        /// Every table, open in one read transaction, which lives as long as any of them.
        #[derive(Debug)]
        pub(super) struct Tables {
            $($(#[$doc])* pub(super) $field: ReadOnlyTable<$key, $value>,)*
        }

        impl Tables {
            /// Opens all tables in a read transaction.
            pub(super) fn open(transaction: &ReadTransaction) -> Result<Self, TableError> {
                Ok(Self { $($field: transaction.open_table($constant)?,)* })
            }
        }

        /// Creates the tables that are not there yet, so that readers may rely on every one.
        pub(super) fn create_all(transaction: &WriteTransaction) -> Result<(), TableError> {
            $(transaction.open_table($constant)?;)*
            Ok(())
        }

        /// Shows every table to a visitor.
        pub(super) fn visit_all<V: Visitor>(tables: &Tables, visitor: &mut V) -> Result<(), V::Error> {
            $(visitor.table(stringify!($field), $constant, &tables.$field)?;)*
            Ok(())
        }
    };
}

/// Does the same with every table, whatever its types.
pub(super) trait Visitor {
    /// Why a visit ends early.
    type Error;
    /// One table: its name, its definition, its rows.
    fn table<K: redb::Key + 'static, V: redb::Value + 'static>(
        &mut self,
        name: &'static str,
        definition: TableDefinition<'static, K, V>,
        rows: &ReadOnlyTable<K, V>,
    ) -> Result<(), Self::Error>;
}

tables! {
    /// What the file is: magic, format, installation secret, marks of work under way.
    META meta: &'static str => &'static [u8];
    /// Interned names by number; dense from 0.
    ATTRIBUTE attribute: u16 => &'static str;
    /// (kind, connector) → (next number, rows now); kinds are [`counter`].
    COUNTER counter: (u8, u16) => (u64, u64);
    /// (side, connector, attribute) → state: which attributes joins look up; sides and states are in `index.rs`.
    INDEXED indexed: (u8, u16, u16) => u8;

    /// CsId → record: the hot row.
    CS_OBJECT cs_object: u64 => &'static [u8];
    /// CsId → (kind, MvId, RuleId): how each object stands to the metaverse; a row for every object.
    CS_LINK cs_link: u64 => (u8, u64, u32);
    /// CsId → canonical hash of the last imported image, when it may be trusted.
    CS_HASH cs_hash: u64 => u128;
    /// (ConnectorId, anchor) → CsId.
    CS_BY_ANCHOR cs_by_anchor: (u16, &'static [u8]) => u64;
    /// (ConnectorId, name key) → CsId; a subtree is one range.
    CS_BY_DN cs_by_dn: (u16, &'static [u8]) => u64;
    /// (AttrId, hash of the folded value, CsId): candidates of reverse joins.
    CS_JOIN cs_join: (u16, u64, u64) => ();
    /// (owner, AttrId, target) → state of the reference.
    CS_REFERENCE cs_reference: (u64, u16, u64) => u8;
    /// (target, AttrId, owner): the same rows from the other end.
    CS_REFERRER cs_referrer: (u64, u16, u64) => ();
    /// (owner, AttrId) → how many references are in the wanted image; absent for none.
    CS_REFERENCE_COUNT cs_reference_count: (u64, u16) => u64;
    /// (owner, AttrId, target): the references that any stage touches, so that few changes of many references cost few rows.
    CS_REFERENCE_TOUCHED cs_reference_touched: (u64, u16, u64) => ();

    /// MvId → record.
    MV_OBJECT mv_object: u64 => &'static [u8];
    /// MvId → origins of its attributes.
    LINEAGE lineage: u64 => &'static [u8];
    /// (MvId, ConnectorId) → CsId: the key is the rule "one link per connector".
    MV_LINK mv_link: (u64, u16) => u64;
    /// (AttrId, hash of the folded value, MvId): candidates of joins.
    MV_JOIN mv_join: (u16, u64, u64) => ();
    /// (owner, AttrId, target) → contributor.
    MV_REFERENCE mv_reference: (u64, u16, u64) => u8;
    /// (target, AttrId, owner): the same rows from the other end.
    MV_REFERRER mv_referrer: (u64, u16, u64) => ();
    /// (owner, AttrId) → how many references; absent for none.
    MV_REFERENCE_COUNT mv_reference_count: (u64, u16) => u64;

    /// (hash, length) → octets of a large value.
    BLOB blob: (u128, u32) => &'static [u8];
    /// (hash, length) → how many values of records point to it.
    BLOB_COUNT blob_count: (u128, u32) => u64;

    /// (stage, CsId): objects with something in a stage.
    QUEUE queue: (u8, u64) => ();
    /// CsId → reason for a new evaluation.
    DIRTY dirty: u64 => u8;
    /// (CsId, side) → problem.
    OBJECT_ERROR object_error: (u64, u8) => &'static [u8];
    /// (ConnectorId, name) → watermark or other small state.
    STATE state: (u16, &'static str) => &'static [u8];
    /// RunId → record of the run with its steps.
    RUN run: u64 => &'static [u8];
    /// (RunId, step, counter, CsId) → the object as it was.
    STEP_OBJECT step_object: (u64, u32, &'static str, u64) => &'static [u8];
    /// Number in the order of telling → event.
    EVENT event: u64 => &'static [u8];

    /// CsId → what is remembered of the account's password, never the password or a hash.
    PASSWORD password: u64 => &'static [u8];
    /// (ConnectorId, time, CsId): accounts with something to do, not before that time.
    PASSWORD_DUE password_due: (u16, i64, u64) => ();
    /// CsId → how often an object of a watched connector moved since somebody looked.
    MOVED moved: u64 => u64;
}

/// A key of the tables of anchors and names, owned.
pub(super) type OwnedKey = (u16, Box<[u8]>);

/// A row of [`CS_LINK`]: kind, MvId, RuleId.
pub(super) type LinkRow = (u8, u64, u32);

/// First part of the keys of [`COUNTER`].
pub(super) mod counter {
    /// Objects of a connector space: next sequence number, objects now.
    pub(in crate::store) const CS: u8 = 0;
    /// Metaverse objects: next number; the table knows its own length.
    pub(in crate::store) const MV: u8 = 1;
    /// Runs: next number.
    pub(in crate::store) const RUN: u8 = 2;
    /// Objects of a connector space that have an anchor; no numbers are given.
    pub(in crate::store) const ANCHORED: u8 = 3;
}

/// Keys of [`META`].
pub(super) mod meta {
    /// What makes the file ours.
    pub(in crate::store) const MAGIC: &str = "magic";
    /// The value of [`MAGIC`].
    pub(in crate::store) const MAGIC_VALUE: &[u8] = b"syncline store";
    /// Format version, 32 bits, little endian.
    pub(in crate::store) const FORMAT: &str = "format";
    /// 32 random octets, made with the file.
    pub(in crate::store) const SECRET: &str = "secret";
    /// The connectors whose objects are noted in [`MOVED`](super::MOVED); see `password.rs`.
    pub(in crate::store) const WATCHED: &str = "watched";
}
