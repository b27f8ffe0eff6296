//! The log: gap-free, append-only, chained; each change in it once; nothing overwritten that its author had not seen, nothing
//! invented, nothing back from the dead by itself, groups whole.

use super::{Broken, Oracles, deletions, verdicts};
use crate::sim::ledger::{Content, Place, content};
use crate::sim::model::Model;
use crate::sim::schema::INITIAL;
use anyhow::{Context, Result, ensure};
use std::collections::{BTreeMap, BTreeSet};
use tombolo_client::protocol::change::Op;
use tombolo_client::protocol::commit::{Commit, CommitBody, PushRecord};
use tombolo_client::protocol::ids::{DeviceId, FieldTag, Hash16, Mark, PushNo, RowKey, Seq};
use tombolo_client::protocol::value::Value;
use tombolo_server::snapshot::Snapshot;

/// What the log is known to hold.
#[derive(Default)]
pub(super) struct Log {
    hashes: Vec<Hash16>,
    /// The log, folded once more.
    pub(super) model: Model,
    /// How often each value came in as an effect.
    effects: BTreeMap<(Place, Content), u32>,
    /// Values that are somewhere in it: accepted, or as one that lost.
    holds: BTreeSet<(Place, Content)>,
    /// What each field became, and in which commit, oldest first.
    values: BTreeMap<Place, Vec<(Seq, Value)>>,
    /// The commits that changed each row, with the devices that they are of.
    changes: BTreeMap<RowKey, Vec<(Seq, DeviceId)>>,
    /// Rows that were ever deleted.
    deleted: BTreeSet<RowKey>,
    /// The hash of each push.
    pushes: BTreeMap<(DeviceId, PushNo), Hash16>,
    /// The newest commit that anybody was told of.
    told: Mark,
}

impl Log {
    /// Somebody is told of the state at this head.
    pub(super) fn told(&mut self, head: Mark) {
        if head.seq >= self.told.seq {
            self.told = head;
        }
    }

    /// Whether a value is in the log, accepted or as one that lost.
    pub(super) fn holds(&self, place: Place, value: &Content) -> bool {
        self.holds.contains(&(place, value.clone()))
    }

    /// Whether a commit is in it, under this hash.
    pub(super) fn has(&self, mark: Mark) -> bool {
        let hash = (mark.seq.0 as usize).checked_sub(1).and_then(|before| self.hashes.get(before));
        mark.seq == Seq(0) || hash == Some(&mark.hash)
    }

    /// The devices that changed a row behind a commit.
    pub(super) fn changed_behind(&self, key: &RowKey, base: Seq) -> impl Iterator<Item = DeviceId> {
        let changes = self.changes.get(key).into_iter().flatten();
        changes.filter(move |(seq, _)| *seq > base).map(|(_, device)| *device)
    }

    /// What a field was at a commit; null where it was never set until then.
    pub(super) fn value_at(&self, place: Place, seq: Seq) -> &Value {
        let values = self.values.get(&place).into_iter().flatten();
        values.take_while(|(at, _)| *at <= seq).last().map_or(&Value::Null, |(_, value)| value)
    }

    /// Whether anything was ever done to a row.
    pub(super) fn knows(&self, key: &RowKey) -> bool {
        self.changes.contains_key(key)
    }

    /// Whether a row was ever deleted.
    pub(super) fn deleted(&self, key: &RowKey) -> bool {
        self.deleted.contains(key)
    }

    /// The hash of a push, where it is in the log.
    pub(super) fn push_hash(&self, device: DeviceId, number: PushNo) -> Option<Hash16> {
        self.pushes.get(&(device, number)).copied()
    }

    /// The commits, oldest first, also those whose contents were put away.
    pub(super) fn commits<'a>(&'a self, known: &'a BTreeMap<Hash16, Commit>) -> impl Iterator<Item = &'a Commit> {
        self.hashes.iter().filter_map(|hash| known.get(hash))
    }

    /// Compares the server's rows with those that were folded here.
    pub(super) fn equals(&self, snapshot: &Snapshot) -> Result<()> {
        verdicts::all_rows(&self.model, snapshot)
    }
}

