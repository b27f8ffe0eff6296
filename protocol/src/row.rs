//! The one row record, and the one function that applies what the server says of a row to what a mirror holds (S2, S3).

use crate::codec::{Decode, Encode};
use crate::ids::{FieldTag, RowId, RowKey, RowNo, Section, Seq, TableTag, Version};
use crate::planted::{Planted, planted};
use crate::schema::Table;
use crate::value::Value;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A value and its stamp: the seq of the commit that last changed it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize)]
pub struct Stamped {
    /// The value.
    pub value: Value,
    /// The commit that last changed it.
    pub stamp: Seq,
}

/// Whether a row is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize)]
pub enum Life {
    /// 0: it is.
    Live,
    /// 1: a tombstone; its last values are kept (C5).
    Deleted,
    /// 2: a tombstone whose values were purged; its identity stays for ever (H5).
    Purged,
}

/// A row as the server's store and a client's mirror hold it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Row {
    /// Its table and id.
    pub key: RowKey,
    /// Its name on the wire.
    pub no: RowNo,
    /// The commit that last changed it. Whoever holds the row holds it completely at this seq.
    pub seq: Seq,
    /// Its place within that commit's feed entries.
    pub ordinal: u32,
    /// How often it was changed, for people.
    pub version: Version,
    /// When it last came into its section: by create, restore or move.
    pub since: Seq,
    /// Whether it is there.
    pub life: Life,
    /// Its values; a field that was never set is absent, which is the same as null.
    pub fields: BTreeMap<FieldTag, Stamped>,
}

static NULL: Value = Value::Null;

impl Row {
    /// The value of a field; null where it is absent.
    pub fn value(&self, field: FieldTag) -> &Value {
        self.fields.get(&field).map_or(&NULL, |stamped| &stamped.value)
    }

    /// The stamp of a field; zero where it was never set.
    pub fn stamp(&self, field: FieldTag) -> Seq {
        self.fields.get(&field).map_or(Seq(0), |stamped| stamped.stamp)
    }

    /// Whether the row is there.
    pub fn is_live(&self) -> bool {
        self.life == Life::Live
    }

    /// The section that the row stands in; a tombstone stands where it was deleted.
    pub fn section(&self, table: &Table) -> Option<Section> {
        table.section(|field| Some(self.value(field).clone()))
    }

    /// Whether `earlier` can be this row as it was before in the same history: whatever is not newer than it is as it was there.
    pub fn follows(&self, earlier: &Row) -> bool {
        let was = |field: &FieldTag| earlier.fields.get(field).filter(|stamped| !stamped.value.is_null());
        let is = |field: &FieldTag| self.fields.get(field).filter(|stamped| !stamped.value.is_null());
        let kept = |field: &FieldTag| self.stamp(*field) > earlier.seq || is(field) == was(field);
        let not_older = self.seq > earlier.seq || (self.seq == earlier.seq && self.life == earlier.life);
        not_older && self.fields.keys().chain(earlier.fields.keys()).all(kept)
    }

    /// What a reader needs who holds the row as it was at `base`: the fields newer than that, or the whole row where it came
    /// into its section later, is a tombstone, or `base` is zero (S1, P5).
    pub fn since_base(&self, base: Seq) -> RowState {
        let whole = (self.since > base && !planted(Planted::SinceIgnored)) || !self.is_live() || base == Seq(0);
        RowState {
            table: self.key.table,
            name: if whole { RowName::Id(self.key.id, self.no) } else { RowName::No(self.no) },
            kind: match self.life {
                Life::Live => StateKind::Live,
                Life::Deleted => StateKind::Deleted,
                Life::Purged => StateKind::Purged,
            },
            whole,
            as_sent: false,
            seq: self.seq,
            version: self.version,
            since: self.since,
            fields: self
                .fields
                .iter()
                .filter(|(_, stamped)| whole || stamped.stamp > base)
                .map(|(field, stamped)| FieldState { field: *field, stamp: stamped.stamp, value: stamped.value.clone() })
                .collect(),
        }
    }
}

/// How a wire record names its row.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Encode, Decode, Serialize, Deserialize)]
pub enum RowName {
    /// 0: by id, telling the number; from a client, by id alone (number 0).
    Id(RowId, RowNo),
    /// 1: by a number that the reader knows.
    No(RowNo),
}

/// What a wire record says of a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StateKind {
    /// 0: it is there.
    Live,
    /// 1: it was deleted.
    Deleted,
    /// 2: it was deleted and its values are purged.
    Purged,
    /// 3: it left the section, for one that this reader may not see (S5).
    Exited,
}

/// A field in a wire record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FieldState {
    /// The field.
    pub field: FieldTag,
    /// The commit that last changed it.
    pub stamp: Seq,
    /// Its value.
    pub value: Value,
}

