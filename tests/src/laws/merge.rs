//! The three-way comparison, and the verdict of a change against its row (section 4).

use super::ground::{DOSE, FIELDS, NAME, UNIT, UNITS, key, plain, row, strict, value};
use super::{Choices, Law, law};
use anyhow::{Result, ensure};
use std::collections::BTreeMap;
use tombolo_client::protocol::admit::{Decision, Facts, admit};
use tombolo_client::protocol::change::{Change, Effect, FieldChange, Op, Verdict};
use tombolo_client::protocol::ids::{FieldTag, Seq};
use tombolo_client::protocol::merge::{Touch, UnitOutcome, merge_units};
use tombolo_client::protocol::outbox::{Edit, Pending, conflict};
use tombolo_client::protocol::row::{Life, Row, Stamped};
use tombolo_client::protocol::value::Value;

pub(super) const LAWS: &[Law] = &[
    law("merge: whoever comes second is asked the same question", 64, symmetric),
    law("merge: equal values agree, however old the base is", 64, equal_values_agree),
    law("merge: what the server did not change since the base is mine", 64, unmoved_is_mine),
    law("merge: what was set back to the base is mine where base values are known", 64, set_back_is_mine),
    law("merge: both changed, differently, is a conflict", 64, both_changed_is_a_conflict),
    law("merge: a group is compared as one field with a tuple in it", 64, groups_are_tuples),
    law("merge: the order in which fields were touched says nothing", 64, order_says_nothing),
    law("merge: a question of the client is one of the server too", 64, client_is_never_stricter),
    law("merge: fields that a change does not touch never move", 96, untouched_fields_never_move),
    law("merge: a strict row asks about every newer change unless all is equal", 96, strict_rows),
    law("merge: a delete of what moved is asked, of what is gone agreed", 96, deletes),
];

const BASE: Seq = Seq(10);

type Values = BTreeMap<FieldTag, Value>;

/// A row that both have seen at [`BASE`].
fn common(c: &mut Choices<'_>) -> Row {
    row(c, BASE.0)
}

/// An edit of one unit as a client records it: all members, at least one of them changed.
fn edit_of(c: &mut Choices<'_>, unit: &[FieldTag], base: &Row) -> Option<Values> {
    let values: Values = unit.iter().map(|field| (*field, value(c))).collect();
    values.iter().any(|(field, value)| base.value(*field) != value).then_some(values)
}

/// The row after somebody's edit was accepted.
fn after(base: &Row, values: &Values, seq: Seq) -> Row {
    let mut server = base.clone();
    for (field, value) in values {
        if server.value(*field) != value {
            server.fields.insert(*field, Stamped { value: value.clone(), stamp: seq });
            server.seq = seq;
        }
    }
    server
}

fn touches<'a>(mine: &'a Values, base: &'a Row, with_base_values: bool) -> Vec<Touch<'a>> {
    let touch = |(field, value): (&FieldTag, &'a Value)| Touch {
        field: *field,
        mine: value,
        base_value: with_base_values.then(|| base.value(*field)),
        base: BASE,
    };
    mine.iter().map(touch).collect()
}

fn outcome(server: &Row, mine: &Values, base: &Row, with_base_values: bool) -> UnitOutcome {
    merge_units(plain(), server, &touches(mine, base, with_base_values))[0].outcome
}

fn symmetric(c: &mut Choices<'_>) -> Result<()> {
    let (base, with_base_values) = (common(c), c.chance(50));
    let unit = c.pick(&UNITS);
    let (Some(one), Some(other)) = (edit_of(c, unit, &base), edit_of(c, unit, &base)) else { return Ok(()) };
    let second = outcome(&after(&base, &one, Seq(15)), &other, &base, with_base_values);
    let turned = outcome(&after(&base, &other, Seq(15)), &one, &base, with_base_values);
    ensure!(second == turned, "{one:?} and {other:?} on {base:?}: {second:?}, the other way {turned:?}");
    Ok(())
}

fn equal_values_agree(c: &mut Choices<'_>) -> Result<()> {
    let server = row(c, 30);
    let unit = c.pick(&UNITS);
    let mine: Values = unit.iter().map(|field| (*field, server.value(*field).clone())).collect();
    let base = row(c, 30);
    let found = outcome(&server, &mine, &base, c.chance(50));
    ensure!(found == UnitOutcome::Agreed, "{mine:?} on {server:?}: {found:?}");
    Ok(())
}

