//! What lies on the disk beside the stores: it needs no store, and a disk that hangs keeps no window waiting.

use super::{Sink, Tell};
use crate::presenters::values::Language;
use crate::settings::Settings;
use std::path::PathBuf;

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
