//! Typed reading of the tables, in snapshots and in the writer's transaction alike.

use super::StoreError;
use super::records::{Checkpoint, CommitMark, Device, Meta, RecordedPush, SectionRecord, User};
use super::tables::Tables;
use redb::ReadableTable;
use std::collections::BTreeSet;
use tombolo_protocol::codec;
use tombolo_protocol::commit::{Commit, Offer};
use tombolo_protocol::hash::{self, CommitHash};
use tombolo_protocol::ids::{DeviceId, FieldTag, PushNo, RowId, RowKey, RowNo, Section, Seq, TableTag, UserId};
use tombolo_protocol::row::Row;
use tombolo_protocol::value::Value;

/// Typed reads over the raw tables.
pub trait Read: Tables {
    /// Where the fold stands; none before there is a workspace.
    fn meta_record(&self) -> Result<Option<Meta>, StoreError> {
        Ok(self.meta().get(())?.map(|bytes| codec::store::decode(bytes.value())).transpose()?)
    }

    /// A commit with its bytes.
    fn commit(&self, seq: Seq) -> Result<Option<(Commit, Vec<u8>)>, StoreError> {
        let Some(bytes) = self.log().get(seq.0)? else { return Ok(None) };
        Ok(Some((codec::decode(bytes.value())?, bytes.value().to_vec())))
    }

    /// What is kept of a commit for ever.
    fn commit_mark(&self, seq: Seq) -> Result<Option<CommitMark>, StoreError> {
        Ok(self.marks().get(seq.0)?.map(|bytes| codec::store::decode(bytes.value())).transpose()?)
    }

    /// The hash of the log at a seq; that of seq 0 is all zeros.
    fn hash_of(&self, seq: Seq) -> Result<Option<CommitHash>, StoreError> {
        if seq == Seq(0) {
            return Ok(Some(CommitHash::default()));
        }
        Ok(self.commit_mark(seq)?.map(|mark| mark.hash))
    }

    /// The number of a row.
    fn row_number(&self, key: &RowKey) -> Result<Option<RowNo>, StoreError> {
        Ok(self.ids().get((key.table.0, key.id.bytes()))?.map(|number| RowNo(number.value())))
    }

    /// A row by number.
    fn row_numbered(&self, number: RowNo) -> Result<Option<Row>, StoreError> {
        Ok(self.rows().get(number.0)?.map(|bytes| codec::store::decode(bytes.value())).transpose()?)
    }

    /// A row by identity.
    fn row(&self, key: &RowKey) -> Result<Option<Row>, StoreError> {
        let Some(number) = self.row_number(key)? else { return Ok(None) };
        let row = self.row_numbered(number)?;
        row.map(Some).ok_or_else(|| StoreError::damaged(format!("row {number} has an id but no content")))
    }

    /// Rows of a table by ascending id behind `after`, deleted ones included.
    fn rows_after(&self, table: TableTag, after: Option<RowId>, limit: usize) -> Result<Vec<Row>, StoreError> {
        let mut rows = Vec::new();
        let first = after.unwrap_or(RowId::from_bytes([0; 16]));
        let last = RowId::from_bytes([0xFF; 16]);
        for entry in self.ids().range((table.0, first.bytes())..=(table.0, last.bytes()))? {
            let (id, number) = entry?;
            if Some(RowId::from_bytes(*id.value().1)) == after {
                continue;
            }
            if rows.len() >= limit {
                break;
            }
            let number = RowNo(number.value());
            let row = self.row_numbered(number)?;
            rows.push(row.ok_or_else(|| StoreError::damaged(format!("row {number} has an id but no content")))?);
        }
        Ok(rows)
    }

    /// A section, if it ever had a row.
    fn section_record(&self, section: &Section) -> Result<Option<SectionRecord>, StoreError> {
        let key = codec::encode(section);
        Ok(self.sections().get(key.as_slice())?.map(|bytes| codec::store::decode(bytes.value())).transpose()?)
    }

    /// All scopes that have or had a section, or a row in the scope table.
    fn known_scopes(&self) -> Result<BTreeSet<RowId>, StoreError> {
        let mut scopes = BTreeSet::new();
        for entry in self.scopes().iter()? {
            scopes.insert(RowId::from_bytes(*entry?.0.value()));
        }
        Ok(scopes)
    }

    /// The live row that has a value of a unique field.
    fn unique_holder(&self, key: &UniqueKey) -> Result<Option<RowNo>, StoreError> {
        let holder = self.unique().get((key.table.0, key.field.0, key.scope.as_slice(), key.value.as_slice()))?;
        Ok(holder.map(|number| RowNo(number.value())))
    }

