//! A server as a value: started, asked for its address, shut down.

use super::config::{Config, Limits};
use super::folder::{Folder, FolderError, Prepared};
use super::http::{self, App};
use super::hub::{Hub, WriterThread};
use super::listener;
use super::log;
use super::login::Desk;
use super::operator::{Operator, blocking};
use super::writer::Opener;
use crate::control::ControlSocket;
use std::net::SocketAddr;
use std::sync::Arc;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

/// Starts servers.
pub struct Server;

/// Why a server did not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data folder or the schema is not usable.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The address cannot be listened on.
    #[error("{}", listen_message(*listen, error))]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// What the operating system says.
        error: std::io::Error,
    },
    /// The control socket in the data folder cannot be made.
    #[error("the control socket {} cannot be made: {error}. Nothing was started", path.display())]
    Control {
        /// Where it was to be.
        path: std::path::PathBuf,
        /// What the operating system says.
        error: std::io::Error,
    },
}

fn listen_message(listen: SocketAddr, error: &std::io::Error) -> String {
    use std::io::ErrorKind::{AddrInUse, AddrNotAvailable, PermissionDenied};
    match error.kind() {
        AddrInUse => format!(
            "{listen} is in use by another program: nothing was started. Stop that one, or choose another port with --listen"
        ),
        AddrNotAvailable => {
            format!("this machine does not have the address {}: nothing was started. Choose another with --listen", listen.ip())
        }
        PermissionDenied => {
            format!(
                "port {} may not be used by this user: nothing was started. Choose one above 1023 with --listen",
                listen.port()
            )
        }
        _ => format!("{listen} cannot be listened on ({error}): nothing was started. Choose another with --listen"),
    }
}

/// A server that accepts connections. Dropped without [`Self::shutdown`], it stops without telling its clients.
pub struct RunningServer {
    addr: SocketAddr,
    prepared: Prepared,
    folder: Folder,
    hub: Arc<Hub>,
    writer: Option<WriterThread>,
    limits: Arc<Limits>,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
    control: ControlSocket,
    /// Closed when the last connection, session and command has let go of its end.
    idle: mpsc::Receiver<()>,
}

impl Server {
    /// Opens or makes the workspace, takes a changed schema, and listens.
    ///
    /// Runs on the current tokio runtime, which needs its IO and time drivers.
    ///
    /// # Errors
    /// [`StartError`]; nothing is listening then, and a refused schema changed nothing.
    pub async fn start(config: Config) -> Result<RunningServer, StartError> {
        let folder = Folder::new(&config.data);
        let (made, schema, opened) = (folder.clone(), config.schema.clone(), config.listen);
        // Bound first: a port in use must not leave a workspace or a new schema behind.
        let listener = TcpListener::bind(opened).await.map_err(|error| StartError::Listen { listen: opened, error })?;
        let addr = listener.local_addr().map_err(|error| StartError::Listen { listen: opened, error })?;
        let prepared = blocking(move || made.prepare(schema.as_deref())).await?;
        let opener: Opener = {
            let folder = folder.clone();
            Box::new(move || folder.open_store())
        };
        let (hub, writer) = blocking(move || Hub::open(opener, log::to_stderr)).await.map_err(|error| folder.explain(error))?;
        Self::run(config.limits, listener, addr, folder, prepared, hub, writer)
    }

    fn run(
        limits: Limits,
        listener: TcpListener,
        addr: SocketAddr,
        folder: Folder,
        prepared: Prepared,
        hub: Arc<Hub>,
        writer: WriterThread,
    ) -> Result<RunningServer, StartError> {
        let limits = Arc::new(limits);
        let (busy, idle) = mpsc::channel(1);
        let (stop, stopped) = watch::channel(false);
        let control = ControlSocket::open(&folder, hub.clone(), busy.clone(), stopped.clone())
            .map_err(|error| StartError::Control { path: folder.control_path(), error })?;
        let app = App {
            hub: hub.clone(),
            desk: Arc::new(Desk::default()),
            limits: limits.clone(),
            reads: Arc::new(Semaphore::new(limits.reads_max)),
            busy: busy.clone(),
        };
        let accepting = tokio::spawn(listener::accept(listener, http::router(app), limits.clone(), busy, stopped));
        Ok(RunningServer { addr, prepared, folder, hub, writer: Some(writer), limits, stop, accepting, control, idle })
    }
}

impl RunningServer {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What was done to the data folder at the start.
    pub fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    /// What an operator may do with it.
    pub fn operator(&self) -> Operator {
        Operator::new(self.hub.clone(), self.folder.clone())
    }

    #[cfg(test)]
    pub(super) fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Tells clients when to come back, finishes what was begun, and gives the data folder free.
    pub async fn shutdown(mut self) {
        self.hub.begin_to_stop();
        self.stop.send_replace(true);
        let _ = (&mut self.accepting).await;
        self.control.close().await;
        // Whoever is not done by then has been told what to do, and finds the recorded outcome at the next connection.
        let _ = tokio::time::timeout(self.limits.drain, self.idle.recv()).await;
        let (hub, writer) = (self.hub.clone(), self.writer.take());
        blocking(move || writer.map(|writer| hub.stop(writer))).await;
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        self.hub.begin_to_stop();
        self.stop.send_replace(true);
    }
}
