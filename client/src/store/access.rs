//! Typed access to the tables, the same for snapshots and transactions.

use super::pairs::spare;
use super::tables::{Definition, Name};
use super::{AcknowledgedPush, AuthorRecord, Displaced, FrozenPush, MirrorRow, RecoveryCopy, StoreError, SyncState, records};
use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, ReadableTableMetadata, Table, WriteTransaction};
use serde::{Serialize, de::DeserializeOwned};
use std::cell::OnceCell;
use std::collections::BTreeMap;
use tombolo_protocol::codec::store::{decode, encode};
use tombolo_protocol::cursor::Cursors;
use tombolo_protocol::hash::Digest;
use tombolo_protocol::ids::{DeviceId, Hash16, Mark, PushNo, RowId, RowKey, RowNo, Section, Seq, TableTag};
use tombolo_protocol::limits::{COMMON_PAIRS_MAX, SETTLED_OF_ROW_MAX};
use tombolo_protocol::message::WantedRow;
use tombolo_protocol::outbox::{Entry, Settled};
use tombolo_protocol::row::Row;
use tombolo_protocol::schema::Role;

/// A snapshot or a transaction, in which tables can be opened.
pub trait Source {
    /// A table that is open.
    type Table: ReadableTable<Bytes, Bytes> + ReadableTableMetadata;

    /// Opens a table.
    ///
    /// # Errors
    /// [`StoreError`] when the disk fails, or there is no such table.
    fn open(&self, definition: Definition) -> Result<Self::Table, StoreError>;
}

impl Source for ReadTransaction {
    type Table = ReadOnlyTable<Bytes, Bytes>;

    fn open(&self, definition: Definition) -> Result<Self::Table, StoreError> {
        Ok(self.open_table(definition)?)
    }
}

impl<'txn> Source for &'txn WriteTransaction {
    type Table = Table<'txn, Bytes, Bytes>;

    fn open(&self, definition: Definition) -> Result<Self::Table, StoreError> {
        Ok(self.open_table(definition)?)
    }
}

/// All tables of the store. Each is opened when it is first asked for: a step uses few of them, and opening one is a search.
pub struct Tables<S: Source> {
    source: S,
    opened: [OnceCell<S::Table>; Name::ALL.len()],
}

type Bytes = &'static [u8];

/// Pairs that are kept; one place is left for the beginning.
const PAIRS_MAX: usize = COMMON_PAIRS_MAX - 1;

/// The key of a row: table tag and id.
pub(crate) fn row_key(key: RowKey) -> [u8; 18] {
    let mut bytes = [0; 18];
    bytes[..2].copy_from_slice(&key.table.0.to_be_bytes());
    bytes[2..].copy_from_slice(key.id.bytes());
    bytes
}

fn row_key_of(bytes: &[u8]) -> Result<RowKey, StoreError> {
    let bytes: [u8; 18] = bytes.try_into().map_err(|_| StoreError::Damaged("the key of a row".into()))?;
    let [a, b, id @ ..] = bytes;
    Ok(RowKey { table: TableTag(u16::from_be_bytes([a, b])), id: RowId::from_bytes(id) })
}

/// The key of a row number: short, and in the order of the numbers.
fn number_key(no: RowNo) -> Vec<u8> {
    let bytes = no.0.to_be_bytes();
    let length = (u64::BITS - no.0.leading_zeros()).div_ceil(8);
    let mut key = vec![length as u8];
    key.extend(&bytes[bytes.len() - length as usize..]);
    key
}

fn number_of(bytes: &[u8]) -> Result<u64, StoreError> {
    let first: [u8; 8] =
        bytes.get(..8).and_then(|b| b.try_into().ok()).ok_or_else(|| StoreError::Damaged("a number".into()))?;
    Ok(u64::from_be_bytes(first))
}

fn hash_of(bytes: &[u8]) -> Result<Hash16, StoreError> {
    Ok(Hash16(bytes.try_into().map_err(|_| StoreError::Damaged("a hash".into()))?))
}

impl<S: Source> Tables<S> {
    pub(super) fn of(source: S) -> Self {
        Self { source, opened: [const { OnceCell::new() }; Name::ALL.len()] }
    }

    pub(super) fn source(&self) -> &S {
        &self.source
    }

