//! Nobody is sent a row outside of what they may see.

use super::Broken;
use anyhow::{Result, ensure};
use tombolo_client::protocol::ids::{Mark, RowKey};
use tombolo_client::protocol::message::Down;
use tombolo_client::protocol::row::{RowName, RowState, StateKind};
use tombolo_server::snapshot::{Identity, Snapshot};

/// The server sends something that was read at, or before, this head.
pub(super) fn sent(snapshot: &Snapshot, read_at: Option<Mark>, to: Identity, message: &Down) -> Result<()> {
    let rows: Vec<&RowState> = match message {
        Down::Result { outcome, .. } => outcome.rows.0.iter().collect(),
        Down::Welcome(m) => m.outcomes.iter().flat_map(|outcome| &outcome.rows.0).collect(),
        Down::Copy(m) => m.outcomes.iter().flat_map(|outcome| &outcome.rows.0).collect(),
        Down::Diverged(m) => m.outcomes.iter().flat_map(|outcome| &outcome.rows.0).collect(),
        Down::Delta(delta) => delta.rows.0.iter().collect(),
        Down::Rows { rows, .. } => rows.0.iter().collect(),
        _ => return Ok(()),
    };
    // What was read before the newest commit was read under older rights.
    if rows.is_empty() || read_at != Some(snapshot.head()) {
        return Ok(());
    }
    let Some(rights) = snapshot.rights(to.user)? else {
        return Err(Broken::new("scopes", format!("rows are sent to {to:?}, who is no user")));
    };
    for state in rows {
        if state.kind == StateKind::Exited {
            ensure!(state.fields.is_empty(), Broken::new("scopes", format!("a row that left is sent with values: {state:?}")));
            continue;
        }
        let row = match state.name {
            RowName::Id(id, _) => snapshot.row(&RowKey { table: state.table, id })?,
            RowName::No(no) => snapshot.row_numbered(no)?,
        };
        let may_see = row.is_some_and(|row| rights.may_see(snapshot.schema(), &row));
        // Of a row that this user may not see nothing is said but what everybody knows who was never there.
        ensure!(
            may_see || state.fields.is_empty(),
            Broken::new("scopes", format!("a row that {to:?} may not see is sent: {state:?}"))
        );
    }
    Ok(())
}
