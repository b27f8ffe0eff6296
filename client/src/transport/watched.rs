//! What happens below TLS and WebSocket, where every byte passes: counting, and a deadline for writes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Bytes on the sockets of a client, handshakes and TLS included.
#[derive(Default, Debug)]
pub struct ByteCounts {
    up: AtomicU64,
    down: AtomicU64,
}

impl ByteCounts {
    /// Bytes sent so far.
    pub fn up(&self) -> u64 {
        self.up.load(Ordering::Relaxed)
    }

    /// Bytes received so far.
    pub fn down(&self) -> u64 {
        self.down.load(Ordering::Relaxed)
    }
}

/// A stream whose bytes are counted, and whose writes fail when no byte was accepted for too long. The deadline restarts with
/// each byte: on a bad link 64 KiB take a minute, and a dead one must not be waited for longer than this.
pub(crate) struct Watched<S> {
    stream: S,
    bytes: Arc<ByteCounts>,
    write_deadline: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Watched<S> {
    pub(crate) fn new(stream: S, bytes: Arc<ByteCounts>, write_deadline: Duration) -> Self {
        Self { stream, bytes, write_deadline, stalled: None }
    }

    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let deadline = self.write_deadline;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(deadline)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the link accepts no bytes")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        this.bytes.down.fetch_add((buf.filled().len() - before) as u64, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = written {
            this.bytes.up.fetch_add(count as u64, Ordering::Relaxed);
        }
        this.watch(cx, written)
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
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    fn watched<S>(stream: S) -> (Watched<S>, Arc<ByteCounts>) {
        let bytes = Arc::new(ByteCounts::default());
        (Watched::new(stream, bytes.clone(), Duration::from_secs(10)), bytes)
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_are_counted_in_both_directions() {
        let (near, mut far) = duplex(64);
        let (mut near, bytes) = watched(near);
        near.write_all(b"hello").await.unwrap();
        far.write_all(b"hi").await.unwrap();
        near.read_exact(&mut [0; 2]).await.unwrap();
        assert_eq!((bytes.up(), bytes.down()), (5, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_link_that_accepts_nothing_fails_after_the_deadline() {
        let (near, _far) = duplex(4);
        let (mut near, bytes) = watched(near);
        let begun = tokio::time::Instant::now();
        let error = near.write_all(b"too much").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed(), Duration::from_secs(10));
        assert_eq!(bytes.up(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn each_accepted_byte_restarts_the_deadline() {
        let (near, mut far) = duplex(1);
        let (mut near, _bytes) = watched(near);
        let begun = tokio::time::Instant::now();
        let reader = tokio::spawn(async move {
            for _ in 0..6 {
                sleep(Duration::from_secs(8)).await;
                far.read_exact(&mut [0]).await.unwrap();
            }
        });
        near.write_all(b"slowly").await.unwrap();
        assert!(begun.elapsed() > Duration::from_secs(30));
        reader.await.unwrap();
    }
}
