//! The fold: what a commit means for the tables. It never decides, calls no hook and reads no clock, so folding the log again
//! gives the same tables, on every machine.

mod access;
mod index;
mod push;
mod sections;

pub(crate) use index::{references, unique_key, unique_keys};
pub use push::row_after;

use crate::store::read::Read;
use crate::store::records::{Checkpoint, CommitMark, Meta};
use crate::store::tables::{Tables, WriteTables};
use crate::store::{Store, StoreError};
use redb::ReadableTable;
use sections::SectionCache;
use std::sync::Arc;
use tombolo_protocol::codec;
use tombolo_protocol::commit::{Commit, CommitBody};
use tombolo_protocol::ids::{RowId, Seq, UserId};
use tombolo_protocol::schema::Schema;

/// Folds commits into the tables of one write transaction. After the last one [`Fold::finish`] must be called.
///
/// # Invariant
/// `meta` always is what the folded commits made of it; sections are written at the end only.
pub struct Fold {
    store: Store,
    meta: Meta,
    /// The schema at the head; none before the first.
    schema: Option<Arc<Schema>>,
    sections: SectionCache,
}

impl Fold {
    /// Goes on where the tables stand.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn load(store: &Store, tables: &impl Tables) -> Result<Self, StoreError> {
        let meta = tables.meta_record()?.unwrap_or_default();
        let schema = if meta.schema == Seq(0) { None } else { Some(store.schema(tables, meta.schema)?) };
        Ok(Self { store: store.clone(), meta, schema, sections: SectionCache::default() })
    }

    /// Where it stands.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The schema at the head.
    ///
    /// # Errors
    /// [`StoreError::NotInitialised`] before there is one.
    pub fn schema(&self) -> Result<&Arc<Schema>, StoreError> {
        self.schema.as_ref().ok_or(StoreError::NotInitialised)
    }

    /// Appends a commit to the log and folds it. Returns its seq.
    ///
    /// # Errors
    /// [`StoreError`]; the transaction must be given up then.
    pub fn append(
        &mut self,
        tables: &mut WriteTables<'_>,
        at_ms: i64,
        user: UserId,
        body: CommitBody,
    ) -> Result<Seq, StoreError> {
        let commit = Commit { seq: self.meta.head.next(), at_ms, user, body };
        let bytes = codec::encode(&commit);
        self.replay(tables, &commit, &bytes)?;
        Ok(commit.seq)
    }

    /// Puts a commit with its stored bytes behind the head and folds it.
    ///
    /// # Errors
    /// [`StoreError`]; the transaction must be given up then.
    pub fn replay(&mut self, tables: &mut WriteTables<'_>, commit: &Commit, bytes: &[u8]) -> Result<(), StoreError> {
        if commit.seq != self.meta.head.next() {
            return Err(StoreError::damaged(format!("commit {} follows commit {}", commit.seq, self.meta.head)));
        }
        self.meta.head = commit.seq;
        self.meta.hash = self.meta.hash.next(bytes);
        tables.log.insert(commit.seq.0, bytes)?;
        let push = match &commit.body {
            CommitBody::Push(record) => Some((record.device, record.number)),
            _ => None,
        };
        let mark = CommitMark { hash: self.meta.hash, at_ms: commit.at_ms, user: commit.user, push };
        tables.marks.insert(commit.seq.0, codec::store::encode(&mark).as_slice())?;
        self.fold_body(tables, commit)
    }

    fn fold_body(&mut self, tables: &mut WriteTables<'_>, commit: &Commit) -> Result<(), StoreError> {
        match &commit.body {
            CommitBody::Workspace { id } => self.meta.workspace = *id,
            CommitBody::Schema { text } => self.fold_schema(tables, commit.seq, text)?,
            CommitBody::Push(record) => self.fold_push(tables, commit, record)?,
            CommitBody::Access(change) => self.fold_access(tables, commit.seq, change)?,
            CommitBody::Restore { offer } => {
                tables.restores.insert(commit.seq.0, codec::store::encode(offer).as_slice())?;
            }
            CommitBody::Purge { rows } => self.fold_purge(tables, commit.seq, rows)?,
            CommitBody::Checkpoint { horizon, base } => {
                fold_checkpoint(tables, commit.seq, Checkpoint { horizon: *horizon, base: *base })?;
            }
        }
        Ok(())
    }

    /// Writes what was gathered. The transaction can be committed behind this.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn finish(&mut self, tables: &mut WriteTables<'_>) -> Result<(), StoreError> {
        self.sections.write(tables)?;
        tables.meta.insert((), codec::store::encode(&self.meta).as_slice())?;
        Ok(())
    }

    /// A schema: rows of tables whose scope or indexed fields are others now are indexed again.
    fn fold_schema(&mut self, tables: &mut WriteTables<'_>, seq: Seq, text: &str) -> Result<(), StoreError> {
        tables.schemas.insert(seq.0, text)?;
        let new = self.store.schema(tables, seq)?;
        let old = self.schema.replace(new.clone());
        self.meta.schema = seq;
        self.meta.sections_changed = seq;
        if let Some(old) = old {
            self.reindex(tables, &old, &new)?;
        }
        if let Some(scope_table) = new.scope_table {
            let known: Vec<[u8; 16]> = tables
                .ids()
                .range((scope_table.0, &[0u8; 16])..=(scope_table.0, &[0xFFu8; 16]))?
                .map(|entry| entry.map(|(key, _)| *key.value().1))
                .collect::<Result<_, _>>()?;
            for scope in known {
                tables.scopes.insert(&scope, ())?;
            }
        }
        Ok(())
    }

    /// A scope that is now known: who has all scopes has a section more.
    fn know_scope(&mut self, tables: &mut WriteTables<'_>, scope: RowId, seq: Seq) -> Result<(), StoreError> {
        if tables.scopes.get(scope.bytes())?.is_none() {
            tables.scopes.insert(scope.bytes(), ())?;
            self.meta.sections_changed = seq;
        }
        Ok(())
    }
}

/// A compaction: what leads to commits that have no content any more goes with it.
fn fold_checkpoint(tables: &mut WriteTables<'_>, seq: Seq, checkpoint: Checkpoint) -> Result<(), StoreError> {
    if checkpoint.horizon >= seq || checkpoint.horizon < tables.horizon()? {
        return Err(StoreError::damaged(format!("commit {seq} puts the horizon where it cannot be")));
    }
    tables.history.retain(|(_, commit), ()| Seq(commit) > checkpoint.horizon)?;
    tables.checkpoints.insert(seq.0, codec::store::encode(&checkpoint).as_slice())?;
    Ok(())
}
