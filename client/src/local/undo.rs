//! Taking back what a person just did: what was pending is put back as it was, and not written anew, since of a row that others
//! deleted, or that left this device, nothing can be written.

use super::LocalError;
use crate::engine::Engine;
use crate::step::Step;
use crate::store::{Displaced, StoreError};
use tombolo_protocol::ids::{FieldTag, RowKey, Seq};
use tombolo_protocol::outbox::{Entry, Seen, Write};
use tombolo_protocol::planted::{Planted, planted};
use tombolo_protocol::row::{Life, Row};

/// What was pending of a row, and of its group, before something was done to it; for [`Engine::put_back`].
#[derive(Clone, PartialEq, Debug)]
pub struct Before {
    history: u32,
    schema: Seq,
    rows: Vec<RowBefore>,
}

#[derive(Clone, PartialEq, Debug)]
struct RowBefore {
    before: Entry,
    after: Entry,
    /// The mirror's row then, and what others had replaced in it.
    row: Option<Row>,
    displaced: Vec<Displaced>,
}

impl Engine {
    /// Discards what is pending of a row and is not being sent (O9); of its group, if it has one. With `field`, only that field
    /// (and its field group) of this row.
    ///
    /// # Errors
    /// [`LocalError`]; nothing was discarded.
    pub fn discard(&mut self, key: RowKey, field: Option<FieldTag>, now_ms: i64) -> Result<Before, LocalError> {
        self.undoable(key, now_ms, |step| match field {
            Some(field) => step.discard_field(key, field),
            None => step.discard_row(key),
        })
    }

    /// Deletes a row, so that it can be taken back.
    ///
    /// # Errors
    /// [`LocalError`]; nothing was deleted.
    pub fn delete(&mut self, key: RowKey, seen: Option<Seen>, now_ms: i64) -> Result<Before, LocalError> {
        self.undoable(key, now_ms, |step| step.write_row(super::LocalWrite { key, write: Write::Delete, seen }, None))
    }

    /// Puts back what was pending before, as it was, bases included: what others changed since is asked about as if it had been
    /// pending all the time.
    ///
    /// # Errors
    /// [`LocalError::TooLate`] when something else was done to it meanwhile, it is being sent, or the row came to this device or
    /// left it; nothing was put back.
    pub fn put_back(&mut self, before: &Before, now_ms: i64) -> Result<(), LocalError> {
        self.local(now_ms, |step| step.put_back(before))?;
        self.go_on_behind(now_ms);
        Ok(())
    }

    fn undoable(
        &mut self,
        key: RowKey,
        now_ms: i64,
        act: impl FnOnce(&mut Step<'_, '_>) -> Result<(), LocalError>,
    ) -> Result<Before, LocalError> {
        let before = self.local(now_ms, |step| {
            let group = step.tables.entry(key)?.and_then(|entry| entry.next?.group);
            let entries = match group {
                Some(group) => step.members(group)?,
                None => vec![step.entry_or_new(key)?],
            };
            let displaced =
                entries.iter().map(|entry| step.tables.displaced(entry.key)).collect::<Result<Vec<_>, StoreError>>()?;
            act(step)?;
            let rows = entries.into_iter().zip(displaced).map(|(before, displaced)| {
                let after = step.entry_or_new(before.key)?;
                Ok(RowBefore { row: step.row(before.key)?, displaced, before, after })
            });
            let rows = rows.collect::<Result<_, StoreError>>()?;
            Ok(Before { history: step.state.recovery_copies, schema: step.state.schema, rows })
        })?;
        self.go_on_behind(now_ms);
        Ok(before)
    }
}

impl Step<'_, '_> {
    fn put_back(&mut self, before: &Before) -> Result<(), LocalError> {
        let same = (before.history, before.schema) == (self.state.recovery_copies, self.state.schema);
        if !same && !planted(Planted::PutBackOfLostHistory) {
            return Err(LocalError::TooLate);
        }
        for RowBefore { before, after, row: then, displaced } in &before.rows {
            let (now, row) = (self.entry_or_new(before.key)?, self.row(before.key)?);
            // Whether the mirror has the row, and still knows its values.
            let there = |row: &Option<Row>| row.as_ref().map(|row| row.life != Life::Purged);
            let same = (&now.sent, &now.next) == (&after.sent, &after.next) && there(&row) == there(then);
            if !same && !planted(Planted::PutBackOverNewer) {
                return Err(LocalError::TooLate);
            }
            let mut entry = Entry { generation: self.next_generation(), ..before.clone() };
            if let Some(next) = entry.next.as_mut().filter(|_| planted(Planted::PutBackRebased)) {
                next.fields.values_mut().for_each(|edit| edit.base = self.state.witness.seq);
            }
            self.touched.insert(before.key);
            self.put_entry(&entry)?;
            if !displaced.is_empty() {
                self.tables.set_displaced(before.key, displaced)?;
            }
            if let (false, Some(then), Some(row)) = (entry.is_empty(), then, &row) {
                self.displace_row(&entry, then, row)?;
            }
        }
        // Whoever waited for what was discarded waits again, and the other way round.
        self.others_may_go();
        Ok(())
    }

    fn row(&self, key: RowKey) -> Result<Option<Row>, StoreError> {
        Ok(self.tables.mirror(key)?.map(|held| held.row))
    }
}
