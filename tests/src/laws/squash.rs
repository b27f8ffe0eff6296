//! Two pending changes of one row become one (O3).

use super::ground::{FIELDS, Story, UNITS, a_write, plain, row, table, value, with_layer};
use super::{Choices, Law, law};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use tombolo_client::protocol::change::{LostValue, Op};
use tombolo_client::protocol::ids::{FieldTag, Seq};
use tombolo_client::protocol::outbox::{Edit, Pending, SentBefore, squash};
use tombolo_client::protocol::row::Row;
use tombolo_client::protocol::value::Value;

pub(super) const LAWS: &[Law] = &[
    law("squash: three layers give the same whichever two are joined first", 48, associative),
    law("squash: each pair of operations becomes what the table of O3 says", 80, table_of_operations),
    law("squash: the newer value stands on the oldest base", 80, newest_value_on_oldest_base),
    law("squash: units that are back at their base leave an update, others stay", 80, set_back_leaves),
    law("squash: values that lost in decisions are all kept", 80, lost_values_are_kept),
    law("squash: a decision changes nothing of what it is joined with", 80, decisions_are_neutral),
];

fn edit(c: &mut Choices<'_>) -> Edit {
    Edit { value: value(c), base_value: Some(value(c)), base: Seq(1 + c.below(8) as u64) }
}

/// A change as an update records it: whole units, each with a base.
fn pending(c: &mut Choices<'_>, op: Op) -> Pending {
    let mut pending = Pending::new(op, Seq(1 + c.below(9) as u64), c.below(9) as i64);
    for unit in UNITS {
        if c.chance(60) && op != Op::Decide {
            pending.fields.extend(unit.iter().map(|field| (*field, edit(c))));
        }
    }
    pending.lost = lost(c);
    if op == Op::Decide && pending.lost.is_empty() {
        pending.lost.push(LostValue { field: FIELDS[0], value: Value::text("lost") });
    }
    pending.sent_before = c.pick(&[SentBefore::Never, SentBefore::Frozen, SentBefore::Acknowledged]);
    pending
}

fn lost(c: &mut Choices<'_>) -> Vec<LostValue> {
    if c.chance(30) { c.several(2, |c| LostValue { field: c.pick(&FIELDS), value: value(c) }) } else { Vec::new() }
}

fn any_op(c: &mut Choices<'_>) -> Op {
    c.pick(&[Op::Create, Op::Update, Op::Delete, Op::Restore, Op::Decide])
}

/// What a change does in the end to a row: what it is, and the values that differ.
fn effect(original: &Row, pending: Option<&Pending>) -> Option<(Op, Vec<(FieldTag, Value)>)> {
    let pending = pending?;
    let differs = |(field, edit): &(&FieldTag, &Edit)| original.value(**field) != &edit.value;
    let values = pending.fields.iter().filter(differs).map(|(field, edit)| (*field, edit.value.clone()));
    Some((pending.op, if pending.op == Op::Delete { Vec::new() } else { values.collect() }))
}

fn associative(c: &mut Choices<'_>) -> Result<()> {
    let original = row(c, 5);
    let mut ground = Story::new(plain(), Some(original.clone()));
    let mut layers = Vec::new();
    for _ in 0..8 {
        let what = a_write(c);
        if layers.len() < 3
            && ground.write(what).is_ok()
            && let Some(layer) = ground.entry.next.take()
        {
            // The next write is made on what is shown so far.
            ground.mirror = with_layer(ground.mirror.as_ref(), &layer);
            layers.push(Pending { sent_before: SentBefore::Frozen, ..layer });
        }
    }
    let [first, second, third] = layers.as_slice() else { return Ok(()) };
    let join = |older: Option<Pending>, newer: Option<Pending>| match older {
        Some(older) => squash(Some(plain()), older, newer),
        None => newer,
    };
    let (first, second, third) = (Some(first.clone()), Some(second.clone()), Some(third.clone()));
    let left = join(join(first.clone(), second.clone()), third.clone());
    let right = join(first.clone(), join(second.clone(), third.clone()));
    ensure!(
        effect(&original, left.as_ref()) == effect(&original, right.as_ref()),
        "{first:?} and {second:?} and {third:?} on {original:?}: {left:?} or {right:?}"
    );
    Ok(())
}

/// O3 as it is written down; update and create is a row that somebody brings back by making it again.
fn expected(older: Op, newer: Op, was_sent: bool) -> Option<Op> {
    match (older, newer) {
        (op, Op::Decide) | (Op::Decide, op) => Some(op),
        (Op::Create, Op::Create | Op::Update | Op::Restore) => Some(Op::Create),
        (Op::Create | Op::Restore, Op::Delete) => was_sent.then_some(Op::Delete),
        (Op::Update, Op::Update) => Some(Op::Update),
        (Op::Update | Op::Delete, Op::Delete) => Some(Op::Delete),
        (Op::Update | Op::Restore, Op::Create | Op::Restore) | (Op::Restore, Op::Update) => Some(Op::Restore),
        (Op::Delete, Op::Create | Op::Update | Op::Restore) => Some(if was_sent { Op::Restore } else { Op::Update }),
    }
}

