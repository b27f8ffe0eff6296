//! Which store a command works on.

use super::failure::{Exit, Failure};
use super::io::Environment;
use crate::handle::Client;
use crate::paths::{STORE_FILE, data_folder, known_stores, owner_of, store_folder};
use crate::store::StoreError;
use crate::url::ServerUrl;
use std::io;
use std::path::{Path, PathBuf};

/// The file in the data folder that names the store of the last login, relative to that folder.
const LAST_LOGIN: &str = "last-login";

/// Where stores are looked for.
pub(super) struct Place {
    /// Named by the person.
    named: Option<PathBuf>,
    data: Option<PathBuf>,
}

/// A store in its own folder.
pub(super) struct Known {
    pub folder: PathBuf,
    pub server: String,
    pub user: String,
}

impl Known {
    fn of(folder: PathBuf) -> Self {
        let (server, user) = owner_of(&folder).unwrap_or_default();
        Self { folder, server, user }
    }

    /// Whose it is, and the words that choose it.
    pub(super) fn words(&self) -> String {
        format!("{} at {}: --store {}", self.user, self.server, quoted(&self.folder))
    }
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

    /// From now on the commands work on this store, unless another one is named.
    pub(super) fn logged_in(&self, file: &Path) -> io::Result<()> {
        let (None, Some(data)) = (&self.named, &self.data) else { return Ok(()) };
        let Some(own) = file.parent().and_then(|folder| folder.strip_prefix(data).ok()) else { return Ok(()) };
        let part = data.join(LAST_LOGIN).with_added_extension("part");
        std::fs::write(&part, own.as_os_str().as_encoded_bytes())?;
        std::fs::rename(&part, data.join(LAST_LOGIN))
    }

    fn last_login(&self) -> Option<PathBuf> {
        let data = self.data.as_ref()?;
        Some(data.join(std::fs::read_to_string(data.join(LAST_LOGIN)).ok()?))
    }

    fn known(&self) -> Result<Vec<PathBuf>, Failure> {
        let Some(data) = &self.data else { return Ok(Vec::new()) };
        known_stores(data).map_err(|error| Failure::failed(format!("{} cannot be read: {error}", data.display())))
    }

    /// The store that is there.
    pub(super) fn existing(&self) -> Result<PathBuf, Failure> {
        if let Some(named) = &self.named {
            let file = named.join(STORE_FILE);
            return if file.is_file() { Ok(file) } else { Err(no_store(&format!(" in {}", named.display()))) };
        }
        let known = self.known()?;
        let last = self.last_login().filter(|last| known.contains(last));
        match (known.as_slice(), last) {
            ([], _) => Err(no_store("")),
            ([only], _) => Ok(only.join(STORE_FILE)),
            (_, Some(last)) => Ok(last.join(STORE_FILE)),
            (several, None) => {
                let list: Vec<String> =
                    several.iter().map(|folder| format!("  {}", Known::of(folder.clone()).words())).collect();
                Err(Failure::usage(format!(
                    "several people have data on this device; say whose, or log in again:\n{}",
                    list.join("\n")
                )))
            }
        }
    }

    /// The stores that a command which names none could also have meant.
    pub(super) fn others(&self, file: &Path) -> Result<Vec<Known>, Failure> {
        if self.named.is_some() {
            return Ok(Vec::new());
        }
        Ok(self.known()?.into_iter().filter(|folder| Some(folder.as_path()) != file.parent()).map(Known::of).collect())
    }

    /// Opens the store that is there.
    pub(super) fn open(&self) -> Result<Client, Failure> {
        open(&self.existing()?)
    }
}

/// Opens a store.
pub(super) fn open(file: &Path) -> Result<Client, Failure> {
    Client::open(file).map_err(|error| match error {
        StoreError::Locked => Failure::failed(
            "the data of this user is open in another Tombolo program: end `tombolo watch` or `tombolo sync --stay`, or close the \
             desktop application, and try again. Nothing was changed",
        ),
        error => error.into(),
    })
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
