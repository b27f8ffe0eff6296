//! The thread that owns the engine: it moves bytes and time, and decides nothing but when to connect.
//!
//! # How it runs
//! One OS thread with a current-thread runtime. Commands come by a channel; after each of them, and after each frame and
//! timer, what the engine puts out is drained in the order that [`crate::engine`] asks for. The link's reading and writing
//! are tasks of their own ([`crate::transport`]), so that a dead link never holds up a local write.
//!
//! # When it is connected
//! While somebody asked to be ([`Mode::Manual`], [`Mode::Automatic`]), and for as long as a sync or a question takes. A state
//! that only a person can change (login, another server, an update) is kept until somebody acts.

mod clock;
mod host;
mod jobs;
mod state;
#[cfg(test)]
mod tests;

pub use state::{Connection, Mode, Notice, SyncDone, SyncError, SyncOptions, SyncProgress};

pub(crate) use clock::{random, wall_ms};
pub(crate) use host::{Host, Opener};
pub(crate) use jobs::{HistoryJob, Seen, SyncWatch};

use crate::backoff::{Backoff, return_after_ms};
use crate::engine::Engine;
use crate::event::{Event, SyncReport};
use crate::session::{Hangup, Phase};
use crate::step::StepError;
use crate::store::StoreError;
use crate::transport::{ByteCounts, ConnectError, Incoming, Knock, Link};
use crate::url::ServerUrl;
use clock::{Clock, Look};
use jobs::{SyncJob, deliver};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Bytes;
use tombolo_protocol::frame::{encode_up, hello_to_header};
use tombolo_protocol::message::{CloseReason, Up};

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

/// What the driver is told to do.
pub(crate) enum Command {
    /// Something with the engine. Returns whether its store failed.
    Act(Box<dyn FnOnce(&mut Host, i64) -> bool + Send>),
    Connect(Mode),
    Disconnect,
    /// A login, or the like: what only a person could change may be different now.
    Reconsider,
    Sync(SyncOptions, Arc<SyncWatch>),
    CancelSync,
    History(HistoryJob),
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
    let driver = Driver {
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
        histories: VecDeque::new(),
    };
    let thread = std::thread::Builder::new().name("tombolo-engine".to_owned()).spawn(move || runtime.block_on(driver.run()))?;
    Ok((sender, shared, thread))
}

enum LinkState {
    Down,
    /// It is tried again then.
    Waiting(Instant),
    Connecting {
        attempt: JoinHandle<Result<Link, ConnectError>>,
        /// The first frame, where Hello does not go with the request.
        first: Option<Bytes>,
    },
    Up(Box<UpLink>),
}

struct UpLink {
    link: Link,
    to_send: VecDeque<Bytes>,
    since: Instant,
}

enum News {
    Connected(Result<Link, ConnectError>),
    Incoming(Incoming),
    /// A frame went into the link's queue.
    Sent,
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
    histories: VecDeque<HistoryJob>,
}

