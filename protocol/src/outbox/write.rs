//! Local writes on an entry (O2, O3): the base is what was displayed.

use super::conflict::update_update;
use super::{Edit, Entry, Pending, SentBefore, Settled, conflict, squash};
use crate::change::Op;
use crate::ids::{FieldTag, Generation, Seq};
use crate::planted::{Planted, planted};
use crate::row::{Life, Row};
use crate::schema::Table;
use crate::value::Value;
use std::collections::BTreeMap;
use thiserror::Error;

/// What a person saw of a row: reads return it, writes give it back (O2).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Seen {
    /// The history that it was seen in: the store counts its divergences, and seqs of one history say nothing in another (H3).
    pub history: u32,
    /// The mirror row's seq; zero where the mirror did not hold the row.
    pub seq: Seq,
    /// The entry's generation; zero where there was no entry.
    pub generation: Generation,
    /// The values that were shown, where the reader kept them: they make a moved field comparable by value.
    pub values: Option<BTreeMap<FieldTag, Value>>,
}

impl Seen {
    /// What the view is worth in a history: one of another history has seen nothing of this one but the values that it keeps.
    pub fn within(self, history: u32) -> Self {
        if self.history == history { self } else { Self { history, values: self.values, ..Self::default() } }
    }

    /// What is seen where a row is shown under its pending changes: the values that are shown, pending ones included. `row` is the
    /// mirror's, or what an entry kept of it.
    ///
    /// Where the server's side of a field moved under an edit, the edit hides it: the view has seen nothing of the row from behind
    /// the edit's base.
    pub fn of(history: u32, row: Option<&Row>, entry: Option<&Entry>) -> Self {
        let mut seq = Seq(0);
        // Under a create nothing of the row is shown.
        let is_new = entry.is_some_and(|entry| entry.layers().any(|layer| layer.op == Op::Create));
        if let Some(row) = row.filter(|_| !is_new) {
            seq = row.seq;
            for (field, edit) in entry.into_iter().flat_map(Entry::layers).flat_map(|layer| &layer.fields) {
                let there = row.value(*field);
                let is_known = *there == edit.value || edit.base_value.as_ref() == Some(there);
                if row.stamp(*field) > edit.base && !is_known {
                    seq = seq.min(edit.base);
                }
            }
        }
        let values = shown(row, entry).or_else(|| row.map(values_of)).unwrap_or_default();
        Self { history, seq, generation: entry.map(|entry| entry.generation).unwrap_or_default(), values: Some(values) }
    }
}

/// `seq.generation.history` in one word; what is zero at the end is left out.
impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.generation, self.history) {
            (Generation(0), 0) => write!(f, "{}", self.seq),
            (generation, 0) => write!(f, "{}.{generation}", self.seq),
            (generation, history) => write!(f, "{}.{generation}.{history}", self.seq),
        }
    }
}

impl std::str::FromStr for Seen {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.splitn(3, '.');
        let mut next = || parts.next().unwrap_or("0");
        let (seq, generation, history) = (next().parse()?, next().parse()?, next().parse()?);
        Ok(Self { history, seq: Seq(seq), generation: Generation(generation), values: None })
    }
}

/// A local write of one row.
#[derive(Clone, PartialEq, Debug)]
pub enum Write {
    /// Makes the row.
    Create(BTreeMap<FieldTag, Value>),
    /// Sets fields.
    Update(BTreeMap<FieldTag, Value>),
    /// Deletes the row.
    Delete,
    /// Brings the deleted row back.
    Restore,
}

/// Why a local write is not possible.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum WriteError {
    /// An update or a delete of nothing.
    #[error("there is no such row on this device")]
    NoSuchRow,
    /// An update or a delete of a deleted row.
    #[error("this row is deleted; restore it first")]
    Deleted,
    /// A create or a restore of a row that is there.
    #[error("a row with this id is there already")]
    Exists,
    /// A restore where the values are gone.
    #[error("the values of this row were purged; create a new row instead")]
    Purged,
}

