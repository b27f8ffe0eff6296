//! What forms and dialogs hold and decide, without a window: plain data, tested as such.

pub mod calendar;
pub mod decision;
pub mod form;
pub mod pace;
pub mod progress;
pub mod values;
pub mod words;

use tombolo_client::protocol::schema::{Field, Table};

/// What the fields are called that are decided together with a field.
fn partners(table: &Table, field: &Field) -> String {
    let others = table.unit(&field.tag).iter().filter(|tag| **tag != field.tag);
    others.filter_map(|tag| Some(table.field(*tag)?.label.as_str())).collect::<Vec<_>>().join(", ")
}
