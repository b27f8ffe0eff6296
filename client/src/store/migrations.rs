//! The format of the store and the steps between formats. A step is idempotent, goes on where it was broken off, and is never
//! edited once released.

use super::tables::{Definition, Name};
use super::{FORMAT, MirrorRow, Store, StoreError};
use redb::{ReadableDatabase, TableDefinition, TableHandle};
use tombolo_protocol::codec::store::decode;

/// Format of the store. A change of a table or a record is a migration, and raises it.
pub const STORE_FORMAT: u32 = 3;
/// The oldest format that is read.
const STORE_FORMAT_READ: u32 = 2;

/// The mirror of format 2. Key: as now. Value: the whole [`MirrorRow`].
const MIRROR_1: Definition = TableDefinition::new("mirror.1");
/// The numbers of format 2. Key: row number (u64). Value: as now.
const NUMBERS_1: Definition = TableDefinition::new("numbers.1");
/// Rows that are moved in one transaction: memory is bounded, and what they took can be used again.
const ROWS_AT_ONCE: usize = 5_000;

/// Brings a store to the present format; a new one starts with it.
pub(super) fn run(store: &Store) -> Result<(), StoreError> {
    store.write(|tables| {
        // A snapshot finds only tables that are there.
        for name in Name::ALL {
            tables.table(name)?;
        }
        match tables.meta::<u32>(FORMAT)? {
            Some(STORE_FORMAT) => Ok(()),
            Some(found) if found > STORE_FORMAT => Err(StoreError::Newer { found }),
            Some(found) if found < STORE_FORMAT_READ => Err(StoreError::Older { found }),
            // Before the first row is moved: a program of that format would miss it.
            None | Some(_) => tables.set_meta(FORMAT, &STORE_FORMAT),
        }
    })?;
    if has_mirror_1(store)? {
        while rows_are_moved(store)? {}
        let transaction = store.database.begin_write()?;
        transaction.delete_table(MIRROR_1)?;
        transaction.delete_table(NUMBERS_1)?;
        transaction.commit()?;
    }
    Ok(())
}

fn has_mirror_1(store: &Store) -> Result<bool, StoreError> {
    Ok(store.database.begin_read()?.list_tables()?.any(|table| table.name() == MIRROR_1.name()))
}

/// 2 to 3: a mirror row does not say again what its key says. Moves some; false where none are left.
fn rows_are_moved(store: &Store) -> Result<bool, StoreError> {
    store.write(|tables| {
        let mut before = tables.source().open_table(MIRROR_1)?;
        for moved in 0..ROWS_AT_ONCE {
            let Some((_, value)) = before.pop_first()? else { return Ok(moved > 0) };
            tables.put_mirror(&decode::<MirrorRow>(value.value())?)?;
        }
        Ok(true)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::CACHE_BYTES;
    use redb::{Builder, Database};
    use std::path::Path;
    use tombolo_protocol::codec::store::encode;
    use tombolo_protocol::ids::{FieldTag, RowId, RowKey, RowNo, Seq, TableTag, Version};
    use tombolo_protocol::row::{Life, Row, Stamped};
    use tombolo_protocol::value::Value;

    fn row(number: u64) -> MirrorRow {
        let id = RowId::from_bytes(u128::from(number).to_be_bytes());
        let stamped = |stamp| Stamped { value: Value::text("Amina"), stamp: Seq(stamp) };
        let row = Row {
            key: RowKey { table: TableTag(2), id },
            no: RowNo(number),
            seq: Seq(number + 300),
            ordinal: 0,
            version: Version(2),
            since: Seq(number),
            life: Life::Live,
            fields: [(FieldTag(1), stamped(number + 300)), (FieldTag(7), stamped(number))].into(),
        };
        MirrorRow { row, refetch: 1 }
    }

    /// A store as a program of format 2 left it.
    fn of_format_2(path: &Path, rows: u64) -> Database {
        let database = Builder::new().set_cache_size(CACHE_BYTES).create(path).unwrap();
        let transaction = database.begin_write().unwrap();
        {
            let mut meta = transaction.open_table(Name::Meta.definition()).unwrap();
            meta.insert(FORMAT.as_bytes(), encode(&2u32).as_slice()).unwrap();
            let (mut mirror, mut numbers) =
                (transaction.open_table(MIRROR_1).unwrap(), transaction.open_table(NUMBERS_1).unwrap());
            for number in 1..=rows {
                let (row, key) = (row(number), [&[0, 2][..], &u128::from(number).to_be_bytes()].concat());
                mirror.insert(key.as_slice(), encode(&row).as_slice()).unwrap();
                numbers.insert(number.to_be_bytes().as_slice(), key.as_slice()).unwrap();
            }
        }
        transaction.commit().unwrap();
        database
    }

    fn assert_moved(store: &Store, rows: u64) {
        let tables = store.read().unwrap();
        let held = tables.mirror_rows(TableTag(2), None).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
        assert_eq!(held, (1..=rows).map(row).collect::<Vec<_>>());
        for number in 1..=rows {
            assert_eq!(tables.key_of_number(RowNo(number)).unwrap(), Some(row(number).row.key));
        }
        assert!(!has_mirror_1(store).unwrap());
    }

    #[test]
    fn the_rows_of_format_2_are_read_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let rows = ROWS_AT_ONCE as u64 + 300;
        drop(of_format_2(&folder.path().join("store.redb"), rows));
        let store = Store::open(&folder.path().join("store.redb")).unwrap();
        assert_moved(&store, rows);
        drop(store);
        assert_moved(&Store::open(&folder.path().join("store.redb")).unwrap(), rows);
    }

    #[test]
    fn a_move_that_was_broken_off_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        let database = of_format_2(&path, 700);
        let transaction = database.begin_write().unwrap();
        transaction.open_table(MIRROR_1).unwrap().retain(|key, _| key[17] > 9 || key[16] > 0).unwrap();
        transaction.open_table(Name::Meta.definition()).unwrap().insert(FORMAT.as_bytes(), encode(&3u32).as_slice()).unwrap();
        transaction.commit().unwrap();
        drop(database);
        let store = Store::open(&path).unwrap();
        let held = store.read().unwrap().mirror_rows(TableTag(2), None).unwrap().count();
        assert_eq!(held, 700 - 9);
    }

    #[test]
    fn a_store_of_another_format_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        for (format, is_newer) in [(STORE_FORMAT + 1, true), (STORE_FORMAT_READ - 1, false)] {
            let path = folder.path().join(format!("{format}.redb"));
            let store = Store::open(&path).unwrap();
            store.write(|tables| tables.set_meta(FORMAT, &format)).unwrap();
            drop(store);
            match Store::open(&path) {
                Err(StoreError::Newer { found }) => assert!(is_newer && found == format),
                Err(StoreError::Older { found }) => assert!(!is_newer && found == format),
                other => panic!("{:?}", other.map(drop)),
            }
        }
    }
}
