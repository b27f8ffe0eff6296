//! What a server is started with.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tombolo_protocol::limits::{
    DEVICE_SESSIONS_MAX, UNAUTHENTICATED_BYTES_MAX, UNAUTHENTICATED_MS_MAX, UNAUTHENTICATED_PEERS_MAX,
};

/// What a server is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data folder; made if it is not there.
    pub data: PathBuf,
    /// The text of the schema file: makes the workspace where there is none, and is proposed to one that has another. Without
    /// it the workspace must be there.
    pub schema: Option<String>,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Limits of connections.
    pub limits: Limits,
}

impl Config {
    /// A server on a free port of this machine.
    pub fn local(data: impl Into<PathBuf>, schema: impl Into<String>) -> Self {
        Self {
            data: data.into(),
            schema: Some(schema.into()),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            limits: Limits::default(),
        }
    }
}

/// Limits of connections. The defaults are those of the design; tests shorten them.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Unauthenticated peers at the same time.
    pub strangers_max: usize,
    /// Bytes that each of them may send.
    pub stranger_bytes_max: usize,
    /// How long each of them may take.
    pub stranger_time: Duration,
    /// Sessions at the same time.
    pub sessions_max: usize,
    /// Of these, sessions of one device.
    pub device_sessions_max: usize,
    /// Store reads of sessions at the same time: they take a core each while they last.
    pub reads_max: usize,
    /// A write fails when nothing was accepted for so long; it restarts with each byte.
    pub write_deadline: Duration,
    /// While a frame is coming in, its peer hears from the server this often: a client gives a link up after 45 s of silence, and
    /// a large push takes longer on a bad one.
    pub alive_every: Duration,
    /// The sessions of a revoked device that take no last word are cut after this; it is to be below 5 s (section 9).
    pub shut_out_after: Duration,
    /// A server that stops tells clients to come back after this.
    pub restart_after_ms: u32,
    /// And to spread over this.
    pub restart_window_ms: u32,
    /// How long a server that stops waits for what was begun.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            strangers_max: UNAUTHENTICATED_PEERS_MAX,
            stranger_bytes_max: UNAUTHENTICATED_BYTES_MAX,
            stranger_time: Duration::from_millis(UNAUTHENTICATED_MS_MAX),
            sessions_max: 10_000,
            device_sessions_max: DEVICE_SESSIONS_MAX,
            reads_max: 2 * std::thread::available_parallelism().map_or(2, usize::from),
            write_deadline: Duration::from_secs(15),
            alive_every: Duration::from_secs(15),
            shut_out_after: Duration::from_secs(4),
            restart_after_ms: 1_000,
            restart_window_ms: 5_000,
            drain: Duration::from_secs(10),
        }
    }
}
