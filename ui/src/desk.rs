//! The thread behind a window: it owns the client, does what the window asks and tells it what changed.
//!
//! The window never waits for it: requests go down a channel, news come up through one sink. What may take long (sync, sign-in,
//! history) runs on a thread of its own, so that a form is saved while a sync goes on. News that come in quick succession are
//! told together; a snapshot replaces the one before, so a slow window has no queue to work off.

mod doorbell;
mod kept;
mod link;
pub mod rows;
mod tell;

pub use kept::{recall, set_aside};
pub use link::{Deeds, look};
pub use tell::{
    Ask, Done, Failed, Found, HistorySource, Import, Passed, PathFor, Referred, RowNews, SignInFailed, Tell, Trouble,
};

use doorbell::Doorbell;
use jiff::tz::TimeZone;
use rows::Shown;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tombolo_client::event::Event;
use tombolo_client::store::StoreError;
use tombolo_client::{Client, Connection, Mode, Notice};

/// Changes are told at most this often.
const TELL_EVERY: Duration = Duration::from_millis(120);

/// Where news go. Called on the desk's threads.
pub type Sink = Arc<dyn Fn(Tell) + Send + Sync>;

/// What runs on the desk's thread beside requests.
enum Work {
    Ask(Ask),
    /// With when it came: the desk may be busy then.
    Notice(Notice, Instant),
    /// A job on another thread ended.
    Ended(Box<dyn FnOnce(&mut Worker) + Send>),
}

/// A handle of the thread. When it is dropped, the store is closed and free.
pub struct Desk {
    work: Sender<Work>,
    thread: Option<JoinHandle<()>>,
    closing: Arc<AtomicBool>,
}

impl Desk {
    /// Starts the thread with a store in a file; it is opened there, and told with [`Tell::Opened`] or [`Tell::NotOpened`].
    ///
    /// # Errors
    /// Where the system is out of threads.
    pub fn start(file: PathBuf, sink: Sink) -> std::io::Result<Self> {
        Self::start_behind(None, file, sink)
    }

    /// As [`Self::start`], once an earlier desk has let go of its store: the thread waits for that, and nobody else.
    ///
    /// # Errors
    /// Where the system is out of threads.
    pub fn start_behind(earlier: Option<Self>, file: PathBuf, sink: Sink) -> std::io::Result<Self> {
        let (work, todo) = channel();
        let own = work.clone();
        let closing = Arc::new(AtomicBool::new(false));
        let soon = closing.clone();
        let thread = std::thread::Builder::new().name("tombolo-desk".to_owned()).spawn(move || {
            drop(earlier);
            let mut worker = Worker::new(file, own, sink, soon);
            worker.open();
            worker.run(&todo);
        })?;
        Ok(Self { work, thread: Some(thread), closing })
    }

    /// The window is closing: whoever opens the same store once more is not shown this one.
    pub fn closes(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Asks for something. Returns at once.
    pub fn ask(&self, ask: Ask) {
        // A desk that has ended was told so by its window.
        let _ = self.work.send(Work::Ask(ask));
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.closes();
        self.ask(Ask::Close);
        if let Some(thread) = self.thread.take() {
            // A thread that ended by a defect has let go of the store too.
            let _ = thread.join();
        }
    }
}

/// The thread's state.
struct Worker {
    file: PathBuf,
    work: Sender<Work>,
    sink: Sink,
    client: Option<Client>,
    shown: Shown,
    /// The mode that is wanted while there is a client.
    mode: Mode,
    /// What changed since it was last told, and when that was.
    stale: Stale,
    told: Option<Instant>,
    syncing: bool,
    /// Since when it is being connected.
    connecting: Option<Instant>,
    /// The time zone that was told; finding it out may read files.
    zone: Option<TimeZone>,
    /// Files are being written, also where the window is closed meanwhile.
    exporting: Option<JoinHandle<()>>,
    /// While the store is open here.
    doorbell: Option<Doorbell>,
    closing: Arc<AtomicBool>,
}

/// What has to be told anew.
#[derive(Default)]
struct Stale {
    rows: Vec<tombolo_client::protocol::ids::RowKey>,
    everything: bool,
    status: bool,
}

impl Stale {
    fn any(&self) -> bool {
        self.everything || self.status || !self.rows.is_empty()
    }
}

impl Worker {
    fn new(file: PathBuf, work: Sender<Work>, sink: Sink, closing: Arc<AtomicBool>) -> Self {
        Self {
            file,
            work,
            sink,
            client: None,
            shown: Shown::default(),
            mode: Mode::Manual,
            stale: Stale::default(),
            told: None,
            syncing: false,
            connecting: None,
            zone: None,
            exporting: None,
            doorbell: None,
            closing,
        }
    }

    fn tell(&self, tell: Tell) {
        (self.sink)(tell);
    }

