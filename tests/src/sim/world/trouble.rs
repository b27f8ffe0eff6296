//! What goes wrong in a world, and how it is mended.

use super::*;

impl World {
    /// The link of a device is cut after so many more bytes.
    pub fn cut_after(&mut self, at: usize, direction: Direction, bytes: u64) {
        let Some(held) = self.devices[at].link.and_then(|link| self.links.get_mut(&link)) else { return };
        let pipe = if direction == Direction::Up { &mut held.up } else { &mut held.down };
        pipe.cut_after = Some(bytes);
        self.count_fault("cut at a byte");
    }

    /// The link of a device looks open while nothing passes in these directions.
    pub fn half_open(&mut self, at: usize, up: bool, down: bool) {
        let Some(held) = self.devices[at].link.and_then(|link| self.links.get_mut(&link)) else { return };
        held.up.is_dead |= up;
        held.down.is_dead |= down;
        self.count_fault(if up && down { "half-open" } else { "one-way" });
    }

    /// The link of a device takes the weather around it.
    pub fn take_weather(&mut self, at: usize) {
        let weather = self.devices[at].weather;
        if let Some(held) = self.devices[at].link.and_then(|link| self.links.get_mut(&link)) {
            for pipe in [&mut held.up, &mut held.down] {
                // What is under way is not overtaken.
                let under_way = pipe.arrived_at();
                (pipe.latency_ms, pipe.rate) = (weather.latency_ms, weather.rate.max(1));
                pipe.hold_until(under_way);
            }
        }
    }

    /// There is no network at a device for a while.
    pub fn go_away(&mut self, at: usize, ms: u64) {
        self.devices[at].weather.is_away = true;
        if let Some(link) = self.devices[at].link {
            self.broken(link, self.now);
        }
        self.later(ms, Happening::NetworkBack(at));
    }

    /// A device opens a new link while the server still holds its old one.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn overlap(&mut self, at: usize) -> Result<()> {
        let Some(link) = self.devices[at].link.take() else { return Ok(()) };
        self.hang_up(link, false);
        self.count_fault("overlapping sessions");
        self.end_link(at, false, Some(0))
    }

    /// A device sleeps.
    pub fn suspend(&mut self, at: usize, ms: u64) {
        let until = self.now + ms;
        self.devices[at].asleep_until = until;
        self.at(until, Happening::Wake(at));
    }

    /// The clock of a device is set.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn set_clock(&mut self, at: usize, ms: i64) -> Result<()> {
        self.devices[at].clock_ms += ms;
        self.woke_up(at)
    }

    pub(super) fn woke_up(&mut self, at: usize) -> Result<()> {
        self.devices[at].backoff.reset();
        if self.devices[at].link.is_some() {
            self.end_link(at, false, Some(0))?;
        }
        self.steer(at)
    }

    /// The disk of a device is full for a while.
    pub fn fill_disk(&mut self, at: usize, room: u64, ms: u64) {
        let bytes = self.devices[at].disk.bytes();
        self.devices[at].disk.set_faults(Faults { bytes_max: Some(bytes + room), ..Faults::default() });
        self.later(ms, Happening::RoomOnDisk(at));
    }

    /// A person presses Sync, also where only a person could go on.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn press_sync(&mut self, at: usize, only: Option<RowKey>) -> Result<()> {
        if self.devices[at].engine.is_none() || self.devices[at].asleep_until > self.now {
            return Ok(());
        }
        let device = &mut self.devices[at];
        device.backoff.reset();
        device.is_blocked = false;
        device.is_syncing = true;
        device.is_waiting = false;
        let only = only.map(|key| [key].into());
        self.with_engine(at, |engine, now_ms| engine.sync(only, now_ms))?;
        self.steer(at)
    }

    /// A person changes the mode.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn set_mode(&mut self, at: usize, mode: Mode) -> Result<()> {
        self.devices[at].mode = mode;
        let automatic = mode == Mode::Automatic;
        self.with_engine(at, |engine, now_ms| {
            engine.set_automatic(automatic);
            engine.go_on(now_ms)
        })?;
        self.steer(at)
    }

    /// Everything that was wrong is mended: the network, the disks, the power, the clocks.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn heal(&mut self) -> Result<()> {
        self.server.poison = None;
        self.server.commit_ms = 1;
        self.server.disk.set_faults(Faults::default());
        self.server.cut_again = None;
        for at in 0..self.devices.len() {
            let device = &mut self.devices[at];
            device.weather = crate::sim::net::Weather::default();
            device.disk.set_faults(Faults::default());
            device.cut_again = None;
            device.cut_behind_commit = false;
            device.asleep_until = 0;
            device.mode = Mode::Manual;
            if let Some(link) = device.link {
                self.broken(link, self.now);
            }
        }
        self.run_until(self.now + 30_000)?;
        for at in 0..self.devices.len() {
            self.boot(at)?;
            self.set_mode(at, Mode::Manual)?;
        }
        Ok(())
    }
}
