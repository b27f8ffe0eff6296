//! The format of the store and the numbered steps between formats. A step is idempotent, and is never edited once released.

use super::tables::{Tables, WriteTables};
use super::{Store, StoreError};
use redb::{ReadableDatabase, ReadableTable, TableDefinition};

/// The format that this program writes.
const FORMAT: u64 = 1;

/// Brings a store to the present format; a new one starts with it.
pub(super) fn run(store: &Store) -> Result<(), StoreError> {
    let found = format(store)?;
    match found {
        Some(FORMAT) => Ok(()),
        Some(newer) if newer > FORMAT => Err(StoreError::NewerFormat { found: number(newer), known: number(FORMAT) }),
        // There is no older format yet: what is not numbered is new.
        _ => start(store),
    }
}

fn format(store: &Store) -> Result<Option<u64>, StoreError> {
    let txn = store.0.database.begin_read()?;
    match txn.open_table(TableDefinition::<&'static str, u64>::new("local_1")) {
        Ok(local) => Ok(local.get("format")?.map(|number| number.value())),
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn start(store: &Store) -> Result<(), StoreError> {
    let txn = store.write()?;
    {
        let mut tables = WriteTables::open(&txn)?;
        if tables.log().first()?.is_some() {
            return Err(StoreError::damaged("there is a log but no format number"));
        }
        tables.local.insert("format", FORMAT)?;
    }
    Ok(txn.commit()?)
}

fn number(format: u64) -> u32 {
    u32::try_from(format).unwrap_or(u32::MAX)
}
