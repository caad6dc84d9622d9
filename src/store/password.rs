//! What is remembered of the password of an account: when it was seen and sent, what came of it, when to try again.
//!
//! Never a hash, nor anything made of one: whoever reads the file learns when somebody changed a password, not which
//! (ARCHITECTURE.md, invariant 18). An account that has to be sent is read from its directory again.

use super::fault::Fault;
use super::record::{self, Flaw};
use super::tables;
use super::write::{Tally, last_of_each, write_rows};
use crate::model::{ConnectorId, CsId, Timestamp};
use redb::{ReadableTable, WriteTransaction};
use rkyv::with::InlineAsBox;
use rkyv::{Archive, Serialize};

/// What became of the password of an account: the names of Microsoft's status log (specification: sync engine 7.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PasswordStatus {
    /// The target took it.
    Success,
    /// A temporary password that the target would not take as such.
    FilteredByTarget,
    /// Nothing in the target that it could be sent to.
    NoTargetConnection,
    /// The account is not in its connector space, or no rule wants its password.
    SourceConnectorNotPresent,
    /// The target object was not exported yet, or the target does not know it yet.
    TargetNotExportedToDirectory,
    /// An entry of an older form of the log.
    MigratedCheckDetailsForMoreInfo,
    /// The target, or the directory, refused this account.
    Error,
    /// The batch that it was in got no answer.
    Unknown,
    /// The directory holds no password for it.
    MissingAttribute,
    /// The target was busy and asked to come again.
    RetryRequestedByTarget,
}

impl PasswordStatus {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Success,
        Self::FilteredByTarget,
        Self::NoTargetConnection,
        Self::SourceConnectorNotPresent,
        Self::TargetNotExportedToDirectory,
        Self::MigratedCheckDetailsForMoreInfo,
        Self::Error,
        Self::Unknown,
        Self::MissingAttribute,
        Self::RetryRequestedByTarget,
    ];

    /// The name that people know.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "Success",
            Self::FilteredByTarget => "FilteredByTarget",
            Self::NoTargetConnection => "NoTargetConnection",
            Self::SourceConnectorNotPresent => "SourceConnectorNotPresent",
            Self::TargetNotExportedToDirectory => "TargetNotExportedToDirectory",
            Self::MigratedCheckDetailsForMoreInfo => "MigratedCheckDetailsForMoreInfo",
            Self::Error => "Error",
            Self::Unknown => "Unknown",
            Self::MissingAttribute => "MissingAttribute",
            Self::RetryRequestedByTarget => "RetryRequestedByTarget",
        }
    }

    // Part of the format, like the codes in `record.rs`.
    fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::FilteredByTarget => 1,
            Self::NoTargetConnection => 2,
            Self::SourceConnectorNotPresent => 3,
            Self::TargetNotExportedToDirectory => 4,
            Self::MigratedCheckDetailsForMoreInfo => 5,
            Self::Error => 6,
            Self::Unknown => 7,
            Self::MissingAttribute => 8,
            Self::RetryRequestedByTarget => 9,
        }
    }
}

/// Which change of a password: two with the same time and version are one and the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PasswordStamp {
    /// When it was changed in the directory.
    pub changed: Option<Timestamp>,
    /// The how many-th change it was there, where the directory counts.
    pub version: Option<u32>,
}

/// The last time that the target took the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordSent {
    /// The change that was sent.
    pub stamp: PasswordStamp,
    /// It was sent as one to be changed at the next sign-in.
    pub force_change: bool,
    /// When the target took it.
    pub at: Timestamp,
    /// The target object.
    pub target: CsId,
    /// The target's own key of it.
    pub cloud_anchor: String,
    /// What stood behind the `@` of its sign-in name, in lower case.
    pub suffix: String,
}

/// What is remembered of the password of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordRecord {
    /// How it stands.
    pub status: PasswordStatus,
    /// The account took part when it was last looked at.
    pub routed: bool,
    /// The password has to be changed at the next sign-in, as far as the directory told.
    pub must_change: bool,
    /// The directory told that the account is disabled, and no synchronization has read that since.
    pub disabled: bool,
    /// The newest change seen.
    pub seen: Option<PasswordStamp>,
    /// The last success.
    pub sent: Option<PasswordSent>,
    /// The last attempt to send it.
    pub attempted: Option<Timestamp>,
    /// Attempts in vain since the last success, or since there was news.
    pub attempts: u32,
    /// There is something to do, not before this time; `None`: nothing until there is news.
    pub next: Option<Timestamp>,
    /// The target's number for the last result, if it gave one.
    pub code: Option<i64>,
    /// The last result for people, without secrets; may be empty.
    pub detail: String,
}

