//! From the wire and to it: row numbers resolved, answers kept within what a frame may hold.

use crate::access::Rights;
use crate::feed::Load;
use crate::snapshot::{AuthorList, Identity, Snapshot};
use crate::store::StoreError;
use crate::workspace::Job;
use std::collections::BTreeSet;
use tombolo_protocol::batch::{RowBatch, WireChange};
use tombolo_protocol::change::{Change, Push};
use tombolo_protocol::codec;
use tombolo_protocol::hash::Told;
use tombolo_protocol::ids::{Hash16, PushNo, RowKey, Seq, TableTag};
use tombolo_protocol::limits::{CHUNK_BYTES_MAX, PUSH_BYTES_REFUSED, PUSH_CHANGES_MAX};
use tombolo_protocol::message::{Down, History, Outcome, PushMessage, WantedRow};
use tombolo_protocol::row::{RowName, RowState};

pub(super) fn push_job(identity: Identity, push: Push) -> Job {
    Job::Push { device: identity.device, user: identity.user, push }
}

pub(super) fn void_job(identity: Identity, number: PushNo, hash: Hash16) -> Job {
    Job::Void { device: identity.device, user: identity.user, number, hash }
}

/// A push with its rows named by id; `Err` is what the client did wrong.
///
/// A number is looked up among all rows, also those that left what the user may see: the push hash covers ids, so that without
/// the id it could not be checked, and a client may have frozen the change before the row left. Nothing is told by it: the
/// verdict on a row that may not be seen is that of an unknown one, and who guesses numbers does not know the id that makes the
/// hash right.
pub(super) fn resolve(message: PushMessage, snapshot: &Snapshot) -> Result<Result<Push, &'static str>, StoreError> {
    let PushMessage { number, hash, schema, changes } = message;
    if changes.0.len() > PUSH_CHANGES_MAX {
        return Ok(Err("a push with too many changes"));
    }
    let mut resolved = Vec::with_capacity(changes.0.len());
    let mut keys = BTreeSet::new();
    for change in changes.0 {
        let Some(key) = key_of(change.table, change.name, snapshot)? else {
            return Ok(Err("a push that is not what its hash says"));
        };
        if !keys.insert(key) {
            return Ok(Err("a push that names a row twice"));
        }
        if !change.fields.is_sorted_by(|one, next| one.field < next.field) {
            return Ok(Err("a change whose fields are out of order"));
        }
        // A base that is not in the log claims to have seen what nobody wrote yet.
        let bases = change.fields.iter().map(|field| field.base).chain([change.row_base, change.view_base]);
        if bases.max() > Some(snapshot.head().seq) {
            return Ok(Err("a base above the log"));
        }
        resolved.push(with_key(change, key));
    }
    let bytes: usize = resolved.iter().map(Change::canonical_len).sum();
    if bytes > PUSH_BYTES_REFUSED {
        return Ok(Err("a push with too many bytes"));
    }
    Ok(Ok(Push { number, hash, schema, changes: resolved }))
}

fn key_of(table: TableTag, name: RowName, snapshot: &Snapshot) -> Result<Option<RowKey>, StoreError> {
    match name {
        RowName::Id(id, _) => Ok(Some(RowKey { table, id })),
        RowName::No(number) => {
            let row = snapshot.row_numbered(number)?;
            Ok(row.map(|row| row.key).filter(|key| key.table == table))
        }
    }
}

fn with_key(change: WireChange, key: RowKey) -> Change {
    Change {
        key,
        op: change.op,
        row_base: change.row_base,
        view_base: change.view_base,
        fields: change.fields,
        lost: change.lost,
        group: change.group,
        edited_at_ms: change.edited_at_ms,
    }
}