    /// Live rows that refer to `target` in this field of this table.
    fn referrers(
        &self,
        target: &RowKey,
        table: TableTag,
        field: FieldTag,
    ) -> Result<impl Iterator<Item = Result<RowNo, StoreError>>, StoreError> {
        let entry = |row: u64| (target.table.0, target.id.bytes(), table.0, field.0, row);
        let entries = self.references().range(entry(0)..=entry(u64::MAX))?;
        Ok(entries.map(|entry| Ok(RowNo(entry?.0.value().4))))
    }

    /// A device.
    fn device(&self, id: DeviceId) -> Result<Option<Device>, StoreError> {
        Ok(self.devices().get(id.bytes())?.map(|bytes| codec::store::decode(bytes.value())).transpose()?)
    }

    /// What people call a device.
    fn device_name(&self, id: DeviceId) -> Result<Option<String>, StoreError> {
        Ok(self.device_names().get(id.bytes())?.map(|name| name.value().to_owned()))
    }

    /// A recorded push.
    fn recorded_push(&self, device: DeviceId, number: PushNo) -> Result<Option<RecordedPush>, StoreError> {
        let bytes = self.pushes().get((device.bytes(), number.0))?;
        Ok(bytes.map(|bytes| codec::store::decode(bytes.value())).transpose()?)
    }

    /// A user.
    fn user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        Ok(self.users().get(id.bytes())?.map(|bytes| codec::store::decode(bytes.value())).transpose()?)
    }

    /// A user's id by name.
    fn user_named(&self, name: &str) -> Result<Option<UserId>, StoreError> {
        Ok(self.user_names().get(name)?.map(|id| UserId::from_bytes(*id.value())))
    }

    /// The text of a logged schema.
    fn schema_text(&self, seq: Seq) -> Result<Option<String>, StoreError> {
        Ok(self.schemas().get(seq.0)?.map(|text| text.value().to_owned()))
    }

    /// The seq of the newest schema at or below `seq`; of the oldest one where there is none.
    fn schema_seq_at(&self, seq: Seq) -> Result<Option<Seq>, StoreError> {
        if let Some(newest) = self.schemas().range(..=seq.0)?.next_back() {
            return Ok(Some(Seq(newest?.0.value())));
        }
        Ok(self.schemas().first()?.map(|(seq, _)| Seq(seq.value())))
    }

    /// What the operator chose at the newest restore behind `common`; none where there was none.
    fn offer_after(&self, common: Seq) -> Result<Option<Offer>, StoreError> {
        let newest = self.restores().range(common.next().0..)?.next_back();
        Ok(newest.map(|entry| entry.map(|(_, bytes)| codec::store::decode(bytes.value()))).transpose()?.transpose()?)
    }

    /// The newest compaction with the seq of its commit; none while the log is whole.
    fn newest_checkpoint(&self) -> Result<Option<(Seq, Checkpoint)>, StoreError> {
        let newest = self.checkpoints().last()?;
        newest.map(|(seq, bytes)| Ok((Seq(seq.value()), codec::store::decode(bytes.value())?))).transpose()
    }

    /// The last commit whose content may be gone; zero while the log is whole.
    fn horizon(&self) -> Result<Seq, StoreError> {
        Ok(self.newest_checkpoint()?.map(|(_, checkpoint)| checkpoint.horizon).unwrap_or_default())
    }

    /// The seq covered by a completed backup.
    fn safe_seq(&self) -> Result<Seq, StoreError> {
        Ok(Seq(self.local().get("safe")?.map_or(0, |seq| seq.value())))
    }
}

impl<T: Tables> Read for T {}

/// A value of a unique field, as the index keeps it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct UniqueKey {
    /// The table.
    pub table: TableTag,
    /// The field.
    pub field: FieldTag,
    /// The scope's id in a scoped table, else empty: uniqueness is per scope value there.
    pub scope: Vec<u8>,
    /// The value, see [`value_key`].
    pub value: Vec<u8>,
}

/// A value as a short key: its canonical form, or where that is long 0xFF and BLAKE3 of it.
pub fn value_key(value: &Value) -> Vec<u8> {
    let mut form = Vec::with_capacity(value.canonical_len());
    value.canonical(&mut form);
    if form.len() <= 64 {
        return form;
    }
    let mut key = vec![0xFF];
    key.extend(hash::long(&form));
    key
}
