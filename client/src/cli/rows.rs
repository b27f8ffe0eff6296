//! Reading rows: list, get.

use super::args::{ListArgs, Output, RowArgs};
use super::failure::{Exit, Failure};
use super::io::Io;
use super::place::Place;
use super::shown::{RowNames, Schemas};
use super::{json, text, values};
use crate::freeze::Standing;
use crate::handle::Client;
use crate::names;
use crate::titles::Titles;
use crate::view::{Query, RowStanding, RowView};
use tombolo_protocol::change::Op;
use tombolo_protocol::ids::{RowId, RowKey};
use tombolo_protocol::schema::Table;

pub(super) fn list(io: &mut Io<'_>, place: &Place, args: &ListArgs, output: Output) -> Result<Exit, Failure> {
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
    if output.json {
        for row in &rows {
            io.json(&json::row(table, row))?;
        }
        return Ok(Exit::Done);
    }
    let schemas = Schemas::only(schema.clone());
    let mut names_of = RowNames::new(&client, &schemas);
    let header: Vec<String> =
        ["Id".to_owned(), String::new()].into_iter().chain(table.fields.iter().map(|field| field.label.clone())).collect();
    let cells = rows.iter().map(|row| cells(&mut names_of, table, row)).collect::<Result<Vec<_>, Failure>>()?;
    io.out.write_all(text::columns(&header, &cells).as_bytes())?;
    io.note(&text::counted(rows.len(), "row", "rows"));
    Ok(Exit::Done)
}

pub(super) fn get(io: &mut Io<'_>, place: &Place, row: &RowArgs, output: Output) -> Result<Exit, Failure> {
    let client = place.open()?;
    let schema = client.schema()?;
    let table = names::table(&schema, &row.table)?;
    let key = RowKey { table: table.tag, id: row.id };
    let schemas = Schemas::only(schema.clone());
    let mut names_of = RowNames::new(&client, &schemas);
    let Some(view) = client.get(key)? else { return Err(gone(&client, &mut names_of, table, key)?) };
    if output.json {
        io.json(&json::row(table, &view))?;
        return Ok(Exit::Done);
    }
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

/// Why a row is not shown: it is deleted here, or there is none.
fn gone(client: &Client, names_of: &mut RowNames<'_>, table: &Table, key: RowKey) -> Result<Failure, Failure> {
    let Some(title) = names_of.title(key)? else { return Ok(no_such_row(table, key.id)) };
    let command = |word: &str| format!("`tombolo {word} {} {}`", table.name, key.id);
    let pending = client.pending()?.into_iter().find(|view| view.key == key && view.change.op == Op::Delete);
    let how = match pending.map(|view| view.standing) {
        None => format!("deleted; {} brings it back", command("restore")),
        Some(Standing::Conflict) => format!(
            "deleted on this device, and that is in conflict with what the server has: see `tombolo conflicts`, and decide with {} \
             and --mine (delete it) or --server (keep it)",
            command("resolve")
        ),
        Some(Standing::Refused) => format!(
            "deleted on this device, and the server refused that: see `tombolo pending`; {} takes it back",
            command("discard")
        ),
        Some(_) => format!("deleted on this device; the next sync sends that, and {} takes it back", command("restore")),
    };
    Ok(Failure::failed(format!("{title} ({}) is {how}", key.id)))
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

/// The cells of a row in a list.
fn cells(names_of: &mut RowNames<'_>, table: &Table, row: &RowView) -> Result<Vec<String>, Failure> {
    let state = match row.standing {
        RowStanding::Clean => "",
        other => json::row_state(other),
    };
    let mut cells = vec![row.key.id.to_string(), state.to_owned()];
    for field in &table.fields {
        cells.push(names_of.show(field, row.value(field.tag))?);
    }
    Ok(cells)
}
