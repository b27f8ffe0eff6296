//! What is frozen, and on which base (O5).

use super::Pending;
use crate::change::{Change, FieldChange, Op};
use crate::ids::{RowKey, Seq};
use crate::row::Row;
use crate::schema::Table;

/// Lifts the bases of a change without conflict to `complete`, what the cursor that serves the row's section covers *now*;
/// `None` while the section is being filled, or the row is not in the mirror: nothing is lifted then (T36).
///
/// The caller has seen that there is no conflict. A delete, a restore or a strict row is lifted only if its row is not newer
/// than its base: that its fields agree is not enough. What a delete swallowed is not sent and stays on its bases: it may be in
/// conflict with the row all the same, and is asked about when the deletion is taken back.
pub fn lift(pending: &mut Pending, mirror: &Row, complete: Option<Seq>) {
    let Some(complete) = complete else { return };
    if !matches!(pending.op, Op::Create | Op::Delete) {
        for edit in pending.fields.values_mut() {
            edit.base = edit.base.max(complete);
        }
    }
    if mirror.seq <= pending.row_base {
        pending.row_base = pending.row_base.max(complete);
    }
}

/// The change that a pending change is sent as. A delete keeps what it swallowed to itself.
pub fn change_of(key: RowKey, pending: &Pending, view_base: Seq, group: Option<u16>) -> Change {
    let fields = if matches!(pending.op, Op::Delete | Op::Decide) {
        Vec::new()
    } else {
        pending
            .fields
            .iter()
            .map(|(field, edit)| FieldChange { field: *field, value: edit.value.clone(), base: edit.base })
            .collect()
    };
    Change {
        key,
        op: pending.op,
        row_base: pending.row_base,
        view_base,
        fields,
        lost: pending.lost.clone(),
        group,
        edited_at_ms: pending.edited_at_ms,
    }
}

/// A row that was purged is restored with all its values: the server has none (C5).
pub fn with_full_row(table: &Table, pending: &mut Pending, kept: &Row) {
    for field in &table.fields {
        let value = kept.value(field.tag);
        if !value.is_null() && !pending.fields.contains_key(&field.tag) {
            let edit = super::Edit { value: value.clone(), base_value: None, base: pending.row_base };
            pending.fields.insert(field.tag, edit);
        }
    }
}
