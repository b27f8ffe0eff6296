//! The time that the engine sees: it goes on evenly while the machine runs, and shows the wall clock after a sleep.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A difference between the clocks that is no drift: the machine slept, or somebody set the wall clock.
const JUMP_MS: i64 = 5_000;

/// Milliseconds since 1970 for the engine. Timers stop while a machine sleeps, and deadlines must not follow a wall clock that
/// is set back: so the steady clock counts, and is put right where the wall clock shows something else.
pub(crate) struct Clock {
    start: Instant,
    comparison: Comparison,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the driver is where clocks are read")]
    pub(crate) fn start() -> Self {
        Self { start: Instant::now(), comparison: Comparison { offset_ms: wall_ms() } }
    }

    /// As after a sleep of the machine.
    #[cfg(test)]
    pub(crate) fn sleep(&mut self, ms: i64) {
        self.comparison.offset_ms -= ms;
    }

    /// Now, and whether the clocks have parted since the last look.
    pub(crate) fn look(&mut self) -> Look {
        let steady_ms = i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.comparison.look(steady_ms, wall_ms())
    }
}

/// What a look at both clocks showed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Look {
    pub now_ms: i64,
    pub jumped: bool,
}

struct Comparison {
    /// What has to be added to the steady clock.
    offset_ms: i64,
}

impl Comparison {
    fn look(&mut self, steady_ms: i64, wall_ms: i64) -> Look {
        let jumped = (wall_ms - (steady_ms + self.offset_ms)).abs() > JUMP_MS;
        if jumped {
            self.offset_ms = wall_ms - steady_ms;
        }
        Look { now_ms: steady_ms + self.offset_ms, jumped }
    }
}

/// The wall clock, in milliseconds since 1970.
pub(crate) fn wall_ms() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "the driver is where clocks are read")]
    let now = SystemTime::now();
    i64::try_from(now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(i64::MAX)
}

/// A random number of the operating system.
///
/// # Panics
/// Where the operating system has none.
pub(crate) fn random() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("the operating system has random bytes");
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_slept_is_noticed_once() {
        let mut clocks = Comparison { offset_ms: 1_000_000 };
        assert_eq!(clocks.look(100, 1_000_150), Look { now_ms: 1_000_100, jumped: false });
        assert_eq!(clocks.look(200, 1_600_200), Look { now_ms: 1_600_200, jumped: true });
        assert_eq!(clocks.look(300, 1_600_300), Look { now_ms: 1_600_300, jumped: false });
    }

    #[test]
    fn a_clock_that_is_set_back_is_followed_and_noticed() {
        let mut clocks = Comparison { offset_ms: 1_000_000 };
        assert_eq!(clocks.look(100, 400_000), Look { now_ms: 400_000, jumped: true });
        assert_eq!(clocks.look(200, 400_100), Look { now_ms: 400_100, jumped: false });
    }
}
