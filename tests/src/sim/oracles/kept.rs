//! Every edit that a store accepted is in the log, in the outbox, in review, or was taken back by its owner.

use super::{Broken, Oracles};
use crate::sim::ledger::{Content, Place, content};
use anyhow::{Result, ensure};
use std::collections::BTreeSet;
use tombolo_client::engine::Engine;
use tombolo_client::protocol::ids::Seq;
use tombolo_client::protocol::outbox::Pending;

/// Checks everything that this store accepted.
pub(super) fn check(oracles: &mut Oracles, store: usize, engine: &Engine) -> Result<()> {
    for (place, value) in missing(oracles, store, engine)? {
        // A server that was put back does not know the row any more, and its owner wanted it gone: there is nothing to keep the
        // edit with.
        let is_gone = oracles.ledger.let_go.contains(&(store, place.0)) && !oracles.log.knows(&place.0);
        ensure!(
            is_gone || oracles.ledger.put_back.contains(&store),
            Broken::new(
                "kept",
                format!("the edit {:?} of {place:?}, accepted by store {store}, is nowhere", String::from_utf8_lossy(&value))
            )
        );
        oracles.ledger.standing.remove(&(store, place.0, place.1, value));
    }
    Ok(())
}

fn missing(oracles: &Oracles, store: usize, engine: &Engine) -> Result<Vec<(Place, Content)>> {
    let standing = oracles.ledger.standing.iter().filter(|(of, ..)| *of == store);
    let unsettled: Vec<(Place, Content)> = standing
        .map(|(_, key, field, value)| ((*key, *field), value.clone()))
        .filter(|(place, value)| !oracles.log.holds(*place, value))
        .collect();
    if unsettled.is_empty() {
        return Ok(Vec::new());
    }
    let tables = engine.store().read()?;
    let mut held: BTreeSet<(Place, Content)> = BTreeSet::new();
    let mut hold = |key, pending: &Pending| {
        held.extend(pending.fields.iter().map(|(field, edit)| ((key, *field), content(&edit.value))));
        held.extend(pending.lost.iter().map(|lost| ((key, lost.field), content(&lost.value))));
    };
    for entry in tables.entries()? {
        let entry = entry?;
        entry.layers().for_each(|pending| hold(entry.key, pending));
    }
    // Acknowledged, and lost by a server that was put back: they are offered again.
    for push in tables.acknowledged_above(Seq(0))? {
        push.changes.iter().for_each(|(key, pending)| hold(*key, pending));
    }
    Ok(unsettled.into_iter().filter(|edit| !held.contains(edit)).collect())
}
