//! Freezing: what is ready becomes numbered pushes with chained hashes, durable before the first byte leaves (O5, P1).

use crate::freeze::{Outline, Own, Planned, Standing, frozen, own_standing, plan};
use crate::step::{Moved, Step};
use crate::store::{FrozenPush, ReadTables, Source, StoreError, Tables};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tombolo_protocol::change::Push;
use tombolo_protocol::cursor::Cursors;
use tombolo_protocol::ids::{Hash16, RowKey};
use tombolo_protocol::limits::{PUSH_CHANGES_MAX, PUSH_WINDOW_MAX};
use tombolo_protocol::outbox::{Entry, Sent};
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

/// What is left of the newest look at the outbox: the pushes that follow those in the window. A look reads the whole outbox, so
/// there is one only where something may go that is not planned, or something that is planned may not.
#[derive(Default)]
pub(crate) struct Plan {
    pushes: VecDeque<Planned>,
    /// The outbox was looked at, and nothing came since that may go.
    is_complete: bool,
    /// What is planned is as it was when it was planned.
    is_true: bool,
    /// What came back too often in the sync before is tried again (C6).
    of_new_sync: bool,
}

impl Plan {
    /// Of a sync that begins.
    pub fn of_new_sync() -> Self {
        Self { of_new_sync: true, ..Self::default() }
    }

    /// Entries moved.
    pub fn moved(&mut self, moved: Moved) {
        self.is_true &= !moved.any;
        self.is_complete &= !moved.may_go;
    }

    /// Whether there is nothing to freeze, as far as can be told without looking.
    pub fn is_done(&self) -> bool {
        self.is_complete && self.pushes.is_empty()
    }

    fn is_good(&self) -> bool {
        self.is_complete && (self.is_true || self.pushes.is_empty())
    }
}

fn outline<S: Source>(tables: &Tables<S>, schema: &Schema, cursors: &Cursors) -> Result<Outline, StoreError> {
    let entries = tables.entries()?.map(|entry| {
        let entry = entry?;
        let mirror = tables.mirror(entry.key)?.map(|held| held.row);
        Ok((entry, mirror))
    });
    Outline::of(schema, cursors, entries)
}

/// Why each pending change is where it is.
pub(crate) fn all_standings(tables: &ReadTables, schema: &Schema) -> Result<BTreeMap<RowKey, Standing>, StoreError> {
    Ok(outline(tables, schema, &tables.cursors()?)?.standings())
}

impl Step<'_, '_> {
    /// Freezes what is ready, as much as the window holds; with `only`, of these rows and what must go with them.
    pub fn freeze(&mut self, plan: &mut Plan, only: Option<&BTreeSet<RowKey>>, limits: PushLimits) -> Result<(), StoreError> {
        let room = limits.window.saturating_sub(self.tables.frozen_count()?);
        if !plan.is_good() {
            *plan = self.look(plan.of_new_sync, only, limits.changes)?;
        }
        for _ in 0..room {
            let Some(planned) = plan.pushes.pop_front() else { break };
            if !self.freeze_push(&planned)? {
                // It is looked at again with the next step.
                *plan = Plan::default();
                break;
            }
        }
        Ok(())
    }

    /// Plans everything that is ready.
    fn look(&mut self, of_new_sync: bool, only: Option<&BTreeSet<RowKey>>, changes: usize) -> Result<Plan, StoreError> {
        if of_new_sync {
            self.begin_rounds_again()?;
        }
        let changes_max = match self.state.push_changes_max {
            0 => changes,
            max => max.min(changes),
        };
        loop {
            let outline = outline(self.tables, self.schema, &self.cursors)?;
            let (too_large, pushes): (Vec<_>, Vec<_>) =
                plan(&outline, only, changes_max).into_iter().partition(Planned::is_too_large);
            if too_large.is_empty() {
                return Ok(Plan { pushes: pushes.into(), is_complete: true, is_true: true, of_new_sync: false });
            }
            // They wait for a person. What depends on them is held now, so it is planned again.
            for (key, _) in too_large.iter().flat_map(|push| &push.rows) {
                self.undeliverable(*key)?;
            }
        }
    }

    /// What was tried too often in vain is tried again: a person asks, or the server's state is a new one (C6).
    pub fn begin_rounds_again(&mut self) -> Result<(), StoreError> {
        let tired = |entry: &Entry| entry.next.as_ref().is_some_and(|next| next.rounds > 0);
        let tired: Vec<Entry> =
            self.tables.entries()?.filter(|entry| entry.as_ref().map_or(true, tired)).collect::<Result<_, _>>()?;
        for mut entry in tired {
            if let Some(next) = &mut entry.next {
                next.rounds = 0;
            }
            self.put_entry(&entry)?;
        }
        self.state.rounds_used_up = false;
        Ok(())
    }

    /// Freezes a planned push. False where something in it does not go any more: nothing was done then.
    fn freeze_push(&mut self, planned: &Planned) -> Result<bool, StoreError> {
        let (last, previous) = self.state.frozen;
        let number = last.next();
        let (mut entries, mut changes) = (Vec::new(), Vec::new());
        for (key, group) in &planned.rows {
            let entry = self.tables.entry(*key)?;
            let mirror = self.tables.mirror(*key)?.map(|held| held.row);
            let Some(mut entry) =
                entry.filter(|entry| own_standing(self.schema, &self.cursors, entry, mirror.as_ref()) == Own::Ready)
            else {
                return Ok(false);
            };
            let Some(next) = entry.next.take() else { return Ok(false) };
            let (pending, change) = frozen(self.schema, &self.cursors, *key, next, mirror.as_ref(), *group);
            entry.sent = Some(Sent { number, generation: entry.generation, view_base: change.view_base, pending });
            entries.push(entry);
            changes.push(change);
        }
        let schema = entries.iter().map(|entry| entry.schema).min().unwrap_or_default();
        let push = Push { number, hash: Hash16::default(), schema, changes };
        let hash = push.compute_hash(previous);
        for entry in entries {
            self.tables.put_entry(&entry)?;
        }
        self.tables.put_frozen(&FrozenPush { number, hash, schema, rows: planned.rows.clone(), failed_sessions: 0 })?;
        self.state.frozen = (number, hash);
        Ok(true)
    }
}
