//! The client's embedded store. One durable step is one transaction ([`Store::write`]); everything that is read together is
//! read from one snapshot ([`Store::read`]).

mod access;
mod guard;
mod migrations;
mod pairs;
mod records;
pub mod tables;

pub use access::{Source, Tables};
pub(crate) use guard::guarded;
pub use migrations::STORE_FORMAT;
pub use records::*;

use redb::{
    Builder, CommitError, Database, DatabaseError, ReadTransaction, ReadableDatabase, StorageBackend, StorageError, TableError,
    TransactionError, WriteTransaction,
};
use std::io::ErrorKind;
use std::path::Path;
use thiserror::Error;
use tombolo_protocol::error::DecodeError;
use tombolo_protocol::planted::{Planted, planted};

/// The database's cache in bytes; redb's own default of 1 GiB is too much for a laptop.
pub const CACHE_BYTES: usize = 24 * 1024 * 1024;

/// Why the store failed. After a failed commit the handle is dropped and the store opened again.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has it open.
    #[error("the data of this user is open in another Tombolo program; close that first (nothing was changed)")]
    Locked,
    /// No space is left.
    #[error(
        "the disk is full; this was most likely not saved, so look before you repeat it. Free some space; what was saved before is safe"
    )]
    DiskFull,
    /// It was written by a newer version.
    #[error(
        "this data was written by a newer Tombolo (store format {found}, this program knows {STORE_FORMAT}); please update"
    )]
    Newer {
        /// The format found.
        found: u32,
    },
    /// It was written by a version from before the first release, whose records are read no more.
    #[error(
        "this data was written by an early Tombolo (store format {found}, which this program does not read). Nothing was changed: sync what is pending with that program, then log in with another data folder (--store)"
    )]
    Older {
        /// The format found.
        found: u32,
    },
    /// It is not a store, or it is damaged.
    #[error("the data file is damaged or is not a Tombolo store: {0}")]
    Damaged(String),
    /// The disk failed.
    #[error("the data file could not be read or written: {0}")]
    Io(String),
}

impl From<DecodeError> for StoreError {
    fn from(error: DecodeError) -> Self {
        Self::Damaged(error.to_string())
    }
}

impl From<StorageError> for StoreError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Io(io)
                if matches!(io.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge) =>
            {
                Self::DiskFull
            }
            StorageError::Corrupted(what) => Self::Damaged(what),
            other => Self::Io(other.to_string()),
        }
    }
}

impl From<DatabaseError> for StoreError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen => Self::Locked,
            DatabaseError::Storage(StorageError::Io(io)) if io.kind() == ErrorKind::InvalidData => {
                Self::Damaged(io.to_string())
            }
            DatabaseError::Storage(storage) => storage.into(),
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<TransactionError> for StoreError {
    fn from(error: TransactionError) -> Self {
        match error {
            TransactionError::Storage(storage) => storage.into(),
            other => Self::Io(other.to_string()),
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

impl From<CommitError> for StoreError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Storage(storage) => storage.into(),
            other => Self::Io(other.to_string()),
        }
    }
}

/// Tables of a snapshot.
pub type ReadTables = Tables<ReadTransaction>;
/// Tables of a transaction.
pub type WriteTables<'txn> = Tables<&'txn WriteTransaction>;

/// The embedded store of one user at one server.
pub struct Store {
    database: Database,
}

impl Store {
    /// Opens the store in a file, making it where there is none.
    ///
    /// # Errors
    /// [`StoreError`]: locked by another process, damaged, newer, or the disk failed.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::prepare(Builder::new().set_cache_size(CACHE_BYTES).create(path)?)
    }

    /// Opens the store on a backend: memory, or a simulated disk.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn with_backend(backend: impl StorageBackend) -> Result<Self, StoreError> {
        Self::prepare(Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(backend)?)
    }

    fn prepare(database: Database) -> Result<Self, StoreError> {
        let store = Self { database };
        migrations::run(&store)?;
        Ok(store)
    }

    /// A snapshot of everything.
    ///
    /// # Errors
    /// [`StoreError`] when the disk fails.
    pub fn read(&self) -> Result<ReadTables, StoreError> {
        Ok(Tables::of(self.database.begin_read()?))
    }

    /// One durable step: all of `step`, or nothing.
    ///
    /// # Errors
    /// What `step` returns, or a [`StoreError`]; then nothing of it was done.
    pub fn write<R, E: From<StoreError>>(&self, step: impl FnOnce(&mut WriteTables<'_>) -> Result<R, E>) -> Result<R, E> {
        let mut transaction = self.database.begin_write().map_err(StoreError::from)?;
        if planted(Planted::ClientNotDurable) {
            transaction.set_durability(redb::Durability::None).map_err(|e| StoreError::Damaged(e.to_string()))?;
        }
        let result = step(&mut Tables::of(&transaction));
        match result {
            Ok(value) => {
                transaction.commit().map_err(StoreError::from)?;
                Ok(value)
            }
            Err(error) => {
                // After a failed write this fails too, and would hide why.
                let _ = transaction.abort();
                Err(error)
            }
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
