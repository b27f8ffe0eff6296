//! What the server says, message by message; each that changes anything is one durable step.

use super::Engine;
use crate::answers::Tally;
use crate::event::Event;
use crate::pushes::Plan;
use crate::session::{Hangup, Phase};
use crate::step::{Step, StepError};
use crate::store::StoreError;
use std::collections::BTreeSet;
use std::sync::Arc;
use tombolo_protocol::cursor::Advance;
use tombolo_protocol::frame::decode_down;
use tombolo_protocol::ids::{DeviceId, Mark, Section, Seq, WorkspaceId};
use tombolo_protocol::message::{Authors, CaughtUp, CloseReason, Copied, Diverged, Down, Outcome, Up, Welcome};
use tombolo_protocol::planted::{Planted, planted};
use tombolo_protocol::schema::Schema;

impl Engine {
    /// A frame arrived.
    ///
    /// # Errors
    /// [`StepError::Violation`] when the server broke the protocol: close the link. [`StepError::Store`] when the disk failed:
    /// drop the engine and open the store again.
    pub fn handle_frame(&mut self, frame: &[u8], now_ms: i64) -> Result<(), StepError> {
        let message = decode_down(frame).map_err(|_| StepError::Violation("a frame that cannot be read"))?;
        self.session.heard(now_ms);
        match (self.session.phase, &message) {
            (Phase::Down, _) => return Ok(()),
            (Phase::Live, Down::Welcome(_)) => return Err(StepError::Violation("a second Welcome")),
            (
                Phase::Greeting | Phase::AskingDevice,
                Down::Result { .. } | Down::Delta(_) | Down::CaughtUp(_) | Down::Rows { .. } | Down::Sections { .. },
            ) => return Err(StepError::Violation("rows before Welcome")),
            _ => {}
        }
        match message {
            Down::Welcome(welcome) => self.welcome(*welcome, now_ms)?,
            Down::Copy(copied) => self.copied(*copied, now_ms)?,
            Down::Replaced { process, .. } => self.replaced(process, now_ms)?,
            Down::WhichCommon => self.which_common()?,
            Down::Diverged(diverged) => self.diverged(*diverged, now_ms)?,
            Down::OtherServer { workspace } => {
                self.met_other_server(workspace)?;
                self.events.push_back(Event::OtherServer);
                self.hangup = Some(Hangup::Stay);
            }
            Down::Result { snapshot, outcome, authors } => {
                let snapshot = self.snapshot(snapshot.or(Some(outcome.commit)))?;
                self.answered(snapshot, &[*outcome], &authors, now_ms, |_| Ok(()))?;
            }
            Down::Delta(delta) => {
                let snapshot = self.snapshot(delta.snapshot)?;
                self.session.rate.delta(frame.len(), now_ms);
                if planted(Planted::CursorBeforeRows) {
                    let advance = Advance { name: delta.cursor, to: delta.to, complete: delta.complete };
                    self.step(now_ms, |step| {
                        step.cursors.advance(advance);
                        Ok(())
                    })?;
                }
                self.step(now_ms, |step| step.delta(&delta, snapshot))?;
                self.count_pulled();
                self.send(&Up::AckDelta);
                self.events.push_back(Event::Progress { scanned: delta.to.seq, head: snapshot.seq });
            }
            Down::CaughtUp(caught_up) => self.caught_up(&caught_up, now_ms)?,
            Down::Sections { head, sections } => {
                let listed: BTreeSet<Section> = sections.into_iter().collect();
                self.session.told.hear_snapshot(Some(head));
                self.step(now_ms, |step| {
                    step.relist(&listed, head.seq)?;
                    if !planted(Planted::WitnessOfRows) {
                        step.witness(head)?;
                    }
                    Ok(())
                })?;
            }
            Down::Schema { seq, text } => self.take_schema(seq, text, now_ms)?,
            Down::History(history) => self.events.push_back(Event::History(history)),
            Down::Activity(activity) => self.events.push_back(Event::Activity(activity)),
            Down::DeviceIssued { device, token } => self.device_issued(device, token)?,
            Down::Pong { nonce } => self.session.pong(nonce),
            Down::Restarting { after_ms, window_ms } => {
                self.events.push_back(Event::Restarting { after_ms, window_ms });
                self.hangup = Some(Hangup::ReconnectAfter(after_ms));
            }
            Down::Closed(reason) => self.closed(reason),
            Down::Rows { snapshot, rows, asked, authors } => {
                let snapshot = self.snapshot(snapshot)?;
                self.step(now_ms, |step| {
                    step.keep_authors(&authors)?;
                    for want in &asked {
                        step.tables.remove_want(*want)?;
                    }
                    step.put_rows(&rows.0)?;
                    Ok(step.witness(snapshot)?)
                })?;
                // Without a wish they came ahead of a result.
                if !asked.is_empty() {
                    self.count_pulled();
                }
                asked.iter().for_each(|want| {
                    self.session.wanted.remove(want);
                });
            }
        }
        self.go_on(now_ms)
    }

