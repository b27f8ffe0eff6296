//! A small client for the tests: a mirror kept by the protocol's own functions, and pushes without an outbox.

use super::super::{Output, Registry, Session, SessionConfig, SessionId};
use crate::testing::{SITE, WORKSPACE, World, identity};
use crate::workspace::Reply;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use tombolo_protocol::batch::{ChangeBatch, WireChange};
use tombolo_protocol::change::{Change, Op, Push};
use tombolo_protocol::cursor::{Advance, Cursors};
use tombolo_protocol::frame::{decode_down, decode_up, encode_down, encode_up};
use tombolo_protocol::hash::{Digest, Told};
use tombolo_protocol::ids::{DeviceId, Hash16, Mark, PushNo, RowKey, RowNo, Section, Seq, UserId};
use tombolo_protocol::message::{CloseReason, Delta, Down, Hello, Outcome, PushMessage, Up};
use tombolo_protocol::outbox::{Edit, Pending, expand_as_sent, expected};
use tombolo_protocol::row::{Applied, Row, RowName, RowState, apply};
use tombolo_protocol::schema::Schema;

/// One row in a chunk: what small tests never meet otherwise.
pub(super) fn one_row() -> SessionConfig {
    SessionConfig { chunk_rows_max: 1, ..SessionConfig::default() }
}

/// What a client keeps durably.
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) device: DeviceId,
    pub(super) user: UserId,
    pub(super) mirror: BTreeMap<RowKey, (Row, u32)>,
    pub(super) numbers: BTreeMap<RowNo, RowKey>,
    pub(super) cursors: Cursors,
    pub(super) witness: Mark,
    pub(super) pairs: Vec<Mark>,
    pub(super) schema: (Seq, Hash16, Option<Arc<Schema>>),
    pub(super) applied: (PushNo, Hash16),
    pub(super) frozen: Vec<Push>,
    pub(super) last_hash: Hash16,
    pub(super) wants: BTreeSet<RowKey>,
    result_seq: Seq,
    refetches: u32,
}

/// A client with its session at the server.
pub(super) struct Peer {
    pub(super) kept: Kept,
    pub(super) session: Option<Session>,
    /// Frames under way to the client.
    pub(super) down: VecDeque<Down>,
    /// Everything that was applied, for looking at.
    pub(super) seen: Vec<Down>,
    /// What of it came as frames that were made already.
    pub(super) prepared: Vec<Arc<[u8]>>,
    pub(super) config: SessionConfig,
    pub(super) process: u64,
    connection: u32,
    pub(super) acknowledges: bool,
    pub(super) closed: bool,
    /// What the session said last.
    told: Told,
}

impl Peer {
    pub(super) fn new(world: &mut World, device: u128, user: UserId) -> Self {
        let device = DeviceId(uuid::Uuid::from_u128(device));
        world.login(device, user);
        let kept = Kept {
            device,
            user,
            mirror: BTreeMap::new(),
            numbers: BTreeMap::new(),
            cursors: Cursors::default(),
            witness: Mark::default(),
            pairs: Vec::new(),
            schema: (Seq(0), Hash16::default(), None),
            applied: (PushNo(0), Hash16::default()),
            frozen: Vec::new(),
            last_hash: Hash16::default(),
            wants: BTreeSet::new(),
            result_seq: Seq(0),
            refetches: 0,
        };
        Self {
            kept,
            session: None,
            down: VecDeque::new(),
            seen: Vec::new(),
            prepared: Vec::new(),
            config: one_row(),
            process: 7,
            connection: 0,
            acknowledges: true,
            closed: false,
            told: Told::default(),
        }
    }

    pub(super) fn hello(&mut self) -> Hello {
        self.connection += 1;
        Hello {
            protocol: (1, 1),
            workspace: WORKSPACE,
            device: self.kept.device,
            process: self.process,
            connection: self.connection,
            schema: self.kept.schema.0,
            schema_hash: self.kept.schema.1,
            cursors: self.kept.cursors.clone(),
            witness: self.kept.witness,
            applied: self.kept.applied,
            frozen: self.kept.frozen.iter().map(|push| (push.number, push.hash)).collect(),
            rate: 0,
        }
    }

    /// Opens a connection and greets; nothing is read yet.
    pub(super) fn connect(&mut self) {
        let hello = self.hello();
        self.connect_with(hello);
    }

    pub(super) fn connect_with(&mut self, hello: Hello) {
        self.down.clear();
        self.told = Told::default();
        self.closed = false;
        let identity = identity(self.kept.device, self.kept.user);
        let id = SessionId(u64::from(self.connection) * 1000 + self.process);
        self.session = Some(Session::new(self.config, id, identity, 0));
        self.say(Up::Hello(Box::new(hello)));
    }

