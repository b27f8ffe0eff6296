//! A CSV file as rows of checked values; what needs other rows is left to the plan.

use super::ID_COLUMN;
use super::problem::{At, Problems};
use csv::{ByteRecord, ReaderBuilder, Trim};
use std::collections::BTreeMap;
use std::str::FromStr;
use tombolo_protocol::ids::{FieldTag, RowId};
use tombolo_protocol::schema::{Field, FieldProblem, Table};
use tombolo_protocol::value::Value;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A file as it was read.
#[derive(PartialEq, Debug)]
pub(crate) struct Sheet {
    /// Its rows, in the order of the file.
    pub(crate) lines: Vec<Line>,
}

/// A row of a file.
#[derive(PartialEq, Debug)]
pub(crate) struct Line {
    /// The line at which it starts, counted from 1.
    pub(crate) line: u64,
    /// Its id, where it names one.
    pub(crate) id: Option<RowId>,
    /// The given fields, those for all rows among them.
    pub(crate) cells: BTreeMap<FieldTag, Cell>,
}

/// What is given for a field.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Cell {
    /// Where a problem with it is told: a value for all rows once only.
    pub(crate) set: bool,
    pub(crate) given: Given,
}

/// A value, or a text that names the row referred to.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Given {
    Value(Value),
    Title(String),
}

/// Reads a file for a table, with values for all rows.
///
/// # Errors
/// Everything that is wrong with the file as such and with single values, by line and column.
pub(crate) fn read(table: &Table, set: &[(String, String)], bytes: &[u8]) -> Result<Sheet, Problems> {
    let mut problems = Problems::default();
    let for_all = read_set(table, set, &mut problems);
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).trim(Trim::None).from_reader(bytes);
    let mut record = ByteRecord::new();
    let columns = match reader.read_byte_record(&mut record) {
        Ok(true) => read_header(table, &for_all, &record, &mut problems),
        Ok(false) => {
            problems.in_line(1, "the file is empty; its first line names the columns");
            Vec::new()
        }
        Err(error) => {
            problems.in_line(1, error.to_string());
            Vec::new()
        }
    };
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut lines = Vec::new();
    loop {
        match reader.read_byte_record(&mut record) {
            Ok(true) => lines.push(read_line(line_of(bytes, &record), &columns, &for_all, &record, &mut problems)),
            Ok(false) => return problems.or(Sheet { lines }),
            Err(error) => {
                problems.in_line(reader.position().line(), error.to_string());
                return Err(problems);
            }
        }
    }
}

/// A column: the id, or a field.
struct Column<'a> {
    name: String,
    field: Option<&'a Field>,
}

fn read_set(table: &Table, set: &[(String, String)], problems: &mut Problems) -> BTreeMap<FieldTag, Cell> {
    let mut for_all = BTreeMap::new();
    for (name, text) in set {
        let at = || At::Set { field: name.clone() };
        let Some(field) = table.field_named(name) else {
            problems.add(at(), no_such_field(table, name));
            continue;
        };
        match given(field, text) {
            Ok(given) => {
                if for_all.insert(field.tag, Cell { set: true, given }).is_some() {
                    problems.add(at(), "is given twice; give it once");
                }
            }
            Err(message) => problems.add(at(), message),
        }
    }
    for_all
}

fn read_header<'a>(
    table: &'a Table,
    for_all: &BTreeMap<FieldTag, Cell>,
    record: &ByteRecord,
    problems: &mut Problems,
) -> Vec<Column<'a>> {
    let mut columns: Vec<Column<'a>> = Vec::new();
    for cell in record {
        let name = String::from_utf8_lossy(cell).trim().to_owned();
        let field = table.field_named(&name);
        if field.is_none() && name != ID_COLUMN {
            let hint = if name.contains([';', '\t']) { "; columns are separated by commas" } else { "" };
            problems.in_cell(1, &name, format!("{}{hint}", no_such_field(table, &name)));
        } else if columns.iter().any(|column| column.name == name) {
            problems.in_cell(1, &name, "the column is there twice; keep one of them");
        } else if field.is_some_and(|field| for_all.contains_key(&field.tag)) {
            problems.in_cell(1, &name, format!("is also given by --set {name}; leave out one of them"));
        }
        columns.push(Column { name, field });
    }
    columns
}

fn no_such_field(table: &Table, name: &str) -> String {
    let names: Vec<&str> = table.fields.iter().map(|field| field.name.as_str()).collect();
    format!("{} has no field `{name}`; it has {}", table.name, names.join(", "))
}

/// The line at which a record starts. Its position is that of the reader before it, which may be followed by empty lines.
fn line_of(bytes: &[u8], record: &ByteRecord) -> u64 {
    let Some(position) = record.position() else { return 0 };
    let start = usize::try_from(position.byte()).unwrap_or(usize::MAX);
    let skipped = bytes.get(start..).unwrap_or_default().iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    position.line() + skipped.filter(|byte| **byte == b'\n').count() as u64
}

