//! The history of a row, from the commits that concern it: newest first, with the values before and after.

use super::Snapshot;
use crate::access::Rights;
use crate::store::StoreError;
use std::collections::BTreeMap;
use tombolo_protocol::change::{Op, Verdict};
use tombolo_protocol::commit::{Commit, CommitBody, PushRecord};
use tombolo_protocol::ids::{FieldTag, RowKey, Seq, Version};
use tombolo_protocol::limits::HISTORY_ENTRIES_MAX;
use tombolo_protocol::message::{History, HistoryEntry, HistoryField};
use tombolo_protocol::planted::{Planted, planted};
use tombolo_protocol::value::Value;

/// Commits behind the last entry that are looked through for values before it.
const DEEPER: usize = HISTORY_ENTRIES_MAX;

impl Snapshot {
    /// The newest `limit` changes of a row, as far as the log has them. Empty where the row is unknown, may not be seen, or was
    /// purged.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn history(&self, rights: &Rights, key: &RowKey, limit: usize) -> Result<History, StoreError> {
        let mut history = History { key: *key, entries: Vec::new(), more: false };
        let Some(row) = self.visible(rights, key)? else { return Ok(history) };
        let limit = limit.min(HISTORY_ENTRIES_MAX);
        let mut version = row.version;
        // Fields of entries found so far whose value before is in an older commit: entry and field by tag.
        let mut open: BTreeMap<FieldTag, (usize, usize)> = BTreeMap::new();
        let mut commits = self.tables.history.range((row.no.0, 0)..=(row.no.0, u64::MAX))?.rev().enumerate();
        let are_put_away = loop {
            // Changes that no commit tells of were put away with the log.
            let Some((count, found)) = commits.next() else { break version > Version(0) };
            let seq = Seq(found?.0.value().1);
            if count >= limit + DEEPER || (history.more && open.is_empty()) {
                break false;
            }
            let Some(commit) = self.commit(seq)? else { break false };
            // What was before a purge is not shown, also not after the row was brought back.
            let CommitBody::Push(record) = &commit.body else {
                if planted(Planted::HistoryBehindPurge) {
                    continue;
                }
                break false;
            };
            let Some(entry) = self.entry(&commit, record, key, &mut version)? else { continue };
            close(&mut history.entries, &mut open, &entry);
            history.more |= history.entries.len() >= limit;
            if !history.more {
                for (place, field) in entry.fields.iter().enumerate() {
                    open.insert(field.field, (history.entries.len(), place));
                }
                history.entries.push(entry);
            }
        };
        history.more |= are_put_away;
        Ok(history)
    }

    /// What a push did to the row; values before are not known yet.
    fn entry(
        &self,
        commit: &Commit,
        record: &PushRecord,
        key: &RowKey,
        version: &mut Version,
    ) -> Result<Option<HistoryEntry>, StoreError> {
        let effect = record.effects.iter().find(|effect| effect.key == *key);
        let lost: Vec<(FieldTag, Value)> =
            record.lost.iter().filter(|(row, _)| row == key).map(|(_, lost)| (lost.field, lost.value.clone())).collect();
        if effect.is_none() && lost.is_empty() {
            return Ok(None);
        }
        let verdicts = record.rows.iter().zip(record.verdicts.iter());
        let merged =
            verdicts.into_iter().any(|(row, verdict)| row.key == *key && *verdict == Verdict::Accepted { merged: true });
        let after =
            |(field, value): &(FieldTag, Value)| HistoryField { field: *field, before: Value::Null, after: value.clone() };
        let entry = HistoryEntry {
            seq: commit.seq,
            at_ms: commit.at_ms,
            edited_at_ms: record.edited_at_ms,
            by: self.user_name(commit.user)?,
            device: record.device,
            device_name: self.device_name(record.device)?,
            op: effect.map_or(Op::Decide, |effect| effect.op),
            merged,
            version: if effect.is_some() { *version } else { Version(0) },
            fields: effect.map(|effect| effect.fields.iter().map(after).collect()).unwrap_or_default(),
            lost,
        };
        if effect.is_some() {
            version.0 = version.0.saturating_sub(1);
        }
        Ok(Some(entry))
    }
}

/// What an older entry set is what newer ones changed from.
fn close(entries: &mut [HistoryEntry], open: &mut BTreeMap<FieldTag, (usize, usize)>, older: &HistoryEntry) {
    for field in &older.fields {
        if let Some((entry, place)) = open.remove(&field.field) {
            entries[entry].fields[place].before = field.after.clone();
        }
    }
    if older.op == Op::Create {
        open.clear();
    }
}
