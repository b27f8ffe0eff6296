//! Why a command failed: what happened, what it means for the data, what to do.

use crate::control::Refused;
use crate::net::{FolderError, StartError};
use crate::passwords::PasswordError;
use crate::store::StoreError;
use std::fmt::Display;
use std::io;
use std::path::Path;

/// A sentence for the person at the terminal.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) message: String,
    /// 1, or 2 where a word of the command line cannot be.
    pub(super) exit: u8,
}

impl Failure {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), exit: 1 }
    }

    /// The same, said of a file.
    pub(super) fn about(self, path: &Path) -> Self {
        Self { message: format!("{}: {}", path.display(), self.message), ..self }
    }

    /// A file that was to be read.
    pub(super) fn unreadable(path: &Path, error: &io::Error) -> Self {
        Self::new(format!("{} cannot be read ({error}): nothing was done. Check the path and its rights", path.display()))
    }

    /// A file that was to be written.
    pub(super) fn unwritable(path: &Path, error: &io::Error) -> Self {
        Self::new(format!("{} cannot be written ({error}): what there is of it is not complete", path.display()))
    }
}

/// Errors that are sentences already.
macro_rules! worded {
    ($($error:ty),+) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                worded(&error)
            }
        })+
    };
}
worded!(FolderError, StartError, PasswordError, StoreError);

impl From<Refused> for Failure {
    fn from(Refused { message, usage }: Refused) -> Self {
        Self { message, exit: if usage { 2 } else { 1 } }
    }
}

fn worded(error: &impl Display) -> Failure {
    Failure::new(error.to_string())
}
