//! Carries the bytes: sockets and timers around [`Rules`].

use super::rules::{Admission, Direction, Rules, Verdict};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

/// What one read takes from a fast link.
const READ_BYTES_MAX: usize = 16 * 1024;
/// On a slow link bytes arrive packet by packet.
const PACKET_BYTES: usize = 1460;
/// How far the reader may be ahead of a slow link: enough to hide the timer's granularity, little enough for the sender
/// to feel the link through its own full buffers.
const AHEAD_MAX: Duration = Duration::from_millis(20);
/// Chunks between reader and writer.
const QUEUE_CHUNKS_MAX: usize = 1024;
/// How long the portal waits for a request and sees to its answer.
const PORTAL_PATIENCE: Duration = Duration::from_secs(10);

/// Longest request that the portal answers.
const PORTAL_REQUEST_BYTES_MAX: usize = 64 * 1024;

const PORTAL_PAGE: &str = "<!doctype html><title>Guest network</title><p>Please accept our terms to go online.</p>\n";

/// What all connections of a proxy share.
pub(super) struct Shared {
    pub(super) rules: watch::Sender<Rules>,
    started: Instant,
}

impl Shared {
    pub(super) fn new(rules: Rules) -> Self {
        Self { rules: watch::Sender::new(rules), started: Instant::now() }
    }

    /// Runs `change` under the lock and wakes everyone who waits for a change.
    pub(super) fn update<T>(&self, change: impl FnOnce(&mut Rules) -> T) -> T {
        let mut answer = None;
        self.rules.send_modify(|rules| answer = Some(change(rules)));
        answer.expect("send_modify always runs its closure")
    }

    /// Waits for a state of the rules; at once if it is there.
    async fn until(&self, met: impl FnMut(&Rules) -> bool) {
        self.rules.subscribe().wait_for(met).await.expect("the sender lives as long as self");
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// A timer costs up to a millisecond even when it is due, so that none is asked if there is nothing to wait for.
    async fn until_time(&self, due: Duration) {
        if due > self.now() {
            sleep_until(self.started + due).await;
        }
    }
}

/// One connection. It counts as open for exactly as long as this lives, however its task ends.
struct Connection<'a> {
    shared: &'a Shared,
    number: u64,
    /// Cuts there had been when it came.
    cuts: u64,
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        self.shared.update(|rules| rules.connection_closed(self.number));
    }
}

/// Bytes and when they are due at the other side; no bytes are the sender's end of stream.
type Due = (Duration, Vec<u8>);

/// Serves new connections until the runtime goes.
pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>, receive_buffer_bytes: Option<u32>) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => admit(client, &shared, receive_buffer_bytes),
            // A client that left at once, or no descriptors: both pass.
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

fn admit(client: TcpStream, shared: &Arc<Shared>, receive_buffer_bytes: Option<u32>) {
    let shared = Arc::clone(shared);
    // The connection is counted here and not in its task, so that a cut from now on hits it too.
    let (admission, number, cuts) = shared.update(|rules| {
        let number = if rules.admission == Admission::Forward { rules.connection_opened() } else { 0 };
        (rules.admission, number, rules.counters.cuts)
    });
    match admission {
        Admission::Forward => {
            tokio::spawn(async move {
                let connection = Connection { shared: &shared, number, cuts };
                carry(client, &connection, receive_buffer_bytes).await;
            });
        }
        Admission::Refuse => {
            reset(client);
            shared.update(|rules| rules.counters.refused += 1);
        }
        Admission::Portal => {
            tokio::spawn(async move {
                // A client that went away without its page has nothing to be told.
                let answered = timeout(PORTAL_PATIENCE, answer_as_portal(client)).await;
                shared.update(|rules| rules.counters.portal_answers += u64::from(matches!(answered, Ok(Ok(())))));
            });
        }
    }
}

/// Carries one connection to its end: a clean one if both sides closed, else a reset to both.
async fn carry(mut client: TcpStream, connection: &Connection<'_>, receive_buffer_bytes: Option<u32>) {
    let shared = connection.shared;
    let cut = shared.until(|rules| rules.counters.cuts != connection.cuts);
    tokio::pin!(cut);
    let upstream = shared.rules.borrow().upstream;
    let dialed = tokio::select! {
        dialed = dial(upstream, receive_buffer_bytes) => dialed,
        () = &mut cut => return reset(client),
    };
    let Ok(mut server) = dialed else {
        shared.update(|rules| rules.counters.unreachable += 1);
        return reset(client);
    };
    let clean = tokio::select! {
        ended = both_ways(&mut client, &mut server, connection) => ended.is_ok(),
        () = &mut cut => false,
    };
    if !clean {
        reset(client);
        reset(server);
    }
}

