//! Chunks of first syncs whose frames are made already.
//!
//! To read, order by columns and compress the rows of a full chunk is nearly all that a first sync costs the server, and every
//! device that comes to a section is sent the same ones. So their frames are kept. Whether one still says what is so is not
//! remembered but looked up: the feed has each row at the commit that last changed it, so the entries between two positions
//! name the content of every row there, and a chunk is sent again only while their hash is the one that it was made of.

use crate::feed::Budget;
use crate::store::StoreError;
use crate::store::read::Read;
use crate::store::tables::Tables;
use redb::ReadableTable;
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tombolo_protocol::hash::InParts;
use tombolo_protocol::ids::{Position, Section, Seq, UserId};

/// What all chunks that are kept take together.
const BYTES_MAX: usize = 32 * 1024 * 1024;
/// What a chunk takes besides its frame, about.
const CHUNK_BYTES: usize = 256;
/// A chunk that was not used while so many times as many were looked up as are kept makes room for another one. Before that the
/// other one is not kept: devices go through a section in one order, and of one that is larger than what is kept the beginning
/// stays.
const ROUNDS_MAX: u64 = 4;

/// What a chunk of a first scan depends on besides the rows and the names beside them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct ChunkKey {
    /// The section that is filled.
    pub section: Section,
    /// Where the chunk begins.
    pub from: Position,
    /// How much it may hold.
    pub budget: Budget,
    /// The schema: a new one may bring rows into the section, at the places that they had in another.
    pub schema: Seq,
}

/// A chunk as its frame.
#[derive(Debug)]
pub(crate) struct PreparedChunk {
    /// Where it ends.
    pub to: Position,
    /// Its bytes as a scan counts them.
    pub bytes: usize,
    /// Its rows.
    pub rows: usize,
    /// What the feed had there.
    pub entries: Entries,
    /// The users who are named in it, and how.
    pub names: Vec<(UserId, String)>,
    /// The frame of its delta.
    pub frame: Arc<[u8]>,
}

/// What the feed of a section has between two positions, and behind the second to the end of its commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entries {
    hash: [u8; 32],
    /// The commit has nothing more behind the second.
    pub end_a_commit: bool,
}

impl Entries {
    /// Reads them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn read(tables: &impl Tables, section: &Section, from: Position, to: Position) -> Result<Self, StoreError> {
        let (mut hash, mut end_a_commit) = (InParts::default(), true);
        if let Some(record) = tables.section_record(section)? {
            let key = |at: Position| (record.number, at.seq.0, at.ordinal);
            for entry in tables.feed().range((Excluded(key(from)), Included(key(Position::end_of(to.seq)))))? {
                let (key, value) = entry?;
                let ((_, seq, ordinal), (row, is_exit)) = (key.value(), value.value());
                end_a_commit &= Position { seq: Seq(seq), ordinal } <= to;
                let mut form = [0; 21];
                form[..8].copy_from_slice(&seq.to_le_bytes());
                form[8..12].copy_from_slice(&ordinal.to_le_bytes());
                form[12..20].copy_from_slice(&row.to_le_bytes());
                form[20] = u8::from(is_exit);
                hash.add(&form);
            }
        }
        Ok(Self { hash: hash.finish(), end_a_commit })
    }
}

/// What is known of a chunk.
pub(crate) enum Found {
    /// It is what a scan would bring.
    Ready(Arc<PreparedChunk>),
    /// It was, and something has changed. Who makes it again ends it there, so that those behind it still follow; none where it
    /// ended inside a commit, which may fit by now (S2).
    Stale(Option<Position>),
    /// None begins there. Who begins inside one that is kept ends where that does, and has the others from there on.
    Unknown(Option<Position>),
}

/// The chunks that are kept; those of one opened store.
#[derive(Default)]
pub(crate) struct PreparedChunks(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// With each how many were looked up when it was last.
    chunks: BTreeMap<ChunkKey, (u64, Arc<PreparedChunk>)>,
    bytes: usize,
    looked_up: u64,
}

impl PreparedChunks {
    /// The chunk of this key, whatever became of its rows.
    pub(crate) fn find(&self, key: &ChunkKey) -> Option<Arc<PreparedChunk>> {
        self.kept().find(key)
    }

    /// Where the chunk ends that this key begins inside of, if it ends a commit.
    pub(crate) fn end_around(&self, key: &ChunkKey) -> Option<Position> {
        self.kept().end_around(key)
    }

