//! Where a client stands: one main cursor over all complete sections, and a cursor of its own for each section that is being
//! filled (section 2, S1, S4). Both sides run this same machine over the same messages, so that they always agree.

use crate::codec::{Decode, Encode};
use crate::ids::{Position, Section, Seq};
use crate::planted::{Planted, planted};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How far a scan has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize)]
pub struct Cursor {
    /// The seq at which the mirror was last exactly the server's state; the fields sent are those newer than this.
    pub complete: Seq,
    /// How far the present scan has come.
    pub scanned: Position,
}

impl Default for Cursor {
    fn default() -> Self {
        Self { complete: Seq(0), scanned: Position::START }
    }
}

/// A section that is being filled: by bootstrap, new grant or refetch.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode, Serialize, Deserialize)]
pub struct Fill {
    /// Its own cursor.
    pub cursor: Cursor,
    /// The head of the message that first named the section: tombstones and markers at or below it are skipped (T4). Rows
    /// of the section are not stored before it is known (T39).
    pub head: Option<Seq>,
    /// Its first scan has reached the end; it goes on like the main cursor until both stand at one head.
    pub done: bool,
    /// Of a refetch: the number that rows received carry, so that the sweep spares them; zero in a first fill.
    pub refetch: u32,
}

/// Which cursor a delta moves.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Encode, Decode, Serialize, Deserialize)]
pub enum CursorName {
    /// 0: the main one.
    Main,
    /// 1: that of a section being filled.
    Fill(Section),
}

/// All cursors of a client.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode, Serialize, Deserialize)]
pub struct Cursors {
    /// The main cursor.
    pub main: Cursor,
    /// The complete sections, which the main cursor serves.
    pub sections: BTreeSet<Section>,
    /// The sections being filled.
    pub fills: BTreeMap<Section, Fill>,
}

/// What a delta does to a cursor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Advance {
    /// Which one.
    pub name: CursorName,
    /// How far the scan has come now.
    pub to: Position,
    /// The end of the snapshot was reached: the new `complete`.
    pub complete: Option<Seq>,
}

impl Cursors {
    /// Whether they stand within a log that ends with `head`.
    pub fn is_within(&self, head: Seq) -> bool {
        let all = self.fills.values().map(|fill| &fill.cursor).chain([&self.main]);
        all.into_iter().all(|cursor| cursor.complete <= head && cursor.scanned <= Position::end_of(head))
            && self.fills.values().all(|fill| fill.head.is_none_or(|named| named <= head))
    }

    /// The position that the next delta of this cursor starts from; `None` where there is no such cursor.
    pub fn scanned(&self, name: CursorName) -> Option<Position> {
        self.cursor(name).map(|cursor| cursor.scanned)
    }

    /// A cursor by name.
    pub fn cursor(&self, name: CursorName) -> Option<&Cursor> {
        match name {
            CursorName::Main => Some(&self.main),
            CursorName::Fill(section) => self.fills.get(&section).map(|fill| &fill.cursor),
        }
    }

    /// Up to which seq rows of a section are held completely: the main cursor's `complete`, or nothing while the section is
    /// being filled or is not held at all (O5, P5, T36).
    pub fn complete_of(&self, section: &Section) -> Option<Seq> {
        (self.sections.contains(section) || planted(Planted::LiftedInFill)).then_some(self.main.complete)
    }

    /// Whether rows may still come with a fill: until then, a row that is not here is not missing.
    pub fn are_filling(&self) -> bool {
        !self.fills.is_empty() || self.sections.is_empty()
    }

    /// Whether rows of a section may be stored now: not before its fill has a durable head (S4, T39).
    pub fn may_store(&self, section: &Section) -> bool {
        self.sections.contains(section)
            || self.fills.get(section).is_some_and(|fill| fill.head.is_some())
            || planted(Planted::StoredBeforeHead)
    }

    /// The number that rows of this section carry while it is refetched; zero otherwise.
    pub fn refetch_of(&self, section: &Section) -> u32 {
        self.fills.get(section).filter(|fill| fill.head.is_some()).map_or(0, |fill| fill.refetch)
    }

    /// Takes a list of the user's sections, named at `head`: what is not listed is gone, what is new is filled. Returns the
    /// sections that are gone.
    pub fn relist(&mut self, listed: &BTreeSet<Section>, head: Seq) -> Vec<Section> {
        let gone: Vec<Section> =
            self.sections.iter().chain(self.fills.keys()).filter(|section| !listed.contains(section)).copied().collect();
        self.sections.retain(|section| listed.contains(section));
        self.fills.retain(|section, _| listed.contains(section));
        for fill in self.fills.values_mut() {
            fill.head.get_or_insert(head);
        }
        for section in listed {
            if !self.sections.contains(section) {
                self.fills.entry(*section).or_insert_with(|| Fill { head: Some(head), ..Fill::default() });
            }
        }
        self.join();
        gone
    }

