//! What is pending, and what a person decides: pending, discard, conflicts, resolve.

use super::args::{Decision, Output, RowArgs};
use super::edit::{self, Saved};
use super::failure::{Exit, Failure};
use super::io::Io;
use super::place::Place;
use super::shown::{RowNames, Schemas};
use super::words::Side;
use super::{json, reasons, text};
use crate::error::ClientError;
use crate::freeze::Standing;
use crate::handle::Client;
use crate::local::{LocalError, LocalWrite};
use crate::names;
use crate::titles::Titles;
use crate::view::{PendingView, op_word};
use serde_json::json;
use std::collections::BTreeMap;
use tombolo_protocol::change::Op;
use tombolo_protocol::ids::{FieldTag, RowKey};
use tombolo_protocol::outbox::{Choice, Resolution, ResolveError, Write};
use tombolo_protocol::schema::Table;
use tombolo_protocol::value::Value;

pub(super) fn pending(io: &mut Io<'_>, place: &Place, output: Output) -> Result<Exit, Failure> {
    let client = place.open()?;
    let schemas = Schemas::of(&client)?;
    let mut names_of = RowNames::new(&client, &schemas);
    let views = client.pending()?;
    let (mut rows, mut notes) = (Vec::with_capacity(views.len()), Vec::with_capacity(views.len()));
    for view in &views {
        let reason = reasons::reason(&mut names_of, &schemas, view)?;
        if output.json {
            io.json(&json::pending(&schemas, view, reason))?;
            continue;
        }
        let fields: Vec<String> = view.change.fields.keys().map(|tag| schemas.label(view.key.table, *tag)).collect();
        rows.push(vec![
            names_of.name(view.key)?,
            op_word(view.change.op).to_owned(),
            standing(view).to_owned(),
            fields.join(", "),
            // Ids must be copied from here, so they stand last and whole.
            schemas.row_name(view.key),
        ]);
        notes.push(match view.standing {
            Standing::Waiting { on } if on != view.key => Some(format!("waits for {}", names_of.full_name(on)?)),
            _ => reason,
        });
    }
    if output.json {
        return Ok(Exit::Done);
    }
    print_with_ids(io, ["Row", "Change", "State", "Fields", "Table/id"], rows, &notes)?;
    io.note(&text::counted(views.len(), "pending change", "pending changes"));
    Ok(Exit::Done)
}

/// Aligned columns, the last one whole, and behind each row its note in a line of its own.
fn print_with_ids<const N: usize>(
    io: &mut Io<'_>,
    header: [&str; N],
    rows: Vec<Vec<String>>,
    notes: &[Option<String>],
) -> Result<(), Failure> {
    let (ids, rest): (Vec<String>, Vec<Vec<String>>) =
        rows.into_iter().map(|mut row| (row.pop().unwrap_or_default(), row)).unzip();
    let mut header = header.map(str::to_owned).to_vec();
    let last = header.pop().unwrap_or_default();
    // One more column than is shown, so that the one before the ids is padded.
    header.push("|".to_owned());
    let rest: Vec<Vec<String>> = rest.into_iter().map(|row| row.into_iter().chain(["|".to_owned()]).collect()).collect();
    let table = text::columns(&header, &rest);
    let ids = std::iter::once(&last).chain(&ids);
    let notes = std::iter::once(&None).chain(notes);
    for ((line, id), note) in table.lines().zip(ids).zip(notes) {
        writeln!(io.out, "{}{id}", line.strip_suffix('|').unwrap_or(line))?;
        if let Some(note) = note {
            writeln!(io.out, "    {note}")?;
        }
    }
    Ok(())
}

fn standing(view: &PendingView) -> &'static str {
    match view.standing {
        Standing::Ready => "ready",
        Standing::InFlight => "being sent",
        Standing::Waiting { on } if on == view.key => "waiting for the server",
        Standing::Waiting { .. } => "waiting",
        Standing::Conflict => "conflict",
        Standing::Refused => "refused",
    }
}

pub(super) fn discard(
    io: &mut Io<'_>,
    place: &Place,
    row: &RowArgs,
    field: Option<&str>,
    output: Output,
) -> Result<Exit, Failure> {
    let client = place.open()?;
    let schemas = Schemas::of(&client)?;
    let table = schemas.table_called(&row.table)?;
    let key = RowKey { table: table.tag, id: row.id };
    let field = field.map(|name| schemas.field_called(table, name)).transpose()?;
    if field.is_some() && schemas.now().table(table.tag).is_none() {
        let sentence =
            format!("the table {} is not in the schema any more; give up the whole change, without --field", table.name);
        return Err(Failure::failed(sentence));
    }
    let views = client.pending()?;
    let group =
        views.iter().filter(|view| view.key == key && view.standing != Standing::InFlight).find_map(|view| view.change.group);
    let others: Vec<String> = views
        .iter()
        .filter(|view| group.is_some() && view.change.group == group && view.key != key && view.standing != Standing::InFlight)
        .map(|view| schemas.row_name(view.key))
        .collect();
    client.discard(key, field.map(|field| field.tag))?;
    let others = if field.is_none() { others } else { Vec::new() };
    if output.json {
        let mut object = edit::state_json(&client, table, key)?;
        object["also"] = json!(others);
        io.json(&object)?;
    } else {
        let what = match field {
            Some(field) => {
                let unit: Vec<String> = table.unit(&field.tag).iter().map(|tag| schemas.label(table.tag, *tag)).collect();
                format!("the pending change of {}", unit.join(" and "))
            }
            None => format!("what was pending of {}", schemas.row_name(key)),
        };
        writeln!(io.out, "discarded {what}")?;
        if !others.is_empty() {
            writeln!(io.out, "and of the other rows of its group: {}", others.join(", "))?;
        }
    }
    if views.iter().any(|view| view.key == key && view.standing == Standing::InFlight) {
        io.note("an earlier change of this row is being sent; it stays until the server has answered");
    }
    Ok(Exit::Done)
}

