//! `GET /sync`: the WebSocket of a session.
//!
//! The session machine decides, this file moves bytes: one task reads and drives the machine, one writes. The queue between
//! them is short, so a slow peer stops its own session and costs the server nothing else; the writes themselves have their
//! deadline below ([`super::peer::Watched`]). Store reads run on blocking threads, a few at a time over all sessions; frames
//! are made there too, so that compression contexts are as few as those threads. A push of few changes and its result are
//! read and made by the session's own task: they name rows that are in memory mostly, and handing a session over to another
//! thread and back would cost several times as much.

use super::clock::{self, SteadyClock};
use super::config::Limits;
use super::hub::{Health, Heard, Hub, Place, Replaced, Unavailable};
use super::log;
use super::login::new_token;
use super::peer::Peer;
use super::socket::{Incoming, Outgoing};
use super::writer::{Answer, Defect};
use crate::session::{News, Output, Session, SessionConfig};
use crate::snapshot::Identity;
use crate::workspace::{Job, Reply};
use axum::body::Bytes;
use futures::StreamExt;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Utf8Bytes;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message};
use tombolo_protocol::error::DecodeError;
use tombolo_protocol::frame;
use tombolo_protocol::ids::DeviceId;
use tombolo_protocol::limits::PUSH_WINDOW_MAX;
use tombolo_protocol::message::{CloseReason, Down, Hello, Up};

/// Frames that wait for the writing task. Two bulk chunks are outstanding at most, the rest are answers.
const FRAMES_MAX: usize = 16;
/// After trouble with the store, clients come back after this.
const TROUBLE_AFTER_MS: u32 = 2_000;
/// A peer has this long to take the closing frame.
const CLOSE_DEADLINE: Duration = Duration::from_secs(5);
/// And this long to close its side.
const LINGER: Duration = Duration::from_secs(5);

/// What a session's task needs beside its socket.
pub(crate) struct Connection {
    pub(crate) hub: Arc<Hub>,
    pub(crate) place: Place,
    pub(crate) heard: Heard,
    pub(crate) peer: Arc<Peer>,
    pub(crate) identity: Identity,
    /// Hello as the upgrade request had it, if it did.
    pub(crate) hello: Option<Result<Box<Hello>, DecodeError>>,
    pub(crate) limits: Arc<Limits>,
    /// Store reads at the same time, over all sessions.
    pub(crate) reads: Arc<Semaphore>,
}

/// Begins a session; what is returned ends with it. What thousands of idle sessions have at once is small: what is large and rarely
/// used is boxed while it is used, and this is no `async fn`, which would have room for all that is only handed on.
pub(crate) fn begin(
    incoming: Incoming,
    outgoing: Outgoing,
    connection: Box<Connection>,
    busy: mpsc::Sender<()>,
) -> impl Future<Output = ()> + Send {
    let (frames, queue) = mpsc::channel(FRAMES_MAX);
    let last_word = frames.clone();
    let mut writer = tokio::spawn(write(outgoing, queue));
    let Connection { hub, place, heard, peer, identity, hello, limits, reads } = *connection;
    let Heard { replaced, mut shut_out } = heard;
    let clock = SteadyClock::start();
    let shut_out_after = limits.shut_out_after;
    let (replies, answers) = mpsc::channel(PUSH_WINDOW_MAX + 1);
    // Before the first read, so that no news after it is missed.
    let mut inbox = Inbox { answers, replaced, head: hub.head(), health: hub.health() };
    if !matches!(*inbox.health.borrow_and_update(), Health::Serving(_)) {
        inbox.health.mark_changed();
    }
    let driver = Box::new(Driver {
        session: Some(Session::new(SessionConfig::default(), place.id, identity, clock.now_ms())),
        clock,
        known_read: peer.last_read(),
        look_at: Instant::now() + limits.alive_every,
        frames,
        replies,
        under_way: 0,
        issued: VecDeque::new(),
        identity,
        peer,
        limits,
        reads,
        hub,
    });
    let mut driven = tokio::spawn(driver.run(hello, incoming, inbox));
    async move {
        let whole = async {
            match (&mut driven).await {
                Ok(incoming) => {
                    drop(last_word);
                    Box::pin(linger(incoming, &mut writer)).await;
                }
                Err(_) => {
                    log::to_stderr(&"a session ended with a defect");
                    let _ = last_word.try_send(closing(CloseCode::Error));
                    drop(last_word);
                    let _ = (&mut writer).await;
                }
            }
        };
        let cut = tokio::select! {
            () = whole => false,
            () = overdue(&mut shut_out, shut_out_after) => true,
        };
        if cut {
            driven.abort();
            writer.abort();
        }
        drop((place, busy));
    }
}

