//! Every order in which two devices can work on one row, up to a number of steps: client engine, server session and workspace
//! as they ship, on a pair of machines ([`crate::pair`]).
//!
//! A sequence of steps is played, then everything heals and people decide what is asked, and the oracle looks at what came of
//! it. The first step is of the first device, since both are alike, and a step that changes nothing ends a sequence: what
//! comes behind it is played without it.

mod oracle;

use crate::pair::World;
use anyhow::{Context, Result, ensure};
use oracle::Oracle;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tombolo_client::protocol::commit::Grant;
use tombolo_client::protocol::ids::{RowKey, Seq};
use tombolo_client::protocol::outbox::{Entry, Resolution};
use tombolo_client::protocol::row::Row;
use tombolo_client::protocol::schema::Role;

/// Devices.
const DEVICES: usize = 2;
/// Rounds of syncs and decisions after which all must be quiet.
const ROUNDS: usize = 8;
/// Failures that are kept.
const TOLD_MAX: usize = 5;

/// What a device, its person or its link does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// A person edits the field `f`.
    EditF,
    /// A person edits the field `g`.
    EditG,
    /// A person deletes the row.
    Delete,
    /// A push is frozen, and the link breaks before the server has it.
    CutBefore,
    /// A push is frozen, sent and committed; the answer is under way.
    Push,
    /// The answer arrives, with what others changed, and the sync ends.
    Answer,
    /// The link breaks with the answer under way.
    CutAfter,
    /// The device is killed with the answer under way, and starts again.
    Crash,
    /// What others changed arrives; nothing new is pushed.
    Pull,
}

const ACTS: [Act; 9] =
    [Act::EditF, Act::EditG, Act::Delete, Act::CutBefore, Act::Push, Act::Answer, Act::CutAfter, Act::Crash, Act::Pull];

/// A step: which device, and what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step(pub usize, pub Act);

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{:?}", ["A", "B"][self.0], self.1)
    }
}

/// What kind of row two devices work on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Fields that merge by themselves.
    Plain,
    /// A strict table.
    Strict,
    /// Both fields are one group.
    Group,
    /// Fields that merge by themselves, and everybody writes the same.
    Alike,
}

/// All of them.
pub const KINDS: [Kind; 4] = [Kind::Plain, Kind::Strict, Kind::Group, Kind::Alike];

impl Kind {
    fn schema(self) -> String {
        let strict = if self == Self::Strict { "strict = true\n" } else { "" };
        let group = "[[table.group]]\nname = \"both\"\nlabel = \"Both\"\nfields = [\"f\", \"g\"]\n";
        let group = if self == Self::Group { group } else { "" };
        let field = |tag: u8, name: &str| {
            format!("[[table.field]]\nname = \"{name}\"\ntag = {tag}\nkind = \"text\"\nlabel = \"{name}\"\n")
        };
        let table = "name = \"two\"\n[[table]]\nname = \"rows\"\ntag = 1\nlabel = \"Rows\"\ntitle = [\"f\"]\n";
        format!("{table}{strict}{}{}{group}", field(1, "f"), field(2, "g"))
    }
}

/// What was played.
#[derive(Debug, Default)]
pub struct Played {
    /// Sequences that were played to their end and looked at.
    pub sequences: u64,
    /// Sequences that ended early, because a step was not possible or changed nothing.
    pub pruned: u64,
    /// Sequences that failed.
    pub failing: u64,
    /// The first of them, the shortest first.
    pub failures: Vec<String>,
}

/// Plays all sequences of up to `depth` steps on a kind of row, on all processors.
///
/// # Errors
/// Where the world cannot even be made.
pub fn play_all(kind: Kind, depth: usize) -> Result<Played> {
    let scene = Scene::new(kind)?;
    let steps: Vec<Step> = (0..DEVICES).flat_map(|device| ACTS.map(|act| Step(device, act))).collect();
    // Each part has its length and its first two steps; the first is of the first device.
    let parts: Vec<Vec<usize>> = (1..=depth).flat_map(|length| parts(length, steps.len())).collect();
    let (next, played) = (AtomicUsize::new(0), Mutex::new(Played::default()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
                    scene.play_part(&steps, part, &played);
                }
            });
        }
    });
    Ok(played.into_inner().expect("no thread panics with it"))
}

