//! What a command reads and writes, so that commands run without a process in tests.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Where a command reads and writes.
pub struct Io<'a> {
    /// Standard input.
    pub stdin: &'a mut dyn Read,
    /// Standard output.
    pub out: &'a mut dyn Write,
    /// Standard error.
    pub err: &'a mut dyn Write,
    /// What surrounds the process.
    pub environment: Environment,
}

/// What surrounds the process.
#[derive(Clone, Default, Debug)]
pub struct Environment {
    /// The folder of the store, where the person's environment names one.
    pub store: Option<PathBuf>,
    /// The folder under which stores are kept; that of the platform without it.
    pub data: Option<PathBuf>,
    /// Somebody looks at standard error: progress is shown there.
    pub shows_progress: bool,
    /// Interrupts end a command in good order instead of killing it.
    pub heeds_interrupts: bool,
}

/// The name that stands for standard input and standard output.
pub(super) const STANDARD: &str = "-";

impl Io<'_> {
    /// All of a file, or of standard input.
    pub(super) fn read(&mut self, file: &Path) -> io::Result<Vec<u8>> {
        if file != Path::new(STANDARD) {
            return std::fs::read(file);
        }
        let mut bytes = Vec::new();
        self.stdin.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// One JSON object as a line.
    pub(super) fn json(&mut self, object: &serde_json::Value) -> io::Result<()> {
        writeln!(self.out, "{object}")
    }

    /// Something that a person should know and a script need not read.
    pub(super) fn note(&mut self, text: &str) {
        // If nobody reads it, nobody misses it.
        let _ = writeln!(self.err, "{text}");
    }
}