/// The row as it is shown: mirror overlaid with outbox. `None` where it is not there.
pub fn shown(mirror: Option<&Row>, entry: Option<&Entry>) -> Option<BTreeMap<FieldTag, Value>> {
    let base = known(mirror, entry);
    let mut alive = mirror.map_or(base.is_some(), Row::is_live);
    let mut values = base.map(values_of).unwrap_or_default();
    for layer in entry.into_iter().flat_map(Entry::layers) {
        match layer.op {
            Op::Decide => continue,
            Op::Delete => {
                alive = false;
                continue;
            }
            // It says everything of its row: nothing of an earlier life shows through, nor of a row that others made.
            Op::Create => {
                alive = true;
                values.clear();
            }
            // An edit of a row that others deleted stays visible until a person decides.
            Op::Restore | Op::Update => alive = true,
        }
        values.extend(layer.fields.iter().map(|(field, edit)| (*field, edit.value.clone())));
    }
    alive.then_some(values)
}

fn values_of(row: &Row) -> BTreeMap<FieldTag, Value> {
    row.fields.iter().map(|(field, stamped)| (*field, stamped.value.clone())).collect()
}

/// A value that may be missing.
fn of<'v>(values: &'v BTreeMap<FieldTag, Value>, field: &FieldTag) -> &'v Value {
    values.get(field).unwrap_or(&Value::Null)
}

/// The confirmed row under what is pending, as far as it is known: of one that was purged, or left the mirror, only the entry still
/// has the values.
fn known<'r>(mirror: Option<&'r Row>, entry: Option<&'r Entry>) -> Option<&'r Row> {
    mirror.filter(|row| row.life != Life::Purged).or_else(|| entry?.kept.as_ref())
}

/// What surrounds a local write.
struct Ground<'a> {
    table: &'a Table,
    mirror: Option<&'a Row>,
    seen: Option<&'a Seen>,
    settled: &'a [Settled],
    now_ms: i64,
}

/// Adds a local write to an entry. `seen` is what the person saw; without it, the mirror of the moment. `settled` are
/// the newest confirmations of the row's pending changes, oldest first, so that a view of those is not taken for an old one (T41).
/// A view may have shown two at once: what was in flight, and what came next.
///
/// # Errors
/// [`WriteError`] when the row is not in a state for it; the entry is as before.
pub fn write(
    table: &Table,
    entry: &mut Entry,
    mirror: Option<&Row>,
    write: Write,
    seen: Option<&Seen>,
    settled: &[Settled],
    now_ms: i64,
) -> Result<(), WriteError> {
    let seen = seen.filter(|_| !planted(Planted::BaseOfTheMoment));
    let settled = if planted(Planted::ViewOfPendingForgotten) { &[] } else { settled };
    let ground = Ground { table, mirror, seen, settled, now_ms };
    let displayed = shown(mirror, Some(entry));
    let known = mirror.is_some() || entry.kept.is_some() || !entry.is_empty();
    let missing = if known { WriteError::Deleted } else { WriteError::NoSuchRow };
    match write {
        Write::Create(_) if displayed.is_some() => return Err(WriteError::Exists),
        Write::Create(fields) => create(&ground, entry, fields),
        Write::Update(fields) => update(&ground, entry, &displayed.ok_or(missing)?, fields),
        Write::Delete => {
            displayed.ok_or(missing)?;
            delete(&ground, entry);
        }
        Write::Restore if displayed.is_some() => return Err(WriteError::Exists),
        Write::Restore => restore(&ground, entry)?,
    }
    Ok(())
}

