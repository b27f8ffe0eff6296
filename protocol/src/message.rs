//! Every message of a session, all in one place (section 8). Variants are append-only and numbered by their order; each has
//! golden bytes, and [`crate::version::PROTOCOL`] changes with them.

use crate::batch::{ChangeBatch, RowBatch};
use crate::change::{Op, PlaceRuns, VerdictRuns};
use crate::codec::{Decode, Encode};
use crate::commit::Offer;
use crate::cursor::{CursorName, Cursors};
use crate::hash::Digest;
use crate::ids::{
    DeviceId, FieldTag, Hash16, Mark, Position, PushNo, RowKey, RowNo, Section, Seq, TableTag, Version, WorkspaceId,
};
use crate::row::RowName;
use crate::value::Value;

/// From the client.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Up {
    /// 0: first of all, inside the upgrade request or as the first frame.
    Hello(Box<Hello>),
    /// 1
    Push(Box<PushMessage>),
    /// 2: record this number as empty; the answer is the recorded outcome or *void* (P6).
    Void {
        /// The number.
        number: PushNo,
        /// The hash of the push that is given up.
        hash: Hash16,
    },
    /// 3: a delta is durable at the client; it gives back one credit.
    AckDelta,
    /// 4: rows of which only a part came (S3).
    WantRow {
        /// The rows.
        rows: Vec<WantedRow>,
    },
    /// 5: the history of a row.
    WantHistory {
        /// The row.
        key: RowKey,
    },
    /// 6: say again that I am caught up, with digests.
    WantCaughtUp,
    /// 7: the answer to [`Down::WhichCommon`]: newest first.
    CommonPairs {
        /// (seq, hash) pairs that the client keeps.
        pairs: Vec<Mark>,
    },
    /// 8: issue me a new device id; the store is a copy, or in a new life (P4).
    NewDevice,
    /// 9: answered at once.
    Ping {
        /// Comes back in the pong.
        nonce: u32,
    },
    /// 10: the client leaves.
    Bye,
    /// 11: what was done lately, by whom.
    WantActivity,
}

/// From the server.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Down {
    /// 0: the checks have passed.
    Welcome(Box<Welcome>),
    /// 1: the store is a copy, or was put back; the server closes behind this (P3).
    Copy(Box<Copied>),
    /// 2: a newer session of this device took over; the server closes behind this (P4). Results precede it in the stream.
    Replaced {
        /// The random number of the process that took over.
        process: u64,
        /// Its connection counter.
        connection: u32,
    },
    /// 3: the witness is unknown: which commits have we in common?
    WhichCommon,
    /// 4: the histories differ; the server closes behind this (H3).
    Diverged(Box<Diverged>),
    /// 5: this is another workspace, or nothing is in common (H2).
    OtherServer {
        /// The workspace that answers.
        workspace: WorkspaceId,
    },
    /// 6: the answer to a push; outside the credit window. Rows that it names and cannot hold came in [`Down::Rows`] ahead of it.
    Result {
        /// Where its rows were read; `None` where that is the outcome's commit.
        snapshot: Option<Mark>,
        /// The outcome.
        outcome: Box<Outcome>,
        /// Who and when, for the stamps that the rows bring.
        authors: Authors,
    },
    /// 7
    Delta(Box<Delta>),
    /// 8
    CaughtUp(Box<CaughtUp>),
    /// 9: the user's sections changed (grants, role or schema).
    Sections {
        /// The head that new fills take: a newer one than the session named before.
        head: Mark,
        /// All sections, sorted.
        sections: Vec<Section>,
    },
    /// 10: the schema, before any row at or after its seq (H7).
    Schema {
        /// The seq of its commit.
        seq: Seq,
        /// The text of its file.
        text: String,
    },
    /// 11
    History(Box<History>),
    /// 12: the answer to [`Up::NewDevice`]; the session goes on under the old id, the next uses the new one.
    DeviceIssued {
        /// The id.
        device: DeviceId,
        /// Its token, shown once.
        token: String,
    },
    /// 13
    Pong {
        /// From the ping.
        nonce: u32,
    },
    /// 14: the server stops and comes back.
    Restarting {
        /// Return after this.
        after_ms: u32,
        /// Spread over this.
        window_ms: u32,
    },
    /// 15: the server closes behind this.
    Closed(CloseReason),
    /// 16: the answer to [`Up::WantRow`]; or rows of a result that one frame cannot hold, ahead of it.
    Rows {
        /// Where they were read; `None` where that is what the session named last.
        snapshot: Option<Mark>,
        /// The rows that the client may see, whole.
        rows: RowBatch,
        /// All that were asked for: those not in `rows` are unknown.
        asked: Vec<WantedRow>,
        /// Who and when.
        authors: Authors,
    },
    /// 17: the answer to [`Up::WantActivity`].
    Activity(Box<Activity>),
}