fn unmoved_is_mine(c: &mut Choices<'_>) -> Result<()> {
    let base = common(c);
    let unit = c.pick(&UNITS);
    let Some(mine) = edit_of(c, unit, &base) else { return Ok(()) };
    let mut server = base.clone();
    for other in FIELDS.iter().filter(|field| !unit.contains(field)) {
        server.fields.insert(*other, Stamped { value: value(c), stamp: Seq(20) });
    }
    let found = outcome(&server, &mine, &base, c.chance(50));
    ensure!(found == UnitOutcome::Mine, "{mine:?} on {server:?}, nothing of it moved: {found:?}");
    Ok(())
}

fn set_back_is_mine(c: &mut Choices<'_>) -> Result<()> {
    let base = common(c);
    let unit = c.pick(&UNITS);
    let Some(mine) = edit_of(c, unit, &base) else { return Ok(()) };
    let mut server = base.clone();
    for field in unit {
        server.fields.insert(*field, Stamped { value: base.value(*field).clone(), stamp: Seq(20) });
    }
    let (known, blind) = (outcome(&server, &mine, &base, true), outcome(&server, &mine, &base, false));
    ensure!(known == UnitOutcome::Mine, "{mine:?} on {server:?}: {known:?}");
    ensure!(blind == UnitOutcome::Conflict, "{mine:?} on {server:?}, by stamps alone: {blind:?}");
    Ok(())
}

fn both_changed_is_a_conflict(c: &mut Choices<'_>) -> Result<()> {
    let (base, with_base_values) = (common(c), c.chance(50));
    let unit = c.pick(&UNITS);
    let (Some(one), Some(other)) = (edit_of(c, unit, &base), edit_of(c, unit, &base)) else { return Ok(()) };
    let found = outcome(&after(&base, &one, Seq(15)), &other, &base, with_base_values);
    let wanted = if one == other { UnitOutcome::Agreed } else { UnitOutcome::Conflict };
    ensure!(found == wanted, "{other:?} behind {one:?} on {base:?}: {found:?}");
    Ok(())
}

/// The dosage of a row as one value in the field `NAME`.
fn tuple(dose: &Value, unit: &Value) -> Value {
    Value::text(&format!("{dose:?} {unit:?}"))
}

fn groups_are_tuples(c: &mut Choices<'_>) -> Result<()> {
    let (server, mine, base) = (row(c, 30), (value(c), value(c)), (value(c), value(c)));
    let seen = Seq(c.below(30) as u64);
    let with_base_values = c.chance(50);
    let touch =
        |field, mine, base_value| Touch { field, mine, base_value: Some(base_value).filter(|_| with_base_values), base: seen };
    let in_group = [touch(DOSE, &mine.0, &base.0), touch(UNIT, &mine.1, &base.1)];
    let as_group = merge_units(plain(), &server, &in_group)[0].outcome;
    let mut whole = server.clone();
    let stamp = server.stamp(DOSE).max(server.stamp(UNIT));
    whole.fields.insert(NAME, Stamped { value: tuple(server.value(DOSE), server.value(UNIT)), stamp });
    let (mine, base) = (tuple(&mine.0, &mine.1), tuple(&base.0, &base.1));
    let as_one = merge_units(plain(), &whole, &[touch(NAME, &mine, &base)])[0].outcome;
    ensure!(as_group == as_one, "{mine:?} on {base:?} at {seen}, {server:?}: {as_group:?}, as one field {as_one:?}");
    Ok(())
}

fn order_says_nothing(c: &mut Choices<'_>) -> Result<()> {
    let (server, base) = (row(c, 30), row(c, 10));
    let mine: Values = FIELDS.iter().map(|field| (*field, value(c))).collect();
    let mut touched = touches(&mine, &base, c.chance(50));
    touched.truncate(1 + c.below(4));
    for touch in &mut touched {
        touch.base = Seq(c.below(30) as u64);
    }
    let outcomes = |touched: &[Touch<'_>]| -> BTreeMap<FieldTag, UnitOutcome> {
        let units = merge_units(plain(), &server, touched);
        units.into_iter().flat_map(|unit| unit.touched.into_iter().map(move |field| (field, unit.outcome))).collect()
    };
    let straight = outcomes(&touched);
    let turns = c.below(touched.len());
    touched.rotate_left(turns);
    if c.chance(50) {
        touched.reverse();
    }
    ensure!(straight == outcomes(&touched), "{touched:?} on {server:?} says another thing in another order");
    ensure!(straight.len() == touched.len(), "fields are missing: {straight:?}");
    Ok(())
}

fn client_is_never_stricter(c: &mut Choices<'_>) -> Result<()> {
    let (server, base) = (row(c, 30), row(c, 10));
    let unit = c.pick(&UNITS);
    let Some(mine) = edit_of(c, unit, &base) else { return Ok(()) };
    let (client, by_stamps) = (outcome(&server, &mine, &base, true), outcome(&server, &mine, &base, false));
    ensure!(
        client != UnitOutcome::Conflict || by_stamps == UnitOutcome::Conflict,
        "{mine:?} on {server:?}: the client asks, the server says {by_stamps:?}"
    );
    Ok(())
}