/// The sequences of this length with the same beginning, by the first of them.
fn parts(length: usize, steps: usize) -> Vec<Vec<usize>> {
    let seconds = if length > 1 { steps } else { 1 };
    let first = |first: usize, second: usize| {
        let mut sequence = vec![0; length];
        sequence[0] = first;
        sequence.iter_mut().skip(1).take(1).for_each(|place| *place = second);
        sequence
    };
    (0..ACTS.len()).flat_map(|one| (0..seconds).map(move |two| first(one, two))).collect()
}

/// How the playing of a sequence ended.
enum End {
    /// It was played, and all is well.
    Well,
    /// This step of it was not possible, or changed nothing.
    NoStep(usize),
}

/// A row that two devices know.
struct Scene {
    kind: Kind,
    world: World,
    key: RowKey,
}

impl Scene {
    fn new(kind: Kind) -> Result<Self> {
        let mut world = World::new(&kind.schema())?;
        let user = world.user("ada", Role::Admin, Grant::All)?;
        for _ in 0..DEVICES {
            let at = world.device(user)?;
            world.sync(at)?;
        }
        let key = world.create(0, "rows", &[("f", "f0"), ("g", "g0")])?;
        world.sync(0)?;
        world.sync(1)?;
        Ok(Self { kind, world, key })
    }

    fn play_part(&self, steps: &[Step], part: &[usize], played: &Mutex<Played>) {
        let fixed = part.len().min(2);
        let (mut sequence, mut count) = (part.to_vec(), Played::default());
        loop {
            let named: Vec<Step> = sequence.iter().map(|step| steps[*step]).collect();
            let last = match self.play(&named) {
                Ok(End::Well) => sequence.len() - 1,
                Ok(End::NoStep(at)) => {
                    count.pruned += 1;
                    at
                }
                Err(error) => {
                    count.failing += 1;
                    let told: Vec<String> = named.iter().map(Step::to_string).collect();
                    count.failures.push(format!("{:?}: {}: {error:#}", self.kind, told.join(", ")));
                    sequence.len() - 1
                }
            };
            count.sequences += 1;
            // The next one that differs in that step or an earlier one.
            sequence[last + 1..].fill(0);
            let Some(at) = (fixed..=last).rev().find(|at| sequence[*at] + 1 < steps.len()) else { break };
            sequence[at] += 1;
            sequence[at + 1..].fill(0);
        }
        count.sequences -= count.pruned;
        let mut played = played.lock().expect("no thread panics with it");
        played.sequences += count.sequences;
        played.pruned += count.pruned;
        played.failing += count.failing;
        played.failures.extend(count.failures);
        played.failures.truncate(TOLD_MAX);
    }

    fn play(&self, steps: &[Step]) -> Result<End> {
        let mut run = Run::new(self)?;
        let mut before = run.state()?;
        for (at, step) in steps.iter().enumerate() {
            if !run.step(at, *step)? {
                return Ok(End::NoStep(at));
            }
            let after = run.state()?;
            if after == before {
                return Ok(End::NoStep(at));
            }
            before = after;
        }
        // Which side people take is as good as drawn, and the same each time.
        let mine = steps.iter().map(|step| step.0 + step.1 as usize).sum::<usize>() % 2 == 0;
        run.heal(if mine { Resolution::AllMine } else { Resolution::AllServer })?;
        run.oracle.look_at_log(&run.world, self.key)?;
        Ok(End::Well)
    }
}

/// All that a step can change: the head, and of each device its link, its entry and its mirror row.
type State = (Seq, Vec<(Option<(usize, usize)>, Option<Entry>, Option<Row>)>);

/// A sequence that is being played.
struct Run {
    kind: Kind,
    world: World,
    key: RowKey,
    oracle: Oracle,
}

