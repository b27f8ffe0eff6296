//! A session whose checks have passed: results before news, then rows as credit allows.

use super::chunk::Chunks;
use super::{LITTLE_CHANGES_MAX, News, Phase, Session, SessionConfig, wire};
use crate::access::Rights;
use crate::snapshot::Snapshot;
use crate::store::StoreError;
use std::collections::{BTreeSet, VecDeque};
use tombolo_protocol::cursor::Cursors;
use tombolo_protocol::hash::Told;
use tombolo_protocol::ids::{Position, PushNo, RowKey, Section, Seq};
use tombolo_protocol::message::{CaughtUp, Down, Hello, Up};
use tombolo_protocol::planted::{Planted, planted};

/// The state of a session whose checks have passed.
pub(super) struct Live {
    /// What Hello named, without its cursors; needed again if a copy shows later.
    pub(super) hello: Hello,
    /// Where the client stands once it has read everything that was sent.
    pub(super) cursors: Cursors,
    /// The user's sections as they were last told.
    listed: BTreeSet<Section>,
    /// The commit up to which changes of sections were looked at.
    sections_at: Seq,
    /// The schema that the client has.
    schema: Seq,
    /// Pushes up to here are answered, in this session or as Hello says: their rows are left out of deltas (S6).
    pub(super) answered: PushNo,
    /// The main stream has nothing to send up to here, although the client's cursor is further back (S9). A section joins at the
    /// head of a snapshot, so never behind this.
    pub(super) quiet: Position,
    /// What was said last, and need not be said again.
    pub(super) told: Told,
    /// Chunks that are under way.
    pub(super) chunks: Chunks,
    /// There may be more to send as soon as there is credit.
    pub(super) more: bool,
    /// The head of the snapshot that was read last.
    looked_at: Seq,
    /// The state has to be looked at, whatever credit there is.
    pub(super) poked: bool,
    /// The client is to be told when it is caught up.
    pub(super) owes_caught_up: bool,
    /// Jobs that have no reply yet.
    pub(super) submitted: usize,
    /// Pushes that are recorded and not answered yet.
    pub(super) recorded: VecDeque<Recorded>,
    /// A push showed that the store is a copy.
    pub(super) is_copy: bool,
    /// What is said at the end, once what was submitted is answered.
    pub(super) last_word: Option<Down>,
}

/// A push that is recorded.
pub(super) struct Recorded {
    pub(super) number: PushNo,
    /// How many changes were decided with it; none where it was recorded before, or as empty.
    pub(super) changes: Option<usize>,
}

impl Live {
    pub(super) fn new(config: &SessionConfig, mut hello: Hello, answered: PushNo, snapshot: &Snapshot) -> Self {
        let cursors = std::mem::take(&mut hello.cursors);
        Self {
            cursors,
            listed: BTreeSet::new(),
            sections_at: snapshot.sections_changed(),
            schema: snapshot.schema_seq(),
            answered,
            quiet: Position::START,
            chunks: Chunks::new(config, hello.rate),
            more: true,
            looked_at: snapshot.head().seq,
            poked: false,
            owes_caught_up: true,
            told: Told::default(),
            submitted: 0,
            recorded: VecDeque::new(),
            is_copy: false,
            last_word: None,
            hello,
        }
    }

    /// Takes a list of sections as the client will take it.
    pub(super) fn relist(&mut self, listed: BTreeSet<Section>, head: Seq) {
        self.cursors.relist(&listed, head);
        self.listed = listed;
        self.more = true;
    }

    /// Of a head that was looked at already there is nothing to say. Rows wait for credit, and are not even looked for without.
    pub(super) fn hear(&mut self, news: News) {
        self.more |= news.head.seq > self.looked_at;
        self.poked |= news.for_all > self.looked_at;
    }

    /// No more pushes are read.
    pub(super) fn is_ending(&self) -> bool {
        self.is_copy || self.last_word.is_some()
    }

