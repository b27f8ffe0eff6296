//! A small world without sockets, clock or threads: one server, some devices, links that are delivered by hand. What runs is
//! what ships: client engine, server session and workspace, on their real stores.
//!
//! Frames travel only when a story says so, and a link can be cut with anything under way, so that an interleaving can be
//! written down step by step.

mod people;

use crate::disk::Disk;
use anyhow::{Context, Result, anyhow, bail, ensure};
use std::collections::VecDeque;
use tombolo_client::engine::Engine;
use tombolo_client::event::{Event, SyncReport};
use tombolo_client::protocol::commit::{AccessChange, Grant};
use tombolo_client::protocol::frame::{decode_up, encode_down};
use tombolo_client::protocol::ids::{DeviceId, RowId, UserId, WorkspaceId};
use tombolo_client::protocol::schema::Role;
use tombolo_client::store::{Account, Store};
use tombolo_client::{Hangup, Phase};
use tombolo_server::session::{News, Output, Registry, Session, SessionConfig, SessionId};
use tombolo_server::snapshot::Identity;
use tombolo_server::store::Store as ServerStore;
use tombolo_server::workspace::{Init, Job, Reply, Workspace};
use uuid::Uuid;

/// Steps of one settling; more means that it never ends.
const STEPS_MAX: usize = 20_000;

/// One link, with what is under way in it.
struct Link {
    session: Session,
    id: SessionId,
    identity: Identity,
    up: VecDeque<Vec<u8>>,
    down: VecDeque<Vec<u8>>,
    closed: bool,
}

/// A device of a person.
pub struct Device {
    /// Its engine.
    pub engine: Engine,
    disk: Disk,
    link: Option<Link>,
    /// What the engine told.
    pub events: Vec<Event>,
}

/// The server and its devices.
pub struct World {
    workspace: Workspace,
    disk: Disk,
    registry: Registry,
    /// The devices, in the order in which they were made.
    pub devices: Vec<Device>,
    config: SessionConfig,
    now_ms: i64,
    ids: u128,
}

impl World {
    /// A server with this schema. Chunks are of one row: the worst traps show with nothing else.
    pub fn new(schema: &str) -> Result<Self> {
        let disk = Disk::default();
        let init = Init { id: WorkspaceId(Uuid::from_u128(0x77)), schema };
        let workspace = Workspace::init(ServerStore::with_backend(disk.clone())?, init, 1)?;
        let config = SessionConfig { chunk_rows_max: 1, ..SessionConfig::default() };
        Ok(Self { workspace, disk, registry: Registry::default(), devices: Vec::new(), config, now_ms: 1_000, ids: 1_000 })
    }

    /// Chunks of this many rows.
    pub fn chunk_rows(&mut self, rows: usize) {
        self.config.chunk_rows_max = rows;
    }

    /// Messages with rows of this many bytes at most.
    pub fn message_bytes(&mut self, most: usize) {
        self.config.chunk_bytes_max = most;
    }

    fn id(&mut self) -> Uuid {
        self.ids += 1;
        Uuid::from_u128(self.ids)
    }

    /// A new row id.
    pub fn row_id(&mut self) -> RowId {
        RowId(self.id())
    }

    /// Makes a user.
    pub fn user(&mut self, name: &str, role: Role, grant: Grant) -> Result<UserId> {
        let id = UserId(self.id());
        self.grant(id, name, role, grant)?;
        Ok(id)
    }

    /// Gives a user these rights from now on.
    pub fn grant(&mut self, id: UserId, name: &str, role: Role, grant: Grant) -> Result<()> {
        let change = AccessChange::User { id, name: name.into(), role, grant, password: String::new() };
        match self.server(Job::Access { by: UserId::default(), change })? {
            Reply::Access(done) => done.map(|_| ()).map_err(|error| anyhow!("{error:?}")),
            other => bail!("an access change was answered by {other:?}"),
        }
    }

    /// Does a job at the server.
    pub fn server(&mut self, job: Job) -> Result<Reply> {
        self.now_ms += 1;
        Ok(self.workspace.apply(vec![job], self.now_ms)?.remove(0))
    }

    /// A new schema at the server.
    pub fn schema(&mut self, text: &str) -> Result<()> {
        match self.server(Job::Schema { by: UserId::default(), text: text.into() })? {
            Reply::Schema(Ok(_)) => Ok(()),
            other => bail!("the schema was answered by {other:?}"),
        }
    }

