//! One session at the server: a machine without IO, clock or randomness.
//!
//! # How it is driven
//! Inputs: [`Session::handle_up`] with decoded messages, [`Session::handle_bytes`] whenever any byte came,
//! [`Session::handle_head`] when the writer announced a new head, [`Session::handle_reply`] with the writer's answer to each
//! [`Output::Submit`] in order, and the other `handle_*`. While [`Session::wants_snapshot`], call [`Session::serve`] with a
//! **new** snapshot. After every input drain [`Session::poll_output`] until it is empty. Call [`Session::handle_timeout`] at
//! [`Session::deadline_ms`].
//!
//! # Invariants
//! - Nothing but Hello is read before the checks of Hello have passed (H1).
//! - The cursors here are those of the client at the end of the stream that was sent so far: both sides make the same moves on
//!   the same messages.
//! - A schema goes out before any row that was read under it (H7).

mod chunk;
mod hello;
mod live;
mod news;
mod registry;
mod wire;

pub use news::News;
pub use registry::{Entry, Registry, SessionId};

use crate::snapshot::{Identity, Snapshot};
use crate::store::StoreError;
use crate::workspace::{Job, PushReply};
use live::{Live, Recorded};
use std::collections::VecDeque;
use std::sync::Arc;
use tombolo_protocol::ids::{DeviceId, Mark};
use tombolo_protocol::limits::{
    CHECKS_MS_MAX, CHUNK_BYTES_FIRST, CHUNK_BYTES_MAX, CHUNK_ROWS_MAX, DELTA_CREDIT, PUSH_WINDOW_MAX,
};
use tombolo_protocol::message::{CloseReason, Down, Hello, Up};

/// Messages that may wait before the checks have passed, or for a snapshot.
const INBOX_MAX: usize = 2 * PUSH_WINDOW_MAX;

/// Up to so many changes a push costs few reads.
const LITTLE_CHANGES_MAX: usize = 8;

/// What may be set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionConfig {
    /// Rows in one chunk.
    pub chunk_rows_max: usize,
    /// First chunk, in estimated inflated bytes.
    pub chunk_bytes_first: usize,
    /// Largest chunk, and rows of any other message.
    pub chunk_bytes_max: usize,
    /// Delta chunks that may be unacknowledged.
    pub credit: u32,
    /// A session without any byte for so long is dead.
    pub silence_ms_max: i64,
    /// The checks must have passed after this, whatever bytes come.
    pub checks_ms_max: i64,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            chunk_rows_max: CHUNK_ROWS_MAX,
            chunk_bytes_first: CHUNK_BYTES_FIRST,
            chunk_bytes_max: CHUNK_BYTES_MAX,
            credit: DELTA_CREDIT,
            silence_ms_max: 45_000,
            checks_ms_max: CHECKS_MS_MAX,
        }
    }
}

/// What a session wants done, in this order.
#[derive(Clone, PartialEq, Debug)]
pub enum Output {
    /// Send this.
    Frame(Down),
    /// Send this: a delta, as a frame that is made already.
    Prepared(Arc<[u8]>),
    /// Give this to the writer, and its reply to [`Session::handle_reply`].
    Submit(Job),
    /// Make a random device id and token, have the writer issue them to this device ([`Job::IssueDevice`]), and call
    /// [`Session::handle_device_issued`] or [`Session::handle_device_refused`].
    IssueDevice,
    /// Tell this session that it was replaced: [`Session::handle_replaced`].
    Replace {
        /// The session.
        session: SessionId,
        /// The process that took over.
        process: u64,
        /// Its connection counter.
        connection: u32,
    },
    /// Close the connection, once the frames before this are out.
    Close,
}

/// A session.
pub struct Session {
    config: SessionConfig,
    id: SessionId,
    identity: Identity,
    phase: Phase,
    inbox: VecDeque<Up>,
    outputs: VecDeque<Output>,
    opened_ms: i64,
    heard_ms: i64,
    new_device: NewDevice,
}

/// Whether a new device was asked for; once is enough for a session.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NewDevice {
    No,
    Asked,
    Answered,
}

enum Phase {
    /// Nothing was said yet.
    Silent,
    /// Hello waits to be checked.
    Greeted(Box<Hello>),
    /// The client was asked which commits we have in common.
    AskedCommon(Box<Hello>),
    /// It said.
    Compared(Box<Hello>, Vec<Mark>),
    /// The checks have passed.
    Live(Box<Live>),
    /// Closed, or closing.
    Closed,
}