    pub(super) fn table(&self, name: Name) -> Result<&S::Table, StoreError> {
        let cell = &self.opened[name as usize];
        if let Some(table) = cell.get() {
            return Ok(table);
        }
        let table = self.source.open(name.definition())?;
        Ok(cell.get_or_init(|| table))
    }

    fn table_mut(&mut self, name: Name) -> Result<&mut S::Table, StoreError> {
        self.table(name)?;
        self.opened[name as usize].get_mut().ok_or_else(|| StoreError::Damaged(name.text().into()))
    }

    pub(crate) fn meta<R: DeserializeOwned>(&self, name: &str) -> Result<Option<R>, StoreError> {
        record(self.table(Name::Meta)?, name.as_bytes())
    }

    /// Where the client stands.
    pub fn cursors(&self) -> Result<Cursors, StoreError> {
        Ok(self.meta(records::CURSORS)?.unwrap_or_default())
    }

    /// Everything small that moves while syncing.
    pub fn sync_state(&self) -> Result<SyncState, StoreError> {
        Ok(self.meta(records::SYNC)?.unwrap_or_default())
    }

    /// The last measured rate of the link, in bytes a second; zero where it is not known.
    pub fn rate(&self) -> Result<u32, StoreError> {
        Ok(self.meta(records::RATE)?.unwrap_or_default())
    }

    /// Whom the store belongs to.
    pub fn account(&self) -> Result<Option<super::Account>, StoreError> {
        self.meta(records::ACCOUNT)
    }

    /// The device under which what is frozen was frozen, where it is not the account's.
    pub fn frozen_under(&self) -> Result<Option<DeviceId>, StoreError> {
        Ok(self.meta(records::FROZEN_UNDER)?.flatten())
    }

    /// The user's role, as the last login told it.
    pub fn role(&self) -> Result<Option<Role>, StoreError> {
        self.meta(records::ROLE)
    }

    /// A mirror row.
    pub fn mirror(&self, key: RowKey) -> Result<Option<MirrorRow>, StoreError> {
        match self.table(Name::Mirror)?.get(row_key(key).as_slice())? {
            Some(guard) => Ok(Some(MirrorRow::of(key, guard.value())?)),
            None => Ok(None),
        }
    }

