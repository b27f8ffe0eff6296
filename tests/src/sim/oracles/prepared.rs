//! What was made for another device is what a scan would bring for this one.

use super::Broken;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeSet;
use tombolo_client::protocol::cursor::CursorName;
use tombolo_client::protocol::ids::{Seq, UserId};
use tombolo_client::protocol::limits::{CHUNK_ROWS_MAX, FRAME_INFLATED_BYTES_MAX};
use tombolo_client::protocol::message::Down;
use tombolo_server::feed::{Budget, Scan};
use tombolo_server::snapshot::{AuthorList, Snapshot};

/// A session sends a chunk that was prepared.
///
/// # Errors
/// [`Broken`].
pub fn sent(snapshot: &Snapshot, user: UserId, message: &Down) -> Result<()> {
    let Down::Delta(delta) = message else { bail!(Broken::new("prepared", "something else than a delta was prepared")) };
    let CursorName::Fill(section) = delta.cursor else { bail!(Broken::new("prepared", "it is of no fill")) };
    let scan = Scan {
        sections: &BTreeSet::from([section]),
        complete: Seq(0),
        from: delta.from,
        // It ends at or below the head that the fill has, and above that nothing is in it.
        fill_head: Some(snapshot.head().seq),
        until: Some(delta.to),
        budget: Budget { bytes: FRAME_INFLATED_BYTES_MAX, rows: CHUNK_ROWS_MAX },
    };
    let rights = snapshot.rights(user)?.context("a session of nobody")?;
    let scanned = snapshot.scan(&rights, &scan, &|_, _| false)?;
    ensure!(
        scanned.rows == delta.rows.0 && scanned.to == delta.to && delta.complete.is_none() && delta.snapshot.is_none(),
        Broken::new("prepared", format!("from {:?} a scan brings {scanned:?}, and {delta:?} was sent", delta.from))
    );
    let authors = AuthorList::of(&scanned.rows).read(snapshot)?;
    ensure!(authors == delta.authors, Broken::new("prepared", format!("{:?} made it, and not {authors:?}", delta.authors)));
    Ok(())
}
