//! Changes, pushes, verdicts and refusals: what a client proposes and what the server says of it.

use crate::codec::{Decode, Encode};
use crate::ids::{FieldTag, Hash16, PushNo, RowId, RowKey, Seq};
use crate::schema::FieldProblem;
use crate::value::Value;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What a change does to its row.
// Append-only; the order is the number on the wire, in stores and in hashes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Encode, Decode, Serialize, Deserialize)]
pub enum Op {
    /// 0: makes the row.
    Create,
    /// 1: sets the touched fields.
    Update,
    /// 2: deletes the row.
    Delete,
    /// 3: brings a deleted row back, with its last values and the touched fields (C5).
    Restore,
    /// 4: keeps the server's values and carries the ones that lost; always accepted, changes no row.
    Decide,
}

/// A touched field of a change.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize)]
pub struct FieldChange {
    /// The field.
    pub field: FieldTag,
    /// What it becomes.
    pub value: Value,
    /// The base seq: the server's stamp of the field was not newer than this when the person saw it.
    pub base: Seq,
}

/// A value that lost in a decision; kept in the commit, changes no stamp and enters no feed (T31).
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize)]
pub struct LostValue {
    /// The field.
    pub field: FieldTag,
    /// The value that was not taken.
    pub value: Value,
}

/// A proposed change of one row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// The row.
    pub key: RowKey,
    /// What is done to it.
    pub op: Op,
    /// For a delete, a restore and any change in a strict table: the row's seq that the person saw (O4, C3).
    pub row_base: Seq,
    /// The seq up to which the client holds the row: the result brings what is newer; zero asks for the whole row (P5).
    pub view_base: Seq,
    /// The touched fields by ascending tag; all members of a touched group (C2).
    pub fields: Vec<FieldChange>,
    /// Values that lost in a decision.
    pub lost: Vec<LostValue>,
    /// The group within the push: changes with the same number are admitted together or not at all (O7).
    pub group: Option<u16>,
    /// When the person made it, in milliseconds since 1970 by the device's clock; shown, never compared (H8).
    pub edited_at_ms: i64,
}

/// A push: a frozen batch of changes (P1). Changes stand in the order in which they depend on each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Push {
    /// Its number at this device.
    pub number: PushNo,
    /// Its chained hash.
    pub hash: Hash16,
    /// The schema that it was written under, by the seq of the schema's commit (H7).
    pub schema: Seq,
    /// What it proposes.
    pub changes: Vec<Change>,
}

impl Push {
    /// The push hash: BLAKE3 over a canonical form that is independent of row numbers and encodings, chained over the hash of
    /// the device's previous push (P1, T11). The client computes it once, when it freezes; the server from what it received.
    pub fn compute_hash(&self, previous: Hash16) -> Hash16 {
        let mut form = vec![1u8];
        form.extend(previous.0);
        form.extend(self.number.0.to_le_bytes());
        form.extend(self.schema.0.to_le_bytes());
        form.extend((self.changes.len() as u64).to_le_bytes());
        for change in &self.changes {
            change.canonical(&mut form);
        }
        crate::hash::short(&form)
    }
}

impl Change {
    /// Appends the canonical form, of which push hashes and sizes are taken.
    pub fn canonical(&self, out: &mut Vec<u8>) {
        out.extend(self.key.table.0.to_le_bytes());
        out.extend(self.key.id.bytes());
        out.push(self.op as u8);
        out.extend(self.row_base.0.to_le_bytes());
        out.extend(self.view_base.0.to_le_bytes());
        out.extend(self.group.map_or(u32::MAX, u32::from).to_le_bytes());
        out.extend(self.edited_at_ms.to_le_bytes());
        out.extend((self.fields.len() as u32).to_le_bytes());
        for FieldChange { field, value, base } in &self.fields {
            out.extend(field.0.to_le_bytes());
            out.extend(base.0.to_le_bytes());
            value.canonical(out);
        }
        out.extend((self.lost.len() as u32).to_le_bytes());
        for LostValue { field, value } in &self.lost {
            out.extend(field.0.to_le_bytes());
            value.canonical(out);
        }
    }

