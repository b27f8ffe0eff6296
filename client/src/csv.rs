//! Tables as CSV: a file is checked as a whole and written to the outbox in one local transaction, and rows are written out so
//! that they read back unchanged.
//!
//! The first line names the columns: fields, and `id` if wished. Cells are read by the kind of their field; an empty cell is
//! no value. References are ids, or the text that names exactly one row.

mod problems;

pub use self::problems::{Mistake, PROBLEMS_TOLD_MAX, Problem, Problems, Spot};
pub use crate::titles::TitleError;

use crate::engine::Engine;
use crate::error::ClientError;
use crate::handle::{Client, new_row_id};
use crate::local::{LocalError, LocalWrite};
use crate::names;
use crate::store::{ReadTables, StoreError};
use crate::table::fill_defaults;
use crate::titles::Titles;
use crate::view::{self, Query, RowView};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as IoWrite;
use thiserror::Error;
use tombolo_protocol::ids::{FieldTag, RowId, RowKey, TableTag};
use tombolo_protocol::outbox::Write;
use tombolo_protocol::schema::{Field, FieldProblem, Schema, Table};
use tombolo_protocol::value::Value;

/// The column that holds a row's id; no field may be called so.
const ID_COLUMN: &str = "id";

/// What an import did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Imported {
    /// New rows.
    pub created: usize,
    /// Rows of which something differed.
    pub updated: usize,
    /// Rows that were already as the file says.
    pub unchanged: usize,
}

/// Why a file was not imported; nothing of it was.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ImportError {
    /// Something is wrong with the file.
    #[error(transparent)]
    Problems(#[from] Problems),
    /// The client could not.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// Imports a file into the outbox: an id that is there becomes an update of what differs, everything else a new row. `set` gives
/// fields the same value in all rows.
///
/// # Errors
/// [`ImportError`]; nothing was written.
pub fn import(client: &Client, table: &str, text: &[u8], set: &[(String, String)]) -> Result<Imported, ImportError> {
    let (table, set, text) = (table.to_owned(), set.to_vec(), text.to_vec());
    // Planning and writing see the same state: nothing comes in between on the engine's thread.
    client
        .act(move |engine, now_ms| {
            let schema = engine.schema().cloned().ok_or(LocalError::NoSchema)?;
            let tag = names::table(&schema, &table)?.tag;
            match plan(engine, &schema, tag, &text, &set)? {
                Err(problems) => Ok(Err(problems)),
                Ok((imported, writes)) => {
                    engine.write(writes, None, now_ms)?;
                    Ok(Ok(imported))
                }
            }
        })?
        .map_err(ImportError::Problems)
}

/// What a file would do.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Preview {
    /// Its columns, each with the field's name for people where there is such a field.
    pub columns: Vec<(String, Option<String>)>,
    /// The first rows, as they stand in the file.
    pub sample: Vec<Vec<String>>,
    /// What an import would do.
    pub imported: Imported,
    /// Everything that has to be mended first.
    pub problems: Problems,
}

/// Rows that a preview shows.
const SAMPLE: usize = 5;

/// Reads a file as [`import`] would, and writes nothing.
///
/// # Errors
/// [`ClientError`] when the store fails, or there is no such table.
pub fn preview(client: &Client, table: &str, text: &[u8]) -> Result<Preview, ClientError> {
    let (table, text) = (table.to_owned(), text.to_vec());
    client.act(move |engine, _| {
        let schema = engine.schema().cloned().ok_or(LocalError::NoSchema)?;
        let table = names::table(&schema, &table)?;
        let mut lines = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text))
            .into_byte_records()
            .map_while(Result::ok)
            .map(|record| record.iter().map(|cell| String::from_utf8_lossy(cell).into_owned()).collect::<Vec<_>>())
            .take(SAMPLE + 1)
            .collect::<Vec<_>>()
            .into_iter();
        let label = |name: &String| table.field_named(name.trim()).map(|field| field.label.clone());
        let columns = lines.next().unwrap_or_default().into_iter().map(|name| (name.clone(), label(&name))).collect();
        let (imported, problems) = match plan(engine, &schema, table.tag, &text, &[])? {
            Ok((imported, _)) => (imported, Problems::default()),
            Err(problems) => (Imported::default(), problems),
        };
        Ok(Preview { columns, sample: lines.collect(), imported, problems })
    })
}

