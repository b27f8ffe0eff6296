//! From a sheet to changes: new rows, and updates of what differs. Checks all that the store would refuse, so that a file
//! is either imported as a whole or explained as a whole.

use super::problem::{At, Problems};
use super::read::{Given, Line, Sheet};
use super::{ID_COLUMN, titles};
use crate::snapshot::Snapshot;
use crate::store::StoreError;
use std::collections::{BTreeMap, BTreeSet};
use tombolo_protocol::change::{Change, FieldChange, Op};
use tombolo_protocol::ids::{FieldTag, RowId, RowKey, Seq, TableTag};
use tombolo_protocol::row::Row;
use tombolo_protocol::schema::{Field, FieldProblem, Schema, Table};
use tombolo_protocol::value::Value;

/// What an import is going to do.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Its changes; a row that others in the file refer to stands before them.
    pub(crate) changes: Vec<Change>,
    /// The line of each change.
    pub(crate) lines: Vec<u64>,
    /// New rows.
    pub(crate) created: u64,
    /// Rows of which something differs.
    pub(crate) updated: u64,
    /// Rows that are already as the file says.
    pub(crate) unchanged: u64,
}

/// Makes ids of new rows: UUIDv7 that ascend in the order of the file, so that they are stored in that order.
pub(crate) struct RowIds {
    now_ms: u64,
    random: [u8; 8],
    made: u64,
}

impl RowIds {
    /// From the time and eight random bytes.
    pub(crate) fn new(now_ms: i64, random: [u8; 8]) -> Self {
        Self { now_ms: u64::try_from(now_ms).unwrap_or(0), random, made: 0 }
    }

    fn next(&mut self) -> RowId {
        let (ms, step) = (self.now_ms + (self.made >> 12), self.made & 0xfff);
        self.made += 1;
        let mut bytes = [0; 10];
        bytes[..2].copy_from_slice(&u16::try_from(step).expect("twelve bits").to_be_bytes());
        bytes[2..].copy_from_slice(&self.random);
        RowId(uuid::Builder::from_unix_timestamp_millis(ms, &bytes).into_uuid())
    }
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    /// Something is wrong with the file.
    #[error("{0}")]
    Problems(Problems),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Plans the import of a sheet into a table.
pub(crate) fn plan(
    snapshot: &Snapshot,
    schema: &Schema,
    table: &Table,
    sheet: &Sheet,
    ids: &mut RowIds,
    edited_at_ms: i64,
) -> Result<Plan, PlanError> {
    let mut planner = Planner { snapshot, schema, table, titles: BTreeMap::new(), problems: Problems::default() };
    let named = planner.named_ids(sheet);
    let mut planned = Vec::with_capacity(sheet.lines.len());
    for line in &sheet.lines {
        let id = line.id.unwrap_or_else(|| ids.next());
        let key = RowKey { table: table.tag, id };
        let held = snapshot.row(&key)?;
        let values = planner.values(line, &named)?;
        planned.push(planner.row(line.line, key, held, values));
    }
    planner.check_unique(&planned)?;
    planner.problems.or(()).map_err(PlanError::Problems)?;
    Ok(to_plan(table, parents_first(table, planned), edited_at_ms))
}

/// A row as the import wants it.
struct PlannedRow {
    line: u64,
    key: RowKey,
    /// As it is now.
    held: Option<Row>,
    /// What differs, or all that a new row has.
    fields: BTreeMap<FieldTag, Value>,
}

impl PlannedRow {
    /// The value of a field after the import.
    fn value(&self, field: FieldTag) -> &Value {
        match (self.fields.get(&field), &self.held) {
            (Some(value), _) => value,
            (None, Some(row)) => row.value(field),
            (None, None) => &Value::Null,
        }
    }
}

struct Planner<'a> {
    snapshot: &'a Snapshot,
    schema: &'a Schema,
    table: &'a Table,
    titles: BTreeMap<TableTag, BTreeMap<String, Vec<RowId>>>,
    problems: Problems,
}

