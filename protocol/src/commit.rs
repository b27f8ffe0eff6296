//! Commits: what the log holds. The log is the truth, and everything else that the server holds is a fold over it.

use crate::change::{Effect, LostValue, VerdictRuns};
use crate::codec::{Decode, Encode};
use crate::ids::{DeviceId, Hash16, PushNo, RowId, RowKey, Seq, UserId, WorkspaceId};
use crate::schema::Role;

/// A commit. Its hash is taken over its stored bytes, chained over the hash of the one before ([`crate::hash::CommitHash`]).
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Commit {
    /// Its place in the log, gap-free from 1.
    pub seq: Seq,
    /// Server time in milliseconds since 1970; shown, and decides token expiry, orders nothing (H8).
    pub at_ms: i64,
    /// Who made it; the nil user is the operator of the server.
    pub user: UserId,
    /// What it is.
    pub body: CommitBody,
}

/// What a commit is.
// Append-only; the order is the number in the log.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum CommitBody {
    /// 0: the first commit of a workspace.
    Workspace {
        /// Its random id.
        id: WorkspaceId,
    },
    /// 1: a schema, as the text of its file (H7).
    Schema {
        /// The text.
        text: String,
    },
    /// 2: a decided push, also one with nothing accepted (T13).
    Push(PushRecord),
    /// 3: users, grants, devices and tokens.
    Access(AccessChange),
    /// 4: the first commit after the store was put back from a backup (H4).
    Restore {
        /// Whether clients offer again what the restore lost.
        offer: Offer,
    },
    /// 5: deleted rows whose values are purged; their identity stays (H5).
    Purge {
        /// The rows.
        rows: Vec<RowKey>,
    },
    /// 6: the log was compacted: the contents of the commits up to the horizon may be gone, and the base stands for them (H5).
    Checkpoint {
        /// The last commit that the base stands for.
        horizon: Seq,
        /// BLAKE3 of the base: of everything that is folded from the log, as it was at the horizon.
        base: [u8; 32],
    },
}

/// A decided push.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct PushRecord {
    /// The device.
    pub device: DeviceId,
    /// Its number.
    pub number: PushNo,
    /// Its hash.
    pub hash: Hash16,
    /// Recorded as empty at the client's wish (P6).
    pub void: bool,
    /// The schema that it was written under.
    pub schema: Seq,
    /// Every row that it names, in its order, with the base that an answer is read from (P5); empty when void.
    pub rows: Vec<RecordedRow>,
    /// One verdict for each of them.
    pub verdicts: VerdictRuns,
    /// What changed, in feed order: the ordinal of an effect is its index.
    pub effects: Vec<Effect>,
    /// Values that lost in decisions of people.
    pub lost: Vec<(RowKey, LostValue)>,
    /// When the newest of its edits was made, by the device's clock.
    pub edited_at_ms: i64,
}

/// A row that a push named.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct RecordedRow {
    /// The row.
    pub key: RowKey,
    /// The base from which an answer brings it.
    pub view_base: Seq,
}

/// A change of users, grants, devices or tokens.
// Append-only; the order is the number in the log.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum AccessChange {
    /// 0: a user as it is from now on; made if new.
    User {
        /// The user.
        id: UserId,
        /// The name to log in with, unique.
        name: String,
        /// What the user is.
        role: Role,
        /// What the user may see.
        grant: Grant,
        /// The password as an argon2id PHC string.
        password: String,
    },
    /// 1: a device was issued to a user, or a new token to a device; the token that it had stops working.
    Token {
        /// The device.
        device: DeviceId,
        /// Its user.
        user: UserId,
        /// BLAKE3 of the token.
        token: [u8; 32],
        /// When it expires, in milliseconds since 1970 by the server's clock.
        expires_at_ms: i64,
    },
    /// 2: a device may not connect any more.
    DeviceRevoked {
        /// The device.
        device: DeviceId,
    },
    /// 3: a user's token of a device was given back (logout).
    TokenRevoked {
        /// The device.
        device: DeviceId,
    },
    /// 4: what people call a device from now on.
    DeviceNamed {
        /// The device.
        device: DeviceId,
        /// 1 to 64 bytes.
        name: String,
    },
}

/// Which scopes a user has.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, serde::Serialize, serde::Deserialize)]
pub enum Grant {
    /// 0: all, also those made later.
    All,
    /// 1: these rows of the scope table.
    Scopes(Vec<RowId>),
}

impl Grant {
    /// Whether a scope is granted.
    pub fn covers(&self, scope: RowId) -> bool {
        match self {
            Self::All => true,
            Self::Scopes(scopes) => scopes.contains(&scope),
        }
    }
}

/// Whether clients offer again acknowledged edits that a restore lost; deletions are always asked (H4).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, serde::Serialize, serde::Deserialize)]
pub enum Offer {
    /// 0: as pending changes.
    Yes,
    /// 1: as items to review.
    Ask,
    /// 2: not at all.
    No,
}