impl PasswordRecord {
    /// A record of an account that nothing was done for yet.
    pub fn new(status: PasswordStatus) -> Self {
        Self {
            status,
            routed: false,
            must_change: false,
            disabled: false,
            seen: None,
            sent: None,
            attempted: None,
            attempts: 0,
            next: None,
            code: None,
            detail: String::new(),
        }
    }
}

/// What of a connector space the password agent has to be told of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// Also objects that somebody refers to anew, or no longer: rules ask who is a member of what.
    pub referred: bool,
}

#[derive(Archive, Serialize, Clone, Copy)]
struct StampV1 {
    changed: Option<i64>,
    version: Option<u32>,
}

#[derive(Archive, Serialize)]
struct PasswordRecordV1<'a> {
    status: u8,
    /// See the constants of [`flag`].
    flags: u8,
    attempts: u32,
    seen: StampV1,
    sent: StampV1,
    sent_at: i64,
    target: u64,
    attempted: Option<i64>,
    next: Option<i64>,
    code: Option<i64>,
    #[rkyv(with = InlineAsBox)]
    cloud_anchor: &'a str,
    #[rkyv(with = InlineAsBox)]
    suffix: &'a str,
    #[rkyv(with = InlineAsBox)]
    detail: &'a str,
}

mod flag {
    pub(super) const ROUTED: u8 = 1;
    pub(super) const MUST_CHANGE: u8 = 2;
    pub(super) const SEEN: u8 = 4;
    pub(super) const SENT: u8 = 8;
    pub(super) const FORCED: u8 = 16;
    pub(super) const DISABLED: u8 = 32;
}

fn stamp(stamp: PasswordStamp) -> StampV1 {
    StampV1 { changed: stamp.changed.map(|changed| changed.0), version: stamp.version }
}

/// The record of an account's password.
pub(super) fn encode(record: &PasswordRecord) -> Result<Vec<u8>, Flaw> {
    let sent = record.sent.as_ref();
    let flags = [
        (record.routed, flag::ROUTED),
        (record.must_change, flag::MUST_CHANGE),
        (record.seen.is_some(), flag::SEEN),
        (sent.is_some(), flag::SENT),
        (sent.is_some_and(|sent| sent.force_change), flag::FORCED),
        (record.disabled, flag::DISABLED),
    ];
    let archive = PasswordRecordV1 {
        status: record.status.code(),
        flags: flags.iter().filter(|(set, _)| *set).fold(0, |flags, (_, flag)| flags | flag),
        attempts: record.attempts,
        seen: stamp(record.seen.unwrap_or_default()),
        sent: stamp(sent.map(|sent| sent.stamp).unwrap_or_default()),
        sent_at: sent.map_or(0, |sent| sent.at.0),
        target: sent.map_or(0, |sent| sent.target.0),
        attempted: record.attempted.map(|at| at.0),
        next: record.next.map(|at| at.0),
        code: record.code,
        cloud_anchor: sent.map_or("", |sent| &sent.cloud_anchor),
        suffix: sent.map_or("", |sent| &sent.suffix),
        detail: &record.detail,
    };
    record::encode(&archive, 128 + record.detail.len())
}

/// The password record in a row.
pub(super) fn decode(bytes: &[u8]) -> Result<PasswordRecord, Flaw> {
    let record = record::access::<ArchivedPasswordRecordV1<'static>>(bytes)?;
    let has = |flag: u8| record.flags & flag != 0;
    let stamp = |stamp: &ArchivedStampV1| PasswordStamp {
        changed: stamp.changed.as_ref().map(|changed| Timestamp(changed.to_native())),
        version: stamp.version.as_ref().map(|version| version.to_native()),
    };
    Ok(PasswordRecord {
        status: PasswordStatus::ALL.into_iter().find(|status| status.code() == record.status).ok_or("a status of an unknown kind")?,
        routed: has(flag::ROUTED),
        must_change: has(flag::MUST_CHANGE),
        disabled: has(flag::DISABLED),
        seen: has(flag::SEEN).then(|| stamp(&record.seen)),
        sent: has(flag::SENT).then(|| PasswordSent {
            stamp: stamp(&record.sent),
            force_change: has(flag::FORCED),
            at: Timestamp(record.sent_at.to_native()),
            target: CsId(record.target.to_native()),
            cloud_anchor: record.cloud_anchor.to_owned(),
            suffix: record.suffix.to_owned(),
        }),
        attempted: record.attempted.as_ref().map(|at| Timestamp(at.to_native())),
        attempts: record.attempts.to_native(),
        next: record.next.as_ref().map(|at| Timestamp(at.to_native())),
        code: record.code.as_ref().map(|code| code.to_native()),
        detail: record.detail.to_owned(),
    })
}

