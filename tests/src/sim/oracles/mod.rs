//! What must hold, looked at after every step. Each oracle has a name, by which a failure is told and cut down.

mod answers;
mod bases;
mod copies;
mod deletions;
pub mod frozen;
mod history;
mod kept;
mod log;
mod mirror;
mod poison;
pub mod prepared;
mod reviews;
mod schema;
mod scopes;
mod shown;
mod verdicts;

use super::ledger::Ledger;
use super::net::LinkId;
use anyhow::Result;
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;
use tombolo_client::engine::Engine;
use tombolo_client::protocol::change::Push;
use tombolo_client::protocol::commit::Commit;
use tombolo_client::protocol::cursor::Cursors;
use tombolo_client::protocol::ids::{DeviceId, FieldTag, Hash16, Mark, PushNo, Seq};
use tombolo_client::protocol::message::{Down, Hello};
use tombolo_client::protocol::outbox::Pending;
use tombolo_client::protocol::row::Row;
use tombolo_client::protocol::schema::Role;
use tombolo_client::protocol::value::Value;
use tombolo_client::view::{ConflictView, RowView};
use tombolo_server::snapshot::{Identity, Snapshot};
use tombolo_server::workspace::Job;

/// Something does not hold.
#[derive(Debug, Error)]
#[error("{oracle}: {what}")]
pub struct Broken {
    /// The oracle.
    pub oracle: &'static str,
    /// What it saw.
    pub what: String,
}

impl Broken {
    /// As an error of a step.
    #[expect(clippy::new_ret_no_self, reason = "it is always wanted as an error of a step")]
    pub fn new(oracle: &'static str, what: impl Into<String>) -> anyhow::Error {
        Self { oracle, what: what.into() }.into()
    }
}

/// All oracles and what they remember.
#[derive(Default)]
pub struct Oracles {
    /// What people did and saw.
    pub ledger: Ledger,
    /// The rights of each user: sites by bits, and the role.
    pub rights: BTreeMap<usize, (u8, Role)>,
    /// Times that a device came back at once; kept here for the driver's sake.
    pub prompt_returns: BTreeMap<usize, u32>,
    /// Verdicts that the model foretold, by kind.
    pub verdicts: BTreeMap<String, u64>,
    log: log::Log,
    /// Every commit of any history, by its hash: a log that was compacted does not have all of its own.
    commits: BTreeMap<Hash16, Commit>,
    asked: verdicts::Asked,
    answers: BTreeMap<(DeviceId, PushNo), answers::Answer>,
    /// What each session was told.
    told: BTreeMap<LinkId, Told>,
    poison: poison::Poison,
    rows: mirror::ServerRows,
    stores: BTreeMap<usize, Watched>,
    /// Which stores ever went by a device id.
    users_of_id: BTreeMap<DeviceId, BTreeSet<usize>>,
}

/// What is remembered of a session.
struct Told {
    /// The device that its Hello named: the one that its pushes are of.
    device: DeviceId,
    /// The pushes that its Hello named.
    pushes: copies::Named,
    /// The newest schema that it was told of.
    schema: Seq,
    /// The snapshot that it was told last.
    snapshot: Option<Mark>,
}

/// What is remembered of a store.
#[derive(Default)]
struct Watched {
    cursors: Option<(DeviceId, Cursors)>,
    witness: Mark,
    /// The link and the head at which it was last seen to rest.
    rested: Option<(LinkId, Mark)>,
    /// The newest commits that it had in common with a server that was put back.
    common: Option<Seq>,
    /// How often it is known to have found that; `None` where its store is not known yet.
    histories: Option<u32>,
}

impl Oracles {
    /// A session asks the server's writer for something.
    pub fn asked(&mut self, job: &Job) {
        self.asked.note(job);
    }

