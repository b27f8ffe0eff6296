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
        planned.push(planner.row(line, key, held, values));
    }
    planner.check_unique(&planned)?;
    planner.problems.or(()).map_err(PlanError::Problems)?;
    Ok(to_plan(parents_first(table, planned), edited_at_ms))
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
                self.problems.in_cell(
                    line.line,
                    ID_COLUMN,
                    format!("is the id of line {before} too; each row may be there once"),
                );
            } else {
                first.insert(id, line.line);
            }
        }
        first.into_keys().collect()
    }

    /// The values of a line, with references resolved; what is wrong is told, and then `None`.
    fn values(&mut self, line: &Line, named: &BTreeSet<RowId>) -> Result<BTreeMap<FieldTag, Option<Value>>, StoreError> {
        let mut values = BTreeMap::new();
        for (tag, cell) in &line.cells {
            let Some(field) = self.table.field(*tag) else { continue };
            let value = self.resolve(field, &cell.given, named)?;
            values.insert(*tag, value.map_err(|message| self.tell(line, field, message)).ok());
        }
        Ok(values)
    }

    /// Tells what is wrong with a value, where it was given.
    fn tell(&mut self, line: &Line, field: &Field, message: String) {
        match line.cells.get(&field.tag).is_some_and(|cell| cell.set) {
            true => self.tell_once(&field.name, message),
            false => self.problems.in_cell(line.line, &field.name, message),
        }
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
                Ok(if there {
                    Ok(Value::Uuid(*bytes))
                } else {
                    Err(format!("there is no row in {} with this id", target.name))
                })
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

    /// The row as the import wants it: of a held row what differs, of a new one all values with the defaults. Of a held row a
    /// required value may be missing, if it was before: the field became required later.
    fn row(
        &mut self,
        line: &Line,
        key: RowKey,
        held: Option<Row>,
        mut values: BTreeMap<FieldTag, Option<Value>>,
    ) -> PlannedRow {
        if held.is_none() {
            self.add_defaults(line, &mut values);
        }
        let given = values.into_iter().filter_map(|(tag, value)| Some((tag, value?))).collect();
        let mut fields = match &held {
            Some(row) if !row.is_live() => {
                self.problems.in_cell(
                    line.line,
                    ID_COLUMN,
                    "this row was deleted; restore it first, or leave the id empty for a new row",
                );
                BTreeMap::new()
            }
            Some(row) => differing(self.table, row, given),
            None => given,
        };
        for (tag, value) in &fields {
            if let Some(field) = self.table.field(*tag)
                && (line.cells.contains_key(tag) && value.is_null() && field.required)
            {
                self.tell(line, field, field.explain(FieldProblem::Required));
            }
        }
        if held.is_none() {
            fields.retain(|_, value| !value.is_null());
        }
        PlannedRow { line: line.line, key, held, fields }
    }

    fn add_defaults(&mut self, line: &Line, values: &mut BTreeMap<FieldTag, Option<Value>>) {
        for field in &self.table.fields {
            if values.contains_key(&field.tag) {
                continue;
            }
            match &field.default {
                Some(value) => {
                    values.insert(field.tag, Some(value.clone()));
                }
                None if field.required => {
                    let message =
                        format!("{}; add the column, or --set {}=VALUE", field.explain(FieldProblem::Required), field.name);
                    self.problems.in_cell(line.line, &field.name, message);
                }
                None => {}
            }
        }
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
                        self.problems.in_cell(
                            row.line,
                            &field.name,
                            format!("`{value}` stands in line {before} too, and must be unique"),
                        );
                    }
                    Some(None) => {
                        self.problems.in_cell(
                            row.line,
                            &field.name,
                            format!("another row has `{value}` already, and it must be unique"),
                        );
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

/// Orders rows so that one that others of the file refer to comes before them; rows in a cycle keep their order at the end.
fn parents_first(table: &Table, planned: Vec<PlannedRow>) -> Vec<PlannedRow> {
    let own: Vec<FieldTag> =
        table.fields.iter().filter(|f| f.reference.is_some_and(|r| r.table == table.tag)).map(|f| f.tag).collect();
    if own.is_empty() {
        return planned;
    }
    let made: BTreeMap<RowId, usize> =
        planned.iter().enumerate().filter(|(_, row)| row.held.is_none()).map(|(index, row)| (row.key.id, index)).collect();
    let mut children: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut awaited = vec![0usize; planned.len()];
    for (index, row) in planned.iter().enumerate() {
        let parents = own.iter().filter_map(|tag| match row.value(*tag) {
            Value::Uuid(bytes) => made.get(&RowId::from_bytes(*bytes)).copied(),
            _ => None,
        });
        for parent in parents.filter(|parent| *parent != index) {
            children.entry(parent).or_default().push(index);
            awaited[index] += 1;
        }
    }
    let mut ready: BTreeSet<usize> = (0..planned.len()).filter(|index| awaited[*index] == 0).collect();
    let mut rows: Vec<Option<PlannedRow>> = planned.into_iter().map(Some).collect();
    let mut ordered = Vec::with_capacity(rows.len());
    while let Some(index) = ready.pop_first() {
        ordered.extend(rows[index].take());
        for child in children.remove(&index).unwrap_or_default() {
            awaited[child] -= 1;
            if awaited[child] == 0 {
                ready.insert(child);
            }
        }
    }
    ordered.extend(rows.into_iter().flatten());
    ordered
}

fn to_plan(rows: Vec<PlannedRow>, edited_at_ms: i64) -> Plan {
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

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;
    use crate::access::OPERATOR;
    use crate::store::Store;
    use crate::workspace::{Init, Job, Reply, Workspace};
    use tombolo_protocol::ids::WorkspaceId;

    const SCHEMA: &str = r#"
name = "test"
[[table]]
name = "places"
tag = 1
[[table.field]]
name = "name"
tag = 1
kind = "text"
[[table.field]]
name = "within"
tag = 2
kind = "reference"
references = "places"
[[table.field]]
name = "dose"
tag = 3
kind = "int"
[[table.field]]
name = "unit"
tag = 4
kind = "text"
[[table.group]]
name = "dose"
label = "Dose"
fields = ["dose", "unit"]
"#;

    struct World(Workspace, RowIds);

    impl World {
        fn new() -> Self {
            let init = Init { id: WorkspaceId::default(), schema: SCHEMA };
            Self(Workspace::init(Store::in_memory().unwrap(), init, 1).unwrap(), RowIds::new(5, [7; 8]))
        }

        fn plan(&mut self, file: &str) -> Result<Plan, PlanError> {
            let snapshot = self.0.store().snapshot().unwrap();
            let schema = snapshot.schema().clone();
            let table = &schema.tables[0];
            plan(&snapshot, &schema, table, &read(table, &[], file.as_bytes()).unwrap(), &mut self.1, 9)
        }

        fn import(&mut self, file: &str) {
            let changes = self.plan(file).unwrap().changes;
            let replies = self.0.apply(vec![Job::import(OPERATOR, changes)], 2).unwrap();
            assert!(matches!(replies.as_slice(), [Reply::Import(Ok(_))]), "{replies:?}");
        }
    }

    fn id(number: u8) -> RowId {
        RowId::from_bytes([number; 16])
    }

    #[test]
    fn a_row_comes_after_the_one_that_it_refers_to() {
        let mut world = World::new();
        let (leaf, branch, root) = (id(1), id(2), id(3));
        // The tree upside down; a place within itself; and two that are within each other.
        let file = format!(
            "id,within\n{leaf},{branch}\n{branch},{root}\n{root},\n{},{}\n{},{}\n{},{}\n",
            id(4),
            id(4),
            id(5),
            id(6),
            id(6),
            id(5)
        );
        let planned = world.plan(&file).unwrap();
        let order: Vec<RowId> = planned.changes.iter().map(|change| change.key.id).collect();
        assert_eq!(order, [root, branch, leaf, id(4), id(5), id(6)]);
        assert_eq!(planned.lines, [4, 3, 2, 5, 6, 7]);
        world.import(&file);
    }

    #[test]
    fn an_update_names_what_differs_with_its_group_on_the_base_that_it_was_compared_with() {
        let mut world = World::new();
        world.import(&format!("id,name,dose,unit\n{},A,5,mg\n{},B,,\n", id(1), id(2)));
        let head = world.0.head().seq;
        let planned = world.plan(&format!("id,name,dose\n{},A,6\n{},B,\n", id(1), id(2))).unwrap();
        assert_eq!((planned.created, planned.updated, planned.unchanged), (0, 1, 1));
        let change = &planned.changes[0];
        assert_eq!((change.op, change.row_base), (Op::Update, head));
        let fields: Vec<_> = change.fields.iter().map(|f| (f.field, f.value.clone(), f.base)).collect();
        assert_eq!(fields, [(FieldTag(3), Value::Int(6), head), (FieldTag(4), Value::text("mg"), head)]);
    }

    #[test]
    fn a_deleted_row_is_not_brought_back_by_a_file() {
        let mut world = World::new();
        world.import(&format!("id,name\n{},A\n", id(1)));
        let mut changes = world.plan(&format!("id,name\n{},B\n", id(1))).unwrap().changes;
        changes[0].op = Op::Delete;
        changes[0].fields.clear();
        world.0.apply(vec![Job::import(OPERATOR, changes)], 3).unwrap();
        let error = world.plan(&format!("id,name\n{},B\n", id(1))).unwrap_err().to_string();
        assert!(error.starts_with("line 2, column `id`: this row was deleted"), "{error}");
    }

    #[test]
    fn a_required_value_may_be_missing_where_it_was_before_the_field_was_required() {
        let mut world = World::new();
        world.import(&format!("id,name\n{},A\n{},\n", id(1), id(2)));
        let later = SCHEMA.replacen("kind = \"text\"", "kind = \"text\"\nrequired = true", 1);
        let required = Schema::parse(&later).unwrap();
        let mut plan = |set: &[(String, String)], file: &str| {
            let table = &required.tables[0];
            let snapshot = world.0.store().snapshot().unwrap();
            plan(&snapshot, &required, table, &read(table, set, file.as_bytes()).unwrap(), &mut world.1, 9)
        };
        let planned = plan(&[], &format!("id,name\n{},A\n{},\n", id(1), id(2))).unwrap();
        assert_eq!((planned.updated, planned.unchanged), (0, 2));
        let planned = plan(&[], &format!("id,name,dose\n{},,5\n", id(2))).unwrap();
        assert_eq!(planned.updated, 1);
        // Taken away, or never there.
        let error = plan(&[], &format!("id,name\n{},\n{},B\n,\n", id(1), id(2))).unwrap_err().to_string();
        assert_eq!(
            error,
            "line 2, column `name`: Name: a value is needed here\nline 4, column `name`: Name: a value is needed here"
        );
        let nothing = [("name".to_owned(), String::new())];
        let error = plan(&nothing, "dose\n1\n2\n").unwrap_err().to_string();
        assert_eq!(error, "--set name: Name: a value is needed here");
    }

    #[test]
    fn ids_ascend_and_tell_their_time() {
        let mut ids = RowIds::new(1_700_000_000_000, [255; 8]);
        let made: Vec<RowId> = (0..10_000).map(|_| ids.next()).collect();
        assert!(made.is_sorted_by(|a, b| a < b));
        assert_eq!(made[0].0.get_version_num(), 7);
        let (seconds, _) = made[0].0.get_timestamp().unwrap().to_unix();
        assert_eq!(seconds, 1_700_000_000);
    }

    #[test]
    fn an_id_stands_in_a_file_once() {
        let mut world = World::new();
        let error = world.plan(&format!("id,name\n{0},A\n{0},B\n", id(1))).unwrap_err().to_string();
        assert_eq!(error, "line 3, column `id`: is the id of line 2 too; each row may be there once");
    }
}
