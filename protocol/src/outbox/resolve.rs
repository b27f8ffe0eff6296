//! A person's decision of a conflict, field by field (section 4, "Resolution"). It becomes an entry whose base is the server
//! state that the dialog showed; nothing is sent until the next push.

use super::{Conflict, ConflictKind, Edit, Entry, Pending};
use crate::change::{LostValue, Op};
use crate::ids::FieldTag;
use crate::row::{Life, Row};
use crate::schema::Table;
use crate::value::Value;
use std::collections::BTreeMap;
use thiserror::Error;

/// What a person takes for a field.
#[derive(Clone, PartialEq, Debug)]
pub enum Choice {
    /// Their own value.
    Mine,
    /// The server's value.
    Server,
    /// Another one.
    Value(Value),
}

/// What a person decides about a row in conflict.
#[derive(Clone, PartialEq, Debug)]
pub enum Resolution {
    /// Mine in everything: keep my edit, delete anyway, restore with my edit.
    AllMine,
    /// The server's in everything: drop my edit, keep the row, accept the deletion.
    AllServer,
    /// By field; every conflicting field is named.
    Fields(BTreeMap<FieldTag, Choice>),
}

/// Why a decision cannot be taken.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ResolveError {
    /// The row is being sent; the answer comes first.
    #[error("this change is being sent; wait for the answer")]
    InFlight,
    /// There is nothing to decide.
    #[error("this row has no conflict")]
    NoConflict,
    /// A conflicting field has no decision.
    #[error("choose a value for every field in conflict")]
    Undecided {
        /// The first such field.
        field: FieldTag,
    },
    /// The row was deleted, or came back, while the dialog was open.
    #[error("the row was deleted or restored meanwhile; look at it again")]
    Moved,
    /// The row as such is the question; there is no field to choose.
    #[error("this is about the whole row: choose mine or the server's")]
    WholeRow,
    /// The other row needs its value, so it cannot be taken over.
    #[error("the other row must have a value here and keeps it; choose another value, or the server's")]
    Taken,
}

/// Applies a decision to an entry's pending change. `server` is the server's row as the dialog showed it; for a unique clash
/// the row itself, if it exists. The losing values stay with the change and go into the history (T31).
///
/// # Errors
/// [`ResolveError`]; the entry is as before.
pub fn resolve(
    table: &Table,
    entry: &mut Entry,
    conflict: &Conflict,
    server: Option<&Row>,
    resolution: &Resolution,
    now_ms: i64,
) -> Result<(), ResolveError> {
    if entry.sent.is_some() {
        return Err(ResolveError::InFlight);
    }
    let mut pending = entry.next.clone().ok_or(ResolveError::NoConflict)?;
    pending.edited_at_ms = now_ms;
    pending.rounds = 0;
    if conflict.kind == ConflictKind::Unique {
        entry.next = resolve_clash(pending, conflict, server, resolution)?;
        return Ok(());
    }
    let server = server.ok_or(ResolveError::NoConflict)?;
    let decided = match conflict.kind {
        ConflictKind::DeleteUpdate => delete_update(pending, server, resolution)?,
        ConflictKind::UpdateDelete => update_delete(table, entry, pending, server, resolution)?,
        ConflictKind::CreateCreate | ConflictKind::UpdateUpdate | ConflictKind::Unique => {
            by_field(table, pending, conflict, server, resolution)?
        }
    };
    entry.next = decided;
    Ok(())
}

/// Delete anyway, or keep; the edits that the delete had swallowed are what lost then.
fn delete_update(pending: Pending, server: &Row, resolution: &Resolution) -> Result<Option<Pending>, ResolveError> {
    match resolution {
        Resolution::AllMine => Ok(Some(Pending {
            row_base: server.seq,
            sent_before: pending.sent_before.min(super::SentBefore::Frozen),
            ..pending
        })),
        Resolution::AllServer => Ok(give_up(pending).tidied()),
        Resolution::Fields(_) => Err(ResolveError::WholeRow),
    }
}

/// Restore it with my edit, or accept the deletion.
fn update_delete(
    table: &Table,
    entry: &Entry,
    mut pending: Pending,
    server: &Row,
    resolution: &Resolution,
) -> Result<Option<Pending>, ResolveError> {
    if server.is_live() {
        return Err(ResolveError::Moved);
    }
    match resolution {
        Resolution::AllMine => {
            pending.op = Op::Restore;
            pending.row_base = server.seq;
            for (field, edit) in &mut pending.fields {
                rebase_on(edit, server, *field);
            }
            if let (Life::Purged, Some(kept)) = (server.life, &entry.kept) {
                super::freeze::with_full_row(table, &mut pending, kept);
            }
            Ok(Some(pending))
        }
        Resolution::AllServer => Ok(give_up(pending).tidied()),
        Resolution::Fields(_) => Err(ResolveError::WholeRow),
    }
}

