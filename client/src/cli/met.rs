//! What a sync met besides rows, for people and scripts: a server that was put back (H4), a store that is a copy (P3).

use super::io::Io;
use super::text;
use crate::driver::SyncProgress;
use crate::event::Lost;
use crate::handle::Client;
use crate::view::PendingView;
use serde_json::{Value as Json, json};
use tombolo_protocol::outbox::SentBefore;

/// What a sync met.
#[derive(Clone, Copy, Default)]
pub(super) struct Met {
    pub lost: Option<Lost>,
    pub new_life: bool,
}

impl Met {
    pub(super) fn of(progress: &SyncProgress) -> Self {
        Self { lost: progress.lost, new_life: progress.new_life }
    }

    /// What scripts read, where the server was put back.
    pub(super) fn diverged(&self, pending: &[PendingView]) -> Option<Json> {
        let Lost { offered, dropped } = self.lost?;
        let Stand { agreed, asked } = stand(offered, pending);
        Some(json!({ "offered": offered, "agreed": agreed, "asked": asked, "dropped": dropped }))
    }

    /// Tells people.
    pub(super) fn tell(&self, io: &mut Io<'_>, client: &Client) {
        if self.new_life {
            io.note(
                "this data was copied, or put back to an earlier state. Nothing is lost: this device goes on under a new id, and \
                 sends what the server does not have",
            );
        }
        let Some(lost) = self.lost else { return };
        // A store that fails now has been told of already.
        let (Ok(pending), Ok(status)) = (client.pending(), client.status()) else { return };
        let copy = status.recovery_copies.last().map(|(number, _)| *number);
        io.note(&put_back(lost, &stand(lost.offered, &pending), copy));
    }
}

/// How what was offered again stands.
struct Stand {
    /// Went through, or was there already.
    agreed: u64,
    /// Waits for a person.
    asked: u64,
}

fn stand(offered: u64, pending: &[PendingView]) -> Stand {
    let again = || pending.iter().filter(|view| view.change.sent_before == SentBefore::Acknowledged);
    let asked = again().filter(|view| view.standing.waits_for_person()).count() as u64;
    Stand { agreed: offered.saturating_sub(again().count() as u64), asked }
}

fn put_back(Lost { offered, dropped }: Lost, Stand { agreed, asked }: &Stand, copy: Option<u32>) -> String {
    let rows = |count: u64| text::counted(usize::try_from(count).unwrap_or(usize::MAX), "row", "rows");
    let mut lines = vec!["The server was put back to an earlier state.".to_owned()];
    if offered > 0 {
        let question = if *asked > 0 { " (tombolo conflicts, tombolo pending)" } else { "" };
        lines.push(format!(
            "Your changes of {} that it had lost were offered again: {agreed} went through, {asked} wait for your decision{question}.",
            rows(offered)
        ));
    }
    if dropped > 0 {
        lines
            .push(format!("Your changes of {} that it had lost were not offered again, as its operator chose.", rows(dropped)));
    }
    if let Some(copy) = copy {
        lines.push(format!("What this device had before is set aside: tombolo export TABLE --recovery {copy}"));
    }
    lines.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_lost_is_told_with_what_becomes_of_it() {
        let stand = Stand { agreed: 2, asked: 1 };
        assert_eq!(
            put_back(Lost { offered: 3, dropped: 0 }, &stand, Some(1)),
            "The server was put back to an earlier state. Your changes of 3 rows that it had lost were offered again: 2 went \
             through, 1 wait for your decision (tombolo conflicts, tombolo pending). What this device had before is set aside: \
             tombolo export TABLE --recovery 1"
        );
        assert_eq!(
            put_back(Lost { offered: 0, dropped: 1 }, &Stand { agreed: 0, asked: 0 }, None),
            "The server was put back to an earlier state. Your changes of 1 row that it had lost were not offered again, as its \
             operator chose."
        );
    }
}