/// The one wire record of a row, in deltas, results, conflict answers, row answers and refetches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RowState {
    /// The row's table.
    pub table: TableTag,
    /// The row.
    pub name: RowName,
    /// What became of it.
    pub kind: StateKind,
    /// All fields are here; else only those newer than the base that both sides know.
    pub whole: bool,
    /// In a result: a field of the accepted change that is not listed has the value that was sent, and the result's seq as
    /// its stamp, unless the mirror held that value already. Never set after [`crate::outbox::expand_as_sent`].
    pub as_sent: bool,
    /// The commit that last changed the row; for [`StateKind::Exited`] the commit that moved it.
    pub seq: Seq,
    /// Changes counted for people.
    pub version: Version,
    /// When it came into its section.
    pub since: Seq,
    /// Fields by ascending tag.
    pub fields: Vec<FieldState>,
}

/// What applying a record to a mirror row means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Applied {
    /// The mirror now holds this.
    Store(Row),
    /// The row left: the mirror drops it (an entry keeps it beside itself, O10).
    Evict,
    /// It was known already.
    Unchanged,
    /// A part of a row that the mirror does not hold: ask for the whole row, durably (S3).
    Want,
}

/// Applies what the server says of row `key` to what the mirror holds of it. Idempotent and monotone within one history (S3):
/// per field the newer stamp wins, and a record older than the row's stay in its section changes nothing.
pub fn apply(key: RowKey, held: Option<&Row>, state: &RowState) -> Applied {
    match (state.kind, held) {
        (StateKind::Exited, Some(row)) if state.seq > row.since => Applied::Evict,
        (StateKind::Exited, _) => Applied::Unchanged,
        (StateKind::Deleted | StateKind::Purged, None) => Applied::Store(taken(key, None, state)),
        (StateKind::Deleted | StateKind::Purged, Some(row)) => {
            if state.seq > row.since && state.seq >= row.seq {
                // The tombstone of a later life brings all that is left of it; what was purged before it never stays.
                stored(key, row, state, state.kind != StateKind::Purged && state.since <= row.since)
            } else {
                Applied::Unchanged
            }
        }
        (StateKind::Live, None) => entered(key, state),
        (StateKind::Live, Some(row)) if !row.is_live() => {
            if state.since > row.seq {
                entered(key, state)
            } else {
                Applied::Unchanged
            }
        }
        (StateKind::Live, Some(row)) if state.since > row.since => entered(key, state),
        (StateKind::Live, Some(row)) if state.since < row.since => Applied::Unchanged,
        (StateKind::Live, Some(row)) => stored(key, row, state, true),
    }
}

fn entered(key: RowKey, state: &RowState) -> Applied {
    if state.whole || planted(Planted::SinceIgnored) { Applied::Store(taken(key, None, state)) } else { Applied::Want }
}

fn stored(key: RowKey, row: &Row, state: &RowState, keep_fields: bool) -> Applied {
    let row_after = taken(key, keep_fields.then_some(row), state);
    if row_after == *row { Applied::Unchanged } else { Applied::Store(row_after) }
}

