//! What must have come of a sequence: nothing lost, nothing overwritten that its author had not seen, nothing twice.

use super::{DEVICES, Kind};
use crate::pair::World;
use anyhow::{Context, Result, ensure};
use std::collections::{BTreeMap, BTreeSet};
use tombolo_client::protocol::change::{Effect, Op};
use tombolo_client::protocol::commit::{CommitBody, PushRecord};
use tombolo_client::protocol::ids::{FieldTag, RowKey, Seq};
use tombolo_client::protocol::value::Value;

/// The fields of the row, with their names.
const FIELDS: [(FieldTag, &str); 2] = [(FieldTag(1), "f"), (FieldTag(2), "g")];

/// A field and its value in words.
type Said = (FieldTag, String);

/// What people saw, typed and decided.
pub(super) struct Oracle {
    kind: Kind,
    /// What each person was shown when they did something.
    seen: [BTreeSet<Said>; DEVICES],
    /// What each person typed last into a field and did not take back.
    standing: [BTreeMap<FieldTag, String>; DEVICES],
    /// Whose deletion stands.
    deleted: [bool; DEVICES],
    /// How often each person decided something.
    decisions: [usize; DEVICES],
}

impl Oracle {
    pub(super) fn new(kind: Kind) -> Self {
        let (seen, standing) = Default::default();
        Self { kind, seen, standing, deleted: [false; DEVICES], decisions: [0; DEVICES] }
    }

    /// A person looks at the row, as everybody does who does something to it.
    pub(super) fn look(&mut self, world: &World, at: usize, key: RowKey) -> Result<()> {
        if let Some(shown) = world.shown(at, key)? {
            self.seen[at].extend(FIELDS.map(|(field, _)| (field, said(shown.value(field)))));
        }
        Ok(())
    }

    pub(super) fn edited(&mut self, at: usize, name: &str, value: String) {
        if let Some((field, _)) = FIELDS.iter().find(|(_, known)| *known == name) {
            self.standing[at].insert(*field, value);
        }
    }

    /// What the person had typed goes with the row.
    pub(super) fn deleted(&mut self, at: usize) {
        self.standing[at].clear();
        self.deleted[at] = true;
    }

    /// A person decides, and sees the server's side.
    pub(super) fn decided(&mut self, world: &World, at: usize, key: RowKey) -> Result<()> {
        let row = world.mirror(at, key)?.context("a question about a row that is not there")?;
        self.seen[at].extend(FIELDS.map(|(field, _)| (field, said(row.value(field)))));
        self.decisions[at] += 1;
        Ok(())
    }

    /// Reads the log from the beginning.
    pub(super) fn look_at_log(&self, world: &World, key: RowKey) -> Result<()> {
        let mut log = Log::new(self, world)?;
        let snapshot = world.store().snapshot()?;
        for seq in 1..=snapshot.head().seq.0 {
            let commit = snapshot.commit(Seq(seq))?.context("a gap in the log")?;
            if let CommitBody::Push(record) = &commit.body {
                log.push(record, key)?;
            }
        }
        log.is_row(world, key)?;
        for at in 0..DEVICES {
            for (field, value) in &self.standing[at] {
                let kept = log.ever.contains(&(*field, value.clone()));
                ensure!(kept, "{value:?} is lost: neither in the log nor replaced by its owner");
            }
            let is_settled = log.deletes > 0 || self.decisions[at] > 0;
            ensure!(!self.deleted[at] || is_settled, "the deletion of {at} is lost");
        }
        log.nothing_twice()
    }
}

fn said(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        other => format!("{other:?}"),
    }
}

/// The log, folded once more.
struct Log<'a> {
    oracle: &'a Oracle,
    devices: Vec<tombolo_client::protocol::ids::DeviceId>,
    /// Value and author of each field now.
    now: BTreeMap<FieldTag, (String, Option<usize>)>,
    is_live: bool,
    /// Everything that was ever written, or lost in a decision.
    ever: BTreeSet<Said>,
    /// How often each author wrote each value.
    counts: BTreeMap<(Option<usize>, Said), usize>,
    deletes: usize,
}

