//! Parts of first syncs whose frames are made already.
//!
//! To read, order by columns and compress the rows of a full chunk is nearly all that a first sync costs the server, and every
//! device that comes to a section is sent the same ones. So their frames are kept. Whether one still says what is so is not
//! remembered but looked up: the feed has each row at the commit that last changed it, so the entries between two positions
//! name the content of every row there, and a part is sent again only while their hash is the one that it was made of.

use crate::feed::Budget;
use crate::store::StoreError;
use crate::store::read::Read;
use crate::store::tables::Tables;
use redb::ReadableTable;
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tombolo_protocol::hash::InParts;
use tombolo_protocol::ids::{Position, Section, Seq};
use tombolo_protocol::planted::{Planted, planted};

/// What all frames that are kept take together; those that were not used for longest go.
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// Which part: what a chunk of a first scan depends on besides the rows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Place {
    /// The section that is filled.
    pub section: Section,
    /// Where the part begins.
    pub from: Position,
    /// How much it may hold.
    pub budget: Budget,
    /// The schema: a new one may move rows to other sections, at the places that they had.
    pub schema: Seq,
    /// The last change of users, whose names stand beside the rows.
    pub users: Seq,
}

/// A part.
#[derive(Debug)]
pub(crate) struct Part {
    /// Where it ends.
    pub to: Position,
    /// Its bytes as a scan counts them.
    pub bytes: usize,
    /// The hash of the feed's entries that it was made of.
    pub entries: [u8; 32],
    /// The frame of its delta.
    pub frame: Arc<[u8]>,
}

/// The parts that are kept; those of one opened store.
#[derive(Default)]
pub(crate) struct Prepared(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// With each the count of uses when it was used last.
    parts: BTreeMap<Place, (u64, Arc<Part>)>,
    bytes: usize,
    uses: u64,
}

impl Prepared {
    /// The part at this place, if it was made of what the feed has there now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn find(&self, tables: &impl Tables, place: &Place) -> Result<Option<Arc<Part>>, StoreError> {
        let Some(part) = self.kept().used(place) else { return Ok(None) };
        let is_so = planted(Planted::PreparedUnchecked) || entries_between(tables, place, part.to)? == part.entries;
        Ok(Some(part).filter(|_| is_so))
    }

    /// Keeps a part, in the place of one that was there.
    pub(crate) fn keep(&self, place: Place, part: Arc<Part>) {
        self.kept().keep(place, part, BYTES_MAX);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn used(&mut self, place: &Place) -> Option<Arc<Part>> {
        self.uses += 1;
        let (used, part) = self.parts.get_mut(place)?;
        *used = self.uses;
        Some(part.clone())
    }

    fn keep(&mut self, place: Place, part: Arc<Part>, most: usize) {
        self.uses += 1;
        self.bytes += part.frame.len();
        if let Some((_, before)) = self.parts.insert(place, (self.uses, part)) {
            self.bytes -= before.frame.len();
        }
        while self.bytes > most {
            let oldest = self.parts.iter().min_by_key(|(_, (used, _))| *used).map(|(place, _)| *place);
            let Some((_, gone)) = oldest.and_then(|place| self.parts.remove(&place)) else { return };
            self.bytes -= gone.frame.len();
        }
    }
}

/// The hash of all that the feed of a section has behind `place.from` and up to `to`.
///
/// # Errors
/// [`StoreError`].
pub(crate) fn entries_between(tables: &impl Tables, place: &Place, to: Position) -> Result<[u8; 32], StoreError> {
    let mut hash = InParts::default();
    let Some(record) = tables.section_record(&place.section)? else { return Ok(hash.finish()) };
    let key = |at: Position| (record.number, at.seq.0, at.ordinal);
    for entry in tables.feed().range((Excluded(key(place.from)), Included(key(to))))? {
        let (key, value) = entry?;
        let ((_, seq, ordinal), (row, is_exit)) = (key.value(), value.value());
        let mut form = [0; 21];
        form[..8].copy_from_slice(&seq.to_le_bytes());
        form[8..12].copy_from_slice(&ordinal.to_le_bytes());
        form[12..20].copy_from_slice(&row.to_le_bytes());
        form[20] = u8::from(is_exit);
        hash.add(&form);
    }
    Ok(hash.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tombolo_protocol::ids::TableTag;

    fn place(seq: u64) -> Place {
        Place {
            section: Section { table: TableTag(1), scope: None },
            from: Position::end_of(Seq(seq)),
            budget: Budget { bytes: 1, rows: 1 },
            schema: Seq(1),
            users: Seq(1),
        }
    }

    fn part(bytes: usize) -> Arc<Part> {
        Arc::new(Part { to: Position::START, bytes, entries: [0; 32], frame: vec![0; bytes].into() })
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let mut kept = Kept::default();
        (1..=3).for_each(|seq| kept.keep(place(seq), part(10), 30));
        assert!(kept.used(&place(1)).is_some());
        kept.keep(place(4), part(10), 30);
        let held = |kept: &mut Kept, seq| kept.used(&place(seq)).is_some();
        assert_eq!([1, 2, 3, 4].map(|seq| held(&mut kept, seq)), [true, false, true, true]);
        // One that takes the place of another, and one that is larger than all may be together.
        kept.keep(place(4), part(5), 30);
        assert_eq!((kept.bytes, kept.parts.len()), (25, 3));
        kept.keep(place(5), part(31), 30);
        assert_eq!((kept.bytes, kept.parts.len()), (0, 0));
    }
}
