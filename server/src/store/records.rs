//! The records of the tables that are not types of the protocol already.

use serde::{Deserialize, Serialize};
use tombolo_protocol::commit::Grant;
use tombolo_protocol::hash::{CommitHash, Digest};
use tombolo_protocol::ids::{DeviceId, Hash16, PushNo, RowNo, Section, Seq, UserId, WorkspaceId};
use tombolo_protocol::schema::Role;

/// Where the fold stands: everything about the whole workspace.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Meta {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The last commit.
    pub head: Seq,
    /// Its hash.
    pub hash: CommitHash,
    /// The number of the newest row.
    pub last_row: RowNo,
    /// The number of the newest section.
    pub last_section: u32,
    /// The present schema; zero before the first.
    pub schema: Seq,
    /// The last commit that may have changed the list of sections of a user: users, schema, new scopes.
    pub sections_changed: Seq,
}

/// What is kept of every commit for ever, through compaction too (H5).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CommitMark {
    /// Its hash.
    pub hash: CommitHash,
    /// Server time in milliseconds since 1970.
    pub at_ms: i64,
    /// Who made it; nil for the operator.
    pub user: UserId,
    /// Of a push: the device and the push number.
    pub push: Option<(DeviceId, PushNo)>,
}

/// A section as the fold keeps it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SectionRecord {
    /// The section.
    pub section: Section,
    /// Its short name in the feed.
    pub number: u32,
    /// The sum of its live rows' hashes.
    pub digest: Digest,
    /// How many live rows it has.
    pub live: u64,
}

/// A device.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Device {
    /// Its user.
    pub user: UserId,
    /// BLAKE3 of its token; none after logout and revocation.
    pub token: Option<[u8; 32]>,
    /// When the token expires, in milliseconds since 1970.
    pub expires_at_ms: i64,
    /// It may not connect any more.
    pub revoked: bool,
    /// The number of its last recorded push; zero before the first.
    pub last: PushNo,
    /// The hash of that push.
    pub last_hash: Hash16,
}

/// A recorded push of a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RecordedPush {
    /// Its hash.
    pub hash: Hash16,
    /// Its commit.
    pub seq: Seq,
}

/// A compaction of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The last commit that the base stands for.
    pub horizon: Seq,
    /// BLAKE3 of the base.
    pub base: [u8; 32],
}

/// A user.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct User {
    /// The name to log in with.
    pub name: String,
    /// What the user is.
    pub role: Role,
    /// What the user may see.
    pub grant: Grant,
    /// The password as an argon2id PHC string.
    pub password: String,
}
