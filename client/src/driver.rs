//! The thread that owns the engine: it moves bytes and time, and decides nothing but when to connect.
//!
//! # How it runs
//! One OS thread with a current-thread runtime. Commands come by a channel; after each of them, and after each frame and
//! timer, what the engine puts out is drained in the order that [`crate::engine`] asks for. The link's reading and writing
//! are tasks of their own (see `transport`), so that a dead link never holds up a local write.
//!
//! # When it is connected
//! While somebody asked to be ([`Mode::Manual`], [`Mode::Automatic`]), and for as long as a sync or a question takes. A state
//! that only a person can change (login, another server, an update) is kept until somebody acts.

mod clock;
mod file_limit;
mod host;
mod jobs;
mod link;
mod outputs;
mod state;
#[cfg(test)]
mod tests;

pub use file_limit::outlive_file_size_limit;
pub use state::{Connection, Mode, Notice, SyncDone, SyncError, SyncOptions, SyncProgress};

pub(crate) use clock::{random, wall_ms};
pub(crate) use host::{Host, Opener};
pub(crate) use jobs::{Asked, Question, Reply, Seen, SyncWatch};

use crate::backoff::Backoff;
use crate::event::SyncReport;
use crate::session::Phase;
use crate::step::StepError;
use crate::store::{StoreError, guarded};
use crate::transport::ByteCounts;
use clock::{Clock, Look};
use jobs::SyncJob;
use link::{LinkState, news, send_and_close};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

/// Notices that a subscriber may be behind.
const NOTICES_MAX: usize = 1024;
/// How often the clocks are compared while there is, or should be, a link.
const CLOCK_LOOK: Duration = Duration::from_secs(5);
/// What is said at the end of a link has this long to leave.
const GOODBYE: Duration = Duration::from_secs(15);
/// When the program ends, it does not wait longer than this for the last bytes.
const GOODBYE_AT_END: Duration = Duration::from_secs(1);
/// Times that a link may end by agreement, to be opened again at once, before it counts as a failure.
const PROMPT_RETURNS_MAX: u32 = 4;

/// Who waits for a sync is told rather than kept waiting for a server that wants to be left alone for longer than this.
const PATIENCE_MS: u64 = 15_000;

/// Something to do with the engine at a time. Returns whether its store failed.
pub(crate) type Act = Box<dyn FnOnce(&mut Host, i64) -> bool + Send>;

/// What the driver is told to do.
pub(crate) enum Command {
    Act(Act),
    Connect(Mode),
    Disconnect,
    /// A login, or the like: what only a person could change may be different now.
    Reconsider,
    Sync(SyncOptions, Arc<SyncWatch>),
    CancelSync,
    Ask(Question),
    Subscribe(std::sync::mpsc::SyncSender<broadcast::Receiver<Notice>>),
    Stop,
}

/// What every handle may look at without asking.
#[derive(Clone)]
pub(crate) struct Shared {
    pub connection: watch::Receiver<Connection>,
    pub bytes: Arc<ByteCounts>,
}

/// Starts the thread.
pub(crate) fn start(host: Host) -> std::io::Result<(mpsc::UnboundedSender<Command>, Shared, std::thread::JoinHandle<()>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Whoever sends a command waits for its answer, so there are never more of them than threads.
    let (sender, commands) = mpsc::unbounded_channel();
    let (connection, shown) = watch::channel(Connection::Offline);
    let bytes = Arc::new(ByteCounts::default());
    let shared = Shared { connection: shown, bytes: bytes.clone() };
    let driver = Driver::new(host, commands, connection, bytes);
    let thread = std::thread::Builder::new().name("tombolo-engine".to_owned()).spawn(move || runtime.block_on(driver.run()))?;
    Ok((sender, shared, thread))
}

struct Driver {
    host: Host,
    commands: mpsc::UnboundedReceiver<Command>,
    clock: Clock,
    connection: watch::Sender<Connection>,
    notices: broadcast::Sender<Notice>,
    bytes: Arc<ByteCounts>,
    /// Bytes received when the engine last heard of them.
    bytes_seen: u64,
    wanted: Option<Mode>,
    /// Only a person can change this.
    blocked: Option<Connection>,
    /// Why there is no link though one is wanted.
    trouble: Option<Connection>,
    link: LinkState,
    backoff: Backoff,
    prompt_returns: u32,
    /// A restarting server said when to come back.
    return_after_ms: Option<u64>,
    sync: Option<SyncJob>,
    questions: VecDeque<Question>,
}

