//! Changing rows: create, update, delete, restore.

use super::args::{RowArgs, SeenArgs};
use super::failure::{Exit, Failure};
use super::io::Io;
use super::place::Place;
use super::values;
use crate::error::ClientError;
use crate::handle::{Client, new_row_id};
use crate::local::{LocalError, LocalWrite};
use crate::names;
use crate::table::fill_defaults;
use tombolo_protocol::ids::{RowId, RowKey};
use tombolo_protocol::outbox::{Seen, Write, WriteError};
use tombolo_protocol::schema::Table;

pub(super) fn create(
    io: &mut Io<'_>,
    place: &Place,
    table: &str,
    words: &[(String, String)],
    id: Option<RowId>,
) -> Result<Exit, Failure> {
    let client = place.open()?;
    let schema = client.schema()?;
    let table = names::table(&schema, table)?;
    let mut fields = values::fields(&client, &schema, table, words)?;
    fill_defaults(table, &mut fields);
    values::warn(io, table, &fields, true);
    let id = id.unwrap_or_else(new_row_id);
    write(&client, table, RowKey { table: table.tag, id }, Write::Create(fields), None)?;
    writeln!(io.out, "{id}")?;
    Ok(Exit::Done)
}

pub(super) fn update(
    io: &mut Io<'_>,
    place: &Place,
    row: &RowArgs,
    words: &[(String, String)],
    seen: &SeenArgs,
) -> Result<Exit, Failure> {
    let client = place.open()?;
    let schema = client.schema()?;
    let table = names::table(&schema, &row.table)?;
    let fields = values::fields(&client, &schema, table, words)?;
    values::warn(io, table, &fields, false);
    write(&client, table, RowKey { table: table.tag, id: row.id }, Write::Update(fields), seen.seen.clone())?;
    saved(io)
}

pub(super) fn delete(io: &mut Io<'_>, place: &Place, row: &RowArgs, seen: &SeenArgs) -> Result<Exit, Failure> {
    by_key(io, place, row, Write::Delete, seen.seen.clone())
}

pub(super) fn restore(io: &mut Io<'_>, place: &Place, row: &RowArgs) -> Result<Exit, Failure> {
    by_key(io, place, row, Write::Restore, None)
}

fn by_key(io: &mut Io<'_>, place: &Place, row: &RowArgs, what: Write, seen: Option<Seen>) -> Result<Exit, Failure> {
    let client = place.open()?;
    let schema = client.schema()?;
    let table = names::table(&schema, &row.table)?;
    write(&client, table, RowKey { table: table.tag, id: row.id }, what, seen)?;
    saved(io)
}

fn saved(io: &mut Io<'_>) -> Result<Exit, Failure> {
    io.note("saved on this device; `tombolo sync` sends it");
    Ok(Exit::Done)
}

fn write(client: &Client, table: &Table, key: RowKey, write: Write, seen: Option<Seen>) -> Result<(), Failure> {
    client.transaction(vec![LocalWrite { key, write, seen }], false).map_err(|error| match error {
        ClientError::Local(LocalError::Write(WriteError::NoSuchRow)) => super::rows::no_such_row(table, key.id),
        error => error.into(),
    })
}