impl Driver {
    async fn run(mut self) {
        loop {
            self.steer();
            let timer = self.next_timer();
            tokio::select! {
                command = self.commands.recv() => match command {
                    None | Some(Command::Stop) => break,
                    Some(command) => self.obey(command),
                },
                news = news(&mut self.link) => self.hear(news),
                () = sleep_until(timer) => self.time_passed(),
            }
            self.drain();
        }
        self.goodbye().await;
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
            Command::Reconsider => self.try_anew(),
            Command::Sync(options, watch) => self.begin_sync(options, watch),
            Command::CancelSync => self.end_sync(Err(SyncError::Cancelled)),
            Command::History(job) => self.ask_history(job),
            Command::Subscribe(reply) => {
                // Who asked may be gone again.
                let _ = reply.try_send(self.notices.subscribe());
            }
            Command::Stop => {}
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

    fn ask_history(&mut self, job: HistoryJob) {
        self.try_anew();
        if let Some(engine) = self.host.healthy()
            && engine.phase() == Phase::Live
        {
            engine.want_history(job.key);
        }
        self.histories.push_back(job);
    }

    // ---- the link ----

    /// Opens or closes the link, as it is wanted now, and shows how it stands.
    fn steer(&mut self) {
        let wanted = self.link_is_wanted();
        match self.link {
            LinkState::Down if wanted => self.connect(),
            LinkState::Waiting(until) if wanted && until <= Instant::now() => self.connect(),
            LinkState::Waiting(_) if !wanted => self.link = LinkState::Down,
            LinkState::Connecting { ref attempt, .. } if !wanted => {
                attempt.abort();
                self.end_link(false, Some(0));
            }
            LinkState::Up(_) if !wanted => {
                if let Some(engine) = self.host.healthy() {
                    engine.bye();
                }
                self.drain_frames();
                self.end_link(false, Some(0));
            }
            _ => {}
        }
        self.show_connection();
    }

    fn link_is_wanted(&mut self) -> bool {
        let asked = self.is_asked_for_link();
        asked && self.blocked.is_none() && self.has_token()
    }

    fn is_asked_for_link(&self) -> bool {
        let stays = matches!(self.wanted, Some(Mode::Manual | Mode::Automatic));
        stays || self.sync.is_some() || !self.histories.is_empty()
    }

    fn has_token(&mut self) -> bool {
        let account = self.host.healthy().and_then(|engine| engine.account());
        let has = account.is_some_and(|account| account.token.is_some());
        if !has && self.is_asked_for_link() && self.blocked.is_none() && self.host.healthy().is_some() {
            self.block(Connection::NeedsLogin);
        }
        has
    }

    fn connect(&mut self) {
        let now_ms = self.now_ms();
        let Some(engine) = self.host.healthy() else { return };
        let Some((url, token)) = engine.account().and_then(|account| Some((account.url.clone(), account.token.clone()?))) else {
            return;
        };
        let url: ServerUrl = match url.parse() {
            Ok(url) => url,
            Err(error) => return self.store_failed(Some(StoreError::Damaged(format!("the address of the server: {error}")))),
        };
        let up = match engine.connect(now_ms) {
            Ok(Some(up)) => up,
            Ok(None) => return,
            Err(error) => return self.store_failed(Some(error)),
        };
        let hello = if let Up::Hello(hello) = &up { hello_to_header(hello) } else { None };
        let first = hello.is_none().then(|| encode_up(&up).into());
        let attempt = tokio::spawn(Link::open(Knock { url, token, hello }, self.bytes.clone()));
        self.link = LinkState::Connecting { attempt, first };
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Connected(Ok(link)) => self.connected(link),
            News::Connected(Err(error)) => self.not_connected(error),
            News::Incoming(Incoming::Frame(frame)) => self.frame(&frame),
            News::Incoming(Incoming::Gone { by_error }) => self.link_broke(by_error),
            News::Sent => {}
        }
    }

    fn connected(&mut self, link: Link) {
        if let LinkState::Connecting { first, .. } = std::mem::replace(&mut self.link, LinkState::Down) {
            let to_send = first.into_iter().collect();
            self.bytes_seen = self.bytes.down();
            self.trouble = None;
            self.link = LinkState::Up(Box::new(UpLink { link, to_send, since: Instant::now() }));
        }
    }

    fn not_connected(&mut self, error: ConnectError) {
        let mut wait_ms = None;
        match &error {
            ConnectError::LoginNeeded => self.block(Connection::NeedsLogin),
            ConnectError::UpdateNeeded => self.block(Connection::UpdateNeeded),
            ConnectError::SomethingElse { what } => self.trouble = Some(Connection::CaptivePortal { what: what.clone() }),
            ConnectError::TryLater { after_ms, .. } => {
                wait_ms = Some(u64::from(*after_ms));
                self.unreachable(error.to_string());
            }
            ConnectError::Unreachable { why } => self.unreachable(why.clone()),
        }
        self.end_link(false, None);
        self.wait_at_least(wait_ms.unwrap_or(0));
        if wait_ms.is_some_and(|ms| ms > PATIENCE_MS) {
            let error = self.reason();
            self.end_sync(Err(error));
        }
    }

    fn unreachable(&mut self, why: String) {
        let since_ms = match &self.trouble {
            Some(Connection::ServerUnreachable { since_ms, .. }) => *since_ms,
            _ => wall_ms(),
        };
        self.trouble = Some(Connection::ServerUnreachable { since_ms, why });
    }

    fn link_broke(&mut self, by_error: bool) {
        self.unreachable("the link broke".to_owned());
        self.end_link(by_error, None);
    }

    fn frame(&mut self, frame: &[u8]) {
        let now_ms = self.now_ms();
        self.bytes_seen = self.bytes.down();
        let handled = match self.host.healthy() {
            Some(engine) => engine.handle_frame(frame, now_ms),
            None => return,
        };
        if let Err(error) = handled {
            self.step_failed(error);
        }
    }

