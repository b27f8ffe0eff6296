//! What is pending, and what a person decides: pending, discard, conflicts, resolve.

use super::args::{Decision, Output, RowArgs, Side};
use super::failure::{Exit, Failure};
use super::io::Io;
use super::place::Place;
use super::rows::RowNames;
use super::{json, text};
use crate::error::ClientError;
use crate::freeze::Standing;
use crate::local::LocalError;
use crate::names;
use crate::titles::Titles;
use crate::view::{ConflictView, PendingView, op_word};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use tombolo_protocol::ids::{FieldTag, RowKey};
use tombolo_protocol::outbox::{Choice, ConflictKind, Resolution, ResolveError};
use tombolo_protocol::schema::{Schema, Table};

pub(super) fn pending(io: &mut Io<'_>, place: &Place, output: Output) -> Result<Exit, Failure> {
    let client = place.open()?;
    let schema = client.schema()?;
    let views = client.pending()?;
    if output.json {
        for view in &views {
            io.json(&json::pending(&schema, view))?;
        }
        return Ok(Exit::Done);
    }
    let mut names_of = RowNames::new(&client, &schema);
    let mut rows = Vec::with_capacity(views.len());
    for view in &views {
        let fields: Vec<&str> = view
            .change
            .fields
            .keys()
            .filter_map(|tag| Some(schema.table(view.key.table)?.field(*tag)?.label.as_str()))
            .collect();
        rows.push(vec![
            json::row_name(&schema, view.key),
            names_of.name(view.key)?,
            op_word(view.change.op).to_owned(),
            why(&mut names_of, &schema, view)?,
            fields.join(", "),
        ]);
    }
    // Ids must be copied from here, so they stand last and whole.
    let rows: Vec<Vec<String>> =
        rows.into_iter().map(|row| row[1..].iter().cloned().chain([row[0].clone()]).collect()).collect();
    print_with_ids(io, ["Row", "Change", "State", "Fields", "Table/id"], rows)?;
    io.note(&text::counted(views.len(), "pending change", "pending changes"));
    Ok(Exit::Done)
}

/// Aligned columns, the last one whole.
fn print_with_ids<const N: usize>(io: &mut Io<'_>, header: [&str; N], rows: Vec<Vec<String>>) -> Result<(), Failure> {
    let (ids, rest): (Vec<String>, Vec<Vec<String>>) =
        rows.into_iter().map(|mut row| (row.pop().unwrap_or_default(), row)).unzip();
    let mut header = header.map(str::to_owned).to_vec();
    let last = header.pop().unwrap_or_default();
    // One more column than is shown, so that the one before the ids is padded.
    header.push("|".to_owned());
    let rest: Vec<Vec<String>> = rest.into_iter().map(|row| row.into_iter().chain(["|".to_owned()]).collect()).collect();
    let table = text::columns(&header, &rest);
    for (line, id) in table.lines().zip(std::iter::once(&last).chain(&ids)) {
        writeln!(io.out, "{}{id}", line.strip_suffix('|').unwrap_or(line))?;
    }
    Ok(())
}

fn why(names_of: &mut RowNames<'_>, schema: &Schema, view: &PendingView) -> Result<String, Failure> {
    Ok(match view.standing {
        Standing::Ready => "ready".to_owned(),
        Standing::InFlight => "being sent".to_owned(),
        Standing::Waiting { on } if on == view.key => "waiting for the answer to what was sent before".to_owned(),
        Standing::Waiting { on } => format!("waiting for {}", names_of.name(on)?),
        Standing::Conflict => "conflict".to_owned(),
        Standing::Refused => match json::reason(schema, view) {
            Some(reason) => format!("refused: {reason}"),
            None => "refused".to_owned(),
        },
    })
}

