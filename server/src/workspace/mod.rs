//! The single writer. It decides jobs one after another on one write transaction, appends their commits with one durable write,
//! and only then answers.
//!
//! # How it is driven
//! One thread owns it, gathers jobs up to [`tombolo_protocol::limits::GROUP_COMMIT_CHANGES_MAX`] by [`Job::weight`], calls
//! [`Workspace::apply`], hands the replies to the sessions, and then announces [`Workspace::head`].
//!
//! After an error nothing is answered from memory (P9): close all sessions, drop this and every handle of the store, open the
//! store again; retries are answered from there.

mod access;
mod compact;
mod import;
mod job;
mod schema;

pub use access::AccessError;
pub use import::{ImportRefusal, ImportWatch, Imported, SERVER_DEVICE};
pub use job::{Job, PushReply, Reply};
pub use schema::{SchemaRefusal, SchemaReply};

use crate::access::{OPERATOR, Rights};
use crate::decide::{Admit, Decider};
use crate::fold::Fold;
use crate::store::read::Read;
use crate::store::tables::WriteTables;
use crate::store::{Store, StoreError};
use redb::ReadableTable;
use thiserror::Error;
use tombolo_protocol::change::{Push, VerdictRuns};
use tombolo_protocol::commit::{CommitBody, PushRecord};
use tombolo_protocol::hash;
use tombolo_protocol::ids::{DeviceId, Hash16, Mark, PushNo, RowKey, Seq, UserId, WorkspaceId};
use tombolo_protocol::planted::{Planted, planted};
use tombolo_protocol::schema::{Schema, SchemaError};

/// A new workspace.
#[derive(Clone, Copy, Debug)]
pub struct Init<'a> {
    /// Its random id.
    pub id: WorkspaceId,
    /// The text of its first schema.
    pub schema: &'a str,
}

/// Why a workspace cannot be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InitError {
    /// There is one already.
    #[error("there is a workspace in this data folder already; nothing was changed")]
    Exists,
    /// The schema is not sound.
    #[error("{0}")]
    Schema(#[from] SchemaError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why rows cannot be purged.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum PurgeError {
    /// A row is unknown or not deleted.
    #[error("row {} is not a deleted row: only the values of deleted rows can be purged; nothing was changed", .0.id)]
    NotDeleted(RowKey),
}

/// A push that names this row meets a defect.
#[cfg(test)]
pub(crate) const DEFECTIVE: [u8; 16] = [0xDE; 16];

/// The single writer of a workspace.
pub struct Workspace {
    store: Store,
    head: Mark,
    admit: Admit,
    /// Of the jobs of the present write the one at work; `None` between jobs.
    at_work: Option<usize>,
}

impl Workspace {
    /// Makes a workspace in an empty store: commit 1 names it, commit 2 is its schema.
    ///
    /// # Errors
    /// [`InitError`].
    pub fn init(store: Store, init: Init<'_>, now_ms: i64) -> Result<Self, InitError> {
        Schema::parse(init.schema)?;
        if store.is_initialised()? {
            return Err(InitError::Exists);
        }
        let txn = store.write()?;
        {
            let mut tables = WriteTables::open(&txn)?;
            let mut fold = Fold::load(&store, &tables)?;
            fold.append(&mut tables, now_ms, OPERATOR, CommitBody::Workspace { id: init.id })?;
            fold.append(&mut tables, now_ms, OPERATOR, CommitBody::Schema { text: init.schema.to_owned() })?;
            fold.finish(&mut tables)?;
        }
        txn.commit().map_err(StoreError::from)?;
        Ok(Self::open(store)?)
    }

    /// Opens the workspace in a store.
    ///
    /// # Errors
    /// [`StoreError::NotInitialised`] where there is none.
    pub fn open(store: Store) -> Result<Self, StoreError> {
        let head = store.snapshot()?.head();
        Ok(Self { store, head, admit: tombolo_protocol::admit::admit, at_work: None })
    }

    /// The last durable commit.
    pub fn head(&self) -> Mark {
        self.head
    }

    /// After a panic: which of the jobs did it; `None` where it happened to all of them together.
    pub fn at_work(&self) -> Option<usize> {
        self.at_work
    }

    /// The store, for readers.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Puts another admission in place, so that a test can break it.
    #[cfg(test)]
    pub(crate) fn set_admit(&mut self, admit: Admit) {
        self.admit = admit;
    }