    /// The snapshot of a message, which does not say it where it is that of the message before.
    fn snapshot(&mut self, said: Option<Mark>) -> Result<Mark, StepError> {
        self.session.told.hear_snapshot(said).ok_or(StepError::Violation("rows of no snapshot"))
    }

    /// Another workspace answers at the address: remembered until a person decides, or the right one is back (H2).
    pub(crate) fn met_other_server(&mut self, workspace: WorkspaceId) -> Result<(), StoreError> {
        self.write_state(|state| state.other_server = Some(workspace))
    }

    /// Rows of deltas and of answers to wishes count as pulled; those of results are the push's own.
    fn count_pulled(&mut self) {
        if let Some(sync) = &mut self.sync {
            sync.report.pulled += self.applied;
        }
    }

    fn welcome(&mut self, welcome: Welcome, now_ms: i64) -> Result<(), StepError> {
        self.session.welcomed(welcome.server_ms, now_ms);
        self.session.told.hear_snapshot(Some(welcome.snapshot));
        let listed = welcome.sections.map(|sections| sections.into_iter().collect::<BTreeSet<Section>>());
        self.answered(welcome.snapshot, &welcome.outcomes, &welcome.authors, now_ms, |step| {
            let named = step.cursors.sections.iter().chain(step.cursors.fills.keys());
            let listed = listed.unwrap_or_else(|| named.copied().collect());
            // The right workspace is back (H2).
            step.state.other_server = None;
            if step.state.rounds_used_up {
                step.begin_rounds_again()?;
            }
            step.relist(&listed, welcome.snapshot.seq)
        })?;
        self.session.phase = Phase::Live;
        // The server says so by itself once a session is caught up for the first time.
        self.session.asked_caught_up = true;
        self.events.push_back(Event::Online { server_ms: welcome.server_ms });
        Ok(())
    }

    /// Applies outcomes, whose rows were read from `snapshot`, and what goes with them, in one transaction: the witness takes the
    /// snapshot, since rows may be newer than the commits that are answered (T37).
    fn answered(
        &mut self,
        snapshot: Mark,
        outcomes: &[Outcome],
        authors: &Authors,
        now_ms: i64,
        then: impl FnOnce(&mut Step<'_, '_>) -> Result<(), StoreError>,
    ) -> Result<(), StepError> {
        let tallies = self.step(now_ms, |step| {
            step.keep_authors(authors)?;
            let tallies = outcomes.iter().map(|outcome| step.outcome(outcome)).collect::<Result<Vec<Tally>, _>>()?;
            then(step)?;
            if !planted(Planted::WitnessOfCommit) && !planted(Planted::WitnessOfDeltas) {
                step.witness(snapshot)?;
            }
            Ok(tallies)
        })?;
        if let Some(sync) = &mut self.sync {
            tallies.iter().for_each(|tally| sync.report.add(tally));
        }
        Ok(())
    }

    fn copied(&mut self, copied: Copied, now_ms: i64) -> Result<(), StepError> {
        let is_copy = self.store.read()?.frozen_under()?.is_none();
        self.answered(copied.snapshot, &copied.outcomes, &copied.authors, now_ms, |step| step.new_life())?;
        // Behind a login as another device there is nothing to tell: only what was frozen had to be settled.
        self.begin_again(is_copy.then_some(Event::NewLife { foreign_process: false }));
        Ok(())
    }

    fn replaced(&mut self, process: u64, now_ms: i64) -> Result<(), StepError> {
        if process != self.process && planted(Planted::TakeoverIgnored) {
            self.hangup = Some(Hangup::Reconnect);
        } else if process != self.process {
            // Only a copy of this store runs as another process at the same time (P4).
            self.step(now_ms, |step| Ok(step.new_life()?))?;
            self.begin_again(Some(Event::NewLife { foreign_process: true }));
        } else {
            self.hangup = Some(Hangup::Stay);
        }
        Ok(())
    }

    fn which_common(&mut self) -> Result<(), StepError> {
        let pairs = self.store.read()?.common_pairs()?;
        self.send(&Up::CommonPairs { pairs });
        Ok(())
    }