fn create(ground: &Ground<'_>, entry: &mut Entry, fields: BTreeMap<FieldTag, Value>) {
    // On a row that was there, a create says of every field that the app knows what it is now, and nothing of others (T21).
    let of_all = || {
        let value = |field: FieldTag| fields.get(&field).cloned().unwrap_or_default();
        ground.table.fields.iter().map(|field| (field.tag, value(field.tag))).collect::<BTreeMap<_, _>>()
    };
    match &entry.next {
        // Delete and create again: an update of the fields that the app knows (O3).
        Some(pending) if pending.op == Op::Delete => {
            undelete(ground, entry);
            let displayed = shown(ground.mirror, Some(entry)).unwrap_or_default();
            update(ground, entry, &displayed, of_all());
        }
        // The row is a tombstone here: creating it again restores it with these values.
        _ if ground.mirror.is_some_and(|row| row.life == Life::Deleted) || entry.sent.is_some() => {
            let mut pending = Pending::new(Op::Restore, row_base(ground, entry), ground.now_ms);
            pending.fields = of_all()
                .into_iter()
                .map(|(field, value)| {
                    let (base_value, base) = base_of(ground, entry, field);
                    (field, Edit { value, base_value, base })
                })
                .collect();
            add(ground, entry, pending);
        }
        _ => {
            let mut pending = Pending::new(Op::Create, Seq(0), ground.now_ms);
            pending.fields = fields
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(field, value)| (field, Edit { value, base_value: None, base: Seq(0) }))
                .collect();
            add(ground, entry, pending);
        }
    }
}

/// Begins a change where the row is not shown. A decision that is not sent yet goes with it, and the values that lost in it.
fn add(ground: &Ground<'_>, entry: &mut Entry, pending: Pending) {
    entry.next = match entry.next.take() {
        Some(decision) => squash(Some(ground.table), decision, Some(pending)),
        None => Some(pending),
    };
}

fn update(ground: &Ground<'_>, entry: &mut Entry, displayed: &BTreeMap<FieldTag, Value>, fields: BTreeMap<FieldTag, Value>) {
    let mut pending = match entry.next.take() {
        Some(pending) => pending,
        None => Pending::new(Op::Update, row_base(ground, entry), ground.now_ms),
    };
    if pending.op == Op::Decide {
        pending.op = Op::Update;
        pending.row_base = row_base(ground, entry);
    }
    strict_row_agrees(ground, entry, &mut pending);
    let touched: Vec<FieldTag> = fields.keys().copied().collect();
    let seen = ground.seen.and_then(|seen| seen.values.as_ref());
    for (field, value) in &fields {
        let unchanged = of(displayed, field) == value;
        // Beside a member that moved since, the same value is another pair than the one that stands there.
        let stays = |member: &FieldTag| seen.is_none_or(|seen| of(seen, member) == of(displayed, member));
        let beside = ground.table.unit(field).iter().filter(|member| *member != field && !fields.contains_key(*member));
        if unchanged && !pending.fields.contains_key(field) && beside.into_iter().all(stays) {
            continue;
        }
        if pending.op == Op::Create {
            set_in_create(ground.table, &mut pending, *field, &fields, seen);
        } else {
            set_field(ground, entry, &mut pending, displayed, *field, &fields);
        }
        pending.edited_at_ms = ground.now_ms;
        pending.review = None;
        pending.rounds = 0;
    }
    forget_set_back(ground.table, &mut pending, entry.sent.as_ref().map(|sent| &sent.pending), &touched);
    if pending.op != Op::Create {
        stand_on_older_view(ground, entry, &mut pending, &touched);
    }
    entry.next = pending.tidied();
}

/// Of a strict row that others brought to all that is pending there is nothing to ask (C3), nor of what is written over it by who
/// was shown that.
fn strict_row_agrees(ground: &Ground<'_>, entry: &Entry, pending: &mut Pending) {
    let Some(row) = ground.mirror.filter(|_| ground.table.strict && entry.sent.is_none()) else { return };
    let agrees = pending.fields.iter().all(|(field, edit)| row.value(*field) == &edit.value);
    if pending.op == Op::Update && agrees {
        pending.row_base = pending.row_base.max(row_base(ground, entry));
    }
}

/// Sets a field of a new row; the other members of its group are what the person saw beside it.
fn set_in_create(
    table: &Table,
    pending: &mut Pending,
    field: FieldTag,
    written: &BTreeMap<FieldTag, Value>,
    seen: Option<&BTreeMap<FieldTag, Value>>,
) {
    for member in table.unit(&field) {
        match written.get(member).or(seen.map(|seen| of(seen, member))) {
            Some(Value::Null) => drop(pending.fields.remove(member)),
            Some(value) => drop(pending.fields.insert(*member, Edit { value: value.clone(), base_value: None, base: Seq(0) })),
            None => {}
        }
    }
}

