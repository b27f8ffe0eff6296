//! Deltas: which cursor moves next, how large a chunk may be, and what is under way.
//!
//! A chunk is what goes out on one credit: usually one delta, or several small ones of different cursors, so that a fill and the
//! main stream can reach one head together and join, and many empty sections do not cost a round trip each.

use super::live::Live;
use super::{Output, Session, SessionConfig};
use crate::access::Rights;
use crate::feed::{Budget, Scan, Scanned};
use crate::prepared::{ChunkKey, Found, PreparedChunk};
use crate::snapshot::{AuthorList, Snapshot};
use crate::store::StoreError;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use tombolo_protocol::batch::RowBatch;
use tombolo_protocol::cursor::{Advance, CursorName, Fill};
use tombolo_protocol::frame;
use tombolo_protocol::ids::{DeviceId, Mark, Position, PushNo, Section, Seq, UserId};
use tombolo_protocol::message::{Delta, Down};
use tombolo_protocol::planted::{Planted, planted};

/// What a chunk should take on its way.
const CHUNK_MS: i64 = 2_000;
/// A chunk that was acknowledged within this lets the next ones grow.
const QUICK_MS: i64 = 1_000;
const GROWTH: usize = 4;
const CHUNK_BYTES_MIN: usize = 2 * 1024;
/// Deltas in one chunk.
const DELTAS_MAX: usize = 256;
/// What a delta without rows counts for.
const DELTA_BYTES: usize = 64;

/// Chunks that are under way, and how large the next one may be.
pub(super) struct Chunks {
    bytes: usize,
    under_way: VecDeque<Sent>,
    credit: usize,
    acknowledged_ms: i64,
}

struct Sent {
    deltas: usize,
    bytes: usize,
    at_ms: i64,
}

impl Chunks {
    pub(super) fn new(config: &SessionConfig, rate: u32) -> Self {
        let known = usize::try_from(i64::from(rate) * CHUNK_MS / 1000).unwrap_or(usize::MAX);
        let bytes = if rate == 0 { config.chunk_bytes_first } else { known };
        Self {
            bytes: bytes.clamp(CHUNK_BYTES_MIN.min(config.chunk_bytes_max), config.chunk_bytes_max),
            under_way: VecDeque::new(),
            credit: config.credit as usize,
            acknowledged_ms: i64::MIN,
        }
    }

    pub(super) fn has_credit(&self) -> bool {
        self.under_way.len() < self.credit
    }

    /// A delta is durable at the client. With the last one of its chunk the rate is measured. False where none was under way.
    pub(super) fn acknowledged(&mut self, config: &SessionConfig, now_ms: i64) -> bool {
        let Some(oldest) = self.under_way.front_mut() else { return false };
        oldest.deltas -= 1;
        if oldest.deltas == 0 {
            // A chunk waits for the one before it, so its own time starts when that was acknowledged.
            let took_ms = now_ms.saturating_sub(oldest.at_ms.max(self.acknowledged_ms)).max(1);
            let sent = oldest.bytes;
            self.under_way.pop_front();
            self.acknowledged_ms = now_ms;
            self.bytes = next_size(self.bytes, sent, took_ms, config.chunk_bytes_max);
        }
        true
    }
}

/// The size of the next chunk, after one of `sent` bytes took `took_ms`.
fn next_size(bytes: usize, sent: usize, took_ms: i64, most: usize) -> usize {
    let least = CHUNK_BYTES_MIN.min(most);
    if took_ms <= QUICK_MS {
        return bytes.saturating_mul(GROWTH).clamp(least, most);
    }
    let in_time = i64::try_from(sent).unwrap_or(i64::MAX).saturating_mul(CHUNK_MS) / took_ms;
    let in_time = usize::try_from(in_time).unwrap_or(usize::MAX);
    // A small chunk says little about the rate: it only shrinks the size if even it was too slow.
    if took_ms <= CHUNK_MS { bytes.max(in_time).clamp(least, most) } else { bytes.min(in_time.max(least)).clamp(least, most) }
}

/// The next step of a cursor.
enum Next {
    /// Rows, few or many.
    Scanned(Scanned),
    /// A full chunk of a first scan, which is not its end.
    Prepared(Arc<PreparedChunk>),
}

impl Next {
    /// More rows follow.
    fn is_cut(&self) -> bool {
        match self {
            Self::Scanned(scanned) => scanned.complete.is_none(),
            Self::Prepared(_) => true,
        }
    }

    /// What it takes of a chunk.
    fn takes(&self) -> Budget {
        let (bytes, rows) = match self {
            Self::Scanned(scanned) => (scanned.bytes, scanned.rows.len()),
            Self::Prepared(chunk) => (chunk.bytes, chunk.rows),
        };
        Budget { bytes: DELTA_BYTES + bytes, rows }
    }
}

/// The delta of a step, and whose names are in it.
fn delta(
    cursor: CursorName,
    from: Position,
    Scanned { rows, to, complete, .. }: Scanned,
    said: Option<Mark>,
    snapshot: &Snapshot,
) -> Result<(Box<Delta>, Vec<UserId>), StoreError> {
    let (authors, users) = AuthorList::of(&rows).read_by(snapshot)?;
    Ok((Box::new(Delta { cursor, from, to, complete, snapshot: said, rows: RowBatch(rows), authors }), users))
}

