//! The engine: session and store together, without sockets, clock or threads.
//!
//! # How it is driven
//! A driver opens a link, calls [`Engine::connect`] for the first frame, hands every frame that arrives to
//! [`Engine::handle_frame`], calls [`Engine::handle_timeout`] at [`Engine::deadline_ms`], and says [`Engine::disconnected`]
//! when the link is gone. After each of these calls it drains, in this order, [`Engine::poll_frame`], [`Engine::poll_event`]
//! and [`Engine::poll_hangup`]. Every frame that reveals something is released after the transaction that makes it durable.
//!
//! What never happens here: a network wait inside a local write, and an edit that is forgotten.

use crate::answers::Tally;
use crate::event::{Event, SyncReport};
use crate::session::{Hangup, Phase, Session};
use crate::step::{Step, StepError};
use crate::store::{Account, FrozenPush, Store, StoreError, SyncState};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use tombolo_protocol::batch::{ChangeBatch, WireChange};
use tombolo_protocol::cursor::Cursors;
use tombolo_protocol::frame::{decode_down, encode_up};
use tombolo_protocol::ids::{Mark, PushNo, RowKey, RowNo, Section, Seq};
use tombolo_protocol::limits::{PUSH_FAILED_SESSIONS_MAX, PUSH_WINDOW_MAX, WANT_ROWS_MAX};
use tombolo_protocol::message::{CloseReason, Copied, Diverged, Down, Hello, Outcome, PushMessage, Up, WantedRow, Welcome};
use tombolo_protocol::outbox::change_of;
use tombolo_protocol::row::RowName;
use tombolo_protocol::schema::Schema;
use tombolo_protocol::version::{PROTOCOL, PROTOCOL_LOWEST};

/// A sync that a person asked for.
struct SyncRun {
    only: Option<BTreeSet<RowKey>>,
    report: SyncReport,
    /// Caught up after everything was answered.
    caught_up: Option<Mark>,
}

