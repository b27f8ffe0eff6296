//! How often a name may be tried: failed logins are counted, in bounded memory.

use std::collections::BTreeMap;

/// Failures that a name may have at once.
const FAILURES_MAX: u32 = 10;
/// One of them is forgiven after this.
const FORGIVEN_AFTER_MS: i64 = 5_000;
/// Names that are remembered; those that failed longest ago are forgotten first.
const NAMES_MAX: usize = 4096;

/// Failed logins by name. Pure: the time is an argument.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    /// By hash, so that a long name takes no more memory than a short one: when the last failure will be forgiven.
    clear_at_ms: BTreeMap<[u8; 16], i64>,
}

impl Attempts {
    /// Whether another attempt is taken for a name. One that is under way is none that failed: it is asked again when its turn
    /// has come, so that those that waited meanwhile are no way around this.
    ///
    /// # Errors
    /// The milliseconds after which the next attempt is taken.
    pub(crate) fn admit(&self, name: &str, now_ms: i64) -> Result<(), i64> {
        let debt = self.clear_at_ms.get(&key(name)).copied().unwrap_or(now_ms) - now_ms;
        let most = FORGIVEN_AFTER_MS * i64::from(FAILURES_MAX - 1);
        if debt > most { Err(debt - most) } else { Ok(()) }
    }

    /// The password was wrong.
    pub(crate) fn failed(&mut self, name: &str, now_ms: i64) {
        let key = key(name);
        if self.clear_at_ms.len() >= NAMES_MAX && !self.clear_at_ms.contains_key(&key) {
            self.make_room(now_ms);
        }
        let clear_at = self.clear_at_ms.entry(key).or_insert(now_ms);
        *clear_at = now_ms.max(*clear_at) + FORGIVEN_AFTER_MS;
    }

    fn make_room(&mut self, now_ms: i64) {
        self.clear_at_ms.retain(|_, clear_at| *clear_at > now_ms);
        while self.clear_at_ms.len() >= NAMES_MAX {
            let Some(key) = self.clear_at_ms.iter().min_by_key(|(_, clear_at)| **clear_at).map(|(key, _)| *key) else { return };
            self.clear_at_ms.remove(&key);
        }
    }
}

fn key(name: &str) -> [u8; 16] {
    tombolo_protocol::hash::short(name.as_bytes()).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_fails_too_often_waits_and_others_do_not() {
        let mut attempts = Attempts::default();
        for _ in 0..FAILURES_MAX {
            assert_eq!(attempts.admit("anna", 1000), Ok(()));
            attempts.failed("anna", 1000);
        }
        assert_eq!(attempts.admit("anna", 1000), Err(FORGIVEN_AFTER_MS));
        assert_eq!(attempts.admit("ben", 1000), Ok(()));
        assert_eq!(attempts.admit("anna", 1000 + FORGIVEN_AFTER_MS), Ok(()));
        attempts.failed("anna", 1000 + FORGIVEN_AFTER_MS);
        assert_eq!(attempts.admit("anna", 1000 + FORGIVEN_AFTER_MS), Err(FORGIVEN_AFTER_MS));
    }

    #[test]
    fn many_names_take_no_more_than_the_memory_they_may() {
        let mut attempts = Attempts::default();
        for number in 0..NAMES_MAX as i64 + 100 {
            attempts.failed(&number.to_string(), number);
        }
        assert_eq!(attempts.clear_at_ms.len(), NAMES_MAX);
        // The latest are still known.
        assert!(attempts.clear_at_ms.contains_key(&key(&(NAMES_MAX + 99).to_string())));
    }
}
