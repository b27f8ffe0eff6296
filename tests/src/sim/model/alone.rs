//! A change against its own row: rights, the kinds of conflict (section 4), and what the fields allow.

use super::{Deciding, Expected, Question, Row, touched, values};
use std::collections::BTreeMap;
use tombolo_client::protocol::change::{Change, Effect, LostValue, Op, Refusal};
use tombolo_client::protocol::ids::FieldTag;
use tombolo_client::protocol::schema::{Field, Table};
use tombolo_client::protocol::value::Value;

/// What is said of a change, or the effect with which it goes through.
type Decided = Result<(Effect, bool), Expected>;

impl Deciding<'_> {
    /// What must be said of a change as far as its own row tells, and its effect.
    pub(super) fn alone(&self, change: &Change) -> (Expected, Option<Effect>) {
        // A person's decision keeps the server's values; it is always accepted and changes no row.
        if change.op == Op::Decide {
            return (Expected::Accepted { merged: false }, None);
        }
        match self.decide(change) {
            Ok((effect, merged)) => (Expected::Accepted { merged }, Some(effect)),
            Err(expected) => (expected, None),
        }
    }

    fn decide(&self, change: &Change) -> Decided {
        let table = self.table(change.key).ok_or(Expected::Refused(Refusal::UnknownTable))?;
        if !self.rights.may_write(table) {
            return Err(Expected::Refused(Refusal::NoRight));
        }
        let is_known = |tag: FieldTag| table.fields.iter().any(|field| field.tag == tag);
        if let Some(touched) = change.fields.iter().find(|touched| !is_known(touched.field)) {
            return Err(Expected::Refused(Refusal::UnknownField { field: touched.field }));
        }
        let Some(row) = self.model.rows.get(&change.key) else {
            // An id that the server never knew is never made by an edit (H5).
            return if change.op == Op::Create { self.create(table, change) } else { Err(unknown()) };
        };
        // For who may not see a row, it is as one that was never made (section 9).
        if !self.may_see(change.key, row) {
            return Err(unknown());
        }
        match (change.op, row.live) {
            (Op::Create, true) => Err(self.two_creates(table, row, change)),
            (Op::Create | Op::Update, false) => Err(Expected::Conflict(Question::EditOfDeleted)),
            (Op::Delete, true) if row.at.0 > change.row_base => Err(Expected::Conflict(Question::DeleteOfChanged)),
            (Op::Delete, true) => Ok((effect(change, BTreeMap::new()), false)),
            (Op::Delete, false) => Err(Expected::Agreed),
            (Op::Restore, false) => self.restore(table, row, change),
            // A row that is back already needs no restoring; what was touched is merged.
            (Op::Update | Op::Restore | Op::Decide, _) => self.update(table, row, change),
        }
    }

    fn create(&self, table: &Table, change: &Change) -> Decided {
        let fields = self.created(table, change);
        let value = |field: FieldTag| fields.get(&field).unwrap_or(&Value::Null);
        self.scope_right(table, table.scope.map(value))?;
        allowed(table.fields.iter(), value)?;
        Ok((effect(change, fields), false))
    }

    /// The row that a create makes: its values, and the initial ones of fields that its schema did not ask for (H7).
    fn created(&self, table: &Table, change: &Change) -> BTreeMap<FieldTag, Value> {
        let given = change.fields.iter().filter(|touched| touched.value != Value::Null);
        let mut fields: BTreeMap<FieldTag, Value> = given.map(|touched| (touched.field, touched.value.clone())).collect();
        for field in &table.fields {
            if let (None, Some(initial)) = (fields.get(&field.tag), &field.initial)
                && self.was_not_asked_for(table, field)
            {
                fields.insert(field.tag, initial.clone());
            }
        }
        fields
    }

    /// The schema that the push was written under did not have the field, or did not require it as the present one does.
    fn was_not_asked_for(&self, table: &Table, field: &Field) -> bool {
        let before = self.written_under.tables.iter().find(|before| before.tag == table.tag);
        match before.and_then(|before| before.fields.iter().find(|before| before.tag == field.tag)) {
            None => true,
            Some(before) => field.required && !before.required,
        }
    }

    /// Create against create: equal in all fields is agreed, else a question (C4). Of a field that its schema did not ask for a
    /// create says nothing: there the row may have the initial value, or none from the time before the field (H7).
    fn two_creates(&self, table: &Table, row: &Row, change: &Change) -> Expected {
        let is_equal = |field: &Field| {
            let (mine, there) = (touched(change, field.tag).unwrap_or(&Value::Null), row.value(field.tag));
            let is_initial = *mine == Value::Null && field.initial.as_ref() == Some(there);
            mine == there || is_initial && self.was_not_asked_for(table, field)
        };
        if table.fields.iter().all(is_equal) { Expected::Agreed } else { Expected::Conflict(Question::CreateOfOther) }
    }

    fn update(&self, table: &Table, row: &Row, change: &Change) -> Decided {
        let fields = differing(row, change);
        // What is as asked is agreed, in a strict table too (C1, C3).
        if fields.is_empty() {
            return Err(Expected::Agreed);
        }
        if table.strict && row.at.0 > change.row_base {
            return Err(Expected::Conflict(Question::StrictRow));
        }
        if !table.strict {
            three_way(table, row, change)?;
        }
        self.values_after(table, row, &fields, table.fields.iter().filter(|field| fields.contains_key(&field.tag)))?;
        // Whether the row moved on by itself since the newest state that the change names.
        let newest = change.fields.iter().map(|touched| touched.base).chain([change.row_base]).max().unwrap_or_default();
        Ok((Effect { op: Op::Update, ..effect(change, fields) }, row.at.0 > newest))
    }

    /// A restore brings the last values back and merges the touched fields (C5). A field that is required by now gets its initial
    /// value where the row has none and the change could not or does not say one.
    fn restore(&self, table: &Table, row: &Row, change: &Change) -> Decided {
        if row.at.0 > change.row_base {
            return Err(Expected::Conflict(Question::RestoreOfChanged));
        }
        if !table.strict && !row.purged {
            three_way(table, row, change)?;
        }
        let mut fields = differing(row, change);
        for field in table.fields.iter().filter(|field| field.required) {
            let is_missing = *fields.get(&field.tag).unwrap_or_else(|| row.value(field.tag)) == Value::Null;
            let is_said = touched(change, field.tag).is_some() && !self.was_not_asked_for(table, field);
            if let (true, false, Some(initial)) = (is_missing, is_said, &field.initial) {
                fields.insert(field.tag, initial.clone());
            }
        }
        self.values_after(table, row, &fields, table.fields.iter())?;
        Ok((effect(change, fields), false))
    }

    /// The right to write in the scope that the row comes into, and what the fields allow.
    fn values_after<'f>(
        &self,
        table: &Table,
        row: &Row,
        fields: &BTreeMap<FieldTag, Value>,
        checked: impl Iterator<Item = &'f Field>,
    ) -> Result<(), Expected> {
        self.scope_right(table, table.scope.and_then(|scope| fields.get(&scope)))?;
        allowed(checked, |field| fields.get(&field).unwrap_or_else(|| row.value(field)))
    }

    /// A scope that is written must be one in which the user may write; none at all is for the field to refuse (S5).
    fn scope_right(&self, table: &Table, scope: Option<&Value>) -> Result<(), Expected> {
        match scope.filter(|scope| **scope != Value::Null) {
            Some(scope) if !self.rights.covers(table, scope) => Err(Expected::Refused(Refusal::NoRight)),
            _ => Ok(()),
        }
    }

    /// The values that lost, kept with what goes through: of fields that there are, in a row that the user sees and may write.
    pub(super) fn lost<'c>(&self, change: &'c Change) -> impl Iterator<Item = &'c LostValue> {
        let table = self.table(change.key).filter(|table| self.rights.may_write(table));
        let may = match self.model.rows.get(&change.key) {
            Some(row) => self.may_see(change.key, row),
            None => change.op == Op::Create,
        };
        let known: Vec<FieldTag> = table.filter(|_| may).into_iter().flat_map(|table| &table.fields).map(|f| f.tag).collect();
        change.lost.iter().filter(move |lost| known.contains(&lost.field))
    }
}

