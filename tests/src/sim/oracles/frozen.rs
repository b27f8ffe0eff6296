//! What is in flight stays there whatever a person does: only an answer, a void or a new life takes it away.

use super::Broken;
use anyhow::{Result, ensure};
use std::collections::BTreeMap;
use tombolo_client::engine::Engine;
use tombolo_client::protocol::ids::RowKey;
use tombolo_client::protocol::outbox::Sent;

/// What a store has in flight.
pub type InFlight = BTreeMap<RowKey, Sent>;

/// What the store of this engine has in flight.
///
/// # Errors
/// When the store cannot be read.
pub fn in_flight(engine: &Engine) -> Result<InFlight> {
    let mut sent = InFlight::new();
    for entry in engine.store().read()?.entries()? {
        let entry = entry?;
        sent.extend(entry.sent.map(|of| (entry.key, of)));
    }
    Ok(sent)
}

/// A person did something.
pub(super) fn stays(store: usize, before: &InFlight, engine: &Engine) -> Result<()> {
    let after = in_flight(engine)?;
    for (key, sent) in before {
        ensure!(
            after.get(key) == Some(sent),
            Broken::new("frozen", format!("store {store} had {sent:?} of {key:?} in flight, and has {:?}", after.get(key)))
        );
    }
    Ok(())
}