impl Session {
    /// A session of the device that a valid token named.
    pub fn new(config: SessionConfig, id: SessionId, identity: Identity, now_ms: i64) -> Self {
        Self {
            config,
            id,
            identity,
            phase: Phase::Silent,
            inbox: VecDeque::new(),
            outputs: VecDeque::new(),
            opened_ms: now_ms,
            heard_ms: now_ms,
            new_device: NewDevice::No,
        }
    }

    /// Whose session it is.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Any byte came from the client.
    pub fn handle_bytes(&mut self, now_ms: i64) {
        self.heard_ms = now_ms;
    }

    /// A message came.
    pub fn handle_up(&mut self, message: Up, now_ms: i64) {
        self.heard_ms = now_ms;
        match message {
            _ if matches!(self.phase, Phase::Closed) => {}
            // The pong says that everything before the ping was read (P6).
            Up::Ping { nonce } => self.send(Down::Pong { nonce }),
            Up::Bye => self.close(),
            Up::Hello(hello) => {
                if matches!(self.phase, Phase::Silent) {
                    self.phase = Phase::Greeted(hello);
                } else {
                    self.violation("a second Hello");
                }
            }
            // A store in a new life has no device to greet with: it asks for one first.
            Up::NewDevice if self.new_device == NewDevice::No => self.new_device = NewDevice::Asked,
            Up::NewDevice => self.violation("a second request for a device"),
            Up::CommonPairs { pairs } => match std::mem::replace(&mut self.phase, Phase::Closed) {
                Phase::AskedCommon(hello) => self.phase = Phase::Compared(hello, pairs),
                other => {
                    self.phase = other;
                    self.violation("common pairs that nobody asked for");
                }
            },
            other => self.handle_later(other, now_ms),
        }
    }

    /// Everything that is read only after the checks have passed.
    fn handle_later(&mut self, message: Up, now_ms: i64) {
        match &mut self.phase {
            Phase::Silent => return self.violation("a message before Hello"),
            // They count as not received (H1).
            Phase::AskedCommon(_) | Phase::Compared(..) | Phase::Closed => return,
            Phase::Greeted(_) => {}
            Phase::Live(live) => match message {
                Up::AckDelta => {
                    if !live.chunks.acknowledged(&self.config, now_ms) {
                        self.violation("an acknowledgement of nothing");
                    }
                    return;
                }
                Up::WantCaughtUp => {
                    live.owes_caught_up = true;
                    live.poked = true;
                    return;
                }
                _ if live.is_ending() => return,
                _ => {}
            },
        }
        if self.inbox.len() >= INBOX_MAX {
            return self.violation("more messages than the window allows");
        }
        self.inbox.push_back(message);
    }

    /// The writer announced a new head.
    pub fn handle_head(&mut self, news: News) {
        if let Phase::Live(live) = &mut self.phase {
            live.hear(news);
        }
    }

    /// The writer answered the oldest unanswered [`Output::Submit`].
    pub fn handle_reply(&mut self, reply: PushReply) {
        let Phase::Live(live) = &mut self.phase else { return };
        live.submitted = live.submitted.saturating_sub(1);
        match reply {
            PushReply::Recorded { number, verdicts, .. } => {
                live.recorded.push_back(Recorded { number, changes: verdicts.map(|verdicts| verdicts.len()) });
            }
            PushReply::Copy => {
                live.is_copy = true;
                self.inbox.clear();
            }
            // Behind a push that was not admitted nothing can be.
            PushReply::Gap { .. } | PushReply::HashMismatch if live.is_copy => {}
            PushReply::Revoked => self.close_with(Down::Closed(CloseReason::Revoked)),
            PushReply::Gap { .. } => self.violation("a push number is missing"),
            PushReply::HashMismatch => self.violation("a push that is not what its hash says"),
        }
    }

    /// The writer issued a device.
    pub fn handle_device_issued(&mut self, device: DeviceId, token: String) {
        self.send(Down::DeviceIssued { device, token });
    }

    /// The writer refused: meanwhile the device may not connect any more.
    pub fn handle_device_refused(&mut self) {
        self.close_with(Down::Closed(CloseReason::Unauthorized));
    }

    /// A newer session of this device took over. What was submitted is answered first: results precede this in the stream.
    pub fn handle_replaced(&mut self, process: u64, connection: u32) {
        self.end(Down::Replaced { process, connection });
    }

    /// The server stops and comes back.
    pub fn handle_restarting(&mut self, after_ms: u32, window_ms: u32) {
        self.end(Down::Restarting { after_ms, window_ms });
    }

