//! Verification and rebuilding: the log is the truth, everything else is a fold over it and can be made again and compared. Of a
//! log that was compacted the base is the beginning.

mod replay;

pub(crate) use replay::{Replay, Stop};

use crate::store::read::Read;
use crate::store::records::{Meta, SectionRecord};
use crate::store::tables::{BASE, LOCAL, ReadTables, WriteTables};
use crate::store::{Store, StoreError, base};
use redb::ReadableTable;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use thiserror::Error;
use tombolo_protocol::codec;
use tombolo_protocol::hash::{CommitHash, Digest};
use tombolo_protocol::ids::{Section, Seq};
use tombolo_protocol::row::Row;

/// How far a verification has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// The last commit that was looked at.
    pub done: Seq,
    /// The last one of the log.
    pub head: Seq,
}

/// Something that does not hold.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum Problem {
    /// A commit is missing or is not what its hash says; nothing behind it can be trusted.
    #[error("commit {seq}: {what}")]
    Log {
        /// The commit.
        seq: Seq,
        /// What is wrong with it.
        what: String,
    },
    /// The base is not what the log says of it; nothing that follows from it can be trusted.
    #[error("the base of the compacted log: {what}")]
    Base {
        /// What is wrong with it.
        what: String,
    },
    /// A table is not what folding the log gives.
    #[error("table {table}: {difference}")]
    Fold {
        /// The table.
        table: &'static str,
        /// The first difference.
        difference: String,
    },
    /// A section's digest is not the sum of its rows.
    #[error("section of table {}: its digest or number of rows is not that of its rows", .section.table)]
    Digest {
        /// The section.
        section: Section,
    },
}

/// What a verification found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Commits of the log.
    pub commits: u64,
    /// The last commit that the base stands for; zero while the log is whole.
    pub horizon: Seq,
    /// Rows, deleted ones included.
    pub rows: u64,
    /// Sections whose digests were computed again.
    pub sections: u64,
    /// The hash of the head.
    pub hash: CommitHash,
    /// What does not hold.
    pub problems: Vec<Problem>,
}

impl Report {
    /// Whether everything holds.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { commits, horizon, rows, sections, hash, problems } = self;
        write!(f, "{commits} commits up to {}", hash.short())?;
        if *horizon > Seq(0) {
            write!(f, " (compacted up to commit {horizon})")?;
        }
        write!(f, ", {rows} rows, {sections} sections: ")?;
        match problems.len() {
            0 => f.write_str("log hashes, folds and digests hold")?,
            1 => f.write_str("1 problem")?,
            count => write!(f, "{count} problems")?,
        }
        problems.iter().try_for_each(|problem| write!(f, "\n{problem}"))
    }
}

/// Why there is no report.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// A store cannot be read or written, or a durable write of the server failed meanwhile (P9).
    #[error(transparent)]
    Store(StoreError),
    /// Whoever was told how far it is wanted no more of it.
    #[error("it was given up: nothing was changed")]
    GivenUp,
}

impl<E: Into<StoreError>> From<E> for VerifyError {
    fn from(error: E) -> Self {
        Self::Store(error.into())
    }
}

/// For what nobody watches: goes on to its end.
pub fn unwatched(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Chains the hashes of the whole log, folds it into `scratch` (an empty store, in memory or in a temporary file) and compares
/// every table, and computes the digests of all sections again.
///
/// # Errors
/// [`VerifyError`]; what does not hold is in the report.
pub fn verify(
    store: &Store,
    scratch: &Store,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Report, VerifyError> {
    verify_with(store, scratch, Seq(0), &mut |_| Ok(()), progress)
}

/// [`verify`], which in the course of it does something with the scratch as it stands behind the commit `at`.
///
/// # Errors
/// Those of [`verify`].
pub(crate) fn verify_with(
    store: &Store,
    scratch: &Store,
    at: Seq,
    act: &mut dyn FnMut(&ReadTables) -> Result<(), StoreError>,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Report, VerifyError> {
    let tables = store.read()?;
    let meta = tables.meta_record()?.ok_or(StoreError::NotInitialised)?;
    let mut report = Report { commits: meta.head.0, hash: meta.hash, ..Report::default() };
    let replayed = Replay::begin(store, &tables, scratch).and_then(|mut replay| {
        report.horizon = replay.horizon();
        replay.up_to(at, progress)?;
        act(&scratch.read()?)?;
        replay.up_to(meta.head, progress)?;
        replay.end()
    });
    match replayed {
        Ok(()) => {}
        Err(Stop::Store(error)) => return Err(error.into()),
        Err(Stop::GivenUp) => return Err(VerifyError::GivenUp),
        Err(Stop::Problem(problem)) => {
            report.problems.push(problem);
            return Ok(report);
        }
    }
    for (table, difference) in tables.compare(&scratch.read()?, &|| store.check())? {
        // The base was compared with its hash.
        if let Some(difference) = difference.filter(|_| ![LOCAL, BASE].contains(&table)) {
            report.problems.push(Problem::Fold { table, difference });
        }
    }
    check_digests(store, &tables, &meta, &mut report)?;
    Ok(report)
}

/// Folds the log of one store into another, empty one, which then holds the same workspace.
///
/// # Errors
/// [`VerifyError`]; [`StoreError::Damaged`] where the log does not hold.
pub fn rebuild(from: &Store, into: &Store, progress: &mut dyn FnMut(Progress) -> ControlFlow<()>) -> Result<(), VerifyError> {
    let tables = from.read()?;
    let meta = tables.meta_record()?.ok_or(StoreError::NotInitialised)?;
    let replayed = Replay::begin(from, &tables, into).and_then(|mut replay| {
        replay.up_to(meta.head, progress)?;
        replay.end()
    });
    match replayed {
        Ok(()) => {}
        Err(Stop::Store(error)) => return Err(error.into()),
        Err(Stop::GivenUp) => return Err(VerifyError::GivenUp),
        Err(Stop::Problem(problem)) => return Err(StoreError::damaged(problem.to_string()).into()),
    }
    let txn = into.write()?;
    {
        let mut rebuilt = WriteTables::open(&txn)?;
        base::copy(&tables, &mut rebuilt)?;
        rebuilt.local.insert("safe", tables.safe_seq()?.0)?;
    }
    Ok(txn.commit()?)
}

/// Sums the rows of every section anew, by the schema at the head.
fn check_digests(store: &Store, tables: &ReadTables, meta: &Meta, report: &mut Report) -> Result<(), StoreError> {
    let schema = store.schema(tables, meta.schema)?;
    let mut sums: BTreeMap<Section, (Digest, u64)> = BTreeMap::new();
    for entry in tables.rows.iter()? {
        store.check()?;
        let row: Row = codec::store::decode(entry?.1.value())?;
        report.rows += 1;
        let section = schema.table(row.key.table).and_then(|table| row.section(table));
        if let Some(section) = section.filter(|_| row.is_live()) {
            let sum = sums.entry(section).or_default();
            *sum = (sum.0.plus(&row), sum.1 + 1);
        }
    }
    for entry in tables.sections.iter()? {
        let record: SectionRecord = codec::store::decode(entry?.1.value())?;
        report.sections += 1;
        if sums.remove(&record.section).unwrap_or_default() != (record.digest, record.live) {
            report.problems.push(Problem::Digest { section: record.section });
        }
    }
    report.problems.extend(sums.into_keys().map(|section| Problem::Digest { section }));
    Ok(())
}

#[cfg(test)]
mod tests;
