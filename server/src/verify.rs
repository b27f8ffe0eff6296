//! Verification and rebuilding: the log is the truth, everything else is a fold over it and can be made again and compared.

use crate::fold::Fold;
use crate::store::read::Read;
use crate::store::records::{Meta, SectionRecord};
use crate::store::tables::{ReadTables, WriteTables};
use crate::store::{Store, StoreError};
use redb::ReadableTable;
use std::collections::BTreeMap;
use std::fmt;
use thiserror::Error;
use tombolo_protocol::codec;
use tombolo_protocol::hash::{CommitHash, Digest};
use tombolo_protocol::ids::{Section, Seq};
use tombolo_protocol::row::Row;

/// Commits that are folded in one transaction.
const COMMITS_AT_ONCE: u64 = 256;
/// The table that is not a fold.
const LOCAL: &str = "local_1";

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
        let Self { commits, rows, sections, hash, problems } = self;
        write!(f, "{commits} commits up to {}, {rows} rows, {sections} sections: ", hash.short())?;
        match problems.len() {
            0 => f.write_str("log hashes, folds and digests hold")?,
            1 => f.write_str("1 problem")?,
            count => write!(f, "{count} problems")?,
        }
        problems.iter().try_for_each(|problem| write!(f, "\n{problem}"))
    }
}

/// Chains the hashes of the whole log, folds it into `scratch` (an empty store, in memory or in a temporary file) and compares
/// every table, and computes the digests of all sections again.
///
/// # Errors
/// [`StoreError`] when a store cannot be read or written, or a durable write of the server failed meanwhile (P9); what does not
/// hold is in the report.
pub fn verify(store: &Store, scratch: &Store, progress: &mut dyn FnMut(Progress)) -> Result<Report, StoreError> {
    let tables = store.read()?;
    let meta = tables.meta_record()?.ok_or(StoreError::NotInitialised)?;
    let mut report = Report { commits: meta.head.0, hash: meta.hash, ..Report::default() };
    if let Some(problem) = replay(store, &tables, &meta, scratch, progress)? {
        report.problems.push(problem);
        return Ok(report);
    }
    for (table, difference) in tables.compare(&scratch.read()?, &|| store.check())? {
        if let Some(difference) = difference.filter(|_| table != LOCAL) {
            report.problems.push(Problem::Fold { table, difference });
        }
    }
    check_digests(store, &tables, &meta, &mut report)?;
    Ok(report)
}

/// Folds the log of one store into another, empty one, which then holds the same workspace.
///
/// # Errors
/// [`StoreError::Damaged`] where the log does not hold.
pub fn rebuild(from: &Store, into: &Store, progress: &mut dyn FnMut(Progress)) -> Result<(), StoreError> {
    let tables = from.read()?;
    let meta = tables.meta_record()?.ok_or(StoreError::NotInitialised)?;
    if let Some(problem) = replay(from, &tables, &meta, into, progress)? {
        return Err(StoreError::damaged(problem.to_string()));
    }
    let txn = into.write()?;
    WriteTables::open(&txn)?.local.insert("safe", tables.safe_seq()?.0)?;
    Ok(txn.commit()?)
}

fn replay(
    from: &Store,
    tables: &ReadTables,
    meta: &Meta,
    into: &Store,
    progress: &mut dyn FnMut(Progress),
) -> Result<Option<Problem>, StoreError> {
    let mut hash = CommitHash::default();
    let mut next = Seq(1);
    while next <= meta.head {
        from.check()?;
        let txn = into.write()?;
        {
            let mut folded = WriteTables::open(&txn)?;
            let mut fold = Fold::load(into, &folded)?;
            let last = Seq((next.0 + COMMITS_AT_ONCE - 1).min(meta.head.0));
            while next <= last {
                if let Some(problem) = replay_one(tables, &mut folded, &mut fold, &mut hash, next)? {
                    return Ok(Some(problem));
                }
                next = next.next();
            }
            fold.finish(&mut folded)?;
        }
        txn.commit()?;
        progress(Progress { done: Seq(next.0 - 1), head: meta.head });
    }
    let what = || "the log's head has another hash than is noted".to_owned();
    Ok((hash != meta.hash).then(|| Problem::Log { seq: meta.head, what: what() }))
}

fn replay_one(
    tables: &ReadTables,
    folded: &mut WriteTables<'_>,
    fold: &mut Fold,
    hash: &mut CommitHash,
    seq: Seq,
) -> Result<Option<Problem>, StoreError> {
    let problem = |what: String| Ok(Some(Problem::Log { seq, what }));
    let Some(bytes) = tables.log.get(seq.0)?.map(|bytes| bytes.value().to_vec()) else {
        return problem("it is missing".to_owned());
    };
    *hash = hash.next(&bytes);
    if tables.commit_mark(seq)?.map(|mark| mark.hash) != Some(*hash) {
        return problem("it is not what its hash says".to_owned());
    }
    let commit = match codec::decode(&bytes) {
        Ok(commit) => commit,
        Err(error) => return problem(format!("it does not parse: {error}")),
    };
    match fold.replay(folded, &commit, &bytes) {
        Ok(()) => Ok(None),
        Err(StoreError::Damaged(what)) => problem(format!("it cannot be folded: {what}")),
        Err(error) => Err(error),
    }
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