/// The client engine of one store.
pub struct Engine {
    store: Store,
    schema: Option<Arc<Schema>>,
    account: Option<Account>,
    cursors: Cursors,
    state: SyncState,
    session: Session,
    process: u64,
    connections: u32,
    /// The newest push that was ever given to a link, as far as this process can know: those after it follow Hello at once.
    handed_out: PushNo,
    /// Whether local writes are pushed as soon as they can be.
    automatic: bool,
    sync: Option<SyncRun>,
    frames: VecDeque<Vec<u8>>,
    events: VecDeque<Event>,
    hangup: Option<Hangup>,
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
        let (account, cursors) = (tables.account()?, tables.cursors()?);
        drop(tables);
        Ok(Self {
            handed_out: state.frozen.0,
            store,
            schema,
            account,
            cursors,
            state,
            session: Session::default(),
            process,
            connections: 0,
            automatic: false,
            sync: None,
            frames: VecDeque::new(),
            events: VecDeque::new(),
            hangup: None,
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

    /// Whether there is a sync under way.
    pub fn is_syncing(&self) -> bool {
        self.sync.is_some()
    }

    /// Whether something waits to be settled with the server, so that a link is worth opening.
    ///
    /// # Errors
    /// [`StoreError`] when the disk fails.
    pub fn has_frozen(&self) -> Result<bool, StoreError> {
        Ok(!self.store.read()?.all_frozen()?.is_empty())
    }

    /// Takes what a login brought. The store keeps its device id if the server kept it; another workspace is refused while the
    /// store holds something (H2).
    ///
    /// # Errors
    /// [`LoginError`]; the store is as before.
    pub fn logged_in(&mut self, account: Account, schema: Option<(Seq, String)>) -> Result<(), LoginError> {
        if let Some(known) = &self.account
            && known.workspace != account.workspace
        {
            return Err(LoginError::OtherServer);
        }
        if self.account.as_ref().is_some_and(|known| known.user != account.user) {
            return Err(LoginError::OtherUser);
        }
        let parsed = match schema {
            Some((seq, text)) if seq > self.state.schema => {
                let parsed = Schema::parse(&text).map_err(|_| LoginError::Schema)?;
                Some((seq, text, parsed))
            }
            _ => None,
        };
        let mut state = self.state.clone();
        let new_device = self.account.as_ref().is_some_and(|known| known.device != account.device);
        self.store.write(|tables| -> Result<(), StoreError> {
            tables.set_account(&account)?;
            state.other_server = None;
            if let Some((seq, text, _)) = &parsed
                && self.state.schema == Seq(0)
            {
                tables.put_schema(*seq, text)?;
                state.schema = *seq;
            }
            tables.set_sync_state(&state)
        })?;
        if self.state.schema == Seq(0)
            && let Some((_, _, schema)) = parsed
        {
            self.schema = Some(Arc::new(schema));
        }
        self.state = state;
        self.account = Some(account);
        if new_device {
            self.step(0, |step| Ok(step.new_life()?)).map_err(LoginError::from)?;
            self.handed_out = PushNo(0);
            self.write_state(|state| state.needs_device = false)?;
        }
        Ok(())
    }

    /// Forgets the token; what is pending stays.
    ///
    /// # Errors
    /// [`StoreError`] when the disk fails.
    pub fn logged_out(&mut self) -> Result<(), StoreError> {
        if let Some(account) = &mut self.account {
            account.token = None;
            let account = account.clone();
            self.store.write(|tables| tables.set_account(&account))?;
        }
        Ok(())
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
        let (result, ended) = self.store.write(|tables| -> Result<_, StepError> {
            let mut step = Step::begin(tables, &schema, now_ms)?;
            let result = act(&mut step)?;
            Ok((result, step.end()?))
        })?;
        (self.cursors, self.state) = (ended.cursors, ended.state);
        if let Some(sync) = &mut self.sync {
            sync.report.pulled += ended.applied;
        }
        if !ended.touched.is_empty() {
            self.events.push_back(Event::RowsChanged(ended.touched.into_iter().collect()));
        }
        Ok(result)
    }

    // ---- the link ----

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
        let frozen = self.store.read()?.all_frozen()?;
        let hello = Hello {
            protocol: (PROTOCOL_LOWEST, PROTOCOL),
            workspace: account.workspace,
            device: account.device,
            process: self.process,
            connection: self.connections,
            schema: self.state.schema,
            schema_hash: self.schema.as_ref().map(|schema| schema.hash).unwrap_or_default(),
            cursors: self.cursors.clone(),
            witness: self.state.witness,
            applied: self.state.applied,
            frozen: frozen.iter().map(|push| (push.number, push.hash)).collect(),
            rate: 0,
        };
        // What was never sent follows at once; what may have arrived waits for Welcome (P8).
        if frozen.first().is_some_and(|push| push.number > self.handed_out) {
            self.send_pushes()?;
        }
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
        let first = self.store.read()?.all_frozen()?.into_iter().next();
        let by_error = by_error || self.session.closed_for_violation;
        if let Some(mut push) = first
            && push.number <= self.session.sent
            && (by_error || push.number <= self.session.read_by_server)
        {
            push.failed_sessions += 1;
            self.store.write(|tables| tables.put_frozen(&push))?;
        }
        self.session.begin(Phase::Down, 0);
        self.session.phase = Phase::Down;
        self.frames.clear();
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

    // ---- what the server says ----

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
            (Phase::Greeting | Phase::AskingDevice, Down::Result { .. } | Down::Delta(_) | Down::CaughtUp(_)) => {
                return Err(StepError::Violation("rows before Welcome"));
            }
            _ => {}
        }
        match message {
            Down::Welcome(welcome) => self.welcome(*welcome, now_ms)?,
            Down::Copy(copied) => self.copied(*copied, now_ms)?,
            Down::Replaced { process, .. } => self.replaced(process, now_ms)?,
            Down::WhichCommon => self.which_common()?,
            Down::Diverged(diverged) => self.diverged(*diverged, now_ms)?,
            Down::OtherServer { workspace } => {
                self.write_state(|state| state.other_server = Some(workspace))?;
                self.events.push_back(Event::OtherServer);
                self.hangup = Some(Hangup::Stay);
            }
            Down::Result { snapshot, outcome, authors } => {
                self.result(snapshot, &[*outcome], &authors, now_ms)?;
            }
            Down::Delta(delta) => {
                self.step(now_ms, |step| step.delta(&delta))?;
                self.send(&Up::AckDelta);
                self.events.push_back(Event::Progress { scanned: delta.to.seq, head: delta.snapshot.seq });
            }
            Down::CaughtUp(caught_up) => self.caught_up(&caught_up, now_ms)?,
            Down::Sections { head, sections } => {
                let listed: BTreeSet<Section> = sections.into_iter().collect();
                self.step(now_ms, |step| Ok(step.relist(&listed, head)?))?;
            }
            Down::Schema { seq, text } => self.take_schema(seq, text, now_ms)?,
            Down::History(history) => self.events.push_back(Event::History(history)),
            Down::DeviceIssued { device, token } => self.device_issued(device, token)?,
            Down::Pong { nonce } => self.session.pong(nonce),
            Down::Restarting { after_ms, window_ms } => {
                self.events.push_back(Event::Restarting { after_ms, window_ms });
                self.hangup = Some(Hangup::ReconnectAfter(after_ms));
            }
            Down::Closed(reason) => self.closed(reason),
            Down::Rows { snapshot, rows, asked, authors } => {
                self.step(now_ms, |step| {
                    step.keep_authors(&authors)?;
                    for want in &asked {
                        step.tables.remove_want(*want)?;
                    }
                    step.put_rows(&rows.0)?;
                    Ok(step.witness(snapshot)?)
                })?;
                asked.iter().for_each(|want| {
                    self.session.wanted.remove(want);
                });
            }
        }
        self.go_on(now_ms)
    }

