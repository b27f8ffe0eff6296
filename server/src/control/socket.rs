//! The socket in the data folder: a running server carries out commands for whoever may use the folder.

use super::request::{Answer, Refused, Request};
use super::wire::{self, Part};
use super::{Console, IMPORT_BYTES_MAX, carry_out};
use crate::net::folder::Folder;
use crate::net::hub::Hub;
use crate::net::listener::{ACCEPT_AGAIN_AFTER, told};
use std::fs::{self, File, Permissions};
use std::io::{self, BufReader, BufWriter, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

/// Commands at the same time.
const COMMANDS_MAX: usize = 4;
/// A command line that says nothing for so long, or takes no answer, is gone.
const PATIENCE: Duration = Duration::from_secs(30);
/// A socket's path has at most some hundred bytes; a longer one is reached by a shorter name of its folder.
const PATH_BYTES_MAX: usize = 100;

/// The socket of a running server; its file goes with it.
pub(crate) struct ControlSocket {
    path: PathBuf,
    accepting: JoinHandle<()>,
}

impl ControlSocket {
    /// Opens the socket. The caller holds the store, so a socket that is there is a dead one.
    ///
    /// # Errors
    /// When something else has its name, or the folder may not be written.
    pub(crate) fn open(
        folder: &Folder,
        hub: Arc<Hub>,
        busy: mpsc::Sender<()>,
        stop: watch::Receiver<bool>,
    ) -> io::Result<Self> {
        let path = folder.control_path();
        match fs::symlink_metadata(&path) {
            Ok(found) if found.file_type().is_socket() => fs::remove_file(&path)?,
            Ok(_) => return Err(io::Error::new(io::ErrorKind::AlreadyExists, "another file has its name; move that one away")),
            Err(_) => {}
        }
        let listener = with_short_path(&path, |short| UnixListener::bind(short))?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        let owner = fs::metadata(&path)?.uid();
        let accepting = tokio::spawn(accept(listener, owner, Arc::new(folder.clone()), hub, busy, stop));
        Ok(Self { path, accepting })
    }

    /// Takes no more commands. Those under way go on.
    pub(crate) async fn close(&mut self) {
        let _ = (&mut self.accepting).await;
        // A server that was killed leaves the file too; the next one removes it.
        let _ = fs::remove_file(&self.path);
    }
}

async fn accept(
    listener: UnixListener,
    owner: u32,
    folder: Arc<Folder>,
    hub: Arc<Hub>,
    busy: mpsc::Sender<()>,
    mut stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(COMMANDS_MAX));
    let next = async || {
        let place = places.clone().acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => return Some((place, stream)),
                Err(_) => tokio::time::sleep(ACCEPT_AGAIN_AFTER).await,
            }
        }
    };
    loop {
        // Told also while all places are taken: a verification may last for hours.
        let accepted = tokio::select! {
            accepted = next() => accepted,
            () = told(&mut stop) => return,
        };
        let Some((place, stream)) = accepted else { return };
        // The file's mode keeps others out; this also those who came before it was set.
        let may = stream.peer_cred().is_ok_and(|peer| peer.uid() == owner || peer.uid() == 0);
        let (hub, folder, busy) = (hub.clone(), folder.clone(), busy.clone());
        if may && let Ok(stream) = stream.into_std() {
            tokio::task::spawn_blocking(move || {
                // A command line that went away has nobody to be told.
                let _ = serve(&hub, &folder, &stream);
                drop((place, busy));
            });
        }
    }
}

fn serve(hub: &Hub, folder: &Folder, stream: &UnixStream) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut from = BufReader::new(stream);
    let mut to = BufWriter::new(stream);
    let Part::Json(json) = wire::receive(&mut from)? else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "no request"));
    };
    let request: Request = match wire::read_json(&json) {
        Ok(request) => request,
        // Another version asks.
        Err(error) => {
            return wire::send_json(&mut to, &Err::<Answer, _>(Refused::new(format!("this is not understood: {error}"))));
        }
    };
    let content = match &request {
        Request::Import { .. } => wire::receive_data(&mut from, IMPORT_BYTES_MAX)?,
        _ => Vec::new(),
    };
    let mut console = Remote { stream, to };
    let answer = carry_out(hub, folder, request, &content, &mut console);
    wire::send_json(&mut console.to, &answer)
}

/// The console of the command line at the other end.
struct Remote<'a> {
    stream: &'a UnixStream,
    to: BufWriter<&'a UnixStream>,
}

impl Console for Remote<'_> {
    fn progress(&mut self, text: &str) {
        // Only a comfort; whether the other end is gone is asked.
        let _ = wire::send_progress(&mut self.to, text);
    }

    fn is_awaited(&mut self) -> bool {
        // Behind its request a command line says nothing: there is the end of the stream to be read, or nothing yet.
        let looked = self.stream.set_nonblocking(true).and_then(|()| (&mut &*self.stream).read(&mut [0]));
        let open = matches!(&looked, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        open && self.stream.set_nonblocking(false).is_ok()
    }

    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        wire::send_data(&mut self.to, bytes)
    }
}

/// What became of asking a running server.
pub(crate) enum Served {
    /// It answered.
    Answered(Result<Answer, Refused>),
    /// There is none.
    Nobody,
}

/// Asks the server that runs on a folder, if there is one.
pub(crate) fn ask(folder: &Folder, request: &Request, content: &[u8], console: &mut dyn Console) -> Served {
    let Ok(stream) = with_short_path(&folder.control_path(), |short| UnixStream::connect(short)) else { return Served::Nobody };
    let answered = exchange(&stream, request, content, console);
    Served::Answered(answered.unwrap_or_else(|error| {
        Err(Refused::new(format!(
            "the running server broke off ({error}): whether it was done is not known. Look, and ask again if it was not"
        )))
    }))
}

fn exchange(
    stream: &UnixStream,
    request: &Request,
    content: &[u8],
    console: &mut dyn Console,
) -> io::Result<Result<Answer, Refused>> {
    let mut to = BufWriter::new(stream);
    wire::send_json(&mut to, request)?;
    if let Request::Import { .. } = request {
        wire::send_data(&mut to, content)?;
        wire::end_data(&mut to)?;
    }
    // Without a deadline: a verification takes as long as it takes, and a server that dies closes the socket.
    answer(&mut BufReader::new(stream), console)
}

fn answer(from: &mut impl Read, console: &mut dyn Console) -> io::Result<Result<Answer, Refused>> {
    let mut written = Ok(());
    loop {
        match wire::receive(from)? {
            Part::Progress(text) => console.progress(&text),
            // A file that cannot be written is told when the server is done.
            Part::Data(bytes) if written.is_ok() => written = console.data(&bytes),
            Part::Data(_) => {}
            Part::Json(json) => {
                let answer = wire::read_json(&json)?;
                return Ok(match written {
                    Ok(()) => answer,
                    Err(error) => {
                        Err(Refused::new(format!("the file cannot be written: {error}. What there is of it is not complete")))
                    }
                });
            }
        }
    }
}

/// Calls with a name of the path that a socket address can hold.
fn with_short_path<T>(path: &Path, call: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) if path.as_os_str().len() > PATH_BYTES_MAX => {
            let folder = File::open(folder)?;
            let short = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
            call(&short)
        }
        _ => call(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_command_line_that_went_away_asked_for_is_not_wanted_any_more() {
        let (here, there) = UnixStream::pair().unwrap();
        let mut console = Remote { stream: &here, to: BufWriter::new(&here) };
        assert!(console.is_awaited());
        console.progress("half");
        drop(there);
        assert!(!console.is_awaited());
    }
}
