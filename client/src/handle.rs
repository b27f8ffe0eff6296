//! The handle that programs hold: cheap to clone, and every call is a question to the thread that owns the engine.
//!
//! Calls block until the engine has answered: a disk write for edits, a memory or disk read for the rest, never a network
//! (but for `login`, `logout`, `sync` and `history`, which say so). In an async task, use `spawn_blocking`.

use crate::driver::{
    self, Asked, Command, Connection, Host, Mode, Opener, Question, Reply, Seen as JobSeen, Shared, SyncDone, SyncError,
    SyncOptions, SyncProgress, SyncWatch,
};
use crate::engine::Engine;
use crate::error::ClientError;
use crate::freeze::Standing;
use crate::local::{Before, LocalError, LocalWrite};
use crate::login::{self, Login, LoginAnswer, LoginFailure};
use crate::paths;
use crate::store::{Account, AuthorRecord, ReadTables, RecoveryCopy, Store, StoreError, guarded};
use crate::transport::ByteCounts;
use crate::url::ServerUrl;
use crate::view::{self, ConflictView, PendingView, Query, RowView};
use crate::watch::{Subscription, Watch};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::mpsc::UnboundedSender;
use tombolo_protocol::ids::{FieldTag, GroupId, RowId, RowKey, Seq, TableTag};
use tombolo_protocol::message::{Activity, History};
use tombolo_protocol::outbox::{Pending, Resolution, Seen};
use tombolo_protocol::row::{Life, Row};
use tombolo_protocol::schema::{Role, Schema, Table};
use uuid::Uuid;

/// Rows that are counted in one step.
const COUNTED_STEP: usize = 1024;

/// A commit as this device heard of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownCommit {
    /// The commit.
    pub seq: Seq,
    /// Who made it, and when.
    pub author: AuthorRecord,
    /// How many rows here show it as their last change, by table.
    pub rows: BTreeMap<TableTag, usize>,
}