/// Sets a field; touching one member of a group records value, base value and base of all (C2). Members that are not written are
/// what the person saw beside it, also where they are something else by now, here or at the server.
fn set_field(
    ground: &Ground<'_>,
    entry: &Entry,
    pending: &mut Pending,
    displayed: &BTreeMap<FieldTag, Value>,
    field: FieldTag,
    written: &BTreeMap<FieldTag, Value>,
) {
    let unit = ground.table.unit(&field);
    let seen = ground.seen.and_then(|seen| seen.values.as_ref());
    let wanted = |member: &FieldTag| written.get(member).or(seen.map(|seen| of(seen, member)));
    let is_new = |(member, edit): (&FieldTag, &Edit)| wanted(member).is_some_and(|value| *value != edit.value);
    if unit.iter().filter_map(|member| pending.fields.get_key_value(member)).any(is_new) {
        write_over_agreed(ground, entry, pending, unit);
    }
    for member in unit {
        let wanted = wanted(member);
        if !pending.fields.contains_key(member) || planted(Planted::NewestBase) {
            let (base_value, base) = base_of(ground, entry, *member);
            let value = wanted.or(base_value.as_ref()).or(displayed.get(member)).cloned().unwrap_or_default();
            pending.fields.insert(*member, Edit { value, base_value, base });
        } else if let (Some(edit), Some(wanted)) = (pending.fields.get_mut(member), wanted) {
            edit.value = wanted.clone();
        }
    }
}

/// What a person writes over a pending unit that the server agrees with by now, they write over both, where the view showed it.
/// A server that has not moved since what is in flight agrees with nothing that came behind that.
fn write_over_agreed(ground: &Ground<'_>, entry: &Entry, pending: &mut Pending, unit: &[FieldTag]) {
    let Some(row) = known(ground.mirror, Some(entry)) else { return };
    let in_flight = |member: &FieldTag| entry.sent.as_ref().and_then(|sent| sent.pending.fields.get(member));
    let moved = |member: &FieldTag| in_flight(member).is_none_or(|edit| row.stamp(*member) > edit.base);
    if !unit.iter().any(moved) {
        return;
    }
    let is_shown =
        |seen: &Seen| seen.values.as_ref().is_some_and(|values| unit.iter().all(|it| of(values, it) == row.value(*it)));
    let is_old = |seen: &Seen| {
        let has_moved = unit.iter().any(|member| row.stamp(*member) > seen.seq);
        seen.generation != entry.generation && has_moved && !is_shown(seen)
    };
    if !ground.seen.is_some_and(is_old) {
        base_on_agreed(pending, unit, |member| (row.value(member), row.stamp(member)));
    }
}

/// Where somebody else has brought the very values of a pending unit to the server, there is one value that is both: that is the
/// base of what is written over it. On the older one a unit that is set back would leave the outbox, and the values would show
/// again that a person has replaced.
pub(super) fn base_on_agreed<'v>(pending: &mut Pending, unit: &[FieldTag], server: impl Fn(FieldTag) -> (&'v Value, Seq)) {
    let agrees = |member: &FieldTag| pending.fields.get(member).is_some_and(|edit| edit.value == *server(*member).0);
    if planted(Planted::AgreedSetBack) || !unit.iter().all(agrees) {
        return;
    }
    for member in unit {
        if let Some(edit) = pending.fields.get_mut(member) {
            edit.base_value = Some(edit.value.clone());
            edit.base = edit.base.max(server(*member).1);
        }
    }
}

/// Units that are back at their base leave an update (O2), once all fields of a write are set: a member that is back before
/// another moves is still written. A restore keeps them: it may come behind a delete that swallowed another value. So does an
/// update where another value is in flight, which would show again.
fn forget_set_back(table: &Table, pending: &mut Pending, sent: Option<&Pending>, touched: &[FieldTag]) {
    if pending.op != Op::Update {
        return;
    }
    for field in touched {
        let unit = table.unit(field);
        let at_base = |(member, edit): (&FieldTag, &Edit)| {
            let of_sent = |sent: &Pending| match sent.fields.get(member) {
                Some(in_flight) => in_flight.value == edit.value,
                None => sent.op != Op::Create || edit.value.is_null(),
            };
            edit.base_value.as_ref() == Some(&edit.value) && sent.is_none_or(of_sent)
        };
        if unit.iter().all(|member| pending.fields.get_key_value(member).is_none_or(at_base)) {
            unit.iter().for_each(|member| {
                pending.fields.remove(member);
            });
        }
    }
}