    /// Decides jobs in order, later ones on what earlier ones left, and makes all of it durable. An import has a durable write
    /// of its own, since it may be given up as a whole.
    ///
    /// # Errors
    /// [`StoreError`]: nothing is known to have happened, and the store must be opened again (P9).
    pub fn apply(&mut self, jobs: Vec<Job>, now_ms: i64) -> Result<Vec<Reply>, StoreError> {
        let applied = self.apply_all(jobs, now_ms);
        if applied.is_err() {
            self.store.poison();
        }
        applied
    }

    fn apply_all(&mut self, jobs: Vec<Job>, now_ms: i64) -> Result<Vec<Reply>, StoreError> {
        self.store.check()?;
        let mut replies = Vec::with_capacity(jobs.len());
        let mut batch = Vec::new();
        for job in jobs {
            if let Job::Import { by, changes, watch } = job {
                self.batch(std::mem::take(&mut batch), &mut replies, now_ms)?;
                self.at_work = Some(replies.len());
                replies.push(Reply::Import(self.import(by, changes, &watch, now_ms)?));
            } else {
                batch.push(job);
            }
        }
        self.batch(batch, &mut replies, now_ms)?;
        Ok(replies)
    }

    fn batch(&mut self, jobs: Vec<Job>, replies: &mut Vec<Reply>, now_ms: i64) -> Result<(), StoreError> {
        self.at_work = None;
        if jobs.is_empty() {
            return Ok(());
        }
        let mut txn = self.store.write()?;
        if planted(Planted::ServerNotDurable) {
            txn.set_durability(redb::Durability::None).map_err(|error| StoreError::damaged(error.to_string()))?;
        }
        let head = {
            let mut writer = Writer::open(&self.store, &txn, self.admit, now_ms)?;
            for job in jobs {
                self.at_work = Some(replies.len());
                replies.push(writer.apply(job)?);
            }
            self.at_work = None;
            writer.finish()?
        };
        txn.commit()?;
        self.head = head;
        Ok(())
    }
}

/// One write transaction at work.
pub(crate) struct Writer<'txn> {
    store: Store,
    tables: WriteTables<'txn>,
    fold: Fold,
    admit: Admit,
    now_ms: i64,
}

impl<'txn> Writer<'txn> {
    fn open(store: &Store, txn: &'txn redb::WriteTransaction, admit: Admit, now_ms: i64) -> Result<Self, StoreError> {
        let tables = WriteTables::open(txn)?;
        let fold = Fold::load(store, &tables)?;
        Ok(Self { store: store.clone(), tables, fold, admit, now_ms })
    }

    fn finish(mut self) -> Result<Mark, StoreError> {
        self.fold.finish(&mut self.tables)?;
        Ok(hash::mark(self.fold.meta().head, self.fold.meta().hash))
    }

    fn append(&mut self, by: UserId, body: CommitBody) -> Result<Seq, StoreError> {
        self.fold.append(&mut self.tables, self.now_ms, by, body)
    }

    fn apply(&mut self, job: Job) -> Result<Reply, StoreError> {
        Ok(match job {
            Job::Push { device, user, push } => Reply::Push(self.push(device, user, &push)?),
            Job::Void { device, user, number, hash } => Reply::Push(self.void(device, user, number, hash)?),
            Job::Access { by, change } => Reply::Access(self.access(by, change)?),
            Job::Password { by, user, password } => Reply::Access(self.change_password(by, user, password)?),
            Job::IssueToken { user, device, name, fresh, token, expires_at_ms } => {
                Reply::Token(self.issue_token(user, device, name, fresh, token, expires_at_ms)?)
            }
            Job::IssueDevice { asking, by_token, fresh, token, expires_at_ms } => {
                Reply::Token(self.issue_device(asking, by_token, fresh, token, expires_at_ms)?)
            }
            Job::Schema { by, text } => Reply::Schema(self.change_schema(by, text)?),
            Job::Purge { by, rows } => Reply::Purge(self.purge(by, rows)?),
            Job::Restore { by, offer } => Reply::Restore(self.append(by, CommitBody::Restore { offer })?),
            Job::Safe { seq } => {
                self.tables.local.insert("safe", seq.0)?;
                Reply::Safe
            }
            Job::Compact { by, base } => Reply::Compact(self.compact(by, &base)?),
            Job::Import { .. } => return Err(StoreError::damaged("an import cannot share a transaction")),
        })
    }

