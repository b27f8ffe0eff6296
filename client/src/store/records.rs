//! The records of the store that are not types of the protocol.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use tombolo_protocol::codec::store::{decode, encode};
use tombolo_protocol::commit::Offer;
use tombolo_protocol::error::DecodeError;
use tombolo_protocol::ids::{
    DeviceId, FieldTag, Hash16, Mark, PushNo, RowKey, RowNo, Section, Seq, UserId, Version, WorkspaceId,
};
use tombolo_protocol::outbox::Pending;
use tombolo_protocol::row::{Life, Row, Stamped};
use tombolo_protocol::value::Value;

/// META: the store format (u32).
pub(crate) const FORMAT: &str = "format";
/// META: [`Account`].
pub(crate) const ACCOUNT: &str = "account";
/// META: the user's role (`Role`), learnt at login; stores of a login before it was kept have none.
pub(crate) const ROLE: &str = "role";
/// META: `Cursors`.
pub(crate) const CURSORS: &str = "cursors";
/// META: [`SyncState`].
pub(crate) const SYNC: &str = "sync";
/// META: the device (`Option<DeviceId>`) under which what is frozen was frozen, where a login issued another since. A program that
/// does not know it says Hello as the new device, is taken for a copy, and sends all of it again: at worst a person is asked. So the
/// format of the store is the same.
pub(crate) const FROZEN_UNDER: &str = "frozen under";
/// META: the rate of the link when it was last caught up over, in bytes a second (u32); zero where it is not known.
pub(crate) const RATE: &str = "rate";

/// Whom the store belongs to, learnt at login.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Account {
    /// The server's address, as it was given at login.
    pub url: String,
    /// The workspace (H2).
    pub workspace: WorkspaceId,
    /// The user.
    pub user: UserId,
    /// The name that the user logged in with.
    pub user_name: String,
    /// The device id of this store.
    pub device: DeviceId,
    /// The device's token; `None` after a logout.
    pub token: Option<String>,
}

/// Everything small that moves while syncing, in one record.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SyncState {
    /// The newest (seq, hash) that any message gave (T5, T37).
    pub witness: Mark,
    /// The newest frozen push, with its hash.
    pub frozen: (PushNo, Hash16),
    /// The newest push whose answer is durable here, with its hash.
    pub applied: (PushNo, Hash16),
    /// The newest seq of a result that was applied: digests of an older head are not compared (T26).
    pub result_seq: Seq,
    /// Generations of entries up to here are given out, or set aside for the program that has the store open.
    pub generations: u64,
    /// Counts the refetches.
    pub refetches: u32,
    /// Seq of the newest schema that is known.
    pub schema: Seq,
    /// When everything was last caught up, by the device's clock, in milliseconds since 1970.
    pub caught_up_at_ms: i64,
    /// When each section was last refetched because of its digest, by the device's clock; the last day of it (S7).
    pub refetched_at_ms: BTreeMap<Section, i64>,
    /// The next session needs a new device id first: the store is a copy, or in a new life.
    pub needs_device: bool,
    /// Bytes of the acknowledged pushes that are kept.
    pub acknowledged_bytes: u64,
    /// Acknowledged pushes that were dropped before a backup covered them (O11).
    pub acknowledged_dropped: u64,
    /// Another server answered at the address (H2): nothing is sent until a person decides.
    pub other_server: Option<WorkspaceId>,
    /// Some change may wait for a row that it refers to; looked for only then (T19).
    pub awaits_parents: bool,
    /// Some change may have used up its rounds; looked for only then (C6).
    pub rounds_used_up: bool,
    /// Counts the recovery copies, and so the histories that the mirror was of: one is made at each divergence.
    pub recovery_copies: u32,
    /// Changes that go into one push while a voided one is sent again in halves (P6); zero where nothing limits them.
    pub push_changes_max: usize,
}

/// A mirror row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MirrorRow {
    /// The confirmed row.
    pub row: Row,
    /// The number of the refetch that last brought it; the sweep spares those with the newest (S7).
    pub refetch: u32,
}

/// A mirror row as it stands behind its key: what the key says is not said again, and of most commits how little they lie below
/// the row's.
#[derive(Serialize, Deserialize)]
struct BehindKey<'a> {
    no: RowNo,
    seq: Seq,
    ordinal: u32,
    version: Version,
    since_below: u64,
    life: Life,
    refetch: u32,
    /// With each how far its stamp lies below.
    fields: Vec<(FieldTag, u64, Cow<'a, Value>)>,
}