fn read_line(
    line: u64,
    columns: &[Column<'_>],
    for_all: &BTreeMap<FieldTag, Cell>,
    record: &ByteRecord,
    problems: &mut Problems,
) -> Line {
    let mut read = Line { line, id: None, cells: for_all.clone() };
    if record.len() != columns.len() {
        problems.in_line(
            line,
            format!("has {} cells, but the first line names {} columns; is a quote missing?", record.len(), columns.len()),
        );
        return read;
    }
    for (column, cell) in columns.iter().zip(record) {
        let Ok(text) = std::str::from_utf8(cell) else {
            problems.in_cell(line, &column.name, "is not UTF-8; save the file with that encoding");
            continue;
        };
        let wrong = match column.field {
            None => read_id(text).map(|id| read.id = id).err(),
            Some(field) => match given(field, text) {
                Ok(given) => {
                    read.cells.insert(field.tag, Cell { set: false, given });
                    None
                }
                Err(message) => Some(message),
            },
        };
        if let Some(message) = wrong {
            problems.in_cell(line, &column.name, message);
        }
    }
    read
}

fn read_id(text: &str) -> Result<Option<RowId>, String> {
    match text.trim() {
        "" => Ok(None),
        id => RowId::from_str(id).map(Some).map_err(|_| format!("`{id}` is not an id; leave it empty for a new row")),
    }
}

/// Reads a value and checks what the field allows. Whether nothing is too little depends on the row, which the plan knows.
fn given(field: &Field, text: &str) -> Result<Given, String> {
    if field.reference.is_some() && !text.trim().is_empty() && RowId::from_str(text.trim()).is_err() {
        return Ok(Given::Title(text.trim().to_owned()));
    }
    let value = field.parse_text(text).map_err(|error| error.to_string())?;
    match field.check(&value) {
        Err(problem) if problem != FieldProblem::Required => Err(field.explain(problem)),
        _ => Ok(Given::Value(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tombolo_protocol::schema::{CLINIC, Schema};

    fn patients() -> Table {
        Schema::parse(CLINIC).unwrap().table_named("patients").unwrap().clone()
    }

    fn problems(set: &[(&str, &str)], text: &[u8]) -> Vec<String> {
        let set: Vec<_> = set.iter().map(|(field, value)| ((*field).to_owned(), (*value).to_owned())).collect();
        read(&patients(), &set, text).unwrap_err().to_string().lines().map(str::to_owned).collect()
    }

    #[test]
    fn values_are_read_by_the_kind_of_their_field() {
        let table = patients();
        let text = "\u{feff}name,weight_kg,birth_date,site\n\"Achieng, Rose\",61.5,1990-05-31,Kisumu\nOtieno,,,\n";
        let sheet = read(&table, &[("sex".into(), "F".into())], text.as_bytes()).unwrap();
        let cell = |line: usize, name: &str| &sheet.lines[line].cells[&table.field_named(name).unwrap().tag].given;
        assert_eq!(sheet.lines.len(), 2);
        assert_eq!(cell(0, "name"), &Given::Value(Value::text("Achieng, Rose")));
        assert_eq!(cell(0, "weight_kg"), &Given::Value(Value::Float(61.5)));
        assert_eq!(cell(0, "sex"), &Given::Value(Value::text("F")));
        assert_eq!(cell(0, "site"), &Given::Title("Kisumu".into()));
        assert_eq!(cell(1, "birth_date"), &Given::Value(Value::Null));
        assert_eq!(cell(1, "site"), &Given::Value(Value::Null), "required, but the row may be there without it");
        assert_eq!((sheet.lines[0].line, sheet.lines[1].line), (2, 3));
    }

    #[test]
    fn every_problem_is_told_with_line_and_column() {
        let text =
            b"id,name,weight_kg,sex\n,A,heavy,F\nx,B,700,F\n,\"C\nC\",1,Q\n,D,1\n,,1,F\n,\xff,1,F\n\r\n\n,E,1,f\r\n,F,?,F";
        assert_eq!(
            problems(&[], text),
            [
                "line 2, column `weight_kg`: `heavy` is not a number that can be stored: write it like 61.5",
                "line 3, column `id`: `x` is not an id; leave it empty for a new row",
                "line 3, column `weight_kg`: Weight (kg): the largest value allowed is 500",
                "line 4, column `sex`: Sex: choose one of F, M, X",
                "line 6: has 3 cells, but the first line names 4 columns; is a quote missing?",
                "line 8, column `name`: is not UTF-8; save the file with that encoding",
                "line 11, column `sex`: Sex: choose one of F, M, X",
                "line 12, column `weight_kg`: `?` is not a number that can be stored: write it like 61.5",
            ]
        );
    }

    #[test]
    fn a_header_that_does_not_fit_is_told_before_any_row() {
        let found = problems(&[("site", "Kisumu"), ("size", "5")], b"name,site,colour,name\n1,2,3,4\n");
        assert!(found[0].starts_with("--set size: patients has no field `size`; it has name, phone"), "{found:?}");
        assert_eq!(found[1], "line 1, column `site`: is also given by --set site; leave out one of them");
        assert!(found[2].starts_with("line 1, column `colour`: patients has no field `colour`"), "{found:?}");
        assert_eq!(found[3], "line 1, column `name`: the column is there twice; keep one of them");
        assert_eq!(problems(&[], b""), ["line 1: the file is empty; its first line names the columns"]);
        assert!(problems(&[], b"name;phone\n")[0].ends_with("columns are separated by commas"));
        assert_eq!(problems(&[("sex", "M"), ("sex", "F")], b"name\n"), ["--set sex: is given twice; give it once"]);
    }
}
