//! `apply`: many changes from a file of JSON lines, in one local transaction.

use super::args::Output;
use super::failure::{Exit, Failure};
use super::io::Io;
use super::line::{Line, Op};
use super::place::Place;
use super::{text, values};
use crate::handle::{Client, new_row_id};
use crate::local::LocalWrite;
use crate::names;
use crate::table::fill_defaults;
use crate::titles::Titles;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use tombolo_protocol::ids::{FieldTag, RowId, RowKey};
use tombolo_protocol::outbox::Write;
use tombolo_protocol::schema::{Field, Plain, Schema, Table};
use tombolo_protocol::value::Value;

pub(super) fn apply(io: &mut Io<'_>, place: &Place, file: &Path, group: bool, output: Output) -> Result<Exit, Failure> {
    let text = read(io, file)?;
    let client = place.open()?;
    let schema = client.schema()?;
    let mut reader = Reader { client: &client, schema: &schema, titles: Titles::default(), there: BTreeMap::new() };
    let mut writes = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        // Whatever is wrong in a file, the command was understood.
        let in_line = |failure: Failure| {
            let (file, line, message) = (file.display(), index + 1, failure.message);
            Failure::failed(format!("{file}, line {line}: {message}. Nothing was written"))
        };
        writes.push(reader.line(line).map_err(in_line)?);
    }
    client.transaction(writes.clone(), group)?;
    let count = |is: fn(&Write) -> bool| writes.iter().filter(|local| is(&local.write)).count();
    let is_create = |write: &Write| matches!(write, Write::Create(_));
    let ids: Vec<RowId> = writes.iter().filter(|local| is_create(&local.write)).map(|local| local.key.id).collect();
    if output.json {
        io.json(&json!({
            "created": ids.len(),
            "updated": count(|write| matches!(write, Write::Update(_))),
            "deleted": count(|write| matches!(write, Write::Delete)),
            "restored": count(|write| matches!(write, Write::Restore)),
            "ids": ids,
        }))?;
    } else {
        for id in ids {
            writeln!(io.out, "{id}")?;
        }
    }
    for local in &writes {
        let Some(table) = schema.table(local.key.table) else { continue };
        if let Write::Create(fields) | Write::Update(fields) = &local.write {
            values::warn(io, table, fields, is_create(&local.write));
        }
    }
    let changes = text::counted(writes.len(), "change", "changes");
    let together = if group { ", as a group" } else { "" };
    io.note(&match writes.len() {
        0 => "there is no change in the file; nothing was written".to_owned(),
        _ => format!("{changes} saved on this device{together}; `tombolo sync` sends what is new"),
    });
    Ok(Exit::Done)
}

fn read(io: &mut Io<'_>, file: &Path) -> Result<String, Failure> {
    let failed = |why: String| Failure::failed(format!("{} could not be read: {why}. Nothing was written", file.display()));
    let bytes = io.read(file).map_err(|error| failed(error.to_string()))?;
    String::from_utf8(bytes).map_err(|_| failed("it is not UTF-8; save it with that encoding".to_owned()))
}

struct Reader<'a> {
    client: &'a Client,
    schema: &'a Schema,
    titles: Titles,
    /// Whether rows are there behind the lines that were read so far, so that a line which cannot work is named.
    there: BTreeMap<RowKey, bool>,
}

impl Reader<'_> {
    fn line(&mut self, text: &str) -> Result<LocalWrite, Failure> {
        let line = Line::parse(text).map_err(Failure::failed)?;
        let table = names::table(self.schema, &line.table)?;
        let id = match (line.id, line.op) {
            (Some(id), _) => id,
            (None, Op::Create) => new_row_id(),
            (None, _) => return Err(Failure::failed("\"id\" is missing; only a create may be without it")),
        };
        let key = RowKey { table: table.tag, id };
        self.moves(key, line.op)?;
        let has_fields = !line.fields.is_empty();
        let mut fields = self.fields(table, line.fields)?;
        let write = match line.op {
            Op::Create => {
                fill_defaults(table, &mut fields);
                Write::Create(fields)
            }
            Op::Update if !has_fields => return Err(Failure::failed("\"fields\" is missing; an update names what it changes")),
            Op::Update => Write::Update(fields),
            Op::Delete | Op::Restore if has_fields => return Err(Failure::failed("only a create or an update has \"fields\"")),
            Op::Delete => Write::Delete,
            Op::Restore => Write::Restore,
        };
        Ok(LocalWrite { key, write, seen: line.seen })
    }

    /// Whether the line can work on its row.
    fn moves(&mut self, key: RowKey, op: Op) -> Result<(), Failure> {
        let there = match self.there.get(&key) {
            Some(there) => *there,
            None => self.client.get(key)?.is_some(),
        };
        match op {
            Op::Create | Op::Restore if there => return Err(Failure::failed(format!("row {} is there already", key.id))),
            Op::Update | Op::Delete if !there => {
                return Err(Failure::failed(format!("there is no row {} on this device, or it is deleted", key.id)));
            }
            _ => {}
        }
        self.there.insert(key, op != Op::Delete);
        Ok(())
    }

    fn fields(&mut self, table: &Table, fields: BTreeMap<String, Plain>) -> Result<BTreeMap<FieldTag, Value>, Failure> {
        fields
            .into_iter()
            .map(|(name, plain)| {
                let field = names::field(table, &name)?;
                Ok((field.tag, self.value(field, plain)?))
            })
            .collect()
    }

    fn value(&mut self, field: &Field, plain: Plain) -> Result<Value, Failure> {
        match plain {
            Plain::Text(text) if field.reference.is_some() => {
                values::value(self.client, &mut self.titles, self.schema, field, &text)
            }
            plain => field.from_plain(plain).map_err(|error| Failure::usage(format!("{}: {error}", field.name))),
        }
    }
}