    /// The commits that it can name, newest first.
    pub(super) fn common_pairs(&self) -> Vec<Mark> {
        let pairs: BTreeSet<Mark> = self.kept.pairs.iter().copied().collect();
        pairs.into_iter().rev().collect()
    }

    pub(super) fn cut(&mut self) {
        self.session = None;
        self.down.clear();
    }

    pub(super) fn say(&mut self, message: Up) {
        let message = decode_up(&encode_up(&message)).unwrap();
        if let Some(session) = &mut self.session {
            session.handle_up(message, 0);
        }
    }

    /// The server works until it has nothing to do. Returns what it wants told to other sessions.
    pub(super) fn serve(&mut self, world: &mut World, registry: &mut Registry) -> Vec<Output> {
        let mut others = Vec::new();
        let Some(session) = &mut self.session else { return others };
        for _ in 0..10_000 {
            if session.wants_snapshot() {
                session.serve(&world.snapshot(), registry, 0).unwrap();
            }
            let Some(output) = session.poll_output() else {
                if session.wants_snapshot() {
                    continue;
                }
                return others;
            };
            match output {
                Output::Frame(message) => {
                    let back = decode_down(&encode_down(&message)).unwrap();
                    assert_eq!(back, message);
                    self.down.push_back(message);
                }
                Output::Prepared(frame) => {
                    self.down.push_back(decode_down(&frame).unwrap());
                    self.prepared.push(frame);
                }
                Output::Submit(job) => match world.apply(job) {
                    Reply::Push(reply) => session.handle_reply(reply),
                    other => panic!("{other:?}"),
                },
                Output::Close => self.closed = true,
                Output::IssueDevice | Output::Replace { .. } => others.push(output),
            }
        }
        panic!("a session that never rests");
    }

    /// Applies one message.
    pub(super) fn receive(&mut self) -> bool {
        let Some(message) = self.down.pop_front() else { return false };
        self.apply(&message);
        self.seen.push(message);
        true
    }

    /// Both sides work until there is nothing to do.
    pub(super) fn settle(&mut self, world: &mut World, registry: &mut Registry) {
        loop {
            if let Some(session) = &mut self.session {
                session.handle_head(world.news);
            }
            self.serve(world, registry);
            if !self.receive() {
                return;
            }
            while self.receive() {}
        }
    }

    /// Connects, says what is frozen, and settles.
    pub(super) fn sync(&mut self, world: &mut World, registry: &mut Registry) {
        self.connect();
        self.settle(world, registry);
        for push in self.kept.frozen.clone() {
            self.send(&push);
        }
        self.settle(world, registry);
        self.ask_missing();
        self.say(Up::WantCaughtUp);
        self.settle(world, registry);
    }

    pub(super) fn ask_missing(&mut self) {
        let rows: Vec<_> = self
            .kept
            .wants
            .iter()
            .map(|key| tombolo_protocol::message::WantedRow { table: key.table, name: RowName::Id(key.id, RowNo(0)) })
            .collect();
        if !rows.is_empty() {
            self.say(Up::WantRow { rows });
        }
    }

    pub(super) fn freeze(&mut self, changes: Vec<Change>) -> Push {
        let number = self.kept.frozen.last().map_or(self.kept.applied.0, |push| push.number).next();
        let mut push = Push { number, hash: Hash16::default(), schema: self.kept.schema.0, changes };
        push.hash = push.compute_hash(self.kept.last_hash);
        self.kept.last_hash = push.hash;
        self.kept.frozen.push(push.clone());
        push
    }

    pub(super) fn send(&mut self, push: &Push) {
        let changes = push.changes.iter().map(|change| {
            let number = self.kept.mirror.get(&change.key).map(|(row, _)| row.no);
            self.wire(change, number)
        });
        let changes = ChangeBatch(changes.collect());
        let (number, hash, schema) = (push.number, push.hash, push.schema);
        self.say(Up::Push(Box::new(PushMessage { number, hash, schema, changes })));
    }

    pub(super) fn wire(&self, change: &Change, number: Option<RowNo>) -> WireChange {
        WireChange {
            table: change.key.table,
            name: number.map_or(RowName::Id(change.key.id, RowNo(0)), RowName::No),
            op: change.op,
            row_base: change.row_base,
            view_base: change.view_base,
            fields: change.fields.clone(),
            lost: change.lost.clone(),
            group: change.group,
            edited_at_ms: change.edited_at_ms,
        }
    }

    /// The base from which an answer is to bring a row: what the main cursor covers (T36).
    pub(super) fn view_base(&self, key: &RowKey) -> Seq {
        let section = self.kept.mirror.get(key).and_then(|(row, _)| self.section(row));
        section.and_then(|section| self.kept.cursors.complete_of(&section)).unwrap_or_default()
    }

