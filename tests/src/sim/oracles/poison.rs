//! A push that ends every session is not sent for ever: it goes again in halves, and a change that fails alone waits for a person.

use super::{Broken, Oracles};
use crate::sim::ledger::{Content, content};
use crate::sim::net::LinkId;
use anyhow::{Result, ensure};
use std::collections::BTreeMap;
use tombolo_client::protocol::change::{Op, Push};
use tombolo_client::protocol::ids::{FieldTag, RowKey};

/// Sessions that one and the same push may end before its device gives it up. Three are allowed; a device whose store failed
/// when it heard of one does not count that.
const ENDED_MAX: u32 = 16;

/// What a push says, whatever its number.
type Said = Vec<(RowKey, Op, Vec<(FieldTag, Content)>)>;

/// Pushes that ended sessions.
#[derive(Default)]
pub(super) struct Poison {
    ending: BTreeMap<LinkId, Said>,
    ended: BTreeMap<(usize, Said), u32>,
}

impl Poison {
    /// The server ends a session because of this push.
    pub(super) fn ends(&mut self, link: LinkId, push: &Push) {
        let said = push.changes.iter().map(|change| {
            let fields = change.fields.iter().map(|field| (field.field, content(&field.value))).collect();
            (change.key, change.op, fields)
        });
        self.ending.insert(link, said.collect());
    }

    /// A store begins a new life, or an earlier one again: what it counted is gone.
    pub(super) fn begins_again(&mut self, store: usize) {
        self.ended.retain(|(of, _), _| *of != store);
    }
}

/// A device hears that its session was ended by an error of the server.
pub(super) fn heard(oracles: &mut Oracles, store: usize, link: LinkId) -> Result<()> {
    let Some(said) = oracles.poison.ending.remove(&link) else { return Ok(()) };
    let what = format!("one push of store {store} ended more than {ENDED_MAX} sessions: {said:?}");
    let count = oracles.poison.ended.entry((store, said)).or_default();
    *count += 1;
    ensure!(*count <= ENDED_MAX, Broken::new("poison", what));
    Ok(())
}
