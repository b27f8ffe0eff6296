//! Which store a command works on.

use super::failure::{Exit, Failure};
use super::io::Environment;
use crate::handle::Client;
use crate::paths::{STORE_FILE, data_folder, known_stores, store_folder};
use crate::url::ServerUrl;
use std::path::{Path, PathBuf};

/// Where stores are looked for.
pub(super) struct Place {
    /// Named by the person.
    named: Option<PathBuf>,
    data: Option<PathBuf>,
}

impl Place {
    pub(super) fn new(store: Option<PathBuf>, environment: &Environment) -> Self {
        Self { named: store.or_else(|| environment.store.clone()), data: environment.data.clone().or_else(data_folder) }
    }

    /// The store of a login, which may be new.
    pub(super) fn for_login(&self, url: &ServerUrl, user: &str) -> Result<PathBuf, Failure> {
        let folder = match (&self.named, &self.data) {
            (Some(named), _) => named.clone(),
            (None, Some(data)) => store_folder(data, url, user),
            (None, None) => return Err(Failure::failed("this system names no folder for data; name one with --store DIR")),
        };
        Ok(folder.join(STORE_FILE))
    }

    /// The store that is there.
    pub(super) fn existing(&self) -> Result<PathBuf, Failure> {
        if let Some(named) = &self.named {
            let file = named.join(STORE_FILE);
            return if file.is_file() { Ok(file) } else { Err(no_store(&format!(" in {}", named.display()))) };
        }
        let known = match &self.data {
            Some(data) => {
                known_stores(data).map_err(|error| Failure::failed(format!("{} cannot be read: {error}", data.display())))?
            }
            None => Vec::new(),
        };
        match known.as_slice() {
            [] => Err(no_store("")),
            [only] => Ok(only.join(STORE_FILE)),
            several => {
                let list: Vec<String> = several.iter().map(|folder| format!("  --store {}", quoted(folder))).collect();
                Err(Failure::usage(format!("there are several stores on this device; say which one:\n{}", list.join("\n"))))
            }
        }
    }

    /// Opens the store that is there.
    pub(super) fn open(&self) -> Result<Client, Failure> {
        Ok(Client::open(&self.existing()?)?)
    }
}

fn no_store(place: &str) -> Failure {
    let message =
        format!("there is no data on this device yet{place}; log in first: tombolo login URL --user NAME --password-stdin");
    Failure::new(Exit::Login, message)
}

fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    if text.contains(' ') { format!("'{text}'") } else { text }
}