    fn issue(&mut self, user: UserId, device: Option<DeviceId>) -> Result<(DeviceId, String)> {
        let (fresh, token) = (DeviceId(self.id()), self.id().to_string());
        let hash = tombolo_client::protocol::hash::long(token.as_bytes());
        let job = Job::IssueToken { user, device, name: None, fresh, token: hash, expires_at_ms: i64::MAX };
        match self.server(job)? {
            Reply::Token(Ok(device)) => Ok((device, token)),
            other => bail!("a token was answered by {other:?}"),
        }
    }

    /// A new device of a user, logged in. Returns its place.
    pub fn device(&mut self, user: UserId) -> Result<usize> {
        let (device, token) = self.issue(user, None)?;
        let disk = Disk::default();
        let mut engine = Engine::open(Store::with_backend(disk.clone())?, self.ids as u64)?;
        let snapshot = self.workspace.store().snapshot()?;
        let account = Account {
            url: "http://server".into(),
            workspace: snapshot.workspace(),
            user,
            user_name: "somebody".into(),
            device,
            token: Some(token),
        };
        engine.logged_in(account, Some((snapshot.schema_seq(), snapshot.schema().text.clone())))?;
        self.devices.push(Device { engine, disk, link: None, events: Vec::new() });
        Ok(self.devices.len() - 1)
    }

    /// Logs a device in again where the server does not know its token any more, as a person does when asked to.
    pub fn login_if_needed(&mut self, at: usize) -> Result<()> {
        let mut account = self.devices[at].engine.account().context("no account")?.clone();
        let token = account.token.clone().unwrap_or_default();
        let hash = tombolo_client::protocol::hash::long(token.as_bytes());
        if self.workspace.store().snapshot()?.identity(&hash, self.now_ms)?.is_some() {
            return Ok(());
        }
        let (device, token) = self.issue(account.user, Some(account.device))?;
        (account.device, account.token) = (device, Some(token));
        Ok(self.devices[at].engine.logged_in(account, None)?)
    }

    /// A copy of a device's store, as somebody makes who copies the folder to another computer. Returns its place.
    pub fn copy_device(&mut self, of: usize) -> Result<usize> {
        self.ids += 1;
        let disk = self.devices[of].disk.copy();
        let engine = Engine::open(Store::with_backend(disk.clone())?, self.ids as u64)?;
        self.devices.push(Device { engine, disk, link: None, events: Vec::new() });
        Ok(self.devices.len() - 1)
    }

    /// The same world once more, with all programs started anew on copies of their disks. No link is open in it.
    pub fn copy(&self) -> Result<Self> {
        let disk = self.disk.copy();
        let mut ids = self.ids;
        let device = |device: &Device| {
            ids += 1;
            let disk = device.disk.copy();
            let engine = Engine::open(Store::with_backend(disk.clone())?, ids as u64)?;
            Ok(Device { engine, disk, link: None, events: Vec::new() })
        };
        let devices = self.devices.iter().map(device).collect::<Result<_>>()?;
        let workspace = Workspace::open(ServerStore::with_backend(disk.clone())?)?;
        let Self { config, now_ms, .. } = *self;
        Ok(Self { workspace, disk, registry: Registry::default(), devices, config, now_ms, ids })
    }

    /// Ends the device's process, as by kill -9, and starts it again on what is durable.
    pub fn restart_device(&mut self, at: usize) -> Result<()> {
        self.cut(at)?;
        self.ids += 1;
        let disk = self.devices[at].disk.copy();
        self.devices[at].engine = Engine::open(Store::with_backend(disk.clone())?, self.ids as u64)?;
        self.devices[at].disk = disk;
        Ok(())
    }

    /// What the server's folder is now, to be put back later.
    pub fn backup(&self) -> Disk {
        self.disk.copy()
    }

    /// Puts the server's folder back; all links break.
    pub fn put_back(&mut self, backup: &Disk) -> Result<()> {
        for at in 0..self.devices.len() {
            self.cut(at)?;
        }
        self.disk = backup.copy();
        self.registry = Registry::default();
        self.workspace = Workspace::open(ServerStore::with_backend(self.disk.clone())?)?;
        Ok(())
    }