/// Base value and base of a field that is touched for the first time: what is in flight, else what the person saw, else the
/// mirror of the moment. A view without values tells only how old it is: of a field that moved since, nobody knows the value
/// that was seen, and the present one is never taken for it.
fn base_of(ground: &Ground<'_>, entry: &Entry, field: FieldTag) -> (Option<Value>, Seq) {
    if let Some(sent) = &entry.sent {
        if let Some(edit) = sent.pending.fields.get(&field) {
            return (Some(edit.value.clone()), edit.base);
        }
        if sent.pending.op == Op::Create {
            return (Some(Value::Null), Seq(0));
        }
    }
    if let Some((value, seq)) = settled_view(ground).rev().find_map(|settled| settled.field(field)) {
        return (Some(value), seq);
    }
    let row = known(ground.mirror, Some(entry)).or(ground.mirror);
    let seq = seen_seq(ground, row);
    let shown = ground.seen.and_then(|seen| seen.values.as_ref());
    let base_value = match shown {
        Some(values) => Some(of(values, &field).clone()),
        None => row.filter(|row| row.stamp(field) <= seq).map(|row| row.value(field).clone()),
    };
    (base_value, seq)
}

/// The confirmations of what the view showed as pending, as far as they came since; oldest first.
fn settled_view<'a>(ground: &Ground<'a>) -> impl DoubleEndedIterator<Item = &'a Settled> {
    let (seen, confirmations) = (ground.seen, ground.settled);
    confirmations.iter().filter(move |settled| {
        seen.is_some_and(|seen| {
            (settled.generation <= seen.generation || planted(Planted::GenerationIgnored)) && settled.seq > seen.seq
        })
    })
}

/// The row's seq that the person saw: never newer than the mirror's, since no view of this history is.
fn seen_seq(ground: &Ground<'_>, row: Option<&Row>) -> Seq {
    let of_mirror = row.map_or(Seq(0), |row| row.seq);
    ground.seen.map_or(of_mirror, |seen| seen.seq.min(of_mirror))
}

fn row_base(ground: &Ground<'_>, entry: &Entry) -> Seq {
    let seen = seen_seq(ground, ground.mirror.or(entry.kept.as_ref()));
    settled_view(ground).fold(seen, |base, settled| settled.row_base(base))
}

/// Each edit of a pending change asks about what changed behind the view that it was made in, be it older than that of the edits
/// before (O3): of the row in a strict table (C3), of the units that it touches in others.
fn stand_on_older_view(ground: &Ground<'_>, entry: &Entry, pending: &mut Pending, touched: &[FieldTag]) {
    let is_left = touched.iter().any(|field| pending.fields.contains_key(field));
    if let Some(seen) = strict_base(ground, entry).filter(|_| is_left) {
        pending.row_base = pending.row_base.min(seen);
    }
    let is_old = ground.seen.is_some_and(|seen| seen.generation != entry.generation);
    if !is_old || planted(Planted::OlderViewIgnored) {
        return;
    }
    for unit in touched.iter().map(|field| ground.table.unit(field)) {
        let mut is_older = false;
        for member in unit {
            let (base_value, base) = base_of(ground, entry, *member);
            if let Some(edit) = pending.fields.get_mut(member).filter(|edit| base < edit.base) {
                (edit.base_value, edit.base) = (base_value, base);
                is_older = true;
            }
        }
        // What is written as the view showed it is an edit where it replaces a newer one, and not to be taken for none later.
        let is_base = |edit: &Edit| edit.base_value.as_ref() == Some(&edit.value);
        if is_older && unit.iter().filter_map(|member| pending.fields.get(member)).all(is_base) {
            pending.fields.iter_mut().filter(|(field, _)| unit.contains(field)).for_each(|(_, edit)| edit.base_value = None);
        }
    }
}

