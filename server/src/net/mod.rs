//! The drivers: sockets, HTTP, WebSocket, and the thread of the one writer. Nothing here decides; sessions and the workspace do.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use tombolo_server::net::{Config, Server};
//!
//! let server = Server::start(Config::local("data", tombolo_protocol::schema::CLINIC)).await?;
//! println!("http://{}", server.addr());
//! server.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod attempts;
pub(crate) mod clock;
mod config;
mod failure;
pub(crate) mod folder;
mod http;
pub(crate) mod hub;
pub(crate) mod listener;
pub(crate) mod log;
mod login;
mod operator;
mod peer;
mod server;
mod socket;
mod writer;
mod ws;

pub use config::{Config, Limits};
pub use folder::{FolderError, Outcome, Prepared};
pub use operator::{Imported, Operator, OperatorError};
pub use server::{RunningServer, Server, StartError};

#[cfg(test)]
mod tests;
