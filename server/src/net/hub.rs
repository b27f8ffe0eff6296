//! What all drivers share: the store to read from, the queue of the one writer, and the news of both.

use super::clock;
use super::log::{self, Log};
use super::writer::{self, Answer, Asked, Opener, ReplyTo, Work};
use crate::session::{News, Registry, SessionId};
use crate::snapshot::Snapshot;
use crate::store::{Store, StoreError};
use crate::workspace::{Job, Reply, Workspace};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{mpsc, oneshot, watch};
use tombolo_protocol::ids::{DeviceId, Mark};

/// Jobs that wait for the writer.
const JOBS_MAX: usize = 1024;

/// Who asks while the store is being opened again waits a little: mostly it is there again at once.
const MENDED_LOOKS: u32 = 25;
const MENDED_LOOK: Duration = Duration::from_millis(200);
/// Between two looks of who waits for the writer: little at first, since most jobs are done at once.
const WAITING_LOOK: Duration = Duration::from_millis(1);
const WAITING_LOOK_MAX: Duration = Duration::from_millis(50);
const BEING_OPENED: &str = "the store is being opened again after it failed, and nothing was begun: try again in a while";

/// How the store is doing; sessions end when it changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Health {
    /// All is well. Counts the times that the store was opened again.
    Serving(u64),
    /// A durable write or a read failed; the store is being opened again (P9).
    Trouble,
    /// The server stops.
    Stopping,
}

/// The store cannot be asked now. Worded for the operator.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub(crate) enum Unavailable {
    /// Nothing was begun.
    #[error("{0}")]
    Closed(String),
    /// A durable write failed (P9).
    #[error("{0}. Whether this last change was stored is not known: look before you repeat it")]
    Failed(String),
}

/// Wakes a session that another one of its device takes over from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replaced {
    pub(crate) process: u64,
    pub(crate) connection: u32,
}

/// How a session is reached from elsewhere.
struct Bell {
    device: DeviceId,
    replaced: watch::Sender<Option<Replaced>>,
    shut_out: watch::Sender<bool>,
}

/// What a session hears from elsewhere.
pub(crate) struct Heard {
    /// Another session of its device takes over.
    pub(crate) replaced: watch::Receiver<Option<Replaced>>,
    /// Its device was revoked or logged out.
    pub(crate) shut_out: watch::Receiver<bool>,
}

/// A session's place; given back when it is dropped.
pub(crate) struct Place {
    hub: Arc<Hub>,
    pub(crate) id: SessionId,
    device: DeviceId,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.hub.registry.leave(self.device, self.id);
        self.hub.bells().remove(&self.id);
    }
}

/// See the module.
pub(crate) struct Hub {
    /// `None` while the store is being opened again, and after the end.
    store: RwLock<Option<Store>>,
    /// The view of the newest durable state: one for all readers, made by the first of them behind each commit.
    view: Mutex<Option<Arc<Snapshot>>>,
    jobs: mpsc::Sender<Work>,
    head: watch::Sender<News>,
    health: watch::Sender<Health>,
    registry: Registry,
    sessions: Mutex<BTreeMap<SessionId, Bell>>,
    last_session: AtomicU64,
}

/// The writer's thread. It ends when it is told to stop, or when nobody is left to give it jobs.
pub(crate) struct WriterThread(JoinHandle<()>);

impl Hub {
    /// Opens the store and starts the writer.
    ///
    /// # Errors
    /// When the store cannot be opened or has no workspace.
    pub(crate) fn open(opener: Opener, log: Log) -> Result<(Arc<Self>, WriterThread), StoreError> {
        let store = opener()?;
        let workspace = Workspace::open(store.clone())?;
        let (jobs, queue) = mpsc::channel(JOBS_MAX);
        let hub = Arc::new(Self {
            store: RwLock::new(Some(store)),
            view: Mutex::new(None),
            jobs,
            head: watch::Sender::new(News::of(workspace.head())),
            health: watch::Sender::new(Health::Serving(0)),
            registry: Registry::default(),
            sessions: Mutex::new(BTreeMap::new()),
            last_session: AtomicU64::new(0),
        });
        let thread = writer::start(Arc::downgrade(&hub), workspace, opener, queue, log).map_err(StoreError::Io)?;
        Ok((hub, WriterThread(thread)))
    }

