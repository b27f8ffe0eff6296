//! The log: gap-free, append-only, chained; each change in it once; nothing overwritten that its author had not seen, nothing
//! invented, nothing back from the dead by itself, groups whole. The rows are folded again here, in plain maps, and compared.

use super::{Broken, Oracles};
use crate::sim::ledger::{Content, Place, content};
use crate::sim::schema::INITIAL;
use anyhow::{Context, Result, ensure};
use std::collections::{BTreeMap, BTreeSet};
use tombolo_client::protocol::change::Op;
use tombolo_client::protocol::commit::{CommitBody, PushRecord};
use tombolo_client::protocol::ids::{FieldTag, Hash16, Mark, RowKey, Seq};
use tombolo_client::protocol::row::Life;
use tombolo_client::protocol::value::Value;
use tombolo_server::snapshot::Snapshot;

/// What the log is known to hold.
#[derive(Default)]
pub(super) struct Log {
    hashes: Vec<Hash16>,
    rows: BTreeMap<RowKey, Folded>,
    /// How often each value came in as an effect.
    effects: BTreeMap<(Place, Content), u32>,
    /// Values that are somewhere in it: accepted, or as one that lost.
    holds: BTreeSet<(Place, Content)>,
    /// The newest commit that anybody was told of.
    told: Mark,
}

/// A row, folded.
#[derive(Clone, Debug, Default)]
struct Folded {
    live: bool,
    /// Its values were taken; what is left of it is the server's to say.
    purged: bool,
    seq: Seq,
    fields: BTreeMap<FieldTag, (Content, Seq)>,
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

    /// Compares the server's rows with those that were folded here.
    pub(super) fn equals(&self, snapshot: &Snapshot) -> Result<()> {
        for (key, folded) in &self.rows {
            let row = snapshot.row(key)?.with_context(|| format!("the server does not have {key:?}"))?;
            let broken = || Broken::new("fold", format!("the server has {row:?}\nthe log says {folded:?}"));
            ensure!(row.is_live() == folded.live && row.seq == folded.seq, broken());
            if row.life != Life::Purged {
                for (field, (value, stamp)) in &folded.fields {
                    ensure!(content(row.value(*field)) == *value && row.stamp(*field) == *stamp, broken());
                }
                let unknown = row.fields.keys().find(|field| !folded.fields.contains_key(field));
                ensure!(unknown.is_none() || folded.purged, broken());
            }
        }
        Ok(())
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
    for seq in known + 1..=head {
        let body = read(&mut oracles.log, snapshot, Seq(seq as u64))?;
        if let CommitBody::Push(record) = body {
            push(oracles, snapshot, Seq(seq as u64), &record)?;
        }
    }
    Ok(())
}

/// Takes the next commit, with everything that is no push.
fn read(log: &mut Log, snapshot: &Snapshot, seq: Seq) -> Result<CommitBody> {
    let commit = snapshot.commit(seq)?.ok_or_else(|| Broken::new("log", format!("commit {seq} is missing")))?;
    ensure!(commit.seq == seq, Broken::new("log", format!("commit {seq} says that it is {}", commit.seq)));
    log.hashes.push(snapshot.hash_at(seq)?.context("a commit without a hash")?);
    if let CommitBody::Purge { rows } = &commit.body {
        for key in rows {
            if let Some(row) = log.rows.get_mut(key) {
                row.fields.clear();
                (row.seq, row.purged) = (seq, true);
            }
        }
    }
    Ok(commit.body)
}

/// The store was opened after a stop, a power cut or an error.
pub(super) fn opened(oracles: &mut Oracles, snapshot: &Snapshot) -> Result<()> {
    let told = oracles.log.told;
    let hash = snapshot.hash_at(told.seq)?;
    ensure!(
        told.seq == Seq(0) || hash == Some(told.hash),
        Broken::new("durable", format!("clients were told of commit {}, and the opened store does not have it", told.seq))
    );
    // What nobody was told of may be there or not.
    let head = snapshot.head().seq.0 as usize;
    if head < oracles.log.hashes.len() {
        oracles.log = Log { told, ..Log::default() };
        return read_again(oracles, snapshot);
    }
    committed(oracles, snapshot)
}

/// Reads a log again that was looked at before.
fn read_again(oracles: &mut Oracles, snapshot: &Snapshot) -> Result<()> {
    for seq in 1..=snapshot.head().seq.0 {
        if let CommitBody::Push(record) = read(&mut oracles.log, snapshot, Seq(seq))? {
            fold(&mut oracles.log, Seq(seq), &record);
        }
    }
    Ok(())
}

fn push(oracles: &mut Oracles, snapshot: &Snapshot, seq: Seq, record: &PushRecord) -> Result<()> {
    let stores = oracles.stores_of(record.device);
    // The server's own imports are nobody's.
    if !stores.is_empty() {
        let common = stores.iter().filter_map(|store| oracles.stores.get(store)?.common).max();
        for effect in &record.effects {
            let before = oracles.log.rows.get(&effect.key);
            let schema = snapshot.schema_at(seq)?;
            let strict = schema.table(effect.key.table).is_some_and(|table| table.strict);
            let unseen = |field: FieldTag| -> Option<(Content, Seq)> {
                let (value, stamp) = before?.fields.get(&field)?;
                // What the server wrote for an app that does not know the field is shown by none of its like.
                let excused = *value == content(&Value::text(INITIAL))
                    || common.is_some_and(|common| *stamp <= common)
                    || oracles.ledger.ambiguous.contains(&(effect.key, field))
                    || oracles.ledger.has_seen(&stores, (effect.key, field), value);
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
                                "commit {seq} of stores {stores:?}: {:?} of {:?} replaces field {field}, {:?} of commit {stamp}, that nobody there has seen",
                                effect.op,
                                effect.key,
                                String::from_utf8_lossy(&value)
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
                once(oracles, seq, (effect.key, *field), value)?;
            }
        }
    }
    fold(&mut oracles.log, seq, record);
    groups(oracles, seq, record)
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

fn fold(log: &mut Log, seq: Seq, record: &PushRecord) {
    for effect in &record.effects {
        let row = log.rows.entry(effect.key).or_default();
        row.seq = seq;
        row.live = effect.op != Op::Delete;
        for (field, value) in &effect.fields {
            row.fields.insert(*field, (content(value), seq));
            let key = ((effect.key, *field), content(value));
            *log.effects.entry(key.clone()).or_default() += 1;
            log.holds.insert(key);
        }
    }
    for (key, lost) in &record.lost {
        log.holds.insert(((*key, lost.field), content(&lost.value)));
    }
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
            let row = oracles.log.rows.get(&place.0);
            row.and_then(|row| row.fields.get(&place.1)).map(|(value, _)| value) != Some(value)
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