    /// A void is not chained to the push before it, as a push is: it is read once that is known to be admitted, since behind a
    /// push that shows a copy nothing may be recorded (P2).
    pub(super) fn may_read(&self, next: &Up) -> bool {
        self.submitted == 0 || !matches!(next, Up::Void { .. })
    }

    pub(super) fn wants_snapshot(&self) -> bool {
        // Nothing but answers is said any more: a session that looked again and again would never hear them.
        if self.is_ending() {
            return self.submitted == 0 || !self.recorded.is_empty();
        }
        self.poked || !self.recorded.is_empty() || self.wants_rows()
    }

    /// Nothing that needs more than a few reads, besides what is in the inbox.
    pub(super) fn wants_little(&self) -> bool {
        let is_little = |recorded: &Recorded| recorded.changes.is_some_and(|changes| changes <= LITTLE_CHANGES_MAX);
        !self.is_ending() && !self.poked && !self.wants_rows() && self.recorded.iter().all(is_little)
    }

    fn wants_rows(&self) -> bool {
        self.more && self.chunks.has_credit()
    }
}

impl Session {
    pub(super) fn go_on(&mut self, mut live: Box<Live>, snapshot: &Snapshot, now_ms: i64) -> Result<(), StoreError> {
        live.more |= std::mem::take(&mut live.poked);
        // A look that only hands a push on, or its result, has not looked for rows: their news are still to come.
        let looks_for_rows = live.more;
        if looks_for_rows || planted(Planted::HandingOnLooks) {
            live.looked_at = snapshot.head().seq;
        }
        let rights = match self.admitted(snapshot)? {
            Ok(rights) => rights,
            Err(reason) => {
                self.close_with(Down::Closed(reason));
                return Ok(());
            }
        };
        self.tell_schema(&mut live, snapshot);
        self.tell_sections(&mut live, &rights, snapshot)?;
        self.tell_results(&mut live, &rights, snapshot)?;
        if live.is_ending() {
            return self.finish(live, &rights, snapshot);
        }
        while let Some(message) = self.inbox.pop_front_if(|next| live.may_read(next)) {
            if let Err(what) = self.read(&mut live, message, &rights, snapshot)? {
                self.violation(what);
                return Ok(());
            }
        }
        // What a new list of sections asks for may be much, and is another look.
        if looks_for_rows {
            self.send_chunks(&mut live, &rights, snapshot, now_ms)?;
        }
        self.tell_caught_up(&mut live, snapshot)?;
        self.phase = Phase::Live(live);
        Ok(())
    }

    fn tell_schema(&mut self, live: &mut Live, snapshot: &Snapshot) {
        if live.schema != snapshot.schema_seq() && !planted(Planted::SchemaUntold) {
            live.schema = snapshot.schema_seq();
            self.send(Down::Schema { seq: snapshot.schema_seq(), text: snapshot.schema().text.clone() });
        }
    }

    /// A notice at every change of grants, role or schema that changes the user's sections.
    fn tell_sections(&mut self, live: &mut Live, rights: &Rights, snapshot: &Snapshot) -> Result<(), StoreError> {
        if planted(Planted::SectionsUntold) || live.sections_at == snapshot.sections_changed() {
            return Ok(());
        }
        live.sections_at = snapshot.sections_changed();
        let listed = snapshot.sections(rights)?;
        if listed != live.listed {
            let head = snapshot.head();
            live.told.tell_snapshot(head);
            self.send(Down::Sections { head, sections: listed.iter().copied().collect() });
            live.relist(listed, head.seq);
            live.owes_caught_up = true;
        }
        Ok(())
    }

    /// Results are outside the credit window. A push that was answered already in this session is not answered again.
    fn tell_results(&mut self, live: &mut Live, rights: &Rights, snapshot: &Snapshot) -> Result<(), StoreError> {
        while let Some(Recorded { number, .. }) = live.recorded.pop_front() {
            if number <= live.answered {
                continue;
            }
            let outcome = snapshot.outcome(rights, self.identity.device, number)?;
            // Only who sends more than a window at once can find that the log was compacted over it.
            let Some(outcome) = outcome else {
                live.is_copy = true;
                break;
            };
            wire::result(outcome, snapshot, &mut live.told, self.config.chunk_bytes_max)?
                .into_iter()
                .for_each(|message| self.send(message));
            live.answered = number;
        }
        Ok(())
    }

