//! The answer removes exactly what was sent (O6).

use super::{Entry, Pending, Review, SentBefore, squash};
use crate::change::{Op, Refusal, Verdict};
use crate::ids::{FieldTag, Generation, Seq};
use crate::planted::{Planted, planted};
use crate::row::{FieldState, Row, RowState};
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
            let settled = confirmation(&sent.pending, sent.generation, seq, state);
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
            let older = Pending { sent_before: sent.pending.sent_before.max(SentBefore::Frozen), ..sent.pending };
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
