//! One durable step of the client: a transaction with what every part of it needs. What the server says of rows is applied
//! to the mirror here, by the protocol's one apply function (S2, S3).

use crate::freeze::{Own, own_standing};
use crate::store::{AuthorRecord, MirrorRow, StoreError, SyncState, WriteTables};
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;
use tombolo_protocol::change::Refusal;
use tombolo_protocol::cursor::Cursors;
use tombolo_protocol::hash::Digest;
use tombolo_protocol::ids::{Generation, GroupId, Mark, RowKey, RowNo, Section, Seq, TableTag};
use tombolo_protocol::limits::AUTHORS_KEPT_MAX;
use tombolo_protocol::message::{Authors, WantedRow};
use tombolo_protocol::outbox::{Entry, Pending, Review};
use tombolo_protocol::planted::{Planted, planted};
use tombolo_protocol::row::{Applied, Life, Row, RowName, RowState, StateKind, apply};
use tombolo_protocol::schema::Schema;

/// Generations that are set aside at once.
const GENERATIONS_AHEAD: u64 = 1000;

/// Why a step was not done; nothing of it was.
#[derive(Debug, Error)]
pub enum StepError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The server broke the protocol.
    #[error("the server broke the protocol: {0}")]
    Violation(&'static str),
}

impl From<StepError> for StoreError {
    /// Where no server has a part in it, a breach is a store that holds what it cannot hold.
    fn from(error: StepError) -> Self {
        match error {
            StepError::Store(store) => store,
            StepError::Violation(what) => Self::Damaged(what.into()),
        }
    }
}

/// A step under way.
pub(crate) struct Step<'a, 'txn> {
    pub tables: &'a mut WriteTables<'txn>,
    pub schema: &'a Schema,
    pub cursors: Cursors,
    pub state: SyncState,
    /// Both as they stand in the store.
    stored: (Cursors, SyncState),
    /// The newest generation that was given out.
    pub generation: Generation,
    pub now_ms: i64,
    /// Now by the server's clock, where the device's agrees with it: nothing goes by its age on the word of one clock.
    pub agreed_ms: Option<i64>,
    /// Rows whose display may have changed.
    pub touched: BTreeSet<RowKey>,
    /// Rows applied from what the server said.
    pub applied: u64,
    /// Groups that came to share an entry, each older one with a newer.
    shared_groups: Vec<(GroupId, GroupId)>,
    /// What became of the outbox, for those who plan pushes.
    moved: Moved,
    was_filling: bool,
    /// Digests that changed; written at the end, once each.
    digests: BTreeMap<Section, Digest>,
}

impl<'a, 'txn> Step<'a, 'txn> {
    pub fn begin(tables: &'a mut WriteTables<'txn>, schema: &'a Schema, now_ms: i64) -> Result<Self, StoreError> {
        let (cursors, state) = (tables.cursors()?, tables.sync_state()?);
        let was_filling = cursors.are_filling();
        Ok(Self {
            tables,
            schema,
            stored: (cursors.clone(), state.clone()),
            generation: Generation(state.generations),
            cursors,
            state,
            now_ms,
            agreed_ms: None,
            touched: BTreeSet::new(),
            applied: 0,
            shared_groups: Vec::new(),
            moved: Moved::default(),
            was_filling,
            digests: BTreeMap::new(),
        })
    }

    /// Writes back cursors and state, where they are others; the caller's transaction makes it durable.
    pub fn end(self) -> Result<Ended, StoreError> {
        for (section, digest) in &self.digests {
            self.tables.set_digest(section, *digest)?;
        }
        if self.cursors != self.stored.0 {
            self.tables.set_cursors(&self.cursors)?;
        }
        if self.state != self.stored.1 {
            self.tables.set_sync_state(&self.state)?;
        }
        // A row that is not here is judged otherwise when no fill can bring it any more.
        let filled = self.was_filling != self.cursors.are_filling();
        let moved = Moved { any: self.moved.any || filled, may_go: self.moved.may_go || filled };
        let Self { cursors, state, generation, touched, applied, .. } = self;
        Ok(Ended { cursors, state, generation, touched, applied, moved })
    }

    /// The entry of a row; an empty one where there is none.
    pub fn entry_or_new(&self, key: RowKey) -> Result<Entry, StoreError> {
        Ok(self.tables.entry(key)?.unwrap_or_else(|| Entry::new(key, self.state.schema)))
    }

