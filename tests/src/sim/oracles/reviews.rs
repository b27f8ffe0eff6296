//! What waits for a person says why, and is a real question: nobody is asked about a value that they saw, wrote themselves, or
//! agree with, nor about a row that only they changed.

use super::{Broken, Oracles};
use crate::sim::ledger::content;
use crate::sim::person::is_traced;
use anyhow::{Result, ensure};
use tombolo_client::engine::Engine;
use tombolo_client::protocol::outbox::{ConflictKind, SentBefore};
use tombolo_client::view::{self, ConflictView};

/// Looks at every conflict of a store.
pub(super) fn check(oracles: &Oracles, store: usize, engine: &Engine) -> Result<()> {
    let Some(schema) = engine.schema() else { return Ok(()) };
    for conflict in view::conflicts(&engine.store().read()?, schema)? {
        let strict = schema.table(conflict.key.table).is_some_and(|table| table.strict);
        let from_old_form = oracles.ledger.old_forms.contains(&(store, conflict.key));
        let from_old_form = from_old_form || oracles.ledger.earlier_lives.contains(&store);
        if from_old_form {
            continue;
        }
        match conflict.conflict.kind {
            ConflictKind::UpdateUpdate if !strict => fields(oracles, store, schema, &conflict)?,
            // What a store saw of a history that was put back meanwhile is not in the log.
            ConflictKind::UpdateUpdate | ConflictKind::DeleteUpdate if oracles.log.has(engine.state().witness) => {
                row(oracles, store, &conflict)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// The question is of the row as such: of a strict table, or whether to delete what others changed.
fn row(oracles: &Oracles, store: usize, view: &ConflictView) -> Result<()> {
    // What a server that was put back lost is asked about again. A store that goes by another id than at first may have heard of
    // what it sent without the row: then nobody knows what others changed.
    if view.mine.sent_before == SentBefore::Acknowledged || oracles.ids_of(store) > 1 {
        return Ok(());
    }
    let base = view.mine.row_base;
    let is_question = oracles.log.changed_behind(&view.key, base).any(|device| !oracles.stores_of(device).contains(&store));
    ensure!(
        is_question,
        Broken::new(
            "phantom",
            format!("store {store} asks about {:?}, which only it changed behind {base}: {view:?}", view.key)
        )
    );
    Ok(())
}

/// The question is of fields.
fn fields(
    oracles: &Oracles,
    store: usize,
    schema: &tombolo_client::protocol::schema::Schema,
    view: &ConflictView,
) -> Result<()> {
    let stores = [store].into();
    let (Some(table), Some(server)) = (schema.table(view.key.table), &view.server) else { return Ok(()) };
    for field in &view.conflict.fields {
        // Members of a group are compared as one: one that is equal may belong to a tuple that is not.
        let unit = table.unit(field);
        let is_question = unit.iter().any(|member| {
            // Of values that many people write it cannot be told whether somebody has seen this very one.
            if !is_traced(table, *member) {
                return true;
            }
            let theirs = server.value(*member);
            let mine = view.mine.fields.get(member).map(|edit| &edit.value);
            let place = (view.key, *member);
            let is_unclear = oracles.ledger.ambiguous.contains(&place) || oracles.ledger.came_back.contains(&place);
            (unit.len() > 1 || mine != Some(theirs))
                && (is_unclear || !oracles.ledger.has_seen(&stores, place, &content(theirs)))
        });
        ensure!(
            is_question,
            Broken::new("phantom", format!("store {store} asks about field {field} of {:?}: {view:?}", view.key))
        );
    }
    Ok(())
}