/// Makes the frame of a full chunk that was scanned, and keeps it.
fn prepare(key: ChunkKey, scanned: Scanned, snapshot: &Snapshot) -> Result<Arc<PreparedChunk>, StoreError> {
    let (to, bytes, rows) = (scanned.to, scanned.bytes, scanned.rows.len());
    let (delta, users) = delta(CursorName::Fill(key.section), key.from, scanned, None, snapshot)?;
    let names = users.into_iter().zip(delta.authors.names.iter().cloned()).collect();
    let frame = frame::encode_down(&Down::Delta(delta)).into();
    let chunk = Arc::new(PreparedChunk { to, bytes, rows, entries: snapshot.entries(&key, to)?, names, frame });
    snapshot.keep_prepared(key, chunk.clone());
    Ok(chunk)
}

impl Session {
    /// Sends chunks while there are credit and rows.
    pub(super) fn send_chunks(
        &mut self,
        live: &mut Live,
        rights: &Rights,
        snapshot: &Snapshot,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        while live.more && live.chunks.has_credit() {
            let mut left = Budget { bytes: live.chunks.bytes, rows: self.config.chunk_rows_max };
            let mut sent = Sent { deltas: 0, bytes: 0, at_ms: now_ms };
            while sent.deltas < DELTAS_MAX && left.bytes > 0 && left.rows > 0 {
                let Some((name, next)) = self.next_scan(live, rights, snapshot, left)? else {
                    live.more = false;
                    break;
                };
                // What is left of a chunk must not split a commit that would fit into the next one.
                if next.is_cut() && sent.deltas > 0 {
                    break;
                }
                let (is_cut, takes) = (next.is_cut(), next.takes());
                left.bytes = left.bytes.saturating_sub(takes.bytes);
                left.rows = left.rows.saturating_sub(takes.rows);
                sent.bytes += takes.bytes;
                sent.deltas += self.send_next(live, name, next, snapshot)?;
                if is_cut {
                    break;
                }
            }
            if sent.deltas > 0 {
                live.chunks.under_way.push_back(sent);
            }
        }
        Ok(())
    }

    /// Sends a step; returns in how many deltas.
    fn send_next(&mut self, live: &mut Live, name: CursorName, next: Next, snapshot: &Snapshot) -> Result<usize, StoreError> {
        let from = live.cursors.scanned(name).ok_or_else(|| StoreError::damaged("a delta for no cursor"))?;
        let said = live.told.tell_snapshot(snapshot.head());
        let mut deltas = 1;
        let (to, complete) = match next {
            Next::Prepared(chunk) => {
                live.owes_caught_up = true;
                // A frame that is the same for all cannot say of what snapshot it is: a step of no length ahead of it does.
                if said.is_some() {
                    let empty = Scanned { rows: Vec::new(), to: from, complete: None, bytes: 0 };
                    self.send(Down::Delta(delta(name, from, empty, said, snapshot)?.0));
                    deltas += 1;
                }
                self.outputs.push_back(Output::Prepared(chunk.frame.clone()));
                (chunk.to, None)
            }
            Next::Scanned(scanned) => {
                live.owes_caught_up |= !scanned.rows.is_empty();
                let step = (scanned.to, scanned.complete);
                self.send(Down::Delta(delta(name, from, scanned, said, snapshot)?.0));
                step
            }
        };
        live.cursors.advance(Advance { name, to, complete });
        Ok(deltas)
    }

    /// The next delta that is worth sending, as a step of one cursor; none when there is nothing to say at this head.
    fn next_scan(
        &self,
        live: &mut Live,
        rights: &Rights,
        snapshot: &Snapshot,
        budget: Budget,
    ) -> Result<Option<(CursorName, Next)>, StoreError> {
        let end = Position::end_of(snapshot.head().seq);
        while !live.cursors.sections.is_empty() && live.cursors.main.scanned.max(live.quiet) < end {
            let scanned = self.scan_main(live, rights, snapshot, budget)?;
            if !scanned.rows.is_empty() {
                return Ok(Some((CursorName::Main, Next::Scanned(scanned))));
            }
            live.quiet = scanned.to;
        }
        let unfinished = live.cursors.fills.iter().find(|(_, fill)| !fill.done);
        if let Some((section, fill)) = unfinished {
            return Ok(Some((CursorName::Fill(*section), self.first_fill(*section, fill, rights, snapshot, budget)?)));
        }
        // All fills are done: they join when they and the main stream stand at one head. Until then the client is owed the word
        // that it is caught up, and so is one that asked to compare digests: for both the main stream makes an empty step.
        if live.owes_caught_up && !live.cursors.sections.is_empty() && live.cursors.main.scanned < end {
            let to_end = Scanned { rows: Vec::new(), to: end, complete: Some(end.seq), bytes: 0 };
            return Ok(Some((CursorName::Main, Next::Scanned(to_end))));
        }
        if let Some((section, fill)) = live.cursors.fills.iter().find(|(_, fill)| fill.cursor.scanned < end) {
            let scanned = scan_fill(*section, fill, rights, snapshot, None, budget)?;
            return Ok(Some((CursorName::Fill(*section), Next::Scanned(scanned))));
        }
        Ok(None)
    }