/// A key of the table of accounts that have something to do: connector, time, account.
pub(super) type DueKey = (u16, i64, u64);

/// The row that follows from a record.
pub(super) fn due_key(id: CsId, record: &PasswordRecord) -> Option<DueKey> {
    record.next.map(|next| (id.connector().0, next.0, id.0))
}

/// Writes records with the rows that follow from them; `None` removes.
pub(super) fn write(
    transaction: &WriteTransaction,
    mut records: Vec<(CsId, Option<PasswordRecord>)>,
    tally: &mut Tally,
) -> Result<(), Fault> {
    last_of_each(&mut records);
    if records.is_empty() {
        return Ok(());
    }
    let mut table = transaction.open_table(tables::PASSWORD)?;
    let (mut rows, mut due) = (Vec::with_capacity(records.len()), Vec::new());
    for (id, record) in records {
        let flawed = |flaw| Fault::damaged(format!("password {id}"), flaw);
        tally.read += 1;
        // A record that cannot be read gives way; its row of what is due, if there was one, is `check`'s to find.
        let before = table.get(id.0)?.and_then(|row| decode(row.value()).ok()).and_then(|record| due_key(id, &record));
        let after = record.as_ref().and_then(|record| due_key(id, record));
        if before != after {
            due.extend(before.map(|key| (key, None)));
            due.extend(after.map(|key| (key, Some(()))));
        }
        rows.push((id.0, record.as_ref().map(encode).transpose().map_err(flawed)?));
    }
    let rows: Vec<_> = rows.iter().map(|(id, bytes)| (*id, bytes.as_deref())).collect();
    write_rows(&mut table, &rows, tally)?;
    drop(table);
    due.sort_unstable_by_key(|(key, _)| *key);
    write_rows(&mut transaction.open_table(tables::PASSWORD_DUE)?, &due, tally)
}

/// The row of watched connectors: three octets each, the number and what is watched.
pub(super) fn encode_watched(watched: &[(ConnectorId, Watch)]) -> Vec<u8> {
    watched
        .iter()
        .flat_map(|(connector, watch)| [connector.0.to_le_bytes()[0], connector.0.to_le_bytes()[1], u8::from(watch.referred)])
        .collect()
}

/// The watched connectors in a row.
pub(super) fn decode_watched(bytes: &[u8]) -> Vec<(ConnectorId, Watch)> {
    let each = |row: &[u8]| (ConnectorId(u16::from_le_bytes([row[0], row[1]])), Watch { referred: row[2] & 1 == 1 });
    bytes.chunks_exact(3).map(each).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> PasswordRecord {
        PasswordRecord {
            status: PasswordStatus::Error,
            routed: true,
            must_change: true,
            disabled: true,
            seen: Some(PasswordStamp { changed: Some(Timestamp(5)), version: None }),
            sent: Some(PasswordSent {
                stamp: PasswordStamp { changed: Some(Timestamp(-4)), version: Some(7) },
                force_change: true,
                at: Timestamp(9),
                target: CsId::new(ConnectorId(3), 8),
                cloud_anchor: "User_1".to_owned(),
                suffix: "müller.example".to_owned(),
            }),
            attempted: Some(Timestamp(10)),
            attempts: 3,
            next: Some(Timestamp(20)),
            code: Some(-2),
            detail: "the target said no".to_owned(),
        }
    }

    #[test]
    fn a_record_comes_back_as_it_went() {
        for record in [full(), PasswordRecord::new(PasswordStatus::Success), PasswordRecord { sent: None, code: None, ..full() }] {
            assert_eq!(decode(&encode(&record).unwrap()).unwrap(), record);
        }
        for status in PasswordStatus::ALL {
            assert_eq!(decode(&encode(&PasswordRecord::new(status)).unwrap()).unwrap().status, status);
        }
    }

    #[test]
    fn no_damage_to_one_octet_panics() {
        let good = encode(&full()).unwrap();
        assert!(good.len() < 200, "{}", good.len());
        for index in 0..good.len() {
            for change in [1u8, 0x80, 0xff] {
                let mut bytes = good.clone();
                bytes[index] ^= change;
                drop(decode(&bytes));
            }
            assert!(decode(&good[..index]).is_err(), "cut at {index}");
        }
    }

    #[test]
    fn watched_connectors_come_back() {
        let watched = vec![(ConnectorId(1), Watch::default()), (ConnectorId(700), Watch { referred: true })];
        assert_eq!(decode_watched(&encode_watched(&watched)), watched);
        assert_eq!(decode_watched(&[]), []);
    }
}