    /// Moves a cursor. Returns the section whose first scan is now complete: in a refetch, the moment of its sweep.
    pub fn advance(&mut self, advance: Advance) -> Option<(Section, Fill)> {
        let mut filled = None;
        match advance.name {
            CursorName::Main => move_cursor(&mut self.main, advance),
            CursorName::Fill(section) => {
                let fill = self.fills.get_mut(&section)?;
                move_cursor(&mut fill.cursor, advance);
                if advance.complete.is_some() && !fill.done {
                    fill.done = true;
                    filled = Some((section, fill.clone()));
                }
            }
        }
        self.join();
        filled
    }

    /// Marks a complete section for refetching; it has no head until the next Welcome.
    pub fn refetch(&mut self, section: Section, number: u32) {
        if self.sections.remove(&section) || self.fills.contains_key(&section) {
            self.fills.insert(section, Fill { refetch: number, ..Fill::default() });
        }
    }

    /// Filled sections that stand at the head where the main cursor stands become part of it.
    fn join(&mut self) {
        let done: Vec<Section> = self.fills.iter().filter(|(_, fill)| fill.done).map(|(section, _)| *section).collect();
        for section in done {
            let cursor = self.fills[&section].cursor;
            let at_head = cursor.scanned == Position::end_of(cursor.complete);
            if self.sections.is_empty() && at_head {
                self.main = cursor;
            }
            if at_head && self.main == cursor {
                self.fills.remove(&section);
                self.sections.insert(section);
            }
        }
        if self.fills.is_empty() {
            // A map that was emptied keeps room for what was in it, and a server has thousands of these.
            self.fills = BTreeMap::new();
        }
    }

    /// Whether everything listed is complete at `head`.
    pub fn is_caught_up(&self, head: Seq) -> bool {
        self.fills.is_empty() && (self.sections.is_empty() || self.main.complete >= head)
    }
}

fn move_cursor(cursor: &mut Cursor, advance: Advance) {
    cursor.scanned = advance.to;
    if let Some(complete) = advance.complete {
        cursor.complete = complete;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TableTag;

    fn section(table: u16) -> Section {
        Section { table: TableTag(table), scope: None }
    }

    fn end(name: CursorName, seq: u64) -> Advance {
        Advance { name, to: Position::end_of(Seq(seq)), complete: Some(Seq(seq)) }
    }

    #[test]
    fn sections_filled_at_different_heads_join_when_both_stand_at_one() {
        let mut cursors = Cursors::default();
        cursors.relist(&[section(1), section(2)].into(), Seq(5));
        assert!(cursors.advance(end(CursorName::Fill(section(1)), 5)).is_some());
        assert_eq!(cursors.sections, [section(1)].into());
        assert!(cursors.advance(end(CursorName::Fill(section(2)), 8)).is_some());
        assert_eq!(cursors.sections, [section(1)].into());
        cursors.advance(end(CursorName::Main, 8));
        assert_eq!(cursors.sections, [section(1), section(2)].into());
        assert!(cursors.is_caught_up(Seq(8)));
    }

    #[test]
    fn a_scan_that_stops_inside_leaves_complete_where_it_was() {
        let mut cursors = Cursors::default();
        cursors.relist(&[section(1)].into(), Seq(5));
        let to = Position { seq: Seq(3), ordinal: 7 };
        cursors.advance(Advance { name: CursorName::Fill(section(1)), to, complete: None });
        assert_eq!(cursors.scanned(CursorName::Fill(section(1))), Some(to));
        assert_eq!(cursors.complete_of(&section(1)), None);
    }

    #[test]
    fn a_refetch_stores_nothing_before_its_head_is_known() {
        let mut cursors = Cursors::default();
        cursors.relist(&[section(1)].into(), Seq(5));
        cursors.advance(end(CursorName::Fill(section(1)), 5));
        cursors.refetch(section(1), 3);
        assert!(!cursors.may_store(&section(1)));
        cursors.relist(&[section(1)].into(), Seq(9));
        assert!(cursors.may_store(&section(1)));
        assert_eq!(cursors.refetch_of(&section(1)), 3);
    }
}