async fn dial(upstream: SocketAddr, receive_buffer_bytes: Option<u32>) -> io::Result<TcpStream> {
    let socket = if upstream.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(bytes) = receive_buffer_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.connect(upstream).await
}

async fn both_ways(client: &mut TcpStream, server: &mut TcpStream, connection: &Connection<'_>) -> io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let (up, up_due) = mpsc::channel(QUEUE_CHUNKS_MAX);
    let (down, down_due) = mpsc::channel(QUEUE_CHUNKS_MAX);
    tokio::try_join!(
        take(connection, Direction::Up, from_client, up),
        hand_on(connection, Direction::Up, up_due, to_server),
        take(connection, Direction::Down, from_server, down),
        hand_on(connection, Direction::Down, down_due, to_client),
    )?;
    Ok(())
}

/// Reads from the sender as fast as the link takes it.
async fn take(
    connection: &Connection<'_>,
    direction: Direction,
    mut from: ReadHalf<'_>,
    queue: mpsc::Sender<Due>,
) -> io::Result<()> {
    let shared = connection.shared;
    let mut buffer = vec![0; READ_BYTES_MAX];
    loop {
        // Not read while stalled: the sender's own buffers fill, as behind a real link that is gone.
        shared.until(|rules| !rules.is_stalled(direction)).await;
        let size = if shared.rules.borrow().shape.is_some() { PACKET_BYTES } else { READ_BYTES_MAX };
        let bytes = from.read(&mut buffer[..size]).await?;
        let now = shared.now();
        let (free_at, due) = shared.update(|rules| rules.sent(connection.number, direction, bytes, now));
        if queue.send((due, buffer[..bytes].to_vec())).await.is_err() || bytes == 0 {
            return Ok(());
        }
        shared.until_time(free_at.saturating_sub(AHEAD_MAX)).await;
    }
}

/// Delivers what is due, as far as the rules allow.
async fn hand_on(
    connection: &Connection<'_>,
    direction: Direction,
    mut queue: mpsc::Receiver<Due>,
    mut to: WriteHalf<'_>,
) -> io::Result<()> {
    let shared = connection.shared;
    while let Some((due, bytes)) = queue.recv().await {
        shared.until_time(due).await;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            shared.until(|rules| !rules.is_stalled(direction)).await;
            match shared.update(|rules| pass(rules, direction, rest, &to)) {
                Ok(passed) => rest = &rest[passed..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => to.writable().await?,
                Err(error) => return Err(error),
            }
        }
        if bytes.is_empty() {
            shared.until(|rules| !rules.is_stalled(direction)).await;
            to.shutdown().await?;
        }
    }
    Ok(())
}

/// Decides about `rest`, acts on it without waiting and counts it, all under the lock of the rules.
/// The answer is how many bytes are settled; an error ends the connection, unless it is `WouldBlock`.
fn pass(rules: &mut Rules, direction: Direction, rest: &[u8], to: &WriteHalf<'_>) -> io::Result<usize> {
    let (settled, last) = match rules.verdict(direction, rest.len()) {
        Verdict::Wait => (0, false),
        Verdict::Deliver(count) => {
            let written = to.try_write(&rest[..count])?;
            (written, rules.delivered(direction, written))
        }
        Verdict::Swallow => (rest.len(), rules.swallowed(rest.len())),
        Verdict::Cut => (0, true),
    };
    if last {
        rules.cut();
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    Ok(settled)
}

/// Reads a request's head and answers with the page, whatever was asked.
async fn answer_as_portal(mut client: TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() > PORTAL_REQUEST_BYTES_MAX || client.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{PORTAL_PAGE}",
        PORTAL_PAGE.len()
    );
    client.write_all(answer.as_bytes()).await?;
    client.shutdown().await
}

/// Closes a socket the hard way, so that a cut looks the same to the other side every time.
fn reset(socket: TcpStream) {
    // Fails only for a socket that is gone already.
    let _ = socket.set_zero_linger();
}