impl Driver {
    fn new(
        host: Host,
        commands: mpsc::UnboundedReceiver<Command>,
        connection: watch::Sender<Connection>,
        bytes: Arc<ByteCounts>,
    ) -> Self {
        Self {
            host,
            commands,
            clock: Clock::start(),
            connection,
            notices: broadcast::channel(NOTICES_MAX).0,
            bytes,
            bytes_seen: 0,
            wanted: None,
            blocked: None,
            trouble: None,
            link: LinkState::Down,
            backoff: Backoff::default(),
            prompt_returns: 0,
            return_after_ms: None,
            sync: None,
            questions: VecDeque::new(),
        }
    }

    async fn run(mut self) {
        loop {
            let mut timer = Instant::now();
            self.guard(|driver| {
                driver.steer();
                timer = driver.next_timer();
            });
            tokio::select! {
                command = self.commands.recv() => match command {
                    None | Some(Command::Stop) => break,
                    Some(command) => self.guard(|driver| driver.obey(command)),
                },
                news = news(&mut self.link) => self.guard(|driver| driver.hear(news)),
                () = sleep_until(timer) => self.guard(Self::time_passed),
            }
            self.guard(Self::drain);
        }
        self.goodbye().await;
    }

    /// Does what may read the store. A panic there is a failed store, and not the end of this thread.
    fn guard(&mut self, act: impl FnOnce(&mut Self)) {
        if let Err(error) = guarded(|| act(self)) {
            self.store_failed(Some(error));
        }
    }

    fn now_ms(&mut self) -> i64 {
        let Look { now_ms, jumped } = self.clock.look();
        if jumped {
            self.woke_up();
        }
        now_ms
    }

    /// The machine slept, or the clock was set: a link from before is not to be trusted, and waiting is over.
    fn woke_up(&mut self) {
        self.backoff.reset();
        match self.link {
            LinkState::Up(_) => self.end_link(false, Some(0)),
            LinkState::Waiting(_) => self.link = LinkState::Down,
            LinkState::Down | LinkState::Connecting { .. } => {}
        }
    }

    // ---- commands ----

    fn obey(&mut self, command: Command) {
        match command {
            Command::Act(act) => {
                let now_ms = self.now_ms();
                if act(&mut self.host, now_ms) {
                    self.store_failed(None);
                }
            }
            Command::Connect(mode) => {
                self.wanted = Some(mode);
                self.host.set_automatic(mode == Mode::Automatic);
                self.try_anew();
                self.go_on();
            }
            Command::Disconnect => {
                self.wanted = None;
                self.host.set_automatic(false);
                self.trouble = None;
            }
            Command::Reconsider => {
                self.leave_old_token();
                self.try_anew();
            }
            Command::Sync(options, watch) => self.begin_sync(options, watch),
            Command::CancelSync => self.end_sync(Err(SyncError::Cancelled)),
            Command::Ask(question) => self.ask(question),
            Command::Subscribe(reply) => {
                // Who asked may be gone again.
                let _ = reply.try_send(self.notices.subscribe());
            }
            Command::Stop => {}
        }
    }

    /// A link that was opened with the token before the login ends; the server would end it, as if the new one were no good.
    fn leave_old_token(&mut self) {
        if let LinkState::Connecting { .. } | LinkState::Up(_) = self.link {
            self.end_link(false, Some(0));
        }
    }

    /// A person acts: no more waiting.
    fn try_anew(&mut self) {
        self.blocked = None;
        self.backoff.reset();
        if let LinkState::Waiting(_) = self.link {
            self.link = LinkState::Down;
        }
    }

    /// What became ready by a change of the mode goes out.
    fn go_on(&mut self) {
        let now_ms = self.now_ms();
        let gone_on = self.host.healthy().map(|engine| engine.go_on(now_ms));
        if let Some(Err(error)) = gone_on {
            self.step_failed(error);
        }
    }

    fn begin_sync(&mut self, options: SyncOptions, watch: Arc<SyncWatch>) {
        if self.sync.is_some() {
            return watch.done(Err(SyncError::Busy));
        }
        let begun = Instant::now();
        let deadline = options.timeout.map(|timeout| begun + timeout);
        self.sync = Some(SyncJob::new(watch, begun, deadline, (self.bytes.up(), self.bytes.down())));
        self.try_anew();
        let now_ms = self.now_ms();
        let begun = self.host.engine().map_err(StepError::Store).and_then(|engine| engine.sync(options.only, now_ms));
        match begun {
            Ok(()) => self.show_progress(),
            Err(error) => self.step_failed(error),
        }
    }

    fn ask(&mut self, question: Question) {
        self.try_anew();
        if let Some(engine) = self.host.healthy()
            && engine.phase() == Phase::Live
        {
            question.ask(engine);
        }
        self.questions.push_back(question);
    }

    // ---- time ----

