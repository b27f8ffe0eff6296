//! A consistent read view of the newest durable state: everything that is told to clients is read from one of these.

mod activity;
mod authors;
mod history;
mod outcome;

pub(crate) use authors::commits_of;
pub use authors::{AuthorList, OPERATOR_NAME};

use crate::access::Rights;
use crate::feed::{Scan, Scanned, Source};
use crate::prepared::{ChunkKey, Entries, Found, PreparedChunk};
use crate::store::read::Read;
use crate::store::records::{CommitMark, Device, Meta, SectionRecord, User};
use crate::store::tables::ReadTables;
use crate::store::{Store, StoreError};
use redb::ReadableTable;
use std::collections::BTreeSet;
use std::sync::Arc;
use tombolo_protocol::commit::{Commit, Offer};
use tombolo_protocol::hash::Digest;
use tombolo_protocol::ids::{
    DeviceId, Hash16, Mark, Position, PushNo, RowId, RowKey, RowNo, Section, Seq, TableTag, UserId, WorkspaceId,
};
use tombolo_protocol::planted::{Planted, planted};
use tombolo_protocol::row::Row;
use tombolo_protocol::schema::Schema;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// A device and its user, as a valid token names them, and that token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The device.
    pub device: DeviceId,
    /// Its user.
    pub user: UserId,
    /// BLAKE3 of the token: what it opened ends when the device has another one.
    pub token: [u8; 32],
    /// When the token expires, in milliseconds since 1970.
    pub expires_at_ms: i64,
}

/// The read view. Keep it for a short while only.
pub struct Snapshot {
    store: Store,
    tables: ReadTables,
    meta: Meta,
    schema: Arc<Schema>,
}

impl Snapshot {
    pub(crate) fn new(store: Store, tables: ReadTables) -> Result<Self, StoreError> {
        let meta = tables.meta_record()?.ok_or(StoreError::NotInitialised)?;
        let schema = store.schema(&tables, meta.schema)?;
        Ok(Self { store, tables, meta, schema })
    }

    /// The head: where everything here is read.
    pub fn head(&self) -> Mark {
        tombolo_protocol::hash::mark(self.meta.head, self.meta.hash)
    }

    /// The workspace.
    pub fn workspace(&self) -> WorkspaceId {
        self.meta.workspace
    }

    /// The schema at the head.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// The seq of its commit.
    pub fn schema_seq(&self) -> Seq {
        self.meta.schema
    }