    /// Stores an entry that may stand otherwise than before, or on another mirror row.
    pub fn put_entry(&mut self, entry: &Entry) -> Result<(), StoreError> {
        let mirror = self.tables.mirror(entry.key)?.map(|held| held.row);
        self.put_entry_over(entry, mirror.as_ref())
    }

    /// The same, over this mirror row.
    pub fn put_entry_over(&mut self, entry: &Entry, mirror: Option<&Row>) -> Result<(), StoreError> {
        let ready = own_standing(self.schema, &self.cursors, entry, mirror) == Own::Ready;
        // What leaves the outbox may have held others.
        self.moved = Moved { any: true, may_go: self.moved.may_go || ready || entry.is_empty() };
        self.tables.put_entry(entry)
    }

    /// What happened sets others free.
    pub fn others_may_go(&mut self) {
        self.moved = Moved { any: true, may_go: true };
    }

    /// What was sent comes back and is joined with what came after it, perhaps in another group: from then on both groups have
    /// the entry (O7).
    pub fn shares_groups(&mut self, older: &Pending, newer: Option<&Pending>) {
        if let (Some(from), Some(to)) = (older.group, newer.and_then(|newer| newer.group))
            && from != to
        {
            self.shared_groups.push((from, to));
        }
    }

    /// Groups that share an entry are one (O7). To be done when all that comes back is back: members that did so later still name
    /// the older group.
    pub fn unite_groups(&mut self) -> Result<(), StoreError> {
        let shared = std::mem::take(&mut self.shared_groups);
        if shared.is_empty() || planted(Planted::GroupsStayApart) {
            return Ok(());
        }
        let mut becomes: BTreeMap<GroupId, GroupId> = BTreeMap::new();
        for (from, to) in shared {
            let (from, to) = (united(&becomes, from), united(&becomes, to));
            if from != to {
                becomes.insert(from, to);
            }
        }
        let leaves =
            |entry: &Entry| entry.next.as_ref().and_then(|next| next.group).filter(|group| becomes.contains_key(group));
        let leaving: Vec<(Entry, GroupId)> = self
            .tables
            .entries()?
            .filter_map(|entry| entry.map(|entry| leaves(&entry).map(|group| (entry, group))).transpose())
            .collect::<Result<_, _>>()?;
        for (mut entry, group) in leaving {
            if let Some(next) = &mut entry.next {
                next.group = Some(united(&becomes, group));
            }
            self.touched.insert(entry.key);
            self.put_entry(&entry)?;
        }
        Ok(())
    }

    /// A generation that no entry of this store ever had. Many are set aside at once, so that not each save writes that down.
    pub fn next_generation(&mut self) -> Generation {
        self.generation.0 += 1;
        if self.generation.0 > self.state.generations {
            self.state.generations = self.generation.0 + GENERATIONS_AHEAD;
        }
        self.generation
    }

    /// Takes the snapshot that rows were read from as the witness, if it is newer (T37).
    pub fn witness(&mut self, mark: Mark) -> Result<(), StoreError> {
        if mark.seq > self.state.witness.seq {
            self.state.witness = mark;
        }
        if mark.seq > Seq(0) { self.tables.put_pair(mark) } else { Ok(()) }
    }

    pub fn keep_authors(&mut self, authors: &Authors) -> Result<(), StepError> {
        for author in &authors.commits {
            let name = authors.names.get(author.name as usize).ok_or(StepError::Violation("an author without a name"))?;
            self.tables.put_author(author.seq, &AuthorRecord { name: name.clone(), at_ms: author.at_ms })?;
        }
        Ok(self.tables.bound_authors(AUTHORS_KEPT_MAX)?)
    }