    fn diverged(&mut self, diverged: Diverged, now_ms: i64) -> Result<(), StepError> {
        let Diverged { common, outcomes, authors, offer, .. } = diverged;
        let lost = self.step(now_ms, |step| {
            // What is lost is taken first: the outcomes are of the new history, and acknowledged in it.
            let lost = step.take_lost(common.seq)?;
            step.keep_authors(&authors)?;
            outcomes.iter().try_for_each(|outcome| step.outcome(outcome).map(drop))?;
            Ok(step.diverged(common, offer, lost)?)
        })?;
        self.begin_again(Some(Event::Diverged { common: common.seq, lost }));
        Ok(())
    }

    fn begin_again(&mut self, event: Option<Event>) {
        self.events.extend(event);
        self.hangup = Some(Hangup::Reconnect);
    }

    fn device_issued(&mut self, device: DeviceId, token: String) -> Result<(), StepError> {
        let Some(mut account) = self.account.clone() else { return Ok(()) };
        (account.device, account.token) = (device, Some(token));
        let mut state = self.state.clone();
        state.needs_device = false;
        self.store.write(|tables| -> Result<(), StoreError> {
            tables.set_account(&account)?;
            tables.set_sync_state(&state)
        })?;
        (self.account, self.state) = (Some(account), state);
        self.hangup = Some(Hangup::Reconnect);
        Ok(())
    }

    fn take_schema(&mut self, seq: Seq, text: String, now_ms: i64) -> Result<(), StepError> {
        let Ok(schema) = Schema::parse(&text) else {
            self.events.push_back(Event::UpdateNeeded);
            self.hangup = Some(Hangup::Stay);
            return Ok(());
        };
        let rescoped: BTreeSet<_> = match &self.schema {
            Some(before) => before
                .tables
                .iter()
                .filter(|table| schema.table(table.tag).map(|after| after.scope) != Some(table.scope))
                .map(|table| table.tag)
                .collect(),
            None => BTreeSet::new(),
        };
        self.step(now_ms, |step| {
            // Under the old schema, by which their sections are known: rows of tables that are gone, or scoped otherwise.
            let staying: BTreeSet<Section> = step
                .cursors
                .sections
                .iter()
                .chain(step.cursors.fills.keys())
                .filter(|section| !rescoped.contains(&section.table))
                .copied()
                .collect();
            let head = step.state.witness.seq;
            let fills_without_head: Vec<Section> =
                step.cursors.fills.iter().filter(|(_, fill)| fill.head.is_none()).map(|(section, _)| *section).collect();
            step.relist(&staying, head)?;
            for section in fills_without_head {
                if let Some(fill) = step.cursors.fills.get_mut(&section) {
                    fill.head = None;
                }
            }
            step.tables.put_schema(seq, &text)?;
            step.state.schema = seq;
            Ok(())
        })?;
        self.schema = Some(Arc::new(schema));
        self.plan = Plan::default();
        self.events.push_back(Event::SchemaChanged);
        Ok(())
    }

    fn caught_up(&mut self, caught_up: &CaughtUp, now_ms: i64) -> Result<(), StepError> {
        self.session.asked_caught_up = false;
        // Both sides make the same moves on the same messages.
        if usize::try_from(caught_up.sections) != Ok(self.cursors.sections.len()) {
            return Err(StepError::Violation("digests of other sections than this device holds"));
        }
        let head = self.snapshot(caught_up.head)?;
        let digests = self.session.told.hear(&self.cursors.sections, &caught_up.digests);
        let rate = self.session.rate.rate().unwrap_or(self.rate);
        let differing = self.step(now_ms, |step| {
            step.tables.set_rate(rate)?;
            Ok(step.caught_up(caught_up, head, &digests)?)
        })?;
        self.rate = rate;
        self.session.caught_up = true;
        self.session.rate.pause();
        if !differing.is_empty() {
            let refetching = self.cursors.fills.values().any(|fill| fill.head.is_none());
            self.events.push_back(Event::DigestMismatch { sections: differing.len(), refetching });
            if refetching {
                self.hangup = Some(Hangup::Reconnect);
                return Ok(());
            }
        }
        if self.cursors.is_caught_up(head.seq) {
            self.events.push_back(Event::CaughtUp { head: head.seq });
            if let Some(sync) = &mut self.sync {
                sync.caught_up = Some(head);
            }
        }
        Ok(())
    }

    fn closed(&mut self, reason: CloseReason) {
        let hangup = match &reason {
            CloseReason::TryLater { after_ms } => Hangup::ReconnectAfter(*after_ms),
            // Either way it is what was sent that ended the session.
            CloseReason::Violation { .. } => {
                self.session.closed_over_push = true;
                Hangup::ReconnectAfter(0)
            }
            CloseReason::Defect { after_ms } => {
                self.session.closed_over_push = true;
                Hangup::ReconnectAfter(*after_ms)
            }
            _ => Hangup::Stay,
        };
        self.events.push_back(Event::Closed(reason));
        self.hangup = Some(hangup);
    }
}