    /// The mirror rows of a table in the order of their ids, beginning behind `after`.
    pub fn mirror_rows(
        &self,
        table: TableTag,
        after: Option<RowId>,
    ) -> Result<impl Iterator<Item = Result<MirrorRow, StoreError>> + '_, StoreError> {
        let rows = range(self.table(Name::Mirror)?, table_range(table, after))?;
        Ok(rows.map(|item| item.and_then(|(key, value)| Ok(MirrorRow::of(row_key_of(&key)?, &value)?))))
    }

    /// Whether the mirror holds nothing at all.
    pub fn mirror_is_empty(&self) -> Result<bool, StoreError> {
        Ok(self.table(Name::Mirror)?.first()?.is_none())
    }

    /// The row that the server calls by this number.
    pub fn key_of_number(&self, no: RowNo) -> Result<Option<RowKey>, StoreError> {
        self.table(Name::Numbers)?.get(number_key(no).as_slice())?.map(|guard| row_key_of(guard.value())).transpose()
    }

    /// The unconfirmed changes of a row.
    pub fn entry(&self, key: RowKey) -> Result<Option<Entry>, StoreError> {
        record(self.table(Name::Outbox)?, &row_key(key))
    }

    /// All entries, by table and id.
    pub fn entries(&self) -> Result<impl Iterator<Item = Result<Entry, StoreError>> + '_, StoreError> {
        Ok(range(self.table(Name::Outbox)?, (Vec::new(), vec![0xff; 19]))?
            .map(|item| item.and_then(|(_, value)| Ok(decode(&value)?))))
    }

    /// The entries of a table, by id, beginning behind `after`.
    pub fn entries_of(
        &self,
        table: TableTag,
        after: Option<RowId>,
    ) -> Result<impl Iterator<Item = Result<Entry, StoreError>> + '_, StoreError> {
        let rows = range(self.table(Name::Outbox)?, table_range(table, after))?;
        Ok(rows.map(|item| item.and_then(|(_, value)| Ok(decode(&value)?))))
    }

    /// How many rows have unconfirmed changes.
    pub fn entry_count(&self) -> Result<u64, StoreError> {
        Ok(self.table(Name::Outbox)?.len()?)
    }

    /// A frozen push.
    pub fn frozen(&self, number: PushNo) -> Result<Option<FrozenPush>, StoreError> {
        record(self.table(Name::Frozen)?, &number.0.to_be_bytes())
    }

    /// The frozen pushes, ascending.
    pub fn all_frozen(&self) -> Result<Vec<FrozenPush>, StoreError> {
        all(self.table(Name::Frozen)?)
    }

    /// The oldest frozen push.
    pub fn first_frozen(&self) -> Result<Option<FrozenPush>, StoreError> {
        self.table(Name::Frozen)?.first()?.map(|item| Ok(decode(item.1.value())?)).transpose()
    }

    /// The frozen pushes behind a number, ascending.
    pub fn frozen_after(&self, number: PushNo) -> Result<Vec<FrozenPush>, StoreError> {
        let bounds = (number.next().0.to_be_bytes().to_vec(), vec![0xff; 9]);
        range(self.table(Name::Frozen)?, bounds)?.map(|item| item.and_then(|(_, value)| Ok(decode(&value)?))).collect()
    }

    /// How many pushes have no answer yet.
    pub fn frozen_count(&self) -> Result<usize, StoreError> {
        Ok(usize::try_from(self.table(Name::Frozen)?.len()?).unwrap_or(usize::MAX))
    }

    /// The acknowledged pushes above a seq, oldest first.
    pub fn acknowledged_above(&self, seq: Seq) -> Result<Vec<AcknowledgedPush>, StoreError> {
        let bounds = (seq.0.saturating_add(1).to_be_bytes().to_vec(), vec![0xff; 17]);
        range(self.table(Name::Acknowledged)?, bounds)?.map(|item| item.and_then(|(_, value)| Ok(decode(&value)?))).collect()
    }

    /// The (seq, hash) pairs that may be common with a server, newest first: of what any message gave, of the acknowledged
    /// pushes, and the beginning, which is common to everything in one workspace.
    pub fn common_pairs(&self) -> Result<Vec<Mark>, StoreError> {
        let mut pairs = range(self.table(Name::Pairs)?, (Vec::new(), vec![0xff; 9]))?
            .map(|item| item.and_then(|(key, value)| Ok((number_of(&key)?, hash_of(&value)?))))
            .collect::<Result<BTreeMap<u64, Hash16>, _>>()?;
        for push in self.acknowledged_above(Seq(0))? {
            pairs.insert(push.commit.seq.0, push.commit.hash);
            if pairs.len() > PAIRS_MAX
                && let Some(spare) = spare(&pairs.keys().copied().collect::<Vec<_>>())
            {
                pairs.remove(&spare);
            }
        }
        let newest_first = pairs.into_iter().rev().map(|(seq, hash)| Mark { seq: Seq(seq), hash });
        Ok(newest_first.chain([Mark::default()]).collect())
    }

    /// Rows of which only a part came.
    pub fn wants(&self) -> Result<Vec<WantedRow>, StoreError> {
        range(self.table(Name::Wants)?, (Vec::new(), vec![0xff; 64]))?
            .map(|item| item.and_then(|(key, _)| Ok(decode(&key)?)))
            .collect()
    }

    /// Who made a commit.
    pub fn author(&self, seq: Seq) -> Result<Option<AuthorRecord>, StoreError> {
        record(self.table(Name::Authors)?, &seq.0.to_be_bytes())
    }

    /// Who made the newest commits that are known, newest first; at most `max`.
    pub fn newest_authors(&self, max: usize) -> Result<Vec<(Seq, AuthorRecord)>, StoreError> {
        let mut newest: Vec<_> = range(self.table(Name::Authors)?, (Vec::new(), vec![0xff; 9]))?
            .map(|item| {
                let (key, value) = item?;
                let seq: [u8; 8] = key.as_slice().try_into().map_err(|_| StoreError::Damaged("an author's number".into()))?;
                Ok((Seq(u64::from_be_bytes(seq)), decode(&value)?))
            })
            .collect::<Result<_, StoreError>>()?;
        newest.reverse();
        newest.truncate(max);
        Ok(newest)
    }

    /// The newest confirmations of a row's edits, oldest first.
    pub fn settled(&self, key: RowKey) -> Result<Vec<Settled>, StoreError> {
        Ok(record(self.table(Name::Settled)?, &row_key(key))?.unwrap_or_default())
    }

    /// What others replaced under the pending changes of a row.
    pub fn displaced(&self, key: RowKey) -> Result<Vec<Displaced>, StoreError> {
        Ok(record(self.table(Name::Displaced)?, &row_key(key))?.unwrap_or_default())
    }

    /// The digest of a section over the mirror's rows.
    pub fn digest(&self, section: &Section) -> Result<Digest, StoreError> {
        Ok(record(self.table(Name::Digests)?, &encode(section))?.unwrap_or_default())
    }

    /// The text of a schema.
    pub fn schema_text(&self, seq: Seq) -> Result<Option<String>, StoreError> {
        record(self.table(Name::Schemas)?, &seq.0.to_be_bytes())
    }

    /// The texts of all schemas that were ever known, newest first.
    pub fn schema_texts(&self) -> Result<Vec<String>, StoreError> {
        let mut texts: Vec<String> = all(self.table(Name::Schemas)?)?;
        texts.reverse();
        Ok(texts)
    }

    /// The mirrors that were set aside, oldest first.
    pub fn recovery_copies(&self) -> Result<Vec<(u32, RecoveryCopy)>, StoreError> {
        range(self.table(Name::Recovery)?, (Vec::new(), vec![0xff; 5]))?
            .map(|item| {
                let (key, value) = item?;
                let number = key.try_into().map_err(|_| StoreError::Damaged("a recovery copy".into()))?;
                Ok((u32::from_be_bytes(number), decode(&value)?))
            })
            .collect()
    }

    /// The rows of a mirror that was set aside.
    pub fn recovery_rows(&self, copy: u32) -> Result<impl Iterator<Item = Result<Row, StoreError>> + '_, StoreError> {
        let bounds = (copy.to_be_bytes().to_vec(), [&copy.to_be_bytes()[..], &[0xff; 19]].concat());
        Ok(range(self.table(Name::RecoveryRows)?, bounds)?.map(|item| item.and_then(|(_, value)| Ok(decode(&value)?))))
    }
}

