//! The answer removes exactly what was sent (O6).

use super::{Entry, Pending, Review, SentBefore, squash};
use crate::change::{Op, Refusal, Verdict};
use crate::ids::{FieldTag, Generation, RowKey, RowNo, Seq, Version};
use crate::planted::{Planted, planted};
use crate::row::{FieldState, Row, RowName, RowState, StateKind};
use crate::schema::Table;
use crate::value::Value;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A confirmation of a row's pending changes: what a view of them is worth afterwards (O2, T41).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Settled {
    /// The generation that was confirmed.
    pub generation: Generation,
    /// The result's seq.
    pub seq: Seq,
    /// The values that were confirmed; for a create all others are null.
    pub fields: BTreeMap<FieldTag, Value>,
    /// It was a create: fields that were not sent are confirmed as null.
    pub whole: bool,
    /// The newest change of the row by somebody else from before the result; zero where there is none. `None` where nobody
    /// knows (T35).
    pub others: Option<Seq>,
}

impl Settled {
    /// Confirmed value and seq of a field.
    pub fn field(&self, field: FieldTag) -> Option<(Value, Seq)> {
        let value = match self.fields.get(&field) {
            Some(value) => value.clone(),
            None if self.whole => Value::Null,
            None => return None,
        };
        Some((value, self.seq))
    }

    /// The row base of who had seen the row as it was at `base`: the result's seq, unless somebody else changed the row in
    /// between; then it stays, and the question is asked (T35).
    pub fn row_base(&self, base: Seq) -> Seq {
        if self.others.is_some_and(|others| others <= base) || planted(Planted::RowBaseAlwaysMoves) {
            base.max(self.seq)
        } else {
            base
        }
    }
}

/// Settles the sent part of an entry by its verdict. `state` is the whole row as it stands behind the answer; without one nobody
/// knows what else changed. An answer alone brings only what is newer than the push's base, and what was pulled before the push
/// left is just as unknown to an older view. `seq` is the result's seq.
///
/// Returns the confirmation, if it is one.
///
/// Accepted and agreed: *next* is rebased on what was sent. Conflict, clash, refused, held: what was sent and *next* squash
/// into one change again, which is ready, in conflict, or waits for a person.
pub fn settle(table: &Table, entry: &mut Entry, verdict: &Verdict, seq: Seq, state: Option<&RowState>) -> Option<Settled> {
    let sent = entry.sent.take()?;
    match verdict {
        Verdict::Accepted { .. } | Verdict::Agreed => {
            let mut settled = confirmation(&sent.pending, sent.generation, seq, state);
            // Nobody else had a row that a create made, also where the answer comes without it.
            if sent.pending.op == Op::Create && matches!(verdict, Verdict::Accepted { .. }) {
                settled.others = Some(Seq(0));
            }
            if planted(Planted::AnswerClearsNext) {
                entry.next = None;
            }
            if let Some(next) = entry.next.as_mut().filter(|_| !planted(Planted::NextNotRebased)) {
                rebase(next, &settled);
            }
            Some(settled)
        }
        // A delete of a row that the server does not know (any more) is what was wanted.
        Verdict::Refused(Refusal::UnknownRow) if sent.pending.op == Op::Delete && entry.next.is_none() => None,
        Verdict::Conflict if planted(Planted::ConflictDiscards) => None,
        Verdict::Conflict | Verdict::Clash { .. } | Verdict::Refused(_) | Verdict::Held { .. } => {
            let edited_meanwhile = entry.next.is_some();
            let mut older = Pending { sent_before: sent.pending.sent_before.max(SentBefore::Frozen), ..sent.pending };
            // The server does not know the row (any more): what the delete swallowed would be new there.
            if matches!(verdict, Verdict::Refused(Refusal::UnknownRow)) && older.op == Op::Delete && older.swallowed_new_row() {
                older.row_base = Seq(0);
            }
            if let (Some(next), Some(state)) = (&entry.next, state) {
                under_newer(table, &mut older, next, state);
            }
            // What is held is no reason to try less often: whoever holds it counts, or waits for a person (O8).
            let came_back = u8::from(!matches!(verdict, Verdict::Held { .. }));
            let rounds = older.rounds.saturating_add(came_back);
            entry.next = squash(Some(table), older, entry.next.take()).map(|mut pending| {
                pending.review = if edited_meanwhile { None } else { review(verdict) };
                pending.rounds = if edited_meanwhile { 0 } else { rounds };
                pending
            });
            None
        }
    }
}

