//! Folding a decided push: its record, and its effects on rows.

use super::Fold;
use crate::store::StoreError;
use crate::store::read::Read;
use crate::store::records::{Device, RecordedPush};
use crate::store::tables::WriteTables;
use tombolo_protocol::change::{Effect, Op};
use tombolo_protocol::codec;
use tombolo_protocol::commit::{Commit, PushRecord};
use tombolo_protocol::ids::{RowKey, RowNo, Seq, Version};
use tombolo_protocol::row::{Life, Row, Stamped};
use tombolo_protocol::schema::Table;

/// The row after an effect of commit `seq`. `before` is none for a create only.
pub fn row_after(table: &Table, before: Option<&Row>, no: RowNo, effect: &Effect, seq: Seq, ordinal: u32) -> Row {
    let section_before = before.and_then(|row| row.section(table));
    let mut row = before.cloned().unwrap_or_else(|| Row {
        key: effect.key,
        no,
        seq,
        ordinal,
        version: Version(0),
        since: seq,
        life: Life::Live,
        fields: std::collections::BTreeMap::new(),
    });
    for (field, value) in &effect.fields {
        row.fields.insert(*field, Stamped { value: value.clone(), stamp: seq });
    }
    row.seq = seq;
    row.ordinal = ordinal;
    row.version = Version(row.version.0 + 1);
    match effect.op {
        Op::Delete => row.life = Life::Deleted,
        Op::Create | Op::Restore => {
            row.life = Life::Live;
            row.since = seq;
        }
        Op::Update | Op::Decide => {}
    }
    if row.section(table) != section_before {
        row.since = seq;
    }
    row
}

impl Fold {
    pub(super) fn fold_push(
        &mut self,
        tables: &mut WriteTables<'_>,
        commit: &Commit,
        record: &PushRecord,
    ) -> Result<(), StoreError> {
        let device = tables.device(record.device)?;
        let mut device = device.unwrap_or_else(|| Device { user: commit.user, ..Device::default() });
        device.last = record.number;
        device.last_hash = record.hash;
        tables.devices.insert(record.device.bytes(), codec::store::encode(&device).as_slice())?;
        let recorded = RecordedPush { hash: record.hash, seq: commit.seq };
        let key = (record.device.bytes(), record.number.0);
        tables.pushes.insert(key, codec::store::encode(&recorded).as_slice())?;
        for (ordinal, effect) in record.effects.iter().enumerate() {
            let ordinal = u32::try_from(ordinal).map_err(|_| StoreError::damaged("a commit with too many effects"))?;
            self.fold_effect(tables, commit.seq, ordinal, effect)?;
        }
        for (key, _) in &record.lost {
            if let Some(number) = tables.row_number(key)? {
                tables.history.insert((number.0, commit.seq.0), ())?;
            }
        }
        Ok(())
    }

    fn fold_effect(&mut self, tables: &mut WriteTables<'_>, seq: Seq, ordinal: u32, effect: &Effect) -> Result<(), StoreError> {
        let schema = self.schema()?.clone();
        let table = schema
            .table(effect.key.table)
            .ok_or_else(|| StoreError::damaged(format!("commit {seq} changes a table that its schema does not have")))?;
        let before = tables.row(&effect.key)?;
        if before.is_none() != (effect.op == Op::Create) {
            return Err(StoreError::damaged(format!("commit {seq} changes row {} against its state", effect.key.id)));
        }
        let no = match &before {
            Some(row) => row.no,
            None => self.number_row(tables, &effect.key)?,
        };
        let after = row_after(table, before.as_ref(), no, effect, seq, ordinal);
        tables.history.insert((no.0, seq.0), ())?;
        if schema.scope_table == Some(effect.key.table) {
            self.know_scope(tables, effect.key.id, seq)?;
        }
        self.replace_row(tables, table, before.as_ref(), &after)
    }

    /// Row numbers are given in (commit, ordinal) order, without gaps, and never again (H6).
    fn number_row(&mut self, tables: &mut WriteTables<'_>, key: &RowKey) -> Result<RowNo, StoreError> {
        self.meta.last_row.0 += 1;
        tables.ids.insert((key.table.0, key.id.bytes()), self.meta.last_row.0)?;
        Ok(self.meta.last_row)
    }

    /// Purging takes a deleted row's values and is told to whoever holds the tombstone. The identity stays, and so does the
    /// value of the scope field, since it says who may know of the row (H5).
    pub(super) fn fold_purge(&mut self, tables: &mut WriteTables<'_>, seq: Seq, rows: &[RowKey]) -> Result<(), StoreError> {
        let schema = self.schema()?.clone();
        for (ordinal, key) in rows.iter().enumerate() {
            let before = tables.row(key)?;
            let (Some(table), Some(before)) = (schema.table(key.table), before) else {
                return Err(StoreError::damaged(format!("commit {seq} purges a row that is not there")));
            };
            let mut after = before.clone();
            after.life = Life::Purged;
            after.seq = seq;
            after.ordinal = u32::try_from(ordinal).map_err(|_| StoreError::damaged("a commit with too many rows"))?;
            after.fields.retain(|field, _| Some(*field) == table.scope);
            tables.history.insert((after.no.0, seq.0), ())?;
            self.replace_row(tables, table, Some(&before), &after)?;
        }
        Ok(())
    }
}