    fn tell_zone(&mut self) {
        let zone = TimeZone::system();
        if self.zone.as_ref() != Some(&zone) {
            self.zone = Some(zone.clone());
            self.tell(Tell::Zone(zone));
        }
    }

    fn open(&mut self) {
        match Client::open(&self.file) {
            Ok(client) => {
                self.listen(&client);
                // Without it another window can only say that the store is open.
                self.doorbell = Doorbell::hang(&self.file, self.sink.clone(), self.closing.clone()).ok();
                let account = client.account().ok().flatten();
                let has_schema = client.schema().is_ok();
                self.client = Some(client);
                self.tell_zone();
                self.tell(Tell::Opened { account, has_schema });
                if has_schema {
                    self.tell_schema();
                    self.go_online();
                }
            }
            Err(StoreError::Locked) => self.tell(Tell::NotOpened { locked: true, why: None }),
            Err(error) => self.tell(Tell::NotOpened { locked: false, why: Some((&error).into()) }),
        }
    }

    /// Begins with another data file where this one cannot be opened.
    fn begin_anew(&mut self) {
        if self.client.is_some() {
            return;
        }
        let done = kept::put_aside(&self.file);
        let is_aside = matches!(done, Tell::SetAside(_));
        self.tell(done);
        if is_aside {
            self.open();
        }
    }

    /// Notices come by a thread that ends with the client.
    fn listen(&self, client: &Client) {
        let Ok(mut subscription) = client.subscribe() else { return };
        let work = self.work.clone();
        // Without the thread the window would stay as it is until somebody presses something; it cannot be made where the
        // system is out of threads, and then nothing else works either.
        let _ = std::thread::Builder::new().name("tombolo-news".to_owned()).spawn(move || {
            while let Some(notice) = subscription.wait() {
                if work.send(Work::Notice(notice, Self::now())).is_err() {
                    return;
                }
            }
        });
    }

    fn go_online(&self) {
        let Some(client) = &self.client else { return };
        // A stopped client is told of by the next request.
        let _ = match self.mode {
            Mode::Metered => client.disconnect(),
            mode => client.connect(mode),
        };
    }

    #[expect(clippy::disallowed_methods, reason = "the desk is the window's driver; it bundles news by time")]
    fn now() -> Instant {
        Instant::now()
    }

    fn run(&mut self, todo: &Receiver<Work>) {
        loop {
            let wait = if self.stale.any() {
                self.told.map_or(Duration::ZERO, |told| TELL_EVERY.saturating_sub(told.elapsed()))
            } else {
                Duration::from_secs(3600)
            };
            match todo.recv_timeout(wait) {
                Ok(Work::Ask(Ask::Close)) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(Work::Ask(ask)) => self.answer(ask),
                Ok(Work::Notice(notice, at)) => self.hear(notice, at),
                Ok(Work::Ended(end)) => end(self),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.stale.any() && self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
                self.tell_stale();
            }
        }
        // Whoever comes now waits for the store, and finds no window.
        self.doorbell = None;
        if let Some(exporting) = self.exporting.take() {
            // One that ended by a defect has written what it could.
            let _ = exporting.join();
        }
        if let Some(client) = self.client.take() {
            client.close();
        }
    }

    fn hear(&mut self, notice: Notice, at: Instant) {
        match notice {
            Notice::Connection(connection) => {
                self.time_connecting(&connection, at);
                self.tell(Tell::Connection(connection));
                self.stale.status = true;
            }
            Notice::Reread => self.stale.everything = true,
            Notice::Engine(event) => match event {
                Event::RowsChanged(keys) => {
                    self.stale.rows.extend(keys);
                    self.stale.status = true;
                }
                Event::SchemaChanged => {
                    self.tell_schema();
                    self.stale.everything = true;
                }
                Event::CaughtUp { .. } | Event::Synced(_) => self.stale.status = true,
                Event::NewLife { .. } => self.tell(Tell::NewLife),
                Event::Diverged { lost, .. } => {
                    self.tell(Tell::PutBack { offered: lost.offered });
                    self.stale.everything = true;
                }
                _ => {}
            },
            _ => {}
        }
    }

    /// Tells how long connecting took, where it succeeded at once.
    fn time_connecting(&mut self, connection: &Connection, at: Instant) {
        let begun = self.connecting.take();
        match connection {
            Connection::Connecting => self.connecting = Some(at),
            Connection::CatchingUp | Connection::Online => {
                if let Some(begun) = begun {
                    self.tell(Tell::Connected { took: at.saturating_duration_since(begun) });
                }
            }
            _ => {}
        }
    }

    /// Tells what changed, newest state only.
    fn tell_stale(&mut self) {
        self.told = Some(Self::now());
        let stale = std::mem::take(&mut self.stale);
        if stale.everything {
            self.reread();
        } else if !stale.rows.is_empty() {
            self.refresh(&stale.rows);
        }
        self.tell_status();
    }

