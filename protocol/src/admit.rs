//! The pure verdict of one change against one row, by the same merge on both sides (section 4, P7 for what needs other rows).

use crate::change::{Change, Effect, LostValue, Op, Refusal, Verdict};
use crate::ids::{FieldTag, RowId};
use crate::limits::ROW_BYTES_MAX;
use crate::merge::{Touch, UnitOutcome, create_differs, merge_units};
use crate::planted::{Planted, planted};
use crate::row::{Life, Row};
use crate::schema::Table;
use crate::value::Value;
use std::collections::BTreeMap;

/// What is known of the row and of the user when a change is decided.
pub struct Facts<'a> {
    /// The schema of the row's table at the head.
    pub table: &'a Table,
    /// The row as it is at the head; `None` where the id was never used.
    pub row: Option<&'a Row>,
    /// Whether the user may see the row where it is now. A row that was never made counts as visible.
    pub visible: bool,
    /// Whether the user's role may write the table.
    pub may_write: bool,
    /// Whether the user may write in a scope.
    pub may_write_scope: &'a dyn Fn(RowId) -> bool,
    /// Fields that the change's schema did not ask for yet, with what the server writes for them into a create or a restore
    /// that leaves them without a value (H7).
    pub initial: &'a BTreeMap<FieldTag, Value>,
}

/// What becomes of a change as far as its own row tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// It stands, with this effect; a decision of a person has none.
    Stands {
        /// What it does; `None` for [`Op::Decide`].
        effect: Option<Effect>,
        /// Others had changed the row since the base.
        merged: bool,
    },
    /// It does not go through, or there is nothing to do.
    Verdict(Verdict),
}

/// Decides a change by its own row.
pub fn admit(facts: &Facts<'_>, change: &Change) -> Decision {
    if change.op == Op::Decide {
        return Decision::Stands { effect: None, merged: false };
    }
    match decide(facts, change) {
        Ok(decision) => decision,
        Err(refusal) => Decision::Verdict(Verdict::Refused(refusal)),
    }
}

/// The values that lost and are recorded with a change that goes through: those of fields that there are, in a row that the
/// user sees and may write (section 9). Others leave no trace, or anybody could write into the history of any row.
pub fn recorded_lost(facts: &Facts<'_>, change: &Change) -> Vec<LostValue> {
    // What a create brings was looked at when it was admitted.
    let writable = facts.may_write && facts.visible;
    let writable = writable && facts.row.map_or(change.op == Op::Create, |row| may_write_where_it_is(facts, row));
    let lost = change.lost.iter().filter(|lost| writable && facts.table.field(lost.field).is_some());
    lost.cloned().collect()
}

fn decide(facts: &Facts<'_>, change: &Change) -> Result<Decision, Refusal> {
    if !facts.may_write {
        return Err(Refusal::NoRight);
    }
    if let Some(unknown) = change.fields.iter().find(|touched| facts.table.field(touched.field).is_none()) {
        return Err(Refusal::UnknownField { field: unknown.field });
    }
    let row = match facts.row {
        Some(_) if !facts.visible => return Err(Refusal::UnknownRow),
        Some(row) => row,
        None if change.op == Op::Create => return create(facts, change),
        None if planted(Planted::UpdateCreates) && change.op == Op::Update => return create(facts, change),
        None => return Err(Refusal::UnknownRow),
    };
    if !may_write_where_it_is(facts, row) {
        return Err(Refusal::NoRight);
    }
    match change.op {
        Op::Create if planted(Planted::CreateRevives) && !row.is_live() => {
            Ok(stands(change, Op::Restore, differing(row, change), false))
        }
        Op::Create => Ok(meet_existing(facts.table, row, change)),
        Op::Delete => Ok(delete(row, change)),
        Op::Update if !row.is_live() => Ok(Decision::Verdict(Verdict::Conflict)),
        Op::Restore if !row.is_live() => restore(facts, row, change),
        Op::Update | Op::Restore | Op::Decide => update(facts, row, change),
    }
}

