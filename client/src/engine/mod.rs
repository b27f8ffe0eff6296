//! The engine: session and store together, without sockets, clock or threads.
//!
//! # How it is driven
//! A driver opens a link, calls [`Engine::connect`] for the first frame, hands every frame that arrives to
//! [`Engine::handle_frame`], calls [`Engine::handle_timeout`] at [`Engine::deadline_ms`], and says [`Engine::disconnected`]
//! when the link is gone. After each of these calls it drains, in this order, [`Engine::poll_frame`], [`Engine::poll_event`]
//! and [`Engine::poll_hangup`]. Behind a local write it asks [`Engine::poll_failure`] before that. Every frame that reveals
//! something is released after the transaction that makes it durable.
//!
//! What never happens here: a network wait inside a local write, and an edit that is forgotten.

mod account;
mod receive;
mod sync;
#[cfg(feature = "driver")]
pub(crate) use sync::wire_change;
#[cfg(test)]
mod tests;

pub use account::LoginError;

use crate::event::Event;
use crate::pushes::{Plan, PushLimits};
use crate::session::{Hangup, Phase, Session};
use crate::step::{Step, StepError};
use crate::store::{Account, Store, StoreError, SyncState};
use std::collections::VecDeque;
use std::sync::Arc;
use sync::SyncRun;
use tombolo_protocol::cursor::Cursors;
use tombolo_protocol::frame::encode_up;
use tombolo_protocol::ids::Generation;
use tombolo_protocol::message::{Hello, Up};
use tombolo_protocol::schema::Schema;
use tombolo_protocol::version::{PROTOCOL, PROTOCOL_LOWEST};

/// The client engine of one store.
pub struct Engine {
    store: Store,
    schema: Option<Arc<Schema>>,
    account: Option<Account>,
    cursors: Cursors,
    state: SyncState,
    /// The newest generation that was given out.
    generation: Generation,
    /// The last measured rate of the link, as Hello says it.
    rate: u32,
    session: Session,
    process: u64,
    connections: u32,
    /// Whether local writes are pushed as soon as they can be.
    automatic: bool,
    push_limits: PushLimits,
    plan: Plan,
    sync: Option<SyncRun>,
    /// Rows that the last step applied from what the server said.
    applied: u64,
    frames: VecDeque<Vec<u8>>,
    events: VecDeque<Event>,
    hangup: Option<Hangup>,
    failure: Option<StoreError>,
}

impl Engine {
    /// The engine of a store. `process` is a random number of this process (P4).
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read, or its schema is from a newer version.
    pub fn open(store: Store, process: u64) -> Result<Self, StoreError> {
        let tables = store.read()?;
        let state = tables.sync_state()?;
        let schema = match tables.schema_text(state.schema)? {
            Some(text) => Some(Arc::new(Schema::parse(&text).map_err(|e| StoreError::Damaged(e.to_string()))?)),
            None => None,
        };
        let (account, cursors, rate) = (tables.account()?, tables.cursors()?, tables.rate()?);
        drop(tables);
        Ok(Self {
            store,
            schema,
            account,
            cursors,
            generation: Generation(state.generations),
            state,
            rate,
            session: Session::default(),
            process,
            connections: 0,
            automatic: false,
            push_limits: PushLimits::default(),
            plan: Plan::default(),
            sync: None,
            applied: 0,
            frames: VecDeque::new(),
            events: VecDeque::new(),
            hangup: None,
            failure: None,
        })
    }

    /// The store, for reading.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The schema, once it is known.
    pub fn schema(&self) -> Option<&Arc<Schema>> {
        self.schema.as_ref()
    }

    /// Whom the store belongs to.
    pub fn account(&self) -> Option<&Account> {
        self.account.as_ref()
    }

    /// Where the client stands.
    pub fn cursors(&self) -> &Cursors {
        &self.cursors
    }

    /// Everything small that moves while syncing.
    pub fn state(&self) -> &SyncState {
        &self.state
    }

    /// Where the session stands.
    pub fn phase(&self) -> Phase {
        self.session.phase
    }

    /// Whether local writes are pushed as soon as they can be.
    pub fn set_automatic(&mut self, automatic: bool) {
        self.automatic = automatic;
    }

    /// How often this process has connected by this engine and those before it.
    pub fn connections(&self) -> u32 {
        self.connections
    }

    /// Goes on counting where the engine before this one ended: the server takes a lower number of the same process for a late
    /// connection (P4).
    pub fn set_connections(&mut self, connections: u32) {
        self.connections = connections;
    }

    /// Sets how much is frozen at a time; a simulator sets it to silly values.
    pub fn set_push_limits(&mut self, limits: PushLimits) {
        self.push_limits = limits;
        self.plan = Plan::default();
    }

    /// Whether there is a sync under way.
    pub fn is_syncing(&self) -> bool {
        self.sync.is_some()
    }

    /// Whether something waits to be settled with the server, so that a link is worth opening.
    ///
    /// # Errors
    /// [`StoreError`] when the disk fails.
    pub fn has_frozen(&self) -> Result<bool, StoreError> {
        Ok(self.store.read()?.frozen_count()? > 0)
    }

