//! What the engine tells.

use crate::answers::Tally;
use serde::Serialize;
use tombolo_protocol::ids::{RowKey, Seq};
use tombolo_protocol::message::{Activity, CloseReason, History};

/// Something that a person or a program wants to know.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The server answered and knows this device.
    Online {
        /// The server's clock, in milliseconds since 1970.
        server_ms: i64,
    },
    /// Rows changed in what is shown.
    RowsChanged(Vec<RowKey>),
    /// A delta was applied.
    Progress {
        /// How far the scan has come.
        scanned: Seq,
        /// The server's head.
        head: Seq,
    },
    /// The mirror is exactly the server's state at this head.
    CaughtUp {
        /// The head.
        head: Seq,
    },
    /// A sync is over.
    Synced(SyncReport),
    /// The schema changed.
    SchemaChanged,
    /// The server speaks of things that this program does not understand.
    UpdateNeeded,
    /// Another server answers at this address; nothing was sent or changed (H2).
    OtherServer,
    /// The store is a copy, or was put back: it goes on under a new device id (P3, P4).
    NewLife {
        /// A copy is running somewhere else.
        foreign_process: bool,
    },
    /// The server's history was put back: the mirror was set aside and lost edits are offered again (H3).
    Diverged {
        /// The newest commit in common.
        common: Seq,
        /// What becomes of the edits that it lost.
        lost: Lost,
    },
    /// The mirror was not what the server has.
    DigestMismatch {
        /// In how many sections.
        sections: usize,
        /// They are fetched again; if not, it happened twice in a day and is to be reported.
        refetching: bool,
    },
    /// The history of a row.
    History(Box<History>),
    /// What was done lately.
    Activity(Box<Activity>),
    /// The server restarts.
    Restarting {
        /// Return after this.
        after_ms: u32,
        /// Spread over this.
        window_ms: u32,
    },
    /// The server closed.
    Closed(CloseReason),
}

/// What becomes of acknowledged edits that the server lost, in rows (H4).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Lost {
    /// Offered again.
    pub offered: u64,
    /// Not offered, as the operator chose.
    pub dropped: u64,
}

/// What a sync did.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct SyncReport {
    /// Changes accepted or agreed.
    pub pushed: u64,
    /// Rows applied from deltas and answers.
    pub pulled: u64,
    /// Accepted changes whose row others had changed.
    pub merged: u64,
    /// Changes refused.
    pub refused: u64,
    /// The head that the mirror now is.
    pub head: Seq,
}

impl SyncReport {
    pub(crate) fn add(&mut self, tally: &Tally) {
        self.pushed += tally.pushed;
        self.merged += tally.merged;
        self.refused += tally.refused;
    }
}
