//! Disks without room: a limit on what files may grow to, and a small file system in memory. Linux only.

use anyhow::{Context, Result};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Limits what files of a running process may grow to, or takes the limit away.
///
/// # Errors
/// When the system refuses that.
pub fn limit_files_of(pid: u32, bytes: Option<u64>) -> Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("no process has this id")?;
    prlimit(Some(pid), Resource::Fsize, soft(bytes)).context("a file size limit")?;
    Ok(())
}

/// Does something, such as starting a program, that inherits a limit on what files may grow to.
///
/// # Errors
/// When the system refuses that, or as `act` says.
pub fn with_limited_files<R>(bytes: u64, act: impl FnOnce() -> Result<R>) -> Result<R> {
    let before = getrlimit(Resource::Fsize);
    setrlimit(Resource::Fsize, soft(Some(bytes)))?;
    let done = act();
    setrlimit(Resource::Fsize, before)?;
    done
}

/// A soft limit: it can be taken away again.
fn soft(bytes: Option<u64>) -> Rlimit {
    let maximum = getrlimit(Resource::Fsize).maximum;
    Rlimit { current: bytes.or(maximum), maximum }
}

/// A file system in memory that holds so much and no more. Dropped, it is gone.
#[derive(Debug)]
pub struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// A file system of so many MiB.
    ///
    /// # Errors
    /// When the machine does not allow it, as to anybody but root.
    pub fn mount(mebibytes: u32) -> Result<Self> {
        let folder = TempDir::new()?;
        let size = std::ffi::CString::new(format!("size={mebibytes}m"))?;
        mount("tmpfs", folder.path(), "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, size.as_c_str())?;
        Ok(Self { folder })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }

    /// Takes all the room there is.
    ///
    /// # Errors
    /// When something else fails.
    pub fn fill(&self) -> Result<()> {
        let mut file = File::options().create(true).append(true).open(self.ballast())?;
        for block in [1 << 16, 1 << 12] {
            let zeros = vec![0; block];
            loop {
                match file.write_all(&zeros) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// Gives it back.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn free(&self) -> Result<()> {
        Ok(fs::remove_file(self.ballast())?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Whoever is still in it goes on until they leave.
        let _ = unmount(self.folder.path(), UnmountFlags::DETACH);
    }
}
