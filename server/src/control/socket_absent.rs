//! Where there are no sockets in folders, commands open the store themselves, and a server that runs has to be stopped first.

use super::Console;
use super::request::{Answer, Refused, Request};
use crate::net::folder::Folder;
use crate::net::hub::Hub;
use std::io;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// Nothing.
pub(crate) struct ControlSocket;

impl ControlSocket {
    /// Does nothing.
    ///
    /// # Errors
    /// Never.
    pub(crate) fn open(_: &Folder, _: Arc<Hub>, _: mpsc::Sender<()>, _: watch::Receiver<bool>) -> io::Result<Self> {
        Ok(Self)
    }

    /// Does nothing.
    pub(crate) async fn close(&mut self) {}
}

/// What became of asking a running server.
pub(crate) enum Served {
    /// It answered.
    #[expect(dead_code, reason = "there is nobody to answer")]
    Answered(Result<Answer, Refused>),
    /// There is none.
    Nobody,
}

/// There is never anybody to ask.
pub(crate) fn ask(_: &Folder, _: &Request, _: &[u8], _: &mut dyn Console) -> Served {
    Served::Nobody
}