impl Planner<'_> {
    /// The ids that the file names; none may be there twice.
    fn named_ids(&mut self, sheet: &Sheet) -> BTreeSet<RowId> {
        let mut first: BTreeMap<RowId, u64> = BTreeMap::new();
        for line in &sheet.lines {
            let Some(id) = line.id else { continue };
            if let Some(before) = first.get(&id) {
                self.problems.in_cell(line.line, ID_COLUMN, format!("is the id of line {before} too; each row may be there once"));
            } else {
                first.insert(id, line.line);
            }
        }
        first.into_keys().collect()
    }

    /// The values of a line, with references resolved; what is wrong is told and left out.
    fn values(&mut self, line: &Line, named: &BTreeSet<RowId>) -> Result<BTreeMap<FieldTag, Value>, StoreError> {
        let mut values = BTreeMap::new();
        for (tag, cell) in &line.cells {
            let Some(field) = self.table.field(*tag) else { continue };
            match self.resolve(field, &cell.given, named)? {
                Ok(value) => {
                    values.insert(*tag, value);
                }
                Err(message) if cell.set => self.tell_once(&field.name, message),
                Err(message) => self.problems.in_cell(line.line, &field.name, message),
            }
        }
        Ok(values)
    }

    /// A value for all rows is wrong in each of them, and told with the first.
    fn tell_once(&mut self, field: &str, message: String) {
        let at = At::Set { field: field.to_owned() };
        if !self.problems.has(&at) {
            self.problems.add(at, message);
        }
    }

    fn resolve(&mut self, field: &Field, given: &Given, named: &BTreeSet<RowId>) -> Result<Result<Value, String>, StoreError> {
        let Some(target) = field.reference.and_then(|reference| self.schema.table(reference.table)) else {
            return Ok(match given {
                Given::Value(value) => Ok(value.clone()),
                Given::Title(text) => Err(format!("`{text}` is not a value of this field")),
            });
        };
        match given {
            Given::Value(Value::Uuid(bytes)) => {
                let id = RowId::from_bytes(*bytes);
                let key = RowKey { table: target.tag, id };
                let in_file = target.tag == self.table.tag && named.contains(&id);
                let there = in_file || self.snapshot.row(&key)?.is_some_and(|row| row.is_live());
                Ok(if there { Ok(Value::Uuid(*bytes)) } else { Err(format!("there is no row in {} with this id", target.name)) })
            }
            Given::Value(value) => Ok(Ok(value.clone())),
            Given::Title(text) => {
                if !self.titles.contains_key(&target.tag) {
                    self.titles.insert(target.tag, titles::index(self.snapshot, target)?);
                }
                Ok(match self.titles[&target.tag].get(text).map(Vec::as_slice) {
                    Some([id]) => Ok(Value::Uuid(*id.bytes())),
                    Some(several) => Err(format!(
                        "{} rows in {} are called `{text}`; write the id of the one that is meant: {}",
                        several.len(),
                        target.name,
                        first_ids(several)
                    )),
                    None => Err(format!("there is no row in {} called `{text}`", target.name)),
                })
            }
        }
    }

    /// The row as the import wants it: of a held row what differs, of a new one all values with the defaults.
    fn row(&mut self, line: u64, key: RowKey, held: Option<Row>, values: BTreeMap<FieldTag, Value>) -> PlannedRow {
        let fields = match &held {
            Some(row) if !row.is_live() => {
                self.problems.in_cell(line, ID_COLUMN, "this row was deleted; restore it first, or leave the id empty for a new row");
                BTreeMap::new()
            }
            Some(row) => differing(self.table, row, values),
            None => self.with_defaults(line, values),
        };
        PlannedRow { line, key, held, fields }
    }

    fn with_defaults(&mut self, line: u64, mut values: BTreeMap<FieldTag, Value>) -> BTreeMap<FieldTag, Value> {
        for field in &self.table.fields {
            if values.contains_key(&field.tag) {
                continue;
            }
            match &field.default {
                Some(value) => {
                    values.insert(field.tag, value.clone());
                }
                None if field.required => {
                    let message = format!("{}; add the column, or --set {}=VALUE", field.explain(FieldProblem::Required), field.name);
                    self.problems.in_cell(line, &field.name, message);
                }
                None => {}
            }
        }
        values.retain(|_, value| !value.is_null());
        values
    }

    /// No two live rows may have the same value of a unique field after the import.
    fn check_unique(&mut self, planned: &[PlannedRow]) -> Result<(), StoreError> {
        let touched: BTreeSet<RowId> = planned.iter().map(|row| row.key.id).collect();
        for field in self.table.fields.iter().filter(|field| field.unique) {
            let mut taken: BTreeMap<Vec<u8>, Option<u64>> = BTreeMap::new();
            titles::each_live(self.snapshot, self.table, |row| {
                if !touched.contains(&row.key.id)
                    && let Some(key) = unique_key(self.table, field, |tag| row.value(tag))
                {
                    taken.insert(key, None);
                }
            })?;
            for row in planned {
                let Some(key) = unique_key(self.table, field, |tag| row.value(tag)) else { continue };
                let value = field.show(row.value(field.tag));
                match taken.insert(key, Some(row.line)) {
                    None => {}
                    Some(Some(before)) => {
                        self.problems.in_cell(row.line, &field.name, format!("`{value}` stands in line {before} too, and must be unique"));
                    }
                    Some(None) => {
                        self.problems.in_cell(row.line, &field.name, format!("another row has `{value}` already, and it must be unique"));
                    }
                }
            }
        }
        Ok(())
    }
}