    fn tell_schema(&self) {
        let Some(client) = &self.client else { return };
        if let Ok(schema) = client.schema() {
            self.tell(Tell::Schema(schema, client.role().ok().flatten()));
        }
    }

    fn tell_status(&mut self) {
        self.tell_zone();
        let Some(client) = &self.client else { return };
        // Before the first login there is nothing to tell.
        if client.schema().is_err() {
            return;
        }
        match client.status().and_then(|status| Ok((status, client.pending()?))) {
            Ok((status, pending)) => {
                if let Some(tables) = self.table_infos(&pending) {
                    self.tell(Tell::Status(Box::new(status), tables));
                }
            }
            Err(error) => self.tell(Tell::Trouble((&error).into())),
        }
    }

    fn answer(&mut self, ask: Ask) {
        match ask {
            Ask::Retry => {
                if self.client.is_none() {
                    self.open();
                } else {
                    self.stale.everything = true;
                }
            }
            Ask::SetAside => self.begin_anew(),
            Ask::ShowOther => self.tell(Tell::OtherShown(doorbell::ring(&self.file).is_ok())),
            Ask::Mode(mode) => {
                self.mode = mode;
                self.go_online();
            }
            Ask::Table(table) => self.show_table(table),
            Ask::Order(order) => self.order(order),
            Ask::Row(key) => self.show_row(key),
            Ask::Candidates(table) => self.candidates(table),
            Ask::Estimate(only) => self.estimate(only),
            Ask::PendingShown(shown) => self.show_pending(shown),
            Ask::PendingBehind(passed) => self.turn_pending(passed),
            Ask::Save { writes, form } => self.save(writes, form),
            Ask::Delete { key, seen } => self.delete(key, seen),
            Ask::Discard { key, field } => self.discard(key, field),
            Ask::DiscardAll(keys) => self.discard_all(keys),
            Ask::SendAgain(key) => self.send_again(key),
            Ask::Undo(id) => self.undo(id),
            Ask::Resolve { shown, resolution } => self.resolve(*shown, &resolution),
            Ask::Export(folder) => self.export(folder),
            Ask::Preview { table, file } => self.preview(table, file),
            Ask::Import { table, file } => self.import(table, file),
            Ask::SignIn { address, name, password, device } => self.sign_in(&address, &name, password, device),
            Ask::SignOut => self.sign_out(),
            Ask::Sync { only, sign_out } => self.sync(only, sign_out),
            Ask::CancelSync => {
                if let Some(client) = &self.client {
                    client.cancel_sync();
                }
            }
            Ask::History(key) => self.history(key),
            Ask::Activity => self.activity(),
            Ask::Keep(settings, folder) => {
                if let Err(error) = settings.write(&folder) {
                    self.tell(Tell::Trouble(Trouble::with_file(&folder, &error)));
                }
            }
            Ask::Network { switch, on } => self.switch_network(switch, on),
            Ask::Close => {}
        }
    }

    /// Runs something long on a thread of its own; `end` gets the result on the desk's.
    fn beside<R: Send + 'static>(
        &self,
        job: impl FnOnce(&Job) -> R + Send + 'static,
        end: impl FnOnce(&mut Worker, R) + Send + 'static,
    ) -> Option<JoinHandle<()>> {
        let client = self.client.clone()?;
        let work = self.work.clone();
        let beside = Job { client, sink: self.sink.clone() };
        let started = std::thread::Builder::new().name("tombolo-job".to_owned()).spawn(move || {
            let result = job(&beside);
            drop(beside);
            // A desk that is gone does not want it any more.
            let _ = work.send(Work::Ended(Box::new(move |worker| end(worker, result))));
        });
        started.inspect_err(|error| self.tell(Tell::Trouble(Trouble::Other(error.to_string())))).ok()
    }
}

/// What a job on another thread has.
struct Job {
    client: Client,
    sink: Sink,
}

/// Where a store lies, for people.
pub fn place(file: &Path) -> String {
    file.parent().unwrap_or(file).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::unwrap_used, reason = "a test may panic")]
    fn a_store_that_is_being_closed_keeps_no_window_waiting_and_is_free_for_the_next_desk() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("client.redb");
        let (busy, is_busy) = channel();
        let (go_on, goes_on) = channel::<()>();
        let goes_on = std::sync::Mutex::new(goes_on);
        let first = Desk::start(
            file.clone(),
            Arc::new(move |_| {
                busy.send(()).unwrap();
                let _ = goes_on.lock().unwrap().recv();
            }),
        );
        is_busy.recv().unwrap();
        // It still has the store, and is in the middle of something.
        let first = first.unwrap();
        first.ask(Ask::Close);
        let (news, told) = channel();
        let _second = Desk::start_behind(Some(first), file, Arc::new(move |tell| news.send(tell).unwrap())).unwrap();
        drop(go_on);
        assert!(matches!(told.recv().unwrap(), Tell::Zone(_)));
        assert!(matches!(told.recv().unwrap(), Tell::Opened { .. }));
    }
}