fn create(facts: &Facts<'_>, change: &Change) -> Result<Decision, Refusal> {
    let mut fields: BTreeMap<FieldTag, Value> =
        change.fields.iter().filter(|f| !f.value.is_null()).map(|f| (f.field, f.value.clone())).collect();
    for (field, value) in facts.initial {
        fields.entry(*field).or_insert_with(|| value.clone());
    }
    check_scope_written(facts, |field| fields.get(&field).cloned())?;
    for field in &facts.table.fields {
        let value = fields.get(&field.tag).unwrap_or(&Value::Null);
        field.check(value).map_err(|problem| Refusal::Field { field: field.tag, problem })?;
    }
    check_size(fields.values())?;
    Ok(stands(change, Op::Create, fields, false))
}

/// Create against create: equal in all fields is agreed (C4); a create against a tombstone, purged or not, is edit against
/// delete (H5).
fn meet_existing(table: &Table, row: &Row, change: &Change) -> Decision {
    let mine = |field: FieldTag| change.fields.iter().find(|f| f.field == field).map(|f| &f.value);
    let equal = row.is_live() && create_differs(table, row, mine).is_empty();
    Decision::Verdict(if equal { Verdict::Agreed } else { Verdict::Conflict })
}

fn delete(row: &Row, change: &Change) -> Decision {
    if !row.is_live() {
        Decision::Verdict(Verdict::Agreed)
    } else if row.seq > change.row_base && !planted(Planted::DeleteUnseen) {
        Decision::Verdict(Verdict::Conflict)
    } else {
        stands(change, Op::Delete, BTreeMap::new(), false)
    }
}

fn restore(facts: &Facts<'_>, row: &Row, change: &Change) -> Result<Decision, Refusal> {
    if row.seq > change.row_base {
        return Ok(Decision::Verdict(Verdict::Conflict));
    }
    let touches = touches(change);
    if row.life == Life::Deleted
        && !facts.table.strict
        && !planted(Planted::RestoreOverwrites)
        && merge_units(facts.table, row, &touches).iter().any(|unit| unit.outcome == UnitOutcome::Conflict)
    {
        return Ok(Decision::Verdict(Verdict::Conflict));
    }
    let mut fields = differing(row, change);
    for (field, value) in facts.initial {
        if fields.get(field).unwrap_or_else(|| row.value(*field)).is_null() {
            fields.insert(*field, value.clone());
        }
    }
    check_after(facts, row, &fields, facts.table.fields.iter().map(|field| field.tag))?;
    Ok(stands(change, Op::Restore, fields, false))
}

fn update(facts: &Facts<'_>, row: &Row, change: &Change) -> Result<Decision, Refusal> {
    let merged = row.seq > change.row_base.max(change.fields.iter().map(|f| f.base).max().unwrap_or_default());
    let mut fields = differing(row, change);
    if fields.is_empty() {
        return Ok(Decision::Verdict(Verdict::Agreed));
    }
    if planted(Planted::HalfAChange) && !facts.table.strict {
        let units = merge_units(facts.table, row, &touches(change));
        let asked =
            |field: &FieldTag| units.iter().any(|unit| unit.outcome == UnitOutcome::Conflict && unit.touched.contains(field));
        if !fields.keys().all(&asked) {
            fields.retain(|field, _| !asked(field));
            return Ok(stands(change, Op::Update, fields, merged));
        }
    }
    let conflict = if facts.table.strict && !planted(Planted::StrictMerged) {
        row.seq > change.row_base
    } else {
        merge_units(facts.table, row, &touches(change)).iter().any(|unit| unit.outcome == UnitOutcome::Conflict)
    };
    if conflict {
        return Ok(Decision::Verdict(Verdict::Conflict));
    }
    check_after(facts, row, &fields, fields.keys().copied())?;
    Ok(stands(change, Op::Update, fields, merged))
}

fn touches(change: &Change) -> Vec<Touch<'_>> {
    change.fields.iter().map(|f| Touch { field: f.field, mine: &f.value, base_value: None, base: f.base }).collect()
}

/// The touched fields that the change would really change.
fn differing(row: &Row, change: &Change) -> BTreeMap<FieldTag, Value> {
    change.fields.iter().filter(|f| row.value(f.field) != &f.value).map(|f| (f.field, f.value.clone())).collect()
}

