//! An import: many changes by the operator, all or nothing, decided like any other push.

use super::{Workspace, Writer};
use crate::store::StoreError;
use crate::store::read::Read;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use thiserror::Error;
use tombolo_protocol::change::{Change, Push, Verdict};
use tombolo_protocol::commit::CommitBody;
use tombolo_protocol::ids::{DeviceId, Hash16, RowKey, Seq, UserId};
use tombolo_protocol::limits::{PUSH_BYTES_MAX, PUSH_CHANGES_MAX};

/// The device under which the server itself pushes.
pub const SERVER_DEVICE: DeviceId = DeviceId(uuid::Uuid::nil());

/// What an import did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Imported {
    /// Changes that are in the log.
    pub accepted: usize,
    /// Changes that asked for what was there already.
    pub agreed: usize,
    /// The last commit.
    pub head: Seq,
}

/// Why nothing was imported.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum ImportRefusal {
    /// The first change that did not go through.
    #[error("row {}: {}; nothing was imported", key.id, reason(verdict))]
    Change {
        /// Its place among the changes, counted from 0.
        index: usize,
        /// Its row.
        key: RowKey,
        /// What was said of it.
        verdict: Verdict,
    },
    /// Nobody waited for it any more.
    #[error("it was given up; nothing was imported")]
    GivenUp,
}

/// An import under way, shared between who asked for it and the writer.
#[derive(Debug, Default)]
pub struct ImportWatch {
    decided: AtomicUsize,
    given_up: AtomicBool,
}

impl PartialEq for ImportWatch {
    /// Of the same import.
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl ImportWatch {
    /// How many of its changes have been decided.
    pub fn decided(&self) -> usize {
        self.decided.load(Ordering::Relaxed)
    }

    /// It is not wanted any more: it ends behind the push at work, and nothing is imported. Too late once the commit has begun.
    pub fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }
}

fn reason(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Refused(refusal) => refusal.to_string(),
        Verdict::Clash { .. } => "another row has the same value in a unique field".to_owned(),
        Verdict::Conflict => "the row was changed meanwhile, or deleted; try again".to_owned(),
        Verdict::Held { by } => format!("it depends on row {}, which did not go through", by.id),
        Verdict::Accepted { .. } | Verdict::Agreed => "it went through".to_owned(),
    }
}

impl Workspace {
    pub(super) fn import(
        &mut self,
        by: UserId,
        changes: Vec<Change>,
        watch: &ImportWatch,
        now_ms: i64,
    ) -> Result<Result<Imported, ImportRefusal>, StoreError> {
        let txn = self.store.write()?;
        let (imported, head) = {
            let mut writer = Writer::open(&self.store, &txn, self.admit, now_ms)?;
            match writer.import(by, changes, watch)? {
                Ok(imported) => (imported, writer.finish()?),
                Err(refusal) => {
                    drop(writer);
                    txn.abort()?;
                    return Ok(Err(refusal));
                }
            }
        };
        txn.commit()?;
        self.head = head;
        Ok(Ok(imported))
    }
}

impl Writer<'_> {
    fn import(
        &mut self,
        by: UserId,
        changes: Vec<Change>,
        watch: &ImportWatch,
    ) -> Result<Result<Imported, ImportRefusal>, StoreError> {
        let mut imported = Imported { accepted: 0, agreed: 0, head: self.fold.meta().head };
        let mut index = 0;
        for changes in pushes(changes) {
            if watch.is_given_up() {
                return Ok(Err(ImportRefusal::GivenUp));
            }
            let (last, previous) =
                self.tables.device(SERVER_DEVICE)?.map(|device| (device.last, device.last_hash)).unwrap_or_default();
            let mut push = Push { number: last.next(), hash: Hash16::default(), schema: self.fold.meta().schema, changes };
            push.hash = push.compute_hash(previous);
            let record = self.decide(SERVER_DEVICE, by, &push)?;
            for (change, verdict) in push.changes.iter().zip(record.verdicts.iter()) {
                match verdict {
                    Verdict::Accepted { .. } => imported.accepted += 1,
                    Verdict::Agreed => imported.agreed += 1,
                    refused => {
                        return Ok(Err(ImportRefusal::Change { index, key: change.key, verdict: refused.clone() }));
                    }
                }
                index += 1;
            }
            imported.head = self.append(by, CommitBody::Push(record))?;
            watch.decided.store(index, Ordering::Relaxed);
        }
        Ok(if watch.is_given_up() { Err(ImportRefusal::GivenUp) } else { Ok(imported) })
    }
}

/// The changes in pushes of allowed size; a row that is named again starts a new one.
fn pushes(changes: Vec<Change>) -> Vec<Vec<Change>> {
    let mut pushes: Vec<Vec<Change>> = Vec::new();
    let (mut bytes, mut keys) = (0, std::collections::BTreeSet::new());
    for change in changes {
        let size = change.canonical_len();
        let full = pushes.last().is_none_or(|push| push.len() >= PUSH_CHANGES_MAX) || bytes + size > PUSH_BYTES_MAX;
        if full || keys.contains(&change.key) {
            pushes.push(Vec::new());
            bytes = 0;
            keys.clear();
        }
        bytes += size;
        keys.insert(change.key);
        pushes.last_mut().expect("one was pushed above where there was none").push(change);
    }
    pushes
}