    /// The last word, once every job is answered; until then nothing else is said.
    fn finish(&mut self, live: Box<Live>, rights: &Rights, snapshot: &Snapshot) -> Result<(), StoreError> {
        if live.submitted > 0 {
            self.phase = Phase::Live(live);
            return Ok(());
        }
        let last = match live.last_word {
            Some(last) if !live.is_copy => last,
            _ => {
                let mut hello = live.hello;
                hello.frozen.retain(|(number, _)| *number > live.answered);
                Down::Copy(Box::new(self.copied(&hello, rights, snapshot)?))
            }
        };
        self.close_with(last);
        Ok(())
    }

    /// Reads one message that needs the state; `Err` is what the client did wrong.
    fn read(
        &mut self,
        live: &mut Live,
        message: Up,
        rights: &Rights,
        snapshot: &Snapshot,
    ) -> Result<Result<(), &'static str>, StoreError> {
        match message {
            Up::Push(push) => match wire::resolve(*push, snapshot)? {
                Ok(push) => self.submit(live, wire::push_job(self.identity, push)),
                Err(what) => return Ok(Err(what)),
            },
            Up::Void { number, hash } => self.submit(live, wire::void_job(self.identity, number, hash)),
            Up::WantRow { rows } => {
                for message in wire::wanted_rows(&rows, rights, snapshot, &mut live.told, self.config.chunk_bytes_max)? {
                    self.send(message);
                }
            }
            Up::WantHistory { key } => self.tell_history(&key, rights, snapshot)?,
            Up::WantActivity => {
                let activity = snapshot.activity(rights, tombolo_protocol::limits::ACTIVITY_DEEDS_MAX)?;
                self.send(Down::Activity(Box::new(activity)));
            }
            Up::AckDelta => return Ok(Err("an acknowledgement of nothing")),
            Up::WantCaughtUp => live.owes_caught_up = true,
            Up::Hello(_) | Up::CommonPairs { .. } | Up::NewDevice | Up::Ping { .. } | Up::Bye => {}
        }
        Ok(Ok(()))
    }

    fn submit(&mut self, live: &mut Live, job: crate::workspace::Job) {
        live.submitted += 1;
        self.outputs.push_back(super::Output::Submit(job));
    }

    fn tell_history(&mut self, key: &RowKey, rights: &Rights, snapshot: &Snapshot) -> Result<(), StoreError> {
        let limit = tombolo_protocol::limits::HISTORY_ENTRIES_MAX;
        let history = wire::bounded_history(snapshot.history(rights, key, limit)?);
        self.send(Down::History(Box::new(history)));
        Ok(())
    }

    /// After rows and on request, once everything listed is complete at this head (S7).
    fn tell_caught_up(&mut self, live: &mut Live, snapshot: &Snapshot) -> Result<(), StoreError> {
        let head = snapshot.head();
        if !live.owes_caught_up || !live.cursors.is_caught_up(head.seq) {
            return Ok(());
        }
        live.owes_caught_up = false;
        let digests = live.cursors.sections.iter().map(|section| Ok((*section, snapshot.digest(section)?)));
        let digests = digests.collect::<Result<Vec<_>, StoreError>>()?;
        let sections = u32::try_from(digests.len()).unwrap_or(u32::MAX);
        let (safe, schema) = (snapshot.safe()?, snapshot.schema_seq());
        let (head, digests) = (live.told.tell_snapshot(head), live.told.tell(digests));
        self.send(Down::CaughtUp(Box::new(CaughtUp { head, safe, schema, sections, digests })));
        Ok(())
    }
}
