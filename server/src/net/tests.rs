//! The drivers over real sockets, in one process.

mod client;
mod connections;
mod logins;
mod operators;
mod sessions;
mod trouble;

use super::{Config, Limits, RunningServer, Server};
use client::Login;
use std::time::Duration;
use tempfile::TempDir;
use tombolo_protocol::schema::{CLINIC, Role};

/// Nothing in these tests takes so long, unless it never happens.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server with one user, `anna`, in a folder of its own.
struct World {
    server: RunningServer,
    folder: TempDir,
}

impl World {
    async fn new() -> Self {
        Self::with(Limits::default()).await
    }

    async fn with(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { limits, ..Config::local(folder.path(), CLINIC) };
        let server = Server::start(config).await.unwrap();
        server.operator().add_user("anna", "river stone", Role::Admin, &[]).await.unwrap();
        Self { server, folder }
    }

    async fn login(&self) -> Login {
        client::login(self.server.addr(), "anna", "river stone", None).await.unwrap()
    }
}

/// What must happen soon.
async fn soon<T>(event: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, event).await.expect("it happens soon")
}