impl MirrorRow {
    /// What stands behind its key.
    pub(super) fn behind_key(&self) -> Vec<u8> {
        let Row { key: _, no, seq, ordinal, version, since, life, fields } = &self.row;
        let below = |earlier: Seq| seq.0.wrapping_sub(earlier.0);
        encode(&BehindKey {
            no: *no,
            seq: *seq,
            ordinal: *ordinal,
            version: *version,
            since_below: below(*since),
            life: *life,
            refetch: self.refetch,
            fields: fields.iter().map(|(tag, field)| (*tag, below(field.stamp), Cow::Borrowed(&field.value))).collect(),
        })
    }

    /// The row that has this behind its key.
    pub(super) fn of(key: RowKey, behind: &[u8]) -> Result<Self, DecodeError> {
        let BehindKey { no, seq, ordinal, version, since_below, life, refetch, fields } = decode(behind)?;
        let above = |below: u64| Seq(seq.0.wrapping_sub(below));
        let field = |(field, below, value): (FieldTag, u64, Cow<'_, Value>)| {
            (field, Stamped { value: value.into_owned(), stamp: above(below) })
        };
        let fields = fields.into_iter().map(field).collect();
        Ok(Self { row: Row { key, no, seq, ordinal, version, since: above(since_below), life, fields }, refetch })
    }
}

/// A value that others replaced under a pending change that does not touch its field.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Displaced {
    /// The field.
    pub field: FieldTag,
    /// What it was.
    pub value: Value,
    /// A seq at which it was that.
    pub from: Seq,
    /// The seq of the change that replaced it.
    pub until: Seq,
}

impl Displaced {
    /// Whether it is what a person had seen whose change has this base.
    pub fn stood_at(&self, base: Seq) -> bool {
        self.from <= base && base < self.until
    }
}

/// A frozen push. Its content stands in the entries that it names, as what they sent; it never changes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FrozenPush {
    /// Its number.
    pub number: PushNo,
    /// Its chained hash, computed once (P1).
    pub hash: Hash16,
    /// The schema that it was written under.
    pub schema: Seq,
    /// Its rows in order, with the group that each belongs to.
    pub rows: Vec<(RowKey, Option<u16>)>,
    /// Sessions that it ended without an answer (P6).
    pub failed_sessions: u32,
}

/// An acknowledged push, kept until a backup covers it (O11).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AcknowledgedPush {
    /// Its commit.
    pub commit: Mark,
    /// What was accepted or agreed.
    pub changes: Vec<(RowKey, Pending)>,
    /// When it was answered, by the server's clock; `None` where the device's did not agree with it, so that its age is not known.
    pub at_ms: Option<i64>,
}

/// Who made a commit, and when.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AuthorRecord {
    /// The user's name.
    pub name: String,
    /// Server time in milliseconds since 1970.
    pub at_ms: i64,
}

/// A mirror set aside after a divergence (H3).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RecoveryCopy {
    /// When, by the device's clock.
    pub at_ms: i64,
    /// From when its days count, by the server's clock: when the device, its clock in agreement, was first caught up again.
    pub counts_from_ms: Option<i64>,
    /// The newest commit that both histories have.
    pub common: Seq,
    /// The newest commit of the lost history that was seen.
    pub witness: Seq,
    /// What the operator chose for edits that the restore lost.
    pub offer: Offer,
    /// Rows in it.
    pub rows: u64,
    /// Changes that are offered again.
    pub offered: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use tombolo_protocol::ids::{RowId, TableTag};

    #[test]
    fn a_mirror_row_comes_back_from_behind_its_key_whatever_its_seqs_are() {
        let key = RowKey { table: TableTag(2), id: RowId::from_bytes([9; 16]) };
        for (seq, since, stamp) in [(300, 7, 299), (7, 300, 8), (u64::MAX, 0, u64::MAX), (0, u64::MAX, 1)] {
            let stamped = Stamped { value: Value::text("Amina"), stamp: Seq(stamp) };
            let row = Row {
                key,
                no: RowNo(70_000),
                seq: Seq(seq),
                ordinal: 3,
                version: Version(4),
                since: Seq(since),
                life: Life::Deleted,
                fields: [(FieldTag(1), stamped)].into(),
            };
            let row = MirrorRow { row, refetch: 5 };
            assert_eq!(MirrorRow::of(key, &row.behind_key()), Ok(row));
        }
    }
}
