//! Tables, rows, writes and a story of one entry, as the laws need them.

use super::Choices;
use std::collections::BTreeMap;
use std::sync::OnceLock;
use tombolo_client::protocol::ids::{FieldTag, Generation, RowId, RowKey, RowNo, Seq, TableTag, Version};
use tombolo_client::protocol::outbox::{Conflict, Entry, Pending, Settled, Write, WriteError, conflict, shown, write};
use tombolo_client::protocol::row::{Life, Row, Stamped};
use tombolo_client::protocol::schema::{Schema, Table};
use tombolo_client::protocol::value::Value;

/// A field by itself.
pub(super) const NAME: FieldTag = FieldTag(1);
/// One of a group of two.
pub(super) const DOSE: FieldTag = FieldTag(2);
/// The other one.
pub(super) const UNIT: FieldTag = FieldTag(3);
/// Another field by itself.
pub(super) const NOTES: FieldTag = FieldTag(4);
/// All of them.
pub(super) const FIELDS: [FieldTag; 4] = [NAME, DOSE, UNIT, NOTES];

/// What is compared as one: a field, or a group.
pub(super) const UNITS: [&[FieldTag]; 3] = [&[NAME], &[DOSE, UNIT], &[NOTES]];

const SCHEMA: &str = r#"
name = "laws"
[[table]]
name = "plain"
tag = 1
label = "Plain"
title = ["name"]
[[table.field]]
name = "name"
tag = 1
kind = "text"
label = "Name"
[[table.field]]
name = "dose"
tag = 2
kind = "text"
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
"#;

fn schema() -> &'static Schema {
    static SCHEMAS: OnceLock<Schema> = OnceLock::new();
    SCHEMAS.get_or_init(|| Schema::parse(SCHEMA).expect("the schema of the laws is sound"))
}

/// A table with two fields and a group.
pub(super) fn plain() -> &'static Table {
    &schema().tables[0]
}

/// The same, strict.
pub(super) fn strict() -> &'static Table {
    static STRICT: OnceLock<Table> = OnceLock::new();
    STRICT.get_or_init(|| Table { strict: true, ..plain().clone() })
}

/// Either.
pub(super) fn table(c: &mut Choices<'_>) -> &'static Table {
    if c.chance(25) { strict() } else { plain() }
}

pub(super) fn key() -> RowKey {
    RowKey { table: TableTag(1), id: RowId::from_bytes([9; 16]) }
}

/// One of few values, so that different people often write the same.
pub(super) fn value(c: &mut Choices<'_>) -> Value {
    c.pick(&[Value::text("a"), Value::text("b"), Value::text("c"), Value::Null])
}

/// One or two fields with values.
pub(super) fn fields(c: &mut Choices<'_>) -> BTreeMap<FieldTag, Value> {
    (0..=c.below(2)).map(|_| (c.pick(&FIELDS), value(c))).collect()
}

/// A live row whose stamps are at most `newest`.
pub(super) fn row(c: &mut Choices<'_>, newest: u64) -> Row {
    let fields: BTreeMap<_, _> = FIELDS
        .into_iter()
        .map(|field| (field, Stamped { value: value(c), stamp: Seq(1 + c.below(newest as usize) as u64) }))
        .collect();
    let stamps = || fields.values().map(|stamped| stamped.stamp);
    Row {
        key: key(),
        no: RowNo(1),
        seq: stamps().max().unwrap_or_default(),
        ordinal: 0,
        version: Version(1),
        since: stamps().min().unwrap_or_default(),
        life: Life::Live,
        fields,
    }
}

/// A local write.
pub(super) fn a_write(c: &mut Choices<'_>) -> Write {
    match c.below(9) {
        0..=3 => Write::Update(fields(c)),
        4 => Write::Create(fields(c)),
        5 | 6 => Write::Delete,
        _ => Write::Restore,
    }
}

/// Some of the values of a row that are there.
pub(super) fn not_null(values: Option<BTreeMap<FieldTag, Value>>) -> Option<BTreeMap<FieldTag, Value>> {
    values.map(|values| values.into_iter().filter(|(_, value)| !value.is_null()).collect())
}

/// An entry with its table and mirror.
#[derive(Clone)]
pub(super) struct Story {
    pub(super) table: &'static Table,
    pub(super) mirror: Option<Row>,
    pub(super) entry: Entry,
    pub(super) settled: Vec<Settled>,
}

/// Without the table, which says nothing new.
impl std::fmt::Debug for Story {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { table, mirror, entry, settled } = self;
        let rows = |row: &Option<Row>| row.as_ref().map(|row| (row.seq, row.since, row.life, row.fields.clone()));
        let (mirror, kept) = (rows(mirror), rows(&entry.kept));
        write!(f, "mirror {mirror:?}, kept {kept:?}, sent {:?}, next {:?}, ", entry.sent, entry.next)?;
        write!(f, "settled {settled:?}, strict {}", table.strict)
    }
}

impl Story {
    pub(super) fn new(table: &'static Table, mirror: Option<Row>) -> Self {
        Self { table, mirror, entry: Entry::new(key(), Seq(2)), settled: Vec::new() }
    }

    pub(super) fn write(&mut self, what: Write) -> Result<(), WriteError> {
        write(self.table, &mut self.entry, self.mirror.as_ref(), what, None, &self.settled, 1)?;
        self.entry.generation = Generation(self.entry.generation.0 + 1);
        Ok(())
    }

    pub(super) fn shown(&self) -> Option<BTreeMap<FieldTag, Value>> {
        not_null(shown(self.mirror.as_ref(), Some(&self.entry)))
    }

    pub(super) fn conflict(&self) -> Option<Conflict> {
        let next: &Pending = self.entry.next.as_ref()?;
        conflict(self.table, next, self.mirror.as_ref())
    }
}

/// The row as it is with a change applied to it, as a person sees it; the stamps stay.
pub(super) fn with_layer(mirror: Option<&Row>, pending: &Pending) -> Option<Row> {
    use tombolo_client::protocol::change::Op;
    let mut row = mirror?.clone();
    match pending.op {
        Op::Decide => return Some(row),
        Op::Delete => row.life = Life::Deleted,
        Op::Create | Op::Update | Op::Restore => row.life = Life::Live,
    }
    if pending.op != Op::Delete {
        for (field, edit) in &pending.fields {
            row.fields.insert(*field, Stamped { value: edit.value.clone(), stamp: row.seq });
        }
    }
    Some(row)
}
