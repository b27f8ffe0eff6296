//! Pushing and the syncs that a person asks for.

use super::Engine;
use crate::event::{Event, SyncReport};
use crate::pushes::Plan;
use crate::session::Phase;
use crate::step::StepError;
use crate::store::{FrozenPush, ReadTables, StoreError, guarded};
use std::collections::BTreeSet;
use tombolo_protocol::batch::{ChangeBatch, WireChange};
use tombolo_protocol::change::Change;
use tombolo_protocol::ids::{Mark, RowKey, RowNo};
use tombolo_protocol::limits::{PUSH_FAILED_SESSIONS_MAX, WANT_ROWS_MAX};
use tombolo_protocol::message::{PushMessage, Up, WantedRow};
use tombolo_protocol::outbox::change_of;
use tombolo_protocol::planted::{Planted, planted};
use tombolo_protocol::row::RowName;

/// A sync that a person asked for.
pub(super) struct SyncRun {
    pub only: Option<BTreeSet<RowKey>>,
    pub report: SyncReport,
    /// Caught up after everything was answered.
    pub caught_up: Option<Mark>,
}

impl Engine {
    /// A person asks for a sync: what is ready is frozen and pushed once the server has answered, and everything is pulled. With
    /// `only`, of what is pending only these rows go, with their groups and with what must go before them: the new rows that
    /// they refer to. The end is told by [`Event::Synced`].
    ///
    /// # Errors
    /// [`StoreError`] when the disk fails.
    pub fn sync(&mut self, only: Option<BTreeSet<RowKey>>, now_ms: i64) -> Result<(), StepError> {
        self.sync = Some(SyncRun { only, report: SyncReport::default(), caught_up: None });
        self.session.asked_caught_up = false;
        self.plan = Plan::of_new_sync();
        self.go_on(now_ms)
    }

    /// Gives up waiting for a sync; nothing that is pending changes.
    pub fn cancel_sync(&mut self) -> Option<SyncReport> {
        self.take_sync().map(|sync| sync.report)
    }

    fn take_sync(&mut self) -> Option<SyncRun> {
        let sync = self.sync.take();
        if sync.as_ref().is_some_and(|sync| sync.only.is_some()) {
            // From now on everything may go again.
            self.plan = Plan::default();
        }
        sync
    }

    /// Asks for the history of a row; it comes as [`Event::History`].
    pub fn want_history(&mut self, key: RowKey) {
        self.send(&Up::WantHistory { key });
    }

    /// Asks what was done lately; it comes as [`Event::Activity`].
    pub fn want_activity(&mut self) {
        self.send(&Up::WantActivity);
    }

    /// Says goodbye.
    pub fn bye(&mut self) {
        if self.session.phase != Phase::Down {
            self.send(&Up::Bye);
        }
    }

    /// Does what can be done now: sends what is frozen, freezes what is ready, asks for missing rows, ends the sync.
    pub fn go_on(&mut self, now_ms: i64) -> Result<(), StepError> {
        if self.session.phase != Phase::Live || self.hangup.is_some() {
            return Ok(());
        }
        if self.automatic || self.sync.is_some() {
            self.freeze(now_ms)?;
        }
        self.send_pushes()?;
        self.send_wants()?;
        self.end_sync()
    }

    /// What a local write set free goes on. The write is durable and told so whatever becomes of this: a failure waits for the
    /// driver.
    pub(crate) fn go_on_behind(&mut self, now_ms: i64) {
        let gone_on = guarded(|| self.go_on(now_ms)).unwrap_or_else(|damaged| Err(damaged.into()));
        if let Err(error) = gone_on {
            self.failure = Some(error.into());
        }
    }

    fn end_sync(&mut self) -> Result<(), StepError> {
        if self.sync.is_none() {
            return Ok(());
        }
        let tables = self.store.read()?;
        let waiting = tables.frozen_count()? > 0 || !tables.wants()?.is_empty();
        drop(tables);
        let Some(sync) = &mut self.sync else { return Ok(()) };
        if waiting {
            sync.caught_up = None;
            return Ok(());
        }
        match sync.caught_up {
            Some(head) if head.seq >= self.state.result_seq => {
                let report = self.take_sync().map(|sync| sync.report).unwrap_or_default();
                self.events.push_back(Event::Synced(SyncReport { head: head.seq, ..report }));
            }
            _ if !self.session.asked_caught_up => {
                self.session.asked_caught_up = true;
                self.send(&Up::WantCaughtUp);
            }
            _ => {}
        }
        Ok(())
    }

