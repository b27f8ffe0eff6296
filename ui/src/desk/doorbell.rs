//! A store is open in one window only. Another one that is started on it asks that one to come to the front.

use super::{Sink, Tell};
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tombolo_client::{new_row_id, paths};

/// Both are on this machine.
const PATIENCE: Duration = Duration::from_secs(2);
const HEARD: &[u8] = b"heard";

/// Where the window of a store listens; beside the store, and readable for its owner only, as the store is.
fn note_of(store: &Path) -> PathBuf {
    store.with_extension("window")
}

/// A window that hears others, until this is dropped.
pub(super) struct Doorbell {
    note: PathBuf,
    at: SocketAddr,
    gone: Arc<AtomicBool>,
}

impl Doorbell {
    /// Listens for whoever opens the same store, who is told with [`Tell::Rung`]. A window that is closing hears nobody.
    ///
    /// # Errors
    /// When this machine lets nobody listen, or the note cannot be written: then others are only told that the store is open.
    pub(super) fn hang(store: &Path, sink: Sink, closing: Arc<AtomicBool>) -> io::Result<Self> {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))?;
        let (at, word) = (listener.local_addr()?, new_row_id().to_string());
        let note = note_of(store);
        let new = note.with_extension("new");
        // What a window that was killed left behind.
        let _ = fs::remove_file(&new);
        let mut file = fs::File::create_new(&new)?;
        paths::protect(&new)?;
        write!(file, "{at} {word}")?;
        drop(file);
        fs::rename(&new, &note)?;
        let gone = Arc::new(AtomicBool::new(false));
        let ended = gone.clone();
        std::thread::Builder::new().name("tombolo-doorbell".to_owned()).spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                match stream.map(|stream| knows(stream, &word, &closing)) {
                    Ok(Ok(true)) => sink(Tell::Rung),
                    // Whoever does not know the word, or says nothing, is nobody.
                    Ok(_) => {}
                    // No file handles are left: nobody can be heard, and there is no hurry.
                    Err(_) => std::thread::park_timeout(PATIENCE),
                }
            }
        })?;
        Ok(Self { note, at, gone })
    }
}

impl Drop for Doorbell {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Relaxed);
        // The thread hears of it with the next connection, which is this one.
        let _ = TcpStream::connect_timeout(&self.at, PATIENCE);
        let _ = fs::remove_file(&self.note);
    }
}

fn knows(mut stream: TcpStream, word: &str, closing: &AtomicBool) -> io::Result<bool> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut said = vec![0; word.len()];
    stream.read_exact(&mut said)?;
    let knows = said == word.as_bytes() && !closing.load(Ordering::Relaxed);
    if knows {
        stream.write_all(HEARD)?;
    }
    Ok(knows)
}

/// Asks the window that has the store to come to the front.
///
/// # Errors
/// When there is none that answers: a program without a window has the store, or it hangs.
pub(super) fn ring(store: &Path) -> io::Result<()> {
    let note = fs::read_to_string(note_of(store))?;
    let (at, word) = note.split_once(' ').ok_or(io::ErrorKind::InvalidData)?;
    let at: SocketAddr = at.parse().map_err(|_| io::ErrorKind::InvalidData)?;
    let mut stream = TcpStream::connect_timeout(&at, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(word.as_bytes())?;
    let mut heard = [0; HEARD.len()];
    stream.read_exact(&mut heard)?;
    if heard == HEARD { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn only_who_can_read_beside_the_store_is_heard_and_only_while_there_is_a_window() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store.redb");
        let (tell, told) = channel();
        assert!(ring(&store).is_err());
        let sink: Sink = Arc::new(move |news| tell.send(matches!(news, Tell::Rung)).unwrap());
        let closing = Arc::new(AtomicBool::new(false));
        let bell = Doorbell::hang(&store, sink, closing.clone()).unwrap();
        let mut stranger = TcpStream::connect(bell.at).unwrap();
        stranger.write_all(new_row_id().to_string().as_bytes()).unwrap();
        assert_eq!(stranger.read(&mut [0; 5]).unwrap(), 0, "the stranger gets no answer");
        assert!(told.try_recv().is_err());
        ring(&store).unwrap();
        assert!(told.recv_timeout(PATIENCE).unwrap());
        // It will be gone when somebody looks.
        closing.store(true, Ordering::Relaxed);
        assert!(ring(&store).is_err() && told.try_recv().is_err());
        drop(bell);
        assert!(ring(&store).is_err());
        assert!(!note_of(&store).exists());
    }
}