    /// Applies rows in the order in which they came.
    pub fn put_rows<'r>(&mut self, rows: impl IntoIterator<Item = &'r RowState>) -> Result<(), StoreError> {
        rows.into_iter().try_for_each(|state| self.put_row(state))
    }

    /// The row that a record names; `None` where its number is not known here.
    pub fn key_of(&self, state: &RowState) -> Result<Option<RowKey>, StoreError> {
        match state.name {
            RowName::Id(id, _) => Ok(Some(RowKey { table: state.table, id })),
            RowName::No(no) => self.tables.key_of_number(no),
        }
    }

    fn put_row(&mut self, state: &RowState) -> Result<(), StoreError> {
        let Some(key) = self.key_of(state)? else {
            return match state.kind {
                StateKind::Exited => Ok(()),
                _ => self.tables.put_want(WantedRow { table: state.table, name: state.name }),
            };
        };
        let held = self.tables.mirror(key)?;
        match apply(key, held.as_ref().map(|held| &held.row), state) {
            Applied::Store(row) => self.store(held, row)?,
            Applied::Evict => {
                if let Some(held) = held {
                    self.evict(&held.row)?;
                }
            }
            Applied::Want => self.want_whole(key)?,
            Applied::Unchanged => {
                if let Some(held) = held {
                    self.mark_received(held)?;
                }
            }
        }
        Ok(())
    }

    /// Asks for a row of which only a part is here (S3).
    pub fn want_whole(&mut self, key: RowKey) -> Result<(), StoreError> {
        self.tables.put_want(WantedRow { table: key.table, name: RowName::Id(key.id, RowNo::default()) })
    }

    fn section_of(&self, row: &Row) -> Option<Section> {
        self.schema.table(row.key.table).and_then(|table| row.section(table))
    }

    /// A row that is known already counts as received in a refetch all the same.
    fn mark_received(&mut self, held: MirrorRow) -> Result<(), StoreError> {
        let refetch = self.section_of(&held.row).map_or(0, |section| self.cursors.refetch_of(&section));
        if refetch != 0 && refetch != held.refetch {
            self.tables.put_mirror(&MirrorRow { refetch, ..held })?;
        }
        Ok(())
    }

    fn store(&mut self, held: Option<MirrorRow>, row: Row) -> Result<(), StoreError> {
        let section = self.section_of(&row);
        let storable = section.is_some_and(|section| self.cursors.may_store(&section));
        if !storable && held.is_none() {
            return Ok(());
        }
        self.count_in_digests(held.as_ref().map(|held| &held.row), Some(&row))?;
        let received = section.map_or(0, |section| self.cursors.refetch_of(&section));
        let refetch = received.max(held.as_ref().map_or(0, |held| held.refetch));
        self.touched.insert(row.key);
        self.applied += 1;
        self.tables.remove_want(WantedRow { table: row.key.table, name: RowName::Id(row.key.id, Default::default()) })?;
        self.tables.remove_want(WantedRow { table: row.key.table, name: RowName::No(row.no) })?;
        let row = MirrorRow { row, refetch };
        self.tables.put_mirror(&row)?;
        self.meet_entry(&row.row, held.as_ref().map(|held| &held.row))
    }

    /// A row that comes back makes its entry ready again; one whose values are purged stays beside its entry (O10, section 9).
    fn meet_entry(&mut self, row: &Row, before: Option<&Row>) -> Result<(), StoreError> {
        let Some(mut entry) = self.tables.entry(row.key)? else { return Ok(()) };
        if let Some(before) = before.filter(|before| before.life != Life::Purged).or(entry.kept.as_ref()) {
            self.displace_row(&entry, before, row)?;
        }
        match row.life {
            Life::Purged => entry.kept = entry.kept.take().or_else(|| before.cloned()),
            _ => entry.kept = None,
        }
        if let Some(next) = &mut entry.next
            && matches!(next.review, Some(Review::Refused(Refusal::UnknownRow) | Review::Left))
        {
            next.review = None;
            next.rounds = 0;
        }
        if entry.sent.is_some() {
            // What is in flight is judged by its answer alone.
            return self.tables.put_entry(&entry);
        }
        self.put_entry(&entry)
    }

    /// Drops a row from the mirror; its entry keeps it, and what is pending waits for a person (O10, section 9).
    pub fn evict(&mut self, row: &Row) -> Result<(), StoreError> {
        self.count_in_digests(Some(row), None)?;
        self.tables.remove_mirror(row)?;
        self.touched.insert(row.key);
        let Some(mut entry) = self.tables.entry(row.key)? else { return Ok(()) };
        // Beside a row that was purged stands the last full one already.
        if row.life != Life::Purged || entry.kept.is_none() {
            entry.kept = Some(row.clone());
        }
        // What waits for another reason does not become ready because the row comes back.
        if let Some(next) = &mut entry.next {
            next.review.get_or_insert(Review::Left);
        }
        self.put_entry(&entry)
    }

    /// The digest of a section over the mirror's rows.
    pub fn digest(&self, section: &Section) -> Result<Digest, StoreError> {
        match self.digests.get(section) {
            Some(digest) => Ok(*digest),
            None => self.tables.digest(section),
        }
    }

    /// Forgets all digests, with the mirror.
    pub fn clear_mirror(&mut self) -> Result<(), StoreError> {
        self.digests.clear();
        self.tables.clear_mirror()
    }

    fn count_in_digests(&mut self, before: Option<&Row>, after: Option<&Row>) -> Result<(), StoreError> {
        for (row, change) in [(before, Digest::minus as fn(Digest, &Row) -> Digest), (after, Digest::plus)] {
            if let Some(row) = row
                && let Some(section) = self.section_of(row)
            {
                let digest = change(self.digest(&section)?, row);
                self.digests.insert(section, digest);
            }
        }
        Ok(())
    }

    /// Takes the list of the user's sections: what is no longer listed is evicted, what is new will be filled.
    pub fn relist(&mut self, listed: &BTreeSet<Section>, head: Seq) -> Result<(), StoreError> {
        let gone = self.cursors.relist(listed, head);
        let tables: BTreeSet<_> = gone.iter().map(|section| section.table).collect();
        for table in tables {
            self.sweep(table, |section, _| {
                !planted(Planted::GoneSectionStays) && section.is_none_or(|section| !listed.contains(&section))
            })?;
        }
        Ok(())
    }

    /// Evicts the mirror rows of a table that match; reads and writes in bounded pages.
    pub fn sweep(&mut self, table: TableTag, leaves: impl Fn(Option<Section>, &MirrorRow) -> bool) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let page: Vec<MirrorRow> = self.tables.mirror_rows(table, after)?.take(1000).collect::<Result<_, _>>()?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.row.key.id);
            for held in &page {
                if leaves(self.section_of(&held.row), held) {
                    self.evict(&held.row)?;
                }
            }
        }
    }
}

