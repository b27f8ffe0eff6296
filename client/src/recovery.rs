//! A new life of the store: after a copy, a takeover by a foreign process, or a divergence of the histories (P3, P4, H3), and
//! the thawing of one voided push (P6). One transaction, and nothing in it forgets an edit.

use crate::event::Lost;
use crate::step::Step;
use crate::store::{AcknowledgedPush, RecoveryCopy, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use tombolo_protocol::change::Op;
use tombolo_protocol::commit::Offer;
use tombolo_protocol::cursor::Cursors;
use tombolo_protocol::ids::{Hash16, Mark, PushNo, RowKey, Seq};
use tombolo_protocol::outbox::{Edit, Entry, Pending, Review, SentBefore, squash, under_newer};
use tombolo_protocol::planted::{Planted, planted};
use tombolo_protocol::row::Row;

/// Days that a mirror set aside is kept.
const RECOVERY_DAYS_MAX: i64 = 30;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

impl Step<'_, '_> {
    /// Takes the frozen part of these rows back into what is pending.
    pub fn thaw(&mut self, number: PushNo, rows: &[RowKey]) -> Result<(), StoreError> {
        for key in rows {
            let Some(mut entry) = self.tables.entry(*key)? else { continue };
            if entry.sent.as_ref().is_some_and(|sent| sent.number == number) {
                let sent = entry.sent.take().map(|sent| as_sent_before(sent.pending, SentBefore::Frozen));
                let mut sent = sent.filter(|_| !planted(Planted::FrozenDropped));
                if let (Some(sent), Some(next), Some(table)) = (&mut sent, &entry.next, self.schema.table(key.table))
                    && let Some(held) = self.tables.mirror(*key)?
                {
                    under_newer(table, sent, next, &held.row.since_base(Seq(0)));
                }
                entry.next = self.joined(*key, sent.into_iter().chain(entry.next.take()));
                self.touched.insert(*key);
                self.put_entry(&entry)?;
            }
        }
        Ok(())
    }

    /// The store begins a new life: what is frozen is thawed. Outcomes that the server named have been applied before. It goes on
    /// under a device id that it asks for next, or under the one that a login issued while something was frozen under the old one.
    pub fn new_life(&mut self) -> Result<(), StoreError> {
        for push in self.tables.all_frozen()? {
            let rows: Vec<RowKey> = push.rows.iter().map(|(key, _)| *key).collect();
            self.thaw(push.number, &rows)?;
            self.tables.remove_frozen(push.number)?;
        }
        self.unite_groups()?;
        self.state.frozen = (PushNo(0), Hash16::default());
        self.state.applied = (PushNo(0), Hash16::default());
        self.state.needs_device = self.tables.frozen_under()?.is_none();
        self.tables.set_frozen_under(None)
    }

    /// Takes the acknowledged pushes above `common` out of the store: the server lost them.
    pub fn take_lost(&mut self, common: Seq) -> Result<Vec<AcknowledgedPush>, StoreError> {
        let lost = self.tables.acknowledged_above(common)?;
        let bytes = self.tables.drop_acknowledged_above(common)?;
        self.state.acknowledged_bytes = self.state.acknowledged_bytes.saturating_sub(bytes);
        Ok(lost)
    }

    /// The server's history differs from the one that this store knows, behind `common` (H3, H4). `lost` is what it acknowledged
    /// and lost.
    pub fn diverged(&mut self, common: Mark, offer: Offer, lost: Vec<AcknowledgedPush>) -> Result<Lost, StoreError> {
        self.new_life()?;
        let lost = match offer {
            Offer::No => Lost { offered: 0, dropped: rows_of(&lost) },
            _ => Lost { offered: self.offer_again(lost, offer)?, dropped: 0 },
        };
        self.set_mirror_aside(common.seq, offer, lost.offered)?;
        let entries: Vec<Entry> = self.tables.entries()?.collect::<Result<_, _>>()?;
        for entry in entries {
            let common = if planted(Planted::BasesOfLostHistory) { Seq(u64::MAX) } else { common.seq };
            self.put_entry(&lowered(entry, common))?;
        }
        self.tables.drop_pairs_above(common.seq)?;
        self.tables.drop_authors_above(common.seq)?;
        self.tables.forget_history()?;
        if common.seq > Seq(0) {
            self.tables.put_pair(common)?;
        }
        self.lower_schema(common.seq)?;
        self.state.witness = common;
        self.state.result_seq = Seq(0);
        self.cursors = Cursors::default();
        Ok(lost)
    }

    /// The schema stays known, by a seq of the common history: rows that are made before the server tells its own count as made
    /// before whatever it has since then (H7).
    fn lower_schema(&mut self, common: Seq) -> Result<(), StoreError> {
        if self.state.schema > common {
            self.tables.put_schema(common, &self.schema.text)?;
            self.state.schema = common;
        }
        Ok(())
    }

    /// Lost pushes, oldest first, become entries under what is pending.
    fn offer_again(&mut self, lost: Vec<AcknowledgedPush>, offer: Offer) -> Result<u64, StoreError> {
        let mut by_row: BTreeMap<RowKey, Vec<Pending>> = BTreeMap::new();
        for (key, pending) in lost.into_iter().flat_map(|push| push.changes) {
            by_row.entry(key).or_default().push(as_sent_before(pending, SentBefore::Acknowledged));
        }
        let mut offered = 0;
        for (key, layers) in by_row {
            let mut entry = self.entry_or_new(key)?;
            entry.next = self.joined(key, layers.into_iter().chain(entry.next.take()));
            entry.generation = self.next_generation();
            // A decision changes no row: the values that lost go back into the history, and nobody is asked.
            if let Some(next) = entry.next.as_mut().filter(|next| next.op != Op::Decide) {
                offered += 1;
                // Also where something newer is pending: it would take the lost part along unasked.
                if offer == Offer::Ask {
                    next.review = Some(Review::Offered);
                }
            }
            self.touched.insert(key);
            self.put_entry(&entry)?;
        }
        self.unite_groups()?;
        Ok(offered)
    }

    /// Layers of one row, oldest first, as one change.
    fn joined(&mut self, key: RowKey, layers: impl Iterator<Item = Pending>) -> Option<Pending> {
        let mut joined: Option<Pending> = None;
        for layer in layers {
            joined = match joined {
                Some(mut older) => {
                    self.shares_groups(&older, Some(&layer));
                    stays_set_back(&mut older, &layer);
                    squash(self.schema.table(key.table), older, Some(layer))
                }
                None => Some(layer),
            };
        }
        joined
    }

    /// Sets the mirror aside as a read-only recovery copy; entries keep the last full row (O10, H3).
    fn set_mirror_aside(&mut self, common: Seq, offer: Offer, offered: u64) -> Result<(), StoreError> {
        self.state.recovery_copies += 1;
        let copy = self.state.recovery_copies;
        let mut rows = 0;
        for table in self.schema.tables.iter().map(|table| table.tag) {
            let mut after = None;
            loop {
                let page: Vec<_> = self.tables.mirror_rows(table, after)?.take(1000).collect::<Result<_, _>>()?;
                let Some(last) = page.last() else { break };
                after = Some(last.row.key.id);
                for held in &page {
                    self.tables.put_recovery_row(copy, &held.row)?;
                    self.keep_beside_entry(&held.row)?;
                    rows += 1;
                }
            }
        }
        let (at_ms, witness) = (self.now_ms, self.state.witness.seq);
        let record = RecoveryCopy { at_ms, counts_from_ms: None, common, witness, offer, rows, offered };
        self.tables.put_recovery(copy, &record)?;
        if planted(Planted::MirrorOfLostHistory) { Ok(()) } else { self.clear_mirror() }
    }

    fn keep_beside_entry(&mut self, row: &Row) -> Result<(), StoreError> {
        if let Some(mut entry) = self.tables.entry(row.key)? {
            entry.kept = Some(row.clone());
            self.put_entry(&entry)?;
        }
        Ok(())
    }

    /// Drops the mirrors whose days are over. Only when caught up, since that is when the server's clock is known: a device whose
    /// clock was set wrong must not lose them.
    pub fn drop_old_copies(&mut self) -> Result<(), StoreError> {
        let Some(now_ms) = self.agreed_ms else { return Ok(()) };
        for (copy, record) in self.tables.recovery_copies()? {
            match record.counts_from_ms {
                None => self.tables.put_recovery(copy, &RecoveryCopy { counts_from_ms: Some(now_ms), ..record })?,
                Some(from_ms) if now_ms - from_ms > RECOVERY_DAYS_MAX * DAY_MS => self.tables.remove_recovery(copy)?,
                Some(_) => {}
            }
        }
        Ok(())
    }
}

fn rows_of(lost: &[AcknowledgedPush]) -> u64 {
    let changes = lost.iter().flat_map(|push| &push.changes).filter(|(_, pending)| pending.op != Op::Decide);
    changes.map(|(key, _)| *key).collect::<BTreeSet<RowKey>>().len() as u64
}

fn as_sent_before(pending: Pending, sent_before: SentBefore) -> Pending {
    Pending { sent_before: pending.sent_before.max(sent_before), rounds: 0, review: None, ..pending }
}

/// What a person set back behind an edit that the server acknowledged and lost stays an edit: others may have agreed with the
/// first of the two, and their part would come back without the second. On an unknown value it is never back at its base.
fn stays_set_back(older: &mut Pending, newer: &Pending) {
    if older.sent_before != SentBefore::Acknowledged {
        return;
    }
    for (field, edit) in &mut older.fields {
        let is_back = |newer: &Edit| newer.value != edit.value && edit.base_value.as_ref() == Some(&newer.value);
        if newer.fields.get(field).is_some_and(is_back) {
            edit.base_value = None;
        }
    }
}

/// Bases of the lost history are worth no more than the newest commit in common (T6).
fn lowered(mut entry: Entry, common: Seq) -> Entry {
    entry.schema = entry.schema.min(common);
    if let Some(next) = &mut entry.next {
        next.row_base = next.row_base.min(common);
        for edit in next.fields.values_mut() {
            edit.base = edit.base.min(common);
        }
    }
    if let Some(kept) = &mut entry.kept {
        kept.seq = kept.seq.min(common);
        kept.since = kept.since.min(common);
        for stamped in kept.fields.values_mut() {
            stamped.stamp = stamped.stamp.min(common);
        }
    }
    entry
}
