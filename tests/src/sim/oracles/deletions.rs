//! A row that a person deleted is not shown to them again by itself; and a deletion that a restore of the server undid is not sent
//! again before somebody decided it.

use super::{Broken, Oracles};
use anyhow::{Result, ensure};
use std::collections::BTreeSet;
use tombolo_client::engine::Engine;
use tombolo_client::protocol::change::{Op, Refusal, Verdict};
use tombolo_client::protocol::commit::PushRecord;
use tombolo_client::protocol::ids::{RowKey, Seq};
use tombolo_client::protocol::outbox::SentBefore;

/// Checks what was deleted at this store: it is in the log, in the outbox, in review, or kept to be offered again.
pub(super) fn check(oracles: &mut Oracles, store: usize, engine: &Engine) -> Result<()> {
    let log = &oracles.log;
    oracles.ledger.deletions.retain(|(_, key)| !log.deleted(key));
    let mut shown = BTreeSet::new();
    let tables = engine.store().read()?;
    for (_, key) in oracles.ledger.deletions.iter().filter(|(of, _)| *of == store) {
        let is_live = tables.mirror(*key)?.is_some_and(|held| held.row.is_live());
        let deletes = |entry: tombolo_client::protocol::outbox::Entry| entry.layers().any(|pending| pending.op == Op::Delete);
        if is_live && !tables.entry(*key)?.is_some_and(deletes) {
            shown.insert(*key);
        }
    }
    if shown.is_empty() {
        return Ok(());
    }
    for push in tables.acknowledged_above(Seq(0))? {
        shown.retain(|key| !push.changes.iter().any(|(of, pending)| of == key && pending.op == Op::Delete));
    }
    ensure!(shown.is_empty(), Broken::new("deletions", format!("store {store} deleted {shown:?}, and shows them again")));
    Ok(())
}

/// A deletion of a row that the server does not know, or not for this user (any more), is settled (T42).
pub(super) fn answered(oracles: &mut Oracles, stores: &BTreeSet<usize>, record: &PushRecord) {
    for (row, verdict) in record.rows.iter().zip(record.verdicts.iter()) {
        if matches!(verdict, Verdict::Refused(Refusal::UnknownRow)) {
            oracles.ledger.deletions.retain(|(store, key)| !stores.contains(store) || *key != row.key);
        }
    }
}

/// A device found that the server was put back: these deletions are to be asked about.
pub(super) fn undone(oracles: &mut Oracles, store: usize, common: Seq, engine: &Engine) -> Result<()> {
    for entry in engine.store().read()?.entries()? {
        let entry = entry?;
        if entry.next.is_some_and(|next| next.op == Op::Delete && next.sent_before == SentBefore::Acknowledged) {
            oracles.ledger.undone.insert((store, entry.key), common);
        }
    }
    Ok(())
}

/// A row is deleted by one of these stores, copies of each other; one that heard of no restore sends what it never sent. Commits
/// that the restore left are older than it.
pub(super) fn deleted(oracles: &Oracles, seq: Seq, stores: &BTreeSet<usize>, key: RowKey) -> Result<()> {
    ensure!(
        !stores.iter().all(|store| oracles.ledger.undone.get(&(*store, key)).is_some_and(|common| seq > *common)),
        Broken::new(
            "unasked",
            format!("commit {seq} deletes {key:?} again, which a restore had brought back, and nobody was asked")
        )
    );
    Ok(())
}
