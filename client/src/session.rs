//! What a session remembers about its link: who has heard what, and when. Pure; the engine moves it.

use std::collections::BTreeSet;
use tombolo_protocol::hash::Told;
use tombolo_protocol::ids::PushNo;
use tombolo_protocol::message::WantedRow;

/// Silence after which a ping is sent.
pub const PING_AFTER_MS: i64 = 25_000;
/// Silence after which the link is taken for dead.
pub const DEAD_AFTER_MS: i64 = 45_000;
/// Clocks that differ by no more than this agree, whatever time zones were mistaken.
const CLOCKS_AGREE_MS: u64 = 24 * 60 * 60 * 1000;

/// A rate is measured over no less than this many bytes.
const RATE_BYTES_MIN: u64 = 16 * 1024;

/// Where a session stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Phase {
    /// No link.
    #[default]
    Down,
    /// A new device id was asked for; Hello follows in the next session.
    AskingDevice,
    /// Hello is out.
    Greeting,
    /// Welcome came.
    Live,
}

/// What happens to the link next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hangup {
    /// Close, and connect again at once.
    Reconnect,
    /// Close, and connect again after this many milliseconds.
    ReconnectAfter(u32),
    /// Close, and stay away until a person does something.
    Stay,
}

/// A session's memory.
#[derive(Default)]
pub(crate) struct Session {
    pub phase: Phase,
    /// The newest push given to the link in this session.
    pub sent: PushNo,
    /// Rows asked for in this session.
    pub wanted: BTreeSet<WantedRow>,
    /// Whether the answer to `WantCaughtUp` is awaited.
    pub asked_caught_up: bool,
    /// The server closed over what was sent: it takes it for a breach of the protocol, or met a defect of its own over it.
    pub closed_over_push: bool,
    /// How far the server's clock was ahead of the device's at Welcome.
    clock_lead_ms: Option<i64>,
    last_heard_ms: i64,
    nonce: u32,
    /// The ping that has no pong yet, with the newest push that was sent before it.
    ping: Option<(u32, PushNo)>,
    /// The newest push that was surely read by the server: a pong came to a ping sent behind it.
    pub read_by_server: PushNo,
    /// Everything that the server had came once.
    pub caught_up: bool,
    /// What the server said last, and does not say again.
    pub told: Told,
    pub rate: RateMeter,
}

/// Measures the rate of the link: the bytes of deltas that follow another one, and the time that each took to follow.
#[derive(Default)]
pub(crate) struct RateMeter {
    bytes: u64,
    took_ms: i64,
    last_ms: Option<i64>,
}

impl RateMeter {
    /// A delta of so many bytes on the wire came.
    pub fn delta(&mut self, bytes: usize, now_ms: i64) {
        if let Some(last_ms) = self.last_ms.replace(now_ms) {
            self.bytes += bytes as u64;
            self.took_ms += (now_ms - last_ms).max(0);
        }
    }

    /// Nothing more is coming by itself: the next delta follows none.
    pub fn pause(&mut self) {
        self.last_ms = None;
    }

    /// Bytes a second, if enough came to tell.
    pub fn rate(&self) -> Option<u32> {
        let rate = self.bytes.saturating_mul(1000) / u64::try_from(self.took_ms.max(1)).unwrap_or(1);
        (self.bytes >= RATE_BYTES_MIN).then_some(u32::try_from(rate.max(1)).unwrap_or(u32::MAX))
    }
}

impl Session {
    pub fn begin(&mut self, phase: Phase, now_ms: i64) {
        *self = Self { phase, last_heard_ms: now_ms, nonce: self.nonce, ..Self::default() };
    }

    /// Welcome named the server's time.
    pub fn welcomed(&mut self, server_ms: i64, now_ms: i64) {
        self.clock_lead_ms = Some(server_ms.saturating_sub(now_ms));
    }

    /// Now by the server's clock, if it is known and the device's clock agrees with it.
    pub fn agreed_ms(&self, now_ms: i64) -> Option<i64> {
        let lead_ms = self.clock_lead_ms.filter(|lead_ms| lead_ms.unsigned_abs() <= CLOCKS_AGREE_MS)?;
        Some(now_ms.saturating_add(lead_ms))
    }

    pub fn heard(&mut self, now_ms: i64) {
        self.last_heard_ms = now_ms;
    }

    pub fn pong(&mut self, nonce: u32) {
        if let Some((_, push)) = self.ping.take_if(|(sent, _)| *sent == nonce) {
            self.read_by_server = self.read_by_server.max(push);
        }
    }

    /// When the session wants to be looked at next.
    pub fn deadline_ms(&self) -> Option<i64> {
        let silence = if self.ping.is_some() { DEAD_AFTER_MS } else { PING_AFTER_MS };
        (self.phase != Phase::Down).then_some(self.last_heard_ms + silence)
    }

    /// Whether nothing came for so long that the link is dead.
    pub fn is_dead(&self, now_ms: i64) -> bool {
        self.phase != Phase::Down && now_ms - self.last_heard_ms >= DEAD_AFTER_MS
    }

    /// A ping to send now, if it is time for one.
    pub fn ping_due(&mut self, now_ms: i64) -> Option<u32> {
        let due = self.phase != Phase::Down && self.ping.is_none() && now_ms - self.last_heard_ms >= PING_AFTER_MS;
        due.then(|| {
            self.nonce = self.nonce.wrapping_add(1);
            self.ping = Some((self.nonce, self.sent));
            self.nonce
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_agree_within_a_day_and_only_since_welcome() {
        let mut session = Session::default();
        assert_eq!(session.agreed_ms(5), None);
        session.welcomed(1_000_000, 400_000);
        assert_eq!(session.agreed_ms(500_000), Some(1_100_000));
        session.welcomed(1_000_000, 1_000_000 + CLOCKS_AGREE_MS as i64 + 1);
        assert_eq!(session.agreed_ms(5), None);
        session.welcomed(1, 1);
        session.begin(Phase::Greeting, 2);
        assert_eq!(session.agreed_ms(3), None);
    }
}