/// New commits.
pub(super) fn committed(oracles: &mut Oracles, snapshot: &Snapshot) -> Result<()> {
    let head = snapshot.head().seq.0 as usize;
    let known = oracles.log.hashes.len();
    ensure!(head >= known, Broken::new("log", format!("the head went back from {known} to {head}")));
    if known > 0 {
        let hash = snapshot.hash_at(Seq(known as u64))?;
        ensure!(hash == Some(oracles.log.hashes[known - 1]), Broken::new("log", format!("commit {known} changed")));
    }
    let mut changed = BTreeSet::new();
    for seq in known + 1..=head {
        let commit = read(oracles, snapshot, Seq(seq as u64))?;
        if let CommitBody::Push(record) = &commit.body {
            push(oracles, snapshot, Seq(seq as u64), record)?;
            verdicts::check(oracles, &commit, record)?;
        }
        changed.extend(fold(&mut oracles.log, &commit)?);
        if let CommitBody::Push(record) = &commit.body {
            groups(oracles, Seq(seq as u64), record)?;
        }
    }
    verdicts::rows(&oracles.log.model, snapshot, &changed)
}

/// Takes the next commit. One whose content was put away was seen before.
fn read(oracles: &mut Oracles, snapshot: &Snapshot, seq: Seq) -> Result<Commit> {
    let hash = snapshot.hash_at(seq)?.context("a commit without a hash")?;
    let commit = match (snapshot.commit(seq)?, oracles.commits.get(&hash)) {
        (Some(commit), _) => commit,
        (None, Some(known)) if seq <= snapshot.horizon()? => known.clone(),
        _ => return Err(Broken::new("log", format!("commit {seq} is missing"))),
    };
    ensure!(commit.seq == seq, Broken::new("log", format!("commit {seq} says that it is {}", commit.seq)));
    oracles.log.hashes.push(hash);
    oracles.commits.insert(hash, commit.clone());
    Ok(commit)
}

/// The store was opened after a stop, a power cut or an error.
pub(super) fn opened(oracles: &mut Oracles, snapshot: &Snapshot) -> Result<()> {
    let told = oracles.log.told;
    let hash = snapshot.hash_at(told.seq)?;
    ensure!(
        told.seq == Seq(0) || hash == Some(told.hash),
        Broken::new("durable", format!("clients were told of commit {}, and the opened store does not have it", told.seq))
    );
    // What nobody was told of may be there or not. What a folder that was put back holds was looked at when it was written, with
    // what was known of the stores by then.
    let head = snapshot.head().seq.0 as usize;
    if head < oracles.log.hashes.len() || oracles.log.hashes.is_empty() {
        oracles.log = Log { told, ..Log::default() };
        read_again(oracles, snapshot)?;
        return verdicts::all_rows(&oracles.log.model, snapshot);
    }
    committed(oracles, snapshot)
}

/// Reads a log again that was looked at before.
fn read_again(oracles: &mut Oracles, snapshot: &Snapshot) -> Result<()> {
    for seq in 1..=snapshot.head().seq.0 {
        let commit = read(oracles, snapshot, Seq(seq))?;
        fold(&mut oracles.log, &commit)?;
    }
    Ok(())
}

/// What a push does to rows that its author had not seen, to deleted rows, and how often.
fn push(oracles: &mut Oracles, snapshot: &Snapshot, seq: Seq, record: &PushRecord) -> Result<()> {
    let stores = oracles.stores_of(record.device);
    // The server's own imports are nobody's.
    if !stores.is_empty() {
        deletions::answered(oracles, &stores, record);
        let common = stores.iter().filter_map(|store| oracles.stores.get(store)?.common).max();
        for effect in &record.effects {
            let before = oracles.log.model.rows.get(&effect.key);
            let schema = snapshot.schema_at(seq)?;
            let strict = schema.table(effect.key.table).is_some_and(|table| table.strict);
            if effect.op == Op::Delete {
                deletions::deleted(oracles, seq, &stores, effect.key)?;
            }
            let unseen = |field: FieldTag| -> Option<(Value, Seq)> {
                let (value, stamp) = before?.fields.get(&field)?;
                // What the server wrote for an app that does not know the field is shown by none of its like.
                let excused = *value == Value::text(INITIAL)
                    || common.is_some_and(|common| *stamp <= common)
                    || oracles.ledger.ambiguous.contains(&(effect.key, field))
                    || oracles.ledger.has_seen(&stores, (effect.key, field), &content(value));
                (!excused).then(|| (value.clone(), *stamp))
            };
            if before.is_some_and(|row| row.live) {
                let whole_row = strict || effect.op == Op::Delete;
                let touched: Vec<FieldTag> = match (whole_row, before) {
                    (true, Some(row)) => row.fields.keys().copied().collect(),
                    _ => effect.fields.iter().map(|(field, _)| *field).collect(),
                };
                for field in touched {
                    if let Some((value, stamp)) = unseen(field) {
                        return Err(Broken::new(
                            "overwrite",
                            format!(
                                "commit {seq} of stores {stores:?}: {:?} of {:?} replaces field {field}, {value:?} of commit {stamp}, that nobody there has seen",
                                effect.op, effect.key
                            ),
                        ));
                    }
                }
            } else if before.is_some() {
                ensure!(
                    oracles.ledger.revived.contains(&effect.key),
                    Broken::new("dead", format!("commit {seq}: {:?} came back, and nobody restored it", effect.key))
                );
            }
            for (field, value) in &effect.fields {
                let place = (effect.key, *field);
                once(oracles, seq, place, value)?;
                let stands = oracles.log.model.rows.get(&effect.key).and_then(|row| row.fields.get(field));
                let was_there = oracles.log.effects.contains_key(&(place, content(value)));
                if was_there && stands.is_none_or(|(stands, _)| stands != value) {
                    oracles.ledger.came_back.insert(place);
                }
            }
        }
    }
    Ok(())
}