/// Waits for the writer, which ends behind the last frame or by its deadline, and for the peer to take it: a socket that is
/// closed over bytes that nobody read takes the last frames back.
async fn linger(mut incoming: Incoming, writer: &mut JoinHandle<()>) {
    let peer_left = async { while let Some(Ok(_)) = incoming.next().await {} };
    let left_first = tokio::select! {
        () = peer_left => true,
        _ = async { ((&mut *writer).await, tokio::time::sleep(LINGER).await) } => false,
    };
    // A peer that left is told so behind what waits, as far as it takes that in time; then nothing of the session goes on.
    let goes_on = left_first && !writer.is_finished();
    if goes_on && tokio::time::timeout(CLOSE_DEADLINE, &mut *writer).await.is_err() {
        writer.abort();
    }
}

fn closing(code: CloseCode) -> Box<Message> {
    Box::new(Message::Close(Some(CloseFrame { code, reason: Utf8Bytes::default() })))
}

/// Ends when a device that was revoked had its time to be told so: a peer that takes no bytes must not hold a session open.
async fn overdue(shut_out: &mut watch::Receiver<bool>, after: Duration) {
    if shut_out.wait_for(|shut_out| *shut_out).await.is_err() {
        std::future::pending::<()>().await;
    }
    Box::pin(tokio::time::sleep(after)).await;
}

/// Writes frames in order, many with one flush where many wait.
async fn write(mut outgoing: Outgoing, mut queue: mpsc::Receiver<Box<Message>>) {
    while let Some(first) = queue.recv().await {
        let waiting = std::iter::from_fn(|| queue.try_recv().ok());
        let messages = std::iter::once(first).chain(waiting).take(FRAMES_MAX).map(|message| *message);
        if outgoing.write(messages).await.is_err() {
            return;
        }
    }
    let _ = tokio::time::timeout(CLOSE_DEADLINE, outgoing.close()).await;
}

/// What comes to a session from inside the server.
struct Inbox {
    answers: mpsc::Receiver<Answer>,
    replaced: watch::Receiver<Option<Replaced>>,
    head: watch::Receiver<News>,
    health: watch::Receiver<Health>,
}

/// The session is over; what has to be said to the peer is in the queue.
struct Over;

struct Driver {
    /// Away only while a blocking thread serves it.
    session: Option<Session>,
    clock: SteadyClock,
    /// When the last byte came, as of the last message or the last look: what came behind it is of a message that is coming in.
    known_read: Instant,
    /// When to look for that.
    look_at: Instant,
    frames: mpsc::Sender<Box<Message>>,
    replies: mpsc::Sender<Answer>,
    /// Jobs whose replies are awaited; no more than `replies` holds.
    under_way: usize,
    /// Tokens of devices that are being issued, in order.
    issued: VecDeque<String>,
    identity: Identity,
    hub: Arc<Hub>,
    peer: Arc<Peer>,
    limits: Arc<Limits>,
    reads: Arc<Semaphore>,
}

impl Driver {
    /// Gives the stream back, for what the peer still sends.
    async fn run(
        mut self: Box<Self>,
        hello: Option<Result<Box<Hello>, DecodeError>>,
        mut incoming: Incoming,
        inbox: Inbox,
    ) -> Incoming {
        let begun = match hello {
            Some(Ok(hello)) => Box::pin(self.hear(Up::Hello(hello))).await,
            Some(Err(error)) => Box::pin(self.refuse(format!("Hello cannot be read: {error}"))).await,
            None => Ok(()),
        };
        if begun.is_ok() {
            let Over = self.listen(&mut incoming, inbox).await;
        }
        incoming
    }

    async fn listen(&mut self, incoming: &mut Incoming, inbox: Inbox) -> Over {
        let Inbox { mut answers, mut replaced, mut head, mut health } = inbox;
        let mut goes_on = Ok(());
        while goes_on.is_ok() {
            let deadline_ms = self.session().deadline_ms();
            let deadline = self.clock.instant_of(deadline_ms).min(self.look_at);
            goes_on = tokio::select! {
                biased;
                // Answers before the head that they belong to (S6).
                Some(reply) = answers.recv() => self.answer(reply).await,
                Ok(()) = replaced.changed() => {
                    let by = *replaced.borrow_and_update();
                    self.replaced(by).await
                }
                Ok(()) = health.changed() => {
                    let news = *health.borrow_and_update();
                    self.end_by(news).await
                }
                Ok(()) = head.changed() => {
                    let news = *head.borrow_and_update();
                    self.session().handle_head(news);
                    self.pump().await
                }
                message = incoming.next(), if self.under_way < PUSH_WINDOW_MAX => self.receive(message).await,
                () = tokio::time::sleep_until(deadline) => self.time_out().await,
            };
        }
        Over
    }

    fn session(&mut self) -> &mut Session {
        self.session.as_mut().expect("it is away only inside `serve`")
    }