    fn section(&self, row: &Row) -> Option<Section> {
        row.section(self.kept.schema.2.as_ref()?.table(row.key.table)?)
    }

    fn apply(&mut self, message: &Down) {
        match message {
            Down::Schema { seq, text } => {
                let schema = Schema::parse(text).unwrap();
                self.kept.schema = (*seq, schema.hash, Some(schema.into()));
            }
            Down::Welcome(welcome) => {
                welcome.outcomes.iter().for_each(|outcome| self.settle_outcome(outcome));
                let own = self.kept.cursors.sections.iter().chain(self.kept.cursors.fills.keys()).copied().collect();
                let listed = welcome.sections.clone().map_or(own, |sections| sections.into_iter().collect());
                self.relist(&listed, welcome.snapshot.seq);
                self.see(Some(welcome.snapshot));
            }
            Down::Sections { head, sections } => {
                let head = self.see(Some(*head));
                self.relist(&sections.iter().copied().collect(), head.seq);
            }
            Down::Result { snapshot, outcome, .. } => {
                self.settle_outcome(outcome);
                self.see(snapshot.or(Some(outcome.commit)));
            }
            Down::Delta(delta) => self.apply_delta(delta),
            Down::Rows { snapshot, rows, asked, .. } => {
                for want in asked {
                    if let RowName::Id(id, _) = want.name {
                        self.kept.wants.remove(&RowKey { table: want.table, id });
                    }
                }
                rows.0.iter().for_each(|state| self.put(state));
                self.see(*snapshot);
            }
            Down::CaughtUp(caught_up) => {
                assert_eq!(caught_up.sections as usize, self.kept.cursors.sections.len());
                self.see(caught_up.head);
                let digests = self.told.hear(&self.kept.cursors.sections, &caught_up.digests);
                let head = self.told.hear_snapshot(None).unwrap();
                self.compare(head, &digests);
            }
            Down::Copy(copied) => {
                copied.outcomes.iter().for_each(|outcome| self.settle_outcome(outcome));
                self.see(Some(copied.snapshot));
            }
            _ => {}
        }
    }

    fn apply_delta(&mut self, delta: &Delta) {
        assert_eq!(self.kept.cursors.scanned(delta.cursor), Some(delta.from), "a delta starts where the client stands");
        delta.rows.0.iter().for_each(|state| self.put(state));
        let advance = Advance { name: delta.cursor, to: delta.to, complete: delta.complete };
        if let Some((section, fill)) = self.kept.cursors.advance(advance)
            && fill.refetch > 0
        {
            let keep = |peer: &Self, row: &Row, number: u32| peer.section(row) != Some(section) || number >= fill.refetch;
            let kept: Vec<RowKey> =
                self.kept.mirror.values().filter(|(row, number)| keep(self, row, *number)).map(|(row, _)| row.key).collect();
            self.kept.mirror.retain(|key, _| kept.contains(key));
        }
        self.see(delta.snapshot);
        if self.acknowledges {
            self.say(Up::AckDelta);
        }
    }

    pub(super) fn refetch(&mut self, section: Section) {
        self.kept.refetches += 1;
        self.kept.cursors.refetch(section, self.kept.refetches);
    }

    fn relist(&mut self, listed: &BTreeSet<Section>, head: Seq) {
        self.kept.cursors.relist(listed, head);
        let gone: Vec<RowKey> = self
            .kept
            .mirror
            .values()
            .filter(|(row, _)| self.section(row).is_none_or(|section| !listed.contains(&section)))
            .map(|(row, _)| row.key)
            .collect();
        gone.iter().for_each(|key| {
            self.kept.mirror.remove(key);
        });
    }

    fn settle_outcome(&mut self, outcome: &Outcome) {
        let place = self.kept.frozen.iter().position(|push| push.number == outcome.number);
        let push = place.map(|place| self.kept.frozen.remove(place)).expect("only frozen pushes are answered");
        for state in &outcome.rows.0 {
            let mut state = state.clone();
            let key = self.key_of(&state);
            if let Some(change) = push.changes.iter().find(|change| Some(change.key) == key) {
                let mirror = self.kept.mirror.get(&change.key).map(|(row, _)| row.clone());
                expand_as_sent(&mut state, &pending(change), mirror.as_ref(), outcome.commit.seq);
            }
            self.put(&state);
        }
        let mut created = outcome.first_created;
        for change in outcome.as_expected.iter().map(|place| &push.changes[place]) {
            let mirror = self.kept.mirror.get(&change.key).map(|(row, _)| row.clone());
            let state = expected(change.key, &pending(change), mirror.as_ref(), outcome.commit.seq, created);
            self.put(&state.expect("the mirror holds what the change was made on"));
            created.0 += u64::from(change.op == Op::Create);
        }
        self.kept.applied = (push.number, push.hash);
        self.kept.result_seq = self.kept.result_seq.max(outcome.commit.seq);
        self.kept.pairs.push(outcome.commit);
    }

