//! Commands that a running server carries out; where there is none, this process opens the store for it.

use super::args::{Device, Output, Place, User};
use super::failure::Failure;
use super::outfile::OutFile;
use super::show;
use super::terminal::{Terminal, read_password, say};
use crate::control::{self, Answer, Console, IMPORT_BYTES_MAX, Request, Served};
use crate::net::clock;
use crate::net::folder::Folder;
use crate::net::hub::Hub;
use crate::net::log;
use crate::passwords;
use crate::store::StoreError;
use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Duration;

/// A server that starts or stops holds the store for a moment without answering yet or any more.
const ATTEMPTS_MAX: usize = 25;
const NEXT_ATTEMPT_AFTER: Duration = Duration::from_millis(200);

pub(super) fn user(user: User) -> Result<(), Failure> {
    let (request, place, output) = match user {
        User::Add { name, role, scope, place, output, .. } => {
            let password = hashed_password()?;
            (Request::UserAdd { name, role: role.into(), scopes: scope, password }, place, output)
        }
        User::List { place, output } => (Request::UserList, place, output),
        User::Password { name, place, output, .. } => {
            let password = hashed_password()?;
            (Request::UserPassword { name, password }, place, output)
        }
    };
    finish(&place, &request, output)
}

pub(super) fn device(device: Device) -> Result<(), Failure> {
    match device {
        Device::List { place, output } => finish(&place, &Request::DeviceList, output),
        Device::Revoke { id, place, output } => finish(&place, &Request::DeviceRevoke { id }, output),
    }
}

pub(super) fn import(
    table: String,
    file: &Path,
    set: Vec<(String, String)>,
    place: &Place,
    output: Output,
) -> Result<(), Failure> {
    let size = fs::metadata(file).map_err(|error| Failure::unreadable(file, &error))?.len();
    if usize::try_from(size).map_or(true, |size| size > IMPORT_BYTES_MAX) {
        let most = IMPORT_BYTES_MAX >> 20;
        return Err(Failure::new(format!("{} is larger than {most} MiB: nothing was imported. Split it", file.display())));
    }
    let content = fs::read(file).map_err(|error| Failure::unreadable(file, &error))?;
    let request = Request::Import { table, set };
    let answer = execute(place, &request, &content, &mut Terminal { file: None }).map_err(|failure| failure.about(file))?;
    show::answer(&answer, output);
    Ok(())
}

pub(super) fn export(table: String, out: Option<&Path>, place: &Place) -> Result<(), Failure> {
    let request = Request::Export { table };
    let Some(path) = out else {
        let mut file = BufWriter::new(io::stdout());
        execute(place, &request, &[], &mut Terminal { file: Some(&mut file) })?;
        return file.flush().map_err(|error| Failure::new(format!("standard output cannot be written ({error})")));
    };
    let mut file = OutFile::begin(path).map_err(|error| Failure::unwritable(path, &error))?;
    let answer = execute(place, &request, &[], &mut Terminal { file: Some(&mut file) })?;
    file.finish().map_err(|error| Failure::unwritable(path, &error))?;
    if let Answer::Exported { table, rows } = answer {
        say(&format!("{rows} rows of {table} were written to {}.", path.display()));
    }
    Ok(())
}

pub(super) fn verify(place: &Place, output: Output) -> Result<(), Failure> {
    let answer = execute(place, &Request::Verify, &[], &mut Terminal { file: None })?;
    show::answer(&answer, output);
    match answer {
        Answer::Verified { sound: false, .. } => Err(Failure::new(
            "the data folder is not sound: stop the server, copy the folder aside, and put the last backup back",
        )),
        _ => Ok(()),
    }
}

pub(super) fn compact(keep_days: u32, place: &Place, output: Output) -> Result<(), Failure> {
    let mut answer = execute(place, &Request::Compact { keep_days }, &[], &mut Terminal { file: None })?;
    let mut shrunk = Ok(());
    if let Answer::Compacted { bytes_after, .. } = &mut answer {
        let folder = Folder::new(&place.data);
        shrunk = match folder.shrink_store() {
            // A server runs on it, and uses the room again.
            Err(StoreError::Locked) => Ok(()),
            shrunk => shrunk,
        };
        *bytes_after = folder.store_bytes();
    }
    show::answer(&answer, output);
    shrunk.map_err(|error| Failure::new(format!("the log was compacted, but its file could not be made smaller: {error}")))
}

fn finish(place: &Place, request: &Request, output: Output) -> Result<(), Failure> {
    let answer = execute(place, request, &[], &mut Terminal { file: None })?;
    show::answer(&answer, output);
    Ok(())
}

fn hashed_password() -> Result<String, Failure> {
    Ok(passwords::hash(&read_password()?, clock::random())?)
}

/// Has a command carried out by the server that runs on the folder, or by this process where there is none.
pub(super) fn execute(place: &Place, request: &Request, content: &[u8], console: &mut dyn Console) -> Result<Answer, Failure> {
    let folder = Folder::new(&place.data);
    folder.check()?;
    for attempt in 1.. {
        if let Served::Answered(answer) = control::ask(&folder, request, content, console) {
            return Ok(answer?);
        }
        let opening = folder.clone();
        match Hub::open(Box::new(move || opening.open_store()), log::nowhere) {
            Ok((hub, writer)) => {
                folder.sweep();
                let answer = control::carry_out(&hub, &folder, request.clone(), content, console);
                hub.stop(writer);
                return Ok(answer?);
            }
            Err(StoreError::Locked) if attempt < ATTEMPTS_MAX => std::thread::park_timeout(NEXT_ATTEMPT_AFTER),
            Err(error) => return Err(folder.explain(error).into()),
        }
    }
    unreachable!("the last attempt returns")
}