    /// The same address answers with another, new server.
    pub fn another_server(&mut self, schema: &str) -> Result<()> {
        for at in 0..self.devices.len() {
            self.cut(at)?;
        }
        self.disk = Disk::default();
        self.registry = Registry::default();
        let init = Init { id: WorkspaceId(self.id()), schema };
        self.workspace = Workspace::init(ServerStore::with_backend(self.disk.clone())?, init, 1)?;
        Ok(())
    }

    /// Opens a link for a device; its first frame is under way.
    pub fn connect(&mut self, at: usize) -> Result<()> {
        self.cut(at)?;
        self.now_ms += 1;
        let now_ms = self.now_ms;
        self.login_if_needed(at)?;
        let token = self.devices[at].engine.account().and_then(|account| account.token.clone()).context("not logged in")?;
        let hash = tombolo_client::protocol::hash::long(token.as_bytes());
        let Some(identity) = self.workspace.store().snapshot()?.identity(&hash, now_ms)? else {
            bail!("the server does not know the token");
        };
        self.ids += 1;
        let id = SessionId(self.ids as u64);
        let device = &mut self.devices[at];
        let first = device.engine.connect(now_ms)?.context("no account")?;
        let session = Session::new(self.config, id, identity, now_ms);
        let up = VecDeque::from([tombolo_client::protocol::frame::encode_up(&first)]);
        device.link = Some(Link { session, id, identity, up, down: VecDeque::new(), closed: false });
        self.drain_client(at);
        Ok(())
    }

    /// Cuts the link of a device; what is under way is lost.
    pub fn cut(&mut self, at: usize) -> Result<()> {
        let device = &mut self.devices[at];
        if let Some(link) = device.link.take() {
            self.registry.leave(link.identity.device, link.id);
            device.engine.disconnected(false)?;
        }
        Ok(())
    }

    fn drain_client(&mut self, at: usize) {
        let device = &mut self.devices[at];
        while let Some(frame) = device.engine.poll_frame() {
            if let Some(link) = &mut device.link {
                link.up.push_back(frame);
            }
        }
        while let Some(event) = device.engine.poll_event() {
            device.events.push(event);
        }
    }

    /// Whether a device is linked.
    pub fn is_linked(&self, at: usize) -> bool {
        self.devices[at].link.is_some()
    }

    /// How many frames are under way in the link of a device, up and down; `None` where there is no link.
    pub fn under_way(&self, at: usize) -> Option<(usize, usize)> {
        self.devices[at].link.as_ref().map(|link| (link.up.len(), link.down.len()))
    }

    /// Delivers one frame of a device to the server. Returns whether there was one.
    pub fn up(&mut self, at: usize) -> Result<bool> {
        self.now_ms += 1;
        let now_ms = self.now_ms;
        let Some(link) = &mut self.devices[at].link else { return Ok(false) };
        let Some(frame) = link.up.pop_front() else { return Ok(false) };
        if !link.closed {
            link.session.handle_up(decode_up(&frame)?, now_ms);
            self.serve(at)?;
        }
        Ok(true)
    }

    /// Lets the session of a device work until it wants nothing more.
    pub fn serve(&mut self, at: usize) -> Result<()> {
        for _ in 0..STEPS_MAX {
            let output = match &mut self.devices[at].link {
                Some(link) if !link.closed => link.session.poll_output(),
                _ => return Ok(()),
            };
            match output {
                Some(output) => self.act(at, output)?,
                None if !self.read(at)? => return Ok(()),
                None => {}
            }
        }
        bail!("a session that never comes to rest")
    }

    fn read(&mut self, at: usize) -> Result<bool> {
        let snapshot = self.workspace.store().snapshot()?;
        let Some(link) = &mut self.devices[at].link else { return Ok(false) };
        if !link.session.wants_snapshot() {
            return Ok(false);
        }
        link.session.serve(&snapshot, &self.registry, self.now_ms)?;
        Ok(true)
    }