    fn send_wants(&mut self) -> Result<(), StepError> {
        let wants: Vec<WantedRow> = self
            .store
            .read()?
            .wants()?
            .into_iter()
            .filter(|want| !self.session.wanted.contains(want))
            .take(WANT_ROWS_MAX)
            .collect();
        if !wants.is_empty() {
            self.session.wanted.extend(wants.iter().copied());
            self.send(&Up::WantRow { rows: wants });
        }
        Ok(())
    }

    /// Freezes what is ready into pushes, as many as the window holds: content, number and hash are durable before the first
    /// byte leaves (O5).
    fn freeze(&mut self, now_ms: i64) -> Result<(), StepError> {
        let limits = self.push_limits;
        if self.plan.is_done() {
            return self.end_halving();
        }
        // The window is filled again when half of it is free.
        if self.store.read()?.frozen_count()? > limits.window / 2 {
            return Ok(());
        }
        let only = self.sync.as_ref().and_then(|sync| sync.only.clone());
        // If the step fails, nothing is known of the outbox any more.
        let mut plan = std::mem::take(&mut self.plan);
        // Without a sync, automatic pushing sends whatever is ready.
        self.step(now_ms, |step| Ok(step.freeze(&mut plan, only.as_ref(), limits)?))?;
        self.plan = plan;
        Ok(())
    }

    /// Once everything that had to go in halves went through, pushes are whole again (P6).
    fn end_halving(&mut self) -> Result<(), StepError> {
        if self.state.push_changes_max != 0 && self.store.read()?.frozen_count()? == 0 {
            self.write_state(|state| state.push_changes_max = 0)?;
        }
        Ok(())
    }

    /// Sends the frozen pushes that this session has not sent yet, in order. The first one goes alone while sessions failed over
    /// it: else its answer might never arrive, because of another one behind it.
    pub(super) fn send_pushes(&mut self) -> Result<(), StoreError> {
        let mut messages = Vec::new();
        {
            let tables = self.store.read()?;
            let alone = tables.first_frozen()?.filter(|push| push.failed_sessions > 0).map(|push| push.number);
            for push in tables.frozen_after(self.session.sent)? {
                if alone.is_some_and(|alone| alone != push.number) {
                    break;
                }
                self.session.sent = push.number;
                let given_up = push.failed_sessions >= PUSH_FAILED_SESSIONS_MAX && !planted(Planted::PoisonForEver);
                messages.push(if given_up {
                    Up::Void { number: push.number, hash: push.hash }
                } else {
                    Up::Push(Box::new(push_message(&tables, &push)?))
                });
            }
        }
        messages.iter().for_each(|message| self.send(message));
        Ok(())
    }

    /// Bytes came that are not a whole frame yet: the link is alive.
    pub fn heard(&mut self, now_ms: i64) {
        self.session.heard(now_ms);
    }
}

/// A change as it goes over the wire, by its row's number where it is known.
pub(crate) fn wire_change(change: Change, number: Option<RowNo>) -> WireChange {
    let Change { key, op, row_base, view_base, fields, lost, group, edited_at_ms } = change;
    let name = number.map_or(RowName::Id(key.id, RowNo(0)), RowName::No);
    WireChange { table: key.table, name, op, row_base, view_base, fields, lost, group, edited_at_ms }
}

/// A frozen push as it goes over the wire: encoded anew for each session, by row numbers where they are known (P6, H6).
fn push_message(tables: &ReadTables, push: &FrozenPush) -> Result<PushMessage, StoreError> {
    let mut changes = Vec::with_capacity(push.rows.len());
    for (key, group) in &push.rows {
        let damaged = || StoreError::Damaged("a frozen push without its content".into());
        let sent = tables.entry(*key)?.and_then(|entry| entry.sent).ok_or_else(damaged)?;
        let number = tables.mirror(*key)?.map(|held| held.row.no).filter(|no| *no != RowNo(0));
        let change = change_of(*key, &sent.pending, sent.view_base, *group);
        changes.push(wire_change(change, number));
    }
    Ok(PushMessage { number: push.number, hash: push.hash, schema: push.schema, changes: ChangeBatch(changes) })
}