    /// The store failed: nothing is answered any more (P9).
    pub fn handle_trouble(&mut self, after_ms: u32) {
        self.close_with(Down::Closed(CloseReason::TryLater { after_ms }));
    }

    /// What this session submitted met a defect of the server, and was not done. Its client is told so, since a push that does
    /// this again and again is given up some day (P6).
    pub fn handle_defect(&mut self, after_ms: u32) {
        self.close_with(Down::Closed(CloseReason::Defect { after_ms }));
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now_ms: i64) {
        if now_ms >= self.identity.expires_at_ms {
            self.close_with(Down::Closed(CloseReason::Unauthorized));
        } else if now_ms >= self.deadline_ms() {
            self.close();
        }
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn deadline_ms(&self) -> i64 {
        let silent_ms = self.heard_ms.saturating_add(self.config.silence_ms_max);
        let checked_ms = match self.phase {
            Phase::Live(_) => i64::MAX,
            _ => self.opened_ms.saturating_add(self.config.checks_ms_max),
        };
        silent_ms.min(checked_ms).min(self.identity.expires_at_ms)
    }

    /// Whether there is something to do that needs the state.
    pub fn wants_snapshot(&self) -> bool {
        match &self.phase {
            Phase::Closed => false,
            _ if self.new_device == NewDevice::Asked => true,
            Phase::Greeted(_) | Phase::Compared(..) => true,
            Phase::Live(live) => self.inbox.front().is_some_and(|next| live.may_read(next)) || live.wants_snapshot(),
            Phase::Silent | Phase::AskedCommon(_) => false,
        }
    }

    /// Whether that is little: pushes of few changes to be handed on, and their results.
    pub fn wants_little(&self) -> bool {
        let is_little = |message: &Up| matches!(message, Up::Push(push) if push.changes.0.len() <= LITTLE_CHANGES_MAX);
        match &self.phase {
            Phase::Live(live) => self.new_device != NewDevice::Asked && self.inbox.iter().all(is_little) && live.wants_little(),
            _ => false,
        }
    }

    /// Does what needs the state. `snapshot` must be at or above every commit that the writer has answered with.
    ///
    /// # Errors
    /// [`StoreError`]: close the session.
    pub fn serve(&mut self, snapshot: &Snapshot, registry: &Registry, now_ms: i64) -> Result<(), StoreError> {
        if self.new_device == NewDevice::Asked && !self.issue_device(snapshot)? {
            return Ok(());
        }
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Greeted(hello) => self.check(hello, snapshot, registry, now_ms)?,
            Phase::Compared(hello, pairs) => self.diverged(&hello, &pairs, snapshot)?,
            other => self.phase = other,
        }
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Live(live) => self.go_on(live, snapshot, now_ms),
            other => {
                self.phase = other;
                Ok(())
            }
        }
    }

    /// What to do next.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if self.outputs.is_empty() {
            // They are large: thousands of sessions that have nothing to say keep no room for them.
            self.outputs = VecDeque::new();
        }
        output
    }

    fn send(&mut self, message: Down) {
        self.outputs.push_back(Output::Frame(message));
    }

    /// Only a device that may connect gets another one; false where the session ends instead.
    fn issue_device(&mut self, snapshot: &Snapshot) -> Result<bool, StoreError> {
        self.new_device = NewDevice::Answered;
        if let Err(reason) = self.admitted(snapshot)? {
            self.close_with(Down::Closed(reason));
            return Ok(false);
        }
        self.outputs.push_back(Output::IssueDevice);
        Ok(true)
    }

    fn close(&mut self) {
        if !matches!(self.phase, Phase::Closed) || !matches!(self.outputs.back(), Some(Output::Close)) {
            self.outputs.push_back(Output::Close);
        }
        self.phase = Phase::Closed;
        self.inbox.clear();
    }

    fn close_with(&mut self, last: Down) {
        self.send(last);
        self.close();
    }

    fn violation(&mut self, what: &str) {
        self.close_with(Down::Closed(CloseReason::Violation { what: what.to_owned() }));
    }

    /// Ends the session with a last message, once what was submitted is answered. What was not submitted counts as not
    /// received.
    fn end(&mut self, last: Down) {
        match &mut self.phase {
            Phase::Closed => {}
            Phase::Live(live) => {
                self.inbox.clear();
                live.last_word.get_or_insert(last);
                live.poked = true;
            }
            _ => self.close_with(last),
        }
    }
}

#[cfg(test)]
mod tests;
