//! Random worlds: people edit, delete, restore and decide on three devices while links are cut at any frame, answers get lost,
//! processes are killed, stores are copied and the server's folder is put back. Then everything heals, and it must be quiet,
//! equal and complete: no edit lost, nothing waiting but for a person.

use crate::worlds::{Clinic, clinic};
use anyhow::{Context, Result, bail, ensure};
use std::collections::{BTreeMap, BTreeSet};
use tombolo_client::LocalError;
use tombolo_client::protocol::commit::CommitBody;
use tombolo_client::protocol::ids::{RowKey, Seq};
use tombolo_client::protocol::outbox::{Resolution, Seen};
use tombolo_client::protocol::value::Value;
use tombolo_tests::workload::Rng;

const STEPS: usize = 250;
/// Rounds in which everything must have healed.
const ROUNDS: usize = 12;
const FIELDS: [&str; 3] = ["phone", "village", "notes"];

/// Which disasters a run may have.
#[derive(Clone, Copy, Default)]
struct Disasters {
    copies: bool,
    put_back: bool,
}

struct Run {
    c: Clinic,
    rng: Rng,
    rows: Vec<RowKey>,
    written: u32,
    /// The newest value that each device wrote into a field, while nothing took its place.
    standing: BTreeMap<(usize, RowKey, &'static str), String>,
    /// Views that forms have open.
    forms: Vec<(usize, RowKey, Seen)>,
}

impl Run {
    fn below(&mut self, n: usize) -> usize {
        self.rng.below(n)
    }

    fn row(&mut self) -> Option<RowKey> {
        if self.rows.is_empty() {
            return None;
        }
        let index = self.below(self.rows.len());
        Some(self.rows[index])
    }

    fn forget(&mut self, at: usize, row: RowKey) {
        self.standing.retain(|(device, key, _), _| (*device, *key) != (at, row));
    }

    fn edit(&mut self, at: usize, row: RowKey, seen: Option<Seen>) -> Result<()> {
        self.written += 1;
        let (field, value) = (FIELDS[self.below(FIELDS.len())], format!("v{}", self.written));
        let values = self.c.world.values(at, "patients", &[(field, &value)])?;
        match self.c.world.write(at, row, tombolo_client::protocol::outbox::Write::Update(values), seen) {
            Ok(()) => {
                self.standing.insert((at, row, field), value);
                Ok(())
            }
            Err(LocalError::Write(_)) => Ok(()),
            Err(other) => Err(other.into()),
        }
    }

    fn person(&mut self, at: usize) -> Result<()> {
        if self.rows.len() < 6 && self.below(4) == 0 {
            let row = self.c.patient(at, "Amina")?;
            self.rows.push(row);
            return Ok(());
        }
        let Some(row) = self.row() else { return Ok(()) };
        match self.below(12) {
            0 => {
                if possible(self.c.world.write(at, row, tombolo_client::protocol::outbox::Write::Delete, None))? {
                    self.forget(at, row);
                }
            }
            1 => {
                possible(self.c.world.write(at, row, tombolo_client::protocol::outbox::Write::Restore, None))?;
            }
            2 => {
                if possible(self.c.world.discard(at, row))? {
                    self.forget(at, row);
                }
            }
            3 => {
                let resolution = if self.below(2) == 0 { Resolution::AllMine } else { Resolution::AllServer };
                possible(self.c.world.resolve(at, row, &resolution))?;
            }
            4 => {
                if let Some(view) = self.c.world.shown(at, row)? {
                    self.forms.push((at, row, view.seen));
                }
            }
            5 if !self.forms.is_empty() => {
                let index = self.below(self.forms.len());
                let (at, row, seen) = self.forms.remove(index);
                self.edit(at, row, Some(seen))?;
            }
            _ => self.edit(at, row, None)?,
        }
        Ok(())
    }

    fn step(&mut self, devices: usize) -> Result<()> {
        let at = self.below(devices);
        match self.below(20) {
            0..6 => self.person(at),
            6 | 7 => self.c.world.begin_sync(at),
            8 => self.c.world.connect(at),
            9 if self.below(3) == 0 => self.c.world.cut(at),
            10 if self.below(5) == 0 => self.c.world.restart_device(at),
            11..15 => self.c.world.up(at).map(|_| ()),
            15 => {
                self.c.world.head_moved();
                self.c.world.serve(at)
            }
            _ => self.c.world.down(at).map(|_| ()),
        }
    }

