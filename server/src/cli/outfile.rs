//! A file that a command makes.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A file that is there whole, or stays as it was: what is written goes beside its place until it is complete. What is no
/// file but has a name (a device, a pipe) is written to directly; it must not be replaced.
pub(super) struct OutFile {
    out: BufWriter<File>,
    /// What is written, and the place that it goes to.
    part: Option<(PathBuf, PathBuf)>,
}

impl OutFile {
    /// Begins the file at a path. A link is followed: what it names is replaced, and not the link.
    ///
    /// # Errors
    /// When the place cannot be written.
    pub(super) fn begin(path: &Path) -> io::Result<Self> {
        let place = match fs::metadata(path) {
            Ok(found) if !found.is_file() => return Ok(Self::direct(File::options().write(true).open(path)?)),
            Ok(_) => fs::canonicalize(path)?,
            // A link to where nothing is yet.
            Err(_) if path.is_symlink() => return Ok(Self::direct(File::create(path)?)),
            Err(_) => path.to_owned(),
        };
        let part = place.with_added_extension("part");
        Ok(Self { out: BufWriter::new(File::create(&part)?), part: Some((part, place)) })
    }

    fn direct(file: File) -> Self {
        Self { out: BufWriter::new(file), part: None }
    }

    /// The file is complete. Without this what was written is removed again.
    ///
    /// # Errors
    /// When it cannot be written; what was there before is there still.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.out.flush()?;
        let Some((part, place)) = &self.part else { return Ok(()) };
        self.out.get_ref().sync_all()?;
        fs::rename(part, place)?;
        self.part = None;
        Ok(())
    }
}

impl Write for OutFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Drop for OutFile {
    fn drop(&mut self) {
        if let Some((part, _)) = self.part.take() {
            // What is left of it would only be in the way.
            let _ = fs::remove_file(part);
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileTypeExt, symlink};

    fn write(path: &Path, text: &str) -> io::Result<()> {
        let mut file = OutFile::begin(path)?;
        file.write_all(text.as_bytes())?;
        file.finish()
    }

    #[test]
    fn a_file_stays_as_it_was_until_the_new_one_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        write(&path, "old").unwrap();
        let mut begun = OutFile::begin(&path).unwrap();
        begun.write_all(b"new").unwrap();
        drop(begun);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        write(&path, "new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_stays_a_link_and_what_it_names_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("target.csv"), folder.path().join("link.csv"));
        symlink(&target, &link).unwrap();
        for text in ["first, where nothing was", "second"] {
            write(&link, text).unwrap();
            assert!(link.is_symlink());
            assert_eq!(fs::read(&target).unwrap(), text.as_bytes());
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_is_no_file_is_written_to_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let path = pipe.clone();
        let reader = std::thread::spawn(move || fs::read(path).unwrap());
        write(&pipe, "through").unwrap();
        assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
        assert_eq!(reader.join().unwrap(), b"through");
        assert!(write(folder.path(), "a folder").is_err());
    }
}