fn unknown() -> Expected {
    Expected::Refused(Refusal::UnknownRow)
}

fn effect(change: &Change, fields: BTreeMap<FieldTag, Value>) -> Effect {
    Effect { key: change.key, op: change.op, fields: fields.into_iter().collect() }
}

/// The touched fields that are not yet as asked.
fn differing(row: &Row, change: &Change) -> BTreeMap<FieldTag, Value> {
    let differing = change.fields.iter().filter(|touched| touched.value != *row.value(touched.field));
    differing.map(|touched| (touched.field, touched.value.clone())).collect()
}

/// The three-way comparison of each touched unit, by stamps alone (C1, C2, C6).
fn three_way(table: &Table, row: &Row, change: &Change) -> Result<(), Expected> {
    let mut asked = Vec::new();
    let single = change.fields.iter().filter(|touched| table.groups.iter().all(|group| !group.fields.contains(&touched.field)));
    for touched in single {
        if touched.value != *row.value(touched.field) && row.stamp(touched.field) > touched.base {
            asked.push(touched.field);
        }
    }
    for group in &table.groups {
        let of_group = || change.fields.iter().filter(|touched| group.fields.contains(&touched.field));
        // Touching one member records the base of all: a member that is not named was seen no later than the others.
        let Some(oldest) = of_group().map(|touched| touched.base).min() else { continue };
        let base = |field: FieldTag| of_group().find(|touched| touched.field == field).map_or(oldest, |touched| touched.base);
        let tuple = |row: &Row| group.fields.iter().map(|field| row.value(*field).clone()).collect::<Vec<_>>();
        let mine = |field: &FieldTag| touched(change, *field).unwrap_or_else(|| row.value(*field)).clone();
        let is_same = group.fields.iter().map(mine).collect::<Vec<_>>() == tuple(row);
        if !is_same && group.fields.iter().any(|field| row.stamp(*field) > base(*field)) {
            asked.extend(&group.fields);
        }
    }
    if asked.is_empty() { Ok(()) } else { Err(Expected::Conflict(Question::Fields(asked))) }
}

fn allowed<'f, 'v>(fields: impl Iterator<Item = &'f Field>, value: impl Fn(FieldTag) -> &'v Value) -> Result<(), Expected> {
    for field in fields {
        if let Some(problem) = values::problem(field, value(field.tag)) {
            return Err(Expected::Refused(Refusal::Field { field: field.tag, problem }));
        }
    }
    Ok(())
}