/// Rows that a client wants whole, in as many messages as they need. Unknown, invisible and purged are one and the same: not
/// among the rows (T22).
pub(super) fn wanted_rows(
    wanted: &[WantedRow],
    rights: &Rights,
    snapshot: &Snapshot,
    told: &mut Told,
    most: usize,
) -> Result<Vec<Down>, StoreError> {
    let mut messages = Vec::new();
    let mut part = Part::default();
    for want in wanted {
        let key = key_of(want.table, want.name, snapshot)?;
        let row = key.map(|key| snapshot.visible(rights, &key)).transpose()?.flatten();
        if let Some(row) = row
            && let Some(full) = part.add(row.since_base(Seq(0)), most)
        {
            messages.push(full.message(snapshot, told)?);
        }
        part.asked.push(*want);
    }
    messages.push(part.message(snapshot, told)?);
    Ok(messages)
}

/// One message of rows.
#[derive(Default)]
struct Part {
    rows: Vec<RowState>,
    asked: Vec<WantedRow>,
    load: Load,
}

impl Part {
    /// Takes a row. Where it does not fit any more the part begins anew, and what it was is given back.
    fn add(&mut self, row: RowState, most: usize) -> Option<Self> {
        let mut full = None;
        if !self.load.try_add([&row], most) {
            full = Some(std::mem::take(self)).filter(|full| !full.rows.is_empty());
            self.load.try_add([&row], usize::MAX);
        }
        self.rows.push(row);
        full
    }

    fn message(self, snapshot: &Snapshot, told: &mut Told) -> Result<Down, StoreError> {
        let authors = AuthorList::of(&self.rows).read(snapshot)?;
        let snapshot = told.tell_snapshot(snapshot.head());
        Ok(Down::Rows { snapshot, rows: RowBatch(self.rows), asked: self.asked, authors })
    }
}

/// What an outcome takes besides its rows.
pub(super) fn verdict_bytes(outcome: &Outcome) -> usize {
    outcome.verdicts.as_ref().map_or(0, |verdicts| codec::encode(verdicts).len())
}

/// The messages of a result. What one frame cannot hold goes ahead of it: the rows whole, so that they stand for themselves
/// until the result settles the entries, in which it does not name them (P5).
pub(super) fn result(outcome: Outcome, snapshot: &Snapshot, told: &mut Told, most: usize) -> Result<Vec<Down>, StoreError> {
    let mut load = Load::default();
    load.reserve(verdict_bytes(&outcome));
    let mut messages = Vec::new();
    let mut ahead = Part::default();
    let mut staying = Vec::new();
    let Outcome { rows: RowBatch(rows), .. } = outcome;
    for row in rows {
        if load.try_add([&row], most) {
            staying.push(row);
            continue;
        }
        if let Some(full) = ahead.add(whole(row, snapshot)?, most) {
            messages.push(full.message(snapshot, told)?);
        }
    }
    if !ahead.rows.is_empty() {
        messages.push(ahead.message(snapshot, told)?);
    }
    let outcome = Box::new(Outcome { rows: RowBatch(staying), ..outcome });
    let authors = AuthorList::of_outcomes([&*outcome]).read(snapshot)?;
    told.tell_snapshot(snapshot.head());
    let snapshot = Some(snapshot.head()).filter(|head| *head != outcome.commit);
    messages.push(Down::Result { snapshot, outcome, authors });
    Ok(messages)
}

/// The same row, all of it.
fn whole(row: RowState, snapshot: &Snapshot) -> Result<RowState, StoreError> {
    let number = match row.name {
        RowName::Id(_, number) | RowName::No(number) => number,
    };
    let row = snapshot.row_numbered(number)?;
    let row = row.ok_or_else(|| StoreError::damaged(format!("an outcome names row {number}, which is not there")))?;
    Ok(row.since_base(Seq(0)))
}

/// As much of a history as a frame may hold, newest first.
pub(super) fn bounded_history(mut history: History) -> History {
    let mut bytes = 0;
    let fits = history.entries.iter().take_while(|entry| {
        let fields: usize =
            entry.fields.iter().map(|field| 4 + field.before.canonical_len() + field.after.canonical_len()).sum();
        let lost: usize = entry.lost.iter().map(|(_, value)| 4 + value.canonical_len()).sum();
        bytes += 96 + entry.by.len() + fields + lost;
        bytes <= CHUNK_BYTES_MAX
    });
    let count = fits.count();
    history.more |= count < history.entries.len();
    history.entries.truncate(count);
    history
}
