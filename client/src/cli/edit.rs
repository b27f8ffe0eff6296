//! Changing rows: create, update, delete, restore.

use super::args::{Output, RowArgs, SeenArgs};
use super::failure::{Exit, Failure};
use super::io::Io;
use super::place::Place;
use super::{json, values};
use crate::error::ClientError;
use crate::handle::{Client, new_row_id};
use crate::local::{LocalError, LocalWrite};
use crate::names;
use crate::table::fill_defaults;
use serde_json::{Value as Json, json};
use tombolo_protocol::ids::{RowId, RowKey};
use tombolo_protocol::outbox::{Entry, Pending, Seen, Write, WriteError};
use tombolo_protocol::schema::Table;

pub(super) fn create(
    io: &mut Io<'_>,
    place: &Place,
    table: &str,
    words: &[(String, String)],
    id: Option<RowId>,
    output: Output,
) -> Result<Exit, Failure> {
    let client = place.open()?;
    let schema = client.schema()?;
    let table = names::table(&schema, table)?;
    let mut fields = values::fields(&client, &schema, table, words)?;
    fill_defaults(table, &mut fields);
    let id = id.unwrap_or_else(new_row_id);
    write(&client, table, RowKey { table: table.tag, id }, Write::Create(fields.clone()), None)?;
    if output.json {
        io.json(&json!({ "id": id }))?;
    } else {
        writeln!(io.out, "{id}")?;
    }
    values::warn(io, table, &fields, true);
    Ok(Exit::Done)
}

pub(super) fn update(
    io: &mut Io<'_>,
    place: &Place,
    row: &RowArgs,
    words: &[(String, String)],
    seen: &SeenArgs,
    output: Output,
) -> Result<Exit, Failure> {
    let client = place.open()?;
    let schema = client.schema()?;
    let table = names::table(&schema, &row.table)?;
    let fields = values::fields(&client, &schema, table, words)?;
    change(io, &client, table, row.id, Write::Update(fields.clone()), seen.seen.clone(), output)?;
    values::warn(io, table, &fields, false);
    Ok(Exit::Done)
}

pub(super) fn delete(io: &mut Io<'_>, place: &Place, row: &RowArgs, seen: &SeenArgs, output: Output) -> Result<Exit, Failure> {
    by_key(io, place, row, Write::Delete, seen.seen.clone(), output)
}

pub(super) fn restore(io: &mut Io<'_>, place: &Place, row: &RowArgs, output: Output) -> Result<Exit, Failure> {
    by_key(io, place, row, Write::Restore, None, output)
}

fn by_key(
    io: &mut Io<'_>,
    place: &Place,
    row: &RowArgs,
    what: Write,
    seen: Option<Seen>,
    output: Output,
) -> Result<Exit, Failure> {
    let client = place.open()?;
    let schema = client.schema()?;
    let table = names::table(&schema, &row.table)?;
    change(io, &client, table, row.id, what, seen, output)?;
    Ok(Exit::Done)
}

fn change(
    io: &mut Io<'_>,
    client: &Client,
    table: &Table,
    id: RowId,
    what: Write,
    seen: Option<Seen>,
    output: Output,
) -> Result<(), Failure> {
    let key = RowKey { table: table.tag, id };
    let saved = Saved::before(client, key)?;
    write(client, table, key, what, seen)?;
    if output.json {
        io.json(&state_json(client, table, key)?)?;
    }
    saved.tell(io, client)
}

fn write(client: &Client, table: &Table, key: RowKey, write: Write, seen: Option<Seen>) -> Result<(), Failure> {
    client.transaction(vec![LocalWrite { key, write, seen }], false).map_err(|error| match error {
        ClientError::Local(LocalError::Write(WriteError::NoSuchRow)) => super::rows::no_such_row(table, key.id),
        error => error.into(),
    })
}

/// What was pending of a row before a command, to tell afterwards what the command left to send.
pub(super) struct Saved {
    key: RowKey,
    before: Option<Pending>,
}

impl Saved {
    pub(super) fn before(client: &Client, key: RowKey) -> Result<Self, Failure> {
        Ok(Self { key, before: next(client, key)? })
    }

    pub(super) fn tell(self, io: &mut Io<'_>, client: &Client) -> Result<(), Failure> {
        let after = next(client, self.key)?;
        io.note(match &after {
            _ if after == self.before => "nothing is different by this, and nothing new is to be sent",
            None => "nothing new of this row is left to send",
            Some(_) => "saved on this device; `tombolo sync` sends it",
        });
        Ok(())
    }
}

fn next(client: &Client, key: RowKey) -> Result<Option<Pending>, ClientError> {
    client.read(move |tables, _| Ok(tables.entry(key)?.and_then(|entry: Entry| entry.next)))
}

/// How a row stands after a command.
pub(super) fn state_json(client: &Client, table: &Table, key: RowKey) -> Result<Json, Failure> {
    let state = client.get(key)?.map_or("gone", |view| json::row_state(view.standing));
    Ok(json!({ "table": table.name, "id": key.id, "state": state }))
}
