//! What the engine puts out: frames for the link, events for whoever waits or watches, a word about the link; and how the
//! link stands, for people to see.

use super::jobs::deliver;
use super::link::LinkState;
use super::state::{Connection, Notice, SyncProgress};
use super::{Driver, PROMPT_RETURNS_MAX, random};
use crate::backoff::return_after_ms;
use crate::engine::Engine;
use crate::event::{Event, Lost};
use crate::session::{Hangup, Phase};
use tokio_tungstenite::tungstenite::Bytes;
use tombolo_protocol::message::CloseReason;

impl Driver {
    pub(super) fn drain(&mut self) {
        if let Some(error) = self.host.healthy().and_then(Engine::poll_failure) {
            return self.store_failed(Some(error));
        }
        self.drain_frames();
        while let Some(event) = self.host.healthy().and_then(Engine::poll_event) {
            self.tell(event);
        }
        if let Some(hangup) = self.host.healthy().and_then(Engine::poll_hangup) {
            self.hang_up(hangup);
        }
    }

    pub(super) fn drain_frames(&mut self) {
        if let LinkState::Up(up) = &mut self.link
            && let Some(engine) = self.host.healthy()
        {
            up.to_send.extend(std::iter::from_fn(|| engine.poll_frame()).map(Bytes::from));
        }
    }

    pub(super) fn tell(&mut self, event: Event) {
        match &event {
            Event::Online { .. } => self.online(),
            Event::CaughtUp { .. } => {
                self.prompt_returns = 0;
                self.show(Connection::Online);
            }
            Event::Progress { scanned, head } => {
                if let Some(job) = &mut self.sync {
                    (job.scanned, job.head) = (*scanned, *head);
                    job.progressed();
                }
                self.prompt_returns = 0;
                self.show_progress();
            }
            Event::RowsChanged(_) => {
                if let Some(job) = &mut self.sync {
                    job.progressed();
                    // Somebody waits, and the attempts lead on: the next one does not wait as if they had all failed.
                    self.backoff.reset();
                    // What was sent is not pending any more.
                    self.show_progress();
                }
            }
            Event::Diverged { lost, .. } => {
                if let Some(job) = &mut self.sync {
                    let before = job.lost.unwrap_or_default();
                    let (offered, dropped) = (before.offered + lost.offered, before.dropped + lost.dropped);
                    job.lost = Some(Lost { offered, dropped });
                }
                self.show_progress();
            }
            Event::NewLife { .. } => {
                if let Some(job) = &mut self.sync {
                    job.new_life = true;
                }
                self.show_progress();
            }
            Event::Synced(report) => {
                let report = report.clone();
                self.synced(report);
            }
            Event::UpdateNeeded => self.block(Connection::UpdateNeeded),
            Event::OtherServer => self.block(Connection::OtherServer),
            Event::History(_) | Event::Activity(_) => deliver(&mut self.questions, &event),
            Event::Restarting { after_ms, window_ms } => {
                self.return_after_ms = Some(return_after_ms(*after_ms, *window_ms, random()));
                self.unreachable("the server is restarting".to_owned());
            }
            Event::Closed(reason) => self.closed(reason),
            _ => {}
        }
        // Without subscribers there is nobody to tell.
        let _ = self.notices.send(Notice::Engine(event));
    }

    pub(super) fn online(&mut self) {
        self.show(Connection::CatchingUp);
        if let Some(job) = &mut self.sync {
            job.online();
        }
        if let Some(engine) = self.host.healthy() {
            self.questions.iter().for_each(|question| question.ask(engine));
        }
        self.show_progress();
    }

    pub(super) fn closed(&mut self, reason: &CloseReason) {
        match reason {
            CloseReason::Unauthorized | CloseReason::Revoked => self.block(Connection::NeedsLogin),
            CloseReason::Version { .. } => self.block(Connection::UpdateNeeded),
            CloseReason::TryLater { .. } => self.unreachable("the server has trouble of its own".to_owned()),
            CloseReason::Defect { .. } => self.unreachable("the server met a defect of its own over what was sent".to_owned()),
            CloseReason::Violation { what } => self.unreachable(format!("the server did not understand this program: {what}")),
            _ => self.unreachable("the server closed the link".to_owned()),
        }
    }

    pub(super) fn hang_up(&mut self, hangup: Hangup) {
        self.drain_frames();
        let returns_promptly = hangup == Hangup::Reconnect && self.prompt_returns < PROMPT_RETURNS_MAX;
        if returns_promptly {
            self.prompt_returns += 1;
            return self.end_link(false, Some(0));
        }
        match self.return_after_ms.take() {
            Some(wait_ms) => self.end_link(false, Some(wait_ms)),
            None => {
                self.end_link(false, None);
                if let Hangup::ReconnectAfter(ms) = hangup {
                    self.wait_at_least(u64::from(ms));
                }
            }
        }
    }

    pub(super) fn show_connection(&mut self) {
        let live = self.is_live();
        if self.host.healthy().is_some() {
            if self.trouble.take_if(|trouble| matches!(trouble, Connection::StoreFailed { .. })).is_some() {
                let _ = self.notices.send(Notice::Reread);
            }
        } else if let Some(failed @ Connection::StoreFailed { .. }) = self.trouble.clone() {
            // Also where no link is wanted: nothing can be saved.
            return self.show(failed);
        }
        let shown = match (&self.blocked, &self.link) {
            (Some(blocked), _) => blocked.clone(),
            // From Welcome on, the engine's events say it.
            (None, LinkState::Up(_)) if live => return,
            (None, LinkState::Up(_)) => Connection::Connecting,
            (None, _) if !self.is_asked_for_link() => Connection::Offline,
            (None, _) => self.trouble.clone().unwrap_or(Connection::Connecting),
        };
        self.show(shown);
    }

    pub(super) fn is_live(&mut self) -> bool {
        self.host.healthy().is_some_and(|engine| engine.phase() == Phase::Live)
    }

    pub(super) fn show(&mut self, connection: Connection) {
        let changed = self.connection.send_if_modified(|shown| {
            let changed = *shown != connection;
            *shown = connection.clone();
            changed
        });
        if changed {
            let _ = self.notices.send(Notice::Connection(connection));
            self.show_progress();
        }
    }

    pub(super) fn show_progress(&mut self) {
        let Some(job) = &self.sync else { return };
        let pending = self.host.healthy().and_then(|engine| engine.store().read().ok()?.entry_count().ok());
        job.watch.progress(SyncProgress {
            connection: self.connection.borrow().clone(),
            pending: pending.unwrap_or(0),
            scanned: job.scanned,
            head: job.head,
            bytes_up: self.bytes.up() - job.bytes_before.0,
            bytes_down: self.bytes.down() - job.bytes_before.1,
            lost: job.lost,
            new_life: job.new_life,
        });
    }
}