    fn next_timer(&mut self) -> Instant {
        // First: a sleep is noticed whatever event came first behind it, and changes the link.
        let now_ms = self.now_ms();
        let now = Instant::now();
        let mut timers = Vec::new();
        match self.link {
            LinkState::Down => {}
            LinkState::Waiting(until) => timers.extend([until, now + CLOCK_LOOK]),
            LinkState::Connecting { .. } | LinkState::Up(_) => timers.push(now + CLOCK_LOOK),
        }
        if let LinkState::Up(_) = self.link {
            let deadline_ms = self.host.healthy().and_then(|engine| engine.deadline_ms());
            timers.extend(deadline_ms.map(|at| now + Duration::from_millis(u64::try_from(at - now_ms).unwrap_or(0))));
        }
        timers.extend(self.sync.as_ref().and_then(|job| job.deadline));
        timers.extend(self.questions.iter().map(|question| question.deadline));
        // Without a link and without anybody who waits there is nothing to do: an hour is as good as for ever.
        timers.into_iter().min().unwrap_or(now + Duration::from_secs(3600))
    }

    fn time_passed(&mut self) {
        let now_ms = self.now_ms();
        if let LinkState::Up(_) = self.link
            && let Some(engine) = self.host.healthy()
        {
            // Bytes of a frame that is still coming are signs of life too.
            let heard = self.bytes.down();
            if heard != self.bytes_seen {
                self.bytes_seen = heard;
                engine.heard(now_ms);
            }
            engine.handle_timeout(now_ms);
        }
        let now = Instant::now();
        if self.sync.as_ref().is_some_and(|job| job.deadline.is_some_and(|deadline| deadline <= now)) {
            self.end_sync(Err(SyncError::TimedOut));
        }
        self.questions.retain(|question| {
            let waits = question.deadline > now;
            if !waits {
                question.fail(SyncError::TimedOut);
            }
            waits
        });
        if self.sync.is_some() {
            self.show_progress();
        }
    }

    // ---- the end of a sync, and failures ----

    fn synced(&mut self, report: SyncReport) {
        if let Some(job) = self.sync.take() {
            let done = SyncDone {
                report,
                bytes_up: self.bytes.up() - job.bytes_before.0,
                bytes_down: self.bytes.down() - job.bytes_before.1,
                duration_ms: u64::try_from(job.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            };
            job.watch.done(Ok(done));
        }
    }

    fn end_sync(&mut self, ended: Result<SyncDone, SyncError>) {
        // Who hears of the end may look at the state next.
        self.show_connection();
        if let Some(job) = self.sync.take() {
            if let Some(engine) = self.host.healthy() {
                engine.cancel_sync();
            }
            job.watch.done(ended);
        }
    }

    fn step_failed(&mut self, error: StepError) {
        match error {
            StepError::Store(error) => self.store_failed(Some(error)),
            StepError::Violation(what) => {
                self.unreachable(format!("the server broke the protocol: {what}"));
                self.end_link(false, None);
            }
        }
    }

    /// Nothing is answered from memory after a failed write: the link is cut, and the store opened again when it is needed.
    fn store_failed(&mut self, error: Option<StoreError>) {
        self.host.drop_engine();
        match std::mem::replace(&mut self.link, LinkState::Down) {
            LinkState::Up(up) => drop(up),
            LinkState::Connecting { attempt, .. } => attempt.abort(),
            LinkState::Down | LinkState::Waiting(_) => {}
        }
        if let Some(job) = self.sync.take() {
            let error = error.unwrap_or_else(|| StoreError::Io("an earlier write failed".to_owned()));
            job.watch.done(Err(SyncError::Store(error)));
        }
        self.fail_questions();
        self.open_store();
    }

    /// Opens the store again. Where that fails, the next command tries again and tells its caller why not; while somebody wants
    /// a link it is tried by itself, as often as a link would be. Returns whether it is open.
    fn open_store(&mut self) -> bool {
        let opened = self.host.engine().map(drop);
        if let Err(error) = &opened {
            self.trouble = Some(Connection::StoreFailed { error: error.clone() });
            self.fail_questions();
        }
        let wait_ms = self.backoff.failed(0, random());
        self.link = LinkState::Waiting(Instant::now() + Duration::from_millis(wait_ms));
        if opened.is_ok() {
            let _ = self.notices.send(Notice::Reread);
        }
        opened.is_ok()
    }

    async fn goodbye(mut self) {
        if let Some(engine) = self.host.healthy() {
            engine.bye();
        }
        self.drain_frames();
        match self.link {
            LinkState::Up(up) => {
                let _ = timeout(GOODBYE_AT_END, send_and_close(up.link, up.to_send)).await;
            }
            LinkState::Connecting { attempt, .. } => attempt.abort(),
            LinkState::Down | LinkState::Waiting(_) => {}
        }
    }
}
