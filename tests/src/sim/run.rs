//! Plays a plan: everything that goes wrong, and then everything that has to come right.

use super::device::Device;
use super::net::Weather;
use super::oracles::Broken;
use super::plan::{DEVICES_MAX, Plan, Step};
use super::world::{Counts, World};
use crate::disk::Faults;
use anyhow::Result;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tombolo_client::protocol::commit::Offer;
use tombolo_client::protocol::ids::UserId;
use tombolo_client::protocol::schema::Role;
use tombolo_client::view;
use tombolo_server::store::Store as ServerStore;
use tombolo_server::verify::{unwatched, verify};
use tombolo_server::workspace::Job;

/// Rounds in which everything must have come right.
const ROUNDS: usize = 24;
/// A sync of the healed world takes less than this, in milliseconds.
const ROUND_MS: u64 = 15 * 60 * 1000;

/// How a run ended.
#[derive(Debug)]
pub struct Run {
    /// What was counted.
    pub counts: Counts,
    /// The trace, as a number.
    pub trace: u64,
    /// The lines of the trace, where they were wanted.
    pub lines: Vec<String>,
    /// Disk operations of the first device and of the server, while the plan was played.
    pub operations: (u64, u64),
    /// What did not hold.
    pub failure: Option<Failure>,
}

/// What did not hold in a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The oracle, or `panic`, or `error`.
    pub oracle: String,
    /// What it saw.
    pub what: String,
}

impl Failure {
    fn of(error: &anyhow::Error) -> Self {
        match error.downcast_ref::<Broken>() {
            Some(broken) => Self { oracle: broken.oracle.to_owned(), what: broken.what.clone() },
            None => Self { oracle: "error".to_owned(), what: format!("{error:#}") },
        }
    }
}

/// Plays a plan. With `lines` the trace is kept to be read.
pub fn play(plan: &Plan, lines: bool) -> Run {
    let mut world = match caught(|| World::new(plan.seed, &plan.knobs)) {
        Ok(world) => world,
        Err(failure) => {
            let failure = Some(failure);
            return Run { counts: Counts::default(), trace: 0, lines: Vec::new(), operations: (0, 0), failure };
        }
    };
    world.lines = lines.then(Vec::new);
    let failure = caught(|| world.live(plan).and_then(|()| world.come_right())).err();
    world.counts.commits = world.server.workspace().map_or(0, |workspace| workspace.head().seq.0);
    world.counts.verdicts = std::mem::take(&mut world.oracles.verdicts);
    let trace = world.trace();
    let operations = world.operations;
    Run { counts: world.counts, trace, lines: world.lines.take().unwrap_or_default(), operations, failure }
}

/// What comes of something; a panic is a failure like others.
fn caught<R>(what: impl FnOnce() -> Result<R>) -> Result<R, Failure> {
    match catch_unwind(AssertUnwindSafe(what)) {
        Ok(done) => done.map_err(|error| Failure::of(&error)),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned().or(panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
            Err(Failure { oracle: "panic".to_owned(), what: text.unwrap_or_default() })
        }
    }
}

