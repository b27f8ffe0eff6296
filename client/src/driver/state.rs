//! What the driver tells: how the link stands, and how a sync ended.

use crate::event::{Event, Lost, SyncReport};
use crate::store::StoreError;
use std::collections::BTreeSet;
use std::time::Duration;
use thiserror::Error;
use tombolo_protocol::ids::{RowKey, Seq};

/// When a client is connected, and when it pushes (section 8).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// Connected; pushes only when asked to sync, while changes of others stream in.
    #[default]
    Manual,
    /// Connected; pushes as soon as there is something.
    Automatic,
    /// Connects only to sync, and closes when caught up.
    Metered,
}

/// How the link to the server stands, for people to see.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Connection {
    /// No link is wanted now.
    #[default]
    Offline,
    /// A link is being opened.
    Connecting,
    /// Connected, and what others changed is still coming: what is shown is older than the server's state, in parts.
    CatchingUp,
    /// Connected, and what is shown is the server's state with this device's own changes over it.
    Online,
    /// Somebody has to log in. Everything that is pending is kept.
    NeedsLogin,
    /// No answer; it is tried again by itself.
    ServerUnreachable {
        /// Since when, in milliseconds since 1970 by the device's clock.
        since_ms: i64,
        /// What is known of the reason.
        why: String,
    },
    /// A login portal, a proxy or another program answers instead of the server; it is tried again by itself.
    CaptivePortal {
        /// What came back.
        what: String,
    },
    /// Another Tombolo server answers at this address; nothing is sent or changed until a person decides (H2).
    OtherServer,
    /// The server speaks of things that this program does not understand.
    UpdateNeeded,
    /// This device's own data failed and cannot be opened again: nothing can be saved. It is tried again by itself, and with each
    /// command.
    StoreFailed {
        /// What came of the last attempt.
        error: StoreError,
    },
}

/// Something for whoever shows this client.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Notice {
    /// What the engine tells.
    Engine(Event),
    /// The link stands differently now.
    Connection(Connection),
    /// The store failed and was opened again, or this subscriber was too slow and missed something: read again what is shown.
    Reread,
}

/// What a sync is to do.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct SyncOptions {
    /// Of what is pending only these rows (with their groups) are pushed; everything without it.
    pub only: Option<BTreeSet<RowKey>>,
    /// Give up waiting after this; without it when the server cannot be reached any more.
    pub timeout: Option<Duration>,
}

/// How far a sync has come.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SyncProgress {
    /// How the link stands.
    pub connection: Connection,
    /// Rows with changes that the server does not have yet.
    pub pending: u64,
    /// Up to where the server's changes have been received.
    pub scanned: Seq,
    /// Where they end.
    pub head: Seq,
    /// Bytes sent since the sync began, on the socket.
    pub bytes_up: u64,
    /// Bytes received since the sync began, on the socket.
    pub bytes_down: u64,
    /// The server's history was put back: what becomes of the edits that it lost (H4).
    pub lost: Option<Lost>,
    /// The store turned out to be a copy, or to have been put back: it goes on under a new device id (P3).
    pub new_life: bool,
}

/// What a sync did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SyncDone {
    /// What the engine counted.
    pub report: SyncReport,
    /// Bytes sent, handshake and TLS included.
    pub bytes_up: u64,
    /// Bytes received, handshake and TLS included.
    pub bytes_down: u64,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

/// Why a sync did not come to its end. What is pending is kept in every case, and goes with the next one.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SyncError {
    /// No answer, or the link broke again and again.
    #[error("the server cannot be reached ({why}). Your edits are kept on this device; sync again when there is a connection")]
    Unreachable {
        /// What is known of the reason.
        why: String,
    },
    /// A portal or a proxy answers.
    #[error(
        "something other than a Tombolo server answers at this address ({what}). Your edits are kept on this device; if this network wants a login in a browser, do that and sync again"
    )]
    CaptivePortal {
        /// What came back.
        what: String,
    },
    /// There is no login, or it is not valid any more.
    #[error("a login is needed. Your edits are kept on this device; log in and sync again")]
    NeedsLogin,
    /// Another workspace answers.
    #[error(
        "another Tombolo server answers at this address. Nothing was sent and nothing was changed; your edits are kept. Ask your administrator, or log in there with another data folder (--store)"
    )]
    OtherServer,
    /// This program is too old.
    #[error("the server is newer than this program understands; please update Tombolo. Your edits are kept on this device")]
    UpdateNeeded,
    /// It was cancelled.
    #[error("the sync was stopped. Your edits are kept on this device; what was not sent yet goes with the next sync")]
    Cancelled,
    /// The time that was given is over.
    #[error(
        "the sync did not come to its end in the time that it was given. Your edits are kept on this device; sync again to go on"
    )]
    TimedOut,
    /// Another one is under way.
    #[error("a sync is under way already")]
    Busy,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The client was stopped.
    #[error("the client was stopped; everything that was saved is safe")]
    Stopped,
}
