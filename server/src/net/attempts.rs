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
    /// Takes an attempt for a name. It counts as failed until [`Self::succeeded`].
    ///
    /// # Errors
    /// The milliseconds after which the next attempt is taken.
    pub(crate) fn take(&mut self, name: &str, now_ms: i64) -> Result<(), i64> {
        let key = tombolo_protocol::hash::short(name.as_bytes()).0;
        let clear_at = self.clear_at_ms.get(&key).copied().unwrap_or(now_ms).max(now_ms);
        let debt = clear_at - now_ms;
        let most = FORGIVEN_AFTER_MS * i64::from(FAILURES_MAX - 1);
        if debt > most {
            return Err(debt - most);
        }
        if self.clear_at_ms.len() >= NAMES_MAX && !self.clear_at_ms.contains_key(&key) {
            self.make_room(now_ms);
        }
        self.clear_at_ms.insert(key, clear_at + FORGIVEN_AFTER_MS);
        Ok(())
    }

    /// The attempt was none to count.
    pub(crate) fn succeeded(&mut self, name: &str) {
        let key = tombolo_protocol::hash::short(name.as_bytes()).0;
        if let Some(clear_at) = self.clear_at_ms.get_mut(&key) {
            *clear_at -= FORGIVEN_AFTER_MS;
        }
    }

    fn make_room(&mut self, now_ms: i64) {
        self.clear_at_ms.retain(|_, clear_at| *clear_at > now_ms);
        while self.clear_at_ms.len() >= NAMES_MAX {
            let Some(key) = self.clear_at_ms.iter().min_by_key(|(_, clear_at)| **clear_at).map(|(key, _)| *key) else { return };
            self.clear_at_ms.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_fails_too_often_waits_and_others_do_not() {
        let mut attempts = Attempts::default();
        for _ in 0..FAILURES_MAX {
            assert_eq!(attempts.take("anna", 1000), Ok(()));
        }
        assert_eq!(attempts.take("anna", 1000), Err(FORGIVEN_AFTER_MS));
        assert_eq!(attempts.take("ben", 1000), Ok(()));
        assert_eq!(attempts.take("anna", 1000 + FORGIVEN_AFTER_MS), Ok(()));
        assert_eq!(attempts.take("anna", 1000 + FORGIVEN_AFTER_MS), Err(FORGIVEN_AFTER_MS));
    }

    #[test]
    fn a_name_that_succeeds_may_log_in_as_often_as_it_likes() {
        let mut attempts = Attempts::default();
        for _ in 0..1000 {
            assert_eq!(attempts.take("anna", 1000), Ok(()));
            attempts.succeeded("anna");
        }
    }

    #[test]
    fn many_names_take_no_more_than_the_memory_they_may() {
        let mut attempts = Attempts::default();
        for number in 0..NAMES_MAX as i64 + 100 {
            assert_eq!(attempts.take(&number.to_string(), number), Ok(()));
        }
        assert_eq!(attempts.clear_at_ms.len(), NAMES_MAX);
        // The latest are still known.
        let last = (NAMES_MAX + 99).to_string();
        assert!(attempts.clear_at_ms.contains_key(&tombolo_protocol::hash::short(last.as_bytes()).0));
    }
}
