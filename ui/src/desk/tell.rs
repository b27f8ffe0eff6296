//! What a window asks of its desk, and what it is told.

use crate::presenters::values::Names;
use crate::settings::Settings;
use jiff::tz::TimeZone;
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tombolo_client::csv::Problems;
use tombolo_client::listing::{Listing, Order};
use tombolo_client::protocol::ids::{FieldTag, GroupId, RowId, RowKey, TableTag};
use tombolo_client::protocol::message::History;
use tombolo_client::protocol::outbox::{Pending, Resolution, ResolveError, Seen, WriteError};
use tombolo_client::protocol::schema::{Role, Schema};
use tombolo_client::store::{Account, StoreError};
use tombolo_client::view::{ConflictView, PendingView, RowView};
use tombolo_client::{
    ClientError, Connection, Estimate, LocalError, LocalWrite, Mode, Status, SyncDone, SyncError, SyncProgress, TableInfo,
};

/// Where a history is from.
#[derive(Clone, Copy, Debug)]
pub enum HistorySource {
    /// The server, just now.
    Server,
    /// The server did not answer; this is what it last told, in milliseconds since 1970, if it ever did.
    Offline {
        /// When.
        at_ms: Option<i64>,
    },
    /// The server has put it away; this is what it last told, if it ever did.
    PutAway {
        /// When.
        at_ms: Option<i64>,
    },
}

/// A request.
pub enum Ask {
    /// Open the store again, or read everything again.
    Retry,
    /// Keep the data file that cannot be opened beside, and begin another one.
    SetAside,
    /// Have the window that has the store come to the front.
    ShowOther,
    /// When to be connected.
    Mode(Mode),
    /// Show this table's rows, and go on showing them.
    Table(TableTag),
    /// The order of the rows shown.
    Order(Order),
    /// Show this row, and go on showing it; `None` for none.
    Row(Option<RowKey>),
    /// What a reference to this table may point at.
    Candidates(TableTag),
    /// What it costs to push these rows.
    Estimate(BTreeSet<RowKey>),
    /// Whether what is pending is looked at.
    PendingShown(bool),
    /// Show those behind so many.
    PendingBehind(Passed),
    /// Save rows in one transaction.
    Save {
        /// What is written.
        writes: Vec<LocalWrite>,
        /// The number of the form; the answer has it.
        form: u64,
    },
    /// Delete a row.
    Delete {
        /// The row.
        key: RowKey,
        /// What the person saw of it.
        seen: Seen,
    },
    /// Discard what is pending of a row, or of one field of it.
    Discard {
        /// The row.
        key: RowKey,
        /// Only this field, with its group.
        field: Option<FieldTag>,
    },
    /// Discard what is pending of all these rows.
    DiscardAll(BTreeSet<RowKey>),
    /// Make what was refused, or is offered again, ready to push as it is.
    SendAgain(RowKey),
    /// Undo a discard or a deletion.
    Undo(u64),
    /// Apply a decision.
    Resolve {
        /// The conflict as it was shown.
        shown: Box<ConflictView>,
        /// The decision.
        resolution: Resolution,
    },
    /// Write all tables as CSV into a folder.
    Export(PathBuf),
    /// Read a CSV file and say what it would do.
    Preview {
        /// Into this table.
        table: TableTag,
        /// The file.
        file: PathBuf,
    },
    /// Import a CSV file through the outbox.
    Import {
        /// Into this table.
        table: TableTag,
        /// The file.
        file: PathBuf,
    },
    /// Sign in.
    SignIn {
        /// The server's address.
        address: String,
        /// The user's name.
        name: String,
        /// The password.
        password: String,
        /// What people call this device; empty leaves the name that it has.
        device: String,
    },
    /// Forget the token.
    SignOut,
    /// Sync once.
    Sync {
        /// Push only these.
        only: Option<BTreeSet<RowKey>>,
        /// Sign out if nothing is left.
        sign_out: bool,
    },
    /// Stop the sync.
    CancelSync,
    /// The history of a row.
    History(RowKey),
    /// Who did what, as far as this device heard of it.
    Activity,
    /// Keep what the person chose, in this folder.
    Keep(Box<Settings>, PathBuf),
    /// Switch the network of the demo, at this address.
    Network {
        /// Where the switch is.
        switch: SocketAddr,
        /// On or off.
        on: bool,
    },
    /// End.
    Close,
}

/// What a person did that was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Done {
    /// The form with this number was saved.
    Saved(u64),
    /// A row was deleted; it can be undone.
    Deleted,
    /// A change was discarded; it can be undone.
    Discarded,
    /// Changes of so many rows were discarded; it can be undone.
    DiscardedAll(usize),
    /// A conflict was decided.
    Decided,
    /// What was refused is ready to push again.
    SentAgain,
    /// A discard or a deletion was undone.
    Undone,
    /// So was the discard of many, but for so many, to which something else was done meanwhile.
    UndoneBut(usize),
}

