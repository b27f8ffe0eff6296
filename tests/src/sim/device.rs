//! A device of a world: one engine on its disk, and a driver that decides when to connect as the shipping one does.

use super::ledger::Account;
use super::net::{LinkId, Pipe, Weather};
use super::rng::Rng;
use crate::disk::{CutCounts, Disk, Faults};
use std::collections::{BTreeMap, BTreeSet};
use tombolo_client::Before;
use tombolo_client::PushLimits;
use tombolo_client::backoff::Backoff;
use tombolo_client::engine::Engine;
use tombolo_client::protocol::ids::{FieldTag, RowKey, UserId};
use tombolo_client::store::{Store, StoreError};
use tombolo_client::view::{ConflictView, RowView};

/// A form that is open.
#[derive(Clone)]
pub struct Form {
    /// What it shows.
    pub view: RowView,
    /// Fields that it shows as this device has changed them, and the server has not confirmed.
    pub own: BTreeSet<FieldTag>,
}

/// A device.
pub struct Device {
    /// Its disk.
    pub disk: Disk,
    /// Its engine; none while the power is gone or the store failed.
    pub engine: Option<Engine>,
    /// The random number of its process.
    pub process: u64,
    /// Whose it is.
    pub user: UserId,
    /// Where that user stands among the users.
    pub user_index: usize,
    /// The link that it uses.
    pub link: Option<LinkId>,
    /// The network around it.
    pub weather: Weather,
    /// When it is connected, and whether it pushes by itself.
    pub mode: Mode,
    /// When it tries again.
    pub backoff: Backoff,
    /// The timer for trying again that counts; others are stale.
    pub retry: u64,
    /// It waits for that timer.
    pub is_waiting: bool,
    /// Only a person can go on.
    pub is_blocked: bool,
    /// When the engine is looked at again.
    pub timer: Option<u64>,
    /// A person waits for a sync.
    pub is_syncing: bool,
    /// What its clock shows more than the world's.
    pub clock_ms: i64,
    /// It is suspended until then.
    pub asleep_until: u64,
    /// Forms that are open, by row.
    pub forms: BTreeMap<RowKey, Form>,
    /// Dialogs that are open, by row.
    pub dialogs: BTreeMap<RowKey, ConflictView>,
    /// What was discarded and deleted in this process, to be put back.
    pub gone: Vec<Gone>,
    /// A copy of its store, to be put back.
    pub backup: Option<Disk>,
    /// The link is cut behind the next commit of one of its pushes.
    pub cut_behind_commit: bool,
    /// The power goes again at this operation of the recovery.
    pub cut_again: Option<u64>,
    /// Frames that the engine gave out and the link has not taken, most at a time.
    pub frames_max: usize,
}

/// Something that was discarded or deleted, with the rows of its group.
pub struct Gone {
    /// How the engine puts it back.
    pub before: Before,
    /// What the ledger had of these rows.
    pub account: Account,
}

/// When a device is connected, and whether it pushes by itself (section 8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Connected; pushes when asked.
    Manual,
    /// Connected; pushes by itself.
    Automatic,
    /// Connected only to sync.
    Metered,
}

/// A link between a device and the server.
pub struct Link {
    /// The device.
    pub device: usize,
    /// To the server.
    pub up: Pipe,
    /// To the client.
    pub down: Pipe,
    /// When it was opened.
    pub since: u64,
    /// The client still holds it.
    pub client_holds: bool,
}

impl Device {
    /// A device on this disk, whose engine is not running yet.
    pub fn new(disk: Disk, user: UserId, user_index: usize) -> Self {
        Self {
            disk,
            engine: None,
            process: 0,
            user,
            user_index,
            link: None,
            weather: Weather::default(),
            mode: Mode::Manual,
            backoff: Backoff::default(),
            retry: 0,
            is_waiting: false,
            is_blocked: false,
            timer: None,
            is_syncing: false,
            clock_ms: 0,
            asleep_until: 0,
            forms: BTreeMap::new(),
            dialogs: BTreeMap::new(),
            gone: Vec::new(),
            backup: None,
            cut_behind_commit: false,
            cut_again: None,
            frames_max: 0,
        }
    }

    /// Starts the engine on what is on the disk.
    ///
    /// # Errors
    /// As the store says: the power went again, or the disk failed.
    pub fn start(&mut self, process: u64, limits: PushLimits) -> Result<(), StoreError> {
        if let Some(operations) = self.cut_again.take() {
            let at = self.disk.operations() + operations;
            self.disk.set_faults(Faults { power_cut_at: Some(at), ..Faults::default() });
        }
        let mut engine = Engine::open(Store::with_backend(self.disk.clone())?, process)?;
        engine.set_automatic(self.mode == Mode::Automatic);
        engine.set_push_limits(limits);
        self.process = process;
        self.engine = Some(engine);
        Ok(())
    }

    /// What is found on the disk after the power went.
    pub fn lose_power(&mut self, rng: &mut Rng) -> CutCounts {
        self.engine = None;
        let (disk, counts) = self.disk.after_power_cut(rng);
        self.disk = disk;
        self.forms.clear();
        self.dialogs.clear();
        self.gone.clear();
        self.is_syncing = false;
        self.is_blocked = false;
        counts
    }

    /// Whether a link is wanted now.
    pub fn wants_link(&self) -> bool {
        !self.is_blocked && self.engine.is_some() && (self.mode != Mode::Metered || self.is_syncing)
    }
}