    fn welcome(&mut self, welcome: Welcome, now_ms: i64) -> Result<(), StepError> {
        self.result(welcome.snapshot, &welcome.outcomes, &welcome.authors, now_ms)?;
        let listed: BTreeSet<Section> = match welcome.sections {
            Some(sections) => sections.into_iter().collect(),
            None => self.cursors.sections.iter().chain(self.cursors.fills.keys()).copied().collect(),
        };
        self.step(now_ms, |step| {
            step.relist(&listed, welcome.snapshot.seq)?;
            Ok(step.witness(welcome.snapshot)?)
        })?;
        self.session.phase = Phase::Live;
        // The server says so by itself once a session is caught up for the first time.
        self.session.asked_caught_up = true;
        self.events.push_back(Event::Online { server_ms: welcome.server_ms });
        Ok(())
    }

    /// Applies outcomes, with the rows read from `snapshot`, in one transaction.
    fn result(
        &mut self,
        snapshot: Mark,
        outcomes: &[Outcome],
        authors: &tombolo_protocol::message::Authors,
        now_ms: i64,
    ) -> Result<(), StepError> {
        let tallies = self.step(now_ms, |step| {
            step.keep_authors(authors)?;
            let tallies = outcomes.iter().map(|outcome| step.outcome(outcome)).collect::<Result<Vec<Tally>, _>>()?;
            step.witness(snapshot)?;
            Ok(tallies)
        })?;
        if let Some(sync) = &mut self.sync {
            tallies.iter().for_each(|tally| sync.report.add(tally));
        }
        Ok(())
    }

    fn copied(&mut self, copied: Copied, now_ms: i64) -> Result<(), StepError> {
        self.step(now_ms, |step| {
            step.keep_authors(&copied.authors)?;
            for outcome in &copied.outcomes {
                step.outcome(outcome)?;
            }
            step.witness(copied.snapshot)?;
            Ok(step.new_life()?)
        })?;
        self.begin_again(Event::NewLife { foreign_process: false });
        Ok(())
    }

