//! Operator commands: what is asked, how it is done, and the socket through which a running server is asked.
//!
//! A command is a [`Request`], carried out by [`carry_out`] on a [`crate::net::hub::Hub`]: that of the running server, or one
//! that the command line opens for itself. Both ways are the same code.

mod import;
mod request;
mod rows;
mod schema;
#[cfg_attr(not(unix), path = "socket_absent.rs")]
mod socket;
mod users;
mod whole;
#[cfg_attr(not(unix), expect(dead_code, reason = "only the socket speaks it"))]
mod wire;

pub(crate) use request::{Answer, DeviceLine, GrantShown, Refused, Request, UserLine};
pub(crate) use socket::{ControlSocket, Served, ask};

use crate::net::folder::Folder;
use crate::net::hub::Hub;
use crate::store::guarded;
use std::io;

/// Bytes of a file that is imported at once; it is checked as a whole before anything is written.
pub(crate) const IMPORT_BYTES_MAX: usize = 256 * 1024 * 1024;

/// What a command says while it runs, to people and to a file.
pub(crate) trait Console {
    /// How far it has come.
    fn progress(&mut self, text: &str);
    /// Whether somebody still waits for the answer: what nobody waits for is given up.
    fn is_awaited(&mut self) -> bool {
        true
    }
    /// A part of the file that it makes.
    ///
    /// # Errors
    /// When it cannot be passed on.
    fn data(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// Carries out a command. Blocks.
///
/// # Errors
/// Why nothing was done, in a sentence for the operator.
pub(crate) fn carry_out(
    hub: &Hub,
    folder: &Folder,
    request: Request,
    content: &[u8],
    console: &mut dyn Console,
) -> Result<Answer, Refused> {
    hub.mended_blocking();
    guarded(|| match request {
        Request::UserAdd { name, role, scopes, password } => users::add(hub, &name, role, &scopes, password),
        Request::UserList => users::list(hub),
        Request::UserPassword { name, password } => users::change_password(hub, &name, password),
        Request::DeviceList => users::devices(hub),
        Request::DeviceRevoke { id } => users::revoke(hub, &id),
        Request::Import { table, set } => import::import(hub, &table, &set, content, console),
        Request::Export { table } => rows::export(hub, &table, console),
        Request::Verify => whole::verify(hub, folder, console),
        Request::Compact { keep_days } => whole::compact(hub, folder, keep_days, console),
        Request::Schema { text } => schema::propose(hub, text),
    })?
}
