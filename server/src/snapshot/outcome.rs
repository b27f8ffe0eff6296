//! The outcome of a recorded push: verdicts as they were recorded, rows as they are now, under present rights (P5).

use super::Snapshot;
use crate::access::Rights;
use crate::store::StoreError;
use crate::store::read::Read;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tombolo_protocol::batch::RowBatch;
use tombolo_protocol::change::{Effect, Op, PlaceRuns, Verdict, VerdictRuns};
use tombolo_protocol::commit::{CommitBody, PushRecord};
use tombolo_protocol::ids::{DeviceId, Mark, PushNo, RowId, RowKey, RowNo, Seq, Version};
use tombolo_protocol::message::Outcome;
use tombolo_protocol::planted::{Planted, planted};
use tombolo_protocol::row::{Row, RowState, StateKind};
use tombolo_protocol::schema::Schema;

impl Snapshot {
    /// The outcome of a push of this device; none where it is not recorded, or was put away with the log.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn outcome(&self, rights: &Rights, device: DeviceId, number: PushNo) -> Result<Option<Outcome>, StoreError> {
        let Some((_, seq)) = self.recorded_push(device, number)? else { return Ok(None) };
        let record = match self.commit(seq)?.map(|commit| commit.body) {
            Some(CommitBody::Push(record)) => record,
            // It was put away with the log: its hash is known, its answer is not (H5).
            None if seq <= self.tables.horizon()? => return Ok(None),
            _ => return Err(StoreError::damaged(format!("push {number} names commit {seq}, which is no push"))),
        };
        let hash = self.hash_at(seq)?;
        let commit = Mark { seq, hash: hash.ok_or_else(|| StoreError::damaged(format!("commit {seq} has no mark")))? };
        if record.void {
            return Ok(Some(Outcome { number, commit, ..Outcome::default() }));
        }
        let verdicts = Some(told(&record, rights, self)?);
        let OutcomeRows { as_expected, first_created, rows, .. } = self.outcome_rows(rights, seq, &record)?;
        let as_expected = PlaceRuns::of(as_expected);
        Ok(Some(Outcome { number, commit, verdicts, as_expected, first_created, rows: RowBatch(rows) }))
    }

    /// Every row that the push names, complete from its recorded base, unless it is as the client expects; and the other rows of
    /// clashes whole.
    fn outcome_rows(&self, rights: &Rights, seq: Seq, record: &PushRecord) -> Result<OutcomeRows, StoreError> {
        let schema = self.schema_at(seq)?;
        let effects: BTreeMap<RowKey, &Effect> = record.effects.iter().map(|effect| (effect.key, effect)).collect();
        let mut told = OutcomeRows::default();
        let mut named: BTreeSet<RowKey> = record.rows.iter().map(|row| row.key).collect();
        for (place, (recorded, verdict)) in record.rows.iter().zip(record.verdicts.iter()).enumerate() {
            if let Some(row) = self.visible(rights, &recorded.key)? {
                let mut state = row.since_base(recorded.view_base);
                let mut as_expected = false;
                if let Some(effect) = effects.get(&recorded.key) {
                    leave_out_sent(&mut state, effect, seq, &schema);
                    as_expected = self.is_expected(&row, &state, effect.op, recorded.view_base, seq)?;
                }
                told.add(place, &row, state, as_expected);
            }
            if let Some(other) = rival(verdict, recorded.key)
                && named.insert(other)
                && let Some(row) = self.visible(rights, &other)?
            {
                told.rows.push(row.since_base(Seq(0)));
            }
        }
        Ok(told)
    }

    /// Whether a client that holds a row as it was at `base` can tell what it is now: commit `seq`, which is its own change, is all
    /// that happened to it since. `state` is what else there would be to say.
    fn is_expected(&self, row: &Row, state: &RowState, op: Op, base: Seq, seq: Seq) -> Result<bool, StoreError> {
        let is_held = base > Seq(0) && row.since <= base;
        Ok(row.seq == seq
            && match op {
                Op::Create => row.is_live() && row.version == Version(1) && state.fields.is_empty(),
                Op::Update => row.is_live() && is_held && self.is_only_change(row, base, seq)?,
                Op::Delete => !row.is_live() && is_held && self.is_only_change(row, base, seq)?,
                Op::Restore | Op::Decide => false,
            })
    }

    fn is_only_change(&self, row: &Row, base: Seq, seq: Seq) -> Result<bool, StoreError> {
        // Up to the horizon nothing says any more which commits concern a row.
        if base < self.tables.horizon()? && !planted(Planted::ExpectedBehindHorizon) {
            return Ok(false);
        }
        let mut changes = self.tables.history.range((row.no.0, base.0.saturating_add(1))..=(row.no.0, u64::MAX))?;
        let first = changes.next().transpose()?.map(|(key, _)| key.value().1);
        Ok(first == Some(seq.0) && changes.next().is_none())
    }

    /// A row, if this user may see it now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn visible(&self, rights: &Rights, key: &RowKey) -> Result<Option<Row>, StoreError> {
        Ok(self.tables.row(key)?.filter(|row| planted(Planted::ResultWithoutRights) || rights.may_see(&self.schema, row)))
    }
}

