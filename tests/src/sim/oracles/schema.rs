//! A session is told of a schema before it is sent anything from at or behind its commit.

use super::{Broken, Oracles};
use crate::sim::net::LinkId;
use anyhow::{Result, ensure};
use tombolo_client::protocol::message::Down;
use tombolo_server::snapshot::Snapshot;

/// The server sends something that was read at, or before, this head.
pub(super) fn sent(oracles: &mut Oracles, link: LinkId, snapshot: &Snapshot, message: &Down) -> Result<()> {
    let Some(told) = oracles.told.get_mut(&link) else { return Ok(()) };
    let read_at = match message {
        Down::Schema { seq, .. } => {
            told.schema = *seq;
            return Ok(());
        }
        Down::Welcome(welcome) => welcome.snapshot,
        Down::Result { snapshot, .. } | Down::Rows { snapshot, .. } => *snapshot,
        Down::Delta(delta) => delta.snapshot,
        Down::CaughtUp(caught_up) => caught_up.head,
        _ => return Ok(()),
    };
    ensure!(
        read_at != snapshot.head() || told.schema == snapshot.schema_seq(),
        Broken::new(
            "schema",
            format!("the schema is that of {}, {} was told, and then {message:?}", snapshot.schema_seq(), told.schema)
        )
    );
    Ok(())
}
