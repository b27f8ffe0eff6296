//! The writer's part of a compaction.

use super::Writer;
use crate::compact::{Base, CompactError, Compacted, kept_commits};
use crate::store::read::Read;
use crate::store::{StoreError, base};
use redb::ReadableTableMetadata;
use tombolo_protocol::commit::CommitBody;
use tombolo_protocol::ids::{Seq, UserId};

impl Writer<'_> {
    /// Logs the checkpoint, puts the base in place and drops what it stands for.
    pub(super) fn compact(&mut self, by: UserId, made: &Base) -> Result<Result<Compacted, CompactError>, StoreError> {
        let (horizon, hash) = made.horizon;
        let follows = self.tables.newest_checkpoint()?.map(|(seq, _)| seq).unwrap_or_default();
        if follows != made.follows || self.tables.hash_of(horizon)? != Some(hash) {
            return Ok(Err(CompactError::Meanwhile));
        }
        let read_again = made.scratch.read().and_then(|scratch| base::hash(&scratch, &|| Ok(())));
        if !read_again.is_ok_and(|hash| hash == Some(made.hash)) {
            return Ok(Err(CompactError::Scratch));
        }
        let seq = self.append(by, CommitBody::Checkpoint { horizon, base: made.hash })?;
        if base::copy(&made.scratch.read()?, &mut self.tables)? != made.hash {
            return Err(StoreError::damaged("the base that was made for the log is not what was read of it again"));
        }
        let kept = kept_commits(&self.tables, horizon)?;
        let before = self.tables.log.len()?;
        self.tables.log.retain_in(..=horizon.0, |seq, _| kept.contains(&Seq(seq)))?;
        let dropped = before - self.tables.log.len()?;
        Ok(Ok(Compacted { seq, horizon, dropped, kept: kept.len() as u64 }))
    }
}
