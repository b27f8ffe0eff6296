//! Which session a device has: one at a time, the newer wins (P4).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tombolo_protocol::ids::DeviceId;

/// Names a session within the server.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SessionId(pub u64);

/// The live sessions of a workspace's devices. All sessions share it; it is locked for a look at a time only.
#[derive(Debug, Default)]
pub struct Registry {
    live: Mutex<BTreeMap<DeviceId, Live>>,
}

#[derive(Clone, Copy, Debug)]
struct Live {
    session: SessionId,
    process: u64,
    connection: u32,
}

/// What becomes of a session that enters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// It is the only one.
    Alone,
    /// It takes over from this one, which is to be told.
    Replaces(SessionId),
    /// The same process has a newer connection: this one is refused.
    Late,
}

impl Registry {
    /// A session's checks have passed.
    pub fn enter(&self, device: DeviceId, session: SessionId, process: u64, connection: u32) -> Entry {
        let mut sessions = self.live();
        let entry = match sessions.get(&device) {
            Some(live) if live.session == session => Entry::Alone,
            Some(live) if live.process == process && connection < live.connection => return Entry::Late,
            Some(live) => Entry::Replaces(live.session),
            None => Entry::Alone,
        };
        sessions.insert(device, Live { session, process, connection });
        entry
    }

    /// A session has ended.
    pub fn leave(&self, device: DeviceId, session: SessionId) {
        let mut sessions = self.live();
        if sessions.get(&device).is_some_and(|live| live.session == session) {
            sessions.remove(&device);
        }
    }

    /// The live sessions by device.
    pub fn sessions(&self) -> Vec<(DeviceId, SessionId)> {
        self.live().iter().map(|(device, live)| (*device, live.session)).collect()
    }

    fn live(&self) -> MutexGuard<'_, BTreeMap<DeviceId, Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: DeviceId = DeviceId(uuid::Uuid::from_u128(1));

    #[test]
    fn the_newer_session_of_a_device_takes_over() {
        let registry = Registry::default();
        assert_eq!(registry.enter(DEVICE, SessionId(1), 10, 1), Entry::Alone);
        assert_eq!(registry.enter(DEVICE, SessionId(2), 10, 2), Entry::Replaces(SessionId(1)));
        assert_eq!(registry.enter(DEVICE, SessionId(3), 99, 1), Entry::Replaces(SessionId(2)));
    }

    #[test]
    fn a_late_connection_of_the_same_process_is_refused() {
        let registry = Registry::default();
        registry.enter(DEVICE, SessionId(1), 10, 5);
        assert_eq!(registry.enter(DEVICE, SessionId(2), 10, 4), Entry::Late);
        assert_eq!(registry.sessions(), [(DEVICE, SessionId(1))]);
    }

    #[test]
    fn a_session_that_was_replaced_does_not_take_the_newer_one_with_it() {
        let registry = Registry::default();
        registry.enter(DEVICE, SessionId(1), 10, 1);
        registry.enter(DEVICE, SessionId(2), 10, 2);
        registry.leave(DEVICE, SessionId(1));
        assert_eq!(registry.sessions().len(), 1);
        registry.leave(DEVICE, SessionId(2));
        assert_eq!(registry.sessions().len(), 0);
    }
}
