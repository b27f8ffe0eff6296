//! The server of a world: one workspace on its disk, sessions, and a writer that takes its time.

use super::net::LinkId;
use super::plan::Knobs;
use crate::disk::{Disk, Faults};
use anyhow::{Result, anyhow};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use tombolo_client::protocol::ids::{RowKey, WorkspaceId};
use tombolo_server::session::{News, Registry, Session, SessionConfig, SessionId};
use tombolo_server::snapshot::{Identity, Snapshot};
use tombolo_server::store::{Store, StoreError};
use tombolo_server::workspace::{Init, Job, Reply, Workspace};
use uuid::Uuid;

/// The server.
pub struct Server {
    /// Its disk.
    pub disk: Disk,
    /// The single writer; none while the power is gone.
    workspace: Option<Workspace>,
    /// What sessions hear of the log.
    pub news: News,
    /// What everybody reads until the next durable write, once somebody asked for it.
    view: RefCell<Option<Rc<Snapshot>>>,
    /// Who has which session.
    pub registry: Registry,
    /// How sessions are set up.
    pub config: SessionConfig,
    /// The sessions by link.
    pub sessions: BTreeMap<LinkId, Seat>,
    /// Jobs that wait for the next durable write.
    pub queue: Vec<(From, Job)>,
    /// A durable write is under way.
    pub is_writing: bool,
    /// How long one takes.
    pub commit_ms: u64,
    /// A push that changes this row ends its session.
    pub poison: Option<RowKey>,
    /// What was kept, to be put back.
    pub backup: Option<Disk>,
    /// The power goes again at this operation of the recovery.
    pub cut_again: Option<u64>,
}

/// A session with what the driver keeps about it.
pub struct Seat {
    /// The machine.
    pub session: Session,
    /// Its name in the registry.
    pub id: SessionId,
    /// Whose it is.
    pub identity: Identity,
    /// Tokens of devices that are being issued.
    pub issued: Vec<String>,
}

/// Who gave the writer a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum From {
    /// A session.
    Link(LinkId),
    /// The operator.
    Operator,
}

impl Server {
    /// A new server with this schema.
    ///
    /// # Errors
    /// When the schema is not sound.
    pub fn new(schema: &str, config: SessionConfig, knobs: &Knobs, now_ms: i64) -> Result<Self> {
        let disk = if knobs.lying_disks { Disk::lying() } else { Disk::default() };
        let init = Init { id: WorkspaceId(Uuid::from_u128(0x77)), schema };
        let workspace = Workspace::init(Store::with_backend(disk.clone())?, init, now_ms)?;
        Ok(Self {
            disk,
            news: News::of(workspace.head()),
            workspace: Some(workspace),
            view: RefCell::default(),
            registry: Registry::default(),
            config,
            sessions: BTreeMap::new(),
            queue: Vec::new(),
            is_writing: false,
            commit_ms: knobs.commit_ms,
            poison: None,
            backup: None,
            cut_again: None,
        })
    }

    /// Whether it is there.
    pub fn is_up(&self) -> bool {
        self.workspace.is_some()
    }

    /// The workspace.
    ///
    /// # Errors
    /// While the power is gone.
    pub fn workspace(&self) -> Result<&Workspace> {
        self.workspace.as_ref().ok_or_else(|| anyhow!("the server is down"))
    }

    /// Does jobs in one durable write; none while the power is gone.
    pub fn apply(&mut self, jobs: Vec<Job>, now_ms: i64) -> Option<Result<Vec<Reply>, StoreError>> {
        self.view.take();
        let workspace = self.workspace.as_mut()?;
        let for_all = jobs.iter().any(News::is_for_all);
        let replies = workspace.apply(jobs, now_ms);
        if replies.is_ok() {
            self.news = self.news.then(workspace.head(), for_all);
        }
        Some(replies)
    }

    /// The newest durable state; none while the power is gone.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn snapshot(&self) -> Result<Option<Rc<Snapshot>>, StoreError> {
        let Some(workspace) = &self.workspace else { return Ok(None) };
        let mut view = self.view.borrow_mut();
        if let Some(snapshot) = view.as_ref() {
            return Ok(Some(snapshot.clone()));
        }
        let snapshot = Rc::new(workspace.store().snapshot()?);
        *view = Some(snapshot.clone());
        Ok(Some(snapshot))
    }

    /// Everything that is in memory is gone; what it was writing too.
    pub fn stop(&mut self) -> Vec<LinkId> {
        self.view.take();
        self.workspace = None;
        self.registry = Registry::default();
        self.queue.clear();
        self.is_writing = false;
        std::mem::take(&mut self.sessions).into_keys().collect()
    }

    /// Opens what is on a disk. An error means that the power went again, or the disk failed.
    ///
    /// # Errors
    /// As the store says.
    pub fn start(&mut self, disk: Disk) -> Result<(), StoreError> {
        self.disk = disk;
        if let Some(operations) = self.cut_again.take() {
            let at = self.disk.operations() + operations;
            self.disk.set_faults(Faults { power_cut_at: Some(at), ..Faults::default() });
        }
        let workspace = Workspace::open(Store::with_backend(self.disk.clone())?)?;
        self.news = News::of(workspace.head());
        self.workspace = Some(workspace);
        Ok(())
    }
}
