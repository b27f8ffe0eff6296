//! Accepts connections and gives each to HTTP with the limits that strangers have.

use super::config::Limits;
use super::peer::{Peer, Watched};
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tower::ServiceExt;

/// Hyper's smallest buffer; a longer head of a request is answered with 431.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// After an error of the listener (no file handles left), so that it does not spin.
pub(crate) const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Accepts until it is told to stop.
pub(crate) async fn accept(
    listener: TcpListener,
    router: Router,
    limits: Arc<Limits>,
    busy: mpsc::Sender<()>,
    mut stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(limits.strangers_max));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = told(&mut stop) => return,
        };
        match accepted {
            Ok((stream, _)) => {
                // A stranger for whom there is no place is not even answered: that would be work.
                if let Ok(place) = places.clone().try_acquire_owned() {
                    tokio::spawn(serve(stream, place, router.clone(), limits.clone(), busy.clone(), stop.clone()));
                }
            }
            Err(_) => tokio::time::sleep(ACCEPT_AGAIN_AFTER).await,
        }
    }
}

/// Ends when the server is told to stop, or is gone.
pub(crate) async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// One connection: one request, or a session.
async fn serve(
    stream: TcpStream,
    place: OwnedSemaphorePermit,
    router: Router,
    limits: Arc<Limits>,
    busy: mpsc::Sender<()>,
    mut stop: watch::Receiver<bool>,
) {
    // Answers are small and awaited; where the option is not to be had they are only slower.
    let _ = stream.set_nodelay(true);
    let peer = Peer::new(limits.stranger_bytes_max, place);
    let io = TokioIo::new(Watched::new(stream, peer.clone(), limits.write_deadline));
    let known = peer.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(known.clone());
        router.clone().oneshot(request)
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.stranger_time)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(io, service)
            .with_upgrades()
    );
    tokio::select! {
        // Errors are the peer's: it left, or broke HTTP, and was answered as far as that goes.
        _ = connection.as_mut() => {}
        () = peer.outstayed(limits.stranger_time) => {}
        () = told(&mut stop) => {
            // A stranger in the middle of a request might take all of its time, and can ask again.
            if peer.is_known() {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
        }
    }
    drop(busy);
}