    /// Size of the canonical form in bytes.
    pub fn canonical_len(&self) -> usize {
        let fields: usize = self.fields.iter().map(|f| 10 + f.value.canonical_len()).sum();
        let lost: usize = self.lost.iter().map(|l| 2 + l.value.canonical_len()).sum();
        2 + 16 + 1 + 8 + 8 + 4 + 8 + 4 + fields + 4 + lost
    }
}

/// What the server says of one change.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize)]
pub enum Verdict {
    /// 0: it is in the log; `merged` where others had changed the row since the base.
    Accepted {
        /// Others had changed the row since the base.
        merged: bool,
    },
    /// 1: the row already was as asked.
    Agreed,
    /// 2: others changed the same; provisional, the client decides again with base values (C6).
    Conflict,
    /// 3: another live row has the value of a unique field.
    Clash {
        /// The unique field.
        field: FieldTag,
        /// The row that has the value, if the user may see it; its state comes with the result.
        with: Option<RowId>,
    },
    /// 4: an honest no; kept at the client with its reason.
    Refused(Refusal),
    /// 5: waits for another change that did not go through: a member of its group, or a row that it refers to.
    Held {
        /// The row that holds it.
        by: RowKey,
    },
}

/// Why a change is refused. Worded for the person who made it.
#[derive(Clone, PartialEq, Eq, Debug, Error, Encode, Decode, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Refusal {
    /// 0: also said of rows that the user may not see, and of purged ones (T22).
    #[error("the server does not know this row")]
    UnknownRow,
    /// 1
    #[error("the server does not know this table")]
    UnknownTable,
    /// 2
    #[error("the server does not know field number {field}")]
    UnknownField {
        /// The tag.
        field: FieldTag,
    },
    /// 3
    #[error("{problem}")]
    Field {
        /// The field.
        field: FieldTag,
        /// What is wrong with its value.
        problem: FieldProblem,
    },
    /// 4
    #[error("the row that it refers to is not there")]
    MissingParent {
        /// The reference.
        field: FieldTag,
        /// The row referred to.
        parent: RowId,
    },
    /// 5
    #[error("other rows still refer to it")]
    Referenced {
        /// One of them, if the user may see it.
        by: Option<RowKey>,
    },
    /// 6
    #[error("you do not have the right to write this")]
    NoRight,
    /// 7
    #[error("the row would be larger than 64 KiB")]
    RowTooLarge,
    /// 8: a defect; recorded, so that the queue goes on (P6).
    #[error("the server could not decide this change because of a defect; tell your administrator")]
    Defect,
    /// 9: the push was voided and this change failed alone (P6).
    #[error("the server could not be given this change; tell your administrator")]
    Undeliverable,
    /// 10: a new row of the scope table, where every section of a user with all rights must fit into one list.
    #[error("there cannot be more than {most} of these, deleted ones included; tell your administrator")]
    TooManyScopes {
        /// How many there may be, under the present schema.
        most: u32,
    },
}

/// What an accepted change did to its row, as the log records it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize)]
pub struct Effect {
    /// The row.
    pub key: RowKey,
    /// Create, update, delete or restore.
    pub op: Op,
    /// The fields that changed, by ascending tag.
    pub fields: Vec<(FieldTag, Value)>,
}

/// Verdicts of a push as runs of equal ones: most pushes need one.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode, Serialize, Deserialize)]
pub struct VerdictRuns(pub Vec<(Verdict, u32)>);

impl VerdictRuns {
    /// The runs of these verdicts.
    pub fn of(verdicts: impl IntoIterator<Item = Verdict>) -> Self {
        let mut runs: Vec<(Verdict, u32)> = Vec::new();
        for verdict in verdicts {
            match runs.last_mut() {
                Some((last, count)) if *last == verdict => *count += 1,
                _ => runs.push((verdict, 1)),
            }
        }
        Self(runs)
    }

