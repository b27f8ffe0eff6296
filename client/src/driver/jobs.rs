//! What people wait for: a sync, the history of a row, what was done lately.

use super::state::{SyncDone, SyncError, SyncProgress};
use crate::engine::Engine;
use crate::event::{Event, Lost};
use std::collections::VecDeque;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;
use tombolo_protocol::ids::{RowKey, Seq};
use tombolo_protocol::message::{Activity, History};

/// Attempts to connect before a sync that was never connected gives up.
const ATTEMPTS_MAX: u32 = 3;
/// Attempts without any progress before a sync that was connected gives up.
const ATTEMPTS_AFTER_CUT_MAX: u32 = 8;

/// Where a waiting thread sees how its sync goes: the newest progress only, so that nothing queues up.
#[derive(Default)]
pub(crate) struct SyncWatch {
    state: Mutex<Watched>,
    changed: Condvar,
}

#[derive(Default)]
struct Watched {
    progress: Option<SyncProgress>,
    done: Option<Result<SyncDone, SyncError>>,
}

/// What a waiting thread sees next.
pub(crate) enum Seen {
    Progress(SyncProgress),
    Done(Result<SyncDone, SyncError>),
}

impl SyncWatch {
    fn state(&self) -> MutexGuard<'_, Watched> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn progress(&self, progress: SyncProgress) {
        self.state().progress = Some(progress);
        self.changed.notify_all();
    }

    pub(crate) fn done(&self, done: Result<SyncDone, SyncError>) {
        self.state().done = Some(done);
        self.changed.notify_all();
    }

    /// Waits for news.
    pub(crate) fn wait(&self) -> Seen {
        let mut state = self.state();
        loop {
            if let Some(progress) = state.progress.take() {
                return Seen::Progress(progress);
            }
            if let Some(done) = state.done.take() {
                return Seen::Done(done);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A sync under way.
pub(crate) struct SyncJob {
    pub watch: Arc<SyncWatch>,
    pub begun: Instant,
    pub deadline: Option<Instant>,
    /// Bytes on the sockets before it.
    pub bytes_before: (u64, u64),
    pub scanned: Seq,
    pub head: Seq,
    /// What was lost by a server that was put back, and whether the store began a new life.
    pub lost: Option<Lost>,
    pub new_life: bool,
    was_online: bool,
    failures: u32,
}

impl SyncJob {
    pub(crate) fn new(watch: Arc<SyncWatch>, begun: Instant, deadline: Option<Instant>, bytes_before: (u64, u64)) -> Self {
        Self {
            watch,
            begun,
            deadline,
            bytes_before,
            scanned: Seq(0),
            head: Seq(0),
            lost: None,
            new_life: false,
            was_online: false,
            failures: 0,
        }
    }

    pub(crate) fn online(&mut self) {
        self.was_online = true;
    }

    /// Something durable was received or settled.
    pub(crate) fn progressed(&mut self) {
        self.failures = 0;
    }

    /// An attempt failed, or the link broke. Whether that was one too many.
    pub(crate) fn failed(&mut self) -> bool {
        self.failures += 1;
        self.failures >= if self.was_online { ATTEMPTS_AFTER_CUT_MAX } else { ATTEMPTS_MAX }
    }
}

impl Drop for SyncJob {
    /// A thread that waits hears of the end in every case.
    fn drop(&mut self) {
        let mut state = self.watch.state();
        if state.done.is_none() {
            state.done = Some(Err(SyncError::Stopped));
            self.watch.changed.notify_all();
        }
    }
}

/// Somebody who waits for what only the server knows.
pub(crate) struct Question {
    pub asked: Asked,
    pub deadline: Instant,
}

/// What was asked, and where the answer goes. Who does not wait any more misses nothing.
pub(crate) enum Asked {
    /// The history of a row.
    History(RowKey, Reply<History>),
    /// What was done lately.
    Activity(Reply<Activity>),
}

pub(crate) type Reply<T> = SyncSender<Result<T, SyncError>>;

impl Question {
    /// Asks the server.
    pub(crate) fn ask(&self, engine: &mut Engine) {
        match &self.asked {
            Asked::History(key, _) => engine.want_history(*key),
            Asked::Activity(_) => engine.want_activity(),
        }
    }

    /// There is no answer.
    pub(crate) fn fail(&self, error: SyncError) {
        match &self.asked {
            Asked::History(_, reply) => drop(reply.try_send(Err(error))),
            Asked::Activity(reply) => drop(reply.try_send(Err(error))),
        }
    }
}

/// Gives an answer to those who wait for it.
pub(crate) fn deliver(questions: &mut VecDeque<Question>, answer: &Event) {
    questions.retain(|question| {
        match (&question.asked, answer) {
            (Asked::History(key, reply), Event::History(history)) if *key == history.key => {
                drop(reply.try_send(Ok(History::clone(history))));
            }
            (Asked::Activity(reply), Event::Activity(activity)) => drop(reply.try_send(Ok(Activity::clone(activity)))),
            _ => return true,
        }
        false
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> (SyncJob, Arc<SyncWatch>) {
        let watch = Arc::new(SyncWatch::default());
        (SyncJob::new(watch.clone(), Instant::now(), None, (0, 0)), watch)
    }

    #[test]
    fn a_sync_that_was_never_connected_gives_up_sooner() {
        let (mut never, _) = job();
        assert_eq!((1..=3).map(|_| never.failed()).collect::<Vec<_>>(), [false, false, true]);
        let (mut cut, _) = job();
        cut.online();
        assert!((1..8).all(|_| !cut.failed()));
        cut.progressed();
        assert!((1..8).all(|_| !cut.failed()), "progress begins the count again");
        assert!(cut.failed());
    }

    #[test]
    fn a_waiting_thread_sees_the_newest_progress_and_then_the_end() {
        let (job, watch) = job();
        watch.progress(SyncProgress { pending: 5, ..SyncProgress::default() });
        watch.progress(SyncProgress { pending: 3, ..SyncProgress::default() });
        drop(job);
        assert!(matches!(watch.wait(), Seen::Progress(progress) if progress.pending == 3));
        assert!(matches!(watch.wait(), Seen::Done(Err(SyncError::Stopped))));
    }
}