    /// Admits the next number only; a recorded one is answered from the record (P2).
    fn push(&mut self, device: DeviceId, user: UserId, push: &Push) -> Result<PushReply, StoreError> {
        #[cfg(test)]
        assert!(push.changes.iter().all(|change| *change.key.id.bytes() != DEFECTIVE), "a defect that a test asked for");
        let previous = match self.place(device, push.number, push.hash)? {
            Ok(previous) => previous,
            Err(reply) => return Ok(reply),
        };
        if push.compute_hash(previous) != push.hash {
            return Ok(PushReply::HashMismatch);
        }
        let record = self.decide(device, user, push)?;
        let verdicts = record.verdicts.clone();
        let seq = self.append(user, CommitBody::Push(record))?;
        Ok(PushReply::Recorded { number: push.number, seq, verdicts: Some(verdicts) })
    }

    /// Records a number as empty, with the hash of the push that is given up, so that the chain goes on (P6).
    fn void(&mut self, device: DeviceId, user: UserId, number: PushNo, hash: Hash16) -> Result<PushReply, StoreError> {
        if let Err(reply) = self.place(device, number, hash)? {
            return Ok(reply);
        }
        let record = PushRecord {
            device,
            number,
            hash: if planted(Planted::VoidUnchained) { Hash16::default() } else { hash },
            void: true,
            schema: self.fold.meta().schema,
            rows: Vec::new(),
            verdicts: VerdictRuns::default(),
            effects: Vec::new(),
            lost: Vec::new(),
            edited_at_ms: 0,
        };
        let seq = self.append(user, CommitBody::Push(record))?;
        Ok(PushReply::Recorded { number, seq, verdicts: None })
    }

    /// The hash of the push before, where this number is the next one; else what is to be answered.
    fn place(&self, device: DeviceId, number: PushNo, hash: Hash16) -> Result<Result<Hash16, PushReply>, StoreError> {
        if let Some(recorded) = self.tables.recorded_push(device, number)? {
            if recorded.hash != hash && !planted(Planted::OtherPushAnswered) {
                return Ok(Err(PushReply::Copy));
            }
            // So far behind the last one is only a store that was put back: its answer was put away with the log (H5).
            if self.tables.log.get(recorded.seq.0)?.is_none() {
                return Ok(Err(PushReply::Copy));
            }
            if planted(Planted::RetryDecidedAgain) {
                let before = self.tables.recorded_push(device, PushNo(number.0 - 1))?;
                return Ok(Ok(before.map(|before| before.hash).unwrap_or_default()));
            }
            return Ok(Err(PushReply::Recorded { number, seq: recorded.seq, verdicts: None }));
        }
        let known = self.tables.device(device)?;
        // It may have been queued before the revocation was decided; rights are those at the head (section 9).
        if known.as_ref().is_some_and(|known| known.revoked) {
            return Ok(Err(PushReply::Revoked));
        }
        let (last, last_hash) = known.map(|known| (known.last, known.last_hash)).unwrap_or_default();
        if number == last.next() { Ok(Ok(last_hash)) } else { Ok(Err(PushReply::Gap { last })) }
    }

    fn decide(&self, device: DeviceId, user: UserId, push: &Push) -> Result<PushRecord, StoreError> {
        let rights = Rights::of(&self.tables, user)?;
        // A user that does not exist has a device no more; nothing is granted.
        let rights = rights.unwrap_or(Rights {
            role: tombolo_protocol::schema::Role::Viewer,
            grant: tombolo_protocol::commit::Grant::Scopes(Vec::new()),
        });
        let at = self.tables.schema_seq_at(push.schema)?.ok_or(StoreError::NotInitialised)?;
        let written_under = self.store.schema(&self.tables, at)?;
        let schema = self.fold.schema()?;
        let decider = Decider { admit: self.admit, ..Decider::new(&self.tables, schema, &written_under, &rights) };
        decider.decide(device, push)
    }

    fn purge(&mut self, by: UserId, rows: Vec<RowKey>) -> Result<Result<Seq, PurgeError>, StoreError> {
        for key in &rows {
            let deleted = self.tables.row(key)?.is_some_and(|row| !row.is_live());
            if !deleted || self.fold.schema()?.table(key.table).is_none() {
                return Ok(Err(PurgeError::NotDeleted(*key)));
            }
        }
        Ok(Ok(self.append(by, CommitBody::Purge { rows })?))
    }
}

#[cfg(test)]
mod tests;