fn table_of_operations(c: &mut Choices<'_>) -> Result<()> {
    let table = table(c);
    let (first, second) = (any_op(c), any_op(c));
    let mut older = pending(c, first);
    let mut newer = pending(c, second);
    (older.lost, newer.lost) = Default::default();
    let was_sent = older.sent_before != SentBefore::Never;
    let joined = squash(Some(table), older.clone(), Some(newer.clone()));
    let wanted = expected(first, second, was_sent);
    // An update that is back at its base in everything is none.
    let nothing_left = joined.is_none() && wanted == Some(Op::Update);
    let decided = wanted == Some(Op::Decide);
    ensure!(
        nothing_left || decided || joined.as_ref().map(|joined| joined.op) == wanted,
        "{older:?} and {newer:?}: {joined:?}, and not {wanted:?}"
    );
    let Some(joined) = joined else { return Ok(()) };
    let row_base = match (first, second) {
        (Op::Create, Op::Create | Op::Update | Op::Restore) | (_, Op::Decide) => older.row_base,
        (Op::Update, Op::Update) | (Op::Restore, Op::Update | Op::Create) if table.strict => older.row_base.min(newer.row_base),
        (Op::Update, Op::Update) | (Op::Restore, Op::Update | Op::Create) => older.row_base,
        (Op::Delete, Op::Delete) | (Op::Restore, Op::Restore) => older.row_base.max(newer.row_base),
        _ => newer.row_base,
    };
    ensure!(joined.row_base == row_base, "{older:?} and {newer:?}: row base {} and not {row_base}", joined.row_base);
    ensure!(joined.sent_before == older.sent_before.max(newer.sent_before), "what was sent is forgotten: {joined:?}");
    if joined.op == Op::Delete {
        let swallowed = older.fields.keys().chain(newer.fields.keys()).all(|field| joined.fields.contains_key(field));
        ensure!(swallowed, "{older:?} and {newer:?}: the delete forgets what it swallowed: {joined:?}");
    }
    Ok(())
}

fn newest_value_on_oldest_base(c: &mut Choices<'_>) -> Result<()> {
    let op = c.pick(&[Op::Update, Op::Update, Op::Restore]);
    let (older, newer) = (pending(c, Op::Update), pending(c, op));
    let Some(joined) = squash(Some(plain()), older.clone(), Some(newer.clone())) else { return Ok(()) };
    for (field, edit) in &joined.fields {
        let layers: Vec<&Edit> = [older.fields.get(field), newer.fields.get(field)].into_iter().flatten().collect();
        let (first, last) = layers.first().zip(layers.last()).context("a field that nobody touched")?;
        ensure!(
            edit.value == last.value
                && edit.base_value == first.base_value
                && Some(edit.base) == layers.iter().map(|edit| edit.base).min(),
            "{field}: {layers:?} became {edit:?}"
        );
    }
    Ok(())
}

fn set_back_leaves(c: &mut Choices<'_>) -> Result<()> {
    let (older, newer) = (pending(c, Op::Update), pending(c, Op::Update));
    let joined = squash(Some(plain()), older.clone(), Some(newer.clone()));
    let fields: BTreeMap<_, _> = joined.iter().flat_map(|joined| &joined.fields).collect();
    for unit in UNITS {
        let now = |field| newer.fields.get(field).or(older.fields.get(field)).map(|edit| &edit.value);
        let before = |field| older.fields.get(field).or(newer.fields.get(field)).and_then(|edit| edit.base_value.as_ref());
        let is_changed = unit.iter().any(|field| now(field) != before(field));
        let is_there = unit.iter().any(|field| fields.contains_key(field));
        ensure!(is_changed == is_there, "{unit:?} of {older:?} and {newer:?}: {joined:?}");
    }
    Ok(())
}

fn lost_values_are_kept(c: &mut Choices<'_>) -> Result<()> {
    let (first, second) = (any_op(c), any_op(c));
    let (older, newer) = (pending(c, first), pending(c, second));
    let joined = squash(Some(plain()), older.clone(), Some(newer.clone()));
    let kept = joined.map(|joined| joined.lost).unwrap_or_default();
    let all = [older.lost.clone(), newer.lost.clone()].concat();
    ensure!(kept == all, "{older:?} and {newer:?} keep of {all:?} only {kept:?}");
    Ok(())
}

fn decisions_are_neutral(c: &mut Choices<'_>) -> Result<()> {
    let op = any_op(c);
    let (change, decision) = (pending(c, op), pending(c, Op::Decide));
    for (older, newer) in [(&change, &decision), (&decision, &change)] {
        let joined = squash(Some(plain()), older.clone(), Some(newer.clone())).context("a decision made it nothing")?;
        ensure!(joined.op == op && joined.fields == change.fields, "{older:?} and {newer:?}: {joined:?}");
        ensure!(op == Op::Decide || joined.row_base == change.row_base, "{older:?} and {newer:?}: {joined:?}");
    }
    Ok(())
}
