//! What the proxy has seen and what it must do, without sockets and without a clock.
//!
//! Times are durations since the proxy's start. Invariant: every decision about a byte is made here, under one lock, so
//! that a command is in force for every byte that has not been handed on when the command returns.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// Which way a byte goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// Bytes of TCP payload in one direction, over all connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Taken from the side that sent them.
    pub sent: u64,
    /// Handed to the other side's socket.
    pub delivered: u64,
}

/// What has happened since the proxy was started. All numbers but `open` only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections that were forwarded, or would have been had the server answered.
    pub connections: u64,
    /// Of these, how many are being carried now.
    pub open: u64,
    /// Of these, how many found no server.
    pub unreachable: u64,
    /// Connections reset because new ones are refused.
    pub refused: u64,
    /// Connections answered by the login page of a captive portal.
    pub portal_answers: u64,
    /// Times that the link was cut, by command or by a rule that fired.
    pub cuts: u64,
    /// Times that the traffic of a connection changed its direction; its first byte does not count.
    pub turns: u64,
    /// Client to server.
    pub up: Flow,
    /// Server to client.
    pub down: Flow,
    /// Bytes of the server that were thrown away.
    pub swallowed: u64,
}

impl Counters {
    /// The flow of one direction.
    pub fn flow(&self, direction: Direction) -> Flow {
        match direction {
            Direction::Up => self.up,
            Direction::Down => self.down,
        }
    }

    fn flow_mut(&mut self, direction: Direction) -> &mut Flow {
        match direction {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        }
    }
}

/// A slow link. Only TCP payload is counted, not the headers below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Added to each byte, each way: half a round trip.
    pub one_way_latency_ms: u64,
    /// Rate of all connections together, client to server; `None` is unlimited.
    pub up_bits_per_s: Option<u32>,
    /// Rate of all connections together, server to client; `None` is unlimited.
    pub down_bits_per_s: Option<u32>,
}

impl Shape {
    /// A link with the same rate both ways.
    pub fn symmetric(round_trip_ms: u64, bits_per_s: u32) -> Self {
        let rate = Some(bits_per_s);
        Self { one_way_latency_ms: round_trip_ms / 2, up_bits_per_s: rate, down_bits_per_s: rate }
    }

    fn bits_per_s(&self, direction: Direction) -> Option<u32> {
        match direction {
            Direction::Up => self.up_bits_per_s,
            Direction::Down => self.down_bits_per_s,
        }
    }
}

/// What becomes of a new connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Admission {
    /// It is carried to the server.
    #[default]
    Forward,
    /// It is reset at once: the client sees that while it connects, or when it first reads.
    Refuse,
    /// It gets the login page of a captive portal, as in a hotel: HTTP 200 with a page of HTML, whatever was asked.
    Portal,
}

/// What to do with bytes that are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Keep them until the direction moves again.
    Wait,
    /// Hand on this many, never none, and report how many the socket took.
    Deliver(usize),
    /// Throw all of them away, and report it.
    Swallow,
    /// Cut the link instead.
    Cut,
}

/// Everything the proxy knows.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) upstream: SocketAddr,
    pub(super) admission: Admission,
    pub(super) counters: Counters,
    pub(super) shape: Option<Shape>,
    /// While set, the bytes left until the cut.
    cut_after: BTreeMap<Direction, u64>,
    stalled: BTreeMap<Direction, bool>,
    /// While set, what the server must still send before the cut.
    swallow_until: Option<u64>,
    /// When the slow link has passed on what it was given.
    link_free_at: BTreeMap<Direction, Duration>,
    last_direction: BTreeMap<u64, Direction>,
}

impl Rules {
    pub(super) fn new(upstream: SocketAddr) -> Self {
        Self {
            upstream,
            admission: Admission::Forward,
            counters: Counters::default(),
            shape: None,
            cut_after: BTreeMap::new(),
            stalled: BTreeMap::new(),
            swallow_until: None,
            link_free_at: BTreeMap::new(),
            last_direction: BTreeMap::new(),
        }
    }

    pub(super) fn is_stalled(&self, direction: Direction) -> bool {
        self.stalled.get(&direction).copied().unwrap_or(false)
    }

    pub(super) fn set_stalled(&mut self, direction: Direction, stalled: bool) {
        self.stalled.insert(direction, stalled);
    }

    pub(super) fn set_cut_after(&mut self, direction: Direction, bytes: u64) {
        self.cut_after.insert(direction, bytes);
    }

    pub(super) fn set_swallow(&mut self, bytes_min: u64) {
        self.swallow_until = Some(bytes_min.max(1));
    }

    /// A shape that begins or ends leaves no debt of the one before.
    pub(super) fn set_shape(&mut self, shape: Option<Shape>) {
        self.shape = shape;
        self.link_free_at.clear();
    }

    /// Starts to carry a connection; the number names it in the other calls.
    pub(super) fn connection_opened(&mut self) -> u64 {
        self.counters.connections += 1;
        self.counters.open += 1;
        self.counters.connections
    }

    pub(super) fn connection_closed(&mut self, connection: u64) {
        self.counters.open -= 1;
        self.last_direction.remove(&connection);
    }

    /// Every rule that waits for a cut has had it.
    pub(super) fn cut(&mut self) {
        self.counters.cuts += 1;
        self.cut_after.clear();
        self.swallow_until = None;
    }