/// Why something did not work, as far as a person can do something about it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Trouble {
    /// No space is left.
    #[error("the disk is full")]
    DiskFull,
    /// The data was written by a newer version.
    #[error("this data was written by a newer version of this program")]
    Newer,
    /// The data was written by a version from before the first release.
    #[error("this data was written by a very early version of this program")]
    Older,
    /// The data is damaged; in which way is for whoever helps.
    #[error("the data file is damaged: {0}")]
    Damaged(String),
    /// A file, or the disk, cannot be read or written.
    #[error("a file cannot be read or written: {0}")]
    Io(String),
    /// The row would be too large.
    #[error("this entry would be too large")]
    TooLarge,
    /// The row was deleted, restored or changed meanwhile.
    #[error("it was changed meanwhile")]
    Moved,
    /// These fields are decided together.
    #[error("{0} belong together")]
    MixedGroup(String),
    /// The other row keeps the value that it must have.
    #[error("the other row must have a value here, and keeps it")]
    Taken,
    /// The row is not there.
    #[error("it is not there any more")]
    Gone,
    /// Anything else, in the words of the program.
    #[error("{0}")]
    Other(String),
}

impl From<&StoreError> for Trouble {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::DiskFull => Self::DiskFull,
            StoreError::Newer { .. } => Self::Newer,
            StoreError::Older { .. } => Self::Older,
            StoreError::Damaged(what) => Self::Damaged(what.clone()),
            StoreError::Io(what) => Self::Io(what.clone()),
            other => Self::Other(other.to_string()),
        }
    }
}

impl From<&ClientError> for Trouble {
    fn from(error: &ClientError) -> Self {
        match (error.store_failure(), error) {
            (Some(store), _) => store.into(),
            (None, ClientError::Local(LocalError::RowTooLarge)) => Self::TooLarge,
            (None, ClientError::Local(LocalError::Resolve(error))) => match error {
                ResolveError::Moved | ResolveError::NoConflict => Self::Moved,
                ResolveError::MixedGroup { fields } => Self::MixedGroup(fields.clone()),
                ResolveError::Taken => Self::Taken,
                other => Self::Other(other.to_string()),
            },
            (None, ClientError::Local(LocalError::Write(WriteError::NoSuchRow | WriteError::Deleted | WriteError::Purged))) => {
                Self::Gone
            }
            (None, other) => Self::Other(other.to_string()),
        }
    }
}

impl Trouble {
    /// With a file.
    pub(super) fn with_file(file: &Path, error: &std::io::Error) -> Self {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => Self::DiskFull,
            _ => Self::Io(format!("{}: {error}", file.display())),
        }
    }
}

/// Why something was not done; nothing of it was.
#[derive(Debug)]
pub enum Failed {
    /// The change is being sent just now.
    InFlight,
    /// It was changed again meanwhile.
    TooLate,
    /// Anything else.
    Trouble(Trouble),
}

/// A row as it is shown, with what it points at.
#[derive(Clone, Debug)]
pub struct RowNews {
    /// Which.
    pub key: RowKey,
    /// As it is shown; `None` where it is not there any more.
    pub view: Option<RowView>,
    /// It is not shown, and not because it was deleted: it left what this device may have.
    pub left: bool,
    /// What is pending of it.
    pub pending: Option<Pending>,
    /// Its title.
    pub title: String,
    /// What the rows are called that it points at, or pointed at before a pending change.
    pub names: Names,
}

/// A reference, and the rows that it points at with what they are called.
pub type Referred = (FieldTag, Vec<(RowId, String)>);

/// What a look at a server's address found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// A Tombolo server.
    Server,
    /// Nothing, or something else.
    Nothing,
}

/// Why a sign-in did not succeed.
#[derive(Debug)]
pub enum SignInFailed {
    /// The address cannot be read.
    Address(String),
    /// No answer.
    Unreachable,
    /// Name or password are wrong.
    Wrong,
    /// Too many failures: wait this many seconds.
    Wait(u64),
    /// Something else answers.
    NotTombolo,
    /// The store belongs to somebody else.
    Other(String),
    /// The server has trouble, in its words.
    Trouble(String),
    /// The server does not want it, in its words.
    Refused(String),
    /// The server is newer than this program.
    Newer,
    /// The store failed.
    Store(Trouble),
}

/// What an import would do, or did.
#[derive(Debug, Default)]
pub struct Import {
    /// Its columns: the header, and the field's label where there is one.
    pub columns: Vec<(String, Option<String>)>,
    /// What has to be corrected.
    pub problems: Problems,
    /// The first rows.
    pub sample: Vec<String>,
    /// How many rows it makes.
    pub created: usize,
    /// How many of those that are here it changes.
    pub updated: usize,
}