impl Tables<&WriteTransaction> {
    pub(crate) fn set_meta<R: Serialize>(&mut self, name: &str, value: &R) -> Result<(), StoreError> {
        put(self.table_mut(Name::Meta)?, name.as_bytes(), value)
    }

    pub(crate) fn set_cursors(&mut self, cursors: &Cursors) -> Result<(), StoreError> {
        self.set_meta(records::CURSORS, cursors)
    }

    pub(crate) fn set_sync_state(&mut self, state: &SyncState) -> Result<(), StoreError> {
        self.set_meta(records::SYNC, state)
    }

    pub(crate) fn set_rate(&mut self, rate: u32) -> Result<(), StoreError> {
        self.set_meta(records::RATE, &rate)
    }

    pub(crate) fn set_account(&mut self, account: &super::Account) -> Result<(), StoreError> {
        self.set_meta(records::ACCOUNT, account)
    }

    pub(crate) fn set_frozen_under(&mut self, device: Option<DeviceId>) -> Result<(), StoreError> {
        self.set_meta(records::FROZEN_UNDER, &device)
    }

    pub(crate) fn set_role(&mut self, role: Role) -> Result<(), StoreError> {
        self.set_meta(records::ROLE, &role)
    }

    pub(crate) fn put_mirror(&mut self, row: &MirrorRow) -> Result<(), StoreError> {
        let key = row_key(row.row.key);
        if row.row.no != RowNo(0) {
            self.table_mut(Name::Numbers)?.insert(number_key(row.row.no).as_slice(), key.as_slice())?;
        }
        self.table_mut(Name::Mirror)?.insert(key.as_slice(), row.behind_key().as_slice())?;
        Ok(())
    }

    pub(crate) fn remove_mirror(&mut self, row: &Row) -> Result<(), StoreError> {
        self.table_mut(Name::Mirror)?.remove(row_key(row.key).as_slice())?;
        self.table_mut(Name::Numbers)?.remove(number_key(row.no).as_slice())?;
        Ok(())
    }

    /// Empties the mirror with its numbers, wishes and digests.
    pub(crate) fn clear_mirror(&mut self) -> Result<(), StoreError> {
        for name in [Name::Mirror, Name::Numbers, Name::Wants, Name::Digests] {
            self.table_mut(name)?.retain(|_, _| false)?;
        }
        Ok(())
    }