/// What was sent comes back under what a person wrote over it meanwhile. Units of which the server has what was sent, brought by
/// somebody else, are the base of that: set back to what was before both, they would leave the outbox.
pub fn under_newer(table: &Table, older: &mut Pending, newer: &Pending, server: &RowState) {
    if older.op != Op::Update || newer.op != Op::Update || server.kind != StateKind::Live || !server.whole {
        return;
    }
    let null = Value::Null;
    let at_server = |member: FieldTag| match server.fields.binary_search_by_key(&member, |listed| listed.field) {
        Ok(place) => (&server.fields[place].value, server.fields[place].stamp),
        Err(_) => (&null, Seq(0)),
    };
    for field in newer.fields.keys() {
        super::write::base_on_agreed(older, table.unit(field), at_server);
    }
}

fn review(verdict: &Verdict) -> Option<Review> {
    match verdict {
        Verdict::Refused(refusal) => Some(Review::Refused(refusal.clone())),
        Verdict::Clash { field, with } => Some(Review::Clash { field: *field, with: *with }),
        Verdict::Accepted { .. } | Verdict::Agreed | Verdict::Conflict | Verdict::Held { .. } => None,
    }
}

fn confirmation(sent: &Pending, generation: Generation, seq: Seq, state: Option<&RowState>) -> Settled {
    // What a restore or a create was made on was seen with it.
    let seen = if sent.op == Op::Restore || sent.op == Op::Create { sent.row_base } else { Seq(0) };
    let is_others = |stamp: &Seq| *stamp > seen && *stamp < seq;
    let newest = |state: &RowState| {
        let stamps = state.fields.iter().map(|field| field.stamp).chain([state.since]);
        stamps.filter(is_others).max().unwrap_or_default()
    };
    // What a delete swallowed was not sent, and is not confirmed.
    let sent_fields = if sent.op == Op::Delete { None } else { Some(&sent.fields) };
    Settled {
        generation,
        seq,
        fields: sent_fields.into_iter().flatten().map(|(field, edit)| (*field, edit.value.clone())).collect(),
        whole: sent.op == Op::Create,
        others: state.map(newest),
    }
}

fn rebase(next: &mut Pending, settled: &Settled) {
    for (field, edit) in &mut next.fields {
        if let Some((value, seq)) = settled.field(*field) {
            edit.base_value = Some(value);
            edit.base = edit.base.max(seq);
        }
    }
    next.row_base = settled.row_base(next.row_base);
}

/// Writes out what a result left to be understood: a field of the accepted change that is not listed has the value that was
/// sent and the result's seq as its stamp, unless the mirror held that value already.
pub fn expand_as_sent(state: &mut RowState, sent: &Pending, mirror: Option<&Row>, seq: Seq) {
    if !std::mem::take(&mut state.as_sent) || sent.op == Op::Delete {
        return;
    }
    for (field, edit) in &sent.fields {
        let known = mirror.is_some_and(|row| row.value(*field) == &edit.value) || (mirror.is_none() && edit.value.is_null());
        if let Err(place) = state.fields.binary_search_by_key(field, |listed| listed.field)
            && !known
        {
            state.fields.insert(place, FieldState { field: *field, stamp: seq, value: edit.value.clone() });
        }
    }
}