pub(super) fn discard(io: &mut Io<'_>, place: &Place, row: &RowArgs, field: Option<&str>) -> Result<Exit, Failure> {
    let client = place.open()?;
    let schema = client.schema()?;
    let table = names::table(&schema, &row.table)?;
    let key = RowKey { table: table.tag, id: row.id };
    let field = field.map(|name| names::field(table, name)).transpose()?;
    let views = client.pending()?;
    let group =
        views.iter().filter(|view| view.key == key && view.standing != Standing::InFlight).find_map(|view| view.change.group);
    let others: Vec<String> = views
        .iter()
        .filter(|view| group.is_some() && view.change.group == group && view.key != key && view.standing != Standing::InFlight)
        .map(|view| json::row_name(&schema, view.key))
        .collect();
    client.discard(key, field.map(|field| field.tag))?;
    match field {
        Some(field) => {
            let unit: Vec<&str> =
                table.unit(&field.tag).iter().filter_map(|tag| Some(table.field(*tag)?.label.as_str())).collect();
            writeln!(io.out, "discarded the pending change of {}", unit.join(" and "))?;
        }
        None => {
            writeln!(io.out, "discarded what was pending of {}", json::row_name(&schema, key))?;
            if !others.is_empty() {
                writeln!(io.out, "and of the other rows of its group: {}", others.join(", "))?;
            }
        }
    }
    if views.iter().any(|view| view.key == key && view.standing == Standing::InFlight) {
        io.note("an earlier change of this row is being sent; it stays until the server has answered");
    }
    Ok(Exit::Done)
}

pub(super) fn conflicts(io: &mut Io<'_>, place: &Place, output: Output) -> Result<Exit, Failure> {
    let client = place.open()?;
    let schema = client.schema()?;
    let views = client.conflicts()?;
    let mut names_of = RowNames::new(&client, &schema);
    for view in &views {
        if output.json {
            io.json(&json::conflict(&schema, view))?;
        } else {
            let name = names_of.name(view.key)?;
            io.out.write_all(conflict_text(&schema, view, &name).as_bytes())?;
        }
    }
    if !output.json {
        io.note(&text::counted(views.len(), "conflict", "conflicts"));
    }
    Ok(Exit::Done)
}

fn conflict_text(schema: &Schema, view: &ConflictView, name: &str) -> String {
    let what = match view.conflict.kind {
        ConflictKind::UpdateUpdate => "you and somebody else changed the same",
        ConflictKind::UpdateDelete => {
            "you changed this row, and it was deleted: --mine restores it with your change, --server accepts the deletion"
        }
        ConflictKind::DeleteUpdate => {
            "you deleted this row, and it was changed: --mine deletes it all the same, --server keeps it"
        }
        ConflictKind::CreateCreate => "a row with this id was made by somebody else too",
        ConflictKind::Unique => "another row has this value, and it must be unique: choose another value, or give yours up",
    };
    let by =
        view.author.as_ref().map(|author| format!(" (by {}, {})", author.name, text::moment(author.at_ms))).unwrap_or_default();
    let mut lines = format!("{}  {name}\n    {what}{by}\n", json::row_name(schema, view.key));
    let header = ["", "Before", "Mine", "Server"].map(str::to_owned);
    let rows: Vec<Vec<String>> = json::conflict_fields(schema, view)
        .into_iter()
        .map(|field| vec![field.label, shown(&field.base), shown(&field.mine), shown(&field.server)])
        .collect();
    if !rows.is_empty() {
        text::columns(&header, &rows).lines().for_each(|line| lines += &format!("    {line}\n"));
    }
    lines
}

fn shown(json: &Json) -> String {
    match json {
        Json::Null => "(nothing)".to_owned(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

pub(super) fn resolve(io: &mut Io<'_>, place: &Place, row: &RowArgs, decision: &Decision) -> Result<Exit, Failure> {
    let client = place.open()?;
    let schema = client.schema()?;
    let table = names::table(&schema, &row.table)?;
    let key = RowKey { table: table.tag, id: row.id };
    let resolution = if decision.mine {
        Resolution::AllMine
    } else if decision.server {
        Resolution::AllServer
    } else {
        let mut titles = Titles::default();
        let mut choices = BTreeMap::new();
        for (name, side) in &decision.fields {
            let field = names::field(table, name)?;
            let choice = match side {
                Side::Mine => Choice::Mine,
                Side::Server => Choice::Server,
                Side::Value(text) => Choice::Value(super::values::value(&client, &mut titles, &schema, field, text)?),
            };
            if choices.insert(field.tag, choice).is_some() {
                return Err(Failure::usage(format!("{name} is decided twice; decide it once")));
            }
        }
        Resolution::Fields(choices)
    };
    client.resolve(key, None, resolution).map_err(|error| undecided(table, error))?;
    writeln!(io.out, "decided")?;
    if client.conflicts()?.iter().any(|view| view.key == key) {
        io.note("the row is still in conflict; see `tombolo conflicts`");
        return Ok(Exit::Review);
    }
    io.note("saved on this device; `tombolo sync` sends it");
    Ok(Exit::Done)
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
