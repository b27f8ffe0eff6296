//! What the server answers, applied in one transaction each: outcomes of pushes, deltas, row answers, caught up (O6, S2).

#[cfg(test)]
mod tests;

use crate::step::{Step, StepError};
use crate::store::{AcknowledgedPush, FrozenPush, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use tombolo_protocol::change::{Op, Refusal, Verdict};
use tombolo_protocol::cursor::Advance;
use tombolo_protocol::hash::Digest;
use tombolo_protocol::ids::{Mark, PushNo, RowKey, Section, Seq};
use tombolo_protocol::limits::{ACKNOWLEDGED_BYTES_MAX, ACKNOWLEDGED_DAYS_MAX, PROVISIONAL_ROUNDS_MAX, SETTLED_MAX};
use tombolo_protocol::message::{CaughtUp, Delta, Outcome};
use tombolo_protocol::outbox::{Entry, Pending, Review, Sent, SentBefore, expand_as_sent, expected, settle, squash};
use tombolo_protocol::planted::{Planted, planted};
use tombolo_protocol::row::RowState;

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
        let mut answered = self.answered_rows(outcome)?;
        self.add_expected(outcome, &push, &mut answered)?;
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
            None => self.thaw_void(push.number, &push.rows)?,
        }
        self.unite_groups()?;
        self.tables.remove_frozen(push.number)?;
        if push.number > self.state.applied.0 {
            self.state.applied = (push.number, push.hash);
        }
        self.state.result_seq = self.state.result_seq.max(outcome.commit.seq);
        if !planted(Planted::WitnessOfDeltas) {
            self.witness(outcome.commit)?;
        }
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

    /// The rows of which an outcome says that they are as expected. One whose ground is not here any more is asked for.
    fn add_expected(
        &mut self,
        outcome: &Outcome,
        push: &FrozenPush,
        answered: &mut Vec<(Option<RowKey>, RowState)>,
    ) -> Result<(), StepError> {
        let mut created = outcome.first_created;
        for place in outcome.as_expected.iter() {
            let (key, _) = *push.rows.get(place).ok_or(StepError::Violation("a result for more changes than were sent"))?;
            let sent = self.tables.entry(key)?.and_then(|entry| entry.sent).filter(|sent| sent.number == outcome.number);
            let Sent { pending, .. } = sent.ok_or(StepError::Violation("a result for a row that was not sent"))?;
            let mirror = self.tables.mirror(key)?.map(|held| held.row);
            match expected(key, &pending, mirror.as_ref(), outcome.commit.seq, created) {
                Some(state) => answered.push((Some(key), state)),
                None => self.want_whole(key)?,
            }
            created.0 = created.0.saturating_add(u64::from(pending.op == Op::Create));
        }
        Ok(())
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
            if let Some(sent) = entry.sent.take() {
                let sent = Pending { sent_before: sent.pending.sent_before.max(SentBefore::Frozen), ..sent.pending };
                self.shares_groups(&sent, entry.next.as_ref());
                entry.next = squash(None, sent, entry.next.take())
                    .map(|next| Pending { review: Some(Review::Refused(Refusal::UnknownTable)), ..next });
            }
            self.put_entry(&entry)?;
            return Ok(None);
        };
        // The mirror has the row whole behind an answer that brings it, or that it came ahead of. An answer to an earlier life
        // may come without rows: then nobody knows what others changed.
        let held = self.tables.mirror(key)?.map(|held| held.row).filter(|row| state.is_some() || row.seq >= seq);
        let held = held.map(|row| row.since_base(Seq(0)));
        let meanwhile = entry.next.clone();
        let settled = settle(table, &mut entry, verdict, seq, held.as_ref().or(state));
        if let Some(sent) = pending.as_ref().filter(|_| settled.is_none() && entry.next.is_some()) {
            self.shares_groups(sent, meanwhile.as_ref());
        }
        if let Some(settled) = &settled {
            self.tables.put_settled(key, settled, SETTLED_MAX)?;
            tally.pushed += 1;
        }
        match verdict {
            Verdict::Accepted { merged: true } => tally.merged += 1,
            Verdict::Refused(refusal) => {
                tally.refused += 1;
                self.state.awaits_parents |= matches!(refusal, Refusal::MissingParent { .. });
            }
            Verdict::Conflict if self.tables.mirror(key)?.is_none() => self.want_whole(key)?,
            _ => {}
        }
        self.state.rounds_used_up |= entry.next.as_ref().is_some_and(|next| next.rounds > PROVISIONAL_ROUNDS_MAX);
        self.touched.insert(key);
        if entry.is_empty() && pending.as_ref().is_some_and(|pending| pending.group.is_none()) {
            // What was in flight alone held nobody.
            self.tables.put_entry(&entry)?;
        } else {
            self.put_entry(&entry)?;
        }
        Ok(pending.filter(|_| settled.is_some()))
    }

    fn keep_acknowledged(&mut self, outcome: &Outcome, changes: Vec<(RowKey, Pending)>) -> Result<(), StoreError> {
        if changes.is_empty() || planted(Planted::AcknowledgedForgotten) {
            return Ok(());
        }
        let push = AcknowledgedPush { commit: outcome.commit, changes, at_ms: self.agreed_ms };
        self.state.acknowledged_bytes += self.tables.put_acknowledged(outcome.number, &push)?;
        self.bound_acknowledged(ACKNOWLEDGED_BYTES_MAX)
    }

    /// Drops the oldest acknowledged pushes, and counts them, until none is too old and no more than these bytes are left (O11).
    fn bound_acknowledged(&mut self, bytes_max: u64) -> Result<(), StoreError> {
        let oldest_ms = self.agreed_ms.map(|now_ms| now_ms - ACKNOWLEDGED_DAYS_MAX as i64 * DAY_MS);
        loop {
            let too_many = self.state.acknowledged_bytes > bytes_max;
            let too_old =
                |push: &AcknowledgedPush| push.at_ms.is_some_and(|at_ms| oldest_ms.is_some_and(|oldest| at_ms < oldest));
            let Some(bytes) = self.tables.drop_oldest_acknowledged(|push| too_many || too_old(push))? else { return Ok(()) };
            self.state.acknowledged_bytes = self.state.acknowledged_bytes.saturating_sub(bytes);
            self.state.acknowledged_dropped += 1;
        }
    }

    /// A voided push is given up under its number and goes again in halves; what fails alone, a change or changes that must go
    /// together, waits for a person (P6).
    fn thaw_void(&mut self, number: PushNo, rows: &[(RowKey, Option<u16>)]) -> Result<(), StoreError> {
        let keys: Vec<RowKey> = rows.iter().map(|(key, _)| *key).collect();
        self.thaw(number, &keys)?;
        let alone = |rows: &[(RowKey, Option<u16>)]| match rows {
            [_] => true,
            [(_, group), others @ ..] => group.is_some() && others.iter().all(|(_, other)| other == group),
            [] => false,
        };
        if alone(rows) && !planted(Planted::VoidedAloneAgain) {
            for key in keys {
                self.undeliverable(key)?;
            }
        }
        self.state.push_changes_max = (rows.len() / 2).max(1);
        Ok(())
    }

    /// Sending a change is given up: it waits for a person.
    pub fn undeliverable(&mut self, key: RowKey) -> Result<(), StoreError> {
        if let Some(mut entry) = self.tables.entry(key)?
            && let Some(next) = &mut entry.next
        {
            next.review = Some(Review::Refused(Refusal::Undeliverable));
            self.put_entry(&entry)?;
        }
        Ok(())
    }

    /// Changes that waited for a row are ready again when it is there; and while it is pending here but cannot go either, so that
    /// they wait for it, or go with it (T19). One that could go and was left out of the push would be missed again.
    pub fn wake_waiting(&mut self) -> Result<(), StoreError> {
        if !self.state.awaits_parents {
            return Ok(());
        }
        let mut waiting: Vec<_> = self
            .tables
            .entries()?
            .filter(|entry| {
                let review = entry.as_ref().ok().and_then(|entry| entry.next.as_ref()).and_then(|next| next.review.as_ref());
                entry.is_err() || matches!(review, Some(Review::Refused(Refusal::MissingParent { .. })))
            })
            .collect::<Result<_, _>>()?;
        let mut woken = BTreeSet::new();
        // What is woken may be what others wait for: rows that refer to each other go together.
        loop {
            let before = waiting.len();
            let mut asleep = Vec::new();
            for mut entry in waiting {
                match self.wakes(&entry, &woken)? {
                    Some(came) => {
                        if let Some(next) = &mut entry.next {
                            next.review = None;
                            next.rounds = if came { 0 } else { next.rounds };
                        }
                        woken.insert(entry.key);
                        self.put_entry(&entry)?;
                    }
                    None => asleep.push(entry),
                }
            }
            waiting = asleep;
            if waiting.len() == before {
                break;
            }
        }
        self.state.awaits_parents = !waiting.is_empty();
        Ok(())
    }

    /// Whether a change need not wait any more for the row that it was refused for, and whether that is because the row came just
    /// now: one that was here all the time may be gone at the server, and that is not tried for ever.
    fn wakes(&self, entry: &Entry, woken: &BTreeSet<RowKey>) -> Result<Option<bool>, StoreError> {
        let review = entry.next.as_ref().and_then(|next| next.review.as_ref());
        let Some(Review::Refused(Refusal::MissingParent { field, parent })) = review else { return Ok(None) };
        let reference = self.schema.table(entry.key.table).and_then(|table| table.field(*field)).and_then(|f| f.reference);
        let Some(reference) = reference else { return Ok(None) };
        let parent = RowKey { table: reference.table, id: *parent };
        if self.tables.mirror(parent)?.is_some_and(|held| held.row.is_live()) {
            return Ok(Some(self.touched.contains(&parent)));
        }
        let held_up =
            |next: Pending| matches!(next.op, Op::Create | Op::Restore) && (next.review.is_some() || woken.contains(&parent));
        Ok(self.tables.entry(parent)?.and_then(|entry| entry.next).is_some_and(held_up).then_some(false))
    }

    /// Applies a delta, read from `snapshot`, with its cursor (S2).
    pub fn delta(&mut self, delta: &Delta, snapshot: Mark) -> Result<(), StepError> {
        if self.cursors.scanned(delta.cursor) != Some(delta.from) && !planted(Planted::CursorBeforeRows) {
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
        self.witness(snapshot)?;
        self.wake_waiting()?;
        Ok(())
    }

    /// Compares the digests of the sections with the server's where they can be compared (T26), and lets go of acknowledged pushes
    /// that a backup covers. Returns the sections that differ.
    pub fn caught_up(
        &mut self,
        caught_up: &CaughtUp,
        head: Mark,
        digests: &[(Section, Digest)],
    ) -> Result<Vec<Section>, StoreError> {
        self.witness(head)?;
        let safe = if planted(Planted::BackupAssumed) { head.seq } else { caught_up.safe };
        let covered = self.tables.drop_acknowledged(safe)?;
        self.state.acknowledged_bytes = self.state.acknowledged_bytes.saturating_sub(covered);
        self.drop_old_copies()?;
        // What others did since the last answer may be what it lost its rounds to.
        if head.seq > self.state.result_seq && self.state.rounds_used_up {
            self.begin_rounds_again()?;
        }
        if self.cursors.is_caught_up(head.seq) {
            self.state.caught_up_at_ms = self.now_ms;
        }
        let comparable = self.cursors.main.complete == head.seq
            && self.state.result_seq <= head.seq
            && self.state.schema == caught_up.schema;
        let mut differing = Vec::new();
        if comparable {
            for (section, digest) in digests {
                if self.digest(section)? != *digest {
                    differing.push(*section);
                }
            }
        }
        self.refetch(&differing);
        Ok(differing)
    }
    /// Fetches sections again, each at most once a day by a clock that may be set back.
    fn refetch(&mut self, sections: &[Section]) {
        let now_ms = self.now_ms;
        self.state.refetched_at_ms.retain(|_, at_ms| (0..DAY_MS).contains(&now_ms.saturating_sub(*at_ms)));
        let due: Vec<Section> =
            sections.iter().filter(|section| !self.state.refetched_at_ms.contains_key(section)).copied().collect();
        self.state.refetches += u32::from(!due.is_empty());
        for section in due {
            self.state.refetched_at_ms.insert(section, now_ms);
            self.cursors.refetch(section, self.state.refetches);
        }
    }
}
