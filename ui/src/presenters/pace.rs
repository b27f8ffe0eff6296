//! How quick the connection is, and so how long a push will take.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Round trips of a sync over an open connection: what goes up and its answer, and what others wrote with its receipt. Pushes do
/// not wait for each other, so that more of them take no more trips.
const TRIPS_OF_SYNC: u64 = 2;
/// Round trips of connecting: to be let in, to agree on a secret, to be welcome.
const TRIPS_TO_CONNECT_SECURELY: u64 = 3;
/// The same where nothing is secret, as on one's own network.
const TRIPS_TO_CONNECT: u64 = 2;
/// A sync of less says nothing about bytes.
const TELLING_BYTES: u64 = 2000;
/// Round trips that differ by more than this factor are those of two networks.
const OTHER_NETWORK: u64 = 3;
/// Round trips of less are alike, however they differ.
const NEAR_MS: u64 = 50;
/// No push takes less, whatever was measured.
const LEAST_MS: u64 = 100;

/// What connecting and syncing showed so far. Kept, so that something is known before the first sync of a day.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Pace {
    /// Bytes a second; zero where no sync has shown it.
    pub rate: u64,
    /// Milliseconds that the last connecting took; zero where there was none.
    pub connect_ms: u64,
    /// Milliseconds of one round trip, as connecting showed it.
    pub trip_ms: u64,
}

impl Pace {
    /// The server was reached, and this is how long it took. Where that says that it is another network, nothing is known of how
    /// quickly bytes go there.
    pub fn connected(&mut self, took: Duration, securely: bool) {
        let before = (self.connect_ms > 0).then_some(self.trip_ms.max(NEAR_MS));
        self.connect_ms = ms(took).max(1);
        self.trip_ms = self.connect_ms / if securely { TRIPS_TO_CONNECT_SECURELY } else { TRIPS_TO_CONNECT };
        let now = self.trip_ms.max(NEAR_MS);
        if before.is_some_and(|before| before.max(now) > OTHER_NETWORK * before.min(now)) {
            self.rate = 0;
        }
    }

    /// A sync that moved so many bytes, over a connection that was open before or not, has come to its end.
    pub fn synced(&mut self, bytes: u64, took_ms: u64, was_open: bool) {
        if bytes <= TELLING_BYTES {
            return;
        }
        // What the trips took moved nothing. Where that seems to be nearly all, one of them was slower before: a part is left.
        let moving_ms = took_ms.saturating_sub(self.trips_ms(was_open)).max(took_ms / 4);
        if let Some(rate) = (bytes * 1000).checked_div(moving_ms) {
            self.rate = rate;
        }
    }

    /// Milliseconds that it will take to push so many bytes; `None` where the trips or the bytes were never measured. `brought` is
    /// what the connection brought down last, in bytes a second, or zero: it counts where no sync has shown more.
    pub fn foretold_ms(&self, bytes: u64, brought: u32, is_open: bool) -> Option<u64> {
        let rate = if self.rate > 0 { self.rate } else { u64::from(brought) };
        let moving_ms = (bytes * 1000).checked_div(rate).filter(|_| self.connect_ms > 0)?;
        Some((self.trips_ms(is_open) + moving_ms).max(LEAST_MS))
    }

    fn trips_ms(&self, is_open: bool) -> u64 {
        TRIPS_OF_SYNC * self.trip_ms + if is_open { 0 } else { self.connect_ms }
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(connect_ms: u64) -> Pace {
        let mut pace = Pace::default();
        pace.connected(Duration::from_millis(connect_ms), true);
        pace
    }

    #[test]
    fn nothing_is_foretold_before_both_trips_and_bytes_were_measured() {
        assert_eq!(Pace::default().foretold_ms(500, 0, true), None);
        assert_eq!(Pace::default().foretold_ms(500, 4000, true), None, "nobody knows the trips");
        assert_eq!(measured(900).foretold_ms(500, 0, true), None, "nobody knows how quickly bytes go");
        assert!(measured(900).foretold_ms(500, 4000, true).is_some());
    }

    #[test]
    fn round_trips_count_beside_bytes_and_connecting_where_it_is_still_to_be_done() {
        let mut pace = measured(1800);
        pace.rate = 1000;
        assert_eq!(pace.trip_ms, 600);
        assert_eq!(pace.foretold_ms(5000, 0, true), Some(5000 + 1200));
        assert_eq!(pace.foretold_ms(5000, 0, false), Some(5000 + 1200 + 1800));
        assert_eq!(pace.foretold_ms(1, 0, true), Some(1201), "little takes its trips all the same");
        pace.connected(Duration::from_millis(800), false);
        assert_eq!(pace.foretold_ms(5000, 0, true), Some(5000 + 800));
        pace.connected(Duration::ZERO, false);
        assert_eq!(pace.foretold_ms(1, 1000, true), Some(LEAST_MS), "a server beside it is not reached in no time");
    }

    #[test]
    fn what_bytes_took_on_one_network_says_nothing_of_another() {
        let rate_behind = |connects: &[u64]| {
            let mut pace = Pace { rate: 1000, ..Pace::default() };
            connects.iter().for_each(|ms| pace.connected(Duration::from_millis(*ms), true));
            pace.rate
        };
        assert_eq!(rate_behind(&[1800]), 1000, "what was kept from another day is all that is known");
        assert_eq!(rate_behind(&[1800, 4500]), 1000, "a slow moment is no other network");
        assert_eq!(rate_behind(&[1800, 60]), 0);
        assert_eq!(rate_behind(&[60, 1800]), 0);
        assert_eq!(rate_behind(&[3, 120]), 1000, "both are near");
    }

    #[test]
    fn a_sync_shows_the_rate_of_what_moved_and_not_its_trips() {
        let mut pace = measured(1800);
        pace.synced(10_000, 1200 + 5000, true);
        assert_eq!(pace.rate, 2000);
        pace.synced(10_000, 1200 + 1800 + 10_000, false);
        assert_eq!(pace.rate, 1000);
        pace.synced(400, 1, true);
        assert_eq!(pace.rate, 1000, "little says nothing");
        // Quicker than its trips: they were slower when they were measured.
        pace.synced(10_000, 1000, true);
        assert_eq!(pace.rate, 40_000);
        assert_eq!(pace.foretold_ms(0, 9, true), Some(1200), "and what a sync reached counts");
    }
}
