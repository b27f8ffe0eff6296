//! A session is told of a schema before it is sent anything from at or behind its commit.

use super::{Broken, Oracles};
use crate::sim::net::LinkId;
use anyhow::{Result, ensure};
use tombolo_client::protocol::ids::Mark;
use tombolo_client::protocol::message::Down;
use tombolo_server::snapshot::Snapshot;

/// The server sends something that was read at, or before, this head.
pub(super) fn sent(
    oracles: &mut Oracles,
    link: LinkId,
    snapshot: &Snapshot,
    read_at: Option<Mark>,
    message: &Down,
) -> Result<()> {
    let Some(told) = oracles.told.get_mut(&link) else { return Ok(()) };
    if let Down::Schema { seq, .. } = message {
        told.schema = *seq;
        return Ok(());
    }
    // Behind a message that ends the session no rows come: the next one tells of the schema first.
    if matches!(message, Down::Copy(_) | Down::Diverged(_)) {
        return Ok(());
    }
    ensure!(
        read_at != Some(snapshot.head()) || told.schema == snapshot.schema_seq(),
        Broken::new(
            "schema",
            format!("the schema is that of {}, {} was told, and then {message:?}", snapshot.schema_seq(), told.schema)
        )
    );
    Ok(())
}