/// A value that nobody else writes comes into the log as often as its owner wanted it there.
fn once(oracles: &Oracles, seq: Seq, place: Place, value: &Value) -> Result<()> {
    let key = (place, content(value));
    let Some(wanted) = oracles.ledger.written.get(&key) else { return Ok(()) };
    let before = oracles.log.effects.get(&key).copied().unwrap_or(0);
    ensure!(
        before < *wanted || oracles.ledger.ambiguous.contains(&place),
        Broken::new("once", format!("commit {seq} applies {value:?} to {place:?} for the {}th time", before + 1))
    );
    Ok(())
}

/// Folds a commit. Returns the rows that it changes.
fn fold(log: &mut Log, commit: &Commit) -> Result<Vec<RowKey>> {
    if let CommitBody::Push(record) = &commit.body {
        log.pushes.insert((record.device, record.number), record.hash);
        for effect in &record.effects {
            log.changes.entry(effect.key).or_default().push((commit.seq, record.device));
            if effect.op == Op::Delete {
                log.deleted.insert(effect.key);
            }
            for (field, value) in &effect.fields {
                let key = ((effect.key, *field), content(value));
                *log.effects.entry(key.clone()).or_default() += 1;
                log.holds.insert(key);
            }
        }
        for (key, lost) in &record.lost {
            log.holds.insert(((*key, lost.field), content(&lost.value)));
        }
    }
    let folded = log.model.fold(commit.seq, &commit.body);
    let changed = folded.map_err(|what| Broken::new("fold", format!("commit {}: {what}", commit.seq)))?;
    for key in &changed {
        let fields = log.model.rows.get(key).into_iter().flat_map(|row| &row.fields);
        for (field, (value, stamp)) in fields.filter(|(_, (_, stamp))| *stamp == commit.seq) {
            log.values.entry((*key, *field)).or_default().push((*stamp, value.clone()));
        }
    }
    Ok(changed)
}

/// Of a group that nobody touched since, either nothing is in the log or everything.
fn groups(oracles: &mut Oracles, seq: Seq, record: &PushRecord) -> Result<()> {
    let mut done = Vec::new();
    for (id, group) in &oracles.ledger.groups {
        let is_in = |(place, value): (&Place, &Content)| {
            let effects = record.effects.iter().filter(|effect| effect.key == place.0);
            effects.flat_map(|effect| &effect.fields).any(|(field, new)| *field == place.1 && content(new) == *value)
        };
        if !group.writes.iter().any(is_in) {
            continue;
        }
        let missing = group.writes.iter().find(|(place, value)| {
            let row = oracles.log.model.rows.get(&place.0);
            row.and_then(|row| row.fields.get(&place.1)).map(|(value, _)| content(value)).as_ref() != Some(*value)
        });
        ensure!(
            missing.is_none(),
            Broken::new("groups", format!("commit {seq} has a part of group {id:?}, without {missing:?}"))
        );
        done.push(*id);
    }
    done.iter().for_each(|id| drop(oracles.ledger.groups.remove(id)));
    Ok(())
}