/// What a row is that an answer does not name because it is just what the client expects: what the mirror holds, with the change
/// that was accepted as commit `seq`. `created` is the number of a row that the change made.
///
/// `None` where the mirror does not hold what the change was made on (any more): then the row must be asked for.
pub fn expected(key: RowKey, sent: &Pending, mirror: Option<&Row>, seq: Seq, created: RowNo) -> Option<RowState> {
    // A delta was quicker than the answer, and may have brought what is newer still.
    if let Some(row) = mirror.filter(|row| row.seq >= seq) {
        return Some(row.since_base(Seq(0)));
    }
    let mut state = match (sent.op, mirror) {
        (Op::Create, None) => RowState {
            table: key.table,
            name: RowName::Id(key.id, created),
            kind: StateKind::Live,
            whole: true,
            as_sent: true,
            seq,
            version: Version(1),
            since: seq,
            fields: Vec::new(),
        },
        // To a row that is there, a restore is an update.
        (Op::Update | Op::Restore | Op::Delete, Some(row)) if row.is_live() => RowState {
            table: key.table,
            name: RowName::No(row.no),
            kind: if sent.op == Op::Delete { StateKind::Deleted } else { StateKind::Live },
            whole: false,
            as_sent: true,
            seq,
            version: Version(row.version.0.saturating_add(1)),
            since: row.since,
            fields: Vec::new(),
        },
        _ => return None,
    };
    expand_as_sent(&mut state, sent, mirror, seq);
    Some(state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::{Applied, apply};
    use crate::testing::{key, live_row};

    const NAME: FieldTag = FieldTag(1);
    const NOTES: FieldTag = FieldTag(4);

    fn sent(op: Op, fields: &[(FieldTag, &str)]) -> Pending {
        let edit = |value: &str| super::super::Edit { value: Value::text(value), base_value: None, base: Seq(5) };
        let fields = fields.iter().map(|(field, value)| (*field, edit(value))).collect();
        Pending { fields, ..Pending::new(op, Seq(5), 0) }
    }

    fn after(sent: &Pending, mirror: Option<&Row>) -> Applied {
        apply(key(), mirror, &expected(key(), sent, mirror, Seq(9), RowNo(77)).expect("the mirror has what it was made on"))
    }

    #[test]
    fn an_expected_row_is_what_was_held_with_what_was_sent() {
        let held = live_row(&[(NAME, Value::text("a"), 5), (NOTES, Value::text("n"), 5)]);
        let Applied::Store(row) = after(&sent(Op::Update, &[(NAME, "b"), (NOTES, "n")]), Some(&held)) else { panic!() };
        assert_eq!((row.seq, row.version, row.no), (Seq(9), Version(held.version.0 + 1), held.no));
        assert_eq!((row.value(NAME), row.stamp(NAME)), (&Value::text("b"), Seq(9)));
        assert_eq!(row.stamp(NOTES), Seq(5), "what was set to what it is did not change");
        assert_eq!(after(&sent(Op::Restore, &[(NAME, "b")]), Some(&held)), Applied::Store(row), "it was not deleted");
        let Applied::Store(gone) = after(&sent(Op::Delete, &[]), Some(&held)) else { panic!() };
        assert_eq!((gone.is_live(), &gone.fields), (false, &held.fields), "a tombstone keeps the last values (C5)");
        let Applied::Store(made) = after(&sent(Op::Create, &[(NAME, "b")]), None) else { panic!() };
        assert_eq!((made.no, made.version, made.since, made.fields.len()), (RowNo(77), Version(1), Seq(9), 1));
    }

    #[test]
    fn an_expected_row_that_a_delta_brought_first_stays_as_it_is() {
        let newer = Row { seq: Seq(9), ..live_row(&[(NAME, Value::text("b"), 9)]) };
        assert_eq!(after(&sent(Op::Update, &[(NAME, "b")]), Some(&newer)), Applied::Unchanged);
    }

    #[test]
    fn an_expected_row_whose_ground_is_gone_is_asked_for() {
        let held = live_row(&[(NAME, Value::text("a"), 5)]);
        let gone = Row { life: crate::row::Life::Deleted, ..held.clone() };
        let update = sent(Op::Update, &[(NAME, "b")]);
        assert_eq!(expected(key(), &update, None, Seq(9), RowNo(0)), None);
        assert_eq!(expected(key(), &update, Some(&gone), Seq(9), RowNo(0)), None);
        assert_eq!(expected(key(), &sent(Op::Restore, &[]), Some(&gone), Seq(9), RowNo(0)), None);
        assert_eq!(expected(key(), &sent(Op::Create, &[]), Some(&held), Seq(9), RowNo(77)), None);
    }
}