    fn key_of(&self, state: &RowState) -> Option<RowKey> {
        match state.name {
            RowName::Id(id, _) => Some(RowKey { table: state.table, id }),
            RowName::No(number) => self.kept.numbers.get(&number).copied(),
        }
    }

    fn put(&mut self, state: &RowState) {
        let Some(key) = self.key_of(state) else { panic!("a number that the client was never told") };
        if let RowName::Id(_, number) = state.name {
            self.kept.numbers.insert(number, key);
        }
        let held = self.kept.mirror.get(&key).map(|(row, _)| row.clone());
        match apply(key, held.as_ref(), state) {
            Applied::Store(row) => match self.section(&row) {
                Some(section) if self.kept.cursors.may_store(&section) => {
                    let refetch = self.kept.cursors.refetch_of(&section);
                    self.kept.mirror.insert(key, (row, refetch));
                }
                _ if self.section(&row) != held.as_ref().and_then(|row| self.section(row)) => {
                    self.kept.mirror.remove(&key);
                }
                _ => {}
            },
            Applied::Evict => {
                self.kept.mirror.remove(&key);
            }
            Applied::Unchanged => {
                let numbered = held.as_ref().and_then(|row| self.section(row)).map(|s| self.kept.cursors.refetch_of(&s));
                if let (Some((_, number)), Some(refetch)) = (self.kept.mirror.get_mut(&key), numbered) {
                    *number = (*number).max(refetch);
                }
            }
            Applied::Want => {
                self.kept.wants.insert(key);
            }
        }
    }

    /// The snapshot of a message, as it says it.
    fn see(&mut self, said: Option<Mark>) -> Mark {
        let mark = self.told.hear_snapshot(said).expect("a snapshot was said");
        if mark.seq >= self.kept.witness.seq {
            self.kept.witness = mark;
        }
        self.kept.pairs.push(mark);
        mark
    }

    fn compare(&self, head: Mark, digests: &[(Section, Digest)]) {
        let cursors = &self.kept.cursors;
        if cursors.main.complete != head.seq || self.kept.result_seq > head.seq {
            return;
        }
        for (section, digest) in digests {
            let rows = self.kept.mirror.values().filter(|(row, _)| self.section(row) == Some(*section));
            let own = rows.fold(Digest::default(), |sum, (row, _)| sum.plus(row));
            assert_eq!(own, *digest, "{section:?}");
        }
    }

    /// The live rows that the client holds, without their place in the feed.
    pub(super) fn live(&self) -> BTreeMap<RowKey, Row> {
        let live = self.kept.mirror.values().filter(|(row, _)| row.is_live());
        live.map(|(row, _)| (row.key, Row { ordinal: 0, ..row.clone() })).collect()
    }

    /// The client holds exactly what its user may see.
    pub(super) fn assert_converged(&self, world: &World) {
        let snapshot = world.snapshot();
        let rights = snapshot.rights(self.kept.user).unwrap().unwrap();
        let mut wanted = BTreeMap::new();
        for table in &snapshot.schema().tables {
            for row in snapshot.rows_after(table.tag, None, usize::MAX).unwrap() {
                if row.is_live() && rights.may_see(snapshot.schema(), &row) {
                    wanted.insert(row.key, Row { ordinal: 0, ..row });
                }
            }
        }
        assert_eq!(self.live(), wanted);
        assert!(self.kept.cursors.is_caught_up(Seq(0)), "{:?}", self.kept.cursors);
    }

    pub(super) fn value(&self, key: &RowKey, field: tombolo_protocol::ids::FieldTag) -> tombolo_protocol::value::Value {
        self.kept.mirror[key].0.value(field).clone()
    }

    pub(super) fn site(&self, key: &RowKey) -> tombolo_protocol::value::Value {
        self.value(key, SITE)
    }

    pub(super) fn closed_because(&self) -> Option<&CloseReason> {
        self.seen.iter().chain(&self.down).rev().find_map(|message| match message {
            Down::Closed(reason) => Some(reason),
            _ => None,
        })
    }
}

fn pending(change: &Change) -> Pending {
    let edit = |base, value| Edit { value, base_value: None, base };
    let fields = change.fields.iter().map(|field| (field.field, edit(field.base, field.value.clone())));
    Pending { fields: fields.collect(), ..Pending::new(change.op, change.row_base, 0) }
}