    /// Stores an entry; an empty one leaves the outbox, with what others replaced under it.
    pub(crate) fn put_entry(&mut self, entry: &Entry) -> Result<(), StoreError> {
        if entry.is_empty() {
            for name in [Name::Outbox, Name::Displaced] {
                self.table_mut(name)?.remove(row_key(entry.key).as_slice())?;
            }
            Ok(())
        } else {
            put(self.table_mut(Name::Outbox)?, &row_key(entry.key), entry)
        }
    }

    pub(crate) fn put_frozen(&mut self, push: &FrozenPush) -> Result<(), StoreError> {
        put(self.table_mut(Name::Frozen)?, &push.number.0.to_be_bytes(), push)
    }

    pub(crate) fn remove_frozen(&mut self, number: PushNo) -> Result<(), StoreError> {
        self.table_mut(Name::Frozen)?.remove(number.0.to_be_bytes().as_slice())?;
        Ok(())
    }

    /// Keeps an acknowledged push; returns its bytes.
    pub(crate) fn put_acknowledged(&mut self, number: PushNo, push: &AcknowledgedPush) -> Result<u64, StoreError> {
        let key = [push.commit.seq.0.to_be_bytes(), number.0.to_be_bytes()].concat();
        let bytes = encode(push);
        self.table_mut(Name::Acknowledged)?.insert(key.as_slice(), bytes.as_slice())?;
        Ok(bytes.len() as u64)
    }

    /// Drops acknowledged pushes at or below a seq; returns their bytes.
    pub(crate) fn drop_acknowledged(&mut self, seq: Seq) -> Result<u64, StoreError> {
        let (end, mut bytes) = (seq.0.saturating_add(1).to_be_bytes(), 0);
        self.table_mut(Name::Acknowledged)?.retain_in(..end.as_slice(), |_, push| {
            bytes += push.len() as u64;
            false
        })?;
        Ok(bytes)
    }

    /// Drops acknowledged pushes above a seq; returns their bytes.
    pub(crate) fn drop_acknowledged_above(&mut self, seq: Seq) -> Result<u64, StoreError> {
        let (begin, mut bytes) = (seq.0.saturating_add(1).to_be_bytes(), 0);
        self.table_mut(Name::Acknowledged)?.retain_in(begin.as_slice().., |_, push| {
            bytes += push.len() as u64;
            false
        })?;
        Ok(bytes)
    }

    /// Drops the oldest acknowledged push if this is so of it; returns its bytes.
    pub(crate) fn drop_oldest_acknowledged(
        &mut self,
        goes: impl FnOnce(&AcknowledgedPush) -> bool,
    ) -> Result<Option<u64>, StoreError> {
        let (key, bytes) = {
            let Some((key, value)) = self.table(Name::Acknowledged)?.first()? else { return Ok(None) };
            if !goes(&decode(value.value())?) {
                return Ok(None);
            }
            (key.value().to_vec(), value.value().len() as u64)
        };
        self.table_mut(Name::Acknowledged)?.remove(key.as_slice())?;
        Ok(Some(bytes))
    }

    /// Keeps a pair; where there are too many, the one that is missed least goes.
    pub(crate) fn put_pair(&mut self, mark: Mark) -> Result<(), StoreError> {
        self.table_mut(Name::Pairs)?.insert(mark.seq.0.to_be_bytes().as_slice(), mark.hash.0.as_slice())?;
        if self.table(Name::Pairs)?.len()? > PAIRS_MAX as u64 {
            let seqs =
                self.table(Name::Pairs)?.iter()?.map(|item| number_of(item?.0.value())).collect::<Result<Vec<_>, _>>()?;
            if let Some(spare) = spare(&seqs) {
                self.table_mut(Name::Pairs)?.remove(spare.to_be_bytes().as_slice())?;
            }
        }
        Ok(())
    }

    /// Forgets pairs above a seq.
    pub(crate) fn drop_pairs_above(&mut self, seq: Seq) -> Result<(), StoreError> {
        let begin = seq.0.saturating_add(1).to_be_bytes();
        self.table_mut(Name::Pairs)?.retain_in(begin.as_slice().., |_, _| false)?;
        Ok(())
    }

    pub(crate) fn put_want(&mut self, want: WantedRow) -> Result<(), StoreError> {
        self.table_mut(Name::Wants)?.insert(encode(&want).as_slice(), [].as_slice())?;
        Ok(())
    }