    /// Ends the link behind what is still to be said, and plans the next one: `wait_ms` from now, or when the backoff says.
    fn end_link(&mut self, by_error: bool, wait_ms: Option<u64>) {
        let lived = match std::mem::replace(&mut self.link, LinkState::Down) {
            LinkState::Up(up) => {
                let UpLink { link, to_send, since } = *up;
                tokio::spawn(timeout(GOODBYE, send_and_close(link, to_send)));
                since.elapsed()
            }
            LinkState::Connecting { .. } | LinkState::Down | LinkState::Waiting(_) => Duration::ZERO,
        };
        if let Some(Err(error)) = self.host.healthy().map(|engine| engine.disconnected(by_error)) {
            return self.store_failed(Some(error));
        }
        let wait_ms = wait_ms.unwrap_or_else(|| {
            let lived_ms = u64::try_from(lived.as_millis()).unwrap_or(u64::MAX);
            let wait_ms = self.backoff.failed(lived_ms, random());
            self.count_failure();
            wait_ms
        });
        self.link = LinkState::Waiting(Instant::now() + Duration::from_millis(wait_ms));
    }

    fn wait_at_least(&mut self, ms: u64) {
        if let LinkState::Waiting(until) = &mut self.link {
            *until = (*until).max(Instant::now() + Duration::from_millis(ms));
        }
    }

    /// Those who wait are told when it makes no sense any more.
    fn count_failure(&mut self) {
        let given_up = self.sync.as_mut().is_some_and(SyncJob::failed);
        if given_up {
            let error = self.reason();
            self.end_sync(Err(error));
        }
        if self.backoff.failures() >= 3 {
            self.fail_histories();
        }
    }

    /// Why there is no link, for those who wait for one.
    fn reason(&self) -> SyncError {
        match self.blocked.as_ref().or(self.trouble.as_ref()) {
            Some(Connection::NeedsLogin) => SyncError::NeedsLogin,
            Some(Connection::OtherServer) => SyncError::OtherServer,
            Some(Connection::UpdateNeeded) => SyncError::UpdateNeeded,
            Some(Connection::CaptivePortal { what }) => SyncError::CaptivePortal { what: what.clone() },
            Some(Connection::ServerUnreachable { why, .. }) => SyncError::Unreachable { why: why.clone() },
            _ => SyncError::Unreachable { why: "the link broke".to_owned() },
        }
    }

    /// Only a person can go on from here; whoever waits is told.
    fn block(&mut self, state: Connection) {
        self.blocked = Some(state);
        let error = self.reason();
        self.end_sync(Err(error));
        self.fail_histories();
    }

    fn fail_histories(&mut self) {
        for job in std::mem::take(&mut self.histories) {
            let _ = job.reply.try_send(Err(self.reason()));
        }
    }

    // ---- time ----

    fn next_timer(&mut self) -> Instant {
        let now = Instant::now();
        let mut timers = Vec::new();
        match self.link {
            LinkState::Down => {}
            LinkState::Waiting(until) => timers.extend([until, now + CLOCK_LOOK]),
            LinkState::Connecting { .. } | LinkState::Up(_) => timers.push(now + CLOCK_LOOK),
        }
        if let LinkState::Up(_) = self.link {
            let now_ms = self.clock.look().now_ms;
            let deadline_ms = self.host.healthy().and_then(|engine| engine.deadline_ms());
            timers.extend(deadline_ms.map(|at| now + Duration::from_millis(u64::try_from(at - now_ms).unwrap_or(0))));
        }
        timers.extend(self.sync.as_ref().and_then(|job| job.deadline));
        timers.extend(self.histories.iter().map(|job| job.deadline));
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
        while self.histories.front().is_some_and(|job| job.deadline <= now) {
            let job = self.histories.pop_front().expect("there is a first one");
            let _ = job.reply.try_send(Err(SyncError::TimedOut));
        }
        if self.sync.is_some() {
            self.show_progress();
        }
    }

    // ---- what the engine puts out ----

    fn drain(&mut self) {
        self.drain_frames();
        while let Some(event) = self.host.healthy().and_then(Engine::poll_event) {
            self.tell(event);
        }
        if let Some(hangup) = self.host.healthy().and_then(Engine::poll_hangup) {
            self.hang_up(hangup);
        }
    }