/// Writes rows with their ids as CSV.
///
/// # Errors
/// When `out` fails.
pub fn export<'v>(
    table: &Table,
    rows: impl IntoIterator<Item = (RowId, &'v dyn Fn(FieldTag) -> Value)>,
    out: impl IoWrite,
) -> std::io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    let header = std::iter::once(ID_COLUMN).chain(table.fields.iter().map(|field| field.name.as_str()));
    writer.write_record(header)?;
    for (id, value_of) in rows {
        let cells = table.fields.iter().map(|field| field.show(&value_of(field.tag)));
        writer.write_record(std::iter::once(id.to_string()).chain(cells))?;
    }
    writer.flush()
}

type Planned = (Imported, Vec<LocalWrite>);

fn plan(
    engine: &Engine,
    schema: &Schema,
    tag: TableTag,
    text: &[u8],
    set: &[(String, String)],
) -> Result<Result<Planned, Problems>, StoreError> {
    let table = schema.table(tag).expect("the table was found in this very schema");
    let tables = engine.store().read()?;
    let mut planner = Planner {
        schema,
        table,
        tables: &tables,
        titles: Titles::default(),
        problems: Problems::default(),
        told: BTreeSet::new(),
    };
    let for_all = planner.for_all(set)?;
    let rows = planner.rows(text, &for_all)?;
    planner.check_ids(&rows);
    let mut imported = Imported::default();
    let mut writes = Vec::with_capacity(rows.len());
    for row in rows {
        match planner.write(row)? {
            Some(write) if matches!(write.write, Write::Create(_)) => {
                imported.created += 1;
                writes.push(write);
            }
            Some(write) => {
                imported.updated += 1;
                writes.push(write);
            }
            None => imported.unchanged += 1,
        }
    }
    planner.check_unique(&writes)?;
    let problems = planner.problems;
    Ok(if problems.is_empty() { Ok((imported, writes)) } else { Err(problems.sorted()) })
}

/// A line of the file, read.
struct ReadRow {
    line: u64,
    id: Option<RowId>,
    values: BTreeMap<FieldTag, Value>,
    /// Fields of which something was told already.
    told: BTreeSet<FieldTag>,
}

/// A column: the id, or a field.
struct Column<'a> {
    name: String,
    field: Option<&'a Field>,
}

struct Planner<'a> {
    schema: &'a Schema,
    table: &'a Table,
    tables: &'a ReadTables,
    titles: Titles,
    problems: Problems,
    /// Fields whose value for all rows is wrong.
    told: BTreeSet<FieldTag>,
}

impl<'a> Planner<'a> {
    fn for_all(&mut self, set: &[(String, String)]) -> Result<BTreeMap<FieldTag, Value>, StoreError> {
        let mut for_all = BTreeMap::new();
        for (name, text) in set {
            match names::field(self.table, name) {
                Err(error) => self.problems.for_all(name, Mistake::UnknownColumn { error, semicolons: false }),
                Ok(field) => match self.cell(field, text)? {
                    Ok(value) => {
                        if for_all.insert(field.tag, value).is_some() {
                            self.problems.for_all(name, Mistake::ForAllTwice);
                        }
                    }
                    Err(mistake) => {
                        self.told.insert(field.tag);
                        self.problems.for_all(name, mistake);
                    }
                },
            }
        }
        Ok(for_all)
    }