/// One store with its engine. Clones share it; when the last one is gone, the link is closed and the store is free.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    commands: UnboundedSender<Command>,
    shared: Shared,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Inner {
    fn close(&self) {
        // It may have ended already; it lets go of the store when it ends.
        let _ = self.commands.send(Command::Stop);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A thread that ended by a defect has let go of it too.
            let _ = thread.join();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

/// Why a login did not succeed; nothing was changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoginFailed {
    /// The server did not accept it, or was not there.
    #[error(transparent)]
    Server(#[from] LoginFailure),
    /// This store cannot take it.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// How a store stands.
#[derive(Clone, Debug)]
pub struct Status {
    /// Whom it belongs to; `None` before the first login.
    pub account: Option<Account>,
    /// The schema's name.
    pub schema: Option<String>,
    /// How the link stands.
    pub connection: Connection,
    /// Rows with changes that the server does not have yet.
    pub pending: usize,
    /// Of them: rows in conflict.
    pub conflicts: usize,
    /// Of them: rows whose change was refused.
    pub refused: usize,
    /// When everything was last caught up, in milliseconds since 1970 by the device's clock; zero for never.
    pub caught_up_at_ms: i64,
    /// The newest commit that was seen.
    pub head: Seq,
    /// Sections that are still being filled for the first time, or again.
    pub filling: usize,
    /// Another server answered at the address: nothing is sent until a person decides.
    pub other_server: bool,
    /// Acknowledged edits that could not be offered again if the server lost them now.
    pub acknowledged_dropped: u64,
    /// Mirrors that were set aside after the server's history was put back.
    pub recovery_copies: Vec<(u32, RecoveryCopy)>,
}

/// A table, for a list of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableInfo {
    /// Its number.
    pub tag: TableTag,
    /// Its name.
    pub name: String,
    /// Its name for people.
    pub label: String,
    /// Rows shown.
    pub rows: usize,
    /// Rows with changes that the server does not have yet.
    pub pending: usize,
    /// Of them: rows that wait for a person.
    pub review: usize,
}

impl TableInfo {
    /// A table with so many rows, and what is pending of it among all that is pending.
    pub fn of(table: &Table, rows: usize, pending: &[PendingView]) -> Self {
        let of_table = || pending.iter().filter(|view| view.key.table == table.tag);
        let review: BTreeSet<RowId> =
            of_table().filter(|view| view.standing.waits_for_person()).map(|view| view.key.id).collect();
        let all: BTreeSet<RowId> = of_table().map(|view| view.key.id).collect();
        let (name, label) = (table.name.clone(), table.label.clone());
        Self { tag: table.tag, name, label, rows, pending: all.len(), review: review.len() }
    }
}

impl Client {
    /// Opens the store in a file, making it where there is none.
    ///
    /// # Errors
    /// [`StoreError`]: it is open in another program, damaged, newer than this program, or the disk failed.
    pub fn open(file: &Path) -> Result<Self, StoreError> {
        let io = |error: std::io::Error| StoreError::Io(error.to_string());
        let fresh = !file.exists();
        if let Some(folder) = file.parent().filter(|_| fresh) {
            paths::make_store_folder(folder).map_err(io)?;
        }
        let path = file.to_owned();
        let client = Self::with_opener(Box::new(move || Store::open(&path)))?;
        if fresh {
            paths::protect(file).map_err(io)?;
        }
        Ok(client)
    }

    pub(crate) fn with_opener(opener: Opener) -> Result<Self, StoreError> {
        let host = Host::open(opener, driver::random())?;
        let (commands, shared, thread) = driver::start(host).map_err(|error| StoreError::Io(error.to_string()))?;
        let thread = Mutex::new(Some(thread));
        Ok(Self { inner: Arc::new(Inner { commands, shared, thread }) })
    }

    fn command(&self, command: Command) -> Result<(), ClientError> {
        self.inner.commands.send(command).map_err(|_| ClientError::Stopped)
    }

    /// Does something with the engine, on its thread.
    pub(crate) fn act<R: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Engine, i64) -> Result<R, ClientError> + Send + 'static,
    ) -> Result<R, ClientError> {
        let (reply, answer) = sync_channel(1);
        let act = move |host: &mut Host, now_ms: i64| {
            let result = guarded(|| host.engine().map_err(ClientError::from).and_then(|engine| act(engine, now_ms)));
            let result = result.unwrap_or_else(|damaged| Err(damaged.into()));
            let failed = result.as_ref().err().is_some_and(|error| error.store_failure().is_some());
            // Who asked may not wait any more.
            let _ = reply.send(result);
            failed
        };
        self.command(Command::Act(Box::new(act)))?;
        answer.recv().map_err(|_| ClientError::Stopped)?
    }

    /// Reads from one snapshot.
    pub(crate) fn read<R: Send + 'static>(
        &self,
        read: impl FnOnce(&ReadTables, &Schema) -> Result<R, ClientError> + Send + 'static,
    ) -> Result<R, ClientError> {
        self.act(move |engine, _| {
            let schema = engine.schema().cloned().ok_or(LocalError::NoSchema)?;
            read(&engine.store().read()?, &schema)
        })
    }

    // ---- who, where, how ----

    /// Asks the server for a token, over the network, and makes this store that user's. Everything that is pending stays.
    ///
    /// # Errors
    /// [`LoginFailed`]; nothing was changed.
    pub fn login(&self, url: &ServerUrl, login: Login<'_>) -> Result<Account, LoginFailed> {
        let device = self.account()?.map(|account| account.device);
        let answer = login::ask(url, login, device)?;
        Ok(self.adopt(answer)?)
    }

    /// Takes what a login brought.
    pub(crate) fn adopt(&self, answer: LoginAnswer) -> Result<Account, ClientError> {
        let LoginAnswer { account, role, schema } = answer;
        let adopted = account.clone();
        self.act(move |engine, _| {
            engine.logged_in(account, Some(schema))?;
            Ok(engine.keep_role(role)?)
        })?;
        self.command(Command::Reconsider)?;
        Ok(adopted)
    }

    /// Forgets the token. Rows and everything that is pending stay; a login goes on from there. Returns whether the server,
    /// which is told over the network, heard of it.
    ///
    /// # Errors
    /// [`ClientError`] when the store fails.
    pub fn logout(&self) -> Result<bool, ClientError> {
        let token = self.account()?.and_then(|account| Some((account.url.parse::<ServerUrl>().ok()?, account.token?)));
        self.act(|engine, _| Ok(engine.logged_out()?))?;
        self.command(Command::Disconnect)?;
        Ok(token.is_some_and(|(url, token)| login::revoke(&url, &token)))
    }

    /// Whom the store belongs to.
    ///
    /// # Errors
    /// [`ClientError`] when the store fails.
    pub fn account(&self) -> Result<Option<Account>, ClientError> {
        self.act(|engine, _| Ok(engine.account().cloned()))
    }

    /// The user's role, as the last login told it: what [`Role::may_write`] says of a table is worth offering. `None` before a
    /// login, and in a store whose last login did not keep it. Whatever it says, the server decides.
    ///
    /// # Errors
    /// [`ClientError`] when the store fails.
    pub fn role(&self) -> Result<Option<Role>, ClientError> {
        self.act(|engine, _| Ok(engine.store().read()?.role()?))
    }

    /// The schema.
    ///
    /// # Errors
    /// [`LocalError::NoSchema`] before the first login.
    pub fn schema(&self) -> Result<Arc<Schema>, ClientError> {
        self.act(|engine, _| Ok(engine.schema().cloned().ok_or(LocalError::NoSchema)?))
    }

    /// How the store stands.
    ///
    /// # Errors
    /// [`ClientError`] when the store fails.
    pub fn status(&self) -> Result<Status, ClientError> {
        let connection = self.connection();
        self.act(move |engine, _| {
            let tables = engine.store().read()?;
            let pending = match engine.schema() {
                Some(schema) => view::pending(&tables, schema)?,
                None => Vec::new(),
            };
            let count = |standing: Standing| pending.iter().filter(|view| view.standing == standing).count();
            let state = engine.state();
            Ok(Status {
                account: engine.account().cloned(),
                schema: engine.schema().map(|schema| schema.name.clone()),
                connection,
                pending: usize::try_from(tables.entry_count()?).unwrap_or(usize::MAX),
                conflicts: count(Standing::Conflict),
                refused: count(Standing::Refused),
                caught_up_at_ms: state.caught_up_at_ms,
                head: state.witness.seq,
                filling: engine.cursors().fills.len(),
                other_server: state.other_server.is_some(),
                acknowledged_dropped: state.acknowledged_dropped,
                recovery_copies: tables.recovery_copies()?,
            })
        })
    }

    // ---- reading ----

    /// All tables that the user may see something of.
    ///
    /// # Errors
    /// [`ClientError`] when the store fails, or nothing is known yet.
    pub fn tables(&self) -> Result<Vec<TableInfo>, ClientError> {
        let (schema, pending) = (self.schema()?, self.pending()?);
        schema.tables.iter().map(|table| Ok(TableInfo::of(table, self.count(table.tag)?, &pending))).collect()
    }

    /// A row as it is shown; `None` where it is not there.
    ///
    /// # Errors
    /// [`ClientError`] when the store fails.
    pub fn get(&self, key: RowKey) -> Result<Option<RowView>, ClientError> {
        self.read(move |tables, schema| Ok(view::get(tables, schema, key)?))
    }

    /// The rows of a table as they are shown.
    ///
    /// # Errors
    /// [`ClientError`] when the store fails, or there is no such table.
    pub fn list(&self, table: TableTag, query: Query) -> Result<Vec<RowView>, ClientError> {
        self.read(move |tables, schema| {
            let table = schema.table(table).ok_or(LocalError::UnknownTable)?;
            Ok(view::list(tables, table, &query)?)
        })
    }

    /// How many rows of a table are shown. Counted in steps, so that nothing else waits for it long.
    ///
    /// # Errors
    /// [`ClientError`] when the store fails, or there is no such table.
    pub fn count(&self, table: TableTag) -> Result<usize, ClientError> {
        let (mut count, mut after) = (0, None);
        loop {
            let step = self.read(move |tables, schema| {
                let table = schema.table(table).ok_or(LocalError::UnknownTable)?;
                let rows = view::some(tables, table, after, COUNTED_STEP)?;
                Ok((rows.len(), rows.last().map(|row| row.key.id)))
            })?;
            count += step.0;
            after = step.1;
            if step.0 < COUNTED_STEP {
                return Ok(count);
            }
        }
    }

    /// The newest commits that this device heard of, newest first, with who made them and what is there of them; at most `max`.
    /// Counted in steps, as [`Client::count`].
    ///
    /// # Errors
    /// [`ClientError`] when the store fails.
    pub fn known_commits(&self, max: usize) -> Result<Vec<KnownCommit>, ClientError> {
        let newest = self.read(move |tables, _| Ok(tables.newest_authors(max)?))?;
        let Some((oldest, _)) = newest.last().cloned() else { return Ok(Vec::new()) };
        let mut rows: BTreeMap<Seq, BTreeMap<TableTag, usize>> = BTreeMap::new();
        for table in self.schema()?.tables.iter().map(|table| table.tag) {
            let mut after = None;
            loop {
                let step = self.read(move |tables, _| {
                    let rows = tables.mirror_rows(table, after)?.take(COUNTED_STEP);
                    let seqs = rows.map(|held| held.map(|held| (held.row.key.id, held.row.seq, held.row.is_live())));
                    Ok(seqs.collect::<Result<Vec<_>, _>>()?)
                })?;
                for (_, seq, _) in step.iter().filter(|(_, seq, is_live)| *is_live && *seq >= oldest) {
                    *rows.entry(*seq).or_default().entry(table).or_default() += 1;
                }
                after = step.last().map(|(id, ..)| *id);
                if step.len() < COUNTED_STEP {
                    break;
                }
            }
        }
        let told = |(seq, author)| KnownCommit { seq, author, rows: rows.remove(&seq).unwrap_or_default() };
        Ok(newest.into_iter().map(told).collect())
    }

    /// Whether this device has a row, and whether it lives; `None` where it never came, or has left.
    ///
    /// # Errors
    /// [`ClientError`] when the store fails.
    pub fn life(&self, key: RowKey) -> Result<Option<Life>, ClientError> {
        self.read(move |tables, _| Ok(tables.mirror(key)?.map(|held| held.row.life)))
    }

    /// What rows are called, also those that are not shown any more; empty where nothing is known of one.
    ///
    /// # Errors
    /// [`ClientError`] when the store fails.
    pub fn titles(&self, keys: Vec<RowKey>) -> Result<Vec<String>, ClientError> {
        self.read(move |tables, schema| keys.iter().map(|key| Ok(crate::listing::title(tables, schema, *key)?)).collect())
    }

    /// What a row is called, see [`Client::titles`].
    ///
    /// # Errors
    /// [`ClientError`] when the store fails.
    pub fn title_of(&self, key: RowKey) -> Result<String, ClientError> {
        self.read(move |tables, schema| Ok(crate::listing::title(tables, schema, key)?))
    }

    /// Everything pending.
    ///
    /// # Errors
    /// [`ClientError`] when the store fails.
    pub fn pending(&self) -> Result<Vec<PendingView>, ClientError> {
        self.read(|tables, schema| Ok(view::pending(tables, schema)?))
    }

    /// What is pending of a row: what comes next, or, where that is all, what is in flight.
    ///
    /// # Errors
    /// [`ClientError`] when the store fails.
    pub fn pending_of(&self, key: RowKey) -> Result<Option<Pending>, ClientError> {
        self.read(move |tables, _| Ok(tables.entry(key)?.and_then(|entry| entry.next.or(entry.sent.map(|sent| sent.pending)))))
    }

    /// Everything that a person has to decide.
    ///
    /// # Errors
    /// [`ClientError`] when the store fails.
    pub fn conflicts(&self) -> Result<Vec<ConflictView>, ClientError> {
        self.read(|tables, schema| Ok(view::conflicts(tables, schema)?))
    }

    /// The rows of a mirror that was set aside, see [`Status::recovery_copies`].
    ///
    /// # Errors
    /// [`ClientError`] when the store fails.
    pub fn recovery_rows(&self, copy: u32) -> Result<Vec<Row>, ClientError> {
        self.read(move |tables, _| Ok(tables.recovery_rows(copy)?.collect::<Result<_, _>>()?))
    }

    // ---- writing ----

    /// Writes rows in one durable transaction. When this returns, the edits survive a power cut. With `grouped` the server
    /// admits them together or not at all.
    ///
    /// # Errors
    /// [`ClientError`]; nothing was written.
    pub fn transaction(&self, writes: Vec<LocalWrite>, grouped: bool) -> Result<(), ClientError> {
        let group = grouped.then(|| GroupId(new_uuid()));
        self.act(move |engine, now_ms| Ok(engine.write(writes, group, now_ms)?))
    }

    /// Discards what is pending of a row (and its group) and is not being sent; with `field`, only that field. What was there
    /// can be put back.
    ///
    /// # Errors
    /// [`ClientError`]; nothing was discarded.
    pub fn discard(&self, key: RowKey, field: Option<FieldTag>) -> Result<Before, ClientError> {
        self.act(move |engine, now_ms| Ok(engine.discard(key, field, now_ms)?))
    }

    /// Deletes a row that was seen so, in a way that can be taken back.
    ///
    /// # Errors
    /// [`ClientError`]; nothing was deleted.
    pub fn delete(&self, key: RowKey, seen: Option<Seen>) -> Result<Before, ClientError> {
        self.act(move |engine, now_ms| Ok(engine.delete(key, seen, now_ms)?))
    }

    /// Puts back what was pending before something was discarded or deleted.
    ///
    /// # Errors
    /// [`ClientError`]; [`LocalError::TooLate`] when something else was done to it meanwhile. Nothing was put back.
    pub fn put_back(&self, before: Before) -> Result<(), ClientError> {
        self.act(move |engine, now_ms| Ok(engine.put_back(&before, now_ms)?))
    }

    /// Takes a row out of its group, so that it is sent and decided by itself.
    ///
    /// # Errors
    /// [`ClientError`] when nothing of the row is pending.
    pub fn take_out_of_group(&self, key: RowKey) -> Result<(), ClientError> {
        self.act(move |engine, now_ms| Ok(engine.take_out_of_group(key, now_ms)?))
    }

    /// Applies a person's decision of the conflict as they saw it; without `shown`, as it is at the moment.
    ///
    /// # Errors
    /// [`ClientError`]; nothing was decided.
    pub fn resolve(&self, key: RowKey, shown: Option<ConflictView>, resolution: Resolution) -> Result<(), ClientError> {
        self.act(move |engine, now_ms| Ok(engine.resolve(key, shown.as_ref(), &resolution, now_ms)?))
    }

    // ---- the link ----

    /// Connects, and stays connected, until [`Client::disconnect`]. Returns at once.
    ///
    /// # Errors
    /// [`ClientError::Stopped`].
    pub fn connect(&self, mode: Mode) -> Result<(), ClientError> {
        self.command(Command::Connect(mode))
    }

    /// Goes offline, once a sync that is under way is over. Returns at once.
    ///
    /// # Errors
    /// [`ClientError::Stopped`].
    pub fn disconnect(&self) -> Result<(), ClientError> {
        self.command(Command::Disconnect)
    }

    /// How the link stands.
    pub fn connection(&self) -> Connection {
        self.inner.shared.connection.borrow().clone()
    }

    /// Bytes on the sockets so far.
    pub fn bytes(&self) -> &ByteCounts {
        &self.inner.shared.bytes
    }

    /// Syncs once, over the network: what is ready is pushed and everything is pulled. Waits for the end. `progress` sees how
    /// far it has come, and may stop it; what was not sent stays pending.
    ///
    /// # Errors
    /// [`SyncError`]; everything that is pending is kept.
    pub fn sync(
        &self,
        options: SyncOptions,
        mut progress: impl FnMut(SyncProgress) -> ControlFlow<()>,
    ) -> Result<SyncDone, SyncError> {
        let watch = Arc::new(SyncWatch::default());
        self.command(Command::Sync(options, watch.clone())).map_err(|_| SyncError::Stopped)?;
        loop {
            match watch.wait() {
                JobSeen::Done(done) => return done,
                JobSeen::Progress(seen) => {
                    if progress(seen).is_break() {
                        self.cancel_sync();
                    }
                }
            }
        }
    }

    /// Stops the sync that is under way, if there is one.
    pub fn cancel_sync(&self) {
        // A client that was stopped has no sync any more.
        let _ = self.command(Command::CancelSync);
    }

    /// Asks the server for the history of a row, over the network.
    ///
    /// # Errors
    /// [`SyncError`] when there is no answer within `limit`.
    pub fn history(&self, key: RowKey, limit: Duration) -> Result<History, SyncError> {
        self.ask(|reply| Asked::History(key, reply), limit)
    }

    /// Asks the server what was done lately, and by whom, over the network.
    ///
    /// # Errors
    /// [`SyncError`] when there is no answer within `limit`.
    pub fn activity(&self, limit: Duration) -> Result<Activity, SyncError> {
        self.ask(Asked::Activity, limit)
    }

    fn ask<T>(&self, asked: impl FnOnce(Reply<T>) -> Asked, limit: Duration) -> Result<T, SyncError> {
        let (reply, answer) = sync_channel(1);
        let question = Question { asked: asked(reply), deadline: tokio::time::Instant::now() + limit };
        self.command(Command::Ask(question)).map_err(|_| SyncError::Stopped)?;
        answer.recv().map_err(|_| SyncError::Stopped)?
    }

    /// Everything that this client tells from now on.
    ///
    /// # Errors
    /// [`ClientError::Stopped`].
    pub fn subscribe(&self) -> Result<Subscription, ClientError> {
        let (reply, answer) = sync_channel(1);
        self.command(Command::Subscribe(reply))?;
        Ok(Subscription::new(answer.recv().map_err(|_| ClientError::Stopped)?))
    }

    /// The rows that change from now on, of one table or of all.
    ///
    /// # Errors
    /// [`ClientError::Stopped`].
    pub fn watch(&self, table: Option<TableTag>) -> Result<Watch, ClientError> {
        Ok(Watch::new(self.clone(), self.subscribe()?, table))
    }

    /// What another thread needs to stop this client, or its sync.
    pub fn canceller(&self) -> Canceller {
        Canceller { commands: self.inner.commands.clone() }
    }

    /// [`Client::stop`], and waits until the store is free, whoever else has a handle.
    pub fn close(&self) {
        self.inner.close();
    }

    /// Ends the link and the engine. Other handles, subscriptions and whoever waits for something hear of it; what was saved is
    /// safe.
    pub fn stop(&self) {
        // It may have ended already.
        let _ = self.command(Command::Stop);
    }
}

/// Stops a client, or its sync, from another thread, without keeping the client alive.
#[derive(Clone)]
pub struct Canceller {
    commands: UnboundedSender<Command>,
}

impl Canceller {
    /// [`Client::cancel_sync`].
    pub fn cancel_sync(&self) {
        // A client that is gone has no sync any more.
        let _ = self.commands.send(Command::CancelSync);
    }

    /// [`Client::stop`].
    pub fn stop(&self) {
        // It may be gone already.
        let _ = self.commands.send(Command::Stop);
    }
}

/// The id of a new row.
pub fn new_row_id() -> RowId {
    RowId(new_uuid())
}

#[expect(clippy::disallowed_methods, reason = "the handle is where programs ask for new ids")]
fn new_uuid() -> Uuid {
    Uuid::now_v7()
}