/// The row after the record: fields merged by stamp, the rest of the record taken unless it is older than what is held.
fn taken(key: RowKey, held: Option<&Row>, state: &RowState) -> Row {
    let mut fields = held.map(|row| row.fields.clone()).unwrap_or_default();
    for FieldState { field, stamp, value } in &state.fields {
        if fields.get(field).is_none_or(|known| *stamp >= known.stamp) {
            fields.insert(*field, Stamped { value: value.clone(), stamp: *stamp });
        }
    }
    let no = match state.name {
        RowName::Id(_, no) | RowName::No(no) => no,
    };
    match held {
        Some(row) if state.seq < row.seq => Row { fields, ..row.clone() },
        _ => Row {
            key,
            no,
            seq: state.seq,
            ordinal: 0,
            version: state.version,
            since: state.since,
            life: match state.kind {
                StateKind::Live | StateKind::Exited => Life::Live,
                StateKind::Deleted => Life::Deleted,
                StateKind::Purged => Life::Purged,
            },
            fields,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{key, live_row};

    const F: FieldTag = FieldTag(1);
    const G: FieldTag = FieldTag(4);

    fn row(f: (&str, u64), g: (&str, u64)) -> Row {
        live_row(&[(F, Value::text(f.0), f.1), (G, Value::text(g.0), g.1)])
    }

    fn store(held: Option<&Row>, state: &RowState) -> Row {
        match apply(key(), held, state) {
            Applied::Store(row) => row,
            other => panic!("stored was expected, not {other:?}"),
        }
    }

    #[test]
    fn a_row_follows_what_it_was_and_not_what_it_was_in_another_history() {
        let earlier = row(("a", 5), ("b", 20));
        assert!(earlier.follows(&earlier) && row(("c", 25), ("b", 20)).follows(&earlier));
        // Older, equal stamps with other values, and a change at a seq that `earlier` would have had.
        for other in [row(("a", 5), ("b", 9)), row(("x", 5), ("b", 20)), row(("x", 12), ("b", 25))] {
            assert!(!other.follows(&earlier), "{other:?}");
        }
    }

    #[test]
    fn a_part_brings_what_is_newer_than_the_base_and_leaves_the_rest() {
        let held = row(("a", 5), ("b", 5));
        let server = Row { since: Seq(5), ..row(("a", 5), ("c", 9)) };
        let state = server.since_base(Seq(5));
        assert_eq!(state.fields.len(), 1);
        assert_eq!(store(Some(&held), &state).fields, server.fields);
    }

    #[test]
    fn an_older_part_does_not_overwrite_a_newer_one() {
        // T2 (v): a recorded answer comes after newer deltas.
        let held = Row { since: Seq(5), ..row(("new", 9), ("b", 5)) };
        let older = Row { since: Seq(5), ..row(("old", 7), ("b", 5)) }.since_base(Seq(5));
        assert_eq!(apply(key(), Some(&held), &older), Applied::Unchanged);
    }

    #[test]
    fn applying_twice_changes_nothing() {
        let held = row(("a", 5), ("b", 5));
        let state = Row { since: Seq(5), ..row(("x", 8), ("b", 5)) }.since_base(Seq(5));
        let once = store(Some(&held), &state);
        assert_eq!(apply(key(), Some(&once), &state), Applied::Unchanged);
    }

    #[test]
    fn a_part_of_a_row_that_is_not_held_is_never_stored() {
        let state = Row { since: Seq(3), ..row(("a", 5), ("c", 9)) }.since_base(Seq(5));
        assert!(!state.whole);
        assert_eq!(apply(key(), None, &state), Applied::Want);
    }

    #[test]
    fn a_row_that_came_back_since_is_taken_whole_and_not_mixed_with_its_tombstone() {
        let tombstone = Row { life: Life::Deleted, seq: Seq(9), ..row(("a", 5), ("gone", 8)) };
        let mut restored = Row { since: Seq(12), seq: Seq(12), ..row(("a", 5), ("b", 5)) };
        restored.fields.remove(&G);
        let state = restored.since_base(Seq(9));
        assert!(state.whole);
        assert_eq!(store(Some(&tombstone), &state).fields, restored.fields);
    }

    #[test]
    fn a_live_row_older_than_its_tombstone_does_not_come_back() {
        let tombstone = Row { life: Life::Deleted, seq: Seq(9), ..row(("a", 5), ("b", 5)) };
        let late = row(("a", 5), ("b", 8)).since_base(Seq(0));
        assert_eq!(apply(key(), Some(&tombstone), &late), Applied::Unchanged);
    }

    #[test]
    fn a_tombstone_of_a_row_that_is_not_held_is_stored() {
        let tombstone = Row { life: Life::Deleted, seq: Seq(9), ..row(("a", 5), ("b", 5)) };
        assert!(!store(None, &tombstone.since_base(Seq(0))).is_live());
    }

    #[test]
    fn a_marker_or_tombstone_older_than_the_stay_of_the_row_is_ignored() {
        // T9 (iii): the row moved back in after the marker was left.
        let held = Row { since: Seq(12), seq: Seq(12), ..row(("a", 12), ("b", 12)) };
        let exit = RowState { kind: StateKind::Exited, fields: Vec::new(), seq: Seq(10), ..held.since_base(Seq(0)) };
        assert_eq!(apply(key(), Some(&held), &exit), Applied::Unchanged);
        assert_eq!(apply(key(), Some(&held), &RowState { seq: Seq(13), ..exit }), Applied::Evict);
        let tombstone = Row { life: Life::Deleted, seq: Seq(11), since: Seq(5), ..held.clone() };
        assert_eq!(apply(key(), Some(&held), &tombstone.since_base(Seq(0))), Applied::Unchanged);
    }

    #[test]
    fn purging_drops_the_values_and_keeps_the_identity() {
        let held = row(("a", 5), ("b", 5));
        let mut purged = Row { life: Life::Purged, seq: Seq(9), ..held.clone() };
        purged.fields.clear();
        let after = store(Some(&held), &purged.since_base(Seq(5)));
        assert!(after.fields.is_empty() && after.life == Life::Purged);
    }

    #[test]
    fn the_tombstone_of_a_later_life_brings_nothing_of_an_earlier_one_back() {
        // Found by a law: purged, restored with one field and deleted again, while this reader was away.
        let held = row(("a", 5), ("purged", 5));
        let mut tombstone = Row { life: Life::Deleted, seq: Seq(20), since: Seq(15), ..row(("b", 15), ("-", 15)) };
        tombstone.fields.remove(&G);
        assert_eq!(store(Some(&held), &tombstone.since_base(Seq(5))).fields, tombstone.fields);
    }
}
