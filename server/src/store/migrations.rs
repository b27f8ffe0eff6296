//! The format of the store and the numbered steps between formats. A step is idempotent, and is never edited once released.

use super::read::Read;
use super::tables::{Tables, WriteTables};
use super::{Store, StoreError};
use redb::{ReadableDatabase, ReadableTable, TableDefinition};
use tombolo_protocol::ids::RowNo;

/// The format that this program writes.
const FORMAT: u64 = 4;

/// Brings a store to the present format; a new one starts with it.
pub(super) fn run(store: &Store) -> Result<(), StoreError> {
    let found = format(store)?;
    match found {
        Some(FORMAT) => Ok(()),
        Some(newer) if newer > FORMAT => Err(StoreError::NewerFormat { found: number(newer), known: number(FORMAT) }),
        Some(1) => references_by_field(store).and_then(|()| run(store)),
        // From 2 to 3, and from there to 4, tables were added that an older program would miss or lose: those of a log that is
        // compacted, and the names of devices.
        Some(2 | 3) => tables_are_added(store),
        // What is not numbered is new.
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

/// The references of format 1, by the number of the referring row.
const REFERENCES_1: TableDefinition<'_, (u16, &'static [u8; 16], u64, u16), ()> = TableDefinition::new("references_1");

/// 1 to 2: references are found by the field that refers, so that those that hold a deletion are not behind those that do not.
fn references_by_field(store: &Store) -> Result<(), StoreError> {
    let txn = store.write()?;
    {
        let mut tables = WriteTables::open(&txn)?;
        let before = txn.open_table(REFERENCES_1)?;
        for entry in before.iter()? {
            let key = entry?.0;
            let (target, id, number, field) = key.value();
            let row = tables.row_numbered(RowNo(number))?;
            let row = row.ok_or_else(|| StoreError::damaged("a reference of a row that is not there"))?;
            tables.references.insert((target, id, row.key.table.0, field, number), ())?;
        }
        tables.local.insert("format", 2)?;
    }
    txn.delete_table(REFERENCES_1)?;
    Ok(txn.commit()?)
}

/// To a format that has more tables, and is otherwise the same.
fn tables_are_added(store: &Store) -> Result<(), StoreError> {
    let txn = store.write()?;
    WriteTables::open(&txn)?.local.insert("format", FORMAT)?;
    Ok(txn.commit()?)
}

fn number(format: u64) -> u32 {
    u32::try_from(format).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::*;
    use crate::workspace::{Init, Job, Workspace};
    use redb::TableHandle;
    use tombolo_protocol::change::Op;
    use tombolo_protocol::ids::FieldTag;
    use tombolo_protocol::value::Value;

    #[test]
    fn a_store_of_format_1_is_brought_to_the_present_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.redb");
        let store = Store::open(&path).unwrap();
        let mut workspace = Workspace::init(store.clone(), Init { id: WORKSPACE, schema: SCHEMA }, 5).unwrap();
        let fields = [(FieldTag(4), Value::uuid(id(2).0))];
        let visits = [2, 1].map(|number| change(key(VISITS, number), Op::Create, 0, if number == 1 { &fields } else { &[] }));
        workspace.apply(vec![Job::import(crate::access::OPERATOR, visits.to_vec())], 6).unwrap();
        drop(workspace);
        let txn = store.write().unwrap();
        {
            let mut tables = WriteTables::open(&txn).unwrap();
            let mut before = txn.open_table(REFERENCES_1).unwrap();
            for entry in tables.references().iter().unwrap() {
                let key = entry.unwrap().0;
                let (target, id, _, field, number) = key.value();
                before.insert((target, id, number, field), ()).unwrap();
            }
            tables.references.retain(|_, ()| false).unwrap();
            tables.local.insert("format", 1).unwrap();
        }
        txn.commit().unwrap();
        drop(store);
        let store = Store::open(&path).unwrap();
        assert_eq!(format(&store).unwrap(), Some(FORMAT));
        let tables = store.read().unwrap();
        let found: Vec<_> = tables.referrers(&key(VISITS, 2), VISITS, FieldTag(4)).unwrap().map(Result::unwrap).collect();
        assert_eq!(found, [tables.row_number(&key(VISITS, 1)).unwrap().unwrap()]);
        assert!(crate::verify::verify(&store, &Store::in_memory().unwrap(), &mut crate::verify::unwatched).unwrap().is_sound());
    }

    #[test]
    fn a_store_of_format_2_or_3_is_brought_to_the_present_one() {
        for (before, missing) in [(2, &["base_1", "checkpoints_1", "device_names_1"][..]), (3, &["device_names_1"])] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("data.redb");
            let store = Store::open(&path).unwrap();
            drop(Workspace::init(store.clone(), Init { id: WORKSPACE, schema: SCHEMA }, 5).unwrap());
            let txn = store.write().unwrap();
            WriteTables::open(&txn).unwrap().local.insert("format", before).unwrap();
            for table in txn.list_tables().unwrap().filter(|table| missing.contains(&table.name())) {
                assert!(txn.delete_table(table).unwrap());
            }
            txn.commit().unwrap();
            drop(store);
            let store = Store::open(&path).unwrap();
            assert_eq!(format(&store).unwrap(), Some(FORMAT));
            let report = crate::verify::verify(&store, &Store::in_memory().unwrap(), &mut crate::verify::unwatched).unwrap();
            assert!(report.is_sound());
        }
    }
}