    /// How many verdicts there are; saturating, so that a hostile count is only a wrong count.
    pub fn len(&self) -> usize {
        self.0.iter().fold(0usize, |sum, (_, count)| sum.saturating_add(*count as usize))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The verdicts, one by one. Check [`Self::len`] first where the runs came from a peer.
    pub fn iter(&self) -> impl Iterator<Item = &Verdict> {
        self.0.iter().flat_map(|(verdict, count)| std::iter::repeat_n(verdict, *count as usize))
    }
}

/// Places in a push, ascending, as runs: how many are left out, how many follow each other, and so on.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct PlaceRuns(pub Vec<(u32, u32)>);

impl PlaceRuns {
    /// The runs of these places, which must ascend.
    pub fn of(places: impl IntoIterator<Item = usize>) -> Self {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        let mut end = 0;
        for place in places {
            let place = u32::try_from(place).unwrap_or(u32::MAX);
            match runs.last_mut() {
                Some((_, count)) if place == end => *count += 1,
                _ => runs.push((place.saturating_sub(end), 1)),
            }
            end = place.saturating_add(1);
        }
        Self(runs)
    }

    /// Where the last run ends; saturating, so that a hostile count is only a wrong count.
    pub fn end(&self) -> usize {
        self.0
            .iter()
            .fold(0usize, |end, (skipped, count)| end.saturating_add(*skipped as usize).saturating_add(*count as usize))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The places, one by one. Check [`Self::end`] first where the runs came from a peer.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        let starts = self.0.iter().scan(0, |end, (skipped, count)| {
            let start = *end + *skipped as usize;
            *end = start + *count as usize;
            Some(start..*end)
        });
        starts.flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TableTag;

    fn change() -> Change {
        Change {
            key: RowKey { table: TableTag(2), id: RowId::from_bytes([7; 16]) },
            op: Op::Update,
            row_base: Seq(3),
            view_base: Seq(4),
            fields: vec![FieldChange { field: FieldTag(1), value: Value::text("a"), base: Seq(4) }],
            lost: vec![LostValue { field: FieldTag(2), value: Value::Int(1) }],
            group: Some(1),
            edited_at_ms: 5,
        }
    }

    #[test]
    fn the_canonical_form_has_the_length_that_is_promised() {
        let mut bytes = Vec::new();
        change().canonical(&mut bytes);
        assert_eq!(bytes.len(), change().canonical_len());
    }

    #[test]
    fn the_push_hash_covers_the_previous_push_and_every_part() {
        let push = Push { number: PushNo(2), hash: Hash16::default(), schema: Seq(2), changes: vec![change()] };
        let hash = push.compute_hash(Hash16([1; 16]));
        assert_ne!(hash, push.compute_hash(Hash16([2; 16])));
        let mut other = push.clone();
        other.changes[0].edited_at_ms += 1;
        assert_ne!(hash, other.compute_hash(Hash16([1; 16])));
        other = push.clone();
        other.changes[0].lost.clear();
        assert_ne!(hash, other.compute_hash(Hash16([1; 16])));
    }

    #[test]
    fn verdicts_become_runs_and_come_back() {
        let verdicts = vec![Verdict::Agreed, Verdict::Agreed, Verdict::Conflict, Verdict::Agreed];
        let runs = VerdictRuns::of(verdicts.clone());
        assert_eq!(runs.0.len(), 3);
        assert_eq!(runs.iter().cloned().collect::<Vec<_>>(), verdicts);
    }
    #[test]
    fn places_become_runs_and_come_back() {
        for places in [vec![], vec![0, 1, 2], vec![3], vec![0, 2, 3, 249]] {
            let runs = PlaceRuns::of(places.clone());
            assert_eq!(runs.iter().collect::<Vec<_>>(), places);
            assert_eq!(runs.end(), places.last().map_or(0, |last| last + 1));
        }
        assert_eq!(PlaceRuns::of([0, 2, 3]), PlaceRuns(vec![(0, 1), (1, 2)]));
        assert_eq!(PlaceRuns(vec![(u32::MAX, u32::MAX); 3]).end(), 6 * u32::MAX as usize);
    }
}