    pub(crate) fn remove_want(&mut self, want: WantedRow) -> Result<(), StoreError> {
        // There hardly are any, and this is asked of each row that comes.
        if self.table(Name::Wants)?.is_empty()? {
            return Ok(());
        }
        self.table_mut(Name::Wants)?.remove(encode(&want).as_slice())?;
        Ok(())
    }

    pub(crate) fn put_author(&mut self, seq: Seq, author: &AuthorRecord) -> Result<(), StoreError> {
        put(self.table_mut(Name::Authors)?, &seq.0.to_be_bytes(), author)
    }

    /// Forgets who made the oldest commits until no more than this many are left.
    pub(crate) fn bound_authors(&mut self, max: u64) -> Result<(), StoreError> {
        while self.table(Name::Authors)?.len()? > max {
            self.table_mut(Name::Authors)?.pop_first()?;
        }
        Ok(())
    }

    /// Forgets who made the commits above a seq.
    pub(crate) fn drop_authors_above(&mut self, seq: Seq) -> Result<(), StoreError> {
        let begin = seq.0.saturating_add(1).to_be_bytes();
        self.table_mut(Name::Authors)?.retain_in(begin.as_slice().., |_, _| false)?;
        Ok(())
    }

    /// Keeps a confirmation, the newest few of each row. When there are twice `max` rows, the newest `max` stay, so that looking
    /// at all of them costs each little. Without its confirmation a view is an old one: its writer is asked, and overwrites nothing.
    pub(crate) fn put_settled(&mut self, key: RowKey, settled: &Settled, max: usize) -> Result<(), StoreError> {
        let mut of_row = self.settled(key)?;
        of_row.push(settled.clone());
        of_row.drain(..of_row.len().saturating_sub(SETTLED_OF_ROW_MAX));
        put(self.table_mut(Name::Settled)?, &row_key(key), &of_row)?;
        if self.table(Name::Settled)?.len()? < 2 * max as u64 {
            return Ok(());
        }
        let newest = |value: &[u8]| -> Result<Seq, StoreError> {
            Ok(decode::<Vec<Settled>>(value)?.last().map(|settled| settled.seq).unwrap_or_default())
        };
        let mut seqs: Vec<Seq> =
            self.table(Name::Settled)?.iter()?.map(|item| newest(item?.1.value())).collect::<Result<_, StoreError>>()?;
        seqs.sort_unstable();
        let oldest = seqs[seqs.len() - max];
        self.table_mut(Name::Settled)?.retain(|_, value| newest(value).is_ok_and(|seq| seq >= oldest))?;
        Ok(())
    }

    /// What others replaced under the pending changes of a row.
    pub(crate) fn set_displaced(&mut self, key: RowKey, displaced: &Vec<Displaced>) -> Result<(), StoreError> {
        put(self.table_mut(Name::Displaced)?, &row_key(key), displaced)
    }

    /// Forgets what was confirmed and replaced in a history that is lost: its seqs say nothing in another.
    pub(crate) fn forget_history(&mut self) -> Result<(), StoreError> {
        for name in [Name::Settled, Name::Displaced] {
            self.table_mut(name)?.retain(|_, _| false)?;
        }
        Ok(())
    }

    pub(crate) fn set_digest(&mut self, section: &Section, digest: Digest) -> Result<(), StoreError> {
        put(self.table_mut(Name::Digests)?, &encode(section), &digest)
    }

    pub(crate) fn put_schema(&mut self, seq: Seq, text: &String) -> Result<(), StoreError> {
        put(self.table_mut(Name::Schemas)?, &seq.0.to_be_bytes(), text)
    }

    pub(crate) fn put_recovery(&mut self, copy: u32, record: &RecoveryCopy) -> Result<(), StoreError> {
        put(self.table_mut(Name::Recovery)?, &copy.to_be_bytes(), record)
    }

    pub(crate) fn put_recovery_row(&mut self, copy: u32, row: &Row) -> Result<(), StoreError> {
        let key = [&copy.to_be_bytes()[..], &row_key(row.key)].concat();
        put(self.table_mut(Name::RecoveryRows)?, &key, row)
    }

