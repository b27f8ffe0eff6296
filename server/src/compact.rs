//! Compaction of the log: what a verified base stands for need not be kept commit by commit (H5).
//!
//! [`prepare`] verifies the whole store, and in the course of it makes the base: everything that is folded, as it was at the new
//! horizon. That takes long and needs the writer for nothing. Then the writer does [`crate::workspace::Job::Compact`] in one
//! durable write: it logs a checkpoint that names the horizon and the base's hash, puts the base in place of the last one, and
//! drops the contents of the commits up to the horizon. Their hashes stay for ever, and so do rows, identities, tombstones,
//! schemas and records of pushes: no reader goes back to what is dropped, but for the history of a row, which then begins at the
//! horizon, and for the recorded answer to a push. The last pushes of each device therefore stay, as many as a client may wait
//! for at once.

use crate::store::read::Read;
use crate::store::records::{Device, RecordedPush};
use crate::store::tables::{ReadTables, Tables, WriteTables};
use crate::store::{Store, StoreError, base};
use crate::verify::{Progress, Report, VerifyError, verify_with};
use crate::workspace::SERVER_DEVICE;
use redb::ReadableTable;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use thiserror::Error;
use tombolo_protocol::codec;
use tombolo_protocol::commit::CommitBody;
use tombolo_protocol::hash::CommitHash;
use tombolo_protocol::ids::{DeviceId, Seq};
use tombolo_protocol::limits::PUSH_WINDOW_MAX;
use tombolo_protocol::planted::{Planted, planted};

/// A base that was made and waits for the writer.
#[derive(Clone, Debug)]
pub struct Base {
    /// The last commit that it stands for, and its hash.
    pub(crate) horizon: (Seq, CommitHash),
    pub(crate) hash: [u8; 32],
    /// The commit of the compaction that it follows; zero where there is none.
    pub(crate) follows: Seq,
    /// Where its chunks are.
    pub(crate) scratch: Store,
}

impl PartialEq for Base {
    fn eq(&self, other: &Self) -> bool {
        (self.horizon, self.hash, self.follows) == (other.horizon, other.hash, other.follows)
    }
}

/// What came of a preparation.
#[derive(Debug)]
#[non_exhaustive]
pub enum Prepared {
    /// The base is made.
    Base(Base),
    /// No commit up to there has a content that could be put away.
    Nothing,
    /// The store is not sound. Nothing of it may be put away: the contents are what it could be mended from.
    Unsound(Report),
}

/// What a compaction did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Compacted {
    /// Its commit.
    pub seq: Seq,
    /// The last commit that the base stands for.
    pub horizon: Seq,
    /// Commits whose contents were put away.
    pub dropped: u64,
    /// Commits up to the horizon whose contents stay.
    pub kept: u64,
}

/// Why a compaction was not done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum CompactError {
    /// The base does not fit any more.
    #[error("the log was compacted by somebody else meanwhile, and nothing more was done: look, and try again if it is needed")]
    Meanwhile,
    /// The base is not read again as it was made.
    #[error(
        "the copy that was made beside the data cannot be read again, so nothing was put away and the data is as it was: the disk \
         may be failing; try again, and look at the disk if this comes back"
    )]
    Scratch,
}

/// Verifies a store and makes the base for its commits up to `horizon` in `scratch`, an empty store.
///
/// # Errors
/// [`VerifyError`].
pub fn prepare(
    store: &Store,
    scratch: &Store,
    horizon: Seq,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Prepared, VerifyError> {
    let tables = store.read()?;
    let horizon = horizon.min(tables.meta_record()?.ok_or(StoreError::NotInitialised)?.head);
    let follows = tables.newest_checkpoint()?;
    if !is_worth_it(&tables, follows.map(|(_, checkpoint)| checkpoint.horizon).unwrap_or_default(), horizon)? {
        return Ok(Prepared::Nothing);
    }
    let hash_at = tables.hash_of(horizon)?.ok_or_else(|| StoreError::damaged(format!("commit {horizon} has no mark")))?;
    drop(tables);
    let mut hash = None;
    let mut make = |folded: &ReadTables| {
        let txn = scratch.write()?;
        hash = Some(base::write(folded, &mut WriteTables::open(&txn)?, &|| store.check())?);
        Ok(txn.commit()?)
    };
    let report = verify_with(store, scratch, horizon, &mut make, progress)?;
    match hash.filter(|_| report.is_sound()) {
        Some(hash) => {
            let follows = follows.map(|(seq, _)| seq).unwrap_or_default();
            Ok(Prepared::Base(Base { horizon: (horizon, hash_at), hash, follows, scratch: scratch.clone() }))
        }
        None => Ok(Prepared::Unsound(report)),
    }
}

/// Whether a commit behind the last horizon is more than a compaction.
fn is_worth_it(tables: &ReadTables, last: Seq, horizon: Seq) -> Result<bool, StoreError> {
    let mut seq = last.next();
    while seq <= horizon {
        match tables.commit(seq)?.map(|(commit, _)| commit.body) {
            Some(CommitBody::Checkpoint { .. }) => seq = seq.next(),
            _ => return Ok(true),
        }
    }
    Ok(false)
}

/// The commits up to `horizon` whose contents stay: the pushes of each device that its client may not have been answered yet
/// (H5). What the server itself imported is asked for by nobody.
pub(crate) fn kept_commits(tables: &impl Tables, horizon: Seq) -> Result<BTreeSet<Seq>, StoreError> {
    let mut kept = BTreeSet::new();
    if planted(Planted::CompactedOutcomeLost) {
        return Ok(kept);
    }
    for entry in tables.devices().iter()? {
        let (id, device) = entry?;
        if DeviceId::from_bytes(*id.value()) == SERVER_DEVICE {
            continue;
        }
        let device: Device = codec::store::decode(device.value())?;
        let first = device.last.next().0.saturating_sub(PUSH_WINDOW_MAX as u64);
        for push in tables.pushes().range((id.value(), first)..=(id.value(), device.last.0))? {
            let push: RecordedPush = codec::store::decode(push?.1.value())?;
            if push.seq <= horizon {
                kept.insert(push.seq);
            }
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests;
