//! A small world without sockets, clock or threads: one server, some devices, links that are delivered by hand. What runs is
//! what ships: client engine, server session and workspace, on their real stores.
//!
//! Frames travel only when a story says so, and a link can be cut with anything under way, so that an interleaving can be
//! written down step by step.

use crate::disk::Disk;
use anyhow::{Context, Result, anyhow, bail};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tombolo_client::engine::Engine;
use tombolo_client::event::{Event, SyncReport};
use tombolo_client::protocol::change::Op;
use tombolo_client::protocol::commit::{AccessChange, Grant, Offer};
use tombolo_client::protocol::frame::{decode_up, encode_down};
use tombolo_client::protocol::ids::{DeviceId, FieldTag, GroupId, RowId, RowKey, Seq, UserId, WorkspaceId};
use tombolo_client::protocol::outbox::{Resolution, Seen, Write};
use tombolo_client::protocol::row::Row;
use tombolo_client::protocol::schema::{Role, Schema, Table};
use tombolo_client::protocol::value::Value;
use tombolo_client::store::{Account, Store};
use tombolo_client::view::{self, ConflictView, PendingView, RowView};
use tombolo_client::{Hangup, LocalError, LocalWrite};
use tombolo_server::session::{Output, Registry, Session, SessionConfig, SessionId};
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
        let job = Job::IssueToken { user, device, fresh, token: hash, expires_at_ms: i64::MAX };
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

    // ---- links ----

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
        let session = Session::new(self.config.clone(), id, identity, now_ms);
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

    /// Delivers one frame of a device to the server. Returns whether there was one.
    pub fn up(&mut self, at: usize) -> Result<bool> {
        self.now_ms += 1;
        let now_ms = self.now_ms;
        let Some(link) = &mut self.devices[at].link else { return Ok(false) };
        let Some(frame) = link.up.pop_front() else { return Ok(false) };
        if !link.closed {
            if std::env::var_os("PAIR_TRACE").is_some() {
                eprintln!("{at} -> {:?}", decode_up(&frame));
            }
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
        link.session.serve(&snapshot, &mut self.registry, self.now_ms)?;
        Ok(true)
    }

    fn act(&mut self, at: usize, output: Output) -> Result<()> {
        match output {
            Output::Frame(message) => {
                if let Some(link) = &mut self.devices[at].link {
                    link.down.push_back(encode_down(&message));
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
        for device in &mut self.devices {
            if let Some(link) = &mut device.link {
                link.session.handle_head();
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
        if std::env::var_os("PAIR_TRACE").is_some() {
            eprintln!("{at} <- {:?}", tombolo_client::protocol::frame::decode_down(&frame));
        }
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

    /// Freezes what is ready at a device that has no link, as the beginning of a sync does.
    pub fn begin_sync(&mut self, at: usize) -> Result<()> {
        let now_ms = self.now_ms;
        self.devices[at].engine.sync(None, now_ms)?;
        self.drain_client(at);
        Ok(())
    }

    // ---- people ----

    fn table(&self, at: usize, name: &str) -> Result<Table> {
        let schema = self.devices[at].engine.schema().context("no schema")?;
        Ok(schema.table_named(name).with_context(|| format!("no table {name}"))?.clone())
    }

    /// Values by field name, written as on a command line.
    pub fn values(&self, at: usize, table: &str, fields: &[(&str, &str)]) -> Result<BTreeMap<FieldTag, Value>> {
        let table = self.table(at, table)?;
        fields
            .iter()
            .map(|(name, text)| {
                let field = table.field_named(name).with_context(|| format!("no field {name}"))?;
                Ok((field.tag, field.parse_text(text)?))
            })
            .collect()
    }

    /// A local write.
    pub fn write(&mut self, at: usize, key: RowKey, write: Write, seen: Option<Seen>) -> Result<(), LocalError> {
        self.now_ms += 1;
        let done = self.devices[at].engine.write(vec![LocalWrite { key, write, seen }], None, self.now_ms);
        self.drain_client(at);
        done
    }

    /// Creates a row.
    pub fn create(&mut self, at: usize, table: &str, fields: &[(&str, &str)]) -> Result<RowKey> {
        let key = RowKey { table: self.table(at, table)?.tag, id: self.row_id() };
        let values = self.values(at, table, fields)?;
        self.write(at, key, Write::Create(values), None)?;
        Ok(key)
    }

    /// Updates a row.
    pub fn update(&mut self, at: usize, key: RowKey, fields: &[(&str, &str)]) -> Result<()> {
        let name = self.table_name(at, key)?;
        let values = self.values(at, &name, fields)?;
        Ok(self.write(at, key, Write::Update(values), None)?)
    }

    /// Writes several rows as a group.
    pub fn group(&mut self, at: usize, writes: Vec<(RowKey, Write)>) -> Result<(), LocalError> {
        let group = GroupId(self.id());
        let writes = writes.into_iter().map(|(key, write)| LocalWrite { key, write, seen: None }).collect();
        self.devices[at].engine.write(writes, Some(group), self.now_ms)
    }

    /// Deletes a row.
    pub fn delete(&mut self, at: usize, key: RowKey) -> Result<()> {
        Ok(self.write(at, key, Write::Delete, None)?)
    }

    /// Restores a row.
    pub fn restore(&mut self, at: usize, key: RowKey) -> Result<()> {
        Ok(self.write(at, key, Write::Restore, None)?)
    }

    /// Decides a conflict.
    pub fn resolve(&mut self, at: usize, key: RowKey, resolution: &Resolution) -> Result<(), LocalError> {
        self.now_ms += 1;
        let done = self.devices[at].engine.resolve(key, None, resolution, self.now_ms);
        self.drain_client(at);
        done
    }

    fn schema_of(&self, at: usize) -> Result<std::sync::Arc<Schema>> {
        Ok(self.devices[at].engine.schema().context("no schema")?.clone())
    }

    fn table_name(&self, at: usize, key: RowKey) -> Result<String> {
        Ok(self.schema_of(at)?.table(key.table).context("no table")?.name.clone())
    }

    /// A row as a device shows it.
    pub fn shown(&self, at: usize, key: RowKey) -> Result<Option<RowView>> {
        Ok(view::get(&self.devices[at].engine.store().read()?, &*self.schema_of(at)?, key)?)
    }

    /// A field as a device shows it; "-" where the row is not there.
    pub fn field(&self, at: usize, key: RowKey, field: &str) -> Result<String> {
        let schema = self.schema_of(at)?;
        let table = schema.table(key.table).context("no table")?;
        let field = table.field_named(field).context("no field")?;
        Ok(self.shown(at, key)?.map_or("-".into(), |row| field.show(row.value(field.tag))))
    }

    /// What is pending at a device.
    pub fn pending(&self, at: usize) -> Result<Vec<PendingView>> {
        Ok(view::pending(&self.devices[at].engine.store().read()?, &*self.schema_of(at)?)?)
    }

    /// What a person has to decide at a device.
    pub fn conflicts(&self, at: usize) -> Result<Vec<ConflictView>> {
        Ok(view::conflicts(&self.devices[at].engine.store().read()?, &*self.schema_of(at)?)?)
    }

    /// What the mirror of a device holds of a row.
    pub fn mirror(&self, at: usize, key: RowKey) -> Result<Option<Row>> {
        Ok(self.devices[at].engine.store().read()?.mirror(key)?.map(|held| held.row))
    }

    /// The server's row.
    pub fn server_row(&self, key: RowKey) -> Result<Option<Row>> {
        Ok(self.workspace.store().snapshot()?.row(&key)?)
    }

    /// A field of the server's row; "-" where the row is not there.
    pub fn server_field(&self, key: RowKey, field: &str) -> Result<String> {
        let snapshot = self.workspace.store().snapshot()?;
        let table = snapshot.schema().table(key.table).context("no table")?;
        let field = table.field_named(field).context("no field")?;
        Ok(snapshot.row(&key)?.filter(Row::is_live).map_or("-".into(), |row| field.show(row.value(field.tag))))
    }

    /// The server's head.
    pub fn head(&self) -> Seq {
        self.workspace.head().seq
    }

    /// The server's store.
    pub fn store(&self) -> &ServerStore {
        self.workspace.store()
    }

    /// How often the server's log holds an effect of this kind on a row.
    pub fn effects(&self, key: RowKey, op: Op) -> Result<usize> {
        use tombolo_client::protocol::commit::CommitBody;
        let snapshot = self.workspace.store().snapshot()?;
        let mut count = 0;
        for seq in 1..=snapshot.head().seq.0 {
            let commit = snapshot.commit(Seq(seq))?.context("a gap in the log")?;
            if let CommitBody::Push(record) = commit.body {
                count += record.effects.iter().filter(|effect| effect.key == key && effect.op == op).count();
            }
        }
        Ok(count)
    }

    /// Demands that the mirror of a device is exactly what the server shows its user: rows, values, stamps and digests.
    pub fn assert_equal(&self, at: usize) -> Result<()> {
        let device = &self.devices[at];
        let snapshot = self.workspace.store().snapshot()?;
        let user = device.engine.account().context("no account")?.user;
        let rights = snapshot.rights(user)?.context("no rights")?;
        let sections = snapshot.sections(&rights)?;
        let tables = device.engine.store().read()?;
        anyhow::ensure!(
            device.engine.cursors().fills.is_empty() && device.engine.cursors().sections == sections,
            "device {at} does not serve all sections: {:?}",
            device.engine.cursors()
        );
        for table in &snapshot.schema().tables {
            let live = |row: &Row| row.is_live() && row.section(table).is_some_and(|section| sections.contains(&section));
            let mut theirs = BTreeMap::new();
            let mut after = None;
            loop {
                let page = snapshot.rows_after(table.tag, after, 1000)?;
                let Some(last) = page.last() else { break };
                after = Some(last.key.id);
                theirs.extend(page.into_iter().filter(live).map(|row| (row.key, comparable(&row))));
            }
            let mut mine = BTreeMap::new();
            for held in tables.mirror_rows(table.tag, None)? {
                let row = held?.row;
                if row.is_live() {
                    mine.insert(row.key, comparable(&row));
                }
            }
            anyhow::ensure!(mine == theirs, "device {at}, {}: mirror {mine:#?}\nserver {theirs:#?}", table.name);
        }
        for section in sections {
            let (mine, theirs) = (tables.digest(&section)?, snapshot.digest(&section)?);
            anyhow::ensure!(mine == theirs, "device {at}: the digests of {section:?} differ");
        }
        Ok(())
    }

    /// The history of a row, as an administrator sees it, newest first.
    pub fn history(&self, key: RowKey) -> Result<Vec<tombolo_client::protocol::message::HistoryEntry>> {
        let snapshot = self.workspace.store().snapshot()?;
        let (admin, _) = snapshot.users()?.into_iter().find(|(_, user)| user.role == Role::Admin).context("no admin")?;
        let rights = snapshot.rights(admin)?.context("no rights")?;
        Ok(snapshot.history(&rights, &key, 100)?.entries)
    }

    /// Takes the values of a deleted row at the server.
    pub fn purge(&mut self, key: RowKey) -> Result<()> {
        match self.server(Job::Purge { by: UserId::default(), rows: vec![key] })? {
            Reply::Purge(Ok(_)) => Ok(()),
            other => bail!("the purge was answered by {other:?}"),
        }
    }

    /// How many pushes the log holds as void.
    pub fn voids(&self) -> Result<usize> {
        use tombolo_client::protocol::commit::CommitBody;
        let snapshot = self.workspace.store().snapshot()?;
        let mut count = 0;
        for seq in 1..=snapshot.head().seq.0 {
            let body = snapshot.commit(Seq(seq))?.map(|commit| commit.body);
            count += usize::from(matches!(body, Some(CommitBody::Push(record)) if record.void));
        }
        Ok(count)
    }

    /// Cuts the link of a device as a server does that closes with an error.
    pub fn cut_by_error(&mut self, at: usize) -> Result<()> {
        let device = &mut self.devices[at];
        if let Some(link) = device.link.take() {
            self.registry.leave(link.identity.device, link.id);
            device.engine.disconnected(true)?;
        }
        Ok(())
    }

    /// Discards what is pending of a row.
    pub fn discard(&mut self, at: usize, key: RowKey) -> Result<(), LocalError> {
        self.devices[at].engine.discard(key, None, self.now_ms)
    }

    /// Writes many rows in one local transaction that is no group.
    pub fn import(&mut self, at: usize, writes: Vec<(RowKey, Write)>) -> Result<(), LocalError> {
        let writes = writes.into_iter().map(|(key, write)| LocalWrite { key, write, seen: None }).collect();
        self.devices[at].engine.write(writes, None, self.now_ms)
    }

    /// Makes commits at the server that nobody in particular cares for, so that seqs are taken.
    pub fn patient_filler(&mut self) -> Result<()> {
        for name in ["filler", "another", "third"] {
            let id = UserId(self.id());
            self.grant(id, name, Role::Viewer, Grant::All)?;
        }
        Ok(())
    }

    /// Whether the device told something.
    pub fn told(&self, at: usize, is_it: impl Fn(&Event) -> bool) -> bool {
        self.devices[at].events.iter().any(is_it)
    }

    /// A restore as the operator's choice in the log.
    pub fn restore_commit(&mut self, offer: Offer) -> Result<()> {
        self.server(Job::Restore { by: UserId::default(), offer }).map(|_| ())
    }

    /// Pushes only these rows in the next sync of a device.
    pub fn sync_only(&mut self, at: usize, rows: BTreeSet<RowKey>) -> Result<()> {
        let now_ms = self.now_ms;
        self.devices[at].engine.sync(Some(rows), now_ms)?;
        self.connect(at)?;
        self.settle(at)?;
        self.cut(at)
    }
}

type Comparable = (u64, u64, u64, BTreeMap<FieldTag, (Value, Seq)>);

fn comparable(row: &Row) -> Comparable {
    let fields = row.fields.iter().filter(|(_, stamped)| !stamped.value.is_null());
    let fields = fields.map(|(field, stamped)| (*field, (stamped.value.clone(), stamped.stamp))).collect();
    (row.version.0, row.seq.0, row.since.0, fields)
}