    fn write_state(&mut self, change: impl FnOnce(&mut SyncState)) -> Result<(), StoreError> {
        let mut state = self.state.clone();
        change(&mut state);
        self.store.write(|tables| tables.set_sync_state(&state))?;
        self.state = state;
        Ok(())
    }

    /// One durable step.
    pub(crate) fn step<R>(
        &mut self,
        now_ms: i64,
        act: impl FnOnce(&mut Step<'_, '_>) -> Result<R, StepError>,
    ) -> Result<R, StepError> {
        let schema = self.schema.clone().unwrap_or_else(|| Arc::new(no_schema()));
        let (agreed_ms, generation) = (self.session.agreed_ms(now_ms), self.generation);
        let (result, ended) = self.store.write(|tables| -> Result<_, StepError> {
            let mut step = Step::begin(tables, &schema, now_ms)?;
            step.agreed_ms = agreed_ms;
            step.generation = generation;
            let result = act(&mut step)?;
            Ok((result, step.end()?))
        })?;
        (self.cursors, self.state, self.generation) = (ended.cursors, ended.state, ended.generation);
        self.applied = ended.applied;
        self.plan.moved(ended.moved);
        if !ended.touched.is_empty() {
            self.events.push_back(Event::RowsChanged(ended.touched.into_iter().collect()));
        }
        Ok(result)
    }

    /// A link is being opened: the first frame. `None` where there is no one to connect as.
    ///
    /// # Errors
    /// [`StoreError`] when the disk fails.
    pub fn connect(&mut self, now_ms: i64) -> Result<Option<Up>, StoreError> {
        let Some(account) = self.account.clone() else { return Ok(None) };
        self.frames.clear();
        self.hangup = None;
        if self.state.needs_device {
            self.session.begin(Phase::AskingDevice, now_ms);
            return Ok(Some(Up::NewDevice));
        }
        self.session.begin(Phase::Greeting, now_ms);
        self.connections += 1;
        let tables = self.store.read()?;
        let frozen = tables.all_frozen()?;
        let hello = Hello {
            protocol: (PROTOCOL_LOWEST, PROTOCOL),
            workspace: account.workspace,
            device: tables.frozen_under()?.unwrap_or(account.device),
            process: self.process,
            connection: self.connections,
            schema: self.state.schema,
            schema_hash: self.schema.as_ref().map(|schema| schema.hash).unwrap_or_default(),
            cursors: self.cursors.clone(),
            witness: self.state.witness,
            applied: self.state.applied,
            frozen: frozen.iter().map(|push| (push.number, push.hash)).collect(),
            rate: self.rate,
        };
        Ok(Some(Up::Hello(Box::new(hello))))
    }

    /// The link is gone. `by_error` says that the server closed it with an error.
    ///
    /// # Errors
    /// [`StoreError`] when the disk fails.
    pub fn disconnected(&mut self, by_error: bool) -> Result<(), StoreError> {
        if self.session.phase == Phase::Down {
            return Ok(());
        }
        let first = self.store.read()?.first_frozen()?;
        let by_error = by_error || self.session.closed_over_push;
        if let Some(mut push) = first
            && push.number <= self.session.sent
            && (by_error || push.number <= self.session.read_by_server)
        {
            push.failed_sessions += 1;
            self.store.write(|tables| tables.put_frozen(&push))?;
        }
        if self.session.phase == Phase::Live && !self.session.caught_up {
            // The server sizes its first chunk by the rate: one of a better link might never arrive over this one.
            self.keep_rate(self.session.rate.rate().unwrap_or(0))?;
        }
        self.session.begin(Phase::Down, 0);
        self.frames.clear();
        Ok(())
    }

    fn keep_rate(&mut self, rate: u32) -> Result<(), StoreError> {
        if rate != self.rate {
            self.store.write(|tables| tables.set_rate(rate))?;
            self.rate = rate;
        }
        Ok(())
    }

    /// The next frame to send.
    pub fn poll_frame(&mut self) -> Option<Vec<u8>> {
        self.frames.pop_front()
    }

    /// The next thing to tell.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// What to do with the link, once all frames are out.
    pub fn poll_hangup(&mut self) -> Option<Hangup> {
        self.hangup.take()
    }

    /// How the store failed behind a local write, which itself is durable: drop the engine and open the store again.
    pub fn poll_failure(&mut self) -> Option<StoreError> {
        self.failure.take()
    }

    /// When [`Engine::handle_timeout`] wants to be called, in milliseconds of the clock that the driver uses for `now_ms`.
    pub fn deadline_ms(&self) -> Option<i64> {
        self.session.deadline_ms()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now_ms: i64) {
        if self.session.is_dead(now_ms) {
            self.hangup = Some(Hangup::Reconnect);
        } else if let Some(nonce) = self.session.ping_due(now_ms) {
            self.send(&Up::Ping { nonce });
        }
    }

    fn send(&mut self, message: &Up) {
        self.frames.push_back(encode_up(message));
    }
}

fn no_schema() -> Schema {
    Schema { name: String::new(), scope_table: None, tables: Vec::new(), text: String::new(), hash: Default::default() }
}
