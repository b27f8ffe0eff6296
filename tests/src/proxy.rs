//! A bad network between a client and a server.
//!
//! [`Proxy::start`] listens on a port of its own and carries every connection to the server, while commands make the
//! link worse at run time: cut it now or at any byte, stall one direction without closing anything, refuse new
//! connections, put a captive portal in the way, swallow the server's answer, slow the link down. It counts what passed.
//!
//! It runs on a thread of its own, so that plain tests and benchmarks can use it as well as async ones. A command is in
//! force when its method returns: no byte that was not handed on before passes against it. Nobody needs to sleep:
//! [`Proxy::wait_for`] and [`Proxy::wait_for_blocking`] return when the counters say what the caller waits for.
//!
//! It never looks into the bytes.

mod pump;
mod rules;

pub use rules::{Admission, Counters, Direction, Flow, Shape};

use pump::Shared;
use rules::Rules;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::TcpSocket;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How long a wait may take before it fails, so that a test that cannot succeed ends.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;
/// Receive buffer of the sockets of a proxy that starts slow: with the kernel's usual megabytes, a sender would be
/// rid of all its bytes at once and never feel the link.
const SLOW_RECEIVE_BUFFER_BYTES: u32 = 16 * 1024;

/// A running proxy. Dropped, it closes its port and all its connections.
pub struct Proxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
    runtime: Handle,
    /// Dropping it tells the thread to end.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// A proxy before the server at `upstream`, on a free port of 127.0.0.1. It is as fast as the machine.
    ///
    /// # Errors
    /// When no port or thread is to be had.
    pub fn start(upstream: SocketAddr) -> io::Result<Self> {
        Self::start_with(upstream, None)
    }

    /// A proxy that is a slow link from the first byte on, with small buffers, as a modem has them.
    ///
    /// # Errors
    /// Those of [`Proxy::start`].
    pub fn start_slow(upstream: SocketAddr, shape: Shape) -> io::Result<Self> {
        Self::start_with(upstream, Some(shape))
    }

    fn start_with(upstream: SocketAddr, shape: Option<Shape>) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let receive_buffer_bytes = shape.map(|_| SLOW_RECEIVE_BUFFER_BYTES);
        let listener = {
            let _context = runtime.enter();
            let socket = TcpSocket::new_v4()?;
            if let Some(bytes) = receive_buffer_bytes {
                // Accepted sockets inherit it.
                socket.set_recv_buffer_size(bytes)?;
            }
            socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
            socket.listen(BACKLOG)?
        };
        let addr = listener.local_addr()?;
        let mut rules = Rules::new(upstream);
        rules.set_shape(shape);
        let shared = Arc::new(Shared::new(rules));
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let accept = pump::accept(listener, Arc::clone(&shared), receive_buffer_bytes);
        let thread = std::thread::Builder::new().name("proxy".into()).spawn(move || run(&runtime, accept, stopped))?;
        Ok(Self { addr, shared, runtime: handle, stop: Some(stop), thread: Some(thread) })
    }

    /// Where clients connect to.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What has happened so far.
    pub fn counters(&self) -> Counters {
        self.shared.rules.borrow().counters
    }

    /// Carries new connections to another server, for example one that was restarted on another port.
    pub fn set_upstream(&self, upstream: SocketAddr) {
        self.shared.update(|rules| rules.upstream = upstream);
    }

    /// Says what becomes of new connections; those that are open go on.
    pub fn set_admission(&self, admission: Admission) {
        self.shared.update(|rules| rules.admission = admission);
    }

    /// Resets all connections, on both sides. New ones are carried.
    pub fn cut_now(&self) {
        self.shared.update(Rules::cut);
    }

    /// Cuts all connections once: in the moment when exactly `bytes` more have been delivered in `direction`, over all
    /// connections together. With 0, in place of the next byte.
    pub fn cut_after(&self, direction: Direction, bytes: u64) {
        self.shared.update(|rules| rules.set_cut_after(direction, bytes));
    }

    /// Delivers nothing more in `direction`, on open and new connections, and closes nothing: a half-open link.
    pub fn stall(&self, direction: Direction) {
        self.shared.update(|rules| rules.set_stalled(direction, true));
    }

    /// Ends a [`Proxy::stall`]; what was held back is delivered.
    pub fn resume(&self, direction: Direction) {
        self.shared.update(|rules| rules.set_stalled(direction, false));
    }

    /// Throws away what the server sends from now on, and cuts all connections once that was at least `bytes_min`
    /// (at least one). So the server has done its work and answered, and the answer never arrives.
    pub fn swallow_answers(&self, bytes_min: u64) {
        self.shared.update(|rules| rules.set_swallow(bytes_min));
    }

    /// Makes the link slow, or fast again with `None`, for bytes that are sent from now on. A sender feels little of it
    /// before the kernel's buffers are full: to measure, use [`Proxy::start_slow`].
    pub fn shape(&self, shape: Option<Shape>) {
        self.shared.update(|rules| rules.set_shape(shape));
    }

    /// Waits until the counters are as `met` wants them, and returns them.
    ///
    /// # Errors
    /// `TimedOut`, with the counters, when that has not come about within a minute.
    pub async fn wait_for(&self, met: impl FnMut(&Counters) -> bool) -> io::Result<Counters> {
        wait(&self.shared, met).await
    }

    /// [`Proxy::wait_for`] for callers without async.
    ///
    /// # Errors
    /// Those of [`Proxy::wait_for`].
    ///
    /// # Panics
    /// Inside an async task: it would block the others.
    pub fn wait_for_blocking(&self, met: impl FnMut(&Counters) -> bool) -> io::Result<Counters> {
        self.runtime.block_on(wait(&self.shared, met))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in there has been printed, and the test that needed the link has failed by it.
            let _ = thread.join();
        }
    }
}

fn run(runtime: &Runtime, accept: impl Future<Output = ()>, stopped: oneshot::Receiver<()>) {
    runtime.block_on(async {
        tokio::select! {
            () = accept => {}
            _ = stopped => {}
        }
    });
}

async fn wait(shared: &Shared, mut met: impl FnMut(&Counters) -> bool) -> io::Result<Counters> {
    let mut seen = shared.rules.subscribe();
    let waited = timeout(WAIT_MAX, seen.wait_for(|rules| met(&rules.counters))).await;
    match waited {
        Ok(rules) => Ok(rules.expect("the sender lives as long as shared").counters),
        Err(_) => {
            let text = format!("the link never came into the expected state: {:?}", shared.rules.borrow().counters);
            Err(io::Error::new(io::ErrorKind::TimedOut, text))
        }
    }
}

#[cfg(test)]
mod tests;
