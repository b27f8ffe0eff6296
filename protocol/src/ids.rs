//! Newtypes for everything that is counted or named, so that a seq is never passed for a row number.

use crate::codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

macro_rules! counted {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    };
}

macro_rules! named {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        pub struct $name(pub Uuid);

        impl $name {
            /// The sixteen bytes of the UUID.
            pub fn bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
            /// The id with these sixteen bytes.
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
        impl std::str::FromStr for $name {
            type Err = uuid::Error;
            fn from_str(s: &str) -> Result<Self, uuid::Error> {
                Uuid::parse_str(s).map(Self)
            }
        }
        crate::codec::uuid_newtype!($name);
    };
}

counted! {
    /// Position of a commit in the log. Gap-free from 1; 0 means "before the first commit".
    Seq(u64)
}
counted! {
    /// The server's short name of a row, 1, 2, 3 ... in (commit, ordinal) order; a name on the wire only (H6).
    RowNo(u64)
}
counted! {
    /// How often a row was changed, as shown to people; nothing is ever compared by it.
    Version(u64)
}
counted! {
    /// Number of a push, counted 1, 2, 3 ... by each device (P1).
    PushNo(u64)
}
counted! {
    /// Stable numeric name of a table in the schema.
    TableTag(u16)
}
counted! {
    /// Stable numeric name of a field within its table.
    FieldTag(u16)
}
counted! {
    /// The generation of an outbox entry: raised by each local write, so that a view can say which one it showed (O2).
    Generation(u64)
}

named! {
    /// A row's identity: a UUIDv7 made by the client that created it.
    RowId
}
named! {
    /// A device (one client store), issued by the server and bound to a user.
    DeviceId
}
named! {
    /// A user.
    UserId
}
named! {
    /// A workspace: one schema, one log. Random, learnt by clients at login and kept (H2).
    WorkspaceId
}
named! {
    /// A group of changes that are admitted together or not at all (O7).
    GroupId
}

impl Seq {
    /// The next position.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl PushNo {
    /// The next number.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A table and a row in it: the key of a mirror row and of an outbox entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode, Serialize, Deserialize)]
pub struct RowKey {
    /// The table.
    pub table: TableTag,
    /// The row.
    pub id: RowId,
}

/// A place in the feed: a commit and an entry within it (trap T3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Encode, Decode, Serialize, Deserialize)]
pub struct Position {
    /// The commit.
    pub seq: Seq,
    /// The entry within the commit, counted from 0; [`Position::END`] where the whole commit is meant.
    pub ordinal: u32,
}

impl Position {
    /// Ordinal that lies behind every entry of a commit.
    pub const END: u32 = u32::MAX;
    /// Before the first commit.
    pub const START: Self = Self { seq: Seq(0), ordinal: Self::END };

    /// The position behind all entries of `seq`.
    pub fn end_of(seq: Seq) -> Self {
        Self { seq, ordinal: Self::END }
    }
}

/// The first sixteen bytes of a BLAKE3 hash: of a commit, a push, a schema or a section list, as they go over the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode, Serialize, Deserialize)]
pub struct Hash16(pub [u8; 16]);

impl fmt::Display for Hash16 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Hash16 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash16({self})")
    }
}

/// A commit named by its place and its hash: what a client keeps as its witness (T5, T37).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Encode, Decode, Serialize, Deserialize)]
pub struct Mark {
    /// The commit's position.
    pub seq: Seq,
    /// The commit's hash.
    pub hash: Hash16,
}

/// The part of the data that a user is granted: a table, and the value of its scope field where it has one.
///
/// It is the unit of feed, cursor, digest, fill and eviction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode, Serialize, Deserialize)]
pub struct Section {
    /// The table.
    pub table: TableTag,
    /// The scope field and its value; `None` for a table without scope.
    pub scope: Option<ScopeKey>,
}

/// The scope field of a table and one value of it, the id of a row of the schema's scope table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode, Serialize, Deserialize)]
pub struct ScopeKey {
    /// The table's scope field: part of the key, so that a schema that changes it empties old sections and fills new ones.
    pub field: FieldTag,
    /// The row of the scope table.
    pub value: RowId,
}