/// A row that a client wants whole.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Encode, Decode, serde::Serialize, serde::Deserialize)]
pub struct WantedRow {
    /// Its table.
    pub table: TableTag,
    /// The row, by id or by a number that the server gave.
    pub name: RowName,
}

/// What a client says of itself. It waits for no answer: pushes that were never sent may follow at once.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Hello {
    /// Lowest and highest protocol version that the client speaks.
    pub protocol: (u16, u16),
    /// The workspace that it learnt at login.
    pub workspace: WorkspaceId,
    /// Its device id; while pushes are frozen under an earlier one of this user, that one.
    pub device: DeviceId,
    /// Random number of the running process.
    pub process: u64,
    /// Counts the connections of the process.
    pub connection: u32,
    /// Seq of the schema commit that it holds; zero where it has none.
    pub schema: Seq,
    /// Hash of that schema.
    pub schema_hash: Hash16,
    /// Where it stands.
    pub cursors: Cursors,
    /// The newest (seq, hash) that any message gave it.
    pub witness: Mark,
    /// The highest push number whose answer is durable at the client, with its hash; zero where there is none.
    pub applied: (PushNo, Hash16),
    /// The frozen pushes, ascending.
    pub frozen: Vec<(PushNo, Hash16)>,
    /// Last measured rate of the link in bytes a second; zero where it is not known.
    pub rate: u32,
}

/// A push on the wire.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct PushMessage {
    /// Its number.
    pub number: PushNo,
    /// Its hash, as it was frozen.
    pub hash: Hash16,
    /// The schema that it was written under.
    pub schema: Seq,
    /// Its changes.
    pub changes: ChangeBatch,
}

/// The checks have passed. Unsettled pushes are answered first.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Welcome {
    /// The protocol version that is spoken.
    pub protocol: u16,
    /// Server time in milliseconds since 1970, for showing clock differences.
    pub server_ms: i64,
    /// The head, from which everything here was read.
    pub snapshot: Mark,
    /// The device's last push number, with its hash.
    pub last: (PushNo, Hash16),
    /// The recorded outcomes of pushes that Hello named, up to the first that does not fit: the pushes from there on are sent again
    /// and answered by results.
    pub outcomes: Vec<Outcome>,
    /// The user's sections, sorted; `None` where they are those of Hello's cursors.
    pub sections: Option<Vec<Section>>,
    /// Who and when, for the stamps of the outcomes' rows.
    pub authors: Authors,
}

/// The store is a copy, or was put back.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Copied {
    /// The head.
    pub snapshot: Mark,
    /// The device's last push number, with its hash.
    pub last: (PushNo, Hash16),
    /// The recorded outcomes of those frozen pushes whose hashes the client named; without rows where they do not fit. Deltas
    /// bring those: to the new device no change is its own.
    pub outcomes: Vec<Outcome>,
    /// Who and when.
    pub authors: Authors,
}

/// The histories differ.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Diverged {
    /// The newest commit in common.
    pub common: Mark,
    /// The head.
    pub snapshot: Mark,
    /// The recorded outcomes, in the new history, of frozen pushes that the server has; without rows, since every section is
    /// filled anew.
    pub outcomes: Vec<Outcome>,
    /// Who and when; empty, as there are no rows.
    pub authors: Authors,
    /// What the operator chose for edits that the restore lost (H4).
    pub offer: Offer,
}

/// What became of a push.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Outcome {
    /// Its number.
    pub number: PushNo,
    /// Its commit.
    pub commit: Mark,
    /// The verdicts, one for each of its changes; `None` when it was recorded as void.
    pub verdicts: Option<VerdictRuns>,
    /// The accepted changes whose rows are just what the client expects: it may see them, and nobody else changed them since the
    /// base that the push named, before or after it. They are not in `rows`; [`crate::outbox::expected`] says what they are.
    pub as_expected: PlaceRuns,
    /// The row number of the first create in `as_expected`; those of the others follow it. Zero where there is none.
    pub first_created: RowNo,
    /// The other rows that it names, complete as of the snapshot, under present rights (P5); and the other rows of clashes.
    pub rows: RowBatch,
}

/// Rows newer than a cursor.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Delta {
    /// The cursor that it moves.
    pub cursor: CursorName,
    /// The position that it starts from; the client refuses another.
    pub from: Position,
    /// The position that it ends at.
    pub to: Position,
    /// The scan reached the end of the snapshot: the new `complete`.
    pub complete: Option<Seq>,
    /// Where the rows were read; `None` where that is what the session named last ([`crate::hash::Told`]).
    pub snapshot: Option<Mark>,
    /// The rows.
    pub rows: RowBatch,
    /// Who and when.
    pub authors: Authors,
}