    /// The server made commits.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn committed(&mut self, snapshot: &Snapshot) -> Result<()> {
        log::committed(self, snapshot)
    }

    /// The server's store was opened: everything that was ever told must be in it.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn server_opened(&mut self, snapshot: &Snapshot) -> Result<()> {
        log::opened(self, snapshot)
    }

    /// The server's folder was put back: what it lost is no promise any more.
    pub fn server_put_back(&mut self) {
        self.log = log::Log::default();
        self.answers.clear();
    }

    /// The store of a device was put back: edits that it made since are known to be gone, unless the server has them.
    pub fn client_put_back(&mut self, store: usize) {
        self.ledger.put_back.insert(store);
        self.ledger.earlier_lives.insert(store);
        self.ledger.groups.retain(|_, group| group.store != store);
        self.ledger.deletions.retain(|(of, _)| *of != store);
        self.ledger.undone.retain(|(of, _), _| *of != store);
        self.ledger.sent_creates.retain(|(of, _)| *of != store);
        self.poison.begins_again(store);
        *self.stores.entry(store).or_default() = Watched::default();
    }

    /// A device says who it is.
    pub fn hello(&mut self, link: LinkId, hello: &Hello) {
        let told = Told { device: hello.device, pushes: copies::named(hello), schema: hello.schema, snapshot: None };
        self.told.insert(link, told);
    }

    /// The server ends a session because of this push.
    pub fn poisoned(&mut self, link: LinkId, push: &Push) {
        self.poison.ends(link, push);
    }

    /// A device hears that the server ended its session by an error.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn ended_by_error(&mut self, store: usize, link: LinkId) -> Result<()> {
        poison::heard(self, store, link)
    }

    /// The server sends something.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn sent(&mut self, snapshot: &Snapshot, link: LinkId, to: Identity, message: &Down) -> Result<()> {
        self.log.told(snapshot.head());
        let read_at = self.read_at(link, message);
        schema::sent(self, link, snapshot, read_at, message)?;
        if let Down::Welcome(welcome) = message
            && welcome.snapshot == snapshot.head()
        {
            copies::greeted(self, link, to.device, welcome)?;
        }
        scopes::sent(snapshot, read_at, to, message)?;
        history::told(self, snapshot, to, message)?;
        let device = self.told.get(&link).map_or(to.device, |told| told.device);
        answers::sent(self, device, message)
    }

    /// The snapshot from which a message was read; one that says none has that of the message before.
    fn read_at(&mut self, link: LinkId, message: &Down) -> Option<Mark> {
        let said = match message {
            Down::Welcome(welcome) => Some(welcome.snapshot),
            Down::Copy(copied) => Some(copied.snapshot),
            Down::Diverged(diverged) => Some(diverged.snapshot),
            Down::Result { snapshot, outcome, .. } => snapshot.or(Some(outcome.commit)),
            Down::Rows { snapshot, .. } => *snapshot,
            Down::Delta(delta) => delta.snapshot,
            Down::CaughtUp(caught_up) => caught_up.head,
            _ => return None,
        };
        let Some(told) = self.told.get_mut(&link) else { return said };
        told.snapshot = said.or(told.snapshot);
        told.snapshot
    }

    /// A device took a new life: the record showed a copy, or it was replaced by another process. A process that was killed counts
    /// as one, where what it sent arrives behind its successor (P4).
    ///
    /// # Errors
    /// [`Broken`] where the record showed a copy, and it is none.
    pub fn new_life(&mut self, store: usize, foreign_process: bool) -> Result<()> {
        self.poison.begins_again(store);
        self.stores.entry(store).or_default().cursors = None;
        if foreign_process { Ok(()) } else { copies::is_one(self, store) }
    }

    /// A device was started. Before it ended it may have found that the server was put back, and nobody heard of it.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn started(&mut self, store: usize, engine: &Engine) -> Result<()> {
        let now = engine.state().recovery_copies;
        let heard = self.stores.entry(store).or_default().histories.replace(now);
        if heard.is_some_and(|heard| heard < now)
            && let Some((_, copy)) = engine.store().read()?.recovery_copies()?.last()
        {
            self.diverged(store, copy.common, copy.offered, Some(engine))?;
        }
        Ok(())
    }

    /// A device found that the server was put back.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn diverged(&mut self, store: usize, common: Seq, offered: u64, engine: Option<&Engine>) -> Result<()> {
        self.poison.begins_again(store);
        self.ledger.earlier_lives.insert(store);
        let watched = self.stores.entry(store).or_default();
        watched.cursors = None;
        watched.witness = Mark::default();
        watched.common = watched.common.max(Some(common));
        watched.histories = engine.map(|engine| engine.state().recovery_copies).or(watched.histories);
        // What the server lost is offered again or not, as the operator chose.
        self.ledger.deletions.retain(|(of, _)| *of != store);
        // Where it took back nothing, what waits has been waiting before, or was decided.
        match engine.filter(|_| offered > 0) {
            Some(engine) => deletions::undone(self, store, common, engine),
            None => Ok(()),
        }
    }

    /// A frame is about to be handed to an engine.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn before_frame(&mut self, store: usize, engine: &Engine) -> Result<()> {
        self.knows(store, engine);
        Ok(())
    }

    /// A frame was handled.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn after_frame(&mut self, store: usize, engine: &Engine, snapshot: &Snapshot) -> Result<()> {
        self.knows(store, engine);
        mirror::moved(self, store, engine, snapshot)?;
        deletions::check(self, store, engine)?;
        kept::check(self, store, engine)
    }

    /// A form was saved over this row of the mirror, and this came of it. Of the fields that are judged nothing own was
    /// pending in it, or nothing of the row is by now.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn form_saved(
        &self,
        store: usize,
        form: &RowView,
        mirror: &Row,
        made: &Pending,
        is_judged: impl Fn(FieldTag) -> bool,
    ) -> Result<()> {
        bases::of_form(store, form, mirror, made, is_judged)
    }

    /// A dialog is shown at a store.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn dialog(&self, store: usize, engine: &Engine, dialog: &ConflictView) -> Result<()> {
        // Whoever saw a history that is lost by now, or will find that it is, saw what this log does not have.
        let is_one_history = engine.state().recovery_copies == 0 && self.log.has(engine.state().witness);
        if is_one_history { bases::of_dialog(self, store, dialog) } else { Ok(()) }
    }

    /// A person saved these values from a form.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn saved(&self, store: usize, engine: &Engine, form: &RowView, values: &BTreeMap<FieldTag, Value>) -> Result<()> {
        shown::saved(store, engine, form, values)
    }

    /// A person did something at a device that had this in flight before.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn in_flight_stays(&self, store: usize, before: &frozen::InFlight, engine: &Engine) -> Result<()> {
        frozen::stays(store, before, engine)
    }

    /// A person did something at a device.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn after_act(&mut self, store: usize, engine: &Engine) -> Result<()> {
        self.knows(store, engine);
        kept::check(self, store, engine)?;
        deletions::check(self, store, engine)?;
        shown::check(store, engine)?;
        reviews::check(self, store, engine)
    }

    /// An engine says that it is caught up.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn caught_up(&mut self, store: usize, engine: &Engine, snapshot: &Snapshot, head: Seq) -> Result<()> {
        // Where the server has gone on meanwhile, or the history is another one, there is nothing to compare with.
        let same = engine.state().witness == snapshot.head();
        if head == snapshot.head().seq && same { mirror::equal(&mut self.rows, store, engine, snapshot) } else { Ok(()) }
    }

    /// A device is connected, and nothing is under way.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn rests(&mut self, store: usize, link: LinkId, engine: &Engine, snapshot: &Snapshot) -> Result<()> {
        let watched = self.stores.entry(store).or_default();
        if watched.rested.replace((link, snapshot.head())) == Some((link, snapshot.head())) {
            return Ok(());
        }
        let same = mirror::equal(&mut self.rows, store, engine, snapshot);
        same.map_err(|error| Broken::new("rest", format!("nothing is under way, and {error}")))
    }

    /// Everything is quiet.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn at_the_end(&mut self, store: usize, engine: &Engine, snapshot: &Snapshot) -> Result<()> {
        kept::check(self, store, engine)?;
        mirror::equal(&mut self.rows, store, engine, snapshot)
    }

    /// The log as a whole, and the device ids of the stores.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn whole(&self, snapshot: &Snapshot, stores: impl Iterator<Item = (usize, DeviceId)>) -> Result<()> {
        copies::apart(stores)?;
        self.log.equals(snapshot)
    }

    fn knows(&mut self, store: usize, engine: &Engine) {
        if let Some(account) = engine.account() {
            self.users_of_id.entry(account.device).or_default().insert(store);
        }
    }

    /// How many ids a store went by.
    fn ids_of(&self, store: usize) -> usize {
        self.users_of_id.values().filter(|stores| stores.contains(&store)).count()
    }

    fn stores_of(&self, device: DeviceId) -> BTreeSet<usize> {
        self.users_of_id.get(&device).cloned().unwrap_or_default()
    }
}