impl Run {
    fn new(scene: &Scene) -> Result<Self> {
        Ok(Self { kind: scene.kind, world: scene.world.copy()?, key: scene.key, oracle: Oracle::new(scene.kind) })
    }

    fn entry(&self, at: usize) -> Result<Option<Entry>> {
        Ok(self.world.devices[at].engine.store().read()?.entry(self.key)?)
    }

    fn state(&self) -> Result<State> {
        let device = |at| Ok((self.world.under_way(at), self.entry(at)?, self.world.mirror(at, self.key)?));
        Ok((self.world.head(), (0..DEVICES).map(device).collect::<Result<_>>()?))
    }

    /// Plays a step. Returns whether it is possible.
    fn step(&mut self, number: usize, Step(at, act): Step) -> Result<bool> {
        let is_linked = self.world.is_linked(at);
        match act {
            Act::EditF => return self.edit(number, at, "f"),
            Act::EditG => return self.edit(number, at, "g"),
            Act::Delete => {
                self.oracle.look(&self.world, at, self.key)?;
                if self.world.delete(at, self.key).is_err() {
                    return Ok(false);
                }
                self.oracle.deleted(at);
            }
            Act::Answer | Act::CutAfter | Act::Crash if !is_linked => return Ok(false),
            Act::CutBefore | Act::Push | Act::Pull if is_linked => return Ok(false),
            Act::CutBefore | Act::Push if self.entry(at)?.is_none() => return Ok(false),
            Act::CutBefore => self.world.freeze(at)?,
            Act::Push => {
                self.world.begin_sync(at)?;
                self.world.greet(at)?;
                while self.world.up(at)? {}
            }
            Act::Answer => {
                self.world.settle(at)?;
                self.world.cut(at)?;
            }
            Act::CutAfter => self.world.cut(at)?,
            Act::Crash => self.world.restart_device(at)?,
            Act::Pull => self.world.sync_only(at, BTreeSet::new())?,
        }
        Ok(true)
    }

    fn edit(&mut self, number: usize, at: usize, field: &'static str) -> Result<bool> {
        self.oracle.look(&self.world, at, self.key)?;
        let value = match self.kind {
            Kind::Alike => format!("same {field}"),
            Kind::Plain | Kind::Strict | Kind::Group => format!("{field} of {at} in {number}"),
        };
        if self.world.update(at, self.key, &[(field, &value)]).is_err() {
            return Ok(false);
        }
        self.oracle.edited(at, field, value);
        Ok(true)
    }

    /// Everything heals, and people decide what is asked.
    fn heal(&mut self, resolution: Resolution) -> Result<()> {
        for at in 0..DEVICES {
            self.world.cut(at)?;
        }
        for _ in 0..2 {
            self.sync_all()?;
        }
        for at in 0..DEVICES {
            let entry = self.entry(at)?;
            let asked = self.world.conflicts(at)?;
            ensure!(entry.is_none() || !asked.is_empty(), "{at} still has {entry:?}, and nobody is asked");
        }
        for _ in 0..ROUNDS {
            let mut is_quiet = true;
            for at in 0..DEVICES {
                if self.world.conflicts(at)?.is_empty() {
                    continue;
                }
                is_quiet = false;
                self.oracle.decided(&self.world, at, self.key)?;
                self.world.resolve(at, self.key, &resolution).context("a question cannot be decided")?;
                self.world.sync(at)?;
            }
            self.sync_all()?;
            if is_quiet {
                return self.assert_equal();
            }
        }
        anyhow::bail!("people are asked without end")
    }

    fn sync_all(&mut self) -> Result<()> {
        (0..DEVICES).try_for_each(|at| self.world.sync(at).map(|_| ()))
    }

    fn assert_equal(&self) -> Result<()> {
        for at in 0..DEVICES {
            let entry = self.entry(at)?;
            ensure!(entry.is_none(), "the outbox of {at} is not empty: {entry:?}");
            self.world.assert_equal(at)?;
        }
        Ok(())
    }
}
