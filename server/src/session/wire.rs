//! From the wire and to it: row numbers resolved, answers kept within what a frame may hold.

use crate::access::Rights;
use crate::feed::estimate;
use crate::snapshot::{AuthorList, Identity, Snapshot};
use crate::store::StoreError;
use crate::workspace::Job;
use std::collections::BTreeSet;
use tombolo_protocol::batch::{RowBatch, WireChange};
use tombolo_protocol::change::{Change, Push};
use tombolo_protocol::ids::{Hash16, Mark, PushNo, RowKey, Seq, TableTag};
use tombolo_protocol::limits::{CHUNK_BYTES_MAX, PUSH_BYTES_REFUSED, PUSH_CHANGES_MAX};
use tombolo_protocol::message::{Authors, Down, History, Outcome, PushMessage, WantedRow};
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
pub(super) fn wanted_rows(wanted: &[WantedRow], rights: &Rights, snapshot: &Snapshot) -> Result<Vec<Down>, StoreError> {
    let mut messages = Vec::new();
    let mut part = Part::default();
    for want in wanted {
        let key = key_of(want.table, want.name, snapshot)?;
        let row = key.map(|key| snapshot.visible(rights, &key)).transpose()?.flatten();
        let state = row.map(|row| row.since_base(Seq(0)));
        let bytes = state.as_ref().map_or(0, estimate);
        if part.bytes + bytes > CHUNK_BYTES_MAX && !part.asked.is_empty() {
            messages.push(std::mem::take(&mut part).message(snapshot)?);
        }
        part.bytes += bytes;
        part.rows.extend(state);
        part.asked.push(*want);
    }
    messages.push(part.message(snapshot)?);
    Ok(messages)
}

#[derive(Default)]
struct Part {
    rows: Vec<RowState>,
    asked: Vec<WantedRow>,
    bytes: usize,
}

impl Part {
    fn message(self, snapshot: &Snapshot) -> Result<Down, StoreError> {
        let mut authors = AuthorList::default();
        self.rows.iter().for_each(|row| authors.note(row));
        let authors = authors.read(snapshot)?;
        Ok(Down::Rows { snapshot: snapshot.head(), rows: RowBatch(self.rows), asked: self.asked, authors })
    }
}

/// Rows that come without being asked for, ahead of a result that could not hold them.
pub(super) fn unasked_rows(snapshot: Mark, rows: Vec<RowState>) -> Down {
    Down::Rows { snapshot, rows: RowBatch(rows), asked: Vec::new(), authors: Authors::default() }
}

/// Takes whole rows out of an outcome until it fits into a frame; they go ahead of it. Rows of accepted and agreed changes stay
/// as long as there are others, since what they bring decides the base of edits made meanwhile (O6).
pub(super) fn split_outcome(mut outcome: Outcome) -> (Vec<Vec<RowState>>, Outcome) {
    let mut bytes: usize = outcome.rows.0.iter().map(estimate).sum();
    if bytes <= CHUNK_BYTES_MAX {
        return (Vec::new(), outcome);
    }
    let mut early: Vec<Vec<RowState>> = Vec::new();
    let mut early_bytes = 0;
    let rows = std::mem::take(&mut outcome.rows.0);
    let (first, last): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.whole && !row.as_sent);
    for row in first {
        if bytes <= CHUNK_BYTES_MAX {
            outcome.rows.0.push(row);
            continue;
        }
        let size = estimate(&row);
        bytes -= size;
        if early.is_empty() || early_bytes + size > CHUNK_BYTES_MAX {
            early.push(Vec::new());
            early_bytes = 0;
        }
        early_bytes += size;
        early.last_mut().expect("one was pushed above where there was none").push(row);
    }
    outcome.rows.0.extend(last);
    (early, outcome)
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