/// What an outcome says of rows.
#[derive(Default)]
struct OutcomeRows {
    as_expected: Vec<usize>,
    first_created: RowNo,
    creates: u64,
    rows: Vec<RowState>,
}

impl OutcomeRows {
    /// The number of an expected create follows that of the one before; where it does not, the row is told.
    fn add(&mut self, place: usize, row: &Row, state: RowState, as_expected: bool) {
        let creates = state.since == state.seq;
        if as_expected && creates {
            if self.creates == 0 {
                self.first_created = row.no;
            }
            if row.no.0 == self.first_created.0 + self.creates {
                self.creates += 1;
                return self.as_expected.push(place);
            }
        } else if as_expected {
            return self.as_expected.push(place);
        }
        self.rows.push(state);
    }
}

/// The client knows what it sent: fields that still have the stamp of this very commit are left out. Not those that the server
/// may have written by itself into a new or a restored row (H7), and not what was emptied: whoever does not hold the row could
/// not tell it from what was never set.
fn leave_out_sent(state: &mut RowState, effect: &Effect, seq: Seq, schema: &Arc<Schema>) {
    if state.kind != StateKind::Live || effect.op == Op::Delete {
        return;
    }
    let table = schema.table(effect.key.table);
    let makes = matches!(effect.op, Op::Create | Op::Restore);
    state.fields.retain(|field| {
        let initial = table.and_then(|table| table.field(field.field)).and_then(|known| known.initial.as_ref());
        let by_server = makes && initial == Some(&field.value);
        let emptied = effect.op != Op::Create && field.value.is_null();
        by_server || emptied || field.stamp != seq
    });
    state.as_sent = true;
}

fn rival(verdict: &Verdict, key: RowKey) -> Option<RowKey> {
    match verdict {
        Verdict::Clash { with: Some(id), .. } => Some(RowKey { table: key.table, id: *id }),
        _ => None,
    }
}

/// The verdicts as recorded, but rows that the user may not see (any more) are not named in them (T22).
fn told(record: &PushRecord, rights: &Rights, snapshot: &Snapshot) -> Result<VerdictRuns, StoreError> {
    let own: BTreeSet<RowKey> = record.rows.iter().map(|row| row.key).collect();
    let mut verdicts = Vec::with_capacity(record.rows.len());
    for (recorded, verdict) in record.rows.iter().zip(record.verdicts.iter()) {
        let other = rival(verdict, recorded.key).or(match verdict {
            Verdict::Refused(tombolo_protocol::change::Refusal::Referenced { by }) => *by,
            _ => None,
        });
        let hidden = match other {
            Some(key) if !own.contains(&key) => snapshot.visible(rights, &key)?.is_none(),
            _ => false,
        };
        verdicts.push(if hidden { without_name(verdict) } else { verdict.clone() });
    }
    Ok(VerdictRuns::of(verdicts))
}

fn without_name(verdict: &Verdict) -> Verdict {
    match verdict {
        Verdict::Clash { field, .. } => Verdict::Clash { field: *field, with: None::<RowId> },
        Verdict::Refused(_) => Verdict::Refused(tombolo_protocol::change::Refusal::Referenced { by: None }),
        other => other.clone(),
    }
}
