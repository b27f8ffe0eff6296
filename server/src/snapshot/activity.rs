//! What was done lately, by whom: the newest pushes that did something to rows which a user may see.

use super::Snapshot;
use crate::access::Rights;
use crate::store::StoreError;
use std::collections::{BTreeMap, BTreeSet};
use tombolo_protocol::change::Op;
use tombolo_protocol::commit::{CommitBody, PushRecord};
use tombolo_protocol::ids::{RowKey, Seq, TableTag};
use tombolo_protocol::limits::ACTIVITY_DEEDS_MAX;
use tombolo_protocol::message::{Activity, Deed};
use tombolo_protocol::planted::{Planted, planted};
use tombolo_protocol::row::{Life, Row};

/// Commits that are looked at for one answer, in one short look at the state.
const COMMITS_MAX: usize = 500;
/// And changes of rows in them: whether each may be seen is looked up.
const CHANGES_MAX: usize = 20_000;

impl Snapshot {
    /// The newest pushes, `limit` at most, that did something to rows which may be seen and were not purged. Those of others who
    /// work elsewhere may be so many that nothing is found; then there is more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn activity(&self, rights: &Rights, limit: usize) -> Result<Activity, StoreError> {
        let mut activity = Activity::default();
        let mut changes = 0;
        for (looked_at, seq) in (1..=self.head().seq.0).rev().map(Seq).enumerate() {
            let is_enough = activity.deeds.len() >= limit.min(ACTIVITY_DEEDS_MAX);
            activity.more = is_enough || looked_at >= COMMITS_MAX || changes >= CHANGES_MAX;
            if activity.more {
                break;
            }
            let Some(commit) = self.commit(seq)? else {
                // What is older was put away with the log.
                activity.more = true;
                break;
            };
            let CommitBody::Push(record) = &commit.body else { continue };
            let mut rows: BTreeMap<(TableTag, Op), u32> = BTreeMap::new();
            for (key, op) in done(record) {
                changes += 1;
                let is_told = |row: Row| row.life != Life::Purged || planted(Planted::ActivityOfPurged);
                if self.visible(rights, &key)?.is_some_and(is_told) {
                    *rows.entry((key.table, op)).or_default() += 1;
                }
            }
            if !rows.is_empty() {
                activity.deeds.push(Deed {
                    seq,
                    at_ms: commit.at_ms,
                    by: self.user_name(commit.user)?,
                    device: record.device,
                    device_name: self.device_name(record.device)?,
                    rows: rows.into_iter().map(|((table, op), count)| (table, op, count)).collect(),
                });
            }
        }
        Ok(activity)
    }
}

/// What a push did to rows; to those of which it only kept the values that lost, it decided.
fn done(record: &PushRecord) -> impl Iterator<Item = (RowKey, Op)> + '_ {
    let changed: BTreeSet<RowKey> = record.effects.iter().map(|effect| effect.key).collect();
    let decided: BTreeSet<RowKey> = record.lost.iter().map(|(key, _)| *key).filter(|key| !changed.contains(key)).collect();
    let effects = record.effects.iter().map(|effect| (effect.key, effect.op));
    effects.chain(decided.into_iter().map(|key| (key, Op::Decide)))
}
