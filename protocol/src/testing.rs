//! Small schemas and rows for the tests of this crate.

use crate::ids::{FieldTag, RowId, RowKey, RowNo, Seq, TableTag, Version};
use crate::row::{Life, Row, Stamped};
use crate::schema::{Schema, Table};
use crate::value::Value;

const SCHEMA: &str = r#"
name = "testing"

[[table]]
name = "medications"
tag = 1
label = "Medications"
title = ["name"]
[[table.field]]
name = "name"
tag = 1
kind = "text"
label = "Name"
[[table.field]]
name = "dose"
tag = 2
kind = "decimal"
scale = 1
label = "Dose"
[[table.field]]
name = "unit"
tag = 3
kind = "text"
label = "Unit"
[[table.field]]
name = "notes"
tag = 4
kind = "text"
label = "Notes"
[[table.group]]
name = "dosage"
label = "Dosage"
fields = ["dose", "unit"]

[[table]]
name = "stock"
tag = 2
label = "Stock"
title = ["item"]
strict = true
[[table.field]]
name = "item"
tag = 1
kind = "text"
label = "Item"
[[table.field]]
name = "count"
tag = 2
kind = "int"
label = "Count"
"#;

pub(crate) fn medications() -> Table {
    table("medications")
}

pub(crate) fn stock() -> Table {
    table("stock")
}

fn table(name: &str) -> Table {
    Schema::parse(SCHEMA).expect("the schema of the tests is sound").table_named(name).expect("it is there").clone()
}

pub(crate) fn key() -> RowKey {
    RowKey { table: TableTag(1), id: RowId::from_bytes([9; 16]) }
}

/// A live row with fields as (tag, value, stamp); its seq is the newest stamp, its since the oldest.
pub(crate) fn live_row(fields: &[(FieldTag, Value, u64)]) -> Row {
    let stamps = || fields.iter().map(|(_, _, stamp)| Seq(*stamp));
    Row {
        key: key(),
        no: RowNo(1),
        seq: stamps().max().unwrap_or_default(),
        ordinal: 0,
        version: Version(1),
        since: stamps().min().unwrap_or_default(),
        life: Life::Live,
        fields: fields
            .iter()
            .map(|(field, value, stamp)| (*field, Stamped { value: value.clone(), stamp: Seq(*stamp) }))
            .collect(),
    }
}