impl<'a> Log<'a> {
    fn new(oracle: &'a Oracle, world: &World) -> Result<Self> {
        let id = |device: &crate::pair::Device| device.engine.account().map(|account| account.device).context("no account");
        let devices = world.devices.iter().map(id).collect::<Result<_>>()?;
        let (now, ever, counts) = Default::default();
        Ok(Self { oracle, devices, now, is_live: false, ever, counts, deletes: 0 })
    }

    fn push(&mut self, record: &PushRecord, key: RowKey) -> Result<()> {
        let author = self.devices.iter().position(|device| *device == record.device);
        for effect in record.effects.iter().filter(|effect| effect.key == key) {
            self.effect(effect, author)?;
        }
        let lost = record.lost.iter().filter(|(row, _)| *row == key);
        self.ever.extend(lost.map(|(_, lost)| (lost.field, said(&lost.value))));
        Ok(())
    }

    fn effect(&mut self, effect: &Effect, author: Option<usize>) -> Result<()> {
        match effect.op {
            Op::Create => self.is_live = true,
            Op::Restore => {
                let decided = author.is_some_and(|author| self.oracle.decisions[author] > 0);
                ensure!(!self.is_live && decided, "a deleted row came back, and nobody wanted it: {effect:?}");
                self.is_live = true;
            }
            Op::Delete => {
                ensure!(self.is_live, "a deleted row is deleted: {effect:?}");
                self.is_live = false;
                self.deletes += 1;
            }
            Op::Update | Op::Decide => ensure!(self.is_live, "a deleted row is edited: {effect:?}"),
        }
        if effect.op != Op::Create {
            self.was_seen(effect, author)?;
        }
        for (field, value) in &effect.fields {
            let said = (*field, said(value));
            self.now.insert(*field, (said.1.clone(), author));
            self.ever.insert(said.clone());
            *self.counts.entry((author, said)).or_default() += 1;
        }
        Ok(())
    }

    /// Whatever an effect replaces was shown to its author, or is the author's own.
    fn was_seen(&self, effect: &Effect, author: Option<usize>) -> Result<()> {
        let is_whole = effect.op == Op::Delete || matches!(self.oracle.kind, Kind::Strict | Kind::Group);
        for (field, (old, by)) in &self.now {
            let touched = effect.fields.iter().find(|(touched, _)| touched == field).map(|(_, value)| said(value));
            let replaces = is_whole || touched.is_some_and(|new| new != *old);
            let knew = author.is_none() || *by == author;
            let seen = author.is_some_and(|author| self.oracle.seen[author].contains(&(*field, old.clone())));
            ensure!(!replaces || knew || seen, "{effect:?} by {author:?} replaces {old:?}, which nobody there was shown");
        }
        Ok(())
    }

    /// The server's row is what the log says.
    fn is_row(&self, world: &World, key: RowKey) -> Result<()> {
        let row = world.server_row(key)?.context("the row is gone")?;
        let is = FIELDS.map(|(field, _)| said(row.value(field)));
        let wanted = FIELDS.map(|(field, _)| self.now.get(&field).map(|(value, _)| value.clone()).unwrap_or_default());
        ensure!(row.is_live() == self.is_live && is == wanted, "the log says {wanted:?}, the server has {row:?}");
        Ok(())
    }

    /// A value that nobody else writes comes into the log once, and once more for each decision that took it again.
    fn nothing_twice(&self) -> Result<()> {
        if self.oracle.kind == Kind::Alike {
            return Ok(());
        }
        for ((author, value), count) in &self.counts {
            let decisions = author.map_or(0, |author| self.oracle.decisions[author]);
            ensure!(*count <= 1 + decisions, "{value:?} was written {count} times by {author:?}");
        }
        Ok(())
    }
}