impl World {
    /// Plays the steps of a plan.
    fn live(&mut self, plan: &Plan) -> Result<()> {
        for timed in &plan.steps {
            self.run_until(timed.at_ms)?;
            self.rest()?;
            self.say(|| format!("-- {:?}", timed.step));
            self.step(&timed.step)?;
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<()> {
        let devices = self.devices.len();
        match *step {
            Step::Person(at, ref act) => return self.person(at % devices, act),
            Step::CutAfter(at, direction, bytes) => self.cut_after(at % devices, direction, bytes),
            Step::CutBehindCommit(at) => self.devices[at % devices].cut_behind_commit = true,
            Step::HalfOpen(at, up, down) => self.half_open(at % devices, up, down),
            Step::Weather(at, latency_ms, rate) => {
                let at = at % devices;
                let weather = self.devices[at].weather;
                self.devices[at].weather = Weather { latency_ms, rate, ..weather };
                self.take_weather(at);
                self.count_fault(if rate <= 1 { "a byte a second" } else { "slow or late link" });
            }
            Step::Away(at, ms) => {
                self.go_away(at % devices, ms);
                self.count_fault("no network");
            }
            Step::Portal(at, attempts) => {
                self.devices[at % devices].weather.portals = attempts;
                self.count_fault("something else answers");
            }
            Step::Overlap(at) => return self.overlap(at % devices),
            Step::ClientPower(at, operations, again) => {
                let device = &mut self.devices[at % devices];
                let at = device.disk.operations() + operations;
                device.disk.set_faults(Faults { power_cut_at: Some(at), ..Faults::default() });
                device.cut_again = again;
                self.count_fault("client power cut");
            }
            Step::ClientDiskError(at, operations) => {
                let disk = &self.devices[at % devices].disk;
                let at = disk.operations() + operations;
                disk.set_faults(Faults { error_at: Some(at), ..Faults::default() });
                self.count_fault("client disk error");
            }
            Step::ClientDiskFull(at, room, ms) => {
                self.fill_disk(at % devices, room, ms);
                self.count_fault("client disk full");
            }
            Step::Suspend(at, ms) => {
                self.suspend(at % devices, ms);
                self.count_fault("suspend");
            }
            Step::Clock(at, ms) => {
                self.count_fault("clock set");
                return self.set_clock(at % devices, ms);
            }
            Step::Copy(at) if devices < DEVICES_MAX => return self.copy(at % devices),
            Step::Copy(_) => {}
            Step::ClientBackup(at) => {
                let device = &mut self.devices[at % devices];
                if device.engine.is_some() {
                    device.backup = Some(device.disk.copy());
                }
            }
            Step::ClientPutBack(at) => self.client_put_back(at % devices),
            Step::ServerPower(operations, again) => {
                let at = self.server.disk.operations() + operations;
                self.server.disk.set_faults(Faults { power_cut_at: Some(at), ..Faults::default() });
                self.server.cut_again = again;
                self.count_fault("server power cut");
            }
            Step::ServerDiskError(operations) => {
                let at = self.server.disk.operations() + operations;
                self.server.disk.set_faults(Faults { error_at: Some(at), ..Faults::default() });
                self.count_fault("server disk error");
            }
            Step::ServerRestart(ms) => {
                if self.server.is_up() {
                    self.say_restarting(2_000)?;
                    let disk = self.server.disk.clone();
                    self.stop_server(disk);
                    self.server_up_after(ms);
                    self.count_fault("server restart");
                }
            }
            Step::ServerBackup => {
                if self.server.is_up() {
                    self.server.backup = Some(self.server.disk.copy());
                }
            }
            Step::ServerPutBack(choice) => return self.server_put_back(choice),
            Step::SlowCommits(ms) => {
                self.server.commit_ms = ms;
                self.count_fault("slow commits");
            }
            Step::SchemaGrows => return self.grow_schema(),
            Step::Grant(user, bits) => {
                let role = self.oracles.rights.get(&user).map_or(Role::Editor, |(_, role)| *role);
                self.count_fault("rights changed");
                let bits = if bits == 7 { u8::MAX } else { bits };
                return self.grant(user, bits, role);
            }
            Step::Role(user, viewer) => {
                let bits = self.oracles.rights.get(&user).map_or(u8::MAX, |(bits, _)| *bits);
                self.count_fault("rights changed");
                return self.grant(user, bits, if viewer { Role::Viewer } else { Role::Editor });
            }
            Step::Poison(row) => {
                self.server.poison = row.and_then(|row| self.row(row));
            }
            Step::Purge(row) => {
                if let Some(key) = self.row(row) {
                    self.operate(Job::Purge { by: UserId::default(), rows: vec![key] })?;
                }
            }
            Step::Revoke(at) => {
                self.count_fault("device revoked");
                return self.revoke(at % devices);
            }
            Step::Compact(back) => return self.compact(back),
        }
        Ok(())
    }

    /// The folder of a device is copied to another computer.
    fn copy(&mut self, of: usize) -> Result<()> {
        let device = &self.devices[of];
        if device.engine.is_none() {
            return Ok(());
        }
        let copy = Device::new(device.disk.copy(), device.user, device.user_index);
        self.devices.push(copy);
        let at = self.devices.len() - 1;
        self.oracles.ledger.copied(of, at);
        self.count_fault("store copied");
        self.boot(at)
    }

    fn client_put_back(&mut self, at: usize) {
        let Some(backup) = self.devices[at].backup.clone() else { return };
        self.kill(at);
        self.devices[at].disk = backup.copy();
        self.oracles.client_put_back(at);
        self.count_fault("store put back");
    }

    /// The server's folder of an earlier day is put back, and the operator says what is to become of what it lost.
    fn server_put_back(&mut self, choice: u8) -> Result<()> {
        let Some(backup) = &self.server.backup else { return Ok(()) };
        let disk = backup.copy();
        self.stop_server(disk.clone());
        self.oracles.server_put_back();
        self.count_fault("server put back");
        self.server.disk = disk;
        self.server_up_now()?;
        let offer = match choice {
            1 => Offer::Yes,
            2 => Offer::Ask,
            _ => return self.propose_schema(),
        };
        self.operate(Job::Restore { by: UserId::default(), offer })?;
        self.propose_schema()
    }

    /// The schema file lies beside the server, and is proposed at every start.
    fn propose_schema(&mut self) -> Result<()> {
        let text = self.schemas.versions[self.schema_version].clone();
        self.operate(Job::Schema { by: UserId::default(), text }).map(drop)
    }

    fn grow_schema(&mut self) -> Result<()> {
        if self.schema_version + 1 >= self.schemas.versions.len() {
            return Ok(());
        }
        self.schema_version += 1;
        self.count_fault("schema grew");
        self.propose_schema()
    }

    // ---- after the faults ----

    /// Everything is mended, people decide what waits for them, and then all must be quiet, equal and empty.
    fn come_right(&mut self) -> Result<()> {
        self.operations = (self.devices[0].disk.operations(), self.server.disk.operations());
        self.say(|| "== everything is mended".to_owned());
        self.heal()?;
        // A power cut that was due while the server came up is the last one.
        for _ in 0..ROUNDS {
            if !self.server.is_up() {
                self.run_until(self.now + 30_000)?;
            }
        }
        if !self.server.is_up() {
            return Err(Broken::new("opens", "the server's store does not open any more"));
        }
        self.propose_schema()?;
        for round in 0..ROUNDS {
            let head = self.server.workspace()?.head();
            for at in 0..self.devices.len() {
                self.press_sync(at, None)?;
                let end = self.now + ROUND_MS;
                while self.devices[at].is_syncing && self.next_at().is_some_and(|at| at <= end) {
                    self.play_next()?;
                }
                if self.devices[at].is_syncing && round > 2 {
                    return Err(Broken::new(
                        "wedge",
                        format!("the sync of device {at} does not end: {}", self.standing_of(at)),
                    ));
                }
            }
            self.rest()?;
            let mut quiet = self.server.workspace()?.head() == head;
            for at in 0..self.devices.len() {
                quiet &= self.decide_all(at)?;
            }
            if quiet {
                return self.all_is_well();
            }
        }
        let standing: Vec<String> = (0..self.devices.len()).map(|at| self.standing_of(at)).collect();
        Err(Broken::new("wedge", format!("it does not come to rest: {standing:#?}")))
    }

    fn standing_of(&self, at: usize) -> String {
        let Some(engine) = &self.devices[at].engine else { return format!("device {at} is down") };
        let pending = engine.schema().and_then(|schema| view::pending(&engine.store().read().ok()?, schema).ok());
        format!("device {at}: {:?}, {:?}, pending {pending:#?}", engine.phase(), engine.cursors())
    }

    /// The person at a device looks at everything that waits. Returns whether nothing did, and nothing is pending.
    fn decide_all(&mut self, at: usize) -> Result<bool> {
        let Some(schema) = self.devices[at].engine.as_ref().and_then(|engine| engine.schema().cloned()) else {
            return Ok(true);
        };
        for conflict in self.conflicts(at, &schema)? {
            let how = self.rng.below(8) as u8;
            self.ids_for_people += 1;
            let value = 1_000_000 + self.ids_for_people;
            self.decide(at, &schema, &conflict, how, value)?;
        }
        let open: Vec<_> = self.conflicts(at, &schema)?.into_iter().map(|conflict| conflict.key).collect();
        let Some(engine) = &self.devices[at].engine else { return Ok(false) };
        let pending = view::pending(&engine.store().read()?, &schema)?;
        for waiting in pending.iter().filter(|pending| !open.contains(&pending.key)) {
            if waiting.change.review.is_some() {
                self.discard(at, waiting.key)?;
            }
        }
        Ok(pending.is_empty())
    }

    fn all_is_well(&mut self) -> Result<()> {
        let snapshot = self.server.workspace()?.store().snapshot()?;
        for at in 0..self.devices.len() {
            if let Some(engine) = &self.devices[at].engine {
                self.oracles.at_the_end(at, engine, &snapshot)?;
            }
        }
        let ids =
            self.devices.iter().map(|device| device.engine.as_ref().and_then(|engine| engine.account()).map(|it| it.device));
        self.oracles.whole(&snapshot, ids.enumerate().filter_map(|(store, id)| Some((store, id?))))?;
        drop(snapshot);
        let report = verify(self.server.workspace()?.store(), &ServerStore::in_memory()?, &mut unwatched)?;
        if report.is_sound() { Ok(()) } else { Err(Broken::new("verify", format!("{report:?}"))) }
    }
}
