//! `apply`: many changes from a file of JSON lines, in one local transaction.

use super::failure::{Exit, Failure};
use super::io::Io;
use super::place::Place;
use super::{text, values};
use crate::handle::{Client, new_row_id};
use crate::local::LocalWrite;
use crate::names;
use crate::table::fill_defaults;
use crate::titles::Titles;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use tombolo_protocol::ids::{FieldTag, RowId, RowKey};
use tombolo_protocol::outbox::Write;
use tombolo_protocol::schema::{Field, Plain, Schema, Table};
use tombolo_protocol::value::Value;

/// A line of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(alias = "change")]
    op: Op,
    table: String,
    id: Option<RowId>,
    #[serde(default)]
    fields: BTreeMap<String, Plain>,
    seen: Option<SeenText>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Op {
    Create,
    Update,
    Delete,
    Restore,
}

/// As it was printed, or a bare number.
#[derive(Deserialize)]
#[serde(untagged)]
enum SeenText {
    Text(String),
    Number(u64),
}

pub(super) fn apply(io: &mut Io<'_>, place: &Place, file: &Path, group: bool) -> Result<Exit, Failure> {
    let text = read(io, file)?;
    let client = place.open()?;
    let schema = client.schema()?;
    let mut reader = Reader { client: &client, schema: &schema, titles: Titles::default(), there: BTreeMap::new() };
    let mut writes = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let in_line = |failure: Failure| {
            Failure::new(
                failure.exit,
                format!("{}, line {}: {}. Nothing was written", file.display(), index + 1, failure.message),
            )
        };
        writes.push(reader.line(line).map_err(in_line)?);
    }
    for write in &writes {
        let Some(table) = schema.table(write.key.table) else { continue };
        if let Write::Create(fields) | Write::Update(fields) = &write.write {
            values::warn(io, table, fields, matches!(write.write, Write::Create(_)));
        }
    }
    let ids: Vec<RowId> =
        writes.iter().filter(|write| matches!(write.write, Write::Create(_))).map(|write| write.key.id).collect();
    let count = writes.len();
    client.transaction(writes, group)?;
    for id in ids {
        writeln!(io.out, "{id}")?;
    }
    let together = if group { ", as a group" } else { "" };
    io.note(&format!(
        "{} saved on this device{together}; `tombolo sync` sends them",
        text::counted(count, "change", "changes")
    ));
    Ok(Exit::Done)
}

fn read(io: &mut Io<'_>, file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        io.stdin.read_to_string(&mut text).map(drop)
    } else {
        std::fs::read_to_string(file).map(|read| text = read)
    };
    read.map_err(|error| Failure::failed(format!("{} could not be read: {error}. Nothing was written", file.display())))?;
    Ok(text)
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
        let line: Line = serde_json::from_str(text).map_err(|error| Failure::failed(plain_words(&error)))?;
        let table = names::table(self.schema, &line.table)?;
        let id = match (line.id, line.op) {
            (Some(id), _) => id,
            (None, Op::Create) => new_row_id(),
            (None, _) => return Err(Failure::failed("\"id\" is missing; only a create may be without it")),
        };
        let key = RowKey { table: table.tag, id };
        self.moves(key, line.op)?;
        let seen = line.seen.map(|seen| match seen {
            SeenText::Text(text) => text,
            SeenText::Number(number) => number.to_string(),
        });
        let seen =
            seen.map(|text| text.parse().map_err(|_| Failure::failed(format!("\"seen\" cannot be `{text}`")))).transpose()?;
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
        Ok(LocalWrite { key, write, seen })
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

/// The line number that serde counts inside the one line would only confuse.
fn plain_words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}
