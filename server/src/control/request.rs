//! What is asked, and what is answered.

use crate::net::hub::Unavailable;
use crate::store::StoreError;
use serde::{Deserialize, Serialize};
use std::fmt;
use tombolo_protocol::ids::{DeviceId, UserId};
use tombolo_protocol::schema::Role;

/// A command.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    UserAdd {
        name: String,
        role: Role,
        /// Ids or titles; all scopes where there is none.
        scopes: Vec<String>,
        /// As a PHC string: passwords do not travel.
        password: String,
    },
    UserList,
    UserPassword {
        name: String,
        /// As a PHC string.
        password: String,
    },
    DeviceList,
    DeviceRevoke {
        id: String,
    },
    /// The file follows.
    Import {
        table: String,
        set: Vec<(String, String)>,
    },
    /// The file comes before the answer.
    Export {
        table: String,
    },
    Verify,
    /// Put away the contents of older commits.
    Compact {
        keep_days: u32,
    },
    /// A schema for the workspace.
    Schema {
        text: String,
    },
}

/// What was done.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    UserAdded(UserLine),
    Users(Vec<UserLine>),
    PasswordChanged {
        name: String,
    },
    Devices(Vec<DeviceLine>),
    Revoked {
        device: DeviceId,
        user: String,
    },
    Imported {
        table: String,
        created: u64,
        updated: u64,
        unchanged: u64,
        head: u64,
    },
    Exported {
        table: String,
        rows: u64,
    },
    Verified {
        sound: bool,
        report: String,
    },
    Compacted {
        /// The commit that says so.
        commit: u64,
        horizon: u64,
        dropped: u64,
        kept: u64,
        /// Of the data file.
        bytes_before: u64,
        bytes_after: u64,
    },
    NothingToCompact {
        keep_days: u32,
    },
    /// What it changed, if anything.
    Schema {
        name: String,
        changed: Option<String>,
        /// Tables and fields that are not shown any more.
        hidden: Vec<String>,
    },
}

/// A user as a list shows it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct UserLine {
    pub(crate) id: UserId,
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) grant: GrantShown,
}

/// The scopes of a user, as people know them.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) enum GrantShown {
    All,
    /// Ids and titles.
    Scopes(Vec<(String, String)>),
}

/// A device as a list shows it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct DeviceLine {
    pub(crate) id: DeviceId,
    /// What people call it; empty where nobody named it.
    pub(crate) name: String,
    pub(crate) user: String,
    /// `active`, `logged out`, `expired` or `revoked`.
    pub(crate) state: String,
    /// Its last push.
    pub(crate) pushes: u64,
}

/// Why nothing was done: a sentence for the operator.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Refused {
    pub(crate) message: String,
    /// What was asked for cannot be: a word of the command line is wrong.
    pub(crate) usage: bool,
}

impl Refused {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), usage: false }
    }

    /// There is nothing by a name that was given.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), usage: true }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Unavailable> for Refused {
    fn from(error: Unavailable) -> Self {
        Self::new(error.to_string())
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::new(error.to_string())
    }
}