/// What the view is worth for a row of a strict table. One that was only deleted and brought back since holds nothing that the view
/// did not show.
fn strict_base(ground: &Ground<'_>, entry: &Entry) -> Option<Seq> {
    let row = ground.mirror.or(entry.kept.as_ref()).filter(|_| ground.table.strict)?;
    let seen = row_base(ground, entry);
    row.fields.values().any(|field| field.stamp > seen).then_some(seen)
}

fn delete(ground: &Ground<'_>, entry: &mut Entry) {
    // What is in conflict hides what it conflicts with, also where it is in flight, or the row left the mirror: the person has
    // not seen that (O4). A clash with another row hides nothing of this one.
    let row = ground.mirror.or(entry.kept.as_ref());
    let seen_at = |pending: &Pending| {
        let alone = Pending { review: None, ..pending.clone() };
        conflict(ground.table, &alone, row).map(|_| oldest_base(pending))
    };
    let shown = row_base(ground, entry);
    let seen = entry.sent.as_ref().and_then(|sent| seen_at(&sent.pending)).map_or(shown, |base| base.min(shown));
    let fresh = Pending::new(Op::Delete, seen, ground.now_ms);
    let Some(before) = entry.next.take() else {
        entry.next = Some(fresh);
        return;
    };
    let unsent = before.sent_before == SentBefore::Never;
    let on_tombstone = entry.sent.is_some() || ground.mirror.is_some_and(|row| !row.is_live());
    let nothing_left = match before.op {
        Op::Create => entry.sent.is_none(),
        Op::Restore => on_tombstone,
        Op::Update | Op::Delete | Op::Decide => false,
    };
    if (unsent || planted(Planted::SentCreateSquashed)) && nothing_left {
        entry.next = before.decision_alone();
        return;
    }
    let row_base = seen_at(&before).filter(|_| !planted(Planted::DeleteForgetsConflict)).unwrap_or(fresh.row_base);
    entry.next = Some(Pending {
        row_base,
        fields: before.fields,
        lost: before.lost,
        group: before.group,
        sent_before: before.sent_before,
        ..fresh
    });
}

fn oldest_base(pending: &Pending) -> Seq {
    pending.fields.values().map(|edit| edit.base).chain([pending.row_base]).min().unwrap_or_default()
}

fn restore(ground: &Ground<'_>, entry: &mut Entry) -> Result<(), WriteError> {
    if entry.next.as_ref().is_some_and(|pending| pending.op == Op::Delete) {
        undelete(ground, entry);
        return Ok(());
    }
    let in_flight = entry.sent.as_ref().is_some_and(|sent| sent.pending.op == Op::Delete);
    match ground.mirror.map(|row| row.life) {
        Some(Life::Purged) => return Err(WriteError::Purged),
        Some(Life::Deleted) => {}
        _ if in_flight => {}
        _ => return Err(WriteError::NoSuchRow),
    }
    let mut pending = Pending::new(Op::Restore, row_base(ground, entry), ground.now_ms);
    if let Some(sent) = entry.sent.as_ref().filter(|_| in_flight) {
        // A delete in flight swallowed edits; they come back with the row, and hide again what they are in conflict with.
        let hides = ground.mirror.is_some_and(|row| update_update(ground.table, &sent.pending, row).is_some());
        if hides {
            pending.row_base = pending.row_base.min(oldest_base(&sent.pending));
        }
        pending.fields = sent.pending.fields.clone();
    }
    add(ground, entry, pending);
    Ok(())
}

/// Delete and restore: the swallowed fields as an update, or nothing (O3); a restore where the delete may have arrived; a create
/// again where the server does not have the row.
fn undelete(ground: &Ground<'_>, entry: &mut Entry) {
    // What a server that was put back lost may still be kept beside the entry; the server does not have it either.
    let unknown = ground.mirror.is_none();
    entry.next = entry.next.take().and_then(|pending| {
        let op = if unknown && pending.swallowed_new_row() {
            Op::Create
        } else if pending.sent_before == SentBefore::Never {
            Op::Update
        } else {
            Op::Restore
        };
        Pending { op, ..pending }.tidied()
    });
}
