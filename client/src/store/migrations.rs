//! The format of the store and the steps between formats. A step is idempotent, goes on where it was broken off, and is never
//! edited once released.

use super::tables::{Definition, Name};
use super::{FORMAT, MirrorRow, Store, StoreError};
use redb::{ReadableDatabase, TableDefinition, TableHandle};
use serde::Deserialize;
use std::collections::BTreeMap;
use tombolo_protocol::codec::store::decode;
use tombolo_protocol::ids::{FieldTag, RowKey, RowNo, Seq, Version};
use tombolo_protocol::row::{Life, Row, Stamped};
use tombolo_protocol::value::Value;

/// Format of the store. A change of a table or a record is a migration, and raises it.
pub const STORE_FORMAT: u32 = 3;
/// The oldest format that is read.
const STORE_FORMAT_READ: u32 = 2;

/// The mirror of format 2. Key: as now. Value: [`MirrorRow1`].
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
        while rows_are_moved(store, ROWS_AT_ONCE)? {}
        let transaction = store.database.begin_write()?;
        transaction.delete_table(MIRROR_1)?;
        transaction.delete_table(NUMBERS_1)?;
        transaction.commit()?;
    }
    Ok(())
}

/// A mirror row of format 2.
#[derive(Deserialize)]
struct MirrorRow1 {
    row: Row1,
    refetch: u32,
}

#[derive(Deserialize)]
struct Row1 {
    key: RowKey,
    no: RowNo,
    seq: Seq,
    ordinal: u32,
    version: Version,
    since: Seq,
    life: Life,
    fields: BTreeMap<FieldTag, Stamped1>,
}

#[derive(Deserialize)]
struct Stamped1 {
    value: Value,
    stamp: Seq,
}

impl From<MirrorRow1> for MirrorRow {
    fn from(MirrorRow1 { row, refetch }: MirrorRow1) -> Self {
        let Row1 { key, no, seq, ordinal, version, since, life, fields } = row;
        let stamped = |(field, Stamped1 { value, stamp }): (FieldTag, Stamped1)| (field, Stamped { value, stamp });
        let fields = fields.into_iter().map(stamped).collect();
        Self { row: Row { key, no, seq, ordinal, version, since, life, fields }, refetch }
    }
}

fn has_mirror_1(store: &Store) -> Result<bool, StoreError> {
    Ok(store.database.begin_read()?.list_tables()?.any(|table| table.name() == MIRROR_1.name()))
}

/// 2 to 3: a mirror row does not say again what its key says. Moves so many; false where none are left.
fn rows_are_moved(store: &Store, most: usize) -> Result<bool, StoreError> {
    store.write(|tables| {
        let mut before = tables.source().open_table(MIRROR_1)?;
        for moved in 0..most {
            let Some((_, value)) = before.pop_first()? else { return Ok(moved > 0) };
            tables.put_mirror(&decode::<MirrorRow1>(value.value())?.into())?;
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
    use tombolo_protocol::ids::{RowId, TableTag};

    fn row(number: u8) -> MirrorRow {
        let id = RowId::from_bytes(u128::from(number).to_be_bytes());
        let stamped = |stamp| Stamped { value: Value::text("Amina"), stamp: Seq(stamp) };
        let seq = u64::from(number) + 300;
        let row = Row {
            key: RowKey { table: TableTag(2), id },
            no: RowNo(number.into()),
            seq: Seq(seq),
            ordinal: 0,
            version: Version(2),
            since: Seq(7),
            life: Life::Live,
            fields: [(FieldTag(1), stamped(seq)), (FieldTag(9), stamped(7))].into(),
        };
        MirrorRow { row, refetch: 1 }
    }

    fn key(number: u8) -> [u8; 18] {
        let mut key = [0; 18];
        (key[1], key[17]) = (2, number);
        key
    }

    /// The bytes of [`row`] in a store of format 2.
    fn row_1(number: u8) -> Vec<u8> {
        let (seq_low, seq_high) = ((u16::from(number) + 300).to_le_bytes()[0], (u16::from(number) + 300).to_le_bytes()[1]);
        let mut bytes = vec![2, 16];
        bytes.extend(&key(number)[2..]);
        bytes.extend([number, 251, seq_low, seq_high, 0, 2, 7, 0, 2]);
        bytes.extend([1, 5, 5]);
        bytes.extend(b"Amina");
        bytes.extend([251, seq_low, seq_high, 9, 5, 5]);
        bytes.extend(b"Amina");
        bytes.extend([7, 1]);
        bytes
    }

    const ROWS: u8 = 200;

    /// A store as a program of format 2 left it.
    fn of_format_2(path: &Path) -> Database {
        let database = Builder::new().set_cache_size(CACHE_BYTES).create(path).unwrap();
        let transaction = database.begin_write().unwrap();
        {
            let mut meta = transaction.open_table(Name::Meta.definition()).unwrap();
            meta.insert(FORMAT.as_bytes(), encode(&2u32).as_slice()).unwrap();
            let (mut mirror, mut numbers) =
                (transaction.open_table(MIRROR_1).unwrap(), transaction.open_table(NUMBERS_1).unwrap());
            for number in 1..=ROWS {
                mirror.insert(key(number).as_slice(), row_1(number).as_slice()).unwrap();
                numbers.insert(u64::from(number).to_be_bytes().as_slice(), key(number).as_slice()).unwrap();
            }
        }
        transaction.commit().unwrap();
        database
    }

    fn assert_moved(store: &Store) {
        let tables = store.read().unwrap();
        let held = tables.mirror_rows(TableTag(2), None).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
        assert_eq!(held, (1..=ROWS).map(row).collect::<Vec<_>>());
        for number in 1..=ROWS {
            assert_eq!(tables.key_of_number(RowNo(number.into())).unwrap(), Some(row(number).row.key));
        }
        assert!(!has_mirror_1(store).unwrap());
    }

    #[test]
    fn the_rows_of_format_2_are_read_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        drop(of_format_2(&path));
        let store = Store::open(&path).unwrap();
        assert_moved(&store);
        drop(store);
        assert_moved(&Store::open(&path).unwrap());
    }

    #[test]
    fn a_move_that_was_broken_off_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        let store = Store { database: of_format_2(&path) };
        // As far as the format, and then some of the rows.
        store.write(|tables| tables.set_meta(FORMAT, &STORE_FORMAT)).unwrap();
        assert!(rows_are_moved(&store, 70).unwrap());
        drop(store);
        assert_moved(&Store::open(&path).unwrap());
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