pub(super) fn conflicts(io: &mut Io<'_>, place: &Place, output: Output) -> Result<Exit, Failure> {
    let client = place.open()?;
    let schemas = Schemas::of(&client)?;
    let views = client.conflicts()?;
    let mut names_of = RowNames::new(&client, &schemas);
    for view in &views {
        if output.json {
            let other = reasons::other(view).map(|other| Ok::<_, Failure>((other, names_of.title(other)?))).transpose()?;
            io.json(&json::conflict(&schemas, view, other))?;
        } else {
            io.out.write_all(reasons::conflict_text(&mut names_of, &schemas, view)?.as_bytes())?;
        }
    }
    if !output.json {
        io.note(&text::counted(views.len(), "conflict", "conflicts"));
    }
    Ok(Exit::Done)
}

pub(super) fn resolve(
    io: &mut Io<'_>,
    place: &Place,
    row: &RowArgs,
    decision: &Decision,
    output: Output,
) -> Result<Exit, Failure> {
    let client = place.open()?;
    let schemas = Schemas::of(&client)?;
    let table = schemas.table_called(&row.table)?;
    let key = RowKey { table: table.tag, id: row.id };
    let saved = Saved::before(&client, key)?;
    if schemas.now().table(table.tag).is_none() {
        if !decision.server {
            let sentence = "is not in the schema any more, so the server cannot take the change; --server gives it up";
            return Err(Failure::failed(format!("the table {} {sentence}", table.name)));
        }
        client.discard(key, None)?;
    } else {
        decide(&client, &schemas, table, key, decision)?;
    }
    let in_conflict = client.conflicts()?.iter().any(|view| view.key == key);
    if output.json {
        io.json(&edit::state_json(&client, table, key)?)?;
    } else {
        writeln!(io.out, "decided")?;
    }
    if in_conflict {
        io.note("the row is still in conflict; see `tombolo conflicts`");
        return Ok(Exit::Review);
    }
    saved.tell(io, &client)?;
    Ok(Exit::Done)
}

fn decide(client: &Client, schemas: &Schemas, table: &Table, key: RowKey, decision: &Decision) -> Result<(), Failure> {
    let resolution = if decision.mine {
        Resolution::AllMine
    } else if decision.server {
        Resolution::AllServer
    } else {
        let choices = choices(client, schemas, table, decision)?;
        let refused = client.pending()?.into_iter().find(|view| view.key == key && view.standing == Standing::Refused);
        match refused.filter(|view| matches!(view.change.op, Op::Create | Op::Update | Op::Restore)) {
            Some(view) => return Ok(amend(client, &view, choices)?),
            None => Resolution::Fields(choices),
        }
    };
    client.resolve(key, None, resolution).map_err(|error| undecided(table, error))
}

fn choices(
    client: &Client,
    schemas: &Schemas,
    table: &Table,
    decision: &Decision,
) -> Result<BTreeMap<FieldTag, Choice>, Failure> {
    let mut titles = Titles::default();
    let mut choices = BTreeMap::new();
    for (name, side) in &decision.fields {
        let field = names::field(table, name)?;
        let choice = match side {
            Side::Mine => Choice::Mine,
            Side::Server => Choice::Server,
            Side::Value(text) => Choice::Value(super::values::value(client, &mut titles, schemas.now(), field, text)?),
        };
        if choices.insert(field.tag, choice).is_some() {
            return Err(Failure::usage(format!("{name} is decided twice; decide it once")));
        }
    }
    Ok(choices)
}

/// A refused change with other values is ready again.
fn amend(client: &Client, view: &PendingView, choices: BTreeMap<FieldTag, Choice>) -> Result<(), ClientError> {
    let key = view.key;
    let server = |field: FieldTag| view.mirror.as_ref().map(|row| row.value(field).clone()).unwrap_or(Value::Null);
    let fields: BTreeMap<FieldTag, Value> = choices
        .into_iter()
        .filter_map(|(field, choice)| match choice {
            Choice::Mine => None,
            Choice::Server => Some((field, server(field))),
            Choice::Value(value) => Some((field, value)),
        })
        .collect();
    if !fields.is_empty() {
        client.transaction(vec![LocalWrite { key, write: Write::Update(fields), seen: None }], false)?;
    }
    // Where no value is another one now, it goes again as it is.
    match client.pending()?.iter().any(|now| now.key == key && now.standing == Standing::Refused) {
        true => client.resolve(key, None, Resolution::AllMine),
        false => Ok(()),
    }
}

/// Names the field that is left to decide.
fn undecided(table: &Table, error: ClientError) -> Failure {
    let name = |field: &FieldTag| table.field(*field).map_or_else(|| field.to_string(), |field| field.name.clone());
    match &error {
        ClientError::Local(LocalError::Resolve(ResolveError::Undecided { field })) => {
            Failure::failed(format!("choose a value for every field in conflict: {} is left. Nothing was decided", name(field)))
        }
        _ => error.into(),
    }
}