    fn rows(&mut self, text: &[u8], for_all: &BTreeMap<FieldTag, Value>) -> Result<Vec<ReadRow>, StoreError> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text);
        let mut record = csv::ByteRecord::new();
        let mut columns: Option<Vec<Column<'a>>> = None;
        let mut rows = Vec::new();
        while reader.read_byte_record(&mut record).unwrap_or(false) {
            let line = record.position().map_or(0, csv::Position::line);
            match &columns {
                None => columns = Some(self.header(&record, for_all)),
                // Cells without their columns would only be told to be wrong in every line.
                Some(_) if rows.is_empty() && self.problems.in_header() => break,
                Some(columns) => rows.extend(self.line(columns, line, &record, for_all)?),
            }
        }
        if columns.is_none() {
            self.problems.in_line(1, Mistake::Empty);
        }
        Ok(rows)
    }

    fn header(&mut self, record: &csv::ByteRecord, for_all: &BTreeMap<FieldTag, Value>) -> Vec<Column<'a>> {
        let mut columns: Vec<Column<'a>> = Vec::new();
        for cell in record {
            let name = String::from_utf8_lossy(cell).trim().to_owned();
            let field = self.table.field_named(&name);
            if let Err(error) = names::field(self.table, &name)
                && name != ID_COLUMN
            {
                let semicolons = name.contains([';', '\t']);
                self.problems.in_cell(1, &name, Mistake::UnknownColumn { error, semicolons });
            } else if columns.iter().any(|column| column.name == name) {
                self.problems.in_cell(1, &name, Mistake::ColumnTwice);
            } else if field.is_some_and(|field| for_all.contains_key(&field.tag)) {
                self.problems.in_cell(1, &name, Mistake::AlsoForAll(name.clone()));
            }
            columns.push(Column { name, field });
        }
        columns
    }

    fn line(
        &mut self,
        columns: &[Column<'a>],
        line: u64,
        record: &csv::ByteRecord,
        for_all: &BTreeMap<FieldTag, Value>,
    ) -> Result<Option<ReadRow>, StoreError> {
        if record.len() != columns.len() {
            self.problems.in_line(line, Mistake::Cells { cells: record.len(), columns: columns.len() });
            return Ok(None);
        }
        let mut row = ReadRow { line, id: None, values: for_all.clone(), told: self.told.clone() };
        for (column, cell) in columns.iter().zip(record) {
            let Ok(text) = std::str::from_utf8(cell) else {
                row.told.extend(column.field.map(|field| field.tag));
                self.problems.in_cell(line, &column.name, Mistake::NotUtf8);
                continue;
            };
            let wrong = match column.field {
                None => id_of(text).map(|id| row.id = id).err(),
                Some(field) => self.cell(field, text)?.map(|value| drop(row.values.insert(field.tag, value))).err(),
            };
            if let Some(mistake) = wrong {
                row.told.extend(column.field.map(|field| field.tag));
                self.problems.in_cell(line, &column.name, mistake);
            }
        }
        Ok(Some(row))
    }

    /// A value, and whether the field allows it. That a required one is missing is said where the row is known.
    fn cell(&mut self, field: &Field, text: &str) -> Result<Result<Value, Mistake>, StoreError> {
        let value = match field.reference.and_then(|reference| self.schema.table(reference.table)) {
            Some(target) => self.titles.value_in(self.tables, target, text)?.map_err(Mistake::from),
            None => field.parse_text(text).map_err(|error| Mistake::Unreadable { text: text.to_owned(), error }),
        };
        Ok(value.and_then(|value| match field.check(&value) {
            Err(problem) if problem != FieldProblem::Required || !value.is_null() => Err(Mistake::unfit(field, text, problem)),
            _ => Ok(value),
        }))
    }

    /// Each row may be in the file once.
    fn check_ids(&mut self, rows: &[ReadRow]) {
        let mut first: BTreeMap<RowId, u64> = BTreeMap::new();
        for (id, line) in rows.iter().filter_map(|row| Some((row.id?, row.line))) {
            if let Some(before) = first.insert(id, line) {
                self.problems.in_cell(line, ID_COLUMN, Mistake::IdTwice(before));
            }
        }
    }

    /// The write that a line means; `None` where the row is already so.
    fn write(&mut self, row: ReadRow) -> Result<Option<LocalWrite>, StoreError> {
        let key = RowKey { table: self.table.tag, id: row.id.unwrap_or_else(new_row_id) };
        match view::get(self.tables, self.schema, key)? {
            Some(shown) => Ok(self.update(&shown, row)),
            None if self.tables.mirror(key)?.is_some() => {
                self.problems.in_cell(row.line, ID_COLUMN, Mistake::Deleted);
                Ok(None)
            }
            None => Ok(Some(self.create(key, row))),
        }
    }

    fn create(&mut self, key: RowKey, row: ReadRow) -> LocalWrite {
        let mut values = row.values;
        fill_defaults(self.table, &mut values);
        values.retain(|_, value| !value.is_null());
        let missing = |field: &&Field| field.required && !values.contains_key(&field.tag) && !row.told.contains(&field.tag);
        for field in self.table.fields.iter().filter(missing) {
            self.problems.in_cell(row.line, &field.name, Mistake::unfit(field, "", FieldProblem::Required));
        }
        LocalWrite { key, write: Write::Create(values), seen: None }
    }

    /// Of a row that is there, what differs. Empty text is no difference to no value: a file cannot tell them apart.
    fn update(&mut self, shown: &RowView, row: ReadRow) -> Option<LocalWrite> {
        let is_empty = |value: &Value| value.is_null() || matches!(value, Value::Text(text) if text.is_empty());
        let mut values = row.values;
        values.retain(|tag, value| shown.value(*tag) != value && !(is_empty(value) && is_empty(shown.value(*tag))));
        for (tag, value) in &values {
            if let Some(field) = self.table.field(*tag).filter(|field| field.required && value.is_null()) {
                self.problems.in_cell(row.line, &field.name, Mistake::unfit(field, "", FieldProblem::Required));
            }
        }
        let seen = Some(shown.seen.clone());
        (!values.is_empty()).then_some(LocalWrite { key: shown.key, write: Write::Update(values), seen })
    }

    /// No two rows on this device may have the same value of a unique field afterwards; what other devices have, the server
    /// says.
    fn check_unique(&mut self, writes: &[LocalWrite]) -> Result<(), StoreError> {
        for field in self.table.fields.iter().filter(|field| field.unique) {
            let written: BTreeMap<RowId, &BTreeMap<FieldTag, Value>> = writes
                .iter()
                .filter_map(|local| match &local.write {
                    Write::Create(values) | Write::Update(values) => Some((local.key.id, values)),
                    Write::Delete | Write::Restore => None,
                })
                .collect();
            if !written.values().any(|values| values.contains_key(&field.tag)) {
                continue;
            }
            let mut after: BTreeMap<RowId, BTreeMap<FieldTag, Value>> = view::list(self.tables, self.table, &Query::default())?
                .into_iter()
                .map(|row| (row.key.id, row.values))
                .collect();
            for (id, values) in written {
                after.entry(id).or_default().extend(values.iter().map(|(tag, value)| (*tag, value.clone())));
            }
            let mut counts: BTreeMap<Vec<u8>, (usize, String)> = BTreeMap::new();
            for values in after.values() {
                let Some(value) = values.get(&field.tag).filter(|value| !value.is_null()) else { continue };
                let mut key = Vec::new();
                self.table.scope.and_then(|scope| values.get(&scope)).unwrap_or(&Value::Null).canonical(&mut key);
                value.canonical(&mut key);
                counts.entry(key).or_insert_with(|| (0, field.show(value))).0 += 1;
            }
            for (rows, value) in counts.into_values().filter(|(rows, _)| *rows > 1) {
                self.problems.in_column(&field.name, Mistake::NotUnique { rows, value });
            }
        }
        Ok(())
    }
}