    async fn receive(&mut self, message: Option<Result<Message, tungstenite::Error>>) -> Result<(), Over> {
        self.reads_on();
        match message {
            Some(Ok(Message::Binary(frame))) => match frame::decode_up(&frame) {
                Ok(up) => self.hear(up).await,
                Err(error) => self.refuse(format!("a frame cannot be read: {error}")).await,
            },
            Some(Ok(Message::Text(_))) => self.refuse("text where only binary messages are spoken".to_owned()).await,
            Some(Ok(Message::Ping(data))) => {
                self.is_alive();
                self.frames.send(Box::new(Message::Pong(data))).await.map_err(|_| Over)
            }
            Some(Ok(Message::Pong(_) | Message::Frame(_))) => {
                self.is_alive();
                Ok(())
            }
            Some(Ok(Message::Close(why))) => {
                let _ = self.frames.try_send(Box::new(Message::Close(why)));
                Err(Over)
            }
            Some(Err(_)) | None => Err(Over),
        }
    }

    async fn hear(&mut self, up: Up) -> Result<(), Over> {
        let now_ms = self.is_alive();
        self.session().handle_up(up, now_ms);
        self.pump().await
    }

    /// Bytes have come. Returns the time.
    fn is_alive(&mut self) -> i64 {
        let now_ms = self.clock.now_ms();
        self.session().handle_bytes(now_ms);
        now_ms
    }

    /// Says what is wrong with bytes that never reach the machine, and ends.
    async fn refuse(&mut self, what: String) -> Result<(), Over> {
        self.send(frame::encode_down(&Down::Closed(CloseReason::Violation { what })).into()).await?;
        self.close(CloseCode::Protocol).await
    }

    async fn close(&self, code: CloseCode) -> Result<(), Over> {
        let _ = self.frames.send(closing(code)).await;
        Err(Over)
    }

    async fn answer(&mut self, answer: Answer) -> Result<(), Over> {
        self.under_way -= 1;
        match *answer {
            Err(Defect) => self.session().handle_defect(TROUBLE_AFTER_MS),
            Ok(Reply::Push(reply)) => self.session().handle_reply(reply),
            Ok(Reply::Token(Ok(device))) => {
                if let Some(token) = self.issued.pop_front() {
                    self.session().handle_device_issued(device, token);
                }
            }
            Ok(Reply::Token(Err(_))) => self.session().handle_device_refused(),
            Ok(_) => self.session().handle_trouble(TROUBLE_AFTER_MS),
        }
        self.pump().await
    }

    async fn replaced(&mut self, by: Option<Replaced>) -> Result<(), Over> {
        if let Some(Replaced { process, connection }) = by {
            self.session().handle_replaced(process, connection);
        }
        self.pump().await
    }

    /// Whatever the news of the server is, a session ends by it. After trouble also when the store is back already: what the
    /// session was about to answer is not to be trusted (P9).
    async fn end_by(&mut self, health: Health) -> Result<(), Over> {
        match health {
            Health::Stopping => {
                let (after_ms, window_ms) = (self.limits.restart_after_ms, self.limits.restart_window_ms);
                self.session().handle_restarting(after_ms, window_ms);
            }
            Health::Trouble | Health::Serving(_) => self.session().handle_trouble(TROUBLE_AFTER_MS),
        }
        self.pump().await
    }

    /// Whether bytes came since this was asked last.
    fn reads_on(&mut self) -> bool {
        self.look_at = Instant::now() + self.limits.alive_every;
        let last_read = self.peer.last_read();
        std::mem::replace(&mut self.known_read, last_read) < last_read
    }

    async fn time_out(&mut self) -> Result<(), Over> {
        if self.look_at <= Instant::now() && self.reads_on() {
            // A peer whose large frame takes long hears nothing else meanwhile. Where the queue is full there are other bytes.
            let _ = self.frames.try_send(Box::new(Message::Ping(Bytes::new())));
        }
        let now_ms = self.clock.now_ms();
        // Bytes of a frame that is still coming are signs of life too.
        let last_ms = self.clock.ms_of(self.peer.last_read());
        self.session().handle_bytes(last_ms);
        if self.session().deadline_ms() <= now_ms {
            self.session().handle_timeout(now_ms);
        }
        self.pump().await
    }