    /// Counts bytes from a sender. The answer is when the link is free again, and when they are due at the other side.
    pub(super) fn sent(&mut self, connection: u64, direction: Direction, bytes: usize, now: Duration) -> (Duration, Duration) {
        if bytes > 0 {
            self.counters.flow_mut(direction).sent += bytes as u64;
            let last = self.last_direction.insert(connection, direction);
            self.counters.turns += u64::from(last.is_some_and(|last| last != direction));
        }
        let Some(shape) = self.shape else { return (now, now) };
        let free_at = self.link_free_at.entry(direction).or_default();
        *free_at = now.max(*free_at);
        if let Some(bits_per_s) = shape.bits_per_s(direction) {
            *free_at += Duration::from_secs_f64(bytes as f64 * 8.0 / f64::from(bits_per_s));
        }
        (*free_at, *free_at + Duration::from_millis(shape.one_way_latency_ms))
    }

    /// What to do with `bytes` (at least one) that are due.
    pub(super) fn verdict(&self, direction: Direction, bytes: usize) -> Verdict {
        if self.is_stalled(direction) {
            return Verdict::Wait;
        }
        if direction == Direction::Down && self.swallow_until.is_some() {
            return Verdict::Swallow;
        }
        match self.cut_after.get(&direction) {
            None => Verdict::Deliver(bytes),
            Some(0) => Verdict::Cut,
            Some(&left) => Verdict::Deliver(usize::try_from(left).map_or(bytes, |left| left.min(bytes))),
        }
    }

    /// Counts what was handed on. True if this was the last byte before a cut.
    pub(super) fn delivered(&mut self, direction: Direction, bytes: usize) -> bool {
        self.counters.flow_mut(direction).delivered += bytes as u64;
        let Some(left) = self.cut_after.get_mut(&direction) else { return false };
        *left -= bytes as u64;
        *left == 0
    }

    /// Counts what was thrown away. True if the server has now sent enough for the cut.
    pub(super) fn swallowed(&mut self, bytes: usize) -> bool {
        self.counters.swallowed += bytes as u64;
        let Some(left) = self.swallow_until.as_mut() else { return false };
        *left = left.saturating_sub(bytes as u64);
        *left == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules::new(SocketAddr::from(([127, 0, 0, 1], 1)))
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_slow_link_serialises_bytes_and_then_delays_them() {
        let mut rules = rules();
        rules.set_shape(Some(Shape::symmetric(600, 9_600)));
        assert_eq!(rules.sent(1, Direction::Up, 1_200, ms(0)), (ms(1_000), ms(1_300)));
        assert_eq!(rules.sent(1, Direction::Up, 600, ms(100)), (ms(1_500), ms(1_800)), "queued behind the first");
    }

    #[test]
    fn connections_share_one_link_but_the_directions_do_not() {
        let mut rules = rules();
        rules.set_shape(Some(Shape::symmetric(0, 8_000)));
        assert_eq!(rules.sent(1, Direction::Up, 1_000, ms(0)).0, ms(1_000));
        assert_eq!(rules.sent(2, Direction::Up, 1_000, ms(0)).0, ms(2_000));
        assert_eq!(rules.sent(1, Direction::Down, 1_000, ms(0)).0, ms(1_000));
    }

    #[test]
    fn an_idle_link_saves_up_nothing() {
        let mut rules = rules();
        rules.set_shape(Some(Shape::symmetric(0, 8_000)));
        rules.sent(1, Direction::Up, 1_000, ms(0));
        assert_eq!(rules.sent(1, Direction::Up, 1_000, ms(60_000)).0, ms(61_000));
    }

    #[test]
    fn a_turn_is_a_change_of_direction_within_one_connection() {
        let mut rules = rules();
        for (connection, direction) in [(1, Direction::Up), (1, Direction::Up), (2, Direction::Down), (1, Direction::Down)] {
            rules.sent(connection, direction, 1, ms(0));
        }
        assert_eq!(rules.counters.turns, 1);
    }

    #[test]
    fn a_cut_falls_exactly_behind_the_last_byte_allowed() {
        let mut rules = rules();
        rules.set_cut_after(Direction::Up, 10);
        assert_eq!(rules.verdict(Direction::Down, 50), Verdict::Deliver(50), "the other way is free");
        assert_eq!(rules.verdict(Direction::Up, 4), Verdict::Deliver(4));
        assert!(!rules.delivered(Direction::Up, 4));
        assert_eq!(rules.verdict(Direction::Up, 50), Verdict::Deliver(6));
        assert!(rules.delivered(Direction::Up, 6));
    }

    #[test]
    fn a_cut_after_nothing_lets_no_byte_through() {
        let mut rules = rules();
        rules.set_cut_after(Direction::Up, 0);
        assert_eq!(rules.verdict(Direction::Up, 1), Verdict::Cut);
    }

    #[test]
    fn swallowing_ends_when_the_server_has_sent_enough() {
        let mut rules = rules();
        rules.set_swallow(10);
        assert_eq!(rules.verdict(Direction::Up, 5), Verdict::Deliver(5));
        assert_eq!(rules.verdict(Direction::Down, 9), Verdict::Swallow);
        assert!(!rules.swallowed(9));
        assert!(rules.swallowed(9));
    }

    #[test]
    fn a_cut_ends_the_rules_that_waited_for_one() {
        let mut rules = rules();
        rules.set_swallow(10);
        rules.set_cut_after(Direction::Down, 3);
        rules.cut();
        assert_eq!(rules.verdict(Direction::Down, 50), Verdict::Deliver(50));
    }
}
