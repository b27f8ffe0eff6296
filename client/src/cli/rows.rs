//! Reading rows: list, get, history.

use super::args::{ListArgs, Output, RowArgs};
use super::failure::{Exit, Failure};
use super::io::Io;
use super::place::Place;
use super::{json, text, values};
use crate::handle::Client;
use crate::names;
use crate::titles::Titles;
use crate::view::{Query, RowStanding, RowView, op_word};
use std::collections::BTreeMap;
use std::time::Duration;
use tombolo_protocol::ids::{RowId, RowKey};
use tombolo_protocol::message::HistoryEntry;
use tombolo_protocol::schema::{Field, Schema, Table};
use tombolo_protocol::value::Value;

/// An answer to a question takes no longer than this.
const HISTORY_LIMIT: Duration = Duration::from_secs(60);

pub(super) fn list(io: &mut Io<'_>, place: &Place, args: &ListArgs) -> Result<Exit, Failure> {
    let client = place.open()?;
    let schema = client.schema()?;
    let table = names::table(&schema, &args.table)?;
    let mut titles = Titles::default();
    let mut query = Query { limit: args.limit, ..Query::default() };
    for (name, text) in &args.filters {
        let field = names::field(table, name)?;
        query.equal.push((field.tag, values::value(&client, &mut titles, &schema, field, text)?));
    }
    if let Some(sort) = &args.sort {
        let name = sort.strip_prefix('-').unwrap_or(sort);
        query.descending = name.len() != sort.len();
        query.sort = Some(names::field(table, name)?.tag);
    }
    let rows = client.list(table.tag, query)?;
    if args.output.json {
        for row in &rows {
            io.json(&json::row(table, row))?;
        }
        return Ok(Exit::Done);
    }
    let mut names_of = RowNames::new(&client, &schema);
    let header: Vec<String> =
        ["Id".to_owned(), String::new()].into_iter().chain(table.fields.iter().map(|field| field.label.clone())).collect();
    let cells = rows.iter().map(|row| names_of.cells(table, row)).collect::<Result<Vec<_>, Failure>>()?;
    io.out.write_all(text::columns(&header, &cells).as_bytes())?;
    io.note(&text::counted(rows.len(), "row", "rows"));
    Ok(Exit::Done)
}

pub(super) fn get(io: &mut Io<'_>, place: &Place, row: &RowArgs, output: Output) -> Result<Exit, Failure> {
    let client = place.open()?;
    let schema = client.schema()?;
    let table = names::table(&schema, &row.table)?;
    let view = client.get(RowKey { table: table.tag, id: row.id })?.ok_or_else(|| no_such_row(table, row.id))?;
    if output.json {
        io.json(&json::row(table, &view))?;
        return Ok(Exit::Done);
    }
    let mut names_of = RowNames::new(&client, &schema);
    let mut lines = vec![
        ("Id".to_owned(), view.key.id.to_string()),
        ("Version".to_owned(), view.version.to_string()),
        ("State".to_owned(), standing(view.standing).to_owned()),
    ];
    for field in &table.fields {
        lines.push((field.label.clone(), names_of.show(field, view.value(field.tag))?));
    }
    io.out.write_all(text::pairs(&lines).as_bytes())?;
    Ok(Exit::Done)
}

pub(super) fn no_such_row(table: &Table, id: RowId) -> Failure {
    Failure::failed(format!(
        "there is no row {id} in {} on this device; `tombolo list {}` shows those that are",
        table.name, table.name
    ))
}

/// How a row stands, in words.
pub(super) fn standing(standing: RowStanding) -> &'static str {
    match standing {
        RowStanding::Clean => "as on the server",
        RowStanding::Pending => "changed on this device, not sent yet",
        RowStanding::Refused => "changed on this device, refused by the server",
        RowStanding::Conflict => "changed here and by others: decide with `tombolo resolve`",
    }
}

pub(super) fn history(io: &mut Io<'_>, place: &Place, row: &RowArgs, output: Output) -> Result<Exit, Failure> {
    let client = place.open()?;
    let schema = client.schema()?;
    let table = names::table(&schema, &row.table)?;
    let history = client.history(RowKey { table: table.tag, id: row.id }, HISTORY_LIMIT)?;
    if history.entries.is_empty() {
        return Err(Failure::failed(format!(
            "the server knows no history of row {} in {}; was it sent yet?",
            row.id, table.name
        )));
    }
    let mut names_of = RowNames::new(&client, &schema);
    for entry in &history.entries {
        if output.json {
            io.json(&json::history(table, entry))?;
        } else {
            io.out.write_all(history_text(&mut names_of, table, entry)?.as_bytes())?;
        }
    }
    if history.more {
        io.note("older changes are left out");
    }
    Ok(Exit::Done)
}

fn history_text(names_of: &mut RowNames<'_>, table: &Table, entry: &HistoryEntry) -> Result<String, Failure> {
    let version = if entry.version.0 > 0 { format!(", version {}", entry.version) } else { String::new() };
    let mut lines = format!("{}  {} by {}{version}\n", text::moment(entry.at_ms), op_word(entry.op), entry.by);
    for change in &entry.fields {
        let Some(field) = table.field(change.field) else { continue };
        let (before, after) = (names_of.show(field, &change.before)?, names_of.show(field, &change.after)?);
        lines += &format!("    {}: {} -> {}\n", field.label, or_nothing(before), or_nothing(after));
    }
    for (tag, value) in &entry.lost {
        let Some(field) = table.field(*tag) else { continue };
        lines += &format!("    {}: {} was not taken\n", field.label, or_nothing(names_of.show(field, value)?));
    }
    Ok(lines)
}

fn or_nothing(text: String) -> String {
    if text.is_empty() { "(nothing)".to_owned() } else { text }
}

/// Shows values, references by the name of their row.
pub(super) struct RowNames<'a> {
    client: &'a Client,
    schema: &'a Schema,
    known: BTreeMap<RowKey, String>,
}

impl<'a> RowNames<'a> {
    pub(super) fn new(client: &'a Client, schema: &'a Schema) -> Self {
        Self { client, schema, known: BTreeMap::new() }
    }

    /// A value for people.
    pub(super) fn show(&mut self, field: &Field, value: &Value) -> Result<String, Failure> {
        match (field.reference, value) {
            (Some(reference), Value::Uuid(bytes)) => {
                self.name(RowKey { table: reference.table, id: RowId::from_bytes(*bytes) })
            }
            _ => Ok(field.show(value)),
        }
    }

    /// What a row is called: its title, or its id where it has none here.
    pub(super) fn name(&mut self, key: RowKey) -> Result<String, Failure> {
        if let Some(name) = self.known.get(&key) {
            return Ok(name.clone());
        }
        let row = self.client.get(key)?;
        let title =
            row.zip(self.schema.table(key.table)).map(|(row, table)| table.title_of(|tag| row.values.get(&tag).cloned()));
        let name = title.filter(|title| !title.is_empty()).unwrap_or_else(|| key.id.to_string());
        self.known.insert(key, name.clone());
        Ok(name)
    }

    fn cells(&mut self, table: &Table, row: &RowView) -> Result<Vec<String>, Failure> {
        let state = match row.standing {
            RowStanding::Clean => "",
            other => json::row_state(other),
        };
        let mut cells = vec![row.key.id.to_string(), state.to_owned()];
        for field in &table.fields {
            cells.push(self.show(field, row.value(field.tag))?);
        }
        Ok(cells)
    }
}