fn by_field(
    table: &Table,
    mut pending: Pending,
    conflict: &Conflict,
    server: &Row,
    resolution: &Resolution,
) -> Result<Option<Pending>, ResolveError> {
    if !server.is_live() {
        return Err(ResolveError::Moved);
    }
    let choices = choices_of(table, conflict, resolution)?;
    if pending.op == Op::Create {
        become_update(&mut pending, server);
    }
    if table.strict || pending.op == Op::Restore {
        pending.row_base = server.seq;
    }
    for (field, choice) in choices {
        let mine = pending.fields.remove(&field);
        let server_value = server.value(field);
        let wanted = match (choice, &mine) {
            (Choice::Mine, Some(edit)) => edit.value.clone(),
            (Choice::Mine, None) | (Choice::Server, _) => server_value.clone(),
            (Choice::Value(value), _) => value,
        };
        if let Some(edit) = mine
            && edit.value != wanted
            && edit.base_value.as_ref() != Some(&edit.value)
        {
            pending.lost.push(LostValue { field, value: edit.value });
        }
        if &wanted != server_value {
            let base_value = Some(server_value.clone());
            pending.fields.insert(field, Edit { value: wanted, base_value, base: server.seq });
        }
    }
    complete_units(table, &mut pending, server);
    Ok(pending.tidied())
}

/// Create against create that goes on: an update of the row that is there, on its present state.
fn become_update(pending: &mut Pending, server: &Row) {
    pending.op = Op::Update;
    pending.row_base = server.seq;
    pending.fields.retain(|field, edit| {
        rebase_on(edit, server, *field);
        edit.base_value.as_ref() != Some(&edit.value)
    });
}

/// A decided group goes as a whole (C2): members that were not chosen keep the server's value.
fn complete_units(table: &Table, pending: &mut Pending, server: &Row) {
    let members: Vec<FieldTag> = pending.fields.keys().flat_map(|field| table.unit(field).to_vec()).collect();
    for member in members {
        pending.fields.entry(member).or_insert_with(|| Edit {
            value: server.value(member).clone(),
            base_value: Some(server.value(member).clone()),
            base: server.seq,
        });
    }
}

/// A choice for every conflicting field. A group is decided as one: a side chosen for one member holds for the others.
fn choices_of(table: &Table, conflict: &Conflict, resolution: &Resolution) -> Result<BTreeMap<FieldTag, Choice>, ResolveError> {
    let named = match resolution {
        Resolution::AllMine => return Ok(conflict.fields.iter().map(|field| (*field, Choice::Mine)).collect()),
        Resolution::AllServer => return Ok(conflict.fields.iter().map(|field| (*field, Choice::Server)).collect()),
        Resolution::Fields(named) => named,
    };
    let mut choices = named.clone();
    for field in &conflict.fields {
        if choices.contains_key(field) {
            continue;
        }
        let of_unit = table.unit(field).iter().find_map(|member| named.get(member));
        let side = of_unit.ok_or(ResolveError::Undecided { field: *field })?;
        // A typed value belongs to the field that it was typed for; the rest of the group stays mine.
        let side = if matches!(side, Choice::Value(_)) { Choice::Mine } else { side.clone() };
        choices.insert(*field, side);
    }
    Ok(choices)
}

/// Unique clash: another value, or give mine up. Keeping mine means trying again: the other row may have let go of it, or the
/// caller makes it.
fn resolve_clash(
    mut pending: Pending,
    conflict: &Conflict,
    server: Option<&Row>,
    resolution: &Resolution,
) -> Result<Option<Pending>, ResolveError> {
    pending.review = None;
    let field = *conflict.fields.first().ok_or(ResolveError::NoConflict)?;
    match resolution {
        Resolution::AllMine => Ok(Some(pending)),
        Resolution::AllServer if pending.op == Op::Create => Ok(None),
        Resolution::AllServer => {
            if let Some(edit) = pending.fields.remove(&field) {
                pending.lost.push(LostValue { field, value: edit.value });
            }
            Ok(pending.tidied())
        }
        Resolution::Fields(choices) => match choices.get(&field) {
            Some(Choice::Value(value)) => {
                let base_value = server.map(|row| row.value(field).clone());
                let base = server.map_or_else(Default::default, |row| row.seq);
                let edit = pending.fields.entry(field).or_insert(Edit { value: Value::Null, base_value, base });
                edit.value = value.clone();
                Ok(Some(pending))
            }
            Some(Choice::Mine) => Ok(Some(pending)),
            Some(Choice::Server) => resolve_clash(pending, conflict, server, &Resolution::AllServer),
            None => Err(ResolveError::Undecided { field }),
        },
    }
}

fn rebase_on(edit: &mut Edit, server: &Row, field: FieldTag) {
    edit.base_value = Some(server.value(field).clone());
    edit.base = server.seq;
}

/// Nothing of the change is done; its edits are values that lost.
fn give_up(mut pending: Pending) -> Pending {
    let changed =
        std::mem::take(&mut pending.fields).into_iter().filter(|(_, edit)| edit.base_value.as_ref() != Some(&edit.value));
    pending.lost.extend(changed.map(|(field, edit)| LostValue { field, value: edit.value }));
    Pending { op: Op::Decide, ..pending }
}
