//! `init` and `serve`.

use super::args::{Output, Schemed};
use super::commands::execute;
use super::failure::Failure;
use super::show;
use super::terminal::{Terminal, say};
use crate::control::{Answer, Request};
use crate::net::folder::Folder;
use crate::net::{Config, FolderError, Limits, Outcome, Prepared, Server, StartError};
use crate::store::StoreError;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use tombolo_protocol::limits::SCHEMA_BYTES_MAX;

pub(super) fn init(place: &Schemed) -> Result<(), Failure> {
    let text = read_schema(&place.schema)?;
    let folder = Folder::new(&place.place.data);
    let Prepared { schema_name: name, outcome, hidden } = match folder.prepare(Some(&text)) {
        Ok(prepared) => prepared,
        Err(FolderError::Store { error: StoreError::Locked, .. }) => return propose(place, text),
        Err(error) => return Err(about(&place.schema, &error)),
    };
    let changed = match outcome {
        Outcome::Made => {
            say(&format!("The workspace {name} was made in {}.", place.place.data.display()));
            return Ok(());
        }
        Outcome::Unchanged => None,
        Outcome::Evolved(evolution) => Some(evolution.to_string()),
    };
    tell_schema(&Answer::Schema { name, changed, hidden });
    Ok(())
}

/// What became of a schema, and a warning where it hides something: perhaps it is an older file.
fn tell_schema(answer: &Answer) {
    show::answer(answer, Output { json: false });
    if let Answer::Schema { hidden, .. } = answer {
        warn_of(hidden);
    }
}

fn warn_of(hidden: &[String]) {
    if !hidden.is_empty() {
        eprintln!(
            "warning: this schema does not have {}, which the workspace showed until now. Nothing was deleted: it is hidden on \
             all devices, and is there again with a schema that has it",
            hidden.join(", ")
        );
    }
}

/// Proposes a schema to the server that runs on the folder.
fn propose(place: &Schemed, text: String) -> Result<(), Failure> {
    let answer = execute(&place.place, &Request::Schema { text }, &[], &mut Terminal { file: None })
        .map_err(|failure| failure.about(&place.schema))?;
    tell_schema(&answer);
    Ok(())
}

pub(super) fn serve(place: &Schemed, listen: SocketAddr) -> Result<(), Failure> {
    let text = read_schema(&place.schema)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("the server cannot start its threads ({error}): nothing was done")))?;
    let config = Config { data: place.place.data.clone(), schema: Some(text), listen, limits: Limits::default() };
    runtime.block_on(async {
        // Before anything is started, so that no signal is missed.
        let mut stop = signals().map_err(|error| Failure::new(format!("signals cannot be received ({error})")))?;
        let server = Server::start(config).await.map_err(|error| match &error {
            StartError::Folder(folder) => about(&place.schema, folder),
            _ => error.into(),
        })?;
        match &server.prepared().outcome {
            Outcome::Made => eprintln!("a new workspace was made in {}", place.place.data.display()),
            Outcome::Evolved(evolution) => eprintln!("the schema was changed:\n{evolution}"),
            Outcome::Unchanged => {}
        }
        warn_of(&server.prepared().hidden);
        say(&format!("Tombolo is serving {} at http://{}", server.prepared().schema_name, server.addr()));
        stop.recv().await;
        eprintln!("stopping: clients are told when to come back");
        server.shutdown().await;
        Ok(())
    })
}

fn read_schema(path: &Path) -> Result<String, Failure> {
    let size = fs::metadata(path).map_err(|error| Failure::unreadable(path, &error))?.len();
    if usize::try_from(size).map_or(true, |size| size > SCHEMA_BYTES_MAX) {
        let most = SCHEMA_BYTES_MAX / 1024;
        return Err(Failure::new(format!(
            "{} is larger than the {most} KiB that a schema may have: nothing was done",
            path.display()
        )));
    }
    let bytes = fs::read(path).map_err(|error| Failure::unreadable(path, &error))?;
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Failure::new(format!("{}: line {line} is not UTF-8 text: nothing was done. Save it with that encoding", path.display()))
    })
}

/// A problem of the schema is about its file.
fn about(schema: &Path, error: &FolderError) -> Failure {
    match error {
        FolderError::Schema(_) | FolderError::Refused(_) => Failure::new(error.to_string()).about(schema),
        _ => Failure::new(error.to_string()),
    }
}

/// The wish to stop, from whoever runs the process.
struct Stop {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

/// SIGXFSZ. A handler stays once it was there.
#[cfg(unix)]
const FILE_SIZE_LIMIT: i32 = 25;

#[cfg(unix)]
fn signals() -> std::io::Result<Stop> {
    use tokio::signal::unix::{SignalKind, signal};
    // Caught, a file size limit is an error of the write like any full disk; else it ends the process.
    drop(signal(SignalKind::from_raw(FILE_SIZE_LIMIT))?);
    Ok(Stop { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
}

#[cfg(unix)]
impl Stop {
    async fn recv(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(not(unix))]
fn signals() -> std::io::Result<Stop> {
    Ok(Stop {})
}

#[cfg(not(unix))]
impl Stop {
    async fn recv(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_file_that_is_no_text_is_told_with_the_line() {
        let temp = tempfile::NamedTempFile::new().unwrap();
        fs::write(temp.path(), b"name = \"x\"\nlabel = \"\xff\"\n").unwrap();
        let message = read_schema(temp.path()).unwrap_err().message;
        assert!(message.ends_with("line 2 is not UTF-8 text: nothing was done. Save it with that encoding"), "{message}");
    }
}