    /// The schema in force at a seq.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn schema_at(&self, seq: Seq) -> Result<Arc<Schema>, StoreError> {
        let seq = self.tables.schema_seq_at(seq)?.ok_or(StoreError::NotInitialised)?;
        self.store.schema(&self.tables, seq)
    }

    /// The last commit that may have changed somebody's list of sections.
    pub fn sections_changed(&self) -> Seq {
        self.meta.sections_changed
    }

    /// The seq covered by a completed backup.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn safe(&self) -> Result<Seq, StoreError> {
        self.tables.safe_seq()
    }

    /// The hash of the log at a seq; none above the head. That of seq 0 is zero.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn hash_at(&self, seq: Seq) -> Result<Option<Hash16>, StoreError> {
        Ok(self.tables.hash_of(seq)?.map(|hash| hash.short()))
    }

    /// A commit; none also where its content was put away.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn commit(&self, seq: Seq) -> Result<Option<Commit>, StoreError> {
        Ok(self.tables.commit(seq)?.map(|(commit, _)| commit))
    }

    /// The last commit whose content may be gone, because the log was compacted; zero while it is whole.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn horizon(&self) -> Result<Seq, StoreError> {
        self.tables.horizon()
    }

    /// The last commit up to which all behind the horizon were made `days` or more ago, or the horizon where there is none.
    ///
    /// A clock that was wrong for a while makes it earlier and never later: no commit says that the ones before it are as old as
    /// itself, and where the newest commit is older than `now_ms`, days are counted from that one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn older_than(&self, days: u32, now_ms: i64) -> Result<Seq, StoreError> {
        let at_ms = |mark: &[u8]| tombolo_protocol::codec::store::decode(mark).map(|mark: CommitMark| mark.at_ms);
        let newest_ms = self.tables.marks.last()?.map(|(_, mark)| at_ms(mark.value())).transpose()?;
        let from_ms = newest_ms.map_or(now_ms, |newest_ms| newest_ms.min(now_ms)).saturating_sub(i64::from(days) * DAY_MS);
        let mut last = self.horizon()?;
        for entry in self.tables.marks.range(last.next().0..)? {
            let (seq, mark) = entry?;
            if at_ms(mark.value())? > from_ms {
                break;
            }
            last = Seq(seq.value());
        }
        Ok(last)
    }

    /// What the operator chose at the newest restore behind `common`; a folder put back by hand counts as yes (H4).
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn offer_after(&self, common: Seq) -> Result<Offer, StoreError> {
        Ok(self.tables.offer_after(common)?.unwrap_or(Offer::Yes))
    }

    /// A user.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        self.tables.user(id)
    }

    /// A user by the name to log in with.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn user_named(&self, name: &str) -> Result<Option<(UserId, User)>, StoreError> {
        let Some(id) = self.tables.user_named(name)? else { return Ok(None) };
        Ok(self.tables.user(id)?.map(|user| (id, user)))
    }

    /// All users by id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn users(&self) -> Result<Vec<(UserId, User)>, StoreError> {
        let mut users = Vec::new();
        for entry in self.tables.users.iter()? {
            let (id, user) = entry?;
            users.push((UserId::from_bytes(*id.value()), tombolo_protocol::codec::store::decode(user.value())?));
        }
        Ok(users)
    }

    /// A device.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn device(&self, id: DeviceId) -> Result<Option<Device>, StoreError> {
        self.tables.device(id)
    }

    /// All devices by id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn devices(&self) -> Result<Vec<(DeviceId, Device)>, StoreError> {
        let mut devices = Vec::new();
        for entry in self.tables.devices.iter()? {
            let (id, device) = entry?;
            devices.push((DeviceId::from_bytes(*id.value()), tombolo_protocol::codec::store::decode(device.value())?));
        }
        Ok(devices)
    }

    /// Who a token with this hash belongs to; none where it is unknown, expired or given back.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn identity(&self, token: &[u8; 32], now_ms: i64) -> Result<Option<Identity>, StoreError> {
        let Some(id) = self.tables.tokens.get(token)?.map(|id| DeviceId::from_bytes(*id.value())) else { return Ok(None) };
        let device = self.tables.device(id)?;
        let valid = device.filter(|device| !device.revoked && now_ms < device.expires_at_ms);
        let identity =
            |device: Device| Identity { device: id, user: device.user, token: *token, expires_at_ms: device.expires_at_ms };
        Ok(valid.map(identity))
    }

    /// The rights of a user at the head; none where there is no such user.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn rights(&self, user: UserId) -> Result<Option<Rights>, StoreError> {
        Rights::of(&self.tables, user)
    }

    /// The sections of a user.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn sections(&self, rights: &Rights) -> Result<BTreeSet<Section>, StoreError> {
        Ok(rights.sections(&self.schema, &self.tables.known_scopes()?))
    }

    /// A row, whoever asks.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn row(&self, key: &RowKey) -> Result<Option<Row>, StoreError> {
        self.tables.row(key)
    }

    /// A row by number, whoever asks.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn row_numbered(&self, number: RowNo) -> Result<Option<Row>, StoreError> {
        self.tables.row_numbered(number)
    }

    /// Rows of a table by ascending id behind `after`, deleted ones included.
    ///
    /// # Errors
    /// [`StoreError`]; also once a durable write has failed: who reads all rows of a table page by page lets go then (P9).
    pub fn rows_after(&self, table: TableTag, after: Option<RowId>, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.store.check()?;
        self.tables.rows_after(table, after, limit)
    }

    /// The digest of a section at the head.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn digest(&self, section: &Section) -> Result<Digest, StoreError> {
        Ok(self.tables.section_record(section)?.map(|record| record.digest).unwrap_or_default())
    }

    /// All sections that have or had rows.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn section_records(&self) -> Result<Vec<SectionRecord>, StoreError> {
        let mut records = Vec::new();
        for entry in self.tables.sections.iter()? {
            records.push(tombolo_protocol::codec::store::decode(entry?.1.value())?);
        }
        Ok(records)
    }

    /// The last push of a device with its hash; zero before the first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn last_push(&self, device: DeviceId) -> Result<(PushNo, Hash16), StoreError> {
        Ok(self.tables.device(device)?.map(|device| (device.last, device.last_hash)).unwrap_or_default())
    }

    /// The hash and seq of a recorded push.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn recorded_push(&self, device: DeviceId, number: PushNo) -> Result<Option<(Hash16, Seq)>, StoreError> {
        Ok(self.tables.recorded_push(device, number)?.map(|push| (push.hash, push.seq)))
    }

    /// What is known of a chunk of a first sync, and whether it still is what the feed has.
    pub(crate) fn prepared(&self, key: &ChunkKey) -> Result<Found, StoreError> {
        let kept = self.store.prepared();
        let Some(chunk) = kept.find(key) else { return Ok(Found::Unknown(kept.end_around(key))) };
        if planted(Planted::PreparedUnchecked) {
            return Ok(Found::Ready(chunk));
        }
        let mut is_so = self.entries(key, chunk.to)? == chunk.entries;
        for (user, name) in &chunk.names {
            is_so = is_so && self.user_name(*user)? == *name;
        }
        let stale = || Found::Stale(Some(chunk.to).filter(|_| chunk.entries.end_a_commit));
        Ok(if is_so { Found::Ready(chunk) } else { stale() })
    }

    /// Keeps a chunk for the next device that comes to it.
    pub(crate) fn keep_prepared(&self, key: ChunkKey, chunk: Arc<PreparedChunk>) {
        self.store.prepared().keep(key, chunk);
    }

    /// What the feed has from where a chunk begins to where it ends.
    pub(crate) fn entries(&self, key: &ChunkKey, to: Position) -> Result<Entries, StoreError> {
        Entries::read(&self.tables, &key.section, key.from, to)
    }

    /// Scans the feed as this user sees it. `own` says of a push whether the client has its rows from the result already.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn scan(
        &self,
        rights: &Rights,
        scan: &Scan<'_>,
        own: &dyn Fn(DeviceId, PushNo) -> bool,
    ) -> Result<Scanned, StoreError> {
        let source = Source { tables: &self.tables, head: self.meta.head, schema: &self.schema, rights };
        let mut last: Option<(Seq, bool)> = None;
        source.scan(scan, &mut |seq| {
            if let Some((known, is_own)) = last
                && known == seq
            {
                return Ok(is_own);
            }
            let push = self.tables.commit_mark(seq)?.and_then(|mark| mark.push);
            let is_own = push.is_some_and(|(device, number)| own(device, number));
            last = Some((seq, is_own));
            Ok(is_own)
        })
    }
}
