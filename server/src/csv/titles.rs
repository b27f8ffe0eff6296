//! Rows by the text that names them to people.

use crate::snapshot::Snapshot;
use crate::store::StoreError;
use std::collections::BTreeMap;
use tombolo_protocol::ids::RowId;
use tombolo_protocol::row::Row;
use tombolo_protocol::schema::Table;

/// Rows read at a time.
const PAGE_ROWS: usize = 1000;

/// What names a row to people: its title fields, those without a value left out.
pub(crate) fn title(table: &Table, row: &Row) -> String {
    let parts = table.title.iter().filter_map(|tag| table.field(*tag));
    let shown: Vec<String> = parts.map(|field| field.show(row.value(field.tag))).filter(|text| !text.is_empty()).collect();
    shown.join(" ")
}

/// The live rows of a table, each by id, in order.
///
/// # Errors
/// When the store cannot be read.
pub(crate) fn each_live(snapshot: &Snapshot, table: &Table, mut visit: impl FnMut(&Row)) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let page = snapshot.rows_after(table.tag, after, PAGE_ROWS)?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.key.id);
        page.iter().filter(|row| row.is_live()).for_each(&mut visit);
    }
}

/// The live rows of a table by title; more than one where a title is not unique.
pub(crate) fn index(snapshot: &Snapshot, table: &Table) -> Result<BTreeMap<String, Vec<RowId>>, StoreError> {
    let mut titles: BTreeMap<String, Vec<RowId>> = BTreeMap::new();
    each_live(snapshot, table, |row| titles.entry(title(table, row)).or_default().push(row.key.id))?;
    Ok(titles)
}

/// The live rows with this id or title.
pub(crate) fn find(snapshot: &Snapshot, table: &Table, text: &str) -> Result<Vec<RowId>, StoreError> {
    let id = text.parse::<RowId>().ok();
    let mut found = Vec::new();
    each_live(snapshot, table, |row| {
        if id == Some(row.key.id) || title(table, row) == text {
            found.push(row.key.id);
        }
    })?;
    Ok(found)
}
