//! What a push would cost, before anybody presses the button.

use crate::engine::wire_change;
use crate::error::ClientError;
use crate::freeze::Standing;
use crate::handle::Client;
use crate::view;
use std::collections::BTreeSet;
use tombolo_protocol::batch::{ChangeBatch, WireChange};
use tombolo_protocol::frame::encode_up;
use tombolo_protocol::ids::{Hash16, PushNo, RowKey, RowNo, Seq};
use tombolo_protocol::limits::PUSH_CHANGES_MAX;
use tombolo_protocol::message::{PushMessage, Up};
use tombolo_protocol::outbox::change_of;

/// Changes that are encoded to know their size; more of them are taken to be like these.
const ENCODED_MAX: usize = 2000;

/// What pushing costs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Estimate {
    /// Changes that would be pushed.
    pub changes: usize,
    /// Bytes that they take in frames; what a new connection costs is not counted.
    pub bytes: u64,
    /// Bytes a second that the link last brought, at a first sync or a large pull; zero where none was measured.
    pub rate: u32,
}

impl Client {
    /// What it costs to push what is ready of these rows. What has to go before them, or together with them, is not looked for.
    ///
    /// # Errors
    /// [`ClientError`] when the store fails.
    pub fn estimate(&self, rows: BTreeSet<RowKey>) -> Result<Estimate, ClientError> {
        self.read(move |tables, schema| {
            let pending = view::pending(tables, schema)?;
            let ready: Vec<_> =
                pending.iter().filter(|view| view.standing == Standing::Ready && rows.contains(&view.key)).collect();
            let base = tables.sync_state()?.witness.seq;
            let changes: Vec<WireChange> = ready
                .iter()
                .take(ENCODED_MAX)
                .map(|view| {
                    let number = view.mirror.as_ref().map(|row| row.no).filter(|no| *no != RowNo(0));
                    wire_change(change_of(view.key, &view.change, base, None), number)
                })
                .collect();
            let rate = tables.rate()?;
            let Some(encoded) = std::num::NonZeroUsize::new(changes.len()) else {
                return Ok(Estimate { rate, ..Estimate::default() });
            };
            // In pushes as they will go: each of them packs and compresses on its own.
            let bytes: usize = changes
                .chunks(PUSH_CHANGES_MAX)
                .map(|changes| {
                    let changes = ChangeBatch(changes.to_vec());
                    let push = PushMessage { number: PushNo(1), hash: Hash16::default(), schema: Seq(0), changes };
                    encode_up(&Up::Push(Box::new(push))).len()
                })
                .sum();
            Ok(Estimate { changes: ready.len(), bytes: (bytes * ready.len() / encoded) as u64, rate })
        })
    }
}