    /// The next step of the first scan of a fill. A full chunk is the same for all devices of the section, as long as it ends at or
    /// below the head at which each heard of the section, and is kept as its frame. In a refetch nothing that is kept is trusted.
    fn first_fill(
        &self,
        section: Section,
        fill: &Fill,
        rights: &Rights,
        snapshot: &Snapshot,
        budget: Budget,
    ) -> Result<Next, StoreError> {
        let full = Budget { bytes: self.config.chunk_bytes_max, rows: self.config.chunk_rows_max };
        let scan = |until| scan_fill(section, fill, rights, snapshot, until, budget);
        if budget != full || fill.cursor.complete != Seq(0) || fill.refetch != 0 {
            return scan(None).map(Next::Scanned);
        }
        let is_known = |to: &Position| fill.head.is_some_and(|head| *to <= Position::end_of(head));
        let key = ChunkKey { section, from: fill.cursor.scanned, budget, schema: snapshot.schema_seq() };
        let until = match snapshot.prepared(&key)? {
            Found::Ready(chunk) if is_known(&chunk.to) => return Ok(Next::Prepared(chunk)),
            Found::Unknown(Some(end)) if is_known(&end) => return scan(Some(end)).map(Next::Scanned),
            Found::Stale(until) => until.filter(is_known),
            Found::Ready(_) | Found::Unknown(_) => None,
        };
        let mut scanned = scan(until)?;
        // A chunk that lost half of its rows takes in others.
        if until.is_some() && scanned.bytes < budget.bytes / 2 {
            scanned = scan(None)?;
        }
        if scanned.complete.is_some() || scanned.rows.is_empty() || !is_known(&scanned.to) {
            return Ok(Next::Scanned(scanned));
        }
        Ok(Next::Prepared(prepare(key, scanned, snapshot)?))
    }

    fn scan_main(&self, live: &Live, rights: &Rights, snapshot: &Snapshot, budget: Budget) -> Result<Scanned, StoreError> {
        let scan = Scan {
            sections: &live.cursors.sections,
            complete: live.cursors.main.complete,
            from: live.cursors.main.scanned.max(live.quiet),
            fill_head: None,
            until: None,
            budget,
        };
        let (device, answered) = (self.identity.device, live.answered);
        snapshot.scan(rights, &scan, &|by: DeviceId, number: PushNo| {
            by == device && (number <= answered || planted(Planted::OwnLeftOutUnanswered))
        })
    }
}

/// In a fill nothing is left out as own. Once its first scan is done it goes on like the main stream, tombstones and all.
fn scan_fill(
    section: Section,
    fill: &Fill,
    rights: &Rights,
    snapshot: &Snapshot,
    until: Option<Position>,
    budget: Budget,
) -> Result<Scanned, StoreError> {
    let scan = Scan {
        sections: &BTreeSet::from([section]),
        complete: fill.cursor.complete,
        from: fill.cursor.scanned,
        fill_head: if fill.done { None } else { fill.head },
        until,
        budget,
    };
    snapshot.scan(rights, &scan, &|_, _| false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_grow_fourfold_while_they_are_acknowledged_quickly() {
        let config = SessionConfig::default();
        let mut chunks = Chunks::new(&config, 0);
        let mut sizes = vec![chunks.bytes];
        for at_ms in 0..5 {
            chunks.under_way.push_back(Sent { deltas: 1, bytes: chunks.bytes, at_ms });
            assert!(chunks.acknowledged(&config, at_ms + 500));
            sizes.push(chunks.bytes);
        }
        assert_eq!(sizes[..4], [16 * 1024, 64 * 1024, 256 * 1024, config.chunk_bytes_max]);
        assert_eq!(sizes[5], config.chunk_bytes_max);
    }

    #[test]
    fn chunks_shrink_to_what_the_link_carries_in_two_seconds() {
        assert_eq!(next_size(16 * 1024, 16 * 1024, 8_000, 1 << 20), 4 * 1024);
        assert_eq!(next_size(4 * 1024, 4 * 1024, 60_000, 1 << 20), CHUNK_BYTES_MIN);
        assert_eq!(next_size(4 * 1024, 4 * 1024, 1_500, 1 << 20), 4 * 1024 * 2_000 / 1_500);
    }

    #[test]
    fn an_acknowledgement_of_nothing_is_noticed() {
        let config = SessionConfig::default();
        assert!(!Chunks::new(&config, 0).acknowledged(&config, 1));
    }

    #[test]
    fn the_rate_of_the_last_session_sizes_the_first_chunk() {
        let config = SessionConfig::default();
        assert_eq!(Chunks::new(&config, 8_000).bytes, 16_000);
        assert_eq!(Chunks::new(&config, 100).bytes, CHUNK_BYTES_MIN);
    }
}