fn first_ids(ids: &[RowId]) -> String {
    let shown: Vec<String> = ids.iter().take(3).map(ToString::to_string).collect();
    if ids.len() > shown.len() { format!("{}, ...", shown.join(", ")) } else { shown.join(", ") }
}

/// What a field's value is unique among: the scope value of the row, in scoped tables. Null never clashes.
fn unique_key<'v>(table: &Table, field: &Field, value_of: impl Fn(FieldTag) -> &'v Value) -> Option<Vec<u8>> {
    let value = value_of(field.tag);
    if value.is_null() {
        return None;
    }
    let mut key = Vec::new();
    if let Some(scope) = table.scope {
        value_of(scope).canonical(&mut key);
    }
    value.canonical(&mut key);
    Some(key)
}

/// The values that differ from the row's, with the other members of their groups (C2). Empty text is no difference to null:
/// a file cannot tell them apart.
fn differing(table: &Table, row: &Row, mut values: BTreeMap<FieldTag, Value>) -> BTreeMap<FieldTag, Value> {
    let is_empty = |value: &Value| value.is_null() || matches!(value, Value::Text(text) if text.is_empty());
    values.retain(|tag, value| row.value(*tag) != value && !(is_empty(value) && is_empty(row.value(*tag))));
    for tag in values.keys().copied().collect::<Vec<_>>() {
        for member in table.unit(&tag) {
            values.entry(*member).or_insert_with(|| row.value(*member).clone());
        }
    }
    values
}

/// Orders rows so that one that others of the file refer to comes before them; rows in a cycle keep their place at the end.
fn parents_first(table: &Table, planned: Vec<PlannedRow>) -> Vec<PlannedRow> {
    let own: Vec<FieldTag> =
        table.fields.iter().filter(|f| f.reference.is_some_and(|r| r.table == table.tag)).map(|f| f.tag).collect();
    if own.is_empty() {
        return planned;
    }
    let mut waiting: BTreeSet<RowId> = planned.iter().filter(|row| row.held.is_none()).map(|row| row.key.id).collect();
    let mut ordered = Vec::with_capacity(planned.len());
    let mut rest = planned;
    loop {
        let waits = |row: &PlannedRow| {
            own.iter().any(|tag| match row.value(*tag) {
                Value::Uuid(bytes) => *bytes != *row.key.id.bytes() && waiting.contains(&RowId::from_bytes(*bytes)),
                _ => false,
            })
        };
        let (ready, blocked): (Vec<_>, Vec<_>) = rest.into_iter().partition(|row| !waits(row));
        if ready.is_empty() {
            ordered.extend(blocked);
            return ordered;
        }
        ready.iter().for_each(|row| {
            waiting.remove(&row.key.id);
        });
        ordered.extend(ready);
        rest = blocked;
    }
}

fn to_plan(table: &Table, rows: Vec<PlannedRow>, edited_at_ms: i64) -> Plan {
    let mut plan = Plan::default();
    for row in rows {
        let (op, base) = match &row.held {
            Some(held) => (Op::Update, held.seq),
            None => (Op::Create, Seq(0)),
        };
        match op {
            Op::Update if row.fields.is_empty() => {
                plan.unchanged += 1;
                continue;
            }
            Op::Update => plan.updated += 1,
            _ => plan.created += 1,
        }
        let fields = row.fields.into_iter().map(|(field, value)| FieldChange { field, value, base }).collect();
        debug_assert_eq!(row.key.table, table.tag);
        plan.changes.push(Change {
            key: row.key,
            op,
            row_base: base,
            view_base: Seq(0),
            fields,
            lost: Vec::new(),
            group: None,
            edited_at_ms,
        });
        plan.lines.push(row.line);
    }
    plan
}
