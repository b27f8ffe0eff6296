//! What waits for a person says why, and is a real question: nobody is asked about a value that they saw, wrote themselves, or
//! agree with.

use super::{Broken, Oracles};
use crate::sim::ledger::content;
use crate::sim::person::is_traced;
use anyhow::{Result, ensure};
use tombolo_client::engine::Engine;
use tombolo_client::protocol::outbox::ConflictKind;
use tombolo_client::view::{self, ConflictView};

/// Looks at every conflict of a store.
pub(super) fn check(oracles: &Oracles, store: usize, engine: &Engine) -> Result<()> {
    let Some(schema) = engine.schema() else { return Ok(()) };
    for conflict in view::conflicts(&engine.store().read()?, schema)? {
        let strict = schema.table(conflict.key.table).is_some_and(|table| table.strict);
        let from_old_form = oracles.ledger.old_forms.contains(&(store, conflict.key));
        let from_old_form = from_old_form || oracles.ledger.earlier_lives.contains(&store);
        if conflict.conflict.kind == ConflictKind::UpdateUpdate && !strict && !from_old_form {
            update_update(oracles, store, schema, &conflict)?;
        }
    }
    Ok(())
}

fn update_update(
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
            (unit.len() > 1 || mine != Some(theirs))
                && (!oracles.ledger.has_seen(&stores, place, &content(theirs)) || oracles.ledger.ambiguous.contains(&place))
        });
        ensure!(
            is_question,
            Broken::new("phantom", format!("store {store} asks about field {field} of {:?}: {view:?}", view.key))
        );
    }
    Ok(())
}
