//! Interrupts end a command in good order: the link is closed, the last line is printed, the exit code tells.

use tokio::sync::oneshot;

/// Interrupts are heeded while this lives.
pub(super) struct Heeding {
    _ends: oneshot::Sender<()>,
}

/// Does `act` once, when the process is interrupted or asked to terminate.
pub(super) fn heed(act: impl FnOnce() + Send + 'static) -> Heeding {
    let (ends, ended) = oneshot::channel::<()>();
    let wait = move || {
        // Without a runtime an interrupt ends the process at once, which loses nothing either.
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            tokio::select! {
                () = interrupted() => act(),
                _ = ended => {}
            }
        });
    };
    // As above: without the thread an interrupt ends the process at once.
    let _ = std::thread::Builder::new().name("tombolo-interrupt".to_owned()).spawn(wait);
    Heeding { _ends: ends }
}

#[cfg(unix)]
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        },
        Err(_) => drop(tokio::signal::ctrl_c().await),
    }
}

#[cfg(not(unix))]
async fn interrupted() {
    // If there are no interrupts to hear, there are none.
    let _ = tokio::signal::ctrl_c().await;
}