fn id_of(text: &str) -> Result<Option<RowId>, Mistake> {
    match text.trim() {
        "" => Ok(None),
        id => id.parse().map(Some).map_err(|_| Mistake::NotAnId(id.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{clinic, site};
    use tombolo_protocol::schema::ValueError;

    fn set() -> Vec<(String, String)> {
        vec![("site".to_owned(), site().to_string())]
    }

    fn exported(client: &Client) -> String {
        let schema = client.schema().unwrap();
        let table = schema.table_named("patients").unwrap();
        let rows = client.list(table.tag, Query::default()).unwrap();
        let mut out = Vec::new();
        let values: Vec<_> = rows.iter().map(|row| (row.key.id, move |tag| row.value(tag).clone())).collect();
        export(table, values.iter().map(|(id, value)| (*id, value as &dyn Fn(FieldTag) -> Value)), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_exported_is_imported_as_no_change() {
        let client = clinic();
        let text = "name,birth_date,weight_kg\n\"Achieng, Rose\",1990-05-31,61.5\nOtieno,,\n";
        let imported = import(&client, "patients", text.as_bytes(), &set()).unwrap();
        assert_eq!(imported, Imported { created: 2, updated: 0, unchanged: 0 });
        let csv = exported(&client);
        let again = import(&client, "patients", csv.as_bytes(), &[]).unwrap();
        assert_eq!(again, Imported { created: 0, updated: 0, unchanged: 2 });
        let changed = import(&client, "patients", csv.replace("61.5", "62").as_bytes(), &[]).unwrap();
        assert_eq!(changed, Imported { created: 0, updated: 1, unchanged: 1 });
        assert!(exported(&client).contains(",62,") || exported(&client).contains(",62"));
    }

    #[test]
    fn a_file_with_problems_is_not_imported_at_all_and_names_lines_and_columns() {
        let client = clinic();
        let text = "name,birth_date,sex\nRose,1990-05-31,F\nOtieno,soon,Q\n,1990-01-01,\na,b\n";
        let error = import(&client, "patients", text.as_bytes(), &set()).unwrap_err().to_string();
        let lines: Vec<&str> = error.lines().collect();
        assert!(lines[0].starts_with("line 3, column `birth_date`: `soon` is not a date"), "{error}");
        assert!(lines[1].starts_with("line 3, column `sex`: "), "{error}");
        assert!(error.contains("line 4, column `name`: Name: a value is needed here"), "{error}");
        assert!(error.contains("line 5: has 2 cells, but the first line names 3 columns"), "{error}");
        assert!(client.pending().unwrap().is_empty());
    }

    #[test]
    fn a_wrong_first_line_is_told_once_and_not_for_every_row() {
        let client = clinic();
        let error = import(&client, "patients", b"nam;age\nRose;3\nOtieno;4\n", &set()).unwrap_err().to_string();
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.contains("columns are separated by commas"), "{error}");
        assert!(import(&client, "patients", b"", &[]).unwrap_err().to_string().contains("the file is empty"));
    }

    #[test]
    fn a_cell_is_told_to_be_wrong_once() {
        let client = clinic();
        let error = import(&client, "patients", b"name,site\nRose,Nowhere\n", &[]).unwrap_err().to_string();
        assert_eq!(error, "line 2, column `site`: no row in sites on this device is called `Nowhere`");
        let set = [("site".to_owned(), "Nowhere".to_owned())];
        let error = import(&client, "patients", b"name\nRose\nOtieno\n", &set).unwrap_err().to_string();
        assert_eq!(error, "--set site: no row in sites on this device is called `Nowhere`");
    }

    #[test]
    fn a_preview_says_in_parts_what_is_wrong_and_writes_nothing() {
        let client = clinic();
        let text = b"name,weight_kg,site\n,x,Nowhere\nRose,900,Kisumu\n";
        let preview = preview(&client, "patients", text).unwrap();
        let (told, more) = preview.problems.told();
        let spot = |line, column: &str| Spot::Cell { line, column: column.to_owned() };
        let [unread, nobody, missing, unfit, ..] = told else { panic!("{told:?}") };
        assert_eq!(unread.spot, spot(2, "weight_kg"));
        assert!(matches!(&unread.mistake, Mistake::Unreadable { text, error: ValueError::NotAFloat(_) } if text == "x"));
        assert_eq!(nobody.spot, spot(2, "site"));
        assert!(
            matches!(&nobody.mistake, Mistake::Reference(TitleError::Nobody { table, text }) if table == "sites" && text == "Nowhere")
        );
        assert_eq!((&missing.spot, &missing.mistake), (&spot(2, "name"), &Mistake::Missing { label: "Name".to_owned() }));
        assert!(matches!(&unfit.mistake, Mistake::Unfit { text, problem: FieldProblem::TooLarge, .. } if text == "900"));
        assert_eq!((more, preview.imported), (0, Imported::default()));
        assert!(client.pending().unwrap().is_empty());
    }

    #[test]
    fn no_more_than_twenty_problems_are_told() {
        let text = format!("name,birth_date\n{}", "x,y\n".repeat(30));
        let error = import(&clinic(), "patients", text.as_bytes(), &set()).unwrap_err().to_string();
        assert_eq!(error.lines().count(), 21);
        assert!(error.ends_with("and 10 more"), "{error}");
    }

    #[test]
    fn values_that_must_be_unique_are_not_imported_twice() {
        let client = clinic();
        let error = import(&client, "sites", b"name\nKisumu\nKisumu\n", &[]).unwrap_err().to_string();
        assert_eq!(error, "column `name`: 2 rows would have `Kisumu`, and it must be unique");
        import(&client, "sites", b"name\nKisumu\n", &[]).unwrap();
        assert!(import(&client, "sites", b"name\nKisumu\n", &[]).is_err());
        // A reference may be written as the text that names the row.
        let set = [("site".to_owned(), "Kisumu".to_owned())];
        assert_eq!(import(&client, "patients", b"name\nRose\n", &set).unwrap().created, 1);
    }
}
