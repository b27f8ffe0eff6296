//! Rows as CSV that reads back unchanged.

use super::ID_COLUMN;
use tombolo_protocol::row::Row;
use tombolo_protocol::schema::Table;

/// The names of the columns: the id, then the fields by tag.
pub(crate) fn header(table: &Table) -> Vec<String> {
    std::iter::once(ID_COLUMN.to_owned()).chain(table.fields.iter().map(|field| field.name.clone())).collect()
}

/// A row's cells in the order of [`header`].
pub(crate) fn record(table: &Table, row: &Row) -> Vec<String> {
    std::iter::once(row.key.id.to_string()).chain(table.fields.iter().map(|field| field.show(row.value(field.tag)))).collect()
}
