//! The embedded store: log and folds in one redb file, written by one transaction at a time.

pub(crate) mod base;
mod compare;
mod error;
mod guard;
mod migrations;
pub mod read;
pub mod records;
pub mod tables;

pub use error::StoreError;
pub(crate) use guard::{guarded, said};

use crate::prepared::PreparedChunks;
use crate::snapshot::Snapshot;
use redb::{Builder, Database, ReadableDatabase, StorageBackend, WriteTransaction};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tables::{ReadTables, Tables};
use tombolo_protocol::ids::Seq;
use tombolo_protocol::schema::Schema;

/// Memory for pages of the file; the default of the engine would be a gigabyte.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// A handle of the store; clones share it.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    database: Database,
    /// A durable write failed: whether it happened is not known, so nothing is answered any more (P9).
    poisoned: AtomicBool,
    /// Parsed schemas by the seq of their commit.
    schemas: Mutex<BTreeMap<Seq, Arc<Schema>>>,
    /// Chunks of first syncs that were made of what is in this file.
    prepared: PreparedChunks,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

impl Store {
    /// Opens the file, and makes it if it is not there.
    ///
    /// # Errors
    /// [`StoreError`], worded for the operator.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let repaired = Arc::new(AtomicBool::new(false));
        let noted = repaired.clone();
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE_BYTES).set_repair_callback(move |_| noted.store(true, Ordering::SeqCst));
        let database = builder.create(path)?;
        if !repaired.load(Ordering::SeqCst) {
            return Self::of(database);
        }
        // What was just repaired is read again from the file, rather than trusted as it is in memory.
        drop(database);
        Self::of(builder.create(path)?)
    }

    /// Gives room in the file that is not used back to the disk, which takes as long as writing all of it again.
    ///
    /// # Errors
    /// [`StoreError::Locked`] while anybody has it open.
    pub fn shrink(path: &Path) -> Result<(), StoreError> {
        let mut database = Builder::new().set_cache_size(CACHE_BYTES).open(path)?;
        database.compact().map(drop).map_err(StoreError::from)
    }

    /// Opens a store over any medium; a simulator crashes and tears it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn with_backend(backend: impl StorageBackend) -> Result<Self, StoreError> {
        Self::of(Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(backend)?)
    }

    /// A new store in memory.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn in_memory() -> Result<Self, StoreError> {
        Self::with_backend(redb::backends::InMemoryBackend::new())
    }

    fn of(database: Database) -> Result<Self, StoreError> {
        let inner = Inner {
            database,
            poisoned: AtomicBool::new(false),
            schemas: Mutex::new(BTreeMap::new()),
            prepared: PreparedChunks::default(),
        };
        let store = Self(Arc::new(inner));
        migrations::run(&store)?;
        Ok(store)
    }

    /// Whether there is a workspace in it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn is_initialised(&self) -> Result<bool, StoreError> {
        use read::Read;
        Ok(self.read()?.meta_record()?.is_some())
    }

    /// A consistent view of the newest durable state. Keep it only for a short while: the file grows as long as it lives.
    ///
    /// # Errors
    /// [`StoreError::NotInitialised`] before there is a workspace, [`StoreError::Poisoned`] after a failed write or read.
    pub fn snapshot(&self) -> Result<Snapshot, StoreError> {
        Snapshot::new(self.clone(), self.read()?)
    }

    /// After this nothing is answered from the store until it is opened again (P9).
    pub(crate) fn poison(&self) {
        self.0.poisoned.store(true, Ordering::SeqCst);
    }

    pub(crate) fn read(&self) -> Result<ReadTables, StoreError> {
        self.check()?;
        ReadTables::open(&self.0.database.begin_read()?)
    }

    pub(crate) fn write(&self) -> Result<WriteTransaction, StoreError> {
        self.check()?;
        let mut txn = self.0.database.begin_write()?;
        // Checksums of pages are no defence against stored values that a peer chose; with this the allocator's state is
        // written along, commits go through two phases, and reopening after a crash takes milliseconds.
        txn.set_quick_repair(true);
        Ok(txn)
    }

    /// Whoever reads for long asks this again and again, and lets go: the store is opened again only when nobody holds it (P9).
    ///
    /// # Errors
    /// [`StoreError::Poisoned`] after a failed write or read.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if self.0.poisoned.load(Ordering::SeqCst) { Err(StoreError::Poisoned) } else { Ok(()) }
    }

    pub(crate) fn prepared(&self) -> &PreparedChunks {
        &self.0.prepared
    }

    /// The schema of the commit at `seq`, parsed once.
    pub(crate) fn schema(&self, tables: &impl Tables, seq: Seq) -> Result<Arc<Schema>, StoreError> {
        use read::Read;
        let mut parsed = self.0.schemas.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(schema) = parsed.get(&seq) {
            return Ok(schema.clone());
        }
        let text =
            tables.schema_text(seq)?.ok_or_else(|| StoreError::damaged(format!("the schema of commit {seq} is missing")))?;
        let schema = Schema::parse(&text)
            .map_err(|error| StoreError::damaged(format!("the logged schema of commit {seq} does not parse: {error}")))?;
        let schema = Arc::new(schema);
        parsed.insert(seq, schema.clone());
        Ok(schema)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_another_has_open_is_said_to_be_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.redb");
        let first = Store::open(&path).unwrap();
        assert!(matches!(Store::open(&path), Err(StoreError::Locked)));
        drop(first);
        assert!(Store::open(&path).is_ok());
    }

    #[test]
    fn a_file_that_is_something_else_is_said_to_be_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.redb");
        std::fs::write(&path, vec![7u8; 8192]).unwrap();
        assert!(matches!(Store::open(&path), Err(StoreError::Damaged(_))));
    }

    #[test]
    fn a_store_without_workspace_says_so() {
        let store = Store::in_memory().unwrap();
        assert!(!store.is_initialised().unwrap());
        assert!(matches!(store.snapshot(), Err(StoreError::NotInitialised)));
    }

    #[test]
    fn a_file_gets_smaller_where_nobody_has_it_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.redb");
        let store = Store::open(&path).unwrap();
        for is_kept in [true, false] {
            let txn = store.write().unwrap();
            {
                let mut tables = tables::WriteTables::open(&txn).unwrap();
                (0..200).for_each(|seq| drop(tables.log.insert(seq, [7; 10_000].as_slice()).unwrap()));
                tables.log.retain(|_, _| is_kept).unwrap();
            }
            txn.commit().unwrap();
        }
        assert!(matches!(Store::shrink(&path), Err(StoreError::Locked)));
        drop(store);
        let bytes = || path.metadata().unwrap().len();
        let before = bytes();
        Store::shrink(&path).unwrap();
        assert!(bytes() < before / 2, "{before} and then {}", bytes());
        assert!(Store::open(&path).is_ok());
    }

    #[test]
    fn a_store_of_a_newer_program_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.redb");
        let store = Store::open(&path).unwrap();
        let txn = store.write().unwrap();
        tables::WriteTables::open(&txn).unwrap().local.insert("format", 99).unwrap();
        txn.commit().unwrap();
        drop(store);
        assert!(matches!(Store::open(&path), Err(StoreError::NewerFormat { found: 99, .. })));
    }
}