/// The head is reached.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct CaughtUp {
    /// The head; `None` where that is the snapshot that the session named last.
    pub head: Option<Mark>,
    /// The seq covered by a completed backup.
    pub safe: Seq,
    /// Seq of the present schema.
    pub schema: Seq,
    /// How many sections the main cursor serves.
    pub sections: u32,
    /// Digests of those sections, by their places in the order of the sections, ascending: those that are not what this session
    /// said last ([`crate::hash::Told`]).
    pub digests: Vec<(u32, Digest)>,
}

/// Who made the commits that stamps name, and when: each once a message.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Authors {
    /// Names of users.
    pub names: Vec<String>,
    /// The commits, ascending.
    pub commits: Vec<Author>,
}

/// Who made a commit, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Author {
    /// The commit.
    pub seq: Seq,
    /// Index of the user's name.
    pub name: u32,
    /// Server time in milliseconds since 1970.
    pub at_ms: i64,
}

/// The history of a row, newest first.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, serde::Serialize, serde::Deserialize)]
pub struct History {
    /// The row.
    pub key: RowKey,
    /// Its changes; empty also where the row is unknown or not visible.
    pub entries: Vec<HistoryEntry>,
    /// Older ones were left out.
    pub more: bool,
}

impl History {
    /// The value before a change of an entry; `None` where the log does not tell any more: a null that no older entry bears out.
    pub fn before<'h>(&self, entry: usize, change: &'h HistoryField) -> Option<&'h Value> {
        let tells =
            |older: &HistoryEntry| older.op == Op::Create || older.fields.iter().any(|known| known.field == change.field);
        let is_told = !self.more || !change.before.is_null() || self.entries.iter().skip(entry + 1).any(tells);
        let is_new = self.entries.get(entry).is_some_and(|entry| entry.op == Op::Create);
        (is_told || is_new).then_some(&change.before)
    }
}

/// One change in a row's history.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, serde::Serialize, serde::Deserialize)]
pub struct HistoryEntry {
    /// The commit.
    pub seq: Seq,
    /// Server time in milliseconds since 1970.
    pub at_ms: i64,
    /// When it was made, by the device's clock.
    pub edited_at_ms: i64,
    /// The user's name.
    pub by: String,
    /// The device.
    pub device: DeviceId,
    /// What people call it; empty where nobody named it.
    #[serde(default)]
    pub device_name: String,
    /// What was done.
    pub op: Op,
    /// Others had changed the row since what it was sent on, and the server merged the two.
    pub merged: bool,
    /// The row's version after it; zero for a decision, which changes no row.
    pub version: Version,
    /// Fields with their values before and after.
    pub fields: Vec<HistoryField>,
    /// Values that lost in a decision.
    pub lost: Vec<(FieldTag, Value)>,
}

/// A field in a history entry.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, serde::Serialize, serde::Deserialize)]
pub struct HistoryField {
    /// The field.
    pub field: FieldTag,
    /// The value before; null where it was absent or is not in the log any more.
    pub before: Value,
    /// The value after.
    pub after: Value,
}

/// What was done lately, newest first.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode, serde::Serialize, serde::Deserialize)]
pub struct Activity {
    /// The pushes that did something to rows which the user may see.
    pub deeds: Vec<Deed>,
    /// Older ones were left out.
    pub more: bool,
}

/// What one push did.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, serde::Serialize, serde::Deserialize)]
pub struct Deed {
    /// Its commit.
    pub seq: Seq,
    /// Server time in milliseconds since 1970.
    pub at_ms: i64,
    /// The user's name.
    pub by: String,
    /// The device.
    pub device: DeviceId,
    /// What people call it; empty where nobody named it.
    #[serde(default)]
    pub device_name: String,
    /// To how many rows of a table what was done, ascending. A decision changes no row, and keeps the values that lost.
    pub rows: Vec<(TableTag, Op, u32)>,
}

/// Why the server closes.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[non_exhaustive]
pub enum CloseReason {
    /// 0: the client speaks no version that the server speaks: please update.
    Version {
        /// Lowest that the server speaks.
        lowest: u16,
        /// Highest that the server speaks.
        highest: u16,
    },
    /// 1: the token is not valid (any more): log in again.
    Unauthorized,
    /// 2: the client broke the protocol.
    Violation {
        /// In words.
        what: String,
    },
    /// 3: the server has trouble of its own; come back later.
    TryLater {
        /// After this.
        after_ms: u32,
    },
    /// 4: a late connection of a process that has a newer one (P4).
    Late,
    /// 5: the device was revoked.
    Revoked,
    /// 6: a push of this session met a defect of the server, or one of those that were decided with it did. Nothing of them was
    /// done; come back later. After some of these the client gives the push up (P6).
    Defect {
        /// After this.
        after_ms: u32,
    },
}
