//! Folding a log again: from its base, if it was compacted, and then commit by commit.

use super::{Problem, Progress};
use crate::compact::kept_commits;
use crate::fold::Fold;
use crate::store::read::Read;
use crate::store::records::{Checkpoint, Meta};
use crate::store::tables::{ReadTables, WriteTables};
use crate::store::{Store, StoreError, base};
use std::ops::ControlFlow;
use tombolo_protocol::codec;
use tombolo_protocol::hash::CommitHash;
use tombolo_protocol::ids::Seq;

/// Commits that are folded in one transaction.
const COMMITS_AT_ONCE: u64 = 256;

/// Why a replay ends early.
pub(crate) enum Stop {
    /// Something does not hold.
    Problem(Problem),
    /// A store cannot be read or written.
    Store(StoreError),
    /// Nobody waits for it any more.
    GivenUp,
}

impl<E: Into<StoreError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Store(error.into())
    }
}

/// A log on its way into another store.
pub(crate) struct Replay<'a> {
    from: &'a Store,
    tables: &'a ReadTables,
    meta: Meta,
    into: &'a Store,
    /// The compaction that the log begins with.
    base: Option<Checkpoint>,
    /// The last commit that was folded, and its hash.
    done: Seq,
    hash: CommitHash,
}

impl<'a> Replay<'a> {
    /// Puts the base of the log, if it has one, into an empty store, with what is kept of the commits that it stands for.
    pub(crate) fn begin(from: &'a Store, tables: &'a ReadTables, into: &'a Store) -> Result<Self, Stop> {
        let meta = tables.meta_record()?.ok_or(StoreError::NotInitialised)?;
        let base = tables.newest_checkpoint()?.map(|(_, checkpoint)| checkpoint);
        // Nothing is read from a base before it is known to be the one that the log names.
        if base::hash(tables, &|| from.check())? != base.map(|checkpoint| checkpoint.base) {
            return Err(wrong_base("it is not what its hash in the log says"));
        }
        let mut replay = Self { from, tables, meta, into, base, done: Seq(0), hash: CommitHash::default() };
        if let Some(Checkpoint { horizon, .. }) = base {
            replay.load(horizon)?;
        }
        Ok(replay)
    }

    /// The last commit that the base stands for; zero where there is none.
    pub(crate) fn horizon(&self) -> Seq {
        self.base.map(|checkpoint| checkpoint.horizon).unwrap_or_default()
    }

    /// Folds the commits up to here, as far as they are not folded yet.
    pub(crate) fn up_to(&mut self, last: Seq, progress: &mut dyn FnMut(Progress) -> ControlFlow<()>) -> Result<(), Stop> {
        while self.done < last {
            self.from.check()?;
            let txn = self.into.write()?;
            {
                let mut folded = WriteTables::open(&txn)?;
                let mut fold = Fold::load(self.into, &folded)?;
                let last = last.min(Seq(self.done.0 + COMMITS_AT_ONCE));
                while self.done < last {
                    self.fold_next(&mut folded, &mut fold)?;
                }
                fold.finish(&mut folded)?;
            }
            txn.commit()?;
            if progress(Progress { done: self.done, head: self.meta.head }).is_break() {
                return Err(Stop::GivenUp);
            }
        }
        Ok(())
    }

    /// Behind the last commit: whether the log ends as it is noted, and begins with the base that it names.
    pub(crate) fn end(self) -> Result<(), Stop> {
        if self.hash != self.meta.hash {
            let what = "the log's head has another hash than is noted".to_owned();
            return Err(Stop::Problem(Problem::Log { seq: self.meta.head, what }));
        }
        let named = self.into.read()?.newest_checkpoint()?.map(|(_, checkpoint)| checkpoint);
        if named == self.base { Ok(()) } else { Err(wrong_base("it is another one than the log names")) }
    }

    fn load(&mut self, horizon: Seq) -> Result<(), Stop> {
        let txn = self.into.write()?;
        {
            let mut folded = WriteTables::open(&txn)?;
            base::load(self.tables, &mut folded, &|| self.from.check())?;
            let meta = folded.meta_record()?.filter(|meta| meta.head == horizon);
            let meta = meta.ok_or_else(|| wrong_base("it stands for other commits than the log says"))?;
            (self.done, self.hash) = (meta.head, meta.hash);
            self.keep(&mut folded, horizon)?;
        }
        Ok(txn.commit()?)
    }

    /// What is kept below the horizon must be what its hash says, and be all that has to be kept.
    fn keep(&self, folded: &mut WriteTables<'_>, horizon: Seq) -> Result<(), Stop> {
        let mut wanted = kept_commits(self.tables, horizon)?;
        for entry in self.tables.log.range(..=horizon.0)? {
            let (seq, bytes) = entry?;
            let seq = Seq(seq.value());
            let (before, hash) = (folded.hash_of(Seq(seq.0.saturating_sub(1)))?, folded.hash_of(seq)?);
            if before.map(|before| before.next(bytes.value())) != hash {
                return Err(problem(seq, "it is not what its hash says"));
            }
            folded.log.insert(seq.0, bytes.value())?;
            wanted.remove(&seq);
        }
        match wanted.first() {
            None => Ok(()),
            Some(missing) => Err(problem(*missing, "it is missing, and a device may still ask for its answer")),
        }
    }

    fn fold_next(&mut self, folded: &mut WriteTables<'_>, fold: &mut Fold) -> Result<(), Stop> {
        let seq = self.done.next();
        let bytes = self.tables.log.get(seq.0)?.ok_or_else(|| problem(seq, "it is missing"))?;
        let bytes = bytes.value();
        self.hash = self.hash.next(bytes);
        if self.tables.commit_mark(seq)?.map(|mark| mark.hash) != Some(self.hash) {
            return Err(problem(seq, "it is not what its hash says"));
        }
        let commit = codec::decode(bytes).map_err(|error| problem(seq, format!("it does not parse: {error}")))?;
        match fold.replay(folded, &commit, bytes) {
            Ok(()) => {}
            Err(StoreError::Damaged(what)) => return Err(problem(seq, format!("it cannot be folded: {what}"))),
            Err(error) => return Err(error.into()),
        }
        self.done = seq;
        Ok(())
    }
}

fn problem(seq: Seq, what: impl Into<String>) -> Stop {
    Stop::Problem(Problem::Log { seq, what: what.into() })
}

fn wrong_base(what: &str) -> Stop {
    Stop::Problem(Problem::Base { what: what.to_owned() })
}