    fn replaced(&mut self, process: u64, now_ms: i64) -> Result<(), StepError> {
        if process != self.process {
            // Only a copy of this store runs as another process at the same time (P4).
            self.step(now_ms, |step| Ok(step.new_life()?))?;
            self.begin_again(Event::NewLife { foreign_process: true });
        } else {
            self.hangup = Some(Hangup::Stay);
        }
        Ok(())
    }

    fn which_common(&mut self) -> Result<(), StepError> {
        // The beginning is common to everything in one workspace, whose id the server has checked.
        let pairs = self.store.read()?.pairs()?.into_iter().chain([Mark::default()]).collect();
        self.send(&Up::CommonPairs { pairs });
        Ok(())
    }

    fn diverged(&mut self, diverged: Diverged, now_ms: i64) -> Result<(), StepError> {
        self.step(now_ms, |step| {
            step.keep_authors(&diverged.authors)?;
            for outcome in &diverged.outcomes {
                step.outcome(outcome)?;
            }
            Ok(step.diverged(diverged.common, diverged.offer)?)
        })?;
        self.begin_again(Event::Diverged { common: diverged.common.seq });
        Ok(())
    }

    fn begin_again(&mut self, event: Event) {
        self.handed_out = PushNo(0);
        self.events.push_back(event);
        self.hangup = Some(Hangup::Reconnect);
    }

    fn device_issued(&mut self, device: tombolo_protocol::ids::DeviceId, token: String) -> Result<(), StepError> {
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
        self.events.push_back(Event::SchemaChanged);
        Ok(())
    }

    fn caught_up(&mut self, caught_up: &tombolo_protocol::message::CaughtUp, now_ms: i64) -> Result<(), StepError> {
        self.session.asked_caught_up = false;
        let differing = self.step(now_ms, |step| Ok(step.caught_up(caught_up)?))?;
        if !differing.is_empty() {
            let refetching = self.cursors.fills.values().any(|fill| fill.head.is_none());
            self.events.push_back(Event::DigestMismatch { sections: differing.len(), refetching });
            if refetching {
                self.hangup = Some(Hangup::Reconnect);
                return Ok(());
            }
        }
        if self.cursors.is_caught_up(caught_up.head.seq) {
            self.events.push_back(Event::CaughtUp { head: caught_up.head.seq });
            if let Some(sync) = &mut self.sync {
                sync.caught_up = Some(caught_up.head);
            }
        }
        Ok(())
    }

    fn closed(&mut self, reason: CloseReason) {
        let hangup = match &reason {
            CloseReason::TryLater { after_ms } => Hangup::ReconnectAfter(*after_ms),
            CloseReason::Violation { .. } => {
                self.session.closed_for_violation = true;
                Hangup::ReconnectAfter(0)
            }
            _ => Hangup::Stay,
        };
        self.events.push_back(Event::Closed(reason));
        self.hangup = Some(hangup);
    }

    // ---- sync ----

    /// A person asks for a sync: what is ready is frozen and pushed, and everything is pulled. With `only`, of what is pending
    /// only these rows (with their groups) go. The end is told by [`Event::Synced`].
    ///
    /// # Errors
    /// [`StoreError`] when the disk fails.
    pub fn sync(&mut self, only: Option<BTreeSet<RowKey>>, now_ms: i64) -> Result<(), StepError> {
        self.sync = Some(SyncRun { only, report: SyncReport::default(), caught_up: None });
        self.session.asked_caught_up = false;
        self.step(now_ms, |step| {
            let entries: Vec<_> = step.tables.entries()?.collect::<Result<_, _>>()?;
            for mut entry in entries {
                if let Some(next) = &mut entry.next
                    && next.rounds > 0
                {
                    next.rounds = 0;
                    step.tables.put_entry(&entry)?;
                }
            }
            Ok(())
        })?;
        if self.session.phase == Phase::Down {
            self.freeze(now_ms)?;
        }
        self.go_on(now_ms)
    }

    /// Gives up waiting for a sync; nothing that is pending changes.
    pub fn cancel_sync(&mut self) -> Option<SyncReport> {
        self.sync.take().map(|sync| sync.report)
    }