    /// One person at each device looks at what waits and decides.
    fn decide(&mut self, at: usize) -> Result<()> {
        for conflict in self.c.world.conflicts(at)? {
            let resolution = if self.below(2) == 0 { Resolution::AllMine } else { Resolution::AllServer };
            self.c.world.resolve(at, conflict.key, &resolution)?;
        }
        for pending in self.c.world.pending(at)? {
            if pending.change.review.is_some() && self.c.world.conflicts(at)?.iter().all(|c| c.key != pending.key) {
                possible(self.c.world.discard(at, pending.key))?;
                self.forget(at, pending.key);
            }
        }
        Ok(())
    }

    fn heal(&mut self, devices: usize) -> Result<()> {
        for _ in 0..ROUNDS {
            let mut quiet = true;
            for at in 0..devices {
                let head = self.c.world.head();
                // A store that begins a new life needs a second connection.
                if self.c.world.sync(at).is_err() {
                    self.c.world.sync(at).with_context(|| format!("device {at} does not heal"))?;
                }
                self.decide(at)?;
                quiet &= self.c.world.pending(at)?.is_empty() && self.c.world.head() == head;
            }
            if quiet {
                return (0..devices).try_for_each(|at| self.c.world.assert_equal(at));
            }
        }
        let pending: Vec<_> = (0..devices).map(|at| self.c.world.pending(at)).collect::<Result<_>>()?;
        bail!("it does not come to rest: {pending:#?}")
    }

    /// Every value that was not taken back or replaced by its own device is in the log: accepted, or as one that lost.
    fn nothing_is_lost(&self) -> Result<()> {
        let snapshot = self.c.world.store().snapshot()?;
        let mut logged: BTreeSet<String> = BTreeSet::new();
        let mut log = |value: &Value| {
            if let Value::Text(text) = value {
                logged.insert(text.clone());
            }
        };
        for seq in 1..=snapshot.head().seq.0 {
            if let Some(CommitBody::Push(record)) = snapshot.commit(Seq(seq))?.map(|commit| commit.body) {
                record.effects.iter().flat_map(|effect| &effect.fields).for_each(|(_, value)| log(value));
                record.lost.iter().for_each(|(_, lost)| log(&lost.value));
            }
        }
        for ((at, row, field), value) in &self.standing {
            ensure!(logged.contains(value), "{value}, written at device {at} into {field} of {row:?}, is lost");
        }
        Ok(())
    }
}

fn possible(done: Result<(), LocalError>) -> Result<bool> {
    match done {
        Ok(()) => Ok(true),
        Err(LocalError::Write(_) | LocalError::NothingPending | LocalError::InFlight | LocalError::Resolve(_)) => Ok(false),
        Err(other) => Err(other.into()),
    }
}

fn play(seed: u32, disasters: Disasters) -> Result<()> {
    let mut run =
        Run { c: clinic()?, rng: Rng::new(seed), rows: Vec::new(), written: 0, standing: BTreeMap::new(), forms: Vec::new() };
    let mut devices = vec![0, run.c.device()?, run.c.device()?].len();
    let chunk = [1, 1, 3, 100][run.below(4)];
    run.c.world.chunk_rows(chunk);
    let mut backup = run.c.world.backup();
    for _ in 0..STEPS {
        run.step(devices)?;
        if disasters.copies && devices < 5 && run.below(60) == 0 {
            let of = run.below(devices);
            devices = run.c.world.copy_device(of)? + 1;
        }
        if disasters.put_back {
            match run.below(80) {
                0 => backup = run.c.world.backup(),
                1 => run.c.world.put_back(&backup)?,
                _ => {}
            }
        }
    }
    run.heal(devices)?;
    // A copy carries the edits of another device, and a restore loses commits: their edits are looked for in issue of their own.
    if !disasters.copies && !disasters.put_back { run.nothing_is_lost() } else { Ok(()) }
}

/// Plays `count` seeds, or as many as the environment variable `TOMBOLO_RANDOM_SEEDS` says.
fn seeds(from: u32, count: u32, disasters: Disasters) -> Result<()> {
    let wanted = std::env::var("TOMBOLO_RANDOM_SEEDS").ok().and_then(|count| count.parse().ok());
    for seed in from..from + wanted.unwrap_or(count) {
        play(seed, disasters).with_context(|| format!("seed {seed}"))?;
    }
    Ok(())
}

#[test]
fn random_worlds_heal_and_lose_nothing() -> Result<()> {
    seeds(0, 60, Disasters::default())
}

#[test]
fn random_worlds_with_copied_stores_heal() -> Result<()> {
    seeds(100_000, 40, Disasters { copies: true, put_back: false })
}

#[test]
fn random_worlds_whose_server_is_put_back_heal() -> Result<()> {
    seeds(200_000, 40, Disasters { copies: false, put_back: true })
}
