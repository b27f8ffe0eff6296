//! Disks that are full: what a program accepted stays, what it refuses it says, and it goes on when there is room again.

use super::{Context, DEVICES, Duration, Output, Path, Result, Scene, Total, let_time_pass};
use tombolo_tests::process::spawn_tombolo;
use tombolo_tests::room::{SmallDisk, limit_files_of, with_limited_files};

/// Rows that are made before a disk must have been full.
const ROWS_MAX: usize = 250;
const ROW_BYTES: usize = 3_900;
/// Syncs in which a program must have noticed that there is room again.
const SYNCS_MAX: usize = 60;
/// The small file system: the stores of a round, with some room.
const MOUNT_MIB: u32 = 96;

/// Where there is no room.
enum Full<'d> {
    /// Files of the server do not grow.
    Server,
    /// Files of the device do not grow.
    Device,
    /// The file system of all is full.
    Disk(&'d SmallDisk),
}

/// Rounds in which files may not grow.
pub(super) fn by_limit(scene: &mut Scene, rounds: u64) -> Result<()> {
    for round in 0..rounds {
        scene.total.full_limit += 1;
        scene.full_round(if round % 2 == 0 { Full::Server } else { Full::Device })?;
    }
    Ok(())
}

/// Rounds on a file system that is full, with a scene of their own. Skipped, and said so, where a mount is not permitted.
pub(super) fn on_a_small_mount(seed: u64, rounds: u64, total: Total) -> Result<Total> {
    let disk = match SmallDisk::mount(MOUNT_MIB) {
        Ok(disk) => disk,
        Err(error) => {
            eprintln!("full disks on a small mount are skipped: {error}");
            return Ok(total);
        }
    };
    let mut scene = Scene::new(disk.path().to_owned(), seed, total)?;
    for _ in 0..rounds {
        scene.total.full_mount += 1;
        scene.full_round(Full::Disk(&disk))?;
    }
    scene.come_right()
}

impl Scene {
    /// There is no room while a device makes rows and syncs; then there is room again.
    fn full_round(&mut self, full: Full<'_>) -> Result<()> {
        let device = self.rng.index(DEVICES);
        let server = self.server.as_ref().context("no server")?.pid();
        let limit = match full {
            Full::Server => {
                limit_files_of(server, Some(largest(&self.folder.join("data"))?))?;
                None
            }
            Full::Device => Some(largest(&self.store(device))?),
            Full::Disk(disk) => {
                disk.fill()?;
                None
            }
        };
        for _ in 0..ROWS_MAX {
            if !self.make_large_row(device, limit)? {
                self.total.full_edits_refused += 1;
                break;
            }
        }
        let synced = self.without_room(device, &["sync", "--json"], limit)?;
        self.total.full_syncs_failed += u64::from(!matches!(synced.code, Some(0 | 3)));
        match full {
            Full::Server => limit_files_of(server, None)?,
            Full::Device => {}
            Full::Disk(disk) => disk.free()?,
        }
        for _ in 0..SYNCS_MAX {
            if matches!(self.tombolo(device, &["sync", "--json"])?.code, Some(0 | 3)) {
                return Ok(());
            }
            let_time_pass(Duration::from_millis(250));
        }
        self.total.full_broken += 1;
        eprintln!("device {device} does not sync although there is room again");
        Ok(())
    }

    /// Whether a device accepted a row that needs room.
    fn make_large_row(&mut self, device: usize, limit: Option<u64>) -> Result<bool> {
        self.value += 1;
        let value = format!("v{}-{}", self.value, "x".repeat(ROW_BYTES));
        let (name, notes) = (format!("name=large {}", self.value), format!("notes={value}"));
        let made = self.without_room(device, &["create", "patients", &name, "site=Kilifi", &notes], limit)?;
        if made.code == Some(0) {
            self.total.edits += 1;
            self.standing.insert((usize::try_from(self.value)?, device), value);
            return Ok(true);
        }
        if !made.stderr.contains("the disk is full") {
            self.total.full_broken += 1;
            eprintln!("a full disk is not told as such: {}", made.stderr);
        }
        Ok(false)
    }

    fn without_room(&mut self, device: usize, args: &[&str], limit: Option<u64>) -> Result<Output> {
        let store = self.store(device);
        let start = || spawn_tombolo(&store, args, "");
        let running = limit.map_or_else(start, |limit| with_limited_files(limit, start))?;
        let done = running.wait()?;
        if done.code.is_none_or(|code| code == 101) {
            self.total.full_broken += 1;
            eprintln!("`tombolo {}` ended with {:?}: {}", args[0], done.code, done.stderr);
        }
        Ok(done)
    }
}

/// The size of the largest file in a folder.
fn largest(folder: &Path) -> Result<u64> {
    let mut largest = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let of = if entry.file_type()?.is_dir() { self::largest(&entry.path())? } else { entry.metadata()?.len() };
        largest = largest.max(of);
    }
    Ok(largest)
}
