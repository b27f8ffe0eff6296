//! Freezing: what is ready becomes numbered pushes with chained hashes, durable before the first byte leaves (O5, P1).

use crate::freeze::{Candidate, Planned, Standing, plan, standings};
use crate::step::Step;
use crate::store::{FrozenPush, ReadTables, StoreError};
use redb::ReadableTable;
use std::collections::{BTreeMap, BTreeSet};
use tombolo_protocol::change::Push;
use tombolo_protocol::ids::{Hash16, RowKey};
use tombolo_protocol::limits::{PUSH_CHANGES_MAX, PUSH_WINDOW_MAX};
use tombolo_protocol::outbox::Sent;
use tombolo_protocol::schema::Schema;

/// How much is frozen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PushLimits {
    /// Pushes that wait for an answer at the same time.
    pub window: usize,
    /// Changes in one push.
    pub changes: usize,
}

impl Default for PushLimits {
    fn default() -> Self {
        Self { window: PUSH_WINDOW_MAX, changes: PUSH_CHANGES_MAX }
    }
}

/// Every entry with its mirror row.
pub(crate) fn candidates<T: ReadableTable<&'static [u8], &'static [u8]>>(
    tables: &crate::store::Tables<T>,
) -> Result<BTreeMap<RowKey, Candidate>, StoreError> {
    tables
        .entries()?
        .map(|entry| {
            let entry = entry?;
            let mirror = tables.mirror(entry.key)?.map(|held| held.row);
            Ok((entry.key, Candidate { entry, mirror }))
        })
        .collect()
}

/// Why each pending change is where it is.
pub(crate) fn all_standings(tables: &ReadTables, schema: &Schema) -> Result<BTreeMap<RowKey, Standing>, StoreError> {
    Ok(standings(schema, &tables.cursors()?, &candidates(tables)?))
}

impl Step<'_, '_> {
    /// Freezes what is ready; with `only`, of these rows and their groups.
    pub fn freeze(&mut self, only: Option<&BTreeSet<RowKey>>, limits: PushLimits) -> Result<(), StoreError> {
        let PushLimits { window, changes } = limits;
        let pushes = self.tables.all_frozen()?;
        let (frozen, in_flight) = (pushes.len(), pushes.iter().map(|push| push.rows.len() as u64).sum::<u64>());
        // Each look reads the whole outbox: only when half the window is free, and something is not in flight.
        if frozen > window / 2 || (self.tables.entry_count()? <= in_flight && frozen > 0) {
            return Ok(());
        }
        let candidates = candidates(self.tables)?;
        let changes_max = match self.state.push_changes_max {
            0 => changes,
            max => max.min(changes),
        };
        let planned = plan(self.schema, &self.cursors, &candidates, only, changes_max);
        let (too_large, planned): (Vec<_>, Vec<_>) = planned.into_iter().partition(Planned::is_too_large);
        // Changes that must go together and are too many for any push wait for a person.
        for row in too_large.iter().flat_map(|push| &push.rows) {
            self.undeliverable(row.change.key)?;
        }
        if pushes.is_empty() && planned.is_empty() {
            // Everything that had to go in halves went through.
            self.state.push_changes_max = 0;
        }
        planned.into_iter().take(window - frozen).try_for_each(|push| self.freeze_push(push))
    }

    fn freeze_push(&mut self, planned: Planned) -> Result<(), StoreError> {
        let (last, previous) = self.state.frozen;
        let number = last.next();
        let changes = planned.rows.iter().map(|row| row.change.clone()).collect();
        let push = Push { number, hash: Hash16::default(), schema: planned.schema, changes };
        let hash = push.compute_hash(previous);
        let mut rows = Vec::with_capacity(planned.rows.len());
        for row in planned.rows {
            let key = row.change.key;
            let mut entry = self.entry_or_new(key)?;
            entry.next = None;
            let (generation, view_base) = (entry.generation, row.change.view_base);
            entry.sent = Some(Sent { number, generation, view_base, pending: row.pending });
            self.tables.put_entry(&entry)?;
            rows.push((key, row.change.group));
        }
        self.tables.put_frozen(&FrozenPush { number, hash, schema: planned.schema, rows, failed_sessions: 0 })?;
        self.state.frozen = (number, hash);
        Ok(())
    }
}
