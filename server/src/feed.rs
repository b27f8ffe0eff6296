//! The scan of the feed: bootstrap, catch-up and live are this one function (S1-S6).

use crate::access::Rights;
use crate::snapshot::commits_of;
use crate::store::StoreError;
use crate::store::read::Read;
use crate::store::tables::Tables;
use redb::{Range, ReadableTable};
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::ops::Bound::{Excluded, Included};
use tombolo_protocol::ids::{Position, RowNo, Section, Seq};
use tombolo_protocol::limits::CHUNK_ROWS_MAX;
use tombolo_protocol::planted::{Planted, planted};
use tombolo_protocol::row::{Row, RowName, RowState, StateKind};
use tombolo_protocol::schema::Schema;

/// Entries that one scan looks at, sent or not: reads stay short.
const ENTRIES_MAX: usize = 4 * CHUNK_ROWS_MAX;

/// How much a scan may bring.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Budget {
    /// Estimated bytes, inflated.
    pub bytes: usize,
    /// Rows.
    pub rows: usize,
}

/// What is scanned.
pub struct Scan<'a> {
    /// The sections, as one stream in (seq, ordinal) order.
    pub sections: &'a BTreeSet<Section>,
    /// Fields newer than this are sent; rows that entered their section later are sent whole.
    pub complete: Seq,
    /// Where the scan starts: behind this position.
    pub from: Position,
    /// In the first scan of a fill: the head at which the section was named. Tombstones and markers at or below it are
    /// skipped, and nothing else is (S4).
    pub fill_head: Option<Seq>,
    /// Where the scan ends although more follows; to the end of the snapshot without it.
    pub until: Option<Position>,
    /// How much it may bring. One row is always brought.
    pub budget: Budget,
}

/// What a scan brought.
#[derive(Debug)]
pub struct Scanned {
    /// The rows.
    pub rows: Vec<RowState>,
    /// Where it ended.
    pub to: Position,
    /// The end of the snapshot was reached: the new `complete`.
    pub complete: Option<Seq>,
    /// Estimated bytes of the rows.
    pub bytes: usize,
}

/// The state that is scanned, and for whom.
pub struct Source<'a, T: Tables> {
    /// The state.
    pub tables: &'a T,
    /// Its head.
    pub head: Seq,
    /// The schema at the head.
    pub schema: &'a Schema,
    /// The rights of the reader.
    pub rights: &'a Rights,
}

type FeedRange<'a> = Range<'a, (u32, u64, u32), (u64, bool)>;

/// An entry of the feed. Of entries at one position the row comes before exit markers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    at: Position,
    exit: bool,
    row: RowNo,
}

impl<T: Tables> Source<'_, T> {
    /// Scans. `own` says of a commit whether this client has its rows from the result already; in a fill it says no (S6).
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn scan(&self, scan: &Scan<'_>, own: &mut dyn FnMut(Seq) -> Result<bool, StoreError>) -> Result<Scanned, StoreError> {
        let mut merged = Merged::open(self.tables, scan)?;
        let mut chunk = Chunk::new(scan.from);
        for _ in 0..ENTRIES_MAX {
            let Some(entry) = merged.next()? else {
                return Ok(match scan.until {
                    Some(until) => chunk.ended(until, None),
                    None => chunk.ended(Position::end_of(self.head), Some(self.head)),
                });
            };
            chunk.begin(entry.at);
            let Some(state) = self.state_of(scan, &chunk, entry, own)? else { continue };
            if let Some(cut) = chunk.add(state, entry, scan.budget) {
                return Ok(chunk.ended(cut, None));
            }
        }
        let reached = chunk.at;
        Ok(chunk.ended(reached, None))
    }

    fn state_of(
        &self,
        scan: &Scan<'_>,
        chunk: &Chunk,
        entry: Entry,
        own: &mut dyn FnMut(Seq) -> Result<bool, StoreError>,
    ) -> Result<Option<RowState>, StoreError> {
        let skipped_in_fill = scan.fill_head.is_some_and(|head| planted(Planted::FillSkipsTombstones) || entry.at.seq <= head);
        let row = self.tables.row_numbered(entry.row)?;
        let row = row.ok_or_else(|| StoreError::damaged(format!("the feed names row {}, which is not there", entry.row)))?;
        if entry.exit {
            if planted(Planted::ExitUntold) || skipped_in_fill || chunk.has_at(entry) {
                return Ok(None);
            }
            // The row is told whole where the reader may see it, else that it left; never left out as own (S5).
            let visible = planted(Planted::ExitShowsTheRow) || self.rights.may_see(self.schema, &row);
            return Ok(Some(if visible { row.since_base(Seq(0)) } else { exited(&row, entry.at.seq) }));
        }
        if !row.is_live() && skipped_in_fill {
            return Ok(None);
        }
        if own(row.seq)? {
            return Ok(None);
        }
        let base = if planted(Planted::ScanByScanned) { scan.from.seq.max(scan.complete) } else { scan.complete };
        Ok(Some(row.since_base(base)))
    }
}

