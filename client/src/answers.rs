//! What the server answers, applied in one transaction each: outcomes of pushes, deltas, row answers, caught up (O6, S2).

use crate::step::{Step, StepError};
use crate::store::{AcknowledgedPush, StoreError};
use std::collections::BTreeMap;
use tombolo_protocol::change::{Op, Refusal, Verdict};
use tombolo_protocol::cursor::Advance;
use tombolo_protocol::ids::{PushNo, RowKey, Section, Seq};
use tombolo_protocol::limits::{ACKNOWLEDGED_BYTES_MAX, ACKNOWLEDGED_DAYS_MAX};
use tombolo_protocol::message::{CaughtUp, Delta, Outcome, WantedRow};
use tombolo_protocol::outbox::{Pending, Review, Sent, expand_as_sent, settle};
use tombolo_protocol::row::{RowName, RowState};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Counts of what an answer did, for the person who waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// Changes accepted or agreed.
    pub pushed: u64,
    /// Accepted changes whose row others had changed.
    pub merged: u64,
    /// Changes refused.
    pub refused: u64,
}

impl Step<'_, '_> {
    /// Applies the outcome of a push: the rows that it names, and the removal of exactly what was sent (O6).
    pub fn outcome(&mut self, outcome: &Outcome) -> Result<Tally, StepError> {
        let Some(push) = self.tables.frozen(outcome.number)? else {
            // Answered before; its rows are news all the same.
            self.put_rows(&outcome.rows.0)?;
            return Ok(Tally::default());
        };
        let answered = self.answered_rows(outcome)?;
        self.put_rows(answered.iter().map(|(_, state)| state))?;
        let states: BTreeMap<RowKey, &RowState> =
            answered.iter().filter_map(|(key, state)| key.map(|key| (key, state))).collect();
        let mut tally = Tally::default();
        match &outcome.verdicts {
            Some(verdicts) => {
                if verdicts.len() != push.rows.len() {
                    return Err(StepError::Violation("a result without a verdict for each change"));
                }
                let mut acknowledged = Vec::new();
                for ((key, _), verdict) in push.rows.iter().zip(verdicts.iter()) {
                    let change = self.settle_row(*key, verdict, outcome.commit.seq, states.get(key).copied(), &mut tally)?;
                    acknowledged.extend(change.map(|change| (*key, change)));
                }
                self.keep_acknowledged(outcome, acknowledged)?;
            }
            None => self.thaw_void(push.number, &push.rows.iter().map(|(key, _)| *key).collect::<Vec<_>>())?,
        }
        self.tables.remove_frozen(push.number)?;
        if push.number > self.state.applied.0 {
            self.state.applied = (push.number, push.hash);
        }
        self.state.result_seq = self.state.result_seq.max(outcome.commit.seq);
        self.witness(outcome.commit)?;
        self.wake_waiting()?;
        Ok(tally)
    }

    /// The rows of an outcome with their keys, where they are known, and with what the server left to be understood written out.
    fn answered_rows(&mut self, outcome: &Outcome) -> Result<Vec<(Option<RowKey>, RowState)>, StoreError> {
        let mut answered = Vec::new();
        for state in &outcome.rows.0 {
            let mut state = state.clone();
            let key = self.key_of(&state)?;
            if let Some(key) = key
                && let Some(Sent { number, pending, .. }) = self.tables.entry(key)?.and_then(|entry| entry.sent)
                && number == outcome.number
            {
                let mirror = self.tables.mirror(key)?.map(|held| held.row);
                expand_as_sent(&mut state, &pending, mirror.as_ref(), outcome.commit.seq);
            }
            state.as_sent = false;
            answered.push((key, state));
        }
        Ok(answered)
    }

    /// Settles what one row sent. Returns the change if it was accepted or agreed.
    fn settle_row(
        &mut self,
        key: RowKey,
        verdict: &Verdict,
        seq: Seq,
        state: Option<&RowState>,
        tally: &mut Tally,
    ) -> Result<Option<Pending>, StepError> {
        let mut entry = self.tables.entry(key)?.ok_or(StepError::Violation("a result for a row that was not sent"))?;
        let pending = entry.sent.as_ref().map(|sent| sent.pending.clone());
        let Some(table) = self.schema.table(key.table) else {
            // The table left the schema: what was sent cannot be merged any more, and is not lost.
            let sent = entry.sent.take().map(|sent| sent.pending);
            entry.next =
                entry.next.or(sent).map(|next| Pending { review: Some(Review::Refused(Refusal::UnknownTable)), ..next });
            self.tables.put_entry(&entry)?;
            return Ok(None);
        };
        // A row that the result could not hold came whole ahead of it, and is in the mirror.
        let ahead = match (state, &entry.sent) {
            (None, Some(sent)) => self.tables.mirror(key)?.map(|held| held.row.since_base(sent.view_base)),
            _ => None,
        };
        let settled = settle(table, &mut entry, verdict, seq, state.or(ahead.as_ref()));
        if let Some(settled) = &settled {
            self.tables.put_settled(key, settled)?;
            tally.pushed += 1;
        }
        match verdict {
            Verdict::Accepted { merged: true } => tally.merged += 1,
            Verdict::Refused(refusal) => {
                tally.refused += 1;
                self.state.awaits_parents |= matches!(refusal, Refusal::MissingParent { .. });
            }
            Verdict::Conflict if self.tables.mirror(key)?.is_none() => {
                self.tables.put_want(WantedRow { table: key.table, name: RowName::Id(key.id, Default::default()) })?;
            }
            _ => {}
        }
        self.touched.insert(key);
        self.tables.put_entry(&entry)?;
        Ok(pending.filter(|_| settled.is_some()))
    }

