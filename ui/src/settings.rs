//! What a person chose, kept beside the stores.

use crate::presenters::pace::Pace;
use crate::presenters::values::Language;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;
use tombolo_client::Mode;

const FILE: &str = "desktop.json";

/// What a person chose.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// The window's language.
    pub language: Language,
    /// 0 like the system, 1 light, 2 dark.
    pub theme: u8,
    /// 0 normal, 1 larger by a quarter, 2 by a half, 3 double.
    pub text_size: u8,
    /// When to sync: 0 manual, 1 automatic, 2 metered.
    pub mode: u8,
    /// What a conflict chooses beforehand where the schema leaves it open: 0 nothing, 1 mine, 2 the server's.
    pub conflict_default: u8,
    /// The server of the last sign-in.
    pub address: String,
    /// The user of the last sign-in.
    pub name: String,
    /// The folder of its store.
    pub store: String,
    /// What people call this device, as it was typed at a sign-in.
    pub device: String,
    /// How quick the connection was, to foretell the next sync.
    pub pace: Pace,
}

impl Settings {
    /// Those of a new installation.
    pub fn new(language: Language) -> Self {
        Self { language, ..Self::default() }
    }

    /// Those that were kept in a folder; without any, those of a new installation in this language.
    pub fn read(folder: &Path, language: Language) -> Self {
        let kept = fs::read(folder.join(FILE)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        kept.unwrap_or_else(|| Self::new(language))
    }

    /// Keeps them.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, folder: &Path) -> std::io::Result<()> {
        fs::create_dir_all(folder)?;
        let new = folder.join(FILE).with_extension("new");
        fs::write(&new, serde_json::to_vec_pretty(self)?)?;
        fs::rename(new, folder.join(FILE))
    }

    /// The text size as a factor.
    pub fn scale(&self) -> f32 {
        [1.0, 1.25, 1.5, 2.0][usize::from(self.text_size.min(3))]
    }

    /// The client's mode.
    pub fn client_mode(&self) -> Mode {
        match self.mode {
            1 => Mode::Automatic,
            2 => Mode::Metered,
            _ => Mode::Manual,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_chosen_is_there_again_and_a_damaged_file_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let new = Settings::new(Language::French);
        assert_eq!(Settings::read(folder.path(), Language::French), new);
        let settings = Settings { language: Language::Swahili, text_size: 3, store: "x".into(), ..Settings::default() };
        settings.write(folder.path()).unwrap();
        assert_eq!(Settings::read(folder.path(), Language::French), settings);
        fs::write(folder.path().join(FILE), b"{").unwrap();
        assert_eq!(Settings::read(folder.path(), Language::French), new);
    }
}
