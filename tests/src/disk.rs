//! A disk in memory that can be copied, filled, broken and torn: what a store survives is tried on it.
//!
//! Writes go into a cache, as they do in an operating system, and become durable when they are synced. A power cut keeps what
//! is durable and any part of the rest, sector by sector and in no order.

use crate::sim::rng::Rng;
use redb::StorageBackend;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// What goes wrong. Operations are writes, changes of length and syncs, counted from 1.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// The power goes at this operation, before it is done; nothing works after it.
    pub power_cut_at: Option<u64>,
    /// This operation fails; those after it work.
    pub error_at: Option<u64>,
    /// The file cannot become longer than this.
    pub bytes_max: Option<u64>,
}

/// A file in memory; clones are the same file.
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    cached: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Write>,
    operations: u64,
    faults: Faults,
    dark: bool,
    /// Syncs say that they are done and do nothing.
    lies: bool,
}

#[derive(Clone, Debug)]
enum Write {
    Bytes { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

/// How often a power cut did what to writes that were not synced.
#[derive(Clone, Copy, Debug, Default)]
pub struct CutCounts {
    /// Lost whole.
    pub lost: u64,
    /// Written in part.
    pub torn: u64,
    /// Written whole.
    pub whole: u64,
}

impl Disk {
    /// Another file with the same content, synced: what a copy of the file is.
    pub fn copy(&self) -> Self {
        let content = self.state().cached.clone();
        Self(Arc::new(Mutex::new(State { durable: content.clone(), cached: content, ..State::default() })))
    }

    /// A disk whose syncs say that they are done and do nothing. What is found after a power cut on it is such a disk again.
    pub fn lying() -> Self {
        Self(Arc::new(Mutex::new(State { lies: true, ..State::default() })))
    }

    /// What may go wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Operations so far.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Whether the power is gone.
    pub fn is_dark(&self) -> bool {
        self.state().dark
    }

    /// Length of the file in bytes.
    pub fn bytes(&self) -> u64 {
        self.state().cached.len() as u64
    }

    /// What is found after a power cut: everything that was synced, and of each other write nothing, some sectors, or all.
    pub fn after_power_cut(&self, rng: &mut Rng) -> (Self, CutCounts) {
        let state = self.state();
        let (mut content, mut counts) = (state.durable.clone(), CutCounts::default());
        for write in &state.unsynced {
            match write {
                Write::Length(length) if rng.chance(1, 2) => content.resize(*length, 0),
                Write::Length(_) => {}
                Write::Bytes { offset, bytes } => {
                    let kept: Vec<bool> = match rng.below(3) {
                        0 => vec![false; bytes.len().div_ceil(SECTOR)],
                        1 => vec![true; bytes.len().div_ceil(SECTOR)],
                        _ => (0..bytes.len().div_ceil(SECTOR)).map(|_| rng.chance(1, 2)).collect(),
                    };
                    match kept.iter().filter(|kept| **kept).count() {
                        0 => counts.lost += 1,
                        n if n == kept.len() => counts.whole += 1,
                        _ => counts.torn += 1,
                    }
                    for (sector, _) in kept.iter().enumerate().filter(|(_, kept)| **kept) {
                        let part = &bytes[sector * SECTOR..bytes.len().min((sector + 1) * SECTOR)];
                        let begin = offset + sector * SECTOR;
                        if content.len() < begin + part.len() {
                            content.resize(begin + part.len(), 0);
                        }
                        content[begin..begin + part.len()].copy_from_slice(part);
                    }
                }
            }
        }
        let state = State { durable: content.clone(), cached: content, lies: state.lies, ..State::default() };
        (Self(Arc::new(Mutex::new(state))), counts)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts an operation, and says whether it may be done.
    fn operate(&mut self) -> io::Result<()> {
        self.look()?;
        self.operations += 1;
        if self.faults.power_cut_at.is_some_and(|at| self.operations >= at) {
            self.dark = true;
            return Err(dark());
        }
        if self.faults.error_at == Some(self.operations) {
            return Err(io::Error::other("a simulated error of the disk"));
        }
        Ok(())
    }

    fn look(&self) -> io::Result<()> {
        if self.dark { Err(dark()) } else { Ok(()) }
    }
}

fn dark() -> io::Error {
    io::Error::other("the power is gone")
}

fn out_of_file() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "outside of the file")
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        let state = self.state();
        state.look()?;
        Ok(state.cached.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let (begin, state) = (offset as usize, self.state());
        state.look()?;
        let range = begin..begin.saturating_add(out.len());
        out.copy_from_slice(state.cached.get(range).ok_or_else(out_of_file)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        if state.faults.bytes_max.is_some_and(|max| len > max && len > state.cached.len() as u64) {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "a simulated full disk"));
        }
        state.cached.resize(len as usize, 0);
        state.unsynced.push(Write::Length(len as usize));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        if state.lies {
            return Ok(());
        }
        for write in std::mem::take(&mut state.unsynced) {
            match write {
                Write::Length(length) => state.durable.resize(length, 0),
                Write::Bytes { offset, bytes } => state.durable[offset..offset + bytes.len()].copy_from_slice(&bytes),
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let (begin, mut state) = (offset as usize, self.state());
        state.operate()?;
        let range = begin..begin.saturating_add(data.len());
        state.cached.get_mut(range).ok_or_else(out_of_file)?.copy_from_slice(data);
        state.unsynced.push(Write::Bytes { offset: begin, bytes: data.to_vec() });
        Ok(())
    }
}
