//! What is done with the log as a whole: the check of everything, and compaction.

use super::Console;
use super::request::{Answer, Refused};
use crate::access::OPERATOR;
use crate::compact::{self, Prepared};
use crate::net::folder::Folder;
use crate::net::hub::Hub;
use crate::store::StoreError;
use crate::verify::{self, Progress, VerifyError};
use crate::workspace::{Job, Reply};
use std::ops::ControlFlow;

/// A longer log says how far its verification has come, in such steps.
const COMMITS_QUIET: u64 = 10_000;
const PERCENT_STEP: u64 = 10;

pub(super) fn verify(hub: &Hub, folder: &Folder, console: &mut dyn Console) -> Result<Answer, Refused> {
    let scratch = folder.scratch().map_err(|error| no_room("a verification", &error))?;
    let report = verify::verify(&hub.store()?, &scratch.store, &mut in_steps(console));
    let report = report.map_err(|error| explained("a verification", error))?;
    Ok(Answer::Verified { sound: report.is_sound(), report: report.to_string() })
}

/// Puts away the contents of commits that are older than so many days; of all where that is none.
pub(super) fn compact(hub: &Hub, folder: &Folder, keep_days: u32, console: &mut dyn Console) -> Result<Answer, Refused> {
    let bytes_before = folder.store_bytes();
    let snapshot = hub.snapshot()?;
    let horizon = match keep_days {
        0 => snapshot.head().seq,
        days => snapshot.older_than(days, hub.now_ms())?,
    };
    drop(snapshot);
    let scratch = folder.scratch().map_err(|error| no_room("a compaction", &error))?;
    let prepared = compact::prepare(&hub.store()?, &scratch.store, horizon, &mut in_steps(console));
    let base = match prepared.map_err(|error| explained("a compaction", error))? {
        Prepared::Base(base) => base,
        Prepared::Nothing => return Ok(Answer::NothingToCompact { keep_days }),
        Prepared::Unsound(report) => {
            return Err(Refused::new(format!(
                "the data folder does not verify, so nothing was put away. Run `verify`: where it says the same, stop the server, \
                 copy the folder aside, and put the last backup back. {report}"
            )));
        }
    };
    match hub.ask_blocking(Job::Compact { by: OPERATOR, base })? {
        Reply::Compact(Ok(done)) => Ok(Answer::Compacted {
            commit: done.seq.0,
            horizon: done.horizon.0,
            dropped: done.dropped,
            kept: done.kept,
            bytes_before,
            bytes_after: folder.store_bytes(),
        }),
        Reply::Compact(Err(error)) => Err(Refused::new(error.to_string())),
        _ => Err(Refused::new("the writer answered something else: tell the makers of Tombolo")),
    }
}

/// Tells how far it has come, where that takes long, and ends what nobody waits for any more.
fn in_steps(console: &mut dyn Console) -> impl FnMut(Progress) -> ControlFlow<()> {
    let mut told = 0;
    move |Progress { done, head }| {
        let percent = done.0 * 100 / head.0.max(1);
        if head.0 > COMMITS_QUIET && percent >= told + PERCENT_STEP {
            told = percent;
            console.progress(&format!("{percent} % of {head} commits"));
        }
        if console.is_awaited() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

fn explained(what: &str, error: VerifyError) -> Refused {
    match error {
        VerifyError::Store(error @ StoreError::DiskFull) => no_room(what, &error),
        VerifyError::Store(error) => error.into(),
        error => Refused::new(error.to_string()),
    }
}

fn no_room(what: &str, error: &StoreError) -> Refused {
    Refused::new(format!("{what} makes a second copy beside the data, and nothing else is changed: {error}"))
}
