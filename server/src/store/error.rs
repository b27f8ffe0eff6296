//! What can go wrong with the store, in words for the operator.

use redb::{CommitError, CompactionError, DatabaseError, StorageError, TableError, TransactionError};
use std::io::ErrorKind;
use thiserror::Error;
use tombolo_protocol::error::DecodeError;

/// The store failed, or is not one that this program can use. Nothing that a client sent is ever the cause.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has the file open.
    #[error(
        "the data folder is in use by another tombolo-server; no data is touched. Stop the other one, or use its control commands"
    )]
    Locked,
    /// No space is left for a write.
    #[error("the disk is full, or what this user may write to it: free some space")]
    DiskFull,
    /// The file does not hold what it should.
    #[error(
        "the data file is damaged ({0}). Do not delete it: stop the server, copy the folder aside, and put the last backup back"
    )]
    Damaged(String),
    /// Written by a newer version of this program.
    #[error("the data file has format {found}, this program knows formats up to {known}: use the newer program again")]
    NewerFormat {
        /// The format of the file.
        found: u32,
        /// The newest format that this program knows.
        known: u32,
    },
    /// There is a store, but no workspace in it.
    #[error("there is no workspace in this data folder yet: make one with `tombolo-server init`")]
    NotInitialised,
    /// An earlier read or durable write failed, so that nothing may be answered from memory (P9).
    #[error("an earlier read or write failed; the store must be opened again before anything is answered from it")]
    Poisoned,
    /// The operating system reported an error.
    #[error("the data file cannot be read or written: {0}. Check the disk and the rights of the data folder")]
    Io(std::io::Error),
}

impl StoreError {
    /// A record that is missing or contradicts another one.
    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged(what.into())
    }

    /// Whether nothing can be read from the file any more before it is opened again: redb gives it up at the first failure of
    /// the operating system, also of a read. A record that contradicts another one is no such failure.
    pub(crate) fn ends_reading(&self) -> bool {
        matches!(self, Self::Io(_) | Self::DiskFull | Self::Poisoned)
    }
}

impl From<DecodeError> for StoreError {
    fn from(error: DecodeError) -> Self {
        Self::Damaged(format!("a record does not parse: {error}"))
    }
}

impl From<StorageError> for StoreError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Io(io) => match io.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => Self::DiskFull,
                ErrorKind::InvalidData => Self::Damaged(format!("it is not a data file of Tombolo: {io}")),
                _ => Self::Io(io),
            },
            StorageError::PreviousIo | StorageError::DatabaseClosed => Self::Poisoned,
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<DatabaseError> for StoreError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen => Self::Locked,
            DatabaseError::Storage(storage) => storage.into(),
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<TableError> for StoreError {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Storage(storage) => storage.into(),
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<TransactionError> for StoreError {
    fn from(error: TransactionError) -> Self {
        match error {
            TransactionError::Storage(storage) => storage.into(),
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<CommitError> for StoreError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Storage(storage) => storage.into(),
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<CompactionError> for StoreError {
    fn from(error: CompactionError) -> Self {
        match error {
            CompactionError::Storage(storage) => storage.into(),
            other => Self::Damaged(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_on_files_or_a_quota_is_a_full_disk() {
        for kind in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::FileTooLarge] {
            assert!(matches!(StoreError::from(StorageError::Io(kind.into())), StoreError::DiskFull), "{kind}");
        }
    }
}
