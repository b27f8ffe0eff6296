//! A person's decision of a conflict, field by field (section 4, "Resolution"). It becomes an entry whose base is the server
//! state that the dialog showed; nothing is sent until the next push.

use super::{Conflict, ConflictKind, Edit, Entry, Pending};
use crate::change::{LostValue, Op};
use crate::ids::{FieldTag, Seq};
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
    /// The server's in everything: drop my edit, keep the row, accept the deletion, give up a new row that clashes.
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
    /// While the dialog was open the row was deleted or came back, the change became another one, or the server's history did (H3).
    #[error("the row or the change was changed meanwhile; look at it again")]
    Moved,
    /// The row as such is the question; there is no field to choose.
    #[error("this is about the whole row: choose mine or the server's")]
    WholeRow,
    /// Different sides were chosen inside one group, which would make a pair that nobody wrote (C2).
    #[error(
        "{fields} belong together: choose mine for all of them or the server's for all of them. A value that you type may stand beside either. Nothing was decided"
    )]
    MixedGroup {
        /// The members' names.
        fields: String,
    },
    /// The other row needs its value, and no other can be given to it, so it cannot be taken over.
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
    // One decision is enough, also for what was refused or is offered again as well.
    pending.review = None;
    if conflict.kind == ConflictKind::Unique {
        entry.next = resolve_clash(table, pending, conflict, server, resolution)?;
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
            if pending.op == Op::Create {
                empty_the_rest(table, &mut pending, server);
            }
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

/// A create says everything of its row: what it leaves empty is empty in the row that comes back, too. Fields with an initial value
/// may be unknown to the app that made it.
fn empty_the_rest(table: &Table, pending: &mut Pending, server: &Row) {
    for field in table.fields.iter().filter(|field| field.initial.is_none() && !server.value(field.tag).is_null()) {
        pending.fields.entry(field.tag).or_insert(Edit { value: Value::Null, base_value: None, base: Seq(0) });
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
    let was_create = pending.op == Op::Create;
    if was_create {
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
            // What a create leaves empty is empty, as it is shown.
            (Choice::Mine, None) if was_create => Value::Null,
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

/// A choice for every field of every unit that is in conflict or named: a group is decided as one (C2), so the side chosen for
/// a member holds for the others, and a typed value stands beside it. Where only values are typed, the rest stays mine.
fn choices_of(table: &Table, conflict: &Conflict, resolution: &Resolution) -> Result<BTreeMap<FieldTag, Choice>, ResolveError> {
    let named = match resolution {
        Resolution::AllMine => return Ok(conflict.fields.iter().map(|field| (*field, Choice::Mine)).collect()),
        Resolution::AllServer => return Ok(conflict.fields.iter().map(|field| (*field, Choice::Server)).collect()),
        Resolution::Fields(named) => named,
    };
    let mut choices = BTreeMap::new();
    for field in conflict.fields.iter().chain(named.keys()) {
        let unit = table.unit(field);
        let of_unit = || unit.iter().filter_map(|member| named.get(member));
        let has = |side: Choice| of_unit().any(|choice| *choice == side);
        let side = match (has(Choice::Mine), has(Choice::Server)) {
            (true, true) => return Err(ResolveError::MixedGroup { fields: names(table, unit) }),
            (false, true) => Choice::Server,
            (true, false) => Choice::Mine,
            (false, false) if of_unit().next().is_some() => Choice::Mine,
            (false, false) => return Err(ResolveError::Undecided { field: *field }),
        };
        choices.extend(unit.iter().map(|member| (*member, named.get(member).unwrap_or(&side).clone())));
    }
    Ok(choices)
}

fn names(table: &Table, unit: &[FieldTag]) -> String {
    let names = unit.iter().filter_map(|member| Some(table.field(*member)?.name.as_str()));
    names.collect::<Vec<_>>().join(" and ")
}

/// Unique clash: another value, or give mine up. Keeping mine means trying again: the other row may have let go of it, or the
/// caller makes it. Giving up a new row leaves nothing of it, not even in the history: there is no row to record it with.
fn resolve_clash(
    table: &Table,
    mut pending: Pending,
    conflict: &Conflict,
    server: Option<&Row>,
    resolution: &Resolution,
) -> Result<Option<Pending>, ResolveError> {
    let field = *conflict.fields.first().ok_or(ResolveError::NoConflict)?;
    match resolution {
        Resolution::AllMine => Ok(Some(pending)),
        Resolution::AllServer if pending.op == Op::Create => Ok(None),
        Resolution::AllServer if pending.op == Op::Restore => Ok(give_up(pending).tidied()),
        Resolution::AllServer => Ok(without_value(pending, field, table.scope).tidied()),
        Resolution::Fields(choices) => match choices.get(&field) {
            Some(Choice::Value(value)) => {
                set_value(&mut pending, field, value.clone(), server);
                Ok(Some(pending))
            }
            Some(Choice::Mine) => Ok(Some(pending)),
            Some(Choice::Server) if matches!(pending.op, Op::Create | Op::Restore) => {
                yield_value(table, pending, field, server)
            }
            Some(Choice::Server) => resolve_clash(table, pending, conflict, server, &Resolution::AllServer),
            None => Err(ResolveError::Undecided { field }),
        },
    }
}

/// The row as such stays and leaves the value to the other row: it keeps what it was deleted with, or has none where it may.
fn yield_value(
    table: &Table,
    mut pending: Pending,
    field: FieldTag,
    server: Option<&Row>,
) -> Result<Option<Pending>, ResolveError> {
    let before = server.filter(|_| pending.op == Op::Restore).map(|row| row.value(field).clone()).unwrap_or_default();
    let mine = pending.fields.get(&field).map_or(&before, |edit| &edit.value).clone();
    let left = if mine == before { Value::Null } else { before };
    if left.is_null() && table.field(field).is_none_or(|field| field.required) {
        return Err(ResolveError::WholeRow);
    }
    pending.lost.push(LostValue { field, value: mine });
    if pending.op == Op::Create {
        pending.fields.remove(&field);
    } else {
        set_value(&mut pending, field, left, server);
    }
    Ok(Some(pending))
}

/// Takes back the edit of a field; where the change does not touch it, that of the scope, in which the value is taken.
fn without_value(mut pending: Pending, field: FieldTag, scope: Option<FieldTag>) -> Pending {
    let given_up = pending.fields.remove_entry(&field).or_else(|| pending.fields.remove_entry(&scope?));
    pending.lost.extend(given_up.map(|(field, edit)| LostValue { field, value: edit.value }));
    pending
}

fn set_value(pending: &mut Pending, field: FieldTag, value: Value, server: Option<&Row>) {
    let base_value = server.map(|row| row.value(field).clone());
    let base = server.map_or_else(Default::default, |row| row.seq);
    pending.fields.entry(field).or_insert(Edit { value: Value::Null, base_value, base }).value = value;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::medications;

    const NAME: FieldTag = FieldTag(1);
    const DOSE: FieldTag = FieldTag(2);
    const UNIT: FieldTag = FieldTag(3);

    fn choices(named: &[(FieldTag, Choice)]) -> Result<BTreeMap<FieldTag, Choice>, ResolveError> {
        let conflict = Conflict { kind: ConflictKind::UpdateUpdate, fields: vec![DOSE, UNIT] };
        choices_of(&medications(), &conflict, &Resolution::Fields(named.iter().cloned().collect()))
    }

    #[test]
    fn a_group_is_decided_as_one() {
        let typed = Choice::Value(Value::text("g"));
        let mixed = choices(&[(DOSE, Choice::Mine), (UNIT, Choice::Server)]);
        assert_eq!(mixed, Err(ResolveError::MixedGroup { fields: "dose and unit".into() }));
        assert_eq!(choices(&[(DOSE, Choice::Server)]), Ok([(DOSE, Choice::Server), (UNIT, Choice::Server)].into()));
        // A typed value stands beside either side, and beside mine where no side is chosen.
        for (side, rest) in [(Some(Choice::Server), Choice::Server), (Some(Choice::Mine), Choice::Mine), (None, Choice::Mine)] {
            let named: Vec<_> = side.into_iter().map(|side| (UNIT, side)).chain([(DOSE, typed.clone())]).collect();
            assert_eq!(choices(&named), Ok([(DOSE, typed.clone()), (UNIT, rest)].into()));
        }
        assert_eq!(choices(&[(NAME, Choice::Mine)]), Err(ResolveError::Undecided { field: DOSE }));
    }

    #[test]
    fn a_group_without_conflict_is_not_torn_apart_by_naming_a_member() {
        let conflict = Conflict { kind: ConflictKind::UpdateUpdate, fields: vec![NAME] };
        let named = Resolution::Fields([(NAME, Choice::Mine), (UNIT, Choice::Server)].into());
        let choices = choices_of(&medications(), &conflict, &named);
        assert_eq!(choices, Ok([(NAME, Choice::Mine), (DOSE, Choice::Server), (UNIT, Choice::Server)].into()));
    }
}