    fn act(&mut self, at: usize, output: Output) -> Result<()> {
        match output {
            Output::Frame(message) => {
                if let Some(link) = &mut self.devices[at].link {
                    link.down.push_back(encode_down(&message));
                }
            }
            Output::Prepared(frame) => {
                if let Some(link) = &mut self.devices[at].link {
                    link.down.push_back(frame.to_vec());
                }
            }
            Output::Submit(job) => {
                let reply = self.server(job)?;
                let Reply::Push(reply) = reply else { bail!("a push was answered by {reply:?}") };
                if let Some(link) = &mut self.devices[at].link {
                    link.session.handle_reply(reply);
                }
                self.head_moved();
            }
            Output::IssueDevice => {
                let user = self.devices[at].link.as_ref().context("no link")?.identity.user;
                let (device, token) = self.issue(user, None)?;
                if let Some(link) = &mut self.devices[at].link {
                    link.session.handle_device_issued(device, token);
                }
            }
            Output::Replace { session, process, connection } => {
                let other = (0..self.devices.len())
                    .find(|other| self.devices[*other].link.as_ref().is_some_and(|link| link.id == session));
                if let Some(other) = other {
                    if let Some(link) = &mut self.devices[other].link {
                        link.session.handle_replaced(process, connection);
                    }
                    self.serve(other)?;
                }
            }
            Output::Close => {
                let link = self.devices[at].link.as_mut().context("no link")?;
                link.closed = true;
                self.registry.leave(link.identity.device, link.id);
            }
        }
        Ok(())
    }

    /// Tells every session that the head moved.
    pub fn head_moved(&mut self) {
        let news = News::of(self.workspace.head());
        for device in &mut self.devices {
            if let Some(link) = &mut device.link {
                link.session.handle_head(news);
            }
        }
    }

    /// Delivers one frame of the server to a device. Returns whether there was one.
    pub fn down(&mut self, at: usize) -> Result<bool> {
        self.now_ms += 1;
        let now_ms = self.now_ms;
        let device = &mut self.devices[at];
        let Some(link) = &mut device.link else { return Ok(false) };
        let Some(frame) = link.down.pop_front() else {
            let closed = link.closed;
            if closed {
                self.cut(at)?;
            }
            return Ok(closed);
        };
        device.engine.handle_frame(&frame, now_ms)?;
        self.drain_client(at);
        if let Some(hangup) = self.devices[at].engine.poll_hangup() {
            self.cut(at)?;
            if matches!(hangup, Hangup::Reconnect | Hangup::ReconnectAfter(_)) {
                self.connect(at)?;
            }
        }
        Ok(true)
    }

    /// Everything that is under way for one device arrives, and what follows from it.
    pub fn settle(&mut self, at: usize) -> Result<()> {
        for _ in 0..STEPS_MAX {
            self.serve(at)?;
            if !self.up(at)? && !self.down(at)? {
                return Ok(());
            }
        }
        bail!("device {at} never comes to rest")
    }

    /// A whole sync of one device, from connecting to hanging up. Returns its report.
    pub fn sync(&mut self, at: usize) -> Result<SyncReport> {
        let now_ms = self.now_ms;
        self.devices[at].engine.sync(None, now_ms)?;
        let seen = self.devices[at].events.len();
        if !self.is_linked(at) {
            self.connect(at)?;
        }
        self.drain_client(at);
        self.settle(at)?;
        self.drain_client(at);
        let report = self.devices[at].events[seen..].iter().rev().find_map(|event| match event {
            Event::Synced(report) => Some(report.clone()),
            _ => None,
        });
        self.cut(at)?;
        report.with_context(|| format!("the sync of device {at} did not end: {:?}", &self.devices[at].events[seen..]))
    }

    /// A person at a device asks for a sync; nothing travels by itself.
    pub fn begin_sync(&mut self, at: usize) -> Result<()> {
        let now_ms = self.now_ms;
        self.devices[at].engine.sync(None, now_ms)?;
        self.drain_client(at);
        Ok(())
    }

    /// Connects a device as far as Welcome: what is ready is frozen then, and under way.
    pub fn greet(&mut self, at: usize) -> Result<()> {
        self.connect(at)?;
        self.up(at)?;
        while self.devices[at].engine.phase() == Phase::Greeting && self.down(at)? {}
        ensure!(self.devices[at].engine.phase() == Phase::Live, "device {at} was not welcomed");
        Ok(())
    }

    /// A person asks for a sync, and the link breaks before a byte of what is frozen then arrives.
    pub fn freeze(&mut self, at: usize) -> Result<()> {
        self.begin_sync(at)?;
        self.greet(at)?;
        self.cut(at)
    }
}