    /// Drops a mirror that was set aside.
    pub(crate) fn remove_recovery(&mut self, copy: u32) -> Result<(), StoreError> {
        self.table_mut(Name::Recovery)?.remove(copy.to_be_bytes().as_slice())?;
        let end = [&copy.to_be_bytes()[..], &[0xff; 19]].concat();
        self.table_mut(Name::RecoveryRows)?.retain_in(copy.to_be_bytes().as_slice()..end.as_slice(), |_, _| false)?;
        Ok(())
    }
}

type ByteRange = (Vec<u8>, Vec<u8>);

fn table_range(table: TableTag, after: Option<RowId>) -> ByteRange {
    let begin = match after {
        Some(id) => [&row_key(RowKey { table, id })[..], &[0]].concat(),
        None => table.0.to_be_bytes().to_vec(),
    };
    (begin, [&table.0.to_be_bytes()[..], &[0xff; 17]].concat())
}

type Pair = (Vec<u8>, Vec<u8>);

fn range<'a, T: ReadableTable<Bytes, Bytes>>(
    table: &'a T,
    bounds: ByteRange,
) -> Result<impl Iterator<Item = Result<Pair, StoreError>> + use<'a, T>, StoreError> {
    let items = table.range(bounds.0.as_slice()..bounds.1.as_slice())?;
    Ok(items.map(|item| {
        let (key, value) = item?;
        Ok((key.value().to_vec(), value.value().to_vec()))
    }))
}

fn record<R: DeserializeOwned>(table: &impl ReadableTable<Bytes, Bytes>, key: &[u8]) -> Result<Option<R>, StoreError> {
    match table.get(key)? {
        Some(guard) => Ok(Some(decode(guard.value())?)),
        None => Ok(None),
    }
}

fn all<R: DeserializeOwned>(table: &impl ReadableTable<Bytes, Bytes>) -> Result<Vec<R>, StoreError> {
    table.iter()?.map(|item| Ok(decode(item?.1.value())?)).collect()
}

fn put<R: Serialize>(table: &mut Table<'_, Bytes, Bytes>, key: &[u8], value: &R) -> Result<(), StoreError> {
    table.insert(key, encode(value).as_slice())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;
    use redb::backends::InMemoryBackend;
    use tombolo_protocol::ids::Generation;

    #[test]
    fn keys_of_numbers_are_in_the_order_of_the_numbers() {
        let numbers = [0, 1, 255, 256, 65_535, 65_536, 1 << 40, u64::MAX];
        let keys = numbers.map(|number| number_key(RowNo(number)));
        assert!(keys.is_sorted_by(|one, next| one < next));
        assert_eq!((keys[3].as_slice(), keys[7].len()), ([2, 1, 0].as_slice(), 9));
    }

    #[test]
    fn of_the_confirmations_of_a_row_the_newest_stay_in_order() {
        let store = Store::with_backend(InMemoryBackend::new()).unwrap();
        let key = RowKey { table: TableTag(1), id: RowId::from_bytes([1; 16]) };
        let settled =
            |seq: u64| Settled { generation: Generation(seq), seq: Seq(seq), fields: [].into(), whole: false, others: None };
        let newest = 3 + SETTLED_OF_ROW_MAX as u64;
        (1..=newest).for_each(|seq| store.write(|tables| tables.put_settled(key, &settled(seq), 10)).unwrap());
        assert_eq!(store.read().unwrap().settled(key).unwrap(), (4..=newest).map(settled).collect::<Vec<_>>());
    }

    #[test]
    fn of_the_confirmations_the_newest_stay() {
        let store = Store::with_backend(InMemoryBackend::new()).unwrap();
        let key = |n: u8| RowKey { table: TableTag(1), id: RowId::from_bytes([n; 16]) };
        let settled =
            |seq: u64| Settled { generation: Generation(seq), seq: Seq(seq), fields: [].into(), whole: false, others: None };
        // The ids run against the seqs, two to a commit.
        let put = |n: u8| store.write(|tables| tables.put_settled(key(200 - n), &settled(u64::from(n / 2)), 10)).unwrap();
        let kept = |n: u8| !store.read().unwrap().settled(key(200 - n)).unwrap().is_empty();
        (0..19).for_each(put);
        assert!((0..19).all(kept));
        put(19);
        assert!((0..10).all(|n| !kept(n)) && (10..20).all(kept));
        (20..100).for_each(put);
        assert!((90..100).all(kept) && (0..100).filter(|n| kept(*n)).count() < 20);
    }
}
