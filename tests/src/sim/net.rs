//! Links that are slow, late, cut at a byte, or dead in one direction without a word.

use serde::{Deserialize, Serialize};

/// Bytes that a WebSocket adds to a frame, about.
const FRAME_OVERHEAD: u64 = 6;

/// Names a link.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct LinkId(pub u64);

/// A direction of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Direction {
    /// To the server.
    Up,
    /// To the client.
    Down,
}

/// How the network of a device is now; new links take it.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// One way, in milliseconds.
    pub latency_ms: u64,
    /// Bytes a second.
    pub rate: u64,
    /// No link can be opened.
    pub is_away: bool,
    /// So many attempts are answered by something that is no WebSocket.
    pub portals: u32,
}

impl Default for Weather {
    fn default() -> Self {
        Self { latency_ms: 20, rate: 1_000_000, is_away: false, portals: 0 }
    }
}

/// One direction of a link: bytes in order.
#[derive(Clone, Debug)]
pub struct Pipe {
    /// One way, in milliseconds.
    pub latency_ms: u64,
    /// Bytes a second.
    pub rate: u64,
    free_at: u64,
    /// After so many more bytes the link is cut.
    pub cut_after: Option<u64>,
    /// Everything vanishes.
    pub is_dead: bool,
    /// Bytes given to it.
    pub bytes: u64,
}

/// What becomes of something that is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// It arrives whole.
    Arrives {
        /// When.
        at: u64,
    },
    /// The link breaks in the middle of it.
    Breaks {
        /// When.
        at: u64,
    },
    /// It vanishes.
    Vanishes,
}

impl Pipe {
    /// A pipe in this weather.
    pub fn new(weather: &Weather) -> Self {
        let Weather { latency_ms, rate, .. } = *weather;
        Self { latency_ms, rate: rate.max(1), free_at: 0, cut_after: None, is_dead: false, bytes: 0 }
    }

    /// Sends a frame of this length; a length of zero is the end of the stream.
    pub fn send(&mut self, now: u64, length: usize) -> Sent {
        let bytes = length as u64 + FRAME_OVERHEAD;
        let whole = bytes.min(self.cut_after.unwrap_or(bytes));
        self.bytes += whole;
        self.free_at = self.free_at.max(now) + whole * 1000 / self.rate;
        let at = self.free_at + self.latency_ms;
        if self.is_dead {
            return Sent::Vanishes;
        }
        match &mut self.cut_after {
            Some(left) if *left < bytes => {
                self.is_dead = true;
                Sent::Breaks { at }
            }
            Some(left) => {
                *left -= bytes;
                Sent::Arrives { at }
            }
            None => Sent::Arrives { at },
        }
    }

    /// Nothing that is sent from now on arrives before `at`.
    pub fn hold_until(&mut self, at: u64) {
        self.free_at = self.free_at.max(at.saturating_sub(self.latency_ms));
    }

    /// When everything that was sent has arrived.
    pub fn arrived_at(&self) -> u64 {
        self.free_at + self.latency_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_arrive_in_order_at_the_rate_of_the_link() {
        let mut pipe = Pipe::new(&Weather { latency_ms: 300, rate: 1000, ..Weather::default() });
        assert_eq!(pipe.send(0, 994), Sent::Arrives { at: 1300 });
        assert_eq!(pipe.send(0, 494), Sent::Arrives { at: 1800 });
    }

    #[test]
    fn a_cut_breaks_the_frame_that_holds_its_byte_and_nothing_passes_afterwards() {
        let mut pipe = Pipe::new(&Weather { latency_ms: 0, rate: 1_000_000, ..Weather::default() });
        pipe.cut_after = Some(20);
        assert!(matches!(pipe.send(0, 10), Sent::Arrives { .. }));
        assert!(matches!(pipe.send(0, 10), Sent::Breaks { .. }));
        assert_eq!(pipe.send(0, 0), Sent::Vanishes);
    }
}