    /// Drains what the machine puts out, serving it as often as it wants to read.
    fn pump(&mut self) -> Pin<Box<dyn Future<Output = Result<(), Over>> + Send + '_>> {
        Box::pin(async {
            loop {
                while let Some(output) = self.session().poll_output() {
                    self.put_out(output).await?;
                }
                if !self.session().wants_snapshot() {
                    return Ok(());
                }
                self.serve().await?;
            }
        })
    }

    async fn put_out(&mut self, output: Output) -> Result<(), Over> {
        match output {
            Output::Frame(down) => self.send(frame::encode_down(&down).into()).await,
            Output::Prepared(frame) => self.send(Bytes::from_owner(frame)).await,
            Output::Submit(job) => self.submit(job).await,
            Output::IssueDevice => {
                let (token, hash) = new_token();
                self.issued.push_back(token);
                let job = Job::IssueDevice {
                    asking: self.identity.device,
                    by_token: self.identity.token,
                    fresh: DeviceId(clock::random_id()),
                    token: hash,
                    expires_at_ms: super::login::expires_at_ms(self.hub.now_ms()),
                };
                self.submit(job).await
            }
            Output::Replace { session, process, connection } => {
                self.hub.replace(session, Replaced { process, connection });
                Ok(())
            }
            Output::Close => Err(Over),
        }
    }

    async fn submit(&mut self, job: Job) -> Result<(), Over> {
        self.under_way += 1;
        self.hub.submit(job, self.replies.clone()).await.map_err(|_| Over)
    }

    async fn send(&self, frame: Bytes) -> Result<(), Over> {
        self.frames.send(Box::new(Message::Binary(frame))).await.map_err(|_| Over)
    }

    /// Lets the machine read from the newest state, and makes its frames.
    async fn serve(&mut self) -> Result<(), Over> {
        let now_ms = self.clock.now_ms();
        if self.session().wants_little() {
            let hub = self.hub.clone();
            let served = Served::of(&hub, self.session(), now_ms);
            return self.put_out_all(served).await;
        }
        let permit = self.reads.clone().acquire_owned().await.map_err(|_| Over)?;
        let mut session = self.session.take().expect("it is away only here");
        let hub = self.hub.clone();
        let served = tokio::task::spawn_blocking(move || {
            let served = Served::of(&hub, &mut session, now_ms);
            // Others read while this peer takes its frames, or takes none.
            drop(permit);
            (session, served)
        });
        let Ok((session, served)) = served.await else {
            log::to_stderr(&"a session ended with a defect");
            return self.close(CloseCode::Error).await;
        };
        self.session = Some(session);
        self.put_out_all(served).await
    }

    async fn put_out_all(&mut self, served: Served) -> Result<(), Over> {
        // What is said then ends the session, and with it this function.
        let read = served.read.map_err(|why| {
            log::to_stderr(&why);
            Over
        });
        for ready in served.outputs {
            match ready {
                Ready::Frame(frame) => self.send(frame).await?,
                Ready::Other(output) => self.put_out(output).await?,
            }
        }
        read
    }
}

/// What became of a look at the state.
struct Served {
    read: Result<(), Unavailable>,
    outputs: Vec<Ready>,
}

impl Served {
    /// Lets a session read from the newest durable state. Where that is not to be trusted any more, nothing that it would say is
    /// said (P9), but for what another session of the device is told: that it was replaced stays true.
    fn of(hub: &Hub, session: &mut Session, now_ms: i64) -> Self {
        let read = hub.read(|snapshot| session.serve(snapshot, hub.registry(), now_ms));
        let mut outputs = Vec::new();
        if read.is_err() {
            let unsaid = std::iter::from_fn(|| session.poll_output());
            outputs.extend(unsaid.filter(|output| matches!(output, Output::Replace { .. })).map(Ready::from));
            session.handle_trouble(TROUBLE_AFTER_MS);
        }
        let who = session.identity();
        let said = std::iter::from_fn(|| session.poll_output());
        outputs.extend(said.inspect(|output| tell_divergence(hub, who, output)).map(Ready::from));
        Self { read, outputs }
    }
}

/// An operator who put the server back wants to know who had more than it has now, and what becomes of that (H3, H4).
fn tell_divergence(hub: &Hub, Identity { device, user, .. }: Identity, output: &Output) {
    let Output::Frame(Down::Diverged(diverged)) = output else { return };
    let name = hub.snapshot().ok().and_then(|snapshot| Some(snapshot.user(user).ok()??.name));
    log::to_stderr(&format_args!(
        "device {device} of {} knows commits that this server does not have: commit {} is the newest in common, {} of its \
         unanswered pushes are known here. It sets aside what it holds, and offers again what was lost as far as the restore says",
        name.unwrap_or_else(|| user.to_string()),
        diverged.common.seq,
        diverged.outcomes.len()
    ));
}

/// An output whose frame is made already.
enum Ready {
    Frame(Bytes),
    Other(Output),
}

impl From<Output> for Ready {
    fn from(output: Output) -> Self {
        match output {
            Output::Frame(down) => Self::Frame(frame::encode_down(&down).into()),
            Output::Prepared(frame) => Self::Frame(Bytes::from_owner(frame)),
            other => Self::Other(other),
        }
    }
}
