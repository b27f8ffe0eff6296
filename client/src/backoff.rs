//! When to try again (section 8): 0.5 s doubling to 60 s, full jitter, forgotten after 30 s of health. Pure: time and
//! randomness are arguments.
//!
//! The rule asks for full jitter after the cap: there every wait is drawn from the whole range. The waits before it are drawn in
//! the same way, below the ceiling that doubles: the clients of a server that went down come back spread out from the first
//! attempt on, and wait half as long on average. No wait is longer than the rule's.

/// Longest wait before the second attempt.
pub const DELAY_FIRST_MS: u64 = 500;
/// Longest wait at all.
pub const DELAY_MAX_MS: u64 = 60_000;
/// A link that lived this long was a good one: the next failure is the first again.
pub const HEALTHY_AFTER_MS: u64 = 30_000;

/// How often it failed since it was last healthy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// An attempt failed, or a link ended that had lived for `lived_ms`. Returns how long to wait, in milliseconds: anything
    /// up to the ceiling, which doubles. `random` is any random number; the whole range is used, so that the clients of a
    /// server that went down do not come back together.
    pub fn failed(&mut self, lived_ms: u64, random: u64) -> u64 {
        if lived_ms >= HEALTHY_AFTER_MS {
            self.failures = 0;
        }
        let ceiling = self.ceiling_ms();
        self.failures = self.failures.saturating_add(1);
        random % (ceiling + 1)
    }

    /// Attempts that failed in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// A person asks, or the network is new: what failed before counts no more.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    fn ceiling_ms(&self) -> u64 {
        DELAY_FIRST_MS.saturating_mul(1 << self.failures.min(16)).min(DELAY_MAX_MS)
    }
}

/// When to come back to a server that restarts: after what it said, spread over its window.
pub fn return_after_ms(after_ms: u32, window_ms: u32, random: u64) -> u64 {
    u64::from(after_ms) + random % (u64::from(window_ms) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn longest(backoff: &mut Backoff) -> u64 {
        let copy = *backoff;
        let ceiling = copy.ceiling_ms();
        assert_eq!(backoff.failed(0, ceiling), ceiling, "the ceiling itself can be drawn");
        ceiling
    }

    #[test]
    fn the_ceiling_doubles_from_half_a_second_to_a_minute() {
        let mut backoff = Backoff::default();
        let ceilings: Vec<u64> = (0..9).map(|_| longest(&mut backoff)).collect();
        assert_eq!(ceilings, [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
    }

    #[test]
    fn a_link_that_was_healthy_makes_the_next_failure_the_first() {
        let mut backoff = Backoff::default();
        for _ in 0..5 {
            backoff.failed(HEALTHY_AFTER_MS - 1, 0);
        }
        assert_eq!(backoff.failures(), 5);
        backoff.failed(HEALTHY_AFTER_MS, 0);
        assert_eq!(backoff.failures(), 1);
    }

    proptest! {
        #[test]
        fn a_wait_is_never_longer_than_its_ceiling(randoms in proptest::collection::vec(any::<u64>(), 1..60)) {
            let mut backoff = Backoff::default();
            for random in randoms {
                let ceiling = backoff.ceiling_ms();
                prop_assert!(ceiling <= DELAY_MAX_MS);
                prop_assert!(backoff.failed(0, random) <= ceiling);
            }
        }

        #[test]
        fn clients_return_to_a_restarting_server_inside_its_window(after: u32, window: u32, random: u64) {
            let delay = return_after_ms(after, window, random);
            prop_assert!(delay >= u64::from(after));
            prop_assert!(delay <= u64::from(after) + u64::from(window));
        }
    }
}
