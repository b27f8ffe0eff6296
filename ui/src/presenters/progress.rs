//! How far a sync has come.

use tombolo_client::SyncProgress;

/// A sync under way.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Progress {
    /// Changes that this sync leaves where they are.
    stays: u64,
    unsent: u64,
    sent: u64,
    /// Up to where was received; `None` until the server has said how much there is.
    scanned: Option<u64>,
    /// The share that is done.
    done: f64,
    bytes: (u64, u64),
}

impl Progress {
    /// A sync that begins, and leaves so many pending changes where they are.
    pub fn new(stays: u64) -> Self {
        Self { stays, ..Self::default() }
    }

    /// Takes in how far it has come. Of what is found to be left, each step takes its part of the share that is still missing: it
    /// never goes back, however much turns out to be left.
    pub fn see(&mut self, seen: &SyncProgress) {
        self.bytes = (seen.bytes_up, seen.bytes_down);
        let unsent = seen.pending.saturating_sub(self.stays);
        let sent = self.unsent.saturating_sub(unsent);
        (self.unsent, self.sent) = (unsent, self.sent + sent);
        let (mut received, mut missing) = (0, 0);
        if seen.head.0 > 0 {
            let scanned = seen.scanned.0.min(seen.head.0);
            received = scanned.saturating_sub(self.scanned.unwrap_or(scanned));
            self.scanned = Some(scanned);
            missing = seen.head.0 - scanned;
        }
        let (worked, left) = (sent + received, unsent + missing);
        if worked > 0 {
            self.done += (1.0 - self.done) * worked as f64 / (worked + left) as f64;
        }
    }

    /// Percent of all that is known of; `None` while nothing of it is done. It is all done only when the sync is over.
    pub fn percent(&self) -> Option<i32> {
        let percent = (self.done * 100.0) as i32;
        (percent > 0).then_some(percent.min(99))
    }

    /// Changes that went out.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Bytes that went up and came down.
    pub fn bytes(&self) -> (u64, u64) {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tombolo_client::protocol::ids::Seq;

    fn seen(pending: u64, scanned: u64, head: u64) -> SyncProgress {
        SyncProgress { pending, scanned: Seq(scanned), head: Seq(head), ..SyncProgress::default() }
    }

    fn percents(stays: u64, steps: &[SyncProgress]) -> Vec<Option<i32>> {
        let mut progress = Progress::new(stays);
        let mut percent = |step| {
            progress.see(step);
            progress.percent()
        };
        steps.iter().map(&mut percent).collect()
    }

    #[test]
    fn what_is_sent_counts_and_what_stays_does_not() {
        let steps = [seen(0, 0, 0), seen(5, 0, 0), seen(4, 0, 0), seen(3, 0, 0), seen(1, 0, 0)];
        assert_eq!(percents(1, &steps), [None, None, Some(25), Some(50), Some(99)]);
        assert_eq!(percents(5, &steps[..2]), [None, None], "nothing is to do");
    }

    #[test]
    fn of_what_others_changed_only_what_this_sync_brings_counts() {
        assert_eq!(percents(0, &[seen(0, 900, 1000), seen(0, 950, 1000), seen(0, 1000, 1000)]), [None, Some(50), Some(99)]);
    }

    #[test]
    fn percents_never_go_back_when_more_turns_out_to_be_left() {
        let steps = [seen(10, 0, 0), seen(5, 0, 0), seen(4, 100, 1095), seen(25, 100, 1095), seen(0, 1095, 1095)];
        let percents: Vec<i32> = percents(0, &steps).into_iter().flatten().collect();
        assert!(percents.is_sorted(), "{percents:?}");
        assert_eq!((percents[0], percents[1], percents.last()), (50, 50, Some(&99)));
    }
}