/// How many pending changes stand before those that are shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Passed {
    /// Of those that wait for a person.
    pub review: usize,
    /// Of the others.
    pub going: usize,
}

/// What a path is chosen for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PathFor {
    /// The CSV file to import.
    Import,
    /// The folder to export to.
    Export,
}

/// News.
pub enum Tell {
    /// The store is open.
    Opened {
        /// Whom it belongs to.
        account: Option<Account>,
        /// There are tables to show.
        has_schema: bool,
    },
    /// It could not be opened.
    NotOpened {
        /// Another window has it.
        locked: bool,
        /// Why else.
        why: Option<Trouble>,
    },
    /// Somebody opened the same store once more: this window is wanted at the front.
    Rung,
    /// What a person chose, as it was kept, and the folder that an export is offered to.
    Kept(Box<Settings>, PathBuf),
    /// The computer's time zone, before anything else and when it changes.
    Zone(TimeZone),
    /// The data file that could not be opened is kept here.
    SetAside(String),
    /// Whether the window that has the store comes to the front.
    OtherShown(bool),
    /// The tables, and the person's role where it is known.
    Schema(Arc<Schema>, Option<Role>),
    /// How the store stands.
    Status(Box<Status>, Vec<TableInfo>),
    /// How the link stands.
    Connection(Connection),
    /// The server was reached.
    Connected {
        /// How long that took.
        took: Duration,
    },
    /// The rows of the table that is shown.
    Listing {
        /// Of which table.
        table: TableTag,
        /// The rows.
        listing: Listing,
        /// What each reference of theirs points at, where that is little enough to choose from.
        referred: Vec<Referred>,
    },
    /// The row that is shown.
    Row(Box<RowNews>),
    /// What a reference may point at.
    Candidates(TableTag, Listing),
    /// What is pending and what is to decide, with each row's title.
    Pending {
        /// What is pending, at most [`crate::desk::rows::PENDING_SHOWN_MAX`] of each kind.
        pending: Vec<(PendingView, String)>,
        /// How many of each kind stand before those.
        passed: Passed,
        /// What is to decide.
        conflicts: Vec<(ConflictView, String)>,
        /// All that is ready, with its group.
        ready: BTreeMap<RowKey, Option<GroupId>>,
        /// All that waits for a person.
        review: usize,
        /// All that does not: what is ready, is being sent, or waits for another change.
        going: usize,
        /// What the rows are called that the values of all these point at.
        names: Names,
    },
    /// What pushing costs.
    Estimate(Estimate),
    /// Something was written.
    Done {
        /// What.
        done: Done,
        /// The row's title.
        title: String,
        /// It can be undone under this number.
        undo: Option<u64>,
        /// The row.
        key: RowKey,
    },
    /// The form with this number was not saved.
    NotSaved {
        /// The form.
        form: u64,
        /// Why not.
        why: Failed,
    },
    /// Something else was not done.
    NotDone(Failed),
    /// A decision was not taken, for the dialog.
    NotDecided(Trouble),
    /// A file or a folder was chosen, or none.
    PathChosen(PathFor, Option<PathBuf>),
    /// Files were written.
    Exported(Result<(usize, String), Trouble>),
    /// What an import would do.
    Preview {
        /// Into this table.
        table: TableTag,
        /// Of this file.
        file: PathBuf,
        /// What, or why nobody knows.
        result: Result<Import, Trouble>,
    },
    /// An import was done: rows that became pending; or nothing, where the file has problems by now.
    Imported(Result<Result<usize, Problems>, Trouble>),
    /// What a look at an address found.
    Found(String, Found),
    /// The sign-in's end.
    SignedIn(Result<Account, SignInFailed>),
    /// Signed out.
    SignedOut,
    /// A sync has begun or goes on.
    Progress(SyncProgress),
    /// A sync ended.
    Synced {
        /// How.
        result: Result<SyncDone, SyncError>,
        /// Changes that are still here, and those of them that wait for the person; `None` where the store cannot tell.
        waiting: Option<(usize, usize)>,
    },
    /// The history of a row.
    History {
        /// The row.
        key: RowKey,
        /// The history, if any is known.
        history: Option<History>,
        /// What the rows are called that its values point at.
        names: Names,
        /// Where it is from.
        source: HistorySource,
    },
    /// Who did what, newest first.
    Activity(super::Deeds),
    /// The demo's network is on, or off.
    Network(bool),
    /// The data was copied from another device, or put back.
    NewLife,
    /// The server was put back.
    PutBack {
        /// Changes offered again.
        offered: u64,
    },
    /// Something failed.
    Trouble(Trouble),
}