/// What a group is part of in the end.
fn united(becomes: &BTreeMap<GroupId, GroupId>, mut group: GroupId) -> GroupId {
    while let Some(next) = becomes.get(&group) {
        group = *next;
    }
    group
}

/// What became of the outbox in a step.
#[derive(Clone, Copy, Default)]
pub(crate) struct Moved {
    /// Something in it changed, or a mirror row under it.
    pub any: bool,
    /// Something may go that could not before.
    pub may_go: bool,
}

/// What a step left behind.
pub(crate) struct Ended {
    pub cursors: Cursors,
    pub state: SyncState,
    pub generation: Generation,
    pub touched: BTreeSet<RowKey>,
    pub applied: u64,
    pub moved: Moved,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;
    use redb::backends::InMemoryBackend;
    use tombolo_protocol::cursor::Fill;
    use tombolo_protocol::ids::{FieldTag, RowId, RowNo, TableTag, Version};
    use tombolo_protocol::row::FieldState;
    use tombolo_protocol::schema::CLINIC;
    use tombolo_protocol::value::Value;

    const SITES: Section = Section { table: TableTag(1), scope: None };

    fn key() -> RowKey {
        RowKey { table: SITES.table, id: RowId::from_bytes([7; 16]) }
    }

    fn site(name: &str, seq: u64) -> RowState {
        RowState {
            table: SITES.table,
            name: RowName::Id(key().id, RowNo(1)),
            kind: StateKind::Live,
            whole: true,
            as_sent: false,
            seq: Seq(seq),
            version: Version(1),
            since: Seq(5),
            fields: vec![FieldState { field: FieldTag(1), stamp: Seq(seq), value: Value::text(name) }],
        }
    }

    /// Applies rows while the cursors are these; returns what the mirror holds then.
    fn put(store: &Store, cursors: &Cursors, rows: &[RowState]) -> Option<MirrorRow> {
        let schema = Schema::parse(CLINIC).unwrap();
        store
            .write(|tables| -> Result<_, StoreError> {
                let mut step = Step::begin(tables, &schema, 0)?;
                step.cursors = cursors.clone();
                step.put_rows(rows)?;
                let held = step.tables.mirror(key())?;
                step.end()?;
                Ok(held)
            })
            .unwrap()
    }

    fn filling(head: Option<u64>, refetch: u32) -> Cursors {
        let mut cursors = Cursors::default();
        cursors.fills.insert(SITES, Fill { head: head.map(Seq), refetch, ..Fill::default() });
        cursors
    }

    fn complete() -> Cursors {
        Cursors { sections: [SITES].into(), ..Cursors::default() }
    }

    #[test]
    fn t39_a_row_that_arrives_before_its_fill_has_a_head_is_not_stored() {
        let store = Store::with_backend(InMemoryBackend::new()).unwrap();
        assert_eq!(put(&store, &Cursors::default(), &[site("a", 9)]), None);
        assert_eq!(put(&store, &filling(None, 0), &[site("a", 9)]), None);
        assert!(put(&store, &filling(Some(9), 0), &[site("a", 9)]).is_some());
    }

