//! What is told of a row's history, and of what was done lately, is what the log says: to whoever may see the rows, all of it that
//! the log still has, and nothing of what was purged.

use super::{Broken, Oracles};
use anyhow::{Result, ensure};
use std::collections::{BTreeMap, BTreeSet};
use tombolo_client::protocol::change::{Op, Verdict};
use tombolo_client::protocol::commit::{Commit, CommitBody, PushRecord};
use tombolo_client::protocol::ids::{FieldTag, RowKey, Seq, TableTag, Version};
use tombolo_client::protocol::limits::{ACTIVITY_DEEDS_MAX, HISTORY_ENTRIES_MAX};
use tombolo_client::protocol::message::{Activity, Deed, Down, History, HistoryEntry, HistoryField};
use tombolo_client::protocol::value::Value;
use tombolo_server::snapshot::{Identity, OPERATOR_NAME, Snapshot};

/// The server tells something that it read from this snapshot.
pub(super) fn told(oracles: &Oracles, snapshot: &Snapshot, to: Identity, message: &Down) -> Result<()> {
    match message {
        Down::History(history) => of_row(oracles, snapshot, to, history),
        Down::Activity(activity) => of_all(oracles, snapshot, to, activity),
        _ => Ok(()),
    }
}

fn of_row(oracles: &Oracles, snapshot: &Snapshot, to: Identity, told: &History) -> Result<()> {
    let right = match oracles.log.model.may_see(to.user, told.key) {
        true => entries(oracles, snapshot, told.key)?,
        false => Vec::new(),
    };
    let horizon = snapshot.horizon()?;
    let has = right.iter().filter(|entry| entry.seq > horizon).count().min(HISTORY_ENTRIES_MAX);
    ensure!(
        told.entries == right[..has]
            && told.more >= (has < right.len())
            && (!told.more || has < right.len() || horizon > Seq(0)),
        Broken::new("history", format!("{to:?} is told {told:?}, and right are {has} of {right:?}, put away up to {horizon}"))
    );
    Ok(())
}

/// All changes of a row since it was last purged, newest first. Values from before what was put away are not known.
fn entries(oracles: &Oracles, snapshot: &Snapshot, key: RowKey) -> Result<Vec<HistoryEntry>> {
    let horizon = snapshot.horizon()?;
    let (mut entries, mut values, mut version) = (Vec::new(), BTreeMap::new(), Version(0));
    for commit in oracles.log.commits(&oracles.commits) {
        match &commit.body {
            CommitBody::Purge { rows } if rows.contains(&key) => (entries, values) = (Vec::new(), BTreeMap::new()),
            CommitBody::Push(record) => {
                entries.extend(entry(oracles, snapshot, commit, record, key, &mut values, &mut version)?)
            }
            _ => {}
        }
        if commit.seq == horizon {
            values.clear();
        }
    }
    entries.reverse();
    Ok(entries)
}

/// What a push did to a row.
fn entry(
    oracles: &Oracles,
    snapshot: &Snapshot,
    commit: &Commit,
    record: &PushRecord,
    key: RowKey,
    values: &mut BTreeMap<FieldTag, Value>,
    version: &mut Version,
) -> Result<Option<HistoryEntry>> {
    let effect = record.effects.iter().find(|effect| effect.key == key);
    let lost = record.lost.iter().filter(|(row, _)| *row == key).map(|(_, lost)| (lost.field, lost.value.clone()));
    let lost: Vec<(FieldTag, Value)> = lost.collect();
    if effect.is_none() && lost.is_empty() {
        return Ok(None);
    }
    let mut fields = Vec::new();
    for (field, after) in effect.into_iter().flat_map(|effect| &effect.fields) {
        let before = values.insert(*field, after.clone()).unwrap_or_default();
        fields.push(HistoryField { field: *field, before, after: after.clone() });
    }
    if effect.is_some() {
        version.0 += 1;
    }
    let place = record.rows.iter().position(|row| row.key == key);
    let verdict = place.and_then(|place| record.verdicts.iter().nth(place));
    Ok(Some(HistoryEntry {
        seq: commit.seq,
        at_ms: commit.at_ms,
        edited_at_ms: record.edited_at_ms,
        by: name(snapshot, commit)?,
        device: record.device,
        device_name: oracles.log.model.device_name(record.device),
        op: effect.map_or(Op::Decide, |effect| effect.op),
        merged: verdict == Some(&Verdict::Accepted { merged: true }),
        version: if effect.is_some() { *version } else { Version(0) },
        fields,
        lost,
    }))
}

fn of_all(oracles: &Oracles, snapshot: &Snapshot, to: Identity, told: &Activity) -> Result<()> {
    let put_away = put_away(snapshot)?;
    let mut right = Vec::new();
    for commit in oracles.log.commits(&oracles.commits).filter(|commit| commit.seq > put_away) {
        if let CommitBody::Push(record) = &commit.body {
            right.extend(deed(oracles, snapshot, to, commit, record)?);
        }
    }
    right.reverse();
    let has = right.len().min(ACTIVITY_DEEDS_MAX);
    ensure!(
        told.deeds == right[..has] && told.more == (has < right.len() || put_away > Seq(0)),
        Broken::new("history", format!("{to:?} is told {told:?}, and right are {has} of {right:?}, put away up to {put_away}"))
    );
    Ok(())
}

/// The newest commit whose content was put away; the last pushes of each device keep theirs.
fn put_away(snapshot: &Snapshot) -> Result<Seq> {
    let mut seq = snapshot.horizon()?;
    while seq > Seq(0) && snapshot.commit(seq)?.is_some() {
        seq.0 -= 1;
    }
    Ok(seq)
}

/// What a push did to rows that a user may see, if it did anything to those.
fn deed(oracles: &Oracles, snapshot: &Snapshot, to: Identity, commit: &Commit, record: &PushRecord) -> Result<Option<Deed>> {
    let model = &oracles.log.model;
    let mut done: BTreeSet<(RowKey, Op)> = record.effects.iter().map(|effect| (effect.key, effect.op)).collect();
    for (key, _) in &record.lost {
        if !record.effects.iter().any(|effect| effect.key == *key) {
            done.insert((*key, Op::Decide));
        }
    }
    let mut rows: BTreeMap<(TableTag, Op), u32> = BTreeMap::new();
    for (key, op) in done {
        if model.may_see(to.user, key) && model.rows.get(&key).is_some_and(|row| !row.purged) {
            *rows.entry((key.table, op)).or_default() += 1;
        }
    }
    let rows: Vec<_> = rows.into_iter().map(|((table, op), count)| (table, op, count)).collect();
    if rows.is_empty() {
        return Ok(None);
    }
    let (seq, at_ms, device) = (commit.seq, commit.at_ms, record.device);
    Ok(Some(Deed { seq, at_ms, by: name(snapshot, commit)?, device, device_name: model.device_name(device), rows }))
}

/// Who made a commit. The operator is none of the users.
fn name(snapshot: &Snapshot, commit: &Commit) -> Result<String> {
    let user = snapshot.users()?.into_iter().find(|(id, _)| *id == commit.user);
    Ok(user.map_or_else(|| OPERATOR_NAME.to_owned(), |(_, user)| user.name))
}