    fn drain_frames(&mut self) {
        if let LinkState::Up(up) = &mut self.link
            && let Some(engine) = self.host.healthy()
        {
            up.to_send.extend(std::iter::from_fn(|| engine.poll_frame()).map(Bytes::from));
        }
    }

    fn tell(&mut self, event: Event) {
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
                }
            }
            Event::Synced(report) => {
                let report = report.clone();
                self.synced(report);
            }
            Event::UpdateNeeded => self.block(Connection::UpdateNeeded),
            Event::OtherServer => self.block(Connection::OtherServer),
            Event::History(history) => deliver(&mut self.histories, history),
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

    fn online(&mut self) {
        self.show(Connection::CatchingUp);
        if let Some(job) = &mut self.sync {
            job.online();
        }
        if let Some(engine) = self.host.healthy() {
            self.histories.iter().for_each(|job| engine.want_history(job.key));
        }
        self.show_progress();
    }

    fn closed(&mut self, reason: &CloseReason) {
        match reason {
            CloseReason::Unauthorized | CloseReason::Revoked => self.block(Connection::NeedsLogin),
            CloseReason::Version { .. } => self.block(Connection::UpdateNeeded),
            CloseReason::TryLater { .. } => self.unreachable("the server has trouble of its own".to_owned()),
            CloseReason::Violation { what } => self.unreachable(format!("the server did not understand this program: {what}")),
            _ => self.unreachable("the server closed the link".to_owned()),
        }
    }

    fn hang_up(&mut self, hangup: Hangup) {
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
            LinkState::Up(up) => up.link.cut(),
            LinkState::Connecting { attempt, .. } => attempt.abort(),
            LinkState::Down | LinkState::Waiting(_) => {}
        }
        if let Some(job) = self.sync.take() {
            let error = error.unwrap_or_else(|| StoreError::Io("an earlier write failed".to_owned()));
            job.watch.done(Err(SyncError::Store(error)));
        }
        self.fail_histories();
        // If it cannot be opened now, the next command tries again and tells its caller why not.
        let _ = self.host.engine();
        let wait_ms = self.backoff.failed(0, random());
        self.link = LinkState::Waiting(Instant::now() + Duration::from_millis(wait_ms));
        let _ = self.notices.send(Notice::Reread);
    }

    // ---- what is shown ----

    fn show_connection(&mut self) {
        let live = self.is_live();
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

    fn is_live(&mut self) -> bool {
        self.host.healthy().is_some_and(|engine| engine.phase() == Phase::Live)
    }

    fn show(&mut self, connection: Connection) {
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

    fn show_progress(&mut self) {
        let Some(job) = &self.sync else { return };
        let pending = self.host.healthy().and_then(|engine| engine.store().read().ok()?.entry_count().ok());
        job.watch.progress(SyncProgress {
            connection: self.connection.borrow().clone(),
            pending: pending.unwrap_or(0),
            scanned: job.scanned,
            head: job.head,
            bytes_up: self.bytes.up() - job.bytes_before.0,
            bytes_down: self.bytes.down() - job.bytes_before.1,
        });
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

/// What happens next on the link. Nothing is lost when this is given up half way.
async fn news(link: &mut LinkState) -> News {
    match link {
        LinkState::Down | LinkState::Waiting(_) => std::future::pending().await,
        LinkState::Connecting { attempt, .. } => {
            let opened = attempt.await;
            News::Connected(opened.unwrap_or_else(|_| Err(ConnectError::unreachable("the attempt was given up"))))
        }
        LinkState::Up(up) => {
            let UpLink { link, to_send, .. } = up.as_mut();
            tokio::select! {
                room = link.outgoing.reserve(), if !to_send.is_empty() => match room {
                    Ok(room) => {
                        room.send(to_send.pop_front().expect("there is a frame to send"));
                        News::Sent
                    }
                    Err(_) => News::Incoming(Incoming::Gone { by_error: false }),
                },
                incoming = link.incoming.recv() => News::Incoming(incoming.unwrap_or(Incoming::Gone { by_error: false })),
            }
        }
    }
}

async fn send_and_close(link: Link, to_send: VecDeque<Bytes>) {
    for frame in to_send {
        if link.outgoing.send(frame).await.is_err() {
            return;
        }
    }
    link.close().await;
}
