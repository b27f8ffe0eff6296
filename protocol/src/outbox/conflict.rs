//! Conflicts, computed from a pending change and the mirror's row (section 4).

use super::{Pending, Review, SentBefore};
use crate::change::Op;
use crate::ids::FieldTag;
use crate::merge::{Touch, UnitOutcome, create_differs, merge_units};
use crate::planted::{Planted, planted};
use crate::row::Row;
use crate::schema::Table;

/// What clashes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConflictKind {
    /// Both changed the same fields differently.
    UpdateUpdate,
    /// I changed a row that was deleted.
    UpdateDelete,
    /// I deleted a row that was changed.
    DeleteUpdate,
    /// Both made a row with this id, or it was made and deleted before.
    CreateCreate,
    /// Another row has the value of a unique field.
    Unique,
}

/// A conflict that a person decides.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conflict {
    /// What clashes.
    pub kind: ConflictKind,
    /// The fields to decide; whole groups. Empty where the row as such is the question.
    pub fields: Vec<FieldTag>,
}

impl Conflict {
    fn row(kind: ConflictKind) -> Self {
        Self { kind, fields: Vec::new() }
    }
}

/// The conflict of a pending change with what the mirror holds of its row, if any.
pub fn conflict(table: &Table, pending: &Pending, mirror: Option<&Row>) -> Option<Conflict> {
    if let Some(Review::Clash { field, .. }) = &pending.review {
        return Some(Conflict { kind: ConflictKind::Unique, fields: vec![*field] });
    }
    let row = mirror?;
    match pending.op {
        Op::Decide => None,
        Op::Create if !row.is_live() => Some(Conflict::row(ConflictKind::UpdateDelete)),
        Op::Create => {
            let differing = create_differs(table, row, |field| pending.fields.get(&field).map(|edit| &edit.value));
            (!differing.is_empty()).then_some(Conflict { kind: ConflictKind::CreateCreate, fields: differing })
        }
        Op::Delete if !row.is_live() => None,
        Op::Delete => {
            let undone = pending.sent_before == SentBefore::Acknowledged && !planted(Planted::DeletionUnasked);
            let moved = row.seq > pending.row_base || undone;
            moved.then_some(Conflict::row(ConflictKind::DeleteUpdate))
        }
        Op::Update if !row.is_live() => Some(Conflict::row(ConflictKind::UpdateDelete)),
        // Values that came before the deletion would come back with the row, and be overwritten unseen (C5).
        Op::Restore if !row.is_live() => {
            let moved = row.seq > pending.row_base || update_update(table, pending, row).is_some();
            moved.then_some(Conflict::row(ConflictKind::UpdateDelete))
        }
        Op::Update | Op::Restore => update_update(table, pending, row),
    }
}

/// What somebody else changed, too, and differently.
pub(super) fn update_update(table: &Table, pending: &Pending, row: &Row) -> Option<Conflict> {
    let touches: Vec<Touch<'_>> = pending
        .fields
        .iter()
        .map(|(field, edit)| Touch { field: *field, mine: &edit.value, base_value: edit.base_value.as_ref(), base: edit.base })
        .collect();
    let fields: Vec<FieldTag> = if table.strict {
        let agreed = touches.iter().all(|touch| row.value(touch.field) == touch.mine);
        if row.seq <= pending.row_base || agreed { Vec::new() } else { pending.fields.keys().copied().collect() }
    } else {
        merge_units(table, row, &touches)
            .into_iter()
            .filter(|unit| unit.outcome == UnitOutcome::Conflict)
            .flat_map(|unit| unit.touched)
            .collect()
    };
    (!fields.is_empty()).then_some(Conflict { kind: ConflictKind::UpdateUpdate, fields })
}