    /// The view of the newest durable state. Blocks for the disk: not for async tasks. Let go of it soon: the store is opened
    /// again only when nobody holds it.
    pub(crate) fn snapshot(&self) -> Result<Arc<Snapshot>, Unavailable> {
        let mut view = self.view();
        let store = self.trusted()?;
        if let Some(view) = &*view {
            return Ok(view.clone());
        }
        let made = Arc::new(store.snapshot().map_err(|error| self.read_failed(&store, &error))?);
        *view = Some(made.clone());
        Ok(made)
    }

    /// Reads from the view of the newest durable state. What was read is not to be told where a durable write failed meanwhile (P9).
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Snapshot) -> Result<T, StoreError>) -> Result<T, Unavailable> {
        let store = self.trusted()?;
        let view = self.snapshot()?;
        let read = read(&view).map_err(|error| self.read_failed(&store, &error))?;
        self.trusted().map(|_| read)
    }

    /// A read that failed is followed by no other: the writer opens the store again, as after a failed write.
    fn read_failed(&self, store: &Store, error: &StoreError) -> Unavailable {
        if error.ends_reading() {
            store.poison();
            self.ask_to_reopen();
        }
        Unavailable::Closed(error.to_string())
    }

    pub(super) fn ask_to_reopen(&self) {
        // Where the queue is full, what is in it meets the failed store.
        let _ = self.jobs.try_send(Work::Reopen);
    }

    /// The store, unless a durable write of it failed.
    fn trusted(&self) -> Result<Store, Unavailable> {
        let store = self.store()?;
        store.check().map_err(|error| Unavailable::Closed(error.to_string()))?;
        Ok(store)
    }

    /// The store itself, for checks that read all of it.
    pub(crate) fn store(&self) -> Result<Store, Unavailable> {
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        store.clone().ok_or_else(being_opened)
    }

    /// Waits while the store is being opened again, for some seconds at most.
    pub(crate) async fn mended(&self) {
        for _ in 0..MENDED_LOOKS {
            if !self.is_being_opened() {
                return;
            }
            tokio::time::sleep(MENDED_LOOK).await;
        }
    }

    /// [`Self::mended`] for threads.
    pub(crate) fn mended_blocking(&self) {
        for _ in 0..MENDED_LOOKS {
            if !self.is_being_opened() {
                return;
            }
            std::thread::park_timeout(MENDED_LOOK);
        }
    }

    fn is_being_opened(&self) -> bool {
        self.store().is_err() && *self.health.borrow() != Health::Stopping
    }

    /// Gives the writer a job and waits for its reply.
    pub(crate) async fn ask(&self, job: Job) -> Result<Reply, Unavailable> {
        let (reply, answer) = oneshot::channel();
        let asked = Work::Job(Asked { job, reply_to: ReplyTo::Caller(reply) });
        self.jobs.send(asked).await.map_err(|_| stopped())?;
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// [`Self::ask`] for threads.
    pub(crate) fn ask_blocking(&self, job: Job) -> Result<Reply, Unavailable> {
        self.asked_blocking(job)?.blocking_recv().unwrap_or_else(|_| Err(stopped()))
    }

    /// [`Self::ask_blocking`], which looks after something while it waits.
    pub(crate) fn ask_blocking_while(&self, job: Job, mut look: impl FnMut()) -> Result<Reply, Unavailable> {
        let mut answer = self.asked_blocking(job)?;
        let mut pause = WAITING_LOOK;
        loop {
            match answer.try_recv() {
                Ok(reply) => return reply,
                Err(TryRecvError::Closed) => return Err(stopped()),
                Err(TryRecvError::Empty) => std::thread::park_timeout(pause),
            }
            pause = WAITING_LOOK_MAX.min(pause * 2);
            look();
        }
    }

    fn asked_blocking(&self, job: Job) -> Result<oneshot::Receiver<Result<Reply, Unavailable>>, Unavailable> {
        let (reply, answer) = oneshot::channel();
        let asked = Work::Job(Asked { job, reply_to: ReplyTo::Caller(reply) });
        self.jobs.blocking_send(asked).map_err(|_| stopped())?;
        Ok(answer)
    }

    /// Gives the writer a session's job; the reply comes through the session's channel, before the new head is announced.
    pub(crate) async fn submit(&self, job: Job, replies: mpsc::Sender<Answer>) -> Result<(), Unavailable> {
        let asked = Work::Job(Asked { job, reply_to: ReplyTo::Session(replies) });
        self.jobs.send(asked).await.map_err(|_| stopped())
    }

    /// News of the head.
    pub(crate) fn head(&self) -> watch::Receiver<News> {
        self.head.subscribe()
    }

    /// News of the store and the server.
    pub(crate) fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// The live sessions of each device.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// A place for a new session, and what it hears from elsewhere; none where its device has `most` already.
    pub(crate) fn enter(self: &Arc<Self>, device: DeviceId, most: usize) -> Option<(Place, Heard)> {
        let mut bells = self.bells();
        if bells.values().filter(|bell| bell.device == device).count() >= most {
            return None;
        }
        let id = SessionId(self.last_session.fetch_add(1, Ordering::Relaxed) + 1);
        let (replaced, shut_out) = (watch::Sender::new(None), watch::Sender::new(false));
        let heard = Heard { replaced: replaced.subscribe(), shut_out: shut_out.subscribe() };
        bells.insert(id, Bell { device, replaced, shut_out });
        Some((Place { hub: self.clone(), id, device }, heard))
    }

    /// Tells a session that it was replaced.
    pub(crate) fn replace(&self, id: SessionId, by: Replaced) {
        if let Some(bell) = self.bells().get(&id) {
            bell.replaced.send_replace(Some(by));
        }
    }

    /// Tells the sessions of a device that it may not connect any more.
    pub(super) fn shut_out(&self, device: DeviceId) {
        for bell in self.bells().values().filter(|bell| bell.device == device) {
            bell.shut_out.send_replace(true);
        }
    }

    /// How many sessions there are.
    pub(crate) fn sessions(&self) -> usize {
        self.bells().len()
    }

    fn bells(&self) -> MutexGuard<'_, BTreeMap<SessionId, Bell>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sessions are told that the server stops; requests are still answered.
    pub(crate) fn begin_to_stop(&self) {
        self.health.send_replace(Health::Stopping);
    }

    /// Ends the writer behind the jobs that it was given, and gives the store back. Blocks.
    pub(crate) fn stop(&self, writer: WriterThread) {
        // The queue is only closed when the writer ended already.
        let _ = self.jobs.blocking_send(Work::Stop);
        if writer.0.join().is_err() {
            log::to_stderr(&"the writer ended with a defect; what was acknowledged is stored");
        }
        self.set_store(None);
    }

    /// The view is made from the store that is there then, so the old one goes behind the old store.
    pub(super) fn set_store(&self, store: Option<Store>) {
        *self.store.write().unwrap_or_else(PoisonError::into_inner) = store;
        self.let_go_of_view();
    }

    /// The durable state is another one now: whoever asks next gets a view of that.
    pub(super) fn let_go_of_view(&self) {
        drop(self.view().take());
    }

    fn view(&self) -> MutexGuard<'_, Option<Arc<Snapshot>>> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `for_all` where something was written that is of interest also to who may not be sent rows now.
    pub(super) fn announce_head(&self, head: Mark, for_all: bool) {
        self.head.send_if_modified(|known| {
            let news = known.then(head, for_all);
            std::mem::replace(known, news) != news
        });
    }

    pub(super) fn announce_health(&self, health: Health) {
        // A server that stops stays so.
        self.health.send_if_modified(|known| *known != Health::Stopping && std::mem::replace(known, health) != health);
    }

    /// Server time in milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> i64 {
        clock::now_ms()
    }
}

fn stopped() -> Unavailable {
    closed("the server is stopping: nothing was changed")
}

/// What a job is told that comes while the store is being opened again.
pub(super) fn being_opened() -> Unavailable {
    closed(BEING_OPENED)
}

fn closed(why: &str) -> Unavailable {
    Unavailable::Closed(why.to_owned())
}