fn stands(change: &Change, op: Op, fields: BTreeMap<FieldTag, Value>, merged: bool) -> Decision {
    let effect = Effect { key: change.key, op, fields: fields.into_iter().collect() };
    Decision::Stands { effect: Some(effect), merged }
}

/// Checks the values of `checked` and the size on the row as it would be.
fn check_after(
    facts: &Facts<'_>,
    row: &Row,
    fields: &BTreeMap<FieldTag, Value>,
    checked: impl Iterator<Item = FieldTag>,
) -> Result<(), Refusal> {
    let after = |field: FieldTag| fields.get(&field).unwrap_or_else(|| row.value(field));
    if facts.table.scope.is_some_and(|scope| fields.contains_key(&scope)) {
        check_scope_written(facts, |field| Some(after(field).clone()))?;
    }
    for field in checked.filter_map(|tag| facts.table.field(tag)) {
        field.check(after(field.tag)).map_err(|problem| Refusal::Field { field: field.tag, problem })?;
    }
    let untouched = row.fields.iter().filter(|(field, _)| !fields.contains_key(field)).map(|(_, stamped)| &stamped.value);
    check_size(fields.values().chain(untouched))
}

/// The right to write in the scope that the row is in (section 9).
fn may_write_where_it_is(facts: &Facts<'_>, row: &Row) -> bool {
    match facts.table.scope.map(|field| row.value(field)) {
        Some(Value::Uuid(scope)) => (facts.may_write_scope)(RowId::from_bytes(*scope)),
        _ => true,
    }
}

/// The right to write in the scope that the row would be in (section 9).
fn check_scope_written(facts: &Facts<'_>, value_of: impl Fn(FieldTag) -> Option<Value>) -> Result<(), Refusal> {
    match facts.table.scope.and_then(value_of) {
        Some(Value::Uuid(scope)) if !planted(Planted::ScopeUnchecked) && !(facts.may_write_scope)(RowId::from_bytes(scope)) => {
            Err(Refusal::NoRight)
        }
        _ => Ok(()),
    }
}