    #[test]
    fn t39_a_refetch_counts_only_rows_that_came_after_its_head_was_durable() {
        let store = Store::with_backend(InMemoryBackend::new()).unwrap();
        put(&store, &complete(), &[site("a", 9)]);
        let early = put(&store, &filling(None, 3), &[site("b", 10)]).unwrap();
        assert_eq!((early.refetch, early.row.seq), (0, Seq(10)));
        // The same row again, nothing new in it: it counts as received all the same.
        assert_eq!(put(&store, &filling(Some(14), 3), &[site("b", 10)]).unwrap().refetch, 3);
    }

    #[test]
    fn digests_follow_the_mirror_through_changes_and_evictions() {
        let store = Store::with_backend(InMemoryBackend::new()).unwrap();
        let row = put(&store, &complete(), &[site("a", 9), site("b", 10)]).unwrap().row;
        assert_eq!(store.read().unwrap().digest(&SITES).unwrap(), Digest::default().plus(&row));
        let exit = RowState { kind: StateKind::Exited, fields: Vec::new(), whole: false, ..site("", 11) };
        assert_eq!(put(&store, &complete(), &[exit]), None);
        assert_eq!(store.read().unwrap().digest(&SITES).unwrap(), Digest::default());
    }

    #[test]
    fn a_pending_edit_of_a_row_that_leaves_waits_with_the_last_full_row_and_is_ready_when_it_comes_back() {
        let store = Store::with_backend(InMemoryBackend::new()).unwrap();
        let row = put(&store, &complete(), &[site("a", 9)]).unwrap().row;
        let mut entry = Entry::new(key(), Seq(2));
        entry.next = Some(Pending::new(tombolo_protocol::change::Op::Delete, Seq(9), 0));
        store.write(|tables| tables.put_entry(&entry)).unwrap();
        let exit = RowState { kind: StateKind::Exited, fields: Vec::new(), whole: false, ..site("", 11) };
        put(&store, &complete(), &[exit]);
        let waiting = store.read().unwrap().entry(key()).unwrap().unwrap();
        assert_eq!((waiting.kept, waiting.next.unwrap().review), (Some(row), Some(Review::Left)));
        put(&store, &complete(), &[RowState { since: Seq(12), ..site("a", 12) }]);
        let ready = store.read().unwrap().entry(key()).unwrap().unwrap();
        assert_eq!((ready.kept, ready.next.unwrap().review), (None, None));
    }

    #[test]
    fn the_last_full_row_stays_beside_an_entry_whose_row_was_purged_and_then_left() {
        let store = Store::with_backend(InMemoryBackend::new()).unwrap();
        let row = put(&store, &complete(), &[site("a", 9)]).unwrap().row;
        let mut entry = Entry::new(key(), Seq(2));
        entry.next = Some(Pending::new(tombolo_protocol::change::Op::Update, Seq(9), 0));
        store.write(|tables| tables.put_entry(&entry)).unwrap();
        let bare = |kind, seq| RowState { kind, fields: Vec::new(), whole: false, ..site("", seq) };
        put(&store, &complete(), &[bare(StateKind::Purged, 10), bare(StateKind::Exited, 11)]);
        assert_eq!(store.read().unwrap().entry(key()).unwrap().unwrap().kept, Some(row));
    }

    #[test]
    fn what_waits_for_another_reason_waits_on_when_its_row_leaves_and_comes_back() {
        let store = Store::with_backend(InMemoryBackend::new()).unwrap();
        put(&store, &complete(), &[site("a", 9)]).unwrap();
        let mut entry = Entry::new(key(), Seq(2));
        let mut pending = Pending::new(tombolo_protocol::change::Op::Delete, Seq(9), 0);
        pending.review = Some(Review::Offered);
        entry.next = Some(pending);
        store.write(|tables| tables.put_entry(&entry)).unwrap();
        let exit = RowState { kind: StateKind::Exited, fields: Vec::new(), whole: false, ..site("", 11) };
        put(&store, &complete(), &[exit]);
        put(&store, &complete(), &[RowState { since: Seq(12), ..site("a", 12) }]);
        let waiting = store.read().unwrap().entry(key()).unwrap().unwrap();
        assert_eq!(waiting.next.unwrap().review, Some(Review::Offered));
    }
}
