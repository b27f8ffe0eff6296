//! What the server recorded of each push is what the [`Model`] says: verdicts, effects and values that lost; and its rows are those
//! of the model.

use super::{Broken, Oracles};
use crate::sim::model::{Model, Prediction, Row};
use anyhow::{Context, Result, ensure};
use std::collections::{BTreeMap, BTreeSet};
use tombolo_client::protocol::change::{Push, Verdict};
use tombolo_client::protocol::commit::{Commit, PushRecord};
use tombolo_client::protocol::ids::{DeviceId, Hash16, PushNo, RowKey, UserId};
use tombolo_client::protocol::row::Life;
use tombolo_server::snapshot::Snapshot;
use tombolo_server::workspace::{Job, SERVER_DEVICE};

/// What the writer was asked for. A push is found again by its number and hash, also in a log that was read anew: what a commit says
/// of its push is what is to be looked at.
#[derive(Default)]
pub(super) struct Asked {
    pushes: BTreeMap<(DeviceId, PushNo, Hash16), (UserId, Push)>,
    voids: BTreeSet<(DeviceId, PushNo, Hash16)>,
}

impl Asked {
    /// A session asks the writer.
    pub(super) fn note(&mut self, job: &Job) {
        match job {
            Job::Push { device, user, push } => {
                self.pushes.insert((*device, push.number, push.hash), (*user, push.clone()));
            }
            Job::Void { device, number, hash, .. } => {
                self.voids.insert((*device, *number, *hash));
            }
            _ => {}
        }
    }
}

/// Compares what a commit recorded of a push with what the model says of it. The operator's own imports are not predicted.
pub(super) fn check(oracles: &mut Oracles, commit: &Commit, record: &PushRecord) -> Result<()> {
    if record.device == SERVER_DEVICE {
        return Ok(());
    }
    let model = &oracles.log.model;
    let broken = |what: String| Broken::new("verdicts", format!("commit {}: {what}", commit.seq));
    let next = model.next_push(record.device);
    ensure!(record.number == next, broken(format!("push {} of {:?} follows, not {next}", record.number, record.device)));
    let asked = (record.device, record.number, record.hash);
    if record.void {
        let is_empty = record.rows.is_empty() && record.effects.is_empty() && record.lost.is_empty();
        ensure!(is_empty && oracles.asked.voids.contains(&asked), broken(format!("a void that is none: {record:?}")));
        return Ok(());
    }
    let (user, push) = oracles.asked.pushes.get(&asked).ok_or_else(|| broken(format!("nobody pushed {record:?}")))?;
    ensure!(commit.user == *user, broken(format!("{:?} made it, and not {user:?}", commit.user)));
    let expected = model.predict(*user, push).context("a push before the first schema")?;
    compare(model, push, record, &expected).map_err(broken)?;
    for verdict in &expected.verdicts {
        *oracles.verdicts.entry(verdict.kind().to_owned()).or_default() += 1;
    }
    Ok(())
}

fn compare(model: &Model, push: &Push, record: &PushRecord, expected: &Prediction) -> Result<(), String> {
    let named: Vec<_> = record.rows.iter().map(|row| (row.key, row.view_base)).collect();
    let wanted: Vec<_> = push.changes.iter().map(|change| (change.key, change.view_base)).collect();
    if named != wanted {
        return Err(format!("it names {named:?}, and the push {wanted:?}"));
    }
    let recorded: Vec<Verdict> = record.verdicts.iter().cloned().collect();
    if recorded.len() != push.changes.len() {
        return Err(format!("{} verdicts of {} changes", recorded.len(), push.changes.len()));
    }
    for ((change, recorded), expected) in push.changes.iter().zip(recorded).zip(&expected.verdicts) {
        if recorded != expected.verdict() {
            let row = model.rows.get(&change.key);
            return Err(format!("{recorded:?} is recorded, and {expected:?} is right for {change:?} on {row:?}"));
        }
    }
    if record.effects != expected.effects {
        return Err(format!("the effects {:?} are recorded, and right are {:?}", record.effects, expected.effects));
    }
    if record.lost != expected.lost {
        return Err(format!("{:?} are recorded as lost, and right are {:?}", record.lost, expected.lost));
    }
    Ok(())
}

/// Compares rows of the server with those of the model.
pub(super) fn rows<'k>(model: &Model, snapshot: &Snapshot, keys: impl IntoIterator<Item = &'k RowKey>) -> Result<()> {
    for key in keys {
        let server = snapshot.row(key)?.map(|row| Row {
            number: row.no,
            live: row.is_live(),
            purged: row.life == Life::Purged,
            at: (row.seq, row.ordinal),
            version: row.version,
            since: row.since,
            fields: row.fields.into_iter().map(|(field, stamped)| (field, (stamped.value, stamped.stamp))).collect(),
        });
        let folded = model.rows.get(key);
        ensure!(
            server.as_ref() == folded,
            Broken::new("fold", format!("row {key:?} at the server is {server:?}\nthe log says {folded:?}"))
        );
    }
    Ok(())
}

/// All rows: the server has those of the model and no others.
pub(super) fn all_rows(model: &Model, snapshot: &Snapshot) -> Result<()> {
    rows(model, snapshot, model.rows.keys())?;
    for table in &snapshot.schema().tables {
        for row in snapshot.rows_after(table.tag, None, usize::MAX)? {
            ensure!(
                model.rows.contains_key(&row.key),
                Broken::new("fold", format!("the server has {row:?}, and the log does not"))
            );
        }
    }
    Ok(())
}