    /// Asks for the history of a row; it comes as [`Event::History`].
    pub fn want_history(&mut self, key: RowKey) {
        self.send(&Up::WantHistory { key });
    }

    /// Says goodbye.
    pub fn bye(&mut self) {
        if self.session.phase != Phase::Down {
            self.send(&Up::Bye);
        }
    }

    /// Does what can be done now: sends what is frozen, freezes what is ready, asks for missing rows, ends the sync.
    pub(crate) fn go_on(&mut self, now_ms: i64) -> Result<(), StepError> {
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

    fn end_sync(&mut self) -> Result<(), StepError> {
        if self.sync.is_none() {
            return Ok(());
        }
        let tables = self.store.read()?;
        let waiting = !tables.all_frozen()?.is_empty() || !tables.wants()?.is_empty();
        drop(tables);
        let Some(sync) = &mut self.sync else { return Ok(()) };
        if waiting {
            sync.caught_up = None;
            return Ok(());
        }
        match sync.caught_up {
            Some(head) if head.seq >= self.state.result_seq => {
                if self.state.push_changes_max != 0 {
                    self.write_state(|state| state.push_changes_max = 0)?;
                }
                let report = self.sync.take().map(|sync| sync.report).unwrap_or_default();
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
        let only = self.sync.as_ref().and_then(|sync| sync.only.clone());
        // Without a sync, automatic pushing sends whatever is ready.
        self.step(now_ms, |step| Ok(step.freeze(only.as_ref(), PUSH_WINDOW_MAX)?))
    }

    /// Sends the frozen pushes that this session has not sent yet, in order.
    fn send_pushes(&mut self) -> Result<(), StoreError> {
        let mut messages = Vec::new();
        {
            let tables = self.store.read()?;
            for push in tables.all_frozen()? {
                if push.number <= self.session.sent {
                    continue;
                }
                self.session.sent = push.number;
                self.handed_out = self.handed_out.max(push.number);
                let given_up = push.failed_sessions >= PUSH_FAILED_SESSIONS_MAX;
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

/// A frozen push as it goes over the wire: encoded anew for each session, by row numbers where they are known (P6, H6).
fn push_message(tables: &crate::store::ReadTables, push: &FrozenPush) -> Result<PushMessage, StoreError> {
    let mut changes = Vec::with_capacity(push.rows.len());
    for (key, group) in &push.rows {
        let damaged = || StoreError::Damaged("a frozen push without its content".into());
        let sent = tables.entry(*key)?.and_then(|entry| entry.sent).ok_or_else(damaged)?;
        let number = tables.mirror(*key)?.map(|held| held.row.no).filter(|no| *no != RowNo(0));
        let change = change_of(*key, &sent.pending, sent.view_base, *group);
        changes.push(WireChange {
            table: key.table,
            name: number.map_or(RowName::Id(key.id, RowNo(0)), RowName::No),
            op: change.op,
            row_base: change.row_base,
            view_base: change.view_base,
            fields: change.fields,
            lost: change.lost,
            group: change.group,
            edited_at_ms: change.edited_at_ms,
        });
    }
    Ok(PushMessage { number: push.number, hash: push.hash, schema: push.schema, changes: ChangeBatch(changes) })
}

fn no_schema() -> Schema {
    Schema { name: String::new(), scope_table: None, tables: Vec::new(), text: String::new(), hash: Default::default() }
}

/// Why a login cannot be taken by this store.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The store belongs to another workspace.
    #[error("this is another server than the one that this data came from; nothing was changed. Use another data folder (--store)")]
    OtherServer,
    /// The store belongs to another user.
    #[error("this data belongs to another user; nothing was changed. Use another data folder (--store)")]
    OtherUser,
    /// The server's schema is newer than this program understands.
    #[error("the server's schema is newer than this program understands; please update Tombolo")]
    Schema,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<StepError> for LoginError {
    fn from(error: StepError) -> Self {
        match error {
            StepError::Store(store) => Self::Store(store),
            StepError::Violation(what) => Self::Store(StoreError::Damaged(what.into())),
        }
    }
}
