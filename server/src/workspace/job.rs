//! What the writer is asked for, and what it answers.

use super::{AccessError, ImportRefusal, ImportWatch, Imported, PurgeError, SchemaRefusal, SchemaReply};
use crate::compact::{Base, CompactError, Compacted};
use std::sync::Arc;
use tombolo_protocol::change::{Change, Push, VerdictRuns};
use tombolo_protocol::commit::{AccessChange, Offer};
use tombolo_protocol::ids::{DeviceId, Hash16, PushNo, RowKey, Seq, UserId};
use tombolo_protocol::limits::GROUP_COMMIT_CHANGES_MAX;

/// A job for the writer. `by` is the author of the commit; [`crate::access::OPERATOR`] for the operator.
#[derive(Clone, PartialEq, Debug)]
pub enum Job {
    /// A push of a device, its rows named by id.
    Push {
        /// The device.
        device: DeviceId,
        /// Its user.
        user: UserId,
        /// The push, with the hash that its frame named.
        push: Push,
    },
    /// Record a number as empty (P6).
    Void {
        /// The device.
        device: DeviceId,
        /// Its user.
        user: UserId,
        /// The number.
        number: PushNo,
        /// The hash of the push that is given up.
        hash: Hash16,
    },
    /// A change of users, grants, devices or tokens.
    Access {
        /// Author.
        by: UserId,
        /// The change.
        change: AccessChange,
    },
    /// Another password for a user, whose name, role and grant stay what they are at the head.
    Password {
        /// Author.
        by: UserId,
        /// The user.
        user: UserId,
        /// The password as an argon2id PHC string.
        password: String,
    },
    /// A token for a device: the one that the store names, if it is that user's, else a new one (P4).
    IssueToken {
        /// The user.
        user: UserId,
        /// The device that the store had.
        device: Option<DeviceId>,
        /// What people call it; `None` where it keeps the name that it has.
        name: Option<String>,
        /// A random id for a new device.
        fresh: DeviceId,
        /// BLAKE3 of the token.
        token: [u8; 32],
        /// When it expires, in milliseconds since 1970.
        expires_at_ms: i64,
    },
    /// A new device and its token for the user of a device that asks for it in its session (P4).
    IssueDevice {
        /// The device that asks.
        asking: DeviceId,
        /// BLAKE3 of the token that opened the session.
        by_token: [u8; 32],
        /// A random id for the new device.
        fresh: DeviceId,
        /// BLAKE3 of its token.
        token: [u8; 32],
        /// When that expires, in milliseconds since 1970.
        expires_at_ms: i64,
    },
    /// A new schema (H7).
    Schema {
        /// Author.
        by: UserId,
        /// The text of its file.
        text: String,
    },
    /// Take the values of deleted rows (H5).
    Purge {
        /// Author.
        by: UserId,
        /// The rows.
        rows: Vec<RowKey>,
    },
    /// A backup was put back: what clients are to do with edits that it lost (H4).
    Restore {
        /// Author.
        by: UserId,
        /// The choice.
        offer: Offer,
    },
    /// A completed backup covers the log up to here.
    Safe {
        /// The seq.
        seq: Seq,
    },
    /// Put away what a base stands for (H5).
    Compact {
        /// Author.
        by: UserId,
        /// The base.
        base: Base,
    },
    /// Any number of changes, all or nothing, as pushes of the server's own device.
    Import {
        /// Author.
        by: UserId,
        /// The changes, parents first.
        changes: Vec<Change>,
        /// How far it has come.
        watch: Arc<ImportWatch>,
    },
}

impl Job {
    /// An import that nobody watches.
    pub fn import(by: UserId, changes: Vec<Change>) -> Self {
        Self::Import { by, changes, watch: Arc::default() }
    }

    /// How much of a group commit it takes, in changes.
    pub fn weight(&self) -> usize {
        match self {
            Self::Push { push, .. } => push.changes.len().max(1),
            Self::Import { changes, .. } => changes.len().max(1),
            Self::Purge { rows, .. } => rows.len().max(1),
            Self::Compact { .. } => GROUP_COMMIT_CHANGES_MAX,
            _ => 1,
        }
    }
}

/// The answer to a job. The store's own errors are not answers: see [`super::Workspace::apply`].
#[derive(Clone, PartialEq, Debug)]
pub enum Reply {
    /// To [`Job::Push`] and [`Job::Void`].
    Push(PushReply),
    /// To [`Job::Access`] and [`Job::Password`]: the commit.
    Access(Result<Seq, AccessError>),
    /// To [`Job::IssueToken`] and [`Job::IssueDevice`]: the device that has the token.
    Token(Result<DeviceId, AccessError>),
    /// To [`Job::Schema`].
    Schema(Result<SchemaReply, SchemaRefusal>),
    /// To [`Job::Purge`]: the commit.
    Purge(Result<Seq, PurgeError>),
    /// To [`Job::Restore`]: the commit.
    Restore(Seq),
    /// To [`Job::Safe`].
    Safe,
    /// To [`Job::Compact`].
    Compact(Result<Compacted, CompactError>),
    /// To [`Job::Import`].
    Import(Result<Imported, ImportRefusal>),
}

/// What became of a push or void.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PushReply {
    /// It is recorded, now or before; the outcome is read from a snapshot.
    Recorded {
        /// Its number.
        number: PushNo,
        /// Its commit.
        seq: Seq,
        /// The verdicts, where it was decided just now.
        verdicts: Option<VerdictRuns>,
    },
    /// The number is recorded with another hash: the store is a copy (P2).
    Copy,
    /// A number in between is missing.
    Gap {
        /// The last recorded number.
        last: PushNo,
    },
    /// The content is not what its hash says: the peer broke the protocol (P1).
    HashMismatch,
    /// The device was revoked; nothing of it is admitted any more.
    Revoked,
}
