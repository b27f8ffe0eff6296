//! The outbox's algebra: entries, how local writes gather in them, what is frozen, what an answer removes (section 3).
//!
//! An [`Entry`] holds the unconfirmed changes of one row: what is *sent* (frozen in a push that has no answer yet) and what
//! came *next*. Everything here is a pure function of entry and mirror row; conflicts are computed, never stored.

mod conflict;
mod freeze;
mod resolve;
mod settle;
mod squash;
#[cfg(test)]
mod tests;
mod write;

pub use conflict::{Conflict, ConflictKind, conflict};
pub use freeze::{change_of, lift};
pub use resolve::{Choice, Resolution, ResolveError, resolve};
pub use settle::{Settled, expand_as_sent, expected, settle, under_newer};
pub use squash::squash;
pub use write::{Seen, Write, WriteError, shown, write};

use crate::change::{LostValue, Op, Refusal};
use crate::ids::{FieldTag, Generation, GroupId, PushNo, RowId, RowKey, Seq};
use crate::row::Row;
use crate::value::Value;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A touched field of a pending change.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Edit {
    /// What it becomes.
    pub value: Value,
    /// The value that the person saw, an own one that was pending included; `None` where only the stamp is known.
    pub base_value: Option<Value>,
    /// The seq up to which the person had seen the field (O2).
    pub base: Seq,
}

/// Whether a pending change was ever sent, in this life of the store or an earlier one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub enum SentBefore {
    /// It never left.
    #[default]
    Never,
    /// It was frozen, and thawed without an answer that settles it.
    Frozen,
    /// It was acknowledged and then lost by the server (H4); a deletion is asked again.
    Acknowledged,
}

/// Why a pending change waits for a person.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Review {
    /// The server refused it.
    Refused(Refusal),
    /// Another row has the value of a unique field.
    Clash {
        /// The field.
        field: FieldTag,
        /// The other row, if the user may see it.
        with: Option<RowId>,
    },
    /// The row left what the user may see; it is ready again if the row comes back (section 9).
    Left,
    /// Offered again after a restore whose operator said *ask* (H4).
    Offered,
}

/// A pending change of one row.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pending {
    /// What it does.
    pub op: Op,
    /// The row's seq that the person saw; decides deletes, restores and strict tables (O4).
    pub row_base: Seq,
    /// The touched fields, with all members of touched groups. A delete keeps here what it swallowed (O3).
    pub fields: BTreeMap<FieldTag, Edit>,
    /// Values that lost in decisions, to be kept in the history.
    pub lost: Vec<LostValue>,
    /// When the newest edit was made, in milliseconds since 1970 by the device's clock.
    pub edited_at_ms: i64,
    /// Its group, admitted whole or not at all (O7).
    pub group: Option<GroupId>,
    /// Why it waits for a person; `None` when it does not.
    pub review: Option<Review>,
    /// Times that it came back with a provisional conflict in the present sync (C6).
    pub rounds: u8,
    /// Whether it was sent before.
    pub sent_before: SentBefore,
}

/// What is frozen in a push and has no answer yet. It never changes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sent {
    /// The push.
    pub number: PushNo,
    /// The generation that was frozen.
    pub generation: Generation,
    /// The seq from which the answer brings the row (P5).
    pub view_base: Seq,
    /// The change.
    pub pending: Pending,
}

/// The unconfirmed changes of one row; at most one entry for each row.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// The row.
    pub key: RowKey,
    /// Raised by every local write.
    pub generation: Generation,
    /// In flight.
    pub sent: Option<Sent>,
    /// Edited again meanwhile, or not sent yet.
    pub next: Option<Pending>,
    /// The last full row, where the mirror lost it (O10).
    pub kept: Option<Row>,
    /// The schema under which it was begun, by the seq of its commit: what the server writes for fields that came later
    /// depends on it (H7).
    pub schema: Seq,
}

impl Pending {
    /// An empty change.
    pub fn new(op: Op, row_base: Seq, edited_at_ms: i64) -> Self {
        Self {
            op,
            row_base,
            fields: BTreeMap::new(),
            lost: Vec::new(),
            edited_at_ms,
            group: None,
            review: None,
            rounds: 0,
            sent_before: SentBefore::Never,
        }
    }

    /// Whether it does the same, on whatever base.
    pub fn does_the_same(&self, other: &Self) -> bool {
        let same = |one: (&FieldTag, &Edit), other: (&FieldTag, &Edit)| (one.0, &one.1.value) == (other.0, &other.1.value);
        let fields = self.fields.iter().zip(&other.fields).all(|(one, other)| same(one, other));
        self.op == other.op && self.fields.len() == other.fields.len() && fields
    }

    /// Whether a delete swallowed a create of which no device saw that it was accepted: nothing in it has a base.
    fn swallowed_create(&self) -> bool {
        self.row_base == Seq(0) && self.swallowed_new_row()
    }

    /// Whether a delete swallowed a create, also one that goes again: there was a row once, but its fields have no base.
    fn swallowed_new_row(&self) -> bool {
        let without_base = |edit: &Edit| edit.base_value.is_none() && edit.base == Seq(0);
        !self.fields.is_empty() && self.fields.values().all(without_base)
    }

    /// What is left of a change that comes to nothing: the values that lost in a decision before it still go into the history.
    fn decision_alone(self) -> Option<Self> {
        Self { op: Op::Decide, fields: BTreeMap::new(), ..self }.tidied()
    }

    /// What is left of a change that a person gives up without a question about its own values: those that lost in a decision
    /// before it (T31). Of a new row nothing is left: there is no row to record them with.
    pub fn given_up(self) -> Option<Self> {
        let is_new = self.op == Op::Create;
        Self { group: None, review: None, rounds: 0, ..self }.decision_alone().filter(|_| !is_new)
    }

    /// What is left when there is neither field nor decision in an update: nothing; with a decision alone: a decide.
    fn tidied(mut self) -> Option<Self> {
        if self.op == Op::Update && self.fields.is_empty() {
            self.op = Op::Decide;
        }
        (self.op != Op::Decide || !self.lost.is_empty()).then_some(self)
    }
}

impl Entry {
    /// An entry without changes, begun under a schema.
    pub fn new(key: RowKey, schema: Seq) -> Self {
        Self { key, generation: Generation(0), sent: None, next: None, kept: None, schema }
    }

    /// Whether nothing is left in it.
    pub fn is_empty(&self) -> bool {
        self.sent.is_none() && self.next.is_none()
    }

    /// The pending layers in the order in which they were made.
    pub fn layers(&self) -> impl Iterator<Item = &Pending> {
        self.sent.iter().map(|sent| &sent.pending).chain(&self.next)
    }
}
