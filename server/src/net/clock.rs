//! The clock and the random source of the drivers: pure modules get both as arguments.

use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Server time in milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "the driver is where the clock is read")]
    let now = SystemTime::now();
    millis(now.duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// Random bytes of the operating system.
///
/// # Panics
/// Where the operating system has none: no id and no token can be made then.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system has random bytes");
    bytes
}

/// A random id (UUIDv4).
pub(crate) fn random_id() -> uuid::Uuid {
    uuid::Builder::from_random_bytes(random()).into_uuid()
}

/// Milliseconds since 1970 that go on evenly: deadlines must not jump when somebody sets the clock.
#[derive(Clone, Copy)]
pub(crate) struct SteadyClock {
    start_ms: i64,
    start: Instant,
}

impl SteadyClock {
    pub(crate) fn start() -> Self {
        Self { start_ms: now_ms(), start: Instant::now() }
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.ms_of(Instant::now())
    }

    pub(crate) fn ms_of(&self, instant: Instant) -> i64 {
        self.start_ms.saturating_add(millis(instant.saturating_duration_since(self.start)))
    }

    /// The instant at which this clock shows `ms`; now where that is past.
    pub(crate) fn instant_of(&self, ms: i64) -> Instant {
        let ahead = u64::try_from(ms.saturating_sub(self.start_ms)).unwrap_or(0);
        // Deadlines are minutes away; the cap only keeps the sum in range.
        self.start + Duration::from_millis(ahead.min(FAR_MS))
    }
}

const FAR_MS: u64 = 365 * 24 * 3600 * 1000;

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
