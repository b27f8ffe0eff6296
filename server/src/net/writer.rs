//! The one writer: a thread that owns the workspace, takes jobs from a bounded queue, and makes many of them durable at once.
//!
//! Replies reach the sessions before the new head is announced, so that a session never serves a commit of its own device
//! before its result (S6). After a failed write or read nothing is answered from memory: jobs fail, sessions end, and the store
//! is opened again (P9).

use super::clock;
use super::hub::{Health, Hub, Unavailable, being_opened};
use super::log::Log;
use crate::session::News;
use crate::store::{Store, StoreError, said};
use crate::workspace::{Job, Reply, Workspace};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Weak;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tombolo_protocol::commit::AccessChange;
use tombolo_protocol::ids::DeviceId;
use tombolo_protocol::limits::GROUP_COMMIT_CHANGES_MAX;

/// Between two attempts to open the store again.
const REOPEN_AFTER: Duration = Duration::from_millis(200);

/// Opens the store: at the start, and again after it failed.
pub(crate) type Opener = Box<dyn Fn() -> Result<Store, StoreError> + Send>;

/// What the writer is given.
pub(crate) enum Work {
    /// Something to do.
    Job(Asked),
    /// A read failed: open the store again, unless that was done since.
    Reopen,
    /// End behind the jobs before this.
    Stop,
}

/// A job, and who waits for it.
pub(crate) struct Asked {
    pub(crate) job: Job,
    pub(crate) reply_to: ReplyTo,
}

/// What a session hears of its job; boxed, since a channel has room for many at once.
pub(crate) type Answer = Box<Result<Reply, Defect>>;

/// The job met a defect of this program, and took others with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Defect;

/// Who waits for a reply.
pub(crate) enum ReplyTo {
    /// A session, which has no more jobs under way than its channel holds.
    Session(mpsc::Sender<Answer>),
    /// A single caller.
    Caller(oneshot::Sender<Result<Reply, Unavailable>>),
}

impl ReplyTo {
    fn answer(self, reply: Reply) {
        match self {
            // A session that is gone finds the recorded outcome at its next connection.
            Self::Session(session) => drop(session.try_send(Box::new(Ok(reply)))),
            Self::Caller(caller) => drop(caller.send(Ok(reply))),
        }
    }

    /// Told before the news of the trouble, so that this is what ends the session (P6).
    fn blame(&self) {
        if let Self::Session(session) = self {
            drop(session.try_send(Box::new(Err(Defect))));
        }
    }

    fn fail(self, error: &Unavailable) {
        match self {
            // Sessions end by the news of the trouble.
            Self::Session(_) => {}
            Self::Caller(caller) => drop(caller.send(Err(error.clone()))),
        }
    }
}

/// The device that may not connect any more, if a job says so of one.
fn shuts_out(job: &Job) -> Option<DeviceId> {
    match job {
        Job::Access { change: AccessChange::DeviceRevoked { device } | AccessChange::TokenRevoked { device }, .. } => {
            Some(*device)
        }
        _ => None,
    }
}

/// Starts the thread.
pub(super) fn start(
    hub: Weak<Hub>,
    workspace: Workspace,
    opener: Opener,
    queue: mpsc::Receiver<Work>,
    log: Log,
) -> std::io::Result<JoinHandle<()>> {
    let writer = Writer { hub, opener, queue, carried: None, opened: 0, log };
    std::thread::Builder::new().name("tombolo-writer".to_owned()).spawn(move || writer.run(workspace))
}

struct Writer {
    /// Weak, so that the thread ends when all others have let go.
    hub: Weak<Hub>,
    opener: Opener,
    queue: mpsc::Receiver<Work>,
    /// A job that did not fit into the last batch.
    carried: Option<Asked>,
    opened: u64,
    log: Log,
}

impl Writer {
    fn run(mut self, mut workspace: Workspace) {
        while let Some((batch, stop)) = self.next_batch() {
            workspace = match self.write(workspace, batch) {
                Some(workspace) => workspace,
                None => return,
            };
            if stop {
                return;
            }
        }
    }