fn check_size<'a>(values: impl Iterator<Item = &'a Value>) -> Result<(), Refusal> {
    let bytes: usize = values.map(|value| 2 + value.canonical_len()).sum();
    if bytes > ROW_BYTES_MAX { Err(Refusal::RowTooLarge) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::FieldChange;
    use crate::ids::Seq;
    use crate::testing::{key, live_row, medications, stock};

    const NAME: FieldTag = FieldTag(1);
    const NOTES: FieldTag = FieldTag(4);

    fn change(op: Op, row_base: u64, fields: &[(FieldTag, &str, u64)]) -> Change {
        Change {
            key: key(),
            op,
            row_base: Seq(row_base),
            view_base: Seq(row_base),
            fields: fields
                .iter()
                .map(|(field, value, base)| FieldChange { field: *field, value: Value::text(value), base: Seq(*base) })
                .collect(),
            lost: Vec::new(),
            group: None,
            edited_at_ms: 0,
        }
    }

    fn decided(table: &Table, row: Option<&Row>, change: &Change) -> Decision {
        let facts = Facts { table, row, visible: true, may_write: true, may_write_scope: &|_| true, initial: &BTreeMap::new() };
        admit(&facts, change)
    }

    fn row(name: &str, name_at: u64, notes_at: u64) -> Row {
        live_row(&[(NAME, Value::text(name), name_at), (NOTES, Value::text("n"), notes_at)])
    }

    fn effect(decision: Decision) -> Effect {
        match decision {
            Decision::Stands { effect: Some(effect), .. } => effect,
            other => panic!("an effect was expected, not {other:?}"),
        }
    }

    #[test]
    fn edits_of_different_fields_merge_without_a_question() {
        let server = row("a", 5, 9);
        let decision = decided(&medications(), Some(&server), &change(Op::Update, 5, &[(NAME, "b", 5)]));
        assert_eq!(
            decision,
            Decision::Stands {
                effect: Some(Effect { key: key(), op: Op::Update, fields: vec![(NAME, Value::text("b"))] }),
                merged: true
            }
        );
    }

    #[test]
    fn an_edit_of_a_field_that_moved_is_a_conflict_unless_it_is_the_same() {
        let server = row("theirs", 9, 5);
        let mine = decided(&medications(), Some(&server), &change(Op::Update, 5, &[(NAME, "mine", 5)]));
        assert_eq!(mine, Decision::Verdict(Verdict::Conflict));
        let same = decided(&medications(), Some(&server), &change(Op::Update, 5, &[(NAME, "theirs", 5)]));
        assert_eq!(same, Decision::Verdict(Verdict::Agreed));
    }

    #[test]
    fn a_strict_table_asks_about_any_change_of_the_row() {
        let server = row("a", 5, 9);
        let decision = decided(&stock(), Some(&server), &change(Op::Update, 5, &[(NAME, "b", 5)]));
        assert_eq!(decision, Decision::Verdict(Verdict::Conflict));
    }

    #[test]
    fn a_delete_of_a_row_that_others_changed_is_a_conflict_and_of_a_deleted_one_agreed() {
        let server = row("a", 5, 9);
        assert_eq!(decided(&medications(), Some(&server), &change(Op::Delete, 5, &[])), Decision::Verdict(Verdict::Conflict));
        assert_eq!(effect(decided(&medications(), Some(&server), &change(Op::Delete, 9, &[]))).op, Op::Delete);
        let gone = Row { life: Life::Deleted, ..server };
        assert_eq!(decided(&medications(), Some(&gone), &change(Op::Delete, 5, &[])), Decision::Verdict(Verdict::Agreed));
    }

    #[test]
    fn an_edit_of_a_deleted_or_purged_row_never_makes_it_anew() {
        for life in [Life::Deleted, Life::Purged] {
            let gone = Row { life, seq: Seq(9), ..row("a", 5, 5) };
            for op in [Op::Update, Op::Create] {
                let decision = decided(&medications(), Some(&gone), &change(op, 5, &[(NAME, "b", 5)]));
                assert_eq!(decision, Decision::Verdict(Verdict::Conflict), "{op:?} of {life:?}");
            }
        }
    }

    #[test]
    fn an_edit_of_an_id_that_was_never_used_is_refused_and_not_a_create() {
        let decision = decided(&medications(), None, &change(Op::Update, 5, &[(NAME, "b", 5)]));
        assert_eq!(decision, Decision::Verdict(Verdict::Refused(Refusal::UnknownRow)));
    }

    #[test]
    fn a_restore_brings_the_last_values_back_with_the_touched_fields() {
        let gone = Row { life: Life::Deleted, seq: Seq(9), ..row("a", 5, 5) };
        let restored = effect(decided(&medications(), Some(&gone), &change(Op::Restore, 9, &[(NAME, "b", 9)])));
        assert_eq!((restored.op, restored.fields), (Op::Restore, vec![(NAME, Value::text("b"))]));
    }

    #[test]
    fn a_row_that_the_user_may_not_see_is_as_unknown_as_one_that_is_not_there() {
        let server = row("a", 5, 5);
        let facts = Facts {
            table: &medications(),
            row: Some(&server),
            visible: false,
            may_write: true,
            may_write_scope: &|_| true,
            initial: &BTreeMap::new(),
        };
        for op in [Op::Create, Op::Update, Op::Delete, Op::Restore] {
            let decision = admit(&facts, &change(op, 9, &[(NAME, "b", 9)]));
            assert_eq!(decision, Decision::Verdict(Verdict::Refused(Refusal::UnknownRow)), "{op:?}");
        }
    }

    #[test]
    fn the_same_create_twice_is_agreed_and_another_is_asked() {
        let server = row("a", 5, 5);
        let same = change(Op::Create, 0, &[(NAME, "a", 0), (NOTES, "n", 0)]);
        assert_eq!(decided(&medications(), Some(&server), &same), Decision::Verdict(Verdict::Agreed));
        let other = change(Op::Create, 0, &[(NAME, "a", 0)]);
        assert_eq!(decided(&medications(), Some(&server), &other), Decision::Verdict(Verdict::Conflict));
    }
}
