//! What is done on the disk without an open store. Each has a thread of its own: a disk that hangs keeps no window waiting.

use super::{Sink, Tell, Trouble};
use crate::presenters::values::Language;
use crate::settings::Settings;
use jiff::Timestamp;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Reads what a person chose, in the language of a new installation where that is nothing. Told with [`Tell::Kept`].
pub fn recall(folder: PathBuf, language: Language, sink: Sink) {
    let told = sink.clone();
    let started = std::thread::Builder::new().name("tombolo-settings".to_owned()).spawn(move || {
        told(Tell::Kept(Box::new(Settings::read(&folder, language)), export_folder()));
    });
    if started.is_err() {
        // The system is out of threads: the window begins as a new one.
        sink(Tell::Kept(Box::new(Settings::new(language)), PathBuf::from(EXPORT)));
    }
}

const EXPORT: &str = "tombolo-export";

/// Where an export is offered to go: among the person's documents.
fn export_folder() -> PathBuf {
    let dirs = directories::UserDirs::new();
    dirs.map_or_else(|| PathBuf::from(EXPORT), |dirs| dirs.document_dir().unwrap_or(dirs.home_dir()).join(EXPORT))
}

/// A data file that cannot be opened is kept beside, with all that may be in it, so that another one can be begun. Told with
/// [`Tell::SetAside`], or [`Tell::Trouble`].
pub fn set_aside(file: PathBuf, sink: Sink) {
    let told = sink.clone();
    let started = std::thread::Builder::new().name("tombolo-aside".to_owned()).spawn(move || told(put_aside(&file)));
    if let Err(error) = started {
        sink(Tell::Trouble(Trouble::Other(error.to_string())));
    }
}

/// As [`set_aside`], on the thread that it is called on.
pub(super) fn put_aside(file: &Path) -> Tell {
    let aside = file.with_extension(Timestamp::now().strftime("%Y-%m-%d-%H%M%S-%3f.aside").to_string());
    // What was put aside a moment ago is not replaced.
    let moved = if aside.exists() { Err(ErrorKind::AlreadyExists.into()) } else { std::fs::rename(file, &aside) };
    match moved {
        Ok(()) => Tell::SetAside(aside.display().to_string()),
        Err(error) => Tell::Trouble(Trouble::with_file(file, &error)),
    }
}