    /// Keeps a chunk, in the place of one that was there.
    pub(crate) fn keep(&self, key: ChunkKey, chunk: Arc<PreparedChunk>) {
        self.kept().keep(key, chunk, BYTES_MAX);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bytes_of(chunk: &PreparedChunk) -> usize {
    CHUNK_BYTES + chunk.frame.len()
}

impl Kept {
    fn find(&mut self, key: &ChunkKey) -> Option<Arc<PreparedChunk>> {
        self.looked_up += 1;
        let (used, chunk) = self.chunks.get_mut(key)?;
        *used = self.looked_up;
        Some(chunk.clone())
    }

    fn end_around(&self, key: &ChunkKey) -> Option<Position> {
        let mut before = self.chunks.range(..key).rev().take_while(|(held, _)| held.section == key.section);
        let (_, (_, chunk)) = before.find(|(held, _)| (held.budget, held.schema) == (key.budget, key.schema))?;
        Some(chunk.to).filter(|to| *to > key.from && chunk.entries.end_a_commit)
    }

    fn keep(&mut self, key: ChunkKey, chunk: Arc<PreparedChunk>, most: usize) {
        if let Some((_, before)) = self.chunks.remove(&key) {
            self.bytes -= bytes_of(&before);
        }
        let bytes = bytes_of(&chunk);
        if self.bytes + bytes > most {
            // What was made under an older schema is looked up no more.
            self.chunks.retain(|held, (_, chunk)| {
                let stays = held.schema >= key.schema;
                self.bytes -= if stays { 0 } else { bytes_of(chunk) };
                stays
            });
        }
        while self.bytes + bytes > most {
            let idle = self.looked_up.saturating_sub(ROUNDS_MAX * self.chunks.len() as u64);
            let oldest = self.chunks.iter().min_by_key(|(_, (used, _))| *used);
            let Some(oldest) = oldest.filter(|(_, (used, _))| *used < idle).map(|(key, _)| *key) else { return };
            if let Some((_, gone)) = self.chunks.remove(&oldest) {
                self.bytes -= bytes_of(&gone);
            }
        }
        self.bytes += bytes;
        self.chunks.insert(key, (self.looked_up, chunk));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tombolo_protocol::ids::TableTag;

    const MOST: usize = 3 * (CHUNK_BYTES + 10);

    fn key(seq: u64) -> ChunkKey {
        ChunkKey {
            section: Section { table: TableTag(1), scope: None },
            from: Position::end_of(Seq(seq)),
            budget: Budget { bytes: 1, rows: 1 },
            schema: Seq(1),
        }
    }

    fn chunk(bytes: usize) -> Arc<PreparedChunk> {
        let entries = Entries { hash: [0; 32], end_a_commit: true };
        Arc::new(PreparedChunk {
            to: Position::START,
            bytes,
            rows: 1,
            entries,
            names: Vec::new(),
            frame: vec![0; bytes].into(),
        })
    }

    fn held(kept: &Kept) -> Vec<u64> {
        kept.chunks.keys().map(|key| key.from.seq.0).collect()
    }

    #[test]
    fn of_a_section_that_is_too_large_the_beginning_is_kept_for_all_devices() {
        let mut kept = Kept::default();
        for _ in 0..50 {
            for seq in 1..=5 {
                if kept.find(&key(seq)).is_none() {
                    kept.keep(key(seq), chunk(10), MOST);
                }
            }
            assert_eq!(held(&kept), [1, 2, 3]);
        }
    }

    #[test]
    fn chunks_of_an_older_schema_make_room_at_once() {
        let mut kept = Kept::default();
        (1..=3).for_each(|seq| kept.keep(key(seq), chunk(10), MOST));
        kept.keep(ChunkKey { schema: Seq(2), ..key(4) }, chunk(10), MOST);
        assert_eq!((held(&kept), kept.bytes), (vec![4], CHUNK_BYTES + 10));
    }

    #[test]
    fn what_nobody_uses_any_more_makes_room() {
        let mut kept = Kept::default();
        (1..=3).for_each(|seq| kept.keep(key(seq), chunk(10), MOST));
        for _ in 0..20 {
            assert!(kept.find(&key(1)).is_some());
        }
        kept.keep(key(4), chunk(10), MOST);
        assert_eq!(held(&kept), [1, 3, 4]);
        // One that takes the place of another, and one that is larger than all may be together.
        kept.keep(key(4), chunk(5), MOST);
        assert_eq!((kept.bytes, held(&kept)), (MOST - 5, vec![1, 3, 4]));
        kept.keep(key(5), chunk(MOST), MOST);
        assert!(!held(&kept).contains(&5));
    }
}