    /// The jobs of the next durable write, none where the store is to be opened again, and whether it is the last; `None` when
    /// there is nothing more to do.
    fn next_batch(&mut self) -> Option<(Vec<Asked>, bool)> {
        let first = match self.carried.take() {
            Some(carried) => carried,
            None => match self.queue.blocking_recv()? {
                Work::Job(first) => first,
                Work::Reopen => return Some((Vec::new(), false)),
                Work::Stop => return None,
            },
        };
        let mut weight = first.job.weight();
        let mut batch = vec![first];
        while weight < GROUP_COMMIT_CHANGES_MAX {
            match self.queue.try_recv() {
                Ok(Work::Job(next)) if weight + next.job.weight() > GROUP_COMMIT_CHANGES_MAX => {
                    self.carried = Some(next);
                    break;
                }
                Ok(Work::Job(next)) => {
                    weight += next.job.weight();
                    batch.push(next);
                }
                // What is in the batch meets the failed store.
                Ok(Work::Reopen) => {}
                Ok(Work::Stop) => return Some((batch, true)),
                Err(_) => break,
            }
        }
        Some((batch, false))
    }

    /// One durable write. Gives the workspace back, a new one after a failure, or none at the end.
    fn write(&mut self, mut workspace: Workspace, batch: Vec<Asked>) -> Option<Workspace> {
        let (jobs, waiting): (Vec<Job>, Vec<ReplyTo>) = batch.into_iter().map(|asked| (asked.job, asked.reply_to)).unzip();
        let for_all = jobs.iter().any(News::is_for_all);
        let shut_out: Vec<DeviceId> = jobs.iter().filter_map(shuts_out).collect();
        let applied = catch_unwind(AssertUnwindSafe(|| workspace.apply(jobs, clock::now_ms())));
        let why = match applied {
            Ok(Ok(replies)) => {
                // Who hears of the write must not read behind it.
                if let Some(hub) = self.hub.upgrade() {
                    hub.let_go_of_view();
                }
                waiting.into_iter().zip(replies).for_each(|(reply_to, reply)| reply_to.answer(reply));
                if let Some(hub) = self.hub.upgrade() {
                    hub.announce_head(workspace.head(), for_all);
                    shut_out.into_iter().for_each(|device| hub.shut_out(device));
                }
                return Some(workspace);
            }
            Ok(Err(error)) => error.to_string(),
            Err(panic) => {
                let at_work = |index: &usize| workspace.at_work().is_none_or(|at| at == *index);
                waiting.iter().enumerate().filter(|(index, _)| at_work(index)).for_each(|(_, reply_to)| reply_to.blame());
                format!("a defect or a damaged data file stopped a write ({})", said(&*panic))
            }
        };
        // Also after a defect: a verification or an export that holds the store lets go of it.
        workspace.store().poison();
        drop(workspace);
        self.recover(why, waiting)
    }

    /// After a failed write or read: nobody is answered, the store is closed and opened again.
    fn recover(&mut self, why: String, waiting: Vec<ReplyTo>) -> Option<Workspace> {
        (self.log)(&format_args!(
            "{why}. Until the store was opened again nothing is answered; clients keep their edits and send them again"
        ));
        let error = Unavailable::Failed(why);
        if let Some(hub) = self.hub.upgrade() {
            hub.set_store(None);
            hub.announce_health(Health::Trouble);
        }
        waiting.into_iter().for_each(|reply_to| reply_to.fail(&error));
        if let Some(carried) = self.carried.take() {
            carried.reply_to.fail(&being_opened());
        }
        loop {
            // Readers that still hold the old store let go within one answer.
            std::thread::park_timeout(REOPEN_AFTER);
            loop {
                match self.queue.try_recv() {
                    Ok(Work::Job(asked)) => asked.reply_to.fail(&being_opened()),
                    Ok(Work::Reopen) => {}
                    Ok(Work::Stop) | Err(mpsc::error::TryRecvError::Disconnected) => return None,
                    Err(mpsc::error::TryRecvError::Empty) => break,
                }
            }
            let hub = self.hub.upgrade()?;
            let Ok(workspace) = (self.opener)().and_then(|store| Ok((store.clone(), Workspace::open(store)?))) else {
                continue;
            };
            let (store, workspace) = workspace;
            self.opened += 1;
            hub.set_store(Some(store));
            hub.announce_head(workspace.head(), true);
            hub.announce_health(Health::Serving(self.opened));
            (self.log)(&"the store was opened again");
            return Some(workspace);
        }
    }
}