    fn keep_acknowledged(&mut self, outcome: &Outcome, changes: Vec<(RowKey, Pending)>) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        let push = AcknowledgedPush { commit: outcome.commit, changes, at_ms: self.now_ms };
        self.tables.put_acknowledged(outcome.number, &push)?;
        let oldest_ms = self.now_ms - ACKNOWLEDGED_DAYS_MAX as i64 * DAY_MS;
        self.state.acknowledged_dropped += self.tables.bound_acknowledged(oldest_ms, ACKNOWLEDGED_BYTES_MAX)?;
        Ok(())
    }

    /// A voided push is given up under its number and goes again in halves; a change that fails alone waits for a person (P6).
    fn thaw_void(&mut self, number: PushNo, rows: &[RowKey]) -> Result<(), StoreError> {
        self.thaw(number, rows)?;
        if let [key] = rows
            && let Some(mut entry) = self.tables.entry(*key)?
        {
            if let Some(next) = &mut entry.next {
                next.review = Some(Review::Refused(Refusal::Undeliverable));
            }
            self.tables.put_entry(&entry)?;
        }
        self.state.push_changes_max = (rows.len() / 2).max(1);
        Ok(())
    }

    /// Changes that waited for a row which is there now, or for an own change which went through, are ready again (T19).
    pub fn wake_waiting(&mut self) -> Result<(), StoreError> {
        if !self.state.awaits_parents {
            return Ok(());
        }
        let waiting: Vec<_> = self
            .tables
            .entries()?
            .filter(|entry| {
                let review = entry.as_ref().ok().and_then(|entry| entry.next.as_ref()).and_then(|next| next.review.as_ref());
                entry.is_err() || matches!(review, Some(Review::Refused(Refusal::MissingParent { .. })))
            })
            .collect::<Result<_, _>>()?;
        self.state.awaits_parents = !waiting.is_empty();
        for mut entry in waiting {
            let Some(next) = &mut entry.next else { continue };
            let Some(Review::Refused(Refusal::MissingParent { field, parent })) = &next.review else { continue };
            let reference = self.schema.table(entry.key.table).and_then(|table| table.field(*field)).and_then(|f| f.reference);
            let Some(reference) = reference else { continue };
            let parent = RowKey { table: reference.table, id: *parent };
            let there = self.tables.mirror(parent)?.is_some_and(|held| held.row.is_live());
            let coming = self.tables.entry(parent)?.and_then(|entry| entry.next).is_some_and(|next| next.op == Op::Create);
            if there || coming {
                next.review = None;
                self.tables.put_entry(&entry)?;
            }
        }
        Ok(())
    }

    /// Applies a delta with its cursor (S2).
    pub fn delta(&mut self, delta: &Delta) -> Result<(), StepError> {
        if self.cursors.scanned(delta.cursor) != Some(delta.from) {
            return Err(StepError::Violation("a delta that does not start where this device stands"));
        }
        if delta.to < delta.from {
            return Err(StepError::Violation("a delta that goes back"));
        }
        self.keep_authors(&delta.authors)?;
        self.put_rows(&delta.rows.0)?;
        let advance = Advance { name: delta.cursor, to: delta.to, complete: delta.complete };
        if let Some((section, fill)) = self.cursors.advance(advance)
            && fill.refetch > 0
        {
            self.sweep(section.table, |of, held| of == Some(section) && held.refetch < fill.refetch)?;
        }
        self.witness(delta.snapshot)?;
        self.wake_waiting()?;
        Ok(())
    }

    /// Compares digests where they can be compared (T26), and lets go of acknowledged pushes that a backup covers. Returns the
    /// sections that differ.
    pub fn caught_up(&mut self, caught_up: &CaughtUp) -> Result<Vec<Section>, StoreError> {
        self.witness(caught_up.head)?;
        self.tables.drop_acknowledged(caught_up.safe)?;
        if self.cursors.is_caught_up(caught_up.head.seq) {
            self.state.caught_up_at_ms = self.now_ms;
        }
        let comparable = self.cursors.main.complete == caught_up.head.seq
            && self.state.result_seq <= caught_up.head.seq
            && self.state.schema == caught_up.schema
            && self.cursors.sections.len() == caught_up.digests.len();
        let mut differing = Vec::new();
        if comparable {
            for (section, digest) in self.cursors.sections.iter().zip(&caught_up.digests) {
                if self.digest(section)? != *digest {
                    differing.push(*section);
                }
            }
        }
        if !differing.is_empty() && self.now_ms.saturating_sub(self.state.refetched_at_ms) >= DAY_MS {
            self.state.refetched_at_ms = self.now_ms;
            self.state.refetches += 1;
            for section in &differing {
                self.cursors.refetch(*section, self.state.refetches);
            }
        }
        Ok(differing)
    }
}