/// That a row left, for one who may not see where it is: nothing of what it is now.
fn exited(row: &Row, seq: Seq) -> RowState {
    RowState {
        table: row.key.table,
        name: RowName::Id(row.key.id, row.no),
        kind: StateKind::Exited,
        whole: false,
        as_sent: false,
        seq,
        version: tombolo_protocol::ids::Version(0),
        since: Seq(0),
        fields: Vec::new(),
    }
}

/// Entries of several sections in one order.
struct Merged<'a> {
    ranges: Vec<FeedRange<'a>>,
    heads: BinaryHeap<Reverse<(Entry, usize)>>,
}

impl<'a> Merged<'a> {
    fn open<T: Tables>(tables: &'a T, scan: &Scan<'_>) -> Result<Self, StoreError> {
        let mut merged = Self { ranges: Vec::new(), heads: BinaryHeap::new() };
        for section in scan.sections {
            let Some(record) = tables.section_record(section)? else { continue };
            let from = (record.number, scan.from.seq.0, scan.from.ordinal);
            let last = scan.until.unwrap_or(Position::end_of(Seq(u64::MAX)));
            let range = tables.feed().range((Excluded(from), Included((record.number, last.seq.0, last.ordinal))))?;
            merged.ranges.push(range);
            merged.advance(merged.ranges.len() - 1)?;
        }
        Ok(merged)
    }

    fn advance(&mut self, index: usize) -> Result<(), StoreError> {
        if let Some(entry) = self.ranges[index].next() {
            let (key, value) = entry?;
            let (_, seq, ordinal) = key.value();
            let (row, exit) = value.value();
            let entry = Entry { at: Position { seq: Seq(seq), ordinal }, exit, row: RowNo(row) };
            self.heads.push(Reverse((entry, index)));
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Option<Entry>, StoreError> {
        let Some(Reverse((entry, index))) = self.heads.pop() else { return Ok(None) };
        self.advance(index)?;
        Ok(Some(entry))
    }
}

/// Rows gathered so far.
struct Chunk {
    rows: Vec<RowState>,
    load: Load,
    /// The position of the entry at hand.
    at: Position,
    /// The position before it, where the chunk can end without it.
    before: Position,
    /// How many rows and bytes there were before the present commit, and the position to end at there.
    commit: (usize, usize, Position),
    /// The row that was added at the present position, if one was.
    added_at: Option<RowNo>,
}

impl Chunk {
    fn new(from: Position) -> Self {
        Self { rows: Vec::new(), load: Load::default(), at: from, before: from, commit: (0, 0, from), added_at: None }
    }

    fn begin(&mut self, at: Position) {
        if at == self.at {
            return;
        }
        if at.seq != self.at.seq {
            self.commit = (self.rows.len(), self.load.bytes, self.at);
        }
        self.before = self.at;
        self.at = at;
        self.added_at = None;
    }

    /// Whether the row of an exit marker was added at the marker's own position: it moved between two sections of this scan.
    fn has_at(&self, entry: Entry) -> bool {
        self.added_at == Some(entry.row)
    }

    /// Adds a row, or says where the chunk ends because it is full. A commit that would fit into a chunk of its own is not
    /// split: what was added of it is taken out again (S2).
    fn add(&mut self, state: RowState, entry: Entry, budget: Budget) -> Option<Position> {
        // Entries at one position go together: the position could not say that one of them is missing.
        let must = self.rows.is_empty() || self.added_at.is_some();
        let room = if must { usize::MAX } else { budget.bytes };
        if (must || self.rows.len() < budget.rows) && self.load.try_add([&state], room) {
            self.rows.push(state);
            self.added_at = Some(entry.row);
            return None;
        }
        let (rows, bytes, end) = self.commit;
        if rows == 0 {
            return Some(if planted(Planted::PositionIsASeq) { Position::end_of(self.before.seq) } else { self.before });
        }
        self.rows.truncate(rows);
        self.load.bytes = bytes;
        Some(end)
    }

    fn ended(self, to: Position, complete: Option<Seq>) -> Scanned {
        Scanned { rows: self.rows, to, complete, bytes: self.load.bytes }
    }
}

/// A commit with its author and time, inflated.
const COMMIT_BYTES: usize = 20;

/// What rows take in a message, estimated: themselves, and who and when for each commit that they name (S2).
#[derive(Default)]
pub(crate) struct Load {
    bytes: usize,
    commits: BTreeSet<Seq>,
}

impl Load {
    /// Something else is in the message too.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// Takes these rows if all of them fit into `most`; else nothing changes.
    pub(crate) fn try_add<'r>(&mut self, rows: impl IntoIterator<Item = &'r RowState>, most: usize) -> bool {
        let mut bytes = self.bytes;
        let mut named = BTreeSet::new();
        for row in rows {
            bytes += estimate(row);
            named.extend(commits_of(row).filter(|seq| !self.commits.contains(seq)));
        }
        bytes += COMMIT_BYTES * named.len();
        if bytes > most {
            return false;
        }
        self.bytes = bytes;
        self.commits.extend(named);
        true
    }
}

/// Roughly what a row takes inflated, and never much less than it weighs for the decoder.
fn estimate(state: &RowState) -> usize {
    48 + state.fields.iter().map(|field| 6 + field.value.canonical_len()).sum::<usize>()
}