/// A change with the values of some fields, all members of a group together.
fn a_change(c: &mut Choices<'_>, op: Op) -> Change {
    let base = Seq(c.below(30) as u64);
    let mut fields = Vec::new();
    for unit in UNITS {
        if c.chance(60) {
            fields.extend(unit.iter().map(|field| FieldChange { field: *field, value: value(c), base }));
        }
    }
    if op == Op::Delete {
        fields.clear();
    }
    let row_base = Seq(c.below(30) as u64);
    Change { key: key(), op, row_base, view_base: base, fields, lost: Vec::new(), group: None, edited_at_ms: 0 }
}

fn decided(server: &Row, change: &Change, is_strict: bool) -> Decision {
    let facts = Facts {
        table: if is_strict { strict() } else { plain() },
        row: Some(server),
        visible: true,
        may_write: true,
        may_write_scope: &|_| true,
        initial: &BTreeMap::new(),
    };
    admit(&facts, change)
}

fn untouched_fields_never_move(c: &mut Choices<'_>) -> Result<()> {
    let mut server = row(c, 30);
    server.life = c.pick(&[Life::Live, Life::Live, Life::Deleted]);
    let op = c.pick(&[Op::Update, Op::Restore]);
    let (change, is_strict) = (a_change(c, op), c.chance(30));
    let Decision::Stands { effect: Some(Effect { fields, op, .. }), .. } = decided(&server, &change, is_strict) else {
        return Ok(());
    };
    for (field, value) in &fields {
        let touched = change.fields.iter().find(|touched| touched.field == *field);
        ensure!(touched.is_some_and(|touched| touched.value == *value), "{change:?} on {server:?} writes {field}: {value:?}");
        ensure!(server.value(*field) != value, "{change:?} on {server:?} stamps {field}, which it does not change");
    }
    let all = change.fields.iter().all(|touched| {
        server.value(touched.field) == &touched.value || fields.iter().any(|(field, _)| *field == touched.field)
    });
    ensure!(all, "{change:?} on {server:?} writes only {fields:?}");
    ensure!(server.is_live() || op == Op::Restore, "{change:?} brings {server:?} back by {op:?}");
    if !is_strict {
        let unseen = fields.iter().find(|(field, _)| {
            let base = change.fields.iter().find(|touched| touched.field == *field).map(|touched| touched.base);
            base.is_none_or(|base| server.stamp(*field) > base)
        });
        ensure!(unseen.is_none(), "{change:?} overwrites {unseen:?} of {server:?}, which is newer than its base");
    }
    Ok(())
}

fn strict_rows(c: &mut Choices<'_>) -> Result<()> {
    let (server, change) = (row(c, 30), a_change(c, Op::Update));
    let equal = change.fields.iter().all(|touched| server.value(touched.field) == &touched.value);
    let newer = server.seq > change.row_base;
    let decision = decided(&server, &change, true);
    let is_right = match &decision {
        Decision::Verdict(Verdict::Agreed) => equal,
        Decision::Verdict(Verdict::Conflict) => !equal && newer,
        Decision::Stands { .. } => !equal && !newer,
        Decision::Verdict(_) => false,
    };
    ensure!(is_right, "{change:?} on {server:?}: {decision:?}");
    let mut pending = Pending::new(Op::Update, change.row_base, 0);
    for FieldChange { field, value, base } in change.fields.clone() {
        pending.fields.insert(field, Edit { value, base_value: None, base });
    }
    let asks = conflict(strict(), &pending, Some(&server)).is_some();
    ensure!(asks == (!equal && newer), "{pending:?} on {server:?}: the client asks: {asks}");
    Ok(())
}

fn deletes(c: &mut Choices<'_>) -> Result<()> {
    let (mut server, change) = (row(c, 30), a_change(c, Op::Delete));
    server.life = c.pick(&[Life::Live, Life::Deleted, Life::Purged]);
    let decision = decided(&server, &change, c.chance(30));
    let is_right = match &decision {
        Decision::Verdict(Verdict::Agreed) => !server.is_live(),
        Decision::Verdict(Verdict::Conflict) => server.is_live() && server.seq > change.row_base,
        Decision::Stands { effect: Some(effect), .. } => {
            server.is_live() && server.seq <= change.row_base && effect.op == Op::Delete && effect.fields.is_empty()
        }
        Decision::Stands { .. } | Decision::Verdict(_) => false,
    };
    ensure!(is_right, "{change:?} on {server:?}: {decision:?}");
    Ok(())
}
