//! A disk in memory that can be copied, so that a test can copy a client's store or put a server's folder back.

use redb::StorageBackend;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A file in memory; clones are the same file.
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<Mutex<Vec<u8>>>);

impl Disk {
    /// Another file with the same content.
    pub fn copy(&self) -> Self {
        Self(Arc::new(Mutex::new(self.bytes().clone())))
    }

    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn out_of_file() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "outside of the file")
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let (begin, bytes) = (offset as usize, self.bytes());
        let range = begin..begin.saturating_add(out.len());
        out.copy_from_slice(bytes.get(range).ok_or_else(out_of_file)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.bytes().resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let (begin, mut bytes) = (offset as usize, self.bytes());
        let range = begin..begin.saturating_add(data.len());
        bytes.get_mut(range).ok_or_else(out_of_file)?.copy_from_slice(data);
        Ok(())
    }
}
