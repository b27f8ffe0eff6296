//! What a connection is allowed before and after its peer is known, watched below HTTP and WebSocket where every byte passes.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};

/// What the driver knows of the other end of a connection.
pub(crate) struct Peer {
    since: Instant,
    known: AtomicBool,
    /// Bytes read so far while the peer was unknown.
    read: AtomicUsize,
    /// Bytes that an unknown peer may send.
    bytes_max: usize,
    /// Milliseconds after `since` at which the last byte came.
    last_read_ms: AtomicU64,
    /// Its place among the unauthenticated peers, given back when it is known.
    place: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Peer {
    pub(crate) fn new(bytes_max: usize, place: OwnedSemaphorePermit) -> Arc<Self> {
        Arc::new(Self {
            since: Instant::now(),
            known: AtomicBool::new(false),
            read: AtomicUsize::new(0),
            bytes_max,
            last_read_ms: AtomicU64::new(0),
            place: Mutex::new(Some(place)),
        })
    }

    /// The peer has shown who it is: the limits for strangers end, and its place among them is free.
    pub(crate) fn is_known_now(&self) {
        self.known.store(true, Ordering::Relaxed);
        drop(self.place.lock().expect("nothing panics while holding it").take());
    }

    /// Whether the peer has shown who it is.
    pub(crate) fn is_known(&self) -> bool {
        self.known.load(Ordering::Relaxed)
    }

    /// Ends when a peer that is still unknown has used up its time; never for a known one.
    pub(crate) async fn outstayed(&self, limit: Duration) {
        tokio::time::sleep_until(self.since + limit).await;
        if self.is_known() {
            std::future::pending::<()>().await;
        }
    }

    /// When the last byte came.
    pub(crate) fn last_read(&self) -> Instant {
        self.since + Duration::from_millis(self.last_read_ms.load(Ordering::Relaxed))
    }

    fn took(&self, bytes: usize) -> io::Result<()> {
        if bytes > 0 {
            let ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.last_read_ms.store(ms, Ordering::Relaxed);
        }
        if !self.is_known() && self.read.fetch_add(bytes, Ordering::Relaxed) + bytes > self.bytes_max {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "an unknown peer sent more than it may"));
        }
        Ok(())
    }
}

/// A stream whose reads are counted and whose writes have a deadline that restarts with each byte that is accepted: on a bad
/// link 64 KiB take a minute, and a dead one must not hold a task for a quarter of an hour.
pub(crate) struct Watched<S> {
    stream: S,
    peer: Arc<Peer>,
    write_deadline: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Watched<S> {
    pub(crate) fn new(stream: S, peer: Arc<Peer>, write_deadline: Duration) -> Self {
        Self { stream, peer, write_deadline, stalled: None }
    }

    /// Lets a write through, or fails it when nothing was accepted for too long.
    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let deadline = self.write_deadline;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(deadline)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer accepts no bytes")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        let counted = this.peer.took(buf.filled().len() - before);
        if counted.is_err() {
            // A read that fails brings nothing.
            buf.set_filled(before);
        }
        Poll::Ready(counted)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.watch(cx, written)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, bytes);
        this.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(cx);
        this.watch(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shut = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.watch(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Semaphore;

    const DEADLINE: Duration = Duration::from_secs(15);

    fn peer(places: &Arc<Semaphore>) -> Arc<Peer> {
        Peer::new(10, places.clone().try_acquire_owned().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_deadline_restarts_with_each_byte_accepted() {
        let places = Arc::new(Semaphore::new(1));
        let (near, mut far) = tokio::io::duplex(4);
        let mut watched = Watched::new(near, peer(&places), DEADLINE);
        let reader = tokio::spawn(async move {
            let mut byte = [0];
            for _ in 0..8 {
                tokio::time::sleep(Duration::from_secs(14)).await;
                far.read_exact(&mut byte).await.unwrap();
            }
            far
        });
        // Twelve bytes through four, one each 14 s: far longer than the deadline, and never stalled.
        watched.write_all(&[0; 12]).await.unwrap();
        let _far = reader.await.unwrap();
        let error = watched.write_all(&[0; 12]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_peer_sends_no_more_than_it_may_and_a_known_one_does() {
        let places = Arc::new(Semaphore::new(2));
        for known in [false, true] {
            let (near, mut far) = tokio::io::duplex(64);
            let peer = peer(&places);
            let mut watched = Watched::new(near, peer.clone(), DEADLINE);
            if known {
                peer.is_known_now();
            }
            far.write_all(&[0; 11]).await.unwrap();
            drop(far);
            assert_eq!(watched.read_to_end(&mut Vec::new()).await.is_ok(), known);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_peer_outstays_and_a_known_one_gives_its_place_back() {
        let places = Arc::new(Semaphore::new(1));
        let peer = peer(&places);
        let limit = Duration::from_secs(30);
        peer.outstayed(limit).await;
        assert_eq!(places.available_permits(), 0);
        peer.is_known_now();
        assert_eq!(places.available_permits(), 1);
        assert!(tokio::time::timeout(limit, peer.outstayed(limit)).await.is_err());
    }
}
